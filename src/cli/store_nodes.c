#include "cli/store_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cli/node.h"
#include "crypto/random.h"
#include "limit/login_share.h"
#include "store/nodes.h"

enum {
    NS_PER_MS = 1000000,
    FORBIDDEN_MS = 30000, /* the GRANT may come */
    LOCKED_MS = 300,
    DEMOTED_MS = 500,
    LEAVE_MS = 1000,
    KEPT_BYTES = 128,
};

#define KEPT_FILE "store.node"

struct store_nodes {
    const struct node_config *node;
    struct login_pace *pace;
    struct node_self self;
    char path[CLI_PATH_BYTES + sizeof KEPT_FILE];
    int64_t started_ns;
    int64_t taken_ns; /* of the pace, by the latest login to the store */
    int64_t due_ms;
    bool joined;    /* the row is there */
    bool forbidden; /* said already */
    int64_t kept;   /* the share in store.node; -1: none */
    struct login_share share;
    struct login_plan plan;
    struct login_row rows[LOGIN_NODES_MAX + 1];
    size_t row_count;
    pthread_mutex_t lock;
    struct store_nodes_status status; /* under the lock */
};

static int64_t now_ns(void)
{
    return time_monotonic_ns();
}

/* Random, of version 4 (RFC 9562 section 5.4). */
static void make_id(char out[LOGIN_ID_BYTES])
{
    uint8_t b[16];

    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, LOGIN_ID_BYTES,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* ---- What is kept in the prefix ---- */

static bool is_id(struct view v)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (v.len != sizeof form - 1)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        bool hex = strchr("0123456789abcdef", v.data[i]) != NULL;
        if (form[i] == '-' ? v.data[i] != '-' : !hex)
            return false;
    }
    return true;
}

/* "ID SHARE\n"; a file that says something else says nothing. */
static void read_kept(struct store_nodes *n)
{
    char text[KEPT_BYTES];
    struct view id, share;
    uint64_t number;
    int fd = open(n->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text) : -1;

    if (fd >= 0)
        close(fd);
    share = view_cut(view_of(text, got > 0 ? (size_t)got : 0), ' ', &id);
    view_cut(share, '\n', &share);
    if (!is_id(id))
        return;
    snprintf(n->self.id, sizeof n->self.id, "%.*s", VIEW_ARG(id));
    if (view_to_u64(share, (uint64_t)n->share.max_rate, &number))
        n->kept = (int64_t)number;
}

/* share -1: the row was given up.  Not fsynced: what a loss of power takes is a new id. */
static void keep(struct store_nodes *n, int64_t share)
{
    char new[sizeof n->path + 8], text[KEPT_BYTES];

    n->kept = share;
    int length = snprintf(text, sizeof text, share >= 0 ? "%s %lld\n" : "%s -\n", n->self.id,
                          (long long)share);
    snprintf(new, sizeof new, "%s.new", n->path);
    int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0)
        close(fd);
    if (!good || rename(new, n->path) != 0)
        log_warn("store_node_not_kept", "the node's id and share could not be written down",
                 LOG_STR("file", n->path), LOG_STR("reason", strerror(errno)));
}

/* ---- What is in force ---- */

static void tell(struct store_nodes *n, const char *state)
{
    pthread_mutex_lock(&n->lock);
    n->status = (struct store_nodes_status){state, n->share.share, n->share.nodes};
    pthread_mutex_unlock(&n->lock);
}

/* The share holds, though there is no row, or none that is renewed. */
static void go_on_without(struct store_nodes *n, const char *state)
{
    login_pace_set(n->pace, n->share.share, LOGIN_PERIOD_MS);
    if (n->share.share == 0) {
        /* Twice as rarely as turns would come round. */
        int64_t turns = 2 * (int64_t)n->share.nodes / n->share.max_rate + 2;
        login_pace_set(n->pace, 1, turns * LOGIN_PERIOD_MS);
    }
    tell(n, state);
}

static void assume(struct store_nodes *n)
{
    bool had = n->kept >= 0;

    login_share_assume(&n->share, had ? n->kept : login_share_assumed(n->share.max_rate));
    login_pace_hold(n->pace, n->started_ns + (int64_t)LOGIN_PERIOD_MS * NS_PER_MS);
    go_on_without(n, had ? "kept" : "assumed");
}

