#include "gateway/pipeline.h"

#include "audit/event.h"
#include "base/log.h"
#include "base/time.h"
#include "gateway/authorize.h"
#include "gateway/problem.h"
#include "gateway/result.h"
#include "http/http.h"
#include "http/uri.h"

enum {
    APPLICATION_NAME_BYTES = 63, /* NAMEDATALEN - 1; the server would cut it */
    RETRY_AFTER_S = 1,
    RATE_KEY_MAX_BYTES = 64 * 1024,
};

static const struct fault pipeline_rate_limited = {
    "rate_limited", "the caller's calls on this route come faster than its rate_limit",
    "too many requests; try again later", 429};
static const struct fault pipeline_draining = {"draining", "the gateway is stopping",
                                               "the gateway is stopping; try again", 503};

static void on_finished(struct db_call *db, const struct db_outcome *outcome);

static struct audit_call audit_call_of(const struct call *call)
{
    return (struct audit_call){view_str(call->request_id), call->trace_id};
}

/* Each answer once.  One that no route was found for is counted without service and route: its
 * labels come from the caller, and there is no end of them. */
static void count_request(struct call *call)
{
    const struct compiled_route *r = call->route;
    struct metric_set *requests = r != NULL ? r->requests : call->worker->gateway->unrouted;

    metric_add(call->worker->metrics, metric_set_number(requests, (unsigned)call->answer.status),
               1);
    if (r != NULL)
        metric_observe(call->worker->metrics, r->request_seconds,
                       time_monotonic_ns() - call->started_ns);
}

/* An answer that stands in no denial of the audit. */
static bool answer_unheard(struct call *call, err why)
{
    answer_fault(call, why);
    count_request(call);
    return false;
}

static void count_decision(struct call *call, bool allowed, struct view reason)
{
    const struct gateway *g = call->worker->gateway;

    metric_add(call->worker->metrics,
               allowed ? g->allowed : metric_set_word(g->decisions, reason), 1);
}

/* "rate-limiting", "rate-limiting gold"; absent when no plugin refused. */
static struct view plugin_label(struct call *call)
{
    const struct plugin *p = call->refusing;

    if (p == NULL)
        return (struct view){NULL, 0};
    struct view name = view_str(plugin_kind_name(p->kind));
    if (p->instance_name.data == NULL)
        return name;
    return arena_printf(&call->arena, "%.*s %.*s", VIEW_ARG(name), VIEW_ARG(p->instance_name));
}

/* A refusal to an identified caller: audited, then answered. */
static bool deny(struct call *call, err why, struct view detail, const struct problem *problem)
{
    const struct compiled_route *r = call->route;
    const struct cached_decision *d = call->decision;
    const struct route_role *as = r != NULL && d != NULL && d->role_index != NO_ROLE
                                      ? snapshot_route_role(r, d->role_index)
                                      : NULL;
    struct audit_denial event = {
        .call = audit_call_of(call),
        .method = call->request.method,
        .path = call->request.path,
        .principal = caller_fragment(call->caller),
        .source = call->request.source,
        .decision = d != NULL ? d->fragment : VIEW(""),
        .target = as != NULL ? as->target : VIEW(""),
        .reason = view_str(why.fault->name),
        .detail = detail,
        .plugin = plugin_label(call),
        .http_status = problem->status,
    };

    count_decision(call, false, view_str(why.fault->name));
    if (!audit_denial(call->worker->audit, &event)) {
        answer_fault(call, fail(&audit_unavailable));
    } else {
        call->outcome_pending = true;
        answer_problem(call, problem);
    }
    count_request(call);
    return false;
}

static bool deny_fault(struct call *call, err why)
{
    struct problem p = problem_of(why.fault, view_str(call->request_id));

    if (p.status == 503 || p.status == 429)
        p.retry_after_s = p.retry_after_s > 0 ? p.retry_after_s : RETRY_AFTER_S;
    return deny(call, why, view_str(why.fault->text), &p);
}

/* ---- Identify ---- */

static const struct view bearer_challenge = VIEW("Bearer realm=\"sallyport\"");

/* RFC 6750 section 3: without a token only the scheme is named; with a bad one, the error. */
static void add_challenge(struct call *call, bool token_given)
{
    answer_add_header(&call->answer, VIEW("WWW-Authenticate"),
               token_given ? VIEW("Bearer realm=\"sallyport\", error=\"invalid_token\"")
                           : bearer_challenge);
}

