/* Names of sessions.  The digests were made by Python's hashlib and base64, from the layout that
 * session_name.c writes: each part with its presence and length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/session_name.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 16 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static struct session_caller caller_of(struct view subject)
{
    return (struct session_caller){.issuer = VIEW("https://idp.example"),
                                   .issuer_name = VIEW("okta"),
                                   .subject = subject,
                                   .client = VIEW("app1"),
                                   .role = VIEW("reader"),
                                   .only_issuer = true};
}

static struct view name(const char *text, const struct session_caller *caller)
{
    struct view out;

    assert_true(!failed(
        session_text_render(&arena, view_str(text), SESSION_TEXT_NAME, caller, &out)));
    return out;
}

#define ASSERT_NAME(text, caller, expected)                                                        \
    do {                                                                                           \
        struct view got = name(text, caller);                                                      \
        assert_string_equal(got.data, expected);                                                   \
    } while (0)

static void a_value_that_fits_stays_as_it_is(void **state)
{
    (void)state;
    struct session_caller ann = caller_of(VIEW("ann@example.com"));
    ASSERT_NAME("{subject}", &ann, "ann@example.com");
    ASSERT_NAME("shop-{subject}", &ann, "shop-ann@example.com");
    ASSERT_NAME("{role}", &ann, "reader");
    ASSERT_NAME("{issuer}", &ann, "okta");
    ASSERT_NAME("{client}", &ann, "app1");
    ASSERT_NAME("fixed", &ann, "fixed");
}

static void what_had_to_change_carries_a_digest(void **state)
{
    (void)state;
    struct session_caller c = caller_of(VIEW("auth0|42"));
    ASSERT_NAME("{subject}", &c, "auth0_42-4bgpsofj24bdom7pm2626qhlbi");
    c = caller_of(VIEW("ann"));
    ASSERT_NAME("{issuer}.{subject}", &c, "okta.ann-bu3xrowxssciionr5kq245rcby");
    c.client = (struct view){NULL, 0};
    ASSERT_NAME("{client}", &c, "-icv6lhqsuiho4vsamokqz7xfui");
    char longer[66];
    memset(longer, 'x', 65);
    longer[65] = '\0';
    c = caller_of(view_str(longer));
    ASSERT_NAME("{subject}", &c,
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-bsxb564xkwqphu7kscdv5ixpme");
    longer[64] = '\0'; /* as long as may be */
    c = caller_of(view_str(longer));
    ASSERT_NAME("{subject}", &c, longer);
}

static void a_subject_is_unique_only_within_its_issuer(void **state)
{
    (void)state;
    struct session_caller one = caller_of(VIEW("alice"));
    one.only_issuer = false;
    ASSERT_NAME("{subject}", &one, "alice-fwrank7x2s7zzzy5jisj6rvh5a");
    struct session_caller two = one;
    two.issuer = VIEW("https://other.example");
    assert_false(view_eq(name("{subject}", &one), name("{subject}", &two)));
    /* A role is the configuration's own, whoever vouches for the caller. */
    ASSERT_NAME("{role}", &one, "reader");
}

static void a_subject_cannot_take_another_ones_made_up_name(void **state)
{
    (void)state;
    struct session_caller victim = caller_of(VIEW("auth0|42"));
    struct session_caller thief = caller_of(name("{subject}", &victim));
    struct view stolen = name("{subject}", &thief);
    assert_false(view_eq(stolen, name("{subject}", &victim)));
    assert_int_equal(stolen.len, 8 + 1 + 26 + 1 + 26);
    /* Nor by a template that completes it. */
    thief = caller_of(VIEW("42-4bgpsofj24bdom7pm2626qhlbi"));
    assert_false(view_eq(name("auth0_{subject}", &thief), name("{subject}", &victim)));
}

static void one_character_is_too_short(void **state)
{
    (void)state;
    struct session_caller c = caller_of(VIEW("a"));
    assert_int_equal(name("{subject}", &c).len, 1 + 1 + 26);
    ASSERT_NAME("x{subject}", &c, "xa");
}

