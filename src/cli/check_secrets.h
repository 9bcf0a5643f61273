/* What `sallyport check --secrets` says of secrets that the gateway is to rotate. */
#ifndef SALLYPORT_CLI_CHECK_SECRETS_H
#define SALLYPORT_CLI_CHECK_SECRETS_H

#include "base/diag.h"
#include "cli/secrets.h"
#include "model/entities.h"

/* A secret, or its master's, that cannot be read, is not in RDS's format, or is for another place
 * than the service: a rotation would refuse it.  Waits for AWS; adds errors to the diagnostics. */
void check_rotated_secrets(struct diagnostics *d, struct view yaml, const struct entities *all,
                           struct cli_secrets *secrets);

#endif
