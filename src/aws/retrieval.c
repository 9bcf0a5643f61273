#include "aws/retrieval.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "aws/metadata.h"
#include "aws/retrieval_internal.h"
#include "aws/sts.h"
#include "base/buf.h"
#include "base/log.h"

const struct fault retrieval_status = {
    "aws_answer_status", "a source of AWS credentials answered with an error", NULL, 503};
const struct fault retrieval_token_unreadable = {
    "aws_token_file_unreadable", "a token file for AWS cannot be read", NULL, 503};
const struct fault retrieval_token_malformed = {
    "aws_token_malformed", "a token for AWS is empty or holds a line end or blank", NULL, 503};
const struct fault retrieval_no_instance_role = {
    "aws_no_instance_role", "the instance has no IAM role", NULL, 503};
const struct fault retrieval_no_session = {
    "aws_metadata_no_session",
    "the instance metadata service gave no version 2 session, and version 1 is not allowed "
    "(AWS_EC2_METADATA_V1_DISABLED=false would allow it)",
    NULL, 503};

enum { TOKEN_FILE_MAX = 32 * 1024, URL_MAX_BYTES = 4096 };

void retrieval_free(struct retrieval *r)
{
    aws_credentials_clear(&r->held);
    secret_clear(&r->session);
    sso_token_clear(&r->sso);
    free(r);
}

static void finish(struct retrieval *r, err e)
{
    retrieval_done *done = r->o.done;
    void *arg = r->o.arg;
    struct aws_credentials credentials = r->held;
    char detail[RETRIEVAL_DETAIL_MAX];

    r->held = (struct aws_credentials){0};
    memcpy(detail, r->detail, sizeof detail);
    *r->slot = NULL;
    retrieval_free(r);
    if (failed(e))
        aws_credentials_clear(&credentials);
    done(arg, e, detail, failed(e) ? NULL : &credentials);
}

void retrieval_say(struct retrieval *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->detail, sizeof r->detail, format, args);
    va_end(args);
}

void retrieval_hold(struct retrieval *r, struct aws_credentials *fresh)
{
    aws_credentials_clear(&r->held);
    r->held = *fresh;
    *fresh = (struct aws_credentials){0};
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response);

/* The token in the file, without a line end at its end; NULL data when there is none to use. */
static err read_token(struct retrieval *r, struct view path, struct buf *out, struct view *token)
{
    if (!aws_read_file(path, TOKEN_FILE_MAX, out)) {
        retrieval_say(r, "%.*s: %s", VIEW_ARG(path), strerror(errno));
        return fail(&retrieval_token_unreadable);
    }
    *token = buf_view(out);
    while (token->len > 0 &&
           (token->data[token->len - 1] == '\n' || token->data[token->len - 1] == '\r'))
        token->len--;
    for (size_t i = 0; i < token->len; i++) {
        if (token->data[i] <= ' ' || token->data[i] > '~')
            token->len = 0;
    }
    if (token->len > 0)
        return OK;
    retrieval_say(r, "%.*s", VIEW_ARG(path));
    return fail(&retrieval_token_malformed);
}

/* ---- STS ---- */

static err send_to_sts(struct retrieval *r, const struct sts_call *call)
{
    const struct aws_plan *plan = r->o.plan;
    const bool is_signed = call->action == STS_ASSUME_ROLE;

    r->in_flight = true;
    err e = sts_send(r->o.fetcher, &plan->sts, call, is_signed ? &r->held : NULL,
                     retrieval_now_us(r), plan->ca_file, on_answer, r);
    if (failed(e))
        r->in_flight = false;
    return e;
}

static err begin_role(struct retrieval *r)
{
    const struct aws_step *s = retrieval_step(r);
    const struct sts_call call = {
        .action = STS_ASSUME_ROLE,
        .role_arn = s->role_arn,
        .session_name = s->session_name,
        .external_id = s->external_id,
        .duration_s = s->duration_s,
    };
    return send_to_sts(r, &call);
}

