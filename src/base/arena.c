#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/secret.h"

enum {
    LARGE_FROM_BYTES = 2 << 20,
    LARGE_BYTES = 8 << 20, /* some huge pages of x86-64, wherever it begins */
};

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    size_t mapped; /* bytes of a mapping of its own; 0: malloc's */
    alignas(max_align_t) char bytes[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *data);
    void *data;
};

void arena_init(struct arena *a, size_t block_bytes, size_t max_bytes)
{
    *a = (struct arena){.block_bytes = block_bytes, .max_bytes = max_bytes};
}

static void run_cleanups(struct arena *a)
{
    while (a->cleanups != NULL) {
        struct arena_cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->data);
    }
}

static void free_block(struct arena_block *b)
{
    if (b->mapped > 0)
        munmap(b, b->mapped);
    else
        free(b);
}

void arena_clear(struct arena *a)
{
    run_cleanups(a);
    while (a->blocks != NULL) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        free_block(b);
    }
    a->total_bytes = 0;
}

void arena_clear_secure(struct arena *a)
{
    run_cleanups(a); /* they stand in the blocks */
    for (struct arena_block *b = a->blocks; b != NULL; b = b->next)
        secret_wipe(b->bytes, b->used);
    arena_clear(a);
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    if (a->blocks == NULL)
        return;
    while (a->blocks->next != NULL) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        a->total_bytes -= b->size;
        free_block(b);
    }
    /* The oldest block stays, unless it is one that a single large request asked for. */
    if (a->blocks->size > a->block_bytes)
        arena_clear(a);
    else
        a->blocks->used = 0;
}

static struct arena_block *map_block(void)
{
    struct arena_block *b =
        mmap(NULL, LARGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (b == MAP_FAILED)
        return NULL;
    (void)madvise(b, LARGE_BYTES, MADV_HUGEPAGE); /* a wish */
    return b;
}

static struct arena_block *new_block(struct arena *a, size_t need)
{
    size_t size = need > a->block_bytes ? need : a->block_bytes;
    const size_t large = LARGE_BYTES - sizeof(struct arena_block);
    bool map = a->total_bytes >= LARGE_FROM_BYTES && size <= large &&
               large <= a->max_bytes - a->total_bytes;

    if (map)
        size = large;
    if (size > a->max_bytes - a->total_bytes)
        size = need;
    if (size > a->max_bytes - a->total_bytes)
        return NULL;
    struct arena_block *b = map ? map_block() : malloc(sizeof *b + size);
    if (b == NULL)
        return NULL;
    *b = (struct arena_block){.next = a->blocks, .size = size, .mapped = map ? LARGE_BYTES : 0};
    a->blocks = b;
    a->total_bytes += size;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = alignof(max_align_t);

    if (size > SIZE_MAX - align)
        return NULL;
    size = (size + align - 1) / align * align;
    struct arena_block *b = a->blocks;
    if (b == NULL || size > b->size - b->used) {
        b = new_block(a, size);
        if (b == NULL)
            return NULL;
    }
    void *at = b->bytes + b->used;
    b->used += size;
    return at;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *at = arena_alloc(a, size);
    return at == NULL ? NULL : memset(at, 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return arena_zalloc(a, count * size);
}

struct view arena_copy(struct arena *a, struct view v)
{
    char *at = v.len == SIZE_MAX ? NULL : arena_alloc(a, v.len + 1);

    if (at == NULL)
        return (struct view){NULL, 0};
    if (v.len > 0)
        memcpy(at, v.data, v.len);
    at[v.len] = '\0';
    return (struct view){at, v.len};
}

struct view arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = len < 0 ? NULL : arena_alloc(a, (size_t)len + 1);
    if (at == NULL)
        return (struct view){NULL, 0};
    va_start(args, format);
    vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    return (struct view){at, (size_t)len};
}

bool arena_on_reset(struct arena *a, void (*fn)(void *data), void *data)
{
    struct arena_cleanup *c = ARENA_NEW(a, struct arena_cleanup);

    if (c == NULL)
        return false;
    *c = (struct arena_cleanup){a->cleanups, fn, data};
    a->cleanups = c;
    return true;
}
