#include "config_test.h"

#include "config/schema.h"

static const char *const variables[] = {"SECOND_AUDIENCE=api://second", "LOCAL_PASSWORD=p:w@/x",
                                        NULL};

static const char *const secrets[] = {"shop-secrets prod/shop username 0=shop_app",
                                      "shop-secrets prod/shop password 0=s3cret", NULL};

static int load_full(void **state)
{
    static struct test_config t;
    struct buf text, all;

    test_config_init(&t, variables);
    t.host.secrets = secrets;
    t.host.host.secret = test_secret;
    test_read_vector("full.yaml", &text);
    err e = test_parse(&t, "conf.d/full.yaml", buf_view(&text));
    buf_clear(&text);
    buf_init(&all, 1 << 16);
    test_describe(&t.d, &all);
    assert_string_equal(all.data, "");
    buf_clear(&all);
    assert_false(failed(e));
    *state = &t;
    return 0;
}

static int clear_full(void **state)
{
    test_config_clear(*state);
    return 0;
}

static void issuers_have_their_values(void **state)
{
    const struct test_config *t = *state;
    const struct issuer *i = &t->e.issuers[0];

    assert_int_equal(t->e.issuer_count, 2);
    assert_text(i->name, "okta");
    assert_text(i->meta.id, "0b0e5c54-7f4d-4d7f-9f0e-3f6f2b8f1a11");
    assert_int_equal(i->meta.tags.count, 2);
    assert_text(i->meta.tags.items[1], "eu");
    assert_int_equal(i->meta.created_at, 1700000000);
    assert_int_equal(i->meta.updated_at, 1700000001);
    assert_int_equal(i->meta.line, 4);
    assert_text(i->issuer, "https://example.okta.com/oauth2/default");
    assert_text(i->jwks_uri, "https://example.okta.com/oauth2/default/v1/keys");
    assert_null(i->jwks_file.data);
    assert_text(i->ca_file, "conf.d/okta-ca.pem");
    assert_int_equal(i->audience.count, 2);
    assert_text(i->audience.items[1], "api://second");
    assert_int_equal(i->preset, PRESET_OKTA);
    assert_int_equal(i->algorithms.count, 2);
    assert_text(i->algorithms.items[1], "EdDSA");
    assert_text(i->groups_claim, "grp");
    assert_text(i->scopes_claim, "scp");
    assert_text(i->client_claim, "cid");
    assert_int_equal(i->token_use.count, 0);
    assert_int_equal(i->leeway_s, 5);
    assert_int_equal(i->jwks_refresh_s, 600);
    assert_int_equal(i->max_token_age_s, 3600);
    i = &t->e.issuers[1];
    assert_text(i->jwks_file, "/etc/sallyport/jwks.json");
    assert_int_equal(i->clients.count, 1);
    assert_text(i->clients.items[0], "4p2");
    assert_int_equal(i->preset, PRESET_COGNITO);
    assert_int_equal(i->token_use.count, 1);
    assert_text(i->token_use.items[0], "access");
    assert_int_equal(i->algorithms.count, 3);
    assert_int_equal(i->leeway_s, 30);
    assert_int_equal(i->jwks_refresh_s, 300);
    assert_int_equal(i->max_token_age_s, 0);
}

