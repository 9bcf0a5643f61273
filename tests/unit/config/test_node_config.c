#include "node_test.h"

#include "config/kong_properties.h"
#include "config/schema.h"

static const char *const no_variables[] = {"SECRET_LEVEL=warn", NULL};

/* The environment and the command line may be NULL. */
static void load(struct loaded *l, const char *text, const char *const *environment,
                 const struct node_setting *settings, size_t setting_count)
{
    union {
        const char *const *read;
        char *const *any;
    } env = {environment};

    *l = (struct loaded){0};
    test_config_init(&l->t, no_variables);
    load_node(l, (struct node_config_sources){
        .settings = settings,
        .setting_count = setting_count,
        .environment = env.any,
        .conf_file = "etc/s.conf",
        .conf_text = view_str(text)});
}

static const struct property_origin *origin(const struct loaded *l, const char *property)
{
    for (size_t i = 0; i < l->node.origin_count; i++) {
        if (strcmp(l->node.origins[i].property, property) == 0)
            return &l->node.origins[i];
    }
    fail_msg("no property %s", property);
    return NULL;
}

static void defaults_hold_without_any_source(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, "", NULL, NULL, 0);
    assert_false(failed(l.outcome));
    assert_string_equal(test_said(&l.said), "");
    const struct node_config *n = &l.node;
    assert_text(n->prefix, "/var/lib/sallyport");
    assert_text(n->database, "off");
    assert_null(n->declarative_config.data);
    assert_int_equal(n->proxy_listen.count, 1);
    assert_text(n->proxy_listen.items[0].host, "127.0.0.1");
    assert_int_equal(n->proxy_listen.items[0].port, 8000);
    assert_false(n->proxy_listen.items[0].tls);
    assert_int_equal(n->status_listen.count, 1);
    assert_int_equal(n->status_listen.items[0].port, 8007);
    assert_false(n->allow_plaintext);
    assert_null(n->ssl_cert.data);
    assert_null(n->ssl_cert_key.data);
    assert_text(n->rds_ca_bundle, "/etc/sallyport/rds-global-bundle.pem");
    assert_text(n->log_level, "notice");
    assert_text(n->log_format, "auto");
    assert_int_equal(n->workers, 0);
    assert_int_equal(n->max_connections, 10000);
    assert_int_equal(n->client_header_timeout_ms, 10000);
    assert_int_equal(n->client_body_timeout_ms, 30000);
    assert_int_equal(n->keepalive_timeout_ms, 60000);
    assert_int_equal(n->client_max_body_size, 1 << 20);
    assert_true(n->node_name.len > 0);
    assert_text(n->audit_directory, "/var/lib/sallyport/audit");
    assert_false(n->audit_fsync);
    assert_int_equal(n->audit_rotate_bytes, 256 << 20);
    assert_int_equal(n->shutdown_timeout_ms, 10000);
    assert_int_equal(n->origin_count, schema_node.field_count);
    for (size_t i = 0; i < n->origin_count; i++) {
        assert_string_equal(n->origins[i].property, schema_node.fields[i].name);
        assert_int_equal(n->origins[i].kind, ORIGIN_DEFAULT);
    }
    clear(&l);
}

/* What each subset of the four sources gives: bit 0 the file, 1 KONG_, 2 SALLYPORT_, 3 the command
 * line; a later one wins. */
