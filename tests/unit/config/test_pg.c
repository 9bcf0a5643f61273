/* Kong's pg_… and pg_ro_… properties: inheritance, what IAM raises, what contradicts. */
#include "node_test.h"

#include "config/schema.h"

static const char *const variables[] = {"PG_SECRET=from-the-vault", NULL};

static void load(struct loaded *l, const char *text, const char *const *environment)
{
    union {
        const char *const *read;
        char *const *any;
    } env = {environment};

    *l = (struct loaded){0};
    test_config_init(&l->t, variables);
    load_node(l, (struct node_config_sources){
        .environment = env.any,
        .conf_file = "etc/kong.conf",
        .conf_text = view_str(text)});
}

static void load_well(struct loaded *l, const char *text, const char *const *environment)
{
    load(l, text, environment);
    assert_string_equal(test_said(&l->said), "");
    assert_false(failed(l->outcome));
}

static const struct property_origin *origin(const struct loaded *l, const char *property)
{
    const struct field *f = schema_field(&schema_node, view_str(property));
    assert_non_null(f);
    return &l->node.origins[f - schema_node.fields];
}

static void assert_taken_from(const struct loaded *l, const char *property, const char *from)
{
    assert_int_equal(origin(l, property)->kind, ORIGIN_PROPERTY);
    assert_text(origin(l, property)->source, from);
}

static void the_defaults_are_kongs(void **state)
{
    struct loaded l;
    (void)state;

    load_well(&l, "", NULL);
    const struct pg_settings *pg = &l.node.pg;
    assert_text(pg->host, "127.0.0.1");
    assert_int_equal(pg->port, 5432);
    assert_int_equal(pg->timeout_ms, 5000);
    assert_text(pg->user, "kong");
    assert_null(pg->password.data);
    assert_text(pg->database, "kong");
    assert_null(pg->schema.data);
    assert_false(pg->iam_auth);
    assert_null(pg->iam_auth_assume_role_arn.data);
    assert_text(pg->iam_auth_role_session_name, "KongPostgres");
    assert_null(pg->iam_auth_sts_endpoint_url.data);
    assert_false(pg->ssl);
    assert_true(pg->ssl_required); /* Kong's off gives TLS up in silence */
    assert_true(pg->ssl_verify);
    assert_text(pg->ssl_version, "tlsv1_2");
    assert_int_equal(pg->max_concurrent_queries, 0);
    assert_int_equal(pg->semaphore_timeout_ms, 60000);
    assert_false(l.node.has_pg_ro);
    assert_int_equal(l.node.lua_ssl_trusted_certificate.count, 0);
    assert_int_equal(l.node.lua_ssl_verify_depth, 1);
    clear(&l);
}

static void every_property_of_kongs_is_there_in_both_forms(void **state)
{
    static const char *const names[] = {
        "host", "port", "timeout", "user", "password", "database", "schema", "iam_auth",
        "iam_auth_assume_role_arn", "iam_auth_role_session_name", "iam_auth_sts_endpoint_url",
        "ssl", "ssl_required", "ssl_version", "ssl_verify", "max_concurrent_queries",
        "semaphore_timeout", "keepalive_timeout", "pool_size", "backlog"};
    char name[64];
    (void)state;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(name, sizeof name, "pg_%s", names[i]);
        assert_non_null(schema_field(&schema_node, view_str(name)));
        snprintf(name, sizeof name, "pg_ro_%s", names[i]);
        assert_non_null(schema_field(&schema_node, view_str(name)));
    }
    assert_non_null(schema_field(&schema_node, VIEW("pg_ssl_cert")));
    assert_non_null(schema_field(&schema_node, VIEW("pg_ssl_cert_key")));
    assert_null(schema_field(&schema_node, VIEW("pg_ro_ssl_cert")));
}

#define ROLE "arn:aws:iam::123456789012:role/gateway"
#define STS "https://your.endpoint.to.aws.sts.service.amazonaws.com"

