/*
 * Secrets of AWS for a command: a host for the configuration that reads them when they are wanted,
 * on a loop of its own, waiting until all are there or one cannot be had.
 *
 *     struct cli_secrets *s = cli_secrets_new(true);
 *     while (is_fault(e = entities_load(…, cli_secrets_host(s), …), &config_awaits_secrets))
 *         cli_secrets_wait(s);
 *     cli_secrets_free(s);
 *
 * Nothing is asked, and no AWS credentials are looked for, until a reference wants it.
 */
#ifndef SALLYPORT_CLI_SECRETS_H
#define SALLYPORT_CLI_SECRETS_H

#include <stdbool.h>

#include "cli/options.h"
#include "config/config.h"
#include "model/node.h"

enum { CLI_SECRETS_PATIENCE_MS = 20 * 1000 };

struct cli_secrets;

/* ask_aws false: references to AWS are left unread, with a warning each.  NULL: no memory. */
struct cli_secrets *cli_secrets_new(bool ask_aws);
/* Whose vaults hold; without it the built-in ones. */
void cli_secrets_set_node(struct cli_secrets *s, const struct node_config *node);
void cli_secrets_free(struct cli_secrets *s);

const struct config_host *cli_secrets_host(struct cli_secrets *s);

/* After config_awaits_secrets: returns when it is worth loading again.  After the patience's end
 * what is missing has become a mistake, and the load after that awaits nothing any more. */
void cli_secrets_wait(struct cli_secrets *s);

/* Loads the node's configuration with secrets, as node_config_load; what an attempt that awaits
 * them has reported is forgotten. */
err cli_secrets_load_node(struct cli_secrets *s, struct arena *arena,
                          struct node_config_sources *sources, struct node_config *out,
                          struct diagnostics *d) MUST_USE;

/* The same from the options and the environment, by secrets of its own, printing every mistake and
 * warning as cli_load_node does; false when there are mistakes.  AWS is asked when a property
 * refers to it. */
bool cli_load_node_secrets(struct arena *arena, const struct cli_options *options,
                           struct node_config *out) MUST_USE;

struct snapshot;

/* The same with what is served: snapshot_build without makers. */
err cli_secrets_build(struct cli_secrets *s, const char *path, struct diagnostics *d,
                      struct snapshot **out) MUST_USE;

#endif
