/*
 * The rules of the keyring_… properties: each key is read from where the property says, a
 * reference or the absolute path of a file that only its owner may read.  A key never stands in
 * sallyport.conf itself, and no message shows any part of what was read.
 */
#include <stdio.h>

#include "config/node_joiner.h"
#include "config/reference.h"
#include "config/schema.h"
#include "config/value.h"

enum {
    KEYS_MAX = 16,
    HEX_CHARS = 64,    /* of 32 bytes */
    BASE64_CHARS = 44, /* with one '=' */
    KEY_FILE_MAX_BYTES = 4096,
    KEY_BUFFER_BYTES = 2 * (128 << 10) + 1, /* what reading a file wants to spare */
    PATH_SHOWN_BYTES = 256,
};

static bool is_one_of(char c, const char *extra)
{
    return (c >= '0' && c <= '9') || (c != '\0' && strchr(extra, c) != NULL);
}

static bool are_of(struct view text, size_t count, const char *extra)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_one_of(text.data[i], extra))
            return false;
    }
    return true;
}

/* The form alone; the last two bits of 43 digits of base64 are none of the key's, and zero. */
static bool is_key(struct view text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";

    if (text.len == HEX_CHARS)
        return are_of(text, HEX_CHARS, "abcdefABCDEF");
    return text.len == BASE64_CHARS && text.data[BASE64_CHARS - 1] == '=' &&
           are_of(text, BASE64_CHARS - 2, letters) &&
           strchr("AEIMQUYcgkosw048", text.data[BASE64_CHARS - 2]) != NULL;
}

static bool refuse(struct joiner *j, const char *name, const char *text)
{
    joiner_report(j, SEVERITY_ERROR, joiner_origin(j, name), name, text);
    return false;
}

static bool read_file(struct joiner *j, const char *name, struct view *value)
{
    char text[WHY_BYTES];
    struct view path = arena_copy(j->arena, *value);
    struct buf read;

    if (path.data == NULL)
        return !(j->no_memory = true);
    buf_init(&read, KEY_BUFFER_BYTES);
    const char *wrong = j->host->key_file != NULL ? j->host->key_file(j->host, path.data, &read)
                                                  : "files cannot be read here";
    if (wrong == NULL && read.len > KEY_FILE_MAX_BYTES)
        wrong = "the file is too large";
    if (wrong == NULL)
        *value = reference_copy_secret(j->arena, buf_view(&read));
    buf_clear_secure(&read);
    j->no_memory = j->no_memory || value->data == NULL;
    if (wrong == NULL)
        return value->data != NULL;
    snprintf(text, sizeof text, "the file '%.*s' cannot be read: %s",
             VIEW_ARG(view_upto(path, PATH_SHOWN_BYTES)), wrong);
    return refuse(j, name, text);
}

/* From what the property says to the key's text; false when there is none. */
static bool read_key(struct joiner *j, const char *name, struct view *value)
{
    bool unread = false;
    bool there;

    if (reference_is(*value))
        there = joiner_resolve(j, name, joiner_origin(j, name), value, &unread);
    else if (value->len > 0 && value->data[0] == '/')
        there = read_file(j, name, value);
    else
        return refuse(j, name, "must be a reference like {vault://file/NAME}, or the absolute path "
                               "of a file; no key stands in this place itself");
    j->out->keyring.unread |= unread;
    if (!there)
        return false;
    if (view_ends_with(*value, VIEW("\n")))
        value->len--;
    return is_key(*value) ||
           refuse(j, name, "is no key: 32 bytes are wanted, as base64 (44 characters) or "
                           "hexadecimal (64)");
}

static void read_keys(struct joiner *j)
{
    struct keyring_settings *k = &j->out->keyring;
    struct view *kept = ARENA_ARRAY(j->arena, k->previous_keys.count + 1, struct view);
    size_t count = 0;

    if (k->key.len == 0)
        refuse(j, "keyring_key", "is needed with keyring_enabled = on; 'sallyport keyring "
                                 "generate' makes one");
    else if (!read_key(j, "keyring_key", &k->key))
        k->key = (struct view){NULL, 0};
    if (kept == NULL) {
        j->no_memory = true;
        return;
    }
    if (k->previous_keys.count >= KEYS_MAX)
        refuse(j, "keyring_previous_keys", "there are more than 15");
    for (size_t i = 0; i < k->previous_keys.count && i < KEYS_MAX; i++) {
        kept[count] = k->previous_keys.items[i];
        count += read_key(j, "keyring_previous_keys", &kept[count]);
    }
    k->previous_keys = (struct strings){kept, count};
}

static void warn_of_no_effect(struct joiner *j, const char *name)
{
    if (joiner_origin(j, name)->kind != ORIGIN_DEFAULT)
        joiner_no_effect(j, joiner_origin(j, name), name, "keyring",
                         "has no effect without keyring_enabled = on");
}

void joiner_finish_keyring(struct joiner *j)
{
    if (j->out->keyring.enabled) {
        read_keys(j);
        return;
    }
    warn_of_no_effect(j, "keyring_key");
    warn_of_no_effect(j, "keyring_previous_keys");
    j->out->keyring = (struct keyring_settings){.enabled = false};
}
