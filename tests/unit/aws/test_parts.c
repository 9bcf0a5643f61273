/* The pure parts under the credential chain: times, XML, profile files, endpoints, answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "aws/metadata.h"
#include "aws/profile.h"
#include "aws/sts.h"
#include "aws/timestamp.h"
#include "aws/xml.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_view(v, text) assert_true(view_is((v), (text)))

static const int64_t now_us = INT64_C(1767323045000000); /* 2026-01-02T03:04:05Z */

static int64_t time_of(const char *text)
{
    int64_t us = -1;
    return aws_timestamp_parse(view_str(text), &us) ? us : -1;
}

static void times_are_read_to_the_microsecond(void **state)
{
    (void)state;
    assert_int_equal(time_of("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(time_of("2026-01-02T03:04:05Z"), now_us);
    assert_int_equal(time_of("2026-01-02T03:04:05.678901Z"), now_us + 678901);
    assert_int_equal(time_of("2026-01-02T03:04:05.6Z"), now_us + 600000);
    assert_int_equal(time_of("2026-01-02T03:04:05.1234567Z"), now_us + 123456);
    assert_int_equal(time_of("2026-01-02T04:34:05+01:30"), now_us);
    assert_int_equal(time_of("2026-01-01T22:04:05-05:00"), now_us);
    assert_int_equal(time_of("2024-02-29T00:00:00Z"), INT64_C(1709164800000000));
    assert_int_equal(time_of("2100-03-01T00:00:00Z"), INT64_C(4107542400000000));
}

static void texts_that_are_no_times_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "2026", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z", "2026-00-02T03:04:05Z", "2026-02-29T03:04:05Z",
        "2100-02-29T00:00:00Z", "2026-01-32T03:04:05Z", "2026-01-02T24:04:05Z",
        "2026-01-02T03:60:05Z", "2026-01-02T03:04:61Z", "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05ZZ", "2026-01-02T03:04:05+0100", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01", "2026-1-02T03:04:05Z", "+026-01-02T03:04:05Z",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(time_of(bad[i]), -1);
}

/* ---- XML ---- */

static err parse_xml(struct arena *arena, const char *text, const struct xml_element **out)
{
    arena_init(arena, 1024, 4 * 1024 * 1024);
    return xml_parse(arena, view_str(text), out);
}

static void xml_is_read_as_elements_and_text(void **state)
{
    const struct xml_element *root;
    struct arena arena;
    (void)state;

    assert_false(failed(parse_xml(&arena,
        "<?xml version=\"1.0\" encoding='UTF-8'?>\n<a xmlns=\"urn:x\">\n <b> one </b>\n"
        " <c x='1' ><d/></c><e>&lt;&amp;&gt;&quot;&apos;&#65;&#x20AC;</e></a>\n", &root)));
    assert_view(root->name, "a");
    assert_null(root->text.data);
    assert_view(xml_child_text(root, "b"), "one");
    assert_non_null(xml_child(xml_child(root, "c"), "d"));
    assert_view(xml_child(xml_child(root, "c"), "d")->text, "");
    assert_view(xml_child_text(root, "e"), "<&>\"'A\xe2\x82\xac");
    assert_null(xml_child(root, "nothing"));
    assert_null(xml_child_text(NULL, "b").data);
    arena_clear(&arena);
}

static void an_element_given_twice_is_no_answer(void **state)
{
    const struct xml_element *root;
    struct arena arena;
    (void)state;

    assert_false(failed(parse_xml(&arena, "<a><b>1</b><b>2</b></a>", &root)));
    assert_null(xml_child(root, "b"));
    arena_clear(&arena);
}

static void what_no_answer_of_aws_has_is_refused(void **state)
{
    static const char *const bad[] = {
        "", " ", "text", "<a>", "</a>", "<a></b>", "<a><b></a></b>", "<a/><b/>", "<a/>text",
        "text<a/>", "<a>text<b/></a>", "<a><b/>text</a>", "<a><!-- c --></a>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>&x;</a>", "<a>&amp</a>", "<a>&#0;</a>",
        "<a>&#xD800;</a>", "<a>&#x110000;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#12345678;</a>",
        "<a><![CDATA[x]]></a>", "<a><?pi x?></a>", "<?xml version='1.0'?", "<a b></a>", "<a b=c/>",
        "<a b='c/>", "<a b='<'/>", "<a b='c'd='e'/>", "< a/>", "<1/>", "<a>\x01</a>", "<a>\xff</a>",
        "\xef\xbb\xbf<a/>",
    };
    const struct xml_element *root;
    struct arena arena;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_ptr_equal(parse_xml(&arena, bad[i], &root).fault, &xml_syntax);
        assert_null(root);
        arena_clear(&arena);
    }
}

