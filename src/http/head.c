#include "http/http.h"

#include <assert.h>

#include "http/chars.h"

/* Headers that stand at most once, or decide on the framing; gathered while the lines are read. */
struct gathered {
    struct view absolute_authority; /* {NULL,0}: origin-form */
    struct view content_length;
    struct view transfer_encoding;
    bool has_host;
    bool has_length;
    bool has_encoding;
    bool has_expect;
    bool says_close;
    bool says_keep_alive;
};

/*
 * Finds the end of the head: the first of an LF without CR, an empty line, a limit.  What it finds
 * depends on the bytes alone, not on how many came at once.
 */
static err find_end(struct http_scan *scan, struct view in, size_t max_line, size_t max_head,
                    size_t *end)
{
    *end = 0;
    assert(scan->line <= scan->searched && scan->searched <= in.len);
    for (;;) {
        const char *lf = memchr(in.data + scan->searched, '\n', in.len - scan->searched);
        if (lf == NULL)
            break;
        size_t at = (size_t)(lf - in.data), length = at - scan->line;
        if (!scan->past_request_line && length + 1 > max_line)
            return fail(&http_target_too_long);
        if (at + 1 > max_head)
            return fail(&http_head_too_large);
        if (length == 0 || in.data[at - 1] != '\r')
            return fail(&http_bare_lf);
        if (length == 1 && scan->past_request_line) {
            *end = at + 1;
            return OK;
        }
        if (length == 1 && scan->line > 0)
            return fail(&http_bad_request_line);
        scan->past_request_line = length > 1;
        scan->line = scan->searched = at + 1;
    }
    scan->searched = in.len;
    if (!scan->past_request_line && in.len - scan->line >= max_line)
        return fail(&http_target_too_long);
    return in.len >= max_head ? fail(&http_head_too_large) : OK;
}

/* The first line of the rest, without its CRLF; find_end has seen to it that each has one. */
static struct view next_line(struct view *rest)
{
    struct view line;
    *rest = view_cut(*rest, '\n', &line);
    return view_upto(line, line.len - 1);
}

