/* Connections being made: every address of the name at once, and the first that takes it. */
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aws/rds_token.h"
#include "aws/region.h"
#include "base/buf.h"
#include "base/time.h"
#include "store/store_internal.h"

enum { NS_PER_MS = 1000000, NUMBER_BYTES = 24, ENTRIES_MAX = 32, NOBODY = -1 };

/* One address.  NULL once it has failed. */
struct racer {
    PGconn *connection;
    PostgresPollingStatusType next;
};

struct store_opening {
    struct store_login login; /* without credentials */
    struct store_addresses addresses;
    struct racer racers[STORE_ADDRESSES_MAX];
    size_t left;
    int winner; /* whose TCP connection stands: the others have ended; NOBODY */
    bool judged;
    int64_t deadline_ms;
    int trust_fd;
    struct store_why words; /* of those that failed, or of the winner */
};

static int64_t now_ms(void)
{
    return time_monotonic_ns() / NS_PER_MS;
}

/* ---- What libpq is told ---- */

/* The settings as libpq takes them. */
struct parameters {
    const char *names[ENTRIES_MAX];
    const char *values[ENTRIES_MAX];
    size_t count;
    char port[NUMBER_BYTES];
    char trust[NUMBER_BYTES + sizeof "/proc/self/fd/"];
    size_t address_at; /* whose value is set for each address */
    int trust_fd;
    struct buf token;
};

static void set(struct parameters *p, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    p->names[p->count] = name;
    p->values[p->count++] = value;
}

static struct view signed_host(const struct pg_settings *pg)
{
    return pg->iam_auth_hostname.len > 0 ? pg->iam_auth_hostname : pg->host;
}

struct view store_region(const struct pg_settings *pg)
{
    return pg->iam_auth_region.len > 0 ? pg->iam_auth_region
                                       : aws_region_of_host(signed_host(pg));
}

static err mint(const struct store_login *login, struct parameters *p)
{
    const struct pg_settings *pg = login->pg;
    struct view region = store_region(pg);
    struct rds_token_request request = {
        .kind = RDS_TOKEN_DB,
        .host = signed_host(pg),
        .port = pg->port,
        .user = pg->user,
        .region = region.len > 0 ? region : login->region,
        .credentials = login->credentials,
        .now_us = time_wall_us(),
    };

    if (request.region.len == 0)
        return fail(&store_no_region);
    if (login->credentials == NULL)
        return fail(&aws_credentials_absent);
    TRY(rds_token_mint(&request, &p->token));
    buf_add_char(&p->token, '\0');
    return buf_failed(&p->token) ? fail(&fault_out_of_memory) : OK;
}

static err set_tls(const struct store_login *login, struct parameters *p, struct store_why *why)
{
    const struct pg_settings *pg = login->pg;

    if (!pg->ssl) {
        set(p, "sslmode", "disable");
        return OK;
    }
    set(p, "sslmode", pg->ssl_verify ? "verify-full" : "require");
    set(p, "ssl_min_protocol_version",
        view_is(pg->ssl_version, "tlsv1_3") ? "TLSv1.3" : "TLSv1.2");
    if (pg->ssl_verify) {
        p->trust_fd = store_trust_open(login->node, signed_host(pg), why);
        if (p->trust_fd < 0)
            return fail(&store_bad_trust);
        snprintf(p->trust, sizeof p->trust, "/proc/self/fd/%d", p->trust_fd);
        set(p, "sslrootcert", p->trust);
    } else {
        set(p, "sslrootcert", "/dev/null/none");
    }
    /* Else libpq looks into the home directory. */
    bool own = pg->ssl_cert.len > 0;
    set(p, "sslcert", own ? pg->ssl_cert.data : "/dev/null/none");
    set(p, "sslkey", own ? pg->ssl_cert_key.data : "/dev/null/none");
    set(p, "sslcrl", "/dev/null/none");
    return OK;
}

static err prepare(const struct store_login *login, struct parameters *p, struct store_why *why)
{
    const struct pg_settings *pg = login->pg;
    bool tunnel = pg->iam_auth && pg->iam_auth_hostname.len > 0;

    snprintf(p->port, sizeof p->port, "%u", pg->port);
    /* Verified is the host, reached is the address. */
    set(p, "host", tunnel ? pg->iam_auth_hostname.data : pg->host.data);
    p->address_at = p->count;
    set(p, "hostaddr", "0.0.0.0");
    set(p, "port", p->port);
    set(p, "user", pg->user.data);
    set(p, "dbname", pg->database.data);
    set(p, "application_name", "sallyport");
    set(p, "client_encoding", "UTF8");
    set(p, "gssencmode", "disable");
    set(p, "passfile", "/dev/null/none");
    TRY(set_tls(login, p, why));
    if (pg->iam_auth)
        TRY(mint(login, p));
    set(p, "password", pg->iam_auth ? p->token.data : pg->password.data);
    return OK;
}

