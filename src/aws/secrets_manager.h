/*
 * AWS Secrets Manager: where it is, what it is asked, what it answers ("AWS Secrets Manager API
 * Reference", version 2017-10-17; the protocol is AWS JSON 1.1).  The network is the fetcher's;
 * nothing is kept and nothing is tried again here: who asks decides about that by sm_is_transient.
 *
 * Secrets in requests are wiped once they are sent (the fetcher wipes its own copies); those in
 * answers are wiped when the callback returns.  No secret ever stands in a fault or a detail.
 */
#ifndef SALLYPORT_AWS_SECRETS_MANAGER_H
#define SALLYPORT_AWS_SECRETS_MANAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fetch.h"
#include "base/time.h"
#include "base/view.h"

enum {
    SM_TIMEOUT_MS = 10 * 1000,
    SM_SECRET_MAX_BYTES = 64 * 1024,  /* the API's own limit of SecretString and SecretBinary */
    SM_ANSWER_MAX_BYTES = 1024 * 1024, /* a secret all of whose bytes are escaped as \u00XX */
    SM_DETAIL_MAX = 320,
    SM_SECRET_ID_MAX = 2048,
    SM_VERSION_ID_MAX = 64,
    SM_STAGES_MAX = 20, /* "A maximum of 20 labels" */
};

/* ---- Where ---- */

struct sm_place {
    struct view custom_url; /* taken exactly as written; absent: made from the rest */
    struct view region;
    bool fips;
    bool dual_stack;
};

struct sm_endpoint {
    struct view url;  /* with a path; no query */
    struct view host; /* as the Host header says it */
    struct view path;
    struct view signing_region; /* the host's, else the place's, else us-east-1 */
};

/* A custom endpoint that is no http or https URL, or has a query, a fragment or a user. */
extern const struct fault sm_bad_endpoint;
/* Neither a region nor a custom URL. */
extern const struct fault sm_no_region;

/* secretsmanager.REGION.amazonaws.com and its like of every partition.  Texts live in the arena or
 * point into *place. */
err sm_endpoint_make(const struct sm_place *place, struct arena *arena,
                     struct sm_endpoint *out) MUST_USE;

/* ---- What is asked ---- */

enum sm_action {
    SM_GET_SECRET_VALUE,
    SM_DESCRIBE_SECRET,
    SM_PUT_SECRET_VALUE,
    SM_UPDATE_SECRET_VERSION_STAGE,
    SM_GET_RANDOM_PASSWORD,
};
/* "GetSecretValue"… */
const char *sm_action_name(enum sm_action action);

/* What an action does not name is ignored; an absent text is left out of the request. */
struct sm_call {
    enum sm_action action;
    struct view secret_id;     /* name or ARN; every action but GetRandomPassword */
    struct view version_id;    /* GetSecretValue */
    struct view version_stage; /* GetSecretValue (absent: AWSCURRENT), UpdateSecretVersionStage */
    /* PutSecretValue: the id of the new version, 32 to 64 characters; the same token with the same
     * value again is no error, with another value ResourceExistsException. */
    struct view client_request_token;
    struct view secret_string;
    const struct view *stages; /* none: AWSCURRENT */
    size_t stage_count;
    struct view move_to_version; /* UpdateSecretVersionStage */
    struct view remove_from_version;
    int64_t password_length; /* GetRandomPassword; 0: the API's default, 32 */
    struct view exclude_characters;
    bool exclude_punctuation;
};

/* The body of the POST, secrets and all: end with buf_clear_secure. */
void sm_add_body(struct buf *out, const struct sm_call *call);

/* ---- What it answers ---- */

/* Views into the answer: valid until the callback returns. */
struct sm_version {
    struct view id;
    struct view stages[SM_STAGES_MAX];
    size_t stage_count;
};
bool sm_version_has(const struct sm_version *v, const char *stage);

struct sm_answer {
    enum sm_action action;
    struct view arn;
    struct view name;
    struct sm_version version; /* GetSecretValue, PutSecretValue */
    /* GetSecretValue: exactly one of the two is there. */
    bool has_string;
    struct view string;
    struct view binary; /* decoded from base64 */
    int64_t created_s;  /* of this version; 0: not said */
    /* DescribeSecret */
    const struct sm_version *versions;
    size_t version_count;
    bool rotation_enabled;
    int64_t rotate_after_days;      /* RotationRules.AutomaticallyAfterDays; 0: none */
    struct view rotation_lambda;    /* ARN; absent: none */
    struct view owning_service;     /* "rds": RDS manages the secret; absent: nobody else does */
    int64_t last_rotated_s;         /* 0: never, or not said */
    int64_t last_changed_s;
    int64_t deleted_s;              /* not 0: scheduled for deletion */
    struct view random_password;    /* GetRandomPassword */
};

/* An answer of 200 without what it must hold, each once and of its type. */
extern const struct fault sm_malformed;

/* Pure.  Unescaped and decoded texts, secrets among them, live in the arena: wipe it with
 * sm_answer_wipe before it is cleared. */
err sm_read_answer(enum sm_action action, struct view body, struct arena *arena,
                   struct sm_answer *out) MUST_USE;
/* Overwrites the secrets of the answer, also those that point into the body. */
void sm_answer_wipe(struct sm_answer *answer);

/* The API's errors, each by its name. */
extern const struct fault sm_not_found;          /* ResourceNotFoundException */
extern const struct fault sm_access_denied;      /* AccessDeniedException */
extern const struct fault sm_decryption_failure; /* DecryptionFailure: the KMS key */
extern const struct fault sm_encryption_failure; /* EncryptionFailure */
extern const struct fault sm_invalid_parameter;  /* InvalidParameter-, ValidationException */
extern const struct fault sm_invalid_request;    /* InvalidRequestException: deleted, and others */
extern const struct fault sm_exists;             /* ResourceExistsException */
extern const struct fault sm_limit;              /* LimitExceededException */
extern const struct fault sm_throttled;          /* ThrottlingException and its like */
extern const struct fault sm_bad_credentials;    /* signature, key or session token refused */
extern const struct fault sm_unavailable;        /* status 5xx, InternalServiceError */
extern const struct fault sm_refused;            /* any other error */

/* The fault of an answer whose status is not 200; detail becomes "ResourceNotFoundException:
 * Secrets Manager can't find …", cut to size and free of control characters. */
err sm_read_error(int status, struct view body, char *detail, size_t size) MUST_USE;

/* Whether asking again later may help: throttling, 5xx, no connection, credentials that just
 * ended.  A secret that is not there, or not ours to read, is not. */
bool sm_is_transient(err e);

/* ---- The exchange ---- */

struct sm_options {
    struct fetcher *fetcher;
    const struct sm_endpoint *endpoint;
    const struct aws_credentials *credentials;
    struct view ca_file; /* absent: the system's */
    int64_t now_us;      /* wall time, for the signature */
};

/* answer is NULL when e says failure; its views live until the callback returns.  detail says more
 * about a failure, "" when there is nothing. */
typedef void sm_done(void *arg, err e, const char *detail, const struct sm_answer *answer);

struct sm_exchange;

/*
 * Signs and sends.  Everything is copied.  On failure (no memory, a body too large, no region) done
 * is not called; else it is called once, never from within sm_start, on the fetcher's thread.
 * *slot is the exchange as long as it goes on and NULL when done is called; it must live as long.
 */
err sm_start(const struct sm_options *options, const struct sm_call *call, sm_done *done, void *arg,
             struct sm_exchange **slot) MUST_USE;
/* done will not be called; what is in flight ends without effect.  NULL is taken. */
void sm_abandon(struct sm_exchange *x);

#endif
