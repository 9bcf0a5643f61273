#include "database/backend.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "database/backend_send.h"
#include "database/broker.h"
#include "net/net.h"
#include "pg/pg.h"
#include "pg/value.h"

enum {
    READ_CHUNK_BYTES = 32 * 1024,
    OUT_MAX_BYTES = 256 * 1024 * 1024, /* one call is bounded by the door's body limit */
    SCRATCH_BLOCK_BYTES = 4096,
    SCRATCH_MAX_BYTES = 256 * 1024 * 1024,
    TIMEOUT_GRACE_MS = 5000, /* beyond statement_timeout: the server has not even said 57014 */
};

/* What a session may keep of a caller beyond its transaction: settings, locks, cursors,
 * notifications, temporary tables, the last value of a sequence.  A statement prepared by SQL could
 * stand in the place of one of ours, the prelude's even: the session that has one ends itself. */
static const struct view reset_sql =
    VIEW("reset role; reset all; select pg_catalog.pg_advisory_unlock_all(); close all; unlisten *;"
         " discard temp; discard sequences;"
         " select pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())"
         " from pg_catalog.pg_prepared_statements where from_sql");

static const struct stream_ops stream_ops;

struct backend *backend_new(size_t max_message_bytes, size_t statement_cache)
{
    struct backend *b = calloc(1, sizeof *b);

    if (b == NULL)
        return NULL;
    stream_init(&b->stream, &stream_ops, OUT_MAX_BYTES);
    buf_init(&b->in, max_message_bytes + READ_CHUNK_BYTES);
    list_init(&b->calls);
    list_init(&b->link);
    list_init(&b->letter.link);
    statement_cache_init(&b->statements, statement_cache);
    arena_init(&b->scratch, SCRATCH_BLOCK_BYTES, SCRATCH_MAX_BYTES);
    arena_init(&b->error_arena, SCRATCH_BLOCK_BYTES, SCRATCH_MAX_BYTES);
    b->state = BACKEND_MOVING;
    b->born_ns = time_monotonic_ns();
    return b;
}

void backend_free(struct backend *b)
{
    ENSURE(list_is_empty(&b->calls));
    bool sound = b->stream.state == STREAM_OPEN && b->state != BACKEND_DEAD && b->in_flight == 0;
    /* Dead first, and without the login's callbacks: the farewell itself may fail. */
    b->state = BACKEND_DEAD;
    b->stream.ops = &stream_ops;
    if (sound) {
        pg_add_terminate(&b->stream.out);
        stream_flush(&b->stream);
    }
    stream_close(&b->stream);
    statement_cache_clear(&b->statements);
    arena_clear(&b->scratch);
    arena_clear(&b->error_arena);
    buf_clear(&b->in);
    free(b);
}

bool backend_adopt(struct backend *b, struct db_worker *worker)
{
    ENSURE(b->state == BACKEND_MOVING);
    /* The login's stream served the login; from here on it is ours. */
    b->stream.ops = &stream_ops;
    if (!stream_is_quiet(&b->stream))
        return false;
    if (failed(stream_attach(&b->stream, worker->loop, worker->flush_list)))
        return false;
    b->home = worker;
    b->state = BACKEND_IDLE;
    stream_want_read(&b->stream, true);
    return true;
}

static struct db_call *head_call(struct backend *b)
{
    return list_is_empty(&b->calls) ? NULL : LIST_ENTRY(b->calls.next, struct db_call, link);
}

static void begin_head(struct backend *b)
{
    const struct db_call *call = head_call(b);
    bool framed = call != NULL && call_in_transaction(call);

    b->head = (struct head){.phase = framed ? PHASE_BEGIN : PHASE_PRELUDE,
                            .completion = {VIEW(""), 0}};
}

void backend_run(struct backend *b, struct db_call *call)
{
    ENSURE(b->state == BACKEND_IDLE || (b->state == BACKEND_BUSY && !b->exclusive));
    bool first = list_is_empty(&b->calls);

    b->state = BACKEND_BUSY;
    b->exclusive = !call->statement->shareable;
    call->state = DB_CALL_RUNNING;
    call->backend = b;
    call->running_ns = time_monotonic_ns();
    list_push_back(&b->calls, &call->link);
    b->in_flight++;
    if (first)
        begin_head(b);
    backend_send(b, call);
}

/* ---- Ending calls ---- */

