/* The step of credential_process. */
#include "aws/process.h"
#include "aws/retrieval_internal.h"

const struct fault retrieval_no_runner = {
    "aws_process_not_run", "credential_process cannot be run here", NULL, 503};
const struct fault retrieval_process_failed = {
    "aws_process_failed", "credential_process ended with an error", NULL, 503};

enum { SHOWN_MAX = 200 };

/* Its message on one line: blanks for control characters and for what is no ASCII. */
static void trim_message(struct view message, char out[SHOWN_MAX])
{
    while (message.len > 0 && (unsigned char)message.data[0] <= ' ')
        message = view_from(message, 1);
    message = view_upto(message, SHOWN_MAX - 1);
    while (message.len > 0 && (unsigned char)message.data[message.len - 1] <= ' ')
        message.len--;
    for (size_t i = 0; i < message.len; i++) {
        char c = message.data[i];
        out[i] = c >= ' ' && c <= '~' ? c : ' ';
    }
    out[message.len] = '\0';
}

/* Standard error alone is shown: secrets may stand in the output. */
static err take(struct retrieval *r, const struct run_result *result)
{
    struct aws_credentials fresh;
    char message[SHOWN_MAX];

    trim_message(result->message, message);
    if (result->signal != 0) {
        retrieval_say(r, "it was ended by signal %d%s%s", result->signal,
                      message[0] != '\0' ? ": " : "", message);
        return fail(&retrieval_process_failed);
    }
    if (result->exit_status != 0) {
        retrieval_say(r, "exit status %d%s%s", result->exit_status, message[0] != '\0' ? ": " : "",
                      message);
        return fail(&retrieval_process_failed);
    }
    TRY(process_read_credentials(result->output, retrieval_now_us(r), r->label, &fresh));
    retrieval_hold(r, &fresh);
    return OK;
}

static void on_end(void *arg, err e, const char *detail, const struct run_result *result)
{
    struct retrieval *r = arg;

    r->in_flight = false;
    if (r->o.done == NULL) {
        retrieval_free(r);
        return;
    }
    if (failed(e))
        retrieval_say(r, "credential_process: %s", detail[0] != '\0' ? detail : e.fault->text);
    else
        e = take(r, result);
    retrieval_next(r, e);
}

err retrieval_begin_process(struct retrieval *r)
{
    struct view words[PROCESS_WORDS_MAX];
    struct arena arena;
    size_t count;

    if (r->o.runner == NULL)
        return fail(&retrieval_no_runner);
    arena_init(&arena, 4096, 1024 * 1024);
    err e = process_split(&arena, retrieval_step(r)->command, words, &count);
    if (!failed(e)) {
        const struct run_request request = {
            .words = words,
            .count = count,
            .timeout_ms = PROCESS_TIMEOUT_MS,
            .max_bytes = PROCESS_ANSWER_MAX_BYTES,
        };
        r->in_flight = true;
        r->o.runner->start(r->o.runner, &request, on_end, r);
    }
    arena_clear_secure(&arena);
    return e;
}
