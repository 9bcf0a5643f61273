#include "gateway/snapshot.h"

#include <stdlib.h>

#include "audit/event.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "gateway/config_host.h"
#include "gateway/proof.h"
#include "net/net.h"
#include "pg/value.h"

enum {
    BLOCK_BYTES = 64 * 1024,
    MAX_BYTES = 1024 * 1024 * 1024, /* a configuration is the operator's own: a bound, no limit */
    FRAGMENT_MAX_BYTES = 64 * 1024,
};

struct compiler {
    struct snapshot *s;
    const struct snapshot_makers *makers;
    struct diagnostics *d;
    struct view file;
    bool no_memory;
};

/* ---- SQL ---- */

static void place_in_file(const struct statement *st, struct sql_place place, unsigned *line,
                          unsigned *column)
{
    *line = st->sql_line + place.line - 1;
    /* In a block of several lines the indentation is gone, so only the line is known. */
    *column = st->sql_column == 0 ? 0
              : place.line == 1   ? st->sql_column + place.column - 1
                                  : 0;
}

void snapshot_sql_place(const struct compiled_route *r, uint32_t position, unsigned *line,
                        unsigned *column)
{
    place_in_file(&r->route->statement, sql_named_place(&r->named, position), line, column);
}

static void sql_mistake(struct compiler *c, const struct compiled_route *r, struct sql_place place,
                        const char *what, struct view more)
{
    unsigned line, column;

    place_in_file(&r->route->statement, place, &line, &column);
    diag_add(c->d, SEVERITY_ERROR, c->file, line, column, "route %.*s: sql: %s%s%.*s",
             VIEW_ARG(r->route->name), what, what[0] != '\0' && more.len > 0 ? ": " : "",
             VIEW_ARG(more));
}

static const struct parameter *find_parameter(const struct statement *st, struct view name,
                                              size_t *index)
{
    for (size_t i = 0; i < st->parameter_count; i++) {
        if (view_eq(st->parameters[i].name, name)) {
            *index = i;
            return &st->parameters[i];
        }
    }
    return NULL;
}

/* Which parameter each $n is; every name declared, every declared one used. */
static bool order_parameters(struct compiler *c, struct compiled_route *r)
{
    const struct statement *st = &r->route->statement;
    size_t *order = ARENA_ARRAY(&c->s->arena, r->named.name_count + 1, size_t);
    uint32_t *oids = ARENA_ARRAY(&c->s->arena, r->named.name_count + 1, uint32_t);
    bool *used = ARENA_ARRAY(&c->s->arena, st->parameter_count + 1, bool);
    bool good = true;

    if (order == NULL || oids == NULL || used == NULL)
        return !(c->no_memory = true);
    for (size_t i = 0; i < r->named.name_count; i++) {
        if (find_parameter(st, r->named.names[i], &order[i]) == NULL) {
            size_t offset = (size_t)(r->named.names[i].data - r->named.original.data);
            sql_mistake(c, r, sql_place_of(r->named.original, offset),
                        "this parameter is not declared", r->named.names[i]);
            good = false;
            continue;
        }
        used[order[i]] = true;
        if (r->types != NULL)
            oids[i] = r->types[order[i]].oid;
    }
    for (size_t i = 0; i < st->parameter_count; i++) {
        if (!used[i]) {
            diag_add(c->d, SEVERITY_ERROR, c->file, st->parameters[i].line, 0,
                     "route %.*s: parameter %.*s does not occur in the sql",
                     VIEW_ARG(r->route->name), VIEW_ARG(st->parameters[i].name));
            good = false;
        }
    }
    r->order = order;
    r->statement.types = oids;
    return good;
}

static bool analyse(struct compiler *c, struct compiled_route *r)
{
    const struct statement *st = &r->route->statement;
    struct sql_place place;

    err e = sql_named_rewrite(&c->s->arena, st->sql, &r->named, &place);
    if (failed(e)) {
        sql_mistake(c, r, place, e.fault->text, VIEW(""));
        return false;
    }
    bool good = order_parameters(c, r);
    e = sql_analyse(&c->s->arena, r->named.text, &r->analysis);
    if (failed(e)) {
        struct view said = r->analysis.message;
        bool whole = memmem(said.data, said.len, e.fault->text, strlen(e.fault->text)) != NULL;
        sql_mistake(c, r, sql_named_place(&r->named, r->analysis.position),
                    whole ? "" : e.fault->text, said);
        return false;
    }
    if (st->read_only && !r->analysis.reads_only) {
        diag_add(c->d, SEVERITY_ERROR, c->file, st->sql_line, 0,
                 "route %.*s: read_only is true, but the statement writes (%s)",
                 VIEW_ARG(r->route->name), r->analysis.command);
        good = false;
    }
    return good;
}

