#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/node_text.h"

/* Last: it makes a macro of fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void load(struct arena *arena, const char *text, char *const *environment,
                 struct node_config *out)
{
    struct diagnostics d = {.arena = arena};
    const struct node_config_sources sources = {
        .environment = environment, .conf_file = "x.conf", .conf_text = view_str(text)};
    assert_false(failed(node_config_load(arena, &sources, out, &d)));
}

static void assert_changed(const char *before, char *const *then, const char *after,
                           char *const *now, const char *names)
{
    struct arena arena;
    struct node_config first, second;
    struct buf text, said;

    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    buf_init(&text, 1 << 20);
    buf_init(&said, 1 << 20);
    load(&arena, before, then, &first);
    load(&arena, after, now, &second);
    node_text_write(&text, &first);
    size_t count = node_text_changed(buf_view(&text), &second, &said);
    buf_add_char(&said, '\0');
    assert_string_equal(said.data, names);
    assert_int_equal(count > 0, names[0] != '\0');
    buf_clear(&text);
    buf_clear(&said);
    arena_clear(&arena);
}

static void what_is_the_same_is_not_named(void **state)
{
    (void)state;
    assert_changed("workers = 2\n", NULL, "# a word\nworkers=2\n", NULL, "");
    /* Written out or left to the default: the same. */
    assert_changed("", NULL, "workers = 0\nproxy_listen = 127.0.0.1:8000\n", NULL, "");
}

static void what_was_changed_is_named_in_the_schemas_order(void **state)
{
    (void)state;
    assert_changed("workers = 2\nlog_level = info\n", NULL,
                   "proxy_listen = 127.0.0.1:8001\nworkers = 3\nlog_level = info\n", NULL,
                   "proxy_listen, workers");
    assert_changed("allow_plaintext = on\n", NULL, "", NULL, "allow_plaintext");
}

/* The login to the store is what the file says at a reload; the pace of logins is not. */
static void what_counts_at_a_reload_is_left_out(void **state)
{
    (void)state;
    assert_changed("", NULL, "pg_user = x\npg_iam_auth_max_rate = 100\n", NULL,
                   "pg_iam_auth_max_rate");
}

static void what_the_environment_says_is_left_out(void **state)
{
    char workers[] = "SALLYPORT_WORKERS=7";
    char *const with[] = {workers, NULL};
    (void)state;
    assert_changed("workers = 2\n", with, "workers = 3\n", NULL, "");
    assert_changed("workers = 2\n", NULL, "workers = 3\n", with, "");
}

static void a_property_that_the_text_does_not_know_is_left_out(void **state)
{
    struct arena arena;
    struct node_config node;
    struct buf said;

    (void)state;
    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    buf_init(&said, 4096);
    load(&arena, "workers = 2\nlog_level = info\n", NULL, &node);
    assert_int_equal(node_text_changed(VIEW("workers = 3\nother = 1\n"), &node, &said), 1);
    assert_true(view_is(buf_view(&said), "workers"));
    assert_int_equal(node_text_changed((struct view){NULL, 0}, &node, &said), 0);
    buf_clear(&said);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_the_same_is_not_named),
        cmocka_unit_test(what_was_changed_is_named_in_the_schemas_order),
        cmocka_unit_test(what_counts_at_a_reload_is_left_out),
        cmocka_unit_test(what_the_environment_says_is_left_out),
        cmocka_unit_test(a_property_that_the_text_does_not_know_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
