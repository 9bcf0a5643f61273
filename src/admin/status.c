#include "admin/status.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/status_page.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "http/http.h"

enum {
    REQUEST_LINE_MAX = 4096,
    HEAD_MAX = 8192,
    HEADERS_MAX = 64,
    READ_BYTES = 4096,
    INPUT_MAX = HEAD_MAX + READ_BYTES, /* reading stops while a request is answered */
    ANSWER_MAX = 64 * 1024 * 1024,     /* the metrics of some 30,000 routes */
    REPORT_MAX = 4 * 1024 * 1024,      /* what the source may put into the arena */
    LINGER_MS = 1000,
    BACKLOG = 128,
};

const struct fault status_not_loopback = {
    "status_not_loopback", "status_listen is plain and must stay on loopback", NULL, 0};
const struct fault status_tls_unsupported = {
    "status_tls_unsupported", "status_listen does not speak TLS yet", NULL, 0};
const struct fault status_bad_address = {
    "status_bad_address", "status_listen names no IP address", NULL, 0};
const struct fault status_bind_failed = {
    "status_bind_failed", "the address of status_listen could not be bound", NULL, 0};

/*
 *                    ┌──────────── answer sent ─────────────┐
 *                    ▼                                      │
 *   accept ───────► IDLE ──bytes──► READING ──request──► ANSWERING
 *                                      │                    │ answer sent, no keep-alive
 *                               (a malformed one            ▼
 *                                is answered too)        LINGERING ──EOF, LINGER_MS──► closed
 *
 * The timer runs in every state: STATUS_IDLE_MS while IDLE, STATUS_REQUEST_MS from a request's
 * first byte to the answer's last.  LINGERING reads and forgets, so that the kernel does not answer
 * unread bytes with a reset that takes our answer away (RFC 9112 section 9.6).
 */
enum client_state { CLIENT_IDLE, CLIENT_READING, CLIENT_ANSWERING, CLIENT_LINGERING };

struct client {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct list link; /* the server's clients, longest in their state first */
    struct status_server *server;
    enum client_state state;
    bool keep_alive;
    bool closing;
    int open_handles;
    struct http_scan scan;
    struct buf in;
    struct buf out;
};

struct listener {
    uv_tcp_t tcp;
    struct status_server *server;
    uint16_t port;
    bool open;
};

struct status_server {
    uv_loop_t *loop;
    struct status_source source;
    char *node_name; /* source.node_name */
    struct arena arena; /* for one report */
    struct list clients;
    size_t client_count;
    size_t listener_count;
    size_t open_listeners;
    char read_room[READ_BYTES];
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct listener listeners[];
};

/* The end of things. */

static void free_when_all_closed(struct status_server *s)
{
    if (!s->closing || s->client_count > 0 || s->open_listeners > 0)
        return;
    void (*closed)(void *arg) = s->closed;
    void *arg = s->closed_arg;
    arena_clear(&s->arena);
    free(s->node_name);
    free(s);
    if (closed != NULL)
        closed(arg);
}

static void on_client_handle_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    struct status_server *s = c->server;

    if (--c->open_handles > 0)
        return;
    buf_clear(&c->in);
    buf_clear(&c->out);
    free(c);
    s->client_count--;
    free_when_all_closed(s);
}

static void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    list_unlink(&c->link);
    uv_close((uv_handle_t *)&c->tcp, on_client_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_client_handle_closed);
}

static void on_time_over(uv_timer_t *timer)
{
    client_close(timer->data);
}

static void client_enter(struct client *c, enum client_state state)
{
    const uint64_t request_ms = (uint64_t)c->server->source.request_ms;
    const uint64_t allowed_ms[] = {
        [CLIENT_IDLE] = STATUS_IDLE_MS,
        [CLIENT_READING] = request_ms,
        [CLIENT_ANSWERING] = request_ms,
        [CLIENT_LINGERING] = LINGER_MS,
    };
    /* One allowance for a request and its answer. */
    if (!(c->state == CLIENT_READING && state == CLIENT_ANSWERING))
        uv_timer_start(&c->timer, on_time_over, allowed_ms[state], 0);
    c->state = state;
    list_unlink(&c->link);
    list_push_back(&c->server->clients, &c->link);
}

/* Answers. */

static void client_process(struct client *c);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->server->read_room, READ_BYTES);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status;
}

