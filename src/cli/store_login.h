/* What commands share that work on the configuration in PostgreSQL. */
#ifndef SALLYPORT_CLI_STORE_LOGIN_H
#define SALLYPORT_CLI_STORE_LOGIN_H

#include "base/buf.h"
#include "cli/node.h"
#include "model/node.h"
#include "store/store.h"

/*
 * Opens the read-write connection as sallyport.conf says, as Kong's commands do.  With pg_iam_auth
 * the credentials are found first, as 'sallyport start' finds them, and pg_iam_auth_assume_role_arn
 * is assumed; that waits for the network.  db_timeout_s 0: pg_timeout holds.  NULL after a message
 * on standard error.
 */
struct store *cli_store_open(const struct node_config *node, int64_t db_timeout_s);

/* The same without messages, by any of the node's connections.  cancel_fd: waiting ends once it is
 * readable; 0: none.  After store_forget_environment. */
err cli_store_connect(const struct node_config *node, const struct pg_settings *pg, int cancel_fd,
                      struct store **out, struct store_why *why) MUST_USE;

/* By which the configuration is read; "read-only" or "read-write". */
const struct pg_settings *cli_store_reader(const struct node_config *node);
const char *cli_store_reader_name(const struct node_config *node);

/* Reads the configuration, as sallyport.yaml. */
err cli_store_text(struct store *s, struct buf *out, int64_t *revision,
                   struct store_why *why) MUST_USE;

/* Of a connection or a read: the database cannot be reached now, which says nothing against what
 * was read before. */
bool cli_store_is_away(err e);

/* Reads the configuration into the file with the suffix beside node->declarative_config. */
err cli_store_read(const struct node_config *node, const char *suffix, struct store *s,
                   int64_t *revision, struct store_why *why) MUST_USE;

struct cli_fetched {
    char path[CLI_PATH_BYTES + 16]; /* what is to be served */
    int64_t revision;               /* -1: the kept copy's, which is not known */
};

/*
 * For database = postgres: connects and reads as cli_store_read.  Before any thread starts.  False
 * after a message.  When the database cannot be reached, or refuses the login, and a whole copy of
 * an earlier one is there, *out is that: true, with a warning, or an error, in the log.
 */
bool cli_store_fetch(const struct node_config *node, const char *suffix,
                     struct cli_fetched *out) MUST_USE;

/* A kept copy that is to be read is whole; true too when there is none, or no database.  False
 * after a message. */
bool cli_store_copy_is_whole(const struct node_config *node) MUST_USE;

/* "Error: …" of a failure, on standard error; returns 1. */
int cli_store_complain(err e, const struct store_why *why);
/* Of the connection that reads: a refused login is said with which it was. */
int cli_store_complain_reader(const struct node_config *node, err e, const struct store_why *why);

#endif
