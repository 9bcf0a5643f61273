/* Where STS is: AWS_STS_REGIONAL_ENDPOINTS, partitions, FIPS, dual stack, custom endpoints. */
#include "aws/region.h"
#include "aws/sts.h"

const struct fault sts_bad_endpoint = {
    "sts_bad_endpoint",
    "the endpoint of STS is no plain http or https URL (or has a query, fragment or user)", NULL,
    503};

static const struct suffix {
    struct view partition;
    struct view dns;
    struct view dual_stack; /* absent: the partition has none */
} suffixes[] = {
    /* The AWS SDKs' partitions.json.  The first is also that of regions not known here. */
    {{"aws", 3}, {"amazonaws.com", 13}, {"api.aws", 7}},
    {{"aws-cn", 6}, {"amazonaws.com.cn", 16}, {"api.amazonwebservices.com.cn", 28}},
    {{"aws-us-gov", 10}, {"amazonaws.com", 13}, {"api.aws", 7}},
    {{"aws-iso", 7}, {"c2s.ic.gov", 10}, {"api.aws.ic.gov", 14}},
    {{"aws-iso-b", 9}, {"sc2s.sgov.gov", 13}, {"api.aws.scloud", 14}},
    {{"aws-iso-e", 9}, {"cloud.adc-e.uk", 14}, {"api.cloud-aws.adc-e.uk", 22}},
    {{"aws-iso-f", 9}, {"csp.hci.ic.gov", 14}, {"api.aws.hci.ic.gov", 18}},
    {{"aws-eusc", 8}, {"amazonaws.eu", 12}, {"api.amazonwebservices.eu", 24}},
};

static const struct suffix *suffix_of(struct view region)
{
    struct view partition = aws_partition_of_region(region);

    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        if (view_eq(partition, suffixes[i].partition))
            return &suffixes[i];
    }
    return &suffixes[0];
}

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

static bool is_under(struct view host, struct view suffix)
{
    return host.len > suffix.len && view_ends_with(host, suffix) &&
           host.data[host.len - suffix.len - 1] == '.';
}

static bool is_amazons(struct view host)
{
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        if (is_under(host, suffixes[i].dns) || is_under(host, suffixes[i].dual_stack))
            return true;
    }
    return false;
}

/* The region that a host of STS names: sts.REGION.…, sts-fips.REGION.…, and a VPC endpoint's
 * vpce-ID-ID(-ZONE).sts.REGION.vpce.…; the global host's is us-east-1.  Only under the suffixes of
 * AWS: elsewhere a label that looks like a region means nothing. */
static struct view region_of_sts_host(struct view host)
{
    struct view label, rest = view_upto(host, view_find(host, ':'));

    if (view_eq_nocase(rest, VIEW("sts.amazonaws.com")))
        return VIEW("us-east-1");
    if (!is_amazons(rest))
        return (struct view){NULL, 0};
    while (rest.data != NULL) {
        rest = view_cut(rest, '.', &label);
        if (!view_is(label, "sts") && !view_is(label, "sts-fips"))
            continue;
        view_cut(rest, '.', &label);
        return aws_region_is_valid(label) ? label : (struct view){NULL, 0};
    }
    return (struct view){NULL, 0};
}

static bool has_bad_char(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] <= ' ' || v.data[i] > '~')
            return true;
    }
    return false;
}

/* A default port is not written into Host (RFC 9110 section 7.2 allows it, AWS signs without). */
static struct view without_default_port(struct view host, bool https)
{
    struct view port = https ? VIEW(":443") : VIEW(":80");
    return view_ends_with(host, port) ? view_upto(host, host.len - port.len) : host;
}

static err take_custom(const struct sts_place *place, struct arena *arena,
                       struct sts_endpoint *out)
{
    struct view url = place->custom_url;
    bool https = view_starts_with(url, VIEW("https://"));

    if ((!https && !view_starts_with(url, VIEW("http://"))) || has_bad_char(url) ||
        view_find(url, '?') < url.len || view_find(url, '#') < url.len)
        return fail(&sts_bad_endpoint);
    struct view rest = view_from(url, https ? 8 : 7);
    size_t slash = view_find(rest, '/');
    struct view host = view_upto(rest, slash), path = view_from(rest, slash);
    if (host.len == 0 || view_find(host, '@') < host.len)
        return fail(&sts_bad_endpoint);
    out->url = path.len > 0 ? url : arena_printf(arena, "%.*s/", VIEW_ARG(url));
    out->path = path.len > 0 ? path : VIEW("/");
    out->host = without_default_port(host, https);
    out->signing_region = region_of_sts_host(host);
    if (out->signing_region.len == 0)
        out->signing_region = place->region.len > 0 ? place->region : VIEW("us-east-1");
    return out->url.data != NULL ? OK : fail(&fault_out_of_memory);
}

err sts_endpoint_make(const struct sts_place *place, struct arena *arena,
                      struct sts_endpoint *out)
{
    const struct suffix *suffix = suffix_of(place->region);

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
        bool gov = view_is(suffix->partition, "aws-us-gov") && !place->dual_stack;
        out->host = arena_printf(arena, "sts%s.%.*s.%.*s", place->fips && !gov ? "-fips" : "",
                                 VIEW_ARG(place->region),
                                 VIEW_ARG(place->dual_stack ? suffix->dual_stack : suffix->dns));
    }
    out->url = arena_printf(arena, "https://%.*s/", VIEW_ARG(out->host));
    return out->host.data != NULL && out->url.data != NULL ? OK : fail(&fault_out_of_memory);
}
