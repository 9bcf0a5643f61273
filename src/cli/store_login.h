/* What commands share that work on the configuration in PostgreSQL. */
#ifndef SALLYPORT_CLI_STORE_LOGIN_H
#define SALLYPORT_CLI_STORE_LOGIN_H

#include "model/node.h"
#include "store/store.h"

/*
 * Opens the read-write connection as sallyport.conf says, as Kong's commands do.  With pg_iam_auth
 * the credentials are found first, as 'sallyport start' finds them, and pg_iam_auth_assume_role_arn
 * is assumed; that waits for the network.  db_timeout_s 0: pg_timeout holds.  NULL after a message
 * on standard error.
 */
struct store *cli_store_open(const struct node_config *node, int64_t db_timeout_s);

/* "Error: …" of a failure, on standard error; returns 1. */
int cli_store_complain(err e, const struct store_why *why);

#endif
