#include "database/broker_internal.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "net/net.h"

enum {
    ARENA_BLOCK_BYTES = 1024,
    ARENA_MAX_BYTES = 4 * 1024 * 1024, /* of all its logins, of which each may take 60 KB */
    /* A call joins a shared connection only when the one in front has not been running long:
     * what is slow once is likely to stay so. */
    SHARED_PATIENCE_MS = 20,
    WAITERS_LOOKED_AT = 64,
    /* A read is left to its own worker's connections so long; then whoever can serves it. */
    OWN_PATIENCE_MS = 50,
};

/* ---- Birth and end ---- */

/* Whether all was copied.  What is left out for want of memory, as a session policy, could let
 * logins have more than was written. */
static bool is_whole(const struct broker *b, const struct broker_options *options,
                     const struct strings *database_roles)
{
    struct service service = b->service;

    service.name = options->name;
    return b->login != NULL && broker_matches(b, &service, options->endpoint, database_roles);
}

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
    b->login = ARENA_ARRAY(&b->arena, 1, struct broker_login);
    if (b->login != NULL)
        *b->login = (struct broker_login){.endpoint = b->endpoint, .number = 1};
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
    broker_session_init(&b->common, true);
    broker_session_init(&b->anyone, false);
    map_init(&b->sessions);
    list_init(&b->wishing);
    list_init(&b->hungry);
    list_init(&b->resting);
    b->worker_count = options->worker_count;
    for (size_t i = 0; i < b->worker_count; i++) {
        b->workers[i].worker = options->workers[i];
        list_init(&b->workers[i].idle);
        list_init(&b->workers[i].shared);
        list_init(&b->workers[i].busy);
    }
    if (is_whole(b, options, database_roles))
        return b;
    b->tls = NULL; /* still its maker's */
    broker_release_reference(b);
    return NULL;
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
    broker_sessions_free(b);
    tls_context_release(b->tls);
    pthread_mutex_destroy(&b->lock);
    arena_clear_secure(&b->arena); /* the passwords of its logins */
    free(b);
}

/* ---- What the control thread has to know (the letter goes out after the lock) ---- */

