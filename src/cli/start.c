/* sallyport start: serves, in the foreground, until a signal ends it. */
#include <stdio.h>
#include <unistd.h>

#include "admin/status.h"
#include "base/log.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/node.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/store_login.h"
#include "cli/store_watch.h"
#include "cli/secrets.h"
#include "gateway/control.h"
#include "gateway/words.h"
#include "store/kept.h"
#include "store/migrations.h"

#define START_OPTIONS_HELP                                                                         \
    "      --run-migrations        with database = postgres: 'migrations up' first\n"             \
    "      --db-timeout SECONDS    of these, instead of pg_timeout\n"                              \
    "      --lock-timeout SECONDS  how long to wait for another one that migrates (60)\n"         \
    CLI_OPTIONS_HELP

static const char start_usage[] =
    "usage: sallyport start [OPTION...]\n"
    "\n"
    "Serves in the foreground until SIGTERM (stop), SIGQUIT (finish the calls in flight first);\n"
    "SIGHUP loads the configuration anew.\n"
    "\n"
    START_OPTIONS_HELP;

static const char restart_usage[] =
    "usage: sallyport restart [OPTION...]\n"
    "\n"
    "Checks everything, stops the process that runs in the prefix, if any, and starts in its\n"
    "place, in the foreground.  With mistakes the running process goes on.\n"
    "\n"
    START_OPTIONS_HELP;

struct start_options {
    struct cli_options common;
    bool run_migrations;
    uint64_t db_timeout_s; /* 0: pg_timeout */
    uint64_t lock_timeout_s;
};

/* What the process serves with. */
struct served {
    struct control control;
    struct node_config node;
    struct arena arena;
    struct status_server *status;
    struct store_watch *watch; /* NULL: database = off */
    char refused[512];         /* without a watch: why the latest configuration is not served; "" */
};

enum start_option { RUN_MIGRATIONS = CLI_FIRST_OWN, DB_TIMEOUT, LOCK_TIMEOUT };
enum { UPSTREAMS_SHOWN = 256, FAILURES_SHOWN = 16, SECRETS_SHOWN = 256 };

/* ---- What the status server and the scrape report ---- */

static void report_issuers(struct control *c, struct arena *arena, struct status_report *out)
{
    const struct identity *id = c->snapshot->identity;
    size_t count = identity_issuer_count(id);
    struct status_issuer *issuers = ARENA_ARRAY(arena, count + 1, struct status_issuer);
    int64_t now_ms = time_monotonic_ns() / 1000000;

    if (issuers == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        struct issuer_status s;
        identity_issuer_status(id, i, &s);
        issuers[i] = (struct status_issuer){
            .name = s.name,
            .keys_loaded = s.keys > 0,
            .keys_age_s = s.last_success_ms >= 0 ? (now_ms - s.last_success_ms) / 1000 : -1,
            .last_error = failed(s.last_error) ? view_str(s.last_error.fault->text)
                                               : (struct view){NULL, 0},
        };
    }
    out->issuers = issuers;
    out->issuer_count = count;
}

static void report_services(struct control *c, struct arena *arena, struct status_report *out)
{
    struct upstream_status *all = ARENA_ARRAY(arena, UPSTREAMS_SHOWN, struct upstream_status);
    struct status_service *services = ARENA_ARRAY(arena, UPSTREAMS_SHOWN, struct status_service);

    if (all == NULL || services == NULL)
        return;
    size_t count = control_upstreams(c, all, UPSTREAMS_SHOWN);
    for (size_t i = 0; i < count; i++)
        services[i] = (struct status_service){
            .name = view_is(all[i].access, "primary")
                        ? all[i].service
                        : arena_printf(arena, "%.*s (%.*s)", VIEW_ARG(all[i].service),
                                       VIEW_ARG(all[i].access)),
            .reachable = all[i].last_error.data == NULL,
            .last_error = all[i].last_error,
            .connections = all[i].counts.total - all[i].counts.pending,
            .idle = all[i].counts.idle,
            .waiting = all[i].counts.waiting,
            .logins_per_second = all[i].logins_per_second,
        };
    out->services = services;
    out->service_count = count;
}

