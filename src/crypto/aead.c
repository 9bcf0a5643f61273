#include "crypto/aead.h"

#include <limits.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "base/secret.h"

static EVP_CIPHER_CTX *begin(const uint8_t *key, const uint8_t *nonce, struct view aad, int seal)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len;

    ENSURE(ctx != NULL && aad.len <= INT_MAX);
    /* 96 bits are the mode's own nonce length, and OpenSSL's default. */
    ENSURE(EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, seal) == 1);
    ENSURE(aad.len == 0 || EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)aad.data,
                                            (int)aad.len) == 1);
    return ctx;
}

static void run(EVP_CIPHER_CTX *ctx, struct view from, uint8_t *out)
{
    int len = 0;

    ENSURE(from.len <= INT_MAX);
    ENSURE(from.len == 0 || EVP_CipherUpdate(ctx, out, &len, (const unsigned char *)from.data,
                                             (int)from.len) == 1);
    ENSURE((size_t)len == from.len);
}

void aead_seal(const uint8_t key[AEAD_KEY_BYTES], const uint8_t nonce[AEAD_NONCE_BYTES],
               struct view aad, struct view plain, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES])
{
    EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, 1);
    uint8_t nothing[AEAD_TAG_BYTES];
    int len;

    run(ctx, plain, out);
    ENSURE(EVP_CipherFinal_ex(ctx, nothing, &len) == 1 && len == 0);
    ENSURE(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

bool aead_open(const uint8_t key[AEAD_KEY_BYTES], const uint8_t nonce[AEAD_NONCE_BYTES],
               struct view aad, struct view sealed, const uint8_t tag[AEAD_TAG_BYTES],
               uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, 0);
    uint8_t nothing[AEAD_TAG_BYTES];
    int len;

    run(ctx, sealed, out);
    ENSURE(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES,
                               (void *)(uintptr_t)tag) == 1);
    bool good = EVP_CipherFinal_ex(ctx, nothing, &len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!good)
        secret_wipe(out, sealed.len);
    return good;
}
