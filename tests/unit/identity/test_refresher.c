/* The state machine of the key refresher, with a fetcher in memory and a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "identity/jwks.h"
#include "vectors.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define ISSUER "https://issuer.example/generic"
static const struct issuer discovered = {.name = VIEW("one"), .issuer = VIEW(ISSUER),
                                         .audience = {orders, 1}, .algorithms = {every_alg, 10},
                                         .ca_file = VIEW("/ca.pem"), .leeway_s = 30,
                                         .jwks_refresh_s = 3600};
static const char discovery[] =
    "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":\"https://keys.example/jwks\"}";

/* Holds what was asked for until the test answers. */
struct memory_fetcher {
    struct fetcher base;
    char url[256];
    char ca_file[64];
    int64_t timeout_ms;
    size_t max_bytes;
    fetch_done *done;
    void *arg;
    unsigned started;
};

static void memory_start(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                         void *arg)
{
    struct memory_fetcher *m = (struct memory_fetcher *)f;

    assert_null(m->done); /* one at a time */
    assert_true(view_is(request->method, "GET"));
    snprintf(m->url, sizeof m->url, "%.*s", VIEW_ARG(request->url));
    snprintf(m->ca_file, sizeof m->ca_file, "%.*s", VIEW_ARG(request->ca_file));
    m->timeout_ms = request->timeout_ms;
    m->max_bytes = request->max_bytes;
    m->done = done;
    m->arg = arg;
    m->started++;
}

static unsigned woken;
static void wake(void *arg)
{
    (void)arg;
    woken++;
}

struct bed {
    struct memory_fetcher fetcher;
    struct key_refresher *refresher;
    struct identity *id;
    int64_t now_ms;
};

static void answer(struct bed *b, int status, struct view body, int64_t max_age_s)
{
    const struct fetch_response response = {status, body, max_age_s};
    fetch_done *done = b->fetcher.done;

    assert_non_null(done);
    b->fetcher.done = NULL;
    done(b->fetcher.arg, OK, NULL, &response);
}

static void answer_failure(struct bed *b)
{
    fetch_done *done = b->fetcher.done;

    assert_non_null(done);
    b->fetcher.done = NULL;
    done(b->fetcher.arg, (err){&fault_too_large}, "in a test", NULL);
}

static int64_t tick(struct bed *b)
{
    return key_refresher_tick(b->refresher, b->now_ms);
}

static void bed_init(struct bed *b, const struct issuer *issuer)
{
    *b = (struct bed){.fetcher = {.base = {memory_start}}, .now_ms = 1000000};
    const struct key_refresher_options options = {&b->fetcher.base, wake, NULL};

    woken = 0;
    assert_false(failed(identity_new(issuer, 1, NULL, &b->id)));
    assert_false(failed(key_refresher_new(&options, &b->refresher)));
    key_refresher_set_identity(b->refresher, b->id);
}

static void bed_clear(struct bed *b)
{
    key_refresher_free(b->refresher);
    identity_release(b->id);
}

static struct view keys_text(void)
{
    static char *text;
    static size_t len;

    if (text == NULL)
        text = read_vectors("keys.json", &len);
    return view_of(text, len);
}

static struct view single_text(void)
{
    static char *text;
    static size_t len;

    if (text == NULL)
        text = read_vectors("single.json", &len);
    return view_of(text, len);
}

static void bring_up(struct bed *b, int64_t max_age_s)
{
    assert_int_equal(tick(b), INT64_MAX);
    answer(b, 200, view_str(discovery), -1);
    answer(b, 200, keys_text(), max_age_s);
}

static void assert_between(int64_t value, int64_t low, int64_t high)
{
    if (value < low || value > high)
        fail_msg("%lld is not between %lld and %lld", (long long)value, (long long)low,
                 (long long)high);
}

