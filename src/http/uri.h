/*
 * Paths and queries of a request target (RFC 3986), decoded once and only piece by piece: split
 * first, decode after, so that an encoded separator can never become one.
 *
 * Raw text comes from http_request.path and .query.  Pure; any thread.
 */
#ifndef SALLYPORT_HTTP_URI_H
#define SALLYPORT_HTTP_URI_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

/* All 400. */
extern const struct fault uri_bad_path;          /* does not begin with '/', or a raw '\' */
extern const struct fault uri_bad_escape;        /* '%' without two hexadecimal digits */
extern const struct fault uri_nul;               /* %00 */
extern const struct fault uri_encoded_separator; /* %2F or %5C within a segment */
extern const struct fault uri_not_utf8;
extern const struct fault uri_dot_segment;   /* "." or "..", also as %2e */
extern const struct fault uri_empty_segment; /* "//" */

/* Whether the raw path may be routed: begins with '/', no dot segment in any spelling, no "//" (one
 * '/' at the end is fine), every escape valid and none of them %00, %2F or %5C. */
err uri_path_check(struct view raw_path) MUST_USE;

/* Takes the next segment off the rest: start with *rest = the raw path ("/a/b" gives "a", "b";
 * "/a/" gives "a", ""; "/" gives "").  False at the end. */
bool uri_path_next(struct view *rest, struct view *raw_segment);

/* Percent-decodes one segment.  Without an escape *out is raw itself; else a copy in the arena. */
err uri_decode_segment(struct arena *arena, struct view raw, struct view *out) MUST_USE;

/* Takes the next name=value off the rest: start with *rest = the raw query.  Empty pieces ("&&")
 * are passed over; without '=', *raw_value is {NULL,0}.  False at the end. */
bool uri_query_next(struct view *rest, struct view *raw_name, struct view *raw_value);

/* Decodes one name or value of a query: percent escapes, and '+' for a blank (the form encoding of
 * the URL standard).  Encoded '/' and '\' are fine here.  Lifetime as for a segment. */
err uri_decode_query(struct arena *arena, struct view raw, struct view *out) MUST_USE;

#endif
