#include "sql_pg/sql_analysis.h"

#include <pg_query.h>
#include <strings.h>

#include "sql_pg/sql_named.h"
#include "sql_pg/sql_walk.h"

const struct fault sql_too_large = {
    "sql_too_large", "the statement is too long or too deeply nested to be judged", NULL, 0};
const struct fault sql_not_text = {
    "sql_not_text", "the statement is not UTF-8, or holds a NUL byte", NULL, 0};
const struct fault sql_syntax = {"sql_syntax", "the statement is not PostgreSQL's", NULL, 0};
const struct fault sql_empty = {"sql_empty", "there is no statement", NULL, 0};
const struct fault sql_several = {"sql_several", "more than one statement", NULL, 0};
const struct fault sql_refused_transaction = {
    "sql_refused_transaction", "a route's transaction is the gateway's", NULL, 0};
const struct fault sql_refused_session = {
    "sql_refused_session", "it changes the session, which other callers share", NULL, 0};
const struct fault sql_refused_temporary = {
    "sql_refused_temporary", "what is temporary outlives the call", NULL, 0};
const struct fault sql_refused_copy = {"sql_refused_copy", "COPY is not served", NULL, 0};
const struct fault sql_refused_no_transaction = {
    "sql_refused_no_transaction", "it can't run in a transaction", NULL, 0};
const struct fault sql_refused_other = {
    "sql_refused_other", "not a statement for a route", NULL, 0};

#define CASE(name) PG_QUERY__NODE__NODE_##name

static const struct command {
    PgQuery__Node__NodeCase node;
    enum sql_kind kind;
    const char *name;
    const struct fault *refusal; /* of SQL_REFUSED */
} commands[] = {
    {CASE(SELECT_STMT), SQL_SELECT, "SELECT", NULL},
    {CASE(INSERT_STMT), SQL_INSERT, "INSERT", NULL},
    {CASE(UPDATE_STMT), SQL_UPDATE, "UPDATE", NULL},
    {CASE(DELETE_STMT), SQL_DELETE, "DELETE", NULL},
    {CASE(MERGE_STMT), SQL_MERGE, "MERGE", NULL},
    {CASE(CALL_STMT), SQL_CALL, "CALL", NULL},
    {CASE(DO_STMT), SQL_DO, "DO", NULL},
    {CASE(EXPLAIN_STMT), SQL_EXPLAIN, "EXPLAIN", NULL},
    {CASE(VARIABLE_SHOW_STMT), SQL_SHOW, "SHOW", NULL},
    {CASE(TRUNCATE_STMT), SQL_UTILITY, "TRUNCATE", NULL},
    {CASE(REFRESH_MAT_VIEW_STMT), SQL_UTILITY, "REFRESH MATERIALIZED VIEW", NULL},
    {CASE(NOTIFY_STMT), SQL_UTILITY, "NOTIFY", NULL},
    {CASE(COMMENT_STMT), SQL_UTILITY, "COMMENT", NULL},
    {CASE(VACUUM_STMT), SQL_UTILITY, "ANALYZE", NULL},
    {CASE(CREATE_STMT), SQL_UTILITY, "CREATE TABLE", NULL},
    {CASE(CREATE_TABLE_AS_STMT), SQL_UTILITY, "CREATE TABLE AS", NULL},
    {CASE(ALTER_TABLE_STMT), SQL_UTILITY, "ALTER TABLE", NULL},
    {CASE(RENAME_STMT), SQL_UTILITY, "ALTER … RENAME", NULL},
    {CASE(INDEX_STMT), SQL_UTILITY, "CREATE INDEX", NULL},
    {CASE(VIEW_STMT), SQL_UTILITY, "CREATE VIEW", NULL},
    {CASE(CREATE_SEQ_STMT), SQL_UTILITY, "CREATE SEQUENCE", NULL},
    {CASE(ALTER_SEQ_STMT), SQL_UTILITY, "ALTER SEQUENCE", NULL},
    {CASE(CREATE_SCHEMA_STMT), SQL_UTILITY, "CREATE SCHEMA", NULL},
    {CASE(DROP_STMT), SQL_UTILITY, "DROP", NULL},
    {CASE(TRANSACTION_STMT), SQL_REFUSED, "a transaction statement", &sql_refused_transaction},
    {CASE(VARIABLE_SET_STMT), SQL_REFUSED, "SET or RESET", &sql_refused_session},
    {CASE(CONSTRAINTS_SET_STMT), SQL_REFUSED, "SET CONSTRAINTS", &sql_refused_session},
    {CASE(DISCARD_STMT), SQL_REFUSED, "DISCARD", &sql_refused_session},
    {CASE(LISTEN_STMT), SQL_REFUSED, "LISTEN", &sql_refused_session},
    {CASE(UNLISTEN_STMT), SQL_REFUSED, "UNLISTEN", &sql_refused_session},
    {CASE(PREPARE_STMT), SQL_REFUSED, "PREPARE", &sql_refused_session},
    {CASE(EXECUTE_STMT), SQL_REFUSED, "EXECUTE", &sql_refused_session},
    {CASE(DEALLOCATE_STMT), SQL_REFUSED, "DEALLOCATE", &sql_refused_session},
    {CASE(DECLARE_CURSOR_STMT), SQL_REFUSED, "DECLARE", &sql_refused_session},
    {CASE(FETCH_STMT), SQL_REFUSED, "FETCH or MOVE", &sql_refused_session},
    {CASE(CLOSE_PORTAL_STMT), SQL_REFUSED, "CLOSE", &sql_refused_session},
    {CASE(LOAD_STMT), SQL_REFUSED, "LOAD", &sql_refused_session},
    {CASE(COPY_STMT), SQL_REFUSED, "COPY", &sql_refused_copy},
    {CASE(CREATEDB_STMT), SQL_REFUSED, "CREATE DATABASE", &sql_refused_no_transaction},
    {CASE(DROPDB_STMT), SQL_REFUSED, "DROP DATABASE", &sql_refused_no_transaction},
    {CASE(CREATE_TABLE_SPACE_STMT), SQL_REFUSED, "CREATE TABLESPACE", &sql_refused_no_transaction},
    {CASE(DROP_TABLE_SPACE_STMT), SQL_REFUSED, "DROP TABLESPACE", &sql_refused_no_transaction},
    {CASE(ALTER_SYSTEM_STMT), SQL_REFUSED, "ALTER SYSTEM", &sql_refused_no_transaction},
    {CASE(REINDEX_STMT), SQL_REFUSED, "REINDEX", &sql_refused_no_transaction},
    {CASE(CLUSTER_STMT), SQL_REFUSED, "CLUSTER", &sql_refused_no_transaction},
    {CASE(LOCK_STMT), SQL_REFUSED, "LOCK", &sql_refused_other},
};

