/* IAM Identity Center: when its cached token is refreshed, what of the cache is written, and what
 * is left to who wrote it meanwhile. */
#include "runner_bed.h"

#include "aws/retrieval.h"
#include "aws/sso.h"

/* SHA-1 of "shop" (openssl). */
#define CACHE_NAME "5042d146667518a1a5017644946b8650aafca44c.json"
#define CACHE ".aws/sso/cache/" CACHE_NAME

static int open_sso(void **state)
{
    static const char *const folders[] = {".aws", ".aws/sso", ".aws/sso/cache"};

    if (bed_open(state) != 0)
        return 1;
    struct bed *b = *state;
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        if (mkdir(bed_path(b, folders[i]), 0700) != 0)
            return 1;
    }
    bed_set_files(b);
    bed_set("HOME", b->folder);
    bed_file(b, "config", "[default]\nsso_session = shop\nsso_account_id = 123456789012\n"
                          "sso_role_name = shop reader\nregion = eu-west-2\n"
                          "[sso-session shop]\nsso_region = eu-west-1\n"
                          "sso_start_url = https://example.awsapps.com/start\n");
    return 0;
}

static int close_sso(void **state)
{
    static const char *const folders[] = {".aws/sso/cache", ".aws/sso", ".aws"};
    struct bed *b = *state;

    unlink(bed_path(b, CACHE));
    int wrong = 0;
    for (size_t i = 0; i < COUNT_OF(folders); i++)
        wrong |= rmdir(bed_path(b, folders[i]));
    return wrong | bed_close(state);
}

/* A token of so many seconds, whose client's registration has as many. */
static void cache(struct bed *b, const char *name, int64_t seconds, int64_t registered)
{
    char text[1024];

    snprintf(text, sizeof text,
             "{\"startUrl\":\"https://example.awsapps.com/start\",\"region\":\"eu-west-1\","
             "\"accessToken\":\"access-%s\",\"expiresAt\":\"%.19sZ\",\"clientId\":\"id-%s\","
             "\"clientSecret\":\"secret-%s\",\"registrationExpiresAt\":\"%.19sZ\","
             "\"refreshToken\":\"refresh-%s\",\"other\":[1, 2]}",
             name, bed_time(b, seconds), name, name, bed_time(b, registered), name);
    bed_file(b, CACHE, text);
}

/* What the cache holds now; "" when it is gone. */
static const char *cached(struct bed *b)
{
    static char text[2048];
    FILE *f = fopen(bed_path(b, CACHE), "r");

    text[0] = '\0';
    if (f != NULL) {
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
    }
    return text;
}

static const char *role_credentials(struct bed *b, const char *id, int64_t seconds)
{
    static char text[512];

    snprintf(text, sizeof text,
             "{\"roleCredentials\":{\"accessKeyId\":\"%s\",\"secretAccessKey\":\"s\","
             "\"sessionToken\":\"t\",\"expiration\":%lld}}",
             id, (long long)(b->wall_us / 1000 + seconds * 1000));
    return text;
}

static void assert_asks_credentials(struct bed *b, const char *token)
{
    char header[128];

    snprintf(header, sizeof header, "x-amz-sso_bearer_token: access-%s\n", token);
    assert_string_equal(b->net.method, "GET");
    assert_string_equal(b->net.url, "https://portal.sso.eu-west-1.amazonaws.com/federation/"
                                    "credentials?role_name=shop%20reader&account_id=123456789012");
    assert_contains(b->net.headers, header);
    assert_string_equal(b->net.body, "");
}

static void assert_asks_refresh(struct bed *b, const char *token)
{
    char body[512];

    snprintf(body, sizeof body,
             "{\"clientId\":\"id-%s\",\"clientSecret\":\"secret-%s\",\"grantType\":"
             "\"refresh_token\",\"refreshToken\":\"refresh-%s\"}", token, token, token);
    assert_string_equal(b->net.method, "POST");
    assert_string_equal(b->net.url, "https://oidc.eu-west-1.amazonaws.com/token");
    assert_string_equal(b->net.body, body);
}

static const char FRESH[] = "{\"accessToken\":\"access-fresh\",\"expiresIn\":28800,"
                            "\"refreshToken\":\"refresh-fresh\",\"tokenType\":\"Bearer\"}";

