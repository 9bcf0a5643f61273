#include "json/json.h" /* before cmocka.h, whose macro fail() hides ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define assert_view(actual, expected) assert_true(view_is((actual), (expected)))

static struct arena arena;

static const struct json_value *parse(const char *text)
{
    const struct json_value *value = NULL;
    assert_false(failed(json_parse(&arena, view_str(text), NULL, &value, NULL)));
    assert_non_null(value);
    return value;
}

static void a_document_is_a_tree_of_views(void **state)
{
    static const char text[] = " {\"a\" : [1, -2.50e+3,true,null , \"x\"],\"b\":{},\"c\":\"\"} ";
    (void)state;
    const struct json_value *v = parse(text);
    assert_int_equal(v->type, JSON_OBJECT);
    assert_int_equal(v->count, 3);
    assert_int_equal(v->raw.len, sizeof text - 3);
    assert_ptr_equal(v->raw.data, text + 1);
    const struct json_value *a = v->first, *b = a->next, *c = b->next;
    assert_null(c->next);
    assert_view(a->name, "a");
    assert_int_equal(a->type, JSON_ARRAY);
    assert_int_equal(a->count, 5);
    assert_view(a->raw, "[1, -2.50e+3,true,null , \"x\"]");
    const struct json_value *item = a->first;
    assert_view(item->text, "1");
    assert_null(item->name.data);
    item = item->next;
    assert_int_equal(item->type, JSON_NUMBER);
    assert_view(item->text, "-2.50e+3");
    item = item->next;
    assert_int_equal(item->type, JSON_BOOL);
    assert_view(item->text, "true");
    item = item->next;
    assert_int_equal(item->type, JSON_NULL);
    item = item->next;
    assert_view(item->text, "x");
    assert_view(item->raw, "\"x\"");
    assert_null(item->next);
    assert_true(b->type == JSON_OBJECT && b->count == 0 && b->first == NULL);
    assert_true(c->type == JSON_STRING && c->text.len == 0 && c->text.data != NULL);
    assert_ptr_equal(c->text.data, text + sizeof text - 4);
}

static void escapes_become_what_they_stand_for(void **state)
{
    (void)state;
    const struct json_value *v = parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\"");
    assert_view(v->text, "\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC");
    assert_view(parse("\"\\ud83d\\ude00\"")->text, "\xF0\x9F\x98\x80");
    assert_view(parse("\"\\uDBFF\\uDFFF\\uffff\"")->text, "\xF4\x8F\xBF\xBF\xEF\xBF\xBF");
    v = parse("\"a\\u0000b\"");
    assert_int_equal(v->text.len, 3);
    assert_memory_equal(v->text.data, "a\0b", 3);
    assert_view(parse("\"\xF0\x9F\x98\x80\"")->text, "\xF0\x9F\x98\x80");
    assert_view(parse("{\"\\u0061\":1}")->first->name, "a");
}

