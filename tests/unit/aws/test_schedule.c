/* Hours of refreshes on a clock that the test turns, and every failure of every source that asks
 * over the network.  The names say which failure of Kong Gateway's sources a test excludes. */
#include "runner_bed.h"

#include "aws/sso.h"
#include "net/fetch.h"

enum { NS_PER_MS = 1000000, LIFETIME_S = 3600 };

/* ---- Sources as the tests use them ---- */

enum kind { CONTAINER, INSTANCE, WEB_IDENTITY, ROLE, SSO, KINDS };

static const char *const labels[KINDS] = {"container", "instance_metadata", "web_identity",
                                          "profile+assume_role", "profile+sso"};

static void set_sso(struct bed *b)
{
    char folder[200];

    bed_set_files(b);
    bed_file(b, "config",
             "[default]\nsso_start_url = https://start\nsso_region = eu-west-1\n"
             "sso_account_id = 1\nsso_role_name = r\n");
    bed_set("HOME", b->folder);
    static const char *const parts[] = {"/.aws", "/.aws/sso", "/.aws/sso/cache"};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        snprintf(folder, sizeof folder, "%s%s", b->folder, parts[i]);
        mkdir(folder, 0700);
    }
    /* printf https://start | sha1sum */
    bed_file(b, ".aws/sso/cache/6ad0e7e61d1f47e491ea32c2031add41ef92e07d.json",
             "{\"accessToken\":\"access\",\"expiresAt\":\"2099-01-01T00:00:00Z\"}");
}

static void set_source(struct bed *b, enum kind kind)
{
    bed_set("AWS_REGION", "eu-west-1");
    switch (kind) {
    case CONTAINER:
        bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
        break;
    case INSTANCE:
        break;
    case WEB_IDENTITY:
        bed_set_web_identity(b);
        break;
    case ROLE:
        bed_set_files(b);
        bed_file(b, "config", "[default]\nrole_arn = " BED_ROLE "a\nsource_profile = default\n"
                              "aws_access_key_id = AKIA\naws_secret_access_key = s\n");
        break;
    default:
        set_sso(b);
        break;
    }
}

/* The exchanges before the one that matters. */
static void lead_in(struct bed *b, enum kind kind)
{
    if (kind != INSTANCE)
        return;
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "role");
}

static const char *body(struct bed *b, enum kind kind, const char *id, int64_t seconds)
{
    static char text[300];

    switch (kind) {
    case WEB_IDENTITY:
        return bed_xml(b, "AssumeRoleWithWebIdentity", id, seconds);
    case ROLE:
        return bed_xml(b, "AssumeRole", id, seconds);
    case SSO:
        snprintf(text, sizeof text,
                 "{\"roleCredentials\":{\"accessKeyId\":\"%s\",\"secretAccessKey\":\"s\","
                 "\"sessionToken\":\"t\",\"expiration\":%lld}}",
                 id, (long long)(b->wall_us / 1000 + seconds * 1000));
        return text;
    default:
        return bed_json(b, id, seconds);
    }
}

static void remove_sso(struct bed *b)
{
    char path[200];
    static const char *const parts[] = {
        "/.aws/sso/cache/6ad0e7e61d1f47e491ea32c2031add41ef92e07d.json", "/.aws/sso/cache",
        "/.aws/sso", "/.aws"};

    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        snprintf(path, sizeof path, "%s%s", b->folder, parts[i]);
        remove(path);
    }
}

static int close_schedule(void **state)
{
    remove_sso(*state);
    return bed_close(state);
}

/* ---- Hours ---- */

struct course {
    struct bed *b;
    enum kind kind;
    unsigned asked; /* exchanges seen */
};

static int64_t at_ms(const struct bed *b)
{
    return b->monotonic_ns / NS_PER_MS;
}

/* On to the time that the chain itself asked to be called at. */
static void step(struct course *c)
{
    struct bed *b = c->b;
    int64_t ms = b->next_ms - at_ms(b);

    assert_true(ms <= CHAIN_LOOK_MS);
    if (ms < 1)
        ms = 1;
    b->monotonic_ns += ms * NS_PER_MS;
    b->wall_us += ms * 1000;
    bed_tick(b);
}

/* Seconds until the next request; fails when it takes longer than the bound. */
static double wait_for_request(struct course *c, int64_t bound_s)
{
    struct bed *b = c->b;
    const int64_t begin = at_ms(b);

    while (b->net.started == c->asked) {
        step(c);
        assert_true(at_ms(b) - begin <= bound_s * 1000);
    }
    c->asked = b->net.started;
    return (double)(at_ms(b) - begin) / 1000;
}

