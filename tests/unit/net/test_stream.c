/* Two streams on one loop, over a socket pair, with TLS and without. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/attr.h"
#include "net/net.h"
#include "net/stream.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { OUT_MAX_BYTES = 8 << 20, IN_MAX_BYTES = 8 << 20, ENOUGH_TURNS = 100000 };

struct end {
    struct stream stream;
    struct buf in;
    size_t limit;             /* of one read */
    struct view send_at_ready;
    unsigned ready, drained, failed, readable;
    bool close_when_readable;
    err read_error;
    err failure;
};

static uv_loop_t loop;
static uv_prepare_t turn;
static struct list flush_list;
static struct end server, client;

static void say(struct end *e, struct view bytes)
{
    buf_add_view(&e->stream.out, bytes);
    stream_queue(&e->stream);
}

static struct end *end_of(struct stream *s)
{
    return CONTAINER_OF(s, struct end, stream);
}

static void on_ready(struct stream *s)
{
    struct end *e = end_of(s);

    e->ready++;
    stream_want_read(s, true);
    if (e->send_at_ready.len == 0)
        return;
    say(e, e->send_at_ready);
    stream_flush(s); /* so that it lies behind the handshake's last bytes */
}

static void on_readable(struct stream *s)
{
    struct end *e = end_of(s);

    e->readable++;
    e->read_error = stream_read(s, &e->in, e->limit);
    if (e->close_when_readable || failed(e->read_error))
        stream_close(s);
}

static void on_drained(struct stream *s)
{
    end_of(s)->drained++;
}

static void on_failed(struct stream *s, err why)
{
    end_of(s)->failed++;
    end_of(s)->failure = why;
    stream_close(s);
}

static const struct stream_ops ops = {
    .ready = on_ready, .readable = on_readable, .drained = on_drained, .failed = on_failed};

static void on_turn(uv_prepare_t *prepare)
{
    (void)prepare;
    stream_flush_all(&flush_list);
}

