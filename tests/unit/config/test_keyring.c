/* The keyring_… properties: where keys are read, and that no message shows one. */
#include "node_test.h"

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define HEX "00010203040506070809aAbBcCdDeEfF101112131415161718191a1b1c1d1e1f"
#define PARTS "keyring_enabled = on\nkeyring_key = "

static const char *const variables[] = {"KEY=" KEY, "HEX=" HEX, "SHORT=AAECAwQFBgcICQoLDA0ODw==",
                                        "LOOSE=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
                                        "WORDS=correct horse battery staple, 32 bytes and then so",
                                        NULL};
static const char *const secrets[] = {"aws prod/key  0=" KEY, "aws slow  0=…", NULL};

static const char *key_file(const struct config_host *host, const char *path, struct buf *out)
{
    (void)host;
    if (strcmp(path, "/keys/open") == 0)
        return "others than its owner may use it; chmod go= it";
    buf_add_str(out, strcmp(path, "/keys/bad") == 0 ? "hunter2\n" : KEY "\n");
    return NULL;
}

static void load(struct loaded *l, const char *text, bool offline)
{
    *l = (struct loaded){0};
    test_config_init(&l->t, variables);
    l->t.host.secrets = secrets;
    l->t.host.host.secret = offline ? NULL : test_secret;
    l->t.host.host.leave_aws = offline;
    l->t.host.host.key_file = key_file;
    load_node(l, (struct node_config_sources){
        .conf_file = "s.conf",
        .conf_text = view_str(text)});
}

static void keys_are_read_from_files_the_environment_and_aws(void **state)
{
    static const char *const places[] = {"/keys/one", "{vault://env/KEY}",
                                         "{vault://aws/prod%2Fkey}"};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        char text[256];
        struct loaded l;
        snprintf(text, sizeof text, PARTS "%s\nkeyring_previous_keys = %s, {vault://env/HEX}\n",
                 places[i], places[i]);
        load(&l, text, false);
        assert_string_equal(test_said(&l.said), "");
        assert_false(failed(l.outcome));
        assert_true(l.node.keyring.enabled && !l.node.keyring.unread);
        assert_text(l.node.keyring.key, KEY);
        assert_int_equal(l.node.keyring.previous_keys.count, 2);
        assert_text(l.node.keyring.previous_keys.items[0], KEY);
        assert_text(l.node.keyring.previous_keys.items[1], HEX);
        clear(&l);
    }
}

static void the_keyring_is_off_by_default_and_reads_nothing_then(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, "", false);
    assert_false(l.node.keyring.enabled);
    clear(&l);
    load(&l, "keyring_key = /keys/open\nkeyring_previous_keys = {vault://aws/none}\n", false);
    assert_string_equal(
        test_said(&l.said),
        "1:0 warning: 'keyring_key': has no effect without keyring_enabled = on\n"
        "2:0 warning: 'keyring_previous_keys': has no effect without keyring_enabled = on\n");
    assert_string_equal(l.t.host.asked, "");
    assert_null(l.node.keyring.key.data);
    clear(&l);
}

static void a_key_in_aws_is_awaited_or_left_unread(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, PARTS "{vault://aws/slow}\n", false);
    assert_true(is_fault(l.outcome, &config_awaits_secrets));
    clear(&l);
    load(&l, PARTS "{vault://aws/slow}\nkeyring_previous_keys = /keys/one\n", true);
    assert_false(failed(l.outcome));
    assert_true(l.node.keyring.unread);
    assert_null(l.node.keyring.key.data);
    assert_int_equal(l.node.keyring.previous_keys.count, 1);
    assert_string_equal(test_said(&l.said), "2:0 warning: 'keyring_key': the secret of AWS was not "
                                            "read; check --secrets reads it\n");
    clear(&l);
}

#define NO_PLACE                                                                                   \
    "must be a reference like {vault://file/NAME}, or the absolute path of a file; no key stands " \
    "in this place itself\n"
#define NO_KEY                                                                                     \
    "is no key: 32 bytes are wanted, as base64 (44 characters) or hexadecimal (64)\n"

static void every_mistake_is_named_and_no_key_shown(void **state)
{
    static const struct {
        const char *text, *said;
    } mistakes[] = {
        {"keyring_enabled = on\n", "0:0 error: 'keyring_key': is needed with keyring_enabled = on; "
                                   "'sallyport keyring generate' makes one\n"},
        {PARTS KEY "\n", "2:0 error: 'keyring_key': " NO_PLACE},
        {PARTS "keys/one\n", "2:0 error: 'keyring_key': " NO_PLACE},
        {PARTS "{vault://env/KEY}\nkeyring_previous_keys = /keys/one," KEY "\n",
         "3:0 error: 'keyring_previous_keys': " NO_PLACE},
        {PARTS "{vault://env/SHORT}\n", "2:0 error: 'keyring_key': " NO_KEY},
        {PARTS "{vault://env/LOOSE}\n", "2:0 error: 'keyring_key': " NO_KEY},
        {PARTS "{vault://env/WORDS}\n", "2:0 error: 'keyring_key': " NO_KEY},
        {PARTS "/keys/bad\n", "2:0 error: 'keyring_key': " NO_KEY},
        {PARTS "/keys/open\n",
         "2:0 error: 'keyring_key': the file '/keys/open' cannot be read: others than its owner "
         "may use it; chmod go= it\n"},
        {PARTS "{vault://env/NONE}\n",
         "2:0 error: 'keyring_key': the environment variable 'NONE' is not set\n"},
        {PARTS "/k\nkeyring_previous_keys = /k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k,/k\n",
         "3:0 error: 'keyring_previous_keys': there are more than 15\n"},
        {"keyring_keys = /k\n",
         "1:0 error: 'keyring_keys': there is no such property; did you mean 'keyring_key'?\n"},
        {"keyring_strategy = vault\n",
         "1:0 warning: 'keyring_strategy': is known from Kong, but not supported yet by this "
         "version; it has no effect\n"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct loaded l;
        load(&l, mistakes[i].text, false);
        assert_string_equal(test_said(&l.said), mistakes[i].said);
        bool refused = strstr(mistakes[i].said, " error: ") != NULL;
        assert_true(refused ? is_fault(l.outcome, &config_invalid) : !failed(l.outcome));
        clear(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_from_files_the_environment_and_aws),
        cmocka_unit_test(the_keyring_is_off_by_default_and_reads_nothing_then),
        cmocka_unit_test(a_key_in_aws_is_awaited_or_left_unread),
        cmocka_unit_test(every_mistake_is_named_and_no_key_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
