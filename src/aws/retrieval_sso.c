/* The step of IAM Identity Center: the cached token, refreshed when it is about to end, buys the
 * role's credentials. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aws/retrieval_internal.h"
#include "aws/sigv4.h"
#include "base/buf.h"
#include "base/log.h"

enum { US_PER_S = 1000000, URL_MAX_BYTES = 4096, BODY_MAX_BYTES = 128 * 1024, WHY_MAX = 160 };

static err read_cache(struct retrieval *r, struct buf *text)
{
    struct view path = retrieval_step(r)->cache_file;

    if (aws_read_file(path, SSO_CACHE_MAX_BYTES, text))
        return OK;
    retrieval_say(r, "%.*s: %s", VIEW_ARG(path), strerror(errno));
    return fail(&sso_token_unreadable);
}

static bool is_valid(const struct retrieval *r)
{
    return r->sso.expiry_us > retrieval_now_us(r);
}

/* ---- The role's credentials ---- */

static err ask_credentials(struct retrieval *r)
{
    const struct aws_step *s = retrieval_step(r);
    const struct fetch_header headers[] = {
        {VIEW("Accept"), VIEW("application/json")},
        {VIEW("x-amz-sso_bearer_token"), secret_view(&r->sso.access_token)},
    };
    struct buf url;

    if (!is_valid(r)) {
        retrieval_say(r, "%.*s%s%s", VIEW_ARG(s->cache_file),
                      r->refresh_detail[0] != '\0' ? ": " : "", r->refresh_detail);
        return fail(&sso_token_expired);
    }
    buf_init(&url, URL_MAX_BYTES);
    buf_add_view(&url, s->portal_url);
    buf_add_str(&url, "/federation/credentials?role_name=");
    sigv4_add_encoded(&url, s->role_name);
    buf_add_str(&url, "&account_id=");
    sigv4_add_encoded(&url, s->account_id);
    err e = buf_failed(&url) ? fail(&fault_too_large) : OK;
    r->sso_stage = SSO_CREDENTIALS;
    if (!failed(e)) {
        const struct retrieval_ask ask = {VIEW("GET"), buf_view(&url), headers, COUNT_OF(headers),
                                          {NULL, 0}, SSO_TIMEOUT_MS};
        retrieval_fetch(r, &ask);
    }
    buf_clear(&url);
    return e;
}

static err take_credentials(struct retrieval *r, const struct fetch_response *response)
{
    const struct aws_step *s = retrieval_step(r);
    struct aws_credentials fresh;
    char why[WHY_MAX];

    retrieval_say(r, "%.*s", VIEW_ARG(s->portal_url));
    if (response->status != 200) {
        sso_describe_error(response->body, why, sizeof why);
        retrieval_say(r, "%.*s: status %d %s%s", VIEW_ARG(s->portal_url), response->status, why,
                      response->status == 401 ? " (log in again: aws sso login)" : "");
        return fail(&retrieval_status);
    }
    TRY(sso_read_credentials(response->body, retrieval_now_us(r), r->label, &fresh));
    retrieval_hold(r, &fresh);
    return OK;
}

/* ---- The token ---- */

static err ask_refresh(struct retrieval *r)
{
    const struct fetch_header headers[] = {
        {VIEW("Accept"), VIEW("application/json")},
        {VIEW("Content-Type"), VIEW("application/json")},
    };
    char url[URL_MAX_BYTES];
    struct buf body;

    int n = snprintf(url, sizeof url, "%.*s/token", VIEW_ARG(retrieval_step(r)->oidc_url));
    if (n < 0 || (size_t)n >= sizeof url)
        return fail(&fault_too_large);
    buf_init(&body, BODY_MAX_BYTES);
    sso_add_create_token(&body, &r->sso);
    err e = buf_failed(&body) ? fail(&fault_too_large) : OK;
    r->sso_stage = SSO_REFRESH;
    if (!failed(e)) {
        const struct retrieval_ask ask = {VIEW("POST"), view_str(url), headers, COUNT_OF(headers),
                                          buf_view(&body), SSO_TIMEOUT_MS};
        retrieval_fetch(r, &ask);
    }
    buf_clear_secure(&body);
    return e;
}

/* The cache as it is now: a login, or a refresh by somebody else, may have come meanwhile. */
struct cache_now {
    struct buf text;
    int why; /* errno; 0: it was read */
    struct sso_token token;
    bool is_newer; /* and good: with another refresh token than the one that this run has used */
};

