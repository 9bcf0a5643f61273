#include "config/reference.h"

#include <stdio.h>

#include "base/attr.h"
#include "base/secret.h"
#include "config/rules.h"
#include "config/url.h"

static const char opening[] = "{vault://";

enum {
    VARIABLE_MAX_BYTES = 128,
    VALUE_MAX_BYTES = 64 << 10, /* as Secrets Manager's; a longer one is not a secret */
    FILE_BUFFER_BYTES = 2 * VALUE_MAX_BYTES + 1, /* a newline, and room to find the end */
    VERSION_MAX = 1000000,
    AWS_VERSION_MAX = 3,
    FILE_NAME_SHOWN_BYTES = 128,
};

size_t reference_length(struct view text)
{
    if (!view_starts_with(text, view_str(opening)))
        return 0;
    size_t end = view_find(text, '}');
    return end == text.len ? 0 : end + 1;
}

bool reference_is(struct view text)
{
    return text.len > 0 && reference_length(text) == text.len;
}

/* --- what a reference says --- */

/* Kong's rule for prefixes (kong/db/schema/entities/vaults.lua), a single letter let in too. */
static bool is_prefix(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool letter = c >= 'a' && c <= 'z';
        bool inner = letter || (c >= '0' && c <= '9') || c == '-';
        if (i == 0 ? !letter : !inner)
            return false;
    }
    return v.len > 0;
}

static const char *split_path(struct arena *arena, struct view path, struct secret_reference *out)
{
    struct view name = path, key = {NULL, 0}, part, rest = path;

    while (rest.data != NULL) {
        rest = view_cut(rest, '/', &part);
        if (part.len == 0)
            return "a reference must read {vault://PREFIX/NAME/KEY}, no part being empty; a '/' of "
                   "the name itself at its start is written %2F";
        if (rest.data == NULL && part.len < path.len) {
            key = part;
            name = view_upto(path, path.len - part.len - 1);
        }
    }
    if (!url_decode(arena, name, &out->name) ||
        (key.data != NULL && !url_decode(arena, key, &out->key)))
        return "the reference is not well encoded: %XX must be the bytes of a text in UTF-8";
    if (check_no_control(out->name) != NULL || check_no_control(out->key) != NULL)
        return "a reference must not hold control characters";
    return NULL;
}

const char *secret_reference_parse(struct arena *arena, struct view text,
                                   struct secret_reference *out)
{
    struct view inner, path, fragment;
    uint64_t version = 0;

    *out = (struct secret_reference){0};
    if (!reference_is(text))
        return "a reference must read {vault://PREFIX/NAME/KEY}";
    inner = view_upto(view_from(text, sizeof opening - 1), text.len - sizeof opening);
    fragment = view_cut(inner, '#', &inner);
    if (fragment.data != NULL && (!view_to_u64(fragment, VERSION_MAX, &version) || version == 0))
        return "the version after '#' must be a number from 1 on";
    if (view_find(inner, '?') < inner.len)
        return "a reference takes no settings after '?'; they stand in a vaults entity (a '?' of "
               "the name itself is written %3F)";
    path = view_cut(inner, '/', &out->prefix);
    if (path.data == NULL || !is_prefix(out->prefix))
        return "a reference must read {vault://PREFIX/NAME/KEY}, PREFIX being env, file, aws or a "
               "vault's prefix";
    out->version = (unsigned)version;
    return split_path(arena, path, out);
}

/* --- vaults --- */

const struct vault *vault_find(const struct vault *vaults, size_t count, struct view prefix)
{
    static const struct vault built_in[] = {
        {.prefix = VIEW("env"), .kind = VAULT_ENV},
        {.prefix = VIEW("file"), .kind = VAULT_FILE, .path_prefix = VIEW(VAULT_FILE_FOLDER)},
        {.prefix = VIEW("aws"),
         .kind = VAULT_AWS,
         .aws.role_session_name = VIEW(VAULT_SESSION_NAME),
         .resurrect_ttl_s = VAULT_RESURRECT_TTL_S},
    };

    for (size_t i = 0; i < count; i++) {
        if (view_eq(vaults[i].prefix, prefix))
            return &vaults[i];
    }
    for (size_t i = 0; i < COUNT_OF(built_in); i++) {
        if (view_eq(built_in[i].prefix, prefix))
            return &built_in[i];
    }
    return NULL;
}

