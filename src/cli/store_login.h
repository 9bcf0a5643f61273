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

/* The same without messages, by any of the node's connections. */
err cli_store_connect(const struct node_config *node, const struct pg_settings *pg,
                      struct store **out, struct store_why *why) MUST_USE;

/*
 * For database = postgres: reads the configuration, by the read-only connection where there is one,
 * into node->declarative_config, whole or not at all, mode 0600.  Before any thread starts.  False
 * after a message.  When the database cannot be reached and an earlier one is there, that stays:
 * true, with a warning.
 */
bool cli_store_fetch(const struct node_config *node) MUST_USE;

/* "Error: …" of a failure, on standard error; returns 1. */
int cli_store_complain(err e, const struct store_why *why);

#endif
