/*
 * From a tree of YAML to the structs of the model, by the schema.
 *
 * One decoder serves one file.  Rules that span fields (rules_*.c) report through it too, so that
 * every message has its place and the number of messages stays bounded.
 */
#ifndef SALLYPORT_CONFIG_DECODE_H
#define SALLYPORT_CONFIG_DECODE_H

#include "base/map.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/value.h"
#include "config/yaml.h"

/* A name that an entity bears: what may be referred to, and what may not be borne twice. */
struct borne_name {
    const char *kind;
    struct view name;
    struct borne_name *next;
};

/* A name that a field refers to. */
struct reference {
    const char *kind;
    bool or_id; /* the name may be an id: consumers, of which many have no name, and plugins' */
    struct view name;
    void *owner; /* the record that refers */
    const struct yaml_node *node;
    struct reference *next;
};

struct decoder {
    struct arena *arena;   /* what stays */
    struct arena *scratch; /* gone when the file has been read */
    struct diagnostics *d;
    struct view file;
    const struct config_host *host;
    struct value_style style;
    struct map unique; /* "kind field value" to the first yaml_node */
    struct borne_name *names;
    struct reference *references; /* newest first */
    const struct vault *vaults; /* where references are looked up */
    size_t vault_count;
    bool pending;           /* a secret is being fetched */
    bool pending_elsewhere; /* one that others depend on, so that mistakes may only seem to be */
    size_t mistakes;
    bool out_of_memory;
};

/* Decodes the mapping into the record at out, which holds zeroes, or what it inherits. */
void decode_record(struct decoder *d, const struct record *r, void *out,
                   const struct yaml_node *mapping, bool inherited);

/* An error or warning at the node; NULL: about the file.  Silent after a hundred mistakes. */
void decode_error(struct decoder *d, const struct yaml_node *at, const char *format, ...)
    PRINTF_LIKE(3, 4);
void decode_warning(struct decoder *d, const struct yaml_node *at, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The same for a line alone. */
void decode_error_line(struct decoder *d, unsigned line, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* The parts as one text, NUL-terminated; absent without memory. */
struct view decode_join(struct arena *arena, const struct view *parts, size_t count);

/* "unknown service 'x'; did you mean 'y'?" for each reference to a name that no entity bears. */
void decode_check_references(struct decoder *d);

/* The owner refers to an entity of that name; whether there is one is looked at in the end. */
void decode_refer(struct decoder *d, const char *kind, bool or_id, struct view name, void *owner,
                  const struct yaml_node *node);

/* The field by its type, for a `take` that does more. */
void decode_value(struct decoder *d, const struct field *f, void *record,
                  const struct yaml_node *value);

/* Decodes the list, or mapping by name, of records. */
void decode_list(struct decoder *d, const struct field *f, void *record,
                 const struct yaml_node *value);

/* The scalar's text, or false with an error: not a scalar, or a reference amid other text. */
bool decode_scalar(struct decoder *d, const struct field *f, const struct yaml_node *value,
                   struct view *text) MUST_USE;

#endif
