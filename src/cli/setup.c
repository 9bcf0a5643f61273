/* sallyport setup: the SQL and the IAM policies that a service's configuration asks for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/policy.h"
#include "aws/region.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/configuration.h"
#include "cli/options.h"
#include "cli/secrets.h"
#include "cli/setup_secrets.h"
#include "config/config.h"

static const char help[] =
    "usage: sallyport setup SERVICE --sql [OPTION...]\n"
    "       sallyport setup SERVICE --iam [OPTION...]\n"
    "\n"
    "--sql prints what the database needs: the logins (NOINHERIT, and members of rds_iam when they\n"
    "log in by IAM), the roles (NOLOGIN), and who may become which.  It is safe to run again,\n"
    "revokes nothing, and ends with a query that prints a REVOKE for each membership that the\n"
    "configuration no longer names:\n"
    "\n"
    "  sallyport setup shop --sql | psql -v ON_ERROR_STOP=1 -h HOST -U postgres shop\n"
    "\n"
    "--iam prints policies: the permission to connect as exactly these logins, who may assume the\n"
    "role that has it, and, with assume_role_arn, that the one who assumes it may; and that the\n"
    "secrets of AWS with which it logs in may be read, and rotated where they are.\n"
    "\n"
    "  --config FILE       sallyport.yaml itself\n"
    "  --account ID        the AWS account, 12 digits\n"
    "  --resource-id ID    the DbiResourceId (db-...), DbClusterResourceId (cluster-...) or, of a\n"
    "                      proxy, prx-...\n"
    "  --region REGION     default: iam_auth.region, or the one in the host name\n"
    "  --principal ARN     who assumes the role: the identity that sallyport runs as\n"
    "\n"
    CLI_OPTIONS_HELP;

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30, OUTPUT_MAX = 1 << 24 };
enum option_code { SQL = 256, IAM, CONFIG, ACCOUNT, RESOURCE_ID, REGION, PRINCIPAL };

static const struct option options[] = {
    {"sql", no_argument, NULL, SQL},
    {"iam", no_argument, NULL, IAM},
    {"config", required_argument, NULL, CONFIG},
    {"account", required_argument, NULL, ACCOUNT},
    {"resource-id", required_argument, NULL, RESOURCE_ID},
    {"region", required_argument, NULL, REGION},
    {"principal", required_argument, NULL, PRINCIPAL},
    CLI_OPTIONS,
    {0},
};

struct setup {
    const char *service;
    bool sql;
    bool iam;
    struct cli_options common;
    const char *config_file;
    struct view account;
    struct view resource_id;
    struct view region;
    struct view principal;
};

static int complain(const char *text)
{
    fprintf(stderr, "Error: %s\n", text);
    return 1;
}

/* The text between two of the quotes, each quote within doubled. */
static void add_quoted(struct buf *out, char quote, struct view text)
{
    buf_add_char(out, quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == quote)
            buf_add_char(out, quote);
        buf_add_char(out, text.data[i]);
    }
    buf_add_char(out, quote);
}

static void add_identifier(struct buf *out, struct view name)
{
    add_quoted(out, '"', name);
}

/* A constant that means the same whatever standard_conforming_strings says (PostgreSQL 4.1.2.2). */
static void add_literal(struct buf *out, struct view text)
{
    if (view_find(text, '\\') == text.len) {
        add_quoted(out, '\'', text);
        return;
    }
    buf_add_str(out, "E'");
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\'' || text.data[i] == '\\')
            buf_add_char(out, text.data[i]);
        buf_add_char(out, text.data[i]);
    }
    buf_add_char(out, '\'');
}

/* A comment must not end early: control characters become blanks. */
static void add_comment(struct buf *out, struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        buf_add_char(out, (unsigned char)text.data[i] < 0x20 ? ' ' : text.data[i]);
}

/* DO with the body between dollar quotes that do not occur in it. */
static void add_do(struct buf *out, const struct buf *body)
{
    char tag[32];

    for (unsigned i = 0;; i++) {
        snprintf(tag, sizeof tag, i == 0 ? "$sallyport$" : "$sallyport%u$", i);
        if (memmem(body->data, body->len, tag, strlen(tag)) == NULL)
            break;
    }
    buf_printf(out, "DO %s\nBEGIN\n", tag);
    buf_add_view(out, buf_view(body));
    buf_printf(out, "END\n%s;\n", tag);
}

/* CREATE unless it exists, then the attributes, which may have been changed since. */
static void add_role(struct buf *out, struct view name, const char *create, const char *attributes)
{
    struct buf body;

    buf_init(&body, OUTPUT_MAX);
    buf_add_str(&body, "  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ");
    add_literal(&body, name);
    buf_add_str(&body, ") THEN\n    ");
    buf_add_str(&body, create);
    buf_add_char(&body, ' ');
    add_identifier(&body, name);
    buf_add_str(&body, ";\n  END IF;\n");
    add_do(out, &body);
    buf_clear(&body);
    buf_add_str(out, "ALTER ROLE ");
    add_identifier(out, name);
    buf_add_char(out, ' ');
    buf_add_str(out, attributes);
    buf_add_str(out, ";\n");
}

