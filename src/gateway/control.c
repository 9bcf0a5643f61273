#include "gateway/control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/time.h"
#include "config/config.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/tls.h"
#include "gateway/aws_identity.h"
#include "gateway/started.h"
#include "gateway/upstream.h"
#include "gateway/words.h"
#include "net/net.h"

static const int signal_numbers[] = {SIGHUP, SIGQUIT, SIGTERM, SIGINT};

enum {
    ANCHOR_MS = 1000,
    LIMITER_BUCKETS = 100000,
    PATH_BYTES = 4096,
    CANCEL_MS = 2000, /* for cancels at the end */
};

static void say(const char *what, const char *more)
{
    fprintf(stderr, "Error: %s%s%s\n", what, more[0] != '\0' ? ": " : "", more);
}

static void text_of(struct view v, char *out, size_t size)
{
    snprintf(out, size, "%.*s", VIEW_ARG(v));
}

/* ---- Configuration ---- */

bool control_hash_file(const char *path, char out[65])
{
    struct sha256 h = {0};
    uint8_t digest[SHA256_BYTES];
    char chunk[16 * 1024];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    sha256_init(&h);
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        sha256_add(&h, view_of(chunk, (size_t)n));
    close(fd);
    sha256_end(&h, digest);
    sha256_clear(&h);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return n == 0;
}

static void record_change(struct control *c, const char *cause, const char *hash, bool applied,
                          const struct diagnostics *d)
{
    const struct diagnostic *first = d->first;
    const struct snapshot *s = c->snapshot;

    while (first != NULL && first->severity != SEVERITY_ERROR)
        first = first->next;
    const struct audit_config_change event = {
        .file = view_str(c->yaml_path),
        .sha256 = view_str(hash),
        .cause = view_str(cause),
        .applied = applied,
        .errors = d->errors,
        .detail = first != NULL ? first->text : (struct view){NULL, 0},
        .services = applied ? s->entities.service_count : 0,
        .routes = applied ? s->route_count : 0,
        .roles = applied ? s->entities.role_count : 0,
    };
    snprintf(c->load_mistake, sizeof c->load_mistake, "line %u: %.*s",
             first != NULL ? first->line : 0, VIEW_ARG(view_upto(event.detail, 400)));
    audit_config_change(c->audit, &event);
    (void)!failed(audit_flush(c->audit));
}

void control_log_mistakes(const struct diagnostics *d)
{
    for (const struct diagnostic *e = d->first; e != NULL; e = e->next)
        log_write(e->severity == SEVERITY_ERROR ? LOG_ERROR : LOG_WARN, "configuration",
                  e->severity == SEVERITY_ERROR ? "a mistake in the configuration"
                                                : "a doubt about the configuration",
                  (struct log_field[]){LOG_VIEW("file", e->file), LOG_INT("line", e->line),
                                       LOG_INT("column", e->column), LOG_VIEW("text", e->text)},
                  4);
}

static void take_snapshot(struct control *c, struct snapshot *s, const char *hash)
{
    snapshot_release(c->snapshot);
    c->snapshot = s;
    c->configured_at_s = s->loaded_at_s;
    snprintf(c->configuration_id, sizeof c->configuration_id, "%s", hash);
    for (size_t i = 0; i < c->worker_count; i++)
        worker_set_snapshot(&c->workers[i], s);
    key_refresher_set_identity(c->refresher, s->identity);
    uv_async_send(&c->keys_wake);
    upstreams_sweep(c);
    aws_identity_wanted(c);
    upstreams_adopt_logins(c); /* now that their credentials are on the way */
    rotations_configure(c->rotations, &s->entities);
}

static void note_news(struct control *c)
{
    c->news = true;
}

enum loaded { LOADED, REFUSED, AWAITS_SECRETS };

/* One try. */
static enum loaded load(struct control *c, bool at_start)
{
    struct arena arena;
    char hash[65] = "";
    struct snapshot *s = NULL;

