/* The text of a sealed secret: what is not the keyring's own opens nowhere, and what opens is
 * sealed and opened again as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "store/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct secret_place place = {
    VIEW("service"), VIEW("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), VIEW("/read/password")};

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct keyring_settings settings = {
        .enabled = true, .key = VIEW("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")};
    struct view text = view_of(size > 0 ? (const char *)data : "", size);
    char id[KEYRING_ID_CHARS + 1];
    struct buf plain, sealed, again;
    struct keyring ring;

    keyring_init(&ring, &settings);
    buf_init(&plain, KEYRING_SECRET_MAX_BYTES);
    buf_init(&sealed, 4 * KEYRING_SECRET_MAX_BYTES);
    buf_init(&again, KEYRING_SECRET_MAX_BYTES);
    err known = keyring_sealed_by(text, id);
    err e = keyring_open(&ring, &place, text, &plain);
    require(failed(e) == (plain.len == 0));
    require(!failed(known) || is_fault(e, &keyring_malformed));
    if (!failed(e)) {
        require(!failed(keyring_seal(&ring, &place, buf_view(&plain), &sealed)));
        require(!failed(keyring_open(&ring, &place, buf_view(&sealed), &again)));
        require(view_eq(buf_view(&plain), buf_view(&again)));
    }
    buf_clear(&again);
    buf_clear(&sealed);
    buf_clear(&plain);
    return 0;
}
