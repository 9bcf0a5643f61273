#include "cli/store_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "aws/chain.h"
#include "aws/sessions.h"
#include "base/log.h"
#include "base/time.h"
#include "net/fetch.h"
#include "net/run.h"

enum { ENDPOINT_BLOCK_BYTES = 512, ENDPOINT_MAX_BYTES = 64 * 1024 };

/* AWS, asked from a loop of the command's own. */
struct aws_errand {
    const struct pg_settings *pg;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_poll_t cancel; /* open when there is a descriptor that cancels */
    bool cancellable;
    bool cancelled;
    struct net_fetcher *fetcher;
    struct net_runner *runner;
    struct credential_chain *chain;
    struct aws_sessions *sessions;
    struct arena arena;
    struct sts_endpoint sts;
};

int cli_store_complain(err e, const struct store_why *why)
{
    fprintf(stderr, "Error: %s%s%s\n", e.fault->text, why->text[0] != '\0' ? ": " : "", why->text);
    return 1;
}

static void on_news(void *arg)
{
    uv_stop(&((struct aws_errand *)arg)->loop);
}

static void on_timer(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void on_cancel(uv_poll_t *cancel, int status, int events)
{
    struct aws_errand *x = cancel->data;

    (void)status;
    (void)events;
    x->cancelled = true;
    uv_poll_stop(cancel);
    uv_stop(&x->loop);
}

/* Until something has come, or the time to look again has. */
static void turn(struct aws_errand *x, int64_t due_ms)
{
    int64_t now_ms = time_monotonic_ns() / 1000000;

    uv_update_time(&x->loop);
    uv_timer_start(&x->timer, on_timer, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 1, 0);
    uv_run(&x->loop, UV_RUN_DEFAULT);
}

/* Credentials that cannot be had now are a login that cannot be made now, as a refused one is: the
 * configuration read last goes on serving.  A source that is set up wrongly is a mistake. */
static err not_now(err e, const char *detail, struct store_why *why)
{
    snprintf(why->text, sizeof why->text, "%s%s%s", e.fault->text, detail[0] != '\0' ? ": " : "",
             detail);
    return fail(&store_unreachable);
}

static err find_base(struct aws_errand *x, const struct aws_credentials **out,
                     struct store_why *why)
{
    struct chain_status s;
    const struct chain_options options = {
        .fetcher = net_fetcher_base(x->fetcher),
        .runner = net_runner_base(x->runner),
        .clock = &system_clock,
        .lookup = getenv,
        .region_hint = store_region(x->pg),
        .discover_region = true,
        .wake = on_news,
        .wake_arg = x,
    };

    TRY(chain_new(&options, &x->chain));
    int64_t due_ms = chain_tick(x->chain);
    chain_status(x->chain, &s);
    /* One attempt, whose exchanges have their own time limits. */
    while (!x->cancelled && (s.state == CHAIN_WAITING ||
                             (s.state == CHAIN_READY && chain_region_awaited(x->chain)))) {
        turn(x, due_ms);
        due_ms = chain_tick(x->chain);
        chain_status(x->chain, &s);
    }
    if (x->cancelled)
        return fail(&store_unreachable);
    const struct aws_plan *plan = chain_plan(x->chain);
    if (s.state != CHAIN_READY && plan->verdicts[plan->source].kind == AWS_VERDICT_CHOSEN)
        return not_now(s.last_error, s.detail, why);
    if (s.state != CHAIN_READY) {
        snprintf(why->text, sizeof why->text, "%s", s.detail);
        return s.last_error;
    }
    return credentials_current(chain_provider(x->chain), time_wall_us(), out);
}

static err assume(struct aws_errand *x, const struct aws_credentials **out, struct store_why *why)
{
    const struct aws_plan *plan = chain_plan(x->chain);
    struct aws_session_request request = {
        .roles = &x->pg->iam_auth_assume_role_arn,
        .role_count = 1,
        .session_name = x->pg->iam_auth_role_session_name,
        .endpoint = &x->sts,
        .ca_file = plan->ca_file,
    };
    const struct aws_sessions_options options = {
        .fetcher = net_fetcher_base(x->fetcher),
        .clock = &system_clock,
        .base = chain_provider(x->chain),
        .wake = on_news,
        .wake_arg = x,
    };
    const char *detail = "";
    err e = OK;

    TRY(sts_endpoint_choose(&x->pg->iam_auth_sts_endpoint_url, 1,
                            view_str(chain_region(x->chain)), &plan->sts_place, &x->arena,
                            &x->sts));
    TRY(aws_sessions_new(&options, &x->sessions));
    for (;;) {
        enum aws_ready ready = aws_sessions_get(x->sessions, &request, out, &e, &detail);
        if (ready == AWS_READY)
            return OK;
        if (ready == AWS_FAILED)
            return not_now(e, detail, why);
        int64_t due_ms = aws_sessions_tick(x->sessions);
        turn(x, due_ms);
        if (x->cancelled)
            return fail(&store_unreachable);
    }
}

static void on_closed(void *arg)
{
    (void)arg;
}

static void end_errand(struct aws_errand *x)
{
    aws_sessions_free(x->sessions);
    chain_stop(x->chain);
    net_fetcher_close(x->fetcher, on_closed, NULL);
    net_runner_close(x->runner, on_closed, NULL);
    uv_close((uv_handle_t *)&x->timer, NULL);
    if (x->cancellable)
        uv_close((uv_handle_t *)&x->cancel, NULL);
    while (uv_run(&x->loop, UV_RUN_DEFAULT) != 0)
        continue; /* a uv_stop from before was still waiting */
    chain_free(x->chain);
    arena_clear(&x->arena);
    ENSURE(uv_loop_close(&x->loop) == 0);
}

/* The connection is made while the credentials are at hand: the token is minted in it. */
static err open_by_iam(struct store_login *login, struct store **out, struct store_why *why)
{
    struct aws_errand x = {.pg = login->pg};

    arena_init(&x.arena, ENDPOINT_BLOCK_BYTES, ENDPOINT_MAX_BYTES);
    ENSURE(uv_loop_init(&x.loop) == 0 && uv_timer_init(&x.loop, &x.timer) == 0);
    x.cancellable = login->cancel_fd > 0;
    if (x.cancellable) {
        ENSURE(uv_poll_init(&x.loop, &x.cancel, login->cancel_fd) == 0);
        x.cancel.data = &x;
        ENSURE(uv_poll_start(&x.cancel, UV_READABLE, on_cancel) == 0);
    }
    x.fetcher = net_fetcher_new(&x.loop);
    x.runner = net_runner_new(&x.loop);
    ENSURE(x.fetcher != NULL && x.runner != NULL);
    err e = find_base(&x, &login->credentials, why);
    if (!failed(e) && login->pg->iam_auth_assume_role_arn.len > 0)
        e = assume(&x, &login->credentials, why);
    if (!failed(e)) {
        login->region = view_str(chain_region(x.chain));
        e = store_open(login, out, why);
    }
    end_errand(&x);
    return e;
}

static bool is_off(const struct node_config *node)
{
    for (size_t i = 0; i < node->origin_count; i++) {
        if (strcmp(node->origins[i].property, "database") == 0)
            return node->origins[i].kind != ORIGIN_DEFAULT && view_is(node->database, "off");
    }
    return false;
}

err cli_store_connect(const struct node_config *node, const struct pg_settings *pg, int cancel_fd,
                      struct store **out, struct store_why *why)
{
    struct store_login login = {.node = node, .pg = pg, .cancel_fd = cancel_fd};

    *out = NULL;
    *why = (struct store_why){""};
    return pg->iam_auth ? open_by_iam(&login, out, why) : store_open(&login, out, why);
}

struct store *cli_store_open(const struct node_config *node, int64_t db_timeout_s)
{
    struct pg_settings pg = node->pg;
    struct store_why why = {""};
    struct store *s = NULL;

    if (is_off(node)) {
        fputs("Error: database = off: there is no database to work on\n", stderr);
        return NULL;
    }
    log_set_level(LOG_ERROR); /* what fails is said by the command */
    if (db_timeout_s > 0)
        pg.timeout_ms = db_timeout_s * 1000;
    store_forget_environment();
    err e = cli_store_connect(node, &pg, 0, &s, &why);
    if (failed(e))
        cli_store_complain(e, &why);
    return s;
}
