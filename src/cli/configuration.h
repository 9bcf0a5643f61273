/*
 * What a node serves, for commands that read it without a running one: a file, or what stands in
 * the database.
 *
 *     if (!cli_configuration_open(&node, &options, &c))
 *         return 1;
 *     e = entities_load(…, c.path, …, &d);
 *     cli_configuration_name(&c, &d);
 *     cli_configuration_close(&c);
 */
#ifndef SALLYPORT_CLI_CONFIGURATION_H
#define SALLYPORT_CLI_CONFIGURATION_H

#include <stdbool.h>

#include "base/diag.h"
#include "cli/node.h"
#include "cli/options.h"

struct cli_configuration {
    char path[CLI_PATH_BYTES]; /* to be loaded; "": the node is told to serve nothing */
    const char *name;          /* what a person calls it; lives as long as this */
    int fd;                    /* of what was read from the database, in memory; -1: none */
};

/*
 * database = off: declarative_config, whether it is there or not.  database = postgres: reads it as
 * a start would, by the read-only connection where there is one.  For the login sallyport.conf is
 * read once more, with its secrets of AWS, whatever the caller left unread; nothing is written.
 * When the database cannot be reached, the copy that the node keeps in its prefix serves, with a
 * warning on standard error; one that fails its seal does not.
 *
 * False after a message on standard error.  Close it all the same.
 */
bool cli_configuration_open(const struct node_config *node, const struct cli_options *options,
                            struct cli_configuration *out) MUST_USE;
void cli_configuration_close(struct cli_configuration *c);

/* Mistakes name the database, not the file in memory. */
void cli_configuration_name(const struct cli_configuration *c, struct diagnostics *d);

#endif