static void services_have_their_values(void **state)
{
    const struct test_config *t = *state;
    const struct service *s = &t->e.services[0];

    assert_int_equal(t->e.service_count, 4);
    assert_text(s->primary.user, "app+1");
    assert_text(s->primary.host, "shop.cluster-abc.eu-west-1.rds.amazonaws.com");
    assert_int_equal(s->primary.port, 5432);
    assert_text(s->primary.database, "shop");
    assert_text(s->primary.url,
                "postgres://app+1@shop.cluster-abc.eu-west-1.rds.amazonaws.com:5432/shop");
    assert_int_equal(s->primary.sslmode, SSLMODE_VERIFY_FULL);
    assert_text(s->primary.sslrootcert, "rds");
    assert_true(s->primary.iam_auth.enabled);
    assert_text(s->primary.iam_auth.region, "eu-west-1");
    assert_null(s->primary.password.data);
    assert_int_equal(s->search_path.count, 2);
    assert_text(s->search_path.items[0], "sales");
    assert_int_equal(s->claims.count, 2);
    assert_text(s->claims.items[1], "tenant_id");
    assert_int_equal(s->statement_timeout_ms, 2500);
    assert_int_equal(s->max_rows, 500);
    assert_int_equal(s->max_response_bytes, 2 << 20);
    assert_int_equal(s->connect_timeout_ms, 1500);
    assert_int_equal(s->pool.max_connections, 7);
    assert_int_equal(s->pool.max_waiting, 9);
    assert_int_equal(s->pool.wait_timeout_ms, 11);
    assert_int_equal(s->pool.idle_timeout_ms, 13);
    assert_int_equal(s->pool.max_lifetime_ms, 17);
    assert_int_equal(s->pool.shared_depth, 19);
    assert_int_equal(s->pool.statement_cache, 23);
    assert_int_equal(s->pool.login_rate, 29);
}

static void sessions_and_secrets_have_their_values(void **state)
{
    const struct test_config *t = *state;
    const struct iam_auth *iam = &t->e.services[2].primary.iam_auth;
    const struct endpoint *managed = &t->e.services[3].primary;

    assert_int_equal(t->e.vault_count, 2);
    assert_text(t->e.vaults[0].aws.endpoint_url,
                "https://vpce-1.secretsmanager.eu-west-1.vpce.amazonaws.com");
    assert_text(t->e.vaults[1].path_prefix, "conf.d/secrets.d");
    assert_true(iam->per_caller);
    assert_int_equal(iam->assume_role_arn.count, 2);
    assert_text(iam->source_identity, "{client}");
    assert_int_equal(iam->session_duration_s, 2700);
    assert_int_equal(iam->tag_count, 2);
    assert_text(iam->tags[1].value, "{issuer}/{subject}");
    assert_int_equal(iam->max_sessions, 250);
    assert_text(managed->secret, "{vault://shop-secrets/prod%2Fshop}");
    assert_text(managed->user, "shop_app");
    assert_text(managed->password, "s3cret");
    assert_text(managed->url, "postgres://shop_app@db.example.com:5432/shop");
    assert_int_equal(managed->rotation.every_s, 2592000);
    assert_true(managed->rotation.alternating);
}

static void read_inherits_what_it_does_not_say(void **state)
{
    const struct test_config *t = *state;
    const struct service *shop = &t->e.services[0], *local = &t->e.services[1];

    assert_true(shop->has_read);
    assert_text(shop->read.user, "app_ro");
    assert_text(shop->read.host, "shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com");
    assert_int_equal(shop->read.port, 5433);
    assert_text(shop->read.database, "shop");
    assert_true(shop->read.iam_auth.enabled);
    assert_text(shop->read.iam_auth.region, "eu-west-1");
    assert_true(local->has_read);
    assert_text(local->read.host, "::1");
    assert_text(local->read.user, "app");
    assert_int_equal(local->read.port, 6432);
    assert_text(local->read.password, "p:w@/x");
    assert_int_equal(local->read.sslmode, SSLMODE_VERIFY_CA);
    assert_text(local->read.sslrootcert, "conf.d/ca.pem");
    assert_text(local->read.url, "postgres://app@[::1]:6432/bench");
}

