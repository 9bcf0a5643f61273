/* The clock of scheduled rotations, with a runner and a time of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/log.h"
#include "gateway/rotations.h"

#include <cmocka.h>

static int64_t now_ms;

static int64_t wall_us(void *ctx)
{
    (void)ctx;
    return (INT64_C(1700000000000) + now_ms) * 1000;
}

static int64_t monotonic_ns(void *ctx)
{
    (void)ctx;
    return now_ms * 1000000;
}

static const struct clock test_clock = {wall_us, monotonic_ns, NULL};

/* ---- The runner: keeps what it is asked for ---- */

struct fake_runner {
    struct runner base;
    unsigned runs;
    char words[400];
    run_done *done;
    void *arg;
};

static void start(struct runner *base, const struct run_request *request, run_done *done, void *arg)
{
    struct fake_runner *f = (struct fake_runner *)base;
    size_t n = 0;

    assert_null(f->done);
    for (size_t i = 0; i < request->count; i++)
        n += (size_t)snprintf(f->words + n, sizeof f->words - n, "%s%.*s", i > 0 ? " " : "",
                              VIEW_ARG(request->words[i]));
    assert_int_equal(request->timeout_ms, ROTATIONS_RUN_MS);
    f->runs++;
    f->done = done;
    f->arg = arg;
}

static void end(struct fake_runner *f, int status, const char *output, const char *message)
{
    const struct run_result result = {
        .exit_status = status, .output = view_str(output), .message = view_str(message)};
    run_done *done = f->done;

    f->done = NULL;
    done(f->arg, OK, "", &result);
}

/* ---- The bed ---- */

struct bed {
    struct fake_runner runner;
    struct rotations *rotations;
    struct service services[2];
    struct entities entities;
};

static const struct vault aws = {.prefix = {"aws", 3}, .kind = VAULT_AWS};

static void make(struct bed *b)
{
    *b = (struct bed){.runner.base.start = start};
    now_ms = 1000;
    log_set_level(LOG_ERROR);
    const struct rotations_options options = {.runner = &b->runner.base,
                                              .clock = &test_clock,
                                              .program = "/proc/self/exe",
                                              .conf_file = "/etc/s.conf"};
    assert_false(failed(rotations_new(&options, &b->rotations)));
    b->services[0].name = VIEW("shop");
    b->services[0].primary.secret = VIEW("{vault://aws/prod%2Fshop}");
    b->services[0].primary.rotation.every_s = 4 * 3600;
    b->services[1].name = VIEW("plain");
    b->entities = (struct entities){
        .services = b->services, .service_count = 2, .vaults = &aws, .vault_count = 1};
    rotations_configure(b->rotations, &b->entities);
}

static struct rotations_status only(const struct bed *b)
{
    struct rotations_status all[4];

    assert_int_equal(rotations_status(b->rotations, all, COUNT_OF(all)), 1);
    return all[0];
}

/* How long until the next run begins. */
static int64_t wait_for_run(struct bed *b, int64_t at_most_ms)
{
    int64_t from = now_ms;
    unsigned runs = b->runner.runs;

    while (b->runner.runs == runs) {
        now_ms += 500;
        assert_true(now_ms - from <= at_most_ms + 1000);
        rotations_tick(b->rotations);
    }
    return now_ms - from;
}

/* ---- The tests ---- */

static void test_only_services_that_say_so_are_rotated(void **state)
{
    struct bed b;

    (void)state;
    make(&b);
    assert_true(view_is(only(&b).service, "shop"));
    assert_true(view_is(only(&b).secret, "prod/shop"));
    assert_int_equal(only(&b).state, ROTATIONS_WAITING);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    assert_string_equal(b.runner.words,
                        "/proc/self/exe rotate --service shop --if-older-than 14400s"
                        " -c /etc/s.conf -- prod/shop");
    assert_true(only(&b).running);
    end(&b.runner, 0, "look: x\ndone: the secret is rotated\n", "");
    assert_int_equal(only(&b).state, ROTATIONS_GOOD);
    assert_int_equal(only(&b).rotated_s, wall_us(NULL) / 1000000);
    assert_string_equal(only(&b).detail, "done: the secret is rotated");
    rotations_free(b.rotations);
}

static void test_a_secret_is_looked_at_many_times_in_its_period(void **state)
{
    struct bed b;

    (void)state;
    make(&b);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    for (int i = 0; i < 50; i++) {
        end(&b.runner, 0, "look: nothing to do: the next rotation is due at x\n", "");
        int64_t waited = wait_for_run(&b, 600 * 1000);
        assert_in_range(waited, 540 * 1000, 601 * 1000);
    }
    assert_int_equal(only(&b).rotated_s, 0);
    end(&b.runner, 0, "look: nothing to do\n", "");
    b.services[0].primary.rotation.every_s = INT64_C(30) * 86400;
    rotations_configure(b.rotations, &b.entities);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    end(&b.runner, 0, "", "");
    assert_in_range(wait_for_run(&b, 3600 * 1000), 3240 * 1000, 3601 * 1000);
    end(&b.runner, 0, "", "");
    rotations_free(b.rotations);
}

