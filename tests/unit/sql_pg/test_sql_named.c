#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "sql_pg/sql_named.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

/* names: joined by blanks. */
static void assert_rewritten(const char *sql, const char *text, const char *names)
{
    struct sql_named named;
    struct sql_place where;
    arena_reset(&arena);
    err e = sql_named_rewrite(&arena, view_str(sql), &named, &where);
    if (failed(e))
        print_error("%s: %s at %zu\n", sql, e.fault->name, where.offset);
    assert_false(failed(e));
    assert_string_equal(named.text.data, text);
    struct buf joined;
    buf_init(&joined, 65536);
    for (size_t i = 0; i < named.name_count; i++) {
        if (i > 0)
            buf_add_char(&joined, ' ');
        buf_add_view(&joined, named.names[i]);
    }
    if (!view_is(buf_view(&joined), names))
        print_error("%s: names %.*s\n", sql, VIEW_ARG(buf_view(&joined)));
    assert_true(view_is(buf_view(&joined), names));
    buf_clear(&joined);
}

static void assert_kept(const char *sql)
{
    assert_rewritten(sql, sql, "");
}

static void assert_refused(const char *sql, const struct fault *fault, size_t offset)
{
    struct sql_named named;
    struct sql_place where = {0};
    arena_reset(&arena);
    err e = sql_named_rewrite(&arena, view_str(sql), &named, &where);
    if (!is_fault(e, fault) || where.offset != offset)
        print_error("%s: %s at %zu\n", sql, failed(e) ? e.fault->name : "ok", where.offset);
    assert_true(is_fault(e, fault));
    assert_int_equal(where.offset, offset);
    assert_null(named.text.data);
    assert_int_equal(named.name_count, 0);
}

static void names_become_numbers_in_order_of_appearance(void **state)
{
    (void)state;
    assert_rewritten("select :a, :b, :a", "select $1, $2, $1", "a b");
    assert_rewritten(":x", "$1", "x");
    assert_rewritten("", "", "");
    assert_rewritten("select :A, :a, :_1", "select $1, $2, $3", "A a _1");
    assert_rewritten("a=:a and b>:b+1 limit :n;", "a=$1 and b>$2+1 limit $3;", "a b n");
    assert_rewritten("f(:a,:b)", "f($1,$2)", "a b");
    assert_rewritten("d->>:key", "d->>$1", "key");
    assert_rewritten("'x':a", "'x'$1", "a");
    assert_rewritten("select :a--:b\n,:c", "select $1--:b\n,$2", "a c");
}

static void casts_and_assignments_are_left_alone(void **state)
{
    (void)state;
    assert_kept("select a::text, '1'::int");
    assert_rewritten("select :id::uuid", "select $1::uuid", "id");
    assert_rewritten("select :id :: uuid", "select $1 :: uuid", "id");
    assert_rewritten("f(a := :v, b=>:w)", "f(a := $1, b=>$2)", "v w");
    assert_kept("select 1 : 2");
    assert_kept("select :");
    assert_kept("select :1, :'x', :\"y\"");
}

static void quoted_text_is_left_alone(void **state)
{
    (void)state;
    assert_rewritten("':a' :b", "':a' $1", "b");
    assert_rewritten("'it''s :a' :b", "'it''s :a' $1", "b");
    assert_rewritten("'\\' :b", "'\\' $1", "b");
    assert_rewritten("E'\\' :a' :b", "E'\\' :a' $1", "b");
    assert_rewritten("e'\\\\' :b", "e'\\\\' $1", "b");
    assert_rewritten("E'\\'' :b", "E'\\'' $1", "b");
    assert_rewritten("date'\\' :b", "date'\\' $1", "b"); /* not an E'' string */
    assert_rewritten("U&'\\' :b", "U&'\\' $1", "b");
    assert_rewritten("\":a\"\":a\" :b", "\":a\"\":a\" $1", "b");
    assert_rewritten("$$ :a ' $$ :b", "$$ :a ' $$ $1", "b");
    assert_rewritten("$q$ :a $$ :a $Q$ $q$ :b", "$q$ :a $$ :a $Q$ $q$ $1", "b");
    assert_rewritten("$q$ :a $x$q$ :b", "$q$ :a $x$q$ $1", "b");
    assert_kept("foo$1");
    assert_rewritten("foo$a$ :b", "foo$a$ $1", "b"); /* an identifier, no quote */
    assert_rewritten("1$a$ :a $a$ :b", "1$a$ :a $a$ $1", "b");
}

