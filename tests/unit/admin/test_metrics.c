#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/metrics.h"
#include "base/time.h"

/* Last: it makes a macro of fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

extern char **environ;

#define PARSER TEST_VECTORS "/../unit/admin/parse_metrics.py"

/* What Prometheus's parser makes of the text: see parse_metrics.py. */
static struct buf parsed_by_prometheus(const struct buf *text)
{
    static char python[] = "/usr/bin/python3", parser[] = PARSER;
    char *argv[] = {python, parser, NULL};
    FILE *in = tmpfile(), *out = tmpfile();
    posix_spawn_file_actions_t actions;
    struct buf result;
    pid_t pid;
    int status;

    assert_int_equal(fwrite(text->data, 1, text->len, in), text->len);
    rewind(in);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(in), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    rewind(out);
    buf_init(&result, 1 << 20);
    assert_true(buf_reserve(&result, 1 << 19));
    result.len = fread(result.data, 1, (1 << 19) - 1, out);
    buf_add_char(&result, '\0');
    fclose(in);
    fclose(out);
    return result;
}

static struct buf render(struct metrics *m)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_render(m, &text);
    assert_false(buf_failed(&text));
    buf_add_char(&text, '\0');
    text.len--;
    return text;
}

static void assert_has(const struct buf *text, const char *line)
{
    if (strstr(text->data, line) == NULL)
        fail_msg("not there: %s\nin:\n%s", line, text->data);
}

static void assert_lacks(const struct buf *text, const char *line)
{
    if (strstr(text->data, line) != NULL)
        fail_msg("there: %s\nin:\n%s", line, text->data);
}

static void a_counter_is_written_as_the_format_says(void **state)
{
    struct metrics *m = metrics_new(2);
    struct view order[] = {VIEW("shop"), VIEW("order"), VIEW("200")};
    (void)state;
    struct metric requests = metrics_series(m, METRIC_REQUESTS, order, 3);
    metric_add(metrics_shard(m, 0), requests, 1);
    metric_add(metrics_shard(m, 1), requests, 41);
    struct buf text = render(m);
    assert_has(&text, "# HELP sallyport_requests_total Answered requests by HTTP status; "
                      "service and route are empty where no route was found.\n"
                      "# TYPE sallyport_requests_total counter\n"
                      "sallyport_requests_total{service=\"shop\",route=\"order\",status=\"200\"} "
                      "42\n");
    assert_lacks(&text, "sallyport_logins_total");
    buf_clear(&text);
    metrics_free(m);
}

static void a_histogram_is_cumulative_and_in_seconds(void **state)
{
    struct metrics *m = metrics_new(1);
    struct view shop[] = {VIEW("shop")};
    (void)state;
    struct metric h = metrics_series(m, METRIC_DATABASE_SECONDS, shop, 1);
    struct buf text = render(m);
    assert_lacks(&text, "sallyport_database_seconds");
    buf_clear(&text);
    metric_observe(metrics_shard(m, 0), h, 50000);
    metric_observe(metrics_shard(m, 0), h, 1500000);
    metric_observe(metrics_shard(m, 0), h, 60000000000);
    text = render(m);
    assert_has(&text, "# TYPE sallyport_database_seconds histogram\n"
                      "sallyport_database_seconds_bucket{service=\"shop\",le=\"0.0001\"} 1\n"
                      "sallyport_database_seconds_bucket{service=\"shop\",le=\"0.00025\"} 1\n");
    assert_has(&text, "{service=\"shop\",le=\"0.0025\"} 2\n");
    assert_has(&text, "{service=\"shop\",le=\"10\"} 2\n");
    assert_has(&text, "{service=\"shop\",le=\"+Inf\"} 3\n"
                      "sallyport_database_seconds_sum{service=\"shop\"} 60.00155\n"
                      "sallyport_database_seconds_count{service=\"shop\"} 3\n");
    buf_clear(&text);
    metrics_free(m);
}

static void tell(void *arg, struct metrics_output *out)
{
    struct view idle[] = {VIEW("shop"), VIEW("read"), VIEW("idle")};
    struct view busy[] = {VIEW("shop"), VIEW("read"), VIEW("busy")};
    struct view issuer[] = {VIEW("okta")};
    (void)arg;
    out->sample(out, METRIC_POOL_CONNECTIONS, idle, 3, 3);
    out->sample(out, METRIC_ISSUER_KEYS_AGE, issuer, 1, 1.5);
    out->sample(out, METRIC_POOL_CONNECTIONS, busy, 3, INFINITY);
}

