/* Plugins of the whole file, from wherever they stand, tied to whom they are for. */
#include "config/rules.h"
#include "model/consumers.h"

struct linker {
    struct decoder *d;
    const struct yaml_file *file;
    struct map services; /* by name, and by id */
    struct map routes;
    struct consumer_index consumers;
    struct map scopes; /* one plugin of a name for one scope */
    struct plugin *plugins;
    size_t count;
};

static void put(struct linker *l, struct map *map, struct view key, const void *entity)
{
    union {
        const void *read;
        void *any;
    } value = {entity};

    if (key.data != NULL && !map_put(map, key, value.any))
        l->d->out_of_memory = true;
}

/* A plugin that refers to it by its name would be for the one with the id. */
static void check_id(struct linker *l, const char *kind, const struct meta *meta,
                     struct view other_name)
{
    if (meta->id.len > 0 && view_eq(other_name, meta->id))
        decode_error_line(l->d, meta->line, "the id '%.*s' is the name of another %s",
                          VIEW_ARG(meta->id), kind);
}

/* After the names. */
static void index_ids(struct linker *l)
{
    const struct yaml_file *f = l->file;

    for (size_t i = 0; i < f->service_count; i++) {
        const struct service *s = &f->services[i], *named = map_get(&l->services, s->meta.id);
        if (named != NULL && named != s)
            check_id(l, "service", &s->meta, named->name);
        put(l, &l->services, s->meta.id, s);
        for (size_t k = 0; k < s->route_count; k++) {
            const struct route *r = &s->routes[k], *called = map_get(&l->routes, r->meta.id);
            if (called != NULL && called != r)
                check_id(l, "route", &r->meta, called->name);
            put(l, &l->routes, r->meta.id, r);
        }
    }
}

static void index_all(struct linker *l)
{
    const struct yaml_file *f = l->file;

    for (size_t i = 0; i < f->service_count; i++) {
        const struct service *s = &f->services[i];
        put(l, &l->services, s->name, s);
        for (size_t k = 0; k < s->route_count; k++)
            put(l, &l->routes, s->routes[k].name, &s->routes[k]);
    }
    index_ids(l);
    if (!consumer_index_fill(&l->consumers, f->consumers, f->consumer_count))
        l->d->out_of_memory = true;
}

/* What the store calls the consumer. */
static struct view reference_to(const struct consumer *c)
{
    if (c == NULL)
        return (struct view){NULL, 0};
    return c->username.data != NULL ? c->username : c->meta.id;
}

static void claim_scope(struct linker *l, struct plugin *p)
{
    static const struct view none = {NULL, 0};
    struct view id =
        rules_derive_plugin_id(l->d->arena, view_str(plugin_kind_name(p->kind)),
                               p->service != NULL ? p->service->name : none,
                               p->route != NULL ? p->route->name : none, reference_to(p->consumer));
    const struct plugin *other = id.data != NULL ? map_get(&l->scopes, id) : NULL;

    l->d->out_of_memory = l->d->out_of_memory || id.data == NULL;
    if (other != NULL)
        decode_error_line(l->d, p->meta.line,
                          "a second plugin '%s' for the same calls; the first is on line %u",
                          plugin_kind_name(p->kind), other->meta.line);
    else
        put(l, &l->scopes, id, p);
    if (p->meta.id.len == 0)
        p->meta.id = id;
}

static void check_nested(struct linker *l, const struct plugin *p, bool twice, const char *field)
{
    if (twice)
        decode_error_line(l->d, p->meta.line, "'%s' may not stand in a plugin that stands in one",
                          field);
}

/* The owners are NULL, or where it stands. */
static void add(struct linker *l, const struct plugin *written, const struct service *service,
                const struct route *route, const struct consumer *consumer)
{
    struct plugin *p = &l->plugins[l->count];

    if (written->kind == PLUGIN_KINDS)
        return; /* reported */
    l->count++;
    *p = *written;
    check_nested(l, p, service != NULL && p->service_reference.data != NULL, "service");
    check_nested(l, p, route != NULL && p->route_reference.data != NULL, "route");
    check_nested(l, p, consumer != NULL && p->consumer_reference.data != NULL, "consumer");
    p->service = service != NULL ? service : map_get(&l->services, p->service_reference);
    p->route = route != NULL ? route : map_get(&l->routes, p->route_reference);
    p->consumer = consumer != NULL ? consumer
                                   : consumer_by_reference(&l->consumers, p->consumer_reference);
    if (p->service != NULL && p->route != NULL && p->route->service != p->service)
        decode_error_line(l->d, p->meta.line,
                          "the route '%.*s' is not of the service '%.*s': the plugin would never "
                          "run",
                          VIEW_ARG(p->route->name), VIEW_ARG(p->service->name));
    claim_scope(l, p);
}

static size_t count_plugins(const struct yaml_file *f)
{
    size_t count = f->plugin_count;

    for (size_t i = 0; i < f->consumer_count; i++)
        count += f->consumers[i].plugin_count;
    for (size_t i = 0; i < f->service_count; i++) {
        count += f->services[i].plugin_count;
        for (size_t k = 0; k < f->services[i].route_count; k++)
            count += f->services[i].routes[k].plugin_count;
    }
    return count;
}

static void add_all(struct linker *l)
{
    const struct yaml_file *f = l->file;

    for (size_t i = 0; i < f->plugin_count; i++)
        add(l, &f->plugins[i], NULL, NULL, NULL);
    for (size_t i = 0; i < f->consumer_count; i++) {
        const struct consumer *c = &f->consumers[i];
        for (size_t n = 0; n < c->plugin_count; n++)
            add(l, &c->plugins[n], NULL, NULL, c);
    }
    for (size_t i = 0; i < f->service_count; i++) {
        const struct service *s = &f->services[i];
        for (size_t n = 0; n < s->plugin_count; n++)
            add(l, &s->plugins[n], s, NULL, NULL);
        for (size_t k = 0; k < s->route_count; k++) {
            const struct route *r = &s->routes[k];
            for (size_t n = 0; n < r->plugin_count; n++)
                add(l, &r->plugins[n], NULL, r, NULL);
        }
    }
}

const struct plugin *link_plugins(struct decoder *d, const struct yaml_file *file, size_t *count)
{
    struct linker l = {.d = d, .file = file};
    size_t room = count_plugins(file);

    *count = 0;
    if (room == 0)
        return NULL;
    l.plugins = ARENA_ARRAY(d->arena, room, struct plugin);
    if (l.plugins == NULL) {
        d->out_of_memory = true;
        return NULL;
    }
    map_init(&l.services);
    map_init(&l.routes);
    map_init(&l.scopes);
    consumer_index_init(&l.consumers);
    index_all(&l);
    add_all(&l);
    map_clear(&l.services);
    map_clear(&l.routes);
    map_clear(&l.scopes);
    consumer_index_clear(&l.consumers);
    *count = l.count;
    return l.plugins;
}
