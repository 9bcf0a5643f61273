/* Rules of plugins: by name what each wants, and what takes the place of Kong's others. */
#include "base/attr.h"
#include "config/rules.h"

/* ---- Values ---- */

const char *check_cidr(struct view v)
{
    struct address_range range;

    return address_range_parse(v, &range) ? NULL
                                          : "must be an IP address or a CIDR range like 10.0.0.0/8";
}

/* A token (RFC 9110 section 5.6.2). */
const char *check_header_name(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (c <= ' ' || c > '~' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return "must be a header's name";
    }
    return NULL;
}

/* Kong's rule (typedefs.path), and as calls' paths are compared: decoded. */
const char *check_counted_path(struct view v)
{
    if (!view_starts_with(v, VIEW("/")) || memmem(v.data, v.len, "//", 2) != NULL)
        return "must begin with '/', and have no empty segment";
    return view_find(v, '%') < v.len || view_find(v, '?') < v.len
               ? "must be as it reads decoded, without '%' and '?'"
               : check_no_control(v);
}

const char *check_rate_policy(struct view v)
{
    return view_is(v, "local") ? NULL
                               : "only 'local' is supported: each node counts by itself; 'cluster' "
                                 "and 'redis' are not";
}

/* ---- Names ---- */

static const char proved[] = "'issuers' say whose tokens prove who calls";
static const char audited[] = "the audit log records every call";

/* Kong's plugins that something else stands for here. */
static const struct {
    const char *name;
    const char *instead;
} replaced[] = {
    {"acl", "'roles' say who may call what, also by consumers"},
    {"basic-auth", proved},
    {"correlation-id", "every answer bears X-Request-Id, and traceparent is passed on"},
    {"datadog", "/metrics of status_listen has the numbers"},
    {"file-log", audited},
    {"hmac-auth", proved},
    {"http-log", audited},
    {"jwt", proved},
    {"key-auth", proved},
    {"ldap-auth", proved},
    {"mtls-auth", proved},
    {"oauth2", proved},
    {"openid-connect", proved},
    {"prometheus", "/metrics of status_listen has the numbers"},
    {"rate-limiting-advanced", "'rate-limiting' and a route's rate_limit are exact"},
    {"request-validator", "a statement's parameters are checked by their types"},
    {"session", proved},
    {"statsd", "/metrics of status_listen has the numbers"},
    {"syslog", audited},
    {"tcp-log", audited},
    {"udp-log", audited},
};

/* And those that nothing stands for yet. */
static const char *const others[] = {
    "acme", "aws-lambda", "azure-functions", "bot-detection", "cors", "grpc-gateway", "grpc-web",
    "loggly", "opentelemetry", "post-function", "pre-function", "proxy-cache",
    "request-transformer", "response-ratelimiting", "response-transformer", "zipkin", NULL};

static void unknown_plugin(struct decoder *d, const struct yaml_node *at, struct view name)
{
    struct view known[PLUGIN_KINDS];

    name = view_upto(name, 64);
    for (size_t i = 0; i < COUNT_OF(replaced); i++) {
        if (view_is(name, replaced[i].name)) {
            decode_error(d, at, "there is no plugin '%s': %s", replaced[i].name,
                         replaced[i].instead);
            return;
        }
    }
    for (size_t i = 0; others[i] != NULL; i++) {
        if (view_is(name, others[i])) {
            decode_error(d, at,
                         "the plugin '%s' is known from Kong, but not supported yet by this "
                         "version",
                         others[i]);
            return;
        }
    }
    for (size_t i = 0; i < PLUGIN_KINDS; i++)
        known[i] = view_str(plugin_kind_name((enum plugin_kind)i));
    struct view near = diag_nearest(name, known, PLUGIN_KINDS);
    if (near.data != NULL)
        decode_error(d, at, "there is no plugin '%.*s'; did you mean '%.*s'?", VIEW_ARG(name),
                     VIEW_ARG(near));
    else
        decode_error(d, at, "there is no plugin '%.*s'", VIEW_ARG(name));
}

void take_plugin_name(struct decoder *d, const struct field *f, void *record,
                      const struct yaml_node *value)
{
    struct plugin *p = record;
    struct view text;
    size_t i = 0;

    p->kind = PLUGIN_KINDS;
    if (!decode_scalar(d, f, value, &text))
        return;
    while (i < PLUGIN_KINDS && !view_is(text, plugin_kind_name((enum plugin_kind)i)))
        i++;
    p->kind = (enum plugin_kind)i;
    if (i == PLUGIN_KINDS)
        unknown_plugin(d, value, text);
}

/* {name: x}, {id: x}, of a consumer {username: x}, or x alone: a name or id. */
void take_plugin_reference(struct decoder *d, const struct field *f, void *record,
                           const struct yaml_node *value)
{
    struct view *slot = (struct view *)(void *)((char *)record + f->offset);
    const char *name = strcmp(f->refers_to, "consumer") == 0 ? "username" : "name";
    const struct yaml_node *text = value;

    if (value->kind == NODE_MAPPING && value->count == 1) {
        text = yaml_member(value, name);
        if (text == NULL)
            text = yaml_member(value, "id");
    }
    if (text == NULL || text->kind != NODE_SCALAR || text->text.len == 0) {
        decode_error(d, value, "'%s' must read {%s: NAME} or {id: ID}", f->name, name);
        return;
    }
    *slot = arena_copy(d->arena, text->text);
    d->out_of_memory = d->out_of_memory || slot->data == NULL;
    decode_refer(d, f->refers_to, true, text->text, record, text);
}

/* ---- Configurations ---- */

