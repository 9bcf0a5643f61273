/* Every source alone, and each way in which it can fail. */
#include "chain_bed.h"

/* ---- Web identity ---- */

static void a_pods_token_is_read_anew_for_each_session(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    bed_set("AWS_ROLE_SESSION_NAME", "shop");
    bed_set("AWS_CA_BUNDLE", "/ca.pem");
    bed_set("AWS_DEFAULT_REGION", "eu-central-1");
    bed_begin(b);
    assert_string_equal(b->net.method, "POST");
    assert_string_equal(b->net.ca_file, "/ca.pem");
    assert_string_equal(
        b->net.body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A"
        "123456789012%3Arole%2Fpod&RoleSessionName=shop&WebIdentityToken="
        "header.payload.signature");
    assert_lacks(b->net.headers, "authorization");
    assert_lacks(b->net.headers, "x-amz");
    assert_int_equal(bed_status(b).state, CHAIN_WAITING);
    bed_refuses(b, &aws_credentials_waiting);
    bed_answer(b, 200, bed_xml(b, "AssumeRoleWithWebIdentity", "ASIAONE", 3600));
    bed_serves(b, "web_identity", "ASIAONE");

    bed_file(b, "token", "rotated.by.kubelet");
    bed_pass(b, 2401);
    bed_tick(b);
    assert_contains(b->net.body, "WebIdentityToken=rotated.by.kubelet");
    bed_serves(b, "web_identity", "ASIAONE");
    bed_answer(b, 200, bed_xml(b, "AssumeRoleWithWebIdentity", "ASIATWO", 3600));
    bed_serves(b, "web_identity", "ASIATWO");
}

static void a_token_file_that_cannot_serve_is_named(void **state)
{
    struct bed *b = *state;

    bed_set_web_identity(b);
    unlink(bed_path(b, "token"));
    bed_begin(b);
    bed_refuses(b, &retrieval_token_unreadable);
    assert_contains(bed_status(b).detail, "No such file");
    bed_file(b, "token", "");
    bed_pass(b, 61);
    bed_tick(b);
    bed_refuses(b, &retrieval_token_malformed);
    bed_file(b, "token", "two\nlines");
    bed_pass(b, 61);
    bed_tick(b);
    bed_refuses(b, &retrieval_token_malformed);
    assert_int_equal(b->net.started, 0);
    bed_file(b, "token", "good");
    bed_pass(b, 61);
    bed_tick(b);
    assert_int_equal(b->net.started, 1);
    bed_stop(b);
    bed_set("AWS_ROLE_ARN", "");
    bed_begin(b);
    bed_refuses(b, &aws_web_identity_incomplete);
}

/* ---- The container ---- */

static void a_containers_token_file_is_read_anew_and_goes_before_the_variable(void **state)
{
    struct bed *b = *state;

    bed_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1/credentials");
    bed_set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of-the-variable");
    bed_begin(b);
    assert_string_equal(b->net.method, "GET");
    assert_string_equal(b->net.url, "http://[fd00:ec2::23]/v1/credentials");
    assert_contains(b->net.headers, "Authorization: of-the-variable\n");
    bed_stop(b);

    bed_file(b, "token", "of-the-file\n");
    bed_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", bed_path(b, "token"));
    bed_begin(b);
    assert_contains(b->net.headers, "Authorization: of-the-file\n");
    bed_answer(b, 200, bed_json(b, "ASIACONTAINER", 21600));
    bed_serves(b, "container", "ASIACONTAINER");
    bed_file(b, "token", "rotated");
    bed_pass(b, 20401);
    bed_tick(b);
    assert_contains(b->net.headers, "Authorization: rotated\n");
}

static void plain_http_goes_only_to_the_containers_own_hosts(void **state)
{
    static const char *const good[] = {
        "http://localhost/a", "http://127.0.0.1:1234/a?b=c", "http://127.1.2.3/",
        "http://[::1]:80/",
        "http://169.254.170.2/a", "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]:80/a", "https://anywhere.example/a",
    };
    static const char *const bad[] = {
        "http://169.254.169.254/", "http://10.0.0.1/", "http://example.org/",
        "http://localhost.example.org/", "http://127.0.0.1.example.org/", "http://127.0.0.1@evil/",
        "http://[fd00:ec2::254]/", "ftp://localhost/", "localhost", "http:///a", "http://0x7f.1/",
    };
    struct bed *b = *state;

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        bed_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", good[i]);
        bed_begin(b);
        assert_string_equal(b->net.url, good[i]);
        bed_stop(b);
    }
    unsigned before = b->net.started;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        bed_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i]);
        bed_begin(b);
        bed_refuses(b, &aws_container_uri_refused);
        bed_stop(b);
    }
    assert_int_equal(b->net.started, before);
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.example/");
    bed_begin(b);
    bed_refuses(b, &aws_container_uri_refused);
}

