/* What each plugin says to a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "plugins/decide.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define NOW INT64_C(1835481598) /* 2028-02-29T23:59:58Z */

static struct arena arena;
static struct window_limiter *windows;
static const struct service shop = {.meta = {.id = VIEW("s-1")}, .name = VIEW("shop")};
static const struct consumer ann = {.meta = {.id = VIEW("c-1")}, .username = VIEW("ann")};
static struct principal caller;
static struct address peer;
static struct plugin_request asked;
static struct plugin_verdict said;
static struct view header_value; /* of X-Key; absent: there is none */
static bool has_query;

static bool header(void *arg, struct view name, struct view *value)
{
    (void)arg;
    *value = header_value;
    return view_eq_nocase(name, VIEW("x-key")) && header_value.data != NULL;
}

static bool parameter(void *arg, struct view name)
{
    (void)arg;
    return view_is(name, "X-Key") && has_query;
}

static struct address address(const char *text)
{
    struct address_range r;
    assert_true(address_range_parse(view_str(text), &r));
    return r.first;
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    windows = window_limiter_new(1000);
    caller = (struct principal){.issuer_name = VIEW("dev"), .subject = VIEW("alice"),
                                .client = VIEW("web")};
    peer = address("192.0.2.7");
    asked = (struct plugin_request){.peer = &peer, .principal = &caller, .service = &shop,
                                    .method = VIEW("GET"), .path = VIEW("/a"), .now_s = NOW,
                                    .windows = windows, .header = header, .parameter = parameter};
    header_value = (struct view){NULL, 0};
    has_query = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    window_limiter_free(windows);
    arena_clear(&arena);
    return 0;
}

static bool passes(const struct plugin *p)
{
    const struct plugin_chain chain = {{p}, 1};

    plugins_decide(&arena, &chain, &asked, &said);
    assert_true(said.refusing == NULL || said.refusing == p);
    return said.refusing == NULL;
}

static void assert_refused(const struct plugin *p, const struct fault *fault, int status,
                           const char *message)
{
    assert_false(passes(p));
    assert_ptr_equal(said.fault, fault);
    assert_int_equal(said.status, status);
    assert_true(view_is(said.message, message));
}

static void addresses_are_denied_first_and_then_allowed(void **state)
{
    static struct address_range allow[2], deny[1];
    struct plugin p = {.kind = PLUGIN_IP_RESTRICTION};
    struct ip_restriction *r = &p.config.ip_restriction;

    (void)state;
    assert_true(address_range_parse(VIEW("192.0.2.0/24"), &allow[0]));
    assert_true(address_range_parse(VIEW("2001:db8::/32"), &allow[1]));
    assert_true(address_range_parse(VIEW("192.0.2.8/31"), &deny[0]));
    *r = (struct ip_restriction){.allow = {.items = allow, .count = 2}, .status = 418,
                                 .message = VIEW("not you")};
    assert_true(passes(&p));
    peer = address("2001:db8::9");
    assert_true(passes(&p));
    peer = address("198.51.100.1");
    assert_refused(&p, &plugin_ip_restriction, 418, "not you");
    peer = address_of(0, NULL); /* not known */
    assert_refused(&p, &plugin_ip_restriction, 418, "not you");
    r->deny = (struct address_set){.items = deny, .count = 1};
    peer = address("192.0.2.9");
    assert_refused(&p, &plugin_ip_restriction, 418, "not you");
    peer = address("192.0.2.10");
    assert_true(passes(&p));
    r->allow.count = 0;
    peer = address("198.51.100.1");
    assert_true(passes(&p));
    peer = address_of(0, NULL);
    assert_refused(&p, &plugin_ip_restriction, 418, "not you");
}

static void a_body_beyond_the_limit_is_refused_by_its_length(void **state)
{
    struct plugin p = {.kind = PLUGIN_REQUEST_SIZE_LIMITING,
                       .config.request_size_limiting = {.max_bytes = 10}};

    (void)state;
    asked.has_length = true;
    asked.content_length = 10;
    assert_true(passes(&p));
    assert_ptr_equal(said.sizing, &p);
    asked.content_length = 11;
    assert_refused(&p, &plugin_request_size_limiting, 413, "Request size limit exceeded");
    asked.expects = true;
    assert_refused(&p, &plugin_request_size_limiting, 417, "Request size limit exceeded");
    /* What came in chunks is known in the end. */
    plugins_refuse_body(&p, false, &said);
    assert_int_equal(said.status, 413);
    assert_ptr_equal(said.refusing, &p);
}

static void a_length_is_wanted_where_a_body_may_be(void **state)
{
    struct plugin p = {.kind = PLUGIN_REQUEST_SIZE_LIMITING,
                       .config.request_size_limiting = {.max_bytes = 10,
                                                        .require_content_length = true}};
    static const char text[] = "A valid Content-Length header is required";

    (void)state;
    assert_true(passes(&p)); /* GET */
    asked.chunked = true;
    assert_refused(&p, &plugin_request_length_required, 411, text);
    asked.chunked = false;
    asked.method = VIEW("POST");
    assert_refused(&p, &plugin_request_length_required, 411, text);
    asked.has_length = true;
    assert_true(passes(&p));
    p.config.request_size_limiting.require_content_length = false;
    asked.has_length = false;
    assert_true(passes(&p));
}

