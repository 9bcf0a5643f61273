#include "identity/claims.h"

#include "identity/identity.h"

/* 9999-12-31T23:59:59Z: later times only serve to overflow somebody's arithmetic. */
static const int64_t latest_second = INT64_C(253402300799);

err claims_seconds(const struct json_value *payload, const char *name, bool *present, int64_t *out)
{
    const struct json_value *value = json_get(payload, name);

    *present = value != NULL;
    if (value == NULL)
        return OK;
    if (!json_is(value, JSON_NUMBER) || !json_to_seconds(value, out) || *out < 0 ||
        *out > latest_second)
        return fail(&identity_time_malformed);
    return OK;
}

static err split_words(struct arena *arena, struct view text, struct strings *out)
{
    size_t most = 1, count = 0;

    for (size_t i = 0; i < text.len; i++)
        most += text.data[i] == ' ';
    struct view *items = ARENA_ARRAY(arena, most, struct view);
    if (items == NULL)
        return fail(&fault_out_of_memory);
    while (text.data != NULL) {
        struct view word;
        text = view_cut(text, ' ', &word);
        if (word.len > 0)
            items[count++] = word;
    }
    *out = (struct strings){items, count};
    return OK;
}

static err list_strings(struct arena *arena, const struct json_value *array, struct strings *out)
{
    struct view *items = ARENA_ARRAY(arena, array->count, struct view);
    size_t count = 0;

    if (items == NULL)
        return fail(&fault_out_of_memory);
    JSON_EACH(item, array)
    {
        if (!json_is(item, JSON_STRING))
            return fail(&identity_claim_malformed);
        items[count++] = item->text;
    }
    *out = (struct strings){items, count};
    return OK;
}

err claims_strings(struct arena *arena, const struct json_value *value, bool split,
                   struct strings *out)
{
    *out = (struct strings){NULL, 0};
    if (value == NULL || value->type == JSON_NULL)
        return OK;
    if (value->type == JSON_ARRAY)
        return list_strings(arena, value, out);
    if (value->type != JSON_STRING)
        return fail(&identity_claim_malformed);
    if (split)
        return split_words(arena, value->text, out);
    struct view *item = ARENA_NEW(arena, struct view);
    if (item == NULL)
        return fail(&fault_out_of_memory);
    *item = value->text;
    *out = (struct strings){item, 1};
    return OK;
}

const struct json_value *claims_find(const struct json_value *payload, struct view name)
{
    const struct json_value *at = json_get_view(payload, name);
    struct view rest = name, part;

    if (at != NULL || view_find(name, '.') == name.len)
        return at;
    for (at = payload; at != NULL && rest.data != NULL; at = json_get_view(at, part))
        rest = view_cut(rest, '.', &part);
    return at;
}

err claims_scopes(struct arena *arena, const struct issuer *issuer,
                  const struct json_value *payload, struct strings *out)
{
    const struct json_value *value;

    /* scope: RFC 8693 section 4.2, RFC 9068, Cognito; scp: Okta (an array), Entra (a string). */
    if (issuer->scopes_claim.data != NULL)
        value = claims_find(payload, issuer->scopes_claim);
    else if (issuer->preset == PRESET_OKTA || issuer->preset == PRESET_ENTRA)
        value = json_get(payload, "scp");
    else
        value = json_get(payload, "scope");
    if (value == NULL && issuer->scopes_claim.data == NULL && issuer->preset == PRESET_GENERIC)
        value = json_get(payload, "scp");
    return claims_strings(arena, value, true, out);
}

static err join(struct arena *arena, struct strings a, struct strings b, struct strings *out)
{
    struct view *items = ARENA_ARRAY(arena, a.count + b.count, struct view);

    if (items == NULL)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < a.count; i++)
        items[i] = a.items[i];
    for (size_t i = 0; i < b.count; i++)
        items[a.count + i] = b.items[i];
    *out = (struct strings){items, a.count + b.count};
    return OK;
}

