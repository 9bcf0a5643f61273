#include "aws/secret_cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/base64.h"
#include "crypto/random.h"

enum {
    NS_PER_MS = 1000000,
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 60 * 1000,
    REREAD_MAX_MS = 60 * 1000,
    SIGNER_LOOK_MS = 1000,
    ENTRY_ARENA_MAX = 64 * 1024,
    ENDPOINT_ARENA_MAX = 16 * 1024,
};

const struct fault secret_bad_base64 = {
    "secret_bad_base64", "the secret is not base64, as its vault's base64_decode says", NULL, 503};

/* BEFORE is what was CURRENT before the present value. */
enum slot { SLOT_CURRENT, SLOT_PENDING, SLOT_BEFORE, SLOTS };

struct held {
    struct secret text;
    char version_id[SM_VERSION_ID_MAX + 1]; /* "": nothing is held */
};

struct entry {
    struct list link;
    struct secret_cache *cache;
    struct arena arena; /* of the texts of origin and name */
    struct secret_origin origin;
    struct view name;
    enum secret_stage stage;
    struct held held[SLOTS];
    enum slot preferred;
    struct sm_exchange *flight;
    bool asks_pending; /* the read in flight is of AWSPENDING */
    bool signer_waits;
    bool must_read;    /* a load wants a fresh value */
    bool unusable;
    bool leaving;      /* no configuration wants it; goes at due_ms */
    bool reread;       /* because of a refused login: wanted, or in flight */
    bool changed;      /* by the read in flight or the latest */
    int64_t due_ms;    /* monotonic; INT64_MAX: not by itself */
    int64_t reread_at_ms;
    int64_t reread_pause_ms;
    int64_t reread_ended_ms; /* INT64_MIN: never */
    int64_t read_ms;   /* of the latest good read */
    int64_t changed_ms; /* since when the present AWSCURRENT is held */
    int64_t read_us;
    unsigned failures;
    err last_error;
    char detail[AWS_SESSION_DETAIL_MAX];
    uint64_t born, used; /* the loads that first and last wanted it */
};

struct secret_cache {
    struct secret_cache_options o;
    struct list entries;
    size_t in_flight;
    uint64_t load;
    struct secret_cache_counts counts;
};

static int64_t now_ms(const struct secret_cache *c)
{
    return clock_monotonic_ns(c->o.clock) / NS_PER_MS;
}

const char *secret_stage_name(enum secret_stage stage)
{
    static const char *const names[] = {"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"};
    return names[stage];
}

/* ---- Entries ---- */

static bool same_origin(const struct secret_origin *a, const struct secret_origin *b)
{
    return view_eq(a->prefix, b->prefix) && view_eq(a->region, b->region) &&
           view_eq(a->endpoint_url, b->endpoint_url) && view_eq(a->role_arn, b->role_arn) &&
           view_eq(a->role_session_name, b->role_session_name) &&
           view_eq(a->sts_endpoint_url, b->sts_endpoint_url) && a->base64 == b->base64 &&
           a->ttl_s == b->ttl_s && a->neg_ttl_s == b->neg_ttl_s &&
           a->resurrect_ttl_s == b->resurrect_ttl_s;
}

static struct entry *find(const struct secret_cache *c, const struct secret_id *id)
{
    LIST_EACH(node, &c->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, link);
        if (e->stage == id->stage && view_eq(e->name, id->name) &&
            same_origin(&e->origin, id->origin))
            return e;
    }
    return NULL;
}

static void release_held(struct held *h)
{
    secret_clear(&h->text);
    h->version_id[0] = '\0';
}

/* A read under way is nobody's any more. */
static void abandon_flight(struct entry *e)
{
    if (e->flight == NULL)
        return;
    sm_abandon(e->flight);
    e->flight = NULL;
    e->asks_pending = false;
    e->cache->in_flight--;
}

static void entry_free(struct entry *e)
{
    abandon_flight(e);
    list_unlink(&e->link);
    for (size_t i = 0; i < SLOTS; i++)
        release_held(&e->held[i]);
    arena_clear(&e->arena);
    free(e);
}

static bool copy_texts(struct entry *e, const struct secret_id *id)
{
    struct secret_origin *o = &e->origin;
    struct view *const texts[] = {&o->prefix,   &o->region,            &o->endpoint_url,
                                  &o->role_arn, &o->role_session_name, &o->sts_endpoint_url,
                                  &e->name};

    *o = *id->origin;
    e->name = id->name;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (texts[i]->data == NULL)
            continue;
        *texts[i] = arena_copy(&e->arena, *texts[i]);
        if (texts[i]->data == NULL)
            return false;
    }
    return true;
}