static void look_at_cache(const struct retrieval *r, struct cache_now *now)
{
    *now = (struct cache_now){0};
    buf_init(&now->text, SSO_CACHE_MAX_BYTES + 8192);
    if (!aws_read_file(retrieval_step(r)->cache_file, SSO_CACHE_MAX_BYTES, &now->text))
        now->why = errno;
    else
        now->is_newer = !failed(sso_token_read(buf_view(&now->text), &now->token)) &&
                        now->token.expiry_us > retrieval_now_us(r) &&
                        !secret_eq(secret_view(&now->token.refresh_token),
                                               secret_view(&r->sso.refresh_token));
}

static void clear_cache_now(struct cache_now *now)
{
    sso_token_clear(&now->token);
    buf_clear_secure(&now->text);
}

/* For the tools beside us, and for our next run.  A cache that cannot be written does not stop
 * this run; but a refresh token serves once, so it is said. */
static void write_cache(const struct retrieval *r, const struct cache_now *now)
{
    struct view path = retrieval_step(r)->cache_file;
    struct buf after;

    buf_init(&after, 2 * SSO_CACHE_MAX_BYTES);
    errno = now->why;
    if (now->why != 0 || failed(sso_token_write(&r->sso, buf_view(&now->text), &after)) ||
        !sso_cache_replace(path, buf_view(&after)))
        log_warn("aws_sso_cache_not_written",
                 "the refreshed token of IAM Identity Center could not be kept: log in again when "
                 "the next refresh fails",
                 LOG_VIEW("file", path), LOG_STR("reason", errno != 0 ? strerror(errno) : ""));
    buf_clear_secure(&after);
}

/* What the refresh brought; or what somebody else has brought, which is never written over: its
 * refresh token belongs to another registration or to a later refresh. */
static void take_refresh(struct retrieval *r, const struct fetch_response *response)
{
    struct cache_now now;
    char why[WHY_MAX - 40];

    look_at_cache(r, &now);
    if (now.is_newer) {
        sso_token_clear(&r->sso);
        r->sso = now.token;
        now.token = (struct sso_token){0};
    } else if (response->status != 200) {
        sso_describe_error(response->body, why, sizeof why);
        snprintf(r->refresh_detail, sizeof r->refresh_detail, "the refresh failed: status %d %s",
                 response->status, why);
    } else {
        err e = sso_read_create_token(response->body, retrieval_now_us(r), &r->sso);
        if (failed(e))
            snprintf(r->refresh_detail, sizeof r->refresh_detail, "%s", e.fault->text);
        else
            write_cache(r, &now);
    }
    clear_cache_now(&now);
}

err retrieval_begin_sso(struct retrieval *r)
{
    struct buf text;

    sso_token_clear(&r->sso);
    r->refresh_detail[0] = '\0';
    buf_init(&text, SSO_CACHE_MAX_BYTES + 8192);
    err e = read_cache(r, &text);
    if (!failed(e)) {
        e = sso_token_read(buf_view(&text), &r->sso);
        if (failed(e))
            retrieval_say(r, "%.*s", VIEW_ARG(retrieval_step(r)->cache_file));
    }
    buf_clear_secure(&text);
    TRY(e);
    const int64_t now_us = retrieval_now_us(r);
    if (r->sso.expiry_us - now_us > (int64_t)SSO_REFRESH_AHEAD_S * US_PER_S ||
        !sso_token_refreshable(&r->sso, now_us))
        return ask_credentials(r);
    return ask_refresh(r);
}

err retrieval_take_sso(struct retrieval *r, const struct fetch_response *response, bool *more)
{
    *more = r->sso_stage == SSO_REFRESH;
    if (!*more)
        return take_credentials(r, response);
    take_refresh(r, response);
    return ask_credentials(r);
}

err retrieval_sso_unanswered(struct retrieval *r, err e, const char *detail, bool *more)
{
    const struct aws_step *s = retrieval_step(r);

    *more = r->sso_stage == SSO_REFRESH;
    if (*more) {
        snprintf(r->refresh_detail, sizeof r->refresh_detail, "the refresh failed: %s", detail);
        return ask_credentials(r);
    }
    retrieval_say(r, "%.*s: %s", VIEW_ARG(s->portal_url), detail);
    return e;
}
