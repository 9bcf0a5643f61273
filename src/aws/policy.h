/* Texts of IAM policies that `sallyport setup --iam` prints. */
#ifndef SALLYPORT_AWS_POLICY_H
#define SALLYPORT_AWS_POLICY_H

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

/* Who may assume the role: one principal's ARN (absent: a placeholder). */
void aws_policy_add_trust(struct buf *out, struct view principal_arn);

#endif
