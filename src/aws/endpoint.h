/*
 * What the endpoints of all AWS services have in common: the domains of the partitions (the AWS
 * SDKs' partitions.json), and custom URLs, taken exactly as written.
 *
 * Pure; views point into what was given, at constants, or into the arena.
 */
#ifndef SALLYPORT_AWS_ENDPOINT_H
#define SALLYPORT_AWS_ENDPOINT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"

struct aws_domains {
    struct view partition;
    struct view dns;        /* "amazonaws.com" */
    struct view dual_stack; /* "api.aws" */
};

/* Of the region's partition; for a region not known here those of `aws`. */
const struct aws_domains *aws_domains_of_region(struct view region);

/*
 * The region that a service's host names: SERVICE.REGION.…, SERVICE-fips.REGION.…, and a VPC
 * endpoint's vpce-ID-ID(-ZONE).SERVICE.REGION.vpce.….  Only under the domains of AWS: elsewhere a
 * label that looks like a region means nothing.  A port may follow.  {NULL, 0} when there is none.
 */
struct view aws_region_of_service_host(struct view host, const char *service);

struct aws_custom_url {
    struct view url;  /* with a path */
    struct view host; /* as the Host header says it: without a default port */
    struct view path;
};

enum aws_custom_verdict { AWS_CUSTOM_GOOD, AWS_CUSTOM_BAD, AWS_CUSTOM_NO_MEMORY };

/* Bad: no http or https URL, or one with a query, a fragment or a user. */
enum aws_custom_verdict aws_custom_url_read(struct view url, struct arena *arena,
                                            struct aws_custom_url *out) MUST_USE;

#endif
