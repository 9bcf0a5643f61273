/*
 * The one pipeline behind every door: identify, authorize, admit, bind, intent, execute, outcome.
 *
 *     call = call_new(worker, answered, door);
 *     if (!pipeline_admit(call, &request))  answer is ready: a refusal
 *     else if (!pipeline_run(call, body))   answer is ready: a refusal
 *     else                                  answered(call) follows
 *     … send call->answer …
 *     call_free(call)                       or, when the caller left meanwhile: call_abandon(call)
 *
 * The views of the request stay valid until the call is answered, freed or abandoned.
 */
#ifndef SALLYPORT_GATEWAY_PIPELINE_H
#define SALLYPORT_GATEWAY_PIPELINE_H

#include "base/arena.h"
#include "base/buf.h"
#include "database/database.h"
#include "gateway/parameters.h"
#include "gateway/worker.h"
#include "json/json.h"

enum { REQUEST_ID_BYTES = 24, ANSWER_HEADERS_MAX = 6 };

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

/* NULL without memory. */
struct call *call_new(struct worker *w, void (*answered)(struct call *call), void *door);
bool pipeline_admit(struct call *call, const struct call_request *request) MUST_USE;
bool pipeline_run(struct call *call, struct view body) MUST_USE;
void call_abandon(struct call *call);
void call_free(struct call *call);

/* An answer for a request that is not run after all: malformed HTTP, a body too large or too slow.
 * Audited as a denial once the caller is known. */
void call_refuse(struct call *call, err why);

#endif
