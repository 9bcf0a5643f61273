/* Where Secrets Manager is: partitions, FIPS, dual stack (botocore's rule set of the service). */
#include "aws/endpoint.h"
#include "aws/region.h"
#include "aws/secrets_manager.h"

const struct fault sm_bad_endpoint = {
    "secrets_manager_bad_endpoint",
    "the endpoint of Secrets Manager is no plain http or https URL (or has a query, fragment or "
    "user)",
    NULL, 503};
const struct fault sm_no_region = {
    "secrets_manager_no_region",
    "no region is known for Secrets Manager: set the vault's region, vault_aws_region or "
    "AWS_REGION",
    NULL, 503};

static err take_custom(const struct sm_place *place, struct arena *arena, struct sm_endpoint *out)
{
    struct aws_custom_url custom;

    switch (aws_custom_url_read(place->custom_url, arena, &custom)) {
    case AWS_CUSTOM_BAD:
        return fail(&sm_bad_endpoint);
    case AWS_CUSTOM_NO_MEMORY:
        return fail(&fault_out_of_memory);
    case AWS_CUSTOM_GOOD:
        break;
    }
    out->url = custom.url;
    out->host = custom.host;
    out->path = custom.path;
    out->signing_region = aws_region_of_service_host(custom.host, "secretsmanager");
    if (out->signing_region.len == 0)
        out->signing_region = place->region.len > 0 ? place->region : VIEW("us-east-1");
    return OK;
}

/* The ordinary names of these partitions answer over IPv6 too; the others have names apart. */
static bool is_dual_stack_already(struct view partition, bool fips)
{
    return view_is(partition, "aws") || view_is(partition, "aws-us-gov") ||
           (view_is(partition, "aws-cn") && !fips);
}

err sm_endpoint_make(const struct sm_place *place, struct arena *arena, struct sm_endpoint *out)
{
    const struct aws_domains *domains = aws_domains_of_region(place->region);

    *out = (struct sm_endpoint){.path = VIEW("/"), .signing_region = place->region};
    if (place->custom_url.len > 0)
        return take_custom(place, arena, out);
    if (place->region.len == 0)
        return fail(&sm_no_region);
    if (!aws_region_is_valid(place->region))
        return fail(&sm_bad_endpoint);
    bool apart = place->dual_stack && !is_dual_stack_already(domains->partition, place->fips);
    out->host = arena_printf(arena, "secretsmanager%s.%.*s.%.*s", place->fips ? "-fips" : "",
                             VIEW_ARG(place->region),
                             VIEW_ARG(apart ? domains->dual_stack : domains->dns));
    out->url = arena_printf(arena, "https://%.*s/", VIEW_ARG(out->host));
    return out->host.data != NULL && out->url.data != NULL ? OK : fail(&fault_out_of_memory);
}
