#include "crypto/jws.h"

#include <stdint.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "crypto/base64.h"

const struct fault jws_key_unsupported = {
    "jws_key_unsupported", "the key is of a kind that cannot verify here", NULL, 0};
const struct fault jws_key_malformed = {
    "jws_key_malformed", "the key's members do not make a public key", NULL, 0};
const struct fault jws_key_weak = {
    "jws_key_weak", "the RSA key is too short or its exponent unsound", NULL, 0};
const struct fault jws_alg_mismatch = {
    "jws_alg_mismatch", "the key is not one for this algorithm", NULL, 401};
const struct fault jws_signature_wrong = {
    "jws_signature_wrong", "the signature does not verify", NULL, 401};

enum {
    RSA_MIN_BITS = 2048, /* RFC 7518 section 3.3 */
    RSA_MAX_BITS = 8192, /* bounds the time of one verification */
    RSA_EXPONENT_MAX_BITS = 33,
    JWK_MEMBER_MAX_BYTES = RSA_MAX_BITS / 8 + 1,
    EC_MAX_COORDINATE = 66,
    EC_MAX_DER = 3 + 2 * (2 + 1 + EC_MAX_COORDINATE),
    ED25519_KEY_BYTES = 32,
};

enum key_kind { KIND_RSA, KIND_P256, KIND_P384, KIND_P521, KIND_ED25519 };

static const struct alg_row {
    const char *name;
    const char *digest; /* NULL: the algorithm hashes by itself */
    enum key_kind kind;
    bool pss;
} algs[JWS_ALG_COUNT] = {
    [JWS_RS256] = {"RS256", "SHA256", KIND_RSA, false},
    [JWS_RS384] = {"RS384", "SHA384", KIND_RSA, false},
    [JWS_RS512] = {"RS512", "SHA512", KIND_RSA, false},
    [JWS_PS256] = {"PS256", "SHA256", KIND_RSA, true},
    [JWS_PS384] = {"PS384", "SHA384", KIND_RSA, true},
    [JWS_PS512] = {"PS512", "SHA512", KIND_RSA, true},
    [JWS_ES256] = {"ES256", "SHA256", KIND_P256, false},
    [JWS_ES384] = {"ES384", "SHA384", KIND_P384, false},
    [JWS_ES512] = {"ES512", "SHA512", KIND_P521, false},
    [JWS_EDDSA] = {"EdDSA", NULL, KIND_ED25519, false},
};

static const struct kind_row {
    const char *kty;
    const char *crv;
    const char *group; /* OpenSSL's name of the curve */
    size_t coordinate_bytes;
} kinds[] = {
    [KIND_RSA] = {"RSA", NULL, NULL, 0},
    [KIND_P256] = {"EC", "P-256", "prime256v1", 32},
    [KIND_P384] = {"EC", "P-384", "secp384r1", 48},
    [KIND_P521] = {"EC", "P-521", "secp521r1", EC_MAX_COORDINATE},
    [KIND_ED25519] = {"OKP", "Ed25519", NULL, ED25519_KEY_BYTES},
};

struct jws_key {
    enum key_kind kind;
    EVP_PKEY *public_key;
    /* Initialised for verification and only ever copied; NULL: the key does not do it. */
    EVP_MD_CTX *ready[JWS_ALG_COUNT];
};

bool jws_alg_by_name(struct view name, enum jws_alg *out)
{
    for (size_t i = 0; i < JWS_ALG_COUNT; i++) {
        if (view_is(name, algs[i].name)) {
            *out = (enum jws_alg)i;
            return true;
        }
    }
    return false;
}

const char *jws_alg_name(enum jws_alg alg)
{
    return algs[alg].name;
}

static bool kind_of(const struct jwk_members *jwk, enum key_kind *out)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (view_is(jwk->kty, kinds[i].kty) &&
            (kinds[i].crv == NULL || view_is(jwk->crv, kinds[i].crv))) {
            *out = (enum key_kind)i;
            return true;
        }
    }
    return false;
}

static BIGNUM *big_number(struct view text)
{
    uint8_t bytes[JWK_MEMBER_MAX_BYTES + 2];
    size_t len;

    if (text.len == 0 || !base64url_decode(text, bytes, sizeof bytes, &len))
        return NULL;
    return BN_bin2bn(bytes, (int)len, NULL);
}

