/*
 * The anchors of a boot are read in order, and each writer's files beside them: for every head that
 * an anchor names, that writer's cursor goes on to the record and compares.  What is left behind
 * the last anchor is then read to its end.  So nothing is kept but one cursor for each writer.
 */
#include "audit/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/internal.h"
#include "audit/read.h"
#include "crypto/base64.h"
#include "json/json.h"

enum { PUBLIC_FILE_MAX = 4096 };

struct cursor {
    unsigned writer;
    unsigned last_listed; /* the highest file number in the listing */
    unsigned number;      /* of the file being read, or read last; 0: none yet */
    struct audit_reader reader;
    uint64_t line;
    uint64_t seq;
    uint64_t anchored; /* the highest sequence number that an anchor named */
    char chain[AUDIT_CHAIN_DIGITS];
    bool bad;
};

/* A boot's first anchor names the boot before and the hash of one of its anchors. */
struct boot_link {
    char boot[AUDIT_BOOT_LEN + 1];
    char previous[AUDIT_CHAIN_DIGITS];
    bool found;
};

struct verification {
    const struct audit_verify_options *options;
    struct audit_verify_counts *counts;
    int directory_fd;
    uint8_t key[SIGN_PUBLIC_BYTES];
    bool have_key;
    struct audit_listing listing;
    struct arena anchor_arena; /* of the present anchor */
    struct arena record_arena; /* of a file's first record, which is read meanwhile */
    struct sha256 hash;
    const char *boot;
    struct cursor *cursors;
    size_t cursor_count;
    struct boot_link *links; /* what later boots say of earlier ones */
    size_t link_count;
};

static void report(struct verification *v, enum audit_problem problem, const char *file,
                   uint64_t line, uint64_t seq, const char *format, ...) PRINTF_LIKE(6, 7);

static void report(struct verification *v, enum audit_problem problem, const char *file,
                   uint64_t line, uint64_t seq, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    v->counts->problems++;
    if (v->options->found != NULL)
        v->options->found(v->options->arg,
                          &(struct audit_finding){problem, file, line, seq, text});
}

const char *audit_problem_name(enum audit_problem problem)
{
    static const char *const names[] = {
        [AUDIT_BAD_RECORD] = "bad_record",
        [AUDIT_BAD_SEQUENCE] = "bad_sequence",
        [AUDIT_BAD_FILE_RECORD] = "bad_file_record",
        [AUDIT_TORN_LINE] = "torn_line",
        [AUDIT_MISSING_TAIL] = "missing_tail",
        [AUDIT_MISSING_FILE] = "missing_file",
        [AUDIT_HEAD_MISMATCH] = "head_mismatch",
        [AUDIT_BAD_ANCHOR] = "bad_anchor",
        [AUDIT_ANCHOR_CHAIN] = "anchor_chain",
        [AUDIT_MISSING_ANCHORS] = "missing_anchors",
        [AUDIT_UNREADABLE] = "unreadable",
    };
    return names[problem];
}

static void hash_hex(struct verification *v, struct view first, struct view second,
                     char out[AUDIT_CHAIN_DIGITS])
{
    uint8_t digest[SHA256_BYTES];

    sha256_init(&v->hash);
    sha256_add(&v->hash, first);
    sha256_add(&v->hash, second);
    sha256_end(&v->hash, digest);
    audit_hex(digest, out);
}

static void cursor_name(const struct verification *v, const struct cursor *c, unsigned number,
                        char name[AUDIT_NAME_MAX])
{
    audit_file_name(name, v->boot, c->writer, number);
}

/* What is wrong with the cursor's present line; the cursor is then not read any further. */
static bool spoil(struct verification *v, struct cursor *c, enum audit_problem problem,
                  uint64_t seq, const char *text)
{
    char name[AUDIT_NAME_MAX];

    cursor_name(v, c, c->number, name);
    c->bad = true;
    report(v, problem, name, c->line, seq, "%s", text);
    return false;
}

