/*
 * The nodes that serve one configuration: a row for each in sallyport_nodes, renewed every few
 * seconds through the read-write connection.  What the rows mean for the logins that each may make
 * stands in limit/login_share.h, whose plan is carried out here.
 *
 * Nothing of it is notified: no node reads its configuration anew because of another's row.
 */
#ifndef SALLYPORT_STORE_NODES_H
#define SALLYPORT_STORE_NODES_H

#include "limit/login_share.h"
#include "store/store.h"

struct node_self {
    char id[LOGIN_ID_BYTES];   /* of the node, through its restarts */
    char boot[LOGIN_ID_BYTES]; /* of the process */
    struct view name;          /* NUL-terminated, as is the version */
    struct view version;
};

/* Makes the node's row, with a share of nothing; or takes over the one that an earlier process of
 * the node left, with its share.  *share: which. */
err nodes_join(struct store *s, const struct node_self *self, int64_t *share,
               struct store_why *why) MUST_USE;

/* All rows, LOGIN_NODES_MAX + 1 at most.  rows has room for as many. */
err nodes_read(struct store *s, struct login_row *rows, size_t *count,
               struct store_why *why) MUST_USE;

/* Renews the row and sets its share.  *found false: there is none of this process any more. */
err nodes_renew(struct store *s, const struct node_self *self, int64_t share,
                double logins_per_second, bool *found, struct store_why *why) MUST_USE;

/* Deletes the row when it is still as it was seen. */
err nodes_delete(struct store *s, const struct login_row *row, struct store_why *why) MUST_USE;

/* What is between the two is done by one node at a time, and no row that nodes_read gave changes
 * meanwhile.  store_locked: another takes too long.  Ended by store_commit or store_rollback. */
err nodes_lock(struct store *s, struct store_why *why) MUST_USE;
err nodes_read_locked(struct store *s, struct login_row *rows, size_t *count,
                      struct store_why *why) MUST_USE;

/* The row counts no more after so long; 0: it is deleted. */
err nodes_leave(struct store *s, const struct node_self *self, int64_t after_ms,
                struct store_why *why) MUST_USE;

#endif
