#include "aws/rds_token.h"

enum { HOST_MAX = 253, EXPIRES_MAX_S = 604800 };

const struct fault aws_token_bad_request = {
    "aws_token_bad_request",
    "an IAM token needs a host name, a user and a region, and a lifetime within a week", NULL, 500};

static bool host_is_valid(struct view host)
{
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

static int64_t lifetime_s(const struct rds_token_request *r)
{
    return r->expires_s == 0 ? RDS_TOKEN_EXPIRES_S : r->expires_s;
}

static err check(const struct rds_token_request *r)
{
    int64_t credentials_end = r->credentials->expiry_us;
    bool db = r->kind == RDS_TOKEN_DB;

    if (!host_is_valid(r->host) || r->region.len == 0 || lifetime_s(r) < 1 ||
        lifetime_s(r) > EXPIRES_MAX_S)
        return fail(&aws_token_bad_request);
    if (db && (r->user.len == 0 || r->port == 0 || !view_is_utf8(r->user)))
        return fail(&aws_token_bad_request);
    if (credentials_end != 0 && credentials_end <= r->now_us)
        return fail(&aws_credentials_expired);
    return OK;
}

/* The Host header that botocore signs: lower case, without a port that is the scheme's own. */
static void add_host_header(struct buf *out, const struct rds_token_request *r)
{
    for (size_t i = 0; i < r->host.len; i++) {
        char c = r->host.data[i];
        buf_add_char(out, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
    if (r->kind == RDS_TOKEN_DB && r->port != 443) {
        buf_add_char(out, ':');
        buf_add_u64(out, r->port);
    }
}

static err presign(const struct rds_token_request *r, struct view host, struct buf *out)
{
    static const struct view actions[] = {
        [RDS_TOKEN_DB] = {"connect", 7},
        [RDS_TOKEN_DSQL] = {"DbConnect", 9},
        [RDS_TOKEN_DSQL_ADMIN] = {"DbConnectAdmin", 14},
    };
    bool db = r->kind == RDS_TOKEN_DB;
    struct sigv4_pair query[] = {{VIEW("Action"), actions[r->kind]}, {VIEW("DBUser"), r->user}};
    struct sigv4_pair header = {VIEW("host"), host};
    struct sigv4_request request = {.method = VIEW("GET"),
                                    .path = VIEW("/"),
                                    .query = query,
                                    .query_count = db ? 2 : 1,
                                    .headers = &header,
                                    .header_count = 1,
                                    .region = r->region,
                                    .service = db ? VIEW("rds-db") : VIEW("dsql"),
                                    .now_us = r->now_us};

    buf_add_view(out, r->host);
    if (db) {
        buf_add_char(out, ':');
        buf_add_u64(out, r->port);
    }
    buf_add_str(out, "/?");
    return sigv4_presign(&request, r->credentials, r->key, lifetime_s(r), out);
}

err rds_token_mint(const struct rds_token_request *r, struct buf *out)
{
    struct buf host;
    size_t before = out->len;

    TRY(check(r));
    buf_init(&host, HOST_MAX + sizeof ":65535");
    add_host_header(&host, r);
    err e = buf_failed(&host) ? fail(&fault_out_of_memory) : presign(r, buf_view(&host), out);
    buf_clear(&host);
    if (failed(e) && !buf_failed(out))
        buf_truncate(out, before);
    return e;
}

int64_t rds_token_expiry_us(const struct rds_token_request *r)
{
    int64_t own = r->now_us + lifetime_s(r) * 1000000;
    int64_t credentials_end = r->credentials->expiry_us;

    return credentials_end != 0 && credentials_end < own ? credentials_end : own;
}
