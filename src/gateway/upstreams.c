/* Which upstreams there are: what a load brings, changes and leaves behind. */
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "gateway/upstream.h"

static bool uses(const struct snapshot *s, const struct broker *b)
{
    for (size_t i = 0; s != NULL && i < s->entities.service_count; i++) {
        if (s->services[i].primary == b || s->services[i].read == b)
            return true;
    }
    return false;
}

void upstreams_sweep(struct control *c)
{
    LIST_EACH(node, &c->upstreams)
    {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        if (u->retired || uses(c->snapshot, u->broker))
            continue;
        u->retired = true;
        broker_retire(u->broker);
        for (size_t i = 0; i < c->worker_count; i++)
            worker_retire_broker(&c->workers[i], u->broker);
    }
    upstreams_pump(c);
}

static void adopt_login(struct broker *b, const struct service *s, const struct endpoint *e)
{
    if (b == NULL || broker_matches(b, s, e, &b->database_roles))
        return;
    if (!broker_change_login(b, e))
        log_error("login_kept", "there is no memory for the login of a service that was changed",
                  LOG_VIEW("service", b->name));
}

void upstreams_adopt_logins(struct control *c)
{
    const struct snapshot *s = c->snapshot;

    for (size_t i = 0; i < s->entities.service_count; i++) {
        const struct service *service = &s->entities.services[i];
        adopt_login(s->services[i].primary, service, &service->primary);
        if (service->has_read)
            adopt_login(s->services[i].read, service, &service->read);
    }
    upstreams_pump(c);
}

void upstreams_reap(struct control *c)
{
    LIST_EACH(node, &c->upstreams)
    {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        /* Then nobody can ask for a login or a cancel any more either. */
        if (!u->retired || u->login_count > 0 || !broker_is_over(u->broker))
            continue;
        list_unlink(&u->link);
        broker_release_reference(u->broker);
        free(u);
    }
}

void upstreams_free(struct control *c)
{
    for (struct list *node; (node = list_pop_front(&c->upstreams)) != NULL;) {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        broker_release_reference(u->broker);
        free(u);
    }
    login_pace_free(c->pace);
}

size_t control_upstreams(struct control *c, struct upstream_status *out, size_t capacity)
{
    size_t n = 0;

    LIST_EACH(node, &c->upstreams)
    {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        if (u->retired || n == capacity)
            continue;
        out[n++] = (struct upstream_status){
            .service = u->broker->name,
            .access = u->broker->access,
            .counts = broker_counts(u->broker),
            .iam = u->broker->login->endpoint.iam_auth.enabled,
            .logins_per_second = login_meter_rate(&u->meter, time_monotonic_ns()),
            .last_error = u->last_error[0] != '\0' ? view_str(u->last_error)
                                                   : (struct view){NULL, 0},
        };
    }
    return n;
}
