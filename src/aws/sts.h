/*
 * AWS Security Token Service: where it is, what it is asked, what it answers ("AWS Security Token
 * Service API Reference", version 2011-06-15).  No state; the network is the fetcher's.
 */
#ifndef SALLYPORT_AWS_STS_H
#define SALLYPORT_AWS_STS_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fetch.h"
#include "base/view.h"

enum {
    STS_TIMEOUT_MS = 10 * 1000,
    STS_ANSWER_MAX_BYTES = 128 * 1024,
    STS_WEB_TOKEN_MAX = 20000, /* the API's own limit of WebIdentityToken */
    STS_ERROR_CODE_MAX = 64,
};

/* ---- Where ---- */

struct sts_place {
    struct view custom_url; /* taken exactly as written; absent: made from the rest */
    struct view region;     /* absent: not known */
    bool legacy;            /* AWS_STS_REGIONAL_ENDPOINTS=legacy */
    bool fips;
    bool dual_stack;
};

struct sts_endpoint {
    struct view url;            /* with a path; no query */
    struct view host;           /* as the Host header says it */
    struct view path;
    struct view signing_region; /* the host's, else the region, else us-east-1 */
};

/* A custom endpoint that is no http or https URL, or has a query, a fragment or a user. */
extern const struct fault sts_bad_endpoint;

/* Texts live in the arena or point into *place.  Without a region and a custom URL: the global
 * endpoint, https://sts.amazonaws.com, signed for us-east-1. */
err sts_endpoint_make(const struct sts_place *place, struct arena *arena,
                      struct sts_endpoint *out) MUST_USE;

/*
 * The precedence: the first of `custom` that is there (from the most particular: a service's
 * sts_endpoint_url; a vault entity's, vault_aws_sts_endpoint_url), else settings->custom_url
 * (AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the profile's), else the place of `region`, else that
 * of settings->region.  A custom URL is taken exactly as written, whatever the region.
 */
err sts_endpoint_choose(const struct view *custom, size_t count, struct view region,
                        const struct sts_place *settings, struct arena *arena,
                        struct sts_endpoint *out) MUST_USE;

/* ---- What is asked ---- */

enum sts_action { STS_ASSUME_ROLE, STS_ASSUME_ROLE_WITH_WEB_IDENTITY, STS_GET_CALLER_IDENTITY };

struct sts_tag {
    struct view key;
    struct view value; /* may be empty */
    bool transitive;
};

/* Absent texts and counts of 0 are not sent. */
struct sts_call {
    enum sts_action action;
    struct view role_arn;
    struct view session_name;
    int64_t duration_s; /* 0: STS's default */
    struct view policy; /* a session policy, JSON */
    const struct view *policy_arns;
    size_t policy_arn_count;
    /* AssumeRole only: with a web identity these come from the token's claims. */
    struct view external_id;
    struct view source_identity;
    const struct sts_tag *tags;
    size_t tag_count;
    struct view web_identity_token; /* AssumeRoleWithWebIdentity only */
};

/* The body of the POST, secrets and all: end with buf_clear_secure. */
void sts_add_body(struct buf *out, const struct sts_call *call);

/* Sends it; done follows as base/fetch.h says.  signer is NULL for AssumeRoleWithWebIdentity. */
err sts_send(struct fetcher *fetcher, const struct sts_endpoint *endpoint,
             const struct sts_call *call, const struct aws_credentials *signer, int64_t now_us,
             struct view ca_file, fetch_done *done, void *arg) MUST_USE;

/* ---- What it answers ---- */

/* An answer of 200 without what it must hold, each exactly once. */
extern const struct fault sts_malformed;
/* The credentials that came have ended already: the answer is old, or a clock is wrong. */
extern const struct fault aws_credentials_expired_on_arrival;

err sts_read_credentials(struct view body, enum sts_action action, int64_t now_us,
                         const char *source, struct aws_credentials *out) MUST_USE;

struct sts_caller {
    struct view account;
    struct view arn;
    struct view user_id;
};
/* The views live in the arena or point into the body. */
err sts_read_caller(struct view body, struct arena *arena, struct sts_caller *out) MUST_USE;

/* "AccessDenied: User … is not authorized …" of an ErrorResponse, cut to the room and free of
 * control characters; "" when the body is none. */
void sts_describe_error(struct view body, char *out, size_t size);
/* "AccessDenied"; "" when the body is no ErrorResponse. */
void sts_error_code(struct view body, char out[STS_ERROR_CODE_MAX + 1]);

enum sts_failure {
    STS_FAILED,    /* the same again would fail again, until somebody changes something */
    STS_PASSING,   /* worth another try */
    STS_THROTTLED, /* worth another try, and all should be asked less */
};
enum sts_failure sts_failure_of(int status, const char *code);

/* What to look at when STS refused the call: a sentence, or "".  It may come from the claims of the
 * web identity token, of which it shows the issuer, the audience and the client. */
void sts_hint(const struct sts_call *call, const char *code, char *out, size_t size);

#endif