static struct entry *add(struct secret_cache *c, const struct secret_id *id)
{
    struct entry *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->cache = c;
    e->stage = id->stage;
    e->due_ms = INT64_MIN;
    e->reread_ended_ms = INT64_MIN;
    e->reread_pause_ms = SECRET_REREAD_MIN_MS;
    e->born = c->load;
    list_init(&e->link);
    arena_init(&e->arena, 512, ENTRY_ARENA_MAX);
    list_push_back(&c->entries, &e->link);
    if (copy_texts(e, id))
        return e;
    entry_free(e);
    return NULL;
}

static bool holds(const struct entry *e, enum slot slot)
{
    return e->held[slot].version_id[0] != '\0';
}

/* Has a value that is within its time. */
static bool serves(const struct entry *e)
{
    const struct secret_origin *o = &e->origin;

    return holds(e, SLOT_CURRENT) &&
           (o->ttl_s == 0 ||
            now_ms(e->cache) - e->read_ms < (o->ttl_s + o->resurrect_ttl_s) * 1000);
}

/* ---- When ---- */

static int64_t negative_ms(const struct secret_origin *o)
{
    int64_t s = o->neg_ttl_s > 0 ? o->neg_ttl_s : o->ttl_s > 0 ? o->ttl_s : SECRET_LASTING_S;
    return s * 1000;
}

/* By chance up to a tenth sooner, so that many nodes do not ask in step. */
static int64_t after_success(const struct entry *e)
{
    int64_t ttl_ms = e->origin.ttl_s * 1000;

    if (ttl_ms == 0)
        return INT64_MAX;
    return now_ms(e->cache) + ttl_ms - (int64_t)random_below((uint64_t)ttl_ms / 10 + 1);
}

/* Full jitter: anywhere up to a bound that doubles. */
static int64_t backoff_ms(unsigned failures)
{
    int64_t bound = failures < 7 ? (int64_t)BACKOFF_FIRST_MS << (failures - 1) : BACKOFF_MAX_MS;

    if (bound > BACKOFF_MAX_MS)
        bound = BACKOFF_MAX_MS;
    return 1 + (int64_t)random_below((uint64_t)bound);
}

static bool is_passing(err e)
{
    return sm_is_transient(e) && !is_fault(e, &secret_bad_base64);
}

static int64_t after_failure(const struct entry *e)
{
    if (e->origin.ttl_s == 0 && !e->unusable && serves(e))
        return INT64_MAX;
    return now_ms(e->cache) + (is_passing(e->last_error) ? backoff_ms(e->failures)
                                                          : negative_ms(&e->origin));
}

/* ---- The end of a read ---- */

static err keep(struct held *h, const struct entry *e, const struct sm_answer *a)
{
    struct view text = a->has_string ? a->string : a->binary;
    uint8_t *bytes = NULL;
    size_t room = base64_room(text.len), len = 0;

    if (e->origin.base64) {
        bytes = malloc(room);
        if (bytes == NULL)
            return fail(&fault_out_of_memory);
        bool good = base64_decode(text, bytes, room, &len);
        text = good ? view_of(bytes, len) : (struct view){NULL, 0};
    }
    err result = text.data == NULL          ? fail(&secret_bad_base64)
                 : secret_init(&h->text, text) ? OK
                                               : fail(&fault_out_of_memory);
    if (bytes != NULL)
        secret_wipe(bytes, room);
    free(bytes);
    if (!failed(result))
        snprintf(h->version_id, sizeof h->version_id, "%.*s", VIEW_ARG(a->version.id));
    return result;
}

static void log_new(const struct entry *e)
{
    log_info("secret_read", "a secret was read, and is new",
             LOG_VIEW("vault", e->origin.prefix), LOG_VIEW("secret", e->name),
             LOG_STR("stage", secret_stage_name(e->stage)),
             LOG_STR("version", e->held[SLOT_CURRENT].version_id));
}

