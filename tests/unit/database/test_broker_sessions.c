/* Sessions within one budget: who is served by which connection, when one leaves for another. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/time.h"
#include "broker_bed.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { PATIENCE_NS = SESSION_PATIENCE_MS * 1000000, LIMIT_NS = 20 * 1000000000LL };

static struct bed bed;

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void turn_until(bool (*condition)(void *arg), void *arg)
{
    int64_t end = time_monotonic_ns() + LIMIT_NS;

    while (!condition(arg)) {
        assert_true(time_monotonic_ns() < end);
        bed_turn(&bed);
    }
}

static void finish(struct bed_call *call)
{
    turn_until(is_true, &call->finished);
}

static bool is_past(void *arg)
{
    return time_monotonic_ns() > *(int64_t *)arg;
}

static void turn_for(int64_t ns)
{
    int64_t end = time_monotonic_ns() + ns;

    turn_until(is_past, &end);
}

static bool is_held(void *arg)
{
    pthread_mutex_lock(&bed.lock);
    bool held = bed.held == *(unsigned *)arg;
    pthread_mutex_unlock(&bed.lock);
    return held;
}

static void wait_held(unsigned count)
{
    turn_until(is_held, &count);
}

static bool is_hungry(void *arg)
{
    pthread_mutex_lock(&bed.broker->lock);
    bool hungry = bed.broker->hungry_count == *(unsigned *)arg;
    pthread_mutex_unlock(&bed.broker->lock);
    return hungry;
}

static bool is_empty(void *arg)
{
    struct broker_counts n = broker_counts(bed.broker);

    (void)arg;
    return n.sessions == 0 && n.waiting == 0;
}

static struct bed_call calls[64];

/* Whether both have ended, the first one first. */
static bool in_order(size_t first, size_t second)
{
    return calls[first].finished && calls[second].finished &&
           calls[first].order < calls[second].order;
}

static struct bed_call *begin(size_t i, unsigned session)
{
    bed_call_init(&calls[i], session, false);
    bed_call_start(&bed, &calls[i], 0);
    return &calls[i];
}

