#include "pg/value.h"

#include "crypto/base64.h"
#include "pg/number.h"
#include "pg/type.h"

/* ---- Scalars ---- */

static bool is_utf8(struct view v)
{
    size_t at = 0;
    uint64_t word;

    /* Nearly all text is ASCII: eight bytes at a time. */
    for (; v.len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, v.data + at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    return view_is_utf8(view_from(v, at));
}

static err text_cell(enum cell_kind kind, struct view text, struct cell *out)
{
    if (!is_utf8(text))
        return fail(&pg_value_not_utf8);
    *out = (struct cell){.kind = kind, .text = text};
    return OK;
}

static err bool_cell(struct view text, struct cell *out)
{
    bool truth = view_is(text, "t");

    if (!truth && !view_is(text, "f"))
        return fail(&pg_value_malformed);
    *out = (struct cell){.kind = CELL_BOOL, .text = truth ? VIEW("true") : VIEW("false")};
    return OK;
}

/* RFC 8259 section 6.  PostgreSQL's output functions never write anything else, but a writer that
 * copies the text must not depend on the server's good will. */
static bool is_json_number(struct view v)
{
    size_t start = char_at(v, 0, '-') ? 1 : 0;
    size_t at = digits_end(v, start);

    if (at == start || (v.data[start] == '0' && at > start + 1))
        return false;
    if (char_at(v, at, '.')) {
        size_t end = digits_end(v, at + 1);
        if (end == at + 1)
            return false;
        at = end;
    }
    return exponent_end(v, at) == v.len;
}

static err number_cell(struct view text, struct cell *out)
{
    bool number = is_json_number(text);

    if (!number && !view_is(text, "NaN") && !view_is(text, "Infinity") &&
        !view_is(text, "-Infinity"))
        return fail(&pg_value_malformed);
    *out = (struct cell){.kind = number ? CELL_NUMBER : CELL_TEXT, .text = text};
    return OK;
}

/* Chapter 8.4.2, "escape" output: '\\' is a backslash, '\ooo' the byte of that octal value. */
static bool unescape_bytes(struct view text, char *out, size_t *len)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\\') {
            struct view rest = view_from(text, i + 1);
            if (char_at(rest, 0, '\\')) {
                i++;
            } else {
                unsigned byte = 0;
                for (size_t d = 0; d < 3; d++) {
                    if (d >= rest.len || rest.data[d] < '0' || rest.data[d] > '7')
                        return false;
                    byte = byte << 3 | (unsigned)(rest.data[d] - '0');
                }
                if (byte > 255)
                    return false;
                c = (char)byte;
                i += 3;
            }
        }
        out[n++] = c;
    }
    *len = n;
    return true;
}

static err bytes_cell(struct arena *arena, struct view text, struct cell *out)
{
    size_t len;
    char *bytes = arena_alloc(arena, text.len + 1);

    if (bytes == NULL)
        return fail(&fault_too_large);
    /* Escape output doubles a backslash, so "\x" can only begin the hex format. */
    bool fine = view_starts_with(text, VIEW("\\x"))
                    ? hex_decode(view_from(text, 2), (uint8_t *)bytes, text.len, &len)
                    : unescape_bytes(text, bytes, &len);
    if (!fine)
        return fail(&pg_value_malformed);
    *out = (struct cell){.kind = CELL_BYTES, .text = {bytes, len}};
    return OK;
}

/* ---- Timestamps ---- */

/* '9' stands for any digit, everything else for itself. */
static bool has_shape(struct view v, const char *shape)
{
    if (v.len < strlen(shape))
        return false;
    for (size_t i = 0; shape[i] != '\0'; i++) {
        bool digit = v.data[i] >= '0' && v.data[i] <= '9';
        if (shape[i] == '9' ? !digit : v.data[i] != shape[i])
            return false;
    }
    return true;
}

enum { SECONDS_BYTES = sizeof "2026-01-02 03:04:05" - 1, DATE_BYTES = sizeof "2026-01-02" - 1 };

/* The length of "2026-01-02 03:04:05.678901" at the front of v, or 0: infinity, years beyond 9999. */
static size_t local_time_len(struct view v)
{
    if (!has_shape(v, "9999-99-99 99:99:99"))
        return 0;
    if (!char_at(v, SECONDS_BYTES, '.'))
        return SECONDS_BYTES;
    return digits_end(v, SECONDS_BYTES + 1);
}

/* What must follow the text to make its offset whole: "+00" wants ":00".  NULL: no offset at all.
 * Offsets with seconds (local mean time of past centuries) are beyond ISO 8601 and stay. */
static const char *offset_tail(struct view v)
{
    if (!has_shape(v, "+99") && !has_shape(v, "-99"))
        return NULL;
    v = view_from(v, 3);
    if (v.len == 0)
        return ":00";
    return has_shape(v, ":99") && (v.len == 3 || (v.len == 6 && has_shape(v, ":99:99"))) ? "" : NULL;
}

static err timestamp_cell(struct arena *arena, struct view text, bool zone, struct cell *out)
{
    size_t local = local_time_len(text);
    const char *tail = zone ? offset_tail(view_from(text, local)) : "";

    if (local == 0 || tail == NULL || (!zone && local != text.len))
        return text_cell(CELL_TEXT, text, out);
    size_t tail_len = strlen(tail);
    char *at = arena_alloc(arena, text.len + tail_len);
    if (at == NULL)
        return fail(&fault_too_large);
    memcpy(at, text.data, text.len);
    memcpy(at + text.len, tail, tail_len);
    at[DATE_BYTES] = 'T';
    *out = (struct cell){.kind = CELL_TEXT, .text = {at, text.len + tail_len}};
    return OK;
}

