/*
 * JSON, strictly by RFC 8259: the one parser of every JSON text that the program reads, and the
 * writer of results.
 *
 * The parser refuses what other parsers disagree about, since two readings of one text are a hole:
 * ill-formed UTF-8, a byte order mark, bytes after the value, a member name given twice (compared
 * after unescaping), an escaped surrogate without its pair, any number outside the grammar.  A
 * number keeps its text; nothing is ever turned into a double.  It does not recurse.
 *
 * Pure: no IO, no clock, no globals, no logging.  Any thread; one thread at a time per arena.
 */
#ifndef SALLYPORT_JSON_JSON_H
#define SALLYPORT_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cell.h"
#include "base/err.h"
#include "base/view.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/*
 * One value.  The struct lives in the arena.  `raw`, and name and text where the source had no
 * escape in them, point into the source, which must therefore live as long as the value; only
 * unescaped copies live in the arena.  None is NUL-terminated, and a string may hold NUL (\u0000).
 */
struct json_value {
    enum json_type type;
    struct view name; /* a member's name, unescaped; {NULL,0} when not a member of an object */
    struct view text; /* string: unescaped; number, true, false, null: as written; else {NULL,0} */
    struct view raw;  /* the value's bytes in the source, with quotes or brackets */
    const struct json_value *first; /* of an array or object: the first element or member */
    const struct json_value *next;  /* the next one of the same array or object */
    size_t count;                   /* of an array or object: how many stand directly in it */
};

struct json_limits {
    size_t max_depth;  /* arrays and objects within each other; stops stack and memory attacks */
    size_t max_values; /* values in all, members and elements included; bounds memory and time */
};

enum { JSON_DEFAULT_DEPTH = 32, JSON_DEFAULT_VALUES = 10000 };

/*
 * Parses the whole of text.  limits NULL: the defaults above.  On success *out is the value.  On
 * failure *out is NULL, and *error_at (which may be NULL) is the offset of what was refused: the
 * byte; the string that is not UTF-8; the value of the second of two equal names; text.len when the
 * text ended too early.  Besides the faults below: fault_out_of_memory when the arena had no room.
 */
err json_parse(struct arena *arena, struct view text, const struct json_limits *limits,
               const struct json_value **out, size_t *error_at) MUST_USE;

extern const struct fault json_syntax;          /* not JSON */
extern const struct fault json_truncated;       /* ends before the value does */
extern const struct fault json_trailing;        /* bytes after the value */
extern const struct fault json_byte_order_mark; /* RFC 8259 section 8.1 */
extern const struct fault json_not_utf8;        /* RFC 8259 section 8.1 */
extern const struct fault json_bad_number;      /* RFC 8259 section 6 */
extern const struct fault json_bad_string;      /* a raw control character */
extern const struct fault json_bad_escape;      /* unknown, or a surrogate without its pair */
extern const struct fault json_duplicate_name;  /* RFC 8259 section 4 leaves it open: refused */
extern const struct fault json_too_deep;
extern const struct fault json_too_many_values;

/* The member of that name; NULL when there is none, or when object is NULL or not an object. */
const struct json_value *json_get(const struct json_value *object, const char *name);
const struct json_value *json_get_view(const struct json_value *object, struct view name);

/* The members of one type.  False, with *out untouched, when absent or of another type. */
bool json_get_string(const struct json_value *object, const char *name, struct view *out);
bool json_get_bool(const struct json_value *object, const char *name, bool *out);
/* Only a number written as an integer (no fraction, no exponent) that fits. */
bool json_get_i64(const struct json_value *object, const char *name, int64_t *out);
/* A NumericDate (RFC 7519 section 2): seconds, a fraction or exponent allowed, rounded down. */
bool json_get_seconds(const struct json_value *object, const char *name, int64_t *out);

/* The same of a value; NULL is of no type. */
bool json_to_bool(const struct json_value *value, bool *out);
bool json_to_i64(const struct json_value *value, int64_t *out);
bool json_to_seconds(const struct json_value *value, int64_t *out);
static inline bool json_is(const struct json_value *value, enum json_type type)
{
    return value != NULL && value->type == type;
}

#define JSON_EACH(item, container)                                                                 \
    for (const struct json_value *item = (container) != NULL ? (container)->first : NULL;          \
         item != NULL; item = item->next)

/*
 * The writer.  Appends to a buffer whose failed mark is asked once at the end.  What it appends is
 * well-formed, provided that NUMBER and JSON cells are what base/cell.h says they are: those are
 * copied verbatim.
 */

/* The text in quotes.  Control characters, '"' and '\' are escaped (U+007F and above are not);
 * each maximal ill-formed part of a UTF-8 sequence becomes U+FFFD. */
void json_add_string(struct buf *b, struct view text);
/* The bytes in base64 with padding (RFC 4648 section 4), in quotes. */
void json_add_base64(struct buf *b, struct view bytes);
void json_add_bool(struct buf *b, bool value);
/* One value: NULL, true or false, number, string, document, base64, array of these. */
void json_add_cell(struct buf *b, const struct cell *cell);

/* "name":  with the name escaped.  For small objects written by hand; the comma is the caller's. */
void json_add_name(struct buf *b, const char *name);

/* Column names made ready once per result: `{"id":`, `,"total":`.  Zero-initialised: none. */
struct json_names {
    const struct view *prefixes;
    size_t count;
};

/* Copies into the arena, so the columns may go.  fault_out_of_memory when it has no room. */
err json_names_init(struct json_names *names, struct arena *arena, const struct column *columns,
                    size_t count) MUST_USE;
/* The row as an object, members in column order; cells has names->count elements. */
void json_add_row(struct buf *b, const struct json_names *names, const struct cell *cells);

#endif
