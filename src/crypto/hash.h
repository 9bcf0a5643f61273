/*
 * SHA-256, HMAC-SHA-256 and PBKDF2 over OpenSSL's EVP, made for hot paths: the digest is fetched
 * once for the process and each thread keeps its contexts, since fetching and allocating cost more
 * than hashing a token does.
 *
 * Any thread.  Nothing here fails: a process that cannot hash at all (no memory for its first
 * context, no SHA-256 in OpenSSL) ends.
 */
#ifndef SALLYPORT_CRYPTO_HASH_H
#define SALLYPORT_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

enum { SHA256_BYTES = 32, SHA1_BYTES = 20 };

/* For names that others make of it (the cached tokens of the AWS SDKs); never for security. */
void sha1(struct view data, uint8_t out[SHA1_BYTES]);

/* One shot. */
void sha256(struct view data, uint8_t out[SHA256_BYTES]);

/* In pieces: init, add any number of times, end; after end a new init or clear.  Owned by one
 * thread at a time.  The zeroed struct may be cleared. */
struct sha256 {
    struct evp_md_ctx_st *ctx;
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, struct view data);
/* Gives the digest of what was added; more init/add/end may follow without allocation. */
void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES]);
void sha256_clear(struct sha256 *h);

/* RFC 2104.  A key of any length; out may overlap key or data. */
void hmac_sha256(struct view key, struct view data, uint8_t out[SHA256_BYTES]);

/* RFC 8018 PBKDF2 with HMAC-SHA-256, one block long: SCRAM's Hi() (RFC 5802 section 2.2).
 * iterations >= 1. */
void pbkdf2_sha256(struct view password, struct view salt, uint32_t iterations,
                   uint8_t out[SHA256_BYTES]);

#endif
