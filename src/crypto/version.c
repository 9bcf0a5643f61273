#include "crypto/version.h"

#include <openssl/crypto.h>

const char *crypto_openssl_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