static void prometheus_reads_what_was_written(void **state)
{
    struct metrics *m = metrics_new(1);
    struct metrics_shard *s = metrics_shard(m, 0);
    struct view odd[] = {VIEW("a\"b\\c\nd"), VIEW("\xc3\xa9{},="), VIEW("200")};
    struct view broken[] = {VIEW("\xff\xfe"), VIEW(""), VIEW("200")};
    struct view shop[] = {VIEW("shop")};
    (void)state;
    metric_add(s, metrics_series(m, METRIC_REQUESTS, odd, 3), 7);
    metric_add(s, metrics_series(m, METRIC_REQUESTS, broken, 3), 8);
    metric_observe(s, metrics_series(m, METRIC_LOGIN_SECONDS, shop, 1), 2000000);
    metric_add(s, metrics_series(m, METRIC_TOKEN_MINTS, NULL, 0), 5);
    metric_add(s, metrics_series(m, METRIC_CLIENT_CONNECTIONS, NULL, 0), -2);
    assert_true(metrics_add_source(m, tell, NULL));
    struct buf text = render(m), parsed = parsed_by_prometheus(&text);
    static const char *const lines[] = {
        "counter sallyport_requests_total{service='a\"b\\\\c\\nd', route='\xc3\xa9{},=', "
        "status='200'} 7.0\n",
        "counter sallyport_requests_total{service='?" "?', route='', status='200'} 8.0\n",
        "histogram sallyport_login_seconds_bucket{service='shop', le='0.001'} 0.0\n",
        "histogram sallyport_login_seconds_bucket{service='shop', le='0.0025'} 1.0\n",
        "histogram sallyport_login_seconds_bucket{service='shop', le='+Inf'} 1.0\n",
        "histogram sallyport_login_seconds_sum{service='shop'} 0.002\n",
        "histogram sallyport_login_seconds_count{service='shop'} 1.0\n",
        "counter sallyport_token_mints_total{} 5.0\n",
        "gauge sallyport_client_connections{} -2.0\n",
        "gauge sallyport_pool_connections{service='shop', access='read', state='idle'} 3.0\n",
        "gauge sallyport_pool_connections{service='shop', access='read', state='busy'} inf\n",
        "gauge sallyport_issuer_keys_age_seconds{issuer='okta'} 1.5\n",
        "gauge sallyport_build_info{version='" SALLYPORT_VERSION "'} 1.0\n",
        "counter sallyport_metrics_refused_total{} 0.0\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        assert_has(&parsed, lines[i]);
    buf_clear(&text);
    buf_clear(&parsed);
    metrics_free(m);
}

/* The number that stands behind "\nname ". */
static double number_of(const struct buf *text, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text->data, line);
    assert_non_null(at);
    return strtod(at + strlen(line), NULL);
}

static void the_process_is_described(void **state)
{
    struct metrics *m = metrics_new(1);
    (void)state;
    struct buf text = render(m);
    double files = number_of(&text, "process_open_fds");
    double start = number_of(&text, "process_start_time_seconds");
    double now = (double)time_wall_us() / 1e6;
    assert_true(start <= now && start > now - 120);
    assert_true(number_of(&text, "process_resident_memory_bytes") > 1e6);
    assert_true(number_of(&text, "process_threads") >= 1);
    assert_true(number_of(&text, "process_cpu_seconds_total") < 60);
    buf_clear(&text);
    int extra = dup(STDIN_FILENO);
    assert_true(extra >= 0);
    text = render(m);
    assert_true(number_of(&text, "process_open_fds") == files + 1);
    close(extra);
    buf_clear(&text);
    metrics_free(m);
}

static void too_much_for_the_buffer_is_said(void **state)
{
    struct metrics *m = metrics_new(1);
    struct view order[] = {VIEW("shop"), VIEW("order"), VIEW("200")};
    struct buf text;
    (void)state;
    metrics_series(m, METRIC_REQUESTS, order, 3);
    buf_init(&text, 100);
    metrics_render(m, &text);
    assert_true(buf_failed(&text));
    buf_clear(&text);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_is_written_as_the_format_says),
        cmocka_unit_test(a_histogram_is_cumulative_and_in_seconds),
        cmocka_unit_test(prometheus_reads_what_was_written),
        cmocka_unit_test(the_process_is_described),
        cmocka_unit_test(too_much_for_the_buffer_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
