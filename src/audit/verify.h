/*
 * Checks a folder of audit files against its anchors, in memory that does not grow with the files.
 */
#ifndef SALLYPORT_AUDIT_VERIFY_H
#define SALLYPORT_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum audit_problem {
    AUDIT_BAD_RECORD,        /* the chain does not hold: modified, or its predecessor was */
    AUDIT_BAD_SEQUENCE,      /* removed, inserted or reordered: another sequence number was due */
    AUDIT_BAD_FILE_RECORD,   /* the first record does not fit the file's name or the file before */
    AUDIT_TORN_LINE,         /* the last line has no end */
    AUDIT_MISSING_TAIL,      /* anchored records are not there */
    AUDIT_MISSING_FILE,
    AUDIT_HEAD_MISMATCH,     /* the record that an anchor names has another chain: rewritten */
    AUDIT_BAD_ANCHOR,        /* not an anchor, or its signature does not hold */
    AUDIT_ANCHOR_CHAIN,      /* an anchor does not name the one before it */
    AUDIT_MISSING_ANCHORS,   /* a boot's records without a file of anchors, or an earlier boot gone */
    AUDIT_UNREADABLE,        /* a file or the key cannot be read */
};

const char *audit_problem_name(enum audit_problem problem);

struct audit_finding {
    enum audit_problem problem;
    const char *file; /* its name in the folder */
    uint64_t line;    /* 1-based; 0: the file as a whole */
    uint64_t seq;     /* the record's, or the one that was due; 0: none */
    const char *text; /* one sentence */
};

struct audit_verify_options {
    const char *directory;
    const char *public_key; /* NULL: DIR/anchor.pub */
    /* Called for each finding, of which at most one stands for each writer of a boot. */
    void (*found)(void *arg, const struct audit_finding *finding);
    void *arg;
};

struct audit_verify_counts {
    uint64_t boots;
    uint64_t files;
    uint64_t records;
    uint64_t anchors;
    uint64_t problems;
    uint64_t unanchored; /* whole records after their boot's last anchor: no problem (kill -9) */
};

/* audit_open_failed when the folder cannot be read at all; problems are not errors but counted. */
err audit_verify(const struct audit_verify_options *o, struct audit_verify_counts *out) MUST_USE;

/*
 * One line of a file taken apart, without any copy: also what `show` and `explain` read by.
 * False when the line is not a record as the writer makes it.
 */
struct audit_line {
    struct view body;  /* the line up to but without ,"chain" */
    struct view chain; /* 64 hex digits */
    uint64_t seq;
    unsigned writer;
    struct view boot;
    struct view kind;
};
bool audit_line_parse(struct view line, struct audit_line *out);

#endif