/* ---- The race ---- */

/*
 * Between TLS and the start-up packet, so before the server learns anything.  libpq has no setting
 * for the depth; a verified chain holds the server's own certificate, the intermediates and a root.
 */
enum chain_verdict { CHAIN_NOT_YET, CHAIN_GOOD, CHAIN_TOO_LONG };

static enum chain_verdict judge_chain(PGconn *connection, int64_t depth)
{
    SSL *tls = PQsslStruct(connection, "OpenSSL");

    if (tls == NULL || !SSL_is_init_finished(tls))
        return CHAIN_NOT_YET;
    STACK_OF(X509) *chain = SSL_get0_verified_chain(tls);
    return chain != NULL && sk_X509_num(chain) - 2 <= depth ? CHAIN_GOOD : CHAIN_TOO_LONG;
}

/* Why RDS refuses a token it does not say ("Troubleshooting for IAM database authentication" of the
 * RDS user guide).  It asks members of rds_iam for a token, all others for their password. */
static void add_hint(const struct pg_settings *pg, struct store_why *why)
{
    size_t used = strlen(why->text), left = sizeof why->text - used;
    bool by_pam = strstr(why->text, "PAM authentication failed") != NULL;
    bool by_password = strstr(why->text, "password authentication failed") != NULL;

    if (pg->iam_auth && by_pam && aws_region_of_host(signed_host(pg)).len == 0)
        snprintf(why->text + used, left,
                 "; the token is for %.*s, which is no endpoint's name of RDS: say that by "
                 "pg_iam_auth_hostname (pg_ro_iam_auth_hostname)",
                 VIEW_ARG(signed_host(pg)));
    else if (pg->iam_auth && by_pam)
        snprintf(why->text + used, left,
                 "; the user must be granted rds_iam, and the IAM identity rds-db:connect for "
                 "dbuser:…/%.*s",
                 VIEW_ARG(pg->user));
    else if (pg->iam_auth && by_password)
        snprintf(why->text + used, left,
                 "; the server wants a password and no token: GRANT rds_iam TO the user %.*s",
                 VIEW_ARG(pg->user));
    else if (by_pam)
        snprintf(why->text + used, left,
                 "; as a member of rds_iam the user logs in by IAM only: set pg_iam_auth = on "
                 "(pg_ro_iam_auth), or REVOKE rds_iam FROM the user %.*s",
                 VIEW_ARG(pg->user));
}

err store_login_failure(const struct store_why *why)
{
    /* The server's words, for libpq hands out no SQLSTATE of a login: these are of 57P03, 53300,
     * 57P01 and 57014. */
    static const char *const passing[] = {"the database system is", "too many", "reserved for",
                                          "terminating connection", "canceling authentication"};

    if (strstr(why->text, "FATAL:") == NULL)
        return fail(&store_unreachable);
    for (size_t i = 0; i < COUNT_OF(passing); i++) {
        if (strstr(why->text, passing[i]) != NULL)
            return fail(&store_unreachable);
    }
    return fail(&store_refused);
}

static err choose_schema(struct store *s, const struct pg_settings *pg, struct store_why *why)
{
    /* quote_ident: search_path is a list of identifiers, pg_schema one of them. */
    if (pg->schema.len == 0)
        return OK;
    return store_run(s, "select set_config('search_path', quote_ident($1), false)", &pg->schema, 1,
                     NULL, why);
}

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static void drop(struct store_opening *o, size_t i)
{
    if (o->racers[i].connection == NULL)
        return;
    PQfinish(o->racers[i].connection);
    o->racers[i].connection = NULL;
    o->left--;
}

/* One after another, as libpq lists them. */
static void lose(struct store_opening *o, size_t i)
{
    struct store_why more;
    size_t used = strlen(o->words.text);

    store_keep_words(&more, PQerrorMessage(o->racers[i].connection));
    snprintf(o->words.text + used, sizeof o->words.text - used, "%s%s", used > 0 ? "; " : "",
             more.text);
    drop(o, i);
}

