/*
 * A PAM module that accepts what Amazon RDS accepts as a password of an rds_iam user, and nothing
 * else: an authentication token, that is the presigned request
 *
 *     GET https://HOST:PORT/?Action=connect&DBUser=USER&X-Amz-…
 *
 * without its scheme, whose AWS Signature Version 4 is computed anew here with the secret key of
 * the access key id that the token names.  For the test bed only: PostgreSQL calls it through
 * `pam` in pg_hba.conf.
 *
 *     auth    required /path/pam_rds_iam.so keys=FILE region=REGION host=HOST:PORT [host=…]
 *     account required /path/pam_rds_iam.so
 *
 * The keys file is read at every login.  A line of it: ACCESS-KEY-ID SECRET-KEY SESSION-TOKEN,
 * with '-' for the session token of a long-lived key.  Each refusal's reason and each accepted
 * access key id go to syslog and to standard error, which is PostgreSQL's log.
 */
#include <security/pam_modules.h>
#include <security/pam_ext.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Tokens with a session token are about 1.6 KiB; PostgreSQL itself takes up to 64 KiB. */
#define TOKEN_MAX_BYTES 16384
#define HOSTS_MAX 8
#define SCOPE_MAX_BYTES 128
/* A signer's clock may be ahead of ours by this much. */
#define FUTURE_SECONDS_MAX 60
/* RDS limits the life of a token to 15 minutes, whatever X-Amz-Expires says. */
#define EXPIRES_SECONDS_MAX 900

struct options {
    const char *keys_file;
    const char *region;
    const char *hosts[HOSTS_MAX];
    size_t host_count;
};

/* In the order in which Signature Version 4 sorts them, so that the canonical query is written by
 * walking this list once. */
enum field {
    FIELD_ACTION,
    FIELD_USER,
    FIELD_ALGORITHM,
    FIELD_CREDENTIAL,
    FIELD_DATE,
    FIELD_EXPIRES,
    FIELD_SESSION_TOKEN,
    FIELD_SIGNED_HEADERS,
    FIELD_SIGNATURE,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_ACTION] = "Action",
    [FIELD_USER] = "DBUser",
    [FIELD_ALGORITHM] = "X-Amz-Algorithm",
    [FIELD_CREDENTIAL] = "X-Amz-Credential",
    [FIELD_DATE] = "X-Amz-Date",
    [FIELD_EXPIRES] = "X-Amz-Expires",
    [FIELD_SESSION_TOKEN] = "X-Amz-Security-Token",
    [FIELD_SIGNED_HEADERS] = "X-Amz-SignedHeaders",
    [FIELD_SIGNATURE] = "X-Amz-Signature",
};

/* The token taken apart; everything points into `text`, which is the token with its escapes
 * undone and a NUL after each part. */
struct token {
    char text[TOKEN_MAX_BYTES + 1];
    const char *host; /* HOST:PORT */
    const char *values[FIELD_COUNT];
    /* Of the credential, KEY/DATE/REGION/SERVICE/aws4_request: */
    char access_key_id[SCOPE_MAX_BYTES + 1];
    char date[9];
    char region[SCOPE_MAX_BYTES + 1];
};

struct key {
    char secret[SCOPE_MAX_BYTES + 1];
    char session_token[TOKEN_MAX_BYTES + 1];
    bool temporary;
};

/* ---- taking the token apart ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* Undoes percent escapes in place; false when one is broken or stands for NUL. */
static bool unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return true;
}

static int field_by_name(const char *name)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(name, field_names[i]) == 0)
            return i;
    }
    return -1;
}

/* One NAME=VALUE.  Returns the reason of a refusal, or NULL. */
static const char *take_pair(struct token *t, char *pair)
{
    char *equals = strchr(pair, '=');
    if (!equals)
        return "malformed: a query part without '='";
    *equals = '\0';
    int field = field_by_name(pair);
    if (field < 0)
        return "malformed: an unknown query part";
    if (t->values[field])
        return "malformed: a query part given twice";
    if (!unescape(equals + 1))
        return "malformed: a broken percent escape";
    t->values[field] = equals + 1;
    return NULL;
}

/* The next part of a '/'-separated list, copied; false when absent, empty or too long. */
static bool next_part(const char **list, char *out, size_t max_bytes)
{
    size_t len = strcspn(*list, "/");
    if (len == 0 || len > max_bytes)
        return false;
    memcpy(out, *list, len);
    out[len] = '\0';
    *list += len;
    if (**list == '/')
        (*list)++;
    return true;
}

static const char *take_credential(struct token *t)
{
    const char *rest = t->values[FIELD_CREDENTIAL];
    if (!next_part(&rest, t->access_key_id, SCOPE_MAX_BYTES) || !next_part(&rest, t->date, 8) ||
        !next_part(&rest, t->region, SCOPE_MAX_BYTES) || strcmp(rest, "rds-db/aws4_request") != 0)
        return "malformed: credential scope";
    return NULL;
}

