/* References: what they say, and what they stand for. */
#include "config/reference.h"
#include "config_test.h"

#include <sys/stat.h>
#include <unistd.h>

#define FORM "a reference must read {vault://PREFIX/NAME/KEY}"
#define EMPTY                                                                                      \
    FORM ", no part being empty; a '/' of the name itself at its start is written %2F"
#define PREFIX FORM ", PREFIX being env, file, aws or a vault's prefix"
#define ENCODED "the reference is not well encoded: %XX must be the bytes of a text in UTF-8"
#define VERSION "the version after '#' must be a number from 1 on"

static const struct {
    const char *text;
    const char *parts; /* "prefix|name|key|version" */
    const char *wrong;
} parses[] = {
    {"{vault://env/PW}", "env|PW||0", NULL},
    {"{vault://aws/db/password}", "aws|db|password|0", NULL},
    {"{vault://aws/prod/db/password}", "aws|prod/db|password|0", NULL},
    {"{vault://aws/prod%2Fdb}", "aws|prod/db||0", NULL},
    {"{vault://aws/%2Fprod/db/password}", "aws|/prod/db|password|0", NULL},
    {"{vault://aws/a%20b/c%2Fd#2}", "aws|a b|c/d|2", NULL},
    {"{vault://aws/rds!cluster-1/password#1}", "aws|rds!cluster-1|password|1", NULL},
    {"{vault://my-vault-2/x%3Fy%23z}", "my-vault-2|x?y#z||0", NULL},
    {"{vault://aws/arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf/password}",
     "aws|arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf|password|0", NULL},
    {"", NULL, FORM},
    {"{vault://env/PW", NULL, FORM},
    {"x{vault://env/PW}", NULL, FORM},
    {"{vault://env/PW}x", NULL, FORM},
    {"{vault://env/P}W}", NULL, FORM},
    {"{vault:/env/PW}", NULL, FORM},
    {"{vault://}", NULL, PREFIX},
    {"{vault://env}", NULL, PREFIX},
    {"{vault:///PW}", NULL, PREFIX},
    {"{vault://Env/PW}", NULL, PREFIX},
    {"{vault://2x/PW}", NULL, PREFIX},
    {"{vault://env/}", NULL, EMPTY},
    {"{vault://aws//db}", NULL, EMPTY},
    {"{vault://aws/db/}", NULL, EMPTY},
    {"{vault://aws/a//b}", NULL, EMPTY},
    {"{vault://aws/a%2}", NULL, ENCODED},
    {"{vault://aws/a%zz}", NULL, ENCODED},
    {"{vault://aws/a%00}", NULL, ENCODED},
    {"{vault://aws/a/%ff}", NULL, ENCODED},
    {"{vault://aws/a%0a}", NULL, "a reference must not hold control characters"},
    {"{vault://aws/a/b\t}", NULL, "a reference must not hold control characters"},
    {"{vault://aws/a#}", NULL, VERSION},
    {"{vault://aws/a#0}", NULL, VERSION},
    {"{vault://aws/a#-1}", NULL, VERSION},
    {"{vault://aws/a#1#2}", NULL, VERSION},
    {"{vault://aws/a#99999999999999999999}", NULL, VERSION},
    {"{vault://env/a?prefix=b}", NULL,
     "a reference takes no settings after '?'; they stand in a vaults entity (a '?' of the name "
     "itself is written %3F)"},
};

static void a_reference_is_taken_apart_as_kong_does(void **state)
{
    struct arena arena;
    char parts[256];
    (void)state;

    arena_init(&arena, 4096, 1 << 20);
    for (size_t i = 0; i < sizeof parses / sizeof parses[0]; i++) {
        struct secret_reference r;
        const char *wrong = secret_reference_parse(&arena, view_str(parses[i].text), &r);
        snprintf(parts, sizeof parts, "%.*s|%.*s|%.*s|%u", VIEW_ARG(r.prefix), VIEW_ARG(r.name),
                 VIEW_ARG(r.key), r.version);
        if (parses[i].wrong == NULL ? wrong != NULL || strcmp(parts, parses[i].parts) != 0
                                    : wrong == NULL || strcmp(wrong, parses[i].wrong) != 0)
            fail_msg("%s: %s, %s", parses[i].text, parts, wrong != NULL ? wrong : "taken");
    }
    arena_clear(&arena);
}

static void a_reference_is_known_by_its_form(void **state)
{
    (void)state;
    assert_true(reference_is(VIEW("{vault://x}")));
    assert_false(reference_is(VIEW("{vault://x}y")));
    assert_false(reference_is(VIEW("{value://x}")));
    assert_int_equal(reference_length(VIEW("{vault://env/A}@h")), 15);
    assert_int_equal(reference_length(VIEW("{vault://env/A")), 0);
    assert_int_equal(reference_length(VIEW("x{vault://env/A}")), 0);
}

/* --- what references stand for --- */

