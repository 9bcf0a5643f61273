/*
 * The rules of the pg_… and pg_ro_… properties: what the read-only connection takes over, what IAM
 * raises, and what contradicts.  Kong passes over most of these in silence, and a token or password
 * then goes to whoever answers; here each is a message that names the property.
 */
#include <stdarg.h>
#include <stdio.h>

#include "config/file.h"
#include "config/node_joiner.h"
#include "config/rules.h"
#include "config/schema.h"

const char *const rules_ssl_version_words[] = {"tlsv1_1", "tlsv1_2", "tlsv1_3", "any", NULL};

enum { NAME_BYTES = 64, TEXT_BYTES = 512, SOCKET_FOLDER_MAX_BYTES = 90 };

const char *check_pg_host(struct view v)
{
    if (v.len > 0 && v.data[0] == '/')
        return v.len > SOCKET_FOLDER_MAX_BYTES ? "is longer than a socket's path can be"
                                               : check_no_control(v);
    return check_database_host(v);
}

/* One of the two connections. */
struct side {
    struct joiner *j;
    const char *prefix; /* "pg_", "pg_ro_" */
    struct pg_settings *s;
};

static struct property_origin *origin(const struct side *side, const char *name)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof full, "%s%s", side->prefix, name);
    return joiner_origin(side->j, full);
}

/* Written by somebody, for this very property. */
static bool is_given(const struct side *side, const char *name)
{
    enum origin_kind kind = origin(side, name)->kind;
    return kind != ORIGIN_DEFAULT && kind != ORIGIN_PROPERTY;
}

static struct view default_of(const struct side *side, const char *name)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof full, "%s%s", side->prefix, name);
    return view_str(schema_field(&schema_node, view_str(full))->fallback);
}

static void say(const struct side *side, enum severity severity, const char *name,
                const char *format, ...) PRINTF_LIKE(4, 5);
