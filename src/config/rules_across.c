/* Rules over all entities of the file. */
#include "config/rules.h"

/* A route, and whether some role allows it. */
struct known_route {
    const struct route *route;
    bool covered;
};

struct known_routes {
    struct known_route *items; /* those of a service stand together, as the services do */
    size_t count;
    struct map names;
};

static void know_routes(struct decoder *d, const struct entities *e, struct known_routes *out)
{
    size_t count = 0;

    for (size_t i = 0; i < e->service_count; i++)
        count += e->services[i].route_count;
    *out = (struct known_routes){.items = ARENA_ARRAY(d->scratch, count + 1, struct known_route)};
    map_init(&out->names);
    if (out->items == NULL) {
        d->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < e->service_count; i++) {
        for (size_t k = 0; k < e->services[i].route_count; k++) {
            struct known_route *r = &out->items[out->count++];
            r->route = &e->services[i].routes[k];
            /* Of two with one name, a mistake, the first counts. */
            if (map_get(&out->names, r->route->name) == NULL &&
                !map_put(&out->names, r->route->name, r))
                d->out_of_memory = true;
        }
    }
}

static void check_allowed_route(struct decoder *d, const struct known_routes *known,
                                const struct role *r, const struct allow_rule *a, struct view name)
{
    const struct known_route *found = map_get(&known->names, name);
    const struct route *route = found != NULL ? found->route : NULL;

    if (route == NULL || r->services.count == 0 ||
        strings_have(r->services, route->service->name))
        return; /* an unknown name is reported as a reference, missing services as missing */
    decode_error_line(d, a->line,
                      "role '%.*s' allows the route '%.*s' of the service '%.*s', which it does "
                      "not list in 'services'",
                      VIEW_ARG(r->name), VIEW_ARG(name), VIEW_ARG(route->service->name));
}

static bool method_covered(const struct allow_rule *a, const struct route *route)
{
    for (size_t i = 0; i < a->methods.count; i++) {
        if (strings_have(route->methods, a->methods.items[i]))
            return true;
    }
    return a->methods.count == 0;
}

static void cover(const struct role *r, const struct allow_rule *a, struct known_route *k)
{
    k->covered = k->covered || (strings_have(r->services, k->route->service->name) &&
                                method_covered(a, k->route));
}

static void check_allow(struct decoder *d, const struct known_routes *known, const struct role *r,
                        const struct allow_rule *a)
{
    for (size_t n = 0; n < a->routes.count; n++) {
        struct known_route *named = map_get(&known->names, a->routes.items[n]);
        bool all = view_is(a->routes.items[n], "*");
        if (!all)
            check_allowed_route(d, known, r, a, a->routes.items[n]);
        if (!all && named != NULL)
            cover(r, a, named);
        for (size_t i = 0; all && i < known->count; i++)
            cover(r, a, &known->items[i]);
    }
}

static void check_allows(struct decoder *d, const struct entities *e,
                         const struct known_routes *known)
{
    for (size_t i = 0; i < e->role_count; i++) {
        for (size_t k = 0; k < e->roles[i].allow_count; k++)
            check_allow(d, known, &e->roles[i], &e->roles[i].allow[k]);
    }
}

static void warn_uncovered(struct decoder *d, const struct known_route *k)
{
    struct yaml_node at = {.line = k->route->meta.line};

    if (!k->covered)
        decode_warning(d, &at, "no role allows the route '%.*s': nobody can call it",
                       VIEW_ARG(k->route->name));
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
    const struct view parts[] = {method, VIEW(" "), shape};
    struct view key = decode_join(d->scratch, parts, COUNT_OF(parts));
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

/* Only a consumer_claim makes a caller a consumer. */
static void warn_unbound_plugins(struct decoder *d, const struct entities *e)
{
    const struct plugin *p = NULL;
    size_t naming = 0, bound = 0;

    for (size_t i = 0; i < e->issuer_count; i++)
        naming += e->issuers[i].consumer_claim.data != NULL;
    for (size_t i = 0; i < e->plugin_count && e->issuer_count > 0 && naming == 0; i++) {
        bound += e->plugins[i].consumer != NULL;
        if (p == NULL && e->plugins[i].consumer != NULL)
            p = &e->plugins[i];
    }
    if (p == NULL)
        return;
    const struct yaml_node at = {.line = p->meta.line};
    struct view who = p->consumer->username.data != NULL ? p->consumer->username
                                                         : p->consumer->custom_id;
    /* One for all: messages are bounded, and there may be a plugin for each of many consumers. */
    decode_warning(d, &at,
                   "the plugin '%s' of the consumer '%.*s' binds nobody: no issuer has a "
                   "'consumer_claim'; plugins of consumers: %zu",
                   plugin_kind_name(p->kind), VIEW_ARG(who), bound);
}

void rules_across(struct decoder *d, const struct entities *e)
{
    struct known_routes known;
    struct map taken;

    map_init(&taken);
    know_routes(d, e, &known);
    check_allows(d, e, &known);
    warn_unknown_consumers(d, e);
    warn_unbound_plugins(d, e);
    for (size_t i = 0; i < known.count; i++) {
        claim_route(d, &taken, known.items[i].route);
        warn_uncovered(d, &known.items[i]);
    }
    map_clear(&known.names);
    map_clear(&taken);
}
