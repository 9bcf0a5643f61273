#include "cli/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/time.h"
#include "gateway/secret_host.h"
#include "gateway/snapshot.h"
#include "net/fetch.h"
#include "net/run.h"

enum { NS_PER_MS = 1000000 };

struct cli_secrets {
    struct secret_host host;
    struct secret_cache *cache;
    /* What is there once somebody wants a secret of AWS. */
    bool open;
    err broken; /* it could not be opened */
    uv_loop_t loop;
    uv_timer_t timer;
    uv_timer_t patience;
    struct net_fetcher *fetcher;
    struct net_runner *runner;
    struct credential_chain *chain;
    struct aws_sessions *sessions;
    bool news;
    bool over;
    /* The fetcher of the cache: opens the real one when it is first used. */
    struct fetcher lazy;
};

/* ---- The clockwork ---- */

static void tick(struct cli_secrets *s);

static void on_timer(uv_timer_t *timer)
{
    tick(timer->data);
}

static void tick(struct cli_secrets *s)
{
    int64_t next_ms = secret_cache_tick(s->cache);

    if (s->open) {
        int64_t chain_ms = chain_tick(s->chain), sessions_ms = aws_sessions_tick(s->sessions);
        next_ms = chain_ms < next_ms ? chain_ms : next_ms;
        next_ms = sessions_ms < next_ms ? sessions_ms : next_ms;
        int64_t now_ms = time_monotonic_ns() / NS_PER_MS;
        uv_update_time(&s->loop);
        uv_timer_start(&s->timer, on_timer,
                       next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 1, 0);
    }
}

/* Of the chain and the sessions: from the loop's next turn. */
static void wake(void *arg)
{
    struct cli_secrets *s = arg;

    uv_timer_start(&s->timer, on_timer, 0, 0);
}

static void on_news(void *arg)
{
    struct cli_secrets *s = arg;

    s->news = true;
    if (s->open)
        wake(s);
}

static void on_patience_over(uv_timer_t *timer)
{
    struct cli_secrets *s = timer->data;

    s->over = true;
    s->host.impatient = true;
}

static err open_chain(struct cli_secrets *s)
{
    const struct chain_options of_chain = {
        .fetcher = net_fetcher_base(s->fetcher),
        .runner = net_runner_base(s->runner),
        .clock = &system_clock,
        .lookup = getenv,
        .discover_region = true,
        .wake = wake,
        .wake_arg = s,
    };

    TRY(chain_new(&of_chain, &s->chain));
    const struct aws_sessions_options of_sessions = {
        .fetcher = of_chain.fetcher,
        .clock = &system_clock,
        .base = chain_provider(s->chain),
        .wake = wake,
        .wake_arg = s,
    };
    err e = aws_sessions_new(&of_sessions, &s->sessions);
    if (failed(e)) {
        chain_free(s->chain);
        s->chain = NULL;
    }
    return e;
}

static void on_fetcher_closed(void *arg)
{
    (void)arg; /* the loop that runs to its end is what waits for it */
}

static void close_loop(struct cli_secrets *s)
{
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_close((uv_handle_t *)&s->patience, NULL);
    net_fetcher_close(s->fetcher, on_fetcher_closed, NULL);
    net_runner_close(s->runner, NULL, NULL);
    while (uv_run(&s->loop, UV_RUN_DEFAULT) != 0)
        continue;
    ENSURE(uv_loop_close(&s->loop) == 0);
}

static err open_all(struct cli_secrets *s)
{
    if (s->open || failed(s->broken))
        return s->broken;
    s->broken = fail(&fault_out_of_memory);
    if (uv_loop_init(&s->loop) != 0)
        return s->broken;
    s->fetcher = net_fetcher_new(&s->loop);
    s->runner = net_runner_new(&s->loop);
    if (s->fetcher == NULL || s->runner == NULL)
        return s->broken; /* for the process's short life */
    uv_timer_init(&s->loop, &s->timer);
    uv_timer_init(&s->loop, &s->patience);
    s->timer.data = s->patience.data = s;
    s->broken = open_chain(s);
    s->open = !failed(s->broken);
    if (s->open)
        chain_tick(s->chain); /* makes the plan */
    else
        close_loop(s);
    return s->broken;
}

