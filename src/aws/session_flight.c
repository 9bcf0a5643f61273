/* From the line to STS and back. */
#include <stdio.h>
#include <stdlib.h>

#include "aws/chain.h"
#include "aws/sessions_internal.h"
#include "base/log.h"

enum { HINT_BYTES = 480, SAID_BYTES = 320 };
#define SOURCE_SUFFIX "+assume_role"

const struct fault aws_session_refused = {
    "aws_session_refused", "STS refused a session of an assumed role", NULL, 503};
const struct fault aws_session_signer_refused = {
    "aws_session_signer_refused",
    "STS refused the credentials that ask for a session, not the session", NULL, 503};
const struct fault aws_session_token_refused = {
    "aws_session_token_refused", "the caller's token does not qualify for a session of AWS",
    "the token does not qualify for the AWS role of this service", 403};
const struct fault aws_session_throttled = {
    "aws_session_throttled", "STS is asked too much: it throttles", NULL, 503};
const struct fault aws_session_unanswered = {
    "aws_session_unanswered", "STS failed to answer", NULL, 503};
const struct fault aws_session_no_token = {
    "aws_session_no_token", "a session that begins with the caller's own token needs one", NULL,
    503};

/* ---- The line ---- */

void session_enqueue(struct aws_sessions *s, struct aws_session *a)
{
    if (a->state != SESSION_IDLE)
        return;
    session_heap_drop(&s->heap, a);
    a->state = SESSION_QUEUED;
    /* What is not one caller's, all wait for. */
    if (a->children > 0 || !a->family->per_caller)
        list_push_front(&s->queue, &a->turn);
    else
        list_push_back(&s->queue, &a->turn);
    session_place(s, a);
}

void session_unblock(struct aws_sessions *s)
{
    for (struct list *node; (node = s->blocked.prev) != &s->blocked;) {
        struct aws_session *a = LIST_ENTRY(node, struct aws_session, turn);
        list_unlink(node);
        a->state = SESSION_QUEUED;
        list_push_front(&s->queue, node);
    }
}

static bool is_web_root(const struct aws_session *a)
{
    return a->family->web_identity && a->parent == NULL;
}

static enum aws_ready signer_of_parent(struct aws_sessions *s, struct aws_session *parent,
                                       const struct aws_credentials **signer, err *why,
                                       const char **detail)
{
    if (session_serves(s, parent)) {
        *signer = &parent->credentials;
        return AWS_READY;
    }
    if (parent->state != SESSION_IDLE || parent->retrying)
        return AWS_WAIT;
    if (!session_rests(s, parent) && !(is_web_root(parent) && parent->web_token.len == 0)) {
        session_enqueue(s, parent);
        return AWS_WAIT;
    }
    *why = failed(parent->error) ? parent->error : fail(&aws_session_no_token);
    *detail = parent->detail != NULL ? parent->detail : "";
    return AWS_FAILED;
}

bool session_rests(struct aws_sessions *s, struct aws_session *a)
{
    const struct aws_credentials *signer;
    const char *detail;
    err why;

    if (!failed(a->error) || session_now_ms(s) >= a->retry_ms)
        return false;
    return !a->of_signer || session_signer(s, a, &signer, &why, &detail) == AWS_FAILED;
}

enum aws_ready session_signer(struct aws_sessions *s, struct aws_session *a,
                              const struct aws_credentials **signer, err *why,
                              const char **detail)
{
    *signer = NULL;
    *detail = "";
    if (a->parent != NULL)
        return signer_of_parent(s, a->parent, signer, why, detail);
    if (a->family->web_identity) {
        *why = fail(&aws_session_no_token);
        return a->web_token.len > 0 ? AWS_READY : AWS_FAILED;
    }
    *why = credentials_current(s->o.base, session_now_us(s), signer);
    if (!failed(*why))
        return AWS_READY;
    return is_fault(*why, &aws_credentials_waiting) ? AWS_WAIT : AWS_FAILED;
}

/* ---- The end of an attempt ---- */

