#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/parameters.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static struct arena arena;
static struct diagnostics diagnostics;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 22);
    diagnostics = (struct diagnostics){.arena = &arena};
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

#define NOTHING ((struct view){NULL, 0})

/* The one header that the tests' requests have: X-Tag, as often as `times` says. */
struct headers {
    const char *value;
    int times;
};

static bool get_header(void *ctx, struct view name, struct view *value, bool *twice)
{
    const struct headers *headers = ctx;
    if (headers == NULL || headers->times == 0 || !view_eq_nocase(name, VIEW("x-tag")))
        return false;
    *value = view_str(headers->value);
    *twice = headers->times > 1;
    return true;
}

static const struct claim claims[] = {
    {VIEW("tenant"), CLAIM_STRING, VIEW("t-1"), VIEW("\"t-1\"")},
    {VIEW("level"), CLAIM_NUMBER, VIEW("12345678901234567890.5"), VIEW("12345678901234567890.5")},
    {VIEW("staff"), CLAIM_BOOL, VIEW("true"), VIEW("true")},
    {VIEW("nothing"), CLAIM_NULL, VIEW("null"), VIEW("null")},
    {VIEW("groups"), CLAIM_COMPOUND, {NULL, 0}, VIEW("[\"a\",\"b\"]")},
    {VIEW("address"), CLAIM_COMPOUND, {NULL, 0}, VIEW("{\"city\":\"x\"}")},
    {VIEW("nul"), CLAIM_STRING, {"a\0b", 3}, VIEW("\"a\\u0000b\"")},
};

static const struct principal caller = {.claims = claims, .claim_count = COUNT_OF(claims)};

#define PARAMETER(parameter_name, parameter_type, parameter_source, parameter_key)                 \
    {                                                                                              \
        .name = VIEW(parameter_name), .type = VIEW(parameter_type), .required = true,              \
        .source = parameter_source, .key = VIEW(parameter_key)                                     \
    }

/* One of each source, and the types that matter. */
static struct parameter declared[] = {
    PARAMETER("id", "bigint", SOURCE_PATH, "id"),
    PARAMETER("q", "text", SOURCE_QUERY, "q"),
    PARAMETER("n", "integer", SOURCE_QUERY, "n"),
    PARAMETER("tag", "text", SOURCE_HEADER, "X-Tag"),
    PARAMETER("tenant", "text", SOURCE_CLAIM, "tenant"),
};

static struct bound_value values[32];
static struct parameter_error why;

static err bind(struct parameter *parameters, size_t count, struct parameter_input *input)
{
    struct route route = {.name = VIEW("r"),
                          .statement = {.present = true,
                                        .parameters = parameters,
                                        .parameter_count = count}};
    const struct parameter_type *types;
    if (input->principal == NULL)
        input->principal = &caller;
    if (input->headers.get == NULL)
        input->headers.get = get_header;
    assert_true(parameters_compile(&arena, &route, VIEW("f"), &diagnostics, &types));
    memset(values, 0xff, sizeof values);
    return parameters_bind(&arena, &route, types, input, values, &why);
}

static void assert_value(size_t i, const char *text)
{
    assert_int_equal(values[i].is_null, text == NULL);
    if (text != NULL && !view_is(values[i].text, text))
        print_error("%zu: %.*s\n", i, VIEW_ARG(values[i].text));
    if (text != NULL)
        assert_true(view_is(values[i].text, text));
    else
        assert_null(values[i].text.data);
}

static void assert_blamed(err e, const struct fault *fault, const char *name)
{
    if (!is_fault(e, fault))
        print_error("%s\n", failed(e) ? e.fault->name : "ok");
    assert_true(is_fault(e, fault));
    if (name == NULL)
        assert_null(why.name.data);
    else
        assert_true(view_is(why.name, name));
    assert_true(why.detail.len > 0);
}

static void every_source_gives_its_value(void **state)
{
    (void)state;
    struct headers headers = {"v1", 1};
    const struct capture captures[] = {{VIEW("id"), VIEW("4%32")}};
    struct parameter_input input = {.captures = captures,
                                    .capture_count = 1,
                                    .raw_query = VIEW("n=-7&&q=a+b%26%3d%C3%A9&"),
                                    .headers = {get_header, &headers}};
    assert_false(failed(bind(declared, COUNT_OF(declared), &input)));
    assert_value(0, "42");
    assert_value(1, "a b&=\xc3\xa9");
    assert_value(2, "-7");
    assert_value(3, "v1");
    assert_value(4, "t-1");
}

