#include "store/line.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/random.h"

enum {
    NS_PER_MS = 1000000,
    NAME_LOOK_MS = 250,
    SIGNER_LOOK_MS = 20,
    WRITER_ASK_MS = 500,
    STANDBY_ASK_MS = 200,
    LOST_PAUSE_MS = 200, /* many nodes lose theirs at the same moment */
    NOBODY_PAUSE_MS = 300,
    NOBODY_LONG_PAUSE_MS = 800,
    NOBODY_LONG = 200, /* attempts: about a minute */
    FIRST_PAUSE_MS = 500,
    PAUSE_MAX_MS = 1000,
    IAM_PAUSE_MAX_MS = 3000,
    REFUSED_PAUSE_MAX_MS = 15000,
    HURRIES = 4, /* addresses that changed and were logged in to at once, within */
    HURRIES_MS = 30000,
};

static const char role_sql[] = "select pg_is_in_recovery(),"
                               " current_setting('transaction_read_only') = 'on'";
static const char revision_sql[] = "select pg_is_in_recovery(),"
                                   " current_setting('transaction_read_only') = 'on',"
                                   " coalesce(max(revision), 0) from sallyport_revisions";

static int64_t now_ms(void)
{
    return time_monotonic_ns() / NS_PER_MS;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Policy ---- */

/* The server's words, for libpq hands out no SQLSTATE of a login: 57P03, cannot_connect_now. */
static bool only_starts(const struct store_why *why)
{
    return strstr(why->text, "the database system is") != NULL;
}

enum store_miss store_miss_of(err e, const struct store_why *why, bool taken)
{
    bool away = is_fault(e, &store_unreachable) || is_fault(e, &store_lost);

    if (away && (!taken || only_starts(why)))
        return MISS_NOBODY;
    return away ? MISS_FAILED : MISS_REFUSED;
}

int64_t store_pause_max_ms(enum store_miss miss, bool iam, unsigned failures)
{
    int64_t most = miss == MISS_REFUSED ? REFUSED_PAUSE_MAX_MS
                   : iam                ? IAM_PAUSE_MAX_MS
                                        : PAUSE_MAX_MS;
    int64_t pause = FIRST_PAUSE_MS;

    if (miss == MISS_NOBODY)
        return failures < NOBODY_LONG ? NOBODY_PAUSE_MS : NOBODY_LONG_PAUSE_MS;
    for (unsigned i = 0; i < failures && pause < most; i++)
        pause *= 2;
    return sooner(pause, most);
}

/* ---- Losing ---- */

static void hang_up(struct store_line *l)
{
    store_close(l->s);
    l->s = NULL;
    l->listening = l->standby = l->asked = false;
}

static void miss(struct store_line *l, err e, const struct store_why *why, int64_t pause_ms)
{
    bool refused = is_fault(e, &store_refused);

    l->due_ms = now_ms() + pause_ms;
    l->failures++;
    l->error = e;
    l->why = *why;
    if (refused && !l->refused)
        log_error("store_refused", "the configuration's database refuses the login: what is served "
                  "goes on, and the login is tried again", LOG_STR("connection", l->name),
                  LOG_STR("detail", why->text));
    else if (!refused && !l->troubled)
        log_warn("store_unreachable", "the configuration's database is away: what is served goes "
                 "on, and the connection is tried again", LOG_STR("connection", l->name),
                 LOG_STR("reason", e.fault->text), LOG_STR("detail", why->text));
    l->troubled = true;
    l->refused = refused;
}

static int64_t pause_of(const struct store_line *l, enum store_miss kind)
{
    int64_t most = store_pause_max_ms(kind, l->pg->iam_auth, l->failures);
    int64_t least = kind == MISS_NOBODY ? most / 3 : 1;

    return least + (int64_t)random_below((uint64_t)(most - least));
}

static bool has_moved(const struct store_line *l)
{
    return l->writes && l->s != NULL && l->addresses.count > 0 &&
           !store_addresses_have(&l->addresses, store_address(l->s));
}

/* It would have been left anyway. */
static void leave(struct store_line *l)
{
    snprintf(l->left, sizeof l->left, "%s", store_address(l->s));
    hang_up(l);
    l->due_ms = sooner(l->due_ms, now_ms() + pause_of(l, MISS_FAILED));
}

void store_line_lose(struct store_line *l, err e, const struct store_why *why)
{
    if (has_moved(l)) {
        leave(l);
        return;
    }
    hang_up(l);
    /* After one that was of use; what logs in and breaks off is a failure like others. */
    miss(l, e, why,
         l->failures == 0 ? (int64_t)random_below(LOST_PAUSE_MS) : pause_of(l, MISS_FAILED));
}

static unsigned miss_attempt(struct store_line *l, err e, const struct store_why *why, bool taken)
{
    miss(l, e, why, pause_of(l, store_miss_of(e, why, taken)));
    return LINE_FAILED;
}

/* ---- The name ---- */

static bool wants_another(const struct store_line *l)
{
    /* What listens is a writer, though by its settings it may only read. */
    return l->s == NULL || has_moved(l) ||
           (l->writes && !l->listening && l->addresses.count > 1);
}

/* By what the name says now.  One that alternates must not make a login of every look-up. */
static void hurry(struct store_line *l)
{
    if (l->hurries == 0 || now_ms() >= l->hurries_end_ms) {
        l->hurries = 0;
        l->hurries_end_ms = now_ms() + HURRIES_MS;
    }
    if (l->hurries < HURRIES) {
        l->hurries++;
        l->due_ms = 0;
        store_opening_free(l->opening); /* it may be to one that is gone */
        l->opening = NULL;
    } else if (l->s != NULL) {
        l->due_ms = l->hurries_end_ms;
    }
}

static void take_addresses(struct store_line *l, const struct store_addresses *found)
{
    if (store_addresses_equal(found, &l->addresses))
        return;
    l->addresses = *found;
    l->avoided[0] = '\0';
    if (wants_another(l))
        hurry(l);
}

static unsigned look_up(struct store_line *l)
{
    struct store_addresses found;
    struct store_why why = {""};
    char reason[LOOKUP_WHY_BYTES];
    unsigned brought = 0;

    if (l->lookup == NULL)
        return 0;
    if (l->looking && lookup_take(l->lookup, &found, reason)) {
        l->looking = false;
        l->look_ms = now_ms() + NAME_LOOK_MS;
        if (found.count > 0)
            take_addresses(l, &found);
        else if (l->addresses.count == 0 && now_ms() >= l->due_ms) {
            snprintf(why.text, sizeof why.text, "could not translate host name \"%.256s\" to "
                     "address: %s", l->pg->host.data, reason);
            brought = miss_attempt(l, fail(&store_unreachable), &why, false);
        }
    }
    if (!l->looking && now_ms() >= l->look_ms && (l->writes || l->s == NULL)) {
        l->looking = true;
        lookup_ask(l->lookup);
    }
    return brought;
}

bool store_line_moved(struct store_line *l)
{
    (void)look_up(l);
    return has_moved(l);
}

/* ---- Opening ---- */

/* Not to where the standby is, nor to where it just came to nothing, if there is another. */
static struct store_addresses choose(const struct store_line *l)
{
    struct store_addresses chosen = l->addresses;

    if (l->s != NULL)
        store_addresses_remove(&chosen, store_address(l->s));
    if (chosen.count > 1)
        store_addresses_remove(&chosen, l->avoided);
    return chosen;
}

static unsigned begin(struct store_line *l)
{
    const struct store_addresses chosen = choose(l);
    struct store_login login = {.node = l->node, .pg = l->pg, .cancel_fd = l->stop_fd};
    struct store_why why = {""};
    err e = OK;

    if (chosen.count == 0)
        return 0;
    enum aws_ready ready =
        l->pg->iam_auth ? l->signer.get(l->signer.arg, l->pg, &login.credentials, &e, &why)
                        : AWS_READY;
    if (ready == AWS_WAIT) {
        l->due_ms = now_ms() + SIGNER_LOOK_MS;
        return 0;
    }
    if (ready == AWS_FAILED)
        return miss_attempt(l, e, &why, true);
    if (l->pg->iam_auth)
        login.region = l->signer.region(l->signer.arg, l->pg);
    e = store_opening_new(&login, &chosen, &l->opening, &why);
    l->taken = !failed(e); /* perhaps */
    return failed(e) ? miss_attempt(l, e, &why, false) : 0;
}

static void say_standby(struct store_line *l)
{
    if (!l->told)
        log_warn("store_not_listening", "the read-write connection leads to a standby, where there "
                 "is no LISTEN: changes are heard of by asking, until there is a writer",
                 LOG_VIEW("host", l->pg->host), LOG_STR("address", store_address(l->s)));
    l->error = fail(&store_read_only);
    l->troubled = l->told = true;
}

static void note_success(struct store_line *l)
{
    if ((l->writes && !l->listening) || has_moved(l))
        return; /* what is amiss stays to be said */
    if (l->troubled)
        log_notice("store_reachable", "the configuration's database answers again",
                   LOG_STR("connection", l->name), LOG_VIEW("host", l->pg->host),
                   LOG_STR("address", store_address(l->s)));
    l->troubled = l->told = l->refused = false;
    l->failures = 0;
    l->error = OK;
    l->why = (struct store_why){""};
}

/* Where nothing can be written nothing can be heard: a standby refuses LISTEN with 25006. */
static unsigned start_listening(struct store_line *l)
{
    struct store_why why;
    err e = store_script(l->s, "listen sallyport", &why);

    l->listening = !failed(e);
    l->standby = is_fault(e, &store_read_only);
    l->ask_ms = 0; /* what was missed */
    if (l->standby) {
        say_standby(l);
        l->why = why;
        /* Before another of the name's addresses is logged in to. */
        l->due_ms = now_ms() + pause_of(l, MISS_FAILED);
        l->failures++;
    } else if (failed(e)) {
        store_line_lose(l, e, &why);
        return LINE_FAILED;
    }
    note_success(l);
    return LINE_REACHED;
}

static unsigned adopt(struct store_line *l, struct store *s)
{
    const char *from = l->s != NULL ? store_address(l->s) : l->left;

    if (from[0] != '\0')
        log_notice("store_moved", "the configuration's database is elsewhere now",
                   LOG_STR("connection", l->name), LOG_VIEW("host", l->pg->host),
                   LOG_STR("from", from), LOG_STR("to", store_address(s)));
    hang_up(l);
    l->left[0] = '\0';
    l->s = s;
    l->avoided[0] = '\0';
    l->ask_ms = 0;
    return l->writes ? start_listening(l) : LINE_REACHED;
}

static unsigned step(struct store_line *l)
{
    struct store *s = NULL;
    struct store_why why;

    err e = store_opening_step(l->opening, &s, &why);
    if (!failed(e) && s == NULL)
        return 0;
    const char *taker = store_opening_address(l->opening);
    l->taken = taker[0] != '\0';
    snprintf(l->avoided, sizeof l->avoided, "%s", taker);
    store_opening_free(l->opening);
    l->opening = NULL;
    return failed(e) ? miss_attempt(l, e, &why, l->taken) : adopt(l, s);
}

/* ---- What is up ---- */

void store_line_ask_by(struct store_line *l, int64_t when_ms)
{
    l->ask_ms = sooner(l->ask_ms, when_ms);
}

static unsigned lost(struct store_line *l, err e, const struct store_why *why)
{
    store_line_lose(l, e, why);
    return LINE_FAILED;
}

static unsigned take_role(struct store_line *l, const struct store_rows *rows)
{
    bool recovers = view_is(store_cell(rows, 0, 0), "t");
    unsigned brought = LINE_ANSWERED;

    l->standby = recovers || view_is(store_cell(rows, 0, 1), "t");
    if (!l->writes)
        return brought;
    if (recovers) {
        if (l->listening)
            l->due_ms = 0; /* sessions may outlive a demotion */
        l->listening = false;
        say_standby(l);
    } else if (!l->listening) {
        brought |= start_listening(l);
    }
    return brought;
}

static unsigned take_answer(struct store_line *l)
{
    struct store_rows rows;
    struct store_why why;
    bool answered;
    uint64_t revision = 0;

    err e = store_answer(l->s, &answered, &rows, &why);
    if (!failed(e) && !answered) {
        if (now_ms() - l->asked_ms < l->pg->timeout_ms)
            return 0;
        snprintf(why.text, sizeof why.text, "no answer within pg_timeout, %lld ms",
                 (long long)l->pg->timeout_ms);
        e = fail(&store_lost);
    }
    if (is_fault(e, &store_lost))
        return lost(l, e, &why);
    l->asked = false;
    if (failed(e)) { /* the tables are not there, or not to be read */
        l->ask_ms = now_ms() + STORE_POLL_MS;
        l->error = e;
        l->why = why;
        return LINE_FAILED;
    }
    if (l->reads && view_to_u64(store_cell(&rows, 0, 2), INT64_MAX, &revision))
        l->revision = (int64_t)revision;
    unsigned brought = take_role(l, &rows);
    store_rows_clear(&rows);
    if (l->s == NULL)
        return brought;
    int64_t next_ms = !l->writes ? STORE_POLL_MS : l->standby ? STANDBY_ASK_MS : WRITER_ASK_MS;
    store_line_ask_by(l, now_ms() + next_ms);
    note_success(l);
    return brought;
}

static unsigned listen_to(struct store_line *l)
{
    struct store_why why;
    bool heard = false;

    err e = store_heard(l->s, &heard, &l->number, &why);
    if (failed(e))
        return lost(l, e, &why);
    return heard ? LINE_HEARD : 0;
}

static unsigned ask(struct store_line *l)
{
    struct store_why why;

    l->ask_ms = INT64_MAX;
    err e = store_ask(l->s, l->reads ? revision_sql : role_sql, &why);
    if (failed(e))
        return lost(l, e, &why);
    l->asked = true;
    l->asked_ms = now_ms();
    return 0;
}

static unsigned attend(struct store_line *l)
{
    unsigned brought = listen_to(l);

    if (l->s != NULL && l->asked)
        brought |= take_answer(l);
    /* What was answered may be followed by a read, first. */
    else if (l->s != NULL && now_ms() >= l->ask_ms)
        brought |= ask(l);
    return brought;
}

/* ---- The whole ---- */

err store_line_open(struct store_line *l, const struct node_config *node,
                    const struct pg_settings *pg, const struct store_signer *signer)
{
    l->node = node;
    l->pg = pg;
    l->signer = *signer;
    l->failures = l->hurries = 0;
    l->due_ms = l->look_ms = 0;
    l->error = OK;
    if (store_address_literal(pg->host.data, &l->addresses))
        return OK;
    return lookup_new(pg->host.data, &l->lookup);
}

void store_line_close(struct store_line *l)
{
    store_opening_free(l->opening);
    lookup_free(l->lookup);
    l->opening = NULL;
    l->lookup = NULL;
    l->looking = false;
    l->addresses = (struct store_addresses){0};
    l->avoided[0] = l->left[0] = '\0';
    hang_up(l);
    l->node = NULL;
    l->pg = NULL;
}

unsigned store_line_turn(struct store_line *l)
{
    unsigned brought;

    if (l->pg == NULL)
        return 0;
    brought = look_up(l);
    if (l->opening == NULL && wants_another(l) && now_ms() >= l->due_ms)
        brought |= begin(l);
    if (l->opening != NULL)
        brought |= step(l);
    if (l->s != NULL)
        brought |= attend(l);
    if (!wants_another(l)) { /* any more: the standby was promoted */
        store_opening_free(l->opening);
        l->opening = NULL;
    }
    return brought;
}

size_t store_line_waits(const struct store_line *l, struct pollfd *at)
{
    size_t n = 0;

    if (l->looking)
        at[n++] = (struct pollfd){.fd = lookup_fd(l->lookup), .events = POLLIN};
    if (l->s != NULL)
        at[n++] = (struct pollfd){.fd = store_socket(l->s), .events = POLLIN};
    return l->opening == NULL ? n : n + store_opening_waits(l->opening, at + n);
}

int64_t store_line_due_ms(const struct store_line *l)
{
    int64_t due_ms = INT64_MAX;

    if (l->pg == NULL)
        return due_ms;
    if (l->lookup != NULL && !l->looking && (l->writes || l->s == NULL))
        due_ms = l->look_ms;
    if (l->opening != NULL)
        due_ms = sooner(due_ms, store_opening_deadline_ms(l->opening));
    else if (wants_another(l) && choose(l).count > 0)
        due_ms = sooner(due_ms, l->due_ms);
    if (l->s != NULL)
        due_ms = sooner(due_ms, l->asked ? l->asked_ms + l->pg->timeout_ms : l->ask_ms);
    return due_ms;
}
