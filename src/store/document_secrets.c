/* The secrets of a document: found by the schema, sealed for their rows. */
#include <stdio.h>

#include "base/log.h"
#include "base/secret.h"
#include "config/reference.h"
#include "config/schema.h"
#include "config/sealed.h"
#include "json/json.h"
#include "store/document.h"

enum { BLOCK_BYTES = 64 << 10, MAX_BYTES = 512 << 20, SCHEMA_DEPTH = 8 };

/* ---- Finding ---- */

struct walk {
    store_secret_visit *visit;
    void *arg;
    const struct store_entity *entity;
    struct secret_place place; /* but for the field */
    struct buf field;
    struct buf out; /* the definition as it shall be */
    bool changed;
    err failure;
};

static bool holds_secrets(const struct record *r, int depth)
{
    for (size_t i = 0; i < r->field_count && depth < SCHEMA_DEPTH; i++) {
        const struct field *f = &r->fields[i];
        if ((f->flags & FIELD_SECRET) ||
            (f->record != NULL && holds_secrets(f->record, depth + 1)))
            return true;
    }
    return false;
}

static void walk_secret(struct walk *w, const struct json_value *value)
{
    struct store_secret secret = {w->entity, w->place, value->text};
    struct buf instead;

    secret.place.field = buf_view(&w->field);
    buf_init(&instead, 2 * KEYRING_SECRET_MAX_BYTES);
    if (!failed(w->failure))
        w->failure = buf_failed(&w->field) ? fail(&fault_too_large)
                                           : w->visit(w->arg, &secret, &instead);
    if (!failed(w->failure) && buf_failed(&instead))
        w->failure = fail(&fault_too_large);
    if (instead.len > 0)
        json_add_string(&w->out, buf_view(&instead));
    else
        buf_add_view(&w->out, value->raw);
    w->changed |= instead.len > 0;
    buf_clear(&instead);
}

static void walk_record(struct walk *w, const struct record *r, const struct json_value *object);

/* As config/sealed.c: an item that has an id is an entity of its own. */
static void walk_item(struct walk *w, const struct record *r, const struct json_value *item,
                      size_t index)
{
    const struct secret_place outer = w->place;
    const struct buf field = w->field;
    struct view id;

    if (schema_field(r, VIEW("id")) != NULL && json_get_string(item, "id", &id)) {
        w->place = (struct secret_place){.kind = view_str(r->kind), .id = id};
        buf_init(&w->field, SEALED_FIELD_MAX_BYTES);
        walk_record(w, r, item);
        buf_clear(&w->field);
        w->place = outer;
        w->field = field;
        return;
    }
    sealed_field_add_index(&w->field, index);
    walk_record(w, r, item);
    buf_truncate(&w->field, field.len);
}

static void walk_items(struct walk *w, const struct field *f, const struct json_value *value)
{
    bool list = value->type == JSON_ARRAY;
    size_t index = 0;

    buf_add_char(&w->out, list ? '[' : '{');
    JSON_EACH(item, value)
    {
        size_t len = w->field.len;
        if (item != value->first)
            buf_add_char(&w->out, ',');
        if (list) {
            walk_item(w, f->record, item, index++);
            continue;
        }
        json_add_string(&w->out, item->name);
        buf_add_char(&w->out, ':');
        sealed_field_add(&w->field, item->name);
        walk_record(w, f->record, item);
        buf_truncate(&w->field, len);
    }
    buf_add_char(&w->out, list ? ']' : '}');
}

static void walk_value(struct walk *w, const struct field *f, const struct json_value *value)
{
    if (f != NULL && (f->flags & FIELD_SECRET) && value->type == JSON_STRING)
        walk_secret(w, value);
    else if (f != NULL && f->type == FIELD_RECORD)
        walk_record(w, f->record, value);
    else if (f != NULL && ((f->type == FIELD_LIST && value->type == JSON_ARRAY) ||
                           (f->type == FIELD_MAP && value->type == JSON_OBJECT)))
        walk_items(w, f, value);
    else
        buf_add_view(&w->out, value->raw);
}

