/* Real children: what they give, how they end, and that nothing of ours reaches them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"
#include "net/run.h"

#include <cmocka.h> /* last: its fail() would hide ours */

struct bed {
    uv_loop_t loop;
    struct net_runner *runner;
    unsigned told;
    err outcome;
    char detail[300];
    int exit_status, signal;
    char output[100000];
    size_t output_len;
    char message[RUN_MESSAGE_MAX_BYTES + 1];
    size_t message_len;
};

static int open_bed(void **state)
{
    struct bed *b = calloc(1, sizeof *b);

    assert_int_equal(uv_loop_init(&b->loop), 0);
    b->runner = net_runner_new(&b->loop);
    *state = b;
    return b->runner == NULL;
}

/* Whatever a test left running is gone with the runner: no child may remain. */
static int close_bed(void **state)
{
    struct bed *b = *state;

    if (b->runner != NULL)
        net_runner_close(b->runner, NULL, NULL);
    while (uv_run(&b->loop, UV_RUN_DEFAULT) != 0)
        continue; /* a uv_stop from before was still waiting */
    assert_int_equal(uv_loop_close(&b->loop), 0);
    assert_true(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    free(b);
    return 0;
}

static void on_done(void *arg, err e, const char *detail, const struct run_result *result)
{
    struct bed *b = arg;

    b->told++;
    b->outcome = e;
    snprintf(b->detail, sizeof b->detail, "%s", detail);
    uv_stop(&b->loop);
    if (failed(e)) {
        assert_null(result);
        return;
    }
    b->exit_status = result->exit_status;
    b->signal = result->signal;
    b->output_len = result->output.len;
    b->message_len = result->message.len;
    assert_true(result->output.len < sizeof b->output);
    if (result->output.len > 0)
        memcpy(b->output, result->output.data, result->output.len);
    memcpy(b->message, result->message.data, result->message.len);
    b->output[b->output_len] = b->message[b->message_len] = '\0';
}

static void begin(struct bed *b, int64_t timeout_ms, size_t max_bytes, size_t count,
                  const char *const *words)
{
    struct view views[16];
    struct run_request request = {views, count, timeout_ms, max_bytes};

    for (size_t i = 0; i < count; i++)
        views[i] = view_str(words[i]);
    unsigned before = b->told;
    struct runner *r = net_runner_base(b->runner);
    r->start(r, &request, on_done, b);
    assert_int_equal(b->told, before); /* never from within */
}

static void wait_for(struct bed *b)
{
    unsigned before = b->told;

    while (b->told == before && uv_run(&b->loop, UV_RUN_DEFAULT) != 0)
        continue;
    assert_int_equal(b->told, before + 1);
}

#define RUN(b, ...)                                                                                \
    do {                                                                                           \
        const char *const words_[] = {__VA_ARGS__};                                                \
        begin(b, 20000, 65536, COUNT_OF(words_), words_);                                          \
        wait_for(b);                                                                               \
    } while (0)

static void a_program_gives_its_output_and_its_exit_status(void **state)
{
    struct bed *b = *state;

    RUN(b, "printf", "%s|", "two words", "", "$HOME ~ * \"quoted\" 'too' \\");
    assert_false(failed(b->outcome));
    assert_int_equal(b->exit_status, 0);
    assert_string_equal(b->output, "two words||$HOME ~ * \"quoted\" 'too' \\|");
    RUN(b, "/bin/sh", "-c", "echo out; echo why >&2; exit 3");
    assert_false(failed(b->outcome));
    assert_int_equal(b->exit_status, 3);
    assert_int_equal(b->signal, 0);
    assert_string_equal(b->output, "out\n");
    assert_string_equal(b->message, "why\n");
    RUN(b, "/bin/sh", "-c", "kill -TERM $$");
    assert_false(failed(b->outcome));
    assert_int_equal(b->signal, SIGTERM);
}

static void a_program_that_cannot_be_started_says_why(void **state)
{
    struct bed *b = *state;

    RUN(b, "/nonexistent/helper", "secret-argument");
    assert_ptr_equal(b->outcome.fault, &run_failed);
    assert_string_equal(b->detail, "/nonexistent/helper: no such file or directory");
    RUN(b, "/etc/passwd");
    assert_ptr_equal(b->outcome.fault, &run_failed);
    assert_string_equal(b->detail, "/etc/passwd: permission denied");
    RUN(b, "");
    assert_ptr_equal(b->outcome.fault, &run_refused);
    const struct run_request nul = {&(struct view){"a\0b", 3}, 1, 1000, 10};
    struct runner *r = net_runner_base(b->runner);
    r->start(r, &nul, on_done, b);
    wait_for(b);
    assert_ptr_equal(b->outcome.fault, &run_refused);
}

static void output_up_to_the_bound_is_taken_and_more_ends_the_program(void **state)
{
    const char *const words[] = {"head", "-c", "65536", "/dev/zero"};
    const char *const endless[] = {"cat", "/dev/zero"};
    struct bed *b = *state;

    begin(b, 20000, 65536, 4, words);
    wait_for(b);
    assert_false(failed(b->outcome));
    assert_int_equal(b->output_len, 65536);
    begin(b, 20000, 65535, 4, words);
    wait_for(b);
    assert_ptr_equal(b->outcome.fault, &run_too_large);
    begin(b, 20000, 1000, 2, endless);
    wait_for(b);
    assert_ptr_equal(b->outcome.fault, &run_too_large);
}

static void of_its_messages_the_first_bytes_are_kept(void **state)
{
    struct bed *b = *state;

    RUN(b, "/bin/sh", "-c", "printf first >&2; head -c 1000000 /dev/zero >&2; echo ok");
    assert_false(failed(b->outcome));
    assert_string_equal(b->output, "ok\n");
    assert_int_equal(b->message_len, RUN_MESSAGE_MAX_BYTES);
    assert_memory_equal(b->message, "first", 6);
}

/* What poll says of the descriptor, through the signals of ended children. */
static short wait_on(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int n;

    while ((n = poll(&one, 1, 20000)) < 0 && errno == EINTR)
        continue;
    assert_int_equal(n, 1);
    return one.revents;
}

/* The child and its own child hold the fifo's other end: it hangs up when both are gone. */
static void at_the_time_limit_the_whole_group_is_killed(void **state)
{
    char folder[] = "/tmp/sallyport-run-XXXXXX", fifo[64], script[200], text[32] = "";
    struct bed *b = *state;

    assert_non_null(mkdtemp(folder));
    snprintf(fifo, sizeof fifo, "%s/group", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    snprintf(script, sizeof script, "exec 3>%s; echo $$ >&3; (sleep 1000; true) & wait", fifo);
    const char *const words[] = {"/bin/sh", "-c", script};
    begin(b, 300, 1000, 3, words);
    (void)wait_on(fd); /* it is there before the loop sees the time */
    assert_true(read(fd, text, sizeof text - 1) > 1);
    wait_for(b);
    assert_ptr_equal(b->outcome.fault, &run_timed_out);
    pid_t group = (pid_t)strtol(text, NULL, 10);
    assert_true(group > 1 && group != getpgrp());
    assert_true((wait_on(fd) & POLLHUP) != 0);
    close(fd);
    unlink(fifo);
    rmdir(folder);
}

/* Who leaves the group and keeps the pipe does not hold us up beyond the limit. */
static void a_daemon_that_keeps_the_pipe_open_ends_with_the_limit(void **state)
{
    const char *const words[] = {"/bin/sh", "-c", "setsid sleep 3 & exit 0"};
    struct bed *b = *state;

    begin(b, 300, 1000, 3, words);
    wait_for(b);
    assert_ptr_equal(b->outcome.fault, &run_timed_out);
}

static void a_child_gets_no_descriptor_but_its_three(void **state)
{
    struct bed *b = *state;
    int open_to_all = open("/dev/null", O_RDONLY); /* NOLINT: without O_CLOEXEC, on purpose */

    assert_true(open_to_all > 2);
    RUN(b, "/bin/sh", "-c", "ls /proc/$$/fd; read line; echo end-of-input $?");
    assert_string_equal(b->output, "0\n1\n2\nend-of-input 1\n");
    close(open_to_all);
}

static void closing_the_runner_kills_what_runs(void **state)
{
    const char *const words[] = {"sleep", "1000"};
    struct bed *b = *state;

    begin(b, 100000, 1000, 2, words);
    begin(b, 100000, 1000, 2, words);
    net_runner_close(b->runner, NULL, NULL);
    b->runner = NULL;
    assert_int_equal(b->told, 2);
    assert_ptr_equal(b->outcome.fault, &run_cancelled);
}

static void on_done_close(void *arg, err e, const char *detail, const struct run_result *result)
{
    struct bed *b = arg;

    on_done(arg, e, detail, result);
    net_runner_close(b->runner, NULL, NULL);
    b->runner = NULL;
}

/* An agent that a program has started for later is not the runner's any more. */
static void closing_the_runner_leaves_alone_what_a_program_that_ended_left_behind(void **state)
{
    const struct view words[] = {
        VIEW("/bin/sh"), VIEW("-c"), VIEW("sleep 1000 </dev/null >/dev/null 2>&1 & echo $!")};
    const struct run_request request = {words, 3, 20000, 100};
    struct bed *b = *state;
    struct runner *r = net_runner_base(b->runner);

    r->start(r, &request, on_done_close, b);
    wait_for(b);
    assert_false(failed(b->outcome));
    pid_t agent = (pid_t)strtol(b->output, NULL, 10);
    assert_true(agent > 1);
    assert_int_equal(b->told, 1);
    char path[64], stat[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)agent);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(stat, sizeof stat, f));
    fclose(f);
    assert_null(strstr(stat, ") Z "));
    assert_int_equal(kill(agent, SIGKILL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_bed, close_bed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_program_gives_its_output_and_its_exit_status),
        T(a_program_that_cannot_be_started_says_why),
        T(output_up_to_the_bound_is_taken_and_more_ends_the_program),
        T(of_its_messages_the_first_bytes_are_kept),
        T(at_the_time_limit_the_whole_group_is_killed),
        T(a_daemon_that_keeps_the_pipe_open_ends_with_the_limit),
        T(a_child_gets_no_descriptor_but_its_three),
        T(closing_the_runner_kills_what_runs),
        T(closing_the_runner_leaves_alone_what_a_program_that_ended_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