static void end_call(struct backend *b, struct db_call *call, const struct db_outcome *outcome)
{
    list_unlink(&call->link);
    b->in_flight--;
    if (call->prepared != NULL)
        prepared_release(call->prepared);
    call->prepared = NULL;
    call->backend = NULL;
    call->state = DB_CALL_FINISHED;
    call->finished(call, outcome);
}

static struct db_outcome outcome_of(const struct backend *b, const struct db_call *call, err error)
{
    return (struct db_outcome){.error = error,
                               .backend_pid = b->pid,
                               .access_key_id = b->access_key_id[0] != '\0'
                                                    ? view_str(b->access_key_id)
                                                    : (struct view){NULL, 0},
                               .queue_ns = call->running_ns - call->started_ns,
                               .database_ns = time_monotonic_ns() - call->running_ns};
}

/* What the loss of the connection is to one call.  Those behind the first only lost their place. */
static err fault_of_loss(const struct db_call *call, bool first, err why)
{
    if (is_fault(why, &db_unsent))
        return why;
    /* A write whose answer never came may have happened: that comes before the reason. */
    if (!call->statement->read_only)
        return fail(&db_outcome_unknown);
    if (first && is_fault(why, &net_timeout))
        return fail(&db_timeout);
    if (first && is_fault(why, &pg_message_too_large))
        return fail(&db_result_too_large);
    return fail(&db_lost);
}

void backend_fail(struct backend *b, err why)
{
    struct broker *broker = b->broker;

    if (b->state == BACKEND_DEAD)
        return;
    b->state = BACKEND_DEAD;
    if (b->cancel != NULL)
        b->cancel->backend = NULL;
    b->cancel = NULL;
    stream_want_read(&b->stream, false);
    broker_unlist(broker, b);
    const struct db_call *first = head_call(b);
    for (struct db_call *call; (call = head_call(b)) != NULL;) {
        struct db_outcome outcome = outcome_of(b, call, fault_of_loss(call, call == first, why));
        end_call(b, call, &outcome);
    }
    broker_forget(broker, b);
}

static void start_cleaning(struct backend *b, bool roll_back, bool reset)
{
    struct buf *out = &b->stream.out;

    if (roll_back) {
        pg_add_query(out, VIEW("rollback"));
        b->cleaning++;
    }
    if (reset) {
        pg_add_query(out, reset_sql);
        b->cleaning++;
    }
    if (b->cleaning > 0) {
        b->cleaning_ns = time_monotonic_ns();
        stream_queue(&b->stream);
    }
}

/* Whether the server refused to bind a statement that it no longer has, or whose result has another
 * shape since.  The same codes from a statement that ran are the statement's own. */
static bool is_stale(const struct backend *b)
{
    const struct head *h = &b->head;

    return (h->failed_in == PHASE_PRELUDE || h->failed_in == PHASE_STATEMENT) && !h->bound &&
           (strcmp(h->error.sqlstate, "26000") == 0 || strcmp(h->error.sqlstate, "0A000") == 0);
}

/* A call that met a stale statement is sent again, once, with everything parsed anew. */
static bool heal(struct backend *b, struct db_call *call, bool left_failed)
{
    struct buf *out = &b->stream.out;
    struct prepared *p = call->prepared;

    if (!is_stale(b) || call->healed || call->abandoned || p == NULL)
        return false;
    call->prepared = NULL;
    call->healed = true;
    start_cleaning(b, left_failed, false);
    if (!p->forgotten)
        pg_add_close(out, PG_STATEMENT, view_str(p->name));
    if (b->head.failed_in == PHASE_PRELUDE) {
        pg_add_close(out, PG_STATEMENT, backend_prelude_name);
        b->prelude_known = false;
    }
    statement_cache_forget(&b->statements, p);
    prepared_release(p);
    list_unlink(&call->link);
    list_push_back(&b->calls, &call->link);
    backend_send(b, call);
    return true;
}

static err verdict(const struct backend *b, const struct db_call *call)
{
    bool cut = b->head.too_many_rows || b->head.sink_stopped;

    if (b->head.has_error)
        return fail(b->head.failed_in == PHASE_STATEMENT || b->head.failed_in == PHASE_COMMIT
                        ? &db_refused
                        : &db_identity_refused);
    /* The limit cuts what is delivered, not what was done: "too many" would invite a repetition. */
    if (cut && !call->statement->read_only)
        return fail(&db_result_withheld);
    if (b->head.too_many_rows)
        return fail(&db_too_many_rows);
    if (b->head.sink_stopped)
        return fail(&db_result_too_large);
    return OK;
}

