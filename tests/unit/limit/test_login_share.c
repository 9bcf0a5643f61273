/*
 * Nodes that share a rate.  The property is tried on a world of up to eight nodes that come, end,
 * die and start anew by chance, whose every step takes its time: reading, writing, the commit, its
 * answer.  All of them log in as often as they may, and no second sees more than the maximum.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limit/login_pace.h"
#include "limit/login_share.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

enum { MS = 1000000, NODES = 8, ROWS = 40, PERIOD = LOGIN_PERIOD_MS };

/* ---- One node, step by step ---- */

static struct login_plan plan;

static void look(struct login_share *s, const struct login_row *rows, size_t count, int64_t ms)
{
    login_share_plan(s, rows, count, ms * MS, &plan);
}

static struct login_share *node(const char *id, int64_t max_rate)
{
    static struct login_share s;
    login_share_init(&s, id, max_rate, 0);
    return &s;
}

static void alone_it_takes_all_but_the_reserve(void **state)
{
    struct login_share *s = node("a", 200);
    struct login_row rows[] = {{.id = "a", .seen = 1}};
    (void)state;

    assert_int_equal(login_share_reserve(200), 10);
    assert_int_equal(login_share_reserve(10), 1);
    assert_int_equal(login_share_reserve(1), 0);
    assert_int_equal(login_share_assumed(200), 19);
    assert_int_equal(login_share_assumed(1), 1);
    look(s, rows, 1, 10);
    assert_true(plan.raise);
    assert_int_equal(plan.publish, 190);
    assert_int_equal(s->share, 0); /* not before it is committed */
    login_share_raised(s, 190, 20 * MS);
    assert_int_equal(s->share, 190);
    rows[0].share = 190;
    look(s, rows, 1, 1200);
    assert_false(plan.raise);
    assert_int_equal(plan.publish, 190);
    assert_int_equal(plan.due_ms, 1020);
    assert_int_equal(s->nodes, 1);
}

static void who_comes_waits_for_what_others_leave(void **state)
{
    struct login_share *s = node("b", 200);
    struct login_row rows[] = {{.id = "a", .share = 190, .seen = 1}, {.id = "b", .seen = 1}};
    (void)state;

    look(s, rows, 2, 10);
    assert_true(plan.raise);
    assert_int_equal(plan.publish, 10); /* the reserve */
    login_share_raised(s, 10, 10 * MS);
    rows[1].share = 10;
    look(s, rows, 2, 400);
    assert_false(plan.raise);
    assert_int_equal(plan.due_ms, 340); /* soon */
    rows[0].share = 95;
    look(s, rows, 2, 800);
    assert_true(plan.raise);
    assert_int_equal(plan.publish, 95);
}

static void a_lower_share_is_kept_to_at_once_and_written_a_period_later(void **state)
{
    struct login_share *s = node("a", 200);
    struct login_row rows[] = {{.id = "a", .share = 190, .seen = 1}, {.id = "b", .seen = 1},
                               {.id = "c", .seen = 1}};
    (void)state;

    look(s, rows, 1, 10); /* of an earlier process */
    assert_int_equal(s->share, 190);
    look(s, rows, 1, 1500);
    look(s, rows, 2, 2000);
    assert_int_equal(s->share, 95);
    assert_int_equal(plan.publish, 190);
    assert_int_equal(plan.due_ms, PERIOD + 1 < 1040 ? PERIOD + 1 : 1040);
    look(s, rows, 3, 2500); /* one more meanwhile: its wait is its own */
    assert_int_equal(s->share, 63);
    assert_int_equal(plan.publish, 190);
    look(s, rows, 3, 2000 + PERIOD - 1);
    assert_int_equal(plan.publish, 190);
    look(s, rows, 3, 2000 + PERIOD);
    assert_int_equal(plan.publish, 95);
    rows[0].share = 95;
    look(s, rows, 3, 2500 + PERIOD - 1);
    assert_int_equal(plan.publish, 95);
    look(s, rows, 3, 2500 + PERIOD);
    assert_int_equal(plan.publish, 63);
}

