#include "gateway/router.h"

#include "base/map.h"
#include "http/uri.h"

/*
 * A tree of segments.  The literal steps of all nodes stand in one hash table under (node,
 * segment), so a step costs one look-up however many children a node has; each node has at most
 * one placeholder step.
 */
enum { NO_NODE = 0, ROOT = 1 };

struct served_method {
    struct view method;
    const struct route *route;
    const struct view *names; /* of the placeholders, from the left */
    size_t name_count;
    struct served_method *next;
};

struct node {
    uint32_t placeholder; /* the node behind it, or NO_NODE */
    struct served_method *methods; /* NULL: no template ends here */
    struct view allow;
};

struct step {
    struct view segment;
    uint32_t from;
    uint32_t to; /* NO_NODE: a free slot */
};

struct router {
    struct node *nodes; /* the first is unused: NO_NODE */
    size_t node_count;
    struct step *steps;
    size_t step_mask;
};

static size_t step_slot(const struct router *r, uint32_t from, struct view segment)
{
    size_t at = (size_t)(map_hash(segment) + from * UINT64_C(0x9e3779b97f4a7c15));
    for (at &= r->step_mask;; at = (at + 1) & r->step_mask) {
        const struct step *step = &r->steps[at];
        if (step->to == NO_NODE || (step->from == from && view_eq(step->segment, segment)))
            return at;
    }
}

/* ---- Building ---- */

struct builder {
    struct arena *arena;
    struct router *router;
    struct diagnostics *diagnostics;
    struct view file;
};

/* A template taken apart. */
struct template
{
    struct view segments[ROUTER_MAX_SEGMENTS];
    size_t count;
    struct view names[ROUTER_MAX_CAPTURES];
    size_t name_count;
};

static bool is_placeholder(struct view segment)
{
    return segment.len >= 2 && segment.data[0] == '{' && segment.data[segment.len - 1] == '}';
}

static bool is_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.data[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return name.len > 0;
}

/* What is wrong with the segment, or NULL; a placeholder's name is noted. */
static const char *read_segment(struct template *t, struct view segment, bool last)
{
    if (t->count == ROUTER_MAX_SEGMENTS)
        return "has too many segments";
    t->segments[t->count++] = segment;
    if (is_placeholder(segment)) {
        const struct view name = view_upto(view_from(segment, 1), segment.len - 2);
        if (!is_name(name))
            return "has a placeholder whose name is not of letters, digits and _";
        if (strings_have((struct strings){t->names, t->name_count}, name))
            return "has the same placeholder twice";
        if (t->name_count == ROUTER_MAX_CAPTURES)
            return "has too many placeholders";
        t->names[t->name_count++] = name;
        return NULL;
    }
    if (view_find(segment, '{') < segment.len || view_find(segment, '}') < segment.len)
        return "has a brace; a placeholder is a whole segment";
    if (segment.len == 0 && !last)
        return "has an empty segment";
    if (view_is(segment, ".") || view_is(segment, ".."))
        return "has a dot segment";
    if (segment.len > ROUTER_MAX_LITERAL_BYTES)
        return "has a segment that is too long";
    return NULL;
}

