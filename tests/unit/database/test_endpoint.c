/* What a broker was made from: kept whole, and told from what a reload brings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "database/broker.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static const struct view role = VIEW("arn:aws:iam::123456789012:role/shop");
static const struct view chain[] = {VIEW("arn:aws:iam::123456789012:role/hub"),
                                    VIEW("arn:aws:iam::123456789012:role/shop")};
static const struct session_tag tag = {.key = VIEW("team"), .value = VIEW("{subject}")};
static const struct strings no_roles;

static struct endpoint some_endpoint(void)
{
    return (struct endpoint){
        .host = VIEW("db.example"),
        .port = 5432,
        .user = VIEW("app"),
        .database = VIEW("shop"),
        .sslmode = SSLMODE_VERIFY_FULL,
        .sslrootcert = VIEW("rds"),
        .iam_auth = {.enabled = true,
                     .region = VIEW("eu-west-1"),
                     .assume_role_arn = {&role, 1},
                     .role_session_name = VIEW("{subject}"),
                     .policy = VIEW("{}"),
                     .tags = &tag,
                     .tag_count = 1,
                     .max_sessions = 10,
                     .per_caller = true}};
}

static void want_nothing(struct broker *b, void *arg)
{
    (void)b;
    (void)arg;
}

static struct broker *make(const struct endpoint *e, const struct strings *roles)
{
    static const struct service service = {.name = VIEW("shop"), .pool = {.max_connections = 1}};
    const struct broker_options options = {.name = service.name,
                                           .access = VIEW("primary"),
                                           .service = &service,
                                           .endpoint = e,
                                           .want_logins = want_nothing};
    return broker_new(&options, roles);
}

static bool matches(const struct broker *b, const struct endpoint *e)
{
    const struct service service = {.name = VIEW("shop"), .pool = {.max_connections = 1}};

    return broker_matches(b, &service, e, &no_roles);
}

/* A connection that logged in by other rules must not be found by the next configuration. */
static void any_change_of_the_login_is_another_broker(void **state)
{
    static const struct session_tag other_value = {.key = VIEW("team"), .value = VIEW("{client}")};
    static const struct session_tag other_key = {.key = VIEW("Team"), .value = VIEW("{subject}")};
    static const struct session_tag passed_on = {
        .key = VIEW("team"), .value = VIEW("{subject}"), .transitive = true};
    const struct endpoint base = some_endpoint();
    struct endpoint other[26];
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(other); i++)
        other[i] = base;
    other[n++].host = VIEW("db2.example");
    other[n++].port = 5433;
    other[n++].user = VIEW("other");
    other[n++].database = VIEW("other");
    other[n++].sslmode = SSLMODE_REQUIRE;
    other[n++].sslrootcert = VIEW("system");
    other[n++].iam_auth.enabled = false;
    other[n++].iam_auth.region = VIEW("eu-west-2");
    other[n++].iam_auth.hostname = VIEW("rds.example");
    other[n++].iam_auth.assume_role_arn = (struct strings){chain, 1};
    other[n++].iam_auth.assume_role_arn = (struct strings){chain, 2};
    other[n++].iam_auth.role_session_name = VIEW("{client}");
    other[n++].iam_auth.source_identity = VIEW("{client}");
    other[n++].iam_auth.has_source_identity = true; /* written "": none */
    other[n++].iam_auth.external_id = VIEW("x1");
    other[n++].iam_auth.session_duration_s = 900;
    other[n++].iam_auth.policy = VIEW("{ }");
    other[n++].iam_auth.policy_arns = (struct strings){&role, 1};
    other[n++].iam_auth.tag_count = 0;
    other[n++].iam_auth.tags = &other_value;
    other[n++].iam_auth.tags = &other_key;
    other[n++].iam_auth.tags = &passed_on;
    other[n++].iam_auth.web_identity = WEB_IDENTITY_CALLER;
    other[n++].iam_auth.sts_endpoint_url = VIEW("https://sts.example");
    other[n++].iam_auth.max_sessions = 11;
    other[n++].iam_auth.per_caller = false;
    assert_int_equal(n, COUNT_OF(other));

    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    assert_true(matches(b, &base));
    for (size_t i = 0; i < n; i++)
        assert_false(matches(b, &other[i]));
    broker_release_reference(b);
}

