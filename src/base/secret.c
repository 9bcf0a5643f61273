#include "base/secret.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void secret_wipe(void *data, size_t len)
{
    if (len > 0)
        explicit_bzero(data, len);
}

bool secret_eq(struct view a, struct view b)
{
    unsigned char difference = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        difference |= (unsigned char)(a.data[i] ^ b.data[i]);
    return difference == 0;
}

/* ---- Memory ---- */

/*
 * Small secrets share pages: sessions per caller are many, and with pages of its own each secret
 * takes four kilobytes and, when its neighbours have gone, one of the mappings that a process may
 * have (vm.max_map_count).  A slot is of the smallest size that fits; a freed one is wiped and
 * waits for the next of its size; pages are not given back.
 */
enum { REGION_BYTES = 64 * 1024, SLOT_SIZES = 6 };
static const size_t slot_sizes[SLOT_SIZES] = {64, 128, 512, 1024, 1536, 2048};

struct free_slot {
    struct free_slot *next;
};

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct free_slot *free_slots[SLOT_SIZES]; /* under the lock */

static void *map_pages(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    /* Both are best effort: a small RLIMIT_MEMLOCK must not keep the gateway from starting. */
    (void)mlock(at, bytes);
    (void)madvise(at, bytes, MADV_DONTDUMP);
    return at;
}

/* The index of the smallest slot for so many bytes, or SLOT_SIZES: it needs pages of its own. */
static size_t slot_for(size_t bytes)
{
    size_t i = 0;

    while (i < SLOT_SIZES && slot_sizes[i] < bytes)
        i++;
    return i;
}

static bool add_region(size_t index)
{
    const size_t size = slot_sizes[index];
    char *region = map_pages(REGION_BYTES);

    if (region == NULL)
        return false;
    for (size_t at = 0; at + size <= REGION_BYTES; at += size) {
        struct free_slot *slot = (struct free_slot *)(void *)(region + at);
        slot->next = free_slots[index];
        free_slots[index] = slot;
    }
    return true;
}

static void *take_slot(size_t index)
{
    struct free_slot *slot = NULL;

    pthread_mutex_lock(&slots_lock);
    if (free_slots[index] != NULL || add_region(index)) {
        slot = free_slots[index];
        free_slots[index] = slot->next;
        slot->next = NULL;
    }
    pthread_mutex_unlock(&slots_lock);
    return slot;
}

static void give_slot(size_t index, void *wiped)
{
    struct free_slot *slot = wiped;

    pthread_mutex_lock(&slots_lock);
    slot->next = free_slots[index];
    free_slots[index] = slot;
    pthread_mutex_unlock(&slots_lock);
}

/* A zero always follows the text. */
bool secret_init(struct secret *s, struct view text)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    *s = (struct secret){0};
    if (text.len > SIZE_MAX - page)
        return false;
    const size_t index = slot_for(text.len + 1);
    const size_t room = index < SLOT_SIZES ? slot_sizes[index] : (text.len + page) / page * page;
    void *at = index < SLOT_SIZES ? take_slot(index) : map_pages(room);
    if (at == NULL)
        return false;
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    *s = (struct secret){at, text.len, room};
    return true;
}

void secret_clear(struct secret *s)
{
    const size_t index = slot_for(s->mapped_bytes);

    if (s->data != NULL) {
        secret_wipe(s->data, s->mapped_bytes);
        if (index < SLOT_SIZES)
            give_slot(index, s->data);
        else
            munmap(s->data, s->mapped_bytes);
    }
    *s = (struct secret){0};
}

void secret_harden_process(void)
{
    struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker has to trace its own process */
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
}
