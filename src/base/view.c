#include "base/view.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool view_eq_nocase(struct view a, struct view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

int view_cmp(struct view a, struct view b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

size_t view_find(struct view v, char c)
{
    const char *at = v.len == 0 ? NULL : memchr(v.data, c, v.len);
    return at == NULL ? v.len : (size_t)(at - v.data);
}

struct view view_cut(struct view v, char c, struct view *head)
{
    size_t at = view_find(v, c);
    *head = view_upto(v, at);
    return at == v.len ? (struct view){NULL, 0} : view_from(v, at + 1);
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

struct view view_trim(struct view v)
{
    while (v.len > 0 && blank(v.data[0]))
        v = view_from(v, 1);
    while (v.len > 0 && blank(v.data[v.len - 1]))
        v.len--;
    return v;
}

bool view_to_u64(struct view v, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        unsigned digit = (unsigned)(unsigned char)v.data[i] - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (n > max)
        return false;
    *out = n;
    return true;
}

/* The length of the sequence that starts at p (RFC 3629 section 4), or 0 when it is malformed. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char c = p[0], low = 0x80, high = 0xBF;
    size_t len;

    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        len = 2;
    else if (c >= 0xE0 && c <= 0xEF)
        len = 3;
    else if (c >= 0xF0 && c <= 0xF4)
        len = 4;
    else
        return 0;
    if (len > left)
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool view_is_utf8(struct view v)
{
    const unsigned char *p = (const unsigned char *)v.data;
    size_t at = 0;

    while (at < v.len) {
        size_t step = utf8_sequence(p + at, v.len - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}