/* The first record of a file must say what the file's name and the file before say. */
static bool file_record_fits(struct verification *v, const struct cursor *c, struct view line)
{
    const struct json_value *record;
    char name[AUDIT_NAME_MAX];
    struct view previous = {NULL, 0}, chain;
    int64_t number;
    bool fits = false;

    arena_reset(&v->record_arena);
    if (!failed(json_parse(&v->record_arena, line, NULL, &record, NULL)) &&
        json_get_i64(record, "file", &number) && number == c->number &&
        json_get_string(record, "previous_chain", &chain) &&
        view_eq(chain, view_of(c->chain, sizeof c->chain))) {
        bool named = json_get_string(record, "previous_file", &previous);
        cursor_name(v, c, c->number - 1, name);
        fits = c->number == 1 ? !named : named && view_is(previous, name);
    }
    return fits;
}

/* Takes the line in: true when it is the record that was due. */
static bool check_record(struct verification *v, struct cursor *c, struct view line)
{
    struct audit_line record;
    char chain[AUDIT_CHAIN_DIGITS];
    char text[160];

    c->line++;
    if (!audit_line_parse(line, &record))
        return spoil(v, c, AUDIT_BAD_RECORD, c->seq + 1, "the line is not a record of this log");
    if (!view_is(record.boot, v->boot) || record.writer != c->writer)
        return spoil(v, c, AUDIT_BAD_RECORD, record.seq,
                     "the record belongs to another writer or boot");
    if (record.seq != c->seq + 1) {
        snprintf(text, sizeof text,
                 "sequence number %llu stands where %llu was due: records were removed, inserted "
                 "or reordered",
                 (unsigned long long)record.seq, (unsigned long long)c->seq + 1);
        return spoil(v, c, AUDIT_BAD_SEQUENCE, c->seq + 1, text);
    }
    hash_hex(v, view_of(c->chain, sizeof c->chain), record.body, chain);
    if (memcmp(chain, record.chain.data, sizeof chain) != 0)
        return spoil(v, c, AUDIT_BAD_RECORD, record.seq,
                     "the chain does not hold: the record was modified or inserted");
    if (view_is(record.kind, "file") != (c->line == 1) ||
        (c->line == 1 && !file_record_fits(v, c, line)))
        return spoil(v, c, AUDIT_BAD_FILE_RECORD, record.seq,
                     "the first record does not fit this file and the one before it");
    memcpy(c->chain, chain, sizeof chain);
    c->seq = record.seq;
    v->counts->records++;
    return true;
}

/* Opens the writer's next file; false when there is none. */
static bool next_file(struct verification *v, struct cursor *c)
{
    char name[AUDIT_NAME_MAX];

    cursor_name(v, c, c->number + 1, name);
    if (audit_reader_open(&c->reader, v->directory_fd, name)) {
        c->number++;
        c->line = 0;
        v->counts->files++;
        return true;
    }
    if (errno == ENOENT && c->number + 1 > c->last_listed)
        return false; /* the end; the anchors know whether it is the right one */
    enum audit_problem problem = errno == ENOENT ? AUDIT_MISSING_FILE : AUDIT_UNREADABLE;
    c->bad = true;
    report(v, problem, name, 0, c->seq + 1,
           problem == AUDIT_MISSING_FILE ? "the file is missing, though later ones are there"
                                         : "the file cannot be read");
    return false;
}

static bool is_rotated(const struct verification *v, const struct cursor *c)
{
    char name[AUDIT_NAME_MAX];

    cursor_name(v, c, c->number + 1, name);
    return c->number < c->last_listed || faccessat(v->directory_fd, name, F_OK, 0) == 0;
}

