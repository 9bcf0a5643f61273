#include "config/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/secret.h"

static const char opening[] = "{vault://";

enum { VARIABLE_MAX_BYTES = 128, VALUE_MAX_BYTES = 64 << 10 };

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

static bool variable_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        bool inner = letter || (c >= '0' && c <= '9') || c == '-';
        if (i == 0 ? !letter : !inner)
            return false;
    }
    return name.len > 0 && name.len < VARIABLE_MAX_BYTES;
}

/* The variable of that very name; else, as Kong's env vault reads a name, in capitals and with _
 * in place of - (Kong, kong/vaults/env/init.lua). */
static const char *variable(const struct config_host *host, struct view name)
{
    char text[VARIABLE_MAX_BYTES];

    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    const char *value = host->variable(host, text);
    if (value != NULL)
        return value;
    for (char *c = text; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (*c == '-')
            *c = '_';
    }
    return host->variable(host, text);
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

bool reference_resolve(struct arena *arena, const struct config_host *host, struct view text,
                       struct view *out, char why[REFERENCE_WHY_BYTES])
{
    struct view backend;
    struct view inner = view_upto(view_from(text, sizeof opening - 1), text.len - sizeof opening);
    struct view name = view_cut(inner, '/', &backend);

    if (!view_is(backend, "env")) {
        snprintf(why, REFERENCE_WHY_BYTES,
                 "the vault '%.*s' is not supported by this version; 'env' is",
                 (int)view_upto(backend, 64).len, backend.data);
        return false;
    }
    if (!variable_name(name)) {
        snprintf(why, REFERENCE_WHY_BYTES,
                 "a reference must read {vault://env/NAME}, NAME being an environment variable");
        return false;
    }
    const char *value = variable(host, name);
    if (value == NULL) {
        snprintf(why, REFERENCE_WHY_BYTES, "the environment variable '%.*s' is not set",
                 VIEW_ARG(name));
        return false;
    }
    struct view found = view_str(value);
    if (found.len > VALUE_MAX_BYTES || !view_is_utf8(found)) {
        snprintf(why, REFERENCE_WHY_BYTES,
                 "the environment variable '%.*s' is too long or not UTF-8", VIEW_ARG(name));
        return false;
    }
    *out = reference_copy_secret(arena, found);
    if (out->data == NULL)
        snprintf(why, REFERENCE_WHY_BYTES, "there is not enough memory");
    return out->data != NULL;
}

static const char *system_variable(const struct config_host *host, const char *name)
{
    (void)host;
    return getenv(name);
}

static bool system_readable(const struct config_host *host, const char *path)
{
    (void)host;
    return access(path, R_OK) == 0;
}

const struct config_host config_system = {.variable = system_variable, .readable = system_readable};
