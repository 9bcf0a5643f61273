/* The cache of secrets: reading, ttls, loads, status. */
#include "secret_bed.h"

/* ---- Reading ---- */

static void a_secret_is_read_once_for_all_who_ask(void **state)
{
    struct bed *b = *state;

    for (int i = 0; i < 5; i++)
        waits(b, &shop);
    assert_int_equal(b->started, 1);
    assert_string_equal(b->flights[0].url, "https://secretsmanager.eu-west-1.amazonaws.com/");
    assert_string_equal(b->flights[0].body,
                        "{\"SecretId\":\"shop\",\"VersionStage\":\"AWSCURRENT\"}");
    assert_non_null(strstr(b->flights[0].authorization, "/eu-west-1/secretsmanager/aws4_request"));
    assert_int_equal(b->wakes, 0);
    value(b, "v1", "one");
    assert_int_equal(b->wakes, 1);
    serves(b, &shop, "v1", "one");
    assert_int_equal(b->started, 1);
}

static void vaults_names_and_stages_are_kept_apart(void **state)
{
    const struct secret_origin other = {.prefix = VIEW("aws"), .ttl_s = 300, .neg_ttl_s = 60,
                                        .resurrect_ttl_s = 86400, .region = VIEW("us-east-2"),
                                        .endpoint_url = VIEW("http://127.0.0.1:4566")};
    const struct secret_id elsewhere = {&other, VIEW("shop"), SECRET_CURRENT};
    const struct secret_id pending = {&usual, VIEW("shop"), SECRET_PENDING};
    const struct secret_id bar = {&usual, VIEW("bar"), SECRET_CURRENT};
    struct bed *b = *state;

    waits(b, &shop);
    waits(b, &elsewhere);
    waits(b, &pending);
    waits(b, &bar);
    assert_int_equal(b->started, 4);
    assert_string_equal(b->flights[1].url, "http://127.0.0.1:4566/");
    assert_non_null(strstr(b->flights[1].authorization, "/us-east-2/secretsmanager/"));
    assert_non_null(strstr(b->flights[2].body, "AWSPENDING"));
    value(b, "v1", "one");
    value(b, "v2", "two");
    value(b, "v3", "three");
    value(b, "v4", "four");
    serves(b, &shop, "v1", "one");
    serves(b, &elsewhere, "v2", "two");
    serves(b, &pending, "v3", "three");
    serves(b, &bar, "v4", "four");
}

static void only_so_many_are_read_at_once(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    struct bed *b = *state;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct secret_id id = {&usual, view_str(names[i]), SECRET_CURRENT};
        waits(b, &id);
    }
    assert_int_equal(b->started, SECRET_READS_AT_ONCE);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        value(b, "v", "x");
    assert_int_equal(b->started, COUNT_OF(names));
    assert_int_equal(in_flight(b), 0);
}

static void who_signs_is_waited_for(void **state)
{
    struct bed *b = *state;

    b->signer = AWS_WAIT;
    waits(b, &shop);
    assert_int_equal(b->started, 0);
    assert_true(b->next_ms > monotonic(b) / 1000000); /* no busy loop */
    b->signer = AWS_READY;
    tick(b);
    value(b, "v1", "one");
    serves(b, &shop, "v1", "one");
}

static void a_signer_that_fails_is_the_reason(void **state)
{
    struct bed *b = *state;
    struct secret_value v;
    const char *detail;
    err why;

    b->signer = AWS_FAILED;
    waits(b, &shop);
    for (int i = 0; i < 20; i++)
        pass_ms(b, 1000);
    assert_int_equal(secret_cache_get(b->cache, &shop, &v, &why, &detail), AWS_FAILED);
    assert_fault(why, no_answer);
    assert_string_equal(detail, "the role is not ours");
    assert_int_equal(b->started, 0);
}

