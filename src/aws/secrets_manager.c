#include "aws/secrets_manager.h"

#include <stdio.h>
#include <stdlib.h>

#include "aws/sigv4.h"
#include "base/log.h"
#include "base/secret.h"
#include "json/json.h"

enum {
    /* A value all of whose bytes are escaped, and what stands around it. */
    BODY_MAX = 6 * SM_SECRET_MAX_BYTES + 32 * 1024,
    AUTHORIZATION_MAX = 1024,
    ANSWER_ARENA_MAX = 16 * 1024 * 1024,
};

#define CONTENT_TYPE VIEW("application/x-amz-json-1.1")

/* ---- What is asked ---- */

const char *sm_action_name(enum sm_action action)
{
    static const char *const names[] = {"GetSecretValue", "DescribeSecret", "PutSecretValue",
                                        "UpdateSecretVersionStage", "GetRandomPassword"};
    return names[action];
}

static void begin_member(struct buf *out, const char *name)
{
    if (out->data != NULL && out->len > 0 && out->data[out->len - 1] != '{')
        buf_add_char(out, ',');
    json_add_name(out, name);
}

static void add_text(struct buf *out, const char *name, struct view value)
{
    if (value.data == NULL)
        return;
    begin_member(out, name);
    json_add_string(out, value);
}

static void add_stages(struct buf *out, const struct sm_call *call)
{
    if (call->stage_count == 0)
        return;
    begin_member(out, "VersionStages");
    for (size_t i = 0; i < call->stage_count; i++) {
        buf_add_char(out, i == 0 ? '[' : ',');
        json_add_string(out, call->stages[i]);
    }
    buf_add_char(out, ']');
}

static void add_password_rules(struct buf *out, const struct sm_call *call)
{
    if (call->password_length > 0) {
        begin_member(out, "PasswordLength");
        buf_add_i64(out, call->password_length);
    }
    add_text(out, "ExcludeCharacters", call->exclude_characters);
    if (call->exclude_punctuation) {
        begin_member(out, "ExcludePunctuation");
        buf_add_str(out, "true");
    }
}

void sm_add_body(struct buf *out, const struct sm_call *call)
{
    buf_add_char(out, '{');
    if (call->action != SM_GET_RANDOM_PASSWORD)
        add_text(out, "SecretId", call->secret_id);
    switch (call->action) {
    case SM_GET_SECRET_VALUE:
        add_text(out, "VersionId", call->version_id);
        add_text(out, "VersionStage", call->version_stage);
        break;
    case SM_PUT_SECRET_VALUE:
        add_text(out, "ClientRequestToken", call->client_request_token);
        add_text(out, "SecretString", call->secret_string);
        add_stages(out, call);
        break;
    case SM_UPDATE_SECRET_VERSION_STAGE:
        add_text(out, "VersionStage", call->version_stage);
        add_text(out, "RemoveFromVersionId", call->remove_from_version);
        add_text(out, "MoveToVersionId", call->move_to_version);
        break;
    case SM_GET_RANDOM_PASSWORD:
        add_password_rules(out, call);
        break;
    case SM_DESCRIBE_SECRET:
        break;
    }
    buf_add_char(out, '}');
}

/* ---- The exchange ---- */

struct sm_exchange {
    enum sm_action action;
    sm_done *done; /* NULL once abandoned */
    void *arg;
    struct sm_exchange **slot;
};

/* What a refusal of the value that was sent says may repeat it: its name alone is kept. */
static void keep_name_only(char *why)
{
    why[strcspn(why, ":")] = '\0';
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct sm_exchange *x = arg;
    struct sm_answer answer = {0};
    char why[SM_DETAIL_MAX];
    struct arena arena;

    if (x->done == NULL) {
        free(x);
        return;
    }
    arena_init(&arena, 4 * 1024, ANSWER_ARENA_MAX);
    snprintf(why, sizeof why, "%s", detail != NULL ? detail : "");
    if (!failed(e) && response->status != 200) {
        e = sm_read_error(response->status, response->body, why, sizeof why);
        if (x->action == SM_PUT_SECRET_VALUE && is_fault(e, &sm_invalid_parameter))
            keep_name_only(why);
    } else if (!failed(e)) {
        e = sm_read_answer(x->action, response->body, &arena, &answer);
    }
    sm_done *done = x->done;
    void *done_arg = x->arg;
    *x->slot = NULL;
    free(x);
    done(done_arg, e, why, failed(e) ? NULL : &answer);
    sm_answer_wipe(&answer);
    arena_clear(&arena);
}

/* The headers, signed. */
static err send_body(const struct sm_options *o, enum sm_action action, struct view body,
                     struct buf *authorization, struct sm_exchange *x)
{
    const struct aws_credentials *c = o->credentials;
    struct sigv4_pair pairs[5];
    struct fetch_header headers[7];
    char when[17], target[64];
    size_t n = 0;

    time_format_amz(o->now_us, when);
    snprintf(target, sizeof target, "secretsmanager.%s", sm_action_name(action));
    pairs[n++] = (struct sigv4_pair){VIEW("content-type"), CONTENT_TYPE};
    pairs[n++] = (struct sigv4_pair){VIEW("host"), o->endpoint->host};
    pairs[n++] = (struct sigv4_pair){VIEW("x-amz-date"), view_of(when, 16)};
    if (c->session_token.len > 0)
        pairs[n++] = (struct sigv4_pair){VIEW("x-amz-security-token"),
                                         secret_view(&c->session_token)};
    pairs[n++] = (struct sigv4_pair){VIEW("x-amz-target"), view_str(target)};
    const struct sigv4_request to_sign = {
        .method = VIEW("POST"),
        .path = o->endpoint->path,
        .headers = pairs,
        .header_count = n,
        .payload = body,
        .region = o->endpoint->signing_region,
        .service = VIEW("secretsmanager"),
        .now_us = o->now_us,
    };
    TRY(sigv4_authorization(&to_sign, c, NULL, authorization));
    for (size_t i = 0; i < n; i++)
        headers[i] = (struct fetch_header){pairs[i].name, pairs[i].value};
    headers[n++] = (struct fetch_header){VIEW("authorization"), buf_view(authorization)};
    headers[n++] = (struct fetch_header){VIEW("accept"), VIEW("application/json")};
    const struct fetch_request request = {
        .method = VIEW("POST"),
        .url = o->endpoint->url,
        .headers = headers,
        .header_count = n,
        .body = body,
        .ca_file = o->ca_file,
        .timeout_ms = SM_TIMEOUT_MS,
        .max_bytes = SM_ANSWER_MAX_BYTES,
    };
    o->fetcher->start(o->fetcher, &request, on_answer, x);
    return OK;
}

err sm_start(const struct sm_options *options, const struct sm_call *call, sm_done *done, void *arg,
             struct sm_exchange **slot)
{
    struct sm_exchange *x = calloc(1, sizeof *x);
    struct buf body, authorization;

    *slot = NULL;
    if (x == NULL)
        return fail(&fault_out_of_memory);
    *x = (struct sm_exchange){call->action, done, arg, slot};
    buf_init(&body, BODY_MAX);
    buf_init(&authorization, AUTHORIZATION_MAX);
    sm_add_body(&body, call);
    err e = buf_failed(&body)
                ? fail(&fault_too_large)
                : send_body(options, call->action, buf_view(&body), &authorization, x);
    buf_clear_secure(&body);
    buf_clear_secure(&authorization);
    if (failed(e))
        free(x);
    else
        *slot = x;
    return e;
}

void sm_abandon(struct sm_exchange *x)
{
    if (x != NULL)
        x->done = NULL;
}
