/* Handshakes in memory between the two kinds of context, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/view.h"
#include "crypto/tls.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static char folder[] = "/tmp/sallyport-tls-XXXXXX";

static const char *at(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void assert_fault(err e, const struct fault *want)
{
    assert_string_equal(e.fault == NULL ? "ok" : e.fault->name, want == NULL ? "ok" : want->name);
    assert_int_equal(ERR_peek_error(), 0);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(EVP_PKEY *key, const char *name, const char *names, X509 *issuer,
                       EVP_PKEY *issuer_key, const EVP_MD *md)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer == NULL ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(cert, key);
    add_extension(cert, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (names != NULL)
        add_extension(cert, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, issuer_key != NULL ? issuer_key : key, md) > 0);
    return cert;
}

static void write_cert(const char *name, X509 *cert)
{
    FILE *f = fopen(at(name), "w");

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

static void write_key(const char *name, EVP_PKEY *key)
{
    FILE *f = fopen(at(name), "w");

    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static int make_files(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return 1;
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    X509 *ca = make_cert(ca_key, "Test CA", NULL, NULL, NULL, EVP_sha256());
    X509 *leaf = make_cert(key, "common.example",
                           "DNS:db.example,DNS:*.wild.example,DNS:part*.example,IP:127.0.0.1", ca,
                           ca_key, EVP_sha384());
    X509 *other_ca = make_cert(other, "Other CA", NULL, NULL, NULL, EVP_sha256());
    write_cert("ca.pem", ca);
    write_cert("other-ca.pem", other_ca);
    write_cert("cert.pem", leaf);
    write_key("key.pem", key);
    write_key("other-key.pem", other);
    FILE *f = fopen(at("text.pem"), "w");
    if (f == NULL)
        return 1;
    fputs("nothing of the kind\n", f);
    fclose(f);
    X509_free(ca);
    X509_free(leaf);
    X509_free(other_ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static int remove_files(void **state)
{
    static const char *const names[] = {"ca.pem", "other-ca.pem", "cert.pem", "key.pem",
                                        "other-key.pem", "text.pem"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(at(names[i]));
    return rmdir(folder);
}

static SSL_CTX *server_context(void)
{
    SSL_CTX *ctx = NULL;

    assert_fault(tls_server_context_new(at("cert.pem"), at("key.pem"), &ctx), NULL);
    return ctx;
}

static SSL_CTX *client_context(const char *roots, bool verify_chain)
{
    const struct tls_client_options options = {.roots = roots, .verify_chain = verify_chain};
    SSL_CTX *ctx = NULL;

    assert_fault(tls_client_context_new(&options, &ctx), NULL);
    return ctx;
}

struct pair {
    SSL *client;
    SSL *server;
};

static void join(struct pair *p)
{
    BIO *a = NULL, *b = NULL;

    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(p->client, a, a);
    SSL_set_bio(p->server, b, b);
    SSL_set_accept_state(p->server);
}

/* Both sides in turn until neither can go on; true when both are done. */
static bool shake_hands(struct pair *p)
{
    int c = 0, s = 0;

    for (int i = 0; i < 20 && (c != 1 || s != 1); i++) {
        c = SSL_do_handshake(p->client);
        s = SSL_do_handshake(p->server);
    }
    ERR_clear_error();
    return c == 1 && s == 1;
}

static void pair_free(struct pair *p)
{
    SSL_free(p->client);
    SSL_free(p->server);
}

static bool connects(const char *roots, bool verify_chain, const char *host, bool verify_host)
{
    SSL_CTX *server = server_context(), *client = client_context(roots, verify_chain);
    struct pair p = {NULL, SSL_new(server)};

    assert_fault(tls_client_new(client, host, verify_host, &p.client), NULL);
    join(&p);
    bool done = shake_hands(&p);
    pair_free(&p);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return done;
}

static void a_trusted_certificate_for_the_host_is_accepted(void **state)
{
    (void)state;
    assert_true(connects(at("ca.pem"), true, "db.example", true));
    assert_true(connects(at("ca.pem"), true, "DB.Example", true));
    assert_true(connects(at("ca.pem"), true, "127.0.0.1", true));
    assert_true(connects(at("ca.pem"), true, "one.wild.example", true));
}

