/* What the tests of the audit log share: a clock that stands still, writers, and verification. */
#ifndef SALLYPORT_TESTS_AUDIT_HELPERS_H
#define SALLYPORT_TESTS_AUDIT_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/log.h"
#include "audit/read.h"
#include "audit/verify.h"
#include "folder.h"

#include <cmocka.h> /* last: it has a macro called fail */

static int64_t fake_time_us = 1767323045678901; /* 2026-01-02T03:04:05.678901Z */
static int64_t fake_monotonic_ns = 1;

static inline int64_t fake_wall(void *ctx)
{
    (void)ctx;
    return fake_time_us;
}

static inline int64_t fake_monotonic(void *ctx)
{
    (void)ctx;
    return fake_monotonic_ns;
}

static const struct clock fake_clock = {fake_wall, fake_monotonic, NULL};

static inline struct audit_log *open_log(const struct folder *f, int64_t rotate_bytes)
{
    struct audit_options o = {.directory = view_str(f->path),
                              .node = VIEW("node \"1\""),
                              .rotate_bytes = rotate_bytes,
                              .clock = &fake_clock};
    struct audit_log *log;
    char detail[256];

    if (failed(audit_log_open(&o, &log, detail)))
        fail_msg("%s", detail);
    fake_time_us += 1000000; /* the next boot's name comes after this one's */
    return log;
}

static inline struct audit_writer *open_writer(struct audit_log *log, unsigned number)
{
    struct audit_writer *w;
    assert_false(failed(audit_writer_open(log, number, &w)));
    return w;
}

static inline void append_outcome(struct audit_writer *w, const char *id)
{
    struct audit_outcome o = {.call = {view_str(id), {NULL, 0}},
                              .http_status = 200,
                              .rows = 1,
                              .sqlstate = VIEW("00000"),
                              .backend_pid = 77};
    assert_true(audit_outcome(w, &o));
}

static inline void append_intent(struct audit_writer *w, const char *id)
{
    struct audit_intent i = {.call = {view_str(id), {NULL, 0}},
                             .method = VIEW("GET"),
                             .principal = VIEW("\"subject\":\"alice\"")};
    assert_true(audit_intent(w, &i));
}

struct seen {
    int count;
    struct audit_finding first;
    char file[128];
    char text[512];
};

static inline void remember(void *arg, const struct audit_finding *f)
{
    struct seen *s = arg;

    if (s->count++ > 0)
        return;
    s->first = *f;
    snprintf(s->file, sizeof s->file, "%s", f->file);
    snprintf(s->text, sizeof s->text, "%s", f->text);
}

static inline struct audit_verify_counts verify(const struct folder *f, struct seen *s)
{
    struct audit_verify_counts counts;
    struct audit_verify_options o = {.directory = f->path, .found = remember, .arg = s};

    *s = (struct seen){0};
    assert_false(failed(audit_verify(&o, &counts)));
    assert_int_equal(counts.problems, s->count);
    return counts;
}

static inline void assert_whole(const struct folder *f, uint64_t records)
{
    struct seen s;
    struct audit_verify_counts n = verify(f, &s);

    if (s.count > 0)
        fail_msg("%s:%llu: %s", s.file, (unsigned long long)s.first.line, s.text);
    assert_int_equal(n.records, records);
}

#endif