static void what_is_not_json_is_refused_with_its_fault_and_place(void **state)
{
    static const struct {
        const char *text;
        const struct fault *fault;
        size_t at;
    } cases[] = {
        {"", &json_truncated, 0},
        {"  ", &json_truncated, 2},
        {"{", &json_truncated, 1},
        {"[1", &json_truncated, 2},
        {"[1,", &json_truncated, 3},
        {"{\"a\"", &json_truncated, 4},
        {"{\"a\":", &json_truncated, 5},
        {"\"abc", &json_truncated, 4},
        {"\"abc\\", &json_truncated, 5},
        {"\"abc\\\"", &json_truncated, 6},
        {"tru", &json_truncated, 3},
        {"-", &json_truncated, 1},
        {"1.", &json_truncated, 2},
        {"1e", &json_truncated, 2},
        {"1e+", &json_truncated, 3},
        {"[1,]", &json_syntax, 3},
        {"[,1]", &json_syntax, 1},
        {"[1 2]", &json_syntax, 3},
        {"[1}", &json_syntax, 2},
        {"{\"a\":1]", &json_syntax, 6},
        {"{\"a\":1,}", &json_syntax, 7},
        {"{a:1}", &json_syntax, 1},
        {"{\"a\" 1}", &json_syntax, 5},
        {"{\"a\":}", &json_syntax, 5},
        {"{1:1}", &json_syntax, 1},
        {"'a'", &json_syntax, 0},
        {"]", &json_syntax, 0},
        {"True", &json_syntax, 0},
        {"nulL", &json_syntax, 3},
        {"NaN", &json_syntax, 0},
        {"Infinity", &json_syntax, 0},
        {"-Infinity", &json_bad_number, 1},
        {"// c\n1", &json_syntax, 0},
        {"\v1", &json_syntax, 0},
        {"\xC2\xA0"
         "1",
         &json_syntax, 0},
        {"1 2", &json_trailing, 2},
        {"{} x", &json_trailing, 3},
        {"[]]", &json_trailing, 2},
        {"nullx", &json_trailing, 4},
        {"\xEF\xBB\xBF{}", &json_byte_order_mark, 0},
        {"01", &json_bad_number, 1},
        {"-01", &json_bad_number, 2},
        {"+1", &json_syntax, 0},
        {".5", &json_syntax, 0},
        {"-.5", &json_bad_number, 1},
        {"1.e1", &json_bad_number, 2},
        {"1.2.3", &json_bad_number, 3},
        {"1e1.5", &json_bad_number, 3},
        {"0x10", &json_bad_number, 1},
        {"1_000", &json_trailing, 1},
        {"1f", &json_bad_number, 1},
        {"--1", &json_bad_number, 1},
        {"\"a\nb\"", &json_bad_string, 2},
        {"\"\x1f\"", &json_bad_string, 1},
        {"\"\\a\"", &json_bad_escape, 1},
        {"\"\\U0041\"", &json_bad_escape, 1},
        {"\"\\\n\"", &json_bad_escape, 1},
        {"\"\\u12\"", &json_bad_escape, 1},
        {"\"\\u12g4\"", &json_bad_escape, 1},
        {"\"\\u+123\"", &json_bad_escape, 1},
        {"\"x\\ud800\"", &json_bad_escape, 2},
        {"\"\\udc00\"", &json_bad_escape, 1},
        {"\"\\ud800\\u0041\"", &json_bad_escape, 1},
        {"\"\\ud800\\ud800\"", &json_bad_escape, 1},
        {"\"\\ud800x\"", &json_bad_escape, 1},
        {"\"\\udc00\\udc00\"", &json_bad_escape, 1},
        {"[\"\xFF\"]", &json_not_utf8, 1},
        {"\"\xC0\xAF\"", &json_not_utf8, 0},
        {"\"\xED\xA0\x80\"", &json_not_utf8, 0},
        {"\"\xF4\x90\x80\x80\"", &json_not_utf8, 0},
        {"\"\xE2\x82\"", &json_not_utf8, 0},
        {"{\"\xFF\":1}", &json_not_utf8, 1},
        {"{\"a\":1,\"a\":2}", &json_duplicate_name, 11},
        {"{\"a\":1,\"b\":2,\"\\u0061\":3}", &json_duplicate_name, 22},
        {"[{\"x\":{\"\":1,\"\":2}}]", &json_duplicate_name, 15},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct json_value *value;
        size_t at = 9999, len = strlen(cases[i].text);
        /* An exact heap copy, so that a sanitizer sees a read past the end. */
        char *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        if (len > 0)
            memcpy(copy, cases[i].text, len);
        err e = json_parse(&arena, view_of(copy, len), NULL, &value, &at);
        if (e.fault != cases[i].fault || at != cases[i].at)
            print_error("%s: %s at %zu\n", cases[i].text, failed(e) ? e.fault->name : "ok", at);
        assert_ptr_equal(e.fault, cases[i].fault);
        assert_int_equal(at, cases[i].at);
        assert_null(value);
        free(copy);
        arena_reset(&arena);
    }
}

static void a_nul_is_no_end(void **state)
{
    const struct json_value *value;
    size_t at;
    (void)state;
    err e = json_parse(&arena, VIEW("1\0"), NULL, &value, &at);
    assert_ptr_equal(e.fault, &json_trailing);
    e = json_parse(&arena, VIEW("\"a\0b\""), NULL, &value, &at);
    assert_ptr_equal(e.fault, &json_bad_string);
    assert_int_equal(at, 2);
}

static void limits_hold_exactly(void **state)
{
    const struct json_limits limits = {.max_depth = 3, .max_values = 5};
    const struct json_limits scalar = {.max_depth = 0, .max_values = 1};
    const struct json_value *value;
    size_t at;
    (void)state;
    assert_false(failed(json_parse(&arena, VIEW("[[[]]]"), &limits, &value, NULL)));
    err e = json_parse(&arena, VIEW("[[[[]]]]"), &limits, &value, &at);
    assert_ptr_equal(e.fault, &json_too_deep);
    assert_int_equal(at, 3);
    assert_false(failed(json_parse(&arena, VIEW("[1,2,{\"a\":3}]"), &limits, &value, NULL)));
    e = json_parse(&arena, VIEW("[1,2,{\"a\":3},4]"), &limits, &value, &at);
    assert_ptr_equal(e.fault, &json_too_many_values);
    assert_int_equal(at, 13);
    assert_false(failed(json_parse(&arena, VIEW("7"), &scalar, &value, NULL)));
    e = json_parse(&arena, VIEW("[]"), &scalar, &value, &at);
    assert_ptr_equal(e.fault, &json_too_deep);
}

static void a_million_brackets_do_no_harm(void **state)
{
    size_t n = 1000000, at;
    char *text = malloc(n);
    const struct json_value *value;
    (void)state;
    assert_non_null(text);
    memset(text, '[', n);
    err e = json_parse(&arena, view_of(text, n), NULL, &value, &at);
    assert_ptr_equal(e.fault, &json_too_deep);
    assert_int_equal(at, JSON_DEFAULT_DEPTH);
    free(text);
}

