/*
 * The seam through which rooms without sockets ask for something over HTTP: OIDC discovery, JWKS,
 * AWS.  `net` gives the real one; tests put in their own.
 */
#ifndef SALLYPORT_BASE_FETCH_H
#define SALLYPORT_BASE_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/view.h"

struct fetch_header {
    struct view name;
    struct view value;
};

/* Everything is copied before `start` returns. */
struct fetch_request {
    struct view method; /* "GET", "POST" */
    struct view url;    /* https, or http to loopback and link-local addresses only */
    const struct fetch_header *headers;
    size_t header_count;
    struct view body;
    struct view ca_file; /* absent: the system's certificate authorities */
    int64_t timeout_ms;  /* for the whole exchange */
    size_t max_bytes;    /* of the answer's body; more is an error */
};

struct fetch_response {
    int status;
    struct view body;
    int64_t max_age_s; /* of Cache-Control; -1: not said */
};

/* Called once, on the thread of the loop that the fetcher belongs to, never from within start.
 * `response` is NULL when e says failure; its views live until the callback returns.  detail says
 * more about a failure, for the log. */
typedef void fetch_done(void *arg, err e, const char *detail, const struct fetch_response *response);

struct fetcher {
    void (*start)(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                  void *arg);
};

#endif
