/* The kept copy: what is taken for whole, and what a kill between the writes leaves. */
#include "config/config.h"
#include "store/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const suffixes[] = {"", ".next", ".next.new", ".seals", ".seals.new",
                                       ".key", ".key.new"};

struct world {
    char folder[64];
    char path[128];
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->folder, sizeof w->folder, "/tmp/sallyport-kept-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/store.yaml", w->folder);
    *state = w;
    return 0;
}

static void name(const struct world *w, const char *suffix, char out[256])
{
    snprintf(out, 256, "%s%s", w->path, suffix);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char path[256];
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        name(w, suffixes[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(w->folder), 0); /* nothing else was made */
    free(w);
    return 0;
}

static void put(const struct world *w, const char *suffix, const char *text, size_t len)
{
    char path[256];
    name(w, suffix, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* What the file holds, as a text that is freed; NULL when there is none. */
static char *get(const struct world *w, const char *suffix)
{
    char path[256];
    name(w, suffix, path);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *text = calloc(1, 4096);
    assert_true(fread(text, 1, 4095, f) < 4095);
    fclose(f);
    return text;
}

static void take(const struct world *w, const char *text)
{
    struct store_why why;
    assert_false(failed(kept_stage(w->path, KEPT_NEXT, view_str(text), &why)));
    assert_false(failed(kept_take(w->path, &why)));
}

static void assert_copy(const struct world *w, const char *text)
{
    struct store_why why;
    err e = kept_check(w->path, &why);
    assert_true(!failed(e));
    assert_string_equal(why.text, "");
    char *copy = get(w, "");
    assert_string_equal(copy, text);
    free(copy);
}

static void assert_damaged(const struct world *w)
{
    struct store_why why;
    assert_ptr_equal(kept_check(w->path, &why).fault, &kept_damaged);
    assert_non_null(strstr(why.text, "/store.yaml is not what this node wrote"));
}

static void assert_none(const struct world *w)
{
    struct store_why why;
    assert_ptr_equal(kept_check(w->path, &why).fault, &config_unreadable);
    assert_non_null(strstr(why.text, "/store.yaml cannot be read"));
}

static void what_is_taken_is_whole_and_so_is_what_replaces_it(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    assert_copy(w, "one: 1\n");
    take(w, "two: 2\n");
    assert_copy(w, "two: 2\n");
    take(w, "two: 2\n"); /* the same again */
    assert_copy(w, "two: 2\n");
    take(w, "");
    assert_copy(w, "");
    char *next = get(w, ".next");
    assert_null(next);
}

static void every_file_is_the_owners_alone(void **state)
{
    struct world *w = *state;
    struct stat s;
    char path[256];
    mode_t before = umask(0);
    take(w, "one: 1\n");
    struct store_why why;
    assert_false(failed(kept_stage(w->path, KEPT_NEXT, VIEW("two: 2\n"), &why)));
    umask(before);
    const char *const there[] = {"", ".next", ".seals", ".key"};
    for (size_t i = 0; i < 4; i++) {
        name(w, there[i], path);
        assert_int_equal(stat(path, &s), 0);
        assert_int_equal(s.st_mode & 07777, 0600);
    }
    name(w, ".key", path);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_size, 32);
}

static void a_copy_that_was_changed_cut_or_lengthened_is_damaged(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    put(w, "", "one: 2\n", 7);
    assert_damaged(w);
    put(w, "", "one: 1", 6);
    assert_damaged(w);
    put(w, "", "one: 1\n\n", 8);
    assert_damaged(w);
    put(w, "", "", 0);
    assert_damaged(w);
    put(w, "", "one: 1\n", 7);
    assert_copy(w, "one: 1\n");
}

static void another_key_a_short_one_or_none_seals_nothing(void **state)
{
    struct world *w = *state;
    char path[256];
    take(w, "one: 1\n");
    char *key = get(w, ".key");
    put(w, ".key", "0123456789abcdef0123456789abcdef", 32);
    assert_damaged(w);
    put(w, ".key", "0123456789abcdef0123456789abcde", 31);
    assert_damaged(w);
    name(w, ".key", path);
    unlink(path);
    assert_damaged(w);
    free(key);
    take(w, "two: 2\n"); /* with a key of its own again */
    assert_copy(w, "two: 2\n");
}

static void seals_that_are_cut_or_gone_are_of_nothing(void **state)
{
    struct world *w = *state;
    char path[256];
    take(w, "one: 1\n");
    char *seals = get(w, ".seals");
    assert_int_equal(strlen(seals), 65);
    put(w, ".seals", seals, 63);
    assert_damaged(w);
    put(w, ".seals", "\n\n\n", 3);
    assert_damaged(w);
    put(w, ".seals", "", 0);
    assert_damaged(w);
    name(w, ".seals", path);
    unlink(path);
    assert_damaged(w);
    put(w, ".seals", seals, 64); /* the line's end is no part of it */
    assert_copy(w, "one: 1\n");
    free(seals);
}

static void a_link_in_the_place_of_the_copy_is_not_followed(void **state)
{
    struct world *w = *state;
    char path[256];
    take(w, "one: 1\n");
    name(w, ".next", path);
    assert_int_equal(rename(w->path, path), 0);
    assert_int_equal(symlink(path, w->path), 0);
    assert_none(w);
    struct store_why why;
    assert_false(failed(kept_take(w->path, &why))); /* takes the link's own place */
    assert_copy(w, "one: 1\n");
}

/* ---- Kills: the states that the order of the writes allows ---- */

static void a_kill_while_the_first_copy_is_made_leaves_none_and_the_next_one_is_whole(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    char *key = get(w, ".key"), *seals = get(w, ".seals");
    char path[256];
    /* Each line: which of the files had been written. */
    const bool states[][3] = {{false, false, false}, {true, false, false}, {true, true, false},
                              {true, true, true}};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < sizeof suffixes / sizeof suffixes[0]; k++) {
            name(w, suffixes[k], path);
            unlink(path);
        }
        put(w, ".next", "one: 1\n", 7);
        put(w, i == 0 ? ".key.new" : i == 1 ? ".seals.new" : ".next.new", "ab", 2); /* cut short */
        if (states[i][0])
            put(w, ".key", key, 32);
        if (states[i][1])
            put(w, ".seals", seals, strlen(seals));
        if (states[i][2]) {
            name(w, ".next", path);
            assert_int_equal(rename(path, w->path), 0);
            assert_copy(w, "one: 1\n");
        } else {
            assert_none(w);
        }
        take(w, "two: 2\n");
        assert_copy(w, "two: 2\n");
    }
    free(key);
    free(seals);
}

