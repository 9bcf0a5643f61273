/*
 * The node's configuration in PostgreSQL: connections, faults.
 *
 * A connection is libpq's, used by one thread at a time: commands open one, do their work in one
 * transaction and close it; a running node keeps its own (store/line.h).  It is made only as
 * sallyport.conf says: libpq's own sources (PG… variables, ~/.pgpass, ~/.postgresql, service files)
 * are shut off.
 *
 * Errors are an err of the rows below, with the words of the server or of libpq in the store_why
 * that the caller passes; never a password or token.
 */
#ifndef SALLYPORT_STORE_STORE_H
#define SALLYPORT_STORE_STORE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "model/node.h"
#include "store/lookup.h"

enum { STORE_WHY_BYTES = 1024, STORE_PARAMETERS_MAX = 16, STORE_LOCK_WAIT_MS = 60000 };

/* More of a failure, one line; "" when there is no more to say. */
struct store_why {
    char text[STORE_WHY_BYTES];
    char sqlstate[6]; /* "" when it is not the server's */
};

extern const struct fault store_unreachable;    /* no connection, no TLS; or it passes by itself */
extern const struct fault store_refused;        /* the server refuses the login */
extern const struct fault store_bad_trust;      /* whom to trust cannot be read */
extern const struct fault store_chain_too_long; /* more intermediates than lua_ssl_verify_depth */
extern const struct fault store_no_region;      /* for a token: no name and no setting says one */
extern const struct fault store_failed;         /* the server refused a statement */
extern const struct fault store_read_only;      /* 25006: this is a standby, the writer is wanted */
extern const struct fault store_lost;           /* the connection ended, or answered too late */
extern const struct fault store_no_schema;      /* pg_schema, or the search_path, names none */
extern const struct fault store_may_not_create; /* the GRANT that is missing is in the why */
extern const struct fault store_not_bootstrapped;
extern const struct fault store_pending;        /* migrations that ran and were not finished */
extern const struct fault store_behind;         /* migrations that have not run */
extern const struct fault store_newer;          /* made by a newer version of this program */
extern const struct fault store_locked;         /* another process migrates or imports */

struct store_login {
    const struct node_config *node; /* of its trust: lua_ssl_…, rds_ca_bundle */
    const struct pg_settings *pg;   /* &node->pg or &node->pg_ro */
    const struct aws_credentials *credentials; /* with iam_auth: what signs the token, minted now */
    struct view region; /* with iam_auth, where neither setting nor host name says one */
    int cancel_fd;      /* what waits for the server gives up once it is readable; 0: none */
};

struct store;

/* Rows as text.  A zeroed one may be cleared. */
struct store_rows {
    struct pg_result *result;
    size_t count;
};

/*
 * Looks the name up, connects, logs in, chooses pg_schema: in pg_timeout at most.  Every address of
 * the name is tried at once, and the first that takes the connection is logged in to; one that
 * breaks it off leaves the turn to the others.  *out is NULL on failure.
 */
err store_open(const struct store_login *login, struct store **out, struct store_why *why) MUST_USE;

/*
 * The same step by step, to known addresses, without waiting for the network (pg_schema apart).
 * What login points to has to live until the end, but not its credentials: the token is minted in
 * _new.  One that has failed can only be freed.
 */
struct store_opening;
err store_opening_new(const struct store_login *login, const struct store_addresses *addresses,
                      struct store_opening **out, struct store_why *why) MUST_USE;
void store_opening_free(struct store_opening *o);
/* What to wait for before the next step, at most STORE_ADDRESSES_MAX; and how long (monotonic). */
size_t store_opening_waits(const struct store_opening *o, struct pollfd *at);
int64_t store_opening_deadline_ms(const struct store_opening *o);
/* *out is NULL while it is not open yet. */
err store_opening_step(struct store_opening *o, struct store **out,
                       struct store_why *why) MUST_USE;
/* Which one took the connection; "" when none did: nobody was told who we are. */
const char *store_opening_address(const struct store_opening *o);

/* What a login is that the server ended with these words: store_refused, or store_unreachable where
 * another attempt may do, as while it starts or has no connection left. */
err store_login_failure(const struct store_why *why) MUST_USE;

/* Where the connection goes to, numeric. */
const char *store_address(const struct store *s);
/* An open transaction is rolled back by the server.  NULL is harmless. */
void store_close(struct store *s);

/*
 * What waits for the server asks it every 50 ms: true gives up, and the connection is lost.  For
 * what may be learned meanwhile, as that the name leads elsewhere.  NULL: no more.
 */
typedef bool store_give_up(void *arg);
void store_set_give_up(struct store *s, store_give_up *give_up, void *arg);

/* How long the next statements may wait for the server; pg_timeout at first. */
void store_set_timeout(struct store *s, int64_t timeout_ms);

/* The last statements: they are waited for, though cancel_fd says not to. */
void store_end_cancelling(struct store *s);

/* The region that a token for these settings is signed for; absent: the caller has to know. */
struct view store_region(const struct pg_settings *pg);

/*
 * What was notified on the connection's channels, without waiting: the latest payload as a number,
 * -1 when it is none.  *heard false: nothing was.  store_lost when the connection has ended.
 */
err store_heard(struct store *s, bool *heard, int64_t *number, struct store_why *why) MUST_USE;
/* To wait on, for reading, until store_heard or store_answer is worth a call. */
int store_socket(const struct store *s);

/* A statement whose answer is not waited for: nothing else may be asked before store_answer had
 * it.  *answered false: not yet. */
err store_ask(struct store *s, const char *sql, struct store_why *why) MUST_USE;
err store_answer(struct store *s, bool *answered, struct store_rows *rows,
                 struct store_why *why) MUST_USE;

/* ---- Statements ---- */

/* One statement, its parameters as text (NULL data: NULL).  rows may be NULL. */
err store_run(struct store *s, const char *sql, const struct view *parameters, size_t count,
              struct store_rows *rows, struct store_why *why) MUST_USE;
/* Several statements, without parameters or rows. */
err store_script(struct store *s, const char *sql, struct store_why *why) MUST_USE;

/* Absent for NULL; valid until the rows are cleared. */
struct view store_cell(const struct store_rows *rows, size_t row, size_t column);
void store_rows_clear(struct store_rows *rows);

/*
 * begin; with the advisory lock of the schema's tables, waiting for it at most so long: whoever
 * changes tables or what is in them holds it, so no two do at once.
 */
err store_begin(struct store *s, int64_t lock_wait_ms, struct store_why *why) MUST_USE;
err store_commit(struct store *s, struct store_why *why) MUST_USE;
void store_rollback(struct store *s);

/* Adds to a refusal for want of privileges (42501) the GRANT to run; returns e.  Outside of a
 * transaction that has failed. */
err store_explain_denied(struct store *s, bool writes, err e, struct store_why *why) MUST_USE;
/* store_failed, with the GRANT, when there is a schema that may not be used, and no other. */
err store_check_usage(struct store *s, struct store_why *why) MUST_USE;

/* libpq would let PG… variables say what sallyport.conf leaves unsaid.  Once, before threads. */
void store_forget_environment(void);

#endif
