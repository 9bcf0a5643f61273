#include "audit/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/internal.h"
#include "base/log.h"
#include "crypto/random.h"
#include "json/json.h"

const struct fault audit_open_failed = {
    "audit_open_failed", "the audit log could not be opened", NULL, 503};
const struct fault audit_unavailable = {
    "audit_unavailable", "the audit log cannot be written", NULL, 503};

void audit_say(char detail[256], const char *what, const char *name)
{
    if (detail == NULL)
        return;
    if (errno != 0)
        snprintf(detail, 256, "%s %.150s: %s", what, name, strerror(errno));
    else
        snprintf(detail, 256, "%s %.150s", what, name);
}

void audit_file_name(char out[AUDIT_NAME_MAX], const char *boot, unsigned writer, unsigned file)
{
    snprintf(out, AUDIT_NAME_MAX, "%s-w%u-%u.jsonl", boot, writer, file);
}

void audit_anchors_name(char out[AUDIT_NAME_MAX], const char *boot)
{
    snprintf(out, AUDIT_NAME_MAX, "%s-anchors.jsonl", boot);
}

void audit_hex(const uint8_t digest[SHA256_BYTES], char out[AUDIT_CHAIN_DIGITS])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
}

int audit_create(const struct audit_log *log, const char *name)
{
    int fd = openat(log->directory_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC,
                    0600);

    /* The name must survive a power loss as the records do. */
    if (fd >= 0 && log->fsync)
        (void)fsync(log->directory_fd);
    return fd;
}

bool audit_write_all(int fd, struct view bytes, size_t *done)
{
    *done = 0;
    while (*done < bytes.len) {
        ssize_t n = write(fd, bytes.data + *done, bytes.len - *done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        *done += (size_t)n;
    }
    return true;
}

/* The start's time to the microsecond, so that names sort even after a crash and a start within one
 * second, and three digits by chance, so that none comes twice. */
static void name_boot(struct audit_log *log)
{
    char when[17];
    int64_t now_us = clock_wall_us(log->clock);

    time_format_amz(now_us, when);
    snprintf(log->boot, sizeof log->boot, "%.8st%.6s-%05x%03x", when, when + 9,
             (unsigned)(now_us % 1000000) & 0xfffff, (unsigned)(random_u64() & 0xfff));
}

static err open_directory(struct audit_log *log, struct view directory, char *detail)
{
    struct stat st;

    log->directory = strndup(directory.data != NULL ? directory.data : "", directory.len);
    if (log->directory == NULL)
        return fail(&fault_out_of_memory);
    if (mkdir(log->directory, 0700) != 0 && errno != EEXIST) {
        audit_say(detail, "cannot make the folder", log->directory);
        return fail(&audit_open_failed);
    }
    log->directory_fd = open(log->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->directory_fd < 0 || fstat(log->directory_fd, &st) != 0) {
        audit_say(detail, "cannot open the folder", log->directory);
        return fail(&audit_open_failed);
    }
    /* Who may write in the folder may exchange its files. */
    if ((st.st_mode & 022) != 0) {
        errno = 0;
        audit_say(detail, "others than the owner may write in the folder", log->directory);
        return fail(&audit_open_failed);
    }
    return OK;
}

static err open_parts(struct audit_log *log, const struct audit_options *o, char *detail)
{
    buf_init(&log->node_member, 4096);
    buf_add_view(&log->node_member, VIEW(",\"node\":"));
    json_add_string(&log->node_member, o->node);
    if (buf_failed(&log->node_member))
        return fail(&fault_too_large);
    TRY(open_directory(log, o->directory, detail));
    name_boot(log);
    return audit_anchor_open(log, detail);
}

static void log_free(struct audit_log *log)
{
    for (size_t i = 0; i < log->head_count; i++) {
        pthread_mutex_destroy(&log->heads[i]->lock);
        free(log->heads[i]);
    }
    if (log->anchor_fd >= 0)
        close(log->anchor_fd);
    if (log->directory_fd >= 0)
        close(log->directory_fd);
    sign_key_free(log->key);
    buf_clear(&log->node_member);
    pthread_mutex_destroy(&log->heads_lock);
    pthread_mutex_destroy(&log->anchor_lock);
    free(log->directory);
    free(log);
}

err audit_log_open(const struct audit_options *o, struct audit_log **out, char detail[256])
{
    *out = NULL;
    if (detail != NULL)
        detail[0] = '\0';
    struct audit_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return fail(&fault_out_of_memory);
    log->directory_fd = log->anchor_fd = -1;
    log->fsync = o->fsync;
    log->rotate_bytes = o->rotate_bytes;
    log->clock = o->clock != NULL ? o->clock : &system_clock;
    pthread_mutex_init(&log->heads_lock, NULL);
    pthread_mutex_init(&log->anchor_lock, NULL);
    /* A limit on file sizes must come back as EFBIG from write, not end the process. */
    (void)signal(SIGXFSZ, SIG_IGN);
    err e = open_parts(log, o, detail);
    if (failed(e)) {
        log_free(log);
        return e;
    }
    *out = log;
    return OK;
}

void audit_log_close(struct audit_log *log)
{
    if (log == NULL)
        return;
    if (failed(audit_anchor_write(log)))
        log_error("audit_anchor_failed", "the last anchor could not be written");
    log_free(log);
}

struct view audit_log_boot(const struct audit_log *log)
{
    return view_str(log->boot);
}

void audit_log_counters(struct audit_log *log, struct audit_counters *out)
{
    *out = (struct audit_counters){.records = atomic_load(&log->records),
                                   .bytes = atomic_load(&log->bytes),
                                   .flushes = atomic_load(&log->flushes),
                                   .failures = atomic_load(&log->failures),
                                   .refused = atomic_load(&log->refused),
                                   .anchors = atomic_load(&log->anchors),
                                   .anchor_failures = atomic_load(&log->anchor_failures),
                                   .writable = true};
    pthread_mutex_lock(&log->heads_lock);
    for (size_t i = 0; i < log->head_count; i++) {
        pthread_mutex_lock(&log->heads[i]->lock);
        out->writable = out->writable && log->heads[i]->writable;
        pthread_mutex_unlock(&log->heads[i]->lock);
    }
    pthread_mutex_unlock(&log->heads_lock);
}
