/*
 * The store's tables and how they came to be.
 *
 * A migration has an `up`, which nodes of the older version do not mind while they serve, and
 * perhaps a `finish`, which they would not survive.  `up` runs the first parts, `finish` the second
 * when all nodes are of the new version.  Each command is one transaction under the advisory lock,
 * so two that run at once do not collide, and one that is killed leaves nothing half done.
 *
 * What was up'd stands in sallyport_migrations_pending until `finish` moves it to
 * sallyport_migrations.  So a program tells by the tables alone what a migration that it does not
 * know means for it:
 *
 *   pending    it reads on what it knows, and changes nothing: it would not keep what it cannot see
 *   finished   it refuses: what it knows may be gone
 *
 * The rules of a migration (tables.c):
 *
 *   up      adds, and nothing else: tables, columns with a default or none, indexes; nothing is
 *           renamed, dropped, narrowed, or filled with what an older reader takes for its own
 *   finish  the rest.  NULL when nothing is left to do: it is pending all the same until `finish`
 *   drop    takes away what `up` made, "if exists"; `reset` runs them from the last to the first
 *
 * What only a newer version reads (a kind of entity, a table of its own) is written only after
 * `finish`, by migrations_finished: else nodes of the older version would serve without it what it
 * was to restrict.
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
    const char *drop;
};

enum { MIGRATIONS_MAX = 64, MIGRATIONS_NAMES_BYTES = 256 };

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
    /* Those that this program does not know, "900_a, 901_b"; "" when there are none. */
    char unknown[MIGRATIONS_NAMES_BYTES]; /* finished */
    char ahead[MIGRATIONS_NAMES_BYTES];   /* pending */
};

err migrations_read(struct store *s, struct migrations_status *out,
                    struct store_why *why) MUST_USE;

/* OK when this program can read the tables; else store_not_bootstrapped, store_newer,
 * store_behind.  Pending ones, known or not, do not keep it from that. */
err migrations_usable(const struct migrations_status *status, struct store_why *why) MUST_USE;

/*
 * Within a transaction of store_begin, before anything is written to the tables: as
 * migrations_usable, and store_newer with pending ones that this program does not know.  A trigger
 * of sallyport_revisions refuses the import of a program that does not call it.
 */
err migrations_may_write(struct store *s, struct migrations_status *out,
                         struct store_why *why) MUST_USE;

/* Whether all nodes know the migration's tables, and they may be filled. */
bool migrations_finished(const struct migrations_status *status, const char *name);

/* Each begins and commits.  *done counts what was executed. */

/* Makes the tables, all of it finished; none, and OK, when they are there. */
err migrations_bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done,
                         struct store_why *why) MUST_USE;
/* store_pending unless forced, when there were pending ones before; not when another process ran
 * the same while this one waited. */
err migrations_up(struct store *s, int64_t lock_wait_ms, bool force, size_t *done,
                  struct store_why *why) MUST_USE;
err migrations_finish(struct store *s, int64_t lock_wait_ms, size_t *done,
                      struct store_why *why) MUST_USE;
/* Drops every table with all that is in it; store_newer when there are some it does not know. */
err migrations_reset(struct store *s, int64_t lock_wait_ms, struct store_why *why) MUST_USE;

#endif
