/* The faults of the net room. */
#ifndef SALLYPORT_NET_NET_H
#define SALLYPORT_NET_NET_H

#include "base/err.h"

extern const struct fault net_closed;      /* the peer closed the stream */
extern const struct fault net_reset;       /* the connection broke */
extern const struct fault net_tls;         /* the TLS peer broke the protocol or failed its check */
extern const struct fault net_connect;     /* no connection could be made */
extern const struct fault net_resolve;     /* the host name has no address */
extern const struct fault net_timeout;     /* the time allowed ran out */
extern const struct fault net_address;     /* not an address that can be listened on */
extern const struct fault net_in_use;      /* another program listens there */
extern const struct fault net_system;      /* the kernel refused, for lack of something */

#endif
