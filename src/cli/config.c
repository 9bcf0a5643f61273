/* sallyport config: what can be said of configurations without a running node. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "config/config.h"
#include "config/schema.h"
#include "gateway/snapshot.h"

static const char usage[] =
    "usage: sallyport config parse SALLYPORT.YAML   checks one file\n"
    "       sallyport config schema yaml|conf       prints the fields, as roff for the manual\n"
    "\n"
    "exit: 0, or 1 when the file has mistakes\n";

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

static int run(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "parse") == 0)
        return parse(argv[2]);
    if (argc == 3 && strcmp(argv[1], "schema") == 0)
        return schema(argv[2]);
    fputs(usage, stderr);
    return 1;
}

const struct command command_config = {"config", "parses a file, prints the schema", run};
