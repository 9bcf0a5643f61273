/*
 * What `sallyport rotate` does in PostgreSQL, by libpq and blocking.  TLS with verify-full always.
 *
 * A password goes there in one of two ways: as the secret of a SCRAM exchange, and as a verifier
 * made here (PQencryptPasswordConn), so that it stands in no statement and in no log.  Every
 * function that may fail fills in why: never a password, SQLSTATEs and the server's words.
 */
#ifndef SALLYPORT_CLI_ROTATE_DATABASE_H
#define SALLYPORT_CLI_ROTATE_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/rotation.h"
#include "base/view.h"

enum { ROTATE_WHY_BYTES = 600 };

/* The process's PGHOST, PGOPTIONS, PGSSLROOTCERT… must not reach libpq.  Before any thread. */
void rotate_db_forget_environment(void);

struct rotate_db_options {
    const char *roots_file; /* PEM */
    int connect_timeout_s;
    int statement_timeout_s;
    int lock_timeout_s;
};

struct pg_conn;

/* ROTATION_NO: the server answered and does not take this user with this password (SQLSTATE class
 * 28).  ROTATION_UNKNOWN: no verified connection, or another error.  Both fill in why. */
enum rotation_answer rotate_db_open(const struct rotate_db_options *o,
                                    const struct rotation_login *login, struct pg_conn **out,
                                    char why[ROTATE_WHY_BYTES]);
/* NULL is taken. */
void rotate_db_close(struct pg_conn *c);

/* The advisory lock of this secret, held until the connection ends.  Waits lock_timeout_s. */
bool rotate_db_lock(struct pg_conn *c, struct view secret_arn, char why[ROTATE_WHY_BYTES]);

bool rotate_db_set_password(struct pg_conn *c, const char *user, const char *password,
                            char why[ROTATE_WHY_BYTES]);

/*
 * Makes `user` like `original`, in one transaction: created if it is missing; its attributes,
 * settings, memberships and rights on databases as those of the original, no more and no less; the
 * password set.  An original that owns anything, has other rights of its own or stands in policies
 * of row security is refused, since the other would differ; so is another that has such, since it
 * would bring more than the original has; so is either that is superuser, or may make users,
 * replicate or bypass row security.
 */
bool rotate_db_make_alike(struct pg_conn *c, const char *original, const char *user,
                          const char *password, char why[ROTATE_WHY_BYTES]);
/* Whether the original could be copied, and whether the other is there: changes nothing. */
bool rotate_db_look_alike(struct pg_conn *c, const char *original, const char *user, bool *there,
                          char why[ROTATE_WHY_BYTES]);

/* Whether the session is the user's: what a login is tested by. */
bool rotate_db_test(struct pg_conn *c, const char *user, char why[ROTATE_WHY_BYTES]);

#endif