static void succeed(struct course *c, const char *id)
{
    lead_in(c->b, c->kind);
    bed_answer(c->b, 200, body(c->b, c->kind, id, LIFETIME_S));
    c->asked = c->b->net.started;
    bed_serves(c->b, labels[c->kind], id);
    assert_int_equal(bed_status(c->b).state, CHAIN_READY);
}

/* Fails so many times on end, each no later than the bound that doubles up to a minute. */
static double fail_on(struct course *c, unsigned times)
{
    double sum = 0;

    for (unsigned i = 0; i < times; i++) {
        bed_fail(c->b, &fetch_timed_out, "no answer within the time allowed");
        bed_tick(c->b);
        assert_int_equal(c->b->net.started, c->asked); /* never at once */
        unsigned failures = bed_status(c->b).failures;
        int64_t bound_s = failures < 7 ? 1 << (failures - 1) : 60;
        sum += wait_for_request(c, bound_s + CHAIN_LOOK_MS / 1000);
    }
    return sum;
}

static void course_of(struct bed *b, enum kind kind)
{
    struct course c = {.b = b, .kind = kind};
    char id[20];

    set_source(b, kind);
    bed_begin(b);
    c.asked = b->net.started;
    succeed(&c, "ASIA0");
    for (unsigned round = 1; round <= 8; round++) {
        /* A third ahead is 20 minutes here; by chance up to two minutes before that. */
        double waited = wait_for_request(&c, LIFETIME_S);
        assert_true(waited >= LIFETIME_S - 1200 - 120 && waited <= LIFETIME_S - 1200 + 2.1);
        snprintf(id, sizeof id, "ASIA%u", round);
        if (round % 3 == 1) {
            /* Trouble for less than what is left: nobody notices but the status. */
            fail_on(&c, 6);
            assert_int_equal(bed_status(b).state, CHAIN_STALE);
            assert_int_equal(bed_status(b).failures, 6);
            const struct aws_credentials *held;
            assert_false(failed(bed_current(b, &held)));
        } else if (round % 3 == 2) {
            /* Trouble beyond the end: the credentials go, the attempts stay, a minute apart. */
            double sum = 0;
            while (sum < 1400) {
                double some = fail_on(&c, 1);
                assert_true(some <= 62);
                sum += some;
            }
            assert_int_equal(bed_status(b).state, CHAIN_FAILED);
            bed_refuses(b, &fetch_timed_out);
        }
        succeed(&c, id);
        assert_int_equal(bed_status(b).failures, 0);
    }
}

static void eight_hours_of_a_container_with_troubles(void **state)
{
    course_of(*state, CONTAINER);
}

static void eight_hours_of_web_identity_with_troubles(void **state)
{
    course_of(*state, WEB_IDENTITY);
}

static void eight_hours_of_a_role_with_troubles(void **state)
{
    course_of(*state, ROLE);
}

static void eight_hours_of_identity_center_with_troubles(void **state)
{
    course_of(*state, SSO);
}

/* Nodes that began together do not ask together: over many first refreshes the times differ, and
 * stay within their tenth. */
static void refreshes_of_many_nodes_are_spread(void **state)
{
    struct bed *b = *state;
    double least = 1e9, most = 0;

    set_source(b, CONTAINER);
    for (unsigned i = 0; i < 40; i++) {
        struct course c = {.b = b, .kind = CONTAINER};
        bed_begin(b);
        c.asked = b->net.started;
        succeed(&c, "ASIA");
        double waited = wait_for_request(&c, LIFETIME_S);
        least = waited < least ? waited : least;
        most = waited > most ? waited : most;
        bed_stop(b);
    }
    assert_true(most - least > 30);
}

/* ---- Every failure of every source over the network ---- */

#define STS_ERROR(code)                                                                            \
    "<ErrorResponse><Error><Type>Sender</Type><Code>" code                                         \
    "</Code><Message>m</Message></Error></ErrorResponse>"

