/* Inside the cache of assumed roles' sessions (aws/sessions.h): store, schedule, flights. */
#ifndef SALLYPORT_AWS_SESSIONS_INTERNAL_H
#define SALLYPORT_AWS_SESSIONS_INTERNAL_H

#include "aws/sessions.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/secret.h"
#include "crypto/hash.h"

enum {
    SESSION_NS_PER_MS = 1000000,
    SESSION_US_PER_MS = 1000,
    SESSION_REFRESH_AHEAD_MAX_S = 20 * 60,
    SESSION_REFRESH_MIN_S = 5,
    SESSION_BACKOFF_FIRST_MS = 1000,
    SESSION_BACKOFF_MAX_MS = 60 * 1000,
    SESSION_PASSING_TRIES = 3,
    SESSION_LOOK_MS = 2000,             /* at the base, and at a wall clock that was set */
    SESSION_REMEMBER_MS = 60 * 1000,    /* a failure, after the time of its next attempt */
    SESSION_UNCOLLECTED_MS = 30 * 1000, /* who waited and never asked again has left */
};

/* What sessions have in common that differ in nothing but the caller. */
struct session_family {
    uint8_t key[AWS_SESSION_KEY_BYTES];
    struct arena arena; /* of the texts */
    struct view roles[AWS_SESSION_ROLES_MAX];
    size_t role_count;
    struct view external_id;
    int64_t duration_s;
    struct view policy;
    struct view *policy_arns;
    size_t policy_arn_count;
    struct sts_tag *tags; /* without values */
    size_t tag_count;
    struct sts_endpoint endpoint;
    struct view ca_file;
    bool web_identity;
    bool per_caller;
    size_t max;
    size_t count;    /* members */
    struct list lru; /* members that may leave, the one to leave first in front */
};

/*
 * IDLE:    nothing under way: new, ready, failed, or (retrying) between two silent attempts.  On
 *          the heap but for a new one.
 * QUEUED:  in line for the pace.        BLOCKED: in line, but its signer is not there yet.
 * FLYING:  asked STS.
 */
enum session_state { SESSION_IDLE, SESSION_QUEUED, SESSION_BLOCKED, SESSION_FLYING };

struct aws_session {
    uint8_t key[AWS_SESSION_KEY_BYTES];
    struct session_family *family;
    struct aws_session *parent; /* whose credentials sign; NULL: the base's */
    enum session_state state;
    struct list turn;  /* in sessions->queue or ->blocked */
    struct list place; /* in family->lru or sessions->uncollected, or in none */
    bool in_lru;
    bool pinned;
    bool used;      /* asked for since the latest refresh */
    bool wanted;    /* somebody was told to wait and has not been answered since */
    bool retrying;  /* the latest attempt failed, but who waits goes on waiting */
    bool of_signer; /* the latest failure was its signer's */
    unsigned tries; /* silent ones in a row */
    unsigned failures;
    unsigned holds;
    unsigned children; /* sessions that this one signs for */
    size_t heap_at;    /* 1 and up; 0: not on the heap */
    int64_t due_ms;    /* of the heap */
    int64_t refresh_us; /* wall: from then on a refresh is due */
    int64_t retry_ms;   /* after a failure: no attempt before */
    int64_t settled_ms;
    err error; /* of the latest attempt */
    char *detail;
    struct aws_credentials credentials;
    struct secret web_token; /* while it may have to be sent */
    struct view name;
    struct view source_identity;
    struct view tag_values[]; /* the family's tag_count; then the texts' bytes */
};

struct session_flight {
    struct list link;
    struct aws_sessions *sessions; /* NULL: they are gone */
    struct aws_session *session;
};

struct session_heap {
    struct aws_session **items;
    size_t count, room;
};

/* A rate with a burst (GCRA: "next" is when the bucket would be full again). */
struct session_pace {
    unsigned full, rate; /* a second */
    unsigned burst;
    int64_t next_ns;
    int64_t changed_ms;
};