/* ---- The instance ---- */

static void the_instance_is_asked_by_version_two(void **state)
{
    struct bed *b = *state;

    bed_begin(b);
    assert_string_equal(b->net.method, "PUT");
    assert_string_equal(b->net.headers, "X-aws-ec2-metadata-token-ttl-seconds: 21600\n");
    bed_answer(b, 200, "session==");
    assert_string_equal(b->net.method, "GET");
    assert_string_equal(b->net.url,
                        "http://169.254.169.254/latest/meta-data/iam/security-credentials/");
    assert_string_equal(b->net.headers, "X-aws-ec2-metadata-token: session==\n");
    bed_answer(b, 200, "shop-role");
    assert_string_equal(
        b->net.url, "http://169.254.169.254/latest/meta-data/iam/security-credentials/shop-role");
    assert_string_equal(b->net.headers, "X-aws-ec2-metadata-token: session==\n");
    bed_answer(b, 200, bed_json(b, "ASIAINSTANCE", 21600));
    bed_serves(b, "instance_metadata", "ASIAINSTANCE");
}

static void version_one_is_never_used_unasked(void **state)
{
    struct bed *b = *state;

    bed_begin(b);
    bed_answer(b, 403, "");
    bed_refuses(b, &retrieval_no_session);
    assert_int_equal(b->net.started, 1);
    bed_stop(b);

    bed_set("AWS_EC2_METADATA_V1_DISABLED", "true");
    bed_begin(b);
    bed_answer(b, 404, "");
    bed_refuses(b, &retrieval_no_session);
    bed_stop(b);

    bed_set("AWS_EC2_METADATA_V1_DISABLED", "false");
    bed_begin(b);
    bed_answer(b, 404, "");
    assert_string_equal(b->net.headers, "");
    bed_answer(b, 200, "role");
    assert_string_equal(b->net.headers, "");
    bed_answer(b, 200, bed_json(b, "ASIAONE", 600));
    bed_serves(b, "instance_metadata", "ASIAONE");
}

static void the_instances_address_can_be_ipv6_or_another(void **state)
{
    struct bed *b = *state;

    bed_set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6");
    bed_begin(b);
    assert_string_equal(b->net.url, "http://[fd00:ec2::254]/latest/api/token");
    bed_stop(b);
    bed_set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/");
    bed_begin(b);
    assert_string_equal(b->net.url, "http://127.0.0.1:1338/latest/api/token");
    bed_stop(b);
    bed_set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv5");
    bed_begin(b);
    bed_refuses(b, &aws_metadata_endpoint_bad);
}

static void what_the_instance_may_answer_wrongly(void **state)
{
    struct bed *b = *state;

    bed_begin(b);
    bed_answer(b, 200, "not a token");
    bed_refuses(b, &metadata_malformed);
    bed_pass(b, 61);
    bed_tick(b);
    bed_answer(b, 200, "session");
    bed_answer(b, 404, "");
    bed_refuses(b, &retrieval_no_instance_role);
    bed_pass(b, 61);
    bed_tick(b);
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "../../api/token");
    bed_refuses(b, &metadata_malformed);
    bed_pass(b, 61);
    bed_tick(b);
    bed_answer(b, 200, "session");
    bed_answer(b, 200, "role\n");
    bed_answer(b, 200, "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}");
    bed_refuses(b, &metadata_no_success);
    assert_contains(bed_status(b).detail, "AssumeRoleUnauthorizedAccess");
    bed_pass(b, 61);
    bed_tick(b);
    bed_fail(b, &fault_too_large, "timeout");
    bed_refuses(b, &fault_too_large);
    assert_string_equal(bed_status(b).detail, "http://169.254.169.254: timeout");
    assert_int_equal(bed_status(b).failures, 5);
}

/* ---- Profiles and roles ---- */

