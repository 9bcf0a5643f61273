/* The verified caller, as every room after `identity` sees it. */
#ifndef SALLYPORT_MODEL_PRINCIPAL_H
#define SALLYPORT_MODEL_PRINCIPAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct strings {
    const struct view *items;
    size_t count;
};

static inline bool strings_have(struct strings s, struct view word)
{
    for (size_t i = 0; i < s.count; i++) {
        if (view_eq(s.items[i], word))
            return true;
    }
    return false;
}

enum claim_kind { CLAIM_STRING, CLAIM_NUMBER, CLAIM_BOOL, CLAIM_NULL, CLAIM_COMPOUND };

/* One top-level claim of the token. */
struct claim {
    struct view name;
    enum claim_kind kind;
    struct view text; /* a string's characters; a number or bool as written */
    struct view json; /* the value as JSON */
};

struct consumer;

struct principal {
    struct view issuer_name; /* the configured issuer's name */
    struct view issuer;      /* the token's iss */
    struct view subject;     /* sub */
    struct view client;      /* client_id, cid, azp or appid; may be absent */
    struct view method;      /* how it was proved: "jwt" */
    struct view token_id;    /* jti; may be absent */
    struct view key_id;      /* kid of the key that verified the token; may be absent */
    struct view consumer_claim; /* what the issuer's consumer_claim holds; absent: no such claim */
    const struct consumer *consumer; /* found by it in the configuration; NULL: none */
    struct strings groups;
    struct strings scopes;
    const struct claim *claims;
    size_t claim_count;
    int64_t expires_at_s; /* exp, seconds since 1970; never absent */
};

/* The claim of that name, or NULL. */
static inline const struct claim *principal_claim(const struct principal *p, struct view name)
{
    for (size_t i = 0; i < p->claim_count; i++) {
        if (view_eq(p->claims[i].name, name))
            return &p->claims[i];
    }
    return NULL;
}

#endif
