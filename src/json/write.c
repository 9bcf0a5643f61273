#include "json/json.h"

/* Stops a cell that contains itself; PostgreSQL's arrays have at most six dimensions. */
enum { MAX_ARRAY_DEPTH = 16 };

#define EVERY_BYTE(c) (0x0101010101010101ULL * (c))

/* A bit in each byte of w that is below 0x20, a quote, a backslash, or not ASCII.  Borrows may set
 * bits above the first such byte, so it tells whether there is one, not which ones. */
static uint64_t unplain_bytes(uint64_t w)
{
    uint64_t quote = w ^ EVERY_BYTE('"'), backslash = w ^ EVERY_BYTE('\\');
    return ((w - EVERY_BYTE(0x20)) | (quote - EVERY_BYTE(1)) | (backslash - EVERY_BYTE(1)) | w) &
           EVERY_BYTE(0x80);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The well-formed UTF-8 sequence at p (RFC 3629 section 4): its length, and *valid.  When it is
 * ill-formed, the length of the maximal part that becomes one U+FFFD (Unicode 15 section 3.9). */
static size_t utf8_step(const unsigned char *p, size_t left, bool *valid)
{
    unsigned char c = p[0], low = 0x80, high = 0xBF;
    size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;

    *valid = false;
    if (c < 0xC2 || c > 0xF4)
        return 1;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    for (size_t i = 1; i < need; i++) {
        if (i == left || p[i] < low || p[i] > high)
            return i;
        low = 0x80;
        high = 0xBF;
    }
    *valid = true;
    return need;
}

/* How many bytes from the start can be copied as they are. */
static size_t copyable(const unsigned char *p, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint64_t word;
        if (len - at >= sizeof word) {
            memcpy(&word, p + at, sizeof word);
            if (unplain_bytes(word) == 0) {
                at += sizeof word;
                continue;
            }
        }
        bool valid = true;
        if (is_plain(p[at]))
            at++;
        else if (p[at] < 0x80)
            break;
        else {
            size_t step = utf8_step(p + at, len - at, &valid);
            if (!valid)
                break;
            at += step;
        }
    }
    return at;
}

static void add_control(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (shorts[c] != 0) {
        char pair[2] = {'\\', shorts[c]};
        buf_add(b, pair, sizeof pair);
    } else {
        char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        buf_add(b, six, sizeof six);
    }
}

/* The first byte of text cannot be copied: writes what stands for it, returns how much it was. */
static size_t add_unplain(struct buf *b, struct view text)
{
    unsigned char c = (unsigned char)text.data[0];
    if (c >= 0x80) {
        bool valid;
        buf_add(b, "\xEF\xBF\xBD", 3);
        return utf8_step((const unsigned char *)text.data, text.len, &valid);
    }
    if (c < 0x20) {
        add_control(b, c);
    } else {
        char pair[2] = {'\\', (char)c};
        buf_add(b, pair, sizeof pair);
    }
    return 1;
}

void json_add_string(struct buf *b, struct view text)
{
    size_t plain = copyable((const unsigned char *)text.data, text.len);

    if (!buf_reserve(b, text.len + 2))
        return;
    char *to = b->data + b->len;
    *to++ = '"';
    if (plain > 0)
        memcpy(to, text.data, plain);
    to[plain] = '"';
    b->len += plain + 2;
    if (plain == text.len)
        return;

    b->len--; /* the quote came too early */
    for (text = view_from(text, plain); text.len > 0; text = view_from(text, plain)) {
        text = view_from(text, add_unplain(b, text));
        plain = copyable((const unsigned char *)text.data, text.len);
        buf_add(b, text.data, plain);
    }
    buf_add_char(b, '"');
}

void json_add_base64(struct buf *b, struct view bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes.data;
    size_t left = bytes.len;

    if (left > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    if (!buf_reserve(b, (left + 2) / 3 * 4 + 2))
        return;
    char *to = b->data + b->len;
    *to++ = '"';
    for (; left > 0; left -= left < 3 ? left : 3, p += 3) {
        unsigned n = (unsigned)p[0] << 16 | (left > 1 ? (unsigned)p[1] << 8 : 0) |
                     (left > 2 ? (unsigned)p[2] : 0);
        *to++ = digits[n >> 18];
        *to++ = digits[n >> 12 & 63];
        *to++ = left > 1 ? digits[n >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[n & 63] : '=';
    }
    *to++ = '"';
    b->len = (size_t)(to - b->data);
}

void json_add_bool(struct buf *b, bool value)
{
    buf_add_view(b, value ? VIEW("true") : VIEW("false"));
}

static void add_cell(struct buf *b, const struct cell *cell, unsigned depth)
{
    switch (cell->kind) {
    case CELL_NULL:
        buf_add(b, "null", 4);
        break;
    case CELL_BOOL:
    case CELL_NUMBER:
    case CELL_JSON:
        buf_add_view(b, cell->text);
        break;
    case CELL_TEXT:
        json_add_string(b, cell->text);
        break;
    case CELL_BYTES:
        json_add_base64(b, cell->text);
        break;
    case CELL_ARRAY:
        if (depth == MAX_ARRAY_DEPTH) {
            b->failed = true;
            break;
        }
        buf_add_char(b, '[');
        for (size_t i = 0; i < cell->count; i++) {
            if (i > 0)
                buf_add_char(b, ',');
            add_cell(b, &cell->items[i], depth + 1);
        }
        buf_add_char(b, ']');
        break;
    }
}

void json_add_cell(struct buf *b, const struct cell *cell)
{
    add_cell(b, cell, 0);
}

void json_add_name(struct buf *b, const char *name)
{
    json_add_string(b, view_str(name));
    buf_add_char(b, ':');
}

err json_names_init(struct json_names *names, struct arena *arena, const struct column *columns,
                    size_t count)
{
    struct buf prefix;
    bool complete = true;
    struct view *prefixes = ARENA_ARRAY(arena, count + 1, struct view);

    *names = (struct json_names){NULL, 0};
    if (prefixes == NULL)
        return fail(&fault_out_of_memory);
    buf_init(&prefix, SIZE_MAX);
    for (size_t i = 0; i < count && complete; i++) {
        buf_reset(&prefix);
        buf_add_char(&prefix, i == 0 ? '{' : ',');
        json_add_string(&prefix, columns[i].name);
        buf_add_char(&prefix, ':');
        prefixes[i] = arena_copy(arena, buf_view(&prefix));
        complete = !buf_failed(&prefix) && prefixes[i].data != NULL;
    }
    buf_clear(&prefix);
    if (!complete)
        return fail(&fault_out_of_memory);
    *names = (struct json_names){prefixes, count};
    return OK;
}

void json_add_row(struct buf *b, const struct json_names *names, const struct cell *cells)
{
    if (names->count == 0)
        buf_add_char(b, '{');
    for (size_t i = 0; i < names->count; i++) {
        buf_add_view(b, names->prefixes[i]);
        add_cell(b, &cells[i], 0);
    }
    buf_add_char(b, '}');
}