static err bind_query(const char *query)
{
    struct parameter_input input = {.raw_query = view_str(query)};
    return bind(&declared[1], 2, &input); /* q text, n integer */
}

static void query_names_are_known_and_given_once(void **state)
{
    (void)state;
    assert_false(failed(bind_query("q=x&n=1")));
    assert_blamed(bind_query("q=x&n=1&m=2"), &parameter_unknown, "m");
    assert_blamed(bind_query("q=x&n=1&%71=y"), &parameter_twice, "q");
    assert_blamed(bind_query("q=x&q=x&n=1"), &parameter_twice, "q");
    assert_blamed(bind_query("Q=x&n=1"), &parameter_unknown, "Q");
    assert_blamed(bind_query("tenant=evil&q=x&n=1"), &parameter_unknown, "tenant");
    assert_blamed(bind_query("q=x"), &parameter_missing, "n");
    assert_blamed(bind_query(""), &parameter_missing, "q");
    assert_false(failed(bind_query("q&n=1")));
    assert_value(0, "");
    assert_false(failed(bind_query("q=&n=1")));
    assert_value(0, "");
    assert_false(failed(bind_query("q=a=b&n=1")));
    assert_value(0, "a=b");
}

static void values_are_of_their_type_and_text(void **state)
{
    (void)state;
    assert_blamed(bind_query("q=x&n=one"), &parameter_bad_value, "n");
    assert_true(view_is(why.detail, "The value is not of type integer."));
    assert_blamed(bind_query("q=x&n=2147483648"), &parameter_bad_value, "n");
    assert_false(failed(bind_query("q=x&n=2147483647")));
    assert_blamed(bind_query("q=x&n="), &parameter_bad_value, "n");
    assert_blamed(bind_query("n=1&q=a%00"), &parameter_not_text, "q");
    assert_blamed(bind_query("n=1&q=%ff"), &parameter_not_text, "q");
    assert_blamed(bind_query("n=1&q=%4"), &parameter_not_text, "q");
    assert_blamed(bind_query("%00=1"), &parameter_not_text, NULL);
    const struct capture captures[] = {{VIEW("id"), VIEW("1%3B")}};
    struct parameter_input input = {.captures = captures, .capture_count = 1};
    assert_blamed(bind(declared, 1, &input), &parameter_bad_value, "id");
}

static void what_is_not_given_is_default_or_null(void **state)
{
    (void)state;
    struct parameter optional[] = {
        PARAMETER("a", "integer", SOURCE_QUERY, "a"),
        PARAMETER("b", "integer", SOURCE_QUERY, "b"),
        PARAMETER("c", "text", SOURCE_CLAIM, "absent"),
        PARAMETER("d", "text", SOURCE_CLAIM, "nothing"),
        PARAMETER("e", "text", SOURCE_HEADER, "X-Other"),
        PARAMETER("f", "text", SOURCE_BODY, "f"),
    };
    optional[0].has_default = true;
    optional[0].default_value = VIEW("20");
    optional[1].required = false;
    optional[2].required = false;
    optional[3].has_default = true;
    optional[3].default_value = VIEW("none");
    optional[4].required = false;
    optional[5].required = false;
    struct parameter_input input = {.principal = &caller};
    assert_false(failed(bind(optional, COUNT_OF(optional), &input)));
    assert_value(0, "20");
    assert_value(1, NULL);
    assert_value(2, NULL);
    assert_value(3, "none");
    assert_value(4, NULL);
    assert_value(5, NULL);
    input.raw_query = VIEW("a=1&b=2");
    assert_false(failed(bind(optional, COUNT_OF(optional), &input)));
    assert_value(0, "1");
    assert_value(1, "2");
}

