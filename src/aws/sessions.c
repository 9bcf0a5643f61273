#include "aws/sessions.h"

#include <stdio.h>
#include <stdlib.h>

#include "aws/chain.h"
#include "aws/sessions_internal.h"
#include "base/log.h"

enum { CLOCK_SET_US = 1000000 };

const struct fault aws_session_bad_request = {
    "aws_session_bad_request", "a session needs one to eight roles, a name and an endpoint", NULL,
    503};

bool session_serves(const struct aws_sessions *s, const struct aws_session *a)
{
    return a->credentials.access_key_id[0] != '\0' &&
           a->credentials.expiry_us > session_now_us(s);
}

/* ---- When ---- */

/* The monotonic time at which the wall clock will show it. */
static int64_t when_ms(const struct aws_sessions *s, int64_t wall_us)
{
    return session_now_ms(s) + (wall_us - session_now_us(s) + SESSION_US_PER_MS - 1) /
                                   SESSION_US_PER_MS;
}

/* Whether it is kept fresh without being asked for. */
static bool is_kept_fresh(const struct aws_sessions *s, const struct aws_session *a)
{
    return a->pinned || (a->used && !a->family->web_identity && session_serves(s, a));
}

void session_schedule(struct aws_sessions *s, struct aws_session *a)
{
    int64_t due_ms;

    if (!failed(a->error))
        due_ms = when_ms(s, a->refresh_us);
    else if (a->retrying || is_kept_fresh(s, a))
        due_ms = a->retry_ms;
    else
        due_ms = a->retry_ms + SESSION_REMEMBER_MS;
    session_heap_set(&s->heap, a, due_ms);
}

static void on_due(struct aws_sessions *s, struct aws_session *a)
{
    if (a->retrying || is_kept_fresh(s, a)) {
        session_enqueue(s, a);
    } else if (session_serves(s, a)) {
        session_heap_set(&s->heap, a, when_ms(s, a->credentials.expiry_us));
    } else if (session_is_free(a)) {
        session_remove(s, a);
    } else {
        session_heap_set(&s->heap, a, session_now_ms(s) + SESSION_REMEMBER_MS);
    }
}

/* The wall clock was set: what is due by it is due at another time. */
static void follow_clock(struct aws_sessions *s)
{
    int64_t offset_us = session_now_us(s) - clock_monotonic_ns(s->o.clock) / 1000;
    int64_t moved_us = offset_us - s->offset_us;
    size_t at = 0;

    if (moved_us < CLOCK_SET_US && moved_us > -CLOCK_SET_US)
        return;
    s->offset_us = offset_us;
    for (struct aws_session *a; (a = map_next(&s->sessions, &at)) != NULL;) {
        if (a->heap_at > 0 && !failed(a->error) && a->credentials.access_key_id[0] != '\0')
            session_schedule(s, a);
    }
}

static void forget_those_who_left(struct aws_sessions *s)
{
    while (!list_is_empty(&s->uncollected)) {
        struct aws_session *a = LIST_ENTRY(s->uncollected.next, struct aws_session, place);
        if (a->settled_ms + SESSION_UNCOLLECTED_MS > session_now_ms(s))
            return;
        a->wanted = false;
        session_place(s, a);
    }
}

int64_t aws_sessions_next_ms(const struct aws_sessions *s)
{
    const struct aws_session *first = session_heap_first(&s->heap);
    int64_t next_ms = session_now_ms(s) + SESSION_LOOK_MS;

    if (s->news)
        return session_now_ms(s);
    if (first != NULL && first->due_ms < next_ms)
        next_ms = first->due_ms;
    if (!list_is_empty(&s->queue) && s->in_flight < s->o.in_flight) {
        int64_t at_ns = session_pace_at_ns(&s->pace);
        int64_t at_ms = (at_ns + SESSION_NS_PER_MS - 1) / SESSION_NS_PER_MS;
        if (at_ms < next_ms)
            next_ms = at_ms;
    }
    return next_ms;
}

int64_t aws_sessions_tick(struct aws_sessions *s)
{
    follow_clock(s);
    session_unblock(s);
    for (struct aws_session *a;
         (a = session_heap_first(&s->heap)) != NULL && a->due_ms <= session_now_ms(s);)
        on_due(s, a);
    forget_those_who_left(s);
    session_run_queue(s);
    if (s->news)
        session_tell(s);
    return aws_sessions_next_ms(s);
}

