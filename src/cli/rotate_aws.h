/* Secrets Manager for commands: one question at a time, asked again while that may help. */
#ifndef SALLYPORT_CLI_ROTATE_AWS_H
#define SALLYPORT_CLI_ROTATE_AWS_H

#include <stdbool.h>
#include <uv.h>

#include "aws/chain.h"
#include "aws/secrets_manager.h"
#include "aws/sessions.h"
#include "base/arena.h"
#include "base/err.h"
#include "model/entities.h"
#include "net/fetch.h"
#include "net/run.h"

enum { ROTATE_ATTEMPTS = 5, ROTATE_PAUSE_FIRST_MS = 200, ROTATE_DETAIL_BYTES = 640 };

struct rotate_aws_options {
    struct view region;       /* --region; absent: the secret's ARN, the configuration, AWS's own */
    struct view endpoint_url; /* --endpoint-url; absent: AWS_ENDPOINT_URL_SECRETS_MANAGER… */
    struct view secret_id;    /* an ARN names its region */
    const struct vault *vault; /* what the configuration says of region, endpoint and role */
};

struct rotate_aws {
    uv_loop_t loop;
    struct net_fetcher *fetcher;
    struct net_runner *runner; /* of credential_process */
    struct credential_chain *chain;
    struct aws_sessions *sessions; /* of the vault's role; NULL: none */
    const struct vault *vault;
    struct sts_endpoint sts; /* where that role is assumed */
    struct sm_endpoint endpoint;
    struct arena arena;
    char detail[ROTATE_DETAIL_BYTES]; /* of what failed last; "" when there is no more to say */
    /* The question that is out. */
    struct sm_exchange *exchange;
    void (*take)(void *arg, const struct sm_answer *answer);
    void *take_arg;
    err answer;
    bool answered;
};

/* Finds credentials and the endpoint.  On failure detail says more; close it all the same. */
err rotate_aws_open(struct rotate_aws *a, const struct rotate_aws_options *o) MUST_USE;
void rotate_aws_close(struct rotate_aws *a);

/* Asks, and again for as long as sm_is_transient, with growing pauses.  take (may be NULL) gets the
 * answer, whose views live until it returns. */
err rotate_aws_ask(struct rotate_aws *a, const struct sm_call *call,
                   void (*take)(void *arg, const struct sm_answer *answer), void *arg) MUST_USE;

#endif