static err begin_web_identity(struct retrieval *r)
{
    const struct aws_step *s = retrieval_step(r);
    struct sts_call call = {
        .action = STS_ASSUME_ROLE_WITH_WEB_IDENTITY,
        .role_arn = s->role_arn,
        .session_name = s->session_name,
        .duration_s = s->duration_s,
    };
    struct buf text;

    buf_init(&text, TOKEN_FILE_MAX + 8192);
    err e = read_token(r, s->token_file, &text, &call.web_identity_token);
    if (!failed(e) && call.web_identity_token.len > STS_WEB_TOKEN_MAX) {
        retrieval_say(r, "%.*s is longer than STS takes", VIEW_ARG(s->token_file));
        e = fail(&retrieval_token_malformed);
    }
    if (!failed(e))
        e = send_to_sts(r, &call);
    buf_clear_secure(&text);
    return e;
}

static err take_sts(struct retrieval *r, const struct fetch_response *response)
{
    const struct aws_step *s = retrieval_step(r);
    const enum sts_action action = s->kind == AWS_STEP_ASSUME_ROLE
                                       ? STS_ASSUME_ROLE
                                       : STS_ASSUME_ROLE_WITH_WEB_IDENTITY;
    struct aws_credentials fresh;

    if (response->status != 200) {
        char why[200];
        sts_describe_error(response->body, why, sizeof why);
        retrieval_say(r, "STS, role %.*s: status %d %s", VIEW_ARG(s->role_arn), response->status,
                      why);
        return fail(&retrieval_status);
    }
    retrieval_say(r, "STS, role %.*s", VIEW_ARG(s->role_arn));
    TRY(sts_read_credentials(response->body, action, retrieval_now_us(r), r->label, &fresh));
    retrieval_hold(r, &fresh);
    return OK;
}

/* ---- The container's endpoint ---- */

void retrieval_fetch(struct retrieval *r, const struct retrieval_ask *ask)
{
    const struct fetch_request request = {
        .method = ask->method,
        .url = ask->url,
        .headers = ask->headers,
        .header_count = ask->header_count,
        .body = ask->body,
        .ca_file = r->o.plan->ca_file,
        .timeout_ms = ask->timeout_ms,
        .max_bytes = METADATA_ANSWER_MAX_BYTES,
    };
    r->in_flight = true;
    r->o.fetcher->start(r->o.fetcher, &request, on_answer, r);
}

static void get(struct retrieval *r, struct view method, struct view url,
                const struct fetch_header *headers, size_t count, int64_t timeout_ms)
{
    const struct retrieval_ask ask = {method, url, headers, count, {NULL, 0}, timeout_ms};

    retrieval_fetch(r, &ask);
}

/* The token of the file goes before that of the variable; there may be none. */
static err begin_container(struct retrieval *r)
{
    const struct aws_step *s = retrieval_step(r);
    struct view token = aws_environment_get(r->o.environment, AWS_VAR_CONTAINER_TOKEN);
    struct buf text;
    err e = OK;

    buf_init(&text, TOKEN_FILE_MAX + 8192);
    if (s->token_file.len > 0)
        e = read_token(r, s->token_file, &text, &token);
    if (!failed(e)) {
        const struct fetch_header headers[] = {
            {VIEW("Accept"), VIEW("application/json")},
            {VIEW("Authorization"), token},
        };
        get(r, VIEW("GET"), s->url, headers, token.len > 0 ? 2 : 1,
            RETRIEVAL_CONTAINER_TIMEOUT_MS);
    }
    buf_clear_secure(&text);
    return e;
}

static err take_json(struct retrieval *r, const struct fetch_response *response)
{
    struct aws_credentials fresh;
    char why[160];

    err e = metadata_read_credentials(response->body, retrieval_now_us(r), r->label, &fresh, why,
                                      sizeof why);
    if (failed(e)) {
        retrieval_say(r, "%.*s%s%s", VIEW_ARG(retrieval_step(r)->url), why[0] != '\0' ? ": " : "",
                      why);
        return e;
    }
    retrieval_hold(r, &fresh);
    return OK;
}

