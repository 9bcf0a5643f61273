/* Sealed secrets: what they look like, where they open, and what is said when they do not.  The
 * known answer is python3-cryptography's. */
#include "base/buf.h"
#include "config/config.h"
#include "store/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_ID "7e7951c67e2dc951"
#define OTHER "//////////////////////////////////////////8="
#define OTHER_ID "3d0be79320aa3c4d"
#define SEALED                                                                                     \
    "{keyring://v1/" KEY_ID "/ZGVmZ2hpamtsbW5vK3SsFByKIr5WDS2bv0WIf-7sMvfzid8uAdYf27C8jJV4}"

static const struct secret_place place = {
    VIEW("service"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), VIEW("/read/password")};

static struct keyring ring_of(const char *key, const char *previous)
{
    struct view item = view_str(previous);
    struct keyring_settings settings = {.enabled = true,
                                        .key = view_str(key),
                                        .previous_keys = {&item, previous != NULL}};
    struct keyring ring;

    keyring_init(&ring, &settings);
    return ring;
}

/* Opens into a text that lives until the next call. */
static const char *open_text(const struct keyring *ring, const struct secret_place *at,
                             struct view sealed, const struct fault **fault)
{
    static char text[256];
    struct buf out;

    buf_init(&out, 1024);
    err e = keyring_open(ring, at, sealed, &out);
    *fault = e.fault;
    assert_true(!failed(e) || out.len == 0);
    assert_true(out.len < sizeof text);
    if (out.len > 0)
        memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    buf_clear_secure(&out);
    return text;
}

static void a_known_answer_opens_with_the_key_in_either_writing(void **state)
{
    static const char *const keys[] = {KEY, KEY_HEX, OTHER};
    const struct fault *fault;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct keyring ring = ring_of(keys[i], i == 2 ? KEY : NULL);
        assert_string_equal(ring.keys[i == 2].id, KEY_ID);
        assert_string_equal(open_text(&ring, &place, VIEW(SEALED), &fault),
                            "correct horse \xe2\x82\xac");
        assert_null(fault);
        keyring_clear(&ring);
    }
}

static void an_id_in_capitals_is_the_same_row(void **state)
{
    struct keyring ring = ring_of(KEY, NULL);
    struct secret_place at = place;
    const struct fault *fault;
    (void)state;

    at.id = VIEW("6BA7B810-9DAD-11D1-80B4-00C04FD430C8");
    assert_string_equal(open_text(&ring, &at, VIEW(SEALED), &fault), "correct horse \xe2\x82\xac");
}

static void what_is_sealed_opens_and_is_never_the_same_twice(void **state)
{
    struct keyring ring = ring_of(KEY, OTHER);
    const struct fault *fault;
    char id[KEYRING_ID_CHARS + 1];
    struct buf one, two;
    (void)state;

    buf_init(&one, 1024);
    buf_init(&two, 1024);
    assert_false(failed(keyring_seal(&ring, &place, VIEW("hunter2"), &one)));
    assert_false(failed(keyring_seal(&ring, &place, VIEW("hunter2"), &two)));
    assert_false(view_eq(buf_view(&one), buf_view(&two)));
    assert_null(memmem(one.data, one.len, "hunter2", 7));
    assert_false(failed(keyring_sealed_by(buf_view(&one), id)));
    assert_string_equal(id, KEY_ID);
    assert_string_equal(open_text(&ring, &place, buf_view(&one), &fault), "hunter2");
    assert_string_equal(open_text(&ring, &place, buf_view(&two), &fault), "hunter2");
    buf_clear(&one);
    buf_clear(&two);
}

