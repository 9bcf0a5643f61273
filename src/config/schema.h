/*
 * The schema: one table of every entity's fields and every node property.
 *
 * It drives the decoding of YAML and of sallyport.conf, the checks of single values, the defaults,
 * and the field tables of sallyport.yaml(5) and sallyport.conf(5).  What spans several fields (a
 * path parameter that no path has) is checked by a record's `finish`, in src/config/rules_*.c.
 *
 * Constant data; any thread.
 */
#ifndef SALLYPORT_CONFIG_SCHEMA_H
#define SALLYPORT_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "model/entities.h"
#include "model/plugins.h"

enum field_type {
    FIELD_STRING,    /* struct view */
    FIELD_PATH,      /* struct view: a file; relative to the folder of the file that names it */
    FIELD_BOOLEAN,   /* bool */
    FIELD_INTEGER,   /* int64_t */
    FIELD_PORT,      /* uint16_t */
    FIELD_ENUM,      /* int-sized enum; `words` in the order of its values */
    FIELD_STRINGS,   /* struct strings; in YAML one value may stand for a list of one */
    FIELD_RECORD,    /* a struct at offset, described by `record` */
    FIELD_LIST,      /* const struct *[], and a size_t at count_offset */
    FIELD_MAP,       /* the same from a mapping; the key fills the record's field "name" */
    FIELD_LISTENS,   /* struct listens */
    FIELD_REFERENCE, /* {name: x} or x; kept only until the entities are linked */
};

/* UNIT_DURATION: seconds, or a number with s, m, h or d. */
enum field_unit {
    UNIT_NONE,
    UNIT_MS,
    UNIT_S,
    UNIT_DURATION,
    UNIT_BYTES,
    UNIT_ROWS,
    UNIT_PER_SECOND,
    UNIT_EPOCH,
};

enum field_flag {
    FIELD_REQUIRED = 1,
    FIELD_SECRET = 2,       /* never shown; written as a {vault://…} reference, or sealed */
    FIELD_UNIQUE = 4,       /* no two records of the kind may share the value */
    FIELD_MAY_BE_EMPTY = 8, /* "" is a value */
    FIELD_BOOLEAN_TOO = 16, /* FIELD_RECORD: true stands for {}, false for absence */
    FIELD_HOLDS_REFERENCES = 64, /* amid other text */
    FIELD_READ_LATER = 128, /* of sallyport.conf: what it refers to is read when all is joined */
    FIELD_KEY = 32,         /* filled from the key of a FIELD_MAP, never written itself */
};

struct record;
struct decoder;
struct yaml_node;

/* What is wrong with a value ("must start with '/'"), or NULL. */
typedef const char *field_check(struct view value);

struct field {
    const char *name;
    enum field_type type;
    unsigned flags;
    enum field_unit unit;
    size_t offset;
    size_t count_offset;   /* FIELD_LIST, FIELD_MAP */
    size_t present_offset; /* a bool that is true when the field was written; NO_OFFSET: none */
    size_t inherit_offset; /* FIELD_RECORD: a sibling whose values this one starts from */
    const char *fallback;  /* the default as one would write it, lists with commas; NULL: none */
    int64_t min, max;      /* FIELD_INTEGER; max 0: no limit */
    const char *const *words; /* FIELD_ENUM and FIELD_STRING(S): the only values; NULL-terminated */
    const struct record *record;
    const char *refers_to; /* the kind of entity whose name the value must be */
    field_check *check;
    /* Takes the value in place of the type's own decoder (the url that fills five fields). */
    void (*take)(struct decoder *d, const struct field *f, void *record,
                 const struct yaml_node *value);
    const char *since;
    const char *doc; /* one sentence */
};

#define NO_OFFSET SIZE_MAX

/* Kong's bound of a vault's times is none; this one is some 31 years. */
#define SECRET_TTL_MAX_S INT64_C(1000000000)

struct record {
    const char *kind; /* "service": as messages call it */
    size_t size;
    size_t line_offset;       /* an unsigned for the line; NO_OFFSET: none */
    const struct field *fields;
    size_t field_count;
    const char *value_field;  /* FIELD_MAP: the field that a plain value (or list) stands for */
    const char *name_field;   /* what others refer to it by; NULL: "name" */
    const char *const *kong;  /* Kong's fields that this version does not have; NULL-terminated */
    /* Checks and derives what spans several fields.  NULL: nothing to do. */
    void (*finish)(struct decoder *d, void *record, const struct yaml_node *mapping);
    const char *doc;
};

extern const struct record schema_file;    /* sallyport.yaml's top level */
extern const struct record schema_issuer;
extern const struct record schema_consumer;
extern const struct record schema_service;
extern const struct record schema_route;
extern const struct record schema_role;
extern const struct record schema_plugin;
extern const struct record *const schema_plugin_configs[PLUGIN_KINDS]; /* of plugin.config */
extern const struct record schema_vault;
extern const struct record schema_vault_config;
extern const struct record schema_node;    /* sallyport.conf */

/* What the top level of sallyport.yaml is decoded into. */
struct yaml_file {
    struct view format_version;
    struct issuer *issuers;
    size_t issuer_count;
    struct consumer *consumers;
    size_t consumer_count;
    struct service *services;
    size_t service_count;
    struct route *routes; /* that name their service, instead of standing in it */
    size_t route_count;
    struct vault *vaults;
    size_t vault_count;
    struct plugin *plugins; /* that stand in no other entity */
    size_t plugin_count;
    struct role *roles;
    size_t role_count;
};

/* The field of that name, or NULL. */
const struct field *schema_field(const struct record *r, struct view name);

/* "milliseconds", "bytes", …; "" for UNIT_NONE. */
const char *schema_unit(enum field_unit unit);

/* The field tables of sallyport.yaml(5) and sallyport.conf(5), as roff. */
void schema_man_yaml(struct buf *out);
void schema_man_conf(struct buf *out);

#endif
