#include "identity/key_refresher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "crypto/random.h"
#include "identity/identity_state.h"

const struct fault key_fetch_status = {
    "key_fetch_status", "the issuer answered with another status than 200", NULL, 0};
const struct fault key_url_refused = {
    "key_url_refused", "keys are fetched over https only (http on loopback)", NULL, 0};
const struct fault key_file_unreadable = {
    "key_file_unreadable", "the jwks_file cannot be read", NULL, 0};

struct key_refresher {
    struct key_refresher_options options;
    struct identity *id;
    struct list jobs;
};

/* One exchange with an issuer: first the discovery document where there is no jwks_uri, then the
 * key set. */
struct key_job {
    struct list link;
    struct key_refresher *refresher; /* NULL: it was freed meanwhile */
    struct issuer_keys *keys;
    bool discovering;
};

err key_refresher_new(const struct key_refresher_options *options, struct key_refresher **out)
{
    struct key_refresher *r = calloc(1, sizeof *r);

    *out = r;
    if (r == NULL)
        return fail(&fault_out_of_memory);
    r->options = *options;
    list_init(&r->jobs);
    return OK;
}

void key_refresher_free(struct key_refresher *r)
{
    if (r == NULL)
        return;
    LIST_EACH(node, &r->jobs)
    {
        struct key_job *job = LIST_ENTRY(node, struct key_job, link);
        list_unlink(node);
        job->refresher = NULL;
    }
    if (r->id != NULL)
        identity_set_wake(r->id, NULL, NULL);
    identity_release(r->id);
    free(r);
}

void key_refresher_set_identity(struct key_refresher *r, struct identity *id)
{
    struct identity *former = r->id;

    r->id = id != NULL ? identity_acquire(id) : NULL;
    if (id != NULL)
        identity_set_wake(id, r->options.wake, r->options.wake_arg);
    /* The former keeps its wake: its last calls may still find an unknown key in a shared set. */
    identity_release(former);
}

static void log_outcome(const struct issuer_keys *keys, err e, const char *detail, int status)
{
    if (failed(e))
        log_warn("keys_fetch_failed", "the issuer's keys could not be fetched",
                 LOG_VIEW("issuer", keys->name), LOG_STR("error", e.fault->name),
                 LOG_STR("detail", detail != NULL ? detail : e.fault->text),
                 LOG_INT("status", status));
    else
        log_debug("keys_fetched", "the issuer's keys were fetched",
                  LOG_VIEW("issuer", keys->name));
}

static err publish_text(struct issuer_keys *keys, struct view text)
{
    struct jwks *set = NULL;

    TRY(jwks_parse(text, &set));
    size_t usable = jwks_count(set), skipped = jwks_skipped(set);
    if (issuer_keys_publish(keys, set))
        log_info("keys_changed", "the issuer's keys were loaded", LOG_VIEW("issuer", keys->name),
                 LOG_INT("keys", (int64_t)usable), LOG_INT("skipped", (int64_t)skipped));
    return OK;
}

/* The end of an attempt; the next tick draws the conclusions for the time table. */
static void settle(struct issuer_keys *keys, err e, int64_t max_age_s)
{
    keys->schedule.in_flight = false;
    keys->schedule.settled = true;
    keys->schedule.outcome = e;
    keys->schedule.max_age_s = max_age_s;
    if (failed(e)) {
        /* Perhaps the issuer moved its keys: ask for the place again. */
        keys->schedule.jwks_uri = (struct view){NULL, 0};
        arena_reset(&keys->schedule.uri_arena);
    }
}

static void job_free(struct key_job *job)
{
    list_unlink(&job->link);
    issuer_keys_release(job->keys);
    free(job);
}

static err take_discovery(struct issuer_keys *keys, struct view body)
{
    struct arena arena;
    struct view uri;

    arena_init(&arena, 4096, 1024 * 1024);
    err e = discovery_parse(&arena, body, keys->issuer, &uri);
    if (!failed(e)) {
        keys->schedule.jwks_uri = arena_copy(&keys->schedule.uri_arena, uri);
        if (keys->schedule.jwks_uri.data == NULL)
            e = fail(&fault_out_of_memory);
    }
    arena_clear(&arena);
    return e;
}