/* The parser bounds the depth.  r: NULL as in config/sealed.c. */
static void walk_record(struct walk *w, const struct record *r, const struct json_value *object)
{
    if (object->type != JSON_OBJECT || r == NULL) {
        buf_add_view(&w->out, object->raw);
        return;
    }
    buf_add_char(&w->out, '{');
    JSON_EACH(m, object)
    {
        size_t len = w->field.len;
        if (m != object->first)
            buf_add_char(&w->out, ',');
        json_add_string(&w->out, m->name);
        buf_add_char(&w->out, ':');
        sealed_field_add(&w->field, m->name);
        walk_value(w, schema_field(r, m->name), m);
        buf_truncate(&w->field, len);
    }
    buf_add_char(&w->out, '}');
}

static err walk_entity(struct walk *w, struct arena *scratch, enum store_kind kind,
                       const struct store_entity *e)
{
    const struct json_limits limits = {JSON_DEFAULT_DEPTH, 1 << 22};
    const struct json_value *object;

    w->entity = e;
    w->place = (struct secret_place){.kind = view_str(store_kind_name(kind)), .id = e->id};
    w->changed = false;
    buf_reset(&w->out);
    buf_reset(&w->field);
    TRY(json_parse(scratch, e->definition, &limits, &object, NULL));
    walk_record(w, store_kind_record(kind), object);
    if (!failed(w->failure) && buf_failed(&w->out))
        return fail(&fault_too_large);
    return w->failure;
}

err document_each_secret(struct arena *arena, struct store_document *document,
                         enum store_kind kind, store_secret_visit *visit, void *arg,
                         bool *changed)
{
    struct walk w = {.visit = visit, .arg = arg};
    struct arena scratch;
    err e = OK;

    if (!holds_secrets(store_kind_record(kind), 0))
        return OK;
    arena_init(&scratch, BLOCK_BYTES, MAX_BYTES);
    buf_init(&w.out, DOCUMENT_MAX_BYTES);
    buf_init(&w.field, SEALED_FIELD_MAX_BYTES);
    for (size_t i = 0; i < document->counts[kind] && !failed(e); i++) {
        struct store_entity *entity = &document->entities[kind][i];
        e = walk_entity(&w, &scratch, kind, entity);
        if (!failed(e) && w.changed) {
            entity->definition = arena_copy(arena, buf_view(&w.out));
            e = entity->definition.data != NULL ? OK : fail(&fault_out_of_memory);
        }
        if (changed != NULL)
            changed[i] = w.changed;
        arena_clear_secure(&scratch); /* an unescaped secret may stand there */
    }
    buf_clear(&w.field);
    buf_clear_secure(&w.out);
    arena_clear(&scratch);
    return e;
}

/* ---- Sealing ---- */

struct sealer {
    struct arena *arena;
    const struct keyring *ring;
    enum store_kind kind;
    struct store_rows_index rows; /* of the kind */
    struct store_why *why;
};

err document_explain_secret(struct store_why *why, err e, const struct store_secret *s)
{
    char id[KEYRING_ID_CHARS + 1] = "";
    bool sealed = !failed(keyring_sealed_by(s->text, id));

    snprintf(why->text, sizeof why->text, "'%.*s' of %.*s '%.*s'%s%s",
             VIEW_ARG(view_from(s->place.field, 1)), VIEW_ARG(s->place.kind),
             VIEW_ARG(view_upto(s->entity->label, 128)), sealed ? ", sealed by the key " : "",
             sealed ? id : "");
    return e;
}

struct finder {
    struct secret_place place;
    struct arena *arena;
    struct view found;
};

static err find(void *arg, const struct store_secret *secret, struct buf *instead)
{
    struct finder *f = arg;
    (void)instead;

    if (view_eq(secret->place.kind, f->place.kind) && view_eq(secret->place.id, f->place.id) &&
        view_eq(secret->place.field, f->place.field))
        f->found = arena_copy(f->arena, secret->text);
    return OK;
}

