#include "gateway/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/log.h"
#include "aws/rds_token.h"
#include "base/log.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "database/cancel.h"
#include "gateway/aws_identity.h"
#include "gateway/login_secret.h"
#include "gateway/upstream_pace.h"
#include "pg/login.h"

enum {
    NS_PER_S = 1000000000,
    NS_PER_MS = 1000000,
    NAME_MAX_BYTES = 300,
};

/* What AWS said stands in the audit's login_failure and in the log, never in an answer. */
static const struct fault upstream_session_denied = {
    "session_denied", "STS refused the caller's session",
    "no session with the database is given to this caller", 403};
static const struct fault upstream_session_unavailable = {
    "session_unavailable", "the caller's session could not be obtained from STS",
    "a session with the database could not be obtained; try again", 503};

struct upstream_login {
    struct list link;
    struct upstream *upstream;
    struct db_session *session;
    const struct broker_login *by;
    struct aws_session *held; /* so that it is there when the server asks for the token */
    struct login *login;
    struct login_secret secret; /* of a login by references */
    char access_key_id[AWS_ACCESS_KEY_ID_MAX + 1];
    char session_arn[AWS_ARN_MAX + 1];
};

/* ---- Credentials ---- */

static err mint_token(struct upstream_login *ul, struct buf *password,
                      struct login_credential *out)
{
    struct control *c = ul->upstream->control;
    const struct endpoint *e = &ul->by->endpoint;
    const struct aws_credentials *credentials = NULL;
    struct view host = e->iam_auth.hostname.len > 0 ? e->iam_auth.hostname : e->host;
    int64_t now_us = time_wall_us();
    const char *detail = "";
    err why = OK;

    enum aws_ready ready =
        aws_identity_for(c, e, broker_session_identity(ul->upstream->broker, ul->session),
                         &credentials, &why, &detail);
    if (ready != AWS_READY) /* they were there when the login began, and have ended */
        return ready == AWS_WAIT ? fail(&aws_credentials_waiting) : why;
    const struct rds_token_request request = {
        .kind = RDS_TOKEN_DB,
        .host = host,
        .port = e->port,
        .user = e->user,
        .region = aws_identity_region(c, e),
        .credentials = credentials,
        .now_us = now_us,
    };
    TRY(rds_token_mint(&request, password));
    metric_add(metrics_shard(c->gateway.metrics, c->worker_count), c->token_mints, 1);
    snprintf(ul->access_key_id, sizeof ul->access_key_id, "%s", credentials->access_key_id);
    snprintf(ul->session_arn, sizeof ul->session_arn, "%s", credentials->arn);
    *out = (struct login_credential){.access_key_id = view_str(ul->access_key_id),
                                     .source = view_str(credentials->source),
                                     .signed_host = host,
                                     .session_arn = ul->session_arn[0] != '\0'
                                                        ? view_str(ul->session_arn)
                                                        : (struct view){NULL, 0},
                                     .token_expiry_us = rds_token_expiry_us(&request)};
    return OK;
}

static err give_secret(struct upstream_login *ul, struct buf *password,
                       struct login_credential *out)
{
    const struct broker *b = ul->upstream->broker;
    err e = login_secret_give(ul->upstream->control, &ul->by->endpoint, &ul->secret, password,
                              out);

    if (failed(e))
        log_warn("login_secret_unavailable", e.fault->text, LOG_VIEW("service", b->name),
                 LOG_STR("detail", ul->secret.why));
    return e;
}

static err give_credential(void *arg, struct buf *password, struct login_credential *out)
{
    const struct upstream_login *ul = arg;
    const struct endpoint *e = &ul->by->endpoint;

    if (e->iam_auth.enabled)
        return mint_token(arg, password, out);
    if (login_secret_is(e))
        return give_secret(arg, password, out);
    buf_add_view(password, e->password);
    return buf_failed(password) ? fail(&fault_out_of_memory) : OK;
}

/* ---- Logins ---- */

