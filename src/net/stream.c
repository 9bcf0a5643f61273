#include "net/stream.h"

#include <errno.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

void stream_init(struct stream *s, const struct stream_ops *ops, size_t out_max_bytes)
{
    *s = (struct stream){.ops = ops, .fd = -1};
    buf_init(&s->out, out_max_bytes);
    list_init(&s->flush_link);
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Makes the poll handle wait for what the state needs, and only touches it when that changes. */
static void update_interest(struct stream *s)
{
    int want = 0;

    if (s->poll == NULL)
        return;
    switch (s->state) {
    case STREAM_CONNECTING:
        want = UV_WRITABLE;
        break;
    case STREAM_HANDSHAKING:
        want = s->write_blocked ? UV_WRITABLE : UV_READABLE;
        break;
    case STREAM_OPEN:
        /* A socket is nearly always writable: asking for that brings the next event at once. */
        want = (s->reading ? UV_READABLE : 0) |
               (s->write_blocked || s->read_wants_write || (s->reading && s->more) ? UV_WRITABLE
                                                                                   : 0);
        break;
    case STREAM_FAILED:
    case STREAM_CLOSED:
        break;
    }
    if (want == s->interest)
        return;
    s->interest = want;
    if (want == 0)
        uv_poll_stop(s->poll);
    else
        ENSURE(uv_poll_start(s->poll, want, on_poll) == 0);
}

static void fail_stream(struct stream *s, err why)
{
    if (s->state == STREAM_FAILED || s->state == STREAM_CLOSED)
        return;
    s->state = STREAM_FAILED;
    s->failure = why;
    update_interest(s);
    s->ops->failed(s, why);
}

static err join_loop(struct stream *s, uv_loop_t *loop, struct list *flush_list)
{
    s->poll = malloc(sizeof *s->poll);
    if (s->poll == NULL)
        return fail(&fault_out_of_memory);
    if (uv_poll_init(loop, s->poll, s->fd) != 0) {
        free(s->poll);
        s->poll = NULL;
        return fail(&net_system);
    }
    s->poll->data = s;
    s->loop = loop;
    s->flush_list = flush_list;
    s->interest = 0;
    return OK;
}

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

static void leave_loop(struct stream *s)
{
    list_unlink(&s->flush_link);
    if (s->poll != NULL) {
        s->poll->data = NULL;
        uv_close((uv_handle_t *)s->poll, free_poll);
    }
    s->poll = NULL;
    s->loop = NULL;
    s->flush_list = NULL;
    s->interest = 0;
}

static void set_no_delay(int fd)
{
    int on = 1;
    /* Each turn writes once; waiting to fill a segment would only add latency. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

err stream_accept(struct stream *s, uv_loop_t *loop, struct list *flush_list, int fd)
{
    s->fd = fd;
    set_no_delay(fd);
    TRY(join_loop(s, loop, flush_list));
    s->state = STREAM_OPEN;
    return OK;
}

err stream_connect(struct stream *s, uv_loop_t *loop, struct list *flush_list,
                   const struct sockaddr *address)
{
    socklen_t len = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                   : sizeof(struct sockaddr_in);
    int on = 1;

    s->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return fail(&net_system);
    set_no_delay(s->fd);
    (void)setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(s->fd, address, len) != 0 && errno != EINPROGRESS) {
        s->system_error = errno;
        close(s->fd);
        s->fd = -1;
        return fail(&net_connect);
    }
    err e = join_loop(s, loop, flush_list);
    if (failed(e)) {
        close(s->fd);
        s->fd = -1;
        return e;
    }
    s->state = STREAM_CONNECTING;
    update_interest(s);
    return OK;
}

static void finish_connect(struct stream *s)
{
    int why = 0;
    socklen_t len = sizeof why;

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0 || why != 0) {
        s->system_error = why != 0 ? why : errno;
        fail_stream(s, fail(&net_connect));
        return;
    }
    s->state = STREAM_OPEN;
    update_interest(s);
    s->ops->connected(s);
}

static void continue_handshake(struct stream *s)
{
    ERR_clear_error();
    int result = SSL_do_handshake(s->ssl);
    if (result == 1) {
        s->state = STREAM_OPEN;
        s->write_blocked = false;
        /* The first request often comes in the same segment as the end of the handshake. */
        s->more = SSL_has_pending(s->ssl);
        update_interest(s);
        s->ops->ready(s);
        return;
    }
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        s->write_blocked = false;
        break;
    case SSL_ERROR_WANT_WRITE:
        s->write_blocked = true;
        break;
    default:
        fail_stream(s, fail(&net_tls));
        return;
    }
    update_interest(s);
}

