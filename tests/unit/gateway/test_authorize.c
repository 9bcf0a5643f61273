/* The headers that say who calls, and the decision's claims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/authorize.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define ID "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static const struct view absent = {NULL, 0};

static void assert_view(struct view got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void a_bearer_token_is_taken_in_any_case_of_the_scheme(void **state)
{
    static const struct view good[] = {VIEW("Bearer abc.def"), VIEW("bearer abc.def"),
                                       VIEW("BEARER   abc.def")};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct view token;
        assert_false(failed(bearer_token(good[i], false, &token)));
        assert_view(token, "abc.def");
    }
}

static void anything_else_is_refused_by_its_name(void **state)
{
    static const struct view bad[] = {VIEW(""),       VIEW("Bearer"),    VIEW("Bearer "),
                                      VIEW("abc.def"), VIEW("Basic abc"), VIEW("Bearerabc x")};
    struct view token;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_ptr_equal(bearer_token(bad[i], false, &token).fault, &authorize_malformed);
    assert_ptr_equal(bearer_token(VIEW("Bearer abc"), true, &token).fault, &authorize_malformed);
    assert_ptr_equal(bearer_token(absent, false, &token).fault, &authorize_no_token);
}

static void a_traceparent_comes_before_amazons_header(void **state)
{
    struct view amazon = VIEW("Self=1; Root=1-58406520-a006649127e371903a2de979;Sampled=1");

    (void)state;
    assert_view(trace_id_of(VIEW("00-" ID "-" PARENT "-01"), amazon), ID);
    assert_view(trace_id_of(absent, amazon), "1-58406520-a006649127e371903a2de979");
    assert_view(trace_id_of(VIEW("nonsense"), amazon), "1-58406520-a006649127e371903a2de979");
    assert_null(trace_id_of(absent, absent).data);
}

static void what_is_not_well_formed_is_no_trace_id(void **state)
{
    static const struct view w3c[] = {
        VIEW("00-" ID "-" PARENT "-0"),   VIEW("00-" ID "-" PARENT "-01-"),
        VIEW("ff-" ID "-" PARENT "-01"),  VIEW("00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01"),
        VIEW("00-" ID "_" PARENT "-01"),  VIEW("00-" ID "-b7ad6b716920333\"-01"),
        VIEW("00-" ID "-" PARENT "-\x80\x80"),
        VIEW("00-00000000000000000000000000000000-" PARENT "-01"),
    };
    static const struct view amazon[] = {
        VIEW("Root="),
        VIEW("Root=1-58406520-a006649127e371903a2de97"),
        VIEW("Root=\x80-58406520-a006649127e371903a2de979"),
        VIEW("Root=1-5840652\"-a006649127e371903a2de979"),
        VIEW("root=1-58406520-a006649127e371903a2de979"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(w3c); i++)
        assert_null(trace_id_of(w3c[i], absent).data);
    for (size_t i = 0; i < COUNT_OF(amazon); i++)
        assert_null(trace_id_of(absent, amazon[i]).data);
}

/* ---- Decisions ---- */

static const struct view get_only[] = {VIEW("GET")}, head_only[] = {VIEW("HEAD")},
                         get_and_delete[] = {VIEW("GET"), VIEW("DELETE")};
static const struct view shop[] = {VIEW("shop")}, order[] = {VIEW("order")};
static const struct view listed[] = {VIEW("sub"), VIEW("role"), VIEW("absent"), VIEW("deep")};
static const struct claim claims[] = {
    {VIEW("sub"), CLAIM_STRING, VIEW("a\"b"), VIEW("\"a\\\"b\"")},
    {VIEW("role"), CLAIM_STRING, VIEW("postgres"), VIEW("\"postgres\"")},
    {VIEW("secret"), CLAIM_STRING, VIEW("s3cret"), VIEW("\"s3cret\"")},
    {VIEW("deep"), CLAIM_COMPOUND, {NULL, 0}, VIEW("{\"a\":[1,2.50]}")},
};