/* From PostgreSQL 16 on inheritance belongs to the grant; before, to the member (NOINHERIT). */
static void add_grant(struct buf *out, struct view role, struct view login)
{
    struct buf body;

    buf_init(&body, OUTPUT_MAX);
    buf_add_str(&body, "  IF current_setting('server_version_num')::int >= 160000 THEN\n"
                       "    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', ");
    add_literal(&body, role);
    buf_add_str(&body, ", ");
    add_literal(&body, login);
    buf_add_str(&body, ");\n  ELSE\n    GRANT ");
    add_identifier(&body, role);
    buf_add_str(&body, " TO ");
    add_identifier(&body, login);
    buf_add_str(&body, ";\n  END IF;\n");
    add_do(out, &body);
    buf_clear(&body);
}

static void add_login(struct buf *out, const struct endpoint *e)
{
    buf_add_str(out, "\n-- The login ");
    add_comment(out, e->user);
    buf_add_str(out, ": it owns nothing and may do nothing but become the roles below.\n");
    add_role(out, e->user, "CREATE USER", "LOGIN NOINHERIT");
    if (!e->iam_auth.enabled)
        return;
    buf_add_str(out, "-- By IAM alone: membership in rds_iam comes before any password.\n"
                     "GRANT rds_iam TO ");
    add_identifier(out, e->user);
    buf_add_str(out, ";\n");
}

static bool has_second_login(const struct service *s)
{
    return s->has_read && !view_eq(s->read.user, s->primary.user);
}

/* True when an earlier role of this service has the same database role. */
static bool seen_before(const struct entities *e, const struct service *s, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strings_have(e->roles[i].services, s->name) &&
            view_eq(e->roles[i].database_role, e->roles[at].database_role))
            return true;
    }
    return false;
}

static void add_database_role(struct buf *out, const struct service *s, struct view role)
{
    buf_add_str(out, "\n-- The role ");
    add_comment(out, role);
    buf_add_str(out, ": what its callers may do is what you grant to it.\n");
    add_role(out, role, "CREATE ROLE", "NOLOGIN");
    add_grant(out, role, s->primary.user);
    if (has_second_login(s))
        add_grant(out, role, s->read.user);
    for (size_t i = 0; i < s->search_path.count; i++) {
        struct buf line;
        buf_init(&line, OUTPUT_MAX);
        buf_add_str(&line, "-- GRANT USAGE ON SCHEMA ");
        add_identifier(&line, s->search_path.items[i]);
        buf_add_str(&line, " TO ");
        add_identifier(&line, role);
        buf_add_char(&line, ';');
        add_comment(out, buf_view(&line));
        buf_add_char(out, '\n');
        buf_clear(&line);
    }
}

/* Whether any service's login is the one in the same database: that login serves all of them. */
static bool serves(const struct service *s, const struct endpoint *e)
{
    const struct endpoint *logins[] = {&s->primary, &s->read};

    for (size_t i = 0; i < (s->has_read ? 2 : 1); i++) {
        if (view_eq(logins[i]->user, e->user) && view_eq(logins[i]->database, e->database))
            return true;
    }
    return false;
}

static void add_login_literals(struct buf *out, const struct service *s)
{
    add_literal(out, s->primary.user);
    if (has_second_login(s)) {
        buf_add_str(out, ", ");
        add_literal(out, s->read.user);
    }
}

static void add_served_roles(struct buf *out, const struct entities *e, const struct service *s)
{
    add_literal(out, VIEW("rds_iam"));
    for (size_t i = 0; i < e->role_count; i++) {
        bool served = false;
        for (size_t k = 0; k < e->service_count && !served; k++)
            served = strings_have(e->roles[i].services, e->services[k].name) &&
                     (serves(&e->services[k], &s->primary) ||
                      (has_second_login(s) && serves(&e->services[k], &s->read)));
        if (!served || e->roles[i].database_role.len == 0)
            continue;
        buf_add_str(out, ",\n        ");
        add_literal(out, e->roles[i].database_role);
    }
}

