/* What a profile says beside keys and roles: credential_process, IAM Identity Center; and who can
 * read the files in which its secrets stand. */
#include <stdio.h>
#include <sys/stat.h>

#include "aws/endpoint.h"
#include "aws/plan_internal.h"
#include "aws/region.h"
#include "aws/sigv4.h"
#include "aws/sso.h"

#define WRONG(...) aws_plan_wrong(p, AWS_SOURCE_PROFILE, &aws_profile_unusable, __VA_ARGS__)

/* ---- Warnings ---- */

static void warn(struct aws_planner *p, struct view path, const char *what, unsigned mode)
{
    if (p->plan->warning_count == AWS_PLAN_WARNINGS_MAX)
        return;
    snprintf(p->plan->warnings[p->plan->warning_count++], AWS_REASON_MAX,
             "%.*s can be %s by other users of this host (mode %04o): chmod %s it",
             VIEW_ARG(path), what, mode, (mode & S_IWGRP) != 0 ? "g-w,o=" : "o=");
}

void aws_plan_warn_of_file(struct aws_planner *p, struct view path)
{
    char name[4096];
    struct stat st;

    if (path.len == 0 || path.len >= sizeof name)
        return;
    memcpy(name, path.data, path.len);
    name[path.len] = '\0';
    if (stat(name, &st) != 0)
        return;
    const unsigned mode = (unsigned)st.st_mode & 07777;
    if ((mode & (S_IWGRP | S_IWOTH)) != 0)
        warn(p, path, (mode & S_IROTH) != 0 ? "read and written" : "written", mode);
    else if ((mode & S_IROTH) != 0)
        warn(p, path, "read", mode);
}

/* ---- credential_process ---- */

err aws_plan_process(struct aws_planner *p, struct view profile, bool *found)
{
    struct view command = aws_plan_profile_get(p, profile, "credential_process");

    *found = false;
    if (command.data == NULL)
        return OK;
    struct aws_step *step = aws_plan_add(p, AWS_STEP_PROCESS);
    if (step == NULL)
        return aws_plan_too_long(p);
    step->command = arena_copy(p->arena, command);
    *found = step->command.data != NULL;
    return *found ? OK : fail(&fault_out_of_memory);
}

/* ---- IAM Identity Center ---- */

struct sso_settings {
    struct view session; /* absent: the legacy form */
    struct view start_url;
    struct view region;
    struct view account_id;
    struct view role_name;
};

/* A setting of the profile's sso_session; the profile may repeat it, but not contradict it (as in
 * botocore). */
static err session_setting(struct aws_planner *p, struct view profile,
                           const struct sso_settings *s, const char *key, struct view *out)
{
    struct view mine = aws_plan_profile_get(p, profile, key);

    *out = mine;
    if (s->session.data == NULL)
        return OK;
    struct view theirs = aws_sso_session_get(&p->config, s->session, key);
    if (mine.data != NULL && theirs.data != NULL && !view_eq(mine, theirs))
        return WRONG("profile %.*s: %s is not that of its sso_session", VIEW_ARG(profile), key);
    if (theirs.data != NULL)
        *out = theirs;
    return OK;
}

static err read_settings(struct aws_planner *p, struct view profile, struct sso_settings *s)
{
    s->session = aws_plan_profile_get(p, profile, "sso_session");
    if (s->session.data != NULL &&
        !aws_section_exists(&p->config, AWS_SECTION_SSO_SESSION, s->session))
        return WRONG("profile %.*s: there is no [sso-session %.*s]", VIEW_ARG(profile),
                     VIEW_ARG(s->session));
    TRY(session_setting(p, profile, s, "sso_start_url", &s->start_url));
    TRY(session_setting(p, profile, s, "sso_region", &s->region));
    TRY(session_setting(p, profile, s, "sso_account_id", &s->account_id));
    return session_setting(p, profile, s, "sso_role_name", &s->role_name);
}

