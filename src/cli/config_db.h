/* sallyport config db_import, db_export, diff: files and the configuration in PostgreSQL. */
#ifndef SALLYPORT_CLI_CONFIG_DB_H
#define SALLYPORT_CLI_CONFIG_DB_H

#include <stdbool.h>

#include "cli/options.h"

/* Whether the word is one of the three. */
bool config_db_is(const char *action);

/* argv[0] is the action; returns the exit code. */
int config_db(struct cli_options *options, int argc, char **argv);

#endif
