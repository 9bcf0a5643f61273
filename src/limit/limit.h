/*
 * Limits of a caller: a token bucket per key, and a bound on what runs at once.
 *
 * One limiter serves all workers, so that a limit is the process's and not the worker's.  It keeps
 * a bounded number of buckets, spread over shards with a lock each; when a shard is full, its least
 * recently used bucket is forgotten (it is the likeliest to be full again, and a forgotten bucket
 * is a full one).  Time comes in as an argument.
 */
#ifndef SALLYPORT_LIMIT_LIMIT_H
#define SALLYPORT_LIMIT_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

struct limiter;

/* At least max_buckets (rounded up to the shards) before any is forgotten.  NULL: no memory. */
struct limiter *limiter_new(size_t max_buckets) MUST_USE;
void limiter_free(struct limiter *limiter);

/*
 * Takes one token from the key's bucket.  Any thread.  rate: tokens a second that flow in; burst:
 * how many it holds (less than 1 counts as 1); rate 0 or less: no limit.  now_ns: monotonic; going
 * backwards is harmless.  True: go on.  False: refused, and *retry_after_ms (which may be NULL) is
 * when a token will be there, rounded up, at least 1.  The rate and burst of a key may change from
 * call to call.  A key of more than LIMIT_KEY_MAX_BYTES shares its bucket with those of the same
 * hash.  When there is no memory for a new bucket the call is refused for a second: a limit that
 * can't be kept is not a reason to let everybody in.
 */
bool limit_take(struct limiter *limiter, struct view key, int64_t rate, int64_t burst,
                int64_t now_ns, int64_t *retry_after_ms) MUST_USE;

/* Buckets that are kept now; any thread, for metrics and tests. */
size_t limiter_count(struct limiter *limiter);

enum { LIMIT_KEY_MAX_BYTES = 512 };

/* How many run at once.  Zero-initialise.  Any thread. */
struct concurrency {
    _Atomic int64_t running;
};

/* True: counted in, and concurrency_leave must follow once.  max 0 or less: no limit. */
bool concurrency_enter(struct concurrency *c, int64_t max) MUST_USE;
void concurrency_leave(struct concurrency *c);

#endif