static void what_is_not_written_has_its_default(void **state)
{
    const struct test_config *t = *state;
    const struct service *s = &t->e.services[1];

    assert_int_equal(s->primary.port, 5432);
    assert_int_equal(s->primary.sslmode, SSLMODE_DISABLE);
    assert_text(s->primary.sslrootcert, "system");
    assert_text(s->primary.password, "p:w@/x");
    assert_false(s->primary.iam_auth.enabled);
    assert_int_equal(s->claims.count, 2);
    assert_text(s->claims.items[0], "sub");
    assert_text(s->claims.items[1], "role");
    assert_int_equal(s->search_path.count, 0);
    assert_int_equal(s->statement_timeout_ms, 10000);
    assert_int_equal(s->max_rows, 10000);
    assert_int_equal(s->max_response_bytes, 16 << 20);
    assert_int_equal(s->connect_timeout_ms, 5000);
    assert_int_equal(s->pool.max_connections, 20);
    assert_int_equal(s->pool.max_waiting, 1000);
    assert_int_equal(s->pool.wait_timeout_ms, 5000);
    assert_int_equal(s->pool.idle_timeout_ms, 60000);
    assert_int_equal(s->pool.max_lifetime_ms, 3600000);
    assert_int_equal(s->pool.shared_depth, 8);
    assert_int_equal(s->pool.statement_cache, 256);
    assert_int_equal(s->pool.login_rate, 20);
}

static void routes_have_their_values(void **state)
{
    const struct test_config *t = *state;
    const struct service *shop = &t->e.services[0];
    const struct route *r = &shop->routes[0];

    assert_int_equal(shop->route_count, 2);
    assert_text(r->name, "order");
    assert_ptr_equal(r->service, shop);
    assert_int_equal(r->methods.count, 1);
    assert_text(r->methods.items[0], "GET");
    assert_text(r->paths.items[0], "/orders/{id}");
    assert_int_equal(r->rate_limit, 50);
    assert_int_equal(r->rate_burst, 50);
    assert_true(r->statement.present);
    assert_text(r->statement.sql,
                "select id from sales.orders where id = :id and tenant = :tenant");
    assert_int_equal(r->statement.sql_line, 63);
    assert_int_equal(r->statement.sql_column, 12);
    assert_false(r->statement.sql_lines);
    assert_int_equal(r->statement.result, RESULT_ONE);
    assert_true(r->statement.read_only);
    assert_int_equal(r->statement.timeout_ms, 100);
    assert_int_equal(r->statement.max_rows, 1);
    assert_true(r->statement.audit_values);
    assert_true(r->statement.expose_errors);
    r = &shop->routes[1];
    assert_int_equal(r->rate_limit, 5);
    assert_int_equal(r->rate_burst, 20);
    assert_text(r->statement.sql, "insert into sales.orders (tenant)\nvalues (:tenant)\n");
    assert_int_equal(r->statement.sql_line, 82);
    assert_int_equal(r->statement.sql_column, 0);
    assert_true(r->statement.sql_lines);
    assert_int_equal(r->statement.result, RESULT_NONE);
    assert_false(r->statement.read_only);
    assert_false(r->statement.audit_values);
}

static void parameters_have_one_source(void **state)
{
    const struct test_config *t = *state;
    const struct statement *s = &t->e.services[0].routes[0].statement;

    assert_int_equal(s->parameter_count, 4);
    assert_text(s->parameters[0].name, "id");
    assert_text(s->parameters[0].type, "bigint");
    assert_int_equal(s->parameters[0].source, SOURCE_PATH);
    assert_text(s->parameters[0].key, "id");
    assert_true(s->parameters[0].required);
    assert_int_equal(s->parameters[0].line, 65);
    assert_int_equal(s->parameters[1].source, SOURCE_CLAIM);
    assert_text(s->parameters[1].key, "tenant_id");
    assert_int_equal(s->parameters[2].source, SOURCE_QUERY);
    assert_true(s->parameters[2].has_default);
    assert_text(s->parameters[2].default_value, "10");
    assert_false(s->parameters[2].required);
    assert_int_equal(s->parameters[3].source, SOURCE_HEADER);
    assert_text(s->parameters[3].key, "X-Country");
    assert_false(s->parameters[3].required);
    assert_false(s->parameters[3].has_default);
}

static void a_route_may_name_its_service_as_in_kong(void **state)
{
    const struct test_config *t = *state;
    const struct service *local = &t->e.services[1];

    assert_int_equal(local->route_count, 1);
    assert_text(local->routes[0].name, "ping");
    assert_ptr_equal(local->routes[0].service, local);
}