static void a_kill_before_a_copy_takes_its_place_leaves_the_one_before(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    put(w, ".next", "tw", 2); /* not sealed yet, and half written by somebody */
    put(w, ".seals.new", "ab", 2);
    assert_copy(w, "one: 1\n");
    take(w, "two: 2\n");
    /* Back to between the seals and the rename. */
    put(w, "", "one: 1\n", 7);
    put(w, ".next", "two: 2\n", 7);
    assert_copy(w, "one: 1\n");
    struct store_why why;
    assert_false(failed(kept_take(w->path, &why)));
    assert_copy(w, "two: 2\n");
}

static void two_kills_in_a_row_before_the_rename_leave_the_copy_that_is_there(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    const char *const never_there[] = {"two: 2\n", "three: 3\n", "four: 4\n"};
    for (size_t i = 0; i < 3; i++) {
        take(w, never_there[i]);
        put(w, "", "one: 1\n", 7); /* the seals are written, the rename was not */
        assert_copy(w, "one: 1\n");
    }
    char *seals = get(w, ".seals");
    assert_int_equal(strlen(seals), 2 * 65);
    free(seals);
}

static void the_seal_of_a_copy_long_gone_is_not_kept(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    take(w, "two: 2\n");
    take(w, "three: 3\n");
    put(w, "", "one: 1\n", 7);
    assert_damaged(w);
    put(w, "", "two: 2\n", 7); /* the one before: a kill could have left it */
    assert_copy(w, "two: 2\n");
}

static void a_damaged_copy_gets_no_seal_by_being_replaced(void **state)
{
    struct world *w = *state;
    take(w, "one: 1\n");
    put(w, "", "evil: 1\n", 8);
    take(w, "two: 2\n");
    assert_copy(w, "two: 2\n");
    put(w, "", "evil: 1\n", 8);
    assert_damaged(w);
}

static void a_prefix_that_cannot_be_written_is_said(void **state)
{
    struct world *w = *state;
    struct store_why why;
    char gone[256];
    snprintf(gone, sizeof gone, "%s/gone/store.yaml", w->folder);
    assert_ptr_equal(kept_stage(gone, KEPT_NEXT, VIEW("x"), &why).fault, &kept_unwritable);
    assert_non_null(strstr(why.text, "/gone/store.yaml.next: No such file or directory"));
    assert_ptr_equal(kept_take(w->path, &why).fault, &kept_unwritable); /* nothing was staged */
    assert_non_null(strstr(why.text, "/store.yaml.next: No such file or directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(what_is_taken_is_whole_and_so_is_what_replaces_it),
        TEST(every_file_is_the_owners_alone),
        TEST(a_copy_that_was_changed_cut_or_lengthened_is_damaged),
        TEST(another_key_a_short_one_or_none_seals_nothing),
        TEST(seals_that_are_cut_or_gone_are_of_nothing),
        TEST(a_link_in_the_place_of_the_copy_is_not_followed),
        TEST(a_kill_while_the_first_copy_is_made_leaves_none_and_the_next_one_is_whole),
        TEST(a_kill_before_a_copy_takes_its_place_leaves_the_one_before),
        TEST(two_kills_in_a_row_before_the_rename_leave_the_copy_that_is_there),
        TEST(the_seal_of_a_copy_long_gone_is_not_kept),
        TEST(a_damaged_copy_gets_no_seal_by_being_replaced),
        TEST(a_prefix_that_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
