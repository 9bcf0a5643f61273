/* The fields of sallyport.yaml. */
#include "base/attr.h"
#include "config/rules.h"
#include "config/schema.h"
#include "config/schema_fields.h"

/* --- issuer --- */

static const char *const preset_words[] = {"generic", "cognito", "okta", "entra", NULL};
static const char *const algorithm_words[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                                              "ES256", "ES384", "ES512", "EdDSA", NULL};
static const char *const token_use_words[] = {"access", "id", NULL};

static const char *const consumer_by_words[] = {"id", "username", "custom_id", NULL};

static const struct field issuer_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(issuer, name), .check = check_name,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE, .doc = "The name that roles call the issuer by."},
    {.name = "issuer", .type = FIELD_STRING, AT(issuer, issuer), .check = check_https_url,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE,
     .doc = "The exact iss of its tokens, and where its discovery document is looked for."},
    {.name = "jwks_uri", .type = FIELD_STRING, AT(issuer, jwks_uri), .check = check_https_url,
     .doc = "Where its keys are, instead of asking the discovery document."},
    {.name = "jwks_file", .type = FIELD_PATH, AT(issuer, jwks_file),
     .doc = "A file with its keys, instead of any fetch."},
    {.name = "ca_file", .type = FIELD_PATH, AT(issuer, ca_file),
     .doc = "The certificate authorities trusted for the fetches; the system's by default."},
    {.name = "audience", .type = FIELD_STRINGS, AT(issuer, audience), .check = check_no_control,
     .doc = "Accepted aud values; a token must bear one of them."},
    {.name = "clients", .type = FIELD_STRINGS, AT(issuer, clients), .check = check_no_control,
     .doc = "Accepted client ids, for tokens that bear no aud, as Cognito's access tokens."},
    {.name = "preset", .type = FIELD_ENUM, AT(issuer, preset), .words = preset_words,
     .fallback = "generic", .doc = "Where groups, scopes and the client stand in its tokens."},
    {.name = "algorithms", .type = FIELD_STRINGS, AT(issuer, algorithms), .words = algorithm_words,
     .fallback = "RS256,ES256,EdDSA", .doc = "Accepted signature algorithms."},
    {.name = "groups_claim", .type = FIELD_STRING, AT(issuer, groups_claim),
     .check = check_no_control, .doc = "The claim with the groups; the preset's by default."},
    {.name = "scopes_claim", .type = FIELD_STRING, AT(issuer, scopes_claim),
     .check = check_no_control, .doc = "The claim with the scopes; the preset's by default."},
    {.name = "client_claim", .type = FIELD_STRING, AT(issuer, client_claim),
     .check = check_no_control, .doc = "The claim with the client id; the preset's by default."},
    {.name = "token_use", .type = FIELD_STRINGS, AT(issuer, token_use), .words = token_use_words,
     .doc = "Accepted token_use values; access by default with the preset cognito."},
    {.name = "leeway_s", .type = FIELD_INTEGER, AT(issuer, leeway_s), .unit = UNIT_S,
     .fallback = "30", .max = 300, .doc = "How far clocks may differ when times are compared."},
    {.name = "jwks_refresh_s", .type = FIELD_INTEGER, AT(issuer, jwks_refresh_s), .unit = UNIT_S,
     .fallback = "300", .min = 10, .max = 86400, .doc = "How often the keys are fetched anew."},
    {.name = "max_token_age_s", .type = FIELD_INTEGER, AT(issuer, max_token_age_s), .unit = UNIT_S,
     .fallback = "0", .max = 31536000,
     .doc = "How long after its iat a token is taken at most; 0: as long as its exp says."},
    {.name = "consumer_claim", .type = FIELD_STRING, AT(issuer, consumer_claim),
     .check = check_no_control,
     .doc = "The claim that names the caller's consumer; by default tokens name none."},
    {.name = "consumer_by", .type = FIELD_STRINGS, AT(issuer, consumer_by),
     .words = consumer_by_words, .fallback = "username,custom_id",
     .doc = "Which fields of a consumer its value may be, tried in this order."},
    {.name = "consumer_optional", .type = FIELD_BOOLEAN, AT(issuer, consumer_optional),
     .fallback = "false",
     .doc = "Whether a token that names no consumer is taken; otherwise it is refused with 403."},
    META_FIELDS(issuer),
};

const struct record schema_issuer = {
    .kind = "issuer", .size = sizeof(struct issuer),
    .line_offset = offsetof(struct issuer, meta.line), RECORD_FIELDS(issuer_fields),
    .finish = finish_issuer,
    .doc = "Who signs the tokens that callers bear: an OpenID Connect provider."};

