#include "aws/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "aws/caller.h"
#include "aws/region_finder.h"
#include "base/log.h"
#include "crypto/random.h"

enum { US_PER_S = 1000000, US_PER_MS = 1000, NS_PER_MS = 1000000 };
enum { PATH_BYTES = 4096, PROFILE_BYTES = 256 };
/* The files whose change is seen: config, credentials, the cached SSO token. */
enum { FILE_CONFIG, FILE_CREDENTIALS, FILE_SSO, FILES };

const struct fault aws_environment_expired = {
    "aws_environment_expired",
    "the AWS credentials of the environment have ended; the environment is read once at start: "
    "start again with fresh ones",
    NULL, 503};
const struct fault aws_credentials_waiting = {
    "aws_credentials_waiting", "the AWS credentials have not come yet", NULL, 503};

/* A file as it was when the plan was made. */
struct file_mark {
    char path[PATH_BYTES]; /* "": none to look at */
    bool there;
    struct stat st;
};

struct credential_chain {
    struct credential_provider provider;
    struct chain_options o;
    struct aws_environment environment;
    char region_hint[AWS_REGION_MAX + 1];
    char profile[PROFILE_BYTES];
    struct arena arena; /* of the plan */
    struct aws_plan plan;
    bool plan_is_old; /* the region was discovered since, or the hint is gone */
    struct file_mark files[FILES];
    char warned[AWS_PLAN_WARNINGS_MAX][AWS_REASON_MAX];
    struct retrieval *running;
    /* The region's discovery. */
    struct region_finder *finding;
    bool region_asked;      /* once, however it ended */
    bool awaits_region;     /* the attempt goes on when it has ended */
    unsigned region_failures;
    int64_t region_due_ms;
    char discovered[AWS_REGION_MAX + 1];
    char region[AWS_REGION_MAX + 1]; /* in force */
    struct aws_credentials held;
    struct caller_question *asking; /* whose they are */
    int64_t refreshed_us;
    bool served; /* there were credentials: the source stays */
    bool tried;  /* the first attempt has ended */
    err last_error;
    char detail[RETRIEVAL_DETAIL_MAX];
    unsigned failures;
    int64_t due_ms; /* monotonic: at first, after a failure, and beside due_us */
    int64_t due_us; /* wall: ahead of expiry; INT64_MAX: never */
};

static int64_t now_us(const struct credential_chain *c)
{
    return clock_wall_us(c->o.clock);
}

static int64_t now_ms(const struct credential_chain *c)
{
    return clock_monotonic_ns(c->o.clock) / NS_PER_MS;
}

static bool holds(const struct credential_chain *c)
{
    return c->held.access_key_id[0] != '\0' &&
           (c->held.expiry_us == 0 || c->held.expiry_us > now_us(c));
}

/* ---- When ---- */

/* Ahead of the end, by chance a little sooner; INT64_MAX for credentials without an end. */
static int64_t refresh_at_us(const struct credential_chain *c)
{
    if (c->held.expiry_us == 0 || c->plan.source == AWS_SOURCE_ENVIRONMENT)
        return INT64_MAX;
    int64_t left = c->held.expiry_us - now_us(c), ahead = left / 3;
    if (ahead > (int64_t)CHAIN_REFRESH_AHEAD_MAX_S * US_PER_S)
        ahead = (int64_t)CHAIN_REFRESH_AHEAD_MAX_S * US_PER_S;
    ahead += (int64_t)random_below((uint64_t)ahead / 10 + 1);
    int64_t soonest = now_us(c) + (int64_t)CHAIN_REFRESH_MIN_S * US_PER_S;
    int64_t at = c->held.expiry_us - ahead;
    return at > soonest ? at : soonest;
}

/* Full jitter: anywhere up to a bound that doubles. */
static int64_t backoff_ms(unsigned failures)
{
    int64_t bound = CHAIN_BACKOFF_MAX_MS;

    if (failures < 7)
        bound = (int64_t)CHAIN_BACKOFF_FIRST_MS << (failures - 1);
    if (bound > CHAIN_BACKOFF_MAX_MS)
        bound = CHAIN_BACKOFF_MAX_MS;
    return 1 + (int64_t)random_below((uint64_t)bound);
}

