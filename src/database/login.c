#include "database/login.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/tls.h"
#include "database/login_check.h"
#include "database/login_detail.h"
#include "net/net.h"
#include "pg/login.h"
#include "pg/pg.h"

enum { LOGIN_IN_BYTES = 256 * 1024, READ_BYTES = 16 * 1024, NAME_BYTES = 256 };

enum login_stage { RESOLVING, CONNECTING, ASKING_TLS, HANDSHAKING, PROVING, CHECKING, ENDED };

struct login {
    struct login_options o;
    struct backend *backend;
    struct pg_login *pg;
    enum login_stage stage;
    uv_getaddrinfo_t resolve;
    uv_timer_t timer;
    struct addrinfo *addresses;
    struct addrinfo *next_address;
    const struct sockaddr *address; /* that is tried, in addresses */
    unsigned handles; /* timer and resolve request that libuv still holds */
    bool resolving;
    int64_t started_ns;
    struct login_credential credential;
    char detail[LOGIN_DETAIL_BYTES];
    char sqlstate[6];
    char tls_version[16];
    char tls_cipher[64];
    bool unfit;
};

static const struct stream_ops login_stream_ops;

static struct login *login_of(struct stream *s)
{
    return CONTAINER_OF(s, struct backend, stream)->login;
}

static void free_when_done(struct login *l)
{
    if (l->handles > 0 || l->stage != ENDED)
        return;
    if (l->addresses != NULL)
        uv_freeaddrinfo(l->addresses);
    pg_login_free(l->pg);
    free(l);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct login *l = CONTAINER_OF(handle, struct login, timer);

    l->handles--;
    free_when_done(l);
}

/* The one way out: reports, and gives the backend on or frees it. */
static void finish(struct login *l, err e)
{
    if (l->stage == ENDED)
        return;
    /* Bytes behind the check's answer, or an answer to what was not yet asked. */
    if (!failed(e) && !stream_is_settled(&l->backend->stream))
        e = fail(&db_protocol);
    struct login_report report = {
        .error = e,
        .detail = view_str(l->detail),
        .sqlstate = view_str(l->sqlstate),
        .method = l->pg != NULL ? pg_login_method(l->pg) : NULL,
        .credential = l->credential,
        .tls_version = view_str(l->tls_version),
        .tls_cipher = view_str(l->tls_cipher),
        .backend_pid = l->backend->pid,
        .duration_ns = time_monotonic_ns() - l->started_ns,
    };
    struct backend *backend = l->backend;

    l->stage = ENDED;
    l->backend = NULL;
    backend->login = NULL;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    if (l->resolving)
        uv_cancel((uv_req_t *)&l->resolve);
    if (failed(e)) {
        backend_free(backend);
        backend = NULL;
    } else {
        stream_want_read(&backend->stream, false);
        buf_clear_secure(&backend->stream.out); /* the password or token went through it */
        stream_detach(&backend->stream);
    }
    l->o.done(l->o.arg, l->o.broker, backend, &report);
}

static void finish_with(struct login *l, err e, const char *detail)
{
    if (l->detail[0] == '\0')
        login_detail_place(l->detail, l->o.endpoint, detail);
    finish(l, e);
}

/* ---- Address and connection ---- */

static void note_unconnected(struct login *l)
{
    login_detail_connect(l->detail, l->o.endpoint, l->address,
                         l->backend->stream.system_error);
}

static void try_next_address(struct login *l, err why)
{
    while (l->next_address != NULL) {
        const struct sockaddr *address = l->next_address->ai_addr;
        l->next_address = l->next_address->ai_next;
        if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
            continue;
        stream_close(&l->backend->stream);
        l->stage = CONNECTING;
        l->address = address;
        why = stream_connect(&l->backend->stream, l->o.loop, l->o.flush_list, address);
        if (!failed(why))
            return;
        note_unconnected(l);
    }
    finish_with(l, why, "the host has no address of IPv4 or IPv6");
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct login *l = CONTAINER_OF(request, struct login, resolve);

    l->handles--;
    l->resolving = false;
    l->addresses = addresses;
    if (l->stage == ENDED) {
        free_when_done(l);
        return;
    }
    if (status != 0) {
        finish_with(l, fail(&net_resolve), uv_strerror(status));
        return;
    }
    l->next_address = addresses;
    try_next_address(l, fail(&net_resolve));
}

static err begin_proof(struct login *l);

static void on_connected(struct stream *s)
{
    struct login *l = login_of(s);

    stream_want_read(s, true);
    if (l->o.broker->tls == NULL) {
        err e = begin_proof(l);
        if (failed(e))
            finish(l, e);
        return;
    }
    l->stage = ASKING_TLS;
    pg_add_ssl_request(&s->out);
    stream_queue(s);
}

/* ---- TLS ---- */