/* --- consumer --- */

static const struct field consumer_fields[] = {
    {.name = "username", .type = FIELD_STRING, AT(consumer, username),
     .check = check_consumer_name, .flags = FIELD_UNIQUE,
     .doc = "The name that roles call it by; this or custom_id is needed."},
    {.name = "custom_id", .type = FIELD_STRING, AT(consumer, custom_id),
     .check = check_consumer_name, .flags = FIELD_UNIQUE,
     .doc = "What another system calls it, as an identity provider."},
    {.name = "plugins", .type = FIELD_LIST, COUNTED(consumer, plugins, plugin_count),
     .record = &schema_plugin, .doc = "Plugins for this consumer alone."},
    META_FIELDS(consumer),
};

static const char *const kong_consumer[] = {
    "acls", "basicauth_credentials", "groups", "hmacauth_credentials", "jwt_secrets",
    "keyauth_credentials", "mtls_auth_credentials", "oauth2_credentials", NULL};

const struct record schema_consumer = {
    .kind = "consumer", .size = sizeof(struct consumer),
    .line_offset = offsetof(struct consumer, meta.line), RECORD_FIELDS(consumer_fields),
    .kong = kong_consumer, .finish = finish_consumer, .name_field = "username",
    .doc = "A known API client, whom the tokens of an issuer with a consumer_claim name."};

/* --- route, statement, parameter --- */

static const char *const result_words[] = {"many", "one", "affected", "none", NULL};
static const char *const method_words[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", NULL};

static const struct field parameter_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(parameter, name), .flags = FIELD_KEY,
     .check = check_identifier, .doc = "As :name in the statement."},
    {.name = "type", .type = FIELD_STRING, AT(parameter, type), .flags = FIELD_REQUIRED,
     .check = check_type_name, .doc = "The PostgreSQL type, as bigint, text, uuid or text[]."},
    {.name = "from", .type = FIELD_STRING, AT(parameter, from), .flags = FIELD_REQUIRED,
     .doc = "The one source of its value: path, query, body, claim.NAME or header.NAME."},
    {.name = "required", .type = FIELD_BOOLEAN, AT(parameter, required),
     .doc = "Whether a call without it is refused; otherwise it is NULL.  True unless there is a "
            "default."},
    {.name = "default", .type = FIELD_STRING, AT_PRESENT(parameter, default_value, has_default),
     .flags = FIELD_MAY_BE_EMPTY, .doc = "Its value in a call without it, as text."},
};

static const struct record schema_parameter = {
    .kind = "parameter", .size = sizeof(struct parameter),
    .line_offset = offsetof(struct parameter, line), RECORD_FIELDS(parameter_fields),
    .finish = finish_parameter, .doc = "A value that a call brings to the statement."};

static const struct field statement_fields[] = {
    {.name = "sql", .type = FIELD_STRING, AT(statement, sql), .flags = FIELD_REQUIRED,
     .doc = "One statement of SQL; :name stands for a parameter, which is always bound."},
    {.name = "parameters", .type = FIELD_MAP, COUNTED(statement, parameters, parameter_count),
     .record = &schema_parameter, .doc = "The statement's parameters by name."},
    {.name = "result", .type = FIELD_ENUM, AT(statement, result), .words = result_words,
     .fallback = "many",
     .doc = "The answer: all rows, one row, the number of rows affected, or nothing."},
    {.name = "read_only", .type = FIELD_BOOLEAN, AT(statement, read_only), .fallback = "false",
     .doc = "Runs in a read-only transaction, on the service's read endpoint where there is one."},
    {.name = "timeout_ms", .type = FIELD_INTEGER, AT(statement, timeout_ms), .unit = UNIT_MS,
     .fallback = "0", .max = 3600000, .doc = "Its statement_timeout; 0: the service's."},
    {.name = "max_rows", .type = FIELD_INTEGER, AT(statement, max_rows), .unit = UNIT_ROWS,
     .fallback = "0", .max = 100000000, .doc = "More rows are an error; 0: the service's limit."},
    {.name = "audit_values", .type = FIELD_BOOLEAN, AT(statement, audit_values),
     .fallback = "false", .doc = "Whether the audit records the bound values."},
    {.name = "expose_errors", .type = FIELD_BOOLEAN, AT(statement, expose_errors),
     .fallback = "false", .doc = "Whether callers may read the database's own error message."},
};