/* ---- The files ---- */

static void look(struct file_mark *m)
{
    m->there = m->path[0] != '\0' && stat(m->path, &m->st) == 0;
}

static void mark(struct file_mark *m, struct view path)
{
    m->path[0] = '\0';
    if (path.len > 0 && path.len < sizeof m->path) {
        memcpy(m->path, path.data, path.len);
        m->path[path.len] = '\0';
    }
    look(m);
}

/* Of a path that is known the mark was taken before the file was read, and stays: what is written
 * in between would never be seen otherwise. */
static void mark_read(struct file_mark *m, struct view path)
{
    if (!view_is(path, m->path))
        mark(m, path);
}

static bool has_changed(const struct file_mark *m)
{
    struct stat st;

    if (m->path[0] == '\0')
        return false;
    bool there = stat(m->path, &st) == 0;
    if (!there || !m->there)
        return there != m->there;
    return st.st_mtim.tv_sec != m->st.st_mtim.tv_sec ||
           st.st_mtim.tv_nsec != m->st.st_mtim.tv_nsec || st.st_size != m->st.st_size ||
           st.st_ino != m->st.st_ino || st.st_mode != m->st.st_mode || st.st_uid != m->st.st_uid;
}

/* Only a profile comes from them, or might have if there had been one. */
static bool files_changed(const struct credential_chain *c)
{
    if (c->served && c->plan.source != AWS_SOURCE_PROFILE)
        return false;
    for (size_t i = 0; i < FILES; i++) {
        if (has_changed(&c->files[i]))
            return true;
    }
    return false;
}

static void mark_sso_cache(struct credential_chain *c)
{
    struct view path = {NULL, 0};

    for (size_t i = 0; i < c->plan.count; i++) {
        if (c->plan.steps[i].kind == AWS_STEP_SSO)
            path = c->plan.steps[i].cache_file;
    }
    mark(&c->files[FILE_SSO], path);
}

/* ---- An attempt ---- */

static void log_ready(const struct credential_chain *c, bool first)
{
    char until[TIME_TEXT_BYTES] = "";

    if (c->held.expiry_us != 0)
        time_format(c->held.expiry_us, until);
    if (first)
        log_notice("aws_credentials_ready", "AWS credentials were obtained",
                   LOG_STR("source", c->held.source), LOG_VIEW("profile", c->plan.profile),
                   LOG_STR("access_key_id", c->held.access_key_id), LOG_STR("expires", until),
                   LOG_VIEW("region", c->plan.region));
    else
        log_info("aws_credentials_refreshed", "AWS credentials were refreshed",
                 LOG_STR("source", c->held.source),
                 LOG_STR("access_key_id", c->held.access_key_id), LOG_STR("expires", until));
}

static void on_caller(void *arg, err e, const struct caller_answer *answer)
{
    struct credential_chain *c = arg;

    if (failed(e))
        log_info("aws_caller_unknown", "STS did not say whose the AWS credentials are: logins "
                 "are recorded without an ARN",
                 LOG_STR("reason", e.fault->text), LOG_STR("detail", answer->detail));
    else if (strcmp(answer->access_key_id, c->held.access_key_id) == 0)
        snprintf(c->held.arn, sizeof c->held.arn, "%s", answer->arn);
}

static void name_caller(struct credential_chain *c)
{
    if (!c->o.name_caller || c->held.arn[0] != '\0' || c->held.session_token.len == 0)
        return;
    caller_abandon(c->asking);
    err e = caller_ask(c->o.fetcher, &c->plan.sts, &c->held, now_us(c), c->plan.ca_file, on_caller,
                       c, &c->asking);
    if (failed(e))
        c->asking = NULL;
}

