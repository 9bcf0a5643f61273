#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

enum { ACCEPTS_PER_TURN = 64, BACKLOG = 4096 };

static err parse_address(struct view host, uint16_t port, struct sockaddr_storage *out,
                         socklen_t *len)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (host.len == 0 || host.len >= sizeof text)
        return fail(&net_address);
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    if (strcmp(text, "localhost") == 0)
        memcpy(text, "127.0.0.1", sizeof "127.0.0.1");
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(out, &in, sizeof in);
        *len = sizeof in;
        return OK;
    }
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
        memcpy(out, &in6, sizeof in6);
        *len = sizeof in6;
        return OK;
    }
    return fail(&net_address);
}

static err bind_socket(struct view host, uint16_t port, bool shared, int *out)
{
    struct sockaddr_storage address;
    socklen_t len = 0;
    int on = 1;

    TRY(parse_address(host, port, &address, &len));
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(&net_system);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0) {
        err e = fail(errno == EADDRINUSE ? &net_in_use
                     : errno == EADDRNOTAVAIL ? &net_address : &net_system);
        close(fd);
        return e;
    }
    *out = fd;
    return OK;
}

err listener_probe(struct view host, uint16_t port)
{
    int fd = -1;

    TRY(bind_socket(host, port, false, &fd));
    /* SO_REUSEADDR lets the bind pass beside a listener in some states; listen does not. */
    err e = listen(fd, 1) == 0 ? OK : fail(&net_in_use);
    close(fd);
    return e;
}

err listener_open(struct view host, uint16_t port, int *out)
{
    int fd = -1;

    TRY(bind_socket(host, port, true, &fd));
    if (listen(fd, BACKLOG) != 0) {
        close(fd);
        return fail(&net_in_use);
    }
    *out = fd;
    return OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)events;
    if (l == NULL || status < 0)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            l->accepted(l, fd);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            l->paused = true; /* the backlog keeps them meanwhile */
            uv_poll_stop(l->poll);
            return;
        }
    }
}

void listener_resume(struct listener *l)
{
    if (!l->paused || l->poll == NULL)
        return;
    l->paused = false;
    ENSURE(uv_poll_start(l->poll, UV_READABLE, on_readable) == 0);
}

err listener_start(struct listener *l, uv_loop_t *loop, int fd,
                   void (*accepted)(struct listener *l, int fd))
{
    *l = (struct listener){.fd = fd, .accepted = accepted, .poll = malloc(sizeof *l->poll)};
    if (l->poll == NULL)
        return fail(&fault_out_of_memory);
    if (uv_poll_init(loop, l->poll, fd) != 0) {
        free(l->poll);
        l->poll = NULL;
        return fail(&net_system);
    }
    l->poll->data = l;
    return uv_poll_start(l->poll, UV_READABLE, on_readable) == 0 ? OK : fail(&net_system);
}

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

void listener_close(struct listener *l)
{
    if (l->poll != NULL) {
        l->poll->data = NULL;
        uv_close((uv_handle_t *)l->poll, free_poll);
        l->poll = NULL;
    }
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
