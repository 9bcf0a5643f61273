/* The cache of secrets, with a clock and a network that the test holds in its hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/secret_cache.h"
#include "base/log.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_view(v, text) assert_true(view_is((v), (text)))
#define assert_fault(e, f) assert_ptr_equal((e).fault, &(f))

enum { FLIGHTS = 32 };

static const struct fault no_answer = {"no_answer", "no answer", NULL, 0};

struct flight {
    char url[256];
    char body[256];
    char authorization[512];
    fetch_done *done;
    void *arg;
};

struct bed {
    struct fetcher net;
    struct flight flights[FLIGHTS];
    size_t first, last; /* those in flight, oldest first */
    unsigned started;
    struct clock clock;
    int64_t now_us;
    struct aws_credentials credentials;
    enum aws_ready signer;
    struct secret_cache *cache;
    unsigned wakes;
    int64_t next_ms;
};

static void start(struct fetcher *f, const struct fetch_request *r, fetch_done *done, void *arg)
{
    struct bed *b = (struct bed *)f;
    struct flight *x = &b->flights[b->last++ % FLIGHTS];

    assert_true(b->last - b->first <= FLIGHTS);
    snprintf(x->url, sizeof x->url, "%.*s", VIEW_ARG(r->url));
    snprintf(x->body, sizeof x->body, "%.*s", VIEW_ARG(r->body));
    for (size_t i = 0; i < r->header_count; i++) {
        if (view_is(r->headers[i].name, "authorization"))
            snprintf(x->authorization, sizeof x->authorization, "%.*s",
                     VIEW_ARG(r->headers[i].value));
    }
    x->done = done;
    x->arg = arg;
    b->started++;
}

static int64_t wall(void *ctx)
{
    return ((struct bed *)ctx)->now_us;
}

static int64_t monotonic(void *ctx)
{
    return (((struct bed *)ctx)->now_us - INT64_C(1767323000000000)) * 1000;
}

static enum aws_ready sign(void *arg, const struct secret_origin *origin,
                           struct secret_signer *out, err *why, const char **detail)
{
    struct bed *b = arg;
    (void)origin;

    if (b->signer == AWS_FAILED) {
        *why = (err){&no_answer};
        *detail = "the role is not ours";
    }
    *out = (struct secret_signer){.credentials = &b->credentials,
                                  .place = {.region = VIEW("eu-west-1")}};
    return b->signer;
}

static void wake(void *arg)
{
    ((struct bed *)arg)->wakes++;
}

static int open_bed(void **state)
{
    struct bed *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -1;
    b->net.start = start;
    b->clock = (struct clock){wall, monotonic, b};
    b->now_us = INT64_C(1767323045000000); /* 2026-01-02T03:04:05Z */
    b->signer = AWS_READY;
    const struct secret_cache_options options = {
        .fetcher = &b->net, .clock = &b->clock, .signer = sign, .signer_arg = b,
        .wake = wake, .wake_arg = b};
    *state = b;
    log_set_level(LOG_ERROR);
    return failed(aws_credentials_init(&b->credentials, VIEW("AKID"), VIEW("key"), VIEW(""), 0,
                                       "test")) ||
           failed(secret_cache_new(&options, &b->cache));
}

static int close_bed(void **state)
{
    const struct fetch_response gone = {.status = 500, .max_age_s = -1};
    struct bed *b = *state;

    secret_cache_free(b->cache);
    for (; b->first < b->last; b->first++) /* comes after the end, and does nothing */
        b->flights[b->first % FLIGHTS].done(b->flights[b->first % FLIGHTS].arg, OK, NULL, &gone);
    aws_credentials_clear(&b->credentials);
    free(b);
    return 0;
}

static void tick(struct bed *b)
{
    b->next_ms = secret_cache_tick(b->cache);
}

static void pass_ms(struct bed *b, int64_t ms)
{
    b->now_us += ms * 1000;
    tick(b);
}

static size_t in_flight(const struct bed *b)
{
    return b->last - b->first;
}

