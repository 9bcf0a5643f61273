#include "gateway/http_door.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "audit/event.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "gateway/pipeline.h"
#include "http/http.h"
#include "http/uri.h"
#include "net/stream.h"

enum {
    READ_BYTES = 16 * 1024,
    HEADERS_MAX = 100,           /* stops a head of many tiny headers */
    PIPELINED_MAX_BYTES = 64 * 1024, /* what a client may send ahead while a call runs */
    OUT_MAX_BYTES = 512 * 1024 * 1024, /* one answer is bounded by max_response_bytes */
    IN_MAX_BYTES = 256 * 1024,
    SOURCE_BYTES = 256,
    SEND_TIMEOUT_MS = 60000, /* a client that takes nothing of its answer for so long is closed */
    LINGER_MS = 5000, /* for how long what nobody wants is read, so that the answer arrives */
    NS_PER_MS = 1000000,
};

static const struct fault door_header_timeout = {
    "header_timeout", "the request's head did not come in time", "the request did not come in time",
    408};
static const struct fault door_body_timeout = {
    "body_timeout", "the request's body did not come in time", "the request did not come in time",
    408};

/*
 *   HANDSHAKE ─► HEAD ─► BODY ─► RUNNING ─► SENDING ─► HEAD …   or [LINGERING ─►] CLOSED
 * HEAD: waiting for, or reading, a request's head.  RUNNING: the pipeline has the call.
 * SENDING: the answer is queued; the next head is read when it has gone out.
 * LINGERING: the request was refused before all of it was read; to close a socket with bytes unread
 * resets the connection, and the answer could be lost (RFC 9112 section 9.6).
 */
enum client_state {
    CLIENT_HANDSHAKE,
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_RUNNING,
    CLIENT_SENDING,
    CLIENT_LINGERING,
};

struct http_client {
    struct stream stream;
    struct worker *worker;
    struct list link;
    enum client_state state;
    struct buf in;
    struct http_scan scan;
    /* The head of the request in hand, which the request and the call look into: apart from `in`,
     * which may move when more is read. */
    struct buf head;
    struct http_header *headers; /* HEADERS_MAX, while a request is in hand */
    struct http_request request;
    struct http_body decoder;
    struct buf body;
    struct call *call;
    bool keep_alive;
    bool linger; /* part of the request was not read */
    bool outcome_pending;
    int64_t deadline_ns; /* 0: none */
    struct address peer;
    char source[SOURCE_BYTES];
    size_t source_len;
};

static struct http_client *client_of(struct stream *s)
{
    return CONTAINER_OF(s, struct http_client, stream);
}

static void close_client(struct http_client *c)
{
    struct worker *w = c->worker;

    if (w->flushing == c)
        w->flushing = NULL;
    if (c->call != NULL) {
        struct call *call = c->call;
        c->call = NULL;
        call_abandon(call);
    }
    list_unlink(&c->link);
    stream_close(&c->stream);
    buf_clear(&c->in);
    buf_clear(&c->head);
    buf_clear(&c->body);
    free(c->headers);
    free(c);
    atomic_fetch_sub_explicit(&w->gateway->clients, 1, memory_order_relaxed);
    metric_add(w->metrics, w->gateway->client_connections, -1);
}

static void set_deadline(struct http_client *c, int64_t ms)
{
    c->deadline_ns = ms > 0 ? c->worker->now_ns + ms * NS_PER_MS : 0;
}

/* ---- Answers ---- */

static void send_answer(struct http_client *c, struct call *call)
{
    const struct answer *a = &call->answer;
    bool draining = atomic_load_explicit(&c->worker->gateway->draining, memory_order_relaxed);
    bool no_body = call->head || a->status == 204;

    if (draining)
        c->keep_alive = false;
    const struct http_response response = {
        .status = a->status,
        .framing = a->status == 204 ? HTTP_BARE : HTTP_LENGTH,
        .content_length = a->body.len,
        .connection = !c->keep_alive            ? HTTP_CONNECTION_CLOSE
                      : c->request.minor == 0 ? HTTP_CONNECTION_KEEP_ALIVE
                                              : HTTP_CONNECTION_DEFAULT,
        .date = view_of(c->worker->date, HTTP_DATE_BYTES - 1),
        .content_type = a->content_type,
        .headers = a->headers,
        .header_count = a->header_count,
    };
    err e = buf_failed(&a->body) ? fail(&fault_out_of_memory)
                                 : http_add_response_head(&c->stream.out, &response);
    if (failed(e)) {
        log_error("response_failed", "an answer could not be written",
                  LOG_STR("request_id", call->request_id), LOG_STR("reason", e.fault->text));
        c->keep_alive = false;
    } else if (!no_body) {
        buf_add_view(&c->stream.out, buf_view(&a->body));
    }
    c->outcome_pending |= call->outcome_pending;
    c->call = NULL;
    c->state = CLIENT_SENDING;
    set_deadline(c, SEND_TIMEOUT_MS);
    call_free(call);
    stream_queue(&c->stream);
}

