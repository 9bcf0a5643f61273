/* One record, taken apart by the fixed order in which append.c writes it. */
#include "audit/internal.h"
#include "audit/verify.h"

static bool eat(struct view *v, struct view what)
{
    if (!view_starts_with(*v, what))
        return false;
    *v = view_from(*v, what.len);
    return true;
}

/* Text up to the next quote, which is eaten too; without escapes, as boots and kinds are. */
static bool eat_text(struct view *v, struct view *out)
{
    size_t end = view_find(*v, '"');

    if (end == v->len)
        return false;
    *out = view_upto(*v, end);
    *v = view_from(*v, end + 1);
    return view_find(*out, '\\') == out->len;
}

static bool eat_number(struct view *v, uint64_t max, uint64_t *out)
{
    size_t n = 0;

    while (n < v->len && v->data[n] >= '0' && v->data[n] <= '9')
        n++;
    struct view digits = view_upto(*v, n);
    *v = view_from(*v, n);
    return (n <= 1 || digits.data[0] != '0') && view_to_u64(digits, max, out);
}

/* ,"chain":"64 digits"} */
static bool split_chain(struct view line, struct audit_line *out)
{
    const struct view name = VIEW(",\"chain\":\""), close = VIEW("\"}");
    size_t tail = name.len + AUDIT_CHAIN_DIGITS + close.len;

    if (line.len < tail || !view_ends_with(line, close))
        return false;
    out->body = view_upto(line, line.len - tail);
    out->chain = view_upto(view_from(line, line.len - tail + name.len), AUDIT_CHAIN_DIGITS);
    for (size_t i = 0; i < out->chain.len; i++) {
        char c = out->chain.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return view_starts_with(view_from(line, out->body.len), name);
}

bool audit_line_parse(struct view line, struct audit_line *out)
{
    struct view time, rest;
    uint64_t writer;

    *out = (struct audit_line){0};
    if (line.len > AUDIT_LINE_MAX || !split_chain(line, out))
        return false;
    rest = out->body;
    if (!eat(&rest, VIEW("{\"time\":\"")) || !eat_text(&rest, &time) ||
        time.len != TIME_TEXT_BYTES - 1 || !eat(&rest, VIEW(",\"boot\":\"")) ||
        !eat_text(&rest, &out->boot) || !eat(&rest, VIEW(",\"worker\":")) ||
        !eat_number(&rest, UINT32_MAX, &writer) || !eat(&rest, VIEW(",\"seq\":")) ||
        !eat_number(&rest, UINT64_MAX, &out->seq) || !eat(&rest, VIEW(",\"kind\":\"")) ||
        !eat_text(&rest, &out->kind))
        return false;
    out->writer = (unsigned)writer;
    return rest.len == 0 || rest.data[0] == ',';
}
