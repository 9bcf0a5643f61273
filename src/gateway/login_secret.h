/*
 * Logins whose user and password are secrets: asked for at each login, never taken from what the
 * configuration held when it was loaded, so that a rotated secret needs no reload.
 *
 *   give ─► login ─► refused with 28P01 ─► next ─► give ─► login …      (the same pending login)
 *                                           └ waits for the secret to be read anew, once for all
 *
 * A login tries each user and password once: what serves now; then, after the secret was read anew,
 * what it says now, what AWSPENDING says, what it said before; and when none of these is new, once
 * more a second later, for a rotation may just be changing the password.  Then it has failed.
 *
 * Thread rule: everything on the control thread.
 */
#ifndef SALLYPORT_GATEWAY_LOGIN_SECRET_H
#define SALLYPORT_GATEWAY_LOGIN_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/secrets_manager.h"
#include "base/buf.h"
#include "config/config.h"
#include "crypto/hash.h"
#include "database/login.h"
#include "model/entities.h"

struct control;

enum {
    LOGIN_SECRET_TRIES = 4,
    LOGIN_SECRET_PAUSE_MS = 1000,
    LOGIN_SECRET_USER_BYTES = 64, /* PostgreSQL's NAMEDATALEN */
    LOGIN_SECRET_SOURCE_BYTES = 200,
};

/* The tries of one pending login.  Zero-initialise; holds digests and names, no secret. */
struct login_secret {
    uint8_t tried[LOGIN_SECRET_TRIES][SHA256_BYTES]; /* of user and password */
    size_t tried_count;
    unsigned rounds;
    int64_t given_ms;   /* monotonic: when it got what it tries */
    int64_t refused_ms; /* monotonic */
    char version_id[SM_VERSION_ID_MAX + 1]; /* in use; "" for what has no versions */
    char user[LOGIN_SECRET_USER_BYTES];
    char source[LOGIN_SECRET_SOURCE_BYTES]; /* "aws/prod/shop, version …": for the audit */
    char why[SECRET_WHY_BYTES];             /* it could not be had */
};

/* A reference could not be read now; why says more. */
extern const struct fault login_secret_unavailable;

/* Whether the endpoint logs in by references. */
bool login_secret_is(const struct endpoint *e);

/* The next user and password that were not tried; *out says user and source, whose texts live in
 * *ls. */
err login_secret_give(struct control *c, const struct endpoint *e, struct login_secret *ls,
                      struct buf *password, struct login_credential *out) MUST_USE;

/* The database refused what was given last.  Then ask next until it answers something else than
 * WAIT: whenever secrets have news, and not later than *again_ms (monotonic). */
enum login_secret_next { LOGIN_SECRET_OVER, LOGIN_SECRET_WAIT, LOGIN_SECRET_AGAIN };
void login_secret_refused(struct login_secret *ls, int64_t now_ms);
enum login_secret_next login_secret_next(struct control *c, const struct endpoint *e,
                                         struct login_secret *ls, int64_t now_ms,
                                         int64_t *again_ms);

/* The database took it: other logins begin with this version. */
void login_secret_succeeded(struct control *c, const struct endpoint *e,
                            const struct login_secret *ls);

#endif
