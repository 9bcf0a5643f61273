/* The profile source: the shared config and credentials files, and the chains of roles in them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/plan_internal.h"

const struct fault aws_profile_unusable = {
    "aws_profile_unusable", "the AWS profile cannot be used", NULL, 503};
const struct fault aws_profile_unreadable = {
    "aws_profile_unreadable", "the AWS config or credentials file cannot be read", NULL, 503};

bool aws_read_file(struct view path, size_t max, struct buf *out)
{
    char name[4096];
    struct stat st;

    if (path.len == 0 || path.len >= sizeof name) {
        errno = ENOENT;
        return false;
    }
    memcpy(name, path.data, path.len);
    name[path.len] = '\0';
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    int wrong = fstat(fd, &st) != 0 ? errno : !S_ISREG(st.st_mode) ? EINVAL : 0;
    while (wrong == 0) {
        if (out->len > max || !buf_reserve(out, 4096)) {
            wrong = EFBIG;
            break;
        }
        ssize_t n = read(fd, out->data + out->len, 4096);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            wrong = errno;
        else if (n > 0)
            out->len += (size_t)n;
    }
    close(fd);
    if (out->len > max)
        wrong = EFBIG;
    errno = wrong;
    return wrong == 0;
}

/* ---- The files ---- */

/* The variable's path, "~/" standing for HOME as in the SDKs, or the default one under HOME. */
static struct view path_of(struct aws_planner *p, enum aws_variable variable, const char *standard)
{
    struct view path = aws_environment_get(p->env, variable);
    struct view home = aws_environment_get(p->env, AWS_VAR_HOME);

    if (path.len > 0 && !view_starts_with(path, VIEW("~/")))
        return path;
    struct view rest = path.len > 0 ? view_from(path, 1) : view_str(standard);
    return home.len > 0 ? arena_printf(p->arena, "%.*s%.*s", VIEW_ARG(home), VIEW_ARG(rest))
                        : (struct view){"", 0};
}

static err read_one(struct aws_planner *p, enum aws_variable variable, struct view path,
                    enum aws_profile_kind kind, struct buf *text, struct aws_profile_file *out)
{
    bool named = aws_environment_get(p->env, variable).len > 0;
    unsigned line;

    if (path.len == 0)
        return OK;
    if (!aws_read_file(path, AWS_PROFILE_FILE_MAX, text)) {
        /* HOME is often another user's in a container; nobody meant that file. */
        if (errno == ENOENT || errno == ENOTDIR || (errno == EACCES && !named))
            return OK;
        return aws_plan_wrong(p, AWS_SOURCE_PROFILE, &aws_profile_unreadable, "%.*s: %s",
                              VIEW_ARG(path), strerror(errno));
    }
    err e = aws_profile_parse(p->arena, buf_view(text), kind, out, &line);
    if (failed(e))
        return aws_plan_wrong(p, AWS_SOURCE_PROFILE, e.fault, "%.*s, line %u: %s", VIEW_ARG(path),
                              line, e.fault->text);
    return OK;
}

err aws_plan_read_files(struct aws_planner *p)
{
    struct aws_plan *plan = p->plan;

    plan->config_file = path_of(p, AWS_VAR_CONFIG_FILE, "/.aws/config");
    plan->credentials_file = path_of(p, AWS_VAR_SHARED_CREDENTIALS_FILE, "/.aws/credentials");
    TRY(read_one(p, AWS_VAR_CONFIG_FILE, plan->config_file, AWS_PROFILE_CONFIG, &p->config_text,
                 &p->config));
    return read_one(p, AWS_VAR_SHARED_CREDENTIALS_FILE, plan->credentials_file,
                    AWS_PROFILE_CREDENTIALS, &p->credentials_text, &p->credentials);
}

struct view aws_plan_profile_name(const struct aws_planner *p)
{
    struct view name = p->request->profile;

    if (name.len == 0)
        name = aws_environment_get(p->env, AWS_VAR_PROFILE);
    if (name.len == 0)
        name = aws_environment_get(p->env, AWS_VAR_DEFAULT_PROFILE);
    return name.len > 0 ? name : VIEW("default");
}

struct view aws_plan_profile_get(const struct aws_planner *p, struct view profile, const char *key)
{
    struct view value = aws_profile_get(&p->credentials, profile, key);
    return value.data != NULL ? value : aws_profile_get(&p->config, profile, key);
}

/* ---- One profile, and those that it leads to ---- */

#define WRONG(...) aws_plan_wrong(p, AWS_SOURCE_PROFILE, &aws_profile_unusable, __VA_ARGS__)

/* The last credentials of the walk stand first in the plan: the steps are made from the profile
 * inwards and turned round at the end. */
struct walk {
    struct view seen[AWS_PLAN_STEPS_MAX];
    size_t depth;
};

