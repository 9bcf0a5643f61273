#include "gateway/prepare.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "gateway/proof.h"

enum {
    AT_ONCE = 8,
    PROOF_TIMEOUT_MS = 10000,
    REST_FACTOR = 20,
    LOOKS_MAX = 2000, /* pairs a turn: callers wait for this worker */
};
static const int64_t retry_ns = 2000000000;
static const int64_t rest_ns = 15000000000;

struct prepare_run {
    struct worker *worker;
    struct snapshot *snapshot;
    size_t service, route, role; /* the next to prepare; the role's place among the service's */
    size_t running;
    size_t at_once; /* one when something went wrong: a pool may have no room for more */
    size_t prepared;
    size_t kept; /* known from the snapshot before */
    size_t refused;
    int64_t not_before_ns;
    int64_t began_ns;
    bool trusts; /* what the snapshot before had proved was proved of late */
    bool told;  /* every statement was prepared: from now on only the proofs are made anew */
    bool ended;  /* nothing left to start */
    bool freed;  /* by its owner; the last call in flight frees the memory */
};

/* A route and a role: first prepared, then proved. */
struct prepare_item {
    struct db_call db;
    struct result_sink sink;
    struct proof proof;
    struct view names; /* proof_question's parameter */
    struct prepare_run *run;
    const struct compiled_route *route;
    size_t service, route_index, role;
};

static bool take_columns(struct result_sink *sink, const struct column *columns, size_t count)
{
    (void)sink;
    (void)columns;
    (void)count;
    return true;
}

static bool take_row(struct result_sink *sink, const struct cell *cells, size_t count)
{
    (void)sink;
    (void)cells;
    (void)count;
    return true;
}

static const struct result_sink_ops no_rows = {take_columns, take_row};

static const struct role *role_of(const struct prepare_item *item)
{
    return &item->run->snapshot->entities.roles[item->route->service->roles[item->role]];
}

static void report(struct prepare_run *run, const struct prepare_item *item,
                   const struct db_outcome *outcome)
{
    const struct database_error *e = outcome->reason;
    unsigned line = 0, column = 0;

    run->refused++;
    snapshot_sql_place(item->route, e->position, &line, &column);
    log_error("statement_unfit", "a statement cannot be prepared as a role that may run it",
              LOG_VIEW("service", item->route->route->service->name),
              LOG_VIEW("route", item->route->route->name),
              LOG_VIEW("role", role_of(item)->name), LOG_STR("sqlstate", e->sqlstate),
              LOG_INT("line", line),
              LOG_INT("column", column), LOG_VIEW("error", e->message));
}

static void release(struct prepare_run *run)
{
    if (!run->freed || run->running > 0)
        return;
    snapshot_release(run->snapshot);
    free(run);
}

/* The pair of a route and a role that is next, wanted or not; NULL at the end. */
static const struct compiled_route *current(struct prepare_run *run)
{
    const struct entities *all = &run->snapshot->entities;

    while (run->service < all->service_count) {
        const struct compiled_service *cs = &run->snapshot->services[run->service];
        if (run->route == cs->service->route_count) {
            run->service++;
            run->route = run->role = 0;
        } else if (run->role == cs->role_count ||
                   !cs->routes[run->route].route->statement.present) {
            run->route++;
            run->role = 0;
        } else {
            return &cs->routes[run->route];
        }
    }
    return NULL;
}

static void rewind_run(struct prepare_run *run)
{
    run->service = run->route = run->role = 0;
}

static void summarise(struct prepare_run *run)
{
    const struct compiled_route *r;
    int64_t clean = 0, not_clean = 0;

    rewind_run(run);
    for (; (r = current(run)) != NULL; run->role++) {
        if (!r->roles[run->role].covered)
            continue;
        bool proved = atomic_load_explicit(&r->roles[run->role].proved, memory_order_relaxed);
        clean += proved;
        not_clean += r->clean_text && !proved;
    }
    log_notice("statements_prepared", "the statements were prepared as the roles that may run them",
               LOG_INT("prepared", (int64_t)run->prepared),
               LOG_INT("kept", (int64_t)run->kept), LOG_INT("refused", (int64_t)run->refused),
               LOG_INT("clean", clean),
               LOG_INT("not_clean", not_clean));
}