/* What is no longer named is for a person to judge: the statements are printed, not run. */
static void add_leftovers(struct buf *out, const struct entities *e, const struct service *s)
{
    buf_add_str(out, "\n-- Memberships that the configuration does not name.  With one of them the "
                     "login is refused\n-- as unfit.  Nothing is revoked here: check each line "
                     "that this prints, then run it.\n"
                     "SELECT format('REVOKE %I FROM %I;', r.rolname, l.rolname)\n"
                     "    AS \"to be checked\"\n"
                     "  FROM pg_catalog.pg_auth_members m\n"
                     "  JOIN pg_catalog.pg_roles r ON r.oid = m.roleid\n"
                     "  JOIN pg_catalog.pg_roles l ON l.oid = m.member\n  WHERE l.rolname IN (");
    add_login_literals(out, s);
    buf_add_str(out, ")\n    AND r.rolname NOT IN (");
    add_served_roles(out, e, s);
    buf_add_str(out, ")\n  GROUP BY r.rolname, l.rolname ORDER BY 1;\n");
}

static void add_sql(struct buf *out, const struct entities *e, const struct service *s)
{
    buf_add_str(out, "-- Service ");
    add_comment(out, s->name);
    buf_add_str(out, ".  Run it in the database ");
    add_comment(out, s->primary.database);
    buf_add_str(out, " as a role that may create roles (on RDS: the master user).\n"
                     "-- Safe to run again.\n");
    add_login(out, &s->primary);
    if (has_second_login(s))
        add_login(out, &s->read);
    for (size_t i = 0; i < e->role_count; i++) {
        const struct role *r = &e->roles[i];
        if (strings_have(r->services, s->name) && r->database_role.len > 0 &&
            !seen_before(e, s, i))
            add_database_role(out, s, r->database_role);
    }
    add_leftovers(out, e, s);
}

static struct aws_db_user db_user(const struct setup *o, const struct endpoint *e)
{
    const struct iam_auth *iam = &e->iam_auth;
    struct view region = o->region.len > 0 ? o->region : iam->region;

    if (region.len == 0)
        region = aws_region_of_host(iam->hostname.len > 0 ? iam->hostname : e->host);
    return (struct aws_db_user){region, o->account, o->resource_id, e->user};
}

/* Where source_identity is not written it is the session's name, when that names the caller. */
static unsigned session_needs(const struct iam_auth *iam)
{
    const struct view name = iam->role_session_name;
    bool named = name.len > 0 ? memchr(name.data, '{', name.len) != NULL
                              : iam->web_identity == WEB_IDENTITY_CALLER;
    bool source = iam->has_source_identity ? iam->source_identity.len > 0 : named;

    return (iam->tag_count > 0 ? AWS_SESSION_TAGS : 0U) |
           (source ? AWS_SESSION_SOURCE_IDENTITY : 0U);
}

/* The words go beside the documents, so that these can be piped. */
static void add_trust(struct buf *out, const struct setup *o, const struct iam_auth *iam,
                      struct view region)
{
    const size_t count = iam->assume_role_arn.count;

    if (count == 1 && iam->web_identity == WEB_IDENTITY_CALLER) {
        aws_policy_add_web_trust(out, aws_partition_of_region(region), o->account);
        fputs("# The first document is the permission policy of the role of assume_role_arn, the "
              "second\n# that role's trust policy: each caller's own token assumes it.\n",
              stderr);
        return;
    }
    aws_policy_add_trust(out, o->principal, session_needs(iam));
    if (count == 0) {
        fputs("# The first document is the permission policy: attach it to the role that "
              "sallyport\n# runs as.  The second is that role's trust policy.\n",
              stderr);
        return;
    }
    aws_policy_add_assume(out, iam->assume_role_arn.items[count - 1], session_needs(iam));
    fprintf(stderr,
            "# The first document is the permission policy of the role of assume_role_arn%s, the\n"
            "# second that role's trust policy.  The third is for who assumes it: %s.\n",
            count > 1 ? " that is last" : "",
            count > 1 ? "the role before it" : "the identity that sallyport runs as");
}

static int add_iam(struct buf *out, const struct setup *o, const struct entities *e,
                   const struct service *s)
{
    struct aws_db_user users[2];
    size_t count = 0;

    if (s->primary.iam_auth.enabled)
        users[count++] = db_user(o, &s->primary);
    if (s->has_read && s->read.iam_auth.enabled && (count == 0 || has_second_login(s)))
        users[count++] = db_user(o, &s->read);
    if (count == 0 && setup_add_secrets(out, e, s, o->region, o->account))
        return 0;
    if (count == 0)
        return complain("the service has neither iam_auth nor a secret of AWS");
    aws_policy_add_connect(out, users, count);
    add_trust(out, o, s->primary.iam_auth.enabled ? &s->primary.iam_auth : &s->read.iam_auth,
              users[0].region);
    (void)setup_add_secrets(out, e, s, o->region, o->account);
    if (o->account.len == 0 || o->resource_id.len == 0 || users[0].region.len == 0)
        fputs("# Words in capitals stand for what was not given: --account, --resource-id, "
              "--region, --principal.\n",
              stderr);
    return 0;
}