static void xml_without_end_is_bounded(void **state)
{
    static char text[XML_MAX_BYTES + 2];
    const struct xml_element *root;
    struct arena arena;
    (void)state;

    for (size_t i = 0; i < 3 * 17; i += 3)
        memcpy(text + i, "<a>", 3);
    assert_ptr_equal(parse_xml(&arena, text, &root).fault, &fault_too_large);
    arena_clear(&arena);
    memcpy(text, "<r>", 3);
    for (size_t i = 0; i < 2000; i++)
        memcpy(text + 3 + 4 * i, "<a/>", 4);
    assert_ptr_equal(parse_xml(&arena, text, &root).fault, &fault_too_large);
    arena_clear(&arena);
    memset(text, ' ', sizeof text - 1);
    assert_ptr_equal(parse_xml(&arena, text, &root).fault, &fault_too_large);
    arena_clear(&arena);
}

/* ---- Profiles ---- */

static const char config_text[] =
    "# a comment\n"
    "[default]\n"
    "region = from-default\n"
    "[profile default]\r\n"
    "region = eu-west-1   ; where the shop is\r\n"
    "s3 =\n"
    "    max_concurrent_requests = 20\n"
    "    nothing that is a setting\n"
    "output=json\n"
    "[ profile  \"two words\" ] # yes\n"
    "  Role_ARN = arn:aws:iam::1:role/a#b\n"
    "  external_id = a=b ;c\n"
    "[profile empty]\n"
    "[sso-session s]\n"
    "region = elsewhere\n"
    "[unprefixed]\n"
    "region = nowhere\n"
    "[profile two]\nregion = a\nregion = b\n";

static void profiles_are_read_as_the_sdks_read_them(void **state)
{
    struct aws_profile_file f;
    struct arena arena;
    unsigned line;
    (void)state;

    arena_init(&arena, 1024, 1024 * 1024);
    assert_false(
        failed(aws_profile_parse(&arena, view_str(config_text), AWS_PROFILE_CONFIG, &f, &line)));
    assert_view(aws_profile_get(&f, VIEW("default"), "region"), "eu-west-1");
    assert_view(aws_profile_get(&f, VIEW("default"), "output"), "json");
    assert_null(aws_profile_get(&f, VIEW("default"), "max_concurrent_requests").data);
    assert_null(aws_profile_get(&f, VIEW("default"), "s3").data);
    assert_view(aws_profile_get(&f, VIEW("two words"), "role_arn"), "arn:aws:iam::1:role/a#b");
    assert_view(aws_profile_get(&f, VIEW("two words"), "external_id"), "a=b");
    assert_true(aws_profile_exists(&f, VIEW("empty")));
    assert_false(aws_profile_exists(&f, VIEW("s")));
    assert_false(aws_profile_exists(&f, VIEW("unprefixed")));
    assert_view(aws_profile_get(&f, VIEW("two"), "region"), "b");
    arena_clear(&arena);
}

static void the_credentials_file_has_bare_names(void **state)
{
    struct aws_profile_file f;
    struct arena arena;
    unsigned line;
    (void)state;

    arena_init(&arena, 1024, 1024 * 1024);
    assert_false(failed(aws_profile_parse(&arena,
                                          VIEW("[a]\nk = 1\n[profile b]\nk = 2\n[c d]\nk=3"),
                                          AWS_PROFILE_CREDENTIALS, &f, &line)));
    assert_view(aws_profile_get(&f, VIEW("a"), "k"), "1");
    assert_false(aws_profile_exists(&f, VIEW("b")));
    assert_view(aws_profile_get(&f, VIEW("c d"), "k"), "3");
    arena_clear(&arena);
}

