#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/status.h"

/* Last: it makes a macro of fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A server on a thread of its own, with a report that the test sets. */
struct bed {
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
    struct status_server *server;
    uint16_t port;
    struct metrics *metrics;
    pthread_mutex_t lock;
    struct status_report report;
};

static void give_report(void *arg, struct arena *arena, struct status_report *out)
{
    struct bed *b = arg;
    (void)arena;
    pthread_mutex_lock(&b->lock);
    *out = b->report;
    pthread_mutex_unlock(&b->lock);
}

static void set_report(struct bed *b, const struct status_report *report)
{
    pthread_mutex_lock(&b->lock);
    b->report = *report;
    pthread_mutex_unlock(&b->lock);
}

static void on_stop(uv_async_t *stop)
{
    struct bed *b = stop->data;
    status_server_close(b->server, NULL, NULL);
    uv_close((uv_handle_t *)stop, NULL);
}

static void *run_loop(void *arg)
{
    uv_run(&((struct bed *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static struct bed *bed_open(int64_t request_ms)
{
    struct bed *b = calloc(1, sizeof *b);
    struct listen where = {.host = VIEW("127.0.0.1")};
    pthread_mutex_init(&b->lock, NULL);
    b->metrics = metrics_new(1);
    b->report = (struct status_report){.configured = true, .audit_working = true};
    assert_int_equal(uv_loop_init(&b->loop), 0);
    uv_async_init(&b->loop, &b->stop, on_stop);
    b->stop.data = b;
    char name[] = "n1";
    struct status_source source = {
        .report = give_report, .arg = b, .metrics = b->metrics, .node_name = name,
        .request_ms = request_ms};
    err e = status_server_new(&b->loop, (struct listens){&where, 1}, &source, &b->server, NULL, 0);
    assert_false(failed(e));
    name[0] = '?'; /* it was copied */
    b->port = status_server_port(b->server, 0);
    assert_int_not_equal(b->port, 0);
    assert_int_equal(pthread_create(&b->thread, NULL, run_loop, b), 0);
    return b;
}

static void bed_stop(struct bed *b)
{
    uv_async_send(&b->stop);
    pthread_join(b->thread, NULL);
}

static void bed_free(struct bed *b)
{
    assert_int_equal(uv_loop_close(&b->loop), 0);
    metrics_free(b->metrics);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    *state = bed_open(0);
    return 0;
}

static int teardown(void **state)
{
    bed_stop(*state);
    bed_free(*state);
    return 0;
}

static int dial(const struct bed *b)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(b->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

struct reply {
    size_t len;
    char text[65536];
};

/* Everything until the server closes. */
static void hear_all(int fd, struct reply *r)
{
    ssize_t n;
    r->len = 0;
    while ((n = read(fd, r->text + r->len, sizeof r->text - 1 - r->len)) > 0)
        r->len += (size_t)n;
    assert_int_equal(n, 0);
    r->text[r->len] = '\0';
    close(fd);
}

/* One answer with its Content-Length; the connection stays. */
static void hear_one(int fd, struct reply *r)
{
    size_t need = SIZE_MAX;
    r->len = 0;
    while (r->len < need) {
        ssize_t n = read(fd, r->text + r->len, need == SIZE_MAX ? 1 : need - r->len);
        assert_true(n > 0);
        r->len += (size_t)n;
        r->text[r->len] = '\0';
        const char *end = strstr(r->text, "\r\n\r\n");
        if (end != NULL && need == SIZE_MAX) {
            const char *length = strstr(r->text, "Content-Length: ");
            assert_non_null(length);
            need = (size_t)(end - r->text) + 4 + strtoul(length + 16, NULL, 10);
        }
    }
}

static void ask(const struct bed *b, const char *request, struct reply *r)
{
    int fd = dial(b);
    say(fd, request);
    hear_all(fd, r);
}

#define CLOSING " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static const char *body_of(const struct reply *r)
{
    const char *end = strstr(r->text, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void assert_status(const struct reply *r, int status)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    if (strncmp(r->text, line, strlen(line)) != 0)
        fail_msg("not %d: %s", status, r->text);
}

static void live_is_true_as_long_as_the_loop_turns(void **state)
{
    struct reply r;
    set_report(*state, &(struct status_report){0});
    ask(*state, "GET /status/live" CLOSING, &r);
    assert_status(&r, 200);
    assert_string_equal(body_of(&r), "{\"live\":true}\n");
    assert_non_null(strstr(r.text, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(r.text, "\r\nConnection: close\r\n"));
}

static void ready_says_what_is_missing(void **state)
{
    const struct status_issuer issuers[] = {
        {.name = VIEW("okta"), .keys_loaded = false, .keys_age_s = -1,
         .last_error = VIEW("no \"route\"")},
    };
    struct reply r;
    set_report(*state, &(struct status_report){
                           .draining = true, .issuers = issuers, .issuer_count = 1});
    ask(*state, "GET /status/ready" CLOSING, &r);
    assert_status(&r, 503);
    assert_string_equal(
        body_of(&r),
        "{\"missing\":[{\"reason\":\"configuration\"},{\"reason\":\"audit\"},"
        "{\"reason\":\"draining\"},{\"reason\":\"issuer_keys\",\"name\":\"okta\","
        "\"detail\":\"no \\\"route\\\"\"}],\"warnings\":[],\"ready\":false,\"degraded\":false}\n");
}

/* Each alone keeps the node out of the balancer. */
static void any_one_missing_thing_is_503(void **state)
{
    static const struct status_issuer with = {.name = VIEW("okta"), .keys_loaded = true};
    static const struct status_issuer without = {.name = VIEW("okta"), .keys_age_s = -1};
    const struct {
        struct status_report report;
        const char *reason;
    } cases[] = {
        {{.audit_working = true, .issuers = &with, .issuer_count = 1}, "configuration"},
        {{.configured = true, .issuers = &with, .issuer_count = 1}, "audit"},
        {{.configured = true, .audit_working = true, .draining = true, .issuers = &with,
          .issuer_count = 1}, "draining"},
        {{.configured = true, .audit_working = true, .issuers = &without, .issuer_count = 1},
         "issuer_keys"},
        {{.configured = true, .audit_working = true}, "issuer_keys"},
    };
    struct reply r;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char wanted[64];
        set_report(*state, &cases[i].report);
        ask(*state, "GET /status/ready" CLOSING, &r);
        assert_status(&r, 503);
        snprintf(wanted, sizeof wanted, "{\"missing\":[{\"reason\":\"%s\"", cases[i].reason);
        assert_memory_equal(body_of(&r), wanted, strlen(wanted));
    }
}

static void one_issuer_without_keys_among_others_is_a_warning(void **state)
{
    const struct status_issuer issuers[] = {
        {.name = VIEW("okta"), .keys_age_s = -1, .last_error = VIEW("timeout")},
        {.name = VIEW("entra"), .keys_loaded = true, .keys_age_s = 4},
    };
    struct reply r;
    set_report(*state, &(struct status_report){.configured = true, .audit_working = true,
                                               .issuers = issuers, .issuer_count = 2});
    ask(*state, "GET /status/ready" CLOSING, &r);
    assert_status(&r, 200);
    assert_string_equal(body_of(&r),
                        "{\"missing\":[],\"warnings\":[{\"reason\":\"issuer_keys\","
                        "\"name\":\"okta\",\"detail\":\"timeout\"}],\"ready\":true,"
                        "\"degraded\":true}\n");
}

static void a_database_out_of_reach_is_a_warning(void **state)
{
    const struct status_service services[] = {
        {.name = VIEW("shop"), .reachable = false, .last_error = VIEW("timeout")},
        {.name = VIEW("other"), .reachable = true},
    };
    const struct status_issuer issuers[] = {
        {.name = VIEW("okta"), .keys_loaded = true, .last_error = VIEW("timeout")}};
    struct reply r;
    set_report(*state, &(struct status_report){.configured = true,
                                               .audit_working = true,
                                               .issuers = issuers,
                                               .issuer_count = 1,
                                               .services = services,
                                               .service_count = 2});
    ask(*state, "GET /status/ready?verbose" CLOSING, &r);
    assert_status(&r, 200);
    assert_string_equal(
        body_of(&r),
        "{\"missing\":[],\"warnings\":[{\"reason\":\"issuer_refresh\",\"name\":\"okta\","
        "\"detail\":\"timeout\"},{\"reason\":\"database\",\"name\":\"shop\","
        "\"detail\":\"timeout\"}],\"ready\":true,\"degraded\":true}\n");
}

static void a_configuration_that_was_refused_is_a_warning(void **state)
{
    const struct status_issuer issuers[] = {{.name = VIEW("okta"), .keys_loaded = true}};
    struct reply r;
    set_report(*state, &(struct status_report){.configured = true,
                                               .audit_working = true,
                                               .refused = VIEW("line 3: a mistake"),
                                               .issuers = issuers,
                                               .issuer_count = 1});
    ask(*state, "GET /status/ready" CLOSING, &r);
    assert_status(&r, 200);
    assert_string_equal(body_of(&r),
                        "{\"missing\":[],\"warnings\":[{\"reason\":\"configuration\","
                        "\"detail\":\"line 3: a mistake\"}],\"ready\":true,"
                        "\"degraded\":true}\n");
}

static void status_shows_everything(void **state)
{
    const struct status_service services[] = {
        {.name = VIEW("shop"), .reachable = true, .connections = 5, .idle = 2, .waiting = 1,
         .logins_per_second = 0.25}};
    const struct status_issuer issuers[] = {
        {.name = VIEW("okta"), .keys_loaded = true, .keys_age_s = 17}};
    struct reply r;
    set_report(*state, &(struct status_report){.configured = true,
                                               .configuration_id = VIEW("abc"),
                                               .configured_at_s = 1767323045,
                                               .audit_working = true,
                                               .workers = 2,
                                               .client_connections = 9,
                                               .issuers = issuers,
                                               .issuer_count = 1,
                                               .services = services,
                                               .service_count = 1,
                                               .logins = {.state = "shared",
                                                          .max_rate = 200,
                                                          .share = 63,
                                                          .nodes = 3,
                                                          .per_second = 1.1,
                                                          .store_per_second = 0.1}});
    ask(*state, "GET /status" CLOSING, &r);
    assert_status(&r, 200);
    assert_string_equal(
        body_of(&r),
        "{\"missing\":[],\"warnings\":[],\"ready\":true,\"degraded\":false,"
        "\"version\":\"" SALLYPORT_VERSION
        "\",\"node\":\"n1\",\"configured\":true,\"configuration_id\":\"abc\","
        "\"configured_at\":\"2026-01-02T03:04:05Z\",\"draining\":false,\"audit_working\":true,"
        "\"workers\":2,\"client_connections\":9,\"issuers\":[{\"name\":\"okta\","
        "\"keys_loaded\":true,\"keys_age_s\":17,\"last_error\":null}],\"services\":[{\"name\":"
        "\"shop\",\"reachable\":true,\"connections\":5,\"idle\":2,\"waiting\":1,"
        "\"logins_per_second\":0.2,\"last_error\":null}],\"iam_logins\":{\"state\":\"shared\","
        "\"max_rate\":200,\"share\":63,\"nodes\":3,\"per_second\":1.1,"
        "\"store_per_second\":0.1}}\n");
}

static void metrics_come_as_prometheus_text(void **state)
{
    struct bed *b = *state;
    struct reply r;
    metric_add(metrics_shard(b->metrics, 0),
               metrics_series(b->metrics, METRIC_TOKEN_MINTS, NULL, 0), 3);
    ask(b, "GET /metrics" CLOSING, &r);
    assert_status(&r, 200);
    assert_non_null(
        strstr(r.text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(r.text, "\nsallyport_token_mints_total 3\n"));
}

static void head_gives_the_head_alone(void **state)
{
    struct reply r;
    ask(*state, "HEAD /status/live" CLOSING, &r);
    assert_status(&r, 200);
    assert_non_null(strstr(r.text, "\r\nContent-Length: 14\r\n"));
    assert_string_equal(body_of(&r), "");
}

static void the_rest_is_refused(void **state)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /" CLOSING, 404},
        {"GET /status/" CLOSING, 404},
        {"GET /status/live/x" CLOSING, 404},
        {"GET /STATUS" CLOSING, 404},
        {"DELETE /metrics" CLOSING, 405},
        {"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413},
        {"POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
        {"GET /status HTTP/1.1\r\n\r\n", 400},
        {"GET /status HTTP/1.1\r\nHost: x\r\nX: a\nb\r\n\r\n", 400},
        {"\x16\x03\x01\x02 no http\r\n\r\n", 400},
        {"GET /status HTTP/2.0\r\nHost: x\r\n\r\n", 505},
    };
    struct reply r;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ask(*state, cases[i].request, &r);
        assert_status(&r, cases[i].status);
        assert_non_null(strstr(r.text, "\r\nConnection: close\r\n"));
    }
    ask(*state, "DELETE /metrics" CLOSING, &r);
    assert_non_null(strstr(r.text, "\r\nAllow: GET, HEAD\r\n"));
    assert_string_equal(body_of(&r), "{\"type\":\"about:blank\",\"title\":\"Method Not Allowed\","
                                     "\"status\":405}\n");
}

static void a_head_without_end_is_refused(void **state)
{
    char request[20000];
    struct reply r;
    snprintf(request, sizeof request, "GET /status HTTP/1.1\r\nHost: x\r\nX: ");
    memset(request + strlen(request), 'a', 10000);
    ask(*state, request, &r);
    assert_status(&r, 431);
    memset(request, 0, sizeof request);
    snprintf(request, sizeof request, "GET /");
    memset(request + 5, 'a', 5000);
    ask(*state, request, &r);
    assert_status(&r, 414);
}

static void a_connection_serves_request_after_request(void **state)
{
    int fd = dial(*state);
    struct reply r;
    for (int i = 0; i < 20; i++) {
        say(fd, "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\n");
        hear_one(fd, &r);
        assert_status(&r, 200);
        assert_null(strstr(r.text, "Connection:"));
    }
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    int fd = dial(*state);
    struct reply r;
    say(fd, "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
            "HEAD /status/live HTTP/1.1\r\nHost: x\r\n\r\nGET /status/live" CLOSING);
    hear_one(fd, &r);
    assert_status(&r, 200);
    hear_one(fd, &r);
    assert_status(&r, 404);
    hear_all(fd, &r);
    assert_status(&r, 200);
    assert_non_null(strstr(body_of(&r), "HTTP/1.1 200 "));
}

static void bytes_may_trickle(void **state)
{
    const char *request = "GET /status/live" CLOSING;
    int fd = dial(*state), on = 1;
    struct reply r;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (const char *c = request; *c != '\0'; c++)
        assert_int_equal(write(fd, c, 1), 1);
    hear_all(fd, &r);
    assert_status(&r, 200);
}

static void http_1_0_closes_unless_asked(void **state)
{
    struct reply r;
    int fd = dial(*state);
    ask(*state, "GET /status/live HTTP/1.0\r\n\r\n", &r);
    assert_status(&r, 200);
    say(fd, "GET /status/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear_one(fd, &r);
    assert_non_null(strcasestr(r.text, "\r\nConnection: keep-alive\r\n"));
    say(fd, "GET /status/live HTTP/1.0\r\n\r\n");
    hear_all(fd, &r);
    assert_status(&r, 200);
}

static void the_one_idle_for_longest_makes_room(void **state)
{
    int fds[STATUS_CONNECTIONS_MAX];
    struct reply r;
    /* The first is in the middle of a request, the others idle. */
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = dial(*state);
        say(fds[i], "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\n");
        hear_one(fds[i], &r);
    }
    say(fds[0], "GET /status/live HTTP/1.1\r\n");
    say(fds[1], "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_one(fds[1], &r);
    ask(*state, "GET /status/live" CLOSING, &r);
    assert_status(&r, 200);
    hear_all(fds[2], &r);
    assert_int_equal(r.len, 0);
    for (size_t i = 3; i < COUNT_OF(fds); i++) {
        say(fds[i], "GET /status/live" CLOSING);
        hear_all(fds[i], &r);
        assert_status(&r, 200);
    }
    say(fds[1], "GET /status/live" CLOSING);
    hear_all(fds[1], &r);
    assert_status(&r, 200);
    say(fds[0], "Host: x\r\nConnection: close\r\n\r\n");
    hear_all(fds[0], &r);
    assert_status(&r, 200);
}

static void nobody_idle_means_no_room(void **state)
{
    int fds[STATUS_CONNECTIONS_MAX];
    struct reply r;
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = dial(*state);
        say(fds[i], "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\nGET");
        hear_one(fds[i], &r);
    }
    int fd = dial(*state);
    hear_all(fd, &r);
    assert_int_equal(r.len, 0);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        say(fds[i], " /status/live" CLOSING);
        hear_all(fds[i], &r);
        assert_status(&r, 200);
    }
}

static void an_unfinished_request_runs_out_of_time(void **state)
{
    struct bed *b = bed_open(50);
    struct reply r;
    int fd = dial(b);
    (void)state;
    say(fd, "GET /status/live HTTP/1.1\r\n");
    hear_all(fd, &r);
    assert_int_equal(r.len, 0);
    bed_stop(b);
    bed_free(b);
}

static void closing_ends_every_connection(void **state)
{
    struct bed *b = bed_open(0);
    struct reply r;
    int idle = dial(b), reading = dial(b);
    (void)state;
    say(idle, "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_one(idle, &r);
    say(reading, "GET /status/live HTTP/1.1\r\nHost: x\r\n\r\nGET");
    hear_one(reading, &r);
    bed_stop(b);
    hear_all(idle, &r);
    assert_int_equal(r.len, 0);
    hear_all(reading, &r);
    assert_int_equal(r.len, 0);
    bed_free(b);
}

static void addresses_are_checked(void **state)
{
    struct bed *b = *state;
    const struct {
        struct listen listen;
        const struct fault *fault;
        const char *detail;
    } cases[] = {
        {{VIEW("0.0.0.0"), 8007, false}, &status_not_loopback,
         "0.0.0.0:8007: status_listen is plain and must stay on loopback"},
        {{VIEW("192.0.2.1"), 8007, false}, &status_not_loopback, NULL},
        {{VIEW("[::]"), 8007, false}, &status_not_loopback, NULL},
        {{VIEW("::ffff:127.0.0.1"), 8007, false}, &status_not_loopback, NULL},
        {{VIEW("127.0.0.1"), 8007, true}, &status_tls_unsupported, NULL},
        {{VIEW("status.example"), 8007, false}, &status_bad_address, NULL},
        {{VIEW(""), 8007, false}, &status_bad_address, NULL},
        {{VIEW("127.0.0.1"), b->port, false}, &status_bind_failed, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct listen where[] = {{.host = VIEW("127.0.0.1")}, cases[i].listen};
        struct status_source source = {.report = give_report, .arg = b, .metrics = b->metrics};
        struct status_server *server = NULL;
        char detail[256];
        uv_loop_t loop;
        uv_loop_init(&loop);
        err e = status_server_new(&loop, (struct listens){where, 2}, &source, &server, detail,
                                  sizeof detail);
        assert_ptr_equal(e.fault, cases[i].fault);
        if (cases[i].detail != NULL)
            assert_string_equal(detail, cases[i].detail);
        assert_null(server);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void a_server_without_listeners_closes_too(void **state)
{
    struct bed *b = *state;
    struct status_source source = {.report = give_report, .arg = b, .metrics = b->metrics};
    struct status_server *server;
    int closed = 0;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_false(failed(status_server_new(&loop, (struct listens){0}, &source, &server, NULL, 0)));
    status_server_close(server, count_call, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(live_is_true_as_long_as_the_loop_turns),
        TEST(ready_says_what_is_missing),
        TEST(any_one_missing_thing_is_503),
        TEST(one_issuer_without_keys_among_others_is_a_warning),
        TEST(a_database_out_of_reach_is_a_warning),
        TEST(a_configuration_that_was_refused_is_a_warning),
        TEST(status_shows_everything),
        TEST(metrics_come_as_prometheus_text),
        TEST(head_gives_the_head_alone),
        TEST(the_rest_is_refused),
        TEST(a_head_without_end_is_refused),
        TEST(a_connection_serves_request_after_request),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(bytes_may_trickle),
        TEST(http_1_0_closes_unless_asked),
        TEST(the_one_idle_for_longest_makes_room),
        TEST(nobody_idle_means_no_room),
        cmocka_unit_test(an_unfinished_request_runs_out_of_time),
        cmocka_unit_test(closing_ends_every_connection),
        TEST(addresses_are_checked),
        TEST(a_server_without_listeners_closes_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