static const struct record schema_statement = {
    .kind = "statement", .size = sizeof(struct statement),
    .line_offset = offsetof(struct statement, line), RECORD_FIELDS(statement_fields),
    .finish = finish_statement, .doc = "The SQL that a route runs."};

static const struct field route_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(route, name), .check = check_name,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE, .doc = "The name that roles allow the route by."},
    {.name = "service", .type = FIELD_REFERENCE, AT(route, service), .refers_to = "service",
     .doc = "The service, {name: NAME}, of a route that does not stand inside one."},
    {.name = "methods", .type = FIELD_STRINGS, AT(route, methods), .words = method_words,
     .flags = FIELD_REQUIRED, .doc = "The HTTP methods that the route takes."},
    {.name = "paths", .type = FIELD_STRINGS, AT(route, paths), .flags = FIELD_REQUIRED,
     .check = check_path_template,
     .doc = "Whole-path templates; {name} stands for one segment, the path parameter's value."},
    {.name = "statement", .type = FIELD_RECORD, AT_PRESENT(route, statement, statement.present),
     .record = &schema_statement, .flags = FIELD_REQUIRED, .doc = "The SQL that the route runs."},
    {.name = "rate_limit", .type = FIELD_INTEGER, AT(route, rate_limit), .unit = UNIT_PER_SECOND,
     .fallback = "0", .max = 1000000,
     .doc = "How many calls of this route one caller may make; 0: no limit."},
    {.name = "rate_burst", .type = FIELD_INTEGER, AT(route, rate_burst), .fallback = "0",
     .max = 1000000, .doc = "How many of them at once; 0: as many as rate_limit."},
    {.name = "plugins", .type = FIELD_LIST, COUNTED(route, plugins, plugin_count),
     .record = &schema_plugin, .doc = "Plugins for this route alone."},
    META_FIELDS(route),
};

static const char *const kong_route[] = {
    "hosts", "headers", "protocols", "snis", "sources", "destinations",
    "https_redirect_status_code", "regex_priority", "strip_path", "preserve_host", "path_handling",
    "request_buffering", "response_buffering", "expression", "priority", NULL};

const struct record schema_route = {
    .kind = "route", .size = sizeof(struct route), .line_offset = offsetof(struct route, meta.line),
    RECORD_FIELDS(route_fields), .kong = kong_route, .finish = finish_route,
    .doc = "HTTP methods and paths bound to a statement."};

/* --- service --- */

static const char *const sslmode_words[] = {"disable", "require", "verify-ca", "verify-full", NULL};

static const struct field session_tag_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(session_tag, key), .flags = FIELD_KEY,
     .check = check_session_tag_key, .doc = "The tag's key."},
    {.name = "value", .type = FIELD_STRING, AT(session_tag, value),
     .flags = FIELD_REQUIRED | FIELD_MAY_BE_EMPTY, .check = check_session_tag_value,
     .doc = "Its value; may hold {subject}, {client}, {role} and {issuer}."},
    {.name = "transitive", .type = FIELD_BOOLEAN, AT(session_tag, transitive),
     .fallback = "false", .doc = "Whether the roles that the session assumes have the tag too."},
};

static const struct record schema_session_tag = {
    .kind = "tags", .size = sizeof(struct session_tag),
    .line_offset = offsetof(struct session_tag, line), RECORD_FIELDS(session_tag_fields),
    .value_field = "value",
    .doc = "A session tag; KEY: VALUE stands for KEY: {value: VALUE}."};

static const char *const web_identity_words[] = {"none", "caller", NULL};

