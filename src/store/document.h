/*
 * A configuration as rows: between sallyport.yaml and the store's tables.
 *
 * A document holds entities as they were written, references to secrets unresolved, defaults left
 * out.  Whether they make sense says the schema alone: a file is checked before it becomes a
 * document, and what stands in the tables is checked whenever it is loaded.
 *
 * Views and arrays live in the arena that the function was given.
 */
#ifndef SALLYPORT_STORE_DOCUMENT_H
#define SALLYPORT_STORE_DOCUMENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/map.h"
#include "config/config.h"
#include "store/keyring.h"
#include "store/store.h"

struct record;

enum store_kind {
    STORE_VAULT,
    STORE_ISSUER,
    STORE_CONSUMER,
    STORE_SERVICE,
    STORE_ROUTE,
    STORE_ROLE,
    STORE_PLUGIN, /* refers to others: comes after them, goes before them */
    STORE_KINDS,
};

/* "vault", "issuer", …: as the schema's records are called. */
const char *store_kind_name(enum store_kind kind);
/* The field that holds the name: "name", of a vault "prefix", of a consumer "username". */
const char *store_name_field(enum store_kind kind);
/* Its fields. */
const struct record *store_kind_record(enum store_kind kind);

struct store_entity {
    struct view id;      /* absent: the file gives none */
    struct view name;    /* in the field store_name_field; a consumer may have none */
    struct view other;   /* of a consumer its custom_id */
    struct view key;     /* what tells it from others of its kind: the name, mostly */
    struct view label;   /* what people read */
    struct view service; /* of a route: its service's name; of a plugin: whose calls it is for */
    struct view route, consumer; /* the same; a consumer without a username by its id */
    struct strings tags;
    bool has_tags;       /* written, perhaps as an empty list */
    int64_t created_at;  /* -1: not said */
    int64_t updated_at;
    struct view definition; /* JSON: all other fields */
};

struct store_document {
    struct store_entity *entities[STORE_KINDS]; /* in the file's order */
    size_t counts[STORE_KINDS];
    struct view ahead; /* read: pending migrations that this program does not know; else absent */
};

/* Fills in key and label.  False: no memory. */
bool store_entity_name(struct arena *arena, enum store_kind kind,
                       struct store_entity *e) MUST_USE;
/* The id of one that the file gives none, as a node gives it that serves the file. */
struct view store_entity_derive_id(struct arena *arena, enum store_kind kind,
                                   const struct store_entity *e);

/* Rows of one kind, and what of a document they may be. */
struct store_rows_index {
    struct map by_id;
    struct map by_key;
    struct map taken; /* by the ids that the document gives: their old names are others' now */
};
/* Of the kind's rows and entities, which have to stay.  False: no memory.  Clear it in any case. */
bool store_rows_index_init(struct store_rows_index *x, const struct store_document *rows,
                           const struct store_document *to, enum store_kind kind) MUST_USE;
void store_rows_index_clear(struct store_rows_index *x);
/* The row that the entity is: by its id, or, where it has none, by its key.  NULL: a new one. */
const struct store_entity *store_rows_index_find(const struct store_rows_index *x,
                                                 const struct store_entity *e);

enum { DOCUMENT_MAX_BYTES = 256 << 20 };

/*
 * The file's text, which entities_parse has found good.  Relative paths are taken from the folder,
 * an absolute one, for nodes have another.  Faults: config_invalid, fault_out_of_memory.
 */
err document_from_yaml(struct arena *arena, struct view file_name, struct view folder,
                       struct view text, struct store_document *out,
                       struct diagnostics *d) MUST_USE;

/* The document as sallyport.yaml; ask buf_failed.  False when a definition is no JSON object. */
bool document_to_yaml(const struct store_document *document, struct buf *out) MUST_USE;

/* What the tables hold, in one snapshot; *revision counts imports. */
err document_read(struct store *s, struct arena *arena, struct store_document *out,
                  int64_t *revision, struct store_why *why) MUST_USE;

/* ---- Changes ---- */

enum store_change_kind { STORE_CREATE, STORE_UPDATE, STORE_DELETE };

struct store_change {
    enum store_change_kind change;
    enum store_kind kind;
    const struct store_entity *entity; /* as it shall be; NULL of STORE_DELETE */
    struct view id;                    /* of the row */
    const struct store_entity *row;    /* as it is; NULL of STORE_CREATE */
    struct view fields;                /* of STORE_UPDATE: what differs, "name, statement" */
};

struct store_changes {
    struct store_change *items;
    size_t count;
    bool role_order; /* roles that stay stand in another order */
};

/*
 * What makes `to` of `from`.  An entity is the same one when its id is, or its name where `to`
 * gives no id.  Times and ids that `to` does not say are no difference, nor is the order of
 * members.
 */
err document_compare(struct arena *arena, const struct store_document *from,
                     const struct store_document *to, struct store_changes *out) MUST_USE;

/* ---- Secrets ---- */

/* A field that the schema calls secret and that holds a text. */
struct store_secret {
    const struct store_entity *entity;
    struct secret_place place;
    struct view text; /* a reference, sealed, or, of a file that is imported, the secret itself */
};

/* Appends to `instead` what shall stand in its place; nothing: it stays. */
typedef err store_secret_visit(void *arg, const struct store_secret *secret, struct buf *instead);

/* Goes to each; definitions of which something was replaced are new ones, in the arena.  *changed
 * (which may be NULL), an array of counts[kind], tells of each entity whether it has one.
 * Ends with the first failure of a visit. */
err document_each_secret(struct arena *arena, struct store_document *document,
                         enum store_kind kind, store_secret_visit *visit, void *arg,
                         bool *changed) MUST_USE;

/* Says of which secret it failed; returns e. */
err document_explain_secret(struct store_why *why, err e, const struct store_secret *s) MUST_USE;

/*
 * Seals the secrets of `to`, which a file holds, for the rows that they are to be; what `stored`
 * has of the same secret is taken as it is, so that what did not change is no difference.  Sealed
 * ones have to open.  Faults: those of the keyring; the why names entity and field.
 */
err document_seal(struct arena *arena, const struct keyring *ring,
                  const struct store_document *stored, struct store_document *to,
                  struct store_why *why) MUST_USE;

/*
 * Makes the tables hold `to`, in one transaction that is committed only when what then stands there
 * reads back as a valid configuration; nodes are told at its commit.  Secrets of `to` are sealed by
 * the keyring of host's node before anything is sent.  config_invalid, with the
 * mistakes in d, when it does not read back; whatever fails, nothing has changed.
 */
err document_import(struct store *s, struct arena *arena, struct store_document *to,
                    const struct config_host *host, int64_t now_s, struct store_changes *out,
                    struct diagnostics *d, struct store_why *why) MUST_USE;

/* Seals anew, by the current key of the keyring of host's node, what another one sealed: all in one
 * transaction, of which nodes are told.  *done counts secrets; with none nothing is written. */
err document_rotate(struct store *s, struct arena *arena, const struct config_host *host,
                    size_t *done, struct store_why *why) MUST_USE;

#endif