static void services_and_sso_sessions_are_sections_of_their_own(void **state)
{
    static const char text[] = "[services a]\nSTS =\n  endpoint_url = https://sts # why\n"
                               "  other = 1\nsso =\n\tendpoint_url = https://sso\n"
                               "plain = x\n  endpoint_url = https://passed-over\n"
                               "[profile a]\nsts =\n  endpoint_url = https://none\n"
                               "[sso-session a]\nsso_region = eu-west-1\n"
                               "[services \"two words\"]\nsts =\n endpoint_url = https://two\n";
    struct aws_profile_file f;
    struct arena arena;
    unsigned line;
    (void)state;

    arena_init(&arena, 1024, 1024 * 1024);
    assert_false(failed(aws_profile_parse(&arena, view_str(text), AWS_PROFILE_CONFIG, &f, &line)));
    assert_view(aws_services_get(&f, VIEW("a"), "sts", "endpoint_url"), "https://sts");
    assert_view(aws_services_get(&f, VIEW("a"), "sts", "other"), "1");
    assert_view(aws_services_get(&f, VIEW("a"), "sso", "endpoint_url"), "https://sso");
    assert_null(aws_services_get(&f, VIEW("a"), "plain", "endpoint_url").data);
    assert_null(aws_services_get(&f, VIEW("b"), "sts", "endpoint_url").data);
    assert_view(aws_services_get(&f, VIEW("two words"), "sts", "endpoint_url"), "https://two");
    assert_null(aws_profile_get(&f, VIEW("a"), "endpoint_url").data);
    assert_null(aws_profile_get(&f, VIEW("a"), "sso_region").data);
    assert_view(aws_sso_session_get(&f, VIEW("a"), "sso_region"), "eu-west-1");
    assert_false(aws_section_exists(&f, AWS_SECTION_SSO_SESSION, VIEW("two words")));
    assert_ptr_equal(aws_profile_parse(&arena, VIEW("[services a]\nsts =\n  nonsense\n"),
                                       AWS_PROFILE_CONFIG, &f, &line).fault, &aws_profile_syntax);
    assert_int_equal(line, 3);
    arena_clear(&arena);
}

static void a_line_that_is_no_setting_is_named(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } bad[] = {{"[a]\nno setting\n", 2}, {"\n\n[a\n", 3}, {"k = v\n", 1}, {"[a] b\n", 1},
               {"[a]\n= v\n", 2}};
    struct aws_profile_file f;
    struct arena arena;
    unsigned line;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        arena_init(&arena, 1024, 1024 * 1024);
        assert_ptr_equal(aws_profile_parse(&arena, view_str(bad[i].text), AWS_PROFILE_CREDENTIALS,
                                           &f, &line).fault, &aws_profile_syntax);
        assert_int_equal(line, bad[i].line);
        arena_clear(&arena);
    }
}

/* ---- Where STS is: the hosts are those that botocore 1.43's rules give ---- */

