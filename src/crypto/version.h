/* Which OpenSSL the process runs with. */
#ifndef SALLYPORT_CRYPTO_VERSION_H
#define SALLYPORT_CRYPTO_VERSION_H

/* "3.0.15"; constant. */
const char *crypto_openssl_version(void);

#endif
