#include "aws/metadata.h"

#include <stdio.h>

#include "aws/sts.h"
#include "aws/timestamp.h"
#include "json/json.h"

enum { ARENA_MAX = 512 * 1024 };

const struct fault metadata_malformed = {
    "metadata_malformed", "the answer does not hold AWS credentials", NULL, 502};
const struct fault metadata_no_success = {
    "metadata_no_success", "the instance metadata service has no credentials to give", NULL, 502};

static void clean(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

/* Copies of secrets that escapes made in the arena do not stay there. */
static void wipe_copy(struct view body, struct view v)
{
    if (v.data != NULL && (v.data < body.data || v.data >= body.data + body.len))
        secret_wipe((char *)(uintptr_t)v.data, v.len);
}

static err take(const struct json_value *o, struct view body, int64_t now_us, const char *source,
                struct aws_credentials *out)
{
    struct view id, secret, token, expiration;
    int64_t expiry_us;

    if (!json_get_string(o, "AccessKeyId", &id) ||
        !json_get_string(o, "SecretAccessKey", &secret) ||
        !json_get_string(o, "Token", &token) || !json_get_string(o, "Expiration", &expiration) ||
        token.len == 0 || !aws_timestamp_parse(expiration, &expiry_us))
        return fail(&metadata_malformed);
    if (expiry_us <= now_us)
        return fail(&aws_credentials_expired_on_arrival);
    err e = aws_credentials_init(out, id, secret, token, expiry_us, source);
    wipe_copy(body, secret);
    wipe_copy(body, token);
    return e;
}

err metadata_read_credentials(struct view body, int64_t now_us, const char *source,
                              struct aws_credentials *out, char *detail, size_t size)
{
    const struct json_value *o;
    struct arena arena;
    struct view code;

    detail[0] = '\0';
    *out = (struct aws_credentials){0};
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, body, NULL, &o, NULL);
    if (failed(e) || !json_is(o, JSON_OBJECT)) {
        e = fail(&metadata_malformed);
    } else if (json_get_string(o, "Code", &code) && !view_is(code, "Success")) {
        snprintf(detail, size, "%.*s", VIEW_ARG(code));
        clean(detail);
        e = fail(&metadata_no_success);
    } else {
        e = take(o, body, now_us, source, out);
    }
    arena_clear(&arena);
    return e;
}

void metadata_describe_error(struct view body, char *out, size_t size)
{
    const struct json_value *o;
    struct view code = {NULL, 0}, text = {NULL, 0};
    struct arena arena;

    out[0] = '\0';
    arena_init(&arena, 4 * 1024, ARENA_MAX);
    if (!failed(json_parse(&arena, body, NULL, &o, NULL)) && json_is(o, JSON_OBJECT)) {
        (void)json_get_string(o, "code", &code);
        (void)json_get_string(o, "message", &text);
        snprintf(out, size, "%.*s%s%.*s", VIEW_ARG(code), text.len > 0 && code.len > 0 ? ": " : "",
                 VIEW_ARG(text));
        clean(out);
    }
    arena_clear(&arena);
}
