/*
 * The database room: a call goes in with its statement, identity and values; rows come out of a
 * sink; then `finished`, once.
 *
 *   db_call_start ─► broker (one an endpoint) ─► backend (one a connection) ─► PostgreSQL
 *        │ waits for a connection, or shares one      │ prelude, statement, Sync
 *        └──────────────── finished ◄─────────────────┘
 *
 * A call lives on one worker from start to finish.  Connections move between workers, but only
 * while nothing is outstanding on them.
 */
#ifndef SALLYPORT_DATABASE_DATABASE_H
#define SALLYPORT_DATABASE_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cell.h"
#include "base/err.h"
#include "base/list.h"
#include "base/view.h"
#include "net/mailbox.h"

extern const struct fault db_pool_full;        /* as many calls wait as may */
extern const struct fault db_wait_timeout;     /* no connection came free in time */
extern const struct fault db_unreachable;      /* no connection, and logins fail */
extern const struct fault db_refused;          /* the database answered with an error */
extern const struct fault db_identity_refused; /* the prelude failed: the role, its grants */
extern const struct fault db_lost;             /* the connection broke under a read */
extern const struct fault db_outcome_unknown;  /* the connection broke under a write */
extern const struct fault db_unsent;           /* the connection was given up before a byte went */
extern const struct fault db_timeout;          /* no answer within the statement's time */
extern const struct fault db_too_many_rows;
extern const struct fault db_result_too_large; /* the sink took no more */
extern const struct fault db_result_withheld;  /* of a write that was carried out: too large */
extern const struct fault db_protocol;         /* the server broke the protocol */
extern const struct fault db_not_clean;        /* a session could not be reset */
extern const struct fault db_abandoned;        /* the caller left before a connection was there */
extern const struct fault db_shutdown;         /* the gateway is stopping */
extern const struct fault db_login_unfit;      /* the login has rights of its own */
extern const struct fault db_tls_missing;      /* the server has no TLS */

enum { DB_KEY_BYTES = 32 };

/* One statement as the operator wrote it, made ready; immutable, part of a configuration. */
struct db_statement {
    struct view sql;       /* with $1, $2, … */
    const uint32_t *types; /* the parameters' OIDs */
    size_t parameter_count;
    bool read_only;
    bool explicit_transaction; /* CALL, DO: begin; prelude; statement; commit */
    bool reset_after;          /* may leave something in the session: reset before reuse */
    bool shareable;            /* a short read: may run behind others on one connection */
};

/* Who the statement runs as, for the prelude (facts: every set_config is local to the call). */
struct db_identity {
    struct view role;
    struct view claims; /* request.jwt.claims, a JSON object */
    struct view application_name;
    struct view search_path;
    struct view statement_timeout; /* decimal milliseconds */
    /* Names the prepared statement: a digest of text, types, role and search_path. */
    const uint8_t *prepared_key;
};

/*
 * The IAM session that a connection logs in with, when it is not the service's own: connections are
 * pooled by `key` and never serve a call with another.  Made by the gateway for the caller; whoever
 * needs it beyond the call copies it.
 */
struct db_session_identity {
    uint8_t key[DB_KEY_BYTES];  /* digest of everything that tells sessions apart */
    struct view name;           /* RoleSessionName */
    struct view source_identity; /* absent: none is set */
    const struct view *tag_values; /* in the order of the endpoint's iam_auth.tags */
    size_t tag_count;
    struct view web_identity_token; /* secret; with web_identity: caller */
    int64_t expires_at_s; /* of that token: the session ends with it; 0: it has no such end */
};

struct backend;
struct broker;
struct db_session;
struct prepared;

/* One worker thread as this room sees it. */
struct db_worker {
    uv_loop_t *loop;
    struct mailbox *mailbox;
    struct list *flush_list; /* of streams to databases; flushed after the audit is written */
    unsigned index;
};

struct db_outcome {
    err error;                           /* OK: it ran to its end */
    const struct database_error *reason; /* with db_refused, db_identity_refused; else NULL */
    struct completion completion;
    uint32_t backend_pid; /* 0: it never reached one */
    struct view access_key_id; /* that the connection logged in with; absent: none */
    int64_t queue_ns;     /* from start until it was handed to a connection */
    int64_t database_ns;  /* from there to ReadyForQuery */
};

enum db_call_state {
    DB_CALL_NEW,
    DB_CALL_WAITING,
    DB_CALL_MOVING,
    DB_CALL_RUNNING,
    DB_CALL_FINISHED,
};

/* Embedded in its owner, who fills the first part and keeps all of it alive until `finished`. */
struct db_call {
    const struct db_statement *statement;
    struct db_identity identity;
    const struct view *values; /* data == NULL: SQL NULL */
    struct result_sink *sink;
    /* Whose login it runs on; NULL: the service's own.  Copied by db_call_start. */
    const struct db_session_identity *session;
    /* The gateway's own questions, of nobody's data: on a connection of any session that there is;
     * db_unreachable when there is none. */
    bool any_session;
    uint32_t max_rows;
    int64_t timeout_ms; /* the connection is given up a little after this */
    /* Called once, on the call's worker; the views live until it returns. */
    void (*finished)(struct db_call *call, const struct db_outcome *outcome);
    bool prepare_only; /* parses and describes under the identity, executes nothing */

    /* This room's own. */
    enum db_call_state state;
    struct db_worker *worker;
    struct broker *broker;
    struct backend *backend;
    struct prepared *prepared; /* while it runs */
    struct db_session *pooled; /* while it waits, or a connection is on its way to it */
    struct list link;     /* among the broker's waiters, or the backend's calls */
    struct list session_link; /* among its session's waiters */
    struct letter letter; /* for a refusal that another thread found */
    err refusal;
    int64_t started_ns; /* db_call_start */
    int64_t running_ns; /* handed to the connection */
    bool abandoned;
    bool healed; /* was parsed anew once after 0A000 or 26000 */
};

/* On the worker's thread.  Finishes the call later, never from within. */
void db_call_start(struct db_call *call, struct broker *broker, struct db_worker *worker);
/* The caller left: a waiting call finishes with db_abandoned at once; a running one runs to its
 * end, its rows thrown away, and finishes as ever. */
void db_call_abandon(struct db_call *call);

#endif
