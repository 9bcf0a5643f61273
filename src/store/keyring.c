#include "store/keyring.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "config/sealed.h"
#include "crypto/base64.h"
#include "crypto/hash.h"
#include "crypto/random.h"

const struct fault keyring_off = {
    "keyring_off", "the keyring has no key to seal with: see keyring_enabled", NULL, 0};
const struct fault keyring_malformed = {
    "keyring_malformed", "it is not what the keyring makes of a secret", NULL, 0};
const struct fault keyring_no_key = {
    "keyring_no_key", "the key that sealed it is not in the keyring", NULL, 0};
const struct fault keyring_refused = {
    "keyring_refused", "it was changed, or sealed for another entity or field", NULL, 0};

static const char version[] = "v1/";
static const char label[] = "sallyport keyring v1";
static const char id_label[] = "sallyport keyring id";

enum {
    ID_BYTES = KEYRING_ID_CHARS / 2,
    AROUND_BYTES = AEAD_NONCE_BYTES + AEAD_TAG_BYTES,
    SEALED_MAX_BYTES = KEYRING_SECRET_MAX_BYTES + AROUND_BYTES,
    PLACE_MAX_BYTES = 4096,
};

/* ---- Keys ---- */

static void name_key(struct keyring_key *key)
{
    uint8_t mac[SHA256_BYTES];

    hmac_sha256(view_of(key->bytes, sizeof key->bytes), view_str(id_label), mac);
    for (size_t i = 0; i < ID_BYTES; i++)
        snprintf(key->id + 2 * i, 3, "%02x", mac[i]);
}

bool keyring_key_init(struct keyring_key *key, struct view text)
{
    uint8_t bytes[2 * AEAD_KEY_BYTES] = {0};
    size_t len = 0;

    *key = (struct keyring_key){""};
    bool good = (text.len == (size_t)2 * AEAD_KEY_BYTES ? hex_decode : base64_decode)(
                    text, bytes, sizeof bytes, &len) &&
                len == AEAD_KEY_BYTES;
    if (good) {
        memcpy(key->bytes, bytes, AEAD_KEY_BYTES);
        name_key(key);
    }
    secret_wipe(bytes, sizeof bytes);
    return good;
}

void keyring_generate(char out[KEYRING_KEY_TEXT_BYTES])
{
    uint8_t key[AEAD_KEY_BYTES];
    struct buf text;

    random_bytes(key, sizeof key);
    buf_init(&text, KEYRING_KEY_TEXT_BYTES);
    base64_encode(&text, view_of(key, sizeof key));
    secret_wipe(key, sizeof key);
    ENSURE(!buf_failed(&text) && text.len == KEYRING_KEY_TEXT_BYTES - 1);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    buf_clear_secure(&text);
}

static bool add_key(struct keyring *ring, struct view text)
{
    if (ring->count == KEYRING_KEYS_MAX || !keyring_key_init(&ring->keys[ring->count], text))
        return false;
    ring->count++;
    return true;
}

void keyring_init(struct keyring *ring, const struct keyring_settings *settings)
{
    *ring = (struct keyring){.count = 0};
    if (!settings->enabled)
        return;
    ring->has_current = add_key(ring, settings->key);
    for (size_t i = 0; i < settings->previous_keys.count; i++)
        (void)add_key(ring, settings->previous_keys.items[i]);
}

void keyring_clear(struct keyring *ring)
{
    secret_wipe(ring, sizeof *ring);
}

static const struct keyring_key *find_key(const struct keyring *ring, const char *id)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (strcmp(ring->keys[i].id, id) == 0)
            return &ring->keys[i];
    }
    return NULL;
}

/* ---- What is bound ---- */

static void add_part(struct buf *aad, struct view part)
{
    buf_add_be32(aad, (uint32_t)part.len);
    buf_add_view(aad, part);
}