static err copy_step(struct aws_planner *p, struct view *text, struct view value)
{
    if (value.data == NULL)
        return OK;
    *text = arena_copy(p->arena, value);
    return text->data != NULL ? OK : fail(&fault_out_of_memory);
}

err aws_plan_too_long(struct aws_planner *p)
{
    return WRONG("the chain of source_profile is longer than %d", AWS_PLAN_STEPS_MAX);
}

/* role_arn and what goes with it. */
static err add_role(struct aws_planner *p, struct view profile, enum aws_step_kind kind)
{
    struct view duration = aws_plan_profile_get(p, profile, "duration_seconds");
    struct view name = aws_plan_profile_get(p, profile, "role_session_name");
    struct aws_step *step = aws_plan_add(p, kind);
    uint64_t seconds = 0;

    if (step == NULL)
        return aws_plan_too_long(p);
    if (aws_plan_profile_get(p, profile, "mfa_serial").len > 0)
        return WRONG("profile %.*s: mfa_serial asks for a code, and there is nobody to type it",
                     VIEW_ARG(profile));
    /* STS: 900 seconds to 12 hours, less where the role or a chain says so. */
    if (duration.len > 0 && (!view_to_u64(duration, 43200, &seconds) || seconds < 900))
        return WRONG("profile %.*s: duration_seconds must be from 900 to 43200", VIEW_ARG(profile));
    step->duration_s = (int64_t)seconds;
    step->session_name = AWS_DEFAULT_SESSION_NAME;
    TRY(copy_step(p, &step->role_arn, aws_plan_profile_get(p, profile, "role_arn")));
    TRY(copy_step(p, &step->session_name, name));
    return copy_step(p, &step->external_id, aws_plan_profile_get(p, profile, "external_id"));
}

/* The three of one file together: a token never goes with another file's key. */
static err add_keys(struct aws_planner *p, struct view profile, bool *found)
{
    const struct aws_profile_file *f = &p->credentials;

    *found = false;
    if (aws_profile_get(f, profile, "aws_access_key_id").data == NULL &&
        aws_profile_get(f, profile, "aws_secret_access_key").data == NULL)
        f = &p->config;
    struct view id = aws_profile_get(f, profile, "aws_access_key_id");
    struct view secret = aws_profile_get(f, profile, "aws_secret_access_key");
    if (id.data == NULL && secret.data == NULL)
        return OK;
    if (id.data == NULL || secret.data == NULL)
        return WRONG("profile %.*s has one of aws_access_key_id and aws_secret_access_key, but "
                     "not the other", VIEW_ARG(profile));
    struct aws_step *step = aws_plan_add(p, AWS_STEP_STATIC);
    if (step == NULL)
        return aws_plan_too_long(p);
    err e = aws_credentials_init(&step->credentials, id, secret,
                                 aws_profile_get(f, profile, "aws_session_token"), 0, "profile");
    if (failed(e))
        return WRONG("profile %.*s: %s", VIEW_ARG(profile), e.fault->text);
    *found = true;
    return OK;
}

/* credential_source: one of three, and it must be there. */
static err add_credential_source(struct aws_planner *p, struct view profile, struct view source)
{
    bool found = false;
    err e = OK;

    if (p->plan->count == AWS_PLAN_STEPS_MAX)
        return aws_plan_too_long(p);
    if (view_is(source, "Environment"))
        e = aws_plan_environment(p, &found);
    else if (view_is(source, "EcsContainer"))
        e = aws_plan_container(p, &found);
    else if (view_is(source, "Ec2InstanceMetadata"))
        e = aws_plan_instance(p, &found);
    else
        return WRONG("profile %.*s: credential_source must be Environment, EcsContainer or "
                     "Ec2InstanceMetadata", VIEW_ARG(profile));
    if (failed(e))
        return WRONG("profile %.*s: credential_source %.*s: %s", VIEW_ARG(profile),
                     VIEW_ARG(source), e.fault->text);
    return found ? OK
                 : WRONG("profile %.*s: credential_source %.*s: nothing is configured there",
                         VIEW_ARG(profile), VIEW_ARG(source));
}

/* Keys, else IAM Identity Center, else a program (the order of the SDK for Go). */
static err add_own(struct aws_planner *p, struct view profile, bool *found)
{
    TRY(add_keys(p, profile, found));
    if (!*found)
        TRY(aws_plan_sso(p, profile, found));
    return *found ? OK : aws_plan_process(p, profile, found);
}

