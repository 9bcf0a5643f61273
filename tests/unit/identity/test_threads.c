/* Verification beside key swaps, reloads and status: for the thread sanitizer above all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "identity/issuer_keys.h"
#include "identity/identity_state.h"
#include "identity/token_cache.h"
#include "vectors.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { THREADS = 4, ROUNDS = 150 };

static struct identity *id;
static struct view good_token, stale_token;
static atomic_bool stop;

/* Under one set the token is good, under the other its key is unknown; nothing else may come. */
static void *verify_many(void *arg)
{
    struct token_cache *cache = NULL;
    struct arena scratch;
    void *bad = NULL;

    arena_init(&scratch, 16384, IDENTITY_ARENA_BYTES);
    if (failed(token_cache_new(4, &cache)))
        return arg;
    for (int i = 0; i < ROUNDS && bad == NULL; i++) {
        struct known_caller *k = NULL;
        struct principal p;
        err e = token_cache_identify(cache, id, good_token, 1800000000, &scratch, &k, NULL);
        if (failed(e) ? !is_fault(e, &identity_unknown_key)
                      : !view_is(k->principal.subject, "EdDSA"))
            bad = arg;
        known_caller_release(k);
        e = identity_verify(id, &scratch, stale_token, 1800000000, &p, NULL);
        if (!is_fault(e, &identity_expired) && !is_fault(e, &identity_unknown_key))
            bad = arg;
        arena_reset(&scratch);
    }
    token_cache_free(cache);
    arena_clear(&scratch);
    return bad;
}

static void *swap_keys(void *arg)
{
    size_t len[2];
    char *texts[2] = {read_vectors("keys.json", &len[0]), read_vectors("single.json", &len[1])};
    void *bad = NULL;

    /* The first set is in place already. */
    for (unsigned i = 1; !atomic_load(&stop) && bad == NULL; i++) {
        struct jwks *set = NULL;
        struct identity *reloaded = NULL;
        struct issuer_status status;
        if (failed(jwks_parse(view_of(texts[i % 2], len[i % 2]), &set)) ||
            !issuer_keys_publish(id->rules[0].keys, set))
            bad = arg;
        identity_issuer_status(id, 0, &status);
        if (failed(identity_new(vector_issuers, 1, id, &reloaded)) ||
            !identity_keys_loaded(reloaded))
            bad = arg;
        identity_release(reloaded);
    }
    free(texts[0]);
    free(texts[1]);
    return bad;
}

static struct view token_named(const struct json_value *cases, const char *name)
{
    struct view case_name, token = {NULL, 0};

    JSON_EACH(c, cases)
    {
        if (json_get_string(c, "name", &case_name) && view_is(case_name, name))
            (void)json_get_string(c, "token", &token);
    }
    return token;
}

static void keys_may_be_swapped_under_verifying_threads(void **state)
{
    const struct json_limits limits = {8, 100000};
    struct key_refresher *refresher = NULL;
    pthread_t verifiers[THREADS], swapper;
    const struct json_value *document;
    struct arena arena;
    void *bad = NULL;
    size_t len;
    int mark;

    (void)state;
    id = vector_identity(1, &refresher);
    char *text = read_vectors("cases.json", &len);
    arena_init(&arena, 65536, 64 << 20);
    assert_false(failed(json_parse(&arena, view_of(text, len), &limits, &document, NULL)));
    good_token = token_named(json_get(document, "cases"), "alg EdDSA");
    stale_token = token_named(json_get(document, "cases"), "exp long ago");
    assert_int_equal(pthread_create(&swapper, NULL, swap_keys, &mark), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&verifiers[i], NULL, verify_many, &mark), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(verifiers[i], &result);
        bad = bad != NULL ? bad : result;
    }
    atomic_store(&stop, true);
    void *result = NULL;
    pthread_join(swapper, &result);
    assert_null(result);
    assert_null(bad);
    arena_clear(&arena);
    free(text);
    key_refresher_free(refresher);
    identity_release(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_may_be_swapped_under_verifying_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
