/*
 * The rows of Kong's pg_… and pg_ro_… properties, for the table in schema_conf.c (names, defaults
 * and meaning: kong.conf.default of Kong 3.9, Enterprise's of 3.15).
 *
 * pg_ro_… has no defaults of its own but the session name's: what is not given is taken from pg_…,
 * in rules_pg.c, which also holds every rule between properties.
 */
#ifndef SALLYPORT_CONFIG_SCHEMA_CONF_PG_H
#define SALLYPORT_CONFIG_SCHEMA_CONF_PG_H

#include "config/rules.h"
#include "config/schema.h"
#include "model/node.h"

#define PG_AT(set, member)                                                                         \
    .offset = offsetof(struct node_config, set.member), .present_offset = NO_OFFSET,               \
    .inherit_offset = NO_OFFSET, .since = "0.1.0"

#define PG_OWN(text) text
#define PG_INHERITED(text) NULL

extern const char *const rules_ssl_version_words[]; /* of rules_pg.c */

/* Kong's limit of these numbers (Kong, kong/conf_loader/parse.lua): 2^31 - 2. */
#define PG_MAX INT64_C(2147483646)

#define PG_FIELDS(prefix, set, DEFAULT, OF)                                                        \
    {.name = prefix "host", .type = FIELD_STRING, PG_AT(set, host),                                \
     .fallback = DEFAULT("127.0.0.1"), .check = check_pg_host,                              \
     .doc = "Where the database with the node's configuration is" OF "."},                         \
    {.name = prefix "port", .type = FIELD_PORT, PG_AT(set, port), .fallback = DEFAULT("5432"),     \
     .doc = "Its port" OF "."},                                                                    \
    {.name = prefix "timeout", .type = FIELD_INTEGER, PG_AT(set, timeout_ms), .unit = UNIT_MS,     \
     .fallback = DEFAULT("5000"), .min = 1, .max = PG_MAX,                                         \
     .doc = "How long connecting, and each wait for the server, may take" OF "."},                 \
    {.name = prefix "user", .type = FIELD_STRING, PG_AT(set, user), .fallback = DEFAULT("kong"),   \
     .check = check_identifier, .doc = "The login" OF "."},                                        \
    {.name = prefix "password", .type = FIELD_STRING, PG_AT(set, password), .flags = FIELD_SECRET, \
     .doc = "Its password" OF "; ignored, with a warning, with " prefix "iam_auth."},              \
    {.name = prefix "database", .type = FIELD_STRING, PG_AT(set, database),                        \
     .fallback = DEFAULT("kong"), .check = check_identifier, .doc = "The database's name" OF "."}, \
    {.name = prefix "schema", .type = FIELD_STRING, PG_AT(set, schema), .check = check_identifier, \
     .doc = "The schema of the tables" OF "; by default the first of the login's search_path."},   \
    {.name = prefix "iam_auth", .type = FIELD_BOOLEAN, PG_AT(set, iam_auth),                       \
     .fallback = DEFAULT("off"),                                                                   \
     .doc = "Login by AWS IAM tokens instead of the password" OF "; raises " prefix "ssl and "     \
            prefix "ssl_verify to on."},                                                           \
    {.name = prefix "iam_auth_assume_role_arn", .type = FIELD_STRING,                              \
     PG_AT(set, iam_auth_assume_role_arn), .check = check_role_arn,                         \
     .doc = "The IAM role to assume for the login; neither connection inherits it."},              \
    {.name = prefix "iam_auth_role_session_name", .type = FIELD_STRING,                            \
     PG_AT(set, iam_auth_role_session_name), .fallback = "KongPostgres",                           \
     .check = check_plain_session_name, .doc = "The name of that role's session."},               \
    {.name = prefix "iam_auth_sts_endpoint_url", .type = FIELD_STRING,                             \
     PG_AT(set, iam_auth_sts_endpoint_url), .check = check_https_url,                              \
     .doc = "A private endpoint of AWS STS, taken exactly as written."},                           \
    {.name = prefix "iam_auth_hostname", .type = FIELD_STRING, PG_AT(set, iam_auth_hostname),      \
     .check = check_database_host,                                                                 \
     .doc = "The RDS name that tokens are signed for and TLS verifies, when " prefix               \
            "host is a tunnel or an alias; not in Kong."},                                         \
    {.name = prefix "iam_auth_region", .type = FIELD_STRING, PG_AT(set, iam_auth_region),          \
     .check = check_identifier,                                                                    \
     .doc = "The AWS region; by default from the host name, AWS_REGION or AWS_DEFAULT_REGION; "    \
            "not in Kong."},                                                                       \
    {.name = prefix "ssl", .type = FIELD_BOOLEAN, PG_AT(set, ssl), .fallback = DEFAULT("off"),     \
     .doc = "TLS" OF ".  Unlike Kong's it is never given up when the server has none."},           \
    {.name = prefix "ssl_required", .type = FIELD_BOOLEAN, PG_AT(set, ssl_required),               \
     .fallback = DEFAULT("on"), .doc = "Taken for Kong's sake: always so with " prefix "ssl."},    \
    {.name = prefix "ssl_version", .type = FIELD_STRING, PG_AT(set, ssl_version),                  \
     .fallback = DEFAULT("tlsv1_2"), .words = rules_ssl_version_words,                            \
     .doc = "The lowest version of TLS" OF "; any is as tlsv1_2."},                                \
    {.name = prefix "ssl_verify", .type = FIELD_BOOLEAN, PG_AT(set, ssl_verify),                   \
     .fallback = DEFAULT("on"),                                                                    \
     .doc = "Whether the server's certificate and name are verified" OF                            \
            "; by whom: lua_ssl_trusted_certificate."},                                            \
    {.name = prefix "max_concurrent_queries", .type = FIELD_INTEGER,                               \
     PG_AT(set, max_concurrent_queries), .fallback = DEFAULT("0"), .max = PG_MAX,                  \
     .doc = "Taken for Kong's sake, without effect: a node keeps one connection."},                \
    {.name = prefix "semaphore_timeout", .type = FIELD_INTEGER, PG_AT(set, semaphore_timeout_ms),  \
     .unit = UNIT_MS, .fallback = DEFAULT("60000"), .max = PG_MAX,                                 \
     .doc = "Taken for Kong's sake, without effect: a node keeps one connection."},                \
    {.name = prefix "keepalive_timeout", .type = FIELD_INTEGER, PG_AT(set, keepalive_timeout_ms),  \
     .unit = UNIT_MS, .max = PG_MAX,                                                               \
     .doc = "Taken for Kong's sake, without effect: a node keeps one connection."},                \
    {.name = prefix "pool_size", .type = FIELD_INTEGER, PG_AT(set, pool_size), .max = PG_MAX,      \
     .doc = "Taken for Kong's sake, without effect: a node keeps one connection."},                \
    {.name = prefix "backlog", .type = FIELD_INTEGER, PG_AT(set, backlog), .max = PG_MAX,          \
     .doc = "Taken for Kong's sake, without effect: a node keeps one connection."}

