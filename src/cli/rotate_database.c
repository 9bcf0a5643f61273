#include "cli/rotate_database.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "base/time.h"
#include "crypto/hash.h"

void rotate_db_forget_environment(void)
{
    for (char **at = environ; at != NULL && *at != NULL;) {
        char name[64];
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, "PG", 2) != 0 || equals == NULL ||
            (size_t)(equals - *at) >= sizeof name) {
            at++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - *at), *at);
        unsetenv(name);
        at = environ; /* unsetenv moved what followed */
    }
}

/* ---- Why ---- */

/* The server's words on one line. */
static void say_why(char why[ROTATE_WHY_BYTES], const char *text)
{
    size_t n = 0;

    for (; *text != '\0' && n + 1 < ROTATE_WHY_BYTES; text++) {
        char c = (unsigned char)*text < 0x20 ? ' ' : *text;
        if (c != ' ' || (n > 0 && why[n - 1] != ' '))
            why[n++] = c;
    }
    while (n > 0 && why[n - 1] == ' ')
        n--;
    why[n] = '\0';
}

/* The SQLSTATE in libpq's verbose words of a failed connection: "FATAL:  28P01: …"; there is no
 * other way to it before there is a connection.  "" without any. */
static void find_sqlstate(const char *text, char out[6])
{
    out[0] = '\0';
    for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 3, ":  ")) {
        size_t n = 0;
        while (n < 5 && (isdigit((unsigned char)at[3 + n]) || isupper((unsigned char)at[3 + n])))
            n++;
        if (n == 5 && at[8] == ':') {
            memcpy(out, at + 3, 5);
            out[5] = '\0';
            return;
        }
    }
}

/* ---- The connection ---- */

static bool wait_for(PGconn *c, PostgresPollingStatusType what, int64_t end_ns)
{
    struct pollfd p = {.fd = PQsocket(c),
                       .events = what == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    int64_t left_ms = (end_ns - time_monotonic_ns()) / 1000000;

    return left_ms > 0 && poll(&p, 1, (int)left_ms) > 0;
}

/* PQconnectdb, but verbose from the first byte on. */
static bool connect_to(PGconn *c, int timeout_s)
{
    int64_t end_ns = time_monotonic_ns() + (int64_t)timeout_s * 1000000000;
    PostgresPollingStatusType what = PGRES_POLLING_WRITING;

    PQsetErrorVerbosity(c, PQERRORS_VERBOSE);
    PQsetErrorContextVisibility(c, PQSHOW_CONTEXT_NEVER);
    while (what != PGRES_POLLING_OK && what != PGRES_POLLING_FAILED) {
        if (!wait_for(c, what, end_ns))
            return false;
        what = PQconnectPoll(c);
    }
    return what == PGRES_POLLING_OK;
}

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg, (void)result;
}

static PGconn *begin(const struct rotate_db_options *o, const struct rotation_login *login)
{
    char host[256], port[8], user[64], dbname[64];
    char *password = strndup(login->password.data, login->password.len);

    if (password == NULL)
        return NULL;
    snprintf(host, sizeof host, "%.*s", VIEW_ARG(login->host));
    snprintf(port, sizeof port, "%u", login->port);
    snprintf(user, sizeof user, "%.*s", VIEW_ARG(login->username));
    snprintf(dbname, sizeof dbname, "%.*s", VIEW_ARG(login->dbname));
    /* A file below one that is no folder is not there: no certificate of the user's home. */
    const char *const names[] = {
        "host", "port", "user", "dbname", "password", "sslmode", "sslrootcert", "passfile",
        "gssencmode", "sslcert", "sslkey", "sslcrl", "application_name", "client_encoding",
        "keepalives_idle", "tcp_user_timeout", NULL};
    const char *const values[] = {
        host, port, user, dbname, password, "verify-full", o->roots_file, "/dev/null",
        "disable", "/dev/null/none", "/dev/null/none", "/dev/null/none", "sallyport rotate", "UTF8",
        "10", "30000", NULL};
    PGconn *c = PQconnectStartParams(names, values, 0);
    explicit_bzero(password, login->password.len);
    free(password);
    return c;
}

