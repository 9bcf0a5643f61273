#include "database/broker_internal.h"

#include <stdlib.h>

#include "base/secret.h"
#include "base/time.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    IDENTITY_BLOCK_BYTES = 1024,
    IDENTITY_MAX_BYTES = 1024 * 1024,
    WAITERS_LOOKED_AT = 64,
    /* Sessions that only a back-off keeps: a caller whom STS refuses costs no more than this. */
    RESTING_MAX = 1024,
    /* How long a back-off that is over is remembered, so that the next one is longer. */
    RESTING_MS = RETRY_MAX_MS,
};

/* ---- Identities ---- */

static void identity_release(struct session_identity *i)
{
    if (i == NULL || --i->references > 0)
        return;
    struct view token = i->of.web_identity_token;
    if (token.len > 0)
        secret_wipe((char *)(uintptr_t)token.data, token.len);
    arena_clear(&i->arena);
    free(i);
}

static bool copy_text(struct arena *a, struct view *v)
{
    if (v->data != NULL)
        *v = arena_copy(a, *v);
    else
        return true;
    return v->data != NULL;
}

static struct session_identity *identity_copy(const struct db_session_identity *from)
{
    struct session_identity *i = calloc(1, sizeof *i);

    if (i == NULL)
        return NULL;
    i->references = 1;
    arena_init(&i->arena, IDENTITY_BLOCK_BYTES, IDENTITY_MAX_BYTES);
    i->of = *from;
    struct view *tags = ARENA_ARRAY(&i->arena, from->tag_count, struct view);
    bool whole = tags != NULL;
    for (size_t n = 0; whole && n < from->tag_count; n++) {
        tags[n] = from->tag_values[n];
        whole = copy_text(&i->arena, &tags[n]);
    }
    i->of.tag_values = tags;
    whole = whole && copy_text(&i->arena, &i->of.name) &&
            copy_text(&i->arena, &i->of.source_identity);
    /* The token last: what is not ours must not be wiped. */
    if (!whole || !copy_text(&i->arena, &i->of.web_identity_token)) {
        i->of.web_identity_token = (struct view){NULL, 0};
        identity_release(i);
        return NULL;
    }
    return i;
}

const struct db_session_identity *broker_session_identity(struct broker *b, struct db_session *s)
{
    if (s->common)
        return NULL;
    pthread_mutex_lock(&b->lock);
    if (s->in_use != s->identity) {
        identity_release(s->in_use);
        s->in_use = s->identity;
        s->in_use->references++;
    }
    pthread_mutex_unlock(&b->lock);
    return &s->in_use->of;
}

bool broker_session_ended(const struct db_session *s)
{
    return s->identity != NULL && s->identity->of.expires_at_s != 0 &&
           time_wall_us() / 1000000 >= s->identity->of.expires_at_s;
}

/* ---- Birth and end ---- */

void broker_session_init(struct db_session *s, bool common)
{
    *s = (struct db_session){.common = common};
    list_init(&s->waiters);
    list_init(&s->wish_link);
    list_init(&s->hungry_link);
    list_init(&s->resting_link);
    list_init(&s->control_link);
}

static struct view key_of(const struct db_session *s)
{
    return view_of(s->key, sizeof s->key);
}

static void session_free(struct broker *b, struct db_session *s)
{
    if (!list_is_empty(&s->resting_link)) {
        list_unlink(&s->resting_link);
        b->resting_count--;
    }
    (void)map_remove(&b->sessions, key_of(s));
    identity_release(s->in_use);
    identity_release(s->identity);
    free(s);
}

static struct db_session *session_new(struct broker *b, const struct db_session_identity *identity)
{
    struct db_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    broker_session_init(s, false);
    memcpy(s->key, identity->key, sizeof s->key);
    s->identity = identity_copy(identity);
    if (s->identity == NULL || !map_put(&b->sessions, key_of(s), s)) {
        identity_release(s->identity);
        free(s);
        return NULL;
    }
    return s;
}

struct db_session *broker_session_of(struct broker *b, const struct db_call *call)
{
    const struct db_session_identity *given = call->session;

