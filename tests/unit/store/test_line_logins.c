/* A kept connection costs the server few logins, whatever goes wrong: counted by one of its own,
 * which can go wrong.  The look-ups are the test's. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "store/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- The name ---- */

static const char *const addresses[] = {"127.0.0.2", "127.0.0.3"};
static bool together, alternating; /* both are the name's, or one after the other */
static unsigned asked;

static void name_to(struct store_addresses *out, size_t first, size_t count)
{
    *out = (struct store_addresses){.count = count};
    for (size_t i = 0; i < count; i++)
        snprintf(out->at[i], STORE_ADDRESS_BYTES, "%s", addresses[(first + i) % 2]);
}

struct lookup {
    int fds[2];
};

static struct lookup the_lookup;

bool store_addresses_have(const struct store_addresses *a, const char *address)
{
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->at[i], address) == 0)
            return true;
    }
    return false;
}

bool store_addresses_equal(const struct store_addresses *a, const struct store_addresses *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; i < a->count && equal; i++)
        equal = store_addresses_have(b, a->at[i]);
    return equal;
}

void store_addresses_remove(struct store_addresses *a, const char *address)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->at[i], address) != 0)
            memmove(a->at[kept++], a->at[i], STORE_ADDRESS_BYTES);
    }
    a->count = kept;
}

bool store_address_literal(const char *host, struct store_addresses *out)
{
    (void)host;
    (void)out;
    return false;
}

err lookup_new(const char *host, struct lookup **out)
{
    (void)host;
    assert_int_equal(pipe(the_lookup.fds), 0);
    *out = &the_lookup;
    return OK;
}

void lookup_free(struct lookup *l)
{
    if (l != NULL)
        (void)(close(l->fds[0]) | close(l->fds[1]));
}

void lookup_ask(struct lookup *l)
{
    assert_int_equal(write(l->fds[1], "", 1), 1);
}

int lookup_fd(const struct lookup *l)
{
    return l->fds[0];
}

bool lookup_take(struct lookup *l, struct store_addresses *out, char why[LOOKUP_WHY_BYTES])
{
    char byte;

    assert_int_equal(read(l->fds[0], &byte, 1), 1);
    name_to(out, alternating ? asked++ % 2 : 0, together ? 2 : 1);
    why[0] = '\0';
    return true;
}

/* ---- The server ---- */

enum { CLIENTS_MAX = 64, SLOW_MS = 350 };

enum manner {
    REFUSES,    /* the login */
    BREAKS_OFF, /* at LISTEN */
    IS_SLOW,    /* with the login: slower than look-ups */
    READS_ONLY, /* no standby, but by default_transaction_read_only */
};

struct server {
    enum manner manner;
    int listening[2];
    uint16_t port;
    struct pollfd at[CLIENTS_MAX]; /* the first two listen, the third ends it */
    bool known[CLIENTS_MAX];       /* has said who it is */
    size_t count;
    unsigned logins;
    int stop[2];
    pthread_t thread;
};

#define SAY(fd, text) ((void)!write(fd, text, sizeof text - 1))
#define READY "Z\0\0\0\5I"
#define COLUMN "\0\0\0\0\0\0\0\0\0\x10\0\1\xff\xff\xff\xff\0\0"

static void answer(struct server *s, struct pollfd *client, bool *known)
{
    static const char listened[] = "C\0\0\0\x0bLISTEN\0" READY;
    static const char refused[] =
        "E\0\0\0\x34SFATAL\0VFATAL\0C28000\0Mno such login, not today\0\0";
    static const char role[] = "T\0\0\0\x2e\0\2"
                               "a\0" COLUMN "b\0" COLUMN
                               "D\0\0\0\x10\0\2\0\0\0\1f\0\0\0\1t"
                               "C\0\0\0\x0dSELECT 1\0" READY;
    char said[1024];
    ssize_t n = read(client->fd, said, sizeof said);
    bool over = n <= 0 || said[0] == 'X';

    if (!over && !*known) {
        *known = true;
        s->logins++;
        over = s->manner == REFUSES;
        if (s->manner == IS_SLOW)
            poll(NULL, 0, SLOW_MS);
        if (over)
            SAY(client->fd, refused);
        else
            SAY(client->fd, "R\0\0\0\x08\0\0\0\0" READY);
    } else if (!over && memmem(said, (size_t)n, "listen", 6) != NULL) {
        over = s->manner == BREAKS_OFF;
        if (!over)
            SAY(client->fd, listened);
    } else if (!over) {
        SAY(client->fd, role);
    }
    if (!over)
        return;
    close(client->fd);
    client->fd = -1;
}