static void a_missing_claim_is_not_the_callers_mistake(void **state)
{
    (void)state;
    const struct {
        struct parameter parameter;
        const struct fault *fault; /* NULL: bound to value */
        const char *value;
    } cases[] = {
        {PARAMETER("p", "text", SOURCE_CLAIM, "tenant"), NULL, "t-1"},
        {PARAMETER("p", "numeric", SOURCE_CLAIM, "level"), NULL, "12345678901234567890.5"},
        {PARAMETER("p", "boolean", SOURCE_CLAIM, "staff"), NULL, "true"},
        {PARAMETER("p", "jsonb", SOURCE_CLAIM, "tenant"), NULL, "\"t-1\""},
        {PARAMETER("p", "jsonb", SOURCE_CLAIM, "address"), NULL, "{\"city\":\"x\"}"},
        {PARAMETER("p", "text[]", SOURCE_CLAIM, "groups"), NULL, "{\"a\",\"b\"}"},
        {PARAMETER("p", "text", SOURCE_CLAIM, "absent"), &parameter_claim_missing, NULL},
        {PARAMETER("p", "text", SOURCE_CLAIM, "Tenant"), &parameter_claim_missing, NULL},
        {PARAMETER("p", "text", SOURCE_CLAIM, "nothing"), &parameter_claim_missing, NULL},
        {PARAMETER("p", "bigint", SOURCE_CLAIM, "tenant"), &parameter_claim_unfit, NULL},
        {PARAMETER("p", "text", SOURCE_CLAIM, "groups"), &parameter_claim_unfit, NULL},
        {PARAMETER("p", "text", SOURCE_CLAIM, "nul"), &parameter_claim_unfit, NULL},
        {PARAMETER("p", "text[]", SOURCE_CLAIM, "tenant"), &parameter_claim_unfit, NULL},
        {PARAMETER("p", "text[]", SOURCE_CLAIM, "address"), &parameter_claim_unfit, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parameter p = cases[i].parameter;
        struct parameter_input input = {.principal = &caller};
        err e = bind(&p, 1, &input);
        if (cases[i].fault == NULL) {
            assert_false(failed(e));
            assert_value(0, cases[i].value);
        } else {
            /* The name of a claim is nobody's business but the operator's. */
            assert_blamed(e, cases[i].fault, NULL);
            assert_int_equal(e.fault->http_status, 403);
            assert_true(view_is(why.detail, "The token lacks what this call needs."));
        }
    }
}

static void a_header_is_taken_when_it_stands_once(void **state)
{
    (void)state;
    struct headers headers = {"x", 1};
    struct parameter_input input = {.headers = {get_header, &headers}};
    assert_false(failed(bind(&declared[3], 1, &input)));
    assert_value(0, "x");
    headers.times = 2;
    assert_blamed(bind(&declared[3], 1, &input), &parameter_twice, "X-Tag");
    headers.times = 0;
    assert_blamed(bind(&declared[3], 1, &input), &parameter_missing, "X-Tag");
    headers = (struct headers){"\xff", 1};
    assert_blamed(bind(&declared[3], 1, &input), &parameter_not_text, "X-Tag");
}

static struct parameter in_body[] = {
    PARAMETER("t", "text", SOURCE_BODY, "t"),      PARAMETER("n", "numeric", SOURCE_BODY, "n"),
    PARAMETER("b", "bool", SOURCE_BODY, "b"),      PARAMETER("j", "jsonb", SOURCE_BODY, "j"),
    PARAMETER("ts", "text[]", SOURCE_BODY, "ts"),  PARAMETER("ns", "int[]", SOURCE_BODY, "ns"),
    PARAMETER("js", "jsonb[]", SOURCE_BODY, "js"),
};

static err bind_body_of(const char *content_type, struct view body)
{
    for (size_t i = 0; i < COUNT_OF(in_body); i++)
        in_body[i].required = false;
    struct parameter_input input = {.content_type = view_str(content_type), .body = body};
    return bind(in_body, COUNT_OF(in_body), &input);
}

static err bind_json_body(const char *body)
{
    return bind_body_of("application/json", view_str(body));
}

static void a_json_body_keeps_its_texts(void **state)
{
    (void)state;
    assert_false(failed(bind_json_body(
        "{\"t\":\"a\\u00e9\\n\",\"n\":123456789012345678901234567890.10,\"b\":true,"
        "\"j\":{\"x\": [1.50, null]},\"ts\":[\"a\",null,\"b\\\"c\"],\"ns\":[[1,2],[3,4]],"
        "\"js\":[{\"a\":1},[2],\"s\",null]}")));
    assert_value(0, "a\xc3\xa9\n");
    assert_value(1, "123456789012345678901234567890.10");
    assert_value(2, "true");
    assert_value(3, "{\"x\": [1.50, null]}");
    assert_value(4, "{\"a\",NULL,\"b\\\"c\"}");
    assert_value(5, "{{\"1\",\"2\"},{\"3\",\"4\"}}");
    assert_value(6, "{\"{\\\"a\\\":1}\",\"[2]\",\"\\\"s\\\"\",NULL}");

    assert_false(failed(bind_json_body("{\"t\":null,\"n\":\"1.5\",\"j\":null,\"ts\":[]}")));
    assert_value(0, NULL);
    assert_value(1, "1.5");
    assert_value(2, NULL);
    assert_value(3, NULL);
    assert_value(4, "{}");

    assert_false(failed(bind_json_body("{\"t\":12e1,\"j\":\"s\"}")));
    assert_value(0, "12e1");
    assert_value(3, "\"s\"");
    assert_false(failed(bind_json_body("{}")));
    assert_false(failed(bind_json_body("")));
}

static void a_json_body_that_does_not_fit_is_blamed(void **state)
{
    (void)state;
    const struct {
        const char *body;
        const struct fault *fault;
        const char *name;
    } cases[] = {
        {"{\"x\":1}", &parameter_unknown, "x"},
        {"{\"T\":1}", &parameter_unknown, "T"},
        {"{\"t\":\"a\",\"t\":\"a\"}", &parameter_twice, NULL},
        {"{\"t\":\"a\",\"\\u0074\":\"a\"}", &parameter_twice, NULL},
        {"{\"t\":{}}", &parameter_bad_value, "t"},
        {"{\"t\":[]}", &parameter_bad_value, "t"},
        {"{\"t\":\"a\\u0000b\"}", &parameter_not_text, "t"},
        {"{\"n\":true}", &parameter_bad_value, "n"},
        {"{\"n\":\"x\"}", &parameter_bad_value, "n"},
        {"{\"b\":2}", &parameter_bad_value, "b"},
        {"{\"ts\":\"{a}\"}", &parameter_bad_value, "ts"},
        {"{\"ts\":[{}]}", &parameter_bad_value, "ts"},
        {"{\"ts\":[\"a\\u0000\"]}", &parameter_bad_value, "ts"},
        {"{\"ns\":[1,\"x\"]}", &parameter_bad_value, "ns"},
        {"{\"ns\":[[[[[[[1]]]]]]]}", &parameter_bad_value, "ns"},
        {"[]", &parameter_body_syntax, NULL},
        {"null", &parameter_body_syntax, NULL},
        {"{\"t\":\"a\"", &parameter_body_syntax, NULL},
        {"{\"t\":'a'}", &parameter_body_syntax, NULL},
        {"{\"t\":\"a\"} x", &parameter_body_syntax, NULL},
        {"\xef\xbb\xbf{}", &parameter_body_syntax, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e = bind_json_body(cases[i].body);
        assert_blamed(e, cases[i].fault, cases[i].name);
        assert_int_equal(e.fault->http_status, 400);
    }
}

static void a_form_is_a_query_in_the_body(void **state)
{
    (void)state;
    const char *form = "application/x-www-form-urlencoded";
    assert_false(failed(bind_body_of(form, VIEW("t=a+b&ns=%7B1%7D&j=%7B%7D"))));
    assert_value(0, "a b");
    assert_value(5, "{1}");
    assert_value(3, "{}");
    assert_value(1, NULL);
    assert_blamed(bind_body_of(form, VIEW("t=a&t=b")), &parameter_twice, "t");
    assert_blamed(bind_body_of(form, VIEW("x=a")), &parameter_unknown, "x");
    assert_blamed(bind_body_of(form, VIEW("{\"t\":1}")), &parameter_unknown, "{\"t\":1}");
}

static void the_content_type_says_how_the_body_is_read(void **state)
{
    (void)state;
    const struct view body = VIEW("{\"t\":\"a\"}");
    assert_false(failed(bind_body_of("Application/JSON ; charset=utf-8", body)));
    assert_value(0, "a");
    assert_blamed(bind_body_of("text/plain", body), &parameter_body_type, NULL);
    assert_blamed(bind_body_of("application/jsonx", body), &parameter_body_type, NULL);
    assert_blamed(bind_body_of("multipart/form-data", body), &parameter_body_type, NULL);
    err e = bind_body_of(NULL, body);
    assert_blamed(e, &parameter_body_type, NULL);
    assert_int_equal(e.fault->http_status, 415);
    /* No body parameter: no body. */
    struct parameter_input input = {
        .raw_query = VIEW("q=1&n=1"), .content_type = VIEW("application/json"), .body = VIEW("{}")};
    assert_blamed(bind(&declared[1], 2, &input), &parameter_body_unwanted, NULL);
}

static void one_source_does_not_stand_in_for_another(void **state)
{
    (void)state;
    struct parameter two[] = {PARAMETER("q", "text", SOURCE_QUERY, "q"),
                              PARAMETER("t", "text", SOURCE_BODY, "t")};
    struct parameter_input input = {.raw_query = VIEW("q=1&t=2"),
                                    .content_type = VIEW("application/json"),
                                    .body = VIEW("{\"t\":\"3\"}")};
    assert_blamed(bind(two, 2, &input), &parameter_unknown, "t");
    input.raw_query = VIEW("q=1");
    input.body = VIEW("{\"t\":\"3\",\"q\":\"2\"}");
    assert_blamed(bind(two, 2, &input), &parameter_unknown, "q");
    input.body = VIEW("{\"t\":\"3\"}");
    assert_false(failed(bind(two, 2, &input)));
    assert_value(0, "1");
    assert_value(1, "3");
}

static void assert_mistake(struct parameter *parameters, size_t count, struct strings paths,
                           const char *text)
{
    struct route route = {.meta.line = 9,
                          .name = VIEW("r"),
                          .paths = paths,
                          .statement = {.present = true,
                                        .parameters = parameters,
                                        .parameter_count = count}};
    const struct parameter_type *types;
    diagnostics = (struct diagnostics){.arena = &arena};
    assert_int_equal(parameters_compile(&arena, &route, VIEW("f"), &diagnostics, &types),
                     text == NULL);
    assert_int_equal(diagnostics.errors, text != NULL);
    if (text == NULL)
        return;
    if (!view_is(diagnostics.first->text, text))
        print_error("%.*s\n", VIEW_ARG(diagnostics.first->text));
    assert_true(view_is(diagnostics.first->text, text));
}

static void declarations_are_checked_at_load(void **state)
{
    (void)state;
    const struct view with[] = {VIEW("/a/{id}")}, without[] = {VIEW("/a")};
    const struct view both[] = {VIEW("/a/{id}"), VIEW("/a/{ib}")};
    struct parameter p[] = {
        PARAMETER("id", "bigint", SOURCE_PATH, "id"),
        PARAMETER("n", "numeric(10,2)", SOURCE_QUERY, "n"),
    };
    const struct strings good = {with, 1};
    assert_mistake(p, 2, good, NULL);
    assert_mistake(p, 2, (struct strings){without, 1},
                   "parameter id: no such placeholder in path /a");
    assert_mistake(&p[1], 1, good,
                   "route r: no parameter comes from the placeholder {id} of /a/{id}");
    struct route route = {.paths = {both, 2},
                          .statement = {.parameters = p, .parameter_count = 2}};
    const struct parameter_type *types;
    assert_false(parameters_compile(&arena, &route, VIEW("f"), &diagnostics, &types));

    p[1].type = VIEW("nonsense");
    assert_mistake(p, 2, good,
                   "parameter n: unknown type (for a type of your own, take text and cast it): "
                   "nonsense");
    p[1].type = VIEW("int");
    p[1].has_default = true;
    p[1].default_value = VIEW("x");
    assert_mistake(p, 2, good, "parameter n: the default is not of type int");
    p[1].default_value = VIEW("5");
    assert_mistake(p, 2, good, NULL);
    p[1].name = VIEW("id");
    assert_mistake(p, 2, good, "parameter id: declared twice");
    struct parameter same[] = {PARAMETER("a", "text", SOURCE_QUERY, "k"),
                               PARAMETER("b", "text", SOURCE_QUERY, "k")};
    assert_mistake(same, 2, (struct strings){without, 1},
                   "parameter b: comes from the same place as a");
    same[1].source = SOURCE_CLAIM;
    assert_mistake(same, 2, (struct strings){without, 1}, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(every_source_gives_its_value),
        TEST(query_names_are_known_and_given_once),
        TEST(values_are_of_their_type_and_text),
        TEST(what_is_not_given_is_default_or_null),
        TEST(a_missing_claim_is_not_the_callers_mistake),
        TEST(a_header_is_taken_when_it_stands_once),
        TEST(a_json_body_keeps_its_texts),
        TEST(a_json_body_that_does_not_fit_is_blamed),
        TEST(a_form_is_a_query_in_the_body),
        TEST(the_content_type_says_how_the_body_is_read),
        TEST(one_source_does_not_stand_in_for_another),
        TEST(declarations_are_checked_at_load),
    };
    return cmocka_run_group_tests_name("parameters", tests, NULL, NULL);
}
