/*
 * The addresses of a host name, looked up without waiting: getaddrinfo blocks for as long as the
 * resolver likes, so a thread of its own asks it.
 *
 * Each look-up is a new one (nothing is kept but the latest answer), by whatever nsswitch.conf
 * says: a cluster endpoint of RDS changes its address within seconds at a failover.
 *
 * Thread rule: all functions by one thread at a time.  lookup_free does not wait: the thread ends
 * by itself when the resolver has answered.
 */
#ifndef SALLYPORT_STORE_LOOKUP_H
#define SALLYPORT_STORE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

enum { STORE_ADDRESSES_MAX = 8, STORE_ADDRESS_BYTES = 64, LOOKUP_WHY_BYTES = 128 };

/* Numeric, without brackets, in the resolver's order; what goes beyond the maximum is left out. */
struct store_addresses {
    size_t count;
    char at[STORE_ADDRESSES_MAX][STORE_ADDRESS_BYTES];
};

bool store_addresses_have(const struct store_addresses *a, const char *address);
/* The same ones, in whatever order. */
bool store_addresses_equal(const struct store_addresses *a, const struct store_addresses *b);
/* Without effect when it is not there. */
void store_addresses_remove(struct store_addresses *a, const char *address);
/* True, with *out filled in, when the host is an address itself and needs no look-up. */
bool store_address_literal(const char *host, struct store_addresses *out);

struct lookup;

/* The host is copied.  fault_out_of_memory when there is no thread to be had, too. */
err lookup_new(const char *host, struct lookup **out) MUST_USE;
void lookup_free(struct lookup *l);

/* Begins a look-up; without effect while one is under way or its answer was not taken. */
void lookup_ask(struct lookup *l);
/* To wait on, for reading: an answer is there. */
int lookup_fd(const struct lookup *l);
/* True: an answer was there.  With none, *out has a count of 0, and why says the reason. */
bool lookup_take(struct lookup *l, struct store_addresses *out, char why[LOOKUP_WHY_BYTES]);

#endif
