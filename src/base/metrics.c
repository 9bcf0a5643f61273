#include "base/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"

enum {
    VALUE_MAX = 256,   /* bytes of a label's value */
    SOURCES_MAX = 16,
    HISTOGRAM_CELLS = METRIC_BUCKETS + 1, /* the buckets, then the sum */
    KEY_MAX = 2 + METRIC_LABELS_MAX * (2 + VALUE_MAX),
};

const struct metric_description metric_descriptions[METRIC_FAMILIES] = {
    [METRIC_REQUESTS] = {"sallyport_requests_total", "Answered requests by HTTP status; "
                         "service and route are empty where no route was found.",
                         METRIC_COUNTER, {"service", "route", "status"}},
    [METRIC_REQUEST_SECONDS] = {"sallyport_request_seconds",
                                "From a request's first byte to its answer's last.",
                                METRIC_HISTOGRAM, {"service", "route"}},
    [METRIC_DATABASE_SECONDS] = {"sallyport_database_seconds",
                                 "From sending a call to the database to its end.",
                                 METRIC_HISTOGRAM, {"service"}},
    [METRIC_DECISIONS] = {"sallyport_decisions_total", "Calls allowed and denied, and why.",
                          METRIC_COUNTER, {"decision", "reason"}},
    [METRIC_POOL_CONNECTIONS] = {"sallyport_pool_connections", "Connections to the database.",
                                 METRIC_GAUGE, {"service", "access", "state"}},
    [METRIC_POOL_WAITING] = {"sallyport_pool_waiting", "Calls waiting for a connection.",
                             METRIC_GAUGE, {"service"}},
    [METRIC_LOGINS] = {"sallyport_logins_total", "Logins to the database.",
                       METRIC_COUNTER, {"service", "result"}},
    [METRIC_LOGIN_SECONDS] = {"sallyport_login_seconds", "Duration of logins to the database.",
                              METRIC_HISTOGRAM, {"service"}},
    [METRIC_LOGIN_RATE] = {"sallyport_logins_per_second",
                           "Logins to the database, over the last ten seconds.", METRIC_GAUGE,
                           {"service", "access"}},
    [METRIC_IAM_LOGIN_SHARE] = {"sallyport_iam_login_share",
                                "Logins by IAM that this node may make to one instance a second.",
                                METRIC_GAUGE, {NULL}},
    [METRIC_IAM_LOGIN_MAX_RATE] = {"sallyport_iam_login_max_rate",
                                   "The same of all nodes together: pg_iam_auth_max_rate.",
                                   METRIC_GAUGE, {NULL}},
    [METRIC_TOKEN_MINTS] = {"sallyport_token_mints_total", "RDS IAM tokens signed.",
                            METRIC_COUNTER, {NULL}},
    [METRIC_CREDENTIAL_EXPIRY] = {"sallyport_credential_expiry_seconds",
                                  "Seconds until the AWS credentials end; absent: they do not.",
                                  METRIC_GAUGE, {"service", "access"}},
    [METRIC_STS_SESSIONS] = {"sallyport_sts_sessions", "Sessions of assumed roles.", METRIC_GAUGE,
                             {"state"}},
    [METRIC_STS_SESSIONS_MAX] = {"sallyport_sts_sessions_max",
                                 "Sessions per caller that are kept at most.", METRIC_GAUGE,
                                 {NULL}},
    [METRIC_STS_REQUESTS] = {"sallyport_sts_requests_total",
                             "Roles asked of STS for sessions.", METRIC_COUNTER, {"result"}},
    [METRIC_STS_EVICTIONS] = {"sallyport_sts_evictions_total",
                              "Sessions per caller that left for others.", METRIC_COUNTER, {NULL}},
    [METRIC_STS_PACE] = {"sallyport_sts_pace_per_second",
                         "Requests a second that STS is sent at most now.", METRIC_GAUGE, {NULL}},
    [METRIC_ROTATIONS] = {"sallyport_rotations_total",
                          "Scheduled rotations of a service's secret by this node.",
                          METRIC_COUNTER, {"service", "result"}},
    [METRIC_SECRET_READS] = {"sallyport_secret_reads_total",
                             "Reads of secrets in AWS Secrets Manager.",
                             METRIC_COUNTER, {"result"}},
    [METRIC_SECRET_AGE] = {"sallyport_secret_age_seconds",
                           "Seconds since the secret was last read.",
                           METRIC_GAUGE, {"vault", "secret", "stage"}},
    [METRIC_STORE_REACHABLE] = {"sallyport_store_reachable",
                                "1 when the configuration's database answers, else 0.",
                                METRIC_GAUGE, {NULL}},
    [METRIC_STORE_REVISION] = {"sallyport_store_revision",
                               "The revision of the configuration that is served; -1 is unknown.",
                               METRIC_GAUGE, {NULL}},
    [METRIC_STORE_LOGIN_RATE] = {"sallyport_store_logins_per_second",
                                 "Logins by IAM to the configuration's database, over the last ten "
                                 "seconds.",
                                 METRIC_GAUGE, {NULL}},
    [METRIC_NODES] = {"sallyport_nodes",
                      "Nodes that serve the configuration, with this one; 0 is unknown.",
                      METRIC_GAUGE, {NULL}},
    [METRIC_ISSUER_KEYS_AGE] = {"sallyport_issuer_keys_age_seconds",
                                "Seconds since the issuer's keys were last fetched.",
                                METRIC_GAUGE, {"issuer"}},
    [METRIC_AUDIT_RECORDS] = {"sallyport_audit_records_total", "Audit records written.",
                              METRIC_COUNTER, {"kind"}},
    [METRIC_AUDIT_WRITE_FAILURES] = {"sallyport_audit_write_failures_total",
                                     "Audit writes that failed; calls are refused meanwhile.",
                                     METRIC_COUNTER, {NULL}},
    [METRIC_CLIENT_CONNECTIONS] = {"sallyport_client_connections", "Open client connections.",
                                   METRIC_GAUGE, {NULL}},
};

