#include "aws/credentials.h"

#include <stdlib.h>
#include <string.h>

const struct fault aws_credentials_absent = {
    "aws_credentials_absent", "no AWS credentials were given", NULL, 503};
const struct fault aws_credentials_secret_missing = {
    "aws_credentials_secret_missing", "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not",
    NULL, 503};
const struct fault aws_credentials_key_missing = {
    "aws_credentials_key_missing", "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not",
    NULL, 503};
const struct fault aws_credentials_token_alone = {
    "aws_credentials_token_alone",
    "AWS_SESSION_TOKEN is set, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not", NULL, 503};
const struct fault aws_credentials_malformed = {
    "aws_credentials_malformed",
    "an AWS credential is too long or has a blank, a line end or another character that none has",
    NULL, 503};
const struct fault aws_credentials_expired = {
    "aws_credentials_expired", "the AWS credentials have expired", NULL, 503};

static bool well_formed(struct view text, size_t max)
{
    if (text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return true;
}

static err check(struct view id, struct view secret, struct view token)
{
    if (id.len == 0 && secret.len == 0)
        return fail(token.len == 0 ? &aws_credentials_absent : &aws_credentials_token_alone);
    if (id.len == 0)
        return fail(&aws_credentials_key_missing);
    if (secret.len == 0)
        return fail(&aws_credentials_secret_missing);
    if (!well_formed(id, AWS_ACCESS_KEY_ID_MAX) || !well_formed(secret, AWS_SECRET_ACCESS_KEY_MAX) ||
        !well_formed(token, AWS_SESSION_TOKEN_MAX))
        return fail(&aws_credentials_malformed);
    return OK;
}

err aws_credentials_init(struct aws_credentials *out, struct view access_key_id,
                         struct view secret_access_key, struct view session_token,
                         int64_t expiry_us, const char *source)
{
    size_t source_len = strnlen(source, AWS_CREDENTIAL_SOURCE_MAX);

    *out = (struct aws_credentials){0};
    TRY(check(access_key_id, secret_access_key, session_token));
    if (!secret_init(&out->secret_access_key, secret_access_key) ||
        (session_token.len > 0 && !secret_init(&out->session_token, session_token))) {
        aws_credentials_clear(out);
        return fail(&fault_out_of_memory);
    }
    memcpy(out->access_key_id, access_key_id.data, access_key_id.len);
    memcpy(out->source, source, source_len);
    out->expiry_us = expiry_us;
    return OK;
}

void aws_credentials_clear(struct aws_credentials *c)
{
    secret_clear(&c->secret_access_key);
    secret_clear(&c->session_token);
    *c = (struct aws_credentials){0};
}

struct fixed_provider {
    struct credential_provider base;
    struct aws_credentials credentials;
};

static err fixed_current(struct credential_provider *p, int64_t now_us,
                         const struct aws_credentials **out)
{
    struct fixed_provider *fixed = (struct fixed_provider *)p;
    int64_t expiry_us = fixed->credentials.expiry_us;

    if (expiry_us != 0 && expiry_us <= now_us)
        return fail(&aws_credentials_expired);
    *out = &fixed->credentials;
    return OK;
}

static void fixed_release(struct credential_provider *p)
{
    struct fixed_provider *fixed = (struct fixed_provider *)p;

    aws_credentials_clear(&fixed->credentials);
    free(fixed);
}

static const struct credential_provider_ops fixed_ops = {fixed_current, fixed_release};

err credentials_from_environment(char *(*lookup)(const char *name),
                                 struct credential_provider **out)
{
    *out = NULL;
    struct fixed_provider *fixed = calloc(1, sizeof *fixed);
    if (fixed == NULL)
        return fail(&fault_out_of_memory);
    fixed->base.ops = &fixed_ops;
    err e = aws_credentials_init(&fixed->credentials, view_str(lookup("AWS_ACCESS_KEY_ID")),
                                 view_str(lookup("AWS_SECRET_ACCESS_KEY")),
                                 view_str(lookup("AWS_SESSION_TOKEN")), 0, "environment");
    if (failed(e)) {
        free(fixed);
        return e;
    }
    *out = &fixed->base;
    return OK;
}
