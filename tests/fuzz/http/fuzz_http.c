/* Any bytes as a connection: byte by byte gives what all at once gives; a head that is accepted
 * holds no control character, has one framing, and its path decodes as it was checked. */
#include "base/log.h"
#include "http/uri.h"
#include "../../unit/http/connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_control(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static void check_uri(const struct http_request *r)
{
    struct arena arena;
    struct view rest = r->path, segment, name, value, decoded;
    arena_init(&arena, 1024, 1 << 20);
    bool checked = !failed(uri_path_check(r->path));
    while (uri_path_next(&rest, &segment)) {
        err e = uri_decode_segment(&arena, segment, &decoded);
        if (!failed(e)) {
            ENSURE(view_is_utf8(decoded) && decoded.len <= segment.len);
            ENSURE(view_find(decoded, '/') == decoded.len && view_find(decoded, 0) == decoded.len);
        }
        if (checked) {
            ENSURE(!failed(e) || is_fault(e, &uri_not_utf8));
            ENSURE(failed(e) || (!view_is(decoded, ".") && !view_is(decoded, "..")));
        }
    }
    rest = r->query;
    while (uri_query_next(&rest, &name, &value)) {
        if (!failed(uri_decode_query(&arena, name, &decoded)))
            ENSURE(view_is_utf8(decoded));
        if (!failed(uri_decode_query(&arena, value, &decoded)))
            ENSURE(decoded.len <= value.len);
    }
    arena_clear(&arena);
}

static void check_head(struct view in)
{
    struct http_scan scan = {0};
    struct http_header headers[32];
    struct http_request r;
    size_t used;
    err e = http_parse_head(&scan, in, NULL, headers, COUNT_OF(headers), &r, &used);
    ENSURE(!failed(e) || (used == 0 && e.fault->http_status >= 400));
    if (failed(e) || used == 0)
        return;
    ENSURE(used <= in.len && in.data[used - 1] == '\n');
    ENSURE(r.path.len > 0 && r.path.data[0] == '/');
    ENSURE(!has_control(r.method) && !has_control(r.target));
    for (size_t i = 0; i < r.header_count; i++) {
        ENSURE(r.headers[i].name.len > 0 && !has_control(r.headers[i].name));
        ENSURE(!has_control(r.headers[i].value));
    }
    size_t lengths = http_header_count(&r, "content-length");
    size_t encodings = http_header_count(&r, "transfer-encoding");
    ENSURE(lengths + encodings <= 1 && r.chunked == (encodings == 1));
    ENSURE(r.has_body == (r.chunked || r.content_length > 0));
    ENSURE(r.minor == 0 || http_header_count(&r, "host") == 1);
    check_uri(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = view_of(data, size);
    check_head(in);
    struct buf whole = connection_run(in, size > 0 ? size : 1);
    struct buf bytewise = connection_run(in, 1), by_seven = connection_run(in, 7);
    ENSURE(view_eq(buf_view(&whole), buf_view(&bytewise)));
    ENSURE(view_eq(buf_view(&whole), buf_view(&by_seven)));
    buf_clear(&whole);
    buf_clear(&bytewise);
    buf_clear(&by_seven);
    return 0;
}
