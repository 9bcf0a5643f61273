#include "database/broker_internal.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "net/net.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    ARENA_BLOCK_BYTES = 1024,
    ARENA_MAX_BYTES = 1024 * 1024,
    /* A call joins a shared connection only when the one in front has not been running long:
     * what is slow once is likely to stay so. */
    SHARED_PATIENCE_MS = 20,
    WAITERS_LOOKED_AT = 64,
    /* A read is left to its own worker's connections so long; then whoever can serves it. */
    OWN_PATIENCE_MS = 50,
};

/* ---- Birth and end ---- */

struct broker *broker_new(const struct broker_options *options,
                          const struct strings *database_roles)
{
    struct broker *b =
        calloc(1, sizeof *b + options->worker_count * sizeof(struct broker_worker));

    if (b == NULL)
        return NULL;
    arena_init(&b->arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    b->service = *options->service;
    b->service.routes = NULL;
    b->service.route_count = 0;
    endpoint_copy(&b->arena, &b->endpoint, options->endpoint);
    b->name = b->service.name = arena_copy(&b->arena, options->name);
    b->access = arena_copy(&b->arena, options->access);
    b->database_roles = endpoint_copy_strings(&b->arena, *database_roles);
    b->tls = options->tls;
    b->want_logins = options->want_logins;
    b->want_cancel = options->want_cancel;
    b->arg = options->arg;
    list_init(&b->login_letter.link);
    atomic_init(&b->references, 1);
    ENSURE(pthread_mutex_init(&b->lock, NULL) == 0);
    list_init(&b->waiters);
    b->worker_count = options->worker_count;
    for (size_t i = 0; i < b->worker_count; i++) {
        b->workers[i].worker = options->workers[i];
        list_init(&b->workers[i].idle);
        list_init(&b->workers[i].shared);
        list_init(&b->workers[i].busy);
    }
    return b;
}

struct broker *broker_acquire(struct broker *b)
{
    atomic_fetch_add(&b->references, 1);
    return b;
}

struct broker *broker_keep(struct broker *b)
{
    atomic_fetch_add(&b->keepers, 1);
    return broker_acquire(b);
}

void broker_keep_no_more(struct broker *b)
{
    /* In this order: references less keepers is then never too low for who reads them in it. */
    atomic_fetch_sub(&b->keepers, 1);
    broker_release_reference(b);
}

void broker_release_reference(struct broker *b)
{
    if (b == NULL || atomic_fetch_sub(&b->references, 1) != 1)
        return;
    ENSURE(b->total == 0 && b->waiting == 0);
    tls_context_release(b->tls);
    pthread_mutex_destroy(&b->lock);
    if (b->endpoint.password.data != NULL)
        secret_wipe((char *)(uintptr_t)b->endpoint.password.data, b->endpoint.password.len);
    arena_clear(&b->arena);
    free(b);
}

/* ---- Wanting logins (under the lock; the letter goes out after it) ---- */

bool broker_may_grow(const struct broker *b)
{
    return !b->closing && b->total < (uint64_t)b->service.pool.max_connections;
}

void broker_want_login(struct broker *b)
{
    b->total++;
    b->pending++;
    b->logins_wanted++;
}

/* True when the caller is to call want_logins after it let go of the lock. */
static bool must_tell(struct broker *b)
{
    if (b->logins_wanted == 0 || b->login_letter_out)
        return false;
    b->login_letter_out = true;
    return true;
}

void broker_unlock_and_tell(struct broker *b)
{
    bool tell = must_tell(b);

    pthread_mutex_unlock(&b->lock);
    if (tell)
        b->want_logins(b, b->arg);
}

unsigned broker_take_wanted(struct broker *b, int64_t *not_before_ns)
{
    pthread_mutex_lock(&b->lock);
    unsigned wanted = b->logins_wanted;
    b->logins_wanted = 0;
    b->login_letter_out = false;
    *not_before_ns = b->retry_at_ns;
    pthread_mutex_unlock(&b->lock);
    return wanted;
}

/* ---- Refusing ---- */

static void finish_refused(struct db_call *call, err why)
{
    int64_t now = time_monotonic_ns();
    struct db_outcome outcome = {.error = why, .queue_ns = now - call->started_ns};

    call->state = DB_CALL_FINISHED;
    call->finished(call, &outcome);
}

static void open_refusal(struct letter *letter)
{
    struct db_call *call = CONTAINER_OF(letter, struct db_call, letter);

    finish_refused(call, call->abandoned ? fail(&db_abandoned) : call->refusal);
}

void broker_refuse(struct db_call *call, err why)
{
    call->state = DB_CALL_MOVING;
    call->refusal = why;
    mailbox_post(call->worker->mailbox, &call->letter, open_refusal);
}

void broker_take_waiter(struct broker *b, struct db_call *call)
{
    list_unlink(&call->link);
    b->waiting--;
    atomic_store_explicit(&b->waiting_hint, b->waiting, memory_order_relaxed);
}

/* ---- Moving connections ---- */

static void run_on(struct broker *b, struct backend *backend, struct db_call *call)
{
    struct broker_worker *at = &b->workers[backend->home->index];

    list_unlink(&backend->link);
    list_push_back(call->statement->shareable ? &at->shared : &at->busy, &backend->link);
    backend_run(backend, call);
}

void broker_lose(struct broker *b, struct backend *backend)
{
    pthread_mutex_lock(&b->lock);
    b->total--;
    if (backend->home != NULL)
        b->workers[backend->home->index].connections--;
    if (b->waiting > b->pending && broker_may_grow(b))
        broker_want_login(b);
    broker_unlock_and_tell(b);
    backend_free(backend);
}

/* The connection that was on its way to the call is of no use. */
static void requeue(struct broker *b, struct db_call *call)
{
    if (call->abandoned) {
        finish_refused(call, fail(&db_abandoned));
        return;
    }
    pthread_mutex_lock(&b->lock);
    bool closing = b->closing;
    if (!closing) {
        call->state = DB_CALL_WAITING;
        list_push_front(&b->waiters, &call->link);
        b->waiting++;
        atomic_store_explicit(&b->waiting_hint, b->waiting, memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->lock);
    if (closing) /* who waits there was refused already */
        finish_refused(call, fail(&db_shutdown));
}

static void open_arrival(struct letter *letter)
{
    struct backend *backend = CONTAINER_OF(letter, struct backend, letter);
    struct broker *b = backend->broker;
    struct db_call *call = backend->incoming;
    struct db_worker *worker = backend->home;

    backend->incoming = NULL;
    if (!backend_adopt(backend, worker)) {
        if (call != NULL)
            requeue(b, call);
        broker_lose(b, backend);
        return;
    }
    if (call == NULL) {
        broker_release(b, backend);
    } else if (call->abandoned) {
        finish_refused(call, fail(&db_abandoned));
        broker_release(b, backend);
    } else {
        run_on(b, backend, call);
    }
}

/* Sends a connection that is on no loop to a worker. */
static void send_to(struct broker *b, struct backend *backend, struct db_worker *worker,
                    struct db_call *call)
{
    (void)b;
    backend->home = worker;
    backend->state = BACKEND_MOVING;
    backend->incoming = call;
    mailbox_post(worker->mailbox, &backend->letter, open_arrival);
}

static void leave_home(struct backend *backend)
{
    stream_want_read(&backend->stream, false);
    stream_detach(&backend->stream);
    backend->state = BACKEND_MOVING;
}

bool broker_is_spent(const struct broker *b, const struct backend *backend, int64_t now_ns)
{
    int64_t lifetime = b->service.pool.max_lifetime_ms;

    return b->closing || (b->retired && b->waiting == 0) ||
           (lifetime > 0 && now_ns - backend->born_ns > lifetime * NS_PER_MS);
}

/*
 * Under the lock: whom a connection of this worker is to serve next; NULL: nobody.
 *
 * First come, first served, but for one thing: a read that waits on another worker, which has
 * connections of its own to run it on, is left to them, since a connection that changes workers
 * for every call costs more than it serves; but not for long, since those may all be busy with
 * something slow while this worker's load never ends.  With `behind`, the call would run behind
 * others: then only a shareable call of this worker serves, and none that came after one that
 * cannot be.
 */
static struct db_call *next_waiter(struct broker *b, const struct broker_worker *at, bool behind,
                                   int64_t now_ns)
{
    unsigned seen = 0;

    LIST_EACH(node, &b->waiters)
    {
        struct db_call *call = LIST_ENTRY(node, struct db_call, link);
        bool own = call->worker == at->worker;
        bool shareable = call->statement->shareable;
        if (own)
            return behind && !shareable ? NULL : call;
        bool patient = now_ns - call->started_ns <= (int64_t)OWN_PATIENCE_MS * NS_PER_MS;
        if (!shareable || !patient || b->workers[call->worker->index].connections == 0)
            return behind ? NULL : call;
        if (++seen == WAITERS_LOOKED_AT)
            break;
    }
    return behind || list_is_empty(&b->waiters)
               ? NULL
               : LIST_ENTRY(b->waiters.next, struct db_call, link);
}

static bool may_join(const struct broker *b, const struct backend *backend, int64_t now_ns)
{
    if (backend->state != BACKEND_BUSY || backend->exclusive || backend->doomed ||
        backend->cleaning > 0 ||
        backend->in_flight >= (uint64_t)b->service.pool.shared_depth ||
        list_is_empty(&backend->calls))
        return false;
    const struct db_call *head = LIST_ENTRY(backend->calls.next, struct db_call, link);
    return now_ns - head->running_ns <= (int64_t)SHARED_PATIENCE_MS * NS_PER_MS;
}

void broker_refill(struct broker *b, struct backend *backend)
{
    struct broker_worker *at = &b->workers[backend->home->index];
    int64_t now = time_monotonic_ns();

    while (atomic_load_explicit(&b->waiting_hint, memory_order_relaxed) > 0 &&
           may_join(b, backend, now)) {
        pthread_mutex_lock(&b->lock);
        struct db_call *call = b->closing ? NULL : next_waiter(b, at, true, now);
        if (call != NULL) {
            broker_take_waiter(b, call);
            call->state = DB_CALL_MOVING;
        }
        pthread_mutex_unlock(&b->lock);
        if (call == NULL)
            return;
        backend_run(backend, call);
    }
}

void broker_release(struct broker *b, struct backend *backend)
{
    struct broker_worker *at = &b->workers[backend->home->index];
    struct db_call *call = NULL;
    int64_t now = time_monotonic_ns();

    backend->state = BACKEND_IDLE;
    backend->exclusive = false;
    list_unlink(&backend->link);
    pthread_mutex_lock(&b->lock);
    if (broker_is_spent(b, backend, now)) {
        pthread_mutex_unlock(&b->lock);
        broker_lose(b, backend);
        return;
    }
    call = next_waiter(b, at, false, now);
    if (call != NULL) {
        broker_take_waiter(b, call);
        call->state = DB_CALL_MOVING;
        if (call->worker != at->worker) {
            at->connections--;
            b->workers[call->worker->index].connections++;
        }
    } else {
        list_push_front(&at->idle, &backend->link);
        backend->in_idle_list = true;
        backend->idle_since_ns = now;
    }
    pthread_mutex_unlock(&b->lock);
    if (call == NULL)
        return;
    if (call->worker == at->worker) {
        run_on(b, backend, call);
        broker_refill(b, backend);
    } else {
        leave_home(backend);
        send_to(b, backend, call->worker, call);
    }
}

void broker_unlist(struct broker *b, struct backend *backend)
{
    pthread_mutex_lock(&b->lock);
    list_unlink(&backend->link);
    backend->in_idle_list = false;
    pthread_mutex_unlock(&b->lock);
}

static void open_farewell(struct letter *letter)
{
    struct backend *backend = CONTAINER_OF(letter, struct backend, letter);

    broker_lose(backend->broker, backend);
}

void broker_forget(struct broker *b, struct backend *backend)
{
    /* Asked for by another worker just now: that letter finds it dead (open_request). */
    if (backend->asked_for)
        return;
    /* Not at once: the caller may stand in one of its callbacks. */
    (void)b;
    stream_close(&backend->stream);
    mailbox_post(backend->home->mailbox, &backend->letter, open_farewell);
}

/* At the home of an idle connection that another worker needs: to whoever waits longest now. */
static void open_request(struct letter *letter)
{
    struct backend *backend = CONTAINER_OF(letter, struct backend, letter);
    struct broker *b = backend->broker;

    pthread_mutex_lock(&b->lock);
    b->asked--;
    pthread_mutex_unlock(&b->lock);
    backend->asked_for = false;
    if (backend->state == BACKEND_DEAD)
        broker_lose(backend->broker, backend);
    else
        broker_release(backend->broker, backend);
}

/* Under the lock: takes an idle connection of any other worker and asks its home for it. */
static bool ask_for_idle(struct broker *b, const struct db_worker *worker)
{
    for (size_t i = 0; i < b->worker_count; i++) {
        struct broker_worker *at = &b->workers[i];
        if (at->worker == worker || list_is_empty(&at->idle))
            continue;
        struct backend *backend = LIST_ENTRY(list_pop_front(&at->idle), struct backend, link);
        backend->in_idle_list = false;
        backend->asked_for = true;
        b->asked++;
        mailbox_post(at->worker->mailbox, &backend->letter, open_request);
        return true;
    }
    return false;
}

/* ---- Calls ---- */

static struct backend *pick_shared(struct broker *b, struct broker_worker *at, int64_t now_ns)
{
    struct backend *best = NULL;

    LIST_EACH(node, &at->shared)
    {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        if (may_join(b, backend, now_ns) && (best == NULL || backend->in_flight < best->in_flight))
            best = backend;
    }
    return best;
}

void db_call_start(struct db_call *call, struct broker *b, struct db_worker *worker)
{
    struct broker_worker *at = &b->workers[worker->index];
    struct backend *backend = NULL;

    call->worker = worker;
    call->broker = b;
    call->backend = NULL;
    call->prepared = NULL;
    call->healed = call->abandoned = false;
    list_init(&call->link);
    list_init(&call->letter.link);
    call->started_ns = time_monotonic_ns();
    pthread_mutex_lock(&b->lock);
    if (!list_is_empty(&at->idle)) {
        backend = LIST_ENTRY(list_pop_front(&at->idle), struct backend, link);
        backend->in_idle_list = false;
    } else if (call->statement->shareable && b->waiting == 0 &&
               (backend = pick_shared(b, at, call->started_ns)) != NULL) {
        /* Served at once; but a connection more would serve better. */
        if (b->pending == 0 && broker_may_grow(b) && call->started_ns >= b->retry_at_ns)
            broker_want_login(b);
    }
    if (backend != NULL) {
        broker_unlock_and_tell(b);
        run_on(b, backend, call);
        return;
    }
    bool hopeless = b->total == b->pending && b->failures > 0 && call->started_ns < b->retry_at_ns;
    /* Who waits only until an idle connection comes over from another worker fills no place. */
    bool full = b->waiting >= (uint64_t)b->service.pool.max_waiting + b->asked;
    if (b->closing || hopeless || full) {
        pthread_mutex_unlock(&b->lock);
        broker_refuse(call, fail(b->closing ? &db_shutdown
                                 : hopeless ? &db_unreachable
                                            : &db_pool_full));
        return;
    }
    call->state = DB_CALL_WAITING;
    list_push_back(&b->waiters, &call->link);
    b->waiting++;
    atomic_store_explicit(&b->waiting_hint, b->waiting, memory_order_relaxed);
    if (!ask_for_idle(b, worker) && b->pending < b->waiting && broker_may_grow(b))
        broker_want_login(b);
    broker_unlock_and_tell(b);
}

void db_call_abandon(struct db_call *call)
{
    struct broker *b = call->broker;

    call->abandoned = true;
    pthread_mutex_lock(&b->lock);
    /* Under the lock: another worker may be taking it out of the queue just now. */
    bool waiting = call->state == DB_CALL_WAITING;
    if (waiting)
        broker_take_waiter(b, call);
    pthread_mutex_unlock(&b->lock);
    if (waiting)
        broker_refuse(call, fail(&db_abandoned));
    else if (call->state == DB_CALL_RUNNING && !call->statement->shareable)
        backend_cancel(call->backend);
}

/* ---- The control thread ---- */

/* Under the lock: nobody is left who could serve them. */
static void refuse_all(struct broker *b, err why)
{
    while (!list_is_empty(&b->waiters)) {
        struct db_call *call = LIST_ENTRY(b->waiters.next, struct db_call, link);
        broker_take_waiter(b, call);
        broker_refuse(call, why);
    }
}

static void note_failure(struct broker *b)
{
    int64_t now = time_monotonic_ns();
    int64_t wait_ms = RETRY_FIRST_MS;

    for (unsigned i = 0; i < b->failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    b->failures++;
    if (b->failing_since_ns == 0)
        b->failing_since_ns = now;
    b->retry_at_ns = now + (wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS) * NS_PER_MS;
}

static struct broker_worker *least_supplied(struct broker *b)
{
    struct broker_worker *best = &b->workers[0];

    for (size_t i = 1; i < b->worker_count; i++) {
        if (b->workers[i].connections < best->connections)
            best = &b->workers[i];
    }
    return best;
}

void broker_login_done(struct broker *b, struct backend *backend)
{
    struct db_call *call = NULL;
    struct db_worker *worker = NULL;

    pthread_mutex_lock(&b->lock);
    b->pending--;
    if (backend == NULL) {
        b->total--;
        note_failure(b);
        if (b->total == 0)
            refuse_all(b, fail(&db_unreachable));
        pthread_mutex_unlock(&b->lock);
        return;
    }
    b->failures = 0;
    b->failing_since_ns = b->retry_at_ns = 0;
    if (!list_is_empty(&b->waiters)) {
        call = LIST_ENTRY(b->waiters.next, struct db_call, link);
        broker_take_waiter(b, call);
        call->state = DB_CALL_MOVING;
        worker = call->worker;
    } else {
        worker = least_supplied(b)->worker;
    }
    b->workers[worker->index].connections++;
    backend->broker = b;
    pthread_mutex_unlock(&b->lock);
    send_to(b, backend, worker, call);
}

void broker_retire(struct broker *b)
{
    pthread_mutex_lock(&b->lock);
    b->retired = true;
    pthread_mutex_unlock(&b->lock);
}

void broker_close(struct broker *b)
{
    pthread_mutex_lock(&b->lock);
    b->closing = true;
    refuse_all(b, fail(&db_shutdown));
    pthread_mutex_unlock(&b->lock);
}
