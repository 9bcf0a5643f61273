#include "gateway/worker.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "gateway/http_door.h"
#include "gateway/pipeline.h"
#include "gateway/prepare.h"

enum {
    TICK_MS = 100,
    TOKENS_MAX = 4096, /* verified tokens kept by a worker */
    FLUSH_ROUNDS_MAX = 64,
    /* sql_analyse wants 4 MiB (prepare.c), twice that with the sanitizers' frames.  libuv's own
     * choice is the process's limit, or 2 MiB where there is none. */
    STACK_BYTES = 8 * 1024 * 1024,
};

struct retired_broker {
    struct list link;
    struct broker *broker;
};

static void read_clocks(struct worker *w)
{
    int64_t wall_s = time_wall_us() / 1000000;

    w->now_ns = time_monotonic_ns();
    if (wall_s != w->wall_s) {
        w->wall_s = wall_s;
        http_format_date(wall_s, w->date);
    }
}

/* ---- The end of a turn ---- */

static void each_broker(struct worker *w, void (*visit)(struct broker *b, struct worker *w))
{
    const struct snapshot *s = w->snapshot;

    for (size_t i = 0; s != NULL && i < s->entities.service_count; i++) {
        if (s->services[i].primary != NULL)
            visit(s->services[i].primary, w);
        if (s->services[i].read != NULL)
            visit(s->services[i].read, w);
    }
    LIST_EACH(node, &w->retired)
        visit(LIST_ENTRY(node, struct retired_broker, link)->broker, w);
}

static void fail_unsent(struct broker *b, struct worker *w)
{
    broker_fail_unsent(b, &w->db);
}

/* What was not audited does not reach a database. */
static void refuse_unaudited(struct worker *w, err why)
{
    if (!w->audit_failing)
        log_error("audit_unavailable", "the audit log cannot be written; calls are refused",
                  LOG_STR("reason", why.fault->text));
    w->audit_failing = true;
    atomic_store(&w->gateway->unready_audit, true);
    each_broker(w, fail_unsent);
    while (list_pop_front(&w->database_flush) != NULL)
        continue;
}

static bool write_audit(struct worker *w)
{
    err e = audit_flush(w->audit);

    if (failed(e)) {
        refuse_unaudited(w, e);
        return false;
    }
    if (w->audit_failing) {
        w->audit_failing = false;
        atomic_store(&w->gateway->unready_audit, false);
        log_notice("audit_available", "the audit log can be written again");
    }
    return true;
}

static void end_turn(struct worker *w)
{
    read_clocks(w);
    for (int round = 0; round < FLUSH_ROUNDS_MAX; round++) {
        if (list_is_empty(&w->database_flush) && list_is_empty(&w->client_flush) &&
            audit_pending_bytes(w->audit) == 0)
            return;
        bool audit_ok = write_audit(w);
        stream_flush_all(&w->database_flush);
        /* A connection that broke just now ended its calls: their outcomes before their answers. */
        if (audit_ok && audit_pending_bytes(w->audit) > 0)
            audit_ok = write_audit(w);
        http_door_flush(w, audit_ok);
        if (!audit_ok)
            return; /* what is held back waits for the next tick */
    }
    /* One client sends requests without end: the others' sockets have their turn first. */
    uv_async_send(&w->mailbox.wake);
}

static void on_turn(uv_prepare_t *turn)
{
    end_turn(turn->data);
}

/* ---- Upkeep ---- */

static void tick_broker(struct broker *b, struct worker *w)
{
    broker_tick(b, &w->db, w->now_ns);
}

static void drop_empty_brokers(struct worker *w)
{
    LIST_EACH(node, &w->retired)
    {
        struct retired_broker *r = LIST_ENTRY(node, struct retired_broker, link);
        if (!broker_drain(r->broker, &w->db))
            continue;
        list_unlink(&r->link);
        broker_keep_no_more(r->broker);
        free(r);
    }
}