static void run(unsigned session)
{
    struct bed_call *call = begin(63, session);

    finish(call);
    assert_ptr_equal(call->error.fault, NULL);
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

/* ---- Who is served by what ---- */

static void an_idle_connection_leaves_for_another_session(void **state)
{
    (void)state;
    run(1);
    run(1);
    assert_int_equal(bed.logins[1], 1);
    run(2);
    assert_int_equal(bed.logins[2], 1);
    run(BED_COMMON);
    assert_int_equal(bed.logins[BED_COMMON], 1);
    run(1);
    assert_int_equal(bed.logins[1], 2);
    assert_int_equal(bed.most_open, 1);
}

static void each_has_its_own_while_there_is_room(void **state)
{
    (void)state;
    bed.broker->service.pool.max_connections = 3;
    bed.service.pool.max_connections = 3;
    for (int i = 0; i < 3; i++) {
        run(1);
        run(2);
        run(BED_COMMON);
    }
    assert_int_equal(bed.logins_in_all, 3);
    /* The least recently used leaves. */
    run(3);
    run(2);
    run(BED_COMMON);
    assert_int_equal(bed.logins_in_all, 4);
    run(1);
    assert_int_equal(bed.logins[1], 2);
}

static void a_busy_connection_leaves_when_another_has_waited_long(void **state)
{
    (void)state;
    bed.hold[1] = true;
    begin(0, 1);
    wait_held(1);
    begin(1, 2);
    begin(2, 1); /* came after the other session's call */
    begin(3, 1);
    turn_for(PATIENCE_NS + 20000000);
    bed_permit(&bed, 3);
    finish(&calls[3]);
    assert_true(in_order(0, 1) && in_order(1, 2));
    assert_int_equal(bed.logins[1], 2);
    assert_int_equal(bed.logins[2], 1);
}

static void not_so_before_its_patience_ends(void **state)
{
    unsigned one = 1;

    (void)state;
    bed.hold[1] = true;
    begin(0, 1);
    wait_held(1);
    begin(1, 2);
    turn_until(is_hungry, &one);
    begin(2, 1);
    bed_permit(&bed, 2);
    finish(&calls[1]);
    assert_true(in_order(2, 1));
    assert_int_equal(bed.logins[1], 1);
}

static void nor_before_who_came_earlier(void **state)
{
    (void)state;
    bed.hold[1] = true;
    begin(0, 1);
    wait_held(1);
    begin(2, 1);
    begin(1, 2);
    begin(3, 1);
    turn_for(PATIENCE_NS + 20000000);
    bed_permit(&bed, 3);
    finish(&calls[3]);
    assert_true(in_order(2, 1) && in_order(1, 3));
}

static void a_shared_connection_is_not_joined_for_ever(void **state)
{
    (void)state;
    bed.hold[1] = true;
    bed_call_init(&calls[0], 1, true);
    bed_call_start(&bed, &calls[0], 0);
    wait_held(1);
    begin(1, 2);
    /* May join, for the other has not waited long. */
    bed_call_init(&calls[2], 1, true);
    bed_call_start(&bed, &calls[2], 0);
    assert_int_equal(calls[2].db.state, DB_CALL_RUNNING);
    turn_for(PATIENCE_NS + 20000000);
    bed_call_init(&calls[3], 1, true);
    bed_call_start(&bed, &calls[3], 0);
    assert_int_equal(calls[3].db.state, DB_CALL_WAITING);
    bed_permit(&bed, 3);
    finish(&calls[3]);
    assert_true(in_order(2, 1) && in_order(1, 3));
}

static void a_read_never_joins_another_sessions_connection(void **state)
{
    (void)state;
    bed.hold[1] = true;
    bed_call_init(&calls[0], 1, true);
    bed_call_start(&bed, &calls[0], 0);
    wait_held(1);
    for (unsigned i = 1; i < 3; i++) {
        bed_call_init(&calls[i], i == 1 ? 2 : BED_COMMON, true);
        bed_call_start(&bed, &calls[i], 0);
        assert_int_equal(calls[i].db.state, DB_CALL_WAITING);
    }
    bed_permit(&bed, 1);
    for (unsigned i = 0; i < 3; i++)
        finish(&calls[i]);
    assert_int_equal(bed.logins_in_all, 3);
    assert_int_equal(atomic_load(&bed.foreign), 0);
}

static bool reading;

static void read_again(struct bed_call *call)
{
    if (!reading)
        return;
    void (*then)(struct bed_call *) = call->then;
    bed_call_init(call, 1, true);
    call->then = then;
    bed_call_start(&bed, call, 0);
}

/* Reads that join each other without end, each of them short. */
static void a_stream_of_short_reads_starves_nobody(void **state)
{
    (void)state;
    reading = true;
    for (size_t i = 0; i < 4; i++) {
        bed_call_init(&calls[i], 1, true);
        calls[i].then = read_again;
        bed_call_start(&bed, &calls[i], 0);
    }
    turn_for(20000000);
    begin(4, 2);
    int64_t since_ns = calls[4].db.started_ns;
    finish(&calls[4]);
    assert_true(time_monotonic_ns() - since_ns < 30LL * PATIENCE_NS);
    reading = false;
    for (size_t i = 0; i < 4; i++)
        finish(&calls[i]);
}

/* The server answers one at a time, so that there is always another in flight. */
static void nor_does_a_queue_of_them(void **state)
{
    (void)state;
    reading = bed.hold[1] = true;
    for (size_t i = 0; i < 6; i++) {
        bed_call_init(&calls[i], 1, true);
        calls[i].then = read_again;
        bed_call_start(&bed, &calls[i], 0);
    }
    wait_held(1);
    begin(6, 2);
    for (int64_t end = calls[6].db.started_ns + 30LL * PATIENCE_NS; !calls[6].finished;) {
        unsigned held = 1;
        assert_true(time_monotonic_ns() < end);
        if (is_held(&held))
            bed_permit(&bed, 1);
        bed_turn(&bed);
    }
    reading = false;
    bed_permit(&bed, 1000);
    for (size_t i = 0; i < 6; i++)
        finish(&calls[i]);
}

static void no_more_connections_leave_than_are_needed(void **state)
{
    (void)state;
    bed.broker->service.pool.max_connections = bed.service.pool.max_connections = 3;
    bed.hold[1] = true;
    for (size_t i = 0; i < 3; i++)
        begin(i, 1);
    wait_held(3);
    begin(3, 2);
    turn_for(20000000);
    bed_permit(&bed, 3); /* all come free in one turn */
    for (size_t i = 0; i < 4; i++)
        finish(&calls[i]);
    bed.hold[1] = false;
    run(1);
    assert_int_equal(bed.logins[1], 3);
    assert_int_equal(broker_counts(bed.broker).total, 3);
}

static void the_least_recently_used_leaves_whichever_worker_has_it(void **state)
{
    (void)state;
    bed_end(&bed);
    for (size_t first = 0; first < 2; first++) {
        bed_start(&bed, 2, false, 2);
        bed_call_init(&calls[0], 1, false);
        bed_call_start(&bed, &calls[0], first);
        finish(&calls[0]);
        bed_call_init(&calls[0], 2, false);
        bed_call_start(&bed, &calls[0], 1 - first);
        finish(&calls[0]);
        run(3);
        run(2);
        assert_int_equal(bed.logins[2], 1);
        bed_end(&bed);
    }
    bed_start(&bed, 1, false, 1);
}

static void who_has_less_than_its_part_gets_more(void **state)
{
    (void)state;
    bed.broker->service.pool.max_connections = 4;
    bed.service.pool.max_connections = 4;
    bed.hold[1] = bed.hold[2] = true;
    for (size_t i = 0; i < 3; i++)
        begin(i, 1);
    wait_held(3);
    for (size_t i = 3; i < 7; i++)
        begin(i, 2);
    wait_held(4);
    assert_int_equal(bed.logins[2], 1);
    turn_for(PATIENCE_NS + 50000000);
    bed_permit(&bed, 1); /* whichever ends, its place is the second session's then */
    for (int i = 0; i < 10; i++) {
        turn_for(PATIENCE_NS / 4);
        bed_permit(&bed, 1);
    }
    for (size_t i = 0; i < 7; i++)
        finish(&calls[i]);
    assert_true(bed.logins[2] >= 2);
    assert_int_equal(bed.most_open, 4);
}

static void who_has_its_part_takes_nobody_elses(void **state)
{
    (void)state;
    bed.broker->service.pool.max_connections = bed.service.pool.max_connections = 4;
    bed.hold[1] = bed.hold[2] = true;
    for (size_t i = 0; i < 4; i++) {
        begin(i, i < 2 ? 1 : 2);
        wait_held((unsigned)i + 1);
    }
    for (size_t i = 4; i < 24; i++)
        begin(i, i % 2 == 0 ? 1 : 2);
    turn_for(2LL * PATIENCE_NS);
    bed_permit(&bed, 24);
    for (size_t i = 0; i < 24; i++)
        finish(&calls[i]);
    assert_int_equal(bed.logins_in_all, 4);
}

/* ---- Credentials ---- */

static void one_sessions_denial_is_its_own(void **state)
{
    (void)state;
    bed.credentials[1] = BED_DENIED;
    begin(0, 1);
    begin(1, 1);
    run(2);
    finish(&calls[0]);
    finish(&calls[1]);
    assert_ptr_equal(calls[0].error.fault, &bed_denied);
    assert_ptr_equal(calls[1].error.fault, &bed_denied);
    assert_false(broker_counts(bed.broker).failing);
    /* Within the back-off the answer is at hand. */
    begin(0, 1);
    assert_int_not_equal(calls[0].db.state, DB_CALL_WAITING);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &bed_denied);
    run(2);
    assert_int_equal(bed.logins[2], 1);
    bed.credentials[1] = BED_READY;
    turn_for(150000000);
    run(1);
    assert_int_equal(bed.logins[1], 1);
}

