/* sallyport check --token: what a token would be allowed, and why not the rest, without a call. */
#include "cli/check_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/time.h"
#include "cli/node.h"
#include "gateway/authorize.h"
#include "identity/key_refresher.h"
#include "json/json.h"
#include "net/fetch.h"
#include "policy/policy.h"

enum {
    /* More than a token may have, so that one too long is told as such. */
    TOKEN_FILE_MAX_BYTES = 4 * IDENTITY_TOKEN_MAX_BYTES,
    ARENA_BLOCK_BYTES = 64 << 10,
    ARENA_MAX_BYTES = 1 << 30,
    REPORT_MAX_BYTES = 1 << 28,
    /* Discovery and key set, each within KEY_FETCH_TIMEOUT_MS. */
    KEYS_WAIT_MS = 2 * KEY_FETCH_TIMEOUT_MS + 1000,
};

struct question {
    const struct snapshot *snapshot;
    struct arena *arena;
    struct token_check check;
    struct principal principal;
    err refusal; /* OK: the token verifies */
};

/* ---- The token ---- */

static const char *read_all(int fd, struct buf *out)
{
    for (;;) {
        if (!buf_reserve(out, 4096))
            return "is too long to hold a token";
        ssize_t n = read(fd, out->data + out->len, 4096);
        if (n == 0)
            return NULL;
        if (n < 0 && errno != EINTR)
            return strerror(errno);
        if (n > 0)
            out->len += (size_t)n;
    }
}

static bool read_token(const char *path, struct buf *out)
{
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    const char *wrong = fd < 0 ? strerror(errno) : read_all(fd, out);

    if (fd >= 0 && !standard_input)
        close(fd);
    if (wrong != NULL)
        fprintf(stderr, "Error: the token file %s: %s\n", path, wrong);
    return wrong == NULL;
}

/* Without the blanks and line ends around it, and without the word of the Authorization header. */
static struct view token_in(struct view text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[0]) != NULL)
        text = view_from(text, 1);
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL)
        text.len--;
    if (view_eq_nocase(view_upto(text, 7), VIEW("Bearer ")))
        text = view_trim(view_from(text, 7));
    return text;
}

/* ---- The issuers' keys ---- */

struct key_loader {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t deadline;
    struct net_fetcher *fetcher;
    struct key_refresher *refresher;
    bool overdue;
};

static void wake_loader(void *arg)
{
    uv_async_send(&((struct key_loader *)arg)->wake);
}

static void on_wake(uv_async_t *wake)
{
    struct key_loader *l = wake->data;

    (void)key_refresher_tick(l->refresher, time_monotonic_ns() / 1000000);
}

static void on_deadline(uv_timer_t *timer)
{
    ((struct key_loader *)timer->data)->overdue = true;
}

static bool all_tried(const struct identity *id)
{
    for (size_t i = 0; i < identity_issuer_count(id); i++) {
        struct issuer_status s;
        identity_issuer_status(id, i, &s);
        if (s.successes + s.failures == 0)
            return false;
    }
    return true;
}

static void on_fetcher_closed(void *arg)
{
    (void)arg; /* the loop that runs to its end is what waits for it */
}

static err fetch_keys(struct key_loader *l, struct identity *id)
{
    const struct key_refresher_options options = {net_fetcher_base(l->fetcher), wake_loader, l};

    TRY(key_refresher_new(&options, &l->refresher));
    key_refresher_set_identity(l->refresher, id);
    wake_loader(l);
    uv_timer_start(&l->deadline, on_deadline, KEYS_WAIT_MS, 0);
    while (!all_tried(id) && !l->overdue)
        uv_run(&l->loop, UV_RUN_ONCE);
    key_refresher_free(l->refresher);
    return OK;
}