static err job_start(struct key_job *job);

static void on_fetched(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct key_job *job = arg;
    struct key_refresher *r = job->refresher;
    struct issuer_keys *keys = job->keys;
    const int status = response != NULL ? response->status : 0;

    if (r == NULL) {
        keys->schedule.in_flight = false;
        job_free(job);
        return;
    }
    if (!failed(e) && status != 200)
        e = fail(&key_fetch_status);
    if (!failed(e) && job->discovering) {
        e = take_discovery(keys, response->body);
        if (!failed(e))
            e = job_start(job);
        if (!failed(e))
            return;
    } else if (!failed(e)) {
        e = publish_text(keys, response->body);
    }
    log_outcome(keys, e, detail, status);
    settle(keys, e, failed(e) ? -1 : response->max_age_s);
    job_free(job);
    if (r->options.wake != NULL)
        r->options.wake(r->options.wake_arg);
}

/* Asks for what comes next: the key set when its place is known, else the discovery document. */
static err job_start(struct key_job *job)
{
    static const struct fetch_header accept = {VIEW("Accept"), VIEW("application/json")};
    struct issuer_keys *keys = job->keys;
    struct fetcher *f = job->refresher->options.fetcher;
    struct arena arena;
    struct view url = keys->jwks_uri.data != NULL ? keys->jwks_uri : keys->schedule.jwks_uri;

    arena_init(&arena, 1024, 64 * 1024);
    job->discovering = url.data == NULL;
    if (job->discovering)
        url = discovery_url(&arena, keys->issuer);
    err e = url.data == NULL || !key_url_allowed(url) ? fail(&key_url_refused) : OK;
    if (!failed(e)) {
        const struct fetch_request request = {
            .method = VIEW("GET"),
            .url = url,
            .headers = &accept,
            .header_count = 1,
            .ca_file = keys->ca_file,
            .timeout_ms = KEY_FETCH_TIMEOUT_MS,
            .max_bytes = job->discovering ? DISCOVERY_MAX_BYTES : JWKS_MAX_BYTES,
        };
        f->start(f, &request, on_fetched, job);
    }
    arena_clear(&arena);
    return e;
}

static void begin_fetch(struct key_refresher *r, struct issuer_keys *keys)
{
    struct key_job *job = calloc(1, sizeof *job);
    err e = fail(&fault_out_of_memory);

    keys->schedule.in_flight = true;
    if (job != NULL) {
        job->refresher = r;
        job->keys = issuer_keys_acquire(keys);
        list_init(&job->link);
        list_push_back(&r->jobs, &job->link);
        e = job_start(job);
        if (failed(e))
            job_free(job);
    }
    if (failed(e)) {
        log_outcome(keys, e, NULL, 0);
        settle(keys, e, -1);
    }
}

