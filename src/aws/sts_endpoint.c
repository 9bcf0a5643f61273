/* Where STS is: AWS_STS_REGIONAL_ENDPOINTS, partitions, FIPS, dual stack, custom endpoints. */
#include "aws/endpoint.h"
#include "aws/region.h"
#include "aws/sts.h"

const struct fault sts_bad_endpoint = {
    "sts_bad_endpoint",
    "the endpoint of STS is no plain http or https URL (or has a query, fragment or user)", NULL,
    503};

/* The regions that `legacy` sends to the global endpoint ("AWS STS Regional endpoints" of the AWS
 * SDKs and Tools reference guide). */
static bool is_legacy_region(struct view region)
{
    static const char *const regions[] = {
        "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "aws-global",
        "ca-central-1",   "eu-central-1", "eu-north-1",   "eu-west-1",      "eu-west-2",
        "eu-west-3",      "sa-east-1",  "us-east-1",      "us-east-2",      "us-west-1",
        "us-west-2",
    };
    for (size_t i = 0; i < COUNT_OF(regions); i++) {
        if (view_is(region, regions[i]))
            return true;
    }
    return false;
}

/* That of the host's labels; the global host's is us-east-1. */
static struct view region_of_sts_host(struct view host)
{
    if (view_eq_nocase(view_upto(host, view_find(host, ':')), VIEW("sts.amazonaws.com")))
        return VIEW("us-east-1");
    return aws_region_of_service_host(host, "sts");
}

static err take_custom(const struct sts_place *place, struct arena *arena,
                       struct sts_endpoint *out)
{
    struct aws_custom_url custom;

    switch (aws_custom_url_read(place->custom_url, arena, &custom)) {
    case AWS_CUSTOM_BAD:
        return fail(&sts_bad_endpoint);
    case AWS_CUSTOM_NO_MEMORY:
        return fail(&fault_out_of_memory);
    case AWS_CUSTOM_GOOD:
        break;
    }
    out->url = custom.url;
    out->host = custom.host;
    out->path = custom.path;
    out->signing_region = region_of_sts_host(custom.host);
    if (out->signing_region.len == 0)
        out->signing_region = place->region.len > 0 ? place->region : VIEW("us-east-1");
    return OK;
}

err sts_endpoint_make(const struct sts_place *place, struct arena *arena,
                      struct sts_endpoint *out)
{
    const struct aws_domains *domains = aws_domains_of_region(place->region);

    *out = (struct sts_endpoint){.path = VIEW("/"), .signing_region = place->region};
    if (place->custom_url.len > 0)
        return take_custom(place, arena, out);
    bool plain = !place->fips && !place->dual_stack;
    if (place->region.len == 0 || (plain && place->legacy && is_legacy_region(place->region))) {
        out->host = VIEW("sts.amazonaws.com");
        out->signing_region = VIEW("us-east-1");
    } else if (!aws_region_is_valid(place->region)) {
        return fail(&sts_bad_endpoint);
    } else {
        /* The FIPS endpoints of GovCloud are the ordinary ones. */
        bool gov = view_is(domains->partition, "aws-us-gov") && !place->dual_stack;
        out->host = arena_printf(arena, "sts%s.%.*s.%.*s", place->fips && !gov ? "-fips" : "",
                                 VIEW_ARG(place->region),
                                 VIEW_ARG(place->dual_stack ? domains->dual_stack : domains->dns));
    }
    out->url = arena_printf(arena, "https://%.*s/", VIEW_ARG(out->host));
    return out->host.data != NULL && out->url.data != NULL ? OK : fail(&fault_out_of_memory);
}

err sts_endpoint_choose(const struct view *custom, size_t count, struct view region,
                        const struct sts_place *settings, struct arena *arena,
                        struct sts_endpoint *out)
{
    struct sts_place place = *settings;

    if (region.len > 0)
        place.region = region;
    for (size_t i = 0; i < count; i++) {
        if (custom[i].len == 0)
            continue;
        place.custom_url = custom[i];
        break;
    }
    return sts_endpoint_make(&place, arena, out);
}
