/*
 * Prepares every statement of a snapshot once as each role that may run it, so that a mistake in a
 * statement or a missing grant is reported at start, with route, role and position, and not by the
 * first caller.  Executes nothing.  Runs on one worker, in the background; tries again later while
 * a database cannot be reached.
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