static void discovery_leads_to_the_keys(void **state)
{
    struct bed b;
    struct issuer_status status;

    (void)state;
    bed_init(&b, &discovered);
    assert_false(identity_keys_loaded(b.id));
    assert_int_equal(tick(&b), INT64_MAX);
    assert_string_equal(b.fetcher.url, ISSUER "/.well-known/openid-configuration");
    assert_string_equal(b.fetcher.ca_file, "/ca.pem");
    assert_int_equal(b.fetcher.timeout_ms, 5000);
    assert_int_equal(b.fetcher.max_bytes, 64 * 1024);
    answer(&b, 200, view_str(discovery), 10);
    assert_string_equal(b.fetcher.url, "https://keys.example/jwks");
    assert_int_equal(b.fetcher.max_bytes, 256 * 1024);
    assert_int_equal(woken, 0);
    answer(&b, 200, keys_text(), -1);
    assert_int_equal(woken, 1);
    assert_true(identity_keys_loaded(b.id));
    assert_between(tick(&b) - b.now_ms, 3600 * 900, 3600 * 1000);
    assert_int_equal(b.fetcher.started, 2);
    identity_issuer_status(b.id, 0, &status);
    assert_int_equal(status.keys, 6);
    assert_int_equal(status.last_success_ms, b.now_ms);
    assert_int_equal(status.last_failure_ms, -1);
    assert_int_equal(status.successes, 1);
    bed_clear(&b);
}

static void a_configured_jwks_uri_needs_no_discovery(void **state)
{
    struct issuer issuer = discovered;
    struct bed b;

    (void)state;
    issuer.jwks_uri = VIEW("https://keys.example/own");
    bed_init(&b, &issuer);
    (void)tick(&b);
    assert_string_equal(b.fetcher.url, "https://keys.example/own");
    answer(&b, 200, keys_text(), -1);
    assert_true(identity_keys_loaded(b.id));
    bed_clear(&b);
}

static void max_age_counts_within_its_bounds(void **state)
{
    static const struct {
        int64_t max_age_s, least_s, most_s;
    } rows[] = {{-1, 3240, 3600}, {0, 54, 60}, {59, 54, 60}, {600, 540, 600}, {86400, 3240, 3600}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bed b;
        bed_init(&b, &discovered);
        bring_up(&b, rows[i].max_age_s);
        assert_between(tick(&b) - b.now_ms, rows[i].least_s * 1000, rows[i].most_s * 1000);
        bed_clear(&b);
    }
}

static void the_next_fetch_goes_straight_to_the_keys(void **state)
{
    struct bed b;

    (void)state;
    bed_init(&b, &discovered);
    bring_up(&b, 60);
    b.now_ms = tick(&b) - 1;
    (void)tick(&b);
    assert_null(b.fetcher.done); /* not before its time */
    b.now_ms++;
    assert_int_equal(tick(&b), INT64_MAX);
    assert_string_equal(b.fetcher.url, "https://keys.example/jwks");
    assert_int_equal(tick(&b), INT64_MAX); /* one in flight */
    assert_int_equal(b.fetcher.started, 3);
    answer(&b, 200, keys_text(), -1);
    bed_clear(&b);
}

static void failures_back_off_and_old_keys_keep_serving(void **state)
{
    struct bed b;
    struct issuer_status status;
    int64_t delay_ms = 1000;

    (void)state;
    bed_init(&b, &discovered);
    bring_up(&b, 60);
    b.now_ms = tick(&b);
    const uint64_t generation = identity_generation(b.id);
    for (int i = 0; i < 9; i++) {
        (void)tick(&b);
        if (i % 2 == 0)
            answer_failure(&b);
        else
            answer(&b, 503, VIEW(""), -1);
        int64_t next = tick(&b);
        assert_between(next - b.now_ms, delay_ms / 2, delay_ms);
        delay_ms = delay_ms * 2 > 60000 ? 60000 : delay_ms * 2;
        b.now_ms = next;
        /* Where the keys are is asked anew. */
        (void)tick(&b);
        assert_string_equal(b.fetcher.url, ISSUER "/.well-known/openid-configuration");
        b.now_ms = next;
    }
    assert_true(identity_keys_loaded(b.id));
    assert_int_equal(identity_generation(b.id), generation);
    identity_issuer_status(b.id, 0, &status);
    assert_int_equal(status.keys, 6);
    assert_int_equal(status.failures, 9);
    assert_ptr_equal(status.last_error.fault, &fault_too_large);
    answer(&b, 200, view_str(discovery), -1);
    answer(&b, 200, keys_text(), -1);
    assert_between(tick(&b) - b.now_ms, 3600 * 900, 3600 * 1000);
    identity_issuer_status(b.id, 0, &status);
    assert_false(failed(status.last_error));
    bed_clear(&b);
}

static void a_bad_key_set_changes_nothing(void **state)
{
    struct bed b;
    struct issuer_status status;

    (void)state;
    bed_init(&b, &discovered);
    bring_up(&b, 60);
    b.now_ms = tick(&b);
    (void)tick(&b);
    answer(&b, 200, VIEW("{\"keys\":[]}"), -1);
    (void)tick(&b);
    identity_issuer_status(b.id, 0, &status);
    assert_ptr_equal(status.last_error.fault, &jwks_no_keys);
    assert_int_equal(status.keys, 6);
    bed_clear(&b);
}

