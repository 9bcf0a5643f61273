/*
 * The step machine against a small world: a secret's labels and values, and a database's passwords.
 * Every run of it may be cut at any point, and two runs may be mixed in any order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "aws/rotation.h"
#include "base/attr.h"

#include <cmocka.h>

enum { VERSIONS = 12, RUNS = 3, TURNS = 60 };

/* Version i holds the password i; ids are "v1", "v2"…; 0 is none. */
struct world {
    bool alternating;
    int user_of[VERSIONS]; /* which of the two users version i is for */
    bool has_value[VERSIONS];
    int count;
    int current, pending, previous;
    int password[2]; /* the version whose password the user has */
    int lock;        /* the run that holds it; 0: nobody */
    int rotations;
    bool master_works;
};

struct run {
    int id; /* 0: not started, or over */
    struct rotation_machine m;
    enum rotation_action last;
    bool over;
};

static void id_of(int version, char out[8])
{
    snprintf(out, 8, "v%d", version);
}

static int version_of(const char *id)
{
    int n = 0;
    for (const char *at = id + 1; id[0] != '\0' && *at != '\0'; at++)
        n = n * 10 + (*at - '0');
    return n;
}

static void look(const struct world *w, struct rotation_machine *m)
{
    static const char *const names[] = {"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"};
    const int where[] = {w->current, w->pending, w->previous};
    struct sm_version versions[VERSIONS] = {0};
    char ids[VERSIONS][8];
    size_t count = 0;

    for (int v = 1; v <= w->count; v++) {
        struct sm_version *out = &versions[count];
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            if (where[i] == v)
                out->stages[out->stage_count++] = view_str(names[i]);
        }
        id_of(v, ids[count]);
        out->id = view_str(ids[count]);
        count += out->stage_count > 0;
    }
    const struct sm_answer answer = {.versions = versions, .version_count = count};
    assert_false(failed(rotation_saw(m, &answer)));
}

static enum rotation_answer yes_if(bool b)
{
    return b ? ROTATION_YES : ROTATION_NO;
}

static bool lets_in(const struct world *w, int version)
{
    return version != 0 && w->password[w->user_of[version]] == version;
}

static void put(struct world *w, struct rotation_machine *m)
{
    int v = m->pending[0] != '\0' ? version_of(m->pending) : ++w->count;
    char id[8];

    assert_true(v < VERSIONS);
    w->has_value[v] = true;
    w->user_of[v] = w->alternating ? 1 - w->user_of[w->current] : w->user_of[w->current];
    w->pending = v;
    id_of(v, id);
    rotation_created(m, view_str(id));
}

static void finish(struct world *w, struct rotation_machine *m)
{
    /* Secrets Manager refuses to move AWSCURRENT from where it is not. */
    assert_int_equal(version_of(m->current), w->current);
    w->previous = w->current;
    w->current = version_of(m->pending);
    w->rotations++;
    m->finished = true;
}

/* Does what the machine says; false when it is over, or waits for the lock. */
static bool step(struct world *w, struct run *r)
{
    struct rotation_machine *m = &r->m;

    r->last = rotation_next(m);
    switch (r->last) {
    case ROTATION_LOOK:
        look(w, m);
        return true;
    case ROTATION_READ_CURRENT:
        m->current_value = yes_if(w->has_value[version_of(m->current)]);
        return true;
    case ROTATION_READ_PENDING:
        m->pending_value = yes_if(w->has_value[version_of(m->pending)]);
        return true;
    case ROTATION_READ_PREVIOUS:
        m->previous_value = yes_if(w->has_value[version_of(m->previous)]);
        return true;
    case ROTATION_LOGIN_PENDING:
        m->pending_login = yes_if(lets_in(w, version_of(m->pending)));
        return true;
    case ROTATION_LOGIN_CURRENT:
        m->current_login = yes_if(lets_in(w, version_of(m->current)));
        return true;
    case ROTATION_LOGIN_PREVIOUS:
        m->previous_login = yes_if(lets_in(w, version_of(m->previous)));
        return true;
    case ROTATION_LOGIN_MASTER:
        m->master_login = yes_if(w->master_works);
        return true;
    case ROTATION_LOCK:
        if (w->lock != 0 && w->lock != r->id)
            return false;
        w->lock = r->id;
        rotation_locked(m);
        return true;
    case ROTATION_CREATE:
        assert_int_equal(w->lock, r->id);
        put(w, m);
        return true;
    case ROTATION_SET:
        assert_int_equal(w->lock, r->id);
        w->password[w->user_of[version_of(m->pending)]] = version_of(m->pending);
        m->set = true;
        return true;
    case ROTATION_TEST:
        m->tested = yes_if(lets_in(w, version_of(m->pending)));
        return true;
    case ROTATION_FINISH:
        assert_int_equal(w->lock, r->id);
        finish(w, m);
        return true;
    case ROTATION_DONE:
    case ROTATION_ELSEWHERE:
    case ROTATION_REFUSED:
        break;
    }
    r->over = true;
    if (w->lock == r->id)
        w->lock = 0;
    return false;
}

