#include "cli/store_watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cli/secrets.h"
#include "cli/store_identity.h"
#include "cli/store_login.h"
#include "store/kept.h"
#include "store/line.h"

enum {
    NS_PER_MS = 1000000,
    LAG_LOOK_MS = 50,        /* a standby that has not replayed what was notified */
    LAG_PATIENCE_MS = 10000, /* then the poll is often enough */
    CONF_BLOCK_BYTES = 16 * 1024,
    CONF_MAX_BYTES = 16 * 1024 * 1024,
    READS_LOST_MAX = 3,
    RENEW_TIMEOUT_MS = 2000, /* of each question about the nodes */
    LEAVE_TIMEOUT_MS = 1000,
    IDENTITIES = 2, /* one, unless the two logins are of different regions */
    WAITS_MAX = 2 + IDENTITIES + 2 * STORE_LINE_WAITS,
};

struct store_watch {
    struct control *control;
    char next_path[CLI_PATH_BYTES + sizeof KEPT_NEXT];
    const char *kept_path;
    uv_thread_t thread;
    uv_async_t news; /* an offer */
    int stop_fd;
    int wake_fd;
    uv_mutex_t lock;

    /* Under the lock. */
    bool asked;
    bool settled;
    bool taken;
    const char *offer_path;
    const char *offer_cause;
    struct store_watch_status status;

    /* The thread's own. */
    const struct node_config *node; /* of the start, or own */
    struct node_config own;
    struct arena arena; /* of own */
    struct store_identity *identities[IDENTITIES];
    struct store_line writer, reader;
    struct store_nodes *nodes;
    const struct store *renewed_by; /* the writer's connection that the node's row was renewed by */
    bool answered; /* by the writer, in this turn */
    bool offered;
    bool forced; /* SIGHUP: offer something, whatever is new */
    int64_t revision;
    err unread; /* why the latest read failed */
    struct store_why unread_why;
    int64_t read_ms; /* then: not again before */
    unsigned reads_lost; /* in a row, with the connection */
    int64_t heard;   /* a revision that the reader has not shown yet; -1: none */
    int64_t heard_until_ms;
    int64_t older_until_ms; /* a standby that shows an older one is behind until then; 0 */
};

static int64_t now_ms(void)
{
    return time_monotonic_ns() / NS_PER_MS;
}

static void ring(int fd)
{
    const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* only a full counter fails, and that one rings already */
}

static bool rings(int fd)
{
    struct pollfd at = {.fd = fd, .events = POLLIN};
    return poll(&at, 1, 0) > 0;
}

static struct store_line *line_that_reads(struct store_watch *w)
{
    return w->node->has_pg_ro ? &w->reader : &w->writer;
}

/* ---- What is said ---- */

static void say(char *out, size_t size, err e, const struct store_why *why)
{
    if (failed(e))
        snprintf(out, size, "%s%s%.400s", e.fault->text, why->text[0] != '\0' ? ": " : "",
                 why->text);
    else
        out[0] = '\0';
}

static void say_line(struct store_watch_status *s, const struct store_line *l)
{
    say(s->last_error, sizeof s->last_error, l->error, &l->why);
}

static void say_where(char *out, const struct store_line *l)
{
    snprintf(out, STORE_ADDRESS_BYTES, "%s", l->s != NULL ? store_address(l->s) : "");
}

/* Old addresses may serve while the new one is tried. */
static void note(struct store_watch *w, unsigned brought)
{
    const struct store_line *reads = line_that_reads(w);
    struct store_watch_status *s = &w->status;

    uv_mutex_lock(&w->lock);
    bool away = cli_store_is_away(reads->error) || is_fault(reads->error, &store_refused);
    if ((brought & LINE_FAILED) != 0 && (reads->s == NULL || !away))
        s->reachable = !failed(reads->error);
    if ((brought & LINE_ANSWERED) != 0)
        s->reachable = !failed(w->unread);
    s->listening = w->writer.listening;
    if (!failed(reads->error) && failed(w->unread))
        say(s->last_error, sizeof s->last_error, w->unread, &w->unread_why);
    else
        say_line(s, failed(reads->error) ? reads : &w->writer);
    say_where(s->writer, &w->writer);
    say_where(s->reader, reads);
    uv_mutex_unlock(&w->lock);
}