static const char *read_template(struct template *t, struct view path)
{
    *t = (struct template){.count = 0};
    if (path.len > 0 && path.data[0] == '~')
        return "is a regular expression, which is not served yet";
    if (path.len == 0 || path.data[0] != '/')
        return "does not begin with /";
    if (view_find(path, '?') < path.len || view_find(path, '#') < path.len)
        return "has a query or fragment";
    if (view_find(path, '\\') < path.len || view_find(path, '\0') < path.len || !view_is_utf8(path))
        return "has a backslash, a NUL or a byte that is not UTF-8";
    struct view rest = path, segment;
    while (uri_path_next(&rest, &segment)) {
        const char *wrong = read_segment(t, segment, rest.len == 0);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static uint32_t new_node(struct router *r)
{
    return (uint32_t)r->node_count++;
}

/* The node at the template's end; there is room for all, counted beforehand. */
static uint32_t plant(struct router *r, const struct template *t)
{
    uint32_t at = ROOT;
    for (size_t i = 0; i < t->count; i++) {
        if (is_placeholder(t->segments[i])) {
            if (r->nodes[at].placeholder == NO_NODE)
                r->nodes[at].placeholder = new_node(r);
            at = r->nodes[at].placeholder;
            continue;
        }
        struct step *step = &r->steps[step_slot(r, at, t->segments[i])];
        if (step->to == NO_NODE)
            *step = (struct step){t->segments[i], at, new_node(r)};
        at = step->to;
    }
    return at;
}

static err serve(struct builder *b, struct node *node, const struct template *t,
                 const struct route *route, struct view path, struct view method)
{
    struct served_method **end = &node->methods;
    for (; *end != NULL; end = &(*end)->next) {
        if (view_eq((*end)->method, method)) {
            diag_add(b->diagnostics, SEVERITY_ERROR, b->file, route->meta.line, 0,
                     "route %.*s: %.*s %.*s is served by route %.*s already",
                     VIEW_ARG(route->name), VIEW_ARG(method), VIEW_ARG(path),
                     VIEW_ARG((*end)->route->name));
            return OK;
        }
    }
    struct served_method *served = ARENA_NEW(b->arena, struct served_method);
    struct view *names = ARENA_ARRAY(b->arena, t->name_count + 1, struct view);
    if (served == NULL || names == NULL)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < t->name_count; i++)
        names[i] = t->names[i];
    *served = (struct served_method){method, route, names, t->name_count, NULL};
    *end = served;
    return OK;
}

static err add_path(struct builder *b, const struct route *route, struct view path)
{
    struct template t;
    const char *wrong = read_template(&t, path);
    if (wrong != NULL) {
        diag_add(b->diagnostics, SEVERITY_ERROR, b->file, route->meta.line, 0,
                 "route %.*s: path %.*s %s", VIEW_ARG(route->name), VIEW_ARG(path), wrong);
        return OK;
    }
    struct node *node = &b->router->nodes[plant(b->router, &t)];
    for (size_t i = 0; i < route->methods.count; i++)
        TRY(serve(b, node, &t, route, path, route->methods.items[i]));
    return OK;
}

static err add_route(struct builder *b, const struct route *route)
{
    if (!route->statement.present) {
        diag_add(b->diagnostics, SEVERITY_WARNING, b->file, route->meta.line, 0,
                 "route %.*s has no statement and is not served", VIEW_ARG(route->name));
        return OK;
    }
    if (route->methods.count == 0 || strings_have(route->methods, VIEW("OPTIONS"))) {
        diag_add(b->diagnostics, SEVERITY_ERROR, b->file, route->meta.line, 0,
                 "route %.*s: %s", VIEW_ARG(route->name),
                 route->methods.count == 0 ? "no methods" : "OPTIONS is answered by the gateway");
        return OK;
    }
    for (size_t i = 0; i < route->paths.count; i++)
        TRY(add_path(b, route, route->paths.items[i]));
    return OK;
}

static const struct served_method *find_method(const struct node *node, struct view method)
{
    const struct served_method *served = node->methods;
    while (served != NULL && !view_eq(served->method, method))
        served = served->next;
    return served;
}

/* "GET, HEAD, POST", made once. */
static err write_allow(struct arena *arena, struct node *node)
{
    const bool has_head = find_method(node, VIEW("HEAD")) != NULL;
    size_t room = 0;
    for (const struct served_method *m = node->methods; m != NULL; m = m->next)
        room += m->method.len + sizeof ", HEAD, ";
    char *text = arena_alloc(arena, room + 1);
    if (text == NULL)
        return fail(&fault_out_of_memory);
    size_t len = 0;
    for (const struct served_method *m = node->methods; m != NULL; m = m->next) {
        const bool implied = view_is(m->method, "GET") && !has_head;
        const struct view parts[] = {len > 0 ? VIEW(", ") : VIEW(""), m->method,
                                     implied ? VIEW(", HEAD") : VIEW("")};
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            memcpy(text + len, parts[i].data, parts[i].len);
            len += parts[i].len;
        }
    }
    node->allow = view_of(text, len);
    return OK;
}

/* The most nodes that the templates can need. */
static size_t count_segments(const struct entities *entities)
{
    size_t count = 0;
    for (size_t s = 0; s < entities->service_count; s++) {
        for (size_t r = 0; r < entities->services[s].route_count; r++) {
            const struct strings paths = entities->services[s].routes[r].paths;
            for (size_t p = 0; p < paths.count; p++) {
                for (size_t i = 0; i < paths.items[p].len; i++)
                    count += paths.items[p].data[i] == '/';
            }
        }
    }
    return count;
}

