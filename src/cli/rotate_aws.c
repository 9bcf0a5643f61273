#include "cli/rotate_aws.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/random.h"

static void on_news(void *arg)
{
    uv_stop(&((struct rotate_aws *)arg)->loop);
}

static void keep_detail(struct rotate_aws *a, const char *detail)
{
    snprintf(a->detail, sizeof a->detail, "%s", detail != NULL ? detail : "");
}

/* ---- Where ---- */

/* arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME */
static struct view region_of_arn(struct view id)
{
    struct view word = {NULL, 0};

    if (!view_starts_with(id, VIEW("arn:")))
        return word;
    for (int i = 0; i < 4; i++)
        id = view_cut(id, ':', &word);
    return word;
}

static bool is_true(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && view_eq_nocase(view_str(value), VIEW("true"));
}

/* "Service-specific endpoints" of the AWS SDKs and Tools reference guide. */
static struct view url_of_environment(void)
{
    static const char *const names[] = {"AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0' && !is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
            return view_str(value);
    }
    return (struct view){NULL, 0};
}

static err find_endpoint(struct rotate_aws *a, const struct rotate_aws_options *o)
{
    struct view region = o->region, url = o->endpoint_url;

    if (region.len == 0)
        region = region_of_arn(o->secret_id);
    if (region.len == 0 && o->vault != NULL)
        region = o->vault->aws.region;
    if (region.len == 0)
        region = chain_plan(a->chain)->region;
    if (url.len == 0 && o->vault != NULL)
        url = o->vault->aws.endpoint_url;
    if (url.len == 0)
        url = url_of_environment();
    const struct sm_place place = {
        .custom_url = url,
        .region = arena_copy(&a->arena, region),
        .fips = is_true("AWS_USE_FIPS_ENDPOINT"),
        .dual_stack = is_true("AWS_USE_DUALSTACK_ENDPOINT"),
    };
    return sm_endpoint_make(&place, &a->arena, &a->endpoint);
}

/* ---- Who ---- */

/* Where this says it, nobody is asked for a region. */
static struct view region_hint(const struct rotate_aws_options *o)
{
    struct view region = o->region.len > 0 ? o->region : region_of_arn(o->secret_id);

    return region.len > 0 || o->vault == NULL ? region : o->vault->aws.region;
}

static err find_credentials(struct rotate_aws *a, const struct rotate_aws_options *o)
{
    const struct chain_options options = {
        .fetcher = net_fetcher_base(a->fetcher),
        .clock = &system_clock,
        .runner = net_runner_base(a->runner),
        .lookup = getenv,
        .region_hint = region_hint(o),
        .discover_region = true,
        .wake = on_news,
        .wake_arg = a,
    };
    struct chain_status s;

    TRY(chain_new(&options, &a->chain));
    chain_tick(a->chain);
    chain_status(a->chain, &s);
    while (s.state == CHAIN_WAITING) { /* one attempt, whose exchanges have their own time limits */
        uv_run(&a->loop, UV_RUN_DEFAULT);
        chain_status(a->chain, &s);
    }
    keep_detail(a, s.detail);
    return s.state == CHAIN_READY ? OK : s.last_error;
}

static err begin_sessions(struct rotate_aws *a)
{
    const struct aws_sessions_options options = {
        .fetcher = net_fetcher_base(a->fetcher),
        .clock = &system_clock,
        .base = chain_provider(a->chain),
        .wake = on_news,
        .wake_arg = a,
    };
    const struct view custom[] = {a->vault->aws.sts_endpoint_url};
    struct sts_place place = chain_plan(a->chain)->sts_place;

    /* The plan's texts live until the chain's next tick, the endpoint's until the end. */
    place.custom_url = arena_copy(&a->arena, place.custom_url);
    place.region = arena_copy(&a->arena, place.region);
    TRY(sts_endpoint_choose(custom, COUNT_OF(custom), a->vault->aws.region, &place, &a->arena,
                            &a->sts));
    return aws_sessions_new(&options, &a->sessions);
}

