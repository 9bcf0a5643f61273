/* Secrets Manager: where it is, what is sent, how answers and errors are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/secrets_manager.h"
#include "base/log.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_view(v, text) assert_true(view_is((v), (text)))
#define assert_fault(e, f) assert_ptr_equal((e).fault, &(f))

static const int64_t now_us = INT64_C(1767323045000000); /* 2026-01-02T03:04:05Z */

/* ---- Where ---- */

static err make(const struct sm_place *place, struct arena *arena, struct sm_endpoint *out)
{
    arena_init(arena, 1024, 64 * 1024);
    return sm_endpoint_make(place, arena, out);
}

/* botocore 1.43's resolution of the service's endpoint rules, each row. */
static void endpoints_are_those_of_the_sdks(void **state)
{
    static const struct {
        const char *region;
        bool fips, dual_stack;
        const char *url;
    } rows[] = {
        {"eu-west-1", false, false, "https://secretsmanager.eu-west-1.amazonaws.com/"},
        {"eu-west-1", false, true, "https://secretsmanager.eu-west-1.amazonaws.com/"},
        {"eu-west-1", true, false, "https://secretsmanager-fips.eu-west-1.amazonaws.com/"},
        {"eu-west-1", true, true, "https://secretsmanager-fips.eu-west-1.amazonaws.com/"},
        {"cn-north-1", false, false, "https://secretsmanager.cn-north-1.amazonaws.com.cn/"},
        {"cn-north-1", false, true, "https://secretsmanager.cn-north-1.amazonaws.com.cn/"},
        {"cn-north-1", true, false, "https://secretsmanager-fips.cn-north-1.amazonaws.com.cn/"},
        {"cn-north-1", true, true,
         "https://secretsmanager-fips.cn-north-1.api.amazonwebservices.com.cn/"},
        {"us-gov-west-1", false, false, "https://secretsmanager.us-gov-west-1.amazonaws.com/"},
        {"us-gov-west-1", true, false, "https://secretsmanager-fips.us-gov-west-1.amazonaws.com/"},
        {"us-gov-west-1", true, true, "https://secretsmanager-fips.us-gov-west-1.amazonaws.com/"},
        {"us-iso-east-1", false, false, "https://secretsmanager.us-iso-east-1.c2s.ic.gov/"},
        {"us-iso-east-1", false, true, "https://secretsmanager.us-iso-east-1.api.aws.ic.gov/"},
        {"us-isob-east-1", true, false,
         "https://secretsmanager-fips.us-isob-east-1.sc2s.sgov.gov/"},
        {"eu-isoe-west-1", false, false, "https://secretsmanager.eu-isoe-west-1.cloud.adc-e.uk/"},
        {"us-isof-south-1", false, false, "https://secretsmanager.us-isof-south-1.csp.hci.ic.gov/"},
        {"eusc-de-east-1", false, false, "https://secretsmanager.eusc-de-east-1.amazonaws.eu/"},
        {"eusc-de-east-1", true, true,
         "https://secretsmanager-fips.eusc-de-east-1.api.amazonwebservices.eu/"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct sm_place place = {.region = view_str(rows[i].region), .fips = rows[i].fips,
                                       .dual_stack = rows[i].dual_stack};
        struct sm_endpoint e;
        struct arena arena;
        assert_false(failed(make(&place, &arena, &e)));
        assert_view(e.url, rows[i].url);
        assert_view(e.signing_region, rows[i].region);
        assert_true(e.host.len + strlen("https:///") == e.url.len);
        arena_clear(&arena);
    }
}

static void a_custom_endpoint_is_taken_as_it_is_written(void **state)
{
    static const struct {
        const char *custom, *region, *url, *host, *path, *signing;
    } rows[] = {
        {"http://127.0.0.1:4566", "eu-west-1", "http://127.0.0.1:4566/", "127.0.0.1:4566", "/",
         "eu-west-1"},
        {"http://localhost:4566/x/", "", "http://localhost:4566/x/", "localhost:4566", "/x/",
         "us-east-1"},
        {"https://vpce-0a-1b.secretsmanager.il-central-1.vpce.amazonaws.com", "eu-west-1",
         "https://vpce-0a-1b.secretsmanager.il-central-1.vpce.amazonaws.com/",
         "vpce-0a-1b.secretsmanager.il-central-1.vpce.amazonaws.com", "/", "il-central-1"},
        {"https://secretsmanager-fips.us-east-2.amazonaws.com:443/", "eu-west-1",
         "https://secretsmanager-fips.us-east-2.amazonaws.com:443/",
         "secretsmanager-fips.us-east-2.amazonaws.com", "/", "us-east-2"},
        {"https://secretsmanager.us-east-2.example.com", "eu-west-1",
         "https://secretsmanager.us-east-2.example.com/", "secretsmanager.us-east-2.example.com",
         "/", "eu-west-1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct sm_place place = {.custom_url = view_str(rows[i].custom),
                                       .region = view_str(rows[i].region),
                                       .fips = true,
                                       .dual_stack = true};
        struct sm_endpoint e;
        struct arena arena;
        assert_false(failed(make(&place, &arena, &e)));
        assert_view(e.url, rows[i].url);
        assert_view(e.host, rows[i].host);
        assert_view(e.path, rows[i].path);
        assert_view(e.signing_region, rows[i].signing);
        arena_clear(&arena);
    }
}

static void places_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"ftp://x/", "https://", "https:///x", "https://u@h/",
                                      "https://h/?a", "https://h/#a", "https://h /", "h:443"};
    struct sm_endpoint e;
    struct arena arena;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct sm_place place = {.custom_url = view_str(bad[i])};
        assert_fault(make(&place, &arena, &e), sm_bad_endpoint);
        arena_clear(&arena);
    }
    const struct sm_place nowhere = {.fips = false}, odd = {.region = VIEW("evil.example.com/")};
    assert_fault(make(&nowhere, &arena, &e), sm_no_region);
    arena_clear(&arena);
    assert_fault(make(&odd, &arena, &e), sm_bad_endpoint);
    arena_clear(&arena);
}

