/*
 * The environment variables that say where AWS credentials come from, read once: what changes
 * after start is not seen (docs/AWS.md), and a later setenv cannot move the gateway's identity.
 *
 * Values are kept as secrets, since some are.  An empty variable counts as unset, as in the SDKs.
 */
#ifndef SALLYPORT_AWS_ENVIRONMENT_H
#define SALLYPORT_AWS_ENVIRONMENT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/view.h"

enum aws_variable {
    AWS_VAR_ACCESS_KEY_ID,
    AWS_VAR_SECRET_ACCESS_KEY,
    AWS_VAR_SESSION_TOKEN,
    AWS_VAR_CREDENTIAL_EXPIRATION,
    AWS_VAR_WEB_IDENTITY_TOKEN_FILE,
    AWS_VAR_ROLE_ARN,
    AWS_VAR_ROLE_SESSION_NAME,
    AWS_VAR_PROFILE,
    AWS_VAR_DEFAULT_PROFILE, /* AWS_DEFAULT_PROFILE, which botocore knows */
    AWS_VAR_SHARED_CREDENTIALS_FILE,
    AWS_VAR_CONFIG_FILE,
    AWS_VAR_HOME,
    AWS_VAR_CONTAINER_RELATIVE_URI,
    AWS_VAR_CONTAINER_FULL_URI,
    AWS_VAR_CONTAINER_TOKEN,
    AWS_VAR_CONTAINER_TOKEN_FILE,
    AWS_VAR_METADATA_DISABLED,
    AWS_VAR_METADATA_V1_DISABLED,
    AWS_VAR_METADATA_ENDPOINT,
    AWS_VAR_METADATA_ENDPOINT_MODE,
    AWS_VAR_REGION,
    AWS_VAR_DEFAULT_REGION,
    AWS_VAR_STS_REGIONAL_ENDPOINTS,
    AWS_VAR_ENDPOINT_URL_STS,
    AWS_VAR_ENDPOINT_URL_SSO,
    AWS_VAR_ENDPOINT_URL_SSO_OIDC,
    AWS_VAR_ENDPOINT_URL_SECRETS_MANAGER,
    AWS_VAR_ENDPOINT_URL,
    AWS_VAR_IGNORE_ENDPOINT_URLS,
    AWS_VAR_USE_FIPS,
    AWS_VAR_USE_DUALSTACK,
    AWS_VAR_CA_BUNDLE,
    AWS_VAR_TASK_METADATA_V4, /* ECS_CONTAINER_METADATA_URI_V4 */
    AWS_VAR_TASK_METADATA_V3, /* ECS_CONTAINER_METADATA_URI */
    AWS_VAR_AMAZON_ACCESS_KEY_ID, /* AMAZON_*: only Kong's order looks there */
    AWS_VAR_AMAZON_SECRET_ACCESS_KEY,
    AWS_VARIABLES
};

struct aws_environment {
    struct secret values[AWS_VARIABLES];
};

/* lookup is getenv, or a test's own.  fault_out_of_memory, and *env is zeroed. */
err aws_environment_init(struct aws_environment *env,
                         char *(*lookup)(const char *name)) MUST_USE;
void aws_environment_clear(struct aws_environment *env);

/* {NULL, 0} when unset or empty. */
struct view aws_environment_get(const struct aws_environment *env, enum aws_variable which);
/* True for "true" in any case. */
bool aws_environment_is_true(const struct aws_environment *env, enum aws_variable which);

const char *aws_variable_name(enum aws_variable which);

#endif
