/* From a document to sallyport.yaml. */
#include "json/json.h"
#include "store/document.h"

enum { BLOCK_BYTES = 64 << 10, MAX_BYTES = 512 << 20 };

struct writer {
    const struct store_document *document;
    struct buf *out;
    struct arena arena; /* of one definition */
};

/* ---- Values ---- */

static void indent(struct writer *w, int depth)
{
    for (int i = 0; i < depth; i++)
        buf_add_str(w->out, "  ");
}

static bool is_word(struct view v)
{
    static const char *const taken[] = {"true", "false", "null", "yes", "no", "on", "off",
                                        "y",    "n",     NULL};

    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool inner = (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '/';
        if (!letter && !(i > 0 && inner))
            return false;
    }
    for (size_t i = 0; taken[i] != NULL; i++) {
        if (view_eq_nocase(v, view_str(taken[i])))
            return false;
    }
    return v.len > 0 && v.len < 128;
}

/* What libyaml takes for a line end, or does not take at all: U+007F to U+009F, U+2028, U+2029,
 * U+FEFF, U+FFFE, U+FFFF.  *len is the length of the character at the head of v, in UTF-8. */
static bool needs_escape(struct view v, size_t *len, unsigned *code)
{
    unsigned char c = (unsigned char)v.data[0];

    *len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    *code = c;
    if (*len > v.len)
        *len = v.len;
    if (*len == 2)
        *code = (c & 0x1fu) << 6 | ((unsigned char)v.data[1] & 0x3fu);
    else if (*len == 3)
        *code = (c & 0xfu) << 12 | ((unsigned char)v.data[1] & 0x3fu) << 6 |
                ((unsigned char)v.data[2] & 0x3fu);
    return *len < 4 && ((*code >= 0x7f && *code < 0xa0) || *code == 0x2028 || *code == 0x2029 ||
                        *code == 0xfeff || *code >= 0xfffe);
}

/* As a double-quoted scalar (YAML 1.2, chapter 7.3.1). */
static void add_quoted(struct buf *out, struct view v)
{
    buf_add_char(out, '"');
    while (v.len > 0) {
        size_t len;
        unsigned code;
        bool escape = needs_escape(v, &len, &code);
        if (v.data[0] == '"' || v.data[0] == '\\')
            buf_printf(out, "\\%c", v.data[0]);
        else if (v.data[0] == '\n')
            buf_add_str(out, "\\n");
        else if (escape || code < 0x20)
            buf_printf(out, "\\u%04x", code);
        else
            buf_add(out, v.data, len);
        v = view_from(v, len);
    }
    buf_add_char(out, '"');
}

static void add_text(struct writer *w, struct view v)
{
    if (is_word(v))
        buf_add_view(w->out, v);
    else
        add_quoted(w->out, v);
}

static void add_value(struct writer *w, const struct json_value *v, int depth);

static void add_plain(struct writer *w, const struct json_value *v)
{
    if (v->type == JSON_STRING)
        add_text(w, v->text);
    else if (v->type == JSON_ARRAY || v->type == JSON_OBJECT)
        buf_add_str(w->out, v->type == JSON_ARRAY ? "[]" : "{}");
    else
        buf_add_view(w->out, v->raw);
}

static void add_members(struct writer *w, const struct json_value *object, int depth)
{
    JSON_EACH(m, object)
    {
        if (m != object->first)
            indent(w, depth);
        add_text(w, m->name);
        buf_add_char(w->out, ':');
        add_value(w, m, depth + 1);
    }
}

/* Begins after "name:" or "-" and ends the line.  The parser bounds the depth. */
static void add_value(struct writer *w, const struct json_value *v, int depth)
{
    if (v->first == NULL) {
        buf_add_char(w->out, ' ');
        add_plain(w, v);
        buf_add_char(w->out, '\n');
        return;
    }
    buf_add_char(w->out, '\n');
    if (v->type == JSON_OBJECT) {
        indent(w, depth);
        add_members(w, v, depth);
        return;
    }
    JSON_EACH(item, v)
    {
        indent(w, depth);
        buf_add_char(w->out, '-');
        if (item->type == JSON_OBJECT && item->first != NULL) {
            buf_add_char(w->out, ' ');
            add_members(w, item, depth + 1);
        } else {
            add_value(w, item, depth + 1);
        }
    }
}

