/* The fields of plugins: Kong's names, defaults and bounds (kong/plugins/NAME/schema.lua). */
#include "base/attr.h"
#include "config/rules.h"
#include "config/schema.h"
#include "config/schema_fields.h"

#define CONFIG(kind, member) AT(kind, member)

/* --- ip-restriction --- */

static const struct field ip_restriction_fields[] = {
    {.name = "allow", .type = FIELD_STRINGS, CONFIG(ip_restriction, allow.texts),
     .check = check_cidr, .doc = "Addresses and CIDR ranges, IPv4 and IPv6, that may call; all by "
                                 "default."},
    {.name = "deny", .type = FIELD_STRINGS, CONFIG(ip_restriction, deny.texts),
     .check = check_cidr, .doc = "Those that may not, though allow has them."},
    {.name = "status", .type = FIELD_INTEGER, CONFIG(ip_restriction, status), .fallback = "403",
     .min = 400, .max = 599, .doc = "The status of a refusal."},
    {.name = "message", .type = FIELD_STRING, CONFIG(ip_restriction, message),
     .fallback = "Your IP address is not allowed", .check = check_no_control,
     .doc = "The detail of a refusal."},
};

static const char *const kong_ip_restriction[] = {"blacklist", "whitelist", NULL};

static const struct record schema_ip_restriction = {
    .kind = "ip-restriction", .size = sizeof(struct ip_restriction), .line_offset = NO_OFFSET,
    RECORD_FIELDS(ip_restriction_fields), .kong = kong_ip_restriction,
    .finish = finish_ip_restriction,
    .doc = "Lets callers in by the address of their connection; one of the lists is needed."};

/* --- request-size-limiting --- */

static const char *const size_units[] = {"megabytes", "kilobytes", "bytes", NULL};

static const struct field size_fields[] = {
    {.name = "allowed_payload_size", .type = FIELD_INTEGER,
     CONFIG(request_size_limiting, allowed_payload_size), .fallback = "128", .max = 1 << 30,
     .doc = "How large a request's body may be."},
    {.name = "size_unit", .type = FIELD_ENUM, CONFIG(request_size_limiting, size_unit),
     .words = size_units, .fallback = "megabytes", .doc = "In which unit, of 1048576, 1024 or 1."},
    {.name = "require_content_length", .type = FIELD_BOOLEAN,
     CONFIG(request_size_limiting, require_content_length), .fallback = "false",
     .doc = "Whether a body must come with its length."},
};

static const struct record schema_request_size_limiting = {
    .kind = "request-size-limiting", .size = sizeof(struct request_size_limiting),
    .line_offset = NO_OFFSET,
    RECORD_FIELDS(size_fields), .finish = finish_request_size_limiting,
    .doc = "Refuses larger bodies, also below sallyport.conf's client_max_body_size."};

/* --- rate-limiting --- */

static const char *const limit_by_words[] = {"consumer", "credential", "ip", "service", "header",
                                             "path", NULL};

#define LIMIT(word, period)                                                                        \
    {.name = word, .type = FIELD_INTEGER, CONFIG(rate_limiting, limits[period]), .min = 1,         \
     .max = 1000000000000, .doc = "Calls within one " word "."}

static const struct field rate_limiting_fields[] = {
    LIMIT("second", PERIOD_SECOND),
    LIMIT("minute", PERIOD_MINUTE),
    LIMIT("hour", PERIOD_HOUR),
    LIMIT("day", PERIOD_DAY),
    LIMIT("month", PERIOD_MONTH),
    LIMIT("year", PERIOD_YEAR),
    {.name = "limit_by", .type = FIELD_ENUM, CONFIG(rate_limiting, limit_by),
     .words = limit_by_words, .fallback = "consumer",
     .doc = "Whose calls are counted together.  A caller who is no consumer is known by issuer, "
            "subject and client, as with credential."},
    {.name = "header_name", .type = FIELD_STRING, CONFIG(rate_limiting, header_name),
     .check = check_header_name,
     .doc = "The header of limit_by header; without it in a call the address counts."},
    {.name = "path", .type = FIELD_STRING, CONFIG(rate_limiting, path),
     .check = check_counted_path,
     .doc = "The path of limit_by path, decoded; calls of another path count by address."},
    {.name = "policy", .type = FIELD_STRING, CONFIG(rate_limiting, policy), .fallback = "local",
     .check = check_rate_policy, .doc = "local: each node counts by itself, exactly."},
    {.name = "fault_tolerant", .type = FIELD_BOOLEAN, CONFIG(rate_limiting, fault_tolerant),
     .fallback = "true",
     .doc = "Whether a call is let through that cannot be counted, for want of memory."},
    {.name = "hide_client_headers", .type = FIELD_BOOLEAN,
     CONFIG(rate_limiting, hide_client_headers), .fallback = "false",
     .doc = "Whether answers go without RateLimit-*, X-RateLimit-* and Retry-After."},
    {.name = "error_code", .type = FIELD_INTEGER, CONFIG(rate_limiting, error_code),
     .fallback = "429", .min = 400, .max = 599, .doc = "The status of a refusal."},
    {.name = "error_message", .type = FIELD_STRING, CONFIG(rate_limiting, error_message),
     .fallback = "API rate limit exceeded", .check = check_no_control,
     .doc = "The detail of a refusal."},
};