static void succeed(struct credential_chain *c, struct aws_credentials *fresh)
{
    bool first = !c->served || c->failures > 0;

    aws_credentials_clear(&c->held);
    c->held = *fresh;
    *fresh = (struct aws_credentials){0};
    c->refreshed_us = now_us(c);
    c->served = true;
    c->last_error = OK;
    c->detail[0] = '\0';
    c->failures = 0;
    c->due_us = refresh_at_us(c);
    /* By either clock: the wall's may be set back, the other one stands while the host sleeps. */
    c->due_ms = c->due_us == INT64_MAX ? INT64_MAX
                                       : now_ms(c) + (c->due_us - now_us(c)) / US_PER_MS;
    mark_sso_cache(c); /* this attempt may have written it */
    log_ready(c, first);
    name_caller(c);
}

/* The environment's own end is final: it will not be read again. */
static bool is_final(const struct credential_chain *c, err e)
{
    return is_fault(e, &aws_environment_expired) && c->plan.source == AWS_SOURCE_ENVIRONMENT;
}

static void note_failure(struct credential_chain *c, err e, const char *detail)
{
    if (is_fault(e, &aws_credentials_expired) && c->plan.source == AWS_SOURCE_ENVIRONMENT)
        e = fail(&aws_environment_expired);
    if (c->failures < 1000)
        c->failures++;
    c->last_error = e;
    snprintf(c->detail, sizeof c->detail, "%s", detail);
    c->due_us = INT64_MAX;
    c->due_ms = is_final(c, e) ? INT64_MAX : now_ms(c) + backoff_ms(c->failures);
    log_warn("aws_credentials_failed",
             holds(c) ? "AWS credentials could not be refreshed; the ones held go on serving"
                      : "AWS credentials could not be obtained",
             LOG_STR("source", aws_source_name(c->plan.source)), LOG_STR("error", e.fault->name),
             LOG_STR("reason", e.fault->text), LOG_STR("detail", c->detail),
             LOG_INT("failures", c->failures));
}

static void on_done(void *arg, err e, const char *detail, struct aws_credentials *credentials)
{
    struct credential_chain *c = arg;

    c->tried = true;
    if (failed(e))
        note_failure(c, e, detail);
    else
        succeed(c, credentials);
    if (c->o.wake != NULL)
        c->o.wake(c->o.wake_arg);
}

static const char *reason_of(const struct credential_chain *c)
{
    const struct aws_verdict *v = &c->plan.verdicts[c->plan.source];
    return v->kind == AWS_VERDICT_WRONG ? v->reason : "";
}

static struct aws_plan_request request_of(const struct credential_chain *c)
{
    return (struct aws_plan_request){
        .environment = &c->environment,
        .profile = view_str(c->profile[0] != '\0' ? c->profile : NULL),
        .region_hint = view_str(c->region_hint[0] != '\0' ? c->region_hint
                                : c->discovered[0] != '\0' ? c->discovered
                                                            : NULL),
        .only = c->served,
        .only_this = c->plan.source,
    };
}

/* Each warning once. */
static void log_warnings(struct credential_chain *c)
{
    for (size_t i = 0; i < c->plan.warning_count; i++) {
        if (strcmp(c->warned[i], c->plan.warnings[i]) == 0)
            continue;
        memcpy(c->warned[i], c->plan.warnings[i], sizeof c->warned[i]);
        log_warn("aws_file_exposed", c->plan.warnings[i]);
    }
}

static err make_plan(struct credential_chain *c)
{
    const struct aws_plan_request request = request_of(c);

    aws_plan_clear(&c->plan);
    arena_reset(&c->arena);
    c->plan_is_old = false;
    look(&c->files[FILE_CONFIG]);
    look(&c->files[FILE_CREDENTIALS]);
    err e = aws_plan_make(&request, &c->arena, &c->plan);
    mark_read(&c->files[FILE_CONFIG], c->plan.config_file);
    mark_read(&c->files[FILE_CREDENTIALS], c->plan.credentials_file);
    mark_sso_cache(c);
    snprintf(c->region, sizeof c->region, "%.*s", VIEW_ARG(c->plan.region));
    log_warnings(c);
    return e;
}

