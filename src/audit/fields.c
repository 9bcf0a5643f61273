/* The schema of the audit log, member by member. */
#include "audit/event.h"

#include "base/attr.h"

enum {
    ALL = (1u << AUDIT_KIND_COUNT) - 1,
    FILE_ = 1u << AUDIT_FILE,
    INTENT = 1u << AUDIT_INTENT,
    OUTCOME = 1u << AUDIT_OUTCOME,
    AUTH = 1u << AUDIT_AUTH_FAILURE,
    DENIAL = 1u << AUDIT_DENIAL,
    LOGINS = 1u << AUDIT_LOGIN | 1u << AUDIT_LOGIN_FAILURE,
    FAILED_LOGIN = 1u << AUDIT_LOGIN_FAILURE,
    CONFIG = 1u << AUDIT_CONFIG_CHANGE,
    START = 1u << AUDIT_START,
    STOP = 1u << AUDIT_STOP,
    CALLS = INTENT | OUTCOME | AUTH | DENIAL,
    CALLER = INTENT | DENIAL,
};

const struct audit_field audit_fields[] = {
    {"time", AUDIT_TEXT, ALL, "When the record was made: RFC 3339, UTC, microseconds."},
    {"boot", AUDIT_TEXT, ALL, "The run of the program: the time of its start and a random word."},
    {"worker", AUDIT_INTEGER, ALL, "The writer: 0 is the control thread, workers count from 1."},
    {"seq", AUDIT_INTEGER, ALL, "Counts the writer's records in this boot, from 1, without a gap."},
    {"kind", AUDIT_TEXT, ALL, "What happened; the name of the event."},
    {"node", AUDIT_TEXT, ALL, "The node's name, `node_name` of sallyport.conf."},
    {"file", AUDIT_INTEGER, FILE_, "The number of this file among the writer's, from 1."},
    {"previous_file", AUDIT_TEXT, FILE_, "The file before this one; absent in the first."},
    {"previous_chain", AUDIT_TEXT, FILE_, "The last chain of the file before; zeros in the first."},
    {"version", AUDIT_TEXT, FILE_ | START, "The program's version."},
    {"request_id", AUDIT_TEXT, CALLS, "The call's id, as the answer's X-Request-Id says."},
    {"trace_id", AUDIT_TEXT, CALLS, "The id from traceparent or X-Amzn-Trace-Id."},
    {"method", AUDIT_TEXT, INTENT | AUTH | DENIAL, "The HTTP method."},
    {"path", AUDIT_TEXT, AUTH | DENIAL, "The path asked for, without its query, at most 1024 bytes."},
    {"issuer", AUDIT_TEXT, CALLER, "`iss` of the verified token."},
    {"issuer_name", AUDIT_TEXT, CALLER, "The configured issuer's name."},
    {"subject", AUDIT_TEXT, CALLER, "`sub`: who calls."},
    {"client", AUDIT_TEXT, CALLER, "The client the token was issued to."},
    {"consumer", AUDIT_TEXT, CALLER,
     "The consumer that the token names: its username, or its custom_id where it has none."},
    {"auth_method", AUDIT_TEXT, CALLER | LOGINS,
     "How the caller was proved (`jwt`), or how the login was (`iam`, `scram-sha-256`, `password`)."},
    {"groups", AUDIT_TEXTS, CALLER, "The token's groups."},
    {"scopes", AUDIT_TEXTS, CALLER, "The token's scopes."},
    {"token_id", AUDIT_TEXT, CALLER, "`jti` of the token."},
    {"key_id", AUDIT_TEXT, CALLER, "`kid` of the key that verified the token."},
    {"token_expires", AUDIT_TEXT, CALLER | LOGINS,
     "When the caller's token, or the login's IAM token, ends."},
    {"source", AUDIT_TEXT, INTENT | AUTH | DENIAL, "The client's address and port."},
    {"tls_version", AUDIT_TEXT, INTENT | AUTH | DENIAL | LOGINS,
     "TLS of the client's connection, of a login to the database; absent when plain."},
    {"tls_cipher", AUDIT_TEXT, INTENT | AUTH | DENIAL | LOGINS, "The cipher suite."},
    {"decision", AUDIT_TEXT, CALLER, "`allow` or `deny`."},
    {"decision_reason", AUDIT_TEXT, CALLER, "Why, as a stable word."},
    {"role", AUDIT_TEXT, CALLER, "The role chosen."},
    {"roles", AUDIT_OBJECTS, CALLER,
     "Every role considered, by priority: `role` and `verdict`, which says why it was not chosen."},
    {"service", AUDIT_TEXT, CALLER | LOGINS, "The service called."},
    {"route", AUDIT_TEXT, CALLER, "The route, which also names the statement."},
    {"path_template", AUDIT_TEXT, CALLER, "The route's path as configured."},
    {"statement_sha256", AUDIT_TEXT, CALLER, "SHA-256 of the statement's text, in hex."},
    {"read_only", AUDIT_BOOL, CALLER, "Whether the statement runs in a read-only transaction."},
    {"database_role", AUDIT_TEXT, CALLER, "The database role it runs as."},
    {"database_user", AUDIT_TEXT, CALLER | LOGINS, "The database login."},
    {"database", AUDIT_TEXT, CALLER | LOGINS, "The database."},
    {"endpoint", AUDIT_TEXT, CALLER | OUTCOME | LOGINS, "Host and port of the database."},
    {"iam_arn", AUDIT_TEXT, CALLER | LOGINS,
     "Of a call, the IAM role that its login assumes; of a login, the session's ARN as STS said "
     "it."},
    {"access_key_id", AUDIT_TEXT, INTENT | OUTCOME | LOGINS,
     "The access key whose signature is the login's password; ties the call to CloudTrail."},
    {"values", AUDIT_OBJECT, INTENT, "The bound values, only when the route says `audit_values`."},
    {"values_sha256", AUDIT_TEXT, INTENT, "In place of `values` longer than 64 KiB."},
    {"values_bytes", AUDIT_INTEGER, INTENT, "Their length in that case."},
    {"status", AUDIT_INTEGER, OUTCOME | AUTH | DENIAL, "The answer's HTTP status."},
    {"rows", AUDIT_INTEGER, OUTCOME, "Rows returned or affected."},
    {"sqlstate", AUDIT_TEXT, OUTCOME | FAILED_LOGIN, "The database's code; `00000` for success."},
    {"backend_pid", AUDIT_INTEGER, OUTCOME | LOGINS, "The process at the database, as its log says."},
    {"bytes", AUDIT_INTEGER, OUTCOME, "The length of the answer's body."},
    {"queue_us", AUDIT_INTEGER, OUTCOME, "Microseconds spent waiting for a connection."},
    {"database_us", AUDIT_INTEGER, OUTCOME, "From the first byte sent to the database's ready."},
    {"total_us", AUDIT_INTEGER, OUTCOME, "From the request read to the answer ready."},
    {"reason", AUDIT_TEXT, OUTCOME | AUTH | DENIAL | FAILED_LOGIN | STOP,
     "Why it failed or ended, as a stable word; absent when all went well."},
    {"detail", AUDIT_TEXT, AUTH | DENIAL | FAILED_LOGIN | CONFIG, "The same as a sentence."},
    {"plugin", AUDIT_TEXT, DENIAL,
     "The plugin that refused the call: its name, and its `instance_name` where it has one."},
    {"unverified_issuer", AUDIT_TEXT, AUTH, "What the refused token claims; proved by nothing."},
    {"unverified_key_id", AUDIT_TEXT, AUTH, "The same of its key."},
    {"signed_host", AUDIT_TEXT, LOGINS, "The host name that the IAM token was signed for."},
    {"credential_source", AUDIT_TEXT, LOGINS,
     "Where the AWS credentials came from, or the secret with its version."},
    {"duration_us", AUDIT_INTEGER, LOGINS, "From connecting to the first ready, or the failure."},
    {"config_file", AUDIT_TEXT, CONFIG, "The file."},
    {"sha256", AUDIT_TEXT, CONFIG, "SHA-256 of its bytes, in hex."},
    {"cause", AUDIT_TEXT, CONFIG, "What asked for it: `start`, `reload`, `SIGHUP`."},
    {"applied", AUDIT_BOOL, CONFIG, "False: refused, and the program went on with what it had."},
    {"errors", AUDIT_INTEGER, CONFIG, "How many mistakes were found."},
    {"services", AUDIT_INTEGER, CONFIG, "How many it has."},
    {"routes", AUDIT_INTEGER, CONFIG, "How many it has."},
    {"role_count", AUDIT_INTEGER, CONFIG, "How many roles it has."},
    {"workers", AUDIT_INTEGER, START, "How many worker threads run."},
    {"pid", AUDIT_INTEGER, START, "The program's process id."},
    {"chain", AUDIT_TEXT, ALL, "Ties the record to the one before; always the last member."},
};

const size_t audit_field_count = COUNT_OF(audit_fields);

static void add_kinds(struct buf *out, unsigned kinds)
{
    bool first = true;

    if (kinds == ALL) {
        buf_add_str(out, "all");
        return;
    }
    for (int i = 0; i < AUDIT_KIND_COUNT; i++) {
        if ((kinds & 1u << i) == 0)
            continue;
        buf_add_str(out, first ? "" : ", ");
        buf_add_str(out, audit_kind_name((enum audit_kind)i));
        first = false;
    }
}

void audit_fields_markdown(struct buf *out)
{
    static const char *const types[] = {
        [AUDIT_TEXT] = "text",   [AUDIT_INTEGER] = "integer", [AUDIT_BOOL] = "boolean",
        [AUDIT_TEXTS] = "texts", [AUDIT_OBJECT] = "object",   [AUDIT_OBJECTS] = "objects",
    };
    buf_add_str(out, "| member | type | events | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < audit_field_count; i++) {
        const struct audit_field *f = &audit_fields[i];
        buf_printf(out, "| `%s` | %s | ", f->name, types[f->type]);
        add_kinds(out, f->kinds);
        buf_printf(out, " | %s |\n", f->text);
    }
}
