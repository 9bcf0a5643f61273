/* sallyport check: every mistake of the configuration, without starting anything. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/check.h"
#include "cli/check_files.h"
#include "cli/check_secrets.h"
#include "cli/check_token.h"
#include "cli/cli.h"
#include "cli/configuration.h"
#include "cli/node.h"
#include "cli/options.h"
#include "cli/secrets.h"
#include "config/config.h"
#include "gateway/snapshot.h"

static const char usage[] =
    "usage: sallyport check [--secrets] [OPTION...] [SALLYPORT.CONF] [SALLYPORT.YAML...]\n"
    "       sallyport check --token FILE [--json] [OPTION...] [SALLYPORT.YAML]\n"
    "\n"
    "Reads the node's configuration and what it serves, SQL included, and prints every mistake\n"
    "with file, line and column.  Without a YAML file the one that declarative_config names is\n"
    "read; with database = postgres what stands in the database, or, while that is away, what\n"
    "the node read last.  A file whose name ends in .conf is the node's configuration, as -c\n"
    "says it.  References to the environment and to files are looked up; AWS is not asked unless\n"
    "the database's login or --secrets says so, and each reference to it is named in a warning.\n"
    "\n"
    "With --token it then tells what this token would be allowed, without a call: each step of\n"
    "its verification, and for every route the role chosen and why not the others.  The issuers'\n"
    "keys are fetched, nothing else is asked.\n"
    "\n"
    "      --token FILE     a file that holds a token; - is the standard input\n"
    "      --json           the answer about the token as JSON\n"
    "      --secrets        reads the secrets of AWS too, as a start would\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0 when all is valid (and the token verifies), 1 otherwise\n";

static const char prepare_usage[] =
    "usage: sallyport prepare [OPTION...]\n"
    "\n"
    "Checks everything as a start would, secrets of AWS included, and makes the prefix's folder;\n"
    "starts nothing.  With database = postgres the database is not asked.\n"
    "\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0 when 'sallyport start' has all it needs here, 1 otherwise\n";

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30 };
enum option_code { TOKEN = 256, AS_JSON, SECRETS };

struct options {
    struct cli_options common;
    const char *token_file; /* NULL: no token is asked about */
    bool json;
    bool secrets; /* those of AWS are read */
    bool prepare; /* makes the prefix in place of a word */
    bool leave_database;
};

struct check {
    struct arena arena; /* of the node's configuration */
    struct arena words; /* of the diagnostics */
    struct diagnostics d;
    struct node_config node;
    bool before_start;
    bool leave_database; /* what it holds is not read */
    enum severity key_files; /* asked about a token, the answer says what the keys are good for */
    struct cli_secrets *secrets;
    bool asks_aws; /* --secrets */
    struct snapshot *snapshot; /* of the last file that was valid */
    struct cli_configuration served;
    bool unread; /* what is served could not be had; why is said already */
};

static void check_yaml(struct check *c, const char *path, enum severity bundle)
{
    struct snapshot *s = NULL;
    size_t errors = c->d.errors;

    err e = cli_secrets_build(c->secrets, path, &c->d, &s);
    if (failed(e) && c->d.errors == errors)
        diag_add(&c->d, SEVERITY_ERROR, view_str(path), 0, 0, "%s", e.fault->text);
    if (s != NULL) {
        check_rds_bundle(&c->d, view_str(path), &s->entities, &c->node, bundle);
        check_key_files(&c->d, view_str(path), &s->entities, c->key_files);
        if (c->asks_aws)
            check_rotated_secrets(&c->d, view_str(path), &s->entities, c->secrets);
        entities_check_rates(&s->entities, &c->node, view_str(path), &c->d);
    }
    snapshot_release(c->snapshot);
    c->snapshot = s;
}

static bool check_node(struct check *c, const struct cli_options *options)
{
    struct node_config_sources sources = cli_sources(options);

    err e = cli_secrets_load_node(c->secrets, &c->arena, &sources, &c->node, &c->d);
    cli_secrets_set_node(c->secrets, &c->node);
    if (failed(e))
        return false;
    cli_tell_node(options, &c->node);
    /* That the two files can be read is known by now. */
    check_certificate_files(&c->d, &c->node);
    return true;
}

