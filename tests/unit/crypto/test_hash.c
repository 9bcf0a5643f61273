/* Known answers: FIPS 180-4's "abc", RFC 4231, RFC 7914 section 11, RFC 4648 section 10. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>

#include "crypto/base64.h"
#include "crypto/hash.h"
#include "crypto/random.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    uint8_t want[128];
    size_t want_len = 0;

    assert_true(hex_decode(view_str(hex), want, sizeof want, &want_len));
    assert_int_equal(want_len, len);
    assert_memory_equal(bytes, want, len);
}

static void sha1_gives_the_known_digests(void **state)
{
    uint8_t out[SHA1_BYTES];

    (void)state;
    sha1((struct view){NULL, 0}, out);
    assert_hex(out, sizeof out, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    sha1(VIEW("abc"), out);
    assert_hex(out, sizeof out, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static const char abc_digest[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void sha256_gives_the_known_digests(void **state)
{
    uint8_t out[SHA256_BYTES];

    (void)state;
    sha256(VIEW(""), out);
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256(VIEW("abc"), out);
    assert_hex(out, sizeof out, abc_digest);
    sha256((struct view){NULL, 0}, out);
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void incremental_sha256_can_be_begun_again(void **state)
{
    struct sha256 h = {0};
    uint8_t out[SHA256_BYTES];

    (void)state;
    for (int i = 0; i < 3; i++) {
        sha256_init(&h);
        sha256_add(&h, VIEW("a"));
        sha256_add(&h, VIEW("bc"));
        sha256_end(&h, out);
        assert_hex(out, sizeof out, abc_digest);
    }
    /* A digest that was not ended leaves nothing behind. */
    sha256_init(&h);
    sha256_add(&h, VIEW("left over"));
    sha256_init(&h);
    sha256_add(&h, VIEW("abc"));
    sha256_end(&h, out);
    assert_hex(out, sizeof out, abc_digest);
    sha256_clear(&h);
    sha256_clear(&h);
}

