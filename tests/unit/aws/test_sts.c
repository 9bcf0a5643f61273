/* STS apart from sessions: which endpoint, what refusals mean, whose the answer is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "aws/sts.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_view(v, text) assert_true(view_is((v), (text)))

/* A service's own, a vault's, vault_aws_sts_endpoint_url, the environment's, the region's. */
static void test_precedence_of_endpoints(void **state)
{
    static const struct {
        const char *service, *vault, *property, *environment, *region, *settings_region;
        bool legacy;
        const char *url, *signed_for;
    } rows[] = {
        {"https://a.example", "https://b.example", "https://c.example", "https://d.example",
         "eu-west-1", "us-west-2", false, "https://a.example/", "eu-west-1"},
        {NULL, "https://b.example", "https://c.example", "https://d.example", "eu-west-1",
         "us-west-2", false, "https://b.example/", "eu-west-1"},
        {NULL, NULL, "https://c.example", "https://d.example", "eu-west-1", "us-west-2", false,
         "https://c.example/", "eu-west-1"},
        {NULL, NULL, NULL, "https://d.example", "eu-west-1", "us-west-2", false,
         "https://d.example/", "eu-west-1"},
        {NULL, NULL, NULL, NULL, "eu-west-1", "us-west-2", false,
         "https://sts.eu-west-1.amazonaws.com/", "eu-west-1"},
        {NULL, NULL, NULL, NULL, NULL, "us-west-2", false, "https://sts.us-west-2.amazonaws.com/",
         "us-west-2"},
        {NULL, NULL, NULL, NULL, "eu-west-1", "us-west-2", true, "https://sts.amazonaws.com/",
         "us-east-1"},
        {NULL, NULL, NULL, NULL, NULL, NULL, false, "https://sts.amazonaws.com/", "us-east-1"},
        /* The signature names the endpoint's region, whatever else was said. */
        {"https://sts.ap-east-1.amazonaws.com", NULL, NULL, NULL, "eu-west-1", NULL, false,
         "https://sts.ap-east-1.amazonaws.com/", "ap-east-1"},
        {NULL, NULL, NULL, "https://vpce-1-a.sts.af-south-1.vpce.amazonaws.com", "eu-west-1", NULL,
         true, "https://vpce-1-a.sts.af-south-1.vpce.amazonaws.com/", "af-south-1"},
        {"http://127.0.0.1:4566", NULL, NULL, NULL, "il-central-1", NULL, false,
         "http://127.0.0.1:4566/", "il-central-1"},
    };
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct view custom[] = {view_str(rows[i].service), view_str(rows[i].vault),
                                      view_str(rows[i].property)};
        const struct sts_place settings = {
            .custom_url = view_str(rows[i].environment),
            .region = view_str(rows[i].settings_region),
            .legacy = rows[i].legacy,
        };
        struct sts_endpoint endpoint;
        assert_false(failed(sts_endpoint_choose(custom, COUNT_OF(custom),
                                                view_str(rows[i].region), &settings, &arena,
                                                &endpoint)));
        assert_view(endpoint.url, rows[i].url);
        assert_view(endpoint.signing_region, rows[i].signed_for);
    }
    arena_clear(&arena);
}

/* Kong asked for sts.us-gov-west-1.us-gov-west-1.amazonaws.com and the like. */
static void test_what_was_chosen_may_be_chosen_again(void **state)
{
    static const char *const regions[] = {"af-south-1",    "il-central-1",   "mx-central-1",
                                          "us-gov-west-1", "us-gov-east-1",  "cn-north-1",
                                          "cn-northwest-1", "us-iso-east-1", "us-isob-east-1",
                                          "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"};
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(regions); i++) {
        struct sts_place settings = {.region = VIEW("us-east-1")};
        struct sts_endpoint first, again;
        assert_false(failed(sts_endpoint_choose(NULL, 0, view_str(regions[i]), &settings, &arena,
                                                &first)));
        assert_view(first.signing_region, regions[i]);
        assert_false(failed(sts_endpoint_choose(&first.url, 1, VIEW("eu-west-1"), &settings,
                                                &arena, &again)));
        assert_true(view_eq(first.url, again.url));
        assert_true(view_eq(first.host, again.host));
        assert_view(again.signing_region, regions[i]);
    }
    arena_clear(&arena);
}

