/* iam_auth: what assumed roles are given, and what STS would refuse. */
#include "config_test.h"

#define V "_format_version: '3.0'\n"
#define R1 "arn:aws:iam::123456789012:role/a"
#define R2 "arn:aws:iam::210987654321:role/team/b"
/* A service whose iam_auth has the region r; what is wrong starts in column 3 of line 6. */
#define IAM(parts)                                                                                 \
    V "services:\n- name: s\n  url: postgres://u@h/d\n  iam_auth:\n   region: r\n" parts

static const char *const variables[] = {"ROLE=" R1, NULL};

static struct test_config parsed(const char *yaml)
{
    struct test_config t;
    struct buf said;

    test_config_init(&t, variables);
    err e = test_parse(&t, "x.yaml", view_str(yaml));
    buf_init(&said, 1 << 16);
    test_describe(&t.d, &said);
    assert_string_equal(test_said(&said), "");
    assert_false(failed(e));
    buf_clear(&said);
    return t;
}

static void every_parameter_of_a_session_is_read(void **state)
{
    (void)state;
    struct test_config t =
        parsed(IAM("   assume_role_arn: ['{vault://env/ROLE}', " R2 "]\n"
                   "   role_session_name: 'x-{subject}'\n"
                   "   source_identity: ''\n"
                   "   external_id: a:b/c\n"
                   "   session_duration: 1h\n"
                   "   policy: '{\"Version\": \"2012-10-17\"}'\n"
                   "   policy_arns: arn:aws:iam::aws:policy/ReadOnlyAccess\n"
                   "   tags: {Team: blue, user: {value: '{subject}', transitive: true}, n: 7}\n"
                   "   sts_endpoint_url: https://sts.example\n"
                   "   max_sessions: 3\n"));
    const struct iam_auth *iam = &t.e.services[0].primary.iam_auth;

    assert_int_equal(iam->assume_role_arn.count, 2);
    assert_text(iam->assume_role_arn.items[0], R1);
    assert_text(iam->assume_role_arn.items[1], R2);
    assert_text(iam->role_session_name, "x-{subject}");
    assert_true(iam->has_source_identity);
    assert_int_equal(iam->source_identity.len, 0);
    assert_text(iam->external_id, "a:b/c");
    assert_int_equal(iam->session_duration_s, 3600);
    assert_text(iam->policy, "{\"Version\": \"2012-10-17\"}");
    assert_int_equal(iam->policy_arns.count, 1);
    assert_int_equal(iam->tag_count, 3);
    assert_text(iam->tags[0].key, "Team");
    assert_text(iam->tags[0].value, "blue");
    assert_false(iam->tags[0].transitive);
    assert_text(iam->tags[1].key, "user");
    assert_text(iam->tags[1].value, "{subject}");
    assert_true(iam->tags[1].transitive);
    assert_int_equal(iam->tags[1].line, 14);
    assert_text(iam->tags[2].value, "7");
    assert_int_equal(iam->web_identity, WEB_IDENTITY_NONE);
    assert_text(iam->sts_endpoint_url, "https://sts.example");
    assert_int_equal(iam->max_sessions, 3);
    assert_true(iam->per_caller);
    test_config_clear(&t);
}