const int64_t metric_bucket_bounds_ns[METRIC_BUCKETS - 1] = {
    100000,    250000,    500000,    1000000,    2500000,    5000000,    10000000,   25000000,
    50000000,  100000000, 250000000, 500000000,  1000000000, 2500000000, 5000000000, 10000000000,
};

struct series {
    struct series *next; /* of the same family */
    enum metric_family family;
    uint32_t cell;
    size_t value_count;
    struct view values[METRIC_LABELS_MAX]; /* in key */
    size_t key_len;
    char key[];
};

struct set_slot {
    _Atomic(uint64_t) key; /* 0: empty; published after cell */
    _Atomic(uint32_t) cell;
};

struct metric_set {
    struct metrics *metrics;
    enum metric_family family;
    size_t fixed_count;
    struct view fixed[METRIC_LABELS_MAX]; /* in key */
    struct set_slot slots[METRIC_SET_SLOTS];
    _Atomic(uint32_t) other; /* 0: not made yet */
    size_t key_len;
    char key[];
};

struct source {
    void (*collect)(void *arg, struct metrics_output *out);
    void *arg;
};

struct metrics {
    size_t shard_count;
    struct metrics_shard *shards;
    pthread_mutex_t lock; /* guards all that follows */
    uint32_t next_cell;
    uint64_t refused;
    struct map series; /* by key */
    struct map sets;   /* by key */
    struct series *first[METRIC_FAMILIES];
    struct series *last[METRIC_FAMILIES];
    struct source sources[SOURCES_MAX];
    size_t source_count;
};

/* Gives every shard the chunk, or none of them. */
static bool add_chunk(struct metrics *m, size_t chunk)
{
    for (size_t i = 0; i < m->shard_count; i++) {
        _Atomic(uint64_t) *cells =
            aligned_alloc(64, METRICS_CHUNK_CELLS * sizeof(_Atomic(uint64_t)));
        if (cells == NULL) {
            while (i-- > 0)
                free(atomic_exchange(&m->shards[i].chunks[chunk], NULL));
            return false;
        }
        for (size_t j = 0; j < METRICS_CHUNK_CELLS; j++)
            atomic_init(&cells[j], 0);
        atomic_store_explicit(&m->shards[i].chunks[chunk], cells, memory_order_release);
    }
    return true;
}

