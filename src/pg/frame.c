#include "pg/pg.h"
#include "pg/reader.h"

enum { HEADER_BYTES = 5, LENGTH_BYTES = 4 };

err pg_frame_next(struct view in, size_t max_bytes, struct pg_frame *out, bool *complete)
{
    *out = (struct pg_frame){0};
    *complete = false;
    if (in.len < HEADER_BYTES)
        return OK;
    uint32_t length = be32_at(in.data + 1);
    if (length < LENGTH_BYTES)
        return fail(&pg_message_malformed);
    if (length > PG_MAX_MESSAGE_LENGTH || (size_t)length + 1 > max_bytes)
        return fail(&pg_message_too_large);
    out->type = in.data[0];
    out->size = (size_t)length + 1;
    if (in.len < out->size)
        return OK;
    out->body = view_of(in.data + HEADER_BYTES, out->size - HEADER_BYTES);
    *complete = true;
    return OK;
}

err pg_read_ssl_answer(struct view in, bool *complete)
{
    *complete = in.len > 0;
    if (in.len == 0)
        return OK;
    if (in.data[0] != 'S')
        return fail(&pg_tls_refused);
    return in.len == 1 ? OK : fail(&pg_bytes_before_tls);
}
