/*
 * A broker between calls and a server of our own: each connection is a socket pair, its other end
 * a thread that answers the protocol as far as calls need it, and knows which session the
 * connection was opened for.  It reads the bytes: a call's mark ("caller-07") that arrives on the
 * connection of another session counts as `foreign`.
 */
#ifndef SALLYPORT_TESTS_BROKER_BED_H
#define SALLYPORT_TESTS_BROKER_BED_H

#include <stdatomic.h>

#include "base/arena.h"
#include "database/broker.h"

enum { BED_WORKERS_MAX = 4, BED_SESSIONS = 40, BED_COMMON = BED_SESSIONS - 1 };

enum bed_credentials { BED_READY, BED_WAIT, BED_DENIED };

struct bed_worker {
    struct db_worker db;
    struct list flush_list;
    struct mailbox mailbox;
    uv_loop_t own;
    uv_loop_t *loop;
    uv_prepare_t turn;
    uv_timer_t tick;
    struct bed *bed;
};

struct bed {
    struct service service;
    struct broker *broker;
    struct bed_worker workers[BED_WORKERS_MAX];
    struct db_worker *worker_list[BED_WORKERS_MAX];
    size_t worker_count;
    /* The control thread's. */
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_timer_t again;
    struct list wishes;
    struct list flush_list;
    enum bed_credentials credentials[BED_SESSIONS];
    unsigned logins[BED_SESSIONS];
    unsigned logins_in_all;
    unsigned denials;
    unsigned fail_every; /* each so manieth login fails; 0: none */
    const struct db_session_identity *latest; /* of the latest login */
    /* The server's, any thread. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned held;      /* statements that wait to be let go, of sessions with `hold` */
    unsigned permits;
    bool hold[BED_SESSIONS];
    bool kill[BED_SESSIONS]; /* the next statement of the session loses the connection */
    unsigned open, most_open, threads;
    atomic_uint foreign;
    atomic_uint statements;
};

extern const struct fault bed_denied;

/* One thread for everything when `threads` is false: then the workers' loop is the control's. */
void bed_start(struct bed *bed, size_t workers, bool threads, int64_t max_connections);
/* All connections gone, the broker freed; what is left over fails the test. */
void bed_end(struct bed *bed);
/* One turn of the control's loop. */
void bed_turn(struct bed *bed);
void bed_pump(struct bed *bed);
/* Lets so many held statements go. */
void bed_permit(struct bed *bed, unsigned count);

struct bed_call {
    struct db_call db;
    struct result_sink sink;
    struct db_session_identity session;
    char mark[16];
    unsigned number;
    bool finished;
    err error;
    uint32_t backend_pid;
    unsigned order; /* of its end among all */
    void (*then)(struct bed_call *call);
    void *arg;
};

/* Of the session of that number; BED_COMMON: the service's own. */
void bed_call_init(struct bed_call *call, unsigned session, bool shareable);
void bed_call_start(struct bed *bed, struct bed_call *call, size_t worker);

#endif
