/*
 * PostgreSQL's values in text format: to engine-neutral cells, and parameters back to text.
 *
 * The texts are those under client_encoding=UTF8 and DateStyle=ISO, which pg_login sets.
 * No IO, no clock, no globals; any thread.
 */
#ifndef SALLYPORT_PG_VALUE_H
#define SALLYPORT_PG_VALUE_H

#include "pg/pg.h"

extern const struct fault pg_value_malformed;    /* the server's text is not of its type */
extern const struct fault pg_value_not_utf8;     /* a database in SQL_ASCII sends any bytes */
extern const struct fault pg_parameter_malformed; /* the caller's text cannot be of the type: 400 */

/*
 * One value of a DataRow (data == NULL: SQL NULL) as a cell:
 *   bool                       CELL_BOOL
 *   int2/4/8, oid, float4/8, numeric
 *                              CELL_NUMBER, digits as sent; NaN and Infinity CELL_TEXT
 *   json, jsonb                CELL_JSON, as sent
 *   bytea                      CELL_BYTES (hex and escape output)
 *   timestamp                  CELL_TEXT, "2026-01-02T03:04:05.678"
 *   timestamptz                CELL_TEXT, "2026-01-02T03:04:05.678+00:00", offset always with minutes
 *                              (infinity, years BC or beyond 9999 stay as sent)
 *   arrays of a type below     CELL_ARRAY, nested by dimension; lower bounds are dropped
 *   every other type           CELL_TEXT, as sent
 * Scalars point into `text`; the arena is only used for bytea, timestamps and arrays (and is
 * exhausted with fault_too_large).  Text that is not UTF-8 fails with pg_value_not_utf8.
 */
err pg_value_to_cell(struct arena *arena, uint32_t type_oid, struct view text,
                     struct cell *out) MUST_USE;

/*
 * The OID of a built-in type by the name that SQL or pg_catalog gives it, in any case: "bigint",
 * "int8", "timestamp with time zone", "numeric(10,2)", "text[]"; 0: unknown.  A modifier is
 * accepted and dropped: a parameter has none.
 */
uint32_t pg_type_oid(struct view name);
/* The short name ("int8", "timestamptz", "text[]"); {NULL, 0}: unknown. */
struct view pg_type_name(uint32_t oid);
/* The type of an array's elements; 0 when it is not an array type that we know. */
uint32_t pg_type_element(uint32_t oid);

static inline bool pg_type_is_array(uint32_t oid)
{
    return pg_type_element(oid) != 0;
}

/*
 * Can this text be a parameter of that type?  bool, integers (with their range), float, numeric and
 * uuid are judged here, a little more strictly than the server does (no blanks around, no hex), so
 * that the caller's mistake is found before a connection is used.  For every type the text must be
 * UTF-8 without NUL.  What else there is, is left to the server.
 */
err pg_parameter_check(uint32_t type_oid, struct view text) MUST_USE;

/*
 * Writes an array literal (chapter 8.15.6):
 *     pg_array_init(&w, &out); pg_add_array_open(&w); pg_add_array_element(&w, v); …close
 * Elements are always quoted; one with data == NULL is NULL.  Opening within an open one nests.
 * Unbalanced calls, or more than PG_MAX_DIMENSIONS, mark the buffer failed.
 */
enum { PG_MAX_DIMENSIONS = 6 }; /* the server's MAXDIM */

struct pg_array_writer {
    struct buf *out;
    unsigned depth;
    bool first; /* nothing yet in the innermost open array */
};

void pg_array_init(struct pg_array_writer *w, struct buf *out);
void pg_add_array_open(struct pg_array_writer *w);
void pg_add_array_element(struct pg_array_writer *w, struct view value);
void pg_add_array_close(struct pg_array_writer *w);

#endif
