/* Signature Version 4 against botocore's own intermediate values (tests/vectors/aws). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/sigv4.h"
#include "vectors.h"

#include <cmocka.h> /* last: it has a macro called fail */

#define KEY "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static void assert_text(const struct buf *b, const char *expected)
{
    assert_false(buf_failed(b));
    if (b->len != strlen(expected) || memcmp(b->data, expected, b->len) != 0)
        fail_msg("got  %.*s\nwant %s", (int)b->len, b->data, expected);
}

static size_t pairs_of(const struct block *b, const char *prefix, struct sigv4_pair *pairs)
{
    size_t n = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (strncmp(b->names[i], prefix, strlen(prefix)) != 0)
            continue;
        pairs[n].value = view_cut(view_str(b->values[i]), '=', &pairs[n].name);
        n++;
    }
    return n;
}

static void check_block(const struct block *b, struct sigv4_key *key)
{
    struct sigv4_pair query[SIGV4_MAX_PAIRS], headers[SIGV4_MAX_PAIRS];
    struct sigv4_request r = {.method = view_str(block_get(b, "method")),
                              .path = view_str(block_get(b, "path")),
                              .query = query,
                              .query_count = pairs_of(b, "query", query),
                              .headers = headers,
                              .header_count = pairs_of(b, "header", headers),
                              .payload = view_str(block_get(b, "payload")),
                              .region = view_str(block_get(b, "region")),
                              .service = view_str(block_get(b, "service")),
                              .now_us = strtoll(block_get(b, "time"), NULL, 10) * 1000000 + 999999};
    struct aws_credentials c;
    struct buf canonical, text;

    assert_false(failed(aws_credentials_init(&c, VIEW(KEY), VIEW(SECRET),
                                             view_str(block_get(b, "session_token")), 0, "test")));
    buf_init(&canonical, 1 << 20);
    buf_init(&text, 1 << 20);
    assert_false(failed(sigv4_canonical_request(&r, &canonical)));
    assert_text(&canonical, block_get(b, "canonical_request"));
    assert_false(failed(sigv4_string_to_sign(&r, buf_view(&canonical), &text)));
    assert_text(&text, block_get(b, "string_to_sign"));
    buf_reset(&text);
    assert_false(failed(sigv4_signing_key(&r, &c, key)));
    buf_add_hex(&text, key->key, sizeof key->key);
    assert_text(&text, block_get(b, "signing_key"));
    buf_reset(&text);
    assert_false(failed(sigv4_authorization(&r, &c, key, &text)));
    assert_text(&text, block_get(b, "authorization"));
    buf_reset(&text);
    assert_false(failed(sigv4_authorization(&r, &c, NULL, &text)));
    assert_text(&text, block_get(b, "authorization"));
    buf_clear(&canonical);
    buf_clear(&text);
    aws_credentials_clear(&c);
}

static void every_vector_holds_at_every_step(void **state)
{
    struct sigv4_key key = {0};
    struct block b;
    int blocks = 0;

    (void)state;
    FILE *f = vectors_open("sigv4.txt");
    assert_non_null(f);
    for (; block_read(f, &b); blocks++) {
        check_block(&b, &key);
        block_clear(&b);
    }
    fclose(f);
    assert_int_equal(blocks, 10);
    sigv4_key_clear(&key);
}

static const struct sigv4_pair host = {{"host", 4}, {"h", 1}};

static struct sigv4_request minimal(void)
{
    return (struct sigv4_request){.method = VIEW("GET"),
                                  .headers = &host,
                                  .header_count = 1,
                                  .region = VIEW("r"),
                                  .service = VIEW("s")};
}

/* The two vectors of Kong's signer (lua-resty-aws, spec/04-services/04-rds-utils_spec.lua), which
 * signs for a host with its port even when that is 443; botocore, and rds_token.h, leave it out. */
static void the_vectors_of_another_signer_hold(void **state)
{
    static const struct {
        struct view id, secret, token;
        const char *signature;
    } rows[] = {
        {{"test_id", 7}, {"test_key", 8}, {NULL, 0},
         "ff72d46f1937c1f5917f69d694929ca814b781619b8d730451c7ffef050059b0"},
        {{"test_id2", 8}, {"test_key2", 9}, {"test_token2", 11},
         "7fcb20a161bb493b405686590604bfb864f8ac68dea84b903cd551e93f850ac5"},
    };
    const struct sigv4_pair query[] = {{VIEW("Action"), VIEW("connect")},
                                       {VIEW("DBUser"), VIEW("test_user")}};
    const struct sigv4_pair header = {
        VIEW("host"), VIEW("test_database.test_cluster.us-east-1.rds.amazonaws.com:443")};
    const struct sigv4_request r = {.method = VIEW("GET"),
                                    .path = VIEW("/"),
                                    .query = query,
                                    .query_count = 2,
                                    .headers = &header,
                                    .header_count = 1,
                                    .region = VIEW("us-east-1"),
                                    .service = VIEW("rds-db"),
                                    .now_us = 1667543171000000};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct aws_credentials c;
        struct buf out;
        assert_false(failed(
            aws_credentials_init(&c, rows[i].id, rows[i].secret, rows[i].token, 0, "test")));
        buf_init(&out, 1 << 16);
        assert_false(failed(sigv4_presign(&r, &c, NULL, 900, &out)));
        assert_true(view_ends_with(buf_view(&out), view_str(rows[i].signature)));
        buf_clear(&out);
        aws_credentials_clear(&c);
    }
}

