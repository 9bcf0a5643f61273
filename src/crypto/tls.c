#include "crypto/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

const struct fault tls_cert_unreadable = {
    "tls_cert_unreadable", "the certificate file cannot be read", NULL, 0};
const struct fault tls_cert_malformed = {
    "tls_cert_malformed", "the certificate file is not a PEM certificate chain", NULL, 0};
const struct fault tls_key_unreadable = {
    "tls_key_unreadable", "the private key file cannot be read", NULL, 0};
const struct fault tls_key_malformed = {
    "tls_key_malformed", "the private key file is not an unencrypted PEM private key", NULL, 0};
const struct fault tls_key_mismatch = {
    "tls_key_mismatch", "the private key does not belong to the certificate", NULL, 0};
const struct fault tls_roots_unreadable = {
    "tls_roots_unreadable", "the file of trusted certificates cannot be read", NULL, 0};
const struct fault tls_roots_malformed = {
    "tls_roots_malformed", "the file of trusted certificates holds none", NULL, 0};
const struct fault tls_setup_failed = {
    "tls_setup_failed", "OpenSSL refused a TLS setting", NULL, 0};
const struct fault tls_host_malformed = {
    "tls_host_malformed", "the host is not a name that a certificate could carry", NULL, 0};
const struct fault tls_no_certificate = {
    "tls_no_certificate", "the server showed no certificate", NULL, 0};

/* TLS 1.2: ephemeral key exchange and AEAD only.  TLS 1.3's default suites are all of that kind. */
static const char tls12_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const unsigned char alpn_http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
enum { HOST_MAX_BYTES = 253 };

static err finish(err e)
{
    if (failed(e))
        ERR_clear_error();
    return e;
}

static err common_setup(SSL_CTX *ctx)
{
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, tls12_ciphers) != 1)
        return fail(&tls_setup_failed);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return OK;
}

static err check_readable(const char *path, const struct fault *otherwise)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return fail(otherwise);
    close(fd);
    return OK;
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

/* SSL_CTX_use_PrivateKey_file cannot tell a wrong key from a broken file: the key is read here. */
static err use_key_file(SSL_CTX *ctx, const char *key_file)
{
    TRY(check_readable(key_file, &tls_key_unreadable));
    BIO *bio = BIO_new_file(key_file, "r");
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (key == NULL)
        return fail(&tls_key_malformed);
    bool matches = X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) == 1 &&
                   SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    return matches ? OK : fail(&tls_key_mismatch);
}

/* RFC 7301 section 3.2: a client that offers protocols, and not ours, gets an alert. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offered, unsigned int offered_len, void *arg)
{
    unsigned char *chosen = NULL;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, alpn_http11, sizeof alpn_http11, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static err server_setup(SSL_CTX *ctx, const char *cert_file, const char *key_file)
{
    static const unsigned char session_context[] = "sallyport";

    TRY(common_setup(ctx));
    TRY(check_readable(cert_file, &tls_cert_unreadable));
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return fail(&tls_cert_malformed);
    TRY(use_key_file(ctx, key_file));
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    /* Tickets only: a session kept here would be memory that a client can fill. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 1) != 1)
        return fail(&tls_setup_failed);
    return OK;
}

err tls_server_context_new(const char *cert_file, const char *key_file, SSL_CTX **out)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    *out = NULL;
    if (ctx == NULL)
        return finish(fail(&fault_out_of_memory));
    err e = server_setup(ctx, cert_file, key_file);
    if (failed(e))
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return finish(e);
}

static err add_roots_file(SSL_CTX *ctx, const char *path)
{
    if (path == NULL)
        return fail(&tls_roots_unreadable);
    TRY(check_readable(path, &tls_roots_unreadable));
    return SSL_CTX_load_verify_file(ctx, path) == 1 ? OK : fail(&tls_roots_malformed);
}

static err add_roots(SSL_CTX *ctx, const struct tls_client_options *o)
{
    const char *roots = o->roots != NULL ? o->roots : "system";
    const bool both = strcmp(roots, "rds+system") == 0;

    if (both || strcmp(roots, "system") == 0) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
            return fail(&tls_roots_unreadable);
    }
    if (both || strcmp(roots, "rds") == 0)
        return add_roots_file(ctx, o->rds_bundle);
    return strcmp(roots, "system") == 0 ? OK : add_roots_file(ctx, roots);
}

static err client_setup(SSL_CTX *ctx, const struct tls_client_options *o)
{
    TRY(common_setup(ctx));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, o->verify_chain ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return o->verify_chain ? add_roots(ctx, o) : OK;
}

err tls_client_context_new(const struct tls_client_options *options, SSL_CTX **out)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    *out = NULL;
    if (ctx == NULL)
        return finish(fail(&fault_out_of_memory));
    err e = client_setup(ctx, options);
    if (failed(e))
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return finish(e);
}

static bool is_address(const char *host)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static err bind_host(SSL *ssl, const char *host, bool verify_host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    const bool address = is_address(host);

    /* RFC 6066 section 3: no literal addresses in the server name.  The function behind
     * SSL_set_tlsext_host_name, which would cast the const away: it copies the name. */
    if (!address && SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                             (void *)(uintptr_t)host) != 1)
        return fail(&tls_setup_failed);
    if (!verify_host)
        return OK;
    if ((SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) == 0)
        return fail(&tls_setup_failed);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int set = address ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
                      : X509_VERIFY_PARAM_set1_host(param, host, 0);
    return set == 1 ? OK : fail(&tls_setup_failed);
}

