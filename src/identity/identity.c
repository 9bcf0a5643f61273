#include <stdlib.h>

#include "identity/identity_state.h"

enum { CONFIG_ARENA_BYTES = 16 * 1024 * 1024 };

static bool copy_view(struct arena *arena, struct view *text)
{
    if (text->data == NULL)
        return true;
    *text = arena_copy(arena, *text);
    return text->data != NULL;
}

static bool copy_list(struct arena *arena, struct strings *list)
{
    struct view *items = ARENA_ARRAY(arena, list->count, struct view);

    if (items == NULL)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        items[i] = list->items[i];
        if (!copy_view(arena, &items[i]))
            return false;
    }
    list->items = items;
    return true;
}

/* The configuration's own arena may go before the last call under this identity ends. */
static bool copy_issuer(struct arena *arena, const struct issuer *from, struct issuer *to)
{
    *to = *from;
    to->meta = (struct meta){.line = from->meta.line};
    struct view *const texts[] = {
        &to->name,         &to->issuer,       &to->jwks_uri,     &to->jwks_file,
        &to->ca_file,      &to->groups_claim, &to->scopes_claim, &to->client_claim,
        &to->consumer_claim,
    };
    struct strings *const lists[] = {&to->audience, &to->clients, &to->algorithms, &to->token_use,
                                     &to->consumer_by};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (!copy_view(arena, texts[i]))
            return false;
    }
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (!copy_list(arena, lists[i]))
            return false;
    }
    return true;
}

static uint32_t algorithm_bits(struct strings names)
{
    uint32_t bits = 0;
    enum jws_alg alg;

    for (size_t i = 0; i < names.count; i++) {
        if (jws_alg_by_name(names.items[i], &alg))
            bits |= UINT32_C(1) << alg;
    }
    return bits;
}

static struct issuer_keys *inherited_keys(const struct identity *previous,
                                          const struct issuer *issuer)
{
    for (size_t i = 0; previous != NULL && i < previous->count; i++) {
        if (issuer_keys_fit(previous->rules[i].keys, issuer))
            return issuer_keys_acquire(previous->rules[i].keys);
    }
    return NULL;
}

static err add_rules(struct identity *id, const struct issuer *issuers, size_t count,
                     const struct identity *previous)
{
    id->rules = ARENA_ARRAY(&id->arena, count, struct issuer_rule);
    if (id->rules == NULL)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < count; i++) {
        struct issuer_rule *rule = &id->rules[i];
        if (!copy_issuer(&id->arena, &issuers[i], &rule->config))
            return fail(&fault_out_of_memory);
        rule->algorithms = algorithm_bits(issuers[i].algorithms);
        rule->keys = inherited_keys(previous, &issuers[i]);
        if (rule->keys == NULL)
            TRY(issuer_keys_new(&issuers[i], &rule->keys));
        id->count++;
    }
    return OK;
}

err identity_new(const struct issuer *issuers, size_t count, const struct identity *previous,
                 struct identity **out)
{
    struct identity *id = calloc(1, sizeof *id);

    *out = NULL;
    if (id == NULL)
        return fail(&fault_out_of_memory);
    atomic_init(&id->references, 1);
    pthread_mutex_init(&id->lock, NULL);
    arena_init(&id->arena, 4096, CONFIG_ARENA_BYTES);
    id->born = identity_next_generation();
    err e = add_rules(id, issuers, count, previous);
    if (failed(e))
        identity_release(id);
    else
        *out = id;
    return e;
}

struct identity *identity_acquire(struct identity *id)
{
    atomic_fetch_add_explicit(&id->references, 1, memory_order_relaxed);
    return id;
}

void identity_release(struct identity *id)
{
    if (id == NULL || atomic_fetch_sub_explicit(&id->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < id->count; i++)
        issuer_keys_release(id->rules[i].keys);
    pthread_mutex_destroy(&id->lock);
    arena_clear(&id->arena);
    free(id);
}

uint64_t identity_generation(const struct identity *id)
{
    uint32_t newest = 0;

    for (size_t i = 0; i < id->count; i++) {
        uint32_t g = atomic_load(&id->rules[i].keys->generation);
        if (g > newest)
            newest = g;
    }
    return (uint64_t)id->born << 32 | newest;
}

static bool has_keys(struct issuer_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    bool loaded = keys->set != NULL;
    pthread_mutex_unlock(&keys->lock);
    return loaded;
}

bool identity_keys_loaded(const struct identity *id)
{
    for (size_t i = 0; i < id->count; i++) {
        if (!has_keys(id->rules[i].keys))
            return false;
    }
    return true;
}

size_t identity_issuer_count(const struct identity *id)
{
    return id->count;
}

void identity_issuer_status(const struct identity *id, size_t i, struct issuer_status *out)
{
    struct issuer_keys *keys = id->rules[i].keys;

    pthread_mutex_lock(&keys->lock);
    *out = keys->status;
    out->keys = keys->set != NULL ? jwks_count(keys->set) : 0;
    pthread_mutex_unlock(&keys->lock);
    out->name = id->rules[i].config.name;
}

void identity_set_wake(struct identity *id, void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&id->lock);
    id->wake = wake;
    id->wake_arg = arg;
    pthread_mutex_unlock(&id->lock);
}

void identity_want_refetch(struct identity *id, struct issuer_keys *keys)
{
    /* However many such tokens come, one wake until the refresher has looked. */
    if (atomic_exchange(&keys->refetch_wanted, true))
        return;
    pthread_mutex_lock(&id->lock);
    if (id->wake != NULL)
        id->wake(id->wake_arg);
    pthread_mutex_unlock(&id->lock);
}
