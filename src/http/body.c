#include "http/http.h"

#include "http/chars.h"

enum {
    /* 16 hexadecimal digits fill 64 bits; more could only be leading zeros. */
    MAX_SIZE_DIGITS = 16,
    MAX_EXTENSION_BYTES = 4096, /* stops a body that is all extensions */
    MAX_TRAILER_BYTES = 4096,
};

/*
 *            ┌────────────────────────── DATA_LF ◄── DATA_CR ◄── DATA (size > 0)
 *            ▼                                                     ▲
 *     SIZE_FIRST ──► SIZE ──► EXTENSION ──► SIZE_LF ───────────────┤
 *                                                                  ▼ (size 0)
 *     DONE ◄── END_LF ◄────────────────────────────────────── TRAILER_FIRST ◄─┐
 *                                  TRAILER_NAME ──► TRAILER_VALUE ──► TRAILER_LF
 * DATA and LENGTH take runs of bytes; every other state takes one byte by its handler.
 */
enum body_state {
    DONE,
    FAILED,
    LENGTH,
    DATA,
    SIZE_FIRST,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

static err go(struct http_body *b, enum body_state next)
{
    b->state = (int)next;
    return OK;
}

static err size_first(struct http_body *b, char c)
{
    int value = http_hex(c);
    if (value < 0)
        return fail(c == '\n' ? &http_bare_lf : &http_bad_chunk);
    b->remaining = (uint64_t)value;
    b->digits = 1;
    return go(b, SIZE);
}

static err size(struct http_body *b, char c)
{
    int value = http_hex(c);
    if (value >= 0) {
        if (b->digits++ == MAX_SIZE_DIGITS)
            return fail(&http_bad_chunk);
        b->remaining = b->remaining << 4 | (uint64_t)value;
        return OK;
    }
    switch (c) {
    case '\r':
        return go(b, SIZE_LF);
    case ';':
        return go(b, EXTENSION);
    case '\n':
        return fail(&http_bare_lf);
    default:
        return fail(&http_bad_chunk);
    }
}

static err extension(struct http_body *b, char c)
{
    if (c == '\r')
        return go(b, SIZE_LF);
    if (c == '\n')
        return fail(&http_bare_lf);
    if (!http_is(c, HTTP_EXTENSION) || b->extension_bytes++ == MAX_EXTENSION_BYTES)
        return fail(&http_bad_chunk_extension);
    return OK;
}

static err size_lf(struct http_body *b, char c)
{
    if (c != '\n')
        return fail(&http_bare_cr);
    if (b->remaining > b->room)
        return fail(&http_body_too_large);
    b->room -= b->remaining;
    return go(b, b->remaining > 0 ? DATA : TRAILER_FIRST);
}

static err data_cr(struct http_body *b, char c)
{
    if (c == '\r')
        return go(b, DATA_LF);
    return fail(c == '\n' ? &http_bare_lf : &http_bad_chunk);
}

static err data_lf(struct http_body *b, char c)
{
    return c == '\n' ? go(b, SIZE_FIRST) : fail(&http_bare_cr);
}

static err trailer_first(struct http_body *b, char c)
{
    if (c == '\r')
        return go(b, END_LF);
    if (c == '\n')
        return fail(&http_bare_lf);
    return http_is(c, HTTP_TOKEN) ? go(b, TRAILER_NAME) : fail(&http_bad_trailer);
}

static err trailer_name(struct http_body *b, char c)
{
    if (c == ':')
        return go(b, TRAILER_VALUE);
    return http_is(c, HTTP_TOKEN) ? OK : fail(&http_bad_trailer);
}

static err trailer_value(struct http_body *b, char c)
{
    if (c == '\r')
        return go(b, TRAILER_LF);
    if (c == '\n')
        return fail(&http_bare_lf);
    return http_is(c, HTTP_VALUE) ? OK : fail(&http_bad_trailer);
}

static err trailer_lf(struct http_body *b, char c)
{
    return c == '\n' ? go(b, TRAILER_FIRST) : fail(&http_bare_cr);
}

static err end_lf(struct http_body *b, char c)
{
    return c == '\n' ? go(b, DONE) : fail(&http_bare_cr);
}

static err (*const handlers[])(struct http_body *b, char c) = {
    [SIZE_FIRST] = size_first,
    [SIZE] = size,
    [EXTENSION] = extension,
    [SIZE_LF] = size_lf,
    [DATA_CR] = data_cr,
    [DATA_LF] = data_lf,
    [TRAILER_FIRST] = trailer_first,
    [TRAILER_NAME] = trailer_name,
    [TRAILER_VALUE] = trailer_value,
    [TRAILER_LF] = trailer_lf,
    [END_LF] = end_lf,
};

err http_body_init(struct http_body *body, const struct http_request *request, uint64_t max_bytes)
{
    *body = (struct http_body){.room = max_bytes};
    if (request->chunked)
        return go(body, SIZE_FIRST);
    if (request->content_length > max_bytes) {
        body->state = FAILED;
        return fail(&http_body_too_large);
    }
    body->remaining = request->content_length;
    return go(body, body->remaining > 0 ? LENGTH : DONE);
}

/* A run of the body itself; returns its length. */
static size_t take_data(struct http_body *b, struct view in, struct buf *out)
{
    size_t n = in.len < b->remaining ? in.len : (size_t)b->remaining;
    buf_add(out, in.data, n);
    b->remaining -= n;
    if (b->remaining == 0)
        b->state = b->state == LENGTH ? DONE : DATA_CR;
    return n;
}

static err take_byte(struct http_body *b, char c)
{
    if (b->state >= TRAILER_NAME && b->state <= TRAILER_LF &&
        b->trailer_bytes++ == MAX_TRAILER_BYTES)
        return fail(&http_bad_trailer);
    return handlers[b->state](b, c);
}

err http_body_feed(struct http_body *body, struct view in, size_t *consumed, struct buf *out,
                   bool *done)
{
    size_t at = 0;
    err e = body->state == FAILED ? fail(&http_bad_chunk) : OK;

    while (!failed(e) && at < in.len && body->state != DONE) {
        if (body->state == LENGTH || body->state == DATA)
            at += take_data(body, view_from(in, at), out);
        else
            e = take_byte(body, in.data[at++]);
    }
    if (failed(e))
        body->state = FAILED;
    *consumed = at;
    *done = body->state == DONE;
    return e;
}
