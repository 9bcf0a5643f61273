/* A blocking HTTPS (or HTTP) server of the test's own, on threads, with a fresh certificate. */
#ifndef SALLYPORT_TESTS_FETCH_SERVER_H
#define SALLYPORT_TESTS_FETCH_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ssl_ctx_st;

struct fetch_server {
    int fd;
    uint16_t port;
    struct ssl_ctx_st *tls; /* NULL: plain */
    pthread_t acceptor;
    atomic_int connections; /* accepted */
    atomic_int open;        /* not yet ended */
    atomic_int requests;
    char ca_file[64]; /* PEM of the certificate itself: it signs itself */
};

/* A certificate for the name and, when not NULL, the IP address.  TLS versions as OpenSSL numbers
 * them; 0: OpenSSL's own choice. */
struct fetch_server_options {
    bool plain;
    const char *dns_name;
    const char *ip_address;
    int max_tls_version;
};

void fetch_server_start(struct fetch_server *s, const struct fetch_server_options *options);
/* Every client must have closed its connection. */
void fetch_server_stop(struct fetch_server *s);

#endif
