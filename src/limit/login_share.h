/*
 * How nodes share the logins a second that a database instance takes: one table that all of them
 * see, in which each has a row with its share.
 *
 * No clock is compared with another's, and no message has to arrive in time.  What holds instead:
 *
 *   1. The shares in the table never sum to more than the maximum.  A share is raised only by who
 *      holds the table's lock and has just read all rows, and by no more than what they leave.
 *   2. What a node grants itself is never more than its row says: a raise is granted after it was
 *      committed; a lower share is kept to at once, and written a whole period (longer than a
 *      second) after the last login that the higher one may have let in.
 *
 * So the logins of any second are at most the sum of what stood in the table at its end: whoever
 * took a share over then has it from a row that said so, and whose node had kept to less for a
 * period.  It holds whatever is late: a read, a commit or its answer, a node's whole thread.
 *
 * A node that comes has nothing, then takes what is free: a twentieth of the maximum is kept for
 * that.  The others see its row when they renew theirs, go down to maximum / nodes, and a period
 * later it takes up what they left.  A node that ends gracefully says when its row counts no more.
 *
 * A node that vanished is gone when its row has not changed for LOGIN_GONE_MS, by the clock of the
 * one who looks, and in one unbroken contact with the database: while that is away nobody can renew
 * anything, so nobody is gone for it.  Here is the one exception to the rule above: a node that
 * alone is cut off from the database for longer goes on with its last share, and the others take
 * that up, too; the sum may then exceed the maximum by that share, until the node is back.
 *
 * More nodes than logins: nodes take turns.  One with a share of 1 lets go of it after
 * LOGIN_TURN_MS, while others wait, and goes to the end of the row.
 *
 * Pure: no IO, no clock, no lock; one thread.
 */
#ifndef SALLYPORT_LIMIT_LOGIN_SHARE_H
#define SALLYPORT_LIMIT_LOGIN_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limit/login_pace.h"

enum {
    LOGIN_NODES_MAX = 1000, /* with more, no share is raised */
    LOGIN_ID_BYTES = 37,    /* a UUID as text */
    LOGIN_GONE_MS = 15000,
    LOGIN_TURN_MS = 2500,
};

/* A node's row. */
struct login_row {
    char id[LOGIN_ID_BYTES];
    int64_t share;
    int64_t since; /* orders those who wait for a turn: when the share became what it is */
    int64_t seen;  /* changes at each renewal */
    bool left;     /* ended, and its last second is over, by the database's clock */
};

/* What is remembered of another's row. */
struct login_sight {
    char id[LOGIN_ID_BYTES];
    int64_t seen;
    int64_t first_ns; /* when it was first seen so, in this contact */
};

struct login_share {
    char id[LOGIN_ID_BYTES];
    int64_t max_rate;
    int64_t share;     /* what the node may grant itself now: logins a period, to each instance */
    size_t nodes;      /* with itself; 0: not known yet */
    int64_t got_ns;    /* a turn's begin */
    int64_t lower_to;  /* what may be written at lower_at_ns */
    int64_t lower_at_ns; /* INT64_MIN: whatever the share is now was so for a period */
    int64_t reduced_ns;
    struct login_sight sights[LOGIN_NODES_MAX];
    size_t sight_count;
};

/* What to write. */
struct login_plan {
    int64_t publish;      /* the share in the node's own row */
    bool raise;           /* under the lock, the plan made anew there */
    int64_t due_ms;       /* how long until the next renewal */
    size_t gone[LOGIN_NODES_MAX]; /* indices of rows to delete */
    size_t gone_count;
};

/* now_ns: the start of the process, or later.  What an earlier process of this node let in is
 * thought of as let in just now. */
void login_share_init(struct login_share *s, const char *id, int64_t max_rate, int64_t now_ns);

/* The connection to the database was lost: nobody is gone for what was not heard meanwhile. */
void login_share_contact_lost(struct login_share *s);

/*
 * Reads the table; s->share goes down at once where it must, and up to what the node's own row
 * says.  With out->raise: again on what was read under the lock, then the write, then, when that is
 * committed, login_share_raised.
 */
void login_share_plan(struct login_share *s, const struct login_row *rows, size_t count,
                      int64_t now_ns, struct login_plan *out);
/* The raise is committed. */
void login_share_raised(struct login_share *s, int64_t share, int64_t now_ns);

/* Without a row that says so: the share is so much for now, since the table cannot be asked. */
void login_share_assume(struct login_share *s, int64_t share);

/* What is kept for nodes that come. */
int64_t login_share_reserve(int64_t max_rate);
/* For a node that cannot have a row: as if there were LOGIN_ASSUMED_NODES; at least 1. */
enum { LOGIN_ASSUMED_NODES = 10 };
int64_t login_share_assumed(int64_t max_rate);

#endif