/* ReadyForQuery for the head call. */
static err finish_head(struct backend *b, char status)
{
    struct db_call *call = head_call(b);
    bool described_only = call->prepare_only && b->head.phase == PHASE_STATEMENT;

    if (b->head.phase != PHASE_SYNC && !described_only)
        return fail(&db_protocol);
    /* Only an explicit transaction that failed may be left open, and only as failed. */
    bool left_failed = status == 'E' && call_in_transaction(call) && b->head.has_error;
    if (status != 'I' && !left_failed)
        return fail(&db_protocol);
    if (b->head.has_error && heal(b, call, left_failed)) {
        begin_head(b);
        return OK;
    }
    /* A statement that was never parsed must not be taken for prepared. */
    if (b->head.has_error && call->prepared != NULL && !call->prepared->parsed)
        statement_cache_forget(&b->statements, call->prepared);
    /* A copy: whoever hears of the end may start the next call here, which resets the head. */
    const struct head ended = b->head;
    struct db_outcome outcome = outcome_of(b, call, verdict(b, call));
    outcome.completion = (struct completion){view_str(ended.command), ended.completion.rows};
    if (ended.has_error)
        outcome.reason = &ended.error;
    start_cleaning(b, left_failed, call->statement->reset_after && !call->prepare_only);
    end_call(b, call, &outcome);
    arena_reset(&b->error_arena);
    begin_head(b);
    return OK;
}

/* ---- Receiving ---- */

static void give_columns(struct backend *b, struct db_call *call)
{
    struct prepared *p = call->prepared;

    if (b->head.columns_given || p == NULL || !p->described)
        return;
    b->head.columns_given = true;
    if (!call->abandoned && !b->head.sink_stopped &&
        !call->sink->ops->columns(call->sink, p->columns, p->column_count))
        b->head.sink_stopped = true;
}

static err read_columns(struct prepared *p, struct view body)
{
    const struct pg_field *fields = NULL;
    size_t count = 0;

    if (p->described)
        return OK; /* a call sent before the first answer asked too */
    TRY(pg_read_row_description(body, &p->arena, &fields, &count));
    p->columns = ARENA_ARRAY(&p->arena, count, struct column);
    if (p->columns == NULL && count > 0)
        return fail(&fault_out_of_memory);
    for (size_t i = 0; i < count; i++)
        p->columns[i] = (struct column){fields[i].name, fields[i].type_oid};
    p->column_count = count;
    p->described = true;
    return OK;
}

static err read_row(struct backend *b, struct db_call *call, struct view body)
{
    struct prepared *p = call->prepared;

    if (p == NULL || !p->described)
        return fail(&db_protocol);
    give_columns(b, call);
    b->head.rows_given = true;
    if (call->abandoned || b->head.sink_stopped || b->head.too_many_rows)
        return OK;
    if (call->max_rows != 0 && b->head.completion.rows == call->max_rows) {
        b->head.too_many_rows = true;
        return OK;
    }
    b->head.completion.rows++;
    arena_reset(&b->scratch);
    struct view *values = ARENA_ARRAY(&b->scratch, p->column_count, struct view);
    struct cell *cells = ARENA_ARRAY(&b->scratch, p->column_count, struct cell);
    if (values == NULL || cells == NULL)
        return fail(&fault_out_of_memory);
    TRY(pg_read_data_row(body, values, p->column_count));
    for (size_t i = 0; i < p->column_count; i++)
        TRY(pg_value_to_cell(&b->scratch, p->columns[i].type_id, values[i], &cells[i]));
    if (!call->sink->ops->row(call->sink, cells, p->column_count))
        b->head.sink_stopped = true;
    return OK;
}

static err on_complete(struct backend *b, struct db_call *call, struct view body)
{
    switch (b->head.phase) {
    case PHASE_BEGIN:
        b->head.phase = PHASE_PRELUDE;
        return OK;
    case PHASE_PRELUDE:
        b->head.phase = PHASE_STATEMENT;
        return OK;
    case PHASE_STATEMENT: {
        struct completion done;
        TRY(pg_read_command_complete(body, &done));
        give_columns(b, call);
        snprintf(b->head.command, sizeof b->head.command, "%.*s", VIEW_ARG(done.command));
        b->head.completion = (struct completion){view_str(b->head.command), done.rows};
        if (call->prepared != NULL)
            call->prepared->described = true; /* without a RowDescription: no rows to describe */
        b->head.phase = call_in_transaction(call) ? PHASE_COMMIT : PHASE_SYNC;
        return OK;
    }
    case PHASE_COMMIT:
        b->head.phase = PHASE_SYNC;
        return OK;
    case PHASE_SYNC:
        break;
    }
    return fail(&db_protocol);
}

