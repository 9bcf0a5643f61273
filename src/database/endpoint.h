/*
 * A broker's configuration: copied out of the snapshot that it outlives, and compared with that of
 * the next one, since a reload keeps the connections of what did not change.
 */
#ifndef SALLYPORT_DATABASE_ENDPOINT_H
#define SALLYPORT_DATABASE_ENDPOINT_H

#include "base/arena.h"
#include "model/entities.h"

/* The name that TLS verifies and tokens are signed for: iam_auth.hostname, else the URL's host. */
struct view endpoint_tls_name(const struct endpoint *e);

/* Deep copies into the arena; texts for which there is no room become absent. */
struct strings endpoint_copy_strings(struct arena *a, struct strings s);
void endpoint_copy(struct arena *a, struct endpoint *to, const struct endpoint *from);

#endif
