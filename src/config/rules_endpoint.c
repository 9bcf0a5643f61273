/* Rules of the way to a database: URL, TLS, IAM. */
#include <stdio.h>

#include "base/secret.h"
#include "config/reference.h"
#include "config/resolve.h"
#include "config/rules.h"
#include "config/url.h"

const struct yaml_node *rules_node(const struct yaml_node *mapping, const char *field)
{
    const struct yaml_node *node = yaml_member(mapping, field);
    return node != NULL ? node : mapping;
}

void rules_check_file(struct decoder *d, struct view path, const struct yaml_node *at)
{
    if (path.data == NULL)
        d->out_of_memory = true;
    else if (d->host->readable != NULL && !d->host->readable(d->host, path.data))
        decode_error(d, at, "the file '%.*s' cannot be read", VIEW_ARG(path));
}

static struct endpoint *endpoint_of(const struct field *url_field, void *record)
{
    char *slot = (char *)record + url_field->offset;
    return (struct endpoint *)(void *)(slot - offsetof(struct endpoint, url));
}

static void take_url_password(struct decoder *d, struct endpoint *e, struct view part,
                              const struct yaml_node *value)
{
    struct view plain;

    e->password = (struct view){NULL, 0};
    e->password_reference = (struct view){NULL, 0};
    if (reference_is(part)) {
        e->password_reference = arena_copy(d->arena, part);
        if (!resolve_text(d, value, "url", part, &plain))
            return;
        if (plain.len == 0)
            decode_error(d, value, "'url': its password is empty");
        e->password = plain;
        return;
    }
    if (!value->referenced) {
        decode_error(d, value, "'url': no password may stand in it; write a reference like "
                               "postgres://USER:{vault://env/NAME}@HOST/DATABASE, or the field "
                               "'password'");
        return;
    }
    if (!url_decode(d->scratch, part, &plain)) {
        decode_error(d, value, "'url': its password is not well encoded");
        return;
    }
    e->password = reference_copy_secret(d->arena, plain);
    secret_wipe((void *)(uintptr_t)plain.data, plain.len);
    if (e->password.data == NULL)
        d->out_of_memory = true;
}

/* One part of the URL into its member, by the rules of the field that it stands for. */
static void take_part(struct decoder *d, struct view part, struct view *slot, field_check *check,
                      const char *what, const struct yaml_node *value)
{
    struct view plain;

    if (part.len == 0)
        return;
    if (!url_decode(d->arena, part, &plain)) {
        decode_error(d, value, "'url': its %s is not well encoded", what);
        return;
    }
    const char *wrong = check(plain);
    if (wrong != NULL)
        decode_error(d, value, "'url': its %s %s", what, wrong);
    *slot = plain;
}

static void take_url_user(struct decoder *d, struct endpoint *e, struct view part,
                          const struct yaml_node *value)
{
    const char *wrong;

    if (part.len == 0)
        return;
    e->user_reference = (struct view){NULL, 0};
    if (!reference_is(part)) {
        take_part(d, part, &e->user, check_identifier, "user", value);
        return;
    }
    e->user = (struct view){NULL, 0};
    e->user_reference = arena_copy(d->arena, part);
    if (!resolve_text(d, value, "url", part, &e->user))
        return;
    wrong = e->user.len == 0 ? "is empty" : check_identifier(e->user);
    if (wrong != NULL)
        decode_error(d, value, "'url': its user %s", wrong);
}

void take_url(struct decoder *d, const struct field *f, void *record,
              const struct yaml_node *value)
{
    struct endpoint *e = endpoint_of(f, record);
    struct url_parts parts;
    struct view text;
    uint64_t port;

    if (!decode_scalar(d, f, value, &text))
        return;
    const char *wrong = url_split(text, &parts);
    if (wrong != NULL) {
        decode_error(d, value, "'url': %s", wrong);
        return;
    }
    take_url_user(d, e, parts.user, value);
    take_part(d, parts.host, &e->host, check_database_host, "host", value);
    take_part(d, parts.database, &e->database, check_identifier, "database", value);
    if (parts.password.data != NULL)
        take_url_password(d, e, parts.password, value);
    if (parts.port.data == NULL)
        return;
    if (!view_to_u64(parts.port, 65535, &port) || port == 0)
        decode_error(d, value, "'url': its port must be a number from 1 to 65535");
    else
        e->port = (uint16_t)port;
}

/* True when the mapping itself brings a password, rather than inheriting one. */
static bool brings_password(const struct yaml_node *mapping)
{
    const struct yaml_node *url = yaml_member(mapping, "url");
    struct url_parts parts;

    if (yaml_member(mapping, "password") != NULL)
        return true;
    return url != NULL && url->kind == NODE_SCALAR && url_split(url->text, &parts) == NULL &&
           parts.password.data != NULL;
}

static void check_iam(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping)
{
    if (brings_password(mapping))
        decode_error(d, rules_node(mapping, "password"),
                     "a password and iam_auth exclude each other");
    e->password = (struct view){NULL, 0};
    e->password_reference = (struct view){NULL, 0};
    if (e->sslmode != SSLMODE_VERIFY_FULL)
        decode_error(d, rules_node(mapping, "sslmode"),
                     "iam_auth needs sslmode verify-full: the token must not reach another server");
    rules_find_region(d, e, mapping);
}

static void check_plaintext(struct decoder *d, const struct endpoint *e,
                            const struct yaml_node *mapping)
{
    if (e->sslmode == SSLMODE_DISABLE && !e->allow_plaintext && e->host.len > 0 &&
        !host_is_loopback(e->host))
        decode_error(d, rules_node(mapping, "sslmode"),
                     "sslmode disable is for loopback only; allow_plaintext: true would let it "
                     "reach '%.*s'",
                     VIEW_ARG(e->host));
}