/* A profile with a role: whose credentials assume it comes next, or is added at once. */
static err take_role(struct aws_planner *p, struct view profile, struct view *next, bool *found)
{
    struct view source_profile = aws_plan_profile_get(p, profile, "source_profile");
    struct view credential_source = aws_plan_profile_get(p, profile, "credential_source");
    struct view token_file = aws_plan_profile_get(p, profile, "web_identity_token_file");

    if ((source_profile.len > 0) + (credential_source.len > 0) + (token_file.len > 0) > 1)
        return WRONG("profile %.*s: source_profile, credential_source and web_identity_token_file "
                     "exclude each other", VIEW_ARG(profile));
    if (token_file.len > 0) {
        TRY(add_role(p, profile, AWS_STEP_WEB_IDENTITY));
        *found = true;
        return copy_step(p, &p->plan->steps[p->plan->count - 1].token_file, token_file);
    }
    if (source_profile.len == 0 && credential_source.len == 0)
        return WRONG("profile %.*s: role_arn needs source_profile, credential_source or "
                     "web_identity_token_file", VIEW_ARG(profile));
    TRY(add_role(p, profile, AWS_STEP_ASSUME_ROLE));
    *found = true;
    if (credential_source.len > 0)
        return add_credential_source(p, profile, credential_source);
    if (view_eq(source_profile, profile)) {
        /* Its own credentials assume its role ("source_profile" of the reference guide). */
        TRY(add_own(p, profile, found));
        return *found ? OK : WRONG("profile %.*s: source_profile names itself, and there are no "
                                   "credentials in it", VIEW_ARG(profile));
    }
    *next = source_profile;
    return OK;
}

static err take_profile(struct aws_planner *p, struct walk *w, struct view profile,
                        struct view *next, bool *found)
{
    *next = (struct view){NULL, 0};
    for (size_t i = 0; i < w->depth; i++) {
        if (view_eq(w->seen[i], profile))
            return WRONG("profile %.*s: its chain of source_profile comes back to itself",
                         VIEW_ARG(profile));
    }
    if (w->depth == AWS_PLAN_STEPS_MAX)
        return aws_plan_too_long(p);
    w->seen[w->depth++] = profile;
    if (aws_plan_profile_get(p, profile, "role_arn").len > 0)
        return take_role(p, profile, next, found);
    if (aws_plan_profile_get(p, profile, "web_identity_token_file").len > 0)
        return WRONG("profile %.*s: web_identity_token_file needs role_arn", VIEW_ARG(profile));
    return add_own(p, profile, found);
}

static void turn_round(struct aws_plan *plan)
{
    for (size_t i = 0, j = plan->count; i + 1 < j; i++) {
        struct aws_step step = plan->steps[i];
        plan->steps[i] = plan->steps[--j];
        plan->steps[j] = step;
    }
}

static bool exists(const struct aws_planner *p, struct view profile)
{
    return aws_profile_exists(&p->credentials, profile) || aws_profile_exists(&p->config, profile);
}

err aws_plan_profile(struct aws_planner *p, bool *found)
{
    struct view name = aws_plan_profile_name(p), profile = name, next;
    bool named = p->request->profile.len > 0 ||
                 aws_environment_get(p->env, AWS_VAR_PROFILE).len > 0 ||
                 aws_environment_get(p->env, AWS_VAR_DEFAULT_PROFILE).len > 0;
    struct walk w = {0};

    *found = false;
    if (p->files_wrong)
        return fail(&aws_profile_unreadable);
    if (!exists(p, name)) {
        if (named)
            return WRONG("there is no profile %.*s in %.*s or %.*s", VIEW_ARG(name),
                         VIEW_ARG(p->plan->credentials_file), VIEW_ARG(p->plan->config_file));
        aws_plan_absent(p, AWS_SOURCE_PROFILE, "there is no profile default");
        return OK;
    }
    for (;;) {
        bool here = false;
        TRY(take_profile(p, &w, profile, &next, &here));
        if (!here && w.depth > 1)
            return WRONG("profile %.*s has no credentials", VIEW_ARG(profile));
        *found = here;
        if (next.data == NULL)
            break;
        if (!exists(p, next))
            return WRONG("profile %.*s: its source_profile %.*s is not there", VIEW_ARG(profile),
                         VIEW_ARG(next));
        profile = next;
    }
    if (!*found) {
        aws_plan_absent(p, AWS_SOURCE_PROFILE, "profile %.*s has no credentials", VIEW_ARG(name));
        return OK;
    }
    turn_round(p->plan);
    return copy_step(p, &p->plan->profile, name);
}

static bool has_secret(const struct aws_profile_file *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (view_eq_nocase(f->entries[i].key, VIEW("aws_secret_access_key")))
            return true;
    }
    return false;
}

void aws_plan_warn_of_files(struct aws_planner *p)
{
    if (has_secret(&p->credentials))
        aws_plan_warn_of_file(p, p->plan->credentials_file);
    if (has_secret(&p->config))
        aws_plan_warn_of_file(p, p->plan->config_file);
}
