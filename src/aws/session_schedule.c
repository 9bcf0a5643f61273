/* When sessions are due, and how fast STS may be asked. */
#include <stdlib.h>

#include "aws/sessions_internal.h"
#include "base/log.h"
#include "crypto/random.h"

enum { US_PER_S = 1000000, NS_PER_S = 1000000000, PACE_CHANGE_MS = 1000, PACE_STEPS = 10 };

/* ---- The heap: by due_ms, the soonest first; items[0] is not used ---- */

static void put(struct session_heap *h, size_t at, struct aws_session *a)
{
    h->items[at] = a;
    a->heap_at = at;
}

static void rise(struct session_heap *h, struct aws_session *a, size_t at)
{
    for (; at > 1 && h->items[at / 2]->due_ms > a->due_ms; at /= 2)
        put(h, at, h->items[at / 2]);
    put(h, at, a);
}

static void sink(struct session_heap *h, struct aws_session *a, size_t at)
{
    for (size_t child; (child = at * 2) <= h->count; at = child) {
        if (child < h->count && h->items[child + 1]->due_ms < h->items[child]->due_ms)
            child++;
        if (h->items[child]->due_ms >= a->due_ms)
            break;
        put(h, at, h->items[child]);
    }
    put(h, at, a);
}

bool session_heap_reserve(struct session_heap *h, size_t count)
{
    if (count < h->room)
        return true;
    size_t room = h->room == 0 ? 64 : h->room * 2;
    struct aws_session **items = reallocarray(h->items, room, sizeof(struct aws_session *));
    if (items == NULL)
        return false;
    h->items = items;
    h->room = room;
    return true;
}

void session_heap_set(struct session_heap *h, struct aws_session *a, int64_t due_ms)
{
    session_heap_drop(h, a);
    ENSURE(h->count + 1 < h->room);
    a->due_ms = due_ms;
    rise(h, a, ++h->count);
}

void session_heap_drop(struct session_heap *h, struct aws_session *a)
{
    size_t at = a->heap_at;

    if (at == 0)
        return;
    a->heap_at = 0;
    struct aws_session *last = h->items[h->count--];
    if (last == a)
        return;
    if (at > 1 && h->items[at / 2]->due_ms > last->due_ms)
        rise(h, last, at);
    else
        sink(h, last, at);
}

struct aws_session *session_heap_first(const struct session_heap *h)
{
    return h->count > 0 ? h->items[1] : NULL;
}

/* ---- The pace ---- */

static int64_t interval_ns(const struct session_pace *p)
{
    return NS_PER_S / p->rate;
}

int64_t session_pace_at_ns(const struct session_pace *p)
{
    unsigned burst = p->burst < p->rate ? p->burst : p->rate;
    return p->next_ns - (burst - 1) * interval_ns(p);
}

void session_pace_take(struct session_pace *p, int64_t now_ns)
{
    if (p->next_ns < now_ns)
        p->next_ns = now_ns;
    p->next_ns += interval_ns(p);
}

/* Answers of one burst that were all throttled count once. */
void session_pace_throttled(struct session_pace *p, int64_t now_ns)
{
    int64_t now_ms = now_ns / SESSION_NS_PER_MS;

    if (now_ms - p->changed_ms < PACE_CHANGE_MS && p->rate < p->full)
        return;
    p->changed_ms = now_ms;
    p->rate = p->rate > 1 ? p->rate / 2 : 1;
    unsigned burst = p->burst < p->rate ? p->burst : p->rate;
    p->next_ns = now_ns + burst * interval_ns(p);
}

void session_pace_good(struct session_pace *p, int64_t now_ms)
{
    if (p->rate == p->full || now_ms - p->changed_ms < PACE_CHANGE_MS)
        return;
    p->changed_ms = now_ms;
    p->rate += (p->full + PACE_STEPS - 1) / PACE_STEPS;
    if (p->rate > p->full)
        p->rate = p->full;
}

/* ---- Times ---- */

/* Full jitter: anywhere up to a bound that doubles. */
int64_t session_backoff_ms(unsigned failures)
{
    int64_t bound = SESSION_BACKOFF_MAX_MS;

    if (failures < 7)
        bound = (int64_t)SESSION_BACKOFF_FIRST_MS << (failures > 0 ? failures - 1 : 0);
    if (bound > SESSION_BACKOFF_MAX_MS)
        bound = SESSION_BACKOFF_MAX_MS;
    return 1 + (int64_t)random_below((uint64_t)bound);
}

int64_t session_refresh_at_us(int64_t now_us, int64_t expiry_us)
{
    int64_t ahead = (expiry_us - now_us) / 3;

    if (ahead > (int64_t)SESSION_REFRESH_AHEAD_MAX_S * US_PER_S)
        ahead = (int64_t)SESSION_REFRESH_AHEAD_MAX_S * US_PER_S;
    ahead += (int64_t)random_below((uint64_t)ahead / 10 + 1);
    int64_t soonest = now_us + (int64_t)SESSION_REFRESH_MIN_S * US_PER_S;
    return expiry_us - ahead > soonest ? expiry_us - ahead : soonest;
}