/* What the row has in the place; absent: nothing. */
static struct view stored_text(struct sealer *x, const struct store_secret *s)
{
    const struct store_entity *row = map_get(&x->rows.by_id, s->entity->id);
    struct store_document one = {{NULL}, {0}};
    struct finder f = {.place = s->place, .arena = x->arena};
    struct store_entity copy;

    if (row == NULL)
        return f.found;
    copy = *row;
    one.entities[x->kind] = &copy;
    one.counts[x->kind] = 1;
    if (failed(document_each_secret(x->arena, &one, x->kind, find, &f, NULL)))
        f.found = (struct view){NULL, 0};
    return f.found;
}

/* Whether the row's text is of the same secret. */
static bool is_same(const struct sealer *x, const struct secret_place *place, struct view row,
                    struct view plain)
{
    struct buf opened;

    buf_init(&opened, KEYRING_SECRET_MAX_BYTES);
    bool same = sealed_is(row) && !failed(keyring_open(x->ring, place, row, &opened)) &&
                secret_eq(buf_view(&opened), plain);
    buf_clear_secure(&opened);
    return same;
}

static err settle(struct sealer *x, const struct store_secret *s, struct view plain,
                  struct buf *instead)
{
    struct view row = stored_text(x, s);
    char id[KEYRING_ID_CHARS + 1];

    if (is_same(x, &s->place, row, plain)) {
        buf_add_view(instead, row);
        return OK;
    }
    if (!failed(keyring_sealed_by(s->text, id)) && x->ring->has_current &&
        strcmp(id, x->ring->keys[0].id) == 0)
        return OK;
    return keyring_seal(x->ring, &s->place, plain, instead);
}

static err seal(void *arg, const struct store_secret *s, struct buf *instead)
{
    struct sealer *x = arg;
    struct buf opened;
    err e = OK;

    if (reference_is(s->text))
        return OK;
    buf_init(&opened, KEYRING_SECRET_MAX_BYTES);
    if (sealed_is(s->text))
        e = keyring_open(x->ring, &s->place, s->text, &opened);
    if (!failed(e))
        e = settle(x, s, sealed_is(s->text) ? buf_view(&opened) : s->text, instead);
    buf_clear_secure(&opened);
    return failed(e) ? document_explain_secret(x->why, e, s) : OK;
}

/* The id that the entity will have: document_compare finds its row in the same way. */
static err settle_id(struct sealer *x, struct store_entity *e)
{
    const struct store_entity *row = store_rows_index_find(&x->rows, e);

    if (e->id.len > 0)
        return OK;
    e->id = row != NULL ? row->id : store_entity_derive_id(x->arena, x->kind, e);
    return e->id.data != NULL ? OK : fail(&fault_out_of_memory);
}

static err seal_kind(struct sealer *x, const struct store_document *stored,
                     struct store_document *to)
{
    struct view *written = ARENA_ARRAY(x->arena, to->counts[x->kind] + 1, struct view);
    bool indexed = store_rows_index_init(&x->rows, stored, to, x->kind);
    err e = written != NULL && indexed ? OK : fail(&fault_out_of_memory);

    for (size_t i = 0; !failed(e) && i < to->counts[x->kind]; i++) {
        written[i] = to->entities[x->kind][i].id;
        e = settle_id(x, &to->entities[x->kind][i]);
    }
    if (!failed(e))
        e = document_each_secret(x->arena, to, x->kind, seal, x, NULL);
    /* What the file gives no id is still found by its name. */
    for (size_t i = 0; !failed(e) && i < to->counts[x->kind]; i++)
        to->entities[x->kind][i].id = written[i];
    return e;
}

err document_seal(struct arena *arena, const struct keyring *ring,
                  const struct store_document *stored, struct store_document *to,
                  struct store_why *why)
{
    for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
        struct sealer x = {.arena = arena, .ring = ring, .kind = kind, .why = why};
        if (!holds_secrets(store_kind_record(kind), 0))
            continue;
        err e = seal_kind(&x, stored, to);
        store_rows_index_clear(&x.rows);
        TRY(e);
    }
    return OK;
}
