#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>

#include "limit/limit.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

enum { MS = 1000000 };
#define SECOND ((int64_t)1000 * MS)
#define KEY VIEW("okta ann order")

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    int64_t now = 5 * SECOND, wait = -1;
    for (int i = 0; i < 3; i++)
        assert_true(limit_take(l, KEY, 10, 3, now, &wait));
    assert_int_equal(wait, -1);
    assert_false(limit_take(l, KEY, 10, 3, now, &wait));
    assert_int_equal(wait, 100);
    /* Refused calls cost nothing: the token comes when it was said to come. */
    assert_false(limit_take(l, KEY, 10, 3, now + 99 * MS, &wait));
    assert_int_equal(wait, 1);
    assert_true(limit_take(l, KEY, 10, 3, now + 100 * MS, &wait));
    assert_false(limit_take(l, KEY, 10, 3, now + 100 * MS, &wait));
    /* Full again after burst / rate, and never fuller than that. */
    now += 3600 * SECOND;
    for (int i = 0; i < 3; i++)
        assert_true(limit_take(l, KEY, 10, 3, now, &wait));
    assert_false(limit_take(l, KEY, 10, 3, now, &wait));
    limiter_free(l);
}

static void the_wait_is_rounded_up(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    int64_t wait = 0;
    assert_true(limit_take(l, KEY, 3, 1, 0, &wait));
    assert_false(limit_take(l, KEY, 3, 1, 0, &wait));
    assert_int_equal(wait, 334);
    assert_false(limit_take(l, KEY, 3, 1, 333 * MS, NULL));
    assert_true(limit_take(l, KEY, 3, 1, 334 * MS, &wait));
    limiter_free(l);
}

static void keys_do_not_share_a_bucket(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    assert_true(limit_take(l, VIEW("a"), 1, 1, 0, NULL));
    assert_false(limit_take(l, VIEW("a"), 1, 1, 0, NULL));
    assert_true(limit_take(l, VIEW("b"), 1, 1, 0, NULL));
    assert_true(limit_take(l, VIEW(""), 1, 1, 0, NULL));
    assert_false(limit_take(l, VIEW(""), 1, 1, 0, NULL));
    assert_int_equal(limiter_count(l), 3);
    limiter_free(l);
}

static void no_rate_is_no_limit_and_no_burst_is_one(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    for (int i = 0; i < 1000; i++) {
        assert_true(limit_take(l, KEY, 0, 1, 0, NULL));
        assert_true(limit_take(l, KEY, -1, 1, 0, NULL));
    }
    assert_int_equal(limiter_count(l), 0);
    assert_true(limit_take(l, KEY, 1, 0, 0, NULL));
    assert_false(limit_take(l, KEY, 1, 0, 0, NULL));
    limiter_free(l);
}

static void extreme_numbers_do_not_overflow(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    int64_t wait = 0;
    assert_true(limit_take(l, KEY, INT64_MAX, INT64_MAX, 0, &wait));
    assert_true(limit_take(l, KEY, 1, INT64_MAX, INT64_MAX / 4, &wait));
    assert_true(limit_take(l, KEY, 1, 1, INT64_MAX / 2, &wait));
    assert_false(limit_take(l, KEY, 1, 1, INT64_MAX / 2, &wait));
    assert_int_equal(wait, 1000);
    /* Time went back: the wait is still no longer than the bucket is. */
    assert_false(limit_take(l, KEY, 1, 1, 0, &wait));
    assert_int_equal(wait, 1000);
    limiter_free(l);
}

static void a_smaller_limit_after_a_reload_takes_hold_at_once(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    int64_t wait = 0;
    for (int i = 0; i < 100; i++)
        assert_true(limit_take(l, KEY, 1, 100, 0, &wait));
    assert_false(limit_take(l, KEY, 10, 1, 0, &wait));
    assert_int_equal(wait, 100);
    limiter_free(l);
}

static void the_least_recently_used_bucket_is_forgotten(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(16); /* one in each shard */
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "caller %d", i);
        assert_true(limit_take(l, view_str(key), 1, 1, 0, NULL));
        assert_false(limit_take(l, view_str(key), 1, 1, 0, NULL));
    }
    assert_int_equal(limiter_count(l), 16);
    assert_false(limit_take(l, view_str(key), 1, 1, 0, NULL));
    limiter_free(l);
}

static void long_keys_are_told_apart(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    static char long_key[LIMIT_KEY_MAX_BYTES + 100];
    memset(long_key, 'x', sizeof long_key);
    assert_true(limit_take(l, view_of(long_key, sizeof long_key), 1, 1, 0, NULL));
    assert_false(limit_take(l, view_of(long_key, sizeof long_key), 1, 1, 0, NULL));
    long_key[sizeof long_key - 1] = 'y';
    assert_true(limit_take(l, view_of(long_key, sizeof long_key), 1, 1, 0, NULL));
    limiter_free(l);
}

enum { THREADS = 4, TRIES = 5000, BURST = 1000 };
static _Atomic int taken;

static void *take_many(void *limiter)
{
    for (int i = 0; i < TRIES; i++)
        taken += limit_take(limiter, KEY, 1, BURST, 0, NULL);
    return NULL;
}

static void threads_share_one_limit(void **state)
{
    (void)state;
    struct limiter *l = limiter_new(100);
    pthread_t threads[THREADS];
    taken = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, l), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(taken, BURST);
    limiter_free(l);
}

static struct concurrency running;
static _Atomic int64_t most;

static void *enter_and_leave(void *unused)
{
    for (int i = 0; i < TRIES; i++) {
        if (concurrency_enter(&running, 2)) {
            int64_t now = running.running;
            if (now > most)
                most = now;
            concurrency_leave(&running);
        }
    }
    return unused;
}

static void what_runs_at_once_is_bounded(void **state)
{
    (void)state;
    struct concurrency c = {0};
    assert_true(concurrency_enter(&c, 2));
    assert_true(concurrency_enter(&c, 2));
    assert_false(concurrency_enter(&c, 2));
    concurrency_leave(&c);
    assert_true(concurrency_enter(&c, 2));
    assert_true(concurrency_enter(&c, 0));
    assert_int_equal(c.running, 3);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enter_and_leave, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(running.running, 0);
    assert_true(most >= 1 && most <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(the_wait_is_rounded_up),
        cmocka_unit_test(keys_do_not_share_a_bucket),
        cmocka_unit_test(no_rate_is_no_limit_and_no_burst_is_one),
        cmocka_unit_test(extreme_numbers_do_not_overflow),
        cmocka_unit_test(a_smaller_limit_after_a_reload_takes_hold_at_once),
        cmocka_unit_test(the_least_recently_used_bucket_is_forgotten),
        cmocka_unit_test(long_keys_are_told_apart),
        cmocka_unit_test(threads_share_one_limit),
        cmocka_unit_test(what_runs_at_once_is_bounded),
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