/* Every issuer's keys, by one attempt each. */
static err load_keys(struct identity *id)
{
    struct key_loader l = {.overdue = false};

    if (uv_loop_init(&l.loop) != 0)
        return fail(&fault_out_of_memory);
    ENSURE(uv_async_init(&l.loop, &l.wake, on_wake) == 0);
    uv_timer_init(&l.loop, &l.deadline);
    l.wake.data = l.deadline.data = &l;
    l.fetcher = net_fetcher_new(&l.loop);
    err e = l.fetcher != NULL ? fetch_keys(&l, id) : fail(&fault_out_of_memory);
    uv_close((uv_handle_t *)&l.wake, NULL);
    uv_close((uv_handle_t *)&l.deadline, NULL);
    if (l.fetcher != NULL)
        net_fetcher_close(l.fetcher, on_fetcher_closed, NULL);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&l.loop) == 0);
    return e;
}

static void tell_keyless_issuers(const struct identity *id)
{
    for (size_t i = 0; i < identity_issuer_count(id); i++) {
        struct issuer_status s;
        identity_issuer_status(id, i, &s);
        if (s.keys == 0)
            fprintf(stderr, "warning: no keys of the issuer '%.*s': %s\n", VIEW_ARG(s.name),
                    failed(s.last_error) ? s.last_error.fault->text : "it did not answer in time");
    }
}

/* ---- What it may ---- */

/* One method of one route, decided as the door would. */
struct verdict {
    const struct route *route;
    struct view method;
    struct decision decision;
    int status; /* of the refusal; 0: allowed */
    struct view missing_claim; /* a parameter comes from it; absent: none is missing */
};

static struct view missing_claim(const struct question *q, const struct statement *st)
{
    for (size_t i = 0; i < st->parameter_count; i++) {
        const struct parameter *p = &st->parameters[i];
        if (p->source != SOURCE_CLAIM || !p->required)
            continue;
        const struct claim *c = principal_claim(&q->principal, p->key);
        if (c == NULL || c->kind == CLAIM_NULL)
            return p->key;
    }
    return (struct view){NULL, 0};
}

static err decide(const struct question *q, const struct route *route, struct view method,
                  struct verdict *out)
{
    const struct entities *all = &q->snapshot->entities;
    const struct policy_subject subject = {
        .service = route->service->name, .route = route->name, .method = method};

    *out = (struct verdict){.route = route, .method = method};
    TRY(policy_decide(q->arena, all->roles, all->role_count, &q->principal, &subject,
                      &out->decision));
    if (out->decision.allowed) {
        out->missing_claim = missing_claim(q, &route->statement);
        out->status = out->missing_claim.data != NULL ? 403 : 0;
    } else {
        out->status = policy_may_see(all->roles, all->role_count, &q->principal,
                                     route->service->name, route->name)
                          ? 403
                          : 404;
    }
    return OK;
}

/* How both forms of the report walk the calls. */
typedef void tell_verdict(void *arg, const struct verdict *v);

static err each_call(const struct question *q, tell_verdict *tell, void *arg)
{
    const struct entities *all = &q->snapshot->entities;

    for (size_t i = 0; i < all->service_count; i++) {
        const struct service *s = &all->services[i];
        for (size_t k = 0; k < s->route_count; k++) {
            for (size_t m = 0; s->routes[k].statement.present && m < s->routes[k].methods.count;
                 m++) {
                struct verdict v;
                TRY(decide(q, &s->routes[k], s->routes[k].methods.items[m], &v));
                tell(arg, &v);
            }
        }
    }
    return OK;
}

/* ---- The report for people ---- */

static void print_part(const char *before, struct view v)
{
    if (v.data == NULL)
        return;
    fputs(before, stdout);
    cli_print_text(v);
}

static void print_list(const char *name, struct strings list)
{
    printf("  %-10s", name);
    for (size_t i = 0; i < list.count; i++)
        print_part(i > 0 ? ", " : "", list.items[i]);
    puts(list.count == 0 ? "none" : "");
}

