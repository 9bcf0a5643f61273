/* The plan's region and endpoints: the environment's settings, then the profile's. */
#include "aws/plan_internal.h"

/* "AWS_ENDPOINT_URL_" + the service, and its block in a services section ("Service-specific
 * endpoints" of the AWS SDKs and Tools reference guide). */
static const struct {
    enum aws_variable variable;
    const char *block;
} services[AWS_SERVICES] = {
    [AWS_SERVICE_STS] = {AWS_VAR_ENDPOINT_URL_STS, "sts"},
    [AWS_SERVICE_SSO] = {AWS_VAR_ENDPOINT_URL_SSO, "sso"},
    [AWS_SERVICE_SSO_OIDC] = {AWS_VAR_ENDPOINT_URL_SSO_OIDC, "sso_oidc"},
    [AWS_SERVICE_SECRETS_MANAGER] = {AWS_VAR_ENDPOINT_URL_SECRETS_MANAGER, "secrets_manager"},
};

/* The environment's value, else the profile's. */
static struct view setting(const struct aws_planner *p, enum aws_variable variable, const char *key)
{
    struct view value = aws_environment_get(p->env, variable);

    if (value.len > 0)
        return value;
    value = aws_plan_profile_get(p, aws_plan_profile_name(p), key);
    return value.data != NULL ? arena_copy(p->arena, value) : value;
}

static bool setting_is_true(const struct aws_planner *p, enum aws_variable variable,
                            const char *key)
{
    return view_eq_nocase(setting(p, variable, key), VIEW("true"));
}

/* The service's variable, the general one, the service's block in the profile's services section,
 * the profile's endpoint_url. */
static struct view custom_url(const struct aws_planner *p, enum aws_service service)
{
    struct view url = aws_environment_get(p->env, services[service].variable);

    if (url.len == 0)
        url = aws_environment_get(p->env, AWS_VAR_ENDPOINT_URL);
    if (url.len > 0)
        return url;
    struct view section = aws_plan_profile_get(p, aws_plan_profile_name(p), "services");
    if (section.data != NULL)
        url = aws_services_get(&p->config, section, services[service].block, "endpoint_url");
    if (url.data == NULL)
        url = aws_plan_profile_get(p, aws_plan_profile_name(p), "endpoint_url");
    return url.data != NULL ? arena_copy(p->arena, url) : url;
}

/* The environment goes before the profile, however that was named (as in botocore). */
static struct view find_region(const struct aws_planner *p)
{
    struct view region = aws_environment_get(p->env, AWS_VAR_REGION);

    if (region.len == 0)
        region = setting(p, AWS_VAR_DEFAULT_REGION, "region");
    return region.len > 0 ? region : p->request->region_hint;
}

void aws_plan_find_places(struct aws_planner *p)
{
    struct aws_plan *plan = p->plan;

    plan->region = find_region(p);
    plan->ca_file = setting(p, AWS_VAR_CA_BUNDLE, "ca_bundle");
    plan->fips = setting_is_true(p, AWS_VAR_USE_FIPS, "use_fips_endpoint");
    plan->dual_stack = setting_is_true(p, AWS_VAR_USE_DUALSTACK, "use_dualstack_endpoint");
    if (setting_is_true(p, AWS_VAR_IGNORE_ENDPOINT_URLS, "ignore_configured_endpoint_urls"))
        return;
    for (size_t i = 0; i < AWS_SERVICES; i++)
        plan->endpoint_urls[i] = custom_url(p, (enum aws_service)i);
}

err aws_plan_find_sts(struct aws_planner *p)
{
    struct aws_plan *plan = p->plan;
    const struct sts_place place = {
        .custom_url = plan->endpoint_urls[AWS_SERVICE_STS],
        .region = plan->region,
        .legacy = view_eq_nocase(
            setting(p, AWS_VAR_STS_REGIONAL_ENDPOINTS, "sts_regional_endpoints"), VIEW("legacy")),
        .fips = plan->fips,
        .dual_stack = plan->dual_stack,
    };
    plan->sts_place = place;
    return sts_endpoint_make(&place, p->arena, &plan->sts);
}
