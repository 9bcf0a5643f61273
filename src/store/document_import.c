/* The tables' side of a document. */
#include <stdio.h>

#include "base/map.h"
#include "json/json.h"
#include "store/document.h"
#include "store/migrations.h"

enum { BLOCK_BYTES = 64 << 10, MAX_BYTES = 512 << 20 };

/* ---- Reading ---- */

#define COLUMNS(name, other, service)                                                              \
    "select t.id::text, t." name ", array_to_json(t.tags)::text, t.created_at, t.updated_at,"      \
    " t.definition::text, " other ", " service
#define NO_SCOPE ", null, null"

static const char *const readers[STORE_KINDS] = {
    [STORE_VAULT] = COLUMNS("prefix", "null", "null") NO_SCOPE
                    " from sallyport_vaults t order by t.ordinal, t.prefix",
    [STORE_ISSUER] = COLUMNS("name", "null", "null") NO_SCOPE
                     " from sallyport_issuers t order by t.ordinal, t.name",
    [STORE_CONSUMER] = COLUMNS("username", "t.custom_id", "null") NO_SCOPE
                       " from sallyport_consumers t order by t.ordinal, t.username, t.custom_id",
    [STORE_SERVICE] = COLUMNS("name", "null", "null") NO_SCOPE
                      " from sallyport_services t order by t.ordinal, t.name",
    [STORE_ROUTE] = COLUMNS("name", "null", "s.name") NO_SCOPE
                    " from sallyport_routes t join sallyport_services s on s.id = t.service_id"
                    " order by s.ordinal, t.ordinal, t.name",
    [STORE_ROLE] = COLUMNS("name", "null", "null") NO_SCOPE
                   " from sallyport_roles t order by t.ordinal, t.name",
    [STORE_PLUGIN] = COLUMNS("name", "null", "s.name")
                     ", r.name, coalesce(c.username, c.id::text) from sallyport_plugins t"
                     " left join sallyport_services s on s.id = t.service_id"
                     " left join sallyport_routes r on r.id = t.route_id"
                     " left join sallyport_consumers c on c.id = t.consumer_id"
                     " order by t.ordinal, t.name, t.id"};

static struct view copy(struct arena *arena, struct view v)
{
    return v.data != NULL ? arena_copy(arena, v) : v;
}

static bool read_tags(struct arena *arena, struct view text, struct store_entity *e)
{
    const struct json_value *list;
    size_t n = 0;

    if (failed(json_parse(arena, text, NULL, &list, NULL)) || list->type != JSON_ARRAY)
        return false;
    struct view *items = ARENA_ARRAY(arena, list->count + 1, struct view);
    if (items == NULL)
        return false;
    JSON_EACH(item, list)
        items[n++] = copy(arena, item->text);
    e->tags = (struct strings){items, n};
    e->has_tags = true;
    return true;
}

static int64_t number(struct view v)
{
    uint64_t n = 0;
    return view_to_u64(v, INT64_MAX, &n) ? (int64_t)n : -1;
}

static err take_row(const struct store_rows *rows, size_t row, struct arena *arena,
                    enum store_kind kind, struct store_entity *e)
{
    *e = (struct store_entity){
        .id = copy(arena, store_cell(rows, row, 0)),
        .name = copy(arena, store_cell(rows, row, 1)),
        .created_at = number(store_cell(rows, row, 3)),
        .updated_at = number(store_cell(rows, row, 4)),
        .definition = copy(arena, store_cell(rows, row, 5)),
        .other = copy(arena, store_cell(rows, row, 6)),
        .service = copy(arena, store_cell(rows, row, 7)),
        .route = copy(arena, store_cell(rows, row, 8)),
        .consumer = copy(arena, store_cell(rows, row, 9)),
    };
    bool whole = e->id.data != NULL && e->definition.data != NULL &&
                 store_entity_name(arena, kind, e) &&
                 read_tags(arena, copy(arena, store_cell(rows, row, 2)), e);
    return whole ? OK : fail(&fault_out_of_memory);
}

static err read_kind(struct store *s, struct arena *arena, enum store_kind kind,
                     struct store_document *out, struct store_why *why)
{
    struct store_rows rows;
    err e = OK;

