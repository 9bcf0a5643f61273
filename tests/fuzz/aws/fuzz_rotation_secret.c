/* Any bytes as a secret of RDS's format: refused, or a login that libpq may be given, and a next
 * version that differs in user and password alone and is read again. */
#include <stdint.h>
#include <string.h>

#include "aws/rotation.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_login(const struct rotation_login *l)
{
    ENSURE(l->host.len > 0 && l->host.len <= 253 && l->port != 0);
    ENSURE(memchr(l->host.data, ',', l->host.len) == NULL);
    ENSURE(memchr(l->host.data, '/', l->host.len) == NULL);
    ENSURE(l->username.len > 0 && l->username.len <= ROTATION_NAME_MAX);
    ENSURE(memchr(l->username.data, 0, l->username.len) == NULL);
    ENSURE(l->dbname.len > 0 && l->dbname.len <= ROTATION_NAME_MAX);
    ENSURE(l->password.len > 0 && memchr(l->password.data, 0, l->password.len) == NULL);
}

static void check_next(struct view secret, const struct rotation_login *now, struct arena *arena)
{
    struct rotation_login next;
    struct view other, back;
    struct buf out;

    if (failed(rotation_other_name(now->username, arena, &other)))
        return;
    ENSURE(other.len <= ROTATION_NAME_MAX && !view_eq(other, now->username));
    /* The pair's other's other is the first again. */
    if (!view_ends_with(now->username, VIEW("_clone")) &&
        !failed(rotation_other_name(other, arena, &back)))
        ENSURE(view_eq(back, now->username));
    buf_init(&out, 1 << 20);
    if (!failed(rotation_add_secret(secret, other, VIEW("new"), arena, &out))) {
        ENSURE(!failed(rotation_login_read(buf_view(&out), arena, &next)));
        ENSURE(view_eq(next.username, other) && view_is(next.password, "new"));
        ENSURE(rotation_same_place(now, &next) && view_eq(now->dbname, next.dbname));
        ENSURE(!failed(rotation_check_pending(now, &next, true, arena)));
        ENSURE(failed(rotation_check_pending(now, &next, false, arena)));
    }
    buf_clear_secure(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rotation_login login;
    struct arena arena;

    arena_init(&arena, 4096, 16 * 1024 * 1024);
    if (!failed(rotation_login_read(view_of(data, size), &arena, &login))) {
        check_login(&login);
        check_next(view_of(data, size), &login, &arena);
    }
    arena_clear_secure(&arena);
    return 0;
}