static void tags_have_their_own_characters_and_length(void **state)
{
    (void)state;
    struct session_caller c = caller_of(VIEW("team: a/b"));
    struct view out;
    assert_true(!failed(
        session_text_render(&arena, VIEW("{subject}"), SESSION_TEXT_TAG, &c, &out)));
    assert_string_equal(out.data, "team: a/b");
    c.subject = VIEW("J\xc3\xbcrgen,"); /* a comma serves in names alone */
    assert_true(!failed(
        session_text_render(&arena, VIEW("{subject}"), SESSION_TEXT_TAG, &c, &out)));
    assert_true(view_starts_with(out, VIEW("J__rgen_-")));
    char longer[301];
    memset(longer, 'y', 300);
    longer[300] = '\0';
    c.subject = view_str(longer);
    assert_true(!failed(
        session_text_render(&arena, VIEW("{subject}"), SESSION_TEXT_TAG, &c, &out)));
    assert_int_equal(out.len, 256);
    longer[256] = '\0';
    c.subject = view_str(longer);
    assert_true(!failed(
        session_text_render(&arena, VIEW("{subject}"), SESSION_TEXT_TAG, &c, &out)));
    assert_string_equal(out.data, longer);
}

/* ---- Pairs ---- */

static struct view some_value(unsigned *seed)
{
    static const struct view few[] = {VIEW("a"), VIEW("ab"), VIEW("a|b"), VIEW("a_b"), VIEW("|"),
                                      VIEW(""),  VIEW("-"),  VIEW("b-a"), VIEW("a/b")};
    char text[90];
    size_t len = (unsigned)rand_r(seed) % sizeof text;

    if (rand_r(seed) % 2 == 0)
        return few[(unsigned)rand_r(seed) % COUNT_OF(few)];
    for (size_t i = 0; i < len; i++)
        text[i] = "ab-_|"[(unsigned)rand_r(seed) % 5];
    return arena_copy(&arena, view_of(text, len));
}

static void no_two_callers_have_the_same_name_or_key(void **state)
{
    (void)state;
    static const char *const templates[] = {"{subject}", "{client}-{subject}", "x{subject}{role}",
                                            "{issuer}/{subject}"};
    unsigned seed = 7;

    for (int i = 0; i < 20000; i++) {
        struct session_caller one = caller_of(some_value(&seed)), two = one;
        one.only_issuer = two.only_issuer = rand_r(&seed) % 2;
        if (rand_r(&seed) % 2)
            two.subject = some_value(&seed);
        if (rand_r(&seed) % 2)
            two.client = one.subject;
        if (rand_r(&seed) % 4 == 0 && !one.only_issuer)
            two.issuer = VIEW("https://other.example");
        unsigned t = (unsigned)rand_r(&seed) % COUNT_OF(templates);
        bool same = view_eq(one.subject, two.subject) && view_eq(one.issuer, two.issuer) &&
                    (t != 1 || view_eq(one.client, two.client));
        const struct iam_auth iam = {.enabled = true, .role_session_name = view_str(templates[t])};
        struct db_session_identity a, b;
        assert_true(!failed(session_identity_make(&arena, &iam, &one, &a)));
        assert_true(!failed(session_identity_make(&arena, &iam, &two, &b)));
        assert_int_equal(view_eq(a.name, b.name), same);
        assert_int_equal(memcmp(a.key, b.key, DB_KEY_BYTES) == 0, same);
        assert_true(a.name.len >= 2 && a.name.len <= 64);
        arena_reset(&arena);
    }
}

/* ---- Whole identities ---- */

static struct db_session_identity make(const struct iam_auth *iam,
                                       const struct session_caller *caller)
{
    struct db_session_identity out;

    assert_true(!failed(session_identity_make(&arena, iam, caller, &out)));
    return out;
}

static void the_source_identity_follows_the_name(void **state)
{
    (void)state;
    struct session_caller ann = caller_of(VIEW("ann"));
    struct iam_auth iam = {.enabled = true, .role_session_name = VIEW("{subject}")};
    assert_string_equal(make(&iam, &ann).source_identity.data, "ann");
    iam.has_source_identity = true;
    assert_null(make(&iam, &ann).source_identity.data);
    iam.source_identity = VIEW("by-{client}");
    assert_string_equal(make(&iam, &ann).source_identity.data, "by-app1");
    /* A fixed name says nothing of the caller, so it is none. */
    iam = (struct iam_auth){.enabled = true, .role_session_name = VIEW("fixed")};
    assert_null(make(&iam, &ann).source_identity.data);
    /* AssumeRoleWithWebIdentity takes none. */
    static const struct view roles[] = {VIEW("arn:1"), VIEW("arn:2")};
    iam = (struct iam_auth){.enabled = true,
                            .assume_role_arn = {roles, 1},
                            .web_identity = WEB_IDENTITY_CALLER};
    assert_string_equal(make(&iam, &ann).name.data, "ann");
    assert_null(make(&iam, &ann).source_identity.data);
    iam.assume_role_arn.count = 2;
    assert_string_equal(make(&iam, &ann).source_identity.data, "ann");
}