static void a_chain_of_three_roles_is_walked_from_its_keys(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_set("AWS_PROFILE", "app");
    bed_file(b, "config",
             "[profile app]\nrole_arn = " BED_ROLE "app\nsource_profile = middle\n"
             "external_id = x y\nduration_seconds = 900\nrole_session_name = shop\n"
             "region = us-west-2\n"
             "[profile middle]\nrole_arn = " BED_ROLE "middle\nsource_profile = first\n"
             "[profile first]\nrole_arn = " BED_ROLE "first\nsource_profile = keys\n");
    bed_file(b, "credentials",
             "[keys]\naws_access_key_id = AKIAKEYS\naws_secret_access_key = s\n");
    bed_begin(b);
    assert_string_equal(b->net.url, "https://sts.us-west-2.amazonaws.com/");
    assert_contains(b->net.body, "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ffirst&");
    assert_contains(b->net.body, "RoleSessionName=sallyport");
    assert_lacks(b->net.body, "ExternalId");
    assert_contains(b->net.headers, "Credential=AKIAKEYS/20260102/us-west-2/sts/aws4_request");
    assert_lacks(b->net.headers, "x-amz-security-token");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAFIRST", 3600));
    /* lua-resty-aws signs the second role's call with the first keys again. */
    assert_contains(b->net.headers, "Credential=ASIAFIRST/");
    assert_contains(b->net.headers, "x-amz-security-token: token-ASIAFIRST\n");
    assert_contains(b->net.body, "role%2Fmiddle&");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAMIDDLE", 3600));
    assert_contains(b->net.headers, "Credential=ASIAMIDDLE/");
    assert_string_equal(
        b->net.body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2F"
        "app&RoleSessionName=shop&DurationSeconds=900&ExternalId=x%20y");
    bed_refuses(b, &aws_credentials_waiting);
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAAPP", 900));
    bed_serves(b, "profile+assume_role", "ASIAAPP");
}

static void a_profile_may_begin_at_each_credential_source(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_file(b, "config",
             "[default]\nrole_arn = " BED_ROLE "a\ncredential_source = EcsContainer\n");
    bed_begin(b);
    assert_string_equal(b->net.url, "http://169.254.170.2/c");
    bed_answer(b, 200, bed_json(b, "ASIACONTAINER", 3600));
    assert_contains(b->net.headers, "Credential=ASIACONTAINER/");
    bed_answer(b, 200, bed_xml(b, "AssumeRole", "ASIAROLE", 3600));
    bed_serves(b, "profile+assume_role", "ASIAROLE");
    bed_stop(b);

    bed_file(b, "config",
             "[default]\nrole_arn = " BED_ROLE "a\ncredential_source = Ec2InstanceMetadata\n");
    bed_begin(b);
    assert_string_equal(b->net.url, "http://169.254.169.254/latest/api/token");
    bed_stop(b);

    bed_file(b, "token", "a.b.c");
    char text[512];
    snprintf(text, sizeof text,
             "[default]\nrole_arn = " BED_ROLE "w\nweb_identity_token_file = %s\n",
             bed_path(b, "token"));
    bed_file(b, "config", text);
    bed_begin(b);
    assert_contains(b->net.body, "Action=AssumeRoleWithWebIdentity&");
    bed_answer(b, 200, bed_xml(b, "AssumeRoleWithWebIdentity", "ASIAWEB", 3600));
    bed_serves(b, "profile", "ASIAWEB");
    bed_stop(b);

    bed_file(b, "config",
             "[default]\nrole_arn = " BED_ROLE "s\nsource_profile = default\n"
             "aws_access_key_id = AKIASELF\naws_secret_access_key = s\n");
    bed_begin(b);
    assert_contains(b->net.headers, "Credential=AKIASELF/");
}

static void a_profile_that_cannot_work_says_why(void **state)
{
    static const struct {
        const char *config;
        const char *why;
    } rows[] = {
        {"[default]\nrole_arn = r\n", "role_arn needs"},
        {"[default]\nrole_arn = r\nsource_profile = a\ncredential_source = Environment\n",
         "exclude each other"},
        {"[default]\nrole_arn = r\nsource_profile = gone\n", "source_profile gone is not there"},
        {"[default]\nrole_arn = r\nsource_profile = a\n[profile a]\nrole_arn = q\n"
         "source_profile = default\n", "comes back to itself"},
        {"[default]\nrole_arn = r\nsource_profile = a\n[profile a]\nregion = x\n",
         "profile a has no credentials"},
        {"[default]\nrole_arn = r\nsource_profile = default\n", "no credentials in it"},
        {"[default]\nrole_arn = r\ncredential_source = Environment\n", "nothing is configured"},
        {"[default]\nrole_arn = r\ncredential_source = Moon\n", "must be Environment"},
        {"[default]\nrole_arn = r\nsource_profile = a\nmfa_serial = m\n", "nobody to type it"},
        {"[default]\nrole_arn = r\nsource_profile = a\nduration_seconds = 899\n", "900 to 43200"},
        {"[default]\nweb_identity_token_file = f\n", "needs role_arn"},
        {"[default]\naws_access_key_id = A\n", "has one of"},
        {"[default]\naws_access_key_id = A B\naws_secret_access_key = s\n", "a blank"},
        {"[default]\nsso_session = s\n", "there is no [sso-session s]"},
        {"[default]\nsso_start_url = u\n", "sso_region is missing"},
        {"[default]\nsso_session = s\nsso_region = eu-west-1\n[sso-session s]\n"
         "sso_region = eu-west-2\n", "sso_region is not that of its sso_session"},
        {"[default]\nsso_session = s\nsso_account_id = 1\n[sso-session s]\n"
         "sso_region = eu-west-1\nsso_start_url = u\n", "sso_role_name is missing"},
        {"[default]\nsso_start_url = u\nsso_region = x/y\nsso_account_id = 1\n"
         "sso_role_name = r\n", "sso_region is no region"},
        {"[default]\nsso_start_url = u\nsso_region = eu-west-1\nsso_account_id = 1\n"
         "sso_role_name = r\n", "HOME is not set"},
    };
    struct bed *b = *state;

    bed_set_files(b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_file(b, "config", rows[i].config);
        bed_begin(b);
        bed_refuses(b, &aws_profile_unusable);
        assert_contains(bed_status(b).detail, rows[i].why);
        bed_stop(b);
    }
    bed_file(b, "config", "[default]\nnonsense\n");
    bed_begin(b);
    bed_refuses(b, &aws_profile_syntax);
    assert_contains(bed_status(b).detail, "line 2");
    bed_stop(b);
    bed_file(b, "config", "");
    bed_set("AWS_PROFILE", "missing");
    bed_begin(b);
    bed_refuses(b, &aws_profile_unusable);
    assert_contains(bed_status(b).detail, "there is no profile missing");
}

