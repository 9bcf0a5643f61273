#include "net/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"

enum { CHUNK_BYTES = 4096, DETAIL_MAX = 200 };

const struct fault run_refused = {
    "run_refused", "the command has no words, too many, or a NUL in one", NULL, 0};
const struct fault run_failed = {"run_failed", "the program cannot be started", NULL, 0};
const struct fault run_timed_out = {
    "run_timed_out", "the program did not end within the time allowed", NULL, 0};
const struct fault run_too_large = {
    "run_too_large", "the program wrote more than is allowed", NULL, 0};
const struct fault run_cancelled = {"run_cancelled", "the program is stopping", NULL, 0};

struct net_runner {
    struct runner base;
    uv_loop_t *loop;
    struct list jobs; /* until their handles are closed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    uv_timer_t last; /* tells `closed` from the loop */
};

/* done is called as soon as the outcome is known; the job stays until its process has ended, which
 * libuv must see lest a zombie stays. */
struct job {
    struct list link;
    struct net_runner *runner;
    uv_process_t process;
    uv_pipe_t pipes[2]; /* standard output, standard error */
    uv_timer_t timer;
    unsigned handles;    /* not yet closed */
    unsigned open_pipes;
    bool has_process; /* its handle was made, and is to be closed */
    bool spawned;
    bool running;
    struct buf output;
    char message[RUN_MESSAGE_MAX_BYTES];
    size_t message_len;
    char chunk[CHUNK_BYTES];
    struct run_result result;
    run_done *done; /* NULL once it was called */
    void *arg;
    err early;
    char detail[DETAIL_MAX];
};

static void free_runner_when_idle(struct net_runner *r);

/* ---- The end of a job ---- */

static void job_free(struct job *j)
{
    struct net_runner *r = j->runner;

    list_unlink(&j->link);
    buf_clear_secure(&j->output);
    secret_wipe(j, sizeof *j);
    free(j);
    free_runner_when_idle(r);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct job *j = handle->data;

    if (--j->handles == 0)
        job_free(j);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

static void close_all(struct job *j)
{
    if (j->has_process)
        close_handle(&j->process);
    close_handle(&j->pipes[0]);
    close_handle(&j->pipes[1]);
    close_handle(&j->timer);
}

static void tell(struct job *j, err e)
{
    run_done *done = j->done;

    if (done == NULL)
        return;
    j->done = NULL;
    j->result.output = buf_view(&j->output);
    j->result.message = view_of(j->message, j->message_len);
    done(j->arg, e, j->detail, failed(e) ? NULL : &j->result);
}

/* When the leader has ended and its number is taken again, the group was empty and is no more ours
 * (a number stays with its group as long as that has members). */
static void kill_group(const struct job *j)
{
    if (j->spawned && (j->running || (kill(j->process.pid, 0) != 0 && errno == ESRCH)))
        kill(-j->process.pid, SIGKILL);
}

/* Ends the run early.  The handles but the process's go at once: somebody who left the group may
 * hold the pipes open for ever. */
static void give_up(struct job *j, const struct fault *fault)
{
    const bool over = j->done == NULL && !j->running; /* what it left behind is not ours to end */

    tell(j, fail(fault));
    if (!over)
        kill_group(j);
    if (!j->running) {
        close_all(j);
        return;
    }
    close_handle(&j->pipes[0]);
    close_handle(&j->pipes[1]);
    close_handle(&j->timer);
}

static void settle(struct job *j)
{
    if (j->running || j->open_pipes > 0)
        return;
    tell(j, OK);
    close_all(j);
}

/* ---- What the loop says ---- */

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct job *j = process->data;

    j->running = false;
    j->result.exit_status = (int)status;
    j->result.signal = signal;
    if (j->done == NULL)
        close_all(j);
    else
        settle(j);
}

static void on_timer(uv_timer_t *timer)
{
    struct job *j = timer->data;

    if (failed(j->early)) {
        tell(j, j->early);
        close_all(j);
        return;
    }
    give_up(j, &run_timed_out);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room)
{
    struct job *j = handle->data;

    (void)wanted;
    *room = uv_buf_init(j->chunk, sizeof j->chunk);
}

/* The first bytes only. */
static void take_message(struct job *j, size_t n)
{
    size_t room = sizeof j->message - j->message_len;

    n = n < room ? n : room;
    memcpy(j->message + j->message_len, j->chunk, n);
    j->message_len += n;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    struct job *j = stream->data;
    const bool output = (uv_pipe_t *)stream == &j->pipes[0];

    (void)room;
    if (n > 0) {
        if (output)
            buf_add(&j->output, j->chunk, (size_t)n);
        else
            take_message(j, (size_t)n);
        secret_wipe(j->chunk, (size_t)n);
        if (buf_failed(&j->output))
            give_up(j, &run_too_large);
    } else if (n < 0) {
        uv_read_stop(stream);
        j->open_pipes--;
        settle(j);
    }
}

/* ---- The start of a job ---- */

/* libuv makes its own descriptors so that a child does not get them; a library's may slip through,
 * and a child that holds one keeps a connection open that we closed. */
