/*
 * What a new snapshot takes over from the one before it: the analysis of statements that are the
 * same to the letter, which costs most of a load, and what the database said of them.
 *
 * A route is the same one when its name and its SQL are.  Texts are copied: the snapshots share no
 * memory.  While a snapshot is compiled, by that thread.
 */
#ifndef SALLYPORT_GATEWAY_REUSE_H
#define SALLYPORT_GATEWAY_REUSE_H

#include "base/map.h"
#include "gateway/snapshot.h"

struct reuse {
    const struct snapshot *before; /* NULL: nothing to take over */
    struct map routes;             /* by name */
    struct map roles;              /* by name */
};

/* False without memory; to be cleared even so. */
bool reuse_init(struct reuse *u, const struct snapshot *before) MUST_USE;
void reuse_clear(struct reuse *u);

/* The route as it was; NULL when there was none, or with another statement. */
const struct compiled_route *reuse_route(const struct reuse *u, const struct route *now);

/* False without memory. */
bool reuse_analysis(struct arena *arena, const struct compiled_route *before,
                    struct compiled_route *now) MUST_USE;

/* The key of the statement as this role, when nothing that it is made of has changed, and what the
 * database said of it, when it goes to the same broker.  False: *as is as it was. */
bool reuse_role(const struct reuse *u, const struct compiled_route *before,
                const struct compiled_route *now, const struct role *role, struct route_role *as);

#endif
