/*
 * A byte stream over TCP, with or without TLS, on a libuv loop.
 *
 *   stream_connect ──► CONNECTING ──connected──► OPEN ◄── stream_accept
 *                                                │  ▲
 *                              stream_start_tls  ▼  │ ready
 *                                           HANDSHAKING
 *   any of them ──failed──► FAILED        every one ──stream_close──► CLOSED
 *
 * SSL_read and SSL_write stand straight on the socket.  Output collects in a buffer and goes out
 * when the owner of the flush list says so (stream_flush_all, once a turn of the loop), so that
 * one turn costs one write, and so that the audit can be written first.
 *
 * OpenSSL writes to the socket by write(2): the process must ignore SIGPIPE.
 *
 * The struct is embedded in its owner.  One thread at a time: stream_detach and stream_attach move
 * an open stream, with nothing unread or unsent, from one loop to another.
 */
#ifndef SALLYPORT_NET_STREAM_H
#define SALLYPORT_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

struct ssl_st;
struct sockaddr;
struct sockaddr_in6;

enum stream_state { STREAM_CLOSED, STREAM_CONNECTING, STREAM_HANDSHAKING, STREAM_OPEN, STREAM_FAILED };

struct stream;

/* Each callback may close the stream. */
struct stream_ops {
    void (*connected)(struct stream *s); /* after stream_connect; may be NULL without it */
    void (*ready)(struct stream *s);     /* the TLS handshake is done; may be NULL without TLS */
    void (*readable)(struct stream *s);  /* stream_read will give something, or fail */
    void (*drained)(struct stream *s);   /* output that had to wait has all gone out; may be NULL */
    void (*failed)(struct stream *s, err why); /* of connecting, handshaking or flushing */
};

struct stream {
    const struct stream_ops *ops;
    uv_loop_t *loop;
    uv_poll_t *poll; /* on the heap: libuv needs it a little longer than we do */
    int fd;
    struct ssl_st *ssl;
    enum stream_state state;
    err failure;
    int system_error; /* errno's number, with net_connect; else 0 */
    int interest; /* what the poll handle waits for now */
    bool reading; /* the owner wants readable */
    bool write_blocked;
    bool read_wants_write;
    bool more; /* OpenSSL holds bytes already, so the socket may stay silent about them */
    struct buf out;
    size_t out_at; /* what of `out` the kernel has taken */
    struct list *flush_list;
    struct list flush_link;
};

/* The zero state; out_max_bytes bounds what may wait to be sent. */
void stream_init(struct stream *s, const struct stream_ops *ops, size_t out_max_bytes);
/* Takes over a connected socket.  The stream does not read until stream_want_read. */
err stream_accept(struct stream *s, uv_loop_t *loop, struct list *flush_list, int fd) MUST_USE;
err stream_connect(struct stream *s, uv_loop_t *loop, struct list *flush_list,
                   const struct sockaddr *address) MUST_USE;
/* Begins TLS on an open stream; owns ssl from now on.  server: accept, else connect. */
void stream_start_tls(struct stream *s, struct ssl_st *ssl, bool server);
void stream_want_read(struct stream *s, bool want);

/* Appends what can be read without waiting to `in`, at most limit bytes at once.
 * OK with nothing appended means "not now"; net_closed is the orderly end. */
err stream_read(struct stream *s, struct buf *in, size_t limit) MUST_USE;

/* Output: append to s->out, then stream_queue(s). */
void stream_queue(struct stream *s);
/* Sends what is queued on every stream of the list. */
void stream_flush_all(struct list *flush_list);
/* Sends what is queued on this one. */
void stream_flush(struct stream *s);

static inline size_t stream_unsent(const struct stream *s)
{
    return s->out.len - s->out_at;
}

/* Open, everything sent, nothing held back that was read from the socket. */
bool stream_is_settled(const struct stream *s);
/* Leaves the loop; the stream must be settled. */
void stream_detach(struct stream *s);
err stream_attach(struct stream *s, uv_loop_t *loop, struct list *flush_list) MUST_USE;
/* For a stream on no loop: whether the peer has sent or closed anything meanwhile. */
bool stream_is_quiet(const struct stream *s);

/* Says that nothing more will be sent; what the peer still sends can be read.  The stream must be
 * open, with nothing unsent. */
void stream_finish_sending(struct stream *s);
/* Ends it at once, from any state; what was queued is lost, unless flushed before. */
void stream_close(struct stream *s);

/* The peer's address, of either family; all zero when there is none any more. */
void stream_peer_address(const struct stream *s, struct sockaddr_in6 *out);
/* The peer's address as text: "192.0.2.1:443" or "[2001:db8::1]:443". */
enum { STREAM_ADDRESS_BYTES = 64 };
void stream_peer(const struct stream *s, char out[STREAM_ADDRESS_BYTES]);

#endif
