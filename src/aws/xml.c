#include "aws/xml.h"

const struct fault xml_syntax = {"xml_syntax", "the answer is not the XML that AWS sends", NULL,
                                 502};

struct xml_reader {
    struct arena *arena;
    struct view rest;
    struct xml_element *open; /* the element we are in */
    struct xml_element *root;
    size_t depth;
    size_t count;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_spaces(struct view *v)
{
    while (v->len > 0 && is_space(v->data[0]))
        *v = view_from(*v, 1);
}

static bool take(struct view *v, struct view literal)
{
    if (!view_starts_with(*v, literal))
        return false;
    *v = view_from(*v, literal.len);
    return true;
}

static bool name_start(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c >= 0x80;
}

static bool name_char(unsigned char c)
{
    return name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':';
}

static bool take_name(struct view *v, struct view *name)
{
    size_t n = 0;

    if (v->len == 0 || !name_start((unsigned char)v->data[0]))
        return false;
    while (n < v->len && name_char((unsigned char)v->data[n]))
        n++;
    *name = view_upto(*v, n);
    *v = view_from(*v, n);
    return true;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Extensible Markup Language 1.0 section 2.2. */
static bool is_xml_char(uint32_t c)
{
    return c == 9 || c == 10 || c == 13 || (c >= 0x20 && c < 0xd800) ||
           (c >= 0xe000 && c < 0xfffe) || (c >= 0x10000 && c < 0x110000);
}

static bool read_number(struct view digits, unsigned base, uint32_t *out)
{
    uint32_t n = 0;

    if (digits.len == 0 || digits.len > 7)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.data[i];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 99;
        if (d >= base)
            return false;
        n = n * base + d;
    }
    *out = n;
    return is_xml_char(n);
}

static bool read_entity(struct view name, uint32_t *out)
{
    static const struct {
        const char *name;
        uint32_t c;
    } known[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (view_is(name, known[i].name)) {
            *out = known[i].c;
            return true;
        }
    }
    if (view_starts_with(name, VIEW("#x")))
        return read_number(view_from(name, 2), 16, out);
    return view_starts_with(name, VIEW("#")) && read_number(view_from(name, 1), 10, out);
}

/* The text with its entities replaced: never longer than it was. */
static err unescape(struct arena *arena, struct view raw, struct view *out)
{
    if (view_find(raw, '&') == raw.len) {
        *out = raw;
        return OK;
    }
    char *to = arena_alloc(arena, raw.len);
    if (to == NULL)
        return fail(&fault_out_of_memory);
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        struct view name;
        uint32_t c;
        if (raw.data[i] != '&') {
            to[n++] = raw.data[i];
            continue;
        }
        struct view after = view_cut(view_from(raw, i + 1), ';', &name);
        if (after.data == NULL || !read_entity(name, &c))
            return fail(&xml_syntax);
        n += put_utf8(to + n, c);
        i += name.len + 1;
    }
    *out = view_of(to, n);
    return OK;
}

static err take_attributes(struct xml_reader *r)
{
    for (;;) {
        struct view before = r->rest, name;
        skip_spaces(&r->rest);
        if (r->rest.len == 0 || !name_start((unsigned char)r->rest.data[0]))
            return OK;
        if (before.len == r->rest.len || !take_name(&r->rest, &name))
            return fail(&xml_syntax);
        skip_spaces(&r->rest);
        if (!take(&r->rest, VIEW("=")))
            return fail(&xml_syntax);
        skip_spaces(&r->rest);
        char quote = r->rest.len > 0 ? r->rest.data[0] : '\0';
        if (quote != '"' && quote != '\'')
            return fail(&xml_syntax);
        struct view value, rest = view_cut(view_from(r->rest, 1), quote, &value);
        if (rest.data == NULL || view_find(value, '<') < value.len)
            return fail(&xml_syntax);
        r->rest = rest;
    }
}

static void leave(struct xml_reader *r)
{
    r->open = r->open->parent;
    r->depth--;
}

