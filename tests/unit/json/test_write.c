#include "json/json.h" /* before cmocka.h, whose macro fail() hides ours */

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct buf out;

static void assert_written(const char *expected)
{
    assert_false(buf_failed(&out));
    if (!view_is(buf_view(&out), expected))
        print_error("%.*s\n", VIEW_ARG(buf_view(&out)));
    assert_true(view_is(buf_view(&out), expected));
    buf_reset(&out);
}

static void strings_are_escaped_only_where_they_must_be(void **state)
{
    static const struct {
        struct view text;
        const char *json;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {VIEW("plain text of more than eight bytes"), "\"plain text of more than eight bytes\""},
        {VIEW("a\"b\\c/d"), "\"a\\\"b\\\\c/d\""},
        {VIEW("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\""},
        {VIEW("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\""},
        {VIEW("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"),
         "\"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\""},
        {VIEW("</script>\xE2\x80\xA8"), "\"</script>\xE2\x80\xA8\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_add_string(&out, cases[i].text);
        assert_written(cases[i].json);
    }
}

/* The table of Unicode 15 section 3.9, "U+FFFD substitution of maximal subparts". */
static void ill_formed_utf8_becomes_replacement_characters(void **state)
{
#define R "\xEF\xBF\xBD"
    static const struct {
        struct view text;
        const char *json;
    } cases[] = {
        {VIEW("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
              "A"),
         "\"" R R R R R R R R "A\""},
        {VIEW("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
              "A"),
         "\"" R R R R R R R R "A\""},
        {VIEW("\xF4\x91\x92\x93\xFF"
              "A\x80\xBF"
              "B"),
         "\"" R R R R R "A" R R "B\""},
        {VIEW("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
              "A"),
         "\"" R R R R "A\""},
        {VIEW("end\xE2\x82"), "\"end" R "\""},
        {VIEW("\xF0"), "\"" R "\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_add_string(&out, cases[i].text);
        assert_written(cases[i].json);
    }
#undef R
}

/* One byte that needs care at every place of a string of every length up to 24: the eight-byte
 * steps must not overlook it. */
static void no_byte_is_overlooked_at_any_place(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    for (size_t len = 1; len <= 24; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 0x80; c++) {
                char text[24];
                const struct json_value *value;
                memset(text, 0x7e, sizeof text);
                text[at] = (char)c;
                json_add_string(&out, view_of(text, len));
                assert_false(failed(json_parse(&arena, buf_view(&out), NULL, &value, NULL)));
                assert_true(view_eq(value->text, view_of(text, len)));
                buf_reset(&out);
                arena_reset(&arena);
            }
        }
    }
    arena_clear(&arena);
}

/* RFC 4648 section 10. */
static void bytes_become_base64(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\""},           {"f", "\"Zg==\""},      {"fo", "\"Zm8=\""},
        {"foo", "\"Zm9v\""},    {"foob", "\"Zm9vYg==\""}, {"fooba", "\"Zm9vYmE=\""},
        {"foobar", "\"Zm9vYmFy\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_add_base64(&out, view_str(cases[i][0]));
        assert_written(cases[i][1]);
    }
    json_add_base64(&out, VIEW("\xFB\xEF\xBE\xFF\xFF\xFF\0"));
    assert_written("\"++++////AA==\"");
}

static void cells_are_written_by_kind(void **state)
{
    const struct cell pair[] = {{CELL_NUMBER, VIEW("1"), NULL, 0}, {CELL_NULL, {NULL, 0}, NULL, 0}};
    const struct cell inner = {CELL_ARRAY, {NULL, 0}, pair, 2};
    const struct cell nested[] = {inner, {CELL_ARRAY, {NULL, 0}, NULL, 0}};
    static const char number[] = "123456789012345678901234567890.10";
    const struct cell cells[] = {
        {CELL_NULL, {NULL, 0}, NULL, 0},
        {CELL_BOOL, VIEW("true"), NULL, 0},
        {CELL_NUMBER, view_str(number), NULL, 0},
        {CELL_TEXT, VIEW("a\"b"), NULL, 0},
        {CELL_JSON, VIEW("{\"k\": [1, 2]}"), NULL, 0},
        {CELL_BYTES, VIEW("\xFF"), NULL, 0},
        {CELL_ARRAY, {NULL, 0}, nested, 2},
    };
    static const char *const expected[] = {
        "null",       "true", "123456789012345678901234567890.10", "\"a\\\"b\"", "{\"k\": [1, 2]}",
        "\"/w==\"", "[[1,null],[]]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cells); i++) {
        json_add_cell(&out, &cells[i]);
        assert_written(expected[i]);
    }
}

static void a_cell_within_itself_ends_in_a_failed_buffer(void **state)
{
    struct cell loop = {CELL_ARRAY, {NULL, 0}, NULL, 1};
    (void)state;
    loop.items = &loop;
    json_add_cell(&out, &loop);
    assert_true(buf_failed(&out));
    buf_reset(&out);
}

static void rows_are_objects_in_column_order(void **state)
{
    struct arena arena;
    struct json_names names;
    char first[] = "id";
    const struct column columns[] = {{view_str(first), 20}, {VIEW("a\"b"), 25}, {VIEW(""), 25}};
    const struct cell cells[] = {{CELL_NUMBER, VIEW("7"), NULL, 0},
                                 {CELL_TEXT, VIEW("x"), NULL, 0},
                                 {CELL_NULL, {NULL, 0}, NULL, 0}};
    (void)state;
    arena_init(&arena, 512, 4096);
    assert_false(failed(json_names_init(&names, &arena, columns, 3)));
    memset(first, 'z', 2); /* the names were copied */
    json_add_row(&out, &names, cells);
    assert_written("{\"id\":7,\"a\\\"b\":\"x\",\"\":null}");
    assert_false(failed(json_names_init(&names, &arena, NULL, 0)));
    json_add_row(&out, &names, NULL);
    assert_written("{}");
    arena_clear(&arena);
    arena_init(&arena, 512, 0);
    assert_ptr_equal(json_names_init(&names, &arena, columns, 3).fault, &fault_out_of_memory);
    assert_int_equal(names.count, 0);
    arena_clear(&arena);
}

static void small_objects_are_written_by_hand(void **state)
{
    (void)state;
    json_add_name(&out, "a\"");
    json_add_bool(&out, false);
    assert_written("\"a\\\"\":false");
}

static void a_full_buffer_is_marked_failed(void **state)
{
    struct buf small;
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        buf_init(&small, max);
        json_add_string(&small, VIEW("a\nbcdefgh"));
        assert_true(buf_failed(&small));
        buf_clear(&small);
    }
    buf_init(&small, 12);
    json_add_string(&small, VIEW("a\nbcdefgh"));
    assert_false(buf_failed(&small));
    assert_int_equal(small.len, 12);
    buf_clear(&small);
}

static int open_buffer(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int close_buffer(void **state)
{
    (void)state;
    buf_clear(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_only_where_they_must_be),
        cmocka_unit_test(ill_formed_utf8_becomes_replacement_characters),
        cmocka_unit_test(no_byte_is_overlooked_at_any_place),
        cmocka_unit_test(bytes_become_base64),
        cmocka_unit_test(cells_are_written_by_kind),
        cmocka_unit_test(a_cell_within_itself_ends_in_a_failed_buffer),
        cmocka_unit_test(rows_are_objects_in_column_order),
        cmocka_unit_test(small_objects_are_written_by_hand),
        cmocka_unit_test(a_full_buffer_is_marked_failed),
    };
    return cmocka_run_group_tests(tests, open_buffer, close_buffer);
}