static void it_opens_in_no_other_place(void **state)
{
    static const struct secret_place places[] = {
        {VIEW("route"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), VIEW("/read/password")},
        {VIEW("service"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c9"), VIEW("/read/password")},
        {VIEW("service"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), VIEW("/password")},
        /* The same bytes one after another, parted elsewhere. */
        {VIEW("service6"), VIEW("ba7b810-9dad-11d1-80b4-00c04fd430c8"), VIEW("/read/password")},
        {VIEW("service"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c8/read"), VIEW("/password")},
        {VIEW(""), VIEW(""), VIEW("")},
    };
    struct keyring ring = ring_of(KEY, NULL);
    const struct fault *fault;
    (void)state;

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        open_text(&ring, &places[i], VIEW(SEALED), &fault);
        assert_ptr_equal(fault, &keyring_refused);
    }
}

static void every_changed_or_missing_byte_is_refused(void **state)
{
    struct keyring ring = ring_of(KEY, NULL);
    char text[] = SEALED;
    const struct fault *fault;
    size_t refused = 0;
    (void)state;

    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            text[i] = (char)(SEALED[i] ^ (char)bit);
            open_text(&ring, &place, view_of(text, sizeof text - 1), &fault);
            assert_true(fault == &keyring_refused || fault == &keyring_malformed ||
                        fault == &keyring_no_key);
            refused += fault == &keyring_refused;
        }
        text[i] = SEALED[i];
    }
    assert_true(refused > 200); /* all that is base64url still */
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char cut[sizeof text];
        memcpy(cut, text, len);
        cut[len] = '}';
        open_text(&ring, &place, view_of(cut, len), &fault);
        assert_ptr_equal(fault, &keyring_malformed);
        open_text(&ring, &place, view_of(cut, len + 1), &fault);
        assert_true(len == sizeof text - 2 ? fault == NULL : fault != NULL);
    }
}

static void another_key_opens_nothing_and_the_id_alone_does_not_help(void **state)
{
    struct keyring ring = ring_of(OTHER, NULL);
    const struct fault *fault;
    (void)state;

    assert_string_equal(ring.keys[0].id, OTHER_ID);
    open_text(&ring, &place, VIEW(SEALED), &fault);
    assert_ptr_equal(fault, &keyring_no_key);
    memcpy(ring.keys[0].id, KEY_ID, sizeof KEY_ID);
    open_text(&ring, &place, VIEW(SEALED), &fault);
    assert_ptr_equal(fault, &keyring_refused);
}

static void what_is_no_sealed_secret_is_malformed(void **state)
{
    static const char *const texts[] = {
        "", "{keyring://}", "{keyring://v1/}", "{keyring://v1/" KEY_ID "}",
        "{keyring://v1/" KEY_ID "/}", "{keyring://v1/" KEY_ID "/AAAA}",
        /* Nonce and tag around nothing. */
        "{keyring://v1/" KEY_ID "/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}",
        "{keyring://v2/" KEY_ID "/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}",
        "{keyring://v1/7E7951C67E2DC951/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}",
        "{keyring://v1/7e7951c67e2dc95/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}",
        "{vault://env/X}", "keyring://v1/" KEY_ID "/AAAA",
    };
    struct keyring ring = ring_of(KEY, NULL);
    const struct fault *fault;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        open_text(&ring, &place, view_str(texts[i]), &fault);
        if (fault != &keyring_malformed)
            fail_msg("%s", texts[i]);
    }
}

static void without_a_key_nothing_is_sealed(void **state)
{
    static const struct keyring_settings off = {.enabled = false, .key = VIEW(KEY)};
    struct keyring ring;
    struct buf out;
    (void)state;

    buf_init(&out, 1 << 20);
    keyring_init(&ring, &off);
    assert_int_equal(ring.count, 0);
    assert_true(is_fault(keyring_seal(&ring, &place, VIEW("x"), &out), &keyring_off));
    ring = ring_of(KEY, NULL);
    assert_true(is_fault(keyring_seal(&ring, &place, VIEW(""), &out), &keyring_malformed));
    static char large[KEYRING_SECRET_MAX_BYTES + 1];
    memset(large, 'x', sizeof large);
    assert_true(is_fault(keyring_seal(&ring, &place, view_of(large, sizeof large), &out),
                         &fault_too_large));
    assert_int_equal(out.len, 0);
    assert_false(failed(keyring_seal(&ring, &place, view_of(large, sizeof large - 1), &out)));
    struct view whole = buf_view(&out);
    struct buf opened;
    buf_init(&opened, KEYRING_SECRET_MAX_BYTES);
    assert_false(failed(keyring_open(&ring, &place, whole, &opened)));
    assert_int_equal(opened.len, KEYRING_SECRET_MAX_BYTES);
    buf_clear(&opened);
    buf_clear(&out);
}