static void one_session_serves_all_unless_a_text_varies(void **state)
{
    static const struct {
        const char *yaml;
        bool per_caller;
    } cases[] = {
        {IAM(""), false},
        {IAM("   assume_role_arn: " R1 "\n"), false},
        {IAM("   assume_role_arn: " R1 "\n   role_session_name: shop\n"), false},
        {IAM("   assume_role_arn: " R1 "\n   tags: {a: b}\n"), false},
        {IAM("   assume_role_arn: " R1 "\n   tags: {a: b, r: '{role}'}\n"), true},
        {IAM("   assume_role_arn: " R1 "\n   source_identity: '{client}'\n"), true},
        {IAM("   assume_role_arn: " R1 "\n   role_session_name: '{issuer}-x'\n"), true},
        {IAM("   assume_role_arn: " R1 "\n   web_identity: caller\n"), true},
        {IAM("   assume_role_arn: " R1 "\n   web_identity: none\n"), false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_config t = parsed(cases[i].yaml);
        assert_int_equal(t.e.services[0].primary.iam_auth.per_caller, cases[i].per_caller);
        assert_int_equal(t.e.services[0].primary.iam_auth.max_sessions, 1000);
        assert_false(t.e.services[0].primary.iam_auth.has_source_identity &&
                     t.e.services[0].primary.iam_auth.source_identity.len == 0);
        test_config_clear(&t);
    }
}

static void read_inherits_the_session_and_may_change_it(void **state)
{
    (void)state;
    struct test_config t = parsed(IAM("   assume_role_arn: " R1 "\n"
                                      "   role_session_name: '{subject}'\n"
                                      "   tags: {a: b}\n"
                                      "  read: {port: 6000}\n"
                                      "- name: other\n"
                                      "  url: postgres://u@h/d\n"
                                      "  iam_auth: {region: r, assume_role_arn: " R1 "}\n"
                                      "  read:\n"
                                      "   iam_auth: {assume_role_arn: " R2 ", "
                                      "role_session_name: '{client}'}\n"
                                      "- name: none\n"
                                      "  url: postgres://u@h/d\n"
                                      "  iam_auth: {region: r, assume_role_arn: " R1 ", "
                                      "web_identity: caller}\n"
                                      "  read: {iam_auth: {assume_role_arn: [], "
                                      "web_identity: none}}\n"));
    const struct iam_auth *iam = &t.e.services[0].read.iam_auth;

    assert_true(iam->per_caller);
    assert_int_equal(iam->tag_count, 1);
    assert_text(iam->role_session_name, "{subject}");
    assert_false(t.e.services[1].primary.iam_auth.per_caller);
    assert_true(t.e.services[1].read.iam_auth.per_caller);
    assert_text(t.e.services[1].read.iam_auth.assume_role_arn.items[0], R2);
    assert_true(t.e.services[2].primary.iam_auth.per_caller);
    assert_false(t.e.services[2].read.iam_auth.per_caller);
    assert_int_equal(t.e.services[2].read.iam_auth.assume_role_arn.count, 0);
    test_config_clear(&t);
}

#define WRONG(line, column, text) #line ":" #column " error: " text "\n"
#define WARNED(line, column, text) #line ":" #column " warning: " text "\n"
#define ROLE "must read arn:aws:iam::ACCOUNT:role/NAME, ACCOUNT being 12 digits"
#define POLICY "must read arn:aws:iam::ACCOUNT:policy/NAME, ACCOUNT being 12 digits or aws"
#define BRACE "has a brace that is none of {subject}, {client}, {role}, {issuer}"

static const struct {
    const char *yaml;
    const char *said;
} cases[] = {
    {IAM("   assume_role_arn: arn:x\n"), WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: [" R1 ", 'arn:aws:iam::12345678901:role/a']\n"),
     WRONG(7, 56, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:aws:iam::123456789012:user/a\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:aws:iam:r:123456789012:role/a\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:aws:iam::123456789012:role/\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:aws:iam::123456789012:role/p/\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:aws:iam::123456789012:role/a b\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: arn:gcp:iam::123456789012:role/a\n"),
     WRONG(7, 21, "'assume_role_arn': " ROLE)},
    {IAM("   assume_role_arn: [" R1 ", 'arn:aws-cn:iam::123456789012:role/a']\n"),
     WRONG(7, 21, "'assume_role_arn': a role of the partition 'aws' cannot assume one of "
                  "'aws-cn'")},
    {IAM("   assume_role_arn: " R1 "\n   role_session_name: 'a b'\n"),
     WRONG(8, 23, "'role_session_name': may hold only letters, digits and _+=,.@- beside "
                  "placeholders")},
    {IAM("   assume_role_arn: " R1 "\n   role_session_name: a\n"),
     WRONG(8, 23, "'role_session_name': is shorter than 2 characters")},
    {IAM("   assume_role_arn: " R1 "\n   role_session_name: '{sub}'\n"),
     WRONG(8, 23, "'role_session_name': " BRACE)},
    {IAM("   assume_role_arn: " R1 "\n   role_session_name: {subject}\n"),
     WRONG(8, 23, "'role_session_name' must be a single value; a text that begins with '{' needs "
                  "quotes")},
    {IAM("   assume_role_arn: " R1 "\n   source_identity: 'AWS:x'\n"),
     WRONG(8, 21, "'source_identity': must not begin with 'aws:', which is AWS's own")},
    {IAM("   assume_role_arn: " R1 "\n   source_identity: '{x'\n"),
     WRONG(8, 21, "'source_identity': " BRACE)},
    {IAM("   assume_role_arn: " R1 "\n   external_id: x\n"),
     WRONG(8, 17, "'external_id': must have 2 to 1224 characters")},
    {IAM("   assume_role_arn: " R1 "\n   external_id: x y\n"),
     WRONG(8, 17, "'external_id': may hold only letters, digits and _+=,.@:/-")},
    {IAM("   assume_role_arn: " R1 "\n   session_duration: 14m\n"),
     WRONG(8, 22, "'session_duration': must be from 900 to 43200 seconds")},
    {IAM("   assume_role_arn: " R1 "\n   session_duration: 13h\n"),
     WRONG(8, 22, "'session_duration': must be from 900 to 43200 seconds")},
    {IAM("   assume_role_arn: " R1 "\n   session_duration: 1y\n"),
     WRONG(8, 22, "'session_duration': must be a whole number of seconds, or one with s, m, h or "
                  "d")},
    {IAM("   assume_role_arn: " R1 "\n   session_duration: h\n"),
     WRONG(8, 22, "'session_duration': must be a whole number of seconds, or one with s, m, h or "
                  "d")},
    {IAM("   assume_role_arn: [" R1 ", " R2 "]\n   session_duration: 3601\n"),
     WRONG(8, 22, "'session_duration': STS refuses more than an hour for a role that another role "
                  "assumes")},
    {IAM("   assume_role_arn: [" R1 ", " R2 "]\n   session_duration: 1h\n"), ""},
    {IAM("   assume_role_arn: " R1 "\n   session_duration: 12h\n"), ""},
    {IAM("   assume_role_arn: " R1 "\n   policy: x\n"),
     WRONG(8, 12, "'policy': must be a JSON object, as text")},
    {IAM("   assume_role_arn: " R1 "\n   policy: '{\"\xc4\x80\"}'\n"),
     WRONG(8, 12, "'policy': may hold only characters up to U+00FF, and no control characters")},
    {IAM("   assume_role_arn: " R1 "\n   policy: '{\"\xc3\xbf\": 1}'\n"), ""},
    {IAM("   assume_role_arn: " R1 "\n   policy_arns: [arn:aws:iam::1:policy/x]\n"),
     WRONG(8, 18, "'policy_arns': " POLICY)},
    {IAM("   assume_role_arn: " R1 "\n   policy_arns: [" R1 "]\n"),
     WRONG(8, 18, "'policy_arns': " POLICY)},
    {IAM("   assume_role_arn: " R1 "\n   tags: {'AWS:x': y}\n"),
     WRONG(8, 20, "the name 'AWS:x': must not begin with 'aws:', which is AWS's own")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {'a,b': y, '\xc3\xa9': y}\n"),
     WRONG(8, 18, "the name 'a,b': may hold only letters, digits, blanks and _.:/=+@-")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {a: 'x,y'}\n"),
     WRONG(8, 14, "'value': may hold only letters, digits, blanks and _.:/=+-@ beside "
                  "placeholders")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {a: {subject}}\n"),
     WRONG(8, 14, "'value' must be a single value; a text that begins with '{' needs quotes")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {a: }\n"), WRONG(8, 14, "'a' has no 'value'")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {a: {transitive: true}}\n"),
     WRONG(8, 14, "'a' has no 'value'")},
    {IAM("   assume_role_arn: " R1 "\n   tags: {a: {value: b, transitiv: true}}\n"),
     WRONG(8, 25, "unknown field 'transitiv' in tags; did you mean 'transitive'?")},
    {IAM("   assume_role_arn: " R1 "\n   tags:\n    Team: x\n    team: y\n"),
     WRONG(10, 0, "'tags': 'team' and 'Team' differ only in case, which AWS does not tell apart")},
    {IAM("   assume_role_arn: " R1 "\n   tags: [a]\n"),
     WRONG(8, 10, "'tags' must be a mapping from names")},
    {IAM("   web_identity: caller\n"),
     WRONG(7, 18, "'web_identity': caller needs assume_role_arn, the role that the token gives")},
    {IAM("   assume_role_arn: " R1 "\n   web_identity: callers\n"),
     WRONG(8, 18, "'web_identity': 'callers' is not one of none, caller; did you mean 'caller'?")},
    {IAM("   assume_role_arn: " R1 "\n   web_identity: caller\n   external_id: xy\n"
         "   source_identity: '{subject}'\n   tags: {a: b}\n"),
     WRONG(9, 17, "'external_id' is no parameter of AssumeRoleWithWebIdentity; it takes a second "
                  "role in assume_role_arn")
     WRONG(10, 21, "'source_identity' is no parameter of AssumeRoleWithWebIdentity; it takes a "
                   "second role in assume_role_arn")
     WRONG(11, 10, "'tags' is no parameter of AssumeRoleWithWebIdentity; it takes a second role in "
                   "assume_role_arn")},
    {IAM("   assume_role_arn: [" R1 ", " R2 "]\n   web_identity: caller\n   external_id: xy\n"
         "   tags: {a: b}\n"), ""},
    {IAM("   assume_role_arn: " R1 "\n   web_identity: caller\n   source_identity: ''\n"), ""},
    {IAM("   assume_role_arn: " R1 "\n   max_sessions: 5\n"),
     WARNED(8, 18, "'max_sessions' has no effect: without a placeholder or web_identity one "
                   "session serves every caller")},
    {IAM("   assume_role_arn: " R1 "\n   role_session_name: '{role}'\n   max_sessions: 0\n"),
     WRONG(9, 18, "'max_sessions': must be from 1 to 100000")},
    {IAM("   role_session_name: xy\n   source_identity: ''\n   external_id: xy\n"
         "   session_duration: 900\n   policy: '{}'\n   policy_arns: []\n   tags: {}\n"
         "   sts_endpoint_url: https://x\n   max_sessions: 1\n"),
     WARNED(7, 23, "'role_session_name' has no effect without assume_role_arn")
     WARNED(8, 21, "'source_identity' has no effect without assume_role_arn")
     WARNED(9, 17, "'external_id' has no effect without assume_role_arn")
     WARNED(10, 22, "'session_duration' has no effect without assume_role_arn")
     WARNED(11, 12, "'policy' has no effect without assume_role_arn")
     WARNED(12, 17, "'policy_arns' has no effect without assume_role_arn")
     WARNED(13, 10, "'tags' has no effect without assume_role_arn")
     WARNED(14, 22, "'sts_endpoint_url' has no effect without assume_role_arn")
     WARNED(15, 18, "'max_sessions' has no effect without assume_role_arn")},
};

static void every_mistake_is_named_with_its_place(void **state)
{
    struct buf said;
    size_t bad = 0;
    (void)state;

    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_config t;
        test_config_init(&t, variables);
        err e = test_parse(&t, "x.yaml", view_str(cases[i].yaml));
        test_describe(&t.d, &said);
        assert_true(failed(e) == (t.d.errors > 0));
        if (strcmp(test_said(&said), cases[i].said) != 0) {
            test_show_difference(i, view_str(cases[i].yaml), &said, cases[i].said);
            bad++;
        }
        test_config_clear(&t);
    }
    buf_clear(&said);
    assert_int_equal(bad, 0);
}

