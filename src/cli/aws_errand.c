#include "cli/aws_errand.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static void on_news(void *arg)
{
    uv_stop(&((struct aws_errand *)arg)->loop);
}

static err open_all(struct aws_errand *x, struct view region, struct view profile)
{
    const struct chain_options options = {
        .fetcher = net_fetcher_base(x->fetcher),
        .runner = net_runner_base(x->runner),
        .clock = &system_clock,
        .lookup = getenv,
        .region_hint = region,
        .profile = profile,
        .discover_region = true,
        .wake = on_news,
        .wake_arg = x,
    };
    return chain_new(&options, &x->chain);
}

bool aws_errand_begin(struct aws_errand *x, struct view region, struct view profile)
{
    *x = (struct aws_errand){0};
    if (uv_loop_init(&x->loop) == 0) {
        x->fetcher = net_fetcher_new(&x->loop);
        x->runner = net_runner_new(&x->loop);
        if (x->fetcher != NULL && x->runner != NULL && !failed(open_all(x, region, profile))) {
            chain_tick(x->chain);
            return true;
        }
    }
    fprintf(stderr, "Error: %s\n", fault_out_of_memory.text);
    return false;
}

void aws_errand_wait(struct aws_errand *x, struct chain_status *out)
{
    chain_status(x->chain, out);
    /* Exchanges and programs have their own time limits. */
    while (out->state == CHAIN_WAITING || chain_region_awaited(x->chain)) {
        uv_run(&x->loop, UV_RUN_DEFAULT);
        chain_status(x->chain, out);
    }
    /* A region that was discovered says where STS is. */
    if (out->state == CHAIN_READY)
        chain_tick(x->chain);
}

static void on_fetcher_closed(void *arg)
{
    (void)arg;
}

void aws_errand_end(struct aws_errand *x)
{
    chain_stop(x->chain);
    net_fetcher_close(x->fetcher, on_fetcher_closed, NULL);
    net_runner_close(x->runner, NULL, NULL);
    while (uv_run(&x->loop, UV_RUN_DEFAULT) != 0)
        continue; /* a uv_stop from before was still waiting */
    chain_free(x->chain);
    ENSURE(uv_loop_close(&x->loop) == 0);
}
