#include "limit/login_pace.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    LOOK_MS = 100,       /* while there is no share */
    STORE_TURN_MS = 500, /* a connection of the store that is late loses its turn */
};

struct login_instance {
    struct list link;
    uint16_t port;
    size_t host_len;
    char host[LOGIN_HOST_BYTES];
    /* Under the pace's lock: */
    bool begun;
    int64_t latest_ns;
    bool begun_before; /* for login_pace_give_back */
    int64_t before_ns;
    int64_t store_until_ns; /* the next login is the store's, if it comes by then */
};

struct login_pace {
    pthread_mutex_t lock;
    /* Under the lock: */
    struct list instances;
    int64_t interval_ns; /* 0: no logins */
    int64_t held_until_ns;
    bool begun;
    int64_t latest_ns;
    struct login_meter all;
    struct login_meter store;
};

/* ---- Meters ---- */

static uint32_t *cell(struct login_meter *m, int64_t second)
{
    return &m->counts[second % LOGIN_METER_S];
}

void login_meter_note(struct login_meter *m, int64_t now_ns)
{
    int64_t second = now_ns / NS_PER_S;

    if (second - m->second >= LOGIN_METER_S)
        memset(m->counts, 0, sizeof m->counts);
    else
        for (int64_t s = m->second + 1; s <= second; s++)
            *cell(m, s) = 0;
    if (second > m->second)
        m->second = second;
    (*cell(m, m->second))++;
}

double login_meter_rate(const struct login_meter *m, int64_t now_ns)
{
    int64_t second = now_ns / NS_PER_S;
    uint32_t sum = 0;

    for (int64_t s = second - LOGIN_METER_S + 1; s <= m->second; s++) {
        if (s > m->second - LOGIN_METER_S)
            sum += m->counts[(s + LOGIN_METER_S) % LOGIN_METER_S];
    }
    return (double)sum / LOGIN_METER_S;
}

/* ---- The pace ---- */

struct login_pace *login_pace_new(void)
{
    struct login_pace *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->instances);
    return p;
}

void login_pace_free(struct login_pace *p)
{
    if (p == NULL)
        return;
    LIST_EACH(node, &p->instances)
        free(LIST_ENTRY(node, struct login_instance, link));
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_instance(const struct login_instance *i, struct view host, uint16_t port)
{
    size_t same = 0;

    if (i->port != port || i->host_len != host.len)
        return false;
    while (same < host.len && i->host[same] == lower(host.data[same]))
        same++;
    return same == host.len;
}

static struct login_instance *find(struct login_pace *p, struct view host, uint16_t port)
{
    LIST_EACH(node, &p->instances)
    {
        struct login_instance *i = LIST_ENTRY(node, struct login_instance, link);
        if (is_instance(i, host, port))
            return i;
    }
    struct login_instance *new = calloc(1, sizeof *new);
    if (new == NULL)
        return NULL;
    new->port = port;
    new->host_len = host.len;
    for (size_t k = 0; k < host.len; k++)
        new->host[k] = lower(host.data[k]);
    list_push_back(&p->instances, &new->link);
    return new;
}

struct login_instance *login_pace_instance(struct login_pace *p, struct view host, uint16_t port)
{
    pthread_mutex_lock(&p->lock);
    struct login_instance *i = find(p, view_upto(host, LOGIN_HOST_BYTES), port);
    pthread_mutex_unlock(&p->lock);
    return i;
}

void login_pace_set(struct login_pace *p, int64_t logins, int64_t period_ms)
{
    pthread_mutex_lock(&p->lock);
    p->interval_ns = logins > 0 ? (period_ms * NS_PER_MS + logins - 1) / logins : 0;
    pthread_mutex_unlock(&p->lock);
}

void login_pace_hold(struct login_pace *p, int64_t until_ns)
{
    pthread_mutex_lock(&p->lock);
    p->held_until_ns = until_ns;
    pthread_mutex_unlock(&p->lock);
}

/* Counted from the latest login, not from the times that were planned: what comes late makes room
 * for nobody. */
static int64_t due(const struct login_instance *i, int64_t interval_ns, int64_t now_ns)
{
    return i->begun && i->latest_ns + interval_ns > now_ns ? i->latest_ns + interval_ns : 0;
}

static void begin(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    i->begun_before = i->begun;
    i->before_ns = i->latest_ns;
    i->begun = p->begun = true;
    i->latest_ns = p->latest_ns = now_ns;
    login_meter_note(&p->all, now_ns);
}

static int64_t take(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    if (p->interval_ns == 0)
        return now_ns + LOOK_MS * NS_PER_MS;
    if (now_ns < p->held_until_ns)
        return p->held_until_ns;
    int64_t at_ns = due(i, p->interval_ns, now_ns);
    if (at_ns > 0)
        return at_ns;
    if (now_ns < i->store_until_ns)
        return now_ns + p->interval_ns < i->store_until_ns ? now_ns + p->interval_ns
                                                           : i->store_until_ns;
    begin(p, i, now_ns);
    return 0;
}

int64_t login_pace_take(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    int64_t at_ns = take(p, i, now_ns);
    pthread_mutex_unlock(&p->lock);
    return at_ns;
}

static void take_back(struct login_meter *m, int64_t now_ns)
{
    int64_t second = now_ns / NS_PER_S;

    if (m->second - second < LOGIN_METER_S && *cell(m, second) > 0)
        (*cell(m, second))--;
}

static bool give_back(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    if (!i->begun || i->latest_ns != now_ns)
        return false;
    i->begun = i->begun_before;
    i->latest_ns = i->before_ns;
    take_back(&p->all, now_ns);
    return true;
}

void login_pace_give_back(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    give_back(p, i, now_ns);
    pthread_mutex_unlock(&p->lock);
}

void login_pace_give_back_store(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    if (give_back(p, i, now_ns))
        take_back(&p->store, now_ns);
    pthread_mutex_unlock(&p->lock);
}

int64_t login_pace_take_store(struct login_pace *p, struct login_instance *i, int64_t now_ns)
{
    const int64_t period_ns = (int64_t)LOGIN_PERIOD_MS * NS_PER_MS;

    pthread_mutex_lock(&p->lock);
    bool scarce = p->interval_ns == 0 || p->interval_ns > period_ns;
    int64_t at_ns = due(i, scarce ? period_ns : p->interval_ns, now_ns);
    if (at_ns > 0) {
        i->store_until_ns = at_ns + STORE_TURN_MS * NS_PER_MS;
    } else {
        i->store_until_ns = 0;
        begin(p, i, now_ns);
        login_meter_note(&p->store, now_ns);
    }
    pthread_mutex_unlock(&p->lock);
    return at_ns;
}

double login_pace_store_rate(struct login_pace *p, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    double rate = login_meter_rate(&p->store, now_ns);
    pthread_mutex_unlock(&p->lock);
    return rate;
}

double login_pace_rate(struct login_pace *p, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    double rate = login_meter_rate(&p->all, now_ns);
    pthread_mutex_unlock(&p->lock);
    return rate;
}

int64_t login_pace_latest_ns(struct login_pace *p)
{
    pthread_mutex_lock(&p->lock);
    int64_t at_ns = p->begun ? p->latest_ns : INT64_MIN;
    pthread_mutex_unlock(&p->lock);
    return at_ns;
}
