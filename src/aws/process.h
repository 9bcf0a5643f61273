/*
 * `credential_process` of a profile ("Process credential provider" of the AWS SDKs and Tools
 * reference guide): its command line and its answer.  Pure.
 */
#ifndef SALLYPORT_AWS_PROCESS_H
#define SALLYPORT_AWS_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum {
    PROCESS_WORDS_MAX = 64,
    PROCESS_TIMEOUT_MS = 60 * 1000,      /* as the SDK for Go has it */
    PROCESS_ANSWER_MAX_BYTES = 64 * 1024, /* as the SDK for Java has it */
};

/* An open quote, a '\' at the end, too many words, or none. */
extern const struct fault process_bad_command;
/* No JSON object with Version 1, AccessKeyId and SecretAccessKey. */
extern const struct fault process_malformed;
extern const struct fault process_bad_version; /* another Version than 1 */

/*
 * The words of the command line.  No shell: blanks part words; '…' is taken as it stands; within
 * "…" a '\' stands for itself unless '"' or '\' follows; outside quotes '\' takes the next
 * character as it stands.  That is the rule of the AWS CLI and of botocore (Python's shlex.split).
 * No variable, no '~' and no '*' is replaced.  The words live in the arena.
 */
err process_split(struct arena *arena, struct view command, struct view words[PROCESS_WORDS_MAX],
                  size_t *count) MUST_USE;

/* SessionToken and Expiration may be absent (or null): then the credentials have no end.  Also
 * aws_credentials_expired_on_arrival, and those of aws_credentials_init. */
err process_read_credentials(struct view output, int64_t now_us, const char *source,
                             struct aws_credentials *out) MUST_USE;

#endif
