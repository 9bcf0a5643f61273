/*
 * The XML of AWS's Query protocol answers, read strictly: elements, attributes (checked, then
 * forgotten) and text.  What no such answer has is refused: DOCTYPE, comments, CDATA, processing
 * instructions after the first line, text beside elements.  Pure; does not recurse.
 */
#ifndef SALLYPORT_AWS_XML_H
#define SALLYPORT_AWS_XML_H

#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum {
    XML_MAX_BYTES = 256 * 1024,
    XML_MAX_DEPTH = 16,
    XML_MAX_ELEMENTS = 2000,
};

/* Stands in the arena.  name points into the source; text does unless it had an entity in it. */
struct xml_element {
    struct view name;
    struct view text; /* {NULL, 0} for an element with elements in it */
    struct xml_element *parent;
    struct xml_element *first;
    struct xml_element *last;
    struct xml_element *next;
};

/* Not well-formed, or with something of the above. */
extern const struct fault xml_syntax;

/* Also fault_too_large and fault_out_of_memory.  On failure *out is NULL. */
err xml_parse(struct arena *arena, struct view text, const struct xml_element **out) MUST_USE;

/* The one child of that name; NULL when there is none or more than one, or no element. */
const struct xml_element *xml_child(const struct xml_element *element, const char *name);
/* Its text, trimmed; {NULL, 0} when there is no such child. */
struct view xml_child_text(const struct xml_element *element, const char *name);

#endif
