#include "http/http.h" /* before cmocka.h, whose macro fail() hides ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#define assert_view(actual, expected) assert_true(view_is((actual), (expected)))
#define assert_fault(e, row) assert_ptr_equal((e).fault, &(row))

static struct http_header headers[32];

static err parse(const char *text, struct http_request *out, size_t *used)
{
    struct http_scan scan = {0};
    return http_parse_head(&scan, view_str(text), NULL, headers, COUNT_OF(headers), out, used);
}

static void a_request_is_taken_apart(void **state)
{
    static const char text[] = "PUT /a%20b/c?x=1&y HTTP/1.1\r\n"
                               "Host: shop.example:8443\r\n"
                               "Accept:\tapplication/json \r\n"
                               "X-Two: 1\r\n"
                               "x-two: 2\r\n"
                               "Content-Length: 7\r\n"
                               "Expect: 100-continue\r\n"
                               "\r\n"
                               "{\"a\":1}";
    struct http_request r;
    size_t used;
    (void)state;
    assert_false(failed(parse(text, &r, &used)));
    assert_int_equal(used, sizeof text - 1 - 7);
    assert_view(r.method, "PUT");
    assert_view(r.target, "/a%20b/c?x=1&y");
    assert_view(r.path, "/a%20b/c");
    assert_view(r.query, "x=1&y");
    assert_view(r.host, "shop.example:8443");
    assert_int_equal(r.minor, 1);
    assert_int_equal(r.header_count, 6);
    assert_ptr_equal(r.headers, headers);
    assert_true(r.keep_alive && r.expect_continue && r.has_body);
    assert_false(r.chunked);
    assert_int_equal(r.content_length, 7);
    assert_view(http_header(&r, "ACCEPT"), "application/json");
    assert_view(http_header(&r, "X-TWO"), "1");
    assert_int_equal(http_header_count(&r, "X-Two"), 2);
    assert_null(http_header(&r, "X-Three").data);
    assert_int_equal(http_header_count(&r, "X-Three"), 0);
}

static void an_absent_query_differs_from_an_empty_one(void **state)
{
    struct http_request r;
    size_t used;
    (void)state;
    assert_false(failed(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &r, &used)));
    assert_null(r.query.data);
    assert_false(r.has_body);
    assert_false(failed(parse("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", &r, &used)));
    assert_non_null(r.query.data);
    assert_int_equal(r.query.len, 0);
}

static void absolute_form_gives_the_same_parts(void **state)
{
    struct http_request r;
    size_t used;
    (void)state;
    assert_false(failed(parse("GET http://A:1/p/q?r HTTP/1.1\r\nHost: a:1\r\n\r\n", &r, &used)));
    assert_view(r.target, "http://A:1/p/q?r");
    assert_view(r.path, "/p/q");
    assert_view(r.query, "r");
    assert_false(failed(parse("GET http://a?r HTTP/1.1\r\nHost: a\r\n\r\n", &r, &used)));
    assert_view(r.path, "/");
    assert_view(r.query, "r");
}

static void keep_alive_follows_version_and_connection(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,y\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_request r;
        size_t used;
        assert_false(failed(parse(cases[i].text, &r, &used)));
        assert_int_equal(r.keep_alive, cases[i].keep_alive);
    }
}

