/* Connections being made: names looked up, every address tried at once. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

/* A listening socket on the address; *port 0: any, and filled in. */
static int listen_on(const char *address, uint16_t *port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof at;
    const int on = 1;

    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* Nobody accepts, the backlog is full: the kernel swallows a further SYN, as a dead host does. */
static int connect_to(const char *address, uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};

    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)!connect(fd, (struct sockaddr *)&at, sizeof at);
    return fd;
}

static const struct node_config node;

static struct pg_settings settings(uint16_t port)
{
    return (struct pg_settings){
        .host = VIEW("db.example"),
        .port = port,
        .user = VIEW("kong"),
        .database = VIEW("kong"),
        .timeout_ms = 2000,
    };
}

static struct store_addresses addresses(const char *const *all)
{
    struct store_addresses a = {0};
    for (; *all != NULL; all++)
        snprintf(a.at[a.count++], STORE_ADDRESS_BYTES, "%s", *all);
    return a;
}

/* Steps until it fails or is open, serving whoever connects with one answer. */
static err drive(struct store_opening *o, int server, const char *answer, size_t len,
                 struct store_why *why)
{
    struct pollfd at[STORE_ADDRESSES_MAX + 2];
    struct store *s = NULL;
    int client = -1;
    err e = OK;

    while (!failed(e) && s == NULL) {
        size_t n = store_opening_waits(o, at);
        at[n] = (struct pollfd){.fd = client >= 0 ? client : server, .events = POLLIN};
        poll(at, n + 1, 50);
        if (client < 0 && (at[n].revents & POLLIN) != 0) {
            client = accept(server, NULL, NULL);
        } else if (client >= 0 && (at[n].revents & POLLIN) != 0) {
            char packet[512];
            ssize_t got = read(client, packet, sizeof packet);
            if (got > 0 && len > 0)
                assert_int_equal(write(client, answer, len), len);
            shutdown(client, SHUT_WR);
        }
        e = store_opening_step(o, &s, why);
    }
    if (client >= 0)
        close(client);
    assert_null(s);
    return e;
}

static const char starting[] = "E\0\0\0\x3e"
                               "SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0";

static void the_first_address_that_takes_it_is_the_one(void **state)
{
    (void)state;
    uint16_t port = 0;
    int server = listen_on("127.0.0.2", &port, 8);
    int dead = listen_on("127.0.0.3", &port, 0);
    int fills[2] = {connect_to("127.0.0.3", port), connect_to("127.0.0.3", port)};
    struct pg_settings pg = settings(port);
    const struct store_login login = {.node = &node, .pg = &pg};
    /* 127.0.0.3 swallows, 127.0.0.4 refuses. */
    struct store_addresses all = addresses(
        (const char *const[]){"127.0.0.3", "127.0.0.4", "127.0.0.2", NULL});
    struct store_opening *o;
    struct store_why why;

    int64_t began_ms = time_monotonic_ns() / 1000000;
    assert_false(failed(store_opening_new(&login, &all, &o, &why)));
    assert_string_equal(store_opening_address(o), "");
    err e = drive(o, server, starting, sizeof starting, &why);
    assert_ptr_equal(e.fault, &store_unreachable);
    assert_string_equal(store_opening_address(o), "127.0.0.2");
    assert_non_null(strstr(why.text, "FATAL:  the database system is starting up"));
    assert_true(time_monotonic_ns() / 1000000 - began_ms < 1500); /* 2000: the time's end */
    store_opening_free(o);
    close(server);
    close(dead);
    close(fills[0]);
    close(fills[1]);
}

static void without_anybody_there_every_address_says_why(void **state)
{
    (void)state;
    uint16_t port = 0;
    int server = listen_on("127.0.0.2", &port, 8);
    close(server);
    struct pg_settings pg = settings(port);
    const struct store_login login = {.node = &node, .pg = &pg};
    struct store_addresses all =
        addresses((const char *const[]){"127.0.0.2", "127.0.0.4", NULL});
    struct store_opening *o;
    struct store_why why;

    assert_false(failed(store_opening_new(&login, &all, &o, &why)));
    err e = OK;
    struct store *s;
    while (!failed(e))
        e = store_opening_step(o, &s, &why);
    assert_ptr_equal(e.fault, &store_unreachable);
    assert_non_null(strstr(why.text, "db.example: connection to server at \"127.0.0.2\", port"));
    assert_non_null(strstr(why.text, "; connection to server at \"127.0.0.4\", port"));
    assert_string_equal(store_opening_address(o), "");
    store_opening_free(o);
}