/* Given an address, libpq speaks of nothing else. */
static void say(const struct store_opening *o, struct store_why *why)
{
    const char *host = o->login.pg->host.data;
    bool named = strstr(o->words.text, host) != NULL;

    snprintf(why->text, sizeof why->text, "%.256s%s%.700s", named ? "" : host, named ? "" : ": ",
             o->words.text);
}

static err start(struct store_opening *o, struct parameters *p, struct store_why *why)
{
    for (size_t i = 0; i < o->addresses.count; i++) {
        p->values[p->address_at] = o->addresses.at[i];
        PGconn *c = PQconnectStartParams(p->names, p->values, 0);
        if (c == NULL)
            return fail(&fault_out_of_memory);
        o->racers[i] = (struct racer){c, PGRES_POLLING_WRITING};
        o->left++;
        PQsetNoticeReceiver(c, ignore_notice, NULL);
        if (PQstatus(c) == CONNECTION_BAD)
            lose(o, i);
    }
    if (o->left > 0)
        return OK;
    say(o, why);
    return fail(&store_unreachable);
}

err store_opening_new(const struct store_login *login, const struct store_addresses *addresses,
                      struct store_opening **out, struct store_why *why)
{
    struct parameters p = {.trust_fd = -1};
    struct store_opening *o = calloc(1, sizeof *o);

    *out = NULL;
    *why = (struct store_why){""};
    if (o == NULL)
        return fail(&fault_out_of_memory);
    o->login = *login;
    o->login.credentials = NULL;
    o->addresses = *addresses;
    o->winner = NOBODY;
    o->judged = !login->pg->ssl_verify || !login->pg->ssl;
    o->deadline_ms = now_ms() + login->pg->timeout_ms;
    buf_init(&p.token, RDS_TOKEN_MAX_BYTES);
    err e = prepare(login, &p, why);
    o->trust_fd = p.trust_fd;
    if (!failed(e))
        e = start(o, &p, why);
    buf_clear_secure(&p.token);
    if (failed(e)) {
        store_opening_free(o);
        return e;
    }
    *out = o;
    return OK;
}

void store_opening_free(struct store_opening *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->addresses.count; i++)
        drop(o, i);
    if (o->trust_fd >= 0)
        close(o->trust_fd);
    free(o);
}

size_t store_opening_waits(const struct store_opening *o, struct pollfd *at)
{
    size_t n = 0;

    for (size_t i = 0; i < o->addresses.count; i++) {
        const struct racer *r = &o->racers[i];
        if (r->connection != NULL)
            at[n++] = (struct pollfd){
                .fd = PQsocket(r->connection),
                .events = r->next == PGRES_POLLING_READING ? POLLIN : POLLOUT,
            };
    }
    return n;
}

int64_t store_opening_deadline_ms(const struct store_opening *o)
{
    return o->deadline_ms;
}

const char *store_opening_address(const struct store_opening *o)
{
    return o->winner == NOBODY ? "" : o->addresses.at[o->winner];
}

static void win(struct store_opening *o, size_t i)
{
    o->winner = (int)i;
    o->words = (struct store_why){""};
    for (size_t other = 0; other < o->addresses.count; other++) {
        if (other != i)
            drop(o, other);
    }
}

static err step_one(struct store_opening *o, size_t i)
{
    struct racer *r = &o->racers[i];

    r->next = PQconnectPoll(r->connection);
    if (r->next == PGRES_POLLING_FAILED) {
        lose(o, i);
        return OK; /* unless it was the last */
    }
    if (o->winner == NOBODY && PQstatus(r->connection) != CONNECTION_STARTED)
        win(o, i);
    enum chain_verdict verdict =
        o->judged ? CHAIN_GOOD : judge_chain(r->connection, o->login.node->lua_ssl_verify_depth);
    o->judged = verdict == CHAIN_GOOD;
    return verdict == CHAIN_TOO_LONG ? fail(&store_chain_too_long) : OK;
}

static err finish(struct store_opening *o, struct store **out, struct store_why *why)
{
    struct store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return fail(&fault_out_of_memory);
    s->connection = o->racers[o->winner].connection;
    s->timeout_ms = o->login.pg->timeout_ms;
    s->cancel_fd = o->login.cancel_fd;
    snprintf(s->address, sizeof s->address, "%s", store_opening_address(o));
    o->racers[o->winner].connection = NULL;
    PQsetnonblocking(s->connection, 1);
    err e = choose_schema(s, o->login.pg, why);
    if (failed(e)) {
        store_close(s);
        return e;
    }
    *out = s;
    return OK;
}

