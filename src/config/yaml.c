#include "config/yaml.h"

#include <limits.h>
#include <yaml.h>

#include "base/buf.h"
#include "config/reference.h"
#include "config/sealed.h"

/* One open sequence or mapping. */
struct level {
    struct yaml_node *node;
    bool have_key; /* mapping: the next event is the value of the key below */
    struct view key;
    unsigned key_line;
    unsigned key_column;
};

struct reader {
    struct arena *arena;
    struct view file;
    struct diagnostics *d;
    struct yaml_node *root;
    struct level levels[YAML_MAX_DEPTH];
    size_t depth;
    size_t nodes;
    bool sealed;  /* one stands in the file */
    bool stopped; /* by a mistake after which the rest makes no sense */
};

static unsigned line_of(const yaml_mark_t *mark)
{
    return mark->line >= UINT_MAX ? UINT_MAX : (unsigned)mark->line + 1;
}

static unsigned column_of(const yaml_mark_t *mark)
{
    return mark->column >= UINT_MAX ? UINT_MAX : (unsigned)mark->column + 1;
}

static void mistake(struct reader *r, const yaml_mark_t *mark, const char *text)
{
    diag_add(r->d, SEVERITY_ERROR, r->file, line_of(mark), column_of(mark), "%s", text);
}

static void stop(struct reader *r, const yaml_mark_t *mark, const char *text)
{
    mistake(r, mark, text);
    r->stopped = true;
}

const struct yaml_node *yaml_member(const struct yaml_node *mapping, const char *name)
{
    if (mapping == NULL || mapping->kind != NODE_MAPPING)
        return NULL;
    for (const struct yaml_node *n = mapping->first; n != NULL; n = n->next) {
        if (view_is(n->key, name))
            return n;
    }
    return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == NODE_SCALAR && node->plain && !node->referenced &&
           (node->text.len == 0 || view_is(node->text, "~") || view_is(node->text, "null"));
}

/* Puts the finished node where it belongs: the root, an item, or the value of the waiting key. */
static void attach(struct reader *r, struct yaml_node *node, const yaml_mark_t *mark)
{
    if (r->depth == 0) {
        if (r->root != NULL)
            stop(r, mark, "the file must hold one document");
        r->root = node;
        return;
    }
    struct level *up = &r->levels[r->depth - 1];
    if (up->node->kind == NODE_MAPPING) {
        node->key = up->key;
        node->key_line = up->key_line;
        node->key_column = up->key_column;
        up->have_key = false;
        for (const struct yaml_node *n = up->node->first; n != NULL; n = n->next) {
            if (view_eq(n->key, node->key)) {
                diag_add(r->d, SEVERITY_ERROR, r->file, node->key_line, node->key_column,
                         "'%.*s' stands here a second time; the first is on line %u",
                         VIEW_ARG(node->key), n->key_line);
                return;
            }
        }
        if (up->node->count >= YAML_MAX_MEMBERS) {
            stop(r, mark, "a mapping may have 256 members at most");
            return;
        }
    }
    if (up->node->last != NULL)
        up->node->last->next = node;
    else
        up->node->first = node;
    up->node->last = node;
    up->node->count++;
}

static struct yaml_node *new_node(struct reader *r, enum yaml_kind kind, const yaml_mark_t *mark)
{
    if (++r->nodes > YAML_MAX_NODES) {
        stop(r, mark, "the file holds too many values");
        return NULL;
    }
    struct yaml_node *node = ARENA_NEW(r->arena, struct yaml_node);
    if (node == NULL) {
        stop(r, mark, "there is not enough memory for the file");
        return NULL;
    }
    node->kind = kind;
    node->line = line_of(mark);
    node->column = column_of(mark);
    return node;
}

static bool expects_key(const struct reader *r)
{
    const struct level *up = r->depth == 0 ? NULL : &r->levels[r->depth - 1];
    return up != NULL && up->node->kind == NODE_MAPPING && !up->have_key;
}

static void open_collection(struct reader *r, enum yaml_kind kind, const yaml_mark_t *mark)
{
    if (expects_key(r)) {
        stop(r, mark, "a key must be a plain text");
        return;
    }
    if (r->depth == YAML_MAX_DEPTH) {
        stop(r, mark, "the file is nested too deeply");
        return;
    }
    struct yaml_node *node = new_node(r, kind, mark);
    if (node == NULL)
        return;
    attach(r, node, mark);
    r->levels[r->depth++] = (struct level){.node = node};
}

static void take_key(struct reader *r, struct view text, bool plain, const yaml_mark_t *mark)
{
    struct level *up = &r->levels[r->depth - 1];
    struct view key = arena_copy(r->arena, text);

    if (plain && view_is(key, "<<"))
        stop(r, mark, "merge keys ('<<') are not supported");
    if (key.data == NULL)
        stop(r, mark, "there is not enough memory for the file");
    up->have_key = true;
    up->key = key;
    up->key_line = line_of(mark);
    up->key_column = column_of(mark);
}