/* The environment of Kong's page on IAM authentication, letter for letter. */
static void the_examples_of_kongs_page_hold(void **state)
{
    static const char *const both[] = {"KONG_PG_IAM_AUTH=on", "KONG_PG_RO_HOST=r", NULL};
    static const char *const read_only[] = {"KONG_PG_IAM_AUTH=off", "KONG_PG_RO_IAM_AUTH=on", NULL};
    static const char *const roles[] = {"KONG_PG_IAM_AUTH=on",
                                        "KONG_PG_IAM_AUTH_ASSUME_ROLE_ARN=" ROLE,
                                        "KONG_PG_IAM_AUTH_ROLE_SESSION_NAME=rw",
                                        "KONG_PG_IAM_AUTH_STS_ENDPOINT_URL=" STS,
                                        "KONG_PG_RO_HOST=r",
                                        "KONG_PG_RO_IAM_AUTH_ASSUME_ROLE_ARN=" ROLE "-ro",
                                        "KONG_PG_RO_IAM_AUTH_ROLE_SESSION_NAME=ro",
                                        "KONG_PG_RO_IAM_AUTH_STS_ENDPOINT_URL=" STS "/ro",
                                        NULL};
    struct loaded l;
    (void)state;

    load_well(&l, "", both);
    assert_true(l.node.pg.iam_auth && l.node.pg_ro.iam_auth);
    assert_taken_from(&l, "pg_ro_iam_auth", "pg_iam_auth");
    clear(&l);

    load_well(&l, "pg_ro_host = r\npg_password = p\n", read_only);
    assert_false(l.node.pg.iam_auth);
    assert_text(l.node.pg.password, "p");
    assert_false(l.node.pg.ssl);
    assert_true(l.node.pg_ro.iam_auth && l.node.pg_ro.ssl && l.node.pg_ro.ssl_verify);
    assert_null(l.node.pg_ro.password.data);
    assert_taken_from(&l, "pg_ro_ssl", "pg_ro_iam_auth");
    clear(&l);

    load_well(&l, "", roles);
    assert_text(l.node.pg.iam_auth_assume_role_arn, ROLE);
    assert_text(l.node.pg.iam_auth_role_session_name, "rw");
    assert_text(l.node.pg.iam_auth_sts_endpoint_url, STS);
    assert_text(l.node.pg_ro.iam_auth_assume_role_arn, ROLE "-ro");
    assert_text(l.node.pg_ro.iam_auth_role_session_name, "ro");
    assert_text(l.node.pg_ro.iam_auth_sts_endpoint_url, STS "/ro");
    clear(&l);
}

static void a_replica_in_another_region_is_signed_for_its_own(void **state)
{
#define REGIONS                                                                                    \
    "pg_host = tunnel.internal\npg_iam_auth = on\npg_iam_auth_region = eu-west-1\n"                \
    "pg_iam_auth_hostname = rw.abc.eu-west-1.rds.amazonaws.com\n"
    static const struct {
        const char *text, *region;
    } rows[] = {
        {REGIONS "pg_ro_host = ro.abc.us-east-1.rds.amazonaws.com\n", NULL},
        {REGIONS "pg_ro_host = t\npg_ro_iam_auth_hostname = ro.abc.us-east-1.rds.amazonaws.com\n",
         NULL},
        {REGIONS "pg_ro_host = replica.internal\n", "eu-west-1"},
        {REGIONS "pg_ro_host = ro.abc.us-east-1.rds.amazonaws.com\n"
                 "pg_ro_iam_auth_region = us-east-1\n", "us-east-1"},
    };
    struct loaded l;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        load(&l, rows[i].text, NULL);
        assert_string_equal(test_said(&l.said), "");
        assert_text(l.node.pg.iam_auth_region, "eu-west-1");
        if (rows[i].region != NULL)
            assert_text(l.node.pg_ro.iam_auth_region, rows[i].region);
        else
            assert_int_equal(l.node.pg_ro.iam_auth_region.len, 0);
        clear(&l);
    }
}

