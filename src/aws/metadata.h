/*
 * What the container's and the instance's endpoints answer: credentials in JSON ("IAM roles for
 * tasks" of the ECS developer guide, "EKS Pod Identity", "Retrieve security credentials from
 * instance metadata" of the EC2 user guide).  Pure.
 */
#ifndef SALLYPORT_AWS_METADATA_H
#define SALLYPORT_AWS_METADATA_H

#include <stdint.h>

#include "aws/credentials.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum { METADATA_ANSWER_MAX_BYTES = 64 * 1024 };

/* No JSON object with AccessKeyId, SecretAccessKey, Token and Expiration. */
extern const struct fault metadata_malformed;
/* The instance's metadata service answered with another Code than Success. */
extern const struct fault metadata_no_success;

/* detail gets the Code of metadata_no_success ("" otherwise).  Also
 * aws_credentials_expired_on_arrival (aws/sts.h), and those of aws_credentials_init. */
err metadata_read_credentials(struct view body, int64_t now_us, const char *source,
                              struct aws_credentials *out, char *detail, size_t size) MUST_USE;

/* "code: message" of an error's JSON, free of control characters; "" when the body is none. */
void metadata_describe_error(struct view body, char *out, size_t size);

#endif
