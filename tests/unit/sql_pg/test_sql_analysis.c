#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "sql_pg/sql_analysis.h"
#include "sql_pg/sql_named.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 22);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static struct sql_analysis analysed(const char *sql)
{
    struct sql_analysis a;
    arena_reset(&arena);
    err e = sql_analyse(&arena, view_str(sql), &a);
    if (failed(e))
        print_error("%s: %s: %.*s\n", sql, e.fault->name, VIEW_ARG(a.message));
    assert_false(failed(e));
    return a;
}

static void assert_refused(const char *sql, const struct fault *fault, uint32_t position)
{
    struct sql_analysis a;
    arena_reset(&arena);
    err e = sql_analyse(&arena, view_str(sql), &a);
    if (!is_fault(e, fault) || a.position != position)
        print_error("%.60s: %s at %u\n", sql, failed(e) ? e.fault->name : "ok", a.position);
    assert_true(is_fault(e, fault));
    assert_int_equal(a.position, position);
    assert_true(a.message.len > 0);
    assert_int_equal(a.kind, SQL_REFUSED);
    assert_false(a.leaves_no_trace);
}

static void statements_have_their_kind_and_frame(void **state)
{
    (void)state;
    const struct {
        const char *sql;
        enum sql_kind kind;
        const char *command;
        bool implicit_safe, reads_only;
    } cases[] = {
        {"select 1", SQL_SELECT, "SELECT", true, true},
        {"select 1;", SQL_SELECT, "SELECT", true, true},
        {" ; select 1 ;; -- x", SQL_SELECT, "SELECT", true, true},
        {"table t", SQL_SELECT, "SELECT", true, true},
        {"values (1), (2)", SQL_VALUES, "VALUES", true, true},
        {"with a as (select 1) select * from a union select 2", SQL_SELECT, "SELECT", true, true},
        {"insert into t values (1)", SQL_INSERT, "INSERT", true, false},
        {"update t set a = 1", SQL_UPDATE, "UPDATE", true, false},
        {"delete from t", SQL_DELETE, "DELETE", true, false},
        {"merge into t using s on true when matched then delete", SQL_MERGE, "MERGE", true, false},
        {"with d as (delete from t returning *) select * from d", SQL_SELECT, "SELECT", true,
         false},
        {"select * from (with d as (insert into t values (1) returning 1) select * from d) x",
         SQL_SELECT, "SELECT", true, false},
        {"select * from t for update", SQL_SELECT, "SELECT", true, false},
        {"select * from t for key share", SQL_SELECT, "SELECT", true, false},
        {"select a into b from c", SQL_UTILITY, "SELECT INTO", false, false},
        {"call p(1)", SQL_CALL, "CALL", false, false},
        {"do $$ begin null; end $$", SQL_DO, "DO", false, false},
        {"explain select 1", SQL_EXPLAIN, "EXPLAIN", false, true},
        {"explain analyze delete from t", SQL_EXPLAIN, "EXPLAIN", false, false},
        {"show search_path", SQL_SHOW, "SHOW", false, true},
        {"truncate t", SQL_UTILITY, "TRUNCATE", false, false},
        {"refresh materialized view concurrently m", SQL_UTILITY, "REFRESH MATERIALIZED VIEW",
         false, false},
        {"notify c, 'x'", SQL_UTILITY, "NOTIFY", false, false},
        {"analyze t", SQL_UTILITY, "ANALYZE", false, false},
        {"create table t (a int)", SQL_UTILITY, "CREATE TABLE", false, false},
        {"create table t as select 1", SQL_UTILITY, "CREATE TABLE AS", false, false},
        {"create index on t (a)", SQL_UTILITY, "CREATE INDEX", false, false},
        {"drop table t", SQL_UTILITY, "DROP", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sql_analysis a = analysed(cases[i].sql);
        assert_int_equal(a.kind, cases[i].kind);
        assert_string_equal(a.command, cases[i].command);
        assert_int_equal(a.implicit_safe, cases[i].implicit_safe);
        assert_int_equal(a.reads_only, cases[i].reads_only);
        assert_int_equal(a.leaves_no_trace, cases[i].implicit_safe);
    }
}

/* Each is an escape or a trace that was seen on a real server. */
static void the_known_escapes_are_refused(void **state)
{
    (void)state;
    assert_refused("select 1; commit; select current_user", &sql_several, 11);
    assert_refused("commit", &sql_refused_transaction, 1);
    assert_refused("  begin", &sql_refused_transaction, 3);
    assert_refused("start transaction read write", &sql_refused_transaction, 1);
    assert_refused("rollback", &sql_refused_transaction, 1);
    assert_refused("end", &sql_refused_transaction, 1);
    assert_refused("abort and chain", &sql_refused_transaction, 1);
    assert_refused("savepoint s", &sql_refused_transaction, 1);
    assert_refused("release s", &sql_refused_transaction, 1);
    assert_refused("rollback to s", &sql_refused_transaction, 1);
    assert_refused("prepare transaction 'x'", &sql_refused_transaction, 1);
    assert_refused("commit prepared 'x'", &sql_refused_transaction, 1);
    assert_refused("set role none", &sql_refused_session, 1);
    assert_refused("set local role none", &sql_refused_session, 1);
    assert_refused("reset role", &sql_refused_session, 1);
    assert_refused("set session authorization default", &sql_refused_session, 1);
    assert_refused("set search_path = evil", &sql_refused_session, 1);
    assert_refused("set transaction read write", &sql_refused_session, 1);
    assert_refused("set constraints all deferred", &sql_refused_session, 1);
    assert_refused("reset all", &sql_refused_session, 1);
    assert_refused("discard all", &sql_refused_session, 1);
    assert_refused("listen c", &sql_refused_session, 1);
    assert_refused("unlisten *", &sql_refused_session, 1);
    assert_refused("prepare p as select 1", &sql_refused_session, 1);
    assert_refused("execute p", &sql_refused_session, 1);
    assert_refused("deallocate all", &sql_refused_session, 1);
    assert_refused("declare c cursor with hold for select 1", &sql_refused_session, 1);
    assert_refused("fetch c", &sql_refused_session, 1);
    assert_refused("close c", &sql_refused_session, 1);
    assert_refused("load 'x'", &sql_refused_session, 1);
    assert_refused("create temp table t (a int)", &sql_refused_temporary, 1);
    assert_refused("create temporary table t as select 1", &sql_refused_temporary, 1);
    assert_refused("create table pg_temp.t (a int)", &sql_refused_temporary, 1);
    assert_refused("select 1 into temp t", &sql_refused_temporary, 1);
    assert_refused("create temp view v as select 1", &sql_refused_temporary, 1);
    assert_refused("create temp sequence s", &sql_refused_temporary, 1);
    assert_refused("explain analyze create temp table t as select 1", &sql_refused_other, 1);
    assert_refused("explain execute p", &sql_refused_session, 1);
}

static void what_no_route_can_serve_is_refused(void **state)
{
    (void)state;
    assert_refused("copy t from stdin", &sql_refused_copy, 1);
    assert_refused("copy t to stdout", &sql_refused_copy, 1);
    assert_refused("copy (select 1) to program 'x'", &sql_refused_copy, 1);
    assert_refused("vacuum", &sql_refused_no_transaction, 1);
    assert_refused("create index concurrently on t (a)", &sql_refused_no_transaction, 1);
    assert_refused("drop index concurrently i", &sql_refused_no_transaction, 1);
    assert_refused("alter table t detach partition p concurrently", &sql_refused_no_transaction,
                   1);
    assert_refused("reindex table t", &sql_refused_no_transaction, 1);
    assert_refused("create database d", &sql_refused_no_transaction, 1);
    assert_refused("alter system set a = 1", &sql_refused_no_transaction, 1);
    assert_refused("lock table t", &sql_refused_other, 1);
    assert_refused("grant select on t to public", &sql_refused_other, 1);
    assert_refused("alter role r superuser", &sql_refused_other, 1);
    assert_refused("create function f() returns int return 1", &sql_refused_other, 1);
    assert_refused("create rule r as on insert to t do also select 1", &sql_refused_other, 1);
    assert_refused("checkpoint", &sql_refused_other, 1);
}

static void mistakes_have_their_position_in_characters(void **state)
{
    (void)state;
    struct sql_analysis a;
    assert_refused("", &sql_empty, 1);
    assert_refused(" ; -- x", &sql_empty, 1);
    assert_refused("select '\xc3\xa9', sel ect x", &sql_syntax, 21);
    assert_refused("select 'a", &sql_syntax, 8);
    assert_refused("select '\xc3\xa9';\n  select 2", &sql_several, 15);
    assert_refused("select '\xff'", &sql_not_text, 0);
    assert_true(is_fault(sql_analyse(&arena, VIEW("select 1\0; commit"), &a), &sql_not_text));
    assert_true(is_fault(sql_analyse(&arena, VIEW("select a frm t x"), &a), &sql_syntax));
    assert_true(view_is(a.message, "syntax error at or near \"t\""));
    assert_int_equal(a.position, 14);
    assert_true(is_fault(sql_analyse(&arena, VIEW("listen c"), &a), &sql_refused_session));
    assert_true(view_is(a.message, "LISTEN: it changes the session, which other callers share"));
}

static bool has_function(const struct sql_analysis *a, const char *schema, const char *name,
                         bool known)
{
    for (size_t i = 0; i < a->function_count; i++) {
        const struct sql_function *f = &a->functions[i];
        if (view_is(f->name, name) && view_is(f->schema, schema))
            return f->known == known;
    }
    return false;
}

static void functions_are_found_wherever_they_stand(void **state)
{
    (void)state;
    struct sql_analysis a = analysed("select count(*), pg_catalog.lower(x), shop.f(1) "
                                     "from g(2) where h(3) = (select i(4)) order by count(*)");
    assert_int_equal(a.function_count, 6);
    assert_true(has_function(&a, "", "count", true));
    assert_true(has_function(&a, "pg_catalog", "lower", true));
    assert_true(has_function(&a, "shop", "f", false));
    assert_true(has_function(&a, "", "g", false));
    assert_true(has_function(&a, "", "h", false));
    assert_true(has_function(&a, "", "i", false));
    assert_false(a.only_known_functions);
    assert_true(a.implicit_safe);
    assert_false(a.leaves_no_trace);
}

static void only_harmless_built_ins_are_known(void **state)
{
    (void)state;
    const struct {
        const char *sql;
        bool known;
    } cases[] = {
        {"select 1", true},
        {"select coalesce(lower(a), 'x'), current_user, now(), greatest(1, 2) from t", true},
        {"select extract(year from now()), a at time zone 'UTC', substring(b from 1) from t", true},
        {"select * from generate_series(1, 2), unnest(array[1])", true},
        {"select * from t tablesample bernoulli (1)", true},
        {"insert into t values (gen_random_uuid()) returning to_jsonb(t)", true},
        {"explain select lower('x')", true},
        {"select public.lower('x')", false},
        {"select \"LOWER\"('x')", false},
        {"select set_config('role', 'none', true)", false},
        {"select pg_catalog.set_config('role', 'none', true)", false},
        {"select set_config('search_path', 'evil', false)", false},
        {"select pg_advisory_lock(1)", false},
        {"select pg_try_advisory_xact_lock(1)", false},
        {"select nextval('s')", false},
        {"select lastval()", false},
        {"select setval('s', 1)", false},
        {"select setseed(0)", false},
        {"select dblink('x', 'y')", false},
        {"select lo_create(0)", false},
        {"select pg_sleep(1)", false},
        {"select pg_notify('a', 'b')", false},
        {"select pg_terminate_backend(1)", false},
        {"select query_to_xml('delete from t', true, true, '')", false},
        {"select * from ts_stat('delete from t')", false},
        {"select * from pg_read_file('x')", false},
        {"select 1 from t where (with x as (select set_config('a', 'b', false)) select true)",
         false},
        {"insert into t values (1) on conflict (a) do update set b = nextval('s')", false},
        {"select a operator(evil.+) b from t", false},
        {"select a operator(pg_catalog.+) b from t", true},
        {"select * from t order by a using operator(evil.<)", false},
        {"select 1 where 1 operator(evil.=) any (select 1)", false},
        {"select * from t tablesample evil (1)", false},
        {"select 1 limit evil()", false},
        {"select count(*) filter (where evil()) from t", false},
        {"select sum(1) over (order by evil()) from t", false},
        {"call lower('x')", false},
        {"do 'begin end'", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sql_analysis a = analysed(cases[i].sql);
        if (a.only_known_functions != cases[i].known)
            print_error("%s\n", cases[i].sql);
        assert_int_equal(a.only_known_functions, cases[i].known);
    }
}

static void the_list_of_known_functions_is_searched_whole(void **state)
{
    (void)state;
    assert_true(sql_function_is_known(VIEW("abs")));
    assert_true(sql_function_is_known(VIEW("xpath_exists")));
    assert_true(sql_function_is_known(VIEW("jsonb_agg")));
    assert_true(sql_function_is_known(VIEW("jsonb_build_object")));
    assert_true(sql_function_is_known(VIEW("row_number")));
    assert_false(sql_function_is_known(VIEW("ab")));
    assert_false(sql_function_is_known(VIEW("absx")));
    assert_false(sql_function_is_known(VIEW("")));
    assert_false(sql_function_is_known(VIEW("zzz")));
}

/* expected: "schema.name:rw" joined by blanks, in order of appearance. */
static void assert_relations(const char *sql, const char *expected)
{
    struct sql_analysis a = analysed(sql);
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < a.relation_count; i++) {
        const struct sql_relation *r = &a.relations[i];
        buf_printf(&b, "%s%.*s%s%.*s:%s%s", i > 0 ? " " : "", VIEW_ARG(r->schema),
                   r->schema.data != NULL ? "." : "", VIEW_ARG(r->name), r->read ? "r" : "",
                   r->written ? "w" : "");
    }
    if (!view_is(buf_view(&b), expected))
        print_error("%s: %.*s\n", sql, VIEW_ARG(buf_view(&b)));
    assert_true(view_is(buf_view(&b), expected));
    buf_clear(&b);
}

static void relations_are_told_apart_from_ctes(void **state)
{
    (void)state;
    assert_relations("select 1", "");
    assert_relations("select * from s.a, b join b as c on true", "s.a:r b:r");
    assert_relations("select * from a for update of a", "a:r");
    assert_relations("with c as (select * from a) select * from c, s.c", "a:r s.c:r");
    assert_relations("with c as (select * from c) select * from c", "c:r");
    assert_relations("with recursive c as (select * from c) select * from c", "");
    assert_relations("with x as (select * from y), y as (select 1) select * from x, y", "y:r");
    assert_relations("select * from (with c as (select 1) select * from c) z, c", "c:r");
    assert_relations("with c as (select 1) select (select 1 from c)", "");
    assert_relations("with c as (select 1) insert into c select * from c", "c:w");
    assert_relations("insert into s.t select * from u", "s.t:w u:r");
    assert_relations("insert into t values (1) returning *", "t:rw");
    assert_relations("insert into t values (1) on conflict do nothing", "t:rw");
    assert_relations("update t set a = u.a from u", "t:rw u:r");
    assert_relations("delete from t using u", "t:rw u:r");
    assert_relations("merge into t using u on true when not matched then insert values (1)",
                     "t:rw u:r");
    assert_relations("with d as (delete from t returning *) insert into u select * from d",
                     "u:w t:rw");
    assert_relations("truncate s.t, u", "s.t:rw u:rw");
    assert_relations("create table s.t as select * from u", "u:r s.t:w");
    assert_relations("select * into t from u", "t:w u:r");
    assert_relations("drop table s.t, u", "s.t:w u:w");
    assert_relations("explain delete from t", "t:rw");
    assert_relations("select * from \"Mixed Case\"", "Mixed Case:r");
}

static void parameters_are_counted(void **state)
{
    (void)state;
    assert_int_equal(analysed("select 1").max_parameter, 0);
    assert_int_equal(analysed("select $2, $1, $2").max_parameter, 2);
    assert_int_equal(analysed("select 1 where $3 in (select $7)").max_parameter, 7);
}

struct shape {
    const char *before, *repeated, *after, *closing;
    size_t count;
    const struct fault *fault; /* of one more */
};

static void make(struct buf *b, const struct shape *shape, size_t count)
{
    buf_reset(b);
    buf_add_str(b, shape->before);
    for (size_t i = 0; i < count; i++)
        buf_add_str(b, shape->repeated);
    buf_add_str(b, shape->after);
    for (size_t i = 0; i < count; i++)
        buf_add_str(b, shape->closing);
    assert_false(buf_failed(b));
}

static void *analyse_deep_texts(void *unused)
{
    static const struct shape shapes[] = {
        {"select 1", "+1", "", "", SQL_MAX_OPERATORS - 1, &sql_too_large},
        {"select ", "- ", "a", "", SQL_MAX_OPERATORS - 1, &sql_too_large},
        {"select ", "not ", "a", "", SQL_MAX_OPERATORS - 1, &sql_too_large},
        {"select ", "@ ", "a", "", SQL_MAX_OPERATORS - 1, &sql_too_large},
        {"select a", "::int", "", "", (SQL_MAX_OPERATORS - 1) / 2, &sql_too_large},
        {"select a", " collate b", "", "", SQL_MAX_OPERATORS - 1, &sql_too_large},
        {"select 1", " union select 1", "", "", (SQL_MAX_OPERATORS - 1) / 2, &sql_too_large},
        {"select ", "(", "1", ")", SQL_MAX_NESTING, &sql_too_large},
        {"", "(select ", "1", ")", SQL_MAX_NESTING, &sql_too_large},
        {"select ", "case when a then b else ", "1", " end", SQL_MAX_NESTING, &sql_too_large},
        {"select array", "[", "1", "]", SQL_MAX_NESTING, &sql_too_large},
        {"select 1", ",1", "", "", (SQL_MAX_TOKENS - 2) / 2, &sql_too_large},
    };
    struct arena a;
    struct buf b;
    arena_init(&a, 65536, 1 << 22);
    buf_init(&b, SQL_TEXT_MAX_BYTES);
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        struct sql_analysis analysis;
        make(&b, &shapes[i], shapes[i].count);
        err e = sql_analyse(&a, buf_view(&b), &analysis);
        if (failed(e))
            print_error("%s: %s\n", shapes[i].repeated, e.fault->name);
        assert_false(failed(e));
        make(&b, &shapes[i], shapes[i].count + 1);
        assert_true(is_fault(sql_analyse(&a, buf_view(&b), &analysis), shapes[i].fault));
        assert_true(analysis.position > 0);
        assert_false(analysis.leaves_no_trace);
        arena_reset(&a);
    }
    buf_clear(&b);
    arena_clear(&a);
    return unused;
}

