/* Rules of iam_auth: AWS's names, sessions of assumed roles, the region.
 *
 * What STS takes stands in "AssumeRole" and "AssumeRoleWithWebIdentity" of the AWS STS API
 * reference, tags in "Passing session tags in AWS STS" of the IAM user guide. */
#include "base/attr.h"
#include "config/rules.h"
#include "config/value.h"
#include "model/session_template.h"

enum {
    ARN_MAX_BYTES = 2048,
    EXTERNAL_ID_MAX_BYTES = 1224,
    SESSION_POLICY_MAX_CHARACTERS = 2048, /* of plain text; packed it may still be too large */
    POLICY_ARNS_MAX = 10,
    TAG_KEY_MAX_CHARACTERS = 128,
    TAGS_MAX = 50,
    CHAINED_MAX_S = 3600, /* "Role chaining limits your … session to a maximum of one hour" */
};

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(struct view v, const char *more)
{
    for (size_t i = 0; i < v.len; i++) {
        if (!is_alphanumeric(v.data[i]) && (v.data[i] == '\0' || !strchr(more, v.data[i])))
            return false;
    }
    return true;
}

static size_t characters(struct view v)
{
    size_t n = 0;
    for (size_t i = 0; i < v.len; i++)
        n += ((unsigned char)v.data[i] & 0xc0) != 0x80;
    return n;
}

/* --- ARNs --- */

struct iam_arn {
    struct view partition; /* aws, aws-cn, aws-us-gov, … */
    struct view account;
    struct view kind; /* role, policy */
    struct view path; /* what follows the kind's '/' */
};

/* arn:PARTITION:iam::ACCOUNT:KIND/PATH ("IAM identifiers" of the IAM user guide). */
static bool arn_split(struct view v, struct iam_arn *out)
{
    struct view arn, service, region;
    struct view rest = view_cut(v, ':', &arn);

    rest = view_cut(rest, ':', &out->partition);
    rest = view_cut(rest, ':', &service);
    rest = view_cut(rest, ':', &region);
    rest = view_cut(rest, ':', &out->account);
    out->path = view_cut(rest, '/', &out->kind);
    return v.len <= ARN_MAX_BYTES && view_is(arn, "arn") && view_is(service, "iam") &&
           region.len == 0 && view_starts_with(out->partition, VIEW("aws")) &&
           all_of(out->partition, "-") && out->path.len > 0;
}

static bool is_account(struct view v)
{
    uint64_t n;
    return v.len == 12 && view_to_u64(v, 999999999999, &n);
}

/* A path and a name: PATH/NAME, where the path may hold more than the name (IAM, "IAM
 * identifiers": names have letters, digits and _+=,.@-, paths any printable character). */
static bool is_path_and_name(struct view v)
{
    size_t name = v.len;

    while (name > 0 && v.data[name - 1] != '/')
        name--;
    for (size_t i = 0; i < name; i++) {
        if (v.data[i] <= ' ' || v.data[i] > '~')
            return false;
    }
    return name < v.len && all_of(view_from(v, name), "_+=,.@-");
}

const char *check_role_arn(struct view v)
{
    struct iam_arn a;

    if (arn_split(v, &a) && is_account(a.account) && view_is(a.kind, "role") &&
        is_path_and_name(a.path))
        return NULL;
    return "must read arn:aws:iam::ACCOUNT:role/NAME, ACCOUNT being 12 digits";
}

const char *check_policy_arn(struct view v)
{
    struct iam_arn a;

    if (arn_split(v, &a) && (is_account(a.account) || view_is(a.account, "aws")) &&
        view_is(a.kind, "policy") && is_path_and_name(a.path))
        return NULL;
    return "must read arn:aws:iam::ACCOUNT:policy/NAME, ACCOUNT being 12 digits or aws";
}

/* --- the other parameters of AssumeRole --- */

const char *check_role_session_name(struct view v)
{
    return session_template_check(v, SESSION_TEXT_NAME);
}

const char *check_source_identity(struct view v)
{
    if (view_eq_nocase(view_upto(v, 4), VIEW("aws:")))
        return "must not begin with 'aws:', which is AWS's own";
    return v.len == 0 ? NULL : session_template_check(v, SESSION_TEXT_NAME);
}

const char *check_external_id(struct view v)
{
    if (v.len < 2 || v.len > EXTERNAL_ID_MAX_BYTES)
        return "must have 2 to 1224 characters";
    return all_of(v, "_+=,.@:/-") ? NULL : "may hold only letters, digits and _+=,.@:/-";
}