static void a_denied_caller_closes_nobodys_connection(void **state)
{
    (void)state;
    bed.credentials[1] = BED_DENIED;
    run(2);
    begin(0, 1);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &bed_denied);
    run(2);
    assert_int_equal(bed.logins[2], 1);
}

static void who_waits_for_credentials_holds_no_place(void **state)
{
    (void)state;
    bed.credentials[1] = bed.credentials[2] = BED_WAIT;
    begin(0, 1);
    begin(1, 2);
    run(3);
    run(4);
    bed.credentials[2] = BED_READY;
    bed_pump(&bed);
    finish(&calls[1]);
    assert_false(calls[0].finished);
    bed.credentials[1] = BED_READY;
    bed_pump(&bed);
    finish(&calls[0]);
    assert_int_equal(bed.logins_in_all, 4);
}

static void nor_does_it_keep_others_from_more_connections(void **state)
{
    (void)state;
    bed.broker->service.pool.max_connections = bed.service.pool.max_connections = 3;
    for (unsigned i = 0; i < 10; i++) {
        bed.credentials[i] = BED_WAIT;
        begin(i, i);
    }
    bed_turn(&bed);
    bed.hold[20] = true;
    for (unsigned i = 10; i < 13; i++)
        begin(i, 20);
    wait_held(3);
    bed_permit(&bed, 3);
    for (unsigned i = 0; i < 10; i++)
        bed.credentials[i] = BED_READY;
    bed_pump(&bed);
    for (unsigned i = 0; i < 13; i++)
        finish(&calls[i]);
    assert_int_equal(bed.most_open, 3);
    assert_int_equal(bed.broker->stalled, 0);
}

