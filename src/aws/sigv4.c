#include "aws/sigv4.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/time.h"
#include "crypto/hash.h"

/* The session token is the largest part, and encoding makes up to three bytes of one. */
enum { CANONICAL_MAX = 128 * 1024 };

static const char algorithm[] = "AWS4-HMAC-SHA256";
static const char scope_end[] = "aws4_request";

const struct fault aws_sigv4_bad_request = {
    "aws_sigv4_bad_request", "a request to AWS cannot be signed as it is", NULL, 500};

void sigv4_key_clear(struct sigv4_key *k)
{
    secret_wipe(k, sizeof *k);
}

static bool unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

static void add_encoded(struct buf *out, struct view text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    if (text.len > CANONICAL_MAX || !buf_reserve(out, text.len * 3)) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (unreserved(c) || (keep_slash && c == '/')) {
            out->data[out->len++] = (char)c;
        } else {
            out->data[out->len++] = '%';
            out->data[out->len++] = digits[c >> 4];
            out->data[out->len++] = digits[c & 15];
        }
    }
}

void sigv4_add_encoded(struct buf *out, struct view text)
{
    add_encoded(out, text, false);
}

static err check(const struct sigv4_request *r)
{
    if (r->query_count > SIGV4_MAX_PAIRS || r->header_count > SIGV4_MAX_PAIRS ||
        r->header_count == 0 || r->method.len == 0 || r->region.len == 0 ||
        r->region.len > SIGV4_REGION_MAX || r->service.len == 0 ||
        r->service.len > SIGV4_SERVICE_MAX)
        return fail(&aws_sigv4_bad_request);
    return OK;
}

static err done(const struct buf *b)
{
    return buf_failed(b) ? fail(&fault_too_large) : OK;
}

static int by_name_then_value(const void *a, const void *b)
{
    const struct sigv4_pair *x = a, *y = b;
    int order = view_cmp(x->name, y->name);
    return order != 0 ? order : view_cmp(x->value, y->value);
}

/* "The sort is by encoded name, then by encoded value": so each is encoded before the sort. */
static err add_canonical_query(struct buf *out, const struct sigv4_request *r)
{
    struct sigv4_pair sorted[SIGV4_MAX_PAIRS];
    size_t need = 0;

    for (size_t i = 0; i < r->query_count; i++)
        need += r->query[i].name.len + r->query[i].value.len;
    struct buf text;
    buf_init(&text, CANONICAL_MAX);
    /* Reserved at once, so that the views below stay where they are. */
    if (need > CANONICAL_MAX / 3 || !buf_reserve(&text, need * 3 + 1)) {
        buf_clear(&text);
        return fail(&fault_too_large);
    }
    for (size_t i = 0; i < r->query_count; i++) {
        size_t at = text.len;
        sigv4_add_encoded(&text, r->query[i].name);
        size_t middle = text.len;
        sigv4_add_encoded(&text, r->query[i].value);
        sorted[i] = (struct sigv4_pair){view_of(text.data + at, middle - at),
                                        view_of(text.data + middle, text.len - middle)};
    }
    qsort(sorted, r->query_count, sizeof *sorted, by_name_then_value);
    for (size_t i = 0; i < r->query_count; i++) {
        if (i > 0)
            buf_add_char(out, '&');
        buf_add_view(out, sorted[i].name);
        buf_add_char(out, '=');
        buf_add_view(out, sorted[i].value);
    }
    buf_clear_secure(&text);
    return OK;
}

/* Runs of blanks become one, those at the ends none. */
static void add_trimmed(struct buf *out, struct view value)
{
    bool blank = false;

    value = view_trim(value);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c == ' ' || c == '\t') {
            blank = true;
            continue;
        }
        if (blank)
            buf_add_char(out, ' ');
        blank = false;
        buf_add_char(out, c);
    }
}

/* Sorted by name; equal names keep their order, for their values are joined in it. */
static void sort_headers(const struct sigv4_request *r, struct sigv4_pair *sorted)
{
    for (size_t i = 0; i < r->header_count; i++) {
        size_t at = i;
        while (at > 0 && view_cmp(sorted[at - 1].name, r->headers[i].name) > 0) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = r->headers[i];
    }
}

static void add_signed_names(struct buf *out, const struct sigv4_pair *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && view_eq(sorted[i].name, sorted[i - 1].name))
            continue;
        if (i > 0)
            buf_add_char(out, ';');
        buf_add_view(out, sorted[i].name);
    }
}

