#include "base/address.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct address address_of(unsigned family, const void *raw)
{
    struct address a = {{0}};
    bool is_mapped = family == 6 && view_eq(view_of(raw, sizeof mapped),
                                            view_of(mapped, sizeof mapped));

    a.bytes[0] = family == 6 && !is_mapped ? 6 : family == 4 || is_mapped ? 4 : 0;
    if (is_mapped)
        memcpy(a.bytes + 1, (const uint8_t *)raw + sizeof mapped, 4);
    else if (a.bytes[0] != 0)
        memcpy(a.bytes + 1, raw, family == 6 ? 16 : 4);
    return a;
}

/* The number of bits before the first that may differ; false when it is none of 0 to max. */
static bool parse_prefix(struct view text, bool given, uint64_t max, unsigned *bits)
{
    uint64_t n = max;

    if (given && (text.len == 0 || (text.len > 1 && text.data[0] == '0') ||
                  !view_to_u64(text, max, &n)))
        return false;
    *bits = (unsigned)n;
    return true;
}

static void make_range(struct address a, unsigned bits, struct address_range *out)
{
    size_t bytes = a.bytes[0] == 4 ? 4 : 16;

    *out = (struct address_range){a, a};
    for (size_t i = 0; i < bytes; i++) {
        unsigned kept = bits > 8 * i ? bits - 8 * (unsigned)i : 0;
        unsigned mask = kept >= 8 ? 0xff : (0xff00u >> kept) & 0xff;
        out->first.bytes[i + 1] &= (uint8_t)mask;
        out->last.bytes[i + 1] |= (uint8_t)~mask;
    }
}

bool address_range_parse(struct view text, struct address_range *out)
{
    char name[ADDRESS_TEXT_MAX];
    uint8_t raw[16];
    struct view address, prefix = view_cut(text, '/', &address);
    bool is_v6 = view_find(address, ':') < address.len;
    unsigned bits;

    if (address.len == 0 || address.len >= sizeof name ||
        memchr(address.data, '\0', address.len) != NULL)
        return false;
    memcpy(name, address.data, address.len);
    name[address.len] = '\0';
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, name, raw) != 1 ||
        !parse_prefix(prefix, address.len < text.len, is_v6 ? 128 : 32, &bits))
        return false;
    struct address a = address_of(is_v6 ? 6 : 4, raw);
    if (is_v6 && a.bytes[0] == 4 && bits < 96) {
        /* More than the IPv4 addresses: it means IPv6. */
        a.bytes[0] = 6;
        memcpy(a.bytes + 1, raw, sizeof raw);
    } else if (is_v6 && a.bytes[0] == 4) {
        bits -= 96;
    }
    make_range(a, bits, out);
    return true;
}

static int compare(const struct address *a, const struct address *b)
{
    return view_cmp(view_of(a->bytes, ADDRESS_BYTES), view_of(b->bytes, ADDRESS_BYTES));
}

static int by_first(const void *left, const void *right)
{
    const struct address_range *a = left, *b = right;

    return compare(&a->first, &b->first);
}

size_t address_ranges_join(struct address_range *ranges, size_t count)
{
    size_t n = 0;

    if (count == 0)
        return 0;
    qsort(ranges, count, sizeof *ranges, by_first);
    for (size_t i = 1; i < count; i++) {
        if (compare(&ranges[i].first, &ranges[n].last) > 0)
            ranges[++n] = ranges[i];
        else if (compare(&ranges[i].last, &ranges[n].last) > 0)
            ranges[n].last = ranges[i].last;
    }
    return n + 1;
}

bool address_ranges_have(const struct address_range *joined, size_t count,
                         const struct address *address)
{
    size_t from = 0, to = count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare(address, &joined[middle].first) < 0)
            to = middle;
        else if (compare(address, &joined[middle].last) > 0)
            from = middle + 1;
        else
            return true;
    }
    return false;
}
