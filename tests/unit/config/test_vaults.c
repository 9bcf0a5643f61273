/* Vaults, and logins by secrets: what sallyport.yaml says of them, and what is wrong with it. */
#include "config_test.h"

#define V "_format_version: '3.0'\n"
#define DB(parts) V "services:\n- {name: a, url: 'postgres://h/d', " parts "}\n"
#define USER_DB(parts) V "services:\n- {name: a, url: 'postgres://u@h/d', " parts "}\n"
#define VAULT(parts) V "vaults:\n- {prefix: my-vault, " parts "}\n"

static const char *const variables[] = {"PW=of env",      "USER=me",    "REGION=eu-west-3",
                                        "FOLDER=/fr/env", "DSN=postgres://x:y@h/d",
                                        "NULLED=",        NULL};
static const char *const files[] = {
    "/run/secrets/pw=of file\n", "conf.d/own/pw=of own\n", "/run/secrets/open=o",
    "/run/secrets/db=x",         "/srv/open/pw=o",
    "/run/secrets/json={\"username\": \"fu\", \"password\": \"fp\"}", NULL};
static const char *const secrets[] = {
    "aws db username 0=app",    "aws db password 0=s3cret", "my-vault prod/db username 0=ru",
    "my-vault prod/db password 0=rp", "aws db user 0=u2",         "aws empty username 0=",
    "aws empty password 0=",    "aws wait  0=…",            "aws wait username 0=…",
    "aws wait user 0=…",        "aws wait password 0=…",    "aws half username 0=h",
    NULL};

static void init(struct test_config *t)
{
    test_config_init(t, variables);
    t->host.files = files;
    t->host.secrets = secrets;
    t->host.host.secret = test_secret;
}

static struct test_config parsed(const char *yaml)
{
    struct test_config t;
    struct buf said;

    init(&t);
    err e = test_parse(&t, "conf.d/x.yaml", view_str(yaml));
    buf_init(&said, 1 << 16);
    test_describe(&t.d, &said);
    assert_string_equal(test_said(&said), "");
    assert_false(failed(e));
    buf_clear(&said);
    return t;
}

static void a_vault_has_what_kong_says_of_it(void **state)
{
    (void)state;
    struct test_config t = parsed(V
        "vaults:\n"
        "- prefix: my-vault\n"
        "  name: aws\n"
        "  description: of the shop\n"
        "  id: 0b0e5c54-7f4d-4d7f-9f0e-3f6f2b8f1a11\n"
        "  tags: [prod]\n"
        "  created_at: 1700000000\n"
        "  config:\n"
        "    region: '{vault://env/REGION}'\n"
        "    endpoint_url: https://sm.example\n"
        "    assume_role_arn: arn:aws:iam::123456789012:role/secrets\n"
        "    role_session_name: gateway\n"
        "    sts_endpoint_url: https://sts.example\n"
        "    base64_decode: true\n"
        "    ttl: 300\n"
        "    neg_ttl: 30\n"
        "    resurrect_ttl: 3600\n"
        "- {prefix: plain, name: aws}\n"
        "- {prefix: own, name: file, config: {prefix: own}}\n"
        "- {prefix: from-env, name: file, config: {prefix: '{vault://env/FOLDER}'}}\n"
        "- {prefix: run, name: file}\n"
        "- {prefix: vars, name: env, config: {prefix: P}}\n"
        "services:\n"
        "- {name: a, url: 'postgres://h/d', user: '{vault://env/USER}', password: "
        "'{vault://own/pw}'}\n"
        "- {name: b, url: 'postgres://u@h/d', password: '{vault://vars/W}'}\n");
    const struct vault *v = t.e.vaults;

    assert_int_equal(t.e.vault_count, 6);
    assert_text(v[0].prefix, "my-vault");
    assert_int_equal(v[0].kind, VAULT_AWS);
    assert_text(v[0].meta.id, "0b0e5c54-7f4d-4d7f-9f0e-3f6f2b8f1a11");
    assert_int_equal(v[0].meta.line, 3);
    assert_int_equal(v[0].meta.created_at, 1700000000);
    assert_text(v[0].meta.tags.items[0], "prod");
    assert_text(v[0].aws.region, "eu-west-3");
    assert_text(v[0].aws.endpoint_url, "https://sm.example");
    assert_text(v[0].aws.assume_role_arn, "arn:aws:iam::123456789012:role/secrets");
    assert_text(v[0].aws.role_session_name, "gateway");
    assert_text(v[0].aws.sts_endpoint_url, "https://sts.example");
    assert_true(v[0].aws.base64_decode);
    assert_int_equal(v[0].ttl_s, 300);
    assert_int_equal(v[0].neg_ttl_s, 30);
    assert_int_equal(v[0].resurrect_ttl_s, 3600);
    assert_null(v[1].aws.region.data);
    assert_text(v[1].aws.role_session_name, "KongVault");
    assert_int_equal(v[1].meta.id.len, 36);
    assert_int_equal(v[1].ttl_s, 0);
    assert_int_equal(v[1].resurrect_ttl_s, 100000000);
    assert_int_equal(v[2].kind, VAULT_FILE);
    assert_text(v[2].path_prefix, "conf.d/own");
    assert_text(v[3].path_prefix, "/fr/env");
    assert_text(v[4].path_prefix, "/run/secrets");
    assert_int_equal(v[5].kind, VAULT_ENV);
    assert_text(v[5].path_prefix, "P");
    assert_text(t.e.services[0].primary.user, "me");
    assert_text(t.e.services[0].primary.user_reference, "{vault://env/USER}");
    assert_text(t.e.services[0].primary.password, "of own");
    assert_text(t.e.services[0].primary.password_reference, "{vault://own/pw}");
    assert_text(t.e.services[1].primary.password, "of env");
    assert_null(t.e.services[1].primary.user_reference.data);
    test_config_clear(&t);
}

