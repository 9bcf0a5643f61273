#include "aws/region_finder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/region.h"
#include "base/log.h"
#include "json/json.h"

enum { ANSWER_MAX_BYTES = 256 * 1024, URL_BYTES = 2048, ARENA_MAX = 2 * 1024 * 1024 };

const struct fault region_not_found = {
    "aws_region_not_found", "neither ECS nor the instance says in which region this is", NULL, 503};

/* TASK ─► SESSION ─► PLACEMENT, each passed over when it cannot be asked. */
enum stage { STAGE_TASK, STAGE_SESSION, STAGE_PLACEMENT, STAGE_END };

struct region_finder {
    struct region_finder_options o; /* done is NULL once abandoned */
    struct region_finder **slot;
    enum stage stage;
    char instance_url[URL_BYTES];
    struct secret session;
    char region[AWS_REGION_MAX + 1];
    char detail[REGION_FINDER_DETAIL_MAX];
};

static void finder_free(struct region_finder *f)
{
    secret_clear(&f->session);
    free(f);
}

static void finish(struct region_finder *f)
{
    region_finder_done *done = f->o.done;
    void *arg = f->o.arg;
    char region[sizeof f->region], detail[sizeof f->detail];

    memcpy(region, f->region, sizeof region);
    memcpy(detail, f->detail, sizeof detail);
    *f->slot = NULL;
    finder_free(f);
    done(arg, region[0] != '\0' ? OK : fail(&region_not_found), region, detail);
}

/* Adds to the detail: who was asked, and what came. */
PRINTF_LIKE(2, 3)
static void say(struct region_finder *f, const char *format, ...)
{
    size_t at = strlen(f->detail);
    va_list args;

    if (at > 0 && at + 3 < sizeof f->detail)
        at += (size_t)snprintf(f->detail + at, sizeof f->detail - at, "; ");
    va_start(args, format);
    vsnprintf(f->detail + at, sizeof f->detail - at, format, args);
    va_end(args);
}

struct view aws_region_of_zone(struct view zone)
{
    /* Words of letters, then the number, joined by '-'. */
    size_t i = 0;

    while (i < zone.len && ((zone.data[i] >= 'a' && zone.data[i] <= 'z') || zone.data[i] == '-'))
        i++;
    while (i < zone.len && zone.data[i] >= '0' && zone.data[i] <= '9')
        i++;
    zone = view_upto(zone, i);
    return aws_region_is_valid(zone) && zone.len <= AWS_REGION_MAX ? zone
                                                                   : (struct view){NULL, 0};
}

/* ---- One exchange ---- */

static void go_on(struct region_finder *f);

static void take_region(struct region_finder *f, struct view region, const char *whose)
{
    if (region.len == 0 || region.len > AWS_REGION_MAX || !aws_region_is_valid(region)) {
        say(f, "%s: no region", whose);
        return;
    }
    memcpy(f->region, region.data, region.len);
    f->region[region.len] = '\0';
}

static void take_task(struct region_finder *f, struct view body)
{
    const struct json_value *o;
    struct view zone = {NULL, 0};
    struct arena arena;

    arena_init(&arena, 16 * 1024, ARENA_MAX);
    if (!failed(json_parse(&arena, body, NULL, &o, NULL)))
        (void)json_get_string(o, "AvailabilityZone", &zone);
    take_region(f, aws_region_of_zone(zone), "ECS task metadata");
    arena_clear(&arena);
}

static const char *name_of(enum stage stage)
{
    return stage == STAGE_TASK ? "ECS task metadata" : "instance metadata";
}

/* The session, or nothing: then the placement is not asked. */
static void take_session(struct region_finder *f, struct view body)
{
    bool word = body.len > 0 && body.len <= 4096;

    for (size_t i = 0; word && i < body.len; i++)
        word = body.data[i] > ' ' && body.data[i] <= '~';
    if (!word || !secret_init(&f->session, body)) {
        say(f, "instance metadata: no session");
        f->stage = STAGE_PLACEMENT;
    }
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct region_finder *f = arg;

    if (f->o.done == NULL) {
        finder_free(f);
        return;
    }
    if (failed(e) || response->status != 200) {
        if (failed(e))
            say(f, "%s: %s", name_of(f->stage), detail != NULL ? detail : e.fault->text);
        else
            say(f, "%s: status %d", name_of(f->stage), response->status);
        if (f->stage == STAGE_SESSION)
            f->stage = STAGE_PLACEMENT; /* version 1 is not asked */
    } else if (f->stage == STAGE_TASK) {
        take_task(f, response->body);
    } else if (f->stage == STAGE_SESSION) {
        take_session(f, response->body);
    } else {
        take_region(f, response->body, "instance metadata");
    }
    f->stage++;
    go_on(f);
}

static void ask(struct region_finder *f, struct view method, const char *url,
                const struct fetch_header *header)
{
    const struct fetch_request request = {
        .method = method,
        .url = view_str(url),
        .headers = header,
        .header_count = header != NULL ? 1 : 0,
        .timeout_ms = REGION_FINDER_TIMEOUT_MS,
        .max_bytes = ANSWER_MAX_BYTES,
    };
    f->o.fetcher->start(f->o.fetcher, &request, on_answer, f);
}

/* ---- The stages ---- */

/* False when there is nobody to ask. */
static bool ask_task(struct region_finder *f)
{
    struct view base = aws_environment_get(f->o.environment, AWS_VAR_TASK_METADATA_V4);
    char url[URL_BYTES];

    if (base.len == 0)
        base = aws_environment_get(f->o.environment, AWS_VAR_TASK_METADATA_V3);
    int n = snprintf(url, sizeof url, "%.*s/task", VIEW_ARG(base));
    if (base.len == 0 || n < 0 || (size_t)n >= sizeof url)
        return false;
    ask(f, VIEW("GET"), url, NULL);
    return true;
}

static bool ask_instance(struct region_finder *f)
{
    const bool first = f->stage == STAGE_SESSION;
    const struct fetch_header lifetime = {VIEW("X-aws-ec2-metadata-token-ttl-seconds"), VIEW("60")};
    const struct fetch_header session = {VIEW("X-aws-ec2-metadata-token"),
                                         secret_view(&f->session)};
    char url[URL_BYTES + 64];

    if (f->instance_url[0] == '\0' || (!first && f->session.len == 0))
        return false;
    snprintf(url, sizeof url, "%s%s", f->instance_url,
             first ? "/latest/api/token" : "/latest/meta-data/placement/region");
    ask(f, first ? VIEW("PUT") : VIEW("GET"), url, first ? &lifetime : &session);
    return true;
}

static void go_on(struct region_finder *f)
{
    for (; f->region[0] == '\0' && f->stage < STAGE_END; f->stage++) {
        if (f->stage == STAGE_TASK ? ask_task(f) : ask_instance(f))
            return;
    }
    finish(f);
}

err region_finder_start(const struct region_finder_options *options, struct region_finder **slot)
{
    struct region_finder *f = calloc(1, sizeof *f);

    *slot = f;
    if (f == NULL)
        return fail(&fault_out_of_memory);
    f->o = *options;
    f->slot = slot;
    if (options->instance_url.len < sizeof f->instance_url)
        snprintf(f->instance_url, sizeof f->instance_url, "%.*s", VIEW_ARG(options->instance_url));
    go_on(f);
    return OK;
}

void region_finder_abandon(struct region_finder *f)
{
    if (f != NULL)
        f->o.done = NULL;
}
