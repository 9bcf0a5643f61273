/*
 * The proof that a read leaves no trace in its session.  The statement's text alone does not tell:
 * a view or a row security policy may call anything.  So the catalog is asked for every rule and
 * policy that the named relations reach, and their texts are judged as the statement's was.
 *
 * What PostgreSQL itself brings (set_config, pg_advisory_lock, …) does not stand in pg_depend, so
 * it must be found in the texts; what users made does, so it need not be recognised in them.  A
 * user's function is an objection, unless it is SQL of the form RETURN expression: then its text
 * and what it depends on are judged too.
 */
#ifndef SALLYPORT_GATEWAY_PROOF_H
#define SALLYPORT_GATEWAY_PROOF_H

#include "base/arena.h"
#include "base/cell.h"
#include "database/database.h"
#include "sql_pg/sql_analysis.h"

enum { PROOF_MAX_ROWS = 1000 };

/* Its one parameter is proof_relations(); run as the role, with the route's search_path. */
extern const struct db_statement proof_question;

/* Every relation that the statement names, as the text of a text[]; absent without memory. */
struct view proof_relations(struct arena *arena, const struct sql_analysis *statement);

/* Takes the answer, on a thread with the stack that sql_analyse wants. */
struct proof {
    struct result_sink sink;
    struct arena arena;
    const struct proof_function *functions; /* users', whose own texts are among those judged */
    size_t text_bytes;
    struct view against; /* why it does not hold; absent: it holds so far; lives with the proof */
};

void proof_init(struct proof *p);
void proof_clear(struct proof *p);

#endif
