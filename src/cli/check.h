/* The check of everything that a start needs, for commands beside 'check'. */
#ifndef SALLYPORT_CLI_CHECK_H
#define SALLYPORT_CLI_CHECK_H

#include <stdbool.h>

#include "cli/options.h"

/* What 'sallyport prepare' does: prints every mistake, and without one makes the prefix.
 * database: what is served from there is read too.  The exit code. */
int check_prepare(const struct cli_options *options, bool database);

#endif
