/* Known answers: test cases 13, 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew and
 * Viega), which NIST SP 800-38D takes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "crypto/aead.h"
#include "crypto/base64.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { TEXT_BYTES = 64 };

struct known {
    const char *key, *nonce, *aad, *plain, *sealed, *tag;
};

static const struct known known[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
     "b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682"
     "8838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

struct bytes {
    uint8_t data[TEXT_BYTES];
    size_t len;
};

static struct bytes unhex(const char *text)
{
    struct bytes b = {{0}, 0};
    assert_true(hex_decode(view_str(text), b.data, sizeof b.data, &b.len));
    return b;
}

static struct view view(const struct bytes *b)
{
    return view_of(b->data, b->len);
}

static void texts_are_sealed_and_opened_as_the_mode_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct bytes key = unhex(known[i].key), nonce = unhex(known[i].nonce);
        struct bytes aad = unhex(known[i].aad), plain = unhex(known[i].plain);
        struct bytes sealed = unhex(known[i].sealed), tag = unhex(known[i].tag);
        uint8_t out[TEXT_BYTES] = {0}, got[AEAD_TAG_BYTES];

        aead_seal(key.data, nonce.data, view(&aad), view(&plain), out, got);
        assert_memory_equal(out, sealed.data, sealed.len);
        assert_memory_equal(got, tag.data, sizeof got);
        memset(out, 0, sizeof out);
        assert_true(aead_open(key.data, nonce.data, view(&aad), view(&sealed), tag.data, out));
        assert_memory_equal(out, plain.data, plain.len);
    }
}

/* One bit of one byte anywhere, and no byte of the plain text comes out. */
static void what_was_changed_is_refused_and_nothing_of_it_given(void **state)
{
    const struct known *k = &known[2];
    struct bytes parts[5] = {unhex(k->key), unhex(k->nonce), unhex(k->aad), unhex(k->sealed),
                             unhex(k->tag)};
    static const uint8_t nothing[TEXT_BYTES];
    uint8_t out[TEXT_BYTES];
    (void)state;

    for (size_t part = 0; part < 5; part++) {
        for (size_t at = 0; at < parts[part].len; at++) {
            parts[part].data[at] ^= 0x40;
            memset(out, 0, sizeof out);
            assert_false(aead_open(parts[0].data, parts[1].data, view(&parts[2]), view(&parts[3]),
                                   parts[4].data, out));
            assert_memory_equal(out, nothing, sizeof out);
            parts[part].data[at] ^= 0x40;
        }
    }
    parts[3].len--;
    assert_false(aead_open(parts[0].data, parts[1].data, view(&parts[2]), view(&parts[3]),
                           parts[4].data, out));
    parts[3].len++;
    parts[2].len--;
    assert_false(aead_open(parts[0].data, parts[1].data, view(&parts[2]), view(&parts[3]),
                           parts[4].data, out));
    parts[2].len++;
    assert_true(aead_open(parts[0].data, parts[1].data, view(&parts[2]), view(&parts[3]),
                          parts[4].data, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_sealed_and_opened_as_the_mode_says),
        cmocka_unit_test(what_was_changed_is_refused_and_nothing_of_it_given),
    };
    return cmocka_run_group_tests_name("crypto/aead", tests, NULL, NULL);
}
