/*
 * One call: what was asked, by whom, what was decided, and the answer.  A door makes it, the
 * pipeline fills it, the door sends the answer and frees it.  One worker's thread only.
 */
#ifndef SALLYPORT_GATEWAY_CALL_H
#define SALLYPORT_GATEWAY_CALL_H

#include "base/arena.h"
#include "base/buf.h"
#include "database/database.h"
#include "gateway/parameters.h"
#include "gateway/problem.h"
#include "gateway/worker.h"
#include "json/json.h"
#include "plugins/decide.h"

enum { REQUEST_ID_BYTES = 24, ANSWER_HEADERS_MAX = 6 + PLUGIN_HEADERS_MAX };

struct call_request {
    struct view method;
    struct view path;  /* raw */
    struct view query; /* raw */
    struct view authorization;
    bool authorization_twice;
    struct view named_role; /* Sallyport-Role */
    bool named_role_twice;
    struct view traceparent;
    struct view amzn_trace_id;
    struct view content_type;
    struct header_source headers;
    struct view source; /* the audit's fragment of the client's connection */
    const struct address *peer;
    bool (*has_parameter)(void *ctx, struct view name); /* in the query; ctx is headers' */
    bool has_length; /* Content-Length */
    bool chunked;
    bool expects; /* Expect: 100-continue */
    uint64_t content_length;
};

struct answer {
    int status;
    struct view content_type;
    struct buf body;
    struct http_header headers[ANSWER_HEADERS_MAX];
    size_t header_count;
};

struct cached_decision;

struct call {
    struct db_call db;
    struct result_sink sink;
    struct list link; /* among the worker's idle calls */
    struct worker *worker;
    struct arena arena;
    void (*answered)(struct call *call);
    void *door; /* NULL: the caller left */
    struct call_request request;
    struct snapshot *snapshot;
    struct known_caller *caller;
    const struct compiled_route *route;
    const struct cached_decision *decision;
    const struct plugin *refusing; /* NULL: none did */
    const struct plugin *sizing; /* bounds the body; NULL: sallyport.conf alone does */
    struct router_match match;
    struct json_names names;
    struct answer answer;
    char request_id[REQUEST_ID_BYTES + 1];
    struct view trace_id;
    int64_t started_ns;
    bool head; /* HEAD: as GET, without the body */
    bool running;
    bool retried;
    bool unrecorded;      /* the audit could not take its outcome: no answer */
    bool outcome_pending; /* an outcome was appended and is not yet in the kernel */
};

/* Under a fresh request id and the worker's snapshot; NULL without memory. */
struct call *call_new(struct worker *w, void (*answered)(struct call *call), void *door);
/* The call is not running. */
void call_free(struct call *call);
/* The caller left: frees the call, at once or when what runs has ended. */
void call_abandon(struct call *call);

/* The answer: a problem, or what a fault says to a caller; and one header more of either. */
void answer_problem(struct call *call, const struct problem *problem);
void answer_fault(struct call *call, err why);
void answer_add_header(struct answer *a, struct view name, struct view value);

#endif