/* A part that both the URL and its own field say. */
static void check_said_twice(struct decoder *d, const struct yaml_node *mapping)
{
    const struct yaml_node *url = yaml_member(mapping, "url");
    struct url_parts p;

    if (url == NULL || url->kind != NODE_SCALAR || url_split(url->text, &p) != NULL)
        return;
    const struct {
        const char *field;
        bool in_url;
    } parts[] = {{"host", p.host.len > 0},
                 {"port", p.port.len > 0},
                 {"user", p.user.len > 0},
                 {"database", p.database.len > 0},
                 {"password", p.password.len > 0}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct yaml_node *field = yaml_member(mapping, parts[i].field);
        if (parts[i].in_url && field != NULL)
            decode_error(d, field, "'%s' stands in the url already", parts[i].field);
    }
}

static void finish_sslrootcert(struct decoder *d, struct endpoint *e,
                               const struct yaml_node *mapping)
{
    const struct yaml_node *node = yaml_member(mapping, "sslrootcert");
    struct view v = e->sslrootcert;

    if (v.len == 0) {
        e->sslrootcert = rules_is_rds_host(rules_signed_name(e)) ? VIEW("rds") : VIEW("system");
        return;
    }
    if (view_is(v, "rds") || view_is(v, "system") || view_is(v, "rds+system"))
        return;
    e->sslrootcert = value_path(&d->style, v);
    if (node != NULL)
        rules_check_file(d, e->sslrootcert, node);
}

/* What is missing, unless it stands in the URL but was wrong there and so is reported already. */
static void check_complete(struct decoder *d, const struct endpoint *e,
                           const struct yaml_node *mapping, const char *kind)
{
    const struct yaml_node *url = yaml_member(mapping, "url");
    struct url_parts p = {0};

    if (url != NULL &&
        (url->kind != NODE_SCALAR || url->broken || url_split(url->text, &p) != NULL))
        return;
    const struct {
        const char *name;
        bool there;
    } needed[] = {{"host", e->host.len + p.host.len > 0},
                  {"user", e->user.len + p.user.len + e->secret.len > 0 ||
                               yaml_member(mapping, "secret") != NULL},
                  {"database", e->database.len + p.database.len > 0}};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!needed[i].there && yaml_member(mapping, needed[i].name) == NULL)
            decode_error(d, url != NULL ? url : mapping,
                         "%s has no %s, neither in 'url' nor as '%s'", kind, needed[i].name,
                         needed[i].name);
    }
}

static void finish_endpoint(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping,
                            const char *kind)
{
    rules_login(d, e, mapping);
    check_said_twice(d, mapping);
    check_complete(d, e, mapping, kind);
    if (e->port == 0)
        e->port = 5432;
    if (e->iam_auth.enabled)
        check_iam(d, e, mapping);
    check_plaintext(d, e, mapping);
    finish_sslrootcert(d, e, mapping);
    bool v6 = e->host.len > 0 && memchr(e->host.data, ':', e->host.len) != NULL;
    e->url = arena_printf(d->arena, "postgres://%.*s@%s%.*s%s:%u/%.*s", VIEW_ARG(e->user),
                          v6 ? "[" : "", VIEW_ARG(e->host), v6 ? "]" : "", e->port,
                          VIEW_ARG(e->database));
}

void finish_read(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct endpoint *e = record;
    const struct yaml_node *iam = yaml_member(mapping, "iam_auth");
    const struct yaml_node *url = yaml_member(mapping, "url");
    struct url_parts parts = {0};
    bool own_host = yaml_member(mapping, "host") != NULL;

    if (url != NULL && url->kind == NODE_SCALAR && url_split(url->text, &parts) == NULL)
        own_host = own_host || parts.host.len > 0;
    if (e->iam_auth.enabled && own_host && e->iam_auth.hostname.len > 0 &&
        yaml_member(iam, "hostname") == NULL)
        decode_error(d, mapping, "read names a host of its own and so needs an iam_auth.hostname "
                                 "of its own");
    finish_endpoint(d, e, mapping, "read");
}

void finish_service(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    enum { RDS_LOGIN_RATE = 200 }; /* facts of RDS: fewer than 200 new IAM logins a second */
    struct service *s = record;

    finish_endpoint(d, &s->primary, mapping, "service");
    if (s->meta.id.len == 0)
        s->meta.id = rules_derive_id(d->arena, "service", s->name);
    bool iam = s->primary.iam_auth.enabled || (s->has_read && s->read.iam_auth.enabled);
    if (iam && s->pool.login_rate >= RDS_LOGIN_RATE)
        decode_error(d, rules_node(yaml_member(mapping, "pool"), "login_rate"),
                     "'login_rate': RDS takes fewer than 200 new IAM logins a second");
    if (s->search_path.count == 0)
        s->search_path = (struct strings){0};
}

void entities_check_rates(const struct entities *e, const struct node_config *node,
                          struct view file, struct diagnostics *d)
{
    for (size_t i = 0; i < e->service_count; i++) {
        const struct service *s = &e->services[i];
        bool iam = s->primary.iam_auth.enabled || (s->has_read && s->read.iam_auth.enabled);
        if (iam && s->pool.login_rate > node->pg_iam_auth_max_rate)
            diag_add(d, SEVERITY_WARNING, file, s->meta.line, 0,
                     "service %.*s: its login_rate, %lld a second, is more than the %lld of "
                     "pg_iam_auth_max_rate, which all nodes share; its logins by IAM keep to the "
                     "lower one",
                     VIEW_ARG(s->name), (long long)s->pool.login_rate,
                     (long long)node->pg_iam_auth_max_rate);
    }
}
