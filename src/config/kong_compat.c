#include "config/kong_compat.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"

enum { GROUPS_MAX = 32, SUMMARY_MAX_BYTES = 2048, KONGS_OF_A_KONG_CONF = 3 };

/* --- defaults: kong/templates/kong_defaults.lua of Kong 3.9 --- */

const char *kong_default(const char *property)
{
    static const struct {
        const char *name;
        const char *value;
    } defaults[] = {
        {"prefix", "/usr/local/kong/"},
        {"database", "postgres"},
        {"proxy_listen", "0.0.0.0:8000 reuseport backlog=16384, "
                         "0.0.0.0:8443 http2 ssl reuseport backlog=16384"},
    };

    for (size_t i = 0; i < COUNT_OF(defaults); i++) {
        if (strcmp(property, defaults[i].name) == 0)
            return defaults[i].value;
    }
    return NULL;
}

/* --- what has no effect --- */

void kong_idle(struct joiner *j, struct view name, const struct property_origin *origin,
               const char *group, const char *why)
{
    if (origin->kind == ORIGIN_DEFAULT)
        return;
    struct node_idle *idle = ARENA_NEW(j->arena, struct node_idle);
    if (idle == NULL) {
        j->no_memory = true;
        return;
    }
    *idle = (struct node_idle){.name = name, .origin = *origin, .group = group, .why = why};
    *j->idle_end = idle;
    j->idle_end = &idle->next;
}

struct count {
    const char *group;
    unsigned n;
};

static size_t count_groups(const struct node_idle *idle, struct count counts[GROUPS_MAX])
{
    size_t groups = 0;

    for (; idle != NULL; idle = idle->next) {
        size_t i = 0;
        while (i < groups && strcmp(counts[i].group, idle->group) != 0)
            i++;
        if (i == GROUPS_MAX)
            continue;
        if (i == groups)
            counts[groups++] = (struct count){idle->group, 0};
        counts[i].n++;
    }
    return groups;
}

/* Which versions of TLS Kong would speak: without TLS 1.2 it keeps out whom this program lets in
 * (kong/conf_loader/constants.lua, CIPHER_SUITES: modern is TLS 1.3 alone). */
static bool is_without_tls_1_2(struct view name, struct view value)
{
    if (view_is(name, "ssl_cipher_suite"))
        return view_is(value, "modern");
    return (view_is(name, "ssl_protocols") || view_is(name, "nginx_proxy_ssl_protocols") ||
            view_is(name, "nginx_http_ssl_protocols")) &&
           memmem(value.data, value.len, "TLSv1.2", strlen("TLSv1.2")) == NULL;
}

const char *kong_lost(struct view name, struct view value)
{
    static const struct {
        const char *end; /* of the name of a directive of nginx */
        const char *lost;
    } directives[] = {
        {"_ssl_verify_client", "has no effect: nobody is asked for a client certificate here"},
        {"_allow", "has no effect: no address is kept out here; a security group can"},
        {"_deny", "has no effect: no address is kept out here; a security group can"},
        {"_auth_basic", "has no effect: callers are known by their tokens alone"},
    };

    if (view_is(value, "off"))
        return NULL;
    for (size_t i = 0; view_starts_with(name, VIEW("nginx_")) && i < COUNT_OF(directives); i++) {
        if (view_ends_with(name, view_str(directives[i].end)))
            return directives[i].lost;
    }
    if (is_without_tls_1_2(name, value))
        return "has no effect: TLS 1.2 is spoken, too";
    return view_is(name, "fips") ? "has no effect: OpenSSL's FIPS mode is the system's to set"
                                 : NULL;
}

