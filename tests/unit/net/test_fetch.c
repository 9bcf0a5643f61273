#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "fetch_server.h"
#include "net/fetch.h"
#include "net/fetch_rules.h"

/* Last: it makes a macro of fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* What a fetch gave. */
struct outcome {
    int calls;
    err e;
    int status;
    int64_t max_age_s;
    char body[4096];
    char detail[256];
    struct net_fetcher *close_then; /* closed from within the callback */
    bool *closed;
};

struct bed {
    uv_loop_t loop;
    struct net_fetcher *fetcher;
    bool closed;
};

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void on_done(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct outcome *o = arg;
    o->calls++;
    o->e = e;
    if (failed(e)) {
        assert_null(response);
        snprintf(o->detail, sizeof o->detail, "%s", detail);
    } else {
        o->status = response->status;
        o->max_age_s = response->max_age_s;
        snprintf(o->body, sizeof o->body, "%.*s", VIEW_ARG(response->body));
    }
    if (o->close_then != NULL)
        net_fetcher_close(o->close_then, on_closed, o->closed);
}

static void bed_open(struct bed *b)
{
    assert_int_equal(uv_loop_init(&b->loop), 0);
    b->fetcher = net_fetcher_new(&b->loop);
    assert_non_null(b->fetcher);
    b->closed = false;
}

static void bed_close(struct bed *b)
{
    if (b->fetcher != NULL)
        net_fetcher_close(b->fetcher, on_closed, &b->closed);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_true(b->closed);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static void start(struct bed *b, struct outcome *o, struct fetch_request request)
{
    struct fetcher *f = net_fetcher_base(b->fetcher);
    if (request.method.data == NULL)
        request.method = VIEW("GET");
    if (request.timeout_ms == 0)
        request.timeout_ms = 20000;
    if (request.max_bytes == 0)
        request.max_bytes = 4000;
    f->start(f, &request, on_done, o);
    assert_int_equal(o->calls, 0);
}

static void finish(struct bed *b, struct outcome *o)
{
    while (o->calls == 0)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(o->calls, 1);
}

static struct outcome fetch(struct fetch_request request)
{
    struct bed b;
    struct outcome o = {0};
    bed_open(&b);
    start(&b, &o, request);
    finish(&b, &o);
    bed_close(&b);
    return o;
}

static char url_room[256];

static struct view url(const struct fetch_server *s, const char *host, const char *path)
{
    snprintf(url_room, sizeof url_room, "%s://%s:%u%s", s->tls != NULL ? "https" : "http", host,
             s->port, path);
    return view_str(url_room);
}

static const struct fetch_server_options both_names = {.dns_name = "localhost",
                                                       .ip_address = "127.0.0.1"};

static void an_answer_comes_with_status_body_and_max_age(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o =
        fetch((struct fetch_request){.url = url(s, "localhost", "/ok"),
                                     .ca_file = view_str(s->ca_file)});
    assert_false(failed(o.e));
    assert_int_equal(o.status, 200);
    assert_string_equal(o.body, "hello");
    assert_int_equal(o.max_age_s, 300);
    o = fetch((struct fetch_request){.url = url(s, "127.0.0.1", "/missing"),
                                     .ca_file = view_str(s->ca_file)});
    assert_false(failed(o.e));
    assert_int_equal(o.status, 404);
    assert_string_equal(o.body, "none");
    assert_int_equal(o.max_age_s, -1);
}

static void an_interim_answer_says_nothing_of_the_final_one(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/interim"),
                                                    .ca_file = view_str(s->ca_file)});
    assert_int_equal(o.status, 200);
    assert_int_equal(o.max_age_s, -1);
}

