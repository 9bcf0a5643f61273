/*
 * One CancelRequest (PostgreSQL protocol chapter 55.2.8), on the control thread's loop: on a
 * connection of its own, to the very address that the backend is connected to, over TLS verified
 * as the login's was.  The server closes it when the signal was sent; that end is what is waited
 * for, since a backend may be used again only when no cancel can still be on its way.
 */
#ifndef SALLYPORT_DATABASE_CANCEL_H
#define SALLYPORT_DATABASE_CANCEL_H

#include <netinet/in.h>

#include "database/broker.h"

struct cancel;

struct cancel_options {
    uv_loop_t *loop;
    struct list *flush_list;
    const struct broker *broker; /* its TLS; must outlive the cancel */
    const struct endpoint *endpoint; /* whose name TLS verifies */
    struct sockaddr_in6 address; /* big enough for either family */
    uint32_t pid;
    uint32_t key;
    int64_t timeout_ms;
    /* Once, never from within cancel_start.  sent: the server closed it after it had the request;
     * else nothing is known. */
    void (*done)(void *arg, bool sent);
    void *arg;
};

/* fault_out_of_memory or the connect's fault, and nothing was begun; else done follows. */
err cancel_start(const struct cancel_options *options, struct cancel **out) MUST_USE;
/* Ends it now: done is called from within, not sent. */
void cancel_abort(struct cancel *c);

#endif