static void what_was_resumed_meanwhile_is_not_given_away(void **state)
{
    struct login_share *s = node("a", 200);
    struct login_row rows[] = {{.id = "a", .share = 190, .seen = 1}, {.id = "b", .seen = 1}};
    (void)state;

    look(s, rows, 1, 1500);
    look(s, rows, 1, 1501);
    look(s, rows, 2, 2000);
    assert_int_equal(s->share, 95);
    look(s, rows, 1, 2500); /* b has left: the row says 190 still */
    assert_int_equal(s->share, 190);
    look(s, rows, 2, 2600);
    assert_int_equal(s->share, 95);
    look(s, rows, 2, 2000 + PERIOD);
    assert_int_equal(plan.publish, 190);
    look(s, rows, 2, 2600 + PERIOD);
    assert_int_equal(plan.publish, 95);
}

static void who_is_not_renewed_is_gone_by_the_clock_of_who_looks(void **state)
{
    struct login_share *s = node("a", 200);
    struct login_row rows[] = {{.id = "a", .share = 95, .seen = 1},
                               {.id = "b", .share = 95, .seen = 7}};
    (void)state;

    look(s, rows, 2, 100);
    look(s, rows, 2, 100 + LOGIN_GONE_MS - 1);
    assert_int_equal(plan.gone_count, 0);
    assert_int_equal(s->nodes, 2);
    rows[1].seen = 8;
    look(s, rows, 2, 100 + LOGIN_GONE_MS);
    assert_int_equal(plan.gone_count, 0);
    /* The database was away: nobody could renew anything. */
    login_share_contact_lost(s);
    look(s, rows, 2, 1000 * 1000);
    assert_int_equal(plan.gone_count, 0);
    look(s, rows, 2, 1000 * 1000 + LOGIN_GONE_MS);
    assert_int_equal(plan.gone_count, 1);
    assert_int_equal(plan.gone[0], 1);
    assert_true(plan.raise);
    assert_int_equal(plan.publish, 190);
    assert_int_equal(s->nodes, 1);
    /* Who said so is gone at once. */
    rows[1].seen = 9;
    rows[1].left = true;
    look(s, rows, 2, 2000 * 1000);
    assert_int_equal(plan.gone_count, 1);
}

static void more_nodes_than_logins_take_turns(void **state)
{
    struct login_share *s = node("a", 2); /* one is kept */
    struct login_row rows[] = {{.id = "a", .since = 5, .seen = 1},
                               {.id = "b", .share = 1, .since = 1, .seen = 1},
                               {.id = "c", .since = 4, .seen = 1}};
    (void)state;

    look(s, rows, 3, 100);
    assert_false(plan.raise); /* b has it */
    rows[1].share = 0;
    rows[1].since = 9;
    look(s, rows, 3, 200);
    assert_false(plan.raise); /* c came before */
    rows[2].since = 6;
    look(s, rows, 3, 300);
    assert_true(plan.raise);
    assert_int_equal(plan.publish, 1);
    login_share_raised(s, 1, 300 * MS);
    rows[0].share = 1;
    rows[0].since = 10;
    look(s, rows, 3, 300 + LOGIN_TURN_MS - 1);
    assert_int_equal(s->share, 1);
    look(s, rows, 3, 300 + LOGIN_TURN_MS);
    assert_int_equal(s->share, 0);
    assert_int_equal(plan.publish, 1);
    look(s, rows, 3, 300 + LOGIN_TURN_MS + PERIOD);
    assert_int_equal(plan.publish, 0);
}

static void another_setting_elsewhere_is_no_licence(void **state)
{
    struct login_share *s = node("a", 10);
    struct login_row rows[] = {{.id = "a", .share = 4, .seen = 1},
                               {.id = "b", .share = 95, .seen = 1}};
    (void)state;

    look(s, rows, 2, 100);
    assert_int_equal(s->share, 0);
    assert_false(plan.raise);
}

