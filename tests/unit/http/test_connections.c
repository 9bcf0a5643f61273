#include "connection.h" /* before cmocka.h, whose macro fail() hides ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* \r \n \t \\ \xNN as in tests/vectors/http/connections.txt. */
static void unescape(struct view text, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\\') {
            c = text.data[++i];
            if (c == 'x') {
                char hex[3] = {text.data[i + 1], text.data[i + 2], '\0'};
                c = (char)strtol(hex, NULL, 16);
                i += 2;
            } else if (c != '\\') {
                c = c == 'r' ? '\r' : c == 'n' ? '\n' : '\t';
            }
        }
        buf_add_char(out, c);
    }
}

/* An exact heap copy, so that a sanitizer sees a read past the end. */
static char *exact(struct view v)
{
    char *copy = malloc(v.len > 0 ? v.len : 1);
    assert_non_null(copy);
    if (v.len > 0)
        memcpy(copy, v.data, v.len);
    return copy;
}

static size_t run_case(struct view name, struct view expected, struct view input)
{
    size_t wrong = 0;
    char *bytes = exact(input);
    for (size_t step = 1; step <= input.len; step++) {
        struct buf story = connection_run(view_of(bytes, input.len), step);
        if (!view_eq(buf_view(&story), expected)) {
            print_error("%.*s, in steps of %zu: got \"%.*s\", not \"%.*s\"\n", VIEW_ARG(name), step,
                        VIEW_ARG(buf_view(&story)), VIEW_ARG(expected));
            wrong++;
            step = input.len;
        }
        buf_clear(&story);
    }
    free(bytes);
    return wrong;
}

static void every_connection_ends_as_written_in_steps_of_any_size(void **state)
{
    static char line[8192];
    size_t cases = 0, wrong = 0;
    struct buf input, expected;
    FILE *f = fopen(TEST_VECTORS "/http/connections.txt", "rb");
    (void)state;
    assert_non_null(f);
    buf_init(&input, sizeof line);
    buf_init(&expected, sizeof line);
    while (fgets(line, sizeof line, f) != NULL) {
        struct view rest = view_str(line), name, outcome;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        rest = view_upto(rest, view_find(rest, '\n'));
        rest = view_cut(rest, '\t', &name);
        rest = view_cut(rest, '\t', &outcome);
        assert_true(rest.len > 0);
        unescape(rest, &input);
        unescape(outcome, &expected);
        wrong += run_case(name, buf_view(&expected), buf_view(&input));
        cases++;
    }
    fclose(f);
    buf_clear(&input);
    buf_clear(&expected);
    assert_int_equal(wrong, 0);
    assert_true(cases > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_connection_ends_as_written_in_steps_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
