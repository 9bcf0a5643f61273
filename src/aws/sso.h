/*
 * IAM Identity Center: the cached token of `aws sso login`, its refresh (SSO-OIDC CreateToken), and
 * the role credentials that it buys (portal, GetRoleCredentials).
 *
 * The texts of both APIs: "IAM Identity Center OIDC API Reference", "IAM Identity Center Portal API
 * Reference"; of the cache: botocore's SSOTokenProvider and the AWS SDKs' SSOTokenProvider, which
 * share it.  Pure, but for the two functions that read and write the cache.
 */
#ifndef SALLYPORT_AWS_SSO_H
#define SALLYPORT_AWS_SSO_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/view.h"

enum {
    SSO_TIMEOUT_MS = 10 * 1000,
    SSO_ANSWER_MAX_BYTES = 64 * 1024,
    SSO_CACHE_MAX_BYTES = 64 * 1024,
    SSO_REFRESH_AHEAD_S = 15 * 60, /* botocore's window */
    SSO_CACHE_NAME_BYTES = 40 + sizeof ".json",
};

/* What `aws sso login` left in ~/.aws/sso/cache. */
struct sso_token {
    struct secret access_token;
    int64_t expiry_us;
    struct secret refresh_token; /* these four absent: it cannot be refreshed */
    struct secret client_id;
    struct secret client_secret;
    int64_t registration_expiry_us;
};

extern const struct fault sso_token_unreadable; /* no file, or it cannot be read: see the detail */
extern const struct fault sso_token_malformed;  /* no JSON with accessToken and expiresAt */
extern const struct fault sso_token_expired;    /* and it cannot be refreshed: `aws sso login` */
extern const struct fault sso_malformed;        /* an answer of 200 without what it must hold */

/* "da39a3ee….json": the SHA-1 of the session's name, or of the start URL in the legacy form. */
void sso_cache_name(struct view session_or_url, char out[SSO_CACHE_NAME_BYTES]);

/* End with sso_token_clear in any case. */
err sso_token_read(struct view text, struct sso_token *out) MUST_USE;
void sso_token_clear(struct sso_token *t);
/* True when CreateToken can be asked for another. */
bool sso_token_refreshable(const struct sso_token *t, int64_t now_us);

/* The body of CreateToken: secrets, end with buf_clear_secure. */
void sso_add_create_token(struct buf *out, const struct sso_token *t);
/* Takes what CreateToken answered into t. */
err sso_read_create_token(struct view body, int64_t now_us, struct sso_token *t) MUST_USE;

/* The cache's JSON again, with the other members of `before` kept: tools beside us read them. */
err sso_token_write(const struct sso_token *t, struct view before, struct buf *out) MUST_USE;
/* Writes a file of mode 0600 beside the path and renames it there.  False with errno. */
bool sso_cache_replace(struct view path, struct view text) MUST_USE;

/* The answer of GetRoleCredentials.  Also aws_credentials_expired_on_arrival. */
err sso_read_credentials(struct view body, int64_t now_us, const char *source,
                         struct aws_credentials *out) MUST_USE;
/* "UnauthorizedException: Session token not found or invalid", free of control characters. */
void sso_describe_error(struct view body, char *out, size_t size);

#endif
