/* Callers of many sessions on several workers, with every accident: nobody's call ever reaches a
 * connection of another's session, the budget holds, every call ends. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/time.h"
#include "broker_bed.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { WORKERS = 3, CALLERS = 24, CALLS = 300, POOL = 5 };

struct caller {
    struct bed_call call;
    size_t worker;
    unsigned session;
    unsigned left; /* calls yet to make */
    unsigned seed;
    uv_timer_t leave, next;
    unsigned ok, refused;
};

static struct bed bed;
static struct caller callers[WORKERS][CALLERS];
static atomic_uint active; /* callers with calls to make, of all workers */
static atomic_uint failures[2];
static uv_async_t done;

static void next_call(struct caller *c);

/* The session of the first callers is denied now and then, that of others waits for a while. */
static enum bed_credentials mood(unsigned session, unsigned *seed)
{
    if (session == 0)
        return BED_DENIED;
    if (session <= 3)
        return (enum bed_credentials)(rand_r(seed) % 3);
    return BED_READY;
}

static void on_ended(struct bed_call *call)
{
    struct caller *c = call->arg;

    if (call->error.fault == NULL)
        c->ok++;
    else if (call->error.fault == &db_unreachable)
        c->left++; /* a login failed: tried again, for it says nothing of who is served */
    else
        c->refused++;
    /* Of the sessions that nothing keeps from their credentials, nobody is denied. */
    if (call->error.fault == &bed_denied && c->session > 3)
        atomic_fetch_add(&failures[0], 1);
    uv_timer_stop(&c->leave);
    next_call(c);
}

static void on_leave(uv_timer_t *timer)
{
    struct caller *c = timer->data;

    if (!c->call.finished)
        db_call_abandon(&c->call.db);
}

static void on_next(uv_timer_t *timer)
{
    struct caller *c = timer->data;
    struct bed_call *call = &c->call;

    bed_call_init(call, c->session, rand_r(&c->seed) % 4 != 0);
    if (rand_r(&c->seed) % 40 == 0) {
        call->db.any_session = true;
        call->db.identity.application_name = VIEW("anyone");
    }
    call->then = on_ended;
    call->arg = c;
    if (rand_r(&c->seed) % 50 == 0) {
        pthread_mutex_lock(&bed.lock);
        bed.kill[c->session] = true;
        pthread_mutex_unlock(&bed.lock);
    }
    bed_call_start(&bed, call, c->worker);
    if (rand_r(&c->seed) % 10 == 0)
        uv_timer_start(&c->leave, on_leave, (unsigned)rand_r(&c->seed) % 20, 0);
}

static void next_call(struct caller *c)
{
    if (c->left == 0) {
        atomic_fetch_sub(&active, 1);
        uv_async_send(&done);
        return;
    }
    c->left--;
    /* From the loop: the call's own memory is used again. */
    uv_timer_start(&c->next, on_next, c->call.error.fault == &db_unreachable ? 5 : 0, 0);
}

static void on_done(uv_async_t *async)
{
    (void)async;
}

static atomic_bool workers_stop;
static uv_async_t stop_work[WORKERS];

static void on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void *work(void *arg)
{
    struct bed_worker *w = arg;

    for (size_t i = 0; i < CALLERS; i++)
        next_call(&callers[w->db.index][i]);
    while (!workers_stop)
        uv_run(w->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void on_mood(uv_timer_t *timer)
{
    static unsigned seed = 11;

    (void)timer;
    for (unsigned i = 0; i < BED_SESSIONS; i++)
        bed.credentials[i] = mood(i, &seed);
    bed_pump(&bed);
}

static void make_callers(void)
{
    for (size_t w = 0; w < WORKERS; w++) {
        for (size_t i = 0; i < CALLERS; i++) {
            /* Some sessions have callers on every worker, some on one; one is the service's. */
            size_t session = i % 3 == 0 ? i / 3 : 10 + (i * WORKERS + w) % 25;
            callers[w][i] = (struct caller){.worker = w,
                                            .session = i == 1 ? BED_COMMON : (unsigned)session,
                                            .left = CALLS,
                                            .seed = (unsigned)(w * 100 + i)};
            uv_timer_init(bed.workers[w].loop, &callers[w][i].leave);
            uv_timer_init(bed.workers[w].loop, &callers[w][i].next);
            callers[w][i].leave.data = callers[w][i].next.data = &callers[w][i];
            atomic_fetch_add(&active, 1);
        }
    }
}

static void nobody_is_served_by_anothers_connection(void **state)
{
    pthread_t threads[WORKERS];
    uv_timer_t timer;
    int64_t end = time_monotonic_ns() + 100 * 1000000000LL;

    (void)state;
    bed_start(&bed, WORKERS, true, POOL);
    bed.fail_every = 29;
    bed.service.pool.wait_timeout_ms = bed.broker->service.pool.wait_timeout_ms = 60000;
    uv_async_init(&bed.loop, &done, on_done);
    uv_timer_init(&bed.loop, &timer);
    uv_timer_start(&timer, on_mood, 0, 7);
    make_callers();
    for (size_t w = 0; w < WORKERS; w++) {
        uv_async_init(bed.workers[w].loop, &stop_work[w], on_stop);
        assert_int_equal(pthread_create(&threads[w], NULL, work, &bed.workers[w]), 0);
    }
    while (atomic_load(&active) > 0) {
        bed_turn(&bed);
        assert_true(time_monotonic_ns() < end);
        struct broker_counts n = broker_counts(bed.broker);
        assert_true(n.total <= POOL);
        assert_true(n.sessions <= CALLERS * WORKERS);
    }
    workers_stop = true;
    for (size_t w = 0; w < WORKERS; w++) {
        uv_async_send(&stop_work[w]);
        assert_int_equal(pthread_join(threads[w], NULL), 0);
    }
    unsigned least = CALLS;
    for (size_t w = 0; w < WORKERS; w++) {
        for (size_t i = 0; i < CALLERS; i++) {
            const struct caller *c = &callers[w][i];
            assert_int_equal(c->ok + c->refused, CALLS);
            if (c->session > 3 && c->ok < least)
                least = c->ok;
            if (c->session == 0)
                assert_true(c->ok <= CALLS / 10); /* any session's connection, at most */
            uv_close((uv_handle_t *)&callers[w][i].leave, NULL);
            uv_close((uv_handle_t *)&callers[w][i].next, NULL);
        }
        uv_close((uv_handle_t *)&stop_work[w], NULL);
    }
    uv_close((uv_handle_t *)&done, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    assert_int_equal(atomic_load(&failures[0]), 0);
    print_message("%u logins, %u statements, at most %u of %d open, the least served caller %u\n",
                  bed.logins_in_all, atomic_load(&bed.statements), bed.most_open, POOL, least);
    assert_true(bed.logins_in_all > 100 && least > CALLS / 3);
    bed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_served_by_anothers_connection),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
