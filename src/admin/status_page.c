#include "admin/status_page.h"

#include "admin/metrics.h"
#include "base/time.h"
#include "http/http.h"
#include "json/json.h"

#define JSON_TYPE VIEW("application/json")

/* A list of findings, written while the report is gone through. */
struct findings {
    struct buf *out;
    size_t count;
};

static void find(struct findings *f, const char *reason, struct view name, struct view detail)
{
    struct buf *b = f->out;

    buf_add_str(b, f->count++ == 0 ? "{" : ",{");
    json_add_name(b, "reason");
    json_add_string(b, view_str(reason));
    if (name.data != NULL) {
        buf_add_char(b, ',');
        json_add_name(b, "name");
        json_add_string(b, name);
    }
    if (detail.data != NULL) {
        buf_add_char(b, ',');
        json_add_name(b, "detail");
        json_add_string(b, detail);
    }
    buf_add_char(b, '}');
}

static const struct view none = {NULL, 0};

/* Some caller could be answered: an issuer has keys.  One that never had any while another has
 * is a warning, so that a second issuer's trouble does not take every node away from the callers
 * of the first. */
static bool some_keys(const struct status_report *r)
{
    for (size_t i = 0; i < r->issuer_count; i++)
        if (r->issuers[i].keys_loaded)
            return true;
    return false;
}

static void find_issuers_without_keys(struct findings *f, const struct status_report *r)
{
    for (size_t i = 0; i < r->issuer_count; i++)
        if (!r->issuers[i].keys_loaded)
            find(f, "issuer_keys", r->issuers[i].name, r->issuers[i].last_error);
}

static size_t add_missing(struct buf *b, const struct status_report *r)
{
    struct findings f = {.out = b};

    if (!r->configured)
        find(&f, "configuration", none, none);
    if (!r->audit_working)
        find(&f, "audit", none, none);
    if (r->draining)
        find(&f, "draining", none, none);
    if (r->configured && r->issuer_count == 0)
        find(&f, "issuer_keys", none, VIEW("no issuer is configured"));
    if (!some_keys(r))
        find_issuers_without_keys(&f, r);
    return f.count;
}

static size_t add_warnings(struct buf *b, const struct status_report *r)
{
    struct findings f = {.out = b};

    if (r->refused.data != NULL)
        find(&f, "configuration", none, r->refused);
    if (some_keys(r))
        find_issuers_without_keys(&f, r);
    for (size_t i = 0; i < r->issuer_count; i++) {
        if (r->issuers[i].keys_loaded && r->issuers[i].last_error.data != NULL)
            find(&f, "issuer_refresh", r->issuers[i].name, r->issuers[i].last_error);
    }
    if (r->store.last_error.data != NULL)
        find(&f, "store", none, r->store.last_error);
    if (r->store.mistake.data != NULL)
        find(&f, "store", none, r->store.mistake);
    if (r->aws.last_error.data != NULL)
        find(&f, "aws_credentials", r->aws.source, r->aws.last_error);
    for (size_t i = 0; i < r->aws_sessions.failure_count; i++) {
        const struct status_aws_failure *failure = &r->aws_sessions.failures[i];
        if (!failure->per_caller) /* a caller's is no trouble of the node's */
            find(&f, "aws_session", failure->role, failure->detail);
    }
    for (size_t i = 0; i < r->rotation_count; i++) {
        if (r->rotations[i].failures > 0)
            find(&f, "rotation", r->rotations[i].service, r->rotations[i].detail);
    }
    for (size_t i = 0; i < r->secret_count; i++) {
        if (r->secrets[i].last_error.data != NULL)
            find(&f, "secret", r->secrets[i].name, r->secrets[i].last_error);
    }
    for (size_t i = 0; i < r->service_count; i++) {
        if (!r->services[i].reachable)
            find(&f, "database", r->services[i].name, r->services[i].last_error);
    }
    return f.count;
}

/* "missing":[…],"warnings":[…],"ready":…,"degraded":…; returns whether nothing is missing. */
static bool add_readiness(struct buf *b, const struct status_report *r)
{
    json_add_name(b, "missing");
    buf_add_char(b, '[');
    bool ready = add_missing(b, r) == 0;
    buf_add_str(b, "],");
    json_add_name(b, "warnings");
    buf_add_char(b, '[');
    bool warned = add_warnings(b, r) > 0;
    buf_add_str(b, "],");
    json_add_name(b, "ready");
    json_add_bool(b, ready);
    buf_add_char(b, ',');
    json_add_name(b, "degraded");
    json_add_bool(b, ready && warned);
    return ready;
}

