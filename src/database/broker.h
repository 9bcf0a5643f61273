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
 *
 * Every connection belongs to the IAM session that it logged in with (struct db_session), and
 * serves the calls of that session alone.  One budget is for all of them:
 *
 *   a call waits ─► its session wishes for a login ─► the control thread: have its credentials
 *   come? is there room? ─► a login ─► the session's longest waiter
 *
 * Where there is no room, the session is hungry, and one connection of others leaves for it: the
 * idle one that was used least recently, at once; when none is idle, the next that comes free,
 * unless a call of its own waits that came earlier or the hungry one has waited less than
 * SESSION_PATIENCE_MS.  So no session is starved, whatever the load of others.
 *
 * How it logs in may change under a broker (broker_change_login), where every call is of the common
 * session: from a password to IAM, say.  The connections of the login before serve until the first
 * of the new one is there, which is tried at once; then they leave as they come free.
 */
#ifndef SALLYPORT_DATABASE_BROKER_H
#define SALLYPORT_DATABASE_BROKER_H

#include <pthread.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "database/backend.h"
#include "database/database.h"
#include "database/endpoint.h"
#include "model/entities.h"

struct ssl_ctx_st;

/* How long a session that has waiters and no place keeps out of the way of calls that came later
 * and have a connection of their own session. */
enum { SESSION_PATIENCE_MS = 100 };

struct session_identity;

/*
 * An IAM session as this endpoint's connections see it: the service's own (`common`), or a
 * caller's.  It lives as long as it has waiters, wishes, logins or connections, and, after a
 * failure, until its back-off ends.
 */
struct db_session {
    /* Set at birth. */
    uint8_t key[DB_KEY_BYTES];
    bool common;
    /* Under the broker's lock. */
    struct session_identity *identity; /* the newest; NULL: common */
    struct list waiters;  /* struct db_call, by session_link, the oldest first */
    unsigned waiting;
    unsigned connections; /* logged in, wherever they are */
    unsigned idle;        /* of them, in some worker's idle list */
    unsigned pending;     /* logins under way: they have their place in the budget */
    unsigned wishes;      /* logins wished for: they have none yet */
    unsigned untaken;     /* of the wishes: the control thread has not heard of them */
    struct list wish_link;   /* among the broker's with untaken wishes */
    struct list hungry_link; /* among the broker's hungry */
    bool stalled;             /* its wishes wait for credentials, not for room */
    struct list resting_link; /* among those kept for their back-off alone */
    unsigned failures;
    int64_t retry_at_ns; /* no login before */
    err failure;         /* what its calls are told until then */
    /* The control thread only. */
    struct list control_link; /* in its list of wishes */
    unsigned to_start;        /* wishes that it took */
    struct session_identity *in_use;
};

struct broker_worker {
    struct db_worker *worker;
    /* Under the broker's lock. */
    struct list idle;   /* struct backend, most recently used first */
    unsigned connections; /* of the common session */
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
    /* Tells the control thread that there are wishes to take (broker_take_wishes), or room for
     * those it has.  Any thread, under no lock. */
    void (*want_logins)(struct broker *b, void *arg);
    /* Asks the control thread to send a CancelRequest; cancel_job_ended answers.  Any thread. */
    void (*want_cancel)(struct cancel_job *job, void *arg);
    void *arg;
};

/* A broker keeps every login that it was changed to; after so many a new broker is made. */
enum { BROKER_LOGINS_MAX = 64 };

/* How logins are made, from a change on.  Never freed before the broker. */
struct broker_login {
    struct endpoint endpoint;
    unsigned number; /* 1, 2, … */
    struct broker_login *before;
};

