/*
 * The audit log of one running process: a folder, one file at a time for each thread that writes,
 * and the anchors that sign their heads.
 *
 *   DIR/BOOT-wN-K.jsonl      records of writer N, file K (from 1), mode 0600
 *   DIR/BOOT-anchors.jsonl   anchors of the boot
 *   DIR/anchor.key, anchor.pub
 *
 * BOOT is the start's time and a random word, so that names sort by time.  The first record of a
 * file names the file before it; the last member of a record is its chain,
 *
 *   ,"chain":"HEX"}   HEX = SHA-256(the chain of the record before, as 64 hex digits
 *                                   || this line up to but without ,"chain")
 *
 * with 64 zeros before the first record of a boot's writer.  The chain goes on across files.
 */
#ifndef SALLYPORT_AUDIT_LOG_H
#define SALLYPORT_AUDIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/event.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/time.h"
#include "base/view.h"

/* The writer of the control thread; workers count from 1. */
enum { AUDIT_CONTROL_WRITER = 0, AUDIT_MAX_WRITERS = 1024 };

struct audit_options {
    struct view directory;     /* made with mode 0700 when missing */
    struct view node;          /* the node's name */
    bool fsync;                /* every flush reaches the disk before it returns */
    int64_t rotate_bytes;      /* a file at least this long is closed; 0: never */
    const struct clock *clock; /* NULL: system_clock */
};

/* The folder, the key or a file could not be made or opened: the detail says why. */
extern const struct fault audit_open_failed;
/* A write or fsync failed: no call may run now.  HTTP status 503. */
extern const struct fault audit_unavailable;

struct audit_log;
struct audit_writer;

/*
 * Opens the log of this boot: makes folder and key pair at first, and writes the boot's first
 * anchor.  Control thread.  detail (may be NULL; else at least 256 bytes) gets a sentence that says
 * what failed.
 */
err audit_log_open(const struct audit_options *o, struct audit_log **out,
                   char detail[256]) MUST_USE;
/* Writes the last anchor and frees.  Every writer has been closed before. */
void audit_log_close(struct audit_log *log);
/* The name of this boot. */
struct view audit_log_boot(const struct audit_log *log);

/*
 * Signs the heads of all writers and appends them as one anchor; does nothing when no head moved
 * since the last.  The control thread calls it every second; it runs by itself at rotation and at
 * close.  Any thread.  A failure is retried with the next call; it does not stop calls.
 */
err audit_anchor_write(struct audit_log *log) MUST_USE;

/*
 * A writer belongs to one thread, which alone may use it.  Opening makes the writer's first file
 * and writes its first record, so that a folder that cannot be written is known at start.
 */
err audit_writer_open(struct audit_log *log, unsigned writer, struct audit_writer **out) MUST_USE;
/* Flushes, publishes the head and frees.  May be NULL. */
void audit_writer_close(struct audit_writer *w);

/*
 * Appends to memory; nothing is written before audit_flush.
 *
 * False means that the record is not kept and what it announces must not happen.  The intent and
 * the events of refused requests are refused while the log cannot be written, or when the buffer is
 * three quarters full; outcomes, logins and the rest are then still taken into the last quarter, so
 * that what did happen is told once the disk is back.
 */
bool audit_intent(struct audit_writer *w, const struct audit_intent *e) MUST_USE;
bool audit_outcome(struct audit_writer *w, const struct audit_outcome *e);
bool audit_auth_failure(struct audit_writer *w, const struct audit_auth_failure *e);
bool audit_denial(struct audit_writer *w, const struct audit_denial *e);
bool audit_login(struct audit_writer *w, const struct audit_login *e);
bool audit_config_change(struct audit_writer *w, const struct audit_config_change *e);
bool audit_start(struct audit_writer *w, const struct audit_start *e);
bool audit_stop(struct audit_writer *w, const struct audit_stop *e);

/*
 * Hands everything appended to the kernel in one write(2) (and fsync, if asked), once a turn of the
 * loop: after the turn's intents were appended and before their first byte goes to the database,
 * and before the last byte of an answer whose outcome was appended.  Free when nothing is pending.
 *
 * audit_unavailable: calls whose intents were appended since the last success must be refused, and
 * answers whose outcomes were appended may be sent or held.  The records stay in memory, the file
 * is cut back to its last whole record, and each later call tries again (at most ten times a
 * second); a failed fsync is not forgiven before a restart, since the kernel forgets which pages it
 * lost.
 */
err audit_flush(struct audit_writer *w) MUST_USE;
/* Bytes appended and not yet written. */
size_t audit_pending_bytes(const struct audit_writer *w);
/* False while the last flush failed: refuse calls. */
bool audit_writable(const struct audit_writer *w);

/* For /metrics, any thread. */
struct audit_counters {
    uint64_t records;  /* written */
    uint64_t bytes;
    uint64_t flushes;
    uint64_t failures; /* flushes that failed */
    uint64_t refused;  /* appends that were refused */
    uint64_t anchors;
    uint64_t anchor_failures;
    bool writable;     /* every writer is */
};
void audit_log_counters(struct audit_log *log, struct audit_counters *out);

#endif
