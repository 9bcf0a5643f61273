/* The order of the sources, and the schedule: ahead of expiry, after
 * failures, when files change. */
#include "chain_bed.h"

/* ---- The order ---- */

/* With everything configured, and the first taken away one after the other. */
static void the_first_source_that_is_configured_is_the_one(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set_web_identity(b);
    bed_set_files(b);
    bed_set("AWS_REGION", "eu-west-1");
    bed_file(b, "credentials",
             "[default]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n");
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abc?id=1&x=%2F");

    bed_begin(b);
    bed_serves(b, "environment", "AKIAENVIRONMENT");
    assert_int_equal(chain_plan(b->chain)->verdicts[AWS_SOURCE_PROFILE].kind, AWS_VERDICT_LATER);
    bed_stop(b);

    bed_set("AWS_ACCESS_KEY_ID", "");
    bed_set("AWS_SECRET_ACCESS_KEY", "");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://sts.eu-west-1.amazonaws.com/");
    assert_contains(b->net.body, "Action=AssumeRoleWithWebIdentity&");
    bed_stop(b);

    bed_set("AWS_WEB_IDENTITY_TOKEN_FILE", "");
    bed_begin(b);
    bed_serves(b, "profile", "AKIAPROFILE");
    bed_stop(b);

    bed_file(b, "credentials", "[default]\n");
    bed_begin(b);
    /* lua-resty-aws drops the query. */
    assert_string_equal(b->net.url, "http://169.254.170.2/v2/credentials/abc?id=1&x=%2F");
    bed_stop(b);

    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "");
    bed_begin(b);
    assert_string_equal(b->net.url, "http://169.254.169.254/latest/api/token");
    assert_string_equal(chain_plan(b->chain)->verdicts[AWS_SOURCE_PROFILE].reason,
                        "profile default has no credentials");
    bed_stop(b);

    bed_set("AWS_EC2_METADATA_DISABLED", "true");
    bed_begin(b);
    bed_refuses(b, &aws_no_source);
    assert_int_equal(bed_status(b).state, CHAIN_FAILED);
}

static void a_source_that_fails_is_not_passed_over(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    bed_set("AWS_REGION", "eu-west-1");
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
    bed_begin(b);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(b->net.url, "https://sts.eu-west-1.amazonaws.com/");
        bed_answer(b, 500, "");
        bed_refuses(b, &retrieval_status);
        bed_pass(b, 61);
        bed_tick(b);
    }
}

/* ---- The environment ---- */

static void half_of_a_key_is_named(void **state)
{
    struct bed *b = *state;

    bed_set("AWS_ACCESS_KEY_ID", "AKIA");
    bed_begin(b);
    bed_refuses(b, &aws_credentials_secret_missing);
    assert_int_equal(b->net.started, 0);
}

static void the_environments_end_is_named_and_nothing_else_is_asked(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("AWS_SESSION_TOKEN", "token");
    bed_set("AWS_CREDENTIAL_EXPIRATION", bed_time(b, 3600));
    bed_begin(b);
    bed_serves(b, "environment", "AKIAENVIRONMENT");
    assert_int_equal(bed_status(b).expiry_us, b->wall_us + INT64_C(3600000000));
    bed_pass(b, 3599);
    bed_tick(b);
    assert_int_equal(bed_status(b).state, CHAIN_READY);
    bed_pass(b, 1);
    bed_refuses(b, &aws_environment_expired);
    bed_tick(b);
    assert_int_equal(bed_status(b).state, CHAIN_FAILED);
    assert_ptr_equal(bed_status(b).last_error.fault, &aws_environment_expired);
    bed_pass(b, 7200);
    bed_tick(b);
    assert_int_equal(bed_status(b).failures, 1);
    assert_int_equal(b->net.started, 0);
}

static void an_environment_that_has_ended_already_is_refused(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("AWS_SESSION_TOKEN", "token");
    bed_set("AWS_CREDENTIAL_EXPIRATION", bed_time(b, 0));
    bed_begin(b);
    bed_refuses(b, &aws_environment_expired);
    bed_stop(b);
    bed_set("AWS_CREDENTIAL_EXPIRATION", "soon");
    bed_begin(b);
    bed_refuses(b, &aws_environment_expiration_bad);
}

/* ---- Refresh ---- */

static void begin_container(struct bed *b, const char *id, int64_t seconds)
{
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_begin(b);
    bed_answer(b, 200, bed_json(b, id, seconds));
    bed_serves(b, "container", id);
}