/* Moves on by one record; false at the end of what there is, or when something is wrong. */
static bool advance(struct verification *v, struct cursor *c)
{
    bool complete = false;
    struct view line;

    while (!c->bad) {
        if (c->reader.fd < 0 && !next_file(v, c))
            return false;
        switch (audit_reader_next(&c->reader, &line)) {
        case AUDIT_READ_LINE:
            return check_record(v, c, line);
        case AUDIT_READ_END:
            /* Between this end and a look for the next file, the writer may have written on and
             * rotated: only an end that is seen after the next file is the file's end. */
            if (complete)
                audit_reader_close(&c->reader);
            else if (!is_rotated(v, c))
                return false;
            complete = !complete;
            continue;
        case AUDIT_READ_TORN:
            c->line++;
            return spoil(v, c, AUDIT_TORN_LINE, c->seq + 1, "the last line is torn off");
        case AUDIT_READ_FAILED:
            return spoil(v, c, AUDIT_UNREADABLE, c->seq + 1, "the file cannot be read");
        }
    }
    return false;
}

static struct cursor *cursor_of(struct verification *v, unsigned writer)
{
    for (size_t i = 0; i < v->cursor_count; i++) {
        if (v->cursors[i].writer == writer)
            return &v->cursors[i];
    }
    struct cursor *more = reallocarray(v->cursors, v->cursor_count + 1, sizeof *more);
    if (more == NULL)
        return NULL;
    v->cursors = more;
    struct cursor *c = &more[v->cursor_count++];
    *c = (struct cursor){.writer = writer, .reader = {.fd = -1}};
    memcpy(c->chain, AUDIT_NO_CHAIN, sizeof c->chain);
    return c;
}

/* The writer's files end before a head that was signed. */
static void report_tail(struct verification *v, struct cursor *c, unsigned file, uint64_t seq,
                        struct view when)
{
    char name[AUDIT_NAME_MAX];

    c->bad = true;
    cursor_name(v, c, file, name);
    if (file > c->number)
        report(v, AUDIT_MISSING_FILE, name, 0, c->seq + 1,
               "the file is missing: the anchor of %.*s names its record %llu", VIEW_ARG(when),
               (unsigned long long)seq);
    else
        report(v, AUDIT_MISSING_TAIL, name, c->line, c->seq + 1,
               "records %llu to %llu are missing at the end: the anchor of %.*s names them",
               (unsigned long long)c->seq + 1, (unsigned long long)seq, VIEW_ARG(when));
}

static bool check_head(struct verification *v, const struct json_value *head, struct view when)
{
    int64_t writer, file, seq;
    struct view chain;

    if (!json_get_i64(head, "worker", &writer) || writer < 0 || writer > UINT32_MAX ||
        !json_get_i64(head, "file", &file) || file < 1 || file > UINT32_MAX ||
        !json_get_i64(head, "seq", &seq) || seq < 1 || !json_get_string(head, "chain", &chain))
        return false;
    struct cursor *c = cursor_of(v, (unsigned)writer);
    if (c == NULL || c->bad)
        return c != NULL;
    c->anchored = (uint64_t)seq;
    while (c->seq < (uint64_t)seq && advance(v, c))
        ;
    if (c->bad)
        return true;
    if (c->seq < (uint64_t)seq)
        report_tail(v, c, (unsigned)file, (uint64_t)seq, when);
    else if (c->seq > (uint64_t)seq || !view_eq(chain, view_of(c->chain, sizeof c->chain)))
        spoil(v, c, AUDIT_HEAD_MISMATCH, (uint64_t)seq,
              "the record is not the one that was anchored: the file was rewritten");
    return true;
}

static bool signature_holds(const struct verification *v, struct view line)
{
    const struct view name = VIEW(",\"signature\":\""), close = VIEW("\"}");
    const size_t text_len = (SIGN_SIGNATURE_BYTES * 8 + 5) / 6;
    uint8_t signature[SIGN_SIGNATURE_BYTES + 3];
    size_t len;

    if (line.len < name.len + text_len + close.len || !view_ends_with(line, close))
        return false;
    size_t at = line.len - name.len - text_len - close.len;
    return view_starts_with(view_from(line, at), name) &&
           base64url_decode(view_upto(view_from(line, at + name.len), text_len), signature,
                            sizeof signature, &len) &&
           len == SIGN_SIGNATURE_BYTES && sign_verify(v->key, view_upto(line, at), signature);
}