static void roles_stand_by_priority_and_then_as_written(void **state)
{
    const struct test_config *t = *state;
    const struct role *r = t->e.roles;

    assert_int_equal(t->e.role_count, 4);
    assert_text(r[0].name, "writer");
    assert_text(r[1].name, "second");
    assert_text(r[2].name, "third");
    assert_text(r[3].name, "reader");
    assert_int_equal(r[3].priority, -5);
    assert_text(r[3].when.issuer.items[0], "okta");
    assert_int_equal(r[3].when.groups.count, 2);
    assert_int_equal(r[3].services.count, 2);
    /* YAML 1.1 would have made a boolean of it. */
    assert_text(r[3].database_role, "no");
    assert_text(r[3].allow[0].routes.items[0], "*");
    assert_int_equal(r[0].when.claim_count, 2);
    assert_text(r[0].when.claims[0].name, "tier");
    assert_int_equal(r[0].when.claims[0].values.count, 2);
    assert_text(r[0].when.claims[0].values.items[1], "1");
    assert_text(r[0].when.claims[1].name, "staff");
    assert_text(r[0].when.claims[1].values.items[0], "true");
    assert_int_equal(r[0].allow_count, 2);
    assert_int_equal(r[0].allow[0].methods.count, 0);
    assert_text(r[0].allow[1].methods.items[0], "POST");
}

static void consumers_have_a_name_or_a_custom_id(void **state)
{
    const struct test_config *t = *state;
    const struct consumer *c = t->e.consumers;
    const struct issuer *i = t->e.issuers;

    assert_int_equal(t->e.consumer_count, 3);
    assert_text(c[0].username, "ann");
    assert_text(c[0].custom_id, "u-1");
    assert_text(c[0].meta.tags.items[0], "gold");
    assert_null(c[1].username.data);
    assert_text(c[1].custom_id, "17");
    assert_null(c[2].custom_id.data);
    assert_false(view_eq(c[1].meta.id, c[2].meta.id));
    assert_text(i[0].consumer_claim, "azp");
    assert_int_equal(i[0].consumer_by.count, 2);
    assert_text(i[0].consumer_by.items[1], "id");
    assert_true(i[0].consumer_optional);
    /* Kong's defaults (openid-connect); without the claim they mean nothing. */
    assert_null(i[1].consumer_claim.data);
    assert_text(i[1].consumer_by.items[0], "username");
    assert_text(i[1].consumer_by.items[1], "custom_id");
    assert_false(i[1].consumer_optional);
    /* A role's consumers are known by their ids. */
    assert_int_equal(t->e.roles[0].when.consumers.count, 2);
    assert_true(view_eq(t->e.roles[0].when.consumers.items[0], c[2].meta.id));
    assert_true(view_eq(t->e.roles[0].when.consumers.items[1], c[0].meta.id));
}