static void every_failure_is_told_and_got_over(struct bed *b, enum kind kind)
{
    const bool sts = kind == WEB_IDENTITY || kind == ROLE;
    const struct fault *const bad = sts ? NULL : kind == SSO ? &sso_malformed : &metadata_malformed;
    const struct {
        int status; /* 0: no answer */
        const char *body;
        const struct fault *fault; /* NULL: any */
        const char *detail;
    } rows[] = {
        {0, NULL, &fetch_timed_out, "the-detail"},
        {500, "", &retrieval_status, "status 500"},
        {503, "<html>", &retrieval_status, "status 503"},
        {429, sts ? STS_ERROR("Throttling") : "{\"code\":\"Throttling\"}", &retrieval_status,
         "status 429"},
        {400, sts ? STS_ERROR("Throttling") : "{\"code\":\"ThrottlingException\"}",
         &retrieval_status, "status 400"},
        {403, sts ? STS_ERROR("SignatureDoesNotMatch") : "{\"code\":\"RequestExpired\"}",
         &retrieval_status, "status 403"},
        {403, sts ? STS_ERROR("RequestTimeTooSkewed") : "{\"code\":\"RequestTimeTooSkewed\"}",
         &retrieval_status, "status 403"},
        {200, "", bad, ""},
        {200, "{\"AccessKeyId\": \"ASIA", bad, ""},
        {200, "<AssumeRoleResponse><AssumeRoleResult>", bad, ""},
        {200, "[1, 2]", bad, ""},
        {200, NULL, &aws_credentials_expired_on_arrival, ""}, /* whole, but of the past */
    };

    set_source(b, kind);
    bed_begin(b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        lead_in(b, kind);
        if (rows[i].status == 0)
            bed_fail(b, &fetch_timed_out, "the-detail");
        else
            bed_answer(b, rows[i].status,
                       rows[i].body != NULL ? rows[i].body : body(b, kind, "ASIAOLD", 0));
        struct chain_status s = bed_status(b);
        assert_int_equal(s.state, CHAIN_FAILED);
        assert_int_equal(s.failures, 1);
        if (rows[i].fault != NULL)
            assert_ptr_equal(s.last_error.fault, rows[i].fault);
        assert_contains(s.detail, rows[i].detail);
        if (sts && rows[i].status >= 400 && rows[i].status < 500)
            assert_contains(s.detail, ": m"); /* STS's own words */
        bed_pass(b, 2);
        bed_tick(b);
        lead_in(b, kind);
        bed_answer(b, 200, body(b, kind, "ASIAGOOD", LIFETIME_S));
        bed_serves(b, labels[kind], "ASIAGOOD");
        bed_stop(b);
        bed_begin(b);
    }
}

static void failures_of_a_container(void **state)
{
    every_failure_is_told_and_got_over(*state, CONTAINER);
}

static void failures_of_the_instance(void **state)
{
    every_failure_is_told_and_got_over(*state, INSTANCE);
}

static void failures_of_web_identity(void **state)
{
    every_failure_is_told_and_got_over(*state, WEB_IDENTITY);
}

static void failures_of_a_role(void **state)
{
    every_failure_is_told_and_got_over(*state, ROLE);
}

static void failures_of_identity_center(void **state)
{
    every_failure_is_told_and_got_over(*state, SSO);
}

/* ---- What Kong Gateway does, and this does not ---- */

/* lua-resty-aws gives environment and file credentials ten years. */
static void kong_never_notices_that_the_environments_session_has_ended(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("AWS_SESSION_TOKEN", "token");
    bed_set("AWS_CREDENTIAL_EXPIRATION", bed_time(b, 60));
    bed_begin(b);
    bed_serves(b, "environment", "AKIAENVIRONMENT");
    bed_pass(b, 60);
    /* Also before anything has happened since. */
    assert_int_equal(bed_status(b).state, CHAIN_FAILED);
    assert_ptr_equal(bed_status(b).last_error.fault, &aws_environment_expired);
    bed_tick(b);
    assert_int_equal(bed_status(b).state, CHAIN_FAILED);
    assert_string_equal(bed_status(b).last_error.fault->name, "aws_environment_expired");
    assert_string_equal(bed_status(b).detail, "AWS_CREDENTIAL_EXPIRATION has passed");
}

static void kong_never_reads_a_rewritten_credentials_file(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "credentials", "[default]\naws_access_key_id = AKIAONE\naws_secret_access_key = s\n"
                               "aws_session_token = t\n");
    bed_begin(b);
    bed_serves(b, "profile", "AKIAONE");
    bed_file(b, "credentials", "[default]\naws_access_key_id = AKIATWO\naws_secret_access_key = s\n"
                               "aws_session_token = t\n");
    bed_pass(b, 2);
    bed_tick(b);
    bed_serves(b, "profile", "AKIATWO");
    bed_file(b, "credentials", "[default]\naws_access_key_id = AKIA"); /* half written */
    bed_pass(b, 2);
    bed_tick(b);
    bed_serves(b, "profile", "AKIATWO");
}

static void kong_tries_nothing_again(void **state)
{
    struct bed *b = *state;
    struct course c = {.b = b, .kind = CONTAINER};

    set_source(b, CONTAINER);
    bed_begin(b);
    c.asked = b->net.started;
    bed_answer(b, 503, "");
    assert_true(wait_for_request(&c, 3) <= 3);
    bed_answer(b, 200, bed_json(b, "ASIAONE", 3600));
    bed_serves(b, "container", "ASIAONE");
}

static void kong_gives_up_valid_credentials_when_a_refresh_fails(void **state)
{
    struct bed *b = *state;
    struct course c = {.b = b, .kind = CONTAINER};

    set_source(b, CONTAINER);
    bed_begin(b);
    succeed(&c, "ASIAONE");
    wait_for_request(&c, LIFETIME_S);
    bed_serves(b, "container", "ASIAONE"); /* no request waits for the refresh either */
    bed_answer(b, 503, "");
    bed_serves(b, "container", "ASIAONE");
}

