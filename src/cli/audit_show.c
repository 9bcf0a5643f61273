/* sallyport audit show, explain: the records in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/read.h"
#include "audit/verify.h"
#include "base/arena.h"
#include "base/map.h"
#include "cli/audit.h"
#include "cli/node.h"
#include "config/config.h"
#include "json/json.h"

enum { TIME_AT = sizeof "{\"time\":\"" - 1, RECORD_ARENA_MAX = 16 * 1024 * 1024 };

static bool parse_age(struct view v, int64_t *seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    uint64_t n;

    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (v.len > 1 && v.data[v.len - 1] == units[i].unit &&
            view_to_u64(view_upto(v, v.len - 1), 1000000, &n)) {
            *seconds = (int64_t)n * units[i].seconds;
            return true;
        }
    }
    return false;
}

bool audit_since(const char *text, char out[TIME_TEXT_BYTES])
{
    static const char form[] = "0000-00-00T00:00:00.000000Z";
    struct view v = view_str(text);
    int64_t age_s;

    if (parse_age(v, &age_s)) {
        time_format(time_wall_us() - age_s * 1000000, out);
        return true;
    }
    if (v.len < 4 || v.len >= TIME_TEXT_BYTES)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        /* A time of whole seconds may end in Z; it is left off, so that fractions come after. */
        if (text[i] == 'Z' && i == v.len - 1) {
            v.len--;
            break;
        }
        if (form[i] == '0' ? !digit : text[i] != form[i])
            return false;
    }
    memcpy(out, text, v.len);
    out[v.len] = '\0';
    return true;
}

const char *audit_default_directory(struct audit_command *c)
{
    struct node_config node = {0};
    struct diagnostics d = {0};
    struct arena arena;
    const char *named = getenv("SALLYPORT_AUDIT_DIRECTORY");

    if (named != NULL && named[0] != '\0')
        return named;
    arena_init(&arena, 16 * 1024, RECORD_ARENA_MAX);
    d.arena = &arena;
    struct node_config_sources sources = cli_sources(&c->common);
    if (failed(node_config_load(&arena, &sources, &node, &d)))
        diag_print(&d, 2);
    else
        c->directory_text = strndup(node.audit_directory.data, node.audit_directory.len);
    arena_clear(&arena);
    return c->directory_text;
}

static void print_text(struct view v, int width)
{
    int printed = 0;

    cli_print_text(v);
    for (size_t i = 0; i < v.len; i++)
        printed += ((unsigned char)v.data[i] & 0xC0) != 0x80;
    for (; printed < width; printed++)
        putchar(' ');
}

/* A member's text, whatever its type; {NULL, 0} when absent. */
static struct view get(const struct json_value *record, const char *name)
{
    const struct json_value *v = json_get(record, name);

    if (v == NULL)
        return (struct view){NULL, 0};
    return v->type == JSON_ARRAY || v->type == JSON_OBJECT ? v->raw : v->text;
}

static void print_members(const struct json_value *record, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct view v = get(record, names[i]);
        if (v.data == NULL)
            continue;
        printf(" %s=", names[i]);
        print_text(v, 0);
    }
}

static void print_row(struct view line, const struct audit_line *record,
                      const struct json_value *json)
{
    static const char *const shown[] = {
        "subject", "client",   "consumer",      "method",      "path",     "service",
        "route",   "role",     "status",        "rows",        "sqlstate", "reason",
        "decision_reason",     "source",        "endpoint",    "database_user",
        "backend_pid",         "total_us",      "duration_us", "config_file",
        "applied", "version",  "detail"};

    print_text(view_upto(view_from(line, TIME_AT), 23), 25);
    print_text(record->kind, 14);
    struct view id = get(json, "request_id");
    if (id.data != NULL) {
        putchar(' ');
        print_text(id, 0);
    }
    print_members(json, shown, COUNT_OF(shown));
    putchar('\n');
}