static void endpoints_are_those_of_the_sdks(void **state)
{
    static const struct {
        struct sts_place place;
        const char *url, *region;
    } rows[] = {
        {{.region = VIEW("eu-west-1")}, "https://sts.eu-west-1.amazonaws.com/", "eu-west-1"},
        {{.region = VIEW("af-south-1")}, "https://sts.af-south-1.amazonaws.com/", "af-south-1"},
        {{.region = VIEW("us-gov-west-1")}, "https://sts.us-gov-west-1.amazonaws.com/",
         "us-gov-west-1"},
        {{.region = VIEW("cn-north-1")}, "https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"},
        {{.region = VIEW("us-iso-east-1")}, "https://sts.us-iso-east-1.c2s.ic.gov/",
         "us-iso-east-1"},
        {{.region = VIEW("us-isob-east-1")}, "https://sts.us-isob-east-1.sc2s.sgov.gov/",
         "us-isob-east-1"},
        {{.region = VIEW("eu-isoe-west-1")}, "https://sts.eu-isoe-west-1.cloud.adc-e.uk/",
         "eu-isoe-west-1"},
        {{.region = VIEW("eu-west-1"), .legacy = true}, "https://sts.amazonaws.com/", "us-east-1"},
        {{.region = VIEW("af-south-1"), .legacy = true}, "https://sts.af-south-1.amazonaws.com/",
         "af-south-1"},
        {{.legacy = true}, "https://sts.amazonaws.com/", "us-east-1"},
        {{.region = {NULL, 0}}, "https://sts.amazonaws.com/", "us-east-1"},
        {{.region = VIEW("us-east-2"), .fips = true}, "https://sts-fips.us-east-2.amazonaws.com/",
         "us-east-2"},
        {{.region = VIEW("us-gov-east-1"), .fips = true},
         "https://sts.us-gov-east-1.amazonaws.com/", "us-gov-east-1"},
        {{.region = VIEW("eu-west-1"), .dual_stack = true}, "https://sts.eu-west-1.api.aws/",
         "eu-west-1"},
        {{.region = VIEW("us-east-1"), .dual_stack = true, .fips = true},
         "https://sts-fips.us-east-1.api.aws/", "us-east-1"},
        {{.region = VIEW("cn-north-1"), .dual_stack = true},
         "https://sts.cn-north-1.api.amazonwebservices.com.cn/", "cn-north-1"},
    };
    struct sts_endpoint endpoint;
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_false(failed(sts_endpoint_make(&rows[i].place, &arena, &endpoint)));
        assert_view(endpoint.url, rows[i].url);
        assert_view(endpoint.signing_region, rows[i].region);
        assert_view(endpoint.path, "/");
        assert_true(view_starts_with(view_from(endpoint.url, 8), endpoint.host));
    }
    arena_clear(&arena);
}

/* lua-resty-aws #45, #113, #123: the region was put into such hosts once more, or the signature
 * named another one. */
static void a_custom_endpoint_is_taken_exactly_as_written(void **state)
{
    static const struct {
        const char *given, *url, *host, *path, *region;
    } rows[] = {
        {"https://sts.us-west-2.amazonaws.com", "https://sts.us-west-2.amazonaws.com/",
         "sts.us-west-2.amazonaws.com", "/", "us-west-2"},
        {"https://sts.af-south-1.amazonaws.com/", "https://sts.af-south-1.amazonaws.com/",
         "sts.af-south-1.amazonaws.com", "/", "af-south-1"},
        {"https://sts.us-gov-west-1.amazonaws.com", "https://sts.us-gov-west-1.amazonaws.com/",
         "sts.us-gov-west-1.amazonaws.com", "/", "us-gov-west-1"},
        {"https://vpce-0a1b-xyz.sts.il-central-1.vpce.amazonaws.com",
         "https://vpce-0a1b-xyz.sts.il-central-1.vpce.amazonaws.com/",
         "vpce-0a1b-xyz.sts.il-central-1.vpce.amazonaws.com", "/", "il-central-1"},
        {"https://sts.amazonaws.com", "https://sts.amazonaws.com/", "sts.amazonaws.com", "/",
         "us-east-1"},
        {"https://sts.eu-west-1.api.aws:443", "https://sts.eu-west-1.api.aws:443/",
         "sts.eu-west-1.api.aws", "/", "eu-west-1"},
        {"http://127.0.0.1:4566", "http://127.0.0.1:4566/", "127.0.0.1:4566", "/", "eu-central-1"},
        {"http://localhost:80/sts", "http://localhost:80/sts", "localhost", "/sts", "eu-central-1"},
        {"https://sts.us-west-2.example.org/a/b", "https://sts.us-west-2.example.org/a/b",
         "sts.us-west-2.example.org", "/a/b", "eu-central-1"},
        {"https://sts.us-west-2.evilamazonaws.com", "https://sts.us-west-2.evilamazonaws.com/",
         "sts.us-west-2.evilamazonaws.com", "/", "eu-central-1"},
    };
    struct sts_endpoint endpoint;
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct sts_place place = {.custom_url = view_str(rows[i].given),
                                        .region = VIEW("eu-central-1"), .fips = true};
        assert_false(failed(sts_endpoint_make(&place, &arena, &endpoint)));
        assert_view(endpoint.url, rows[i].url);
        assert_view(endpoint.host, rows[i].host);
        assert_view(endpoint.path, rows[i].path);
        assert_view(endpoint.signing_region, rows[i].region);
    }
    arena_clear(&arena);
}