    if (call->any_session)
        return &b->anyone;
    if (given == NULL)
        return &b->common;
    struct db_session *s = map_get(&b->sessions, view_of(given->key, sizeof given->key));
    if (s == NULL)
        return session_new(b, given);
    /* The same caller with a newer token: from now on that one is good. */
    if (given->expires_at_s > s->identity->of.expires_at_s) {
        struct session_identity *newer = identity_copy(given);
        if (newer == NULL)
            return NULL;
        identity_release(s->identity);
        s->identity = newer;
    }
    return s;
}

static bool is_in_use(const struct db_session *s)
{
    return s->waiting + s->connections + s->pending + s->wishes > 0;
}

static bool is_resting(const struct db_session *s, int64_t now_ns)
{
    return s->failures > 0 && now_ns < s->retry_at_ns + (int64_t)RESTING_MS * NS_PER_MS;
}

/* Those whose back-off is long over go; those with something to do again are no longer kept for
 * it. */
static void wake_resting(struct broker *b, int64_t now_ns)
{
    LIST_EACH(node, &b->resting)
    {
        struct db_session *s = LIST_ENTRY(node, struct db_session, resting_link);
        if (is_in_use(s)) {
            list_unlink(&s->resting_link);
            b->resting_count--;
        } else if (!is_resting(s, now_ns)) {
            session_free(b, s);
        }
    }
}

static void rest(struct broker *b, struct db_session *s)
{
    if (!list_is_empty(&s->resting_link))
        return;
    if (b->resting_count == RESTING_MAX)
        wake_resting(b, time_monotonic_ns());
    if (b->resting_count == RESTING_MAX)
        session_free(b, LIST_ENTRY(b->resting.next, struct db_session, resting_link));
    list_push_back(&b->resting, &s->resting_link);
    b->resting_count++;
}

void broker_session_settle(struct broker *b, struct db_session *s)
{
    if (s->common || s == &b->anyone || is_in_use(s))
        return;
    if (!b->closing && is_resting(s, time_monotonic_ns()))
        rest(b, s);
    else
        session_free(b, s);
}

void broker_sessions_free(struct broker *b)
{
    size_t at = 0;

    for (struct db_session *s; (s = map_next(&b->sessions, &at)) != NULL; at = 0)
        session_free(b, s);
    map_clear(&b->sessions);
}

/* ---- Wishes ---- */

/* Room for a wish of the session.  Who waits for credentials takes none away from others, or STS's
 * silence would be everybody's. */
static bool has_room(const struct broker *b, const struct db_session *s)
{
    unsigned stalled = b->stalled - (s->stalled ? s->wishes : 0);

    return b->total + b->wished - stalled < (uint64_t)b->service.pool.max_connections;
}

static int64_t oldest_ns(const struct db_session *s)
{
    return LIST_ENTRY(s->waiters.next, struct db_call, session_link)->started_ns;
}

static bool is_overdue(int64_t since_ns, int64_t now_ns)
{
    return now_ns - since_ns > (int64_t)SESSION_PATIENCE_MS * NS_PER_MS;
}

/* Its part of the budget, were all that have something here to want it. */
static unsigned fair_share(const struct broker *b)
{
    size_t sessions = b->sessions.count - b->resting_count + (b->common.connections > 0);
    uint64_t share = sessions == 0 ? 0 : (uint64_t)b->service.pool.max_connections / sessions;

    return share > 1 ? (unsigned)share : 1;
}

static void wish(struct broker *b, struct db_session *s)
{
    s->wishes++;
    s->untaken++;
    b->wished++;
    b->stalled += s->stalled;
    if (list_is_empty(&s->wish_link))
        list_push_back(&b->wishing, &s->wish_link);
}

void broker_wish(struct broker *b, struct db_session *s, int64_t now_ns)
{
    unsigned coming = s->pending + s->wishes;

    if (b->closing || s == &b->anyone || s->waiting == 0)
        return;
    /* The control thread has a wish of it that was of no need for a while. */
    b->room |= s->waiting == 1 && s->wishes > s->untaken;
    if (coming >= s->waiting)
        return;
    /* Who has nothing always has one wish, for then others make room (broker_begin_login).  So has
     * who waits too long for its own few while others hold more. */
    bool unprovided = s->connections + coming == 0;
    bool underfed = coming == 0 && b->total > s->connections && s->connections < fair_share(b) &&
                    is_overdue(oldest_ns(s), now_ns);
    if (unprovided || underfed || has_room(b, s))
        wish(b, s);
}