/* ---- Reading ---- */

static void offer(struct store_watch *w, const char *path, const char *cause)
{
    w->offered = true;
    w->forced = false;
    uv_mutex_lock(&w->lock);
    w->offer_path = path;
    w->offer_cause = cause;
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->news);
}

/* Certificates and secrets are read anew, though the database says nothing. */
static void offer_kept(struct store_watch *w)
{
    struct store_why why;

    err e = kept_check(w->kept_path, &why);
    w->forced = false;
    if (failed(e))
        log_error(e.fault->name, "the kept copy is not loaded; what is served goes on",
                  LOG_STR("reason", e.fault->text), LOG_STR("detail", why.text));
    else
        offer(w, w->kept_path, "SIGHUP");
}

/* One whose replay is behind must not bring back what was replaced; but what a writer says holds,
 * after a restore, too, and in the end what a standby goes on saying. */
static bool is_behind(struct store_watch *w, const struct store_line *l)
{
    if (l->revision >= w->revision || !l->standby || w->forced) {
        w->older_until_ms = 0;
        return false;
    }
    if (w->older_until_ms == 0)
        w->older_until_ms = now_ms() + LAG_PATIENCE_MS;
    return now_ms() < w->older_until_ms;
}

static bool has_moved(void *arg)
{
    return store_line_moved(arg);
}

/* What is asked next waits for the server, which may hang: it must not keep the thread from
 * following the writer. */
static void begin_waiting(struct store_line *l)
{
    if (l->writes)
        store_set_give_up(l->s, has_moved, l);
}

static void end_waiting(struct store_line *l)
{
    store_set_give_up(l->s, NULL, NULL);
}

static void read_anew(struct store_watch *w, struct store_line *l)
{
    int64_t revision;

    begin_waiting(l);
    err e = cli_store_read(w->node, KEPT_NEXT, l->s, &revision, &w->unread_why);
    end_waiting(l);
    w->unread = e;
    if (!failed(e)) {
        w->revision = revision; /* what failed half way is read again */
        w->reads_lost = 0;
        log_notice("store_read", "the configuration was read from the database",
                   LOG_INT("revision", w->revision));
        offer(w, w->next_path, w->forced ? "SIGHUP" : "database");
        return;
    }
    w->read_ms = now_ms() + STORE_POLL_MS;
    log_error("store_unusable", "the configuration cannot be read from the database; what is "
              "served goes on", LOG_STR("reason", e.fault->text),
              LOG_STR("detail", w->unread_why.text));
    if (is_fault(e, &store_lost)) {
        store_line_lose(l, e, &w->unread_why);
        w->unread = OK;
        /* At once, on a new connection; but it may be the read that ends it. */
        if (w->reads_lost++ < READS_LOST_MAX)
            w->read_ms = 0;
    }
    if (w->forced)
        offer_kept(w);
}

/* What is offered ends before anything else is read: then it is asked again. */
static void consider(struct store_watch *w, struct store_line *l)
{
    if (l->revision >= w->heard || now_ms() > w->heard_until_ms)
        w->heard = -1;
    if (w->heard >= 0)
        store_line_ask_by(l, now_ms() + LAG_LOOK_MS);
    if (w->offered || l->s == NULL)
        return;
    if (l->revision == w->revision)
        w->unread = OK;
    if (w->forced || (l->revision != w->revision && now_ms() >= w->read_ms && !is_behind(w, l)))
        read_anew(w, l);
}

static void take_turn(struct store_watch *w, struct store_line *l)
{
    struct store_line *reads = line_that_reads(w);
    unsigned brought = store_line_turn(l);

    if (l->writes)
        w->answered = (brought & LINE_ANSWERED) != 0;
    /* Nobody took the connection: no login was made. */
    if ((brought & LINE_FAILED) != 0 && l->s == NULL && !l->taken && l->pg != NULL)
        store_nodes_no_login(w->nodes, l->pg);
    if ((brought & LINE_HEARD) != 0) {
        w->heard = l->number;
        w->heard_until_ms = now_ms() + LAG_PATIENCE_MS;
        w->read_ms = 0;
    }
    if ((brought & (LINE_HEARD | LINE_REACHED)) != 0)
        store_line_ask_by(reads, 0);
    if ((brought & LINE_FAILED) != 0 && l == reads && w->forced && !w->offered)
        offer_kept(w);
    if ((brought & LINE_ANSWERED) != 0 && l == reads)
        consider(w, l);
    if (brought != 0)
        note(w, l == reads ? brought : 0);
}

