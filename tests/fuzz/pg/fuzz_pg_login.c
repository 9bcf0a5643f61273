/* The first byte chooses the options and how the rest is cut; the rest is what the server says. */
#include "base/log.h"
#include "pg/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_CLEARTEXT = 1,
    FLAG_TRUST = 2,
    FLAG_BINDING = 4,
    FLAG_REQUIRE = 8,
    FLAG_PIECES = 16,
    FLAG_NO_PASSWORD = 32,
};

static struct pg_login *new_login(uint8_t flags)
{
    static const char binding[32];
    struct pg_login_options options = {
        .user = VIEW("app"),
        .database = VIEW("shop"),
        .password = VIEW("pencil"),
        .nonce = VIEW("clientnonce"),
        .allow_cleartext = (flags & FLAG_CLEARTEXT) != 0,
        .allow_trust = (flags & FLAG_TRUST) != 0,
    };

    if ((flags & FLAG_NO_PASSWORD) != 0)
        options.password = (struct view){NULL, 0};
    if ((flags & FLAG_BINDING) != 0) {
        options.channel_binding = view_of(binding, sizeof binding);
        options.require_channel_binding = (flags & FLAG_REQUIRE) != 0;
    }
    return pg_login_new(&options);
}

/* The password leaves in clear only when that was allowed. */
static void check_end(const struct pg_login *l, uint8_t flags, const struct buf *out)
{
    const char *method = pg_login_method(l);

    ENSURE(method != NULL);
    if (view_is(view_str(method), "trust"))
        ENSURE((flags & FLAG_TRUST) != 0);
    if (view_is(view_str(method), "cleartext"))
        ENSURE((flags & FLAG_CLEARTEXT) != 0);
    if ((flags & FLAG_REQUIRE) != 0 && (flags & FLAG_BINDING) != 0)
        ENSURE(view_is(view_str(method), "scram-sha-256-plus"));
    ENSURE(out->len <= out->max);
}

/* A server may ask for a million rounds of PBKDF2: right, but too slow to fuzz. */
static bool is_slow(struct view in)
{
    for (size_t i = 0; i + 6 < in.len; i++) {
        if (in.data[i] == 'i' && in.data[i + 1] == '=' && in.data[i + 6] >= '0')
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    bool done = false;

    if (size == 0)
        return 0;
    uint8_t flags = data[0];
    struct view in = view_of(data + 1, size - 1), given = {in.data, 0};
    if (is_slow(in))
        return 0;
    struct pg_login *l = new_login(flags);
    ENSURE(l != NULL);
    buf_init(&out, 256 * 1024);
    err e = pg_login_start(l, &out);
    while (!failed(e) && !done && given.data + given.len < in.data + in.len) {
        size_t consumed;
        given.len = (flags & FLAG_PIECES) != 0 ? given.len + 1
                                               : (size_t)(in.data + in.len - given.data);
        e = pg_login_feed(l, given, &consumed, &out, &done);
        ENSURE(consumed <= given.len);
        given = view_from(given, consumed);
    }
    if (done)
        check_end(l, flags, &out);
    ENSURE((pg_login_error(l) != NULL) == is_fault(e, &pg_login_refused));
    pg_login_free(l);
    buf_clear(&out);
    return 0;
}
