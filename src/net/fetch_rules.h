/* What a fetch may ask for and how its answer's Cache-Control reads: pure, no IO. */
#ifndef SALLYPORT_NET_FETCH_RULES_H
#define SALLYPORT_NET_FETCH_RULES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/view.h"

struct fetch_target {
    bool plain; /* http: the socket's address must be local too */
    bool local; /* a loopback or link-local host: reached without a proxy */
};

/* Checks the URL: https to anywhere, http to local hosts only, no user name or password in it. */
err fetch_check_url(const char *url, struct fetch_target *out) MUST_USE;

/* Loopback (127/8, ::1) or the link-local addresses of metadata services (169.254/16,
 * fd00:ec2::/32). */
bool fetch_address_is_local(const struct sockaddr *address);

/* Takes one Cache-Control value into *max_age_s, which starts as -1: the lowest max-age of all
 * values, 0 for no-cache and no-store (RFC 9111 sections 5.2.2 and 4.2.1). */
void fetch_cache_control(struct view value, int64_t *max_age_s);

#endif