static bool refuse_identity(struct call *call, err why, const struct token_check *check)
{
    struct problem p = problem_of(why.fault, view_str(call->request_id));
    struct audit_auth_failure event = {
        .call = audit_call_of(call),
        .method = call->request.method,
        .path = call->request.path,
        .source = call->request.source,
        .reason = view_str(why.fault->name),
        .detail = view_str(why.fault->text),
        .unverified_issuer = check->issuer_name,
        .unverified_key_id = check->key_id,
        .http_status = p.status,
    };

    count_decision(call, false, view_str(why.fault->name));
    if (!audit_auth_failure(call->worker->audit, &event))
        return answer_unheard(call, fail(&audit_unavailable));
    call->outcome_pending = true;
    if (p.status == 503)
        p.retry_after_s = RETRY_AFTER_S;
    answer_problem(call, &p);
    if (p.status == 401)
        add_challenge(call, call->request.authorization.data != NULL);
    count_request(call);
    return false;
}

static bool identify(struct call *call)
{
    struct token_check check = {.count = 0};
    struct view token;

    err e = bearer_token(call->request.authorization, call->request.authorization_twice, &token);
    if (!failed(e))
        e = token_cache_identify(call->worker->tokens, call->snapshot->identity, token,
                                 call->worker->wall_s, &call->arena, &call->caller, &check);
    if (failed(e))
        return refuse_identity(call, e, &check);
    e = authorize_caller(call->snapshot, call->caller);
    return failed(e) ? deny_fault(call, e) : true;
}

/* ---- Plugins ---- */

static void answer_itself(struct call *call, const struct plugin_verdict *v)
{
    struct answer *a = &call->answer;

    a->status = v->status;
    a->content_type = v->content_type;
    buf_reset(&a->body);
    buf_add_view(&a->body, v->body);
}

static bool deny_by_plugin(struct call *call, const struct plugin_verdict *v)
{
    const struct problem p = {
        .status = v->status,
        .reason = view_str(v->fault->name),
        .detail = v->message,
        .request_id = view_str(call->request_id),
        .retry_after_s = v->retry_after_s,
    };

    call->refusing = v->refusing;
    (void)deny(call, fail(v->fault),
               v->message.data != NULL ? v->message : view_str(v->fault->text), &p);
    /* Unless the audit could not take it. */
    if (v->body.data != NULL && call->outcome_pending)
        answer_itself(call, v);
    return false;
}

static bool get_header(void *arg, struct view name, struct view *value)
{
    const struct call_request *r = arg;
    bool twice;

    return r->headers.get(r->headers.ctx, name, value, &twice);
}

static bool has_parameter(void *arg, struct view name)
{
    const struct call_request *r = arg;

    return r->has_parameter(r->headers.ctx, name);
}

/* As the router reads it, so that an escape makes no other path of one; every route's decodes. */
static struct view decoded_path(struct call *call)
{
    struct view rest = call->request.path, raw, segment;

    if (view_find(rest, '%') == rest.len)
        return rest;
    char *text = arena_alloc(&call->arena, rest.len);
    size_t len = 0;
    while (text != NULL && uri_path_next(&rest, &raw)) {
        if (failed(uri_decode_segment(&call->arena, raw, &segment)))
            break;
        text[len++] = '/';
        memcpy(text + len, segment.data, segment.len);
        len += segment.len;
    }
    return view_of(text, len);
}

static bool ask_plugins(struct call *call)
{
    const struct plugin_chain *chain = call->decision->plugins;
    struct plugin_verdict v;

    if (chain == NULL)
        return true;
    const struct plugin_request request = {
        .peer = call->request.peer,
        .principal = &call->caller->principal,
        .service = call->route->route->service,
        .method = call->request.method,
        .path = decoded_path(call),
        .has_length = call->request.has_length,
        .chunked = call->request.chunked,
        .expects = call->request.expects,
        .content_length = call->request.content_length,
        .now_s = time_wall_us() / 1000000,
        .windows = call->worker->gateway->windows,
        .header = get_header,
        .parameter = has_parameter,
        .arg = &call->request,
    };
    plugins_decide(&call->arena, chain, &request, &v);
    for (size_t i = 0; i < v.header_count; i++)
        answer_add_header(&call->answer, v.headers[i].name, v.headers[i].value);
    call->sizing = v.sizing;
    return v.refusing == NULL || deny_by_plugin(call, &v);
}

