/* Random numbers from OpenSSL's generator, fit for keys and nonces.  Any thread.  A process whose
 * generator fails ends: nothing that needs randomness may go on without it. */
#ifndef SALLYPORT_CRYPTO_RANDOM_H
#define SALLYPORT_CRYPTO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
/* Evenly from 0 to below - 1; below > 0. */
uint64_t random_below(uint64_t below);

#endif