static const struct field iam_auth_fields[] = {
    {.name = "region", .type = FIELD_STRING, AT(iam_auth, region), .check = check_identifier,
     .doc = "The AWS region; by default from the host name, AWS_REGION or AWS_DEFAULT_REGION."},
    {.name = "hostname", .type = FIELD_STRING, AT(iam_auth, hostname), .check = check_database_host,
     .doc = "The RDS name that tokens are signed for and TLS verifies, when the connection goes "
            "through a tunnel or a CNAME."},
    {.name = "assume_role_arn", .type = FIELD_STRINGS, AT(iam_auth, assume_role_arn),
     .check = check_role_arn,
     .doc = "The IAM role that logs in; of a list each assumes the next, and the last logs in."},
    {.name = "role_session_name", .type = FIELD_STRING, AT(iam_auth, role_session_name),
     .check = check_role_session_name,
     .doc = "The session's name, as CloudTrail shows it; sallyport by default.  With {subject}, "
            "{client}, {role} or {issuer} in it each value has a session of its own."},
    {.name = "source_identity", .type = FIELD_STRING,
     AT_PRESENT(iam_auth, source_identity, has_source_identity), .flags = FIELD_MAY_BE_EMPTY,
     .check = check_source_identity,
     .doc = "What CloudTrail shows as sourceIdentity through all of the chain; the same "
            "placeholders.  By default the session's name when that has one, \"\" for none."},
    {.name = "external_id", .type = FIELD_STRING, AT(iam_auth, external_id),
     .check = check_external_id, .doc = "The external id that the last role's trust asks for."},
    {.name = "session_duration", .type = FIELD_INTEGER, AT(iam_auth, session_duration_s),
     .unit = UNIT_DURATION, .min = 900, .max = 43200,
     .doc = "How long a session of the last role lasts; STS's own default is an hour, and an hour "
            "is the most when another role assumes it."},
    {.name = "policy", .type = FIELD_STRING, AT(iam_auth, policy), .check = check_session_policy,
     .doc = "A session policy, JSON as text: the session may do what the role and this allow."},
    {.name = "policy_arns", .type = FIELD_STRINGS, AT(iam_auth, policy_arns),
     .check = check_policy_arn, .doc = "Managed policies that limit the session likewise."},
    {.name = "tags", .type = FIELD_MAP, COUNTED(iam_auth, tags, tag_count),
     .record = &schema_session_tag, .doc = "Session tags by key."},
    {.name = "web_identity", .type = FIELD_ENUM, AT(iam_auth, web_identity),
     .words = web_identity_words, .fallback = "none",
     .doc = "caller: the first role is assumed with the caller's own token, each caller having a "
            "session of its own."},
    {.name = "sts_endpoint_url", .type = FIELD_STRING, AT(iam_auth, sts_endpoint_url),
     .check = check_https_url, .doc = "A private endpoint of AWS STS, taken exactly as written."},
    {.name = "max_sessions", .type = FIELD_INTEGER, AT(iam_auth, max_sessions),
     .fallback = "1000", .min = 1, .max = 100000,
     .doc = "Sessions kept when callers have one each; the least recently used goes first."},
};

static const struct record schema_iam_auth = {
    .kind = "iam_auth", .size = sizeof(struct iam_auth), .line_offset = NO_OFFSET,
    RECORD_FIELDS(iam_auth_fields), .finish = finish_iam_auth,
    .doc = "Login by AWS IAM tokens; true stands for a mapping of defaults."};

static const char *const strategy_words[] = {"single-user", "alternating-users", NULL};

static const struct field rotation_fields[] = {
    {.name = "every", .type = FIELD_INTEGER, AT(rotation, every_s), .unit = UNIT_DURATION,
     .min = 4 * 3600, .max = INT64_C(1000) * 86400,
     .doc = "How old the secret's value may grow before it is replaced; must be written."},
    {.name = "strategy", .type = FIELD_STRING, AT(rotation, alternating), .words = strategy_words,
     .take = take_strategy,
     .doc = "Whether the user gets a new password (single-user, the default), or a second user "
            "takes turns with it (alternating-users)."},
    {.name = "master", .type = FIELD_STRING, AT(rotation, master), .take = take_whole_secret,
     .doc = "A reference to the secret of who may change users; needed by alternating-users, by "
            "default the user itself."},
};

static const struct record schema_rotation = {
    .kind = "rotation", .size = sizeof(struct rotation), .line_offset = NO_OFFSET,
    RECORD_FIELDS(rotation_fields), .finish = finish_rotation,
    .doc = "Lets the gateway itself rotate the secret, one node at a time."};

