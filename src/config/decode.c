#include "config/decode.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "config/reference.h"

/* More would not be read, and an absurd file must not fill the memory with messages. */
enum { MISTAKES_MAX = 100, NAMES_MAX = 64 };

static void report(struct decoder *d, enum severity severity, unsigned line, unsigned column,
                   const char *text)
{
    d->mistakes++;
    if (d->mistakes < MISTAKES_MAX)
        diag_add(d->d, severity, d->file, line, column, "%s", text);
    else if (d->mistakes == MISTAKES_MAX)
        diag_add(d->d, SEVERITY_ERROR, d->file, 0, 0, "there are more mistakes than are shown");
    else if (severity == SEVERITY_ERROR)
        d->d->errors++;
}

void decode_error(struct decoder *d, const struct yaml_node *at, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report(d, SEVERITY_ERROR, at != NULL ? at->line : 0, at != NULL ? at->column : 0, text);
}

void decode_warning(struct decoder *d, const struct yaml_node *at, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report(d, SEVERITY_WARNING, at != NULL ? at->line : 0, at != NULL ? at->column : 0, text);
}

void decode_error_line(struct decoder *d, unsigned line, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report(d, SEVERITY_ERROR, line, 0, text);
}

static void no_memory(struct decoder *d)
{
    d->out_of_memory = true;
}

static void *slot_of(void *record, size_t offset)
{
    return (char *)record + offset;
}

static const void *const_slot(const void *record, size_t offset)
{
    return (const char *)record + offset;
}

struct view decode_join(struct arena *arena, const struct view *parts, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    char *text = arena_alloc(arena, len + 1);
    if (text == NULL)
        return (struct view){NULL, 0};
    char *at = text;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    *at = '\0';
    return view_of(text, len);
}

/* --- defaults --- */

static void set_defaults(struct decoder *d, const struct record *r, void *out)
{
    char why[WHY_BYTES];
    struct value_style plain = {.arena = d->arena};

    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        if (f->fallback != NULL &&
            !value_parse(&plain, f, view_str(f->fallback), slot_of(out, f->offset), why))
            no_memory(d);
        if (f->record != NULL && f->type == FIELD_RECORD && f->present_offset == NO_OFFSET)
            set_defaults(d, f->record, slot_of(out, f->offset));
    }
}

/* --- names --- */

/* "route name orders" */
static struct view unique_key(struct decoder *d, const char *kind, const char *field,
                              struct view value)
{
    const struct view parts[] = {view_str(kind), VIEW(" "), view_str(field), VIEW(" "), value};

    return decode_join(d->scratch, parts, COUNT_OF(parts));
}

static void bear_name(struct decoder *d, const struct record *r, const struct field *f,
                      struct view value, const struct yaml_node *node)
{
    struct view key = unique_key(d, r->kind, f->name, value);
    const struct yaml_node *first = key.data == NULL ? NULL : map_get(&d->unique, key);
    union {
        const struct yaml_node *read;
        void *any;
    } kept = {node};

    if (first != NULL) {
        decode_error(d, node, "the %s '%.*s' stands here a second time; the first is on line %u",
                     strcmp(f->name, "name") == 0 ? r->kind : f->name, VIEW_ARG(value),
                     first->line);
        return;
    }
    if (key.data == NULL || !map_put(&d->unique, key, kept.any)) {
        no_memory(d);
        return;
    }
    if (strcmp(f->name, r->name_field != NULL ? r->name_field : "name") != 0)
        return;
    struct borne_name *name = ARENA_NEW(d->scratch, struct borne_name);
    if (name == NULL) {
        no_memory(d);
        return;
    }
    *name = (struct borne_name){r->kind, value, d->names};
    d->names = name;
}

void decode_refer(struct decoder *d, const char *kind, bool or_id, struct view name, void *owner,
                  const struct yaml_node *node)
{
    struct reference *ref = ARENA_NEW(d->scratch, struct reference);
    if (ref == NULL) {
        no_memory(d);
        return;
    }
    *ref = (struct reference){kind, or_id, name, owner, node, d->references};
    d->references = ref;
}