void broker_wish_beyond(struct broker *b, struct db_session *s, int64_t now_ns)
{
    if (!b->closing && s != &b->anyone && s->pending + s->wishes == 0 && has_room(b, s) &&
        now_ns >= s->retry_at_ns)
        wish(b, s);
}

void broker_wish_for_waiters(struct broker *b, int64_t now_ns)
{
    unsigned seen = 0;

    wake_resting(b, now_ns);
    LIST_EACH(node, &b->waiters)
    {
        struct db_session *s = LIST_ENTRY(node, struct db_call, link)->pooled;
        bool stuck = s->failures > 0 || s->connections == 0 || is_overdue(oldest_ns(s), now_ns);
        if (stuck && now_ns >= s->retry_at_ns)
            broker_wish(b, s, now_ns);
        if (++seen == WAITERS_LOOKED_AT)
            return;
    }
}

void broker_take_wishes(struct broker *b, struct list *wishes)
{
    pthread_mutex_lock(&b->lock);
    for (struct list *node; (node = list_pop_front(&b->wishing)) != NULL;) {
        struct db_session *s = LIST_ENTRY(node, struct db_session, wish_link);
        s->to_start += s->untaken;
        s->untaken = 0;
        if (list_is_empty(&s->control_link))
            list_push_back(wishes, &s->control_link);
    }
    b->login_letter_out = b->room = false;
    pthread_mutex_unlock(&b->lock);
}

/* ---- Room ---- */

/* Whether what is free, or about to be, is enough for the hungry. */
static bool hungry_are_served(const struct broker *b)
{
    return b->total - b->leaving + b->hungry_count <= (uint64_t)b->service.pool.max_connections;
}

bool broker_owes(const struct broker *b, const struct db_session *s, const struct db_call *call,
                 int64_t now_ns)
{
    if (b->hungry_count == 0 || hungry_are_served(b))
        return false;
    LIST_EACH(node, &b->hungry)
    {
        const struct db_session *h = LIST_ENTRY(node, struct db_session, hungry_link);
        if (h == s)
            continue;
        if (call == NULL)
            return true;
        int64_t since_ns = oldest_ns(h);
        return since_ns < call->started_ns && is_overdue(since_ns, now_ns);
    }
    return false;
}

/* The idle connection that was used least recently; nobody waits for it, or it were not idle. */
static struct backend *least_recently_used(struct broker *b)
{
    struct backend *oldest = NULL;

    for (size_t i = 0; i < b->worker_count; i++) {
        struct list *idle = &b->workers[i].idle;
        if (list_is_empty(idle))
            continue;
        struct backend *backend = LIST_ENTRY(idle->prev, struct backend, link);
        if (oldest == NULL || backend->idle_since_ns < oldest->idle_since_ns)
            oldest = backend;
    }
    return oldest;
}

static void make_room(struct broker *b)
{
    while (!hungry_are_served(b)) {
        struct backend *backend = least_recently_used(b);
        if (backend == NULL)
            return;
        broker_leave_idle(backend);
        b->leaving++;
        broker_ask_home(b, backend, true);
    }
}

static void grant(struct broker *b, struct db_session *s)
{
    s->wishes--;
    b->wished--;
    b->stalled -= s->stalled;
    if (--s->to_start == 0)
        list_unlink(&s->control_link);
    if (!list_is_empty(&s->hungry_link)) {
        list_unlink(&s->hungry_link);
        b->hungry_count--;
    }
}

static void set_stalled(struct broker *b, struct db_session *s, bool stalled)
{
    if (s->stalled == stalled)
        return;
    s->stalled = stalled;
    if (stalled)
        b->stalled += s->wishes;
    else
        b->stalled -= s->wishes;
}

static bool is_needed(const struct db_session *s)
{
    return s->waiting > 0 || s->common || s->connections > 0;
}

void broker_session_stalled(struct broker *b, struct db_session *s)
{
    pthread_mutex_lock(&b->lock);
    set_stalled(b, s, true);
    if (!is_needed(s) || b->closing) {
        while (s->to_start > 0)
            grant(b, s);
        broker_session_settle(b, s);
    }
    pthread_mutex_unlock(&b->lock);
}

