/* References to secrets in values of either file; config.h says what they look like. */
#ifndef SALLYPORT_CONFIG_REFERENCE_H
#define SALLYPORT_CONFIG_REFERENCE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"
#include "config/config.h"

/* True when the whole text is a reference by its form. */
bool reference_is(struct view text);

/* The length of the reference that the text begins with, or 0 when it begins with none. */
size_t reference_length(struct view text);

/* Where references of one file are looked up. */
struct reference_scope {
    struct arena *arena; /* of values */
    const struct config_host *host;
    const struct vault *vaults;
    size_t vault_count;
    bool without_aws; /* in a vault's own settings, which aws would need */
};

/* What the text, a reference by its form, stands for. */
bool reference_resolve(const struct reference_scope *scope, struct view text,
                       struct secret_answer *out) MUST_USE;

/* A copy in the arena that is wiped when the arena is reset; {NULL, 0} when there is no room. */
struct view reference_copy_secret(struct arena *arena, struct view secret);

#endif
