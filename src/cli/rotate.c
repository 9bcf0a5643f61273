/* sallyport rotate: gives the database user of a secret a new password. */
#include "cli/rotate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/log.h"
#include "cli/cli.h"
#include "config/config.h"

static const char help[] =
    "usage: sallyport rotate SECRET-ID [OPTION...]\n"
    "\n"
    "Gives the database user of a secret a new password: the four steps of a rotation in AWS\n"
    "Secrets Manager (create, set, test, finish), done here, without a function.  The secret is\n"
    "in the format of RDS.  After a crash at any step, run it again: it goes on from there.\n"
    "\n"
    "  --strategy single-user        the user changes its own password (the default)\n"
    "  --strategy alternating-users  a master gives the other user of the pair (app, app_clone)\n"
    "                                the new password; connections of the present one go on\n"
    "  --master-secret ID   the master's secret; default: masterarn in the secret\n"
    "  --if-older-than AGE  only when the last rotation is that long ago: 30d, 12h, 45m, 90s\n"
    "  --dry-run            says what would be done, and changes nothing\n"
    "  --region REGION      default: the one in SECRET-ID, else as for other calls to AWS\n"
    "  --endpoint-url URL   of Secrets Manager, taken exactly as written\n"
    "  --sslrootcert ROOTS  rds, system, or a PEM file; default: the service's, else rds\n"
    "  --service NAME       the service of the configuration that is meant; default: the\n"
    "                       first that logs in with the secret, if any\n"
    CLI_OPTIONS_HELP
    "\n"
    "A service of the configuration that logs in with the secret says the strategy, the master\n"
    "and sslrootcert where no option does; its host must be the secret's.\n"
    "\n"
    "Exit code: 0 when the secret is rotated or nothing is due, 1 for an error, 3 for a secret\n"
    "that AWS rotates itself: it is only followed.\n";

#define AGE_MAX_S (UINT64_C(36500) * 86400)

enum option_code { STRATEGY = 256, MASTER, OLDER, DRY_RUN, REGION, ENDPOINT, ROOTS, SERVICE };

static const struct option options[] = {
    {"strategy", required_argument, NULL, STRATEGY},
    {"master-secret", required_argument, NULL, MASTER},
    {"if-older-than", required_argument, NULL, OLDER},
    {"dry-run", no_argument, NULL, DRY_RUN},
    {"region", required_argument, NULL, REGION},
    {"endpoint-url", required_argument, NULL, ENDPOINT},
    {"sslrootcert", required_argument, NULL, ROOTS},
    {"service", required_argument, NULL, SERVICE},
    CLI_OPTIONS,
    {0},
};

static int complain(const char *text, const char *more)
{
    fprintf(stderr, "Error: %s%s%s\n", text, more[0] != '\0' ? ": " : "", more);
    return ROTATE_FAILED;
}

/* 30d, 12h, 45m, 90s */
static bool read_age(const char *text, int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    struct view v = view_str(text);
    uint64_t n;

    if (v.len < 2 || !view_to_u64(view_upto(v, v.len - 1), AGE_MAX_S, &n) || n == 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (v.data[v.len - 1] == units[i].unit) {
            *out = (int64_t)n * units[i].seconds;
            return n <= AGE_MAX_S / (uint64_t)units[i].seconds;
        }
    }
    return false;
}

static const char *take_strategy(struct rotate_options *o)
{
    if (strcmp(optarg, "single-user") == 0)
        o->strategy = ROTATE_SINGLE_USER;
    else if (strcmp(optarg, "alternating-users") == 0)
        o->strategy = ROTATE_ALTERNATING;
    else
        return "--strategy wants single-user or alternating-users";
    return NULL;
}

/* What is wrong with the option, or NULL. */
static const char *take(struct rotate_options *o, int code)
{
    switch (code) {
    case STRATEGY:
        return take_strategy(o);
    case MASTER:
        o->master_id = view_str(optarg);
        return NULL;
    case OLDER:
        return read_age(optarg, &o->if_older_than_s) ? NULL
                                                     : "--if-older-than wants an age like 30d";
    case DRY_RUN:
        o->dry_run = true;
        return NULL;
    case REGION:
        o->region = view_str(optarg);
        return NULL;
    case ENDPOINT:
        o->endpoint_url = view_str(optarg);
        return NULL;
    case ROOTS:
        o->sslrootcert = view_str(optarg);
        return NULL;
    case SERVICE:
        o->service = view_str(optarg);
        return NULL;
    default:
        return cli_option(&o->common, code, optarg) ? NULL : "see 'sallyport rotate --help'";
    }
}

static int run_with(struct rotate_options *o, const struct rotate_config *config)
{
    struct rotate_aws aws = {.chain = NULL};
    const struct rotate_aws_options where = {o->region, o->endpoint_url, view_str(o->secret_id),
                                             config->service.vault};

    err e = rotate_aws_open(&aws, &where);
    int code = failed(e) ? complain(e.fault->text, aws.detail)
                         : rotate_steps(o, &config->service, &aws);
    rotate_aws_close(&aws);
    return code;
}

static int rotate(struct rotate_options *o)
{
    struct rotate_config config = {.roots_fd = -1, .served = {.fd = -1}};
    int code = ROTATE_FAILED;

    cli_set_log_level(&o->common); /* what fails is said by the steps */
    rotate_db_forget_environment();
    if (rotate_config_open(&config, o))
        code = run_with(o, &config);
    rotate_config_close(&config);
    return code;
}

static int run(int argc, char **argv)
{
    struct rotate_options o = {
        .db = {.connect_timeout_s = 15, .statement_timeout_s = 30, .lock_timeout_s = 60}};
    const char *wrong;
    int code;

    optind = 1;
    while ((code = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if ((wrong = take(&o, code)) != NULL)
            return complain(wrong, "");
    }
    if (optind + 1 != argc)
        return complain("rotate wants one SECRET-ID: see 'sallyport rotate --help'", "");
    o.secret_id = argv[optind];
    if (o.secret_id[0] == '\0' || strlen(o.secret_id) > SM_SECRET_ID_MAX)
        return complain("SECRET-ID is a secret's name or ARN", "");
    if (o.secret_id[0] == '{')
        return complain("SECRET-ID is a secret's name or ARN, no reference: prod/shop", "");
    return rotate(&o);
}

const struct command command_rotate = {
    "rotate", "gives the database user of a secret a new password", run};