static PGresult *run(PGconn *c, const char *sql, char why[ROTATE_WHY_BYTES])
{
    PGresult *r = PQexec(c, sql);

    if (PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    say_why(why, PQerrorMessage(c));
    PQclear(r);
    return NULL;
}

static bool command(PGconn *c, const char *sql, char why[ROTATE_WHY_BYTES])
{
    PGresult *r = run(c, sql, why);

    PQclear(r);
    return r != NULL;
}

static PGconn *of(struct pg_conn *c)
{
    return (PGconn *)(void *)c;
}

enum rotation_answer rotate_db_open(const struct rotate_db_options *o,
                                    const struct rotation_login *login, struct pg_conn **out,
                                    char why[ROTATE_WHY_BYTES])
{
    char sqlstate[6], sql[160];
    PGconn *c = begin(o, login);

    *out = NULL;
    if (c == NULL || PQstatus(c) == CONNECTION_BAD || !connect_to(c, o->connect_timeout_s)) {
        const char *text = c == NULL ? "out of memory" : PQerrorMessage(c);
        find_sqlstate(text, sqlstate);
        say_why(why, text[0] != '\0' ? text : "no connection within the time limit");
        PQfinish(c);
        return strncmp(sqlstate, "28", 2) == 0 ? ROTATION_NO : ROTATION_UNKNOWN;
    }
    PQsetNoticeReceiver(c, ignore_notice, NULL);
    PQsetErrorVerbosity(c, PQERRORS_DEFAULT);
    snprintf(sql, sizeof sql,
             "set search_path = ''; set statement_timeout = %d; set lock_timeout = %d",
             o->statement_timeout_s * 1000, o->lock_timeout_s * 1000);
    /* verify-full is libpq's word; that TLS is in use is looked at all the same. */
    if (!PQsslInUse(c)) {
        say_why(why, "the connection is not encrypted");
    } else if (command(c, sql, why)) {
        *out = (struct pg_conn *)(void *)c;
        return ROTATION_YES;
    }
    PQfinish(c);
    return ROTATION_UNKNOWN;
}

void rotate_db_close(struct pg_conn *c)
{
    PQfinish(of(c)); /* libpq wipes the password that it holds */
}

bool rotate_db_lock(struct pg_conn *c, struct view secret_arn, char why[ROTATE_WHY_BYTES])
{
    struct sha256 h = {0};
    uint8_t digest[SHA256_BYTES];
    uint64_t key = 0;
    char sql[160];

    sha256_init(&h);
    sha256_add(&h, VIEW("sallyport rotate "));
    sha256_add(&h, secret_arn);
    sha256_end(&h, digest);
    sha256_clear(&h);
    for (size_t i = 0; i < 8; i++)
        key = key << 8 | digest[i];
    /* Waiting for the one before is no slow statement: lock_timeout alone ends it. */
    snprintf(sql, sizeof sql,
             "begin; set local statement_timeout = 0; "
             "select pg_catalog.pg_advisory_lock(%lld); commit",
             (long long)key);
    return command(of(c), sql, why);
}

bool rotate_db_test(struct pg_conn *c, const char *user, char why[ROTATE_WHY_BYTES])
{
    PGresult *r = run(of(c), "select session_user", why);
    bool good = r != NULL && PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), user) == 0;

    if (r != NULL && !good)
        say_why(why, "the login became another user");
    PQclear(r);
    return good;
}

/* ---- Passwords and users ---- */