/* ---- Credentials ---- */

static struct store_identity *identity_for(struct store_watch *w, const struct pg_settings *pg)
{
    for (size_t i = 0; i < IDENTITIES; i++) {
        struct store_identity **x = &w->identities[i];
        if (*x != NULL && store_identity_fits(*x, pg))
            return *x;
        if (*x == NULL)
            return failed(store_identity_new(store_region(pg), x)) ? NULL : *x;
    }
    return NULL;
}

static void free_identities(struct store_watch *w)
{
    for (size_t i = 0; i < IDENTITIES; i++) {
        store_identity_free(w->identities[i]);
        w->identities[i] = NULL;
    }
}

/* Regions that were renamed twice over leave no place: then all is found anew. */
static bool keep_identities(struct store_watch *w)
{
    for (size_t i = 0; i < IDENTITIES; i++) {
        if (w->identities[i] != NULL)
            store_identity_unpin(w->identities[i]);
    }
    return (!w->node->pg.iam_auth || identity_for(w, &w->node->pg) != NULL) &&
           (!w->node->has_pg_ro || !w->node->pg_ro.iam_auth ||
            identity_for(w, &w->node->pg_ro) != NULL);
}

static enum aws_ready get_credentials(void *arg, const struct pg_settings *pg,
                                      const struct aws_credentials **out, err *e,
                                      struct store_why *why)
{
    struct store_identity *x = identity_for(arg, pg);

    struct store_watch *w = arg;

    if (x != NULL) {
        enum aws_ready ready = store_identity_get(x, pg, out, e, why);
        return ready == AWS_READY && !store_nodes_may_login(w->nodes, pg) ? AWS_WAIT : ready;
    }
    *e = fail(&fault_out_of_memory);
    return AWS_FAILED;
}

static struct view get_region(void *arg, const struct pg_settings *pg)
{
    struct store_identity *x = identity_for(arg, pg);

    return x != NULL ? store_identity_region(x) : VIEW("");
}

/* ---- The node's row ---- */

/* A standby has none to write to. */
static bool may_write(const struct store_line *l)
{
    return l->s != NULL && l->listening && !l->standby;
}

/* It waits for the server, and so is done only where that has answered just now. */
static void renew_node(struct store_watch *w)
{
    struct store_line *l = &w->writer;
    struct store_why why;

    bool away = !may_write(l);
    if (away ? failed(l->error) || w->renewed_by != NULL
             : w->renewed_by != NULL && w->renewed_by != l->s)
        store_nodes_lost(w->nodes);
    w->renewed_by = away ? NULL : l->s;
    if (away || l->asked)
        return;
    if (!w->answered || now_ms() < store_nodes_due_ms(w->nodes)) {
        store_line_ask_by(l, store_nodes_due_ms(w->nodes));
        return;
    }
    store_set_timeout(l->s, RENEW_TIMEOUT_MS);
    begin_waiting(l);
    err e = store_nodes_renew(w->nodes, l->s, &why);
    end_waiting(l);
    store_set_timeout(l->s, l->pg->timeout_ms);
    if (!failed(e)) {
        store_line_ask_by(l, store_nodes_due_ms(w->nodes));
        return;
    }
    store_line_lose(l, e, &why);
    note(w, l->reads ? LINE_FAILED : 0);
}

