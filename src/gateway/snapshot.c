#include "gateway/snapshot.h"

#include <stdlib.h>

#include "audit/event.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "gateway/config_host.h"
#include "gateway/proof.h"
#include "gateway/reuse.h"
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
    size_t errors; /* of d, before this file */
    struct view file;
    struct reuse reuse;
    struct buf fragment; /* the audit's at hand */
    bool no_memory;
};

/* ---- SQL ---- */

static void place_in_file(const struct statement *st, struct sql_place place, unsigned *line,
                          unsigned *column)
{
    /* The indentation of a block is gone, so only the line is known; of folded text, and of text
     * with escapes, only where it begins. */
    *line = st->sql_line + (st->sql_lines ? place.line - 1 : 0);
    *column = st->sql_column > 0 ? st->sql_column + place.column - 1 : 0;
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

static bool rewrite(struct compiler *c, struct compiled_route *r)
{
    struct sql_place place;

    err e = sql_named_rewrite(&c->s->arena, r->route->statement.sql, &r->named, &place);
    audit_statement_hash(r->route->statement.sql, r->statement_sha256);
    if (failed(e))
        sql_mistake(c, r, place, e.fault->text, VIEW(""));
    return !failed(e);
}

static bool judge(struct compiler *c, struct compiled_route *r)
{
    err e = sql_analyse(&c->s->arena, r->named.text, &r->analysis);
    if (!failed(e))
        return true;
    struct view said = r->analysis.message;
    bool whole = memmem(said.data, said.len, e.fault->text, strlen(e.fault->text)) != NULL;
    sql_mistake(c, r, sql_named_place(&r->named, r->analysis.position), whole ? "" : e.fault->text,
                said);
    return false;
}

/* `before`, when it is not NULL, has the same text. */
static bool analyse(struct compiler *c, struct compiled_route *r,
                    const struct compiled_route *before)
{
    const struct statement *st = &r->route->statement;

    if (before != NULL && !reuse_analysis(&c->s->arena, before, r))
        return !(c->no_memory = true);
    if (before == NULL && !rewrite(c, r))
        return false;
    bool good = order_parameters(c, r);
    if (before == NULL && !judge(c, r))
        return false;
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

static struct view render_target(struct compiler *c, const struct compiled_route *r, bool on_read,
                                 const struct role *role)
{
    const struct route *route = r->route;
    const struct endpoint *e = on_read ? &route->service->read : &route->service->primary;
    struct audit_target t = {
        .service = route->service->name,
        .route = route->name,
        .path_template = route->paths.count > 0 ? route->paths.items[0] : (struct view){NULL, 0},
        .statement_sha256 = view_str(r->statement_sha256),
        .read_only = r->statement.read_only,
        .database_role = role->database_role,
        .database_user = e->user,
        .database = e->database,
        .endpoint = on_read ? r->service->read_place : r->service->primary_place,
        .iam_arn = last_of(e->iam_auth.assume_role_arn),
    };

    buf_reset(&c->fragment);
    audit_render_target(&c->fragment, &t);
    struct view text = arena_copy(&c->s->arena, buf_view(&c->fragment));
    c->no_memory |= buf_failed(&c->fragment) || text.data == NULL;
    return text;
}

static void compile_roles(struct compiler *c, struct compiled_route *r, bool on_read,
                          const struct compiled_route *before)
{
    const struct compiled_service *cs = r->service;

    r->roles = ARENA_ARRAY(&c->s->arena, cs->role_count + 1, struct route_role);
    if (r->roles == NULL) {
        c->no_memory = true;
        return;
    }
    for (size_t i = 0; i < cs->role_count; i++) {
        const struct role *role = &c->s->entities.roles[cs->roles[i]];
        struct route_role *as = &r->roles[i];
        atomic_init(&as->proved, r->clean_text && r->relations.data == NULL);
        atomic_init(&as->prepared, false);
        if (before == NULL || !reuse_role(&c->reuse, before, r, role, as))
            prepared_key(&r->statement, role->database_role, r->search_path, as->prepared_key);
        as->target = render_target(c, r, on_read, role);
    }
}

struct route_role *snapshot_route_role(const struct compiled_route *r, size_t role)
{
    uint32_t slot = r->service->slots[role];

    return slot == NO_SLOT || r->roles == NULL ? NULL : &r->roles[slot];
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

static struct view place_of(struct compiler *c, const struct endpoint *e)
{
    return arena_printf(&c->s->arena, "%.*s:%u", VIEW_ARG(e->host), e->port);
}

static struct view milliseconds(struct compiler *c, int64_t ms)
{
    return arena_printf(&c->s->arena, "%lld", (long long)ms);
}

/* What every caller of the route meets who has no plugins of their own. */
static err find_plugins(struct arena *arena, const struct snapshot *s, const struct route *route,
                        const struct consumer *consumer, const struct plugin_chain **out)
{
    struct plugin_chain found;
    struct plugin_chain *kept;

    *out = NULL;
    plugin_chain_find(&s->plugins, route->service, route, consumer, &found);
    if (found.count == 0)
        return OK;
    kept = ARENA_NEW(arena, struct plugin_chain);
    if (kept == NULL)
        return fail(&fault_out_of_memory);
    *kept = found;
    *out = kept;
    return OK;
}

static void compile_route(struct compiler *c, const struct compiled_service *cs,
                          struct compiled_route *r)
{
    const struct service *s = cs->service;
    const struct statement *st = &r->route->statement;
    bool on_read = st->read_only && s->has_read;

    if (!st->present)
        return;
    const struct compiled_route *before = reuse_route(&c->reuse, r->route);
    bool typed = parameters_compile(&c->s->arena, r->route, c->file, c->d, &r->types);
    if (!typed)
        r->types = NULL;
    if (!analyse(c, r, before) || !typed)
        return;
    r->broker = on_read ? cs->read : cs->primary;
    r->search_path = cs->search_path;
    r->timeout_ms = st->timeout_ms > 0 ? st->timeout_ms : s->statement_timeout_ms;
    r->timeout_text = st->timeout_ms > 0 ? milliseconds(c, st->timeout_ms) : cs->timeout_text;
    int64_t rows = st->max_rows > 0 ? st->max_rows : s->max_rows;
    r->max_rows = st->result == RESULT_ONE ? 1 : rows > INT32_MAX - 1 ? INT32_MAX - 1
                                                                      : (uint32_t)rows;
    r->statement.sql = r->named.text;
    r->statement.parameter_count = r->named.name_count;
    r->statement.read_only = st->read_only;
    r->statement.explicit_transaction = !r->analysis.implicit_safe;
    c->no_memory |= failed(find_plugins(&c->s->arena, c->s, r->route, NULL, &r->plugins));
    compile_cleanness(c, r);
    compile_roles(c, r, on_read, before);
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

/* Room for the routes, and which roles have the service. */
static bool open_service(struct compiler *c, struct compiled_service *cs, const struct service *s)
{
    const struct entities *all = &c->s->entities;

    cs->service = s;
    cs->routes = ARENA_ARRAY(&c->s->arena, s->route_count + 1, struct compiled_route);
    cs->roles = ARENA_ARRAY(&c->s->arena, all->role_count + 1, uint32_t);
    cs->slots = ARENA_ARRAY(&c->s->arena, all->role_count + 1, uint32_t);
    cs->proof_keys = arena_array(&c->s->arena, all->role_count + 1, DB_KEY_BYTES);
    if (cs->routes == NULL || cs->roles == NULL || cs->slots == NULL || cs->proof_keys == NULL)
        return !(c->no_memory = true);
    cs->search_path = search_path_text(c, s);
    cs->primary_place = place_of(c, &s->primary);
    cs->read_place = place_of(c, &s->read);
    cs->timeout_text = milliseconds(c, s->statement_timeout_ms);
    for (size_t i = 0; i < all->role_count; i++) {
        bool has = strings_have(all->roles[i].services, s->name);
        cs->slots[i] = has ? (uint32_t)cs->role_count : NO_SLOT;
        if (!has)
            continue;
        prepared_key(&proof_question, all->roles[i].database_role, cs->search_path,
                     cs->proof_keys[cs->role_count]);
        cs->roles[cs->role_count++] = (uint32_t)i;
    }
    return true;
}

static void compile_service(struct compiler *c, struct compiled_service *cs,
                            const struct service *s)
{
    if (!open_service(c, cs, s))
        return;
    if (c->makers->broker_for != NULL && c->d->errors == c->errors) {
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
        cs->routes[i].service = cs;
        compile_route(c, cs, &cs->routes[i]);
        c->s->route_count++;
    }
}

/* ---- Which routes a role allows ---- */

static void cover(const struct compiled_route *r, size_t role)
{
    struct route_role *as = snapshot_route_role(r, role);

    if (as != NULL)
        as->covered = true;
}

static void cover_all(const struct snapshot *s, size_t role)
{
    for (size_t i = 0; i < s->entities.service_count; i++) {
        const struct compiled_service *cs = &s->services[i];
        for (size_t k = 0; cs->slots[role] != NO_SLOT && k < cs->service->route_count; k++)
            cover(&cs->routes[k], role);
    }
}

static void cover_named(const struct map *routes, struct strings names, const struct snapshot *s,
                        size_t role)
{
    for (size_t i = 0; i < names.count; i++) {
        const struct compiled_route *r = map_get(routes, names.items[i]);
        if (view_is(names.items[i], "*"))
            cover_all(s, role);
        else if (r != NULL)
            cover(r, role);
    }
}

static err compile_coverage(const struct snapshot *s)
{
    struct map routes;
    bool room = true;

    map_init(&routes);
    for (size_t i = 0; i < s->entities.service_count; i++) {
        const struct compiled_service *cs = &s->services[i];
        for (size_t k = 0; k < cs->service->route_count; k++)
            room = room && map_put(&routes, cs->routes[k].route->name, &cs->routes[k]);
    }
    for (size_t i = 0; room && i < s->entities.role_count; i++) {
        const struct role *role = &s->entities.roles[i];
        for (size_t k = 0; k < role->allow_count; k++)
            cover_named(&routes, role->allow[k].routes, s, i);
    }
    map_clear(&routes);
    return room ? OK : fail(&fault_out_of_memory);
}

static err compile(struct compiler *c)
{
    struct snapshot *s = c->s;
    struct entities *all = &s->entities;
    const struct snapshot *before = c->makers->previous;

    if (before != NULL)
        atomic_store(&s->proofs_hold_ns, atomic_load(&before->proofs_hold_ns));
    if (!consumer_index_fill(&s->consumers, all->consumers, all->consumer_count))
        return fail(&fault_out_of_memory);
    TRY(plugin_index_fill(&s->plugins, all->plugins, all->plugin_count));
    TRY(router_build(&s->arena, all, c->file, c->d, &s->router));
    s->services = ARENA_ARRAY(&s->arena, all->service_count + 1, struct compiled_service);
    if (s->services == NULL)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < all->service_count; i++)
        compile_service(c, &s->services[i], &all->services[i]);
    if (c->no_memory)
        return fail(&fault_out_of_memory);
    if (c->d->errors > c->errors)
        return fail(&config_invalid);
    TRY(compile_coverage(s));
    return identity_new(all->issuers, all->issuer_count, before != NULL ? before->identity : NULL,
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
    (void)analyse(c, &r, NULL);
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
    plugin_index_init(&s->plugins);
    struct compiler c = {.s = s, .makers = makers, .d = d, .errors = d->errors,
                         .file = view_str(path)};
    struct diagnostic *before = d->last;
    buf_init(&c.fragment, FRAGMENT_MAX_BYTES);
    const struct config_host *host = makers->host != NULL ? makers->host : &config_host_offline;
    err e = reuse_init(&c.reuse, makers->previous) ? OK : fail(&fault_out_of_memory);
    if (!failed(e))
        e = entities_load(&s->arena, path, host, &s->entities, d);
    if (!failed(e))
        e = compile(&c);
    else if (is_fault(e, &config_invalid))
        check_statements(&c);
    reuse_clear(&c.reuse);
    buf_clear(&c.fragment);
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
    if (i == all->issuer_count)
        return false;
    if (all->issuers[i].consumer_claim.data == NULL)
        return true;
    p->consumer = consumer_by_claim(&s->consumers, &all->issuers[i], p->consumer_claim);
    return p->consumer != NULL || all->issuers[i].consumer_optional;
}

err snapshot_find_plugins(struct arena *arena, const struct snapshot *s,
                          const struct compiled_route *r, const struct consumer *consumer,
                          const struct plugin_chain **out)
{
    *out = r->plugins;
    return plugin_index_knows(&s->plugins, consumer)
               ? find_plugins(arena, s, r->route, consumer, out)
               : OK;
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
    plugin_index_clear(&s->plugins);
    arena_clear(&s->arena);
    free(s);
}

const struct compiled_route *snapshot_route(const struct snapshot *s, const struct route *route)
{
    size_t service = (size_t)(route->service - s->entities.services);

    return &s->services[service].routes[route - route->service->routes];
}