static struct router *new_router(struct arena *arena, size_t segments)
{
    struct router *r = ARENA_NEW(arena, struct router);
    size_t slots = 8;
    while (slots < segments * 2)
        slots *= 2;
    if (r == NULL || segments > UINT32_MAX / 4)
        return NULL;
    r->nodes = ARENA_ARRAY(arena, segments + ROOT + 1, struct node);
    r->steps = ARENA_ARRAY(arena, slots, struct step);
    r->step_mask = slots - 1;
    r->node_count = ROOT + 1;
    return r->nodes != NULL && r->steps != NULL ? r : NULL;
}

err router_build(struct arena *arena, const struct entities *entities, struct view file,
                 struct diagnostics *diagnostics, const struct router **out)
{
    *out = NULL;
    struct builder b = {arena, new_router(arena, count_segments(entities)), diagnostics, file};
    if (b.router == NULL)
        return fail(&fault_out_of_memory);
    for (size_t s = 0; s < entities->service_count; s++) {
        for (size_t r = 0; r < entities->services[s].route_count; r++)
            TRY(add_route(&b, &entities->services[s].routes[r]));
    }
    for (size_t i = ROOT; i < b.router->node_count; i++) {
        if (b.router->nodes[i].methods != NULL)
            TRY(write_allow(arena, &b.router->nodes[i]));
    }
    *out = b.router;
    return OK;
}

/* ---- Matching ---- */

/* A path taken apart. */
struct split {
    size_t count;
    struct view raw[ROUTER_MAX_SEGMENTS];
    struct view decoded[ROUTER_MAX_SEGMENTS];
};

/* False: more segments than any template has, a dot segment, or what can't be decoded. */
static bool split_path(struct arena *arena, struct view path, struct split *out)
{
    struct view segment;
    out->count = 0;
    while (uri_path_next(&path, &segment)) {
        if (out->count == ROUTER_MAX_SEGMENTS)
            return false;
        struct view *decoded = &out->decoded[out->count];
        if (failed(uri_decode_segment(arena, segment, decoded)))
            return false;
        if (view_is(*decoded, ".") || view_is(*decoded, ".."))
            return false;
        out->raw[out->count++] = segment;
    }
    return out->count > 0;
}

/*
 * The node where the segments from i on lead, the literal way first; NO_NODE: nowhere.  As deep as
 * the path has segments, and never to a node twice.  A way through the tree is a template's
 * beginning, so it has no more placeholders than a template may have.
 */
static uint32_t descend(const struct router *r, const struct split *path, size_t i, uint32_t at,
                        size_t captures, struct router_match *out)
{
    if (i == path->count) {
        out->capture_count = captures;
        return r->nodes[at].methods != NULL ? at : NO_NODE;
    }
    const struct step *step = &r->steps[step_slot(r, at, path->decoded[i])];
    uint32_t found = NO_NODE;
    if (step->to != NO_NODE)
        found = descend(r, path, i + 1, step->to, captures, out);
    const uint32_t placeholder = r->nodes[at].placeholder;
    if (found == NO_NODE && placeholder != NO_NODE && path->raw[i].len > 0) {
        out->captures[captures].raw = path->raw[i];
        found = descend(r, path, i + 1, placeholder, captures + 1, out);
    }
    return found;
}

static enum router_answer choose_method(const struct node *node, struct view method,
                                        struct router_match *out)
{
    const struct served_method *served = find_method(node, method);
    if (served == NULL && view_is(method, "HEAD"))
        served = find_method(node, VIEW("GET"));
    out->allow = node->allow;
    if (served == NULL)
        return ROUTER_NO_METHOD;
    out->route = served->route;
    for (size_t i = 0; i < served->name_count; i++)
        out->captures[i].name = served->names[i];
    return ROUTER_FOUND;
}

enum router_answer router_match(const struct router *router, struct view method,
                                struct view raw_path, struct router_match *out)
{
    struct split path;
    struct arena decoded; /* touches no memory unless the path has an escape */
    arena_init(&decoded, 1024, 65536);
    out->route = NULL;
    out->capture_count = 0;
    out->allow = (struct view){NULL, 0};
    uint32_t end = NO_NODE;
    if (split_path(&decoded, raw_path, &path))
        end = descend(router, &path, 0, ROOT, 0, out);
    arena_clear(&decoded);
    if (end != NO_NODE) {
        enum router_answer answer = choose_method(&router->nodes[end], method, out);
        if (answer == ROUTER_FOUND)
            return answer;
    }
    out->capture_count = 0;
    return end != NO_NODE ? ROUTER_NO_METHOD : ROUTER_NO_PATH;
}