static void add_headers(struct buf *out, const struct sigv4_pair *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && view_eq(sorted[i].name, sorted[i - 1].name);
        if (!again) {
            buf_add_view(out, sorted[i].name);
            buf_add_char(out, ':');
        } else {
            buf_add_char(out, ',');
        }
        add_trimmed(out, sorted[i].value);
        if (i + 1 == count || !view_eq(sorted[i].name, sorted[i + 1].name))
            buf_add_char(out, '\n');
    }
}

err sigv4_canonical_request(const struct sigv4_request *r, struct buf *out)
{
    struct sigv4_pair sorted[SIGV4_MAX_PAIRS];
    uint8_t digest[SHA256_BYTES];

    TRY(check(r));
    buf_add_view(out, r->method);
    buf_add_char(out, '\n');
    if (r->path.len == 0)
        buf_add_char(out, '/');
    else
        add_encoded(out, r->path, true);
    buf_add_char(out, '\n');
    TRY(add_canonical_query(out, r));
    buf_add_char(out, '\n');
    sort_headers(r, sorted);
    add_headers(out, sorted, r->header_count);
    buf_add_char(out, '\n');
    add_signed_names(out, sorted, r->header_count);
    buf_add_char(out, '\n');
    sha256(r->payload, digest);
    buf_add_hex(out, digest, sizeof digest);
    return done(out);
}

/* DATE/REGION/SERVICE/aws4_request */
static void add_scope(struct buf *out, const struct sigv4_request *r, const char *when)
{
    buf_add(out, when, 8);
    buf_add_char(out, '/');
    buf_add_view(out, r->region);
    buf_add_char(out, '/');
    buf_add_view(out, r->service);
    buf_add_char(out, '/');
    buf_add_str(out, scope_end);
}

err sigv4_string_to_sign(const struct sigv4_request *r, struct view canonical_request,
                         struct buf *out)
{
    char when[17];
    uint8_t digest[SHA256_BYTES];

    time_format_amz(r->now_us, when);
    buf_add_str(out, algorithm);
    buf_add_char(out, '\n');
    buf_add_str(out, when);
    buf_add_char(out, '\n');
    add_scope(out, r, when);
    buf_add_char(out, '\n');
    sha256(canonical_request, digest);
    buf_add_hex(out, digest, sizeof digest);
    return done(out);
}

static bool same_key(const struct sigv4_key *k, const struct sigv4_request *r,
                     const struct aws_credentials *c, const char *when, const uint8_t *digest)
{
    return k->set && memcmp(k->date, when, 8) == 0 && view_is(r->region, k->region) &&
           view_is(r->service, k->service) && strcmp(k->access_key_id, c->access_key_id) == 0 &&
           secret_eq(view_of(k->secret_digest, SHA256_BYTES), view_of(digest, SHA256_BYTES));
}

/* Each step's result is the key of the next. */
static void derive(struct sigv4_key *k, const struct sigv4_request *r, struct view secret)
{
    char first[4 + AWS_SECRET_ACCESS_KEY_MAX] = "AWS4";

    memcpy(first + 4, secret.data, secret.len);
    hmac_sha256(view_of(first, 4 + secret.len), view_of(k->date, 8), k->key);
    secret_wipe(first, sizeof first);
    hmac_sha256(view_of(k->key, sizeof k->key), r->region, k->key);
    hmac_sha256(view_of(k->key, sizeof k->key), r->service, k->key);
    hmac_sha256(view_of(k->key, sizeof k->key), VIEW("aws4_request"), k->key);
}

err sigv4_signing_key(const struct sigv4_request *r, const struct aws_credentials *c,
                      struct sigv4_key *k)
{
    char when[17];
    uint8_t digest[SHA256_BYTES];

    TRY(check(r));
    time_format_amz(r->now_us, when);
    sha256(secret_view(&c->secret_access_key), digest);
    if (same_key(k, r, c, when, digest)) {
        secret_wipe(digest, sizeof digest);
        return OK;
    }
    sigv4_key_clear(k);
    memcpy(k->access_key_id, c->access_key_id, sizeof k->access_key_id);
    memcpy(k->secret_digest, digest, sizeof digest);
    memcpy(k->date, when, 8);
    memcpy(k->region, r->region.data, r->region.len);
    memcpy(k->service, r->service.data, r->service.len);
    derive(k, r, secret_view(&c->secret_access_key));
    k->set = true;
    secret_wipe(digest, sizeof digest);
    return OK;
}

static err sign_canonical(const struct sigv4_request *r, const struct aws_credentials *c,
                          struct sigv4_key *key, struct buf *canonical, struct buf *to_sign,
                          struct buf *out)
{
    uint8_t signature[SHA256_BYTES];

    TRY(sigv4_canonical_request(r, canonical));
    TRY(sigv4_string_to_sign(r, buf_view(canonical), to_sign));
    TRY(sigv4_signing_key(r, c, key));
    hmac_sha256(view_of(key->key, sizeof key->key), buf_view(to_sign), signature);
    buf_add_hex(out, signature, sizeof signature);
    return done(out);
}

