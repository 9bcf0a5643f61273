#include "cli/store_identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "aws/chain.h"
#include "base/log.h"
#include "base/time.h"
#include "net/fetch.h"
#include "net/run.h"

enum { ENDPOINT_BLOCK_BYTES = 512, ENDPOINT_MAX_BYTES = 64 * 1024, HINT_BYTES = 64 };

struct store_identity {
    uv_loop_t loop;
    struct net_fetcher *fetcher;
    struct net_runner *runner;
    struct credential_chain *chain;
    struct aws_sessions *sessions;
    char hint[HINT_BYTES];
    int64_t due_ms;
    bool news;
};

static int64_t now_ms(void)
{
    return time_monotonic_ns() / 1000000;
}

static void on_news(void *arg)
{
    ((struct store_identity *)arg)->news = true;
}

err store_identity_new(struct view region_hint, struct store_identity **out)
{
    struct store_identity *x = calloc(1, sizeof *x);

    *out = NULL;
    if (x == NULL)
        return fail(&fault_out_of_memory);
    snprintf(x->hint, sizeof x->hint, "%.*s", VIEW_ARG(region_hint));
    ENSURE(uv_loop_init(&x->loop) == 0);
    x->fetcher = net_fetcher_new(&x->loop);
    x->runner = net_runner_new(&x->loop);
    ENSURE(x->fetcher != NULL && x->runner != NULL);
    const struct chain_options chain = {
        .fetcher = net_fetcher_base(x->fetcher),
        .runner = net_runner_base(x->runner),
        .clock = &system_clock,
        .lookup = getenv,
        .region_hint = view_str(x->hint),
        .discover_region = true,
        .wake = on_news,
        .wake_arg = x,
    };
    err e = chain_new(&chain, &x->chain);
    const struct aws_sessions_options sessions = {
        .fetcher = net_fetcher_base(x->fetcher),
        .clock = &system_clock,
        .base = failed(e) ? NULL : chain_provider(x->chain),
        .wake = on_news,
        .wake_arg = x,
    };
    if (!failed(e))
        e = aws_sessions_new(&sessions, &x->sessions);
    if (failed(e)) {
        store_identity_free(x);
        return e;
    }
    store_identity_turn(x);
    *out = x;
    return OK;
}

static void on_closed(void *arg)
{
    (void)arg;
}

void store_identity_free(struct store_identity *x)
{
    if (x == NULL)
        return;
    aws_sessions_free(x->sessions);
    if (x->chain != NULL)
        chain_stop(x->chain);
    net_fetcher_close(x->fetcher, on_closed, NULL);
    net_runner_close(x->runner, on_closed, NULL);
    while (uv_run(&x->loop, UV_RUN_DEFAULT) != 0)
        continue;
    chain_free(x->chain);
    ENSURE(uv_loop_close(&x->loop) == 0);
    free(x);
}

bool store_identity_fits(const struct store_identity *x, const struct pg_settings *pg)
{
    struct view region = store_region(pg);

    return view_eq(view_str(x->hint), region.len > 0 ? region : VIEW(""));
}

int store_identity_fd(const struct store_identity *x)
{
    return uv_backend_fd(&x->loop);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t store_identity_turn(struct store_identity *x)
{
    uv_run(&x->loop, UV_RUN_NOWAIT);
    if (x->news || now_ms() >= sooner(x->due_ms, aws_sessions_next_ms(x->sessions))) {
        x->news = false;
        x->due_ms = chain_tick(x->chain);
        aws_sessions_tick(x->sessions);
        uv_run(&x->loop, UV_RUN_NOWAIT); /* what was begun is watched by the descriptor from now */
    }
    if (x->news)
        return now_ms();
    /* Of a loop with nothing to do libuv says 0: not to wait. */
    int wait_ms = uv_loop_alive(&x->loop) ? uv_backend_timeout(&x->loop) : -1;
    int64_t due_ms = sooner(x->due_ms, aws_sessions_next_ms(x->sessions));
    return wait_ms >= 0 ? sooner(now_ms() + wait_ms, due_ms) : due_ms;
}

void store_identity_unpin(struct store_identity *x)
{
    aws_sessions_unpin_all(x->sessions);
}

struct view store_identity_region(const struct store_identity *x)
{
    return view_str(chain_region(x->chain));
}

/* Credentials that cannot be had now are a login that cannot be made now, as a refused one is: the
 * configuration read last goes on serving.  A source that is set up wrongly is a mistake. */
static enum aws_ready not_now(err cause, const char *detail, err *e, struct store_why *why)
{
    snprintf(why->text, sizeof why->text, "%s%s%s", cause.fault->text,
             detail[0] != '\0' ? ": " : "", detail);
    *e = fail(&store_unreachable);
    return AWS_FAILED;
}

static enum aws_ready get_base(struct store_identity *x, const struct aws_credentials **out,
                               err *e, struct store_why *why)
{
    struct chain_status s;

    chain_status(x->chain, &s);
    bool ready = s.state == CHAIN_READY || s.state == CHAIN_STALE;
    if (s.state == CHAIN_WAITING || (ready && chain_region_awaited(x->chain)))
        return AWS_WAIT;
    const struct aws_plan *plan = chain_plan(x->chain);
    if (!ready && plan->verdicts[plan->source].kind == AWS_VERDICT_CHOSEN)
        return not_now(s.last_error, s.detail, e, why);
    if (!ready) {
        snprintf(why->text, sizeof why->text, "%s", s.detail);
        *e = s.last_error;
        return AWS_FAILED;
    }
    *e = credentials_current(chain_provider(x->chain), time_wall_us(), out);
    return failed(*e) ? not_now(*e, "", e, why) : AWS_READY;
}

static err ask_session(struct store_identity *x, const struct pg_settings *pg, struct arena *arena,
                       const struct aws_credentials **out, enum aws_ready *ready, err *cause,
                       const char **detail)
{
    const struct aws_plan *plan = chain_plan(x->chain);
    struct sts_endpoint sts;

    TRY(sts_endpoint_choose(&pg->iam_auth_sts_endpoint_url, 1, store_identity_region(x),
                            &plan->sts_place, arena, &sts));
    struct aws_session_request request = {
        .roles = &pg->iam_auth_assume_role_arn,
        .role_count = 1,
        .session_name = pg->iam_auth_role_session_name,
        .endpoint = &sts,
        .ca_file = plan->ca_file,
    };
    TRY(aws_sessions_pin(x->sessions, &request)); /* kept fresh from now on */
    *ready = aws_sessions_get(x->sessions, &request, out, cause, detail);
    return OK;
}

enum aws_ready store_identity_get(struct store_identity *x, const struct pg_settings *pg,
                                  const struct aws_credentials **out, err *e,
                                  struct store_why *why)
{
    enum aws_ready ready = get_base(x, out, e, why);
    struct arena arena;
    const char *detail = "";
    err cause = OK;

    if (ready != AWS_READY || pg->iam_auth_assume_role_arn.len == 0)
        return ready;
    arena_init(&arena, ENDPOINT_BLOCK_BYTES, ENDPOINT_MAX_BYTES);
    *e = ask_session(x, pg, &arena, out, &ready, &cause, &detail);
    arena_clear(&arena);
    if (failed(*e))
        return AWS_FAILED;
    return ready == AWS_FAILED ? not_now(cause, detail, e, why) : ready;
}
