#include "audit/read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit/internal.h"

enum { READ_BYTES = 64 * 1024, LISTING_MAX = 4 * 1000 * 1000, HALF_LINE_TRIES = 10 };

static bool digits(struct view v, size_t from, size_t to, bool hex)
{
    for (size_t i = from; i < to; i++) {
        char c = v.data[i];
        if (!((c >= '0' && c <= '9') || (hex && c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static bool boot_is_valid(struct view v)
{
    return v.len == AUDIT_BOOT_LEN && digits(v, 0, 8, false) && v.data[8] == 't' &&
           digits(v, 9, 15, false) && v.data[15] == '-' && digits(v, 16, 24, true);
}

/* A decimal number without leading zeros: two names for one file would be one too many. */
static bool number(struct view v, uint64_t max, unsigned *out)
{
    uint64_t n;

    if ((v.len > 1 && v.data[0] == '0') || !view_to_u64(v, max, &n))
        return false;
    *out = (unsigned)n;
    return true;
}

bool audit_file_parse(const char *name, struct audit_file *out)
{
    struct view v = view_str(name), suffix = VIEW(".jsonl"), writer;

    if (v.len <= AUDIT_BOOT_LEN + suffix.len || !view_ends_with(v, suffix) ||
        !boot_is_valid(view_upto(v, AUDIT_BOOT_LEN)))
        return false;
    *out = (struct audit_file){0};
    memcpy(out->boot, name, AUDIT_BOOT_LEN);
    v = view_from(view_upto(v, v.len - suffix.len), AUDIT_BOOT_LEN);
    if (view_is(v, "-anchors")) {
        out->anchors = true;
        return true;
    }
    if (!view_starts_with(v, VIEW("-w")))
        return false;
    struct view file = view_cut(view_from(v, 2), '-', &writer);
    return number(writer, UINT32_MAX, &out->writer) && number(file, UINT32_MAX, &out->number) &&
           out->number > 0;
}

static int by_place(const void *a, const void *b)
{
    const struct audit_file *x = a, *y = b;
    int order = strcmp(x->boot, y->boot);

    if (order != 0)
        return order;
    if (x->anchors != y->anchors)
        return x->anchors ? -1 : 1;
    if (x->writer != y->writer)
        return x->writer < y->writer ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static err add_file(struct audit_listing *l, size_t *room, const struct audit_file *file)
{
    if (l->count == *room) {
        size_t more = *room == 0 ? 64 : *room * 2;
        struct audit_file *files =
            more > LISTING_MAX ? NULL : reallocarray(l->files, more, sizeof *files);
        if (files == NULL)
            return fail(&fault_out_of_memory);
        l->files = files;
        *room = more;
    }
    l->files[l->count++] = *file;
    return OK;
}

/* A listing may miss a file that is made while it goes on, and hold one made still later: what is
 * missing between two numbers of a writer is looked for by its name. */
static err fill_gaps(int directory_fd, struct audit_listing *l, size_t *room)
{
    const size_t listed = l->count;
    char name[AUDIT_NAME_MAX];
    err e = OK;

    for (size_t i = 1; !failed(e) && i < listed; i++) {
        struct audit_file before = l->files[i - 1], after = l->files[i];
        if (before.anchors || after.anchors || before.writer != after.writer ||
            strcmp(before.boot, after.boot) != 0)
            continue;
        for (unsigned n = before.number + 1; !failed(e) && n < after.number; n++) {
            before.number = n;
            audit_file_name(name, before.boot, before.writer, n);
            if (faccessat(directory_fd, name, F_OK, 0) != 0)
                break; /* truly gone, perhaps with many after it */
            e = add_file(l, room, &before);
        }
    }
    if (!failed(e) && l->count > listed)
        qsort(l->files, l->count, sizeof *l->files, by_place);
    return e;
}

err audit_list(const char *directory, struct audit_listing *out)
{
    struct audit_file file;
    size_t room = 0;
    err e = OK;

    *out = (struct audit_listing){0};
    DIR *d = opendir(directory);
    if (d == NULL)
        return fail(&audit_open_failed);
    for (struct dirent *entry; !failed(e) && (entry = readdir(d)) != NULL;) {
        if (audit_file_parse(entry->d_name, &file))
            e = add_file(out, &room, &file);
    }
    if (!failed(e) && out->count > 0) {
        qsort(out->files, out->count, sizeof *out->files, by_place);
        e = fill_gaps(dirfd(d), out, &room);
    }
    closedir(d);
    if (failed(e))
        audit_listing_clear(out);
    return e;
}

void audit_listing_clear(struct audit_listing *l)
{
    free(l->files);
    *l = (struct audit_listing){0};
}

bool audit_reader_open(struct audit_reader *r, int directory_fd, const char *name)
{
    *r = (struct audit_reader){.fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC)};
    buf_init(&r->buffer, AUDIT_LINE_MAX + READ_BYTES);
    return r->fd >= 0;
}

void audit_reader_close(struct audit_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    buf_clear(&r->buffer);
    *r = (struct audit_reader){.fd = -1};
}

/* >0: something more was read; 0: the end; <0: failed. */
static ssize_t fill(struct audit_reader *r)
{
    ssize_t n;

    buf_consume(&r->buffer, r->at);
    r->at = 0;
    if (!buf_reserve(&r->buffer, READ_BYTES))
        return -1;
    do {
        n = read(r->fd, r->buffer.data + r->buffer.len, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        r->buffer.len += (size_t)n;
    return n;
}

enum audit_read audit_reader_next(struct audit_reader *r, struct view *line)
{
    size_t searched = 0;

    for (int tries = 0;;) {
        struct view have = view_from(buf_view(&r->buffer), r->at);
        size_t end = searched + view_find(view_from(have, searched), '\n');
        if (end < have.len) {
            *line = view_upto(have, end);
            r->at += end + 1;
            return AUDIT_READ_LINE;
        }
        searched = have.len;
        if (have.len >= AUDIT_LINE_MAX)
            return AUDIT_READ_TORN;
        ssize_t n = fill(r);
        if (n < 0)
            return AUDIT_READ_FAILED;
        if (n == 0 && searched == 0)
            return AUDIT_READ_END;
        if (n == 0 && tries++ == HALF_LINE_TRIES)
            return AUDIT_READ_TORN;
        if (n == 0)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* The next file's record that waits to be the earliest. */
struct merge_lane {
    size_t file;  /* in the listing */
    size_t after; /* the first file of another writer */
    struct audit_reader reader;
    struct view line;
    struct audit_line record;
};

struct audit_merge {
    int directory_fd;
    struct audit_listing listing;
    size_t next_file; /* the first of the boots not yet begun */
    struct merge_lane lanes[AUDIT_MAX_WRITERS];
    size_t lane_count;
    struct merge_lane *given; /* whose line the caller holds */
};

/* Moves the lane to its next record; false when it has no more. */
static bool lane_next(struct audit_merge *m, struct merge_lane *lane)
{
    char name[AUDIT_NAME_MAX];

    while (true) {
        if (lane->reader.fd >= 0) {
            while (audit_reader_next(&lane->reader, &lane->line) == AUDIT_READ_LINE) {
                if (audit_line_parse(lane->line, &lane->record))
                    return true;
            }
            audit_reader_close(&lane->reader);
            lane->file++;
        }
        if (lane->file == lane->after)
            return false;
        const struct audit_file *f = &m->listing.files[lane->file];
        audit_file_name(name, f->boot, f->writer, f->number);
        if (!audit_reader_open(&lane->reader, m->directory_fd, name))
            lane->file++;
    }
}

/* Makes lanes of the next boot's writers; false when there is no more boot. */
static bool next_boot(struct audit_merge *m)
{
    const struct audit_listing *l = &m->listing;
    size_t i = m->next_file;

    m->lane_count = 0;
    if (i == l->count)
        return false;
    const char *boot = l->files[i].boot;
    while (i < l->count && strcmp(l->files[i].boot, boot) == 0) {
        size_t first = i;
        bool anchors = l->files[i].anchors;
        unsigned writer = l->files[i].writer;
        while (i < l->count && strcmp(l->files[i].boot, boot) == 0 &&
               l->files[i].anchors == anchors && l->files[i].writer == writer)
            i++;
        if (anchors || m->lane_count == AUDIT_MAX_WRITERS)
            continue;
        struct merge_lane *lane = &m->lanes[m->lane_count];
        *lane = (struct merge_lane){.file = first, .after = i, .reader = {.fd = -1}};
        if (lane_next(m, lane))
            m->lane_count++;
    }
    m->next_file = i;
    return true;
}

err audit_merge_open(const char *directory, struct audit_merge **out)
{
    *out = NULL;
    struct audit_merge *m = calloc(1, sizeof *m);
    if (m == NULL)
        return fail(&fault_out_of_memory);
    m->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err e = m->directory_fd < 0 ? fail(&audit_open_failed) : audit_list(directory, &m->listing);
    if (failed(e)) {
        audit_merge_close(m);
        return e;
    }
    *out = m;
    return OK;
}

void audit_merge_close(struct audit_merge *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->lane_count; i++)
        audit_reader_close(&m->lanes[i].reader);
    if (m->directory_fd >= 0)
        close(m->directory_fd);
    audit_listing_clear(&m->listing);
    free(m);
}

/* The time is the first member and of one length, so the lines' order is the times' order. */
static struct view time_of(const struct merge_lane *lane)
{
    return view_upto(lane->line, sizeof "{\"time\":\"2026-01-02T03:04:05.678901Z" - 1);
}

bool audit_merge_next(struct audit_merge *m, struct view *line, struct audit_line *record)
{
    if (m->given != NULL) {
        struct merge_lane *last = &m->lanes[m->lane_count - 1];
        if (!lane_next(m, m->given)) {
            *m->given = *last;
            m->lane_count--;
        }
        m->given = NULL;
    }
    while (m->lane_count == 0) {
        if (!next_boot(m))
            return false;
    }
    struct merge_lane *first = &m->lanes[0];
    for (size_t i = 1; i < m->lane_count; i++) {
        if (view_cmp(time_of(&m->lanes[i]), time_of(first)) < 0)
            first = &m->lanes[i];
    }
    m->given = first;
    *line = first->line;
    *record = first->record;
    return true;
}