static bool is_for_sts(const struct aws_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->steps[i].kind == AWS_STEP_WEB_IDENTITY ||
            plan->steps[i].kind == AWS_STEP_ASSUME_ROLE)
            return true;
    }
    return false;
}

static void find_region(struct credential_chain *c);

static void attempt(struct credential_chain *c)
{
    c->due_ms = c->due_us = INT64_MAX;
    err e = make_plan(c);
    if (!failed(e) && is_for_sts(&c->plan) && !c->region_asked) {
        find_region(c);
        c->awaits_region = c->finding != NULL;
        if (c->awaits_region)
            return;
    }
    if (!failed(e)) {
        const struct retrieval_options options = {
            .fetcher = c->o.fetcher,
            .runner = c->o.runner,
            .clock = c->o.clock,
            .environment = &c->environment,
            .plan = &c->plan,
            .done = on_done,
            .arg = c,
        };
        e = retrieval_start(&options, &c->running);
        if (!failed(e))
            return;
    }
    c->tried = true;
    note_failure(c, e, reason_of(c));
    if (c->o.wake != NULL)
        c->o.wake(c->o.wake_arg);
}

/* ---- The region's discovery ---- */

static void on_region(void *arg, err e, const char *region, const char *detail)
{
    struct credential_chain *c = arg;

    if (failed(e)) {
        if (c->region_failures < 1000)
            c->region_failures++;
        c->region_due_ms = now_ms(c) + backoff_ms(c->region_failures);
        log_info("aws_region_not_found", "the region could not be discovered",
                 LOG_STR("detail", detail));
    } else {
        snprintf(c->discovered, sizeof c->discovered, "%s", region);
        snprintf(c->region, sizeof c->region, "%s", region);
        c->plan_is_old = true;
        log_info("aws_region_found", "the region was discovered", LOG_STR("region", region));
    }
    if (c->awaits_region) {
        c->awaits_region = false;
        attempt(c);
    }
    if (c->o.wake != NULL)
        c->o.wake(c->o.wake_arg);
}

/* Asks when it is wanted and due; a failure is not for life. */
static void find_region(struct credential_chain *c)
{
    if (!c->o.discover_region || c->plan_is_old || c->region[0] != '\0' ||
        c->finding != NULL || c->region_due_ms > now_ms(c))
        return;
    const struct region_finder_options options = {
        .fetcher = c->o.fetcher,
        .environment = &c->environment,
        .instance_url = c->plan.instance_url,
        .done = on_region,
        .arg = c,
    };
    c->region_asked = true;
    err e = region_finder_start(&options, &c->finding);
    if (failed(e))
        c->region_due_ms = now_ms(c) + CHAIN_BACKOFF_MAX_MS;
}

/* ---- The chain ---- */

/* Why nothing serves; also before a tick has noticed the end. */
static err why_none(const struct credential_chain *c)
{
    if (failed(c->last_error))
        return c->last_error;
    if (c->held.access_key_id[0] == '\0')
        return fail(&aws_credentials_waiting);
    return fail(c->plan.source == AWS_SOURCE_ENVIRONMENT ? &aws_environment_expired
                                                         : &aws_credentials_expired);
}

static err current(struct credential_provider *p, int64_t at_us, const struct aws_credentials **out)
{
    struct credential_chain *c = CONTAINER_OF(p, struct credential_chain, provider);

    if (c->held.access_key_id[0] != '\0' &&
        (c->held.expiry_us == 0 || c->held.expiry_us > at_us)) {
        *out = &c->held;
        return OK;
    }
    return why_none(c);
}

static void release(struct credential_provider *p)
{
    (void)p; /* chain_free does it */
}

static const struct credential_provider_ops ops = {current, release};

