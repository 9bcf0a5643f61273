#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "identity/token_cache.h"
#include "vectors.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static struct identity *id;
static struct key_refresher *refresher;
static struct arena texts;
static const struct json_value *cases;
static struct arena scratch;
static const int64_t now_s = 1800000000;

static int set_up(void **state)
{
    const struct json_limits limits = {8, 100000};
    const struct json_value *document;
    size_t len;

    (void)state;
    id = vector_identity(COUNT_OF(vector_issuers) - 1, &refresher);
    arena_init(&texts, 65536, 64 << 20);
    arena_init(&scratch, 16384, IDENTITY_ARENA_BYTES);
    char *text = read_vectors("cases.json", &len);
    struct view copy = arena_copy(&texts, view_of(text, len));
    free(text);
    if (failed(json_parse(&texts, copy, &limits, &document, NULL)))
        return 1;
    cases = json_get(document, "cases");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    key_refresher_free(refresher);
    identity_release(id);
    arena_clear(&texts);
    arena_clear(&scratch);
    return 0;
}

static struct view token_of(const char *name)
{
    struct view case_name, token = {NULL, 0};

    JSON_EACH(c, cases)
    {
        if (json_get_string(c, "name", &case_name) && view_is(case_name, name))
            assert_true(json_get_string(c, "token", &token));
    }
    assert_non_null(token.data);
    return token;
}

static struct known_caller *identify_at(struct token_cache *cache, struct identity *who,
                                        const char *name, int64_t at_s)
{
    struct known_caller *k = NULL;

    arena_reset(&scratch);
    assert_false(
        failed(token_cache_identify(cache, who, token_of(name), at_s, &scratch, &k, NULL)));
    /* Nothing of the caller may stand in the scratch. */
    arena_clear(&scratch);
    return k;
}

static void assert_counts(const struct token_cache *c, uint64_t hits, uint64_t misses,
                          size_t entries)
{
    struct token_cache_counts n = token_cache_counts(c);

    assert_int_equal(n.hits, hits);
    assert_int_equal(n.misses, misses);
    assert_int_equal(n.entries, entries);
}

static void a_repeated_token_gives_the_same_caller(void **state)
{
    struct token_cache *c = NULL;

    (void)state;
    assert_false(failed(token_cache_new(8, &c)));
    struct known_caller *first = identify_at(c, id, "cognito access token", now_s);
    struct known_caller *again = identify_at(c, id, "cognito access token", now_s);
    assert_ptr_equal(first, again);
    assert_counts(c, 1, 1, 1);
    const struct principal *p = &first->principal;
    assert_true(view_is(p->issuer_name, "cognito"));
    assert_true(view_is(p->client, "client-1"));
    assert_true(view_is(p->key_id, "rsa-1"));
    assert_int_equal(p->groups.count, 2);
    assert_true(view_is(p->groups.items[0], "orders-readers"));
    assert_true(view_is(p->scopes.items[1], "orders/read"));
    assert_int_equal(p->claim_count, 14);
    const struct claim *claim = principal_claim(p, VIEW("username"));
    assert_true(view_is(claim->text, "alice"));
    assert_true(view_is(claim->json, "\"alice\""));
    assert_ptr_equal(claim->text.data, claim->json.data + 1); /* one copy serves both */
    known_caller_release(first);
    known_caller_release(again);
    token_cache_free(c);
}

static void an_escaped_claim_is_copied_whole(void **state)
{
    struct token_cache *c = NULL;

    (void)state;
    assert_false(failed(token_cache_new(8, &c)));
    struct known_caller *k = identify_at(c, id, "an escaped claim name", now_s);
    const struct claim *claim = principal_claim(&k->principal, VIEW("sub"));
    assert_true(view_is(claim->text, "alice"));
    assert_true(view_is(claim->json, "\"al\\u0069ce\""));
    known_caller_release(k);
    token_cache_free(c);
}

static void an_entry_ends_with_its_token(void **state)
{
    struct token_cache *c = NULL;
    struct known_caller *k = NULL;

    (void)state;
    assert_false(failed(token_cache_new(8, &c)));
    known_caller_release(identify_at(c, id, "alg EdDSA", now_s)); /* exp: now + 600 */
    known_caller_release(identify_at(c, id, "alg EdDSA", now_s + 599));
    assert_counts(c, 1, 1, 1);
    /* Within the leeway it is accepted still, but each time anew. */
    known_caller_release(identify_at(c, id, "alg EdDSA", now_s + 600));
    assert_counts(c, 1, 2, 0);
    err e = token_cache_identify(c, id, token_of("alg EdDSA"), now_s + 630, &scratch, &k, NULL);
    assert_ptr_equal(e.fault, &identity_expired);
    assert_null(k);
    assert_counts(c, 1, 3, 0);
    token_cache_free(c);
}

static void a_refused_token_is_not_kept(void **state)
{
    struct token_cache *c = NULL;
    struct known_caller *k = NULL;
    struct token_check check;

    (void)state;
    assert_false(failed(token_cache_new(8, &c)));
    for (int i = 0; i < 2; i++) {
        err e = token_cache_identify(c, id, token_of("no sub"), now_s, &scratch, &k, &check);
        assert_ptr_equal(e.fault, &identity_subject_missing);
        assert_null(k);
        assert_true(check.count > 0);
    }
    assert_counts(c, 0, 2, 0);
    token_cache_free(c);
}

