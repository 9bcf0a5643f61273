#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

#define STRINGS(...)                                                                               \
    ((struct strings){(const struct view[]){__VA_ARGS__},                                          \
                      sizeof((const struct view[]){__VA_ARGS__}) / sizeof(struct view)})

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 1024, 65536);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static const struct claim claims[] = {
    {VIEW("tier"), CLAIM_STRING, VIEW("gold"), VIEW("\"gold\"")},
    {VIEW("level"), CLAIM_NUMBER, VIEW("3"), VIEW("3")},
    {VIEW("staff"), CLAIM_BOOL, VIEW("true"), VIEW("true")},
    {VIEW("nothing"), CLAIM_NULL, VIEW("null"), VIEW("null")},
    {VIEW("address"), CLAIM_COMPOUND, {NULL, 0}, VIEW("{\"a\":1}")},
};

static struct principal ann(void)
{
    static const struct view groups[] = {VIEW("readers"), VIEW("staff")};
    static const struct view scopes[] = {VIEW("orders.read")};
    static const struct consumer consumer = {.meta = {.id = VIEW("id-1")},
                                             .username = VIEW("ann")};
    return (struct principal){
        .consumer = &consumer,
        .issuer_name = VIEW("okta"),
        .subject = VIEW("ann"),
        .client = VIEW("web"),
        .groups = {groups, 2},
        .scopes = {scopes, 1},
        .claims = claims,
        .claim_count = COUNT_OF(claims),
    };
}

/* A role that holds for everybody and covers route "order" of "shop". */
static struct role open_role(const char *name)
{
    static const struct view routes[] = {{"order", 5}};
    static const struct allow_rule rules[] = {{.routes = {routes, 1}}};
    static const struct view services[] = {VIEW("shop")};
    return (struct role){.name = view_str(name),
                         .services = {services, 1},
                         .allow = rules,
                         .allow_count = 1};
}

static struct policy_subject get_order(void)
{
    return (struct policy_subject){
        .service = VIEW("shop"), .route = VIEW("order"), .method = VIEW("GET")};
}

static struct decision decide(const struct role *roles, size_t count, struct policy_subject subject)
{
    const struct principal caller = ann();
    struct decision d;
    assert_false(failed(policy_decide(&arena, roles, count, &caller, &subject, &d)));
    assert_int_equal(d.finding_count, count);
    assert_true(d.allowed == (d.role != NULL));
    return d;
}

static void assert_alone(const struct role *role, struct policy_subject subject,
                         enum role_verdict verdict)
{
    struct decision d = decide(role, 1, subject);
    assert_int_equal(d.findings[0].verdict, verdict);
    assert_ptr_equal(d.findings[0].role, role);
    assert_true(d.allowed == (verdict == ROLE_CHOSEN));
    assert_true(view_is(d.reason, verdict == ROLE_CHOSEN ? "allowed" : "no_role"));
}

static void without_roles_every_call_is_denied(void **state)
{
    (void)state;
    struct decision d = decide(NULL, 0, get_order());
    assert_false(d.allowed);
    assert_true(view_is(d.reason, "no_role"));
    assert_false(policy_may_see(NULL, 0, &(struct principal){0}, VIEW("shop"), VIEW("order")));
}

static void a_role_of_nothing_covers_nothing(void **state)
{
    (void)state;
    struct role role = {.name = VIEW("empty")};
    assert_alone(&role, get_order(), ROLE_OTHER_SERVICE);
    role = open_role("no allow");
    role.allow_count = 0;
    assert_alone(&role, get_order(), ROLE_NOT_ALLOWED);
    const struct allow_rule nothing = {.methods = STRINGS(VIEW("GET"))};
    role.allow = &nothing;
    role.allow_count = 1;
    assert_alone(&role, get_order(), ROLE_NOT_ALLOWED);
}