static bool describe_place(const struct secret_place *place, struct buf *aad)
{
    buf_init(aad, PLACE_MAX_BYTES);
    add_part(aad, view_str(label));
    add_part(aad, place->kind);
    /* PostgreSQL writes a uuid in small letters, whatever the file did. */
    buf_add_be32(aad, (uint32_t)place->id.len);
    for (size_t i = 0; i < place->id.len; i++) {
        char c = place->id.data[i];
        buf_add_char(aad, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    add_part(aad, place->field);
    return !buf_failed(aad);
}

/* ---- Sealing ---- */

static void seal_bytes(const struct keyring_key *key, struct view aad, struct view plain,
                       struct buf *bytes)
{
    uint8_t nonce[AEAD_NONCE_BYTES], tag[AEAD_TAG_BYTES];

    random_bytes(nonce, sizeof nonce);
    buf_add(bytes, nonce, sizeof nonce);
    if (!buf_reserve(bytes, plain.len + sizeof tag))
        return;
    aead_seal(key->bytes, nonce, aad, plain, (uint8_t *)bytes->data + bytes->len, tag);
    bytes->len += plain.len;
    buf_add(bytes, tag, sizeof tag);
}

err keyring_seal(const struct keyring *ring, const struct secret_place *place, struct view plain,
                 struct buf *out)
{
    struct buf aad, bytes;

    if (!ring->has_current)
        return fail(&keyring_off);
    if (plain.len == 0)
        return fail(&keyring_malformed);
    if (plain.len > KEYRING_SECRET_MAX_BYTES)
        return fail(&fault_too_large);
    buf_init(&bytes, SEALED_MAX_BYTES);
    bool good = describe_place(place, &aad);
    if (good)
        seal_bytes(&ring->keys[0], buf_view(&aad), plain, &bytes);
    buf_printf(out, SEALED_OPENING "%s%s/", version, ring->keys[0].id);
    base64url_encode(out, buf_view(&bytes));
    buf_add_char(out, '}');
    good = good && !buf_failed(&bytes) && !buf_failed(out);
    buf_clear(&bytes);
    buf_clear(&aad);
    return good ? OK : fail(&fault_too_large);
}

/* ---- Opening ---- */

/* The parts of the text; *bytes is base64url still. */
static err take_apart(struct view sealed, char id[KEYRING_ID_CHARS + 1], struct view *bytes)
{
    struct view rest, written;
    uint8_t ignored[ID_BYTES];
    size_t len;

    if (!sealed_is(sealed))
        return fail(&keyring_malformed);
    rest = view_from(view_upto(sealed, sealed.len - 1), sizeof SEALED_OPENING - 1);
    if (!view_starts_with(rest, view_str(version)))
        return fail(&keyring_malformed);
    *bytes = view_cut(view_from(rest, sizeof version - 1), '/', &written);
    if (written.len != KEYRING_ID_CHARS || bytes->data == NULL ||
        !hex_decode(written, ignored, sizeof ignored, &len))
        return fail(&keyring_malformed);
    for (size_t i = 0; i < KEYRING_ID_CHARS; i++) {
        if (written.data[i] >= 'A' && written.data[i] <= 'F')
            return fail(&keyring_malformed);
    }
    memcpy(id, written.data, KEYRING_ID_CHARS);
    id[KEYRING_ID_CHARS] = '\0';
    return OK;
}

/* The nonce, the text and the tag. */
static err decode(struct view text, struct buf *bytes)
{
    size_t len = 0;

    if (text.len > 2 * (size_t)SEALED_MAX_BYTES || !buf_reserve(bytes, base64_room(text.len)) ||
        !base64url_decode(text, (uint8_t *)bytes->data, base64_room(text.len), &len) ||
        len <= AROUND_BYTES || len > SEALED_MAX_BYTES)
        return fail(&keyring_malformed);
    bytes->len = len;
    return OK;
}

static err open_bytes(const struct keyring_key *key, struct view aad, struct view bytes,
                      struct buf *out)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    size_t len = bytes.len - AROUND_BYTES;
    const struct view text = view_of(at + AEAD_NONCE_BYTES, len);

    if (!buf_reserve(out, len))
        return fail(&fault_too_large);
    if (!aead_open(key->bytes, at, aad, text, at + AEAD_NONCE_BYTES + len,
                   (uint8_t *)out->data + out->len))
        return fail(&keyring_refused);
    out->len += len;
    return OK;
}

err keyring_open(const struct keyring *ring, const struct secret_place *place,
                 struct view sealed, struct buf *out)
{
    char id[KEYRING_ID_CHARS + 1];
    struct buf aad, bytes;
    struct view text;

    TRY(take_apart(sealed, id, &text));
    buf_init(&bytes, 2 * (size_t)SEALED_MAX_BYTES);
    err e = decode(text, &bytes);
    const struct keyring_key *key = find_key(ring, id);
    bool placed = describe_place(place, &aad);
    if (!failed(e) && key == NULL)
        e = fail(&keyring_no_key);
    if (!failed(e) && !placed)
        e = fail(&keyring_refused);
    if (!failed(e))
        e = open_bytes(key, buf_view(&aad), buf_view(&bytes), out);
    buf_clear(&aad);
    buf_clear(&bytes);
    return e;
}

err keyring_sealed_by(struct view sealed, char id[KEYRING_ID_CHARS + 1])
{
    struct view text;

    return take_apart(sealed, id, &text);
}

/* ---- For the configuration ---- */

static void say_why(err e, struct view sealed, char why[SECRET_WHY_BYTES])
{
    char id[KEYRING_ID_CHARS + 1] = "";

    if (failed(keyring_sealed_by(sealed, id)))
        snprintf(why, SECRET_WHY_BYTES, "%s", keyring_malformed.text);
    else if (is_fault(e, &keyring_no_key))
        snprintf(why, SECRET_WHY_BYTES, "the key %s that sealed it is not in the keyring, neither "
                 "keyring_key nor among keyring_previous_keys", id);
    else
        snprintf(why, SECRET_WHY_BYTES, "sealed by the key %s: %s", id, e.fault->text);
}

bool keyring_host_open(const struct config_host *host, const struct secret_place *place,
                       struct view sealed, struct buf *out, bool *unread,
                       char why[SECRET_WHY_BYTES])
{
    const struct keyring_settings *settings = host->keyring;
    char id[KEYRING_ID_CHARS + 1];
    struct keyring ring;

    if (settings == NULL && host->node != NULL)
        settings = &host->node->keyring;
    *unread = settings == NULL; /* a file by itself, whose node nobody named */
    if (settings == NULL && !failed(keyring_sealed_by(sealed, id)))
        return false;
    if (settings != NULL && !settings->enabled && !failed(keyring_sealed_by(sealed, id))) {
        snprintf(why, SECRET_WHY_BYTES, "it is sealed by the key %s, and keyring_enabled is off",
                 id);
        return false;
    }
    keyring_init(&ring, settings != NULL ? settings : &(struct keyring_settings){false});
    err e = keyring_open(&ring, place, sealed, out);
    keyring_clear(&ring);
    *unread = is_fault(e, &keyring_no_key) && settings != NULL && settings->unread;
    if (failed(e))
        say_why(e, sealed, why);
    return !failed(e);
}
