/*
 * A list of what is wrong with something a user wrote: every mistake, not just the first, each
 * with its place.
 */
#ifndef SALLYPORT_BASE_DIAG_H
#define SALLYPORT_BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"

enum severity { SEVERITY_WARNING, SEVERITY_ERROR };

struct diagnostic {
    enum severity severity;
    struct view file; /* {NULL,0}: not of a file (the environment, the command line) */
    unsigned line;    /* 1-based; 0: unknown */
    unsigned column;  /* 1-based; 0: unknown */
    struct view text;
    struct diagnostic *next;
};

/* Zero-initialise with an arena; entries and texts live in it. */
struct diagnostics {
    struct arena *arena;
    struct diagnostic *first;
    struct diagnostic *last;
    size_t errors;
    size_t warnings;
};

void diag_add(struct diagnostics *d, enum severity severity, struct view file, unsigned line,
              unsigned column, const char *format, ...) PRINTF_LIKE(6, 7);

/* Orders the entries that come after the given one (NULL: all) by line and column; entries of one
 * place keep their order, those of no line come first. */
void diag_sort_after(struct diagnostics *d, struct diagnostic *after);

/* Forgets the entries that come after the given one; NULL: all. */
void diag_forget_after(struct diagnostics *d, struct diagnostic *after);

/* "file:line:column: error: text", one line each, to the descriptor. */
void diag_print(const struct diagnostics *d, int fd);

/* The known name nearest to the word by edit distance, when one is near enough to be meant;
 * else {NULL, 0}. */
struct view diag_nearest(struct view word, const struct view *known, size_t count);

#endif
