/*
 * AWS Signature Version 4 ("Signature Version 4 signing process" of the IAM user guide), for
 * headers and for presigned queries.  Pure: the time comes in; nothing is kept but the signing key.
 *
 * Names and values of the query come in raw and are encoded here.  The path comes as it stands in
 * the request line and is encoded once more, as every service but S3 wants it; it has no empty or
 * dot segments.  The host goes in as it stands in the Host header.
 */
#ifndef SALLYPORT_AWS_SIGV4_H
#define SALLYPORT_AWS_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum { SIGV4_MAX_PAIRS = 32, SIGV4_REGION_MAX = 64, SIGV4_SERVICE_MAX = 32 };

struct sigv4_pair {
    struct view name;
    struct view value;
};

/* What is signed.  Everything is borrowed for the call. */
struct sigv4_request {
    struct view method;               /* "GET" */
    struct view path;                 /* as in the request line; absent counts as "/" */
    const struct sigv4_pair *query;   /* raw; any order */
    size_t query_count;
    const struct sigv4_pair *headers; /* those to sign, host among them; names in lower case */
    size_t header_count;
    struct view payload;              /* the body; empty for a presigned GET */
    struct view region;
    struct view service;
    int64_t now_us;                   /* wall time */
};

/* More pairs than SIGV4_MAX_PAIRS, a region or service too long or empty. */
extern const struct fault aws_sigv4_bad_request;

/*
 * The signing key of the day: four HMACs that serve every signature with one secret, day, region
 * and service.  Zero-initialise; end with sigv4_key_clear, which wipes.  One thread at a time.
 */
struct sigv4_key {
    char access_key_id[AWS_ACCESS_KEY_ID_MAX + 1];
    unsigned char secret_digest[32]; /* tells a rotated secret under the same id */
    char date[9];
    char region[SIGV4_REGION_MAX + 1];
    char service[SIGV4_SERVICE_MAX + 1];
    unsigned char key[32];
    bool set;
};
void sigv4_key_clear(struct sigv4_key *k);

/* The steps, each checked on its own by the vectors. */
void sigv4_add_encoded(struct buf *out, struct view text);  /* all but A-Z a-z 0-9 - . _ ~ */
err sigv4_canonical_request(const struct sigv4_request *r, struct buf *out) MUST_USE;
err sigv4_string_to_sign(const struct sigv4_request *r, struct view canonical_request,
                         struct buf *out) MUST_USE;
/* Derives into k unless k already holds this very key. */
err sigv4_signing_key(const struct sigv4_request *r, const struct aws_credentials *c,
                      struct sigv4_key *k) MUST_USE;

/*
 * Header signing: appends the value of the Authorization header to out.  The caller has put
 * x-amz-date (time_format_amz of now_us) and, with temporary credentials, x-amz-security-token
 * among the headers.  key may be NULL: then the key is derived for this one call.
 */
err sigv4_authorization(const struct sigv4_request *r, const struct aws_credentials *c,
                        struct sigv4_key *key, struct buf *out) MUST_USE;

/*
 * Presigning: appends the query string, signature last, to out.  r->query holds the operation's own
 * pairs in the order in which they shall stand; the X-Amz- pairs follow in botocore's order
 * (Algorithm, Credential, Date, Expires, SignedHeaders, Security-Token, Signature).
 */
err sigv4_presign(const struct sigv4_request *r, const struct aws_credentials *c,
                  struct sigv4_key *key, int64_t expires_s, struct buf *out) MUST_USE;

#endif