    TRY(store_run(s, readers[kind], NULL, 0, &rows, why));
    out->entities[kind] = ARENA_ARRAY(arena, rows.count + 1, struct store_entity);
    if (out->entities[kind] == NULL)
        e = fail(&fault_out_of_memory);
    for (size_t i = 0; !failed(e) && i < rows.count; i++)
        e = take_row(&rows, i, arena, kind, &out->entities[kind][i]);
    out->counts[kind] = failed(e) ? 0 : rows.count;
    store_rows_clear(&rows);
    return e;
}

static err read_all(struct store *s, struct arena *arena, struct store_document *out,
                    int64_t *revision, struct store_why *why)
{
    struct store_rows rows;

    TRY(store_run(s, "select coalesce(max(revision), 0) from sallyport_revisions", NULL, 0, &rows,
                  why));
    *revision = number(store_cell(&rows, 0, 0));
    store_rows_clear(&rows);
    for (size_t kind = 0; kind < STORE_KINDS; kind++)
        TRY(read_kind(s, arena, kind, out, why));
    return OK;
}

static err read_usable(struct store *s, struct arena *arena, struct store_document *out,
                       int64_t *revision, struct store_why *why)
{
    struct migrations_status status;

    TRY(migrations_read(s, &status, why));
    if (!status.bootstrapped)
        TRY(store_check_usage(s, why));
    TRY(migrations_usable(&status, why));
    if (status.ahead[0] != '\0')
        out->ahead = arena_copy(arena, view_str(status.ahead));
    return read_all(s, arena, out, revision, why);
}

err document_read(struct store *s, struct arena *arena, struct store_document *out,
                  int64_t *revision, struct store_why *why)
{
    *out = (struct store_document){{NULL}, {0}};
    TRY(store_script(s, "begin isolation level repeatable read read only", why));
    err e = read_usable(s, arena, out, revision, why);
    if (!is_fault(e, &store_lost))
        store_rollback(s);
    return store_explain_denied(s, false, e, why);
}

/* ---- Writing ---- */

/* Each takes all rows at once, as JSON. */
#define ROWS                                                                                       \
    "json_to_recordset($1::json) as x(id uuid, name text, tags json, created_at bigint,"           \
    " updated_at bigint, service text, route text, consumer text, definition json)"
#define TAGS "array(select json_array_elements_text(x.tags))"
#define OWNER "(select s.id from sallyport_services s where s.name = x.service)"

/* Whom a plugin is for; the id of a consumer goes before another's username (model/consumers.h).
 * Each way by its index: there may be a plugin for each of many consumers. */
#define ROUTE "(select r.id from sallyport_routes r where r.name = x.route)"
#define CONSUMER                                                                                   \
    "coalesce((select c.id from sallyport_consumers c where c.id = case when x.consumer ~"         \
    " '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then x.consumer::uuid end),"                   \
    " (select c.id from sallyport_consumers c where c.username = x.consumer))"

#define INSERT(table, name)                                                                        \
    "insert into " table " (id, " name ", tags, created_at, updated_at, ordinal, definition)"      \
    " select x.id, x.name, " TAGS ", x.created_at, x.updated_at, 0, x.definition from " ROWS
#define UPDATE(table, name, more)                                                                  \
    "update " table " t set " name " = x.name, tags = " TAGS ", created_at = x.created_at,"        \
    " updated_at = x.updated_at, definition = x.definition" more " from " ROWS " where t.id = x.id"
#define DELETE(table)                                                                              \
    "delete from " table " t using json_to_recordset($1::json) as x(id uuid) where t.id = x.id"
#define ORDER(table)                                                                               \
    "update " table " t set ordinal = x.ordinal"                                                   \
    " from json_to_recordset($1::json) as x(id uuid, ordinal integer)"                             \
    " where t.id = x.id and t.ordinal <> x.ordinal"

struct statements {
    const char *insert;
    const char *update;
    const char *remove;
    const char *order;
};