static void the_request_goes_out_as_given(void **state)
{
    struct fetch_server *s = *state;
    const struct fetch_header headers[] = {{VIEW("X-Amz-Date"), VIEW("20260102T030405Z")},
                                           {VIEW("X-Empty"), VIEW("")}};
    struct outcome o = fetch((struct fetch_request){.method = VIEW("PUT"),
                                                    .url = url(s, "localhost", "/echo"),
                                                    .ca_file = view_str(s->ca_file),
                                                    .headers = headers,
                                                    .header_count = 2,
                                                    .body = VIEW("a=1&b=2")});
    assert_int_equal(o.status, 201);
    assert_ptr_equal(strstr(o.body, "PUT /echo HTTP/1.1\r\n"), o.body);
    assert_non_null(strstr(o.body, "\r\nX-Amz-Date: 20260102T030405Z\r\n"));
    assert_non_null(strstr(o.body, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(o.body, "\r\nContent-Length: 7\r\n"));
    assert_null(strcasestr(o.body, "Content-Type"));
    assert_null(strcasestr(o.body, "Expect"));
    assert_string_equal(strstr(o.body, "\r\n\r\n"), "\r\n\r\na=1&b=2");
}

static void a_put_without_a_body_says_so(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o = fetch((struct fetch_request){.method = VIEW("PUT"),
                                                    .url = url(s, "localhost", "/echo"),
                                                    .ca_file = view_str(s->ca_file)});
    assert_int_equal(o.status, 201);
    assert_non_null(strstr(o.body, "\r\nContent-Length: 0\r\n"));
}

static void a_path_keeps_its_dots(void **state)
{
    struct fetch_server *s = *state;
    struct bed b;
    struct outcome o = {0};
    bed_open(&b);
    start(&b, &o,
          (struct fetch_request){.url = url(s, "localhost", "/a/../ok"),
                                 .ca_file = view_str(s->ca_file),
                                 .timeout_ms = 60000});
    int before = atomic_load(&s->requests);
    /* "/a/../ok" is no path of the server's, so that it never answers; "/ok" would be. */
    while (atomic_load(&s->requests) == before)
        uv_run(&b.loop, UV_RUN_NOWAIT);
    bed_close(&b);
    assert_true(is_fault(o.e, &fetch_cancelled));
}

static void connections_are_kept_for_reuse(void **state)
{
    struct fetch_server *s = *state;
    struct bed b;
    int before = atomic_load(&s->connections);
    bed_open(&b);
    for (int i = 0; i < 5; i++) {
        struct outcome o = {0};
        start(&b, &o, (struct fetch_request){.url = url(s, "localhost", "/ok"),
                                             .ca_file = view_str(s->ca_file)});
        finish(&b, &o);
        assert_int_equal(o.status, 200);
    }
    bed_close(&b);
    assert_int_equal(atomic_load(&s->connections), before + 1);
}

static void a_kept_connection_is_not_for_another_trust(void **state)
{
    struct fetch_server *s = *state;
    struct bed b;
    struct outcome good = {0}, bad = {0};
    bed_open(&b);
    start(&b, &good, (struct fetch_request){.url = url(s, "localhost", "/ok"),
                                            .ca_file = view_str(s->ca_file)});
    finish(&b, &good);
    assert_int_equal(good.status, 200);
    start(&b, &bad, (struct fetch_request){.url = url(s, "localhost", "/ok")});
    finish(&b, &bad);
    assert_true(is_fault(bad.e, &fetch_tls_failed));
    bed_close(&b);
}

static void many_run_at_once(void **state)
{
    enum { MANY = 20 };
    struct fetch_server *s = *state;
    struct outcome o[MANY] = {0};
    struct bed b;
    bed_open(&b);
    for (int i = 0; i < MANY; i++)
        start(&b, &o[i], (struct fetch_request){.url = url(s, "localhost", "/ok"),
                                                .ca_file = view_str(s->ca_file)});
    for (int i = 0; i < MANY; i++) {
        while (o[i].calls == 0)
            uv_run(&b.loop, UV_RUN_ONCE);
        assert_int_equal(o[i].status, 200);
        assert_string_equal(o[i].body, "hello");
    }
    bed_close(&b);
}

static void the_wrong_authority_is_refused(void **state)
{
    struct fetch_server *s = *state, other;
    fetch_server_start(&other, &both_names);
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/ok"),
                                                    .ca_file = view_str(other.ca_file)});
    assert_true(is_fault(o.e, &fetch_tls_failed));
    assert_true(o.detail[0] != '\0');
    o = fetch((struct fetch_request){.url = url(s, "localhost", "/ok")});
    assert_true(is_fault(o.e, &fetch_tls_failed));
    o = fetch((struct fetch_request){.url = url(s, "localhost", "/ok"),
                                     .ca_file = VIEW("/nonexistent.pem")});
    assert_true(is_fault(o.e, &fetch_tls_failed));
    fetch_server_stop(&other);
}