/* What signs: the vault's role, which the chain's credentials assume, or these themselves. */
static err find_signer(struct rotate_aws *a, int64_t now_us, const struct aws_credentials **out)
{
    const char *detail = "";
    err why = OK;
    enum aws_ready ready;

    if (a->sessions == NULL)
        return credentials_current(chain_provider(a->chain), now_us, out);
    const struct aws_session_request request = {
        .roles = &a->vault->aws.assume_role_arn,
        .role_count = 1,
        .session_name = a->vault->aws.role_session_name,
        .endpoint = &a->sts,
        .ca_file = chain_plan(a->chain)->ca_file,
    };
    while ((ready = aws_sessions_get(a->sessions, &request, out, &why, &detail)) == AWS_WAIT) {
        (void)aws_sessions_tick(a->sessions);
        uv_run(&a->loop, UV_RUN_DEFAULT);
    }
    keep_detail(a, ready == AWS_FAILED ? detail : "");
    return ready == AWS_FAILED ? why : OK;
}

err rotate_aws_open(struct rotate_aws *a, const struct rotate_aws_options *o)
{
    a->vault = o->vault;
    arena_init(&a->arena, 4096, 1 << 20);
    ENSURE(uv_loop_init(&a->loop) == 0);
    a->fetcher = net_fetcher_new(&a->loop);
    a->runner = net_runner_new(&a->loop);
    if (a->fetcher == NULL || a->runner == NULL)
        return fail(&fault_out_of_memory);
    TRY(find_credentials(a, o));
    a->detail[0] = '\0';
    if (o->vault != NULL && o->vault->aws.assume_role_arn.len > 0)
        TRY(begin_sessions(a));
    return find_endpoint(a, o);
}

static void on_fetcher_closed(void *arg)
{
    (void)arg;
}

void rotate_aws_close(struct rotate_aws *a)
{
    aws_sessions_free(a->sessions);
    chain_stop(a->chain);
    if (a->runner != NULL)
        net_runner_close(a->runner, NULL, NULL);
    if (a->fetcher != NULL)
        net_fetcher_close(a->fetcher, on_fetcher_closed, NULL);
    while (uv_run(&a->loop, UV_RUN_DEFAULT) != 0)
        continue; /* a uv_stop from before was still waiting */
    chain_free(a->chain);
    ENSURE(uv_loop_close(&a->loop) == 0);
    arena_clear(&a->arena);
}

/* ---- A question ---- */

static void on_answer(void *arg, err e, const char *detail, const struct sm_answer *answer)
{
    struct rotate_aws *a = arg;

    keep_detail(a, detail);
    if (!failed(e) && a->take != NULL)
        a->take(a->take_arg, answer);
    a->answer = e;
    a->answered = true;
    uv_stop(&a->loop);
}

static err ask_once(struct rotate_aws *a, const struct sm_call *call)
{
    const struct aws_plan *plan = chain_plan(a->chain);
    struct sm_options o = {
        .fetcher = net_fetcher_base(a->fetcher),
        .endpoint = &a->endpoint,
        .ca_file = plan->ca_file,
        .now_us = time_wall_us(),
    };

    chain_tick(a->chain);
    TRY(find_signer(a, o.now_us, &o.credentials));
    a->answered = false;
    TRY(sm_start(&o, call, on_answer, a, &a->exchange));
    while (!a->answered)
        uv_run(&a->loop, UV_RUN_DEFAULT);
    return a->answer;
}

err rotate_aws_ask(struct rotate_aws *a, const struct sm_call *call,
                   void (*take)(void *arg, const struct sm_answer *answer), void *arg)
{
    err e = OK;

    a->take = take;
    a->take_arg = arg;
    for (int i = 0; i < ROTATE_ATTEMPTS; i++) {
        if (i > 0) /* full jitter: "Exponential backoff and jitter", AWS Architecture Blog */
            poll(NULL, 0, (int)random_below((uint64_t)ROTATE_PAUSE_FIRST_MS << i) + 1);
        e = ask_once(a, call);
        if (!failed(e) || !sm_is_transient(e))
            break;
    }
    return e;
}