static void print_steps(const struct question *q)
{
    if (failed(q->refusal))
        printf("the token is refused: %s (%s)\n", q->refusal.fault->text, q->refusal.fault->name);
    else
        puts("the token verifies");
    for (size_t i = 0; i < q->check.count; i++) {
        const struct check_step *s = &q->check.steps[i];
        bool more = s->expected.data != NULL || s->found.data != NULL;
        printf("  %-10s%-*s", s->name, more ? 9 : 0, check_result_text(s->result));
        print_part(s->result == CHECK_FAILED ? "expected " : "", s->expected);
        print_part(s->expected.data != NULL ? "; found " : "", s->found);
        putchar('\n');
    }
}

static void print_caller(const struct principal *p)
{
    char until[TIME_TEXT_BYTES];

    time_format(p->expires_at_s * 1000000, until);
    fputs("the caller\n", stdout);
    print_part("  issuer    ", p->issuer_name);
    print_part("\n  subject   ", p->subject);
    print_part("\n  client    ", p->client);
    if (p->consumer != NULL)
        print_part("\n  consumer  ", consumer_name(p->consumer));
    putchar('\n');
    print_list("groups", p->groups);
    print_list("scopes", p->scopes);
    printf("  until     %.19sZ\n", until);
}

static void print_outcome(const struct verdict *v)
{
    const struct decision *d = &v->decision;

    if (v->missing_claim.data != NULL)
        print_part("refused with 403: it needs the claim ", v->missing_claim);
    else if (d->allowed)
        printf("allowed as %.*s (database role %.*s)", VIEW_ARG(d->role->name),
               VIEW_ARG(d->role->database_role));
    else
        printf("refused with %d", v->status);
    putchar('\n');
}

static void print_verdict(void *arg, const struct verdict *v)
{
    const struct route *r = v->route;

    (void)arg;
    printf("  %.*s", VIEW_ARG(v->method));
    for (size_t i = 0; i < r->paths.count; i++)
        print_part(i > 0 ? ", " : " ", r->paths.items[i]);
    printf(" (%.*s of %.*s): ", VIEW_ARG(r->name), VIEW_ARG(r->service->name));
    print_outcome(v);
    for (size_t i = 0; i < v->decision.finding_count; i++) {
        const struct role_finding *f = &v->decision.findings[i];
        if (f->verdict != ROLE_CHOSEN)
            printf("      not %.*s: %s\n", VIEW_ARG(f->role->name),
                   policy_verdict_text(f->verdict));
    }
}

static err print_report(const struct question *q)
{
    print_steps(q);
    if (failed(q->refusal))
        return OK;
    print_caller(&q->principal);
    puts("the calls");
    return each_call(q, print_verdict, NULL);
}

/* ---- The report as JSON ---- */

static void add_key(struct buf *b, const char *name)
{
    char last = b->len > 0 ? b->data[b->len - 1] : '{';

    if (last != '{' && last != '[')
        buf_add_char(b, ',');
    json_add_name(b, name);
}

static void add_text(struct buf *b, const char *name, struct view v)
{
    add_key(b, name);
    if (v.data != NULL)
        json_add_string(b, v);
    else
        buf_add_str(b, "null");
}

static void add_strings(struct buf *b, const char *name, struct strings list)
{
    add_key(b, name);
    buf_add_char(b, '[');
    for (size_t i = 0; i < list.count; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_add_string(b, list.items[i]);
    }
    buf_add_char(b, ']');
}

/* An object that is an item of the list being written. */
static void open_item(struct buf *b)
{
    buf_add_str(b, b->len > 0 && b->data[b->len - 1] == '[' ? "{" : ",{");
}

