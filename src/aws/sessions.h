/*
 * The sessions of assumed roles: those of the configuration, kept fresh always, and those per
 * caller, as many as may be and as long as they are used.
 *
 *   new ─► queued ─► flying ─► ready ─► queued ─► flying ─► ready   a refresh, while it serves
 *             │         └────► failed ─► queued                      after a pause
 *             └ waits for the pace, for the session that signs it, or for the base credentials
 *
 * Sans-IO as the chain is: it asks the fetcher; its owner calls tick when the time that the last
 * tick (or aws_sessions_next_ms) gave has come, and whenever the base credentials have news.  All
 * functions on the control thread.
 *
 * One request to STS in flight per session, however many ask.  Requests are paced: so many a second
 * and so many at once; an answer that throttles halves the pace, good ones raise it again.  After a
 * failure the next attempt comes by chance within 1 s, 2 s, 4 s … 60 s (full jitter); what failed
 * for a passing reason (no answer, 5xx, throttled) is tried up to three times before who waits for
 * it is told.  A refresh is due when a third of the lifetime is left, at most 20 minutes before the
 * end, by chance up to a tenth of that sooner; credentials that are valid serve while it fails.  A
 * session per caller that nobody asked for since its latest refresh is not refreshed and lapses.
 *
 * A request with `max_sessions` is per caller.  Those that differ in nothing but the caller make a
 * family: it keeps at most max_sessions, and the least recently used leave for new ones; but never
 * one that is waited for, held or in flight, nor one that has to sign another.  When none may
 * leave, the newcomer waits without a place (SESSION_WAIT: ask again after wake).
 *
 * A chain of roles: each role's session signs the request for the next.  All before the last are
 * sessions of their own, named AWS_SESSION_CHAIN_NAME, with neither tags nor policy, so that the
 * callers share them; but with a web identity token the first role is the caller's and so are all
 * that follow.
 */
#ifndef SALLYPORT_AWS_SESSIONS_H
#define SALLYPORT_AWS_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/sts.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/fetch.h"
#include "base/time.h"
#include "base/view.h"

enum {
    AWS_SESSION_KEY_BYTES = 32,
    AWS_SESSION_ROLES_MAX = 8,
    AWS_SESSION_DETAIL_MAX = 1023,
    /* Well below the 600 requests a second that STS grants an account in a region ("IAM and AWS STS
     * quotas"), for others use them too. */
    AWS_SESSIONS_PER_SECOND = 50,
    AWS_SESSIONS_IN_FLIGHT = 16,
};
#define AWS_SESSION_CHAIN_NAME "sallyport"

/* The session whose turn it is; all texts are copied. */
struct aws_session_request {
    const struct view *roles; /* ARNs: each assumes the next; the last one's session is meant */
    size_t role_count;        /* 1 to AWS_SESSION_ROLES_MAX */
    struct view session_name; /* of the last role */
    struct view source_identity; /* of the last role; absent: none */
    struct view external_id;     /* of the last role; absent: none */
    int64_t duration_s;          /* of the last role; 0: STS's default, an hour */
    struct view policy;          /* of the last role; absent: none */
    const struct view *policy_arns;
    size_t policy_arn_count;
    const struct sts_tag *tags; /* of the last role */
    size_t tag_count;
    /* The first role by AssumeRoleWithWebIdentity.  `web_identity` without a token is good for
     * asking: it finds the session if there is one, and fails with aws_session_no_token else. */
    bool web_identity;
    struct view web_identity_token;
    /* What tells callers apart beyond all of the above; absent: nothing does. */
    const uint8_t *caller_key; /* AWS_SESSION_KEY_BYTES */
    size_t max_sessions;       /* 0: not per caller */
    const struct sts_endpoint *endpoint;
    struct view ca_file; /* absent: the system's */
};

enum aws_ready { AWS_READY, AWS_WAIT, AWS_FAILED };

