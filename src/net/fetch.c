#include "net/fetch.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/fetch_rules.h"

enum {
    URL_MAX = 8192,          /* a presigned STS URL is about 2 KiB */
    HEADER_LINE_MAX = 16384, /* a session token is up to about 4 KiB */
    ANSWER_HEAD_MAX = 65536, /* bytes of header lines: against a peer that never ends them */
    CONNECTIONS_MAX = 64,    /* more exchanges wait their turn */
    IDLE_CONNECTIONS_MAX = 16,
};

const struct fault fetch_refused_header = {
    "fetch_refused_header", "a header of the request holds a line end or another control character",
    NULL, 0};
const struct fault fetch_unresolved = {"fetch_unresolved", "the host's name has no address", NULL,
                                       0};
const struct fault fetch_unreachable = {
    "fetch_unreachable", "no connection could be made, or it broke before the answer was whole",
    NULL, 0};
const struct fault fetch_tls_failed = {
    "fetch_tls_failed", "the TLS handshake or the check of the server's certificate failed", NULL,
    0};
const struct fault fetch_timed_out = {"fetch_timed_out", "no answer within the time allowed", NULL,
                                      0};
const struct fault fetch_too_large = {"fetch_too_large", "the answer is larger than allowed", NULL,
                                      0};
const struct fault fetch_redirected = {"fetch_redirected", "the answer is a redirect", NULL, 0};
const struct fault fetch_cancelled = {"fetch_cancelled", "the program is stopping", NULL, 0};

struct net_fetcher {
    struct fetcher base;
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t curl_timer;
    uv_timer_t early_timer; /* fires once when an exchange ended within start */
    struct list exchanges;  /* under way */
    struct list early;      /* ended within start: told from the loop */
    struct list sockets;
    size_t open_handles; /* libuv's, that still need their close callback */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* A socket of curl's that the loop watches. */
struct watched {
    uv_poll_t poll;
    struct list link;
    struct net_fetcher *fetcher;
    curl_socket_t fd;
};

struct exchange {
    struct list link;
    struct net_fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body; /* of the request */
    struct buf answer;
    size_t head_bytes;
    int64_t max_age_s;
    bool plain;
    bool refused_address; /* plain http was about to leave this host and link */
    bool too_large;
    err early;
    fetch_done *done;
    void *arg;
    char error[CURL_ERROR_SIZE];
};

static void exchange_free(struct exchange *x)
{
    if (x->easy != NULL)
        curl_easy_cleanup(x->easy);
    /* They may hold an Authorization header. */
    for (struct curl_slist *h = x->headers; h != NULL; h = h->next)
        secret_wipe(h->data, strlen(h->data));
    curl_slist_free_all(x->headers);
    buf_clear_secure(&x->body);
    buf_clear_secure(&x->answer);
    free(x);
}

/* Tells the owner and frees x.  The owner may close the fetcher meanwhile. */
static void finish(struct exchange *x, err e, const char *detail)
{
    struct fetch_response response = {.body = buf_view(&x->answer), .max_age_s = x->max_age_s};
    long status = 0;

    list_unlink(&x->link);
    if (!failed(e)) {
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        response.status = (int)status;
        if (status >= 300 && status < 400) {
            snprintf(x->error, sizeof x->error, "HTTP status %ld", status);
            e = fail(&fetch_redirected);
            detail = x->error;
        }
    }
    x->done(x->arg, e, failed(e) ? detail : NULL, failed(e) ? NULL : &response);
    exchange_free(x);
}

/* What curl says of a transfer, in our words. */
static err transfer_error(const struct exchange *x, CURLcode code)
{
    if (x->too_large)
        return fail(&fetch_too_large);
    if (x->refused_address)
        return fail(&fetch_refused_url);
    switch (code) {
    case CURLE_OK:
        return OK;
    case CURLE_OUT_OF_MEMORY:
        return fail(&fault_out_of_memory);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return fail(&fetch_refused_url);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return fail(&fetch_unresolved);
    case CURLE_OPERATION_TIMEDOUT:
        return fail(&fetch_timed_out);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_USE_SSL_FAILED:
        return fail(&fetch_tls_failed);
    default:
        return fail(&fetch_unreachable);
    }
}

/* Hands on every transfer that has ended. */
static void drain(struct net_fetcher *f)
{
    struct CURLMsg *message;
    int left;

    while (!f->closing && (message = curl_multi_info_read(f->multi, &left)) != NULL) {
        struct exchange *x = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        curl_multi_remove_handle(f->multi, x->easy);
        err e = transfer_error(x, code);
        if (x->too_large || x->refused_address)
            finish(x, e, e.fault->text);
        else
            finish(x, e, x->error[0] != '\0' ? x->error : curl_easy_strerror(code));
    }
}

/* curl's view of the loop: sockets and one timer. */

static void handle_closed(struct net_fetcher *f)
{
    if (--f->open_handles > 0 || !f->closing)
        return;
    void (*closed)(void *arg) = f->closed;
    void *arg = f->closed_arg;
    free(f);
    closed(arg);
}

static void on_watched_closed(uv_handle_t *handle)
{
    struct watched *w = CONTAINER_OF(handle, struct watched, poll);
    struct net_fetcher *f = w->fetcher;
    free(w);
    handle_closed(f);
}

static void unwatch(struct watched *w)
{
    list_unlink(&w->link);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watched_closed);
}

