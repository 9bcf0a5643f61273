/* Any bytes as a token, checked against fixed keys: nothing is accepted but the fixed tokens. */
#include <stdint.h>
#include <stdlib.h>

#include "identity/identity.h"
#include "identity/identity_state.h"
#include "jwt_fixed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct identity *fixed_identity(void)
{
    static const struct view audience[] = {VIEW(FIXED_AUDIENCE)};
    static const struct view algorithms[] = {VIEW("RS256"), VIEW("PS256"), VIEW("ES256"),
                                             VIEW("EdDSA")};
    static const struct issuer issuer = {.name = VIEW("fixed"), .issuer = VIEW(FIXED_ISSUER),
                                         .audience = {audience, 1}, .algorithms = {algorithms, 4},
                                         .jwks_file = VIEW("/nowhere")};
    struct identity *id;
    struct jwks *set;

    if (failed(identity_new(&issuer, 1, NULL, &id)) ||
        failed(jwks_parse(view_str(fixed_jwks), &set)))
        abort();
    issuer_keys_publish(id->rules[0].keys, set);
    return id;
}

static bool is_fixed(struct view token)
{
    for (size_t i = 0; i < COUNT_OF(fixed_tokens); i++) {
        if (view_is(token, fixed_tokens[i]))
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct identity *id;
    const struct view token = view_of(data, size);
    struct principal p;
    struct token_check check;
    struct arena arena;

    if (id == NULL)
        id = fixed_identity();
    arena_init(&arena, 4096, IDENTITY_ARENA_BYTES);
    err e = identity_verify(id, &arena, token, FIXED_NOW, &p, &check);
    if (failed(e) == is_fixed(token))
        abort();
    if (check.count == 0 || (check.steps[check.count - 1].result == CHECK_FAILED) != failed(e))
        abort();
    for (size_t i = 0; i < check.count; i++) {
        if (!view_is_utf8(check.steps[i].found) || !view_is_utf8(check.steps[i].expected))
            abort();
    }
    arena_clear(&arena);
    return 0;
}