static void kong_falls_back_to_version_one_of_the_instances_metadata(void **state)
{
    static const int refusals[] = {401, 403, 404, 405};
    struct bed *b = *state;

    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        bed_begin(b);
        unsigned before = b->net.started;
        bed_answer(b, refusals[i], "");
        bed_refuses(b, &retrieval_no_session);
        assert_int_equal(b->net.started, before);
        bed_stop(b);
    }
    bed_begin(b);
    bed_fail(b, &fetch_timed_out, "hop limit");
    bed_refuses(b, &fetch_timed_out);
}

/* lua-resty-aws signs every AssumeRole with the first credentials. */
static void kong_signs_the_second_role_with_the_wrong_credentials(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_set("AWS_REGION", "eu-west-1");
    bed_file(b, "config", "[default]\nrole_arn = " BED_ROLE "three\nsource_profile = two\n"
                          "[profile two]\nrole_arn = " BED_ROLE "two\nsource_profile = one\n"
                          "[profile one]\nrole_arn = " BED_ROLE "one\nsource_profile = keys\n"
                          "[profile keys]\naws_access_key_id = AKIABASE\n"
                          "aws_secret_access_key = s\n");
    bed_begin(b);
    assert_contains(b->net.headers, "Credential=AKIABASE/");
    assert_contains(b->net.body, "role%2Fone&");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAONE", 3600));
    assert_contains(b->net.headers, "Credential=ASIAONE/");
    assert_contains(b->net.headers, "x-amz-security-token: token-ASIAONE\n");
    assert_contains(b->net.body, "role%2Ftwo&");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIATWO", 3600));
    assert_contains(b->net.headers, "Credential=ASIATWO/");
    assert_contains(b->net.body, "role%2Fthree&");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIATHREE", 3600));
    bed_serves(b, "profile+assume_role", "ASIATHREE");
}

static void kong_refuses_pod_identity_over_ipv6_and_drops_the_query(void **state)
{
    struct bed *b = *state;

    bed_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1/credentials?a=b&c=%2F");
    bed_file(b, "token", "first");
    bed_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", bed_path(b, "token"));
    bed_begin(b);
    assert_string_equal(b->net.url, "http://[fd00:ec2::23]/v1/credentials?a=b&c=%2F");
    assert_contains(b->net.headers, "Authorization: first\n");
    bed_answer(b, 200, bed_json(b, "ASIAONE", 3600));
    bed_file(b, "token", "second");
    bed_pass(b, 2401);
    bed_tick(b);
    assert_contains(b->net.headers, "Authorization: second\n");
}

static void kong_puts_the_region_into_custom_hosts_of_sts(void **state)
{
    static const char *const urls[] = {
        "https://vpce-0a-1b.sts.eu-west-1.vpce.amazonaws.com",
        "https://sts.af-south-1.amazonaws.com",
        "https://sts.us-gov-west-1.amazonaws.com", "http://127.0.0.1:4566", "https://sts.internal",
    };
    struct bed *b = *state;
    char expected[100];

    bed_set_web_identity(b);
    bed_set("AWS_REGION", "eu-west-1");
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        bed_set("AWS_ENDPOINT_URL_STS", urls[i]);
        bed_begin(b);
        snprintf(expected, sizeof expected, "%s/", urls[i]);
        for (unsigned again = 0; again < 3; again++) {
            assert_string_equal(b->net.url, expected);
            bed_answer(b, 500, "");
            bed_pass(b, 61);
            bed_tick(b);
        }
        bed_stop(b);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_open, close_schedule)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(eight_hours_of_a_container_with_troubles),
        T(eight_hours_of_web_identity_with_troubles),
        T(eight_hours_of_a_role_with_troubles),
        T(eight_hours_of_identity_center_with_troubles),
        T(refreshes_of_many_nodes_are_spread),
        T(failures_of_a_container),
        T(failures_of_the_instance),
        T(failures_of_web_identity),
        T(failures_of_a_role),
        T(failures_of_identity_center),
        T(kong_never_notices_that_the_environments_session_has_ended),
        T(kong_never_reads_a_rewritten_credentials_file),
        T(kong_tries_nothing_again),
        T(kong_gives_up_valid_credentials_when_a_refresh_fails),
        T(kong_falls_back_to_version_one_of_the_instances_metadata),
        T(kong_signs_the_second_role_with_the_wrong_credentials),
        T(kong_refuses_pod_identity_over_ipv6_and_drops_the_query),
        T(kong_puts_the_region_into_custom_hosts_of_sts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
