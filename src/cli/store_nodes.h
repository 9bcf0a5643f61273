/*
 * With database = postgres: this node's row among the others', and so its share of the logins by
 * IAM (limit/login_share.h has the protocol, store/nodes.h the table).
 *
 * What is known besides the row stands in the prefix as store.node: the node's id, and the share
 * that it had, for a start while the database is away.  In force without a row:
 *
 *   away, had a share       that one
 *   away, never had one     what store.node says; else login_share_assumed, as a node that may not
 *                           write the table (a login with SELECT alone): as one of ten
 *   away, share of nothing  a login now and then (more nodes than logins take turns)
 *
 * Thread rule: store_nodes_status by any thread, all else by the one that owns the connection.
 */
#ifndef SALLYPORT_CLI_STORE_NODES_H
#define SALLYPORT_CLI_STORE_NODES_H

#include "limit/login_pace.h"
#include "model/node.h"
#include "store/store.h"

struct store_nodes;

struct store_nodes_status {
    const char *state; /* "joining", "shared" (the row says it), "kept" (of before), "assumed" */
    int64_t share;
    size_t nodes; /* 0: not known */
};

/* The pace must outlive it.  NULL: no memory. */
struct store_nodes *store_nodes_new(const struct node_config *node, struct login_pace *pace);
void store_nodes_free(struct store_nodes *n);

/* Before a login by IAM by these settings is begun; false: not yet. */
bool store_nodes_may_login(struct store_nodes *n, const struct pg_settings *pg);
/* The latest one was not made after all. */
void store_nodes_no_login(struct store_nodes *n, const struct pg_settings *pg);

/* In monotonic ms: when the row is to be renewed. */
int64_t store_nodes_due_ms(const struct store_nodes *n);
/* Renews it when it is time, by the read-write connection.  Fails only where that is lost. */
err store_nodes_renew(struct store_nodes *n, struct store *s, struct store_why *why) MUST_USE;
/* The read-write connection was lost, or could not be made. */
void store_nodes_lost(struct store_nodes *n);
/* The end: the row counts no more once its last second is over.  s may be NULL. */
void store_nodes_leave(struct store_nodes *n, struct store *s);

void store_nodes_status(struct store_nodes *n, struct store_nodes_status *out);

#endif