/* The fields that a service and its read part share; AT_ENDPOINT names the member in either. */
#define ENDPOINT_FIELDS(AT_ENDPOINT, AT_IAM)                                                       \
    {.name = "url", .type = FIELD_STRING, AT_ENDPOINT(url), .take = take_url,                      \
     .flags = FIELD_HOLDS_REFERENCES,                                                              \
     .doc = "postgres://USER@HOST:PORT/DATABASE, or the parts of it in the next five fields; a "   \
            "password in it must be a reference."},                                                \
        {.name = "host", .type = FIELD_STRING, AT_ENDPOINT(host), .check = check_database_host,    \
         .doc = "The database server's name or address."},                                         \
        {.name = "port", .type = FIELD_PORT, AT_ENDPOINT(port),                                    \
         .doc = "Its port; 5432 by default."},                                                     \
        {.name = "user", .type = FIELD_STRING, AT_ENDPOINT(user), .check = check_identifier,       \
         .take = take_user,                                                                        \
         .doc = "The login; it owns nothing and may only become the roles' database_role."},       \
        {.name = "database", .type = FIELD_STRING, AT_ENDPOINT(database),                          \
         .check = check_identifier, .doc = "The database's name."},                                \
        {.name = "password", .type = FIELD_STRING, AT_ENDPOINT(password), .flags = FIELD_SECRET,   \
         .take = take_password,                                                                    \
         .doc = "The login's password as a reference, or sealed by the keyring; not together "     \
                "with iam_auth."},                                                                 \
        {.name = "secret", .type = FIELD_STRING, AT_ENDPOINT(secret), .take = take_secret,         \
         .doc = "A reference to a whole secret in RDS's format, JSON with username and password, " \
                "instead of user and password."},                                                  \
        {.name = "rotation", .type = FIELD_RECORD, AT_ENDPOINT(rotation),                          \
         .record = &schema_rotation, .doc = "Lets the gateway itself rotate the secret."},         \
        {.name = "sslmode", .type = FIELD_ENUM, AT_ENDPOINT(sslmode), .words = sslmode_words,      \
         .fallback = "verify-full", .doc = "How the connection is secured, in libpq's words."},    \
        {.name = "sslrootcert", .type = FIELD_STRING, AT_ENDPOINT(sslrootcert),                    \
         .check = check_sslrootcert,                                                               \
         .doc = "rds, system, rds+system or a file; by default rds for Amazon's host names, else " \
                "system."},                                                                        \
        {.name = "allow_plaintext", .type = FIELD_BOOLEAN, AT_ENDPOINT(allow_plaintext),           \
         .fallback = "false", .doc = "Lets sslmode disable reach beyond loopback."},               \
        {.name = "iam_auth", .type = FIELD_RECORD, AT_IAM, .record = &schema_iam_auth,             \
         .flags = FIELD_BOOLEAN_TOO, .doc = "Login by AWS IAM tokens instead of a password."}

#define READ_AT(member) AT(endpoint, member)
static const struct field read_fields[] = {
    ENDPOINT_FIELDS(READ_AT, AT_PRESENT(endpoint, iam_auth, iam_auth.enabled)),
};

static const struct record schema_read = {
    .kind = "read", .size = sizeof(struct endpoint), .line_offset = NO_OFFSET,
    RECORD_FIELDS(read_fields), .finish = finish_read,
    .doc = "Where read-only statements go; what it does not say it takes from the service."};

/* The pool is an unnamed struct in the service; offsets are counted from it. */
#define POOL_AT(member)                                                                            \
    .offset = offsetof(struct service, pool.member) - offsetof(struct service, pool),              \
    .present_offset = NO_OFFSET, .inherit_offset = NO_OFFSET, .since = "0.1.0"

static const struct field pool_fields[] = {
    {.name = "max_connections", .type = FIELD_INTEGER, POOL_AT(max_connections), .fallback = "20",
     .min = 1, .max = 10000, .doc = "Connections to the database, of the whole process."},
    {.name = "max_waiting", .type = FIELD_INTEGER, POOL_AT(max_waiting), .fallback = "1000",
     .max = 1000000, .doc = "Calls that may wait for a connection; more are refused with 503."},
    {.name = "wait_timeout_ms", .type = FIELD_INTEGER, POOL_AT(wait_timeout_ms), .unit = UNIT_MS,
     .fallback = "5000", .min = 1, .max = 600000, .doc = "How long a call may wait for one."},
    {.name = "idle_timeout_ms", .type = FIELD_INTEGER, POOL_AT(idle_timeout_ms), .unit = UNIT_MS,
     .fallback = "60000", .max = 86400000,
     .doc = "An unused connection is closed after this time; 0: never."},
    {.name = "max_lifetime_ms", .type = FIELD_INTEGER, POOL_AT(max_lifetime_ms), .unit = UNIT_MS,
     .fallback = "3600000", .max = 604800000,
     .doc = "A connection is replaced after this time; 0: never."},
    {.name = "shared_depth", .type = FIELD_INTEGER, POOL_AT(shared_depth), .fallback = "8",
     .min = 1, .max = 64, .doc = "Short reads in flight on one connection; 1: never shared."},
    {.name = "statement_cache", .type = FIELD_INTEGER, POOL_AT(statement_cache), .fallback = "256",
     .max = 10000, .doc = "Prepared statements kept on one connection."},
    {.name = "login_rate", .type = FIELD_INTEGER, POOL_AT(login_rate), .unit = UNIT_PER_SECOND,
     .fallback = "20", .min = 1, .max = 1000,
     .doc = "New logins; RDS takes fewer than 200 by IAM over all nodes."},
};