static void refer(struct decoder *d, const char *kind, struct view name, void *owner,
                  const struct yaml_node *node)
{
    decode_refer(d, kind, strcmp(kind, "consumer") == 0, name, owner, node);
}

static bool is_taken(const struct decoder *d, const char *kind, const char *field,
                     struct view value)
{
    struct view key = arena_printf(d->scratch, "%s %s %.*s", kind, field, VIEW_ARG(value));

    return key.data != NULL && map_get(&d->unique, key) != NULL;
}

static bool name_is_borne(const struct decoder *d, const struct reference *ref)
{
    const char *field = strcmp(ref->kind, "consumer") == 0 ? "username" : "name";

    return is_taken(d, ref->kind, field, ref->name) ||
           (ref->or_id && is_taken(d, ref->kind, "id", ref->name));
}

static struct view nearest_name(const struct decoder *d, const char *kind, struct view name)
{
    struct view known[NAMES_MAX];
    size_t count = 0;

    for (const struct borne_name *n = d->names; n != NULL && count < NAMES_MAX; n = n->next) {
        if (strcmp(n->kind, kind) == 0)
            known[count++] = n->name;
    }
    return diag_nearest(name, known, count);
}

/* References are kept newest first; messages come in the file's order. */
static void reverse_references(struct decoder *d)
{
    struct reference *reversed = NULL;

    while (d->references != NULL) {
        struct reference *ref = d->references;
        d->references = ref->next;
        ref->next = reversed;
        reversed = ref;
    }
    d->references = reversed;
}

void decode_check_references(struct decoder *d)
{
    reverse_references(d);
    for (const struct reference *ref = d->references; ref != NULL; ref = ref->next) {
        if (name_is_borne(d, ref))
            continue;
        struct view near = nearest_name(d, ref->kind, ref->name);
        if (near.data != NULL)
            decode_error(d, ref->node, "there is no %s '%.*s'; did you mean '%.*s'?", ref->kind,
                         VIEW_ARG(ref->name), VIEW_ARG(near));
        else
            decode_error(d, ref->node, "there is no %s '%.*s'", ref->kind, VIEW_ARG(ref->name));
    }
}

/* --- values --- */

/* {subject} without quotes: a mapping to YAML, but a text to its writer. */
static bool means_text(const struct yaml_node *value)
{
    return value->kind == NODE_MAPPING && value->count == 1 && yaml_is_null(value->first);
}

bool decode_scalar(struct decoder *d, const struct field *f, const struct yaml_node *value,
                   struct view *text)
{
    static const char mark[] = "{vault://";

    if (value->kind != NODE_SCALAR) {
        decode_error(d, value, "'%s' must be a single value%s", f->name,
                     means_text(value) ? "; a text that begins with '{' needs quotes" : "");
        return false;
    }
    if (value->broken)
        return false;
    if (value->sealed && !(f->flags & FIELD_SECRET)) {
        decode_error(d, value, "'%s' is no field of a secret, and so none that the keyring sealed "
                               "may stand there", f->name);
        return false;
    }
    *text = value->text;
    if (value->sealed)
        return true;
    if (value->referenced || (f->flags & FIELD_HOLDS_REFERENCES) ||
        memmem(text->data, text->len, mark, sizeof mark - 1) == NULL)
        return true;
    if (!reference_is(*text))
        decode_error(d, value, "'%s': a {vault://…} reference must be the whole value", f->name);
    return false;
}

static void secret_value(struct decoder *d, const struct field *f, void *record,
                         const struct yaml_node *value)
{
    struct view *slot = slot_of(record, f->offset);
    struct view text;

    if (!decode_scalar(d, f, value, &text))
        return;
    if (!value->referenced && !value->sealed && !d->host->literal_secrets) {
        decode_error(d, value,
                     "'%s' must be a reference like \"{vault://env/NAME}\": no secret stands in "
                     "this file%s",
                     f->name,
                     d->host->imported ? "; with keyring_enabled = on in sallyport.conf an import "
                                         "seals one"
                                       : "");
        return;
    }
    if (text.len == 0) {
        decode_error(d, value, "'%s' must not be empty", f->name);
        return;
    }
    *slot = reference_copy_secret(d->arena, text);
    if (slot->data == NULL)
        no_memory(d);
}

