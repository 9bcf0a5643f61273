/* What the references in a tree of YAML stand for. */
#ifndef SALLYPORT_CONFIG_RESOLVE_H
#define SALLYPORT_CONFIG_RESOLVE_H

#include "config/decode.h"

/*
 * Puts into each scalar at or below the node that is a reference what it stands for; one that is
 * marked `whole` is left.  Mistakes are reported; a value that is being fetched sets d->pending.
 * Resolved texts live, wiped, in the decoder's scratch arena.
 */
void resolve_tree(struct decoder *d, struct yaml_node *node, bool without_aws);

/* What one text stands for that is a reference by its form.  False: broken, reported at the node or
 * pending. */
bool resolve_text(struct decoder *d, const struct yaml_node *at, const char *field,
                  struct view text, struct view *out) MUST_USE;

/* The member of the whole secret that the text, a checked reference without a KEY, names. */
bool resolve_member(struct decoder *d, const struct yaml_node *at, const char *field,
                    struct view text, const char *member, struct view *out) MUST_USE;

#endif
