#include "config/node_text.h"

#include <string.h>

#include "config/schema.h"

enum { LINE_MAX_BYTES = 64 * 1024 };

/* A '#' after a blank would begin a comment. */
static void add_escaped(struct buf *b, struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] == '#')
            buf_add_char(b, '\\');
        buf_add_char(b, v.data[i]);
    }
}

static void add_listens(struct buf *b, const struct listens *l)
{
    if (l->count == 0)
        buf_add_str(b, "off");
    for (size_t i = 0; i < l->count; i++) {
        const struct listen *at = &l->items[i];
        bool v6 = view_find(at->host, ':') < at->host.len;
        buf_printf(b, "%s%s%.*s%s:%u%s", i > 0 ? ", " : "", v6 ? "[" : "", VIEW_ARG(at->host),
                   v6 ? "]" : "", at->port, at->tls ? " ssl" : "");
    }
}

static void add_strings(struct buf *b, const struct strings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_add_str(b, i > 0 ? ", " : "");
        add_escaped(b, list->items[i]);
    }
}

/* A switch or number that nobody gave and that has no default is shown as nothing. */
static bool is_unset(const struct field *f, const struct property_origin *o)
{
    return o->kind == ORIGIN_DEFAULT && f->fallback == NULL &&
           (f->type == FIELD_BOOLEAN || f->type == FIELD_INTEGER || f->type == FIELD_PORT);
}

static void add_value(struct buf *b, const struct field *f, const void *value)
{
    if (f->flags & FIELD_SECRET)
        buf_add_str(b, ((const struct view *)value)->len > 0 ? "******" : "");
    else if (f->type == FIELD_STRING || f->type == FIELD_PATH)
        add_escaped(b, *(const struct view *)value);
    else if (f->type == FIELD_BOOLEAN)
        buf_add_str(b, *(const bool *)value ? "on" : "off");
    else if (f->type == FIELD_INTEGER)
        buf_add_i64(b, *(const int64_t *)value);
    else if (f->type == FIELD_PORT)
        buf_add_u64(b, *(const uint16_t *)value);
    else if (f->type == FIELD_STRINGS)
        add_strings(b, value);
    else
        add_listens(b, value);
}

void node_value_write(struct buf *out, const struct node_config *node, size_t property)
{
    const struct field *f = &schema_node.fields[property];
    const struct property_origin *origin = &node->origins[property];

    /* What a reference stands for may be a secret, and the reference says the same. */
    if (origin->reference.len > 0)
        add_escaped(out, origin->reference);
    else if (!is_unset(f, origin))
        add_value(out, f, (const char *)node + f->offset);
}

/* "name = value" without the line's end; "name env" when the environment says it. */
static void write_line(struct buf *out, const struct node_config *node, size_t property)
{
    buf_add_str(out, schema_node.fields[property].name);
    if (node->origins[property].kind == ORIGIN_ENVIRONMENT) {
        buf_add_str(out, " env");
        return;
    }
    buf_add_str(out, " = ");
    node_value_write(out, node, property);
}

void node_text_write(struct buf *out, const struct node_config *node)
{
    for (size_t i = 0; i < schema_node.field_count; i++) {
        write_line(out, node, i);
        buf_add_char(out, '\n');
    }
}

/* The line of that property; absent when the text has none (a program of another version wrote
 * it). */
static struct view line_of(struct view text, const char *name)
{
    struct view line, word;

    while (text.len > 0) {
        text = view_cut(text, '\n', &line);
        view_cut(line, ' ', &word);
        if (view_is(word, name))
            return line;
    }
    return (struct view){NULL, 0};
}

static bool says_env(struct view line)
{
    struct view word;
    return view_is(view_cut(line, ' ', &word), "env");
}

/* 'sallyport reload' logs in to the configuration's database with what the file says then, and
 * opens what it read there with the keys that the file names then. */
static bool counts_at_reload(const char *name, const struct node_config *now)
{
    if (view_starts_with(view_str(name), VIEW("keyring_")))
        return view_is(now->database, "postgres");
    if (strcmp(name, "pg_iam_auth_max_rate") == 0)
        return false;
    return view_starts_with(view_str(name), VIEW("pg_")) ||
           view_starts_with(view_str(name), VIEW("lua_ssl_"));
}

size_t node_text_changed(struct view before, const struct node_config *now, struct buf *names)
{
    struct buf line;
    size_t count = 0;

    buf_init(&line, LINE_MAX_BYTES);
    for (size_t i = 0; i < schema_node.field_count; i++) {
        const char *name = schema_node.fields[i].name;
        struct view old = line_of(before, name);
        buf_reset(&line);
        write_line(&line, now, i);
        if (counts_at_reload(name, now) || old.data == NULL ||
            buf_failed(&line) || view_eq(old, buf_view(&line)) ||
            says_env(old) || says_env(buf_view(&line)))
            continue;
        buf_add_str(names, count++ > 0 ? ", " : "");
        buf_add_str(names, name);
    }
    buf_clear(&line);
    return count;
}
