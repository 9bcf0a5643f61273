/* What is done to a running process, for commands beside those of process.c. */
#ifndef SALLYPORT_CLI_PROCESS_H
#define SALLYPORT_CLI_PROCESS_H

#include "cli/node.h"

/* What 'sallyport stop' does, messages included; the exit code. */
int process_stop(const struct node_config *node);

#endif