void store_nodes_lost(struct store_nodes *n)
{
    login_share_contact_lost(&n->share);
    n->due_ms = 0;
    if (strcmp(n->status.state, "joining") == 0)
        assume(n);
    else if (n->joined)
        go_on_without(n, "kept");
    n->joined = false;
}

/* ---- Renewing ---- */

static err join(struct store_nodes *n, struct store *s, struct store_why *why)
{
    int64_t share;

    TRY(nodes_join(s, &n->self, &share, why));
    n->joined = true;
    /* What an earlier process of the node let in at its end is a period ago by then. */
    if (share > 0)
        login_pace_hold(n->pace, n->started_ns + (int64_t)LOGIN_PERIOD_MS * NS_PER_MS);
    return OK;
}

static err delete_gone(struct store_nodes *n, struct store *s, struct store_why *why)
{
    for (size_t i = 0; i < n->plan.gone_count; i++)
        TRY(nodes_delete(s, &n->rows[n->plan.gone[i]], why));
    return OK;
}

static void make_plan(struct store_nodes *n)
{
    login_share_plan(&n->share, n->rows, n->row_count, now_ns(), &n->plan);
    /* At once: what is less must not be granted a moment longer. */
    login_pace_set(n->pace, n->share.share, LOGIN_PERIOD_MS);
}

static err write_row(struct store_nodes *n, struct store *s, struct store_why *why)
{
    bool found;

    TRY(delete_gone(n, s, why));
    TRY(nodes_renew(s, &n->self, n->plan.publish, login_pace_rate(n->pace, now_ns()), &found,
                    why));
    if (found)
        return OK;
    /* It was thought gone, or a copy of the prefix serves: that process has the id now. */
    make_id(n->self.id);
    snprintf(n->share.id, sizeof n->share.id, "%s", n->self.id);
    n->kept = -1;
    n->joined = false;
    n->plan.raise = false;
    n->plan.due_ms = 0;
    return OK;
}

static err raise_share(struct store_nodes *n, struct store *s, struct store_why *why)
{
    err e = nodes_read_locked(s, n->rows, &n->row_count, why);

    if (!failed(e)) {
        make_plan(n);
        e = write_row(n, s, why);
    }
    if (!failed(e))
        e = store_commit(s, why);
    if (!failed(e) && n->plan.raise) {
        login_share_raised(&n->share, n->plan.publish, now_ns());
        login_pace_set(n->pace, n->share.share, LOGIN_PERIOD_MS);
    }
    if (failed(e) && !is_fault(e, &store_lost))
        store_rollback(s);
    return e;
}

static err renew(struct store_nodes *n, struct store *s, struct store_why *why)
{
    if (!n->joined)
        TRY(join(n, s, why));
    TRY(nodes_read(s, n->rows, &n->row_count, why));
    make_plan(n);
    if (!n->plan.raise)
        return write_row(n, s, why);
    TRY(nodes_lock(s, why));
    return raise_share(n, s, why);
}

/* insufficient_privilege; undefined_table ("PostgreSQL Error Codes"). */
static bool may_not(const struct store_why *why)
{
    return strcmp(why->sqlstate, "42501") == 0 || strcmp(why->sqlstate, "42P01") == 0;
}

static void refused(struct store_nodes *n, err e, const struct store_why *why)
{
    n->due_ms = now_ns() / NS_PER_MS + (is_fault(e, &store_locked) ? LOCKED_MS : FORBIDDEN_MS);
    if (is_fault(e, &store_locked))
        return;
    if (!n->forbidden)
        log_warn("node_not_counted", "the node has no row in sallyport_nodes: the other nodes do "
                 "not leave it a share of the logins by IAM, and it keeps to a small one",
                 LOG_STR("reason", e.fault->text), LOG_STR("detail", why->text),
                 LOG_STR("remedy", may_not(why) ? "grant select, insert, update, delete on "
                                                  "sallyport_nodes to the login of pg_user"
                                                : ""));
    n->forbidden = true;
    if (strcmp(n->status.state, "joining") == 0)
        assume(n);
    else if (n->joined)
        go_on_without(n, "kept");
    n->joined = false;
}

