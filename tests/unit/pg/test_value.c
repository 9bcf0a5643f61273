#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/value.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_fault(expression, row) assert_ptr_equal((expression).fault, &(row))
#define assert_ok(expression) assert_null((expression).fault)
#define assert_view(v, text) assert_true(view_is((v), (text)))

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1024, 64 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

struct value_case {
    uint32_t oid;
    const char *text;
    enum cell_kind kind;
    const char *expected; /* NULL: as sent, and not copied */
};

static void scalars_become_cells(void **state)
{
    static const struct value_case cases[] = {
        {16, "t", CELL_BOOL, "true"},
        {16, "f", CELL_BOOL, "false"},
        {20, "-9223372036854775808", CELL_NUMBER, NULL},
        {21, "0", CELL_NUMBER, NULL},
        {23, "2147483647", CELL_NUMBER, NULL},
        {26, "4294967295", CELL_NUMBER, NULL},
        {700, "1e+20", CELL_NUMBER, NULL},
        {701, "-1.5e-07", CELL_NUMBER, NULL},
        {701, "-0", CELL_NUMBER, NULL},
        {701, "NaN", CELL_TEXT, NULL},
        {701, "-Infinity", CELL_TEXT, NULL},
        {1700, "12345678901234567890.12345678901234567890", CELL_NUMBER, NULL},
        {1700, "0.10", CELL_NUMBER, NULL},
        {1700, "NaN", CELL_TEXT, NULL},
        {1700, "Infinity", CELL_TEXT, NULL},
        {114, "{\"a\": 1 }", CELL_JSON, NULL},
        {3802, "[1, null]", CELL_JSON, NULL},
        {25, "", CELL_TEXT, NULL},
        {25, "gr\xc3\xbc\xc3\x9f", CELL_TEXT, NULL},
        {1082, "2026-01-02", CELL_TEXT, NULL},
        {2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", CELL_TEXT, NULL},
        {16400, "an enum's label", CELL_TEXT, NULL},
    };
    struct cell c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct view text = view_str(cases[i].text);
        assert_ok(pg_value_to_cell(&arena, cases[i].oid, text, &c));
        assert_int_equal(c.kind, cases[i].kind);
        assert_view(c.text, cases[i].expected != NULL ? cases[i].expected : cases[i].text);
        if (cases[i].expected == NULL)
            assert_ptr_equal(c.text.data, text.data);
    }
    assert_ok(pg_value_to_cell(&arena, 23, (struct view){NULL, 0}, &c));
    assert_int_equal(c.kind, CELL_NULL);
}

static void bytea_is_decoded_from_both_formats(void **state)
{
    static const struct {
        const char *text;
        struct view bytes;
    } cases[] = {
        {"\\x00ff41", VIEW("\0\xff"
                           "A")},
        {"\\x", VIEW("")},
        {"\\000\\377A", VIEW("\0\xff"
                             "A")},
        {"\\\\x41", VIEW("\\x41")},
        {"", VIEW("")},
    };
    static const char *const bad[] = {"\\x0", "\\xzz", "\\", "\\1", "\\12", "\\128", "\\400",
                                      "\\x41 "};
    struct cell c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_ok(pg_value_to_cell(&arena, 17, view_str(cases[i].text), &c));
        assert_int_equal(c.kind, CELL_BYTES);
        assert_true(view_eq(c.text, cases[i].bytes));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_fault(pg_value_to_cell(&arena, 17, view_str(bad[i]), &c), pg_value_malformed);
}