/* A CR inside a line is said as such, whatever else it spoils. */
static err refuse_line(struct view line, const struct fault *fault)
{
    return fail(view_find(line, '\r') < line.len ? &http_bare_cr : fault);
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static err parse_version(struct view version, struct http_request *out)
{
    if (version.len != 8 || !view_starts_with(version, VIEW("HTTP/")) || version.data[6] != '.' ||
        !digit(version.data[5]) || !digit(version.data[7]))
        return fail(&http_bad_request_line);
    if (version.data[5] != '1' || version.data[7] > '1')
        return fail(&http_version_unsupported);
    out->minor = version.data[7] - '0';
    return OK;
}

static err parse_origin(struct view origin, struct http_request *out)
{
    size_t path = http_run(origin, 0, HTTP_PATH);
    out->path = view_upto(origin, path);
    if (path == origin.len)
        return OK;
    if (origin.data[path] != '?')
        return fail(&http_bad_target);
    out->query = view_from(origin, path + 1);
    return http_all(out->query, HTTP_QUERY) ? OK : fail(&http_bad_target);
}

/* RFC 9112 section 3.2.2.  The authority is compared with Host when that is known. */
static err parse_absolute(struct view target, struct gathered *seen, struct http_request *out)
{
    size_t scheme = view_find(target, ':');
    struct view name = view_upto(target, scheme), rest = view_from(target, scheme);
    if (!view_starts_with(rest, VIEW("://")) ||
        !(view_eq_nocase(name, VIEW("http")) || view_eq_nocase(name, VIEW("https"))))
        return fail(http_all(target, HTTP_QUERY) ? &http_target_form : &http_bad_target);
    rest = view_from(rest, 3);
    size_t end = 0;
    while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    seen->absolute_authority = view_upto(rest, end);
    TRY(parse_origin(view_from(rest, end), out));
    if (out->path.len == 0)
        out->path = VIEW("/");
    return OK;
}

static err parse_request_line(struct view line, struct gathered *seen, struct http_request *out)
{
    struct view rest = view_cut(line, ' ', &out->method);
    struct view version = view_cut(rest, ' ', &out->target);

    if (out->method.len == 0 || out->target.len == 0)
        return fail(&http_bad_request_line);
    TRY(parse_version(version, out));
    if (!http_all(out->method, HTTP_TOKEN))
        return fail(&http_bad_method);
    if (out->target.data[0] == '/')
        return parse_origin(out->target, out);
    return parse_absolute(out->target, seen, out);
}

/* host [ ":" port ], RFC 9110 section 7.2: a name or IPv4 address, or an IPv6 address in
 * brackets; neither part empty. */
static bool is_authority(struct view v)
{
    size_t host;
    uint64_t port;
    if (view_starts_with(v, VIEW("["))) {
        host = 1;
        while (host < v.len && (http_hex(v.data[host]) >= 0 || v.data[host] == ':' ||
                                v.data[host] == '.'))
            host++;
        if (host < 3 || host == v.len || v.data[host++] != ']')
            return false;
    } else {
        host = http_run(v, 0, HTTP_HOST_NAME);
        if (host == 0)
            return false;
    }
    struct view rest = view_from(v, host);
    if (rest.len == 0)
        return true;
    return rest.data[0] == ':' && rest.len <= 6 && view_to_u64(view_from(rest, 1), 65535, &port);
}

static void read_connection(struct view value, struct gathered *seen)
{
    while (value.len > 0) {
        struct view option;
        value = view_cut(value, ',', &option);
        option = view_trim(option);
        seen->says_close = seen->says_close || view_eq_nocase(option, VIEW("close"));
        seen->says_keep_alive =
            seen->says_keep_alive || view_eq_nocase(option, VIEW("keep-alive"));
    }
}

/* Looks at the headers that the codec itself must understand. */
static err gather(const struct http_header *h, struct gathered *seen, struct http_request *out)
{
    switch (h->name.len) {
    case sizeof "Host" - 1:
        if (!view_eq_nocase(h->name, VIEW("Host")))
            break;
        if (seen->has_host)
            return fail(&http_host_duplicate);
        seen->has_host = true;
        out->host = h->value;
        return is_authority(h->value) ? OK : fail(&http_host_bad);
    case sizeof "Expect" - 1:
        if (!view_eq_nocase(h->name, VIEW("Expect")))
            break;
        seen->has_expect = true;
        return view_eq_nocase(h->value, VIEW("100-continue")) ? OK : fail(&http_expectation_failed);
    case sizeof "Connection" - 1:
        if (view_eq_nocase(h->name, VIEW("Connection")))
            read_connection(h->value, seen);
        break;
    case sizeof "Content-Length" - 1:
        if (!view_eq_nocase(h->name, VIEW("Content-Length")))
            break;
        if (seen->has_length)
            return fail(&http_content_length_duplicate);
        seen->has_length = true;
        seen->content_length = h->value;
        break;
    case sizeof "Transfer-Encoding" - 1:
        if (!view_eq_nocase(h->name, VIEW("Transfer-Encoding")))
            break;
        if (seen->has_encoding)
            return fail(&http_transfer_encoding_duplicate);
        seen->has_encoding = true;
        seen->transfer_encoding = h->value;
        break;
    default:
        break;
    }
    return OK;
}

/* field-line = field-name ":" OWS field-value OWS, RFC 9112 section 5. */
static err parse_header(struct view line, struct http_header *out)
{
    size_t name = http_run(line, 0, HTTP_TOKEN);

    if (line.data[0] == ' ' || line.data[0] == '\t')
        return refuse_line(line, &http_obs_fold);
    if (name == 0 || name == line.len)
        return refuse_line(line, &http_bad_header_name);
    if (line.data[name] != ':') {
        bool blank = line.data[name] == ' ' || line.data[name] == '\t';
        return refuse_line(line, blank && view_find(line, ':') < line.len
                                     ? &http_space_before_colon
                                     : &http_bad_header_name);
    }
    out->name = view_upto(line, name);
    out->value = view_trim(view_from(line, name + 1));
    return http_is_value(out->value) ? OK : refuse_line(line, &http_bad_header_value);
}

/* RFC 9112 section 6.3, in its strictest reading. */
static err decide_framing(const struct gathered *seen, struct http_request *out)
{
    struct view length = seen->content_length;

    if (seen->has_length && seen->has_encoding)
        return fail(&http_length_and_encoding);
    if (seen->has_length) {
        /* A leading zero is octal to some. */
        if (!view_to_u64(length, INT64_MAX, &out->content_length) ||
            (length.len > 1 && length.data[0] == '0'))
            return fail(&http_content_length_bad);
    }
    if (seen->has_encoding) {
        if (out->minor == 0)
            return fail(&http_transfer_encoding_old);
        if (!view_eq_nocase(seen->transfer_encoding, VIEW("chunked")))
            return fail(&http_transfer_encoding_unsupported);
        out->chunked = true;
    }
    out->has_body = out->chunked || out->content_length > 0;
    return OK;
}

static err conclude(const struct gathered *seen, struct http_request *out)
{
    if (!seen->has_host && (out->minor > 0 || seen->absolute_authority.data != NULL))
        return fail(&http_host_missing);
    if (seen->absolute_authority.data != NULL &&
        !view_eq_nocase(seen->absolute_authority, out->host))
        return fail(&http_host_mismatch);
    TRY(decide_framing(seen, out));
    out->keep_alive = !seen->says_close && (out->minor > 0 || seen->says_keep_alive);
    /* RFC 9110 section 10.1.1: a 1.0 client's expectation is ignored. */
    out->expect_continue = seen->has_expect && out->minor > 0 && out->has_body;
    return OK;
}

static err parse_lines(struct view head, struct http_header *headers, size_t capacity,
                       struct http_request *out)
{
    struct gathered seen = {.has_host = false};
    struct view rest = head, line = next_line(&rest);

    if (line.len == 0)
        line = next_line(&rest);
    err e = parse_request_line(line, &seen, out);
    if (failed(e))
        return refuse_line(line, e.fault);
    for (line = next_line(&rest); line.len > 0; line = next_line(&rest)) {
        if (out->header_count == capacity)
            return fail(&http_too_many_headers);
        struct http_header *h = &headers[out->header_count];
        TRY(parse_header(line, h));
        TRY(gather(h, &seen, out));
        out->header_count++;
    }
    out->headers = headers;
    return conclude(&seen, out);
}

err http_parse_head(struct http_scan *scan, struct view in, const struct http_limits *limits,
                    struct http_header *headers, size_t capacity, struct http_request *out,
                    size_t *consumed)
{
    size_t max_head = limits != NULL ? limits->max_head_bytes : HTTP_DEFAULT_HEAD_BYTES;
    size_t max_line =
        limits != NULL ? limits->max_request_line_bytes : HTTP_DEFAULT_REQUEST_LINE_BYTES;
    size_t end;

    *out = (struct http_request){.minor = 0};
    *consumed = 0;
    if (in.len == 0)
        return OK;
    /* A TLS client on a plain port is told at once, not after a time-out. */
    if (!http_is(in.data[0], HTTP_TOKEN) && in.data[0] != '\r' && in.data[0] != '\n')
        return fail(&http_bad_method);
    TRY(find_end(scan, in, max_line < max_head ? max_line : max_head, max_head, &end));
    if (end == 0)
        return OK;
    TRY(parse_lines(view_upto(in, end), headers, capacity, out));
    *consumed = end;
    return OK;
}

struct view http_header(const struct http_request *request, const char *name)
{
    struct view wanted = view_str(name);
    for (size_t i = 0; i < request->header_count; i++) {
        if (view_eq_nocase(request->headers[i].name, wanted))
            return request->headers[i].value;
    }
    return (struct view){NULL, 0};
}

size_t http_header_count(const struct http_request *request, const char *name)
{
    struct view wanted = view_str(name);
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        count += view_eq_nocase(request->headers[i].name, wanted) ? 1 : 0;
    return count;
}
