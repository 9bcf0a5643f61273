/*
 * What the name of an RDS, Aurora, RDS Proxy or Aurora DSQL endpoint says: region and partition.
 *
 * Pure; the views point into the host given, or at constants.
 */
#ifndef SALLYPORT_AWS_REGION_H
#define SALLYPORT_AWS_REGION_H

#include <stdbool.h>

#include "base/view.h"

/*
 * The region in a host name: NAME.ID.REGION.rds.amazonaws.com (instances, cluster-, cluster-ro-,
 * cluster-custom-, proxy- and NAME.endpoint.proxy- forms alike), NAME.ID.rds.REGION.amazonaws.com.cn
 * (China, both orders are in use), the suffixes of the isolated partitions, and
 * ID.dsql.REGION.on.aws.  Letters in either case (the region itself is lower case), one trailing dot allowed.  {NULL, 0} when the
 * name is of none of these forms.
 */
struct view aws_region_of_host(struct view host);

/* True for text that can be a region's name: lower-case words and a number, joined by '-'. */
bool aws_region_is_valid(struct view region);

/* "aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc":
 * the second word of an ARN in that region. */
struct view aws_partition_of_region(struct view region);

#endif
