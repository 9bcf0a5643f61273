/* One connection to the store, by libpq. */
#include <errno.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/buf.h"
#include "base/time.h"
#include "store/store_internal.h"

const struct fault store_unreachable = {
    "store_unreachable", "the database of the configuration cannot be reached", NULL, 0};
const struct fault store_bad_trust = {
    "store_bad_trust", "the certificate authorities of pg_ssl_verify cannot be read", NULL, 0};
const struct fault store_chain_too_long = {
    "store_chain_too_long",
    "the server's certificate chain is longer than lua_ssl_verify_depth lets it be", NULL, 0};
const struct fault store_no_region = {
    "store_no_region",
    "no AWS region for the token: set pg_iam_auth_region, or AWS_REGION", NULL, 0};
const struct fault store_failed = {"store_failed", "the database refused a statement", NULL, 0};
const struct fault store_lost = {"store_lost", "the connection to the database was lost", NULL, 0};
const struct fault store_no_schema = {"store_no_schema", "there is no schema for the tables", NULL,
                                      0};
const struct fault store_locked = {
    "store_locked", "another process is changing the tables of the configuration", NULL, 0};

enum { NS_PER_MS = 1000000, NUMBER_BYTES = 24, ADDRESS_BYTES = 64, ENTRIES_MAX = 32 };

struct store {
    PGconn *connection;
    int64_t timeout_ms;
    int cancel_fd; /* 0: none */
};

void store_forget_environment(void)
{
    const PQconninfoOption *o;
    PQconninfoOption *all = PQconndefaults();

    for (o = all; o != NULL && o->keyword != NULL; o++) {
        if (o->envvar != NULL)
            unsetenv(o->envvar);
    }
    PQconninfoFree(all);
    unsetenv("PGSERVICEFILE");
    unsetenv("PGSYSCONFDIR");
}

static int64_t now_ms(void)
{
    return time_monotonic_ns() / NS_PER_MS;
}

/* libpq's words, which may be those of a server not yet verified, as one line for a terminal. */
static void keep_words(struct store_why *why, const char *words)
{
    size_t n = 0;

    for (; *words != '\0' && n + 1 < sizeof why->text; words++) {
        if (*words == '\t' && n > 0 && why->text[n - 1] == ' ')
            continue;
        why->text[n++] = (unsigned char)*words < ' ' || *words == 0x7f ? ' ' : *words;
    }
    while (n > 0 && why->text[n - 1] == ' ')
        n--;
    why->text[n] = '\0';
}