static const struct command other = {0, SQL_REFUSED, "this statement", &sql_refused_other};

static const struct command *command_of(const PgQuery__Node *statement)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (commands[i].node == statement->node_case)
            return &commands[i];
    }
    return &other;
}

static uint32_t position_of(struct view sql, size_t offset)
{
    uint32_t position = 1;
    for (size_t i = 0; i < offset && i < sql.len; i++)
        position += ((unsigned char)sql.data[i] & 0xc0) != 0x80;
    return position;
}

static err refuse(struct arena *arena, struct sql_analysis *out, const struct fault *fault,
                  uint32_t position, const char *subject)
{
    out->position = position;
    if (subject != NULL)
        out->message = arena_printf(arena, "%s: %s", subject, fault->text);
    else
        out->message = view_str(fault->text);
    return out->message.data != NULL ? fail(fault) : fail(&fault_out_of_memory);
}

static err refuse_as_libpg_query(struct arena *arena, struct sql_analysis *out,
                                 const PgQueryError *error)
{
    out->position = error->cursorpos > 0 ? (uint32_t)error->cursorpos : 0;
    out->message = arena_copy(arena, view_str(error->message));
    return out->message.data != NULL ? fail(&sql_syntax) : fail(&fault_out_of_memory);
}

/* Tokens that never make a tree deeper.  A name is one; so is a word that may stand for one. */
static bool is_flat(const PgQuery__ScanToken *token)
{
    switch (token->token) {
    case PG_QUERY__TOKEN__IDENT:
    case PG_QUERY__TOKEN__ICONST:
    case PG_QUERY__TOKEN__FCONST:
    case PG_QUERY__TOKEN__SCONST:
    case PG_QUERY__TOKEN__PARAM:
    case PG_QUERY__TOKEN__ASCII_41: /* ) */
    case PG_QUERY__TOKEN__ASCII_44: /* , */
    case PG_QUERY__TOKEN__ASCII_46: /* . */
    case PG_QUERY__TOKEN__ASCII_93: /* ] */
    case PG_QUERY__TOKEN__AND:
    case PG_QUERY__TOKEN__OR:
    case PG_QUERY__TOKEN__AS:
    case PG_QUERY__TOKEN__NULL_P:
    case PG_QUERY__TOKEN__SQL_COMMENT:
    case PG_QUERY__TOKEN__C_COMMENT:
        return true;
    default:
        return false;
    }
}