static void the_nodes_vaults_stand_behind_the_files(void **state)
{
    static const char text[] = V "vaults: [{prefix: my-vault, name: aws}]\n"
                                 "services: [{name: a, url: 'postgres://u@h/d', password: "
                                 "'{vault://env/W}'}]\n";
    struct node_config node = {
        .vault_aws = {.prefix = VIEW("aws"),
                      .kind = VAULT_AWS,
                      .aws.region = VIEW("r"),
                      .ttl_s = 9},
        .vault_env = {.prefix = VIEW("env"), .kind = VAULT_ENV, .path_prefix = VIEW("P")}};
    struct test_config t;
    (void)state;

    init(&t);
    t.host.host.node = &node;
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    assert_int_equal(t.e.vault_count, 3);
    assert_text(t.e.vaults[0].prefix, "my-vault");
    assert_text(t.e.vaults[1].prefix, "aws");
    assert_int_equal(t.e.vaults[1].ttl_s, 9);
    assert_text(t.e.vaults[1].aws.region, "r");
    assert_true(t.e.vaults[1].aws.region.data != node.vault_aws.aws.region.data);
    assert_text(t.e.vaults[2].prefix, "env");
    assert_text(t.e.services[0].primary.password, "of env");
    test_config_clear(&t);
}

static void a_login_keeps_its_references(void **state)
{
    (void)state;
    struct test_config t = parsed(V
        "services:\n"
        "- {name: a, url: 'postgres://{vault://aws/db/user}:{vault://aws/db/password}@h/d'}\n"
        "- name: b\n"
        "  url: postgres://u@h/d\n"
        "  password: '{vault://file/pw}'\n"
        "  read: {port: 6432}\n"
        "- name: c\n"
        "  url: 'postgres://h/d'\n"
        "  user: '{vault://env/USER}'\n"
        "  password: '{vault://env/PW}'\n"
        "  read: {user: plain, password: '{vault://file/pw}'}\n"
        "- {name: d, url: '{vault://env/DSN}'}\n");
    const struct service *s = t.e.services;

    assert_text(s[0].primary.user, "u2");
    assert_text(s[0].primary.user_reference, "{vault://aws/db/user}");
    assert_text(s[0].primary.password, "s3cret");
    assert_text(s[0].primary.password_reference, "{vault://aws/db/password}");
    assert_text(s[0].primary.url, "postgres://u2@h:5432/d");
    assert_text(s[1].primary.password, "of file");
    assert_text(s[1].read.password, "of file");
    assert_text(s[1].read.password_reference, "{vault://file/pw}");
    assert_text(s[2].primary.user_reference, "{vault://env/USER}");
    assert_text(s[2].read.user, "plain");
    assert_null(s[2].read.user_reference.data);
    assert_text(s[2].read.password_reference, "{vault://file/pw}");
    assert_text(s[3].primary.user, "x");
    assert_text(s[3].primary.password, "y");
    assert_null(s[3].primary.password_reference.data);
    assert_string_equal(t.host.asked, "aws db user 0;aws db password 0;");
    test_config_clear(&t);
}

