#include "aws/sts.h"

#include <stdio.h>

#include "aws/region.h"
#include "aws/sigv4.h"
#include "aws/timestamp.h"
#include "aws/xml.h"
#include "base/time.h"

enum { BODY_MAX = 192 * 1024, AUTHORIZATION_MAX = 1024, ARENA_MAX = 1024 * 1024 };

#define CONTENT_TYPE VIEW("application/x-www-form-urlencoded; charset=utf-8")

const struct fault sts_malformed = {
    "sts_malformed", "the answer of STS does not hold what it must", NULL, 502};
const struct fault aws_credentials_expired_on_arrival = {
    "aws_credentials_expired_on_arrival",
    "the AWS credentials that came have ended already: is this host's clock right?", NULL, 503};

/* ---- What is asked ---- */

static void add_pair(struct buf *out, const char *name, struct view value)
{
    if (value.len == 0)
        return;
    buf_add_char(out, '&');
    buf_add_str(out, name);
    buf_add_char(out, '=');
    sigv4_add_encoded(out, value);
}

/* Lists as the Query protocol has them: Name.member.1, from 1. */
static void add_member(struct buf *out, const char *list, size_t index, const char *field,
                       struct view value)
{
    buf_printf(out, "&%s.member.%zu%s=", list, index + 1, field);
    sigv4_add_encoded(out, value);
}

static void add_tags(struct buf *out, const struct sts_call *call)
{
    size_t transitive = 0;

    for (size_t i = 0; i < call->tag_count; i++) {
        const struct sts_tag *tag = &call->tags[i];
        add_member(out, "Tags", i, ".Key", tag->key);
        add_member(out, "Tags", i, ".Value", tag->value);
        if (tag->transitive)
            add_member(out, "TransitiveTagKeys", transitive++, "", tag->key);
    }
}

void sts_add_body(struct buf *out, const struct sts_call *call)
{
    static const char *const actions[] = {"AssumeRole", "AssumeRoleWithWebIdentity",
                                          "GetCallerIdentity"};
    char duration[24] = "";

    if (call->duration_s > 0)
        snprintf(duration, sizeof duration, "%lld", (long long)call->duration_s);
    buf_add_str(out, "Action=");
    buf_add_str(out, actions[call->action]);
    buf_add_str(out, "&Version=2011-06-15");
    if (call->action == STS_GET_CALLER_IDENTITY)
        return;
    add_pair(out, "RoleArn", call->role_arn);
    add_pair(out, "RoleSessionName", call->session_name);
    add_pair(out, "DurationSeconds", view_str(duration));
    add_pair(out, "Policy", call->policy);
    for (size_t i = 0; i < call->policy_arn_count; i++)
        add_member(out, "PolicyArns", i, ".arn", call->policy_arns[i]);
    if (call->action == STS_ASSUME_ROLE_WITH_WEB_IDENTITY) {
        add_pair(out, "WebIdentityToken", call->web_identity_token);
        return;
    }
    add_pair(out, "ExternalId", call->external_id);
    add_pair(out, "SourceIdentity", call->source_identity);
    add_tags(out, call);
}

static err sign(const struct sts_endpoint *endpoint, const struct sigv4_pair *headers,
                size_t count, struct view body, const struct aws_credentials *signer,
                int64_t now_us, struct buf *out)
{
    const struct sigv4_request request = {
        .method = VIEW("POST"),
        .path = endpoint->path,
        .headers = headers,
        .header_count = count,
        .payload = body,
        .region = endpoint->signing_region,
        .service = VIEW("sts"),
        .now_us = now_us,
    };
    return sigv4_authorization(&request, signer, NULL, out);
}

/* The headers and, with a signer, the signature over them; then off it goes. */
static err send_body(struct fetcher *fetcher, const struct sts_endpoint *endpoint,
                     struct view body, const struct aws_credentials *signer, int64_t now_us,
                     struct view ca_file, struct buf *authorization, fetch_done *done, void *arg)
{
    struct sigv4_pair signed_headers[4];
    struct fetch_header headers[6];
    char when[17];
    size_t n = 0;