const char *check_session_policy(struct view v)
{
    if (characters(v) > SESSION_POLICY_MAX_CHARACTERS)
        return "is longer than the 2048 characters that STS takes";
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        /* U+0100 and above begin with a byte from 0xc4. */
        if (c >= 0xc4 || c == 0x7f || (c < ' ' && strchr("\t\r\n", c) == NULL))
            return "may hold only characters up to U+00FF, and no control characters";
    }
    return view_starts_with(view_trim(v), VIEW("{")) ? NULL : "must be a JSON object, as text";
}

const char *check_session_tag_key(struct view v)
{
    if (v.len == 0 || characters(v) > TAG_KEY_MAX_CHARACTERS)
        return "must have 1 to 128 characters";
    if (view_eq_nocase(view_upto(v, 4), VIEW("aws:")))
        return "must not begin with 'aws:', which is AWS's own";
    for (size_t i = 0; i < v.len; i++) {
        /* STS takes every letter of Unicode; which those are is left to it. */
        if ((unsigned char)v.data[i] < 0x80 && !all_of(view_of(v.data + i, 1), " _.:/=+@-"))
            return "may hold only letters, digits, blanks and _.:/=+@-";
    }
    return NULL;
}

const char *check_session_tag_value(struct view v)
{
    return session_template_check(v, SESSION_TEXT_TAG);
}

/* --- the region --- */

/* REGION of NAME.REGION.rds.amazonaws.com[.cn] and of NAME.dsql.REGION.on.aws; else absent. */
static struct view region_of_host(struct view host)
{
    static const char *const suffixes[] = {".rds.amazonaws.com", ".rds.amazonaws.com.cn",
                                           ".on.aws"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        struct view suffix = view_str(suffixes[i]);
        if (host.len <= suffix.len ||
            !view_eq_nocase(view_from(host, host.len - suffix.len), suffix))
            continue;
        struct view front = view_upto(host, host.len - suffix.len);
        size_t start = front.len;
        while (start > 0 && front.data[start - 1] != '.')
            start--;
        if (start > 0)
            return view_from(front, start);
    }
    return (struct view){NULL, 0};
}

bool rules_is_rds_host(struct view host)
{
    return region_of_host(host).len > 0 && !view_ends_with(host, VIEW(".on.aws"));
}

struct view rules_signed_name(const struct endpoint *e)
{
    return e->iam_auth.hostname.len > 0 ? e->iam_auth.hostname : e->host;
}

void rules_find_region(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping)
{
    struct view derived = region_of_host(rules_signed_name(e));
    const char *variable = d->host->variable(d->host, "AWS_REGION");

    if (e->iam_auth.region.len > 0) {
        if (derived.len > 0 && !view_eq_nocase(derived, e->iam_auth.region))
            decode_warning(d, rules_node(mapping, "iam_auth"),
                           "the region '%.*s' is not that of the host name, '%.*s'",
                           VIEW_ARG(e->iam_auth.region), VIEW_ARG(derived));
        return;
    }
    if (derived.len == 0) {
        if (variable == NULL || *variable == '\0')
            variable = d->host->variable(d->host, "AWS_DEFAULT_REGION");
        derived = view_str(variable);
    }
    if (derived.len == 0 || check_identifier(derived) != NULL)
        decode_warning(d, rules_node(mapping, "iam_auth"),
                       "the AWS region cannot be told from the host name, and AWS_REGION is not "
                       "set: the profile, ECS or the instance will be asked for it; or write "
                       "iam_auth: {region: …}");
    else
        e->iam_auth.region = arena_copy(d->arena, derived);
}

/* --- iam_auth as a whole --- */


static void warn_needless(struct decoder *d, const struct yaml_node *mapping)
{
    static const char *const needless[] = {
        "role_session_name", "source_identity", "external_id",      "session_duration", "policy",
        "policy_arns",       "tags",            "sts_endpoint_url", "max_sessions"};

    for (size_t i = 0; i < COUNT_OF(needless); i++) {
        if (rules_written(mapping, needless[i]))
            decode_warning(d, rules_node(mapping, needless[i]),
                           "'%s' has no effect without assume_role_arn", needless[i]);
    }
}

