#include "gateway/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"

enum {
    ARENA_BLOCK_BYTES = 8 * 1024,
    ARENA_MAX_BYTES = 64 * 1024 * 1024, /* the door's body limit bounds what is put here */
    IDLE_CALLS_MAX = 256,
    KEPT_BODY_BYTES = 64 * 1024,
    RETRY_AFTER_S = 1,
};

struct call *call_new(struct worker *w, void (*answered)(struct call *call), void *door)
{
    struct list *node = list_pop_front(&w->idle_calls);
    struct call *call;

    if (node != NULL) {
        call = LIST_ENTRY(node, struct call, link);
        w->idle_call_count--;
    } else {
        call = calloc(1, sizeof *call);
        if (call == NULL)
            return NULL;
        list_init(&call->link);
        arena_init(&call->arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
        buf_init(&call->answer.body, SIZE_MAX / 2);
    }
    call->worker = w;
    call->answered = answered;
    call->door = door;
    call->started_ns = time_monotonic_ns();
    call->snapshot = snapshot_acquire(w->snapshot);
    snprintf(call->request_id, sizeof call->request_id, "%02x%02x%02x%02x%02x%02x%012llx",
             w->gateway->boot[0], w->gateway->boot[1], w->gateway->boot[2], w->gateway->boot[3],
             w->gateway->boot[4], w->index & 0xff,
             (unsigned long long)(++w->requests & 0xffffffffffff));
    w->calls++;
    return call;
}

void call_free(struct call *call)
{
    struct worker *w = call->worker;
    struct buf body = call->answer.body;

    ENSURE(!call->running);
    w->calls--;
    known_caller_release(call->caller);
    snapshot_release(call->snapshot);
    arena_reset(&call->arena);
    if (body.cap > KEPT_BODY_BYTES)
        buf_clear(&body);
    buf_reset(&body);
    struct arena arena = call->arena;
    *call = (struct call){.arena = arena};
    call->answer.body = body;
    list_init(&call->link);
    if (w->idle_call_count < IDLE_CALLS_MAX) {
        list_push_front(&w->idle_calls, &call->link);
        w->idle_call_count++;
        return;
    }
    arena_clear(&call->arena);
    buf_clear(&call->answer.body);
    free(call);
}

void call_abandon(struct call *call)
{
    call->door = NULL;
    if (call->running)
        db_call_abandon(&call->db);
    else
        call_free(call);
}

/* ---- Answers ---- */

void answer_add_header(struct answer *a, struct view name, struct view value)
{
    ENSURE(a->header_count < ANSWER_HEADERS_MAX);
    a->headers[a->header_count++] = (struct http_header){name, value};
}

void answer_problem(struct call *call, const struct problem *problem)
{
    struct answer *a = &call->answer;

    a->status = problem->status;
    a->content_type = VIEW(PROBLEM_CONTENT_TYPE);
    buf_reset(&a->body);
    problem_write(&a->body, problem);
    if (problem->retry_after_s > 0)
        answer_add_header(a, VIEW("Retry-After"),
                   arena_printf(&call->arena, "%lld", (long long)problem->retry_after_s));
}

void answer_fault(struct call *call, err why)
{
    struct problem p = problem_of(why.fault, view_str(call->request_id));

    if (p.status == 503)
        p.retry_after_s = RETRY_AFTER_S;
    answer_problem(call, &p);
}
