#include "aws/plan.h"

#include <stdarg.h>
#include <stdio.h>

#include "aws/plan_internal.h"
#include "aws/timestamp.h"

const struct fault aws_no_source = {
    "aws_no_source", "no source of AWS credentials is configured (see sallyport whoami)", NULL,
    503};
const struct fault aws_web_identity_incomplete = {
    "aws_web_identity_incomplete",
    "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not", NULL, 503};
const struct fault aws_container_uri_refused = {
    "aws_container_uri_refused",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor http to this host or to the addresses "
    "of ECS and EKS",
    NULL, 503};
const struct fault aws_metadata_endpoint_bad = {
    "aws_metadata_endpoint_bad",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL, or its _MODE neither IPv4 nor IPv6", NULL, 503};
const struct fault aws_environment_expiration_bad = {
    "aws_environment_expiration_bad",
    "AWS_CREDENTIAL_EXPIRATION is no time such as 2026-01-02T03:04:05Z", NULL, 503};

const char *aws_source_name(enum aws_source source)
{
    static const char *const names[] = {"environment", "web_identity", "profile", "container",
                                        "instance_metadata"};
    return names[source];
}

PRINTF_LIKE(3, 0)
static void say(struct aws_verdict *v, enum aws_verdict_kind kind, const char *format, va_list args)
{
    v->kind = kind;
    vsnprintf(v->reason, sizeof v->reason, format, args);
}

err aws_plan_wrong(struct aws_planner *p, enum aws_source source, const struct fault *fault,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(&p->plan->verdicts[source], AWS_VERDICT_WRONG, format, args);
    va_end(args);
    return fail(fault);
}

void aws_plan_absent(struct aws_planner *p, enum aws_source source, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(&p->plan->verdicts[source], AWS_VERDICT_ABSENT, format, args);
    va_end(args);
}

struct aws_step *aws_plan_add(struct aws_planner *p, enum aws_step_kind kind)
{
    if (p->plan->count == AWS_PLAN_STEPS_MAX)
        return NULL;
    struct aws_step *step = &p->plan->steps[p->plan->count++];
    *step = (struct aws_step){.kind = kind};
    return step;
}

/* ---- The environment ---- */

err aws_plan_environment(struct aws_planner *p, bool *found)
{
    struct view id = aws_environment_get(p->env, AWS_VAR_ACCESS_KEY_ID);
    struct view secret = aws_environment_get(p->env, AWS_VAR_SECRET_ACCESS_KEY);
    struct view token = aws_environment_get(p->env, AWS_VAR_SESSION_TOKEN);
    struct view expiration = aws_environment_get(p->env, AWS_VAR_CREDENTIAL_EXPIRATION);
    int64_t expiry_us = 0;

    *found = false;
    if (id.len == 0 && secret.len == 0 && token.len == 0) {
        aws_plan_absent(p, AWS_SOURCE_ENVIRONMENT, "AWS_ACCESS_KEY_ID is not set");
        return OK;
    }
    if (expiration.len > 0 && !aws_timestamp_parse(expiration, &expiry_us))
        return aws_plan_wrong(p, AWS_SOURCE_ENVIRONMENT, &aws_environment_expiration_bad, "%s",
                              aws_environment_expiration_bad.text);
    if (expiration.len > 0 && expiry_us == 0)
        expiry_us = 1; /* 1970 is a time, and long past; 0 would say that there is no end */
    struct aws_step *step = aws_plan_add(p, AWS_STEP_STATIC);
    err e = aws_credentials_init(&step->credentials, id, secret, token, expiry_us, "environment");
    if (failed(e))
        return aws_plan_wrong(p, AWS_SOURCE_ENVIRONMENT, e.fault, "%s", e.fault->text);
    *found = true;
    return OK;
}

/* ---- The web identity token of a pod ---- */

static err plan_web_identity(struct aws_planner *p, bool *found)
{
    struct view file = aws_environment_get(p->env, AWS_VAR_WEB_IDENTITY_TOKEN_FILE);
    struct view role = aws_environment_get(p->env, AWS_VAR_ROLE_ARN);
    struct view name = aws_environment_get(p->env, AWS_VAR_ROLE_SESSION_NAME);

    *found = false;
    if (file.len == 0) {
        aws_plan_absent(p, AWS_SOURCE_WEB_IDENTITY, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        return OK;
    }
    if (role.len == 0)
        return aws_plan_wrong(p, AWS_SOURCE_WEB_IDENTITY, &aws_web_identity_incomplete, "%s",
                              aws_web_identity_incomplete.text);
    struct aws_step *step = aws_plan_add(p, AWS_STEP_WEB_IDENTITY);
    step->token_file = file;
    step->role_arn = role;
    step->session_name = name.len > 0 ? name : AWS_DEFAULT_SESSION_NAME;
    *found = true;
    return OK;
}

/* ---- The container's endpoint ---- */

/* 127.a.b.c, each a decimal number. */
static bool is_loopback(struct view host)
{
    struct view part;
    uint64_t n;
    size_t parts = 0;

    while (host.data != NULL) {
        host = view_cut(host, '.', &part);
        if (part.len > 3 || !view_to_u64(part, 255, &n) || (parts == 0 && n != 127))
            return false;
        parts++;
    }
    return parts == 4;
}

/* Plain http only to this host and to the addresses of ECS (169.254.170.2) and EKS Pod Identity
 * (169.254.170.23, fd00:ec2::23), as the SDKs have it. */
static bool is_container_host(struct view host)
{
    static const char *const known[] = {"localhost", "[::1]", "169.254.170.2", "169.254.170.23",
                                        "[fd00:ec2::23]"};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (view_eq_nocase(host, view_str(known[i])))
            return true;
    }
    return is_loopback(host);
}

/* The host of a URL's rest, after "http://"; brackets stay, the port does not. */
static struct view host_of(struct view rest)
{
    size_t end = 0;

    while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?' &&
           rest.data[end] != '#')
        end++;
    rest = view_upto(rest, end);
    if (view_starts_with(rest, VIEW("[")))
        return view_upto(rest, view_find(rest, ']') + 1);
    return view_upto(rest, view_find(rest, ':'));
}