static const struct statements statements[STORE_KINDS] = {
    [STORE_VAULT] = {INSERT("sallyport_vaults", "prefix"),
                     UPDATE("sallyport_vaults", "prefix", ""), DELETE("sallyport_vaults"),
                     ORDER("sallyport_vaults")},
    [STORE_ISSUER] = {INSERT("sallyport_issuers", "name"),
                      UPDATE("sallyport_issuers", "name", ""), DELETE("sallyport_issuers"),
                      ORDER("sallyport_issuers")},
    [STORE_CONSUMER] = {INSERT("sallyport_consumers", "username"),
                        UPDATE("sallyport_consumers", "username", ""),
                        DELETE("sallyport_consumers"), ORDER("sallyport_consumers")},
    [STORE_SERVICE] = {INSERT("sallyport_services", "name"),
                       UPDATE("sallyport_services", "name", ""), DELETE("sallyport_services"),
                       ORDER("sallyport_services")},
    [STORE_ROUTE] = {"insert into sallyport_routes (id, name, service_id, tags, created_at,"
                     " updated_at, ordinal, definition) select x.id, x.name, " OWNER ", " TAGS ","
                     " x.created_at, x.updated_at, 0, x.definition from " ROWS,
                     UPDATE("sallyport_routes", "name", ", service_id = " OWNER),
                     DELETE("sallyport_routes"), ORDER("sallyport_routes")},
    [STORE_ROLE] = {INSERT("sallyport_roles", "name"), UPDATE("sallyport_roles", "name", ""),
                    DELETE("sallyport_roles"), ORDER("sallyport_roles")},
    [STORE_PLUGIN] = {"insert into sallyport_plugins (id, name, service_id, route_id, consumer_id,"
                      " tags, created_at, updated_at, ordinal, definition) select x.id, x.name, "
                      OWNER ", " ROUTE ", " CONSUMER ", " TAGS ", x.created_at, x.updated_at, 0,"
                      " x.definition from " ROWS,
                      UPDATE("sallyport_plugins", "name",
                             ", service_id = " OWNER ", route_id = " ROUTE
                             ", consumer_id = " CONSUMER),
                      DELETE("sallyport_plugins"), ORDER("sallyport_plugins")},
};

/* What a role names, in lax mode: one value as good as a list of one. */
#define LINK(table, column, path, target, name)                                                    \
    "delete from " table "; insert into " table " (role_id, " column ") select distinct r.id,"     \
    " t.id from sallyport_roles r cross join lateral"                                              \
    " jsonb_path_query(r.definition::jsonb, 'lax " path "') v"    \
    " join " target " t on t." name " = v #>> '{}';"

static const char links[] =
    LINK("sallyport_role_services", "service_id", "$.services[*]", "sallyport_services", "name")
    LINK("sallyport_role_routes", "route_id", "$.allow[*].routes[*]", "sallyport_routes", "name")
    LINK("sallyport_role_issuers", "issuer_id", "$.when.issuer[*]", "sallyport_issuers", "name")
    LINK("sallyport_role_consumers", "consumer_id", "$.when.consumers[*]", "sallyport_consumers",
         "username")
    /* And by id, whose text may be that of a username: the id goes first (model/consumers.h). */
    "insert into sallyport_role_consumers (role_id, consumer_id) select distinct r.id, t.id"
    " from sallyport_roles r cross join lateral"
    " jsonb_path_query(r.definition::jsonb, 'lax $.when.consumers[*]') v"
    " join sallyport_consumers t on t.id::text = v #>> '{}' on conflict do nothing;"
    "set constraints all immediate;";

/* A plugin goes with whom it is for, at once when that row goes; one that stays, and is for a new
 * row of that name or for another, is for nobody meanwhile. */
static const char detach[] =
    "update sallyport_plugins set service_id = null, route_id = null, consumer_id = null";

/* To the rows that bear the names now; what is to have another name is updated after. */
static const char *const attach[STORE_KINDS] = {
    [STORE_ROUTE] = "update sallyport_routes t set service_id = coalesce(" OWNER ", t.service_id)"
                    " from " ROWS " where t.id = x.id",
    [STORE_PLUGIN] = "update sallyport_plugins t set service_id = " OWNER ", route_id = " ROUTE
                     ", consumer_id = " CONSUMER " from " ROWS " where t.id = x.id"};

struct importer {
    struct store *s;
    struct arena *arena;
    const struct store_document *from;
    struct store_document *to;
    struct store_changes *changes;
    const struct keyring *ring;
    int64_t now_s;
    struct store_why *why;
    struct buf rows;
    bool begun;
};

static void add_row_start(struct importer *x, struct view id)
{
    buf_add_char(&x->rows, x->rows.len > 0 ? ',' : '[');
    buf_add_str(&x->rows, "{\"id\":");
    json_add_string(&x->rows, id);
}

static void add_times(struct importer *x, const struct store_change *c)
{
    const struct store_entity *e = c->entity;
    int64_t before = c->row != NULL ? c->row->created_at : x->now_s;
    int64_t created = e->created_at >= 0 ? e->created_at : before;
    int64_t updated = e->updated_at >= 0 ? e->updated_at : x->now_s;

    buf_printf(&x->rows, ",\"created_at\":%lld,\"updated_at\":%lld", (long long)created,
               (long long)updated);
}