struct metrics *metrics_new(size_t shards)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    ENSURE(shards > 0);
    m->shards = calloc(shards, sizeof *m->shards);
    m->shard_count = m->shards != NULL ? shards : 0;
    pthread_mutex_init(&m->lock, NULL);
    map_init(&m->series);
    map_init(&m->sets);
    /* The first cells belong to the handle that discards, as a histogram too. */
    m->next_cell = HISTOGRAM_CELLS;
    if (m->shards == NULL || !add_chunk(m, 0)) {
        metrics_free(m);
        return NULL;
    }
    return m;
}

void metrics_free(struct metrics *m)
{
    void *entry;

    if (m == NULL)
        return;
    for (size_t at = 0; (entry = map_next(&m->series, &at)) != NULL;)
        free(entry);
    for (size_t at = 0; (entry = map_next(&m->sets, &at)) != NULL;)
        free(entry);
    map_clear(&m->series);
    map_clear(&m->sets);
    for (size_t i = 0; i < m->shard_count; i++) {
        for (size_t j = 0; j < METRICS_CHUNKS_MAX; j++)
            free(atomic_load(&m->shards[i].chunks[j]));
    }
    free(m->shards);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

struct metrics_shard *metrics_shard(struct metrics *m, size_t index)
{
    ENSURE(index < m->shard_count);
    return &m->shards[index];
}

static size_t label_count(enum metric_family family)
{
    size_t n = 0;
    while (n < METRIC_LABELS_MAX && metric_descriptions[family].labels[n] != NULL)
        n++;
    return n;
}

/* The value as it is kept: at most VALUE_MAX bytes, not cut within a character. */
static struct view kept_value(struct view v)
{
    if (v.len <= VALUE_MAX)
        return v;
    size_t len = VALUE_MAX;
    while (len > 0 && ((unsigned char)v.data[len] & 0xc0) == 0x80)
        len--;
    return view_upto(v, len);
}

/* Family and values as one text, each value behind its length; returns how long it is. */
static size_t make_key(char key[KEY_MAX], enum metric_family family, const struct view *values,
                       size_t count)
{
    size_t len = 0;

    key[len++] = (char)family;
    key[len++] = (char)count;
    for (size_t i = 0; i < count; i++) {
        struct view v = kept_value(values[i]);
        key[len++] = (char)(v.len >> 8);
        key[len++] = (char)(v.len & 0xff);
        if (v.len > 0)
            memcpy(key + len, v.data, v.len);
        len += v.len;
    }
    return len;
}

/* The values within a key that make_key wrote. */
static void split_key(const char *key, struct view *values, size_t count)
{
    size_t at = 2;

    for (size_t i = 0; i < count; i++) {
        size_t len = (size_t)(unsigned char)key[at] << 8 | (unsigned char)key[at + 1];
        values[i] = view_of(key + at + 2, len);
        at += 2 + len;
    }
}

/* Cells for one series, all in one chunk; 0 when there is no room. */
static uint32_t take_cells(struct metrics *m, uint32_t cells)
{
    uint32_t first = m->next_cell;
    uint32_t left = METRICS_CHUNK_CELLS - first % METRICS_CHUNK_CELLS;

    if (left < cells || first % METRICS_CHUNK_CELLS == 0) {
        if (left < cells)
            first += left;
        if (first / METRICS_CHUNK_CELLS >= METRICS_CHUNKS_MAX ||
            !add_chunk(m, first / METRICS_CHUNK_CELLS))
            return 0;
    }
    m->next_cell = first + cells;
    return first;
}

static struct series *new_series(struct metrics *m, enum metric_family family, size_t count,
                                 const char *key, size_t key_len)
{
    struct series *s = malloc(sizeof *s + key_len);
    if (s == NULL)
        return NULL;
    s->next = NULL;
    s->family = family;
    s->value_count = count;
    s->key_len = key_len;
    memcpy(s->key, key, key_len);
    split_key(s->key, s->values, count);
    s->cell =
        take_cells(m, metric_descriptions[family].kind == METRIC_HISTOGRAM ? HISTOGRAM_CELLS : 1);
    if (s->cell == 0 || !map_put(&m->series, view_of(s->key, key_len), s)) {
        free(s);
        return NULL;
    }
    if (m->last[family] != NULL)
        m->last[family]->next = s;
    else
        m->first[family] = s;
    m->last[family] = s;
    return s;
}

static struct metric series_locked(struct metrics *m, enum metric_family family,
                                   const struct view *values, size_t count)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, family, values, count);
    struct series *s = map_get(&m->series, view_of(key, key_len));

    if (s == NULL)
        s = new_series(m, family, count, key, key_len);
    if (s == NULL) {
        m->refused++;
        return (struct metric){0};
    }
    return (struct metric){s->cell};
}

