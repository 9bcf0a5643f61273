/* sallyport token: what `aws rds generate-db-auth-token` prints, made here. */
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/aws_errand.h"
#include "cli/cli.h"

static const char help[] =
    "usage: sallyport token --hostname HOST --port PORT --username USER [OPTION...]\n"
    "\n"
    "Prints a token that logs USER in at an RDS or Aurora database with IAM authentication, for\n"
    "15 minutes from now; byte for byte what 'aws rds generate-db-auth-token' prints in the same\n"
    "second.  Made here: AWS is asked only for credentials, where they come from there.\n"
    "\n"
    "  --hostname HOST   the endpoint's own name (not an alias, not a tunnel)\n"
    "  --port PORT       the database's port; not for Aurora DSQL\n"
    "  --username USER   the database user; not for Aurora DSQL\n"
    "  --region REGION   default: the one in HOST, else AWS_REGION, AWS_DEFAULT_REGION, the\n"
    "                    profile's, or that of the ECS task or EC2 instance\n"
    "  --dsql            a token for Aurora DSQL: as 'aws dsql generate-db-connect-auth-token'\n"
    "  --dsql-admin      the same for the user admin\n"
    "  --expires-in S    lifetime in seconds, with --dsql or --dsql-admin (default 900)\n"
    "  --profile NAME    credentials of this profile of the shared files, and no other source\n"
    "  --help            this text\n"
    "\n"
    "Credentials: from the source that 'sallyport whoami' shows.\n";

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

struct order {
    struct rds_token_request request;
    struct view profile;
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
static const char *take(struct order *o, int code)
{
    struct rds_token_request *r = &o->request;
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
        if (optarg[0] == '\0')
            return "--profile wants a name";
        o->profile = view_str(optarg);
        return NULL;
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

/* Straight to the descriptor: stdio's buffer would keep a copy of the secret. */
static int print_token(struct rds_token_request *r)
{
    struct buf token;
    int status = 0;

    buf_init(&token, RDS_TOKEN_MAX_BYTES);
    err e = rds_token_mint(r, &token);
    if (failed(e)) {
        status = complain(e.fault->text);
    } else {
        buf_add_char(&token, '\n');
        if (write(STDOUT_FILENO, token.data, token.len) != (ssize_t)token.len)
            status = complain("the token could not be written");
    }
    buf_clear_secure(&token);
    return status;
}

static int serve(struct order *o, struct aws_errand *aws)
{
    struct rds_token_request *r = &o->request;
    struct chain_status s;

    aws_errand_wait(aws, &s);
    if (r->region.len == 0)
        r->region = view_str(chain_region(aws->chain));
    r->now_us = time_wall_us();
    err e = credentials_current(chain_provider(aws->chain), r->now_us, &r->credentials);
    if (failed(e)) {
        fprintf(stderr, "Error: %s%s%s\n", e.fault->text, s.detail[0] != '\0' ? ": " : "",
                s.detail);
        return 1;
    }
    if (r->region.len == 0)
        return complain("no region is known: give --region");
    return print_token(r);
}

static int run(int argc, char **argv)
{
    struct order order = {.request.kind = RDS_TOKEN_DB};
    struct aws_errand aws;
    const char *wrong;
    int code;

    optind = 1;
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if ((wrong = take(&order, code)) != NULL)
            return complain(wrong);
    }
    if (optind < argc)
        return complain("no argument without an option is wanted: see 'sallyport token --help'");
    if ((wrong = check(&order.request)) != NULL)
        return complain(wrong);
    if (order.request.region.data == NULL)
        order.request.region = aws_region_of_host(order.request.host);
    log_set_level(LOG_ERROR); /* what fails is said below */
    if (!aws_errand_begin(&aws, order.request.region, order.profile))
        return 1;
    code = serve(&order, &aws);
    aws_errand_end(&aws);
    return code;
}

const struct command command_token = {
    "token", "prints an IAM authentication token for a database", run};
