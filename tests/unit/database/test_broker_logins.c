/* The connections of a login from before: they end what they have begun, and no more. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/time.h"
#include "broker_bed.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { LIMIT_NS = 20 * 1000000000LL };

static struct bed bed;
static struct bed_call calls[5];

static bool is_held(void)
{
    pthread_mutex_lock(&bed.lock);
    bool held = bed.held == 1;
    pthread_mutex_unlock(&bed.lock);
    return held;
}

static void wait_held(void)
{
    for (int64_t end = time_monotonic_ns() + LIMIT_NS; !is_held(); bed_turn(&bed))
        assert_true(time_monotonic_ns() < end);
}

static void finish(const struct bed_call *call)
{
    for (int64_t end = time_monotonic_ns() + LIMIT_NS; !call->finished; bed_turn(&bed))
        assert_true(time_monotonic_ns() < end);
}

static int set_up(void **state)
{
    (void)state;
    bed_start(&bed, 1, false, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_end(&bed);
    return 0;
}

static void prove_another_login(void)
{
    pthread_mutex_lock(&bed.broker->lock);
    bed.broker->proven++; /* those of the bed are of none */
    pthread_mutex_unlock(&bed.broker->lock);
}

static void read_by_all(size_t i)
{
    bed_call_init(&calls[i], BED_COMMON, true);
    bed_call_start(&bed, &calls[i], 0);
}

/* Else it would serve as long as a load of short reads goes on. */
static void a_former_logins_connection_is_not_joined(void **state)
{
    (void)state;

    bed.hold[BED_COMMON] = true;
    read_by_all(0);
    wait_held();
    prove_another_login();
    read_by_all(1);
    assert_int_equal(calls[1].db.state, DB_CALL_WAITING);
    bed_permit(&bed, 2);
    finish(&calls[1]);
    assert_int_not_equal(calls[1].backend_pid, calls[0].backend_pid);
    /* That one was of a login from before, too, which came late. */
    assert_int_equal(bed.broker->proven, 1);
}

static void nor_is_it_refilled(void **state)
{
    (void)state;

    bed.hold[BED_COMMON] = true;
    for (size_t i = 0; i < 5; i++)
        read_by_all(i); /* as many as may run behind each other, and one more */
    wait_held();
    assert_int_equal(calls[4].db.state, DB_CALL_WAITING);
    prove_another_login();
    bed_permit(&bed, 1);
    finish(&calls[0]);
    bed_permit(&bed, 4);
    finish(&calls[4]);
    assert_int_not_equal(calls[4].backend_pid, calls[0].backend_pid);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_former_logins_connection_is_not_joined),
        TEST(nor_is_it_refilled),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
