/* The order of the sources, over every set of those that are configured; and the region. */
#include "runner_bed.h"

#include "aws/region_finder.h"

/* ---- Every source with all its neighbours ---- */

enum { EVERY = 1 << AWS_SOURCES };

static void configure(struct bed *b, unsigned set)
{
    const char *const off = "";

    bed_set("AWS_ACCESS_KEY_ID", (set & 1U << AWS_SOURCE_ENVIRONMENT) != 0 ? "AKIAENV" : off);
    bed_set("AWS_SECRET_ACCESS_KEY", (set & 1U << AWS_SOURCE_ENVIRONMENT) != 0 ? "s" : off);
    bed_set("AWS_WEB_IDENTITY_TOKEN_FILE",
            (set & 1U << AWS_SOURCE_WEB_IDENTITY) != 0 ? bed_path(b, "token") : off);
    bed_set("AWS_ROLE_ARN", BED_ROLE "pod");
    bed_file(b, "credentials",
             (set & 1U << AWS_SOURCE_PROFILE) != 0
                 ? "[default]\naws_access_key_id = AKIAPRO\naws_secret_access_key = s\n"
                 : "");
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            (set & 1U << AWS_SOURCE_CONTAINER) != 0 ? "/c" : off);
    bed_set("AWS_EC2_METADATA_DISABLED", (set & 1U << AWS_SOURCE_INSTANCE) != 0 ? off : "true");
}

/* The first of the set by the SDKs' order is chosen, those before it are told as absent, those
 * after it as not asked. */
static void of_every_set_of_sources_the_first_is_chosen(void **state)
{
    static const enum aws_step_kind kinds[AWS_SOURCES] = {
        [AWS_SOURCE_ENVIRONMENT] = AWS_STEP_STATIC,
        [AWS_SOURCE_WEB_IDENTITY] = AWS_STEP_WEB_IDENTITY,
        [AWS_SOURCE_PROFILE] = AWS_STEP_STATIC,
        [AWS_SOURCE_CONTAINER] = AWS_STEP_CONTAINER,
        [AWS_SOURCE_INSTANCE] = AWS_STEP_INSTANCE,
    };
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "token", "a.b.c");
    for (unsigned set = 1; set < EVERY; set++) {
        unsigned first = 0;
        while ((set & 1U << first) == 0)
            first++;
        configure(b, set);
        bed_begin(b);
        const struct aws_plan *plan = chain_plan(b->chain);
        assert_int_equal(plan->source, first);
        assert_int_equal(plan->count, 1);
        assert_int_equal(plan->steps[0].kind, kinds[first]);
        for (unsigned i = 0; i < AWS_SOURCES; i++) {
            assert_int_equal(plan->verdicts[i].kind, i < first    ? AWS_VERDICT_ABSENT
                                                     : i == first ? AWS_VERDICT_CHOSEN
                                                                  : AWS_VERDICT_LATER);
            assert_true(i >= first || plan->verdicts[i].reason[0] != '\0');
        }
        bed_stop(b);
    }
    configure(b, 0);
    bed_begin(b);
    bed_refuses(b, &aws_no_source);
}

/* What is wrong with a source is never a reason to take a later one. */
static void a_source_set_up_wrongly_is_named_and_ends_the_search(void **state)
{
    static const struct {
        enum aws_source source;
        const char *variable;
        const char *value;
        const struct fault *fault;
    } rows[] = {
        {AWS_SOURCE_ENVIRONMENT, "AWS_SECRET_ACCESS_KEY", "", &aws_credentials_secret_missing},
        {AWS_SOURCE_ENVIRONMENT, "AWS_ACCESS_KEY_ID", "", &aws_credentials_key_missing},
        {AWS_SOURCE_ENVIRONMENT, "AWS_CREDENTIAL_EXPIRATION", "x", &aws_environment_expiration_bad},
        {AWS_SOURCE_WEB_IDENTITY, "AWS_ROLE_ARN", "", &aws_web_identity_incomplete},
        {AWS_SOURCE_PROFILE, "AWS_PROFILE", "gone", &aws_profile_unusable},
        {AWS_SOURCE_CONTAINER, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@x",
         &aws_container_uri_refused},
        {AWS_SOURCE_CONTAINER, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "3/x", /* EKS's address */
         &aws_container_uri_refused},
        {AWS_SOURCE_INSTANCE, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "ftp://x",
         &aws_metadata_endpoint_bad},
    };
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "token", "a.b.c");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        configure(b, EVERY - 1U - ((1U << rows[i].source) - 1U)); /* this one and all later ones */
        bed_set(rows[i].variable, rows[i].value);
        bed_begin(b);
        bed_refuses(b, rows[i].fault);
        assert_int_equal(b->net.started, 0);
        assert_int_equal(chain_plan(b->chain)->verdicts[rows[i].source].kind, AWS_VERDICT_WRONG);
        bed_stop(b);
        bed_set(rows[i].variable, "");
    }
}