static void every_subset_of_sources_obeys_precedence(void **state)
{
    static const char *const values[] = {"1", "2", "3", "4"};
    static const struct node_setting setting[] = {{VIEW("workers"), VIEW("4")}};
    (void)state;

    for (unsigned subset = 0; subset < 16; subset++) {
        const char *environment[3] = {NULL, NULL, NULL};
        size_t n = 0;
        struct loaded l;
        /* SALLYPORT_ stands first, so that the order of the environment cannot decide. */
        if (subset & 4)
            environment[n++] = "SALLYPORT_WORKERS=3";
        if (subset & 2)
            environment[n++] = "KONG_WORKERS=2";
        load(&l, subset & 1 ? "workers = 1\n" : "", environment, setting, subset & 8 ? 1 : 0);
        assert_false(failed(l.outcome));
        const char *expected = "0";
        enum origin_kind kind = ORIGIN_DEFAULT;
        const char *source = NULL;
        for (unsigned bit = 0; bit < 4; bit++) {
            if (!(subset & (1u << bit)))
                continue;
            expected = values[bit];
            kind = bit == 0 ? ORIGIN_FILE : bit == 3 ? ORIGIN_COMMAND_LINE : ORIGIN_ENVIRONMENT;
            source = bit == 0   ? "etc/s.conf"
                     : bit == 1 ? "KONG_WORKERS"
                     : bit == 2 ? "SALLYPORT_WORKERS"
                                : NULL;
        }
        assert_int_equal(l.node.workers, strtoll(expected, NULL, 10));
        assert_int_equal(origin(&l, "workers")->kind, kind);
        assert_int_equal(origin(&l, "workers")->line, kind == ORIGIN_FILE ? 1 : 0);
        if (source != NULL)
            assert_text(origin(&l, "workers")->source, source);
        else
            assert_null(origin(&l, "workers")->source.data);
        clear(&l);
    }
}

static void a_file_is_read_as_kong_reads_it(void **state)
{
    static const char text[] = "# a comment\n"
                               "\n"
                               "  prefix=run   # a comment after a blank\r\n"
                               "node_name = a#b \\# c\n"
                               "ssl_cert = tls/c.pem\n"
                               "ssl_cert_key = /abs/k.pem\n"
                               "proxy_listen = 0.0.0.0:8443 ssl, [::1]:8080 ,localhost:81\n"
                               "status_listen = off\n"
                               "audit_fsync = on\n"
                               "allow_plaintext = false\n"
                               "client_max_body_size = 8m\n"
                               "log_level = {vault://env/SECRET_LEVEL}\n"
                               "audit_directory =\n"
                               "keepalive_timeout_ms = 0";
    struct loaded l;
    (void)state;

    load(&l, text, NULL, NULL, 0);
    assert_string_equal(test_said(&l.said), "");
    assert_false(failed(l.outcome));
    assert_text(l.node.conf_file, "etc/s.conf");
    assert_text(l.node.prefix, "etc/run");
    assert_text(l.node.node_name, "a#b # c");
    assert_text(l.node.ssl_cert, "etc/tls/c.pem");
    assert_text(l.node.ssl_cert_key, "/abs/k.pem");
    assert_int_equal(l.node.proxy_listen.count, 3);
    assert_true(l.node.proxy_listen.items[0].tls);
    assert_text(l.node.proxy_listen.items[1].host, "::1");
    assert_int_equal(l.node.proxy_listen.items[1].port, 8080);
    assert_false(l.node.proxy_listen.items[1].tls);
    assert_text(l.node.proxy_listen.items[2].host, "localhost");
    assert_int_equal(l.node.status_listen.count, 0);
    assert_true(l.node.audit_fsync);
    assert_int_equal(l.node.client_max_body_size, 8 << 20);
    assert_text(l.node.log_level, "warn");
    assert_text(l.node.audit_directory, "etc/run/audit");
    assert_int_equal(l.node.keepalive_timeout_ms, 0);
    assert_int_equal(origin(&l, "log_level")->line, 12);
    clear(&l);
}