static void timestamps_become_iso_8601(void **state)
{
    static const struct value_case cases[] = {
        {1114, "2026-01-02 03:04:05", CELL_TEXT, "2026-01-02T03:04:05"},
        {1114, "2026-01-02 03:04:05.678901", CELL_TEXT, "2026-01-02T03:04:05.678901"},
        {1184, "2026-01-02 03:04:05+00", CELL_TEXT, "2026-01-02T03:04:05+00:00"},
        {1184, "2026-01-02 03:04:05.6-11", CELL_TEXT, "2026-01-02T03:04:05.6-11:00"},
        {1184, "2026-01-02 03:04:05+05:30", CELL_TEXT, "2026-01-02T03:04:05+05:30"},
        {1184, "1900-01-01 00:00:00+00:19:32", CELL_TEXT, "1900-01-01T00:00:00+00:19:32"},
        {1114, "infinity", CELL_TEXT, NULL},
        {1184, "-infinity", CELL_TEXT, NULL},
        {1114, "0044-03-15 00:00:00 BC", CELL_TEXT, NULL},
        {1184, "0044-03-15 00:00:00+00 BC", CELL_TEXT, NULL},
        {1114, "12026-01-02 03:04:05", CELL_TEXT, NULL},
        {1184, "Fri Jan 02 03:04:05 2026 UTC", CELL_TEXT, NULL},
        {1114, "", CELL_TEXT, NULL},
        {1184, "2026-01-02 03:04:05", CELL_TEXT, NULL},
        {1184, "2026-01-02 03:04:05+0", CELL_TEXT, NULL},
    };
    struct cell c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_ok(pg_value_to_cell(&arena, cases[i].oid, view_str(cases[i].text), &c));
        assert_int_equal(c.kind, cases[i].kind);
        assert_view(c.text, cases[i].expected != NULL ? cases[i].expected : cases[i].text);
    }
}

static void a_value_that_is_not_of_its_type_is_refused(void **state)
{
    static const struct {
        uint32_t oid;
        const char *text;
    } bad[] = {
        {16, "true"}, {16, ""},      {16, "tf"},  {23, ""},      {23, "1,\"admin\":true"},
        {23, "01"},   {23, "1 "},    {23, "0x1"}, {1700, ".5"},  {1700, "5."},
        {701, "1e"},  {701, "+1"},   {701, "-"},  {701, "nan"},  {701, "--1"},
    };
    struct cell c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_fault(pg_value_to_cell(&arena, bad[i].oid, view_str(bad[i].text), &c),
                     pg_value_malformed);
    assert_fault(pg_value_to_cell(&arena, 25, VIEW("caf\xe9"), &c), pg_value_not_utf8);
    assert_fault(pg_value_to_cell(&arena, 25, VIEW("eight bytes then \xff"), &c),
                 pg_value_not_utf8);
    assert_fault(pg_value_to_cell(&arena, 114, VIEW("\"\xff\""), &c), pg_value_not_utf8);
    assert_fault(pg_value_to_cell(&arena, 1009, VIEW("{\xff}"), &c), pg_value_not_utf8);
}

static struct cell decode(uint32_t oid, const char *text)
{
    struct cell c;

    assert_ok(pg_value_to_cell(&arena, oid, view_str(text), &c));
    assert_int_equal(c.kind, CELL_ARRAY);
    return c;
}

static void arrays_become_lists(void **state)
{
    struct cell c;

    (void)state;
    c = decode(1007, "{}");
    assert_int_equal(c.count, 0);
    c = decode(1007, "{1,-2,NULL}");
    assert_int_equal(c.count, 3);
    assert_int_equal(c.items[1].kind, CELL_NUMBER);
    assert_view(c.items[1].text, "-2");
    assert_int_equal(c.items[2].kind, CELL_NULL);
    c = decode(1000, "{t,f}");
    assert_int_equal(c.items[0].kind, CELL_BOOL);
    assert_view(c.items[0].text, "true");
    c = decode(3807, "{\"{\\\"a\\\": 1}\",\"[2, 3]\"}");
    assert_int_equal(c.items[0].kind, CELL_JSON);
    assert_view(c.items[0].text, "{\"a\": 1}");
    assert_view(c.items[1].text, "[2, 3]");
    c = decode(1185, "{\"2026-01-02 03:04:05+00\"}");
    assert_view(c.items[0].text, "2026-01-02T03:04:05+00:00");
    c = decode(1001, "{\"\\\\x4142\"}");
    assert_int_equal(c.items[0].kind, CELL_BYTES);
    assert_view(c.items[0].text, "AB");
}

