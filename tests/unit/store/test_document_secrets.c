/* Secrets of a document: found by the schema, sealed for their rows, opened where they are
 * loaded. */
#include "base/buf.h"
#include "config/config.h"
#include "gateway/config_host.h"
#include "store/document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER "//////////////////////////////////////////8="
#define ID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

struct world {
    struct arena arena;
    struct diagnostics d;
    struct node_config node;
    struct config_host host;
    struct keyring ring;
    struct entities entities;
    struct view previous;
};

static void set_keys(struct world *w, const char *key, const char *previous)
{
    w->previous = view_str(previous);
    w->node.keyring = (struct keyring_settings){
        .enabled = true, .key = view_str(key), .previous_keys = {&w->previous, previous != NULL}};
    keyring_init(&w->ring, &w->node.keyring);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    arena_init(&w->arena, 1 << 16, 1 << 26);
    w->d.arena = &w->arena;
    w->host = config_host_offline;
    w->host.node = &w->node;
    w->host.literal_secrets = true;
    w->node.vault_aws = *vault_find(NULL, 0, VIEW("aws"));
    w->node.vault_env = *vault_find(NULL, 0, VIEW("env"));
    set_keys(w, KEY, NULL);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    arena_clear(&w->arena);
    free(w);
    return 0;
}

static const char file[] = "_format_version: '3.0'\n"
                           "services:\n"
                           "- name: shop\n"
                           "  url: 'postgres://app@h/d'\n"
                           "  password: 12345\n"
                           "  sslrootcert: system\n"
                           "  read: {user: reader, password: 'a \"\\ b'}\n"
                           "- name: other\n"
                           "  url: 'postgres://app@h/d'\n"
                           "  password: '{vault://env/PATH}'\n"
                           "  sslrootcert: system\n";

static err load(struct world *w, struct view text)
{
    return entities_parse(&w->arena, "/f/f", text, &w->host, &w->entities, &w->d);
}

static struct store_document take(struct world *w, struct view text)
{
    struct store_document d;

    assert_false(failed(load(w, text)));
    assert_false(failed(
        document_from_yaml(&w->arena, VIEW("f"), VIEW("/f"), text, &d, &w->d)));
    return d;
}

static struct view give(struct world *w, const struct store_document *d)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    assert_true(document_to_yaml(d, &out) && !buf_failed(&out));
    struct view kept = arena_copy(&w->arena, buf_view(&out));
    buf_clear(&out);
    return kept;
}

/* As rows are: each has an id. */
static struct store_document store(struct world *w, struct view text,
                                   const struct store_document *before)
{
    static const struct store_document nothing;
    struct store_document d = take(w, text);
    struct store_changes changes;
    struct store_why why = {""};

    assert_false(failed(document_seal(&w->arena, &w->ring, before != NULL ? before : &nothing, &d,
                                      &why)));
    assert_false(failed(document_compare(&w->arena, before != NULL ? before : &nothing, &d,
                                         &changes)));
    assert_int_equal(changes.count, before != NULL ? 0 : d.counts[STORE_SERVICE]);
    for (size_t i = 0; i < changes.count; i++)
        d.entities[STORE_SERVICE][i].id = changes.items[i].id;
    return d;
}

#define assert_said(diagnostic, expected)                                                          \
    do {                                                                                           \
        struct view got = (diagnostic)->text;                                                      \
        if (!view_is(got, (expected)))                                                             \
            fail_msg("'%.*s' is not '%s'", VIEW_ARG(got), (const char *)(expected));               \
    } while (0)

static bool holds(struct view text, const char *what)
{
    return memmem(text.data, text.len, what, strlen(what)) != NULL;
}

static void what_a_file_holds_is_sealed_and_opens_where_it_is_loaded(void **state)
{
    struct world *w = *state;
    struct store_document d = store(w, view_str(file), NULL);
    struct view text = give(w, &d);

    assert_false(holds(text, "12345"));
    assert_false(holds(text, "a \\\""));
    assert_true(holds(text, "{vault://env/PATH}"));
    w->host.literal_secrets = false; /* as nodes load it */
    assert_false(failed(load(w, text)));
    const struct service *s = &w->entities.services[0];
    assert_true(view_is(s->primary.password, "12345"));
    assert_true(view_is(s->read.password, "a \"\\ b"));
    assert_null(s->primary.password_reference.data);
    assert_true(w->entities.services[1].primary.password_reference.len > 0);
}