/* What a reference stands for may be secret, and some messages quote the value. */
static const char bad_reference[] = "what the reference stands for is not a valid value";

static bool wants_plain(enum field_type type)
{
    return type == FIELD_INTEGER || type == FIELD_BOOLEAN || type == FIELD_PORT;
}

static void single_value(struct decoder *d, const struct record *r, const struct field *f,
                         void *record, const struct yaml_node *value)
{
    char why[WHY_BYTES];
    struct view text;

    if (!decode_scalar(d, f, value, &text))
        return;
    if (wants_plain(f->type) && !value->plain) {
        decode_error(d, value, "'%s' must be %s, without quotes", f->name,
                     f->type == FIELD_BOOLEAN ? "true or false" : "a number");
        return;
    }
    if (!value_parse(&d->style, f, text, slot_of(record, f->offset), why)) {
        decode_error(d, value, "'%s': %s", f->name,
                     value->referenced ? bad_reference : why);
        return;
    }
    if (f->flags & FIELD_UNIQUE)
        bear_name(d, r, f, *(const struct view *)const_slot(record, f->offset), value);
    if (f->refers_to != NULL)
        refer(d, f->refers_to, *(const struct view *)const_slot(record, f->offset), record, value);
}

static void one_string(struct decoder *d, const struct field *f, void *record,
                       const struct yaml_node *value, struct view *slot)
{
    char why[WHY_BYTES];
    struct view text;

    if (!decode_scalar(d, f, value, &text))
        return;
    if (yaml_is_null(value)) {
        decode_error(d, value, "'%s' holds an empty item", f->name);
        return;
    }
    if (!value_check_text(f, text, why)) {
        decode_error(d, value, "'%s': %s", f->name,
                     value->referenced ? bad_reference : why);
        return;
    }
    *slot = arena_copy(d->arena, text);
    if (slot->data == NULL)
        no_memory(d);
    else if (f->refers_to != NULL && !(strcmp(f->refers_to, "route") == 0 && view_is(text, "*")))
        refer(d, f->refers_to, *slot, record, value);
}

static void string_list(struct decoder *d, const struct field *f, void *record,
                        const struct yaml_node *value)
{
    struct strings *slot = slot_of(record, f->offset);
    size_t count = value->kind == NODE_SEQUENCE ? value->count : 1, n = 0;

    if (value->kind == NODE_MAPPING) {
        decode_error(d, value, "'%s' must be a list of values", f->name);
        return;
    }
    if (count == 0 && (f->flags & FIELD_REQUIRED))
        decode_error(d, value, "'%s' must not be empty", f->name);
    struct view *items = ARENA_ARRAY(d->arena, count > 0 ? count : 1, struct view);
    if (items == NULL) {
        no_memory(d);
        return;
    }
    *slot = (struct strings){items, count};
    if (value->kind == NODE_SCALAR) {
        one_string(d, f, record, value, &items[0]);
        return;
    }
    for (const struct yaml_node *item = value->first; item != NULL; item = item->next)
        one_string(d, f, record, item, &items[n++]);
}

/* --- records --- */

static void sub_record(struct decoder *d, const struct field *f, void *record,
                       const struct yaml_node *value, bool inherited)
{
    static const struct yaml_node empty = {.kind = NODE_MAPPING};
    void *slot = slot_of(record, f->offset);
    bool boolean = (f->flags & FIELD_BOOLEAN_TOO) && value->kind == NODE_SCALAR && value->plain;

    if (boolean && view_is(value->text, "false")) {
        memset(slot, 0, f->record->size);
        return;
    }
    if (boolean && view_is(value->text, "true")) {
        struct yaml_node as_mapping = empty;
        as_mapping.line = value->line;
        as_mapping.column = value->column;
        inherited = inherited && *(bool *)slot_of(record, f->present_offset);
        *(bool *)slot_of(record, f->present_offset) = true;
        decode_record(d, f->record, slot, &as_mapping, inherited);
        return;
    }
    if (value->kind != NODE_MAPPING) {
        decode_error(d, value, "'%s' must be a mapping of fields%s", f->name,
                     f->flags & FIELD_BOOLEAN_TOO ? ", or true or false" : "");
        return;
    }
    if (f->inherit_offset != NO_OFFSET) {
        memcpy(slot, const_slot(record, f->inherit_offset), f->record->size);
        inherited = true;
    } else if (f->present_offset != NO_OFFSET && !*(bool *)slot_of(record, f->present_offset)) {
        inherited = false; /* there was nothing to inherit */
    }
    if (f->present_offset != NO_OFFSET)
        *(bool *)slot_of(record, f->present_offset) = true;
    decode_record(d, f->record, slot, value, inherited);
}