static void report_aws(struct control *c, struct arena *arena, struct status_report *out)
{
    static const char *const states[] = {[CHAIN_WAITING] = "waiting", [CHAIN_READY] = "ready",
                                         [CHAIN_STALE] = "stale", [CHAIN_FAILED] = "failed"};
    struct chain_status s;

    if (c->chain == NULL)
        return;
    chain_status(c->chain, &s);
    out->aws = (struct status_aws){
        .state = states[s.state],
        .source = s.source[0] != '\0' ? arena_copy(arena, view_str(s.source))
                                      : (struct view){NULL, 0},
        .expiry_s = s.expiry_us / 1000000,
    };
    if (failed(s.last_error))
        out->aws.last_error = arena_printf(arena, "%s%s%s", s.last_error.fault->text,
                                           s.detail[0] != '\0' ? ": " : "", s.detail);
}

/* Failures of a role for a reason are shown once, however many callers it is. */
static struct status_aws_failure *like(struct status_aws_failure *all, size_t count,
                                       const struct aws_session_failure *f)
{
    for (size_t i = 0; i < count; i++) {
        if (view_eq(all[i].role, f->role) && all[i].per_caller == f->per_caller &&
            all[i].serves == f->serves)
            return &all[i];
    }
    return NULL;
}

static void report_aws_failures(struct control *c, struct arena *arena,
                                struct status_aws_sessions *out)
{
    struct status_aws_failure *all = ARENA_ARRAY(arena, FAILURES_SHOWN, struct status_aws_failure);
    struct aws_session_failure f;
    size_t at = 0, count = 0;

    while (all != NULL && aws_sessions_next_failure(c->sessions, &at, &f)) {
        struct status_aws_failure *same = like(all, count, &f);
        if (same == NULL && count == FAILURES_SHOWN)
            continue;
        if (same == NULL) {
            same = &all[count++];
            *same = (struct status_aws_failure){
                .role = arena_copy(arena, f.role),
                .per_caller = f.per_caller,
                .serves = f.serves,
                .detail = arena_printf(arena, "%s%s%s", f.error.fault->text,
                                       f.detail[0] != '\0' ? ": " : "", f.detail),
            };
        }
        same->sessions++;
        if (f.failures > same->failures)
            same->failures = f.failures;
    }
    out->failures = all;
    out->failure_count = count;
}

static bool assumes_roles(const struct control *c)
{
    for (size_t i = 0; i < c->snapshot->entities.service_count; i++) {
        const struct service *s = &c->snapshot->entities.services[i];
        if (s->primary.iam_auth.assume_role_arn.count > 0 ||
            (s->has_read && s->read.iam_auth.assume_role_arn.count > 0))
            return true;
    }
    return false;
}

static void report_aws_sessions(struct control *c, struct arena *arena,
                                struct status_report *out)
{
    struct aws_sessions_counts n;

    if (c->sessions == NULL || !assumes_roles(c))
        return;
    aws_sessions_counts(c->sessions, &n);
    out->aws_sessions = (struct status_aws_sessions){
        .wanted = true,
        .cached = n.cached,
        .per_caller = n.per_caller,
        .max = n.max,
        .waiting = n.waiting,
        .in_flight = n.in_flight,
        .assumed = n.assumed,
        .evictions = n.evictions,
    };
    report_aws_failures(c, arena, &out->aws_sessions);
}

static void report_rotations(struct control *c, struct arena *arena, struct status_report *out)
{
    struct rotations_status *all = ARENA_ARRAY(arena, UPSTREAMS_SHOWN, struct rotations_status);
    struct status_rotation *shown = ARENA_ARRAY(arena, UPSTREAMS_SHOWN, struct status_rotation);

    if (all == NULL || shown == NULL || c->rotations == NULL)
        return;
    out->rotations = shown;
    out->rotation_count = rotations_status(c->rotations, all, UPSTREAMS_SHOWN);
    for (size_t i = 0; i < out->rotation_count; i++)
        shown[i] = (struct status_rotation){
            .service = all[i].service,
            .secret = all[i].secret,
            .state = rotations_state_name(all[i].state),
            .rotated_s = all[i].rotated_s,
            .next_look_s = all[i].next_look_s,
            .failures = all[i].failures,
            .detail = view_str(all[i].detail),
        };
}

