/* A runner that the test holds in its hands, for a chain's credential_process. */
#ifndef SALLYPORT_TESTS_AWS_RUNNER_BED_H
#define SALLYPORT_TESTS_AWS_RUNNER_BED_H

#include "chain_bed.h"

struct bed_runner {
    struct runner base;
    char words[2048]; /* each with a '|' behind it */
    int64_t timeout_ms;
    size_t max_bytes;
    run_done *done;
    void *arg;
    unsigned started;
};

static inline void bed_run(struct runner *base, const struct run_request *r, run_done *done,
                           void *arg)
{
    struct bed_runner *runner = (struct bed_runner *)base;
    size_t n = 0;

    assert_null(runner->done); /* one at a time */
    runner->words[0] = '\0';
    for (size_t i = 0; i < r->count; i++)
        n += (size_t)snprintf(runner->words + n, sizeof runner->words - n, "%.*s|",
                              VIEW_ARG(r->words[i]));
    runner->timeout_ms = r->timeout_ms;
    runner->max_bytes = r->max_bytes;
    runner->done = done;
    runner->arg = arg;
    runner->started++;
}

/* Begins as bed_begin does, with the runner and other options. */
static inline void bed_begin_with(struct bed *b, struct bed_runner *runner, bool discover_region,
                                  const char *profile)
{
    const struct chain_options options = {
        .fetcher = &b->net.base,
        .runner = runner != NULL ? &runner->base : NULL,
        .clock = &b->clock,
        .lookup = bed_lookup,
        .profile = view_str(profile),
        .discover_region = discover_region,
    };

    if (runner != NULL)
        runner->base.start = bed_run;
    assert_false(failed(chain_new(&options, &b->chain)));
    bed_tick(b);
}

static inline void bed_ended(struct bed_runner *runner, int status, const char *output,
                             const char *message)
{
    const struct run_result result = {status, 0, view_str(output), view_str(message)};
    run_done *done = runner->done;

    assert_non_null(done);
    runner->done = NULL;
    done(runner->arg, OK, "", &result);
}

#endif