/* After the last pair: rests, then all proofs anew. */
static void end_pass(struct prepare_run *run)
{
    if (!run->ended || run->running > 0)
        return;
    bool all_proved = run->told || !run->trusts;
    if (!run->told)
        summarise(run);
    run->told = true;
    run->at_once = 1;
    run->ended = false;
    rewind_run(run);
    int64_t now_ns = time_monotonic_ns(), took_ns = now_ns - run->began_ns;
    int64_t pause_ns = took_ns * REST_FACTOR > rest_ns ? took_ns * REST_FACTOR : rest_ns;
    run->not_before_ns = now_ns + pause_ns;
    run->began_ns = 0;
    /* The next pass is in it, unless a reload goes before. */
    if (all_proved)
        atomic_store(&run->snapshot->proofs_hold_ns, now_ns + 2 * pause_ns);
}

/* Not reached: from the earliest such pair again. */
static void try_later(struct prepare_run *run, const struct prepare_item *item)
{
    bool earlier = item->service != run->service ? item->service < run->service
                   : item->route_index != run->route ? item->route_index < run->route
                                                     : item->role < run->role;

    if (earlier) {
        run->service = item->service;
        run->route = item->route_index;
        run->role = item->role;
    }
    run->ended = false;
    run->at_once = 1;
    run->not_before_ns = time_monotonic_ns() + retry_ns;
}

static void end_item(struct prepare_item *item)
{
    struct prepare_run *run = item->run;

    run->running--;
    proof_clear(&item->proof);
    free(item);
    if (run->freed) {
        release(run);
        return;
    }
    end_pass(run);
    prepare_tick(run);
}

/* ---- The proof ---- */

static bool needs_proof(const struct compiled_route *r)
{
    return r->clean_text && r->relations.data != NULL;
}

/* Told once, and again when it changes. */
static void conclude(const struct prepare_item *item, struct view against)
{
    struct prepare_run *run = item->run;
    struct route_role *as = &item->route->roles[item->role];
    bool proved = against.data == NULL;
    bool before = atomic_exchange_explicit(&as->proved, proved, memory_order_acq_rel);

    if (run->told && before == proved)
        return;
    if (!proved)
        log_info("statement_not_clean",
                 "a read may leave a trace: its session is reset after each call",
                 LOG_VIEW("service", item->route->route->service->name),
                 LOG_VIEW("route", item->route->route->name),
                 LOG_VIEW("role", role_of(item)->name), LOG_VIEW("reason", against));
    else if (run->told)
        log_info("statement_clean", "a read leaves no trace any more",
                 LOG_VIEW("service", item->route->route->service->name),
                 LOG_VIEW("route", item->route->route->name),
                 LOG_VIEW("role", role_of(item)->name));
}

static void on_proof_finished(struct db_call *db, const struct db_outcome *outcome)
{
    struct prepare_item *item = CONTAINER_OF(db, struct prepare_item, db);

    if (item->proof.against.data != NULL)
        conclude(item, item->proof.against);
    else if (!failed(outcome->error))
        conclude(item, (struct view){NULL, 0});
    else if (outcome->reason != NULL)
        conclude(item, outcome->reason->message.data != NULL
                           ? outcome->reason->message
                           : view_str(outcome->reason->sqlstate));
    else if (is_fault(outcome->error, &db_too_many_rows) ||
             is_fault(outcome->error, &db_result_too_large) ||
             is_fault(outcome->error, &db_timeout))
        conclude(item, view_str(outcome->error.fault->text));
    else
        try_later(item->run, item);
    end_item(item);
}

static struct db_call call_of(const struct prepare_item *item)
{
    const struct compiled_route *r = item->route;

    return (struct db_call){
        .identity = {.role = role_of(item)->database_role,
                     .claims = VIEW("{}"),
                     .application_name = VIEW("sallyport prepare"),
                     .search_path = r->search_path},
        /* The catalog's rows are nobody's, and without a caller there is no session to log in with:
         * the connections of those who called serve. */
        .any_session = r->broker->endpoint.iam_auth.per_caller,
    };
}

