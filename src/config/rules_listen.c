/*
 * The rules of proxy_listen, status_listen and the door's certificate: what would carry tokens in
 * clear, or answer strangers, is refused, and the message says what to write instead.
 */
#include <stdio.h>

#include "base/attr.h"
#include "base/buf.h"
#include "config/node_joiner.h"
#include "config/schema.h"
#include "config/value.h"

enum { TEXT_BYTES = 1024, TEXT_MAX_BYTES = 4096 };

static bool is_v6(struct view host)
{
    return view_find(host, ':') < host.len;
}

static void add_address(struct buf *b, struct view host, uint16_t port)
{
    buf_printf(b, "%s%.*s%s:%u", is_v6(host) ? "[" : "", VIEW_ARG(host), is_v6(host) ? "]" : "",
               port);
}

/* "NAME = " as the place wants it where the value came from. */
static void add_name(struct buf *b, const struct property_origin *o, const char *name)
{
    if (o->kind == ORIGIN_ENVIRONMENT)
        buf_printf(b, "%.*s=", VIEW_ARG(o->source));
    else
        buf_printf(b, "%s = ", name);
}

static bool is_open(const struct listen *l)
{
    return !l->tls && !host_is_loopback(l->host);
}

enum remedy { BY_TLS, BY_LOOPBACK };

static bool same_place(const struct listens *l, struct view host, uint16_t port, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (l->items[i].port == port && view_eq(l->items[i].host, host))
            return true;
    }
    return false;
}

/* The whole list with every open address mended. */
static void add_mended(struct buf *b, const struct listens *l, enum remedy remedy)
{
    bool first = true;

    for (size_t i = 0; i < l->count; i++) {
        const struct listen *at = &l->items[i];
        struct view host = at->host;
        if (is_open(at) && remedy == BY_LOOPBACK) {
            host = is_v6(host) ? VIEW("::1") : VIEW("127.0.0.1");
            if (same_place(l, host, at->port, l->count))
                continue;
        }
        buf_add_str(b, first ? "" : ", ");
        first = false;
        add_address(b, host, at->port);
        buf_add_str(b, at->tls || (is_open(at) && remedy == BY_TLS) ? " ssl" : "");
    }
}

static void report(struct joiner *j, const char *name, struct buf *text)
{
    buf_add_char(text, '\0');
    joiner_report(j, SEVERITY_ERROR, joiner_origin(j, name), name,
                  buf_failed(text) ? "has an address that is not allowed" : text->data);
    buf_clear(text);
}

static void refuse_open(struct joiner *j, const struct listens *l, size_t open)
{
    const struct property_origin *o = joiner_origin(j, "proxy_listen");
    bool variable = o->kind == ORIGIN_ENVIRONMENT;
    struct buf text;
    size_t n = 0;

    buf_init(&text, TEXT_MAX_BYTES);
    for (size_t i = 0; i < l->count; i++) {
        if (!is_open(&l->items[i]))
            continue;
        buf_add_str(&text, n == 0 ? "" : n + 1 == open ? " and " : ", ");
        add_address(&text, l->items[i].host, l->items[i].port);
        n++;
    }
    buf_add_str(&text, open > 1 ? " are not loopback and have no TLS"
                                : " is not loopback and has no TLS");
    buf_add_str(&text, ", so tokens would cross the network in clear; write '");
    add_name(&text, o, "proxy_listen");
    add_mended(&text, l, BY_TLS);
    buf_add_str(&text, "' (with ssl_cert and ssl_cert_key), or '");
    add_name(&text, o, "proxy_listen");
    add_mended(&text, l, BY_LOOPBACK);
    buf_printf(&text, "', or, where something in front ends TLS, '%s'",
               variable ? "SALLYPORT_ALLOW_PLAINTEXT=on" : "allow_plaintext = on");
    report(j, "proxy_listen", &text);
}

static void check_proxy_listen(struct joiner *j, bool *tls)
{
    const struct listens *l = &j->out->proxy_listen;
    size_t open = 0;

    for (size_t i = 0; i < l->count; i++) {
        *tls = *tls || l->items[i].tls;
        open += is_open(&l->items[i]);
    }
    if (open > 0 && !j->out->allow_plaintext)
        refuse_open(j, l, open);
}

/* It answers without a token, and speaks no TLS: what the status server itself refuses is told by
 * `check` already (admin/status.c). */
static void check_status_listen(struct joiner *j)
{
    const struct property_origin *o = joiner_origin(j, "status_listen");
    const struct listens *l = &j->out->status_listen;
    struct buf text;

    for (size_t i = 0; i < l->count; i++) {
        const struct listen *at = &l->items[i];
        if (!at->tls && host_is_loopback(at->host))
            continue;
        buf_init(&text, TEXT_MAX_BYTES);
        add_address(&text, at->host, at->port);
        buf_printf(&text, "%s: the status server is plain and asks for no token; it must stay on "
                   "loopback, without ssl; write '", at->tls ? " ssl" : "");
        add_name(&text, o, "status_listen");
        add_address(&text, host_is_loopback(at->host) ? at->host
                           : is_v6(at->host)          ? VIEW("::1")
                                                      : VIEW("127.0.0.1"), at->port);
        buf_add_char(&text, '\'');
        report(j, "status_listen", &text);
    }
}

static bool listens_meet(const struct listens *a, const struct listens *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (same_place(a, b->items[i].host, b->items[i].port, a->count))
            return true;
    }
    return false;
}

/* Kong wants as many keys as certificates too (kong/conf_loader/parse.lua). */
static void check_counts(struct joiner *j)
{
    const size_t *count = j->certificates;
    char text[TEXT_BYTES];

    if (count[0] == count[1] || count[0] == 0 || count[1] == 0)
        return;
    snprintf(text, sizeof text, "%zu keys are listed for the %zu certificates of ssl_cert",
             count[1], count[0]);
    joiner_report(j, SEVERITY_ERROR, joiner_origin(j, "ssl_cert_key"), "ssl_cert_key", text);
}

static void check_certificate(struct joiner *j, bool tls)
{
    const struct {
        const char *name;
        struct view path;
    } files[] = {{"ssl_cert", j->out->ssl_cert}, {"ssl_cert_key", j->out->ssl_cert_key}};

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        const struct property_origin *origin = joiner_origin(j, files[i].name);
        if (tls && files[i].path.len == 0)
            joiner_report(j, SEVERITY_ERROR, origin, files[i].name,
                          j->kong
                              ? "is needed by an address with ssl: unlike Kong, sallyport makes no "
                                "certificate of its own"
                              : "is needed by an address with ssl");
        else if (!tls && files[i].path.len > 0)
            joiner_no_effect(j, origin, files[i].name, "TLS of the proxy",
                             "has no effect: no address has ssl");
    }
    check_counts(j);
}

void joiner_finish_listens(struct joiner *j)
{
    bool tls = false;

    check_proxy_listen(j, &tls);
    check_status_listen(j);
    if (listens_meet(&j->out->proxy_listen, &j->out->status_listen))
        joiner_report(j, SEVERITY_ERROR, joiner_origin(j, "status_listen"), "status_listen",
                      "has an address that proxy_listen has too");
    check_certificate(j, tls);
}