/* ,"name":  and then the value, null when it is absent. */
static void add_text(struct buf *b, const char *name, struct view value)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    if (value.data == NULL)
        buf_add_str(b, "null");
    else
        json_add_string(b, value);
}

static void add_bool(struct buf *b, const char *name, bool value)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    json_add_bool(b, value);
}

static void add_integer(struct buf *b, const char *name, int64_t value)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    buf_add_i64(b, value);
}

/* Seconds since 1970 in RFC 3339 without a fraction. */
static void add_time(struct buf *b, const char *name, int64_t seconds)
{
    char text[TIME_TEXT_BYTES];

    if (seconds == 0) {
        add_text(b, name, none);
        return;
    }
    time_format(seconds * 1000000, text);
    memcpy(text + sizeof "2026-01-02T03:04:05" - 1, "Z", 2);
    add_text(b, name, view_str(text));
}

/* With one digit after the point, as it is measured. */
static void add_rate(struct buf *b, const char *name, double rate)
{
    buf_add_char(b, ',');
    json_add_name(b, name);
    buf_printf(b, "%.1f", rate);
}

static void add_issuers(struct buf *b, const struct status_report *r)
{
    buf_add_char(b, ',');
    json_add_name(b, "issuers");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->issuer_count; i++) {
        const struct status_issuer *issuer = &r->issuers[i];
        buf_add_str(b, i == 0 ? "{" : ",{");
        json_add_name(b, "name");
        json_add_string(b, issuer->name);
        add_bool(b, "keys_loaded", issuer->keys_loaded);
        if (issuer->keys_loaded)
            add_integer(b, "keys_age_s", issuer->keys_age_s);
        add_text(b, "last_error", issuer->last_error);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_services(struct buf *b, const struct status_report *r)
{
    buf_add_char(b, ',');
    json_add_name(b, "services");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->service_count; i++) {
        const struct status_service *service = &r->services[i];
        buf_add_str(b, i == 0 ? "{" : ",{");
        json_add_name(b, "name");
        json_add_string(b, service->name);
        add_bool(b, "reachable", service->reachable);
        add_integer(b, "connections", (int64_t)service->connections);
        add_integer(b, "idle", (int64_t)service->idle);
        add_integer(b, "waiting", (int64_t)service->waiting);
        add_rate(b, "logins_per_second", service->logins_per_second);
        add_text(b, "last_error", service->last_error);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_secrets(struct buf *b, const struct status_report *r)
{
    if (r->secret_count == 0)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "secrets");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->secret_count; i++) {
        const struct status_secret *secret = &r->secrets[i];
        buf_add_str(b, i == 0 ? "{" : ",{");
        json_add_name(b, "vault");
        json_add_string(b, secret->vault);
        add_text(b, "name", secret->name);
        add_text(b, "stage", secret->stage);
        add_text(b, "version", secret->version);
        add_bool(b, "serves", secret->serves);
        add_time(b, "read_at", secret->read_s);
        add_time(b, "next_read", secret->next_s);
        add_text(b, "last_error", secret->last_error);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_aws(struct buf *b, const struct status_aws *aws)
{
    if (aws->state == NULL)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "aws_credentials");
    buf_add_char(b, '{');
    json_add_name(b, "state");
    json_add_string(b, view_str(aws->state));
    add_text(b, "source", aws->source);
    add_time(b, "expires", aws->expiry_s);
    add_text(b, "last_error", aws->last_error);
    buf_add_char(b, '}');
}

static void add_aws_failure(struct buf *b, const struct status_aws_failure *f)
{
    buf_add_char(b, '{');
    json_add_name(b, "role");
    json_add_string(b, f->role);
    add_bool(b, "per_caller", f->per_caller);
    add_bool(b, "serves", f->serves);
    add_integer(b, "sessions", (int64_t)f->sessions);
    add_integer(b, "failures", f->failures);
    add_text(b, "detail", f->detail);
    buf_add_char(b, '}');
}

static void add_aws_sessions(struct buf *b, const struct status_aws_sessions *s)
{
    if (!s->wanted)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "aws_sessions");
    buf_add_char(b, '{');
    json_add_name(b, "cached");
    buf_add_u64(b, s->cached);
    add_integer(b, "per_caller", (int64_t)s->per_caller);
    add_integer(b, "max", (int64_t)s->max);
    add_integer(b, "waiting", (int64_t)s->waiting);
    add_integer(b, "in_flight", (int64_t)s->in_flight);
    add_integer(b, "assumed", (int64_t)s->assumed);
    add_integer(b, "evictions", (int64_t)s->evictions);
    buf_add_char(b, ',');
    json_add_name(b, "failing");
    buf_add_char(b, '[');
    for (size_t i = 0; i < s->failure_count; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        add_aws_failure(b, &s->failures[i]);
    }
    buf_add_str(b, "]}");
}

