/*
 * The broker of one endpoint: its budget of connections, who waits for one, which are idle.
 *
 * One lock; under it only list moves.  Waiters are served first come, first served, over all
 * workers (but for reads that their own worker's connections will serve, see next_waiter).  An idle
 * connection stays on the loop of the worker that used it last; another worker that needs it asks,
 * and its home hands it over (stream and statement cache together).
 *
 * A short read may run behind others on a connection of its own worker, up to shared_depth deep,
 * when no connection is idle; but never while anybody waits, so that waiting ends.
 */
#ifndef SALLYPORT_DATABASE_BROKER_H
#define SALLYPORT_DATABASE_BROKER_H

#include <pthread.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "database/backend.h"
#include "database/database.h"
#include "database/endpoint.h"
#include "model/entities.h"

struct ssl_ctx_st;

struct broker_worker {
    struct db_worker *worker;
    /* Under the broker's lock. */
    struct list idle;   /* struct backend, most recently used first */
    unsigned connections;
    /* This worker only. */
    struct list shared; /* busy with shareable calls only */
    struct list busy;   /* every other busy one */
};

/* The wish to cancel what runs on a backend, on its way to the control thread and back.  Made by
 * the backend's worker; after `cancel_ended` was posted to that worker it frees itself. */
struct cancel_job {
    /* Set at birth. */
    struct letter letter;
    struct broker *broker; /* a reference */
    struct db_worker *worker;
    struct sockaddr_in6 address; /* of either family: the one the backend is connected to */
    uint32_t pid;
    uint32_t key;
    /* The worker's thread only. */
    struct backend *backend; /* NULL: it ended meanwhile */
    /* The control thread only, until it posts the end. */
    struct list link;
    struct cancel *cancel;
    bool sent;
};

/* Posts the job back to its worker. */
void cancel_job_ended(struct cancel_job *job, bool sent);

struct broker_options {
    struct view name;   /* the service's */
    struct view access; /* "primary" or "read" */
    const struct service *service;
    const struct endpoint *endpoint;
    struct ssl_ctx_st *tls; /* owned by the broker from then on; NULL for sslmode disable */
    struct db_worker *const *workers;
    size_t worker_count;
    /* Asks the control thread for broker->logins_wanted more connections.  Any thread, under no
     * lock; the control thread answers each with broker_login_done. */
    void (*want_logins)(struct broker *b, void *arg);
    /* Asks the control thread to send a CancelRequest; cancel_job_ended answers.  Any thread. */
    void (*want_cancel)(struct cancel_job *job, void *arg);
    void *arg;
};

struct broker {
    /* Set at birth. */
    struct arena arena; /* of copied configuration */
    struct service service;   /* limits, as they were when the broker was made */
    struct endpoint endpoint;
    struct view name;
    struct view access;
    struct ssl_ctx_st *tls;
    struct strings database_roles; /* that the login may have */
    void (*want_logins)(struct broker *b, void *arg);
    void (*want_cancel)(struct cancel_job *job, void *arg);
    void *arg;
    struct letter login_letter; /* for want_logins */
    /* Any thread. */
    atomic_int references;
    atomic_int keepers; /* of them: its retirement's own, one a worker */
    atomic_uint waiting_hint; /* waiters, to be read without the lock */
    /* Any thread, under the lock. */
    pthread_mutex_t lock;
    struct list waiters; /* struct db_call */
    unsigned waiting;
    unsigned total;   /* connections and logins under way */
    unsigned pending; /* logins under way */
    unsigned asked;   /* idle connections that their home was asked for: each serves one waiter */
    unsigned logins_wanted;
    bool login_letter_out;
    int64_t failing_since_ns; /* of logins; 0: the last one succeeded */
    unsigned failures;
    int64_t retry_at_ns; /* no login before */
    bool closing;
    bool retired;
    size_t worker_count;
    struct broker_worker workers[];
};

/* Copies what it needs of the configuration, takes options->tls.  One reference.  NULL without
 * memory. */
struct broker *broker_new(const struct broker_options *options, const struct strings *database_roles);
struct broker *broker_acquire(struct broker *b);
void broker_release_reference(struct broker *b);
/* Whether a broker made from these would be the same. */
bool broker_matches(const struct broker *b, const struct service *service,
                    const struct endpoint *endpoint, const struct strings *database_roles);
/* No new calls; idle connections are closed by each worker's next broker_tick, the others when
 * they come back. */
void broker_close(struct broker *b);
/* The configuration does without it from now on, but calls that began under an older one are still
 * served: those that wait and those yet to come.  Nothing else keeps a connection open. */
void broker_retire(struct broker *b);
/* One reference for each worker to keep while it sees the retired broker out (broker_drain). */
struct broker *broker_keep(struct broker *b);
void broker_keep_no_more(struct broker *b);
/* Whether nobody but its maker has a reference of it, nor anything an errand to it. */
bool broker_is_over(struct broker *b);

/* On a worker: closes what is idle too long or too old, refuses calls that waited too long, ends
 * connections whose server does not answer. */
void broker_tick(struct broker *b, struct db_worker *worker, int64_t now_ns);
/* On a worker: closes its idle connections of a retired broker; true when no connection is left
 * anywhere, no login under way, and no older configuration that could still start a call. */
bool broker_drain(struct broker *b, struct db_worker *worker);
/* On a worker whose loop has stopped, the broker being closed: ends every connection that it has. */
void broker_stop(struct broker *b, struct db_worker *worker);
/* On a worker: fails every busy connection whose output is not yet sent: the audit is broken. */
void broker_fail_unsent(struct broker *b, struct db_worker *worker);

/* For the backend: it has room for another call behind those in flight. */
void broker_refill(struct broker *b, struct backend *backend);
/* For the backend: it has nothing outstanding. */
void broker_release(struct broker *b, struct backend *backend);
/* For the backend: it is dead; first off every list, then, its calls ended, gone. */
void broker_unlist(struct broker *b, struct backend *backend);
void broker_forget(struct broker *b, struct backend *backend);

/* For the control thread: one login of those that were wanted ended.  backend NULL: it failed. */
void broker_login_done(struct broker *b, struct backend *backend);
/* For the control thread: how many logins are wanted now, and when the next may start. */
unsigned broker_take_wanted(struct broker *b, int64_t *not_before_ns);

/* For metrics: a snapshot. */
struct broker_counts {
    unsigned total, pending, idle, waiting;
    bool failing;
};
struct broker_counts broker_counts(struct broker *b);

#endif
