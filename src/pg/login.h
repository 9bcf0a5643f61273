/*
 * A login to a PostgreSQL server, sans IO: StartupMessage to ReadyForQuery (chapters 55.2.1, 55.3).
 *
 *     l = pg_login_new(&options);
 *     pg_login_start(l, &out);                       send out
 *     pg_login_feed(l, in, &consumed, &out, &done);  for what was received, until done; send out
 *
 * The stream is already as secure as it will be: SSLRequest and the TLS handshake lie before it.
 * Ways of proof that are taken: cleartext password (RDS IAM and PAM; only with allow_cleartext),
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929).  md5, GSSAPI, SSPI and all
 * others are refused.  One login object serves one login; one thread at a time; after a failure
 * only the getters and pg_login_free may be called.
 */
#ifndef SALLYPORT_PG_LOGIN_H
#define SALLYPORT_PG_LOGIN_H

#include "pg/pg.h"

extern const struct fault pg_login_refused;          /* ErrorResponse: see pg_login_error */
extern const struct fault pg_auth_unsupported;       /* md5, GSSAPI, … or no SASL way we know */
extern const struct fault pg_cleartext_refused;      /* asked for, without allow_cleartext */
extern const struct fault pg_trust_refused;          /* AuthenticationOk, nothing asked */
extern const struct fault pg_password_missing;       /* a proof was asked for; we have no password */
extern const struct fault pg_channel_binding_missing; /* required, not offered */
extern const struct fault pg_scram_malformed;        /* a SCRAM message out of shape */
extern const struct fault pg_scram_nonce;            /* the nonce is not ours continued */
extern const struct fault pg_scram_iterations;       /* beyond PG_SCRAM_MAX_ITERATIONS */
extern const struct fault pg_scram_signature;        /* the server does not know the password */
extern const struct fault pg_scram_refused;          /* the server's e= */
extern const struct fault pg_login_encoding;         /* not client_encoding UTF8, DateStyle ISO */

enum {
    /* A hostile server may ask for any work; a million rounds of PBKDF2 take a quarter second.
     * (RFC 7677 wants servers to use 4096 at least; fewer are their weakness, not ours to refuse.) */
    PG_SCRAM_MAX_ITERATIONS = 1000000,
    /* One message during a login: the server's are a few hundred bytes; libpq takes 30,000. */
    PG_LOGIN_MAX_MESSAGE_BYTES = 32768,
    PG_LOGIN_MAX_PARAMETERS = 64,
};

struct pg_login_options {
    struct view user;
    struct view database;
    struct view password; /* or IAM token; any length; absent: none */
    /* Further start-up parameters.  user, database, client_encoding=UTF8 and DateStyle=ISO are
     * always sent (value.h builds on the latter two), and refused here. */
    const struct pg_setting *settings;
    size_t setting_count;
    /* Answer a cleartext request: only when the stream is TLS and the server's name verified,
     * since the password goes out as it is. */
    bool allow_cleartext;
    /*
     * Accept a server that asks for no proof at all.  Default false: we hold a credential, and a
     * server that does not want it did not check who we are; whether it is the database we mean,
     * or one set to `trust`, the operator must say.  (Client certificates would need it.)
     */
    bool allow_trust;
    /* tls-server-end-point data: the hash of the server's certificate (RFC 5929 section 4.1), at
     * most 64 bytes; absent when there is no TLS.  With it SCRAM-SHA-256-PLUS is preferred, and a
     * server that offers only SCRAM-SHA-256 is told "y": I could have (RFC 5802 section 6). */
    struct view channel_binding;
    bool require_channel_binding; /* refuse anything but SCRAM-SHA-256-PLUS */
    /* Tests only: the client nonce, printable without ','.  Absent: 18 random bytes in base64. */
    struct view nonce;
};

struct pg_login;

/* Copies everything; the password into locked memory, wiped as soon as it is answered with.
 * NULL without memory, or when the options cannot be: no user, a NUL in a text, a setting that is
 * always sent, channel binding data that is too long, or missing though required. */
struct pg_login *pg_login_new(const struct pg_login_options *options) MUST_USE;
void pg_login_free(struct pg_login *l);

/* Adds the StartupMessage; fault_too_large when it does not fit. */
err pg_login_start(struct pg_login *l, struct buf *out) MUST_USE;

/*
 * Takes whole messages from `in`; *consumed says how many bytes were taken, the rest is to be given
 * again with more.  `out` gets what must be sent (it holds secrets: clear it with
 * buf_clear_secure).  *done after ReadyForQuery 'I'; bytes behind that are not touched.  On failure
 * nothing of `out` needs sending.
 *
 * Password non-ASCII: its bytes are used as given.  PostgreSQL applies SASLprep to such passwords;
 * one that SASLprep would change (compatibility characters, odd spaces) fails to log in by SCRAM.
 */
err pg_login_feed(struct pg_login *l, struct view in, size_t *consumed, struct buf *out,
                  bool *done) MUST_USE;

/* BackendKeyData; both 0 when the server sent none (then it cannot be cancelled). */
uint32_t pg_login_pid(const struct pg_login *l);
uint32_t pg_login_key(const struct pg_login *l);
/* ParameterStatus, the last value of each name: server_version, in_hot_standby,
 * standard_conforming_strings, …  {NULL, 0}: not told.  Lives as long as the login. */
struct view pg_login_parameter(const struct pg_login *l, struct view name);
const struct pg_setting *pg_login_parameters(const struct pg_login *l, size_t *count);
/* How we proved ourselves, for the audit: "cleartext", "scram-sha-256", "scram-sha-256-plus",
 * "trust"; NULL before that was decided. */
const char *pg_login_method(const struct pg_login *l);
/* What the server said, after pg_login_refused; else NULL.  Lives as long as the login. */
const struct database_error *pg_login_error(const struct pg_login *l);

#endif
