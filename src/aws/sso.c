#include "aws/sso.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "aws/sts.h"
#include "aws/timestamp.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "json/json.h"

enum { ARENA_MAX = 512 * 1024, US_PER_S = 1000000, STAMP_MAX = 64 };

const struct fault sso_token_unreadable = {
    "sso_token_unreadable",
    "there is no cached token of IAM Identity Center that can be read: log in with 'aws sso login'",
    NULL, 503};
const struct fault sso_token_malformed = {
    "sso_token_malformed",
    "the cached token of IAM Identity Center has no accessToken or no expiresAt", NULL, 503};
const struct fault sso_token_expired = {
    "sso_token_expired",
    "the cached token of IAM Identity Center has ended and cannot be refreshed: log in with "
    "'aws sso login'",
    NULL, 503};
const struct fault sso_malformed = {
    "sso_malformed", "the answer of IAM Identity Center does not hold what it must", NULL, 502};

void sso_cache_name(struct view session_or_url, char out[SSO_CACHE_NAME_BYTES])
{
    uint8_t digest[SHA1_BYTES];

    sha1(session_or_url, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    memcpy(out + 2 * sizeof digest, ".json", sizeof ".json");
}

/* ---- The cached token ---- */

/* Older versions of the AWS CLI wrote "UTC" for the "Z". */
static bool read_stamp(struct view text, int64_t *out)
{
    char zulu[STAMP_MAX];

    if (!view_ends_with(text, VIEW("UTC")))
        return aws_timestamp_parse(text, out);
    text.len -= 3;
    if (text.len > sizeof zulu - 2)
        return false;
    memcpy(zulu, text.data, text.len);
    zulu[text.len] = 'Z';
    return aws_timestamp_parse(view_of(zulu, text.len + 1), out);
}

/* False when there is no memory; the member need not be there. */
static bool take_secret(const struct json_value *o, const char *name, struct secret *out)
{
    struct view text;

    return !json_get_string(o, name, &text) || text.len == 0 || secret_init(out, text);
}

/* What goes into a header and a URL's header must be one word. */
static bool is_word(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return text.len > 0;
}

static err take_token(const struct json_value *o, struct sso_token *out)
{
    struct view access, stamp;

    if (!json_is(o, JSON_OBJECT) || !json_get_string(o, "accessToken", &access) ||
        !is_word(access) || !json_get_string(o, "expiresAt", &stamp) ||
        !read_stamp(stamp, &out->expiry_us))
        return fail(&sso_token_malformed);
    if (json_get_string(o, "registrationExpiresAt", &stamp) &&
        !read_stamp(stamp, &out->registration_expiry_us))
        return fail(&sso_token_malformed);
    if (!secret_init(&out->access_token, access) ||
        !take_secret(o, "refreshToken", &out->refresh_token) ||
        !take_secret(o, "clientId", &out->client_id) ||
        !take_secret(o, "clientSecret", &out->client_secret))
        return fail(&fault_out_of_memory);
    return OK;
}

err sso_token_read(struct view text, struct sso_token *out)
{
    const struct json_value *o;
    struct arena arena;

    *out = (struct sso_token){0};
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, text, NULL, &o, NULL);
    e = failed(e) ? fail(&sso_token_malformed) : take_token(o, out);
    arena_clear_secure(&arena);
    return e;
}

void sso_token_clear(struct sso_token *t)
{
    secret_clear(&t->access_token);
    secret_clear(&t->refresh_token);
    secret_clear(&t->client_id);
    secret_clear(&t->client_secret);
    *t = (struct sso_token){0};
}

bool sso_token_refreshable(const struct sso_token *t, int64_t now_us)
{
    return t->refresh_token.len > 0 && t->client_id.len > 0 && t->client_secret.len > 0 &&
           t->registration_expiry_us > now_us;
}

/* ---- CreateToken ---- */

static void add_member(struct buf *out, const char *name, struct view value)
{
    buf_add_char(out, ',');
    json_add_name(out, name);
    json_add_string(out, value);
}

void sso_add_create_token(struct buf *out, const struct sso_token *t)
{
    buf_add_char(out, '{');
    json_add_name(out, "clientId");
    json_add_string(out, secret_view(&t->client_id));
    add_member(out, "clientSecret", secret_view(&t->client_secret));
    add_member(out, "grantType", VIEW("refresh_token"));
    add_member(out, "refreshToken", secret_view(&t->refresh_token));
    buf_add_char(out, '}');
}

static err take_created(const struct json_value *o, int64_t now_us, struct sso_token *t)
{
    struct view access, refresh = {NULL, 0};
    struct secret fresh_access = {0}, fresh_refresh = {0};
    int64_t seconds;

    if (!json_is(o, JSON_OBJECT) || !json_get_string(o, "accessToken", &access) ||
        !is_word(access) || !json_get_i64(o, "expiresIn", &seconds) || seconds <= 0 ||
        seconds > INT32_MAX)
        return fail(&sso_malformed);
    (void)json_get_string(o, "refreshToken", &refresh);
    if (!secret_init(&fresh_access, access) ||
        (refresh.len > 0 && !secret_init(&fresh_refresh, refresh))) {
        secret_clear(&fresh_access);
        return fail(&fault_out_of_memory);
    }
    secret_clear(&t->access_token);
    t->access_token = fresh_access;
    t->expiry_us = now_us + seconds * US_PER_S;
    /* None in the answer: the one before stays good (RFC 6749 section 6). */
    if (refresh.len > 0) {
        secret_clear(&t->refresh_token);
        t->refresh_token = fresh_refresh;
    }
    return OK;
}