static void the_read_only_side_inherits_all_but_role_session_and_sts(void **state)
{
    static const char text[] = "pg_host = 127.0.0.1\npg_port = 6000\npg_timeout = 7000\n"
                               "pg_user = u\npg_password = {vault://env/PG_SECRET}\n"
                               "pg_database = d\npg_schema = s\npg_ssl = on\n"
                               "pg_ssl_version = tlsv1_3\npg_iam_auth_region = eu-west-1\n"
                               "pg_ro_host = localhost\npg_ro_user = reader\n";
    static const char roles[] = "pg_iam_auth = on\npg_iam_auth_assume_role_arn = " ROLE "\n"
                                "pg_iam_auth_role_session_name = rw\n"
                                "pg_iam_auth_sts_endpoint_url = " STS "\n"
                                "pg_iam_auth_hostname = rw.example.com\n"
                                "pg_ro_host = r\n";
    struct loaded l;
    (void)state;

    load(&l, text, NULL);
    assert_string_equal(test_said(&l.said), "10:0 warning: 'pg_iam_auth_region': has no effect "
                                            "without pg_iam_auth = on\n");
    const struct pg_settings *ro = &l.node.pg_ro;
    assert_true(l.node.has_pg_ro);
    assert_text(ro->host, "localhost");
    assert_int_equal(ro->port, 6000);
    assert_int_equal(ro->timeout_ms, 7000);
    assert_text(ro->user, "reader");
    assert_text(ro->password, "from-the-vault");
    assert_text(ro->database, "d");
    assert_text(ro->schema, "s");
    assert_true(ro->ssl && ro->ssl_verify);
    assert_text(ro->ssl_version, "tlsv1_3");
    assert_taken_from(&l, "pg_ro_port", "pg_port");
    assert_int_equal(origin(&l, "pg_ro_user")->kind, ORIGIN_FILE);
    assert_int_equal(origin(&l, "pg_ro_ssl_verify")->kind, ORIGIN_DEFAULT);
    clear(&l);

    load(&l, roles, NULL);
    assert_string_equal(test_said(&l.said),
                        "2:0 warning: 'pg_iam_auth_assume_role_arn': the read-only connection does "
                        "not inherit it and assumes no role; set pg_ro_iam_auth_assume_role_arn "
                        "too\n");
    assert_true(l.node.pg_ro.iam_auth);
    assert_null(l.node.pg_ro.iam_auth_assume_role_arn.data);
    assert_text(l.node.pg_ro.iam_auth_role_session_name, "KongPostgres");
    assert_null(l.node.pg_ro.iam_auth_sts_endpoint_url.data);
    assert_null(l.node.pg_ro.iam_auth_hostname.data);
    clear(&l);
}

static void iam_raises_what_was_not_said(void **state)
{
    static const char *const environment[] = {"SALLYPORT_PG_IAM_AUTH=on", NULL};
    struct loaded l;
    (void)state;

    load_well(&l, "pg_host = db.example.com\npg_ro_host = r\npg_ro_iam_auth = off\n"
                  "pg_ro_ssl = on\n",
              environment);
    assert_true(l.node.pg.ssl && l.node.pg.ssl_verify);
    assert_taken_from(&l, "pg_ssl", "pg_iam_auth");
    assert_int_equal(origin(&l, "pg_ssl_verify")->kind, ORIGIN_DEFAULT);
    assert_false(l.node.pg_ro.iam_auth);
    clear(&l);
}

static void files_of_authorities_are_taken_from_the_folder(void **state)
{
    struct loaded l;
    (void)state;

    load_well(&l, "lua_ssl_trusted_certificate = system, rds,tls/ca.pem, /abs/ca.pem\n"
                  "lua_ssl_verify_depth = 3\n", NULL);
    const struct strings *trusted = &l.node.lua_ssl_trusted_certificate;
    assert_int_equal(trusted->count, 4);
    assert_text(trusted->items[0], "system");
    assert_text(trusted->items[1], "rds");
    assert_text(trusted->items[2], "etc/tls/ca.pem");
    assert_text(trusted->items[3], "/abs/ca.pem");
    assert_int_equal(l.node.lua_ssl_verify_depth, 3);
    clear(&l);
}

#define RDS "shop.cluster-abc.eu-west-1.rds.amazonaws.com"

