#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include "base/metrics.h"

struct wanted {
    enum metric_family family;
    const char *last_label; /* NULL: the family has none */
    size_t seen;
    struct metric_reading found;
};

static void look(void *arg, const struct metric_reading *r)
{
    struct wanted *w = arg;
    if (r->family != w->family)
        return;
    if (w->last_label != NULL && !view_is(r->values[r->value_count - 1], w->last_label))
        return;
    w->seen++;
    w->found = *r;
}

static struct wanted find(struct metrics *m, enum metric_family family, const char *last_label)
{
    struct wanted w = {.family = family, .last_label = last_label};
    metrics_read(m, look, &w);
    return w;
}

static int64_t value_of(struct metrics *m, enum metric_family family, const char *last_label)
{
    struct wanted w = find(m, family, last_label);
    assert_int_equal(w.seen, 1);
    return w.found.value;
}

static void the_same_labels_give_the_same_series(void **state)
{
    struct metrics *m = metrics_new(2);
    struct view a[] = {VIEW("shop"), VIEW("ok")}, b[] = {VIEW("sho"), VIEW("pok")};
    (void)state;
    struct metric first = metrics_series(m, METRIC_LOGINS, a, 2);
    assert_int_not_equal(first.cell, 0);
    assert_int_equal(metrics_series(m, METRIC_LOGINS, a, 2).cell, first.cell);
    assert_int_not_equal(metrics_series(m, METRIC_LOGINS, b, 2).cell, first.cell);
    metric_add(metrics_shard(m, 0), first, 3);
    metric_add(metrics_shard(m, 1), first, 4);
    assert_int_equal(value_of(m, METRIC_LOGINS, "ok"), 7);
    assert_int_equal(value_of(m, METRIC_LOGINS, "pok"), 0);
    metrics_free(m);
}

static void a_gauge_goes_down_on_another_shard_than_it_went_up(void **state)
{
    struct metrics *m = metrics_new(2);
    (void)state;
    struct metric g = metrics_series(m, METRIC_CLIENT_CONNECTIONS, NULL, 0);
    metric_add(metrics_shard(m, 0), g, 2);
    metric_add(metrics_shard(m, 1), g, -3);
    assert_int_equal(value_of(m, METRIC_CLIENT_CONNECTIONS, NULL), -1);
    metrics_free(m);
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
    struct metrics *m = metrics_new(1);
    struct metrics_shard *s = metrics_shard(m, 0);
    struct view service[] = {VIEW("shop")};
    (void)state;
    struct metric h = metrics_series(m, METRIC_LOGIN_SECONDS, service, 1);
    metric_observe(s, h, -5);
    metric_observe(s, h, 100000);
    metric_observe(s, h, 100001);
    metric_observe(s, h, 10000000000);
    metric_observe(s, h, 10000000001);
    struct wanted w = find(m, METRIC_LOGIN_SECONDS, "shop");
    assert_int_equal(w.seen, 1);
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        uint64_t expected = i == 0 ? 2 : i == 1 || i >= METRIC_BUCKETS - 2 ? 1 : 0;
        assert_int_equal(w.found.buckets[i], expected);
    }
    assert_true(w.found.sum_ns == UINT64_C(20000200002));
    metrics_free(m);
}

static void the_zeroed_handle_discards(void **state)
{
    struct metrics *m = metrics_new(1);
    (void)state;
    struct metric first = metrics_series(m, METRIC_TOKEN_MINTS, NULL, 0);
    metric_add(metrics_shard(m, 0), (struct metric){0}, 1000);
    metric_observe(metrics_shard(m, 0), (struct metric){0}, 1);
    metric_observe(metrics_shard(m, 0), (struct metric){0}, INT64_MAX);
    assert_int_equal(metric_set_number(NULL, 200).cell, 0);
    assert_int_equal(metric_set_word(NULL, VIEW("x")).cell, 0);
    assert_int_equal(value_of(m, METRIC_TOKEN_MINTS, NULL), 0);
    metric_add(metrics_shard(m, 0), first, 1);
    assert_int_equal(value_of(m, METRIC_TOKEN_MINTS, NULL), 1);
    metrics_free(m);
}

