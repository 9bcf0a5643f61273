#include "audit/shipped.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "audit/internal.h"
#include "audit/log.h"
#include "audit/read.h"
#include "base/arena.h"
#include "base/map.h"
#include "crypto/hash.h"

enum { BLOCK_BYTES = 64 * 1024, MAX_BYTES = 256 * 1024 * 1024 };

/* One line of the shipped file, by its digest: lines are long, and many. */
struct shipped_anchor {
    struct shipped_anchor *next;
    uint8_t digest[SHA256_BYTES];
    uint64_t line;
    bool there;
};

struct shipped {
    struct arena arena;
    struct map by_digest;
    struct shipped_anchor *first; /* in the file's order */
    struct shipped_anchor **end;
    uint64_t count;
};

static struct view key_of(const uint8_t *digest)
{
    return view_of(digest, SHA256_BYTES);
}

static err remember(struct shipped *s, struct view line)
{
    struct shipped_anchor *a = ARENA_NEW(&s->arena, struct shipped_anchor);

    if (a == NULL)
        return fail(&fault_out_of_memory);
    sha256(line, a->digest);
    a->line = ++s->count;
    if (!map_put(&s->by_digest, key_of(a->digest), a))
        return fail(&fault_out_of_memory);
    *s->end = a;
    s->end = &a->next;
    return OK;
}

static err read_shipped(struct shipped *s, const char *path)
{
    struct audit_reader r = {.fd = -1};
    struct view line;
    enum audit_read got;

    if (!audit_reader_open(&r, AT_FDCWD, path))
        return fail(&audit_open_failed);
    err e = OK;
    while (!failed(e) && (got = audit_reader_next(&r, &line)) == AUDIT_READ_LINE)
        e = remember(s, line);
    audit_reader_close(&r);
    if (failed(e))
        return e;
    return got == AUDIT_READ_END ? OK : fail(&audit_open_failed);
}

static void tick_off(struct shipped *s, struct view line)
{
    uint8_t digest[SHA256_BYTES];

    sha256(line, digest);
    struct shipped_anchor *a = map_get(&s->by_digest, key_of(digest));
    if (a != NULL)
        a->there = true;
}

static err read_folder(struct shipped *s, const char *directory)
{
    struct audit_listing listing;
    struct view line;

    TRY(audit_list(directory, &listing));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < listing.count; i++) {
        struct audit_reader r = {.fd = -1};
        char name[AUDIT_NAME_MAX];
        audit_anchors_name(name, listing.files[i].boot);
        if (!listing.files[i].anchors || !audit_reader_open(&r, fd, name))
            continue;
        while (audit_reader_next(&r, &line) == AUDIT_READ_LINE)
            tick_off(s, line);
        audit_reader_close(&r);
    }
    audit_listing_clear(&listing);
    if (fd < 0)
        return fail(&audit_open_failed);
    close(fd);
    return OK;
}

static err compare(struct shipped *s, const char *directory, const char *path,
                   void (*found)(void *arg, const struct audit_finding *finding), void *arg,
                   struct audit_shipped_counts *out)
{
    TRY(read_shipped(s, path));
    TRY(read_folder(s, directory));
    *out = (struct audit_shipped_counts){.anchors = s->count};
    for (const struct shipped_anchor *a = s->first; a != NULL; a = a->next) {
        if (a->there)
            continue;
        if (out->missing++ > 0)
            continue;
        const struct audit_finding finding = {
            .problem = AUDIT_MISSING_ANCHORS,
            .file = path,
            .line = a->line,
            .text = "this anchor was shipped and is not in the folder any more:"
                    " the log was cut off or replaced",
        };
        found(arg, &finding);
    }
    return OK;
}

err audit_verify_shipped(const char *directory, const char *shipped,
                         void (*found)(void *arg, const struct audit_finding *finding), void *arg,
                         struct audit_shipped_counts *out)
{
    struct shipped s = {.count = 0};

    arena_init(&s.arena, BLOCK_BYTES, MAX_BYTES);
    map_init(&s.by_digest);
    s.end = &s.first;
    err e = compare(&s, directory, shipped, found, arg, out);
    map_clear(&s.by_digest);
    arena_clear(&s.arena);
    return e;
}