static void hmac_sha256_gives_the_answers_of_rfc_4231(void **state)
{
    uint8_t out[SHA256_BYTES];
    char key[131];

    (void)state;
    memset(key, 0x0b, 20);
    hmac_sha256(view_of(key, 20), VIEW("Hi There"), out);
    assert_hex(out, sizeof out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(VIEW("Jefe"), VIEW("what do ya want for nothing?"), out);
    assert_hex(out, sizeof out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256(view_of(key, sizeof key),
                VIEW("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, sizeof out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha256((struct view){NULL, 0}, VIEW(""), out);
    assert_hex(out, sizeof out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void hmac_may_write_over_its_key(void **state)
{
    uint8_t chain[SHA256_BYTES], apart[SHA256_BYTES];

    (void)state;
    sha256(VIEW("k"), chain);
    hmac_sha256(view_of(chain, sizeof chain), VIEW("d"), apart);
    hmac_sha256(view_of(chain, sizeof chain), VIEW("d"), chain);
    assert_memory_equal(chain, apart, sizeof chain);
}

static void pbkdf2_gives_the_answers_of_rfc_7914(void **state)
{
    uint8_t out[SHA256_BYTES];

    (void)state;
    pbkdf2_sha256(VIEW("passwd"), VIEW("salt"), 1, out);
    assert_hex(out, sizeof out, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    pbkdf2_sha256(VIEW("Password"), VIEW("NaCl"), 80000, out);
    assert_hex(out, sizeof out, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

static void *hash_many(void *arg)
{
    uint8_t out[SHA256_BYTES], want[SHA256_BYTES];
    size_t len;

    if (!hex_decode(view_str(abc_digest), want, sizeof want, &len))
        return arg;
    for (int i = 0; i < 2000; i++) {
        sha256(VIEW("abc"), out);
        if (memcmp(out, want, sizeof out) != 0)
            return arg;
    }
    return NULL;
}

static void threads_hash_side_by_side(void **state)
{
    pthread_t threads[4];
    void *bad = NULL;
    int mark;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, &mark), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

static void random_below_stays_below_and_reaches_all(void **state)
{
    unsigned seen[5] = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t n = random_below(5);
        assert_true(n < 5);
        seen[n]++;
    }
    for (size_t i = 0; i < 5; i++)
        assert_true(seen[i] > 0);
    assert_int_equal(random_below(1), 0);
    assert_true(random_u64() != random_u64());
}

static void check_codes(const char *plain, const char *padded)
{
    struct buf b;
    uint8_t out[16];
    size_t len = 99;
    struct view bare = view_upto(view_str(padded), view_find(view_str(padded), '='));

    buf_init(&b, 64);
    base64_encode(&b, view_str(plain));
    assert_true(view_is(buf_view(&b), padded));
    buf_reset(&b);
    base64url_encode(&b, view_str(plain));
    assert_true(view_eq(buf_view(&b), bare));
    buf_clear(&b);
    assert_true(base64_decode(view_str(padded), out, sizeof out, &len));
    assert_true(view_is(view_of(out, len), plain));
    assert_true(base64url_decode(bare, out, sizeof out, &len));
    assert_true(view_is(view_of(out, len), plain));
}

static void base64_gives_the_examples_of_rfc_4648(void **state)
{
    (void)state;
    check_codes("", "");
    check_codes("f", "Zg==");
    check_codes("fo", "Zm8=");
    check_codes("foo", "Zm9v");
    check_codes("foob", "Zm9vYg==");
    check_codes("fooba", "Zm9vYmE=");
    check_codes("foobar", "Zm9vYmFy");
}

static void the_two_alphabets_differ_in_their_last_two(void **state)
{
    static const char bytes[] = {(char)0xfb, (char)0xff, (char)0xbf};
    uint8_t out[3];
    size_t len;
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    base64_encode(&b, view_of(bytes, 3));
    assert_true(view_is(buf_view(&b), "+/+/"));
    buf_reset(&b);
    base64url_encode(&b, view_of(bytes, 3));
    assert_true(view_is(buf_view(&b), "-_-_"));
    buf_clear(&b);
    assert_true(base64url_decode(VIEW("-_-_"), out, sizeof out, &len));
    assert_memory_equal(out, bytes, 3);
    assert_false(base64url_decode(VIEW("+/+/"), out, sizeof out, &len));
    assert_false(base64_decode(VIEW("-_-_"), out, sizeof out, &len));
}

static void sloppy_base64_is_refused(void **state)
{
    static const struct view url[] = {
        VIEW("Zg=="), VIEW("Zh"), VIEW("Zm9"), VIEW("Z"), VIEW("Zm9vY"), VIEW("Zm 9v"),
        VIEW("Zm9v\n"), VIEW("Zm9v\0"), VIEW("Zm\xff" "v"), VIEW("Zm9v="),
    };
    static const struct view plain[] = {
        VIEW("Zg"), VIEW("Zg="), VIEW("Zh=="), VIEW("Zm9="), VIEW("Z==="), VIEW("===="),
        VIEW("Zg==Zg=="), VIEW("Zg==\n"), VIEW("=Zg="),
    };
    uint8_t out[16];
    size_t len = 7;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(url); i++)
        assert_false(base64url_decode(url[i], out, sizeof out, &len));
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        assert_false(base64_decode(plain[i], out, sizeof out, &len));
    assert_int_equal(len, 7);
}

static void decoding_never_writes_past_the_room(void **state)
{
    uint8_t out[4] = {0xee, 0xee, 0xee, 0xee};
    size_t len;

    (void)state;
    assert_false(base64url_decode(VIEW("Zm9vYg"), out, 3, &len));
    assert_true(base64url_decode(VIEW("Zm9v"), out, 3, &len));
    assert_int_equal(out[3], 0xee);
    assert_false(hex_decode(VIEW("00ff00"), out, 2, &len));
    assert_int_equal(out[3], 0xee);
}

static void hex_takes_both_cases_and_nothing_else(void **state)
{
    uint8_t out[2];
    size_t len;

    (void)state;
    assert_true(hex_decode(VIEW("aF09"), out, sizeof out, &len));
    assert_int_equal(out[0], 0xaf);
    assert_int_equal(out[1], 0x09);
    assert_false(hex_decode(VIEW("a"), out, sizeof out, &len));
    assert_false(hex_decode(VIEW("0g"), out, sizeof out, &len));
}

static void an_encoding_beyond_the_bound_fails_the_buffer(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 7);
    base64url_encode(&b, VIEW("fooba")); /* 7 characters: exactly the bound */
    assert_true(view_is(buf_view(&b), "Zm9vYmE"));
    base64url_encode(&b, VIEW("f"));
    assert_true(buf_failed(&b));
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_gives_the_known_digests),
        cmocka_unit_test(sha256_gives_the_known_digests),
        cmocka_unit_test(incremental_sha256_can_be_begun_again),
        cmocka_unit_test(hmac_sha256_gives_the_answers_of_rfc_4231),
        cmocka_unit_test(hmac_may_write_over_its_key),
        cmocka_unit_test(pbkdf2_gives_the_answers_of_rfc_7914),
        cmocka_unit_test(threads_hash_side_by_side),
        cmocka_unit_test(random_below_stays_below_and_reaches_all),
        cmocka_unit_test(base64_gives_the_examples_of_rfc_4648),
        cmocka_unit_test(the_two_alphabets_differ_in_their_last_two),
        cmocka_unit_test(sloppy_base64_is_refused),
        cmocka_unit_test(decoding_never_writes_past_the_room),
        cmocka_unit_test(hex_takes_both_cases_and_nothing_else),
        cmocka_unit_test(an_encoding_beyond_the_bound_fails_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