static const struct {
    const char *text;
    const char *said;
} cases[] = {
    {"pg_iam_auth = on\npg_password = x\n",
     "2:0 warning: 'pg_password': is ignored with pg_iam_auth = on: a token takes its place; "
     "remove it\n"},
    {"pg_ro_host = r\npg_ro_iam_auth = on\npg_ro_password = x\n",
     "3:0 warning: 'pg_ro_password': is ignored with pg_ro_iam_auth = on: a token takes its place; "
     "remove it\n"},
    /* Each connection has its own: only the read-write one uses IAM. */
    {"pg_iam_auth = on\npg_password = x\npg_ro_host = 127.0.0.1\npg_ro_iam_auth = off\n"
     "pg_ro_password = y\n",
     "2:0 warning: 'pg_password': is ignored with pg_iam_auth = on: a token takes its place; "
     "remove it\n"},
    {"pg_iam_auth = on\npg_password = x\npg_ro_host = 127.0.0.1\npg_ro_iam_auth = off\n",
     "2:0 warning: 'pg_password': is ignored by the read-write connection with pg_iam_auth = on, "
     "and inherited by the read-only one; set pg_ro_password instead\n"},
    {"pg_password = x\npg_ro_host = r\npg_ro_iam_auth = on\n", ""},
    {"pg_iam_auth = on\npg_password = x\npg_ro_host = r\npg_ro_password = y\n",
     "2:0 warning: 'pg_password': is ignored with pg_iam_auth = on: a token takes its place; "
     "remove it\n"
     "4:0 warning: 'pg_ro_password': is ignored with pg_ro_iam_auth = on: a token takes its place; "
     "remove it\n"},
    /* What is ignored is not looked up either. */
    {"pg_iam_auth = on\npg_password = {vault://env/NONE}\n",
     "2:0 warning: 'pg_password': is ignored with pg_iam_auth = on: a token takes its place; "
     "remove it\n"},
    {"pg_password = {vault://env/NONE}\npg_iam_auth = on\npg_ro_host = 127.0.0.1\n"
     "pg_ro_iam_auth = off\n",
     "1:0 error: 'pg_password': the environment variable 'NONE' is not set\n"},
    {"pg_ro_host = r\npg_ro_iam_auth = on\npg_ro_password = {vault://env/NONE}\n",
     "3:0 warning: 'pg_ro_password': is ignored with pg_ro_iam_auth = on: a token takes its place; "
     "remove it\n"},
    {"pg_iam_auth = on\npg_password =\n", ""},
    {"pg_iam_auth = on\npg_ssl = off\n",
     "2:0 error: 'pg_ssl': must not be off with pg_iam_auth = on: a token goes only to a server "
     "whose certificate was verified; remove the line\n"},
    {"pg_iam_auth = on\npg_ssl_verify = off\n",
     "2:0 error: 'pg_ssl_verify': must not be off with pg_iam_auth = on: a token goes only to a "
     "server whose certificate was verified; remove the line\n"},
    {"pg_ro_host = r\npg_ro_iam_auth = on\npg_ro_ssl = off\n",
     "3:0 error: 'pg_ro_ssl': must not be off with pg_ro_iam_auth = on: a token goes only to a "
     "server whose certificate was verified; remove the line\n"},
    {"pg_iam_auth = on\npg_ro_host = r\npg_ssl = on\npg_ro_ssl_verify = off\n",
     "4:0 error: 'pg_ro_ssl_verify': must not be off with pg_ro_iam_auth = on: a token goes only "
     "to a server whose certificate was verified; remove the line\n"},
    {"pg_iam_auth = on\npg_ssl = on\npg_ssl_verify = on\n", ""},
    {"pg_ro_host = r\npg_ro_iam_auth = on\npg_ro_ssl_verify = off\n",
     "3:0 error: 'pg_ro_ssl_verify': must not be off with pg_ro_iam_auth = on: a token goes only "
     "to a server whose certificate was verified; remove the line\n"},
    /* Inherited from a password connection without TLS: raised, as what was not said. */
    {"pg_ssl = off\npg_ro_host = r\npg_ro_iam_auth = on\n", ""},
    {"pg_ssl_verify = off\npg_ro_host = r\npg_ro_iam_auth = on\n", ""},
    {"pg_iam_auth = on\npg_ssl_cert = c\npg_ssl_cert_key = k\n",
     "2:0 error: 'pg_ssl_cert': a client certificate and pg_iam_auth = on exclude each other; "
     "remove one\n"
     "3:0 error: 'pg_ssl_cert_key': a client certificate and pg_iam_auth = on exclude each other; "
     "remove one\n"},
    {"pg_ssl_cert = c\npg_ssl_cert_key = k\npg_ssl = on\npg_ro_host = r\npg_ro_iam_auth = on\n",
     ""},
    {"pg_iam_auth = on\npg_ssl_cert_key = k\n",
     "2:0 error: 'pg_ssl_cert_key': a client certificate and pg_iam_auth = on exclude each other; "
     "remove one\n"},
    {"pg_ssl = on\npg_ssl_cert = c\n",
     "2:0 error: 'pg_ssl_cert': is nothing without pg_ssl_cert_key\n"},
    {"pg_ssl = on\npg_ssl_cert = missing\npg_ssl_cert_key = k\n",
     "2:0 error: 'pg_ssl_cert': the file 'etc/missing' cannot be read\n"},
    {"pg_ro_iam_auth = on\n", "1:0 error: 'pg_ro_iam_auth': there is no read-only connection that "
                              "could use it; set pg_ro_host\n"},
    {"pg_ro_iam_auth = off\npg_ro_port = 1\n",
     "2:0 warning: 'pg_ro_port': has no effect without pg_ro_host\n"
     "1:0 warning: 'pg_ro_iam_auth': has no effect without pg_ro_host\n"},
    {"pg_iam_auth_assume_role_arn = " ROLE "\n",
     "1:0 warning: 'pg_iam_auth_assume_role_arn': has no effect without pg_iam_auth = on\n"},
    {"pg_iam_auth = on\npg_iam_auth_role_session_name = x1\npg_iam_auth_sts_endpoint_url = " STS
     "\n",
     "2:0 warning: 'pg_iam_auth_role_session_name': has no effect without "
     "pg_iam_auth_assume_role_arn\n"
     "3:0 warning: 'pg_iam_auth_sts_endpoint_url': has no effect without "
     "pg_iam_auth_assume_role_arn\n"},
    {"pg_iam_auth_assume_role_arn = gateway\n",
     "1:0 error: 'pg_iam_auth_assume_role_arn': must read arn:aws:iam::ACCOUNT:role/NAME, ACCOUNT "
     "being 12 digits\n"},
    {"pg_iam_auth = on\npg_iam_auth_assume_role_arn = " ROLE
     "\npg_iam_auth_role_session_name = {subject}\n",
     "3:0 error: 'pg_iam_auth_role_session_name': takes no placeholders\n"},
    {"pg_iam_auth = on\npg_iam_auth_sts_endpoint_url = http://sts.example.com\n",
     "2:0 error: 'pg_iam_auth_sts_endpoint_url': must begin with https:// (http:// only to "
     "loopback)\n"},
    {"pg_ssl_version = tlsv1_1\n", "1:0 error: 'pg_ssl_version': TLS 1.1 is not spoken here; every "
                                   "engine version of RDS takes tlsv1_2\n"},
    {"pg_ssl_version = tlsv1_3\n", ""},
    {"pg_iam_auth = on\npg_host = " RDS "\npg_ssl_version = tlsv1_3\n",
     "3:0 warning: 'pg_ssl_version': older engine versions of RDS do not take TLS 1.3 (PostgreSQL "
     "16 and later do, TLS 1.2 all); tlsv1_2 takes the best that the server has\n"},
    {"pg_ssl_version = tlsv1_3\npg_ro_host = " RDS "\npg_ro_ssl = on\n",
     "0:0 warning: 'pg_ro_ssl_version': older engine versions of RDS do not take TLS 1.3 "
     "(PostgreSQL 16 and later do, TLS 1.2 all); tlsv1_2 takes the best that the server has\n"},
    {"pg_host = " RDS "\npg_ssl = on\npg_ssl_version = tlsv1_3\npg_ro_host = ro." RDS "\n",
     "3:0 warning: 'pg_ssl_version': older engine versions of RDS do not take TLS 1.3 (PostgreSQL "
     "16 and later do, TLS 1.2 all); tlsv1_2 takes the best that the server has\n"},
    {"pg_iam_auth = on\npg_iam_auth_hostname = " RDS "\npg_ssl_version = tlsv1_3\n",
     "3:0 warning: 'pg_ssl_version': older engine versions of RDS do not take TLS 1.3 (PostgreSQL "
     "16 and later do, TLS 1.2 all); tlsv1_2 takes the best that the server has\n"},
    {"pg_iam_auth = on\npg_ssl_version = tlsv1_1\n",
     "2:0 error: 'pg_ssl_version': TLS 1.1 is not spoken here; every engine version of RDS takes "
     "tlsv1_2\n"},
    {"pg_ssl_version = any\n", ""},
    {"lua_ssl_verify_depth = -1\n",
     "1:0 error: 'lua_ssl_verify_depth': must be from 0 to 100\n"},
    {"pg_ssl_version = tls1.3\n", "1:0 error: 'pg_ssl_version': 'tls1.3' is not one of tlsv1_1, "
                                  "tlsv1_2, tlsv1_3, any; did you mean 'tlsv1_3'?\n"},
    {"pg_host = db.example.com\n",
     "1:0 error: 'pg_host': the password and the configuration would cross the network in clear; "
     "set pg_ssl = on, or allow_plaintext = on\n"},
    {"pg_host = db.example.com\nallow_plaintext = on\n", ""},
    {"pg_host = db.example.com\npg_ssl = on\n", ""},
    {"pg_host = db.example.com\npg_ssl = on\npg_ssl_verify = off\n",
     "3:0 warning: 'pg_ssl_verify': is off: whoever answers at this address gets the password\n"},
    {"pg_iam_auth_role_session_name = KongPostgres\npg_semaphore_timeout = 60000\n", ""},
    {"pg_ssl = on\npg_ssl_required = off\n",
     "2:0 warning: 'pg_ssl_required': has no effect: TLS that pg_ssl asks for is never given up\n"},
    {"pg_host = /run/postgresql\n", ""},
    {"pg_host = /run/postgresql\npg_iam_auth = on\n",
     "1:0 error: 'pg_host': a unix socket has no TLS, which pg_iam_auth = on needs; give a host "
     "name\n"},
    {"pg_pool_size = 10\n", "1:0 warning: 'pg_pool_size': has no effect: a node keeps one "
                            "connection to its configuration\n"},
    {"pg_hots = h\n", "1:0 error: 'pg_hots': there is no such property; did you mean 'pg_host'?\n"},
    {"pg_port = 0\n", "1:0 error: 'pg_port': must be a port number, from 1 to 65535\n"},
    {"pg_timeout = 2147483647\n", "1:0 error: 'pg_timeout': must be from 1 to 2147483646\n"},
    {"pg_password = {vault://env/NONE}\n",
     "1:0 error: 'pg_password': the environment variable 'NONE' is not set\n"},
    {"pg_iam_auth_max_rate = 0\n", "1:0 error: 'pg_iam_auth_max_rate': must be from 1 to 1000\n"},
    {"pg_iam_auth_max_rate = 1001\n",
     "1:0 error: 'pg_iam_auth_max_rate': must be from 1 to 1000\n"},
    {"pg_iam_auth_max_rate = 200\n", ""},
    {"pg_iam_auth_max_rate = 201\n",
     "1:0 warning: 'pg_iam_auth_max_rate': RDS takes fewer than 200 new logins by IAM a second; it "
     "may refuse what is beyond\n"},
    {"pg_ro_iam_auth_max_rate = 10\n",
     "1:0 error: 'pg_ro_iam_auth_max_rate': there is no such property; did you mean "
     "'pg_iam_auth_max_rate'?\n"},
    {"lua_ssl_trusted_certificate = missing.pem\n",
     "1:0 error: 'lua_ssl_trusted_certificate': the file 'etc/missing.pem' cannot be read\n"},
};

