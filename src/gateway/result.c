#include "gateway/result.h"

#include "base/log.h"

static const struct fault result_no_row = {"not_found", "the statement returned no row",
                                           "no such resource", 404};

static struct call *call_of_sink(struct result_sink *sink)
{
    return CONTAINER_OF(sink, struct call, sink);
}

static bool on_columns(struct result_sink *sink, const struct column *columns, size_t count)
{
    struct call *call = call_of_sink(sink);

    buf_reset(&call->answer.body);
    return !failed(json_names_init(&call->names, &call->arena, columns, count));
}

static bool on_row(struct result_sink *sink, const struct cell *cells, size_t count)
{
    struct call *call = call_of_sink(sink);
    struct buf *body = &call->answer.body;
    enum result_shape shape = call->route->route->statement.result;
    size_t limit = (size_t)call->route->route->service->max_response_bytes;

    (void)count;
    if (shape == RESULT_AFFECTED || shape == RESULT_NONE)
        return true;
    if (shape == RESULT_MANY)
        buf_add_char(body, body->len == 0 ? '[' : ',');
    json_add_row(body, &call->names, cells);
    return !buf_failed(body) && body->len <= limit;
}

const struct result_sink_ops result_as_json = {.columns = on_columns, .row = on_row};

void result_answer(struct call *call, const struct db_outcome *outcome)
{
    struct answer *a = &call->answer;

    a->status = 200;
    a->content_type = VIEW("application/json");
    switch (call->route->route->statement.result) {
    case RESULT_MANY:
        buf_add_str(&a->body, a->body.len == 0 ? "[]" : "]");
        break;
    case RESULT_ONE:
        if (a->body.len == 0)
            answer_fault(call, fail(&result_no_row));
        break;
    case RESULT_AFFECTED:
        buf_reset(&a->body);
        buf_add_str(&a->body, "{\"affected\":");
        buf_add_u64(&a->body, outcome->completion.rows);
        buf_add_char(&a->body, '}');
        break;
    case RESULT_NONE:
        buf_reset(&a->body);
        a->status = 204;
        a->content_type = (struct view){NULL, 0};
        break;
    }
}

static void log_database_error(const struct call *call, const struct db_outcome *outcome)
{
    const struct database_error *e = outcome->reason;
    unsigned line, column;

    snapshot_sql_place(call->route, e->position, &line, &column);
    log_warn("statement_failed", outcome->error.fault->text,
             LOG_STR("request_id", call->request_id),
             LOG_VIEW("service", call->route->route->service->name),
             LOG_VIEW("route", call->route->route->name), LOG_STR("sqlstate", e->sqlstate),
             LOG_INT("line", e->position > 0 ? line : 0), LOG_VIEW("error", e->message));
}

void result_answer_error(struct call *call, const struct db_outcome *outcome)
{
    const struct database_error *e = outcome->reason;
    struct problem p = problem_of(outcome->error.fault, view_str(call->request_id));

    if (is_fault(outcome->error, &db_refused)) {
        struct sqlstate_answer answer = sqlstate_answer(e->sqlstate, true);
        p.status = answer.status;
        p.retry_after_s = answer.retry_after_s;
        p.detail = answer.detail != NULL ? view_str(answer.detail) : (struct view){NULL, 0};
        p.sqlstate = view_str(e->sqlstate);
        if (call->route->route->statement.expose_errors) {
            p.message = e->message;
            p.hint = e->hint;
        }
    }
    if (p.status >= 500)
        log_database_error(call, outcome);
    answer_problem(call, &p);
}
