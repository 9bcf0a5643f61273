/* IAM tokens against botocore's, regions, credentials and policies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/policy.h"
#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/time.h"
#include "json/json.h"
#include "vectors.h"

#include <cmocka.h> /* last: it has a macro called fail */

static void assert_view(struct view got, const char *want)
{
    if (!view_is(got, want))
        fail_msg("got  %.*s\nwant %s", VIEW_ARG(got), want);
}

static enum rds_token_kind kind_of(const char *name)
{
    if (strcmp(name, "db") == 0)
        return RDS_TOKEN_DB;
    return strcmp(name, "dsql") == 0 ? RDS_TOKEN_DSQL : RDS_TOKEN_DSQL_ADMIN;
}

static void every_token_equals_botocores(void **state)
{
    struct sigv4_key key = {0};
    struct block b;
    int blocks = 0;

    (void)state;
    FILE *f = vectors_open("rds_tokens.txt");
    assert_non_null(f);
    for (; block_read(f, &b); blocks++) {
        struct aws_credentials c;
        assert_false(failed(aws_credentials_init(&c, view_str(block_get(&b, "access_key_id")),
                                                 view_str(block_get(&b, "secret_access_key")),
                                                 view_str(block_get(&b, "session_token")), 0,
                                                 "test")));
        struct rds_token_request r = {.kind = kind_of(block_get(&b, "kind")),
                                      .host = view_str(block_get(&b, "host")),
                                      .port = (uint16_t)strtoll(block_get(&b, "port"), NULL, 10),
                                      .user = view_str(block_get(&b, "user")),
                                      .region = view_str(block_get(&b, "region")),
                                      .credentials = &c,
                                      .key = blocks % 2 == 0 ? &key : NULL,
                                      .now_us = strtoll(block_get(&b, "time"), NULL, 10) * 1000000 + 1,
                                      .expires_s = strtoll(block_get(&b, "expires"), NULL, 10)};
        struct buf out;
        buf_init(&out, RDS_TOKEN_MAX_BYTES);
        assert_false(failed(rds_token_mint(&r, &out)));
        assert_view(buf_view(&out), block_get(&b, "token"));
        buf_clear_secure(&out);
        aws_credentials_clear(&c);
        block_clear(&b);
    }
    fclose(f);
    assert_int_equal(blocks, 24);
    sigv4_key_clear(&key);
}

static void make_credentials(struct aws_credentials *c, const char *token, int64_t expiry_us)
{
    assert_false(failed(aws_credentials_init(c, VIEW("test_id"), VIEW("test_key"), view_str(token),
                                             expiry_us, "test")));
}

static struct rds_token_request good_request(const struct aws_credentials *c)
{
    return (struct rds_token_request){.host = VIEW("db.abc.us-east-1.rds.amazonaws.com"),
                                      .port = 5432,
                                      .user = VIEW("app"),
                                      .region = VIEW("us-east-1"),
                                      .credentials = c,
                                      .now_us = 1667543171000000};
}

static void requests_that_no_database_would_take_are_refused(void **state)
{
    struct aws_credentials c;
    struct buf out;

    (void)state;
    make_credentials(&c, NULL, 0);
    struct rds_token_request bad[9];
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        bad[i] = good_request(&c);
    bad[0].host = VIEW("");
    bad[1].host = VIEW("db/../evil?x");
    bad[2].host = VIEW("db\nhost");
    bad[3].user = VIEW("");
    bad[4].user = VIEW("\xff\xfe");
    bad[5].region = VIEW("");
    bad[6].port = 0;
    bad[7].expires_s = 604801;
    bad[8].expires_s = -1;
    buf_init(&out, RDS_TOKEN_MAX_BYTES);
    buf_add_str(&out, "kept");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_true(is_fault(rds_token_mint(&bad[i], &out), &aws_token_bad_request));
        assert_view(buf_view(&out), "kept");
    }
    struct rds_token_request good = good_request(&c);
    assert_false(failed(rds_token_mint(&good, &out)));
    buf_clear(&out);
    aws_credentials_clear(&c);
}