static const char *const kong_rate_limiting[] = {
    "redis", "redis_database", "redis_host", "redis_password", "redis_port", "redis_server_name",
    "redis_ssl", "redis_ssl_verify", "redis_timeout", "redis_username", "sync_rate", NULL};

static const struct record schema_rate_limiting = {
    .kind = "rate-limiting", .size = sizeof(struct rate_limiting), .line_offset = NO_OFFSET,
    RECORD_FIELDS(rate_limiting_fields), .kong = kong_rate_limiting,
    .finish = finish_rate_limiting,
    .doc = "Refuses calls beyond so many within a second, minute, hour, day, month or year of the "
           "clock, in UTC; one of them is needed."};

/* --- request-termination --- */

static const struct field termination_fields[] = {
    {.name = "status_code", .type = FIELD_INTEGER, CONFIG(request_termination, status_code),
     .fallback = "503", .min = 200, .max = 599, .doc = "The answer's status."},
    {.name = "message", .type = FIELD_STRING, CONFIG(request_termination, message),
     .check = check_no_control, .doc = "The detail of the answer."},
    {.name = "body", .type = FIELD_STRING, CONFIG(request_termination, body),
     .doc = "The answer itself, instead of a problem."},
    {.name = "content_type", .type = FIELD_STRING, CONFIG(request_termination, content_type),
     .check = check_no_control,
     .doc = "What the body is; application/json; charset=utf-8 by default."},
    {.name = "trigger", .type = FIELD_STRING, CONFIG(request_termination, trigger),
     .check = check_header_name,
     .doc = "Answers only calls with this header or query parameter."},
    {.name = "echo", .type = FIELD_BOOLEAN, CONFIG(request_termination, echo),
     .fallback = "false", .doc = "Must be false: an echo would give tokens away."},
};

static const struct record schema_request_termination = {
    .kind = "request-termination", .size = sizeof(struct request_termination),
    .line_offset = NO_OFFSET,
    RECORD_FIELDS(termination_fields), .finish = finish_request_termination,
    .doc = "Answers calls itself, as during maintenance, instead of running them."};

/* --- plugins --- */

const struct record *const schema_plugin_configs[PLUGIN_KINDS] = {
    [PLUGIN_IP_RESTRICTION] = &schema_ip_restriction,
    [PLUGIN_REQUEST_SIZE_LIMITING] = &schema_request_size_limiting,
    [PLUGIN_RATE_LIMITING] = &schema_rate_limiting,
    [PLUGIN_REQUEST_TERMINATION] = &schema_request_termination,
};

static const char *const protocol_words[] = {"http", "https", "grpc", "grpcs", "tcp", "tls",
                                             "tls_passthrough", "udp", "ws", "wss", NULL};

static const struct field plugin_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(plugin, kind), .take = take_plugin_name,
     .flags = FIELD_REQUIRED,
     .doc = "ip-restriction, request-size-limiting, rate-limiting or request-termination."},
    {.name = "instance_name", .type = FIELD_STRING, AT(plugin, instance_name),
     .flags = FIELD_UNIQUE, .check = check_name,
     .doc = "A name of its own, by which the audit tells it from others."},
    {.name = "service", .type = FIELD_REFERENCE, AT(plugin, service_reference),
     .refers_to = "service", .take = take_plugin_reference,
     .doc = "Only calls of this service; a name or id."},
    {.name = "route", .type = FIELD_REFERENCE, AT(plugin, route_reference), .refers_to = "route",
     .take = take_plugin_reference, .doc = "Only calls of this route."},
    {.name = "consumer", .type = FIELD_REFERENCE, AT(plugin, consumer_reference),
     .refers_to = "consumer", .take = take_plugin_reference,
     .doc = "Only calls of this consumer; a username or id."},
    {.name = "config", .type = FIELD_RECORD, AT(plugin, config), .take = take_nothing,
     .doc = "What the plugin's name asks for, below."},
    {.name = "enabled", .type = FIELD_BOOLEAN, AT(plugin, enabled), .fallback = "true",
     .doc = "Whether it counts at all; else the next in precedence does."},
    {.name = "protocols", .type = FIELD_STRINGS, AT(plugin, protocols), .words = protocol_words,
     .fallback = "grpc,grpcs,http,https",
     .doc = "As in Kong; http or https must be among them, for nothing else is served."},
    META_FIELDS(plugin),
};

static const char *const kong_plugin[] = {"consumer_group", "ordering", "partials", NULL};

const struct record schema_plugin = {
    .kind = "plugin", .size = sizeof(struct plugin),
    .line_offset = offsetof(struct plugin, meta.line), RECORD_FIELDS(plugin_fields),
    .kong = kong_plugin, .finish = finish_plugin,
    .doc = "What is asked of calls beside the role: for all, or for those of a service, a route, a "
           "consumer.  Of several of one name the most specific one runs."};
