#include "aws/process.h"

#include "aws/sts.h"
#include "aws/timestamp.h"
#include "json/json.h"

enum { ARENA_MAX = 512 * 1024 };

const struct fault process_bad_command = {
    "process_bad_command",
    "credential_process has an open quote, a backslash at its end, too many words, or none", NULL,
    503};
const struct fault process_malformed = {
    "process_malformed",
    "credential_process wrote no JSON object with Version, AccessKeyId and SecretAccessKey", NULL,
    503};
const struct fault process_bad_version = {
    "process_bad_version", "credential_process wrote another Version than 1", NULL, 503};

/* ---- The command line ---- */

struct splitter {
    char *at;    /* where the next character goes */
    char *begun; /* of the word under way; NULL between words */
    struct view *words;
    size_t count;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void put(struct splitter *s, char c)
{
    *s->at++ = c;
}

static bool end_word(struct splitter *s)
{
    if (s->begun == NULL)
        return true;
    if (s->count == PROCESS_WORDS_MAX)
        return false;
    s->words[s->count++] = view_of(s->begun, (size_t)(s->at - s->begun));
    s->begun = NULL;
    return true;
}

/* Takes what stands in quotes, after the first one; false when the second is missing. */
static bool take_quoted(struct splitter *s, struct view *rest, char quote)
{
    while (rest->len > 0) {
        char c = rest->data[0];
        *rest = view_from(*rest, 1);
        if (c == quote)
            return true;
        if (c == '\\' && quote == '"' && rest->len > 0 &&
            (rest->data[0] == '"' || rest->data[0] == '\\')) {
            c = rest->data[0];
            *rest = view_from(*rest, 1);
        }
        put(s, c);
    }
    return false;
}

static bool take_one(struct splitter *s, struct view *rest)
{
    char c = rest->data[0];

    *rest = view_from(*rest, 1);
    if (is_blank(c))
        return end_word(s);
    if (s->begun == NULL)
        s->begun = s->at;
    if (c == '\'' || c == '"')
        return take_quoted(s, rest, c);
    if (c == '\\') {
        if (rest->len == 0)
            return false;
        c = rest->data[0];
        *rest = view_from(*rest, 1);
    }
    put(s, c);
    return true;
}

err process_split(struct arena *arena, struct view command, struct view words[PROCESS_WORDS_MAX],
                  size_t *count)
{
    struct splitter s = {.words = words};

    *count = 0;
    /* No word is longer than what it was made from. */
    s.at = arena_alloc(arena, command.len + 1);
    if (s.at == NULL)
        return fail(&fault_out_of_memory);
    while (command.len > 0) {
        if (!take_one(&s, &command))
            return fail(&process_bad_command);
    }
    if (!end_word(&s) || s.count == 0 || words[0].len == 0)
        return fail(&process_bad_command);
    *count = s.count;
    return OK;
}

/* ---- The answer ---- */

/* A member that may be absent or null; false when it is there and no string. */
static bool get_optional(const struct json_value *o, const char *name, struct view *out)
{
    const struct json_value *v = json_get(o, name);

    *out = (struct view){NULL, 0};
    return v == NULL || json_is(v, JSON_NULL) || json_get_string(o, name, out);
}

static err take(const struct json_value *o, int64_t now_us, const char *source,
                struct aws_credentials *out)
{
    struct view id, secret, token, expiration;
    int64_t version, expiry_us = 0;

    if (!json_is(o, JSON_OBJECT) || json_get(o, "Version") == NULL)
        return fail(&process_malformed);
    if (!json_get_i64(o, "Version", &version) || version != 1)
        return fail(&process_bad_version);
    if (!json_get_string(o, "AccessKeyId", &id) || id.len == 0 ||
        !json_get_string(o, "SecretAccessKey", &secret) || secret.len == 0 ||
        !get_optional(o, "SessionToken", &token) || !get_optional(o, "Expiration", &expiration))
        return fail(&process_malformed);
    if (expiration.data != NULL) {
        if (!aws_timestamp_parse(expiration, &expiry_us))
            return fail(&process_malformed);
        if (expiry_us <= now_us)
            return fail(&aws_credentials_expired_on_arrival);
    }
    return aws_credentials_init(out, id, secret, token, expiry_us, source);
}

err process_read_credentials(struct view output, int64_t now_us, const char *source,
                             struct aws_credentials *out)
{
    const struct json_value *o;
    struct arena arena;

    *out = (struct aws_credentials){0};
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, output, NULL, &o, NULL);
    e = failed(e) ? fail(&process_malformed) : take(o, now_us, source, out);
    arena_clear_secure(&arena);
    return e;
}