/* Whose connection it is finds the writer. */
static void demoted(struct store_nodes *n)
{
    store_nodes_lost(n);
    n->due_ms = now_ns() / NS_PER_MS + DEMOTED_MS;
}

static void renewed(struct store_nodes *n)
{
    n->due_ms = now_ns() / NS_PER_MS + n->plan.due_ms;
    if (n->forbidden)
        log_notice("node_counted", "the node has its row in sallyport_nodes now");
    n->forbidden = false;
    if (n->joined && n->kept != n->share.share)
        keep(n, n->share.share);
    tell(n, n->joined ? "shared" : "kept");
}

int64_t store_nodes_due_ms(const struct store_nodes *n)
{
    return n->due_ms;
}

err store_nodes_renew(struct store_nodes *n, struct store *s, struct store_why *why)
{
    if (now_ns() / NS_PER_MS < n->due_ms)
        return OK;
    err e = renew(n, s, why);
    if (!failed(e))
        renewed(n);
    else if (is_fault(e, &store_lost) || is_fault(e, &store_unreachable))
        return e;
    else if (is_fault(e, &store_read_only))
        demoted(n);
    else
        refused(n, e, why);
    return OK;
}

/* ---- Logins to the store itself ---- */

static struct login_instance *instance_of(struct store_nodes *n, const struct pg_settings *pg)
{
    struct view name = pg->iam_auth_hostname.len > 0 ? pg->iam_auth_hostname : pg->host;

    return pg->iam_auth ? login_pace_instance(n->pace, name, pg->port) : NULL;
}

bool store_nodes_may_login(struct store_nodes *n, const struct pg_settings *pg)
{
    struct login_instance *i = instance_of(n, pg);
    int64_t now = now_ns();

    if (i == NULL) /* no memory for it */
        return true;
    if (login_pace_take_store(n->pace, i, now) > 0)
        return false;
    n->taken_ns = now;
    return true;
}

void store_nodes_no_login(struct store_nodes *n, const struct pg_settings *pg)
{
    struct login_instance *i = instance_of(n, pg);

    if (i != NULL)
        login_pace_give_back_store(n->pace, i, n->taken_ns);
}

/* ---- Begin and end ---- */

struct store_nodes *store_nodes_new(const struct node_config *node, struct login_pace *pace)
{
    struct store_nodes *n = calloc(1, sizeof *n);

    if (n == NULL)
        return NULL;
    n->node = node;
    n->pace = pace;
    n->started_ns = now_ns();
    n->kept = -1;
    n->share.max_rate = node->pg_iam_auth_max_rate;
    n->self.name = node->node_name;
    n->self.version = VIEW(SALLYPORT_VERSION);
    snprintf(n->path, sizeof n->path, "%.*s/" KEPT_FILE, VIEW_ARG(node->prefix));
    make_id(n->self.id);
    make_id(n->self.boot);
    read_kept(n);
    login_share_init(&n->share, n->self.id, node->pg_iam_auth_max_rate, n->started_ns);
    pthread_mutex_init(&n->lock, NULL);
    tell(n, "joining");
    return n;
}

void store_nodes_free(struct store_nodes *n)
{
    if (n == NULL)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n);
}

void store_nodes_leave(struct store_nodes *n, struct store *s)
{
    struct store_why why;
    int64_t latest_ns, rest_ms = 0;

    if (!n->joined || s == NULL)
        return;
    login_pace_set(n->pace, 0, LOGIN_PERIOD_MS); /* no login is later than the latest */
    latest_ns = login_pace_latest_ns(n->pace);
    if (latest_ns != INT64_MIN)
        rest_ms = LOGIN_PERIOD_MS - (now_ns() - latest_ns) / NS_PER_MS;
    store_end_cancelling(s);
    store_set_timeout(s, LEAVE_MS);
    err e = nodes_leave(s, &n->self, rest_ms, &why);
    if (!failed(e))
        keep(n, -1);
    n->joined = false;
}

void store_nodes_status(struct store_nodes *n, struct store_nodes_status *out)
{
    pthread_mutex_lock(&n->lock);
    *out = n->status;
    pthread_mutex_unlock(&n->lock);
}