/* Remembers what this boot says of the one before. */
static bool add_link(struct verification *v, struct view boot, struct view previous)
{
    if (boot.len != AUDIT_BOOT_LEN || previous.len != AUDIT_CHAIN_DIGITS)
        return false;
    struct boot_link *more = reallocarray(v->links, v->link_count + 1, sizeof *more);
    if (more == NULL)
        return false;
    v->links = more;
    struct boot_link *l = &more[v->link_count++];
    *l = (struct boot_link){0};
    memcpy(l->boot, boot.data, boot.len);
    memcpy(l->previous, previous.data, previous.len);
    l->found = memcmp(l->previous, AUDIT_NO_CHAIN, AUDIT_CHAIN_DIGITS) == 0;
    return true;
}

struct anchor_state {
    char name[AUDIT_NAME_MAX];
    uint64_t line;
    char previous[AUDIT_CHAIN_DIGITS];
};

static bool anchor_fault(struct verification *v, const struct anchor_state *s,
                         enum audit_problem problem, const char *text)
{
    report(v, problem, s->name, s->line, 0, "%s", text);
    return false;
}

/* What an anchor says of itself: boot, number, and the anchor before. */
static bool anchor_fits(struct verification *v, const struct anchor_state *s,
                        const struct json_value *anchor)
{
    struct view boot, previous, previous_boot;
    int64_t number;

    if (!json_get_string(anchor, "boot", &boot) || !view_is(boot, v->boot) ||
        !json_get_i64(anchor, "anchor", &number) || (uint64_t)number != s->line ||
        !json_get_string(anchor, "previous", &previous))
        return false;
    if (s->line > 1)
        return view_eq(previous, view_of(s->previous, sizeof s->previous));
    if (json_get_string(anchor, "previous_boot", &previous_boot))
        return add_link(v, previous_boot, previous);
    return view_is(previous, AUDIT_NO_CHAIN);
}

static void mark_links(struct verification *v, const char hash[AUDIT_CHAIN_DIGITS])
{
    for (size_t i = 0; i < v->link_count; i++) {
        if (strcmp(v->links[i].boot, v->boot) == 0 &&
            memcmp(v->links[i].previous, hash, AUDIT_CHAIN_DIGITS) == 0)
            v->links[i].found = true;
    }
}

static bool check_anchor(struct verification *v, struct anchor_state *s, struct view line)
{
    const struct json_limits limits = {8, 8 * AUDIT_MAX_WRITERS};
    const struct json_value *anchor;
    struct view when = VIEW("an unknown time");

    s->line++;
    if (v->have_key && !signature_holds(v, line))
        return anchor_fault(v, s, AUDIT_BAD_ANCHOR, "the anchor's signature does not hold");
    arena_reset(&v->anchor_arena);
    if (failed(json_parse(&v->anchor_arena, line, &limits, &anchor, NULL)))
        return anchor_fault(v, s, AUDIT_BAD_ANCHOR, "the line is not an anchor");
    if (!anchor_fits(v, s, anchor))
        return anchor_fault(v, s, AUDIT_ANCHOR_CHAIN,
                            "the anchor does not follow the one before it");
    hash_hex(v, line, (struct view){NULL, 0}, s->previous);
    mark_links(v, s->previous);
    v->counts->anchors++;
    (void)json_get_string(anchor, "time", &when);
    bool good = true;
    JSON_EACH(head, json_get(anchor, "heads"))
        good = good && check_head(v, head, when);
    return good || anchor_fault(v, s, AUDIT_BAD_ANCHOR, "the line is not an anchor");
}

