/*
 * AWS credentials for a command that runs once: the chain that `start` has, on a loop of its own.
 * One attempt; it is not tried again.
 */
#ifndef SALLYPORT_CLI_AWS_ERRAND_H
#define SALLYPORT_CLI_AWS_ERRAND_H

#include <stdbool.h>
#include <uv.h>

#include "aws/chain.h"
#include "net/fetch.h"
#include "net/run.h"

struct aws_errand {
    uv_loop_t loop;
    struct net_fetcher *fetcher;
    struct net_runner *runner;
    struct credential_chain *chain;
};

/* region: of an option or a host name, absent: from the environment, the profile, or where this
 * runs.  profile: absent, or the one of --profile.  False when there is no memory, which is said on
 * standard error; the errand is not to be ended then. */
bool aws_errand_begin(struct aws_errand *x, struct view region, struct view profile);
/* Until the first attempt has ended, and until the region is known or cannot be. */
void aws_errand_wait(struct aws_errand *x, struct chain_status *out);
void aws_errand_end(struct aws_errand *x);

#endif
