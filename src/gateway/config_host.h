/* What loading a configuration asks of the world, with JSON. */
#ifndef SALLYPORT_GATEWAY_CONFIG_HOST_H
#define SALLYPORT_GATEWAY_CONFIG_HOST_H

#include "config/config.h"

/* config_host.json_member. */
bool config_host_json_member(const struct config_host *host, struct view text, struct view key,
                             struct buf *out);

/* The process's environment and files; references to aws are left unread, with a warning each.
 * Sealed secrets are opened by the keyring of the node that is set.
 * For commands that look at a configuration without serving it; copied to set `node`. */
extern const struct config_host config_host_offline;

#endif