static void add_rotations(struct buf *b, const struct status_report *r)
{
    if (r->rotation_count == 0)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "rotations");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->rotation_count; i++) {
        const struct status_rotation *x = &r->rotations[i];
        buf_add_str(b, i > 0 ? ",{" : "{");
        json_add_name(b, "service");
        json_add_string(b, x->service);
        add_text(b, "secret", x->secret);
        add_text(b, "state", view_str(x->state));
        add_time(b, "rotated_at", x->rotated_s);
        add_time(b, "next_look_at", x->next_look_s);
        add_integer(b, "failures", x->failures);
        add_text(b, "detail", x->detail);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void add_store(struct buf *b, const struct status_store *s)
{
    if (s->state == NULL)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "store");
    buf_add_char(b, '{');
    json_add_name(b, "state");
    json_add_string(b, view_str(s->state));
    if (s->revision >= 0)
        add_integer(b, "revision", s->revision);
    if (s->mistake.data != NULL) {
        add_integer(b, "refused", s->refused);
        add_text(b, "mistake", s->mistake);
    }
    add_text(b, "writer", s->writer);
    add_text(b, "reader", s->reader);
    add_text(b, "last_error", s->last_error);
    buf_add_char(b, '}');
}

static void add_logins(struct buf *b, const struct status_logins *l)
{
    if (l->state == NULL)
        return;
    buf_add_char(b, ',');
    json_add_name(b, "iam_logins");
    buf_add_char(b, '{');
    json_add_name(b, "state");
    json_add_string(b, view_str(l->state));
    add_integer(b, "max_rate", l->max_rate);
    add_integer(b, "share", l->share);
    if (l->nodes > 0)
        add_integer(b, "nodes", (int64_t)l->nodes);
    add_rate(b, "per_second", l->per_second);
    add_rate(b, "store_per_second", l->store_per_second);
    buf_add_char(b, '}');
}

static struct status_answer show_ready(const struct status_report *r, struct buf *body)
{
    buf_add_char(body, '{');
    bool ready = add_readiness(body, r);
    buf_add_str(body, "}\n");
    return (struct status_answer){.status = ready ? 200 : 503, .content_type = JSON_TYPE};
}

static struct status_answer show_status(const struct status_source *source,
                                        const struct status_report *r, struct buf *body)
{
    buf_add_char(body, '{');
    add_readiness(body, r);
    add_text(body, "version", VIEW(SALLYPORT_VERSION));
    add_text(body, "node", view_str(source->node_name));
    add_bool(body, "configured", r->configured);
    add_text(body, "configuration_id", r->configuration_id);
    add_time(body, "configured_at", r->configured_at_s);
    add_bool(body, "draining", r->draining);
    add_bool(body, "audit_working", r->audit_working);
    add_integer(body, "workers", (int64_t)r->workers);
    add_integer(body, "client_connections", r->client_connections);
    add_issuers(body, r);
    add_services(body, r);
    add_store(body, &r->store);
    add_logins(body, &r->logins);
    add_aws(body, &r->aws);
    add_aws_sessions(body, &r->aws_sessions);
    add_rotations(body, r);
    add_secrets(body, r);
    buf_add_str(body, "}\n");
    return (struct status_answer){.status = 200, .content_type = JSON_TYPE};
}

struct status_answer status_problem(int status, struct buf *body)
{
    buf_printf(body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d}\n",
               http_status_phrase(status), status);
    return (struct status_answer){.status = status,
                                  .content_type = VIEW("application/problem+json"),
                                  .allow_get = status == 405};
}

struct status_answer status_page(const struct status_source *source, struct arena *arena,
                                 struct view method, struct view path, struct buf *body)
{
    struct status_report report = {0};
    bool live = view_is(path, "/status/live"), ready = view_is(path, "/status/ready"),
         status = view_is(path, "/status"), metrics = view_is(path, "/metrics");

    if (!live && !ready && !status && !metrics)
        return status_problem(404, body);
    if (!view_is(method, "GET") && !view_is(method, "HEAD"))
        return status_problem(405, body);
    if (live) {
        buf_add_str(body, "{\"live\":true}\n");
        return (struct status_answer){.status = 200, .content_type = JSON_TYPE};
    }
    if (metrics) {
        metrics_render(source->metrics, body);
        return (struct status_answer){.status = 200, .content_type = VIEW(METRICS_CONTENT_TYPE)};
    }
    source->report(source->arg, arena, &report);
    return ready ? show_ready(&report, body) : show_status(source, &report, body);
}