static void a_named_profile_is_the_only_source(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "token", "a.b.c");
    configure(b, EVERY - 1);
    bed_file(b, "config", "[profile p]\naws_access_key_id = AKIAP\naws_secret_access_key = s\n"
                          "[profile empty]\nregion = eu-west-1\n");
    bed_begin_with(b, NULL, false, "p");
    bed_serves(b, "profile", "AKIAP");
    for (unsigned i = 0; i < AWS_SOURCES; i++) {
        assert_int_equal(chain_plan(b->chain)->verdicts[i].kind,
                         i == AWS_SOURCE_PROFILE ? AWS_VERDICT_CHOSEN : AWS_VERDICT_ABSENT);
    }
    bed_stop(b);
    bed_begin_with(b, NULL, false, "empty");
    bed_refuses(b, &aws_profile_unusable);
    assert_string_equal(bed_status(b).detail, "profile empty has no credentials");
    assert_int_equal(b->net.started, 0);
}

/* 1970 was read as "never" once. */
static void an_expiration_at_the_beginning_of_time_is_no_never(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("AWS_SESSION_TOKEN", "token");
    bed_set("AWS_CREDENTIAL_EXPIRATION", "1970-01-01T00:00:00Z");
    bed_begin(b);
    bed_refuses(b, &aws_environment_expired);
}

/* A later setenv must not move the gateway's identity. */
static void the_environment_is_read_once(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "credentials",
             "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n");
    bed_begin(b);
    bed_serves(b, "profile", "AKIAFILE");
    bed_set_keys();
    bed_set("AWS_PROFILE", "gone");
    bed_file(b, "credentials", "[default]\naws_access_key_id = AKIANEW\n"
                               "aws_secret_access_key = s\n");
    bed_pass(b, 2);
    bed_tick(b);
    bed_serves(b, "profile", "AKIANEW");
}

/* ---- The region ---- */