uint64_t pipeline_max_body(const struct call *call)
{
    uint64_t max = (uint64_t)call->worker->gateway->node->client_max_body_size;
    uint64_t plugins = call->sizing != NULL
                           ? (uint64_t)call->sizing->config.request_size_limiting.max_bytes
                           : max;

    return plugins < max ? plugins : max;
}

/* Whether it is the plugin's bound that the body went beyond. */
static bool beyond_plugin(const struct call *call, err why)
{
    return is_fault(why, &http_body_too_large) && call->sizing != NULL &&
           pipeline_max_body(call) < (uint64_t)call->worker->gateway->node->client_max_body_size;
}

void pipeline_refuse(struct call *call, err why)
{
    struct plugin_verdict v;

    if (beyond_plugin(call, why)) {
        plugins_refuse_body(call->sizing, call->request.expects, &v);
        (void)deny_by_plugin(call, &v);
    } else if (call->caller != NULL) {
        (void)deny_fault(call, why);
    } else {
        (void)answer_unheard(call, why);
    }
}

/* ---- Authorize and admit ---- */

static bool within_rate(struct call *call, int64_t *retry_after_ms)
{
    const struct route *route = call->route->route;
    const struct principal *p = &call->caller->principal;

    if (route->rate_limit <= 0)
        return true;
    /* Each with its length: no two callers may share a key, whatever stands in their names. */
    const struct view parts[] = {route->service->name, route->name, p->issuer_name, p->client,
                                 p->subject};
    struct buf b;

    buf_init(&b, RATE_KEY_MAX_BYTES);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        buf_add_u64(&b, parts[i].len);
        buf_add_char(&b, ':');
        buf_add_view(&b, parts[i]);
    }
    struct view key = buf_failed(&b) ? VIEW("") : arena_copy(&call->arena, buf_view(&b));
    buf_clear(&b);
    return limit_take(call->worker->gateway->limiter, key, route->rate_limit, route->rate_burst,
                      time_monotonic_ns(), retry_after_ms);
}

static bool limit_rate(struct call *call)
{
    int64_t retry_after_ms = 0;

    if (within_rate(call, &retry_after_ms))
        return true;
    struct problem p = problem_of(&pipeline_rate_limited, view_str(call->request_id));
    p.retry_after_s = (retry_after_ms + 999) / 1000;
    return deny(call, fail(&pipeline_rate_limited), VIEW(""), &p);
}

static bool find_route(struct call *call)
{
    struct view method = call->request.method;

    switch (router_match(call->snapshot->router, method, call->request.path, &call->match)) {
    case ROUTER_FOUND:
        call->route = snapshot_route(call->snapshot, call->match.route);
        if (call->route->route->statement.present)
            return true;
        call->route = NULL;
        break;
    case ROUTER_NO_METHOD: {
        struct view allow = visible_methods(&call->arena, call->snapshot, call->caller,
                                            call->request.path, call->match.allow);
        if (allow.len == 0)
            break;
        answer_add_header(&call->answer, VIEW("Allow"), allow);
        return deny_fault(call, fail(&authorize_no_method));
    }
    case ROUTER_NO_PATH:
        break;
    }
    return deny_fault(call, fail(&authorize_no_route));
}

static bool authorize(struct call *call)
{
    err e = authorize_call(&call->arena, call->snapshot, call->caller, call->route,
                           call->request.method, call->request.named_role, &call->decision);

    if (failed(e))
        return deny_fault(call, e);
    if (call->decision->allowed)
        return true;
    /* Who may not even see the route learns nothing of it. */
    return deny_fault(call, fail(!call->decision->visible ? &authorize_no_route
                                                          : &authorize_denied));
}

/* A well-formed traceparent is given back; its trace id, or Amazon's, stands in the audit. */
static void take_trace(struct call *call)
{
    const struct call_request *r = &call->request;
    struct view w3c = trace_id_of(r->traceparent, (struct view){NULL, 0});
    struct view id = w3c.data != NULL ? w3c : trace_id_of((struct view){NULL, 0}, r->amzn_trace_id);

    answer_add_header(&call->answer, VIEW("X-Request-Id"), view_str(call->request_id));
    if (w3c.data != NULL)
        answer_add_header(&call->answer, VIEW("traceparent"), r->traceparent);
    /* The outcome of a caller who left names it too, when the request's bytes are gone. */
    if (id.data != NULL)
        call->trace_id = arena_copy(&call->arena, id);
}

