#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/list.h"
#include "base/map.h"
#include "base/secret.h"
#include "base/time.h"

static void buffer_stops_at_its_maximum(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 300);
    for (int i = 0; i < 30; i++)
        buf_add(&b, "0123456789", 10);
    assert_false(buf_failed(&b));
    assert_int_equal(b.len, 300);
    buf_add_char(&b, 'x');
    assert_true(buf_failed(&b));
    assert_int_equal(b.len, 300);
    buf_reset(&b);
    buf_add_i64(&b, INT64_MIN);
    assert_true(view_is(buf_view(&b), "-9223372036854775808"));
    buf_consume(&b, 10);
    assert_true(view_is(buf_view(&b), "6854775808"));
    buf_clear_secure(&b);
}

static void buffer_refuses_sizes_that_overflow(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, SIZE_MAX);
    buf_add_char(&b, 'x');
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_true(buf_failed(&b));
    buf_clear(&b);
}

static void count_up(void *data)
{
    ++*(int *)data;
}

static void arena_has_a_maximum_and_runs_cleanups(void **state)
{
    struct arena a;
    int cleaned = 0;
    (void)state;
    arena_init(&a, 128, 1024);
    assert_true(arena_on_reset(&a, count_up, &cleaned));
    assert_non_null(arena_alloc(&a, 500));
    assert_null(arena_alloc(&a, 600));
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    arena_reset(&a);
    assert_int_equal(cleaned, 1);
    assert_non_null(arena_alloc(&a, 600));
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x").data, "7-x");
    arena_clear(&a);
    assert_int_equal(cleaned, 1);
    assert_int_equal(a.total_bytes, 0);
}

static void map_keeps_what_is_put(void **state)
{
    enum { N = 5000 };
    static char keys[N][16];
    struct map m;
    (void)state;
    map_init(&m);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            snprintf(keys[i], sizeof keys[i], "key-%d", i);
            assert_true(map_put(&m, view_str(keys[i]), keys[i]));
        }
        assert_int_equal(m.count, N);
        for (int i = 0; i < N; i += 2)
            assert_ptr_equal(map_remove(&m, view_str(keys[i])), keys[i]);
        for (int i = 0; i < N; i++)
            assert_ptr_equal(map_get(&m, view_str(keys[i])), i % 2 ? keys[i] : NULL);
        size_t at = 0;
        int seen = 0;
        while (map_next(&m, &at) != NULL)
            seen++;
        assert_int_equal(seen, N / 2);
    }
    assert_null(map_get(&m, VIEW("absent")));
    map_clear(&m);
}

static void views_parse_strictly(void **state)
{
    uint64_t n = 42;
    struct view head;
    (void)state;
    assert_true(view_to_u64(VIEW("18446744073709551615"), UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    assert_false(view_to_u64(VIEW("18446744073709551616"), UINT64_MAX, &n));
    assert_false(view_to_u64(VIEW(""), 9, &n));
    assert_false(view_to_u64(VIEW("+1"), 9, &n));
    assert_false(view_to_u64(VIEW("10"), 9, &n));
    assert_true(view_is(view_cut(VIEW("a=b=c"), '=', &head), "b=c"));
    assert_true(view_is(head, "a"));
    assert_true(view_is(view_trim(VIEW(" \tx ")), "x"));
    assert_true(view_is_utf8(VIEW("\xf0\x9f\x98\x80 \xc3\xa9")));
    assert_false(view_is_utf8(VIEW("\xc0\xaf")));
    assert_false(view_is_utf8(VIEW("\xed\xa0\x80")));
    assert_false(view_is_utf8(VIEW("\xf4\x90\x80\x80")));
    assert_false(view_is_utf8(VIEW("\xe2\x82")));
}

/* Of every size, in pages that some share: none sees another's bytes, none finds old ones. */
static void many_secrets_share_pages(void **state)
{
    enum { SECRETS = 3000, LONGEST = 5000 };
    static struct secret all[SECRETS];
    static char text[LONGEST];
    (void)state;

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < SECRETS; i++) {
            size_t len = i * 7919 % LONGEST;
            memset(text, 'a' + (int)((i + (size_t)round) % 26), len);
            assert_true(secret_init(&all[i], view_of(text, len)));
            assert_true(all[i].mapped_bytes > len);
            for (size_t at = len; at < all[i].mapped_bytes; at++)
                assert_int_equal(all[i].data[at], 0);
        }
        for (size_t i = 0; i < SECRETS; i++) {
            memset(text, 'a' + (int)((i + (size_t)round) % 26), all[i].len);
            assert_int_equal(all[i].len, i * 7919 % LONGEST);
            assert_true(secret_eq(secret_view(&all[i]), view_of(text, all[i].len)));
        }
        for (size_t i = 0; i < SECRETS; i++)
            secret_clear(&all[(i * 101) % SECRETS]);
        assert_null(all[0].data);
    }
}

static void secrets_compare_and_clear(void **state)
{
    struct secret s;
    (void)state;
    assert_true(secret_init(&s, VIEW("hunter2")));
    assert_true(secret_eq(secret_view(&s), VIEW("hunter2")));
    assert_false(secret_eq(secret_view(&s), VIEW("hunter3")));
    assert_false(secret_eq(secret_view(&s), VIEW("hunter22")));
    secret_clear(&s);
    assert_null(s.data);
}

static void times_are_written_in_utc(void **state)
{
    char text[TIME_TEXT_BYTES], amz[17];
    (void)state;
    time_format(1667543171123456, text);
    assert_string_equal(text, "2022-11-04T06:26:11.123456Z");
    time_format_amz(1667543171123456, amz);
    assert_string_equal(amz, "20221104T062611Z");
}

static void the_nearest_name_is_found(void **state)
{
    const struct view known[] = {VIEW("proxy_listen"), VIEW("admin_listen"), VIEW("ssl_cert")};
    (void)state;
    assert_true(view_is(diag_nearest(VIEW("proxy_lisen"), known, 3), "proxy_listen"));
    assert_null(diag_nearest(VIEW("zebra"), known, 3).data);
}

static void lists_unlink_twice_without_harm(void **state)
{
    struct list l, a, b;
    (void)state;
    list_init(&l);
    list_init(&a);
    list_init(&b);
    list_push_back(&l, &a);
    list_push_front(&l, &b);
    assert_ptr_equal(list_pop_front(&l), &b);
    list_unlink(&b);
    list_unlink(&a);
    assert_true(list_is_empty(&l));
    assert_null(list_pop_front(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_stops_at_its_maximum),
        cmocka_unit_test(buffer_refuses_sizes_that_overflow),
        cmocka_unit_test(arena_has_a_maximum_and_runs_cleanups),
        cmocka_unit_test(map_keeps_what_is_put),
        cmocka_unit_test(views_parse_strictly),
        cmocka_unit_test(secrets_compare_and_clear),
        cmocka_unit_test(many_secrets_share_pages),
        cmocka_unit_test(times_are_written_in_utc),
        cmocka_unit_test(the_nearest_name_is_found),
        cmocka_unit_test(lists_unlink_twice_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
