/*
 * One login to a database, on the control thread's loop: address, TCP, TLS, proof, and the check
 * that the login is fit for its task.  What comes out is a backend that belongs to no loop.
 *
 *   RESOLVING ─► CONNECTING ─► [ASKING_TLS ─► HANDSHAKING] ─► PROVING ─► CHECKING ─► done
 *   any of them, at the time limit or a fault ─► the next address, or done with the fault
 *
 * The check: the login may take on the roles of its service and nothing else (it owns nothing, is
 * NOINHERIT, holds no privilege of its own), since SET ROLE is no wall for who climbs back to it.
 */
#ifndef SALLYPORT_DATABASE_LOGIN_H
#define SALLYPORT_DATABASE_LOGIN_H

#include "database/broker.h"

/* What the proof was made from; texts are static or live as long as the login's owner says. */
struct login_credential {
    struct view access_key_id; /* absent: no IAM */
    struct view source;
    struct view signed_host;
    struct view session_arn; /* of the assumed role's session; absent: not known, or none */
    struct view user;        /* absent: the endpoint's */
    int64_t token_expiry_us; /* 0: no token */
};

struct login_report {
    err error;             /* OK: logged in */
    struct view detail;    /* with an error: what more is known, never a secret */
    struct view sqlstate;  /* with pg_login_refused */
    const char *method;    /* as pg_login_method; NULL before it was asked */
    struct login_credential credential;
    struct view tls_version; /* absent: plain */
    struct view tls_cipher;
    uint32_t backend_pid;
    int64_t duration_ns;
};

struct login_options {
    uv_loop_t *loop;
    struct list *flush_list;
    struct broker *broker;
    const struct endpoint *endpoint; /* how, of the broker's logins */
    unsigned login_number;           /* of these */
    /* Fills the password or the IAM token, and the user where that is another than the endpoint's;
     * on the loop's thread.  The texts are good until done has returned. */
    err (*credential)(void *arg, struct buf *password, struct login_credential *out);
    /* Once; never from within login_start.  backend is NULL with an error.  The report's views
     * live until it returns. */
    void (*done)(void *arg, struct broker *broker, struct backend *backend,
                 const struct login_report *report);
    void *arg;
};

struct login;

/* fault_out_of_memory, and nothing was begun; else done follows.  *out (may be NULL) is good until
 * done was called. */
err login_start(const struct login_options *options, struct login **out) MUST_USE;
/* Ends it now: done is called from within, with db_shutdown. */
void login_abort(struct login *l);

#endif
