#include "cli/store_watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cli/secrets.h"
#include "cli/store_login.h"
#include "crypto/random.h"
#include "store/kept.h"

enum {
    NS_PER_MS = 1000000,
    FIRST_PAUSE_MS = 500,
    PAUSE_MAX_MS = 1000,
    IAM_PAUSE_MAX_MS = 3000,      /* RDS: at most 200 logins by IAM a second, of all nodes */
    REFUSED_PAUSE_MAX_MS = 15000,
    LAG_LOOK_MS = 50,             /* a standby that has not replayed what was notified */
    LAG_PATIENCE_MS = 10000,      /* then the poll is often enough */
    CONF_BLOCK_BYTES = 16 * 1024,
    CONF_MAX_BYTES = 16 * 1024 * 1024,
};

/* A connection that is kept. */
struct line {
    const char *name; /* for the log */
    bool writes;
    struct store *s; /* NULL: away */
    bool listening;
    unsigned failures; /* in a row */
    int64_t due_ms;    /* of the next attempt */
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
    struct line writer, reader;
    bool offered;
    bool forced; /* SIGHUP: offer something, whatever is new */
    int64_t revision;
    int64_t look_ms;
    int64_t heard; /* a revision that the reader has not shown yet; -1: none */
    int64_t heard_until_ms;
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

static struct line *line_that_reads(struct store_watch *w)
{
    return w->node->has_pg_ro ? &w->reader : &w->writer;
}

/* ---- What is said ---- */

static void note(struct store_watch *w, const struct line *line, err e,
                 const struct store_why *why)
{
    uv_mutex_lock(&w->lock);
    if (line == line_that_reads(w))
        w->status.reachable = !failed(e);
    w->status.listening = w->writer.listening;
    if (failed(e))
        snprintf(w->status.last_error, sizeof w->status.last_error, "%s%s%.400s", e.fault->text,
                 why->text[0] != '\0' ? ": " : "", why->text);
    else if (w->writer.listening) /* else what keeps it from listening stays to be said */
        w->status.last_error[0] = '\0';
    uv_mutex_unlock(&w->lock);
}

/* ---- Connections ---- */

static void hang_up(struct line *line)
{
    store_close(line->s);
    line->s = NULL;
    line->listening = false;
}

/* A login that is refused will be so again; a server that starts or ends says FATAL, too. */
static bool is_refusal(const struct store_why *why)
{
    return strstr(why->text, "FATAL:") != NULL &&
           strstr(why->text, "the database system is") == NULL;
}

static int64_t pause_of(const struct store_watch *w, const struct line *line,
                        const struct store_why *why)
{
    const struct pg_settings *pg = line == &w->reader ? &w->node->pg_ro : &w->node->pg;
    int64_t most = is_refusal(why) ? REFUSED_PAUSE_MAX_MS
                   : pg->iam_auth  ? IAM_PAUSE_MAX_MS
                                   : PAUSE_MAX_MS;
    int64_t pause = FIRST_PAUSE_MS;

    for (unsigned i = 0; i < line->failures && pause < most; i++)
        pause *= 2;
    return 1 + (int64_t)random_below((uint64_t)(pause < most ? pause : most));
}

static void lose(struct store_watch *w, struct line *line, err e, const struct store_why *why)
{
    hang_up(line);
    if (rings(w->stop_fd))
        return;
    line->due_ms = now_ms() + pause_of(w, line, why);
    if (line->failures++ == 0)
        log_warn("store_unreachable", "the configuration's database is away: what is served goes "
                 "on, and the connection is tried again", LOG_STR("connection", line->name),
                 LOG_STR("reason", e.fault->text), LOG_STR("detail", why->text));
    note(w, line, e, why);
}

static void reach(struct store_watch *w, struct line *line, const struct pg_settings *pg)
{
    struct store_why why;
    err e;

    if (line->s != NULL || now_ms() < line->due_ms || rings(w->stop_fd))
        return;
    e = cli_store_connect(w->node, pg, w->stop_fd, &line->s, &why);
    if (failed(e)) {
        lose(w, line, e, &why);
        return;
    }
    if (line == &w->writer) {
        e = store_script(line->s, "listen sallyport", &why);
        line->listening = !failed(e);
        /* A standby cannot listen (25006): the name may be the writer's again soon. */
        if (failed(e) && line != line_that_reads(w)) {
            lose(w, line, e, &why);
            return;
        }
    }
    w->look_ms = 0; /* what was missed */
}

/* Answers, but is a standby, where LISTEN is refused: what is polled goes by a connection that is
 * made anew each time, for the name may be the writer's again. */
static void seek_writer(struct store_watch *w)
{
    static const struct store_why nothing = {""};

    if (w->writer.s == NULL || w->writer.listening)
        return;
    hang_up(&w->writer);
    w->writer.due_ms = now_ms() + pause_of(w, &w->writer, &nothing);
    if (w->writer.failures++ == 0)
        log_warn("store_not_listening", "the read-write connection may not LISTEN, as on a "
                 "standby: changes are heard of by asking only");
}

static void answered(struct line *line)
{
    if (line->writes && !line->listening)
        return;
    if (line->failures > 0)
        log_notice("store_reachable", "the configuration's database answers again",
                   LOG_STR("connection", line->name));
    line->failures = 0;
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

static err ask_revision(struct store *s, int64_t *out, struct store_why *why)
{
    struct store_rows rows;
    uint64_t n = 0;

    TRY(store_run(s, "select coalesce(max(revision), 0) from sallyport_revisions", NULL, 0, &rows,
                  why));
    bool good = view_to_u64(store_cell(&rows, 0, 0), INT64_MAX, &n);
    store_rows_clear(&rows);
    *out = (int64_t)n;
    return good ? OK : fail(&store_failed);
}

static err read_anew(struct store_watch *w, struct store *s, struct store_why *why)
{
    int64_t revision;

    TRY(ask_revision(s, &revision, why));
    if (revision >= w->heard || now_ms() > w->heard_until_ms)
        w->heard = -1;
    if (!w->forced && revision == w->revision)
        return OK;
    TRY(cli_store_read(w->node, KEPT_NEXT, s, &w->revision, why));
    log_notice("store_read", "the configuration was read from the database",
               LOG_INT("revision", w->revision));
    offer(w, w->next_path, w->forced ? "SIGHUP" : "database");
    return OK;
}

static bool is_loss(err e)
{
    return is_fault(e, &store_lost) || is_fault(e, &store_unreachable);
}

/* The connection that only listens is asked, too: one that was cut says nothing by itself. */
static void look_after_listener(struct store_watch *w)
{
    struct store_why why;

    if (w->writer.s == NULL || &w->writer == line_that_reads(w))
        return;
    err e = store_script(w->writer.s, "select 1", &why);
    if (failed(e))
        lose(w, &w->writer, e, &why);
    else
        answered(&w->writer);
}

static void look(struct store_watch *w)
{
    struct line *line = line_that_reads(w);
    struct store_why why = {""};
    bool was_forced = w->forced;

    if (line->s == NULL && w->forced)
        offer_kept(w);
    if (line->s == NULL || (!w->forced && now_ms() < w->look_ms))
        return;
    err e = read_anew(w, line->s, &why);
    w->look_ms = now_ms() + (w->heard >= 0 ? LAG_LOOK_MS : STORE_POLL_MS);
    if (is_loss(e)) {
        lose(w, line, e, &why);
    } else {
        if (failed(e))
            log_error("store_unusable", "the configuration cannot be read from the database; "
                      "what is served goes on", LOG_STR("reason", e.fault->text),
                      LOG_STR("detail", why.text));
        answered(line);
        note(w, line, e, &why);
    }
    if (failed(e) && was_forced && w->forced)
        offer_kept(w);
    look_after_listener(w);
    seek_writer(w);
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
    if (!taken || w->offer_path == w->kept_path)
        return;
    err e = kept_take(w->kept_path, &why);
    if (failed(e))
        log_error(e.fault->name, e.fault->text, LOG_STR("detail", why.text));
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
    read_settings(w);
    hang_up(&w->writer);
    hang_up(&w->reader);
    w->writer.due_ms = w->reader.due_ms = 0;
    w->forced = true;
}

/* True: something is to be looked at. */
static bool listen_to(struct store_watch *w, struct line *line)
{
    struct store_why why;
    int64_t number = -1;
    bool heard = false;

    if (line->s == NULL)
        return false;
    err e = store_heard(line->s, &heard, &number, &why);
    if (failed(e)) {
        lose(w, line, e, &why);
        return false;
    }
    if (heard) {
        w->heard = number;
        w->heard_until_ms = now_ms() + LAG_PATIENCE_MS;
        w->look_ms = 0;
    }
    return heard;
}

static int64_t sooner(const struct line *line, int64_t due_ms)
{
    return line->s == NULL && line->due_ms < due_ms ? line->due_ms : due_ms;
}

/* For the control thread, the database, or the clock. */
static void wait_for_something(struct store_watch *w)
{
    struct pollfd at[4] = {{.fd = w->stop_fd, .events = POLLIN},
                           {.fd = w->wake_fd, .events = POLLIN}};
    nfds_t count = 2;
    int64_t due_ms;

    if (w->offered) {
        poll(at, count, -1);
        return;
    }
    if (listen_to(w, &w->writer) || listen_to(w, &w->reader))
        return;
    due_ms = sooner(&w->writer, INT64_MAX);
    if (w->node->has_pg_ro)
        due_ms = sooner(&w->reader, due_ms);
    if (line_that_reads(w)->s != NULL && w->look_ms < due_ms)
        due_ms = w->look_ms;
    if (w->writer.s != NULL)
        at[count++] = (struct pollfd){.fd = store_socket(w->writer.s), .events = POLLIN};
    if (w->reader.s != NULL)
        at[count++] = (struct pollfd){.fd = store_socket(w->reader.s), .events = POLLIN};
    int64_t left = due_ms - now_ms();
    poll(at, count, left <= 0 ? 0 : left > STORE_POLL_MS ? STORE_POLL_MS : (int)left);
}

static void watch(void *arg)
{
    struct store_watch *w = arg;

    while (!rings(w->stop_fd)) {
        take_word(w);
        if (!w->offered) {
            reach(w, &w->writer, &w->node->pg);
            if (w->node->has_pg_ro)
                reach(w, &w->reader, &w->node->pg_ro);
            look(w);
        }
        wait_for_something(w);
    }
    hang_up(&w->writer);
    hang_up(&w->reader);
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
    w->control = c;
    w->node = node;
    w->kept_path = node->declarative_config.data;
    snprintf(w->next_path, sizeof w->next_path, "%.*s" KEPT_NEXT,
             VIEW_ARG(node->declarative_config));
    w->writer = (struct line){.name = "read-write", .writes = true};
    w->reader = (struct line){.name = "read-only"};
    w->revision = w->status.revision = revision;
    w->heard = w->status.refused = -1;
    w->status.reachable = revision >= 0;
    arena_init(&w->arena, CONF_BLOCK_BYTES, CONF_MAX_BYTES);
    ENSURE(uv_mutex_init(&w->lock) == 0 && uv_async_init(&c->loop, &w->news, on_news) == 0);
    w->news.data = w;
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ENSURE(w->stop_fd >= 0 && w->wake_fd >= 0);
    ENSURE(uv_thread_create(&w->thread, watch, w) == 0);
    control_set_supply(c, &(struct control_supply){ask, on_settled, w});
    return w;
}

void store_watch_status(struct store_watch *w, struct store_watch_status *out)
{
    uv_mutex_lock(&w->lock);
    *out = w->status;
    uv_mutex_unlock(&w->lock);
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
    free(w);
}