static void an_endpoint_that_is_no_url_is_refused(void **state)
{
    static const char *const bad[] = {
        "sts.amazonaws.com", "ftp://sts.amazonaws.com", "https://", "https:///path",
        "https://user@sts.amazonaws.com", "https://sts.amazonaws.com/?a=b",
        "https://sts.amazonaws.com/#f", "https://sts.amazonaws.com/ x", "https://a\nb/",
    };
    struct sts_endpoint endpoint;
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct sts_place place = {.custom_url = view_str(bad[i])};
        assert_ptr_equal(sts_endpoint_make(&place, &arena, &endpoint).fault, &sts_bad_endpoint);
    }
    const struct sts_place odd = {.region = VIEW("evil.example/")};
    assert_ptr_equal(sts_endpoint_make(&odd, &arena, &endpoint).fault, &sts_bad_endpoint);
    arena_clear(&arena);
}

/* ---- Answers ---- */

#define ROLE_ANSWER(credentials)                                                                   \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"   \
    "<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/a/b</Arn></AssumedRoleUser>" credentials    \
    "</AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"             \
    "</AssumeRoleResponse>"
#define KEYS(expiration)                                                                           \
    "<Credentials><AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>s&amp;s</SecretAccessKey>"      \
    "<SessionToken>t</SessionToken><Expiration>" expiration "</Expiration></Credentials>"

static err read_role(const char *text, struct aws_credentials *out)
{
    return sts_read_credentials(view_str(text), STS_ASSUME_ROLE, now_us, "profile", out);
}

static void the_credentials_of_a_role_are_read(void **state)
{
    struct aws_credentials c;
    (void)state;

    assert_false(failed(read_role(ROLE_ANSWER(KEYS("2026-01-02T04:04:05Z")), &c)));
    assert_string_equal(c.access_key_id, "ASIAX");
    assert_view(secret_view(&c.secret_access_key), "s&s");
    assert_view(secret_view(&c.session_token), "t");
    assert_int_equal(c.expiry_us, now_us + INT64_C(3600000000));
    assert_string_equal(c.source, "profile");
    aws_credentials_clear(&c);
}

static void an_incomplete_answer_of_sts_is_refused(void **state)
{
    static const struct {
        const char *text;
        const struct fault *fault;
    } rows[] = {
        {ROLE_ANSWER(""), &sts_malformed},
        {ROLE_ANSWER("<Credentials><AccessKeyId>A</AccessKeyId></Credentials>"), &sts_malformed},
        {ROLE_ANSWER(KEYS("tomorrow")), &sts_malformed},
        {ROLE_ANSWER(KEYS("2026-01-02T04:04:05Z") KEYS("2026-01-02T04:04:05Z")), &sts_malformed},
        {ROLE_ANSWER(KEYS("2026-01-02T03:04:05Z")), &aws_credentials_expired_on_arrival},
        {"<AssumeRoleWithWebIdentityResponse/>", &sts_malformed},
        {"<html><body>captive portal</body></html>", &sts_malformed},
        {"{\"AccessKeyId\":\"A\"}", &xml_syntax},
        {"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASI", &xml_syntax},
        {"", &xml_syntax},
    };
    struct aws_credentials c;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_ptr_equal(read_role(rows[i].text, &c).fault, rows[i].fault);
        assert_string_equal(c.access_key_id, "");
    }
}

static void a_refusal_of_sts_is_described(void **state)
{
    char text[64];
    (void)state;

    sts_describe_error(VIEW("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
                            "<Message>User is\nnot authorized</Message></Error></ErrorResponse>"),
                       text, sizeof text);
    assert_string_equal(text, "AccessDenied: User is not authorized");
    sts_describe_error(VIEW("<html/>"), text, sizeof text);
    assert_string_equal(text, "");
}

