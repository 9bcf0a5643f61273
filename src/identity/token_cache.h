/*
 * Tokens that this worker has already verified: SHA-256 of the token to the principal, so that a
 * repeated token costs a hash and a look-up instead of a signature.
 *
 * No locks: one thread.  Only successes are kept, each until its principal's expires_at_s.  At the
 * bound the least recently used goes.  When the identity's generation differs from that of the
 * last call, everything goes first.  The token itself is never kept.
 */
#ifndef SALLYPORT_IDENTITY_TOKEN_CACHE_H
#define SALLYPORT_IDENTITY_TOKEN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "identity/identity.h"

struct token_cache;

/* A verified token.  Counted by reference: a call in flight may outlive the entry's eviction. */
struct known_caller {
    struct principal principal;
    struct arena arena; /* of the principal; whoever holds the caller may add to it */
    void *user;         /* the gateway's own, e.g. decisions per route; freed through
                           arena_on_reset(&arena, …); NULL at first */
    size_t references;  /* this worker only */
};

/* max_entries >= 1. */
err token_cache_new(size_t max_entries, struct token_cache **out) MUST_USE;
void token_cache_free(struct token_cache *c); /* NULL is fine; callers in flight stay valid */

/*
 * The caller of this token: from the cache, or verified now and put there.  *out is acquired for
 * the one who asks; end with known_caller_release.  The verification works in `scratch` (give it
 * IDENTITY_ARENA_BYTES); nothing of *out points there.  `check` (may be NULL) is filled only when a
 * verification ran, its texts live in scratch; its count is 0 on a hit.  Fails as identity_verify
 * does; a failure is never kept.
 */
err token_cache_identify(struct token_cache *c, struct identity *id, struct view token,
                         int64_t now_s, struct arena *scratch, struct known_caller **out,
                         struct token_check *check) MUST_USE;

void known_caller_acquire(struct known_caller *k);
void known_caller_release(struct known_caller *k); /* NULL is fine */

struct token_cache_counts {
    uint64_t hits;
    uint64_t misses;
    size_t entries;
};
struct token_cache_counts token_cache_counts(const struct token_cache *c);

#endif