static void leave(struct store_watch *w)
{
    struct store_line *l = &w->writer;
    struct pollfd at = {.events = POLLIN};
    struct store_rows rows;
    struct store_why why;

    if (!may_write(l))
        return;
    at.fd = store_socket(l->s);
    for (int64_t until_ms = now_ms() + LEAVE_TIMEOUT_MS; l->asked && now_ms() < until_ms;) {
        bool answered;
        poll(&at, 1, (int)(until_ms - now_ms()));
        err e = store_answer(l->s, &answered, &rows, &why);
        if (!failed(e) && answered)
            store_rows_clear(&rows);
        if (is_fault(e, &store_lost))
            return;
        l->asked = !failed(e) && !answered;
    }
    if (!l->asked)
        store_nodes_leave(w->nodes, l->s);
}

/* ---- The thread ---- */

/* What is said in sallyport.conf now, as `reload` means it. */
static void read_settings(struct store_watch *w)
{
    struct arena arena;
    struct node_config now;

    arena_init(&arena, CONF_BLOCK_BYTES, CONF_MAX_BYTES);
    struct diagnostics d = {.arena = &arena};
    struct node_config_sources sources = {.environment = environ,
                                          .conf_file = w->control->node->conf_file.data};
    struct cli_secrets *secrets = cli_secrets_new(true);
    err e = secrets == NULL ? fail(&fault_out_of_memory)
                            : cli_secrets_load_node(secrets, &arena, &sources, &now, &d);
    cli_secrets_free(secrets);
    if (failed(e) || !view_is(now.database, "postgres")) {
        log_warn("store_settings_kept", "sallyport.conf has mistakes, or another database; the "
                 "settings of pg_… from before stay in force");
        control_log_mistakes(&d);
        arena_clear(&arena);
        return;
    }
    now.declarative_config = w->control->node->declarative_config; /* the prefix is the start's */
    arena_clear(&w->arena);
    w->arena = arena;
    w->own = now;
    w->node = &w->own;
}

static void end_offer(struct store_watch *w, bool taken)
{
    struct store_why why;

    w->offered = false;
    store_line_ask_by(line_that_reads(w), 0); /* what came meanwhile */
    if (!taken || w->offer_path == w->kept_path)
        return;
    err e = kept_take(w->kept_path, &why);
    if (failed(e))
        log_error(e.fault->name, e.fault->text, LOG_STR("detail", why.text));
}

static void open_lines(struct store_watch *w)
{
    const struct store_signer signer = {get_credentials, get_region, w};

    if (!keep_identities(w))
        free_identities(w);
    err e = store_line_open(&w->writer, w->node, &w->node->pg, &signer);
    if (!failed(e) && w->node->has_pg_ro)
        e = store_line_open(&w->reader, w->node, &w->node->pg_ro, &signer);
    ENSURE(!failed(e)); /* no memory, no thread */
    w->writer.reads = !w->node->has_pg_ro;
}

static void close_lines(struct store_watch *w)
{
    store_line_close(&w->writer);
    store_line_close(&w->reader);
}

static void take_word(struct store_watch *w)
{
    uint64_t n;
    ssize_t got = rings(w->wake_fd) ? read(w->wake_fd, &n, sizeof n) : 0;

    (void)got;
    uv_mutex_lock(&w->lock);
    bool settled = w->settled, asked = w->asked && (settled || !w->offered), taken = w->taken;
    w->settled = false;
    w->asked = w->asked && !asked;
    uv_mutex_unlock(&w->lock);
    if (settled)
        end_offer(w, taken);
    if (!asked)
        return;
    close_lines(w);
    read_settings(w);
    open_lines(w);
    w->forced = true;
}

/* For the control thread, the database, AWS, the resolver, or the clock. */
static void wait_for_something(struct store_watch *w)
{
    struct pollfd at[WAITS_MAX] = {{.fd = w->stop_fd, .events = POLLIN},
                                   {.fd = w->wake_fd, .events = POLLIN}};
    nfds_t count = 2;
    int64_t due_ms = now_ms() + STORE_POLL_MS;

    for (size_t i = 0; i < IDENTITIES; i++) {
        if (w->identities[i] == NULL)
            continue;
        int64_t turn_ms = store_identity_turn(w->identities[i]);
        due_ms = turn_ms < due_ms ? turn_ms : due_ms;
        at[count++] = (struct pollfd){.fd = store_identity_fd(w->identities[i]), .events = POLLIN};
    }
    struct store_line *const lines[] = {&w->writer, &w->reader};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        int64_t line_ms = store_line_due_ms(lines[i]);
        due_ms = line_ms < due_ms ? line_ms : due_ms;
        count += store_line_waits(lines[i], at + count);
    }
    int64_t left = due_ms - now_ms();
    poll(at, count, left <= 0 ? 0 : (int)left);
}

