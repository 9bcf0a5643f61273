#include "aws/caller.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

const struct fault caller_refused = {
    "aws_caller_refused", "STS answered with an error", NULL, 503};

struct caller_question {
    struct caller_question **slot;
    caller_done *done; /* NULL: abandoned */
    void *arg;
    char access_key_id[AWS_ACCESS_KEY_ID_MAX + 1];
};

enum { ACCOUNT_MAX = 63 };

static err read_caller(struct view body, char account[ACCOUNT_MAX + 1], char arn[AWS_ARN_MAX + 1])
{
    struct sts_caller caller;
    struct arena arena;

    arena_init(&arena, 4096, STS_ANSWER_MAX_BYTES * 4);
    err e = sts_read_caller(body, &arena, &caller);
    if (!failed(e) && (caller.arn.len > AWS_ARN_MAX || caller.account.len > ACCOUNT_MAX))
        e = fail(&fault_too_large);
    if (!failed(e)) {
        snprintf(account, ACCOUNT_MAX + 1, "%.*s", VIEW_ARG(caller.account));
        snprintf(arn, AWS_ARN_MAX + 1, "%.*s", VIEW_ARG(caller.arn));
    }
    arena_clear(&arena);
    return e;
}

static void on_answer(void *arg, err e, const char *detail, const struct fetch_response *response)
{
    struct caller_question *q = arg;
    char account[ACCOUNT_MAX + 1] = "", arn[AWS_ARN_MAX + 1] = "";
    char said[CALLER_DETAIL_MAX - 32], text[CALLER_DETAIL_MAX], code[STS_ERROR_CODE_MAX + 1];
    struct caller_answer answer = {q->access_key_id, account, arn, text, false};

    snprintf(text, sizeof text, "%s", detail != NULL ? detail : "");
    if (!failed(e) && response->status != 200) {
        sts_describe_error(response->body, said, sizeof said);
        sts_error_code(response->body, code);
        answer.refused =
            code[0] != '\0' && sts_failure_of(response->status, code) == STS_FAILED;
        snprintf(text, sizeof text, "status %d %s", response->status, said);
        e = fail(&caller_refused);
    }
    if (!failed(e))
        e = read_caller(response->body, account, arn);
    if (q->done != NULL) {
        *q->slot = NULL;
        q->done(q->arg, e, &answer);
    }
    free(q);
}

err caller_ask(struct fetcher *fetcher, const struct sts_endpoint *endpoint,
               const struct aws_credentials *credentials, int64_t now_us, struct view ca_file,
               caller_done *done, void *arg, struct caller_question **slot)
{
    const struct sts_call call = {.action = STS_GET_CALLER_IDENTITY};
    struct caller_question *q = calloc(1, sizeof *q);

    *slot = NULL;
    if (q == NULL)
        return fail(&fault_out_of_memory);
    *q = (struct caller_question){.slot = slot, .done = done, .arg = arg};
    snprintf(q->access_key_id, sizeof q->access_key_id, "%s", credentials->access_key_id);
    err e = sts_send(fetcher, endpoint, &call, credentials, now_us, ca_file, on_answer, q);
    if (failed(e)) {
        free(q);
        return e;
    }
    *slot = q;
    return OK;
}

void caller_abandon(struct caller_question *q)
{
    if (q != NULL)
        q->done = NULL;
}