static err take_start(struct xml_reader *r)
{
    struct view name;

    if (!take_name(&r->rest, &name) || (r->open == NULL && r->root != NULL))
        return fail(&xml_syntax);
    if (r->depth == XML_MAX_DEPTH || r->count == XML_MAX_ELEMENTS)
        return fail(&fault_too_large);
    struct xml_element *e = ARENA_NEW(r->arena, struct xml_element);
    if (e == NULL)
        return fail(&fault_out_of_memory);
    e->name = name;
    e->text = (struct view){"", 0};
    e->parent = r->open;
    if (r->open == NULL)
        r->root = e;
    else if (r->open->last == NULL)
        r->open->first = e;
    else
        r->open->last->next = e;
    if (r->open != NULL) {
        r->open->last = e;
        r->open->text = (struct view){NULL, 0};
    }
    r->open = e;
    r->depth++;
    r->count++;
    TRY(take_attributes(r));
    if (take(&r->rest, VIEW("/>"))) {
        leave(r);
        return OK;
    }
    return take(&r->rest, VIEW(">")) ? OK : fail(&xml_syntax);
}

static err take_end(struct xml_reader *r)
{
    struct view name;

    if (r->open == NULL || !take_name(&r->rest, &name) || !view_eq(name, r->open->name))
        return fail(&xml_syntax);
    skip_spaces(&r->rest);
    if (!take(&r->rest, VIEW(">")))
        return fail(&xml_syntax);
    leave(r);
    return OK;
}

/* Text up to the next '<': blanks between elements, or the whole of a leaf. */
static err take_text(struct xml_reader *r)
{
    size_t n = view_find(r->rest, '<');
    struct view raw = view_upto(r->rest, n), blanks = raw;
    bool leaf = r->open != NULL && r->open->first == NULL &&
                view_starts_with(view_from(r->rest, n), VIEW("</"));

    r->rest = view_from(r->rest, n);
    skip_spaces(&blanks);
    if (!leaf)
        return blanks.len == 0 ? OK : fail(&xml_syntax);
    for (size_t i = 0; i < raw.len; i++) {
        if (!is_xml_char((unsigned char)raw.data[i]))
            return fail(&xml_syntax);
    }
    return unescape(r->arena, raw, &r->open->text);
}

static err take_declaration(struct xml_reader *r)
{
    if (!view_starts_with(r->rest, VIEW("<?xml ")))
        return OK;
    r->rest = view_from(r->rest, 5);
    TRY(take_attributes(r));
    return take(&r->rest, VIEW("?>")) ? OK : fail(&xml_syntax);
}

static err read_all(struct xml_reader *r)
{
    TRY(take_declaration(r));
    while (r->rest.len > 0) {
        if (take(&r->rest, VIEW("</")))
            TRY(take_end(r));
        else if (take(&r->rest, VIEW("<")))
            TRY(take_start(r));
        else
            TRY(take_text(r));
    }
    return r->open == NULL && r->root != NULL ? OK : fail(&xml_syntax);
}

err xml_parse(struct arena *arena, struct view text, const struct xml_element **out)
{
    struct xml_reader r = {.arena = arena, .rest = text};

    *out = NULL;
    if (text.len > XML_MAX_BYTES)
        return fail(&fault_too_large);
    if (!view_is_utf8(text))
        return fail(&xml_syntax);
    TRY(read_all(&r));
    *out = r.root;
    return OK;
}

const struct xml_element *xml_child(const struct xml_element *element, const char *name)
{
    const struct xml_element *found = NULL;

    for (const struct xml_element *e = element != NULL ? element->first : NULL; e != NULL;
         e = e->next) {
        if (!view_is(e->name, name))
            continue;
        if (found != NULL)
            return NULL;
        found = e;
    }
    return found;
}

struct view xml_child_text(const struct xml_element *element, const char *name)
{
    const struct xml_element *child = xml_child(element, name);
    struct view text = child != NULL ? child->text : (struct view){NULL, 0};

    skip_spaces(&text);
    while (text.len > 0 && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}