static const struct record schema_pool = {
    .kind = "pool", .size = sizeof(((struct service *)NULL)->pool), .line_offset = NO_OFFSET,
    RECORD_FIELDS(pool_fields), .doc = "How connections to the database are kept and shared."};

#define SERVICE_AT(member) AT(service, primary.member)
static const struct field service_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(service, name), .check = check_name,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE, .doc = "The name that roles call the service by."},
    ENDPOINT_FIELDS(SERVICE_AT, AT_PRESENT(service, primary.iam_auth, primary.iam_auth.enabled)),
    {.name = "read", .type = FIELD_RECORD, .record = &schema_read,
     .offset = offsetof(struct service, read),
     .present_offset = offsetof(struct service, has_read),
     .inherit_offset = offsetof(struct service, primary), .since = "0.1.0",
     .doc = "Where read-only statements go; what it does not say it takes from the service."},
    {.name = "search_path", .type = FIELD_STRINGS, AT(service, search_path),
     .check = check_schema_name,
     .doc = "The schemas where statements look names up; pg_temp is always put last."},
    {.name = "claims", .type = FIELD_STRINGS, AT(service, claims), .check = check_no_control,
     .fallback = "sub,role",
     .doc = "The token's claims that reach the database, in request.jwt.claims."},
    {.name = "statement_timeout_ms", .type = FIELD_INTEGER, AT(service, statement_timeout_ms),
     .unit = UNIT_MS, .fallback = "10000", .min = 1, .max = 3600000,
     .doc = "How long a statement may run."},
    {.name = "max_rows", .type = FIELD_INTEGER, AT(service, max_rows), .unit = UNIT_ROWS,
     .fallback = "10000", .min = 1, .max = 100000000, .doc = "More rows of one call are an error."},
    {.name = "max_response_bytes", .type = FIELD_INTEGER, AT(service, max_response_bytes),
     .unit = UNIT_BYTES, .fallback = "16m", .min = 1024, .max = 1 << 30,
     .doc = "A larger answer is an error."},
    {.name = "connect_timeout_ms", .type = FIELD_INTEGER, AT(service, connect_timeout_ms),
     .unit = UNIT_MS, .fallback = "5000", .min = 1, .max = 600000,
     .doc = "How long name look-up, TLS and login may take together."},
    {.name = "pool", .type = FIELD_RECORD, AT(service, pool), .record = &schema_pool,
     .doc = "How connections to the database are kept and shared."},
    {.name = "routes", .type = FIELD_LIST, COUNTED(service, routes, route_count),
     .record = &schema_route, .doc = "What is served from this database."},
    {.name = "plugins", .type = FIELD_LIST, COUNTED(service, plugins, plugin_count),
     .record = &schema_plugin, .doc = "Plugins for this service alone."},
    META_FIELDS(service),
};

static const char *const kong_service[] = {
    "protocol", "retries", "path", "connect_timeout", "write_timeout", "read_timeout",
    "client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates", "enabled", NULL};

const struct record schema_service = {
    .kind = "service", .size = sizeof(struct service),
    .line_offset = offsetof(struct service, meta.line), RECORD_FIELDS(service_fields),
    .kong = kong_service, .finish = finish_service, .doc = "A database."};

/* --- role --- */

static const struct field claim_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(claim_condition, name), .flags = FIELD_KEY,
     .check = check_no_control, .doc = "The claim's name."},
    {.name = "values", .type = FIELD_STRINGS, AT(claim_condition, values),
     .check = check_no_control, .doc = "Any of these."},
};

static const struct record schema_claim = {
    .kind = "claims", .size = sizeof(struct claim_condition), .line_offset = NO_OFFSET,
    RECORD_FIELDS(claim_fields), .value_field = "values"};

static const struct field condition_fields[] = {
    {.name = "issuer", .type = FIELD_STRINGS, AT(condition, issuer), .refers_to = "issuer",
     .doc = "Names of issuers."},
    {.name = "subject", .type = FIELD_STRINGS, AT(condition, subject), .check = check_no_control,
     .doc = "Values of sub."},
    {.name = "client", .type = FIELD_STRINGS, AT(condition, client), .check = check_no_control,
     .doc = "Client ids."},
    {.name = "consumers", .type = FIELD_STRINGS, AT(condition, consumers),
     .refers_to = "consumer", .doc = "Usernames, or ids, of consumers."},
    {.name = "groups", .type = FIELD_STRINGS, AT(condition, groups), .check = check_no_control,
     .doc = "Groups of which the caller must be in one."},
    {.name = "scopes", .type = FIELD_STRINGS, AT(condition, scopes), .check = check_no_control,
     .doc = "Scopes of which the token must have one."},
    {.name = "claims", .type = FIELD_MAP, COUNTED(condition, claims, claim_count),
     .record = &schema_claim, .doc = "Other claims by name, each with the values that serve."},
};

