/* sallyport token: what `aws rds generate-db-auth-token` prints, made here. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/time.h"
#include "cli/cli.h"

static const char help[] =
    "usage: sallyport token --hostname HOST --port PORT --username USER [OPTION...]\n"
    "\n"
    "Prints a token that logs USER in at an RDS or Aurora database with IAM authentication, for\n"
    "15 minutes from now; byte for byte what 'aws rds generate-db-auth-token' prints in the same\n"
    "second.  Made here: no call goes to AWS.\n"
    "\n"
    "  --hostname HOST   the endpoint's own name (not an alias, not a tunnel)\n"
    "  --port PORT       the database's port; not for Aurora DSQL\n"
    "  --username USER   the database user; not for Aurora DSQL\n"
    "  --region REGION   default: the one in HOST, else AWS_REGION, else AWS_DEFAULT_REGION\n"
    "  --dsql            a token for Aurora DSQL: as 'aws dsql generate-db-connect-auth-token'\n"
    "  --dsql-admin      the same for the user admin\n"
    "  --expires-in S    lifetime in seconds, with --dsql or --dsql-admin (default 900)\n"
    "  --profile NAME    not supported yet\n"
    "  --help            this text\n"
    "\n"
    "Credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, with temporary ones,\n"
    "AWS_SESSION_TOKEN.\n";

enum option_code { HOSTNAME = 256, PORT, USERNAME, REGION, DSQL, DSQL_ADMIN, EXPIRES, PROFILE };

static const struct option options[] = {
    {"hostname", required_argument, NULL, HOSTNAME},
    {"port", required_argument, NULL, PORT},
    {"username", required_argument, NULL, USERNAME},
    {"region", required_argument, NULL, REGION},
    {"dsql", no_argument, NULL, DSQL},
    {"dsql-admin", no_argument, NULL, DSQL_ADMIN},
    {"expires-in", required_argument, NULL, EXPIRES},
    {"profile", required_argument, NULL, PROFILE},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int complain(const char *text)
{
    fprintf(stderr, "Error: %s\n", text);
    return 1;
}

static bool take_number(const char *text, uint64_t max, uint64_t *out)
{
    return view_to_u64(view_str(text), max, out) && *out > 0;
}

/* What is wrong with the option, or NULL. */
static const char *take(struct rds_token_request *r, int code)
{
    uint64_t n;

    switch (code) {
    case HOSTNAME:
        r->host = view_str(optarg);
        return NULL;
    case PORT:
        if (!take_number(optarg, UINT16_MAX, &n))
            return "--port wants a number from 1 to 65535";
        r->port = (uint16_t)n;
        return NULL;
    case USERNAME:
        r->user = view_str(optarg);
        return NULL;
    case REGION:
        r->region = view_str(optarg);
        return NULL;
    case DSQL:
        r->kind = RDS_TOKEN_DSQL;
        return NULL;
    case DSQL_ADMIN:
        r->kind = RDS_TOKEN_DSQL_ADMIN;
        return NULL;
    case EXPIRES:
        if (!take_number(optarg, 604800, &n))
            return "--expires-in wants a number of seconds from 1 to 604800";
        r->expires_s = (int64_t)n;
        return NULL;
    case PROFILE:
        return "--profile is not supported yet: put the credentials in AWS_ACCESS_KEY_ID, "
               "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN";
    default:
        return "see 'sallyport token --help'";
    }
}

static const char *check(const struct rds_token_request *r)
{
    bool db = r->kind == RDS_TOKEN_DB;

    if (r->host.len == 0)
        return "--hostname is missing";
    if (db && r->port == 0)
        return "--port is missing";
    if (db && r->user.len == 0)
        return "--username is missing";
    if (!db && (r->port != 0 || r->user.len != 0))
        return "a token for Aurora DSQL has no port and no user";
    if (db && r->expires_s != 0)
        return "--expires-in is for Aurora DSQL: a token for RDS lives 900 seconds";
    return NULL;
}

static struct view find_region(struct view host)
{
    static const char *const variables[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    struct view region = aws_region_of_host(host);

    for (size_t i = 0; i < COUNT_OF(variables) && region.len == 0; i++)
        region = view_str(getenv(variables[i]));
    return region;
}

static int print_token(struct rds_token_request *r)
{
    struct credential_provider *provider;
    struct buf token;

    err e = credentials_from_environment(getenv, &provider);
    if (failed(e))
        return complain(is_fault(e, &aws_credentials_absent)
                            ? "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                            : e.fault->text);
    r->now_us = time_wall_us();
    buf_init(&token, RDS_TOKEN_MAX_BYTES);
    e = credentials_current(provider, r->now_us, &r->credentials);
    if (!failed(e))
        e = rds_token_mint(r, &token);
    credentials_release(provider);
    int status = 0;
    if (failed(e)) {
        status = complain(e.fault->text);
    } else {
        /* Straight to the descriptor: stdio's buffer would keep a copy of the secret. */
        buf_add_char(&token, '\n');
        if (write(STDOUT_FILENO, token.data, token.len) != (ssize_t)token.len)
            status = complain("the token could not be written");
    }
    buf_clear_secure(&token);
    return status;
}

static int run(int argc, char **argv)
{
    struct rds_token_request request = {.kind = RDS_TOKEN_DB};
    const char *wrong;
    int code;

    optind = 1;
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if ((wrong = take(&request, code)) != NULL)
            return complain(wrong);
    }
    if (optind < argc)
        return complain("no argument without an option is wanted: see 'sallyport token --help'");
    if ((wrong = check(&request)) != NULL)
        return complain(wrong);
    if (request.region.data == NULL)
        request.region = find_region(request.host);
    if (request.region.len == 0)
        return complain("the host name says no region: give --region");
    return print_token(&request);
}

const struct command command_token = {
    "token", "prints an IAM authentication token for a database", run};