static err start_tls(struct login *l)
{
    const struct endpoint *e = l->o.endpoint;
    struct broker *b = l->o.broker;
    struct backend *backend = l->backend;
    struct view name = endpoint_tls_name(l->o.endpoint);
    char host[NAME_BYTES];
    struct ssl_st *ssl = NULL;
    bool complete = false;

    TRY(pg_read_ssl_answer(buf_view(&backend->in), &complete));
    if (!complete)
        return OK;
    buf_reset(&backend->in);
    if (name.len >= sizeof host)
        return fail(&tls_host_malformed);
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    TRY(tls_client_new(b->tls, host, e->sslmode == SSLMODE_VERIFY_FULL, &ssl));
    l->stage = HANDSHAKING;
    stream_start_tls(&backend->stream, ssl, false);
    return OK;
}

static void on_ready(struct stream *s)
{
    struct login *l = login_of(s);

    snprintf(l->tls_version, sizeof l->tls_version, "%s", tls_version(s->ssl));
    snprintf(l->tls_cipher, sizeof l->tls_cipher, "%s", tls_cipher(s->ssl));
    err e = begin_proof(l);
    if (failed(e))
        finish(l, e);
}

/* ---- Proof ---- */

static struct view user_of(const struct login *l)
{
    return l->credential.user.len > 0 ? l->credential.user : l->o.endpoint->user;
}

static err begin_proof(struct login *l)
{
    const struct endpoint *e = l->o.endpoint;
    struct stream *s = &l->backend->stream;
    static const struct pg_setting settings[] = {{VIEW("application_name"), VIEW("sallyport")}};
    uint8_t binding[TLS_END_POINT_MAX_BYTES];
    size_t binding_len = 0;
    struct buf password;

    l->stage = PROVING;
    if (s->ssl != NULL && failed(tls_server_end_point(s->ssl, binding, &binding_len)))
        binding_len = 0; /* a certificate without such a hash: plain SCRAM is left */
    buf_init(&password, 64 * 1024);
    err outcome = l->o.credential(l->o.arg, &password, &l->credential);
    if (!failed(outcome)) {
        struct pg_login_options options = {
            .user = user_of(l),
            .database = e->database,
            .password = password.len > 0 ? buf_view(&password) : (struct view){NULL, 0},
            .settings = settings,
            .setting_count = COUNT_OF(settings),
            .allow_cleartext = s->ssl != NULL && e->sslmode == SSLMODE_VERIFY_FULL,
            .allow_trust = e->password.data == NULL && !e->iam_auth.enabled,
            .channel_binding = binding_len > 0 ? view_of(binding, binding_len)
                                               : (struct view){NULL, 0},
        };
        l->pg = pg_login_new(&options);
        outcome = l->pg == NULL ? fail(&fault_out_of_memory) : pg_login_start(l->pg, &s->out);
    }
    buf_clear_secure(&password);
    if (!failed(outcome))
        stream_queue(s);
    return outcome;
}

/* SQLSTATE class 28: the proof itself. */
static void note_refusal(struct login *l, err why)
{
    const struct endpoint *e = l->o.endpoint;
    const struct database_error *error = pg_login_error(l->pg);

    if (error != NULL)
        snprintf(l->sqlstate, sizeof l->sqlstate, "%s", error->sqlstate);
    if (error != NULL && strncmp(l->sqlstate, "28", 2) == 0)
        login_detail_refused(l->detail, e, pg_login_method(l->pg), user_of(l), error->message);
    else if (error != NULL)
        snprintf(l->detail, sizeof l->detail, "%.*s", VIEW_ARG(error->message));
    else if (is_fault(why, &pg_cleartext_refused))
        login_detail_refused(l->detail, e, "cleartext", user_of(l), (struct view){NULL, 0});
}

static err continue_proof(struct login *l)
{
    struct backend *backend = l->backend;
    size_t consumed = 0;
    bool done = false;

    err e = pg_login_feed(l->pg, buf_view(&backend->in), &consumed, &backend->stream.out, &done);
    if (failed(e)) {
        note_refusal(l, e);
        return e;
    }
    buf_consume(&backend->in, consumed);
    if (done) {
        backend->pid = pg_login_pid(l->pg);
        backend->cancel_key = pg_login_key(l->pg);
        stream_peer_address(&backend->stream, &backend->peer);
        l->stage = CHECKING;
        login_check_add(&backend->stream.out, l->o.broker->database_roles);
    }
    stream_queue(&backend->stream);
    return OK;
}

/* ---- The check ---- */

static void note_unfit(struct login *l, struct view problem)
{
    size_t at = strlen(l->detail);

    l->unfit = true;
    snprintf(l->detail + at, sizeof l->detail - at, "%s%.*s", at > 0 ? "; " : "",
             VIEW_ARG(problem));
}