/* The requests of the subject asked for whose outcome has not come yet. */
struct open_calls {
    struct map ids; /* request id -> a heap copy of it, which is also the key */
};

static void open_calls_add(struct open_calls *o, struct view id)
{
    if (id.len == 0 || map_get(&o->ids, id) != NULL)
        return;
    char *copy = strndup(id.data, id.len);
    if (copy == NULL || !map_put(&o->ids, view_of(copy, id.len), copy))
        free(copy);
}

static bool open_calls_take(struct open_calls *o, struct view id)
{
    char *copy = map_remove(&o->ids, id);
    free(copy);
    return copy != NULL;
}

static bool wanted_subject(const struct audit_command *c, struct open_calls *open,
                           const struct audit_line *record, const struct json_value *json)
{
    if (c->subject == NULL)
        return true;
    if (view_is(record->kind, "outcome"))
        return open_calls_take(open, get(json, "request_id"));
    struct view subject = get(json, "subject");
    bool same = subject.data != NULL && view_is(subject, c->subject);
    if (same && view_is(record->kind, "intent"))
        open_calls_add(open, get(json, "request_id"));
    return same;
}

static void show_record(const struct audit_command *c, struct open_calls *open, struct arena *arena,
                        struct view line, const struct audit_line *record)
{
    const struct json_value *json;

    if (view_cmp(view_upto(view_from(line, TIME_AT), TIME_TEXT_BYTES - 1), view_str(c->since)) < 0)
        return;
    arena_reset(arena);
    if (failed(json_parse(arena, line, NULL, &json, NULL)))
        return;
    if (!wanted_subject(c, open, record, json))
        return;
    if (c->has_kind ? !view_is(record->kind, audit_kind_name(c->kind))
                    : view_is(record->kind, "file") && !c->json)
        return;
    if (c->json) {
        fwrite(line.data, 1, line.len, stdout);
        putchar('\n');
    } else {
        print_row(line, record, json);
    }
}

int audit_show(const struct audit_command *c)
{
    struct open_calls open;
    struct audit_merge *merge;
    struct audit_line record;
    struct arena arena;
    struct view line;
    size_t at = 0;

    if (failed(audit_merge_open(c->directory, &merge))) {
        fprintf(stderr, "Error: the folder %s cannot be read\n", c->directory);
        return 1;
    }
    map_init(&open.ids);
    arena_init(&arena, 16 * 1024, RECORD_ARENA_MAX);
    while (audit_merge_next(merge, &line, &record))
        show_record(c, &open, &arena, line, &record);
    for (void *id; (id = map_next(&open.ids, &at)) != NULL;)
        free(id);
    map_clear(&open.ids);
    arena_clear(&arena);
    audit_merge_close(merge);
    return fflush(stdout) != 0;
}

/* What is known of one call. */
struct story {
    const struct json_value *intent;
    const struct json_value *outcome;
    const struct json_value *refusal; /* auth_failure or denial */
    const struct json_value *login;   /* of the backend that ran it */
    const struct json_value *failure; /* where it got none: the service's last that failed */
};

static void label(const char *name)
{
    printf("  %-11s", name);
}

static void print_pair(const char *before, const struct json_value *record, const char *name)
{
    struct view v = get(record, name);

    if (v.data == NULL)
        return;
    fputs(before, stdout);
    print_text(v, 0);
}

static void tell_caller(const struct json_value *r)
{
    label("token");
    if (get(r, "subject").data == NULL) {
        print_pair("refused: ", r, "reason");
        print_pair(": ", r, "detail");
        print_pair("; it claims issuer ", r, "unverified_issuer");
        print_pair(" and key ", r, "unverified_key_id");
    } else {
        print_pair("accepted (", r, "auth_method");
        print_pair("), issuer ", r, "issuer");
        print_pair(", key ", r, "key_id");
        print_pair(", id ", r, "token_id");
        print_pair(", expires ", r, "token_expires");
        puts("");
        label("caller");
        print_pair("", r, "subject");
        print_pair(", client ", r, "client");
        print_pair(", consumer ", r, "consumer");
        print_pair(", groups ", r, "groups");
        print_pair(", scopes ", r, "scopes");
    }
    puts("");
    label("from");
    print_pair("", r, "source");
    print_pair(", ", r, "tls_version");
    print_pair(" ", r, "tls_cipher");
    puts("");
}

