/*
 * An issuer's public keys (RFC 7517 section 5) and its discovery document (OpenID Connect
 * Discovery 1.0 section 3, RFC 8414).
 */
#ifndef SALLYPORT_IDENTITY_JWKS_H
#define SALLYPORT_IDENTITY_JWKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "crypto/hash.h"
#include "crypto/jws.h"

enum {
    JWKS_MAX_BYTES = 256 * 1024, /* of the document; the largest known issuers stay under 64 KiB */
    JWKS_MAX_KEYS = 64,          /* usable ones; bounds the search per token */
    JWKS_KID_MAX_BYTES = 256,
    DISCOVERY_MAX_BYTES = 64 * 1024,
};

struct jwk {
    struct view kid; /* {NULL,0}: none */
    struct jws_key *key;
};

/* Immutable once parsed and counted by reference: verifiers hold it while the next one comes. */
struct jwks;

extern const struct fault jwks_malformed;     /* not JSON, no `keys` array, a key not an object */
extern const struct fault jwks_too_large;
extern const struct fault jwks_too_many_keys;
extern const struct fault jwks_duplicate_kid; /* two usable keys of one kid */
extern const struct fault jwks_no_keys;       /* not one that can verify a signature */

/* Keeps the keys that can verify; skips (and counts) keys of unknown kind, for encryption, weak or
 * broken.  The text is not kept. */
err jwks_parse(struct view text, struct jwks **out) MUST_USE;
struct jwks *jwks_acquire(struct jwks *set);
void jwks_release(struct jwks *set); /* NULL is fine */

size_t jwks_count(const struct jwks *set);
size_t jwks_skipped(const struct jwks *set);
const struct jwk *jwks_at(const struct jwks *set, size_t i);
/* True when both were parsed from the same text. */
bool jwks_same(const struct jwks *a, const struct jwks *b);
/* The key of that kid, or NULL. */
const struct jwk *jwks_find(const struct jwks *set, struct view kid);
/* For a token without kid: the key, when exactly one allows the algorithm; *many says why not. */
const struct jwk *jwks_only(const struct jwks *set, enum jws_alg alg, bool *many);

extern const struct fault discovery_malformed;
extern const struct fault discovery_issuer_mismatch; /* section 4.3: must equal exactly */
extern const struct fault discovery_url_refused;     /* jwks_uri not https (http on loopback) */

/* Gives the jwks_uri, copied into the arena. */
err discovery_parse(struct arena *arena, struct view text, struct view issuer,
                    struct view *jwks_uri) MUST_USE;
/* issuer + "/.well-known/openid-configuration" (section 4), in the arena; {NULL,0} without room. */
struct view discovery_url(struct arena *arena, struct view issuer);

/* True for https, and for http to localhost, 127.0.0.0/8 and [::1]: no user part, no fragment. */
bool key_url_allowed(struct view url);

#endif
