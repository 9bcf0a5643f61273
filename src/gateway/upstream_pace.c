#include "gateway/upstream_pace.h"

#include "base/time.h"

enum { TURN_NS = 1000000, NO_MEMORY_NS = 100000000 };

bool upstream_pace_open(struct control *c)
{
    c->pace = login_pace_new();
    if (c->pace == NULL)
        return false;
    if (!view_is(c->node->database, "postgres"))
        login_pace_set(c->pace, c->node->pg_iam_auth_max_rate, LOGIN_PERIOD_MS);
    return true;
}

/* The login may have changed, from a password to IAM, say.  False: no memory. */
static bool find_instance(struct upstream *u)
{
    const struct broker_login *by = u->broker->login;
    const struct endpoint *e = &by->endpoint;

    if (u->paced_by == by)
        return true;
    u->instance = NULL;
    if (e->iam_auth.enabled)
        u->instance = login_pace_instance(u->control->pace, endpoint_tls_name(e), e->port);
    if (u->instance == NULL && e->iam_auth.enabled)
        return false;
    u->paced_by = by;
    return true;
}

/* Whether another endpoint of the instance waits for the pace, and was let in less recently. */
static bool is_anothers_turn(const struct upstream *u)
{
    struct list *all = &u->control->upstreams;

    for (struct list *n = all->next; n != all; n = n->next) {
        const struct upstream *other = LIST_ENTRY(n, struct upstream, link);
        if (other != u && other->paced && other->instance == u->instance &&
            other->paced_in_ns < u->paced_in_ns)
            return true;
    }
    return false;
}

int64_t upstream_pace_await(struct upstream *u)
{
    /* Not the time at which the turn of the loop began: many logins may have begun in it. */
    u->taken_ns = time_monotonic_ns();
    if (!find_instance(u))
        return u->taken_ns + NO_MEMORY_NS;
    if (u->instance == NULL)
        return 0;
    int64_t at_ns = login_pace_take(u->control->pace, u->instance, u->taken_ns);
    /* The other is asked within this turn of the loop; if it wants none any more, this one is. */
    if (at_ns == 0 && is_anothers_turn(u)) {
        login_pace_give_back(u->control->pace, u->instance, u->taken_ns);
        at_ns = u->taken_ns + TURN_NS;
    }
    u->paced = at_ns > 0;
    return at_ns;
}

void upstream_pace_begun(struct upstream *u, bool begun, int64_t now_ns)
{
    if (begun) {
        u->paced_in_ns = now_ns;
        login_meter_note(&u->meter, now_ns);
    } else if (u->instance != NULL) {
        login_pace_give_back(u->control->pace, u->instance, u->taken_ns);
    }
}