void stream_start_tls(struct stream *s, struct ssl_st *ssl, bool server)
{
    ENSURE(s->state == STREAM_OPEN && stream_unsent(s) == 0);
    s->ssl = ssl;
    s->state = STREAM_HANDSHAKING;
    /* One recv fetches all that is there, instead of one for each record's header and body. */
    SSL_set_read_ahead(ssl, 1);
    if (SSL_set_fd(ssl, s->fd) != 1) {
        fail_stream(s, fail(&fault_out_of_memory));
        return;
    }
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    continue_handshake(s);
}

void stream_want_read(struct stream *s, bool want)
{
    s->reading = want;
    update_interest(s);
}

static err read_plain(struct stream *s, struct buf *in, size_t limit)
{
    for (;;) {
        ssize_t n = recv(s->fd, in->data + in->len, limit, 0);
        if (n > 0) {
            in->len += (size_t)n;
            return OK;
        }
        if (n == 0)
            return fail(&net_closed);
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return OK;
        if (errno != EINTR)
            return fail(&net_reset);
    }
}

static err read_tls(struct stream *s, struct buf *in, size_t limit)
{
    size_t total = 0;

    s->read_wants_write = s->more = false;
    do {
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_read_ex(s->ssl, in->data + in->len, limit - total, &n);
        if (result == 1) {
            in->len += n;
            total += n;
            continue;
        }
        switch (SSL_get_error(s->ssl, result)) {
        case SSL_ERROR_WANT_READ:
            update_interest(s);
            return OK;
        case SSL_ERROR_WANT_WRITE:
            s->read_wants_write = true;
            update_interest(s);
            return OK;
        case SSL_ERROR_ZERO_RETURN:
            return total > 0 ? OK : fail(&net_closed);
        case SSL_ERROR_SYSCALL:
            return total > 0 ? OK : fail(&net_reset);
        default:
            return fail(&net_tls);
        }
        /* What OpenSSL has read ahead would not wake the poll handle, so it is taken now. */
    } while (total < limit && SSL_has_pending(s->ssl));
    s->more = SSL_has_pending(s->ssl);
    update_interest(s);
    return OK;
}

err stream_read(struct stream *s, struct buf *in, size_t limit)
{
    if (s->state == STREAM_FAILED)
        return s->failure;
    ENSURE(s->state == STREAM_OPEN);
    if (limit > in->max - in->len)
        limit = in->max - in->len;
    if (limit == 0)
        return fail(&fault_too_large);
    if (!buf_reserve(in, limit))
        return fail(&fault_out_of_memory);
    return s->ssl != NULL ? read_tls(s, in, limit) : read_plain(s, in, limit);
}

void stream_queue(struct stream *s)
{
    if (s->flush_list != NULL && s->flush_link.next == &s->flush_link)
        list_push_back(s->flush_list, &s->flush_link);
}

enum write_result { WROTE, WRITE_BLOCKED, WRITE_FAILED };

static enum write_result write_some(struct stream *s, size_t *written)
{
    const char *data = s->out.data + s->out_at;
    size_t len = stream_unsent(s);

    if (s->ssl != NULL) {
        ERR_clear_error();
        int result = SSL_write_ex(s->ssl, data, len, written);
        if (result == 1)
            return WROTE;
        int why = SSL_get_error(s->ssl, result);
        return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? WRITE_BLOCKED
                                                                         : WRITE_FAILED;
    }
    ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0) {
        *written = (size_t)n;
        return WROTE;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? WRITE_BLOCKED
                                                                     : WRITE_FAILED;
}

enum { KEPT_OUT_BYTES = 16 * 1024 };

