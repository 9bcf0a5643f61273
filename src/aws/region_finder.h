/*
 * The region where this process runs, asked of the place itself: the task metadata of ECS (version
 * 4, else 3: AvailabilityZone), then the instance's metadata (version 2, placement/region).  For
 * where no setting, host name, variable or profile says it.
 *
 * One run asks each once, by the fetcher, one exchange at a time; a failure is the caller's to try
 * again.  All on the fetcher's thread.
 */
#ifndef SALLYPORT_AWS_REGION_FINDER_H
#define SALLYPORT_AWS_REGION_FINDER_H

#include <stdbool.h>

#include "aws/environment.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/fetch.h"

enum { AWS_REGION_MAX = 63, REGION_FINDER_TIMEOUT_MS = 1000, REGION_FINDER_DETAIL_MAX = 320 };

struct region_finder;

/* region is "" with a failure; detail says what each answered.  Called once, also from within
 * region_finder_start. */
typedef void region_finder_done(void *arg, err e, const char *region, const char *detail);

/* Nobody could be asked, or nobody said it. */
extern const struct fault region_not_found;

struct region_finder_options {
    struct fetcher *fetcher;
    const struct aws_environment *environment; /* outlives the run */
    struct view instance_url; /* of the instance's metadata, without a path; absent: not asked */
    region_finder_done *done;
    void *arg;
};

/* fault_out_of_memory, and done is not called; else it is.  *slot is the run as long as it goes on,
 * and NULL when done is called. */
err region_finder_start(const struct region_finder_options *options,
                        struct region_finder **slot) MUST_USE;
/* done will not be called; what is in flight ends without effect. */
void region_finder_abandon(struct region_finder *f);

/* The region of an availability zone or local zone: "eu-west-1" of "eu-west-1a", "us-west-2" of
 * "us-west-2-lax-1a"; {NULL, 0} when it is none. */
struct view aws_region_of_zone(struct view zone);

#endif
