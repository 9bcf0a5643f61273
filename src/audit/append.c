/* Records: the events as lines, chained. */
#include <string.h>

#include "audit/internal.h"
#include "json/json.h"

/* ,"name":"text" unless absent. */
static void add_text(struct buf *b, const char *name, struct view text)
{
    if (text.data == NULL)
        return;
    buf_add_char(b, ',');
    json_add_name(b, name);
    json_add_string(b, text);
}

static void add_integer(struct buf *b, const char *name, int64_t n)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    buf_add_i64(b, n);
}

static void add_count(struct buf *b, const char *name, uint64_t n)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    buf_add_u64(b, n);
}

static void add_bool(struct buf *b, const char *name, bool value)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    json_add_bool(b, value);
}

static void add_fragment(struct buf *b, struct view fragment)
{
    if (fragment.len == 0)
        return;
    buf_add_char(b, ',');
    buf_add_view(b, fragment);
}

static void add_call(struct buf *b, const struct audit_call *c)
{
    add_text(b, "request_id", view_upto(c->request_id, AUDIT_ID_MAX));
    add_text(b, "trace_id", view_upto(c->trace_id, AUDIT_ID_MAX));
}

/* The text of the second is kept; six digits change. */
static void add_time(struct audit_writer *w)
{
    int64_t now_us = clock_wall_us(w->log->clock);
    int64_t micro = now_us % 1000000;

    if (now_us / 1000000 != w->second || micro < 0) {
        w->second = now_us / 1000000;
        time_format(now_us, w->when);
    } else {
        for (int i = 25; i >= 20; i--, micro /= 10)
            w->when[i] = (char)('0' + micro % 10);
    }
    buf_add(&w->pending, w->when, TIME_TEXT_BYTES - 1);
}

/* Whether the record announces something that can still be refused. */
enum weight { MAY_BE_REFUSED, HAS_HAPPENED };

static struct buf *begin(struct audit_writer *w, enum audit_kind kind, enum weight weight)
{
    struct buf *b = &w->pending;

    if (weight == MAY_BE_REFUSED && (w->broken || b->len > AUDIT_BUFFER_MAX / 4 * 3)) {
        atomic_fetch_add(&w->log->refused, 1);
        return NULL;
    }
    w->record_at = b->len;
    buf_add_view(b, VIEW("{\"time\":\""));
    add_time(w);
    buf_add_view(b, buf_view(&w->prefix));
    buf_add_u64(b, w->seq + 1);
    buf_add_view(b, VIEW(",\"kind\":\""));
    buf_add_str(b, audit_kind_name(kind));
    buf_add_char(b, '"');
    buf_add_view(b, buf_view(&w->log->node_member));
    return b;
}

static bool end(struct audit_writer *w)
{
    struct buf *b = &w->pending;
    uint8_t digest[SHA256_BYTES];
    char chain[AUDIT_CHAIN_DIGITS];

    if (!buf_failed(b) && b->len - w->record_at < AUDIT_LINE_MAX - 128) {
        sha256_init(&w->hash);
        sha256_add(&w->hash, view_of(w->chain, sizeof w->chain));
        sha256_add(&w->hash, view_from(buf_view(b), w->record_at));
        sha256_end(&w->hash, digest);
        audit_hex(digest, chain);
        buf_add_view(b, VIEW(",\"chain\":\""));
        buf_add(b, chain, sizeof chain);
        buf_add_view(b, VIEW("\"}\n"));
    } else {
        b->failed = true;
    }
    if (buf_failed(b)) {
        b->failed = false;
        buf_truncate(b, w->record_at);
        atomic_fetch_add(&w->log->refused, 1);
        return false;
    }
    memcpy(w->chain, chain, sizeof chain);
    w->seq++;
    w->pending_records++;
    return true;
}

bool audit_append_file(struct audit_writer *w, const char *previous_file)
{
    struct buf *b = begin(w, AUDIT_FILE, HAS_HAPPENED);

    add_count(b, "file", w->file);
    add_text(b, "previous_file", view_str(previous_file));
    add_text(b, "previous_chain", view_of(w->chain, sizeof w->chain));
    add_text(b, "version", VIEW(SALLYPORT_VERSION));
    return end(w);
}

static void add_values(struct buf *b, struct view values)
{
    char hash[AUDIT_CHAIN_DIGITS + 1];

    if (values.len == 0)
        return;
    if (values.len <= AUDIT_VALUES_MAX) {
        buf_add_view(b, VIEW(",\"values\":"));
        buf_add_view(b, values);
        return;
    }
    audit_statement_hash(values, hash);
    add_text(b, "values_sha256", view_str(hash));
    add_count(b, "values_bytes", values.len);
}

bool audit_intent(struct audit_writer *w, const struct audit_intent *e)
{
    struct buf *b = begin(w, AUDIT_INTENT, MAY_BE_REFUSED);

    if (b == NULL)
        return false;
    add_call(b, &e->call);
    add_text(b, "method", e->method);
    add_fragment(b, e->principal);
    add_fragment(b, e->source);
    add_fragment(b, e->decision);
    add_fragment(b, e->target);
    add_text(b, "access_key_id", e->access_key_id);
    add_values(b, e->values);
    return end(w);
}

