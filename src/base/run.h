/*
 * The seam through which rooms without processes have a program run: `credential_process` of an AWS
 * profile.  `net` gives the real one; tests put in their own.
 */
#ifndef SALLYPORT_BASE_RUN_H
#define SALLYPORT_BASE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/view.h"

/* Everything is copied before `start` returns. */
struct run_request {
    const struct view *words; /* the program (in PATH when it has no '/'), its arguments */
    size_t count;             /* at least 1 */
    int64_t timeout_ms;       /* for the whole run; then the program's process group is killed */
    size_t max_bytes;         /* of standard output; more is an error */
};

struct run_result {
    int exit_status;     /* when signal is 0 */
    int signal;          /* that ended the program; 0: it ended by itself */
    struct view output;  /* standard output: may hold secrets, and is wiped after the callback */
    struct view message; /* the first bytes of standard error */
};

/* Called once, on the thread of the loop that the runner belongs to, never from within start.
 * `result` is NULL when e says failure; its views live until the callback returns.  Another exit
 * status than 0 is no failure of the run.  detail says more about a failure, for the log. */
typedef void run_done(void *arg, err e, const char *detail, const struct run_result *result);

struct runner {
    void (*start)(struct runner *r, const struct run_request *request, run_done *done, void *arg);
};

#endif
