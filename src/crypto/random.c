#include "crypto/random.h"

#include <limits.h>

#include <openssl/rand.h>

#include "base/log.h"

void random_bytes(void *out, size_t len)
{
    ENSURE(len <= INT_MAX && RAND_bytes(out, (int)len) == 1);
}

uint64_t random_u64(void)
{
    uint64_t n;

    random_bytes(&n, sizeof n);
    return n;
}

uint64_t random_below(uint64_t below)
{
    ENSURE(below > 0);
    /* Numbers from the last, incomplete run of `below` are thrown away: they would be too often. */
    const uint64_t limit = UINT64_MAX - UINT64_MAX % below;
    uint64_t n;

    do
        n = random_u64();
    while (n >= limit);
    return n % below;
}