static void tell_roles(const struct json_value *r)
{
    if (get(r, "decision").data == NULL)
        return;
    label("decision");
    print_pair("", r, "decision");
    print_pair(": ", r, "decision_reason");
    puts("");
    JSON_EACH(finding, json_get(r, "roles")) {
        label("role");
        print_text(get(finding, "role"), 24);
        print_pair(" ", finding, "verdict");
        puts("");
    }
}

static void tell_statement(const struct json_value *r)
{
    if (get(r, "route").data == NULL)
        return;
    label("statement");
    print_pair("", r, "service");
    print_pair("/", r, "route");
    print_pair(" (", r, "path_template");
    print_pair("), SHA-256 ", r, "statement_sha256");
    print_pair(", read only: ", r, "read_only");
    print_pair("\n             values ", r, "values");
    puts("");
    label("runs as");
    print_pair("role ", r, "database_role");
    print_pair(", login ", r, "database_user");
    print_pair(", database ", r, "database");
    print_pair(", IAM role ", r, "iam_arn");
    print_pair(", access key ", r, "access_key_id");
    puts("");
}

static void tell_login(const struct json_value *l)
{
    if (l == NULL)
        return;
    label("login");
    print_pair("", l, "time");
    print_pair(" by ", l, "auth_method");
    print_pair(" as ", l, "database_user");
    print_pair(", access key ", l, "access_key_id");
    print_pair(" (", l, "credential_source");
    fputs(get(l, "credential_source").data != NULL ? ")" : "", stdout);
    print_pair(", token until ", l, "token_expires");
    print_pair(", ", l, "tls_version");
    print_pair(", took ", l, "duration_us");
    puts(" us");
}

static void tell_failure(const struct json_value *l)
{
    if (l == NULL)
        return;
    label("login");
    print_pair("none was had; the last to ", l, "service");
    print_pair(" that failed: ", l, "time");
    print_pair(", ", l, "reason");
    print_pair(", ", l, "detail");
    print_pair(", SQLSTATE ", l, "sqlstate");
    puts("");
}

static void tell_outcome(const struct json_value *r)
{
    label("outcome");
    if (r == NULL) {
        puts("none recorded: the program ended before the answer, or the call still runs");
        return;
    }
    print_pair("HTTP ", r, "status");
    print_pair(", rows ", r, "rows");
    print_pair(", SQLSTATE ", r, "sqlstate");
    print_pair(", ", r, "reason");
    print_pair(", by the plugin ", r, "plugin");
    print_pair(", backend ", r, "backend_pid");
    if (get(r, "backend_pid").data != NULL)
        print_pair(" at ", r, "endpoint");
    puts("");
    if (get(r, "total_us").data == NULL)
        return;
    label("timings");
    print_pair("waiting ", r, "queue_us");
    print_pair(" us, database ", r, "database_us");
    print_pair(" us, in all ", r, "total_us");
    puts(" us");
}

static void tell(const struct story *s, const char *id)
{
    const struct json_value *first = s->intent != NULL    ? s->intent
                                     : s->refusal != NULL ? s->refusal
                                                          : s->outcome;
    fputs("request ", stdout);
    print_text(view_str(id), 0);
    print_pair(", ", first, "method");
    print_pair(" ", first, "path");
    print_pair(" ", s->intent, "path_template");
    puts("");
    label("at");
    print_pair("", first, "time");
    print_pair(", node ", first, "node");
    print_pair(", trace ", first, "trace_id");
    puts("");
    if (s->intent != NULL || s->refusal != NULL) {
        tell_caller(first);
        tell_roles(first);
        tell_statement(first);
    }
    tell_login(s->login);
    tell_failure(s->failure);
    tell_outcome(s->outcome != NULL ? s->outcome : s->refusal);
}

