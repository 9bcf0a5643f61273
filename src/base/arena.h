/*
 * An arena: memory that dies together, of one request, one message or one configuration.
 *
 * Allocations are aligned for any type and never freed alone.  arena_reset forgets all of them,
 * runs the cleanups newest first, and keeps the first block for the next turn.  The arena has a
 * maximum at birth.  One thread at a time.
 *
 * An arena that has become large, as that of a configuration, goes on in blocks of pages of its
 * own, huge ones where the kernel has them: they are made and given back at a fraction of the cost.
 */
#ifndef SALLYPORT_BASE_ARENA_H
#define SALLYPORT_BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"
#include "base/view.h"

struct arena_block;
struct arena_cleanup;

struct arena {
    struct arena_block *blocks; /* newest first */
    struct arena_cleanup *cleanups;
    size_t block_bytes;
    size_t total_bytes;
    size_t max_bytes;
};

/* Blocks of block_bytes (a larger request gets its own), max_bytes in all.  Allocates nothing. */
void arena_init(struct arena *a, size_t block_bytes, size_t max_bytes);
void arena_clear(struct arena *a);
/* The same, wiping what was there first.  (arena_reset wipes nothing.) */
void arena_clear_secure(struct arena *a);
void arena_reset(struct arena *a);

/* Uninitialised, or zeroed; NULL when the maximum is met or there is no memory. */
void *arena_alloc(struct arena *a, size_t size) MUST_USE;
void *arena_zalloc(struct arena *a, size_t size) MUST_USE;
/* Zeroed room for count things of the size; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t count, size_t size) MUST_USE;
/* A NUL-terminated copy; {NULL, 0} when there is no room (an empty view gives {"", 0}). */
struct view arena_copy(struct arena *a, struct view v);
struct view arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
/* Runs fn(data) at the next reset or clear; false when there is no room to remember it. */
bool arena_on_reset(struct arena *a, void (*fn)(void *data), void *data) MUST_USE;

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, count, type) ((type *)arena_array((arena), (count), sizeof(type)))

#endif
