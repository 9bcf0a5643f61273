/* A JWT in JWS compact form, taken apart; nothing in it is believed yet.  Private to the room. */
#ifndef SALLYPORT_IDENTITY_TOKEN_H
#define SALLYPORT_IDENTITY_TOKEN_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"
#include "crypto/jws.h"
#include "json/json.h"

struct token {
    struct view signed_text; /* "header.payload", in the token */
    struct view header_json; /* decoded, in the arena, as are the next two */
    struct view payload_json;
    struct view signature;
    /* Of the header: */
    struct view alg_name;
    struct view kid; /* {NULL,0}: none */
    struct view typ; /* {NULL,0}: none */
    enum jws_alg alg;
    /* Of the payload: */
    const struct json_value *payload;
};

/* The three parts, decoded (RFC 7515 section 7.1). */
err token_split(struct arena *arena, struct view text, struct token *out) MUST_USE;
/* Reads the header's members into the token and refuses crit, jwk, jku and x5u. */
err token_read_header(struct arena *arena, struct token *t) MUST_USE;
err token_check_typ(const struct token *t) MUST_USE;
err token_read_payload(struct arena *arena, struct token *t) MUST_USE;

#endif
