#include "aws/endpoint.h"

#include "aws/region.h"

static const struct aws_domains domains[] = {
    /* The first is also that of regions not known here. */
    {{"aws", 3}, {"amazonaws.com", 13}, {"api.aws", 7}},
    {{"aws-cn", 6}, {"amazonaws.com.cn", 16}, {"api.amazonwebservices.com.cn", 28}},
    {{"aws-us-gov", 10}, {"amazonaws.com", 13}, {"api.aws", 7}},
    {{"aws-iso", 7}, {"c2s.ic.gov", 10}, {"api.aws.ic.gov", 14}},
    {{"aws-iso-b", 9}, {"sc2s.sgov.gov", 13}, {"api.aws.scloud", 14}},
    {{"aws-iso-e", 9}, {"cloud.adc-e.uk", 14}, {"api.cloud-aws.adc-e.uk", 22}},
    {{"aws-iso-f", 9}, {"csp.hci.ic.gov", 14}, {"api.aws.hci.ic.gov", 18}},
    {{"aws-eusc", 8}, {"amazonaws.eu", 12}, {"api.amazonwebservices.eu", 24}},
};

const struct aws_domains *aws_domains_of_region(struct view region)
{
    struct view partition = aws_partition_of_region(region);

    for (size_t i = 0; i < COUNT_OF(domains); i++) {
        if (view_eq(partition, domains[i].partition))
            return &domains[i];
    }
    return &domains[0];
}

static bool is_under(struct view host, struct view suffix)
{
    return host.len > suffix.len && view_ends_with(host, suffix) &&
           host.data[host.len - suffix.len - 1] == '.';
}

static bool is_amazons(struct view host)
{
    for (size_t i = 0; i < COUNT_OF(domains); i++) {
        if (is_under(host, domains[i].dns) || is_under(host, domains[i].dual_stack))
            return true;
    }
    return false;
}

static bool names_service(struct view label, struct view service)
{
    return view_starts_with(label, service) &&
           (label.len == service.len || view_is(view_from(label, service.len), "-fips"));
}

struct view aws_region_of_service_host(struct view host, const char *service)
{
    struct view label, rest = view_upto(host, view_find(host, ':'));

    if (!is_amazons(rest))
        return (struct view){NULL, 0};
    while (rest.data != NULL) {
        rest = view_cut(rest, '.', &label);
        if (!names_service(label, view_str(service)))
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

enum aws_custom_verdict aws_custom_url_read(struct view url, struct arena *arena,
                                            struct aws_custom_url *out)
{
    bool https = view_starts_with(url, VIEW("https://"));

    *out = (struct aws_custom_url){.url = url};
    if ((!https && !view_starts_with(url, VIEW("http://"))) || has_bad_char(url) ||
        view_find(url, '?') < url.len || view_find(url, '#') < url.len)
        return AWS_CUSTOM_BAD;
    struct view rest = view_from(url, https ? 8 : 7);
    size_t slash = view_find(rest, '/');
    struct view host = view_upto(rest, slash), path = view_from(rest, slash);
    if (host.len == 0 || view_find(host, '@') < host.len)
        return AWS_CUSTOM_BAD;
    if (path.len == 0)
        out->url = arena_printf(arena, "%.*s/", VIEW_ARG(url));
    out->path = path.len > 0 ? path : VIEW("/");
    out->host = without_default_port(host, https);
    return out->url.data != NULL ? AWS_CUSTOM_GOOD : AWS_CUSTOM_NO_MEMORY;
}
