/* What plan.c and plan_profile.c share. */
#ifndef SALLYPORT_AWS_PLAN_INTERNAL_H
#define SALLYPORT_AWS_PLAN_INTERNAL_H

#include "aws/plan.h"
#include "aws/profile.h"
#include "base/buf.h"

#define AWS_DEFAULT_SESSION_NAME VIEW("sallyport")

struct aws_planner {
    const struct aws_plan_request *request;
    const struct aws_environment *env;
    struct arena *arena;
    struct aws_plan *plan;
    /* The shared files, while the plan is made: secrets stand in them. */
    struct buf config_text;
    struct buf credentials_text;
    struct aws_profile_file config;
    struct aws_profile_file credentials;
    bool files_wrong; /* the profile source's verdict says why */
};

/* Says of a source what is wrong, and fails with the fault. */
err aws_plan_wrong(struct aws_planner *p, enum aws_source source, const struct fault *fault,
                   const char *format, ...) PRINTF_LIKE(4, 5) MUST_USE;
/* Says of a source why it does not serve. */
void aws_plan_absent(struct aws_planner *p, enum aws_source source, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Adds the steps of a source that is configured; *found tells.  A failure: configured wrongly. */
err aws_plan_environment(struct aws_planner *p, bool *found) MUST_USE;
err aws_plan_profile(struct aws_planner *p, bool *found) MUST_USE;
err aws_plan_container(struct aws_planner *p, bool *found) MUST_USE;
err aws_plan_instance(struct aws_planner *p, bool *found) MUST_USE;
/* The same of one profile. */
err aws_plan_process(struct aws_planner *p, struct view profile, bool *found) MUST_USE;
err aws_plan_sso(struct aws_planner *p, struct view profile, bool *found) MUST_USE;
err aws_plan_too_long(struct aws_planner *p) MUST_USE;

/* The region, the CA file and the endpoints that the environment and the profile say; after the
 * source was chosen, where STS is. */
void aws_plan_find_places(struct aws_planner *p);
err aws_plan_find_sts(struct aws_planner *p) MUST_USE;

/* Warns when others may read or write the file; of both shared files, where they hold secrets. */
void aws_plan_warn_of_file(struct aws_planner *p, struct view path);
void aws_plan_warn_of_files(struct aws_planner *p);

/* A fresh step at the plan's end; NULL when there are AWS_PLAN_STEPS_MAX. */
struct aws_step *aws_plan_add(struct aws_planner *p, enum aws_step_kind kind);

/* Reads both shared files.  What is not there is empty. */
err aws_plan_read_files(struct aws_planner *p) MUST_USE;
struct view aws_plan_profile_name(const struct aws_planner *p);
/* A key of the profile in force: the credentials file's, else the config file's. */
struct view aws_plan_profile_get(const struct aws_planner *p, struct view profile,
                                 const char *key);

#endif