/* ---- What a statement needs at the database ---- */

static struct view search_path_text(struct compiler *c, const struct service *s)
{
    static const struct view usual[] = {VIEW("$user"), VIEW("public")};
    const struct view *items = s->search_path.count > 0 ? s->search_path.items : usual;
    size_t count = s->search_path.count > 0 ? s->search_path.count : COUNT_OF(usual);
    struct buf b;

    buf_init(&b, FRAGMENT_MAX_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (view_is(items[i], "pg_temp"))
            continue;
        buf_add_char(&b, '"');
        for (size_t j = 0; j < items[i].len; j++) {
            if (items[i].data[j] == '"')
                buf_add_char(&b, '"');
            buf_add_char(&b, items[i].data[j]);
        }
        buf_add_str(&b, "\", ");
    }
    /* Last, or a temporary table could shadow the one that is meant. */
    buf_add_str(&b, "pg_temp");
    struct view text = arena_copy(&c->s->arena, buf_view(&b));
    c->no_memory |= buf_failed(&b) || text.data == NULL;
    buf_clear(&b);
    return text;
}

static void hash_part(struct sha256 *h, struct view v)
{
    uint64_t len = v.len;

    sha256_add(h, view_of(&len, sizeof len));
    sha256_add(h, v);
}

static void prepared_key(const struct db_statement *s, struct view database_role,
                         struct view search_path, uint8_t out[DB_KEY_BYTES])
{
    struct sha256 h = {0};

    sha256_init(&h);
    hash_part(&h, s->sql);
    hash_part(&h, view_of(s->types, s->parameter_count * sizeof(uint32_t)));
    hash_part(&h, database_role);
    hash_part(&h, search_path);
    sha256_end(&h, out);
    sha256_clear(&h);
}

/* The role that signs logins: the end of the chain. */
static struct view last_of(struct strings chain)
{
    return chain.count > 0 ? chain.items[chain.count - 1] : (struct view){NULL, 0};
}

static struct view render_target(struct compiler *c, const struct compiled_route *r,
                                 const struct endpoint *e, const struct role *role)
{
    const struct route *route = r->route;
    char hash[65];
    struct buf b;

    audit_statement_hash(route->statement.sql, hash);
    struct audit_target t = {
        .service = route->service->name,
        .route = route->name,
        .path_template = route->paths.count > 0 ? route->paths.items[0] : (struct view){NULL, 0},
        .statement_sha256 = view_str(hash),
        .read_only = r->statement.read_only,
        .database_role = role->database_role,
        .database_user = e->user,
        .database = e->database,
        .endpoint = arena_printf(&c->s->arena, "%.*s:%u", VIEW_ARG(e->host), e->port),
        .iam_arn = last_of(e->iam_auth.assume_role_arn),
    };
    buf_init(&b, FRAGMENT_MAX_BYTES);
    audit_render_target(&b, &t);
    struct view text = arena_copy(&c->s->arena, buf_view(&b));
    c->no_memory |= buf_failed(&b) || text.data == NULL;
    buf_clear(&b);
    return text;
}

static void compile_roles(struct compiler *c, struct compiled_route *r, const struct endpoint *e)
{
    const struct entities *all = &c->s->entities;
    struct route_role *roles = ARENA_ARRAY(&c->s->arena, all->role_count + 1, struct route_role);

    r->roles = roles;
    if (roles == NULL) {
        c->no_memory = true;
        return;
    }
    for (size_t i = 0; i < all->role_count; i++) {
        if (!strings_have(all->roles[i].services, r->route->service->name))
            continue;
        struct view as = all->roles[i].database_role;
        prepared_key(&r->statement, as, r->search_path, roles[i].prepared_key);
        prepared_key(&proof_question, as, r->search_path, roles[i].proof_key);
        atomic_init(&roles[i].proved, r->clean_text && r->relations.data == NULL);
        roles[i].target = render_target(c, r, e, &all->roles[i]);
    }
}

