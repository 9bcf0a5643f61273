/*
 * The node's properties as text: for `config show`, and to tell which of them were changed since
 * the process was started.  A secret never stands there: its reference does.
 */
#ifndef SALLYPORT_CONFIG_NODE_TEXT_H
#define SALLYPORT_CONFIG_NODE_TEXT_H

#include "base/buf.h"
#include "model/node.h"

/* Appends the value of the property as sallyport.conf would have it. */
void node_value_write(struct buf *out, const struct node_config *node, size_t property);

/* Appends a line for each property, in the schema's order: what node_text_changed compares. */
void node_text_write(struct buf *out, const struct node_config *node);

/*
 * Appends the names of the properties whose lines in `before` say something else than `now`, with
 * commas, and returns how many.  A property that came, or comes, from the environment is left out:
 * who asks need not have the environment of the process that was started.
 */
size_t node_text_changed(struct view before, const struct node_config *now, struct buf *names);

#endif