/* A text for which there is no room is not left out: without its policy a session may do more. */
static void without_room_for_all_of_it_there_is_no_broker(void **state)
{
    enum { TOO_LONG = 8 << 20 };
    char *text = malloc(TOO_LONG);
    (void)state;

    assert_non_null(text);
    memset(text, 'x', TOO_LONG);
    const struct view too_long = view_of(text, TOO_LONG);
    struct endpoint e = some_endpoint();
    e.iam_auth.policy = too_long;
    assert_null(make(&e, &no_roles));
    e = some_endpoint();
    e.iam_auth.external_id = too_long;
    assert_null(make(&e, &no_roles));
    e = some_endpoint();
    assert_null(make(&e, &(struct strings){&too_long, 1}));
    free(text);
}

/* ---- A login that a reload changes ---- */

static struct endpoint of_all_callers(void)
{
    struct endpoint e = some_endpoint();

    e.iam_auth.role_session_name = VIEW("sallyport");
    e.iam_auth.per_caller = false;
    return e;
}

static bool matches_but_login(const struct broker *b, const struct endpoint *e)
{
    const struct service service = {.name = VIEW("shop"), .pool = {.max_connections = 1}};

    return broker_matches_but_login(b, &service, e, &no_roles);
}

static void a_broker_keeps_its_place_and_may_change_its_login(void **state)
{
    const struct endpoint base = of_all_callers();
    struct endpoint e = base;
    (void)state;

    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    e.iam_auth = (struct iam_auth){0};
    e.user = VIEW("other");
    e.password = VIEW("secret");
    assert_true(matches_but_login(b, &e));
    e.host = VIEW("db2.example");
    assert_false(matches_but_login(b, &e));
    e = base;
    e.port = 5433;
    assert_false(matches_but_login(b, &e));
    e = base;
    e.database = VIEW("other");
    assert_false(matches_but_login(b, &e));
    e = base;
    e.sslmode = SSLMODE_REQUIRE;
    assert_false(matches_but_login(b, &e));
    e = base;
    e.sslrootcert = VIEW("system");
    assert_false(matches_but_login(b, &e));
    e = base;
    e.iam_auth.per_caller = true;
    assert_false(matches_but_login(b, &e));
    const struct service larger = {.name = VIEW("shop"), .pool = {.max_connections = 2}};
    assert_false(broker_matches_but_login(b, &larger, &base, &no_roles));
    const struct service service = {.name = VIEW("shop"), .pool = {.max_connections = 1}};
    assert_false(broker_matches_but_login(b, &service, &base, &(struct strings){&role, 1}));
    broker_release_reference(b);
}

/* Connections of callers' own sessions are never the next login's. */
static void a_broker_of_callers_sessions_does_not(void **state)
{
    const struct endpoint base = some_endpoint(), e = of_all_callers();
    (void)state;

    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    assert_false(matches_but_login(b, &base));
    assert_false(matches_but_login(b, &e));
    broker_release_reference(b);
}

static void a_changed_login_is_what_the_next_configuration_is_compared_with(void **state)
{
    enum { TOO_LONG = 8 << 20 };
    const struct endpoint base = of_all_callers();
    struct endpoint e = base;
    char *text = malloc(TOO_LONG);
    (void)state;

    assert_non_null(text);
    memset(text, 'x', TOO_LONG);
    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    e.iam_auth.enabled = false;
    e.password = VIEW("secret");
    assert_true(broker_change_login(b, &e));
    assert_true(matches(b, &e));
    assert_false(matches(b, &base));
    assert_int_equal(b->login->number, 2);
    /* Nothing has succeeded yet: what TLS verifies for a cancel is the first. */
    assert_true(broker_proven_endpoint(b)->iam_auth.enabled);
    b->proven = 2;
    assert_false(broker_proven_endpoint(b)->iam_auth.enabled);
    e.user = view_of(text, TOO_LONG);
    assert_false(broker_change_login(b, &e));
    assert_int_equal(b->login->number, 2);
    assert_true(view_is(b->login->endpoint.user, "app"));
    broker_release_reference(b);
    free(text);
}