static err key_from_params(const char *type, OSSL_PARAM *params, EVP_PKEY **out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    err e = OK;

    if (ctx == NULL || params == NULL)
        e = fail(&fault_out_of_memory);
    else if (EVP_PKEY_fromdata_init(ctx) != 1 ||
             EVP_PKEY_fromdata(ctx, out, EVP_PKEY_PUBLIC_KEY, params) != 1)
        e = fail(&jws_key_malformed);
    EVP_PKEY_CTX_free(ctx);
    return e;
}

/* RFC 7518 section 6.3.1; RFC 8725 section 3.5 for the strength. */
static err rsa_from_numbers(const BIGNUM *n, const BIGNUM *e, EVP_PKEY **out)
{
    if (n == NULL || e == NULL || BN_num_bits(n) > RSA_MAX_BITS)
        return fail(&jws_key_malformed);
    if (BN_num_bits(n) < RSA_MIN_BITS || !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) ||
        BN_num_bits(e) > RSA_EXPONENT_MAX_BITS)
        return fail(&jws_key_weak);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (build != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    err result = key_from_params("RSA", params, out);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return result;
}

static err rsa_key(const struct jwk_members *jwk, EVP_PKEY **out)
{
    BIGNUM *n = big_number(jwk->n), *e = big_number(jwk->e);
    err result = rsa_from_numbers(n, e, out);

    BN_free(n);
    BN_free(e);
    return result;
}

/* RFC 7518 section 6.2.1: both coordinates at full length.  The point is checked to be on the curve
 * and of the group's order (SP 800-56A section 5.6.2.3.3). */
static err ec_key(const struct kind_row *kind, const struct jwk_members *jwk, EVP_PKEY **out)
{
    uint8_t point[1 + 2 * EC_MAX_COORDINATE] = {0x04}; /* SEC 1 section 2.3.3, uncompressed */
    const size_t n = kind->coordinate_bytes;
    size_t x_len, y_len;

    if (!base64url_decode(jwk->x, point + 1, n, &x_len) || x_len != n ||
        !base64url_decode(jwk->y, point + 1 + n, n, &y_len) || y_len != n)
        return fail(&jws_key_malformed);
    char group[16];
    size_t group_len = strlen(kind->group);
    memcpy(group, kind->group, group_len + 1);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, group_len),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * n),
        OSSL_PARAM_construct_end(),
    };
    TRY(key_from_params("EC", params, out));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, *out, NULL);
    bool valid = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return valid ? OK : fail(&jws_key_malformed);
}

/* RFC 8037 section 2. */
static err ed25519_key(const struct jwk_members *jwk, EVP_PKEY **out)
{
    uint8_t bytes[ED25519_KEY_BYTES];
    size_t len;

    if (!base64url_decode(jwk->x, bytes, sizeof bytes, &len) || len != sizeof bytes)
        return fail(&jws_key_malformed);
    *out = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, bytes, sizeof bytes);
    return *out != NULL ? OK : fail(&jws_key_malformed);
}

static err make_ready(struct jws_key *key, enum jws_alg alg)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;

    if (ctx == NULL)
        return fail(&fault_out_of_memory);
    key->ready[alg] = ctx;
    if (EVP_DigestVerifyInit_ex(ctx, &pkey_ctx, algs[alg].digest, NULL, NULL, key->public_key,
                                NULL) != 1)
        return fail(&jws_key_malformed);
    /* RFC 7518 section 3.5: the salt is as long as the hash, MGF1 uses the same hash. */
    if (algs[alg].pss &&
        (EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING) != 1 ||
         EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
        return fail(&jws_key_malformed);
    return OK;
}

