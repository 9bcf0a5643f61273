/*
 * The options that every command with a configuration has, under the names that Kong's have:
 *
 *   -c, --conf FILE      the node's configuration
 *   -p, --prefix DIR     instead of its prefix
 *       --kong-compat    FILE is a kong.conf
 *       --v, --vv        says which file was read; and each property, too
 *   -h, --help
 *
 *     enum { TOKEN = CLI_FIRST_OWN };
 *     static const struct option options[] = {CLI_OPTIONS, {"token", …, TOKEN}, {0}};
 *     struct cli_options common = {.usage = usage};
 *     while ((option = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
 *         if (cli_option(&common, option, optarg))
 *             continue;
 *         … own options; else return cli_misused(&common) …
 *     }
 *     if (common.help)
 *         return cli_help(&common);
 */
#ifndef SALLYPORT_CLI_OPTIONS_H
#define SALLYPORT_CLI_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#include "base/attr.h"
#include "config/config.h"

enum { CLI_KONG_COMPAT = 1000, CLI_VV, CLI_FIRST_OWN };

#define CLI_LETTERS "c:p:vh"
#define CLI_OPTIONS                                                                                \
    {"conf", required_argument, NULL, 'c'}, {"prefix", required_argument, NULL, 'p'},              \
    {"kong-compat", no_argument, NULL, CLI_KONG_COMPAT}, {"v", no_argument, NULL, 'v'},            \
    {"vv", no_argument, NULL, CLI_VV}, {"help", no_argument, NULL, 'h'}

/* For a usage text. */
#define CLI_OPTIONS_HELP                                                                           \
    "  -c, --conf FILE      the node's configuration; by default " CONFIG_DEFAULT_FILE "\n"       \
    "  -p, --prefix DIR     instead of the prefix that it names\n"                                 \
    "      --kong-compat    FILE is a kong.conf: what of it has no effect here is one warning\n"   \
    "      --v, --vv        says which file was read; each property, too\n"                        \
    "  -h, --help           this text\n"

struct cli_options {
    const char *usage;
    const char *conf_file; /* NULL: the default one */
    bool kong_compat;
    bool help;
    unsigned verbose; /* 1, 2 */
    bool told;        /* warnings, and what --v tells, stand on the screen already */
    struct node_setting settings[2]; /* what of these is a property: prefix, kong_compat */
    size_t setting_count;
};

/* Takes an option that getopt_long has returned; false: it is none of these. */
bool cli_option(struct cli_options *o, int option, const char *argument);

/* The usage, on standard output or as a complaint; the exit code. */
int cli_help(const struct cli_options *o);
int cli_misused(const struct cli_options *o);

/* For a command with these options alone: false with the exit code when there is nothing left to
 * do.  What remains of argv begins at optind. */
bool cli_options_parse(struct cli_options *o, int argc, char **argv, int *code);

/* Where the node's properties come from.  *o must outlive it. */
struct node_config_sources cli_sources(const struct cli_options *o);

/* Of --v and --vv, on standard error, when the configuration was loaded. */
void cli_tell_node(const struct cli_options *o, const struct node_config *node);

/* What the command itself logs: mistakes, or more with --v and --vv. */
void cli_set_log_level(const struct cli_options *o);

/* From now on whatever this process or a child of it reads again is read with these options: they
 * go into the environment.  Before any thread starts. */
void cli_options_keep(const struct cli_options *o);

#endif