static err on_check_message(struct login *l, const struct pg_frame *f, bool *finished)
{
    struct database_error error;
    struct view problem;
    char status;

    switch (f->type) {
    case PG_DATA_ROW:
        TRY(pg_read_data_row(f->body, &problem, 1));
        note_unfit(l, problem);
        return OK;
    case PG_ERROR_RESPONSE:
        TRY(pg_read_error(f->body, &error, NULL));
        snprintf(l->sqlstate, sizeof l->sqlstate, "%s", error.sqlstate);
        note_unfit(l, error.message);
        return OK;
    case PG_READY_FOR_QUERY:
        TRY(pg_read_ready_for_query(f->body, &status));
        *finished = true;
        return status == 'I' ? OK : fail(&db_protocol);
    case PG_PARSE_COMPLETE:
    case PG_BIND_COMPLETE:
    case PG_COMMAND_COMPLETE:
    case PG_NOTICE_RESPONSE:
    case PG_PARAMETER_STATUS:
        return OK;
    default:
        return fail(&db_protocol);
    }
}

static err continue_check(struct login *l, bool *finished)
{
    struct backend *backend = l->backend;

    while (!*finished) {
        struct pg_frame frame;
        bool complete = false;
        TRY(pg_frame_next(buf_view(&backend->in), LOGIN_IN_BYTES, &frame, &complete));
        if (!complete)
            return OK;
        TRY(on_check_message(l, &frame, finished));
        buf_consume(&backend->in, frame.size);
    }
    if (l->unfit)
        return fail(&db_login_unfit);
    return backend->in.len == 0 ? OK : fail(&db_protocol);
}

static void on_readable(struct stream *s)
{
    struct login *l = login_of(s);
    bool finished = false;
    err end = stream_read(s, &l->backend->in, READ_BYTES);
    err e = OK;

    switch (l->stage) {
    case ASKING_TLS:
        e = start_tls(l);
        break;
    case PROVING:
        e = continue_proof(l);
        break;
    case CHECKING:
        e = continue_check(l, &finished);
        break;
    case RESOLVING:
    case CONNECTING:
    case HANDSHAKING:
    case ENDED:
        return;
    }
    if (failed(e) || finished || failed(end))
        finish(l, failed(e) ? e : finished ? OK : end);
}

static void on_failed(struct stream *s, err why)
{
    struct login *l = login_of(s);

    if (l->stage == CONNECTING) {
        note_unconnected(l);
        try_next_address(l, why);
        return;
    }
    if (l->stage == HANDSHAKING && s->ssl != NULL)
        login_detail_tls(l->detail, l->o.endpoint, s->ssl);
    finish(l, why);
}

static void on_timeout(uv_timer_t *timer)
{
    static const char *const late[] = {
        [RESOLVING] = "the name was not resolved within connect_timeout_ms",
        [CONNECTING] = "no connection within connect_timeout_ms (a firewall or security group?)",
        [ASKING_TLS] = "no answer within connect_timeout_ms",
        [HANDSHAKING] = "the TLS handshake took longer than connect_timeout_ms",
        [PROVING] = "the login took longer than connect_timeout_ms",
        [CHECKING] = "the login took longer than connect_timeout_ms",
        [ENDED] = "",
    };
    struct login *l = CONTAINER_OF(timer, struct login, timer);

    finish_with(l, fail(&net_timeout), late[l->stage]);
}

static const struct stream_ops login_stream_ops = {
    .connected = on_connected, .ready = on_ready, .readable = on_readable, .failed = on_failed};

static bool resolve(struct login *l)
{
    const struct endpoint *e = l->o.endpoint;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char host[NAME_BYTES], port[8];

    if (e->host.len >= sizeof host)
        return false;
    memcpy(host, e->host.data, e->host.len);
    host[e->host.len] = '\0';
    snprintf(port, sizeof port, "%u", e->port);
    if (uv_getaddrinfo(l->o.loop, &l->resolve, on_resolved, host, port, &hints) != 0)
        return false;
    l->handles++;
    l->resolving = true;
    return true;
}

void login_abort(struct login *l)
{
    finish(l, fail(&db_shutdown));
}

err login_start(const struct login_options *options, struct login **out)
{
    const struct service *s = &options->broker->service;
    struct login *l = calloc(1, sizeof *l);
    struct backend *backend = l == NULL ? NULL
                                        : backend_new((size_t)s->max_response_bytes,
                                                      (size_t)s->pool.statement_cache);

    if (backend == NULL) {
        free(l);
        return fail(&fault_out_of_memory);
    }
    l->o = *options;
    l->backend = backend;
    l->started_ns = time_monotonic_ns();
    backend->login = l;
    backend->login_number = options->login_number;
    backend->stream.ops = &login_stream_ops;
    ENSURE(uv_timer_init(options->loop, &l->timer) == 0);
    l->handles++;
    uv_timer_start(&l->timer, on_timeout, (uint64_t)s->connect_timeout_ms, 0);
    if (!resolve(l)) {
        l->stage = ENDED;
        l->backend = NULL;
        backend_free(backend);
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
        return fail(&fault_out_of_memory);
    }
    if (out != NULL)
        *out = l;
    return OK;
}
