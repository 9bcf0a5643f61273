/*
 * Anchors that were shipped off the host, held against the folder.
 *
 * A folder by itself cannot tell that its newest records and the anchors that named them were cut
 * off together.  A copy of the anchors kept elsewhere can: each of its lines must still be there.
 */
#ifndef SALLYPORT_AUDIT_SHIPPED_H
#define SALLYPORT_AUDIT_SHIPPED_H

#include <stdint.h>

#include "audit/verify.h"

struct audit_shipped_counts {
    uint64_t anchors; /* in the shipped file */
    uint64_t missing; /* of them in the folder */
};

/*
 * The file: lines of one or more boots' anchors files, in any order.  found is called for the first
 * line that is missing.  audit_open_failed when the file or the folder cannot be read, or a line of
 * the file is cut off; fault_out_of_memory.
 */
err audit_verify_shipped(const char *directory, const char *shipped,
                         void (*found)(void *arg, const struct audit_finding *finding), void *arg,
                         struct audit_shipped_counts *out) MUST_USE;

#endif