static void a_literal_continues_over_a_line_break_with_its_escapes(void **state)
{
    (void)state;
    assert_rewritten("E'a'\n'\\' :a' :b", "E'a'\n'\\' :a' $1", "b");
    assert_rewritten("E'a' -- x\n  '\\' :a' :b", "E'a' -- x\n  '\\' :a' $1", "b");
    assert_rewritten("E'a' '\\' :b", "E'a' '\\' $1", "b"); /* no line break: a new literal */
    assert_rewritten("'a'\n'b' :b", "'a'\n'b' $1", "b");
}

static void comments_are_left_alone(void **state)
{
    (void)state;
    assert_rewritten("/* :a */ :b", "/* :a */ $1", "b");
    assert_rewritten("/* /* :a */ :a */ :b", "/* /* :a */ :a */ $1", "b");
    assert_rewritten("-- ' :a\r:b", "-- ' :a\r$1", "b");
    assert_rewritten("a +/* ' */:b", "a +/* ' */$1", "b");
    assert_rewritten("1 - -:b", "1 - -$1", "b");
    assert_kept("-- :a");
}

static void slices_keep_their_colon(void **state)
{
    (void)state;
    assert_kept("select a[1:2], a[x:y], a[x :y], a[:], a[1:], a[:2]");
    assert_kept("select a[f(x):y], a[b[1]:c], a['1':y]");
    assert_rewritten("a[1: :n]", "a[1: $1]", "n");
    assert_rewritten("a[(:n)]", "a[($1)]", "n");
    assert_rewritten("a[1 + :n:2]", "a[1 + $1:2]", "n");
    assert_rewritten("a[x:(:n)]", "a[x:($1)]", "n");
    assert_rewritten("array[:a, :b]", "array[$1, $2]", "a b");
    assert_rewritten("ARRAY [[:a,1],[:b,2]]", "ARRAY [[$1,1],[$2,2]]", "a b");
    assert_rewritten("array[a[x:y], :b]", "array[a[x:y], $1]", "b");
    assert_rewritten("a[1] = :b", "a[1] = $1", "b");
    assert_refused("a[:n]", &sql_named_ambiguous_slice, 2);
    assert_refused("a[ /* x */ :n]", &sql_named_ambiguous_slice, 11);
    assert_refused("array[a[:n]]", &sql_named_ambiguous_slice, 8);
}

static void what_is_not_clear_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_refused("select $1", &sql_named_positional, 7);
    assert_refused("select 1$1", &sql_named_positional, 8);
    assert_refused("limit:n", &sql_named_touches_word, 5);
    assert_refused("select :a:b", &sql_named_touches_word, 9);
    assert_refused("select 1:b", &sql_named_touches_word, 8);
    assert_refused("select :na\xc3\xafve", &sql_named_bad_name, 7);
    assert_refused("select :\xc3\xa9", &sql_named_bad_name, 7);
    assert_refused("select :a$b", &sql_named_bad_name, 7);
    assert_refused("select 'abc", &sql_named_unterminated, 7);
    assert_refused("select E'abc\\'", &sql_named_unterminated, 8);
    assert_refused("select \"abc''", &sql_named_unterminated, 7);
    assert_refused("select $a$ $A$", &sql_named_unterminated, 7);
    assert_refused("select /* /* */", &sql_named_unterminated, 7);
    assert_refused("select '\xff'", &sql_named_not_utf8, 0);
    struct sql_named named;
    struct sql_place where;
    err e = sql_named_rewrite(&arena, VIEW("select\0 1"), &named, &where);
    assert_true(is_fault(e, &sql_named_not_utf8));
    assert_int_equal(where.offset, 6);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    static char sql[SQL_TEXT_MAX_BYTES + 2];
    memset(sql, ' ', SQL_TEXT_MAX_BYTES);
    assert_kept(sql);
    sql[SQL_TEXT_MAX_BYTES] = ' ';
    assert_refused(sql, &sql_named_too_large, SQL_TEXT_MAX_BYTES);

    char name[80] = ":";
    memset(name + 1, 'n', 63);
    char bare[64] = {0};
    memset(bare, 'n', 63);
    assert_rewritten(name, "$1", bare);
    name[64] = 'n';
    assert_refused(name, &sql_named_bad_name, 0);

    struct buf many;
    buf_init(&many, SQL_TEXT_MAX_BYTES);
    for (int i = 0; i < SQL_NAMED_MAX_PARAMETERS; i++)
        buf_printf(&many, ":p%d,", i);
    struct sql_named named;
    assert_false(failed(sql_named_rewrite(&arena, buf_view(&many), &named, NULL)));
    assert_int_equal(named.name_count, SQL_NAMED_MAX_PARAMETERS);
    assert_true(view_ends_with(named.text, VIEW(",$256,")));
    size_t offset = many.len;
    buf_add_str(&many, ":q");
    struct sql_place where;
    err e = sql_named_rewrite(&arena, buf_view(&many), &named, &where);
    assert_true(is_fault(e, &sql_named_too_many));
    assert_int_equal(where.offset, offset);
    buf_clear(&many);

    memset(sql, '(', 257);
    sql[257] = '\0';
    assert_refused(sql, &sql_named_too_many, 256);
}