/* ---- Asked for ---- */

/* Where a caller's own session signs, STS names that session: only the log says it. */
static const char *told_detail(const struct aws_session *a)
{
    const bool names_caller = a->family->web_identity && a->parent != NULL;

    return a->detail != NULL && !names_caller ? a->detail : "";
}

static enum aws_ready answer_failure(struct aws_sessions *s, struct aws_session *a, err *why)
{
    *why = a->error;
    snprintf(s->detail, sizeof s->detail, "%s", told_detail(a));
    a->wanted = false;
    session_touch(s, a);
    return AWS_FAILED;
}

/* The chain's first gets the token where it is about to need one.  False: there is no memory. */
static bool give_token(struct aws_sessions *s, struct aws_session *a,
                       const struct aws_session_request *r)
{
    struct aws_session *root = session_root(a);
    const bool fresh = session_serves(s, root) && session_now_us(s) < root->refresh_us;

    if (r->web_identity_token.len == 0 || fresh || root->state == SESSION_FLYING)
        return true;
    secret_clear(&root->web_token);
    return secret_init(&root->web_token, r->web_identity_token);
}

/* It serves; a refresh that is due and that nothing but being asked for can begin, begins. */
static void refresh_on_use(struct aws_sessions *s, struct aws_session *a,
                           const struct aws_session_request *r)
{
    if (a->state != SESSION_IDLE || session_now_us(s) < a->refresh_us ||
        session_now_ms(s) < a->retry_ms || !give_token(s, a, r))
        return;
    if (a->family->web_identity && r->web_identity_token.len == 0)
        return;
    session_enqueue(s, a);
    session_run_queue(s);
}

static enum aws_ready get_served(struct aws_sessions *s, struct aws_session *a,
                                 const struct aws_session_request *r,
                                 const struct aws_credentials **credentials)
{
    a->used = true;
    a->wanted = false;
    refresh_on_use(s, a, r);
    session_touch(s, a);
    *credentials = &a->credentials;
    return AWS_READY;
}

static enum aws_ready get_awaited(struct aws_sessions *s, struct aws_session *a,
                                  const struct aws_session_request *r, err *why)
{
    if (a->state == SESSION_IDLE && !a->retrying) {
        if (!give_token(s, a, r)) {
            *why = fail(&fault_out_of_memory);
            return AWS_FAILED;
        }
        if (session_rests(s, a)) {
            session_drop_token(a);
            return answer_failure(s, a, why);
        }
        session_enqueue(s, a);
    }
    a->wanted = true;
    session_place(s, a);
    session_run_queue(s);
    if (a->state == SESSION_IDLE && !a->retrying)
        return answer_failure(s, a, why);
    return AWS_WAIT;
}

enum aws_ready aws_sessions_get(struct aws_sessions *s, const struct aws_session_request *r,
                                const struct aws_credentials **credentials, err *why,
                                const char **detail)
{
    struct aws_session *a = NULL;

    *credentials = NULL;
    s->detail[0] = '\0';
    *detail = s->detail;
    *why = session_check(r);
    if (failed(*why))
        return AWS_FAILED;
    if (r->web_identity && r->web_identity_token.len == 0) {
        a = session_find(s, r);
        *why = fail(&aws_session_no_token);
        if (a == NULL)
            return AWS_FAILED;
    } else {
        *why = session_make(s, r, &a);
        if (a == NULL)
            return failed(*why) ? AWS_FAILED : AWS_WAIT;
    }
    if (session_serves(s, a))
        return get_served(s, a, r, credentials);
    return get_awaited(s, a, r, why);
}

/* ---- Held ---- */

struct aws_session *aws_sessions_hold(struct aws_sessions *s, const struct aws_session_request *r)
{
    struct aws_session *a = failed(session_check(r)) ? NULL : session_find(s, r);

    if (a != NULL) {
        a->holds++;
        session_place(s, a);
    }
    return a;
}

void aws_sessions_release(struct aws_sessions *s, struct aws_session *held)
{
    if (held == NULL)
        return;
    ENSURE(held->holds > 0);
    held->holds--;
    session_touch(s, held);
}