static void passing_failures_are_tried_before_they_are_told(void **state)
{
    struct bed *b = *state;

    waits(b, &shop);
    no_connection(b);
    waits(b, &shop);
    assert_in_range(pass_until_asked(b, 5000), 1, 1001);
    answer(b, 400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}");
    waits(b, &shop);
    assert_in_range(pass_until_asked(b, 5000), 1, 2001);
    answer(b, 500, "%s", "");
    fails(b, &shop, &sm_unavailable);
    assert_in_range(pass_until_asked(b, 10000), 1, 4001);
    value(b, "v1", "one");
    serves(b, &shop, "v1", "one");
}

static void pauses_grow_to_a_minute_and_vary(void **state)
{
    struct bed *b = *state;
    int64_t longest = 0, shortest = INT64_MAX;

    waits(b, &shop);
    for (int i = 0; i < 60; i++) {
        no_connection(b);
        int64_t pause = pass_until_asked(b, 120 * 1000);
        assert_in_range(pause, 1, 60001);
        if (i >= 6) {
            longest = pause > longest ? pause : longest;
            shortest = pause < shortest ? pause : shortest;
        }
    }
    assert_true(longest > 30000 && shortest < 30000);
}

static void base64_is_decoded_where_the_vault_says_so(void **state)
{
    const struct secret_origin coded = {.prefix = VIEW("b"), .ttl_s = 300, .base64 = true};
    const struct secret_id id = {&coded, VIEW("shop"), SECRET_CURRENT};
    struct bed *b = *state;

    begin(b, &id, "v1", "");
    pass_until_asked(b, 300 * 1000);
    value(b, "v2", "cGFzcw==");
    serves(b, &id, "v2", "pass");
    pass_until_asked(b, 300 * 1000);
    value(b, "v3", "no base64!"); /* and so a failure, and what is held goes on */
    serves(b, &id, "v2", "pass");
    const struct secret_id fresh = {&coded, VIEW("bad"), SECRET_CURRENT};
    waits(b, &fresh);
    value(b, "v1", "no base64!");
    fails(b, &fresh, &secret_bad_base64);
}

static void binary_secrets_serve(void **state)
{
    struct bed *b = *state;

    waits(b, &shop);
    answer(b, 200, "{\"ARN\":\"a\",\"Name\":\"n\",\"VersionId\":\"v1\","
                   "\"SecretBinary\":\"cGFzcw==\"}");
    serves(b, &shop, "v1", "pass");
}

/* ---- The ttls, and what Kong gets wrong with them ---- */

static void a_value_is_refreshed_ahead_of_its_ttl_and_serves_meanwhile(void **state)
{
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    assert_in_range(pass_until_asked(b, 400 * 1000), 270000, 300001);
    serves(b, &shop, "v1", "one");
    value(b, "v2", "two");
    serves(b, &shop, "v2", "two");
    assert_in_range(pass_until_asked(b, 400 * 1000), 270000, 300001);
}

/* Kong/kong#11567: with small ttls references fall out of the rotation. */
static void small_ttls_never_end_the_refresh(void **state)
{
    const struct secret_origin small = {.prefix = VIEW("aws"), .ttl_s = 1, .neg_ttl_s = 1,
                                        .resurrect_ttl_s = 1};
    const struct secret_id id = {&small, VIEW("shop"), SECRET_CURRENT};
    struct bed *b = *state;
    char version[16];

    begin(b, &id, "v0", "x");
    for (int i = 1; i < 200; i++) {
        assert_in_range(pass_until_asked(b, 5000), 1, 1001);
        snprintf(version, sizeof version, "v%d", i);
        if (i % 7 == 0) { /* an outage longer than all ttls, too */
            for (int k = 0; k < 4; k++) {
                not_found(b);
                assert_in_range(pass_until_asked(b, 5000), 1, 1001);
            }
            fails(b, &id, &sm_not_found);
        }
        value(b, version, "x");
        serves(b, &id, version, "x");
    }
}