/* NAME: VALUE instead of NAME: {value: VALUE}. */
static void plain_entry(struct decoder *d, const struct record *r, const struct field *f, void *out,
                        const struct yaml_node *entry)
{
    set_defaults(d, r, out);
    if (r->line_offset != NO_OFFSET)
        *(unsigned *)slot_of(out, r->line_offset) = entry->line;
    if (yaml_is_null(entry))
        decode_error(d, entry, "'%.*s' has no '%s'", VIEW_ARG(view_upto(entry->key, 64)), f->name);
    else
        single_value(d, r, f, out, entry);
}

/* The entry of a mapping whose keys are names: its key is the record's field "name". */
static void map_entry(struct decoder *d, const struct record *r, void *out,
                      const struct yaml_node *entry)
{
    const struct field *name = schema_field(r, VIEW("name"));
    char why[WHY_BYTES];

    if (!value_parse(&d->style, name, entry->key, slot_of(out, name->offset), why))
        decode_error(d, entry, "the name '%.*s': %s", VIEW_ARG(view_upto(entry->key, 64)), why);
    const struct field *plain =
        r->value_field == NULL ? NULL : schema_field(r, view_str(r->value_field));
    if (plain != NULL && plain->type == FIELD_STRINGS)
        string_list(d, plain, out, entry);
    else if (plain != NULL && (entry->kind == NODE_SCALAR || means_text(entry)))
        plain_entry(d, r, plain, out, entry);
    else
        decode_record(d, r, out, entry, false);
}

void decode_list(struct decoder *d, const struct field *f, void *record,
                 const struct yaml_node *value)
{
    const struct record *r = f->record;
    bool is_map = f->type == FIELD_MAP;
    void **slot = slot_of(record, f->offset);
    size_t n = 0;

    if (value->kind != (is_map ? NODE_MAPPING : NODE_SEQUENCE)) {
        decode_error(d, value, "'%s' must be a %s", f->name,
                     is_map ? "mapping from names" : "list, each item beginning with '- '");
        return;
    }
    if (value->count == 0 && (f->flags & FIELD_REQUIRED))
        decode_error(d, value, "'%s' must not be empty", f->name);
    char *items = arena_array(d->arena, value->count > 0 ? value->count : 1, r->size);
    if (items == NULL) {
        no_memory(d);
        return;
    }
    for (const struct yaml_node *item = value->first; item != NULL; item = item->next, n++) {
        if (is_map)
            map_entry(d, r, items + n * r->size, item);
        else
            decode_record(d, r, items + n * r->size, item, false);
    }
    *slot = items;
    *(size_t *)slot_of(record, f->count_offset) = value->count;
}

/* service: {name: shop}, as Kong writes foreign keys, or the name alone. */
static void foreign_key(struct decoder *d, const struct field *f, void *record,
                        const struct yaml_node *value)
{
    const struct yaml_node *name = value;

    if (value->kind == NODE_MAPPING) {
        name = yaml_member(value, "name");
        if (name == NULL || value->count != 1) {
            decode_error(d, value, "'%s' must read {name: NAME}", f->name);
            return;
        }
    }
    if (name->kind != NODE_SCALAR || name->text.len == 0) {
        decode_error(d, value, "'%s' must read {name: NAME}", f->name);
        return;
    }
    refer(d, f->refers_to, name->text, record, name);
}