static void report_secrets(struct control *c, struct arena *arena, struct status_report *out)
{
    struct status_secret *secrets = ARENA_ARRAY(arena, SECRETS_SHOWN, struct status_secret);
    struct secret_status s;
    size_t at = 0, n = 0;

    while (secrets != NULL && n < SECRETS_SHOWN &&
           secret_cache_next(c->secrets.cache, &at, &s)) {
        secrets[n] = (struct status_secret){
            .vault = s.prefix,
            .name = s.name,
            .stage = view_str(s.stage),
            .version = s.version_id[0] != '\0' ? view_str(s.version_id) : (struct view){NULL, 0},
            .serves = s.serves,
            .read_s = s.read_us / 1000000,
            .next_s = s.next_us / 1000000,
        };
        if (failed(s.error))
            secrets[n].last_error = arena_printf(arena, "%s%s%s", s.error.fault->text,
                                                 s.detail[0] != '\0' ? ": " : "", s.detail);
        n++;
    }
    out->secrets = secrets;
    out->secret_count = n;
}

static void report_store(struct store_watch *watch, struct arena *arena,
                         struct status_report *out)
{
    struct store_watch_status s;

    if (watch == NULL)
        return;
    store_watch_status(watch, &s);
    out->store = (struct status_store){
        .state = !s.reachable ? "away" : s.listening ? "listening" : "polling",
        .revision = s.revision,
        .refused = s.refused,
    };
    if (s.refused >= 0)
        out->store.mistake = arena_copy(arena, view_str(s.mistake));
    if (s.writer[0] != '\0')
        out->store.writer = arena_copy(arena, view_str(s.writer));
    if (s.reader[0] != '\0')
        out->store.reader = arena_copy(arena, view_str(s.reader));
    if (s.last_error[0] != '\0')
        out->store.last_error = arena_copy(arena, view_str(s.last_error));
}

/* Without a store the node knows of no other. */
static struct status_logins logins_of(struct served *served)
{
    struct store_watch_status s = {
        .nodes = {"alone", served->node.pg_iam_auth_max_rate, 1}};

    if (view_is(served->node.database, "postgres")) {
        s.nodes = (struct store_nodes_status){"joining", 0, 0};
        if (served->watch != NULL)
            store_watch_status(served->watch, &s);
    }
    return (struct status_logins){
        .state = s.nodes.state,
        .max_rate = served->node.pg_iam_auth_max_rate,
        .share = s.nodes.share,
        .nodes = s.nodes.nodes,
        .per_second = login_pace_rate(served->control.pace, time_monotonic_ns()),
        .store_per_second = login_pace_store_rate(served->control.pace, time_monotonic_ns()),
    };
}

static void report(void *arg, struct arena *arena, struct status_report *out)
{
    struct served *served = arg;
    struct control *c = &served->control;
    struct audit_counters audit;

    audit_log_counters(c->gateway.audit, &audit);
    out->configured = c->snapshot != NULL;
    out->configuration_id = view_str(c->configuration_id);
    out->configured_at_s = c->configured_at_s;
    out->draining = c->stopping || words_drained(c->node);
    out->audit_working = audit.writable && !atomic_load(&c->gateway.unready_audit);
    out->workers = c->worker_count;
    out->client_connections = atomic_load(&c->gateway.clients);
    if (served->refused[0] != '\0')
        out->refused = arena_copy(arena, view_str(served->refused));
    report_store(served->watch, arena, out);
    out->logins = logins_of(served);
    if (c->snapshot == NULL)
        return;
    report_issuers(c, arena, out);
    report_services(c, arena, out);
    report_aws(c, arena, out);
    report_aws_sessions(c, arena, out);
    report_rotations(c, arena, out);
    report_secrets(c, arena, out);
}

