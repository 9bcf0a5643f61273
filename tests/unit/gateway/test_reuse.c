/* What a snapshot takes over from the one before, and what not. */
#include "gateway/reuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/config_host.h"

static const char text[] =
    "_format_version: '3.0'\n"
    "issuers:\n"
    "- {name: i, issuer: 'https://i.example.com', audience: a}\n"
    "services:\n"
    "- name: s\n"
    "  url: postgres://u@h.example.com/d\n"
    "  password: '{vault://env/REUSE_PASSWORD}'\n"
    "  routes:\n"
    "  - {name: one, methods: GET, paths: /one, statement: {sql: '%s', read_only: true,\n"
    "     parameters: {n: {type: %s, from: query}, m: {type: text, from: query}}}}\n"
    "roles:\n"
    "- {name: r, when: {issuer: i}, services: s, database_role: %s, allow: [{routes: one}]}\n"
    "- {name: other, when: {issuer: i}, services: s, database_role: o, allow: [{routes: '*'}]}\n";

static const char usual[] = "select lower(:m), :n from a.b where c = :m";

/* As if the control thread had its broker, and the database had been asked. */
static max_align_t place;
static struct broker *const some_broker = (struct broker *)&place;

static struct snapshot *build(const struct snapshot *previous, const char *sql, const char *type,
                              const char *role)
{
    char path[] = "/tmp/reuse-XXXXXX";
    const struct snapshot_makers makers = {.previous = previous};
    struct snapshot *s = NULL;
    struct arena arena;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_true(dprintf(fd, text, sql, type, role) > 0);
    close(fd);
    arena_init(&arena, 4096, 1 << 20);
    struct diagnostics d = {.arena = &arena};
    err e = snapshot_build(path, &makers, &d, &s);
    diag_print(&d, STDERR_FILENO);
    assert_false(failed(e));
    arena_clear(&arena);
    unlink(path);
    return s;
}

static struct compiled_route *route_of(const struct snapshot *s)
{
    return &s->services[0].routes[0];
}

/* Whether the analysis of `now` is that of `before`, marked. */
static bool took_over(struct snapshot *before, const char *sql)
{
    route_of(before)->analysis.max_parameter = 99;
    struct snapshot *now = build(before, sql, "bigint", "r");
    bool marked = route_of(now)->analysis.max_parameter == 99;
    snapshot_release(now);
    return marked;
}

static void an_analysis_is_taken_over_while_the_sql_is_the_same(void **state)
{
    (void)state;
    struct snapshot *before = build(NULL, usual, "bigint", "r");

    assert_true(took_over(before, usual));
    assert_false(took_over(before, "select lower(:m), :n from a.b where c =  :m"));
    snapshot_release(before);
}

static void what_is_taken_over_outlives_the_snapshot_before(void **state)
{
    (void)state;
    struct snapshot *before = build(NULL, usual, "bigint", "r");
    struct snapshot *now = build(before, usual, "bigint", "r");
    const struct compiled_route *r = route_of(now);

    snapshot_release(before);
    assert_true(view_is(r->named.text, "select lower($1), $2 from a.b where c = $1"));
    assert_int_equal(r->named.name_count, 2);
    assert_true(view_is(r->named.names[0], "m"));
    assert_ptr_equal(r->named.original.data, r->route->statement.sql.data);
    assert_int_equal(r->named.use_count, 3);
    assert_int_equal(sql_named_place(&r->named, 14).offset, 13);
    assert_int_equal(r->analysis.function_count, 1);
    assert_true(view_is(r->analysis.functions[0].name, "lower"));
    assert_int_equal(r->analysis.relation_count, 1);
    assert_true(view_is(r->analysis.relations[0].schema, "a"));
    assert_int_equal(strlen(r->statement_sha256), 64);
    snapshot_release(now);
}

static bool keys_equal(const struct snapshot *a, const struct snapshot *b)
{
    return view_eq(view_of(route_of(a)->roles[0].prepared_key, DB_KEY_BYTES),
                   view_of(route_of(b)->roles[0].prepared_key, DB_KEY_BYTES));
}

/* The key that is taken over is the one that would have been made. */
static void a_key_changes_with_the_role_and_the_types(void **state)
{
    static const struct {
        const char *type, *role;
        bool same;
    } cases[] = {{"bigint", "r", true}, {"integer", "r", false}, {"bigint", "q", false}};
    (void)state;
    struct snapshot *before = build(NULL, usual, "bigint", "r");

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct snapshot *now = build(before, usual, cases[i].type, cases[i].role);
        struct snapshot *fresh = build(NULL, usual, cases[i].type, cases[i].role);
        assert_int_equal(keys_equal(now, before), cases[i].same);
        assert_true(keys_equal(now, fresh));
        snapshot_release(now);
        snapshot_release(fresh);
    }
    snapshot_release(before);
}

static bool findings_pass(bool same_broker, const char *database_role)
{
    struct reuse u;
    struct route_role as = {.covered = true};
    struct snapshot *before = build(NULL, usual, "bigint", "r");
    struct snapshot *now = build(before, usual, "bigint", database_role);

    atomic_store(&route_of(before)->roles[0].proved, true);
    atomic_store(&route_of(before)->roles[0].prepared, true);
    route_of(before)->broker = some_broker;
    route_of(now)->broker = same_broker ? some_broker : NULL;
    assert_true(reuse_init(&u, before));
    const struct compiled_route *known = reuse_route(&u, route_of(now)->route);
    assert_ptr_equal(known, route_of(before));
    (void)!reuse_role(&u, known, route_of(now), &now->entities.roles[0], &as);
    bool passed = atomic_load(&as.proved);
    assert_int_equal(atomic_load(&as.prepared), passed);
    reuse_clear(&u);
    snapshot_release(before);
    snapshot_release(now);
    return passed;
}

static void findings_pass_for_the_same_role_at_the_same_broker_only(void **state)
{
    (void)state;
    assert_true(findings_pass(true, "r"));
    assert_false(findings_pass(false, "r"));
    assert_false(findings_pass(true, "q"));
}

static void a_role_covers_what_it_allows(void **state)
{
    (void)state;
    struct snapshot *s = build(NULL, usual, "bigint", "r");

    assert_int_equal(s->services[0].role_count, 2);
    assert_true(route_of(s)->roles[0].covered && route_of(s)->roles[1].covered);
    assert_ptr_equal(snapshot_route_role(route_of(s), 1), &route_of(s)->roles[1]);
    snapshot_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_analysis_is_taken_over_while_the_sql_is_the_same),
        cmocka_unit_test(what_is_taken_over_outlives_the_snapshot_before),
        cmocka_unit_test(a_key_changes_with_the_role_and_the_types),
        cmocka_unit_test(findings_pass_for_the_same_role_at_the_same_broker_only),
        cmocka_unit_test(a_role_covers_what_it_allows),
    };
    setenv("REUSE_PASSWORD", "x", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
