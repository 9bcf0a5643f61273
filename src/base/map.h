/*
 * A hash map from byte strings to pointers: open addressing, keyed SipHash-1-3, so that a caller
 * who chooses the keys cannot choose the collisions.
 *
 * The map owns neither: the key's bytes must live as long as the entry, which is easiest when they
 * stand in the value.  One thread at a time.
 */
#ifndef SALLYPORT_BASE_MAP_H
#define SALLYPORT_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    size_t tombs;
};

void map_init(struct map *m);
void map_clear(struct map *m);
/* The value, or NULL. */
void *map_get(const struct map *m, struct view key);
/* Adds or replaces; the value is not NULL.  False when there is no memory, with nothing changed. */
bool map_put(struct map *m, struct view key, void *value) MUST_USE;
/* Takes the entry out and returns its value, or NULL when there was none. */
void *map_remove(struct map *m, struct view key);
/* Visits every entry in no order: start with *at = 0; NULL ends.  No changes meanwhile. */
void *map_next(const struct map *m, size_t *at);

/* The hash itself, under the process's random key. */
uint64_t map_hash(struct view key);

#endif
