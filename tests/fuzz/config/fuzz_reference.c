/* {vault://…}: refused with a reason, or taken apart so that its parts, put together again, say the
 * same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "config/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void add_encoded(struct buf *out, struct view v)
{
    for (size_t i = 0; i < v.len; i++)
        buf_printf(out, "%%%02x", (unsigned char)v.data[i]);
}

static void put_together(struct buf *out, const struct secret_reference *r)
{
    buf_printf(out, "{vault://%.*s/", VIEW_ARG(r->prefix));
    add_encoded(out, r->name);
    if (r->key.data != NULL) {
        buf_add_char(out, '/');
        add_encoded(out, r->key);
    }
    if (r->version > 0)
        buf_printf(out, "#%u", r->version);
    buf_add_char(out, '}');
}

static void check_parts(struct arena *arena, const struct secret_reference *r)
{
    struct secret_reference again;
    struct buf text;

    require(r->prefix.len > 0 && r->name.len > 0 && (r->key.data == NULL || r->key.len > 0));
    require(view_is_utf8(r->name) && view_is_utf8(r->key));
    require(memchr(r->name.data, '\0', r->name.len) == NULL);
    buf_init(&text, 1 << 20);
    put_together(&text, r);
    require(secret_reference_parse(arena, buf_view(&text), &again) == NULL);
    require(view_eq(again.prefix, r->prefix) && view_eq(again.name, r->name));
    require(view_eq(again.key, r->key) && again.version == r->version);
    buf_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view text = view_of(size > 0 ? (const char *)data : "", size);
    struct secret_reference r;
    const struct vault *vault;
    char why[SECRET_WHY_BYTES] = "";
    struct arena arena;

    if (size > 4096)
        return 0;
    arena_init(&arena, 4096, 1 << 20);
    require(reference_length(text) <= size);
    const char *wrong = secret_reference_parse(&arena, text, &r);
    require(wrong == NULL || *wrong != '\0');
    require(wrong != NULL || reference_is(text));
    if (wrong == NULL)
        check_parts(&arena, &r);
    if (!secret_reference_find(&arena, NULL, 0, text, &r, &vault, why))
        require(*why != '\0');
    else
        require(vault->kind != VAULT_FILE || r.key.data == NULL);
    arena_clear(&arena);
    return 0;
}