static void say(const struct side *side, enum severity severity, const char *name,
                const char *format, ...)
{
    char full[NAME_BYTES], text[TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(full, sizeof full, "%s%s", side->prefix, name);
    joiner_report(side->j, severity, origin(side, name), full, text);
}

static void no_effect(const struct side *side, const char *name, const char *why)
{
    struct property_origin *o = origin(side, name);

    joiner_no_effect(side->j, o, o->property, "database connections", why);
}

/* Another name than the default: what says nothing new needs no warning. */
static bool names_session(const struct side *side)
{
    static const char name[] = "iam_auth_role_session_name";

    return is_given(side, name) &&
           !view_eq(side->s->iam_auth_role_session_name, default_of(side, name));
}

/* --- what pg_ro_… takes over --- */

static const char *const not_inherited[] = {
    "host", "iam_auth_assume_role_arn", "iam_auth_role_session_name", "iam_auth_sts_endpoint_url",
    "iam_auth_hostname", NULL};

static bool is_inherited(const char *name)
{
    for (size_t i = 0; not_inherited[i] != NULL; i++) {
        if (strcmp(name, not_inherited[i]) == 0)
            return false;
    }
    return true;
}

static size_t size_of(const struct field *f)
{
    switch (f->type) {
    case FIELD_BOOLEAN:
        return sizeof(bool);
    case FIELD_INTEGER:
        return sizeof(int64_t);
    case FIELD_PORT:
        return sizeof(uint16_t);
    default:
        return sizeof(struct view);
    }
}

static void take_over(struct joiner *j, const struct field *own, const char *name)
{
    char from[NAME_BYTES];

    snprintf(from, sizeof from, "pg_%s", name);
    const struct field *f = schema_field(&schema_node, view_str(from));
    struct property_origin *o = joiner_origin(j, own->name);
    memcpy((char *)j->out + own->offset, (const char *)j->out + f->offset, size_of(f));
    o->property = own->name;
    o->kind = joiner_origin(j, from)->kind == ORIGIN_DEFAULT ? ORIGIN_DEFAULT : ORIGIN_PROPERTY;
    o->source = (struct view){NULL, 0};
    if (o->kind == ORIGIN_PROPERTY)
        o->source = view_str(f->name);
}

/* A replica may be in another region: its own name goes before what is said of the other host. */
static bool own_host_says(const struct side *ro, const char *name)
{
    struct view host = ro->s->iam_auth_hostname.len > 0 ? ro->s->iam_auth_hostname : ro->s->host;

    return strcmp(name, "iam_auth_region") == 0 && rules_is_rds_host(host);
}

static void inherit(struct joiner *j, const struct side *ro)
{
    size_t prefix = strlen(ro->prefix);

    for (size_t i = 0; i < schema_node.field_count; i++) {
        const struct field *f = &schema_node.fields[i];
        if (strncmp(f->name, ro->prefix, prefix) == 0 && is_inherited(f->name + prefix) &&
            j->origins[i].kind == ORIGIN_DEFAULT && !own_host_says(ro, f->name + prefix))
            take_over(j, f, f->name + prefix);
    }
}

/* Without pg_ro_host there is no such connection, whatever else is said of it. */
static void refuse_orphans(struct joiner *j, const struct side *ro)
{
    size_t prefix = strlen(ro->prefix);

    for (size_t i = 0; i < schema_node.field_count; i++) {
        const struct field *f = &schema_node.fields[i];
        if (strncmp(f->name, ro->prefix, prefix) != 0 || j->origins[i].kind == ORIGIN_DEFAULT)
            continue;
        if (strcmp(f->name, "pg_ro_iam_auth") == 0 && ro->s->iam_auth)
            say(ro, SEVERITY_ERROR, "iam_auth",
                "there is no read-only connection that could use it; set pg_ro_host");
        else if (strcmp(f->name, "pg_ro_iam_auth_role_session_name") != 0 || names_session(ro))
            no_effect(ro, f->name + prefix, "has no effect without pg_ro_host");
    }
}

/* --- IAM --- */

/* Unset or taken over: on now, with IAM as the reason.  Explicitly off: a mistake. */
static void raise_to_on(const struct side *side, const char *name, bool *value)
{
    struct property_origin *o = origin(side, name);

    if (*value)
        return;
    if (is_given(side, name)) {
        say(side, SEVERITY_ERROR, name,
            "must not be off with %siam_auth = on: a token goes only to a server whose "
            "certificate was verified; remove the line",
            side->prefix);
        return;
    }
    *value = true;
    o->kind = ORIGIN_PROPERTY;
    o->source = arena_printf(side->j->arena, "%siam_auth", side->prefix);
    if (o->source.data == NULL)
        side->j->no_memory = true;
}

static void check_client_certificate(const struct side *side)
{
    static const char *const names[] = {"ssl_cert", "ssl_cert_key"};
    const struct view given[] = {side->s->ssl_cert, side->s->ssl_cert_key};

    for (size_t i = 0; i < 2; i++) {
        if (given[i].len == 0)
            continue;
        if (side->s->iam_auth)
            say(side, SEVERITY_ERROR, names[i],
                "a client certificate and %siam_auth = on exclude each other; remove one",
                side->prefix);
        else if (given[1 - i].len == 0)
            say(side, SEVERITY_ERROR, names[i], "is nothing without %s%s", side->prefix,
                names[1 - i]);
        else if (!side->s->ssl)
            say(side, SEVERITY_WARNING, names[i], "has no effect without %sssl = on",
                side->prefix);
        else if (side->j->host->readable != NULL &&
                 !side->j->host->readable(side->j->host, given[i].data))
            say(side, SEVERITY_ERROR, names[i], "the file '%.*s' cannot be read",
                VIEW_ARG(view_upto(given[i], 256)));
    }
}

/* Before anything is inherited. */
static bool ro_has_iam(const struct joiner *j)
{
    return joiner_origin(j, "pg_ro_iam_auth")->kind == ORIGIN_DEFAULT ? j->out->pg.iam_auth
                                                                      : j->out->pg_ro.iam_auth;
}

bool joiner_wants_password(const struct joiner *j, const char *name)
{
    bool has_ro = j->out->pg_ro.host.len > 0;

    if (strcmp(name, "pg_ro_password") == 0)
        return !ro_has_iam(j);
    return !j->out->pg.iam_auth || (has_ro && !ro_has_iam(j));
}

/* Kong ignores it in silence. */
static void ignore_password(const struct side *side)
{
    const struct side ro = {side->j, "pg_ro_", &side->j->out->pg_ro};
    bool inherited = side->s != ro.s && side->j->out->has_pg_ro && !ro.s->iam_auth &&
                     origin(&ro, "password")->kind == ORIGIN_PROPERTY;

    if (is_given(side, "password") && inherited)
        say(side, SEVERITY_WARNING, "password",
            "is ignored by the read-write connection with %siam_auth = on, and inherited by the "
            "read-only one; set pg_ro_password instead", side->prefix);
    else if (is_given(side, "password"))
        say(side, SEVERITY_WARNING, "password",
            "is ignored with %siam_auth = on: a token takes its place; remove it", side->prefix);
}

static void with_iam(const struct side *side)
{
    ignore_password(side);
    side->s->password = (struct view){NULL, 0};
    raise_to_on(side, "ssl", &side->s->ssl);
    raise_to_on(side, "ssl_verify", &side->s->ssl_verify);
    if (side->s->host.len > 0 && side->s->host.data[0] == '/')
        say(side, SEVERITY_ERROR, "host",
            "a unix socket has no TLS, which %siam_auth = on needs; give a host name",
            side->prefix);
    if (side->s->iam_auth_assume_role_arn.len > 0)
        return;
    if (names_session(side))
        say(side, SEVERITY_WARNING, "iam_auth_role_session_name",
            "has no effect without %siam_auth_assume_role_arn", side->prefix);
    if (is_given(side, "iam_auth_sts_endpoint_url"))
        say(side, SEVERITY_WARNING, "iam_auth_sts_endpoint_url",
            "has no effect without %siam_auth_assume_role_arn", side->prefix);
}

static void without_iam(const struct side *side)
{
    static const char *const names[] = {"iam_auth_assume_role_arn", "iam_auth_sts_endpoint_url",
                                        "iam_auth_hostname", "iam_auth_region"};
    struct view host = side->s->host;
    bool near = (host.len > 0 && host.data[0] == '/') || host_is_loopback(host);

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (is_given(side, names[i]))
            say(side, SEVERITY_WARNING, names[i], "has no effect without %siam_auth = on",
                side->prefix);
    }
    if (names_session(side))
        say(side, SEVERITY_WARNING, "iam_auth_role_session_name",
            "has no effect without %siam_auth = on", side->prefix);
    if (!near && !side->s->ssl && !side->j->out->allow_plaintext)
        say(side, SEVERITY_ERROR, "host",
            "the password and the configuration would cross the network in clear; set %sssl = on, "
            "or allow_plaintext = on",
            side->prefix);
    if (!near && side->s->ssl && !side->s->ssl_verify)
        say(side, SEVERITY_WARNING, "ssl_verify",
            "is off: whoever answers at this address gets the password");
}

