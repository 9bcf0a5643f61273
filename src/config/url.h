/* The parts of postgres://USER:PASSWORD@HOST:PORT/DATABASE, still percent-encoded. */
#ifndef SALLYPORT_CONFIG_URL_H
#define SALLYPORT_CONFIG_URL_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/view.h"

/* Absent parts are {NULL, 0}. */
struct url_parts {
    struct view user;     /* may be a {vault://…} reference, whose ':', '/' and '@' do not end it */
    struct view password; /* so may it */
    struct view host;     /* of [::1] what stands inside the brackets */
    struct view port;
    struct view database;
};

/* What is wrong with the URL, never quoting from it (it may hold a password), or NULL. */
const char *url_split(struct view url, struct url_parts *out) MUST_USE;

/* The part with each %XX decoded, in the arena; false for a bad %XX, a NUL, or bytes that are not
 * UTF-8. */
bool url_decode(struct arena *arena, struct view part, struct view *out) MUST_USE;

#endif
