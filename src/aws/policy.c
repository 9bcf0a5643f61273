#include "aws/policy.h"

#include "aws/region.h"
#include "json/json.h"

static void add_or(struct buf *out, struct view text, const char *placeholder)
{
    if (text.len > 0)
        buf_add_view(out, text);
    else
        buf_add_str(out, placeholder);
}

/* '*', '?' and '$' would be patterns and variables ("IAM policy elements: Variables and tags"). */
static void add_user(struct buf *out, struct view user)
{
    for (size_t i = 0; i < user.len; i++) {
        char c = user.data[i];
        if (c == '*' || c == '?' || c == '$') {
            buf_add_str(out, "${");
            buf_add_char(out, c);
            buf_add_char(out, '}');
        } else {
            buf_add_char(out, c);
        }
    }
}

void aws_policy_add_db_user_arn(struct buf *out, const struct aws_db_user *user)
{
    buf_add_str(out, "arn:");
    buf_add_view(out, aws_partition_of_region(user->region));
    buf_add_str(out, ":rds-db:");
    add_or(out, user->region, "REGION");
    buf_add_char(out, ':');
    add_or(out, user->account, "ACCOUNT-ID");
    buf_add_str(out, ":dbuser:");
    add_or(out, user->resource_id, "DB-RESOURCE-ID");
    buf_add_char(out, '/');
    if (user->user.len > 0)
        add_user(out, user->user);
    else
        buf_add_str(out, "DB-USER");
}

void aws_policy_add_connect(struct buf *out, const struct aws_db_user *users, size_t count)
{
    struct buf arn;

    buf_add_str(out, "{\n"
                     "  \"Version\": \"2012-10-17\",\n"
                     "  \"Statement\": [\n"
                     "    {\n"
                     "      \"Effect\": \"Allow\",\n"
                     "      \"Action\": \"rds-db:connect\",\n"
                     "      \"Resource\": [\n");
    buf_init(&arn, out->max);
    for (size_t i = 0; i < count; i++) {
        buf_reset(&arn);
        aws_policy_add_db_user_arn(&arn, &users[i]);
        out->failed |= buf_failed(&arn);
        buf_add_str(out, "        ");
        json_add_string(out, buf_view(&arn));
        buf_add_str(out, i + 1 < count ? ",\n" : "\n");
    }
    buf_clear(&arn);
    buf_add_str(out, "      ]\n"
                     "    }\n"
                     "  ]\n"
                     "}\n");
}

static void add_head(struct buf *out)
{
    buf_add_str(out, "{\n"
                     "  \"Version\": \"2012-10-17\",\n"
                     "  \"Statement\": [\n"
                     "    {\n"
                     "      \"Effect\": \"Allow\",\n");
}

static void add_tail(struct buf *out)
{
    buf_add_str(out, "\n    }\n"
                     "  ]\n"
                     "}\n");
}

static void add_actions(struct buf *out, unsigned needs)
{
    buf_add_str(out, "      \"Action\": ");
    buf_add_str(out, needs != 0 ? "[\"sts:AssumeRole\"" : "\"sts:AssumeRole\"");
    if ((needs & AWS_SESSION_TAGS) != 0)
        buf_add_str(out, ", \"sts:TagSession\"");
    if ((needs & AWS_SESSION_SOURCE_IDENTITY) != 0)
        buf_add_str(out, ", \"sts:SetSourceIdentity\"");
    if (needs != 0)
        buf_add_char(out, ']');
}

void aws_policy_add_trust(struct buf *out, struct view principal_arn, unsigned needs)
{
    add_head(out);
    buf_add_str(out, "      \"Principal\": {\"AWS\": ");
    json_add_string(out, principal_arn.len > 0
                             ? principal_arn
                             : VIEW("arn:aws:iam::ACCOUNT-ID:role/SALLYPORT-NODE-ROLE"));
    buf_add_str(out, "},\n");
    add_actions(out, needs);
    add_tail(out);
}

void aws_policy_add_web_trust(struct buf *out, struct view partition, struct view account)
{
    add_head(out);
    buf_add_str(out, "      \"Principal\": {\"Federated\": \"arn:");
    buf_add_view(out, partition);
    buf_add_str(out, ":iam::");
    add_or(out, account, "ACCOUNT-ID");
    buf_add_str(out, ":oidc-provider/ISSUER-WITHOUT-HTTPS\"},\n"
                     "      \"Action\": \"sts:AssumeRoleWithWebIdentity\",\n"
                     "      \"Condition\": {\"StringEquals\": "
                     "{\"ISSUER-WITHOUT-HTTPS:aud\": \"AUDIENCE\"}}");
    add_tail(out);
}

void aws_policy_add_assume(struct buf *out, struct view role_arn, unsigned needs)
{
    add_head(out);
    add_actions(out, needs);
    buf_add_str(out, ",\n      \"Resource\": ");
    json_add_string(out, role_arn);
    add_tail(out);
}

static void add_secret_arn(struct buf *out, const struct aws_secret_use *use)
{
    struct buf arn;

    buf_init(&arn, out->max);
    if (view_starts_with(use->id, VIEW("arn:"))) {
        buf_add_view(&arn, use->id);
    } else {
        buf_add_str(&arn, "arn:");
        buf_add_view(&arn, aws_partition_of_region(use->region));
        buf_add_str(&arn, ":secretsmanager:");
        add_or(&arn, use->region, "REGION");
        buf_add_char(&arn, ':');
        add_or(&arn, use->account, "ACCOUNT-ID");
        buf_add_str(&arn, ":secret:");
        buf_add_view(&arn, use->id);
        buf_add_str(&arn, "-??????");
    }
    out->failed |= buf_failed(&arn);
    json_add_string(out, buf_view(&arn));
    buf_clear(&arn);
}

static void add_secret_statement(struct buf *out, const char *actions,
                                 const struct aws_secret_use *uses, size_t count, bool rotated)
{
    bool first = true;

    buf_add_str(out, "    {\n"
                     "      \"Effect\": \"Allow\",\n"
                     "      \"Action\": ");
    buf_add_str(out, actions);
    buf_add_str(out, ",\n      \"Resource\": [");
    for (size_t i = 0; i < count; i++) {
        if (rotated && !uses[i].rotated)
            continue;
        buf_add_str(out, first ? "\n        " : ",\n        ");
        add_secret_arn(out, &uses[i]);
        first = false;
    }
    buf_add_str(out, "\n      ]\n    }");
}

void aws_policy_add_secrets(struct buf *out, const struct aws_secret_use *uses, size_t count)
{
    bool rotated = false;

    for (size_t i = 0; i < count; i++)
        rotated = rotated || uses[i].rotated;
    buf_add_str(out, "{\n"
                     "  \"Version\": \"2012-10-17\",\n"
                     "  \"Statement\": [\n");
    add_secret_statement(out, "\"secretsmanager:GetSecretValue\"", uses, count, false);
    if (rotated) {
        buf_add_str(out, ",\n");
        add_secret_statement(out,
                             "[\"secretsmanager:DescribeSecret\", "
                             "\"secretsmanager:PutSecretValue\", "
                             "\"secretsmanager:UpdateSecretVersionStage\"]",
                             uses, count, true);
    }
    buf_add_str(out, "\n  ]\n}\n");
}
