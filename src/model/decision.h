/* Whether a call may run, as whom, and why. */
#ifndef SALLYPORT_MODEL_DECISION_H
#define SALLYPORT_MODEL_DECISION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"
#include "model/entities.h"

/* Why a role was not chosen: the first reason in this order. */
enum role_verdict {
    ROLE_CHOSEN,
    ROLE_NOT_NAMED,       /* another role was asked for by name */
    ROLE_WRONG_ISSUER,
    ROLE_WRONG_SUBJECT,
    ROLE_WRONG_CLIENT,
    ROLE_WRONG_CONSUMER,
    ROLE_MISSING_GROUP,
    ROLE_MISSING_SCOPE,
    ROLE_WRONG_CLAIM,
    ROLE_OTHER_SERVICE,   /* holds for the caller, but not on this service */
    ROLE_NOT_ALLOWED,     /* holds for the caller, but its allow does not cover the route */
    ROLE_LOWER_PRIORITY,  /* would have served, but another came first */
};

struct role_finding {
    const struct role *role;
    enum role_verdict verdict;
};

struct decision {
    bool allowed;
    const struct role *role;  /* the chosen one; NULL when denied */
    struct view reason;       /* stable word: "allowed", "no_role", "named_role_unknown", … */
    const struct role_finding *findings; /* one for every role, in order of priority */
    size_t finding_count;
};

#endif
