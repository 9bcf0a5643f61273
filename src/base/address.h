/*
 * Internet addresses and ranges of them: what CIDR texts mean, and whether an address is in a set.
 *
 * An IPv4 address that is written as IPv6 (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2) is the IPv4
 * address; else the families never meet: ::/0 holds no IPv4 address.
 *
 * Pure.  Any thread.
 */
#ifndef SALLYPORT_BASE_ADDRESS_H
#define SALLYPORT_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

enum { ADDRESS_BYTES = 17, ADDRESS_TEXT_MAX = 64 };

/* The family, 4 or 6, or 0 for none; then 4 or 16 bytes in network order, the rest zero. */
struct address {
    uint8_t bytes[ADDRESS_BYTES];
};

/* family 4: 4 bytes at raw, family 6: 16. */
struct address address_of(unsigned family, const void *raw);

/* From first to last, both within, of one family. */
struct address_range {
    struct address first, last;
};

/* "192.0.2.0/24", "2001:db8::/32", or a lone address; bits beyond the prefix are ignored.  False:
 * anything else. */
bool address_range_parse(struct view text, struct address_range *out) MUST_USE;

/* Sorts the ranges and joins those that meet; how many remain. */
size_t address_ranges_join(struct address_range *ranges, size_t count);

/* Whether one of the joined ranges holds the address: a binary search. */
bool address_ranges_have(const struct address_range *joined, size_t count,
                         const struct address *address);

#endif