static void on_answered(struct call *call)
{
    struct http_client *c = call->door;

    if (call->unrecorded)
        close_client(c);
    else
        send_answer(c, call);
}

/* A request that never became a call; its framing is lost, so the connection ends with it. */
static void refuse(struct http_client *c, err why)
{
    struct call *call = c->call != NULL ? c->call : call_new(c->worker, on_answered, c);

    c->keep_alive = false;
    c->linger = true;
    c->call = call;
    if (call == NULL) {
        close_client(c);
        return;
    }
    if (call->answer.header_count == 0) {
        call->answer.headers[0] =
            (struct http_header){VIEW("X-Request-Id"), view_str(call->request_id)};
        call->answer.header_count = 1;
    }
    pipeline_refuse(call, why);
    log_info("request_refused", why.fault->text, LOG_STR("request_id", call->request_id),
             LOG_STR("reason", why.fault->name));
    send_answer(c, call);
}

/* ---- Requests ---- */

static bool get_header(void *ctx, struct view name, struct view *value, bool *twice)
{
    const struct http_request *r = &((struct http_client *)ctx)->request;
    size_t found = 0;

    for (size_t i = 0; i < r->header_count; i++) {
        if (!view_eq_nocase(r->headers[i].name, name))
            continue;
        if (found++ == 0)
            *value = r->headers[i].value;
    }
    *twice = found > 1;
    return found > 0;
}

static void collect_headers(struct http_client *c, struct call_request *out)
{
    for (size_t i = 0; i < c->request.header_count; i++) {
        const struct http_header *h = &c->request.headers[i];
        switch (h->name.len) {
        case 11:
            if (view_eq_nocase(h->name, VIEW("traceparent")))
                out->traceparent = h->value;
            break;
        case 12:
            if (view_eq_nocase(h->name, VIEW("Content-Type")))
                out->content_type = h->value;
            break;
        case 13:
            if (view_eq_nocase(h->name, VIEW("Authorization"))) {
                out->authorization_twice = out->authorization.data != NULL;
                out->authorization = h->value;
            }
            break;
        case 14:
            if (view_eq_nocase(h->name, VIEW("Sallyport-Role"))) {
                out->named_role_twice = out->named_role.data != NULL;
                out->named_role = h->value;
            }
            break;
        case 15:
            if (view_eq_nocase(h->name, VIEW("X-Amzn-Trace-Id")))
                out->amzn_trace_id = h->value;
            break;
        default:
            break;
        }
    }
}

static bool has_parameter(void *ctx, struct view name)
{
    struct http_client *c = ctx;
    struct view rest = c->request.query, raw_name, raw_value, decoded;

    while (uri_query_next(&rest, &raw_name, &raw_value)) {
        if (!failed(uri_decode_query(&c->call->arena, raw_name, &decoded)) &&
            view_eq(decoded, name))
            return true;
    }
    return false;
}

static void find_peer(struct http_client *c)
{
    struct sockaddr_in6 from;
    struct sockaddr_in v4;

    stream_peer_address(&c->stream, &from);
    memcpy(&v4, &from, sizeof v4);
    if (from.sin6_family == AF_INET)
        c->peer = address_of(4, &v4.sin_addr);
    else
        c->peer = address_of(from.sin6_family == AF_INET6 ? 6 : 0, &from.sin6_addr);
}

static void describe_source(struct http_client *c)
{
    char address[STREAM_ADDRESS_BYTES];
    struct audit_source source = {.tls_version = {NULL, 0}};
    struct buf b;

    stream_peer(&c->stream, address);
    source.address = view_str(address);
    if (c->stream.ssl != NULL) {
        source.tls_version = view_str(tls_version(c->stream.ssl));
        source.tls_cipher = view_str(tls_cipher(c->stream.ssl));
    }
    buf_init(&b, SOURCE_BYTES);
    audit_render_source(&b, &source);
    if (!buf_failed(&b)) {
        memcpy(c->source, b.data, b.len);
        c->source_len = b.len;
    }
    buf_clear(&b);
}

/* The head is there: everything up to the body is decided before a byte of the body is kept.
 * True: now for the body.  False: answered, or the client is gone. */
