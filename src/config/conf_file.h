/*
 * The lines of sallyport.conf, in Kong's form: `name = value`; a # at the line's start or after a
 * blank begins a comment, \# is the character itself.
 */
#ifndef SALLYPORT_CONFIG_CONF_FILE_H
#define SALLYPORT_CONFIG_CONF_FILE_H

#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"

struct conf_line {
    struct view name;
    struct view value; /* empty: as if the line were not there */
    unsigned line;
    struct conf_line *next;
};

enum { CONF_MAX_BYTES = 1 << 20, CONF_MAX_LINES = 10000 };

/* The file's settings in order; mistakes of form are reported.  Views live in the arena. */
err conf_file_parse(struct arena *arena, struct view file, struct view text,
                    struct conf_line **first, struct diagnostics *d) MUST_USE;

#endif