struct aws_sessions {
    struct aws_sessions_options o;
    struct map sessions; /* by key */
    struct map families;
    struct sha256 hash;
    struct session_heap heap;
    struct session_pace pace;
    struct list queue;
    struct list blocked;
    struct list uncollected; /* settled, wanted, and not asked for since; oldest first */
    struct list flights;
    size_t in_flight;
    int64_t offset_us; /* wall minus monotonic time, as the heap's times were made */
    bool starved;      /* somebody was turned away for want of a place */
    bool news;         /* to be told at the next tick */
    char detail[AWS_SESSION_DETAIL_MAX + 1];
    uint64_t assumed, failures, throttled, evictions;
};

static inline int64_t session_now_us(const struct aws_sessions *s)
{
    return clock_wall_us(s->o.clock);
}

static inline int64_t session_now_ms(const struct aws_sessions *s)
{
    return clock_monotonic_ns(s->o.clock) / SESSION_NS_PER_MS;
}

/* Whether it has credentials that are valid now. */
bool session_serves(const struct aws_sessions *s, const struct aws_session *a);
/* The first of its chain: the one that takes a web identity token. */
struct aws_session *session_root(struct aws_session *a);

/* The caller's token goes, unless an attempt is coming that has to send it. */
void session_drop_token(struct aws_session *a);

/* ---- The store (session_store.c) ---- */

err session_check(const struct aws_session_request *r) MUST_USE;
struct aws_session *session_find(struct aws_sessions *s, const struct aws_session_request *r);
/* Finds it or makes room and it; *out is NULL without an error when no place is free. */
err session_make(struct aws_sessions *s, const struct aws_session_request *r,
                 struct aws_session **out) MUST_USE;
/* Off every list, wiped, freed; not while it flies, is held or has children. */
void session_remove(struct aws_sessions *s, struct aws_session *a);
bool session_is_free(const struct aws_session *a);
/* To the list that fits its state; to be called after whatever may change that. */
void session_place(struct aws_sessions *s, struct aws_session *a);
/* It was used just now: the last to leave. */
void session_touch(struct aws_sessions *s, struct aws_session *a);
void session_store_free(struct aws_sessions *s);

/* ---- The schedule (session_schedule.c) ---- */

/* Room for one more than count; false when there is no memory. */
bool session_heap_reserve(struct session_heap *h, size_t count) MUST_USE;
void session_heap_set(struct session_heap *h, struct aws_session *a, int64_t due_ms);
void session_heap_drop(struct session_heap *h, struct aws_session *a);
struct aws_session *session_heap_first(const struct session_heap *h);

/* When the next request may go; now_ns or less: at once. */
int64_t session_pace_at_ns(const struct session_pace *p);
void session_pace_take(struct session_pace *p, int64_t now_ns);
void session_pace_throttled(struct session_pace *p, int64_t now_ns);
void session_pace_good(struct session_pace *p, int64_t now_ms);

int64_t session_backoff_ms(unsigned failures);
/* When to refresh credentials that end at expiry_us. */
int64_t session_refresh_at_us(int64_t now_us, int64_t expiry_us);

/* ---- Flights (session_flight.c) ---- */

enum aws_ready session_signer(struct aws_sessions *s, struct aws_session *a,
                              const struct aws_credentials **signer, err *why,
                              const char **detail);
/* Whether it failed and must not be tried yet.  What failed for its signer's sake may be as soon as
 * that does not rest either; this looks down the whole chain. */
bool session_rests(struct aws_sessions *s, struct aws_session *a);
/* Starts what the pace, the signers and the number in flight allow. */
void session_run_queue(struct aws_sessions *s);
void session_enqueue(struct aws_sessions *s, struct aws_session *a);
/* All that wait for a signer stand in line again. */
void session_unblock(struct aws_sessions *s);
/* Calls wake. */
void session_tell(struct aws_sessions *s);
/* When an idle one is due next, onto the heap. */
void session_schedule(struct aws_sessions *s, struct aws_session *a);

#endif