static void test_failures_are_tried_again_ever_later(void **state)
{
    struct bed b;
    int64_t longest[8] = {0};

    (void)state;
    for (int round = 0; round < 12; round++) {
        make(&b);
        wait_for_run(&b, ROTATIONS_FIRST_MS);
        for (unsigned i = 0; i < COUNT_OF(longest); i++) {
            end(&b.runner, 1, "look: x\n", "Error: set: the database refused\n");
            assert_int_equal(only(&b).failures, i + 1);
            int64_t within = i < 6 ? INT64_C(60000) << i : ROTATIONS_BACKOFF_MAX_MS;
            int64_t waited = wait_for_run(&b, within);
            longest[i] = waited > longest[i] ? waited : longest[i];
        }
        assert_int_equal(only(&b).state, ROTATIONS_FAILED);
        assert_string_equal(only(&b).detail, "Error: set: the database refused");
        end(&b.runner, 0, "done: the secret is rotated\n", "");
        assert_int_equal(only(&b).failures, 0);
        rotations_free(b.rotations);
    }
    for (size_t i = 1; i < 6; i++) /* by chance, but not by little */
        assert_true(longest[i] > (INT64_C(60000) << i) / 8);
}

static void test_a_killed_child_is_a_failure(void **state)
{
    const struct run_result killed = {.signal = 9, .output = VIEW("done: the secret is rotated")};
    static const struct fault late = {"run_timed_out", "it took too long", NULL, 0};
    struct bed b;

    (void)state;
    make(&b);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    run_done *done = b.runner.done;
    b.runner.done = NULL;
    done(b.runner.arg, OK, "", &killed);
    assert_int_equal(only(&b).failures, 1);
    assert_string_equal(only(&b).detail, "the child was ended by signal 9");
    wait_for_run(&b, ROTATIONS_BACKOFF_FIRST_MS);
    done = b.runner.done;
    b.runner.done = NULL;
    done(b.runner.arg, (err){&late}, "", NULL);
    assert_int_equal(only(&b).failures, 2);
    assert_string_equal(only(&b).detail, "it took too long");
    assert_int_equal(only(&b).rotated_s, 0);
    rotations_free(b.rotations);
}

static void test_what_aws_rotates_is_looked_at_once_a_day(void **state)
{
    struct bed b;

    (void)state;
    make(&b);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    end(&b.runner, ROTATIONS_FOLLOWED_EXIT, "", "Refused: look: it is only followed\n");
    assert_int_equal(only(&b).state, ROTATIONS_FOLLOWED);
    assert_int_equal(only(&b).failures, 0);
    assert_int_equal(only(&b).next_look_s, wall_us(NULL) / 1000000 + 86400);
    now_ms += ROTATIONS_FOLLOWED_MS - 1;
    rotations_tick(b.rotations);
    assert_int_equal(b.runner.runs, 1);
    now_ms += 1;
    rotations_tick(b.rotations);
    assert_int_equal(b.runner.runs, 2);
    end(&b.runner, 0, "", "");
    rotations_free(b.rotations);
}

static void test_a_reload_keeps_what_stays_and_drops_what_goes(void **state)
{
    struct rotations_status all[4];
    struct bed b;

    (void)state;
    make(&b);
    int64_t next_s = only(&b).next_look_s;
    rotations_configure(b.rotations, &b.entities);
    assert_int_equal(only(&b).next_look_s, next_s);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    b.services[0].primary.rotation.every_s = 0;
    rotations_configure(b.rotations, &b.entities);
    assert_true(only(&b).running); /* what was begun is ended */
    end(&b.runner, 1, "", "Error: x\n");
    assert_int_equal(rotations_status(b.rotations, all, COUNT_OF(all)), 0);
    rotations_free(b.rotations);
}

static void test_the_end_does_not_wait_for_a_child(void **state)
{
    struct bed b;

    (void)state;
    make(&b);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    rotations_free(b.rotations);
    end(&b.runner, 0, "done: the secret is rotated\n", "");
    rotations_free(NULL);
}

static void test_one_child_runs_at_a_time(void **state)
{
    struct bed b;

    (void)state;
    make(&b);
    b.services[1].primary = b.services[0].primary;
    b.services[1].primary.secret = VIEW("{vault://aws/other}");
    rotations_configure(b.rotations, &b.entities);
    wait_for_run(&b, ROTATIONS_FIRST_MS);
    now_ms += ROTATIONS_FIRST_MS;
    rotations_tick(b.rotations);
    assert_int_equal(b.runner.runs, 1);
    end(&b.runner, 0, "", "");
    rotations_tick(b.rotations);
    assert_int_equal(b.runner.runs, 2);
    end(&b.runner, 0, "", "");
    rotations_free(b.rotations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_services_that_say_so_are_rotated),
        cmocka_unit_test(test_a_secret_is_looked_at_many_times_in_its_period),
        cmocka_unit_test(test_failures_are_tried_again_ever_later),
        cmocka_unit_test(test_a_killed_child_is_a_failure),
        cmocka_unit_test(test_what_aws_rotates_is_looked_at_once_a_day),
        cmocka_unit_test(test_a_reload_keeps_what_stays_and_drops_what_goes),
        cmocka_unit_test(test_the_end_does_not_wait_for_a_child),
        cmocka_unit_test(test_one_child_runs_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
