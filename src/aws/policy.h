/* Texts of IAM policies that `sallyport setup --iam` prints. */
#ifndef SALLYPORT_AWS_POLICY_H
#define SALLYPORT_AWS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/view.h"

/* arn:PARTITION:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/USER.  An absent part stands as a
 * placeholder in capital letters, such as ACCOUNT-ID.  resource_id is db-…, cluster-… or prx-…. */
struct aws_db_user {
    struct view region;
    struct view account;
    struct view resource_id;
    struct view user;
};

void aws_policy_add_db_user_arn(struct buf *out, const struct aws_db_user *user);

/* {"Version": …}: rds-db:connect on exactly these users. */
void aws_policy_add_connect(struct buf *out, const struct aws_db_user *users, size_t count);

/* What a session takes beside sts:AssumeRole, in the trust policy of its role and in a policy of
 * who assumes it ("Pass session tags in AWS STS", "Monitor and control actions taken with assumed
 * roles"). */
enum aws_session_needs { AWS_SESSION_TAGS = 1, AWS_SESSION_SOURCE_IDENTITY = 2 };

/* Who may assume the role: one principal's ARN (absent: a placeholder). */
void aws_policy_add_trust(struct buf *out, struct view principal_arn, unsigned needs);

/* The same where the principal is an issuer of tokens, registered in IAM as an OIDC provider. */
void aws_policy_add_web_trust(struct buf *out, struct view partition, struct view account);

/* For who assumes the role: that it may. */
void aws_policy_add_assume(struct buf *out, struct view role_arn, unsigned needs);

/* A secret of Secrets Manager: a name stands for itself and the six characters that AWS adds to it
 * in ARNs, an ARN for itself.  Absent parts as above. */
struct aws_secret_use {
    struct view id; /* name or ARN */
    struct view region;
    struct view account;
    bool rotated; /* here, too */
};

/* {"Version": …}: reading these secrets, and what a rotation does to those that are rotated. */
void aws_policy_add_secrets(struct buf *out, const struct aws_secret_use *uses, size_t count);

#endif
