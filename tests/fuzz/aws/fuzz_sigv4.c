/* Region names in hosts, and tokens for any user: the first line is the host, the rest the user. */
#include <string.h>

#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The user once more, out of the token. */
static void check_user(struct view token, struct view user)
{
    const struct view name = VIEW("DBUser=");
    size_t at = 0, n = 0;

    while (at < token.len && !view_starts_with(view_from(token, at), name))
        at++;
    struct view text = view_from(token, at + name.len);
    text = view_upto(text, view_find(text, '&'));
    for (size_t i = 0; i < text.len; i++, n++) {
        int c = (unsigned char)text.data[i];
        ENSURE(n < user.len && c > ' ' && c < 0x7f);
        if (c == '%') {
            static const char digits[] = "0123456789ABCDEF";
            ENSURE(i + 2 < text.len);
            c = (int)(strchr(digits, text.data[i + 1]) - digits) * 16 +
                (int)(strchr(digits, text.data[i + 2]) - digits);
            i += 2;
        }
        ENSURE((unsigned char)user.data[n] == c);
    }
    ENSURE(n == user.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct aws_credentials c;
    struct view host, user = view_cut(view_of(data, size), '\n', &host);
    struct view region = aws_region_of_host(host);
    struct buf out;

    if (region.data != NULL)
        ENSURE(aws_region_is_valid(region) && region.len < host.len);
    ENSURE(aws_partition_of_region(host).len > 0);
    if (failed(aws_credentials_init(&c, VIEW("AKID"), VIEW("secret"), VIEW("token+/="), 0, "fuzz")))
        return 0;
    struct rds_token_request r = {.host = host,
                                  .port = 5432,
                                  .user = user,
                                  .region = VIEW("eu-west-1"),
                                  .credentials = &c,
                                  .now_us = 1790000000000000};
    buf_init(&out, RDS_TOKEN_MAX_BYTES);
    if (!failed(rds_token_mint(&r, &out)))
        check_user(buf_view(&out), user);
    buf_clear_secure(&out);
    aws_credentials_clear(&c);
    return 0;
}