static enum aws_ready signer(void *arg, const struct secret_origin *origin,
                             struct secret_signer *out, err *why, const char **detail)
{
    struct cli_secrets *s = arg;

    *detail = "";
    *why = open_all(s);
    return failed(*why) ? AWS_FAILED
                        : secret_signer_for(s->chain, s->sessions, origin, out, why, detail);
}

/* Only ever called after the signer was ready. */
static void start(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                  void *arg)
{
    struct cli_secrets *s = CONTAINER_OF(f, struct cli_secrets, lazy);
    struct fetcher *real = net_fetcher_base(s->fetcher);

    real->start(real, request, done, arg);
}

/* ---- For commands ---- */

struct cli_secrets *cli_secrets_new(bool ask_aws)
{
    struct cli_secrets *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->lazy.start = start;
    const struct secret_cache_options options = {
        .fetcher = &s->lazy,
        .clock = &system_clock,
        .signer = signer,
        .signer_arg = s,
        .wake = on_news,
        .wake_arg = s,
    };
    if (failed(secret_cache_new(&options, &s->cache))) {
        free(s);
        return NULL;
    }
    secret_host_init(&s->host, NULL, s->cache);
    if (!ask_aws) {
        s->host.host.secret = NULL;
        s->host.host.leave_aws = true;
    }
    return s;
}

void cli_secrets_set_node(struct cli_secrets *s, const struct node_config *node)
{
    s->host.host.node = node;
}

void cli_secrets_free(struct cli_secrets *s)
{
    if (s == NULL)
        return;
    secret_cache_free(s->cache);
    secret_host_clear(&s->host);
    if (s->open) {
        aws_sessions_free(s->sessions);
        chain_stop(s->chain);
        close_loop(s);
        chain_free(s->chain);
    }
    free(s);
}

const struct config_host *cli_secrets_host(struct cli_secrets *s)
{
    return &s->host.host;
}

void cli_secrets_wait(struct cli_secrets *s)
{
    s->news = false;
    tick(s); /* opens what the first wish needs */
    if (!s->open)
        return;
    tick(s);
    if (!uv_is_active((uv_handle_t *)&s->patience))
        uv_timer_start(&s->patience, on_patience_over, CLI_SECRETS_PATIENCE_MS, 0);
    while (!s->news && !s->over)
        uv_run(&s->loop, UV_RUN_ONCE);
}

err cli_secrets_load_node(struct cli_secrets *s, struct arena *arena,
                          struct node_config_sources *sources, struct node_config *out,
                          struct diagnostics *d)
{
    struct diagnostic *before = d->last;

    sources->host = cli_secrets_host(s);
    for (;;) {
        err e = node_config_load(arena, sources, out, d);
        if (!is_fault(e, &config_awaits_secrets))
            return e;
        diag_forget_after(d, before);
        cli_secrets_wait(s);
    }
}

bool cli_load_node_secrets(struct arena *arena, const struct cli_options *options,
                           struct node_config *out)
{
    struct node_config_sources sources = cli_sources(options);
    struct cli_secrets *secrets = cli_secrets_new(true);
    struct diagnostics d = {.arena = arena};

    err e = secrets == NULL ? fail(&fault_out_of_memory)
                            : cli_secrets_load_node(secrets, arena, &sources, out, &d);
    if (!options->told || d.errors > 0)
        diag_print(&d, STDERR_FILENO);
    if (failed(e))
        fprintf(stderr, "Error: %s\n", e.fault->text);
    cli_secrets_free(secrets);
    if (!failed(e))
        cli_tell_node(options, out);
    return !failed(e);
}

err cli_secrets_build(struct cli_secrets *s, const char *path, struct diagnostics *d,
                      struct snapshot **out)
{
    const struct snapshot_makers makers = {.host = cli_secrets_host(s)};
    struct diagnostic *before = d->last;

    for (;;) {
        err e = snapshot_build(path, &makers, d, out);
        if (!is_fault(e, &config_awaits_secrets))
            return e;
        diag_forget_after(d, before);
        cli_secrets_wait(s);
    }
}