/* Kong/kong#13471: an outage within resurrect_ttl flushes the value. */
static void an_outage_does_not_take_the_value_away(void **state)
{
    struct bed *b = *state;

    begin(b, &shop, "v1", "one");
    int64_t end_us = b->now_us + INT64_C(1000000) * (300 + 86400);
    unsigned turns = 0;
    while (b->now_us < end_us - INT64_C(200000000)) {
        pass_until_asked(b, 100 * 1000);
        while (in_flight(b) > 0) {
            switch (turns++ % 4) {
            case 0:
                no_connection(b);
                break;
            case 1:
                not_found(b);
                break;
            case 2:
                answer(b, 503, "<html>");
                break;
            default:
                answer(b, 200, "{}");
            }
        }
        serves(b, &shop, "v1", "one");
    }
    assert_true(turns > 500);
    while (b->now_us < end_us) {
        pass_ms(b, 1000);
        while (in_flight(b) > 0)
            not_found(b);
    }
    fails(b, &shop, &sm_not_found); /* the end of resurrect_ttl */
    assert_in_range(pass_until_asked(b, 100 * 1000), 0, 60001);
    value(b, "v2", "two");
    serves(b, &shop, "v2", "two");
}

/* Kong 3.9.0.1's changelog: what began badly was never looked at again. */
static void a_bad_beginning_is_asked_again(void **state)
{
    struct bed *b = *state;

    waits(b, &shop);
    not_found(b);
    fails(b, &shop, &sm_not_found);
    assert_in_range(pass_until_asked(b, 100 * 1000), 60000, 60002);
    answer(b, 400, "{\"__type\":\"AccessDeniedException\",\"Message\":\"no\"}");
    fails(b, &shop, &sm_access_denied);
    assert_in_range(pass_until_asked(b, 100 * 1000), 60000, 60002);
    value(b, "v1", "one");
    serves(b, &shop, "v1", "one");
}

static void an_unusable_value_is_asked_again(void **state)
{
    const struct secret_origin still = {.prefix = VIEW("aws"), .ttl_s = 0, .neg_ttl_s = 20};
    const struct secret_id id = {&still, VIEW("shop"), SECRET_CURRENT};
    struct bed *b = *state;

    begin(b, &id, "v1", "no json");
    secret_cache_note_unusable(b->cache, &id);
    tick(b);
    assert_in_range(pass_until_asked(b, 100 * 1000), 20000, 20002);
    value(b, "v1", "no json");
    assert_in_range(pass_until_asked(b, 100 * 1000), 20000, 20002);
    value(b, "v2", "better");
    serves(b, &id, "v2", "better");
    pass_until_asked(b, INT64_C(86400000));
    assert_int_equal(in_flight(b), 0); /* usable again, and without a ttl */
}

/* Kong 3.7.0's changelog: secrets were refreshed although they had no ttl. */
static void without_a_ttl_nothing_is_read_again(void **state)
{
    const struct secret_origin still = {.prefix = VIEW("aws"), .ttl_s = 0, .neg_ttl_s = 5,
                                        .resurrect_ttl_s = 5};
    const struct secret_id id = {&still, VIEW("shop"), SECRET_CURRENT};
    struct bed *b = *state;

    begin(b, &id, "v1", "one");
    assert_int_equal(b->next_ms, INT64_MAX);
    pass_until_asked(b, INT64_C(30) * 86400 * 1000);
    assert_int_equal(b->started, 1);
    serves(b, &id, "v1", "one");
}

/* ---- Loads ---- */

static void a_load_asks_anew_what_had_failed(void **state)
{
    struct bed *b = *state;

    secret_cache_begin_load(b->cache);
    waits(b, &shop);
    not_found(b);
    fails(b, &shop, &sm_not_found);
    secret_cache_end_load(b->cache, false);
    struct secret_status s;
    size_t at = 0;
    assert_false(secret_cache_next(b->cache, &at, &s)); /* only the refused load wanted it */
    secret_cache_begin_load(b->cache);
    waits(b, &shop);
    not_found(b);
    secret_cache_end_load(b->cache, true);
    secret_cache_begin_load(b->cache);
    waits(b, &shop);
    value(b, "v1", "one");
    serves(b, &shop, "v1", "one");
    secret_cache_end_load(b->cache, true);
}