static err check_settings(struct aws_planner *p, struct view profile, const struct sso_settings *s)
{
    const struct {
        const char *name;
        struct view value;
    } wanted[] = {
        {"sso_start_url", s->start_url},
        {"sso_region", s->region},
        {"sso_account_id", s->account_id},
        {"sso_role_name", s->role_name},
    };

    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (wanted[i].value.data == NULL)
            return WRONG("profile %.*s: %s is missing", VIEW_ARG(profile), wanted[i].name);
    }
    if (!aws_region_is_valid(s->region))
        return WRONG("profile %.*s: sso_region is no region", VIEW_ARG(profile));
    return OK;
}

/* The service's own endpoint ("portal.sso", "oidc"), without a path.  GovCloud has no FIPS name of
 * the portal's: its own one is (the SDKs' endpoint rules). */
static struct view standard_url(const struct aws_planner *p, const char *name, struct view region)
{
    const struct aws_domains *domains = aws_domains_of_region(region);
    bool dual_stack = p->plan->dual_stack && domains->dual_stack.len > 0;
    bool fips = p->plan->fips && !view_is(domains->partition, "aws-us-gov");
    struct view domain = dual_stack ? domains->dual_stack : domains->dns;

    return arena_printf(p->arena, "https://%s%s.%.*s.%.*s", name, fips ? "-fips" : "",
                        VIEW_ARG(region), VIEW_ARG(domain));
}

static struct view url_of(const struct aws_planner *p, enum aws_service service, const char *name,
                          struct view region)
{
    struct view url = p->plan->endpoint_urls[service];

    if (url.len == 0)
        return standard_url(p, name, region);
    while (url.len > 0 && url.data[url.len - 1] == '/')
        url.len--;
    return url;
}

/* ~/.aws/sso/cache/SHA1.json: not moved by AWS_CONFIG_FILE, in no SDK. */
static struct view cache_file(const struct aws_planner *p, const struct sso_settings *s)
{
    char name[SSO_CACHE_NAME_BYTES];

    sso_cache_name(s->session.data != NULL ? s->session : s->start_url, name);
    return arena_printf(p->arena, "%.*s/.aws/sso/cache/%s",
                        VIEW_ARG(aws_environment_get(p->env, AWS_VAR_HOME)), name);
}

err aws_plan_sso(struct aws_planner *p, struct view profile, bool *found)
{
    static const char *const keys[] = {"sso_session", "sso_start_url", "sso_account_id",
                                       "sso_role_name"};
    struct sso_settings s = {0};
    bool any = false;

    *found = false;
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        any = any || aws_plan_profile_get(p, profile, keys[i]).data != NULL;
    if (!any)
        return OK;
    TRY(read_settings(p, profile, &s));
    TRY(check_settings(p, profile, &s));
    if (aws_environment_get(p->env, AWS_VAR_HOME).len == 0)
        return WRONG("profile %.*s: HOME is not set, so the cached token cannot be found",
                     VIEW_ARG(profile));
    struct aws_step *step = aws_plan_add(p, AWS_STEP_SSO);
    if (step == NULL)
        return aws_plan_too_long(p);
    step->account_id = arena_copy(p->arena, s.account_id);
    step->role_name = arena_copy(p->arena, s.role_name);
    step->cache_file = cache_file(p, &s);
    step->portal_url = url_of(p, AWS_SERVICE_SSO, "portal.sso", s.region);
    step->oidc_url = url_of(p, AWS_SERVICE_SSO_OIDC, "oidc", s.region);
    *found = step->account_id.data != NULL && step->role_name.data != NULL &&
             step->cache_file.data != NULL && step->portal_url.data != NULL &&
             step->oidc_url.data != NULL;
    if (*found)
        aws_plan_warn_of_file(p, step->cache_file);
    return *found ? OK : fail(&fault_out_of_memory);
}
