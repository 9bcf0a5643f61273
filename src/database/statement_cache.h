/*
 * The prepared statements of one backend connection: by the key of (text, types, role,
 * search_path), bounded, the least recently used closed first.
 *
 * One name for each role: a plan that two roles share is planned anew at every change of role when
 * row level security is involved.
 */
#ifndef SALLYPORT_DATABASE_STATEMENT_CACHE_H
#define SALLYPORT_DATABASE_STATEMENT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/cell.h"
#include "base/list.h"
#include "base/map.h"
#include "database/database.h"

struct prepared {
    struct list lru;
    uint8_t key[DB_KEY_BYTES];
    char name[24];
    bool parsed;          /* the server said ParseComplete */
    bool described;       /* columns are known; none for a statement without rows */
    struct arena arena;   /* of the columns */
    struct column *columns;
    size_t column_count;
    unsigned uses;  /* calls outstanding that read it */
    bool forgotten; /* out of the cache; goes with its last use */
};

struct statement_cache {
    struct map map;
    struct list lru; /* most recent first */
    size_t max;
    uint64_t names; /* ever given */
};

void statement_cache_init(struct statement_cache *c, size_t max);
void statement_cache_clear(struct statement_cache *c);
/* The statement, now the most recent; NULL when it is not there. */
struct prepared *statement_cache_get(struct statement_cache *c, const uint8_t key[DB_KEY_BYTES]);
/* A new one under a fresh name; NULL without memory. */
struct prepared *statement_cache_add(struct statement_cache *c, const uint8_t key[DB_KEY_BYTES]);
/* When the cache is full: takes the least recently used that no call reads out of it; the caller
 * sends Close for its name and frees it.  NULL: nothing to close. */
struct prepared *statement_cache_evict(struct statement_cache *c);
/* Takes one out of the cache; it is freed when its last use ends (prepared_release). */
void statement_cache_forget(struct statement_cache *c, struct prepared *p);
void prepared_free(struct prepared *p);
/* Ends one use. */
void prepared_release(struct prepared *p);

#endif