static void a_changed_login_is_tried_while_another_serves(void **state)
{
    const struct endpoint base = of_all_callers();
    struct endpoint e = base;
    int64_t at = 0, now = INT64_C(1) << 40;
    (void)state;

    e.user = VIEW("other");
    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    b->proven = 1;
    b->common.connections = b->total = 1; /* as many as there may be */
    assert_int_equal(broker_begin_trial(b, now, &at), BROKER_NO_NEED);
    b->common.failures = 3;
    b->common.retry_at_ns = INT64_MAX;
    assert_true(broker_change_login(b, &e));
    assert_int_equal(broker_begin_trial(b, now, &at), BROKER_ROOM);
    assert_int_equal(b->total, 2);
    broker_login_done(b, &b->common, NULL);
    assert_int_equal(b->total, 1);
    assert_int_equal(b->pending, 0);
    assert_int_equal(b->common.failures, 1); /* those of the login before are not its own */
    assert_int_equal(broker_begin_trial(b, 0, &at), BROKER_NOT_YET);
    assert_true(at > 0 && at == b->common.retry_at_ns);
    assert_int_equal(broker_begin_trial(b, at, &at), BROKER_ROOM);
    broker_login_done(b, &b->common, NULL);
    b->proven = 2;
    assert_int_equal(broker_begin_trial(b, INT64_MAX, &at), BROKER_NO_NEED);
    b->proven = 1;
    b->closing = true;
    assert_int_equal(broker_begin_trial(b, INT64_MAX, &at), BROKER_NO_NEED);
    b->closing = false;
    b->retired = true;
    assert_int_equal(broker_begin_trial(b, INT64_MAX, &at), BROKER_NO_NEED);
    b->retired = false;
    b->common.connections = b->total = 0; /* whoever calls has it tried */
    assert_int_equal(broker_begin_trial(b, INT64_MAX, &at), BROKER_NO_NEED);
    broker_release_reference(b);
}

/* What has no room would go on by the login before, however often it is loaded. */
static void there_is_room_for_as_many_logins_as_a_broker_may_have(void **state)
{
    enum { MUCH = 60000 };
    struct endpoint e = of_all_callers();
    char *text = malloc(MUCH);
    (void)state;

    assert_non_null(text);
    memset(text, 'x', MUCH);
    e.iam_auth.policy = view_of(text, MUCH);
    struct broker *b = make(&e, &no_roles);
    assert_non_null(b);
    while (b->login->number < BROKER_LOGINS_MAX)
        assert_true(broker_change_login(b, &e));
    broker_release_reference(b);
    free(text);
}

/* However many changes come while the connections of the first are busy. */
static void trials_go_beyond_the_budget_by_one(void **state)
{
    const struct endpoint base = of_all_callers();
    int64_t at = 0, now = INT64_C(1) << 40;
    struct endpoint e = base;
    (void)state;

    struct broker *b = make(&base, &no_roles);
    assert_non_null(b);
    b->proven = 1;
    b->common.connections = b->total = 1;
    e.user = VIEW("other");
    assert_true(broker_change_login(b, &e));
    assert_int_equal(broker_begin_trial(b, now, &at), BROKER_ROOM);
    assert_true(broker_change_login(b, &base)); /* while that trial goes on */
    assert_int_equal(broker_begin_trial(b, now, &at), BROKER_NOT_YET);
    assert_true(at > now && at < now + 1000000000);
    assert_int_equal(b->total, 2);
    broker_login_done(b, &b->common, NULL);
    assert_int_equal(broker_begin_trial(b, INT64_MAX, &at), BROKER_ROOM);
    broker_login_done(b, &b->common, NULL);
    b->common.connections = b->total = 0;
    broker_release_reference(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_keeps_its_place_and_may_change_its_login),
        cmocka_unit_test(a_broker_of_callers_sessions_does_not),
        cmocka_unit_test(a_changed_login_is_what_the_next_configuration_is_compared_with),
        cmocka_unit_test(a_changed_login_is_tried_while_another_serves),
        cmocka_unit_test(there_is_room_for_as_many_logins_as_a_broker_may_have),
        cmocka_unit_test(trials_go_beyond_the_budget_by_one),
        cmocka_unit_test(any_change_of_the_login_is_another_broker),
        cmocka_unit_test(without_room_for_all_of_it_there_is_no_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