static bool opens(const PgQuery__ScanToken *token)
{
    return token->token == PG_QUERY__TOKEN__ASCII_40 || token->token == PG_QUERY__TOKEN__ASCII_91 ||
           token->token == PG_QUERY__TOKEN__CASE;
}

static bool closes(const PgQuery__ScanToken *token)
{
    return token->token == PG_QUERY__TOKEN__ASCII_41 || token->token == PG_QUERY__TOKEN__ASCII_93 ||
           token->token == PG_QUERY__TOKEN__END_P;
}

/* The first token beyond a limit; NULL: within all of them. */
static const PgQuery__ScanToken *token_beyond(const PgQuery__ScanResult *scan)
{
    size_t operators = 0, nesting = 0;
    for (size_t i = 0; i < scan->n_tokens; i++) {
        const PgQuery__ScanToken *token = scan->tokens[i];
        if (i >= SQL_MAX_TOKENS)
            return token;
        if (!is_flat(token) && ++operators > SQL_MAX_OPERATORS)
            return token;
        if (opens(token) && ++nesting > SQL_MAX_NESTING)
            return token;
        if (closes(token) && nesting > 0)
            nesting--;
    }
    return NULL;
}

/* Within all limits whatever its tokens are: each has a byte, and only these bytes open anything.
 * Nearly every statement is, and counting is much cheaper than the lexer. */
static bool is_small(struct view sql)
{
    size_t openings = 0;

    if (sql.len > SQL_MAX_OPERATORS)
        return false;
    for (size_t i = 0; i < sql.len; i++)
        openings += sql.data[i] == '(' || sql.data[i] == '[' ||
                    (sql.len - i >= 4 && strncasecmp(sql.data + i, "case", 4) == 0);
    return openings <= SQL_MAX_NESTING;
}

