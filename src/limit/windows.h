/*
 * Counts of calls within windows of the clock: a second, a minute, an hour, a day, a month, a year,
 * each from its start in UTC, as Kong's rate-limiting counts.
 *
 * One limiter serves all workers, and look and count are one step under a lock: however many call
 * at once, no more are let through than the limit says.  It keeps a bounded number of keys, spread
 * over shards; when one is full, its least recently used key is forgotten, and counts from zero.
 * So that nobody brings that about for a caller, what a caller may choose has shards of its own:
 * it may make no limit begin anew but that of other such keys.  Time comes in as an argument.
 */
#ifndef SALLYPORT_LIMIT_WINDOWS_H
#define SALLYPORT_LIMIT_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"
#include "model/plugins.h"

struct window_limiter;

/* What a key is made of. */
enum window_keys {
    WINDOW_CALLERS,   /* what tokens prove, and the configuration says */
    WINDOW_ADDRESSES, /* of which an IPv6 network has any number */
    WINDOW_HEADERS,   /* whatever the caller writes */
    WINDOW_KEYS,
};

/* At least max_keys (rounded up to the shards) of each sort before any is forgotten.  NULL: no
 * memory. */
struct window_limiter *window_limiter_new(size_t max_keys) MUST_USE;
void window_limiter_free(struct window_limiter *limiter);

struct window_use {
    int64_t remaining; /* after this call */
    int64_t reset_s;   /* until the window ends, at least 1 */
};

enum window_verdict {
    WINDOW_TAKEN,
    WINDOW_FULL,       /* of one window at least; nothing was counted */
    WINDOW_UNCOUNTED,  /* no memory for the key */
};

/*
 * Counts one call of the key in each window that has a limit above 0, or in none.  Any thread.
 * now_s: seconds since 1970.  use: of the windows with a limit.  A clock that goes back by less
 * than a window does not begin it anew.  A key of more than WINDOW_KEY_MAX_BYTES shares its counts
 * with those of the same hash.
 */
enum window_verdict window_take(struct window_limiter *limiter, enum window_keys of,
                                struct view key, const int64_t limits[PERIODS], int64_t now_s,
                                struct window_use use[PERIODS]) MUST_USE;

/* Keys that are kept now; any thread. */
size_t window_limiter_count(struct window_limiter *limiter);

enum { WINDOW_KEY_MAX_BYTES = 256 };

/* When the window that now_s is in began, and when it ends. */
void window_bounds(enum period period, int64_t now_s, int64_t *start_s, int64_t *end_s);

#endif
