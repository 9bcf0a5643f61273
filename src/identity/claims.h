/* The claims of a verified payload: what each means for the principal.  Private to the room. */
#ifndef SALLYPORT_IDENTITY_CLAIMS_H
#define SALLYPORT_IDENTITY_CLAIMS_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "json/json.h"
#include "model/entities.h"
#include "model/principal.h"

/* An optional NumericDate: *present says whether it is there. */
err claims_seconds(const struct json_value *payload, const char *name, bool *present,
                   int64_t *out) MUST_USE;

/* A string, or an array of strings; absent gives none.  With `split`, a string is a list between
 * blanks (RFC 6749 section 3.3).  Fails with identity_claim_malformed. */
err claims_strings(struct arena *arena, const struct json_value *value, bool split,
                   struct strings *out) MUST_USE;

/* The member of that name, or else, where the name has dots, the member within members
 * (realm_access.roles). */
const struct json_value *claims_find(const struct json_value *payload, struct view name);

/* By the issuer's own claim names, or those of its preset. */
err claims_scopes(struct arena *arena, const struct issuer *issuer,
                  const struct json_value *payload, struct strings *out) MUST_USE;
err claims_groups(struct arena *arena, const struct issuer *issuer,
                  const struct json_value *payload, struct strings *out) MUST_USE;
/* {NULL,0} when the token names none. */
err claims_client(const struct issuer *issuer, const struct json_value *payload,
                  struct view *out) MUST_USE;

/* What the issuer's consumer_claim holds: a string, or a number as written; {NULL, 0} without. */
err claims_consumer(const struct issuer *issuer, const struct json_value *payload,
                    struct view *out) MUST_USE;

/* sub: there, bounded, without control characters. */
err claims_subject(const struct json_value *payload, struct view *out) MUST_USE;

/* Every top-level claim. */
err claims_all(struct arena *arena, const struct json_value *payload, const struct claim **out,
               size_t *count) MUST_USE;

#endif