/* The lexer does not recurse, so it may see what the parser must not. */
static err check_size(struct arena *arena, struct view sql, struct sql_analysis *out)
{
    PgQueryScanResult result = pg_query_scan(sql.data);
    err e = OK;
    if (result.error != NULL) {
        e = refuse_as_libpg_query(arena, out, result.error);
    } else {
        PgQuery__ScanResult *scan = pg_query__scan_result__unpack(
            NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
        const PgQuery__ScanToken *beyond = scan != NULL ? token_beyond(scan) : NULL;
        if (scan == NULL)
            e = fail(&fault_out_of_memory);
        else if (beyond != NULL)
            e = refuse(arena, out, &sql_too_large,
                       position_of(sql, beyond->start > 0 ? (size_t)beyond->start : 0), NULL);
        if (scan != NULL)
            pg_query__scan_result__free_unpacked(scan, NULL);
    }
    pg_query_free_scan_result(result);
    return e;
}

/* Where a statement's own text begins: what libpg_query gives counts the blanks before it. */
static uint32_t statement_position(struct view sql, const PgQuery__RawStmt *statement)
{
    size_t at = statement->stmt_location > 0 ? (size_t)statement->stmt_location : 0;
    while (at < sql.len && strchr(" \t\r\n\f", sql.data[at]) != NULL)
        at++;
    return position_of(sql, at);
}

static void judge(struct sql_analysis *out, const struct sql_walk *w)
{
    const enum sql_kind kind = out->kind;
    out->implicit_safe = kind == SQL_SELECT || kind == SQL_VALUES || kind == SQL_INSERT ||
                         kind == SQL_UPDATE || kind == SQL_DELETE || kind == SQL_MERGE;
    const bool transparent = out->implicit_safe || kind == SQL_EXPLAIN || kind == SQL_SHOW;
    out->reads_only = transparent && !w->writes;
    out->only_known_functions = transparent && !w->unknown_operator;
    for (size_t i = 0; i < w->function_count; i++)
        out->only_known_functions &= w->functions[i].known;
    out->leaves_no_trace = out->implicit_safe && out->only_known_functions;
    out->functions = w->functions;
    out->function_count = w->function_count;
    out->relations = w->relations;
    out->relation_count = w->relation_count;
    out->max_parameter = w->max_parameter;
}

/* EXPLAIN runs and plans only what a route could hold as well. */
static const struct command *explained(const PgQuery__Node *statement)
{
    if (statement->node_case != CASE(EXPLAIN_STMT) || statement->explain_stmt->query == NULL)
        return NULL;
    return command_of(statement->explain_stmt->query);
}

/* What makes a statement unfit that by its kind would be allowed. */
static const struct fault *refusal_of(const PgQuery__Node *statement, const struct command *command,
                                      const struct sql_walk *w)
{
    const struct command *inner = explained(statement);
    if (command->refusal != NULL)
        return command->refusal;
    if (inner != NULL && inner->refusal != NULL)
        return inner->refusal;
    if (inner != NULL && inner->kind > SQL_MERGE)
        return &sql_refused_other;
    if (w->temporary)
        return &sql_refused_temporary;
    if (w->concurrently ||
        (statement->node_case == CASE(VACUUM_STMT) && statement->vacuum_stmt->is_vacuumcmd))
        return &sql_refused_no_transaction;
    return NULL;
}

static err analyse_statement(struct arena *arena, struct view sql,
                             const PgQuery__RawStmt *raw, struct sql_analysis *out)
{
    const struct command *command = command_of(raw->stmt);
    struct sql_walk w = {.arena = arena, .relations_written = command->kind == SQL_UTILITY};
    sql_walk_statement(&w, raw->stmt);
    if (w.out_of_memory)
        return fail(&fault_out_of_memory);
    if (w.too_deep)
        return refuse(arena, out, &sql_too_large, 1, NULL);

    out->kind = command->kind;
    out->command = command->name;
    if (raw->stmt->node_case == CASE(SELECT_STMT) && raw->stmt->select_stmt->n_values_lists > 0) {
        out->kind = SQL_VALUES;
        out->command = "VALUES";
    } else if (w.into) {
        out->kind = SQL_UTILITY;
        out->command = "SELECT INTO";
    } else if (raw->stmt->node_case == CASE(VACUUM_STMT) && raw->stmt->vacuum_stmt->is_vacuumcmd) {
        out->command = "VACUUM";
    }
    const struct fault *refusal = refusal_of(raw->stmt, command, &w);
    if (refusal != NULL)
        out->kind = SQL_REFUSED;
    judge(out, &w);
    if (refusal != NULL)
        return refuse(arena, out, refusal, statement_position(sql, raw), out->command);
    return OK;
}

static err analyse_tree(struct arena *arena, struct view sql, const PgQuery__ParseResult *tree,
                        struct sql_analysis *out)
{
    if (tree->n_stmts == 0 || tree->stmts[0]->stmt == NULL)
        return refuse(arena, out, &sql_empty, 1, NULL);
    if (tree->n_stmts > 1)
        return refuse(arena, out, &sql_several, statement_position(sql, tree->stmts[1]), NULL);
    return analyse_statement(arena, sql, tree->stmts[0], out);
}

/* The tree goes with its arena: to free it message by message costs as much as to read it. */
static void *tree_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void tree_free(void *arena, void *at)
{
    (void)arena;
    (void)at;
}

enum { TREE_BLOCK_BYTES = 32 << 10, TREE_MAX_BYTES = 256 << 20 };

static err analyse_packed(struct arena *arena, struct view sql, PgQueryProtobuf packed,
                          struct sql_analysis *out)
{
    struct arena trees;

    arena_init(&trees, TREE_BLOCK_BYTES, TREE_MAX_BYTES);
    ProtobufCAllocator from_arena = {tree_alloc, tree_free, &trees};
    PgQuery__ParseResult *tree = pg_query__parse_result__unpack(&from_arena, packed.len,
                                                                (const uint8_t *)packed.data);
    err e = tree != NULL ? analyse_tree(arena, sql, tree, out) : fail(&fault_out_of_memory);
    arena_clear(&trees);
    return e;
}

err sql_analyse(struct arena *arena, struct view sql, struct sql_analysis *out)
{
    *out = (struct sql_analysis){.kind = SQL_REFUSED, .command = "unknown"};
    if (sql.len > SQL_TEXT_MAX_BYTES)
        return refuse(arena, out, &sql_too_large, 0, NULL);
    if (view_find(sql, '\0') < sql.len || !view_is_utf8(sql))
        return refuse(arena, out, &sql_not_text, 0, NULL);
    const struct view text = arena_copy(arena, sql); /* libpg_query wants a NUL at its end */
    if (text.data == NULL)
        return fail(&fault_out_of_memory);
    if (!is_small(text))
        TRY(check_size(arena, text, out));

    PgQueryProtobufParseResult result = pg_query_parse_protobuf(text.data);
    err e = result.error != NULL ? refuse_as_libpg_query(arena, out, result.error)
                                 : analyse_packed(arena, text, result.parse_tree, out);
    pg_query_free_protobuf_parse_result(result);
    return e;
}