static void the_token_of_the_cache_buys_the_roles_credentials(void **state)
{
    struct bed *b = *state;

    cache(b, "old", SSO_REFRESH_AHEAD_S + 1, 86400);
    bed_begin(b);
    assert_asks_credentials(b, "old");
    bed_answer(b, 200, role_credentials(b, "ASIASSO", 3600));
    bed_serves(b, "profile+sso", "ASIASSO");
    assert_int_equal(bed_status(b).expiry_us, b->wall_us + 3600 * INT64_C(1000000));
    assert_int_equal(b->net.started, 1);
}

static void a_token_about_to_end_is_refreshed_and_kept(void **state)
{
    struct bed *b = *state;
    struct stat st;
    char wanted[512];

    cache(b, "old", SSO_REFRESH_AHEAD_S, 1);
    assert_int_equal(chmod(bed_path(b, CACHE), 0644), 0);
    bed_begin(b);
    assert_asks_refresh(b, "old");
    bed_answer(b, 200, FRESH);
    assert_asks_credentials(b, "fresh");
    snprintf(wanted, sizeof wanted,
             "{\"accessToken\":\"access-fresh\",\"expiresAt\":\"%.19sZ\","
             "\"refreshToken\":\"refresh-fresh\",\"startUrl\":\"https://example.awsapps.com/start\""
             ",\"region\":\"eu-west-1\",\"clientId\":\"id-old\",\"clientSecret\":\"secret-old\","
             "\"registrationExpiresAt\":\"%.19sZ\",\"other\":[1, 2]}",
             bed_time(b, 28800), bed_time(b, 1));
    assert_string_equal(cached(b), wanted);
    assert_int_equal(stat(bed_path(b, CACHE), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    bed_answer(b, 200, role_credentials(b, "ASIASSO", 3600));
    bed_serves(b, "profile+sso", "ASIASSO");
    bed_tick(b); /* our own writing is no news */
    assert_int_equal(b->net.started, 2);
}

static void a_refresh_that_fails_does_not_matter_while_the_token_is_valid(void **state)
{
    struct bed *b = *state;

    cache(b, "old", 60, 86400);
    bed_begin(b);
    bed_answer(b, 503, "");
    assert_asks_credentials(b, "old");
    bed_answer(b, 200, role_credentials(b, "ASIAONE", 30));
    bed_serves(b, "profile+sso", "ASIAONE");
    assert_contains(cached(b), "access-old");
    bed_pass(b, 26);
    bed_tick(b);
    assert_asks_refresh(b, "old");
    bed_fail(b, &retrieval_status, "no answer at all");
    assert_asks_credentials(b, "old");
}

static void a_token_that_ended_asks_for_a_login(void **state)
{
    struct bed *b = *state;

    cache(b, "old", 0, 86400);
    bed_begin(b);
    assert_asks_refresh(b, "old");
    bed_answer(b, 400, "{\"error\":\"invalid_grant\",\"error_description\":\"used\\u001b up\"}");
    bed_refuses(b, &sso_token_expired);
    assert_contains(bed_status(b).detail, "the refresh failed: status 400 invalid_grant: used  up");
    bed_stop(b);

    cache(b, "old", 0, 0); /* its client is not registered any more */
    unsigned before = b->net.started;
    bed_begin(b);
    bed_refuses(b, &sso_token_expired);
    assert_int_equal(b->net.started, before);
    cache(b, "login", 28800, 86400);
    bed_tick(b);
    assert_asks_credentials(b, "login");
}

/* Of a login while we refresh: the refresh token that we got is of another client's. */
static void what_somebody_else_wrote_meanwhile_is_used_and_not_written_over(void **state)
{
    static const struct {
        int status;
        const char *body;
    } rows[] = {{200, FRESH}, {400, "{\"error\":\"invalid_grant\"}"}};
    struct bed *b = *state;
    char before[2048];

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cache(b, "old", 60, 86400);
        bed_begin(b);
        assert_asks_refresh(b, "old");
        cache(b, "login", 28800, 86400);
        snprintf(before, sizeof before, "%s", cached(b));
        bed_answer(b, rows[i].status, rows[i].body);
        assert_asks_credentials(b, "login");
        assert_string_equal(cached(b), before);
        bed_stop(b);
    }
    cache(b, "old", 60, 86400);
    bed_begin(b);
    cache(b, "ended", 0, 86400); /* no use to anybody */
    bed_answer(b, 400, "{\"error\":\"invalid_grant\"}");
    assert_asks_credentials(b, "old");
}

static void after_a_logout_no_token_is_written(void **state)
{
    struct bed *b = *state;

    cache(b, "old", 60, 86400);
    bed_begin(b);
    assert_int_equal(unlink(bed_path(b, CACHE)), 0);
    bed_answer(b, 200, FRESH);
    assert_asks_credentials(b, "fresh");
    assert_string_equal(cached(b), "");
}

static void a_cache_that_holds_no_token_is_named(void **state)
{
    static const char *const texts[] = {
        "", "[]", "{}", "{\"accessToken\":\"a\"}", "{\"expiresAt\":\"2099-01-01T00:00:00Z\"}",
        "{\"accessToken\":\"\",\"expiresAt\":\"2099-01-01T00:00:00Z\"}",
        "{\"accessToken\":\"a\\nb: c\",\"expiresAt\":\"2099-01-01T00:00:00Z\"}",
        "{\"accessToken\":\"a b\",\"expiresAt\":\"2099-01-01T00:00:00Z\"}",
        "{\"accessToken\":\"a\",\"expiresAt\":\"soon\"}",
        ("{\"accessToken\":\"a\",\"expiresAt\":\"2099-01-01T00:00:00Z\","
         "\"registrationExpiresAt\":\"soon\"}"),
    };
    struct bed *b = *state;

    bed_begin(b);
    bed_refuses(b, &sso_token_unreadable);
    assert_contains(bed_status(b).detail, CACHE_NAME);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        bed_file(b, CACHE, texts[i]);
        bed_tick(b);
        bed_refuses(b, &sso_token_malformed);
        assert_contains(bed_status(b).detail, CACHE_NAME);
    }
    assert_int_equal(b->net.started, 0);
    bed_file(b, CACHE, "{\"accessToken\":\"access-x\",\"expiresAt\":\"2099-01-01T00:00:00UTC\"}");
    bed_tick(b);
    assert_asks_credentials(b, "x");
}