/* --- TLS --- */

static bool is_of_rds(const struct side *side)
{
    struct view name = side->s->iam_auth_hostname;

    return rules_is_rds_host(name.len > 0 ? name : side->s->host);
}

static void check_version(const struct side *side)
{
    const char *const name = "ssl_version";
    const struct side rw = {side->j, "pg_", &side->j->out->pg};

    if (origin(side, name)->kind == ORIGIN_PROPERTY &&
        (!view_is(side->s->ssl_version, "tlsv1_3") || is_of_rds(&rw)))
        return; /* said of pg_ssl_version already */
    if (view_is(side->s->ssl_version, "tlsv1_1"))
        say(side, SEVERITY_ERROR, name,
            "TLS 1.1 is not spoken here; every engine version of RDS takes tlsv1_2");
    if (view_is(side->s->ssl_version, "tlsv1_3") && is_of_rds(side))
        say(side, SEVERITY_WARNING, name,
            "older engine versions of RDS do not take TLS 1.3 (PostgreSQL 16 and later do, TLS 1.2 "
            "all); tlsv1_2 takes the best that the server has");
}

static void check_idle_properties(const struct side *side)
{
    const struct pg_settings *s = side->s;
    const struct {
        const char *name;
        bool matters; /* differs from Kong's default */
    } idle[] = {{"max_concurrent_queries", s->max_concurrent_queries != 0},
                {"semaphore_timeout", s->semaphore_timeout_ms != 60000},
                {"keepalive_timeout", true},
                {"pool_size", true},
                {"backlog", true}};

    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        if (idle[i].matters && is_given(side, idle[i].name))
            no_effect(side, idle[i].name,
                      "has no effect: a node keeps one connection to its configuration");
    }
    if (is_given(side, "ssl_required") && !side->s->ssl_required)
        no_effect(side, "ssl_required",
                  strcmp(side->prefix, "pg_") == 0
                      ? "has no effect: TLS that pg_ssl asks for is never given up"
                      : "has no effect: TLS that pg_ro_ssl asks for is never given up");
}