static void a_file_that_may_not_be_read_is_named(void **state)
{
    struct bed *b = *state;

    if (geteuid() == 0) {
        /* Root reads everything: what no one can read is a folder. */
        bed_set("AWS_SHARED_CREDENTIALS_FILE", b->folder);
    } else {
        bed_file(b, "credentials", "[default]\n");
        assert_int_equal(chmod(bed_path(b, "credentials"), 0), 0);
        bed_set("AWS_SHARED_CREDENTIALS_FILE", bed_path(b, "credentials"));
    }
    bed_begin(b);
    bed_refuses(b, &aws_profile_unreadable);
    assert_contains(bed_status(b).detail, b->folder);
}

static void a_loop_without_end_is_cut(void **state)
{
    char text[4096] = "";
    struct bed *b = *state;
    size_t n = 0;

    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "[profile p%d]\nrole_arn = r\nsource_profile = p%d\n", i, i + 1);
    bed_set_files(b);
    bed_set("AWS_PROFILE", "p0");
    bed_file(b, "config", text);
    bed_begin(b);
    bed_refuses(b, &aws_profile_unusable);
    assert_contains(bed_status(b).detail, "longer than 16");
}

static void a_chain_of_as_many_roles_as_steps_has_no_room_for_its_source(void **state)
{
    char text[4096] = "";
    struct bed *b = *state;
    size_t n = 0;

    for (int i = 0; i < 15; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "[profile p%d]\nrole_arn = r\nsource_profile = p%d\n", i, i + 1);
    snprintf(text + n, sizeof text - n,
             "[profile p15]\nrole_arn = r\ncredential_source = EcsContainer\n");
    bed_set_files(b);
    bed_set("AWS_PROFILE", "p0");
    bed_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
    bed_file(b, "config", text);
    bed_begin(b);
    bed_refuses(b, &aws_profile_unusable);
    assert_contains(bed_status(b).detail, "longer than 16");
}

static void a_rewritten_credentials_file_is_used_at_once(void **state)
{
    struct bed *b = *state;

    bed_set_files(b);
    bed_file(b, "credentials",
             "[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = s\n");
    bed_begin(b);
    bed_serves(b, "profile", "AKIAOLD");
    bed_file(b, "credentials",
             "[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = s\n");
    bed_pass(b, 2);
    bed_tick(b);
    bed_serves(b, "profile", "AKIANEW");
    bed_file(b, "credentials", "[default]\naws_access_key_id = A\n");
    bed_pass(b, 2);
    bed_tick(b);
    bed_serves(b, "profile", "AKIANEW"); /* what was good goes on */
    assert_int_equal(bed_status(b).state, CHAIN_STALE);
    assert_ptr_equal(bed_status(b).last_error.fault, &aws_profile_unusable);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_pods_token_is_read_anew_for_each_session),
        T(a_token_file_that_cannot_serve_is_named),
        T(a_containers_token_file_is_read_anew_and_goes_before_the_variable),
        T(plain_http_goes_only_to_the_containers_own_hosts),
        T(the_instance_is_asked_by_version_two),
        T(version_one_is_never_used_unasked),
        T(the_instances_address_can_be_ipv6_or_another),
        T(what_the_instance_may_answer_wrongly),
        T(a_chain_of_three_roles_is_walked_from_its_keys),
        T(a_profile_may_begin_at_each_credential_source),
        T(a_profile_that_cannot_work_says_why),
        T(a_file_that_may_not_be_read_is_named),
        T(a_loop_without_end_is_cut),
        T(a_chain_of_as_many_roles_as_steps_has_no_room_for_its_source),
        T(a_rewritten_credentials_file_is_used_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