static void the_deepest_allowed_text_fits_into_four_megabytes_of_stack(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)4 << 20);
    assert_int_equal(pthread_create(&thread, &attributes, analyse_deep_texts, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
}

static void long_text_is_not_looked_at(void **state)
{
    (void)state;
    static char sql[SQL_TEXT_MAX_BYTES + 2] = "select 1";
    memset(sql + 8, ' ', SQL_TEXT_MAX_BYTES - 8);
    assert_true(analysed(sql).reads_only);
    sql[SQL_TEXT_MAX_BYTES] = ' ';
    assert_refused(sql, &sql_too_large, 0);
}

static void every_arena_too_small_is_a_fault_and_no_leak(void **state)
{
    (void)state;
    const struct view sql = VIEW("with c as (select f(1)) insert into s.t select * from c, u, v");
    bool succeeded = false;
    for (size_t max = 0; max < 4096 && !succeeded; max += 16) {
        struct arena tiny;
        struct sql_analysis a;
        arena_init(&tiny, 16, max);
        err e = sql_analyse(&tiny, sql, &a);
        succeeded = !failed(e);
        assert_true(succeeded || is_fault(e, &fault_out_of_memory));
        arena_clear(&tiny);
    }
    assert_true(succeeded);
}

static void a_rewritten_statement_and_its_mistake_lead_to_the_users_place(void **state)
{
    (void)state;
    struct sql_named named;
    struct sql_analysis a;
    const char *sql = "select :tenant,\n       :customer_id frm\n  orders o";
    assert_false(failed(sql_named_rewrite(&arena, view_str(sql), &named, NULL)));
    assert_true(is_fault(sql_analyse(&arena, named.text, &a), &sql_syntax));
    struct sql_place place = sql_named_place(&named, a.position);
    assert_int_equal(place.line, 3);
    assert_int_equal(place.column, 3);
    assert_true(view_starts_with(view_from(named.original, place.offset), VIEW("orders o")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_have_their_kind_and_frame),
        cmocka_unit_test(the_known_escapes_are_refused),
        cmocka_unit_test(what_no_route_can_serve_is_refused),
        cmocka_unit_test(mistakes_have_their_position_in_characters),
        cmocka_unit_test(functions_are_found_wherever_they_stand),
        cmocka_unit_test(only_harmless_built_ins_are_known),
        cmocka_unit_test(the_list_of_known_functions_is_searched_whole),
        cmocka_unit_test(relations_are_told_apart_from_ctes),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(the_deepest_allowed_text_fits_into_four_megabytes_of_stack),
        cmocka_unit_test(long_text_is_not_looked_at),
        cmocka_unit_test(every_arena_too_small_is_a_fault_and_no_leak),
        cmocka_unit_test(a_rewritten_statement_and_its_mistake_lead_to_the_users_place),
    };
    return cmocka_run_group_tests_name("sql_analysis", tests, begin, end);
}