/* "iam_auth: {region: r, assume_role_arn: R1, FIELD: [or {, count items of the text, ] or }}" */
static size_t errors_of_many(const char *field, const char *open, const char *item, size_t count,
                             const char *close)
{
    struct test_config t;
    struct buf text;

    buf_init(&text, 1 << 20);
    buf_printf(&text, IAM("   assume_role_arn: " R1 "\n   %s: %s"), field, open);
    for (size_t i = 0; i < count; i++) {
        for (const char *c = item; *c != '\0'; c++) {
            if (*c == '#')
                buf_add_u64(&text, i);
            else
                buf_add_char(&text, *c);
        }
    }
    buf_add_str(&text, close);
    test_config_init(&t, variables);
    bool invalid = is_fault(test_parse(&t, "x.yaml", buf_view(&text)), &config_invalid);
    size_t errors = t.d.errors;
    assert_int_equal(invalid, errors > 0);
    test_config_clear(&t);
    buf_clear(&text);
    return errors;
}

static void what_sts_limits_is_limited_here(void **state)
{
    (void)state;
    assert_int_equal(
        errors_of_many("policy_arns", "[", "arn:aws:iam::aws:policy/p#, ", 10, "]\n"), 0);
    assert_int_equal(
        errors_of_many("policy_arns", "[", "arn:aws:iam::aws:policy/p#, ", 11, "]\n"), 1);
    assert_int_equal(errors_of_many("tags", "{", "t#: v, ", 50, "}\n"), 0);
    assert_int_equal(errors_of_many("tags", "{", "t#: v, ", 51, "}\n"), 1);
    assert_int_equal(errors_of_many("policy", "'{\"a\": \"", "\xc3\xa9", 2039, "\"}'\n"), 0);
    assert_int_equal(errors_of_many("policy", "'{\"a\": \"", "\xc3\xa9", 2040, "\"}'\n"), 1);
    assert_int_equal(errors_of_many("external_id", "", "aa", 612, "\n"), 0);
    assert_int_equal(errors_of_many("external_id", "", "aa", 613, "\n"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_of_a_session_is_read),
        cmocka_unit_test(one_session_serves_all_unless_a_text_varies),
        cmocka_unit_test(read_inherits_the_session_and_may_change_it),
        cmocka_unit_test(every_mistake_is_named_with_its_place),
        cmocka_unit_test(what_sts_limits_is_limited_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