static err read_all(int fd, struct buf *out)
{
    for (;;) {
        if (!buf_reserve(out, 4096))
            return fail(&jwks_too_large);
        ssize_t n = read(fd, out->data + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(&key_file_unreadable);
        if (n == 0)
            return OK;
        out->len += (size_t)n;
    }
}

static bool file_changed(const struct key_schedule *s, const struct stat *st)
{
    return !s->file_seen || st->st_size != s->file_size || st->st_ino != s->file_inode ||
           st->st_mtim.tv_sec != s->file_time.tv_sec || st->st_mtim.tv_nsec != s->file_time.tv_nsec;
}

/* False when there is nothing new, neither keys nor an error that is not known yet. */
static bool look_at_file(struct issuer_keys *keys, err *outcome)
{
    struct key_schedule *s = &keys->schedule;
    struct stat st;
    struct buf text;

    int fd = open(keys->jwks_file.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        bool known = is_fault(s->outcome, &key_file_unreadable);
        if (fd >= 0)
            close(fd);
        s->file_seen = false;
        *outcome = fail(&key_file_unreadable);
        return !known;
    }
    if (!file_changed(s, &st)) {
        close(fd);
        return false;
    }
    s->file_seen = true;
    s->file_time = st.st_mtim;
    s->file_size = st.st_size;
    s->file_inode = st.st_ino;
    buf_init(&text, JWKS_MAX_BYTES + 2 * 4096);
    *outcome = read_all(fd, &text);
    close(fd);
    if (!failed(*outcome))
        *outcome = publish_text(keys, buf_view(&text));
    buf_clear(&text);
    return true;
}

static int64_t tick_file(struct issuer_keys *keys, int64_t now_ms)
{
    struct key_schedule *s = &keys->schedule;
    err outcome = OK;

    atomic_store(&keys->refetch_wanted, false);
    if (s->due_ms > now_ms)
        return s->due_ms;
    s->due_ms = now_ms + KEY_FILE_LOOK_MS;
    if (look_at_file(keys, &outcome)) {
        s->outcome = outcome;
        issuer_keys_note(keys, outcome, now_ms);
        log_outcome(keys, outcome, NULL, 0);
    }
    return s->due_ms;
}

static int64_t after_success_ms(const struct issuer *config, int64_t max_age_s)
{
    int64_t most_s = config->jwks_refresh_s;
    if (most_s < KEY_REFRESH_MIN_S)
        most_s = KEY_REFRESH_MIN_S;
    int64_t s = max_age_s < 0 || max_age_s > most_s ? most_s : max_age_s;
    if (s < KEY_REFRESH_MIN_S)
        s = KEY_REFRESH_MIN_S;
    /* By chance a little sooner, so that many nodes do not ask in step. */
    return s * 1000 - (int64_t)random_below((uint64_t)(s * 100) + 1);
}

static int64_t after_failure_ms(unsigned failures)
{
    int64_t ms = KEY_BACKOFF_MAX_MS;

    if (failures < 7)
        ms = (int64_t)KEY_BACKOFF_FIRST_MS << (failures - 1);
    if (ms > KEY_BACKOFF_MAX_MS)
        ms = KEY_BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)random_below((uint64_t)(ms / 2) + 1);
}

static void conclude(const struct issuer *config, struct issuer_keys *keys, int64_t now_ms)
{
    struct key_schedule *s = &keys->schedule;

    s->settled = false;
    if (failed(s->outcome)) {
        if (s->failures < 1000)
            s->failures++;
        s->due_ms = now_ms + after_failure_ms(s->failures);
    } else {
        s->failures = 0;
        s->due_ms = now_ms + after_success_ms(config, s->max_age_s);
    }
    issuer_keys_note(keys, s->outcome, now_ms);
}

static int64_t tick_fetched(struct key_refresher *r, const struct issuer_rule *rule, int64_t now_ms)
{
    struct key_schedule *s = &rule->keys->schedule;

    if (s->settled)
        conclude(&rule->config, rule->keys, now_ms);
    if (s->in_flight)
        return INT64_MAX;
    if (atomic_load(&rule->keys->refetch_wanted) && s->started) {
        int64_t soonest = s->started_ms + KEY_COOLDOWN_MS;
        if (soonest < s->due_ms)
            s->due_ms = soonest;
    }
    if (s->due_ms <= now_ms) {
        /* Asked for from here on means: not answered by this fetch. */
        atomic_store(&rule->keys->refetch_wanted, false);
        s->started = true;
        s->started_ms = now_ms;
        begin_fetch(r, rule->keys);
        if (s->settled)
            conclude(&rule->config, rule->keys, now_ms);
        else
            return INT64_MAX;
    }
    return s->due_ms;
}

int64_t key_refresher_tick(struct key_refresher *r, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; r->id != NULL && i < r->id->count; i++) {
        const struct issuer_rule *rule = &r->id->rules[i];
        int64_t due = rule->keys->jwks_file.data != NULL ? tick_file(rule->keys, now_ms)
                                                         : tick_fetched(r, rule, now_ms);
        if (due < next)
            next = due;
    }
    return next;
}
