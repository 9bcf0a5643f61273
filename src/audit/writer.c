/* The file of one writer: opening, flushing, rotation. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/internal.h"
#include "base/log.h"

enum { RETRY_NS = 100 * 1000 * 1000, KEEP_BUFFER = 4 * 1024 * 1024 };

static struct audit_head *head_new(struct audit_log *log, unsigned number)
{
    struct audit_head *head = calloc(1, sizeof *head);

    if (head == NULL)
        return NULL;
    head->writer = number;
    head->writable = true;
    memcpy(head->chain, AUDIT_NO_CHAIN, AUDIT_CHAIN_DIGITS);
    pthread_mutex_init(&head->lock, NULL);
    pthread_mutex_lock(&log->heads_lock);
    bool room = log->head_count < AUDIT_MAX_WRITERS;
    for (size_t i = 0; i < log->head_count; i++)
        room = room && log->heads[i]->writer != number;
    if (room)
        log->heads[log->head_count++] = head;
    pthread_mutex_unlock(&log->heads_lock);
    if (room)
        return head;
    pthread_mutex_destroy(&head->lock);
    free(head);
    return NULL;
}

static void publish(struct audit_writer *w)
{
    pthread_mutex_lock(&w->head->lock);
    w->head->file = w->file;
    w->head->seq = w->seq;
    memcpy(w->head->chain, w->chain, sizeof w->chain);
    w->head->writable = true;
    pthread_mutex_unlock(&w->head->lock);
}

static err give_up(struct audit_writer *w, const char *what)
{
    int reason = errno;

    atomic_fetch_add(&w->log->failures, 1);
    if (!w->broken)
        log_error("audit_unavailable", "the audit log cannot be written: calls are refused",
                  LOG_STR("operation", what), LOG_STR("reason", strerror(reason)),
                  LOG_INT("writer", w->head->writer));
    w->broken = true;
    w->retry_ns = clock_monotonic_ns(w->log->clock) + RETRY_NS;
    pthread_mutex_lock(&w->head->lock);
    w->head->writable = false;
    pthread_mutex_unlock(&w->head->lock);
    return fail(&audit_unavailable);
}

/* Writes what is pending.  After a failure the file ends with a whole record, or, when it could not
 * be cut back, the next try goes on where this one stopped. */
static err write_pending(struct audit_writer *w)
{
    size_t done = 0;

    if (w->pending.len == 0)
        return OK;
    if (!audit_write_all(w->fd, view_from(buf_view(&w->pending), w->written), &done)) {
        int reason = errno;
        w->written += done;
        if (w->written > 0 && ftruncate(w->fd, w->file_bytes) == 0)
            w->written = 0;
        errno = reason;
        return give_up(w, "write");
    }
    w->file_bytes += (off_t)w->pending.len;
    w->written = 0;
    if (w->log->fsync && fdatasync(w->fd) != 0) {
        w->lost = true;
        return give_up(w, "fsync");
    }
    atomic_fetch_add(&w->log->records, w->pending_records);
    atomic_fetch_add(&w->log->bytes, w->pending.len);
    atomic_fetch_add(&w->log->flushes, 1);
    w->pending_records = 0;
    if (w->pending.cap > KEEP_BUFFER)
        buf_clear(&w->pending);
    else
        buf_reset(&w->pending);
    if (w->broken)
        log_notice("audit_available", "the audit log can be written again",
                   LOG_INT("writer", w->head->writer));
    w->broken = false;
    publish(w);
    return OK;
}

/* The next file with its first record.  Called with nothing pending. */
static err open_file(struct audit_writer *w, unsigned number)
{
    char name[AUDIT_NAME_MAX], previous[AUDIT_NAME_MAX];

    audit_file_name(name, w->log->boot, w->head->writer, number);
    audit_file_name(previous, w->log->boot, w->head->writer, w->file);
    int fd = audit_create(w->log, name);
    if (fd < 0)
        return fail(&audit_open_failed);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = fd;
    w->file = number;
    w->file_bytes = 0;
    if (!audit_append_file(w, number == 1 ? NULL : previous))
        return fail(&fault_out_of_memory);
    return write_pending(w);
}

/* A file that cannot be opened is no reason to refuse calls: the old one goes on. */
static err rotate(struct audit_writer *w)
{
    int64_t limit = w->log->rotate_bytes;

    if (limit == 0 || w->file_bytes < limit)
        return OK;
    if (failed(audit_anchor_write(w->log)))
        log_warn("audit_anchor_failed", "an anchor could not be written at rotation");
    err e = open_file(w, w->file + 1);
    if (is_fault(e, &audit_open_failed)) {
        if (!w->rotation_failed)
            log_error("audit_rotation_failed", "the next audit file could not be made",
                      LOG_STR("reason", strerror(errno)), LOG_INT("writer", w->head->writer));
        w->rotation_failed = true;
        return OK;
    }
    w->rotation_failed = false;
    return e;
}

err audit_flush(struct audit_writer *w)
{
    if (w->broken) {
        if (w->lost || clock_monotonic_ns(w->log->clock) < w->retry_ns)
            return fail(&audit_unavailable);
    }
    if (w->pending.len == 0 && !w->broken)
        return OK;
    TRY(write_pending(w));
    return rotate(w);
}

size_t audit_pending_bytes(const struct audit_writer *w)
{
    return w->pending.len;
}

bool audit_writable(const struct audit_writer *w)
{
    return !w->broken;
}

err audit_writer_open(struct audit_log *log, unsigned number, struct audit_writer **out)
{
    *out = NULL;
    struct audit_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return fail(&fault_out_of_memory);
    w->log = log;
    w->fd = -1;
    w->second = -1;
    buf_init(&w->pending, AUDIT_BUFFER_MAX);
    buf_init(&w->prefix, AUDIT_NAME_MAX);
    buf_printf(&w->prefix, "\",\"boot\":\"%s\",\"worker\":%u,\"seq\":", log->boot, number);
    memcpy(w->chain, AUDIT_NO_CHAIN, AUDIT_CHAIN_DIGITS);
    sha256_init(&w->hash);
    w->head = buf_failed(&w->prefix) ? NULL : head_new(log, number);
    err e = w->head == NULL ? fail(&audit_open_failed) : open_file(w, 1);
    if (failed(e)) {
        buf_reset(&w->pending);
        audit_writer_close(w);
        return e;
    }
    *out = w;
    return OK;
}

void audit_writer_close(struct audit_writer *w)
{
    if (w == NULL)
        return;
    w->retry_ns = 0;
    if (w->pending.len > 0 && failed(audit_flush(w)))
        log_error("audit_lost", "records of the audit log were lost",
                  LOG_INT("records", (int64_t)w->pending_records));
    if (w->fd >= 0)
        close(w->fd);
    sha256_clear(&w->hash);
    buf_clear(&w->pending);
    buf_clear(&w->prefix);
    free(w);
}