static err on_error(struct backend *b, struct view body)
{
    struct database_error error;
    bool fatal = false;

    TRY(pg_read_error(body, &error, &fatal));
    /* Never taken back: a cancel astray is not made good by an ordinary error. */
    b->doomed |= fatal;
    b->head.error = pg_copy_error(&b->error_arena, &error);
    b->head.has_error = true;
    b->head.failed_in = b->head.phase;
    b->head.phase = PHASE_SYNC;
    return OK;
}

static err on_suspended(struct backend *b, struct db_call *call)
{
    if (b->head.phase != PHASE_STATEMENT)
        return fail(&db_protocol);
    b->head.too_many_rows = true;
    b->head.phase = call_in_transaction(call) ? PHASE_COMMIT : PHASE_SYNC;
    return OK;
}

static err on_call_message(struct backend *b, struct db_call *call, const struct pg_frame *f)
{
    char status;

    switch (f->type) {
    case PG_DATA_ROW:
        if (b->head.phase == PHASE_PRELUDE)
            return OK;
        return b->head.phase == PHASE_STATEMENT ? read_row(b, call, f->body) : fail(&db_protocol);
    case PG_COMMAND_COMPLETE:
        return on_complete(b, call, f->body);
    case PG_READY_FOR_QUERY:
        TRY(pg_read_ready_for_query(f->body, &status));
        return finish_head(b, status);
    case PG_ERROR_RESPONSE:
        return on_error(b, f->body);
    case PG_ROW_DESCRIPTION:
        if (call->prepare_only)
            return OK;
        return b->head.phase == PHASE_STATEMENT ? read_columns(call->prepared, f->body)
                                           : fail(&db_protocol);
    case PG_NO_DATA:
        if (call->prepared != NULL && b->head.phase == PHASE_STATEMENT)
            call->prepared->described = true;
        return OK;
    case PG_PORTAL_SUSPENDED:
        return on_suspended(b, call);
    case PG_EMPTY_QUERY_RESPONSE:
        b->head.phase = PHASE_SYNC;
        return OK;
    case PG_PARSE_COMPLETE:
        if (b->head.phase == PHASE_STATEMENT && call->prepared != NULL)
            call->prepared->parsed = true;
        return OK;
    case PG_BIND_COMPLETE:
        b->head.bound = b->head.phase == PHASE_STATEMENT;
        return OK;
    case PG_CLOSE_COMPLETE:
    case PG_PARAMETER_DESCRIPTION:
        return OK;
    default:
        return fail(&db_protocol);
    }
}

/* Answers to our own rollback and reset: all must succeed. */
static err on_cleaning_message(struct backend *b, const struct pg_frame *f)
{
    char status;

    switch (f->type) {
    case PG_READY_FOR_QUERY:
        TRY(pg_read_ready_for_query(f->body, &status));
        b->cleaning--;
        return status == 'I' ? OK : fail(&db_protocol);
    case PG_ROW_DESCRIPTION:
    case PG_DATA_ROW:
    case PG_COMMAND_COMPLETE:
        return OK;
    case PG_ERROR_RESPONSE:
        return fail(&db_not_clean);
    default:
        return fail(&db_protocol);
    }
}

static err on_frame(struct backend *b, const struct pg_frame *f)
{
    struct db_call *call = head_call(b);

    if (f->type == PG_NOTICE_RESPONSE || f->type == PG_PARAMETER_STATUS ||
        f->type == PG_NOTIFICATION_RESPONSE)
        return OK;
    if (b->cleaning > 0)
        return on_cleaning_message(b, f);
    if (call != NULL)
        return on_call_message(b, call, f);
    /* Unasked: an error that announces the end, or nonsense; either way the end. */
    return fail(f->type == PG_ERROR_RESPONSE ? &net_closed : &db_protocol);
}