err sso_read_create_token(struct view body, int64_t now_us, struct sso_token *t)
{
    const struct json_value *o;
    struct arena arena;

    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, body, NULL, &o, NULL);
    e = failed(e) ? fail(&sso_malformed) : take_created(o, now_us, t);
    arena_clear_secure(&arena);
    return e;
}

/* ---- The cache, written ---- */

static bool is_ours(struct view name)
{
    return view_is(name, "accessToken") || view_is(name, "expiresAt") ||
           view_is(name, "refreshToken");
}

err sso_token_write(const struct sso_token *t, struct view before, struct buf *out)
{
    const struct json_value *o;
    struct arena arena;
    char stamp[TIME_TEXT_BYTES];

    /* botocore reads whole seconds and a Z. */
    time_format(t->expiry_us, stamp);
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, before, NULL, &o, NULL);
    if (!failed(e) && !json_is(o, JSON_OBJECT))
        e = fail(&sso_token_malformed);
    if (!failed(e)) {
        buf_add_char(out, '{');
        json_add_name(out, "accessToken");
        json_add_string(out, secret_view(&t->access_token));
        buf_add_char(out, ',');
        json_add_name(out, "expiresAt");
        buf_printf(out, "\"%.19sZ\"", stamp);
        if (t->refresh_token.len > 0)
            add_member(out, "refreshToken", secret_view(&t->refresh_token));
        JSON_EACH(member, o)
        {
            if (is_ours(member->name))
                continue;
            buf_add_char(out, ',');
            json_add_string(out, member->name);
            buf_add_char(out, ':');
            buf_add_view(out, member->raw);
        }
        buf_add_char(out, '}');
        if (buf_failed(out))
            e = fail(&fault_too_large);
    }
    arena_clear_secure(&arena);
    return e;
}

static bool write_all(int fd, struct view text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text = view_from(text, (size_t)n);
    }
    return fsync(fd) == 0;
}

bool sso_cache_replace(struct view path, struct view text)
{
    char name[PATH_MAX], fresh[PATH_MAX];
    int n = snprintf(name, sizeof name, "%.*s", VIEW_ARG(path));
    int m = snprintf(fresh, sizeof fresh, "%.*s.%016llx", VIEW_ARG(path),
                     (unsigned long long)random_below(UINT64_MAX));

    if (n < 0 || m < 0 || (size_t)m >= sizeof fresh) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, text);
    int why = errno;
    close(fd);
    if (good && rename(fresh, name) == 0)
        return true;
    if (good)
        why = errno;
    unlink(fresh);
    errno = why;
    return false;
}

/* ---- GetRoleCredentials ---- */

static err take_credentials(const struct json_value *o, int64_t now_us, const char *source,
                            struct aws_credentials *out)
{
    struct view id, secret, token;
    int64_t expiration_ms;

    /* Milliseconds up to the year 9999. */
    if (!json_get_string(o, "accessKeyId", &id) ||
        !json_get_string(o, "secretAccessKey", &secret) ||
        !json_get_string(o, "sessionToken", &token) || id.len == 0 || secret.len == 0 ||
        token.len == 0 || !json_get_i64(o, "expiration", &expiration_ms) || expiration_ms < 0 ||
        expiration_ms > INT64_C(253402300799000))
        return fail(&sso_malformed);
    if (expiration_ms * 1000 <= now_us)
        return fail(&aws_credentials_expired_on_arrival);
    return aws_credentials_init(out, id, secret, token, expiration_ms * 1000, source);
}

err sso_read_credentials(struct view body, int64_t now_us, const char *source,
                         struct aws_credentials *out)
{
    const struct json_value *o;
    struct arena arena;

    *out = (struct aws_credentials){0};
    arena_init(&arena, 8 * 1024, ARENA_MAX);
    err e = json_parse(&arena, body, NULL, &o, NULL);
    e = failed(e) ? fail(&sso_malformed)
                  : take_credentials(json_get(o, "roleCredentials"), now_us, source, out);
    arena_clear_secure(&arena);
    return e;
}

static struct view first_of(const struct json_value *o, const char *const *names, size_t count)
{
    struct view text = {NULL, 0};

    for (size_t i = 0; i < count && text.len == 0; i++)
        (void)json_get_string(o, names[i], &text);
    return text;
}

void sso_describe_error(struct view body, char *out, size_t size)
{
    static const char *const codes[] = {"__type", "code", "error"};
    static const char *const texts[] = {"message", "Message", "error_description"};
    const struct json_value *o;
    struct arena arena;

    out[0] = '\0';
    arena_init(&arena, 4 * 1024, ARENA_MAX);
    if (!failed(json_parse(&arena, body, NULL, &o, NULL)) && json_is(o, JSON_OBJECT)) {
        struct view code = first_of(o, codes, COUNT_OF(codes));
        struct view text = first_of(o, texts, COUNT_OF(texts));
        code = view_from(code, view_find(code, '#') < code.len ? view_find(code, '#') + 1 : 0);
        snprintf(out, size, "%.*s%s%.*s", VIEW_ARG(code), text.len > 0 && code.len > 0 ? ": " : "",
                 VIEW_ARG(text));
    }
    arena_clear(&arena);
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}