static void the_same_secret_again_is_no_difference_whatever_its_form(void **state)
{
    struct world *w = *state;
    struct store_document first = store(w, view_str(file), NULL);
    struct view exported = give(w, &first);

    store(w, view_str(file), &first);
    store(w, exported, &first);
    set_keys(w, OTHER, KEY); /* an older key opens; the row stays as it is */
    store(w, view_str(file), &first);
    store(w, exported, &first);
}

static void another_secret_is_a_difference_of_its_field(void **state)
{
    struct world *w = *state;
    struct store_document first = store(w, view_str(file), NULL), second;
    struct store_changes changes;
    struct store_why why = {""};
    char text[sizeof file];

    memcpy(text, file, sizeof file);
    *strstr(text, "12345") = '9';
    second = take(w, view_str(text));
    assert_false(failed(document_seal(&w->arena, &w->ring, &first, &second, &why)));
    assert_false(failed(document_compare(&w->arena, &first, &second, &changes)));
    assert_int_equal(changes.count, 1);
    assert_true(view_is(changes.items[0].fields, "password"));
    /* What the row's key is not there for is sealed anew. */
    set_keys(w, OTHER, NULL);
    second = take(w, view_str(file));
    assert_false(failed(document_seal(&w->arena, &w->ring, &first, &second, &why)));
    assert_false(failed(document_compare(&w->arena, &first, &second, &changes)));
    assert_int_equal(changes.count, 1);
    assert_true(view_is(changes.items[0].fields, "password, read"));
}

static void a_sealed_secret_of_a_file_is_taken_by_its_own_row_alone(void **state)
{
    struct world *w = *state;
    struct store_document first = store(w, view_str(file), NULL);
    struct view stood = first.entities[STORE_SERVICE][0].definition, sealed, rest;
    char text[1024];

    rest = view_from(stood, view_find(stood, '}') + 1 - 100);
    sealed = view_from(rest, view_find(rest, '{'));
    sealed = view_upto(sealed, view_find(sealed, '}') + 1);
    assert_true(view_starts_with(sealed, VIEW("{keyring://v1/7e7951c67e2dc951/")));
    struct view own = first.entities[STORE_SERVICE][0].id;

    static const struct {
        const char *id;
        const char *said;
    } others[] = {
        {ID, "'password' of service 'thief': sealed by the key 7e7951c67e2dc951: it was changed, "
             "or sealed for another entity or field"},
        {NULL, "'password' of service 'thief': it is sealed for an entity by its 'id', and this "
               "one has none"},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct view id = others[i].said != NULL ? view_str(others[i].id) : own;
        w->d = (struct diagnostics){.arena = &w->arena};
        snprintf(text, sizeof text,
                 "_format_version: '3.0'\nservices:\n- name: thief\n%s%.*s%s"
                 "  url: 'postgres://app@h/d'\n  sslrootcert: system\n  password: '%.*s'\n",
                 id.len > 0 ? "  id: " : "", VIEW_ARG(id), id.len > 0 ? "\n" : "",
                 VIEW_ARG(sealed));
        err e = load(w, view_str(text));
        assert_int_equal(failed(e), others[i].said != NULL);
        if (others[i].said != NULL) {
            assert_said(w->d.first, others[i].said);
            assert_int_equal(w->d.first->line, id.len > 0 ? 7 : 6);
        }
    }
}

static void a_sealed_secret_stands_in_no_other_field(void **state)
{
    static const char text[] = "_format_version: '3.0'\n"
                               "services:\n"
                               "- name: shop\n"
                               "  id: " ID "\n"
                               "  url: 'postgres://h/d'\n"
                               "  sslrootcert: system\n"
                               "  user: \"\\u007bkeyring://v1/7e7951c67e2dc951/AAAA}\"\n"
                               "  password: \"\\x7bkeyring://v1/7e7951c67e2dc951/AAAA}\"\n";
    struct world *w = *state;

    assert_true(is_fault(load(w, view_str(text)), &config_invalid));
    assert_said(w->d.first, "'user' is no field of a secret, and so none that the keyring sealed "
                            "may stand there");
    assert_int_equal(w->d.first->line, 7);
    assert_said(w->d.first->next, "'password' of service 'shop': sealed by the key "
                                  "7e7951c67e2dc951: it is not what the keyring makes of a secret");
    assert_int_equal(w->d.errors, 2);
}