static void test_what_a_refusal_means(void **state)
{
    static const struct {
        int status;
        const char *code;
        enum sts_failure kind;
    } rows[] = {
        {400, "Throttling", STS_THROTTLED},
        {400, "ThrottlingException", STS_THROTTLED},
        {400, "RequestLimitExceeded", STS_THROTTLED},
        {503, "SlowDown", STS_THROTTLED},
        {429, "", STS_THROTTLED},
        {500, "InternalFailure", STS_PASSING},
        {503, "", STS_PASSING},
        {400, "IDPCommunicationError", STS_PASSING},
        {400, "RequestTimeout", STS_PASSING},
        {403, "AccessDenied", STS_FAILED},
        {400, "ValidationError", STS_FAILED},
        {400, "PackedPolicyTooLarge", STS_FAILED},
        {403, "RegionDisabledException", STS_FAILED},
        {400, "", STS_FAILED},
        {301, "throttling", STS_FAILED},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(sts_failure_of(rows[i].status, rows[i].code), rows[i].kind);
}

static void test_the_code_of_an_error(void **state)
{
    char code[STS_ERROR_CODE_MAX + 1], text[40];
    const struct view good =
        VIEW("<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>AccessDenied</Code>"
             "<Message>no&#10;line</Message></Error></ErrorResponse>");
    (void)state;

    sts_error_code(good, code);
    assert_string_equal(code, "AccessDenied");
    sts_describe_error(good, text, sizeof text);
    assert_string_equal(text, "AccessDenied: no line");
    sts_describe_error(good, text, 10);
    assert_string_equal(text, "AccessDen");
    sts_error_code(VIEW("<html><body>AccessDenied</body></html>"), code);
    assert_string_equal(code, "");
    sts_error_code(VIEW(""), code);
    assert_string_equal(code, "");
}

#define ANSWER(user)                                                                               \
    VIEW("<AssumeRoleResponse xmlns=\"x\"><AssumeRoleResult>" user                                 \
         "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"       \
         "<SessionToken>t</SessionToken><Expiration>2026-01-02T04:04:05Z</Expiration>"             \
         "</Credentials></AssumeRoleResult></AssumeRoleResponse>")

static void test_whose_session_it_is(void **state)
{
    static const struct {
        struct view answer;
        const char *arn;
    } rows[] = {
        {ANSWER("<AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId>"
                "<Arn>arn:aws:sts::1:assumed-role/r/b</Arn></AssumedRoleUser>"),
         "arn:aws:sts::1:assumed-role/r/b"},
        {ANSWER(""), ""},
        {ANSWER("<AssumedRoleUser><Arn>arn with a blank</Arn></AssumedRoleUser>"), ""},
        {ANSWER("<AssumedRoleUser><Arn>a</Arn><Arn>b</Arn></AssumedRoleUser>"), ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct aws_credentials c;
        assert_false(failed(sts_read_credentials(rows[i].answer, STS_ASSUME_ROLE,
                                                 INT64_C(1767323045000000), "x", &c)));
        assert_string_equal(c.access_key_id, "ASIA1");
        assert_string_equal(c.arn, rows[i].arn);
        aws_credentials_clear(&c);
    }
}

/* An empty text is no parameter, but for a tag's value; what one action has not, is not sent. */
static void test_what_is_not_asked_is_not_sent(void **state)
{
    const struct sts_tag tag = {VIEW("k"), VIEW(""), false};
    struct sts_call call = {
        .action = STS_ASSUME_ROLE_WITH_WEB_IDENTITY,
        .role_arn = VIEW("r"),
        .session_name = VIEW("n"),
        .external_id = VIEW("e"),
        .source_identity = VIEW("s"),
        .tags = &tag,
        .tag_count = 1,
        .web_identity_token = VIEW("w"),
    };
    struct buf b;
    (void)state;

    buf_init(&b, 4096);
    sts_add_body(&b, &call);
    assert_view(buf_view(&b), "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=r"
                              "&RoleSessionName=n&WebIdentityToken=w");
    buf_reset(&b);
    call.action = STS_ASSUME_ROLE;
    call.external_id = VIEW("");
    sts_add_body(&b, &call);
    assert_view(buf_view(&b), "Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=n"
                              "&SourceIdentity=s&Tags.member.1.Key=k&Tags.member.1.Value=");
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence_of_endpoints),
        cmocka_unit_test(test_what_was_chosen_may_be_chosen_again),
        cmocka_unit_test(test_what_a_refusal_means),
        cmocka_unit_test(test_the_code_of_an_error),
        cmocka_unit_test(test_whose_session_it_is),
        cmocka_unit_test(test_what_is_not_asked_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
