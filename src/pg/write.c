#include "pg/pg.h"

/* One message while it is written.  A part that cannot be said marks the buffer failed, and
 * message_end then takes back what was already there: the buffer holds whole messages only. */
struct message {
    struct buf *out;
    size_t start;     /* of the message in out */
    size_t length_at; /* of its length field */
    size_t max_length;
};

static struct message message_begin(struct buf *out, char type)
{
    struct message m = {out, out->len, out->len + 1, PG_MAX_MESSAGE_LENGTH};

    buf_add_char(out, type);
    buf_add_be32(out, 0);
    return m;
}

/* The messages that open a connection have no type. */
static struct message opening_begin(struct buf *out)
{
    struct message m = {out, out->len, out->len, PG_MAX_STARTUP_BYTES};

    buf_add_be32(out, 0);
    return m;
}

static void message_end(struct message *m)
{
    size_t length = m->out->len - m->length_at;

    if (length > m->max_length)
        m->out->failed = true;
    if (m->out->failed)
        buf_truncate(m->out, m->start);
    else
        buf_set_be32(m->out, m->length_at, (uint32_t)length);
}

/* Judged before anything is copied, so that a huge part costs nothing. */
static void put_bytes(struct message *m, struct view v)
{
    size_t used = m->out->failed ? 0 : m->out->len - m->length_at;

    if (used > m->max_length || v.len > m->max_length - used)
        m->out->failed = true;
    buf_add_view(m->out, v);
}

static void put_string(struct message *m, struct view v)
{
    if (view_find(v, '\0') != v.len)
        m->out->failed = true;
    put_bytes(m, v);
    buf_add_char(m->out, '\0');
}

static void put_count(struct message *m, size_t count)
{
    if (count > PG_MAX_PARAMETERS)
        m->out->failed = true;
    buf_add_be16(m->out, (uint16_t)count);
}

/* An Int32 length and that many bytes; data == NULL is the length -1, SQL NULL. */
static void put_value(struct message *m, struct view v)
{
    buf_add_be32(m->out, v.data == NULL ? UINT32_MAX : (uint32_t)v.len);
    if (v.data != NULL)
        put_bytes(m, v);
}

static void add_empty(struct buf *b, char type)
{
    struct message m = message_begin(b, type);
    message_end(&m);
}

void pg_add_ssl_request(struct buf *b)
{
    struct message m = opening_begin(b);
    buf_add_be32(b, PG_SSL_CODE);
    message_end(&m);
}

void pg_add_cancel(struct buf *b, uint32_t pid, uint32_t key)
{
    struct message m = opening_begin(b);
    buf_add_be32(b, PG_CANCEL_CODE);
    buf_add_be32(b, pid);
    buf_add_be32(b, key);
    message_end(&m);
}

void pg_add_startup(struct buf *b, const struct pg_setting *settings, size_t count)
{
    struct message m = opening_begin(b);

    buf_add_be32(b, PG_PROTOCOL_3_0);
    for (size_t i = 0; i < count; i++) {
        if (settings[i].name.len == 0)
            b->failed = true;
        put_string(&m, settings[i].name);
        put_string(&m, settings[i].value);
    }
    buf_add_char(b, '\0');
    message_end(&m);
}

void pg_add_password(struct buf *b, struct view password)
{
    struct message m = message_begin(b, PG_PASSWORD);
    put_string(&m, password);
    message_end(&m);
}

void pg_add_sasl_initial(struct buf *b, struct view mechanism, struct view data)
{
    struct message m = message_begin(b, PG_PASSWORD);
    put_string(&m, mechanism);
    put_value(&m, data);
    message_end(&m);
}

void pg_add_sasl_response(struct buf *b, struct view data)
{
    struct message m = message_begin(b, PG_PASSWORD);
    put_bytes(&m, data);
    message_end(&m);
}

void pg_add_query(struct buf *b, struct view sql)
{
    struct message m = message_begin(b, PG_QUERY);
    put_string(&m, sql);
    message_end(&m);
}

void pg_add_parse(struct buf *b, struct view name, struct view sql, const uint32_t *oids,
                  size_t count)
{
    struct message m = message_begin(b, PG_PARSE);

    put_string(&m, name);
    put_string(&m, sql);
    put_count(&m, count);
    for (size_t i = 0; i < count && !buf_failed(b); i++)
        buf_add_be32(b, oids[i]);
    message_end(&m);
}

void pg_add_bind(struct buf *b, struct view portal, struct view statement,
                 const struct view *parameters, size_t count)
{
    struct message m = message_begin(b, PG_BIND);

    put_string(&m, portal);
    put_string(&m, statement);
    buf_add_be16(b, 0); /* no parameter format codes: all are text */
    put_count(&m, count);
    for (size_t i = 0; i < count && !buf_failed(b); i++)
        put_value(&m, parameters[i]);
    buf_add_be16(b, 0); /* no result format codes: all are text */
    message_end(&m);
}

static void add_target(struct buf *b, char type, enum pg_target target, struct view name)
{
    struct message m = message_begin(b, type);
    buf_add_char(b, (char)target);
    put_string(&m, name);
    message_end(&m);
}

void pg_add_describe(struct buf *b, enum pg_target target, struct view name)
{
    add_target(b, PG_DESCRIBE, target, name);
}

void pg_add_close(struct buf *b, enum pg_target target, struct view name)
{
    add_target(b, PG_CLOSE, target, name);
}

void pg_add_execute(struct buf *b, struct view portal, uint32_t max_rows)
{
    struct message m = message_begin(b, PG_EXECUTE);

    if (max_rows > INT32_MAX)
        b->failed = true;
    put_string(&m, portal);
    buf_add_be32(b, max_rows);
    message_end(&m);
}

void pg_add_flush(struct buf *b)
{
    add_empty(b, PG_FLUSH);
}

void pg_add_sync(struct buf *b)
{
    add_empty(b, PG_SYNC);
}

void pg_add_terminate(struct buf *b)
{
    add_empty(b, PG_TERMINATE);
}