struct broker {
    /* The control thread only. */
    struct broker_login *login;
    /* Set at birth. */
    struct arena arena; /* of copied configuration; later the control thread's, for logins */
    struct service service;   /* limits, as they were when the broker was made */
    struct endpoint endpoint; /* but for how it logs in, which may have changed */
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
    struct list waiters; /* struct db_call, of all sessions */
    unsigned waiting;
    /* Connections and logins under way: never more than max_connections, but for one login that is
     * on trial while the connections of the one before serve. */
    unsigned total;
    unsigned proven; /* the number of the latest login that succeeded; 0: none did */
    unsigned pending; /* logins under way */
    unsigned wished;  /* logins wished for, of all sessions */
    unsigned stalled; /* of them, those of sessions that wait for credentials */
    unsigned asked;   /* idle connections that their home was asked for: each serves one waiter */
    struct db_session common; /* the service's own */
    /* Not a session: waiters whom a connection of any serves; it never wishes for logins. */
    struct db_session anyone;
    struct map sessions;  /* struct db_session, by key; those of callers */
    struct list wishing;  /* with untaken wishes, first come first */
    struct list hungry;   /* first come first */
    unsigned hungry_count;
    unsigned leaving;     /* connections that are being closed in favour of the hungry */
    struct list resting;  /* the longest first */
    unsigned resting_count;
    bool room;            /* since the control thread was told of the hungry */
    bool login_letter_out;
    unsigned failures; /* of logins, in a row, whosever */
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
/* Whether a broker made from these would be the same.  For the control thread. */
bool broker_matches(const struct broker *b, const struct service *service,
                    const struct endpoint *endpoint, const struct strings *database_roles);
/* Whether it would be but for its login, which broker_change_login can change. */
bool broker_matches_but_login(const struct broker *b, const struct service *service,
                              const struct endpoint *endpoint,
                              const struct strings *database_roles);
/* For the control thread: from now on logins are made so.  False without memory: as before. */
bool broker_change_login(struct broker *b, const struct endpoint *endpoint) MUST_USE;
/* For the control thread: the latest login that has succeeded, else the first. */
const struct endpoint *broker_proven_endpoint(struct broker *b);
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

/* For the control thread: puts every session with wishes it has not heard of into the list, by
 * control_link, behind those that are there. */
void broker_take_wishes(struct broker *b, struct list *wishes);
/* For the control thread: the session as its latest call gave it; NULL: the service's own.  For a
 * session in the list of wishes, or of a login under way; good until the next such call for it. */
const struct db_session_identity *broker_session_identity(struct broker *b, struct db_session *s);

enum broker_room {
    BROKER_ROOM,    /* begin one login now, and answer it with broker_login_done */
    BROKER_NO_NEED, /* nobody waits for it any more; the session may be gone */
    BROKER_NO_ROOM, /* ask again when want_logins was called */
    BROKER_NOT_YET, /* ask again at *at_ns */
};
/* For the control thread: whether a login that the session, one of the list, wished for may begin.
 * With BROKER_ROOM and BROKER_NO_NEED one wish less, and with its last wish the session leaves the
 * list. */
enum broker_room broker_begin_login(struct broker *b, struct db_session *s, int64_t now_ns,
                                    int64_t *at_ns);
/* For the control thread: whether a login that was changed is to be tried now, though nobody waits:
 * connections of another one serve.  BROKER_ROOM, BROKER_NO_NEED, BROKER_NOT_YET, as above. */
enum broker_room broker_begin_trial(struct broker *b, int64_t now_ns, int64_t *at_ns);
/* For the control thread: the credentials of the session, one of the list, are on their way.  Its
 * wishes take up no room until its next broker_begin_login.  When nobody waits for it any more, it
 * leaves the list and may be gone. */
void broker_session_stalled(struct broker *b, struct db_session *s);
/* For the control thread: one login that was begun ended.  backend NULL: it failed. */
void broker_login_done(struct broker *b, struct db_session *s, struct backend *backend);
/* For the control thread: there are no credentials for the session, one of the list, and it leaves
 * that.  Its waiters are refused, the others are not concerned; the session may be gone. */
void broker_session_failed(struct broker *b, struct db_session *s, err why);

/* For metrics: a snapshot. */
struct broker_counts {
    unsigned total, pending, idle, waiting;
    unsigned sessions; /* of callers, that have something here */
    bool failing;
};
struct broker_counts broker_counts(struct broker *b);

#endif