struct metric metrics_series(struct metrics *m, enum metric_family family,
                             const struct view *values, size_t count)
{
    ENSURE(family < METRIC_FAMILIES && count == label_count(family));
    pthread_mutex_lock(&m->lock);
    struct metric found = series_locked(m, family, values, count);
    pthread_mutex_unlock(&m->lock);
    return found;
}

static struct metric_set *new_set(struct metrics *m, enum metric_family family, size_t count,
                                  const char *key, size_t key_len)
{
    struct metric_set *set = calloc(1, sizeof *set + key_len);
    if (set == NULL)
        return NULL;
    set->metrics = m;
    set->family = family;
    set->fixed_count = count;
    set->key_len = key_len;
    memcpy(set->key, key, key_len);
    split_key(set->key, set->fixed, count);
    if (!map_put(&m->sets, view_of(set->key, key_len), set)) {
        free(set);
        return NULL;
    }
    return set;
}

struct metric_set *metrics_set(struct metrics *m, enum metric_family family,
                               const struct view *fixed, size_t count)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, family, fixed, count);

    ENSURE(family < METRIC_FAMILIES && count + 1 == label_count(family));
    pthread_mutex_lock(&m->lock);
    struct metric_set *set = map_get(&m->sets, view_of(key, key_len));
    if (set == NULL)
        set = new_set(m, family, count, key, key_len);
    pthread_mutex_unlock(&m->lock);
    return set;
}

static struct metric with_last_label(struct metric_set *set, struct view last)
{
    struct view values[METRIC_LABELS_MAX];

    for (size_t i = 0; i < set->fixed_count; i++)
        values[i] = set->fixed[i];
    values[set->fixed_count] = last;
    return series_locked(set->metrics, set->family, values, set->fixed_count + 1);
}

/* The slot that holds the key, or the first empty one on its way; NULL when neither is left. */
static struct set_slot *find_slot(struct metric_set *set, uint64_t key)
{
    for (size_t i = 0; i < METRIC_SET_SLOTS; i++) {
        struct set_slot *slot = &set->slots[(key + i) % METRIC_SET_SLOTS];
        uint64_t there = atomic_load_explicit(&slot->key, memory_order_acquire);
        if (there == key || there == 0)
            return slot;
    }
    return NULL;
}

static struct metric add_to_set(struct metric_set *set, uint64_t key, struct view last)
{
    pthread_mutex_lock(&set->metrics->lock);
    /* Once more under the lock: another thread may have been faster. */
    struct set_slot *slot = find_slot(set, key);
    uint32_t cell;
    if (slot == NULL) {
        cell = atomic_load(&set->other);
        if (cell == 0) {
            cell = with_last_label(set, VIEW("other")).cell;
            atomic_store(&set->other, cell);
        }
    } else if (atomic_load(&slot->key) == key) {
        cell = atomic_load(&slot->cell);
    } else {
        cell = with_last_label(set, last).cell;
        atomic_store_explicit(&slot->cell, cell, memory_order_relaxed);
        atomic_store_explicit(&slot->key, key, memory_order_release);
    }
    pthread_mutex_unlock(&set->metrics->lock);
    return (struct metric){cell};
}