extern const struct fault aws_session_refused;       /* by STS: what it said is in the detail */
extern const struct fault aws_session_signer_refused; /* by STS: who asks, whoever for */
extern const struct fault aws_session_token_refused; /* the caller's token does not qualify: why */
extern const struct fault aws_session_throttled;     /* STS is asked too much */
extern const struct fault aws_session_unanswered;    /* STS failed itself (5xx) */
extern const struct fault aws_session_no_token;      /* and there is no session to refresh */
extern const struct fault aws_session_bad_request; /* no role, too many, no name */

struct aws_sessions;
struct aws_session;

struct aws_sessions_options {
    struct fetcher *fetcher;
    const struct clock *clock;
    struct credential_provider *base; /* signs for the first role; outlives the sessions */
    unsigned per_second;              /* 0: AWS_SESSIONS_PER_SECOND */
    unsigned in_flight;               /* 0: AWS_SESSIONS_IN_FLIGHT */
    /* "Something has settled, or a place came free: ask again, and call tick."  From the control
     * thread, never from within a call to the sessions but tick.  May be NULL. */
    void (*wake)(void *arg);
    void *wake_arg;
};

err aws_sessions_new(const struct aws_sessions_options *options,
                     struct aws_sessions **out) MUST_USE;
/* What is in flight ends without effect; secrets are wiped; holds end. */
void aws_sessions_free(struct aws_sessions *s);

/*
 * The session's credentials: AWS_READY with *credentials (they belong to the sessions and stay
 * until the control thread returns to its loop, longer with a hold); AWS_WAIT while they are on
 * their way; AWS_FAILED with *why and *detail ("" when there is no more to say; until the next
 * call) when the latest attempt failed and the next is not due yet.  A request that never was asked
 * starts an attempt.
 */
enum aws_ready aws_sessions_get(struct aws_sessions *s, const struct aws_session_request *request,
                                const struct aws_credentials **credentials, err *why,
                                const char **detail);

/* Keeps the session that the request means, if there is one, and credentials that it has.  NULL
 * when there is none.  Every hold is released once. */
struct aws_session *aws_sessions_hold(struct aws_sessions *s,
                                      const struct aws_session_request *request);
void aws_sessions_release(struct aws_sessions *s, struct aws_session *held);
/* The credentials of a session held; fails when they have ended. */
err aws_session_credentials(struct aws_sessions *s, const struct aws_session *held,
                            const struct aws_credentials **credentials) MUST_USE;

/* Sessions that the configuration names (not per caller): obtained at once, refreshed always.  All
 * pins end first, then each is set anew; those that are not, lapse as sessions per caller do. */
void aws_sessions_unpin_all(struct aws_sessions *s);
err aws_sessions_pin(struct aws_sessions *s, const struct aws_session_request *request) MUST_USE;

/* Does what is due, and returns when to call again at the latest (monotonic milliseconds). */
int64_t aws_sessions_tick(struct aws_sessions *s);
/* The same time, for after a call to get. */
int64_t aws_sessions_next_ms(const struct aws_sessions *s);

struct aws_sessions_counts {
    size_t cached;      /* with credentials that serve */
    size_t per_caller;  /* of all, whatever their state */
    size_t pinned;
    size_t max;         /* of per_caller: the sum over the families in use */
    size_t waiting;     /* wanted, and neither served nor failed yet */
    size_t in_flight;
    size_t failing;     /* the latest attempt failed */
    uint64_t assumed;   /* in all */
    uint64_t failures;
    uint64_t throttled;
    uint64_t evictions;
    unsigned per_second; /* the pace now */
};
void aws_sessions_counts(const struct aws_sessions *s, struct aws_sessions_counts *out);

/* One that fails now, for the status: the role and what was said.  Start with *at = 0; false ends.
 * The views live until the next call to the sessions.  Names no caller, as no detail does; the log
 * names the session. */
struct aws_session_failure {
    struct view role;
    bool per_caller;
    bool serves; /* by credentials that it still has */
    unsigned failures; /* in a row */
    err error;
    const char *detail;
};
bool aws_sessions_next_failure(const struct aws_sessions *s, size_t *at,
                               struct aws_session_failure *out);

#endif
