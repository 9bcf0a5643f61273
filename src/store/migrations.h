/*
 * The store's tables and how they came to be.
 *
 * A migration has a first part, which an older version that still serves does not mind, and perhaps
 * a second, to be run when all nodes are of the new version: `up` runs the first parts, `finish`
 * the second.  Each command is one transaction under the advisory lock, so two that run at once do
 * not collide, and one that is killed leaves nothing half done.
 *
 * Migrations are known by their names, in order; once released, one is never changed.
 */
#ifndef SALLYPORT_STORE_MIGRATIONS_H
#define SALLYPORT_STORE_MIGRATIONS_H

#include "store/store.h"

struct migration {
    const char *name;
    const char *up;
    const char *finish; /* NULL: nothing is left to do */
};

enum { MIGRATIONS_MAX = 64 };

extern const struct migration store_migrations[];
extern const size_t store_migration_count;

struct migration_state {
    bool executed;
    bool pending; /* executed, and its second part was not */
};

struct migrations_status {
    bool bootstrapped;
    struct migration_state states[MIGRATIONS_MAX]; /* in the order of store_migrations */
    size_t pending;
    size_t missing;   /* not executed */
    char unknown[64]; /* one that this program does not know; "" when there is none */
};

err migrations_read(struct store *s, struct migrations_status *out,
                    struct store_why *why) MUST_USE;

/* OK when the tables are as this program wants them; else store_not_bootstrapped, store_newer,
 * store_behind.  Pending second parts do not keep it from working. */
err migrations_usable(const struct migrations_status *status, struct store_why *why) MUST_USE;

/* Each begins and commits.  *done counts what was executed. */

/* Makes the tables; none, and OK, when they are there. */
err migrations_bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done,
                         struct store_why *why) MUST_USE;
/* store_pending unless forced, when second parts of before are outstanding. */
err migrations_up(struct store *s, int64_t lock_wait_ms, bool force, size_t *done,
                  struct store_why *why) MUST_USE;
err migrations_finish(struct store *s, int64_t lock_wait_ms, size_t *done,
                      struct store_why *why) MUST_USE;
/* Drops every table with all that is in it; store_newer for tables that it does not know. */
err migrations_reset(struct store *s, int64_t lock_wait_ms, struct store_why *why) MUST_USE;

#endif
