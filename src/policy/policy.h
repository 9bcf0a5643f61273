/*
 * Roles to a decision: may this caller make this call, as which role, and why not as the others.
 *
 * The first role by priority whose `when` holds and whose `allow` covers the call; or, when the
 * caller named one (Sallyport-Role), that one alone.  No role, no call: nothing here allows by
 * default.  An empty list within `when` asks nothing; an empty `services`, `allow` or `routes`
 * covers nothing.
 *
 * Pure and engine-neutral.  Any thread.  Names are compared byte by byte.
 */
#ifndef SALLYPORT_POLICY_POLICY_H
#define SALLYPORT_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "model/decision.h"
#include "model/entities.h"
#include "model/principal.h"

/* What the call wants. */
struct policy_subject {
    struct view service;    /* names, as in the entities */
    struct view route;
    struct view method;     /* HEAD is covered where GET is (RFC 9110 section 9.3.2) */
    struct view named_role; /* from Sallyport-Role; absent: none was named */
};

/*
 * roles stand by priority, highest first, as in struct entities.  *out points into roles and the
 * arena, and holds one finding for every role.  The reason is one of: "allowed", "no_role",
 * "named_role_unknown", "named_role_not_held" (the caller must not learn which of the last two).
 * Fails only for want of memory, with *out a denial (reason "no_decision").
 */
err policy_decide(struct arena *arena, const struct role *roles, size_t count,
                  const struct principal *principal, const struct policy_subject *subject,
                  struct decision *out) MUST_USE;

/* Whether any role that the caller holds covers the route, by whatever method: if not, the door
 * answers as if the route did not exist (404), else a denial is a 403. */
bool policy_may_see(const struct role *roles, size_t count, const struct principal *principal,
                    struct view service, struct view route);

/* A stable word for the audit ("missing_group"), and a sentence for people. */
const char *policy_verdict_name(enum role_verdict verdict);
const char *policy_verdict_text(enum role_verdict verdict);

#endif
