/* The properties of sallyport.conf. */
#include "base/attr.h"
#include "config/rules.h"
#include "config/schema.h"
#include "config/schema_conf_pg.h"
#include "model/node.h"

#define AT(member)                                                                                 \
    .offset = offsetof(struct node_config, member), .present_offset = NO_OFFSET,                   \
    .inherit_offset = NO_OFFSET, .since = "0.1.0"

static const char *const database_words[] = {"off", "postgres", NULL};
static const char *const log_level_words[] = {"debug", "info", "notice", "warn", "error", NULL};
static const char *const log_format_words[] = {"auto", "text", "json", NULL};

static const struct field node_fields[] = {
    {.name = "prefix", .type = FIELD_PATH, AT(prefix), .fallback = "/var/lib/sallyport",
     .doc = "The working directory: process id, audit, keys."},
    {.name = "declarative_config", .type = FIELD_PATH, AT(declarative_config),
     .doc = "The path of sallyport.yaml."},
    {.name = "database", .type = FIELD_STRING, AT(database), .fallback = "off",
     .words = database_words,
     .doc = "Where the configuration is kept; off: in the file declarative_config; postgres: in "
            "the database of pg_host, read at the start and at 'sallyport reload'."},
    {.name = "proxy_listen", .type = FIELD_LISTENS, AT(proxy_listen), .fallback = "127.0.0.1:8000",
     .doc = "Where callers are served: ADDRESS:PORT, with ssl after it for TLS, comma separated, "
            "or off."},
    {.name = "status_listen", .type = FIELD_LISTENS, AT(status_listen),
     .fallback = "127.0.0.1:8007", .doc = "Where health and metrics are served; the same form."},
    {.name = "allow_plaintext", .type = FIELD_BOOLEAN, AT(allow_plaintext), .fallback = "off",
     .doc = "Lets addresses without ssl be other than loopback."},
    {.name = "ssl_cert", .type = FIELD_PATH, AT(ssl_cert),
     .doc = "The server's certificate chain, PEM."},
    {.name = "ssl_cert_key", .type = FIELD_PATH, AT(ssl_cert_key), .doc = "Its private key, PEM."},
    {.name = "rds_ca_bundle", .type = FIELD_PATH, AT(rds_ca_bundle),
     .fallback = "/etc/sallyport/rds-global-bundle.pem",
     .doc = "What sslrootcert: rds stands for: Amazon's certificate authorities, PEM; no package "
            "holds the file, so download global-bundle.pem as the RDS documentation says."},
    {.name = "log_level", .type = FIELD_STRING, AT(log_level), .words = log_level_words,
     .fallback = "notice", .doc = "The least important messages to be logged."},
    {.name = "log_format", .type = FIELD_STRING, AT(log_format), .words = log_format_words,
     .fallback = "auto", .doc = "text, json, or auto: text on a terminal, json elsewhere."},
    {.name = "workers", .type = FIELD_INTEGER, AT(workers), .fallback = "0", .max = 1024,
     .doc = "Worker threads; 0: as many as there are cores."},
    {.name = "max_connections", .type = FIELD_INTEGER, AT(max_connections), .fallback = "10000",
     .min = 1, .max = 1000000, .doc = "Client connections, of all workers."},
    {.name = "client_header_timeout_ms", .type = FIELD_INTEGER, AT(client_header_timeout_ms),
     .unit = UNIT_MS, .fallback = "10000", .min = 1, .max = 600000,
     .doc = "How long a request's head may take to arrive."},
    {.name = "client_body_timeout_ms", .type = FIELD_INTEGER, AT(client_body_timeout_ms),
     .unit = UNIT_MS, .fallback = "30000", .min = 1, .max = 600000,
     .doc = "How long a request's body may take to arrive."},
    {.name = "keepalive_timeout_ms", .type = FIELD_INTEGER, AT(keepalive_timeout_ms),
     .unit = UNIT_MS, .fallback = "60000", .max = 3600000,
     .doc = "How long a client's connection may be idle between requests."},
    {.name = "client_max_body_size", .type = FIELD_INTEGER, AT(client_max_body_size),
     .unit = UNIT_BYTES, .fallback = "1m", .max = 1 << 30,
     .doc = "A longer request body is refused with 413."},
    {.name = "node_name", .type = FIELD_STRING, AT(node_name), .check = check_no_control,
     .doc = "The node's name in the audit; the host name by default."},
    {.name = "audit_directory", .type = FIELD_PATH, AT(audit_directory),
     .doc = "Where the audit is written; PREFIX/audit by default."},
    {.name = "audit_fsync", .type = FIELD_BOOLEAN, AT(audit_fsync), .fallback = "off",
     .doc = "Whether the audit survives a loss of power too, at the cost of a disk write a turn."},
    {.name = "audit_rotate_bytes", .type = FIELD_INTEGER, AT(audit_rotate_bytes),
     .unit = UNIT_BYTES, .fallback = "256m", .min = 1 << 16, .max = INT64_C(1) << 40,
     .doc = "A worker's audit file of this size is closed and a new one begun."},
    {.name = "vault_aws_region", .type = FIELD_STRING, AT(vault_aws.aws.region),
     .check = check_identifier,
     .doc = "The region of {vault://aws/…}; by default that of the environment."},
    {.name = "vault_aws_endpoint_url", .type = FIELD_STRING, AT(vault_aws.aws.endpoint_url),
     .check = check_https_url, .doc = "A private endpoint of AWS Secrets Manager."},
    {.name = "vault_aws_assume_role_arn", .type = FIELD_STRING,
     AT(vault_aws.aws.assume_role_arn), .check = check_role_arn,
     .doc = "An IAM role to read secrets as."},
    {.name = "vault_aws_role_session_name", .type = FIELD_STRING,
     AT(vault_aws.aws.role_session_name), .fallback = VAULT_SESSION_NAME,
     .check = check_plain_session_name, .doc = "The name of its session."},
    {.name = "vault_aws_sts_endpoint_url", .type = FIELD_STRING,
     AT(vault_aws.aws.sts_endpoint_url), .check = check_https_url,
     .doc = "A private endpoint of AWS STS, for that role."},
    {.name = "vault_aws_ttl", .type = FIELD_INTEGER, AT(vault_aws.ttl_s), .unit = UNIT_S,
     .fallback = "0", .max = SECRET_TTL_MAX_S,
     .doc = "A value is read again when it is this old; 0: never."},
    {.name = "vault_aws_neg_ttl", .type = FIELD_INTEGER, AT(vault_aws.neg_ttl_s), .unit = UNIT_S,
     .fallback = "0", .max = SECRET_TTL_MAX_S,
     .doc = "How long a secret that is not there is not asked for again; 0: as vault_aws_ttl."},
    {.name = "vault_aws_resurrect_ttl", .type = FIELD_INTEGER, AT(vault_aws.resurrect_ttl_s),
     .unit = UNIT_S, .fallback = "100000000", .max = SECRET_TTL_MAX_S,
     .doc = "How long a value outlives its ttl while it cannot be read again."},
    {.name = "vault_aws_decode_base64", .type = FIELD_BOOLEAN, AT(vault_aws.aws.base64_decode),
     .fallback = "off", .doc = "Whether what is read is base64, to be decoded."},
    {.name = "vault_env_prefix", .type = FIELD_STRING, AT(vault_env.path_prefix),
     .check = check_no_control,
     .doc = "Put before the name of each variable that {vault://env/…} reads."},
    {.name = "kong_compat", .type = FIELD_BOOLEAN, AT(kong_compat), .fallback = "off",
     .doc = "Whether the file is a kong.conf: it is read as Kong reads it, with Kong's defaults of "
            "prefix, database and proxy_listen, and what has no effect is one warning."},
    {.name = "keyring_enabled", .type = FIELD_BOOLEAN, AT(keyring.enabled), .fallback = "off",
     .doc = "Whether a secret may stand in the database itself, encrypted by keyring_key."},
    {.name = "keyring_key", .type = FIELD_STRING, AT(keyring.key),
     .flags = FIELD_SECRET | FIELD_READ_LATER,
     .doc = "Where the key is, 32 bytes as base64 or hexadecimal: a reference, or the absolute "
            "path of a file that only its owner may read."},
    {.name = "keyring_previous_keys", .type = FIELD_STRINGS, AT(keyring.previous_keys),
     .flags = FIELD_SECRET | FIELD_READ_LATER,
     .doc = "The same of keys that only decrypt, comma separated: those from before, until "
            "'sallyport keyring rotate' was run."},
    {.name = "shutdown_timeout_ms", .type = FIELD_INTEGER, AT(shutdown_timeout_ms),
     .unit = UNIT_MS, .fallback = "10000", .max = 3600000,
     .doc = "How long quit waits for calls in flight."},
    PG_NODE_FIELDS,
};

const struct record schema_node = {
    .kind = "sallyport.conf", .size = sizeof(struct node_config), .line_offset = NO_OFFSET,
    .fields = node_fields, .field_count = COUNT_OF(node_fields)};
