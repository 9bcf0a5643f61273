#include "gateway/reuse.h"

static void *kept(const void *at)
{
    union {
        const void *read;
        void *any;
    } u = {at};

    return u.any;
}

static bool know_routes(struct reuse *u, const struct compiled_service *s)
{
    for (size_t i = 0; i < s->service->route_count; i++) {
        const struct compiled_route *r = &s->routes[i];
        if (r->analysis.command != NULL && !map_put(&u->routes, r->route->name, kept(r)))
            return false;
    }
    return true;
}

bool reuse_init(struct reuse *u, const struct snapshot *before)
{
    *u = (struct reuse){.before = before};
    map_init(&u->routes);
    map_init(&u->roles);
    if (before == NULL)
        return true;
    for (size_t i = 0; i < before->entities.service_count; i++) {
        if (!know_routes(u, &before->services[i]))
            return false;
    }
    for (size_t i = 0; i < before->entities.role_count; i++) {
        const struct role *role = &before->entities.roles[i];
        if (!map_put(&u->roles, role->name, kept(role)))
            return false;
    }
    return true;
}

void reuse_clear(struct reuse *u)
{
    map_clear(&u->routes);
    map_clear(&u->roles);
}

const struct compiled_route *reuse_route(const struct reuse *u, const struct route *now)
{
    const struct compiled_route *r = map_get(&u->routes, now->name);

    return r != NULL && view_eq(r->route->statement.sql, now->statement.sql) ? r : NULL;
}

/* ---- Copies ---- */

struct copier {
    struct arena *arena;
    bool no_memory;
};

static struct view copy(struct copier *c, struct view v)
{
    if (v.data == NULL)
        return v;
    v = arena_copy(c->arena, v);
    c->no_memory |= v.data == NULL;
    return v;
}

static void *copy_array(struct copier *c, const void *items, size_t count, size_t size)
{
    void *made = arena_array(c->arena, count + 1, size);

    c->no_memory |= made == NULL;
    if (made != NULL && count > 0)
        memcpy(made, items, count * size);
    return made;
}

/* The names are views of the user's text. */
static void copy_named(struct copier *c, const struct sql_named *from, struct view original,
                       struct sql_named *out)
{
    struct view *names = copy_array(c, from->names, from->name_count, sizeof *names);

    for (size_t i = 0; names != NULL && i < from->name_count; i++)
        names[i].data = original.data + (from->names[i].data - from->original.data);
    *out = (struct sql_named){
        .original = original,
        .text = copy(c, from->text),
        .names = names,
        .name_count = from->name_count,
        .uses = copy_array(c, from->uses, from->use_count, sizeof *from->uses),
        .use_count = from->use_count,
    };
}

static void copy_analysis(struct copier *c, const struct sql_analysis *from,
                          struct sql_analysis *out)
{
    struct sql_function *functions =
        copy_array(c, from->functions, from->function_count, sizeof *functions);
    struct sql_relation *relations =
        copy_array(c, from->relations, from->relation_count, sizeof *relations);

    *out = *from;
    out->functions = functions;
    out->relations = relations;
    out->message = (struct view){NULL, 0};
    for (size_t i = 0; functions != NULL && i < from->function_count; i++) {
        functions[i].schema = copy(c, functions[i].schema);
        functions[i].name = copy(c, functions[i].name);
    }
    for (size_t i = 0; relations != NULL && i < from->relation_count; i++) {
        relations[i].schema = copy(c, relations[i].schema);
        relations[i].name = copy(c, relations[i].name);
    }
}

bool reuse_analysis(struct arena *arena, const struct compiled_route *before,
                    struct compiled_route *now)
{
    struct copier c = {.arena = arena};

    memcpy(now->statement_sha256, before->statement_sha256, sizeof now->statement_sha256);
    copy_named(&c, &before->named, now->route->statement.sql, &now->named);
    copy_analysis(&c, &before->analysis, &now->analysis);
    return !c.no_memory;
}

/* ---- What the database said ---- */

static struct view types_of(const struct compiled_route *r)
{
    return view_of(r->statement.types, r->statement.parameter_count * sizeof(uint32_t));
}

/* The text is the same. */
static bool same_key(const struct compiled_route *a, const struct role *role_a,
                     const struct compiled_route *b, const struct role *role_b)
{
    return view_eq(role_a->database_role, role_b->database_role) &&
           view_eq(a->search_path, b->search_path) && view_eq(types_of(a), types_of(b));
}

bool reuse_role(const struct reuse *u, const struct compiled_route *before,
                const struct compiled_route *now, const struct role *role, struct route_role *as)
{
    const struct role *known = map_get(&u->roles, role->name);

    if (known == NULL || !same_key(before, known, now, role))
        return false;
    const struct route_role *was =
        snapshot_route_role(before, (size_t)(known - u->before->entities.roles));
    if (was == NULL)
        return false;
    memcpy(as->prepared_key, was->prepared_key, sizeof as->prepared_key);
    if (now->broker == NULL || before->broker != now->broker)
        return true;
    atomic_store_explicit(&as->proved,
                          atomic_load_explicit(&was->proved, memory_order_acquire),
                          memory_order_relaxed);
    atomic_store_explicit(&as->prepared,
                          atomic_load_explicit(&was->prepared, memory_order_acquire),
                          memory_order_relaxed);
    return true;
}