static void record_login(struct upstream *u, const struct endpoint *e,
                         const struct login_report *r)
{
    char endpoint[NAME_MAX_BYTES];

    snprintf(endpoint, sizeof endpoint, "%.*s:%u", VIEW_ARG(e->host), e->port);
    const struct audit_login event = {
        .failed = failed(r->error),
        .service = u->broker->name,
        .endpoint = view_str(endpoint),
        .signed_host = r->credential.signed_host,
        .database = e->database,
        .database_user = r->credential.user.len > 0 ? r->credential.user : e->user,
        .auth_method = e->iam_auth.enabled ? VIEW("iam") : view_str(r->method),
        .access_key_id = r->credential.access_key_id,
        .credential_source = r->credential.source,
        .iam_arn = r->credential.session_arn,
        .token_expiry_us = r->credential.token_expiry_us,
        .backend_pid = r->backend_pid,
        .tls_version = r->tls_version.len > 0 ? r->tls_version : (struct view){NULL, 0},
        .tls_cipher = r->tls_cipher.len > 0 ? r->tls_cipher : (struct view){NULL, 0},
        .duration_us = r->duration_ns / 1000,
        .reason = failed(r->error) ? view_str(r->error.fault->name) : (struct view){NULL, 0},
        .detail = failed(r->error) && r->detail.len > 0 ? r->detail : (struct view){NULL, 0},
        .sqlstate = r->sqlstate.len > 0 ? r->sqlstate : (struct view){NULL, 0},
    };
    audit_login(u->control->audit, &event);
}

static void count_login(struct upstream *u, const struct login_report *r)
{
    struct metrics_shard *shard =
        metrics_shard(u->control->gateway.metrics, u->control->worker_count);
    struct view result = failed(r->error) ? view_str(r->error.fault->name) : VIEW("ok");

    metric_add(shard, metric_set_word(u->login_results, result), 1);
    metric_observe(shard, u->login_seconds, r->duration_ns);
}

static void log_failure(struct upstream *u, const struct endpoint *e,
                        const struct login_report *r)
{
    struct view user = r->credential.user.len > 0 ? r->credential.user : e->user;

    log_warn("login_failed", "a login to a database failed",
             LOG_VIEW("service", u->broker->name), LOG_VIEW("access", u->broker->access),
             LOG_VIEW("user", user),
             LOG_STR("reason", r->error.fault->text), LOG_VIEW("detail", r->detail));
}

static void note_failure(struct upstream *u, const struct login_report *r)
{
    snprintf(u->last_error, sizeof u->last_error, "%s%s%.*s", r->error.fault->text,
             r->detail.len > 0 ? ": " : "", VIEW_ARG(r->detail));
}

/* Gives the slot back. */
static void end_login(struct upstream_login *ul, struct backend *backend)
{
    struct upstream *u = ul->upstream;
    struct db_session *session = ul->session;

    list_unlink(&ul->link);
    u->login_count--;
    free(ul);
    broker_login_done(u->broker, session, backend);
}

/* 28P01 is invalid_password ("PostgreSQL Error Codes"): the secret may have been rotated. */
static bool may_try_again(const struct upstream *u, const struct endpoint *e,
                          const struct login_report *r)
{
    return login_secret_is(e) && view_is(r->sqlstate, "28P01") &&
           !u->control->stopping;
}