static void a_termination_answers_with_kongs_words_or_its_own(void **state)
{
    struct plugin p = {.kind = PLUGIN_REQUEST_TERMINATION};
    struct request_termination *r = &p.config.request_termination;

    (void)state;
    r->status_code = 503;
    assert_refused(&p, &plugin_request_termination, 503, "Service unavailable");
    r->status_code = 404;
    assert_refused(&p, &plugin_request_termination, 404, "Not found");
    r->status_code = 418;
    assert_false(passes(&p));
    assert_null(said.message.data);
    r->message = VIEW("tea");
    assert_refused(&p, &plugin_request_termination, 418, "tea");
    r->message = (struct view){NULL, 0};
    r->body = VIEW("<p>");
    r->content_type = VIEW("text/html");
    assert_false(passes(&p));
    assert_true(view_is(said.body, "<p>") && view_is(said.content_type, "text/html"));
    r->trigger = VIEW("X-Key");
    assert_true(passes(&p));
    header_value = VIEW("");
    assert_false(passes(&p));
    header_value = (struct view){NULL, 0};
    has_query = true;
    assert_false(passes(&p));
}

static void assert_header(const char *name, const char *value)
{
    for (size_t i = 0; i < said.header_count; i++) {
        if (view_is(said.headers[i].name, name)) {
            assert_true(view_is(said.headers[i].value, value));
            return;
        }
    }
    fail_msg("no %s", name);
}

static struct plugin limiting(const char *id, enum limit_by by, int64_t minute)
{
    return (struct plugin){.meta = {.id = view_str(id)}, .kind = PLUGIN_RATE_LIMITING,
                           .config.rate_limiting = {.limits = {[PERIOD_MINUTE] = minute},
                                                    .limit_by = by, .error_code = 429,
                                                    .error_message = VIEW("slow down"),
                                                    .header_name = VIEW("X-Key"),
                                                    .path = VIEW("/a")}};
}

static void the_answer_tells_what_is_left(void **state)
{
    struct plugin p = limiting("p", LIMIT_BY_CONSUMER, 2);

    (void)state;
    p.config.rate_limiting.limits[PERIOD_DAY] = 1000;
    assert_true(passes(&p));
    assert_int_equal(said.header_count, 7);
    assert_header("X-RateLimit-Limit-Minute", "2");
    assert_header("X-RateLimit-Remaining-Minute", "1");
    assert_header("X-RateLimit-Limit-Day", "1000");
    assert_header("X-RateLimit-Remaining-Day", "999");
    assert_header("RateLimit-Limit", "2");
    assert_header("RateLimit-Remaining", "1");
    assert_header("RateLimit-Reset", "2");
    assert_int_equal(said.retry_after_s, 0);
    assert_true(passes(&p));
    assert_refused(&p, &plugin_rate_limiting, 429, "slow down");
    assert_int_equal(said.retry_after_s, 2);
    assert_header("RateLimit-Remaining", "0");
    assert_header("X-RateLimit-Remaining-Day", "998");
    asked.now_s += 2;
    assert_true(passes(&p));
    assert_header("RateLimit-Reset", "60");
    p.config.rate_limiting.hide_client_headers = true;
    assert_true(passes(&p));
    assert_int_equal(said.header_count, 0);
    assert_false(passes(&p));
    assert_int_equal(said.header_count + (size_t)said.retry_after_s, 0);
}

/* Of two windows with as much left the longer one is told, as in Kong. */
static void of_two_the_longer_window_is_told(void **state)
{
    struct plugin p = limiting("p", LIMIT_BY_IP, 5);

    (void)state;
    asked.now_s -= 3600; /* two seconds before the minute's end, 3602 before the day's */
    p.config.rate_limiting.limits[PERIOD_DAY] = 5;
    p.config.rate_limiting.limits[PERIOD_SECOND] = 9;
    assert_true(passes(&p));
    assert_header("RateLimit-Limit", "5");
    assert_header("RateLimit-Reset", "3602");
}

enum { SAME, APART };

/* Two calls against a limit of one: the second is refused only when it counts as the same. */
static void assert_second(enum limit_by by, int want, void (*change)(void))
{
    struct plugin p = limiting("p", by, 1);

    assert_true(passes(&p));
    change();
    assert_int_equal(passes(&p) ? APART : SAME, want);
    tear_down(NULL);
    set_up(NULL);
}

static void nothing(void) {}
static void another_subject(void) { caller.subject = VIEW("bob"); }
static void another_client(void) { caller.client = VIEW("app"); }
static void another_issuer(void) { caller.issuer_name = VIEW("prod"); }
static void moved_border(void) { caller.client = VIEW("weba"), caller.subject = VIEW("lice"); }
static void another_address(void) { peer = address("192.0.2.8"); }
static void a_consumer(void) { caller.consumer = &ann; }
static void another_path(void) { asked.path = VIEW("/b"); }
static void a_header(void) { header_value = VIEW("k"); }