/* A version that is held already stays where it is, and so does what logins prefer. */
static err take_current(struct entry *e, const struct sm_answer *a)
{
    struct held fresh = {.version_id = ""};

    e->changed = !view_is(a->version.id, e->held[SLOT_CURRENT].version_id);
    if (!e->changed)
        return OK;
    TRY(keep(&fresh, e, a));
    /* What let logins in until now is what may still do so. */
    enum slot last = view_is(a->version.id, e->held[e->preferred].version_id) ? SLOT_CURRENT
                                                                              : e->preferred;
    struct held before = e->held[last];
    e->held[last] = (struct held){.version_id = ""};
    for (size_t i = 0; i < SLOTS; i++)
        release_held(&e->held[i]);
    e->held[SLOT_BEFORE] = before;
    e->held[SLOT_CURRENT] = fresh;
    e->preferred = SLOT_CURRENT;
    e->changed_ms = now_ms(e->cache);
    e->unusable = false;
    log_new(e);
    return OK;
}

static void take_pending(struct entry *e, const struct sm_answer *a)
{
    struct held *pending = &e->held[SLOT_PENDING];

    if (a != NULL && view_is(a->version.id, pending->version_id))
        return;
    if (e->preferred == SLOT_PENDING && a == NULL)
        return; /* it lets logins in, whatever its label is now */
    release_held(pending);
    if (a != NULL && !failed(keep(pending, e, a))) {
        e->changed = true;
        if (e->preferred == SLOT_PENDING)
            e->preferred = SLOT_CURRENT;
    }
}

static void note_failure(struct entry *e, err error, const char *detail)
{
    if (e->failures < 1000)
        e->failures++;
    e->last_error = error;
    e->cache->counts.failures++;
    snprintf(e->detail, sizeof e->detail, "%s", detail != NULL ? detail : "");
    e->due_ms = after_failure(e);
    log_warn("secret_failed",
             serves(e) ? "a secret could not be read; the value held goes on serving"
                       : "a secret could not be read",
             LOG_VIEW("vault", e->origin.prefix), LOG_VIEW("secret", e->name),
             LOG_STR("stage", secret_stage_name(e->stage)), LOG_STR("error", error.fault->name),
             LOG_STR("reason", error.fault->text), LOG_STR("detail", e->detail),
             LOG_INT("failures", e->failures));
}

static void note_success(struct entry *e)
{
    e->failures = 0;
    e->last_error = OK;
    e->detail[0] = '\0';
    e->cache->counts.reads++;
    e->read_ms = now_ms(e->cache);
    e->read_us = clock_wall_us(e->cache->o.clock);
    e->due_ms = e->unusable ? now_ms(e->cache) + negative_ms(&e->origin) : after_success(e);
}

/* Reads for refused logins that bring nothing new become rarer. */
static void settle(struct entry *e)
{
    if (e->leaving)
        e->due_ms = now_ms(e->cache) + SECRET_LEAVE_MS;
    e->must_read = false;
    e->asks_pending = false;
    if (e->reread) {
        e->reread = false;
        e->reread_ended_ms = now_ms(e->cache);
        e->reread_pause_ms = e->changed ? SECRET_REREAD_MIN_MS : e->reread_pause_ms * 2;
        if (e->reread_pause_ms > REREAD_MAX_MS)
            e->reread_pause_ms = REREAD_MAX_MS;
    }
    if (e->cache->o.wake != NULL)
        e->cache->o.wake(e->cache->o.wake_arg);
}

static void start(struct entry *e);

static void on_read(void *arg, err error, const char *detail, const struct sm_answer *answer)
{
    struct entry *e = arg;

    e->cache->in_flight--;
    if (e->asks_pending) {
        take_pending(e, answer);
        settle(e);
        return;
    }
    e->changed = false;
    if (!failed(error))
        error = take_current(e, answer);
    if (failed(error)) {
        note_failure(e, error, detail);
        settle(e);
        return;
    }
    note_success(e);
    if (e->reread && !e->changed && e->stage == SECRET_CURRENT) {
        e->asks_pending = true;
        start(e);
    } else {
        settle(e);
    }
}

/* ---- A read ---- */

