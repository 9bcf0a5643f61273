/* The cache of secrets, and logins that the database refused. */
#include "secret_bed.h"

static enum aws_ready reread(struct bed *b, int64_t since_ms)
{
    enum aws_ready r = secret_cache_reread(b->cache, &shop, since_ms);
    tick(b);
    return r;
}

static void refused_logins_share_one_read(void **state)
{
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t since = now_ms(b);
    for (int i = 0; i < 16; i++)
        assert_int_equal(reread(b, since), AWS_WAIT);
    assert_int_equal(b->started, 2);
    pass_ms(b, 20);
    value(b, "v2", "two");
    for (int i = 0; i < 16; i++)
        assert_int_equal(reread(b, since), AWS_READY);
    assert_int_equal(b->started, 2); /* no AWSPENDING: there is something new to try */
    struct secret_value v[SECRET_VERSIONS_MAX];
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
    assert_string_equal(v[0].version_id, "v2");
    assert_string_equal(v[1].version_id, "v1");
}

/* Between setSecret and finishSecret the database knows the password of AWSPENDING. */
static void in_the_middle_of_a_rotation_the_pending_version_serves(void **state)
{
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t since = now_ms(b);
    assert_int_equal(reread(b, since), AWS_WAIT);
    value(b, "v1", "one");
    assert_int_equal(reread(b, since), AWS_WAIT);
    assert_non_null(strstr(b->flights[b->first % FLIGHTS].body, "AWSPENDING"));
    value(b, "v2", "two");
    assert_int_equal(reread(b, since), AWS_READY);
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
    assert_string_equal(v[0].version_id, "v1");
    assert_string_equal(v[1].version_id, "v2");
    secret_cache_prefer(b->cache, &shop, "v2", now_ms(b) + 1);
    serves(b, &shop, "v2", "two");
    pass_until_asked(b, 400 * 1000);
    value(b, "v1", "one"); /* not finished yet */
    serves(b, &shop, "v2", "two");
    pass_until_asked(b, 400 * 1000);
    value(b, "v2", "two");
    serves(b, &shop, "v2", "two");
    pass_until_asked(b, 400 * 1000);
    value(b, "v3", "three");
    serves(b, &shop, "v3", "three");
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
    assert_string_equal(v[1].version_id, "v2");
}

/* What let logins in last is what is tried beside the new version. */
static void the_version_before_is_the_one_that_served(void **state)
{
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    assert_int_equal(reread(b, now_ms(b)), AWS_WAIT);
    value(b, "v1", "one");
    value(b, "v2", "two");
    secret_cache_prefer(b->cache, &shop, "v2", now_ms(b) + 1);
    pass_until_asked(b, 400 * 1000);
    value(b, "v3", "three");
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
    assert_string_equal(v[0].version_id, "v3");
    assert_string_equal(v[1].version_id, "v2");
}

/* The database took the old password, and was told the new one before the login ended. */
static void a_login_from_before_a_change_does_not_bring_the_old_version_back(void **state)
{
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t given_ms = now_ms(b);
    pass_until_asked(b, 400 * 1000);
    value(b, "v2", "two");
    secret_cache_prefer(b->cache, &shop, "v1", given_ms);
    serves(b, &shop, "v2", "two");
    secret_cache_prefer(b->cache, &shop, "v1", now_ms(b) + 1); /* AWS knew before the database */
    serves(b, &shop, "v1", "one");
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
}

static void a_pending_version_that_is_not_there_is_no_failure(void **state)
{
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t since = now_ms(b);
    assert_int_equal(reread(b, since), AWS_WAIT);
    value(b, "v1", "one");
    not_found(b);
    assert_int_equal(reread(b, since), AWS_READY);
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 1);
    struct secret_status s;
    size_t at = 0;
    assert_true(secret_cache_next(b->cache, &at, &s));
    assert_int_equal(s.failures, 0);
}

static void reads_in_vain_become_rare(void **state)
{
    struct bed *b = *state;
    unsigned before = 0, last = 0;

    begin(b, &shop, "v1", "one");
    for (int i = 0; i < 600 * 10; i++) { /* a login is refused every 100 ms, for ten minutes */
        reread(b, now_ms(b));
        while (in_flight(b) > 0)
            value(b, "v1", "one");
        pass_ms(b, 100);
        if (i == 300 * 10)
            before = b->started;
        last = b->started;
    }
    assert_in_range(last, 10, 40);
    assert_true(last - before <= 15); /* one in a minute, with its look for AWSPENDING; refreshes */
    /* A login succeeded: all is as at first. */
    secret_cache_prefer(b->cache, &shop, "v1", now_ms(b));
    pass_ms(b, 1000);
    assert_int_equal(reread(b, now_ms(b)), AWS_WAIT);
}

static void a_read_that_fails_lets_the_login_go_on(void **state)
{
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t since = now_ms(b);
    assert_int_equal(reread(b, since), AWS_WAIT);
    no_connection(b);
    assert_int_equal(reread(b, since), AWS_READY);
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 1);
    serves(b, &shop, "v1", "one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED(refused_logins_share_one_read),
        BED(in_the_middle_of_a_rotation_the_pending_version_serves),
        BED(the_version_before_is_the_one_that_served),
        BED(a_login_from_before_a_change_does_not_bring_the_old_version_back),
        BED(a_pending_version_that_is_not_there_is_no_failure),
        BED(reads_in_vain_become_rare),
        BED(a_read_that_fails_lets_the_login_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
