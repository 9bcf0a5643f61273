#include "database/broker_internal.h"

#include "base/log.h"
#include "base/time.h"
#include "net/net.h"

/* Under the lock: takes one idle connection that is to go. */
static struct backend *take_stale(struct broker *b, struct broker_worker *at, int64_t now_ns)
{
    int64_t idle_ns = b->service.pool.idle_timeout_ms * NS_PER_MS;

    for (struct list *node = at->idle.prev; node != &at->idle; node = node->prev) {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        bool idle_long = idle_ns > 0 && now_ns - backend->idle_since_ns > idle_ns;
        if (idle_long || broker_is_spent(b, backend, now_ns)) {
            broker_leave_idle(backend);
            return backend;
        }
    }
    return NULL;
}

static void close_stale(struct broker *b, struct broker_worker *at, int64_t now_ns)
{
    for (;;) {
        pthread_mutex_lock(&b->lock);
        struct backend *backend = take_stale(b, at, now_ns);
        pthread_mutex_unlock(&b->lock);
        if (backend == NULL)
            return;
        broker_lose(b, backend);
    }
}

static void refuse_late(struct broker *b, struct db_worker *worker, int64_t now_ns)
{
    int64_t patience_ns = b->service.pool.wait_timeout_ms * NS_PER_MS;

    pthread_mutex_lock(&b->lock);
    LIST_EACH(node, &b->waiters)
    {
        struct db_call *call = LIST_ENTRY(node, struct db_call, link);
        if (call->worker == worker && now_ns - call->started_ns > patience_ns) {
            broker_take_waiter(b, call);
            broker_session_settle(b, call->pooled);
            broker_refuse(call, fail(&db_wait_timeout));
        }
    }
    pthread_mutex_unlock(&b->lock);
}

/* After a failed login, and for sessions that have waited long, nobody else asks for those who
 * still wait. */
static void grow_for_waiters(struct broker *b, int64_t now_ns)
{
    pthread_mutex_lock(&b->lock);
    broker_wish_for_waiters(b, now_ns);
    broker_unlock_and_tell(b);
}

static void end_overdue(struct list *busy, int64_t now_ns)
{
    LIST_EACH(node, busy)
    {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        if (backend_overdue(backend, now_ns)) {
            log_warn("database_silent", "a database did not answer in time; connection closed",
                     LOG_VIEW("service", backend->broker->name),
                     LOG_INT("backend_pid", backend->pid));
            backend_fail(backend, fail(&net_timeout));
        }
    }
}

void broker_tick(struct broker *b, struct db_worker *worker, int64_t now_ns)
{
    struct broker_worker *at = &b->workers[worker->index];

    close_stale(b, at, now_ns);
    refuse_late(b, worker, now_ns);
    grow_for_waiters(b, now_ns);
    end_overdue(&at->shared, now_ns);
    end_overdue(&at->busy, now_ns);
}

bool broker_drain(struct broker *b, struct db_worker *worker)
{
    struct broker_worker *at = &b->workers[worker->index];

    close_stale(b, at, time_monotonic_ns());
    /* Beside the keepers' references there is the maker's; any other is a configuration's. */
    int references = atomic_load(&b->references);
    bool unused = references - atomic_load(&b->keepers) == 1;
    pthread_mutex_lock(&b->lock);
    bool none = b->total + b->wished == 0 && b->waiting == 0;
    pthread_mutex_unlock(&b->lock);
    return unused && none;
}

bool broker_is_over(struct broker *b)
{
    pthread_mutex_lock(&b->lock);
    bool over = b->total + b->wished == 0 && b->waiting == 0 && !b->login_letter_out;
    pthread_mutex_unlock(&b->lock);
    return over && atomic_load(&b->references) == 1;
}

static void end_all(struct list *connections)
{
    while (!list_is_empty(connections))
        backend_fail(LIST_ENTRY(connections->next, struct backend, link), fail(&db_shutdown));
}

void broker_stop(struct broker *b, struct db_worker *worker)
{
    struct broker_worker *at = &b->workers[worker->index];

    close_stale(b, at, time_monotonic_ns());
    end_all(&at->shared);
    end_all(&at->busy);
}

static void fail_unsent(struct list *busy)
{
    LIST_EACH(node, busy)
    {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        if (stream_unsent(&backend->stream) == 0)
            continue;
        /* Several calls in flight: what waits may be the last one's alone. */
        bool nothing_sent = backend->in_flight == 1 && backend->stream.out_at == 0;
        backend_fail(backend, fail(nothing_sent ? &db_unsent : &net_closed));
    }
}

void broker_fail_unsent(struct broker *b, struct db_worker *worker)
{
    struct broker_worker *at = &b->workers[worker->index];

    fail_unsent(&at->shared);
    fail_unsent(&at->busy);
}

struct broker_counts broker_counts(struct broker *b)
{
    struct broker_counts c;

    pthread_mutex_lock(&b->lock);
    /* A wish is shown as the login that it will be, where there is room for it. */
    unsigned most = (unsigned)b->service.pool.max_connections - b->total;
    unsigned wished = b->wished < most ? b->wished : most;
    c = (struct broker_counts){.total = b->total + wished,
                               .pending = b->pending + wished,
                               .waiting = b->waiting,
                               .sessions = (unsigned)b->sessions.count,
                               .failing = b->failures > 0};
    for (size_t i = 0; i < b->worker_count; i++) {
        for (struct list *n = b->workers[i].idle.next; n != &b->workers[i].idle; n = n->next)
            c.idle++;
    }
    pthread_mutex_unlock(&b->lock);
    return c;
}
