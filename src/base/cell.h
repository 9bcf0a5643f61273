/*
 * One value of a result, neutral to the engine it came from, and the sink that takes results.
 *
 * An engine's codec turns its wire values into cells; the JSON writer, a mask, or another door's
 * codec takes them.  Text stays text: a number keeps every digit that the database sent.
 */
#ifndef SALLYPORT_BASE_CELL_H
#define SALLYPORT_BASE_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

enum cell_kind {
    CELL_NULL,
    CELL_BOOL,   /* text is "true" or "false" */
    CELL_NUMBER, /* text is a JSON number, digits as the database sent them */
    CELL_TEXT,   /* text is UTF-8 */
    CELL_JSON,   /* text is a JSON document, as the database sent it */
    CELL_BYTES,  /* text is the raw bytes */
    CELL_ARRAY,  /* items and count */
};

struct cell {
    enum cell_kind kind;
    struct view text;
    const struct cell *items;
    size_t count;
};

struct column {
    struct view name;
    uint32_t type_id; /* the engine's own type id; for PostgreSQL the OID */
};

/* How a call ended at the database. */
struct completion {
    struct view command; /* "SELECT", "INSERT", … */
    uint64_t rows;       /* returned or affected */
};

/* What the database said of a failure.  Only sqlstate is fit for every reader. */
struct database_error {
    char sqlstate[6]; /* NUL-terminated; "XX000" when the database sent none */
    struct view message;
    struct view detail;
    struct view hint;
    uint32_t position; /* 1-based character in the statement; 0: none */
};

/*
 * Takes a result.  columns comes at most once and before the rows; after it come rows, and then
 * done or refused, once.  The views live until the callback returns.  A false return means "I take
 * no more": what still comes of this result is read and thrown away, and done is called as ever.
 */
struct result_sink {
    const struct result_sink_ops *ops;
};

struct result_sink_ops {
    bool (*columns)(struct result_sink *sink, const struct column *columns, size_t count);
    bool (*row)(struct result_sink *sink, const struct cell *cells, size_t count);
    void (*done)(struct result_sink *sink, const struct completion *completion);
    void (*refused)(struct result_sink *sink, const struct database_error *error);
};

#endif