struct world {
    struct service service;
    struct route route;
    struct allow_rule allow;
    struct role role;
    struct snapshot snapshot;
    struct compiled_route compiled;
    struct known_caller *caller;
    struct arena arena;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    w->service = (struct service){.name = shop[0], .claims = {listed, COUNT_OF(listed)}};
    w->route = (struct route){.name = order[0], .methods = {get_only, 1}, .service = &w->service};
    w->allow = (struct allow_rule){.routes = {order, 1}};
    w->role = (struct role){.name = VIEW("reader"), .services = {shop, 1},
                            .database_role = VIEW("orders \"reader\""),
                            .allow = &w->allow, .allow_count = 1};
    w->snapshot.entities = (struct entities){.services = &w->service, .service_count = 1,
                                             .roles = &w->role, .role_count = 1};
    w->compiled.route = &w->route;
    w->caller = calloc(1, sizeof *w->caller);
    assert_non_null(w->caller);
    w->caller->references = 1;
    arena_init(&w->caller->arena, 4096, 1 << 20);
    w->caller->principal = (struct principal){
        .issuer_name = VIEW("dev"), .issuer = VIEW("https://issuer.example"),
        .subject = VIEW("a\"b"), .method = VIEW("jwt"), .claims = claims,
        .claim_count = COUNT_OF(claims), .expires_at_s = 1900000000};
    arena_init(&w->arena, 4096, 1 << 20);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    known_caller_release(w->caller);
    arena_clear(&w->arena);
    free(w);
    return 0;
}

static const struct cached_decision *decide(struct world *w, const char *method)
{
    const struct cached_decision *d = NULL;

    assert_false(failed(authorize_call(&w->arena, &w->snapshot, w->caller, &w->compiled,
                                       view_str(method), absent, &d)));
    assert_non_null(d);
    return d;
}

static void only_listed_claims_go_and_role_is_the_database_role(void **state)
{
    const struct cached_decision *d = decide(*state, "GET");

    assert_true(d->allowed);
    assert_int_equal(d->role_index, 0);
    assert_view(d->claims, "{\"sub\":\"a\\\"b\",\"role\":\"orders \\\"reader\\\"\","
                           "\"deep\":{\"a\":[1,2.50]}}");
}

static void a_decision_is_made_once_for_each_route(void **state)
{
    struct world *w = *state;
    struct compiled_route other = w->compiled;
    const struct cached_decision *first = decide(w, "GET"), *d = NULL;

    assert_ptr_equal(decide(w, "GET"), first);
    assert_false(failed(authorize_call(&w->arena, &w->snapshot, w->caller, &other, VIEW("GET"),
                                       absent, &d)));
    assert_ptr_not_equal(d, first);
}

static void a_decision_for_head_is_not_one_for_get(void **state)
{
    struct world *w = *state;

    w->allow.methods = (struct strings){head_only, 1};
    assert_true(decide(w, "HEAD")->allowed);
    assert_false(decide(w, "GET")->allowed);
    assert_true(decide(w, "HEAD")->allowed);
}

static void methods_of_one_route_are_told_apart(void **state)
{
    struct world *w = *state;

    w->route.methods = (struct strings){get_and_delete, 2};
    w->allow.methods = (struct strings){get_only, 1};
    assert_true(decide(w, "GET")->allowed);
    const struct cached_decision *d = decide(w, "DELETE");
    assert_false(d->allowed);
    assert_true(d->visible);
    assert_null(d->role);
    assert_view(d->claims, "{}");
}

static void a_named_role_is_not_kept_for_the_next_call(void **state)
{
    struct world *w = *state;
    const struct cached_decision *d = NULL;

    assert_false(failed(authorize_call(&w->arena, &w->snapshot, w->caller, &w->compiled,
                                       VIEW("GET"), VIEW("no-such-role"), &d)));
    assert_false(d->allowed);
    assert_true(decide(w, "GET")->allowed);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bearer_token_is_taken_in_any_case_of_the_scheme),
        cmocka_unit_test(anything_else_is_refused_by_its_name),
        cmocka_unit_test(a_traceparent_comes_before_amazons_header),
        cmocka_unit_test(what_is_not_well_formed_is_no_trace_id),
        WITH_WORLD(only_listed_claims_go_and_role_is_the_database_role),
        WITH_WORLD(a_decision_is_made_once_for_each_route),
        WITH_WORLD(a_decision_for_head_is_not_one_for_get),
        WITH_WORLD(methods_of_one_route_are_told_apart),
        WITH_WORLD(a_named_role_is_not_kept_for_the_next_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
