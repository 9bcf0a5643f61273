/* The signatures printed in RFC 7515 A.2, A.3 and RFC 8037 A.4, and what must not verify. Every
 * algorithm is checked against python3-cryptography's signatures in tests/unit/identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/err.h>

#include "crypto/base64.h"
#include "crypto/jws.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define RFC7515_PAYLOAD                                                                            \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"
#define RFC7515_N                                                                                  \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d" \
    "4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexM" \
    "dbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvU" \
    "K-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

static const struct jwk_members rsa = {
    .kty = VIEW("RSA"), .n = VIEW(RFC7515_N), .e = VIEW("AQAB")};
static const struct view rsa_text = VIEW("eyJhbGciOiJSUzI1NiJ9." RFC7515_PAYLOAD);
static const struct view rsa_signature = VIEW(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j"
    "ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L"
    "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEU"
    "ipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");

static const struct jwk_members ec = {
    .kty = VIEW("EC"), .crv = VIEW("P-256"),
    .x = VIEW("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
    .y = VIEW("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")};
static const struct view ec_text = VIEW("eyJhbGciOiJFUzI1NiJ9." RFC7515_PAYLOAD);
static const struct view ec_signature = VIEW(
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");

static const struct jwk_members okp = {
    .kty = VIEW("OKP"), .crv = VIEW("Ed25519"),
    .x = VIEW("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")};
static const struct view okp_text =
    VIEW("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
static const struct view okp_signature = VIEW(
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");

static void assert_fault(err e, const struct fault *want)
{
    assert_string_equal(e.fault == NULL ? "ok" : e.fault->name, want == NULL ? "ok" : want->name);
}

static err verify(const struct jwk_members *jwk, enum jws_alg alg, struct view text,
                  struct view signature)
{
    uint8_t bytes[1024];
    size_t len = 0;
    struct jws_key *key = NULL;

    assert_true(base64url_decode(signature, bytes, sizeof bytes, &len));
    assert_fault(jws_key_new(jwk, &key), NULL);
    err e = jws_verify(key, alg, text, view_of(bytes, len));
    jws_key_free(key);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static void the_signatures_of_the_rfcs_verify(void **state)
{
    (void)state;
    assert_fault(verify(&rsa, JWS_RS256, rsa_text, rsa_signature), NULL);
    assert_fault(verify(&ec, JWS_ES256, ec_text, ec_signature), NULL);
    assert_fault(verify(&okp, JWS_EDDSA, okp_text, okp_signature), NULL);
}

static void a_key_verifies_many_times(void **state)
{
    uint8_t bytes[64];
    size_t len = 0;
    struct jws_key *key = NULL;

    (void)state;
    assert_true(base64url_decode(ec_signature, bytes, sizeof bytes, &len));
    assert_fault(jws_key_new(&ec, &key), NULL);
    for (int i = 0; i < 3; i++) {
        assert_fault(jws_verify(key, JWS_ES256, ec_text, view_of(bytes, len)), NULL);
        assert_fault(jws_verify(key, JWS_ES256, okp_text, view_of(bytes, len)),
                     &jws_signature_wrong);
    }
    jws_key_free(key);
}

static void another_text_or_signature_does_not_verify(void **state)
{
    (void)state;
    assert_fault(verify(&rsa, JWS_RS256, ec_text, rsa_signature), &jws_signature_wrong);
    assert_fault(verify(&ec, JWS_ES256, rsa_text, ec_signature), &jws_signature_wrong);
    assert_fault(verify(&okp, JWS_EDDSA, rsa_text, okp_signature), &jws_signature_wrong);
    assert_fault(verify(&rsa, JWS_RS256, rsa_text, ec_signature), &jws_signature_wrong);
    assert_fault(verify(&okp, JWS_EDDSA, okp_text, VIEW("hgyY")), &jws_signature_wrong);
    assert_fault(verify(&rsa, JWS_RS256, rsa_text, VIEW("")), &jws_signature_wrong);
    assert_fault(verify(&ec, JWS_ES256, ec_text, VIEW("")), &jws_signature_wrong);
}

static void a_key_does_only_its_own_algorithms(void **state)
{
    struct jwk_members bound = rsa;

    (void)state;
    assert_fault(verify(&rsa, JWS_RS384, rsa_text, rsa_signature), &jws_signature_wrong);
    assert_fault(verify(&rsa, JWS_PS256, rsa_text, rsa_signature), &jws_signature_wrong);
    assert_fault(verify(&rsa, JWS_ES256, rsa_text, rsa_signature), &jws_alg_mismatch);
    assert_fault(verify(&ec, JWS_ES384, ec_text, ec_signature), &jws_alg_mismatch);
    assert_fault(verify(&ec, JWS_EDDSA, ec_text, ec_signature), &jws_alg_mismatch);
    bound.alg = VIEW("RS256");
    assert_fault(verify(&bound, JWS_RS256, rsa_text, rsa_signature), NULL);
    assert_fault(verify(&bound, JWS_RS384, rsa_text, rsa_signature), &jws_alg_mismatch);
    assert_fault(verify(&bound, JWS_PS256, rsa_text, rsa_signature), &jws_alg_mismatch);
}

static void an_ecdsa_signature_has_exactly_its_length(void **state)
{
    uint8_t bytes[80];
    size_t len = 0;
    struct jws_key *key = NULL;

    (void)state;
    assert_true(base64url_decode(ec_signature, bytes, sizeof bytes, &len));
    assert_int_equal(len, 64);
    bytes[64] = 0;
    assert_fault(jws_key_new(&ec, &key), NULL);
    assert_fault(jws_verify(key, JWS_ES256, ec_text, view_of(bytes, 65)), &jws_signature_wrong);
    assert_fault(jws_verify(key, JWS_ES256, ec_text, view_of(bytes, 63)), &jws_signature_wrong);
    memset(bytes, 0, sizeof bytes);
    assert_fault(jws_verify(key, JWS_ES256, ec_text, view_of(bytes, 64)), &jws_signature_wrong);
    memset(bytes, 0xff, sizeof bytes);
    assert_fault(jws_verify(key, JWS_ES256, ec_text, view_of(bytes, 64)), &jws_signature_wrong);
    jws_key_free(key);
}

static void assert_refused(struct jwk_members jwk, const struct fault *want)
{
    struct jws_key *key = NULL;

    assert_fault(jws_key_new(&jwk, &key), want);
    assert_null(key);
    assert_int_equal(ERR_peek_error(), 0);
}

static void keys_of_other_kinds_are_unsupported(void **state)
{
    struct jwk_members jwk = {.kty = VIEW("oct")};

    (void)state;
    assert_refused(jwk, &jws_key_unsupported);
    assert_refused((struct jwk_members){0}, &jws_key_unsupported);
    jwk = ec;
    jwk.crv = VIEW("secp256k1");
    assert_refused(jwk, &jws_key_unsupported);
    jwk = okp;
    jwk.crv = VIEW("Ed448");
    assert_refused(jwk, &jws_key_unsupported);
    jwk = rsa;
    jwk.alg = VIEW("RSA-OAEP");
    assert_refused(jwk, &jws_key_unsupported);
    jwk.alg = VIEW("HS256");
    assert_refused(jwk, &jws_key_unsupported);
    jwk.alg = VIEW("ES256"); /* a real one, but not an RSA key's */
    assert_refused(jwk, &jws_key_unsupported);
    jwk.alg = VIEW("");
    assert_refused(jwk, &jws_key_unsupported);
}

