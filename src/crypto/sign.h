/*
 * An Ed25519 key of this program's own (RFC 8032): signs the audit's anchors.
 *
 * The key file is PKCS#8 PEM, readable by its owner alone; a file that others may read or write is
 * refused.  A key is immutable once made; any thread may sign with it.
 */
#ifndef SALLYPORT_CRYPTO_SIGN_H
#define SALLYPORT_CRYPTO_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum { SIGN_PUBLIC_BYTES = 32, SIGN_SIGNATURE_BYTES = 64 };

struct sign_key;

extern const struct fault sign_key_missing;    /* there is no such file */
extern const struct fault sign_key_unreadable; /* open, read, write or create failed: errno says */
extern const struct fault sign_key_exposed;    /* others than its owner have rights on the file */
extern const struct fault sign_key_malformed;  /* not one Ed25519 private key in PEM */
extern const struct fault sign_key_exists;     /* save never replaces a key */

err sign_key_new(struct sign_key **out) MUST_USE;
err sign_key_load(const char *path, struct sign_key **out) MUST_USE;
/* Creates the file with mode 0600 and syncs it; fails with sign_key_exists when there is one. */
err sign_key_save(const struct sign_key *key, const char *path) MUST_USE;
/* Wipes the private part.  NULL is fine. */
void sign_key_free(struct sign_key *key);

void sign_key_public(const struct sign_key *key, uint8_t out[SIGN_PUBLIC_BYTES]);
err sign_make(const struct sign_key *key, struct view data,
              uint8_t out[SIGN_SIGNATURE_BYTES]) MUST_USE;
/* True when the signature of the data is the key's. */
bool sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct view data,
                 const uint8_t signature[SIGN_SIGNATURE_BYTES]) MUST_USE;

#endif
