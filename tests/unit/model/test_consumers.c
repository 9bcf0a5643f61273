/* Whom a reference and a claim name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "model/consumers.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define ID_1 VIEW("00000000-0000-0000-0000-000000000001")
#define ID_2 VIEW("00000000-0000-0000-0000-000000000002")
#define ID_3 VIEW("00000000-0000-0000-0000-000000000003")

/* The third is called as the second's custom_id; the fourth bears the first's id for a name. */
static const struct consumer four[] = {
    {.meta = {.id = ID_1}, .username = VIEW("ann"), .custom_id = VIEW("u-1")},
    {.meta = {.id = ID_2}, .custom_id = VIEW("both")},
    {.meta = {.id = ID_3}, .username = VIEW("both")},
    {.meta = {.id = VIEW("00000000-0000-0000-0000-000000000004")}, .username = ID_1},
};
static struct consumer_index found;

static int set_up(void **state)
{
    (void)state;
    consumer_index_init(&found);
    return consumer_index_fill(&found, four, COUNT_OF(four)) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    consumer_index_clear(&found);
    return 0;
}

static void a_reference_is_an_id_or_else_a_username(void **state)
{
    (void)state;
    assert_ptr_equal(consumer_by_reference(&found, VIEW("ann")), &four[0]);
    assert_ptr_equal(consumer_by_reference(&found, VIEW("both")), &four[2]);
    assert_ptr_equal(consumer_by_reference(&found, ID_2), &four[1]);
    assert_ptr_equal(consumer_by_reference(&found, ID_1), &four[0]);
    assert_null(consumer_by_reference(&found, VIEW("u-1")));
    assert_null(consumer_by_reference(&found, VIEW("Ann")));
    assert_null(consumer_by_reference(&found, VIEW("")));
}

static struct issuer issuer_by(const struct view *fields, size_t count)
{
    return (struct issuer){.consumer_claim = VIEW("sub"), .consumer_by = {fields, count}};
}

static void a_claim_is_looked_for_in_the_fields_in_turn(void **state)
{
    static const struct view names[] = {VIEW("username"), VIEW("custom_id")};
    static const struct view customs[] = {VIEW("custom_id"), VIEW("username")};
    static const struct view ids[] = {VIEW("id")};
    struct issuer by_name = issuer_by(names, 2), by_custom = issuer_by(customs, 2);
    struct issuer by_name_only = issuer_by(names, 1), by_id = issuer_by(ids, 1);
    struct issuer without = by_name;

    (void)state;
    assert_ptr_equal(consumer_by_claim(&found, &by_name, VIEW("both")), &four[2]);
    assert_ptr_equal(consumer_by_claim(&found, &by_custom, VIEW("both")), &four[1]);
    assert_ptr_equal(consumer_by_claim(&found, &by_name, VIEW("u-1")), &four[0]);
    assert_null(consumer_by_claim(&found, &by_name_only, VIEW("u-1")));
    assert_ptr_equal(consumer_by_claim(&found, &by_id, ID_3), &four[2]);
    assert_null(consumer_by_claim(&found, &by_id, VIEW("ann")));
    assert_ptr_equal(consumer_by_claim(&found, &by_name, ID_1), &four[3]);
    assert_null(consumer_by_claim(&found, &by_name, (struct view){NULL, 0}));
    /* An issuer that does not ask for it names nobody. */
    without.consumer_claim = (struct view){NULL, 0};
    assert_null(consumer_by_claim(&found, &without, VIEW("ann")));
}

static void ten_thousand_are_each_found(void **state)
{
    enum { COUNT = 10000 };
    static const struct view names[] = {VIEW("username")};
    struct issuer issuer = issuer_by(names, 1);
    struct consumer_index index;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 16, 1 << 24);
    struct consumer *many = ARENA_ARRAY(&arena, COUNT, struct consumer);
    assert_non_null(many);
    for (size_t i = 0; i < COUNT; i++) {
        many[i].meta.id = arena_printf(&arena, "id-%zu", i);
        many[i].username = arena_printf(&arena, "u-%zu", i);
    }
    consumer_index_init(&index);
    assert_true(consumer_index_fill(&index, many, COUNT));
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(consumer_by_claim(&index, &issuer, many[i].username), &many[i]);
    assert_null(consumer_by_claim(&index, &issuer, VIEW("u-10000")));
    consumer_index_clear(&index);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_is_an_id_or_else_a_username),
        cmocka_unit_test(a_claim_is_looked_for_in_the_fields_in_turn),
        cmocka_unit_test(ten_thousand_are_each_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