static void a_zone_names_its_region(void **state)
{
    static const struct {
        const char *zone, *region;
    } rows[] = {
        {"eu-west-1a", "eu-west-1"},          {"us-gov-west-1b", "us-gov-west-1"},
        {"us-west-2-lax-1a", "us-west-2"},    {"us-east-1-wl1-bos-wlz-1", "us-east-1"},
        {"ap-southeast-12c", "ap-southeast-12"}, {"eu-west-1", "eu-west-1"},
        {"", NULL}, {"1", NULL}, {"eu", NULL}, {"eu-west", NULL}, {"EU-WEST-1a", NULL},
        {"-1", NULL}, {"eu-1/../x", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct view region = aws_region_of_zone(view_str(rows[i].zone));
        if (rows[i].region == NULL)
            assert_null(region.data);
        else
            assert_true(view_is(region, rows[i].region));
    }
}

static void the_region_is_asked_of_the_task_then_of_the_instance(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/abc");
    bed_set("ECS_CONTAINER_METADATA_URI", "http://169.254.170.2/v3/abc");
    bed_begin_with(b, NULL, true, NULL);
    bed_serves(b, "environment", "AKIAENVIRONMENT"); /* keys need no region */
    assert_string_equal(b->net.url, "http://169.254.170.2/v4/abc/task");
    assert_true(chain_region_awaited(b->chain));
    bed_answer(b, 200, "{\"AvailabilityZone\":\"eu-west-3b\"}");
    assert_string_equal(chain_region(b->chain), "eu-west-3");
    assert_false(chain_region_awaited(b->chain));
    bed_tick(b);
    assert_string_equal(chain_region(b->chain), "eu-west-3");
    /* The plan follows: where STS is, and for what it is signed. */
    assert_true(view_is(chain_plan(b->chain)->sts.signing_region, "eu-west-3"));
    bed_stop(b);

    bed_set("ECS_CONTAINER_METADATA_URI_V4", "");
    bed_begin_with(b, NULL, true, NULL);
    assert_string_equal(b->net.url, "http://169.254.170.2/v3/abc/task");
    bed_answer(b, 200, "{}");
    assert_string_equal(b->net.method, "PUT");
    bed_answer(b, 200, "session==");
    assert_string_equal(b->net.url, "http://169.254.169.254/latest/meta-data/placement/region");
    assert_string_equal(b->net.headers, "X-aws-ec2-metadata-token: session==\n");
    bed_answer(b, 200, "eu-north-1");
    assert_string_equal(chain_region(b->chain), "eu-north-1");
}

/* Kong caches "no region" for the life of the process. */
static void a_region_not_found_is_asked_for_again(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_begin_with(b, NULL, true, NULL);
    bed_answer(b, 404, "");
    assert_string_equal(chain_region(b->chain), "");
    assert_false(chain_region_awaited(b->chain));
    assert_int_equal(b->net.started, 1); /* version 1 is not asked */
    bed_tick(b);
    assert_int_equal(b->net.started, 1); /* not at once */
    bed_pass(b, 2);
    bed_tick(b);
    assert_int_equal(b->net.started, 2);
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "no region, this");
    assert_string_equal(chain_region(b->chain), "");
    bed_pass(b, 61);
    bed_tick(b);
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "eu-north-1");
    assert_string_equal(chain_region(b->chain), "eu-north-1");
    bed_pass(b, 3600);
    bed_tick(b);
    assert_int_equal(b->net.started, 5); /* and never again */
}

static void a_source_that_needs_sts_waits_for_the_region_once(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    bed_begin_with(b, NULL, true, NULL);
    assert_string_equal(b->net.url, "http://169.254.169.254/latest/api/token");
    assert_int_equal(bed_status(b).state, CHAIN_WAITING);
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "ap-east-1");
    assert_string_equal(b->net.url, "https://sts.ap-east-1.amazonaws.com/");
    bed_answer(b, 200, bed_xml(b, "AssumeRoleWithWebIdentity", "ASIAONE", 3600));
    bed_serves(b, "web_identity", "ASIAONE");
    bed_stop(b);

    bed_begin_with(b, NULL, true, NULL);
    bed_answer(b, 500, "");
    assert_string_equal(b->net.url, "https://sts.amazonaws.com/");
}

static void a_region_that_is_said_is_not_asked_for(void **state)
{
    struct bed *b = *state;

    bed_set_keys();
    bed_set("AWS_DEFAULT_REGION", "eu-west-2");
    bed_begin_with(b, NULL, true, NULL);
    assert_string_equal(chain_region(b->chain), "eu-west-2");
    bed_stop(b);
    bed_set("AWS_DEFAULT_REGION", "");
    bed_set("AWS_EC2_METADATA_DISABLED", "true");
    bed_begin_with(b, NULL, true, NULL);
    assert_string_equal(chain_region(b->chain), "");
    assert_false(chain_region_awaited(b->chain));
    assert_int_equal(b->net.started, 0);
}