static err fill(struct jws_key *key, const struct jwk_members *jwk)
{
    enum jws_alg only = JWS_ALG_COUNT;

    if (!kind_of(jwk, &key->kind))
        return fail(&jws_key_unsupported);
    if (jwk->alg.data != NULL &&
        (!jws_alg_by_name(jwk->alg, &only) || algs[only].kind != key->kind))
        return fail(&jws_key_unsupported);
    if (key->kind == KIND_RSA)
        TRY(rsa_key(jwk, &key->public_key));
    else if (key->kind == KIND_ED25519)
        TRY(ed25519_key(jwk, &key->public_key));
    else
        TRY(ec_key(&kinds[key->kind], jwk, &key->public_key));
    for (size_t i = 0; i < JWS_ALG_COUNT; i++) {
        if (algs[i].kind == key->kind && (only == JWS_ALG_COUNT || only == (enum jws_alg)i))
            TRY(make_ready(key, (enum jws_alg)i));
    }
    return OK;
}

err jws_key_new(const struct jwk_members *jwk, struct jws_key **out)
{
    struct jws_key *key = calloc(1, sizeof *key);

    *out = NULL;
    if (key == NULL)
        return fail(&fault_out_of_memory);
    err e = fill(key, jwk);
    if (failed(e)) {
        jws_key_free(key);
        /* What OpenSSL left in this thread's queue must not be taken for a TLS error later. */
        ERR_clear_error();
        return e;
    }
    *out = key;
    return OK;
}

void jws_key_free(struct jws_key *key)
{
    if (key == NULL)
        return;
    for (size_t i = 0; i < JWS_ALG_COUNT; i++)
        EVP_MD_CTX_free(key->ready[i]);
    EVP_PKEY_free(key->public_key);
    free(key);
}

bool jws_key_allows(const struct jws_key *key, enum jws_alg alg)
{
    return key->ready[alg] != NULL;
}

/* One INTEGER of X.690, from a big-endian number of fixed length. */
static size_t der_integer(uint8_t *out, const uint8_t *number, size_t len)
{
    while (len > 1 && number[0] == 0) {
        number++;
        len--;
    }
    const size_t sign = number[0] >> 7;
    out[0] = 0x02;
    out[1] = (uint8_t)(len + sign);
    out[2] = 0;
    memcpy(out + 2 + sign, number, len);
    return 2 + sign + len;
}

/* r||s (RFC 7518 section 3.4) to the SEQUENCE that OpenSSL takes; 0 when the length is wrong. */
static size_t der_signature(uint8_t out[EC_MAX_DER], struct view raw, size_t coordinate)
{
    uint8_t body[2 * (2 + 1 + EC_MAX_COORDINATE)];
    size_t at = 0;

    if (raw.len != 2 * coordinate)
        return 0;
    size_t len = der_integer(body, (const uint8_t *)raw.data, coordinate);
    len += der_integer(body + len, (const uint8_t *)raw.data + coordinate, coordinate);
    out[at++] = 0x30;
    if (len > 127)
        out[at++] = 0x81;
    out[at++] = (uint8_t)len;
    memcpy(out + at, body, len);
    return at + len;
}

static err verify(EVP_MD_CTX *ctx, const EVP_MD_CTX *ready, struct view signed_text,
                  const uint8_t *signature, size_t len)
{
    if (EVP_MD_CTX_copy_ex(ctx, ready) != 1)
        return fail(&fault_out_of_memory);
    /* This context ends here, so OpenSSL need not copy it once more before the final step. */
    EVP_MD_CTX_set_flags(ctx, EVP_MD_CTX_FLAG_FINALISE);
    if (EVP_DigestVerify(ctx, signature, len, (const unsigned char *)signed_text.data,
                         signed_text.len) != 1)
        return fail(&jws_signature_wrong);
    return OK;
}

err jws_verify(const struct jws_key *key, enum jws_alg alg, struct view signed_text,
               struct view signature)
{
    uint8_t der[EC_MAX_DER];
    const uint8_t *bytes = (const uint8_t *)signature.data;
    size_t len = signature.len;

    if (!jws_key_allows(key, alg))
        return fail(&jws_alg_mismatch);
    if (kinds[key->kind].group != NULL) {
        len = der_signature(der, signature, kinds[key->kind].coordinate_bytes);
        bytes = der;
    }
    if (len == 0)
        return fail(&jws_signature_wrong);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return fail(&fault_out_of_memory);
    err e = verify(ctx, key->ready[alg], signed_text, bytes, len);
    EVP_MD_CTX_free(ctx);
    if (failed(e))
        ERR_clear_error();
    return e;
}