static void a_set_keeps_numbers_and_words_apart(void **state)
{
    struct metrics *m = metrics_new(1);
    struct metrics_shard *s = metrics_shard(m, 0);
    struct view route[] = {VIEW("shop"), VIEW("order")}, deny[] = {VIEW("deny")};
    (void)state;
    struct metric_set *by_status = metrics_set(m, METRIC_REQUESTS, route, 2);
    assert_ptr_equal(metrics_set(m, METRIC_REQUESTS, route, 2), by_status);
    for (int i = 0; i < 3; i++)
        metric_add(s, metric_set_number(by_status, 200), 1);
    metric_add(s, metric_set_number(by_status, 0), 1);
    metric_add(s, metric_set_number(by_status, 404), 1);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "200"), 3);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "0"), 1);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "404"), 1);

    struct metric_set *by_reason = metrics_set(m, METRIC_DECISIONS, deny, 1);
    metric_add(s, metric_set_word(by_reason, VIEW("no_role")), 1);
    metric_add(s, metric_set_word(by_reason, VIEW("no_role")), 1);
    assert_int_equal(value_of(m, METRIC_DECISIONS, "no_role"), 2);
    metrics_free(m);
}

static void a_full_set_counts_the_rest_as_other(void **state)
{
    struct metrics *m = metrics_new(1);
    struct view route[] = {VIEW("shop"), VIEW("order")};
    (void)state;
    struct metric_set *set = metrics_set(m, METRIC_REQUESTS, route, 2);
    for (unsigned i = 0; i < METRIC_SET_SLOTS + 5; i++)
        metric_add(metrics_shard(m, 0), metric_set_number(set, 500 + i), 1);
    for (unsigned i = 0; i < METRIC_SET_SLOTS + 5; i++)
        metric_add(metrics_shard(m, 0), metric_set_number(set, 500 + i), 1);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "other"), 10);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "531"), 2);
    assert_int_equal(find(m, METRIC_REQUESTS, "532").seen, 0);
    metrics_free(m);
}

static void histograms_keep_together_across_chunks(void **state)
{
    enum { SERIES = 200 };
    struct metrics *m = metrics_new(1);
    struct metric made[SERIES];
    char name[16];
    (void)state;
    for (int i = 0; i < SERIES; i++) {
        struct view service[] = {view_of(name, (size_t)snprintf(name, sizeof name, "s%d", i))};
        made[i] = metrics_series(m, METRIC_LOGIN_SECONDS, service, 1);
        metrics_series(m, METRIC_POOL_WAITING, service, 1);
    }
    for (int i = 0; i < SERIES; i++) {
        for (int j = 0; j <= i; j++)
            metric_observe(metrics_shard(m, 0), made[i], INT64_C(1) << 40);
    }
    for (int i = 0; i < SERIES; i++) {
        snprintf(name, sizeof name, "s%d", i);
        struct wanted w = find(m, METRIC_LOGIN_SECONDS, name);
        assert_int_equal(w.seen, 1);
        assert_int_equal(w.found.buckets[METRIC_BUCKETS - 1], i + 1);
        assert_true(w.found.sum_ns == (uint64_t)(i + 1) << 40);
        assert_int_equal(value_of(m, METRIC_POOL_WAITING, name), 0);
    }
    metrics_free(m);
}

static void a_registry_without_room_discards_and_counts(void **state)
{
    struct metrics *m = metrics_new(1);
    char name[16];
    size_t refused = 0;
    (void)state;
    /* One histogram's cells are those of the handle that discards. */
    const int room = METRICS_CHUNK_CELLS / (METRIC_BUCKETS + 1) * METRICS_CHUNKS_MAX - 1;
    for (int i = 0; i < room + 10; i++) {
        struct view service[] = {view_of(name, (size_t)snprintf(name, sizeof name, "s%d", i))};
        if (metrics_series(m, METRIC_LOGIN_SECONDS, service, 1).cell == 0)
            refused++;
    }
    assert_int_equal(refused, 10);
    assert_int_equal(metrics_refused(m), 10);
    metrics_free(m);
}

