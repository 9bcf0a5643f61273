/* What the files of the room share. */
#ifndef SALLYPORT_STORE_INTERNAL_H
#define SALLYPORT_STORE_INTERNAL_H

#include "store/store.h"

/*
 * A descriptor whose /proc/self/fd path is one PEM file with everybody whom the node trusts: libpq
 * takes one file only.  -1 with why filled in.  The caller closes it once connected.
 */
int store_trust_open(const struct node_config *node, struct view host, struct store_why *why);

#endif
