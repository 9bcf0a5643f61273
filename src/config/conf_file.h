/*
 * The lines of sallyport.conf: `name = value`; a # at the line's start or after a blank begins a
 * comment, \# is the character itself.
 *
 * CONF_OF_KONG reads as Kong does (Penlight's pl.config, and strip_comments in Kong's
 * kong/conf_loader): beside that
 *  - a # begins a comment wherever it stands, unless it is written \#;
 *  - a line that begins with ; is a comment;
 *  - a \ at a line's end joins the next line, over blank lines and comments;
 *  - a character of a name that is no letter or digit counts as _;
 *  - of two lines of a name the later holds, which is a warning.
 * Quotes are part of the value in both.  What Kong passes over in silence is a mistake in both: a
 * line without =, a [section], a last line that is to be continued.
 */
#ifndef SALLYPORT_CONFIG_CONF_FILE_H
#define SALLYPORT_CONFIG_CONF_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"

enum conf_form { CONF_OURS, CONF_OF_KONG };

struct conf_line {
    struct view name;
    struct view value; /* empty: as if the line were not there */
    unsigned line;
    bool replaced; /* by a later line of the name */
    struct conf_line *next;
};

enum { CONF_MAX_BYTES = 1 << 20, CONF_MAX_LINES = 10000 };

/* The file's settings in order; mistakes of form are reported.  Views live in the arena. */
err conf_file_parse(struct arena *arena, struct view file, struct view text, enum conf_form form,
                    struct conf_line **first, struct diagnostics *d) MUST_USE;

/* Whether a line of the text switches the property on, before anything else of it is read. */
bool conf_file_switches_on(struct view text, const char *property);

#endif