/* A write may fire triggers, and what those do no parser sees; a read is clean when proved. */
static void compile_cleanness(struct compiler *c, struct compiled_route *r)
{
    r->clean_text = r->analysis.leaves_no_trace && r->analysis.reads_only;
    r->statement.reset_after = true;
    r->statement.shareable = false;
    r->clean = r->statement;
    r->clean.reset_after = false;
    r->clean.shareable = r->statement.read_only && !r->statement.explicit_transaction &&
                         r->route->service->pool.shared_depth > 1;
    if (!r->clean_text || r->analysis.relation_count == 0)
        return;
    r->relations = proof_relations(&c->s->arena, &r->analysis);
    c->no_memory |= r->relations.data == NULL;
}

const struct db_statement *snapshot_statement(const struct compiled_route *r,
                                              const struct route_role *as)
{
    return atomic_load_explicit(&as->proved, memory_order_acquire) ? &r->clean : &r->statement;
}

static void compile_metrics(struct compiler *c, struct compiled_route *r)
{
    const struct view labels[] = {r->route->service->name, r->route->name};

    if (c->makers->metrics == NULL)
        return;
    r->requests = metrics_set(c->makers->metrics, METRIC_REQUESTS, labels, 2);
    r->request_seconds = metrics_series(c->makers->metrics, METRIC_REQUEST_SECONDS, labels, 2);
    r->database_seconds = metrics_series(c->makers->metrics, METRIC_DATABASE_SECONDS, labels, 1);
}

static void compile_route(struct compiler *c, const struct compiled_service *cs,
                          struct compiled_route *r)
{
    const struct service *s = cs->service;
    const struct statement *st = &r->route->statement;
    bool on_read = st->read_only && s->has_read;
    const struct endpoint *e = on_read ? &s->read : &s->primary;

    if (!st->present)
        return;
    bool typed = parameters_compile(&c->s->arena, r->route, c->file, c->d, &r->types);
    if (!typed)
        r->types = NULL;
    if (!analyse(c, r) || !typed)
        return;
    r->broker = on_read ? cs->read : cs->primary;
    r->search_path = search_path_text(c, s);
    r->timeout_ms = st->timeout_ms > 0 ? st->timeout_ms : s->statement_timeout_ms;
    r->timeout_text = arena_printf(&c->s->arena, "%lld", (long long)r->timeout_ms);
    int64_t rows = st->max_rows > 0 ? st->max_rows : s->max_rows;
    r->max_rows = st->result == RESULT_ONE ? 1 : rows > INT32_MAX - 1 ? INT32_MAX - 1
                                                                      : (uint32_t)rows;
    r->statement.sql = r->named.text;
    r->statement.parameter_count = r->named.name_count;
    r->statement.read_only = st->read_only;
    r->statement.explicit_transaction = !r->analysis.implicit_safe;
    compile_cleanness(c, r);
    compile_roles(c, r, e);
    compile_metrics(c, r);
}

/* ---- Services and the whole ---- */

static bool same_login(const struct endpoint *a, const struct endpoint *b)
{
    return view_eq(a->user, b->user) && view_eq_nocase(a->host, b->host) && a->port == b->port;
}

/* Whether the service logs in as this endpoint does. */
static bool shares_login(const struct service *s, const struct endpoint *e)
{
    return same_login(&s->primary, e) || (s->has_read && same_login(&s->read, e));
}

/* The roles that a login may be a member of: those of every service that it serves. */
static struct strings roles_of(struct compiler *c, const struct endpoint *e)
{
    const struct entities *all = &c->s->entities;
    struct view *names = ARENA_ARRAY(&c->s->arena, all->role_count + 1, struct view);
    struct strings out = {names, 0};

    if (names == NULL) {
        c->no_memory = true;
        return out;
    }
    for (size_t i = 0; i < all->role_count; i++) {
        const struct role *role = &all->roles[i];
        for (size_t k = 0; k < all->service_count; k++) {
            const struct service *s = &all->services[k];
            if (shares_login(s, e) && strings_have(role->services, s->name) &&
                !strings_have(out, role->database_role))
                names[out.count++] = role->database_role;
        }
    }
    return out;
}

static void compile_service(struct compiler *c, struct compiled_service *cs,
                            const struct service *s)
{
    cs->service = s;
    cs->routes = ARENA_ARRAY(&c->s->arena, s->route_count + 1, struct compiled_route);
    if (cs->routes == NULL) {
        c->no_memory = true;
        return;
    }
    if (c->makers->broker_for != NULL && c->d->errors == 0) {
        struct strings roles = roles_of(c, &s->primary);
        struct strings read_roles = s->has_read ? roles_of(c, &s->read) : roles;
        cs->primary = c->makers->broker_for(c->makers->arg, s, &s->primary, "primary", &roles,
                                            c->d);
        if (s->has_read)
            cs->read = c->makers->broker_for(c->makers->arg, s, &s->read, "read", &read_roles,
                                             c->d);
    }
    for (size_t i = 0; i < s->route_count; i++) {
        cs->routes[i].route = &s->routes[i];
        compile_route(c, cs, &cs->routes[i]);
        c->s->route_count++;
    }
}