static void with_too_many_nodes_nobody_raises(void **state)
{
    struct login_row *rows = calloc(LOGIN_NODES_MAX + 1, sizeof *rows);
    struct login_share *s = node("n0", 100000);
    (void)state;

    assert_non_null(rows);
    for (size_t i = 0; i <= LOGIN_NODES_MAX; i++)
        snprintf(rows[i].id, sizeof rows[i].id, "n%zu", i);
    look(s, rows, LOGIN_NODES_MAX, 100);
    assert_int_equal(plan.publish, 95);
    look(s, rows, LOGIN_NODES_MAX + 1, 200);
    assert_false(plan.raise);
    assert_int_equal(s->share, 0);
    free(rows);
}

/* ---- A world by chance ---- */

static uint64_t chance_state;

static uint64_t chance(uint64_t below)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (chance_state >> 33) % below;
}

/* A step takes some ms, now and then a second. */
static int64_t some_ms(void)
{
    return (int64_t)(chance(20) == 0 ? chance(1500) : chance(15));
}

enum step { DEAD, JOINING, READING, PLANNED, WRITING, LOCKED, COMMITTING };

struct actor {
    enum step step;
    int64_t until_ms;
    int64_t born_ms;
    struct login_share share;
    struct login_pace *pace;
    struct login_instance *instance;
    struct login_plan plan;
    int row; /* in the table, by which it is known; -1: none yet */
    struct login_row seen[ROWS];
    size_t seen_count;
    int64_t writes; /* the share that is on its way to the table */
};

struct world {
    int64_t max_rate;
    int64_t now_ms;
    struct login_row table[ROWS];
    bool there[ROWS];
    int64_t leaves_ms[ROWS]; /* 0: lives on */
    int64_t revision;
    int holder; /* of the lock; -1: nobody */
    int64_t away_until_ms;
    struct actor actors[NODES];
    int64_t *logins; /* the ms of each */
    size_t login_count, login_room;
    uint64_t refusals;
};

static void die(struct world *w, int i)
{
    struct actor *a = &w->actors[i];

    a->step = DEAD;
    /* The earliest restart is at once; some other day at the latest. */
    a->until_ms = w->now_ms + (int64_t)chance(chance(2) ? 400 : 40000);
    if (w->holder == i)
        w->holder = -1; /* the server rolls back */
    login_pace_free(a->pace);
    a->pace = NULL;
}

static bool is_known(const struct world *w, int row)
{
    for (int i = 0; i < NODES; i++) {
        if (w->actors[i].row == row)
            return true;
    }
    return false;
}

static void be_born(struct world *w, int i)
{
    struct actor *a = &w->actors[i];
    char id[LOGIN_ID_BYTES];

    if (a->row < 0 || chance(2) == 0) { /* of a new prefix; what the old one had stays behind */
        int free_row = 0;
        while (free_row < ROWS && (w->there[free_row] || is_known(w, free_row)))
            free_row++;
        a->row = free_row < ROWS ? free_row : a->row;
    }
    assert_true(a->row >= 0);
    snprintf(id, sizeof id, "%d", a->row);
    a->born_ms = w->now_ms;
    a->pace = login_pace_new();
    assert_non_null(a->pace);
    a->instance = login_pace_instance(a->pace, VIEW("db"), 5432);
    login_share_init(&a->share, id, w->max_rate, w->now_ms * MS);
    a->step = JOINING;
    a->until_ms = w->now_ms + some_ms();
}

static void grant(struct actor *a)
{
    login_pace_set(a->pace, a->share.share, LOGIN_PERIOD_MS);
}

static void read_table(struct world *w, struct actor *a)
{
    a->seen_count = 0;
    for (int k = 0; k < ROWS; k++) {
        if (!w->there[k])
            continue;
        a->seen[a->seen_count] = w->table[k];
        a->seen[a->seen_count++].left = w->leaves_ms[k] != 0 && w->leaves_ms[k] <= w->now_ms;
    }
}

