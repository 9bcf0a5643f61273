#include "node_test.h"

#include "config/conf_file.h"
#include "config/kong_properties.h"

static const char *const no_variables[] = {NULL};

static void load(struct loaded *l, const char *text, const char *variable)
{
    const char *given[] = {variable, NULL};
    union {
        const char *const *read;
        char *const *any;
    } env = {given};
    static const struct node_setting compat = {VIEW("kong_compat"), VIEW("on")};

    *l = (struct loaded){0};
    test_config_init(&l->t, no_variables);
    load_node(l, (struct node_config_sources){
        .settings = &compat,
        .setting_count = 1,
        .environment = env.any,
        .conf_file = "etc/kong.conf",
        .conf_text = view_str(text)});
}

/* --- the file's form --- */

/* "name=value@line[!]" of each line that holds, and "error@line" or "warning@line". */
static void describe_lines(const struct conf_line *first, const struct diagnostics *d,
                           struct buf *out)
{
    buf_reset(out);
    for (const struct conf_line *l = first; l != NULL; l = l->next) {
        if (!l->replaced)
            buf_printf(out, "%.*s=%.*s@%u\n", VIEW_ARG(l->name), VIEW_ARG(l->value), l->line);
    }
    for (const struct diagnostic *e = d->first; e != NULL; e = e->next)
        buf_printf(out, "%s@%u\n", e->severity == SEVERITY_ERROR ? "error" : "warning", e->line);
    buf_add_char(out, '\0');
}

static const struct {
    const char *text;
    const char *kong;
    const char *ours;
} forms[] = {
    {"a = 1 # x\n", "a=1@1\n", "a=1@1\n"},
    {"a = 1#2\n", "a=1@1\n", "a=1#2@1\n"},
    {"a = 1\\#2 \\# 3 # 4\n", "a=1#2 # 3@1\n", "a=1#2 # 3@1\n"},
    {"a =#1\n", "a=@1\n", "a=@1\n"},
    {"; a = 1\n  ; b\nc = 2\n", "c=2@3\n", "c=2@3\nerror@1\nerror@2\n"},
    {"a = x; y\n", "a=x; y@1\n", "a=x; y@1\n"},
    {"a = 1, \\\n  2, \\  \n# in between\n\n  3\nb = 4\n", "a=1,   2,   3@1\nb=4@6\n",
     "a=1, \\@1\nb=4@6\nerror@2\nerror@5\n"},
    {"a = { \\\r\n 1 }\r\n", "a={  1 }@1\n", "a={ \\@1\nerror@2\n"},
    {"a = 1 \\\n", "error@1\n", "a=1 \\@1\n"},
    {"a = 1 \\", "error@1\n", "a=1 \\@1\n"},
    {"a = \"1\"\nb = '2'\n", "a=\"1\"@1\nb='2'@2\n", "a=\"1\"@1\nb='2'@2\n"},
    {"pg-host = x\npg.port = 1\npg user = y\n", "pg_host=x@1\npg_port=1@2\npg_user=y@3\n",
     "error@1\nerror@2\nerror@3\n"},
    {"a = 1\nb = 2\na = 3\n", "b=2@2\na=3@3\nwarning@3\n", "a=1@1\nb=2@2\nerror@3\n"},
    {"a = 1\na = 2\na = 3\n", "a=3@3\nwarning@2\nwarning@3\n", "a=1@1\nerror@2\nerror@3\n"},
    {"[kong]\na = 1\n", "a=1@2\nerror@1\n", "a=1@2\nerror@1\n"},
    {"a\n= 1\n", "error@1\nerror@2\n", "error@1\nerror@2\n"},
    {"a = b = c\n", "a=b = c@1\n", "a=b = c@1\n"},
    {"", "", ""},
    {"\\\na = 1\n", "a=1@1\n", "a=1@2\nerror@1\n"},
};

