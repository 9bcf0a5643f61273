/*
 * Prepares every statement of a snapshot once as each role that may run it, so that a mistake in a
 * statement or a missing grant is reported at start, with route, role and position, and not by the
 * first caller.  Then proves of each read, as that role, that it leaves no trace (proof.h); until
 * then its session is reset after it.  Executes no statement of a route.  Runs on one worker, in
 * the background; tries again later while a database cannot be reached.
 *
 * Where every caller has an IAM session of its own, there is none to log in with before somebody
 * called: then all of this waits for the first connection, and runs on whosever is free.
 *
 * What was proved is proved anew all the time, since a view or a policy may be changed: a quarter
 * of a minute after the last time, or later where the proofs would take more than a twentieth of
 * one connection.  While the catalog cannot be asked, what is known of it stands.  So does, after a
 * reload, what the snapshot before knew, but no longer than twice that time since it was asked.
 */
#ifndef SALLYPORT_GATEWAY_PREPARE_H
#define SALLYPORT_GATEWAY_PREPARE_H

#include "gateway/worker.h"

struct prepare_run;

/* On the worker's thread; takes a reference of the snapshot.  NULL without memory. */
struct prepare_run *prepare_new(struct worker *w, struct snapshot *s);
/* Starts what may start now; on every tick. */
void prepare_tick(struct prepare_run *run);
/* Lets go of it; calls in flight end without effect. */
void prepare_free(struct prepare_run *run);

#endif