static void delete_gone(struct world *w, struct actor *a)
{
    for (size_t g = 0; g < a->plan.gone_count; g++) {
        const struct login_row *row = &a->seen[a->plan.gone[g]];
        int k = (int)strtol(row->id, NULL, 10);
        if (w->there[k] && w->table[k].seen == row->seen)
            w->there[k] = false;
    }
}

static void lose_contact(struct world *w, int i)
{
    struct actor *a = &w->actors[i];

    login_share_contact_lost(&a->share);
    if (w->holder == i)
        w->holder = -1;
    a->step = JOINING;
    a->until_ms = w->away_until_ms + (int64_t)chance(3000);
}

static void write_own(struct world *w, int i, int64_t share)
{
    struct login_row *row = &w->table[w->actors[i].row];

    if (row->share != share)
        row->since = ++w->revision;
    row->share = share;
    row->seen = ++w->revision;
}

static void join(struct world *w, int i)
{
    struct actor *a = &w->actors[i];

    struct login_row *row = &w->table[a->row];

    if (!w->there[a->row]) {
        *row = (struct login_row){.since = ++w->revision};
        snprintf(row->id, sizeof row->id, "%d", a->row);
        w->there[a->row] = true;
    }
    w->leaves_ms[a->row] = 0;
    row->seen = ++w->revision;
    if (row->share > 0)
        login_pace_hold(a->pace, (a->born_ms + LOGIN_PERIOD_MS) * MS);
    a->step = READING;
}

/* One step of a node whose time has come; each is one moment at the database, or at the node. */
static void take_step(struct world *w, int i)
{
    struct actor *a = &w->actors[i];
    int64_t now = w->now_ms * MS;

    a->until_ms = w->now_ms + some_ms();
    switch (a->step) {
    case DEAD:
        be_born(w, i);
        break;
    case JOINING:
        join(w, i);
        break;
    case READING:
        read_table(w, a);
        a->step = PLANNED;
        break;
    case PLANNED: /* the answer came */
        login_share_plan(&a->share, a->seen, a->seen_count, now, &a->plan);
        grant(a);
        a->step = WRITING;
        break;
    case WRITING:
        if (!w->there[a->row]) {
            a->step = JOINING;
        } else if (!a->plan.raise) {
            delete_gone(w, a);
            write_own(w, i, a->plan.publish);
            a->step = READING;
            a->until_ms = w->now_ms + a->plan.due_ms + some_ms();
        } else if (w->holder < 0) {
            w->holder = i;
            read_table(w, a); /* for update: what others write waits, see below */
            a->step = LOCKED;
        }
        break;
    case LOCKED:
        login_share_plan(&a->share, a->seen, a->seen_count, now, &a->plan);
        grant(a);
        delete_gone(w, a);
        write_own(w, i, a->plan.publish);
        w->holder = -1;
        a->writes = a->plan.publish;
        a->step = COMMITTING;
        break;
    case COMMITTING: /* the answer came */
        if (a->plan.raise)
            login_share_raised(&a->share, a->writes, now);
        grant(a);
        a->step = READING;
        a->until_ms = w->now_ms + a->plan.due_ms + some_ms();
        break;
    }
}

static bool writes_rows(enum step step)
{
    return step == JOINING || step == WRITING;
}

static void live(struct world *w, int i)
{
    struct actor *a = &w->actors[i];

    if (a->step != DEAD && chance(60000) == 0) {
        die(w, i);
    } else if (a->step != DEAD && chance(60000) == 0 && w->there[a->row] &&
               w->holder != i && w->now_ms >= w->away_until_ms) {
        w->leaves_ms[a->row] = w->now_ms + LOGIN_PERIOD_MS; /* graceful */
        die(w, i);
    } else if (a->step != DEAD && w->now_ms < w->away_until_ms) {
        if (a->step != JOINING)
            lose_contact(w, i);
    } else if (w->now_ms >= a->until_ms) {
        /* Rows that were read for update are held until the commit. */
        if (w->holder >= 0 && w->holder != i && writes_rows(a->step))
            return;
        take_step(w, i);
    }
}