static void calls_are_counted_by_what_limit_by_says(void **state)
{
    static const struct {
        enum limit_by by;
        void (*change)(void);
        int want;
    } cases[] = {
        {LIMIT_BY_CONSUMER, nothing, SAME},          {LIMIT_BY_CONSUMER, another_address, SAME},
        {LIMIT_BY_CONSUMER, another_subject, APART}, {LIMIT_BY_CONSUMER, another_client, APART},
        {LIMIT_BY_CONSUMER, another_issuer, APART},  {LIMIT_BY_CONSUMER, moved_border, APART},
        {LIMIT_BY_CONSUMER, a_consumer, APART},      {LIMIT_BY_CREDENTIAL, a_consumer, SAME},
        {LIMIT_BY_CREDENTIAL, another_subject, APART}, {LIMIT_BY_IP, another_subject, SAME},
        {LIMIT_BY_IP, another_address, APART},       {LIMIT_BY_SERVICE, another_address, SAME},
        {LIMIT_BY_SERVICE, another_subject, SAME},   {LIMIT_BY_HEADER, another_address, APART},
        {LIMIT_BY_HEADER, a_header, APART},          {LIMIT_BY_PATH, another_address, SAME},
        {LIMIT_BY_PATH, another_path, APART},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_second(cases[i].by, cases[i].want, cases[i].change);
}

static void one_consumer_is_one_caller(void **state)
{
    struct plugin p = limiting("p", LIMIT_BY_CONSUMER, 1);
    struct plugin other = limiting("q", LIMIT_BY_CONSUMER, 1);

    (void)state;
    caller.consumer = &ann;
    assert_true(passes(&p));
    caller.subject = VIEW("bob");
    assert_false(passes(&p));
    assert_true(passes(&other)); /* each plugin counts by itself */
}

static void what_cannot_be_counted_passes_only_where_that_is_said(void **state)
{
    struct plugin p = limiting("p", LIMIT_BY_IP, 100);

    (void)state;
    arena_clear(&arena);
    arena_init(&arena, 1, 1); /* no room for the key */
    assert_refused(&p, &plugin_rate_limiting, 429, "slow down");
    p.config.rate_limiting.fault_tolerant = true;
    assert_true(passes(&p));
    assert_int_equal(said.header_count, 0);
}

/* Who writes ever new headers, or calls from ever new addresses, makes the gateway forget no caller
 * whom it counted: the limit would begin anew. */
static void what_a_caller_may_choose_pushes_no_caller_out(void **state)
{
    struct plugin who = limiting("p", LIMIT_BY_CONSUMER, 1);
    struct plugin key = limiting("q", LIMIT_BY_HEADER, 1);
    char text[32];

    (void)state;
    window_limiter_free(windows);
    asked.windows = windows = window_limiter_new(1); /* one for each of the shards */
    assert_true(passes(&who));
    for (int i = 0; i < 500; i++) {
        header_value = view_of(text, (size_t)snprintf(text, sizeof text, "v%d", i));
        assert_true(passes(&key));
    }
    header_value = (struct view){NULL, 0};
    for (int i = 0; i < 250; i++) {
        snprintf(text, sizeof text, "2001:db8::%d", i);
        peer = address(text);
        assert_true(passes(&key));
    }
    assert_int_equal(window_limiter_count(windows), 33);
    assert_false(passes(&who));
    assert_false(passes(&key)); /* nor do headers push addresses out, nor the other way */
}

static void what_comes_first_refuses_and_the_rest_is_not_asked(void **state)
{
    struct plugin first = {.kind = PLUGIN_REQUEST_SIZE_LIMITING,
                           .config.request_size_limiting = {.max_bytes = 1}};
    struct plugin second = limiting("p", LIMIT_BY_CONSUMER, 1);
    const struct plugin_chain chain = {{&first, &second}, 2};

    (void)state;
    asked.content_length = 2;
    plugins_decide(&arena, &chain, &asked, &said);
    assert_ptr_equal(said.refusing, &first);
    assert_int_equal(said.header_count, 0);
    asked.content_length = 1;
    plugins_decide(&arena, &chain, &asked, &said); /* not yet counted */
    assert_null(said.refusing);
    assert_ptr_equal(said.sizing, &first);
    plugins_decide(&arena, &chain, &asked, &said);
    assert_ptr_equal(said.refusing, &second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(addresses_are_denied_first_and_then_allowed),
        TEST(a_body_beyond_the_limit_is_refused_by_its_length),
        TEST(a_length_is_wanted_where_a_body_may_be),
        TEST(a_termination_answers_with_kongs_words_or_its_own),
        TEST(the_answer_tells_what_is_left),
        TEST(of_two_the_longer_window_is_told),
        TEST(calls_are_counted_by_what_limit_by_says),
        TEST(one_consumer_is_one_caller),
        TEST(what_cannot_be_counted_passes_only_where_that_is_said),
        TEST(what_a_caller_may_choose_pushes_no_caller_out),
        TEST(what_comes_first_refuses_and_the_rest_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