err claims_groups(struct arena *arena, const struct issuer *issuer,
                  const struct json_value *payload, struct strings *out)
{
    struct strings roles, groups;

    if (issuer->groups_claim.data != NULL)
        return claims_strings(arena, claims_find(payload, issuer->groups_claim), false, out);
    if (issuer->preset == PRESET_COGNITO)
        return claims_strings(arena, json_get(payload, "cognito:groups"), false, out);
    TRY(claims_strings(arena, json_get(payload, "groups"), false, &groups));
    *out = groups;
    if (issuer->preset != PRESET_ENTRA)
        return OK;
    /* Entra gives app roles beside groups, and roles alone to an application. */
    TRY(claims_strings(arena, json_get(payload, "roles"), false, &roles));
    return roles.count == 0 ? OK : join(arena, roles, groups, out);
}

/* A name that ends up in audit lines and in the database's log: printable, and not a page long.
 * Controls are U+0000 to U+001F and U+007F to U+009F. */
static bool is_plain_name(struct view text)
{
    if (text.len == 0 || text.len > IDENTITY_SUBJECT_MAX_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7f)
            return false;
        if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.data[i + 1] < 0xa0)
            return false;
    }
    return true;
}

err claims_client(const struct issuer *issuer, const struct json_value *payload, struct view *out)
{
    static const char *const names[][5] = {
        [PRESET_GENERIC] = {"client_id", "azp", "cid", "appid"},
        [PRESET_COGNITO] = {"client_id"},
        [PRESET_OKTA] = {"cid"},
        [PRESET_ENTRA] = {"azp", "appid"},
    };
    const struct json_value *value = NULL;
    struct view use;

    *out = (struct view){NULL, 0};
    if (issuer->client_claim.data != NULL)
        value = claims_find(payload, issuer->client_claim);
    for (size_t i = 0; issuer->client_claim.data == NULL && value == NULL; i++) {
        if (names[issuer->preset][i] == NULL)
            break;
        value = json_get(payload, names[issuer->preset][i]);
    }
    /* Cognito's ID token names the client as its audience. */
    if (value == NULL && issuer->preset == PRESET_COGNITO && issuer->client_claim.data == NULL &&
        json_get_string(payload, "token_use", &use) && view_is(use, "id"))
        value = json_get(payload, "aud");
    if (value == NULL)
        return OK;
    if (!json_is(value, JSON_STRING) || !is_plain_name(value->text))
        return fail(&identity_claim_malformed);
    *out = value->text;
    return OK;
}

err claims_consumer(const struct issuer *issuer, const struct json_value *payload, struct view *out)
{
    const struct json_value *value = issuer->consumer_claim.data != NULL
                                         ? claims_find(payload, issuer->consumer_claim)
                                         : NULL;

    *out = (struct view){NULL, 0};
    if (value == NULL || value->type == JSON_NULL)
        return OK;
    if (value->type == JSON_NUMBER || (value->type == JSON_STRING && is_plain_name(value->text)))
        *out = value->text;
    return out->data != NULL ? OK : fail(&identity_claim_malformed);
}

err claims_subject(const struct json_value *payload, struct view *out)
{
    const struct json_value *value = json_get(payload, "sub");

    *out = (struct view){NULL, 0};
    if (value == NULL)
        return fail(&identity_subject_missing);
    if (!json_is(value, JSON_STRING) || !is_plain_name(value->text))
        return fail(&identity_subject_malformed);
    *out = value->text;
    return OK;
}

static enum claim_kind kind_of(const struct json_value *value)
{
    switch (value->type) {
    case JSON_STRING:
        return CLAIM_STRING;
    case JSON_NUMBER:
        return CLAIM_NUMBER;
    case JSON_BOOL:
        return CLAIM_BOOL;
    case JSON_NULL:
        return CLAIM_NULL;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return CLAIM_COMPOUND;
}

err claims_all(struct arena *arena, const struct json_value *payload, const struct claim **out,
               size_t *count)
{
    struct claim *claims = ARENA_ARRAY(arena, payload->count, struct claim);
    size_t n = 0;

    if (claims == NULL)
        return fail(&fault_out_of_memory);
    JSON_EACH(member, payload)
    claims[n++] = (struct claim){member->name, kind_of(member), member->text, member->raw};
    *out = claims;
    *count = n;
    return OK;
}