static void both_forms_are_read_as_written_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        const char *wanted[] = {forms[i].ours, forms[i].kong};
        for (int form = CONF_OURS; form <= CONF_OF_KONG; form++) {
            struct arena arena;
            struct conf_line *first;
            struct buf said;

            arena_init(&arena, 4096, 1 << 20);
            buf_init(&said, 1 << 16);
            struct diagnostics d = {.arena = &arena};
            assert_false(failed(conf_file_parse(&arena, VIEW("f"), view_str(forms[i].text),
                                                (enum conf_form)form, &first, &d)));
            describe_lines(first, &d, &said);
            if (strcmp(test_said(&said), wanted[form]) != 0)
                fail_msg("case %zu, form %d:\n%ssaid\n%s", i, form, forms[i].text,
                         test_said(&said));
            buf_clear(&said);
            arena_clear(&arena);
        }
    }
}

static void the_file_itself_may_say_that_it_is_kongs(void **state)
{
    static const struct {
        const char *text;
        bool on;
    } texts[] = {{"kong_compat = on\n", true},        {"a = 1\n kong_compat=true # yes\n", true},
                 {"kong_compat = off\n", false},      {"# kong_compat = on\n", false},
                 {"kong_compat = on#x\n", true},      {"kong_compat =\n", false},
                 {"kong_compat = on\nkong_compat = off\n", false}, {"", false},
                 {"my_kong_compat = on\n", false}};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(conf_file_switches_on(view_str(texts[i].text), "kong_compat"),
                         texts[i].on);
}

/* --- values --- */

#define SAFE "proxy_listen = off\n"

static void kongs_defaults_hold(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, SAFE, NULL);
    assert_string_equal(test_said(&l.said), "");
    assert_text(l.node.prefix, "/usr/local/kong");
    assert_text(l.node.database, "postgres");
    assert_text(l.node.declarative_config, "/usr/local/kong/store.yaml");
    assert_true(l.node.kong_compat);
    assert_int_equal(l.node.status_listen.items[0].port, 8007);
    assert_null(l.node.idle);
    clear(&l);

    load(&l, "", NULL);
    assert_true(is_fault(l.outcome, &config_invalid));
    assert_string_equal(
        test_said(&l.said),
        "0:0 error: 'proxy_listen', Kong's default: 0.0.0.0:8000 is not loopback and has no TLS, "
        "so tokens would cross the network in clear; write 'proxy_listen = 0.0.0.0:8000 ssl, "
        "0.0.0.0:8443 ssl' (with ssl_cert and ssl_cert_key), or 'proxy_listen = 127.0.0.1:8000, "
        "0.0.0.0:8443 ssl', or, where something in front ends TLS, 'allow_plaintext = on'\n"
        "0:0 error: 'ssl_cert': is needed by an address with ssl: unlike Kong, sallyport makes no "
        "certificate of its own\n"
        "0:0 error: 'ssl_cert_key': is needed by an address with ssl: unlike Kong, sallyport makes "
        "no certificate of its own\n");
    clear(&l);
}

static void an_address_keeps_what_means_something(void **state)
{
    struct loaded l;
    (void)state;

    load(&l,
         "proxy_listen = 127.0.0.1:8000 reuseport backlog=16384, 0.0.0.0:8443  http2 ssl bind "
         "deferred so_keepalive=30m::10,[::]:8443 ipv6only=on ssl\n"
         "ssl_cert = a.crt, b.crt\nssl_cert_key = a.key,b.key\n",
         NULL);
    assert_int_equal(l.node.proxy_listen.count, 3);
    assert_false(l.node.proxy_listen.items[0].tls);
    assert_true(l.node.proxy_listen.items[1].tls);
    assert_text(l.node.proxy_listen.items[2].host, "::");
    assert_text(l.node.ssl_cert, "etc/a.crt");
    assert_text(l.node.ssl_cert_key, "etc/a.key");
    assert_string_equal(test_said(&l.said),
                        "0:0 warning: 3 of Kong's settings have no effect here (addresses 1, TLS "
                        "of the proxy 2); 'sallyport config show --kong-compat' lists them\n");
    assert_text(l.node.idle->name, "proxy_listen");
    assert_int_equal(l.node.idle->origin.line, 1);
    assert_text(l.node.idle->next->next->name, "ssl_cert_key");
    assert_null(l.node.idle->next->next->next);
    clear(&l);
}