static err take_frames(struct backend *b)
{
    size_t at = 0;
    err e = OK;

    for (;;) {
        struct pg_frame frame;
        bool complete = false;
        e = pg_frame_next(view_from(buf_view(&b->in), at), b->in.max - READ_CHUNK_BYTES, &frame,
                          &complete);
        if (failed(e) || !complete)
            break;
        at += frame.size;
        e = on_frame(b, &frame);
        if (failed(e) || b->state == BACKEND_DEAD)
            break;
    }
    buf_consume(&b->in, at);
    return e;
}

/* Nothing is in flight: back to the broker, unless something is left to do first. */
static void settle(struct backend *b)
{
    if (b->in_flight > 0 || b->cleaning > 0 || b->state != BACKEND_BUSY || b->cancel != NULL)
        return;
    if (b->doomed) {
        backend_fail(b, fail(&db_not_clean));
        return;
    }
    if (b->settle) {
        b->settle = false;
        pg_add_sync(&b->stream.out);
        b->cleaning++;
        b->cleaning_ns = time_monotonic_ns();
        stream_queue(&b->stream);
        return;
    }
    /* Part of a message that nothing asked for, or an answer to what was not yet sent. */
    if (b->in.len > 0 || !stream_is_settled(&b->stream))
        backend_fail(b, fail(&db_protocol));
    else
        broker_release(b->broker, b);
}

/* ---- Cancelling ---- */

void backend_cancel(struct backend *b)
{
    struct cancel_job *job;

    if (b->cancel != NULL || b->pid == 0 || b->in_flight != 1)
        return;
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return; /* the statement ends by its own timeout */
    job->broker = broker_acquire(b->broker);
    job->worker = b->home;
    job->address = b->peer;
    job->pid = b->pid;
    job->key = b->cancel_key;
    job->backend = b;
    list_init(&job->link);
    list_init(&job->letter.link);
    b->cancel = job;
    b->broker->want_cancel(job, b->broker->arg);
}

static void open_cancel_end(struct letter *letter)
{
    struct cancel_job *job = CONTAINER_OF(letter, struct cancel_job, letter);
    struct backend *b = job->backend;
    struct broker *broker = job->broker;
    bool sent = job->sent;

    free(job);
    if (b != NULL) {
        b->cancel = NULL;
        b->settle = true;
        /* Whether a cancel that failed half-way still arrives, nobody knows: no reuse. */
        if (!sent && b->in_flight == 0)
            backend_fail(b, fail(&db_not_clean));
        else if (!sent)
            b->doomed = true;
        else
            settle(b);
    }
    broker_release_reference(broker);
}

void cancel_job_ended(struct cancel_job *job, bool sent)
{
    job->sent = sent;
    mailbox_post(job->worker->mailbox, &job->letter, open_cancel_end);
}

/* ---- The stream's events ---- */

static void on_readable(struct stream *s)
{
    struct backend *b = CONTAINER_OF(s, struct backend, stream);
    err end = stream_read(s, &b->in, READ_CHUNK_BYTES);
    err e = take_frames(b);

    if (b->state == BACKEND_DEAD)
        return;
    if (failed(e) || failed(end)) {
        if (is_fault(e, &db_protocol) || is_fault(e, &pg_message_malformed))
            log_error("database_protocol", "a database broke the protocol; its connection is closed",
                      LOG_INT("backend_pid", b->pid), LOG_STR("reason", e.fault->text));
        if (is_fault(e, &db_not_clean))
            log_warn("connection_not_clean", e.fault->text, LOG_INT("backend_pid", b->pid));
        backend_fail(b, failed(e) ? e : end);
        return;
    }
    if (b->in.len == 0 && b->in.cap > READ_CHUNK_BYTES)
        buf_clear(&b->in);
    if (b->in_flight > 0)
        broker_refill(b->broker, b);
    settle(b);
}

static void on_failed(struct stream *s, err why)
{
    backend_fail(CONTAINER_OF(s, struct backend, stream), why);
}

static const struct stream_ops stream_ops = {.readable = on_readable, .failed = on_failed};

bool backend_overdue(const struct backend *b, int64_t now_ns)
{
    if (list_is_empty(&b->calls))
        return b->cleaning > 0 &&
               now_ns - b->cleaning_ns > (int64_t)TIMEOUT_GRACE_MS * 1000000;
    const struct db_call *call = LIST_ENTRY(b->calls.next, struct db_call, link);
    return call->timeout_ms > 0 &&
           now_ns - call->running_ns > (call->timeout_ms + TIMEOUT_GRACE_MS) * 1000000;
}