static void wipe(void *data)
{
    struct view *secret = data;
    union {
        const char *read;
        char *write;
    } at = {secret->data};
    secret_wipe(at.write, secret->len);
}

struct view reference_copy_secret(struct arena *arena, struct view secret)
{
    struct view *kept = ARENA_NEW(arena, struct view);
    if (kept == NULL)
        return (struct view){NULL, 0};
    *kept = arena_copy(arena, secret);
    if (kept->data == NULL)
        return *kept;
    if (!arena_on_reset(arena, wipe, kept)) {
        wipe(kept);
        return (struct view){NULL, 0};
    }
    return *kept;
}

/* --- reading --- */

/* What one look-up works with. */
struct look_up {
    struct arena *arena;
    const struct config_host *host;
    const struct vault *vault;
    const struct secret_reference *reference;
    struct secret_answer *out;
};

static bool refuse(struct look_up *l, const char *text)
{
    snprintf(l->out->why, sizeof l->out->why, "%s", text);
    return false;
}

static bool keep(struct look_up *l, struct view value)
{
    l->out->value = reference_copy_secret(l->arena, value);
    return l->out->value.data != NULL || refuse(l, "there is not enough memory");
}

/* What ends at a NUL for one reader and not for another is no secret. */
static bool is_text(struct view v)
{
    return v.len <= VALUE_MAX_BYTES && view_is_utf8(v) && view_find(v, '\0') == v.len;
}

/* The value, or the member of it that the reference's key names. */
static bool take_value(struct look_up *l, struct view value, const char *what)
{
    struct buf member;

    if (!is_text(value)) {
        snprintf(l->out->why, sizeof l->out->why, "%s is too long or no text", what);
        return false;
    }
    if (l->reference->key.len == 0)
        return keep(l, value);
    if (l->host->json_member == NULL)
        return refuse(l, "a KEY, a member of a JSON object, cannot be looked up here");
    buf_init(&member, VALUE_MAX_BYTES);
    bool good = l->host->json_member(l->host, value, l->reference->key, &member) &&
                !buf_failed(&member) && is_text(buf_view(&member));
    if (!good)
        snprintf(l->out->why, sizeof l->out->why, "%s is no JSON object with the member '%.*s'",
                 what, VIEW_ARG(view_upto(l->reference->key, 64)));
    good = good && keep(l, buf_view(&member));
    buf_clear_secure(&member);
    return good;
}

static bool is_variable_name(struct view prefix, struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        bool inner = letter || (c >= '0' && c <= '9') || c == '-';
        if (i == 0 && prefix.len == 0 ? !letter : !inner)
            return false;
    }
    return name.len > 0 && prefix.len + name.len < VARIABLE_MAX_BYTES;
}

/* The variable of that very name; else, as Kong's env vault reads a name, in capitals and with _
 * in place of - (Kong, kong/vaults/env/init.lua). */
static const char *variable(const struct config_host *host, char *name)
{
    const char *value = host->variable(host, name);

    if (value != NULL)
        return value;
    for (char *c = name; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (*c == '-')
            *c = '_';
    }
    return host->variable(host, name);
}

static bool read_variable(struct look_up *l)
{
    struct view prefix = l->vault->path_prefix, name = l->reference->name;
    char text[VARIABLE_MAX_BYTES], what[VARIABLE_MAX_BYTES + 64];

    if (l->reference->version > 0)
        return refuse(l, "an environment variable has no versions; take the '#' off");
    if (!is_variable_name(prefix, name))
        return refuse(l, "a reference must read {vault://env/NAME}, NAME being an environment "
                         "variable");
    snprintf(text, sizeof text, "%.*s%.*s", VIEW_ARG(prefix), VIEW_ARG(name));
    snprintf(what, sizeof what, "the environment variable '%s'", text);
    const char *value = variable(l->host, text);
    if (value == NULL) {
        snprintf(l->out->why, sizeof l->out->why, "%s is not set", what);
        return false;
    }
    return take_value(l, view_str(value), what);
}

/* The last of a file's newlines is not the secret's, as with Docker's secrets. */
static struct view without_newline(struct view v)
{
    return view_ends_with(v, VIEW("\n")) ? view_upto(v, v.len - 1) : v;
}