/* ---- Entities ---- */

static void add_tags(struct writer *w, const struct store_entity *e, int depth)
{
    if (!e->has_tags || e->tags.count == 0)
        return;
    indent(w, depth);
    buf_add_str(w->out, "tags: [");
    for (size_t i = 0; i < e->tags.count; i++) {
        if (i > 0)
            buf_add_str(w->out, ", ");
        add_quoted(w->out, e->tags.items[i]);
    }
    buf_add_str(w->out, "]\n");
}

static void add_time(struct writer *w, const char *name, int64_t seconds, int depth)
{
    if (seconds < 0)
        return;
    indent(w, depth);
    buf_printf(w->out, "%s: %lld\n", name, (long long)seconds);
}

/* After the name, which a plugin always has. */
static void add_reference(struct writer *w, const char *field, struct view name, int depth)
{
    if (name.data == NULL)
        return;
    indent(w, depth);
    buf_printf(w->out, "%s: ", field);
    add_text(w, name);
    buf_add_char(w->out, '\n');
}

/* The members after "- ". */
static bool add_entity(struct writer *w, enum store_kind kind, const struct store_entity *e,
                       int depth)
{
    static const struct view none = {NULL, 0};
    const struct json_limits limits = {JSON_DEFAULT_DEPTH, 1 << 22};
    const struct json_value *object;

    arena_reset(&w->arena);
    if (failed(json_parse(&w->arena, e->definition, &limits, &object, NULL)) ||
        object->type != JSON_OBJECT)
        return false;
    bool begun = false; /* what comes first stands beside the dash */
    if (e->name.data != NULL) {
        buf_printf(w->out, "%s: ", store_name_field(kind));
        add_text(w, e->name);
        buf_add_char(w->out, '\n');
        begun = true;
    }
    if (e->id.len > 0) {
        indent(w, begun ? depth : 0);
        buf_printf(w->out, "id: \"%.*s\"\n", VIEW_ARG(e->id));
        begun = true;
    }
    add_reference(w, "service", kind == STORE_PLUGIN ? e->service : none, depth);
    add_reference(w, "route", e->route, depth);
    add_reference(w, "consumer", e->consumer, depth);
    if (object->first != NULL) {
        indent(w, begun ? depth : 0);
        add_members(w, object, depth);
    }
    add_tags(w, e, depth);
    add_time(w, "created_at", e->created_at, depth);
    add_time(w, "updated_at", e->updated_at, depth);
    return true;
}

static bool add_routes(struct writer *w, const struct store_entity *service)
{
    const struct store_document *document = w->document;
    bool first = true;

    for (size_t i = 0; i < document->counts[STORE_ROUTE]; i++) {
        const struct store_entity *e = &document->entities[STORE_ROUTE][i];
        if (!view_eq(e->service, service->name))
            continue;
        buf_add_str(w->out, first ? "  routes:\n  - " : "  - ");
        first = false;
        if (!add_entity(w, STORE_ROUTE, e, 2))
            return false;
    }
    return true;
}

static bool add_kind(struct writer *w, enum store_kind kind)
{
    const struct store_document *document = w->document;

    if (document->counts[kind] > 0)
        buf_printf(w->out, "%ss:\n", store_kind_name(kind));
    for (size_t i = 0; i < document->counts[kind]; i++) {
        const struct store_entity *e = &document->entities[kind][i];
        buf_add_str(w->out, "- ");
        if (!add_entity(w, kind, e, 1) || (kind == STORE_SERVICE && !add_routes(w, e)))
            return false;
    }
    return true;
}

bool document_to_yaml(const struct store_document *document, struct buf *out)
{
    static const enum store_kind order[] = {STORE_VAULT, STORE_ISSUER, STORE_CONSUMER,
                                            STORE_SERVICE, STORE_ROLE, STORE_PLUGIN};
    struct writer w = {.document = document, .out = out};
    bool good = true;

    arena_init(&w.arena, BLOCK_BYTES, MAX_BYTES);
    buf_add_str(out, "_format_version: \"3.0\"\n");
    for (size_t i = 0; good && i < COUNT_OF(order); i++)
        good = add_kind(&w, order[i]);
    arena_clear(&w.arena);
    return good;
}
