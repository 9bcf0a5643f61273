/* References to secrets, {vault://BACKEND/NAME}, as in Kong; this version has the backend env. */
#ifndef SALLYPORT_CONFIG_REFERENCE_H
#define SALLYPORT_CONFIG_REFERENCE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"
#include "config/config.h"

enum { REFERENCE_WHY_BYTES = 256 };

/* True when the whole text is a reference by its form. */
bool reference_is(struct view text);

/* The length of the reference that the text begins with, or 0 when it begins with none. */
size_t reference_length(struct view text);

/* What the reference stands for, copied into the arena and wiped when that is reset.  False, with
 * why filled in, when it is malformed, of an unknown backend, or nothing is there. */
bool reference_resolve(struct arena *arena, const struct config_host *host, struct view text,
                       struct view *out, char why[REFERENCE_WHY_BYTES]) MUST_USE;

/* A copy in the arena that is wiped when the arena is reset; {NULL, 0} when there is no room. */
struct view reference_copy_secret(struct arena *arena, struct view secret);

#endif