static void duplicates_are_found_among_many_members(void **state)
{
    struct buf text;
    const struct json_value *value;
    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "%s\"m%d\":%d", i == 0 ? "{" : ",", i, i);
    buf_add_char(&text, '}');
    assert_false(failed(json_parse(&arena, buf_view(&text), NULL, &value, NULL)));
    assert_int_equal(value->count, 5000);
    assert_view(json_get(value, "m4999")->text, "4999");
    buf_truncate(&text, text.len - 1);
    buf_add_str(&text, ",\"m\\u0033\":1}"); /* m3 again */
    err e = json_parse(&arena, buf_view(&text), NULL, &value, NULL);
    assert_ptr_equal(e.fault, &json_duplicate_name);
    buf_clear(&text);
}

static void an_arena_without_room_is_an_error(void **state)
{
    static const char text[] = "{\"a\":[1,2,3,{\"b\":\"\\u0041\"}]}";
    const struct json_value *value;
    struct arena small;
    size_t room;
    (void)state;
    for (room = 0; room < 100000; room += 64) {
        arena_init(&small, 64, room);
        err e = json_parse(&small, view_str(text), NULL, &value, NULL);
        arena_clear(&small);
        if (!failed(e))
            break;
        assert_ptr_equal(e.fault, &fault_out_of_memory);
        assert_null(value);
    }
    assert_in_range(room, 64, 10000);
}

static void getters_take_only_their_type(void **state)
{
    struct view text = VIEW("untouched");
    int64_t n = 77;
    bool flag = false;
    (void)state;
    const struct json_value *v =
        parse("{\"s\":\"x\",\"n\":-5,\"t\":true,\"z\":null,\"f\":1.0,\"e\":1e3,\"a\":[]}");
    assert_true(json_get_string(v, "s", &text));
    assert_view(text, "x");
    assert_false(json_get_string(v, "n", &text));
    assert_false(json_get_string(v, "absent", &text));
    assert_false(json_get_string(json_get(v, "a"), "s", &text));
    assert_false(json_get_string(NULL, "s", &text));
    assert_view(text, "x");
    assert_true(json_get_bool(v, "t", &flag));
    assert_true(flag);
    assert_false(json_get_bool(v, "z", &flag));
    assert_true(json_get_i64(v, "n", &n));
    assert_int_equal(n, -5);
    assert_false(json_get_i64(v, "f", &n));
    assert_false(json_get_i64(v, "e", &n));
    assert_false(json_get_i64(v, "s", &n));
    assert_int_equal(n, -5);
    assert_true(json_is(json_get_view(v, VIEW("z")), JSON_NULL));
    assert_false(json_is(NULL, JSON_NULL));
}

static void integers_fit_or_fail(void **state)
{
    int64_t n = 0;
    (void)state;
    assert_true(json_to_i64(parse("9223372036854775807"), &n));
    assert_true(n == INT64_MAX);
    assert_true(json_to_i64(parse("-9223372036854775808"), &n));
    assert_true(n == INT64_MIN);
    assert_false(json_to_i64(parse("9223372036854775808"), &n));
    assert_false(json_to_i64(parse("-9223372036854775809"), &n));
    assert_false(json_to_i64(parse("99999999999999999999999"), &n));
    assert_true(json_to_i64(parse("-0"), &n));
    assert_int_equal(n, 0);
}

static void seconds_are_rounded_down(void **state)
{
    static const struct {
        const char *text;
        bool fits;
        int64_t seconds;
    } cases[] = {
        {"1516239022", true, 1516239022},
        {"1516239022.999", true, 1516239022},
        {"1.516239022e9", true, 1516239022},
        {"1.5162390229E+9", true, 1516239022},
        {"15162390220e-1", true, 1516239022},
        {"-1.5", true, -2},
        {"-1.0", true, -1},
        {"-0.0", true, 0},
        {"-0.1", true, -1},
        {"0.9", true, 0},
        {"5e-400", true, 0},
        {"-5e-400", true, -1},
        {"0e999999999999", true, 0},
        {"0.000e99", true, 0},
        {"0.0001e5", true, 10},
        {"1e18", true, 1000000000000000000},
        {"1e19", false, 0},
        {"1e999999999999", false, 0},
        {"9223372036854775807.9", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775808.5", false, 0},
        {"18446744073709551616", false, 0},
        {"\"1516239022\"", false, 0},
        {"null", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t n = 0;
        bool fits = json_to_seconds(parse(cases[i].text), &n);
        if (fits != cases[i].fits || n != cases[i].seconds)
            print_error("%s\n", cases[i].text);
        assert_int_equal(fits, cases[i].fits);
        assert_true(n == cases[i].seconds);
    }
}

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 4 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_document_is_a_tree_of_views),
        TEST(escapes_become_what_they_stand_for),
        TEST(what_is_not_json_is_refused_with_its_fault_and_place),
        TEST(a_nul_is_no_end),
        TEST(limits_hold_exactly),
        TEST(a_million_brackets_do_no_harm),
        TEST(duplicates_are_found_among_many_members),
        TEST(an_arena_without_room_is_an_error),
        TEST(getters_take_only_their_type),
        TEST(integers_fit_or_fail),
        TEST(seconds_are_rounded_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