/* However long its credentials take: STS may be silent for as long as it likes. */
static void who_left_before_the_credentials_came_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        bed.credentials[i] = BED_WAIT;
        begin(i, i);
    }
    bed_turn(&bed);
    for (unsigned i = 0; i < 10; i++)
        db_call_abandon(&calls[i].db);
    for (unsigned i = 0; i < 10; i++)
        finish(&calls[i]);
    bed_pump(&bed);
    assert_true(is_empty(NULL));
    assert_int_equal(bed.broker->wished, 0);
    assert_int_equal(bed.broker->stalled, 0);
}

/* Each denial is an event of the audit: 0.1 s apart, then 0.2, 0.4, 0.8. */
static void a_denied_caller_who_calls_on_is_asked_about_ever_less(void **state)
{
    int64_t end = time_monotonic_ns() + 2500000000LL;
    (void)state;

    bed.credentials[1] = BED_DENIED;
    while (time_monotonic_ns() < end) {
        begin(0, 1);
        finish(&calls[0]);
        assert_ptr_equal(calls[0].error.fault, &bed_denied);
        turn_for(20000000);
    }
    assert_in_range(bed.denials, 2, 5);
}

static void a_failed_login_is_tried_again_by_its_session_alone(void **state)
{
    (void)state;
    bed.fail_every = 1;
    begin(0, 1);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &db_unreachable);
    assert_true(broker_counts(bed.broker).failing);
    bed.fail_every = 0;
    run(2); /* has no back-off */
    assert_false(broker_counts(bed.broker).failing);
    begin(0, 1);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &db_unreachable);
    turn_for(150000000);
    run(1);
}

static void many_denied_callers_leave_nothing_behind(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        bed.credentials[i] = BED_DENIED;
        begin(i, i);
    }
    for (unsigned i = 0; i < 30; i++)
        finish(&calls[i]);
    assert_true(broker_counts(bed.broker).sessions > 0);
    turn_until(is_empty, NULL);
}

/* ---- Callers who leave ---- */

static void a_caller_who_left_needs_no_login(void **state)
{
    (void)state;
    bed.credentials[1] = BED_WAIT;
    begin(0, 1);
    bed_turn(&bed);
    db_call_abandon(&calls[0].db);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &db_abandoned);
    bed.credentials[1] = BED_READY;
    bed_pump(&bed);
    turn_until(is_empty, NULL);
    assert_int_equal(bed.logins_in_all, 0);
}

static void a_hungry_caller_who_left_costs_nobody_a_connection(void **state)
{
    unsigned one = 1;

    (void)state;
    bed.hold[1] = true;
    begin(0, 1);
    wait_held(1);
    begin(1, 2);
    turn_until(is_hungry, &one);
    turn_for(PATIENCE_NS + 20000000);
    db_call_abandon(&calls[1].db);
    assert_int_equal(bed.broker->hungry_count, 0);
    bed_permit(&bed, 2);
    finish(&calls[0]);
    run(1);
    assert_int_equal(bed.logins[1], 1);
    /* And when it comes again, it is heard again, though its wish is still the old one. */
    run(2);
    assert_int_equal(bed.logins[2], 1);
}

static void a_lost_connection_is_its_sessions_loss(void **state)
{
    (void)state;
    bed.kill[1] = true;
    begin(0, 1);
    begin(1, 2);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, &db_outcome_unknown);
    finish(&calls[1]);
    assert_ptr_equal(calls[1].error.fault, NULL);
}

/* ---- Tokens, and the gateway's own questions ---- */