static struct world fresh_world(bool alternating)
{
    return (struct world){.alternating = alternating,
                          .has_value = {[1] = true},
                          .count = 1,
                          .current = 1,
                          .password = {1, 0},
                          .master_works = true};
}

static void start(struct run *r, const struct world *w, int id)
{
    *r = (struct run){.id = id, .m = {.alternating = w->alternating}};
}

/* At most so many steps, then it is killed: its lock goes with its session. */
static int run_for(struct world *w, int id, int steps, enum rotation_action *last)
{
    struct run r;
    int n = 0;

    start(&r, w, id);
    while (n < steps && step(w, &r))
        n++;
    if (w->lock == id)
        w->lock = 0;
    *last = r.over ? r.last : ROTATION_LOOK;
    return n;
}

static void assert_sound(const struct world *w)
{
    assert_true(lets_in(w, w->current));
    assert_int_equal(w->lock, 0);
    assert_true(w->previous != w->current);
    if (w->alternating && w->previous != 0)
        assert_true(lets_in(w, w->previous)); /* who still uses it is let in */
}

static void test_a_rotation_takes_the_four_steps(void **state)
{
    static const enum rotation_action single[] = {
        ROTATION_LOOK, ROTATION_READ_CURRENT, ROTATION_LOGIN_CURRENT, ROTATION_LOCK, ROTATION_LOOK,
        ROTATION_CREATE, ROTATION_SET, ROTATION_TEST, ROTATION_FINISH, ROTATION_DONE};
    static const enum rotation_action alternating[] = {
        ROTATION_LOOK, ROTATION_READ_CURRENT, ROTATION_LOGIN_CURRENT, ROTATION_LOGIN_MASTER,
        ROTATION_LOCK, ROTATION_LOOK, ROTATION_CREATE, ROTATION_SET, ROTATION_TEST,
        ROTATION_FINISH, ROTATION_DONE};

    (void)state;
    for (int n = 0; n < 2; n++) {
        struct world w = fresh_world(n == 1);
        struct run r;
        start(&r, &w, 1);
        for (size_t i = 0; i < COUNT_OF(single) + (size_t)n; i++) {
            (void)step(&w, &r);
            assert_int_equal(r.last, n == 1 ? alternating[i] : single[i]);
        }
        assert_int_equal(w.current, 2);
        assert_int_equal(w.previous, 1);
        assert_int_equal(w.password[n], 2);
        assert_sound(&w);
    }
}

/* Killed after any number of steps, killed again after any number, then left to end. */
static void test_a_run_cut_anywhere_is_ended_by_the_next(void **state)
{
    enum rotation_action last;

    (void)state;
    for (int n = 0; n < 2; n++) {
        for (int first = 0; first < 16; first++) {
            for (int second = 0; second < 16; second++) {
                struct world w = fresh_world(n == 1);
                run_for(&w, 1, first, &last);
                run_for(&w, 2, second, &last);
                /* One of the database's passwords is in the secret all the time. */
                assert_true(lets_in(&w, w.current) || lets_in(&w, w.pending));
                int before = w.rotations;
                run_for(&w, 3, TURNS, &last);
                assert_int_equal(last, ROTATION_DONE);
                assert_int_equal(w.rotations, before + 1);
                assert_int_equal(w.count, w.rotations + 1); /* no version was made in vain */
                assert_sound(&w);
            }
        }
    }
}