static void add_reference(struct importer *x, const char *field, struct view name)
{
    if (name.len == 0)
        return;
    buf_printf(&x->rows, ",\"%s\":", field);
    json_add_string(&x->rows, name);
}

static void add_owners(struct importer *x, const struct store_entity *e)
{
    add_reference(x, "service", e->service);
    add_reference(x, "route", e->route);
    add_reference(x, "consumer", e->consumer);
}

static void add_row(struct importer *x, const struct store_change *c)
{
    const struct store_entity *e = c->entity;

    add_row_start(x, c->id);
    if (c->change != STORE_DELETE) {
        if (e->name.data != NULL) {
            buf_add_str(&x->rows, ",\"name\":");
            json_add_string(&x->rows, e->name);
        }
        buf_add_str(&x->rows, ",\"tags\":[");
        for (size_t i = 0; i < e->tags.count; i++) {
            buf_add_str(&x->rows, i > 0 ? "," : "");
            json_add_string(&x->rows, e->tags.items[i]);
        }
        buf_add_char(&x->rows, ']');
        add_times(x, c);
        add_owners(x, e);
        buf_add_str(&x->rows, ",\"definition\":");
        buf_add_view(&x->rows, e->definition);
    }
    buf_add_char(&x->rows, '}');
}

static err run_rows(struct importer *x, const char *sql)
{
    if (x->rows.len == 0)
        return OK;
    buf_add_char(&x->rows, ']');
    buf_add_char(&x->rows, '\0');
    if (buf_failed(&x->rows))
        return fail(&fault_too_large);
    struct view rows = view_upto(buf_view(&x->rows), x->rows.len - 1);
    return store_run(x->s, sql, &rows, 1, NULL, x->why);
}

static err apply(struct importer *x, enum store_kind kind, enum store_change_kind change,
                 const char *sql)
{
    buf_reset(&x->rows);
    for (size_t i = 0; i < x->changes->count; i++) {
        const struct store_change *c = &x->changes->items[i];
        if (c->kind == kind && c->change == change)
            add_row(x, c);
    }
    return run_rows(x, sql);
}

/* By what they are called: all rows bear their new names by now. */
static err put_in_order(struct importer *x, enum store_kind kind)
{
    struct store_document now = {{NULL}, {0}};

    TRY(read_kind(x->s, x->arena, kind, &now, x->why));
    struct map places;
    map_init(&places);
    err e = OK;
    for (size_t i = 0; i < x->to->counts[kind] && !failed(e); i++) {
        if (!map_put(&places, x->to->entities[kind][i].key, &x->to->entities[kind][i]))
            e = fail(&fault_out_of_memory);
    }
    buf_reset(&x->rows);
    for (size_t i = 0; i < now.counts[kind]; i++) {
        const struct store_entity *to = map_get(&places, now.entities[kind][i].key);
        if (to == NULL)
            continue;
        add_row_start(x, now.entities[kind][i].id);
        buf_printf(&x->rows, ",\"ordinal\":%zu}", (size_t)(to - x->to->entities[kind]));
    }
    map_clear(&places);
    return failed(e) ? e : run_rows(x, statements[kind].order);
}

/* Whether rows go that others refer to by their names. */
static bool owners_go(const struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        enum store_kind kind = changes->items[i].kind;
        if (changes->items[i].change == STORE_DELETE &&
            (kind == STORE_SERVICE || kind == STORE_ROUTE || kind == STORE_CONSUMER))
            return true;
    }
    return false;
}

static err attach_again(struct importer *x, enum store_kind kind)
{
    if (attach[kind] == NULL)
        return OK;
    buf_reset(&x->rows);
    for (size_t i = 0; i < x->from->counts[kind]; i++) {
        add_row_start(x, x->from->entities[kind][i].id);
        add_owners(x, &x->from->entities[kind][i]);
        buf_add_char(&x->rows, '}');
    }
    return run_rows(x, attach[kind]);
}