err store_opening_step(struct store_opening *o, struct store **out, struct store_why *why)
{
    struct pollfd at;

    *out = NULL;
    *why = (struct store_why){""};
    for (size_t i = 0; i < o->addresses.count; i++) {
        struct racer *r = &o->racers[i];
        if (r->connection == NULL)
            continue;
        /* Before its time libpq would take a connect that is under way for one that is done. */
        at = (struct pollfd){.fd = PQsocket(r->connection),
                             .events = r->next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (poll(&at, 1, 0) > 0)
            TRY(step_one(o, i));
        if (r->connection != NULL && r->next == PGRES_POLLING_OK)
            return o->judged ? finish(o, out, why) : fail(&store_unreachable);
    }
    if (o->left == 0) {
        say(o, why);
        add_hint(o->login.pg, why);
        return store_login_failure(why);
    }
    if (now_ms() < o->deadline_ms)
        return OK;
    snprintf(why->text, sizeof why->text, "no answer within pg_timeout, %lld ms",
             (long long)o->login.pg->timeout_ms);
    return fail(&store_unreachable);
}

/* ---- The same, waiting ---- */

static bool is_cancelled(int cancel_fd)
{
    struct pollfd at = {.fd = cancel_fd, .events = POLLIN};

    return cancel_fd > 0 && poll(&at, 1, 0) > 0;
}

/* Until one of them is ready, the time is over, or waiting was cancelled: false. */
static bool await_any(struct pollfd *at, size_t count, int cancel_fd, int64_t deadline_ms)
{
    int64_t left = deadline_ms - now_ms();

    at[count] = (struct pollfd){.fd = cancel_fd, .events = POLLIN};
    int n = poll(at, count + (cancel_fd > 0), left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX
                                                                               : (int)left);
    return (n >= 0 || errno == EINTR) && left > 0 && !is_cancelled(cancel_fd);
}

static err find_addresses(const struct store_login *login, int64_t deadline_ms,
                          struct store_addresses *out, struct store_why *why)
{
    const char *host = login->pg->host.data;
    char reason[LOOKUP_WHY_BYTES] = "no answer within pg_timeout";
    struct lookup *l;

    if (store_address_literal(host, out))
        return OK;
    TRY(lookup_new(host, &l));
    lookup_ask(l);
    struct pollfd at[2] = {{.fd = lookup_fd(l), .events = POLLIN}};
    while (!lookup_take(l, out, reason) && await_any(at, 1, login->cancel_fd, deadline_ms))
        continue;
    lookup_free(l);
    if (out->count > 0)
        return OK;
    snprintf(why->text, sizeof why->text, "could not translate host name \"%.256s\" to address: %s",
             host, reason);
    return fail(&store_unreachable);
}

static err open_one(const struct store_login *login, struct store_addresses *addresses,
                    int64_t deadline_ms, struct store **out, struct store_why *why)
{
    struct pollfd at[STORE_ADDRESSES_MAX + 1];
    struct store_opening *o;

    TRY(store_opening_new(login, addresses, &o, why));
    o->deadline_ms = deadline_ms;
    err e = OK;
    while (!failed(e) && *out == NULL) {
        if (!await_any(at, store_opening_waits(o, at), login->cancel_fd, deadline_ms) &&
            is_cancelled(login->cancel_fd))
            e = fail(&store_unreachable);
        else
            e = store_opening_step(o, out, why);
    }
    /* What did not even answer leaves the turn to the other addresses; what refused does not. */
    bool again = is_fault(e, &store_unreachable) && strstr(why->text, "FATAL:") == NULL;
    store_addresses_remove(addresses, again ? store_opening_address(o) : "");
    if (!again || o->winner == NOBODY)
        addresses->count = 0;
    store_opening_free(o);
    return e;
}

err store_open(const struct store_login *login, struct store **out, struct store_why *why)
{
    int64_t deadline_ms = now_ms() + login->pg->timeout_ms;
    struct store_addresses addresses = {0};
    err e;

    *out = NULL;
    *why = (struct store_why){""};
    TRY(find_addresses(login, deadline_ms, &addresses, why));
    do {
        e = open_one(login, &addresses, deadline_ms, out, why);
    } while (failed(e) && addresses.count > 0 && now_ms() < deadline_ms &&
             !is_cancelled(login->cancel_fd));
    return e;
}
