/*
 * Named parameters: `:name` in a statement becomes `$n`, as PostgreSQL's extended query protocol
 * wants it, and every place of the rewritten text can be led back to the user's own.
 *
 * The scanner knows the lexical rules of PostgreSQL 15 (chapter 4.1, src/backend/parser/scan.l)
 * with standard_conforming_strings on, which the session must have too: '…', E'…' and its
 * continuation over lines, U&'…', $tag$…$tag$, "…", nested comments, `::` and `:=`.  In none of
 * those is a colon a parameter.
 *
 * A parameter's name is [A-Za-z_][A-Za-z0-9_]* of at most 63 bytes, case kept.  The same name twice
 * is the same $n.
 *
 * The colon of an array slice.  Directly within a subscript's brackets, `a[x:y]`, a colon after an
 * operand is the slice's, whatever follows: an operand can't be followed by a parameter.  After
 * an operator or after the slice's own colon it begins a parameter: `a[1 + :n]`, `a[1: :n]`.
 * `a[:n]` could mean both, and is refused: write `a[(:n)]` for the parameter, `a[:(n)]` for the
 * slice.  Within parentheses, and in the constructor `array[:a, :b]`, there are no slices.
 *
 * Refused as well: `$1` in the user's own text; a parameter that touches a word (`limit:n`, `:a:b`:
 * `$1` would become a part of the word); text that is not UTF-8 or holds NUL; a quote or comment
 * without its end.
 *
 * Pure.  Any thread.
 */
#ifndef SALLYPORT_SQL_PG_SQL_NAMED_H
#define SALLYPORT_SQL_PG_SQL_NAMED_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

/* All are the operator's mistakes, found at load. */
extern const struct fault sql_named_too_large;      /* beyond SQL_TEXT_MAX_BYTES */
extern const struct fault sql_named_not_utf8;       /* or a NUL byte */
extern const struct fault sql_named_unterminated;   /* quote, dollar quote or comment */
extern const struct fault sql_named_positional;     /* $1 in the user's text */
extern const struct fault sql_named_touches_word;   /* limit:n */
extern const struct fault sql_named_bad_name;       /* longer than 63 bytes, or :naïve */
extern const struct fault sql_named_ambiguous_slice;/* a[:n] */
extern const struct fault sql_named_too_many;       /* beyond SQL_NAMED_MAX_PARAMETERS names */

enum {
    SQL_TEXT_MAX_BYTES = 32768,     /* beyond it libpg_query may overflow the stack */
    SQL_NAMED_MAX_PARAMETERS = 256, /* names of one statement */
    SQL_NAMED_MAX_NAME_BYTES = 63,  /* as NAMEDATALEN - 1 */
};

/* A place in the user's text. */
struct sql_place {
    size_t offset;   /* in bytes, 0-based */
    unsigned line;   /* 1-based */
    unsigned column; /* 1-based, in characters */
};

/* One `:name` that became `$n`: where it stood and where it stands, in bytes. */
struct sql_named_use {
    size_t from, from_len;
    size_t to, to_len;
    size_t index; /* of the name; $n is index + 1 */
};

struct sql_named {
    struct view original;  /* the caller's; must live as long as this */
    struct view text;      /* rewritten, NUL-terminated, in the arena */
    const struct view *names; /* names[0] is $1: in order of first appearance; views of original */
    size_t name_count;
    const struct sql_named_use *uses; /* every one, in order of the text */
    size_t use_count;
};

/* On failure *where (which may be NULL) is the place of the mistake: of an unterminated construct,
 * its beginning. */
err sql_named_rewrite(struct arena *arena, struct view sql, struct sql_named *out,
                      struct sql_place *where) MUST_USE;

/* The place in the user's text of a position in the rewritten one, as PostgreSQL reports it:
 * 1-based, in characters (chapter 55.8, field P).  Anywhere within `$n` is the beginning of its
 * `:name`; beyond the end, and 0, is the end, and the beginning. */
struct sql_place sql_named_place(const struct sql_named *named, uint32_t position);

/* The place of a byte of a text. */
struct sql_place sql_place_of(struct view text, size_t offset);

#endif