/* False when the time is over, or waiting was cancelled. */
static bool await(PGconn *connection, int cancel_fd, short events, int64_t deadline_ms)
{
    struct pollfd at[] = {{.fd = PQsocket(connection), .events = events},
                          {.fd = cancel_fd, .events = POLLIN}};

    for (;;) {
        int64_t left = deadline_ms - now_ms();
        if (left <= 0)
            return false;
        int n = poll(at, cancel_fd > 0 ? 2 : 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return cancel_fd <= 0 || at[1].revents == 0;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* ---- Logging in ---- */

/* The settings as libpq takes them. */
struct parameters {
    const char *names[ENTRIES_MAX];
    const char *values[ENTRIES_MAX];
    size_t count;
    char port[NUMBER_BYTES];
    char trust[NUMBER_BYTES + sizeof "/proc/self/fd/"];
    char address[ADDRESS_BYTES];
    int trust_fd;
    struct buf token;
};

static void set(struct parameters *p, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    p->names[p->count] = name;
    p->values[p->count++] = value;
}

static struct view signed_host(const struct pg_settings *pg)
{
    return pg->iam_auth_hostname.len > 0 ? pg->iam_auth_hostname : pg->host;
}

struct view store_region(const struct pg_settings *pg)
{
    return pg->iam_auth_region.len > 0 ? pg->iam_auth_region
                                       : aws_region_of_host(signed_host(pg));
}

static err mint(const struct store_login *login, struct parameters *p)
{
    const struct pg_settings *pg = login->pg;
    struct view region = store_region(pg);
    struct rds_token_request request = {
        .kind = RDS_TOKEN_DB,
        .host = signed_host(pg),
        .port = pg->port,
        .user = pg->user,
        .region = region.len > 0 ? region : login->region,
        .credentials = login->credentials,
        .now_us = time_wall_us(),
    };

    if (request.region.len == 0)
        return fail(&store_no_region);
    if (login->credentials == NULL)
        return fail(&aws_credentials_absent);
    TRY(rds_token_mint(&request, &p->token));
    buf_add_char(&p->token, '\0');
    return buf_failed(&p->token) ? fail(&fault_out_of_memory) : OK;
}

/* Verified is the RDS name, reached is the tunnel: libpq wants its address for that. */
static err find_address(const struct pg_settings *pg, struct parameters *p, struct store_why *why)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    int wrong = getaddrinfo(pg->host.data, NULL, &hints, &found);
    if (wrong == 0)
        wrong = getnameinfo(found->ai_addr, found->ai_addrlen, p->address, sizeof p->address, NULL,
                            0, NI_NUMERICHOST);
    if (found != NULL)
        freeaddrinfo(found);
    if (wrong == 0)
        return OK;
    snprintf(why->text, sizeof why->text, "%s: %s", pg->host.data, gai_strerror(wrong));
    return fail(&store_unreachable);
}

static err set_tls(const struct store_login *login, struct parameters *p, struct store_why *why)
{
    const struct pg_settings *pg = login->pg;

    if (!pg->ssl) {
        set(p, "sslmode", "disable");
        return OK;
    }
    set(p, "sslmode", pg->ssl_verify ? "verify-full" : "require");
    set(p, "ssl_min_protocol_version",
        view_is(pg->ssl_version, "tlsv1_3") ? "TLSv1.3" : "TLSv1.2");
    if (pg->ssl_verify) {
        p->trust_fd = store_trust_open(login->node, signed_host(pg), why);
        if (p->trust_fd < 0)
            return fail(&store_bad_trust);
        snprintf(p->trust, sizeof p->trust, "/proc/self/fd/%d", p->trust_fd);
        set(p, "sslrootcert", p->trust);
    } else {
        set(p, "sslrootcert", "/dev/null/none");
    }
    /* Else libpq looks into the home directory. */
    bool own = pg->ssl_cert.len > 0;
    set(p, "sslcert", own ? pg->ssl_cert.data : "/dev/null/none");
    set(p, "sslkey", own ? pg->ssl_cert_key.data : "/dev/null/none");
    set(p, "sslcrl", "/dev/null/none");
    return OK;
}

static err prepare(const struct store_login *login, struct parameters *p, struct store_why *why)
{
    const struct pg_settings *pg = login->pg;
    bool tunnel = pg->iam_auth && pg->iam_auth_hostname.len > 0;

    if (tunnel)
        TRY(find_address(pg, p, why));
    snprintf(p->port, sizeof p->port, "%u", pg->port);
    set(p, "host", tunnel ? pg->iam_auth_hostname.data : pg->host.data);
    set(p, "hostaddr", p->address);
    set(p, "port", p->port);
    set(p, "user", pg->user.data);
    set(p, "dbname", pg->database.data);
    set(p, "application_name", "sallyport");
    set(p, "client_encoding", "UTF8");
    set(p, "gssencmode", "disable");
    set(p, "passfile", "/dev/null/none");
    TRY(set_tls(login, p, why));
    if (pg->iam_auth)
        TRY(mint(login, p));
    set(p, "password", pg->iam_auth ? p->token.data : pg->password.data);
    return OK;
}

/*
 * Between TLS and the start-up packet, so before the server learns anything.  libpq has no setting
 * for the depth; a verified chain holds the server's own certificate, the intermediates and a root.
 */
enum chain_verdict { CHAIN_NOT_YET, CHAIN_GOOD, CHAIN_TOO_LONG };

static enum chain_verdict judge_chain(PGconn *connection, int64_t depth)
{
    SSL *tls = PQsslStruct(connection, "OpenSSL");

    if (tls == NULL || !SSL_is_init_finished(tls))
        return CHAIN_NOT_YET;
    STACK_OF(X509) *chain = SSL_get0_verified_chain(tls);
    return chain != NULL && sk_X509_num(chain) - 2 <= depth ? CHAIN_GOOD : CHAIN_TOO_LONG;
}

static err drive(PGconn *connection, const struct store_login *login, struct store_why *why)
{
    int64_t deadline_ms = now_ms() + login->pg->timeout_ms;
    bool judged = !login->pg->ssl_verify || !login->pg->ssl;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;

    while (next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
        if (!await(connection, login->cancel_fd,
                   next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms)) {
            snprintf(why->text, sizeof why->text, "no answer within pg_timeout, %lld ms",
                     (long long)login->pg->timeout_ms);
            return fail(&store_unreachable);
        }
        next = PQconnectPoll(connection);
        enum chain_verdict verdict =
            judged ? CHAIN_GOOD : judge_chain(connection, login->node->lua_ssl_verify_depth);
        if (verdict == CHAIN_TOO_LONG)
            return fail(&store_chain_too_long);
        judged = verdict == CHAIN_GOOD;
    }
    if (next == PGRES_POLLING_OK && judged)
        return OK;
    keep_words(why, PQerrorMessage(connection));
    return fail(&store_unreachable);
}

/* Why RDS refuses a token it does not say ("Troubleshooting for IAM database authentication" of the
 * RDS user guide).  It asks members of rds_iam for a token, all others for their password. */
static void add_hint(const struct pg_settings *pg, struct store_why *why)
{
    size_t used = strlen(why->text), left = sizeof why->text - used;
    bool by_pam = strstr(why->text, "PAM authentication failed") != NULL;
    bool by_password = strstr(why->text, "password authentication failed") != NULL;

    if (pg->iam_auth && by_pam)
        snprintf(why->text + used, left,
                 "; the user must be granted rds_iam, and the IAM identity rds-db:connect for "
                 "dbuser:…/%.*s",
                 VIEW_ARG(pg->user));
    else if (pg->iam_auth && by_password)
        snprintf(why->text + used, left,
                 "; the server wants a password and no token: GRANT rds_iam TO the user %.*s",
                 VIEW_ARG(pg->user));
    else if (by_pam)
        snprintf(why->text + used, left,
                 "; as a member of rds_iam the user logs in by IAM only: set pg_iam_auth = on "
                 "(pg_ro_iam_auth), or REVOKE rds_iam FROM the user %.*s",
                 VIEW_ARG(pg->user));
}

static err choose_schema(struct store *s, const struct pg_settings *pg, struct store_why *why)
{
    /* quote_ident: search_path is a list of identifiers, pg_schema one of them. */
    if (pg->schema.len == 0)
        return OK;
    return store_run(s, "select set_config('search_path', quote_ident($1), false)", &pg->schema, 1,
                     NULL, why);
}

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static err connect_to(struct store *s, const struct store_login *login, struct parameters *p,
                      struct store_why *why)
{
    TRY(prepare(login, p, why));
    s->connection = PQconnectStartParams(p->names, p->values, 0);
    if (s->connection == NULL)
        return fail(&fault_out_of_memory);
    PQsetNoticeReceiver(s->connection, ignore_notice, NULL);
    if (PQstatus(s->connection) == CONNECTION_BAD) {
        keep_words(why, PQerrorMessage(s->connection));
        return fail(&store_unreachable);
    }
    err e = drive(s->connection, login, why);
    if (failed(e)) {
        add_hint(login->pg, why);
        return e;
    }
    PQsetnonblocking(s->connection, 1);
    return choose_schema(s, login->pg, why);
}

err store_open(const struct store_login *login, struct store **out, struct store_why *why)
{
    struct parameters p = {.trust_fd = -1};
    struct store *s = calloc(1, sizeof *s);

    *out = NULL;
    *why = (struct store_why){""};
    if (s == NULL)
        return fail(&fault_out_of_memory);
    s->timeout_ms = login->pg->timeout_ms;
    s->cancel_fd = login->cancel_fd;
    buf_init(&p.token, RDS_TOKEN_MAX_BYTES);
    err e = connect_to(s, login, &p, why);
    buf_clear_secure(&p.token);
    if (p.trust_fd >= 0)
        close(p.trust_fd);
    if (failed(e)) {
        store_close(s);
        return e;
    }
    *out = s;
    return OK;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    PQfinish(s->connection);
    free(s);
}

void store_set_timeout(struct store *s, int64_t timeout_ms)
{
    s->timeout_ms = timeout_ms;
}

/* ---- Statements ---- */

static err lost(struct store *s, struct store_why *why)
{
    keep_words(why, PQerrorMessage(s->connection));
    return fail(&store_lost);
}

static err too_late(struct store *s, struct store_why *why)
{
    snprintf(why->text, sizeof why->text, "no answer within %lld ms", (long long)s->timeout_ms);
    return fail(&store_lost);
}

int store_socket(const struct store *s)
{
    return PQsocket(s->connection);
}

err store_heard(struct store *s, bool *heard, int64_t *number, struct store_why *why)
{
    PGnotify *n;
    uint64_t said;

    *why = (struct store_why){""};
    *heard = false;
    if (PQconsumeInput(s->connection) == 0 || PQstatus(s->connection) != CONNECTION_OK)
        return lost(s, why);
    while ((n = PQnotifies(s->connection)) != NULL) {
        *heard = true;
        *number = view_to_u64(view_str(n->extra), INT64_MAX, &said) ? (int64_t)said : -1;
        PQfreemem(n);
    }
    return OK;
}

static err send_out(struct store *s, struct store_why *why)
{
    int64_t deadline_ms = now_ms() + s->timeout_ms;
    int left;

    while ((left = PQflush(s->connection)) > 0) {
        if (!await(s->connection, s->cancel_fd, POLLIN | POLLOUT, deadline_ms))
            return too_late(s, why);
        if (PQconsumeInput(s->connection) == 0)
            return lost(s, why);
    }
    return left < 0 ? lost(s, why) : OK;
}

static err await_result(struct store *s, PGresult **out, struct store_why *why)
{
    int64_t deadline_ms = now_ms() + s->timeout_ms;

    while (PQisBusy(s->connection)) {
        if (!await(s->connection, s->cancel_fd, POLLIN, deadline_ms))
            return too_late(s, why);
        if (PQconsumeInput(s->connection) == 0)
            return lost(s, why);
    }
    *out = PQgetResult(s->connection);
    return OK;
}

static err refused(const PGresult *result, struct store_why *why)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    keep_words(why, words != NULL ? words : PQresultErrorMessage(result));
    snprintf(why->sqlstate, sizeof why->sqlstate, "%s", state != NULL ? state : "");
    return fail(state != NULL ? &store_failed : &store_lost);
}

/* Every result up to the last; the first failure is the outcome. */
static err collect(struct store *s, struct store_rows *rows, struct store_why *why)
{
    PGresult *result = NULL;
    err outcome = OK;

    for (;;) {
        TRY(await_result(s, &result, why));
        if (result == NULL)
            return outcome;
        ExecStatusType status = PQresultStatus(result);
        bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
                    status == PGRES_EMPTY_QUERY;
        if (!good && !failed(outcome))
            outcome = refused(result, why);
        if (good && rows != NULL && rows->result == NULL)
            *rows = (struct store_rows){result, (size_t)PQntuples(result)};
        else
            PQclear(result);
    }
}

err store_run(struct store *s, const char *sql, const struct view *parameters, size_t count,
              struct store_rows *rows, struct store_why *why)
{
    const char *values[STORE_PARAMETERS_MAX];

    if (rows != NULL)
        *rows = (struct store_rows){NULL, 0};
    *why = (struct store_why){""};
    if (count > STORE_PARAMETERS_MAX)
        return fail(&fault_too_large);
    for (size_t i = 0; i < count; i++)
        values[i] = parameters[i].data; /* NUL-terminated: they come from arenas */
    if (PQsendQueryParams(s->connection, sql, (int)count, NULL, values, NULL, NULL, 0) == 0)
        return lost(s, why);
    TRY(send_out(s, why));
    err e = collect(s, rows, why);
    if (failed(e) && rows != NULL)
        store_rows_clear(rows);
    return e;
}

err store_script(struct store *s, const char *sql, struct store_why *why)
{
    *why = (struct store_why){""};
    if (PQsendQuery(s->connection, sql) == 0)
        return lost(s, why);
    TRY(send_out(s, why));
    return collect(s, NULL, why);
}

struct view store_cell(const struct store_rows *rows, size_t row, size_t column)
{
    if (PQgetisnull(rows->result, (int)row, (int)column))
        return (struct view){NULL, 0};
    return view_of(PQgetvalue(rows->result, (int)row, (int)column),
                   (size_t)PQgetlength(rows->result, (int)row, (int)column));
}

void store_rows_clear(struct store_rows *rows)
{
    PQclear(rows->result);
    *rows = (struct store_rows){NULL, 0};
}

/* ---- Transactions ---- */

/* "SALP", and the schema: two nodes' configurations in one database do not wait for each other. */
static const char lock_sql[] =
    "select pg_advisory_xact_lock(1396788304, hashtext(current_schema()))";

err store_begin(struct store *s, int64_t lock_wait_ms, struct store_why *why)
{
    char setting[64];
    int64_t usual_ms = s->timeout_ms;

    TRY(store_script(s, "begin", why));
    snprintf(setting, sizeof setting, "set local lock_timeout = %lld", (long long)lock_wait_ms);
    TRY(store_script(s, setting, why));
    s->timeout_ms = lock_wait_ms + usual_ms;
    err e = store_run(s, lock_sql, NULL, 0, NULL, why);
    s->timeout_ms = usual_ms;
    if (failed(e) && strcmp(why->sqlstate, "55P03") == 0) { /* lock_not_available */
        store_rollback(s);
        snprintf(why->text, sizeof why->text, "it has not ended within %lld ms",
                 (long long)lock_wait_ms);
        return fail(&store_locked);
    }
    return e;
}

err store_commit(struct store *s, struct store_why *why)
{
    return store_script(s, "commit", why);
}

void store_rollback(struct store *s)
{
    struct store_why nobody_asks;
    err e = store_script(s, "rollback", &nobody_asks);
    (void)e; /* a lost connection is rolled back by the server */
}