static bool begin_call(struct http_client *c)
{
    struct worker *w = c->worker;
    struct call_request request = {
        .method = c->request.method,
        .path = c->request.path,
        .query = c->request.query,
        .headers = {get_header, c},
        .source = view_of(c->source, c->source_len),
        .peer = &c->peer,
        .has_parameter = has_parameter,
        .has_length = !c->request.chunked && http_header_count(&c->request, "Content-Length") > 0,
        .chunked = c->request.chunked,
        .expects = c->request.expect_continue,
        .content_length = c->request.content_length,
    };

    collect_headers(c, &request);
    c->keep_alive = c->request.keep_alive;
    c->call = call_new(w, on_answered, c);
    if (c->call == NULL) {
        close_client(c);
        return false;
    }
    if (!pipeline_admit(c->call, &request)) {
        /* A body that nobody wants is not read: the connection ends after the answer. */
        if (c->request.has_body) {
            c->keep_alive = false;
            c->linger = true;
        }
        send_answer(c, c->call);
        return false;
    }
    err e = http_body_init(&c->decoder, &c->request, pipeline_max_body(c->call));
    if (failed(e)) {
        refuse(c, e);
        return false;
    }
    buf_reset(&c->body);
    c->state = CLIENT_BODY;
    set_deadline(c, w->gateway->node->client_body_timeout_ms);
    if (c->request.expect_continue && c->in.len == 0) {
        buf_add_view(&c->stream.out, HTTP_CONTINUE);
        stream_queue(&c->stream);
    }
    return true;
}

/* What stands in `in` becomes `head`; what came after the head stays to be read. */
static bool keep_head(struct http_client *c, size_t head_bytes)
{
    struct buf spare = c->head;

    c->head = c->in;
    c->in = spare;
    buf_reset(&c->in);
    buf_add_view(&c->in, view_from(buf_view(&c->head), head_bytes));
    return !buf_failed(&c->in);
}

/* True: the head was taken and the body is next. */
static bool take_head(struct http_client *c)
{
    size_t consumed = 0;

    if (c->headers == NULL)
        c->headers = malloc(HEADERS_MAX * sizeof *c->headers);
    if (c->headers == NULL) {
        close_client(c);
        return false;
    }
    err e = http_parse_head(&c->scan, buf_view(&c->in), NULL, c->headers, HEADERS_MAX,
                            &c->request, &consumed);
    if (failed(e)) {
        refuse(c, e);
        return false;
    }
    if (consumed == 0)
        return false;
    c->scan = (struct http_scan){0};
    if (!keep_head(c, consumed)) {
        close_client(c);
        return false;
    }
    return begin_call(c);
}

static void take_body(struct http_client *c)
{
    size_t consumed = 0;
    bool done = false;

    err e = http_body_feed(&c->decoder, buf_view(&c->in), &consumed, &c->body, &done);
    if (failed(e) || buf_failed(&c->body)) {
        refuse(c, failed(e) ? e : fail(&http_body_too_large));
        return;
    }
    buf_consume(&c->in, consumed);
    if (!done)
        return;
    c->state = CLIENT_RUNNING;
    set_deadline(c, 0);
    if (!pipeline_run(c->call, buf_view(&c->body)))
        send_answer(c, c->call);
}

static void begin_lingering(struct http_client *c)
{
    c->state = CLIENT_LINGERING;
    stream_finish_sending(&c->stream);
    buf_reset(&c->in);
    buf_clear(&c->body);
    set_deadline(c, LINGER_MS);
    stream_want_read(&c->stream, true);
}

/* After an answer has gone out. */
static bool next_request(struct http_client *c)
{
    if (stream_unsent(&c->stream) > 0)
        return false;
    if (!c->keep_alive) {
        if (c->linger)
            begin_lingering(c);
        else
            close_client(c);
        return false;
    }
    if (c->in.len == 0) {
        /* Nothing of a request stays with an idle client. */
        buf_clear(&c->in);
        buf_clear(&c->head);
        buf_clear(&c->stream.out);
        free(c->headers);
        c->headers = NULL;
    }
    buf_clear(&c->body);
    c->state = CLIENT_HEAD;
    stream_want_read(&c->stream, true);
    set_deadline(c, c->in.len > 0 ? c->worker->gateway->node->client_header_timeout_ms
                                  : c->worker->gateway->node->keepalive_timeout_ms);
    return c->in.len > 0;
}

static void process(struct http_client *c)
{
    if (c->state == CLIENT_HEAD && (c->in.len == 0 || !take_head(c)))
        return;
    if (c->state == CLIENT_BODY)
        take_body(c);
}

/* ---- The stream's events ---- */

static void on_readable(struct stream *s)
{
    struct http_client *c = client_of(s);
    bool first = c->in.len == 0 && c->state == CLIENT_HEAD;
    err e = stream_read(s, &c->in, READ_BYTES);

    if (failed(e)) {
        /* Whoever closes while a call runs has left: there is nobody to answer. */
        close_client(c);
        return;
    }
    if (c->state == CLIENT_LINGERING) {
        buf_reset(&c->in);
        return;
    }
    if (first && c->in.len > 0)
        set_deadline(c, c->worker->gateway->node->client_header_timeout_ms);
    if ((c->state == CLIENT_RUNNING || c->state == CLIENT_SENDING) &&
        c->in.len > PIPELINED_MAX_BYTES) {
        stream_want_read(s, false);
        return;
    }
    process(c);
}

