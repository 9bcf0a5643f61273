/* Anchors: the heads of all writers, signed, each naming the one before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/internal.h"
#include "audit/read.h"
#include "crypto/base64.h"

enum { ANCHOR_MAX = 512 * 1024, PEM_MAX = 1024 };

/* The SubjectPublicKeyInfo of an Ed25519 key before its 32 bytes (RFC 8410 section 4). */
static const uint8_t spki[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                               0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const struct view pem_head = {"-----BEGIN PUBLIC KEY-----\n", 27};
static const struct view pem_tail = {"\n-----END PUBLIC KEY-----\n", 26};

void audit_public_pem(const uint8_t key[SIGN_PUBLIC_BYTES], struct buf *out)
{
    uint8_t der[sizeof spki + SIGN_PUBLIC_BYTES];

    memcpy(der, spki, sizeof spki);
    memcpy(der + sizeof spki, key, SIGN_PUBLIC_BYTES);
    buf_add_view(out, pem_head);
    base64_encode(out, view_of(der, sizeof der));
    buf_add_view(out, pem_tail);
}

bool audit_public_parse(struct view pem, uint8_t key[SIGN_PUBLIC_BYTES])
{
    uint8_t der[128];
    size_t len;

    if (!view_starts_with(pem, pem_head) || !view_ends_with(pem, pem_tail) ||
        pem.len < pem_head.len + pem_tail.len)
        return false;
    struct view text = view_from(view_upto(pem, pem.len - pem_tail.len), pem_head.len);
    if (!base64_decode(text, der, sizeof der, &len) || len != sizeof spki + SIGN_PUBLIC_BYTES ||
        memcmp(der, spki, sizeof spki) != 0)
        return false;
    memcpy(key, der + sizeof spki, SIGN_PUBLIC_BYTES);
    return true;
}

static err open_key(struct audit_log *log, const char *path, char *detail)
{
    errno = 0;
    err e = sign_key_load(path, &log->key);
    if (is_fault(e, &sign_key_missing)) {
        TRY(sign_key_new(&log->key));
        errno = 0;
        e = sign_key_save(log->key, path);
    }
    if (failed(e)) {
        audit_say(detail, e.fault->text, path);
        return fail(&audit_open_failed);
    }
    return OK;
}

/* Writes anchor.pub, or holds the one that is there to the key. */
static err check_public_file(struct audit_log *log, char *detail)
{
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    char have[PEM_MAX];
    struct buf pem;
    size_t done;

    sign_key_public(log->key, public_key);
    buf_init(&pem, PEM_MAX);
    audit_public_pem(public_key, &pem);
    int fd = openat(log->directory_fd, AUDIT_PUBLIC_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    0644);
    bool good = false;
    if (fd >= 0) {
        good = audit_write_all(fd, buf_view(&pem), &done);
    } else if (errno == EEXIST) {
        fd = openat(log->directory_fd, AUDIT_PUBLIC_FILE, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof have);
        good = n >= 0 && view_eq(view_of(have, (size_t)n), buf_view(&pem));
        errno = 0;
    }
    if (!good)
        audit_say(detail, "not the public key of " AUDIT_KEY_FILE ", or not written:",
                  AUDIT_PUBLIC_FILE);
    if (fd >= 0)
        close(fd);
    buf_clear(&pem);
    return good ? OK : fail(&audit_open_failed);
}

/* The clock may have been set back, or not be set yet after a power loss: a name that would sort
 * before the newest boot's becomes the one right behind it, since the boots are chained by name. */
static void sort_behind_previous(struct audit_log *log)
{
    const size_t stamp = sizeof "20261122t014527-" - 1;

    if (strcmp(log->boot, log->previous_boot) > 0)
        return;
    unsigned long last = strtoul(log->previous_boot + stamp, NULL, 16);
    memcpy(log->boot, log->previous_boot, stamp);
    snprintf(log->boot + stamp, sizeof log->boot - stamp, "%08x", (unsigned)last + 1);
}

/* The hash of the last whole anchor of the newest earlier boot. */
static err find_previous(struct audit_log *log)
{
    struct audit_listing listing;
    struct audit_reader reader = {.fd = -1};
    char name[AUDIT_NAME_MAX];
    uint8_t digest[SHA256_BYTES];
    struct view line;

    memcpy(log->anchor_previous, AUDIT_NO_CHAIN, AUDIT_CHAIN_DIGITS);
    TRY(audit_list(log->directory, &listing));
    for (size_t i = listing.count; i-- > 0;) {
        if (!listing.files[i].anchors)
            continue;
        memcpy(log->previous_boot, listing.files[i].boot, sizeof log->previous_boot);
        break;
    }
    audit_listing_clear(&listing);
    if (log->previous_boot[0] == '\0')
        return OK;
    sort_behind_previous(log);
    audit_anchors_name(name, log->previous_boot);
    if (!audit_reader_open(&reader, log->directory_fd, name))
        return fail(&audit_open_failed);
    while (audit_reader_next(&reader, &line) == AUDIT_READ_LINE) {
        sha256(line, digest);
        audit_hex(digest, log->anchor_previous);
    }
    audit_reader_close(&reader);
    return OK;
}

/* The heads as they stand now; the sum of their sequence numbers only ever grows. */
static uint64_t add_heads(struct audit_log *log, struct buf *out)
{
    uint64_t sum = 0;
    bool first = true;

    pthread_mutex_lock(&log->heads_lock);
    for (size_t i = 0; i < log->head_count; i++) {
        struct audit_head *head = log->heads[i];
        pthread_mutex_lock(&head->lock);
        if (head->seq > 0) {
            buf_printf(out, "%s{\"worker\":%u,\"file\":%u,\"seq\":%llu,\"chain\":\"%.64s\"}",
                       first ? "" : ",", head->writer, head->file, (unsigned long long)head->seq,
                       head->chain);
            first = false;
            sum += head->seq;
        }
        pthread_mutex_unlock(&head->lock);
    }
    pthread_mutex_unlock(&log->heads_lock);
    return sum;
}

/* The line without its end. */
static err render(struct audit_log *log, struct buf *out, uint64_t *sum)
{
    char when[TIME_TEXT_BYTES];
    uint8_t signature[SIGN_SIGNATURE_BYTES];

    time_format(clock_wall_us(log->clock), when);
    buf_printf(out, "{\"time\":\"%s\",\"boot\":\"%s\",\"anchor\":%llu", when, log->boot,
               (unsigned long long)log->anchor_number + 1);
    if (log->anchor_number == 0 && log->previous_boot[0] != '\0')
        buf_printf(out, ",\"previous_boot\":\"%s\"", log->previous_boot);
    buf_printf(out, ",\"previous\":\"%.64s\",\"heads\":[", log->anchor_previous);
    *sum = add_heads(log, out);
    buf_add_str(out, "]");
    if (buf_failed(out))
        return fail(&fault_too_large);
    TRY(sign_make(log->key, buf_view(out), signature));
    buf_add_str(out, ",\"signature\":\"");
    base64url_encode(out, view_of(signature, sizeof signature));
    buf_add_str(out, "\"}");
    return buf_failed(out) ? fail(&fault_too_large) : OK;
}

static err append(struct audit_log *log, struct buf *line)
{
    uint8_t digest[SHA256_BYTES];
    size_t done;

    sha256(buf_view(line), digest);
    buf_add_char(line, '\n');
    if (buf_failed(line))
        return fail(&fault_too_large);
    if (!audit_write_all(log->anchor_fd, buf_view(line), &done)) {
        if (done > 0 && ftruncate(log->anchor_fd, log->anchor_bytes) != 0) {
            /* A torn anchor in the middle would spoil all that follow. */
            close(log->anchor_fd);
            log->anchor_fd = -1;
        }
        return fail(&audit_unavailable);
    }
    log->anchor_bytes += (off_t)line->len;
    if (log->fsync)
        (void)fdatasync(log->anchor_fd);
    audit_hex(digest, log->anchor_previous);
    log->anchor_number++;
    return OK;
}

static err write_locked(struct audit_log *log, bool first)
{
    struct buf line;
    uint64_t sum = 0;

    if (log->anchor_fd < 0)
        return fail(&audit_unavailable);
    buf_init(&line, ANCHOR_MAX);
    err e = render(log, &line, &sum);
    if (!failed(e) && (first || sum != log->anchored_sum)) {
        e = append(log, &line);
        if (!failed(e)) {
            log->anchored_sum = sum;
            atomic_fetch_add(&log->anchors, 1);
        }
    }
    buf_clear(&line);
    if (failed(e))
        atomic_fetch_add(&log->anchor_failures, 1);
    return e;
}

/* Cheaper than rendering and signing for nothing, every second of an idle night. */
static bool heads_moved(struct audit_log *log)
{
    uint64_t sum = 0;

    pthread_mutex_lock(&log->heads_lock);
    for (size_t i = 0; i < log->head_count; i++) {
        pthread_mutex_lock(&log->heads[i]->lock);
        sum += log->heads[i]->seq;
        pthread_mutex_unlock(&log->heads[i]->lock);
    }
    pthread_mutex_unlock(&log->heads_lock);
    return sum != log->anchored_sum;
}

err audit_anchor_write(struct audit_log *log)
{
    pthread_mutex_lock(&log->anchor_lock);
    err e = heads_moved(log) ? write_locked(log, false) : OK;
    pthread_mutex_unlock(&log->anchor_lock);
    return e;
}

err audit_anchor_open(struct audit_log *log, char detail[256])
{
    char path[4096], name[AUDIT_NAME_MAX];

    errno = 0;
    if (snprintf(path, sizeof path, "%s/%s", log->directory, AUDIT_KEY_FILE) >= (int)sizeof path) {
        audit_say(detail, "too long a path:", log->directory);
        return fail(&audit_open_failed);
    }
    TRY(open_key(log, path, detail));
    TRY(check_public_file(log, detail));
    TRY(find_previous(log));
    audit_anchors_name(name, log->boot);
    log->anchor_fd = audit_create(log, name);
    if (log->anchor_fd < 0 || failed(write_locked(log, true))) {
        audit_say(detail, "cannot write the anchors", name);
        return fail(&audit_open_failed);
    }
    return OK;
}
