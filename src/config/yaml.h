/*
 * A YAML file as a tree with places, from libyaml's events.
 *
 * Only what a configuration needs is let in: one document, no anchors, aliases or tags (an alias
 * can make a small file huge, a tag can change what a scalar means), no key twice, bounded depth
 * and size.  Scalars keep their text and whether they were quoted; what a plain `on` or `017` means
 * is for the field's type to say, so nothing turns into a boolean or an octal number unasked.
 * A whole value that is a {vault://…} reference is marked; resolve.h puts in what it stands for.
 *
 * The tree lives in the arena given, and is wiped there where it holds a resolved reference.
 */
#ifndef SALLYPORT_CONFIG_YAML_H
#define SALLYPORT_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/diag.h"
#include "base/view.h"

enum yaml_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    bool plain;      /* a scalar without quotes, or a reference */
    bool literal;    /* a scalar in the | style: its lines are the file's, from the next one on */
    bool exact;      /* a scalar on one line, that stands there to the letter */
    bool referenced; /* a reference: never show the text, it is or will be a secret */
    bool sealed;     /* a secret that the keyring sealed; of the root: the file holds one */
    bool broken;     /* a reference to nothing, already reported, or not known yet */
    bool holds;      /* a reference stands somewhere below */
    bool whole;      /* a reference to a whole secret, which the field wants unresolved */
    unsigned line;   /* of the value */
    unsigned column;
    struct view text; /* of a scalar, NUL-terminated; of a reference what it stands for */
    struct view reference; /* as written */
    struct view key;  /* in a mapping: the member's name */
    unsigned key_line;
    unsigned key_column;
    struct yaml_node *first; /* children of a sequence or mapping, in the file's order */
    struct yaml_node *last;
    struct yaml_node *next;
    size_t count;
};

enum {
    YAML_MAX_DEPTH = 24,          /* a configuration needs 9; stops nesting as an attack */
    YAML_MAX_NODES = 4000000,     /* bounds the tree's memory; 100,000 routes need 2,500,000 */
    YAML_MAX_MEMBERS = 256,       /* of one mapping; keeps the search for keys given twice short */
    YAML_MAX_BYTES = 64 << 20,
};

/* The root, or NULL with at least one error reported.  The text need not be NUL-terminated. */
struct yaml_node *yaml_read(struct arena *arena, struct view file, struct view text,
                            struct diagnostics *d) MUST_USE;

/* The member of that name, or NULL; mapping may be NULL. */
const struct yaml_node *yaml_member(const struct yaml_node *mapping, const char *name);

/* True for an absent value: an empty plain scalar, ~ or null. */
bool yaml_is_null(const struct yaml_node *node);

#endif