static enum broker_room find_room(struct broker *b, struct db_session *s, int64_t now_ns,
                                  int64_t *at_ns)
{
    set_stalled(b, s, false);
    if (!is_needed(s) || b->closing) {
        grant(b, s);
        broker_session_settle(b, s);
        return BROKER_NO_NEED;
    }
    if (now_ns < s->retry_at_ns) {
        *at_ns = s->retry_at_ns;
        return BROKER_NOT_YET;
    }
    if (b->total < (uint64_t)b->service.pool.max_connections) {
        grant(b, s);
        b->total++;
        b->pending++;
        s->pending++;
        return BROKER_ROOM;
    }
    if (s->waiting == 0) { /* it was to be one more than needed */
        grant(b, s);
        broker_session_settle(b, s);
        return BROKER_NO_NEED;
    }
    if (list_is_empty(&s->hungry_link)) {
        list_push_back(&b->hungry, &s->hungry_link);
        b->hungry_count++;
    }
    make_room(b);
    return BROKER_NO_ROOM;
}

enum broker_room broker_begin_login(struct broker *b, struct db_session *s, int64_t now_ns,
                                    int64_t *at_ns)
{
    pthread_mutex_lock(&b->lock);
    enum broker_room answer = find_room(b, s, now_ns, at_ns);
    pthread_mutex_unlock(&b->lock);
    return answer;
}

void broker_note_less(struct broker *b)
{
    b->total--;
    b->room |= b->hungry_count > 0;
}

/* ---- Failures ---- */

void broker_refuse_waiters(struct broker *b, struct db_session *s, err why)
{
    while (!list_is_empty(&s->waiters)) {
        struct db_call *call = LIST_ENTRY(s->waiters.next, struct db_call, session_link);
        broker_take_waiter(b, call);
        broker_refuse(call, why);
    }
}

static void note_failure(struct db_session *s, err why)
{
    int64_t wait_ms = RETRY_FIRST_MS;

    for (unsigned i = 0; i < s->failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    s->failures++;
    s->failure = why;
    s->retry_at_ns = time_monotonic_ns() +
                     (wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS) * NS_PER_MS;
}

/* Nobody is left who could serve the session's waiters, and nobody is coming. */
static void refuse_hopeless(struct broker *b, struct db_session *s, err why)
{
    if (s->connections + s->pending + s->wishes == 0)
        broker_refuse_waiters(b, s, why);
}

void broker_session_failed(struct broker *b, struct db_session *s, err why)
{
    pthread_mutex_lock(&b->lock);
    note_failure(s, why);
    while (s->to_start > 0)
        grant(b, s);
    set_stalled(b, s, false);
    refuse_hopeless(b, s, why);
    broker_session_settle(b, s);
    pthread_mutex_unlock(&b->lock);
}

/* Under the lock. */
static void login_failed(struct broker *b, struct db_session *s)
{
    b->failures++;
    note_failure(s, fail(&db_unreachable));
    refuse_hopeless(b, s, fail(&db_unreachable));
    broker_note_less(b);
    broker_session_settle(b, s);
}

static struct broker_worker *least_supplied(struct broker *b)
{
    struct broker_worker *best = &b->workers[0];

    for (size_t i = 1; i < b->worker_count; i++) {
        if (b->workers[i].connections < best->connections)
            best = &b->workers[i];
    }
    return best;
}

/* Under the lock: whom the new connection is to serve first, and where it will live. */
static struct db_call *receive(struct broker *b, struct db_session *s, struct backend *backend)
{
    struct db_call *call = NULL;

    b->failures = s->failures = 0;
    s->retry_at_ns = 0;
    if (backend->login_number > b->proven)
        b->proven = backend->login_number;
    s->connections++;
    backend->broker = b;
    backend->session = s;
    backend->home = least_supplied(b)->worker;
    if (!list_is_empty(&s->waiters)) {
        call = LIST_ENTRY(s->waiters.next, struct db_call, session_link);
        broker_take_waiter(b, call);
        call->state = DB_CALL_MOVING;
        backend->home = call->worker;
    }
    if (s->common)
        b->workers[backend->home->index].connections++;
    return call;
}

void broker_login_done(struct broker *b, struct db_session *s, struct backend *backend)
{
    struct db_call *call = NULL;

    pthread_mutex_lock(&b->lock);
    b->pending--;
    s->pending--;
    if (backend == NULL)
        login_failed(b, s);
    else
        call = receive(b, s, backend);
    broker_unlock_and_tell(b);
    if (backend != NULL)
        broker_send(backend, backend->home, call);
}
