/*
 * A connection to the store that is kept: made anew when it is lost, and, on the read-write one,
 * when the writer is elsewhere.
 *
 *   away ─► opening ─► up ─► asked ─► up ─► …        lost: away
 *                       └ opening another, because the name moved: the old one serves until then
 *
 * The writer is found again by all that can tell.  The name is looked up every 250 ms while writes
 * go there, and an address that is no longer among its own is left for one that is; a connection
 * that is lost is made anew at once; and the server is asked every 500 ms whether it still writes.
 * A standby is stayed on and asked every 200 ms, for it may be promoted, which costs no login;
 * other addresses of the name are tried beside it.
 *
 * What costs the server nothing is tried often: as long as nobody takes the connection, or the
 * server only starts, about every 200 ms.  Logins that fail are paced, by chance (full jitter) up
 * to 0.5 s, 1 s and so on, at most 1 s, 3 s by IAM (RDS takes at most 200 logins by IAM a second,
 * from all nodes), 15 s where the login is refused; so are those that LISTEN breaks off.  Addresses
 * that change hurry four logins within 30 s, and no more: those of some names always do.
 *
 * Thread rule: all functions on one thread.  None waits for the network, but that LISTEN and
 * pg_schema are said in one round trip each to a server that has just answered.
 */
#ifndef SALLYPORT_STORE_LINE_H
#define SALLYPORT_STORE_LINE_H

#include "aws/sessions.h"
#include "store/store.h"

enum {
    STORE_LINE_WAITS = STORE_ADDRESSES_MAX + 2,
    STORE_POLL_MS = 5000, /* what only reads is asked so often, unless there is news */
};

/* Credentials that are kept by somebody else (cli/store_identity.h). */
struct store_signer {
    enum aws_ready (*get)(void *arg, const struct pg_settings *pg,
                          const struct aws_credentials **out, err *e, struct store_why *why);
    struct view (*region)(void *arg, const struct pg_settings *pg);
    void *arg;
};

/* What a turn has brought. */
enum {
    LINE_REACHED = 1,  /* a connection is new; on one that writes: LISTEN is, too */
    LINE_HEARD = 2,    /* NOTIFY: `number` */
    LINE_ANSWERED = 4, /* `revision` (of one that reads), `standby` */
    LINE_FAILED = 8,   /* an attempt, the connection, or the question: `error`, `why` */
};

struct store_line {
    const char *name; /* for the log */
    bool writes;      /* LISTENs, and follows the writer */
    bool reads;       /* asks for the latest revision */
    int stop_fd;      /* ends the little that waits, once it is readable */

    /* To be read. */
    struct store *s; /* NULL: away */
    bool listening;
    bool standby; /* only reads, says the latest answer */
    int64_t revision;
    int64_t number;
    err error; /* of the latest attempt or question */
    struct store_why why;

    /* Its own. */
    const struct node_config *node;
    const struct pg_settings *pg;
    struct store_signer signer; /* without IAM: not asked */
    struct lookup *lookup;      /* NULL: the host is an address */
    struct store_addresses addresses; /* the latest that were found */
    bool looking;
    int64_t look_ms;
    struct store_opening *opening;
    char left[STORE_ADDRESS_BYTES];    /* what was hung up for the name's sake; "": none */
    char avoided[STORE_ADDRESS_BYTES]; /* the latest that took a connection in vain */
    bool taken;                        /* the latest attempt: it may have been a login */
    unsigned failures;                 /* in a row */
    bool troubled, refused, told;      /* what the log has said: amiss, how, a standby */
    int64_t due_ms;                    /* of the next attempt */
    unsigned hurries;                  /* attempts that new addresses made due at once */
    int64_t hurries_end_ms;            /* then they count from zero */
    bool asked;
    int64_t asked_ms;
    int64_t ask_ms; /* of the next question; on one that is asked: once more */
};

/* Away, to be reached at once.  node and pg have to live until store_line_close. */
err store_line_open(struct store_line *l, const struct node_config *node,
                    const struct pg_settings *pg, const struct store_signer *signer) MUST_USE;
/* May be opened again.  A zeroed one may be closed. */
void store_line_close(struct store_line *l);

/* Does what is due; returns what it brought, LINE_… */
unsigned store_line_turn(struct store_line *l);
/* What to wait for, at most STORE_LINE_WAITS; and how long (monotonic). */
size_t store_line_waits(const struct store_line *l, struct pollfd *at);
int64_t store_line_due_ms(const struct store_line *l);

/* The next question comes at once, or by that time. */
void store_line_ask_by(struct store_line *l, int64_t when_ms);
/* For what its owner does with the connection and waits for: whether the name, which is looked up
 * meanwhile as ever, leads elsewhere now. */
bool store_line_moved(struct store_line *l);
/* The connection turned out to be lost, in what its owner did with it. */
void store_line_lose(struct store_line *l, err e, const struct store_why *why);

/* ---- Policy, for tests ---- */

enum store_miss {
    MISS_NOBODY,  /* nobody took the connection, or the server only starts: no login was made */
    MISS_FAILED,  /* somebody did, and it came to nothing */
    MISS_REFUSED, /* the login is refused, and will be so again */
};
enum store_miss store_miss_of(err e, const struct store_why *why, bool taken);
/* The longest pause after so many misses in a row. */
int64_t store_pause_max_ms(enum store_miss miss, bool iam, unsigned failures);

#endif