static void long_values_are_cut_between_characters(void **state)
{
    struct metrics *m = metrics_new(1);
    char text[300];
    (void)state;
    memset(text, 'a', sizeof text);
    text[255] = '\xc3';
    text[256] = '\xa9';
    struct view issuer[] = {view_of(text, sizeof text)};
    metrics_series(m, METRIC_ISSUER_KEYS_AGE, issuer, 1);
    struct wanted w = find(m, METRIC_ISSUER_KEYS_AGE, NULL);
    assert_int_equal(w.seen, 1);
    assert_int_equal(w.found.values[0].len, 255);
    metrics_free(m);
}

struct writer {
    struct metrics *metrics;
    struct metrics_shard *shard;
    struct metric_set *set;
};

enum { WRITERS = 4, ROUNDS = 20000 };

static void *write_much(void *arg)
{
    struct writer *w = arg;
    struct view service[] = {VIEW("shop")};
    for (unsigned i = 0; i < ROUNDS; i++) {
        metric_add(w->shard, metric_set_number(w->set, 200 + i % 8), 1);
        if (i % 1000 == 0)
            metric_observe(w->shard, metrics_series(w->metrics, METRIC_LOGIN_SECONDS, service, 1),
                           i);
    }
    return NULL;
}

static void threads_lose_no_count(void **state)
{
    struct metrics *m = metrics_new(WRITERS);
    struct view route[] = {VIEW("shop"), VIEW("order")};
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    int64_t before = 0;
    (void)state;
    struct metric_set *set = metrics_set(m, METRIC_REQUESTS, route, 2);
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){m, metrics_shard(m, i), set};
        assert_int_equal(pthread_create(&threads[i], NULL, write_much, &writers[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        struct wanted w = find(m, METRIC_REQUESTS, "200");
        assert_true(w.found.value >= before);
        before = w.found.value;
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "200"), WRITERS * ROUNDS / 8);
    assert_int_equal(value_of(m, METRIC_REQUESTS, "207"), WRITERS * ROUNDS / 8);
    assert_int_equal(find(m, METRIC_REQUESTS, NULL).seen, 8);
    assert_int_equal(find(m, METRIC_LOGIN_SECONDS, "shop").found.buckets[0],
                     WRITERS * ROUNDS / 1000);
    metrics_free(m);
}

struct collected {
    struct metrics_output base;
    double sum;
};

static void take_sample(struct metrics_output *out, enum metric_family family,
                        const struct view *values, size_t count, double value)
{
    assert_int_equal(family, METRIC_POOL_WAITING);
    assert_int_equal(count, 1);
    assert_true(view_is(values[0], "shop"));
    ((struct collected *)out)->sum += value;
}

static void tell(void *arg, struct metrics_output *out)
{
    struct view service[] = {VIEW("shop")};
    out->sample(out, METRIC_POOL_WAITING, service, 1, *(double *)arg);
}

static void sources_are_asked_at_every_scrape(void **state)
{
    struct metrics *m = metrics_new(1);
    struct collected c = {.base = {take_sample}};
    double waiting = 2;
    (void)state;
    for (int i = 0; i < 16; i++)
        assert_true(metrics_add_source(m, tell, &waiting));
    assert_false(metrics_add_source(m, tell, &waiting));
    metrics_collect(m, &c.base);
    assert_true(c.sum == 32);
    waiting = 1;
    metrics_collect(m, &c.base);
    assert_true(c.sum == 48);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_labels_give_the_same_series),
        cmocka_unit_test(a_gauge_goes_down_on_another_shard_than_it_went_up),
        cmocka_unit_test(a_bound_belongs_to_its_own_bucket),
        cmocka_unit_test(the_zeroed_handle_discards),
        cmocka_unit_test(a_set_keeps_numbers_and_words_apart),
        cmocka_unit_test(a_full_set_counts_the_rest_as_other),
        cmocka_unit_test(histograms_keep_together_across_chunks),
        cmocka_unit_test(a_registry_without_room_discards_and_counts),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(threads_lose_no_count),
        cmocka_unit_test(sources_are_asked_at_every_scrape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