    time_format_amz(now_us, when);
    signed_headers[n++] = (struct sigv4_pair){VIEW("content-type"), CONTENT_TYPE};
    signed_headers[n++] = (struct sigv4_pair){VIEW("host"), endpoint->host};
    if (signer != NULL) {
        signed_headers[n++] = (struct sigv4_pair){VIEW("x-amz-date"), view_of(when, 16)};
        if (signer->session_token.len > 0)
            signed_headers[n++] = (struct sigv4_pair){VIEW("x-amz-security-token"),
                                                      secret_view(&signer->session_token)};
        TRY(sign(endpoint, signed_headers, n, body, signer, now_us, authorization));
    }
    for (size_t i = 0; i < n; i++)
        headers[i] = (struct fetch_header){signed_headers[i].name, signed_headers[i].value};
    if (signer != NULL)
        headers[n++] = (struct fetch_header){VIEW("authorization"), buf_view(authorization)};
    headers[n++] = (struct fetch_header){VIEW("accept"), VIEW("application/xml, text/xml")};
    const struct fetch_request request = {
        .method = VIEW("POST"),
        .url = endpoint->url,
        .headers = headers,
        .header_count = n,
        .body = body,
        .ca_file = ca_file,
        .timeout_ms = STS_TIMEOUT_MS,
        .max_bytes = STS_ANSWER_MAX_BYTES,
    };
    fetcher->start(fetcher, &request, done, arg);
    return OK;
}

err sts_send(struct fetcher *fetcher, const struct sts_endpoint *endpoint,
             const struct sts_call *call, const struct aws_credentials *signer, int64_t now_us,
             struct view ca_file, fetch_done *done, void *arg)
{
    struct buf body, authorization;

    buf_init(&body, BODY_MAX);
    buf_init(&authorization, AUTHORIZATION_MAX);
    sts_add_body(&body, call);
    err e = buf_failed(&body) ? fail(&fault_too_large)
                              : send_body(fetcher, endpoint, buf_view(&body), signer, now_us,
                                          ca_file, &authorization, done, arg);
    buf_clear_secure(&body);
    buf_clear_secure(&authorization);
    return e;
}

/* ---- What it answers ---- */

/* Copies of secrets that entities made in the arena do not stay there. */
static void wipe_copy(struct view body, struct view v)
{
    if (v.data != NULL && (v.data < body.data || v.data >= body.data + body.len))
        secret_wipe((char *)(uintptr_t)v.data, v.len);
}

static err take_credentials(const struct xml_element *c, struct view body, int64_t now_us,
                            const char *source, struct aws_credentials *out)
{
    struct view id = xml_child_text(c, "AccessKeyId");
    struct view secret = xml_child_text(c, "SecretAccessKey");
    struct view token = xml_child_text(c, "SessionToken");
    int64_t expiry_us;

    if (id.len == 0 || secret.len == 0 || token.len == 0 ||
        !aws_timestamp_parse(xml_child_text(c, "Expiration"), &expiry_us))
        return fail(&sts_malformed);
    if (expiry_us <= now_us)
        return fail(&aws_credentials_expired_on_arrival);
    err e = aws_credentials_init(out, id, secret, token, expiry_us, source);
    wipe_copy(body, secret);
    wipe_copy(body, token);
    return e;
}

static bool is_word(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return text.len > 0;
}

/* It goes into the audit and nowhere else: one that does not fit is not known. */
static void take_arn(struct view arn, struct aws_credentials *out)
{
    if (arn.len > AWS_ARN_MAX || !is_word(arn))
        return;
    snprintf(out->arn, sizeof out->arn, "%.*s", VIEW_ARG(arn));
}

err sts_read_credentials(struct view body, enum sts_action action, int64_t now_us,
                         const char *source, struct aws_credentials *out)
{
    const bool web = action == STS_ASSUME_ROLE_WITH_WEB_IDENTITY;
    const struct xml_element *root;
    struct arena arena;

    *out = (struct aws_credentials){0};
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = xml_parse(&arena, body, &root);
    if (!failed(e) && !view_is(root->name, web ? "AssumeRoleWithWebIdentityResponse"
                                               : "AssumeRoleResponse"))
        e = fail(&sts_malformed);
    if (!failed(e)) {
        const struct xml_element *result =
            xml_child(root, web ? "AssumeRoleWithWebIdentityResult" : "AssumeRoleResult");
        e = take_credentials(xml_child(result, "Credentials"), body, now_us, source, out);
        if (!failed(e))
            take_arn(xml_child_text(xml_child(result, "AssumedRoleUser"), "Arn"), out);
    }
    arena_clear(&arena);
    return e;
}

err sts_read_caller(struct view body, struct arena *arena, struct sts_caller *out)
{
    const struct xml_element *root;

    *out = (struct sts_caller){0};
    TRY(xml_parse(arena, body, &root));
    if (!view_is(root->name, "GetCallerIdentityResponse"))
        return fail(&sts_malformed);
    const struct xml_element *result = xml_child(root, "GetCallerIdentityResult");
    *out = (struct sts_caller){
        .account = xml_child_text(result, "Account"),
        .arn = xml_child_text(result, "Arn"),
        .user_id = xml_child_text(result, "UserId"),
    };
    /* They go to a terminal and into the audit. */
    return is_word(out->account) && is_word(out->arn) ? OK : fail(&sts_malformed);
}
