/*
 * One connection to PostgreSQL, logged in, and the calls in flight on it.
 *
 *   MOVING ──adopted──► IDLE ──backend_run──► BUSY ──nothing outstanding──► (broker_release)
 *     ▲                  │ ▲                   │                               │
 *     └── another worker ┘ └───────────────────┼── no waiter ──────────────────┘
 *                                              ▼
 *                 DEAD ◄── any breach of the protocol, any loss, backend_close
 *
 * IDLE guarantees: the server said ReadyForQuery 'I', nothing is outstanding, nothing is unread,
 * the session holds no trace of a caller.  What is not provably so is closed, never reused.
 *
 * What is sent for a call, in one piece (`explicit` only for CALL, DO and the like):
 *   [begin] prelude: role, claims, application_name, search_path, statement_timeout, read-only
 *   [Parse] Bind [Describe] Execute [commit] Sync
 * Everything up to the Sync is one transaction, so the identity ends with it.
 */
#ifndef SALLYPORT_DATABASE_BACKEND_H
#define SALLYPORT_DATABASE_BACKEND_H

#include "base/arena.h"
#include "base/buf.h"
#include "database/database.h"
#include "database/statement_cache.h"
#include "net/stream.h"

enum backend_state { BACKEND_MOVING, BACKEND_IDLE, BACKEND_BUSY, BACKEND_DEAD };

/* What is expected next of the head call's answer, in the order in which the server sends it. */
enum phase { PHASE_BEGIN, PHASE_PRELUDE, PHASE_STATEMENT, PHASE_COMMIT, PHASE_SYNC };

/* How far the call in front has come; reset whole when the next one comes to the front. */
struct head {
    enum phase phase;
    enum phase failed_in; /* with has_error */
    bool bound;           /* its statement has its values: it may have begun to run */
    bool columns_given;   /* to the sink */
    bool rows_given;
    bool sink_stopped;
    bool too_many_rows;
    bool has_error;
    struct database_error error; /* in error_arena */
    struct completion completion;
    char command[32]; /* the completion's text, since its message is gone by then */
};

struct backend {
    /* Set by the login. */
    struct stream stream;
    uint32_t pid;
    uint32_t cancel_key;
    struct sockaddr_in6 peer; /* where to send a cancel */
    char access_key_id[132]; /* of the login's IAM token; empty: none */
    int64_t born_ns;
    struct login *login; /* while it logs in */
    unsigned login_number; /* of the broker's logins */
    /* The home worker only, or the thread that moves it. */
    struct broker *broker;
    struct db_session *session; /* that it logged in with: it serves no other's calls */
    struct db_worker *home;
    enum backend_state state;
    struct buf in;
    struct list calls; /* struct db_call, in the order they were sent */
    unsigned in_flight;
    bool exclusive; /* what runs here may not be joined by others */
    unsigned cleaning; /* ReadyForQuery outstanding for our own clean-up */
    int64_t cleaning_ns; /* since when */
    struct cancel_job *cancel; /* under way: no reuse before its end */
    bool settle;       /* after a cancel: one Sync more before reuse */
    bool doomed;       /* never to be used again: the server said FATAL, a cancel is astray */
    bool prelude_known;
    struct statement_cache statements;
    struct arena scratch;       /* of one row */
    struct arena error_arena;   /* of the head call's error */
    struct head head;
    /* Under the broker's lock. */
    struct list link; /* in the broker's idle or shared list of the home worker */
    bool in_idle_list;
    bool asked_for; /* a letter of another worker's wish is on its way home */
    bool leaving;   /* it closes in favour of another session */
    int64_t idle_since_ns;
    struct db_call *incoming; /* to run when it arrives */
    struct letter letter;
};

/* A fresh one without a stream; NULL without memory. */
struct backend *backend_new(size_t max_message_bytes, size_t statement_cache);
/* On the worker that it will live on: joins its loop.  False: it is of no use any more. */
bool backend_adopt(struct backend *b, struct db_worker *worker);
/* Sends a call.  On the home worker, IDLE, or BUSY with shareable calls only. */
void backend_run(struct backend *b, struct db_call *call);
/* The caller of the (only) call left: asks the server to cancel it.  The call ends as ever. */
void backend_cancel(struct backend *b);
/* Ends the connection and fails every call on it.  The broker has been told, or is. */
void backend_fail(struct backend *b, err why);
/* Frees a backend that is in no list and has no calls; says Terminate when the session is sound. */
void backend_free(struct backend *b);
/* True when the head call, or our own clean-up, has run longer than it may. */
bool backend_overdue(const struct backend *b, int64_t now_ns);

#endif