static void many_addresses_without_blanks_between_them_are_read(void **state)
{
    struct loaded l;
    (void)state;

    load(&l,
         "proxy_listen = 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,127.0.0.1:5,127.0.0.1:6,"
         "127.0.0.1:7,127.0.0.1:8 bind\n",
         NULL);
    assert_string_equal(test_said(&l.said),
                        "0:0 warning: 1 of Kong's settings have no effect here (addresses 1); "
                        "'sallyport config show --kong-compat' lists them\n");
    assert_int_equal(l.node.proxy_listen.count, 8);
    clear(&l);
}

static const struct {
    const char *text;
    const char *variable;
    const char *said;
} cases[] = {
    {SAFE "prefix = /srv/kong///\n", NULL, ""},
    {SAFE "log_level = info\n", NULL, ""},
    {SAFE "log_level = crit\n", NULL,
     "0:0 warning: 1 of Kong's settings have no effect here (logs 1); 'sallyport config show "
     "--kong-compat' lists them\n"},
    {SAFE "log_level = loud\n", NULL,
     "2:0 error: 'log_level': 'loud' is not one of debug, info, notice, warn, error\n"},
    {SAFE "nginx_proxy_large_client_header_buffers = 8 24k\nplugins = bundled, mine\n"
          "headers = off\nvaults = bundled\nadmin_listen = 0.0.0.0:8001\n",
     "KONG_NGINX_HTTP_OUTPUT_BUFFERS=4 64k",
     "0:0 warning: 6 of Kong's settings have no effect here (nginx 2, plugins 1, headers and error "
     "pages 1, vaults 1, Admin API and Kong Manager 1); 'sallyport config show --kong-compat' "
     "lists them\n"},
    /* What keeps somebody out of Kong is said by itself. */
    {SAFE "nginx_proxy_ssl_verify_client = on\nnginx_http_deny = all\nfips = on\n"
          "nginx_status_allow = 10.0.0.0/8\nnginx_proxy_auth_basic = x\n"
          "ssl_protocols = TLSv1.3\nssl_cipher_suite = modern\n"
          "nginx_proxy_ssl_protocols = TLSv1.3\n",
     NULL,
     "0:0 warning: 8 of Kong's settings have no effect here (nginx 5, TLS of the proxy 3); "
     "'sallyport config show --kong-compat' lists them\n"
     "2:0 warning: 'nginx_proxy_ssl_verify_client': has no effect: nobody is asked for a client "
     "certificate here\n"
     "3:0 warning: 'nginx_http_deny': has no effect: no address is kept out here; a security group "
     "can\n"
     "4:0 warning: 'fips': has no effect: OpenSSL's FIPS mode is the system's to set\n"
     "5:0 warning: 'nginx_status_allow': has no effect: no address is kept out here; a security "
     "group can\n"
     "6:0 warning: 'nginx_proxy_auth_basic': has no effect: callers are known by their tokens "
     "alone\n"
     "7:0 warning: 'ssl_protocols': has no effect: TLS 1.2 is spoken, too\n"
     "8:0 warning: 'ssl_cipher_suite': has no effect: TLS 1.2 is spoken, too\n"
     "9:0 warning: 'nginx_proxy_ssl_protocols': has no effect: TLS 1.2 is spoken, too\n"},
    {SAFE "nginx_proxy_ssl_verify_client = off\nnginx_proxy_auth_basic = off\nfips = off\n"
          "ssl_protocols = TLSv1.2 TLSv1.3\nssl_cipher_suite = intermediate\n",
     NULL,
     "0:0 warning: 5 of Kong's settings have no effect here (nginx 2, TLS of the proxy 3); "
     "'sallyport config show --kong-compat' lists them\n"},
    {SAFE "quux = 1\n", "KONG_PROXY_PORT_80_TCP_ADDR=10.0.0.1",
     "0:0 warning: 2 of Kong's settings have no effect here (unknown names 2); 'sallyport config "
     "show --kong-compat' lists them\n"},
    {SAFE "pg_iam_aut = on\n", NULL,
     "2:0 warning: 'pg_iam_aut': there is no such property; did you mean 'pg_iam_auth'?\n"},
    {SAFE "prefx = /srv/kong\n", NULL,
     "2:0 error: 'prefx': there is no such property; did you mean 'prefix'?\n"},
    {SAFE "pg_password = 'x'\n", NULL,
     "2:0 warning: 'pg_password': the quotes are part of the value, as in Kong; remove them\n"},
    {SAFE "nginx_user =\nquux =\n", NULL,
     "0:0 warning: 1 of Kong's settings have no effect here (unknown names 1); 'sallyport config "
     "show --kong-compat' lists them\n"},
    {SAFE "client_max_body_size = 0\n", NULL,
     "0:0 warning: 1 of Kong's settings have no effect here (nginx 1); 'sallyport config show "
     "--kong-compat' lists them\n"},
    {SAFE "pg_ssl_required = off\npg_pool_size = 5\npg_ro_port = 6432\n"
          "declarative_config = kong.yml\n",
     NULL,
     "0:0 warning: 4 of Kong's settings have no effect here (database connections 3, files 1); "
     "'sallyport config show --kong-compat' lists them\n"},
    /* What stays an error, with what to write. */
    {SAFE "pg_host = db.example.com\n", NULL,
     "2:0 error: 'pg_host': the password and the configuration would cross the network in clear; "
     "set pg_ssl = on, or allow_plaintext = on\n"},
    {SAFE "pg_host = db.example.com\npg_iam_auth = on\npg_ssl = off\n", NULL,
     "4:0 error: 'pg_ssl': must not be off with pg_iam_auth = on: a token goes only to a server "
     "whose certificate was verified; remove the line\n"},
    {"proxy_listen = 127.0.0.1:8000 proxy_protocol\n", NULL,
     "1:0 error: 'proxy_listen': '127.0.0.1:8000 proxy_protocol' expects the PROXY protocol, which "
     "is not spoken here: have what stands in front not send it\n"},
    {SAFE "status_listen = 0.0.0.0:8100 reuseport\n", NULL,
     "0:0 warning: 1 of Kong's settings have no effect here (addresses 1); 'sallyport config show "
     "--kong-compat' lists them\n2:0 error: 'status_listen': 0.0.0.0:8100: the status server is "
     "plain and asks for no token; it must stay on loopback, without ssl; write 'status_listen = "
     "127.0.0.1:8100'\n"},
    {"proxy_listen = 127.0.0.1:1 ssl\nssl_cert = a, b\nssl_cert_key = a\n", NULL,
     "0:0 warning: 1 of Kong's settings have no effect here (TLS of the proxy 1); 'sallyport "
     "config show --kong-compat' lists them\n3:0 error: 'ssl_cert_key': 1 keys are listed for the "
     "2 certificates of ssl_cert\n"},
    {"", "KONG_PROXY_LISTEN=0.0.0.0:8000 reuseport",
     "0:0 error: KONG_PROXY_LISTEN in the environment: 0.0.0.0:8000 is not loopback and has no "
     "TLS, so tokens would cross the network in clear; write 'KONG_PROXY_LISTEN=0.0.0.0:8000 ssl' "
     "(with ssl_cert and ssl_cert_key), or 'KONG_PROXY_LISTEN=127.0.0.1:8000', or, where something "
     "in front ends TLS, 'SALLYPORT_ALLOW_PLAINTEXT=on'\n0:0 warning: 1 of Kong's settings have no "
     "effect here (addresses 1); 'sallyport config show --kong-compat' lists them\n"},
    {SAFE "database = cassandra\n", NULL,
     "2:0 error: 'database': 'cassandra' is not one of off, postgres\n"},
    {SAFE "pg_ssl = yes\n", NULL, "2:0 error: 'pg_ssl': must be on or off\n"},
};

