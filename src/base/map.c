#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

struct map_slot {
    uint64_t hash;
    struct view key;
    void *value; /* NULL: never used; &tomb: removed */
};

static char tomb;
static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void choose_hash_key(void)
{
    if (getrandom(hash_key, sizeof hash_key, 0) != (ssize_t)sizeof hash_key)
        abort();
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

struct sip {
    uint64_t a, b, c, d;
};

static void sip_round(struct sip *s)
{
    s->a += s->b;
    s->b = rotate(s->b, 13) ^ s->a;
    s->a = rotate(s->a, 32);
    s->c += s->d;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = rotate(s->b, 17) ^ s->c;
    s->c = rotate(s->c, 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). */
uint64_t map_hash(struct view key)
{
    pthread_once(&hash_key_once, choose_hash_key);
    struct sip s = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                    hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    size_t at = 0;

    for (; at + 8 <= key.len; at += 8) {
        uint64_t word;
        memcpy(&word, key.data + at, 8);
        s.d ^= word;
        sip_round(&s);
        s.a ^= word;
    }
    uint64_t last = (uint64_t)key.len << 56;
    for (int shift = 0; at < key.len; at++, shift += 8)
        last |= (uint64_t)(unsigned char)key.data[at] << shift;
    s.d ^= last;
    sip_round(&s);
    s.a ^= last;
    s.c ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_clear(struct map *m)
{
    free(m->slots);
    map_init(m);
}

/* The slot that holds the key, or NULL. */
static struct map_slot *find(const struct map *m, struct view key, uint64_t hash)
{
    if (m->capacity == 0)
        return NULL;
    for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        struct map_slot *slot = &m->slots[i];
        if (slot->value == NULL)
            return NULL;
        if (slot->value != &tomb && slot->hash == hash && view_eq(slot->key, key))
            return slot;
    }
}

void *map_get(const struct map *m, struct view key)
{
    struct map_slot *slot = find(m, key, map_hash(key));
    return slot == NULL ? NULL : slot->value;
}

static void place(struct map *m, struct map_slot entry)
{
    size_t i = entry.hash & (m->capacity - 1);
    while (m->slots[i].value != NULL && m->slots[i].value != &tomb)
        i = (i + 1) & (m->capacity - 1);
    if (m->slots[i].value == &tomb)
        m->tombs--;
    m->slots[i] = entry;
    m->count++;
}

static bool rehash(struct map *m)
{
    size_t capacity = 16;
    while (capacity < (m->count + 1) * 2)
        capacity *= 2;
    struct map bigger = {calloc(capacity, sizeof *m->slots), capacity, 0, 0};
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < m->capacity; i++) {
        if (m->slots[i].value != NULL && m->slots[i].value != &tomb)
            place(&bigger, m->slots[i]);
    }
    free(m->slots);
    *m = bigger;
    return true;
}

bool map_put(struct map *m, struct view key, void *value)
{
    uint64_t hash = map_hash(key);
    struct map_slot *slot = find(m, key, hash);

    if (slot != NULL) {
        slot->key = key;
        slot->value = value;
        return true;
    }
    /* At most two thirds full, so that every probe meets an empty slot. */
    if ((m->count + m->tombs + 1) * 3 > m->capacity * 2 && !rehash(m))
        return false;
    place(m, (struct map_slot){hash, key, value});
    return true;
}

void *map_remove(struct map *m, struct view key)
{
    struct map_slot *slot = find(m, key, map_hash(key));

    if (slot == NULL)
        return NULL;
    void *value = slot->value;
    slot->value = &tomb;
    m->count--;
    m->tombs++;
    return value;
}

void *map_next(const struct map *m, size_t *at)
{
    while (*at < m->capacity) {
        void *value = m->slots[(*at)++].value;
        if (value != NULL && value != &tomb)
            return value;
    }
    return NULL;
}
