#include "net/mailbox.h"

#include "base/log.h"

static bool run_batch(struct mailbox *m)
{
    struct list batch;
    bool any = false;

    /* Takes the whole queue at once: letters posted meanwhile wake the loop again. */
    list_init(&batch);
    pthread_mutex_lock(&m->lock);
    for (struct list *node; (node = list_pop_front(&m->letters)) != NULL;)
        list_push_back(&batch, node);
    pthread_mutex_unlock(&m->lock);
    for (struct list *node; (node = list_pop_front(&batch)) != NULL;) {
        struct letter *letter = LIST_ENTRY(node, struct letter, link);
        letter->open(letter);
        any = true;
    }
    return any;
}

void mailbox_run(struct mailbox *m)
{
    run_batch(m);
}

static void on_wake(uv_async_t *wake)
{
    mailbox_run(CONTAINER_OF(wake, struct mailbox, wake));
}

void mailbox_init(struct mailbox *m, uv_loop_t *loop)
{
    ENSURE(uv_async_init(loop, &m->wake, on_wake) == 0);
    ENSURE(pthread_mutex_init(&m->lock, NULL) == 0);
    list_init(&m->letters);
}

void mailbox_post(struct mailbox *m, struct letter *letter, void (*open)(struct letter *letter))
{
    letter->open = open;
    pthread_mutex_lock(&m->lock);
    bool first = list_is_empty(&m->letters);
    list_push_back(&m->letters, &letter->link);
    pthread_mutex_unlock(&m->lock);
    if (first)
        uv_async_send(&m->wake);
}

void mailbox_close(struct mailbox *m)
{
    while (run_batch(m))
        continue;
    uv_close((uv_handle_t *)&m->wake, NULL);
}
