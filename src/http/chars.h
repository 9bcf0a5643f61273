/* The character classes of HTTP and URIs.  Private to the room. */
#ifndef SALLYPORT_HTTP_CHARS_H
#define SALLYPORT_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

enum http_class {
    HTTP_TOKEN = 1,     /* tchar, RFC 9110 section 5.6.2 */
    HTTP_VALUE = 2,     /* of a field value: VCHAR, blank, tab, obs-text; section 5.5 */
    HTTP_PATH = 4,      /* pchar and '/', RFC 3986 section 3.3; and "[]|", which clients send raw */
    HTTP_QUERY = 8,     /* what the URL standard leaves raw in a query: VCHAR without "#<> */
    HTTP_HOST_NAME = 16, /* of a registered name or IPv4 address; no escapes, no sub-delims */
    HTTP_EXTENSION = 32, /* of a chunk extension: VCHAR, blank, tab */
};

extern const unsigned char http_classes[256];

static inline bool http_is(char c, enum http_class class)
{
    return (http_classes[(unsigned char)c] & class) != 0;
}

/* How many bytes from `at` on are of the class. */
static inline size_t http_run(struct view v, size_t at, enum http_class class)
{
    size_t end = at;
    while (end < v.len && http_is(v.data[end], class))
        end++;
    return end - at;
}

static inline bool http_all(struct view v, enum http_class class)
{
    return http_run(v, 0, class) == v.len;
}

/* http_all for field values, eight bytes at a time where none of them is a control character or
 * DEL: an Authorization header is a kilobyte. */
bool http_is_value(struct view v);

/* The value of a hexadecimal digit, or -1. */
static inline int http_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char letter = (char)(c | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

#endif