static void the_wrong_host_is_refused(void **state)
{
    struct fetch_server other;
    (void)state;
    fetch_server_start(&other, &(struct fetch_server_options){.dns_name = "elsewhere.example"});
    struct outcome o = fetch((struct fetch_request){.url = url(&other, "localhost", "/ok"),
                                                    .ca_file = view_str(other.ca_file)});
    assert_true(is_fault(o.e, &fetch_tls_failed));
    assert_int_equal(atomic_load(&other.requests), 0);
    fetch_server_stop(&other);
}

static void tls_1_1_is_refused_and_1_2_is_not(void **state)
{
    struct fetch_server old;
    (void)state;
    fetch_server_start(&old, &(struct fetch_server_options){.dns_name = "localhost",
                                                            .max_tls_version = TLS1_1_VERSION});
    struct outcome o = fetch((struct fetch_request){.url = url(&old, "localhost", "/ok"),
                                                    .ca_file = view_str(old.ca_file)});
    assert_true(is_fault(o.e, &fetch_tls_failed));
    fetch_server_stop(&old);
    fetch_server_start(&old, &(struct fetch_server_options){.dns_name = "localhost",
                                                            .max_tls_version = TLS1_2_VERSION});
    o = fetch((struct fetch_request){.url = url(&old, "localhost", "/ok"),
                                     .ca_file = view_str(old.ca_file)});
    assert_int_equal(o.status, 200);
    fetch_server_stop(&old);
}

static void an_answer_beyond_the_limit_is_an_error(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/big"),
                                                    .ca_file = view_str(s->ca_file),
                                                    .max_bytes = 99999});
    assert_true(is_fault(o.e, &fetch_too_large));
    o = fetch((struct fetch_request){.url = url(s, "localhost", "/big"),
                                     .ca_file = view_str(s->ca_file),
                                     .max_bytes = 100000});
    assert_int_equal(o.status, 200);
    o = fetch((struct fetch_request){.url = url(s, "localhost", "/head"),
                                     .ca_file = view_str(s->ca_file)});
    assert_true(is_fault(o.e, &fetch_too_large));
}

static void silence_ends_at_the_timeout(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/slow"),
                                                    .ca_file = view_str(s->ca_file),
                                                    .timeout_ms = 150});
    assert_true(is_fault(o.e, &fetch_timed_out));
}

static void a_broken_answer_is_an_error(void **state)
{
    struct fetch_server *s = *state;
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/cut"),
                                                    .ca_file = view_str(s->ca_file)});
    assert_true(is_fault(o.e, &fetch_unreachable));
}

static void a_redirect_is_not_followed(void **state)
{
    struct fetch_server *s = *state;
    int before = atomic_load(&s->requests);
    struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/redirect"),
                                                    .ca_file = view_str(s->ca_file)});
    assert_true(is_fault(o.e, &fetch_redirected));
    assert_string_equal(o.detail, "HTTP status 302");
    assert_int_equal(atomic_load(&s->requests), before + 1);
}

static void nobody_listening_is_unreachable(void **state)
{
    struct fetch_server gone;
    (void)state;
    fetch_server_start(&gone, &both_names);
    fetch_server_stop(&gone);
    struct outcome o = fetch((struct fetch_request){.url = url(&gone, "127.0.0.1", "/ok")});
    assert_true(is_fault(o.e, &fetch_unreachable));
}

