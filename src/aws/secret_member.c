/* What a reference's key means in a secret's text. */
#include "aws/secret_cache.h"
#include "base/secret.h"
#include "json/json.h"

const struct fault secret_not_json = {
    "secret_not_json", "the secret is no JSON object, so it has no member of that name", NULL, 503};
const struct fault secret_no_member = {
    "secret_no_member", "the secret's JSON object has no text of that name", NULL, 503};

static void wipe(void *data)
{
    const struct view *copy = data;
    secret_wipe((char *)(uintptr_t)copy->data, copy->len);
}

/* What the parser unescaped into the arena is wiped with it. */
static bool wipe_later(struct arena *arena, struct view text, struct view found)
{
    if (found.len == 0 || (found.data >= text.data && found.data < text.data + text.len))
        return true;
    struct view *copy = ARENA_NEW(arena, struct view);
    if (copy == NULL)
        return false;
    *copy = found;
    return arena_on_reset(arena, wipe, copy);
}

/* All strings of the object, for each may be secret. */
static bool wipe_all_later(struct arena *arena, struct view text, const struct json_value *object)
{
    bool good = true;

    JSON_EACH(member, object)
    {
        if (json_is(member, JSON_STRING))
            good = wipe_later(arena, text, member->text) && good;
    }
    return good;
}

err secret_member(struct view text, struct view key, struct arena *arena, struct view *out)
{
    const struct json_value *object;

    *out = (struct view){NULL, 0};
    if (key.data == NULL) {
        *out = text;
        return OK;
    }
    err e = json_parse(arena, text, NULL, &object, NULL);
    if (failed(e))
        return is_fault(e, &fault_out_of_memory) ? e : fail(&secret_not_json);
    if (!json_is(object, JSON_OBJECT))
        return fail(&secret_not_json);
    if (!wipe_all_later(arena, text, object))
        return fail(&fault_out_of_memory);
    const struct json_value *member = json_get_view(object, key);
    if (!json_is(member, JSON_STRING) && !json_is(member, JSON_NUMBER) &&
        !json_is(member, JSON_BOOL))
        return fail(&secret_no_member);
    *out = member->text;
    return OK;
}