static void plugins_have_kongs_fields_and_know_whom_they_are_for(void **state)
{
    const struct test_config *t = *state;
    const struct plugin *p = t->e.plugins;

    assert_int_equal(t->e.plugin_count, 6);
    assert_int_equal(p[0].kind, PLUGIN_IP_RESTRICTION);
    assert_text(p[0].meta.id, "9d0c7a52-53c5-4d0f-9d55-2b7b1f7e8a01");
    assert_true(p[0].service == NULL && p[0].route == NULL && p[0].consumer == NULL);
    assert_int_equal(p[0].config.ip_restriction.allow.texts.count, 3);
    assert_int_equal(p[0].config.ip_restriction.allow.count, 2); /* one is within another */
    assert_int_equal(p[0].config.ip_restriction.deny.count, 1);
    assert_int_equal(p[0].config.ip_restriction.status, 404);
    assert_text(p[0].config.ip_restriction.message, "no");
    assert_ptr_equal(p[1].service, &t->e.services[0]);
    assert_int_equal(p[1].config.request_size_limiting.max_bytes, 3072);
    assert_true(p[1].config.request_size_limiting.require_content_length);
    const struct rate_limiting *r = &p[2].config.rate_limiting;
    assert_text(p[2].instance_name, "gold");
    assert_text(p[2].route->name, "place-order");
    assert_ptr_equal(p[2].consumer, &t->e.consumers[0]);
    assert_int_equal(p[2].protocols.count, 1);
    assert_int_equal(r->limits[PERIOD_SECOND], 5);
    assert_int_equal(r->limits[PERIOD_YEAR], 100000);
    assert_int_equal(r->limit_by, LIMIT_BY_HEADER);
    assert_text(r->header_name, "X-Tenant");
    assert_false(r->fault_tolerant);
    assert_true(r->hide_client_headers);
    assert_int_equal(r->error_code, 503);
    assert_text(r->error_message, "later");
    assert_ptr_equal(p[3].consumer, &t->e.consumers[2]);
    assert_text(p[3].config.rate_limiting.path, "/x");
    assert_false(p[4].enabled);
    assert_text(p[4].route->name, "place-order");
    assert_ptr_equal(p[4].service, &t->e.services[0]);
    assert_text(p[4].config.request_termination.content_type, "text/html");
    assert_text(p[4].config.request_termination.trigger, "X-Tea");
    assert_text(p[5].config.request_termination.message, "closed");
    for (size_t i = 1; i < t->e.plugin_count; i++)
        assert_int_equal(p[i].meta.id.len, 36);
    assert_false(view_eq(p[2].meta.id, p[3].meta.id));
}

/* Kong's (kong/plugins/NAME/schema.lua). */
static void plugins_have_kongs_defaults_wherever_they_stand(void **state)
{
    static const char text[] =
        "_format_version: '3.0'\n"
        "consumers:\n- custom_id: c\n  plugins: [{name: rate-limiting, config: {minute: 1}}]\n"
        "services:\n- name: a\n  url: postgres://u@127.0.0.1/d\n  sslmode: disable\n"
        "  plugins: [{name: request-size-limiting}]\n"
        "  routes:\n  - name: r\n    methods: [GET]\n    paths: [/r]\n"
        "    statement: {sql: select 1}\n"
        "    plugins:\n    - {name: ip-restriction, config: {deny: ['::1']}}\n"
        "    - {name: request-termination, service: a}\n"
        "roles:\n- {name: x, when: {subject: s}, services: [a], database_role: d,"
        " allow: [{routes: '*'}]}\n";
    struct test_config t;

    (void)state;
    test_config_init(&t, variables);
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    const struct plugin *p = t.e.plugins;
    assert_int_equal(t.e.plugin_count, 4);
    const struct rate_limiting *r = &p[0].config.rate_limiting;
    assert_ptr_equal(p[0].consumer, &t.e.consumers[0]);
    assert_int_equal(r->limit_by, LIMIT_BY_CONSUMER);
    assert_text(r->policy, "local");
    assert_true(r->fault_tolerant && !r->hide_client_headers && p[0].enabled);
    assert_int_equal(r->error_code, 429);
    assert_text(r->error_message, "API rate limit exceeded");
    assert_int_equal(r->limits[PERIOD_SECOND], 0);
    assert_int_equal(p[0].protocols.count, 4);
    assert_ptr_equal(p[1].service, &t.e.services[0]);
    assert_null(p[1].route);
    assert_int_equal(p[1].config.request_size_limiting.max_bytes, 128 << 20);
    assert_ptr_equal(p[2].route, &t.e.services[0].routes[0]);
    assert_null(p[2].service);
    assert_int_equal(p[2].config.ip_restriction.status, 403);
    assert_text(p[2].config.ip_restriction.message, "Your IP address is not allowed");
    assert_ptr_equal(p[3].route, &t.e.services[0].routes[0]);
    assert_ptr_equal(p[3].service, &t.e.services[0]);
    assert_int_equal(p[3].config.request_termination.status_code, 503);
    assert_null(p[3].config.request_termination.message.data);
    test_config_clear(&t);
}

