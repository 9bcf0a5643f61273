/* Time, and the seam through which a test sets it. */
#ifndef SALLYPORT_BASE_TIME_H
#define SALLYPORT_BASE_TIME_H

#include <stddef.h>
#include <stdint.h>

/* Where a room gets its time from; tests put in their own.  Wall time in microseconds since 1970
 * UTC; monotonic time in nanoseconds since some fixed point. */
struct clock {
    int64_t (*wall_us)(void *ctx);
    int64_t (*monotonic_ns)(void *ctx);
    void *ctx;
};

/* The kernel's own time. */
extern const struct clock system_clock;

int64_t time_wall_us(void);
int64_t time_monotonic_ns(void);

static inline int64_t clock_wall_us(const struct clock *c)
{
    return c->wall_us(c->ctx);
}

static inline int64_t clock_monotonic_ns(const struct clock *c)
{
    return c->monotonic_ns(c->ctx);
}

enum { TIME_TEXT_BYTES = sizeof "2026-01-02T03:04:05.678901Z" };

/* RFC 3339 in UTC with microseconds, NUL-terminated. */
void time_format(int64_t wall_us, char out[TIME_TEXT_BYTES]);
/* The form of AWS Signature Version 4: 20260102T030405Z, NUL-terminated. */
void time_format_amz(int64_t wall_us, char out[17]);

#endif
