/* Whom pg_ssl_verify trusts, as one file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aws/region.h"
#include "store/store_internal.h"

enum { CHUNK_BYTES = 16 * 1024, PATH_BYTES = 4096 };

/* Where distributions keep the bundle; SSL_CERT_FILE goes before, as with OpenSSL. */
static const char *const system_bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                             "/etc/pki/tls/certs/ca-bundle.crt",
                                             "/etc/ssl/cert.pem", NULL};

static const char *system_bundle(void)
{
    const char *said = getenv("SSL_CERT_FILE");

    if (said != NULL && said[0] != '\0')
        return said;
    for (size_t i = 0; system_bundles[i] != NULL; i++) {
        if (access(system_bundles[i], R_OK) == 0)
            return system_bundles[i];
    }
    return system_bundles[0];
}

static bool write_all(int to, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(to, data, len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static bool append(int to, const char *path)
{
    char chunk[CHUNK_BYTES];
    ssize_t n;

    int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (from < 0)
        return false;
    do {
        n = read(from, chunk, sizeof chunk);
    } while ((n > 0 && write_all(to, chunk, (size_t)n)) || (n < 0 && errno == EINTR));
    close(from);
    return n == 0 && write_all(to, "\n", 1); /* a file may end without a line end */
}

static bool append_trusted(int to, const struct node_config *node, struct view who,
                           struct store_why *why)
{
    char path[PATH_BYTES];

    if (view_is(who, "system"))
        snprintf(path, sizeof path, "%s", system_bundle());
    else
        snprintf(path, sizeof path, "%.*s",
                 VIEW_ARG(view_is(who, "rds") ? node->rds_ca_bundle : who));
    if (append(to, path))
        return true;
    snprintf(why->text, sizeof why->text, "%.512s cannot be read: %s", path,
             strerror(errno));
    return false;
}

int store_trust_open(const struct node_config *node, struct view host, struct store_why *why)
{
    const struct strings *trusted = &node->lua_ssl_trusted_certificate;
    struct view fallback = aws_region_of_host(host).len > 0 ? VIEW("rds") : VIEW("system");
    size_t count = trusted->count > 0 ? trusted->count : 1;

    int to = memfd_create("sallyport-trust", MFD_CLOEXEC);
    if (to < 0) {
        snprintf(why->text, sizeof why->text, "%s", strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (!append_trusted(to, node, trusted->count > 0 ? trusted->items[i] : fallback, why)) {
            close(to);
            return -1;
        }
    }
    return to;
}
