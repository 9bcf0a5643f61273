/* CIDR texts: what is taken is a range of one family, in order, that holds its own ends. */
#include <stdlib.h>

#include "base/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address_range ranges[16];
    struct view rest = view_of(data, size), text;
    size_t n = 0;

    while (rest.data != NULL && n < 16) {
        rest = view_cut(rest, ',', &text);
        if (!address_range_parse(text, &ranges[n]))
            continue;
        if (ranges[n].first.bytes[0] != ranges[n].last.bytes[0] ||
            (ranges[n].first.bytes[0] != 4 && ranges[n].first.bytes[0] != 6) ||
            memcmp(&ranges[n].first, &ranges[n].last, ADDRESS_BYTES) > 0)
            abort();
        n++;
    }
    struct address_range joined[16];
    memcpy(joined, ranges, n * sizeof *ranges);
    size_t kept = address_ranges_join(joined, n);
    for (size_t i = 1; i < kept; i++) {
        if (memcmp(&joined[i - 1].last, &joined[i].first, ADDRESS_BYTES) >= 0)
            abort();
    }
    for (size_t i = 0; i < n; i++) {
        if (!address_ranges_have(joined, kept, &ranges[i].first) ||
            !address_ranges_have(joined, kept, &ranges[i].last))
            abort();
    }
    return 0;
}
