/*
 * A connection's worth of bytes through the codec, in steps of any size, and what came of it as
 * one line of text: "METHOD target [body]" for each whole request, then nothing, "incomplete" or
 * the fault's name.  The same line must come whatever the steps.
 */
#ifndef SALLYPORT_TESTS_HTTP_CONNECTION_H
#define SALLYPORT_TESTS_HTTP_CONNECTION_H

#include <stdlib.h>

#include "http/http.h"

enum { CONNECTION_MAX_BODY = 64, CONNECTION_MAX_HEADERS = 12 };

struct connection {
    struct buf story;
    struct buf received; /* not yet consumed */
    struct buf body;
    struct http_scan scan;
    struct http_body decoder;
    bool in_body;
    bool ended; /* by a fault */
};

static inline void connection_refuse(struct connection *c, err e)
{
    buf_printf(&c->story, "%s%s", c->story.len > 0 ? " " : "", e.fault->name);
    c->ended = true;
}

static inline bool connection_head(struct connection *c)
{
    static const struct http_limits limits = {200, 600};
    struct http_header headers[CONNECTION_MAX_HEADERS];
    struct http_request request;
    size_t used;
    err e = http_parse_head(&c->scan, buf_view(&c->received), &limits, headers, COUNT_OF(headers),
                            &request, &used);
    if (!failed(e) && used == 0)
        return false;
    if (!failed(e)) {
        buf_printf(&c->story, "%s%.*s %.*s", c->story.len > 0 ? " " : "", VIEW_ARG(request.method),
                   VIEW_ARG(request.target));
        e = http_body_init(&c->decoder, &request, CONNECTION_MAX_BODY);
    }
    if (failed(e)) {
        connection_refuse(c, e);
        return false;
    }
    buf_consume(&c->received, used);
    c->scan = (struct http_scan){0};
    c->in_body = true;
    return true;
}

static inline bool connection_body(struct connection *c)
{
    size_t used;
    bool done;
    err e = http_body_feed(&c->decoder, buf_view(&c->received), &used, &c->body, &done);
    buf_consume(&c->received, used);
    if (failed(e)) {
        connection_refuse(c, e);
        return false;
    }
    if (!done)
        return false;
    buf_add_str(&c->story, " [");
    buf_add_view(&c->story, buf_view(&c->body));
    buf_add_char(&c->story, ']');
    buf_reset(&c->body);
    c->in_body = false;
    return true;
}

/* The story, to be freed by the caller with buf_clear. */
static inline struct buf connection_run(struct view input, size_t step)
{
    struct connection c = {.in_body = false};
    buf_init(&c.story, SIZE_MAX);
    buf_init(&c.received, SIZE_MAX);
    buf_init(&c.body, CONNECTION_MAX_BODY);
    while (input.len > 0 && !c.ended) {
        buf_add_view(&c.received, view_upto(input, step));
        input = view_from(input, step);
        while (!c.ended && (c.in_body ? connection_body(&c) : connection_head(&c)))
            ;
    }
    if (!c.ended && (c.in_body || c.received.len > 0))
        buf_add_str(&c.story, c.story.len > 0 ? " incomplete" : "incomplete");
    if (buf_failed(&c.story) || buf_failed(&c.received) || buf_failed(&c.body))
        abort();
    buf_clear(&c.received);
    buf_clear(&c.body);
    return c.story;
}

#endif
