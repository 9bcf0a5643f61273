/*
 * The AWS credentials that the program holds, kept fresh in the background.
 *
 *   WAITING ─► READY ◄─► STALE ─► FAILED        a refresh that works leads from any to READY
 *      └──────────────────────────►┘
 *   WAITING: the first attempt is under way.   READY: credentials, and the latest attempt was good.
 *   STALE: credentials that still serve while attempts fail.   FAILED: none that serve.
 *
 * Sans-IO: it asks the fetcher, and its owner (the control thread) calls tick when the time that
 * the last tick gave has come, and also whenever `wake` was called.  All functions on that thread.
 *
 * One attempt in flight.  After success the next is due when a third of the lifetime is left, at
 * most 20 minutes before the end, by chance up to a tenth of that sooner, so that many nodes do
 * not ask in step.  After failure: by chance within 1 s, 2 s, 4 s … 60 s (full jitter), without
 * end; credentials that are still valid go on serving.  Once a source has served it stays the
 * source.  The shared files and a cached SSO token are looked at every 2 s and a rewritten one is
 * used at once.
 *
 * Where no setting says the region and discover_region is set, ECS and the instance are asked for
 * it: before the first attempt when that needs a region, else beside it; after a failure again.
 */
#ifndef SALLYPORT_AWS_CHAIN_H
#define SALLYPORT_AWS_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/plan.h"
#include "aws/retrieval.h"
#include "base/run.h"

enum {
    CHAIN_REFRESH_AHEAD_MAX_S = 20 * 60,
    CHAIN_REFRESH_MIN_S = 5,
    CHAIN_BACKOFF_FIRST_MS = 1000,
    CHAIN_BACKOFF_MAX_MS = 60 * 1000,
    CHAIN_LOOK_MS = 2000, /* at files, and at a wall clock that was set */
};

enum chain_state { CHAIN_WAITING, CHAIN_READY, CHAIN_STALE, CHAIN_FAILED };

struct chain_options {
    struct fetcher *fetcher;
    struct runner *runner; /* for credential_process; NULL: a profile with one is refused */
    const struct clock *clock;
    char *(*lookup)(const char *name); /* getenv, or a test's; asked in chain_new only */
    struct view region_hint;           /* copied; where it is given nothing is discovered */
    struct view profile;               /* --profile: copied; absent: by the order of the sources */
    bool discover_region;
    /* Asks STS for the ARN of temporary credentials whose source does not say it, beside everything
     * else, once a refresh; current then has it. */
    bool name_caller;
    /* "call tick soon, and something has changed": from the chain's thread, never from within a
     * call to the chain but tick.  May be NULL. */
    void (*wake)(void *arg);
    void *wake_arg;
};

struct chain_status {
    enum chain_state state;
    char source[AWS_CREDENTIAL_SOURCE_MAX + 1]; /* "" before there were credentials */
    char access_key_id[AWS_ACCESS_KEY_ID_MAX + 1];
    int64_t expiry_us;    /* 0: never, or not known */
    int64_t refreshed_us; /* 0: never */
    unsigned failures;    /* in a row */
    err last_error;       /* of the latest attempt */
    const char *detail;   /* "" when there is nothing more to say */
};

struct credential_chain;

/* The session token of the environment has ended: named apart, since no refresh can help. */
extern const struct fault aws_environment_expired;
extern const struct fault aws_credentials_waiting; /* the first attempt has not ended */

/* Reads the environment; asks nobody yet. */
err chain_new(const struct chain_options *options, struct credential_chain **out) MUST_USE;
/* Ends for good what is in flight, without effect: for when the fetcher and the runner are about to
 * close, since what they cancel must not lead to another exchange.  What is held goes on serving;
 * tick is not to be called again. */
void chain_stop(struct credential_chain *c);
/* The same, and the provider is gone too. */
void chain_free(struct credential_chain *c);

/* Does what is due, and returns when to call again at the latest (monotonic milliseconds). */
int64_t chain_tick(struct credential_chain *c);

/* Serves what the chain holds.  Owned by the chain: credentials_release does nothing. */
struct credential_provider *chain_provider(struct credential_chain *c);

void chain_status(const struct credential_chain *c, struct chain_status *out);
/* The region of the plan (the environment, the profile, the hint), else the one that was
 * discovered; "" when none is known, or not yet.  Valid until the next tick. */
const char *chain_region(const struct credential_chain *c);
/* As if there had been no hint and discover_region from the start: from the next tick on. */
void chain_discover_region(struct credential_chain *c);
/* True while the region is being asked for: a region of "" may still become one. */
bool chain_region_awaited(const struct credential_chain *c);
/* The latest plan: its source, verdicts, region, endpoint.  Valid until the next tick. */
const struct aws_plan *chain_plan(const struct credential_chain *c);
/* The sentence of aws_plan_kong_difference; "" when there is none. */
void chain_kong_difference(const struct credential_chain *c, char *out, size_t size);

#endif