static bool same_key(const struct iam_auth *a, const struct iam_auth *b,
                     const struct session_caller *one, const struct session_caller *two)
{
    struct db_session_identity x = make(a, one), y = make(b, two);

    return memcmp(x.key, y.key, DB_KEY_BYTES) == 0;
}

static void whoever_shares_all_that_is_named_shares_the_session(void **state)
{
    (void)state;
    struct session_caller ann = caller_of(VIEW("ann")), ben = caller_of(VIEW("ben"));
    struct iam_auth iam = {.enabled = true, .role_session_name = VIEW("{role}")};
    assert_true(same_key(&iam, &iam, &ann, &ben));
    ben.role = VIEW("writer");
    assert_false(same_key(&iam, &iam, &ann, &ben));
    ben.role = ann.role;
    /* A tag that tells them apart tells their sessions apart. */
    const struct session_tag tag = {.key = VIEW("who"), .value = VIEW("{subject}")};
    iam.tags = &tag;
    iam.tag_count = 1;
    assert_false(same_key(&iam, &iam, &ann, &ben));
    assert_string_equal(make(&iam, &ben).tag_values[0].data, "ben");
    iam.tag_count = 0;
    /* So does the token that the session is assumed with, by whose it is. */
    iam.web_identity = WEB_IDENTITY_CALLER;
    assert_false(same_key(&iam, &iam, &ann, &ben));
    assert_true(same_key(&iam, &iam, &ann, &ann));
}

/* A token that was given less must not find the session of one that was given more. */
static void another_token_of_the_caller_may_give_another_session(void **state)
{
    (void)state;
    static const char *const telling[] = {"aud", "azp", "amr", "email",
                                          "https://aws.amazon.com/tags",
                                          "https://aws.amazon.com/source_identity"};
    static const struct view role = VIEW("arn:a");
    struct iam_auth iam = {.enabled = true,
                           .assume_role_arn = {&role, 1},
                           .web_identity = WEB_IDENTITY_CALLER};
    struct claim one = {.kind = CLAIM_STRING}, two = one;
    struct session_caller first = caller_of(VIEW("ann")), second = first, bare = first;
    one.json = VIEW("\"x\"");
    two.json = VIEW("\"y\"");
    first.claims = &one;
    second.claims = &two;
    first.claim_count = second.claim_count = 1;
    for (size_t i = 0; i < COUNT_OF(telling); i++) {
        one.name = two.name = view_str(telling[i]);
        assert_false(same_key(&iam, &iam, &first, &second));
        assert_false(same_key(&iam, &iam, &first, &bare));
        assert_true(same_key(&iam, &iam, &first, &first));
    }
    /* But not each token: what changes from one to the next says nothing of rights. */
    one.name = two.name = VIEW("jti");
    assert_true(same_key(&iam, &iam, &first, &second));
    /* And without the token STS hears of none of them. */
    one.name = two.name = VIEW("aud");
    iam.web_identity = WEB_IDENTITY_NONE;
    iam.role_session_name = VIEW("{subject}");
    assert_true(same_key(&iam, &iam, &first, &second));
}

static void nobody_is_called_as_the_gateway_itself(void **state)
{
    (void)state;
    struct session_caller c = caller_of(VIEW("sallyport"));
    assert_true(view_starts_with(name("{subject}", &c), VIEW("sallyport-")));
    c.subject = VIEW("port");
    assert_true(view_starts_with(name("Sally{subject}", &c), VIEW("Sallyport-")));
    ASSERT_NAME("x-{subject}", &c, "x-port");
    ASSERT_NAME("sallyport", &c, "sallyport");
}