static void the_first_role_that_serves_is_chosen(void **state)
{
    (void)state;
    struct role roles[] = {open_role("first"), open_role("second"), open_role("third"),
                           open_role("fourth")};
    roles[0].when.groups = STRINGS(VIEW("admins"));
    roles[3].when.issuer = STRINGS(VIEW("entra"));
    struct decision d = decide(roles, COUNT_OF(roles), get_order());
    assert_ptr_equal(d.role, &roles[1]);
    assert_int_equal(d.findings[0].verdict, ROLE_MISSING_GROUP);
    assert_int_equal(d.findings[1].verdict, ROLE_CHOSEN);
    assert_int_equal(d.findings[2].verdict, ROLE_LOWER_PRIORITY);
    assert_int_equal(d.findings[3].verdict, ROLE_WRONG_ISSUER);
}

static void each_key_of_when_must_hold(void **state)
{
    (void)state;
    const struct {
        struct condition when;
        enum role_verdict verdict;
    } cases[] = {
        {{.issuer = STRINGS(VIEW("entra"), VIEW("okta"))}, ROLE_CHOSEN},
        {{.issuer = STRINGS(VIEW("Okta"))}, ROLE_WRONG_ISSUER},
        {{.subject = STRINGS(VIEW("ann"))}, ROLE_CHOSEN},
        {{.subject = STRINGS(VIEW("an"), VIEW("anna"))}, ROLE_WRONG_SUBJECT},
        {{.client = STRINGS(VIEW("web"))}, ROLE_CHOSEN},
        {{.client = STRINGS(VIEW("batch"))}, ROLE_WRONG_CLIENT},
        {{.consumers = STRINGS(VIEW("id-0"), VIEW("id-1"))}, ROLE_CHOSEN},
        {{.consumers = STRINGS(VIEW("ann"))}, ROLE_WRONG_CONSUMER},
        {{.client = STRINGS(VIEW("x")), .consumers = STRINGS(VIEW("x"))}, ROLE_WRONG_CLIENT},
        {{.consumers = STRINGS(VIEW("x")), .groups = STRINGS(VIEW("x"))}, ROLE_WRONG_CONSUMER},
        {{.groups = STRINGS(VIEW("x"), VIEW("staff"))}, ROLE_CHOSEN},
        {{.groups = STRINGS(VIEW("x"))}, ROLE_MISSING_GROUP},
        {{.scopes = STRINGS(VIEW("orders.read"))}, ROLE_CHOSEN},
        {{.scopes = STRINGS(VIEW("orders"))}, ROLE_MISSING_SCOPE},
        {{.groups = STRINGS(VIEW("staff")), .scopes = STRINGS(VIEW("x"))}, ROLE_MISSING_SCOPE},
        /* The first reason, in the order of the enum. */
        {{.issuer = STRINGS(VIEW("x")), .scopes = STRINGS(VIEW("x"))}, ROLE_WRONG_ISSUER},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct role role = open_role("r");
        role.when = cases[i].when;
        assert_alone(&role, get_order(), cases[i].verdict);
    }
}

static void an_absent_client_matches_no_condition(void **state)
{
    (void)state;
    struct role role = open_role("r");
    role.when.client = STRINGS(VIEW(""));
    struct principal nobody = ann();
    nobody.client = (struct view){NULL, 0};
    const struct policy_subject subject = get_order();
    struct decision d;
    assert_false(failed(policy_decide(&arena, &role, 1, &nobody, &subject, &d)));
    assert_int_equal(d.findings[0].verdict, ROLE_WRONG_CLIENT);
}

static void who_is_no_consumer_is_none_of_a_role(void **state)
{
    (void)state;
    struct role role = open_role("r");
    role.when.consumers = STRINGS(VIEW("id-1"));
    struct principal nobody = ann();
    nobody.consumer = NULL;
    nobody.consumer_claim = VIEW("id-1");
    const struct policy_subject subject = get_order();
    struct decision d;
    assert_false(failed(policy_decide(&arena, &role, 1, &nobody, &subject, &d)));
    assert_false(d.allowed);
    assert_int_equal(d.findings[0].verdict, ROLE_WRONG_CONSUMER);
    assert_false(policy_may_see(&role, 1, &nobody, VIEW("shop"), VIEW("order")));
}

