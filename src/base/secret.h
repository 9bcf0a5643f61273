/*
 * Memory for secrets: locked against swapping where the limits allow it, kept out of core dumps,
 * wiped before it is given back.
 */
#ifndef SALLYPORT_BASE_SECRET_H
#define SALLYPORT_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

/* Overwrites the bytes in a way that the compiler may not leave out. */
void secret_wipe(void *data, size_t len);

/* Equal or not, in a time that depends on the lengths alone. */
bool secret_eq(struct view a, struct view b);

/* A secret text in pages that hold nothing but secrets.  The zeroed struct is the absent one. */
struct secret {
    char *data;
    size_t len;
    size_t mapped_bytes;
};

/* Copies the text into locked pages, a zero after it; false when there is no memory.  End with
 * secret_clear.  Any thread. */
bool secret_init(struct secret *s, struct view text);
void secret_clear(struct secret *s);

static inline struct view secret_view(const struct secret *s)
{
    return (struct view){s->data, s->len};
}

/* For the whole process, early in main: no core dumps, not traceable by others. */
void secret_harden_process(void);

#endif
