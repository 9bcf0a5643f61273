#include "cli/check_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "identity/jwks.h"
#include "json/json.h"

enum {
    DAY_S = 24 * 60 * 60,
    RENEW_WITHIN_DAYS = 14,  /* what is left of a certificate that nobody has renewed yet */
    DATE_CHARS = 10,         /* of RFC 3339 */
    KEYS_ARENA_BYTES = 16 << 20,
};

/* ---- Keys of issuers ---- */

/* False with errno set, or 0 when the file is longer than a JWKS may be. */
static bool read_file(const char *path, struct buf *out)
{
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return false;
    while (n > 0 && buf_reserve(out, 4096)) {
        n = read(fd, out->data + out->len, 4096);
        out->len += n > 0 ? (size_t)n : 0;
    }
    int why = n < 0 ? errno : 0;
    close(fd);
    errno = why;
    return n == 0;
}

/* 1-based line of the place where the text stops being JSON; 0: it is JSON. */
static unsigned not_json_at(struct view text)
{
    const struct json_value *document;
    struct arena arena;
    size_t at = 0;
    unsigned line = 1;

    arena_init(&arena, 16 * 1024, KEYS_ARENA_BYTES);
    err e = json_parse(&arena, text, NULL, &document, &at);
    arena_clear(&arena);
    if (!failed(e))
        return 0;
    for (size_t i = 0; i < at && i < text.len; i++)
        line += text.data[i] == '\n';
    return line;
}

static void check_keys(struct diagnostics *d, struct view yaml, const struct issuer *issuer,
                       enum severity severity)
{
    struct buf text;
    struct jwks *keys = NULL;
    char why[128];

    buf_init(&text, JWKS_MAX_BYTES + 2 * 4096);
    if (read_file(issuer->jwks_file.data, &text)) {
        err e = jwks_parse(buf_view(&text), &keys);
        unsigned line = is_fault(e, &jwks_malformed) ? not_json_at(buf_view(&text)) : 0;
        if (line > 0)
            snprintf(why, sizeof why, "line %u is not JSON", line);
        else
            snprintf(why, sizeof why, "%s", failed(e) ? e.fault->text : "");
    } else {
        snprintf(why, sizeof why, "%s", errno != 0 ? strerror(errno) : jwks_too_large.text);
    }
    jwks_release(keys);
    buf_clear(&text);
    if (why[0] != '\0')
        diag_add(d, severity, yaml, issuer->meta.line, 0, "issuer %.*s: jwks_file %.*s: %s",
                 VIEW_ARG(issuer->name), VIEW_ARG(issuer->jwks_file), why);
}

void check_key_files(struct diagnostics *d, struct view yaml, const struct entities *all,
                     enum severity severity)
{
    for (size_t i = 0; i < all->issuer_count; i++)
        if (all->issuers[i].jwks_file.len > 0)
            check_keys(d, yaml, &all->issuers[i], severity);
}

/* ---- The door's certificate ---- */

static void check_dates(struct diagnostics *d, const struct node_config *node)
{
    int64_t from_s, until_s, now_s = time_wall_us() / 1000000;
    char from[TIME_TEXT_BYTES], until[TIME_TEXT_BYTES];

    if (failed(tls_certificate_dates(node->ssl_cert.data, &from_s, &until_s)))
        return;
    time_format(from_s * 1000000, from);
    time_format(until_s * 1000000, until);
    /* A third of its life is when a certificate is commonly renewed; of a long one, 14 days. */
    int64_t soon_s = (until_s - from_s) / 3;
    if (soon_s > RENEW_WITHIN_DAYS * DAY_S)
        soon_s = RENEW_WITHIN_DAYS * DAY_S;
    if (now_s >= until_s)
        diag_add(d, SEVERITY_WARNING, node->conf_file, 0, 0,
                 "ssl_cert %.*s expired on %.*s: clients will refuse it",
                 VIEW_ARG(node->ssl_cert), DATE_CHARS, until);
    else if (now_s < from_s)
        diag_add(d, SEVERITY_WARNING, node->conf_file, 0, 0,
                 "ssl_cert %.*s is valid from %.*s only: clients will refuse it",
                 VIEW_ARG(node->ssl_cert), DATE_CHARS, from);
    else if (until_s - now_s < soon_s)
        diag_add(d, SEVERITY_WARNING, node->conf_file, 0, 0,
                 "ssl_cert %.*s expires on %.*s: renew it, then 'sallyport reload'",
                 VIEW_ARG(node->ssl_cert), DATE_CHARS, until);
}

static void check_key_mode(struct diagnostics *d, const struct node_config *node)
{
    struct stat st;

    if (stat(node->ssl_cert_key.data, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        diag_add(d, SEVERITY_WARNING, node->conf_file, 0, 0,
                 "ssl_cert_key %.*s can be read by everybody (mode %04o): chmod o= it",
                 VIEW_ARG(node->ssl_cert_key), (unsigned)st.st_mode & 07777);
}

void check_certificate_files(struct diagnostics *d, const struct node_config *node)
{
    struct ssl_ctx_st *tls = NULL;

    if (node->ssl_cert.len == 0 || node->ssl_cert_key.len == 0)
        return;
    err e = tls_server_context_new(node->ssl_cert.data, node->ssl_cert_key.data, &tls);
    tls_context_release(tls);
    if (failed(e))
        diag_add(d, SEVERITY_ERROR, node->conf_file, 0, 0, "ssl_cert %.*s, ssl_cert_key %.*s: %s",
                 VIEW_ARG(node->ssl_cert), VIEW_ARG(node->ssl_cert_key), e.fault->text);
    else
        check_dates(d, node);
    check_key_mode(d, node);
}

/* ---- Amazon's certificate authorities ---- */

static bool wants_bundle(const struct endpoint *e)
{
    return e->sslmode >= SSLMODE_VERIFY_CA &&
           (view_is(e->sslrootcert, "rds") || view_is(e->sslrootcert, "rds+system"));
}

void check_rds_bundle(struct diagnostics *d, struct view file, const struct entities *all,
                      const struct node_config *node, enum severity severity)
{
    struct view bundle = node->rds_ca_bundle;

    if (bundle.len == 0 || access(bundle.data, R_OK) == 0)
        return;
    for (size_t i = 0; i < all->service_count; i++) {
        const struct service *s = &all->services[i];
        if (wants_bundle(&s->primary) || (s->has_read && wants_bundle(&s->read)))
            diag_add(d, severity, file, s->meta.line, 0,
                     "service %.*s: sslrootcert rds: the rds_ca_bundle %.*s cannot be read",
                     VIEW_ARG(s->name), VIEW_ARG(bundle));
    }
}