static void on_answered(uv_write_t *write, int status)
{
    struct client *c = write->data;

    if (c->closing)
        return;
    if (status != 0) {
        client_close(c);
        return;
    }
    buf_clear(&c->out);
    if (!c->keep_alive) {
        client_enter(c, CLIENT_LINGERING);
        if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0 ||
            uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0)
            client_close(c);
        return;
    }
    client_enter(c, CLIENT_IDLE);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0)
        client_close(c);
    else if (c->in.len > 0)
        client_process(c);
}

static err add_head(struct client *c, const struct status_answer *answer, size_t length, int minor)
{
    static const struct http_header headers[] = {{VIEW("Cache-Control"), VIEW("no-store")},
                                                 {VIEW("Allow"), VIEW("GET, HEAD")}};
    char date[HTTP_DATE_BYTES];

    http_format_date(time_wall_us() / 1000000, date);
    return http_add_response_head(
        &c->out, &(struct http_response){
                     .status = answer->status,
                     .framing = HTTP_LENGTH,
                     .content_length = length,
                     .connection = !c->keep_alive ? HTTP_CONNECTION_CLOSE
                                   : minor == 0   ? HTTP_CONNECTION_KEEP_ALIVE
                                                  : HTTP_CONNECTION_DEFAULT,
                     .date = view_str(date),
                     .content_type = answer->content_type,
                     .headers = headers,
                     .header_count = answer->allow_get ? 2 : 1,
                 });
}

static void send_answer(struct client *c, const struct status_answer *answer,
                        const struct buf *body, bool with_body, int minor)
{
    err e = add_head(c, answer, body->len, minor);

    if (with_body)
        buf_add_view(&c->out, buf_view(body));
    client_enter(c, CLIENT_ANSWERING);
    uv_read_stop((uv_stream_t *)&c->tcp);
    uv_buf_t out = uv_buf_init(c->out.data, (unsigned)c->out.len);
    c->write.data = c;
    if (failed(e) || buf_failed(&c->out) ||
        uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_answered) != 0)
        client_close(c);
}

static void answer_problem(struct client *c, int status, bool with_body, int minor)
{
    struct buf body;

    c->keep_alive = false;
    buf_init(&body, 1024);
    struct status_answer answer = status_problem(status, &body);
    send_answer(c, &answer, &body, with_body, minor);
    buf_clear(&body);
}

static void answer_request(struct client *c, const struct http_request *request)
{
    bool with_body = !view_is(request->method, "HEAD");
    struct buf body;

    /* No page takes a body, and one left unread would be taken for the next request. */
    if (request->has_body) {
        answer_problem(c, 413, with_body, request->minor);
        return;
    }
    c->keep_alive = request->keep_alive && !c->server->closing;
    buf_init(&body, ANSWER_MAX);
    struct status_answer answer =
        status_page(&c->server->source, &c->server->arena, request->method, request->path, &body);
    arena_reset(&c->server->arena);
    if (buf_failed(&body))
        answer_problem(c, 500, with_body, request->minor);
    else
        send_answer(c, &answer, &body, with_body, request->minor);
    buf_clear(&body);
}

/* Requests. */

static void client_process(struct client *c)
{
    static const struct http_limits limits = {REQUEST_LINE_MAX, HEAD_MAX};
    struct http_header headers[HEADERS_MAX];
    struct http_request request;
    size_t consumed = 0;

    if (c->state == CLIENT_IDLE)
        client_enter(c, CLIENT_READING);
    err e = http_parse_head(&c->scan, buf_view(&c->in), &limits, headers, HEADERS_MAX, &request,
                            &consumed);
    if (failed(e)) {
        answer_problem(c, e.fault->http_status, true, 1);
        return;
    }
    if (consumed == 0)
        return;
    answer_request(c, &request);
    buf_consume(&c->in, consumed);
    c->scan = (struct http_scan){0};
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;

    if (n < 0) {
        client_close(c);
        return;
    }
    if (n == 0 || c->state == CLIENT_LINGERING)
        return;
    buf_add(&c->in, buf->base, (size_t)n);
    if (buf_failed(&c->in))
        client_close(c);
    else
        client_process(c);
}

/* Connections. */