static void each_value_is_taken_refused_or_told(void **state)
{
    size_t wrong = 0;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l;
        load(&l, cases[i].text, cases[i].variable);
        diag_sort_after(&l.t.d, NULL);
        test_describe(&l.t.d, &l.said);
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

static void what_is_taken_otherwise_has_its_value(void **state)
{
    struct loaded l;
    (void)state;

    load(&l, SAFE "prefix = /srv/kong///\nlog_level = emerg\nclient_max_body_size = 0\n"
                  "pg_password = \"p\\#w\" # secret\npg-host = localhost\n",
         NULL);
    assert_false(failed(l.outcome));
    assert_text(l.node.prefix, "/srv/kong");
    assert_text(l.node.audit_directory, "/srv/kong/audit");
    assert_text(l.node.log_level, "error");
    assert_int_equal(l.node.client_max_body_size, 1 << 20);
    assert_text(l.node.pg.password, "\"p#w\"");
    assert_text(l.node.pg.host, "localhost");
    clear(&l);
}

static void the_environment_goes_before_the_file_s_own_word(void **state)
{
    static const char *const off[] = {"SALLYPORT_KONG_COMPAT=off", "KONG_KONG_COMPAT=on", NULL};
    union {
        const char *const *read;
        char *const *any;
    } env = {off};
    struct test_config t;
    struct node_config node;
    (void)state;

    test_config_init(&t, no_variables);
    struct node_config_sources sources = {.environment = env.any,
                                          .conf_file = "etc/s.conf",
                                          .conf_text = VIEW("kong_compat = on\nnode_name = a#b\n"),
                                          .host = &t.host.host};
    assert_false(failed(node_config_load(&t.arena, &sources, &node, &t.d)));
    assert_false(node.kong_compat);
    assert_text(node.node_name, "a#b");
    assert_text(node.database, "off");
    sources.environment = NULL;
    assert_true(is_fault(node_config_load(&t.arena, &sources, &node, &t.d), &config_invalid));
    assert_true(node.kong_compat);
    assert_text(node.node_name, "a");
    assert_text(node.database, "postgres");
    test_config_clear(&t);
}

static void every_group_says_why(void **state)
{
    static const char *const names[] = {
        "nginx_http_x", "admin_gui_url", "proxy_access_log", "role", "plugins", "dns_order",
        "vault_hcv_token", "portal", "smtp_host", "vitals", "wasm", "headers", "db_cache_ttl"};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct kong_group *g = kong_property_group(view_str(names[i]));
        assert_non_null(g);
        assert_true(strlen(g->name) > 2 && strlen(g->why) > 10);
    }
    assert_null(kong_property_group(VIEW("nginx_")));
    assert_null(kong_property_group(VIEW("_access_log")));
    assert_null(kong_property_group(VIEW("lua_ssl_verify_dept")));
    assert_null(kong_property_group(VIEW("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_are_read_as_written_down),
        cmocka_unit_test(the_file_itself_may_say_that_it_is_kongs),
        cmocka_unit_test(kongs_defaults_hold),
        cmocka_unit_test(an_address_keeps_what_means_something),
        cmocka_unit_test(many_addresses_without_blanks_between_them_are_read),
        cmocka_unit_test(each_value_is_taken_refused_or_told),
        cmocka_unit_test(what_is_taken_otherwise_has_its_value),
        cmocka_unit_test(the_environment_goes_before_the_file_s_own_word),
        cmocka_unit_test(every_group_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
