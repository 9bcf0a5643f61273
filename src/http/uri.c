#include "http/uri.h"

#include "http/chars.h"

#define BAD_URI(fault_name, what) const struct fault fault_name = {#fault_name, what, what, 400}

BAD_URI(uri_bad_path, "the path is malformed");
BAD_URI(uri_bad_escape, "the URL holds an invalid percent escape");
BAD_URI(uri_nul, "the URL holds an encoded NUL");
BAD_URI(uri_encoded_separator, "a path segment holds an encoded slash or backslash");
BAD_URI(uri_not_utf8, "the URL does not decode to UTF-8");
BAD_URI(uri_dot_segment, "the path holds a dot segment");
BAD_URI(uri_empty_segment, "the path holds an empty segment");

/* The byte at *at, decoded; *at moves behind it.  -1: an invalid escape. */
static int take_byte(struct view raw, size_t *at)
{
    char c = raw.data[(*at)++];
    if (c != '%')
        return (unsigned char)c;
    if (raw.len - *at < 2)
        return -1;
    int high = http_hex(raw.data[*at]), low = http_hex(raw.data[*at + 1]);
    if (high < 0 || low < 0)
        return -1;
    *at += 2;
    return high << 4 | low;
}

/* What is wrong with a byte of a segment or query; `escaped` says how it was written. */
static err check_byte(int c, bool escaped, bool in_path)
{
    if (c < 0)
        return fail(&uri_bad_escape);
    if (c == 0)
        return fail(&uri_nul);
    if (in_path && (c == '/' || c == '\\'))
        return fail(escaped ? &uri_encoded_separator : &uri_bad_path);
    return OK;
}

static err check_segment(struct view raw)
{
    size_t dots = 0, others = 0;

    for (size_t at = 0; at < raw.len;) {
        bool escaped = raw.data[at] == '%';
        int c = take_byte(raw, &at);
        TRY(check_byte(c, escaped, true));
        if (c == '.')
            dots++;
        else
            others++;
    }
    return others == 0 && (dots == 1 || dots == 2) ? fail(&uri_dot_segment) : OK;
}

err uri_path_check(struct view raw_path)
{
    struct view rest = raw_path, segment;

    if (!view_starts_with(raw_path, VIEW("/")))
        return fail(&uri_bad_path);
    while (uri_path_next(&rest, &segment)) {
        if (segment.len == 0 && rest.len > 0)
            return fail(&uri_empty_segment);
        TRY(check_segment(segment));
    }
    return OK;
}

bool uri_path_next(struct view *rest, struct view *raw_segment)
{
    if (rest->len == 0 || rest->data[0] != '/')
        return false;
    struct view from = view_from(*rest, 1);
    size_t end = view_find(from, '/');
    *raw_segment = view_upto(from, end);
    *rest = view_from(from, end);
    return true;
}

static err decode(struct arena *arena, struct view raw, bool in_path, struct view *out)
{
    char *text = NULL;
    size_t len = 0;
    bool as_it_is = view_find(raw, '%') == raw.len && (in_path || view_find(raw, '+') == raw.len);

    if (!as_it_is) {
        text = arena_alloc(arena, raw.len);
        if (text == NULL)
            return fail(&fault_out_of_memory);
    }
    for (size_t at = 0; at < raw.len;) {
        bool escaped = raw.data[at] == '%';
        int c = take_byte(raw, &at);
        TRY(check_byte(c, escaped, in_path));
        if (!as_it_is)
            text[len++] = !in_path && !escaped && c == '+' ? ' ' : (char)c;
    }
    struct view decoded = as_it_is ? raw : view_of(text, len);
    if (!view_is_utf8(decoded))
        return fail(&uri_not_utf8);
    *out = decoded;
    return OK;
}

err uri_decode_segment(struct arena *arena, struct view raw, struct view *out)
{
    return decode(arena, raw, true, out);
}

bool uri_query_next(struct view *rest, struct view *raw_name, struct view *raw_value)
{
    while (rest->len > 0) {
        struct view piece;
        *rest = view_cut(*rest, '&', &piece);
        if (piece.len == 0)
            continue;
        *raw_value = view_cut(piece, '=', raw_name);
        return true;
    }
    return false;
}

err uri_decode_query(struct arena *arena, struct view raw, struct view *out)
{
    return decode(arena, raw, false, out);
}