static void claims_are_compared_by_their_text(void **state)
{
    (void)state;
    const struct {
        struct claim_condition claim;
        enum role_verdict verdict;
    } cases[] = {
        {{VIEW("tier"), STRINGS(VIEW("silver"), VIEW("gold"))}, ROLE_CHOSEN},
        {{VIEW("tier"), STRINGS(VIEW("silver"))}, ROLE_WRONG_CLAIM},
        {{VIEW("level"), STRINGS(VIEW("3"))}, ROLE_CHOSEN},
        {{VIEW("level"), STRINGS(VIEW("3.0"))}, ROLE_WRONG_CLAIM},
        {{VIEW("staff"), STRINGS(VIEW("true"))}, ROLE_CHOSEN},
        {{VIEW("absent"), STRINGS(VIEW(""))}, ROLE_WRONG_CLAIM},
        {{VIEW("nothing"), STRINGS(VIEW("null"))}, ROLE_WRONG_CLAIM},
        {{VIEW("address"), STRINGS(VIEW(""), VIEW("{\"a\":1}"))}, ROLE_WRONG_CLAIM},
        {{VIEW("tier"), {NULL, 0}}, ROLE_WRONG_CLAIM},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct role role = open_role("r");
        role.when.claims = &cases[i].claim;
        role.when.claim_count = 1;
        assert_alone(&role, get_order(), cases[i].verdict);
    }
    /* All of several claims must hold. */
    const struct claim_condition both[] = {cases[0].claim, cases[1].claim};
    struct role role = open_role("r");
    role.when.claims = both;
    role.when.claim_count = 2;
    assert_alone(&role, get_order(), ROLE_WRONG_CLAIM);
}