static err send(struct entry *e, const struct secret_signer *signer)
{
    struct secret_cache *c = e->cache;
    struct sm_place place = signer->place;
    struct sm_endpoint endpoint;
    struct arena arena;

    if (e->origin.region.len > 0)
        place.region = e->origin.region;
    if (e->origin.endpoint_url.len > 0)
        place.custom_url = e->origin.endpoint_url;
    arena_init(&arena, 1024, ENDPOINT_ARENA_MAX);
    err result = sm_endpoint_make(&place, &arena, &endpoint);
    if (!failed(result)) {
        const struct sm_options options = {
            .fetcher = c->o.fetcher,
            .endpoint = &endpoint,
            .credentials = signer->credentials,
            .ca_file = signer->ca_file,
            .now_us = clock_wall_us(c->o.clock),
        };
        const struct sm_call call = {
            .action = SM_GET_SECRET_VALUE,
            .secret_id = e->name,
            .version_stage =
                view_str(secret_stage_name(e->asks_pending ? SECRET_PENDING : e->stage)),
        };
        result = sm_start(&options, &call, on_read, e, &e->flight);
    }
    arena_clear(&arena);
    return result;
}

/* What could not even be sent ends as a read that failed. */
static void start(struct entry *e)
{
    struct secret_cache *c = e->cache;
    struct secret_signer signer = {0};
    err why = OK;
    const char *detail = "";

    e->signer_waits = false;
    if (!e->asks_pending)
        e->due_ms = INT64_MAX;
    switch (c->o.signer(c->o.signer_arg, &e->origin, &signer, &why, &detail)) {
    case AWS_WAIT:
        if (e->asks_pending) {
            settle(e);
        } else {
            e->signer_waits = true;
            e->due_ms = INT64_MIN;
        }
        return;
    case AWS_READY:
        why = send(e, &signer);
        detail = "";
        break;
    case AWS_FAILED:
        break;
    }
    if (!failed(why)) {
        c->in_flight++;
        return;
    }
    if (!e->asks_pending)
        note_failure(e, why, detail);
    settle(e);
}

static bool is_due(const struct entry *e, int64_t now)
{
    return e->flight == NULL && (e->due_ms <= now || (e->reread && e->reread_at_ms <= now));
}

int64_t secret_cache_tick(struct secret_cache *c)
{
    int64_t now = now_ms(c), next = INT64_MAX;

    LIST_EACH(node, &c->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, link);
        if (!is_due(e, now))
            continue;
        if (e->leaving)
            entry_free(e);
        else if (c->in_flight < SECRET_READS_AT_ONCE)
            start(e);
    }
    LIST_EACH(node, &c->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, link);
        int64_t at = e->reread && e->reread_at_ms < e->due_ms ? e->reread_at_ms : e->due_ms;
        if (e->signer_waits || (at <= now && c->in_flight == SECRET_READS_AT_ONCE))
            at = now + SIGNER_LOOK_MS; /* wake comes sooner */
        if (e->flight == NULL && at < next)
            next = at;
    }
    return next;
}

/* ---- What is asked of it ---- */

static struct secret_value value_of(const struct entry *e, enum slot slot)
{
    return (struct secret_value){secret_view(&e->held[slot].text), e->held[slot].version_id,
                                 slot == SLOT_CURRENT};
}

/* A passing failure is told when it has not passed after some tries. */
static bool has_failed(const struct entry *e)
{
    return failed(e->last_error) &&
           (e->failures >= SECRET_TRIES || !is_passing(e->last_error));
}

enum aws_ready secret_cache_get(struct secret_cache *c, const struct secret_id *id,
                                struct secret_value *out, err *why, const char **detail)
{
    struct entry *e = find(c, id);

    *why = OK;
    *detail = "";
    if (e == NULL)
        e = add(c, id);
    if (e == NULL) {
        *why = fail(&fault_out_of_memory);
        return AWS_FAILED;
    }
    e->used = c->load;
    if (e->leaving) {
        e->leaving = false;
        e->must_read = true;
        e->due_ms = INT64_MIN;
    }
    if (e->must_read)
        return AWS_WAIT;
    if (serves(e)) {
        *out = value_of(e, e->preferred);
        return AWS_READY;
    }
    if (!has_failed(e))
        return AWS_WAIT;
    *why = e->last_error;
    *detail = e->detail;
    return AWS_FAILED;
}

void secret_cache_note_unusable(struct secret_cache *c, const struct secret_id *id)
{
    struct entry *e = find(c, id);
    if (e == NULL || e->unusable)
        return;
    e->unusable = true;
    int64_t at = now_ms(c) + negative_ms(&e->origin);
    if (at < e->due_ms)
        e->due_ms = at;
}