static void on_login_done(void *arg, struct broker *b, struct backend *backend,
                          const struct login_report *report)
{
    struct upstream_login *ul = arg;
    struct upstream *u = ul->upstream;
    const struct endpoint *e = &ul->by->endpoint;

    (void)b;
    aws_identity_release(u->control, ul->held);
    ul->held = NULL;
    ul->login = NULL;
    record_login(u, e, report);
    count_login(u, report);
    if (failed(report->error)) {
        log_failure(u, e, report);
        note_failure(u, report);
    } else if (ul->by == u->broker->login) { /* one of before says nothing of the one of now */
        u->last_error[0] = '\0';
    }
    if (backend != NULL)
        snprintf(backend->access_key_id, sizeof backend->access_key_id, "%s", ul->access_key_id);
    if (backend != NULL && ul->by->number > u->proved)
        u->proved = ul->by->number;
    if (backend != NULL && login_secret_is(e))
        login_secret_succeeded(u->control, e, &ul->secret);
    /* The event of a login comes before what the login is used for. */
    (void)!failed(audit_flush(u->control->audit));
    if (may_try_again(u, e, report)) {
        login_secret_refused(&ul->secret, time_monotonic_ns() / NS_PER_MS);
        list_unlink(&ul->link);
        list_push_back(&u->refused, &ul->link);
    } else {
        end_login(ul, backend);
    }
    upstreams_pump(u->control);
}

static bool try_login(struct upstream_login *ul)
{
    struct upstream *u = ul->upstream;
    const struct login_options options = {
        .loop = &u->control->loop,
        .flush_list = &u->control->flush_list,
        .broker = u->broker,
        .endpoint = &ul->by->endpoint,
        .login_number = ul->by->number,
        .credential = give_credential,
        .done = on_login_done,
        .arg = ul,
    };
    return !failed(login_start(&options, &ul->login));
}

static bool start_login(struct upstream *u, struct db_session *session)
{
    struct upstream_login *ul = calloc(1, sizeof *ul);

    if (ul == NULL)
        return false;
    ul->upstream = u;
    ul->session = session;
    ul->by = u->broker->login;
    list_init(&ul->link);
    if (!try_login(ul)) {
        free(ul);
        return false;
    }
    if (ul->by->endpoint.iam_auth.enabled)
        ul->held = aws_identity_hold(u->control, &ul->by->endpoint,
                                     broker_session_identity(u->broker, session));
    list_push_back(&u->logins, &ul->link);
    u->login_count++;
    return true;
}

/* No login was tried: the event says why, with no connection in it. */
static void record_denied_session(struct upstream *u, err why, const char *detail)
{
    const struct login_report report = {.error = why, .detail = view_str(detail)};
    const struct endpoint *e = &u->broker->login->endpoint;

    record_login(u, e, &report);
    count_login(u, &report);
    log_failure(u, e, &report);
    /* Whom STS refuses has trouble of their own: the database is as reachable as before. */
    if (!is_fault(why, &aws_session_refused) && !is_fault(why, &aws_session_token_refused))
        note_failure(u, &report);
    (void)!failed(audit_flush(u->control->audit));
}

static err told_to_caller(err why)
{
    if (is_fault(why, &aws_session_token_refused))
        return why; /* it speaks of the caller's own token */
    return fail(is_fault(why, &aws_session_refused) ? &upstream_session_denied
                                                    : &upstream_session_unavailable);
}

/* Whether the session's credentials are there.  Where the service's own are not, the login is begun
 * all the same and fails with the reason; a caller's session fails by itself, unconnected. */
static enum aws_ready credentials_for(struct upstream *u, struct db_session *s)
{
    const struct endpoint *e = &u->broker->login->endpoint;
    const struct aws_credentials *credentials;
    const char *detail = "";
    err why = OK;

    if (!e->iam_auth.enabled)
        return AWS_READY;
    enum aws_ready ready =
        aws_identity_for(u->control, e, broker_session_identity(u->broker, s),
                         &credentials, &why, &detail);
    if (ready != AWS_FAILED || s->common)
        return ready == AWS_WAIT ? AWS_WAIT : AWS_READY;
    record_denied_session(u, why, detail);
    broker_session_failed(u->broker, s, told_to_caller(why));
    return AWS_FAILED;
}

/* Starts what may start now of one session's wishes; the time of the next, or INT64_MAX: the end of
 * a login, the credentials, or room come back here.  The session may be gone after it. */
