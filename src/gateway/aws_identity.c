#include "gateway/aws_identity.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "gateway/upstream.h"

enum { KONG_TEXT_BYTES = 256, NS_PER_MS = 1000000, TAGS_MAX = 50, ENDPOINT_MAX_BYTES = 64 * 1024 };

static const struct fault aws_identity_no_region = {
    "aws_region_unknown",
    "the AWS region is not known: neither host name, setting, environment nor profile says it, and "
    "neither ECS nor the instance's metadata; write iam_auth: {region: …}",
    NULL, 503};

/* ---- Requests ---- */

/* What a request points at. */
struct session_asked {
    struct aws_session_request request;
    struct sts_endpoint endpoint;
    struct sts_tag tags[TAGS_MAX];
    struct arena arena; /* of the endpoint */
};

struct view aws_identity_region(const struct control *c, const struct endpoint *e)
{
    if (e->iam_auth.region.len > 0)
        return e->iam_auth.region;
    /* A hint is another service's region. */
    return c->chain != NULL && c->aws_discovers ? view_str(chain_region(c->chain))
                                                : (struct view){NULL, 0};
}

static void fill_tags(struct session_asked *a, const struct iam_auth *iam,
                      const struct db_session_identity *session)
{
    for (size_t i = 0; i < iam->tag_count && i < TAGS_MAX; i++) {
        a->tags[i] = (struct sts_tag){
            .key = iam->tags[i].key,
            .value = session != NULL && i < session->tag_count ? session->tag_values[i]
                                                               : iam->tags[i].value,
            .transitive = iam->tags[i].transitive,
        };
    }
    a->request.tags = a->tags;
    a->request.tag_count = iam->tag_count < TAGS_MAX ? iam->tag_count : TAGS_MAX;
}

static void fill_caller(struct aws_session_request *r, const struct iam_auth *iam,
                        const struct db_session_identity *session)
{
    if (session != NULL) {
        r->session_name = session->name;
        r->source_identity = session->source_identity;
        r->web_identity = iam->web_identity == WEB_IDENTITY_CALLER;
        r->web_identity_token = session->web_identity_token;
        r->caller_key = session->key;
        r->max_sessions = iam->max_sessions > 0 ? (size_t)iam->max_sessions : 1;
        return;
    }
    r->session_name = iam->role_session_name.len > 0 ? iam->role_session_name
                                                     : VIEW(AWS_SESSION_CHAIN_NAME);
    if (iam->source_identity.len > 0)
        r->source_identity = iam->source_identity;
}

/* End it with arena_clear. */
static err ask(const struct control *c, const struct endpoint *e,
               const struct db_session_identity *session, struct session_asked *a)
{
    const struct aws_plan *plan = chain_plan(c->chain);
    const struct iam_auth *iam = &e->iam_auth;

    *a = (struct session_asked){
        .request = {
            .roles = iam->assume_role_arn.items,
            .role_count = iam->assume_role_arn.count,
            .external_id = iam->external_id,
            .duration_s = iam->session_duration_s,
            .policy = iam->policy,
            .policy_arns = iam->policy_arns.items,
            .policy_arn_count = iam->policy_arns.count,
            .endpoint = &a->endpoint,
            .ca_file = plan->ca_file,
        },
    };
    arena_init(&a->arena, 512, ENDPOINT_MAX_BYTES);
    fill_tags(a, iam, session);
    fill_caller(&a->request, iam, session);
    return sts_endpoint_choose(&iam->sts_endpoint_url, 1, aws_identity_region(c, e),
                               &plan->sts_place, &a->arena, &a->endpoint);
}

static bool assumes_role(const struct endpoint *e)
{
    return e->iam_auth.enabled && e->iam_auth.assume_role_arn.count > 0;
}

/* ---- Pins ---- */

/* The service's own session; of sessions per caller the roles before the last, whose sessions all
 * callers share; with the caller's own token there is nothing to obtain ahead. */
static void pin(struct control *c, const struct endpoint *e)
{
    const bool per_caller = e->iam_auth.per_caller;
    struct session_asked a;

    if (!assumes_role(e) || e->iam_auth.web_identity == WEB_IDENTITY_CALLER ||
        aws_identity_region(c, e).len == 0 || (per_caller && e->iam_auth.assume_role_arn.count < 2))
        return;
    err why = ask(c, e, NULL, &a);
    if (per_caller) {
        a.request = (struct aws_session_request){
            .roles = a.request.roles,
            .role_count = a.request.role_count - 1,
            .session_name = VIEW(AWS_SESSION_CHAIN_NAME),
            .endpoint = &a.endpoint,
            .ca_file = a.request.ca_file,
        };
    }
    if (!failed(why))
        why = aws_sessions_pin(c->sessions, &a.request);
    if (failed(why))
        log_error("aws_session_unusable", "a service's AWS session cannot be obtained",
                  LOG_VIEW("endpoint", e->host), LOG_STR("reason", why.fault->text));
    arena_clear(&a.arena);
}