static void the_newest_token_serves_the_next_login(void **state)
{
    (void)state;
    struct bed_call *call = &calls[0];
    int64_t now_s = time_wall_us() / 1000000;
    bed_call_init(call, 1, false);
    call->session.web_identity_token = VIEW("first");
    call->session.expires_at_s = now_s + 100;
    bed_call_start(&bed, call, 0);
    finish(call);
    assert_string_equal(bed.latest->web_identity_token.data, "first");
    bed_call_init(call, 1, false);
    call->session.web_identity_token = VIEW("older");
    call->session.expires_at_s = now_s + 50;
    bed_call_start(&bed, call, 0);
    finish(call);
    bed_call_init(call, 1, false);
    call->session.web_identity_token = VIEW("second");
    call->session.expires_at_s = now_s + 200;
    bed_call_start(&bed, call, 0);
    finish(call);
    assert_int_equal(bed.logins[1], 1);
    bed.kill[1] = true;
    begin(0, 1);
    finish(call);
    run(1);
    assert_int_equal(bed.logins[1], 2);
    assert_string_equal(bed.latest->web_identity_token.data, "second");
}

static bool has_no_connection(void *arg)
{
    (void)arg;
    return broker_counts(bed.broker).total == 0;
}

static void a_session_ends_with_its_token(void **state)
{
    (void)state;
    bed_call_init(&calls[0], 1, false);
    calls[0].session.web_identity_token = VIEW("short");
    calls[0].session.expires_at_s = time_wall_us() / 1000000 + 2;
    bed_call_start(&bed, &calls[0], 0);
    finish(&calls[0]);
    assert_ptr_equal(calls[0].error.fault, NULL);
    assert_int_equal(broker_counts(bed.broker).idle, 1);
    turn_until(has_no_connection, NULL);
    assert_true(time_wall_us() / 1000000 >= calls[0].session.expires_at_s);
}

static void the_gateways_questions_use_what_is_there(void **state)
{
    (void)state;
    struct bed_call *call = &calls[0];
    bed_call_init(call, BED_COMMON, false);
    call->db.identity.application_name = VIEW("anyone");
    call->db.any_session = true;
    bed_call_start(&bed, call, 0);
    finish(call);
    assert_ptr_equal(call->error.fault, &db_unreachable);
    run(1);
    bed_call_start(&bed, call, 0);
    finish(call);
    assert_ptr_equal(call->error.fault, NULL);
    /* Behind a call that runs, and before one that came later. */
    bed.hold[1] = true;
    begin(1, 1);
    wait_held(1);
    bed_call_start(&bed, call, 0);
    begin(2, 1);
    bed_permit(&bed, 3);
    finish(&calls[2]);
    assert_true(in_order(1, 0) && in_order(0, 2));
    assert_int_equal(bed.logins_in_all, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_idle_connection_leaves_for_another_session),
        TEST(each_has_its_own_while_there_is_room),
        TEST(a_busy_connection_leaves_when_another_has_waited_long),
        TEST(not_so_before_its_patience_ends),
        TEST(nor_before_who_came_earlier),
        TEST(a_shared_connection_is_not_joined_for_ever),
        TEST(a_read_never_joins_another_sessions_connection),
        TEST(a_stream_of_short_reads_starves_nobody),
        TEST(nor_does_a_queue_of_them),
        TEST(no_more_connections_leave_than_are_needed),
        TEST(the_least_recently_used_leaves_whichever_worker_has_it),
        TEST(who_has_less_than_its_part_gets_more),
        TEST(who_has_its_part_takes_nobody_elses),
        TEST(one_sessions_denial_is_its_own),
        TEST(a_denied_caller_closes_nobodys_connection),
        TEST(who_waits_for_credentials_holds_no_place),
        TEST(nor_does_it_keep_others_from_more_connections),
        TEST(who_left_before_the_credentials_came_leaves_nothing),
        TEST(a_denied_caller_who_calls_on_is_asked_about_ever_less),
        TEST(a_failed_login_is_tried_again_by_its_session_alone),
        TEST(many_denied_callers_leave_nothing_behind),
        TEST(a_caller_who_left_needs_no_login),
        TEST(a_hungry_caller_who_left_costs_nobody_a_connection),
        TEST(a_lost_connection_is_its_sessions_loss),
        TEST(the_newest_token_serves_the_next_login),
        TEST(a_session_ends_with_its_token),
        TEST(the_gateways_questions_use_what_is_there),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
