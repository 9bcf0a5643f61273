#include "broker_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "net/net.h"

#include <cmocka.h> /* last: its fail() would hide ours */

const struct fault bed_denied = {"bed_denied", "denied", "denied", 403};

/* ---- The server ---- */

struct server {
    struct bed *bed;
    int fd;
    unsigned session;
    uint32_t pid;
};

static void look_for_marks(struct server *s, const char *data, size_t len)
{
    static const char mark[] = "caller-";

    for (size_t i = 0; i + 9 <= len; i++) {
        if (memcmp(data + i, mark, 7) != 0)
            continue;
        unsigned number = (unsigned)(data[i + 7] - '0') * 10 + (unsigned)(data[i + 8] - '0');
        if (number != s->session)
            atomic_fetch_add(&s->bed->foreign, 1);
    }
}

static bool say(struct server *s, char type, const void *body, size_t len)
{
    char out[64];
    uint32_t size = (uint32_t)len + 4;

    out[0] = type;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (char)(size >> (24 - 8 * i));
    if (len > 0)
        memcpy(out + 5, body, len);
    return write(s->fd, out, len + 5) == (ssize_t)(len + 5);
}

/* False: the connection is to be lost. */
static bool may_go_on(struct server *s)
{
    struct bed *bed = s->bed;

    pthread_mutex_lock(&bed->lock);
    atomic_fetch_add(&bed->statements, 1);
    if (bed->hold[s->session]) {
        bed->held++;
        pthread_cond_broadcast(&bed->changed);
        while (bed->permits == 0)
            pthread_cond_wait(&bed->changed, &bed->lock);
        bed->permits--;
        bed->held--;
    }
    bool lost = bed->kill[s->session];
    bed->kill[s->session] = false;
    pthread_mutex_unlock(&bed->lock);
    return !lost;
}

static bool answer(struct server *s, char type, const char *body, unsigned *executed)
{
    switch (type) {
    case 'P':
        return say(s, '1', "", 0);
    case 'B':
        return say(s, '2', "", 0);
    case 'C':
        return say(s, '3', "", 0);
    case 'D':
        return say(s, 'n', "", 0);
    case 'E':
        ++*executed;
        return say(s, 'C', "SELECT 0", 9);
    case 'S':
        *executed = 0;
        return may_go_on(s) && say(s, 'Z', "I", 1);
    case 'Q':
        return say(s, 'C', "RESET", 6) && say(s, 'Z', "I", 1);
    default:
        (void)body;
        return false;
    }
}

