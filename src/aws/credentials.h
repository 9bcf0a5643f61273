/*
 * AWS credentials, and the seam through which they come.
 *
 * A set of credentials is immutable once filled.  A source without IO answers at once (the
 * environment); the sources that ask STS, IMDS or ECS refresh ahead of expiry on the control thread
 * and answer with the set they hold.  All on the control thread.
 */
#ifndef SALLYPORT_AWS_CREDENTIALS_H
#define SALLYPORT_AWS_CREDENTIALS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/view.h"

enum {
    AWS_ACCESS_KEY_ID_MAX = 128,
    AWS_SECRET_ACCESS_KEY_MAX = 512,
    AWS_SESSION_TOKEN_MAX = 16 * 1024, /* "generally about 1 KB but can be larger" */
    AWS_CREDENTIAL_SOURCE_MAX = 64,
    AWS_ARN_MAX = 255, /* of an assumed role's session: two names of 64 at most */
};

struct aws_credentials {
    char access_key_id[AWS_ACCESS_KEY_ID_MAX + 1];
    struct secret secret_access_key;
    struct secret session_token;                  /* len 0: long-term credentials */
    int64_t expiry_us;                            /* wall time; 0: never, or not known */
    char source[AWS_CREDENTIAL_SOURCE_MAX + 1];   /* "environment": for the audit and the log */
    char arn[AWS_ARN_MAX + 1]; /* of the assumed role's session, as STS said it; "": not known */
};

/* Nothing was given at all: another source may be asked. */
extern const struct fault aws_credentials_absent;
/* AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY. */
extern const struct fault aws_credentials_secret_missing;
/* AWS_SECRET_ACCESS_KEY without AWS_ACCESS_KEY_ID. */
extern const struct fault aws_credentials_key_missing;
/* AWS_SESSION_TOKEN without the other two. */
extern const struct fault aws_credentials_token_alone;
/* A value too long, or with characters that no credential has (a line end from a copied file). */
extern const struct fault aws_credentials_malformed;
extern const struct fault aws_credentials_expired;

/* Copies the texts into *out; session_token may be absent.  On failure *out is zeroed. */
err aws_credentials_init(struct aws_credentials *out, struct view access_key_id,
                         struct view secret_access_key, struct view session_token,
                         int64_t expiry_us, const char *source) MUST_USE;
/* Wipes.  The zeroed struct may be cleared. */
void aws_credentials_clear(struct aws_credentials *c);

/* Where credentials come from. */
struct credential_provider {
    const struct credential_provider_ops *ops;
};

struct credential_provider_ops {
    /* The set in force now; never blocks.  *out belongs to the provider and stays valid until the
     * control thread returns to its loop. */
    err (*current)(struct credential_provider *p, int64_t now_us,
                   const struct aws_credentials **out);
    void (*release)(struct credential_provider *p);
};

static inline MUST_USE err credentials_current(struct credential_provider *p, int64_t now_us,
                                               const struct aws_credentials **out)
{
    return p->ops->current(p, now_us, out);
}

static inline void credentials_release(struct credential_provider *p)
{
    if (p != NULL)
        p->ops->release(p);
}

/*
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, read once (changes after start
 * are not seen).  An empty variable counts as unset, as in the AWS SDKs.  lookup is getenv, or a
 * test's own.  *out is NULL on failure.
 */
err credentials_from_environment(char *(*lookup)(const char *name),
                                 struct credential_provider **out) MUST_USE;

#endif