static void allow_covers_by_service_route_and_method(void **state)
{
    (void)state;
    const struct allow_rule rules[] = {
        {.routes = STRINGS(VIEW("order")), .methods = STRINGS(VIEW("GET"))},
        {.routes = STRINGS(VIEW("cancel")), .methods = STRINGS(VIEW("POST"), VIEW("DELETE"))},
    };
    struct role role = open_role("r");
    role.allow = rules;
    role.allow_count = 2;
    const struct {
        struct policy_subject subject;
        enum role_verdict verdict;
    } cases[] = {
        {{VIEW("shop"), VIEW("order"), VIEW("GET"), {0}}, ROLE_CHOSEN},
        {{VIEW("shop"), VIEW("order"), VIEW("HEAD"), {0}}, ROLE_CHOSEN},
        {{VIEW("shop"), VIEW("order"), VIEW("get"), {0}}, ROLE_NOT_ALLOWED},
        {{VIEW("shop"), VIEW("order"), VIEW("POST"), {0}}, ROLE_NOT_ALLOWED},
        {{VIEW("shop"), VIEW("cancel"), VIEW("DELETE"), {0}}, ROLE_CHOSEN},
        {{VIEW("shop"), VIEW("cancel"), VIEW("HEAD"), {0}}, ROLE_NOT_ALLOWED},
        {{VIEW("shop"), VIEW("other"), VIEW("GET"), {0}}, ROLE_NOT_ALLOWED},
        {{VIEW("shop2"), VIEW("order"), VIEW("GET"), {0}}, ROLE_OTHER_SERVICE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_alone(&role, cases[i].subject, cases[i].verdict);
}

static void a_star_covers_every_route_of_the_roles_services_only(void **state)
{
    (void)state;
    const struct allow_rule star = {.routes = STRINGS(VIEW("*"))};
    struct role role = open_role("r");
    role.allow = &star;
    struct policy_subject subject = get_order();
    subject.route = VIEW("anything");
    assert_alone(&role, subject, ROLE_CHOSEN);
    subject.service = VIEW("bank");
    assert_alone(&role, subject, ROLE_OTHER_SERVICE);
}

static void a_named_role_is_taken_alone(void **state)
{
    (void)state;
    struct role roles[] = {open_role("first"), open_role("second"), open_role("admin")};
    roles[2].when.groups = STRINGS(VIEW("admins"));
    struct policy_subject subject = get_order();

    subject.named_role = VIEW("second");
    struct decision d = decide(roles, 3, subject);
    assert_ptr_equal(d.role, &roles[1]);
    assert_int_equal(d.findings[0].verdict, ROLE_NOT_NAMED);
    assert_int_equal(d.findings[1].verdict, ROLE_CHOSEN);
    assert_int_equal(d.findings[2].verdict, ROLE_NOT_NAMED);

    /* No other role steps in for one that does not hold, or does not exist. */
    subject.named_role = VIEW("admin");
    d = decide(roles, 3, subject);
    assert_null(d.role);
    assert_true(view_is(d.reason, "named_role_not_held"));
    assert_int_equal(d.findings[2].verdict, ROLE_MISSING_GROUP);

    subject.named_role = VIEW("nobody");
    d = decide(roles, 3, subject);
    assert_null(d.role);
    assert_true(view_is(d.reason, "named_role_unknown"));

    subject.named_role = VIEW("");
    d = decide(roles, 3, subject);
    assert_null(d.role);
    assert_true(view_is(d.reason, "named_role_unknown"));
}

static void a_route_is_seen_by_those_whose_roles_cover_it(void **state)
{
    (void)state;
    const struct allow_rule get = {.routes = STRINGS(VIEW("order")),
                                   .methods = STRINGS(VIEW("GET"))};
    struct role role = open_role("r");
    role.allow = &get;
    const struct principal caller = ann();
    struct policy_subject post = get_order();
    post.method = VIEW("POST");
    assert_alone(&role, post, ROLE_NOT_ALLOWED); /* a 403, since: */
    assert_true(policy_may_see(&role, 1, &caller, VIEW("shop"), VIEW("order")));
    assert_false(policy_may_see(&role, 1, &caller, VIEW("shop"), VIEW("other")));
    assert_false(policy_may_see(&role, 1, &caller, VIEW("bank"), VIEW("order")));
    role.when.groups = STRINGS(VIEW("admins"));
    assert_false(policy_may_see(&role, 1, &caller, VIEW("shop"), VIEW("order")));
}

static void without_memory_the_call_is_denied(void **state)
{
    (void)state;
    struct arena tiny;
    arena_init(&tiny, 16, 16);
    const struct role roles[] = {open_role("a"), open_role("b"), open_role("c"), open_role("d")};
    const struct principal caller = ann();
    const struct policy_subject subject = get_order();
    struct decision d = {.allowed = true};
    err e = policy_decide(&tiny, roles, 4, &caller, &subject, &d);
    assert_true(is_fault(e, &fault_out_of_memory));
    assert_false(d.allowed);
    assert_null(d.role);
    assert_true(view_is(d.reason, "no_decision"));
    arena_clear(&tiny);
}

static void every_verdict_has_its_words(void **state)
{
    (void)state;
    assert_string_equal(policy_verdict_name(ROLE_CHOSEN), "chosen");
    assert_string_equal(policy_verdict_name(ROLE_LOWER_PRIORITY), "lower_priority");
    for (int v = ROLE_CHOSEN; v <= ROLE_LOWER_PRIORITY; v++) {
        assert_non_null(policy_verdict_name((enum role_verdict)v));
        assert_non_null(policy_verdict_text((enum role_verdict)v));
    }
    assert_string_equal(policy_verdict_name((enum role_verdict)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_roles_every_call_is_denied),
        cmocka_unit_test(a_role_of_nothing_covers_nothing),
        cmocka_unit_test(the_first_role_that_serves_is_chosen),
        cmocka_unit_test(each_key_of_when_must_hold),
        cmocka_unit_test(an_absent_client_matches_no_condition),
        cmocka_unit_test(who_is_no_consumer_is_none_of_a_role),
        cmocka_unit_test(claims_are_compared_by_their_text),
        cmocka_unit_test(allow_covers_by_service_route_and_method),
        cmocka_unit_test(a_star_covers_every_route_of_the_roles_services_only),
        cmocka_unit_test(a_named_role_is_taken_alone),
        cmocka_unit_test(a_route_is_seen_by_those_whose_roles_cover_it),
        cmocka_unit_test(without_memory_the_call_is_denied),
        cmocka_unit_test(every_verdict_has_its_words),
    };
    return cmocka_run_group_tests_name("policy", tests, begin, end);
}