static const struct {
    const char *text;
    const char *variable;
    const char *said;
} mistakes[] = {
    {"prefx = /x\n", NULL,
     "1:0 error: 'prefx': there is no such property; did you mean 'prefix'?\n"},
    {"\nquux = 1\n", NULL, "2:0 error: 'quux': there is no such property\n"},
    {"pg_azure_auth = on\n", NULL,
     "1:0 warning: 'pg_azure_auth': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"},
    {"nginx_http_charset = utf8\nadmin_listen = off\n", NULL,
     "1:0 warning: 'nginx_http_charset': is known from Kong, but not supported yet by this "
     "version; it has no effect\n"
     "2:0 warning: 'admin_listen': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"},
    {"nginx_user = x\nadmin_listen = off\nmem_cache_size = 1m\n", NULL,
     "1:0 warning: 'nginx_user': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"
     "2:0 warning: 'admin_listen': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"
     "3:0 warning: 'mem_cache_size': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"
     "0:0 warning: this looks like a kong.conf: with --kong-compat it is read as Kong reads it\n"},
    {"workers\n", NULL, "1:0 error: a line must read 'name = value'\n"},
    {" = 1\n", NULL, "1:0 error: a line must read 'name = value'\n"},
    {"Workers = 1\n", NULL,
     "1:0 error: a property's name is made of lower-case letters, digits and '_'\n"},
    {"workers = \x01\n", NULL, "1:0 error: a value may not hold control characters\n"},
    {"node_name = \xff\n", NULL, "1:0 error: the line is not a text in UTF-8\n"},
    {"workers = 1\n\nworkers = 2\n", NULL,
     "3:0 error: 'workers' stands here a second time; the first is on line 1\n"},
    {"workers = many\n", NULL, "1:0 error: 'workers': must be a whole number\n"},
    {"workers = 1025\n", NULL, "1:0 error: 'workers': must be from 0 to 1024\n"},
    {"audit_fsync = yes\n", NULL, "1:0 error: 'audit_fsync': must be on or off\n"},
    {"log_level = notise\n", NULL, "1:0 error: 'log_level': 'notise' is not one of debug, info, "
                                   "notice, warn, error; did you mean 'notice'?\n"},
    {"database = postgres\n", NULL, ""},
    {"database = postgres\ndeclarative_config = x\n", NULL,
     "2:0 warning: 'declarative_config': has no effect with database = postgres\n"},
    {"database = cassandra\n", NULL,
     "1:0 error: 'database': 'cassandra' is not one of off, postgres\n"},
    {"client_max_body_size = 2t\n", NULL, "1:0 error: 'client_max_body_size': must be a whole "
                                          "number of bytes, or one with k, m or g\n"},
    {"client_max_body_size = 9999999999g\n", NULL,
     "1:0 error: 'client_max_body_size': must be a whole number of bytes, or one with k, m or g\n"},
    {"proxy_listen = 8000\n", NULL, "1:0 error: 'proxy_listen': '8000' is not an address like "
                                    "127.0.0.1:8443 or [::1]:8443\n"},
    {"proxy_listen = ::1:8000\n", NULL, "1:0 error: 'proxy_listen': '::1:8000' is not an address "
                                        "like 127.0.0.1:8443 or [::1]:8443\n"},
    {"proxy_listen = 127.0.0.1:65536\n", NULL,
     "1:0 error: 'proxy_listen': '127.0.0.1:65536' is not an address like 127.0.0.1:8443 or "
     "[::1]:8443\n"},
    {"proxy_listen = 127.0.0.1:1 http2\n", NULL,
     "1:0 error: 'proxy_listen': 'http2' is not a flag of an address; 'ssl' is the only one\n"},
    {"proxy_listen = 127.0.0.1:1, 127.0.0.1:1\n", NULL,
     "1:0 error: 'proxy_listen': '127.0.0.1:1' stands there twice\n"},
    {"proxy_listen = 0.0.0.0:8000\n", NULL,
     "1:0 error: 'proxy_listen': 0.0.0.0:8000 is not loopback and has no TLS, so tokens would "
     "cross the network in clear; write 'proxy_listen = 0.0.0.0:8000 ssl' (with ssl_cert and "
     "ssl_cert_key), or 'proxy_listen = 127.0.0.1:8000', or, where something in front ends TLS, "
     "'allow_plaintext = on'\n"},
    {"proxy_listen = 0.0.0.0:80, 10.0.0.1:81, [::]:82, [::1]:82, 127.0.0.1:83\n", NULL,
     "1:0 error: 'proxy_listen': 0.0.0.0:80, 10.0.0.1:81 and [::]:82 are not loopback and have no "
     "TLS, so tokens would cross the network in clear; write 'proxy_listen = 0.0.0.0:80 ssl, "
     "10.0.0.1:81 ssl, [::]:82 ssl, [::1]:82, 127.0.0.1:83' (with ssl_cert and ssl_cert_key), or "
     "'proxy_listen = 127.0.0.1:80, 127.0.0.1:81, [::1]:82, 127.0.0.1:83', or, where something in "
     "front ends TLS, 'allow_plaintext = on'\n"},
    {"", "KONG_PROXY_LISTEN=0.0.0.0:8000",
     "0:0 error: KONG_PROXY_LISTEN in the environment: 0.0.0.0:8000 is not loopback and has no "
     "TLS, so tokens would cross the network in clear; write 'KONG_PROXY_LISTEN=0.0.0.0:8000 ssl' "
     "(with ssl_cert and ssl_cert_key), or 'KONG_PROXY_LISTEN=127.0.0.1:8000', or, where something "
     "in front ends TLS, 'SALLYPORT_ALLOW_PLAINTEXT=on'\n"},
    {"status_listen = [::]:1\n", NULL,
     "1:0 error: 'status_listen': [::]:1: the status server is plain and asks for no token; it "
     "must stay on loopback, without ssl; write 'status_listen = [::1]:1'\n"},
    {"status_listen = 10.0.0.1:1\nallow_plaintext = on\n", NULL,
     "1:0 error: 'status_listen': 10.0.0.1:1: the status server is plain and asks for no token; "
     "it must stay on loopback, without ssl; write 'status_listen = 127.0.0.1:1'\n"},
    {"", "KONG_STATUS_LISTEN=127.0.0.1:1 ssl",
     "0:0 error: KONG_STATUS_LISTEN in the environment: 127.0.0.1:1 ssl: the status server is "
     "plain and asks for no token; it must stay on loopback, without ssl; write "
     "'KONG_STATUS_LISTEN=127.0.0.1:1'\n"},
    {"ssl_cert_key = -----BEGIN PRIVATE KEY-----\n", NULL,
     "1:0 error: 'ssl_cert_key': is the content of a file; write it into one and give its path\n"},
    {"", "KONG_SSL_CERT_KEY=LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t",
     "0:0 error: KONG_SSL_CERT_KEY in the environment: is the content of a file; write it into one "
     "and give its path\n"},
    {"proxy_listen = 127.0.0.1:8443 ssl\n", NULL,
     "0:0 error: 'ssl_cert': is needed by an address with ssl\n"
     "0:0 error: 'ssl_cert_key': is needed by an address with ssl\n"},
    {"ssl_cert = c\n", NULL, "1:0 warning: 'ssl_cert': has no effect: no address has ssl\n"},
    {"status_listen = 127.0.0.1:8000\n", NULL,
     "1:0 error: 'status_listen': has an address that proxy_listen has too\n"},
    {"declarative_config = missing.yaml\n", NULL,
     "1:0 error: 'declarative_config': the file 'etc/missing.yaml' cannot be read\n"},
    {"log_level = {vault://env/NONE}\n", NULL,
     "1:0 error: 'log_level': the environment variable 'NONE' is not set\n"},
    {"log_level = {vault://gcp/x}\n", NULL,
     "1:0 error: 'log_level': there is no vault 'gcp': env, file and aws need no entity, others "
     "stand in 'vaults'\n"},
    {"log_level = {vault://aws/level}\n", NULL,
     "1:0 error: 'log_level': secrets of AWS cannot be read here\n"},
    {"vault_aws_region = {vault://aws/region}\n", NULL,
     "1:0 error: 'vault_aws_region': a vault's own settings may be references to env and file "
     "only\n"},
    {"vault_aws_regoin = x\n", NULL,
     "1:0 error: 'vault_aws_regoin': there is no such property; did you mean "
     "'vault_aws_region'?\n"},
    {"vault_hcv_host = x\n", NULL,
     "1:0 warning: 'vault_hcv_host': is known from Kong, but not supported yet by this version; it "
     "has no effect\n"},
    {"vault_aws_ttl = 1h\n", NULL, "1:0 error: 'vault_aws_ttl': must be a whole number\n"},
    {"vault_aws_assume_role_arn = x\n", NULL,
     "1:0 error: 'vault_aws_assume_role_arn': must read arn:aws:iam::ACCOUNT:role/NAME, ACCOUNT "
     "being 12 digits\n"},
    {"vault_aws_endpoint_url = http://x\n", NULL,
     "1:0 error: 'vault_aws_endpoint_url': must begin with https:// (http:// only to loopback)\n"},
    {"", "KONG_VAULT_AWS_ROLE_SESSION_NAME={role}",
     "0:0 error: KONG_VAULT_AWS_ROLE_SESSION_NAME in the environment: takes no placeholders\n"},
    {"workers = {vault://env/SECRET_LEVEL}\n", NULL,
     "1:0 error: 'workers': what the reference stands for is not a valid value\n"},
    {"", "SALLYPORT_PORT=tcp://10.0.0.1:80",
     "0:0 warning: SALLYPORT_PORT in the environment: there is no such property\n"},
    {"", "SALLYPORT_WORKER=1", "0:0 warning: SALLYPORT_WORKER in the environment: there is no such "
                               "property; did you mean 'workers'?\n"},
    {"", "KONG_PG_OAUTH_AUTH=on",
     "0:0 warning: KONG_PG_OAUTH_AUTH in the environment: is known from Kong, but not supported "
     "yet by this version; it has no effect\n"},
    {"", "SALLYPORT_WORKERS=x",
     "0:0 error: SALLYPORT_WORKERS in the environment: must be a whole number\n"},
    {"workers = 3\n", "SALLYPORT_WORKERS=", ""},
    {"allow_plaintext = on\nproxy_listen = 0.0.0.0:80\n", NULL, ""},
};

