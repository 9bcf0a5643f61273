#include "limit/limit.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"

enum { SHARDS = 16, HASHED_KEY_BYTES = 8 };

/*
 * A token bucket kept as one time (the generic cell rate algorithm): full_at_ns is when the bucket
 * will be full again if nothing more is taken.  Each token is worth 1/rate seconds of it.
 */
struct bucket {
    struct list recency;
    int64_t full_at_ns;
    size_t key_len;
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    /* Under the lock: */
    struct map buckets;
    struct list recency; /* least recently used first */
};

struct limiter {
    size_t max_per_shard;
    struct shard shards[SHARDS];
};

struct limiter *limiter_new(size_t max_buckets)
{
    struct limiter *limiter = calloc(1, sizeof *limiter);
    if (limiter == NULL)
        return NULL;
    limiter->max_per_shard = max_buckets / SHARDS + (max_buckets % SHARDS != 0);
    if (limiter->max_per_shard == 0)
        limiter->max_per_shard = 1;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&limiter->shards[i].lock, NULL);
        map_init(&limiter->shards[i].buckets);
        list_init(&limiter->shards[i].recency);
    }
    return limiter;
}

void limiter_free(struct limiter *limiter)
{
    if (limiter == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];
        map_clear(&shard->buckets);
        LIST_EACH(node, &shard->recency)
            free(LIST_ENTRY(node, struct bucket, recency));
        pthread_mutex_destroy(&shard->lock);
    }
    free(limiter);
}

static void forget_oldest(struct shard *shard)
{
    struct list *node = list_pop_front(&shard->recency);
    struct bucket *bucket = LIST_ENTRY(node, struct bucket, recency);
    map_remove(&shard->buckets, view_of(bucket->key, bucket->key_len));
    free(bucket);
}

/* The key's bucket, the most recently used one from now on; NULL: no memory. */
static struct bucket *bucket_of(struct shard *shard, size_t max, struct view key, int64_t now_ns)
{
    struct bucket *bucket = map_get(&shard->buckets, key);
    if (bucket != NULL) {
        list_unlink(&bucket->recency);
        list_push_back(&shard->recency, &bucket->recency);
        return bucket;
    }
    if (shard->buckets.count >= max)
        forget_oldest(shard);
    bucket = malloc(sizeof *bucket + key.len);
    if (bucket == NULL)
        return NULL;
    bucket->full_at_ns = now_ns;
    bucket->key_len = key.len;
    if (key.len > 0)
        memcpy(bucket->key, key.data, key.len);
    if (!map_put(&shard->buckets, view_of(bucket->key, key.len), bucket)) {
        free(bucket);
        return NULL;
    }
    list_push_back(&shard->recency, &bucket->recency);
    return bucket;
}

/* What a token and a whole bucket are worth, in ns; saturated so that sums never overflow. */
struct worth {
    int64_t token_ns;
    int64_t bucket_ns;
};

static struct worth worth_of(int64_t rate, int64_t burst)
{
    const int64_t second_ns = 1000000000, longest_ns = INT64_MAX / 4;
    struct worth w;
    w.token_ns = rate < second_ns ? second_ns / rate : 1;
    if (burst < 1)
        burst = 1;
    w.bucket_ns = burst < longest_ns / w.token_ns ? burst * w.token_ns : longest_ns;
    return w;
}

/* 0: taken; else how long to wait, in ns. */
static int64_t bucket_take(struct bucket *bucket, struct worth worth, int64_t now_ns)
{
    int64_t full_at_ns = bucket->full_at_ns > now_ns ? bucket->full_at_ns : now_ns;
    /* The bucket may have been larger before a change of the configuration, or time went back. */
    if (full_at_ns - now_ns > worth.bucket_ns)
        full_at_ns = now_ns + worth.bucket_ns;
    int64_t wait_ns = full_at_ns + worth.token_ns - now_ns - worth.bucket_ns;
    if (wait_ns > 0)
        return wait_ns;
    bucket->full_at_ns = full_at_ns + worth.token_ns;
    return 0;
}

bool limit_take(struct limiter *limiter, struct view key, int64_t rate, int64_t burst,
                int64_t now_ns, int64_t *retry_after_ms)
{
    if (rate <= 0)
        return true;
    const uint64_t hash = map_hash(key);
    char hashed[HASHED_KEY_BYTES];
    if (key.len > LIMIT_KEY_MAX_BYTES) {
        memcpy(hashed, &hash, sizeof hashed);
        key = view_of(hashed, sizeof hashed);
    }
    struct shard *shard = &limiter->shards[(hash >> 32) % SHARDS];
    int64_t wait_ns = 1000000000;
    pthread_mutex_lock(&shard->lock);
    struct bucket *bucket = bucket_of(shard, limiter->max_per_shard, key, now_ns);
    if (bucket != NULL)
        wait_ns = bucket_take(bucket, worth_of(rate, burst), now_ns);
    pthread_mutex_unlock(&shard->lock);
    if (wait_ns == 0)
        return true;
    if (retry_after_ms != NULL)
        *retry_after_ms = wait_ns / 1000000 + (wait_ns % 1000000 != 0);
    return false;
}

size_t limiter_count(struct limiter *limiter)
{
    size_t count = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&limiter->shards[i].lock);
        count += limiter->shards[i].buckets.count;
        pthread_mutex_unlock(&limiter->shards[i].lock);
    }
    return count;
}

bool concurrency_enter(struct concurrency *c, int64_t max)
{
    int64_t running = atomic_load_explicit(&c->running, memory_order_relaxed);
    do {
        if (max > 0 && running >= max)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->running, &running, running + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}

void concurrency_leave(struct concurrency *c)
{
    atomic_fetch_sub_explicit(&c->running, 1, memory_order_release);
}