static void a_whole_secret_says_user_and_password(void **state)
{
    (void)state;
    struct test_config t = parsed(V
        "services:\n"
        "- name: a\n"
        "  url: postgres://h/d\n"
        "  secret: '{vault://aws/db}'\n"
        "  rotation: {every: 30d, strategy: alternating-users, master: '{vault://aws/boss}'}\n"
        "  read: {port: 6432}\n"
        "- name: b\n"
        "  url: postgres://u@h/d\n"
        "  password: '{vault://env/PW}'\n"
        "  read: {secret: '{vault://my-vault/prod%2Fdb}', rotation: {every: 4h}}\n"
        "- name: c\n"
        "  url: postgres://h/d\n"
        "  secret: '{vault://aws/db}'\n"
        "  rotation: {every: 86400, strategy: single-user}\n"
        "  read: {user: own, password: '{vault://env/PW}'}\n"
        "- name: d\n"
        "  url: postgres://h/d\n"
        "  secret: '{vault://aws/db}'\n"
        "  read: {user: own, iam_auth: {region: r}}\n"
        "- {name: e, url: 'postgres://h/d', secret: '{vault://file/json}'}\n"
        "vaults: [{prefix: my-vault, name: aws}]\n");
    const struct service *s = t.e.services;

    assert_text(s[0].primary.secret, "{vault://aws/db}");
    assert_text(s[0].primary.user, "app");
    assert_text(s[0].primary.password, "s3cret");
    assert_null(s[0].primary.user_reference.data);
    assert_int_equal(s[0].primary.rotation.every_s, 30 * 86400);
    assert_true(s[0].primary.rotation.alternating);
    assert_text(s[0].primary.rotation.master, "{vault://aws/boss}");
    assert_text(s[0].read.secret, "{vault://aws/db}");
    assert_text(s[0].read.user, "app");
    assert_int_equal(s[0].read.rotation.every_s, 0); /* the service rotates it */
    assert_null(s[1].primary.secret.data);
    assert_text(s[1].read.secret, "{vault://my-vault/prod%2Fdb}");
    assert_text(s[1].read.user, "ru");
    assert_text(s[1].read.password, "rp");
    assert_null(s[1].read.password_reference.data);
    assert_int_equal(s[1].read.rotation.every_s, 4 * 3600);
    assert_false(s[1].read.rotation.alternating);
    assert_int_equal(s[2].primary.rotation.every_s, 86400);
    assert_null(s[2].read.secret.data);
    assert_text(s[2].read.user, "own");
    assert_text(s[2].read.password_reference, "{vault://env/PW}");
    assert_int_equal(s[2].read.rotation.every_s, 0);
    assert_null(s[3].read.secret.data);
    assert_text(s[3].read.user, "own");
    assert_null(s[3].read.password.data);
    assert_text(s[4].primary.user, "fu");
    assert_text(s[4].primary.password, "fp");
    test_config_clear(&t);
}

#define KEYLESS                                                                                    \
    "'secret' must name a whole secret, without a KEY; a '/' of its name is written %2F"
#define BESIDE "'secret' says user and password, so neither may stand beside it"