static void every_mistake_is_named_with_its_line(void **state)
{
    size_t wrong = 0;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        const char *environment[] = {mistakes[i].variable, NULL};
        struct loaded l;
        load(&l, mistakes[i].text, environment, NULL, 0);
        if (strcmp(test_said(&l.said), mistakes[i].said) != 0) {
            test_show_difference(i, view_str(mistakes[i].text), &l.said, mistakes[i].said);
            wrong++;
        }
        bool refused = strstr(mistakes[i].said, " error: ") != NULL;
        assert_true(refused ? is_fault(l.outcome, &config_invalid) : !failed(l.outcome));
        clear(&l);
    }
    assert_int_equal(wrong, 0);
}

/* --- vaults --- */

static void the_vaults_of_the_node_have_kongs_defaults(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, "", NULL, NULL, 0);
    const struct vault *v = &l.node.vault_aws;
    assert_text(v->prefix, "aws");
    assert_int_equal(v->kind, VAULT_AWS);
    assert_null(v->aws.region.data);
    assert_null(v->aws.endpoint_url.data);
    assert_null(v->aws.assume_role_arn.data);
    assert_text(v->aws.role_session_name, "KongVault");
    assert_null(v->aws.sts_endpoint_url.data);
    assert_false(v->aws.base64_decode);
    assert_int_equal(v->ttl_s, 0);
    assert_int_equal(v->neg_ttl_s, 0);
    assert_int_equal(v->resurrect_ttl_s, 100000000);
    assert_text(l.node.vault_env.prefix, "env");
    assert_int_equal(l.node.vault_env.kind, VAULT_ENV);
    assert_null(l.node.vault_env.path_prefix.data);
    clear(&l);
}

