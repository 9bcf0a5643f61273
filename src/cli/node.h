/* What several commands share: the node's configuration, and the process that runs it. */
#ifndef SALLYPORT_CLI_NODE_H
#define SALLYPORT_CLI_NODE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "cli/options.h"
#include "model/node.h"

enum { CLI_PATH_BYTES = 4096 };

/* Loads it, printing every mistake and warning; false when there are mistakes.  *out lives in the
 * arena.  Secrets of AWS are left unread: only a start needs them. */
bool cli_load_node(struct arena *arena, const struct cli_options *options, struct node_config *out);

/* Text from callers goes to a terminal: control characters must not, U+0080 to U+009F included, and
 * stand there as '?'. */
void cli_print_text(struct view v);

/* For what needs the prefix alone: mistakes elsewhere are printed and do no harm, as long as the
 * file, the environment or the command line does say the prefix.  Warnings are not: a probe that
 * runs every few seconds would repeat them. */
bool cli_load_prefix(struct arena *arena, const struct cli_options *options,
                     struct node_config *out);

/* Makes the prefix's folder, with those above it, when it is not there; false with a message. */
bool cli_make_prefix(const struct node_config *node);

/*
 * PREFIX/sallyport.pid holds the running process's id, and its lock: whoever holds the lock runs,
 * whatever the file says.
 */
/* Takes the lock and writes the pid; the descriptor stays open as long as the process runs.
 * -1 with a message when another one runs there, or the file cannot be written. */
int cli_claim_prefix(const struct node_config *node);
struct cli_process {
    pid_t pid;  /* who holds the lock; 0: none runs; -1: one does, in another PID namespace */
    pid_t told; /* the number in the file, for people and for Kong's tools; 0: there is none */
};

/* 0, or the errno with which the pid file could not be asked. */
int cli_process_find(const struct node_config *node, struct cli_process *out);
/* Whether one runs in this prefix, as far as can be told: the pid file may not be ours to read. */
bool cli_running(const struct node_config *node);
/* Waits until it has ended, at most so long. */
bool cli_wait_end(const struct node_config *node, int64_t timeout_ms);

#endif
