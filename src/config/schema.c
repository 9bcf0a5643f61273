#include "config/schema.h"

#include <stdio.h>

const struct field *schema_field(const struct record *r, struct view name)
{
    for (size_t i = 0; i < r->field_count; i++) {
        if (view_is(name, r->fields[i].name))
            return &r->fields[i];
    }
    return NULL;
}

const char *schema_unit(enum field_unit unit)
{
    switch (unit) {
    case UNIT_MS:
        return "milliseconds";
    case UNIT_S:
        return "seconds";
    case UNIT_DURATION:
        return "seconds, or with s, m, h, d";
    case UNIT_BYTES:
        return "bytes";
    case UNIT_ROWS:
        return "rows";
    case UNIT_PER_SECOND:
        return "per second";
    case UNIT_EPOCH:
        return "seconds since 1970";
    case UNIT_NONE:
        break;
    }
    return "";
}

/* --- the manual's field tables, in roff (man(7)) --- */

static const char *type_name(enum field_type type)
{
    switch (type) {
    case FIELD_STRING:
    case FIELD_ENUM:
        return "string";
    case FIELD_PATH:
        return "file";
    case FIELD_BOOLEAN:
        return "boolean";
    case FIELD_INTEGER:
    case FIELD_PORT:
        return "integer";
    case FIELD_STRINGS:
        return "list of strings";
    case FIELD_RECORD:
        return "mapping";
    case FIELD_LIST:
        return "list of mappings";
    case FIELD_MAP:
        return "mapping by name";
    case FIELD_LISTENS:
        return "list of addresses";
    case FIELD_REFERENCE:
        return "reference";
    }
    return "";
}

/* Text with roff's own characters escaped: a backslash, a dot or quote that begins a line, and a
 * minus sign, which roff would print as a hyphen. */
static void add_roff(struct buf *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        buf_add_str(out, "\\&");
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            buf_add_str(out, "\\e");
        else if (*text == '-')
            buf_add_str(out, "\\-");
        else if (strncmp(text, "…", sizeof "…" - 1) == 0) { /* roff reads no UTF-8 */
            buf_add_str(out, "\\[u2026]");
            text += sizeof "…" - 2;
        } else
            buf_add_char(out, *text);
    }
}

static void add_facts(struct buf *out, const struct field *f)
{
    if (f->flags & FIELD_REQUIRED)
        buf_add_str(out, ", required");
    if (f->flags & FIELD_SECRET)
        buf_add_str(out, ", secret");
    if (f->unit != UNIT_NONE)
        buf_printf(out, ", %s", schema_unit(f->unit));
    if (f->type == FIELD_INTEGER && f->max != 0)
        buf_printf(out, ", %lld to %lld", (long long)f->min, (long long)f->max);
    for (size_t i = 0; f->words != NULL && f->words[i] != NULL; i++) {
        buf_add_str(out, i == 0 ? ": " : ", ");
        add_roff(out, f->words[i]);
    }
    if (f->fallback != NULL) {
        buf_add_str(out, "; default ");
        add_roff(out, f->fallback);
    }
}

/* A mapping whose entries are lists alone, and so have no fields to tell of. */
static bool maps_to_lists(const struct field *f)
{
    const char *value = f->type == FIELD_MAP ? f->record->value_field : NULL;
    return value != NULL && schema_field(f->record, view_str(value))->type == FIELD_STRINGS;
}

static void add_field(struct buf *out, const struct field *f)
{
    buf_add_str(out, ".TP\n.B ");
    add_roff(out, f->name);
    buf_printf(out, "\n(%s", maps_to_lists(f) ? "mapping of lists by name" : type_name(f->type));
    add_facts(out, f);
    buf_add_str(out, ")\n.br\n");
    add_roff(out, f->doc);
    buf_add_char(out, '\n');
}

static bool has_section(const struct field *f)
{
    return f->record != NULL && !maps_to_lists(f);
}

static void add_section(struct buf *out, const char *path, const struct record *r)
{
    buf_add_str(out, ".SS ");
    add_roff(out, path);
    buf_add_char(out, '\n');
    if (r->doc != NULL) {
        add_roff(out, r->doc);
        buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < r->field_count; i++) {
        if (!(r->fields[i].flags & FIELD_KEY))
            add_field(out, &r->fields[i]);
    }
}

/* What `config` holds depends on the plugin. */
static void add_plugin_configs(struct buf *out, const char *path)
{
    char name[128];

    for (size_t i = 0; i < PLUGIN_KINDS; i++) {
        snprintf(name, sizeof name, "%s.config of %s", path,
                 plugin_kind_name((enum plugin_kind)i));
        add_section(out, name, schema_plugin_configs[i]);
    }
}

enum { SECTION_DEPTH = 6, SECTION_PATH_BYTES = 128 };

/* The record's section and, after it, one for each record inside; the schema nests 5 deep. */
static void add_sections(struct buf *out, const char *path, const struct record *r, int depth)
{
    char inner[SECTION_PATH_BYTES];
    struct buf name;

    add_section(out, path, r);
    if (r == &schema_plugin)
        add_plugin_configs(out, path);
    if (depth == SECTION_DEPTH)
        return;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        /* The top level's routes are those of the services, its plugins everybody's; read's
         * sections are the service's. */
        if (!has_section(f) || (depth == 0 && f->record == &schema_route) ||
            (depth > 0 && f->record == &schema_plugin) ||
            (depth > 1 && (strcmp(f->name, "iam_auth") == 0 || strcmp(f->name, "rotation") == 0)))
            continue;
        buf_init(&name, sizeof inner - 1);
        buf_printf(&name, "%s%s%s%s", depth == 0 ? "" : path, depth == 0 ? "" : ".", f->name,
                   f->type == FIELD_LIST ? "[]" : f->type == FIELD_MAP ? ".NAME" : "");
        size_t len = name.len < sizeof inner ? name.len : 0;
        memcpy(inner, name.data, len);
        inner[len] = '\0';
        buf_clear(&name);
        add_sections(out, inner, f->record, depth + 1);
    }
}

void schema_man_yaml(struct buf *out)
{
    add_sections(out, "The file", &schema_file, 0);
}

void schema_man_conf(struct buf *out)
{
    for (size_t i = 0; i < schema_node.field_count; i++)
        add_field(out, &schema_node.fields[i]);
}
