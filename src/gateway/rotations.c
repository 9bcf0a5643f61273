#include "gateway/rotations.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "config/config.h"
#include "crypto/random.h"

struct job {
    struct list link;
    struct view service;
    struct view secret;
    int64_t every_s;
    bool wanted; /* by the configuration at hand */
    bool running;
    enum rotations_state state;
    unsigned failures;
    int64_t rotated_s;
    int64_t next_ms; /* monotonic */
    struct metric rotated, failed;
    char detail[ROTATIONS_DETAIL_BYTES];
    struct arena arena;
};

/* What the runner's callback holds: the rotations may be gone when it comes. */
struct flight {
    struct rotations *rotations; /* NULL: gone */
    struct job *job;
};

struct rotations {
    struct rotations_options options;
    struct list jobs;
    struct flight *flight; /* one child at a time */
};

static int64_t now_ms(const struct rotations *r)
{
    return clock_monotonic_ns(r->options.clock) / 1000000;
}

static int64_t by_chance(int64_t up_to_ms)
{
    return (int64_t)random_below((uint64_t)up_to_ms) + 1;
}

static struct job *job_of(struct list *node)
{
    return LIST_ENTRY(node, struct job, link);
}

err rotations_new(const struct rotations_options *options, struct rotations **out)
{
    struct rotations *r = calloc(1, sizeof *r);

    *out = r;
    if (r == NULL)
        return fail(&fault_out_of_memory);
    r->options = *options;
    list_init(&r->jobs);
    return OK;
}

static void free_job(struct job *j)
{
    list_unlink(&j->link);
    arena_clear(&j->arena);
    free(j);
}

void rotations_free(struct rotations *r)
{
    if (r == NULL)
        return;
    if (r->flight != NULL)
        r->flight->rotations = NULL;
    while (!list_is_empty(&r->jobs))
        free_job(job_of(r->jobs.next));
    free(r);
}

/* ---- What is to be rotated ---- */

static struct job *find(struct rotations *r, struct view service, struct view secret,
                        int64_t every_s)
{
    LIST_EACH(node, &r->jobs) {
        struct job *j = job_of(node);
        if (view_eq(j->service, service) && view_eq(j->secret, secret) && j->every_s == every_s)
            return j;
    }
    return NULL;
}

static struct metric series(const struct rotations *r, struct view service, const char *result)
{
    const struct view values[] = {service, view_str(result)};

    if (r->options.metrics == NULL)
        return (struct metric){0};
    return metrics_series(r->options.metrics, METRIC_ROTATIONS, values, COUNT_OF(values));
}

static void add(struct rotations *r, struct view service, struct view secret, int64_t every_s)
{
    struct job *j = calloc(1, sizeof *j);

    if (j == NULL)
        return;
    arena_init(&j->arena, 1024, 64 * 1024);
    list_init(&j->link);
    j->service = arena_copy(&j->arena, service);
    j->secret = arena_copy(&j->arena, secret);
    j->every_s = every_s;
    j->wanted = true;
    j->next_ms = now_ms(r) + by_chance(ROTATIONS_FIRST_MS);
    j->rotated = series(r, service, "rotated");
    j->failed = series(r, service, "failed");
    list_push_back(&r->jobs, &j->link);
}

static void want(struct rotations *r, const struct entities *all, const struct service *s,
                 const struct endpoint *e)
{
    struct secret_reference reference;
    const struct vault *vault;
    char why[SECRET_WHY_BYTES];
    struct arena arena;

    if (e->rotation.every_s == 0 || e->secret.len == 0)
        return;
    arena_init(&arena, 1024, 64 * 1024);
    if (secret_reference_find(&arena, all->vaults, all->vault_count, e->secret, &reference, &vault,
                              why) &&
        vault->kind == VAULT_AWS) {
        struct job *j = find(r, s->name, reference.name, e->rotation.every_s);
        if (j != NULL)
            j->wanted = true;
        else
            add(r, s->name, reference.name, e->rotation.every_s);
    }
    arena_clear(&arena);
}

void rotations_configure(struct rotations *r, const struct entities *entities)
{
    LIST_EACH(node, &r->jobs)
        job_of(node)->wanted = false;
    for (size_t i = 0; i < entities->service_count; i++) {
        const struct service *s = &entities->services[i];
        want(r, entities, s, &s->primary);
        if (s->has_read)
            want(r, entities, s, &s->read);
    }
    for (struct list *node = r->jobs.next, *next; node != &r->jobs; node = next) {
        struct job *j = job_of(node);
        next = node->next;
        if (!j->wanted && !j->running)
            free_job(j);
    }
}

/* ---- A run ---- */

/* The last line with something on it. */
static struct view last_line(struct view text)
{
    struct view line = {NULL, 0}, last = {NULL, 0};

    while (text.len > 0) {
        text = view_cut(text, '\n', &line);
        if (view_trim(line).len > 0)
            last = view_trim(line);
    }
    return last;
}

static void keep_detail(struct job *j, struct view text)
{
    snprintf(j->detail, sizeof j->detail, "%.*s", (int)(text.len < sizeof j->detail - 1
                                                            ? text.len
                                                            : sizeof j->detail - 1),
             text.data != NULL ? text.data : "");
}

static void log_run(const struct job *j, enum log_level level, const char *event, const char *text)
{
    log_write(level, event, text,
              (struct log_field[]){LOG_VIEW("service", j->service), LOG_VIEW("secret", j->secret),
                                   LOG_STR("detail", j->detail)},
              3);
}