static void add_steps(struct buf *b, const struct token_check *check)
{
    add_key(b, "steps");
    buf_add_char(b, '[');
    for (size_t i = 0; i < check->count; i++) {
        const struct check_step *s = &check->steps[i];
        open_item(b);
        add_text(b, "name", view_str(s->name));
        add_text(b, "result", view_str(check_result_text(s->result)));
        add_text(b, "expected", s->expected);
        add_text(b, "found", s->found);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_caller(struct buf *b, const struct principal *p)
{
    add_key(b, "caller");
    buf_add_char(b, '{');
    add_text(b, "issuer", p->issuer_name);
    add_text(b, "subject", p->subject);
    add_text(b, "client", p->client);
    add_text(b, "consumer",
             p->consumer != NULL ? consumer_name(p->consumer) : (struct view){NULL, 0});
    add_strings(b, "groups", p->groups);
    add_strings(b, "scopes", p->scopes);
    add_key(b, "expires_at");
    buf_add_i64(b, p->expires_at_s);
    buf_add_char(b, '}');
}

static void add_findings(struct buf *b, const struct decision *d)
{
    add_key(b, "roles");
    buf_add_char(b, '[');
    for (size_t i = 0; i < d->finding_count; i++) {
        open_item(b);
        add_text(b, "role", d->findings[i].role->name);
        add_text(b, "verdict", view_str(policy_verdict_name(d->findings[i].verdict)));
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_verdict(void *arg, const struct verdict *v)
{
    static const struct view none = {NULL, 0};
    const struct decision *d = &v->decision;
    struct buf *b = arg;

    open_item(b);
    add_text(b, "service", v->route->service->name);
    add_text(b, "route", v->route->name);
    add_text(b, "method", v->method);
    add_strings(b, "paths", v->route->paths);
    add_key(b, "allowed");
    json_add_bool(b, v->status == 0);
    add_key(b, "status");
    if (v->status == 0)
        buf_add_str(b, "null");
    else
        buf_add_i64(b, v->status);
    add_text(b, "role", d->role != NULL ? d->role->name : none);
    add_text(b, "database_role", d->role != NULL ? d->role->database_role : none);
    add_text(b, "missing_claim", v->missing_claim);
    add_findings(b, d);
    buf_add_char(b, '}');
}

static err write_json(const struct question *q, struct buf *b)
{
    const struct fault *f = q->refusal.fault;

    buf_add_char(b, '{');
    add_key(b, "verifies");
    json_add_bool(b, f == NULL);
    add_text(b, "reason", f != NULL ? view_str(f->name) : (struct view){NULL, 0});
    add_text(b, "detail", f != NULL ? view_str(f->text) : (struct view){NULL, 0});
    add_steps(b, &q->check);
    if (f == NULL) {
        add_caller(b, &q->principal);
        add_key(b, "calls");
        buf_add_char(b, '[');
        TRY(each_call(q, add_verdict, b));
        buf_add_char(b, ']');
    }
    buf_add_str(b, "}\n");
    return buf_failed(b) ? fail(&fault_out_of_memory) : OK;
}

static err print_json(const struct question *q)
{
    struct buf b;

    buf_init(&b, REPORT_MAX_BYTES);
    err e = write_json(q, &b);
    if (!failed(e))
        fwrite(b.data, 1, b.len, stdout);
    buf_clear(&b);
    return e;
}

/* ---- The whole ---- */

static int answer(const struct snapshot *s, struct view token, bool as_json)
{
    struct arena arena;
    struct question q = {.snapshot = s, .arena = &arena};

    log_set_level(LOG_ERROR); /* what went wrong with the keys is told below */
    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    err e = load_keys(s->identity);
    if (!failed(e)) {
        tell_keyless_issuers(s->identity);
        q.refusal = identity_verify(s->identity, &arena, token, time_wall_us() / 1000000,
                                    &q.principal, &q.check);
        if (!failed(q.refusal) && !snapshot_find_consumer(s, &q.principal))
            q.refusal = fail(&authorize_no_consumer);
        e = as_json ? print_json(&q) : print_report(&q);
    }
    if (failed(e))
        fprintf(stderr, "Error: %s\n", e.fault->text);
    arena_clear(&arena);
    return failed(e) || failed(q.refusal) ? 1 : 0;
}

int check_token(const struct snapshot *s, const char *token_file, bool as_json)
{
    struct buf text;

    buf_init(&text, TOKEN_FILE_MAX_BYTES);
    int code = read_token(token_file, &text) ? answer(s, token_in(buf_view(&text)), as_json) : 1;
    buf_clear_secure(&text);
    return code;
}