static bool container_url_allowed(struct view url)
{
    if (view_starts_with(url, VIEW("https://")))
        return true;
    return view_starts_with(url, VIEW("http://")) && is_container_host(host_of(view_from(url, 7)));
}

err aws_plan_container(struct aws_planner *p, bool *found)
{
    struct view relative = aws_environment_get(p->env, AWS_VAR_CONTAINER_RELATIVE_URI);
    struct view full = aws_environment_get(p->env, AWS_VAR_CONTAINER_FULL_URI);
    struct view file = aws_environment_get(p->env, AWS_VAR_CONTAINER_TOKEN_FILE);

    *found = false;
    if (relative.len == 0 && full.len == 0) {
        aws_plan_absent(p, AWS_SOURCE_CONTAINER,
                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
        return OK;
    }
    if (relative.len > 0)
        full = arena_printf(p->arena, "http://169.254.170.2%.*s", VIEW_ARG(relative));
    if (full.data == NULL)
        return fail(&fault_out_of_memory);
    if ((relative.len > 0 && relative.data[0] != '/') || !container_url_allowed(full))
        return aws_plan_wrong(p, AWS_SOURCE_CONTAINER, &aws_container_uri_refused, "%s",
                              aws_container_uri_refused.text);
    struct aws_step *step = aws_plan_add(p, AWS_STEP_CONTAINER);
    step->url = full;
    step->token_file = file;
    *found = true;
    return OK;
}

/* ---- The instance's metadata ---- */

static struct view metadata_setting(const struct aws_planner *p, enum aws_variable variable,
                                    const char *key)
{
    struct view value = aws_environment_get(p->env, variable);
    return value.len > 0 ? value : aws_plan_profile_get(p, aws_plan_profile_name(p), key);
}

err aws_plan_instance(struct aws_planner *p, bool *found)
{
    struct view url =
        metadata_setting(p, AWS_VAR_METADATA_ENDPOINT, "ec2_metadata_service_endpoint");
    struct view mode =
        metadata_setting(p, AWS_VAR_METADATA_ENDPOINT_MODE, "ec2_metadata_service_endpoint_mode");
    struct view v1 = metadata_setting(p, AWS_VAR_METADATA_V1_DISABLED, "ec2_metadata_v1_disabled");

    *found = false;
    if (aws_environment_is_true(p->env, AWS_VAR_METADATA_DISABLED)) {
        aws_plan_absent(p, AWS_SOURCE_INSTANCE, "AWS_EC2_METADATA_DISABLED is true");
        return OK;
    }
    bool v6 = view_eq_nocase(mode, VIEW("IPv6"));
    if (url.len == 0)
        url = v6 ? VIEW("http://[fd00:ec2::254]") : VIEW("http://169.254.169.254");
    if ((mode.len > 0 && !v6 && !view_eq_nocase(mode, VIEW("IPv4"))) ||
        (!view_starts_with(url, VIEW("http://")) && !view_starts_with(url, VIEW("https://"))))
        return aws_plan_wrong(p, AWS_SOURCE_INSTANCE, &aws_metadata_endpoint_bad, "%s",
                              aws_metadata_endpoint_bad.text);
    while (url.len > 0 && url.data[url.len - 1] == '/')
        url.len--;
    struct aws_step *step = aws_plan_add(p, AWS_STEP_INSTANCE);
    step->url = arena_copy(p->arena, url);
    step->allow_v1 = view_eq_nocase(v1, VIEW("false"));
    *found = step->url.data != NULL;
    return *found ? OK : fail(&fault_out_of_memory);
}

/* ---- The order ---- */

typedef err source_plan(struct aws_planner *p, bool *found);
static source_plan *const sources[AWS_SOURCES] = {
    [AWS_SOURCE_ENVIRONMENT] = aws_plan_environment, [AWS_SOURCE_WEB_IDENTITY] = plan_web_identity,
    [AWS_SOURCE_PROFILE] = aws_plan_profile,         [AWS_SOURCE_CONTAINER] = aws_plan_container,
    [AWS_SOURCE_INSTANCE] = aws_plan_instance,
};

static err choose(struct aws_planner *p)
{
    const struct aws_plan_request *r = p->request;
    const bool named = r->profile.len > 0; /* then nothing else is meant, as in botocore */

    for (size_t i = 0; i < AWS_SOURCES; i++)
        aws_plan_absent(p, (enum aws_source)i, named ? "not asked: a profile was named"
                                                     : "not asked");
    for (size_t i = 0; i < AWS_SOURCES; i++) {
        bool found = false;
        if ((r->only && (enum aws_source)i != r->only_this) || (named && i != AWS_SOURCE_PROFILE))
            continue;
        p->plan->source = (enum aws_source)i;
        TRY(sources[i](p, &found));
        if (!found)
            continue;
        p->plan->verdicts[i].kind = AWS_VERDICT_CHOSEN;
        p->plan->verdicts[i].reason[0] = '\0';
        for (size_t later = i + 1; later < AWS_SOURCES && !named; later++)
            p->plan->verdicts[later].kind = AWS_VERDICT_LATER;
        return OK;
    }
    if (named)
        return aws_plan_wrong(p, AWS_SOURCE_PROFILE, &aws_profile_unusable,
                              "profile %.*s has no credentials", VIEW_ARG(r->profile));
    return fail(&aws_no_source);
}

/* Where the instance's metadata is, for the region; {NULL, 0} when it is not to be asked. */
static struct view instance_url(struct aws_planner *p)
{
    struct aws_plan scratch = {0};
    struct aws_planner one = *p;
    bool found;

    one.plan = &scratch;
    return !failed(aws_plan_instance(&one, &found)) && found ? scratch.steps[0].url
                                                            : (struct view){NULL, 0};
}

err aws_plan_make(const struct aws_plan_request *request, struct arena *arena,
                  struct aws_plan *out)
{
    struct aws_planner p = {.request = request, .env = request->environment, .arena = arena,
                            .plan = out};

    *out = (struct aws_plan){0};
    buf_init(&p.config_text, AWS_PROFILE_FILE_MAX + 8192);
    buf_init(&p.credentials_text, AWS_PROFILE_FILE_MAX + 8192);
    /* What is wrong with the files matters only when the profile's turn comes. */
    err files = aws_plan_read_files(&p);
    p.files_wrong = failed(files);
    struct aws_verdict why = out->verdicts[AWS_SOURCE_PROFILE];
    aws_plan_find_places(&p);
    err e = choose(&p);
    if (failed(files) && failed(e) && out->source == AWS_SOURCE_PROFILE) {
        out->verdicts[AWS_SOURCE_PROFILE] = why;
        e = files;
    }
    /* Also where no source serves: a caller's own token needs none. */
    err sts = aws_plan_find_sts(&p);
    if (!failed(e))
        e = sts;
    out->instance_url = instance_url(&p);
    if (!failed(e) && out->source == AWS_SOURCE_PROFILE)
        aws_plan_warn_of_files(&p);
    else
        out->warning_count = 0;
    buf_clear_secure(&p.config_text);
    buf_clear_secure(&p.credentials_text);
    return e;
}

void aws_plan_clear(struct aws_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        aws_credentials_clear(&plan->steps[i].credentials);
    plan->count = 0;
}

void aws_plan_label(const struct aws_plan *plan, char out[AWS_CREDENTIAL_SOURCE_MAX + 1])
{
    const struct aws_step *first = &plan->steps[0], *last = first;
    const char *how = "";

    if (plan->count > 0) {
        last = &plan->steps[plan->count - 1];
        how = first->kind == AWS_STEP_PROCESS ? "+credential_process"
              : first->kind == AWS_STEP_SSO   ? "+sso"
                                              : "";
    }
    snprintf(out, AWS_CREDENTIAL_SOURCE_MAX + 1, "%s%s%s", aws_source_name(plan->source), how,
             plan->count > 0 && last->kind == AWS_STEP_ASSUME_ROLE ? "+assume_role" : "");
}

/* ---- Kong's order ---- */

/* Kong reads static keys from a profile and nothing else there. */
static bool profile_has_keys(const struct aws_plan_request *request)
{
    const struct aws_plan_request only = {.environment = request->environment, .only = true,
                                          .only_this = AWS_SOURCE_PROFILE};
    struct aws_plan plan;
    struct arena arena;

    arena_init(&arena, 8 * 1024, 4 * 1024 * 1024);
    err e = aws_plan_make(&only, &arena, &plan);
    bool keys = !failed(e) && plan.count == 1 && plan.steps[0].kind == AWS_STEP_STATIC;
    aws_plan_clear(&plan);
    arena_clear(&arena);
    return keys;
}

void aws_plan_kong_difference(const struct aws_plan_request *request, const struct aws_plan *plan,
                              char *out, size_t size)
{
    const struct aws_environment *env = request->environment;
    bool container = aws_environment_get(env, AWS_VAR_CONTAINER_RELATIVE_URI).len > 0 ||
                     aws_environment_get(env, AWS_VAR_CONTAINER_FULL_URI).len > 0;
    const char *other = NULL;

    out[0] = '\0';
    if (plan->source == AWS_SOURCE_ENVIRONMENT || request->profile.len > 0)
        return;
    if (aws_environment_get(env, AWS_VAR_AMAZON_ACCESS_KEY_ID).len > 0 &&
        aws_environment_get(env, AWS_VAR_AMAZON_SECRET_ACCESS_KEY).len > 0)
        other = "AMAZON_ACCESS_KEY_ID and AMAZON_SECRET_ACCESS_KEY, which no AWS SDK reads";
    else if (plan->source == AWS_SOURCE_WEB_IDENTITY && profile_has_keys(request))
        other = "the keys of the profile, before the web identity token";
    else if (plan->source == AWS_SOURCE_WEB_IDENTITY && container)
        other = "the container's endpoint, before the web identity token";
    else if (plan->source == AWS_SOURCE_PROFILE && plan->steps[0].kind == AWS_STEP_STATIC &&
             plan->count == 1)
        return;
    else if (plan->source == AWS_SOURCE_PROFILE)
        other = container ? "the container's endpoint: of a profile it reads keys only"
                          : "another source: of a profile it reads keys only";
    if (other != NULL)
        snprintf(out, size, "Kong Gateway would have taken %s", other);
}