static void an_expectation_counts_only_with_a_body_and_on_1_1(void **state)
{
    struct http_request r;
    size_t used;
    (void)state;
    assert_false(failed(
        parse("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &r, &used)));
    assert_false(r.expect_continue);
    assert_false(failed(parse(
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", &r, &used)));
    assert_false(r.expect_continue);
    assert_false(failed(parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                              "Expect: 100-continue\r\n\r\n",
                              &r, &used)));
    assert_true(r.expect_continue && r.chunked && r.has_body);
}

static void the_end_of_a_head_is_searched_only_once(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    struct http_scan scan = {0};
    struct http_request r;
    size_t used, whole = sizeof text - 1 - 4;
    (void)state;
    for (size_t n = 0; n < whole; n++) {
        assert_false(failed(http_parse_head(&scan, view_of(text, n), NULL, headers, 1, &r, &used)));
        assert_int_equal(used, 0);
        assert_int_equal(scan.searched, n);
    }
    assert_false(
        failed(http_parse_head(&scan, view_of(text, sizeof text - 1), NULL, headers, 1, &r, &used)));
    assert_int_equal(used, whole);
}

/* Every byte at every place of values up to 24 bytes: the eight-byte steps must overlook none. */
static void no_byte_of_a_value_is_overlooked_at_any_place(void **state)
{
    (void)state;
    for (size_t len = 3; len <= 24; len++) {
        for (size_t at = 1; at + 1 < len; at++) {
            for (int c = 0; c < 256; c++) {
                char text[64] = "GET / HTTP/1.0\r\nX: ";
                struct http_scan scan = {0};
                struct http_request r;
                size_t used, start = strlen(text);
                memset(text + start, 0xA0, len);
                text[start + at] = (char)c;
                memcpy(text + start + len, "\r\n\r\n", 4);
                err e = http_parse_head(&scan, view_of(text, start + len + 4), NULL, headers, 1, &r,
                                        &used);
                const struct fault *expected = c == '\n'   ? &http_bare_lf
                                               : c == '\r' ? &http_bare_cr
                                               : (c < 0x20 && c != '\t') || c == 0x7F
                                                   ? &http_bad_header_value
                                                   : NULL;
                assert_ptr_equal(e.fault, expected);
            }
        }
    }
}

static err body_of(const struct http_request *r, uint64_t max, struct view in, size_t *used,
                   struct buf *out, bool *done)
{
    struct http_body body;
    buf_reset(out);
    *used = 0;
    *done = false;
    err e = http_body_init(&body, r, max);
    return failed(e) ? e : http_body_feed(&body, in, used, out, done);
}

static void a_body_ends_where_it_was_said_to(void **state)
{
    struct http_request none = {0}, five = {.content_length = 5, .has_body = true},
                        chunked = {.chunked = true, .has_body = true};
    struct buf out;
    size_t used;
    bool done;
    (void)state;
    buf_init(&out, 100);
    assert_false(failed(body_of(&none, 0, VIEW("next"), &used, &out, &done)));
    assert_true(done && used == 0 && out.len == 0);
    assert_false(failed(body_of(&five, 5, VIEW("hellonext"), &used, &out, &done)));
    assert_true(done && used == 5);
    assert_view(buf_view(&out), "hello");
    assert_fault(body_of(&five, 4, VIEW("hello"), &used, &out, &done), http_body_too_large);
    assert_false(failed(body_of(&chunked, 5, VIEW("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nnext"), &used,
                                &out, &done)));
    assert_true(done && used == 20);
    assert_view(buf_view(&out), "hello");
    assert_fault(body_of(&chunked, 4, VIEW("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), &used, &out, &done),
                 http_body_too_large);
    assert_false(done);
    assert_view(buf_view(&out), "hel");
    buf_clear(&out);
}

static void a_failed_body_stays_failed(void **state)
{
    struct http_request chunked = {.chunked = true, .has_body = true};
    struct http_body body;
    struct buf out;
    size_t used;
    bool done;
    (void)state;
    buf_init(&out, 100);
    assert_false(failed(http_body_init(&body, &chunked, 10)));
    assert_fault(http_body_feed(&body, VIEW("2\nab"), &used, &out, &done), http_bare_lf);
    assert_fault(http_body_feed(&body, VIEW("0\r\n\r\n"), &used, &out, &done), http_bad_chunk);
    assert_int_equal(used, 0);
    assert_false(done);
    buf_clear(&out);
}

/* Feeds the opening, then the piece again and again until the decoder objects. */
static err feed_until_refused(const char *opening, const char *piece, size_t *bytes)
{
    struct http_request chunked = {.chunked = true, .has_body = true};
    struct http_body body;
    struct buf out;
    size_t used;
    bool done;
    buf_init(&out, 1 << 20);
    err e = http_body_init(&body, &chunked, 1 << 20);
    if (!failed(e))
        e = http_body_feed(&body, view_str(opening), &used, &out, &done);
    for (*bytes = 0; !failed(e) && *bytes < 100000; *bytes += strlen(piece))
        e = http_body_feed(&body, view_str(piece), &used, &out, &done);
    buf_clear(&out);
    return e;
}

static void extensions_and_trailers_are_bounded_over_the_whole_body(void **state)
{
    size_t bytes;
    (void)state;
    assert_fault(feed_until_refused("1;", "x", &bytes), http_bad_chunk_extension);
    assert_int_equal(bytes, 4097);
    assert_fault(feed_until_refused("", "1;abcdefghi\r\nx\r\n", &bytes), http_bad_chunk_extension);
    assert_true(bytes < 4097 * 2);
    assert_fault(feed_until_refused("0\r\nX:", "y", &bytes), http_bad_trailer);
    assert_true(bytes <= 4097);
    assert_fault(feed_until_refused("0\r\n", "X:y\r\n", &bytes), http_bad_trailer);
    assert_true(bytes < 4097 * 2);
}

static void a_response_head_is_written(void **state)
{
    const struct http_header extra[] = {{VIEW("X-Request-Id"), VIEW("r1")},
                                        {VIEW("Vary"), VIEW("")}};
    struct http_response r = {
        .status = 404,
        .framing = HTTP_LENGTH,
        .content_length = 12345678901,
        .connection = HTTP_CONNECTION_CLOSE,
        .date = VIEW("Sun, 06 Nov 1994 08:49:37 GMT"),
        .content_type = VIEW("application/problem+json"),
        .headers = extra,
        .header_count = 2,
    };
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    assert_false(failed(http_add_response_head(&b, &r)));
    assert_view(buf_view(&b), "HTTP/1.1 404 Not Found\r\n"
                              "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                              "Content-Type: application/problem+json\r\n"
                              "Content-Length: 12345678901\r\n"
                              "Connection: close\r\n"
                              "X-Request-Id: r1\r\n"
                              "Vary: \r\n"
                              "\r\n");
    buf_reset(&b);
    r = (struct http_response){
        .status = 200, .framing = HTTP_CHUNKED, .connection = HTTP_CONNECTION_KEEP_ALIVE};
    assert_false(failed(http_add_response_head(&b, &r)));
    assert_view(buf_view(&b), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                              "Connection: keep-alive\r\n\r\n");
    buf_reset(&b);
    r = (struct http_response){.status = 204, .framing = HTTP_BARE};
    assert_false(failed(http_add_response_head(&b, &r)));
    assert_view(buf_view(&b), "HTTP/1.1 204 No Content\r\n\r\n");
    buf_clear(&b);
}

static void no_response_is_split(void **state)
{
    static const struct http_header bad[] = {
        {VIEW("X"), VIEW("a\r\nSet-Cookie: b")},
        {VIEW("X"), VIEW("a\nb")},
        {VIEW("X"), VIEW("a\rb")},
        {VIEW("X"), VIEW("a\0b")},
        {VIEW("X: y"), VIEW("a")},
        {VIEW("X\r\n"), VIEW("a")},
        {VIEW(""), VIEW("a")},
        {VIEW("content-length"), VIEW("5")},
        {VIEW("Transfer-encoding"), VIEW("chunked")},
        {VIEW("connection"), VIEW("close")},
    };
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    buf_add_str(&b, "before");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct http_response r = {.status = 200, .headers = &bad[i], .header_count = 1};
        assert_fault(http_add_response_head(&b, &r), http_bad_response);
    }
    struct http_response low = {.status = 99}, high = {.status = 600},
                         type = {.status = 200, .content_type = VIEW("a\r\nb: c")},
                         date = {.status = 200, .date = VIEW("a\nb")};
    assert_fault(http_add_response_head(&b, &low), http_bad_response);
    assert_fault(http_add_response_head(&b, &high), http_bad_response);
    assert_fault(http_add_response_head(&b, &type), http_bad_response);
    assert_fault(http_add_response_head(&b, &date), http_bad_response);
    assert_view(buf_view(&b), "before");
    buf_clear(&b);
}

static void chunks_written_are_chunks_read(void **state)
{
    struct http_request chunked = {.chunked = true, .has_body = true};
    struct buf b, out;
    size_t used;
    bool done;
    (void)state;
    buf_init(&b, 4096);
    buf_init(&out, 4096);
    http_add_chunk(&b, VIEW("hello"));
    http_add_chunk(&b, VIEW(""));
    size_t begin = http_chunk_begin(&b);
    http_chunk_end(&b, begin);
    begin = http_chunk_begin(&b);
    for (int i = 0; i < 300; i++)
        buf_add_char(&b, 'x');
    http_chunk_end(&b, begin);
    assert_true(view_starts_with(buf_view(&b), VIEW("00000005\r\nhello\r\n0000012c\r\nxxx")));
    http_add_last_chunk(&b);
    assert_false(failed(body_of(&chunked, 305, buf_view(&b), &used, &out, &done)));
    assert_true(done && used == b.len && out.len == 305);
    assert_true(view_starts_with(buf_view(&out), VIEW("helloxxx")));
    buf_clear(&b);
    buf_clear(&out);
}

static void a_chunk_that_found_no_room_leaves_a_failed_buffer(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 12);
    size_t begin = http_chunk_begin(&b);
    buf_add_str(&b, "hello");
    http_chunk_end(&b, begin);
    assert_true(buf_failed(&b));
    buf_clear(&b);
}

static void phrases_are_those_of_the_standard(void **state)
{
    (void)state;
    assert_string_equal(http_status_phrase(200), "OK");
    assert_string_equal(http_status_phrase(413), "Content Too Large");
    assert_string_equal(http_status_phrase(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_phrase(505), "HTTP Version Not Supported");
    assert_string_equal(http_status_phrase(299), "Unknown");
    assert_string_equal(http_status_phrase(-1), "Unknown");
    assert_string_equal(http_status_phrase(600), "Unknown");
}

static void dates_equal_those_of_the_c_library(void **state)
{
    char ours[HTTP_DATE_BYTES], theirs[64];
    (void)state;
    http_format_date(784111777, ours);
    assert_string_equal(ours, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 section 5.6.7 */
    /* A prime step through the years 1583 to 9999: every month, weekday and leap rule. */
    for (int64_t at = -12212553600; at < 253402300800; at += 9999991) {
        time_t t = (time_t)at;
        struct tm utc;
        assert_non_null(gmtime_r(&t, &utc));
        strftime(theirs, sizeof theirs, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        http_format_date(at, ours);
        assert_string_equal(ours, theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(an_absent_query_differs_from_an_empty_one),
        cmocka_unit_test(absolute_form_gives_the_same_parts),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(an_expectation_counts_only_with_a_body_and_on_1_1),
        cmocka_unit_test(the_end_of_a_head_is_searched_only_once),
        cmocka_unit_test(no_byte_of_a_value_is_overlooked_at_any_place),
        cmocka_unit_test(a_body_ends_where_it_was_said_to),
        cmocka_unit_test(a_failed_body_stays_failed),
        cmocka_unit_test(extensions_and_trailers_are_bounded_over_the_whole_body),
        cmocka_unit_test(a_response_head_is_written),
        cmocka_unit_test(no_response_is_split),
        cmocka_unit_test(chunks_written_are_chunks_read),
        cmocka_unit_test(a_chunk_that_found_no_room_leaves_a_failed_buffer),
        cmocka_unit_test(phrases_are_those_of_the_standard),
        cmocka_unit_test(dates_equal_those_of_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