static err compile(struct compiler *c)
{
    struct snapshot *s = c->s;
    struct entities *all = &s->entities;

    if (!consumer_index_fill(&s->consumers, all->consumers, all->consumer_count))
        return fail(&fault_out_of_memory);
    TRY(router_build(&s->arena, all, c->file, c->d, &s->router));
    s->services = ARENA_ARRAY(&s->arena, all->service_count + 1, struct compiled_service);
    if (s->services == NULL)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < all->service_count; i++)
        compile_service(c, &s->services[i], &all->services[i]);
    if (c->no_memory)
        return fail(&fault_out_of_memory);
    if (c->d->errors > 0)
        return fail(&config_invalid);
    return identity_new(all->issuers, all->issuer_count, c->makers->previous_identity,
                        &s->identity);
}

/* ---- A file with mistakes ---- */

static bool parameters_whole(const struct statement *st)
{
    for (size_t i = 0; i < st->parameter_count; i++) {
        const struct parameter *p = &st->parameters[i];
        if (p->name.data == NULL || p->type.data == NULL || p->from.data == NULL)
            return false;
    }
    return true;
}

static void check_statement(struct compiler *c, const struct route *route)
{
    const struct statement *st = &route->statement;
    struct compiled_route r = {.route = route};

    if (!st->present || st->sql.len == 0 || !parameters_whole(st))
        return;
    parameters_check(route, c->file, c->d);
    (void)analyse(c, &r);
}

/* A statement's own mistakes are there whatever else is wrong: all are shown at once.  What was
 * reported already left its value absent. */
static void check_statements(struct compiler *c)
{
    const struct entities *all = &c->s->entities;

    for (size_t i = 0; i < all->service_count; i++) {
        for (size_t k = 0; k < all->services[i].route_count; k++)
            check_statement(c, &all->services[i].routes[k]);
    }
}

err snapshot_build(const char *path, const struct snapshot_makers *makers, struct diagnostics *d,
                   struct snapshot **out)
{
    struct snapshot *s = calloc(1, sizeof *s);

    *out = NULL;
    if (s == NULL)
        return fail(&fault_out_of_memory);
    atomic_init(&s->references, 1);
    arena_init(&s->arena, BLOCK_BYTES, MAX_BYTES);
    consumer_index_init(&s->consumers);
    struct compiler c = {.s = s, .makers = makers, .d = d, .file = view_str(path)};
    struct diagnostic *before = d->last;
    const struct config_host *host = makers->host != NULL ? makers->host : &config_host_offline;
    err e = entities_load(&s->arena, path, host, &s->entities, d);
    if (!failed(e))
        e = compile(&c);
    else if (is_fault(e, &config_invalid))
        check_statements(&c);
    diag_sort_after(d, before);
    if (failed(e)) {
        snapshot_release(s);
        return e;
    }
    s->loaded_at_s = time_wall_us() / 1000000;
    *out = s;
    return OK;
}

bool snapshot_find_consumer(const struct snapshot *s, struct principal *p)
{
    const struct entities *all = &s->entities;
    size_t i = 0;

    while (i < all->issuer_count && !view_eq(all->issuers[i].name, p->issuer_name))
        i++;
    if (i == all->issuer_count || all->issuers[i].consumer_claim.data == NULL)
        return true;
    p->consumer = consumer_by_claim(&s->consumers, &all->issuers[i], p->consumer_claim);
    return p->consumer != NULL || all->issuers[i].consumer_optional;
}

struct snapshot *snapshot_acquire(struct snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void snapshot_release(struct snapshot *s)
{
    if (s == NULL || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    for (size_t i = 0; s->services != NULL && i < s->entities.service_count; i++) {
        broker_release_reference(s->services[i].primary);
        broker_release_reference(s->services[i].read);
    }
    identity_release(s->identity);
    consumer_index_clear(&s->consumers);
    arena_clear(&s->arena);
    free(s);
}

const struct compiled_route *snapshot_route(const struct snapshot *s, const struct route *route)
{
    size_t service = (size_t)(route->service - s->entities.services);

    return &s->services[service].routes[route - route->service->routes];
}
