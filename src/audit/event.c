#include "audit/event.h"

#include "base/attr.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "json/json.h"

static const char *const kind_names[AUDIT_KIND_COUNT] = {
    [AUDIT_FILE] = "file",
    [AUDIT_INTENT] = "intent",
    [AUDIT_OUTCOME] = "outcome",
    [AUDIT_AUTH_FAILURE] = "auth_failure",
    [AUDIT_DENIAL] = "denial",
    [AUDIT_LOGIN] = "login",
    [AUDIT_LOGIN_FAILURE] = "login_failure",
    [AUDIT_CONFIG_CHANGE] = "config_change",
    [AUDIT_START] = "start",
    [AUDIT_STOP] = "stop",
};

const char *audit_kind_name(enum audit_kind kind)
{
    return kind_names[kind];
}

bool audit_kind_by_name(struct view name, enum audit_kind *out)
{
    for (int i = 0; i < AUDIT_KIND_COUNT; i++) {
        if (view_is(name, kind_names[i])) {
            *out = (enum audit_kind)i;
            return true;
        }
    }
    return false;
}

const char *audit_verdict_name(enum role_verdict verdict)
{
    static const char *const names[] = {
        [ROLE_CHOSEN] = "chosen",
        [ROLE_NOT_NAMED] = "not_named",
        [ROLE_WRONG_ISSUER] = "wrong_issuer",
        [ROLE_WRONG_SUBJECT] = "wrong_subject",
        [ROLE_WRONG_CLIENT] = "wrong_client",
        [ROLE_WRONG_CONSUMER] = "wrong_consumer",
        [ROLE_MISSING_GROUP] = "missing_group",
        [ROLE_MISSING_SCOPE] = "missing_scope",
        [ROLE_WRONG_CLAIM] = "wrong_claim",
        [ROLE_OTHER_SERVICE] = "other_service",
        [ROLE_NOT_ALLOWED] = "not_allowed",
        [ROLE_LOWER_PRIORITY] = "lower_priority",
    };
    return (size_t)verdict < COUNT_OF(names) && names[verdict] != NULL ? names[verdict] : "unknown";
}

/* A comma before every member but the fragment's first. */
static void add_name(struct buf *out, size_t start, const char *name)
{
    if (out->len > start)
        buf_add_char(out, ',');
    json_add_name(out, name);
}

static void add_text(struct buf *out, size_t start, const char *name, struct view text)
{
    if (text.data == NULL)
        return;
    add_name(out, start, name);
    json_add_string(out, text);
}

static void add_texts(struct buf *out, size_t start, const char *name, struct strings texts)
{
    if (texts.count == 0)
        return;
    add_name(out, start, name);
    buf_add_char(out, '[');
    for (size_t i = 0; i < texts.count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        json_add_string(out, texts.items[i]);
    }
    buf_add_char(out, ']');
}

void audit_render_principal(struct buf *out, const struct principal *p)
{
    char when[TIME_TEXT_BYTES];
    size_t start = out->len;

    add_text(out, start, "issuer", p->issuer);
    add_text(out, start, "issuer_name", p->issuer_name);
    add_text(out, start, "subject", p->subject);
    add_text(out, start, "client", p->client);
    if (p->consumer != NULL)
        add_text(out, start, "consumer", consumer_name(p->consumer));
    add_text(out, start, "auth_method", p->method);
    add_texts(out, start, "groups", p->groups);
    add_texts(out, start, "scopes", p->scopes);
    add_text(out, start, "token_id", p->token_id);
    add_text(out, start, "key_id", p->key_id);
    /* A time beyond what time_format can say would be a lie. */
    if (p->expires_at_s > 0 && p->expires_at_s < 253402300800) {
        time_format(p->expires_at_s * 1000000, when);
        add_text(out, start, "token_expires", view_str(when));
    }
}

void audit_render_source(struct buf *out, const struct audit_source *s)
{
    size_t start = out->len;

    add_text(out, start, "source", s->address);
    add_text(out, start, "tls_version", s->tls_version);
    add_text(out, start, "tls_cipher", s->tls_cipher);
}

void audit_render_decision(struct buf *out, const struct decision *d)
{
    size_t start = out->len;

    add_text(out, start, "decision", d->allowed ? VIEW("allow") : VIEW("deny"));
    add_text(out, start, "decision_reason", d->reason);
    if (d->role != NULL)
        add_text(out, start, "role", d->role->name);
    if (d->finding_count == 0)
        return;
    add_name(out, start, "roles");
    buf_add_char(out, '[');
    for (size_t i = 0; i < d->finding_count; i++) {
        buf_add_str(out, i > 0 ? ",{\"role\":" : "{\"role\":");
        json_add_string(out, d->findings[i].role->name);
        buf_add_str(out, ",\"verdict\":");
        json_add_string(out, view_str(audit_verdict_name(d->findings[i].verdict)));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

void audit_render_target(struct buf *out, const struct audit_target *t)
{
    size_t start = out->len;

    add_text(out, start, "service", t->service);
    add_text(out, start, "route", t->route);
    add_text(out, start, "path_template", t->path_template);
    add_text(out, start, "statement_sha256", t->statement_sha256);
    add_name(out, start, "read_only");
    json_add_bool(out, t->read_only);
    add_text(out, start, "database_role", t->database_role);
    add_text(out, start, "database_user", t->database_user);
    add_text(out, start, "database", t->database);
    add_text(out, start, "endpoint", t->endpoint);
    add_text(out, start, "iam_arn", t->iam_arn);
}

void audit_statement_hash(struct view sql, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_BYTES];

    sha256(sql, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
}