static const struct service *find_service(const struct entities *e, const char *name)
{
    for (size_t i = 0; i < e->service_count; i++) {
        if (view_is(e->services[i].name, name))
            return &e->services[i];
    }
    return NULL;
}

static int print_setup(const struct setup *o, const struct entities *e)
{
    const struct service *s = find_service(e, o->service);
    struct buf out;
    int status = 0;

    if (s == NULL) {
        fprintf(stderr, "Error: the configuration has no service '%s'\n", o->service);
        return 1;
    }
    buf_init(&out, OUTPUT_MAX);
    if (o->sql)
        add_sql(&out, e, s);
    else
        status = add_iam(&out, o, e, s);
    if (buf_failed(&out))
        status = complain("too much to print");
    if (status == 0)
        fwrite(out.data, 1, out.len, stdout);
    buf_clear(&out);
    return status;
}

/* The YAML file given, or what sallyport.conf has the node serve; the secrets look at *node from
 * then on. */
static bool find_configuration(const struct setup *o, struct cli_secrets *secrets,
                               struct node_config *node, struct arena *arena,
                               struct diagnostics *d, struct cli_configuration *out)
{
    struct node_config_sources sources = cli_sources(&o->common);

    if (o->config_file != NULL) {
        snprintf(out->path, sizeof out->path, "%s", o->config_file);
        return true;
    }
    if (failed(cli_secrets_load_node(secrets, arena, &sources, node, d)))
        return false;
    cli_secrets_set_node(secrets, node);
    cli_tell_node(&o->common, node);
    if (!cli_configuration_open(node, &o->common, out))
        return false;
    if (out->path[0] == '\0')
        complain("which configuration? give --config or -c");
    return out->path[0] != '\0';
}

/* A login by a secret is whom the secret names, so it is read. */
static err load(struct cli_secrets *secrets, const char *path, struct arena *arena,
                struct entities *out, struct diagnostics *d)
{
    struct diagnostic *before = d->last;
    err e;

    while (is_fault(e = entities_load(arena, path, cli_secrets_host(secrets), out, d),
                    &config_awaits_secrets)) {
        diag_forget_after(d, before);
        cli_secrets_wait(secrets);
    }
    return e;
}

static int setup(const struct setup *o)
{
    /* The policies are what lets secrets be read. */
    struct cli_secrets *secrets = cli_secrets_new(o->sql);
    struct cli_configuration c = {.fd = -1};
    struct diagnostics d = {0};
    struct entities entities = {0};
    struct node_config node = {0};
    struct arena arena, words;
    int status = 1;

    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    arena_init(&words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    d.arena = &words;
    if (secrets != NULL && find_configuration(o, secrets, &node, &arena, &d, &c) &&
        !failed(load(secrets, c.path, &arena, &entities, &d)))
        status = print_setup(o, &entities);
    cli_configuration_name(&c, &d);
    diag_print(&d, STDERR_FILENO);
    if (d.errors > 0)
        complain("the configuration is not valid");
    cli_configuration_close(&c);
    cli_secrets_free(secrets);
    arena_clear(&arena);
    arena_clear(&words);
    return status;
}

static bool account_is_valid(struct view v)
{
    uint64_t n;
    return v.len == 12 && view_to_u64(v, UINT64_MAX, &n);
}

/* What is wrong with the option, or NULL. */
static const char *take(struct setup *o, int code)
{
    switch (code) {
    case SQL:
        o->sql = true;
        return NULL;
    case IAM:
        o->iam = true;
        return NULL;
    case CONFIG:
        o->config_file = optarg;
        return NULL;
    case ACCOUNT:
        o->account = view_str(optarg);
        return account_is_valid(o->account) ? NULL : "--account wants 12 digits";
    case RESOURCE_ID:
        o->resource_id = view_str(optarg);
        return NULL;
    case REGION:
        o->region = view_str(optarg);
        return aws_region_is_valid(o->region) ? NULL : "--region wants a region's name";
    case PRINCIPAL:
        o->principal = view_str(optarg);
        return NULL;
    default:
        return cli_option(&o->common, code, optarg) ? NULL : "see 'sallyport setup --help'";
    }
}

static int run(int argc, char **argv)
{
    struct setup o = {0};
    const char *wrong;
    int code;

    optind = 1;
    while ((code = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if ((wrong = take(&o, code)) != NULL)
            return complain(wrong);
    }
    if (optind + 1 != argc)
        return complain("setup wants one SERVICE");
    if (o.sql == o.iam)
        return complain("setup wants either --sql or --iam");
    o.service = argv[optind];
    cli_set_log_level(&o.common); /* what fails is said by the command */
    return setup(&o);
}

const struct command command_setup = {
    "setup", "prints the SQL or the IAM policies that a service needs", run};
