#include "database/statement_cache.h"

#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS_BLOCK_BYTES = 1024, COLUMNS_MAX_BYTES = 1024 * 1024 };

static struct view key_of(const struct prepared *p)
{
    return view_of(p->key, sizeof p->key);
}

void statement_cache_init(struct statement_cache *c, size_t max)
{
    map_init(&c->map);
    list_init(&c->lru);
    c->max = max;
    c->names = 0;
}

void prepared_free(struct prepared *p)
{
    arena_clear(&p->arena);
    free(p);
}

void statement_cache_clear(struct statement_cache *c)
{
    for (struct list *node; (node = list_pop_front(&c->lru)) != NULL;)
        prepared_free(LIST_ENTRY(node, struct prepared, lru));
    map_clear(&c->map);
}

struct prepared *statement_cache_get(struct statement_cache *c, const uint8_t key[DB_KEY_BYTES])
{
    struct prepared *p = map_get(&c->map, view_of(key, DB_KEY_BYTES));

    if (p != NULL && c->lru.next != &p->lru) {
        list_unlink(&p->lru);
        list_push_front(&c->lru, &p->lru);
    }
    return p;
}

struct prepared *statement_cache_add(struct statement_cache *c, const uint8_t key[DB_KEY_BYTES])
{
    struct prepared *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    memcpy(p->key, key, DB_KEY_BYTES);
    snprintf(p->name, sizeof p->name, "s%llu", (unsigned long long)++c->names);
    arena_init(&p->arena, COLUMNS_BLOCK_BYTES, COLUMNS_MAX_BYTES);
    if (!map_put(&c->map, key_of(p), p)) {
        free(p);
        return NULL;
    }
    list_init(&p->lru);
    list_push_front(&c->lru, &p->lru);
    return p;
}

static void take_out(struct statement_cache *c, struct prepared *p)
{
    map_remove(&c->map, key_of(p));
    list_unlink(&p->lru);
}

struct prepared *statement_cache_evict(struct statement_cache *c)
{
    if (c->map.count < c->max)
        return NULL;
    for (struct list *node = c->lru.prev; node != &c->lru; node = node->prev) {
        struct prepared *p = LIST_ENTRY(node, struct prepared, lru);
        if (p->uses == 0) {
            take_out(c, p);
            return p;
        }
    }
    return NULL;
}

void statement_cache_forget(struct statement_cache *c, struct prepared *p)
{
    if (p->forgotten)
        return;
    take_out(c, p);
    p->forgotten = true;
    if (p->uses == 0)
        prepared_free(p);
}

void prepared_release(struct prepared *p)
{
    p->uses--;
    if (p->forgotten && p->uses == 0)
        prepared_free(p);
}