/* Keeps the record in the arena; NULL when it cannot be. */
static const struct json_value *keep(struct arena *arena, struct view line)
{
    const struct json_value *json = NULL;
    struct view copy = arena_copy(arena, line);

    if (copy.data == NULL || failed(json_parse(arena, copy, NULL, &json, NULL)))
        return NULL;
    return json;
}

static void find_call(struct audit_merge *m, const char *id, struct arena *arena, struct story *s)
{
    struct audit_line record;
    struct view line;
    struct buf member;

    buf_init(&member, 4096);
    json_add_name(&member, "request_id");
    json_add_string(&member, view_str(id));
    while (!buf_failed(&member) && audit_merge_next(m, &line, &record)) {
        if (memmem(line.data, line.len, member.data, member.len) == NULL)
            continue;
        const struct json_value *json = keep(arena, line);
        if (json == NULL || !view_is(get(json, "request_id"), id))
            continue;
        if (view_is(record.kind, "intent"))
            s->intent = json;
        else if (view_is(record.kind, "outcome"))
            s->outcome = json;
        else
            s->refusal = json;
    }
    buf_clear(&member);
}

static bool same(const struct json_value *a, const struct json_value *b, const char *member)
{
    return get(a, member).data != NULL && view_eq(get(a, member), get(b, member));
}

/* The last login before the outcome that gave this backend process of this endpoint; where the call
 * got no connection, the service's last that failed. */
static void find_login(struct audit_merge *m, struct arena *arena, struct story *s)
{
    struct view time = get(s->outcome, "time"), boot = get(s->outcome, "boot");
    bool ran = get(s->outcome, "backend_pid").data != NULL;
    struct audit_line record;
    struct arena one;
    struct view line;

    if (!ran && get(s->outcome, "reason").data == NULL)
        return;
    arena_init(&one, 16 * 1024, RECORD_ARENA_MAX);
    while (audit_merge_next(m, &line, &record)) {
        if (!view_is(record.kind, ran ? "login" : "login_failure") ||
            !view_eq(record.boot, boot) ||
            view_cmp(view_upto(view_from(line, TIME_AT), TIME_TEXT_BYTES - 1), time) > 0)
            continue;
        const struct json_value *json;
        arena_reset(&one);
        if (failed(json_parse(&one, line, NULL, &json, NULL)))
            continue;
        if (ran && same(json, s->outcome, "endpoint") && same(json, s->outcome, "backend_pid"))
            s->login = keep(arena, line);
        else if (!ran && same(json, s->intent, "service"))
            s->failure = keep(arena, line);
    }
    arena_clear(&one);
}

int audit_explain(const struct audit_command *c)
{
    struct story story = {0};
    struct audit_merge *merge;
    struct arena arena;
    int status = 0;

    arena_init(&arena, 64 * 1024, RECORD_ARENA_MAX);
    for (int pass = 0; pass < 2 && status == 0; pass++) {
        if (failed(audit_merge_open(c->directory, &merge))) {
            fprintf(stderr, "Error: the folder %s cannot be read\n", c->directory);
            status = 1;
            break;
        }
        if (pass == 0)
            find_call(merge, c->request_id, &arena, &story);
        else if (story.outcome != NULL)
            find_login(merge, &arena, &story);
        audit_merge_close(merge);
        if (story.intent == NULL && story.outcome == NULL && story.refusal == NULL) {
            fprintf(stderr, "Error: no event of this request is in %s\n", c->directory);
            status = 1;
        }
    }
    if (status == 0)
        tell(&story, c->request_id);
    arena_clear(&arena);
    return status;
}