static void array_elements_lose_their_quotes(void **state)
{
    struct cell c;

    (void)state;
    c = decode(1009, "{a,\"\",\"b,c\",\"NULL\",\"say \\\"hi\\\"\",\"back\\\\slash\",\"{}\",null}");
    assert_int_equal(c.count, 8);
    assert_view(c.items[0].text, "a");
    assert_view(c.items[1].text, "");
    assert_int_equal(c.items[1].kind, CELL_TEXT);
    assert_view(c.items[2].text, "b,c");
    assert_int_equal(c.items[3].kind, CELL_TEXT);
    assert_view(c.items[3].text, "NULL");
    assert_view(c.items[4].text, "say \"hi\"");
    assert_view(c.items[5].text, "back\\slash");
    assert_view(c.items[6].text, "{}");
    assert_int_equal(c.items[7].kind, CELL_TEXT);
}

static void arrays_nest_by_dimension(void **state)
{
    struct cell c;

    (void)state;
    c = decode(1007, "[0:1][-3:-2]={{1,2},{3,4}}");
    assert_int_equal(c.count, 2);
    assert_int_equal(c.items[1].kind, CELL_ARRAY);
    assert_int_equal(c.items[1].count, 2);
    assert_view(c.items[1].items[0].text, "3");
    c = decode(1007, "{{{{{{7}}}}}}");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(c.count, 1);
        c = c.items[0];
    }
    assert_view(c.items[0].text, "7");
}

static void a_hostile_array_is_refused(void **state)
{
    static const char *const bad[] = {
        "",       "{",         "}",       "{1",      "{1,",        "{1,}",       "{,1}",
        "{,}",    "{1}}",      "{1}x",    "{{1}",    "{1}{2}",     "{1,{2}",     "{{1}2}",
        "x{1}",   "{\"1",      "{\"1\"2}", "{1\"2\"}", "{\"1\\",    "{1\\2}",     "{{{{{{{1}}}}}}}",
        "[0:1={1}", "[0:1]{1}", "[0]={1}", "[:1]={1}", "[0:]={1}", "[0:1]",      "[0:1]=",
        "{x}",    "{\"\"}",    "{1 ,2}",  "[1:1][1:1][1:1][1:1][1:1][1:1][1:1]={1}",
    };
    struct cell c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_fault(pg_value_to_cell(&arena, 1007, view_str(bad[i]), &c), pg_value_malformed);
}

static void an_array_meets_the_arena_s_maximum(void **state)
{
    static char text[4001];
    struct arena small;
    struct cell c;

    (void)state;
    for (size_t i = 0; i < 4000; i += 2)
        text[i] = '1', text[i + 1] = ',';
    text[0] = '{';
    text[1] = '1';
    text[4000] = '}';
    text[3999] = '1';
    arena_init(&small, 1024, 16 * 1024);
    assert_fault(pg_value_to_cell(&small, 1007, view_of(text, sizeof text), &c), fault_too_large);
    assert_fault(pg_value_to_cell(&small, 17, (struct view){text, 20000}, &c), fault_too_large);
    arena_clear(&small);
}

