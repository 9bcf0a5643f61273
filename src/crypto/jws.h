/*
 * Signatures of JSON Web Signature (RFC 7515, RFC 7518, RFC 8037): public keys from the members of
 * a JWK, and the check of a signature under an algorithm that the key allows.
 *
 * No HMAC and no "none" (RFC 8725 section 3.1, 3.2): only keys that are public by nature.  This
 * header knows no JSON: the caller hands in the members' texts.
 */
#ifndef SALLYPORT_CRYPTO_JWS_H
#define SALLYPORT_CRYPTO_JWS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum jws_alg {
    JWS_RS256,
    JWS_RS384,
    JWS_RS512,
    JWS_PS256,
    JWS_PS384,
    JWS_PS512,
    JWS_ES256,
    JWS_ES384,
    JWS_ES512,
    JWS_EDDSA, /* Ed25519 only */
    JWS_ALG_COUNT,
};

/* False for every name that is not in the enum: "none" and HS256 among them. */
bool jws_alg_by_name(struct view name, enum jws_alg *out) MUST_USE;
const char *jws_alg_name(enum jws_alg alg);

/* The members of a JWK that make a public key; those of other kinds of key are absent. */
struct jwk_members {
    struct view kty; /* RSA, EC, OKP */
    struct view crv; /* P-256, P-384, P-521, Ed25519 */
    struct view n;   /* base64url, as in the JWK */
    struct view e;
    struct view x;
    struct view y;
    struct view alg; /* absent: every algorithm of the kind of key */
};

/* Immutable once made, so any thread may verify with it at the same time. */
struct jws_key;

extern const struct fault jws_key_unsupported; /* kty, crv or alg that this program does not know */
extern const struct fault jws_key_malformed;   /* a member missing, not base64url, of wrong length;
                                                  a point that is not on the curve */
extern const struct fault jws_key_weak;        /* RSA below 2048 bits, an even or tiny exponent */
extern const struct fault jws_alg_mismatch;    /* the key does not do this algorithm */
extern const struct fault jws_signature_wrong;

/* RSA of 2048 to 8192 bits, EC on P-256, P-384, P-521, OKP Ed25519.  Copies what it needs.
 * Fails with the first three faults above, or fault_out_of_memory. */
err jws_key_new(const struct jwk_members *jwk, struct jws_key **out) MUST_USE;
/* NULL is fine. */
void jws_key_free(struct jws_key *key);

/* Whether the key is one for this algorithm: by its kind, its curve, and its own `alg`. */
bool jws_key_allows(const struct jws_key *key, enum jws_alg alg);

/* Checks the signature (raw bytes; for ES* r||s of exactly twice the curve's length, RFC 7518
 * section 3.4; never DER) over the signed text ("header.payload").
 * Fails with jws_alg_mismatch, jws_signature_wrong or fault_out_of_memory. */
err jws_verify(const struct jws_key *key, enum jws_alg alg, struct view signed_text,
               struct view signature) MUST_USE;

#endif
