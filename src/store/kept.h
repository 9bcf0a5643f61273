/*
 * The copy of the configuration that a node keeps in its prefix for when the database is away.
 *
 *   PATH        the copy: what was served last, as sallyport.yaml
 *   PATH.next   what was read and is not served yet, or was refused
 *   PATH.seals  HMAC-SHA-256 of the copy and of the one that it replaces, a line each
 *   PATH.key    32 random bytes, this node's own
 *
 * All of mode 0600.  A copy that none of the seals is of is damaged, or another node's, and is not
 * served.  The seals are written before the copy takes its place, so a kill between the two leaves
 * the one before, with its seal.
 */
#ifndef SALLYPORT_STORE_KEPT_H
#define SALLYPORT_STORE_KEPT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "store/store.h"

#define KEPT_NEXT ".next"

extern const struct fault kept_unwritable; /* a file in the prefix: which and why is in the why */
extern const struct fault kept_damaged;    /* the copy is not what this node wrote */

/* Writes PATH with the suffix, whole or not at all. */
err kept_stage(const char *path, const char *suffix, struct view text,
               struct store_why *why) MUST_USE;
/* PATH.next, which is served now, becomes the copy. */
err kept_take(const char *path, struct store_why *why) MUST_USE;
/* OK when the copy is there and whole.  config_unreadable when it cannot be read. */
err kept_check(const char *path, struct store_why *why) MUST_USE;

#endif
