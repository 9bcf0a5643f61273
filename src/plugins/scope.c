#include "plugins/scope.h"

/* The arena grows with the plugins, whose own memory bounds their number. */
enum { BLOCK_BYTES = 4096, MAX_BYTES = 1 << 30 };

/* No padding: it is a key byte by byte. */
struct scope {
    uint64_t kind;
    const struct service *service;
    const struct route *route;
    const struct consumer *consumer;
};

void plugin_index_init(struct plugin_index *index)
{
    *index = (struct plugin_index){.kinds = {false}};
    arena_init(&index->arena, BLOCK_BYTES, MAX_BYTES);
    map_init(&index->scopes);
    map_init(&index->consumers);
}

void plugin_index_clear(struct plugin_index *index)
{
    map_clear(&index->scopes);
    map_clear(&index->consumers);
    arena_clear(&index->arena);
}

static bool put(struct map *map, struct view key, const void *what)
{
    union {
        const void *read;
        void *any;
    } value = {what};
    return map_put(map, key, value.any);
}

static bool put_plugin(struct plugin_index *index, const struct plugin *p)
{
    const struct scope scope = {p->kind, p->service, p->route, p->consumer};
    struct view key = arena_copy(&index->arena, view_of(&scope, sizeof scope));

    if (key.data == NULL || !put(&index->scopes, key, p))
        return false;
    return p->consumer == NULL ||
           put(&index->consumers, view_of(&p->consumer, sizeof p->consumer), p);
}

err plugin_index_fill(struct plugin_index *index, const struct plugin *plugins, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!plugins[i].enabled)
            continue;
        if (!put_plugin(index, &plugins[i]))
            return fail(&fault_out_of_memory);
        index->kinds[plugins[i].kind] = true;
    }
    return OK;
}

bool plugin_index_knows(const struct plugin_index *index, const struct consumer *consumer)
{
    return consumer != NULL &&
           map_get(&index->consumers, view_of(&consumer, sizeof consumer)) != NULL;
}

/* Kong's order of precedence, the most specific first. */
static const struct {
    bool consumer, route, service;
} precedence[] = {
    {true, true, true},  {true, true, false},  {true, false, true},  {false, true, true},
    {true, false, false}, {false, true, false}, {false, false, true}, {false, false, false},
};

static const struct plugin *find(const struct plugin_index *index, const struct scope *whole)
{
    for (size_t i = 0; i < COUNT_OF(precedence); i++) {
        const struct scope scope = {
            whole->kind,
            precedence[i].service ? whole->service : NULL,
            precedence[i].route ? whole->route : NULL,
            precedence[i].consumer ? whole->consumer : NULL,
        };
        if (precedence[i].consumer && whole->consumer == NULL)
            continue;
        const struct plugin *p = map_get(&index->scopes, view_of(&scope, sizeof scope));
        if (p != NULL)
            return p;
    }
    return NULL;
}

void plugin_chain_find(const struct plugin_index *index, const struct service *service,
                       const struct route *route, const struct consumer *consumer,
                       struct plugin_chain *out)
{
    *out = (struct plugin_chain){{NULL}, 0};
    for (size_t kind = 0; kind < PLUGIN_KINDS; kind++) {
        const struct scope whole = {kind, service, route, consumer};
        const struct plugin *p = index->kinds[kind] ? find(index, &whole) : NULL;
        if (p != NULL)
            out->items[out->count++] = p;
    }
}
