#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/problem.h"

#include <cmocka.h> /* last: its fail() would take the place of ours */

static void assert_written(const struct problem *problem, const char *json)
{
    struct buf b;
    buf_init(&b, 4096);
    problem_write(&b, problem);
    assert_false(buf_failed(&b));
    buf_add_char(&b, '\0');
    assert_string_equal(b.data, json);
    buf_clear(&b);
}

static void a_status_alone_is_about_blank(void **state)
{
    (void)state;
    const struct problem p = {.status = 404, .request_id = VIEW("r-1")};
    assert_written(&p, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                       "\"request_id\":\"r-1\"}");
    const struct problem odd = {.status = 599};
    assert_written(&odd, "{\"type\":\"about:blank\",\"title\":\"Unknown\",\"status\":599}");
}

static void every_member_is_escaped(void **state)
{
    (void)state;
    const struct problem p = {
        .status = 400,
        .reason = VIEW("parameter_bad_value"),
        .detail = VIEW("say \"no\"\n"),
        .request_id = VIEW("r"),
        .parameter = VIEW("a\\b"),
        .sqlstate = VIEW("22P02"),
        .message = VIEW("m\x01"),
        .hint = VIEW("h\xff"),
        .retry_after_s = 7,
    };
    assert_written(&p, "{\"type\":\"urn:sallyport:problem:parameter_bad_value\","
                       "\"title\":\"Bad Request\",\"status\":400,"
                       "\"detail\":\"say \\\"no\\\"\\n\",\"parameter\":\"a\\\\b\","
                       "\"sqlstate\":\"22P02\",\"message\":\"m\\u0001\",\"hint\":\"h\xef\xbf\xbd\","
                       "\"retry_after_s\":7,\"request_id\":\"r\"}");
    const struct problem odd = {.status = 400, .reason = VIEW("a\"b")};
    assert_written(&odd, "{\"type\":\"urn:sallyport:problem:a_b\",\"title\":\"Bad Request\","
                         "\"status\":400}");
}

static void a_fault_tells_a_caller_no_more_than_its_client_text(void **state)
{
    (void)state;
    const struct fault open = {"too_big", "secret operator text", "It is too big.", 413};
    const struct fault closed = {"secret_name", "secret operator text", NULL, 403};
    const struct fault internal = {"secret_name", "secret operator text", NULL, 0};
    struct problem p = problem_of(&open, VIEW("r"));
    assert_written(&p, "{\"type\":\"urn:sallyport:problem:too_big\","
                       "\"title\":\"Content Too Large\",\"status\":413,\"detail\":\"It is too big.\",\"request_id\":\"r\"}");
    p = problem_of(&closed, VIEW("r"));
    assert_written(&p, "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,"
                       "\"request_id\":\"r\"}");
    p = problem_of(&internal, VIEW("r"));
    assert_int_equal(p.status, 500);
    assert_null(p.reason.data);
}

static void sqlstates_have_their_status(void **state)
{
    (void)state;
    const struct {
        const char *sqlstate;
        int status;
        int64_t retry_after_s;
    } cases[] = {
        {"00000", 500, 0}, {"08000", 502, 0}, {"08006", 502, 0}, {"08P01", 502, 0},
        {"08001", 503, 1}, {"08004", 503, 1}, {"0A000", 500, 0}, {"21000", 500, 0},
        {"22001", 400, 0}, {"22003", 400, 0}, {"22012", 400, 0}, {"22P02", 400, 0},
        {"23000", 409, 0}, {"23001", 409, 0}, {"23502", 400, 0}, {"23503", 409, 0},
        {"23505", 409, 0}, {"23514", 400, 0}, {"23P01", 409, 0}, {"25006", 405, 0},
        {"25P02", 500, 0}, {"26000", 500, 0}, {"28P01", 502, 0}, {"28000", 502, 0},
        {"2D000", 500, 0}, {"3D000", 500, 0}, {"40001", 503, 1}, {"40002", 409, 0},
        {"40003", 500, 0}, {"40P01", 503, 1}, {"42501", 403, 0}, {"42601", 500, 0},
        {"42703", 500, 0}, {"42883", 500, 0}, {"42P01", 500, 0}, {"44000", 400, 0},
        {"53000", 503, 1}, {"53100", 503, 1}, {"53200", 503, 1}, {"53300", 503, 1},
        {"53400", 500, 0}, {"54001", 500, 0}, {"55006", 503, 1}, {"55P03", 503, 1},
        {"55000", 500, 0}, {"57014", 504, 0}, {"57P01", 503, 1}, {"57P02", 503, 1},
        {"57P03", 503, 1}, {"57P04", 500, 0}, {"57P05", 503, 1}, {"58030", 500, 0},
        {"P0001", 400, 0}, {"P0002", 500, 0}, {"XX000", 500, 0}, {"ZZZZZ", 500, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sqlstate_answer a = sqlstate_answer(cases[i].sqlstate, true);
        if (a.status != cases[i].status)
            print_error("%s\n", cases[i].sqlstate);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(a.retry_after_s, cases[i].retry_after_s);
        /* Of our own and the operator's failures a caller reads nothing. */
        if (a.status == 500)
            assert_null(a.detail);
    }
}

static void a_missing_right_asks_the_unknown_caller_for_a_token(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_status("42501", false), 401);
    assert_int_equal(sqlstate_status("42501", true), 403);
    assert_null(sqlstate_answer("42501", false).detail);
    assert_int_equal(sqlstate_status("23505", false), 409);
}

static void an_ill_formed_sqlstate_is_an_internal_error(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_status(NULL, true), 500);
    assert_int_equal(sqlstate_status("", true), 500);
    assert_int_equal(sqlstate_status("22", true), 500);
    assert_int_equal(sqlstate_status("2200", true), 500);
    assert_int_equal(sqlstate_status("22p02", true), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_alone_is_about_blank),
        cmocka_unit_test(every_member_is_escaped),
        cmocka_unit_test(a_fault_tells_a_caller_no_more_than_its_client_text),
        cmocka_unit_test(sqlstates_have_their_status),
        cmocka_unit_test(a_missing_right_asks_the_unknown_caller_for_a_token),
        cmocka_unit_test(an_ill_formed_sqlstate_is_an_internal_error),
    };
    return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