/* Zeroed handle when the lock-free lookup found nothing. */
static struct metric look_up(struct metric_set *set, uint64_t key)
{
    struct set_slot *slot = find_slot(set, key);
    if (slot == NULL)
        return (struct metric){atomic_load(&set->other)};
    if (atomic_load_explicit(&slot->key, memory_order_acquire) != key)
        return (struct metric){0};
    return (struct metric){atomic_load_explicit(&slot->cell, memory_order_relaxed)};
}

struct metric metric_set_number(struct metric_set *set, unsigned number)
{
    char digits[12];
    size_t at = sizeof digits;

    if (set == NULL)
        return (struct metric){0};
    uint64_t key = (uint64_t)number + 1;
    struct metric found = look_up(set, key);
    if (found.cell != 0)
        return found;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return add_to_set(set, key, view_of(digits + at, sizeof digits - at));
}

struct metric metric_set_word(struct metric_set *set, struct view word)
{
    if (set == NULL)
        return (struct metric){0};
    /* The top bit keeps words apart from numbers and from the empty slot. */
    uint64_t key = map_hash(word) | UINT64_C(1) << 63;
    struct metric found = look_up(set, key);
    return found.cell != 0 ? found : add_to_set(set, key, word);
}

void metric_observe(struct metrics_shard *shard, struct metric metric, int64_t ns)
{
    _Atomic(uint64_t) *cells = metric_cell(shard, metric.cell);
    size_t bucket = 0;

    if (ns < 0)
        ns = 0;
    while (bucket < METRIC_BUCKETS - 1 && ns > metric_bucket_bounds_ns[bucket])
        bucket++;
    metric_cell_add(&cells[bucket], 1);
    metric_cell_add(&cells[METRIC_BUCKETS], (uint64_t)ns);
}

bool metrics_add_source(struct metrics *m,
                        void (*collect)(void *arg, struct metrics_output *out), void *arg)
{
    pthread_mutex_lock(&m->lock);
    bool room = m->source_count < SOURCES_MAX;
    if (room)
        m->sources[m->source_count++] = (struct source){collect, arg};
    pthread_mutex_unlock(&m->lock);
    return room;
}

static uint64_t sum_of(struct metrics *m, uint32_t cell)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->shard_count; i++)
        sum += atomic_load_explicit(metric_cell(&m->shards[i], cell), memory_order_relaxed);
    return sum;
}

static void read_series(struct metrics *m, const struct series *s, struct metric_reading *r)
{
    *r = (struct metric_reading){
        .family = s->family, .values = s->values, .value_count = s->value_count};
    if (metric_descriptions[s->family].kind != METRIC_HISTOGRAM) {
        r->value = (int64_t)sum_of(m, s->cell);
        return;
    }
    for (uint32_t i = 0; i < METRIC_BUCKETS; i++)
        r->buckets[i] = sum_of(m, s->cell + i);
    r->sum_ns = sum_of(m, s->cell + METRIC_BUCKETS);
}

void metrics_read(struct metrics *m, void (*visit)(void *arg, const struct metric_reading *r),
                  void *arg)
{
    struct metric_reading r;

    pthread_mutex_lock(&m->lock);
    for (size_t family = 0; family < METRIC_FAMILIES; family++) {
        for (const struct series *s = m->first[family]; s != NULL; s = s->next) {
            read_series(m, s, &r);
            visit(arg, &r);
        }
    }
    pthread_mutex_unlock(&m->lock);
}

void metrics_collect(struct metrics *m, struct metrics_output *out)
{
    struct source sources[SOURCES_MAX];

    /* Copied, so that a source may itself ask for a series. */
    pthread_mutex_lock(&m->lock);
    size_t count = m->source_count;
    memcpy(sources, m->sources, count * sizeof *sources);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < count; i++)
        sources[i].collect(sources[i].arg, out);
}

uint64_t metrics_refused(struct metrics *m)
{
    pthread_mutex_lock(&m->lock);
    uint64_t refused = m->refused;
    pthread_mutex_unlock(&m->lock);
    return refused;
}