static void an_answer_without_credentials_is_none(void **state)
{
    static const struct {
        int status;
        const char *body;
        const struct fault *fault;
    } rows[] = {
        {200, "", &sso_malformed},
        {200, "{}", &sso_malformed},
        {200, "{\"roleCredentials\":{}}", &sso_malformed},
        {200, "{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\","
              "\"sessionToken\":\"t\"}}", &sso_malformed},
        {200, "{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\","
              "\"sessionToken\":\"\",\"expiration\":4070908800000}}", &sso_malformed},
        {200, "{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\","
              "\"sessionToken\":\"t\",\"expiration\":0}}", &aws_credentials_expired_on_arrival},
        {200, "{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\","
              "\"sessionToken\":\"t\",\"expiration\":-1}}", &sso_malformed},
        {200, "{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\","
              "\"sessionToken\":\"t\",\"expiration\":253402300799001}}", &sso_malformed},
        {401, "{\"__type\":\"UnauthorizedException\",\"message\":\"Session token not found\"}",
         &retrieval_status},
    };
    struct bed *b = *state;

    cache(b, "old", 86400, 86400);
    bed_begin(b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_asks_credentials(b, "old");
        bed_answer(b, rows[i].status, rows[i].body);
        bed_refuses(b, rows[i].fault);
        assert_contains(bed_status(b).detail, "https://portal.sso.eu-west-1.amazonaws.com");
        bed_pass(b, 61);
        if (i + 1 < COUNT_OF(rows))
            bed_tick(b);
    }
    assert_contains(bed_status(b).detail, "status 401 UnauthorizedException: Session token not "
                                          "found (log in again: aws sso login)");
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_sso, close_sso)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_token_of_the_cache_buys_the_roles_credentials),
        T(a_token_about_to_end_is_refreshed_and_kept),
        T(a_refresh_that_fails_does_not_matter_while_the_token_is_valid),
        T(a_token_that_ended_asks_for_a_login),
        T(what_somebody_else_wrote_meanwhile_is_used_and_not_written_over),
        T(after_a_logout_no_token_is_written),
        T(a_cache_that_holds_no_token_is_named),
        T(an_answer_without_credentials_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