static void another_host_is_refused(void **state)
{
    static const char *const hosts[] = {
        "other.example", "common.example" /* only the common name */, "127.0.0.2",
        "two.levels.wild.example", "wild.example", "partial.example", "db.example.evil",
        "b.example",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(hosts); i++)
        assert_false(connects(at("ca.pem"), true, hosts[i], true));
    /* verify-ca: the chain alone. */
    assert_true(connects(at("ca.pem"), true, "other.example", false));
}

static void an_untrusted_chain_is_refused(void **state)
{
    (void)state;
    assert_false(connects(at("other-ca.pem"), true, "db.example", true));
    assert_false(connects(at("other-ca.pem"), true, "db.example", false));
    assert_false(connects("system", true, "db.example", false));
    assert_true(connects(NULL, false, "db.example", false)); /* sslmode=require */
}

static void host_checks_want_chain_checks_and_a_name(void **state)
{
    SSL_CTX *unchecked = client_context(NULL, false), *checked = client_context(at("ca.pem"), true);
    SSL *ssl = NULL;
    char longest[300];

    (void)state;
    assert_fault(tls_client_new(unchecked, "db.example", true, &ssl), &tls_setup_failed);
    assert_null(ssl);
    assert_fault(tls_client_new(checked, "", true, &ssl), &tls_host_malformed);
    assert_fault(tls_client_new(checked, ".example", true, &ssl), &tls_host_malformed);
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_fault(tls_client_new(checked, longest, true, &ssl), &tls_host_malformed);
    SSL_CTX_free(unchecked);
    SSL_CTX_free(checked);
}

static void each_broken_file_has_its_own_fault(void **state)
{
    struct tls_client_options options = {.verify_chain = true};
    SSL_CTX *ctx = NULL;

    (void)state;
    assert_fault(tls_server_context_new(at("nowhere"), at("key.pem"), &ctx), &tls_cert_unreadable);
    assert_fault(tls_server_context_new(at("text.pem"), at("key.pem"), &ctx), &tls_cert_malformed);
    assert_fault(tls_server_context_new(at("key.pem"), at("key.pem"), &ctx), &tls_cert_malformed);
    assert_fault(tls_server_context_new(at("cert.pem"), at("nowhere"), &ctx), &tls_key_unreadable);
    assert_fault(tls_server_context_new(at("cert.pem"), at("text.pem"), &ctx), &tls_key_malformed);
    assert_fault(tls_server_context_new(at("cert.pem"), at("cert.pem"), &ctx), &tls_key_malformed);
    assert_fault(tls_server_context_new(at("cert.pem"), at("other-key.pem"), &ctx),
                 &tls_key_mismatch);
    assert_null(ctx);
    options.roots = at("nowhere");
    assert_fault(tls_client_context_new(&options, &ctx), &tls_roots_unreadable);
    options.roots = at("text.pem");
    assert_fault(tls_client_context_new(&options, &ctx), &tls_roots_malformed);
    options.roots = "rds"; /* and no bundle */
    assert_fault(tls_client_context_new(&options, &ctx), &tls_roots_unreadable);
    assert_null(ctx);
}