static void prove(struct prepare_item *item)
{
    item->names = item->route->relations;
    item->db = call_of(item);
    item->db.statement = &proof_question;
    item->db.identity.statement_timeout = VIEW("10000");
    item->db.identity.prepared_key = item->route->service->proof_keys[item->role];
    item->db.values = &item->names;
    item->db.sink = &item->proof.sink;
    item->db.max_rows = PROOF_MAX_ROWS;
    item->db.timeout_ms = PROOF_TIMEOUT_MS;
    item->db.finished = on_proof_finished;
    db_call_start(&item->db, item->route->broker, &item->run->worker->db);
}

/* ---- Preparing ---- */

static void on_prepared(struct db_call *db, const struct db_outcome *outcome)
{
    struct prepare_item *item = CONTAINER_OF(db, struct prepare_item, db);
    struct prepare_run *run = item->run;

    if (!failed(outcome->error)) {
        run->prepared++;
        atomic_store_explicit(&item->route->roles[item->role].prepared, true,
                              memory_order_release);
        if (!run->freed && needs_proof(item->route)) {
            prove(item);
            return;
        }
    } else if (outcome->reason != NULL) {
        report(run, item, outcome);
    } else {
        try_later(run, item);
    }
    end_item(item);
}

static void prepare(struct prepare_item *item)
{
    const struct compiled_route *r = item->route;

    item->db = call_of(item);
    item->db.statement = &r->statement;
    item->db.identity.statement_timeout = r->timeout_text;
    item->db.identity.prepared_key = r->roles[item->role].prepared_key;
    item->db.sink = &item->sink;
    item->db.timeout_ms = r->timeout_ms;
    item->db.finished = on_prepared;
    item->db.prepare_only = true;
    db_call_start(&item->db, r->broker, &item->run->worker->db);
}

/* What the database said of it in the snapshot before holds: it is asked anew with all others.
 * But one reload after the other must not put that off for ever. */
static bool is_known(const struct compiled_route *r, const struct route_role *as)
{
    return atomic_load_explicit(&as->prepared, memory_order_acquire) &&
           (!needs_proof(r) || atomic_load_explicit(&as->proved, memory_order_acquire));
}

static bool start_item(struct prepare_run *run, const struct compiled_route *r)
{
    const struct route_role *as = &r->roles[run->role];

    if (!as->covered || (run->told && !needs_proof(r)))
        return true;
    bool known = !run->told && is_known(r, as);
    run->kept += known;
    if (known && (run->trusts || !needs_proof(r)))
        return true;
    struct prepare_item *item = calloc(1, sizeof *item);

    if (item == NULL)
        return false;
    item->run = run;
    item->route = r;
    item->service = run->service;
    item->route_index = run->route;
    item->role = run->role;
    item->sink.ops = &no_rows;
    proof_init(&item->proof);
    run->running++;
    if (run->told || known)
        prove(item);
    else
        prepare(item);
    return true;
}

void prepare_tick(struct prepare_run *run)
{
    int64_t now_ns = time_monotonic_ns();

    if (run->ended || now_ns < run->not_before_ns)
        return;
    if (run->began_ns == 0)
        run->began_ns = now_ns;
    for (size_t looks = 0; run->running < run->at_once && looks < LOOKS_MAX; looks++) {
        const struct compiled_route *r = current(run);
        if (r == NULL) {
            run->ended = true;
            break;
        }
        if (!start_item(run, r))
            return;
        run->role++;
    }
    end_pass(run);
}

struct prepare_run *prepare_new(struct worker *w, struct snapshot *s)
{
    struct prepare_run *run = calloc(1, sizeof *run);

    if (run == NULL)
        return NULL;
    run->worker = w;
    run->at_once = AT_ONCE;
    run->snapshot = snapshot_acquire(s);
    run->trusts = time_monotonic_ns() < atomic_load(&s->proofs_hold_ns);
    return run;
}

void prepare_free(struct prepare_run *run)
{
    if (run == NULL)
        return;
    run->freed = true;
    release(run);
}