static void watch(void *arg)
{
    struct store_watch *w = arg;

    open_lines(w);
    while (!rings(w->stop_fd)) {
        take_word(w);
        take_turn(w, &w->writer);
        take_turn(w, &w->reader);
        renew_node(w);
        wait_for_something(w);
    }
    leave(w);
    close_lines(w);
    free_identities(w);
}

/* ---- The control thread's side ---- */

static void on_news(uv_async_t *news)
{
    struct store_watch *w = news->data;

    uv_mutex_lock(&w->lock);
    const char *path = w->offer_path, *cause = w->offer_cause;
    uv_mutex_unlock(&w->lock);
    if (path == NULL || w->control->stopping)
        return;
    /* While an offer stands the thread leaves its settings alone. */
    if (!secrets_set_keyring(w->control, &w->node->keyring))
        log_error("keyring_kept", "there is not enough memory for the keyring");
    control_offer(w->control, path, cause);
}

static void ask(void *arg)
{
    struct store_watch *w = arg;

    uv_mutex_lock(&w->lock);
    w->asked = true;
    uv_mutex_unlock(&w->lock);
    ring(w->wake_fd);
}

static void on_settled(void *arg, bool taken, struct view mistake)
{
    struct store_watch *w = arg;

    uv_mutex_lock(&w->lock);
    w->settled = true;
    w->taken = taken;
    if (taken && w->offer_path == w->next_path)
        w->status.revision = w->revision; /* the thread waits */
    w->status.refused = taken ? -1 : w->revision;
    snprintf(w->status.mistake, sizeof w->status.mistake, "%.*s",
             VIEW_ARG(taken ? VIEW("") : mistake));
    uv_mutex_unlock(&w->lock);
    ring(w->wake_fd);
}

struct store_watch *store_watch_start(struct control *c, const struct node_config *node,
                                      int64_t revision)
{
    struct store_watch *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->nodes = store_nodes_new(node, c->pace);
    if (w->nodes == NULL) {
        free(w);
        return NULL;
    }
    w->control = c;
    w->node = node;
    w->kept_path = node->declarative_config.data;
    snprintf(w->next_path, sizeof w->next_path, "%.*s" KEPT_NEXT,
             VIEW_ARG(node->declarative_config));
    w->revision = w->status.revision = revision;
    w->heard = w->status.refused = -1;
    w->status.reachable = revision >= 0;
    arena_init(&w->arena, CONF_BLOCK_BYTES, CONF_MAX_BYTES);
    ENSURE(uv_mutex_init(&w->lock) == 0 && uv_async_init(&c->loop, &w->news, on_news) == 0);
    w->news.data = w;
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ENSURE(w->stop_fd >= 0 && w->wake_fd >= 0);
    w->writer = (struct store_line){.name = "read-write", .writes = true, .stop_fd = w->stop_fd};
    w->reader = (struct store_line){.name = "read-only", .reads = true, .stop_fd = w->stop_fd};
    ENSURE(uv_thread_create(&w->thread, watch, w) == 0);
    control_set_supply(c, &(struct control_supply){ask, on_settled, w});
    return w;
}

void store_watch_status(struct store_watch *w, struct store_watch_status *out)
{
    uv_mutex_lock(&w->lock);
    *out = w->status;
    uv_mutex_unlock(&w->lock);
    store_nodes_status(w->nodes, &out->nodes);
}

void store_watch_stop(struct store_watch *w)
{
    if (w == NULL)
        return;
    ring(w->stop_fd);
    uv_thread_join(&w->thread);
    uv_close((uv_handle_t *)&w->news, NULL);
}

void store_watch_free(struct store_watch *w)
{
    if (w == NULL)
        return;
    close(w->stop_fd);
    close(w->wake_fd);
    uv_mutex_destroy(&w->lock);
    arena_clear(&w->arena);
    store_nodes_free(w->nodes);
    free(w);
}