enum aws_ready secret_cache_reread(struct secret_cache *c, const struct secret_id *id,
                                   int64_t since_ms)
{
    struct entry *e = find(c, id);

    if (e == NULL || e->leaving || e->reread_ended_ms >= since_ms)
        return AWS_READY;
    if (e->reread)
        return AWS_WAIT;
    int64_t now = now_ms(c);
    int64_t at = e->reread_ended_ms == INT64_MIN ? now : e->reread_ended_ms + e->reread_pause_ms;
    if (at - now > SECRET_REREAD_MIN_MS)
        return AWS_READY; /* enough has been asked in vain of late */
    e->reread = true;
    e->reread_at_ms = at;
    return AWS_WAIT;
}

size_t secret_cache_versions(const struct secret_cache *c, const struct secret_id *id,
                             struct secret_value out[SECRET_VERSIONS_MAX])
{
    const struct entry *e = find(c, id);
    size_t n = 0;

    if (e == NULL || !serves(e))
        return 0;
    out[n++] = value_of(e, e->preferred);
    for (int slot = 0; slot < SLOTS; slot++) {
        if (slot != (int)e->preferred && holds(e, (enum slot)slot))
            out[n++] = value_of(e, (enum slot)slot);
    }
    return n;
}

void secret_cache_prefer(struct secret_cache *c, const struct secret_id *id,
                         const char *version_id, int64_t given_ms)
{
    struct entry *e = find(c, id);

    for (int slot = 0; e != NULL && slot < SLOTS; slot++) {
        if (!holds(e, (enum slot)slot) || strcmp(e->held[slot].version_id, version_id) != 0)
            continue;
        if (slot != SLOT_CURRENT && given_ms <= e->changed_ms)
            return;
        e->preferred = (enum slot)slot;
        e->reread_pause_ms = SECRET_REREAD_MIN_MS;
        return;
    }
}

/* ---- Loads ---- */

void secret_cache_begin_load(struct secret_cache *c)
{
    c->load++;
    LIST_EACH(node, &c->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, link);
        bool anew = e->unusable || e->origin.ttl_s == 0;
        if (e->leaving || (serves(e) && !anew))
            continue;
        abandon_flight(e); /* its answer may be older than the load */
        e->must_read = true;
        e->failures = 0;
        e->due_ms = INT64_MIN;
    }
}

static void leave(struct entry *e)
{
    e->leaving = true;
    e->reread = false;
    e->signer_waits = false;
    e->due_ms = now_ms(e->cache) + SECRET_LEAVE_MS;
}

void secret_cache_end_load(struct secret_cache *c, bool keep_new)
{
    LIST_EACH(node, &c->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, link);
        e->must_read = false;
        if (!keep_new && e->born == c->load)
            entry_free(e);
        else if (keep_new && e->used < c->load && !e->leaving)
            leave(e);
    }
}

/* ---- The cache ---- */

err secret_cache_new(const struct secret_cache_options *options, struct secret_cache **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return fail(&fault_out_of_memory);
    (*out)->o = *options;
    list_init(&(*out)->entries);
    return OK;
}

void secret_cache_free(struct secret_cache *c)
{
    if (c == NULL)
        return;
    while (!list_is_empty(&c->entries))
        entry_free(LIST_ENTRY(c->entries.next, struct entry, link));
    free(c);
}

static int64_t wall_of(const struct secret_cache *c, int64_t ms)
{
    if (ms == INT64_MAX)
        return 0;
    int64_t left = ms > now_ms(c) ? ms - now_ms(c) : 0;
    return clock_wall_us(c->o.clock) + left * 1000;
}

bool secret_cache_next(const struct secret_cache *c, size_t *at, struct secret_status *out)
{
    size_t i = 0;

    LIST_EACH(node, &c->entries)
    {
        const struct entry *e = LIST_ENTRY(node, struct entry, link);
        if (i++ < *at || e->leaving)
            continue;
        *at = i;
        *out = (struct secret_status){
            .prefix = e->origin.prefix,
            .name = e->name,
            .stage = secret_stage_name(e->stage),
            .version_id = e->held[e->preferred].version_id,
            .read_us = e->read_us,
            .next_us = wall_of(c, e->due_ms),
            .serves = serves(e),
            .failures = e->failures,
            .error = e->last_error,
            .detail = e->detail,
        };
        return true;
    }
    return false;
}

struct secret_cache_counts secret_cache_counts(const struct secret_cache *c)
{
    return c->counts;
}
