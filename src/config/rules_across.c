/* Rules over all entities of the file. */
#include "config/rules.h"

static const struct route *find_route(const struct entities *e, struct view name)
{
    for (size_t i = 0; i < e->service_count; i++) {
        for (size_t k = 0; k < e->services[i].route_count; k++) {
            if (view_eq(e->services[i].routes[k].name, name))
                return &e->services[i].routes[k];
        }
    }
    return NULL;
}

static void check_allowed_route(struct decoder *d, const struct entities *e, const struct role *r,
                                const struct allow_rule *a, struct view name)
{
    const struct route *route = find_route(e, name);

    if (route == NULL || strings_have(r->services, route->service->name))
        return; /* an unknown name is reported as a reference */
    decode_error_line(d, a->line,
                      "role '%.*s' allows the route '%.*s' of the service '%.*s', which it does "
                      "not list in 'services'",
                      VIEW_ARG(r->name), VIEW_ARG(name), VIEW_ARG(route->service->name));
}

static void check_allows(struct decoder *d, const struct entities *e)
{
    for (size_t i = 0; i < e->role_count; i++) {
        const struct role *r = &e->roles[i];
        for (size_t k = 0; k < r->allow_count; k++) {
            const struct allow_rule *a = &r->allow[k];
            for (size_t n = 0; n < a->routes.count; n++) {
                if (!view_is(a->routes.items[n], "*"))
                    check_allowed_route(d, e, r, a, a->routes.items[n]);
            }
        }
    }
}

static bool method_covered(const struct allow_rule *a, const struct route *route)
{
    for (size_t i = 0; i < a->methods.count; i++) {
        if (strings_have(route->methods, a->methods.items[i]))
            return true;
    }
    return a->methods.count == 0;
}

static bool role_covers(const struct role *r, const struct route *route)
{
    if (!strings_have(r->services, route->service->name))
        return false;
    for (size_t k = 0; k < r->allow_count; k++) {
        const struct allow_rule *a = &r->allow[k];
        bool named = strings_have(a->routes, route->name) || strings_have(a->routes, VIEW("*"));
        if (named && method_covered(a, route))
            return true;
    }
    return false;
}

static void warn_uncovered(struct decoder *d, const struct entities *e, const struct route *route)
{
    struct yaml_node at = {.line = route->meta.line};

    for (size_t i = 0; i < e->role_count; i++) {
        if (role_covers(&e->roles[i], route))
            return;
    }
    decode_warning(d, &at, "no role allows the route '%.*s': nobody can call it",
                   VIEW_ARG(route->name));
}

/* --- two routes for one request --- */

/* The template with each {name} as {}: equal for templates that match the same paths. */
static struct view shape_of(struct arena *arena, struct view path)
{
    char *at = arena_alloc(arena, path.len);
    size_t n = 0;
    bool inside = false;

    if (at == NULL)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] == '}')
            inside = false;
        if (!inside)
            at[n++] = path.data[i];
        if (path.data[i] == '{')
            inside = true;
    }
    return view_of(at, n);
}

static void claim_path(struct decoder *d, struct map *taken, struct route *route,
                       struct view method, struct view path)
{
    struct view shape = shape_of(d->scratch, path);
    struct view key = arena_printf(d->scratch, "%.*s %.*s", VIEW_ARG(method), VIEW_ARG(shape));
    const struct route *other = key.data == NULL ? NULL : map_get(taken, key);

    if (other != NULL && other != route)
        decode_error_line(d, route->meta.line,
                          "the route '%.*s' takes %.*s %.*s, as '%.*s' on line %u does",
                          VIEW_ARG(route->name), VIEW_ARG(method), VIEW_ARG(path),
                          VIEW_ARG(other->name), other->meta.line);
    else if (other != NULL)
        decode_error_line(d, route->meta.line, "the route '%.*s' takes %.*s %.*s twice",
                          VIEW_ARG(route->name), VIEW_ARG(method), VIEW_ARG(path));
    else if (shape.data == NULL || key.data == NULL || !map_put(taken, key, route))
        d->out_of_memory = true;
}

static void claim_route(struct decoder *d, struct map *taken, const struct route *route)
{
    union {
        const struct route *read;
        struct route *any;
    } kept = {route};

    for (size_t m = 0; m < route->methods.count; m++) {
        for (size_t p = 0; p < route->paths.count; p++) {
            if (route->paths.items[p].len > 0)
                claim_path(d, taken, kept.any, route->methods.items[m], route->paths.items[p]);
        }
    }
}

/* Who may only come as a consumer, where there is none. */
static void warn_unknown_consumers(struct decoder *d, const struct entities *e)
{
    for (size_t i = 0; i < e->issuer_count && e->consumer_count == 0; i++) {
        const struct yaml_node at = {.line = e->issuers[i].meta.line};
        if (e->issuers[i].consumer_claim.data != NULL && !e->issuers[i].consumer_optional)
            decode_warning(d, &at,
                           "the tokens of the issuer '%.*s' must name a consumer, and there is "
                           "none: all are refused",
                           VIEW_ARG(e->issuers[i].name));
    }
}

void rules_across(struct decoder *d, const struct entities *e)
{
    struct map taken;

    map_init(&taken);
    check_allows(d, e);
    warn_unknown_consumers(d, e);
    for (size_t i = 0; i < e->service_count; i++) {
        for (size_t k = 0; k < e->services[i].route_count; k++) {
            claim_route(d, &taken, &e->services[i].routes[k]);
            warn_uncovered(d, e, &e->services[i].routes[k]);
        }
    }
    map_clear(&taken);
}
