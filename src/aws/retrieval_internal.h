/* What retrieval.c and the files of its steps share. */
#ifndef SALLYPORT_AWS_RETRIEVAL_INTERNAL_H
#define SALLYPORT_AWS_RETRIEVAL_INTERNAL_H

#include "aws/retrieval.h"
#include "aws/sso.h"

enum { RETRIEVAL_ROLE_NAME_MAX = 256 };

/* EC2: PUT …/token ─► GET …/security-credentials/ ─► GET …/security-credentials/ROLE */
enum instance_stage { INSTANCE_SESSION, INSTANCE_ROLE, INSTANCE_CREDENTIALS };
/* IAM Identity Center: POST …/token, when the cached one is about to end ─► GET …/credentials */
enum sso_stage { SSO_REFRESH, SSO_CREDENTIALS };

struct retrieval {
    struct retrieval_options o; /* done is NULL once abandoned */
    struct retrieval **slot;
    size_t at;                  /* the step under way */
    struct aws_credentials held; /* of the steps before */
    char label[AWS_CREDENTIAL_SOURCE_MAX + 1];
    char detail[RETRIEVAL_DETAIL_MAX];
    enum instance_stage stage;
    struct secret session; /* of the instance's metadata service; absent with version 1 */
    char role[RETRIEVAL_ROLE_NAME_MAX + 1];
    enum sso_stage sso_stage;
    struct sso_token sso;
    char refresh_detail[160]; /* why the token's refresh failed */
    bool in_flight;
};

static inline const struct aws_step *retrieval_step(const struct retrieval *r)
{
    return &r->o.plan->steps[r->at];
}

static inline int64_t retrieval_now_us(const struct retrieval *r)
{
    return clock_wall_us(r->o.clock);
}

/* Of an abandoned run, when its last answer has come. */
void retrieval_free(struct retrieval *r);
/* Sets the detail. */
void retrieval_say(struct retrieval *r, const char *format, ...) PRINTF_LIKE(2, 3);

struct retrieval_ask {
    struct view method;
    struct view url;
    const struct fetch_header *headers;
    size_t header_count;
    struct view body;
    int64_t timeout_ms;
};
/* The answer comes to the step's `take`. */
void retrieval_fetch(struct retrieval *r, const struct retrieval_ask *ask);

/* Takes the credentials of the step in place of those held. */
void retrieval_hold(struct retrieval *r, struct aws_credentials *fresh);
/* The step has ended: on to the next, or to the end. */
void retrieval_next(struct retrieval *r, err e);

/* Each begins its step; an answer, also one that failed, comes to take.  *more: another exchange of
 * the same step has begun. */
err retrieval_begin_process(struct retrieval *r) MUST_USE;
err retrieval_begin_sso(struct retrieval *r) MUST_USE;
err retrieval_take_sso(struct retrieval *r, const struct fetch_response *response,
                       bool *more) MUST_USE;
/* No answer: *more when the token at hand serves all the same; else false with the detail said. */
err retrieval_sso_unanswered(struct retrieval *r, err e, const char *detail, bool *more) MUST_USE;

#endif