static void ids_are_derived_from_kind_and_name(void **state)
{
    struct test_config *t = *state;
    struct test_config again;
    struct buf text;
    struct view id = t->e.services[0].meta.id;

    assert_int_equal(id.len, 36);
    assert_int_equal(id.data[14], '8');
    assert_non_null(memchr("89ab", id.data[19], 4));
    assert_false(view_eq(id, t->e.services[1].meta.id));
    test_config_init(&again, variables);
    again.host.secrets = secrets;
    again.host.host.secret = test_secret;
    test_read_vector("full.yaml", &text);
    assert_false(failed(test_parse(&again, "other.yaml", buf_view(&text))));
    assert_true(view_eq(id, again.e.services[0].meta.id));
    buf_clear(&text);
    test_config_clear(&again);
}

static void the_region_may_come_from_the_environment(void **state)
{
    static const char *const region[] = {"AWS_DEFAULT_REGION=ap-south-1", NULL};
    static const char *const both[] = {"AWS_DEFAULT_REGION=ap-south-1", "AWS_REGION=us-east-1",
                                       NULL};
    static const char text[] = "_format_version: '3.0'\n"
                               "services:\n"
                               "- {name: a, url: postgres://u@h/d, iam_auth: true}\n"
                               "- {name: b, url: postgres://u@x.dsql.eu-north-1.on.aws/d, "
                               "iam_auth: true}\n";
    struct test_config t;
    (void)state;
    test_config_init(&t, region);
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    assert_text(t.e.services[0].primary.iam_auth.region, "ap-south-1");
    assert_text(t.e.services[0].primary.sslrootcert, "system");
    assert_text(t.e.services[1].primary.iam_auth.region, "eu-north-1");
    test_config_clear(&t);
    test_config_init(&t, both);
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    assert_text(t.e.services[0].primary.iam_auth.region, "us-east-1");
    test_config_clear(&t);
}

static void a_password_in_the_url_may_be_a_reference(void **state)
{
    static const char *const env[] = {"PW=a%b/c@d", "URL=postgres://u:p%40q@h/d", NULL};
    static const char text[] = "_format_version: '3.0'\n"
                               "services:\n"
                               "- {name: a, url: 'postgres://u:{vault://env/PW}@h:6000/d'}\n"
                               "- {name: b, url: '{vault://env/url}'}\n";
    struct test_config t;
    (void)state;
    test_config_init(&t, env);
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    assert_text(t.e.services[0].primary.password, "a%b/c@d");
    assert_text(t.e.services[0].primary.url, "postgres://u@h:6000/d");
    assert_text(t.e.services[1].primary.password, "p@q");
    assert_text(t.e.services[1].primary.url, "postgres://u@h:5432/d");
    test_config_clear(&t);
}

static void read_may_leave_iam_and_the_service_keep_its_password(void **state)
{
    static const char *const env[] = {"PW=secret", NULL};
    static const char text[] =
        "_format_version: '3.0'\n"
        "services:\n"
        "- name: a\n"
        "  url: postgres://u@h/d\n"
        "  password: '{vault://env/PW}'\n"
        "  read: {host: r, iam_auth: {region: eu-west-1, hostname: x}}\n"
        "- name: b\n"
        "  url: postgres://u@h/d\n"
        "  iam_auth: {region: eu-west-1, hostname: y}\n"
        "  read: {iam_auth: false, password: '{vault://env/PW}'}\n"
        "- name: c\n"
        "  url: postgres://u@h/d\n"
        "  iam_auth: {region: eu-west-1, hostname: y}\n"
        "  read: {host: z, iam_auth: {hostname: q}}\n";
    struct test_config t;
    (void)state;
    test_config_init(&t, env);
    assert_false(failed(test_parse(&t, "x.yaml", view_str(text))));
    assert_text(t.e.services[0].primary.password, "secret");
    assert_false(t.e.services[0].primary.iam_auth.enabled);
    assert_null(t.e.services[0].read.password.data);
    assert_true(t.e.services[0].read.iam_auth.enabled);
    assert_text(t.e.services[0].read.iam_auth.hostname, "x");
    assert_true(t.e.services[1].primary.iam_auth.enabled);
    assert_false(t.e.services[1].read.iam_auth.enabled);
    assert_text(t.e.services[1].read.password, "secret");
    assert_text(t.e.services[2].read.iam_auth.hostname, "q");
    assert_text(t.e.services[2].read.iam_auth.region, "eu-west-1");
    test_config_clear(&t);
}