/* Neither folded nor with an escape: as wide in the file, quotes apart, as it is. */
static bool is_exact(const yaml_event_t *e)
{
    const unsigned char *text = e->data.scalar.value;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    size_t width = plain ? 0 : 2;

    for (size_t i = 0; i < e->data.scalar.length; i++)
        width += (text[i] & 0xc0) != 0x80;
    return e->start_mark.line == e->end_mark.line &&
           e->end_mark.column - e->start_mark.column == width;
}

static void take_scalar(struct reader *r, const yaml_event_t *e)
{
    const yaml_mark_t *mark = &e->start_mark;
    struct view text = view_of(e->data.scalar.value, e->data.scalar.length);

    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
        stop(r, mark, "a value may not hold a NUL character");
        return;
    }
    if (expects_key(r)) {
        take_key(r, text, e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, mark);
        return;
    }
    struct yaml_node *node = new_node(r, NODE_SCALAR, mark);
    if (node == NULL)
        return;
    yaml_scalar_style_t style = e->data.scalar.style;
    node->plain = style == YAML_PLAIN_SCALAR_STYLE;
    node->literal = style == YAML_LITERAL_SCALAR_STYLE;
    node->exact = is_exact(e);
    node->text = arena_copy(r->arena, text);
    if (node->text.data == NULL) {
        stop(r, mark, "there is not enough memory for the file");
        return;
    }
    if (reference_is(node->text)) {
        node->referenced = true;
        node->plain = true;
        node->reference = node->text;
        for (size_t i = 0; i < r->depth; i++)
            r->levels[i].node->holds = true;
    }
    if (sealed_is(node->text)) {
        node->sealed = r->sealed = true;
        node->reference = node->text;
    }
    attach(r, node, mark);
}

static bool anchored_or_tagged(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor != NULL || e->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor != NULL || e->data.mapping_start.tag != NULL;
    default:
        return e->type == YAML_ALIAS_EVENT;
    }
}

static void take_event(struct reader *r, const yaml_event_t *e)
{
    if (anchored_or_tagged(e)) {
        stop(r, &e->start_mark, "YAML anchors, aliases and tags are not supported");
        return;
    }
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        take_scalar(r, e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        open_collection(r, NODE_SEQUENCE, &e->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        open_collection(r, NODE_MAPPING, &e->start_mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        break;
    default:
        break;
    }
}

/* The line of a byte offset: libyaml gives no mark for bytes that it cannot read. */
static unsigned line_at(struct view text, size_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < offset && i < text.len; i++)
        line += text.data[i] == '\n';
    return line;
}

/* True when the line is indented with a tab: the mistake that YAML's own words explain least. */
static bool tab_indents(struct view text, size_t line)
{
    size_t at = 0;
    for (size_t i = 0; i < line && at < text.len; i++)
        at += view_find(view_from(text, at), '\n') + 1;
    while (at < text.len && text.data[at] == ' ')
        at++;
    return at < text.len && text.data[at] == '\t';
}

static void report_syntax(struct reader *r, const yaml_parser_t *p, struct view text)
{
    const char *problem = p->problem != NULL ? p->problem : "there is not enough memory";

    if (p->error == YAML_READER_ERROR) {
        diag_add(r->d, SEVERITY_ERROR, r->file, line_at(text, p->problem_offset), 0,
                 "not a text in UTF-8: %s", problem);
        return;
    }
    /* A quote or a key that never ends is noticed where something else begins, or at the end. */
    bool begun = p->context != NULL &&
                 (strcmp(p->context, "while scanning a quoted scalar") == 0 ||
                  strcmp(p->context, "while scanning a simple key") == 0);
    const yaml_mark_t *mark = begun ? &p->context_mark : &p->problem_mark;
    unsigned line = line_of(mark), column = column_of(mark);
    if (strcmp(problem, "found character that cannot start any token") == 0 &&
        tab_indents(text, p->problem_mark.line))
        diag_add(r->d, SEVERITY_ERROR, r->file, line, column,
                 "a tab cannot indent a line; use blanks");
    else if (p->context != NULL)
        diag_add(r->d, SEVERITY_ERROR, r->file, line, column, "%s, %s", problem, p->context);
    else
        diag_add(r->d, SEVERITY_ERROR, r->file, line, column, "%s", problem);
}

struct yaml_node *yaml_read(struct arena *arena, struct view file, struct view text,
                            struct diagnostics *d)
{
    struct reader r = {.arena = arena, .file = file, .d = d};
    yaml_parser_t parser;
    yaml_event_t event;
    bool end = false;

    if (text.len > YAML_MAX_BYTES || !yaml_parser_initialize(&parser)) {
        diag_add(d, SEVERITY_ERROR, file, 0, 0, "the file is too large");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    while (!r.stopped && !end) {
        if (!yaml_parser_parse(&parser, &event)) {
            report_syntax(&r, &parser, text);
            r.stopped = true;
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        take_event(&r, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (!r.stopped && r.root == NULL)
        diag_add(d, SEVERITY_ERROR, file, 1, 0, "the file is empty");
    if (r.root != NULL && r.root->kind == NODE_MAPPING)
        r.root->sealed = r.sealed;
    return r.stopped ? NULL : r.root;
}
