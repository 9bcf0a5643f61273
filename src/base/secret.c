#include "base/secret.h"

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

bool secret_init(struct secret *s, struct view text)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    *s = (struct secret){0};
    if (text.len > SIZE_MAX - page)
        return false;
    size_t mapped = (text.len + page) / page * page;
    void *at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return false;
    /* Both are best effort: a small RLIMIT_MEMLOCK must not keep the gateway from starting. */
    (void)mlock(at, mapped);
    (void)madvise(at, mapped, MADV_DONTDUMP);
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    *s = (struct secret){at, text.len, mapped};
    return true;
}

void secret_clear(struct secret *s)
{
    if (s->data != NULL) {
        secret_wipe(s->data, s->mapped_bytes);
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
