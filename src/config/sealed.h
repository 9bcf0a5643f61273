/*
 * Secrets that the keyring sealed, as they stand in sallyport.yaml and in the database:
 *
 *     {keyring://v1/KEY-ID/BASE64URL}
 *
 * What stands behind the key's id only store/keyring.h reads.  Here is where they may stand: in
 * fields that the schema calls secret, of entities that have an id.
 */
#ifndef SALLYPORT_CONFIG_SEALED_H
#define SALLYPORT_CONFIG_SEALED_H

#include "base/buf.h"
#include "base/view.h"
#include "config/decode.h"

#define SEALED_OPENING "{keyring://"

/* True when the whole text is a sealed secret by its form. */
static inline bool sealed_is(struct view text)
{
    return view_starts_with(text, VIEW(SEALED_OPENING)) && view_ends_with(text, VIEW("}"));
}

enum { SEALED_FIELD_MAX_BYTES = 1024 };

/* A field's path grows by a name or an index, as RFC 6901 writes them. */
void sealed_field_add(struct buf *field, struct view name);
void sealed_field_add_index(struct buf *field, size_t index);

/* Puts what each sealed secret of the file holds in place of it, wiped with the scratch arena; one
 * that cannot be opened is reported and broken. */
void sealed_open_all(struct decoder *d, struct yaml_node *root);

#endif
