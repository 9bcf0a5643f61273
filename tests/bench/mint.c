/* How long an RDS IAM token takes: with the day's signing key kept, and derived each time.
 * Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>

#include "aws/rds_token.h"
#include "base/time.h"

enum { MINTS = 20000 };

static double mint_us(struct aws_credentials *credentials, struct sigv4_key *key)
{
    struct buf token;
    int64_t begin = time_monotonic_ns();

    buf_init(&token, RDS_TOKEN_MAX_BYTES);
    for (int i = 0; i < MINTS; i++) {
        const struct rds_token_request request = {
            .host = VIEW("shop.cluster-abc.eu-west-1.rds.amazonaws.com"),
            .port = 5432,
            .user = VIEW("app"),
            .region = VIEW("eu-west-1"),
            .credentials = credentials,
            .key = key,
            .now_us = INT64_C(1767323045000000) + (int64_t)i * 1000000 % 3600000000,
        };
        buf_reset(&token);
        if (failed(rds_token_mint(&request, &token)))
            exit(1);
    }
    buf_clear_secure(&token);
    return (double)(time_monotonic_ns() - begin) / 1e3 / MINTS;
}

int main(void)
{
    struct aws_credentials credentials;
    struct sigv4_key key = {0};

    if (failed(aws_credentials_init(&credentials, VIEW("AKIAIOSFODNN7EXAMPLE"),
                                    VIEW("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                                    (struct view){NULL, 0}, 0, "bench")))
        return 1;
    double kept = mint_us(&credentials, &key);
    double derived = mint_us(&credentials, NULL);
    printf("{\"mint_us\": %.3f, \"mint_with_key_derivation_us\": %.3f}\n", kept, derived);
    sigv4_key_clear(&key);
    aws_credentials_clear(&credentials);
    return 0;
}