#define PG_NODE_FIELDS                                                                             \
    PG_FIELDS("pg_", pg, PG_OWN, ""),                                                              \
    {.name = "pg_ssl_cert", .type = FIELD_PATH, PG_AT(pg, ssl_cert),                               \
     .doc = "The client's own certificate, PEM; refused with pg_iam_auth."},                       \
    {.name = "pg_ssl_cert_key", .type = FIELD_PATH, PG_AT(pg, ssl_cert_key),                       \
     .doc = "Its private key, PEM."},                                                              \
    {.name = "pg_iam_auth_max_rate", .type = FIELD_INTEGER,                                        \
     .offset = offsetof(struct node_config, pg_iam_auth_max_rate), .present_offset = NO_OFFSET,    \
     .inherit_offset = NO_OFFSET, .since = "0.1.0", .unit = UNIT_PER_SECOND, .fallback = "200",    \
     .min = 1, .max = 1000,                                                                        \
     .doc = "Logins by IAM to one database instance, of all live nodes together, the services' "   \
            "and the configuration's; not in Kong."},                                              \
    PG_FIELDS("pg_ro_", pg_ro, PG_INHERITED, ", of the read-only connection"),                     \
    {.name = "lua_ssl_trusted_certificate", .type = FIELD_STRINGS,                                 \
     .offset = offsetof(struct node_config, lua_ssl_trusted_certificate),                          \
     .present_offset = NO_OFFSET, .inherit_offset = NO_OFFSET, .since = "0.1.0",                   \
     .check = check_no_control,                                                                    \
     .doc = "Whom pg_ssl_verify trusts: files, PEM, system, or rds for rds_ca_bundle; by default " \
            "rds for Amazon's host names, else system."},                                          \
    {.name = "lua_ssl_verify_depth", .type = FIELD_INTEGER,                                        \
     .offset = offsetof(struct node_config, lua_ssl_verify_depth), .present_offset = NO_OFFSET,    \
     .inherit_offset = NO_OFFSET, .since = "0.1.0", .fallback = "1", .max = 100,                   \
     .doc = "How many intermediate certificates pg_ssl_verify lets a server's chain have."}

#endif
