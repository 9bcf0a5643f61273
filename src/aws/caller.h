/*
 * Whose credentials these are: one GetCallerIdentity, which every identity may ask ("AWS Security
 * Token Service API Reference"; no permission is needed).  For the ARN in the audit where the
 * source of the credentials does not say it (a container's, an instance's).
 *
 * All on the fetcher's thread; nothing is tried again.
 */
#ifndef SALLYPORT_AWS_CALLER_H
#define SALLYPORT_AWS_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/sts.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/fetch.h"

enum { CALLER_DETAIL_MAX = 320 };

struct caller_question;

struct caller_answer {
    const char *access_key_id; /* of the credentials that were asked about */
    const char *account;       /* "" with a failure, as the ARN */
    const char *arn;
    const char *detail; /* more about a failure */
    bool refused;       /* a failure that is the credentials' own: they are of no use */
};

/* Called once, never from within caller_ask; the texts live until it returns. */
typedef void caller_done(void *arg, err e, const struct caller_answer *answer);

/* An answer of another status than 200. */
extern const struct fault caller_refused;

/* With a failure done is not called.  *slot is the question as long as it is open, and NULL when
 * done is called. */
err caller_ask(struct fetcher *fetcher, const struct sts_endpoint *endpoint,
               const struct aws_credentials *credentials, int64_t now_us, struct view ca_file,
               caller_done *done, void *arg, struct caller_question **slot) MUST_USE;
/* done will not be called; the answer comes without effect. */
void caller_abandon(struct caller_question *q);

#endif