static struct watched *watch(struct net_fetcher *f, curl_socket_t fd)
{
    struct watched *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->fetcher = f;
    w->fd = fd;
    if (uv_poll_init(f->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    f->open_handles++;
    list_push_back(&f->sockets, &w->link);
    curl_multi_assign(f->multi, fd, w);
    return w;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watched *w = CONTAINER_OF(poll, struct watched, poll);
    struct net_fetcher *f = w->fetcher;
    int flags = 0, running;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(f->multi, w->fd, flags, &running);
    drain(f);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct net_fetcher *f = arg;
    struct watched *w = socket_arg;
    int events = 0;
    (void)easy;

    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            unwatch(w);
        curl_multi_assign(f->multi, fd, NULL);
        return 0;
    }
    if (w == NULL)
        w = watch(f, fd);
    if (w == NULL)
        return 0; /* the exchange runs into its timeout */
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&w->poll, events, on_ready);
    return 0;
}

static void on_curl_timer(uv_timer_t *timer)
{
    struct net_fetcher *f = timer->data;
    int running;
    curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(f);
}

static int on_curl_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    struct net_fetcher *f = arg;
    (void)multi;
    if (timeout_ms < 0 || f->closing)
        uv_timer_stop(&f->curl_timer);
    else
        uv_timer_start(&f->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* One transfer. */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct exchange *x = arg;
    (void)purpose;
    if (x->plain && !fetch_address_is_local(&address->addr)) {
        x->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    struct view name, line = view_of(data, size * count);

    x->head_bytes += line.len;
    if (x->head_bytes > ANSWER_HEAD_MAX) {
        x->too_large = true;
        return 0;
    }
    /* A new status line, after an interim answer: what was said before it does not count. */
    if (view_starts_with(line, VIEW("HTTP/")))
        x->max_age_s = -1;
    while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
        line.len--;
    struct view value = view_cut(line, ':', &name);
    if (value.data != NULL && view_eq_nocase(name, VIEW("cache-control")))
        fetch_cache_control(value, &x->max_age_s);
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    buf_add(&x->answer, data, size * count);
    x->too_large = buf_failed(&x->answer);
    return x->too_large ? 0 : size * count;
}

static bool add_header_line(struct exchange *x, const char *line)
{
    struct curl_slist *longer = curl_slist_append(x->headers, line);
    if (longer == NULL)
        return false;
    x->headers = longer;
    return true;
}

static bool has_control(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static err add_header(struct exchange *x, struct view name, struct view value)
{
    char line[HEADER_LINE_MAX];

    if (name.len == 0 || has_control(name) || has_control(value) ||
        view_find(name, ':') < name.len || name.len + value.len + 3 > sizeof line)
        return fail(&fetch_refused_header);
    /* "Name;" is how curl wants a header with an empty value. */
    int len = view_trim(value).len == 0
                  ? snprintf(line, sizeof line, "%.*s;", VIEW_ARG(name))
                  : snprintf(line, sizeof line, "%.*s: %.*s", VIEW_ARG(name), VIEW_ARG(value));
    bool added = add_header_line(x, line);
    secret_wipe(line, (size_t)len);
    return added ? OK : fail(&fault_out_of_memory);
}

static err set_headers(struct exchange *x, const struct fetch_request *request)
{
    bool typed = false;

    for (size_t i = 0; i < request->header_count; i++) {
        TRY(add_header(x, request->headers[i].name, request->headers[i].value));
        if (view_eq_nocase(request->headers[i].name, VIEW("content-type")))
            typed = true;
    }
    /* Neither curl's wait for 100 Continue nor its guess of a form. */
    if (!add_header_line(x, "Expect:") || (!typed && !add_header_line(x, "Content-Type:")))
        return fail(&fault_out_of_memory);
    return OK;
}

/* Keeps the first failure of a run of curl_easy_setopt. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(x->easy, (option), (value));                                   \
    } while (0)

static CURLcode set_security(struct exchange *x, const struct fetch_target *target,
                             const char *ca_file)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PROTOCOLS_STR, target->plain ? "http" : "https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (ca_file != NULL) {
        SET(CURLOPT_CAINFO, ca_file);
        /* Else Debian's /etc/ssl/certs would be trusted beside the file. */
        SET(CURLOPT_CAPATH, NULL);
    }
    if (target->local)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    return code;
}

static CURLcode set_transfer(struct exchange *x, int64_t timeout_ms)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_ERRORBUFFER, x->error);
    SET(CURLOPT_NOSIGNAL, 1L);
    /* Else a timeout would wait on the loop's thread until the resolver has given up. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_USERAGENT, "sallyport/" SALLYPORT_VERSION);
    SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_HTTPHEADER, x->headers);
    return code;
}

static CURLcode set_request(struct exchange *x, const char *url, const char *method)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, url);
    SET(CURLOPT_PATH_AS_IS, 1L); /* a signature covers the path as it was given */
    if (strcmp(method, "GET") == 0)
        return code;
    if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return code;
    }
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.len);
    SET(CURLOPT_POSTFIELDS, x->body.len > 0 ? x->body.data : "");
    SET(CURLOPT_CUSTOMREQUEST, method);
    return code;
}