err tls_client_new(SSL_CTX *context, const char *host, bool verify_host, SSL **out)
{
    const size_t len = strlen(host);

    *out = NULL;
    /* A leading dot would make OpenSSL accept any subdomain. */
    if (len == 0 || len > HOST_MAX_BYTES || host[0] == '.')
        return fail(&tls_host_malformed);
    SSL *ssl = SSL_new(context);
    if (ssl == NULL)
        return finish(fail(&fault_out_of_memory));
    SSL_set_connect_state(ssl);
    err e = bind_host(ssl, host, verify_host);
    if (failed(e))
        SSL_free(ssl);
    else
        *out = ssl;
    return finish(e);
}

/* RFC 5929 section 4.1: the hash of the signature's algorithm, but SHA-256 for MD5 and SHA-1. */
static err hash_certificate(X509 *cert, uint8_t out[TLS_END_POINT_MAX_BYTES], size_t *len)
{
    int digest_nid = NID_undef;
    unsigned int digest_len = 0;

    if (X509_get_signature_info(cert, &digest_nid, NULL, NULL, NULL) != 1 ||
        digest_nid == NID_undef)
        return fail(&tls_setup_failed);
    if (digest_nid == NID_md5 || digest_nid == NID_sha1)
        digest_nid = NID_sha256;
    const EVP_MD *md = EVP_get_digestbynid(digest_nid);
    if (md == NULL || EVP_MD_get_size(md) > TLS_END_POINT_MAX_BYTES ||
        X509_digest(cert, md, out, &digest_len) != 1)
        return fail(&tls_setup_failed);
    *len = digest_len;
    return OK;
}

err tls_server_end_point(const SSL *session, uint8_t out[TLS_END_POINT_MAX_BYTES], size_t *len)
{
    X509 *cert = SSL_is_server(session) ? SSL_get_certificate(session)
                                        : SSL_get0_peer_certificate(session);

    if (cert == NULL)
        return fail(&tls_no_certificate);
    return finish(hash_certificate(cert, out, len));
}

const char *tls_verify_text(const SSL *session)
{
    return X509_verify_cert_error_string(SSL_get_verify_result(session));
}

enum tls_verify tls_verify_kind(const SSL *session)
{
    switch (SSL_get_verify_result(session)) {
    case X509_V_OK:
        return TLS_VERIFY_OK;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return TLS_VERIFY_NAME;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return TLS_VERIFY_UNTRUSTED;
    default:
        return TLS_VERIFY_OTHER;
    }
}

struct ssl_st *tls_server_new(struct ssl_ctx_st *context)
{
    return SSL_new(context);
}

struct ssl_ctx_st *tls_context_acquire(struct ssl_ctx_st *context)
{
    if (context != NULL)
        SSL_CTX_up_ref(context);
    return context;
}

void tls_context_release(struct ssl_ctx_st *context)
{
    SSL_CTX_free(context);
}

const char *tls_version(const struct ssl_st *session)
{
    return SSL_get_version(session);
}

const char *tls_cipher(const struct ssl_st *session)
{
    return SSL_get_cipher_name(session);
}

static bool seconds_of(const ASN1_TIME *time, int64_t *seconds)
{
    int days, rest;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool good = epoch != NULL && ASN1_TIME_diff(&days, &rest, epoch, time) == 1;

    ASN1_TIME_free(epoch);
    if (good)
        *seconds = (int64_t)days * 24 * 60 * 60 + rest;
    return good;
}

err tls_certificate_dates(const char *cert_file, int64_t *from_s, int64_t *until_s)
{
    TRY(check_readable(cert_file, &tls_cert_unreadable));
    BIO *bio = BIO_new_file(cert_file, "r");
    X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    bool good = cert != NULL && seconds_of(X509_get0_notBefore(cert), from_s) &&
                seconds_of(X509_get0_notAfter(cert), until_s);
    X509_free(cert);
    return finish(good ? OK : fail(&tls_cert_malformed));
}

void tls_thread_end(void)
{
    OPENSSL_thread_stop();
}