static void positions_lead_back_to_the_users_text(void **state)
{
    (void)state;
    /*                  character:  1234567 8 9…  */
    const char *sql = "select '\xc3\xa9',\n  :first_name,\n  nonsense(:first_name)";
    struct sql_named named;
    assert_false(failed(sql_named_rewrite(&arena, view_str(sql), &named, NULL)));
    assert_string_equal(named.text.data, "select '\xc3\xa9',\n  $1,\n  nonsense($1)");
    const struct {
        uint32_t position;
        unsigned line, column;
        size_t offset;
    } cases[] = {
        {0, 1, 1, 0},
        {1, 1, 1, 0},
        {8, 1, 8, 7},   /* the literal */
        {11, 1, 11, 11}, /* its comma, one byte further than characters */
        {15, 2, 3, 15}, /* $1 */
        {16, 2, 3, 15}, /* within $1 */
        {17, 2, 14, 26}, /* the comma behind it */
        {21, 3, 3, 30}, /* nonsense */
        {30, 3, 12, 39}, /* the second $1 */
        {32, 3, 23, 50}, /* ) */
        {33, 3, 24, 51}, /* the end */
        {9999, 3, 24, 51},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sql_place place = sql_named_place(&named, cases[i].position);
        assert_int_equal(place.offset, cases[i].offset);
        assert_int_equal(place.line, cases[i].line);
        assert_int_equal(place.column, cases[i].column);
    }
}

/* Puts the names back where uses say they are. */
static void assert_round_trip(struct view sql)
{
    struct sql_named named;
    arena_reset(&arena);
    if (failed(sql_named_rewrite(&arena, sql, &named, NULL)))
        return;
    struct buf back;
    buf_init(&back, 1 << 18);
    size_t at = 0;
    for (size_t i = 0; i < named.use_count; i++) {
        const struct sql_named_use *use = &named.uses[i];
        char number[24];
        snprintf(number, sizeof number, "$%zu", use->index + 1);
        assert_true(use->to >= at);
        assert_true(view_is(view_upto(view_from(named.text, use->to), use->to_len), number));
        assert_true(use->index < named.name_count);
        buf_add(&back, named.text.data + at, use->to - at);
        assert_int_equal(back.len, use->from);
        buf_add_char(&back, ':');
        buf_add_view(&back, named.names[use->index]);
        at = use->to + use->to_len;
    }
    buf_add_view(&back, view_from(named.text, at));
    assert_false(buf_failed(&back));
    assert_true(view_eq(buf_view(&back), sql));
    buf_clear(&back);
}

static void putting_the_names_back_gives_the_original(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        ":a", ":bb", ":a", "'", "''", "E'", "\\", "\"", "$$", "$x$", "$", "--", "\n", "/*", "*/",
        "::", ":=", ":", "[", "]", "(", ")", "array", "x", "1", " ", " ", " ", ",", "+", "\xc3\xa9",
    };
    uint32_t random = 12345;
    size_t rewritten = 0;
    for (int round = 0; round < 20000; round++) {
        char sql[256];
        size_t len = 0;
        for (int n = 0; n < 12; n++) {
            random = random * 1664525 + 1013904223;
            const char *piece = pieces[(random >> 16) % COUNT_OF(pieces)];
            memcpy(sql + len, piece, strlen(piece));
            len += strlen(piece);
        }
        struct sql_named named;
        arena_reset(&arena);
        rewritten += !failed(sql_named_rewrite(&arena, view_of(sql, len), &named, NULL)) &&
                     named.use_count > 0;
        assert_round_trip(view_of(sql, len));
    }
    assert_true(rewritten > 1000); /* else this proves nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_numbers_in_order_of_appearance),
        cmocka_unit_test(casts_and_assignments_are_left_alone),
        cmocka_unit_test(quoted_text_is_left_alone),
        cmocka_unit_test(a_literal_continues_over_a_line_break_with_its_escapes),
        cmocka_unit_test(comments_are_left_alone),
        cmocka_unit_test(slices_keep_their_colon),
        cmocka_unit_test(what_is_not_clear_is_refused_with_its_place),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(positions_lead_back_to_the_users_text),
        cmocka_unit_test(putting_the_names_back_gives_the_original),
    };
    return cmocka_run_group_tests_name("sql_named", tests, begin, end);
}