static void the_trace_of_a_hit_is_empty(void **state)
{
    struct token_cache *c = NULL;
    struct known_caller *k = NULL;
    struct token_check check;

    (void)state;
    assert_false(failed(token_cache_new(8, &c)));
    for (int i = 0; i < 2; i++) {
        assert_false(failed(token_cache_identify(c, id, token_of("alg ES256"), now_s, &scratch, &k,
                                                 &check)));
        assert_int_equal(check.count == 0, i == 1);
        known_caller_release(k);
    }
    token_cache_free(c);
}

static void the_least_recently_used_goes_first(void **state)
{
    struct token_cache *c = NULL;

    (void)state;
    assert_false(failed(token_cache_new(2, &c)));
    known_caller_release(identify_at(c, id, "alg RS256", now_s));
    known_caller_release(identify_at(c, id, "alg RS384", now_s));
    known_caller_release(identify_at(c, id, "alg RS256", now_s)); /* hit: now the newer */
    known_caller_release(identify_at(c, id, "alg RS512", now_s)); /* RS384 goes */
    assert_counts(c, 1, 3, 2);
    known_caller_release(identify_at(c, id, "alg RS256", now_s));
    assert_counts(c, 2, 3, 2);
    known_caller_release(identify_at(c, id, "alg RS384", now_s));
    assert_counts(c, 2, 4, 2);
    token_cache_free(c);
}

static void another_generation_empties_the_cache(void **state)
{
    struct token_cache *c = NULL;
    struct identity *next = NULL;
    struct issuer stricter[COUNT_OF(vector_issuers)];
    static const struct view other[] = {VIEW("api://other")};
    struct known_caller *k = NULL;

    (void)state;
    memcpy(stricter, vector_issuers, sizeof stricter);
    stricter[0].audience = (struct strings){other, 1};
    assert_false(failed(token_cache_new(8, &c)));
    struct known_caller *held = identify_at(c, id, "alg RS256", now_s);
    assert_false(failed(identity_new(stricter, COUNT_OF(stricter), id, &next)));
    err e = token_cache_identify(c, next, token_of("alg RS256"), now_s, &scratch, &k, NULL);
    assert_ptr_equal(e.fault, &identity_audience_wrong);
    assert_counts(c, 0, 2, 0);
    /* Who was in flight is not disturbed. */
    assert_true(view_is(held->principal.subject, "RS256"));
    known_caller_release(held);
    identity_release(next);
    token_cache_free(c);
}

/* What the consumer_claim holds is copied; what is no text is no token of ours. */
static void the_consumer_claim_is_kept_with_the_caller(void **state)
{
    static const struct {
        const char *claim;
        const char *value; /* NULL: absent */
        const struct fault *fault;
    } asked[] = {
        {"username", "alice", NULL},
        {"auth_time", "1799999940", NULL},
        {"preferred_username", NULL, NULL},
        {"cognito:groups", NULL, &identity_claim_malformed},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        struct issuer asking[COUNT_OF(vector_issuers)];
        struct token_cache *c = NULL;
        struct identity *next = NULL;
        struct known_caller *k = NULL;
        memcpy(asking, vector_issuers, sizeof asking);
        asking[1].consumer_claim = view_str(asked[i].claim);
        assert_false(failed(token_cache_new(8, &c)));
        assert_false(failed(identity_new(asking, COUNT_OF(asking) - 1, id, &next)));
        err e = token_cache_identify(c, next, token_of("cognito access token"), now_s, &scratch,
                                     &k, NULL);
        assert_ptr_equal(e.fault, asked[i].fault);
        if (k != NULL && asked[i].value != NULL)
            assert_true(view_is(k->principal.consumer_claim, asked[i].value));
        else if (k != NULL)
            assert_null(k->principal.consumer_claim.data);
        known_caller_release(k);
        arena_clear(&scratch);
        identity_release(next);
        token_cache_free(c);
    }
}

static void on_end(void *data)
{
    ++*(int *)data;
}

static void what_hangs_on_a_caller_ends_with_it(void **state)
{
    struct token_cache *c = NULL;
    int ended = 0;

    (void)state;
    assert_false(failed(token_cache_new(1, &c)));
    struct known_caller *k = identify_at(c, id, "alg RS256", now_s);
    k->user = &ended;
    assert_true(arena_on_reset(&k->arena, on_end, &ended));
    known_caller_release(identify_at(c, id, "alg RS384", now_s)); /* evicted, but in flight */
    assert_int_equal(ended, 0);
    known_caller_release(k);
    assert_int_equal(ended, 1);
    token_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeated_token_gives_the_same_caller),
        cmocka_unit_test(an_escaped_claim_is_copied_whole),
        cmocka_unit_test(an_entry_ends_with_its_token),
        cmocka_unit_test(a_refused_token_is_not_kept),
        cmocka_unit_test(the_trace_of_a_hit_is_empty),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(another_generation_empties_the_cache),
        cmocka_unit_test(the_consumer_claim_is_kept_with_the_caller),
        cmocka_unit_test(what_hangs_on_a_caller_ends_with_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