static void a_foreign_discovery_document_is_refused(void **state)
{
    struct bed b;
    struct issuer_status status;

    (void)state;
    bed_init(&b, &discovered);
    (void)tick(&b);
    answer(&b, 200, VIEW("{\"issuer\":\"https://evil\",\"jwks_uri\":\"https://evil/j\"}"), -1);
    assert_null(b.fetcher.done);
    assert_between(tick(&b) - b.now_ms, 500, 1000);
    identity_issuer_status(b.id, 0, &status);
    assert_ptr_equal(status.last_error.fault, &discovery_issuer_mismatch);
    bed_clear(&b);
}

static void a_plain_url_is_never_fetched(void **state)
{
    struct issuer issuer = discovered;
    struct issuer_status status;
    struct bed b;

    (void)state;
    issuer.jwks_uri = VIEW("http://keys.example/own");
    bed_init(&b, &issuer);
    assert_between(tick(&b) - b.now_ms, 500, 1000);
    assert_int_equal(b.fetcher.started, 0);
    identity_issuer_status(b.id, 0, &status);
    assert_ptr_equal(status.last_error.fault, &key_url_refused);
    bed_clear(&b);
}

/* A token of the vectors by its case's name, checked by the bed's identity. */
static err verify_case(struct bed *b, const char *name)
{
    static const struct json_limits limits = {8, 100000};
    struct arena arena;
    const struct json_value *document;
    struct view case_name, token = {NULL, 0};
    struct principal p;
    size_t len;
    char *text = read_vectors("cases.json", &len);

    arena_init(&arena, 65536, 64 << 20);
    assert_false(failed(json_parse(&arena, view_of(text, len), &limits, &document, NULL)));
    JSON_EACH(c, json_get(document, "cases"))
    {
        if (json_get_string(c, "name", &case_name) && view_is(case_name, name))
            assert_true(json_get_string(c, "token", &token));
    }
    assert_non_null(token.data);
    err e = identity_verify(b->id, &arena, token, 1800000000, &p, NULL);
    arena_clear(&arena);
    free(text);
    return e;
}

static void an_unknown_kid_brings_one_fetch_within_the_cooldown(void **state)
{
    struct bed b;

    (void)state;
    bed_init(&b, &discovered);
    const int64_t begun = b.now_ms;
    bring_up(&b, -1);
    assert_between(tick(&b), begun + 3240000, begun + 3600000);
    assert_int_equal(woken, 1);
    b.now_ms = begun + 5000;
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(verify_case(&b, "unknown kid").fault, &identity_unknown_key);
    assert_int_equal(woken, 2); /* however many */
    assert_int_equal(tick(&b), begun + 30000);
    assert_null(b.fetcher.done);
    b.now_ms = begun + 30000;
    assert_int_equal(tick(&b), INT64_MAX);
    assert_string_equal(b.fetcher.url, "https://keys.example/jwks");
    answer(&b, 200, keys_text(), -1);
    assert_between(tick(&b), b.now_ms + 3240000, b.now_ms + 3600000);
    /* Long after the cooldown: at once. */
    b.now_ms += 100000;
    assert_ptr_equal(verify_case(&b, "unknown kid").fault, &identity_unknown_key);
    (void)tick(&b);
    assert_non_null(b.fetcher.done);
    bed_clear(&b);
    answer(&b, 200, keys_text(), -1); /* after the refresher's end: without effect */
}

static void new_keys_change_the_generation_and_same_keys_do_not(void **state)
{
    struct bed b;

    (void)state;
    bed_init(&b, &discovered);
    uint64_t before = identity_generation(b.id);
    bring_up(&b, 60);
    uint64_t loaded = identity_generation(b.id);
    assert_true(loaded != before);
    assert_false(failed(verify_case(&b, "alg RS256")));
    b.now_ms = tick(&b);
    (void)tick(&b);
    answer(&b, 200, keys_text(), 60);
    assert_int_equal(identity_generation(b.id), loaded);
    b.now_ms = tick(&b);
    (void)tick(&b);
    answer(&b, 200, single_text(), 60);
    assert_true(identity_generation(b.id) != loaded);
    assert_ptr_equal(verify_case(&b, "alg RS256").fault, &identity_unknown_key);
    bed_clear(&b);
}