static int64_t pump_session(struct upstream *u, struct db_session *s, int64_t now)
{
    int64_t rate = u->broker->service.pool.login_rate;
    int64_t at = INT64_MAX;

    enum aws_ready ready = credentials_for(u, s);
    if (ready == AWS_WAIT)
        broker_session_stalled(u->broker, s);
    if (ready != AWS_READY)
        return INT64_MAX;
    for (unsigned left = s->to_start; left > 0; left--) {
        if (u->login_count >= LOGINS_AT_ONCE)
            return INT64_MAX;
        if (u->next_ns > now)
            return u->next_ns;
        int64_t paced = upstream_pace_await(u);
        if (paced > 0)
            return paced;
        enum broker_room room = broker_begin_login(u->broker, s, now, &at);
        upstream_pace_begun(u, room == BROKER_ROOM, now);
        switch (room) {
        case BROKER_NO_NEED:
            break;
        case BROKER_NO_ROOM:
            return INT64_MAX;
        case BROKER_NOT_YET:
            return at;
        case BROKER_ROOM:
            u->next_ns = now + (rate > 0 ? NS_PER_S / rate : 0);
            if (!start_login(u, s))
                broker_login_done(u->broker, s, NULL);
            break;
        }
    }
    return INT64_MAX;
}

/* Logins that the database refused and whose secret may have changed: within their slots. */
static int64_t pump_refused(struct upstream *u, int64_t now)
{
    int64_t next = INT64_MAX, again_ms;

    LIST_EACH(node, &u->refused)
    {
        struct upstream_login *ul = LIST_ENTRY(node, struct upstream_login, link);
        enum login_secret_next what =
            u->control->stopping ? LOGIN_SECRET_OVER
                                 : login_secret_next(u->control, &ul->by->endpoint, &ul->secret,
                                                     now / NS_PER_MS, &again_ms);
        if (what == LOGIN_SECRET_WAIT) {
            if (again_ms < INT64_MAX && again_ms * NS_PER_MS < next)
                next = again_ms * NS_PER_MS;
            continue;
        }
        list_unlink(&ul->link);
        if (what == LOGIN_SECRET_AGAIN && try_login(ul))
            list_push_back(&u->logins, &ul->link);
        else
            end_login(ul, NULL);
    }
    return next;
}

static bool is_trying(const struct upstream *u)
{
    const struct list *const lists[] = {&u->logins, &u->refused};

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        LIST_EACH(node, lists[i]) {
            if (LIST_ENTRY(node, struct upstream_login, link)->by == u->broker->login)
                return true;
        }
    }
    return false;
}

/* A login that a reload has changed is tried though nobody waits, since connections of the one
 * before serve until it has succeeded. */
static int64_t pump_trial(struct upstream *u, int64_t now)
{
    struct db_session *s = &u->broker->common;
    int64_t rate = u->broker->service.pool.login_rate, at = INT64_MAX;

    if (u->control->stopping || u->broker->login->number == u->proved || is_trying(u) ||
        u->login_count >= LOGINS_AT_ONCE || credentials_for(u, s) == AWS_WAIT)
        return INT64_MAX;
    if (u->next_ns > now)
        return u->next_ns;
    int64_t paced = upstream_pace_await(u);
    if (paced > 0)
        return paced;
    enum broker_room room = broker_begin_trial(u->broker, now, &at);
    upstream_pace_begun(u, room == BROKER_ROOM, now);
    if (room != BROKER_ROOM)
        return at;
    u->next_ns = now + (rate > 0 ? NS_PER_S / rate : 0);
    if (!start_login(u, s))
        broker_login_done(u->broker, s, NULL);
    return INT64_MAX;
}

static int64_t pump_one(struct upstream *u, int64_t now)
{
    u->paced = false;
    int64_t next = pump_refused(u, now), trial = pump_trial(u, now);

    next = trial < next ? trial : next;
    LIST_EACH(node, &u->wishes)
    {
        struct db_session *s = LIST_ENTRY(node, struct db_session, control_link);
        if (u->control->stopping) {
            broker_session_failed(u->broker, s, fail(&db_shutdown));
            continue;
        }
        int64_t at = pump_session(u, s, now);
        if (at < next)
            next = at;
    }
    return next;
}

