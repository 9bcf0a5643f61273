/*
 * The AWS credentials that sign the tokens of the store's logins: one chain, as 'sallyport start'
 * finds its own, and the sessions of pg_iam_auth_assume_role_arn and its pg_ro_ twin, all kept and
 * refreshed ahead.  So a login asks AWS nothing while they are valid.
 *
 *     while (store_identity_get(x, pg, …) == AWS_WAIT)
 *         wait for store_identity_fd to be readable, or for store_identity_turn's time; turn
 *
 * Thread rule: all functions on one thread, which nothing here makes wait.
 */
#ifndef SALLYPORT_CLI_STORE_IDENTITY_H
#define SALLYPORT_CLI_STORE_IDENTITY_H

#include "aws/sessions.h"
#include "model/node.h"
#include "store/store.h"

struct store_identity;

/* Reads the environment.  region_hint: what is known without asking (store_region); copied. */
err store_identity_new(struct view region_hint, struct store_identity **out) MUST_USE;
/* What is in flight is cancelled. */
void store_identity_free(struct store_identity *x);
/* Whether it was made for a login of this region. */
bool store_identity_fits(const struct store_identity *x, const struct pg_settings *pg);

/*
 * The credentials of the role of these settings, until the next call.  AWS_FAILED with *e and why:
 * store_unreachable when they cannot be had just now (it is tried again by itself), else a source
 * that is set up wrongly.
 */
enum aws_ready store_identity_get(struct store_identity *x, const struct pg_settings *pg,
                                  const struct aws_credentials **out, err *e,
                                  struct store_why *why);
/* The settings may name other roles from now on: those that are asked for again stay. */
void store_identity_unpin(struct store_identity *x);
/* For a token where neither setting nor host name says one; "" when none is known. */
struct view store_identity_region(const struct store_identity *x);

int store_identity_fd(const struct store_identity *x);
/* Does what is due; returns when to call again at the latest (monotonic milliseconds). */
int64_t store_identity_turn(struct store_identity *x);

#endif
