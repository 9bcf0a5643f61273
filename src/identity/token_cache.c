#include "identity/token_cache.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "crypto/hash.h"

enum { CALLER_BLOCK_BYTES = 2048, CALLER_ARENA_BYTES = 512 * 1024 };

struct entry {
    struct list link; /* in `by_use` */
    uint8_t digest[SHA256_BYTES];
    struct known_caller *caller;
};

struct token_cache {
    size_t max_entries;
    uint64_t generation;
    struct map entries;
    struct list by_use; /* the least recently used first */
    uint64_t hits;
    uint64_t misses;
};

err token_cache_new(size_t max_entries, struct token_cache **out)
{
    struct token_cache *c = calloc(1, sizeof *c);

    *out = c;
    if (c == NULL)
        return fail(&fault_out_of_memory);
    c->max_entries = max_entries;
    map_init(&c->entries);
    list_init(&c->by_use);
    return OK;
}

void known_caller_acquire(struct known_caller *k)
{
    k->references++;
}

void known_caller_release(struct known_caller *k)
{
    if (k == NULL || --k->references > 0)
        return;
    arena_clear(&k->arena);
    free(k);
}

static void drop(struct token_cache *c, struct entry *e)
{
    (void)map_remove(&c->entries, view_of(e->digest, sizeof e->digest));
    list_unlink(&e->link);
    known_caller_release(e->caller);
    free(e);
}

static void drop_all(struct token_cache *c)
{
    while (!list_is_empty(&c->by_use))
        drop(c, LIST_ENTRY(c->by_use.next, struct entry, link));
}

void token_cache_free(struct token_cache *c)
{
    if (c == NULL)
        return;
    drop_all(c);
    map_clear(&c->entries);
    free(c);
}

static bool copy_view(struct arena *a, struct view from, struct view *to)
{
    *to = from.data != NULL ? arena_copy(a, from) : from;
    return to->data != NULL || from.data == NULL;
}

static bool copy_strings(struct arena *a, struct strings from, struct strings *to)
{
    struct view *items = ARENA_ARRAY(a, from.count, struct view);

    if (items == NULL)
        return false;
    for (size_t i = 0; i < from.count; i++) {
        if (!copy_view(a, from.items[i], &items[i]))
            return false;
    }
    *to = (struct strings){items, from.count};
    return true;
}

/* Most texts stand within the claim's JSON: then the copy of that serves for both. */
static bool copy_claim(struct arena *a, const struct claim *from, struct claim *to)
{
    const uintptr_t start = (uintptr_t)from->json.data, at = (uintptr_t)from->text.data;

    to->kind = from->kind;
    if (!copy_view(a, from->name, &to->name) || !copy_view(a, from->json, &to->json))
        return false;
    if (from->text.data == NULL || at < start || at - start > from->json.len)
        return copy_view(a, from->text, &to->text);
    to->text = view_of(to->json.data + (at - start), from->text.len);
    return true;
}

/* A principal of its own, without the JSON tree and the token's bytes that the first one points
 * to: those are several times as large. */
static bool copy_principal(struct arena *a, const struct principal *from, struct principal *to)
{
    struct claim *claims = ARENA_ARRAY(a, from->claim_count, struct claim);

    *to = (struct principal){.expires_at_s = from->expires_at_s,
                             .method = from->method, /* a literal */
                             .claims = claims,
                             .claim_count = from->claim_count};
    if (claims == NULL)
        return false;
    for (size_t i = 0; i < from->claim_count; i++) {
        if (!copy_claim(a, &from->claims[i], &claims[i]))
            return false;
    }
    return copy_view(a, from->issuer_name, &to->issuer_name) &&
           copy_view(a, from->issuer, &to->issuer) && copy_view(a, from->subject, &to->subject) &&
           copy_view(a, from->client, &to->client) && copy_view(a, from->token_id, &to->token_id) &&
           copy_view(a, from->key_id, &to->key_id) &&
           copy_view(a, from->consumer_claim, &to->consumer_claim) &&
           copy_strings(a, from->groups, &to->groups) && copy_strings(a, from->scopes, &to->scopes);
}

static struct known_caller *caller_new(const struct principal *p)
{
    struct known_caller *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->references = 1;
    arena_init(&k->arena, CALLER_BLOCK_BYTES, CALLER_ARENA_BYTES);
    if (!copy_principal(&k->arena, p, &k->principal)) {
        known_caller_release(k);
        return NULL;
    }
    return k;
}

/* Without memory for an entry the caller is simply not remembered. */
static void remember(struct token_cache *c, const uint8_t digest[SHA256_BYTES],
                     struct known_caller *k)
{
    struct entry *e = calloc(1, sizeof *e);

    if (e == NULL)
        return;
    if (c->entries.count >= c->max_entries)
        drop(c, LIST_ENTRY(c->by_use.next, struct entry, link));
    memcpy(e->digest, digest, SHA256_BYTES);
    list_init(&e->link);
    if (!map_put(&c->entries, view_of(e->digest, sizeof e->digest), e)) {
        free(e);
        return;
    }
    e->caller = k;
    known_caller_acquire(k);
    list_push_back(&c->by_use, &e->link);
}

/* The living entry of the digest, now the most recently used. */
static struct entry *look_up(struct token_cache *c, const uint8_t digest[SHA256_BYTES],
                             int64_t now_s)
{
    struct entry *e = map_get(&c->entries, view_of(digest, SHA256_BYTES));

    if (e == NULL)
        return NULL;
    if (e->caller->principal.expires_at_s <= now_s) {
        drop(c, e);
        return NULL;
    }
    list_unlink(&e->link);
    list_push_back(&c->by_use, &e->link);
    return e;
}

err token_cache_identify(struct token_cache *c, struct identity *id, struct view token,
                         int64_t now_s, struct arena *scratch, struct known_caller **out,
                         struct token_check *check)
{
    uint8_t digest[SHA256_BYTES];
    struct principal p;

    *out = NULL;
    if (check != NULL)
        check->count = 0;
    /* Read before the verification: keys that change meanwhile make it differ at the next call. */
    const uint64_t generation = identity_generation(id);
    if (generation != c->generation) {
        drop_all(c);
        c->generation = generation;
    }
    sha256(token, digest);
    struct entry *e = look_up(c, digest, now_s);
    if (e != NULL) {
        c->hits++;
        known_caller_acquire(e->caller);
        *out = e->caller;
        return OK;
    }
    c->misses++;
    TRY(identity_verify(id, scratch, token, now_s, &p, check));
    struct known_caller *k = caller_new(&p);
    if (k == NULL)
        return fail(&fault_out_of_memory);
    if (p.expires_at_s > now_s)
        remember(c, digest, k);
    *out = k;
    return OK;
}

struct token_cache_counts token_cache_counts(const struct token_cache *c)
{
    return (struct token_cache_counts){c->hits, c->misses, c->entries.count};
}
