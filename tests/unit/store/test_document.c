/* Between sallyport.yaml and rows: what is kept as written, what is made plain, what differs. */
#include "base/buf.h"
#include "config/config.h"
#include "store/document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define assert_text(view_value, expected)                                                          \
    do {                                                                                           \
        struct view got = (view_value);                                                            \
        if (!view_is(got, (expected)))                                                             \
            fail_msg("'%.*s' is not '%s'", VIEW_ARG(got), (const char *)(expected));               \
    } while (0)

struct world {
    struct arena arena;
    struct diagnostics d;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    arena_init(&w->arena, 1 << 16, 1 << 26);
    w->d.arena = &w->arena;
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

static struct store_document take(struct world *w, struct view text)
{
    struct store_document d;
    err e = document_from_yaml(&w->arena, VIEW("s.yaml"), VIEW("/etc/s"), text, &d, &w->d);
    assert_false(failed(e));
    return d;
}

static struct view give(struct world *w, const struct store_document *d)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(document_to_yaml(d, &out));
    assert_false(buf_failed(&out));
    struct view kept = arena_copy(&w->arena, buf_view(&out));
    buf_clear(&out);
    return kept;
}

static void definitions_hold_what_was_written(void **state)
{
    static const char text[] =
        "_format_version: '3.0'\n"
        "vaults:\n"
        "- {name: env, prefix: mine, config: {prefix: X_}}\n"
        "services:\n"
        "- name: shop\n"
        "  id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8\n"
        "  url: 'postgres://app@h/d'\n"
        "  password: '{vault://mine/p}'\n"
        "  sslrootcert: tls/ca.pem\n"
        "  max_response_bytes: 16m\n"
        "  tags: [a, 'b c']\n"
        "  created_at: 1700000000\n"
        "  pool: {max_connections: 3}\n"
        "  claims: [sub, '1', 1.50, 'on']\n"
        "  iam_auth:\n"
        "  routes:\n"
        "  - {name: a, methods: GET, paths: [/a], statement: {sql: 'select \"1\"\n'}}\n"
        "routes:\n"
        "- {name: b, service: {name: shop}, methods: [GET], paths: [/b], statement: {sql: x}}\n";
    struct store_document d = take(*state, view_str(text));

    assert_int_equal(d.counts[STORE_VAULT], 1);
    assert_text(d.entities[STORE_VAULT][0].name, "mine");
    assert_text(d.entities[STORE_VAULT][0].definition,
                "{\"name\":\"env\",\"config\":{\"prefix\":\"X_\"}}");
    assert_int_equal(d.counts[STORE_SERVICE], 1);
    const struct store_entity *s = &d.entities[STORE_SERVICE][0];
    assert_text(s->id, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    assert_int_equal(s->created_at, 1700000000);
    assert_int_equal(s->updated_at, -1);
    assert_int_equal(s->tags.count, 2);
    assert_text(s->tags.items[1], "b c");
    assert_text(s->definition,
                "{\"url\":\"postgres://app@h/d\",\"password\":\"{vault://mine/p}\","
                "\"sslrootcert\":\"/etc/s/tls/ca.pem\",\"max_response_bytes\":16777216,"
                "\"pool\":{\"max_connections\":3},\"claims\":[\"sub\",\"1\",1.50,\"on\"]}");
    assert_int_equal(d.counts[STORE_ROUTE], 2);
    assert_text(d.entities[STORE_ROUTE][0].name, "a");
    assert_null(d.entities[STORE_ROUTE][0].id.data);
    assert_text(d.entities[STORE_ROUTE][1].name, "b");
    assert_text(d.entities[STORE_ROUTE][1].service, "shop");
    assert_text(d.entities[STORE_ROUTE][1].definition,
                "{\"methods\":[\"GET\"],\"paths\":[\"/b\"],\"statement\":{\"sql\":\"x\"}}");
}

static void an_export_is_plain_where_it_may_be(void **state)
{
    static const char text[] =
        "_format_version: '3.0'\n"
        "services:\n"
        "- name: 'on'\n"
        "  url: postgres://u@h/d\n"
        "  claims: ['1', a.b, 'x\\y', \"\\x7f\\u2028\\ufeff\\U0001f600\"]\n"
        "  routes:\n"
        "  - {name: a, methods: [], paths: [/a], tags: t, statement: {sql: \"1\\n2\"}}\n";
    struct store_document d = take(*state, view_str(text));

    assert_text(give(*state, &d),
                "_format_version: \"3.0\"\n"
                "services:\n"
                "- name: \"on\"\n"
                "  url: \"postgres://u@h/d\"\n"
                "  claims:\n"
                "    - \"1\"\n"
                "    - a.b\n"
                "    - \"x\\\\y\"\n"
                "    - \"\\u007f\\u2028\\ufeff\U0001f600\"\n"
                "  routes:\n"
                "  - name: a\n"
                "    methods: []\n"
                "    paths:\n"
                "      - \"/a\"\n"
                "    statement:\n"
                "      sql: \"1\\n2\"\n"
                "    tags: [\"t\"]\n");
}

/* As sallyport.yaml(5) has it, every field of it. */
static void the_file_with_every_field_comes_back(void **state)
{
    struct world *w = *state;
    char *text = malloc(1 << 16);
    FILE *f = fopen(TEST_VECTORS "/config/full.yaml", "rb");
    assert_non_null(f);
    size_t len = fread(text, 1, 1 << 16, f);
    fclose(f);

    struct store_document first = take(w, view_of(text, len));
    struct view once = give(w, &first);
    struct store_document second = take(w, once);
    struct view twice = give(w, &second);
    assert_true(view_eq(once, twice));
    struct store_changes changes;
    /* Rows have ids. */
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        assert_true(first.counts[kind] > 0);
        assert_int_equal(first.counts[kind], second.counts[kind]);
        for (size_t i = 0; i < first.counts[kind]; i++) {
            assert_true(view_eq(first.entities[kind][i].definition,
                                second.entities[kind][i].definition));
            if (first.entities[kind][i].id.len == 0)
                first.entities[kind][i].id = arena_printf(&w->arena, "id %zu", i);
        }
    }
    assert_false(failed(document_compare(&w->arena, &first, &second, &changes)));
    assert_int_equal(changes.count, 0);
    assert_false(changes.role_order);
    free(text);
}

