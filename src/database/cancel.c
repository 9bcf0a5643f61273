#include "database/cancel.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/tls.h"
#include "net/net.h"
#include "net/stream.h"
#include "pg/pg.h"

enum { OUT_BYTES = 1024, IN_BYTES = 1024, NAME_BYTES = 256 };

enum cancel_stage {
    CANCEL_CONNECTING,
    CANCEL_ASKING_TLS,
    CANCEL_HANDSHAKING,
    CANCEL_SENT,
    CANCEL_ENDED,
};

struct cancel {
    struct cancel_options o;
    struct stream stream;
    struct buf in;
    uv_timer_t timer;
    enum cancel_stage stage;
};

static struct cancel *cancel_of(struct stream *s)
{
    return CONTAINER_OF(s, struct cancel, stream);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct cancel, timer));
}

static void finish(struct cancel *c, bool sent)
{
    if (c->stage == CANCEL_ENDED)
        return;
    c->stage = CANCEL_ENDED;
    stream_close(&c->stream);
    buf_clear(&c->in);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    c->o.done(c->o.arg, sent);
}

static void send_request(struct cancel *c)
{
    c->stage = CANCEL_SENT;
    pg_add_cancel(&c->stream.out, c->o.pid, c->o.key);
    stream_queue(&c->stream);
}

static void on_connected(struct stream *s)
{
    struct cancel *c = cancel_of(s);

    stream_want_read(s, true);
    if (c->o.broker->tls == NULL) {
        send_request(c);
        return;
    }
    c->stage = CANCEL_ASKING_TLS;
    pg_add_ssl_request(&s->out);
    stream_queue(s);
}

static void on_ready(struct stream *s)
{
    send_request(cancel_of(s));
}

static err start_tls(struct cancel *c)
{
    const struct endpoint *e = c->o.endpoint;
    struct view name = endpoint_tls_name(e);
    struct ssl_st *ssl = NULL;
    char host[NAME_BYTES];
    bool complete = false;

    TRY(pg_read_ssl_answer(buf_view(&c->in), &complete));
    if (!complete)
        return OK;
    buf_reset(&c->in);
    if (name.len >= sizeof host)
        return fail(&tls_host_malformed);
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    TRY(tls_client_new(c->o.broker->tls, host, e->sslmode == SSLMODE_VERIFY_FULL, &ssl));
    c->stage = CANCEL_HANDSHAKING;
    stream_start_tls(&c->stream, ssl, false);
    return OK;
}

static void on_readable(struct stream *s)
{
    struct cancel *c = cancel_of(s);
    err end = stream_read(s, &c->in, IN_BYTES / 2);

    if (c->stage == CANCEL_ASKING_TLS && !failed(end)) {
        if (failed(start_tls(c)))
            finish(c, false);
        return;
    }
    /* The server answers nothing; its close is the sign that the signal went out. */
    if (failed(end))
        finish(c, c->stage == CANCEL_SENT && stream_unsent(s) == 0);
    else if (c->in.len > 0)
        finish(c, false);
}

static void on_failed(struct stream *s, err why)
{
    (void)why;
    finish(cancel_of(s), false);
}

static void on_timeout(uv_timer_t *timer)
{
    finish(CONTAINER_OF(timer, struct cancel, timer), false);
}

static const struct stream_ops cancel_stream_ops = {
    .connected = on_connected, .ready = on_ready, .readable = on_readable, .failed = on_failed};

err cancel_start(const struct cancel_options *options, struct cancel **out)
{
    struct cancel *c = calloc(1, sizeof *c);

    if (c == NULL)
        return fail(&fault_out_of_memory);
    c->o = *options;
    stream_init(&c->stream, &cancel_stream_ops, OUT_BYTES);
    buf_init(&c->in, IN_BYTES);
    err e = stream_connect(&c->stream, options->loop, options->flush_list,
                           (const struct sockaddr *)&c->o.address);
    if (failed(e)) {
        free(c);
        return e;
    }
    ENSURE(uv_timer_init(options->loop, &c->timer) == 0);
    uv_timer_start(&c->timer, on_timeout, (uint64_t)options->timeout_ms, 0);
    *out = c;
    return OK;
}

void cancel_abort(struct cancel *c)
{
    finish(c, false);
}
