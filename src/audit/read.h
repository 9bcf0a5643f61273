/*
 * Reading a folder of audit files: which files there are, their lines, and all records in the order
 * of their time.  Memory is bounded by the number of files and writers, not by their length.
 * Nothing here checks a chain; audit/verify.h does.
 */
#ifndef SALLYPORT_AUDIT_READ_H
#define SALLYPORT_AUDIT_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "audit/verify.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

/* One file by its name. */
/* boot is NUL-terminated. */
struct audit_file {
    char boot[25];
    bool anchors;    /* the boot's anchors; else a writer's records: */
    unsigned writer;
    unsigned number; /* from 1 */
};
bool audit_file_parse(const char *name, struct audit_file *out);

/* The files of a folder by boot, writer and number; the anchors of a boot stand first. */
struct audit_listing {
    struct audit_file *files;
    size_t count;
};
/* audit_open_failed when the folder cannot be read; fault_out_of_memory. */
err audit_list(const char *directory, struct audit_listing *out) MUST_USE;
void audit_listing_clear(struct audit_listing *l);

enum audit_read { AUDIT_READ_LINE, AUDIT_READ_END, AUDIT_READ_TORN, AUDIT_READ_FAILED };

/* The lines of one file.  Zero-initialise with fd = -1. */
struct audit_reader {
    int fd;
    struct buf buffer;
    size_t at;
    bool eof;
};
/* False when the file cannot be opened: errno says why. */
bool audit_reader_open(struct audit_reader *r, int directory_fd, const char *name) MUST_USE;
void audit_reader_close(struct audit_reader *r);
/* *line, without its end, is valid until the next call.  TORN: bytes without a line end are left
 * (also when a line is longer than any record).  A file that is being written is read to where it
 * ends now; a half line at its end is waited for, for some milliseconds. */
enum audit_read audit_reader_next(struct audit_reader *r, struct view *line);

/* Every record of every boot, merged by time within a boot.  What is not a record is skipped. */
struct audit_merge;
err audit_merge_open(const char *directory, struct audit_merge **out) MUST_USE;
void audit_merge_close(struct audit_merge *m);
/* False at the end.  *line is valid until the next call. */
bool audit_merge_next(struct audit_merge *m, struct view *line, struct audit_line *record);

#endif
