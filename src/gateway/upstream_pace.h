/*
 * The pace of services' logins by IAM: all endpoints of one instance (the RDS name that tokens are
 * signed for, and the port) share the node's share of it, in turn, beside each one's login_rate.
 *
 * Thread rule: everything on the control thread.
 */
#ifndef SALLYPORT_GATEWAY_UPSTREAM_PACE_H
#define SALLYPORT_GATEWAY_UPSTREAM_PACE_H

#include "gateway/upstream.h"

/* 0: a login may begin, and upstream_pace_begun follows at once; else when to ask again. */
int64_t upstream_pace_await(struct upstream *u);
/* Whether it does begin. */
void upstream_pace_begun(struct upstream *u, bool begun, int64_t now_ns);

#endif
