#include "store/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/file.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "store/document.h"

const struct fault kept_unwritable = {
    "store_copy_unwritable", "the copy of the configuration cannot be kept in the prefix", NULL, 0};
const struct fault kept_damaged = {
    "store_copy_damaged", "the kept copy of the configuration is damaged", NULL, 0};

enum {
    KEY_BYTES = 32,
    SEAL_BYTES = 2 * SHA256_BYTES, /* in hexadecimal */
    SEALS_MAX_BYTES = 2 * (SEAL_BYTES + 1),
    BESIDE_BYTES = 4096 + 16,
    ROOM_BYTES = 128 << 10, /* that file_read_all wants to spare */
};

static void beside(char out[BESIDE_BYTES], const char *path, const char *suffix)
{
    snprintf(out, BESIDE_BYTES, "%.4090s%s", path, suffix);
}

static err unwritable(const char *path, struct store_why *why)
{
    snprintf(why->text, sizeof why->text, "%.512s: %s", path, strerror(errno));
    return fail(&kept_unwritable);
}

static bool write_whole(int to, struct view text)
{
    while (text.len > 0) {
        ssize_t n = write(to, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = view_from(text, (size_t)n);
    }
    return fsync(to) == 0;
}

static bool write_file(const char *path, int flags, struct view text)
{
    int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    bool good = to >= 0 && write_whole(to, text);
    int why = errno;

    if (to >= 0)
        close(to);
    errno = why;
    return good;
}

/* Beside it first: whoever reads it meanwhile sees the one or the other. */
static bool replace_file(const char *path, struct view text)
{
    char new[BESIDE_BYTES + 8];

    snprintf(new, sizeof new, "%s.new", path);
    return write_file(new, O_TRUNC, text) && rename(new, path) == 0;
}

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd >= 0 && file_read_all(fd, out) == NULL;

    if (fd >= 0)
        close(fd);
    return good;
}

/* ---- Seals ---- */

static bool read_key(const char *path, struct buf *out)
{
    char key_path[BESIDE_BYTES];

    beside(key_path, path, ".key");
    return read_file(key_path, out) && out->len == KEY_BYTES;
}

/* As it is, or a new one. */
static bool have_key(const char *path, struct buf *out)
{
    char key_path[BESIDE_BYTES];
    uint8_t fresh[KEY_BYTES];

    if (read_key(path, out))
        return true;
    beside(key_path, path, ".key");
    random_bytes(fresh, sizeof fresh);
    buf_reset(out);
    buf_add(out, fresh, sizeof fresh);
    secret_wipe(fresh, sizeof fresh);
    return !buf_failed(out) && replace_file(key_path, buf_view(out));
}

static void seal(struct view key, struct view text, char out[SEAL_BYTES + 1])
{
    uint8_t mac[SHA256_BYTES];

    hmac_sha256(key, text, mac);
    for (size_t i = 0; i < sizeof mac; i++)
        snprintf(out + 2 * i, 3, "%02x", mac[i]);
}

static bool is_listed(struct view seals, const char *own)
{
    struct view line;
    bool found = false;

    while (seals.len > 0 && !found) {
        seals = view_cut(seals, '\n', &line);
        found = secret_eq(line, view_str(own));
    }
    return found;
}

static bool is_sealed(const char *path, struct view key, struct view text,
                      char own[SEAL_BYTES + 1])
{
    char seals_path[BESIDE_BYTES];
    struct buf seals;

    beside(seals_path, path, ".seals");
    buf_init(&seals, ROOM_BYTES);
    seal(key, text, own);
    bool found = read_file(seals_path, &seals) && is_listed(buf_view(&seals), own);
    buf_clear(&seals);
    return found;
}

/* Beside the seal of the copy that is there, which may not be the latest that was written: an
 * earlier kill came before its copy took its place. */
static err add_seal(const char *path, struct view key, struct view new, struct store_why *why)
{
    char seals_path[BESIDE_BYTES], own[SEAL_BYTES + 1], before[SEAL_BYTES + 1];
    char lines[SEALS_MAX_BYTES + 1];
    struct buf copy;

    beside(seals_path, path, ".seals");
    buf_init(&copy, DOCUMENT_MAX_BYTES + ROOM_BYTES);
    bool whole = read_file(path, &copy) && is_sealed(path, key, buf_view(&copy), before);
    buf_clear(&copy);
    seal(key, new, own);
    snprintf(lines, sizeof lines, "%s\n%s%s", own, whole ? before : "", whole ? "\n" : "");
    return replace_file(seals_path, view_str(lines)) ? OK : unwritable(seals_path, why);
}

/* ---- The copy ---- */

err kept_stage(const char *path, const char *suffix, struct view text, struct store_why *why)
{
    char next[BESIDE_BYTES];

    beside(next, path, suffix);
    return replace_file(next, text) ? OK : unwritable(next, why);
}

err kept_take(const char *path, struct store_why *why)
{
    char next[BESIDE_BYTES];
    struct buf text, key;
    err e = OK;

    beside(next, path, KEPT_NEXT);
    buf_init(&text, DOCUMENT_MAX_BYTES + ROOM_BYTES);
    buf_init(&key, ROOM_BYTES);
    if (!read_file(next, &text) || !have_key(path, &key))
        e = unwritable(next, why);
    if (!failed(e))
        e = add_seal(path, buf_view(&key), buf_view(&text), why);
    if (!failed(e) && rename(next, path) != 0)
        e = unwritable(path, why);
    buf_clear(&text);
    buf_clear_secure(&key);
    return e;
}

err kept_check(const char *path, struct store_why *why)
{
    char own[SEAL_BYTES + 1];
    struct buf text, key;
    err e = OK;

    *why = (struct store_why){""};
    buf_init(&text, DOCUMENT_MAX_BYTES + ROOM_BYTES);
    buf_init(&key, ROOM_BYTES);
    if (!read_file(path, &text)) {
        snprintf(why->text, sizeof why->text, "%.512s cannot be read", path);
        e = fail(&config_unreadable);
    } else if (!read_key(path, &key) ||
               !is_sealed(path, buf_view(&key), buf_view(&text), own)) {
        snprintf(why->text, sizeof why->text, "%.512s is not what this node wrote", path);
        e = fail(&kept_damaged);
    }
    buf_clear_secure(&key);
    buf_clear(&text);
    return e;
}