static void went_well(struct rotations *r, struct job *j, const struct run_result *result)
{
    int64_t look_ms = j->every_s * 1000 / 24;

    if (look_ms > ROTATIONS_LOOK_MAX_MS)
        look_ms = ROTATIONS_LOOK_MAX_MS;
    keep_detail(j, last_line(result->output));
    j->state = ROTATIONS_GOOD;
    j->failures = 0;
    j->next_ms = now_ms(r) + look_ms - by_chance(look_ms / 10);
    if (!view_starts_with(view_str(j->detail), VIEW("done: the secret is rotated"))) {
        log_run(j, LOG_DEBUG, "rotation_not_due", "a secret was looked at and not rotated");
        return;
    }
    j->rotated_s = clock_wall_us(r->options.clock) / 1000000;
    if (r->options.shard != NULL)
        metric_add(r->options.shard, j->rotated, 1);
    log_run(j, LOG_INFO, "secret_rotated", "a secret has a new password");
}

static void is_followed(struct rotations *r, struct job *j, const struct run_result *result)
{
    keep_detail(j, last_line(result->message));
    if (j->state != ROTATIONS_FOLLOWED)
        log_run(j, LOG_WARN, "rotation_followed",
                "a secret is rotated by AWS: it is followed, not rotated here");
    j->state = ROTATIONS_FOLLOWED;
    j->failures = 0;
    j->next_ms = now_ms(r) + ROTATIONS_FOLLOWED_MS;
}

static void went_wrong(struct rotations *r, struct job *j)
{
    int64_t within_ms = ROTATIONS_BACKOFF_FIRST_MS;

    for (unsigned i = 0; i < j->failures && within_ms < ROTATIONS_BACKOFF_MAX_MS; i++)
        within_ms *= 2;
    if (within_ms > ROTATIONS_BACKOFF_MAX_MS)
        within_ms = ROTATIONS_BACKOFF_MAX_MS;
    j->state = ROTATIONS_FAILED;
    j->failures++;
    j->next_ms = now_ms(r) + by_chance(within_ms);
    if (r->options.shard != NULL)
        metric_add(r->options.shard, j->failed, 1);
    log_run(j, LOG_ERROR, "rotation_failed",
            "a secret could not be rotated; it is tried again, and what was begun is gone on with");
}

static void on_end(void *arg, err e, const char *detail, const struct run_result *result)
{
    struct flight *f = arg;
    struct rotations *r = f->rotations;
    struct job *j = f->job;

    free(f);
    if (r == NULL)
        return;
    r->flight = NULL;
    j->running = false;
    if (!j->wanted) {
        free_job(j);
    } else if (failed(e)) {
        snprintf(j->detail, sizeof j->detail, "%s%s%s", e.fault->text,
                 detail != NULL && detail[0] != '\0' ? ": " : "", detail != NULL ? detail : "");
        went_wrong(r, j);
    } else if (result->signal == 0 && result->exit_status == 0) {
        went_well(r, j, result);
    } else if (result->signal == 0 && result->exit_status == ROTATIONS_FOLLOWED_EXIT) {
        is_followed(r, j, result);
    } else {
        if (result->signal != 0)
            snprintf(j->detail, sizeof j->detail, "the child was ended by signal %d",
                     result->signal);
        else
            keep_detail(j, last_line(result->message));
        went_wrong(r, j);
    }
}

static void begin(struct rotations *r, struct job *j)
{
    struct flight *f = calloc(1, sizeof *f);
    char age[32];
    struct view words[10];
    size_t n = 0;

    if (f == NULL)
        return;
    snprintf(age, sizeof age, "%llds", (long long)j->every_s);
    words[n++] = view_str(r->options.program);
    words[n++] = VIEW("rotate");
    words[n++] = VIEW("--service"); /* whose vault, strategy and host are meant */
    words[n++] = j->service;
    words[n++] = VIEW("--if-older-than");
    words[n++] = view_str(age);
    if (r->options.conf_file != NULL) {
        words[n++] = VIEW("-c");
        words[n++] = view_str(r->options.conf_file);
    }
    words[n++] = VIEW("--");
    words[n++] = j->secret;
    const struct run_request request = {
        .words = words, .count = n, .timeout_ms = ROTATIONS_RUN_MS, .max_bytes = 64 * 1024};
    *f = (struct flight){r, j};
    r->flight = f;
    j->running = true;
    r->options.runner->start(r->options.runner, &request, on_end, f);
}

void rotations_tick(struct rotations *r)
{
    int64_t now = now_ms(r);

    if (r->flight != NULL)
        return;
    LIST_EACH(node, &r->jobs) {
        struct job *j = job_of(node);
        if (j->next_ms <= now) {
            begin(r, j);
            return;
        }
    }
}

/* ---- What is told ---- */

size_t rotations_status(const struct rotations *r, struct rotations_status *out, size_t capacity)
{
    int64_t wall_ms = clock_wall_us(r->options.clock) / 1000, now = now_ms(r);
    size_t n = 0;

    LIST_EACH(node, &r->jobs) {
        const struct job *j = job_of(node);
        if (n < capacity)
            out[n++] = (struct rotations_status){
                .service = j->service,
                .secret = j->secret,
                .state = j->state,
                .running = j->running,
                .failures = j->failures,
                .rotated_s = j->rotated_s,
                .next_look_s = (wall_ms + (j->next_ms > now ? j->next_ms - now : 0)) / 1000,
                .detail = j->detail,
            };
    }
    return n;
}

const char *rotations_state_name(enum rotations_state state)
{
    static const char *const names[] = {"waiting", "good", "followed", "failed"};
    return names[state];
}