static void two_documents_are_told_apart_by_what_matters(void **state)
{
    static const char before[] =
        "issuers:\n"
        "- {name: a, id: i1, issuer: x, audience: [p, q], preset: okta}\n"
        "- {name: b, id: i2, issuer: y}\n"
        "roles:\n"
        "- {name: r, id: r1}\n- {name: s, id: r2}\n- {name: t, id: r3}\n";
    static const struct {
        const char *after;
        const char *said;
    } cases[] = {
        {"issuers:\n- {preset: okta, audience: [p, q], issuer: x, name: a}\n"
         "- {name: b, issuer: y}\n",
         "-r -s -t "},
        {"issuers:\n- {name: a, issuer: x, audience: [q, p], tags: [n]}\n",
         "~a(audience, preset, tags) -b -r -s -t "},
        {"issuers:\n- {name: c, id: i1, issuer: x, audience: [p, q], preset: okta}\n"
         "- {name: b, id: i3, issuer: y}\n",
         "~c(name) +b -b -r -s -t "},
        /* A username and another's custom_id may be the same text. */
        {"issuers:\n- {name: a}\n- {name: b}\nconsumers:\n- {username: u}\n- {custom_id: u}\n"
         "roles:\n- {name: r}\n- {name: s}\n- {name: t}\n",
         "~a(issuer, audience, preset) ~b(issuer) +u +u "},
        {"roles:\n- {name: s}\n- {name: r}\n", "-a -b -t order "},
        {"roles:\n- {name: new}\n- {name: r}\n- {name: t}\n", "-a -b +new -s "},
    };
    struct world *w = *state;
    struct store_document from = take(w, view_str(before));

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_document to = take(w, view_str(cases[i].after));
        struct store_changes changes;
        struct buf said;
        buf_init(&said, 4096);
        assert_false(failed(document_compare(&w->arena, &from, &to, &changes)));
        for (size_t k = 0; k < changes.count; k++) {
            const struct store_change *c = &changes.items[k];
            const struct store_entity *e = c->entity != NULL ? c->entity : c->row;
            buf_printf(&said, "%c%.*s", "+~-"[c->change], VIEW_ARG(e->label));
            if (c->change == STORE_UPDATE)
                buf_printf(&said, "(%.*s)", VIEW_ARG(c->fields));
            buf_add_char(&said, ' ');
        }
        if (changes.role_order)
            buf_add_str(&said, "order ");
        assert_text(buf_view(&said), cases[i].said);
        buf_clear(&said);
    }
}

static void what_is_no_mapping_is_no_document(void **state)
{
    struct world *w = *state;
    struct store_document d;

    assert_true(is_fault(document_from_yaml(&w->arena, VIEW("s"), VIEW("/"), VIEW("- a\n"), &d,
                                            &w->d),
                         &config_invalid));
    assert_true(is_fault(document_from_yaml(&w->arena, VIEW("s"), VIEW("/"), VIEW("{"), &d, &w->d),
                         &config_invalid));
    struct store_entity e = {.name = VIEW("x"), .definition = VIEW("[]")};
    struct store_document odd = {.entities = {[STORE_ISSUER] = &e}, .counts = {[STORE_ISSUER] = 1}};
    struct buf out;
    buf_init(&out, 4096);
    assert_false(document_to_yaml(&odd, &out));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(definitions_hold_what_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_export_is_plain_where_it_may_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_with_every_field_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_documents_are_told_apart_by_what_matters, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_mapping_is_no_document, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
