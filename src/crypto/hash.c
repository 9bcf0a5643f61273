#include "crypto/hash.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "base/secret.h"

enum { SHA256_BLOCK_BYTES = 64 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *md;
static pthread_key_t scratch_key;
static __thread EVP_MD_CTX *scratch;

static void free_scratch(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void set_up(void)
{
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    ENSURE(md != NULL);
    ENSURE(pthread_key_create(&scratch_key, free_scratch) == 0);
}

static const EVP_MD *digest(void)
{
    pthread_once(&once, set_up);
    return md;
}

/* This thread's context for one-shot work; freed when the thread ends. */
static EVP_MD_CTX *scratch_context(void)
{
    if (scratch == NULL) {
        (void)digest();
        scratch = EVP_MD_CTX_new();
        ENSURE(scratch != NULL && EVP_DigestInit_ex2(scratch, md, NULL) == 1);
        ENSURE(pthread_setspecific(scratch_key, scratch) == 0);
    }
    return scratch;
}

/* With a NULL type OpenSSL starts over with the same digest, without a look-up or an allocation. */
static void begin(EVP_MD_CTX *ctx)
{
    ENSURE(EVP_DigestInit_ex2(ctx, NULL, NULL) == 1);
}

static void add(EVP_MD_CTX *ctx, struct view data)
{
    ENSURE(data.len == 0 || EVP_DigestUpdate(ctx, data.data, data.len) == 1);
}

static void end(EVP_MD_CTX *ctx, uint8_t out[SHA256_BYTES])
{
    ENSURE(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void sha1(struct view data, uint8_t out[SHA1_BYTES])
{
    ENSURE(EVP_Q_digest(NULL, "SHA1", NULL, data.len > 0 ? data.data : "", data.len, out, NULL) ==
           1);
}

void sha256(struct view data, uint8_t out[SHA256_BYTES])
{
    EVP_MD_CTX *ctx = scratch_context();

    begin(ctx);
    add(ctx, data);
    end(ctx, out);
}

void sha256_init(struct sha256 *h)
{
    if (h->ctx == NULL) {
        h->ctx = EVP_MD_CTX_new();
        ENSURE(h->ctx != NULL && EVP_DigestInit_ex2(h->ctx, digest(), NULL) == 1);
        return;
    }
    begin(h->ctx);
}

void sha256_add(struct sha256 *h, struct view data)
{
    add(h->ctx, data);
}

void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES])
{
    end(h->ctx, out);
}

void sha256_clear(struct sha256 *h)
{
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
}

/* RFC 2104 by hand: EVP_MAC takes three times as long, most of it in allocation. */
void hmac_sha256(struct view key, struct view data, uint8_t out[SHA256_BYTES])
{
    EVP_MD_CTX *ctx = scratch_context();
    uint8_t pad[SHA256_BLOCK_BYTES] = {0};
    uint8_t inner[SHA256_BYTES];

    if (key.len > sizeof pad)
        sha256(key, pad);
    else if (key.len > 0)
        memcpy(pad, key.data, key.len);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36;
    begin(ctx);
    add(ctx, view_of(pad, sizeof pad));
    add(ctx, data);
    end(ctx, inner);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    begin(ctx);
    add(ctx, view_of(pad, sizeof pad));
    add(ctx, view_of(inner, sizeof inner));
    end(ctx, out);
    secret_wipe(pad, sizeof pad);
    secret_wipe(inner, sizeof inner);
}

void pbkdf2_sha256(struct view password, struct view salt, uint32_t iterations,
                   uint8_t out[SHA256_BYTES])
{
    ENSURE(iterations >= 1 && iterations <= INT32_MAX);
    ENSURE(password.len <= INT32_MAX && salt.len <= INT32_MAX);
    ENSURE(PKCS5_PBKDF2_HMAC(password.data != NULL ? password.data : "", (int)password.len,
                             (const unsigned char *)salt.data, (int)salt.len, (int)iterations,
                             digest(), SHA256_BYTES, out) == 1);
}
