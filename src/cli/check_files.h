/*
 * What `sallyport check` says of the files that a configuration names, beyond that they can be
 * read: keys of issuers, the door's certificate and its key.  Adds to the diagnostics.
 */
#ifndef SALLYPORT_CLI_CHECK_FILES_H
#define SALLYPORT_CLI_CHECK_FILES_H

#include "base/diag.h"
#include "model/entities.h"
#include "model/node.h"

/* An issuer's jwks_file that is no JWKS, or holds no key that can verify, with the severity. */
void check_key_files(struct diagnostics *d, struct view yaml, const struct entities *all,
                     enum severity severity);

/* Certificate and key must fit each other (errors); one that has expired or soon will, and a key
 * that everybody can read, are warnings. */
void check_certificate_files(struct diagnostics *d, const struct node_config *node);

/* Services that trust rds while rds_ca_bundle cannot be read: what stops a start, though no file
 * says anything wrong.  A file that may be meant for another node: a warning. */
void check_rds_bundle(struct diagnostics *d, struct view file, const struct entities *all,
                      const struct node_config *node, enum severity severity);

#endif