static void close_on_exec(void)
{
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    DIR *folder = opendir("/proc/self/fd"); /* a kernel before 5.11 */
    for (struct dirent *d; folder != NULL && (d = readdir(folder)) != NULL;) {
        uint64_t fd;
        if (view_to_u64(view_str(d->d_name), INT32_MAX, &fd) && fd >= 3)
            (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    }
    if (folder != NULL)
        closedir(folder);
}

/* NUL-terminated copies of the words in one block behind their pointers; NULL when there is no
 * memory. */
static char **copy_words(const struct run_request *request, size_t *bytes)
{
    *bytes = (request->count + 1) * sizeof(char *);
    for (size_t i = 0; i < request->count; i++)
        *bytes += request->words[i].len + 1;
    char **words = calloc(1, *bytes);
    if (words == NULL)
        return NULL;
    char *at = (char *)(words + request->count + 1);
    for (size_t i = 0; i < request->count; i++) {
        words[i] = at;
        if (request->words[i].len > 0)
            memcpy(at, request->words[i].data, request->words[i].len);
        at += request->words[i].len + 1;
    }
    return words;
}

static bool is_good(const struct run_request *request)
{
    if (request->count == 0 || request->count > RUN_WORDS_MAX || request->words[0].len == 0)
        return false;
    for (size_t i = 0; i < request->count; i++) {
        if (view_find(request->words[i], '\0') != request->words[i].len)
            return false;
    }
    return true;
}

static err spawn(struct job *j, const struct run_request *request)
{
    if (!is_good(request))
        return fail(&run_refused);
    size_t bytes;
    char **words = copy_words(request, &bytes);
    if (words == NULL)
        return fail(&fault_out_of_memory);
    const uv_stdio_flags flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = flags, .data.stream = (uv_stream_t *)&j->pipes[0]},
        {.flags = flags, .data.stream = (uv_stream_t *)&j->pipes[1]},
    };
    const uv_process_options_t options = {
        .exit_cb = on_exit_of,
        .file = words[0],
        .args = words,
        .flags = UV_PROCESS_DETACHED, /* a session, and so a group, of its own */
        .stdio_count = COUNT_OF(stdio),
        .stdio = stdio,
    };
    close_on_exec();
    j->has_process = true;
    j->handles++;
    int wrong = uv_spawn(j->runner->loop, &j->process, &options);
    if (wrong != 0)
        snprintf(j->detail, sizeof j->detail, "%.100s: %s", words[0], uv_strerror(wrong));
    secret_wipe(words, bytes); /* an argument may be one */
    free(words);
    return wrong == 0 ? OK : fail(&run_failed);
}

static void start(struct runner *base, const struct run_request *request, run_done *done, void *arg)
{
    struct net_runner *r = CONTAINER_OF(base, struct net_runner, base);
    struct job *j = calloc(1, sizeof *j);

    ENSURE(!r->closing && request->timeout_ms > 0 && j != NULL);
    j->runner = r;
    j->done = done;
    j->arg = arg;
    buf_init(&j->output, request->max_bytes);
    list_push_back(&r->jobs, &j->link);
    uv_timer_init(r->loop, &j->timer);
    uv_pipe_init(r->loop, &j->pipes[0], 0);
    uv_pipe_init(r->loop, &j->pipes[1], 0);
    j->process.data = j->pipes[0].data = j->pipes[1].data = j->timer.data = j;
    j->handles = 3;
    j->early = spawn(j, request);
    j->running = j->spawned = !failed(j->early);
    if (!j->running) {
        uv_timer_start(&j->timer, on_timer, 0, 0);
        return;
    }
    j->open_pipes = 2;
    uv_timer_start(&j->timer, on_timer, (uint64_t)request->timeout_ms, 0);
    uv_read_start((uv_stream_t *)&j->pipes[0], on_room, on_read);
    uv_read_start((uv_stream_t *)&j->pipes[1], on_room, on_read);
}

/* ---- The runner ---- */

struct net_runner *net_runner_new(uv_loop_t *loop)
{
    struct net_runner *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->base.start = start;
    r->loop = loop;
    list_init(&r->jobs);
    uv_timer_init(loop, &r->last);
    r->last.data = r;
    return r;
}

struct runner *net_runner_base(struct net_runner *r)
{
    return &r->base;
}

static void on_last_closed(uv_handle_t *handle)
{
    struct net_runner *r = handle->data;
    void (*closed)(void *arg) = r->closed;
    void *arg = r->closed_arg;

    free(r);
    if (closed != NULL)
        closed(arg);
}

static void free_runner_when_idle(struct net_runner *r)
{
    if (r->closing && list_is_empty(&r->jobs))
        uv_close((uv_handle_t *)&r->last, on_last_closed);
}

void net_runner_close(struct net_runner *r, void (*closed)(void *arg), void *arg)
{
    ENSURE(!r->closing);
    r->closing = true;
    r->closed = closed;
    r->closed_arg = arg;
    LIST_EACH(at, &r->jobs)
        give_up(LIST_ENTRY(at, struct job, link), &run_cancelled);
    free_runner_when_idle(r);
}