static void collect_pools(struct control *c, struct metrics_output *out)
{
    struct upstream_status all[UPSTREAMS_SHOWN];
    size_t count = control_upstreams(c, all, UPSTREAMS_SHOWN);
    struct chain_status aws = {0};

    if (c->chain != NULL)
        chain_status(c->chain, &aws);
    int64_t until_us = aws.expiry_us;
    for (size_t i = 0; i < count; i++) {
        const struct broker_counts *n = &all[i].counts;
        const struct view idle[] = {all[i].service, all[i].access, VIEW("idle")};
        const struct view busy[] = {all[i].service, all[i].access, VIEW("busy")};
        const struct view login[] = {all[i].service, all[i].access, VIEW("login")};
        const struct view waiting[] = {all[i].service};
        out->sample(out, METRIC_LOGIN_RATE, idle, 2, all[i].logins_per_second);
        out->sample(out, METRIC_POOL_CONNECTIONS, idle, 3, n->idle);
        out->sample(out, METRIC_POOL_CONNECTIONS, busy, 3, n->total - n->pending - n->idle);
        out->sample(out, METRIC_POOL_CONNECTIONS, login, 3, n->pending);
        if (all[i].iam && until_us != 0)
            out->sample(out, METRIC_CREDENTIAL_EXPIRY, idle, 2,
                        (double)(until_us - time_wall_us()) / 1000000);
        if (view_is(all[i].access, "primary"))
            out->sample(out, METRIC_POOL_WAITING, waiting, 1, n->waiting);
    }
}

static void collect_sessions(struct control *c, struct metrics_output *out)
{
    struct aws_sessions_counts n;

    if (c->sessions == NULL)
        return;
    aws_sessions_counts(c->sessions, &n);
    const struct {
        struct view state;
        size_t count;
    } states[] = {
        {VIEW("cached"), n.cached},   {VIEW("per_caller"), n.per_caller},
        {VIEW("pinned"), n.pinned},   {VIEW("waiting"), n.waiting},
        {VIEW("failing"), n.failing}, {VIEW("in_flight"), n.in_flight},
    };
    for (size_t i = 0; i < COUNT_OF(states); i++)
        out->sample(out, METRIC_STS_SESSIONS, &states[i].state, 1, (double)states[i].count);
    const struct view ok = VIEW("ok"), throttled = VIEW("throttled"), failed = VIEW("failed");
    out->sample(out, METRIC_STS_REQUESTS, &ok, 1, (double)n.assumed);
    out->sample(out, METRIC_STS_REQUESTS, &throttled, 1, (double)n.throttled);
    out->sample(out, METRIC_STS_REQUESTS, &failed, 1, (double)(n.failures - n.throttled));
    out->sample(out, METRIC_STS_SESSIONS_MAX, NULL, 0, (double)n.max);
    out->sample(out, METRIC_STS_EVICTIONS, NULL, 0, (double)n.evictions);
    out->sample(out, METRIC_STS_PACE, NULL, 0, n.per_second);
}

static void collect_secrets(struct control *c, struct metrics_output *out)
{
    const struct secret_cache_counts counts = secret_cache_counts(c->secrets.cache);
    const struct view good[] = {VIEW("ok")}, bad[] = {VIEW("failed")};
    struct secret_status s;

    if (counts.reads + counts.failures == 0)
        return;
    out->sample(out, METRIC_SECRET_READS, good, 1, (double)counts.reads);
    out->sample(out, METRIC_SECRET_READS, bad, 1, (double)counts.failures);
    for (size_t at = 0, n = 0; n < SECRETS_SHOWN && secret_cache_next(c->secrets.cache, &at, &s);
         n++) {
        const struct view labels[] = {s.prefix, s.name, view_str(s.stage)};
        if (s.read_us > 0)
            out->sample(out, METRIC_SECRET_AGE, labels, 3,
                        (double)(time_wall_us() - s.read_us) / 1000000);
    }
}

static void collect_store(struct store_watch *watch, struct metrics_output *out)
{
    struct store_watch_status s;

    if (watch == NULL)
        return;
    store_watch_status(watch, &s);
    out->sample(out, METRIC_STORE_REACHABLE, NULL, 0, s.reachable ? 1 : 0);
    out->sample(out, METRIC_STORE_REVISION, NULL, 0, (double)s.revision);
}

static void collect_logins(struct served *served, struct metrics_output *out)
{
    struct status_logins l = logins_of(served);

    out->sample(out, METRIC_IAM_LOGIN_SHARE, NULL, 0, (double)l.share);
    out->sample(out, METRIC_IAM_LOGIN_MAX_RATE, NULL, 0, (double)l.max_rate);
    if (served->watch == NULL)
        return;
    out->sample(out, METRIC_NODES, NULL, 0, (double)l.nodes);
    out->sample(out, METRIC_STORE_LOGIN_RATE, NULL, 0, l.store_per_second);
}