/* Two runs: `order` says by its bits whose turn it is; who waits for the lock loses the turn. */
static void mix(bool alternating, unsigned order, int killed_after)
{
    struct world w = fresh_world(alternating);
    struct run runs[2];

    start(&runs[0], &w, 1);
    start(&runs[1], &w, 2);
    for (int turn = 0; turn < TURNS && !(runs[0].over && runs[1].over); turn++) {
        struct run *r = &runs[turn < 20 ? (order >> turn) & 1 : turn & 1];
        if (turn == killed_after && !runs[0].over) {
            runs[0].over = true;
            if (w.lock == runs[0].id)
                w.lock = 0;
        }
        if (!r->over)
            (void)step(&w, r);
    }
    assert_true(runs[0].over && runs[1].over);
    assert_true(runs[1].last == ROTATION_DONE || runs[1].last == ROTATION_ELSEWHERE);
    /* One that was killed after the other had ended may have left a version of its own. */
    int left = w.pending != 0 && w.pending != w.current;
    assert_int_equal(w.count, w.rotations + 1 + left);
    assert_true(lets_in(&w, w.current) || (left && lets_in(&w, w.pending)));
    if (!left)
        assert_sound(&w);
}

static void test_two_runs_in_any_order_leave_one_truth(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 1u << 18; order += 3) {
        mix(false, order, -1);
        mix(true, order, -1);
    }
    for (unsigned order = 0; order < 1u << 18; order += 61) {
        for (int killed = 0; killed < 20; killed++) {
            mix(false, order, killed);
            mix(true, order, killed);
        }
    }
}

static void test_a_label_without_a_value_gets_its_value(void **state)
{
    struct world w = fresh_world(false);
    enum rotation_action last;

    (void)state;
    w.count = w.pending = 2;
    run_for(&w, 1, TURNS, &last);
    assert_int_equal(last, ROTATION_DONE);
    assert_int_equal(w.current, 2);
    assert_int_equal(w.count, 2);
    assert_sound(&w);
}

static void test_the_previous_password_is_the_last_that_is_tried(void **state)
{
    struct world w = fresh_world(false);
    enum rotation_action last;
    struct run r;

    (void)state;
    run_for(&w, 1, TURNS, &last);
    w.password[0] = w.previous; /* a database restored from before */
    run_for(&w, 2, TURNS, &last);
    assert_int_equal(last, ROTATION_DONE);
    assert_sound(&w);
    w.password[0] = 99;
    start(&r, &w, 3);
    while (step(&w, &r))
        continue;
    assert_int_equal(r.last, ROTATION_REFUSED);
    assert_ptr_equal(r.m.fault, &rotation_no_login);
}

static const struct fault *refusal(struct world *w)
{
    struct run r;

    start(&r, w, 1);
    while (step(w, &r))
        continue;
    assert_int_equal(r.last, ROTATION_REFUSED);
    assert_int_equal(w->rotations, 0);
    assert_int_equal(w->count, 1);
    return r.m.fault;
}

static void test_refusals_come_before_anything_is_written(void **state)
{
    struct world w = fresh_world(true);

    (void)state;
    w.master_works = false;
    assert_ptr_equal(refusal(&w), &rotation_master_refused);
    w = fresh_world(true);
    w.password[0] = 99;
    assert_ptr_equal(refusal(&w), &rotation_current_refused);
    w = fresh_world(false);
    w.has_value[1] = false;
    assert_ptr_equal(refusal(&w), &rotation_no_value);
    w = fresh_world(false);
    w.current = 0;
    assert_ptr_equal(refusal(&w), &rotation_no_value);
}

static void test_secrets_of_others_are_not_ours_to_rotate(void **state)
{
    static const struct {
        struct sm_answer answer;
        const struct fault *fault;
    } rows[] = {
        {{.deleted_s = 1}, &rotation_deleted},
        {{.owning_service = {"rds", 3}}, &rotation_managed},
        {{.owning_service = {"rds", 3}, .rotation_enabled = true}, &rotation_managed},
        {{.rotation_enabled = true}, &rotation_by_other},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rotation_machine m = {0};
        assert_ptr_equal(rotation_saw(&m, &rows[i].answer).fault, rows[i].fault);
        assert_false(m.looked);
    }
}

