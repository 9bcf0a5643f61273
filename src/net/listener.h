/*
 * A listening TCP socket on a loop.  Each worker opens its own for the same address
 * (SO_REUSEPORT), so the kernel spreads the connections and no worker waits for another.
 */
#ifndef SALLYPORT_NET_LISTENER_H
#define SALLYPORT_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/view.h"

struct listener {
    int fd;
    uv_poll_t *poll;
    bool paused; /* out of descriptors: it would wake the loop again and again */
    void (*accepted)(struct listener *l, int fd); /* the callee owns the socket */
};

/* Opens a listening socket on a numeric address, shared among this process's workers.
 * Faults: net_address, net_in_use, net_system. */
err listener_open(struct view host, uint16_t port, int *fd) MUST_USE;
/* Whether another program holds the address: a plain bind, undone at once.  SO_REUSEPORT would
 * otherwise let two gateways of one user share a port unnoticed. */
err listener_probe(struct view host, uint16_t port) MUST_USE;
/* Serves the socket from the loop; owns it from now on. */
err listener_start(struct listener *l, uv_loop_t *loop, int fd,
                   void (*accepted)(struct listener *l, int fd)) MUST_USE;
/* Accepts again after it ran out of descriptors; call it now and then. */
void listener_resume(struct listener *l);
void listener_close(struct listener *l);

#endif
