/* How long a connection's next attempt waits, and what is sent where: no login is made in vain. */
#include <stdio.h>

#include "store/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct store_why why(const char *text)
{
    struct store_why w = {""};
    snprintf(w.text, sizeof w.text, "%s", text);
    return w;
}

static enum store_miss miss(const struct fault *fault, const char *text, bool taken)
{
    struct store_why w = why(text);
    return store_miss_of((err){fault}, &w, taken);
}

static void what_nobody_took_cost_no_login(void **state)
{
    (void)state;
    assert_int_equal(miss(&store_unreachable, "Connection refused", false), MISS_NOBODY);
    assert_int_equal(miss(&store_unreachable, "", false), MISS_NOBODY);
    assert_int_equal(miss(&store_unreachable, "FATAL:  the database system is starting up", true),
                     MISS_NOBODY);
    assert_int_equal(
        miss(&store_unreachable, "FATAL:  the database system is not yet accepting connections",
             true),
        MISS_NOBODY);
    assert_int_equal(
        miss(&store_unreachable, "FATAL:  the database system is shutting down", true),
        MISS_NOBODY);
}

static const struct fault *ended(const char *text)
{
    struct store_why w = why(text);
    return store_login_failure(&w).fault;
}

static void a_refused_login_is_told_from_one_that_may_work_soon(void **state)
{
    static const char *const refusals[] = {
        "FATAL:  PAM authentication failed for user \"kong\"",
        "FATAL:  password authentication failed for user \"kong\"",
        "FATAL:  role \"kong\" is not permitted to log in",
        "FATAL:  no pg_hba.conf entry for host \"127.0.0.1\", user \"kong\", no encryption",
        "FATAL:  permission denied for database \"kong\"",
        "FATAL:  database \"kong\" does not exist",
    };
    static const char *const passing[] = {
        "FATAL:  the database system is starting up",
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for superusers",
        "FATAL:  terminating connection due to administrator command",
        "FATAL:  canceling authentication due to timeout",
        "Connection refused",
        "server closed the connection unexpectedly",
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(refusals); i++)
        assert_ptr_equal(ended(refusals[i]), &store_refused);
    for (size_t i = 0; i < COUNT_OF(passing); i++)
        assert_ptr_equal(ended(passing[i]), &store_unreachable);
    assert_int_equal(miss(&store_refused, refusals[0], true), MISS_REFUSED);
    assert_int_equal(miss(&store_unreachable, passing[1], true), MISS_FAILED);
    assert_int_equal(miss(&store_unreachable, "no answer within pg_timeout, 5000 ms", true),
                     MISS_FAILED);
    assert_int_equal(miss(&store_lost, "server closed the connection unexpectedly", true),
                     MISS_FAILED);
    /* What is set up wrongly is so the next time, too. */
    assert_int_equal(miss(&store_bad_trust, "ca.pem cannot be read", true), MISS_REFUSED);
    assert_int_equal(miss(&store_no_region, "", false), MISS_REFUSED);
}

static void pauses_grow_to_their_most_and_no_further(void **state)
{
    (void)state;
    /* Within the second that a failover may take, however long it was away. */
    assert_int_equal(store_pause_max_ms(MISS_NOBODY, true, 0), 300);
    assert_int_equal(store_pause_max_ms(MISS_NOBODY, true, 199), 300);
    assert_int_equal(store_pause_max_ms(MISS_NOBODY, true, 200), 800);
    assert_int_equal(store_pause_max_ms(MISS_NOBODY, false, UINT32_MAX), 800);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, false, 0), 500);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, false, 1), 1000);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, false, 30), 1000);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, true, 1), 1000);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, true, 2), 2000);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, true, 3), 3000);
    assert_int_equal(store_pause_max_ms(MISS_FAILED, true, UINT32_MAX), 3000);
    assert_int_equal(store_pause_max_ms(MISS_REFUSED, true, 0), 500);
    assert_int_equal(store_pause_max_ms(MISS_REFUSED, false, 4), 8000);
    assert_int_equal(store_pause_max_ms(MISS_REFUSED, false, 5), 15000);
}

static void a_line_that_was_never_opened_is_closed_and_turned_in_vain(void **state)
{
    (void)state;
    struct store_line line = {.name = "read-only", .reads = true};
    struct pollfd at[STORE_LINE_WAITS];

    assert_int_equal(store_line_turn(&line), 0);
    assert_int_equal(store_line_waits(&line, at), 0);
    assert_int_equal(store_line_due_ms(&line), INT64_MAX);
    store_line_close(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_took_cost_no_login),
        cmocka_unit_test(a_refused_login_is_told_from_one_that_may_work_soon),
        cmocka_unit_test(pauses_grow_to_their_most_and_no_further),
        cmocka_unit_test(a_line_that_was_never_opened_is_closed_and_turned_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