static const struct record schema_condition = {
    .kind = "when", .size = sizeof(struct condition), .line_offset = NO_OFFSET,
    RECORD_FIELDS(condition_fields),
    .doc = "What the caller must be: any value within a list, all of the fields given."};

static const struct field allow_fields[] = {
    {.name = "routes", .type = FIELD_STRINGS, AT(allow_rule, routes), .refers_to = "route",
     .flags = FIELD_REQUIRED, .doc = "Names of routes, or \"*\" for all of the role's services."},
    {.name = "methods", .type = FIELD_STRINGS, AT(allow_rule, methods), .words = method_words,
     .doc = "Of these routes only the methods given; all by default."},
};

static const struct record schema_allow = {
    .kind = "allow", .size = sizeof(struct allow_rule),
    .line_offset = offsetof(struct allow_rule, line), RECORD_FIELDS(allow_fields),
    .finish = finish_allow, .doc = "What the role may call."};

static const struct field role_fields[] = {
    {.name = "name", .type = FIELD_STRING, AT(role, name), .check = check_name,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE, .doc = "The role's name, as in Sallyport-Role."},
    {.name = "priority", .type = FIELD_INTEGER, AT(role, priority), .fallback = "0",
     .min = -1000000, .max = 1000000, .doc = "A role of a higher priority is tried first."},
    {.name = "when", .type = FIELD_RECORD, AT(role, when), .record = &schema_condition,
     .flags = FIELD_REQUIRED, .doc = "What the caller must be."},
    {.name = "services", .type = FIELD_STRINGS, AT(role, services), .refers_to = "service",
     .flags = FIELD_REQUIRED, .doc = "The services that it holds for."},
    {.name = "database_role", .type = FIELD_STRING, AT(role, database_role),
     .flags = FIELD_REQUIRED, .check = check_role_name,
     .doc = "The database role that statements run as."},
    {.name = "allow", .type = FIELD_LIST, COUNTED(role, allow, allow_count),
     .flags = FIELD_REQUIRED, .record = &schema_allow, .doc = "What the role may call."},
    META_FIELDS(role),
};

const struct record schema_role = {
    .kind = "role", .size = sizeof(struct role), .line_offset = offsetof(struct role, meta.line),
    RECORD_FIELDS(role_fields), .finish = finish_role,
    .doc = "What a caller may become, and what it may touch."};

/* --- vault --- */

static const char *const vault_kinds[] = {"env", "file", "aws", NULL};

#define VAULT_AT(member) AT(vault, member)
static const struct field vault_config_fields[] = {
    {.name = "prefix", .type = FIELD_STRING, VAULT_AT(path_prefix), .check = check_no_control,
     .doc = "env: put before the variable's name.  file: the folder of the secrets, /run/secrets "
            "by default."},
    {.name = "region", .type = FIELD_STRING, VAULT_AT(aws.region), .check = check_identifier,
     .doc = "aws: the region; by default that of the environment, as for logins."},
    {.name = "endpoint_url", .type = FIELD_STRING, VAULT_AT(aws.endpoint_url),
     .check = check_https_url, .doc = "aws: a private endpoint of AWS Secrets Manager."},
    {.name = "assume_role_arn", .type = FIELD_STRING, VAULT_AT(aws.assume_role_arn),
     .check = check_role_arn, .doc = "aws: an IAM role to read secrets as."},
    {.name = "role_session_name", .type = FIELD_STRING, VAULT_AT(aws.role_session_name),
     .check = check_plain_session_name, .doc = "aws: its session's name; KongVault by default."},
    {.name = "sts_endpoint_url", .type = FIELD_STRING, VAULT_AT(aws.sts_endpoint_url),
     .check = check_https_url, .doc = "aws: a private endpoint of AWS STS."},
    {.name = "base64_decode", .type = FIELD_BOOLEAN, VAULT_AT(aws.base64_decode),
     .fallback = "false", .doc = "aws: whether what is read is base64, to be decoded."},
    {.name = "ttl", .type = FIELD_INTEGER, VAULT_AT(ttl_s), .unit = UNIT_S, .fallback = "0",
     .max = SECRET_TTL_MAX_S, .doc = "aws: a value is read again when it is this old; 0: never."},
    {.name = "neg_ttl", .type = FIELD_INTEGER, VAULT_AT(neg_ttl_s), .unit = UNIT_S,
     .fallback = "0", .max = SECRET_TTL_MAX_S,
     .doc = "aws: how long a secret that is not there is not asked for again; 0: as ttl."},
    {.name = "resurrect_ttl", .type = FIELD_INTEGER, VAULT_AT(resurrect_ttl_s), .unit = UNIT_S,
     .fallback = "100000000", .max = SECRET_TTL_MAX_S,
     .doc = "aws: how long a value outlives its ttl while it cannot be read again."},
};