void kong_tell(struct joiner *j)
{
    struct count counts[GROUPS_MAX];
    struct buf summary;
    unsigned all = 0;

    if (j->kongs >= KONGS_OF_A_KONG_CONF)
        diag_add(j->d, SEVERITY_WARNING, j->out->conf_file, 0, 0,
                 "this looks like a kong.conf: with --kong-compat it is read as Kong reads it");
    size_t groups = count_groups(j->out->idle, counts);
    if (groups == 0)
        return;
    buf_init(&summary, SUMMARY_MAX_BYTES);
    for (size_t i = 0; i < groups; i++) {
        all += counts[i].n;
        buf_printf(&summary, "%s%s %u", i > 0 ? ", " : "", counts[i].group, counts[i].n);
    }
    diag_add(j->d, SEVERITY_WARNING, j->out->conf_file, 0, 0,
             "%u of Kong's settings have no effect here (%.*s); 'sallyport config show "
             "--kong-compat' lists them",
             all, VIEW_ARG(buf_view(&summary)));
    buf_clear(&summary);
}

/* --- values --- */

/* Flags of an address that only nginx heeds (Kong, kong/conf_loader/listeners.lua). */
static bool is_idle_flag(struct view flag)
{
    static const char *const flags[] = {"http2", "deferred", "bind", "reuseport", NULL};
    static const char *const with_value[] = {"backlog=", "ipv6only=", "so_keepalive=", NULL};

    for (size_t i = 0; flags[i] != NULL; i++) {
        if (view_is(flag, flags[i]))
            return true;
    }
    for (size_t i = 0; with_value[i] != NULL; i++) {
        if (view_starts_with(flag, view_str(with_value[i])))
            return true;
    }
    return false;
}

/* One address, its words parted by single blanks; true when a flag was left out. */
static bool add_address(struct buf *out, struct view item)
{
    struct view word, rest = view_trim(item);
    bool first = true, dropped = false;

    while (rest.data != NULL) {
        rest = view_cut(rest, ' ', &word);
        word = view_trim(word);
        if (word.len == 0)
            continue;
        if (!first && is_idle_flag(word)) {
            dropped = true;
            continue;
        }
        buf_add_str(out, first ? "" : " ");
        buf_add_view(out, word);
        first = false;
    }
    return dropped;
}

static struct view listens(struct joiner *j, const struct field *f, struct view value,
                           const struct property_origin *origin)
{
    struct view item, rest = value;
    struct buf out;
    bool dropped = false;

    buf_init(&out, 2 * value.len + 1); /* a blank follows each comma */
    while (rest.data != NULL) {
        rest = view_cut(rest, ',', &item);
        dropped = add_address(&out, item) || dropped;
        buf_add_str(&out, rest.data != NULL ? ", " : "");
    }
    struct view kept = buf_failed(&out) ? value : arena_copy(j->arena, buf_view(&out));
    buf_clear(&out);
    if (dropped)
        kong_idle(j, view_str(f->name), origin, "addresses",
                  "of an address's flags ssl alone means something here; HTTP/1.1 is spoken, and "
                  "the sockets' options are the program's own");
    return kept;
}

static struct view first_certificate(struct joiner *j, const struct field *f, struct view value,
                                     const struct property_origin *origin)
{
    struct view first, rest = view_cut(value, ',', &first);
    size_t *count = &j->certificates[strcmp(f->name, "ssl_cert_key") == 0];

    *count = 1;
    for (size_t i = 0; i < value.len; i++)
        *count += value.data[i] == ',';
    if (rest.data != NULL)
        kong_idle(j, view_str(f->name), origin, "TLS of the proxy",
                  "one certificate is served, the first of the list");
    return view_trim(first);
}

struct view kong_value(struct joiner *j, const struct field *f, struct view value,
                       const struct property_origin *origin)
{
    if (f->type == FIELD_LISTENS)
        return listens(j, f, value, origin);
    if (strcmp(f->name, "ssl_cert") == 0 || strcmp(f->name, "ssl_cert_key") == 0)
        return first_certificate(j, f, value, origin);
    if (strcmp(f->name, "log_level") == 0 &&
        (view_is(value, "crit") || view_is(value, "alert") || view_is(value, "emerg"))) {
        kong_idle(j, view_str(f->name), origin, "logs",
                  "crit, alert and emerg are as error, the highest level here");
        return VIEW("error");
    }
    if (strcmp(f->name, "client_max_body_size") == 0 && view_is(value, "0")) {
        kong_idle(j, view_str(f->name), origin, "nginx",
                  "0 is no limit to Kong; here a body always has one, and the default holds");
        return (struct view){"", 0};
    }
    return value;
}