/* What the closing line calls the configuration. */
static const char *check_all(struct check *c, const struct cli_options *options, int count,
                             char **files)
{
    bool node_valid = check_node(c, options);
    const char *conf_file = options->conf_file;

    for (int i = 0; i < count; i++)
        check_yaml(c, files[i], SEVERITY_WARNING);
    if (count > 0)
        return files[count - 1];
    if (!node_valid)
        return NULL;
    if (c->leave_database && view_is(c->node.database, "postgres"))
        return "the node";
    if (!cli_configuration_open(&c->node, options, &c->served)) {
        c->unread = true;
        return NULL;
    }
    if (c->served.path[0] != '\0') {
        check_yaml(c, c->served.path, SEVERITY_ERROR);
        cli_configuration_name(&c->served, &c->d);
        return conf_file != NULL ? conf_file : c->served.name;
    }
    enum severity severity = conf_file != NULL && !c->before_start ? SEVERITY_WARNING
                                                                   : SEVERITY_ERROR;
    diag_add(&c->d, severity, (struct view){NULL, 0}, 0, 0,
             "there is nothing to serve: give a YAML file, or set declarative_config");
    return conf_file;
}

static int conclude(const struct check *c, const char *what, const struct options *o)
{
    size_t errors = c->d.errors;

    diag_print(&c->d, STDERR_FILENO);
    if (errors > 0) {
        fprintf(stderr, "Error: %zu %s in the configuration\n", errors,
                errors == 1 ? "mistake" : "mistakes");
        return 1;
    }
    if (c->unread)
        return 1;
    if (o->prepare)
        return cli_make_prefix(&c->node) ? 0 : 1;
    if (o->token_file != NULL && c->snapshot != NULL)
        return check_token(c->snapshot, o->token_file, o->json);
    if (o->token_file != NULL) {
        fputs("Error: there is nothing to serve, so no token is good for anything\n", stderr);
        return 1;
    }
    printf("configuration at %s is valid\n", what);
    return 0;
}

static int check(const struct options *o, int count, char **files)
{
    struct check c = {.secrets = cli_secrets_new(o->secrets),
                      .asks_aws = o->secrets,
                      .served = {.fd = -1},
                      .before_start = o->prepare,
                      .leave_database = o->leave_database,
                      .key_files = o->token_file != NULL ? SEVERITY_WARNING : SEVERITY_ERROR};

    if (c.secrets == NULL) {
        fprintf(stderr, "Error: %s\n", fault_out_of_memory.text);
        return 1;
    }
    arena_init(&c.arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    arena_init(&c.words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    c.d.arena = &c.words;
    int code = conclude(&c, check_all(&c, &o->common, count, files), o);
    snapshot_release(c.snapshot);
    cli_configuration_close(&c.served);
    cli_secrets_free(c.secrets);
    arena_clear(&c.arena);
    arena_clear(&c.words);
    return code;
}

int check_prepare(const struct cli_options *common, bool database)
{
    const struct options o = {
        .common = *common, .secrets = true, .prepare = true, .leave_database = !database};

    return check(&o, 0, NULL);
}

static bool take(struct options *o, int option)
{
    switch (option) {
    case TOKEN:
        o->token_file = optarg;
        return true;
    case AS_JSON:
        return o->json = true;
    case SECRETS:
        return o->secrets = true;
    default:
        return cli_option(&o->common, option, optarg);
    }
}

/* Takes the node's configuration out of the files: Kong's check gets it there. */
static bool take_conf(struct options *o, int *count, char **files)
{
    int kept = 0;

    for (int i = 0; i < *count; i++) {
        if (!view_ends_with(view_str(files[i]), VIEW(".conf"))) {
            files[kept++] = files[i];
            continue;
        }
        if (o->common.conf_file != NULL)
            return false;
        o->common.conf_file = files[i];
    }
    *count = kept;
    return true;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {CLI_OPTIONS,
                                            {"token", required_argument, NULL, TOKEN},
                                            {"json", no_argument, NULL, AS_JSON},
                                            {"secrets", no_argument, NULL, SECRETS},
                                            {0}};
    struct options o = {.common = {.usage = usage}};
    int option;

    while ((option = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (!take(&o, option))
            return cli_misused(&o.common);
    }
    if (o.common.help)
        return cli_help(&o.common);
    cli_set_log_level(&o.common); /* what fails is said by the mistakes */
    int count = argc - optind;
    if (!take_conf(&o, &count, argv + optind) || (o.json && o.token_file == NULL) ||
        (o.token_file != NULL && count > 1))
        return cli_misused(&o.common);
    return check(&o, count, argv + optind);
}

static int run_prepare(int argc, char **argv)
{
    struct cli_options options = {.usage = prepare_usage};
    int code;

    if (!cli_options_parse(&options, argc, argv, &code))
        return code;
    if (optind < argc)
        return cli_misused(&options);
    cli_set_log_level(&options);
    return check_prepare(&options, false);
}

const struct command command_check = {"check", "checks the configuration and prints every mistake",
                                      run};
const struct command command_prepare = {"prepare", "checks everything and makes the prefix",
                                        run_prepare};
