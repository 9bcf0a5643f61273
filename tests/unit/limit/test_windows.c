/* Counts within windows of the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "limit/windows.h"

#include <cmocka.h> /* last: its fail() would hide ours */

/* 2028-02-29T23:59:58Z, a leap day. */
#define NOW INT64_C(1835481598)
#define KEY VIEW("plugin caller")

static struct window_use use[PERIODS];

static enum window_verdict take_at(struct window_limiter *w, int64_t now_s, int64_t second,
                                   int64_t minute, int64_t month)
{
    const int64_t limits[PERIODS] = {[PERIOD_SECOND] = second, [PERIOD_MINUTE] = minute,
                                     [PERIOD_MONTH] = month};
    return window_take(w, WINDOW_CALLERS, KEY, limits, now_s, use);
}

static void windows_are_those_of_the_calendar(void **state)
{
    static const struct {
        int64_t start_s, end_s;
    } want[PERIODS] = {
        [PERIOD_SECOND] = {NOW, NOW + 1},
        [PERIOD_MINUTE] = {1835481540, 1835481600},
        [PERIOD_HOUR] = {1835478000, 1835481600},
        [PERIOD_DAY] = {1835395200, 1835481600},
        [PERIOD_MONTH] = {1832976000, 1835481600},  /* 29 days */
        [PERIOD_YEAR] = {1830297600, 1861920000},   /* 366 days */
    };

    (void)state;
    for (int i = 0; i < PERIODS; i++) {
        int64_t start_s, end_s;
        window_bounds((enum period)i, NOW, &start_s, &end_s);
        assert_int_equal(start_s, want[i].start_s);
        assert_int_equal(end_s, want[i].end_s);
        window_bounds((enum period)i, end_s, &start_s, &end_s);
        assert_int_equal(start_s, want[i].end_s); /* the next begins where it ends */
    }
}

static void each_window_counts_and_the_fullest_refuses(void **state)
{
    struct window_limiter *w = window_limiter_new(100);

    (void)state;
    assert_int_equal(take_at(w, NOW, 2, 3, 0), WINDOW_TAKEN);
    assert_int_equal(use[PERIOD_SECOND].remaining, 1);
    assert_int_equal(use[PERIOD_SECOND].reset_s, 1);
    assert_int_equal(use[PERIOD_MINUTE].remaining, 2);
    assert_int_equal(use[PERIOD_MINUTE].reset_s, 2);
    assert_int_equal(take_at(w, NOW, 2, 3, 0), WINDOW_TAKEN);
    assert_int_equal(take_at(w, NOW, 2, 3, 0), WINDOW_FULL);
    assert_int_equal(use[PERIOD_SECOND].remaining, 0);
    /* What was refused counts nowhere. */
    assert_int_equal(use[PERIOD_MINUTE].remaining, 1);
    assert_int_equal(take_at(w, NOW + 1, 2, 3, 0), WINDOW_TAKEN);
    assert_int_equal(use[PERIOD_MINUTE].remaining, 0);
    assert_int_equal(take_at(w, NOW + 1, 2, 3, 0), WINDOW_FULL);
    assert_int_equal(use[PERIOD_SECOND].remaining, 1);
    assert_int_equal(use[PERIOD_MINUTE].reset_s, 1);
    assert_int_equal(take_at(w, NOW + 2, 2, 3, 0), WINDOW_TAKEN); /* the next minute */
    assert_int_equal(use[PERIOD_MINUTE].remaining, 2);
    assert_int_equal(use[PERIOD_MINUTE].reset_s, 60);
    window_limiter_free(w);
}

static void a_month_ends_with_the_month(void **state)
{
    struct window_limiter *w = window_limiter_new(100);

    (void)state;
    assert_int_equal(take_at(w, NOW - 28 * 86400, 0, 0, 1), WINDOW_TAKEN);
    assert_int_equal(take_at(w, NOW, 0, 0, 1), WINDOW_FULL);
    assert_int_equal(use[PERIOD_MONTH].reset_s, 2);
    assert_int_equal(take_at(w, NOW + 2, 0, 0, 1), WINDOW_TAKEN);
    window_limiter_free(w);
}

