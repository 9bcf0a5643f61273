#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/base64.h"
#include "crypto/sign.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static char folder[] = "/tmp/sallyport-sign-XXXXXX";

static const char *at(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(at(name), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(at(name), mode), 0);
}

static void assert_fault(err e, const struct fault *want)
{
    assert_string_equal(e.fault == NULL ? "ok" : e.fault->name, want == NULL ? "ok" : want->name);
}

/* RFC 8410 section 10.3's private key, and what RFC 8032's algorithm makes of it by
 * `openssl pkeyutl -sign -rawin` over "anchor". */
static const char rfc8410_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                  "-----END PRIVATE KEY-----\n";

static void the_key_of_rfc_8410_has_its_known_public_half(void **state)
{
    struct sign_key *key = NULL;
    uint8_t public_key[SIGN_PUBLIC_BYTES], want[SIGN_PUBLIC_BYTES];
    size_t len;

    (void)state;
    put("rfc8410", rfc8410_key, 0600);
    assert_fault(sign_key_load(at("rfc8410"), &key), NULL);
    sign_key_public(key, public_key);
    assert_true(base64_decode(VIEW("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="), want,
                              sizeof want, &len));
    assert_memory_equal(public_key, want, sizeof want);
    sign_key_free(key);
}

static void a_saved_key_signs_as_before(void **state)
{
    struct sign_key *made = NULL, *loaded = NULL;
    uint8_t public_key[SIGN_PUBLIC_BYTES], a[SIGN_SIGNATURE_BYTES], b[SIGN_SIGNATURE_BYTES];
    struct stat st;

    (void)state;
    assert_fault(sign_key_new(&made), NULL);
    assert_fault(sign_key_save(made, at("own")), NULL);
    assert_int_equal(stat(at("own"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_fault(sign_key_save(made, at("own")), &sign_key_exists);
    assert_fault(sign_key_load(at("own"), &loaded), NULL);
    assert_fault(sign_make(made, VIEW("anchor"), a), NULL);
    assert_fault(sign_make(loaded, VIEW("anchor"), b), NULL);
    assert_memory_equal(a, b, sizeof a); /* Ed25519 is deterministic */
    sign_key_public(loaded, public_key);
    assert_true(sign_verify(public_key, VIEW("anchor"), a));
    assert_false(sign_verify(public_key, VIEW("anchoR"), a));
    a[10] ^= 1;
    assert_false(sign_verify(public_key, VIEW("anchor"), a));
    a[10] ^= 1;
    public_key[0] ^= 1;
    assert_false(sign_verify(public_key, VIEW("anchor"), a));
    sign_key_free(made);
    sign_key_free(loaded);
}

static void two_new_keys_differ(void **state)
{
    struct sign_key *one = NULL, *two = NULL;
    uint8_t a[SIGN_PUBLIC_BYTES], b[SIGN_PUBLIC_BYTES];

    (void)state;
    assert_fault(sign_key_new(&one), NULL);
    assert_fault(sign_key_new(&two), NULL);
    sign_key_public(one, a);
    sign_key_public(two, b);
    assert_memory_not_equal(a, b, sizeof a);
    sign_key_free(one);
    sign_key_free(two);
}

static void a_file_that_is_not_such_a_key_is_refused(void **state)
{
    struct sign_key *key = NULL;
    static const char ec_key[] =
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
        "-----END PRIVATE KEY-----\n";

    (void)state;
    assert_fault(sign_key_load(at("nowhere"), &key), &sign_key_missing);
    assert_null(key);
    put("text", "not a key\n", 0600);
    assert_fault(sign_key_load(at("text"), &key), &sign_key_malformed);
    put("empty", "", 0600);
    assert_fault(sign_key_load(at("empty"), &key), &sign_key_malformed);
    put("ec", ec_key, 0600);
    assert_fault(sign_key_load(at("ec"), &key), &sign_key_malformed);
    put("open", rfc8410_key, 0640);
    assert_fault(sign_key_load(at("open"), &key), &sign_key_exposed);
    put("open", rfc8410_key, 0604);
    assert_fault(sign_key_load(at("open"), &key), &sign_key_exposed);
    assert_fault(sign_key_load(folder, &key), &sign_key_unreadable);
    assert_int_equal(symlink("rfc8410", at("link")), 0);
    assert_fault(sign_key_load(at("link"), &key), &sign_key_unreadable);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"rfc8410", "own", "text", "empty", "ec", "open", "link"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(at(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_rfc_8410_has_its_known_public_half),
        cmocka_unit_test(a_saved_key_signs_as_before),
        cmocka_unit_test(two_new_keys_differ),
        cmocka_unit_test(a_file_that_is_not_such_a_key_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