static void weak_rsa_keys_are_refused(void **state)
{
    struct jwk_members jwk = rsa;

    (void)state;
    jwk.n = view_upto(rsa.n, 171 * 2 - 2); /* 340 digits: 2040 bits */
    assert_refused(jwk, &jws_key_weak);
    jwk = rsa;
    jwk.e = VIEW("AQ"); /* 1: every signature is its own message */
    assert_refused(jwk, &jws_key_weak);
    jwk.e = VIEW("AQAA"); /* even */
    assert_refused(jwk, &jws_key_weak);
    jwk.e = VIEW("AQAAAAAAAQ"); /* a long exponent makes verification slow */
    assert_refused(jwk, &jws_key_weak);
    jwk.e = (struct view){NULL, 0};
    assert_refused(jwk, &jws_key_malformed);
    jwk.e = VIEW("AQAB==");
    assert_refused(jwk, &jws_key_malformed);
}

static void points_off_the_curve_are_refused(void **state)
{
    struct jwk_members jwk = ec;

    (void)state;
    jwk.y = VIEW("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4");
    assert_refused(jwk, &jws_key_malformed);
    jwk.y = (struct view){NULL, 0};
    assert_refused(jwk, &jws_key_malformed);
    jwk = ec;
    jwk.crv = VIEW("P-384");
    assert_refused(jwk, &jws_key_malformed);
    jwk = ec;
    jwk.x = VIEW("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    jwk.y = jwk.x;
    assert_refused(jwk, &jws_key_malformed);
    jwk = okp;
    jwk.x = VIEW("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ");
    assert_refused(jwk, &jws_key_malformed);
}

static void algorithm_names_are_exact(void **state)
{
    static const struct view refused[] = {
        VIEW("none"), VIEW("None"), VIEW("HS256"), VIEW("rs256"), VIEW("RS256 "), VIEW(""),
        VIEW("ES256K"), VIEW("RS1"), VIEW("RS256\0"),
    };
    enum jws_alg alg;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        assert_false(jws_alg_by_name(refused[i], &alg));
    for (int i = 0; i < JWS_ALG_COUNT; i++) {
        assert_true(jws_alg_by_name(view_str(jws_alg_name((enum jws_alg)i)), &alg));
        assert_int_equal(alg, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signatures_of_the_rfcs_verify),
        cmocka_unit_test(a_key_verifies_many_times),
        cmocka_unit_test(another_text_or_signature_does_not_verify),
        cmocka_unit_test(a_key_does_only_its_own_algorithms),
        cmocka_unit_test(an_ecdsa_signature_has_exactly_its_length),
        cmocka_unit_test(keys_of_other_kinds_are_unsupported),
        cmocka_unit_test(weak_rsa_keys_are_refused),
        cmocka_unit_test(points_off_the_curve_are_refused),
        cmocka_unit_test(algorithm_names_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
