/* What a number looks like in text.  Internal to the room. */
#ifndef SALLYPORT_PG_NUMBER_H
#define SALLYPORT_PG_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

/* The index of the first character at or after `at` that is no decimal digit. */
static inline size_t digits_end(struct view v, size_t at)
{
    while (at < v.len && v.data[at] >= '0' && v.data[at] <= '9')
        at++;
    return at;
}

static inline bool char_at(struct view v, size_t at, char c)
{
    return at < v.len && v.data[at] == c;
}

/* "e+20" at `at`: the index behind it, `at` when there is no exponent, 0 when it has no digits. */
static inline size_t exponent_end(struct view v, size_t at)
{
    if (!char_at(v, at, 'e') && !char_at(v, at, 'E'))
        return at;
    size_t digits = at + 1;
    if (char_at(v, digits, '+') || char_at(v, digits, '-'))
        digits++;
    size_t end = digits_end(v, digits);
    return end == digits ? 0 : end;
}

#endif
