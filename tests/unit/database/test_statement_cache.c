/* Names that are never given twice, the least recently used first, and never one that is in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "database/statement_cache.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static struct statement_cache cache;

static int set_up(void **state)
{
    (void)state;
    statement_cache_init(&cache, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    statement_cache_clear(&cache);
    return 0;
}

static const uint8_t *key_of(uint8_t n)
{
    static uint8_t keys[4][DB_KEY_BYTES];

    keys[n][0] = keys[n][DB_KEY_BYTES - 1] = n;
    return keys[n];
}

static struct prepared *add(uint8_t n)
{
    struct prepared *p = statement_cache_add(&cache, key_of(n));

    assert_non_null(p);
    return p;
}

static void a_key_finds_its_own_statement_only(void **state)
{
    (void)state;
    struct prepared *one = add(1), *two = add(2);
    assert_ptr_equal(statement_cache_get(&cache, key_of(1)), one);
    assert_ptr_equal(statement_cache_get(&cache, key_of(2)), two);
    assert_null(statement_cache_get(&cache, key_of(3)));
    assert_string_not_equal(one->name, two->name);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct prepared *one = add(1), *two = add(2);
    assert_ptr_equal(statement_cache_get(&cache, key_of(1)), one);
    assert_ptr_equal(statement_cache_evict(&cache), two);
    prepared_free(two);
    assert_null(statement_cache_get(&cache, key_of(2)));
    assert_null(statement_cache_evict(&cache)); /* there is room now */
}

static void what_a_call_reads_is_not_evicted(void **state)
{
    (void)state;
    struct prepared *one = add(1), *two = add(2);
    one->uses = two->uses = 1;
    assert_null(statement_cache_evict(&cache));
    prepared_release(one);
    assert_ptr_equal(statement_cache_evict(&cache), one);
    prepared_free(one);
    prepared_release(two);
}

static void a_name_is_never_given_twice(void **state)
{
    (void)state;
    struct prepared *one = add(1);
    char first[sizeof one->name];
    memcpy(first, one->name, sizeof first);
    statement_cache_forget(&cache, one);
    assert_string_not_equal(add(1)->name, first);
}

/* Two calls behind each other read it when the first is told that it is stale. */
static void what_is_forgotten_lives_until_its_last_use_ends(void **state)
{
    (void)state;
    struct prepared *old = add(1);
    old->uses = 2;
    statement_cache_forget(&cache, old);
    assert_null(statement_cache_get(&cache, key_of(1)));
    struct prepared *anew = add(1);
    prepared_release(old);
    assert_true(old->forgotten);
    statement_cache_forget(&cache, old); /* the second call says so too: nothing happens */
    assert_ptr_equal(statement_cache_get(&cache, key_of(1)), anew);
    prepared_release(old); /* freed here, as the sanitizer would tell */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_finds_its_own_statement_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_least_recently_used_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_call_reads_is_not_evicted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_never_given_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_forgotten_lives_until_its_last_use_ends, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