static const struct vault vaults[] = {
    {.prefix = VIEW("shop"), .kind = VAULT_ENV, .path_prefix = VIEW("SHOP_")},
    {.prefix = VIEW("digits"), .kind = VAULT_ENV, .path_prefix = VIEW("D")},
    {.prefix = VIEW("etc"), .kind = VAULT_FILE, .path_prefix = VIEW("/etc/s")},
    {.prefix = VIEW("here"), .kind = VAULT_FILE},
    {.prefix = VIEW("team"), .kind = VAULT_AWS},
};

static const char *const variables[] = {
    "PW=secret", "my-pw=lower", "MY_PW=upper", "SHOP_PW=of the shop", "D1=one",
    "JSON={\"user\": \"u\", \"n\": 5, \"none\": null}", "BAD=\xff", "EMPTY=", NULL};
static const char *const files[] = {"/run/secrets/db=line\n",
                                    "/run/secrets/open/two=2\n\n",
                                    "/etc/s/a/b=relative",
                                    "/abs/pw=absolute",
                                    "x=here",
                                    "/etc/s/open=seen",
                                    "/etc/s/json={\"password\": \"p\"}\n",
                                    NULL};
static const char *const secrets[] = {"aws db password 0=of the database", "team db  2=whole",
                                      "aws wait  0=…", "aws bad  0=\xff", NULL};

static const struct {
    const char *text;
    const char *value;
    const char *why;
} reads[] = {
    {"{vault://env/PW}", "secret", ""},
    {"{vault://env/my-pw}", "lower", ""},
    {"{vault://env/my_pw}", "upper", ""},
    {"{vault://env/EMPTY}", "", ""},
    {"{vault://shop/PW}", "of the shop", ""},
    {"{vault://shop/pw}", "of the shop", ""},
    {"{vault://digits/1}", "one", ""},
    {"{vault://env/JSON/user}", "u", ""},
    {"{vault://env/JSON/n}", "5", ""},
    {"{vault://env/JSON/pw}", NULL,
     "the environment variable 'JSON' is no JSON object with the member 'pw'"},
    {"{vault://env/JSON/none}", NULL,
     "the environment variable 'JSON' is no JSON object with the member 'none'"},
    {"{vault://env/PW/user}", NULL,
     "the environment variable 'PW' is no JSON object with the member 'user'"},
    {"{vault://env/NO}", NULL, "the environment variable 'NO' is not set"},
    {"{vault://shop/NO}", NULL, "the environment variable 'SHOP_NO' is not set"},
    {"{vault://env/1}", NULL,
     "a reference must read {vault://env/NAME}, NAME being an environment variable"},
    {"{vault://env/A%20B}", NULL,
     "a reference must read {vault://env/NAME}, NAME being an environment variable"},
    {"{vault://env/BAD}", NULL, "the environment variable 'BAD' is too long or no text"},
    {"{vault://env/PW#1}", NULL,
     "an environment variable has no versions; take the '#' off"},
    {"{vault://file/db}", "line", ""},
    {"{vault://file/open/two}", "2\n", ""},
    {"{vault://file/%2Fabs/pw}", "absolute", ""},
    {"{vault://file/%2Fabs%2Fpw}", "absolute", ""},
    {"{vault://etc/a/b}", "relative", ""},
    {"{vault://here/x}", "here", ""},
    {"{vault://etc/open}", "seen", "!"},
    {"{vault://file/no}", NULL,
     "the file '/run/secrets/no' cannot be read: No such file or directory"},
    {"{vault://file/db#1}", NULL, "a file has no versions; take the '#' off"},
    {"{vault://aws/db/password}", "of the database", ""},
    {"{vault://team/db#2}", "whole", ""},
    {"{vault://aws/db}", NULL, "no such secret: aws db  0"},
    {"{vault://aws/db#4}", NULL,
     "a secret of AWS has the versions 1 (AWSCURRENT), 2 (AWSPREVIOUS) and 3 (AWSPENDING)"},
    {"{vault://aws/bad}", NULL, "the secret is too long or no text"},
    {"{vault://gcp/x}", NULL,
     "there is no vault 'gcp': env, file and aws need no entity, others stand in 'vaults'"},
};

static void a_reference_stands_for_what_its_vault_holds(void **state)
{
    struct test_config t;
    struct secret_answer answer;
    (void)state;

    test_config_init(&t, variables);
    t.host.files = files;
    t.host.secrets = secrets;
    t.host.host.secret = test_secret;
    struct reference_scope scope = {.arena = &t.arena,
                                    .host = &t.host.host,
                                    .vaults = vaults,
                                    .vault_count = sizeof vaults / sizeof vaults[0]};
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        bool found = reference_resolve(&scope, view_str(reads[i].text), &answer);
        bool open = strcmp(reads[i].why, "!") == 0;
        if (found != (reads[i].value != NULL) ||
            (found && (!view_is(answer.value, reads[i].value) || answer.open_to_all != open)) ||
            (!found && strcmp(answer.why, reads[i].why) != 0))
            fail_msg("%s: '%.*s' %s", reads[i].text, VIEW_ARG(answer.value), answer.why);
        assert_false(answer.pending);
    }
    assert_false(reference_resolve(&scope, VIEW("{vault://aws/wait}"), &answer));
    assert_true(answer.pending);
    test_config_clear(&t);
}