const struct record schema_vault_config = {
    .kind = "config", .size = sizeof(struct vault), .line_offset = NO_OFFSET,
    RECORD_FIELDS(vault_config_fields),
    .doc = "What the kind of vault needs; its values may be references to env and file."};

static const struct field vault_fields[] = {
    {.name = "prefix", .type = FIELD_STRING, AT(vault, prefix), .check = check_vault_prefix,
     .flags = FIELD_REQUIRED | FIELD_UNIQUE, .doc = "The X of {vault://X/…}."},
    {.name = "name", .type = FIELD_ENUM, AT(vault, kind), .words = vault_kinds,
     .flags = FIELD_REQUIRED, .doc = "What kind of vault it is."},
    {.name = "description", .type = FIELD_STRING, .offset = 0, .take = take_nothing,
     .present_offset = NO_OFFSET, .inherit_offset = NO_OFFSET, .since = "0.1.0",
     .doc = "For people; without effect."},
    /* The config's fields are members of the vault itself. */
    {.name = "config", .type = FIELD_RECORD, .offset = 0, .present_offset = NO_OFFSET,
     .inherit_offset = NO_OFFSET, .since = "0.1.0", .record = &schema_vault_config,
     .doc = "What the kind of vault needs."},
    META_FIELDS(vault),
};

const struct record schema_vault = {
    .kind = "vault", .size = sizeof(struct vault), .line_offset = offsetof(struct vault, meta.line),
    RECORD_FIELDS(vault_fields), .finish = finish_vault,
    .doc = "Where references with a prefix are looked up; env, file and aws need no entity."};

/* --- the file --- */

static const struct field file_fields[] = {
    {.name = "_format_version", .type = FIELD_STRING, AT(yaml_file, format_version),
     .flags = FIELD_REQUIRED, .check = check_format_version, .doc = "Always \"3.0\", as in Kong."},
    {.name = "vaults", .type = FIELD_LIST, COUNTED(yaml_file, vaults, vault_count),
     .record = &schema_vault, .take = take_nothing,
     .doc = "Where references to secrets are looked up."},
    {.name = "issuers", .type = FIELD_LIST, COUNTED(yaml_file, issuers, issuer_count),
     .record = &schema_issuer, .doc = "Who signs the tokens that callers bear."},
    {.name = "consumers", .type = FIELD_LIST, COUNTED(yaml_file, consumers, consumer_count),
     .record = &schema_consumer, .doc = "The known clients, whom roles may name."},
    {.name = "services", .type = FIELD_LIST, COUNTED(yaml_file, services, service_count),
     .record = &schema_service, .doc = "The databases, with their routes."},
    {.name = "routes", .type = FIELD_LIST, COUNTED(yaml_file, routes, route_count),
     .record = &schema_route, .doc = "Routes that name their service instead of standing in it."},
    {.name = "plugins", .type = FIELD_LIST, COUNTED(yaml_file, plugins, plugin_count),
     .record = &schema_plugin, .doc = "Plugins for all calls, or for those whom they name."},
    {.name = "roles", .type = FIELD_LIST, COUNTED(yaml_file, roles, role_count),
     .record = &schema_role, .doc = "What callers may become."},
};

static const char *const kong_file[] = {
    "_info", "_transform", "_workspace", "_konnect", "_plugin_configs", "acls",
    "basicauth_credentials", "ca_certificates", "certificates", "consumer_groups",
    "filter_chains", "hmacauth_credentials", "jwt_secrets", "key_sets", "keyauth_credentials",
    "keys", "licenses", "oauth2_credentials", "partials", "snis", "targets", "upstreams",
    NULL};

const struct record schema_file = {
    .kind = "the file", .size = sizeof(struct yaml_file), .line_offset = NO_OFFSET,
    RECORD_FIELDS(file_fields), .kong = kong_file};
