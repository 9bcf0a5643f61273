/*
 * TLS contexts and sessions, set up in one place: TLS 1.2 and 1.3 only, forward secrecy and AEAD
 * only, no compression, no renegotiation.
 *
 * The types are OpenSSL's (ssl_ctx_st is SSL_CTX, ssl_st is SSL): a context is freed with
 * SSL_CTX_free, a session with SSL_free.  A context may be shared by threads; a session belongs to
 * one thread at a time.
 */
#ifndef SALLYPORT_CRYPTO_TLS_H
#define SALLYPORT_CRYPTO_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct ssl_ctx_st;
struct ssl_st;

extern const struct fault tls_cert_unreadable; /* no such file, or no right to read it */
extern const struct fault tls_cert_malformed;  /* not a PEM certificate chain */
extern const struct fault tls_key_unreadable;
extern const struct fault tls_key_malformed;   /* not a PEM private key, or an encrypted one */
extern const struct fault tls_key_mismatch;    /* the key is not the certificate's */
extern const struct fault tls_roots_unreadable;
extern const struct fault tls_roots_malformed; /* not one certificate in it */
extern const struct fault tls_setup_failed;    /* OpenSSL refused a setting */
extern const struct fault tls_host_malformed;  /* a name that no certificate could carry */
extern const struct fault tls_no_certificate;  /* the peer showed none */

/* For the HTTP door: ALPN http/1.1 (a client that offers ALPN without it is refused), stateless
 * session tickets under a key of this process, idle sessions give their buffers back, and
 * SSL_write may be partial and be repeated from another address. */
err tls_server_context_new(const char *cert_file, const char *key_file,
                           struct ssl_ctx_st **out) MUST_USE;

struct tls_client_options {
    /* "system", "rds", "rds+system", or the path of a PEM file.  Unused without verify_chain. */
    const char *roots;
    const char *rds_bundle; /* the PEM file that "rds" stands for */
    bool verify_chain;      /* false: any certificate will do (sslmode=require) */
};

/* Fails with tls_roots_unreadable, tls_roots_malformed, tls_setup_failed, fault_out_of_memory. */
err tls_client_context_new(const struct tls_client_options *options,
                           struct ssl_ctx_st **out) MUST_USE;

/* A client session that names the host (SNI, unless it is an IP address) and, with verify_host,
 * accepts only a certificate for it: subject alternative names, an IP address among the IP names,
 * a wildcard only as the whole leftmost label, never the common name (RFC 6125 section 6.4).
 * verify_host needs a context with verify_chain. */
err tls_client_new(struct ssl_ctx_st *context, const char *host, bool verify_host,
                   struct ssl_st **out) MUST_USE;

/* A server session of the context; NULL without memory. */
struct ssl_st *tls_server_new(struct ssl_ctx_st *context);

/* Contexts are counted by reference; NULL is fine for both. */
struct ssl_ctx_st *tls_context_acquire(struct ssl_ctx_st *context);
void tls_context_release(struct ssl_ctx_st *context);

/* "TLSv1.3", "TLS_AES_256_GCM_SHA384": of a finished handshake; static. */
const char *tls_version(const struct ssl_st *session);
const char *tls_cipher(const struct ssl_st *session);

/* Between which seconds since 1970 the first certificate of a PEM file is valid (RFC 5280 section
 * 4.1.2.5).  Fails with tls_cert_unreadable, tls_cert_malformed. */
err tls_certificate_dates(const char *cert_file, int64_t *from_s, int64_t *until_s) MUST_USE;

/* At the end of a thread that used any of this: what OpenSSL keeps for it is freed. */
void tls_thread_end(void);

enum { TLS_END_POINT_MAX_BYTES = 64 };

/* The channel binding tls-server-end-point (RFC 5929 section 4.1): the hash of the server's
 * certificate, by the hash of its signature, SHA-256 in place of MD5 and SHA-1.  For either side
 * of a finished handshake.  Fails with tls_no_certificate, and with tls_setup_failed for a
 * certificate whose signature has no such hash (Ed25519): the binding is undefined for it. */
err tls_server_end_point(const struct ssl_st *session, uint8_t out[TLS_END_POINT_MAX_BYTES],
                         size_t *len) MUST_USE;

/* Why the certificate check of a session failed, as text for the log; "ok" when it did not. */
const char *tls_verify_text(const struct ssl_st *session);

enum tls_verify {
    TLS_VERIFY_OK,        /* or it was never come to */
    TLS_VERIFY_NAME,      /* the certificate is for other names */
    TLS_VERIFY_UNTRUSTED, /* the chain ends at no trusted certificate */
    TLS_VERIFY_OTHER,     /* expired, malformed, … */
};
enum tls_verify tls_verify_kind(const struct ssl_st *session);

#endif
