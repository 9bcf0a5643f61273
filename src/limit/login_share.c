#include "limit/login_share.h"

#include <stdio.h>
#include <string.h>

enum {
    NS_PER_MS = 1000000,
    RENEW_MS = 1000,      /* and more with more nodes: the database has other things to do */
    RENEW_NODE_MS = 20,
    RENEW_MAX_MS = 4000,
    WAIT_MS = 300,        /* for what others are about to leave */
    RESERVE_PART = 20,
};

static const int64_t period_ns = (int64_t)LOGIN_PERIOD_MS * NS_PER_MS;

int64_t login_share_reserve(int64_t max_rate)
{
    return max_rate > 1 ? (max_rate + RESERVE_PART - 1) / RESERVE_PART : 0;
}

int64_t login_share_assumed(int64_t max_rate)
{
    int64_t share = (max_rate - login_share_reserve(max_rate)) / LOGIN_ASSUMED_NODES;
    return share > 0 ? share : 1;
}

void login_share_init(struct login_share *s, const char *id, int64_t max_rate, int64_t now_ns)
{
    *s = (struct login_share){.max_rate = max_rate,
                              .lower_at_ns = now_ns + period_ns,
                              .reduced_ns = now_ns};
    snprintf(s->id, sizeof s->id, "%s", id);
}

void login_share_contact_lost(struct login_share *s)
{
    s->sight_count = 0;
}

/* ---- Who is there ---- */

static struct login_sight *sight_of(struct login_share *s, const char *id)
{
    for (size_t i = 0; i < s->sight_count; i++) {
        if (strcmp(s->sights[i].id, id) == 0)
            return &s->sights[i];
    }
    return NULL;
}

static bool is_gone(struct login_share *s, const struct login_row *row, int64_t now_ns)
{
    struct login_sight *sight = sight_of(s, row->id);

    if (row->left)
        return true;
    if (sight == NULL) {
        if (s->sight_count == LOGIN_NODES_MAX)
            return false;
        sight = &s->sights[s->sight_count++];
        *sight = (struct login_sight){.seen = row->seen, .first_ns = now_ns};
        snprintf(sight->id, sizeof sight->id, "%s", row->id);
    } else if (sight->seen != row->seen) {
        sight->seen = row->seen;
        sight->first_ns = now_ns;
    }
    return now_ns - sight->first_ns >= (int64_t)LOGIN_GONE_MS * NS_PER_MS;
}

/* Rows that are no more need not be remembered. */
static void forget(struct login_share *s, const struct login_row *rows, size_t count)
{
    for (size_t i = 0; i < s->sight_count;) {
        size_t k = 0;
        while (k < count && strcmp(rows[k].id, s->sights[i].id) != 0)
            k++;
        if (k < count)
            i++;
        else
            s->sights[i] = s->sights[--s->sight_count];
    }
}

struct census {
    const struct login_row *own; /* NULL: none */
    size_t nodes;
    int64_t others;  /* their shares */
    size_t waiting;  /* others without a share */
    size_t ahead;    /* of them, those before the own row */
};

static bool is_before(const struct login_row *a, const struct login_row *b)
{
    return a->since != b->since ? a->since < b->since : strcmp(a->id, b->id) < 0;
}

static struct census count_nodes(struct login_share *s, const struct login_row *rows, size_t count,
                                 int64_t now_ns, struct login_plan *out)
{
    struct census c = {.nodes = 1};

    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].id, s->id) == 0)
            c.own = &rows[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (&rows[i] == c.own)
            continue;
        if (is_gone(s, &rows[i], now_ns)) {
            if (out->gone_count < LOGIN_NODES_MAX)
                out->gone[out->gone_count++] = i;
            continue;
        }
        c.nodes++;
        c.others += rows[i].share;
        c.waiting += rows[i].share == 0;
        c.ahead += rows[i].share == 0 && c.own != NULL && is_before(&rows[i], c.own);
    }
    forget(s, rows, count);
    return c;
}