static void open_end(struct end *e, int fd)
{
    *e = (struct end){.limit = 16 * 1024};
    stream_init(&e->stream, &ops, OUT_MAX_BYTES);
    buf_init(&e->in, IN_MAX_BYTES);
    assert_false(failed(stream_accept(&e->stream, &loop, &flush_list, fd)));
}

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_prepare_init(&loop, &turn), 0);
    uv_prepare_start(&turn, on_turn);
    list_init(&flush_list);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    open_end(&server, fds[0]);
    open_end(&client, fds[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_close(&server.stream);
    stream_close(&client.stream);
    buf_clear(&server.in);
    buf_clear(&client.in);
    uv_close((uv_handle_t *)&turn, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

/* Turns the loop until the condition holds; a turn in which nothing can happen any more fails. */
#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        for (unsigned turns = 0; !(condition); turns++) {                                          \
            assert_true(turns < ENOUGH_TURNS);                                                     \
            uv_run(&loop, UV_RUN_NOWAIT);                                                          \
        }                                                                                          \
    } while (0)

static SSL *new_session(bool is_server)
{
    SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());

    assert_non_null(context);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (is_server) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *cert = X509_new();
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key);
        assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
        assert_int_equal(SSL_CTX_use_certificate(context, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    SSL *ssl = SSL_new(context);
    assert_non_null(ssl);
    SSL_CTX_free(context);
    return ssl;
}

static void start_tls(void)
{
    stream_start_tls(&client.stream, new_session(false), false);
    stream_start_tls(&server.stream, new_session(true), true);
}

static void make_pattern(struct buf *b, size_t len)
{
    buf_init(b, len);
    for (size_t i = 0; i < len; i++)
        buf_add_char(b, (char)(i % 251));
    assert_false(buf_failed(b));
}

static void assert_same(struct view got, struct view want)
{
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
}

/* OpenSSL holds the whole record after the first read; the socket says nothing more. */
static void a_record_read_in_small_pieces_comes_whole(void **state)
{
    struct buf sent;

    (void)state;
    make_pattern(&sent, 5000);
    server.limit = 7;
    start_tls();
    TURN_UNTIL(client.ready == 1 && server.ready == 1);
    say(&client, buf_view(&sent));
    TURN_UNTIL(server.in.len == sent.len);
    assert_same(buf_view(&server.in), buf_view(&sent));
    assert_true(server.readable >= sent.len / server.limit);
    buf_clear(&sent);
}

static void what_comes_with_the_end_of_the_handshake_is_read(void **state)
{
    (void)state;
    client.send_at_ready = VIEW("GET / HTTP/1.1");
    start_tls();
    TURN_UNTIL(server.in.len == client.send_at_ready.len);
    assert_same(buf_view(&server.in), client.send_at_ready);
}

/* Bytes in OpenSSL's hands wait as those in the socket do, and come when they are wanted. */
static void who_does_not_want_to_read_is_left_alone(void **state)
{
    struct buf sent;

    (void)state;
    make_pattern(&sent, 1000);
    server.limit = 10;
    start_tls();
    TURN_UNTIL(client.ready == 1 && server.ready == 1);
    say(&client, buf_view(&sent));
    TURN_UNTIL(server.in.len > 0);
    stream_want_read(&server.stream, false);
    assert_false(stream_is_settled(&server.stream));
    size_t before = server.in.len;
    for (int i = 0; i < 100; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(server.in.len, before);
    stream_want_read(&server.stream, true);
    TURN_UNTIL(server.in.len == sent.len);
    assert_same(buf_view(&server.in), buf_view(&sent));
    assert_true(stream_is_settled(&server.stream));
    buf_clear(&sent);
}

static void send_to_a_slow_reader(bool tls)
{
    struct buf sent;

    make_pattern(&sent, 4 << 20);
    if (tls) {
        start_tls();
        TURN_UNTIL(client.ready == 1 && server.ready == 1);
        stream_want_read(&client.stream, false);
    }
    say(&server, buf_view(&sent));
    for (int i = 0; i < 100; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(stream_unsent(&server.stream) > 0);
    assert_int_equal(server.drained, 0);
    stream_want_read(&client.stream, true);
    TURN_UNTIL(client.in.len == sent.len);
    assert_same(buf_view(&client.in), buf_view(&sent));
    assert_true(server.drained > 0);
    assert_int_equal(stream_unsent(&server.stream), 0);
    buf_clear(&sent);
}

static void a_slow_reader_gets_all_in_order(void **state)
{
    (void)state;
    send_to_a_slow_reader(false);
}

static void a_slow_reader_gets_all_in_order_over_tls(void **state)
{
    (void)state;
    send_to_a_slow_reader(true);
}

static void an_orderly_end_comes_after_the_bytes(void **state)
{
    (void)state;
    start_tls();
    TURN_UNTIL(client.ready == 1 && server.ready == 1);
    TURN_UNTIL(client.readable > 0); /* the session tickets: unread bytes would make it a reset */
    say(&client, VIEW("last words"));
    stream_flush(&client.stream);
    stream_close(&client.stream);
    TURN_UNTIL(failed(server.read_error));
    assert_string_equal(server.read_error.fault->name, net_closed.name);
    assert_same(buf_view(&server.in), VIEW("last words"));
}

static void a_stream_may_be_closed_by_its_own_callback(void **state)
{
    (void)state;
    server.close_when_readable = true;
    stream_want_read(&server.stream, true);
    say(&client, VIEW("x"));
    say(&server, VIEW("never sent"));
    stream_flush(&client.stream);
    TURN_UNTIL(server.stream.state == STREAM_CLOSED);
    assert_int_equal(server.readable, 1);
    assert_int_equal(server.failed, 0);
    assert_int_equal(stream_unsent(&server.stream), 0);
}

static void output_beyond_its_maximum_fails_the_stream(void **state)
{
    struct buf much;

    (void)state;
    make_pattern(&much, OUT_MAX_BYTES);
    say(&server, buf_view(&much));
    say(&server, VIEW("one more"));
    TURN_UNTIL(server.failed == 1);
    assert_string_equal(server.failure.fault->name, fault_too_large.name);
    assert_int_equal(client.in.len, 0);
    buf_clear(&much);
}

static void a_peer_that_speaks_no_tls_fails_the_handshake(void **state)
{
    (void)state;
    stream_start_tls(&server.stream, new_session(true), true);
    say(&client, VIEW("GET / HTTP/1.1\r\n\r\n"));
    TURN_UNTIL(server.failed == 1);
    assert_string_equal(server.failure.fault->name, net_tls.name);
    assert_int_equal(server.ready, 0);
}

static void a_detached_stream_knows_whether_its_peer_spoke(void **state)
{
    (void)state;
    start_tls();
    TURN_UNTIL(client.ready == 1 && server.ready == 1);
    say(&client, VIEW("first"));
    TURN_UNTIL(server.in.len == 5);
    stream_want_read(&server.stream, false);
    stream_detach(&server.stream);
    assert_true(stream_is_quiet(&server.stream));
    say(&client, VIEW("more"));
    stream_flush(&client.stream);
    assert_false(stream_is_quiet(&server.stream));
    assert_false(failed(stream_attach(&server.stream, &loop, &flush_list)));
    stream_want_read(&server.stream, true);
    TURN_UNTIL(server.in.len == 9);
    assert_same(buf_view(&server.in), VIEW("firstmore"));
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PAIR(a_record_read_in_small_pieces_comes_whole),
        WITH_PAIR(what_comes_with_the_end_of_the_handshake_is_read),
        WITH_PAIR(who_does_not_want_to_read_is_left_alone),
        WITH_PAIR(a_slow_reader_gets_all_in_order),
        WITH_PAIR(a_slow_reader_gets_all_in_order_over_tls),
        WITH_PAIR(an_orderly_end_comes_after_the_bytes),
        WITH_PAIR(a_stream_may_be_closed_by_its_own_callback),
        WITH_PAIR(output_beyond_its_maximum_fails_the_stream),
        WITH_PAIR(a_peer_that_speaks_no_tls_fails_the_handshake),
        WITH_PAIR(a_detached_stream_knows_whether_its_peer_spoke),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as stream.h asks */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
