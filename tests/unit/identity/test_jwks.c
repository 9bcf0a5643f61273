#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "identity/jwks.h"
#include "vectors.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define ED(kid)                                                                                    \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" kid                                          \
    "\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static void assert_refused(struct view text, const struct fault *want)
{
    struct jwks *set = NULL;
    err e = jwks_parse(text, &set);

    assert_string_equal(e.fault == NULL ? "ok" : e.fault->name, want->name);
    assert_null(set);
}

static void the_usable_keys_are_kept_and_the_rest_counted(void **state)
{
    size_t len;
    char *text = read_vectors("keys.json", &len);
    struct jwks *set = NULL;
    bool many;

    (void)state;
    assert_false(failed(jwks_parse(view_of(text, len), &set)));
    free(text); /* nothing may point into it */
    assert_int_equal(jwks_count(set), 6);
    assert_int_equal(jwks_skipped(set), 6);
    assert_true(view_is(jwks_at(set, 0)->kid, "rsa-1"));
    assert_non_null(jwks_find(set, VIEW("ec-512")));
    assert_null(jwks_find(set, VIEW("for-encryption")));
    assert_null(jwks_find(set, VIEW("")));
    assert_null(jwks_find(set, (struct view){NULL, 0}));
    assert_ptr_equal(jwks_only(set, JWS_EDDSA, &many), jwks_find(set, VIEW("ed-1")));
    assert_false(many);
    assert_null(jwks_only(set, JWS_RS256, &many)); /* rsa-1 and rsa-bound */
    assert_true(many);
    jwks_release(set);
}

static void documents_that_are_no_key_set_are_refused(void **state)
{
    (void)state;
    assert_refused(VIEW(""), &jwks_malformed);
    assert_refused(VIEW("[]"), &jwks_malformed);
    assert_refused(VIEW("{}"), &jwks_malformed);
    assert_refused(VIEW("{\"keys\":{}}"), &jwks_malformed);
    assert_refused(VIEW("{\"keys\":[1]}"), &jwks_malformed);
    assert_refused(VIEW("{\"keys\":[" ED("a") "],\"keys\":[]}"), &jwks_malformed);
    assert_refused(VIEW("{\"keys\":[" ED("a") "]} x"), &jwks_malformed);
    assert_refused(VIEW("{\"keys\":[]}"), &jwks_no_keys);
    assert_refused(VIEW("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"), &jwks_no_keys);
    assert_refused(VIEW("{\"keys\":[" ED("a") "," ED("b") "," ED("a") "]}"), &jwks_duplicate_kid);
    assert_refused(VIEW("{\"keys\":[" ED("a") "," ED("\\u0061") "]}"), &jwks_duplicate_kid);
}

static void the_size_and_number_of_keys_are_bounded(void **state)
{
    struct buf b;
    struct jwks *set = NULL;

    (void)state;
    buf_init(&b, 2 * JWKS_MAX_BYTES);
    for (int n = JWKS_MAX_KEYS; n <= JWKS_MAX_KEYS + 1; n++) {
        buf_reset(&b);
        buf_add_str(&b, "{\"keys\":[");
        for (int i = 0; i < n; i++)
            buf_printf(&b,
                       "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%d\",\"x\":"
                       "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
                       i > 0 ? "," : "", i);
        buf_add_str(&b, "]}");
        if (n > JWKS_MAX_KEYS) {
            assert_refused(buf_view(&b), &jwks_too_many_keys);
        } else {
            assert_false(failed(jwks_parse(buf_view(&b), &set)));
            assert_int_equal(jwks_count(set), JWKS_MAX_KEYS);
            jwks_release(set);
        }
    }
    while (b.len <= JWKS_MAX_BYTES)
        buf_add_char(&b, ' ');
    assert_refused(buf_view(&b), &jwks_too_large);
    buf_clear(&b);
}

static const struct fault *discover(const char *text, const char *issuer)
{
    struct arena arena;
    struct view uri;

    arena_init(&arena, 1024, 65536);
    err e = discovery_parse(&arena, view_str(text), view_str(issuer), &uri);
    assert_int_equal(failed(e), uri.data == NULL);
    arena_clear(&arena);
    return e.fault;
}

static void discovery_wants_the_issuer_itself(void **state)
{
    (void)state;
    assert_null(discover("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://k.example/j\"}",
                         "https://i.example"));
    assert_ptr_equal(
        discover("{\"issuer\":\"https://i.example/\",\"jwks_uri\":\"https://k.example/j\"}",
                 "https://i.example"),
        &discovery_issuer_mismatch);
    assert_ptr_equal(discover("{\"issuer\":\"https://i.example\"}", "https://i.example"),
                     &discovery_malformed);
    assert_ptr_equal(discover("{\"issuer\":\"https://i.example\",\"jwks_uri\":7}",
                              "https://i.example"),
                     &discovery_malformed);
    assert_ptr_equal(discover("<html>", "https://i.example"), &discovery_malformed);
    assert_ptr_equal(
        discover("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"http://k.example/j\"}",
                 "https://i.example"),
        &discovery_url_refused);
    /* A remote issuer does not point at this machine's plain services … */
    assert_ptr_equal(
        discover("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"http://127.0.0.1/j\"}",
                 "https://i.example"),
        &discovery_url_refused);
    /* … a development issuer on loopback may. */
    assert_null(discover("{\"issuer\":\"http://[::1]:9\",\"jwks_uri\":\"http://[::1]:9/j\"}",
                         "http://[::1]:9"));
}

static void the_discovery_url_stands_below_the_issuer(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024, 65536);
    assert_true(view_is(discovery_url(&arena, VIEW("https://i.example/oauth2/default")),
                        "https://i.example/oauth2/default/.well-known/openid-configuration"));
    assert_true(view_is(discovery_url(&arena, VIEW("https://i.example/")),
                        "https://i.example/.well-known/openid-configuration"));
    arena_clear(&arena);
}

static void keys_come_over_https_or_loopback(void **state)
{
    static const char *const allowed[] = {
        "https://i.example", "https://i.example:8443/a?b", "https://[2001:db8::1]:443/",
        "http://localhost:9000/jwks", "http://127.0.0.1", "http://127.9.9.9:80/", "http://[::1]:1/",
    };
    static const char *const refused[] = {
        "", "i.example", "ftp://i.example", "HTTPS://i.example", "https://", "https:///path",
        "https://user@i.example", "https://user:pw@i.example/", "https://i.example#f",
        "https://i.example:0/", "https://i.example:65536/", "https://i.example:x/",
        "https://i.example:", "https://[::1", "https://i .example", "https://i.example\n",
        "https://i.example\\@evil", "https://\xc3\xa9.example", "http://i.example",
        "http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "http://127.0.0.256/",
        "http://127.1/", "http://10.0.0.1/", "http://169.254.169.254/", "http://[::2]/",
        "http://localhost@evil.example/", "http://0.0.0.0/", "http://127.0.0.1.5/",
        "file:///etc/passwd",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(allowed); i++) {
        if (!key_url_allowed(view_str(allowed[i])))
            fail_msg("refused: %s", allowed[i]);
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        if (key_url_allowed(view_str(refused[i])))
            fail_msg("allowed: %s", refused[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usable_keys_are_kept_and_the_rest_counted),
        cmocka_unit_test(documents_that_are_no_key_set_are_refused),
        cmocka_unit_test(the_size_and_number_of_keys_are_bounded),
        cmocka_unit_test(discovery_wants_the_issuer_itself),
        cmocka_unit_test(the_discovery_url_stands_below_the_issuer),
        cmocka_unit_test(keys_come_over_https_or_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