static err take_container(struct retrieval *r, const struct fetch_response *response)
{
    char why[160];

    if (response->status == 200)
        return take_json(r, response);
    metadata_describe_error(response->body, why, sizeof why);
    retrieval_say(r, "%.*s: status %d %s", VIEW_ARG(retrieval_step(r)->url), response->status, why);
    return fail(&retrieval_status);
}

/* ---- The instance's metadata ---- */

#define INSTANCE_PATH "/latest/meta-data/iam/security-credentials/"

static err ask_instance(struct retrieval *r)
{
    char url[URL_MAX_BYTES];
    struct view base = retrieval_step(r)->url;
    const struct fetch_header lifetime = {VIEW("X-aws-ec2-metadata-token-ttl-seconds"),
                                          VIEW("21600")};
    const struct fetch_header session = {VIEW("X-aws-ec2-metadata-token"),
                                         secret_view(&r->session)};
    const bool first = r->stage == INSTANCE_SESSION;
    const char *path = first ? "/latest/api/token" : INSTANCE_PATH;

    int n = snprintf(url, sizeof url, "%.*s%s%s", VIEW_ARG(base), path,
                     r->stage == INSTANCE_CREDENTIALS ? r->role : "");
    if (n < 0 || (size_t)n >= sizeof url)
        return fail(&fault_too_large);
    get(r, first ? VIEW("PUT") : VIEW("GET"), view_str(url), first ? &lifetime : &session,
        first || r->session.len > 0 ? 1 : 0, RETRIEVAL_METADATA_TIMEOUT_MS);
    return OK;
}

static err begin_instance(struct retrieval *r)
{
    r->stage = INSTANCE_SESSION;
    return ask_instance(r);
}

static bool is_plain(struct view text, size_t max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return text.len > 0 && text.len <= max;
}

static err take_session(struct retrieval *r, const struct fetch_response *response)
{
    if (!is_plain(response->body, 4096)) {
        retrieval_say(r, "%.*s: no token", VIEW_ARG(retrieval_step(r)->url));
        return fail(&metadata_malformed);
    }
    return secret_init(&r->session, response->body) ? OK : fail(&fault_out_of_memory);
}

/* A role's name goes into a URL, and nothing may come with it. */
static err take_role_name(struct retrieval *r, const struct fetch_response *response)
{
    struct view name, rest = view_cut(response->body, '\n', &name);
    (void)rest; /* an instance has one role */

    if (name.len > 0 && name.data[name.len - 1] == '\r')
        name.len--;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && memchr("+=,.@_-", c, 7) == NULL)
            name.len = 0;
    }
    if (name.len == 0 || name.len > RETRIEVAL_ROLE_NAME_MAX) {
        retrieval_say(r, "%.*s: no role's name", VIEW_ARG(retrieval_step(r)->url));
        return fail(&metadata_malformed);
    }
    memcpy(r->role, name.data, name.len);
    r->role[name.len] = '\0';
    return OK;
}

/* The end of one stage: *more when the next has begun. */
static err take_instance(struct retrieval *r, const struct fetch_response *response, bool *more)
{
    const int status = response->status;

    *more = false;
    if (r->stage == INSTANCE_SESSION && status != 200 && !retrieval_step(r)->allow_v1) {
        retrieval_say(r, "%.*s: status %d", VIEW_ARG(retrieval_step(r)->url), status);
        return fail(status >= 500 ? &retrieval_status : &retrieval_no_session);
    }
    if (r->stage == INSTANCE_ROLE && status == 404) {
        retrieval_say(r, "%.*s", VIEW_ARG(retrieval_step(r)->url));
        return fail(&retrieval_no_instance_role);
    }
    if (r->stage != INSTANCE_SESSION && status != 200) {
        retrieval_say(r, "%.*s: status %d", VIEW_ARG(retrieval_step(r)->url), status);
        return fail(&retrieval_status);
    }
    if (r->stage == INSTANCE_CREDENTIALS)
        return take_json(r, response);
    if (r->stage == INSTANCE_ROLE)
        TRY(take_role_name(r, response));
    else if (status == 200)
        TRY(take_session(r, response));
    r->stage++;
    *more = true;
    return ask_instance(r);
}

/* ---- The steps ---- */

