/*
 * A cursor over one message's body, for the codec's own files.
 *
 * A read past the end, or of something that is not there, gives zeros and marks the cursor failed;
 * so a message is read field by field and judged once, by reader_end, which also proves that
 * nothing is left over.
 */
#ifndef SALLYPORT_PG_READER_H
#define SALLYPORT_PG_READER_H

#include "pg/pg.h"

struct reader {
    struct view left;
    bool failed;
};

static inline uint16_t be16_at(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint16_t)(u[0] << 8 | u[1]);
}

static inline uint32_t be32_at(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* The next n bytes; {"", 0} and failed when there are fewer. */
static inline struct view read_bytes(struct reader *r, size_t n)
{
    if (r->failed || n > r->left.len) {
        r->failed = true;
        return VIEW("");
    }
    struct view v = {r->left.data, n};
    r->left = view_from(r->left, n);
    return v;
}

static inline uint8_t read_u8(struct reader *r)
{
    struct view v = read_bytes(r, 1);
    return r->failed ? 0 : (uint8_t)v.data[0];
}

static inline uint16_t read_be16(struct reader *r)
{
    struct view v = read_bytes(r, 2);
    return r->failed ? 0 : be16_at(v.data);
}

static inline uint32_t read_be32(struct reader *r)
{
    struct view v = read_bytes(r, 4);
    return r->failed ? 0 : be32_at(v.data);
}

/* A String: up to its NUL, which is taken too and is not part of the view. */
static inline struct view read_string(struct reader *r)
{
    size_t len = view_find(r->left, '\0');
    struct view v = read_bytes(r, len);
    (void)read_u8(r);
    return v;
}

static inline MUST_USE err reader_end(const struct reader *r)
{
    return r->failed || r->left.len > 0 ? fail(&pg_message_malformed) : OK;
}

#endif
