#include "gateway/aws_identity.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "gateway/upstream.h"

enum { KONG_TEXT_BYTES = 256, NS_PER_MS = 1000000 };

static void tick(struct control *c);

static void on_timer(uv_timer_t *timer)
{
    tick(timer->data);
}

static void tick(struct control *c)
{
    if (c->stopping || c->chain == NULL)
        return;
    int64_t next_ms = chain_tick(c->chain), now_ms = time_monotonic_ns() / NS_PER_MS;
    uv_update_time(&c->loop);
    uv_timer_start(&c->aws, on_timer, next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 1, 0);
    upstreams_pump(c);
}

/* From the loop's next turn, for the chain may be in the middle of its own work. */
static void wake(void *arg)
{
    struct control *c = arg;

    if (!c->stopping)
        uv_timer_start(&c->aws, on_timer, 0, 0);
}

void aws_identity_init(struct control *c)
{
    ENSURE(uv_timer_init(&c->loop, &c->aws) == 0);
    c->aws.data = c;
    c->credentials_error = fail(&aws_credentials_waiting);
}

/* The first service that logs in by IAM; NULL when there is none. */
static const struct endpoint *iam_endpoint(const struct snapshot *s)
{
    for (size_t i = 0; i < s->entities.service_count; i++) {
        const struct service *service = &s->entities.services[i];
        if (service->primary.iam_auth.enabled)
            return &service->primary;
        if (service->has_read && service->read.iam_auth.enabled)
            return &service->read;
    }
    return NULL;
}

static void say_of_kong(const struct control *c)
{
    char text[KONG_TEXT_BYTES];

    chain_kong_difference(c->chain, text, sizeof text);
    if (text[0] != '\0')
        log_warn("aws_source_differs", text,
                 LOG_STR("source", aws_source_name(chain_plan(c->chain)->source)));
}

void aws_identity_wanted(struct control *c)
{
    const struct endpoint *e = iam_endpoint(c->snapshot);

    if (e == NULL || c->chain != NULL)
        return;
    const struct chain_options options = {
        .fetcher = net_fetcher_base(c->fetcher),
        .clock = &system_clock,
        .lookup = getenv,
        .region_hint = e->iam_auth.region,
        .wake = wake,
        .wake_arg = c,
    };
    c->credentials_error = chain_new(&options, &c->chain);
    if (failed(c->credentials_error))
        return;
    c->credentials = chain_provider(c->chain);
    tick(c);
    say_of_kong(c);
}

bool aws_identity_is_awaited(const struct control *c)
{
    struct chain_status status;

    if (c->chain == NULL)
        return false;
    chain_status(c->chain, &status);
    return status.state == CHAIN_WAITING;
}

enum aws_ready aws_identity_for(struct control *c, const struct endpoint *e,
                                const struct db_session_identity *session,
                                const struct aws_credentials **out, err *why, const char **detail)
{
    (void)e;
    (void)session;
    *out = NULL;
    *detail = "";
    if (aws_identity_is_awaited(c))
        return AWS_WAIT;
    *why = c->credentials == NULL ? c->credentials_error
                                  : credentials_current(c->credentials, time_wall_us(), out);
    return failed(*why) ? AWS_FAILED : AWS_READY;
}

struct aws_session *aws_identity_hold(struct control *c, const struct endpoint *e,
                                      const struct db_session_identity *session)
{
    (void)c;
    (void)e;
    (void)session;
    return NULL;
}

void aws_identity_release(struct control *c, struct aws_session *held)
{
    (void)c;
    (void)held;
}

void aws_identity_close_handles(struct control *c)
{
    uv_close((uv_handle_t *)&c->aws, NULL);
}

void aws_identity_free(struct control *c)
{
    chain_free(c->chain);
    c->chain = NULL;
    c->credentials = NULL;
}
