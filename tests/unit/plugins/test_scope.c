/* Which plugin of a name runs: Kong's table of precedence, each row against all below it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "plugins/scope.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static const struct service shop = {.name = VIEW("shop")}, other_service = {.name = VIEW("x")};
static const struct route order = {.name = VIEW("order"), .service = &shop},
                          other_route = {.name = VIEW("x"), .service = &shop};
static const struct consumer ann = {.username = VIEW("ann")}, bea = {.username = VIEW("bea")};

static struct plugin plugin(enum plugin_kind kind, const struct consumer *consumer,
                            const struct route *route, const struct service *service)
{
    return (struct plugin){.kind = kind, .enabled = true, .consumer = consumer, .route = route,
                           .service = service};
}

static const struct plugin *chosen(const struct plugin *plugins, size_t count,
                                   const struct consumer *consumer)
{
    struct plugin_index index;
    struct plugin_chain chain;

    plugin_index_init(&index);
    assert_false(failed(plugin_index_fill(&index, plugins, count)));
    plugin_chain_find(&index, &shop, &order, consumer, &chain);
    const struct plugin *first = chain.count > 0 ? chain.items[0] : NULL;
    plugin_index_clear(&index);
    return first;
}

static void the_most_specific_one_runs(void **state)
{
    const enum plugin_kind k = PLUGIN_RATE_LIMITING;
    /* Consumer and route and service, …, global: as in Kong's documentation of precedence. */
    struct plugin rows[] = {
        plugin(k, &ann, &order, &shop), plugin(k, &ann, &order, NULL),
        plugin(k, &ann, NULL, &shop),   plugin(k, NULL, &order, &shop),
        plugin(k, &ann, NULL, NULL),    plugin(k, NULL, &order, NULL),
        plugin(k, NULL, NULL, &shop),   plugin(k, NULL, NULL, NULL),
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_ptr_equal(chosen(&rows[i], COUNT_OF(rows) - i, &ann), &rows[i]);
        /* One that is not enabled leaves its place to the next. */
        rows[i].enabled = false;
        assert_ptr_equal(chosen(rows, COUNT_OF(rows), &ann),
                         i + 1 < COUNT_OF(rows) ? &rows[i + 1] : NULL);
    }
}

static void what_is_for_others_does_not_run(void **state)
{
    const enum plugin_kind k = PLUGIN_IP_RESTRICTION;
    const struct plugin others[] = {
        plugin(k, &bea, NULL, NULL),          plugin(k, &bea, &order, &shop),
        plugin(k, NULL, &other_route, NULL),  plugin(k, NULL, NULL, &other_service),
        plugin(k, &ann, &other_route, NULL),  plugin(k, &ann, NULL, &other_service),
        plugin(k, &ann, &order, &other_service),
    };

    (void)state;
    assert_null(chosen(others, COUNT_OF(others), &ann));
    assert_null(chosen(others, COUNT_OF(others), NULL));
    assert_ptr_equal(chosen(others, COUNT_OF(others), &bea), &others[1]);
    assert_null(chosen(NULL, 0, &ann));
}

static void they_run_by_kongs_priority(void **state)
{
    const struct plugin all[] = {
        plugin(PLUGIN_REQUEST_TERMINATION, NULL, NULL, NULL),
        plugin(PLUGIN_RATE_LIMITING, &ann, NULL, NULL),
        plugin(PLUGIN_REQUEST_SIZE_LIMITING, NULL, NULL, &shop),
        plugin(PLUGIN_IP_RESTRICTION, NULL, &order, NULL),
        plugin(PLUGIN_RATE_LIMITING, NULL, &order, NULL),
    };
    struct plugin_index index;
    struct plugin_chain chain;

    (void)state;
    plugin_index_init(&index);
    assert_false(failed(plugin_index_fill(&index, all, COUNT_OF(all))));
    plugin_chain_find(&index, &shop, &order, &ann, &chain);
    assert_int_equal(chain.count, 4);
    assert_ptr_equal(chain.items[0], &all[3]);
    assert_ptr_equal(chain.items[1], &all[2]);
    assert_ptr_equal(chain.items[2], &all[1]);
    assert_ptr_equal(chain.items[3], &all[0]);
    plugin_chain_find(&index, &shop, &order, &bea, &chain);
    assert_ptr_equal(chain.items[2], &all[4]);
    plugin_chain_find(&index, &shop, &other_route, NULL, &chain);
    assert_int_equal(chain.count, 2);
    assert_true(plugin_index_knows(&index, &ann));
    assert_false(plugin_index_knows(&index, &bea));
    assert_false(plugin_index_knows(&index, NULL));
    plugin_index_clear(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_specific_one_runs),
        cmocka_unit_test(what_is_for_others_does_not_run),
        cmocka_unit_test(they_run_by_kongs_priority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
