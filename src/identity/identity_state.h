/* What an identity is made of.  Private to the room: identity.c, verify.c, key_refresher.c. */
#ifndef SALLYPORT_IDENTITY_IDENTITY_STATE_H
#define SALLYPORT_IDENTITY_IDENTITY_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "identity/identity.h"
#include "identity/issuer_keys.h"

struct issuer_rule {
    struct issuer config; /* texts and lists in the identity's arena */
    uint32_t algorithms;  /* bit 1 << enum jws_alg */
    struct issuer_keys *keys;
};

struct identity {
    atomic_size_t references;

    /* Never changes after identity_new. */
    struct arena arena;
    struct issuer_rule *rules;
    size_t count;
    uint32_t born; /* of the generation counter: differs between identities */

    /* Any thread, under `lock`. */
    pthread_mutex_t lock;
    void (*wake)(void *arg);
    void *wake_arg;
};

/* From any thread: the key_refresher should look at this issuer's keys soon. */
void identity_want_refetch(struct identity *id, struct issuer_keys *keys);
/* Whom identity_want_refetch tells. */
void identity_set_wake(struct identity *id, void (*wake)(void *arg), void *arg);

#endif