static err write_all(struct importer *x)
{
    bool moving = owners_go(x->changes);

    if (moving)
        TRY(store_script(x->s, detach, x->why));
    for (size_t kind = STORE_KINDS; kind-- > 0;)
        TRY(apply(x, kind, STORE_DELETE, statements[kind].remove));
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        if (moving)
            TRY(attach_again(x, kind));
        TRY(apply(x, kind, STORE_UPDATE, statements[kind].update));
        TRY(apply(x, kind, STORE_CREATE, statements[kind].insert));
        TRY(put_in_order(x, kind));
    }
    TRY(store_script(x->s, links, x->why));
    return store_script(x->s, "insert into sallyport_revisions default values", x->why);
}

/* A row that a trigger, a rule or a policy of the database keeps out would be missed by nobody:
 * without a plugin more is allowed. */
static err check_whole(const struct importer *x, const struct store_document *stored)
{
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        if (stored->counts[kind] == x->to->counts[kind])
            continue;
        snprintf(x->why->text, sizeof x->why->text,
                 "%zu of the %zu rows for each %s read back: something in the database keeps the "
                 "others out", stored->counts[kind], x->to->counts[kind], store_kind_name(kind));
        return fail(&store_failed);
    }
    return OK;
}

/* What nodes will read must be a configuration, whatever way it came here. */
static err read_back(struct importer *x, const struct config_host *host, struct diagnostics *d)
{
    struct store_document stored = {{NULL}, {0}};
    struct config_host nodes = *host;
    struct diagnostic *before = d->last;
    struct entities entities;
    int64_t revision;
    struct buf text;

    nodes.literal_secrets = false;
    TRY(read_all(x->s, x->arena, &stored, &revision, x->why));
    TRY(check_whole(x, &stored));
    buf_init(&text, DOCUMENT_MAX_BYTES);
    err e = fail(&config_invalid);
    if (document_to_yaml(&stored, &text) && !buf_failed(&text))
        e = entities_parse(x->arena, "the store", buf_view(&text), &nodes, &entities, d);
    buf_clear(&text);
    if (!failed(e))
        diag_forget_after(d, before); /* doubts, which the file's own check has said */
    return e;
}

/* Of a kind that came later, the migration that made its table. */
static const char *const since[STORE_KINDS] = {[STORE_CONSUMER] = "003_consumers",
                                               [STORE_PLUGIN] = "005_plugins"};

/* Nodes of the older version would serve without them what they were to restrict. */
static err check_kinds(const struct importer *x, const struct migrations_status *status)
{
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        if (since[kind] == NULL || x->to->counts[kind] == 0 ||
            migrations_finished(status, since[kind]))
            continue;
        snprintf(x->why->text, sizeof x->why->text,
                 "nodes of the older version do not know what a %s is", store_kind_name(kind));
        return fail(&store_pending);
    }
    return OK;
}

static err import(struct importer *x, const struct config_host *host, struct diagnostics *d)
{
    struct store_document from = {{NULL}, {0}};
    struct migrations_status status;
    int64_t revision;

    TRY(migrations_may_write(x->s, &status, x->why));
    TRY(check_kinds(x, &status));
    TRY(read_all(x->s, x->arena, &from, &revision, x->why));
    x->from = &from;
    TRY(document_seal(x->arena, x->ring, &from, x->to, x->why));
    TRY(document_compare(x->arena, &from, x->to, x->changes));
    if (x->changes->count == 0 && !x->changes->role_order)
        return OK;
    TRY(write_all(x));
    return read_back(x, host, d);
}

/* ---- Rotation ---- */

struct rotation_state {
    struct importer *x;
    size_t done;
};

static err seal_anew(void *arg, const struct store_secret *s, struct buf *instead)
{
    struct rotation_state *r = arg;
    char id[KEYRING_ID_CHARS + 1];
    struct buf plain;

    if (failed(keyring_sealed_by(s->text, id)))
        return OK; /* a reference */
    if (!r->x->ring->has_current)
        return fail(&keyring_off);
    if (strcmp(id, r->x->ring->keys[0].id) == 0)
        return OK;
    buf_init(&plain, KEYRING_SECRET_MAX_BYTES);
    err e = keyring_open(r->x->ring, &s->place, s->text, &plain);
    if (!failed(e))
        e = keyring_seal(r->x->ring, &s->place, buf_view(&plain), instead);
    buf_clear_secure(&plain);
    r->done++;
    return failed(e) ? document_explain_secret(r->x->why, e, s) : OK;
}

