#include "pg/number.h"
#include "pg/type.h"
#include "pg/value.h"

/* ---- Is it of the type? ---- */

/* Chapter 8.6: unique prefixes of true, false, yes, no, on, off, in any case; 1 and 0. */
static bool is_bool(struct view v)
{
    static const struct {
        struct view word;
        size_t least; /* characters that make it unique */
    } words[] = {
        {VIEW("true"), 1}, {VIEW("false"), 1}, {VIEW("yes"), 1}, {VIEW("no"), 1},
        {VIEW("on"), 2},   {VIEW("off"), 2},   {VIEW("1"), 1},   {VIEW("0"), 1},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (v.len >= words[i].least && v.len <= words[i].word.len &&
            view_eq_nocase(v, view_upto(words[i].word, v.len)))
            return true;
    }
    return false;
}

/* An optional sign and decimal digits, from -(max + 1) (or 0) to max. */
static bool is_integer(struct view v, uint64_t max, bool may_be_negative)
{
    bool negative = char_at(v, 0, '-');
    uint64_t n;

    if (negative || char_at(v, 0, '+'))
        v = view_from(v, 1);
    if (negative && !may_be_negative)
        return false;
    return view_to_u64(v, negative ? max + 1 : max, &n);
}

/* 12, 1.5, .5, 1., 1e9, and the words of chapters 8.1.2 and 8.1.3.  Range and precision are the
 * server's to judge. */
static bool is_decimal(struct view v)
{
    if (char_at(v, 0, '-') || char_at(v, 0, '+'))
        v = view_from(v, 1);
    if (view_eq_nocase(v, VIEW("NaN")) || view_eq_nocase(v, VIEW("Infinity")) ||
        view_eq_nocase(v, VIEW("inf")))
        return true;
    size_t whole = digits_end(v, 0), at = whole;
    size_t fraction = 0;
    if (char_at(v, at, '.')) {
        at = digits_end(v, at + 1);
        fraction = at - whole - 1;
    }
    return whole + fraction > 0 && exponent_end(v, at) == v.len;
}

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Chapter 8.12: 32 digits, a hyphen allowed after any group of four, braces around allowed. */
static bool is_uuid(struct view v)
{
    size_t digits = 0;

    if (char_at(v, 0, '{') && char_at(v, v.len - 1, '}'))
        v = view_upto(view_from(v, 1), v.len - 2);
    for (size_t i = 0; i < v.len; i++) {
        if (is_hex_digit(v.data[i]))
            digits++;
        else if (v.data[i] != '-' || digits == 0 || digits % 4 != 0 || digits >= 32 ||
                 v.data[i - 1] == '-')
            return false;
    }
    return digits == 32;
}

static bool fits_type(uint32_t type_oid, struct view text)
{
    switch (type_oid) {
    case PG_BOOL:
        return is_bool(text);
    case PG_INT2:
        return is_integer(text, INT16_MAX, true);
    case PG_INT4:
        return is_integer(text, INT32_MAX, true);
    case PG_INT8:
        return is_integer(text, INT64_MAX, true);
    case PG_OID:
        return is_integer(text, UINT32_MAX, false);
    case PG_FLOAT4:
    case PG_FLOAT8:
    case PG_NUMERIC:
        return is_decimal(text);
    case PG_UUID:
        return is_uuid(text);
    default:
        return true;
    }
}

err pg_parameter_check(uint32_t type_oid, struct view text)
{
    if (view_find(text, '\0') != text.len || !view_is_utf8(text) || !fits_type(type_oid, text))
        return fail(&pg_parameter_malformed);
    return OK;
}

/* ---- Array literals ---- */

void pg_array_init(struct pg_array_writer *w, struct buf *out)
{
    *w = (struct pg_array_writer){.out = out, .first = true};
}

static void add_separator(struct pg_array_writer *w)
{
    if (!w->first)
        buf_add_char(w->out, ',');
    w->first = false;
}

void pg_add_array_open(struct pg_array_writer *w)
{
    /* At depth 0 the first literal must be the only one. */
    if (w->depth == PG_MAX_DIMENSIONS || (w->depth == 0 && !w->first)) {
        w->out->failed = true;
        return;
    }
    add_separator(w);
    buf_add_char(w->out, '{');
    w->depth++;
    w->first = true;
}

void pg_add_array_element(struct pg_array_writer *w, struct view value)
{
    if (w->depth == 0) {
        w->out->failed = true;
        return;
    }
    add_separator(w);
    if (value.data == NULL) {
        buf_add_str(w->out, "NULL");
        return;
    }
    buf_add_char(w->out, '"');
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\')
            buf_add_char(w->out, '\\');
        buf_add_char(w->out, value.data[i]);
    }
    buf_add_char(w->out, '"');
}

void pg_add_array_close(struct pg_array_writer *w)
{
    if (w->depth == 0) {
        w->out->failed = true;
        return;
    }
    buf_add_char(w->out, '}');
    w->depth--;
    w->first = false;
}