static void credentials_are_refreshed_ahead_of_their_end(void **state)
{
    struct bed *b = *state;

    begin_container(b, "ASIAONE", 6 * 3600);
    /* At most 20 minutes and a tenth ahead. */
    bed_pass(b, 6 * 3600 - 1321);
    bed_tick(b);
    assert_int_equal(b->net.started, 1);
    bed_pass(b, 122);
    bed_tick(b);
    assert_int_equal(b->net.started, 2);
    bed_tick(b);
    assert_int_equal(b->net.started, 2); /* one flight */
    bed_serves(b, "container", "ASIAONE");
    bed_answer(b, 200, bed_json(b, "ASIATWO", 900));
    /* A third, and a tenth of that. */
    bed_pass(b, 569);
    bed_tick(b);
    assert_int_equal(b->net.started, 2);
    bed_pass(b, 32);
    bed_tick(b);
    assert_int_equal(b->net.started, 3);
}

static void while_a_refresh_fails_what_is_valid_serves_and_the_status_says_so(void **state)
{
    struct bed *b = *state;

    begin_container(b, "ASIAONE", 900);
    bed_pass(b, 601);
    bed_tick(b);
    bed_answer(b, 503, "{\"code\":\"Busy\",\"message\":\"later\"}");
    assert_int_equal(bed_status(b).state, CHAIN_STALE);
    assert_contains(bed_status(b).detail, "status 503 Busy: later");
    bed_serves(b, "container", "ASIAONE");
    for (unsigned i = 2; i < 200 && bed_status(b).state == CHAIN_STALE; i++) {
        bed_pass(b, 61);
        bed_tick(b);
        bed_answer(b, 429, "");
        assert_int_equal(bed_status(b).failures, i);
    }
    assert_int_equal(bed_status(b).state, CHAIN_FAILED);
    bed_refuses(b, &retrieval_status);
    bed_pass(b, 61);
    bed_tick(b);
    bed_answer(b, 200, bed_json(b, "ASIATWO", 900));
    bed_serves(b, "container", "ASIATWO");
    assert_int_equal(bed_status(b).state, CHAIN_READY);
    assert_int_equal(bed_status(b).failures, 0);
}

static void attempts_after_failures_come_ever_later_but_come(void **state)
{
    struct bed *b = *state;
    int64_t bound_ms = CHAIN_BACKOFF_FIRST_MS;

    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_begin(b);
    for (unsigned i = 1; i <= 12; i++) {
        bed_fail(b, &fault_out_of_memory, NULL);
        int64_t now_ms = b->monotonic_ns / 1000000;
        bed_tick(b);
        assert_true(b->next_ms > now_ms && b->next_ms <= now_ms + CHAIN_LOOK_MS);
        assert_int_equal(b->net.started, i); /* never at once */
        b->monotonic_ns += bound_ms * 1000000 + 1000000;
        bed_tick(b);
        assert_int_equal(b->net.started, i + 1);
        bound_ms = bound_ms * 2 < CHAIN_BACKOFF_MAX_MS ? bound_ms * 2 : CHAIN_BACKOFF_MAX_MS;
    }
}

static void what_has_ended_on_arrival_is_not_taken(void **state)
{
    struct bed *b = *state;

    begin_container(b, "ASIAONE", 900);
    bed_pass(b, 601);
    bed_tick(b);
    bed_answer(b, 200, bed_json(b, "ASIAOLD", 0));
    bed_serves(b, "container", "ASIAONE");
    assert_ptr_equal(bed_status(b).last_error.fault, &aws_credentials_expired_on_arrival);
}

static void a_clock_that_was_set_forward_brings_a_refresh(void **state)
{
    struct bed *b = *state;

    begin_container(b, "ASIAONE", 3600);
    b->wall_us += INT64_C(7200000000);
    b->monotonic_ns += INT64_C(2000000000);
    bed_tick(b);
    assert_int_equal(b->net.started, 2);
    bed_refuses(b, &aws_credentials_expired);
}

/* AWS goes by its own clock: what ends in an hour ends in an hour whatever ours says. */
static void a_clock_that_was_set_back_delays_no_refresh(void **state)
{
    struct bed *b = *state;

    begin_container(b, "ASIAONE", 3600);
    unsigned before = b->net.started;
    bed_pass(b, 1000);
    b->wall_us -= INT64_C(1000000) * 86400;
    bed_tick(b);
    assert_int_equal(b->net.started, before);
    bed_pass(b, 1401);
    bed_tick(b);
    assert_int_equal(b->net.started, before + 1);
}

static void a_file_rewritten_during_an_attempt_waits_for_its_end(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "credentials",
             "[default]\nrole_arn = " BED_ROLE "a\nsource_profile = default\n"
             "aws_access_key_id = AKIAOLD\naws_secret_access_key = s\n");
    bed_begin(b);
    bed_file(b, "credentials",
             "[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = s\n");
    bed_pass(b, 2);
    bed_tick(b);
    assert_int_equal(b->net.started, 1);
    assert_int_equal(bed_status(b).state, CHAIN_WAITING);
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAROLE", 3600));
    bed_serves(b, "profile+assume_role", "ASIAROLE");
    bed_tick(b);
    bed_serves(b, "profile", "AKIANEW");
}