static void keys_are_32_bytes_and_a_new_one_is_another_each_time(void **state)
{
    static const char *const bad[] = {
        "", "x", "AAAA", KEY "A", KEY_HEX "00", "AAECAwQF",
        /* As long as a key in hexadecimal, and none. */
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eXY"};
    char one[KEYRING_KEY_TEXT_BYTES], two[KEYRING_KEY_TEXT_BYTES];
    struct keyring_key key;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(keyring_key_init(&key, view_str(bad[i])));
    keyring_generate(one);
    keyring_generate(two);
    assert_string_not_equal(one, two);
    assert_true(keyring_key_init(&key, view_str(one)));
    assert_int_equal(strlen(key.id), KEYRING_ID_CHARS);
}

/* ---- For the configuration ---- */

static void a_host_says_why_it_does_not_open(void **state)
{
    struct keyring_settings settings = {.enabled = true, .key = VIEW(OTHER)};
    struct config_host host = {.keyring = &settings};
    char why[SECRET_WHY_BYTES] = "";
    bool unread;
    struct buf out;
    (void)state;

    buf_init(&out, 1024);
    assert_false(keyring_host_open(&host, &place, VIEW(SEALED), &out, &unread, why));
    assert_false(unread);
    assert_string_equal(why, "the key " KEY_ID " that sealed it is not in the keyring, neither "
                             "keyring_key nor among keyring_previous_keys");
    settings.unread = true;
    assert_false(keyring_host_open(&host, &place, VIEW(SEALED), &out, &unread, why));
    assert_true(unread);

    settings = (struct keyring_settings){.enabled = false};
    assert_false(keyring_host_open(&host, &place, VIEW(SEALED), &out, &unread, why));
    assert_false(unread);
    assert_string_equal(why, "it is sealed by the key " KEY_ID ", and keyring_enabled is off");
    assert_false(keyring_host_open(&host, &place, VIEW("{keyring://v1/x}"), &out, &unread, why));
    assert_false(unread);
    assert_string_equal(why, "it is not what the keyring makes of a secret");

    struct node_config node = {.keyring = {.enabled = true, .key = VIEW(KEY)}};
    host = (struct config_host){.node = &node};
    assert_true(keyring_host_open(&host, &place, VIEW(SEALED), &out, &unread, why));
    assert_int_equal(out.len, 17);
    const struct secret_place other = {VIEW("service"), VIEW("x"), VIEW("/password")};
    assert_false(keyring_host_open(&host, &other, VIEW(SEALED), &out, &unread, why));
    assert_string_equal(why, "sealed by the key " KEY_ID ": it was changed, or sealed for another "
                             "entity or field");

    host.node = NULL; /* a file by itself */
    assert_false(keyring_host_open(&host, &place, VIEW(SEALED), &out, &unread, why));
    assert_true(unread);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_answer_opens_with_the_key_in_either_writing),
        cmocka_unit_test(an_id_in_capitals_is_the_same_row),
        cmocka_unit_test(what_is_sealed_opens_and_is_never_the_same_twice),
        cmocka_unit_test(it_opens_in_no_other_place),
        cmocka_unit_test(every_changed_or_missing_byte_is_refused),
        cmocka_unit_test(another_key_opens_nothing_and_the_id_alone_does_not_help),
        cmocka_unit_test(what_is_no_sealed_secret_is_malformed),
        cmocka_unit_test(without_a_key_nothing_is_sealed),
        cmocka_unit_test(keys_are_32_bytes_and_a_new_one_is_another_each_time),
        cmocka_unit_test(a_host_says_why_it_does_not_open),
    };
    return cmocka_run_group_tests_name("store/keyring", tests, NULL, NULL);
}