static void finish(struct worker *w)
{
    w->stopped = true;
    uv_stop(&w->loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *w = timer->data;

    read_clocks(w);
    each_broker(w, tick_broker);
    drop_empty_brokers(w);
    http_door_tick(w);
    for (size_t i = 0; i < w->listener_count; i++)
        listener_resume(&w->listeners[i].listener);
    if (w->prepare != NULL)
        prepare_tick(w->prepare);
    if (w->stopping) {
        http_door_drain(w);
        if (w->calls == 0 && list_is_empty(&w->clients))
            finish(w);
    }
}

/* ---- Letters from the control thread ---- */

struct worker_letter {
    struct letter letter;
    struct worker *worker;
    struct snapshot *snapshot;
    struct broker *broker;
    struct ssl_ctx_st *tls;
};

static struct worker_letter *new_letter(struct worker *w)
{
    struct worker_letter *l = calloc(1, sizeof *l);

    ENSURE(l != NULL);
    l->worker = w;
    list_init(&l->letter.link);
    return l;
}

static void open_snapshot(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);
    struct snapshot *old = l->worker->snapshot;

    l->worker->snapshot = l->snapshot;
    snapshot_release(old);
    if (l->worker->index == 0) {
        prepare_free(l->worker->prepare);
        l->worker->prepare = prepare_new(l->worker, l->snapshot);
    }
    free(l);
}

void worker_set_snapshot(struct worker *w, struct snapshot *s)
{
    struct worker_letter *l = new_letter(w);

    l->snapshot = snapshot_acquire(s);
    mailbox_post(&w->mailbox, &l->letter, open_snapshot);
}

static void open_tls(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);

    tls_context_release(l->worker->tls);
    l->worker->tls = l->tls;
    free(l);
}

void worker_set_tls(struct worker *w, struct ssl_ctx_st *tls)
{
    struct worker_letter *l = new_letter(w);

    l->tls = tls;
    mailbox_post(&w->mailbox, &l->letter, open_tls);
}

static void open_retired(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);
    struct retired_broker *r = malloc(sizeof *r);

    ENSURE(r != NULL);
    r->broker = l->broker;
    list_init(&r->link);
    list_push_back(&l->worker->retired, &r->link);
    free(l);
}

void worker_retire_broker(struct worker *w, struct broker *b)
{
    struct worker_letter *l = new_letter(w);

    l->broker = broker_keep(b);
    mailbox_post(&w->mailbox, &l->letter, open_retired);
}

static void close_listeners(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++)
        listener_close(&w->listeners[i].listener);
    w->listener_count = 0;
}

static void open_quit(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);

    close_listeners(l->worker);
    l->worker->stopping = true;
    free(l);
}

static void open_abandon(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);

    l->worker->abandoning = true;
    http_door_close_all(l->worker);
    free(l);
}

static void open_stop(struct letter *letter)
{
    struct worker_letter *l = CONTAINER_OF(letter, struct worker_letter, letter);

    close_listeners(l->worker);
    http_door_close_all(l->worker);
    finish(l->worker);
    free(l);
}

void worker_quit(struct worker *w)
{
    struct worker_letter *l = new_letter(w);

    mailbox_post(&w->mailbox, &l->letter, open_quit);
}

void worker_abandon(struct worker *w)
{
    struct worker_letter *l = new_letter(w);

    mailbox_post(&w->mailbox, &l->letter, open_abandon);
}

void worker_stop(struct worker *w)
{
    struct worker_letter *l = new_letter(w);

    mailbox_post(&w->mailbox, &l->letter, open_stop);
}

/* ---- Birth, life and end ---- */

static void on_accepted(struct listener *listener, int fd)
{
    struct worker_listener *l = CONTAINER_OF(listener, struct worker_listener, listener);

    http_door_accept(l->worker, fd, l->tls);
}

