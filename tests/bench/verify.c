/* How long the check of a token takes: whole, repeated (from the cache), and OpenSSL's part of it
 * alone with a key of the same kind.
 *
 *     bench_verify ISSUER AUDIENCE JWKS-FILE TOKEN RS256|ES256|EdDSA
 *
 * Prints one JSON object. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fetch.h"
#include "base/time.h"
#include "identity/key_refresher.h"
#include "identity/token_cache.h"

enum { VERIFICATIONS = 5000, REPEATS = 200000 };

static void ensure(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_verify: %s\n", what);
    exit(1);
}

static double us_each(int64_t begin_ns, int count)
{
    return (double)(time_monotonic_ns() - begin_ns) / 1e3 / count;
}

static void no_fetch(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                     void *arg)
{
    (void)f;
    (void)request;
    (void)done;
    (void)arg;
    ensure(false, "the keys come from a file");
}

static double whole_us(struct identity *id, struct view token, int64_t now_s)
{
    struct principal principal;
    struct arena arena;

    arena_init(&arena, 16 * 1024, IDENTITY_ARENA_BYTES);
    int64_t begin = time_monotonic_ns();
    for (int i = 0; i < VERIFICATIONS; i++) {
        err e = identity_verify(id, &arena, token, now_s, &principal, NULL);
        ensure(!failed(e), failed(e) ? e.fault->text : "");
        arena_reset(&arena);
    }
    double us = us_each(begin, VERIFICATIONS);
    arena_clear(&arena);
    return us;
}

static double repeated_us(struct identity *id, struct view token, int64_t now_s)
{
    struct token_cache *cache;
    struct arena arena;

    arena_init(&arena, 16 * 1024, IDENTITY_ARENA_BYTES);
    ensure(!failed(token_cache_new(1000, &cache)), "no cache");
    int64_t begin = time_monotonic_ns();
    for (int i = 0; i < REPEATS; i++) {
        struct known_caller *caller;
        err e = token_cache_identify(cache, id, token, now_s, &arena, &caller, NULL);
        ensure(!failed(e), failed(e) ? e.fault->text : "");
        known_caller_release(caller);
    }
    double us = us_each(begin, REPEATS);
    token_cache_free(cache);
    arena_clear(&arena);
    return us;
}

static EVP_PKEY *new_key(struct view algorithm)
{
    if (view_is(algorithm, "RS256"))
        return EVP_RSA_gen(2048);
    if (view_is(algorithm, "ES256"))
        return EVP_EC_gen("P-256");
    return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static double openssl_us(struct view algorithm, struct view text)
{
    EVP_PKEY *key = new_key(algorithm);
    const EVP_MD *digest = view_is(algorithm, "EdDSA") ? NULL : EVP_sha256();
    const unsigned char *data = (const unsigned char *)text.data;
    unsigned char signature[512];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ensure(EVP_DigestSignInit(ctx, NULL, digest, NULL, key) == 1 &&
               EVP_DigestSign(ctx, signature, &len, data, text.len) == 1,
           "OpenSSL does not sign");
    EVP_MD_CTX_free(ctx);
    int64_t begin = time_monotonic_ns();
    for (int i = 0; i < VERIFICATIONS; i++) {
        ctx = EVP_MD_CTX_new();
        ensure(EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) == 1 &&
                   EVP_DigestVerify(ctx, signature, len, data, text.len) == 1,
               "OpenSSL does not verify");
        EVP_MD_CTX_free(ctx);
    }
    double us = us_each(begin, VERIFICATIONS);
    EVP_PKEY_free(key);
    return us;
}

int main(int argc, char **argv)
{
    struct fetcher fetcher = {no_fetch};
    const struct key_refresher_options options = {.fetcher = &fetcher};
    struct key_refresher *refresher;
    struct identity *id;

    ensure(argc == 6, "ISSUER AUDIENCE JWKS-FILE TOKEN ALGORITHM");
    struct view audience = view_str(argv[2]), algorithm = view_str(argv[5]);
    struct view token = view_str(argv[4]);
    const struct issuer issuer = {
        .name = VIEW("bench"),
        .issuer = view_str(argv[1]),
        .jwks_file = view_str(argv[3]),
        .audience = {&audience, 1},
        .algorithms = {&algorithm, 1},
        .leeway_s = 60,
        .jwks_refresh_s = 3600,
    };
    ensure(!failed(identity_new(&issuer, 1, NULL, &id)), "no identity");
    ensure(!failed(key_refresher_new(&options, &refresher)), "no refresher");
    key_refresher_set_identity(refresher, id);
    key_refresher_tick(refresher, 0);
    ensure(identity_keys_loaded(id), "the JWKS file gives no keys");

    int64_t now_s = time_wall_us() / 1000000;
    struct view signed_text = view_upto(token, (size_t)(strrchr(argv[4], '.') - argv[4]));
    double openssl = openssl_us(algorithm, signed_text);
    double whole = whole_us(id, token, now_s);
    double repeated = repeated_us(id, token, now_s);
    printf("{\"openssl_us\": %.3f, \"verify_us\": %.3f, \"repeated_us\": %.3f}\n", openssl, whole,
           repeated);
    key_refresher_free(refresher);
    identity_release(id);
    return 0;
}
