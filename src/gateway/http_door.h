/*
 * The HTTP door: HTTP/1.1 over TLS (or plain, where the node allows it), one call at a time for
 * each connection, in the order the requests came.
 */
#ifndef SALLYPORT_GATEWAY_HTTP_DOOR_H
#define SALLYPORT_GATEWAY_HTTP_DOOR_H

#include <stdbool.h>

#include "gateway/worker.h"

/* Takes over a socket that was just accepted. */
void http_door_accept(struct worker *w, int fd, bool tls);
/* Sends what is ready.  audit_ok false: answers whose outcome is not in the audit stay. */
void http_door_flush(struct worker *w, bool audit_ok);
/* Closes connections whose time is up. */
void http_door_tick(struct worker *w);
/* No more requests on any connection; idle ones close at once. */
void http_door_drain(struct worker *w);
/* Ends every connection now. */
void http_door_close_all(struct worker *w);

#endif