err worker_init(struct worker *w, struct gateway *g, unsigned index)
{
    *w = (struct worker){.gateway = g, .index = index};
    ENSURE(uv_loop_init(&w->loop) == 0);
    mailbox_init(&w->mailbox, &w->loop);
    ENSURE(uv_prepare_init(&w->loop, &w->turn) == 0);
    ENSURE(uv_timer_init(&w->loop, &w->tick) == 0);
    w->turn.data = w->tick.data = w;
    list_init(&w->database_flush);
    list_init(&w->client_flush);
    list_init(&w->clients);
    list_init(&w->idle_calls);
    list_init(&w->retired);
    w->db = (struct db_worker){&w->loop, &w->mailbox, &w->database_flush, index};
    w->metrics = metrics_shard(g->metrics, index);
    TRY(token_cache_new(TOKENS_MAX, &w->tokens));
    /* Writer 0 is the control thread's. */
    return audit_writer_open(g->audit, index + 1, &w->audit);
}

err worker_reserve(struct worker *w, size_t listeners)
{
    w->listeners = calloc(listeners + 1, sizeof *w->listeners);
    return w->listeners != NULL ? OK : fail(&fault_out_of_memory);
}

err worker_listen(struct worker *w, int fd, bool tls)
{
    size_t n = w->listener_count;
    /* Allocated once for all (worker_reserve), since the poll handles point into it. */
    w->listeners[n] = (struct worker_listener){.worker = w, .tls = tls};
    TRY(listener_start(&w->listeners[n].listener, &w->loop, fd, on_accepted));
    w->listener_count++;
    return OK;
}

static void free_idle_calls(struct worker *w)
{
    for (struct list *node; (node = list_pop_front(&w->idle_calls)) != NULL;) {
        struct call *call = LIST_ENTRY(node, struct call, link);
        arena_clear(&call->arena);
        buf_clear(&call->answer.body);
        free(call);
    }
}

static void close_broker(struct broker *b, struct worker *w)
{
    (void)w;
    broker_close(b);
}

static void stop_broker(struct broker *b, struct worker *w)
{
    broker_stop(b, &w->db);
}

/* After the loop stopped: what is still running ends with its connection. */
static void wind_up(struct worker *w)
{
    close_listeners(w);
    http_door_close_all(w);
    /* From here on no worker starts a call of a client. */
    w->gateway->worker_finished(w);
    uv_barrier_wait(&w->gateway->stopped);
    mailbox_run(&w->mailbox); /* the latest snapshot, what was retired */
    each_broker(w, close_broker);
    /* Now all brokers are closed: nobody waits, nobody sends a connection or a refusal to another
     * worker any more, and what was sent before stands in the mailbox. */
    uv_barrier_wait(&w->gateway->stopped);
    mailbox_run(&w->mailbox);
    each_broker(w, stop_broker);
    mailbox_close(&w->mailbox);
    (void)!failed(audit_flush(w->audit));
    while (!list_is_empty(&w->retired)) {
        struct retired_broker *r =
            LIST_ENTRY(list_pop_front(&w->retired), struct retired_broker, link);
        broker_keep_no_more(r->broker);
        free(r);
    }
    prepare_free(w->prepare);
    token_cache_free(w->tokens);
    snapshot_release(w->snapshot);
    tls_context_release(w->tls);
    free_idle_calls(w);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    /* A SIGTERM that met a graceful end has asked the loop to stop; such a run closes nothing. */
    while (uv_run(&w->loop, UV_RUN_DEFAULT) != 0)
        continue;
    ENSURE(uv_loop_close(&w->loop) == 0);
    audit_writer_close(w->audit);
    free(w->listeners);
    tls_thread_end();
}

static void run(void *arg)
{
    struct worker *w = arg;

    read_clocks(w);
    ENSURE(uv_prepare_start(&w->turn, on_turn) == 0);
    ENSURE(uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS) == 0);
    mailbox_run(&w->mailbox); /* the snapshot and the certificate, before the first client */
    while (!w->stopped)
        uv_run(&w->loop, UV_RUN_DEFAULT);
    wind_up(w);
}

err worker_start(struct worker *w)
{
    const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, STACK_BYTES};

    return uv_thread_create_ex(&w->thread, &options, run, w) == 0 ? OK
                                                                  : fail(&fault_out_of_memory);
}

void worker_join(struct worker *w)
{
    uv_thread_join(&w->thread);
}