static void on_login_time(uv_timer_t *timer)
{
    upstreams_pump(timer->data);
}

void upstreams_pump(struct control *c)
{
    int64_t now = time_monotonic_ns(), next = INT64_MAX;

    LIST_EACH(node, &c->upstreams)
    {
        int64_t at = pump_one(LIST_ENTRY(node, struct upstream, link), now);
        if (at < next)
            next = at;
    }
    if (next == INT64_MAX || c->stopping)
        return;
    uv_update_time(&c->loop);
    uv_timer_start(&c->logins, on_login_time, (uint64_t)((next - now) / NS_PER_MS + 1), 0);
}

static void open_wanted(struct letter *letter)
{
    struct broker *b = CONTAINER_OF(letter, struct broker, login_letter);
    struct upstream *u = b->arg;

    broker_take_wishes(b, &u->wishes);
    upstreams_pump(u->control);
}

static void want_logins(struct broker *b, void *arg)
{
    struct upstream *u = arg;

    mailbox_post(&u->control->mailbox, &b->login_letter, open_wanted);
}

/* ---- Cancels ---- */

static void on_cancel_done(void *arg, bool sent)
{
    struct cancel_job *job = arg;

    list_unlink(&job->link);
    cancel_job_ended(job, sent);
}

static void open_cancel(struct letter *letter)
{
    struct cancel_job *job = CONTAINER_OF(letter, struct cancel_job, letter);
    struct upstream *u = job->broker->arg;
    const struct cancel_options options = {
        .loop = &u->control->loop,
        .flush_list = &u->control->flush_list,
        .broker = job->broker,
        .endpoint = broker_proven_endpoint(job->broker),
        .address = job->address,
        .pid = job->pid,
        .key = job->key,
        .timeout_ms = job->broker->service.connect_timeout_ms,
        .done = on_cancel_done,
        .arg = job,
    };

    if (u->control->abrupt || failed(cancel_start(&options, &job->cancel)))
        cancel_job_ended(job, false);
    else
        list_push_back(&u->cancels, &job->link);
}

static void want_cancel(struct cancel_job *job, void *arg)
{
    struct upstream *u = arg;

    mailbox_post(&u->control->mailbox, &job->letter, open_cancel);
}

/* ---- Brokers ---- */

static err make_tls(struct control *c, const struct endpoint *e, struct ssl_ctx_st **out)
{
    char roots[4096];

    *out = NULL;
    if (e->sslmode == SSLMODE_DISABLE)
        return OK;
    snprintf(roots, sizeof roots, "%.*s", VIEW_ARG(e->sslrootcert));
    const struct tls_client_options options = {
        .roots = roots,
        .rds_bundle = c->rds_bundle,
        .verify_chain = e->sslmode >= SSLMODE_VERIFY_CA,
    };
    return tls_client_context_new(&options, out);
}

/* The file of trusted certificates may change under its name, as Amazon's bundle does: what it
 * holds is part of what a broker was made from. */
static void hash_roots(const struct control *c, const struct endpoint *e, char out[65])
{
    char path[4096];
    bool rds = view_is(e->sslrootcert, "rds") || view_is(e->sslrootcert, "rds+system");

    out[0] = '\0';
    if (e->sslmode < SSLMODE_VERIFY_CA || view_is(e->sslrootcert, "system"))
        return;
    snprintf(path, sizeof path, "%.*s", VIEW_ARG(e->sslrootcert));
    if (!control_hash_file(rds ? c->rds_bundle : path, out))
        out[0] = '\0';
}

/* One that is the same; else one that logs in differently, for upstreams_adopt_logins. */
static struct upstream *find(struct control *c, const struct service *service,
                             const struct endpoint *endpoint, const char *access,
                             const struct strings *roles, const char roots_sha256[65])
{
    struct upstream *but_login = NULL;

    LIST_EACH(node, &c->upstreams)
    {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        if (u->retired || !view_is(u->broker->access, access) ||
            strcmp(u->roots_sha256, roots_sha256) != 0)
            continue;
        if (broker_matches(u->broker, service, endpoint, roles))
            return u;
        if (u->broker->login->number < BROKER_LOGINS_MAX &&
            broker_matches_but_login(u->broker, service, endpoint, roles))
            but_login = u;
    }
    return but_login;
}

