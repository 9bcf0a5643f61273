/* Addresses to listen on, in Kong's form: "HOST:PORT [ssl]", comma separated, or "off". */
#include <arpa/inet.h>
#include <stdio.h>

#include "config/value.h"
#include "model/node.h"

enum { LISTENS_MAX = 64, HOST_MAX_BYTES = 253 };

static bool is_address(struct view host, int family)
{
    char text[64];
    unsigned char bytes[16];

    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(family, text, bytes) == 1;
}

bool host_is_loopback(struct view host)
{
    if (view_eq_nocase(host, VIEW("localhost")) || view_is(host, "::1"))
        return true;
    return is_address(host, AF_INET) && view_starts_with(host, VIEW("127."));
}

static bool refuse(char why[WHY_BYTES], struct view item, const char *wrong)
{
    snprintf(why, WHY_BYTES, "'%.*s' %s", (int)view_upto(item, 80).len, item.data, wrong);
    return false;
}

static bool split_address(struct view address, struct view *host, struct view *port)
{
    if (address.len > 0 && address.data[0] == '[') {
        *port = view_cut(view_from(address, 1), ']', host);
        if (port->len == 0 || port->data[0] != ':')
            return false;
        *port = view_from(*port, 1);
        return is_address(*host, AF_INET6);
    }
    *port = view_cut(address, ':', host);
    return is_address(*host, AF_INET) || view_is(*host, "localhost");
}

static bool parse_item(struct arena *arena, struct view item, struct listen *out,
                       char why[WHY_BYTES])
{
    struct view address, flag, host, port, rest;
    uint64_t number;

    rest = view_cut(item, ' ', &address);
    if (!split_address(address, &host, &port) || !view_to_u64(port, 65535, &number) || number == 0)
        return refuse(why, item, "is not an address like 127.0.0.1:8443 or [::1]:8443");
    while (rest.data != NULL) {
        rest = view_cut(rest, ' ', &flag);
        if (view_is(flag, "ssl"))
            out->tls = true;
        else if (view_is(flag, "proxy_protocol"))
            return refuse(why, item, "expects the PROXY protocol, which is not spoken here: have "
                                     "what stands in front not send it");
        else if (flag.len > 0)
            return refuse(why, flag, "is not a flag of an address; 'ssl' is the only one");
    }
    out->host = arena_copy(arena, host);
    out->port = (uint16_t)number;
    return out->host.data != NULL || refuse(why, item, "does not fit into memory");
}

static bool same_address(const struct listen *a, const struct listen *b)
{
    return a->port == b->port && view_eq(a->host, b->host);
}

bool listens_parse(struct arena *arena, struct view text, void *slot, char why[WHY_BYTES])
{
    struct listens *out = slot;
    struct view item, rest = text;
    struct listen *items;
    size_t n = 0;

    *out = (struct listens){0}; /* also of a mistake: nothing more is to be said of a default */
    if (view_is(view_trim(text), "off"))
        return true;
    items = ARENA_ARRAY(arena, LISTENS_MAX, struct listen);
    if (items == NULL)
        return refuse(why, text, "does not fit into memory");
    while (rest.data != NULL) {
        rest = view_cut(rest, ',', &item);
        item = view_trim(item);
        if (n == LISTENS_MAX)
            return refuse(why, item, "is one address too many; 64 are the most");
        if (!parse_item(arena, item, &items[n], why))
            return false;
        for (size_t i = 0; i < n; i++) {
            if (same_address(&items[i], &items[n]))
                return refuse(why, item, "stands there twice");
        }
        n++;
    }
    *out = (struct listens){items, n};
    return true;
}