/* A copy of the list with its relative files taken from the folder of the file that names them. */
static void place_trusted(struct joiner *j)
{
    const struct property_origin *o = joiner_origin(j, "lua_ssl_trusted_certificate");
    struct strings given = j->out->lua_ssl_trusted_certificate;
    struct value_style style = {.arena = j->arena};
    struct view *items = ARENA_ARRAY(j->arena, given.count + 1, struct view);
    char text[TEXT_BYTES];

    if (o->kind == ORIGIN_FILE)
        style.folder = file_folder(o->source);
    for (size_t i = 0; items != NULL && i < given.count; i++) {
        bool word = view_is(given.items[i], "system") || view_is(given.items[i], "rds");
        items[i] = word ? given.items[i] : value_path(&style, given.items[i]);
        if (items[i].data == NULL)
            items = NULL;
        else if (!word && j->host->readable != NULL &&
                 !j->host->readable(j->host, items[i].data)) {
            snprintf(text, sizeof text, "the file '%.*s' cannot be read",
                     VIEW_ARG(view_upto(items[i], 256)));
            joiner_report(j, SEVERITY_ERROR, o, "lua_ssl_trusted_certificate", text);
        }
    }
    if (items == NULL)
        j->no_memory = true;
    else
        j->out->lua_ssl_trusted_certificate = (struct strings){items, given.count};
}

static void check_side(const struct side *side)
{
    (side->s->iam_auth ? with_iam : without_iam)(side);
    if (strcmp(side->prefix, "pg_") == 0) /* Kong has no pg_ro_ssl_cert */
        check_client_certificate(side);
    check_version(side);
    check_idle_properties(side);
}

/* "IAM database authentication for MariaDB, MySQL, and PostgreSQL" of the RDS user guide. */
static void check_max_rate(struct joiner *j)
{
    enum { RDS_LOGIN_RATE = 200 };

    if (j->out->pg_iam_auth_max_rate > RDS_LOGIN_RATE)
        joiner_report(j, SEVERITY_WARNING, joiner_origin(j, "pg_iam_auth_max_rate"),
                      "pg_iam_auth_max_rate",
                      "RDS takes fewer than 200 new logins by IAM a second; it may refuse what is "
                      "beyond");
}

void joiner_finish_pg(struct joiner *j)
{
    struct side rw = {j, "pg_", &j->out->pg}, ro = {j, "pg_ro_", &j->out->pg_ro};

    place_trusted(j);
    check_max_rate(j);
    j->out->has_pg_ro = ro.s->host.len > 0;
    if (!j->out->has_pg_ro) {
        refuse_orphans(j, &ro);
        check_side(&rw);
        return;
    }
    inherit(j, &ro); /* before IAM raises or clears anything of pg_… */
    check_side(&rw);
    check_side(&ro);
    if (rw.s->iam_auth && ro.s->iam_auth && rw.s->iam_auth_assume_role_arn.len > 0 &&
        ro.s->iam_auth_assume_role_arn.len == 0)
        say(&rw, SEVERITY_WARNING, "iam_auth_assume_role_arn",
            "the read-only connection does not inherit it and assumes no role; set "
            "pg_ro_iam_auth_assume_role_arn too");
}