static void test_a_password_that_does_not_serve_is_not_made_current(void **state)
{
    struct world w = fresh_world(false);
    struct run r;

    (void)state;
    start(&r, &w, 1);
    while (rotation_next(&r.m) != ROTATION_TEST)
        assert_true(step(&w, &r));
    w.password[0] = 99;
    while (step(&w, &r))
        continue;
    assert_int_equal(r.last, ROTATION_REFUSED);
    assert_ptr_equal(r.m.fault, &rotation_test_failed);
    assert_int_equal(w.current, 1);
}

/* ---- The secret ---- */

static void test_logins_are_read_from_rds_format(void **state)
{
    struct arena arena;
    struct rotation_login l;

    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    assert_false(failed(rotation_login_read(
        VIEW("{\"engine\":\"postgres\",\"host\":\"db.example\",\"username\":\"app\","
             "\"password\":\"p\\\"w\",\"dbname\":\"shop\",\"port\":\"6543\",\"masterarn\":\"m\"}"),
        &arena, &l)));
    assert_true(view_is(l.host, "db.example") && view_is(l.username, "app"));
    assert_true(view_is(l.password, "p\"w") && view_is(l.dbname, "shop"));
    assert_true(view_is(l.master_arn, "m"));
    assert_int_equal(l.port, 6543);
    assert_false(failed(rotation_login_read(
        VIEW("{\"engine\":\"postgres\",\"host\":\"::1\",\"username\":\"a\",\"password\":\"p\"}"),
        &arena, &l)));
    assert_true(view_is(l.dbname, "postgres"));
    assert_int_equal(l.port, 5432);
    assert_null(l.master_arn.data);
    arena_clear(&arena);
}

static void test_what_cannot_be_used_is_refused(void **state)
{
#define GOOD "\"engine\":\"postgres\",\"host\":\"h\",\"username\":\"u\",\"password\":\"p\""
    static const struct {
        const char *text;
        const struct fault *fault;
    } rows[] = {
        {"", &rotation_not_json},
        {"a plain password", &rotation_not_json},
        {"[" "]", &rotation_not_json},
        {"{" GOOD ",\"host\":\"h2\"}", &rotation_not_json},
        {"{}", &rotation_engine},
        {"{\"engine\":\"mysql\"}", &rotation_engine},
        {"{\"engine\":\"postgres\"}", &rotation_bad_field},
        {"{" GOOD ",\"port\":0}", &rotation_bad_field},
        {"{" GOOD ",\"port\":65536}", &rotation_bad_field},
        {"{" GOOD ",\"port\":1.5}", &rotation_bad_field},
        {"{" GOOD ",\"port\":[]}", &rotation_bad_field},
        {"{" GOOD ",\"dbname\":\"\"}", &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"a,b\",\"username\":\"u\",\"password\":\"p\"}",
         &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"/s\",\"username\":\"u\",\"password\":\"p\"}",
         &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"h\",\"username\":\"\",\"password\":\"p\"}",
         &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"h\",\"username\":\"u\",\"password\":\"\"}",
         &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"h\",\"username\":\"u\",\"password\":\"a\\u0000\"}",
         &rotation_bad_field},
        {"{\"engine\":\"postgres\",\"host\":\"h\",\"username\":1,\"password\":\"p\"}",
         &rotation_bad_field},
    };
    struct arena arena;
    struct rotation_login l;

    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_ptr_equal(rotation_login_read(view_str(rows[i].text), &arena, &l).fault,
                         rows[i].fault);
    arena_clear(&arena);
}