static void make_set(struct decoder *d, struct address_set *set)
{
    struct address_range *items = ARENA_ARRAY(d->arena, set->texts.count + 1,
                                              struct address_range);
    size_t n = 0;

    if (items == NULL) {
        d->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < set->texts.count; i++) {
        if (set->texts.items[i].data != NULL && address_range_parse(set->texts.items[i], &items[n]))
            n++;
    }
    set->items = items;
    set->count = address_ranges_join(items, n);
}

void finish_ip_restriction(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    static const char *const lists[] = {"allow", "deny"};
    struct ip_restriction *r = record;

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const struct yaml_node *list = yaml_member(mapping, lists[i]);
        if (list != NULL && list->kind == NODE_SEQUENCE && list->count == 0)
            decode_error(d, list, "'%s' must not be empty; leave it out to ask nothing", lists[i]);
    }
    if (!rules_written(mapping, "allow") && !rules_written(mapping, "deny"))
        decode_error(d, mapping, "ip-restriction needs 'allow' or 'deny'");
    make_set(d, &r->allow);
    make_set(d, &r->deny);
}

void finish_request_size_limiting(struct decoder *d, void *record,
                                  const struct yaml_node *mapping)
{
    static const int64_t units[] = {
        [SIZE_MEGABYTES] = 1 << 20, [SIZE_KILOBYTES] = 1 << 10, [SIZE_BYTES] = 1};
    struct request_size_limiting *r = record;

    (void)d;
    (void)mapping;
    r->max_bytes = r->allowed_payload_size * units[r->size_unit]; /* the schema bounds both */
}

/* Kong's own check (rate-limiting/schema.lua): a longer period's limit is no lower. */
static void check_periods(struct decoder *d, const struct rate_limiting *r,
                          const struct yaml_node *mapping)
{
    static const char *const names[PERIODS] = {"second", "minute", "hour", "day", "month", "year"};
    int shorter = -1;

    for (int i = 0; i < PERIODS; i++) {
        if (r->limits[i] == 0)
            continue;
        if (shorter >= 0 && r->limits[i] < r->limits[shorter])
            decode_error(d, rules_node(mapping, names[i]),
                         "the limit for %s(%lld) cannot be lower than the limit for %s(%lld)",
                         names[i], (long long)r->limits[i], names[shorter],
                         (long long)r->limits[shorter]);
        shorter = i;
    }
    for (int i = 0; i < PERIODS && shorter < 0; i++)
        shorter = rules_written(mapping, names[i]) ? i : -1; /* reported already */
    if (shorter < 0)
        decode_error(d, mapping,
                     "rate-limiting needs 'second', 'minute', 'hour', 'day', 'month' or 'year'");
}

static void check_needs(struct decoder *d, const struct yaml_node *mapping, const char *field,
                        bool wanted, const char *word)
{
    if (wanted && !rules_written(mapping, field))
        decode_error(d, mapping, "limit_by %s needs '%s'", word, field);
    else if (!wanted && rules_written(mapping, field))
        decode_error(d, rules_node(mapping, field), "'%s' means nothing without limit_by %s",
                     field, word);
}

void finish_rate_limiting(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    const struct rate_limiting *r = record;

    check_periods(d, r, mapping);
    check_needs(d, mapping, "header_name", r->limit_by == LIMIT_BY_HEADER, "header");
    check_needs(d, mapping, "path", r->limit_by == LIMIT_BY_PATH, "path");
}

/* Kong's checks (request-termination/schema.lua), and what HTTP does not allow. */
void finish_request_termination(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct request_termination *r = record;
    bool bare = r->status_code == 204 || r->status_code == 205 || r->status_code == 304;

    if (r->message.data != NULL && (r->body.data != NULL || r->content_type.data != NULL))
        decode_error(d, rules_node(mapping, "message"),
                     "'message' excludes 'body' and 'content_type'");
    if (r->content_type.data != NULL && r->body.data == NULL)
        decode_error(d, rules_node(mapping, "content_type"), "'content_type' needs a 'body'");
    if (bare)
        decode_error(d, rules_node(mapping, "status_code"),
                     "a %lld has no content, and a refusal has", (long long)r->status_code);
    if (r->echo)
        decode_error(d, rules_node(mapping, "echo"),
                     "'echo' is not supported: it would give the caller's token away");
    if (r->body.data != NULL && r->content_type.data == NULL)
        r->content_type = VIEW("application/json; charset=utf-8");
}

/* ---- The entity ---- */

void finish_plugin(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct plugin *p = record;
    const struct yaml_node *config = yaml_member(mapping, "config");
    struct yaml_node none = {.kind = NODE_MAPPING, .line = mapping->line,
                             .column = mapping->column};

    if (!strings_have(p->protocols, VIEW("http")) && !strings_have(p->protocols, VIEW("https")))
        decode_error(d, rules_node(mapping, "protocols"),
                     "'protocols' has neither http nor https: the plugin would never run");
    if (!rules_written(mapping, "name"))
        p->kind = PLUGIN_KINDS;
    if (p->kind == PLUGIN_KINDS)
        return;
    if (config == NULL || yaml_is_null(config))
        config = &none;
    decode_record(d, schema_plugin_configs[p->kind], &p->config, config, false);
}

struct view rules_derive_plugin_id(struct arena *arena, struct view name, struct view service,
                                   struct view route, struct view consumer)
{
    struct view whole = arena_printf(arena, "%.*s\1%.*s\1%.*s\1%.*s", VIEW_ARG(name),
                                     VIEW_ARG(service), VIEW_ARG(route), VIEW_ARG(consumer));

    return whole.data != NULL ? rules_derive_id(arena, "plugin", whole) : whole;
}