static err begin(struct retrieval *r)
{
    switch (retrieval_step(r)->kind) {
    case AWS_STEP_STATIC:
        return OK;
    case AWS_STEP_WEB_IDENTITY:
        return begin_web_identity(r);
    case AWS_STEP_CONTAINER:
        return begin_container(r);
    case AWS_STEP_INSTANCE:
        return begin_instance(r);
    case AWS_STEP_ASSUME_ROLE:
        return begin_role(r);
    case AWS_STEP_PROCESS:
        return retrieval_begin_process(r);
    case AWS_STEP_SSO:
        return retrieval_begin_sso(r);
    }
    panic("an unknown step to AWS credentials");
}

static err take_static(struct retrieval *r)
{
    const struct aws_credentials *c = &retrieval_step(r)->credentials;

    if (c->expiry_us != 0 && c->expiry_us <= retrieval_now_us(r))
        return fail(&aws_credentials_expired);
    aws_credentials_clear(&r->held);
    return aws_credentials_init(&r->held, view_str(c->access_key_id),
                                secret_view(&c->secret_access_key),
                                secret_view(&c->session_token), c->expiry_us, r->label);
}

/* Goes on until an exchange is in flight, the plan has ended, or something failed. */
static void run(struct retrieval *r)
{
    while (r->at < r->o.plan->count) {
        err e = begin(r);
        if (!failed(e) && r->in_flight)
            return;
        if (!failed(e))
            e = take_static(r);
        if (failed(e)) {
            finish(r, e);
            return;
        }
        r->at++;
    }
    finish(r, OK);
}

void retrieval_next(struct retrieval *r, err e)
{
    if (failed(e)) {
        finish(r, e);
        return;
    }
    r->at++;
    run(r);
}

/* *more when another exchange of the same step has begun. */
static err take(struct retrieval *r, const struct fetch_response *response, bool *more)
{
    *more = false;
    r->detail[0] = '\0';
    switch (retrieval_step(r)->kind) {
    case AWS_STEP_CONTAINER:
        return take_container(r, response);
    case AWS_STEP_INSTANCE:
        return take_instance(r, response, more);
    case AWS_STEP_SSO:
        return retrieval_take_sso(r, response, more);
    default:
        return take_sts(r, response);
    }
}

static void describe_failure(struct retrieval *r, const char *detail)
{
    const struct aws_step *s = retrieval_step(r);
    bool sts = s->kind == AWS_STEP_ASSUME_ROLE || s->kind == AWS_STEP_WEB_IDENTITY;

    retrieval_say(r, "%.*s: %s", VIEW_ARG(sts ? r->o.plan->sts.url : s->url),
        detail != NULL ? detail : "no answer");
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    /* Version 1, where it is allowed, also when nobody answers for version 2 (old proxies). */
    static const struct fetch_response nothing = {.status = 404, .max_age_s = -1};
    struct retrieval *r = arg;
    bool more = false;

    r->in_flight = false;
    if (r->o.done == NULL) {
        retrieval_free(r);
        return;
    }
    if (failed(e) && retrieval_step(r)->kind == AWS_STEP_INSTANCE && r->stage == INSTANCE_SESSION &&
        retrieval_step(r)->allow_v1) {
        response = &nothing;
        e = OK;
    }
    if (failed(e) && retrieval_step(r)->kind == AWS_STEP_SSO)
        e = retrieval_sso_unanswered(r, e, detail != NULL ? detail : "no answer", &more);
    else if (failed(e))
        describe_failure(r, detail);
    else
        e = take(r, response, &more);
    if (failed(e) || !more)
        retrieval_next(r, e);
}

err retrieval_start(const struct retrieval_options *options, struct retrieval **slot)
{
    struct retrieval *r = calloc(1, sizeof *r);

    *slot = r;
    if (r == NULL)
        return fail(&fault_out_of_memory);
    r->o = *options;
    r->slot = slot;
    aws_plan_label(options->plan, r->label);
    run(r);
    return OK;
}

void retrieval_abandon(struct retrieval *r)
{
    if (r == NULL)
        return;
    ENSURE(r->in_flight); /* else it has ended */
    r->o.done = NULL;
}