    arena_init(&arena, 16 * 1024, 64 * 1024 * 1024);
    struct diagnostics d = {.arena = &arena};
    const struct snapshot_makers makers = {
        .broker_for = upstream_broker_for,
        .arg = c,
        .previous = c->snapshot,
        .metrics = c->gateway.metrics,
        .host = &c->secrets.host.host,
    };
    control_hash_file(c->load_path, hash);
    err e = snapshot_build(c->load_path, &makers, &d, &s);
    if (is_fault(e, &config_awaits_secrets)) {
        arena_clear(&arena);
        return AWAITS_SECRETS;
    }
    if (!failed(e))
        entities_check_rates(&s->entities, c->node, view_str(c->load_path), &d);
    if (at_start)
        diag_print(&d, STDERR_FILENO);
    else
        control_log_mistakes(&d);
    if (!failed(e))
        take_snapshot(c, s, hash);
    else
        upstreams_sweep(c); /* brokers that only the refused one would have used */
    record_change(c, c->load_cause, hash, !failed(e), &d);
    if (failed(e) && at_start)
        say(e.fault->text, c->load_path);
    arena_clear(&arena);
    secrets_end_load(c, !failed(e));
    return failed(e) ? REFUSED : LOADED;
}

/* The loop turns meanwhile, for what is asked of AWS; nothing is served yet. */
static bool load_at_start(struct control *c)
{
    enum loaded loaded;
    c->load_cause = "start";
    secrets_begin_load(c);
    while ((loaded = load(c, true)) == AWAITS_SECRETS && !c->stopping) {
        secrets_await(c, note_news);
        for (c->news = false; !c->news && !c->stopping;)
            uv_run(&c->loop, UV_RUN_ONCE);
    }
    return loaded == LOADED;
}

static void reload_certificate(struct control *c);

static void say_of_environment(const struct control *c)
{
    if (c->chain != NULL && chain_plan(c->chain)->source == AWS_SOURCE_ENVIRONMENT)
        log_notice("aws_environment_kept",
                   "the AWS credentials of the environment were read at start and stay: "
                   "others need a new start");
}

static void settled(struct control *c, bool taken)
{
    if (c->supply.settled != NULL)
        c->supply.settled(c->supply.arg, taken, view_str(c->load_mistake));
}

static void try_reload(struct control *c)
{
    switch (load(c, false)) {
    case AWAITS_SECRETS:
        secrets_await(c, try_reload);
        break;
    case LOADED:
        reload_certificate(c);
        log_notice("configuration_loaded", "the configuration was loaded and is served; the "
                   "environment, that of AWS included, is the one of the start",
                   LOG_STR("cause", c->load_cause),
                   LOG_INT("routes", (int64_t)c->snapshot->route_count));
        say_of_environment(c);
        settled(c, true);
        break;
    case REFUSED:
        log_error("configuration_refused",
                  "the configuration has mistakes; the one before goes on being served",
                  LOG_STR("cause", c->load_cause), LOG_STR("file", c->load_path),
                  LOG_STR("mistake", c->load_mistake));
        settled(c, false);
        break;
    }
}

void control_offer(struct control *c, const char *path, const char *cause)
{
    c->load_cause = cause;
    c->load_path = path;
    secrets_begin_load(c);
    try_reload(c);
}

void control_set_supply(struct control *c, const struct control_supply *supply)
{
    c->supply = *supply;
}

/* Whoever supplies the configuration is asked; what it then offers is loaded. */
static void on_hangup(struct control *c)
{
    if (c->stopping)
        return;
    if (c->supply.ask == NULL)
        control_offer(c, c->yaml_path, "SIGHUP");
    else
        c->supply.ask(c->supply.arg);
    started_tell_of_restart(c);
}

/* ---- The door's certificate ---- */

static err load_certificate(struct control *c, struct ssl_ctx_st **out)
{
    char cert[PATH_BYTES], key[PATH_BYTES];

    *out = NULL;
    if (c->node->ssl_cert.len == 0)
        return OK;
    text_of(c->node->ssl_cert, cert, sizeof cert);
    text_of(c->node->ssl_cert_key, key, sizeof key);
    return tls_server_context_new(cert, key, out);
}

