/*
 * The rotation of a database user's password that AWS Secrets Manager holds: which step comes next.
 *
 * The four steps are those of AWS's own rotation functions ("Rotation by Lambda function", AWS
 * Secrets Manager user guide): create a version AWSPENDING, set its password in the database, test
 * it, finish by moving AWSCURRENT to it.  The driver does what rotation_next says and writes down
 * what came of it; all that is needed to go on after a crash at any point stands in the secret and
 * the database, so a fresh machine finds its way from there.
 *
 *   look ─► read ─► log in ─► lock ─► look again ─► create ─► set ─► test ─► finish
 *
 *   lock: PostgreSQL's advisory lock.  Nothing is written without it, and what was seen before it
 *   is looked at again, so that of two that rotate one secret the second finds it done.
 *
 * single-user: the user changes its own password, logged in with AWSPENDING (a run before had set
 * it), else AWSCURRENT, else AWSPREVIOUS.  alternating-users: the master sets the password of the
 * other user of the pair (app, app_clone), and the current one stays good until the next rotation.
 *
 * Pure: no IO, no clock, no memory of its own.
 */
#ifndef SALLYPORT_AWS_ROTATION_H
#define SALLYPORT_AWS_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/secrets_manager.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

/* ---- The machine ---- */

enum { ROTATION_ROUNDS = 2 };

enum rotation_answer { ROTATION_UNKNOWN, ROTATION_NO, ROTATION_YES };

enum rotation_action {
    ROTATION_LOOK, /* DescribeSecret; then rotation_saw */
    ROTATION_READ_CURRENT,
    ROTATION_READ_PENDING,
    ROTATION_READ_PREVIOUS,
    ROTATION_LOGIN_PENDING,
    ROTATION_LOGIN_CURRENT,
    ROTATION_LOGIN_PREVIOUS,
    ROTATION_LOGIN_MASTER,
    ROTATION_LOCK,   /* over the login that answered yes last; then rotation_locked */
    ROTATION_CREATE, /* PutSecretValue of AWSPENDING; then rotation_created */
    ROTATION_SET,
    ROTATION_TEST,
    ROTATION_FINISH, /* UpdateSecretVersionStage */
    ROTATION_DONE,
    ROTATION_ELSEWHERE, /* another process has rotated it meanwhile: nothing is left to do */
    ROTATION_REFUSED,   /* `fault` says why */
};

/* Zeroed but for `alternating`, and then the driver's to fill in: each answer beside its action. */
struct rotation_machine {
    bool alternating;
    /* Of DescribeSecret; "" for none.  pending is "" also when AWSPENDING stands at AWSCURRENT's
     * own version, where a finished rotation leaves it. */
    bool looked;
    char current[SM_VERSION_ID_MAX + 1];
    char pending[SM_VERSION_ID_MAX + 1];
    char previous[SM_VERSION_ID_MAX + 1];
    char first_current[SM_VERSION_ID_MAX + 1]; /* of the first look */
    /* Whether the version has a value: a rotation begun by AWS labels one that has none yet. */
    enum rotation_answer current_value, pending_value, previous_value;
    /* Whether the login was let in.  Anything but yes or a refused password ends the attempt. */
    enum rotation_answer pending_login, current_login, previous_login, master_login;
    bool locked;
    bool set;
    enum rotation_answer tested;
    bool finished;
    /* How often nobody was let in and all was looked at again: another process may have set a
     * password between two trials. */
    int rounds;
    const struct fault *fault;
};

/* The secret has no value to rotate. */
extern const struct fault rotation_no_value;
/* None of the passwords in the secret is taken. */
extern const struct fault rotation_no_login;
/* The master secret's user is not let in. */
extern const struct fault rotation_master_refused;
/* alternating-users: the user to be copied is not let in itself (AWS's functions check it too, so
 * that a secret which somebody else wrote cannot have the master make users). */
extern const struct fault rotation_current_refused;
/* The new password is set, but does not log in. */
extern const struct fault rotation_test_failed;
/* Of rotation_saw: not ours to rotate. */
extern const struct fault rotation_deleted;
extern const struct fault rotation_managed;  /* by the service that owns it: RDS */
extern const struct fault rotation_by_other; /* by a function that AWS calls */

enum rotation_action rotation_next(struct rotation_machine *r);

/* Takes DescribeSecret's answer over.  A refusal leaves the machine as it was. */
err rotation_saw(struct rotation_machine *r, const struct sm_answer *described) MUST_USE;
void rotation_locked(struct rotation_machine *r);
/* A version of this id is AWSPENDING and holds a password that nobody has set yet. */
void rotation_created(struct rotation_machine *r, struct view version_id);

/* ---- The secret ---- */

/* RDS's format ("JSON structure of AWS Secrets Manager secrets"); views into the text or arena. */
struct rotation_login {
    struct view host;
    uint16_t port; /* default 5432 */
    struct view username;
    struct view password;
    struct view dbname;     /* default postgres */
    struct view master_arn; /* masterarn; absent: none */
};

enum { ROTATION_NAME_MAX = 63 /* of a PostgreSQL identifier */, ROTATION_PASSWORD_LENGTH = 40 };

extern const struct fault rotation_not_json;
extern const struct fault rotation_engine;    /* not postgres */
extern const struct fault rotation_bad_field; /* host, port, username, password or dbname */
extern const struct fault rotation_name_too_long; /* there is no room for _clone */
extern const struct fault rotation_other_user;    /* AWSPENDING is for a user it may not be for */
extern const struct fault rotation_other_place;   /* … for another host, port or database */

err rotation_login_read(struct view secret, struct arena *arena,
                        struct rotation_login *out) MUST_USE;

/* The other one of a pair: app and app_clone, as AWS's functions name them. */
err rotation_other_name(struct view username, struct arena *arena, struct view *out) MUST_USE;

/* Appends the secret with another username and password; every other member as it was. */
err rotation_add_secret(struct view secret, struct view username, struct view password,
                        struct arena *arena, struct buf *out) MUST_USE;

/* Whether AWSPENDING may follow AWSCURRENT: the right user, at the same place. */
err rotation_check_pending(const struct rotation_login *current,
                           const struct rotation_login *pending, bool alternating,
                           struct arena *arena) MUST_USE;
/* Whether AWSPREVIOUS (or the master) is of the same place. */
bool rotation_same_place(const struct rotation_login *a, const struct rotation_login *b);

/* A password of the system's random source, over 230 bits, of RFC 3986's unreserved characters:
 * no quote, no percent-encoding, no blank.  (GetRandomPassword would need one more permission and
 * would send the password over the network once more.) */
void rotation_make_password(char out[ROTATION_PASSWORD_LENGTH + 1]);
/* A version's id: a random UUID (RFC 9562 section 5.4). */
void rotation_make_version_id(char out[37]);

#endif
