#include "http/uri.h" /* before cmocka.h, whose macro fail() hides ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define assert_view(actual, expected) assert_true(view_is((actual), (expected)))

static void paths_are_checked_in_every_spelling(void **state)
{
    static const struct {
        const char *path;
        const struct fault *fault;
    } cases[] = {
        {"/", NULL},
        {"/a/b", NULL},
        {"/a/b/", NULL},
        {"/...", NULL},
        {"/.a", NULL},
        {"/a..", NULL},
        {"/caf%C3%A9", NULL},
        {"/a%20b", NULL},
        {"/%252e%252e", NULL}, /* decoded once, it is the name "%2e%2e" */
        {"", &uri_bad_path},
        {"a", &uri_bad_path},
        {"/a\\b", &uri_bad_path},
        {"//", &uri_empty_segment},
        {"//a", &uri_empty_segment},
        {"/a//b", &uri_empty_segment},
        {"/.", &uri_dot_segment},
        {"/..", &uri_dot_segment},
        {"/./a", &uri_dot_segment},
        {"/a/../b", &uri_dot_segment},
        {"/a/%2e%2E", &uri_dot_segment},
        {"/a/.%2e/", &uri_dot_segment},
        {"/%2e", &uri_dot_segment},
        {"/a%2Fb", &uri_encoded_separator},
        {"/a%5cb", &uri_encoded_separator},
        {"/..%2f", &uri_encoded_separator},
        {"/a%00", &uri_nul},
        {"/a%", &uri_bad_escape},
        {"/a%4", &uri_bad_escape},
        {"/a%4/b", &uri_bad_escape},
        {"/a%zz", &uri_bad_escape},
        {"/a%u0041", &uri_bad_escape},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e = uri_path_check(view_str(cases[i].path));
        if (e.fault != cases[i].fault)
            print_error("%s: %s\n", cases[i].path, failed(e) ? e.fault->name : "accepted");
        assert_ptr_equal(e.fault, cases[i].fault);
    }
}

static void segments_come_one_by_one(void **state)
{
    struct view rest = VIEW("/a/b%2F/"), segment;
    (void)state;
    assert_true(uri_path_next(&rest, &segment));
    assert_view(segment, "a");
    assert_true(uri_path_next(&rest, &segment));
    assert_view(segment, "b%2F");
    assert_true(uri_path_next(&rest, &segment));
    assert_view(segment, "");
    assert_false(uri_path_next(&rest, &segment));
    rest = VIEW("/");
    assert_true(uri_path_next(&rest, &segment));
    assert_int_equal(segment.len, 0);
    assert_false(uri_path_next(&rest, &segment));
}

static void pieces_are_decoded_once(void **state)
{
    static const struct {
        const char *raw, *segment, *query; /* NULL: refused */
        const struct fault *segment_fault, *query_fault;
    } cases[] = {
        {"", "", "", NULL, NULL},
        {"abc", "abc", "abc", NULL, NULL},
        {"a+b", "a+b", "a b", NULL, NULL},
        {"a%2bb", "a+b", "a+b", NULL, NULL},
        {"%41%62", "Ab", "Ab", NULL, NULL},
        {"caf%c3%A9", "caf\xC3\xA9", "caf\xC3\xA9", NULL, NULL},
        {"%2525", "%25", "%25", NULL, NULL},
        {"a%26b%3D", "a&b=", "a&b=", NULL, NULL},
        {"a%2fb", NULL, "a/b", &uri_encoded_separator, NULL},
        {"a/b", NULL, "a/b", &uri_bad_path, NULL},
        {"a%5Cb", NULL, "a\\b", &uri_encoded_separator, NULL},
        {"%", NULL, NULL, &uri_bad_escape, &uri_bad_escape},
        {"%a", NULL, NULL, &uri_bad_escape, &uri_bad_escape},
        {"%+1", NULL, NULL, &uri_bad_escape, &uri_bad_escape},
        {"x%00", NULL, NULL, &uri_nul, &uri_nul},
        {"%e9", NULL, NULL, &uri_not_utf8, &uri_not_utf8},
        {"%c0%af", NULL, NULL, &uri_not_utf8, &uri_not_utf8}, /* an overlong '/' */
        {"%ed%a0%80", NULL, NULL, &uri_not_utf8, &uri_not_utf8},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, 256, 4096);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct view raw = view_str(cases[i].raw), out = {NULL, 0};
        assert_ptr_equal(uri_decode_segment(&arena, raw, &out).fault, cases[i].segment_fault);
        if (cases[i].segment != NULL)
            assert_view(out, cases[i].segment);
        assert_ptr_equal(uri_decode_query(&arena, raw, &out).fault, cases[i].query_fault);
        if (cases[i].query != NULL)
            assert_view(out, cases[i].query);
    }
    arena_clear(&arena);
}

static void what_needs_no_decoding_is_not_copied(void **state)
{
    struct arena arena;
    struct view raw = VIEW("plain"), out;
    (void)state;
    arena_init(&arena, 64, 0);
    assert_false(failed(uri_decode_segment(&arena, raw, &out)));
    assert_ptr_equal(out.data, raw.data);
    assert_ptr_equal(uri_decode_segment(&arena, VIEW("%41"), &out).fault, &fault_out_of_memory);
    arena_clear(&arena);
}

static void a_query_gives_every_pair_as_written(void **state)
{
    struct view rest = VIEW("&a=1&&b&=x&a=2=3&c="), name, value;
    (void)state;
    assert_true(uri_query_next(&rest, &name, &value));
    assert_view(name, "a");
    assert_view(value, "1");
    assert_true(uri_query_next(&rest, &name, &value));
    assert_view(name, "b");
    assert_null(value.data);
    assert_true(uri_query_next(&rest, &name, &value));
    assert_view(name, "");
    assert_view(value, "x");
    assert_true(uri_query_next(&rest, &name, &value));
    assert_view(name, "a");
    assert_view(value, "2=3");
    assert_true(uri_query_next(&rest, &name, &value));
    assert_view(name, "c");
    assert_non_null(value.data);
    assert_int_equal(value.len, 0);
    assert_false(uri_query_next(&rest, &name, &value));
    rest = (struct view){NULL, 0};
    assert_false(uri_query_next(&rest, &name, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_checked_in_every_spelling),
        cmocka_unit_test(segments_come_one_by_one),
        cmocka_unit_test(pieces_are_decoded_once),
        cmocka_unit_test(what_needs_no_decoding_is_not_copied),
        cmocka_unit_test(a_query_gives_every_pair_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