static void set_detail(struct aws_session *a, const char *detail)
{
    free(a->detail);
    a->detail = detail[0] != '\0' ? strdup(detail) : NULL;
}

void session_drop_token(struct aws_session *a)
{
    struct aws_session *root = session_root(a);

    if (root->state == SESSION_IDLE && !root->retrying)
        secret_clear(&root->web_token);
}

static void settle(struct aws_sessions *s, struct aws_session *a)
{
    a->state = SESSION_IDLE;
    a->settled_ms = session_now_ms(s);
    session_drop_token(a);
    session_schedule(s, a);
    session_place(s, a);
    if (a->children > 0)
        session_unblock(s);
}

static struct view role_of(const struct aws_session *a)
{
    return a->family->roles[a->family->role_count - 1];
}

static void log_failure(const struct aws_sessions *s, const struct aws_session *a)
{
    log_warn("aws_session_failed",
             session_serves(s, a) ? "a session of an assumed role could not be refreshed; the "
                                    "credentials held go on serving"
                                  : "a session of an assumed role could not be obtained",
             LOG_VIEW("role", role_of(a)), LOG_VIEW("session", a->name),
             LOG_STR("error", a->error.fault->name), LOG_STR("reason", a->error.fault->text),
             LOG_STR("detail", a->detail != NULL ? a->detail : ""),
             LOG_INT("failures", a->failures));
}

/* Its own failure, in an exchange with STS. */
static void fail_attempt(struct aws_sessions *s, struct aws_session *a, err e, const char *detail,
                         bool passing)
{
    const bool awaited = a->wanted || a->children > 0;

    s->failures++;
    if (a->failures < 1000)
        a->failures++;
    a->error = e;
    a->of_signer = false;
    set_detail(a, detail);
    a->retrying = passing && awaited && !session_serves(s, a) &&
                  a->tries + 1 < SESSION_PASSING_TRIES;
    a->tries = a->retrying ? a->tries + 1 : 0;
    a->retry_ms = session_now_ms(s) + session_backoff_ms(a->failures);
    log_failure(s, a);
    settle(s, a);
}

/* STS was not even asked: whoever signs has no credentials.  Tried again as soon as it has. */
static void fail_for_signer(struct aws_sessions *s, struct aws_session *a, err e,
                            const char *detail)
{
    const bool news = !failed(a->error) || a->error.fault != e.fault;

    a->error = e;
    a->of_signer = true;
    a->retrying = false;
    a->tries = 0;
    set_detail(a, detail);
    a->retry_ms = session_now_ms(s) + SESSION_LOOK_MS;
    if (news)
        log_failure(s, a);
    settle(s, a);
    s->news = true;
}

static void succeed(struct aws_sessions *s, struct aws_session *a, struct aws_credentials *fresh)
{
    char until[TIME_TEXT_BYTES];

    aws_credentials_clear(&a->credentials);
    a->credentials = *fresh;
    *fresh = (struct aws_credentials){0};
    a->error = OK;
    a->of_signer = a->retrying = a->used = false;
    a->failures = a->tries = 0;
    a->retry_ms = 0;
    set_detail(a, "");
    a->refresh_us = session_refresh_at_us(session_now_us(s), a->credentials.expiry_us);
    s->assumed++;
    session_pace_good(&s->pace, session_now_ms(s));
    time_format(a->credentials.expiry_us, until);
    log_info("aws_session_assumed", "a role was assumed", LOG_VIEW("role", role_of(a)),
             LOG_VIEW("session", a->name), LOG_STR("arn", a->credentials.arn),
             LOG_STR("access_key_id", a->credentials.access_key_id), LOG_STR("expires", until));
    settle(s, a);
}

/* ---- The exchange ---- */

enum { TAGS_MAX = 50 };

