/*
 * With database = postgres: what a running node hears of changes, on a thread of its own.
 *
 *   NOTIFY, poll, SIGHUP ─► read (one snapshot) ─► PATH.next ─► control_offer ─► served ─► kept
 *                                                                      └► refused: the old goes on
 *
 * It LISTENs on the read-write connection and reads by the read-only one where there is one.  One
 * offer at a time; what changes meanwhile is read after it.  How the connections are kept, and the
 * writer is followed: store/line.h; each login has a token of its own, from credentials that are
 * kept, too (cli/store_identity.h).
 *
 * Thread rule: all functions on the control thread; they do not wait, but for _stop.
 */
#ifndef SALLYPORT_CLI_STORE_WATCH_H
#define SALLYPORT_CLI_STORE_WATCH_H

#include "cli/store_nodes.h"
#include "gateway/control.h"
#include "model/node.h"
#include "store/lookup.h"

struct store_watch;

struct store_watch_status {
    bool reachable;       /* the latest question was answered */
    bool listening;
    int64_t revision;     /* served; -1: the kept copy's, which is not known */
    int64_t refused;      /* -1: none */
    char mistake[512];    /* of the refused one */
    char last_error[512]; /* ""; never a secret */
    char writer[STORE_ADDRESS_BYTES]; /* where the connections go to; "": away */
    char reader[STORE_ADDRESS_BYTES]; /* without a read-only one: the writer's */
    struct store_nodes_status nodes;
};

/* Begins; `revision` is served already, -1 when the kept copy is.  NULL: no memory, no thread. */
struct store_watch *store_watch_start(struct control *c, const struct node_config *node,
                                      int64_t revision);
void store_watch_status(struct store_watch *w, struct store_watch_status *out);
/* Waits for the thread, which gives up what it waits for; the loop has to turn once more before
 * store_watch_free.  NULL is harmless. */
void store_watch_stop(struct store_watch *w);
void store_watch_free(struct store_watch *w);

#endif
