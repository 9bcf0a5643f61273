/* A visit of every node of libpg_query's tree.  Of this room alone. */
#ifndef SALLYPORT_SQL_PG_SQL_WALK_H
#define SALLYPORT_SQL_PG_SQL_WALK_H

#include "pg_query/pg_query.pb-c.h"

#include "sql_pg/sql_analysis.h"

struct sql_scope;

struct sql_walk {
    struct arena *arena;
    struct sql_function *functions;
    size_t function_count, function_room;
    struct sql_relation *relations;
    size_t relation_count, relation_room;
    const struct sql_scope *scope; /* the WITH clauses around the present place */
    unsigned depth;
    unsigned max_parameter;
    bool writes;    /* a statement that changes data, or takes row locks */
    bool into;      /* SELECT INTO */
    bool temporary; /* makes a temporary relation */
    bool concurrently;
    bool unknown_operator; /* OPERATOR(other.+) */
    bool relations_written; /* within DDL: what is named is not merely read */
    bool out_of_memory;
    bool too_deep;
};

void sql_walk_statement(struct sql_walk *w, const PgQuery__Node *statement);

#endif