static void a_load_keeps_what_it_wants_and_no_more(void **state)
{
    const struct secret_id bar = {&usual, VIEW("bar"), SECRET_CURRENT};
    struct secret_status s;
    struct bed *b = *state;
    size_t at = 0;

    secret_cache_begin_load(b->cache);
    begin(b, &shop, "v1", "one");
    begin(b, &bar, "v1", "bar");
    secret_cache_end_load(b->cache, true);
    secret_cache_begin_load(b->cache);
    serves(b, &bar, "v1", "bar");
    secret_cache_end_load(b->cache, false); /* refused: the old one goes on with both */
    assert_true(secret_cache_next(b->cache, &at, &s));
    assert_true(secret_cache_next(b->cache, &at, &s));
    secret_cache_begin_load(b->cache);
    serves(b, &bar, "v1", "bar");
    secret_cache_end_load(b->cache, true);
    at = 0;
    assert_true(secret_cache_next(b->cache, &at, &s));
    assert_view(s.name, "bar");
    assert_false(secret_cache_next(b->cache, &at, &s));
    struct secret_value v[SECRET_VERSIONS_MAX]; /* a login of before may still want it */
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 1);
    pass_ms(b, SECRET_LEAVE_MS + 1);
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 0);
    assert_int_equal(b->started, 2); /* and it was not read again */
    serves(b, &bar, "v1", "bar");
}

static void what_a_load_wants_again_is_read_anew(void **state)
{
    struct bed *b = *state;

    secret_cache_begin_load(b->cache);
    begin(b, &shop, "v1", "one");
    secret_cache_end_load(b->cache, true);
    secret_cache_begin_load(b->cache);
    secret_cache_end_load(b->cache, true);
    secret_cache_begin_load(b->cache);
    waits(b, &shop);
    value(b, "v2", "two");
    serves(b, &shop, "v2", "two");
    secret_cache_end_load(b->cache, true);
    pass_ms(b, SECRET_LEAVE_MS + 1);
    serves(b, &shop, "v2", "two");
}

static void without_a_ttl_a_load_reads_anew(void **state)
{
    const struct secret_origin still = {.prefix = VIEW("aws")};
    const struct secret_id id = {&still, VIEW("shop"), SECRET_CURRENT};
    struct secret_value v[SECRET_VERSIONS_MAX];
    struct bed *b = *state;

    begin(b, &id, "v1", "one");
    secret_cache_begin_load(b->cache);
    waits(b, &id);
    assert_int_equal(secret_cache_versions(b->cache, &id, v), 1); /* logins go on */
    value(b, "v2", "two");
    serves(b, &id, "v2", "two");
    secret_cache_end_load(b->cache, true);
    secret_cache_begin_load(b->cache);
    waits(b, &id);
    no_connection(b); /* and when it cannot, what is held does */
    serves(b, &id, "v2", "two");
    secret_cache_end_load(b->cache, true);
}

static void a_read_from_before_a_load_does_not_serve_it(void **state)
{
    const struct secret_origin still = {.prefix = VIEW("aws")};
    const struct secret_id id = {&still, VIEW("shop"), SECRET_CURRENT};
    struct bed *b = *state;

    begin(b, &id, "v1", "one");
    for (int asks_pending = 0; asks_pending < 2; asks_pending++) {
        unsigned before = b->started;
        pass_ms(b, 2 * SECRET_REREAD_MIN_MS);
        assert_int_equal(secret_cache_reread(b->cache, &id, monotonic(b) / 1000000), AWS_WAIT);
        tick(b); /* a login was refused */
        if (asks_pending)
            value(b, "v2", "two"); /* nothing new: AWSPENDING is asked */
        assert_int_equal(b->started, before + 1 + asks_pending);
        secret_cache_begin_load(b->cache);
        waits(b, &id);
        assert_int_equal(b->started, before + 2 + asks_pending);
        value(b, "v0", "old");
        waits(b, &id);
        value(b, asks_pending ? "v3" : "v2", asks_pending ? "three" : "two");
        serves(b, &id, asks_pending ? "v3" : "v2", asks_pending ? "three" : "two");
        secret_cache_end_load(b->cache, true);
        while (in_flight(b) > 0)
            not_found(b); /* the refused login's AWSPENDING */
    }
}

