/*
 * Which AWS identity this process has, decided from its environment and the shared files: one of
 * the sources, and the steps that lead from it to credentials.
 *
 * The order is that of the AWS SDKs for Java (v2) and Go (v2): environment, web identity token,
 * profile, container, instance metadata.  The first one that is configured is the one; when it
 * fails, the failure is reported and no later one is asked, for an outage must never give the
 * gateway another identity.
 *
 * Reads files; never the network.  One thread at a time.
 */
#ifndef SALLYPORT_AWS_PLAN_H
#define SALLYPORT_AWS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/environment.h"
#include "aws/sts.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum aws_source {
    AWS_SOURCE_ENVIRONMENT,
    AWS_SOURCE_WEB_IDENTITY,
    AWS_SOURCE_PROFILE,
    AWS_SOURCE_CONTAINER,
    AWS_SOURCE_INSTANCE,
    AWS_SOURCES
};
/* "environment", "web_identity", "profile", "container", "instance_metadata". */
const char *aws_source_name(enum aws_source source);

enum aws_step_kind {
    AWS_STEP_STATIC,       /* credentials that stand there */
    AWS_STEP_WEB_IDENTITY, /* AssumeRoleWithWebIdentity with the token of a file */
    AWS_STEP_CONTAINER,    /* ECS, EKS Pod Identity */
    AWS_STEP_INSTANCE,     /* EC2 instance metadata */
    AWS_STEP_ASSUME_ROLE,  /* AssumeRole, signed with what the step before gave */
    AWS_STEP_PROCESS,      /* credential_process */
    AWS_STEP_SSO,          /* IAM Identity Center, by its cached token */
};

/* The AWS services that this program asks, for their endpoints. */
enum aws_service {
    AWS_SERVICE_STS,
    AWS_SERVICE_SSO,
    AWS_SERVICE_SSO_OIDC,
    AWS_SERVICE_SECRETS_MANAGER,
    AWS_SERVICES
};

/* Texts live in the plan's arena. */
struct aws_step {
    enum aws_step_kind kind;
    struct view role_arn;
    struct view session_name;
    struct view external_id;
    int64_t duration_s;
    struct view token_file;             /* web identity; container (absent: see the environment) */
    struct view url;                    /* container: the whole; instance: without a path */
    bool allow_v1;                      /* instance */
    struct view command;                /* process */
    struct view cache_file;             /* SSO: of its token */
    struct view account_id;             /* SSO; role_name too */
    struct view role_name;
    struct view portal_url;             /* SSO: the portal's and SSO-OIDC's endpoints, no path */
    struct view oidc_url;
    struct aws_credentials credentials; /* static: owned by the plan */
};

enum { AWS_PLAN_STEPS_MAX = 16, AWS_REASON_MAX = 200, AWS_PLAN_WARNINGS_MAX = 4 };

enum aws_verdict_kind {
    AWS_VERDICT_ABSENT, /* asked, and not configured */
    AWS_VERDICT_CHOSEN,
    AWS_VERDICT_WRONG,  /* configured, but not in a way that can work */
    AWS_VERDICT_LATER,  /* comes after the chosen one: not asked */
};

struct aws_verdict {
    enum aws_verdict_kind kind;
    char reason[AWS_REASON_MAX]; /* a sentence's part: "AWS_ACCESS_KEY_ID is not set" */
};

struct aws_plan {
    enum aws_source source;
    struct aws_step steps[AWS_PLAN_STEPS_MAX];
    size_t count; /* 0: no plan */
    struct view profile; /* its name; absent with other sources */
    struct view region;  /* of the environment or the profile, or the hint; absent: not known */
    struct view ca_file; /* AWS_CA_BUNDLE, or the profile's ca_bundle; absent: the system's */
    struct view config_file; /* "" when there is none to look at */
    struct view credentials_file;
    struct sts_endpoint sts;
    struct sts_place sts_place; /* what it was made from; of others by sts_endpoint_choose */
    /* AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's `services` section, the profile's
     * endpoint_url, in this order; absent: the region's standard one. */
    struct view endpoint_urls[AWS_SERVICES];
    bool fips;
    bool dual_stack;
    struct view instance_url; /* of the instance's metadata; absent: disabled, or set up wrongly */
    struct aws_verdict verdicts[AWS_SOURCES];
    /* What works and should not stay so: "…/credentials can be read by other users …". */
    char warnings[AWS_PLAN_WARNINGS_MAX][AWS_REASON_MAX];
    size_t warning_count;
};

struct aws_plan_request {
    const struct aws_environment *environment;
    struct view profile;       /* --profile: this one, and no other source; absent: by the order */
    struct view region_hint;   /* where neither environment nor profile names a region */
    bool only;                 /* look at one source: the one that has served before */
    enum aws_source only_this;
};

extern const struct fault aws_no_source;          /* nothing is configured, and IMDS is disabled */
extern const struct fault aws_profile_unusable;   /* says why in the verdict's reason */
extern const struct fault aws_profile_unreadable;
extern const struct fault aws_web_identity_incomplete;
extern const struct fault aws_container_uri_refused;
extern const struct fault aws_metadata_endpoint_bad;
extern const struct fault aws_environment_expiration_bad; /* AWS_CREDENTIAL_EXPIRATION */

/* *out is to be cleared in any case: with an error it still tells the verdicts and the files. */
err aws_plan_make(const struct aws_plan_request *request, struct arena *arena,
                  struct aws_plan *out) MUST_USE;
/* Wipes static credentials. */
void aws_plan_clear(struct aws_plan *plan);

/* The text for the audit's and the log's `credential_source`: the source's name, with
 * "+credential_process" or "+sso" for those of a profile, "+assume_role" when roles follow. */
void aws_plan_label(const struct aws_plan *plan, char out[AWS_CREDENTIAL_SOURCE_MAX + 1]);

/* Where Kong Gateway's order (environment, AMAZON_*, profile's keys, container, web identity,
 * instance) would have found another identity: a sentence; "" when it would have chosen alike. */
void aws_plan_kong_difference(const struct aws_plan_request *request, const struct aws_plan *plan,
                              char *out, size_t size);

/* Reads a whole file of at most max bytes into out (which has a larger maximum).  False with
 * errno; EFBIG when it is larger, EINVAL when it is no regular file. */
bool aws_read_file(struct view path, size_t max, struct buf *out) MUST_USE;

#endif
