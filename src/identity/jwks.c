#include "identity/jwks.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "json/json.h"

const struct fault jwks_malformed = {"jwks_malformed", "the key set is not a JWK Set", NULL, 0};
const struct fault jwks_too_large = {"jwks_too_large", "the key set is too large", NULL, 0};
const struct fault jwks_too_many_keys = {
    "jwks_too_many_keys", "the key set has too many keys", NULL, 0};
const struct fault jwks_duplicate_kid = {
    "jwks_duplicate_kid", "two keys of the set have one kid", NULL, 0};
const struct fault jwks_no_keys = {
    "jwks_no_keys", "no key of the set can verify a signature", NULL, 0};
const struct fault discovery_malformed = {
    "discovery_malformed", "the discovery document is not one", NULL, 0};
const struct fault discovery_issuer_mismatch = {
    "discovery_issuer_mismatch", "the discovery document is another issuer's", NULL, 0};
const struct fault discovery_url_refused = {
    "discovery_url_refused", "the discovery document's jwks_uri is not https", NULL, 0};

enum { PARSE_ARENA_BYTES = 4 * 1024 * 1024, KID_ARENA_BYTES = 64 * 1024 };

struct jwks {
    atomic_size_t references;
    size_t count;
    size_t skipped;
    uint8_t digest[SHA256_BYTES]; /* of the text */
    struct arena kids;
    struct jwk keys[JWKS_MAX_KEYS];
};

/* A member that must be a string when it is there. */
static bool text_member(const struct json_value *key, const char *name, struct view *out)
{
    return json_get(key, name) == NULL || json_get_string(key, name, out);
}

/* RFC 7517 section 4.2, 4.3: for verifying signatures, or not said. */
static bool is_for_verifying(const struct json_value *key)
{
    const struct json_value *operations = json_get(key, "key_ops");
    struct view use = VIEW("sig");

    if (!text_member(key, "use", &use) || !view_is(use, "sig"))
        return false;
    if (operations == NULL)
        return true;
    JSON_EACH(operation, operations)
    {
        if (json_is(operation, JSON_STRING) && view_is(operation->text, "verify"))
            return true;
    }
    return false;
}

static bool read_members(const struct json_value *key, struct jwk_members *m, struct view *kid)
{
    return text_member(key, "kty", &m->kty) && text_member(key, "crv", &m->crv) &&
           text_member(key, "n", &m->n) && text_member(key, "e", &m->e) &&
           text_member(key, "x", &m->x) && text_member(key, "y", &m->y) &&
           text_member(key, "alg", &m->alg) && text_member(key, "kid", kid) &&
           kid->len <= JWKS_KID_MAX_BYTES;
}

static err keep_key(struct jwks *set, struct view kid, struct jws_key *key)
{
    struct view copy = {NULL, 0};
    err e = OK;

    if (kid.data != NULL && jwks_find(set, kid) != NULL)
        e = fail(&jwks_duplicate_kid);
    else if (set->count == JWKS_MAX_KEYS)
        e = fail(&jwks_too_many_keys);
    else if (kid.data != NULL && (copy = arena_copy(&set->kids, kid)).data == NULL)
        e = fail(&fault_out_of_memory);
    if (failed(e))
        jws_key_free(key);
    else
        set->keys[set->count++] = (struct jwk){copy, key};
    return e;
}

static err add_key(struct jwks *set, const struct json_value *member)
{
    struct jwk_members members = {0};
    struct view kid = {NULL, 0};
    struct jws_key *key = NULL;

    if (!json_is(member, JSON_OBJECT))
        return fail(&jwks_malformed);
    if (!is_for_verifying(member) || !read_members(member, &members, &kid)) {
        set->skipped++;
        return OK;
    }
    err e = jws_key_new(&members, &key);
    if (is_fault(e, &fault_out_of_memory))
        return e;
    if (failed(e)) {
        set->skipped++;
        return OK;
    }
    return keep_key(set, kid, key);
}

static err fill(struct jwks *set, struct arena *arena, struct view text)
{
    const struct json_value *document, *keys;

    err e = json_parse(arena, text, NULL, &document, NULL);
    if (failed(e))
        return is_fault(e, &fault_out_of_memory) ? e : fail(&jwks_malformed);
    keys = json_get(document, "keys");
    if (!json_is(keys, JSON_ARRAY))
        return fail(&jwks_malformed);
    JSON_EACH(member, keys)
    TRY(add_key(set, member));
    return set->count > 0 ? OK : fail(&jwks_no_keys);
}

err jwks_parse(struct view text, struct jwks **out)
{
    struct arena arena;

    *out = NULL;
    if (text.len > JWKS_MAX_BYTES)
        return fail(&jwks_too_large);
    struct jwks *set = calloc(1, sizeof *set);
    if (set == NULL)
        return fail(&fault_out_of_memory);
    atomic_init(&set->references, 1);
    arena_init(&set->kids, 1024, KID_ARENA_BYTES);
    sha256(text, set->digest);
    arena_init(&arena, 16 * 1024, PARSE_ARENA_BYTES);
    err e = fill(set, &arena, text);
    arena_clear(&arena);
    if (failed(e))
        jwks_release(set);
    else
        *out = set;
    return e;
}

struct jwks *jwks_acquire(struct jwks *set)
{
    if (set != NULL)
        atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

void jwks_release(struct jwks *set)
{
    if (set == NULL ||
        atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        jws_key_free(set->keys[i].key);
    arena_clear(&set->kids);
    free(set);
}

size_t jwks_count(const struct jwks *set)
{
    return set->count;
}

size_t jwks_skipped(const struct jwks *set)
{
    return set->skipped;
}

const struct jwk *jwks_at(const struct jwks *set, size_t i)
{
    return &set->keys[i];
}

bool jwks_same(const struct jwks *a, const struct jwks *b)
{
    return memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

const struct jwk *jwks_find(const struct jwks *set, struct view kid)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->keys[i].kid.data != NULL && view_eq(set->keys[i].kid, kid))
            return &set->keys[i];
    }
    return NULL;
}

const struct jwk *jwks_only(const struct jwks *set, enum jws_alg alg, bool *many)
{
    const struct jwk *found = NULL;

    *many = false;
    for (size_t i = 0; i < set->count; i++) {
        if (!jws_key_allows(set->keys[i].key, alg))
            continue;
        if (found != NULL) {
            *many = true;
            return NULL;
        }
        found = &set->keys[i];
    }
    return found;
}