static void label_metrics(struct upstream *u)
{
    const struct view labels[] = {u->broker->name};

    u->login_results = metrics_set(u->control->gateway.metrics, METRIC_LOGINS, labels, 1);
    u->login_seconds = metrics_series(u->control->gateway.metrics, METRIC_LOGIN_SECONDS, labels, 1);
}

/* Once of a service whose two endpoints lack the same. */
static void say_roots(const struct control *c, const struct service *service,
                      const struct endpoint *endpoint, err e, struct diagnostics *d)
{
    const struct diagnostic *before = d->last;
    bool rds = view_is(endpoint->sslrootcert, "rds") ||
               view_is(endpoint->sslrootcert, "rds+system");
    char text[4096 + 512];

    snprintf(text, sizeof text, "service %.*s: sslrootcert %.*s: %s%s%s",
             VIEW_ARG(service->name), VIEW_ARG(endpoint->sslrootcert), e.fault->text,
             rds ? ": rds_ca_bundle = " : "", rds ? c->rds_bundle : "");
    if (before == NULL || before->line != service->meta.line || !view_is(before->text, text))
        diag_add(d, SEVERITY_ERROR, view_str(c->load_path), service->meta.line, 0, "%s", text);
}

struct broker *upstream_broker_for(void *arg, const struct service *service,
                                   const struct endpoint *endpoint, const char *access,
                                   const struct strings *roles, struct diagnostics *d)
{
    struct control *c = arg;
    struct ssl_ctx_st *tls = NULL;
    char roots_sha256[65];

    hash_roots(c, endpoint, roots_sha256);
    struct upstream *u = find(c, service, endpoint, access, roles, roots_sha256);
    if (u != NULL)
        return broker_acquire(u->broker);
    err e = make_tls(c, endpoint, &tls);
    if (failed(e)) {
        say_roots(c, service, endpoint, e, d);
        return NULL;
    }
    u = calloc(1, sizeof *u);
    const struct broker_options options = {
        .name = service->name,
        .access = view_str(access),
        .service = service,
        .endpoint = endpoint,
        .tls = tls,
        .workers = c->db_workers,
        .worker_count = c->worker_count,
        .want_logins = want_logins,
        .want_cancel = want_cancel,
        .arg = u,
    };
    struct broker *b = u == NULL ? NULL : broker_new(&options, roles);
    if (b == NULL) {
        diag_add(d, SEVERITY_ERROR, view_str(c->load_path), service->meta.line, 0,
                 "service %.*s: %s", VIEW_ARG(service->name), fault_out_of_memory.text);
        tls_context_release(tls);
        free(u);
        return NULL;
    }
    u->control = c;
    u->broker = b;
    memcpy(u->roots_sha256, roots_sha256, sizeof u->roots_sha256);
    list_init(&u->link);
    list_init(&u->logins);
    list_init(&u->refused);
    list_init(&u->wishes);
    list_init(&u->cancels);
    list_push_back(&c->upstreams, &u->link);
    label_metrics(u);
    return broker_acquire(b);
}

void upstreams_abort(struct control *c)
{
    LIST_EACH(node, &c->upstreams)
    {
        struct upstream *u = LIST_ENTRY(node, struct upstream, link);
        broker_take_wishes(u->broker, &u->wishes);
        while (!list_is_empty(&u->logins))
            login_abort(LIST_ENTRY(u->logins.next, struct upstream_login, link)->login);
        while (!list_is_empty(&u->cancels))
            cancel_abort(LIST_ENTRY(u->cancels.next, struct cancel_job, link)->cancel);
    }
    upstreams_pump(c);
}