static void the_status_tells_all_but_values(void **state)
{
    struct secret_status s;
    struct bed *b = *state;
    size_t at = 0;

    begin(b, &shop, "v1", "one");
    assert_true(secret_cache_next(b->cache, &at, &s));
    assert_view(s.prefix, "aws");
    assert_view(s.name, "shop");
    assert_string_equal(s.stage, "AWSCURRENT");
    assert_string_equal(s.version_id, "v1");
    assert_int_equal(s.read_us, b->now_us);
    assert_in_range(s.next_us, b->now_us + 270000000, b->now_us + 300000000);
    assert_true(s.serves);
    pass_until_asked(b, 300 * 1000);
    not_found(b);
    at = 0;
    assert_true(secret_cache_next(b->cache, &at, &s));
    assert_fault(s.error, sm_not_found);
    assert_string_equal(s.detail, "ResourceNotFoundException: no such secret");
    assert_int_equal(s.failures, 1);
    assert_true(s.serves);
    assert_int_equal(secret_cache_counts(b->cache).reads, 1);
    assert_int_equal(secret_cache_counts(b->cache).failures, 1);
}

/* ---- Members ---- */

static void members_are_found_in_json(void **state)
{
    static const char text[] = "{\"password\":\"p\\u00e4ss\",\"port\":5432,\"tls\":true,"
                               "\"none\":null,\"list\":[1],\"empty\":\"\"}";
    static const struct {
        const char *key, *value;
        const struct fault *fault;
    } rows[] = {
        {"password", "p\xc3\xa4ss", NULL}, {"port", "5432", NULL}, {"tls", "true", NULL},
        {"empty", "", NULL},               {"none", NULL, &secret_no_member},
        {"list", NULL, &secret_no_member}, {"absent", NULL, &secret_no_member},
    };
    struct view out;
    struct arena arena;
    (void)state;

    arena_init(&arena, 1024, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        err e = secret_member(view_str(text), view_str(rows[i].key), &arena, &out);
        assert_ptr_equal(e.fault, rows[i].fault);
        if (rows[i].value != NULL)
            assert_view(out, rows[i].value);
    }
    assert_fault(secret_member(VIEW("plain"), VIEW("x"), &arena, &out), secret_not_json);
    assert_fault(secret_member(VIEW("[1]"), VIEW("x"), &arena, &out), secret_not_json);
    assert_fault(secret_member(VIEW("{\"x\":\"a\",\"x\":\"b\"}"), VIEW("x"), &arena, &out),
                 secret_not_json);
    assert_false(failed(secret_member(VIEW("plain"), (struct view){NULL, 0}, &arena, &out)));
    assert_view(out, "plain");
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED(a_secret_is_read_once_for_all_who_ask),
        BED(vaults_names_and_stages_are_kept_apart),
        BED(only_so_many_are_read_at_once),
        BED(who_signs_is_waited_for),
        BED(a_signer_that_fails_is_the_reason),
        BED(passing_failures_are_tried_before_they_are_told),
        BED(pauses_grow_to_a_minute_and_vary),
        BED(base64_is_decoded_where_the_vault_says_so),
        BED(binary_secrets_serve),
        BED(a_value_is_refreshed_ahead_of_its_ttl_and_serves_meanwhile),
        BED(small_ttls_never_end_the_refresh),
        BED(an_outage_does_not_take_the_value_away),
        BED(a_bad_beginning_is_asked_again),
        BED(an_unusable_value_is_asked_again),
        BED(without_a_ttl_nothing_is_read_again),
        BED(a_load_asks_anew_what_had_failed),
        BED(a_load_keeps_what_it_wants_and_no_more),
        BED(what_a_load_wants_again_is_read_anew),
        BED(without_a_ttl_a_load_reads_anew),
        BED(a_read_from_before_a_load_does_not_serve_it),
        BED(the_status_tells_all_but_values),
        cmocka_unit_test(members_are_found_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