static void give_certificate(struct control *c, struct ssl_ctx_st *tls)
{
    for (size_t i = 0; i < c->worker_count; i++)
        worker_set_tls(&c->workers[i], tls_context_acquire(tls));
    tls_context_release(tls);
}

/* A renewed certificate is served without a restart; one that cannot be read changes nothing. */
static void reload_certificate(struct control *c)
{
    struct ssl_ctx_st *tls = NULL;
    err e = load_certificate(c, &tls);

    if (failed(e))
        log_error("certificate_refused", "ssl_cert or ssl_cert_key cannot be loaded; the one "
                  "before goes on being served", LOG_STR("reason", e.fault->text));
    else
        give_certificate(c, tls);
}

/* ---- Keys ---- */

static void tick_keys(struct control *c);

static void on_keys_timer(uv_timer_t *timer)
{
    tick_keys(timer->data);
}

static void tick_keys(struct control *c)
{
    if (c->stopping)
        return;
    int64_t now_ms = time_monotonic_ns() / 1000000;
    int64_t next_ms = key_refresher_tick(c->refresher, now_ms);
    if (next_ms == INT64_MAX)
        return;
    uv_update_time(&c->loop);
    uv_timer_start(&c->keys, on_keys_timer, next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 1, 0);
}

static void on_keys_wake(uv_async_t *wake)
{
    tick_keys(wake->data);
}

static void wake_keys(void *arg)
{
    uv_async_send(&((struct control *)arg)->keys_wake);
}

/* ---- The end ---- */

static void on_all_finished(struct control *c)
{
    c->abrupt = true;
    upstreams_abort(c);
    uv_barrier_wait(&c->gateway.stopped); /* all have stopped serving */
    uv_barrier_wait(&c->gateway.stopped); /* all have closed the brokers */
    for (size_t i = 0; i < c->worker_count; i++)
        worker_join(&c->workers[i]);
    uv_stop(&c->loop);
}

static void open_finished(struct letter *letter)
{
    struct worker *w = CONTAINER_OF(letter, struct worker, finished);
    struct control *c = CONTAINER_OF(w->gateway, struct control, gateway);

    if (++c->workers_stopped == c->worker_count)
        on_all_finished(c);
}

static void worker_finished(struct worker *w)
{
    struct control *c = CONTAINER_OF(w->gateway, struct control, gateway);

    mailbox_post(&c->mailbox, &w->finished, open_finished);
}

static void stop_now(struct control *c)
{
    c->abrupt = true;
    for (size_t i = 0; i < c->worker_count; i++)
        worker_stop(&c->workers[i]);
}

/* A server does not notice that its client has gone before it has something to say: the statement
 * would run on, with its locks.  So what still runs is cancelled before its connection is
 * closed. */
static void on_deadline(uv_timer_t *timer)
{
    struct control *c = timer->data;

    if (c->cancelling) {
        stop_now(c);
        return;
    }
    log_warn("shutdown_timeout", "calls were still in flight at shutdown_timeout_ms; they are "
             "cancelled now");
    c->cancelling = true;
    for (size_t i = 0; i < c->worker_count; i++)
        worker_abandon(&c->workers[i]);
    uv_update_time(&c->loop);
    uv_timer_start(&c->deadline, on_deadline, CANCEL_MS, 0);
}