static void types_have_their_names(void **state)
{
    static const struct {
        const char *name;
        uint32_t oid;
        const char *canonical;
    } cases[] = {
        {"bigint", 20, "int8"},
        {"int8", 20, "int8"},
        {"INTEGER", 23, "int4"},
        {"int", 23, "int4"},
        {"smallint", 21, "int2"},
        {"boolean", 16, "bool"},
        {"text", 25, "text"},
        {"uuid", 2950, "uuid"},
        {"numeric", 1700, "numeric"},
        {"numeric(10, 2)", 1700, "numeric"},
        {"decimal", 1700, "numeric"},
        {"character varying(20)", 1043, "varchar"},
        {"char", 1042, "bpchar"},
        {"\"char\"", 18, "\"char\""},
        {"double precision", 701, "float8"},
        {"double  precision", 701, "float8"},
        {"timestamptz", 1184, "timestamptz"},
        {"timestamp with time zone", 1184, "timestamptz"},
        {"Timestamp(3) With Time Zone", 1184, "timestamptz"},
        {"timestamp", 1114, "timestamp"},
        {"jsonb", 3802, "jsonb"},
        {"pg_catalog.int4", 23, "int4"},
        {"text[]", 1009, "text[]"},
        {"text []", 1009, "text[]"},
        {"bigint[][]", 1016, "int8[]"},
        {"timestamp with time zone[]", 1185, "timestamptz[]"},
        {"varchar(5)[]", 1015, "varchar[]"},
        {"\"char\"[]", 1002, "\"char\"[]"},
    };
    static const char *const unknown[] = {
        "", "[]", "()", "int4(", "int4)", "int4((1))", "order_state", "text[", "in t4",
        "a_name_of_more_than_sixty_three_bytes_that_no_type_could_ever_have_at_all",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(pg_type_oid(view_str(cases[i].name)), cases[i].oid);
        assert_view(pg_type_name(cases[i].oid), cases[i].canonical);
    }
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_int_equal(pg_type_oid(view_str(unknown[i])), 0);
    assert_null(pg_type_name(16400).data);
    assert_int_equal(pg_type_element(1009), 25);
    assert_int_equal(pg_type_element(25), 0);
    assert_true(pg_type_is_array(3807));
    assert_false(pg_type_is_array(3802));
}