static const char *token_parse(struct token *t, const char *password)
{
    size_t len = strlen(password);
    if (len > TOKEN_MAX_BYTES)
        return "malformed: too long";
    memcpy(t->text, password, len + 1);
    char *query = strstr(t->text, "/?");
    if (!query || query == t->text)
        return "malformed: no HOST:PORT/?QUERY";
    *query = '\0';
    t->host = t->text;
    for (char *pair = query + 2; pair;) {
        char *ampersand = strchr(pair, '&');
        if (ampersand)
            *ampersand = '\0';
        const char *reason = take_pair(t, pair);
        if (reason)
            return reason;
        pair = ampersand ? ampersand + 1 : NULL;
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (!t->values[i] && i != FIELD_SESSION_TOKEN)
            return "malformed: a query part is missing";
    }
    return take_credential(t);
}

/* ---- the signature ---- */

static void write_escaped(FILE *to, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool plain = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= '0' && *c <= '9') || strchr("-._~", *c);
        if (plain)
            fputc(*c, to);
        else
            fprintf(to, "%%%02X", *c);
    }
}

static void to_hex(const unsigned char *digest, char *out)
{
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* SHA-256, in hexadecimal, of the canonical request (AWS Signature Version 4, "Create a canonical
 * request").  False when there is no memory. */
static bool hash_canonical_request(const struct token *t, char *hex)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    if (!to)
        return false;
    fputs("GET\n/\n", to);
    for (int i = 0, written = 0; i < FIELD_SIGNATURE; i++) {
        if (!t->values[i])
            continue;
        fprintf(to, "%s%s=", written++ ? "&" : "", field_names[i]);
        write_escaped(to, t->values[i]);
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char empty_hex[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const unsigned char *)"", 0, digest);
    to_hex(digest, empty_hex);
    fprintf(to, "\nhost:%s\n\nhost\n%s", t->host, empty_hex);
    bool written = fclose(to) == 0;
    if (written) {
        SHA256((const unsigned char *)text, len, digest);
        to_hex(digest, hex);
    }
    free(text);
    return written;
}

static void hmac(const void *key, size_t key_len, const char *text, unsigned char *out)
{
    HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, NULL);
}

static bool compute_signature(const struct token *t, const struct key *key, char *hex)
{
    char request_hex[2 * SHA256_DIGEST_LENGTH + 1];
    if (!hash_canonical_request(t, request_hex))
        return false;
    char to_sign[512];
    int len = snprintf(to_sign, sizeof(to_sign),
                       "AWS4-HMAC-SHA256\n%.32s\n%s/%s/rds-db/aws4_request\n%s",
                       t->values[FIELD_DATE], t->date, t->region, request_hex);
    if (len < 0 || (size_t)len >= sizeof(to_sign))
        return false;
    char start[SCOPE_MAX_BYTES + 5];
    snprintf(start, sizeof(start), "AWS4%s", key->secret);
    unsigned char mac[SHA256_DIGEST_LENGTH];
    hmac(start, strlen(start), t->date, mac);
    hmac(mac, sizeof(mac), t->region, mac);
    hmac(mac, sizeof(mac), "rds-db", mac);
    hmac(mac, sizeof(mac), "aws4_request", mac);
    hmac(mac, sizeof(mac), to_sign, mac);
    to_hex(mac, hex);
    OPENSSL_cleanse(start, sizeof(start));
    return true;
}

static bool same_secret(const char *a, const char *b)
{
    size_t len = strlen(a);
    return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

/* ---- the checks ---- */

/* YYYYMMDDTHHMMSSZ; false when it is not exactly that. */
static bool parse_time(const char *text, time_t *out)
{
    struct tm parts = {0};
    if (strlen(text) != 16)
        return false;
    const char *end = strptime(text, "%Y%m%dT%H%M%SZ", &parts);
    if (!end || *end)
        return false;
    *out = timegm(&parts);
    return true;
}

static const char *check_time(const struct token *t)
{
    time_t signed_at;
    if (!parse_time(t->values[FIELD_DATE], &signed_at))
        return "malformed: X-Amz-Date";
    if (strncmp(t->values[FIELD_DATE], t->date, 8) != 0)
        return "malformed: X-Amz-Date and the credential's date differ";
    char *end;
    errno = 0;
    const char *text = t->values[FIELD_EXPIRES];
    unsigned long expires = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || expires == 0)
        return "malformed: X-Amz-Expires";
    if (expires > EXPIRES_SECONDS_MAX)
        return "X-Amz-Expires is over 900 seconds";
    time_t now = time(NULL);
    if (signed_at > now + FUTURE_SECONDS_MAX)
        return "signed in the future";
    if (now > signed_at + (time_t)expires)
        return "expired";
    return NULL;
}

static bool is_allowed_host(const struct options *o, const char *host)
{
    for (size_t i = 0; i < o->host_count; i++) {
        if (strcmp(o->hosts[i], host) == 0)
            return true;
    }
    return false;
}