static size_t take_message(struct server *s, const char *data, size_t len, bool *alive,
                           unsigned *executed)
{
    const unsigned char *u = (const unsigned char *)data;

    if (len < 5)
        return 0;
    size_t size =
        1 + ((size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | (size_t)u[4]);
    if (len < size)
        return 0;
    look_for_marks(s, data, size);
    *alive = answer(s, data[0], data + 5, executed);
    return size;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    struct bed *bed = s->bed;
    static _Thread_local char data[65536];
    size_t len = 0;
    bool alive = true;
    unsigned executed = 0;

    while (alive) {
        ssize_t n = read(s->fd, data + len, sizeof data - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        size_t at = 0;
        for (size_t size; alive && (size = take_message(s, data + at, len - at, &alive,
                                                        &executed)) > 0;)
            at += size;
        memmove(data, data + at, len - at);
        len -= at;
    }
    close(s->fd);
    pthread_mutex_lock(&bed->lock);
    bed->open--;
    bed->threads--;
    pthread_cond_broadcast(&bed->changed);
    pthread_mutex_unlock(&bed->lock);
    free(s);
    return NULL;
}

/* ---- Logins ---- */

static unsigned number_of(const struct db_session *s)
{
    return s->common ? BED_COMMON : s->key[0];
}

/* A connection that was closed counts until its server has seen that: so much time it has. */
static void count_connection(struct bed *bed)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    pthread_mutex_lock(&bed->lock);
    while (bed->open >= bed->service.pool.max_connections &&
           pthread_cond_timedwait(&bed->changed, &bed->lock, &until) == 0)
        ;
    bed->threads++;
    if (++bed->open > bed->most_open)
        bed->most_open = bed->open;
    pthread_mutex_unlock(&bed->lock);
}

static struct backend *log_in(struct bed *bed, struct db_session *session)
{
    int pair[2];
    pthread_t thread;
    struct backend *backend = backend_new(65536, 4);
    struct server *s = calloc(1, sizeof *s);
    unsigned number = number_of(session);

    ENSURE(backend != NULL && s != NULL);
    ENSURE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    *s = (struct server){bed, pair[1], number, ++bed->logins_in_all};
    count_connection(bed);
    ENSURE(pthread_create(&thread, NULL, serve, s) == 0);
    pthread_detach(thread);
    ENSURE(!failed(stream_accept(&backend->stream, &bed->loop, &bed->flush_list, pair[0])));
    stream_detach(&backend->stream);
    backend->pid = bed->logins_in_all;
    bed->logins[number]++;
    bed->latest = broker_session_identity(bed->broker, session);
    return backend;
}

static int64_t pump_session(struct bed *bed, struct db_session *s)
{
    int64_t at = INT64_MAX;

    if (bed->credentials[number_of(s)] == BED_WAIT) {
        broker_session_stalled(bed->broker, s);
        return INT64_MAX;
    }
    if (bed->credentials[number_of(s)] == BED_DENIED) {
        bed->denials++;
        broker_session_failed(bed->broker, s, (err){&bed_denied});
        return INT64_MAX;
    }
    for (unsigned left = s->to_start; left > 0; left--) {
        switch (broker_begin_login(bed->broker, s, time_monotonic_ns(), &at)) {
        case BROKER_NO_NEED:
            break;
        case BROKER_NO_ROOM:
            return INT64_MAX;
        case BROKER_NOT_YET:
            return at;
        case BROKER_ROOM:
            if (bed->fail_every > 0 && (bed->logins_in_all + 1) % bed->fail_every == 0) {
                bed->logins_in_all++;
                broker_login_done(bed->broker, s, NULL);
            } else {
                broker_login_done(bed->broker, s, log_in(bed, s));
            }
            break;
        }
    }
    return INT64_MAX;
}

static void on_again(uv_timer_t *timer)
{
    bed_pump(timer->data);
}

void bed_pump(struct bed *bed)
{
    bool later = false;

    LIST_EACH(node, &bed->wishes)
        later |= pump_session(bed, LIST_ENTRY(node, struct db_session, control_link)) < INT64_MAX;
    if (later)
        uv_timer_start(&bed->again, on_again, 5, 0);
}

static void open_wanted(struct letter *letter)
{
    struct bed *bed = CONTAINER_OF(letter, struct broker, login_letter)->arg;

    broker_take_wishes(bed->broker, &bed->wishes);
    bed_pump(bed);
}

static void want_logins(struct broker *b, void *arg)
{
    struct bed *bed = arg;

    mailbox_post(&bed->mailbox, &b->login_letter, open_wanted);
}

static void want_cancel(struct cancel_job *job, void *arg)
{
    (void)arg;
    cancel_job_ended(job, true);
}

/* ---- Workers ---- */

static void on_turn(uv_prepare_t *turn)
{
    struct bed_worker *w = turn->data;

    stream_flush_all(&w->flush_list);
}

static void on_tick(uv_timer_t *timer)
{
    struct bed_worker *w = timer->data;

    broker_tick(w->bed->broker, &w->db, time_monotonic_ns());
}

static void start_worker(struct bed *bed, size_t i, bool threads)
{
    struct bed_worker *w = &bed->workers[i];

    w->bed = bed;
    w->loop = &bed->loop;
    if (threads) {
        ENSURE(uv_loop_init(&w->own) == 0);
        w->loop = &w->own;
    }
    list_init(&w->flush_list);
    mailbox_init(&w->mailbox, w->loop);
    ENSURE(uv_prepare_init(w->loop, &w->turn) == 0 && uv_timer_init(w->loop, &w->tick) == 0);
    w->turn.data = w->tick.data = w;
    uv_prepare_start(&w->turn, on_turn);
    uv_timer_start(&w->tick, on_tick, 10, 10);
    w->db = (struct db_worker){w->loop, &w->mailbox, &w->flush_list, (unsigned)i};
    bed->worker_list[i] = &w->db;
}

void bed_start(struct bed *bed, size_t workers, bool threads, int64_t max_connections)
{
    static const struct strings no_roles;
    static struct endpoint endpoint;

    *bed = (struct bed){.worker_count = workers};
    pthread_mutex_init(&bed->lock, NULL);
    pthread_cond_init(&bed->changed, NULL);
    list_init(&bed->wishes);
    list_init(&bed->flush_list);
    ENSURE(uv_loop_init(&bed->loop) == 0);
    mailbox_init(&bed->mailbox, &bed->loop);
    uv_timer_init(&bed->loop, &bed->again);
    bed->again.data = bed;
    bed->service = (struct service){.name = VIEW("bed")};
    bed->service.pool.max_connections = max_connections;
    bed->service.pool.max_waiting = 1000;
    bed->service.pool.wait_timeout_ms = 20000;
    bed->service.pool.shared_depth = 4;
    for (size_t i = 0; i < workers; i++)
        start_worker(bed, i, threads);
    const struct broker_options options = {.name = VIEW("bed"),
                                           .access = VIEW("primary"),
                                           .service = &bed->service,
                                           .endpoint = &endpoint,
                                           .workers = bed->worker_list,
                                           .worker_count = workers,
                                           .want_logins = want_logins,
                                           .want_cancel = want_cancel,
                                           .arg = bed};
    bed->broker = broker_new(&options, &no_roles);
    ENSURE(bed->broker != NULL);
}

void bed_turn(struct bed *bed)
{
    uv_run(&bed->loop, UV_RUN_ONCE);
}

void bed_permit(struct bed *bed, unsigned count)
{
    pthread_mutex_lock(&bed->lock);
    bed->permits += count;
    pthread_cond_broadcast(&bed->changed);
    pthread_mutex_unlock(&bed->lock);
}

static void stop_worker(struct bed *bed, size_t i, bool own)
{
    struct bed_worker *w = &bed->workers[i];

    broker_stop(bed->broker, &w->db);
    mailbox_run(&w->mailbox);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    mailbox_close(&w->mailbox);
    if (!own)
        return;
    uv_run(&w->own, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&w->own) == 0);
}

