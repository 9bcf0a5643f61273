/*
 * The real fetcher (base/fetch.h): HTTPS by libcurl's multi interface on a libuv loop.
 *
 * One exchange a call to start: no redirect is followed, nothing is tried again.  TLS 1.2 at least,
 * chain and host name always verified.  Plain http is taken only to loopback and link-local
 * addresses (the metadata services of EC2 and ECS), judged twice: by the URL's literal host
 * (localhost or an address) before anything is sent, and by the address that the socket is about
 * to be connected to.  Proxies come from the environment as curl reads it (HTTPS_PROXY, NO_PROXY),
 * never for plain http.  Names are resolved on curl's own threads, connections are kept for reuse.
 *
 * Thread rule: everything on the loop's thread.
 */
#ifndef SALLYPORT_NET_FETCH_H
#define SALLYPORT_NET_FETCH_H

#include <uv.h>

#include "base/err.h"
#include "base/fetch.h"

struct net_fetcher;

/* Why a fetch failed; the detail handed to fetch_done says more. */
extern const struct fault fetch_refused_url;  /* malformed, not https, or plain http to elsewhere */
extern const struct fault fetch_refused_header; /* a line end in a method, header name or value */
extern const struct fault fetch_unresolved;   /* the host's name has no address */
extern const struct fault fetch_unreachable;  /* no connection, or it broke before an answer */
extern const struct fault fetch_tls_failed;   /* no TLS, chain or name not verified, CA file unusable */
extern const struct fault fetch_timed_out;    /* timeout_ms was over */
extern const struct fault fetch_too_large;    /* more than max_bytes, or headers without end */
extern const struct fault fetch_redirected;   /* a 3xx answer: never followed, never handed on */
extern const struct fault fetch_cancelled;    /* net_fetcher_close came first */

/* NULL when there is no memory.  The loop must outlive the close callback. */
struct net_fetcher *net_fetcher_new(uv_loop_t *loop);

/* The seam to hand to rooms without sockets; valid until net_fetcher_close. */
struct fetcher *net_fetcher_base(struct net_fetcher *f);

/* Fails everything in flight with fetch_cancelled (their callbacks run before this returns; they
 * may not start new ones), closes the connections, frees f, then calls closed(arg) from the loop. */
void net_fetcher_close(struct net_fetcher *f, void (*closed)(void *arg), void *arg);

#endif