/* For each property: in the file, in KONG_, in SALLYPORT_ and on the command line, where every next
 * one wins, and the value that is then read. */
static void vault_properties_obey_precedence(void **state)
{
    static const struct {
        const char *name;
        const char *values[4];
    } texts[] = {
        {"vault_aws_region", {"r1", "r2", "r3", "r4"}},
        {"vault_aws_endpoint_url", {"https://a1", "https://a2", "https://a3", "https://a4"}},
        {"vault_aws_assume_role_arn",
         {"arn:aws:iam::123456789012:role/1", "arn:aws:iam::123456789012:role/2",
          "arn:aws:iam::123456789012:role/3", "arn:aws:iam::123456789012:role/4"}},
        {"vault_aws_role_session_name", {"s1", "s2", "s3", "s4"}},
        {"vault_aws_sts_endpoint_url", {"https://t1", "https://t2", "https://t3", "https://t4"}},
        {"vault_aws_ttl", {"1", "2", "3", "4"}},
        {"vault_aws_neg_ttl", {"1", "2", "3", "4"}},
        {"vault_aws_resurrect_ttl", {"1", "2", "3", "4"}},
        {"vault_aws_decode_base64", {"on", "off", "on", "off"}},
        {"vault_env_prefix", {"E1", "E2", "E3", "E4"}},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const struct field *f = schema_field(&schema_node, view_str(texts[i].name));
        for (size_t top = 0; top < 4; top++) {
            char text[256], kong[256] = "KONG_", own[256] = "SALLYPORT_";
            const char *environment[3] = {NULL};
            const struct node_setting setting = {view_str(texts[i].name),
                                                 view_str(texts[i].values[3])};
            struct loaded l;
            snprintf(text, sizeof text, "%s = %s\n", texts[i].name, texts[i].values[0]);
            snprintf(kong + 5, sizeof kong - 5, "%s=%s", texts[i].name, texts[i].values[1]);
            snprintf(own + 10, sizeof own - 10, "%s=%s", texts[i].name, texts[i].values[2]);
            for (char *c = kong; *c != '='; c++)
                *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
            for (char *c = own; *c != '='; c++)
                *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
            environment[0] = top >= 2 ? own : top >= 1 ? kong : NULL;
            environment[1] = top >= 2 ? kong : NULL;
            load(&l, text, environment, &setting, top == 3);
            assert_false(failed(l.outcome));
            assert_string_equal(test_said(&l.said), "");
            const char *slot = (const char *)&l.node + f->offset, *wanted = texts[i].values[top];
            if (f->type == FIELD_STRING)
                assert_text(*(const struct view *)(const void *)slot, wanted);
            else if (f->type == FIELD_BOOLEAN)
                assert_int_equal(*(const bool *)(const void *)slot, strcmp(wanted, "on") == 0);
            else
                assert_int_equal(*(const int64_t *)(const void *)slot, wanted[0] - '0');
            clear(&l);
        }
    }
}