static void parameters_of_their_type_pass(void **state)
{
    static const struct {
        uint32_t oid;
        const char *text;
    } good[] = {
        {16, "t"}, {16, "TRUE"}, {16, "fal"}, {16, "yes"}, {16, "n"}, {16, "on"}, {16, "of"},
        {16, "1"}, {16, "0"},
        {21, "-32768"}, {21, "32767"}, {23, "-2147483648"}, {23, "+2147483647"}, {23, "007"},
        {20, "9223372036854775807"}, {20, "-9223372036854775808"}, {20, "-0"},
        {26, "4294967295"},
        {701, "1e400"}, {701, "-.5"}, {701, "5."}, {701, "NaN"}, {701, "-Infinity"}, {700, "inf"},
        {1700, "123456789012345678901234567890.5"}, {1700, "1E-5"},
        {2950, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
        {2950, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"},
        {2950, "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
        {2950, "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"},
        {25, ""}, {25, "'; drop table x --"}, {1082, "tomorrow"}, {1009, "{a"}, {16400, "x"}, {0, "x"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_ok(pg_parameter_check(good[i].oid, view_str(good[i].text)));
}

static void parameters_of_another_type_are_refused(void **state)
{
    static const struct {
        uint32_t oid;
        struct view text;
    } bad[] = {
        {16, VIEW("")}, {16, VIEW("o")}, {16, VIEW("truex")}, {16, VIEW("2")}, {16, VIEW(" t")},
        {21, VIEW("32768")}, {21, VIEW("-32769")}, {23, VIEW("2147483648")}, {23, VIEW("1.0")},
        {23, VIEW("1e3")}, {23, VIEW(" 1")}, {23, VIEW("0x10")}, {23, VIEW("+-1")}, {23, VIEW("-")},
        {20, VIEW("9223372036854775808")}, {20, VIEW("-9223372036854775809")}, {20, VIEW("")},
        {20, VIEW("1 or 1=1")}, {26, VIEW("-1")}, {26, VIEW("4294967296")},
        {701, VIEW("")}, {701, VIEW(".")}, {701, VIEW("1e")}, {701, VIEW("1e+")}, {701, VIEW("--1")},
        {1700, VIEW("1,5")}, {1700, VIEW("1.2.3")}, {1700, VIEW("infinit")},
        {2950, VIEW("")}, {2950, VIEW("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1")},
        {2950, VIEW("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111")},
        {2950, VIEW("g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")},
        {2950, VIEW("a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11")},
        {2950, VIEW("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-")},
        {2950, VIEW("-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")},
        {2950, VIEW("a0eebc-999c0b-4ef8-bb6d-6bb9bd380a11")},
        {2950, VIEW("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")},
        {2950, VIEW("{")}, {2950, VIEW("{}")},
        {25, VIEW("a\0b")}, {25, VIEW("\xff")}, {25, VIEW("\xed\xa0\x80")}, {0, VIEW("\0")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_fault(pg_parameter_check(bad[i].oid, bad[i].text), pg_parameter_malformed);
}

static void array_literals_come_back_as_they_went(void **state)
{
    static const struct view elements[] = {
        VIEW("plain"), VIEW(""), VIEW("NULL"), {NULL, 0}, VIEW("a\"b\\c,{}"), VIEW(" x "),
    };
    struct pg_array_writer w;
    struct buf out;
    struct cell c;

    (void)state;
    buf_init(&out, 4096);
    pg_array_init(&w, &out);
    pg_add_array_open(&w);
    for (size_t i = 0; i < COUNT_OF(elements); i++)
        pg_add_array_element(&w, elements[i]);
    pg_add_array_close(&w);
    assert_false(buf_failed(&out));
    assert_view(buf_view(&out),
                "{\"plain\",\"\",\"NULL\",NULL,\"a\\\"b\\\\c,{}\",\" x \"}");
    assert_ok(pg_value_to_cell(&arena, 1009, buf_view(&out), &c));
    assert_int_equal(c.count, COUNT_OF(elements));
    for (size_t i = 0; i < COUNT_OF(elements); i++) {
        assert_int_equal(c.items[i].kind, elements[i].data == NULL ? CELL_NULL : CELL_TEXT);
        assert_true(view_eq(c.items[i].text, elements[i]));
    }
    buf_clear(&out);
}

static void array_literals_nest_and_must_balance(void **state)
{
    struct pg_array_writer w;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    pg_array_init(&w, &out);
    pg_add_array_open(&w);
    for (int i = 0; i < 2; i++) {
        pg_add_array_open(&w);
        pg_add_array_element(&w, VIEW("1"));
        pg_add_array_element(&w, VIEW("2"));
        pg_add_array_close(&w);
    }
    pg_add_array_close(&w);
    assert_view(buf_view(&out), "{{\"1\",\"2\"},{\"1\",\"2\"}}");
    pg_add_array_open(&w); /* a second literal */
    assert_true(buf_failed(&out));
    buf_reset(&out);
    pg_array_init(&w, &out);
    pg_add_array_close(&w);
    assert_true(buf_failed(&out));
    buf_reset(&out);
    pg_add_array_element(&w, VIEW("1"));
    assert_true(buf_failed(&out));
    buf_reset(&out);
    for (int i = 0; i < PG_MAX_DIMENSIONS; i++)
        pg_add_array_open(&w);
    assert_false(buf_failed(&out));
    pg_add_array_open(&w);
    assert_true(buf_failed(&out));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_become_cells),
        cmocka_unit_test(bytea_is_decoded_from_both_formats),
        cmocka_unit_test(timestamps_become_iso_8601),
        cmocka_unit_test(a_value_that_is_not_of_its_type_is_refused),
        cmocka_unit_test(arrays_become_lists),
        cmocka_unit_test(array_elements_lose_their_quotes),
        cmocka_unit_test(arrays_nest_by_dimension),
        cmocka_unit_test(a_hostile_array_is_refused),
        cmocka_unit_test(an_array_meets_the_arena_s_maximum),
        cmocka_unit_test(types_have_their_names),
        cmocka_unit_test(parameters_of_their_type_pass),
        cmocka_unit_test(parameters_of_another_type_are_refused),
        cmocka_unit_test(array_literals_come_back_as_they_went),
        cmocka_unit_test(array_literals_nest_and_must_balance),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
