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

#include "gateway/call.h"

/* Who calls, which route, may they, how often. */
bool pipeline_admit(struct call *call, const struct call_request *request) MUST_USE;
/* The parameters, the intent, the statement. */
bool pipeline_run(struct call *call, struct view body) MUST_USE;

/* How large a body may be, once the call is admitted. */
uint64_t pipeline_max_body(const struct call *call);

/* An answer for a request that is not run after all: malformed HTTP, a body too large or too slow.
 * Audited as a denial once the caller is known. */
void pipeline_refuse(struct call *call, err why);

#endif