static void without_the_keyring_a_secret_is_refused_as_ever(void **state)
{
    struct world *w = *state;

    w->host.literal_secrets = false;
    assert_true(is_fault(load(w, view_str(file)), &config_invalid));
    assert_said(w->d.first, "'password' must be a reference like "
                            "\"{vault://env/NAME}\": no secret stands in this file");
    assert_int_equal(w->d.first->line, 5);
    assert_int_equal(w->d.errors, 2);
}

static void an_import_without_the_keyring_names_it(void **state)
{
    struct world *w = *state;

    w->host.literal_secrets = false;
    w->host.imported = true;
    assert_true(is_fault(load(w, view_str(file)), &config_invalid));
    assert_said(w->d.first, "'password' must be a reference like \"{vault://env/NAME}\": no "
                            "secret stands in this file; with keyring_enabled = on in "
                            "sallyport.conf an import seals one");
}

static void a_missing_key_is_named_with_the_entity(void **state)
{
    struct world *w = *state;
    struct store_document d = store(w, view_str(file), NULL);
    struct view text = give(w, &d);

    set_keys(w, OTHER, NULL);
    assert_true(is_fault(load(w, text), &config_invalid));
    assert_said(w->d.first, "'password' of service 'shop': the key 7e7951c67e2dc951 that sealed it "
                            "is not in the keyring, neither keyring_key nor among "
                            "keyring_previous_keys");
    struct store_why why = {""};
    assert_true(is_fault(document_seal(&w->arena, &w->ring, &d, &d, &why), &keyring_no_key));
    assert_string_equal(why.text, "'password' of service 'shop', sealed by the key "
                                  "7e7951c67e2dc951");
    /* A key in AWS that was not asked for is no mistake. */
    w->node.keyring.unread = true;
    w->d = (struct diagnostics){.arena = &w->arena};
    assert_false(failed(load(w, text)));
    assert_said(w->d.first, "'password': the sealed secret was not opened: its key was not read");
    assert_null(w->entities.services[0].primary.password.data);
}

static err leave(void *arg, const struct store_secret *secret, struct buf *instead)
{
    (void)secret, (void)instead;
    ++*(int *)arg;
    return OK;
}

/* The schema leaves the fields of a plugin's config to its name: nothing is looked for there. */
static void plugins_stand_beside_what_is_sealed(void **state)
{
    static const char plugins[] = "plugins:\n"
                                  "- {name: ip-restriction, config: {deny: 10.0.0.0/8}}\n"
                                  "- {name: rate-limiting, service: shop, config: {hour: 5}}\n";
    struct world *w = *state;
    struct store_document d = store(w, view_str(file), NULL);
    struct view text = give(w, &d);
    int secrets = 0;

    w->host.literal_secrets = false;
    text = arena_printf(&w->arena, "%.*s%s", VIEW_ARG(text), plugins);
    assert_false(failed(load(w, text)));
    assert_int_equal(w->entities.plugin_count, 2);
    assert_true(view_is(w->entities.services[0].primary.password, "12345"));
    /* A row may hold what no import writes. */
    d.entities[STORE_SERVICE][0].definition =
        VIEW("{\"password\": \"x\", \"plugins\": [{\"config\": {\"hour\": 5}}]}");
    d.counts[STORE_SERVICE] = 1;
    assert_false(failed(document_each_secret(&w->arena, &d, STORE_SERVICE, leave, &secrets, NULL)));
    assert_int_equal(secrets, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_a_file_holds_is_sealed_and_opens_where_it_is_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_same_secret_again_is_no_difference_whatever_its_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_secret_is_a_difference_of_its_field, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_sealed_secret_of_a_file_is_taken_by_its_own_row_alone,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sealed_secret_stands_in_no_other_field, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_the_keyring_a_secret_is_refused_as_ever, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_import_without_the_keyring_names_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_key_is_named_with_the_entity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plugins_stand_beside_what_is_sealed, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("store/document_secrets", tests, NULL, NULL);
}
