#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/router.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static struct arena arena;
static struct diagnostics diagnostics;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 65536, 64 << 20);
    diagnostics = (struct diagnostics){.arena = &arena};
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const struct view[]){__VA_ARGS__},                                                        \
            sizeof((const struct view[]){__VA_ARGS__}) / sizeof(struct view)                       \
    }
#define ROUTE(route_name, at_line, route_methods, ...)                                             \
    {                                                                                              \
        .meta.line = at_line, .name = VIEW(route_name), .methods = route_methods,                  \
        .paths = LIST(__VA_ARGS__), .statement.present = true                                      \
    }
#define GET LIST(VIEW("GET"))
#define POST LIST(VIEW("POST"))

static const struct router *build(const struct route *routes, size_t count)
{
    struct service *service = ARENA_NEW(&arena, struct service);
    struct entities entities = {.services = service, .service_count = 1};
    const struct router *router = NULL;
    service->routes = routes;
    service->route_count = count;
    assert_false(failed(router_build(&arena, &entities, VIEW("f.yaml"), &diagnostics, &router)));
    assert_non_null(router);
    return router;
}

static struct router_match matched(const struct router *r, const char *method, const char *path,
                                   const char *route)
{
    struct router_match m;
    enum router_answer answer = router_match(r, view_str(method), view_str(path), &m);
    if (answer != ROUTER_FOUND || !view_is(m.route->name, route))
        print_error("%s %s\n", method, path);
    assert_int_equal(answer, ROUTER_FOUND);
    assert_true(view_is(m.route->name, route));
    return m;
}

static void unmatched(const struct router *r, const char *method, const char *path,
                      enum router_answer answer)
{
    struct router_match m;
    enum router_answer got = router_match(r, view_str(method), view_str(path), &m);
    if (got != answer)
        print_error("%s %s\n", method, path);
    assert_int_equal(got, answer);
    assert_null(m.route);
    assert_int_equal(m.capture_count, 0);
    assert_true((m.allow.data != NULL) == (answer == ROUTER_NO_METHOD));
}

