/*
 * From a verified caller and a route to a decision, made once for each token and route and kept
 * with the token, together with what every further call of the two needs: the audit's fragments
 * and the claims that go to the database.
 *
 * A worker's thread only; the caches live in the known caller and go with it.
 */
#ifndef SALLYPORT_GATEWAY_AUTHORIZE_H
#define SALLYPORT_GATEWAY_AUTHORIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "gateway/snapshot.h"
#include "identity/token_cache.h"
#include "model/entities.h"

extern const struct fault authorize_no_token;       /* 401: no Authorization header */
extern const struct fault authorize_malformed;      /* 401: not one "Bearer TOKEN" */
extern const struct fault authorize_no_consumer;    /* 403 */
extern const struct fault authorize_role_twice;     /* 400: Sallyport-Role more than once */
extern const struct fault authorize_no_route;       /* 404 */
extern const struct fault authorize_no_method;      /* 405 */
extern const struct fault authorize_denied;         /* 403 */

#define NO_ROLE ((size_t)-1)

struct cached_decision {
    const struct compiled_route *route; /* the key */
    bool allowed;
    bool visible;            /* some role that the caller holds covers the route */
    const struct role *role; /* NULL when denied */
    size_t role_index;       /* in the entities; NO_ROLE when denied */
    struct view reason;
    struct view fragment;    /* of the audit */
    struct view claims;      /* JSON, for request.jwt.claims */
    const struct plugin_chain *plugins; /* NULL: none */
    /* The route's logins are by a session of the caller's own: this one. */
    bool per_caller;
    struct db_session_identity session;
};

/* "Bearer TOKEN" (RFC 6750 section 2.1); the scheme in any case (RFC 9110 section 11.1). */
err bearer_token(struct view authorization, bool twice, struct view *token) MUST_USE;

/* The trace id of a traceparent (W3C Trace Context, version 00) or of X-Amzn-Trace-Id's Root;
 * {NULL, 0} when neither is well-formed.  A view of its input. */
struct view trace_id_of(struct view traceparent, struct view amzn_trace_id);

/* Of a verified token, first of all: finds its consumer.  Its principal is known to the others only
 * after that. */
err authorize_caller(const struct snapshot *s, struct known_caller *caller) MUST_USE;

/* *out lives as long as the caller, or, when a role was named, as the arena. */
err authorize_call(struct arena *arena, const struct snapshot *s, struct known_caller *caller,
                   const struct compiled_route *route, struct view method,
                   struct view named_role, const struct cached_decision **out) MUST_USE;

/* The principal's part of every audit record of this token. */
struct view caller_fragment(const struct known_caller *caller);

/* Those of the allowed methods of a path whose route the caller may see: "GET, POST"; empty: none. */
struct view visible_methods(struct arena *arena, const struct snapshot *s,
                            const struct known_caller *caller, struct view path,
                            struct view allow);

#endif