static void check_chain(struct decoder *d, const struct iam_auth *iam,
                        const struct yaml_node *mapping)
{
    const struct yaml_node *at = rules_node(mapping, "assume_role_arn");
    struct iam_arn first, next;

    for (size_t i = 1; i < iam->assume_role_arn.count; i++) {
        if (!arn_split(iam->assume_role_arn.items[0], &first) ||
            !arn_split(iam->assume_role_arn.items[i], &next))
            return; /* already reported */
        if (!view_eq(first.partition, next.partition)) {
            decode_error(d, at,
                         "'assume_role_arn': a role of the partition '%.*s' cannot assume one of "
                         "'%.*s'",
                         VIEW_ARG(first.partition), VIEW_ARG(next.partition));
            return;
        }
    }
    if (iam->assume_role_arn.count > 1 && iam->session_duration_s > CHAINED_MAX_S)
        decode_error(d,
                     rules_written(mapping, "session_duration")
                         ? rules_node(mapping, "session_duration")
                         : at,
                     "'session_duration': STS refuses more than an hour for a role that another "
                     "role assumes");
}

/* AssumeRoleWithWebIdentity has no such parameters; a role after the first is assumed by
 * AssumeRole, which has. */
static void check_web_identity(struct decoder *d, const struct iam_auth *iam,
                               const struct yaml_node *mapping)
{
    const struct {
        const char *name;
        bool there;
    } foreign[] = {{"source_identity", iam->source_identity.len > 0},
                   {"external_id", iam->external_id.len > 0},
                   {"tags", iam->tag_count > 0}};

    for (size_t i = 0; i < COUNT_OF(foreign) && iam->assume_role_arn.count == 1; i++) {
        if (foreign[i].there)
            decode_error(d, rules_node(mapping, foreign[i].name),
                         "'%s' is no parameter of AssumeRoleWithWebIdentity; it takes a second "
                         "role in assume_role_arn",
                         foreign[i].name);
    }
}

static void check_tags(struct decoder *d, const struct iam_auth *iam,
                       const struct yaml_node *mapping)
{
    if (iam->tag_count > TAGS_MAX)
        decode_error(d, rules_node(mapping, "tags"), "'tags' may hold 50 at most");
    for (size_t i = 0; i < iam->tag_count && i <= TAGS_MAX; i++) {
        for (size_t k = 0; k < i; k++) {
            /* "You cannot have separate Department and department tag keys." */
            if (view_eq_nocase(iam->tags[i].key, iam->tags[k].key))
                decode_error_line(d, iam->tags[i].line,
                                  "'tags': '%.*s' and '%.*s' differ only in case, which AWS does "
                                  "not tell apart",
                                  VIEW_ARG(iam->tags[i].key), VIEW_ARG(iam->tags[k].key));
        }
    }
}

static bool has_session_per_caller(const struct iam_auth *iam)
{
    bool varies = iam->web_identity == WEB_IDENTITY_CALLER ||
                  session_template_varies(iam->role_session_name) ||
                  session_template_varies(iam->source_identity);

    for (size_t i = 0; i < iam->tag_count; i++)
        varies = varies || session_template_varies(iam->tags[i].value);
    return varies && iam->assume_role_arn.count > 0;
}

void finish_iam_auth(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct iam_auth *iam = record;

    iam->per_caller = has_session_per_caller(iam);
    if (iam->policy_arns.count > POLICY_ARNS_MAX)
        decode_error(d, rules_node(mapping, "policy_arns"), "'policy_arns' may hold 10 at most");
    check_tags(d, iam, mapping);
    if (rules_written(mapping, "policy") && iam->policy.len > 0 && d->host->json_member != NULL &&
        !d->host->json_member(d->host, iam->policy, (struct view){NULL, 0}, NULL))
        decode_error(d, rules_node(mapping, "policy"), "'policy': is not well-formed JSON");
    if (iam->assume_role_arn.count == 0 && iam->web_identity == WEB_IDENTITY_CALLER) {
        decode_error(d, rules_node(mapping, "web_identity"),
                     "'web_identity': caller needs assume_role_arn, the role that the token gives");
        return;
    }
    if (iam->assume_role_arn.count == 0) {
        warn_needless(d, mapping);
        return;
    }
    check_chain(d, iam, mapping);
    if (iam->web_identity == WEB_IDENTITY_CALLER)
        check_web_identity(d, iam, mapping);
    if (rules_written(mapping, "max_sessions") && !iam->per_caller)
        decode_warning(d, rules_node(mapping, "max_sessions"),
                       "'max_sessions' has no effect: without a placeholder or web_identity one "
                       "session serves every caller");
}