bool pipeline_admit(struct call *call, const struct call_request *request)
{
    call->request = *request;
    /* Refusals too go without a body: who reads none would take it for the next answer. */
    call->head = view_is(request->method, "HEAD");
    take_trace(call);
    if (!audit_writable(call->worker->audit))
        return answer_unheard(call, fail(&audit_unavailable));
    if (!identify(call))
        return false;
    if (atomic_load_explicit(&call->worker->gateway->draining, memory_order_relaxed))
        return deny_fault(call, fail(&pipeline_draining));
    /* Before the route is looked at: the answer is the same whether there is one or not. */
    if (request->named_role_twice)
        return deny_fault(call, fail(&authorize_role_twice));
    return find_route(call) && authorize(call) && ask_plugins(call) && limit_rate(call);
}

/* ---- Bind and run ---- */

static bool refuse_parameter(struct call *call, err why, const struct parameter_error *error)
{
    struct problem p = problem_of(why.fault, view_str(call->request_id));

    p.parameter = error->name;
    if (error->detail.len > 0)
        p.detail = error->detail;
    return deny(call, why, error->detail, &p);
}

static void add_value(struct buf *b, struct view name, const struct bound_value *v)
{
    if (b->len > 1)
        buf_add_char(b, ',');
    json_add_string(b, name);
    buf_add_char(b, ':');
    if (v->is_null)
        buf_add_str(b, "null");
    else
        json_add_string(b, v->text);
}

/* The bound values as the audit's JSON object, when the route asks. */
static struct view values_for_audit(struct call *call, const struct bound_value *bound)
{
    const struct statement *st = &call->route->route->statement;
    struct buf b;

    if (!st->audit_values)
        return (struct view){NULL, 0};
    buf_init(&b, 1024 * 1024);
    buf_add_char(&b, '{');
    for (size_t i = 0; i < st->parameter_count; i++)
        add_value(&b, st->parameters[i].name, &bound[i]);
    buf_add_char(&b, '}');
    struct view text = buf_failed(&b) ? VIEW("{}") : arena_copy(&call->arena, buf_view(&b));
    buf_clear(&b);
    return text;
}

static bool record_intent(struct call *call, const struct bound_value *bound)
{
    const struct audit_intent event = {
        .call = audit_call_of(call),
        .method = call->request.method,
        .principal = caller_fragment(call->caller),
        .source = call->request.source,
        .decision = call->decision->fragment,
        .target = snapshot_route_role(call->route, call->decision->role_index)->target,
        .values = values_for_audit(call, bound),
    };

    return audit_intent(call->worker->audit, &event);
}

/* The request id first, so that it is whole however long the subject is. */
static struct view application_name(struct call *call)
{
    struct view subject = call->caller->principal.subject;
    char *text = arena_alloc(&call->arena, APPLICATION_NAME_BYTES + 1);
    size_t at = REQUEST_ID_BYTES;

