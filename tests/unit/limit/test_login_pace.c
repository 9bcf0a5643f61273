/* Logins by IAM: how far apart, whose turn, and how many of late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "limit/login_pace.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)

struct bed {
    struct login_pace *pace;
    struct login_instance *shop;
};

static int open_bed(void **state)
{
    static struct bed bed;
    bed.pace = login_pace_new();
    assert_non_null(bed.pace);
    bed.shop = login_pace_instance(bed.pace, VIEW("shop.rds.amazonaws.com"), 5432);
    assert_non_null(bed.shop);
    *state = &bed;
    return 0;
}

static int close_bed(void **state)
{
    login_pace_free(((struct bed *)*state)->pace);
    return 0;
}

static void without_a_share_no_service_logs_in(void **state)
{
    struct bed *b = *state;

    assert_int_equal(login_pace_latest_ns(b->pace), INT64_MIN);
    assert_int_equal(login_pace_take(b->pace, b->shop, 5 * SECOND), 5 * SECOND + 100 * MS);
    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, 5 * SECOND), 0);
    login_pace_set(b->pace, 0, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, 99 * SECOND), 99 * SECOND + 100 * MS);
    assert_int_equal(login_pace_latest_ns(b->pace), 5 * SECOND);
}

static void logins_are_a_period_by_the_share_apart(void **state)
{
    struct bed *b = *state;
    int64_t now = 7 * SECOND;

    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, now), 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, now), now + 110 * MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 110 * MS - 1), now + 110 * MS);
    /* Late, and the next is as far from it. */
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 300 * MS), 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 300 * MS), now + 410 * MS);
    /* Another share holds from the latest login on. */
    login_pace_set(b->pace, 1, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 410 * MS), now + 1400 * MS);
    login_pace_set(b->pace, 1, 5000);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 410 * MS), now + 5300 * MS);
    login_pace_set(b->pace, 1000, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 410 * MS), 0);
    /* Never in the past for a share that does not divide the period. */
    login_pace_set(b->pace, 3, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, now + 500 * MS),
                     now + 410 * MS + 366666667);
}

static void an_instance_is_a_name_and_a_port(void **state)
{
    struct bed *b = *state;

    login_pace_set(b->pace, 1, LOGIN_PERIOD_MS);
    assert_ptr_equal(b->shop, login_pace_instance(b->pace, VIEW("SHOP.rds.amazonaws.com"), 5432));
    struct login_instance *other_port =
        login_pace_instance(b->pace, VIEW("shop.rds.amazonaws.com"), 5433);
    struct login_instance *other_name =
        login_pace_instance(b->pace, VIEW("shop.rds.amazonaws.co"), 5432);
    assert_ptr_not_equal(b->shop, other_port);
    assert_ptr_not_equal(b->shop, other_name);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND), 0);
    assert_int_equal(login_pace_take(b->pace, other_port, SECOND), 0);
    assert_int_equal(login_pace_take(b->pace, other_name, SECOND), 0);
    assert_true(login_pace_take(b->pace, b->shop, SECOND) > 0);
}

static void what_was_not_begun_is_given_back(void **state)
{
    struct bed *b = *state;

    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND), 0);
    login_pace_give_back(b->pace, b->shop, SECOND);
    assert_true(login_pace_rate(b->pace, SECOND) == 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND), 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 110 * MS), 0);
    login_pace_give_back(b->pace, b->shop, SECOND + 110 * MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 50 * MS), SECOND + 110 * MS);
    /* Another login came after it: that one stays. */
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 120 * MS), 0);
    login_pace_give_back(b->pace, b->shop, SECOND + 110 * MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 130 * MS), SECOND + 230 * MS);
}

static void nothing_is_let_in_while_it_is_held(void **state)
{
    struct bed *b = *state;

    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    login_pace_hold(b->pace, 3 * SECOND);
    assert_int_equal(login_pace_take(b->pace, b->shop, 2 * SECOND), 3 * SECOND);
    assert_int_equal(login_pace_take(b->pace, b->shop, 3 * SECOND), 0);
}

static void the_store_logs_in_without_a_share_but_not_often(void **state)
{
    struct bed *b = *state;

    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND), 0);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND), SECOND + 1100 * MS);
    login_pace_set(b->pace, 1, 60000);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND + 1100 * MS), 0);
    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND + 1200 * MS),
                     SECOND + 1210 * MS);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND + 1210 * MS), 0);
}

static void the_store_goes_before_services(void **state)
{
    struct bed *b = *state;

    login_pace_set(b->pace, 10, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND), 0);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND + MS), SECOND + 110 * MS);
    int64_t at = login_pace_take(b->pace, b->shop, SECOND + 110 * MS);
    assert_int_equal(at, SECOND + 220 * MS);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, SECOND + 115 * MS), 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, at), SECOND + 225 * MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 225 * MS), 0);
    /* But not for ever, when it does not come. */
    assert_true(login_pace_take_store(b->pace, b->shop, SECOND + 230 * MS) > 0);
    assert_true(login_pace_take(b->pace, b->shop, SECOND + 335 * MS) > 0);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND + 835 * MS), 0);
}

static void the_rate_is_that_of_the_last_ten_seconds(void **state)
{
    struct login_meter m = {0};
    struct bed *b = *state;

    assert_true(login_meter_rate(&m, 0) == 0);
    for (int i = 0; i < 30; i++)
        login_meter_note(&m, 100 * SECOND + i * 100 * MS);
    assert_true(login_meter_rate(&m, 103 * SECOND) == 3.0);
    assert_true(login_meter_rate(&m, 109 * SECOND) == 3.0);
    assert_true(login_meter_rate(&m, 110 * SECOND) == 2.0);
    assert_true(login_meter_rate(&m, 112 * SECOND) == 0);
    login_meter_note(&m, 111 * SECOND);
    assert_true(login_meter_rate(&m, 111 * SECOND) == 1.1);
    login_meter_note(&m, 500 * SECOND);
    assert_true(login_meter_rate(&m, 500 * SECOND) == 0.1);

    login_pace_set(b->pace, 1000, LOGIN_PERIOD_MS);
    assert_int_equal(login_pace_take(b->pace, b->shop, SECOND), 0);
    assert_int_equal(login_pace_take_store(b->pace, b->shop, 2 * SECOND), 0);
    assert_true(login_pace_rate(b->pace, 2 * SECOND) == 0.2);
    assert_true(login_pace_store_rate(b->pace, 2 * SECOND) == 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bed, close_bed)
        TEST(without_a_share_no_service_logs_in),
        TEST(logins_are_a_period_by_the_share_apart),
        TEST(an_instance_is_a_name_and_a_port),
        TEST(what_was_not_begun_is_given_back),
        TEST(nothing_is_let_in_while_it_is_held),
        TEST(the_store_logs_in_without_a_share_but_not_often),
        TEST(the_store_goes_before_services),
        TEST(the_rate_is_that_of_the_last_ten_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