static const struct {
    const char *yaml;
    const char *said;
} cases[] = {
    /* vaults */
    {VAULT("name: gcp"), "3:28 error: 'name': 'gcp' is not one of env, file, aws\n"},
    {V "vaults: [{name: aws}]\n", "2:10 error: vault has no 'prefix'\n"},
    {V "vaults: [{prefix: ab}]\n", "2:10 error: vault has no 'name'\n"},
    {V "vaults: [{prefix: aws, name: aws}]\n",
     "2:19 error: 'prefix': is a name of Kong's own; give another, as my-vault\n"},
    {V "vaults: [{prefix: aB, name: aws}]\n",
     "2:19 error: 'prefix': must be small letters, digits and '-', beginning with a letter\n"},
    {V "vaults: [{prefix: a-, name: aws}]\n",
     "2:19 error: 'prefix': must be small letters, digits and '-', beginning with a letter\n"},
    {V "vaults: [{prefix: a, name: aws}]\n",
     "2:19 error: 'prefix': must have 2 to 64 characters\n"},
    {V "vaults:\n- {prefix: ab, name: aws}\n- {prefix: ab, name: env}\n",
     "4:12 error: the prefix 'ab' stands here a second time; the first is on line 3\n"},
    {VAULT("name: env, config: {region: r, prefix: P}"),
     "3:42 error: a vault of the kind 'env' has no 'region'\n"},
    {VAULT("name: aws, config: {prefix: P}"),
     "3:42 error: a vault of the kind 'aws' has no 'prefix'\n"},
    {VAULT("name: aws, config: {regio: r}"),
     "3:42 error: unknown field 'regio' in config; did you mean 'region'?\n"},
    {VAULT("name: aws, config: {region: '{vault://aws/x}'}"),
     "3:50 error: a vault's own settings may be references to env and file only\n"},
    {VAULT("name: aws, config: {ttl: 1m}"),
     "3:47 error: 'ttl': must be a whole number\n"},
    {VAULT("name: aws, config: {assume_role_arn: x}"),
     "3:59 error: 'assume_role_arn': must read arn:aws:iam::ACCOUNT:role/NAME, ACCOUNT being 12 "
     "digits\n"},
    {VAULT("name: aws, config: {role_session_name: 'a{subject}'}"),
     "3:61 error: 'role_session_name': takes no placeholders\n"},
    {VAULT("name: aws, config: {endpoint_url: 'http://x'}"),
     "3:56 error: 'endpoint_url': must begin with https:// (http:// only to loopback)\n"},
    {VAULT("name: aws, config: {endpoint_url: 'http://127.0.0.1:4566'}"), ""},
    /* references */
    {USER_DB("password: '{vault://nix/x}'"),
     "3:48 error: there is no vault 'nix': env, file and aws need no entity, others stand in "
     "'vaults'\n"},
    {USER_DB("password: '{vault://aws/none}'"), "3:48 error: no such secret: aws none  0\n"},
    {USER_DB("password: '{vault://file/none}'"),
     "3:48 error: the file '/run/secrets/none' cannot be read: No such file or directory\n"},
    {USER_DB("password: '{vault://file/%2Fsrv/open/pw}'"),
     "3:48 warning: every user of this machine may read the secret's file: chmod o= it\n"},
    {USER_DB("password: '{vault://file/open}'"), ""},
    {USER_DB("password: '{vault://env/NULLED}'"), "3:48 error: 'password' must not be empty\n"},
    {V "services:\n- {name: a, url: 'postgres://u:{vault://aws/none}@h/d'}\n",
     "3:18 error: 'url': no such secret: aws none  0\n"},
    {V "services:\n- {name: a, url: 'postgres://{vault://aws/none}@h/d'}\n",
     "3:18 error: 'url': no such secret: aws none  0\n"},
    /* secret */
    {DB("secret: x"), "3:44 error: 'secret' must be a reference like \"{vault://aws/NAME}\", to a "
                      "secret with username and password\n"},
    {DB("secret: [x]"), "3:44 error: 'secret' must be a reference like \"{vault://aws/NAME}\", to "
                        "a secret with username and password\n"},
    {DB("secret: '{vault://aws/db/password}'"), "3:44 error: " KEYLESS "\n"},
    {DB("secret: '{vault://nix/db}'"),
     "3:44 error: 'secret': there is no vault 'nix': env, file and aws need no entity, others "
     "stand in 'vaults'\n"},
    {DB("secret: '{vault://aws/db#0}'"),
     "3:44 error: 'secret': the version after '#' must be a number from 1 on\n"},
    {DB("secret: '{vault://aws/none}'"), "3:44 error: 'secret': no such secret: aws none username "
                                         "0\n"},
    {DB("secret: '{vault://aws/half}'"), "3:44 error: 'secret': no such secret: aws half password "
                                         "0\n"},
    {DB("secret: '{vault://aws/empty}'"),
     "3:44 error: 'secret': its username is empty, or no name of a user\n"
     "3:44 error: 'secret': its password is empty\n"},
    {DB("secret: '{vault://file/db}'"),
     "3:44 error: 'secret': the file '/run/secrets/db' is no JSON object with the member "
     "'username'\n"},
    {DB("secret: '{vault://aws/db}', user: u"), "3:70 error: " BESIDE "\n"},
    {DB("secret: '{vault://aws/db}', password: '{vault://env/PW}'"), "3:74 error: " BESIDE "\n"},
    {USER_DB("secret: '{vault://aws/db}'"), "3:18 error: " BESIDE "\n"},
    {DB("secret: '{vault://aws/db}', iam_auth: {region: r}"),
     "3:44 error: a secret and iam_auth exclude each other\n"},
    {DB("secret: '{vault://aws/db}', read: {iam_auth: {region: r}}"),
     "3:70 error: read has no user, neither in 'url' nor as 'user'\n"},
    /* rotation */
    {DB("secret: '{vault://aws/db}', rotation: {every: 3h}"),
     "3:82 error: 'every': must be from 14400 to 86400000 seconds\n"},
    {DB("secret: '{vault://aws/db}', rotation: {every: 1001d}"),
     "3:82 error: 'every': must be from 14400 to 86400000 seconds\n"},
    {DB("secret: '{vault://aws/db}', rotation: {}"), "3:74 error: rotation has no 'every'\n"},
    {DB("secret: '{vault://aws/db}', rotation: {every: 4h, strategy: both}"),
     "3:96 error: 'strategy': 'both' is not one of single-user, alternating-users\n"},
    {DB("secret: '{vault://aws/db}', rotation: {every: 4h, strategy: alternating-users}"),
     "3:96 error: 'strategy': alternating-users needs 'master', the secret of who may change "
     "users\n"},
    {DB("secret: '{vault://aws/db}', rotation: {every: 4h, master: '{vault://aws/m/k}'}"),
     "3:94 error: 'master' must name a whole secret, without a KEY; a '/' of its name is written "
     "%2F\n"},
    {DB("secret: '{vault://aws/db}', rotation: {every: 4h, master: '{vault://env/M}'}"),
     "3:94 error: 'master' must be a secret in AWS Secrets Manager\n"},
    {DB("secret: '{vault://file/json}', rotation: {every: 4h}"),
     "3:77 error: 'rotation' is of secrets in AWS Secrets Manager only\n"},
    {DB("secret: '{vault://aws/db#2}', rotation: {every: 4h}"),
     "3:44 error: 'secret': no such secret: aws db username 2\n"
     "3:76 error: 'rotation' is of a secret's AWSCURRENT, so the login must be by that: take the "
     "'#' off\n"},
    {USER_DB("rotation: {every: 4h}"),
     "3:48 error: 'rotation' needs a 'secret' beside it: the one that it rotates\n"},
    {DB("secret: '{vault://aws/db}', read: {rotation: {every: 4h}}"),
     "3:81 error: 'rotation' needs a 'secret' beside it: the one that it rotates\n"},
    /* policies are looked into where JSON is at hand */
    {USER_DB("iam_auth: {region: r, assume_role_arn: 'arn:aws:iam::123456789012:role/a', policy: "
             "'{\"a\"}'}"),
     "3:121 error: 'policy': is not well-formed JSON\n"},
};

