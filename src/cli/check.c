/* sallyport check: every mistake of the configuration, without starting anything. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "config/config.h"

static const char usage[] =
    "usage: sallyport check [-c SALLYPORT.CONF] [SALLYPORT.YAML...]\n"
    "\n"
    "Reads the node's configuration and what it serves, and prints every mistake with file, line\n"
    "and column.  Without a YAML file the one that declarative_config names is read.\n"
    "\n"
    "  -c, --conf FILE   the node's configuration; by default " CONFIG_DEFAULT_FILE "\n"
    "  -h, --help        this text\n"
    "\n"
    "exit: 0 when all is valid, 1 otherwise\n";

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30 };

struct check {
    struct arena arena; /* of the configuration */
    struct arena words; /* of the diagnostics */
    struct diagnostics d;
    struct node_config node;
    const char *conf_file; /* of -c */
};

/* One more check of what has been read joins here; each reports through c->d. */
typedef void entities_check(struct check *c, const char *path, const struct entities *e);

static entities_check *const entity_checks[] = {
    NULL, /* ends the list */
};

static void check_yaml(struct check *c, const char *path)
{
    struct entities e;

    if (failed(entities_load(&c->arena, path, NULL, &e, &c->d)))
        return;
    for (size_t i = 0; entity_checks[i] != NULL; i++)
        entity_checks[i](c, path, &e);
}

static bool check_node(struct check *c)
{
    struct node_config_sources sources = {.environment = environ, .conf_file = c->conf_file};

    return !failed(node_config_load(&c->arena, &sources, &c->node, &c->d));
}

/* What the closing line calls the configuration. */
static const char *check_all(struct check *c, int count, char **files)
{
    bool node_valid = check_node(c);

    for (int i = 0; i < count; i++)
        check_yaml(c, files[i]);
    if (count > 0)
        return files[count - 1];
    if (!node_valid)
        return NULL;
    if (c->node.declarative_config.len > 0) {
        check_yaml(c, c->node.declarative_config.data);
        return c->conf_file != NULL ? c->conf_file : c->node.declarative_config.data;
    }
    enum severity severity = c->conf_file != NULL ? SEVERITY_WARNING : SEVERITY_ERROR;
    diag_add(&c->d, severity, (struct view){NULL, 0}, 0, 0,
             "there is nothing to serve: give a YAML file, or set declarative_config");
    return c->conf_file;
}

static int check(const char *conf_file, int count, char **files)
{
    struct check c = {.conf_file = conf_file};

    arena_init(&c.arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    arena_init(&c.words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    c.d.arena = &c.words;
    const char *what = check_all(&c, count, files);
    diag_print(&c.d, STDERR_FILENO);
    size_t errors = c.d.errors;
    if (errors > 0)
        fprintf(stderr, "Error: %zu %s in the configuration\n", errors,
                errors == 1 ? "mistake" : "mistakes");
    else
        printf("configuration at %s is valid\n", what);
    arena_clear(&c.arena);
    arena_clear(&c.words);
    return errors > 0 ? 1 : 0;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"conf", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *conf_file = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (option != 'c') {
            fputs(usage, stderr);
            return 1;
        }
        conf_file = optarg;
    }
    return check(conf_file, argc - optind, argv + optind);
}

const struct command command_check = {"check", "checks the configuration and prints every mistake",
                                      run};
