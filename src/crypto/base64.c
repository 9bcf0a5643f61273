#include "crypto/base64.h"

static const char url_alphabet[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char plain_alphabet[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One more than the digit's value, so that zero means "not a digit".  The two rows where the
 * alphabets differ are filled by index below. */
#define DIGITS                                                                                     \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,        \
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15,             \
    ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22,            \
    ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29,            \
    ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,            \
    ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43,            \
    ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50,            \
    ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57,            \
    ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62

static const uint8_t url_digits[256] = {DIGITS, ['-'] = 63, ['_'] = 64};
static const uint8_t plain_digits[256] = {DIGITS, ['+'] = 63, ['/'] = 64};

/* Four digits to 24 bits; false when one is none. */
static bool four(const uint8_t digits[256], const char *at, uint32_t *bits)
{
    const uint8_t a = digits[(uint8_t)at[0]], b = digits[(uint8_t)at[1]];
    const uint8_t c = digits[(uint8_t)at[2]], d = digits[(uint8_t)at[3]];

    if (a == 0 || b == 0 || c == 0 || d == 0)
        return false;
    *bits = (uint32_t)(a - 1) << 18 | (uint32_t)(b - 1) << 12 | (uint32_t)(c - 1) << 6 |
            (uint32_t)(d - 1);
    return true;
}

/* The text without padding. */
static bool decode(const uint8_t digits[256], struct view text, uint8_t *out, size_t room,
                   size_t *len)
{
    const size_t tail = text.len % 4;
    const size_t need = text.len / 4 * 3 + (tail > 0 ? tail - 1 : 0);
    uint32_t bits;
    size_t at = 0;

    if (tail == 1 || need > room)
        return false;
    for (size_t i = 0; i + 4 <= text.len; i += 4) {
        if (!four(digits, text.data + i, &bits))
            return false;
        out[at++] = (uint8_t)(bits >> 16);
        out[at++] = (uint8_t)(bits >> 8);
        out[at++] = (uint8_t)bits;
    }
    if (tail > 0) {
        char last[4] = {'A', 'A', 'A', 'A'};
        memcpy(last, text.data + text.len - tail, tail);
        /* RFC 4648 section 3.5: the bits that stand for no byte are zero. */
        if (!four(digits, last, &bits) || (bits & (tail == 2 ? 0xffff : 0xff)) != 0)
            return false;
        out[at++] = (uint8_t)(bits >> 16);
        if (tail == 3)
            out[at++] = (uint8_t)(bits >> 8);
    }
    *len = at;
    return true;
}

bool base64url_decode(struct view text, uint8_t *out, size_t room, size_t *len)
{
    return decode(url_digits, text, out, room, len);
}

bool base64_decode(struct view text, uint8_t *out, size_t room, size_t *len)
{
    size_t bare = text.len;

    if (text.len % 4 != 0)
        return false;
    while (bare > 0 && text.len - bare < 2 && text.data[bare - 1] == '=')
        bare--;
    return decode(plain_digits, view_upto(text, bare), out, room, len);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(struct view text, uint8_t *out, size_t room, size_t *len)
{
    if (text.len % 2 != 0 || text.len / 2 > room)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *len = text.len / 2;
    return true;
}

static void encode(struct buf *out, const char alphabet[64], bool pad, struct view data)
{
    const uint8_t *in = (const uint8_t *)data.data;
    const size_t tail = data.len % 3;

    if (!buf_reserve(out, data.len / 3 * 4 + (tail == 0 ? 0 : pad ? 4 : tail + 1)))
        return;
    for (size_t i = 0; i < data.len; i += 3) {
        const size_t n = data.len - i < 3 ? data.len - i : 3;
        const uint32_t bits = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                              (n > 2 ? (uint32_t)in[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) {
            if (k <= n)
                out->data[out->len++] = alphabet[bits >> (18 - 6 * k) & 63];
            else if (pad)
                out->data[out->len++] = '=';
        }
    }
}

void base64url_encode(struct buf *out, struct view data)
{
    encode(out, url_alphabet, false, data);
}

void base64_encode(struct buf *out, struct view data)
{
    encode(out, plain_alphabet, true, data);
}
