/* What the files of this room share: the log, its writers, its anchors. */
#ifndef SALLYPORT_AUDIT_INTERNAL_H
#define SALLYPORT_AUDIT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "audit/log.h"
#include "base/buf.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

enum {
    AUDIT_CHAIN_DIGITS = 2 * SHA256_BYTES,
    AUDIT_BOOT_LEN = sizeof "20261122t014527-3fa9c1d2" - 1,
    AUDIT_NAME_MAX = 96,
    /* A longer line is no record: bounds the memory of a reader. */
    AUDIT_LINE_MAX = 1024 * 1024,
    AUDIT_BUFFER_MAX = 16 * 1024 * 1024,
    AUDIT_VALUES_MAX = 64 * 1024,
    AUDIT_PATH_MAX = 1024,
    AUDIT_ID_MAX = 128,
};

#define AUDIT_NO_CHAIN "0000000000000000000000000000000000000000000000000000000000000000"
#define AUDIT_KEY_FILE "anchor.key"
#define AUDIT_PUBLIC_FILE "anchor.pub"

/* How far a writer's records are in the kernel.  Outlives the writer. */
struct audit_head {
    unsigned writer;
    pthread_mutex_t lock;
    /* Under lock: */
    unsigned file;
    uint64_t seq;
    char chain[AUDIT_CHAIN_DIGITS];
    bool writable;
};

struct audit_log {
    /* Constant after audit_log_open: */
    char *directory;
    int directory_fd;
    char boot[AUDIT_BOOT_LEN + 1];
    struct buf node_member; /* ,"node":"…" */
    bool fsync;
    int64_t rotate_bytes;
    const struct clock *clock;
    struct sign_key *key;

    pthread_mutex_t heads_lock;
    struct audit_head *heads[AUDIT_MAX_WRITERS]; /* under heads_lock */
    size_t head_count;

    pthread_mutex_t anchor_lock;
    /* Under anchor_lock: */
    int anchor_fd;
    off_t anchor_bytes;
    uint64_t anchor_number;
    uint64_t anchored_sum; /* of all heads' seq, when last anchored */
    char anchor_previous[AUDIT_CHAIN_DIGITS];
    char previous_boot[AUDIT_BOOT_LEN + 1]; /* "": none */

    atomic_uint_fast64_t records, bytes, flushes, failures, refused, anchors, anchor_failures;
};

/* This thread only. */
struct audit_writer {
    struct audit_log *log;
    struct audit_head *head;
    int fd;
    unsigned file;
    off_t file_bytes; /* whole records in the file */
    size_t written;   /* of pending, when the file could not be cut back */
    struct buf pending;
    uint64_t pending_records;
    size_t record_at;  /* where the record being appended begins */
    uint64_t seq;      /* of the last record appended */
    char chain[AUDIT_CHAIN_DIGITS];
    struct sha256 hash;
    struct buf prefix; /* ","boot":"…","worker":N,"seq": */
    int64_t second;    /* that `when` says */
    char when[TIME_TEXT_BYTES];
    bool broken;
    bool lost;         /* a failed fsync: broken for good */
    bool rotation_failed;
    int64_t retry_ns;
};

/* Text that says what failed, for audit_log_open's detail: may be NULL. */
void audit_say(char detail[256], const char *what, const char *name);

/* The name of a file of a writer. */
void audit_file_name(char out[AUDIT_NAME_MAX], const char *boot, unsigned writer, unsigned file);
void audit_anchors_name(char out[AUDIT_NAME_MAX], const char *boot);
void audit_hex(const uint8_t digest[SHA256_BYTES], char out[AUDIT_CHAIN_DIGITS]);
/* One new file of this room, for appending. */
int audit_create(const struct audit_log *log, const char *name);
/* All of the bytes, whatever EINTR and short writes do; *done says how many, also on failure. */
bool audit_write_all(int fd, struct view bytes, size_t *done);

/* The record of a file's beginning (append.c). */
bool audit_append_file(struct audit_writer *w, const char *previous_file);

/* Opens the anchors of a new boot; anchor.c. */
err audit_anchor_open(struct audit_log *log, char detail[256]) MUST_USE;
/* The public key in PEM (RFC 8410), and back. */
void audit_public_pem(const uint8_t key[SIGN_PUBLIC_BYTES], struct buf *out);
bool audit_public_parse(struct view pem, uint8_t key[SIGN_PUBLIC_BYTES]);

#endif