/* --- mutations: whatever the file becomes, it is refused or accepted, never worse --- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void mutate(struct buf *text, uint64_t *seed)
{
    static const char interesting[] = "{}[]:,-#&*!|>'\"%@`\n\t \\~0\x80\xff";
    size_t at = next_random(seed) % text->len, n = next_random(seed) % 40;

    if (n > text->len - at)
        n = text->len - at;
    switch (next_random(seed) % 4) {
    case 0:
        text->data[at] = interesting[next_random(seed) % (sizeof interesting - 1)];
        break;
    case 1: /* take a piece out */
        memmove(text->data + at, text->data + at + n, text->len - at - n);
        text->len -= n;
        break;
    case 2: /* put a piece elsewhere */
        memmove(text->data + next_random(seed) % (text->len - n + 1), text->data + at, n);
        break;
    default:
        text->len = at + 1;
    }
}

static void mutated_files_are_refused_or_accepted(void **state)
{
    uint64_t seed = 0x5a11790127;
    size_t accepted = 0, refused = 0;
    struct buf original, text;
    (void)state;

    test_read_vector("full.yaml", &original);
    buf_init(&text, 1 << 20);
    for (int round = 0; round < 2000; round++) {
        struct test_config t;
        buf_reset(&text);
        buf_add_view(&text, buf_view(&original));
        for (int i = round % 5; i >= 0 && text.len > 1; i--)
            mutate(&text, &seed);
        test_config_init(&t, variables);
        t.host.secrets = secrets;
        t.host.host.secret = test_secret;
        err e = test_parse(&t, "x.yaml", buf_view(&text));
        assert_true(failed(e) == (t.d.errors > 0));
        assert_true(!failed(e) || is_fault(e, &config_invalid));
        accepted += !failed(e);
        refused += failed(e);
        test_config_clear(&t);
    }
    assert_true(accepted > 20);
    assert_true(refused > 1000);
    buf_clear(&text);
    buf_clear(&original);
}

int main(void)
{
    const struct CMUnitTest full[] = {
        cmocka_unit_test(issuers_have_their_values),
        cmocka_unit_test(services_have_their_values),
        cmocka_unit_test(sessions_and_secrets_have_their_values),
        cmocka_unit_test(read_inherits_what_it_does_not_say),
        cmocka_unit_test(what_is_not_written_has_its_default),
        cmocka_unit_test(routes_have_their_values),
        cmocka_unit_test(parameters_have_one_source),
        cmocka_unit_test(a_route_may_name_its_service_as_in_kong),
        cmocka_unit_test(roles_stand_by_priority_and_then_as_written),
        cmocka_unit_test(consumers_have_a_name_or_a_custom_id),
        cmocka_unit_test(plugins_have_kongs_fields_and_know_whom_they_are_for),
        cmocka_unit_test(plugins_have_kongs_defaults_wherever_they_stand),
        cmocka_unit_test(ids_are_derived_from_kind_and_name),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(the_region_may_come_from_the_environment),
        cmocka_unit_test(a_password_in_the_url_may_be_a_reference),
        cmocka_unit_test(read_may_leave_iam_and_the_service_keep_its_password),
        cmocka_unit_test(mutated_files_are_refused_or_accepted),
    };
    int bad = cmocka_run_group_tests(full, load_full, clear_full);
    return bad + cmocka_run_group_tests(others, NULL, NULL);
}