/* Appends the signature in hex. */
static err add_signature(const struct sigv4_request *r, const struct aws_credentials *c,
                         struct sigv4_key *key, struct buf *out)
{
    struct sigv4_key own = {0};
    struct buf canonical, to_sign;

    buf_init(&canonical, CANONICAL_MAX);
    buf_init(&to_sign, 512);
    err e = sign_canonical(r, c, key != NULL ? key : &own, &canonical, &to_sign, out);
    buf_clear_secure(&canonical);
    buf_clear_secure(&to_sign);
    sigv4_key_clear(&own);
    return e;
}

err sigv4_authorization(const struct sigv4_request *r, const struct aws_credentials *c,
                        struct sigv4_key *key, struct buf *out)
{
    struct sigv4_pair sorted[SIGV4_MAX_PAIRS];
    char when[17];

    TRY(check(r));
    time_format_amz(r->now_us, when);
    buf_add_str(out, algorithm);
    buf_add_str(out, " Credential=");
    buf_add_str(out, c->access_key_id);
    buf_add_char(out, '/');
    add_scope(out, r, when);
    buf_add_str(out, ", SignedHeaders=");
    sort_headers(r, sorted);
    add_signed_names(out, sorted, r->header_count);
    buf_add_str(out, ", Signature=");
    return add_signature(r, c, key, out);
}

/* The X-Amz- pairs, their texts in `text`. */
static size_t presign_pairs(const struct sigv4_request *r, const struct aws_credentials *c,
                            int64_t expires_s, const char *when, struct buf *text,
                            struct sigv4_pair *pairs)
{
    struct sigv4_pair sorted[SIGV4_MAX_PAIRS];
    size_t n = 0, at[4];

    at[0] = text->len;
    buf_add_str(text, c->access_key_id);
    buf_add_char(text, '/');
    add_scope(text, r, when);
    at[1] = text->len;
    buf_add_i64(text, expires_s);
    at[2] = text->len;
    sort_headers(r, sorted);
    add_signed_names(text, sorted, r->header_count);
    at[3] = text->len;
    pairs[n++] = (struct sigv4_pair){VIEW("X-Amz-Algorithm"), view_str(algorithm)};
    pairs[n++] = (struct sigv4_pair){VIEW("X-Amz-Credential"),
                                     view_of(text->data + at[0], at[1] - at[0])};
    pairs[n++] = (struct sigv4_pair){VIEW("X-Amz-Date"), view_of(when, 16)};
    pairs[n++] =
        (struct sigv4_pair){VIEW("X-Amz-Expires"), view_of(text->data + at[1], at[2] - at[1])};
    pairs[n++] = (struct sigv4_pair){VIEW("X-Amz-SignedHeaders"),
                                     view_of(text->data + at[2], at[3] - at[2])};
    if (c->session_token.len > 0)
        pairs[n++] =
            (struct sigv4_pair){VIEW("X-Amz-Security-Token"), secret_view(&c->session_token)};
    return n;
}

enum { PRESIGN_PAIRS = 6, PRESIGN_TEXT_MAX = 4096 };

err sigv4_presign(const struct sigv4_request *r, const struct aws_credentials *c,
                  struct sigv4_key *key, int64_t expires_s, struct buf *out)
{
    struct sigv4_pair pairs[SIGV4_MAX_PAIRS];
    struct sigv4_request with = *r;
    struct buf text;
    char when[17];

    TRY(check(r));
    if (r->query_count > SIGV4_MAX_PAIRS - PRESIGN_PAIRS)
        return fail(&aws_sigv4_bad_request);
    time_format_amz(r->now_us, when);
    buf_init(&text, PRESIGN_TEXT_MAX);
    /* Reserved at once, so that the views of presign_pairs stay where they are. */
    if (!buf_reserve(&text, PRESIGN_TEXT_MAX))
        return fail(&fault_out_of_memory);
    if (r->query_count > 0)
        memcpy(pairs, r->query, r->query_count * sizeof *pairs);
    with.query = pairs;
    with.query_count += presign_pairs(r, c, expires_s, when, &text, pairs + r->query_count);
    err e = done(&text);
    if (!failed(e)) {
        for (size_t i = 0; i < with.query_count; i++) {
            sigv4_add_encoded(out, pairs[i].name);
            buf_add_char(out, '=');
            sigv4_add_encoded(out, pairs[i].value);
            buf_add_char(out, '&');
        }
        buf_add_str(out, "X-Amz-Signature=");
        e = add_signature(&with, c, key, out);
    }
    buf_clear(&text);
    return e;
}