static void *serve(void *arg)
{
    struct server *s = arg;

    for (;;) {
        poll(s->at, s->count, -1);
        if (s->at[2].revents != 0)
            return NULL;
        for (size_t i = 3; i < s->count; i++) {
            if (s->at[i].fd >= 0 && s->at[i].revents != 0)
                answer(s, &s->at[i], &s->known[i]);
        }
        for (size_t i = 0; i < 2; i++) {
            if ((s->at[i].revents & POLLIN) == 0)
                continue;
            int fd = accept(s->at[i].fd, NULL, NULL);
            size_t place = 3;
            while (place < s->count && s->at[place].fd >= 0)
                place++;
            assert_true(place < CLIENTS_MAX);
            s->at[place] = (struct pollfd){.fd = fd, .events = POLLIN};
            s->known[place] = false;
            s->count = place == s->count ? place + 1 : s->count;
        }
    }
}

static void begin(struct server *s, enum manner manner)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    const int on = 1;

    *s = (struct server){.manner = manner, .count = 3};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(inet_pton(AF_INET, addresses[i], &at.sin_addr), 1);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(fd, 64), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
        s->at[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    s->port = ntohs(at.sin_port);
    assert_int_equal(pipe(s->stop), 0);
    s->at[2] = (struct pollfd){.fd = s->stop[0], .events = POLLIN};
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct server *s)
{
    assert_int_equal(write(s->stop[1], "", 1), 1);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->count; i++) {
        if (s->at[i].fd >= 0)
            close(s->at[i].fd);
    }
    close(s->stop[1]);
}

/* ---- The line ---- */

static int64_t now_ms(void)
{
    return time_monotonic_ns() / 1000000;
}

static bool is_up, was_taken; /* at the end */

/* As the watch turns it, so long; *turns counts. */
static unsigned logins_within(enum manner manner, int64_t ms, unsigned *turns)
{
    static const struct node_config node;
    struct pollfd at[STORE_LINE_WAITS];
    struct store_signer signer = {0};
    struct server s;

    asked = 0;
    begin(&s, manner);
    const struct pg_settings pg = {
        .host = VIEW("db.example"),
        .port = s.port,
        .user = VIEW("kong"),
        .database = VIEW("kong"),
        .timeout_ms = 2000,
    };
    struct store_line l = {.name = "read-write", .writes = true};
    assert_false(failed(store_line_open(&l, &node, &pg, &signer)));
    const int64_t until_ms = now_ms() + ms;
    for (*turns = 0; now_ms() < until_ms; (*turns)++) {
        store_line_turn(&l);
        int64_t due_ms = store_line_due_ms(&l);
        int64_t left = (due_ms < until_ms ? due_ms : until_ms) - now_ms();
        poll(at, store_line_waits(&l, at), left > 0 ? (int)left : 0);
    }
    is_up = l.s != NULL;
    was_taken = l.taken;
    store_line_close(&l);
    end(&s);
    return s.logins;
}

static void one_that_breaks_off_after_the_login_is_not_logged_in_to_at_once(void **state)
{
    unsigned turns;
    (void)state;
    together = alternating = false;

    unsigned logins = logins_within(BREAKS_OFF, 2000, &turns);
    assert_in_range(logins, 2, 12);
    assert_true(was_taken); /* it counts as one */
    assert_in_range(turns, logins, 400);
}

static void a_name_that_alternates_is_not_followed_for_ever(void **state)
{
    unsigned turns;
    (void)state;
    together = false;
    alternating = true;

    unsigned logins = logins_within(READS_ONLY, 3000, &turns);
    assert_in_range(asked, 9, 13);
    assert_in_range(logins, 2, 6);
    assert_in_range(turns, logins, 400);
}

static void a_name_that_alternates_does_not_hurry_logins_that_are_refused(void **state)
{
    unsigned turns;
    (void)state;
    together = false;
    alternating = true;

    assert_in_range(logins_within(REFUSES, 3000, &turns), 2, 9);
    assert_in_range(turns, 2, 400);
}

static void a_slow_login_ends_though_the_name_alternates(void **state)
{
    unsigned turns;
    (void)state;
    together = false;
    alternating = true;

    assert_in_range(logins_within(IS_SLOW, 4000, &turns), 2, 6);
    assert_true(is_up);
}

static void one_that_only_reads_by_its_settings_is_stayed_on(void **state)
{
    unsigned turns;
    (void)state;
    together = true;
    alternating = false;

    assert_int_equal(logins_within(READS_ONLY, 1000, &turns), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_breaks_off_after_the_login_is_not_logged_in_to_at_once),
        cmocka_unit_test(a_name_that_alternates_is_not_followed_for_ever),
        cmocka_unit_test(a_name_that_alternates_does_not_hurry_logins_that_are_refused),
        cmocka_unit_test(a_slow_login_ends_though_the_name_alternates),
        cmocka_unit_test(one_that_only_reads_by_its_settings_is_stayed_on),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