/* A cache that held on to an old secret, day, region or service would sign wrongly. */
static void the_signing_key_is_derived_anew_when_anything_changes(void **state)
{
    struct aws_credentials one, other;
    struct sigv4_key key = {0}, fresh;
    struct sigv4_request r = minimal();

    (void)state;
    assert_false(failed(
        aws_credentials_init(&one, VIEW("A"), VIEW("secret"), (struct view){0}, 0, "test")));
    assert_false(failed(
        aws_credentials_init(&other, VIEW("A"), VIEW("rotated"), (struct view){0}, 0, "test")));
    for (int step = 0; step < 5; step++) {
        unsigned char before[32];
        memcpy(before, key.key, sizeof before);
        if (step == 1)
            r.now_us += 86400000000;
        else if (step == 2)
            r.region = VIEW("r2");
        else if (step == 3)
            r.service = VIEW("s2");
        const struct aws_credentials *c = step == 4 ? &other : &one;
        fresh = (struct sigv4_key){0};
        assert_false(failed(sigv4_signing_key(&r, c, &key)));
        assert_false(failed(sigv4_signing_key(&r, c, &fresh)));
        assert_memory_equal(key.key, fresh.key, 32);
        assert_memory_not_equal(key.key, before, 32);
    }
    sigv4_key_clear(&key);
    sigv4_key_clear(&fresh);
    aws_credentials_clear(&one);
    aws_credentials_clear(&other);
}

static void repeated_headers_are_joined_in_their_order(void **state)
{
    const struct sigv4_pair headers[] = {{VIEW("x"), VIEW("b")},
                                         {VIEW("host"), VIEW("h")},
                                         {VIEW("x"), VIEW(" a \t a ")}};
    struct sigv4_request r = minimal();
    struct buf out;

    (void)state;
    r.headers = headers;
    r.header_count = 3;
    buf_init(&out, 4096);
    assert_false(failed(sigv4_canonical_request(&r, &out)));
    assert_text(&out, "GET\n/\n\nhost:h\nx:b,a a\n\nhost;x\n"
                      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    buf_clear(&out);
}

static void what_cannot_be_signed_is_refused(void **state)
{
    struct sigv4_pair many[SIGV4_MAX_PAIRS + 1];
    char region[SIGV4_REGION_MAX + 1];
    struct buf out;

    (void)state;
    memset(region, 'r', sizeof region);
    for (size_t i = 0; i < SIGV4_MAX_PAIRS + 1; i++)
        many[i] = host;
    struct sigv4_request bad[6];
    for (size_t i = 0; i < 6; i++)
        bad[i] = minimal();
    bad[0].header_count = 0;
    bad[1].headers = many;
    bad[1].header_count = SIGV4_MAX_PAIRS + 1;
    bad[2].query = many;
    bad[2].query_count = SIGV4_MAX_PAIRS + 1;
    bad[3].region = view_of(region, sizeof region);
    bad[4].service = VIEW("");
    bad[5].method = VIEW("");
    buf_init(&out, 4096);
    for (size_t i = 0; i < 6; i++)
        assert_true(is_fault(sigv4_canonical_request(&bad[i], &out), &aws_sigv4_bad_request));
    struct sigv4_request good = minimal();
    assert_false(failed(sigv4_canonical_request(&good, &out)));
    /* A presigned query adds six pairs of its own. */
    good.query = many;
    good.query_count = SIGV4_MAX_PAIRS - 5;
    struct aws_credentials none = {0};
    assert_true(is_fault(sigv4_presign(&good, &none, NULL, 900, &out), &aws_sigv4_bad_request));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_holds_at_every_step),
        cmocka_unit_test(the_vectors_of_another_signer_hold),
        cmocka_unit_test(the_signing_key_is_derived_anew_when_anything_changes),
        cmocka_unit_test(repeated_headers_are_joined_in_their_order),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