/* Lets the time pass until something is asked, at most so long; how long it was. */
static int64_t pass_until_asked(struct bed *b, int64_t max_ms)
{
    int64_t begun = b->now_us;

    while (in_flight(b) == 0 && b->now_us - begun < max_ms * 1000) {
        int64_t left = begun + max_ms * 1000 - b->now_us;
        int64_t wait = b->next_ms == INT64_MAX ? left : b->next_ms * 1000 - monotonic(b) / 1000;
        pass_ms(b, (wait < left ? wait : left) / 1000 + 1);
    }
    return (b->now_us - begun) / 1000;
}

/* Answers the oldest exchange. */
static void answer(struct bed *b, int status, const char *format, ...)
{
    char body[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(body, sizeof body, format, args);
    va_end(args);
    assert_true(in_flight(b) > 0);
    const struct flight x = b->flights[b->first++ % FLIGHTS];
    const struct fetch_response response = {status, view_str(body), -1};
    x.done(x.arg, OK, NULL, &response);
    tick(b);
}

static void value(struct bed *b, const char *version, const char *text)
{
    answer(b, 200,
           "{\"ARN\":\"arn:x\",\"Name\":\"n\",\"VersionId\":\"%s\",\"SecretString\":\"%s\"}",
           version, text);
}

static void no_connection(struct bed *b)
{
    const struct flight x = b->flights[b->first++ % FLIGHTS];
    x.done(x.arg, (err){&no_answer}, "nobody there", NULL);
    tick(b);
}

static void not_found(struct bed *b)
{
    answer(b, 400, "{\"__type\":\"ResourceNotFoundException\",\"Message\":\"no such secret\"}");
}

static const struct secret_origin usual = {.prefix = {"aws", 3}, .ttl_s = 300, .neg_ttl_s = 60,
                                           .resurrect_ttl_s = 86400};
static const struct secret_id shop = {&usual, {"shop", 4}, SECRET_CURRENT};

static enum aws_ready get(struct bed *b, const struct secret_id *id, struct secret_value *out)
{
    const char *detail;
    err why;
    enum aws_ready r = secret_cache_get(b->cache, id, out, &why, &detail);
    assert_true(failed(why) == (r == AWS_FAILED));
    tick(b);
    return r;
}

static void serves(struct bed *b, const struct secret_id *id, const char *version,
                   const char *text)
{
    struct secret_value v;
    assert_int_equal(get(b, id, &v), AWS_READY);
    assert_view(v.text, text);
    assert_string_equal(v.version_id, version);
}

static void fails(struct bed *b, const struct secret_id *id, const struct fault *fault)
{
    struct secret_value v;
    const char *detail;
    err why;
    assert_int_equal(secret_cache_get(b->cache, id, &v, &why, &detail), AWS_FAILED);
    assert_ptr_equal(why.fault, fault);
}

static void waits(struct bed *b, const struct secret_id *id)
{
    struct secret_value v;
    assert_int_equal(get(b, id, &v), AWS_WAIT);
}

static void begin(struct bed *b, const struct secret_id *id, const char *version, const char *text)
{
    waits(b, id);
    value(b, version, text);
    serves(b, id, version, text);
}

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
    answer(b, 500, "");
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

/* ---- Refused logins ---- */

static int64_t now_ms(struct bed *b)
{
    return monotonic(b) / 1000000;
}

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
    secret_cache_prefer(b->cache, &shop, "v2");
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
    secret_cache_prefer(b->cache, &shop, "v2");
    pass_until_asked(b, 400 * 1000);
    value(b, "v3", "three");
    assert_int_equal(secret_cache_versions(b->cache, &shop, v), 2);
    assert_string_equal(v[0].version_id, "v3");
    assert_string_equal(v[1].version_id, "v2");
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
    secret_cache_prefer(b->cache, &shop, "v1"); /* a login succeeded: all is as at first */
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

#define BED(test) cmocka_unit_test_setup_teardown(test, open_bed, close_bed)

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
        BED(refused_logins_share_one_read),
        BED(in_the_middle_of_a_rotation_the_pending_version_serves),
        BED(the_version_before_is_the_one_that_served),
        BED(a_pending_version_that_is_not_there_is_no_failure),
        BED(reads_in_vain_become_rare),
        BED(a_read_that_fails_lets_the_login_go_on),
        BED(a_load_asks_anew_what_had_failed),
        BED(a_load_keeps_what_it_wants_and_no_more),
        BED(without_a_ttl_a_load_reads_anew),
        BED(the_status_tells_all_but_values),
        cmocka_unit_test(members_are_found_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