    if (text == NULL)
        return view_str(call->request_id);
    memcpy(text, call->request_id, REQUEST_ID_BYTES);
    text[at++] = ' ';
    for (size_t i = 0; i < subject.len && at < APPLICATION_NAME_BYTES; i++) {
        unsigned char c = (unsigned char)subject.data[i];
        text[at++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    text[at] = '\0';
    return view_of(text, at);
}

/* The session that the decision names; with the token of this request where it is assumed by that.
 * False without memory. */
static bool take_session(struct call *call)
{
    const struct cached_decision *d = call->decision;
    struct db_session_identity *session;

    if (!d->per_caller)
        return true;
    call->db.session = &d->session;
    if (d->session.expires_at_s == 0)
        return true;
    session = ARENA_NEW(&call->arena, struct db_session_identity);
    if (session == NULL)
        return false;
    *session = d->session;
    call->db.session = session;
    return !failed(bearer_token(call->request.authorization, call->request.authorization_twice,
                                &session->web_identity_token));
}

static void start(struct call *call)
{
    const struct compiled_route *r = call->route;
    const struct cached_decision *d = call->decision;
    const struct route_role *as = snapshot_route_role(r, d->role_index);

    call->sink.ops = &result_as_json;
    call->db.statement = snapshot_statement(r, as);
    call->db.identity = (struct db_identity){
        .role = d->role->database_role,
        .claims = d->claims,
        .application_name = call->db.identity.application_name,
        .search_path = r->search_path,
        .statement_timeout = r->timeout_text,
        .prepared_key = as->prepared_key,
    };
    call->db.sink = &call->sink;
    call->db.max_rows = r->max_rows;
    call->db.timeout_ms = r->timeout_ms;
    call->db.finished = on_finished;
    call->running = true;
    db_call_start(&call->db, r->broker, &call->worker->db);
}

bool pipeline_run(struct call *call, struct view body)
{
    const struct compiled_route *r = call->route;
    size_t declared = r->route->statement.parameter_count;
    struct bound_value *bound = ARENA_ARRAY(&call->arena, declared + 1, struct bound_value);
    struct view *values =
        ARENA_ARRAY(&call->arena, r->statement.parameter_count + 1, struct view);
    struct parameter_error why = {{NULL, 0}, {NULL, 0}};
    const struct parameter_input input = {
        .captures = call->match.captures,
        .capture_count = call->match.capture_count,
        .raw_query = call->request.query,
        .content_type = call->request.content_type,
        .body = body,
        .principal = &call->caller->principal,
        .headers = call->request.headers,
    };

    if (bound == NULL || values == NULL)
        return deny_fault(call, fail(&fault_out_of_memory));
    err e = parameters_bind(&call->arena, r->route, r->types, &input, bound, &why);
    if (failed(e))
        return refuse_parameter(call, e, &why);
    for (size_t i = 0; i < r->statement.parameter_count; i++) {
        const struct bound_value *v = &bound[r->order[i]];
        values[i] = v->is_null            ? (struct view){NULL, 0}
                    : v->text.data == NULL ? VIEW("")
                                           : v->text;
    }
    call->db.values = values;
    call->db.identity.application_name = application_name(call);
    if (!take_session(call))
        return deny_fault(call, fail(&fault_out_of_memory));
    if (!record_intent(call, bound))
        return answer_unheard(call, fail(&audit_unavailable));
    count_decision(call, true, VIEW(""));
    start(call);
    return true;
}

/* ---- The end of a call ---- */

static void record_outcome(struct call *call, const struct db_outcome *outcome)
{
    bool gone = call->door == NULL;
    /* 57014: the cancel that followed the caller. */
    bool cancelled =
        gone && outcome->reason != NULL && strcmp(outcome->reason->sqlstate, "57014") == 0;
    struct view reason = failed(outcome->error) && !cancelled
                             ? view_str(outcome->error.fault->name)
                         : gone ? (call->worker->abandoning ? view_str(db_shutdown.name)
                                                            : VIEW("client_gone"))
                                : (struct view){NULL, 0};
    const struct audit_outcome event = {
        .call = audit_call_of(call),
        .http_status = gone ? 499 : call->answer.status,
        .rows = outcome->completion.rows,
        .sqlstate = outcome->reason != NULL ? view_str(outcome->reason->sqlstate)
                                            : (struct view){NULL, 0},
        .reason = reason,
        .backend_pid = outcome->backend_pid,
        .access_key_id = outcome->access_key_id,
        .response_bytes = gone ? 0 : call->answer.body.len,
        .queue_us = outcome->queue_ns / 1000,
        .database_us = outcome->database_ns / 1000,
        .total_us = (time_monotonic_ns() - call->started_ns) / 1000,
    };

    /* Refused when the log has been broken for so long that its buffer is full: an answer that no
     * record would ever speak of is not sent at all. */
    call->unrecorded = !audit_outcome(call->worker->audit, &event);
    call->outcome_pending = true;
}

/* A read of which nothing was delivered is tried once more. */
static bool try_again(struct call *call, const struct db_outcome *outcome)
{
    if (!is_fault(outcome->error, &db_lost) || call->retried || call->door == NULL ||
        call->worker->audit_failing)
        return false;
    call->retried = true;
    buf_reset(&call->answer.body);
    start(call);
    return true;
}

static void on_finished(struct db_call *db, const struct db_outcome *outcome)
{
    struct call *call = CONTAINER_OF(db, struct call, db);

    if (try_again(call, outcome))
        return;
    call->running = false;
    if (is_fault(outcome->error, &db_unsent))
        answer_fault(call, fail(&audit_unavailable));
    else if (outcome->reason != NULL)
        result_answer_error(call, outcome);
    else if (failed(outcome->error))
        answer_fault(call, outcome->error);
    else
        result_answer(call, outcome);
    metric_observe(call->worker->metrics, call->route->database_seconds, outcome->database_ns);
    count_request(call);
    record_outcome(call, outcome);
    /* That it never ran may be said at once; its events are written when the log can be. */
    if (is_fault(outcome->error, &db_unsent))
        call->outcome_pending = false;
    if (call->door == NULL)
        call_free(call);
    else
        call->answered(call);
}
