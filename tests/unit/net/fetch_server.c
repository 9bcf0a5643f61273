#include "fetch_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 8192 };

struct connection {
    struct fetch_server *server;
    int fd;
    SSL *ssl;
    char request[REQUEST_MAX];
    size_t len;
};

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static SSL_CTX *make_tls(struct fetch_server *s, const struct fetch_server_options *options)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    char names[128];

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)getpid());
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"fetch test", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    snprintf(names, sizeof names, "DNS:%s%s%s", options->dns_name,
             options->ip_address != NULL ? ",IP:" : "",
             options->ip_address != NULL ? options->ip_address : "");
    add_extension(cert, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, key), 1);
    if (options->max_tls_version != 0) {
        SSL_CTX_set_security_level(tls, 0);
        SSL_CTX_set_min_proto_version(tls, options->max_tls_version);
        SSL_CTX_set_max_proto_version(tls, options->max_tls_version);
    }

    snprintf(s->ca_file, sizeof s->ca_file, "/tmp/fetch_test_XXXXXX");
    int fd = mkstemp(s->ca_file);
    FILE *file = fdopen(fd, "w");
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

static int take(struct connection *c, char *out, int room)
{
    return c->ssl != NULL ? SSL_read(c->ssl, out, room) : (int)read(c->fd, out, (size_t)room);
}

static bool give(struct connection *c, const char *data, size_t len)
{
    while (len > 0) {
        int n = c->ssl != NULL ? SSL_write(c->ssl, data, (int)len) : (int)write(c->fd, data, len);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* One request with its body; false when the client has closed. */
static bool read_request(struct connection *c)
{
    size_t need = 0;

    c->len = 0;
    while (need == 0 || c->len < need) {
        int n = take(c, c->request + c->len, (int)(sizeof c->request - 1 - c->len));
        if (n <= 0)
            return false;
        c->len += (size_t)n;
        c->request[c->len] = '\0';
        const char *end = strstr(c->request, "\r\n\r\n");
        const char *length = strcasestr(c->request, "\r\nContent-Length: ");
        if (end != NULL)
            need = (size_t)(end - c->request) + 4 +
                   (length != NULL ? strtoul(length + 18, NULL, 10) : 0);
    }
    return true;
}

static bool answer(struct connection *c, const char *status, const char *headers, const char *body,
                   size_t len)
{
    char head[512];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status,
                     headers, len);
    return give(c, head, (size_t)n) && give(c, body, len);
}

static bool asks(const struct connection *c, const char *path)
{
    const char *target = strchr(c->request, ' ');
    size_t len = strlen(path);
    return target != NULL && strncmp(target + 1, path, len) == 0 && target[1 + len] == ' ';
}

static bool never_ending_head(struct connection *c)
{
    if (!give(c, "HTTP/1.1 200 OK\r\n", 17))
        return false;
    while (give(c, "X-Filler: 0123456789012345678901234567890123456789\r\n", 52))
        continue;
    return false;
}

static bool respond(struct connection *c)
{
    static const char big[100000];

    if (asks(c, "/ok"))
        return answer(c, "200 OK", "Cache-Control: public, max-age=300\r\n", "hello", 5);
    if (asks(c, "/echo"))
        return answer(c, "201 Created", "", c->request, c->len);
    if (asks(c, "/big"))
        return answer(c, "200 OK", "", big, sizeof big);
    if (asks(c, "/redirect"))
        return answer(c, "302 Found", "Location: /ok\r\n", "", 0);
    if (asks(c, "/missing"))
        return answer(c, "404 Not Found", "", "none", 4);
    if (asks(c, "/head"))
        return never_ending_head(c);
    if (asks(c, "/cut"))
        return give(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 42) && false;
    if (asks(c, "/interim"))
        return give(c, "HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=9\r\n\r\n", 54) &&
               answer(c, "200 OK", "", "x", 1);
    /* "/slow": no answer at all, until the client goes. */
    while (take(c, c->request, 1) > 0)
        continue;
    return false;
}

static void *serve_connection(void *arg)
{
    struct connection *c = arg;
    struct fetch_server *s = c->server;

    if (c->ssl == NULL || SSL_accept(c->ssl) == 1) {
        while (read_request(c)) {
            atomic_fetch_add(&s->requests, 1);
            if (!respond(c))
                break;
        }
    }
    ERR_clear_error();
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
    atomic_fetch_sub(&s->open, 1);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct fetch_server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        pthread_t thread;
        atomic_fetch_add(&s->connections, 1);
        atomic_fetch_add(&s->open, 1);
        c->server = s;
        c->fd = fd;
        if (s->tls != NULL) {
            c->ssl = SSL_new(s->tls);
            SSL_set_fd(c->ssl, fd);
        }
        pthread_create(&thread, NULL, serve_connection, c);
        pthread_detach(thread);
    }
    return NULL;
}

void fetch_server_start(struct fetch_server *s, const struct fetch_server_options *options)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    signal(SIGPIPE, SIG_IGN);
    *s = (struct fetch_server){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    s->tls = options->plain ? NULL : make_tls(s, options);
    assert_int_equal(pthread_create(&s->acceptor, NULL, accept_all, s), 0);
}

void fetch_server_stop(struct fetch_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->fd);
    while (atomic_load(&s->open) > 0)
        sched_yield();
    SSL_CTX_free(s->tls);
    if (s->ca_file[0] != '\0')
        unlink(s->ca_file);
}
