#include "config/url.h"

#include "config/reference.h"

/* Where the user's part ends: at the '@' that stands before the host, references skipped. */
static size_t find_at(struct view rest)
{
    for (size_t i = 0; i < rest.len; i++) {
        size_t reference = reference_length(view_from(rest, i));
        if (reference > 0)
            i += reference - 1;
        else if (rest.data[i] == '@')
            return i;
        else if (rest.data[i] == '/')
            break;
    }
    return rest.len;
}

static void split_user(struct view text, struct url_parts *out)
{
    size_t reference = reference_length(text);

    if (reference == 0 || (reference < text.len && text.data[reference] != ':')) {
        out->password = view_cut(text, ':', &out->user);
        return;
    }
    out->user = view_upto(text, reference);
    if (reference < text.len)
        out->password = view_from(text, reference + 1);
}

static const char *split_host(struct view text, struct url_parts *out)
{
    if (text.len > 0 && text.data[0] == '[') {
        struct view after = view_cut(view_from(text, 1), ']', &out->host);
        if (after.data == NULL || (after.len > 0 && after.data[0] != ':'))
            return "must hold an IPv6 address as [ADDRESS]:PORT";
        if (after.len > 0)
            out->port = view_from(after, 1);
        return NULL;
    }
    out->port = view_cut(text, ':', &out->host);
    if (text.len > 0 && view_find(text, ',') < text.len)
        return "must name one host";
    return NULL;
}

const char *url_split(struct view url, struct url_parts *out)
{
    struct view scheme = VIEW("postgres://"), longer = VIEW("postgresql://"), authority;

    *out = (struct url_parts){0};
    if (view_starts_with(url, longer))
        scheme = longer;
    else if (!view_starts_with(url, scheme))
        return "must read postgres://USER@HOST:PORT/DATABASE";
    struct view rest = view_from(url, scheme.len);
    size_t at = find_at(rest);
    if (at < rest.len) {
        split_user(view_upto(rest, at), out);
        rest = view_from(rest, at + 1);
    }
    if (view_find(rest, '?') < rest.len || view_find(rest, '#') < rest.len)
        return "must not hold '?' or '#'; write sslmode and the like as fields";
    out->database = view_cut(rest, '/', &authority);
    if (view_find(out->database, '/') < out->database.len)
        return "must read postgres://USER@HOST:PORT/DATABASE";
    return split_host(authority, out);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool url_decode(struct arena *arena, struct view part, struct view *out)
{
    char *at = arena_alloc(arena, part.len + 1);
    size_t n = 0;

    if (at == NULL)
        return false;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.data[i];
        if (c == '%') {
            int high = i + 2 < part.len ? hex_digit(part.data[i + 1]) : -1;
            int low = i + 2 < part.len ? hex_digit(part.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        at[n++] = c;
    }
    at[n] = '\0';
    *out = view_of(at, n);
    return view_is_utf8(*out);
}
