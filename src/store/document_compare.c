/* What tells one document from another. */
#include "base/log.h"
#include "base/map.h"
#include "json/json.h"
#include "store/document.h"

enum { BLOCK_BYTES = 64 << 10, MAX_BYTES = 512 << 20, FIELDS_MAX_BYTES = 4096 };

static bool put(struct map *map, struct view key, const struct store_entity *e)
{
    union {
        const struct store_entity *read;
        void *any;
    } value = {e};
    return map_put(map, key, value.any);
}

/* ---- Rows ---- */

bool store_rows_index_init(struct store_rows_index *x, const struct store_document *rows,
                           const struct store_document *to, enum store_kind kind)
{
    bool good = true;

    map_init(&x->by_id);
    map_init(&x->by_key);
    map_init(&x->taken);
    for (size_t i = 0; i < rows->counts[kind] && good; i++) {
        const struct store_entity *e = &rows->entities[kind][i];
        good = put(&x->by_id, e->id, e) && put(&x->by_key, e->key, e);
    }
    for (size_t i = 0; i < to->counts[kind] && good; i++) {
        const struct store_entity *e = &to->entities[kind][i];
        good = e->id.len == 0 || put(&x->taken, e->id, e);
    }
    return good;
}

void store_rows_index_clear(struct store_rows_index *x)
{
    map_clear(&x->by_id);
    map_clear(&x->by_key);
    map_clear(&x->taken);
}

const struct store_entity *store_rows_index_find(const struct store_rows_index *x,
                                                 const struct store_entity *e)
{
    if (e->id.len > 0)
        return map_get(&x->by_id, e->id);
    const struct store_entity *row = map_get(&x->by_key, e->key);
    return row != NULL && map_get(&x->taken, row->id) == NULL ? row : NULL;
}

/* ---- Differences ---- */

struct comparer {
    struct arena *arena; /* what stays */
    struct arena scratch; /* of two definitions */
    struct store_rows_index rows; /* of the kind at hand */
    /* Of each kind, rows of `from` that stay, by id; and all, by name: as they are, and as they
     * shall be. */
    struct map kept[STORE_KINDS], was[STORE_KINDS], shall_be[STORE_KINDS];
    struct store_changes *out;
    size_t room;
    bool no_memory;
};

/* Members in any order; numbers by their text. */
static bool same(const struct json_value *a, const struct json_value *b)
{
    if (a == NULL || b == NULL || a->type != b->type || a->count != b->count)
        return a == b;
    if (a->type == JSON_OBJECT) {
        JSON_EACH(m, a)
        {
            if (!same(m, json_get_view(b, m->name)))
                return false;
        }
        return true;
    }
    if (a->type == JSON_ARRAY) {
        const struct json_value *other = b->first;
        JSON_EACH(item, a)
        {
            if (!same(item, other))
                return false;
            other = other->next;
        }
        return true;
    }
    return view_eq(a->text, b->text);
}

static const struct json_value *parse(struct comparer *c, struct view definition)
{
    const struct json_limits limits = {JSON_DEFAULT_DEPTH, 1 << 22};
    const struct json_value *value = NULL;

    err e = json_parse(&c->scratch, definition, &limits, &value, NULL);
    c->no_memory = c->no_memory || is_fault(e, &fault_out_of_memory);
    return value;
}

static bool same_tags(const struct strings *a, const struct strings *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!view_eq(a->items[i], b->items[i]))
            return false;
    }
    return true;
}

static void add_field(struct buf *fields, struct view name)
{
    if (fields->len > 0)
        buf_add_str(fields, ", ");
    buf_add_view(fields, name);
}

static void differ_in_definition(struct comparer *c, const struct store_entity *from,
                                 const struct store_entity *to, struct buf *fields)
{
    arena_reset(&c->scratch);
    const struct json_value *a = parse(c, from->definition), *b = parse(c, to->definition);

    JSON_EACH(m, b)
    {
        if (!same(m, json_get_view(a, m->name)))
            add_field(fields, m->name);
    }
    JSON_EACH(m, a)
    {
        if (json_get_view(b, m->name) == NULL)
            add_field(fields, m->name);
    }
}

/* Whether what is referred to is another row: two may have swapped their names.  One that is made
 * anew, under the name of one that goes, is no difference. */
static bool refers_elsewhere(const struct comparer *c, enum store_kind kind, struct view from,
                             struct view to)
{
    if (to.data == NULL || !view_eq(from, to))
        return !view_eq(from, to);
    const struct store_entity *was = map_get(&c->was[kind], to);
    return was != NULL && map_get(&c->kept[kind], was->id) != NULL &&
           map_get(&c->shall_be[kind], to) != was;
}

static void differ_in_references(const struct comparer *c, const struct store_entity *from,
                                 const struct store_entity *to, struct buf *fields)
{
    if (refers_elsewhere(c, STORE_SERVICE, from->service, to->service))
        add_field(fields, VIEW("service"));
    if (refers_elsewhere(c, STORE_ROUTE, from->route, to->route))
        add_field(fields, VIEW("route"));
    if (refers_elsewhere(c, STORE_CONSUMER, from->consumer, to->consumer))
        add_field(fields, VIEW("consumer"));
}