static void rds_stands_for_the_configured_bundle(void **state)
{
    static const char *const roots[] = {"rds", "rds+system"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(roots); i++) {
        const struct tls_client_options options = {
            .roots = roots[i], .rds_bundle = at("ca.pem"), .verify_chain = true};
        SSL_CTX *server = server_context(), *client = NULL;
        struct pair p = {NULL, SSL_new(server)};
        assert_fault(tls_client_context_new(&options, &client), NULL);
        assert_fault(tls_client_new(client, "db.example", true, &p.client), NULL);
        join(&p);
        assert_true(shake_hands(&p));
        pair_free(&p);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static bool connects_with(int max_version, const char *ciphers, const unsigned char *alpn,
                          unsigned alpn_len, char *chosen)
{
    SSL_CTX *server = server_context(), *client = client_context(at("ca.pem"), true);
    struct pair p = {NULL, SSL_new(server)};
    const unsigned char *got = NULL;
    unsigned got_len = 0;

    assert_int_equal(SSL_CTX_set_min_proto_version(client, 0), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(client, max_version), 1);
    if (ciphers != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(client, ciphers), 1);
    if (alpn != NULL)
        assert_int_equal(SSL_CTX_set_alpn_protos(client, alpn, alpn_len), 0);
    assert_fault(tls_client_new(client, "db.example", true, &p.client), NULL);
    join(&p);
    bool done = shake_hands(&p);
    SSL_get0_alpn_selected(p.client, &got, &got_len);
    snprintf(chosen, 32, "%.*s", (int)got_len, got != NULL ? (const char *)got : "");
    pair_free(&p);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return done;
}

static void old_versions_and_weak_suites_are_refused(void **state)
{
    char chosen[32];

    (void)state;
    assert_true(connects_with(TLS1_3_VERSION, NULL, NULL, 0, chosen));
    assert_true(connects_with(TLS1_2_VERSION, NULL, NULL, 0, chosen));
    assert_false(connects_with(TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, 0, chosen));
    assert_false(connects_with(TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384", NULL, 0, chosen));
    assert_false(connects_with(TLS1_2_VERSION, "AES256-GCM-SHA384", NULL, 0, chosen));
}

static void alpn_chooses_http_1_1_or_refuses(void **state)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1", only_h2[] = "\x02h2";
    char chosen[32];

    (void)state;
    assert_true(connects_with(TLS1_3_VERSION, NULL, both, sizeof both - 1, chosen));
    assert_string_equal(chosen, "http/1.1");
    assert_false(connects_with(TLS1_3_VERSION, NULL, only_h2, sizeof only_h2 - 1, chosen));
    assert_true(connects_with(TLS1_3_VERSION, NULL, NULL, 0, chosen));
    assert_string_equal(chosen, "");
}

static void tickets_resume_a_session(void **state)
{
    SSL_CTX *server = server_context(), *client = client_context(at("ca.pem"), true);
    struct pair first = {NULL, SSL_new(server)}, second = {NULL, SSL_new(server)};
    char byte;

    (void)state;
    assert_fault(tls_client_new(client, "db.example", true, &first.client), NULL);
    join(&first);
    assert_true(shake_hands(&first));
    assert_int_equal(SSL_write(first.server, "x", 1), 1);
    assert_int_equal(SSL_read(first.client, &byte, 1), 1); /* reads the ticket on the way */
    SSL_SESSION *session = SSL_get1_session(first.client);
    assert_fault(tls_client_new(client, "db.example", true, &second.client), NULL);
    assert_int_equal(SSL_set_session(second.client, session), 1);
    join(&second);
    assert_true(shake_hands(&second));
    assert_true(SSL_session_reused(second.server));
    SSL_SESSION_free(session);
    pair_free(&first);
    pair_free(&second);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* RFC 5929: the hash of the certificate's signature, here SHA-384; the same for both sides. */
static void the_end_point_is_the_certificates_hash(void **state)
{
    SSL_CTX *server = server_context(), *client = client_context(at("ca.pem"), true);
    struct pair p = {NULL, SSL_new(server)};
    uint8_t a[TLS_END_POINT_MAX_BYTES], b[TLS_END_POINT_MAX_BYTES], want[EVP_MAX_MD_SIZE];
    size_t a_len = 0, b_len = 0;
    unsigned want_len = 0;

    (void)state;
    assert_fault(tls_client_new(client, "db.example", true, &p.client), NULL);
    assert_fault(tls_server_end_point(p.client, a, &a_len), &tls_no_certificate);
    join(&p);
    assert_true(shake_hands(&p));
    assert_string_equal(tls_verify_text(p.client), "ok");
    assert_fault(tls_server_end_point(p.client, a, &a_len), NULL);
    assert_fault(tls_server_end_point(p.server, b, &b_len), NULL);
    X509_digest(SSL_get0_peer_certificate(p.client), EVP_sha384(), want, &want_len);
    assert_int_equal(a_len, want_len);
    assert_memory_equal(a, want, want_len);
    assert_int_equal(b_len, want_len);
    assert_memory_equal(b, want, want_len);
    pair_free(&p);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_certificate_for_the_host_is_accepted),
        cmocka_unit_test(another_host_is_refused),
        cmocka_unit_test(an_untrusted_chain_is_refused),
        cmocka_unit_test(host_checks_want_chain_checks_and_a_name),
        cmocka_unit_test(each_broken_file_has_its_own_fault),
        cmocka_unit_test(rds_stands_for_the_configured_bundle),
        cmocka_unit_test(old_versions_and_weak_suites_are_refused),
        cmocka_unit_test(alpn_chooses_http_1_1_or_refuses),
        cmocka_unit_test(tickets_resume_a_session),
        cmocka_unit_test(the_end_point_is_the_certificates_hash),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