/* Room for one more client: takes that of the one idle for longest.  False when nobody is idle. */
static bool make_room(struct status_server *s)
{
    size_t open = 0;
    struct client *oldest_idle = NULL;

    LIST_EACH (node, &s->clients) {
        struct client *c = LIST_ENTRY(node, struct client, link);
        open++;
        if (oldest_idle == NULL && c->state == CLIENT_IDLE)
            oldest_idle = c;
    }
    if (open < STATUS_CONNECTIONS_MAX)
        return true;
    if (oldest_idle == NULL)
        return false;
    client_close(oldest_idle);
    return true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct listener *l = listener->data;
    struct status_server *s = l->server;
    struct client *c;

    if (status != 0 || (c = calloc(1, sizeof *c)) == NULL)
        return;
    bool room = make_room(s);
    c->server = s;
    c->tcp.data = c->timer.data = c;
    buf_init(&c->in, INPUT_MAX);
    buf_init(&c->out, ANSWER_MAX + HEAD_MAX);
    list_init(&c->link);
    uv_tcp_init(s->loop, &c->tcp);
    uv_timer_init(s->loop, &c->timer);
    c->open_handles = 2;
    s->client_count++;
    client_enter(c, CLIENT_IDLE);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || !room ||
        uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0)
        client_close(c);
}

/* The server. */

static err parse_address(struct view host, uint16_t port, struct sockaddr_storage *out)
{
    char text[INET6_ADDRSTRLEN];

    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = view_upto(view_from(host, 1), host.len - 2);
    if (view_eq_nocase(host, VIEW("localhost")))
        host = VIEW("127.0.0.1");
    if (host.len == 0 || host.len >= sizeof text)
        return fail(&status_bad_address);
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    bool loopback;
    if (uv_ip4_addr(text, port, in) == 0)
        loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    else if (uv_ip6_addr(text, port, in6) == 0)
        loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    else
        return fail(&status_bad_address);
    return loopback ? OK : fail(&status_not_loopback);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    l->server->open_listeners--;
    free_when_all_closed(l->server);
}

static uint16_t bound_port(const uv_tcp_t *tcp)
{
    struct sockaddr_storage name;
    int len = sizeof name;

    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&name, &len) != 0)
        return 0;
    return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                            : ((struct sockaddr_in *)&name)->sin_port);
}

static err open_listener(struct status_server *s, struct listener *l, const struct listen *where,
                         const char **why)
{
    struct sockaddr_storage address;
    int code;

    *why = NULL;
    if (where->tls)
        return fail(&status_tls_unsupported);
    TRY(parse_address(where->host, where->port, &address));
    uv_tcp_init(s->loop, &l->tcp);
    l->tcp.data = l;
    l->server = s;
    l->open = true;
    s->open_listeners++;
    if ((code = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0)) != 0 ||
        (code = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection)) != 0) {
        *why = uv_strerror(code);
        return fail(&status_bind_failed);
    }
    l->port = bound_port(&l->tcp);
    return OK;
}

err status_server_new(uv_loop_t *loop, struct listens listens, const struct status_source *source,
                      struct status_server **out, char *detail, size_t detail_bytes)
{
    struct status_server *s = calloc(1, sizeof *s + listens.count * sizeof s->listeners[0]);
    const char *why;

    if (s == NULL)
        return fail(&fault_out_of_memory);
    s->loop = loop;
    s->source = *source;
    if (source->node_name != NULL && (s->node_name = strdup(source->node_name)) == NULL) {
        free(s);
        return fail(&fault_out_of_memory);
    }
    s->source.node_name = s->node_name;
    if (s->source.request_ms <= 0)
        s->source.request_ms = STATUS_REQUEST_MS;
    s->listener_count = listens.count;
    arena_init(&s->arena, 16 * 1024, REPORT_MAX);
    list_init(&s->clients);
    for (size_t i = 0; i < listens.count; i++) {
        const struct listen *where = &listens.items[i];
        err e = open_listener(s, &s->listeners[i], where, &why);
        if (failed(e)) {
            if (detail != NULL)
                snprintf(detail, detail_bytes, "%.*s:%u: %s", VIEW_ARG(where->host), where->port,
                         why != NULL ? why : e.fault->text);
            status_server_close(s, NULL, NULL);
            return e;
        }
    }
    *out = s;
    return OK;
}

uint16_t status_server_port(const struct status_server *s, size_t index)
{
    ENSURE(index < s->listener_count);
    return s->listeners[index].port;
}

void status_server_close(struct status_server *s, void (*closed)(void *arg), void *arg)
{
    ENSURE(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].open)
            uv_close((uv_handle_t *)&s->listeners[i].tcp, on_listener_closed);
    }
    LIST_EACH (node, &s->clients)
        client_close(LIST_ENTRY(node, struct client, link));
    free_when_all_closed(s);
}
