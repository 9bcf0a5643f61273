#include "aws/environment.h"

static const char *const names[AWS_VARIABLES] = {
    [AWS_VAR_ACCESS_KEY_ID] = "AWS_ACCESS_KEY_ID",
    [AWS_VAR_SECRET_ACCESS_KEY] = "AWS_SECRET_ACCESS_KEY",
    [AWS_VAR_SESSION_TOKEN] = "AWS_SESSION_TOKEN",
    [AWS_VAR_CREDENTIAL_EXPIRATION] = "AWS_CREDENTIAL_EXPIRATION",
    [AWS_VAR_WEB_IDENTITY_TOKEN_FILE] = "AWS_WEB_IDENTITY_TOKEN_FILE",
    [AWS_VAR_ROLE_ARN] = "AWS_ROLE_ARN",
    [AWS_VAR_ROLE_SESSION_NAME] = "AWS_ROLE_SESSION_NAME",
    [AWS_VAR_PROFILE] = "AWS_PROFILE",
    [AWS_VAR_DEFAULT_PROFILE] = "AWS_DEFAULT_PROFILE",
    [AWS_VAR_SHARED_CREDENTIALS_FILE] = "AWS_SHARED_CREDENTIALS_FILE",
    [AWS_VAR_CONFIG_FILE] = "AWS_CONFIG_FILE",
    [AWS_VAR_HOME] = "HOME",
    [AWS_VAR_CONTAINER_RELATIVE_URI] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    [AWS_VAR_CONTAINER_FULL_URI] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    [AWS_VAR_CONTAINER_TOKEN] = "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    [AWS_VAR_CONTAINER_TOKEN_FILE] = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    [AWS_VAR_METADATA_DISABLED] = "AWS_EC2_METADATA_DISABLED",
    [AWS_VAR_METADATA_V1_DISABLED] = "AWS_EC2_METADATA_V1_DISABLED",
    [AWS_VAR_METADATA_ENDPOINT] = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    [AWS_VAR_METADATA_ENDPOINT_MODE] = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    [AWS_VAR_REGION] = "AWS_REGION",
    [AWS_VAR_DEFAULT_REGION] = "AWS_DEFAULT_REGION",
    [AWS_VAR_STS_REGIONAL_ENDPOINTS] = "AWS_STS_REGIONAL_ENDPOINTS",
    [AWS_VAR_ENDPOINT_URL_STS] = "AWS_ENDPOINT_URL_STS",
    [AWS_VAR_ENDPOINT_URL_SSO] = "AWS_ENDPOINT_URL_SSO",
    [AWS_VAR_ENDPOINT_URL_SSO_OIDC] = "AWS_ENDPOINT_URL_SSO_OIDC",
    [AWS_VAR_ENDPOINT_URL_SECRETS_MANAGER] = "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    [AWS_VAR_ENDPOINT_URL] = "AWS_ENDPOINT_URL",
    [AWS_VAR_IGNORE_ENDPOINT_URLS] = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    [AWS_VAR_USE_FIPS] = "AWS_USE_FIPS_ENDPOINT",
    [AWS_VAR_USE_DUALSTACK] = "AWS_USE_DUALSTACK_ENDPOINT",
    [AWS_VAR_CA_BUNDLE] = "AWS_CA_BUNDLE",
    [AWS_VAR_TASK_METADATA_V4] = "ECS_CONTAINER_METADATA_URI_V4",
    [AWS_VAR_TASK_METADATA_V3] = "ECS_CONTAINER_METADATA_URI",
    [AWS_VAR_AMAZON_ACCESS_KEY_ID] = "AMAZON_ACCESS_KEY_ID",
    [AWS_VAR_AMAZON_SECRET_ACCESS_KEY] = "AMAZON_SECRET_ACCESS_KEY",
};

err aws_environment_init(struct aws_environment *env, char *(*lookup)(const char *name))
{
    *env = (struct aws_environment){0};
    for (size_t i = 0; i < AWS_VARIABLES; i++) {
        struct view value = view_str(lookup(names[i]));
        if (value.len > 0 && !secret_init(&env->values[i], value)) {
            aws_environment_clear(env);
            return fail(&fault_out_of_memory);
        }
    }
    return OK;
}

void aws_environment_clear(struct aws_environment *env)
{
    for (size_t i = 0; i < AWS_VARIABLES; i++)
        secret_clear(&env->values[i]);
}

struct view aws_environment_get(const struct aws_environment *env, enum aws_variable which)
{
    return secret_view(&env->values[which]);
}

bool aws_environment_is_true(const struct aws_environment *env, enum aws_variable which)
{
    return view_eq_nocase(aws_environment_get(env, which), VIEW("true"));
}

const char *aws_variable_name(enum aws_variable which)
{
    return names[which];
}
