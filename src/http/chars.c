#include "http/chars.h"

#define NAME_ALWAYS                                                                                \
    (HTTP_TOKEN | HTTP_VALUE | HTTP_PATH | HTTP_QUERY | HTTP_HOST_NAME | HTTP_EXTENSION)
#define TOKEN_IN_URI (HTTP_TOKEN | HTTP_VALUE | HTTP_PATH | HTTP_QUERY | HTTP_EXTENSION)
#define TOKEN_IN_QUERY (HTTP_TOKEN | HTTP_VALUE | HTTP_QUERY | HTTP_EXTENSION)
#define TOKEN_NOT_IN_URI (HTTP_TOKEN | HTTP_VALUE | HTTP_EXTENSION)
#define IN_URI (HTTP_VALUE | HTTP_PATH | HTTP_QUERY | HTTP_EXTENSION)
#define IN_QUERY (HTTP_VALUE | HTTP_QUERY | HTTP_EXTENSION)
#define IN_VALUE (HTTP_VALUE | HTTP_EXTENSION)

const unsigned char http_classes[256] = {
    ['\t'] = IN_VALUE,
    [' '] = IN_VALUE,
    ['!'] = TOKEN_IN_URI,
    ['"'] = IN_VALUE,
    ['#'] = TOKEN_NOT_IN_URI,
    ['$' ... '\''] = TOKEN_IN_URI, /* $ % & ' */
    ['('] = IN_URI,
    [')'] = IN_URI,
    ['*'] = TOKEN_IN_URI,
    ['+'] = TOKEN_IN_URI,
    [','] = IN_URI,
    ['-'] = NAME_ALWAYS,
    ['.'] = NAME_ALWAYS,
    ['/'] = IN_URI,
    ['0' ... '9'] = NAME_ALWAYS,
    [':'] = IN_URI,
    [';'] = IN_URI,
    ['<'] = IN_VALUE,
    ['='] = IN_URI,
    ['>'] = IN_VALUE,
    ['?'] = IN_QUERY,
    ['@'] = IN_URI,
    ['A' ... 'Z'] = NAME_ALWAYS,
    ['['] = IN_URI,
    ['\\'] = IN_QUERY,
    [']'] = IN_URI,
    ['^'] = TOKEN_IN_QUERY,
    ['_'] = NAME_ALWAYS,
    ['`'] = TOKEN_IN_QUERY,
    ['a' ... 'z'] = NAME_ALWAYS,
    ['{'] = IN_QUERY,
    ['|'] = TOKEN_IN_URI,
    ['}'] = IN_QUERY,
    ['~'] = NAME_ALWAYS,
    [0x80 ... 0xFF] = HTTP_VALUE,
};

#define EVERY_BYTE(c) (0x0101010101010101ULL * (c))

bool http_is_value(struct view v)
{
    uint64_t word;
    size_t at = 0;
    while (v.len - at >= sizeof word) {
        memcpy(&word, v.data + at, sizeof word);
        uint64_t del = word ^ EVERY_BYTE(0x7F);
        uint64_t found = ((word - EVERY_BYTE(0x20)) & ~word) | ((del - EVERY_BYTE(1)) & ~del);
        if ((found & EVERY_BYTE(0x80)) != 0 &&
            !http_all(view_of(v.data + at, sizeof word), HTTP_VALUE))
            return false;
        at += sizeof word;
    }
    return http_all(view_from(v, at), HTTP_VALUE);
}
