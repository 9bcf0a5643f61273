/*
 * One run through a plan's steps: from the first source, through each role, to credentials.
 *
 * Sans-IO but for small files (tokens, read anew each time): it asks the fetcher, one exchange at
 * a time, and nothing is tried again here.  All on the fetcher's thread.
 */
#ifndef SALLYPORT_AWS_RETRIEVAL_H
#define SALLYPORT_AWS_RETRIEVAL_H

#include "aws/plan.h"
#include "base/fetch.h"
#include "base/run.h"
#include "base/time.h"

enum {
    RETRIEVAL_METADATA_TIMEOUT_MS = 2000,  /* the instance's: an address that answers or does not */
    RETRIEVAL_CONTAINER_TIMEOUT_MS = 5000, /* behind it somebody may ask STS */
    RETRIEVAL_DETAIL_MAX = 320,
    INSTANCE_SESSION_S = 21600, /* of a version 2 session; the longest there is */
};

struct retrieval;

/* credentials are the callee's to take (and are then zeroed by it) with an e of OK; else detail
 * says more.  Called once; also from within retrieval_start. */
typedef void retrieval_done(void *arg, err e, const char *detail,
                            struct aws_credentials *credentials);

struct retrieval_options {
    struct fetcher *fetcher;
    struct runner *runner; /* NULL: a step of credential_process fails */
    const struct clock *clock;
    const struct aws_environment *environment; /* the container's token */
    const struct aws_plan *plan;               /* these outlive the run, unless it is abandoned */
    retrieval_done *done;
    void *arg;
};

extern const struct fault retrieval_status;             /* another status than 200 */
extern const struct fault retrieval_token_unreadable;   /* a token file: why is in the detail */
extern const struct fault retrieval_token_malformed;    /* empty, or with a line end within */
extern const struct fault retrieval_no_instance_role;   /* the instance has no role */
extern const struct fault retrieval_no_runner;          /* no runner was given */
extern const struct fault retrieval_process_failed;     /* exit status or signal: in the detail */
extern const struct fault retrieval_no_session;         /* IMDSv2 refused; v1 is not allowed */

/* fault_out_of_memory, and done is not called; else it is.  *slot is the run as long as it goes on,
 * and NULL when done is called; it must live as long. */
err retrieval_start(const struct retrieval_options *options, struct retrieval **slot) MUST_USE;
/* done will not be called; what is in flight ends without effect. */
void retrieval_abandon(struct retrieval *r);

#endif