bool audit_outcome(struct audit_writer *w, const struct audit_outcome *e)
{
    struct buf *b = begin(w, AUDIT_OUTCOME, HAS_HAPPENED);

    add_call(b, &e->call);
    add_integer(b, "status", e->http_status);
    add_count(b, "rows", e->rows);
    add_text(b, "sqlstate", e->sqlstate);
    add_text(b, "reason", e->reason);
    if (e->backend_pid != 0)
        add_count(b, "backend_pid", e->backend_pid);
    add_text(b, "endpoint", e->endpoint);
    add_text(b, "access_key_id", e->access_key_id);
    add_count(b, "bytes", e->response_bytes);
    add_integer(b, "queue_us", e->queue_us);
    add_integer(b, "database_us", e->database_us);
    add_integer(b, "total_us", e->total_us);
    return end(w);
}

bool audit_auth_failure(struct audit_writer *w, const struct audit_auth_failure *e)
{
    struct buf *b = begin(w, AUDIT_AUTH_FAILURE, MAY_BE_REFUSED);

    if (b == NULL)
        return false;
    add_call(b, &e->call);
    add_text(b, "method", e->method);
    add_text(b, "path", view_upto(e->path, AUDIT_PATH_MAX));
    add_fragment(b, e->source);
    add_integer(b, "status", e->http_status);
    add_text(b, "reason", e->reason);
    add_text(b, "detail", view_upto(e->detail, AUDIT_PATH_MAX));
    add_text(b, "unverified_issuer", view_upto(e->unverified_issuer, AUDIT_PATH_MAX));
    add_text(b, "unverified_key_id", view_upto(e->unverified_key_id, AUDIT_ID_MAX));
    return end(w);
}

bool audit_denial(struct audit_writer *w, const struct audit_denial *e)
{
    struct buf *b = begin(w, AUDIT_DENIAL, MAY_BE_REFUSED);

    if (b == NULL)
        return false;
    add_call(b, &e->call);
    add_text(b, "method", e->method);
    add_text(b, "path", view_upto(e->path, AUDIT_PATH_MAX));
    add_fragment(b, e->principal);
    add_fragment(b, e->source);
    add_fragment(b, e->decision);
    add_fragment(b, e->target);
    add_integer(b, "status", e->http_status);
    add_text(b, "reason", e->reason);
    add_text(b, "detail", view_upto(e->detail, AUDIT_PATH_MAX));
    add_text(b, "plugin", e->plugin);
    return end(w);
}

bool audit_login(struct audit_writer *w, const struct audit_login *e)
{
    char when[TIME_TEXT_BYTES];
    struct buf *b = begin(w, e->failed ? AUDIT_LOGIN_FAILURE : AUDIT_LOGIN, HAS_HAPPENED);

    add_text(b, "service", e->service);
    add_text(b, "endpoint", e->endpoint);
    add_text(b, "signed_host", e->signed_host);
    add_text(b, "database", e->database);
    add_text(b, "database_user", e->database_user);
    add_text(b, "auth_method", e->auth_method);
    add_text(b, "access_key_id", e->access_key_id);
    add_text(b, "credential_source", e->credential_source);
    add_text(b, "iam_arn", e->iam_arn);
    if (e->token_expiry_us != 0) {
        time_format(e->token_expiry_us, when);
        add_text(b, "token_expires", view_str(when));
    }
    if (e->backend_pid != 0)
        add_count(b, "backend_pid", e->backend_pid);
    add_text(b, "tls_version", e->tls_version);
    add_text(b, "tls_cipher", e->tls_cipher);
    add_integer(b, "duration_us", e->duration_us);
    if (e->failed) {
        add_text(b, "reason", e->reason);
        add_text(b, "detail", view_upto(e->detail, AUDIT_PATH_MAX));
        add_text(b, "sqlstate", e->sqlstate);
    }
    return end(w);
}

bool audit_config_change(struct audit_writer *w, const struct audit_config_change *e)
{
    struct buf *b = begin(w, AUDIT_CONFIG_CHANGE, HAS_HAPPENED);

    add_text(b, "config_file", e->file);
    add_text(b, "sha256", e->sha256);
    add_text(b, "cause", e->cause);
    add_bool(b, "applied", e->applied);
    add_count(b, "errors", e->errors);
    add_text(b, "detail", view_upto(e->detail, AUDIT_PATH_MAX));
    add_count(b, "services", e->services);
    add_count(b, "routes", e->routes);
    add_count(b, "role_count", e->roles);
    return end(w);
}

bool audit_start(struct audit_writer *w, const struct audit_start *e)
{
    struct buf *b = begin(w, AUDIT_START, HAS_HAPPENED);

    add_text(b, "version", e->version);
    add_count(b, "workers", e->workers);
    add_integer(b, "pid", e->pid);
    return end(w);
}

bool audit_stop(struct audit_writer *w, const struct audit_stop *e)
{
    struct buf *b = begin(w, AUDIT_STOP, HAS_HAPPENED);

    add_text(b, "reason", e->reason);
    return end(w);
}
