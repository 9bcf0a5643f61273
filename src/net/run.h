/*
 * The real runner (base/run.h): programs as children of this process, by libuv.
 *
 * No shell.  A child gets this process's environment, /dev/null for its input, a pipe for each of
 * its outputs, and no other descriptor; it stands in a session and process group of its own, which
 * is killed whole when its time is over, when it writes too much, or when the runner is closed.
 * What it wrote is wiped.
 *
 * Thread rule: everything on the loop's thread.
 */
#ifndef SALLYPORT_NET_RUN_H
#define SALLYPORT_NET_RUN_H

#include <uv.h>

#include "base/err.h"
#include "base/run.h"

enum {
    RUN_WORDS_MAX = 256,
    RUN_MESSAGE_MAX_BYTES = 2048, /* of standard error; what comes after is read and dropped */
};

struct net_runner;

extern const struct fault run_refused;   /* no word, too many, or a NUL in one */
extern const struct fault run_failed;    /* it cannot be started: why is in the detail */
extern const struct fault run_timed_out;
extern const struct fault run_too_large; /* more than max_bytes */
extern const struct fault run_cancelled; /* net_runner_close came first */

/* NULL when there is no memory.  The loop must outlive the close callback. */
struct net_runner *net_runner_new(uv_loop_t *loop);

/* The seam to hand to rooms without processes; valid until net_runner_close. */
struct runner *net_runner_base(struct net_runner *r);

/* Kills what runs, fails it with run_cancelled (the callbacks run before this returns; they may not
 * start new ones), frees r, then calls closed(arg) from the loop (closed may be NULL). */
void net_runner_close(struct net_runner *r, void (*closed)(void *arg), void *arg);

#endif