#undef SET

/* A NUL-terminated copy, or NULL when v is absent, too long or holds a control character. */
static const char *text_of(struct view v, char *out, size_t room)
{
    if (v.data == NULL || v.len >= room || has_control(v))
        return NULL;
    memcpy(out, v.data, v.len);
    out[v.len] = '\0';
    return out;
}

static err prepare(struct exchange *x, const struct fetch_request *request)
{
    char url_room[URL_MAX], method_room[16], ca_room[4096];
    const char *url = text_of(request->url, url_room, sizeof url_room);
    const char *method = text_of(request->method, method_room, sizeof method_room);
    const char *ca_file = text_of(request->ca_file, ca_room, sizeof ca_room);
    struct fetch_target target;

    if (url == NULL)
        return fail(&fetch_refused_url);
    if (method == NULL)
        return fail(&fetch_refused_header);
    if (request->ca_file.data != NULL && ca_file == NULL)
        return fail(&fetch_tls_failed);
    TRY(fetch_check_url(url, &target));
    x->plain = target.plain;
    buf_add_view(&x->body, request->body);
    TRY(set_headers(x, request));
    if (buf_failed(&x->body) || set_security(x, &target, ca_file) != CURLE_OK ||
        set_transfer(x, request->timeout_ms) != CURLE_OK ||
        set_request(x, url, method) != CURLE_OK)
        return fail(&fault_out_of_memory);
    return OK;
}

/* The fetcher. */

static void on_early(uv_timer_t *timer)
{
    struct net_fetcher *f = timer->data;
    while (!f->closing && !list_is_empty(&f->early)) {
        struct exchange *x = LIST_ENTRY(f->early.next, struct exchange, link);
        finish(x, x->early, x->early.fault->text);
    }
}

static void start(struct fetcher *base, const struct fetch_request *request, fetch_done *done,
                  void *arg)
{
    struct net_fetcher *f = CONTAINER_OF(base, struct net_fetcher, base);
    struct exchange *x = calloc(1, sizeof *x);

    ENSURE(!f->closing && request->timeout_ms > 0 && x != NULL);
    x->fetcher = f;
    x->done = done;
    x->arg = arg;
    x->max_age_s = -1;
    buf_init(&x->body, request->body.len);
    buf_init(&x->answer, request->max_bytes);
    list_init(&x->link);
    x->easy = curl_easy_init();
    err e = x->easy == NULL ? fail(&fault_out_of_memory) : prepare(x, request);
    if (!failed(e) && curl_multi_add_handle(f->multi, x->easy) != CURLM_OK)
        e = fail(&fault_out_of_memory);
    if (failed(e)) {
        x->early = e;
        list_push_back(&f->early, &x->link);
        uv_timer_start(&f->early_timer, on_early, 0, 0);
        return;
    }
    list_push_back(&f->exchanges, &x->link);
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    ENSURE(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

struct net_fetcher *net_fetcher_new(uv_loop_t *loop)
{
    pthread_once(&curl_once, init_curl);
    struct net_fetcher *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->multi = curl_multi_init();
    if (f->multi == NULL) {
        free(f);
        return NULL;
    }
    f->base.start = start;
    f->loop = loop;
    list_init(&f->exchanges);
    list_init(&f->early);
    list_init(&f->sockets);
    uv_timer_init(loop, &f->curl_timer);
    uv_timer_init(loop, &f->early_timer);
    f->curl_timer.data = f->early_timer.data = f;
    f->open_handles = 2;
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_curl_timeout);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
    return f;
}

struct fetcher *net_fetcher_base(struct net_fetcher *f)
{
    return &f->base;
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void net_fetcher_close(struct net_fetcher *f, void (*closed)(void *arg), void *arg)
{
    ENSURE(!f->closing);
    f->closing = true;
    f->closed = closed;
    f->closed_arg = arg;
    while (!list_is_empty(&f->exchanges)) {
        struct exchange *x = LIST_ENTRY(f->exchanges.next, struct exchange, link);
        curl_multi_remove_handle(f->multi, x->easy);
        finish(x, fail(&fetch_cancelled), fetch_cancelled.text);
    }
    while (!list_is_empty(&f->early))
        finish(LIST_ENTRY(f->early.next, struct exchange, link), fail(&fetch_cancelled),
               fetch_cancelled.text);
    curl_multi_cleanup(f->multi);
    f->multi = NULL;
    while (!list_is_empty(&f->sockets))
        unwatch(LIST_ENTRY(f->sockets.next, struct watched, link));
    uv_close((uv_handle_t *)&f->curl_timer, on_timer_closed);
    uv_close((uv_handle_t *)&f->early_timer, on_timer_closed);
}