/* "KEYWORDS user PASSWORD 'verifier'": the name quoted, the password hashed here. */
static bool with_password(PGconn *c, const char *keywords, const char *user, const char *password,
                          char why[ROTATE_WHY_BYTES])
{
    char sql[1024];
    char *name = PQescapeIdentifier(c, user, strlen(user));
    char *verifier = PQencryptPasswordConn(c, password, user, "scram-sha-256");
    char *literal = verifier == NULL ? NULL : PQescapeLiteral(c, verifier, strlen(verifier));
    bool good = false;

    if (name == NULL || literal == NULL)
        say_why(why, PQerrorMessage(c));
    else if ((size_t)snprintf(sql, sizeof sql, "%s %s PASSWORD %s", keywords, name, literal) <
             sizeof sql)
        good = command(c, sql, why);
    PQfreemem(literal);
    PQfreemem(verifier);
    PQfreemem(name);
    return good;
}

bool rotate_db_set_password(struct pg_conn *c, const char *user, const char *password,
                            char why[ROTATE_WHY_BYTES])
{
    return with_password(of(c), "ALTER ROLE", user, password, why);
}

static PGresult *ask(PGconn *c, const char *sql, const char *original, const char *user,
                     char why[ROTATE_WHY_BYTES])
{
    const char *const values[] = {original, user};
    PGresult *r = PQexecParams(c, sql, 2, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    say_why(why, PQerrorMessage(c));
    PQclear(r);
    return NULL;
}

/* What the original is, and whether it can be copied: one row of "" or the reason.  What a role
 * owns, holds by grants, or is named by in policies (a restrictive one would not bind a copy)
 * stands in pg_shdepend; the other may have none of it either, for the secret would hand it out. */
static const char original_sql[] =
    "with held as (select refobjid as role, bool_or(deptype = 'o') as owns,"
    "  bool_or(deptype = 'a' and classid <> 'pg_catalog.pg_database'::pg_catalog.regclass)"
    "  as granted, bool_or(deptype = 'r') as named"
    "  from pg_catalog.pg_shdepend"
    "  where refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass group by 1)"
    " select case"
    " when o.oid is null then 'there is no such user'"
    " when o.rolsuper or o.rolcreaterole or o.rolreplication or o.rolbypassrls"
    "  then 'it is a superuser, or may make users, replicate or bypass row security'"
    " when u.rolsuper or u.rolcreaterole or u.rolreplication or u.rolbypassrls"
    "  then 'the other user is a superuser, or may make users, replicate or bypass row security'"
    " when ho.owns then 'it owns objects, which the other user would not'"
    " when ho.granted then 'it has rights of its own, which the other user would not: grant them"
    " to a role that it is a member of'"
    " when ho.named then 'policies of row security name it, and would not bind the other user'"
    " when hu.owns then 'the other user owns objects: is it somebody else''s?'"
    " when hu.granted then 'the other user has rights of its own: is it somebody else''s?'"
    " when hu.named then 'policies of row security name the other user: is it somebody else''s?'"
    " else '' end, u.oid is not null"
    " from (select $1::text as original, $2::text as other) as given"
    " left join pg_catalog.pg_roles o on o.rolname = given.original"
    " left join pg_catalog.pg_roles u on u.rolname = given.other"
    " left join held ho on ho.role = o.oid"
    " left join held hu on hu.role = u.oid";

/* The statements that make the other like the original, in their order. */
static const char alike_sql[] =
    "with o as (select * from pg_catalog.pg_roles where rolname = $1),"
    " u as (select * from pg_catalog.pg_roles where rolname = $2),"
    /* PostgreSQL 16 has options for each grant, and one grant for each grantor */
    " m as (select m.member, g.rolname, bool_or(m.admin_option) as admin,"
    "  bool_or((pg_catalog.to_jsonb(m)->>'inherit_option')::bool) as inherit,"
    "  bool_or((pg_catalog.to_jsonb(m)->>'set_option')::bool) as set"
    "  from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid"
    "  group by 1, 2),"
    " mo as (select m.* from m, o where m.member = o.oid),"
    " mu as (select m.* from m, u where m.member = u.oid)"
    " select sql from ("
    /* attributes */
    " select 1 as n, pg_catalog.format('ALTER ROLE %I LOGIN %s %s %s CONNECTION LIMIT %s%s',"
    " $2, case when o.rolinherit then 'INHERIT' else 'NOINHERIT' end,"
    " case when o.rolcreaterole then 'CREATEROLE' else 'NOCREATEROLE' end,"
    " case when o.rolcreatedb then 'CREATEDB' else 'NOCREATEDB' end, o.rolconnlimit,"
    " case when o.rolvaliduntil is null and not exists (select from u where rolvaliduntil is not"
    " null) then '' else pg_catalog.format(' VALID UNTIL %L',"
    " coalesce(o.rolvaliduntil, 'infinity')) end) as sql from o"
    /* memberships: what is too much, or granted otherwise, goes; what is missing comes */
    " union all select 2, pg_catalog.format('REVOKE %I FROM %I', mu.rolname, $2) from mu"
    " where not exists (select from mo where mo.rolname = mu.rolname"
    "  and mo.admin is not distinct from mu.admin and mo.set is not distinct from mu.set"
    "  and mo.inherit is not distinct from mu.inherit)"
    " union all select 3, pg_catalog.format('GRANT %I TO %I%s', mo.rolname, $2,"
    " case when mo.set is not null then pg_catalog.format(' WITH ADMIN %s, INHERIT %s, SET %s',"
    "  mo.admin, mo.inherit, mo.set) when mo.admin then ' WITH ADMIN OPTION' else '' end) from mo"
    " where not exists (select from mu where mo.rolname = mu.rolname"
    "  and mo.admin is not distinct from mu.admin and mo.set is not distinct from mu.set"
    "  and mo.inherit is not distinct from mu.inherit)"
    /* rights on databases, CONNECT above all */
    " union all select 4, pg_catalog.format('REVOKE %s ON DATABASE %I FROM %I', a.privilege_type,"
    " d.datname, $2) from u, pg_catalog.pg_database d,"
    " lateral pg_catalog.aclexplode(d.datacl) a where a.grantee = u.oid and (a.is_grantable or"
    "  not exists (select from o, lateral pg_catalog.aclexplode(d.datacl) x"
    "   where x.grantee = o.oid and x.privilege_type = a.privilege_type))"
    " union all select 5, pg_catalog.format('GRANT %s ON DATABASE %I TO %I', a.privilege_type,"
    " d.datname, $2) from o, pg_catalog.pg_database d,"
    " lateral pg_catalog.aclexplode(d.datacl) a where a.grantee = o.oid"
    /* settings: a list that is quoted inside is taken over by set_config */
    " union all select 6, pg_catalog.format('ALTER ROLE %I %s RESET ALL', $2,"
    " case when d.oid is null then '' else pg_catalog.format('IN DATABASE %I', d.datname) end)"
    " from u join pg_catalog.pg_db_role_setting s on s.setrole = u.oid"
    " left join pg_catalog.pg_database d on d.oid = s.setdatabase"
    " union all select 7, pg_catalog.format("
    " case when x.name in ('search_path', 'temp_tablespaces', 'local_preload_libraries',"
    "  'session_preload_libraries')"
    " then 'SELECT pg_catalog.set_config(%3$L, %4$L, true); ALTER ROLE %1$I %2$s SET %3$I FROM"
    " CURRENT' else 'ALTER ROLE %1$I %2$s SET %3$I TO %4$L' end,"
    " $2, case when d.oid is null then '' else pg_catalog.format('IN DATABASE %I', d.datname) end,"
    " x.name, x.value) from o"
    " join pg_catalog.pg_db_role_setting s on s.setrole = o.oid"
    " left join pg_catalog.pg_database d on d.oid = s.setdatabase,"
    " lateral (select pg_catalog.split_part(c, '=', 1) as name,"
    "  pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) as value"
    "  from pg_catalog.unnest(s.setconfig) c) x"
    ") as statements order by n";

/* What could not be given or taken away: a grant by somebody else stays when we revoke. */
static const char different_sql[] =
    "with m as (select pg_catalog.pg_get_userbyid(member) as who,"
    "  pg_catalog.format('the membership in %s', pg_catalog.pg_get_userbyid(roleid))"
    "  || case when bool_or(admin_option) then ' with ADMIN' else '' end"
    "  || case when bool_or((pg_catalog.to_jsonb(a)->>'inherit_option')::bool) then ' with INHERIT'"
    "   else '' end"
    "  || case when bool_or((pg_catalog.to_jsonb(a)->>'set_option')::bool) then ' with SET'"
    "   else '' end as what"
    "  from pg_catalog.pg_auth_members a group by member, roleid"
    "  union all select pg_catalog.pg_get_userbyid(a.grantee),"
    "  pg_catalog.format('the right %s on the database %s', a.privilege_type, d.datname)"
    "  from pg_catalog.pg_database d, lateral pg_catalog.aclexplode(d.datacl) a"
    "  where a.grantee <> 0)"
    " select what from (select what from m where who = $1"
    "  except select what from m where who = $2) as missing"
    " union all select what from (select what from m where who = $2"
    "  except select what from m where who = $1) as extra";

bool rotate_db_look_alike(struct pg_conn *c, const char *original, const char *user, bool *there,
                          char why[ROTATE_WHY_BYTES])
{
    PGresult *r = ask(of(c), original_sql, original, user, why);
    bool good = false;

    if (r == NULL)
        return false;
    if (PQntuples(r) != 1) {
        say_why(why, "the catalog gave no answer");
    } else if (PQgetvalue(r, 0, 0)[0] != '\0') {
        snprintf(why, ROTATE_WHY_BYTES, "the user %s cannot be copied: %s", original,
                 PQgetvalue(r, 0, 0));
    } else {
        *there = PQgetvalue(r, 0, 1)[0] == 't';
        good = true;
    }
    PQclear(r);
    return good;
}

static bool run_all(PGconn *c, const char *original, const char *user, char why[ROTATE_WHY_BYTES])
{
    PGresult *r = ask(c, alike_sql, original, user, why);
    bool good = r != NULL;

    for (int i = 0; good && i < PQntuples(r); i++)
        good = command(c, PQgetvalue(r, i, 0), why);
    PQclear(r);
    return good;
}

static bool is_alike(PGconn *c, const char *original, const char *user, char why[ROTATE_WHY_BYTES])
{
    PGresult *r = ask(c, different_sql, original, user, why);
    bool good = r != NULL && PQntuples(r) == 0;

    if (r != NULL && !good)
        snprintf(why, ROTATE_WHY_BYTES,
                 "%s could not be made the same for %s as for %s",
                 PQgetvalue(r, 0, 0), user, original);
    PQclear(r);
    return good;
}

static bool make_alike(struct pg_conn *c, const char *original, const char *user,
                       const char *password, char why[ROTATE_WHY_BYTES])
{
    bool there = false;

    return rotate_db_look_alike(c, original, user, &there, why) &&
           with_password(of(c), there ? "ALTER ROLE" : "CREATE ROLE", user, password, why) &&
           run_all(of(c), original, user, why) && is_alike(of(c), original, user, why);
}

bool rotate_db_make_alike(struct pg_conn *c, const char *original, const char *user,
                          const char *password, char why[ROTATE_WHY_BYTES])
{
    char ignored[ROTATE_WHY_BYTES];

    if (!command(of(c), "begin", why))
        return false;
    if (make_alike(c, original, user, password, why))
        return command(of(c), "commit", why);
    (void)command(of(c), "rollback", ignored);
    return false;
}
