/*
 * AES-256-GCM (NIST SP 800-38D) over OpenSSL's EVP: one text at a time, with a nonce of 96 bits and
 * a tag of 128.
 *
 * A nonce must never serve twice with one key; at random that bounds a key to some 2^32 texts
 * (section 8.3).  Any thread.  Sealing does not fail: a process without memory or AES ends.
 */
#ifndef SALLYPORT_CRYPTO_AEAD_H
#define SALLYPORT_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

enum { AEAD_KEY_BYTES = 32, AEAD_NONCE_BYTES = 12, AEAD_TAG_BYTES = 16 };

/* Writes plain.len bytes to out; aad is bound to them and not hidden.  Either may be empty. */
void aead_seal(const uint8_t key[AEAD_KEY_BYTES], const uint8_t nonce[AEAD_NONCE_BYTES],
               struct view aad, struct view plain, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES]);

/* Writes sealed.len bytes to out; false, with out wiped, unless key, nonce, aad, text and tag are
 * those of one aead_seal. */
bool aead_open(const uint8_t key[AEAD_KEY_BYTES], const uint8_t nonce[AEAD_NONCE_BYTES],
               struct view aad, struct view sealed, const uint8_t tag[AEAD_TAG_BYTES],
               uint8_t *out) MUST_USE;

#endif