void decode_value(struct decoder *d, const struct field *f, void *record,
                  const struct yaml_node *value)
{
    if (f->flags & FIELD_SECRET)
        secret_value(d, f, record, value);
    else
        single_value(d, NULL, f, record, value);
}

static void decode_field(struct decoder *d, const struct record *r, const struct field *f,
                         void *record, const struct yaml_node *value, bool inherited)
{
    if (f->take != NULL)
        f->take(d, f, record, value);
    else if (f->flags & FIELD_SECRET)
        secret_value(d, f, record, value);
    else if (f->type == FIELD_RECORD)
        sub_record(d, f, record, value, inherited);
    else if (f->type == FIELD_LIST || f->type == FIELD_MAP)
        decode_list(d, f, record, value);
    else if (f->type == FIELD_STRINGS)
        string_list(d, f, record, value);
    else if (f->type == FIELD_REFERENCE)
        foreign_key(d, f, record, value);
    else
        single_value(d, r, f, record, value);
    if (f->present_offset != NO_OFFSET && f->type != FIELD_RECORD)
        *(bool *)slot_of(record, f->present_offset) = true;
}

static bool kong_knows(const struct record *r, struct view name)
{
    for (size_t i = 0; r->kong != NULL && r->kong[i] != NULL; i++) {
        if (view_is(name, r->kong[i]))
            return true;
    }
    return false;
}

static void unknown_field(struct decoder *d, const struct record *r, const struct yaml_node *member)
{
    struct yaml_node at = {.line = member->key_line, .column = member->key_column};
    struct view known[NAMES_MAX], name = view_upto(member->key, 64);
    size_t count = 0;

    /* Kong lets these two stand anywhere. */
    if (view_is(name, "_comment") || view_is(name, "_ignore"))
        return;
    if (kong_knows(r, name)) {
        decode_error(d, &at, "'%.*s' is known from Kong, but not supported yet by this version",
                     VIEW_ARG(name));
        return;
    }
    for (size_t i = 0; i < r->field_count && count < NAMES_MAX; i++) {
        if (!(r->fields[i].flags & FIELD_KEY))
            known[count++] = view_str(r->fields[i].name);
    }
    struct view near = diag_nearest(name, known, count);
    if (near.data != NULL)
        decode_error(d, &at, "unknown field '%.*s' in %s; did you mean '%.*s'?", VIEW_ARG(name),
                     r->kind, VIEW_ARG(near));
    else
        decode_error(d, &at, "unknown field '%.*s' in %s", VIEW_ARG(name), r->kind);
}

void decode_record(struct decoder *d, const struct record *r, void *out,
                   const struct yaml_node *mapping, bool inherited)
{
    if (!inherited)
        set_defaults(d, r, out);
    if (mapping->kind != NODE_MAPPING) {
        decode_error(d, mapping, "%s must be a mapping of fields", r->kind);
        return;
    }
    if (r->line_offset != NO_OFFSET)
        *(unsigned *)slot_of(out, r->line_offset) = mapping->line;
    const struct yaml_node *values[NAMES_MAX] = {NULL}; /* by field */
    ENSURE(r->field_count <= NAMES_MAX);
    for (const struct yaml_node *m = mapping->first; m != NULL; m = m->next) {
        const struct field *f = schema_field(r, m->key);
        if (f == NULL || (f->flags & FIELD_KEY))
            unknown_field(d, r, m);
        else
            values[f - r->fields] = m;
    }
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        const struct yaml_node *value = values[i];
        if (f->flags & FIELD_KEY)
            continue;
        if (value != NULL && !yaml_is_null(value))
            decode_field(d, r, f, out, value, inherited);
        else if ((f->flags & FIELD_REQUIRED) && !inherited && mapping->key.data == NULL)
            decode_error(d, mapping, "%s has no '%s'", r->kind, f->name);
        else if ((f->flags & FIELD_REQUIRED) && !inherited)
            decode_error(d, mapping, "'%.*s' has no '%s'", VIEW_ARG(view_upto(mapping->key, 64)),
                         f->name);
    }
    if (r->finish != NULL)
        r->finish(d, out, mapping);
}
