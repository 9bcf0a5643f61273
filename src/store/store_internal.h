/* What the files of the room share. */
#ifndef SALLYPORT_STORE_INTERNAL_H
#define SALLYPORT_STORE_INTERNAL_H

#include <libpq-fe.h>

#include "store/store.h"

struct store {
    PGconn *connection;
    int64_t timeout_ms;
    int cancel_fd; /* 0: none */
    store_give_up *give_up; /* NULL: nothing is asked */
    void *give_up_arg;
    char address[STORE_ADDRESS_BYTES];
};

/* libpq's words, which may be those of a server not yet verified, as one line for a terminal. */
void store_keep_words(struct store_why *why, const char *words);

/*
 * A descriptor whose /proc/self/fd path is one PEM file with everybody whom the node trusts: libpq
 * takes one file only.  -1 with why filled in.  The caller closes it once connected.
 */
int store_trust_open(const struct node_config *node, struct view host, struct store_why *why);

#endif