/* What goes to a terminal and into the audit holds nothing that steers them. */
static void a_caller_is_named_in_one_word(void **state)
{
    static const struct {
        const char *account, *arn;
        bool good;
    } rows[] = {
        {"123456789012", "arn:aws:sts::123456789012:assumed-role/r/a@b", true},
        {"", "arn:aws:iam::1:root", false},
        {"1", "", false},
        {"1", "arn&#x9b;31m", false},
        {"1", "arn\xc2\x9b", false},
        {"1", "arn&#10;Key: x", false},
        {"1 2", "arn", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sts_caller caller;
        struct arena arena;
        char text[512];
        snprintf(text, sizeof text,
                 "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn><UserId>u"
                 "</UserId><Account>%s</Account></GetCallerIdentityResult>"
                 "</GetCallerIdentityResponse>", rows[i].arn, rows[i].account);
        arena_init(&arena, 1024, 65536);
        err e = sts_read_caller(view_str(text), &arena, &caller);
        assert_ptr_equal(e.fault, rows[i].good ? NULL : &sts_malformed);
        arena_clear(&arena);
    }
}

static void metadata_is_read_strictly(void **state)
{
    static const struct {
        const char *text;
        const struct fault *fault;
    } rows[] = {
        {"", &metadata_malformed},
        {"[]", &metadata_malformed},
        {"{}", &metadata_malformed},
        {"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\"}", &metadata_malformed},
        {"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"\","
         "\"Expiration\":\"2026-01-02T04:04:05Z\"}", &metadata_malformed},
        {"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
         "\"Expiration\":\"2026-01-02T03:04:05Z\"}", &aws_credentials_expired_on_arrival},
        {"{\"AccessKeyId\":\"A\",\"AccessKeyId\":\"B\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
         "\"Expiration\":\"2026-01-02T04:04:05Z\"}", &metadata_malformed},
        {"{\"Code\":\"AssumeRoleUnauthorizedAccess\"}", &metadata_no_success},
        {"{\"AccessKeyId\":\"A B\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
         "\"Expiration\":\"2026-01-02T04:04:05Z\"}", &aws_credentials_malformed},
        {"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S", &metadata_malformed},
    };
    struct aws_credentials c;
    char detail[64];
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_ptr_equal(metadata_read_credentials(view_str(rows[i].text), now_us, "container", &c,
                                                   detail, sizeof detail).fault, rows[i].fault);
    assert_false(failed(metadata_read_credentials(
        VIEW("{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\\/\","
             "\"Token\":\"T\",\"Expiration\":\"2026-01-02T04:04:05Z\",\"More\":1}"),
        now_us, "container", &c, detail, sizeof detail)));
    assert_view(secret_view(&c.secret_access_key), "S/");
    aws_credentials_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_to_the_microsecond),
        cmocka_unit_test(texts_that_are_no_times_are_refused),
        cmocka_unit_test(xml_is_read_as_elements_and_text),
        cmocka_unit_test(an_element_given_twice_is_no_answer),
        cmocka_unit_test(what_no_answer_of_aws_has_is_refused),
        cmocka_unit_test(xml_without_end_is_bounded),
        cmocka_unit_test(profiles_are_read_as_the_sdks_read_them),
        cmocka_unit_test(the_credentials_file_has_bare_names),
        cmocka_unit_test(services_and_sso_sessions_are_sections_of_their_own),
        cmocka_unit_test(a_line_that_is_no_setting_is_named),
        cmocka_unit_test(endpoints_are_those_of_the_sdks),
        cmocka_unit_test(a_custom_endpoint_is_taken_exactly_as_written),
        cmocka_unit_test(an_endpoint_that_is_no_url_is_refused),
        cmocka_unit_test(the_credentials_of_a_role_are_read),
        cmocka_unit_test(an_incomplete_answer_of_sts_is_refused),
        cmocka_unit_test(a_refusal_of_sts_is_described),
        cmocka_unit_test(a_caller_is_named_in_one_word),
        cmocka_unit_test(metadata_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