static void a_clock_that_goes_back_begins_nothing_anew(void **state)
{
    struct window_limiter *w = window_limiter_new(100);

    (void)state;
    assert_int_equal(take_at(w, NOW + 2, 0, 1, 0), WINDOW_TAKEN);
    assert_int_equal(take_at(w, NOW, 0, 1, 0), WINDOW_FULL);
    assert_int_equal(take_at(w, NOW + 2, 0, 1, 0), WINDOW_FULL);
    /* By more than a window it was wrong before. */
    assert_int_equal(take_at(w, NOW - 600, 0, 1, 0), WINDOW_TAKEN);
    window_limiter_free(w);
}

static void keys_are_apart_and_the_oldest_is_forgotten(void **state)
{
    const int64_t limits[PERIODS] = {[PERIOD_DAY] = 1};
    struct window_limiter *w = window_limiter_new(1); /* one for each of 16 shards */
    char long_key[WINDOW_KEY_MAX_BYTES + 1] = "x";

    (void)state;
    assert_int_equal(window_take(w, WINDOW_CALLERS, VIEW("a"), limits, NOW, use), WINDOW_TAKEN);
    assert_int_equal(window_take(w, WINDOW_CALLERS, VIEW("a"), limits, NOW, use), WINDOW_FULL);
    struct view key = view_of(long_key, sizeof long_key);
    assert_int_equal(window_take(w, WINDOW_CALLERS, key, limits, NOW, use), WINDOW_TAKEN);
    assert_int_equal(window_take(w, WINDOW_CALLERS, key, limits, NOW, use), WINDOW_FULL);
    assert_int_equal(window_take(w, WINDOW_CALLERS, VIEW(""), limits, NOW, use), WINDOW_TAKEN);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "k%d", i);
        key = view_of(name, (size_t)len);
        assert_int_equal(window_take(w, WINDOW_CALLERS, key, limits, NOW, use), WINDOW_TAKEN);
    }
    assert_int_equal(window_limiter_count(w), 16);
    window_limiter_free(w);
}

static void who_calls_is_not_the_oldest(void **state)
{
    const int64_t limits[PERIODS] = {[PERIOD_DAY] = 1};
    struct window_limiter *w = window_limiter_new(32); /* two for each of 16 shards */

    (void)state;
    assert_int_equal(window_take(w, WINDOW_CALLERS, VIEW("a"), limits, NOW, use), WINDOW_TAKEN);
    for (int i = 0; i < 500; i++) {
        char name[16];
        struct view key = view_of(name, (size_t)snprintf(name, sizeof name, "k%d", i));
        assert_int_equal(window_take(w, WINDOW_CALLERS, key, limits, NOW, use), WINDOW_TAKEN);
        assert_int_equal(window_take(w, WINDOW_CALLERS, VIEW("a"), limits, NOW, use), WINDOW_FULL);
    }
    window_limiter_free(w);
}

/* Whatever is taken at once, no more than the limit is; that is what the one step under the lock
 * is for. */
enum { THREADS = 8, CALLS = 2000, LIMIT = 5000 };
static struct window_limiter *shared;
static atomic_int taken;

static void *call_often(void *arg)
{
    const int64_t limits[PERIODS] = {[PERIOD_HOUR] = LIMIT, [PERIOD_YEAR] = 2 * LIMIT};
    struct window_use mine[PERIODS];

    (void)arg;
    for (int i = 0; i < CALLS; i++) {
        if (window_take(shared, WINDOW_CALLERS, KEY, limits, NOW, mine) == WINDOW_TAKEN)
            atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

static void many_at_once_are_counted_exactly(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    shared = window_limiter_new(100);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&taken), LIMIT);
    window_limiter_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_those_of_the_calendar),
        cmocka_unit_test(each_window_counts_and_the_fullest_refuses),
        cmocka_unit_test(a_month_ends_with_the_month),
        cmocka_unit_test(a_clock_that_goes_back_begins_nothing_anew),
        cmocka_unit_test(keys_are_apart_and_the_oldest_is_forgotten),
        cmocka_unit_test(who_calls_is_not_the_oldest),
        cmocka_unit_test(many_at_once_are_counted_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
