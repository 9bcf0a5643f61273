/* One connection to the store, by libpq. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "store/store_internal.h"

const struct fault store_unreachable = {
    "store_unreachable", "the database of the configuration cannot be reached", NULL, 0};
const struct fault store_refused = {
    "store_refused", "the database of the configuration refuses the login", NULL, 0};
const struct fault store_bad_trust = {
    "store_bad_trust", "the certificate authorities of pg_ssl_verify cannot be read", NULL, 0};
const struct fault store_chain_too_long = {
    "store_chain_too_long",
    "the server's certificate chain is longer than lua_ssl_verify_depth lets it be", NULL, 0};
const struct fault store_no_region = {
    "store_no_region",
    "no AWS region for the token: set pg_iam_auth_region, or AWS_REGION", NULL, 0};
const struct fault store_failed = {"store_failed", "the database refused a statement", NULL, 0};
const struct fault store_read_only = {
    "store_read_only",
    "the server that pg_host names only reads (a standby, or a writer that was demoted): this "
    "needs the writer", NULL, 0};
const struct fault store_lost = {"store_lost", "the connection to the database was lost", NULL, 0};
const struct fault store_no_schema = {"store_no_schema", "there is no schema for the tables", NULL,
                                      0};
const struct fault store_locked = {
    "store_locked", "another process is changing the tables of the configuration", NULL, 0};

enum { NS_PER_MS = 1000000, GIVE_UP_LOOK_MS = 50 };

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

void store_keep_words(struct store_why *why, const char *words)
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

/* False when the time is over, waiting was cancelled, or given up. */
static bool await(const struct store *s, short events, int64_t deadline_ms)
{
    struct pollfd at[] = {{.fd = PQsocket(s->connection), .events = events},
                          {.fd = s->cancel_fd, .events = POLLIN}};

    for (;;) {
        int64_t left = deadline_ms - now_ms();
        if (left <= 0)
            return false;
        if (s->give_up != NULL && left > GIVE_UP_LOOK_MS)
            left = GIVE_UP_LOOK_MS;
        int n = poll(at, s->cancel_fd > 0 ? 2 : 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return s->cancel_fd <= 0 || at[1].revents == 0;
        if ((n < 0 && errno != EINTR) || (s->give_up != NULL && s->give_up(s->give_up_arg)))
            return false;
    }
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

void store_set_give_up(struct store *s, store_give_up *give_up, void *arg)
{
    s->give_up = give_up;
    s->give_up_arg = arg;
}

void store_end_cancelling(struct store *s)
{
    s->cancel_fd = 0;
}

/* ---- Statements ---- */

static err lost(struct store *s, struct store_why *why)
{
    store_keep_words(why, PQerrorMessage(s->connection));
    return fail(&store_lost);
}

static err too_late(struct store *s, int64_t deadline_ms, struct store_why *why)
{
    if (now_ms() < deadline_ms)
        snprintf(why->text, sizeof why->text, "its answer is waited for no longer");
    else
        snprintf(why->text, sizeof why->text, "no answer within %lld ms",
                 (long long)s->timeout_ms);
    return fail(&store_lost);
}

const char *store_address(const struct store *s)
{
    return s->address;
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
        if (!await(s, POLLIN | POLLOUT, deadline_ms))
            return too_late(s, deadline_ms, why);
        if (PQconsumeInput(s->connection) == 0)
            return lost(s, why);
    }
    return left < 0 ? lost(s, why) : OK;
}

static err await_result(struct store *s, PGresult **out, struct store_why *why)
{
    int64_t deadline_ms = now_ms() + s->timeout_ms;

    while (PQisBusy(s->connection)) {
        if (!await(s, POLLIN, deadline_ms))
            return too_late(s, deadline_ms, why);
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

    store_keep_words(why, words != NULL ? words : PQresultErrorMessage(result));
    snprintf(why->sqlstate, sizeof why->sqlstate, "%s", state != NULL ? state : "");
    if (strcmp(why->sqlstate, "25006") == 0) /* read_only_sql_transaction */
        return fail(&store_read_only);
    return fail(state != NULL ? &store_failed : &store_lost);
}

static err take(PGresult *result, struct store_rows *rows, struct store_why *why)
{
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
                status == PGRES_EMPTY_QUERY;
    err e = good ? OK : refused(result, why);

    if (good && rows != NULL && rows->result == NULL)
        *rows = (struct store_rows){result, (size_t)PQntuples(result)};
    else
        PQclear(result);
    return e;
}

/* Every result up to the last; the first failure is the outcome. */
static err collect(struct store *s, struct store_rows *rows, struct store_why *why)
{
    PGresult *result = NULL;
    struct store_why unheard;
    err outcome = OK;

    for (;;) {
        TRY(await_result(s, &result, why));
        if (result == NULL)
            return outcome;
        err e = take(result, rows, failed(outcome) ? &unheard : why);
        outcome = failed(outcome) ? outcome : e;
    }
}

err store_ask(struct store *s, const char *sql, struct store_why *why)
{
    *why = (struct store_why){""};
    if (PQsendQuery(s->connection, sql) == 0)
        return lost(s, why);
    return send_out(s, why);
}

/* What is asked so is one statement: its result, and the end. */
err store_answer(struct store *s, bool *answered, struct store_rows *rows, struct store_why *why)
{
    *answered = false;
    *rows = (struct store_rows){NULL, 0};
    *why = (struct store_why){""};
    if (PQconsumeInput(s->connection) == 0)
        return lost(s, why);
    if (PQisBusy(s->connection))
        return OK;
    *answered = true;
    return collect(s, rows, why);
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

    /* Whatever the login's default is: a snapshot of before the lock would miss what whoever held
     * it has done. */
    TRY(store_script(s, "begin isolation level read committed", why));
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
