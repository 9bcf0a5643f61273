/*
 * The keys of one issuer, shared by every identity that is configured with the same issuer: a
 * reload takes them over, and a key change reaches calls in flight as well.  Private to the room.
 */
#ifndef SALLYPORT_IDENTITY_ISSUER_KEYS_H
#define SALLYPORT_IDENTITY_ISSUER_KEYS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/view.h"
#include "identity/identity.h"
#include "identity/jwks.h"
#include "model/entities.h"

/* When the key_refresher does what.  Times in its own monotonic milliseconds. */
struct key_schedule {
    bool started;    /* a fetch ever began, at started_ms */
    bool in_flight;
    bool settled;    /* a fetch ended with `outcome`, and no tick has looked at it yet */
    int64_t due_ms;
    int64_t started_ms;
    err outcome;
    int64_t max_age_s;
    unsigned failures; /* in a row */
    struct view jwks_uri; /* as discovered; in `uri_arena`; absent: to be discovered */
    struct arena uri_arena;
    /* jwks_file as it was when it was read last */
    bool file_seen;
    struct timespec file_time;
    int64_t file_size;
    uint64_t file_inode;
};

struct issuer_keys {
    atomic_size_t references;

    /* Never changes after issuer_keys_new; in `arena`. */
    struct arena arena;
    struct view name, issuer, jwks_uri, jwks_file, ca_file;

    /* Any thread. */
    atomic_bool refetch_wanted;  /* a token named a key that is not there */
    _Atomic uint32_t generation; /* of the key set; drawn from one counter for the process */

    /* Any thread, under `lock`. */
    pthread_mutex_t lock;
    struct jwks *set; /* NULL: never loaded */
    struct issuer_status status; /* without name and keys */

    /* The control thread only. */
    struct key_schedule schedule;
};

err issuer_keys_new(const struct issuer *issuer, struct issuer_keys **out) MUST_USE;
struct issuer_keys *issuer_keys_acquire(struct issuer_keys *keys);
void issuer_keys_release(struct issuer_keys *keys);
/* Whether this issuer's keys come from the same place. */
bool issuer_keys_fit(const struct issuer_keys *keys, const struct issuer *issuer);

/* The present set, acquired; NULL when there is none yet. */
struct jwks *issuer_keys_current(struct issuer_keys *keys);
/* Puts the set in place (takes the reference over).  True when it differs from the former. */
bool issuer_keys_publish(struct issuer_keys *keys, struct jwks *set);
/* Notes the end of an attempt for the status. */
void issuer_keys_note(struct issuer_keys *keys, err outcome, int64_t now_ms);

/* One more than ever before, in this process; never 0. */
uint32_t identity_next_generation(void);

#endif