static void references_go_by_the_vaults_of_the_same_sources(void **state)
{
    static const char *const environment[] = {"KONG_VAULT_ENV_PREFIX=SECRET_", NULL};
    static const char *const secrets[] = {"aws node level 0=warn", "aws wait  0=…", NULL};
    struct test_config t;
    struct node_config node;
    union {
        const char *const *read;
        char *const *any;
    } env = {environment};
    (void)state;

    test_config_init(&t, no_variables);
    t.host.secrets = secrets;
    t.host.host.secret = test_secret;
    struct node_config_sources sources = {
        .environment = env.any,
        .conf_file = "etc/s.conf",
        .conf_text = VIEW("log_level = {vault://env/LEVEL}\n"
                          "vault_aws_region = {vault://env/SECRET_LEVEL}\n"),
        .host = &t.host.host};
    assert_false(failed(node_config_load(&t.arena, &sources, &node, &t.d)));
    assert_text(node.log_level, "warn");
    assert_text(node.vault_env.path_prefix, "SECRET_");
    /* A vault's own settings are looked up before there are any. */
    assert_text(node.vault_aws.aws.region, "warn");
    for (size_t i = 0; i < node.origin_count; i++) {
        if (strcmp(node.origins[i].property, "log_level") == 0)
            assert_text(node.origins[i].reference, "{vault://env/LEVEL}");
        else if (strcmp(node.origins[i].property, "prefix") == 0)
            assert_null(node.origins[i].reference.data);
    }
    sources.environment = NULL;
    sources.conf_text = VIEW("log_level = {vault://aws/node/level}\n");
    assert_false(failed(node_config_load(&t.arena, &sources, &node, &t.d)));
    assert_text(node.log_level, "warn");
    sources.conf_text = VIEW("log_level = {vault://aws/wait}\nvault_hcv_host = x\n");
    err e = node_config_load(&t.arena, &sources, &node, &t.d);
    assert_true(is_fault(e, &config_awaits_secrets));
    assert_null(t.d.first);
    sources.conf_text = VIEW("log_level = {vault://aws/wait}\nnix = x\n");
    assert_true(is_fault(node_config_load(&t.arena, &sources, &node, &t.d), &config_invalid));
    assert_int_equal(t.d.errors, 1);
    test_config_clear(&t);
}