/* True when the caller is to call want_logins after it let go of the lock. */
static bool must_tell(struct broker *b)
{
    if ((list_is_empty(&b->wishing) && !b->room) || b->login_letter_out)
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

static void add_waiter(struct broker *b, struct db_call *call, bool in_front)
{
    struct db_session *s = call->pooled;

    call->state = DB_CALL_WAITING;
    if (in_front) {
        list_push_front(&b->waiters, &call->link);
        list_push_front(&s->waiters, &call->session_link);
    } else {
        list_push_back(&b->waiters, &call->link);
        list_push_back(&s->waiters, &call->session_link);
    }
    s->waiting++;
    b->waiting++;
    atomic_store_explicit(&b->waiting_hint, b->waiting, memory_order_relaxed);
}

void broker_take_waiter(struct broker *b, struct db_call *call)
{
    struct db_session *s = call->pooled;

    list_unlink(&call->link);
    list_unlink(&call->session_link);
    b->waiting--;
    atomic_store_explicit(&b->waiting_hint, b->waiting, memory_order_relaxed);
    if (--s->waiting > 0 || list_is_empty(&s->hungry_link))
        return;
    list_unlink(&s->hungry_link);
    b->hungry_count--;
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
    struct db_session *s = backend->session;
    const size_t home = backend->home->index;
    const bool left = backend->leaving;
    int64_t now = time_monotonic_ns();

    /* First: whoever gets its place must find it free at the server too. */
    backend_free(backend);
    pthread_mutex_lock(&b->lock);
    s->connections--;
    b->leaving -= left;
    b->workers[home].connections -= s->common;
    broker_note_less(b);
    broker_wish(b, s, now);
    broker_session_settle(b, s); /* may free it, as may what follows */
    broker_wish_for_waiters(b, now);
    broker_unlock_and_tell(b);
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
    if (!closing)
        add_waiter(b, call, true);
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

void broker_send(struct backend *backend, struct db_worker *worker, struct db_call *call)
{
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

/* Under the lock: only what runs on it ends there. */
static bool is_outdated(const struct broker *b, const struct backend *backend, int64_t now_ns)
{
    int64_t lifetime = b->service.pool.max_lifetime_ms;

    return backend->login_number < b->proven ||
           (lifetime > 0 && now_ns - backend->born_ns > lifetime * NS_PER_MS) ||
           broker_session_ended(backend->session);
}

bool broker_is_spent(const struct broker *b, const struct backend *backend, int64_t now_ns)
{
    return b->closing || (b->retired && b->waiting == 0) || is_outdated(b, backend, now_ns);
}

/* Whether the calls of the session may run on the connection. */
static bool serves(const struct broker *b, const struct backend *backend,
                   const struct db_session *s)
{
    return backend->session == s || s == &b->anyone;
}

/*
 * Under the lock: which of the session's waiters a connection of this worker is to serve next.
 *
 * First come, first served, but for one thing: a read that waits on another worker, which has
 * connections of its own to run it on, is left to them, since a connection that changes workers
 * for every call costs more than it serves; but not for long, since those may all be busy with
 * something slow while this worker's load never ends.  With `behind`, the call would run behind
 * others: then only a shareable call of this worker serves, and none that came after one that
 * cannot be.
 */
static struct db_call *next_of(const struct broker *b, const struct broker_worker *at,
                               struct db_session *s, bool behind, int64_t now_ns)
{
    unsigned seen = 0;

    LIST_EACH(node, &s->waiters)
    {
        struct db_call *call = LIST_ENTRY(node, struct db_call, session_link);
        bool own = call->worker == at->worker;
        bool shareable = call->statement->shareable;
        if (own)
            return behind && !shareable ? NULL : call;
        bool patient = now_ns - call->started_ns <= (int64_t)OWN_PATIENCE_MS * NS_PER_MS;
        if (!s->common || !shareable || !patient ||
            b->workers[call->worker->index].connections == 0)
            return behind ? NULL : call;
        if (++seen == WAITERS_LOOKED_AT)
            break;
    }
    return behind || list_is_empty(&s->waiters)
               ? NULL
               : LIST_ENTRY(s->waiters.next, struct db_call, session_link);
}

/* Under the lock: whom the connection is to serve next: of its session's waiters, or of those whom
 * any serves, who came first; NULL: nobody. */
static struct db_call *next_waiter(struct broker *b, const struct backend *backend, bool behind,
                                   int64_t now_ns)
{
    const struct broker_worker *at = &b->workers[backend->home->index];
    struct db_call *own = next_of(b, at, backend->session, behind, now_ns);

    if (b->anyone.waiting == 0)
        return own;
    struct db_call *other = next_of(b, at, &b->anyone, behind, now_ns);
    return own == NULL || (other != NULL && other->started_ns < own->started_ns) ? other : own;
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
    int64_t now = time_monotonic_ns();

    while (atomic_load_explicit(&b->waiting_hint, memory_order_relaxed) > 0 &&
           may_join(b, backend, now)) {
        pthread_mutex_lock(&b->lock);
        /* Or it would never come free, and so never leave, as long as the load goes on. */
        bool ends = b->closing || is_outdated(b, backend, now);
        struct db_call *call = ends ? NULL : next_waiter(b, backend, true, now);
        if (call != NULL && broker_owes(b, backend->session, call, now))
            call = NULL;
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
    call = next_waiter(b, backend, false, now);
    if (broker_owes(b, backend->session, call, now)) {
        backend->leaving = true;
        b->leaving++;
        pthread_mutex_unlock(&b->lock);
        broker_lose(b, backend);
        return;
    }
    if (call != NULL) {
        broker_take_waiter(b, call);
        call->state = DB_CALL_MOVING;
        if (call->worker != at->worker && backend->session->common) {
            at->connections--;
            b->workers[call->worker->index].connections++;
        }
    } else {
        list_push_front(&at->idle, &backend->link);
        backend->in_idle_list = true;
        backend->session->idle++;
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
        broker_send(backend, call->worker, call);
    }
}

void broker_leave_idle(struct backend *backend)
{
    list_unlink(&backend->link);
    backend->in_idle_list = false;
    backend->session->idle--;
}

void broker_unlist(struct broker *b, struct backend *backend)
{
    pthread_mutex_lock(&b->lock);
    if (backend->in_idle_list)
        broker_leave_idle(backend);
    list_unlink(&backend->link);
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

/* At the home of an idle connection that somebody needs: to whoever waits longest now, or away. */
static void open_request(struct letter *letter)
{
    struct backend *backend = CONTAINER_OF(letter, struct backend, letter);
    struct broker *b = backend->broker;

    pthread_mutex_lock(&b->lock);
    b->asked -= !backend->leaving;
    pthread_mutex_unlock(&b->lock);
    backend->asked_for = false;
    if (backend->state == BACKEND_DEAD || backend->leaving)
        broker_lose(b, backend);
    else
        broker_release(b, backend);
}

void broker_ask_home(struct broker *b, struct backend *backend, bool leaving)
{
    backend->asked_for = true;
    backend->leaving = leaving;
    b->asked += !leaving;
    mailbox_post(backend->home->mailbox, &backend->letter, open_request);
}

/* Under the lock: off the worker's idle list, the one used last that serves the session. */
static struct backend *take_idle(const struct broker *b, struct broker_worker *at,
                                 const struct db_session *s)
{
    if (s->idle == 0 && s != &b->anyone)
        return NULL;
    LIST_EACH(node, &at->idle)
    {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        if (!serves(b, backend, s))
            continue;
        broker_leave_idle(backend);
        return backend;
    }
    return NULL;
}

/* Under the lock: takes an idle connection of any other worker and asks its home for it. */
static bool ask_for_idle(struct broker *b, const struct db_session *s,
                         const struct db_worker *worker)
{
    for (size_t i = 0; i < b->worker_count; i++) {
        struct broker_worker *at = &b->workers[i];
        struct backend *backend = at->worker == worker ? NULL : take_idle(b, at, s);
        if (backend == NULL)
            continue;
        broker_ask_home(b, backend, false);
        return true;
    }
    return false;
}

/* ---- Calls ---- */

static struct backend *pick_shared(struct broker *b, struct broker_worker *at,
                                   const struct db_session *s, int64_t now_ns)
{
    struct backend *best = NULL;

    LIST_EACH(node, &at->shared)
    {
        struct backend *backend = LIST_ENTRY(node, struct backend, link);
        if (serves(b, backend, s) && may_join(b, backend, now_ns) &&
            !is_outdated(b, backend, now_ns) &&
            (best == NULL || backend->in_flight < best->in_flight))
            best = backend;
    }
    return best;
}

/* Under the lock: a connection that can serve the call now; NULL: it has to wait. */
static struct backend *serve_now(struct broker *b, struct db_call *call)
{
    struct broker_worker *at = &b->workers[call->worker->index];
    struct db_session *s = call->pooled;
    int64_t now_ns = call->started_ns;
    struct backend *backend = take_idle(b, at, s);

    if (backend != NULL || !call->statement->shareable || s->waiting + b->anyone.waiting > 0 ||
        broker_owes(b, s, call, now_ns))
        return backend;
    backend = pick_shared(b, at, s, now_ns);
    /* Served at once; but a connection more would serve better. */
    if (backend != NULL)
        broker_wish_beyond(b, s, now_ns);
    return backend;
}

/* Under the lock: why the call may not even wait; OK: it may. */
static err refusal(const struct broker *b, const struct db_call *call)
{
    const struct db_session *s = call->pooled;

    if (b->closing)
        return fail(&db_shutdown);
    if (s == NULL)
        return fail(&fault_out_of_memory);
    if (s == &b->anyone)
        return b->total == b->pending ? fail(&db_unreachable) : OK;
    if (s->connections == 0 && s->failures > 0 && call->started_ns < s->retry_at_ns)
        return s->failure;
    /* Who waits only until an idle connection comes over from another worker fills no place. */
    return b->waiting >= (uint64_t)b->service.pool.max_waiting + b->asked ? fail(&db_pool_full)
                                                                          : OK;
}

void db_call_start(struct db_call *call, struct broker *b, struct db_worker *worker)
{
    struct backend *backend = NULL;

    call->worker = worker;
    call->broker = b;
    call->backend = NULL;
    call->prepared = NULL;
    call->healed = call->abandoned = false;
    list_init(&call->link);
    list_init(&call->session_link);
    list_init(&call->letter.link);
    call->started_ns = time_monotonic_ns();
    pthread_mutex_lock(&b->lock);
    call->pooled = broker_session_of(b, call);
    if (call->pooled != NULL)
        backend = serve_now(b, call);
    if (backend != NULL) {
        broker_unlock_and_tell(b);
        run_on(b, backend, call);
        return;
    }
    err why = refusal(b, call);
    if (failed(why)) {
        if (call->pooled != NULL)
            broker_session_settle(b, call->pooled);
        pthread_mutex_unlock(&b->lock);
        broker_refuse(call, why);
        return;
    }
    add_waiter(b, call, false);
    if (!ask_for_idle(b, call->pooled, worker))
        broker_wish(b, call->pooled, call->started_ns);
    broker_unlock_and_tell(b);
}

void db_call_abandon(struct db_call *call)
{
    struct broker *b = call->broker;

    call->abandoned = true;
    pthread_mutex_lock(&b->lock);
    /* Under the lock: another worker may be taking it out of the queue just now. */
    bool waiting = call->state == DB_CALL_WAITING;
    if (waiting) {
        broker_take_waiter(b, call);
        broker_session_settle(b, call->pooled);
    }
    pthread_mutex_unlock(&b->lock);
    if (waiting)
        broker_refuse(call, fail(&db_abandoned));
    else if (call->state == DB_CALL_RUNNING && !call->statement->shareable)
        backend_cancel(call->backend);
}

/* ---- The end ---- */

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
    while (!list_is_empty(&b->waiters)) {
        struct db_session *s = LIST_ENTRY(b->waiters.next, struct db_call, link)->pooled;
        broker_refuse_waiters(b, s, fail(&db_shutdown));
        broker_session_settle(b, s);
    }
    pthread_mutex_unlock(&b->lock);
}
