/*
 * Who calls: the check of a bearer token (JWT in JWS compact form, RFC 7519, RFC 7515, RFC 8725,
 * RFC 9068) against the configured issuers, and the principal that comes of it.
 *
 * One `struct identity` is made for each configuration and counted by reference.  Its issuers do
 * not change; their keys do, swapped whole behind a short lock, so any number of threads may
 * verify.  Nothing here waits for the network: the key_refresher (key_refresher.h), on the control
 * thread, fetches.
 */
#ifndef SALLYPORT_IDENTITY_IDENTITY_H
#define SALLYPORT_IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "model/entities.h"
#include "model/principal.h"

struct identity;

enum {
    IDENTITY_TOKEN_MAX_BYTES = 16 * 1024, /* bounds the work before the signature is known */
    IDENTITY_SUBJECT_MAX_BYTES = 255,
    IDENTITY_ARENA_BYTES = 256 * 1024, /* the most that a verification takes of its arena */
};

/* Every refusal.  All are 401 but the keys_unavailable (503). */
extern const struct fault identity_token_too_large;
extern const struct fault identity_token_malformed;  /* not three parts of canonical base64url */
extern const struct fault identity_header_malformed; /* not JSON, a member twice, a wrong type */
extern const struct fault identity_payload_malformed;
extern const struct fault identity_typ_refused;      /* a JWT of another kind (RFC 8725 3.11) */
extern const struct fault identity_crit_refused;     /* an unknown extension (RFC 7515 4.1.11) */
extern const struct fault identity_key_in_token;     /* jwk, jku, x5u: it names its own key */
extern const struct fault identity_alg_refused;      /* none, HS*, or not in the issuer's list */
extern const struct fault identity_alg_mismatch;     /* the kid's key does another one */
extern const struct fault identity_issuer_missing;
extern const struct fault identity_issuer_unknown;
extern const struct fault identity_keys_unavailable; /* the issuer's keys were never fetched */
extern const struct fault identity_unknown_key;      /* no key of that kid: asks for a refetch */
extern const struct fault identity_key_ambiguous;    /* no kid, and not exactly one key that fits */
extern const struct fault identity_signature_wrong;
extern const struct fault identity_time_malformed;   /* exp, nbf, iat: not a plain number */
extern const struct fault identity_exp_missing;
extern const struct fault identity_expired;
extern const struct fault identity_not_yet_valid;    /* nbf */
extern const struct fault identity_issued_in_future; /* iat */
extern const struct fault identity_iat_missing;      /* needed by max_token_age_s */
extern const struct fault identity_too_old;          /* iat and max_token_age_s */
extern const struct fault identity_audience_missing;
extern const struct fault identity_audience_wrong;
extern const struct fault identity_client_missing;
extern const struct fault identity_client_wrong;
extern const struct fault identity_token_use_wrong;
extern const struct fault identity_subject_missing;
extern const struct fault identity_subject_malformed;
extern const struct fault identity_claim_malformed;  /* aud, client, groups, scopes: a wrong type */

/* The steps of a check, in order, for `check --token` and `audit explain`.  The texts live in the
 * verification's arena; they hold names and claims, never the token or its signature. */
enum check_result { CHECK_OK, CHECK_FAILED, CHECK_SKIPPED };

struct check_step {
    const char *name; /* "form", "header", "typ", "alg", "issuer", "key", "signature", "exp", … */
    enum check_result result;
    struct view expected; /* absent where there is nothing to say */
    struct view found;    /* cut at 120 bytes */
};

enum { TOKEN_CHECK_MAX_STEPS = 20 };

struct token_check {
    struct check_step steps[TOKEN_CHECK_MAX_STEPS];
    size_t count;
    struct view issuer_name; /* the configured issuer, once it was found */
    struct view key_id;      /* as the token's header says, once it was read */
};

/*
 * Copies what it needs of the issuers.  An issuer whose name, iss and place of keys are those of
 * one in `previous` (may be NULL) shares its keys, so that a reload does not fetch anew and key
 * changes reach both.  jwks_file is read by the key_refresher's first tick, not here.
 */
err identity_new(const struct issuer *issuers, size_t count, const struct identity *previous,
                 struct identity **out) MUST_USE;
struct identity *identity_acquire(struct identity *id);
void identity_release(struct identity *id); /* NULL is fine */

/*
 * Checks the token at the given time.  On success *out is filled; all it points to is in the arena
 * (give it IDENTITY_ARENA_BYTES).  On failure *out is zeroed.  `check` may be NULL.
 * out->expires_at_s is exp, or iat + max_token_age_s when that is sooner.
 * Fails with one of the faults above or fault_out_of_memory.  Any thread.
 */
err identity_verify(struct identity *id, struct arena *arena, struct view token, int64_t now_s,
                    struct principal *out, struct token_check *check) MUST_USE;

/* Changes when a key set changed; never the same for two identities.  What was concluded under
 * another generation no longer holds.  Any thread. */
uint64_t identity_generation(const struct identity *id);

/* For readiness: every issuer has a key set.  Any thread. */
bool identity_keys_loaded(const struct identity *id);

/* For status and metrics.  Any thread. */
struct issuer_status {
    struct view name;        /* lives as long as the identity */
    size_t keys;             /* 0: none yet */
    int64_t last_success_ms; /* on the time line of key_refresher_tick; -1: never */
    int64_t last_failure_ms; /* -1: never */
    err last_error;          /* of the latest attempt; OK when that succeeded */
    uint64_t successes;
    uint64_t failures;
};
size_t identity_issuer_count(const struct identity *id);
void identity_issuer_status(const struct identity *id, size_t i, struct issuer_status *out);

/* The one-line text of a check result: "ok", "failed", "skipped". */
const char *check_result_text(enum check_result result);

#endif
