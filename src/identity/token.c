#include "identity/token.h"

#include "crypto/base64.h"
#include "identity/identity.h"
#include "identity/jwks.h"

/* A signed header of an honest issuer has a handful of members; a payload may carry hundreds of
 * groups.  Both bound what one unverified token can make us allocate. */
static const struct json_limits header_limits = {.max_depth = 4, .max_values = 64};
static const struct json_limits payload_limits = {.max_depth = 12, .max_values = 1000};

static err decode(struct arena *arena, struct view part, struct view *out)
{
    const size_t room = base64_room(part.len);
    uint8_t *bytes = arena_alloc(arena, room);

    if (bytes == NULL)
        return fail(&fault_out_of_memory);
    if (!base64url_decode(part, bytes, room, &out->len))
        return fail(&identity_token_malformed);
    out->data = (const char *)bytes;
    return OK;
}

err token_split(struct arena *arena, struct view text, struct token *out)
{
    struct view header, payload, signature;

    *out = (struct token){0};
    if (text.len > IDENTITY_TOKEN_MAX_BYTES)
        return fail(&identity_token_too_large);
    signature = view_cut(view_cut(text, '.', &header), '.', &payload);
    if (signature.data == NULL || header.len == 0 || payload.len == 0)
        return fail(&identity_token_malformed);
    /* Further dots (a JWE has five parts) are outside the alphabet, so decoding refuses them. */
    TRY(decode(arena, header, &out->header_json));
    TRY(decode(arena, payload, &out->payload_json));
    TRY(decode(arena, signature, &out->signature));
    out->signed_text = view_upto(text, header.len + 1 + payload.len);
    return OK;
}

static err parse_object(struct arena *arena, struct view text, const struct json_limits *limits,
                        const struct fault *otherwise, const struct json_value **out)
{
    err e = json_parse(arena, text, limits, out, NULL);

    if (is_fault(e, &fault_out_of_memory))
        return e;
    return !failed(e) && json_is(*out, JSON_OBJECT) ? OK : fail(otherwise);
}

static bool optional_text(const struct json_value *header, const char *name, struct view *out)
{
    return json_get(header, name) == NULL || json_get_string(header, name, out);
}

err token_read_header(struct arena *arena, struct token *t)
{
    static const char *const key_members[] = {"jwk", "jku", "x5u"};
    const struct json_value *header;

    TRY(parse_object(arena, t->header_json, &header_limits, &identity_header_malformed, &header));
    if (!json_get_string(header, "alg", &t->alg_name) || !optional_text(header, "typ", &t->typ) ||
        !optional_text(header, "kid", &t->kid) || t->kid.len > JWKS_KID_MAX_BYTES)
        return fail(&identity_header_malformed);
    /* RFC 7515 section 4.1.11: what is critical and not understood makes the JWS invalid; we
     * understand no extension. */
    if (json_get(header, "crit") != NULL)
        return fail(&identity_crit_refused);
    /* RFC 8725 section 3.10: keys come from the configured place only.  x5c, x5t are not read. */
    for (size_t i = 0; i < COUNT_OF(key_members); i++) {
        if (json_get(header, key_members[i]) != NULL)
            return fail(&identity_key_in_token);
    }
    return OK;
}

err token_check_typ(const struct token *t)
{
    struct view typ = t->typ;

    if (typ.data == NULL)
        return OK;
    /* A media type, without regard to case, whose "application/" may be left out (RFC 7515 section
     * 4.1.9; RFC 9068 section 4). */
    if (typ.len > 12 && view_eq_nocase(view_upto(typ, 12), VIEW("application/")))
        typ = view_from(typ, 12);
    if (view_eq_nocase(typ, VIEW("JWT")) || view_eq_nocase(typ, VIEW("at+jwt")))
        return OK;
    return fail(&identity_typ_refused);
}

err token_read_payload(struct arena *arena, struct token *t)
{
    return parse_object(arena, t->payload_json, &payload_limits, &identity_payload_malformed,
                        &t->payload);
}
