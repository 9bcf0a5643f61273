/*
 * Consumers by what names them: a hash look-up, however many there are.
 *
 * Filled once, then read by any thread.  It points into the consumers, which must outlive it.
 */
#ifndef SALLYPORT_MODEL_CONSUMERS_H
#define SALLYPORT_MODEL_CONSUMERS_H

#include "base/attr.h"
#include "base/map.h"
#include "model/entities.h"

struct consumer_index {
    struct map ids;
    struct map usernames;
    struct map custom_ids;
};

void consumer_index_init(struct consumer_index *index);
void consumer_index_clear(struct consumer_index *index);
/* Of two with one name the later is found; config refuses those.  False: no memory. */
bool consumer_index_fill(struct consumer_index *index, const struct consumer *consumers,
                         size_t count) MUST_USE;

/* Whom an entity refers to: an id, or else a username.  NULL: nobody. */
const struct consumer *consumer_by_reference(const struct consumer_index *index, struct view text);

/* Whom the value of the issuer's consumer_claim names, by its consumer_by in turn.  NULL: nobody,
 * or the issuer's tokens name no consumers. */
const struct consumer *consumer_by_claim(const struct consumer_index *index,
                                         const struct issuer *issuer, struct view value);

#endif
