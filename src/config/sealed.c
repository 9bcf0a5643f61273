#include "config/sealed.h"

#include <stdio.h>

#include "config/reference.h"

enum { SECRET_MAX_BYTES = 64 << 10 };

void sealed_field_add(struct buf *field, struct view name)
{
    buf_add_char(field, '/');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '~' || name.data[i] == '/')
            buf_add_str(field, name.data[i] == '~' ? "~0" : "~1");
        else
            buf_add_char(field, name.data[i]);
    }
}

void sealed_field_add_index(struct buf *field, size_t index)
{
    buf_add_char(field, '/');
    buf_add_u64(field, index);
}

/* The entity at hand, and where in it. */
struct opener {
    struct decoder *d;
    const char *kind;
    struct view id;   /* absent: the file gives none */
    struct view name;
    struct buf field;
};

/* "service 'shop'", or without a name the kind alone. */
static void describe(const struct opener *o, char *out, size_t size)
{
    struct view name = view_upto(o->name, 64);

    snprintf(out, size, "%s%s%.*s%s", o->kind, name.len > 0 ? " '" : "", VIEW_ARG(name),
             name.len > 0 ? "'" : "");
}

static void cannot_open(struct opener *o, struct yaml_node *node, const char *why)
{
    char entity[128];

    describe(o, entity, sizeof entity);
    node->broken = true;
    node->text = (struct view){"", 0};
    decode_error(o->d, node, "'%.*s' of %s: %s", VIEW_ARG(view_upto(node->key, 64)), entity, why);
}

static void leave_unread(struct opener *o, struct yaml_node *node)
{
    node->broken = true;
    node->text = (struct view){"", 0};
    decode_warning(o->d, node, "'%.*s': the sealed secret was not opened: its key was not read",
                   VIEW_ARG(view_upto(node->key, 64)));
}

static void open_node(struct opener *o, struct yaml_node *node)
{
    const struct config_host *host = o->d->host;
    const struct secret_place place = {view_str(o->kind), o->id, buf_view(&o->field)};
    char why[SECRET_WHY_BYTES] = "it is sealed, and there is no keyring here";
    bool unread = false;
    struct buf plain;

    if (o->id.len == 0 || buf_failed(&o->field)) {
        cannot_open(o, node, o->id.len == 0 ? "it is sealed for an entity by its 'id', and this "
                                              "one has none"
                                            : "it stands too deep");
        return;
    }
    buf_init(&plain, SECRET_MAX_BYTES);
    bool good = host->open_sealed != NULL &&
                host->open_sealed(host, &place, node->text, &plain, &unread, why) &&
                !buf_failed(&plain);
    if (good)
        node->text = reference_copy_secret(o->d->scratch, buf_view(&plain));
    o->d->out_of_memory = o->d->out_of_memory || node->text.data == NULL;
    buf_clear_secure(&plain);
    if (unread)
        leave_unread(o, node);
    else if (!good)
        cannot_open(o, node, why);
}

static void open_record(struct opener *o, const struct record *r, struct yaml_node *mapping);

static struct view scalar_text(const struct yaml_node *mapping, const char *name)
{
    const struct yaml_node *n = yaml_member(mapping, name);

    return n != NULL && n->kind == NODE_SCALAR && !yaml_is_null(n) ? n->text
                                                                   : (struct view){NULL, 0};
}

/* An item of a list: one with an id is an entity of its own. */
static void open_item(struct opener *o, const struct record *r, struct yaml_node *item,
                      size_t index)
{
    const struct opener outer = *o;
    size_t len = o->field.len;

    if (schema_field(r, VIEW("id")) != NULL && (o->kind == NULL || yaml_member(item, "id"))) {
        o->kind = r->kind;
        o->id = scalar_text(item, "id");
        o->name = scalar_text(item, "name");
        struct buf own;
        buf_init(&own, SEALED_FIELD_MAX_BYTES);
        o->field = own;
        open_record(o, r, item);
        buf_clear(&o->field);
        *o = outer;
        return;
    }
    sealed_field_add_index(&o->field, index);
    open_record(o, r, item);
    buf_truncate(&o->field, len);
}

static void open_member(struct opener *o, const struct field *f, struct yaml_node *node)
{
    size_t len = o->field.len, index = 0;

    if (o->kind != NULL)
        sealed_field_add(&o->field, node->key);
    if ((f->flags & FIELD_SECRET) && node->kind == NODE_SCALAR && node->sealed)
        open_node(o, node);
    else if (f->type == FIELD_RECORD)
        open_record(o, f->record, node);
    for (struct yaml_node *n = node->first; n != NULL; n = n->next, index++) {
        size_t inner = o->field.len;
        if (f->type == FIELD_LIST)
            open_item(o, f->record, n, index);
        if (f->type == FIELD_MAP) {
            sealed_field_add(&o->field, n->key);
            open_record(o, f->record, n);
            buf_truncate(&o->field, inner);
        }
    }
    if (o->kind != NULL)
        buf_truncate(&o->field, len);
}

/* The schema nests 5 deep.  r: NULL where it leaves the fields to the entity's kind (a plugin's
 * `config`), none of which is a secret. */
static void open_record(struct opener *o, const struct record *r, struct yaml_node *mapping)
{
    if (r == NULL)
        return;
    for (struct yaml_node *n = mapping->first; n != NULL && mapping->kind == NODE_MAPPING;
         n = n->next) {
        const struct field *f = schema_field(r, n->key);
        if (f != NULL)
            open_member(o, f, n);
    }
}

void sealed_open_all(struct decoder *d, struct yaml_node *root)
{
    struct opener o = {.d = d};

    if (!root->sealed)
        return;
    buf_init(&o.field, SEALED_FIELD_MAX_BYTES);
    open_record(&o, &schema_file, root);
    buf_clear(&o.field);
}
