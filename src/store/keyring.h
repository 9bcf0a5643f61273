/*
 * The keyring: what seals secrets in the store, so that the database, its backups and logs, the
 * kept copy and an export hold none in plain.
 *
 *     {keyring://v1/KEY-ID/BASE64URL}     the bytes: nonce (12), AES-256-GCM's text, tag (16)
 *     KEY-ID   the first 8 bytes of HMAC-SHA-256(key, "sallyport keyring id"), in hexadecimal
 *     AAD      "sallyport keyring v1", kind, id in small letters, field, each after its length
 *              (32 bits, big-endian)
 *
 * The associated data binds a sealed secret to its entity and field, so that it opens nowhere else.
 * What is bound is no secret; the length of the secret shows.  The nonce is random.
 *
 * Any thread; a keyring is a value of its owner's.
 */
#ifndef SALLYPORT_STORE_KEYRING_H
#define SALLYPORT_STORE_KEYRING_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "crypto/aead.h"
#include "model/node.h"

enum {
    KEYRING_ID_CHARS = 16,
    KEYRING_KEYS_MAX = 16,
    KEYRING_SECRET_MAX_BYTES = 64 << 10,
    KEYRING_KEY_TEXT_BYTES = 45, /* base64, and a NUL */
};

extern const struct fault keyring_off;       /* no key to seal with */
extern const struct fault keyring_malformed; /* the text is not one that the keyring made */
extern const struct fault keyring_no_key;    /* sealed by a key that is not in the ring */
extern const struct fault keyring_refused;   /* changed since, or sealed for another place */

struct keyring_key {
    char id[KEYRING_ID_CHARS + 1];
    uint8_t bytes[AEAD_KEY_BYTES];
};

struct keyring {
    size_t count;
    bool has_current; /* keys[0] seals, too */
    struct keyring_key keys[KEYRING_KEYS_MAX];
};

/* Of the texts that config has found good; none when the keyring is off.  Wipe with _clear. */
void keyring_init(struct keyring *ring, const struct keyring_settings *settings);
void keyring_clear(struct keyring *ring);

/* From base64 or hexadecimal; false when it is no key of 32 bytes. */
bool keyring_key_init(struct keyring_key *key, struct view text) MUST_USE;
/* A new one, in base64. */
void keyring_generate(char out[KEYRING_KEY_TEXT_BYTES]);

/* Appends the sealed secret, of a text that is not empty.  keyring_off; fault_too_large. */
err keyring_seal(const struct keyring *ring, const struct secret_place *place, struct view plain,
                 struct buf *out) MUST_USE;
/* Appends what it holds: to a buffer that the caller wipes.  Nothing is appended on failure. */
err keyring_open(const struct keyring *ring, const struct secret_place *place,
                 struct view sealed, struct buf *out) MUST_USE;
/* The id of the key that sealed it; keyring_malformed when the text is no sealed secret. */
err keyring_sealed_by(struct view sealed, char id[KEYRING_ID_CHARS + 1]) MUST_USE;

/* config_host.open_sealed, with the keys of host->keyring, else of host->node. */
bool keyring_host_open(const struct config_host *host, const struct secret_place *place,
                       struct view sealed, struct buf *out, bool *unread,
                       char why[SECRET_WHY_BYTES]);

#endif