static void log_in(struct world *w, struct actor *a)
{
    if (a->pace == NULL)
        return;
    if (login_pace_take(a->pace, a->instance, w->now_ms * MS) != 0) {
        w->refusals++;
        return;
    }
    if (w->login_count == w->login_room) {
        w->login_room = w->login_room * 2 + 1024;
        w->logins = realloc(w->logins, w->login_room * sizeof *w->logins);
        assert_non_null(w->logins);
    }
    w->logins[w->login_count++] = w->now_ms;
}

static size_t most_in_a_second(const struct world *w)
{
    size_t most = 0, from = 0;

    for (size_t to = 0; to < w->login_count; to++) {
        while (w->logins[from] <= w->logins[to] - 1000)
            from++;
        if (to - from + 1 > most)
            most = to - from + 1;
    }
    return most;
}

static int64_t published(const struct world *w)
{
    int64_t sum = 0;

    for (int k = 0; k < ROWS; k++)
        sum += w->there[k] ? w->table[k].share : 0;
    return sum;
}

static size_t run_world(int64_t max_rate, uint64_t seed, int64_t seconds, size_t *logins)
{
    static struct world world;
    struct world *w = &world;

    *w = (struct world){.max_rate = max_rate, .holder = -1, .now_ms = 1};
    chance_state = seed;
    for (int i = 0; i < NODES; i++) {
        w->actors[i].until_ms = (int64_t)chance(20000);
        w->actors[i].row = -1;
    }
    for (; w->now_ms < seconds * 1000; w->now_ms++) {
        if (w->now_ms >= w->away_until_ms && chance(120000) == 0)
            w->away_until_ms = w->now_ms + (int64_t)chance(60000);
        for (int i = 0; i < NODES; i++)
            live(w, i);
        for (int i = 0; i < NODES; i++)
            log_in(w, &w->actors[i]);
        assert_true(published(w) <= max_rate);
    }
    size_t most = most_in_a_second(w);
    *logins = w->login_count;
    for (int i = 0; i < NODES; i++)
        login_pace_free(w->actors[i].pace);
    free(w->logins);
    return most;
}

static void no_second_sees_more_than_the_maximum(void **state)
{
    enum { SECONDS = 1200 };
    static const int64_t rates[] = {1, 2, 3, 5, 10, 37, 200};
    size_t logins;
    (void)state;

    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            size_t most = run_world(rates[r], seed * 7919, SECONDS, &logins);
            if (most > (size_t)rates[r])
                print_error("rate %lld, seed %llu: %zu\n", (long long)rates[r],
                            (unsigned long long)seed, most);
            assert_true(most <= (size_t)rates[r]);
            /* And it is used: less than half of it on the average would be a poor share. */
            if (rates[r] >= 10)
                assert_true((int64_t)logins >= rates[r] * SECONDS * 4 / 10);
            else
                assert_true(logins > 60);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_takes_all_but_the_reserve),
        cmocka_unit_test(who_comes_waits_for_what_others_leave),
        cmocka_unit_test(a_lower_share_is_kept_to_at_once_and_written_a_period_later),
        cmocka_unit_test(what_was_resumed_meanwhile_is_not_given_away),
        cmocka_unit_test(who_is_not_renewed_is_gone_by_the_clock_of_who_looks),
        cmocka_unit_test(more_nodes_than_logins_take_turns),
        cmocka_unit_test(another_setting_elsewhere_is_no_licence),
        cmocka_unit_test(with_too_many_nodes_nobody_raises),
        cmocka_unit_test(no_second_sees_more_than_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