static void the_key_is_of_the_request_too(void **state)
{
    (void)state;
    static const struct view a = VIEW("arn:a"), b = VIEW("arn:b");
    const struct session_caller ann = caller_of(VIEW("ann"));
    const struct session_tag tag = {.key = VIEW("k"), .value = VIEW("v")};
    const struct session_tag passed_on = {.key = VIEW("k"), .value = VIEW("v"), .transitive = true};
    const struct iam_auth base = {.enabled = true,
                                  .assume_role_arn = {&a, 1},
                                  .role_session_name = VIEW("{subject}"),
                                  .tags = &tag,
                                  .tag_count = 1};
    struct iam_auth other[9];
    for (size_t i = 0; i < COUNT_OF(other); i++)
        other[i] = base;
    other[0].assume_role_arn.items = &b;
    other[1].external_id = VIEW("x");
    other[2].session_duration_s = 900;
    other[3].policy = VIEW("{}");
    other[4].policy_arns = (struct strings){&a, 1};
    other[5].tags = &passed_on;
    other[6].sts_endpoint_url = VIEW("https://sts.example");
    other[7].region = VIEW("eu-west-1");
    other[8].role_session_name = VIEW("x-{subject}");
    assert_true(same_key(&base, &base, &ann, &ann));
    /* With a second issuer the name changes, so the session has to. */
    struct session_caller of_two = ann;
    of_two.only_issuer = false;
    assert_false(same_key(&base, &base, &ann, &of_two));
    for (size_t i = 0; i < COUNT_OF(other); i++)
        assert_false(same_key(&base, &other[i], &ann, &ann));
}

/* ---- Templates ---- */

static void templates_are_checked(void **state)
{
    (void)state;
    assert_null(session_template_check(VIEW("{subject}"), SESSION_TEXT_NAME));
    assert_null(session_template_check(VIEW("a-{issuer}.{client}@{role}"), SESSION_TEXT_NAME));
    assert_null(session_template_check(VIEW("sallyport"), SESSION_TEXT_NAME));
    assert_null(session_template_check(VIEW("a b:{subject}/"), SESSION_TEXT_TAG));
    assert_null(session_template_check(VIEW(""), SESSION_TEXT_TAG));
    static const char braces[] =
        "has a brace that is none of {subject}, {client}, {role}, {issuer}";
    assert_string_equal(session_template_check(VIEW("{sub}"), SESSION_TEXT_NAME), braces);
    assert_string_equal(session_template_check(VIEW("a}"), SESSION_TEXT_NAME), braces);
    assert_string_equal(session_template_check(VIEW("{{subject}}"), SESSION_TEXT_NAME), braces);
    assert_string_equal(session_template_check(VIEW("{subject"), SESSION_TEXT_TAG), braces);
    static const char characters[] =
        "may hold only letters, digits and _+=,.@- beside placeholders";
    assert_string_equal(session_template_check(VIEW("a b"), SESSION_TEXT_NAME), characters);
    assert_string_equal(session_template_check(VIEW("{subject}/"), SESSION_TEXT_NAME), characters);
    assert_string_equal(session_template_check(VIEW("a\0b"), SESSION_TEXT_NAME), characters);
    assert_non_null(session_template_check(VIEW("a,b"), SESSION_TEXT_TAG));
    assert_string_equal(session_template_check(VIEW("a"), SESSION_TEXT_NAME),
                        "is shorter than 2 characters");
    char longer[258];
    memset(longer, 'a', 257);
    assert_null(session_template_check(view_of(longer, 64), SESSION_TEXT_NAME));
    assert_string_equal(session_template_check(view_of(longer, 65), SESSION_TEXT_NAME),
                        "is longer than 64 characters");
    assert_null(session_template_check(view_of(longer, 256), SESSION_TEXT_TAG));
    assert_string_equal(session_template_check(view_of(longer, 257), SESSION_TEXT_TAG),
                        "is longer than 256 characters");
    assert_true(session_template_varies(VIEW("x{role}")));
    assert_false(session_template_varies(VIEW("role")));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_that_fits_stays_as_it_is),
        TEST(what_had_to_change_carries_a_digest),
        TEST(a_subject_is_unique_only_within_its_issuer),
        TEST(a_subject_cannot_take_another_ones_made_up_name),
        TEST(one_character_is_too_short),
        TEST(tags_have_their_own_characters_and_length),
        TEST(no_two_callers_have_the_same_name_or_key),
        TEST(the_source_identity_follows_the_name),
        TEST(whoever_shares_all_that_is_named_shares_the_session),
        TEST(another_token_of_the_caller_may_give_another_session),
        TEST(nobody_is_called_as_the_gateway_itself),
        TEST(the_key_is_of_the_request_too),
        TEST(templates_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