static void a_dead_address_alone_is_given_up_at_the_times_end(void **state)
{
    (void)state;
    uint16_t port = 0;
    int dead = listen_on("127.0.0.3", &port, 0);
    int fills[2] = {connect_to("127.0.0.3", port), connect_to("127.0.0.3", port)};
    struct pg_settings pg = settings(port);
    pg.host = VIEW("127.0.0.3");
    pg.timeout_ms = 100;
    const struct store_login login = {.node = &node, .pg = &pg};
    struct store *s;
    struct store_why why;

    assert_ptr_equal(store_open(&login, &s, &why).fault, &store_unreachable);
    assert_string_equal(why.text, "no answer within pg_timeout, 100 ms");
    close(dead);
    close(fills[0]);
    close(fills[1]);
}

static void waiting_is_cancelled(void **state)
{
    (void)state;
    uint16_t port = 0;
    int dead = listen_on("127.0.0.3", &port, 0);
    int fills[2] = {connect_to("127.0.0.3", port), connect_to("127.0.0.3", port)};
    int cancel[2];
    assert_int_equal(pipe(cancel), 0);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    struct pg_settings pg = settings(port);
    pg.host = VIEW("127.0.0.3");
    pg.timeout_ms = PATIENCE_MS;
    const struct store_login login = {.node = &node, .pg = &pg, .cancel_fd = cancel[0]};
    struct store *s;
    struct store_why why;

    int64_t began_ms = time_monotonic_ns() / 1000000;
    assert_ptr_equal(store_open(&login, &s, &why).fault, &store_unreachable);
    assert_true(time_monotonic_ns() / 1000000 - began_ms < PATIENCE_MS / 2);
    close(cancel[0]);
    close(cancel[1]);
    close(dead);
    close(fills[0]);
    close(fills[1]);
}

static void a_name_that_is_not_known_is_said(void **state)
{
    (void)state;
    struct pg_settings pg = settings(1);
    pg.host = VIEW("no such name.invalid");
    const struct store_login login = {.node = &node, .pg = &pg};
    struct store *s;
    struct store_why why;

    assert_ptr_equal(store_open(&login, &s, &why).fault, &store_unreachable);
    assert_non_null(strstr(why.text, "could not translate host name \"no such name.invalid\""));
}

/* ---- Look-ups ---- */

static bool take(struct lookup *l, struct store_addresses *out, char why[LOOKUP_WHY_BYTES])
{
    struct pollfd at = {.fd = lookup_fd(l), .events = POLLIN};
    return poll(&at, 1, PATIENCE_MS) == 1 && lookup_take(l, out, why);
}

static void a_name_is_looked_up_as_often_as_asked(void **state)
{
    (void)state;
    struct lookup *l;
    struct store_addresses got;
    char why[LOOKUP_WHY_BYTES];

    assert_false(failed(lookup_new("localhost", &l)));
    assert_false(lookup_take(l, &got, why)); /* nobody asked */
    for (int i = 0; i < 3; i++) {
        lookup_ask(l);
        lookup_ask(l); /* one at a time */
        assert_true(take(l, &got, why));
        assert_true(store_addresses_have(&got, "127.0.0.1") || store_addresses_have(&got, "::1"));
        assert_string_equal(why, "");
        assert_false(lookup_take(l, &got, why));
    }
    lookup_ask(l);
    lookup_free(l); /* while it is asked */
    assert_false(failed(lookup_new("nowhere.invalid", &l)));
    lookup_ask(l);
    assert_true(take(l, &got, why));
    assert_int_equal(got.count, 0);
    assert_true(strlen(why) > 0);
    lookup_free(l);
    lookup_free(NULL);
}

static void addresses_are_compared_as_sets(void **state)
{
    (void)state;
    struct store_addresses a = addresses((const char *const[]){"1.2.3.4", "::1", NULL});
    struct store_addresses b = addresses((const char *const[]){"::1", "1.2.3.4", NULL});
    struct store_addresses c = addresses((const char *const[]){"::1", NULL});
    struct store_addresses none = {0}, literal;

    assert_true(store_addresses_equal(&a, &b));
    assert_false(store_addresses_equal(&a, &c));
    assert_false(store_addresses_equal(&c, &a));
    assert_true(store_addresses_equal(&none, &none));
    assert_false(store_addresses_equal(&a, &none));
    store_addresses_remove(&a, "9.9.9.9");
    assert_int_equal(a.count, 2);
    store_addresses_remove(&a, "1.2.3.4");
    assert_true(store_addresses_equal(&a, &c));
    assert_true(store_address_literal("10.0.0.7", &literal));
    assert_string_equal(literal.at[0], "10.0.0.7");
    assert_true(store_address_literal("fe80::1", &literal));
    assert_false(store_address_literal("localhost", &literal));
    assert_int_equal(literal.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_address_that_takes_it_is_the_one),
        cmocka_unit_test(without_anybody_there_every_address_says_why),
        cmocka_unit_test(a_dead_address_alone_is_given_up_at_the_times_end),
        cmocka_unit_test(waiting_is_cancelled),
        cmocka_unit_test(a_name_that_is_not_known_is_said),
        cmocka_unit_test(a_name_is_looked_up_as_often_as_asked),
        cmocka_unit_test(addresses_are_compared_as_sets),
    };
    store_forget_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
