/*
 * A growing byte buffer with a maximum set at birth.
 *
 * Growth doubles the capacity, never past max.  An append that does not fit, or for which there is
 * no memory, appends nothing and marks the buffer failed; later appends are then ignored, so a
 * writer may append a whole message and ask buf_failed() once.  Owner: whoever called buf_init.
 * One thread at a time.
 */
#ifndef SALLYPORT_BASE_BUF_H
#define SALLYPORT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

/* An empty buffer that will never hold more than max_bytes.  Allocates nothing yet. */
void buf_init(struct buf *b, size_t max_bytes);
/* Frees the memory; the buffer is then as after buf_init with the same maximum. */
void buf_clear(struct buf *b);
/* The same, wiping what was there first. */
void buf_clear_secure(struct buf *b);
/* Empties the buffer and takes the failed mark off; keeps the memory. */
void buf_reset(struct buf *b);

static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}

static inline struct view buf_view(const struct buf *b)
{
    return (struct view){b->data, b->len};
}

/* Room for at least n more bytes at data + len, or false (and failed).  The caller writes there
 * and then adds to len. */
bool buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_view(struct buf *b, struct view v);
void buf_add_str(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t n);
void buf_add_i64(struct buf *b, int64_t n);
void buf_add_hex(struct buf *b, const void *data, size_t len); /* lower case */
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Big-endian integers, as network protocols write them. */
void buf_add_be16(struct buf *b, uint16_t n);
void buf_add_be32(struct buf *b, uint32_t n);
/* Overwrites four bytes that were added before, at the given offset. */
void buf_set_be32(struct buf *b, size_t at, uint32_t n);
/* Drops the first n bytes (n <= len) and moves the rest to the front. */
void buf_consume(struct buf *b, size_t n);
/* Cuts the buffer back to len bytes (len <= the present length). */
void buf_truncate(struct buf *b, size_t len);

#endif
