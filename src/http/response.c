#include "http/http.h"

#include "http/chars.h"

/* RFC 9110 section 15, RFC 6585. */
static const char *const phrases[600] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [204] = "No Content",
    [206] = "Partial Content",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
};

/* A chunk's size and CRLF, at the width that http_chunk_begin leaves free. */
enum { CHUNK_DIGITS = 8, CHUNK_PREFIX_BYTES = CHUNK_DIGITS + 2 };

const char *http_status_phrase(int status)
{
    bool known = status >= 0 && (size_t)status < COUNT_OF(phrases) && phrases[status] != NULL;
    return known ? phrases[status] : "Unknown";
}

/* The struct's other fields write these; a second one would be a second framing. */
static bool is_ours(struct view name)
{
    switch (name.len) {
    case sizeof "Date" - 1:
        return view_eq_nocase(name, VIEW("Date"));
    case sizeof "Connection" - 1:
        return view_eq_nocase(name, VIEW("Connection"));
    case sizeof "Content-Type" - 1:
        return view_eq_nocase(name, VIEW("Content-Type"));
    case sizeof "Content-Length" - 1:
        return view_eq_nocase(name, VIEW("Content-Length"));
    case sizeof "Transfer-Encoding" - 1:
        return view_eq_nocase(name, VIEW("Transfer-Encoding"));
    default:
        return false;
    }
}

static bool is_writable(const struct http_response *r)
{
    if (r->status < 100 || r->status > 599)
        return false;
    if (!http_is_value(r->date) || !http_is_value(r->content_type))
        return false;
    for (size_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        if (h->name.len == 0 || !http_all(h->name, HTTP_TOKEN) || is_ours(h->name) ||
            !http_is_value(h->value))
            return false;
    }
    return true;
}

static void add_status_line(struct buf *b, int status)
{
    char line[] = "HTTP/1.1 000 ";
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    buf_add(b, line, sizeof line - 1);
    buf_add_str(b, http_status_phrase(status));
    buf_add(b, "\r\n", 2);
}

static void add_header(struct buf *b, struct view name_and_colon, struct view value)
{
    buf_add_view(b, name_and_colon);
    buf_add_view(b, value);
    buf_add(b, "\r\n", 2);
}

err http_add_response_head(struct buf *b, const struct http_response *r)
{
    if (!is_writable(r))
        return fail(&http_bad_response);
    add_status_line(b, r->status);
    if (r->date.data != NULL)
        add_header(b, VIEW("Date: "), r->date);
    if (r->content_type.data != NULL)
        add_header(b, VIEW("Content-Type: "), r->content_type);
    if (r->framing == HTTP_LENGTH) {
        buf_add_view(b, VIEW("Content-Length: "));
        buf_add_u64(b, r->content_length);
        buf_add(b, "\r\n", 2);
    } else if (r->framing == HTTP_CHUNKED) {
        buf_add_view(b, VIEW("Transfer-Encoding: chunked\r\n"));
    }
    if (r->connection == HTTP_CONNECTION_CLOSE)
        buf_add_view(b, VIEW("Connection: close\r\n"));
    else if (r->connection == HTTP_CONNECTION_KEEP_ALIVE)
        buf_add_view(b, VIEW("Connection: keep-alive\r\n"));
    for (size_t i = 0; i < r->header_count; i++) {
        buf_add_view(b, r->headers[i].name);
        add_header(b, VIEW(": "), r->headers[i].value);
    }
    buf_add(b, "\r\n", 2);
    return OK;
}

size_t http_chunk_begin(struct buf *b)
{
    size_t begin = b->len;
    buf_add(b, "00000000\r\n", CHUNK_PREFIX_BYTES);
    return begin;
}

void http_chunk_end(struct buf *b, size_t begin)
{
    static const char hex[] = "0123456789abcdef";
    if (buf_failed(b))
        return;
    size_t size = b->len - begin - CHUNK_PREFIX_BYTES;
    if (size == 0) {
        buf_truncate(b, begin);
        return;
    }
    if (size > UINT32_MAX) {
        b->failed = true;
        return;
    }
    for (size_t i = CHUNK_DIGITS; i-- > 0; size >>= 4)
        b->data[begin + i] = hex[size & 15];
    buf_add(b, "\r\n", 2);
}

void http_add_chunk(struct buf *b, struct view data)
{
    size_t begin = http_chunk_begin(b);
    buf_add_view(b, data);
    http_chunk_end(b, begin);
}

void http_add_last_chunk(struct buf *b)
{
    buf_add_view(b, VIEW("0\r\n\r\n"));
}

static void put_two(char *to, int64_t n)
{
    to[0] = (char)('0' + n / 10 % 10);
    to[1] = (char)('0' + n % 10);
}

/* The civil date of a day counted from 1970-01-01, by the 400-year cycle of the calendar:
 * Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
static void civil_date(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    days += 719468; /* from 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

void http_format_date(int64_t wall_s, char out[HTTP_DATE_BYTES])
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t days = wall_s / 86400, second = wall_s % 86400, year, month, day;

    if (second < 0) {
        second += 86400;
        days--;
    }
    civil_date(days, &year, &month, &day);
    memcpy(out, "Xxx, 00 Xxx 0000 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(out, weekdays + (days % 7 + 7) % 7 * 3, 3);
    put_two(out + 5, day);
    memcpy(out + 8, months + (month - 1) * 3, 3);
    put_two(out + 12, year / 100);
    put_two(out + 14, year);
    put_two(out + 17, second / 3600);
    put_two(out + 20, second / 60 % 60);
    put_two(out + 23, second % 60);
}