static void what_is_not_at_hand_is_said(void **state)
{
    const struct config_host bare = {.variable = test_variable};
    struct test_host host = {.host = bare, .variables = variables};
    struct secret_answer answer;
    struct arena arena;
    (void)state;

    arena_init(&arena, 4096, 1 << 20);
    struct reference_scope scope = {.arena = &arena, .host = &host.host};
    assert_false(reference_resolve(&scope, VIEW("{vault://aws/x}"), &answer));
    assert_string_equal(answer.why, "secrets of AWS cannot be read here");
    assert_false(answer.unread);
    host.host.leave_aws = true;
    assert_false(reference_resolve(&scope, VIEW("{vault://aws/x}"), &answer));
    assert_true(answer.unread);
    assert_false(reference_resolve(&scope, VIEW("{vault://file/x}"), &answer));
    assert_string_equal(answer.why, "files cannot be read here");
    assert_false(reference_resolve(&scope, VIEW("{vault://env/JSON/user}"), &answer));
    assert_string_equal(answer.why, "a KEY, a member of a JSON object, cannot be looked up here");
    scope.without_aws = true;
    assert_false(reference_resolve(&scope, VIEW("{vault://aws/x}"), &answer));
    assert_string_equal(answer.why,
                        "a vault's own settings may be references to env and file only");
    arena_clear(&arena);
}

static void an_entity_goes_before_the_built_in_vault(void **state)
{
    const struct vault own = {.prefix = VIEW("aws"), .kind = VAULT_AWS, .ttl_s = 7};
    (void)state;

    assert_int_equal(vault_find(&own, 1, VIEW("aws"))->ttl_s, 7);
    const struct vault *built_in = vault_find(NULL, 0, VIEW("aws"));
    assert_int_equal(built_in->kind, VAULT_AWS);
    assert_int_equal(built_in->ttl_s, 0);
    assert_int_equal(built_in->resurrect_ttl_s, 100000000);
    assert_text(built_in->aws.role_session_name, "KongVault");
    assert_int_equal(vault_find(&own, 1, VIEW("env"))->kind, VAULT_ENV);
    assert_text(vault_find(&own, 1, VIEW("file"))->path_prefix, "/run/secrets");
    assert_null(vault_find(&own, 1, VIEW("gcp")));
}

/* --- real files --- */

static void write_file(const char *path, size_t bytes, mode_t mode)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < bytes; i++)
        fputc('x', f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_secrets_file_is_bounded_and_regular(void **state)
{
    char folder[] = "/tmp/sallyport-test-XXXXXX", path[64], link_path[64], pipe_path[64];
    struct secret_answer answer;
    struct arena arena;
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pw", folder);
    snprintf(link_path, sizeof link_path, "%s/link", folder);
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    arena_init(&arena, 4096, 1 << 20);
    struct vault vault = {.kind = VAULT_FILE, .path_prefix = view_str(folder)};
    struct secret_reference r = {.name = VIEW("pw")};

    write_file(path, 64 << 10, 0600);
    assert_true(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_int_equal(answer.value.len, 64 << 10);
    assert_false(answer.open_to_all);
    write_file(path, (64 << 10) + 1, 0600);
    assert_false(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_non_null(strstr(answer.why, "/pw' is too long or no text"));
    write_file(path, 200 << 10, 0600);
    assert_false(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_non_null(strstr(answer.why, "/pw' cannot be read: the file is too large"));
    write_file(path, 5, 0644);
    assert_int_equal(symlink(path, link_path), 0);
    r.name = VIEW("link");
    assert_true(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_text(answer.value, "xxxxx");
    assert_true(answer.open_to_all);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    r.name = VIEW("pipe");
    assert_false(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_non_null(strstr(answer.why, "/pipe' cannot be read: not a regular file"));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite("pass\0word", 1, 9, f);
    fclose(f);
    r.name = VIEW("pw");
    assert_false(secret_read(&arena, &config_system, &vault, &r, &answer));
    assert_non_null(strstr(answer.why, "/pw' is too long or no text"));
    unlink(path);
    unlink(link_path);
    unlink(pipe_path);
    rmdir(folder);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_is_taken_apart_as_kong_does),
        cmocka_unit_test(a_reference_is_known_by_its_form),
        cmocka_unit_test(a_reference_stands_for_what_its_vault_holds),
        cmocka_unit_test(what_is_not_at_hand_is_said),
        cmocka_unit_test(an_entity_goes_before_the_built_in_vault),
        cmocka_unit_test(a_secrets_file_is_bounded_and_regular),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
