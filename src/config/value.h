/* One value of the schema from its text, for both files. */
#ifndef SALLYPORT_CONFIG_VALUE_H
#define SALLYPORT_CONFIG_VALUE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"
#include "config/schema.h"

enum { WHY_BYTES = 512 };

/* How the file that the text comes from writes things. */
struct value_style {
    struct arena *arena;
    struct view folder;   /* what relative paths are taken from; absent: left as they are */
    bool booleans_as_on;  /* on, off beside true, false (sallyport.conf) */
};

/*
 * Reads the text into the slot of f's type, checking everything that the field alone can say:
 * range, words, its own check.  FIELD_STRINGS and FIELD_LISTENS take a comma separated list.
 * False, with why filled in, when it is wrong; why never holds a secret field's text.
 */
bool value_parse(const struct value_style *style, const struct field *f, struct view text,
                 void *slot, char why[WHY_BYTES]) MUST_USE;

/* Checks one text against a string field's words, emptiness and check. */
bool value_check_text(const struct field *f, struct view text, char why[WHY_BYTES]) MUST_USE;

/* Reads "127.0.0.1:8443 ssl, [::1]:8443 ssl" or "off" (no address at all). */
bool listens_parse(struct arena *arena, struct view text, void *slot, char why[WHY_BYTES]) MUST_USE;

/* path, taken from the folder when it is relative; {NULL, 0} when there is no room. */
struct view value_path(const struct value_style *style, struct view path);

/* True for 127.0.0.0/8, ::1 and localhost. */
bool host_is_loopback(struct view host);

#endif
