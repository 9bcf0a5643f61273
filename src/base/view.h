/*
 * A view: bytes that somebody else owns.
 *
 * A view is passed by value and never owns what it points at; it is valid as long as its owner
 * says.  It is not NUL-terminated and may hold any byte.  {NULL, 0} is "absent"; {"", 0} is "empty".
 */
#ifndef SALLYPORT_BASE_VIEW_H
#define SALLYPORT_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
    const char *data;
    size_t len;
};

/* A view of a string literal, without its NUL. */
#define VIEW(literal) ((struct view){"" literal, sizeof(literal) - 1})
/* For printf: printf("%.*s", VIEW_ARG(v)).  For text known to be shorter than INT_MAX. */
#define VIEW_ARG(v) (int)(v).len, (v).data != NULL ? (v).data : ""

static inline struct view view_of(const void *data, size_t len)
{
    return (struct view){data, len};
}

static inline struct view view_str(const char *text)
{
    return (struct view){text, text != NULL ? strlen(text) : 0};
}

static inline bool view_eq(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool view_is(struct view a, const char *text)
{
    return view_eq(a, view_str(text));
}

/* The rest of v after its first n bytes; n beyond the end gives the empty rest. */
static inline struct view view_from(struct view v, size_t n)
{
    if (n > v.len)
        n = v.len;
    return (struct view){v.data != NULL ? v.data + n : NULL, v.len - n};
}

/* The first n bytes of v; n beyond the end gives v. */
static inline struct view view_upto(struct view v, size_t n)
{
    return (struct view){v.data, n < v.len ? n : v.len};
}

static inline bool view_starts_with(struct view v, struct view prefix)
{
    return v.len >= prefix.len && view_eq(view_upto(v, prefix.len), prefix);
}

static inline bool view_ends_with(struct view v, struct view suffix)
{
    return v.len >= suffix.len && view_eq(view_from(v, v.len - suffix.len), suffix);
}

/* Compares without regard to ASCII case: header names, schemes, host names. */
bool view_eq_nocase(struct view a, struct view b);

/* Lexicographic order by byte; <0, 0, >0. */
int view_cmp(struct view a, struct view b);

/* The index of the first c in v, or v.len when there is none. */
size_t view_find(struct view v, char c);

/* Cuts v at the first c: *head gets what stands before it, the rest after it is returned.
 * Without a c, *head is all of v and the rest is {NULL, 0}. */
struct view view_cut(struct view v, char c, struct view *head);

/* v without ASCII blanks and tabs at both ends. */
struct view view_trim(struct view v);

/* Reads all of v as an unsigned decimal number of at most max: digits only, no sign, no blank.
 * False, with *out untouched, when it is anything else. */
bool view_to_u64(struct view v, uint64_t max, uint64_t *out);

/* True when v is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool view_is_utf8(struct view v);

#endif
