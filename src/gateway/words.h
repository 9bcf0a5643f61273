/*
 * Files that a command leaves in the prefix for the running process: quit's patience, and drain.
 * A file, since a signal carries no number that libuv would hand on, and since it is read when it
 * matters.  Any thread; no state.
 */
#ifndef SALLYPORT_GATEWAY_WORDS_H
#define SALLYPORT_GATEWAY_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/node.h"

/* Left before SIGQUIT by 'sallyport quit -t': how long calls may go on, in milliseconds. */
#define WORD_QUIT "sallyport.quit"
/* As long as it stands there, the process is not ready: of 'sallyport drain'. */
#define WORD_DRAIN "sallyport.drain"

/* Writes the number there; 0, or errno, and what stood there before stays. */
int words_leave(const struct node_config *node, const char *word, uint64_t number);
/* Those for a process that has ended: before the start. */
void words_forget(const struct node_config *node);
bool words_drained(const struct node_config *node);
/* What WORD_QUIT says, once; else shutdown_timeout_ms. */
uint64_t words_quit_ms(const struct node_config *node);

#endif