static void pin_sessions(struct control *c)
{
    aws_sessions_unpin_all(c->sessions);
    for (size_t i = 0; c->snapshot != NULL && i < c->snapshot->entities.service_count; i++) {
        const struct service *service = &c->snapshot->entities.services[i];
        pin(c, &service->primary);
        if (service->has_read)
            pin(c, &service->read);
    }
}

/* ---- The clockwork ---- */

static void tick(struct control *c);

static void on_timer(uv_timer_t *timer)
{
    tick(timer->data);
}

/* Not in this very turn of the loop, so that a chain of news does not keep it from turning. */
static void arm(struct control *c, int64_t due_ms)
{
    int64_t now_ms = time_monotonic_ns() / NS_PER_MS;

    c->aws_due_ms = due_ms;
    uv_update_time(&c->loop);
    uv_timer_start(&c->aws, on_timer, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 1, 0);
}

static void tick(struct control *c)
{
    struct chain_status status;

    if (c->stopping || c->chain == NULL)
        return;
    int64_t next_ms = chain_tick(c->chain);
    if (c->sessions != NULL) {
        chain_status(c->chain, &status);
        bool region_known = chain_region(c->chain)[0] != '\0';
        /* A plan made anew, or a region found, may lead to another endpoint. */
        if (status.refreshed_us != c->aws_pinned_us || region_known != c->aws_region_known)
            pin_sessions(c);
        c->aws_pinned_us = status.refreshed_us;
        c->aws_region_known = region_known;
        int64_t sessions_ms = aws_sessions_tick(c->sessions);
        if (sessions_ms < next_ms)
            next_ms = sessions_ms;
    }
    arm(c, next_ms);
    upstreams_pump(c);
    secrets_tick(c);
}

/* From the loop's next turn, for the chain or the sessions may be in the middle of their work. */
static void wake(void *arg)
{
    struct control *c = arg;

    if (c->stopping)
        return;
    c->aws_due_ms = INT64_MIN;
    uv_timer_start(&c->aws, on_timer, 0, 0);
}

void aws_identity_init(struct control *c)
{
    ENSURE(uv_timer_init(&c->loop, &c->aws) == 0);
    c->aws.data = c;
    c->credentials_error = fail(&aws_credentials_waiting);
}

/* What the services that log in by IAM have in common, so far as it concerns the chain. */
struct iam_wants {
    const struct endpoint *first; /* NULL: none logs in by IAM */
    bool lacks_region;            /* one of them names no region, nor does its host */
};

static void add_wants(struct iam_wants *w, const struct endpoint *e)
{
    if (!e->iam_auth.enabled)
        return;
    if (w->first == NULL)
        w->first = e;
    w->lacks_region |= e->iam_auth.region.len == 0;
}

static struct iam_wants wants_of(const struct snapshot *s)
{
    struct iam_wants w = {NULL, false};

    for (size_t i = 0; i < s->entities.service_count; i++) {
        const struct service *service = &s->entities.services[i];
        add_wants(&w, &service->primary);
        if (service->has_read)
            add_wants(&w, &service->read);
    }
    return w;
}

static void say_of_kong(const struct control *c)
{
    char text[KONG_TEXT_BYTES];

    chain_kong_difference(c->chain, text, sizeof text);
    if (text[0] != '\0')
        log_warn("aws_source_differs", text,
                 LOG_STR("source", aws_source_name(chain_plan(c->chain)->source)));
}

static void begin(struct control *c, struct view region_hint)
{
    const struct chain_options options = {
        .fetcher = net_fetcher_base(c->fetcher),
        .runner = net_runner_base(c->runner),
        .clock = &system_clock,
        .lookup = getenv,
        .region_hint = region_hint,
        .discover_region = region_hint.len == 0,
        .name_caller = true,
        .wake = wake,
        .wake_arg = c,
    };
    c->aws_discovers = options.discover_region;
    c->credentials_error = chain_new(&options, &c->chain);
    if (failed(c->credentials_error))
        return;
    c->credentials = chain_provider(c->chain);
    const struct aws_sessions_options of_sessions = {
        .fetcher = options.fetcher,
        .clock = &system_clock,
        .base = c->credentials,
        .wake = wake,
        .wake_arg = c,
    };
    c->credentials_error = aws_sessions_new(&of_sessions, &c->sessions);
    chain_tick(c->chain); /* makes the plan, which says where STS is */
    say_of_kong(c);
}

