/* The times in AWS's answers: RFC 3339, as in "2026-01-02T03:04:05Z".  Pure. */
#ifndef SALLYPORT_AWS_TIMESTAMP_H
#define SALLYPORT_AWS_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

/* Date, 'T', time, an optional fraction (to microseconds; further digits are cut), and 'Z' or an
 * offset such as +01:00.  False, with *wall_us untouched, for anything else, for dates that no
 * calendar has, and for years before 1970. */
bool aws_timestamp_parse(struct view text, int64_t *wall_us) MUST_USE;

#endif