err chain_new(const struct chain_options *options, struct credential_chain **out)
{
    struct credential_chain *c = calloc(1, sizeof *c);

    *out = NULL;
    if (c == NULL)
        return fail(&fault_out_of_memory);
    err e = aws_environment_init(&c->environment, options->lookup);
    if (failed(e)) {
        free(c);
        return e;
    }
    c->provider.ops = &ops;
    c->o = *options;
    c->due_us = INT64_MAX;
    c->due_ms = INT64_MIN;
    c->region_due_ms = INT64_MIN;
    snprintf(c->profile, sizeof c->profile, "%.*s", VIEW_ARG(options->profile));
    snprintf(c->region_hint, sizeof c->region_hint, "%.*s", VIEW_ARG(options->region_hint));
    arena_init(&c->arena, 4096, 8 * 1024 * 1024);
    *out = c;
    return OK;
}

void chain_stop(struct credential_chain *c)
{
    if (c == NULL)
        return;
    retrieval_abandon(c->running);
    region_finder_abandon(c->finding);
    caller_abandon(c->asking);
    c->running = NULL;
    c->finding = NULL;
    c->asking = NULL;
}

void chain_free(struct credential_chain *c)
{
    if (c == NULL)
        return;
    chain_stop(c);
    aws_credentials_clear(&c->held);
    aws_plan_clear(&c->plan);
    aws_environment_clear(&c->environment);
    arena_clear(&c->arena);
    free(c);
}

/* Says once that the environment's credentials have ended. */
static void look_at_environment(struct credential_chain *c)
{
    if (c->served && c->plan.source == AWS_SOURCE_ENVIRONMENT && !failed(c->last_error) &&
        !holds(c))
        note_failure(c, fail(&aws_environment_expired), "AWS_CREDENTIAL_EXPIRATION has passed");
}

int64_t chain_tick(struct credential_chain *c)
{
    if (c->running == NULL && !c->awaits_region) {
        if (c->due_ms <= now_ms(c) || c->due_us <= now_us(c) || files_changed(c))
            attempt(c);
        else if (c->plan_is_old && failed(make_plan(c)))
            c->due_ms = now_ms(c); /* whatever is wrong now is told by an attempt */
    }
    find_region(c);
    look_at_environment(c);
    int64_t next = now_ms(c) + CHAIN_LOOK_MS;
    if (c->running == NULL && !c->awaits_region && c->due_ms < next)
        next = c->due_ms;
    return c->plan_is_old && c->running == NULL ? now_ms(c) : next;
}

struct credential_provider *chain_provider(struct credential_chain *c)
{
    return &c->provider;
}

void chain_status(const struct credential_chain *c, struct chain_status *out)
{
    *out = (struct chain_status){
        .expiry_us = c->held.expiry_us,
        .refreshed_us = c->refreshed_us,
        .failures = c->failures,
        .last_error = c->tried && !holds(c) ? why_none(c) : c->last_error,
        .detail = c->detail,
    };
    snprintf(out->source, sizeof out->source, "%s", c->held.source);
    snprintf(out->access_key_id, sizeof out->access_key_id, "%s", c->held.access_key_id);
    if (!c->tried)
        out->state = CHAIN_WAITING;
    else if (!holds(c))
        out->state = CHAIN_FAILED;
    else
        out->state = failed(c->last_error) ? CHAIN_STALE : CHAIN_READY;
}

const struct aws_plan *chain_plan(const struct credential_chain *c)
{
    return &c->plan;
}

void chain_kong_difference(const struct credential_chain *c, char *out, size_t size)
{
    const struct aws_plan_request request = request_of(c);

    aws_plan_kong_difference(&request, &c->plan, out, size);
}

const char *chain_region(const struct credential_chain *c)
{
    return c->region;
}

void chain_discover_region(struct credential_chain *c)
{
    if (c->o.discover_region)
        return;
    c->o.discover_region = true;
    c->region_hint[0] = '\0';
    c->region[0] = '\0'; /* the new plan says whether it was more than the hint */
    c->plan_is_old = true;
}

bool chain_region_awaited(const struct credential_chain *c)
{
    return c->o.discover_region && c->region[0] == '\0' &&
           (c->finding != NULL || !c->region_asked);
}
