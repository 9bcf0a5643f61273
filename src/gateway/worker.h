/*
 * A worker: one thread, one loop, its own listeners, clients, audit file and token cache.  It
 * shares with the others the brokers, the limiter and the snapshot, and nothing else.
 *
 * A turn of the loop: take what the sockets have; then, before the loop sleeps, write the turn's
 * audit records in one go, then what goes to databases, then what goes to clients.
 */
#ifndef SALLYPORT_GATEWAY_WORKER_H
#define SALLYPORT_GATEWAY_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "audit/log.h"
#include "base/list.h"
#include "base/metrics.h"
#include "database/database.h"
#include "gateway/snapshot.h"
#include "http/http.h"
#include "identity/token_cache.h"
#include "limit/limit.h"
#include "limit/windows.h"
#include "model/node.h"
#include "net/listener.h"
#include "net/mailbox.h"

struct ssl_ctx_st;

/* What all workers share; outlives them. */
struct worker;

struct gateway {
    const struct node_config *node;
    struct audit_log *audit;
    struct metrics *metrics;
    struct limiter *limiter;
    struct window_limiter *windows; /* of the plugin rate-limiting */
    struct metric client_connections;
    struct metric_set *unrouted;  /* answers to requests that no route was found for, by status */
    struct metric_set *decisions; /* denials, by reason */
    struct metric allowed;
    uint8_t boot[5];            /* of request ids */
    atomic_llong clients;       /* open client connections, all workers */
    atomic_bool draining;
    atomic_bool unready_audit;  /* some worker cannot write its audit */
    uv_barrier_t stopped;       /* of all workers and the control thread; passed twice (wind_up) */
    /* On the worker's thread: it has stopped serving and waits at the barrier. */
    void (*worker_finished)(struct worker *w);
};

struct worker_listener {
    struct listener listener;
    struct worker *worker;
    bool tls;
};

struct worker {
    /* Set at birth. */
    struct gateway *gateway;
    unsigned index;
    struct db_worker db;
    struct metrics_shard *metrics;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mailbox;
    /* This thread only. */
    uv_prepare_t turn;
    uv_timer_t tick;
    struct ssl_ctx_st *tls; /* of the HTTP door; NULL: every listen is plain */
    struct audit_writer *audit;
    bool audit_failing;
    struct list database_flush; /* streams */
    struct list client_flush;   /* streams */
    struct list clients;        /* struct http_client */
    struct http_client *flushing; /* NULL when it went away meanwhile */
    struct list idle_calls;     /* struct call, to be used again */
    size_t idle_call_count;
    struct worker_listener *listeners;
    size_t listener_count;
    struct token_cache *tokens;
    struct snapshot *snapshot;
    struct list retired; /* struct retired_broker: closed, not yet empty */
    uint64_t requests;   /* ever: of request ids */
    size_t calls;        /* in flight */
    struct prepare_run *prepare; /* of the snapshot; the first worker's alone */
    struct letter finished;
    int64_t now_ns;      /* of this turn, for timeouts */
    int64_t wall_s;
    char date[HTTP_DATE_BYTES];
    bool stopping;
    bool abandoning; /* of worker_abandon: callers did not leave by themselves */
    bool stopped;
};

/* Makes the loop and its parts; listening sockets are given with worker_listen before the start. */
err worker_init(struct worker *w, struct gateway *g, unsigned index) MUST_USE;
/* Room for so many listening sockets; once, before worker_listen. */
err worker_reserve(struct worker *w, size_t listeners) MUST_USE;
/* Before the start: serves this socket, and owns it. */
err worker_listen(struct worker *w, int fd, bool tls) MUST_USE;
err worker_start(struct worker *w) MUST_USE;

/* From the control thread; each takes effect on the worker's thread. */
void worker_set_snapshot(struct worker *w, struct snapshot *s); /* takes a reference of its own */
/* Takes one reference of the context over. */
void worker_set_tls(struct worker *w, struct ssl_ctx_st *tls);
void worker_retire_broker(struct worker *w, struct broker *b);
/* After worker_quit: closes every client, which cancels what runs for it. */
void worker_abandon(struct worker *w);
void worker_quit(struct worker *w); /* no new connections; ends when the last call is answered */
void worker_stop(struct worker *w); /* ends now */
void worker_join(struct worker *w);

#endif