/* The tags of the call stand in the room given. */
static struct sts_call call_of(const struct aws_session *a, struct sts_tag tags[TAGS_MAX])
{
    const struct session_family *f = a->family;
    struct sts_call call = {
        .action = is_web_root(a) ? STS_ASSUME_ROLE_WITH_WEB_IDENTITY : STS_ASSUME_ROLE,
        .role_arn = role_of(a),
        .session_name = a->name,
        .duration_s = f->duration_s,
        .policy = f->policy,
        .policy_arns = f->policy_arns,
        .policy_arn_count = f->policy_arn_count,
    };
    if (call.action == STS_ASSUME_ROLE_WITH_WEB_IDENTITY) {
        call.web_identity_token = secret_view(&a->web_token);
        return call;
    }
    for (size_t i = 0; i < f->tag_count && i < TAGS_MAX; i++) {
        tags[i] = f->tags[i];
        tags[i].value = a->tag_values[i];
    }
    call.tags = tags;
    call.tag_count = f->tag_count < TAGS_MAX ? f->tag_count : TAGS_MAX;
    call.external_id = f->external_id;
    call.source_identity = a->source_identity;
    return call;
}

static bool is_one_of(const char *code, const char *const *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(code, codes[i]) == 0)
            return true;
    }
    return false;
}

static err fault_of(const struct aws_session *a, enum sts_failure kind, const char *code)
{
    static const char *const of_token[] = {"InvalidIdentityToken", "ExpiredTokenException",
                                           "ExpiredToken", "IDPRejectedClaim", "AccessDenied"};

    /* "Common Error Types" of the STS API Reference: who signed is unknown, or no more. */
    static const char *const of_signer[] = {
        "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "IncompleteSignature",
        "InvalidSignatureException", "MissingAuthenticationToken",
        "MissingAuthenticationTokenException", "RequestExpired", "SignatureDoesNotMatch",
        "UnrecognizedClientException"};

    if (kind == STS_THROTTLED)
        return fail(&aws_session_throttled);
    if (kind == STS_PASSING)
        return fail(&aws_session_unanswered);
    if (is_web_root(a))
        return fail(is_one_of(code, of_token, COUNT_OF(of_token)) ? &aws_session_token_refused
                                                                  : &aws_session_refused);
    return fail(is_one_of(code, of_signer, COUNT_OF(of_signer)) ? &aws_session_signer_refused
                                                                : &aws_session_refused);
}

static void refuse(struct aws_sessions *s, struct aws_session *a,
                   const struct fetch_response *response)
{
    char code[STS_ERROR_CODE_MAX + 1], said[SAID_BYTES], hint[HINT_BYTES];
    char detail[AWS_SESSION_DETAIL_MAX + 1];
    struct sts_tag tags[TAGS_MAX];
    const struct sts_call call = call_of(a, tags);

    sts_error_code(response->body, code);
    sts_describe_error(response->body, said, sizeof said);
    sts_hint(&call, code, hint, sizeof hint);
    const enum sts_failure kind = sts_failure_of(response->status, code);
    snprintf(detail, sizeof detail, "STS, role %.*s: status %d%s%s%s%s%s", VIEW_ARG(role_of(a)),
             response->status, said[0] != '\0' ? " " : "", said, hint[0] != '\0' ? " (" : "", hint,
             hint[0] != '\0' ? ")" : "");
    if (kind == STS_THROTTLED) {
        s->throttled++;
        session_pace_throttled(&s->pace, clock_monotonic_ns(s->o.clock));
    }
    fail_attempt(s, a, fault_of(a, kind, code), detail, kind != STS_FAILED);
}

/* "container+assume_role", once however long the chain is. */
static void label_of(const struct aws_sessions *s, const struct aws_session *a,
                     char out[AWS_CREDENTIAL_SOURCE_MAX + 1])
{
    const struct aws_credentials *base;

    if (a->family->web_identity)
        snprintf(out, AWS_CREDENTIAL_SOURCE_MAX + 1, "caller_token%s",
                 a->parent != NULL ? SOURCE_SUFFIX : "");
    else if (failed(credentials_current(s->o.base, session_now_us(s), &base)))
        snprintf(out, AWS_CREDENTIAL_SOURCE_MAX + 1, "assume_role");
    else if (view_ends_with(view_str(base->source), VIEW(SOURCE_SUFFIX)))
        snprintf(out, AWS_CREDENTIAL_SOURCE_MAX + 1, "%s", base->source);
    else
        snprintf(out, AWS_CREDENTIAL_SOURCE_MAX + 1, "%.48s%s", base->source, SOURCE_SUFFIX);
}

