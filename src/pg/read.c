#include "pg/pg.h"
#include "pg/reader.h"

/* Bytes of a RowDescription's field besides its name: NUL, two OIDs, three Int16, one Int32. */
enum { FIELD_FIXED_BYTES = 19 };

static struct pg_field read_field(struct reader *r)
{
    struct pg_field f = {.name = read_string(r)};

    f.table_oid = read_be32(r);
    f.attribute = (int16_t)read_be16(r);
    f.type_oid = read_be32(r);
    f.type_size = (int16_t)read_be16(r);
    f.type_modifier = (int32_t)read_be32(r);
    f.format = read_be16(r);
    if (f.format > 1)
        r->failed = true;
    return f;
}

err pg_read_row_description(struct view body, struct arena *arena, const struct pg_field **fields,
                            size_t *count)
{
    struct reader r = {body, false};
    size_t n = read_be16(&r);

    /* What cannot be there is refused before memory is taken for it. */
    if (r.failed || n > PG_MAX_COLUMNS || n > r.left.len / FIELD_FIXED_BYTES)
        return fail(&pg_message_malformed);
    struct pg_field *list = ARENA_ARRAY(arena, n, struct pg_field);
    if (list == NULL)
        return fail(&fault_too_large);
    for (size_t i = 0; i < n && !r.failed; i++) {
        list[i] = read_field(&r);
        list[i].name = arena_copy(arena, list[i].name);
        if (list[i].name.data == NULL)
            return fail(&fault_too_large);
    }
    TRY(reader_end(&r));
    *fields = list;
    *count = n;
    return OK;
}

err pg_read_data_row(struct view body, struct view *values, size_t count)
{
    struct reader r = {body, false};

    if (read_be16(&r) != count)
        return fail(&pg_message_malformed);
    for (size_t i = 0; i < count; i++) {
        uint32_t len = read_be32(&r);
        /* CVE-2026-4427: -1 is NULL, every other negative length is an attack. */
        if (len == UINT32_MAX)
            values[i] = (struct view){NULL, 0};
        else
            values[i] = read_bytes(&r, len);
        if (r.failed)
            return fail(&pg_message_malformed);
    }
    return reader_end(&r);
}

/* Cuts a last word that is a number off the tag; false when its last word is not one. */
static bool cut_number(struct view *tag, struct view *digits)
{
    size_t at = tag->len;

    while (at > 0 && tag->data[at - 1] >= '0' && tag->data[at - 1] <= '9')
        at--;
    if (at == tag->len || at < 2 || tag->data[at - 1] != ' ')
        return false;
    *digits = view_from(*tag, at);
    *tag = view_upto(*tag, at - 1);
    return true;
}

err pg_read_command_complete(struct view body, struct completion *out)
{
    struct reader r = {body, false};
    struct view tag = read_string(&r), digits, oid;
    uint64_t rows = 0;

    TRY(reader_end(&r));
    if (tag.len == 0)
        return fail(&pg_message_malformed);
    if (cut_number(&tag, &digits)) {
        if (!view_to_u64(digits, UINT64_MAX, &rows))
            return fail(&pg_message_malformed);
        (void)cut_number(&tag, &oid); /* "INSERT 0 5": an OID that is always 0 */
    }
    *out = (struct completion){tag, rows};
    return OK;
}

static void set_sqlstate(struct database_error *e, struct view code)
{
    if (code.len != 5)
        return;
    for (size_t i = 0; i < 5; i++) {
        char c = code.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z'))
            return;
    }
    memcpy(e->sqlstate, code.data, 5);
}

static void set_error_field(struct database_error *e, bool *fatal, char type, struct view text)
{
    uint64_t position;

    switch (type) {
    case 'C':
        set_sqlstate(e, text);
        break;
    case 'M':
        e->message = text;
        break;
    case 'D':
        e->detail = text;
        break;
    case 'H':
        e->hint = text;
        break;
    case 'P':
        if (view_to_u64(text, UINT32_MAX, &position))
            e->position = (uint32_t)position;
        break;
    case 'V': /* the severity that is never translated */
        *fatal = view_is(text, "FATAL") || view_is(text, "PANIC");
        break;
    default:
        break;
    }
}