static void every_mistake_is_named_with_its_place(void **state)
{
    struct buf said;
    size_t bad = 0;
    (void)state;

    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_config t;
        init(&t);
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

/* --- while secrets are being fetched --- */

static const struct {
    const char *yaml;
    const char *said; /* NULL: nothing, and config_awaits_secrets */
    const char *asked;
} waits[] = {
    {USER_DB("password: '{vault://aws/wait/password}'"), NULL, "aws wait password 0;"},
    {V "services:\n"
       "- {name: a, url: 'postgres://h/d', user: '{vault://aws/wait/user}', password: "
       "'{vault://aws/wait/password}'}\n"
       "- {name: b, url: 'postgres://h/d', secret: '{vault://aws/wait}'}\n"
       "- {name: c, url: 'postgres://{vault://aws/wait/user}:{vault://aws/wait/password}@h/d'}\n",
     NULL,
     "aws wait user 0;aws wait password 0;aws wait username 0;aws wait user 0;"
     "aws wait password 0;"},
    {V "services:\n"
       "- {name: a, url: 'postgres://u@h/d', password: '{vault://aws/wait/password}', nix: 1}\n"
       "- {name: b, url: 'postgres://u@h/d', password: '{vault://aws/none}'}\n",
     "3:79 error: unknown field 'nix' in service\n4:48 error: no such secret: aws none  0\n",
     "aws wait password 0;aws none  0;"},
    /* What seems wrong without the audience, or the name, does not count. */
    {V "issuers: [{name: i, issuer: 'https://i', audience: '{vault://aws/wait}'}]\n", NULL,
     "aws wait  0;"},
    {V "services:\n- {name: '{vault://aws/wait}', url: 'postgres://u@h/d'}\n"
       "roles: [{name: r, when: {subject: s}, services: [shop], database_role: d, "
       "allow: [{routes: '*'}]}]\n",
     NULL, "aws wait  0;"},
};

static void loading_waits_for_secrets_unless_something_is_wrong(void **state)
{
    struct buf said;
    (void)state;

    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        struct test_config t;
        init(&t);
        diag_add(&t.d, SEVERITY_WARNING, VIEW("before"), 1, 1, "stays");
        err e = test_parse(&t, "x.yaml", view_str(waits[i].yaml));
        assert_text(t.d.first->text, "stays");
        t.d.first = t.d.first->next;
        test_describe(&t.d, &said);
        assert_true(is_fault(e, waits[i].said == NULL ? &config_awaits_secrets : &config_invalid));
        assert_string_equal(test_said(&said), waits[i].said == NULL ? "" : waits[i].said);
        assert_string_equal(t.host.asked, waits[i].asked);
        assert_int_equal(t.d.errors, waits[i].said == NULL ? 0 : 2);
        assert_int_equal(t.d.warnings, 1);
        test_config_clear(&t);
    }
    buf_clear(&said);
}

