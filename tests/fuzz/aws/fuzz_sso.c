/* Any bytes as a cached token of IAM Identity Center and as the answers of its services; a token
 * that was read is written and read again. */
#include <stdint.h>

#include "aws/sso.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_US = 1000000 };

static bool same(const struct secret *a, const struct secret *b)
{
    return view_eq(secret_view(a), secret_view(b));
}

static void check_token(struct view text)
{
    struct sso_token t, again;
    struct buf out;

    buf_init(&out, 1024 * 1024);
    err e = sso_token_read(text, &t);
    if (!failed(e)) {
        ENSURE(t.access_token.len > 0);
        (void)sso_token_refreshable(&t, NOW_US);
        /* Up to the year 9999, in whole seconds. */
        if (!failed(sso_token_write(&t, text, &out))) {
            ENSURE(!failed(sso_token_read(buf_view(&out), &again)));
            ENSURE(same(&t.access_token, &again.access_token));
            ENSURE(same(&t.refresh_token, &again.refresh_token));
            ENSURE(same(&t.client_secret, &again.client_secret));
            ENSURE(t.expiry_us / 1000000 == again.expiry_us / 1000000);
            sso_token_clear(&again);
        }
    }
    sso_token_clear(&t);
    buf_clear_secure(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct view text = view_of(data, size);
    struct sso_token created = {0};
    struct aws_credentials c;
    char why[100];

    check_token(text);
    if (!failed(sso_read_create_token(text, NOW_US, &created)))
        ENSURE(created.access_token.len > 0 && created.expiry_us > NOW_US);
    sso_token_clear(&created);
    if (!failed(sso_read_credentials(text, NOW_US, "fuzz", &c)))
        ENSURE(c.session_token.len > 0 && c.expiry_us > NOW_US);
    aws_credentials_clear(&c);
    sso_describe_error(text, why, sizeof why);
    ENSURE(strnlen(why, sizeof why) < sizeof why);
    return 0;
}
