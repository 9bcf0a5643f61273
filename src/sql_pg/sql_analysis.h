/*
 * What a statement is, by PostgreSQL's own parser (libpg_query, the grammar of PostgreSQL 15): one
 * statement or several, how it must be framed, what it may leave behind on the connection, which
 * functions it calls and which tables it names.
 *
 * What it can't see, since a parser knows no catalog: what a function, an operator, a cast, a view,
 * a trigger, a rule or a policy does.  An operator or a cast may be a user's own.  An unqualified
 * function is looked up with pg_catalog first, but an overload in another schema of the search_path
 * wins when its argument types fit better; so `only_known_functions` is certain only when the
 * search_path holds no schema in which an untrusted role may create, or the names are qualified
 * with pg_catalog.  And syntax newer than PostgreSQL 15 is a syntax error here.
 *
 * Pure; any thread.  libpg_query keeps memory per thread, and frees it when the thread ends.  It
 * recurses: the limits below hold its stack under 2 MiB (measured: `- - - … a`); call from threads
 * that have 4 MiB or more.
 */
#ifndef SALLYPORT_SQL_PG_SQL_ANALYSIS_H
#define SALLYPORT_SQL_PG_SQL_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

extern const struct fault sql_too_large;    /* text, tokens or nesting: nothing is known of it */
extern const struct fault sql_not_text;     /* not UTF-8, or a NUL byte */
extern const struct fault sql_syntax;       /* libpg_query's message and position */
extern const struct fault sql_empty;        /* no statement */
extern const struct fault sql_several;      /* more than one; position is the second's */
/* Statements that no route may hold.  The analysis is filled nevertheless. */
/* BEGIN, COMMIT, ROLLBACK, SAVEPOINT, PREPARE TRANSACTION, … */
extern const struct fault sql_refused_transaction;
/* SET (LOCAL too), RESET, DISCARD, LISTEN, PREPARE, EXECUTE, DECLARE, FETCH, LOAD, … */
extern const struct fault sql_refused_session;
/* Temporary tables, views and sequences: they outlive the transaction. */
extern const struct fault sql_refused_temporary;
/* COPY: another sub-protocol. */
extern const struct fault sql_refused_copy;
/* VACUUM, CREATE DATABASE, … CONCURRENTLY: in a transaction they fail with 25001. */
extern const struct fault sql_refused_no_transaction;
/* Not on the list of what a route may hold: LOCK (it ends with the call), GRANT, CREATE ROLE, … */
extern const struct fault sql_refused_other;

enum {
    SQL_MAX_TOKENS = 4096,
    SQL_MAX_OPERATORS = 1024, /* tokens that are no name, literal, comma, point, AND, OR or AS: each
                               * may be a level of the tree */
    SQL_MAX_NESTING = 64,     /* parentheses, brackets and CASE within each other */
};

enum sql_kind {
    SQL_SELECT, /* also TABLE */
    SQL_VALUES,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_MERGE,
    SQL_CALL,
    SQL_DO,
    SQL_EXPLAIN,
    SQL_SHOW,
    SQL_UTILITY, /* what else is allowed: TRUNCATE, REFRESH, NOTIFY, ANALYZE, COMMENT, SELECT INTO,
                  * CREATE, ALTER, DROP of tables, indexes, views, sequences and schemas */
    SQL_REFUSED,
};

struct sql_function {
    struct view schema; /* absent: unqualified */
    struct view name;
    bool known; /* on the list of harmless built-ins, and not of another schema */
};

struct sql_relation {
    struct view schema; /* absent: unqualified */
    struct view name;
    bool read;    /* also the target of UPDATE, DELETE, MERGE, ON CONFLICT, RETURNING */
    bool written; /* by INSERT, UPDATE, DELETE, MERGE, TRUNCATE; or named in DDL */
};

struct sql_analysis {
    enum sql_kind kind;
    const char *command; /* "SELECT", "CREATE TABLE", …; static */
    /* SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE: prelude; statement; Sync.  Everything else
     * must stand between an explicit begin and commit, or COMMIT inside it would shed the role. */
    bool implicit_safe;
    /* No INSERT, UPDATE, DELETE, MERGE, SELECT INTO or FOR UPDATE/SHARE anywhere in it.  Says
     * nothing about functions: see only_known_functions. */
    bool reads_only;
    bool only_known_functions;
    /* May a connection that ran this be used for another caller as it is, without a reset?  True
     * when implicit_safe and only_known_functions. */
    bool leaves_no_trace;
    unsigned max_parameter; /* the highest $n; 0: none */
    const struct sql_function *functions; /* each once */
    size_t function_count;
    const struct sql_relation *relations; /* each once; CTEs are not relations */
    size_t relation_count;
    /* Of a fault: */
    struct view message;  /* libpg_query's, or ours */
    uint32_t position;    /* 1-based, in characters; 0: none.  For sql_named_place. */
};

/* Texts of *out live in the arena.  Every fault above leaves out->message and out->position set. */
err sql_analyse(struct arena *arena, struct view sql, struct sql_analysis *out) MUST_USE;

/* Whether the unqualified or pg_catalog function of that name is on the list. */
bool sql_function_is_known(struct view name);

#endif