/* A hint is one service's region: it is forgotten when another's has to be found. */
static void a_hint_makes_way_for_the_discovery(void **state)
{
    static const char *const regions[] = {"", "us-west-2"};
    struct bed *b = *state;

    bed_set_files(b);
    bed_set_keys();
    bed_set("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/id");
    for (size_t i = 0; i < COUNT_OF(regions); i++) {
        const struct chain_options options = {
            .fetcher = &b->net.base,
            .clock = &b->clock,
            .lookup = bed_lookup,
            .region_hint = VIEW("eu-west-1"),
        };
        unsigned before = b->net.started;
        bed_set("AWS_REGION", regions[i]);
        assert_false(failed(chain_new(&options, &b->chain)));
        bed_tick(b);
        bed_serves(b, "environment", "AKIAENVIRONMENT");
        assert_string_equal(chain_region(b->chain), i == 0 ? "eu-west-1" : "us-west-2");
        assert_int_equal(b->net.started, before);
        chain_discover_region(b->chain);
        assert_string_equal(chain_region(b->chain), "");
        assert_true(chain_region_awaited(b->chain));
        bed_tick(b);
        assert_string_equal(chain_region(b->chain), regions[i]);
        assert_int_equal(chain_region_awaited(b->chain), i == 0);
        assert_int_equal(b->net.started, before + (i == 0));
        if (i == 0)
            bed_answer(b, 200, "{\"AvailabilityZone\":\"ap-south-1a\"}");
        bed_tick(b);
        assert_string_equal(chain_region(b->chain), i == 0 ? "ap-south-1" : "us-west-2");
        bed_serves(b, "environment", "AKIAENVIRONMENT");
        bed_stop(b);
    }
}

/* Before that is known, neither the hint is said nor anybody asked. */
static void an_attempt_under_way_holds_up_the_discovery(void **state)
{
    const struct view hint = VIEW("eu-west-1");
    struct bed *b = *state;
    const struct chain_options options = {
        .fetcher = &b->net.base, .clock = &b->clock, .lookup = bed_lookup, .region_hint = hint};

    bed_set_files(b);
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_set("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/id");
    bed_set("AWS_REGION", "us-west-2");
    assert_false(failed(chain_new(&options, &b->chain)));
    bed_tick(b);
    chain_discover_region(b->chain);
    bed_tick(b);
    assert_int_equal(b->net.started, 1);
    assert_string_equal(chain_region(b->chain), "");
    assert_true(chain_region_awaited(b->chain));
    bed_answer(b, 200, bed_json(b, "ASIAC", 3600));
    bed_tick(b);
    assert_string_equal(chain_region(b->chain), "us-west-2");
    assert_int_equal(b->net.started, 1);
}

/* As when the fetcher closes: what it cancels must not lead to the next exchange. */
static void a_chain_that_stops_asks_nobody_any_more(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_set("AWS_ACCESS_KEY_ID", "AKIAENV");
    bed_set("AWS_SECRET_ACCESS_KEY", "s");
    bed_set("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/id");
    bed_begin_with(b, NULL, true, NULL);
    assert_int_equal(b->net.started, 1);
    chain_stop(b->chain);
    bed_fail(b, &region_not_found, "cancelled");
    assert_int_equal(b->net.started, 1);
    bed_serves(b, "environment", "AKIAENV");
    bed_stop(b);

    /* Version 1, where it is allowed, is asked after a failure of version 2. */
    bed_set("AWS_ACCESS_KEY_ID", "");
    bed_set("AWS_SECRET_ACCESS_KEY", "");
    bed_set("AWS_EC2_METADATA_V1_DISABLED", "false");
    bed_begin(b);
    assert_int_equal(b->net.started, 2);
    chain_stop(b->chain);
    bed_fail(b, &region_not_found, "cancelled");
    assert_int_equal(b->net.started, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(of_every_set_of_sources_the_first_is_chosen),
        T(a_source_set_up_wrongly_is_named_and_ends_the_search),
        T(a_named_profile_is_the_only_source),
        T(an_expiration_at_the_beginning_of_time_is_no_never),
        T(the_environment_is_read_once),
        cmocka_unit_test(a_zone_names_its_region),
        T(the_region_is_asked_of_the_task_then_of_the_instance),
        T(a_region_not_found_is_asked_for_again),
        T(a_source_that_needs_sts_waits_for_the_region_once),
        T(a_region_that_is_said_is_not_asked_for),
        T(a_hint_makes_way_for_the_discovery),
        T(an_attempt_under_way_holds_up_the_discovery),
        T(a_chain_that_stops_asks_nobody_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