err pg_read_error(struct view body, struct database_error *out, bool *fatal)
{
    struct reader r = {body, false};
    struct database_error e = {.sqlstate = "XX000"};
    bool is_fatal = false;

    for (char type; (type = (char)read_u8(&r)) != '\0';)
        set_error_field(&e, &is_fatal, type, read_string(&r));
    TRY(reader_end(&r));
    *out = e;
    if (fatal != NULL)
        *fatal = is_fatal;
    return OK;
}

static struct view copy_text(struct arena *arena, struct view text)
{
    return text.data == NULL ? text : arena_copy(arena, text);
}

struct database_error pg_copy_error(struct arena *arena, const struct database_error *error)
{
    struct database_error copy = *error;

    copy.message = copy_text(arena, error->message);
    copy.detail = copy_text(arena, error->detail);
    copy.hint = copy_text(arena, error->hint);
    return copy;
}

err pg_read_parameter_status(struct view body, struct pg_setting *out)
{
    struct reader r = {body, false};
    struct pg_setting s = {.name = read_string(&r)};

    s.value = read_string(&r);
    TRY(reader_end(&r));
    if (s.name.len == 0)
        return fail(&pg_message_malformed);
    *out = s;
    return OK;
}

err pg_read_backend_key_data(struct view body, uint32_t *pid, uint32_t *key)
{
    struct reader r = {body, false};

    *pid = read_be32(&r);
    *key = read_be32(&r);
    return reader_end(&r);
}

err pg_read_ready_for_query(struct view body, char *status)
{
    struct reader r = {body, false};

    *status = (char)read_u8(&r);
    TRY(reader_end(&r));
    return *status == 'I' || *status == 'T' || *status == 'E' ? OK : fail(&pg_message_malformed);
}

err pg_read_parameter_description(struct view body, struct arena *arena, const uint32_t **oids,
                                  size_t *count)
{
    struct reader r = {body, false};
    size_t n = read_be16(&r);

    if (r.failed || r.left.len != n * sizeof(uint32_t))
        return fail(&pg_message_malformed);
    uint32_t *list = ARENA_ARRAY(arena, n, uint32_t);
    if (list == NULL)
        return fail(&fault_too_large);
    for (size_t i = 0; i < n; i++)
        list[i] = read_be32(&r);
    *oids = list;
    *count = n;
    return reader_end(&r);
}

err pg_read_negotiate_protocol_version(struct view body, uint32_t *minor, uint32_t *unknown_options)
{
    struct reader r = {body, false};

    *minor = read_be32(&r);
    *unknown_options = read_be32(&r);
    /* A false count ends the loop at the end of the body. */
    for (uint32_t i = 0; i < *unknown_options && !r.failed; i++)
        (void)read_string(&r);
    return reader_end(&r);
}

err pg_read_empty(struct view body)
{
    return body.len == 0 ? OK : fail(&pg_message_malformed);
}

err pg_read_authentication(struct view body, uint32_t *code, struct view *data)
{
    struct reader r = {body, false};

    *code = read_be32(&r);
    *data = r.left;
    if (r.failed)
        return fail(&pg_message_malformed);
    if (*code == PG_AUTH_OK || *code == PG_AUTH_CLEARTEXT)
        return reader_end(&r);
    return OK;
}

err pg_read_sasl_mechanism(struct view *rest, struct view *name)
{
    struct reader r = {*rest, false};

    *name = read_string(&r);
    if (r.failed)
        return fail(&pg_message_malformed);
    *rest = r.left;
    if (name->len > 0)
        return OK;
    *name = (struct view){NULL, 0};
    return reader_end(&r);
}
