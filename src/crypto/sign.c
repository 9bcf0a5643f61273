#include "crypto/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/log.h"
#include "base/secret.h"

const struct fault sign_key_missing = {
    "sign_key_missing", "the key file does not exist", NULL, 0};
const struct fault sign_key_unreadable = {
    "sign_key_unreadable", "the key file cannot be read or written", NULL, 0};
const struct fault sign_key_exposed = {
    "sign_key_exposed", "the key file must be its owner's alone (mode 0600)", NULL, 0};
const struct fault sign_key_malformed = {
    "sign_key_malformed", "the key file is not one Ed25519 private key in PEM", NULL, 0};
const struct fault sign_key_exists = {
    "sign_key_exists", "there is a key file already", NULL, 0};

enum { KEY_FILE_MAX_BYTES = 4096 };

struct sign_key {
    EVP_PKEY *pair;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
};

/* Takes the pair over, also when it fails. */
static err wrap(EVP_PKEY *pair, struct sign_key **out)
{
    struct sign_key *key = calloc(1, sizeof *key);
    size_t len = SIGN_PUBLIC_BYTES;

    if (key == NULL) {
        EVP_PKEY_free(pair);
        return fail(&fault_out_of_memory);
    }
    key->pair = pair;
    if (EVP_PKEY_get_raw_public_key(pair, key->public_key, &len) != 1 || len != SIGN_PUBLIC_BYTES) {
        sign_key_free(key);
        return fail(&sign_key_malformed);
    }
    *out = key;
    return OK;
}

err sign_key_new(struct sign_key **out)
{
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    *out = NULL;
    ENSURE(pair != NULL);
    return wrap(pair, out);
}

/* An encrypted key is malformed here: nobody is asked for a pass phrase. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static err from_pem(const char *pem, size_t len, struct sign_key **out)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *pair = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    BIO_free(bio);
    ERR_clear_error();
    if (pair != NULL && !EVP_PKEY_is_a(pair, "ED25519")) {
        EVP_PKEY_free(pair);
        pair = NULL;
    }
    return pair == NULL ? fail(&sign_key_malformed) : wrap(pair, out);
}

static err read_key_file(int fd, char pem[KEY_FILE_MAX_BYTES], size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return fail(&sign_key_unreadable);
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fail(&sign_key_exposed);
    *len = 0;
    for (;;) {
        ssize_t n = read(fd, pem + *len, KEY_FILE_MAX_BYTES - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(&sign_key_unreadable);
        if (n == 0)
            return OK;
        *len += (size_t)n;
        if (*len == KEY_FILE_MAX_BYTES)
            return fail(&sign_key_malformed);
    }
}

err sign_key_load(const char *path, struct sign_key **out)
{
    char pem[KEY_FILE_MAX_BYTES];
    size_t len = 0;

    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return fail(errno == ENOENT ? &sign_key_missing : &sign_key_unreadable);
    err e = read_key_file(fd, pem, &len);
    close(fd);
    if (!failed(e))
        e = from_pem(pem, len, out);
    secret_wipe(pem, sizeof pem);
    return e;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

err sign_key_save(const struct sign_key *key, const char *path)
{
    /* A secure-memory BIO would need OpenSSL's secure heap; this one is wiped by hand below. */
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;

    if (bio == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, key->pair, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return fail(&fault_out_of_memory);
    }
    long len = BIO_get_mem_data(bio, &pem);
    err e = OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        e = fail(errno == EEXIST ? &sign_key_exists : &sign_key_unreadable);
    } else {
        if (!write_all(fd, pem, (size_t)len)) {
            e = fail(&sign_key_unreadable);
            (void)unlink(path);
        }
        close(fd);
    }
    secret_wipe(pem, (size_t)len);
    BIO_free(bio);
    return e;
}

void sign_key_free(struct sign_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pair); /* OpenSSL wipes the private part */
    free(key);
}

void sign_key_public(const struct sign_key *key, uint8_t out[SIGN_PUBLIC_BYTES])
{
    memcpy(out, key->public_key, SIGN_PUBLIC_BYTES);
}

err sign_make(const struct sign_key *key, struct view data, uint8_t out[SIGN_SIGNATURE_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = SIGN_SIGNATURE_BYTES;
    bool made = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pair) == 1 &&
                EVP_DigestSign(ctx, out, &len, (const unsigned char *)data.data, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    return made ? OK : fail(&fault_out_of_memory);
}

bool sign_verify(const uint8_t public_key[SIGN_PUBLIC_BYTES], struct view data,
                 const uint8_t signature[SIGN_SIGNATURE_BYTES])
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, public_key, SIGN_PUBLIC_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool right = key != NULL && ctx != NULL &&
                 EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                 EVP_DigestVerify(ctx, signature, SIGN_SIGNATURE_BYTES,
                                  (const unsigned char *)data.data, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    if (!right)
        ERR_clear_error();
    return right;
}
