#include "limit/windows.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/list.h"
#include "base/map.h"

enum { SHARDS = 16, ALL_SHARDS = WINDOW_KEYS * SHARDS, HASHED_KEY_BYTES = 8 };

struct counts {
    struct list recency;
    int64_t start_s[PERIODS];
    int64_t count[PERIODS];
    size_t key_len;
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    /* Under the lock: */
    struct map keys;
    struct list recency; /* least recently used first */
};

struct window_limiter {
    size_t max_per_shard;
    struct shard shards[ALL_SHARDS];
};

struct window_limiter *window_limiter_new(size_t max_keys)
{
    struct window_limiter *limiter = calloc(1, sizeof *limiter);

    if (limiter == NULL)
        return NULL;
    limiter->max_per_shard = max_keys / SHARDS + (max_keys % SHARDS != 0);
    if (limiter->max_per_shard == 0)
        limiter->max_per_shard = 1;
    for (size_t i = 0; i < ALL_SHARDS; i++) {
        pthread_mutex_init(&limiter->shards[i].lock, NULL);
        map_init(&limiter->shards[i].keys);
        list_init(&limiter->shards[i].recency);
    }
    return limiter;
}

void window_limiter_free(struct window_limiter *limiter)
{
    if (limiter == NULL)
        return;
    for (size_t i = 0; i < ALL_SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];
        map_clear(&shard->keys);
        LIST_EACH(node, &shard->recency)
            free(LIST_ENTRY(node, struct counts, recency));
        pthread_mutex_destroy(&shard->lock);
    }
    free(limiter);
}

/* ---- The calendar ---- */

void window_bounds(enum period period, int64_t now_s, int64_t *start_s, int64_t *end_s)
{
    static const int64_t lengths_s[] = {[PERIOD_SECOND] = 1, [PERIOD_MINUTE] = 60,
                                        [PERIOD_HOUR] = 3600, [PERIOD_DAY] = 86400};
    time_t now = (time_t)now_s;
    struct tm at;

    if (period <= PERIOD_DAY) {
        *start_s = now_s - now_s % lengths_s[period];
        *end_s = *start_s + lengths_s[period];
        return;
    }
    gmtime_r(&now, &at);
    at = (struct tm){.tm_year = at.tm_year, .tm_mon = period == PERIOD_MONTH ? at.tm_mon : 0,
                     .tm_mday = 1};
    *start_s = (int64_t)timegm(&at);
    if (period == PERIOD_MONTH)
        at.tm_mon++;
    else
        at.tm_year++;
    *end_s = (int64_t)timegm(&at);
}

/* ---- Keys ---- */

static void forget_oldest(struct shard *shard)
{
    struct list *node = list_pop_front(&shard->recency);
    struct counts *counts = LIST_ENTRY(node, struct counts, recency);

    map_remove(&shard->keys, view_of(counts->key, counts->key_len));
    free(counts);
}

/* The key's counts, the most recently used from now on; NULL: no memory. */
static struct counts *counts_of(struct shard *shard, size_t max, struct view key)
{
    struct counts *counts = map_get(&shard->keys, key);

    if (counts != NULL) {
        list_unlink(&counts->recency);
        list_push_back(&shard->recency, &counts->recency);
        return counts;
    }
    if (shard->keys.count >= max)
        forget_oldest(shard);
    counts = calloc(1, sizeof *counts + key.len);
    if (counts == NULL)
        return NULL;
    counts->key_len = key.len;
    if (key.len > 0)
        memcpy(counts->key, key.data, key.len);
    if (!map_put(&shard->keys, view_of(counts->key, key.len), counts)) {
        free(counts);
        return NULL;
    }
    list_push_back(&shard->recency, &counts->recency);
    return counts;
}

/* ---- Counting ---- */

/* What is left in the window that now_s is in, before this call. */
static int64_t left_in(struct counts *counts, enum period period, int64_t limit, int64_t now_s,
                       int64_t *reset_s)
{
    int64_t start_s, end_s;

    window_bounds(period, now_s, &start_s, &end_s);
    int64_t ahead_s = counts->start_s[period] - start_s;
    if (ahead_s < 0 || ahead_s > end_s - start_s) {
        counts->start_s[period] = start_s;
        counts->count[period] = 0;
    }
    *reset_s = end_s - now_s > 1 ? end_s - now_s : 1;
    return limit > counts->count[period] ? limit - counts->count[period] : 0;
}

static enum window_verdict take(struct counts *counts, const int64_t limits[PERIODS],
                                int64_t now_s, struct window_use use[PERIODS])
{
    bool full = false;

    for (int i = 0; i < PERIODS; i++) {
        if (limits[i] <= 0)
            continue;
        use[i].remaining = left_in(counts, (enum period)i, limits[i], now_s, &use[i].reset_s);
        full = full || use[i].remaining == 0;
    }
    if (full)
        return WINDOW_FULL;
    for (int i = 0; i < PERIODS; i++) {
        if (limits[i] <= 0)
            continue;
        counts->count[i]++;
        use[i].remaining--;
    }
    return WINDOW_TAKEN;
}

enum window_verdict window_take(struct window_limiter *limiter, enum window_keys of,
                                struct view key, const int64_t limits[PERIODS], int64_t now_s,
                                struct window_use use[PERIODS])
{
    const uint64_t hash = map_hash(key);
    char hashed[HASHED_KEY_BYTES];
    enum window_verdict verdict = WINDOW_UNCOUNTED;

    if (key.len > WINDOW_KEY_MAX_BYTES) {
        memcpy(hashed, &hash, sizeof hashed);
        key = view_of(hashed, sizeof hashed);
    }
    struct shard *shard = &limiter->shards[of * SHARDS + (hash >> 32) % SHARDS];
    pthread_mutex_lock(&shard->lock);
    struct counts *counts = counts_of(shard, limiter->max_per_shard, key);
    if (counts != NULL)
        verdict = take(counts, limits, now_s, use);
    pthread_mutex_unlock(&shard->lock);
    return verdict;
}

size_t window_limiter_count(struct window_limiter *limiter)
{
    size_t count = 0;

    for (size_t i = 0; i < ALL_SHARDS; i++) {
        pthread_mutex_lock(&limiter->shards[i].lock);
        count += limiter->shards[i].keys.count;
        pthread_mutex_unlock(&limiter->shards[i].lock);
    }
    return count;
}