static void paths_lead_to_their_routes(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("root", 1, GET, VIEW("/")),
        ROUTE("orders", 2, GET, VIEW("/orders"), VIEW("/old/orders")),
        ROUTE("order", 3, GET, VIEW("/orders/{id}")),
        ROUTE("lines", 4, GET, VIEW("/orders/{order}/lines/{line}")),
        ROUTE("slash", 5, GET, VIEW("/slash/")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    assert_int_equal(diagnostics.errors + diagnostics.warnings, 0);
    matched(r, "GET", "/", "root");
    assert_int_equal(matched(r, "GET", "/orders", "orders").capture_count, 0);
    matched(r, "GET", "/old/orders", "orders");
    matched(r, "GET", "/slash/", "slash");

    struct router_match m = matched(r, "GET", "/orders/17", "order");
    assert_int_equal(m.capture_count, 1);
    assert_true(view_is(m.captures[0].name, "id"));
    assert_true(view_is(m.captures[0].raw, "17"));

    const char *path = "/orders/a%20b/lines/%C3%A9";
    m = matched(r, "GET", path, "lines");
    assert_int_equal(m.capture_count, 2);
    assert_true(view_is(m.captures[0].name, "order"));
    assert_true(view_is(m.captures[0].raw, "a%20b"));
    assert_ptr_equal(m.captures[0].raw.data, path + 8); /* a view of the path itself */
    assert_true(view_is(m.captures[1].name, "line"));
    assert_true(view_is(m.captures[1].raw, "%C3%A9"));
}

static void anything_else_is_no_path(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("orders", 1, GET, VIEW("/orders")),
        ROUTE("order", 2, GET, VIEW("/orders/{id}")),
        ROUTE("deep", 3, GET, VIEW("/a/{b}/c")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    const char *paths[] = {
        "",          "/",           "orders",         "/Orders",          "/orders/",
        "/orders//", "/orders/1/",  "/orders/1/2",    "//orders",         "/orders?x",
        "/order",    "/ordersx",    "/orders/..",     "/orders/%2e%2E",   "/orders/.",
        "/a/b",      "/a//c",       "/orders/%",      "/orders/%zz",      "/orders/%00",
        "/orders%2F1", "/orders/1%2F2", "/orders/%ff", "/orders/%5c", "*",
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        unmatched(r, "GET", paths[i], ROUTER_NO_PATH);
    char deep[4 * ROUTER_MAX_SEGMENTS] = "";
    for (int i = 0; i <= ROUTER_MAX_SEGMENTS; i++)
        memcpy(deep + (size_t)i * 2, "/a", 3);
    unmatched(r, "GET", deep, ROUTER_NO_PATH);
}

static void literals_are_compared_decoded(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("caf\xc3\xa9", 1, GET, VIEW("/caf\xc3\xa9")),
        ROUTE("blank", 2, GET, VIEW("/a b")),
        ROUTE("plus", 3, GET, VIEW("/a+b")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    matched(r, "GET", "/caf%c3%A9", "caf\xc3\xa9");
    matched(r, "GET", "/%63af%c3%A9", "caf\xc3\xa9");
    matched(r, "GET", "/a%20b", "blank");
    matched(r, "GET", "/a+b", "plus");
    matched(r, "GET", "/a%2Bb", "plus");
    unmatched(r, "GET", "/a%2520b", ROUTER_NO_PATH); /* decoded once */
}

static void a_literal_beats_a_placeholder(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("by id", 1, GET, VIEW("/orders/{id}")),
        ROUTE("new", 2, GET, VIEW("/orders/new")),
        ROUTE("new lines", 3, GET, VIEW("/orders/new/lines")),
        ROUTE("notes", 4, GET, VIEW("/orders/{id}/notes")),
        ROUTE("any", 5, GET, VIEW("/{x}/{y}/{z}/end")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    assert_int_equal(matched(r, "GET", "/orders/new", "new").capture_count, 0);
    matched(r, "GET", "/orders/%6eew", "new");
    matched(r, "GET", "/orders/newer", "by id");
    matched(r, "GET", "/orders/new/lines", "new lines");
    /* The literal way ends nowhere: back to the placeholder. */
    struct router_match m = matched(r, "GET", "/orders/new/notes", "notes");
    assert_int_equal(m.capture_count, 1);
    assert_true(view_is(m.captures[0].raw, "new"));
    m = matched(r, "GET", "/orders/new/lines/end", "any");
    assert_int_equal(m.capture_count, 3);
    assert_true(view_is(m.captures[0].raw, "orders"));
    assert_true(view_is(m.captures[1].raw, "new"));
    assert_true(view_is(m.captures[2].raw, "lines"));
    assert_true(view_is(m.captures[2].name, "z"));
}

static void a_known_path_with_another_method_says_which_are_allowed(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("read", 1, GET, VIEW("/orders/{id}")),
        ROUTE("change", 2, LIST(VIEW("PUT"), VIEW("PATCH")), VIEW("/orders/{key}")),
        ROUTE("new", 3, POST, VIEW("/orders/new")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    struct router_match m;
    assert_int_equal(router_match(r, VIEW("DELETE"), VIEW("/orders/1"), &m), ROUTER_NO_METHOD);
    assert_true(view_is(m.allow, "GET, HEAD, PUT, PATCH"));
    assert_null(m.route);
    unmatched(r, "get", "/orders/1", ROUTER_NO_METHOD);
    unmatched(r, "OPTIONS", "/orders/1", ROUTER_NO_METHOD);
    /* The more special path decides, whatever its methods are. */
    assert_int_equal(router_match(r, VIEW("PUT"), VIEW("/orders/new"), &m), ROUTER_NO_METHOD);
    assert_true(view_is(m.allow, "POST"));
    /* One shape, two routes: each its own names. */
    assert_true(view_is(matched(r, "GET", "/orders/1", "read").captures[0].name, "id"));
    assert_true(view_is(matched(r, "PUT", "/orders/1", "change").captures[0].name, "key"));
    assert_true(view_is(matched(r, "PATCH", "/orders/1", "change").allow, "GET, HEAD, PUT, PATCH"));
}

static void head_is_served_by_get_unless_it_has_a_route(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("a", 1, GET, VIEW("/a")),
        ROUTE("b get", 2, GET, VIEW("/b")),
        ROUTE("b head", 3, LIST(VIEW("HEAD")), VIEW("/b")),
        ROUTE("c", 4, POST, VIEW("/c")),
    };
    const struct router *r = build(routes, COUNT_OF(routes));
    matched(r, "HEAD", "/a", "a");
    assert_true(view_is(matched(r, "HEAD", "/b", "b head").allow, "GET, HEAD"));
    unmatched(r, "HEAD", "/c", ROUTER_NO_METHOD);
}

static void assert_complaint(const struct route *routes, size_t count, enum severity severity,
                             unsigned line, const char *text)
{
    build(routes, count);
    assert_int_equal(diagnostics.errors + diagnostics.warnings, 1);
    if (!view_is(diagnostics.first->text, text))
        print_error("%.*s\n", VIEW_ARG(diagnostics.first->text));
    assert_true(view_is(diagnostics.first->text, text));
    assert_int_equal(diagnostics.first->severity, severity);
    assert_int_equal(diagnostics.first->line, line);
    assert_true(view_is(diagnostics.first->file, "f.yaml"));
    diagnostics = (struct diagnostics){.arena = &arena};
}

static void two_routes_of_one_shape_and_method_are_a_mistake(void **state)
{
    (void)state;
    const struct route routes[] = {
        ROUTE("first", 1, LIST(VIEW("GET"), VIEW("PUT")), VIEW("/a/{x}")),
        ROUTE("second", 7, LIST(VIEW("POST"), VIEW("GET")), VIEW("/a/{y}")),
    };
    assert_complaint(routes, 2, SEVERITY_ERROR, 7,
                     "route second: GET /a/{y} is served by route first already");
    const struct router *r = build(routes, 2);
    matched(r, "GET", "/a/1", "first");
    matched(r, "POST", "/a/1", "second");
}

static void a_bad_template_is_a_mistake_and_the_others_are_served(void **state)
{
    (void)state;
    const struct {
        struct view path;
        const char *wrong;
    } cases[] = {
        {VIEW("orders"), "does not begin with /"},
        {VIEW(""), "does not begin with /"},
        {VIEW("~/orders/\\d+$"), "is a regular expression, which is not served yet"},
        {VIEW("/a//b"), "has an empty segment"},
        {VIEW("/a/../b"), "has a dot segment"},
        {VIEW("/a?b"), "has a query or fragment"},
        {VIEW("/a/x{b}"), "has a brace; a placeholder is a whole segment"},
        {VIEW("/a/{b"), "has a brace; a placeholder is a whole segment"},
        {VIEW("/a/{}"), "has a placeholder whose name is not of letters, digits and _"},
        {VIEW("/a/{b-c}"), "has a placeholder whose name is not of letters, digits and _"},
        {VIEW("/a/{1}"), "has a placeholder whose name is not of letters, digits and _"},
        {VIEW("/a\\b"), "has a backslash, a NUL or a byte that is not UTF-8"},
        {VIEW("/a\xff"), "has a backslash, a NUL or a byte that is not UTF-8"},
        {VIEW("/{a}/{a}"), "has the same placeholder twice"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct route routes[] = {
            ROUTE("bad", 5, GET, cases[i].path),
            ROUTE("good", 6, GET, VIEW("/good")),
        };
        struct view text = arena_printf(&arena, "route bad: path %.*s %s", VIEW_ARG(cases[i].path),
                                        cases[i].wrong);
        assert_complaint(routes, 2, SEVERITY_ERROR, 5, text.data);
    }
    struct route routes[] = {ROUTE("x", 3, GET, VIEW("/x"))};
    routes[0].methods.count = 0;
    assert_complaint(routes, 1, SEVERITY_ERROR, 3, "route x: no methods");
    routes[0].statement.present = false;
    assert_complaint(routes, 1, SEVERITY_WARNING, 3, "route x has no statement and is not served");
    const struct route options[] = {ROUTE("x", 3, LIST(VIEW("OPTIONS")), VIEW("/x"))};
    assert_complaint(options, 1, SEVERITY_ERROR, 3, "route x: OPTIONS is answered by the gateway");
}

static void the_limits_of_a_template_are_exact(void **state)
{
    (void)state;
    char path[ROUTER_MAX_SEGMENTS * 2 + 3] = "", longest[ROUTER_MAX_LITERAL_BYTES + 3] = "/";
    for (int i = 0; i < ROUTER_MAX_SEGMENTS; i++)
        memcpy(path + (size_t)i * 2, "/a", 3);
    memset(longest + 1, 'x', ROUTER_MAX_LITERAL_BYTES);
    struct view paths[] = {view_str(path), view_str(longest)};
    struct route route = {.name = VIEW("r"), .methods = GET, .paths = {paths, 2},
                          .statement.present = true};
    const struct router *r = build(&route, 1);
    assert_int_equal(diagnostics.errors, 0);
    matched(r, "GET", path, "r");
    matched(r, "GET", longest, "r");
    memcpy(path + (size_t)ROUTER_MAX_SEGMENTS * 2, "/a", 3);
    longest[ROUTER_MAX_LITERAL_BYTES + 1] = 'x';
    paths[0].len += 2;
    paths[1].len += 1;
    build(&route, 1);
    assert_int_equal(diagnostics.errors, 2);
    unmatched(r, "GET", path, ROUTER_NO_PATH);

    char many[ROUTER_MAX_CAPTURES * 6 + 7] = "";
    size_t len = 0;
    for (int i = 0; i <= ROUTER_MAX_CAPTURES; i++) {
        len += (size_t)snprintf(many + len, sizeof many - len, "/{p%c}", 'a' + i);
        struct view one[] = {view_of(many, len)};
        struct route templated = {.name = VIEW("t"), .methods = GET, .paths = {one, 1},
                                  .statement.present = true};
        diagnostics = (struct diagnostics){.arena = &arena};
        build(&templated, 1);
        assert_int_equal(diagnostics.errors, i == ROUTER_MAX_CAPTURES);
    }
}

static void ten_thousand_routes_each_find_their_own(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct route *routes = ARENA_ARRAY(&arena, N, struct route);
    struct view *paths = ARENA_ARRAY(&arena, N, struct view);
    static const struct view get[] = {{"GET", 3}};
    for (int i = 0; i < N; i++) {
        paths[i] = arena_printf(&arena, "/v%d/things%d/{id}/part%d", i % 7, i, i % 3);
        routes[i] = (struct route){.name = arena_printf(&arena, "r%d", i),
                                   .methods = {get, 1},
                                   .paths = {&paths[i], 1},
                                   .statement.present = true};
    }
    const struct router *r = build(routes, N);
    assert_int_equal(diagnostics.errors, 0);
    for (int i = 0; i < N; i++) {
        char path[64];
        snprintf(path, sizeof path, "/v%d/things%d/x%d/part%d", i % 7, i, i, i % 3);
        struct router_match m;
        assert_int_equal(router_match(r, VIEW("GET"), view_str(path), &m), ROUTER_FOUND);
        assert_ptr_equal(m.route, &routes[i]);
        snprintf(path, sizeof path, "/v%d/things%d/x%d/part%d", (i + 1) % 7, i, i, i % 3);
        assert_int_equal(router_match(r, VIEW("GET"), view_str(path), &m), ROUTER_NO_PATH);
    }
}

static void without_memory_there_is_no_router(void **state)
{
    (void)state;
    const struct route routes[] = {ROUTE("a", 1, GET, VIEW("/a/{b}"))};
    struct service service = {.routes = routes, .route_count = 1};
    struct entities entities = {.services = &service, .service_count = 1};
    bool succeeded = false;
    for (size_t max = 0; max < 8192 && !succeeded; max += 32) {
        struct arena tiny;
        const struct router *router = (const void *)&tiny;
        arena_init(&tiny, 16, max);
        err e = router_build(&tiny, &entities, VIEW("f"), &diagnostics, &router);
        succeeded = !failed(e);
        assert_true(succeeded || is_fault(e, &fault_out_of_memory));
        assert_true(succeeded == (router != NULL));
        arena_clear(&tiny);
    }
    assert_true(succeeded);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(paths_lead_to_their_routes),
        TEST(anything_else_is_no_path),
        TEST(literals_are_compared_decoded),
        TEST(a_literal_beats_a_placeholder),
        TEST(a_known_path_with_another_method_says_which_are_allowed),
        TEST(head_is_served_by_get_unless_it_has_a_route),
        TEST(two_routes_of_one_shape_and_method_are_a_mistake),
        TEST(a_bad_template_is_a_mistake_and_the_others_are_served),
        TEST(the_limits_of_a_template_are_exact),
        TEST(ten_thousand_routes_each_find_their_own),
        TEST(without_memory_there_is_no_router),
    };
    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