static void a_reload_takes_the_keys_over(void **state)
{
    struct bed b;
    struct identity *next = NULL;
    struct issuer changed[2] = {discovered, discovered};

    (void)state;
    bed_init(&b, &discovered);
    bring_up(&b, -1);
    changed[0].leeway_s = 60; /* another rule, the same keys */
    changed[1].name = VIEW("two");
    changed[1].issuer = VIEW("https://other.example");
    assert_false(failed(identity_new(changed, 2, b.id, &next)));
    assert_true(identity_generation(next) != identity_generation(b.id));
    assert_false(identity_keys_loaded(next)); /* the second has none yet */
    key_refresher_set_identity(b.refresher, next);
    (void)tick(&b);
    assert_string_equal(b.fetcher.url, "https://other.example/.well-known/openid-configuration");
    struct issuer_status status;
    identity_issuer_status(next, 0, &status);
    assert_int_equal(status.keys, 6);
    /* The former one still verifies. */
    assert_false(failed(verify_case(&b, "alg ES256")));
    bed_clear(&b);
    identity_release(next);
    answer_failure(&b);
}

static void an_issuer_whose_place_changed_starts_anew(void **state)
{
    struct bed b;
    struct identity *next = NULL;
    struct issuer moved = discovered;

    (void)state;
    bed_init(&b, &discovered);
    bring_up(&b, -1);
    moved.jwks_uri = VIEW("https://keys.example/moved");
    assert_false(failed(identity_new(&moved, 1, b.id, &next)));
    assert_false(identity_keys_loaded(next));
    identity_release(next);
    bed_clear(&b);
}

static void write_file(const char *path, struct view text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
    fclose(f);
}

static void a_key_file_is_read_when_it_changed(void **state)
{
    char path[] = "/tmp/sallyport-jwks-XXXXXX";
    struct issuer issuer = discovered;
    struct issuer_status status;
    struct bed b;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, keys_text());
    issuer.jwks_file = view_str(path);
    bed_init(&b, &issuer);
    assert_int_equal(tick(&b), b.now_ms + 2000);
    assert_true(identity_keys_loaded(b.id));
    const uint64_t generation = identity_generation(b.id);
    b.now_ms += 2000;
    (void)tick(&b);
    identity_issuer_status(b.id, 0, &status);
    assert_int_equal(status.successes, 1); /* unchanged: not read */
    write_file(path, single_text());
    (void)tick(&b);
    assert_int_equal(identity_generation(b.id), generation); /* not before its time */
    b.now_ms += 2000;
    (void)tick(&b);
    assert_true(identity_generation(b.id) != generation);
    identity_issuer_status(b.id, 0, &status);
    assert_int_equal(status.keys, 1);
    /* A broken file, and then none: noted once each, the keys stay. */
    write_file(path, VIEW("{"));
    for (int i = 0; i < 3; i++) {
        b.now_ms += 2000;
        (void)tick(&b);
    }
    identity_issuer_status(b.id, 0, &status);
    assert_ptr_equal(status.last_error.fault, &jwks_malformed);
    assert_int_equal(status.failures, 1);
    unlink(path);
    for (int i = 0; i < 3; i++) {
        b.now_ms += 2000;
        (void)tick(&b);
    }
    identity_issuer_status(b.id, 0, &status);
    assert_ptr_equal(status.last_error.fault, &key_file_unreadable);
    assert_int_equal(status.failures, 2);
    assert_int_equal(status.keys, 1);
    assert_int_equal(b.fetcher.started, 0);
    bed_clear(&b);
}

static int quiet(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discovery_leads_to_the_keys),
        cmocka_unit_test(a_configured_jwks_uri_needs_no_discovery),
        cmocka_unit_test(max_age_counts_within_its_bounds),
        cmocka_unit_test(the_next_fetch_goes_straight_to_the_keys),
        cmocka_unit_test(failures_back_off_and_old_keys_keep_serving),
        cmocka_unit_test(a_bad_key_set_changes_nothing),
        cmocka_unit_test(a_foreign_discovery_document_is_refused),
        cmocka_unit_test(a_plain_url_is_never_fetched),
        cmocka_unit_test(an_unknown_kid_brings_one_fetch_within_the_cooldown),
        cmocka_unit_test(new_keys_change_the_generation_and_same_keys_do_not),
        cmocka_unit_test(a_reload_takes_the_keys_over),
        cmocka_unit_test(an_issuer_whose_place_changed_starts_anew),
        cmocka_unit_test(a_key_file_is_read_when_it_changed),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
