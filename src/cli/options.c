#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "config/node_text.h"
#include "config/schema.h"

enum { VALUE_MAX_BYTES = 64 * 1024 };

/* Given twice, the later holds. */
static void set(struct cli_options *o, const char *name, const char *value)
{
    size_t i = 0;

    while (i < o->setting_count && !view_is(o->settings[i].name, name))
        i++;
    if (i == o->setting_count)
        o->setting_count++;
    o->settings[i] = (struct node_setting){view_str(name), view_str(value)};
}

bool cli_option(struct cli_options *o, int option, const char *argument)
{
    switch (option) {
    case 'c':
        o->conf_file = argument;
        return true;
    case 'p':
        set(o, "prefix", argument);
        return true;
    case CLI_KONG_COMPAT:
        o->kong_compat = true;
        set(o, "kong_compat", "on");
        return true;
    case 'v':
        o->verbose++; /* -vv too */
        return true;
    case CLI_VV:
        o->verbose = 2;
        return true;
    case 'h':
        return o->help = true;
    default:
        return false;
    }
}

int cli_help(const struct cli_options *o)
{
    fputs(o->usage, stdout);
    return 0;
}

int cli_misused(const struct cli_options *o)
{
    fputs(o->usage, stderr);
    return 1;
}

bool cli_options_parse(struct cli_options *o, int argc, char **argv, int *code)
{
    static const struct option options[] = {CLI_OPTIONS, {0}};
    int option;

    *code = 0;
    while ((option = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (!cli_option(o, option, optarg)) {
            *code = cli_misused(o);
            return false;
        }
    }
    if (o->help)
        *code = cli_help(o);
    return !o->help;
}

struct node_config_sources cli_sources(const struct cli_options *o)
{
    return (struct node_config_sources){.settings = o->settings,
                                        .setting_count = o->setting_count,
                                        .environment = environ,
                                        .conf_file = o->conf_file};
}

static void tell_property(const struct node_config *node, size_t i)
{
    struct buf value;

    buf_init(&value, VALUE_MAX_BYTES);
    node_value_write(&value, node, i);
    fprintf(stderr, "[debug] %s = %.*s\n", schema_node.fields[i].name, VIEW_ARG(buf_view(&value)));
    buf_clear(&value);
}

void cli_tell_node(const struct cli_options *o, const struct node_config *node)
{
    if (o->verbose == 0 || o->told)
        return;
    if (node->conf_file.len > 0)
        fprintf(stderr, "[verbose] reading config file at %.*s\n", VIEW_ARG(node->conf_file));
    else
        fputs("[verbose] no config file, skip loading\n", stderr);
    fprintf(stderr, "[verbose] prefix in use: %.*s\n", VIEW_ARG(node->prefix));
    for (size_t i = 0; o->verbose > 1 && i < schema_node.field_count; i++)
        tell_property(node, i);
}

void cli_set_log_level(const struct cli_options *o)
{
    log_set_level(o->verbose == 0 ? LOG_ERROR : o->verbose == 1 ? LOG_INFO : LOG_DEBUG);
}

void cli_options_keep(const struct cli_options *o)
{
    for (size_t i = 0; i < o->setting_count; i++) {
        bool prefix = view_is(o->settings[i].name, "prefix");
        char *whole = prefix ? realpath(o->settings[i].value.data, NULL) : NULL;
        setenv(prefix ? "SALLYPORT_PREFIX" : "SALLYPORT_KONG_COMPAT",
               whole != NULL ? whole : o->settings[i].value.data, 1);
        free(whole);
    }
}