/* ---- How much each has ---- */

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t turn(const struct login_share *s, const struct census *c, int64_t free,
                    int64_t now_ns)
{
    if (c->own == NULL)
        return 0;
    if (c->own->share > 0) {
        bool over = now_ns - s->got_ns >= (int64_t)LOGIN_TURN_MS * NS_PER_MS;
        return over && c->waiting > 0 ? 0 : lesser(1, at_least_0(free));
    }
    return free > (int64_t)c->ahead ? 1 : 0;
}

static int64_t wanted_share(const struct login_share *s, const struct census *c, size_t count,
                            int64_t now_ns)
{
    int64_t pot = s->max_rate - login_share_reserve(s->max_rate);
    int64_t target = pot / (int64_t)c->nodes;

    if (count > LOGIN_NODES_MAX) /* not all rows were read */
        return 0;
    if (target == 0)
        return turn(s, c, pot - c->others, now_ns);
    return lesser(target, at_least_0(s->max_rate - c->others));
}

/* Up to what the row says already. */
static void resume(struct login_share *s, int64_t to)
{
    s->share = to;
    if (s->lower_to < to)
        s->lower_to = to; /* what is about to be written must not be less */
}

static void reduce(struct login_share *s, int64_t to, int64_t now_ns)
{
    s->share = to;
    s->reduced_ns = now_ns;
    if (s->lower_at_ns == INT64_MIN) {
        s->lower_to = to;
        s->lower_at_ns = now_ns + period_ns;
    }
}

/* The highest share that was in force within the last period: so much has to stand in the row. */
static int64_t must_stand(struct login_share *s, int64_t published, int64_t now_ns)
{
    for (int n = 0; n < 2 && s->lower_at_ns != INT64_MIN && now_ns >= s->lower_at_ns; n++) {
        published = lesser(published, s->lower_to);
        s->lower_at_ns = s->share < s->lower_to ? s->reduced_ns + period_ns : INT64_MIN;
        s->lower_to = s->share;
    }
    if (s->lower_at_ns == INT64_MIN)
        published = lesser(published, s->share);
    return published > s->share ? published : s->share;
}

static int64_t due_ms(const struct login_share *s, const struct census *c, int64_t wanted,
                      int64_t now_ns)
{
    int64_t pot = s->max_rate - login_share_reserve(s->max_rate);
    int64_t due = lesser(RENEW_MS + (int64_t)c->nodes * RENEW_NODE_MS, RENEW_MAX_MS);

    if (pot / (int64_t)c->nodes == 0)
        due = lesser(due, RENEW_MS);
    else if (wanted < pot / (int64_t)c->nodes)
        due = lesser(due, WAIT_MS + (int64_t)c->nodes * RENEW_NODE_MS);
    if (s->lower_at_ns != INT64_MIN)
        due = lesser(due, at_least_0(s->lower_at_ns - now_ns) / NS_PER_MS + 1);
    return due;
}

void login_share_plan(struct login_share *s, const struct login_row *rows, size_t count,
                      int64_t now_ns, struct login_plan *out)
{
    out->gone_count = 0;
    struct census c = count_nodes(s, rows, count, now_ns, out);
    int64_t published = c.own != NULL ? c.own->share : 0;
    int64_t wanted = wanted_share(s, &c, count, now_ns);
    int64_t granted = lesser(wanted, published);

    if (granted < s->share)
        reduce(s, granted, now_ns);
    else
        resume(s, granted);
    s->nodes = c.nodes;
    out->raise = wanted > published;
    out->publish = out->raise ? wanted : must_stand(s, published, now_ns);
    out->due_ms = due_ms(s, &c, wanted, now_ns);
}

void login_share_raised(struct login_share *s, int64_t share, int64_t now_ns)
{
    if (s->share == 0)
        s->got_ns = now_ns;
    resume(s, share);
}

void login_share_assume(struct login_share *s, int64_t share)
{
    resume(s, share);
}
