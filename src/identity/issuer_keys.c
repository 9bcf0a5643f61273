#include "identity/issuer_keys.h"

#include <stdlib.h>

static _Atomic uint32_t last_generation;

uint32_t identity_next_generation(void)
{
    return atomic_fetch_add_explicit(&last_generation, 1, memory_order_relaxed) + 1;
}

/* An absent text stays absent. */
static bool copy_text(struct arena *arena, struct view from, struct view *to)
{
    *to = from.data != NULL ? arena_copy(arena, from) : from;
    return to->data != NULL || from.data == NULL;
}

err issuer_keys_new(const struct issuer *issuer, struct issuer_keys **out)
{
    struct issuer_keys *keys = calloc(1, sizeof *keys);

    *out = NULL;
    if (keys == NULL)
        return fail(&fault_out_of_memory);
    atomic_init(&keys->references, 1);
    pthread_mutex_init(&keys->lock, NULL);
    arena_init(&keys->arena, 512, 64 * 1024);
    arena_init(&keys->schedule.uri_arena, 512, DISCOVERY_MAX_BYTES);
    keys->schedule.due_ms = INT64_MIN;
    keys->status = (struct issuer_status){.last_success_ms = -1, .last_failure_ms = -1};
    if (!copy_text(&keys->arena, issuer->name, &keys->name) ||
        !copy_text(&keys->arena, issuer->issuer, &keys->issuer) ||
        !copy_text(&keys->arena, issuer->jwks_uri, &keys->jwks_uri) ||
        !copy_text(&keys->arena, issuer->jwks_file, &keys->jwks_file) ||
        !copy_text(&keys->arena, issuer->ca_file, &keys->ca_file)) {
        issuer_keys_release(keys);
        return fail(&fault_out_of_memory);
    }
    *out = keys;
    return OK;
}

struct issuer_keys *issuer_keys_acquire(struct issuer_keys *keys)
{
    atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

void issuer_keys_release(struct issuer_keys *keys)
{
    if (keys == NULL ||
        atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1)
        return;
    jwks_release(keys->set);
    pthread_mutex_destroy(&keys->lock);
    arena_clear(&keys->schedule.uri_arena);
    arena_clear(&keys->arena);
    free(keys);
}

bool issuer_keys_fit(const struct issuer_keys *keys, const struct issuer *issuer)
{
    return view_eq(keys->name, issuer->name) && view_eq(keys->issuer, issuer->issuer) &&
           view_eq(keys->jwks_uri, issuer->jwks_uri) &&
           view_eq(keys->jwks_file, issuer->jwks_file) && view_eq(keys->ca_file, issuer->ca_file);
}

struct jwks *issuer_keys_current(struct issuer_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    struct jwks *set = jwks_acquire(keys->set);
    pthread_mutex_unlock(&keys->lock);
    return set;
}

bool issuer_keys_publish(struct issuer_keys *keys, struct jwks *set)
{
    pthread_mutex_lock(&keys->lock);
    struct jwks *former = keys->set;
    bool changed = former == NULL || !jwks_same(former, set);
    keys->set = set;
    /* Inside the lock, so that whoever sees the new keys sees the new generation too. */
    if (changed)
        atomic_store(&keys->generation, identity_next_generation());
    pthread_mutex_unlock(&keys->lock);
    jwks_release(former);
    return changed;
}

void issuer_keys_note(struct issuer_keys *keys, err outcome, int64_t now_ms)
{
    pthread_mutex_lock(&keys->lock);
    keys->status.last_error = outcome;
    if (failed(outcome)) {
        keys->status.failures++;
        keys->status.last_failure_ms = now_ms;
    } else {
        keys->status.successes++;
        keys->status.last_success_ms = now_ms;
    }
    pthread_mutex_unlock(&keys->lock);
}
