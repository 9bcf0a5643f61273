/* A broker whose login is changed by a reload, while its connections go on serving. */
#include "base/time.h"
#include "database/broker_internal.h"
#include "database/endpoint.h"

bool broker_change_login(struct broker *b, const struct endpoint *endpoint)
{
    struct service service = b->service;
    struct broker_login *before = b->login;
    struct broker_login *new = ARENA_ARRAY(&b->arena, 1, struct broker_login);

    if (new == NULL)
        return false;
    endpoint_copy(&b->arena, &new->endpoint, endpoint);
    new->number = before->number + 1;
    new->before = before;
    b->login = new;
    /* What is left out for want of memory, as a session policy, could let logins have more than
     * was written. */
    if (!broker_matches(b, &service, endpoint, &b->database_roles)) {
        b->login = before;
        return false;
    }
    pthread_mutex_lock(&b->lock);
    b->common.failures = 0; /* of the login before */
    b->common.retry_at_ns = 0;
    pthread_mutex_unlock(&b->lock);
    return true;
}

const struct endpoint *broker_proven_endpoint(struct broker *b)
{
    const struct broker_login *l = b->login;

    pthread_mutex_lock(&b->lock);
    unsigned proven = b->proven;
    pthread_mutex_unlock(&b->lock);
    while (l->number > proven && l->before != NULL)
        l = l->before;
    return &l->endpoint;
}

/* How soon to look again whether the connection that a trial before brought has made one leave. */
enum { TRIAL_ROOM_MS = 100 };

/* Under the lock.  Without connections whoever waits has the login tried. */
static enum broker_room find_trial(struct broker *b, int64_t now_ns, int64_t *at_ns)
{
    struct db_session *s = &b->common;

    if (b->closing || b->retired || b->proven == b->login->number || s->connections == 0)
        return BROKER_NO_NEED;
    if (now_ns < s->retry_at_ns) {
        *at_ns = s->retry_at_ns;
        return BROKER_NOT_YET;
    }
    if (b->total > (uint64_t)b->service.pool.max_connections) {
        *at_ns = now_ns + (int64_t)TRIAL_ROOM_MS * NS_PER_MS;
        return BROKER_NOT_YET;
    }
    b->total++;
    b->pending++;
    s->pending++;
    return BROKER_ROOM;
}

enum broker_room broker_begin_trial(struct broker *b, int64_t now_ns, int64_t *at_ns)
{
    pthread_mutex_lock(&b->lock);
    enum broker_room answer = find_trial(b, now_ns, at_ns);
    pthread_mutex_unlock(&b->lock);
    return answer;
}