static void an_unknown_setting_on_the_command_line_is_an_error(void **state)
{
    static const struct node_setting settings[] = {{VIEW("worker"), VIEW("1")},
                                                   {VIEW("prefix"), VIEW("rel")}};
    struct loaded l;
    (void)state;

    load(&l, "", NULL, settings, 2);
    assert_true(is_fault(l.outcome, &config_invalid));
    assert_string_equal(test_said(&l.said),
                        "0:0 error: 'worker' on the command line: there is no such property; did "
                        "you mean 'workers'?\n");
    /* Relative to the working directory, not to the file. */
    assert_text(l.node.prefix, "rel");
    clear(&l);
}

static void a_file_that_was_asked_for_must_be_there(void **state)
{
    struct test_config t;
    struct node_config node;
    (void)state;

    test_config_init(&t, no_variables);
    struct node_config_sources sources = {.conf_file = "/nowhere/s.conf", .host = &t.host.host};
    assert_true(is_fault(node_config_load(&t.arena, &sources, &node, &t.d), &config_unreadable));
    assert_int_equal(t.d.errors, 1);
    test_config_clear(&t);
}

/* A property of ours must never be taken for one of Kong's that we lack. */
static void no_property_is_known_and_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < schema_node.field_count; i++)
        assert_false(kong_property_known(view_str(schema_node.fields[i].name)));
    assert_true(kong_property_known(VIEW("vault_hcv_host")));
    assert_true(kong_property_known(VIEW("pg_ro_gcp_auth")));
    assert_false(kong_property_known(VIEW("pg_hosst")));
    assert_false(kong_property_known(VIEW("pg_azure_")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_without_any_source),
        cmocka_unit_test(every_subset_of_sources_obeys_precedence),
        cmocka_unit_test(a_file_is_read_as_kong_reads_it),
        cmocka_unit_test(every_mistake_is_named_with_its_line),
        cmocka_unit_test(the_vaults_of_the_node_have_kongs_defaults),
        cmocka_unit_test(vault_properties_obey_precedence),
        cmocka_unit_test(references_go_by_the_vaults_of_the_same_sources),
        cmocka_unit_test(an_unknown_setting_on_the_command_line_is_an_error),
        cmocka_unit_test(a_file_that_was_asked_for_must_be_there),
        cmocka_unit_test(no_property_is_known_and_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
