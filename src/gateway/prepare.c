#include "gateway/prepare.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"

enum { AT_ONCE = 8, RETRY_NS = 2000000000 };

struct prepare_run {
    struct worker *worker;
    struct snapshot *snapshot;
    size_t service, route, role; /* the next to prepare */
    size_t running;
    size_t prepared;
    size_t refused;
    int64_t not_before_ns;
    bool told;
    bool ended;  /* nothing left to start */
    bool freed;  /* by its owner; the last call in flight frees the memory */
};

struct prepare_item {
    struct db_call db;
    struct result_sink sink;
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
              LOG_VIEW("role", run->snapshot->entities.roles[item->role].name),
              LOG_STR("sqlstate", e->sqlstate), LOG_INT("line", line),
              LOG_INT("column", column), LOG_VIEW("error", e->message));
}

static void release(struct prepare_run *run)
{
    if (!run->freed || run->running > 0)
        return;
    snapshot_release(run->snapshot);
    free(run);
}

static void summarise(struct prepare_run *run)
{
    if (!run->ended || run->running > 0 || run->told)
        return;
    run->told = true;
    log_notice("statements_prepared", "the statements were prepared as the roles that may run them",
               LOG_INT("prepared", (int64_t)run->prepared),
               LOG_INT("refused", (int64_t)run->refused));
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
    run->not_before_ns = time_monotonic_ns() + RETRY_NS;
}

static void on_finished(struct db_call *db, const struct db_outcome *outcome)
{
    struct prepare_item *item = CONTAINER_OF(db, struct prepare_item, db);
    struct prepare_run *run = item->run;

    run->running--;
    if (!failed(outcome->error)) {
        run->prepared++;
    } else if (outcome->reason != NULL) {
        report(run, item, outcome);
    } else {
        try_later(run, item);
    }
    free(item);
    if (run->freed) {
        release(run);
        return;
    }
    summarise(run);
    prepare_tick(run);
}

static bool start_item(struct prepare_run *run, const struct compiled_route *r)
{
    const struct role *role = &run->snapshot->entities.roles[run->role];
    struct prepare_item *item = calloc(1, sizeof *item);

    if (item == NULL)
        return false;
    item->run = run;
    item->route = r;
    item->service = run->service;
    item->route_index = run->route;
    item->role = run->role;
    item->sink.ops = &no_rows;
    item->db = (struct db_call){
        .statement = &r->statement,
        .identity = {.role = role->database_role,
                     .claims = VIEW("{}"),
                     .application_name = VIEW("sallyport prepare"),
                     .search_path = r->search_path,
                     .statement_timeout = r->timeout_text,
                     .prepared_key = r->roles[run->role].prepared_key},
        .sink = &item->sink,
        .timeout_ms = r->timeout_ms,
        .finished = on_finished,
        .prepare_only = true,
    };
    run->running++;
    db_call_start(&item->db, r->broker, &run->worker->db);
    return true;
}

static bool covers(const struct role *role, const struct compiled_route *r)
{
    if (!strings_have(role->services, r->route->service->name))
        return false;
    for (size_t i = 0; i < role->allow_count; i++) {
        if (strings_have(role->allow[i].routes, r->route->name) ||
            strings_have(role->allow[i].routes, VIEW("*")))
            return true;
    }
    return false;
}

/* Moves to the next pair of a route and a role; false at the end. */
static const struct compiled_route *current(struct prepare_run *run)
{
    const struct entities *all = &run->snapshot->entities;

    while (run->service < all->service_count) {
        const struct compiled_service *cs = &run->snapshot->services[run->service];
        if (run->route == cs->service->route_count) {
            run->service++;
            run->route = run->role = 0;
        } else if (run->role == all->role_count || !cs->routes[run->route].route->statement.present) {
            run->route++;
            run->role = 0;
        } else if (covers(&all->roles[run->role], &cs->routes[run->route])) {
            return &cs->routes[run->route];
        } else {
            run->role++;
        }
    }
    return NULL;
}

void prepare_tick(struct prepare_run *run)
{
    if (run->ended || time_monotonic_ns() < run->not_before_ns)
        return;
    while (run->running < AT_ONCE) {
        const struct compiled_route *r = current(run);
        if (r == NULL) {
            run->ended = true;
            break;
        }
        if (!start_item(run, r))
            return;
        run->role++;
    }
    summarise(run);
}

struct prepare_run *prepare_new(struct worker *w, struct snapshot *s)
{
    struct prepare_run *run = calloc(1, sizeof *run);

    if (run == NULL)
        return NULL;
    run->worker = w;
    run->snapshot = snapshot_acquire(s);
    return run;
}

void prepare_free(struct prepare_run *run)
{
    if (run == NULL)
        return;
    run->freed = true;
    release(run);
}