static void what_contradicts_is_named(void **state)
{
    size_t wrong = 0;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l;
        load(&l, cases[i].text, NULL);
        if (strcmp(test_said(&l.said), cases[i].said) != 0) {
            test_show_difference(i, view_str(cases[i].text), &l.said, cases[i].said);
            wrong++;
        }
        bool refused = strstr(cases[i].said, " error: ") != NULL;
        assert_true(refused ? is_fault(l.outcome, &config_invalid) : !failed(l.outcome));
        clear(&l);
    }
    assert_int_equal(wrong, 0);
}

/* The warning names the variable, wherever the password was said. */
static void a_password_of_the_environment_is_ignored_by_its_name(void **state)
{
    static const char *const environment[] = {"KONG_PG_IAM_AUTH=on", "KONG_PG_PASSWORD=x", NULL};
    struct loaded l;
    (void)state;

    load(&l, "", environment);
    assert_string_equal(test_said(&l.said),
                        "0:0 warning: KONG_PG_PASSWORD in the environment: is ignored with "
                        "pg_iam_auth = on: a token takes its place; remove it\n");
    assert_false(failed(l.outcome));
    assert_null(l.node.pg.password.data);
    clear(&l);
}

/* IAM for the read-write connection alone leaves the other its password. */
static void each_connection_has_its_own_proof(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, "pg_iam_auth = on\npg_password = x\npg_ro_host = 127.0.0.1\npg_ro_iam_auth = off\n",
         NULL);
    assert_true(l.node.pg.iam_auth && !l.node.pg_ro.iam_auth);
    assert_null(l.node.pg.password.data);
    assert_text(l.node.pg_ro.password, "x");
    assert_true(l.node.pg.ssl && l.node.pg.ssl_verify);
    clear(&l);
}