static const char *check_scope(const struct options *o, const struct token *t, const char *user)
{
    if (strcmp(t->values[FIELD_ACTION], "connect") != 0)
        return "wrong action";
    if (strcmp(t->values[FIELD_ALGORITHM], "AWS4-HMAC-SHA256") != 0)
        return "wrong algorithm";
    if (strcmp(t->values[FIELD_SIGNED_HEADERS], "host") != 0)
        return "wrong signed headers";
    if (strcmp(t->values[FIELD_USER], user) != 0)
        return "made for another user";
    if (!is_allowed_host(o, t->host))
        return "made for another host";
    if (strcmp(t->region, o->region) != 0)
        return "made for another region";
    return NULL;
}

static bool find_key(const struct options *o, const char *access_key_id, struct key *key)
{
    FILE *from = fopen(o->keys_file, "re");
    if (!from)
        return false;
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, from) > 0) {
        char *rest = NULL;
        const char *id = strtok_r(line, " \t\r\n", &rest);
        const char *secret = strtok_r(NULL, " \t\r\n", &rest);
        const char *session = strtok_r(NULL, " \t\r\n", &rest);
        if (!id || !secret || strcmp(id, access_key_id) != 0)
            continue;
        key->temporary = session && strcmp(session, "-") != 0;
        found = snprintf(key->secret, sizeof(key->secret), "%s", secret) <
                    (int)sizeof(key->secret) &&
                snprintf(key->session_token, sizeof(key->session_token), "%s",
                         key->temporary ? session : "") < (int)sizeof(key->session_token);
    }
    if (line)
        OPENSSL_cleanse(line, cap);
    free(line);
    fclose(from);
    return found;
}

static const char *check_key(const struct options *o, const struct token *t, struct key *key)
{
    if (!find_key(o, t->access_key_id, key))
        return "unknown access key id";
    const char *session = t->values[FIELD_SESSION_TOKEN];
    if (key->temporary && (!session || !same_secret(session, key->session_token)))
        return "missing or wrong session token";
    if (!key->temporary && session)
        return "a session token with a long-lived key";
    char expected[2 * SHA256_DIGEST_LENGTH + 1];
    if (!compute_signature(t, key, expected))
        return "out of memory";
    if (!same_secret(expected, t->values[FIELD_SIGNATURE]))
        return "wrong signature";
    return NULL;
}

/* Returns the reason of a refusal, or NULL for a good token. */
static const char *check_token(const struct options *o, struct token *t, const char *user,
                               const char *password)
{
    const char *reason = token_parse(t, password);
    if (!reason)
        reason = check_scope(o, t, user);
    if (!reason)
        reason = check_time(t);
    if (reason)
        return reason;
    struct key *key = calloc(1, sizeof(*key));
    if (!key)
        return "out of memory";
    reason = check_key(o, t, key);
    OPENSSL_cleanse(key, sizeof(*key));
    free(key);
    return reason;
}

/* ---- PAM ---- */

static bool read_options(struct options *o, int argc, const char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "keys=", 5) == 0)
            o->keys_file = argv[i] + 5;
        else if (strncmp(argv[i], "region=", 7) == 0)
            o->region = argv[i] + 7;
        else if (strncmp(argv[i], "host=", 5) == 0 && o->host_count < HOSTS_MAX)
            o->hosts[o->host_count++] = argv[i] + 5;
        else
            return false;
    }
    return o->keys_file && o->region && o->host_count;
}

static void say(pam_handle_t *pamh, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(pam_handle_t *pamh, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* What the peer sent may hold anything; one line in the log stays one line. */
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    pam_syslog(pamh, LOG_NOTICE, "%s", text);
    dprintf(STDERR_FILENO, "pam_rds_iam[%d]: %s\n", (int)getpid(), text);
}

__attribute__((visibility("default"))) int pam_sm_authenticate(pam_handle_t *pamh, int flags,
                                                               int argc, const char **argv)
{
    (void)flags;
    struct options options = {0};
    if (!read_options(&options, argc, argv)) {
        say(pamh, "bad options in the PAM service file: keys=, region= and host= are needed");
        return PAM_SERVICE_ERR;
    }
    const char *user = NULL;
    const char *password = NULL;
    if (pam_get_user(pamh, &user, NULL) != PAM_SUCCESS || !user ||
        pam_get_authtok(pamh, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS || !password)
        return PAM_AUTH_ERR;
    struct token *token = calloc(1, sizeof(*token));
    if (!token)
        return PAM_BUF_ERR;
    const char *reason = check_token(&options, token, user, password);
    if (reason)
        say(pamh, "refused user=%.64s: %s", user, reason);
    else
        say(pamh, "accepted user=%.64s access_key_id=%s host=%.300s", user, token->access_key_id,
            token->host);
    OPENSSL_cleanse(token, sizeof(*token));
    free(token);
    return reason ? PAM_AUTH_ERR : PAM_SUCCESS;
}

__attribute__((visibility("default"))) int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc,
                                                          const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}

__attribute__((visibility("default"))) int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc,
                                                            const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}