static void collect(void *arg, struct metrics_output *out)
{
    struct served *served = arg;
    struct control *c = &served->control;
    struct audit_counters audit;
    const struct view every[] = {VIEW("all")};

    audit_log_counters(c->gateway.audit, &audit);
    out->sample(out, METRIC_AUDIT_RECORDS, every, 1, (double)audit.records);
    out->sample(out, METRIC_AUDIT_WRITE_FAILURES, NULL, 0, (double)audit.failures);
    collect_pools(c, out);
    collect_sessions(c, out);
    collect_secrets(c, out);
    collect_store(served->watch, out);
    collect_logins(served, out);
    for (size_t i = 0; c->snapshot != NULL && i < identity_issuer_count(c->snapshot->identity);
         i++) {
        struct issuer_status s;
        identity_issuer_status(c->snapshot->identity, i, &s);
        const struct view issuer[] = {s.name};
        if (s.last_success_ms >= 0)
            out->sample(out, METRIC_ISSUER_KEYS_AGE, issuer, 1,
                        (double)(time_monotonic_ns() / 1000000 - s.last_success_ms) / 1000);
    }
}

/* ---- The command ---- */

static void on_status_closed(void *arg)
{
    (void)arg; /* the loop that runs to its end is what waits for it */
}

static void close_all(void *arg)
{
    struct served *served = arg;

    store_watch_stop(served->watch);
    status_server_close(served->status, on_status_closed, NULL);
}

static void set_up_log(const struct node_config *node)
{
    enum log_level level;

    if (log_level_by_name(node->log_level, &level))
        log_set_level(level);
    log_set_format(view_is(node->log_format, "json")   ? LOG_FORMAT_JSON
                   : view_is(node->log_format, "text") ? LOG_FORMAT_TEXT
                                                       : LOG_FORMAT_AUTO);
}

static bool open_status(struct served *served)
{
    const struct node_config *node = &served->node;
    struct control *c = &served->control;
    char detail[256] = "", name[256];

    snprintf(name, sizeof name, "%.*s", VIEW_ARG(node->node_name));
    const struct status_source source = {
        .report = report, .arg = served, .metrics = c->gateway.metrics, .node_name = name};
    if (!metrics_add_source(c->gateway.metrics, collect, served))
        return false;
    err e = status_server_new(&c->loop, node->status_listen, &source, &served->status, detail,
                              sizeof detail);
    if (failed(e)) {
        fprintf(stderr, "Error: status_listen: %s%s%s\n", e.fault->text, detail[0] ? ": " : "",
                detail);
        return false;
    }
    control_on_end(c, close_all, served);
    return true;
}

/* As Kong's: what is new is run; a database without tables is left to 'migrations bootstrap'. */
static bool migrate(const struct start_options *o, const struct node_config *node)
{
    struct migrations_status status;
    struct store_why why = {""};
    size_t done = 0;

    if (!o->run_migrations || !view_is(node->database, "postgres"))
        return true;
    struct store *s = cli_store_open(node, (int64_t)o->db_timeout_s);
    set_up_log(node); /* which a command's connection has silenced */
    if (s == NULL)
        return false;
    err e = migrations_read(s, &status, &why);
    if (!failed(e) && (!status.bootstrapped || status.missing > 0))
        e = migrations_up(s, (int64_t)o->lock_timeout_s * 1000, false, &done, &why);
    store_close(s);
    if (failed(e))
        return cli_store_complain(e, &why) == 0;
    if (done > 0)
        log_notice("migrated", "new migrations were run", LOG_INT("migrations", (int64_t)done));
    return true;
}

/* database = off: the file is its own copy. */
static bool fetch(struct served *served, struct cli_fetched *out)
{
    return !view_is(served->node.database, "postgres") ||
           cli_store_fetch(&served->node, KEPT_NEXT, out);
}

static void on_settled(void *arg, bool taken, struct view mistake)
{
    struct served *served = arg;

    snprintf(served->refused, sizeof served->refused, "%.*s", VIEW_ARG(taken ? VIEW("") : mistake));
}

