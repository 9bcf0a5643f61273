#include "store/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum lookup_state { LOOKUP_IDLE, LOOKUP_ASKED, LOOKUP_ANSWERED };

struct lookup {
    char *host;
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t turn;

    /* Under the lock. */
    enum lookup_state state;
    bool abandoned; /* by its owner: the thread frees */
    struct store_addresses answer;
    int wrong; /* of getaddrinfo */
};

bool store_addresses_have(const struct store_addresses *a, const char *address)
{
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->at[i], address) == 0)
            return true;
    }
    return false;
}

bool store_addresses_equal(const struct store_addresses *a, const struct store_addresses *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; i < a->count && equal; i++)
        equal = store_addresses_have(b, a->at[i]);
    return equal;
}

void store_addresses_remove(struct store_addresses *a, const char *address)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->at[i], address) != 0)
            memmove(a->at[kept++], a->at[i], STORE_ADDRESS_BYTES);
    }
    a->count = kept;
}

static int resolve(const char *host, int flags, struct store_addresses *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;

    *out = (struct store_addresses){0};
    int wrong = getaddrinfo(host, NULL, &hints, &found);
    for (const struct addrinfo *a = found; wrong == 0 && a != NULL; a = a->ai_next) {
        char *at = out->at[out->count];
        if (out->count == STORE_ADDRESSES_MAX)
            break;
        int bad = getnameinfo(a->ai_addr, a->ai_addrlen, at, STORE_ADDRESS_BYTES, NULL, 0,
                              NI_NUMERICHOST);
        if (bad == 0 && !store_addresses_have(out, at))
            out->count++;
    }
    if (found != NULL)
        freeaddrinfo(found);
    return wrong != 0 ? wrong : out->count == 0 ? EAI_NONAME : 0;
}

bool store_address_literal(const char *host, struct store_addresses *out)
{
    return resolve(host, AI_NUMERICHOST, out) == 0;
}

/* ---- The thread ---- */

static void destroy(struct lookup *l)
{
    close(l->fd);
    pthread_cond_destroy(&l->turn);
    pthread_mutex_destroy(&l->lock);
    free(l->host);
    free(l);
}

static void settle(struct lookup *l, int wrong, const struct store_addresses *answer)
{
    const uint64_t one = 1;

    l->wrong = wrong;
    l->answer = *answer;
    l->state = LOOKUP_ANSWERED;
    ssize_t n = write(l->fd, &one, sizeof one);
    (void)n; /* the counter is at zero: it was taken before this was asked */
}

static void *look_up(void *arg)
{
    struct lookup *l = arg;
    struct store_addresses answer;

    pthread_mutex_lock(&l->lock);
    while (!l->abandoned) {
        if (l->state != LOOKUP_ASKED) {
            pthread_cond_wait(&l->turn, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        int wrong = resolve(l->host, 0, &answer);
        pthread_mutex_lock(&l->lock);
        settle(l, wrong, &answer);
    }
    pthread_mutex_unlock(&l->lock);
    destroy(l);
    return NULL;
}

/* Detached, for nobody may wait for a resolver; signals are the control thread's. */
static bool start_thread(struct lookup *l)
{
    pthread_attr_t detached;
    pthread_t thread;
    sigset_t every, before;

    sigfillset(&every);
    pthread_sigmask(SIG_BLOCK, &every, &before);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    bool good = pthread_create(&thread, &detached, look_up, l) == 0;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return good;
}

/* ---- Its owner's side ---- */

err lookup_new(const char *host, struct lookup **out)
{
    struct lookup *l = calloc(1, sizeof *l);

    *out = NULL;
    if (l == NULL)
        return fail(&fault_out_of_memory);
    l->host = strdup(host);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->turn, NULL);
    if (l->host == NULL || l->fd < 0 || !start_thread(l)) {
        destroy(l);
        return fail(&fault_out_of_memory);
    }
    *out = l;
    return OK;
}

void lookup_free(struct lookup *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->abandoned = true;
    pthread_cond_signal(&l->turn);
    pthread_mutex_unlock(&l->lock);
}

void lookup_ask(struct lookup *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->state == LOOKUP_IDLE) {
        l->state = LOOKUP_ASKED;
        pthread_cond_signal(&l->turn);
    }
    pthread_mutex_unlock(&l->lock);
}

int lookup_fd(const struct lookup *l)
{
    return l->fd;
}

bool lookup_take(struct lookup *l, struct store_addresses *out, char why[LOOKUP_WHY_BYTES])
{
    uint64_t n;

    pthread_mutex_lock(&l->lock);
    bool there = l->state == LOOKUP_ANSWERED;
    if (there) {
        ssize_t got = read(l->fd, &n, sizeof n);
        (void)got; /* it was written before the state was set */
        *out = l->answer;
        snprintf(why, LOOKUP_WHY_BYTES, "%s", l->wrong != 0 ? gai_strerror(l->wrong) : "");
        l->state = LOOKUP_IDLE;
    }
    pthread_mutex_unlock(&l->lock);
    return there;
}
