/*
 * Counters, gauges and histograms, written by many threads without a lock, read by a scrape.
 *
 * The families are one fixed table (metrics.c): name, help, kind, label names.  A series is a
 * family with the values of its labels; finding or making one takes a lock and is done when the
 * configuration is loaded, or once per new label value (metric_set).  What remains is a handle.
 *
 *     struct metrics_shard *mine = metrics_shard(m, worker_index);
 *     metric_add(mine, route->rows, 1);
 *     metric_observe(mine, route->seconds, elapsed_ns);
 *
 * Each thread writes its own shard and nobody else does, so an update is a plain load and store of
 * a cache line that no other core writes; the scrape sums over the shards.  Series live as long as
 * the registry, so that a counter outlasts the reload that dropped its route.  The number of cells
 * is bounded: beyond it, handles discard what they are given and metrics_refused counts.
 */
#ifndef SALLYPORT_BASE_METRICS_H
#define SALLYPORT_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

/* In the order of the output.  Durations are observed in nanoseconds and shown in seconds. */
enum metric_family {
    METRIC_REQUESTS,             /* counter   service, route, status */
    METRIC_REQUEST_SECONDS,      /* histogram service, route */
    METRIC_DATABASE_SECONDS,     /* histogram service: from the lease's first byte to its end */
    METRIC_DECISIONS,            /* counter   decision (allow, deny), reason */
    METRIC_POOL_CONNECTIONS,     /* gauge     service, access (read, write), state (idle, busy, …) */
    METRIC_POOL_WAITING,         /* gauge     service */
    METRIC_LOGINS,               /* counter   service, result ("ok" or the fault's name) */
    METRIC_LOGIN_SECONDS,        /* histogram service */
    METRIC_LOGIN_RATE,           /* gauge     service, access */
    METRIC_IAM_LOGIN_SHARE,      /* gauge */
    METRIC_IAM_LOGIN_MAX_RATE,   /* gauge */
    METRIC_TOKEN_MINTS,          /* counter */
    METRIC_CREDENTIAL_EXPIRY,    /* gauge     service, access: seconds until the credentials end */
    METRIC_STS_SESSIONS,         /* gauge     state (cached, per_caller, waiting, failing, …) */
    METRIC_STS_SESSIONS_MAX,     /* gauge */
    METRIC_STS_REQUESTS,         /* counter   result (ok, throttled, failed) */
    METRIC_STS_EVICTIONS,        /* counter */
    METRIC_STS_PACE,             /* gauge */
    METRIC_ROTATIONS,            /* counter   service, result (rotated, failed) */
    METRIC_SECRET_READS,         /* counter   result: ok, failed */
    METRIC_SECRET_AGE,           /* gauge     vault, secret, stage: seconds since it was read */
    METRIC_STORE_REACHABLE,      /* gauge     1, or 0 */
    METRIC_STORE_REVISION,       /* gauge     of the configuration that is served */
    METRIC_STORE_LOGIN_RATE,     /* gauge */
    METRIC_NODES,                /* gauge     that serve the configuration, with this one */
    METRIC_ISSUER_KEYS_AGE,      /* gauge     issuer: seconds since the keys were fetched */
    METRIC_AUDIT_RECORDS,        /* counter   kind */
    METRIC_AUDIT_WRITE_FAILURES, /* counter */
    METRIC_CLIENT_CONNECTIONS,   /* gauge */
    METRIC_FAMILIES
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum { METRIC_LABELS_MAX = 3, METRIC_BUCKETS = 17 };

struct metric_description {
    const char *name;
    const char *help;
    enum metric_kind kind;
    const char *labels[METRIC_LABELS_MAX]; /* NULL after the last */
};

extern const struct metric_description metric_descriptions[METRIC_FAMILIES];
/* Upper bounds of all buckets but the last, which is +Inf. */
extern const int64_t metric_bucket_bounds_ns[METRIC_BUCKETS - 1];

/* A series to write to.  The zeroed handle discards. */
struct metric {
    uint32_t cell;
};

struct metrics;

/* A registry for so many writing threads (workers, then the control thread).  NULL: no memory. */
struct metrics *metrics_new(size_t shards);
void metrics_free(struct metrics *m);

/* Any thread, under the registry's lock.  values are the family's labels in order, as many as it
 * has; they are copied, and values longer than 256 bytes are cut.  The same values give the same
 * handle.  Never fails: without room it gives the handle that discards. */
struct metric metrics_series(struct metrics *m, enum metric_family family,
                             const struct view *values, size_t count);

/* Series of one family that differ in the last label only, such as one route's requests by
 * status: the lookup takes no lock once the value has been seen.  At most METRIC_SET_SLOTS values;
 * all further ones share the value "other".  The same fixed values give the same set, which lives
 * as long as the registry; NULL when there is no memory, and NULL is a set that discards. */
enum { METRIC_SET_SLOTS = 32 };
struct metric_set;
struct metric_set *metrics_set(struct metrics *m, enum metric_family family,
                               const struct view *fixed, size_t count);
/* The series whose last label is the number, or the word.  Any thread.  Words come from a fixed
 * vocabulary (a fault's name, a reason), never from a caller. */
struct metric metric_set_number(struct metric_set *set, unsigned number);
struct metric metric_set_word(struct metric_set *set, struct view word);

/* The hot path. */

enum { METRICS_CHUNK_CELLS = 512, METRICS_CHUNKS_MAX = 4096 };

struct metrics_shard {
    _Atomic(_Atomic(uint64_t) *) chunks[METRICS_CHUNKS_MAX];
};

/* The shard of one writing thread, index < shards.  Only that thread may write to it. */
struct metrics_shard *metrics_shard(struct metrics *m, size_t index);

static inline _Atomic(uint64_t) *metric_cell(struct metrics_shard *shard, uint32_t cell)
{
    return atomic_load_explicit(&shard->chunks[cell / METRICS_CHUNK_CELLS], memory_order_acquire) +
           cell % METRICS_CHUNK_CELLS;
}

static inline void metric_cell_add(_Atomic(uint64_t) *cell, uint64_t n)
{
    /* One writer: no need for the bus lock of a read-modify-write. */
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}

/* For counters and gauges; a gauge may also go down (n < 0), even on another shard than it went
 * up on: the sum counts. */
static inline void metric_add(struct metrics_shard *shard, struct metric metric, int64_t n)
{
    metric_cell_add(metric_cell(shard, metric.cell), (uint64_t)n);
}

/* For histograms: one duration in nanoseconds; a negative one counts as 0. */
void metric_observe(struct metrics_shard *shard, struct metric metric, int64_t ns);

/* What is known only by asking, at the time of the scrape (pools, keys, credentials). */
struct metrics_output {
    void (*sample)(struct metrics_output *out, enum metric_family family,
                   const struct view *values, size_t count, double value);
};
/* collect runs on the scraping thread: it must not block for long.  False: no room (16 sources). */
bool metrics_add_source(struct metrics *m,
                        void (*collect)(void *arg, struct metrics_output *out), void *arg) MUST_USE;

/* The scrape's side. */

/* One series, summed over the shards.  The views live as long as the registry. */
struct metric_reading {
    enum metric_family family;
    const struct view *values;
    size_t value_count;
    int64_t value;                    /* counter, gauge */
    uint64_t buckets[METRIC_BUCKETS]; /* histogram: not cumulative */
    uint64_t sum_ns;
};

/* Visits every series family by family, in the order they were made, under the lock that
 * metrics_series takes.  Then asks the sources. */
void metrics_read(struct metrics *m, void (*visit)(void *arg, const struct metric_reading *r),
                  void *arg);
void metrics_collect(struct metrics *m, struct metrics_output *out);
/* Series that found no room. */
uint64_t metrics_refused(struct metrics *m);

#endif
