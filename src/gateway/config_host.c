#include "gateway/config_host.h"

#include "aws/secret_cache.h"
#include "json/json.h"
#include "store/keyring.h"

enum { BLOCK_BYTES = 4096, MAX_BYTES = 1 << 20 };

bool config_host_json_member(const struct config_host *host, struct view text, struct view key,
                             struct buf *out)
{
    const struct json_value *object;
    struct arena arena;
    struct view found;
    bool good;
    (void)host;

    arena_init(&arena, BLOCK_BYTES, MAX_BYTES);
    if (key.data == NULL) {
        good = !failed(json_parse(&arena, text, NULL, &object, NULL)) &&
               json_is(object, JSON_OBJECT);
    } else {
        good = !failed(secret_member(text, key, &arena, &found));
        if (good)
            buf_add_view(out, found);
    }
    arena_clear(&arena);
    return good;
}

static const char *variable(const struct config_host *host, const char *name)
{
    return config_system.variable(host, name);
}

static bool readable(const struct config_host *host, const char *path)
{
    return config_system.readable(host, path);
}

static const char *file(const struct config_host *host, const char *path, struct buf *out,
                        bool *open_to_all)
{
    return config_system.file(host, path, out, open_to_all);
}

static const char *key_file(const struct config_host *host, const char *path, struct buf *out)
{
    return config_system.key_file(host, path, out);
}

const struct config_host config_host_offline = {.variable = variable,
                                                .readable = readable,
                                                .file = file,
                                                .json_member = config_host_json_member,
                                                .key_file = key_file,
                                                .open_sealed = keyring_host_open,
                                                .leave_aws = true};