static void take_answer(struct aws_sessions *s, struct aws_session *a,
                        const struct fetch_response *response)
{
    const enum sts_action action =
        is_web_root(a) ? STS_ASSUME_ROLE_WITH_WEB_IDENTITY : STS_ASSUME_ROLE;
    char label[AWS_CREDENTIAL_SOURCE_MAX + 1], detail[AWS_SESSION_DETAIL_MAX + 1];
    struct aws_credentials fresh;

    if (response->status != 200) {
        refuse(s, a, response);
        return;
    }
    label_of(s, a, label);
    err e = sts_read_credentials(response->body, action, session_now_us(s), label, &fresh);
    if (!failed(e)) {
        succeed(s, a, &fresh);
        return;
    }
    snprintf(detail, sizeof detail, "STS, role %.*s", VIEW_ARG(role_of(a)));
    fail_attempt(s, a, e, detail, false);
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct session_flight *flight = arg;
    struct aws_sessions *s = flight->sessions;
    struct aws_session *a = flight->session;
    char text[AWS_SESSION_DETAIL_MAX + 1];

    list_unlink(&flight->link);
    free(flight);
    if (s == NULL)
        return;
    s->in_flight--;
    if (failed(e)) {
        snprintf(text, sizeof text, "STS, role %.*s: %.*s: %s", VIEW_ARG(role_of(a)),
                 VIEW_ARG(a->family->endpoint.url), detail != NULL ? detail : "no answer");
        fail_attempt(s, a, e, text, true);
    } else {
        take_answer(s, a, response);
    }
    session_run_queue(s);
    session_tell(s);
}

static void launch(struct aws_sessions *s, struct aws_session *a,
                   const struct aws_credentials *signer)
{
    struct session_flight *flight = calloc(1, sizeof *flight);
    struct sts_tag tags[TAGS_MAX];
    const struct sts_call call = call_of(a, tags);
    err e = fail(&fault_out_of_memory);

    session_pace_take(&s->pace, clock_monotonic_ns(s->o.clock));
    if (flight != NULL) {
        *flight = (struct session_flight){.sessions = s, .session = a};
        list_init(&flight->link);
        e = sts_send(s->o.fetcher, &a->family->endpoint, &call, signer, session_now_us(s),
                     a->family->ca_file, on_answer, flight);
    }
    if (failed(e)) {
        free(flight);
        fail_attempt(s, a, e, "", false);
        s->news = true;
        return;
    }
    if (a->parent != NULL)
        a->parent->used = true;
    list_push_back(&s->flights, &flight->link);
    s->in_flight++;
    a->state = SESSION_FLYING;
    session_place(s, a);
}

void session_run_queue(struct aws_sessions *s)
{
    while (!list_is_empty(&s->queue) && s->in_flight < s->o.in_flight &&
           session_pace_at_ns(&s->pace) <= clock_monotonic_ns(s->o.clock)) {
        struct aws_session *a =
            LIST_ENTRY(list_pop_front(&s->queue), struct aws_session, turn);
        const struct aws_credentials *signer;
        const char *detail;
        err why;

        switch (session_signer(s, a, &signer, &why, &detail)) {
        case AWS_READY:
            launch(s, a, signer);
            break;
        case AWS_WAIT:
            a->state = SESSION_BLOCKED;
            list_push_back(&s->blocked, &a->turn);
            break;
        case AWS_FAILED:
            fail_for_signer(s, a, why, detail);
            break;
        }
    }
}

void session_tell(struct aws_sessions *s)
{
    s->news = s->starved = false;
    if (s->o.wake != NULL)
        s->o.wake(s->o.wake_arg);
}