void aws_identity_wanted(struct control *c)
{
    const struct iam_wants w = wants_of(c->snapshot);

    if (w.first != NULL && c->chain == NULL)
        begin(c, w.lacks_region ? (struct view){NULL, 0} : w.first->iam_auth.region);
    if (c->chain != NULL && w.lacks_region && !c->aws_discovers) {
        /* A service of this configuration is the first to need it. */
        chain_discover_region(c->chain);
        c->aws_discovers = true;
    }
    if (c->sessions != NULL)
        pin_sessions(c);
    tick(c);
}

err aws_identity_need(struct control *c)
{
    if (c->chain == NULL) {
        begin(c, (struct view){NULL, 0}); /* which services there will be is not known yet */
        if (c->sessions != NULL)
            arm(c, time_monotonic_ns() / NS_PER_MS);
    }
    return c->sessions != NULL ? OK : c->credentials_error;
}

void aws_identity_asked(struct control *c)
{
    int64_t due_ms = aws_sessions_next_ms(c->sessions);

    if (due_ms < c->aws_due_ms)
        arm(c, due_ms);
}

bool aws_identity_is_awaited(const struct control *c)
{
    struct chain_status status;

    if (c->chain == NULL)
        return false;
    chain_status(c->chain, &status);
    return status.state == CHAIN_WAITING;
}

/* ---- Asked for ---- */

static enum aws_ready of_chain(struct control *c, const struct aws_credentials **out, err *why)
{
    if (aws_identity_is_awaited(c))
        return AWS_WAIT;
    *why = credentials_current(c->credentials, time_wall_us(), out);
    return failed(*why) ? AWS_FAILED : AWS_READY;
}

static enum aws_ready of_session(struct control *c, const struct endpoint *e,
                                 const struct db_session_identity *session,
                                 const struct aws_credentials **out, err *why,
                                 const char **detail)
{
    struct session_asked a;
    enum aws_ready ready = AWS_FAILED;

    *why = ask(c, e, session, &a);
    if (!failed(*why))
        ready = aws_sessions_get(c->sessions, &a.request, out, why, detail);
    arena_clear(&a.arena);
    aws_identity_asked(c);
    return ready;
}

enum aws_ready aws_identity_for(struct control *c, const struct endpoint *e,
                                const struct db_session_identity *session,
                                const struct aws_credentials **out, err *why, const char **detail)
{
    *out = NULL;
    *detail = "";
    *why = c->credentials_error;
    if (c->chain == NULL || c->sessions == NULL || c->stopping)
        return AWS_FAILED;
    *why = fail(&aws_identity_no_region);
    if (aws_identity_region(c, e).len == 0)
        return chain_region_awaited(c->chain) ? AWS_WAIT : AWS_FAILED;
    *why = fail(&aws_session_bad_request);
    if (e->iam_auth.per_caller && session == NULL)
        return AWS_FAILED;
    return assumes_role(e) ? of_session(c, e, session, out, why, detail) : of_chain(c, out, why);
}

struct aws_session *aws_identity_hold(struct control *c, const struct endpoint *e,
                                      const struct db_session_identity *session)
{
    struct session_asked a;
    struct aws_session *held = NULL;

    if (c->sessions == NULL || !assumes_role(e) || (e->iam_auth.per_caller && session == NULL))
        return NULL;
    if (!failed(ask(c, e, session, &a)))
        held = aws_sessions_hold(c->sessions, &a.request);
    arena_clear(&a.arena);
    return held;
}

void aws_identity_release(struct control *c, struct aws_session *held)
{
    if (c->sessions != NULL)
        aws_sessions_release(c->sessions, held);
}

void aws_identity_close_handles(struct control *c)
{
    uv_close((uv_handle_t *)&c->aws, NULL);
    /* Before the fetcher ends what is in flight: nothing new may start from its answers. */
    aws_sessions_free(c->sessions);
    c->sessions = NULL;
    chain_stop(c->chain);
}

void aws_identity_free(struct control *c)
{
    chain_free(c->chain);
    c->chain = NULL;
    c->credentials = NULL;
}
