/*
 * How threads hand each other work: a queue of letters that wakes the owner's loop.
 *
 * Any thread may post; letters run on the owner's thread, in the order they were posted, outside
 * the lock.  A letter is a member of whatever it is about, so posting allocates nothing; it stands
 * in one mailbox at a time and its sender gives the memory up until it has run.
 */
#ifndef SALLYPORT_NET_MAILBOX_H
#define SALLYPORT_NET_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"

struct letter {
    struct list link;
    void (*open)(struct letter *letter); /* on the owner's thread */
};

struct mailbox {
    /* Set at birth. */
    uv_async_t wake;
    /* Any thread, under the lock. */
    pthread_mutex_t lock;
    struct list letters;
};

/* On the owner's thread.  Ends the process when the loop cannot make another handle. */
void mailbox_init(struct mailbox *m, uv_loop_t *loop);
void mailbox_post(struct mailbox *m, struct letter *letter, void (*open)(struct letter *letter));
/* On the owner's thread: runs what is inside now, without waiting for the loop. */
void mailbox_run(struct mailbox *m);
/* On the owner's thread: runs what is still inside, and what that posts here, then lets go of the
 * loop. */
void mailbox_close(struct mailbox *m);

#endif