static void test_a_pair_of_names_leads_to_and_fro(void **state)
{
    static const char longest[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcde";
    struct arena arena;
    struct view other;

    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    assert_false(failed(rotation_other_name(VIEW("app"), &arena, &other)));
    assert_true(view_is(other, "app_clone"));
    assert_false(failed(rotation_other_name(VIEW("app_clone"), &arena, &other)));
    assert_true(view_is(other, "app"));
    assert_false(failed(rotation_other_name(VIEW("_clone"), &arena, &other)));
    assert_true(view_is(other, "_clone_clone"));
    assert_int_equal(sizeof longest - 1, 57);
    assert_false(failed(rotation_other_name(view_str(longest), &arena, &other)));
    assert_int_equal(other.len, ROTATION_NAME_MAX);
    char more[59];
    snprintf(more, sizeof more, "%sf", longest);
    assert_ptr_equal(rotation_other_name(view_str(more), &arena, &other).fault,
                     &rotation_name_too_long);
    arena_clear(&arena);
}

static void test_a_new_secret_keeps_all_but_user_and_password(void **state)
{
    struct arena arena;
    struct buf out;

    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    buf_init(&out, 4096);
    assert_false(failed(rotation_add_secret(
        VIEW("{ \"a\" : [1, 2.50], \"username\":\"u\", \"n\\n\": null, \"password\":\"old\" }"),
        VIEW("u\"2"), VIEW("new"), &arena, &out)));
    buf_add_char(&out, '\0');
    assert_string_equal(
        out.data, "{\"a\":[1, 2.50],\"username\":\"u\\\"2\",\"n\\n\":null,\"password\":\"new\"}");
    buf_clear(&out);
    buf_init(&out, 10);
    assert_ptr_equal(rotation_add_secret(VIEW("{\"username\":\"u\"}"), VIEW("u"), VIEW("p"), &arena,
                                         &out)
                         .fault,
                     &fault_too_large);
    buf_clear(&out);
    arena_clear(&arena);
}

static void test_a_pending_version_must_follow_the_current(void **state)
{
    const struct rotation_login current = {VIEW("h"), 1, VIEW("app"), VIEW("p"), VIEW("d"),
                                           {NULL, 0}};
    struct rotation_login pending = current;
    struct arena arena;

    (void)state;
    arena_init(&arena, 4096, 1 << 20);
    assert_false(failed(rotation_check_pending(&current, &pending, false, &arena)));
    assert_ptr_equal(rotation_check_pending(&current, &pending, true, &arena).fault,
                     &rotation_other_user);
    pending.username = VIEW("app_clone");
    assert_false(failed(rotation_check_pending(&current, &pending, true, &arena)));
    assert_ptr_equal(rotation_check_pending(&current, &pending, false, &arena).fault,
                     &rotation_other_user);
    pending.port = 2;
    assert_ptr_equal(rotation_check_pending(&current, &pending, true, &arena).fault,
                     &rotation_other_place);
    pending.port = 1;
    pending.dbname = VIEW("other");
    assert_ptr_equal(rotation_check_pending(&current, &pending, true, &arena).fault,
                     &rotation_other_place);
    arena_clear(&arena);
}

static void test_passwords_and_ids_have_their_form(void **state)
{
    char seen[64][ROTATION_PASSWORD_LENGTH + 1], id[37];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        rotation_make_password(seen[i]);
        assert_int_equal(strlen(seen[i]), ROTATION_PASSWORD_LENGTH);
        assert_int_equal(strspn(seen[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789-._~"),
                         ROTATION_PASSWORD_LENGTH);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(seen[i], seen[k]);
        rotation_make_version_id(id);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
        assert_int_equal(id[14], '4');
        assert_non_null(strchr("89ab", id[19]));
        assert_true(id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_rotation_takes_the_four_steps),
        cmocka_unit_test(test_a_run_cut_anywhere_is_ended_by_the_next),
        cmocka_unit_test(test_two_runs_in_any_order_leave_one_truth),
        cmocka_unit_test(test_a_label_without_a_value_gets_its_value),
        cmocka_unit_test(test_the_previous_password_is_the_last_that_is_tried),
        cmocka_unit_test(test_refusals_come_before_anything_is_written),
        cmocka_unit_test(test_secrets_of_others_are_not_ours_to_rotate),
        cmocka_unit_test(test_a_password_that_does_not_serve_is_not_made_current),
        cmocka_unit_test(test_logins_are_read_from_rds_format),
        cmocka_unit_test(test_what_cannot_be_used_is_refused),
        cmocka_unit_test(test_a_pair_of_names_leads_to_and_fro),
        cmocka_unit_test(test_a_new_secret_keeps_all_but_user_and_password),
        cmocka_unit_test(test_a_pending_version_must_follow_the_current),
        cmocka_unit_test(test_passwords_and_ids_have_their_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
