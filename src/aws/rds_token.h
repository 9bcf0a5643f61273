/*
 * The password of an IAM login: a presigned URL without its "https://", made locally ("IAM database
 * authentication" of the RDS user guide; "Generating an authentication token" of Aurora DSQL).
 *
 * Equal byte for byte to what botocore's generate_db_auth_token and generate_db_connect_auth_token
 * print in the same second.
 */
#ifndef SALLYPORT_AWS_RDS_TOKEN_H
#define SALLYPORT_AWS_RDS_TOKEN_H

#include <stdint.h>

#include "aws/credentials.h"
#include "aws/sigv4.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum { RDS_TOKEN_EXPIRES_S = 900, RDS_TOKEN_MAX_BYTES = 64 * 1024 };

enum rds_token_kind {
    RDS_TOKEN_DB,          /* service rds-db, Action=connect&DBUser=… */
    RDS_TOKEN_DSQL,        /* service dsql, Action=DbConnect; no user, no port */
    RDS_TOKEN_DSQL_ADMIN,  /* service dsql, Action=DbConnectAdmin */
};

struct rds_token_request {
    enum rds_token_kind kind;
    struct view host;         /* the real endpoint's name, not an alias or a tunnel */
    uint16_t port;
    struct view user;         /* UTF-8, raw */
    struct view region;
    const struct aws_credentials *credentials;
    struct sigv4_key *key;    /* NULL, or the caller's cache of the day's signing key */
    int64_t now_us;
    int64_t expires_s;        /* 0: RDS_TOKEN_EXPIRES_S */
};

/* An empty host, user or region, or a host with characters that no host name has. */
extern const struct fault aws_token_bad_request;

/*
 * Appends the token to out (give it a maximum of RDS_TOKEN_MAX_BYTES, end it with
 * buf_clear_secure).  aws_credentials_expired when the credentials have ended by now_us.  On
 * failure nothing of use is in out.
 */
err rds_token_mint(const struct rds_token_request *r, struct buf *out) MUST_USE;

/* When the token stops being of use: its own lifetime, or its credentials' end if that is sooner. */
int64_t rds_token_expiry_us(const struct rds_token_request *r);

#endif