static void secrets_of_aws_may_be_left_unread(void **state)
{
    static const char text[] = V
        "services:\n"
        "- {name: a, url: 'postgres://u@h/d', password: '{vault://aws/db/password}'}\n"
        "- {name: b, url: 'postgres://h/d', secret: '{vault://aws/db}'}\n"
        "- {name: c, url: 'postgres://h/d', user: '{vault://aws/db/username}'}\n"
        "- {name: d, url: 'postgres://u:{vault://aws/db/password}@h/d'}\n";
    struct test_config t;
    struct buf said;
    (void)state;

    buf_init(&said, 1 << 16);
    init(&t);
    t.host.host.secret = NULL;
    t.host.host.leave_aws = true;
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    test_describe(&t.d, &said);
    assert_string_equal(test_said(&said),
                        "3:48 warning: the secret of AWS was not read; "
                        "check --secrets reads it\n"
                        "4:44 warning: 'secret': the secret of AWS was not read; "
                        "check --secrets reads it\n"
                        "5:42 warning: the secret of AWS was not read; "
                        "check --secrets reads it\n"
                        "6:18 warning: 'url': the secret of AWS was not read; "
                        "check --secrets reads it\n");
    assert_null(t.e.services[0].primary.password.data);
    assert_text(t.e.services[0].primary.password_reference, "{vault://aws/db/password}");
    assert_text(t.e.services[1].primary.secret, "{vault://aws/db}");
    assert_text(t.e.services[2].primary.user_reference, "{vault://aws/db/username}");
    assert_text(t.e.services[3].primary.password_reference, "{vault://aws/db/password}");
    test_config_clear(&t);
    buf_clear(&said);
}

static void no_message_shows_what_a_vault_holds(void **state)
{
    static const char *const holders[] = {"{vault://aws/db/password}", "{vault://file/pw}"};
    static const char *const fields[] = {"sslmode", "host", "url", "max_rows", "iam_auth",
                                         "search_path", "secret", "rotation", "id", "tags"};
    struct buf text, said;
    (void)state;

    buf_init(&text, 1 << 16);
    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < 20; i++) {
        struct test_config t;
        buf_reset(&text);
        buf_printf(&text, V "services: [{name: a, user: u, database: d, %s: '%s'}]\n",
                   fields[i / 2], holders[i % 2]);
        init(&t);
        (void)!failed(test_parse(&t, "x.yaml", buf_view(&text)));
        test_describe(&t.d, &said);
        assert_null(strstr(test_said(&said), "s3cret"));
        assert_null(strstr(test_said(&said), "of file"));
        test_config_clear(&t);
    }
    buf_clear(&text);
    buf_clear(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vault_has_what_kong_says_of_it),
        cmocka_unit_test(the_nodes_vaults_stand_behind_the_files),
        cmocka_unit_test(a_login_keeps_its_references),
        cmocka_unit_test(a_whole_secret_says_user_and_password),
        cmocka_unit_test(every_mistake_is_named_with_its_place),
        cmocka_unit_test(loading_waits_for_secrets_unless_something_is_wrong),
        cmocka_unit_test(secrets_of_aws_may_be_left_unread),
        cmocka_unit_test(no_message_shows_what_a_vault_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