static void on_ready(struct stream *s)
{
    struct http_client *c = client_of(s);

    describe_source(c);
    find_peer(c);
    c->state = CLIENT_HEAD;
    set_deadline(c, c->worker->gateway->node->client_header_timeout_ms);
    stream_want_read(s, true);
}

static void on_failed(struct stream *s, err why)
{
    (void)why;
    close_client(client_of(s));
}

static const struct stream_ops client_ops = {
    .ready = on_ready, .readable = on_readable, .failed = on_failed};

/* ---- The worker's side ---- */

void http_door_accept(struct worker *w, int fd, bool tls)
{
    const struct node_config *node = w->gateway->node;
    struct http_client *c = NULL;

    if (atomic_fetch_add_explicit(&w->gateway->clients, 1, memory_order_relaxed) <
        node->max_connections)
        c = calloc(1, sizeof *c);
    if (c == NULL) {
        atomic_fetch_sub_explicit(&w->gateway->clients, 1, memory_order_relaxed);
        close(fd);
        return;
    }
    metric_add(w->metrics, w->gateway->client_connections, 1);
    c->worker = w;
    stream_init(&c->stream, &client_ops, OUT_MAX_BYTES);
    buf_init(&c->in, IN_MAX_BYTES);
    buf_init(&c->head, IN_MAX_BYTES);
    buf_init(&c->body, (size_t)node->client_max_body_size);
    list_init(&c->link);
    list_push_back(&w->clients, &c->link);
    set_deadline(c, node->client_header_timeout_ms);
    if (failed(stream_accept(&c->stream, &w->loop, &w->client_flush, fd))) {
        close_client(c);
        return;
    }
    if (!tls) {
        on_ready(&c->stream);
        return;
    }
    struct ssl_st *ssl = w->tls != NULL ? tls_server_new(w->tls) : NULL;
    if (ssl == NULL)
        close_client(c);
    else
        stream_start_tls(&c->stream, ssl, true);
}

static void flush_client(struct http_client *c)
{
    struct worker *w = c->worker;
    size_t unsent = stream_unsent(&c->stream);

    w->flushing = c;
    stream_flush(&c->stream);
    if (w->flushing != c)
        return; /* it failed and is gone */
    w->flushing = NULL;
    if (c->state == CLIENT_SENDING && stream_unsent(&c->stream) < unsent)
        set_deadline(c, SEND_TIMEOUT_MS);
    c->outcome_pending = false;
    if (c->state == CLIENT_SENDING && next_request(c))
        process(c);
}

void http_door_flush(struct worker *w, bool audit_ok)
{
    struct list batch;

    /* Whoever is queued meanwhile (a pipelined request, refused at once) waits for the next
     * round, which writes the audit first. */
    list_init(&batch);
    for (struct list *node; (node = list_pop_front(&w->client_flush)) != NULL;)
        list_push_back(&batch, node);
    for (struct list *node; (node = list_pop_front(&batch)) != NULL;) {
        struct http_client *c = client_of(LIST_ENTRY(node, struct stream, flush_link));
        if (!audit_ok && c->outcome_pending)
            list_push_back(&w->client_flush, node);
        else
            flush_client(c);
    }
}

static void time_out(struct http_client *c)
{
    switch (c->state) {
    case CLIENT_HEAD:
        if (c->in.len > 0)
            refuse(c, fail(&door_header_timeout));
        else
            close_client(c);
        break;
    case CLIENT_BODY:
        refuse(c, fail(&door_body_timeout));
        break;
    case CLIENT_HANDSHAKE:
    case CLIENT_SENDING:
    case CLIENT_LINGERING:
        close_client(c);
        break;
    case CLIENT_RUNNING:
        break;
    }
}

void http_door_tick(struct worker *w)
{
    LIST_EACH(node, &w->clients)
    {
        struct http_client *c = LIST_ENTRY(node, struct http_client, link);
        if (c->deadline_ns != 0 && w->now_ns > c->deadline_ns) {
            c->deadline_ns = 0;
            time_out(c);
        }
    }
}

void http_door_drain(struct worker *w)
{
    LIST_EACH(node, &w->clients)
    {
        struct http_client *c = LIST_ENTRY(node, struct http_client, link);
        if ((c->state == CLIENT_HEAD && c->in.len == 0) || c->state == CLIENT_HANDSHAKE ||
            c->state == CLIENT_LINGERING)
            close_client(c);
    }
}

void http_door_close_all(struct worker *w)
{
    while (!list_is_empty(&w->clients))
        close_client(LIST_ENTRY(w->clients.next, struct http_client, link));
}
