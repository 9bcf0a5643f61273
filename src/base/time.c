#include "base/time.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t time_wall_us(void)
{
    return read_clock(CLOCK_REALTIME) / 1000;
}

int64_t time_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall_us(void *ctx)
{
    (void)ctx;
    return time_wall_us();
}

static int64_t system_monotonic_ns(void *ctx)
{
    (void)ctx;
    return time_monotonic_ns();
}

const struct clock system_clock = {system_wall_us, system_monotonic_ns, NULL};

static struct tm utc(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm t;
    gmtime_r(&seconds, &t);
    /* Held to four digits of year, so that every text has the same length. */
    if (t.tm_year < 0 || t.tm_year > 8099)
        t.tm_year = 70;
    return t;
}

void time_format(int64_t wall_us, char out[TIME_TEXT_BYTES])
{
    if (wall_us < 0)
        wall_us = 0;
    struct tm t = utc(wall_us);
    snprintf(out, TIME_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
             (unsigned)(t.tm_year + 1900) % 10000, (unsigned)(t.tm_mon + 1) % 100,
             (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100,
             (unsigned)t.tm_sec % 100, (unsigned)(wall_us % 1000000) % 1000000);
}

void time_format_amz(int64_t wall_us, char out[17])
{
    if (wall_us < 0)
        wall_us = 0;
    struct tm t = utc(wall_us);
    snprintf(out, 17, "%04u%02u%02uT%02u%02u%02uZ", (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)(t.tm_mon + 1) % 100, (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100,
             (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
}