/* True when the boot's anchors were read to their end without a fault. */
static bool check_anchors(struct verification *v)
{
    struct audit_reader reader = {.fd = -1};
    struct anchor_state s = {.line = 0};
    struct view line;
    enum audit_read got;

    audit_anchors_name(s.name, v->boot);
    if (!audit_reader_open(&reader, v->directory_fd, s.name))
        return anchor_fault(v, &s, errno == ENOENT ? AUDIT_MISSING_ANCHORS : AUDIT_UNREADABLE,
                            "the boot's anchors cannot be read: nothing vouches for its files");
    bool good = true;
    while (good && (got = audit_reader_next(&reader, &line)) == AUDIT_READ_LINE)
        good = check_anchor(v, &s, line);
    audit_reader_close(&reader);
    if (!good)
        return false;
    if (got != AUDIT_READ_END) {
        s.line++;
        return anchor_fault(v, &s, AUDIT_TORN_LINE, "the last anchor is torn off");
    }
    if (s.line == 0)
        return anchor_fault(v, &s, AUDIT_MISSING_ANCHORS,
                            "there is no anchor: nothing vouches for the boot's files");
    return true;
}

static void check_boot(struct verification *v, size_t first, size_t after)
{
    const struct audit_file *files = v->listing.files;
    bool memory = true;

    v->boot = files[first].boot;
    v->cursor_count = 0;
    v->counts->boots++;
    for (size_t i = first; i < after && memory; i++) {
        struct cursor *c = files[i].anchors ? NULL : cursor_of(v, files[i].writer);
        memory = c != NULL || files[i].anchors;
        if (c != NULL)
            c->last_listed = files[i].number;
    }
    bool anchored = check_anchors(v);
    for (size_t i = 0; i < v->cursor_count; i++) {
        struct cursor *c = &v->cursors[i];
        while (advance(v, c))
            ;
        if (anchored && c->seq > c->anchored)
            v->counts->unanchored += c->seq - c->anchored;
        audit_reader_close(&c->reader);
    }
}

/* The newest boot first, so that what it says of an older one is known when that one is read. */
static void check_boots(struct verification *v)
{
    const struct audit_file *files = v->listing.files;
    size_t after = v->listing.count;

    while (after > 0) {
        size_t first = after - 1;
        while (first > 0 && strcmp(files[first - 1].boot, files[after - 1].boot) == 0)
            first--;
        check_boot(v, first, after);
        after = first;
    }
    for (size_t i = 0; i < v->link_count; i++) {
        char name[AUDIT_NAME_MAX];
        audit_anchors_name(name, v->links[i].boot);
        if (!v->links[i].found)
            report(v, AUDIT_MISSING_ANCHORS, name, 0, 0,
                   "a later boot names an anchor of this boot that is not there");
    }
}

static void read_key(struct verification *v)
{
    char text[PUBLIC_FILE_MAX];
    const char *path = v->options->public_key;
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC)
                          : openat(v->directory_fd, AUDIT_PUBLIC_FILE, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

    if (fd >= 0)
        close(fd);
    v->have_key = n > 0 && audit_public_parse(view_of(text, (size_t)n), v->key);
    if (!v->have_key)
        report(v, AUDIT_UNREADABLE, path != NULL ? path : AUDIT_PUBLIC_FILE, 0, 0,
               "the public key cannot be read: no anchor's signature was checked");
}

err audit_verify(const struct audit_verify_options *o, struct audit_verify_counts *out)
{
    struct verification v = {.options = o, .counts = out};

    *out = (struct audit_verify_counts){0};
    v.directory_fd = open(o->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (v.directory_fd < 0)
        return fail(&audit_open_failed);
    err e = audit_list(o->directory, &v.listing);
    if (!failed(e)) {
        arena_init(&v.anchor_arena, 16 * 1024, 8 * 1024 * 1024);
        arena_init(&v.record_arena, 16 * 1024, 8 * 1024 * 1024);
        read_key(&v);
        check_boots(&v);
        arena_clear(&v.anchor_arena);
        arena_clear(&v.record_arena);
        sha256_clear(&v.hash);
    }
    for (size_t i = 0; i < v.cursor_count; i++)
        audit_reader_close(&v.cursors[i].reader);
    free(v.cursors);
    free(v.links);
    audit_listing_clear(&v.listing);
    close(v.directory_fd);
    return e;
}