void stream_flush(struct stream *s)
{
    list_unlink(&s->flush_link);
    if (s->state != STREAM_OPEN)
        return;
    if (buf_failed(&s->out)) {
        fail_stream(s, fail(&fault_too_large));
        return;
    }
    bool waited = s->write_blocked;
    s->write_blocked = false;
    while (stream_unsent(s) > 0) {
        size_t written = 0;
        enum write_result result = write_some(s, &written);
        if (result == WRITE_FAILED) {
            fail_stream(s, fail(&net_reset));
            return;
        }
        if (result == WRITE_BLOCKED) {
            s->write_blocked = true;
            break;
        }
        s->out_at += written;
    }
    if (stream_unsent(s) == 0) {
        s->out_at = 0;
        if (s->out.cap > KEPT_OUT_BYTES)
            buf_clear(&s->out);
        else
            buf_reset(&s->out);
    }
    update_interest(s);
    if (waited && !s->write_blocked && s->ops->drained != NULL)
        s->ops->drained(s);
}

void stream_flush_all(struct list *flush_list)
{
    struct list batch;

    list_init(&batch);
    for (struct list *node; (node = list_pop_front(flush_list)) != NULL;)
        list_push_back(&batch, node);
    for (struct list *node; (node = list_pop_front(&batch)) != NULL;)
        stream_flush(LIST_ENTRY(node, struct stream, flush_link));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct stream *s = poll->data;

    if (s == NULL)
        return;
    /* A refused connection too comes as a status; SO_ERROR knows more. */
    if (s->state == STREAM_CONNECTING) {
        finish_connect(s);
        return;
    }
    if (status < 0) {
        fail_stream(s, fail(&net_reset));
        return;
    }
    if (s->state == STREAM_HANDSHAKING) {
        continue_handshake(s);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && s->write_blocked)
        stream_queue(s);
    if ((events & UV_READABLE) != 0 || s->read_wants_write || (s->more && s->reading))
        s->ops->readable(s);
}

bool stream_is_settled(const struct stream *s)
{
    return s->state == STREAM_OPEN && stream_unsent(s) == 0 && !s->more;
}

void stream_detach(struct stream *s)
{
    ENSURE(stream_is_settled(s));
    leave_loop(s);
}

err stream_attach(struct stream *s, uv_loop_t *loop, struct list *flush_list)
{
    ENSURE(s->state == STREAM_OPEN && s->poll == NULL);
    TRY(join_loop(s, loop, flush_list));
    update_interest(s);
    return OK;
}

bool stream_is_quiet(const struct stream *s)
{
    char byte;

    if (s->state != STREAM_OPEN || (s->ssl != NULL && SSL_has_pending(s->ssl)))
        return false;
    ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void stream_finish_sending(struct stream *s)
{
    ENSURE(s->state == STREAM_OPEN && stream_unsent(s) == 0);
    if (s->ssl != NULL) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
    }
    (void)shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
    if (s->state == STREAM_CLOSED && s->fd < 0)
        return;
    if (s->ssl != NULL) {
        /* Says goodbye without waiting for the answer, and only when the session is sound. */
        if (s->state == STREAM_OPEN) {
            ERR_clear_error();
            (void)SSL_shutdown(s->ssl);
        }
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    leave_loop(s);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->state = STREAM_CLOSED;
    buf_clear_secure(&s->out);
    s->out_at = 0;
}

void stream_peer_address(const struct stream *s, struct sockaddr_in6 *out)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    memset(out, 0, sizeof *out);
    if (getpeername(s->fd, (struct sockaddr *)&address, &len) == 0 && len <= sizeof *out)
        memcpy(out, &address, len);
}

void stream_peer(const struct stream *s, char out[STREAM_ADDRESS_BYTES])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";

    out[0] = '\0';
    if (getpeername(s->fd, (struct sockaddr *)&address, &len) != 0)
        return;
    if (address.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(out, STREAM_ADDRESS_BYTES, "%s:%u", host, ntohs(in.sin_port));
    } else if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        snprintf(out, STREAM_ADDRESS_BYTES, "[%s]:%u", host, ntohs(in6.sin6_port));
    }
}