void bed_end(struct bed *bed)
{
    bool own = bed->workers[0].loop != &bed->loop;

    broker_close(bed->broker);
    bed_permit(bed, 1000000);
    broker_take_wishes(bed->broker, &bed->wishes);
    LIST_EACH(node, &bed->wishes)
        broker_session_failed(bed->broker, LIST_ENTRY(node, struct db_session, control_link),
                              (err){&db_shutdown});
    for (size_t i = 0; i < bed->worker_count; i++)
        mailbox_run(&bed->workers[i].mailbox);
    for (size_t i = 0; i < bed->worker_count; i++)
        stop_worker(bed, i, own);
    mailbox_run(&bed->mailbox);
    uv_close((uv_handle_t *)&bed->again, NULL);
    mailbox_close(&bed->mailbox);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&bed->loop) == 0);
    assert_int_equal(bed->broker->total, 0);
    assert_int_equal(bed->broker->waiting, 0);
    assert_int_equal(bed->broker->wished, 0);
    assert_int_equal(bed->broker->leaving, 0);
    assert_int_equal(bed->broker->asked, 0);
    assert_int_equal(bed->broker->hungry_count, 0);
    broker_release_reference(bed->broker);
    pthread_mutex_lock(&bed->lock);
    while (bed->threads > 0)
        pthread_cond_wait(&bed->changed, &bed->lock);
    pthread_mutex_unlock(&bed->lock);
    assert_int_equal(atomic_load(&bed->foreign), 0);
    assert_true(bed->most_open <= bed->service.pool.max_connections);
}

/* ---- Calls ---- */

static atomic_uint ended;

static void on_finished(struct db_call *db, const struct db_outcome *outcome)
{
    struct bed_call *call = CONTAINER_OF(db, struct bed_call, db);

    call->finished = true;
    call->error = outcome->error;
    call->backend_pid = outcome->backend_pid;
    call->order = atomic_fetch_add(&ended, 1);
    if (call->then != NULL)
        call->then(call);
}

static bool no_columns(struct result_sink *sink, const struct column *columns, size_t count)
{
    (void)sink, (void)columns, (void)count;
    return true;
}

static bool no_row(struct result_sink *sink, const struct cell *cells, size_t count)
{
    (void)sink, (void)cells, (void)count;
    return true;
}

void bed_call_init(struct bed_call *call, unsigned session, bool shareable)
{
    static const struct result_sink_ops ops = {no_columns, no_row};
    static const struct db_statement read = {
        .sql = VIEW("select"), .read_only = true, .shareable = true};
    static const struct db_statement write = {.sql = VIEW("update")};
    static const uint8_t keys[2][DB_KEY_BYTES] = {{1}, {2}};

    *call = (struct bed_call){.number = session, .sink = {&ops}};
    call->session.key[0] = (uint8_t)session;
    snprintf(call->mark, sizeof call->mark, "caller-%02u", session % 100);
    call->session.name = view_str(call->mark);
    call->db.statement = shareable ? &read : &write;
    call->db.identity.prepared_key = keys[shareable];
    call->db.identity.application_name = view_str(call->mark);
    call->db.identity.role = call->db.identity.claims = VIEW("x");
    call->db.identity.search_path = call->db.identity.statement_timeout = VIEW("x");
    call->db.sink = &call->sink;
    call->db.session = session == BED_COMMON ? NULL : &call->session;
    call->db.finished = on_finished;
}

void bed_call_start(struct bed *bed, struct bed_call *call, size_t worker)
{
    call->finished = false;
    db_call_start(&call->db, bed->broker, &bed->workers[worker].db);
}