static void a_service_that_would_log_in_faster_than_all_nodes_may_is_named(void **state)
{
    struct meta at = {.line = 7};
    const struct service services[] = {
        {.meta = at, .name = VIEW("iam"), .primary.iam_auth.enabled = true, .pool.login_rate = 11},
        {.meta = at, .name = VIEW("even"), .primary.iam_auth.enabled = true, .pool.login_rate = 10},
        {.meta = at, .name = VIEW("password"), .pool.login_rate = 100},
        {.meta = at, .name = VIEW("unread"), .read.iam_auth.enabled = true, .pool.login_rate = 20},
        {.meta = at, .name = VIEW("read"), .has_read = true, .read.iam_auth.enabled = true,
         .pool.login_rate = 20},
    };
    const struct entities all = {.services = services, .service_count = COUNT_OF(services)};
    struct loaded l;
    (void)state;

    load_well(&l, "pg_iam_auth_max_rate = 10\n", NULL);
    assert_int_equal(l.node.pg_iam_auth_max_rate, 10);
    entities_check_rates(&all, &l.node, VIEW("sallyport.yaml"), &l.t.d);
    test_describe(&l.t.d, &l.said);
    assert_string_equal(
        test_said(&l.said),
        "7:0 warning: service iam: its login_rate, 11 a second, is more than the 10 of "
        "pg_iam_auth_max_rate, which all nodes share; its logins by IAM keep to the lower one\n"
        "7:0 warning: service read: its login_rate, 20 a second, is more than the 10 of "
        "pg_iam_auth_max_rate, which all nodes share; its logins by IAM keep to the lower one\n");
    assert_int_equal(l.t.d.errors, 0);
    clear(&l);
    load_well(&l, "", NULL);
    assert_int_equal(l.node.pg_iam_auth_max_rate, 200);
    clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_of_the_environment_is_ignored_by_its_name),
        cmocka_unit_test(each_connection_has_its_own_proof),
        cmocka_unit_test(the_defaults_are_kongs),
        cmocka_unit_test(every_property_of_kongs_is_there_in_both_forms),
        cmocka_unit_test(the_examples_of_kongs_page_hold),
        cmocka_unit_test(a_replica_in_another_region_is_signed_for_its_own),
        cmocka_unit_test(the_read_only_side_inherits_all_but_role_session_and_sts),
        cmocka_unit_test(iam_raises_what_was_not_said),
        cmocka_unit_test(files_of_authorities_are_taken_from_the_folder),
        cmocka_unit_test(what_contradicts_is_named),
        cmocka_unit_test(a_service_that_would_log_in_faster_than_all_nodes_may_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