static void begin_end(struct control *c, const char *reason, bool graceful)
{
    bool again = c->stopping;

    c->stopping = true;
    c->stop_reason = reason;
    atomic_store(&c->gateway.draining, true);
    log_notice("stopping", graceful ? "finishing the calls in flight" : "stopping",
               LOG_STR("reason", reason));
    if (!graceful) {
        stop_now(c);
    } else if (!again) {
        for (size_t i = 0; i < c->worker_count; i++)
            worker_quit(&c->workers[i]);
        upstreams_pump(c); /* logins that wait for a secret wait no more */
        uv_update_time(&c->loop);
        uv_timer_start(&c->deadline, on_deadline, words_quit_ms(c->node), 0);
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct control *c = signal->data;

    if (c->workers_stopped == c->worker_count)
        return; /* it is ending already; see close_signals */
    switch (number) {
    case SIGHUP:
        on_hangup(c);
        break;
    case SIGQUIT:
        begin_end(c, "SIGQUIT", true);
        break;
    default:
        begin_end(c, number == SIGINT ? "SIGINT" : "SIGTERM", false);
        break;
    }
}

/* ---- Upkeep ---- */

static void on_second(uv_timer_t *timer)
{
    struct control *c = timer->data;

    (void)!failed(audit_flush(c->audit));
    (void)!failed(audit_anchor_write(c->gateway.audit));
    upstreams_reap(c);
    rotations_tick(c->rotations);
}

static void on_turn(uv_prepare_t *turn)
{
    stream_flush_all(&((struct control *)turn->data)->flush_list);
}

/* ---- The start ---- */

static bool make_prefix(const struct node_config *node)
{
    char path[PATH_BYTES];

    text_of(node->prefix, path, sizeof path);
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    char more[PATH_BYTES + 64];
    snprintf(more, sizeof more, "%.*s: %s", VIEW_ARG(node->prefix), strerror(errno));
    say("the prefix could not be made", more);
    return false;
}

static bool open_audit(struct control *c)
{
    char detail[256] = "";
    const struct audit_options options = {
        .directory = c->node->audit_directory,
        .node = c->node->node_name,
        .fsync = c->node->audit_fsync,
        .rotate_bytes = c->node->audit_rotate_bytes,
    };

    err e = audit_log_open(&options, &c->gateway.audit, detail);
    if (!failed(e))
        e = audit_writer_open(c->gateway.audit, AUDIT_CONTROL_WRITER, &c->audit);
    if (failed(e)) {
        say(e.fault->text, detail);
        return false;
    }
    const struct audit_start event = {.version = VIEW(SALLYPORT_VERSION),
                                      .workers = c->worker_count,
                                      .pid = getpid()};
    audit_start(c->audit, &event);
    return true;
}

static void init_loop(struct control *c)
{
    ENSURE(uv_loop_init(&c->loop) == 0);
    mailbox_init(&c->mailbox, &c->loop);
    list_init(&c->flush_list);
    list_init(&c->upstreams);
    ENSURE(uv_prepare_init(&c->loop, &c->turn) == 0);
    uv_prepare_start(&c->turn, on_turn);
    ENSURE(uv_async_init(&c->loop, &c->keys_wake, on_keys_wake) == 0);
    uv_timer_init(&c->loop, &c->second);
    uv_timer_init(&c->loop, &c->keys);
    uv_timer_init(&c->loop, &c->logins);
    uv_timer_init(&c->loop, &c->deadline);
    secrets_init_handles(c);
    aws_identity_init(c);
    c->turn.data = c->second.data = c->keys.data = c->logins.data = c->deadline.data = c;
    c->keys_wake.data = c;
    for (size_t i = 0; i < COUNT_OF(signal_numbers); i++) {
        ENSURE(uv_signal_init(&c->loop, &c->signals[i]) == 0);
        c->signals[i].data = c;
        uv_signal_start(&c->signals[i], on_signal, signal_numbers[i]);
    }
    uv_timer_start(&c->second, on_second, ANCHOR_MS, ANCHOR_MS);
}

/* After the gateway and the runner. */
static bool open_rotations(struct control *c)
{
    const struct rotations_options options = {
        .runner = net_runner_base(c->runner),
        .clock = &system_clock,
        .program = "/proc/self/exe",
        .conf_file = c->node->conf_file.data,
        .metrics = c->gateway.metrics,
        .shard = metrics_shard(c->gateway.metrics, c->worker_count),
    };
    return !failed(rotations_new(&options, &c->rotations));
}

static bool open_sources(struct control *c)
{
    const struct key_refresher_options options = {NULL, wake_keys, c};
    struct key_refresher_options with_fetcher = options;
    struct credential_provider *environment;

    /* Half a key, or one with a line end from a copied file, is better told now than at a login. */
    err e = credentials_from_environment(getenv, &environment);
    credentials_release(environment);
    if (failed(e) && !is_fault(e, &aws_credentials_absent)) {
        say(e.fault->text, "");
        return false;
    }
    c->fetcher = net_fetcher_new(&c->loop);
    if (c->fetcher != NULL)
        c->runner = net_runner_new(&c->loop);
    if (c->runner == NULL)
        return false;
    with_fetcher.fetcher = net_fetcher_base(c->fetcher);
    return secrets_init(c) && open_rotations(c) &&
           !failed(key_refresher_new(&with_fetcher, &c->refresher));
}

static bool open_gateway(struct control *c)
{
    struct gateway *g = &c->gateway;

    g->node = c->node;
    g->metrics = metrics_new(c->worker_count + 1);
    g->limiter = limiter_new(LIMITER_BUCKETS);
    g->windows = window_limiter_new(LIMITER_BUCKETS);
    if (g->metrics == NULL || g->limiter == NULL || g->windows == NULL || !upstream_pace_open(c))
        return false;
    g->client_connections = metrics_series(g->metrics, METRIC_CLIENT_CONNECTIONS, NULL, 0);
    c->token_mints = metrics_series(g->metrics, METRIC_TOKEN_MINTS, NULL, 0);
    const struct view decision[] = {VIEW("deny")}, allow[] = {VIEW("allow")};
    const struct view no_route[] = {VIEW(""), VIEW("")};
    g->unrouted = metrics_set(g->metrics, METRIC_REQUESTS, no_route, 2);
    g->decisions = metrics_set(g->metrics, METRIC_DECISIONS, decision, 1);
    const struct view allowed[] = {allow[0], VIEW("allowed")};
    g->allowed = metrics_series(g->metrics, METRIC_DECISIONS, allowed, 2);
    random_bytes(g->boot, sizeof g->boot);
    g->worker_finished = worker_finished;
    return uv_barrier_init(&g->stopped, (unsigned)c->worker_count + 1) == 0;
}

static bool listen_all(struct control *c)
{
    const struct listens *l = &c->node->proxy_listen;

    for (size_t i = 0; i < l->count; i++) {
        char place[128];
        snprintf(place, sizeof place, "%.*s:%u", VIEW_ARG(l->items[i].host), l->items[i].port);
        err e = listener_probe(l->items[i].host, l->items[i].port);
        for (size_t w = 0; w < c->worker_count && !failed(e); w++) {
            int fd = -1;
            e = listener_open(l->items[i].host, l->items[i].port, &fd);
            if (!failed(e))
                e = worker_listen(&c->workers[w], fd, l->items[i].tls);
        }
        if (failed(e)) {
            char more[256];
            snprintf(more, sizeof more, "%s: %s", place, e.fault->text);
            say("proxy_listen", more);
            return false;
        }
    }
    return true;
}

static bool make_workers(struct control *c)
{
    c->workers = calloc(c->worker_count, sizeof *c->workers);
    c->db_workers = calloc(c->worker_count, sizeof(struct db_worker *));
    if (c->workers == NULL || c->db_workers == NULL)
        return false;
    for (size_t i = 0; i < c->worker_count; i++) {
        err e = worker_init(&c->workers[i], &c->gateway, (unsigned)i);
        if (!failed(e))
            e = worker_reserve(&c->workers[i], c->node->proxy_listen.count);
        if (failed(e)) {
            say("a worker could not be made", e.fault->text);
            return false;
        }
        list_init(&c->workers[i].finished.link);
        c->db_workers[i] = &c->workers[i].db;
    }
    return true;
}

bool control_start(struct control *c, const struct node_config *node, const char *path)
{
    struct ssl_ctx_st *tls = NULL;
    char *yaml = malloc(PATH_BYTES);

    *c = (struct control){.node = node, .yaml_path = yaml, .stop_reason = "unknown"};
    if (yaml == NULL)
        return false;
    text_of(node->declarative_config, yaml, PATH_BYTES);
    c->load_path = path != NULL ? path : yaml;
    text_of(node->rds_ca_bundle, c->rds_bundle, sizeof c->rds_bundle);
    c->worker_count = node->workers > 0 ? (size_t)node->workers : (size_t)uv_available_parallelism();
    (void)signal(SIGPIPE, SIG_IGN);
    if (!make_prefix(node))
        return false;
    started_keep(c);
    err e = load_certificate(c, &tls);
    if (failed(e)) {
        say("ssl_cert, ssl_cert_key", e.fault->text);
        return false;
    }
    init_loop(c);
    if (!open_gateway(c) || !open_audit(c) || !make_workers(c) || !open_sources(c) ||
        !listen_all(c)) {
        tls_context_release(tls);
        return false;
    }
    give_certificate(c, tls);
    c->starting = true;
    bool loaded = load_at_start(c);
    c->starting = false;
    return loaded;
}

void control_on_end(struct control *c, void (*end)(void *arg), void *arg)
{
    c->end = end;
    c->end_arg = arg;
}

static void on_fetcher_closed(void *arg)
{
    (void)arg; /* the loop that runs to its end is what waits for it */
}

static void close_handles(struct control *c)
{
    for (size_t i = 0; i < COUNT_OF(c->signals); i++)
        uv_unref((uv_handle_t *)&c->signals[i]);
    uv_close((uv_handle_t *)&c->turn, NULL);
    uv_close((uv_handle_t *)&c->second, NULL);
    uv_close((uv_handle_t *)&c->keys, NULL);
    uv_close((uv_handle_t *)&c->keys_wake, NULL);
    uv_close((uv_handle_t *)&c->logins, NULL);
    uv_close((uv_handle_t *)&c->deadline, NULL);
    secrets_close(c);
    aws_identity_close_handles(c);
    mailbox_close(&c->mailbox);
    net_fetcher_close(c->fetcher, on_fetcher_closed, NULL);
    rotations_free(c->rotations);
    c->rotations = NULL;
    net_runner_close(c->runner, NULL, NULL);
    if (c->end != NULL)
        c->end(c->end_arg);
    uv_run(&c->loop, UV_RUN_DEFAULT);
}

/* Last of all: a second SIGTERM must not end the process by its default disposition while the
 * audit's last records are written.  libuv restores that disposition, so they are held off. */
static void close_signals(struct control *c)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (size_t i = 0; i < COUNT_OF(c->signals); i++)
        uv_close((uv_handle_t *)&c->signals[i], NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(signal_numbers); i++)
        (void)signal(signal_numbers[i], SIG_IGN);
}

int control_run(struct control *c)
{
    for (size_t i = 0; i < c->worker_count; i++)
        ENSURE(!failed(worker_start(&c->workers[i])));
    tick_keys(c);
    while (c->workers_stopped < c->worker_count)
        uv_run(&c->loop, UV_RUN_DEFAULT);
    audit_stop(c->audit, &(struct audit_stop){.reason = view_str(c->stop_reason)});
    close_handles(c);
    key_refresher_free(c->refresher);
    snapshot_release(c->snapshot);
    upstreams_free(c);
    audit_writer_close(c->audit);
    audit_log_close(c->gateway.audit);
    aws_identity_free(c);
    limiter_free(c->gateway.limiter);
    window_limiter_free(c->gateway.windows);
    metrics_free(c->gateway.metrics);
    uv_barrier_destroy(&c->gateway.stopped);
    close_signals(c);
    ENSURE(uv_loop_close(&c->loop) == 0);
    free(c->workers);
    free(c->db_workers);
    free((char *)(uintptr_t)c->yaml_path);
    buf_clear(&c->started);
    log_notice("stopped", "stopped", LOG_STR("reason", c->stop_reason));
    return 0;
}