static bool follow(struct served *served, const struct cli_fetched *read)
{
    struct store_why why;

    if (!view_is(served->node.database, "postgres")) {
        control_set_supply(&served->control, &(struct control_supply){NULL, on_settled, served});
        return true;
    }
    err e = read->revision < 0 ? OK : kept_take(served->node.declarative_config.data, &why);
    if (failed(e))
        return cli_store_complain(e, &why) == 0;
    served->watch = store_watch_start(&served->control, &served->node, read->revision);
    return served->watch != NULL;
}

static int serve(const struct start_options *o)
{
    /* As long as the process: threads may still look into them when a late step fails. */
    static struct served served;
    static struct cli_fetched read;
    struct control *c = &served.control;
    struct node_config *node = &served.node;

    arena_init(&served.arena, 16 * 1024, 16 * 1024 * 1024);
    if (!cli_load_node_secrets(&served.arena, &o->common, node))
        return 1;
    cli_options_keep(&o->common);
    if (node->declarative_config.len == 0) {
        fputs("Error: there is nothing to serve: set declarative_config\n", stderr);
        return 1;
    }
    set_up_log(node);
    int claim = cli_claim_prefix(node);
    if (claim < 0)
        return 1;
    words_forget(node);
    if (!migrate(o, node) || !fetch(&served, &read) ||
        !control_start(c, node, read.path[0] != '\0' ? read.path : NULL) ||
        !open_status(&served) || !follow(&served, &read))
        return 1;
    log_notice("started", "sallyport " SALLYPORT_VERSION " serves",
               LOG_INT("workers", (int64_t)c->worker_count),
               LOG_INT("routes", (int64_t)c->snapshot->route_count),
               LOG_VIEW("audit", node->audit_directory));
    int code = control_run(c);
    store_watch_free(served.watch);
    close(claim);
    arena_clear(&served.arena);
    return code;
}

/* A mistake must not cost the process that runs.  What serves then serves in this process. */
static int serve_anew(const struct start_options *o)
{
    struct start_options told = *o;
    struct node_config node;
    struct arena arena;

    /* New migrations would make a node refuse the database, until they have run. */
    int code = check_prepare(&o->common, !o->run_migrations);
    if (code != 0)
        return code;
    told.common.told = true;
    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    if (!cli_load_prefix(&arena, &told.common, &node))
        code = 1;
    else if (cli_running(&node))
        code = process_stop(&node);
    arena_clear(&arena);
    fflush(stdout);
    return code != 0 ? code : serve(&told);
}

static bool take(struct start_options *o, int option)
{
    enum { DAY_S = 86400 };

    switch (option) {
    case RUN_MIGRATIONS:
        return o->run_migrations = true;
    case DB_TIMEOUT:
        return view_to_u64(view_str(optarg), DAY_S, &o->db_timeout_s) && o->db_timeout_s > 0;
    case LOCK_TIMEOUT:
        return view_to_u64(view_str(optarg), DAY_S, &o->lock_timeout_s) && o->lock_timeout_s > 0;
    default:
        return cli_option(&o->common, option, optarg);
    }
}

static int run(const char *usage, int (*act)(const struct start_options *o), int argc, char **argv)
{
    static const struct option options[] = {
        CLI_OPTIONS,
        {"run-migrations", no_argument, NULL, RUN_MIGRATIONS},
        {"db-timeout", required_argument, NULL, DB_TIMEOUT},
        {"lock-timeout", required_argument, NULL, LOCK_TIMEOUT},
        {0}};
    struct start_options o = {.common = {.usage = usage},
                              .lock_timeout_s = STORE_LOCK_WAIT_MS / 1000};
    int option;

    while ((option = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (!take(&o, option))
            return cli_misused(&o.common);
    }
    if (o.common.help)
        return cli_help(&o.common);
    return optind < argc ? cli_misused(&o.common) : act(&o);
}

static int run_start(int argc, char **argv)
{
    return run(start_usage, serve, argc, argv);
}

static int run_restart(int argc, char **argv)
{
    return run(restart_usage, serve_anew, argc, argv);
}

const struct command command_start = {"start", "serves until a signal ends it", run_start};
const struct command command_restart = {
    "restart", "stops the running process and serves in its place", run_restart};