static void a_token_ends_with_its_credentials(void **state)
{
    struct aws_credentials c;
    struct buf out;
    const int64_t now = 1667543171000000;

    (void)state;
    buf_init(&out, RDS_TOKEN_MAX_BYTES);
    make_credentials(&c, "t", now + 60000000);
    struct rds_token_request r = good_request(&c);
    assert_int_equal(rds_token_expiry_us(&r), now + 60000000);
    assert_false(failed(rds_token_mint(&r, &out)));
    c.expiry_us = now;
    assert_true(is_fault(rds_token_mint(&r, &out), &aws_credentials_expired));
    c.expiry_us = 0;
    assert_int_equal(rds_token_expiry_us(&r), now + 900000000);
    r.expires_s = 30;
    assert_int_equal(rds_token_expiry_us(&r), now + 30000000);
    buf_clear(&out);
    aws_credentials_clear(&c);
}

static void the_region_is_read_from_every_form_of_endpoint(void **state)
{
    static const char *const rows[][2] = {
        {"mydb.abc123.eu-west-1.rds.amazonaws.com", "eu-west-1"},
        {"MYDB.abc123.eu-west-1.RDS.AmazonAWS.com", "eu-west-1"},
        {"mydb.abc123.eu-west-1.rds.amazonaws.com.", "eu-west-1"},
        {"shop.cluster-abc.ap-southeast-2.rds.amazonaws.com", "ap-southeast-2"},
        {"shop.cluster-ro-abc.il-central-1.rds.amazonaws.com", "il-central-1"},
        {"shop.cluster-custom-abc.us-east-1.rds.amazonaws.com", "us-east-1"},
        {"shop.proxy-abc.us-east-2.rds.amazonaws.com", "us-east-2"},
        {"reader.endpoint.proxy-abc.sa-east-1.rds.amazonaws.com", "sa-east-1"},
        {"db.abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"},
        {"db.abc.rds.us-gov-east-1.amazonaws.com", "us-gov-east-1"},
        {"db.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"},
        {"db.cluster-ro-abc.cn-northwest-1.rds.amazonaws.com.cn", "cn-northwest-1"},
        {"db.abc.rds.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"},
        {"db.abc.rds.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"},
        {"db.abc.eusc-de-east-1.rds.amazonaws.eu", "eusc-de-east-1"},
        {"abcdef.dsql.us-east-1.on.aws", "us-east-1"},
        {"abcdef.dsql-fnh4.us-east-2.on.aws", "us-east-2"},
        {"localhost", NULL},
        {"", NULL},
        {".", NULL},
        {"rds.amazonaws.com", NULL},
        {"eu-west-1.rds.amazonaws.com", NULL},
        {"db.abc.eu-west-1.rds.amazonaws.com.evil.example", NULL},
        {"db.abc.eu-west-1.rdsx.amazonaws.com", NULL},
        {"db.abc.EU-WEST-1.rds.amazonaws.com", NULL},
        {"db.abc.euwest1.rds.amazonaws.com", NULL},
        {"db.abc.eu-west-1.s3.amazonaws.com", NULL},
        {"dsql.us-east-1.on.aws", NULL},
        {"x.lambda-url.us-east-1.on.aws", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct view got = aws_region_of_host(view_str(rows[i][0]));
        if (rows[i][1] == NULL ? got.data != NULL : !view_is(got, rows[i][1]))
            fail_msg("%s gives '%.*s'", rows[i][0], VIEW_ARG(got));
    }
}

static void partitions_follow_from_the_region(void **state)
{
    static const char *const rows[][2] = {
        {"eu-west-1", "aws"},          {"cn-north-1", "aws-cn"},
        {"us-gov-west-1", "aws-us-gov"}, {"us-iso-east-1", "aws-iso"},
        {"us-isob-east-1", "aws-iso-b"}, {"eu-isoe-west-1", "aws-iso-e"},
        {"us-isof-south-1", "aws-iso-f"}, {"eusc-de-east-1", "aws-eusc"},
        {"", "aws"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_view(aws_partition_of_region(view_str(rows[i][0])), rows[i][1]);
}

static const char *fake_environment[3];

static char *lookup(const char *name)
{
    static char storage[3][64];
    size_t i = strcmp(name, "AWS_ACCESS_KEY_ID") == 0       ? 0
               : strcmp(name, "AWS_SECRET_ACCESS_KEY") == 0 ? 1
                                                            : 2;
    if (fake_environment[i] == NULL)
        return NULL;
    snprintf(storage[i], sizeof storage[i], "%s", fake_environment[i]);
    return storage[i];
}

static void the_environment_gives_all_or_says_what_is_missing(void **state)
{
    static const struct {
        const char *values[3];
        const struct fault *fault;
    } rows[] = {
        {{"AKIA", "secret", NULL}, NULL},
        {{"AKIA", "secret", "token"}, NULL},
        {{"AKIA", "secret", ""}, NULL},
        {{NULL, NULL, NULL}, &aws_credentials_absent},
        {{"", "", ""}, &aws_credentials_absent},
        {{"AKIA", NULL, NULL}, &aws_credentials_secret_missing},
        {{"AKIA", "", "token"}, &aws_credentials_secret_missing},
        {{NULL, "secret", NULL}, &aws_credentials_key_missing},
        {{NULL, NULL, "token"}, &aws_credentials_token_alone},
        {{"AKIA", "secret\n", NULL}, &aws_credentials_malformed},
        {{"AK IA", "secret", NULL}, &aws_credentials_malformed},
        {{"AKIA", "secret", "to\tken"}, &aws_credentials_malformed},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct credential_provider *p;
        const struct aws_credentials *c;
        memcpy(fake_environment, rows[i].values, sizeof fake_environment);
        err e = credentials_from_environment(lookup, &p);
        assert_ptr_equal(e.fault, rows[i].fault);
        if (failed(e)) {
            assert_null(p);
            continue;
        }
        assert_false(failed(credentials_current(p, 1, &c)));
        assert_string_equal(c->access_key_id, "AKIA");
        assert_view(secret_view(&c->secret_access_key), "secret");
        assert_int_equal(c->session_token.len, i == 1 ? 5 : 0);
        assert_string_equal(c->source, "environment");
        credentials_release(p);
    }
}

static void the_policy_names_exactly_the_user(void **state)
{
    const struct aws_db_user users[] = {
        {VIEW("eu-west-1"), VIEW("123456789012"), VIEW("cluster-ABC"), VIEW("app")},
        {VIEW("cn-north-1"), VIEW("123456789012"), VIEW("db-ABC"), VIEW("a*b?c$d\"")},
        {{0}, {0}, {0}, {0}},
    };
    static const char *const arns[] = {
        "arn:aws:rds-db:eu-west-1:123456789012:dbuser:cluster-ABC/app",
        "arn:aws-cn:rds-db:cn-north-1:123456789012:dbuser:db-ABC/a${*}b${?}c${$}d\"",
        "arn:aws:rds-db:REGION:ACCOUNT-ID:dbuser:DB-RESOURCE-ID/DB-USER",
    };
    const struct json_value *policy;
    struct arena arena;
    struct buf out;
    size_t i = 0;

    (void)state;
    buf_init(&out, 1 << 16);
    arena_init(&arena, 4096, 1 << 20);
    aws_policy_add_connect(&out, users, COUNT_OF(users));
    assert_false(failed(json_parse(&arena, buf_view(&out), NULL, &policy, NULL)));
    const struct json_value *statement = json_get(policy, "Statement")->first;
    struct view action;
    assert_true(json_get_string(statement, "Action", &action));
    assert_view(action, "rds-db:connect");
    JSON_EACH(resource, json_get(statement, "Resource"))
        assert_view(resource->text, arns[i++]);
    assert_int_equal(i, 3);
    buf_reset(&out);
    aws_policy_add_trust(&out, VIEW("arn:aws:iam::123456789012:role/node"), 0);
    assert_false(failed(json_parse(&arena, buf_view(&out), NULL, &policy, NULL)));
    statement = json_get(policy, "Statement")->first;
    assert_true(json_get_string(json_get(statement, "Principal"), "AWS", &action));
    assert_view(action, "arn:aws:iam::123456789012:role/node");
    buf_clear(&out);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_equals_botocores),
        cmocka_unit_test(requests_that_no_database_would_take_are_refused),
        cmocka_unit_test(a_token_ends_with_its_credentials),
        cmocka_unit_test(the_region_is_read_from_every_form_of_endpoint),
        cmocka_unit_test(partitions_follow_from_the_region),
        cmocka_unit_test(the_environment_gives_all_or_says_what_is_missing),
        cmocka_unit_test(the_policy_names_exactly_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
