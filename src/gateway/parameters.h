/*
 * From a request to the values of a statement's parameters.
 *
 * Each parameter has exactly one source.  What the caller sends beyond the declared parameters is a
 * mistake, not noise: a name that is unknown, or given twice, in the query or the body is refused
 * and named.  Headers are the exception: only those asked for are looked at, and one of those given
 * twice is refused.
 *
 * A body is a JSON object (application/json) or a form (application/x-www-form-urlencoded).  JSON
 * null is SQL NULL; a number keeps its text; true and false are text; an array becomes an array
 * literal for an array type and stays JSON for json and jsonb; an object is only for json and
 * jsonb.  A JSON string for json or jsonb stays JSON (with its quotes).  Form, query, path and
 * header values are text: for an array type, PostgreSQL's array literal.  A claim is taken as a
 * JSON value of a body would be, but a claim that is null is one that is missing.
 *
 * A parameter that is not given is its default, or NULL when it is not required, or refused.  NULL
 * that was given is given.
 *
 * The types are looked up once, at load (parameters_compile); every value is checked against its
 * type before it goes anywhere.
 *
 * Pure.  Any thread.
 */
#ifndef SALLYPORT_GATEWAY_PARAMETERS_H
#define SALLYPORT_GATEWAY_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"
#include "gateway/router.h"
#include "model/entities.h"
#include "model/principal.h"

/* The caller's mistakes: 400, unless said otherwise. */
extern const struct fault parameter_missing;
extern const struct fault parameter_unknown;
extern const struct fault parameter_twice;
extern const struct fault parameter_bad_value;    /* not of the type */
extern const struct fault parameter_not_text;     /* NUL byte, ill-formed UTF-8, bad escape */
extern const struct fault parameter_body_syntax;  /* not JSON, or not an object */
extern const struct fault parameter_body_type;    /* 415: a body of another content type */
extern const struct fault parameter_body_unwanted; /* a body where no parameter comes from one */
/* Not the caller's mistake but the token's: 403. */
extern const struct fault parameter_claim_missing;
extern const struct fault parameter_claim_unfit;  /* a claim's value is not of the type */

struct bound_value {
    struct view text; /* PostgreSQL's text form; views of the request, the token, or the arena */
    bool is_null;
};

/* What a parameter's type means here. */
struct parameter_type {
    uint32_t oid;
    uint32_t element_oid; /* 0: not an array */
    bool json;            /* json or jsonb, or an array of these */
};

/* A header's value; false when absent.  *twice: given more than once. */
struct header_source {
    bool (*get)(void *ctx, struct view name, struct view *value, bool *twice);
    void *ctx;
};

/* All views outlive the bound values. */
struct parameter_input {
    const struct capture *captures;
    size_t capture_count;
    struct view raw_query; /* without the '?'; absent: none */
    struct view content_type;
    struct view body; /* absent or empty: none */
    const struct principal *principal;
    struct header_source headers;
};

/* Which parameter, and what is wrong with it, fit for the caller. */
struct parameter_error {
    struct view name;   /* absent: the body as a whole, or a claim, whose name is not told */
    struct view detail; /* a sentence; static or in the arena; it holds no value */
};

/*
 * At load: the types of the route's parameters, in their order, and everything that can be wrong
 * with them: an unknown type, a path parameter without its placeholder or a placeholder without its
 * parameter in any of the paths, two parameters of one name, a default that is not of its type.
 * False when an error was added to the diagnostics (or there was no memory).
 */
bool parameters_compile(struct arena *arena, const struct route *route, struct view file,
                        struct diagnostics *diagnostics, const struct parameter_type **types)
    MUST_USE;

/* The types and defaults alone, of a file that has other mistakes already.  Every parameter has a
 * name, a type and a source. */
void parameters_check(const struct route *route, struct view file, struct diagnostics *diagnostics);

/*
 * Fills out[i] for route->statement.parameters[i]; the caller has as many.  (Which of them is $n
 * is told by sql_named.names.)  On failure out is not to be used and *why is set.
 */
err parameters_bind(struct arena *arena, const struct route *route,
                    const struct parameter_type *types, const struct parameter_input *input,
                    struct bound_value *out, struct parameter_error *why) MUST_USE;

#endif