static bool read_file(struct look_up *l)
{
    struct view folder = l->vault->path_prefix, name = l->reference->name;
    bool absolute = name.len > 0 && name.data[0] == '/';
    char what[FILE_NAME_SHOWN_BYTES + 64];
    bool open_to_all = false;
    struct buf text;

    if (l->reference->version > 0)
        return refuse(l, "a file has no versions; take the '#' off");
    if (l->host->file == NULL)
        return refuse(l, "files cannot be read here");
    struct view path = arena_printf(l->arena, "%.*s%s%.*s", absolute ? 0 : (int)folder.len,
                                    folder.data != NULL ? folder.data : "",
                                    absolute || folder.len == 0 ? "" : "/", VIEW_ARG(name));
    if (path.data == NULL)
        return refuse(l, "there is not enough memory");
    snprintf(what, sizeof what, "the file '%.*s'",
             VIEW_ARG(view_upto(path, FILE_NAME_SHOWN_BYTES)));
    buf_init(&text, FILE_BUFFER_BYTES);
    const char *wrong = l->host->file(l->host, path.data, &text, &open_to_all);
    bool good = wrong == NULL && take_value(l, without_newline(buf_view(&text)), what);
    if (wrong != NULL)
        snprintf(l->out->why, sizeof l->out->why, "%s cannot be read: %s", what, wrong);
    /* Docker and Kubernetes give every user of the container the folder's files. */
    l->out->open_to_all =
        open_to_all && !view_starts_with(path, VIEW(VAULT_FILE_FOLDER "/"));
    buf_clear_secure(&text);
    return good;
}

static bool ask_aws(struct look_up *l)
{
    struct view value = {NULL, 0};

    if (l->reference->version > AWS_VERSION_MAX)
        return refuse(l, "a secret of AWS has the versions 1 (AWSCURRENT), 2 (AWSPREVIOUS) and 3 "
                         "(AWSPENDING)");
    if (l->host->secret == NULL) {
        l->out->unread = l->host->leave_aws;
        return refuse(l, "secrets of AWS cannot be read here");
    }
    if (!l->host->secret(l->host, l->vault, l->reference, &value, &l->out->pending, l->out->why,
                         sizeof l->out->why))
        return false;
    if (!is_text(value))
        return refuse(l, "the secret is too long or no text");
    return keep(l, value);
}

bool secret_read(struct arena *arena, const struct config_host *host, const struct vault *vault,
                 const struct secret_reference *reference, struct secret_answer *out)
{
    struct look_up l = {arena, host, vault, reference, out};

    *out = (struct secret_answer){.pending = false};
    switch (vault->kind) {
    case VAULT_ENV:
        return read_variable(&l);
    case VAULT_FILE:
        return read_file(&l);
    case VAULT_AWS:
        return ask_aws(&l);
    }
    return refuse(&l, "there is no such vault");
}

bool secret_reference_find(struct arena *arena, const struct vault *vaults, size_t count,
                           struct view text, struct secret_reference *out,
                           const struct vault **vault, char why[SECRET_WHY_BYTES])
{
    const char *wrong = secret_reference_parse(arena, text, out);

    if (wrong != NULL) {
        snprintf(why, SECRET_WHY_BYTES, "%s", wrong);
        return false;
    }
    *vault = vault_find(vaults, count, out->prefix);
    if (*vault == NULL) {
        snprintf(why, SECRET_WHY_BYTES,
                 "there is no vault '%.*s': env, file and aws need no entity, others stand in "
                 "'vaults'",
                 VIEW_ARG(view_upto(out->prefix, 64)));
        return false;
    }
    if ((*vault)->kind == VAULT_FILE && out->key.data != NULL) {
        out->name = arena_printf(arena, "%.*s/%.*s", VIEW_ARG(out->name), VIEW_ARG(out->key));
        out->key = (struct view){NULL, 0};
        if (out->name.data == NULL)
            snprintf(why, SECRET_WHY_BYTES, "there is not enough memory");
    }
    return out->name.data != NULL;
}

bool reference_resolve(const struct reference_scope *scope, struct view text,
                       struct secret_answer *out)
{
    struct secret_reference reference;
    const struct vault *vault;

    *out = (struct secret_answer){.pending = false};
    if (!secret_reference_find(scope->arena, scope->vaults, scope->vault_count, text, &reference,
                               &vault, out->why))
        return false;
    if (vault->kind == VAULT_AWS && scope->without_aws) {
        snprintf(out->why, sizeof out->why,
                 "a vault's own settings may be references to env and file only");
        return false;
    }
    return secret_read(scope->arena, scope->host, vault, &reference, out);
}
