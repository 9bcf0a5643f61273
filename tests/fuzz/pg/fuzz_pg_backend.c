/* The bytes as a stream of the server: frames, and each one's body through its reader. */
#include "base/log.h"
#include "pg/pg.h"

enum { MAX_FRAME_BYTES = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A view of an output lies within its input. */
static void within(struct view v, struct view whole)
{
    if (v.data != NULL)
        ENSURE(v.data >= whole.data && v.data + v.len <= whole.data + whole.len);
}

static void read_error(struct view body)
{
    struct database_error e;
    bool fatal;

    if (failed(pg_read_error(body, &e, &fatal)))
        return;
    ENSURE(strlen(e.sqlstate) == 5);
    within(e.message, body);
    within(e.detail, body);
    within(e.hint, body);
}

static void read_rows(struct view body, size_t *columns)
{
    struct view values[16];

    if (*columns > COUNT_OF(values))
        *columns = COUNT_OF(values);
    /* Both with the described number of columns and with the row's own. */
    if (body.len >= 2 && body.data[0] == 0 && body.data[1] <= 16 && body.data[1] >= 0)
        *columns = (size_t)body.data[1];
    if (failed(pg_read_data_row(body, values, *columns)))
        return;
    for (size_t i = 0; i < *columns; i++)
        within(values[i], body);
}

static void read_authentication(struct view body)
{
    uint32_t code;
    struct view data, name;

    if (failed(pg_read_authentication(body, &code, &data)) || code != PG_AUTH_SASL)
        return;
    while (!failed(pg_read_sasl_mechanism(&data, &name)) && name.data != NULL)
        within(name, body);
}

static void read_small(char type, struct view body)
{
    struct completion completion;
    struct pg_setting setting;
    uint32_t one, two;
    char status;

    if (type == PG_COMMAND_COMPLETE && !failed(pg_read_command_complete(body, &completion)))
        within(completion.command, body);
    if (type == PG_PARAMETER_STATUS && !failed(pg_read_parameter_status(body, &setting))) {
        within(setting.name, body);
        within(setting.value, body);
    }
    if (type == PG_BACKEND_KEY_DATA)
        ENSURE(failed(pg_read_backend_key_data(body, &one, &two)) == (body.len != 8));
    if (type == PG_READY_FOR_QUERY && !failed(pg_read_ready_for_query(body, &status)))
        ENSURE(status == 'I' || status == 'T' || status == 'E');
    if (type == PG_NEGOTIATE_PROTOCOL_VERSION)
        (void)!failed(pg_read_negotiate_protocol_version(body, &one, &two));
}

static void read_message(const struct pg_frame *f, struct arena *arena, size_t *columns)
{
    const struct pg_field *fields;
    const uint32_t *oids;
    size_t count;

    switch (f->type) {
    case PG_ROW_DESCRIPTION:
        if (!failed(pg_read_row_description(f->body, arena, &fields, &count))) {
            ENSURE(count <= PG_MAX_COLUMNS);
            *columns = count;
        }
        break;
    case PG_DATA_ROW:
        read_rows(f->body, columns);
        break;
    case PG_PARAMETER_DESCRIPTION:
        if (!failed(pg_read_parameter_description(f->body, arena, &oids, &count)))
            ENSURE(f->body.len == 2 + count * 4);
        break;
    case PG_ERROR_RESPONSE:
    case PG_NOTICE_RESPONSE:
        read_error(f->body);
        break;
    case PG_AUTHENTICATION:
        read_authentication(f->body);
        break;
    default:
        read_small(f->type, f->body);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = view_of(data, size);
    struct pg_frame f;
    struct arena arena;
    size_t columns = 0;
    bool complete;

    arena_init(&arena, 4096, 1 << 20);
    while (!failed(pg_frame_next(in, MAX_FRAME_BYTES, &f, &complete)) && complete) {
        ENSURE(f.size == f.body.len + 5 && f.size <= in.len);
        read_message(&f, &arena, &columns);
        in = view_from(in, f.size);
    }
    (void)!failed(pg_read_ssl_answer(in, &complete));
    arena_clear(&arena);
    return 0;
}
