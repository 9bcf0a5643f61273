/* sallyport config: what can be said of configurations without a running node. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/config_db.h"
#include "cli/node.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/node_text.h"
#include "config/schema.h"
#include "gateway/snapshot.h"

static const char usage[] =
    "usage: sallyport config parse SALLYPORT.YAML   checks one file\n"
    "       sallyport config show [OPTION...]       prints the node's properties, as a file, and\n"
    "                                               where each comes from; of a kong.conf also\n"
    "                                               what has no effect, and why\n"
    "       sallyport config schema yaml|conf       prints the fields, as roff for the manual\n"
    "\n"
    "       sallyport config db_import FILE [OPTION...]  makes the database hold what the file\n"
    "                                                    says\n"
    "       sallyport config db_export FILE [OPTION...]  writes what the database holds; - to the\n"
    "                                                    standard output\n"
    "       sallyport config diff FILE [OPTION...]       prints what an import would change\n"
    "\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0, or 1 when the file has mistakes; of diff: 2 when an import would change something\n";

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30, MANUAL_MAX_BYTES = 1 << 20 };

static int parse(const char *path)
{
    const struct snapshot_makers nothing = {NULL};
    struct snapshot *s = NULL;
    struct arena words;

    arena_init(&words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    struct diagnostics d = {.arena = &words};
    err outcome = snapshot_build(path, &nothing, &d, &s);
    diag_print(&d, STDERR_FILENO);
    if (failed(outcome))
        fprintf(stderr, "Error: %s\n", outcome.fault->text);
    else
        puts("parse successful");
    snapshot_release(s);
    arena_clear(&words);
    return failed(outcome) ? 1 : 0;
}

static int schema(const char *which)
{
    struct buf out;
    bool known = strcmp(which, "yaml") == 0 || strcmp(which, "conf") == 0;

    if (!known) {
        fputs(usage, stderr);
        return 1;
    }
    buf_init(&out, MANUAL_MAX_BYTES);
    if (strcmp(which, "yaml") == 0)
        schema_man_yaml(&out);
    else
        schema_man_conf(&out);
    bool written = !buf_failed(&out) && fwrite(out.data, 1, out.len, stdout) == out.len;
    buf_clear(&out);
    return written ? 0 : 1;
}

/* ---- show ---- */

static void add_origin(struct buf *b, const struct property_origin *o)
{
    if (o->kind == ORIGIN_FILE)
        buf_printf(b, "%.*s:%u", VIEW_ARG(o->source), o->line);
    else if (o->kind == ORIGIN_ENVIRONMENT)
        buf_printf(b, "%.*s in the environment", VIEW_ARG(o->source));
    else if (o->kind == ORIGIN_PROPERTY)
        buf_printf(b, "from %.*s", VIEW_ARG(o->source));
    else if (o->kind == ORIGIN_COMMAND_LINE)
        buf_add_str(b, "command line");
    else
        buf_add_str(b, o->source.len > 0 ? "Kong's default" : "default");
}

static void add_property(struct buf *b, const struct node_config *node, size_t i)
{
    enum { ORIGIN_COLUMN = 64 };
    const struct field *f = &schema_node.fields[i];
    size_t start = b->len;

    buf_printf(b, "%s = ", f->name);
    node_value_write(b, node, i);
    do {
        buf_add_char(b, ' ');
    } while (b->len - start < ORIGIN_COLUMN && !buf_failed(b));
    buf_add_str(b, "# ");
    add_origin(b, &node->origins[i]);
    buf_add_char(b, '\n');
}

/* As comments: the output stays a configuration that says the same. */
static void add_idle(struct buf *b, const struct node_config *node)
{
    if (node->idle != NULL)
        buf_add_str(b, b->len > 0 ? "\n" : "");
    if (node->idle != NULL)
        buf_add_str(b, "# without effect here:\n");
    for (const struct node_idle *i = node->idle; i != NULL; i = i->next) {
        buf_add_str(b, "# ");
        if (i->origin.kind == ORIGIN_ENVIRONMENT)
            buf_add_view(b, i->origin.source);
        else if (i->origin.kind == ORIGIN_FILE)
            buf_printf(b, "%.*s:%u: %.*s", VIEW_ARG(i->origin.source), i->origin.line,
                       VIEW_ARG(i->name));
        else
            buf_add_view(b, i->name);
        buf_printf(b, ": %s: %s\n", i->group, i->why);
    }
}

static int show(const struct cli_options *options)
{
    struct node_config node;
    struct arena arena;
    struct buf out;

    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    buf_init(&out, MANUAL_MAX_BYTES);
    bool good = cli_load_node(&arena, options, &node);
    for (size_t i = 0; good && i < schema_node.field_count; i++)
        add_property(&out, &node, i);
    add_idle(&out, &node); /* with mistakes too: it tells what is none */
    good = !buf_failed(&out) && good;
    if (out.len > 0)
        good = fwrite(out.data, 1, out.len, stdout) == out.len && good;
    buf_clear(&out);
    arena_clear(&arena);
    return good ? 0 : 1;
}

static int run_show(struct cli_options *options, int argc, char **argv)
{
    int code;

    if (!cli_options_parse(options, argc, argv, &code))
        return code;
    return optind < argc ? cli_misused(options) : show(options);
}

static int run(int argc, char **argv)
{
    struct cli_options options = {.usage = usage};

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return cli_help(&options);
    if (argc == 3 && strcmp(argv[1], "parse") == 0)
        return parse(argv[2]);
    if (argc == 3 && strcmp(argv[1], "schema") == 0)
        return schema(argv[2]);
    if (argc >= 2 && config_db_is(argv[1]))
        return config_db(&options, argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "show") == 0)
        return run_show(&options, argc - 1, argv + 1);
    return cli_misused(&options);
}

const struct command command_config = {
    "config", "shows properties, parses a file, imports, exports and compares with a database",
    run};