err aws_session_credentials(struct aws_sessions *s, const struct aws_session *held,
                            const struct aws_credentials **credentials)
{
    *credentials = NULL;
    if (session_serves(s, held)) {
        *credentials = &held->credentials;
        return OK;
    }
    if (failed(held->error))
        return held->error;
    return fail(held->credentials.access_key_id[0] != '\0' ? &aws_credentials_expired
                                                           : &aws_credentials_waiting);
}

/* ---- Pinned ---- */

void aws_sessions_unpin_all(struct aws_sessions *s)
{
    size_t at = 0;

    for (struct aws_session *a; (a = map_next(&s->sessions, &at)) != NULL;)
        a->pinned = false;
}

err aws_sessions_pin(struct aws_sessions *s, const struct aws_session_request *r)
{
    struct aws_session *a = NULL;

    TRY(session_check(r));
    TRY(session_make(s, r, &a));
    if (a == NULL)
        return fail(&aws_session_bad_request);
    for (; a != NULL; a = a->parent) {
        a->pinned = true;
        session_place(s, a);
        if (!session_serves(s, a) && !failed(a->error))
            session_enqueue(s, a);
        else if (a->state == SESSION_IDLE)
            session_schedule(s, a);
    }
    s->news = true; /* for the tick to come at once */
    return OK;
}

/* ---- The whole ---- */

err aws_sessions_new(const struct aws_sessions_options *options, struct aws_sessions **out)
{
    struct aws_sessions *s = calloc(1, sizeof *s);

    *out = NULL;
    if (s == NULL)
        return fail(&fault_out_of_memory);
    s->o = *options;
    if (s->o.per_second == 0)
        s->o.per_second = AWS_SESSIONS_PER_SECOND;
    if (s->o.in_flight == 0)
        s->o.in_flight = AWS_SESSIONS_IN_FLIGHT;
    s->pace = (struct session_pace){
        .full = s->o.per_second,
        .rate = s->o.per_second,
        .burst = s->o.in_flight,
        .next_ns = INT64_MIN / 2,
        .changed_ms = INT64_MIN / 2,
    };
    s->offset_us = session_now_us(s) - clock_monotonic_ns(s->o.clock) / 1000;
    map_init(&s->sessions);
    map_init(&s->families);
    list_init(&s->queue);
    list_init(&s->blocked);
    list_init(&s->uncollected);
    list_init(&s->flights);
    *out = s;
    return OK;
}

void aws_sessions_free(struct aws_sessions *s)
{
    if (s == NULL)
        return;
    for (struct list *node; (node = list_pop_front(&s->flights)) != NULL;)
        LIST_ENTRY(node, struct session_flight, link)->sessions = NULL;
    session_store_free(s);
    free(s);
}

static size_t add_max(const struct aws_sessions *s)
{
    size_t at = 0, max = 0;

    for (struct session_family *f; (f = map_next(&s->families, &at)) != NULL;)
        max += f->max;
    return max;
}

void aws_sessions_counts(const struct aws_sessions *s, struct aws_sessions_counts *out)
{
    size_t at = 0;

    *out = (struct aws_sessions_counts){
        .max = add_max(s),
        .in_flight = s->in_flight,
        .assumed = s->assumed,
        .failures = s->failures,
        .throttled = s->throttled,
        .evictions = s->evictions,
        .per_second = s->pace.rate,
    };
    for (struct aws_session *a; (a = map_next(&s->sessions, &at)) != NULL;) {
        out->cached += session_serves(s, a);
        out->per_caller += a->family->per_caller;
        out->pinned += a->pinned;
        out->waiting += a->wanted && (a->state != SESSION_IDLE || a->retrying);
        out->failing += failed(a->error);
    }
}

bool aws_sessions_next_failure(const struct aws_sessions *s, size_t *at,
                               struct aws_session_failure *out)
{
    for (struct aws_session *a; (a = map_next(&s->sessions, at)) != NULL;) {
        if (!failed(a->error))
            continue;
        *out = (struct aws_session_failure){
            .role = a->family->roles[a->family->role_count - 1],
            .per_caller = a->family->per_caller,
            .serves = session_serves(s, a),
            .failures = a->failures,
            .error = a->error,
            .detail = told_detail(a),
        };
        return true;
    }
    return false;
}