static err scalar_cell(struct arena *arena, enum pg_kind kind, struct view text, struct cell *out)
{
    switch (kind) {
    case PG_KIND_BOOL:
        return bool_cell(text, out);
    case PG_KIND_NUMBER:
        return number_cell(text, out);
    case PG_KIND_JSON:
        return text_cell(CELL_JSON, text, out);
    case PG_KIND_BYTES:
        return bytes_cell(arena, text, out);
    case PG_KIND_TIMESTAMP:
        return timestamp_cell(arena, text, false, out);
    case PG_KIND_TIMESTAMPTZ:
        return timestamp_cell(arena, text, true, out);
    case PG_KIND_TEXT:
        break;
    }
    return text_cell(CELL_TEXT, text, out);
}

/* ---- Arrays (chapter 8.15.6) ---- */

struct array_reader {
    struct arena *arena;
    enum pg_kind element;
    struct view left;
};

static bool take_char(struct array_reader *r, char c)
{
    if (!char_at(r->left, 0, c))
        return false;
    r->left = view_from(r->left, 1);
    return true;
}

/* "[0:1][-3:4]=" before the braces: lower bounds that are not 1.  JSON has no word for them. */
static bool skip_bounds(struct array_reader *r)
{
    if (!char_at(r->left, 0, '['))
        return true;
    for (unsigned i = 0; i < PG_MAX_DIMENSIONS && take_char(r, '['); i++) {
        for (int side = 0; side < 2; side++) {
            (void)take_char(r, '-');
            size_t digits = digits_end(r->left, 0);
            r->left = view_from(r->left, digits);
            if (digits == 0 || !take_char(r, side == 0 ? ':' : ']'))
                return false;
        }
    }
    return take_char(r, '=');
}

/* How many items stand directly in the array that opens at the front of v.  Each has at least one
 * character, so the count is bounded by the text. */
static bool count_items(struct view v, size_t *out)
{
    size_t depth = 0, commas = 0;
    bool quoted = false;

    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (quoted)
            continue;
        else if (c == ',' && depth == 1)
            commas++;
        else if (c == '{')
            depth++;
        else if (c == '}' && --depth == 0) {
            *out = i == 1 ? 0 : commas + 1;
            return true;
        }
    }
    return false;
}

/* The text of an element in quotes; without a backslash in it, it stays where it is. */
static err read_quoted(struct array_reader *r, struct view *out)
{
    size_t end = 0, escapes = 0;

    while (end < r->left.len && r->left.data[end] != '"') {
        if (r->left.data[end] == '\\') {
            escapes++;
            end++;
        }
        end++;
    }
    if (end >= r->left.len)
        return fail(&pg_value_malformed);
    *out = view_upto(r->left, end);
    r->left = view_from(r->left, end + 1);
    if (escapes == 0)
        return OK;
    char *plain = arena_alloc(r->arena, out->len - escapes);
    if (plain == NULL)
        return fail(&fault_too_large);
    size_t n = 0;
    for (size_t i = 0; i < out->len; i++) {
        if (out->data[i] == '\\')
            i++;
        plain[n++] = out->data[i];
    }
    *out = view_of(plain, n);
    return OK;
}

/* What array_out leaves without quotes has none of the characters that have a meaning. */
static bool is_special(char c)
{
    return c == ',' || c == '{' || c == '}' || c == '"' || c == '\\';
}

static err read_element(struct array_reader *r, struct cell *out)
{
    struct view text;

    if (take_char(r, '"')) {
        TRY(read_quoted(r, &text));
        return scalar_cell(r->arena, r->element, text, out);
    }
    size_t end = 0;
    while (end < r->left.len && !is_special(r->left.data[end]))
        end++;
    text = view_upto(r->left, end);
    r->left = view_from(r->left, end);
    if (end == 0)
        return fail(&pg_value_malformed);
    if (view_is(text, "NULL")) {
        *out = (struct cell){.kind = CELL_NULL};
        return OK;
    }
    return scalar_cell(r->arena, r->element, text, out);
}

/* Recursion ends at the server's own limit of dimensions. */
static err read_array(struct array_reader *r, unsigned depth, struct cell *out)
{
    size_t count;

    if (depth == PG_MAX_DIMENSIONS || !count_items(r->left, &count) || !take_char(r, '{'))
        return fail(&pg_value_malformed);
    struct cell *items = ARENA_ARRAY(r->arena, count, struct cell);
    if (items == NULL)
        return fail(&fault_too_large);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && !take_char(r, ','))
            return fail(&pg_value_malformed);
        if (char_at(r->left, 0, '{'))
            TRY(read_array(r, depth + 1, &items[i]));
        else
            TRY(read_element(r, &items[i]));
    }
    if (!take_char(r, '}'))
        return fail(&pg_value_malformed);
    *out = (struct cell){.kind = CELL_ARRAY, .items = items, .count = count};
    return OK;
}

static err array_cell(struct arena *arena, enum pg_kind element, struct view text,
                      struct cell *out)
{
    struct array_reader r = {arena, element, text};

    if (!skip_bounds(&r))
        return fail(&pg_value_malformed);
    TRY(read_array(&r, 0, out));
    return r.left.len == 0 ? OK : fail(&pg_value_malformed);
}

err pg_value_to_cell(struct arena *arena, uint32_t type_oid, struct view text, struct cell *out)
{
    if (text.data == NULL) {
        *out = (struct cell){.kind = CELL_NULL};
        return OK;
    }
    uint32_t element = pg_type_element(type_oid);
    if (element != 0)
        return array_cell(arena, pg_type_kind(element), text, out);
    return scalar_cell(arena, pg_type_kind(type_oid), text, out);
}