/* ---- What is asked ---- */

static void bodies_hold_what_the_action_takes(void **state)
{
    static const struct view stages[] = {{"AWSPENDING", 10}, {"MINE", 4}};
    static const struct {
        struct sm_call call;
        const char *body;
    } rows[] = {
        {{.action = SM_GET_SECRET_VALUE, .secret_id = {"prod/shop", 9}},
         "{\"SecretId\":\"prod/shop\"}"},
        {{.action = SM_GET_SECRET_VALUE, .secret_id = {"a\"b", 3}, .version_id = {"v1", 2},
          .version_stage = {"AWSPENDING", 10}, .secret_string = {"never", 5}},
         "{\"SecretId\":\"a\\\"b\",\"VersionId\":\"v1\",\"VersionStage\":\"AWSPENDING\"}"},
        {{.action = SM_DESCRIBE_SECRET, .secret_id = {"s", 1}, .version_id = {"v", 1}},
         "{\"SecretId\":\"s\"}"},
        {{.action = SM_PUT_SECRET_VALUE, .secret_id = {"s", 1}, .client_request_token = {"t", 1},
          .secret_string = {"{\"p\":\"x\"}", 9}, .stages = stages, .stage_count = 2},
         "{\"SecretId\":\"s\",\"ClientRequestToken\":\"t\","
         "\"SecretString\":\"{\\\"p\\\":\\\"x\\\"}\","
         "\"VersionStages\":[\"AWSPENDING\",\"MINE\"]}"},
        {{.action = SM_UPDATE_SECRET_VERSION_STAGE, .secret_id = {"s", 1},
          .version_stage = {"AWSCURRENT", 10}, .move_to_version = {"n", 1},
          .remove_from_version = {"o", 1}},
         "{\"SecretId\":\"s\",\"VersionStage\":\"AWSCURRENT\",\"RemoveFromVersionId\":\"o\","
         "\"MoveToVersionId\":\"n\"}"},
        {{.action = SM_GET_RANDOM_PASSWORD, .secret_id = {"s", 1}, .password_length = 40,
          .exclude_characters = {":/@\"", 4}, .exclude_punctuation = true},
         "{\"PasswordLength\":40,\"ExcludeCharacters\":\":/@\\\"\",\"ExcludePunctuation\":true}"},
        {{.action = SM_GET_RANDOM_PASSWORD}, "{}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf b;
        buf_init(&b, 4096);
        sm_add_body(&b, &rows[i].call);
        assert_view(buf_view(&b), rows[i].body);
        buf_clear(&b);
    }
}

/* ---- The exchange ---- */

static struct {
    struct fetcher base;
    char url[256], headers[4096], body[4096];
    fetch_done *done;
    void *arg;
} net;

static void hold(struct fetcher *f, const struct fetch_request *r, fetch_done *done, void *arg)
{
    size_t n = 0;

    (void)f;
    snprintf(net.url, sizeof net.url, "%.*s", VIEW_ARG(r->url));
    snprintf(net.body, sizeof net.body, "%.*s", VIEW_ARG(r->body));
    for (size_t i = 0; i < r->header_count; i++)
        n += (size_t)snprintf(net.headers + n, sizeof net.headers - n, "%.*s: %.*s\n",
                              VIEW_ARG(r->headers[i].name), VIEW_ARG(r->headers[i].value));
    net.done = done;
    net.arg = arg;
}

static struct {
    unsigned calls;
    err e;
    char detail[SM_DETAIL_MAX];
    char text[64], version[80];
    struct sm_exchange *slot;
} heard;

static void hear(void *arg, err e, const char *detail, const struct sm_answer *answer)
{
    assert_ptr_equal(arg, &heard);
    assert_null(heard.slot);
    heard.calls++;
    heard.e = e;
    snprintf(heard.detail, sizeof heard.detail, "%s", detail);
    assert_true((answer == NULL) == failed(e));
    if (answer != NULL) {
        snprintf(heard.text, sizeof heard.text, "%.*s", VIEW_ARG(answer->string));
        snprintf(heard.version, sizeof heard.version, "%.*s", VIEW_ARG(answer->version.id));
    }
}

static void send(const struct sm_call *call, struct view session_token)
{
    const struct sm_endpoint endpoint = {
        .url = VIEW("https://secretsmanager.eu-west-1.amazonaws.com/"),
        .host = VIEW("secretsmanager.eu-west-1.amazonaws.com"),
        .path = VIEW("/"),
        .signing_region = VIEW("eu-west-1"),
    };
    struct aws_credentials c;

    memset(&heard, 0, sizeof heard);
    net.base.start = hold;
    assert_false(failed(aws_credentials_init(&c, VIEW("AKIDEXAMPLE"),
                                             VIEW("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                             session_token, 0, "test")));
    const struct sm_options options = {&net.base, &endpoint, &c, {NULL, 0}, now_us};
    assert_false(failed(sm_start(&options, call, hear, &heard, &heard.slot)));
    assert_non_null(heard.slot);
    aws_credentials_clear(&c);
}

static void answer(int status, const char *body)
{
    char *copy = strdup(body); /* an answer is written to: it is wiped */

    assert_non_null(copy);
    const struct fetch_response response = {status, view_str(copy), -1};
    net.done(net.arg, OK, NULL, &response);
    free(copy);
}

static const struct sm_call get_shop = {.action = SM_GET_SECRET_VALUE,
                                        .secret_id = {"prod/shop", 9},
                                        .version_stage = {"AWSCURRENT", 10}};

/* The signatures are botocore's (SigV4Auth of the same request). */
static void requests_are_signed_as_botocore_signs(void **state)
{
    (void)state;
    send(&get_shop, VIEW(""));
    assert_string_equal(net.url, "https://secretsmanager.eu-west-1.amazonaws.com/");
    assert_string_equal(net.body, "{\"SecretId\":\"prod/shop\",\"VersionStage\":\"AWSCURRENT\"}");
    assert_non_null(strstr(net.headers, "content-type: application/x-amz-json-1.1\n"));
    assert_non_null(strstr(net.headers, "x-amz-target: secretsmanager.GetSecretValue\n"));
    assert_non_null(strstr(net.headers, "x-amz-date: 20260102T030405Z\n"));
    assert_non_null(strstr(net.headers,
        "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/secretsmanager/"
        "aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
        "3ce01eff6c42696d36eb5c8da15411e49bce77f8d99bdbc1505545546aec54aa\n"));
    sm_abandon(heard.slot);
    answer(200, "{}");
    assert_int_equal(heard.calls, 0);
    send(&get_shop, VIEW("session-token"));
    assert_non_null(strstr(net.headers, "x-amz-security-token: session-token\n"));
    assert_non_null(strstr(net.headers,
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
        "0db090d3e102543a73291fd10a68686b71d52fb37cb1a9bd157cee6ed72b4d79\n"));
    sm_abandon(heard.slot);
    answer(500, "");
    assert_int_equal(heard.calls, 0);
}

#define VALUE_HEAD                                                                                 \
    "{\"ARN\":\"arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/shop-AbCdEf\","          \
    "\"Name\":\"prod/shop\",\"VersionId\":\"11111111-2222-3333-4444-555555555555\","

static void a_value_comes_back(void **state)
{
    (void)state;
    send(&get_shop, VIEW(""));
    answer(200, VALUE_HEAD "\"SecretString\":\"p\\u00e4ss\",\"VersionStages\":[\"AWSCURRENT\"],"
                           "\"CreatedDate\":1.7E9}");
    assert_int_equal(heard.calls, 1);
    assert_false(failed(heard.e));
    assert_string_equal(heard.text, "p\xc3\xa4ss");
    assert_string_equal(heard.version, "11111111-2222-3333-4444-555555555555");
}

static void failures_come_back_with_their_reason(void **state)
{
    (void)state;
    send(&get_shop, VIEW(""));
    answer(400, "{\"__type\":\"ResourceNotFoundException\",\"Message\":\"Secrets Manager can't "
                "find the specified secret.\"}");
    assert_fault(heard.e, sm_not_found);
    assert_string_equal(heard.detail, "ResourceNotFoundException: Secrets Manager can't find the "
                                      "specified secret.");
    send(&get_shop, VIEW(""));
    net.done(net.arg, (err){&fault_too_large}, "curl says so", NULL);
    assert_fault(heard.e, fault_too_large);
    assert_string_equal(heard.detail, "curl says so");
}

/* The API's message may repeat the value that it refuses. */
static void a_refused_value_is_not_repeated(void **state)
{
    const struct sm_call put = {.action = SM_PUT_SECRET_VALUE, .secret_id = VIEW("s"),
                                .secret_string = VIEW("hunter2")};
    (void)state;
    send(&put, VIEW(""));
    answer(400, "{\"__type\":\"ValidationException\",\"message\":\"Value 'hunter2' is bad\"}");
    assert_fault(heard.e, sm_invalid_parameter);
    assert_string_equal(heard.detail, "ValidationException");
}

/* ---- Answers ---- */

static err read_answer(enum sm_action action, const char *body, struct arena *arena,
                       struct sm_answer *out)
{
    arena_init(arena, 1024, 1024 * 1024);
    return sm_read_answer(action, view_str(body), arena, out);
}

static void binary_values_are_decoded(void **state)
{
    char body[] = VALUE_HEAD "\"SecretBinary\":\"AAEC/w==\"}";
    struct sm_answer a;
    struct arena arena;
    (void)state;
    assert_false(failed(read_answer(SM_GET_SECRET_VALUE, body, &arena, &a)));
    assert_false(a.has_string);
    assert_int_equal(a.binary.len, 4);
    assert_memory_equal(a.binary.data, "\x00\x01\x02\xff", 4);
    sm_answer_wipe(&a);
    assert_memory_equal(a.binary.data, "\0\0\0\0", 4);
    arena_clear(&arena);
}

static void descriptions_tell_versions_and_owners(void **state)
{
    struct sm_answer a;
    struct arena arena;
    (void)state;
    assert_false(failed(read_answer(
        SM_DESCRIBE_SECRET,
        "{\"ARN\":\"arn:x\",\"Name\":\"n\",\"RotationEnabled\":true,\"RotationRules\":"
        "{\"AutomaticallyAfterDays\":30},\"RotationLambdaARN\":\"arn:l\",\"OwningService\":\"rds\","
        "\"LastRotatedDate\":1767323045.5,\"LastChangedDate\":1767323046,\"DeletedDate\":7,"
        "\"VersionIdsToStages\":{\"a\":[\"AWSCURRENT\",\"X\"],\"b\":[\"AWSPREVIOUS\"],\"c\":[]},"
        "\"Unknown\":[{}]}",
        &arena, &a)));
    assert_view(a.arn, "arn:x");
    assert_true(a.rotation_enabled);
    assert_int_equal(a.rotate_after_days, 30);
    assert_view(a.rotation_lambda, "arn:l");
    assert_view(a.owning_service, "rds");
    assert_int_equal(a.last_rotated_s, 1767323045);
    assert_int_equal(a.last_changed_s, 1767323046);
    assert_int_equal(a.deleted_s, 7);
    assert_int_equal(a.version_count, 3);
    assert_view(a.versions[0].id, "a");
    assert_true(sm_version_has(&a.versions[0], "AWSCURRENT"));
    assert_true(sm_version_has(&a.versions[0], "X"));
    assert_false(sm_version_has(&a.versions[1], "AWSCURRENT"));
    assert_int_equal(a.versions[2].stage_count, 0);
    arena_clear(&arena);
}

static void the_other_answers_are_read(void **state)
{
    struct sm_answer a;
    struct arena arena;
    (void)state;
    assert_false(failed(read_answer(SM_PUT_SECRET_VALUE,
                                    VALUE_HEAD "\"VersionStages\":[\"AWSPENDING\"]}", &arena, &a)));
    assert_true(sm_version_has(&a.version, "AWSPENDING"));
    arena_clear(&arena);
    assert_false(failed(read_answer(SM_UPDATE_SECRET_VERSION_STAGE,
                                    "{\"ARN\":\"arn:x\",\"Name\":\"n\"}", &arena, &a)));
    arena_clear(&arena);
    assert_false(failed(read_answer(SM_GET_RANDOM_PASSWORD, "{\"RandomPassword\":\"q w\"}", &arena,
                                    &a)));
    assert_view(a.random_password, "q w");
    arena_clear(&arena);
}

static void answers_without_what_they_must_hold_are_refused(void **state)
{
    static const struct {
        enum sm_action action;
        const char *body;
    } rows[] = {
        {SM_GET_SECRET_VALUE, ""},
        {SM_GET_SECRET_VALUE, "[]"},
        {SM_GET_SECRET_VALUE, "{}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"VersionStages\":[]}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":1}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":null}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":\"a\",\"SecretString\":\"b\"}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":\"a\",\"SecretBinary\":\"YQ==\"}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretBinary\":\"YQ\"}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":\"a\",\"VersionStages\":[1]}"},
        {SM_GET_SECRET_VALUE, "{\"ARN\":\"a\",\"Name\":\"n\",\"SecretString\":\"a\"}"},
        {SM_GET_SECRET_VALUE,
         "{\"ARN\":\"a\",\"Name\":\"n\",\"VersionId\":\"\",\"SecretString\":\"a\"}"},
        {SM_GET_SECRET_VALUE, VALUE_HEAD "\"SecretString\":\"a\"} "  "x"},
        {SM_DESCRIBE_SECRET, "{\"ARN\":\"a\",\"Name\":\"n\",\"VersionIdsToStages\":[]}"},
        {SM_DESCRIBE_SECRET, "{\"ARN\":\"a\",\"Name\":\"n\",\"VersionIdsToStages\":{\"v\":\"x\"}}"},
        {SM_DESCRIBE_SECRET, "{\"ARN\":\"a\",\"Name\":\"n\",\"DeletedDate\":\"x\"}"},
        {SM_DESCRIBE_SECRET, "{\"Name\":\"n\"}"},
        {SM_PUT_SECRET_VALUE, "{\"ARN\":\"a\",\"Name\":\"n\"}"},
        {SM_GET_RANDOM_PASSWORD, "{}"},
        {SM_GET_RANDOM_PASSWORD, "{\"RandomPassword\":\"\"}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sm_answer a;
        struct arena arena;
        assert_fault(read_answer(rows[i].action, rows[i].body, &arena, &a), sm_malformed);
        arena_clear(&arena);
    }
}

static void errors_are_known_by_their_names(void **state)
{
    static const struct {
        int status;
        const char *body;
        const struct fault *fault;
        bool transient;
        const char *detail;
    } rows[] = {
        {400, "{\"__type\":\"AccessDeniedException\",\"Message\":\"User: x is not\\nauthorized\"}",
         &sm_access_denied, false, "AccessDeniedException: User: x is not authorized"},
        {400, "{\"__type\":\"com.amazonaws.secretsmanager#DecryptionFailure\"}",
         &sm_decryption_failure, false, "DecryptionFailure"},
        {400, "{\"__type\":\"a.b#InvalidRequestException:http://x/\",\"message\":\"deleted\"}",
         &sm_invalid_request, false, "InvalidRequestException: deleted"},
        {400, "{\"__type\":\"InvalidParameterException\"}", &sm_invalid_parameter, false,
         "InvalidParameterException"},
        {400, "{\"__type\":\"ResourceExistsException\"}", &sm_exists, false,
         "ResourceExistsException"},
        {400, "{\"__type\":\"LimitExceededException\"}", &sm_limit, false,
         "LimitExceededException"},
        {400, "{\"__type\":\"EncryptionFailure\"}", &sm_encryption_failure, false,
         "EncryptionFailure"},
        {400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}", &sm_throttled,
         true, "ThrottlingException: Rate exceeded"},
        {400, "{\"__type\":\"ExpiredTokenException\"}", &sm_bad_credentials, true,
         "ExpiredTokenException"},
        {500, "{\"__type\":\"InternalServiceError\"}", &sm_unavailable, true,
         "InternalServiceError"},
        {400, "{\"__type\":\"NewException\"}", &sm_refused, false, "NewException"},
        {503, "<html>", &sm_unavailable, true, "status 503"},
        {429, "", &sm_throttled, true, "status 429"},
        {403, "{\"Message\":\"no name\"}", &sm_refused, false, "status 403"},
    };
    char detail[SM_DETAIL_MAX];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        err e = sm_read_error(rows[i].status, view_str(rows[i].body), detail, sizeof detail);
        assert_ptr_equal(e.fault, rows[i].fault);
        assert_string_equal(detail, rows[i].detail);
        assert_int_equal(sm_is_transient(e), rows[i].transient);
    }
    assert_true(sm_is_transient((err){&sm_malformed}));
    assert_false(sm_is_transient((err){&sm_no_region}));
    assert_false(sm_is_transient(OK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_those_of_the_sdks),
        cmocka_unit_test(a_custom_endpoint_is_taken_as_it_is_written),
        cmocka_unit_test(places_that_are_none_are_refused),
        cmocka_unit_test(bodies_hold_what_the_action_takes),
        cmocka_unit_test(requests_are_signed_as_botocore_signs),
        cmocka_unit_test(a_value_comes_back),
        cmocka_unit_test(failures_come_back_with_their_reason),
        cmocka_unit_test(a_refused_value_is_not_repeated),
        cmocka_unit_test(binary_values_are_decoded),
        cmocka_unit_test(descriptions_tell_versions_and_owners),
        cmocka_unit_test(the_other_answers_are_read),
        cmocka_unit_test(answers_without_what_they_must_hold_are_refused),
        cmocka_unit_test(errors_are_known_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
