/*
 * What the plugins of a call say to it: nothing, or a refusal.
 *
 * They are asked once the caller is known and a role of theirs allows the call, before anything of
 * it reaches the database.  Pure but for the counters of rate-limiting, which come in.
 */
#ifndef SALLYPORT_PLUGINS_DECIDE_H
#define SALLYPORT_PLUGINS_DECIDE_H

#include "limit/windows.h"
#include "model/principal.h"
#include "plugins/scope.h"

extern const struct fault plugin_ip_restriction;
extern const struct fault plugin_request_size_limiting;
extern const struct fault plugin_request_length_required;
extern const struct fault plugin_rate_limiting;
extern const struct fault plugin_request_termination;

/* What is known of the request. */
struct plugin_request {
    const struct address *peer; /* of the connection */
    const struct principal *principal;
    const struct service *service;
    struct view method;
    struct view path; /* decoded */
    bool has_length;  /* Content-Length, which is right */
    bool chunked;
    bool expects;     /* Expect: 100-continue */
    uint64_t content_length;
    int64_t now_s;
    struct window_limiter *windows;
    /* Whether there is a header, and its first value; whether there is a query parameter. */
    bool (*header)(void *arg, struct view name, struct view *value);
    bool (*parameter)(void *arg, struct view name);
    void *arg;
};

enum { PLUGIN_HEADERS_MAX = 3 + 2 * PERIODS };

/* Of a call's plugins, taken together.  Views live in the arena, or in the plugins. */
struct plugin_verdict {
    const struct plugin *refusing; /* NULL: none refuses */
    const struct fault *fault;     /* why; its status and text are those below */
    int status;
    struct view message;           /* absent: the status alone says it */
    struct view body;              /* in place of a problem; absent: a problem */
    struct view content_type;
    int64_t retry_after_s;         /* 0: none is told */
    /* Of the answer, whether refused or not. */
    struct {
        struct view name, value;
    } headers[PLUGIN_HEADERS_MAX];
    size_t header_count;
    const struct plugin *sizing; /* its max_bytes bounds the body; NULL: none does */
};

/* One after the other until one refuses. */
void plugins_decide(struct arena *arena, const struct plugin_chain *chain,
                    const struct plugin_request *request, struct plugin_verdict *out);

/* The refusal of a body that grew beyond what `sizing` allows. */
void plugins_refuse_body(const struct plugin *sizing, bool expects, struct plugin_verdict *out);

#endif