/* "name, statement"; absent when nothing differs. */
static struct view differences(struct comparer *c, enum store_kind kind,
                               const struct store_entity *from, const struct store_entity *to)
{
    struct view kept = {NULL, 0};
    struct buf fields;

    buf_init(&fields, FIELDS_MAX_BYTES);
    if (!view_eq(from->name, to->name))
        add_field(&fields, view_str(store_name_field(kind)));
    differ_in_references(c, from, to, &fields);
    differ_in_definition(c, from, to, &fields);
    if (!same_tags(&from->tags, &to->tags))
        add_field(&fields, VIEW("tags"));
    if (to->created_at >= 0 && to->created_at != from->created_at)
        add_field(&fields, VIEW("created_at"));
    if (to->updated_at >= 0 && to->updated_at != from->updated_at)
        add_field(&fields, VIEW("updated_at"));
    if (fields.len > 0) {
        kept = arena_copy(c->arena, buf_view(&fields));
        c->no_memory = c->no_memory || kept.data == NULL;
    }
    buf_clear(&fields);
    return kept;
}

static void add_change(struct comparer *c, struct store_change change)
{
    ENSURE(c->out->count < c->room);
    c->out->items[c->out->count++] = change;
}

static void note_name(struct comparer *c, struct map *names, const struct store_entity *as,
                      const struct store_entity *row)
{
    if (as->name.data != NULL && !put(names, as->name, row))
        c->no_memory = true;
}

static void compare_one(struct comparer *c, enum store_kind kind, const struct store_entity *to)
{
    const struct store_entity *from = store_rows_index_find(&c->rows, to);

    note_name(c, &c->shall_be[kind], to, from != NULL ? from : to);
    if (from == NULL) {
        struct view id =
            to->id.len > 0 ? to->id : store_entity_derive_id(c->arena, kind, to);
        c->no_memory = c->no_memory || id.data == NULL;
        add_change(c, (struct store_change){STORE_CREATE, kind, to, .id = id});
        return;
    }
    if (!put(&c->kept[kind], from->id, from))
        c->no_memory = true;
    struct view fields = differences(c, kind, from, to);
    if (fields.len > 0)
        add_change(c, (struct store_change){.change = STORE_UPDATE,
                                            .kind = kind,
                                            .entity = to,
                                            .id = from->id,
                                            .row = from,
                                            .fields = fields});
}

/* Whether those that stay come in the same order. */
static bool same_order(const struct comparer *c, const struct store_document *from,
                       const struct store_document *to)
{
    size_t at = 0;

    for (size_t i = 0; i < to->counts[STORE_ROLE]; i++) {
        const struct store_entity *t = &to->entities[STORE_ROLE][i];
        const struct store_entity *f = store_rows_index_find(&c->rows, t);
        if (f == NULL)
            continue;
        size_t place = (size_t)(f - from->entities[STORE_ROLE]);
        if (place + 1 < at)
            return false;
        at = place + 1;
    }
    return true;
}

static void compare_kind(struct comparer *c, enum store_kind kind,
                         const struct store_document *from, const struct store_document *to)
{
    if (!store_rows_index_init(&c->rows, from, to, kind))
        c->no_memory = true;
    for (size_t i = 0; i < from->counts[kind]; i++) {
        const struct store_entity *e = &from->entities[kind][i];
        note_name(c, &c->was[kind], e, e);
    }
    for (size_t i = 0; i < to->counts[kind]; i++)
        compare_one(c, kind, &to->entities[kind][i]);
    for (size_t i = 0; i < from->counts[kind]; i++) {
        const struct store_entity *e = &from->entities[kind][i];
        if (map_get(&c->kept[kind], e->id) == NULL)
            add_change(c, (struct store_change){STORE_DELETE, kind, .row = e, .id = e->id});
    }
    if (kind == STORE_ROLE)
        c->out->role_order = !same_order(c, from, to);
    store_rows_index_clear(&c->rows);
}

err document_compare(struct arena *arena, const struct store_document *from,
                     const struct store_document *to, struct store_changes *out)
{
    struct comparer c = {.arena = arena, .out = out};

    *out = (struct store_changes){NULL, 0, false};
    for (size_t kind = 0; kind < STORE_KINDS; kind++)
        c.room += from->counts[kind] + to->counts[kind];
    out->items = ARENA_ARRAY(arena, c.room + 1, struct store_change);
    if (out->items == NULL)
        return fail(&fault_out_of_memory);
    arena_init(&c.scratch, BLOCK_BYTES, MAX_BYTES);
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        map_init(&c.kept[kind]);
        map_init(&c.was[kind]);
        map_init(&c.shall_be[kind]);
    }
    for (size_t kind = 0; kind < STORE_KINDS; kind++)
        compare_kind(&c, kind, from, to);
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        map_clear(&c.kept[kind]);
        map_clear(&c.was[kind]);
        map_clear(&c.shall_be[kind]);
    }
    arena_clear(&c.scratch);
    return c.no_memory ? fail(&fault_out_of_memory) : OK;
}