static void plain_http_goes_to_local_addresses_without_a_proxy(void **state)
{
    struct fetch_server plain, *s = *state;
    fetch_server_start(&plain, &(struct fetch_server_options){.plain = true});
    /* A proxy that nobody serves: used, it would be an error. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    struct outcome o = fetch((struct fetch_request){.url = url(&plain, "127.0.0.1", "/ok")});
    assert_int_equal(o.status, 200);
    o = fetch((struct fetch_request){.url = url(&plain, "localhost", "/ok")});
    assert_int_equal(o.status, 200);
    o = fetch((struct fetch_request){.url = url(s, "127.0.0.1", "/ok"),
                                     .ca_file = view_str(s->ca_file)});
    assert_int_equal(o.status, 200);
    /* And for hosts elsewhere it is. */
    o = fetch((struct fetch_request){.url = VIEW("https://192.0.2.1/")});
    assert_true(is_fault(o.e, &fetch_unreachable));
    assert_non_null(strstr(o.detail, "127.0.0.1 port 1"));
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    fetch_server_stop(&plain);
}

static void other_urls_are_refused(void **state)
{
    static const char *const urls[] = {
        "http://192.0.2.1/",       "http://example.com/",          "ftp://127.0.0.1/",
        "file:///etc/passwd",      "127.0.0.1/",                   "https://user:pw@127.0.0.1/",
        "http://[::ffff:7f00:1]/", "http://127.0.0.1.example.com", "https://",
        "https://127.0.0.1/\r\nX", "http://10.0.0.1/",             "http://[fe80::1]/",
        "gopher://127.0.0.1/",     "http://localhost.example/",    "",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct outcome o = fetch((struct fetch_request){.url = view_str(urls[i])});
        if (!is_fault(o.e, &fetch_refused_url))
            fail_msg("not refused: %s", urls[i]);
    }
}

static void a_line_end_cannot_be_smuggled_into_a_header(void **state)
{
    struct fetch_server *s = *state;
    const struct fetch_header bad[] = {
        {VIEW("Authorization"), VIEW("x\r\nX-Evil: 1")},
        {VIEW("X\n"), VIEW("x")},
        {VIEW("X: y"), VIEW("x")},
        {VIEW(""), VIEW("x")},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct outcome o = fetch((struct fetch_request){.url = url(s, "localhost", "/ok"),
                                                        .headers = &bad[i],
                                                        .header_count = 1});
        assert_true(is_fault(o.e, &fetch_refused_header));
    }
    struct outcome o = fetch(
        (struct fetch_request){.url = url(s, "localhost", "/ok"), .method = VIEW("GET / x\r\n")});
    assert_true(is_fault(o.e, &fetch_refused_header));
}

static void closing_cancels_what_is_under_way(void **state)
{
    struct fetch_server *s = *state;
    struct bed b;
    struct outcome slow = {0}, unsent = {0}, refused = {0};
    int before = atomic_load(&s->requests);
    bed_open(&b);
    start(&b, &slow, (struct fetch_request){.url = url(s, "localhost", "/slow"),
                                            .ca_file = view_str(s->ca_file)});
    while (atomic_load(&s->requests) == before)
        uv_run(&b.loop, UV_RUN_NOWAIT);
    start(&b, &unsent, (struct fetch_request){.url = url(s, "localhost", "/ok"),
                                              .ca_file = view_str(s->ca_file)});
    start(&b, &refused, (struct fetch_request){.url = VIEW("ftp://x/")});
    net_fetcher_close(b.fetcher, on_closed, &b.closed);
    b.fetcher = NULL;
    assert_int_equal(slow.calls + unsent.calls + refused.calls, 3);
    assert_true(is_fault(slow.e, &fetch_cancelled));
    assert_true(is_fault(unsent.e, &fetch_cancelled));
    assert_true(is_fault(refused.e, &fetch_cancelled));
    assert_false(b.closed);
    bed_close(&b);
}

static void a_callback_may_close_the_fetcher(void **state)
{
    struct fetch_server *s = *state;
    struct bed b;
    struct outcome slow = {0}, early = {0};
    bed_open(&b);
    struct outcome first = {.close_then = b.fetcher, .closed = &b.closed};
    start(&b, &slow, (struct fetch_request){.url = url(s, "localhost", "/slow"),
                                            .ca_file = view_str(s->ca_file)});
    start(&b, &first, (struct fetch_request){.url = url(s, "localhost", "/ok"),
                                             .ca_file = view_str(s->ca_file)});
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_int_equal(first.status, 200);
    assert_int_equal(slow.calls, 1);
    assert_true(is_fault(slow.e, &fetch_cancelled));
    b.fetcher = NULL;
    bed_close(&b);

    bed_open(&b);
    first = (struct outcome){.close_then = b.fetcher, .closed = &b.closed};
    start(&b, &first, (struct fetch_request){.url = VIEW("ftp://x/")});
    start(&b, &early, (struct fetch_request){.url = VIEW("ftp://x/")});
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_true(is_fault(first.e, &fetch_refused_url));
    assert_true(is_fault(early.e, &fetch_cancelled));
    b.fetcher = NULL;
    bed_close(&b);
}