static err open_again(void *arg, const struct store_secret *s, struct buf *instead)
{
    struct rotation_state *r = arg;
    char id[KEYRING_ID_CHARS + 1];
    struct buf plain;
    (void)instead;

    if (failed(keyring_sealed_by(s->text, id)))
        return OK;
    buf_init(&plain, KEYRING_SECRET_MAX_BYTES);
    err e = keyring_open(r->x->ring, &s->place, s->text, &plain);
    buf_clear_secure(&plain);
    return failed(e) ? document_explain_secret(r->x->why, e, s) : OK;
}

/* What stands there now opens.  Nothing else was changed, and who rotates need not have what other
 * secrets refer to. */
static err check_rotated(struct importer *x, struct rotation_state *r)
{
    struct store_document stored = {{NULL}, {0}};
    int64_t revision;

    TRY(read_all(x->s, x->arena, &stored, &revision, x->why));
    for (enum store_kind kind = 0; kind < STORE_KINDS; kind++)
        TRY(document_each_secret(x->arena, &stored, kind, open_again, r, NULL));
    return OK;
}

/* Rows whose definition is another now; their times stay, for what they hold is the same. */
static err rotate_kind(struct importer *x, struct rotation_state *r, struct store_document *now,
                       enum store_kind kind)
{
    bool *changed = ARENA_ARRAY(x->arena, now->counts[kind] + 1, bool);

    x->changes->count = 0;
    x->changes->items = ARENA_ARRAY(x->arena, now->counts[kind] + 1, struct store_change);
    if (changed == NULL || x->changes->items == NULL)
        return fail(&fault_out_of_memory);
    TRY(document_each_secret(x->arena, now, kind, seal_anew, r, changed));
    for (size_t i = 0; i < now->counts[kind]; i++) {
        const struct store_entity *e = &now->entities[kind][i];
        if (changed[i])
            x->changes->items[x->changes->count++] = (struct store_change){
                .change = STORE_UPDATE, .kind = kind, .entity = e, .id = e->id, .row = e};
    }
    return apply(x, kind, STORE_UPDATE, statements[kind].update);
}

static err rotate(struct importer *x, size_t *done)
{
    struct store_document now = {{NULL}, {0}};
    struct rotation_state r = {.x = x};
    struct migrations_status status;
    int64_t revision;

    TRY(migrations_may_write(x->s, &status, x->why));
    TRY(read_all(x->s, x->arena, &now, &revision, x->why));
    for (enum store_kind kind = 0; kind < STORE_KINDS; kind++)
        TRY(rotate_kind(x, &r, &now, kind));
    *done = r.done;
    if (r.done == 0)
        return OK;
    TRY(store_script(x->s, "insert into sallyport_revisions default values", x->why));
    return check_rotated(x, &r);
}

/* ---- Transactions ---- */

static err begin(struct importer *x, struct keyring *ring, const struct config_host *host)
{
    static const struct keyring_settings off = {.enabled = false};

    *x->changes = (struct store_changes){NULL, 0, false};
    keyring_init(ring, host->node != NULL ? &host->node->keyring : &off);
    buf_init(&x->rows, DOCUMENT_MAX_BYTES);
    TRY(store_begin(x->s, STORE_LOCK_WAIT_MS, x->why));
    x->begun = true;
    return OK;
}

static err end(struct importer *x, struct keyring *ring, err e)
{
    keyring_clear(ring);
    buf_clear(&x->rows);
    if (!failed(e))
        return store_commit(x->s, x->why);
    if (x->begun && !is_fault(e, &store_lost)) {
        struct store_why kept = *x->why;
        store_rollback(x->s);
        *x->why = kept;
    }
    return store_explain_denied(x->s, true, e, x->why);
}

err document_import(struct store *s, struct arena *arena, struct store_document *to,
                    const struct config_host *host, int64_t now_s, struct store_changes *out,
                    struct diagnostics *d, struct store_why *why)
{
    struct keyring ring;
    struct importer x = {.s = s, .arena = arena, .to = to, .changes = out, .ring = &ring,
                         .now_s = now_s, .why = why};

    err e = begin(&x, &ring, host);
    return end(&x, &ring, failed(e) ? e : import(&x, host, d));
}

err document_rotate(struct store *s, struct arena *arena, const struct config_host *host,
                    size_t *done, struct store_why *why)
{
    struct store_changes changes;
    struct keyring ring;
    struct importer x = {.s = s, .arena = arena, .changes = &changes, .ring = &ring, .why = why};

    *done = 0;
    err e = begin(&x, &ring, host);
    return end(&x, &ring, failed(e) ? e : rotate(&x, done));
}
