/* The secrets of AWS that a service logs in with, for `sallyport setup --iam`. */
#ifndef SALLYPORT_CLI_SETUP_SECRETS_H
#define SALLYPORT_CLI_SETUP_SECRETS_H

#include <stdbool.h>

#include "base/buf.h"
#include "model/entities.h"

/* Adds the policy that reads them, and rotates those with `rotation`; what it is for goes to
 * standard error.  False, and nothing is added: the service has none. */
bool setup_add_secrets(struct buf *out, const struct entities *all, const struct service *s,
                       struct view region, struct view account);

#endif