static bool local(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return fetch_address_is_local((struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return fetch_address_is_local((struct sockaddr *)&in6);
}

static void local_addresses_are_loopback_and_metadata(void **state)
{
    static const char *const yes[] = {"127.0.0.1", "127.255.0.9", "169.254.169.254",
                                      "169.254.170.2", "::1", "fd00:ec2::254", "fd00:ec2::23"};
    static const char *const no[] = {"128.0.0.1", "126.0.0.1", "169.253.0.1", "169.255.0.1",
                                     "10.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "fe80::1",
                                     "fd00:ec3::1", "2001:db8::1"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        assert_true(local(yes[i]));
    for (size_t i = 0; i < COUNT_OF(no); i++)
        assert_false(local(no[i]));
}

static void cache_control_gives_the_shortest_age(void **state)
{
    static const struct {
        const char *value;
        int64_t age_s;
    } cases[] = {
        {"max-age=300", 300},
        {"public, MAX-AGE=5 , must-revalidate", 5},
        {"max-age=\"60\"", 60},
        {"max-age=10, max-age=20", 10},
        {"max-age=99999999999999999999", INT64_C(1) << 31},
        {"max-age=1x", 0},
        {"max-age=", 0},
        {"max-age", 0},
        {"max-age=-1", 0},
        {"no-store, max-age=5", 0},
        {"no-cache", 0},
        {"private", -1},
        {"s-maxage=5", -1},
        {"", -1},
        {",,=,", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t age = -1;
        fetch_cache_control(view_str(cases[i].value), &age);
        if (age != cases[i].age_s)
            fail_msg("'%s' gave %lld", cases[i].value, (long long)age);
    }
}

static int start_server(void **state)
{
    static struct fetch_server server;
    fetch_server_start(&server, &both_names);
    *state = &server;
    return 0;
}

static int stop_server(void **state)
{
    fetch_server_stop(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_with_status_body_and_max_age),
        cmocka_unit_test(an_interim_answer_says_nothing_of_the_final_one),
        cmocka_unit_test(the_request_goes_out_as_given),
        cmocka_unit_test(a_put_without_a_body_says_so),
        cmocka_unit_test(a_path_keeps_its_dots),
        cmocka_unit_test(connections_are_kept_for_reuse),
        cmocka_unit_test(a_kept_connection_is_not_for_another_trust),
        cmocka_unit_test(many_run_at_once),
        cmocka_unit_test(the_wrong_authority_is_refused),
        cmocka_unit_test(the_wrong_host_is_refused),
        cmocka_unit_test(tls_1_1_is_refused_and_1_2_is_not),
        cmocka_unit_test(an_answer_beyond_the_limit_is_an_error),
        cmocka_unit_test(silence_ends_at_the_timeout),
        cmocka_unit_test(a_broken_answer_is_an_error),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(nobody_listening_is_unreachable),
        cmocka_unit_test(plain_http_goes_to_local_addresses_without_a_proxy),
        cmocka_unit_test(other_urls_are_refused),
        cmocka_unit_test(a_line_end_cannot_be_smuggled_into_a_header),
        cmocka_unit_test(closing_cancels_what_is_under_way),
        cmocka_unit_test(a_callback_may_close_the_fetcher),
        cmocka_unit_test(local_addresses_are_loopback_and_metadata),
        cmocka_unit_test(cache_control_gives_the_shortest_age),
    };
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    unsetenv("ALL_PROXY");
    unsetenv("all_proxy");
    unsetenv("NO_PROXY");
    unsetenv("no_proxy");
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
