/* Any bytes as a key set and as a discovery document. */
#include <stdint.h>
#include <stdlib.h>

#include "identity/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_keys(struct view text)
{
    struct jwks *set = NULL;

    if (failed(jwks_parse(text, &set))) {
        if (set != NULL)
            abort();
        return;
    }
    if (jwks_count(set) == 0 || jwks_count(set) > JWKS_MAX_KEYS)
        abort();
    for (size_t i = 0; i < jwks_count(set); i++) {
        const struct jwk *k = jwks_at(set, i);
        bool some = false;
        /* Each kept key does something, and is found by its kid. */
        for (int alg = 0; alg < JWS_ALG_COUNT; alg++)
            some = some || jws_key_allows(k->key, (enum jws_alg)alg);
        if (!some || (k->kid.data != NULL && jwks_find(set, k->kid) != k))
            abort();
    }
    jwks_release(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct view uri;

    parse_keys(view_of(data, size));
    arena_init(&arena, 4096, 1024 * 1024);
    err e = discovery_parse(&arena, view_of(data, size), VIEW("https://issuer.example/generic"),
                            &uri);
    if (failed(e) != (uri.data == NULL))
        abort();
    if (!failed(e) && !view_starts_with(uri, VIEW("https://")))
        abort();
    arena_clear(&arena);
    return 0;
}