/* Once a source has served, another that turns up does not take its place. */
static void the_source_stays(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    begin_container(b, "ASIAONE", 900);
    bed_file(b, "credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = s\n");
    bed_pass(b, 601);
    bed_tick(b);
    assert_string_equal(b->net.url, "http://169.254.170.2/c");
    bed_answer(b, 200, bed_json(b, "ASIATWO", 900));
    bed_serves(b, "container", "ASIATWO");
}

static void bad_answers_of_a_container_are_refused(void **state)
{
    static const struct {
        int status;
        const char *body;
        const struct fault *fault;
    } rows[] = {
        {200, "", &metadata_malformed},
        {200, "<html/>", &metadata_malformed},
        {200, "{\"AccessKeyId\":\"ASI", &metadata_malformed},
        {204, "", &retrieval_status},
        {400, "{\"code\":\"InvalidRequest\"}", &retrieval_status},
        {500, "secret-in-an-error-page", &retrieval_status},
    };
    struct bed *b = *state;

    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_begin(b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_answer(b, rows[i].status, rows[i].body);
        bed_refuses(b, rows[i].fault);
        assert_lacks(bed_status(b).detail, "secret");
        bed_pass(b, 61);
        bed_tick(b);
    }
}

static void a_refusal_of_sts_reaches_the_status_in_its_own_words(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    bed_begin(b);
    bed_answer(b, 403,
               "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform "
               "sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>");
    assert_string_equal(bed_status(b).detail,
                        "STS, role " BED_ROLE "pod: status 403 AccessDenied: Not authorized to "
                        "perform sts:AssumeRoleWithWebIdentity");
}

/* ---- Endpoints from the environment; Kong ---- */

static void the_endpoints_of_sts_go_from_special_to_general(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    bed_set_files(b);
    bed_file(b, "config", "[default]\nendpoint_url = https://of-profile.example/p\n");
    bed_set("AWS_REGION", "eu-west-1");
    bed_set("AWS_ENDPOINT_URL", "https://all.example/");
    bed_set("AWS_ENDPOINT_URL_STS", "https://sts.example/x");
    bed_set("AWS_STS_REGIONAL_ENDPOINTS", "legacy");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://sts.example/x");
    bed_stop(b);
    bed_set("AWS_ENDPOINT_URL_STS", "");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://all.example/");
    bed_stop(b);
    bed_set("AWS_ENDPOINT_URL", "");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://of-profile.example/p");
    bed_stop(b);
    bed_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://sts.amazonaws.com/");
    bed_stop(b);
    bed_set("AWS_STS_REGIONAL_ENDPOINTS", "");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://sts.eu-west-1.amazonaws.com/");
}

static void where_kong_would_have_chosen_otherwise_is_said(void **state)
{
    struct bed *b = *state;
    char text[200];

    bed_set_web_identity(b);
    bed_begin(b);
    chain_kong_difference(b->chain, text, sizeof text);
    assert_string_equal(text, "");
    bed_stop(b);
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_begin(b);
    chain_kong_difference(b->chain, text, sizeof text);
    assert_contains(text, "the container's endpoint, before the web identity token");
    bed_stop(b);
    bed_set_files(b);
    bed_file(b, "credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = s\n");
    bed_begin(b);
    chain_kong_difference(b->chain, text, sizeof text);
    assert_contains(text, "the keys of the profile, before the web identity token");
    bed_stop(b);
    bed_set("AMAZON_ACCESS_KEY_ID", "A");
    bed_set("AMAZON_SECRET_ACCESS_KEY", "s");
    bed_begin(b);
    chain_kong_difference(b->chain, text, sizeof text);
    assert_contains(text, "AMAZON_ACCESS_KEY_ID");
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_source_that_is_configured_is_the_one),
        T(a_source_that_fails_is_not_passed_over),
        T(half_of_a_key_is_named),
        T(the_environments_end_is_named_and_nothing_else_is_asked),
        T(an_environment_that_has_ended_already_is_refused),
        T(credentials_are_refreshed_ahead_of_their_end),
        T(while_a_refresh_fails_what_is_valid_serves_and_the_status_says_so),
        T(attempts_after_failures_come_ever_later_but_come),
        T(what_has_ended_on_arrival_is_not_taken),
        T(a_clock_that_was_set_forward_brings_a_refresh),
        T(a_clock_that_was_set_back_delays_no_refresh),
        T(a_file_rewritten_during_an_attempt_waits_for_its_end),
        T(the_source_stays),
        T(bad_answers_of_a_container_are_refused),
        T(a_refusal_of_sts_reaches_the_status_in_its_own_words),
        T(the_endpoints_of_sts_go_from_special_to_general),
        T(where_kong_would_have_chosen_otherwise_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
