/*
 * From a method and a path to a route.
 *
 * A template is a whole path: "/orders/{id}/lines".  Each segment is literal or one placeholder,
 * which takes any one segment that is not empty.  A literal segment beats a placeholder, decided
 * segment by segment from the left, whatever the method: when "/orders/new" knows GET alone, DELETE
 * /orders/new is a 405 even where "/orders/{id}" has a DELETE.  Paths are exact: "/orders/" is not
 * "/orders".
 *
 * The path is split raw and each segment is percent-decoded by itself before it is compared, so an
 * encoded '/' never splits one; what a placeholder took is given raw, as a view of the path.
 *
 * HEAD is served by GET's route unless a route names HEAD.  OPTIONS is the door's.
 *
 * Built once for a configuration, never changed after; any thread may match at once.
 */
#ifndef SALLYPORT_GATEWAY_ROUTER_H
#define SALLYPORT_GATEWAY_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"
#include "model/entities.h"

enum {
    ROUTER_MAX_SEGMENTS = 32, /* a longer path matches nothing: bounds the work per request */
    ROUTER_MAX_CAPTURES = 16,
    ROUTER_MAX_LITERAL_BYTES = 255, /* of a template's segment */
};

struct router;

/* What a placeholder took. */
struct capture {
    struct view name; /* lives as long as the entities */
    struct view raw;  /* still percent-encoded; a view of the path that was matched */
};

struct router_match {
    const struct route *route; /* NULL unless ROUTER_FOUND */
    struct capture captures[ROUTER_MAX_CAPTURES];
    size_t capture_count;
    struct view allow; /* "GET, HEAD, POST"; unless ROUTER_NO_PATH.  Lives as long as the router. */
};

enum router_answer {
    ROUTER_FOUND,
    ROUTER_NO_PATH,   /* 404 */
    ROUTER_NO_METHOD, /* 405, with allow */
};

/*
 * Lives in the arena, and refers to the entities, which must live as long.  What is wrong with a
 * template, and every two routes of the same method and shape, goes to the diagnostics (file may be
 * absent); *out is usable in any case, the earlier of two routes winning, so that all mistakes can
 * be shown at once.  Fails only for want of memory, *out NULL.
 */
err router_build(struct arena *arena, const struct entities *entities, struct view file,
                 struct diagnostics *diagnostics, const struct router **out) MUST_USE;

/* raw_path: from the request line, without the query; one that uri_path_check refuses, or with an
 * escape that can't be decoded, matches nothing. */
enum router_answer router_match(const struct router *router, struct view method,
                                struct view raw_path, struct router_match *out);

#endif
