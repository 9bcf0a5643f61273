#include "database/backend_send.h"

#include "base/attr.h"
#include "pg/pg.h"

enum { TEXT_OID = 25 };

/* Every name is qualified, since the login's own search_path is in force when this is parsed. */
static const struct view prelude_sql =
    VIEW("select pg_catalog.set_config('role', $1, true),"
         " pg_catalog.set_config('request.jwt.claims', $2, true),"
         " pg_catalog.set_config('application_name', $3, true),"
         " pg_catalog.set_config('search_path', $4, true),"
         " pg_catalog.set_config('statement_timeout', $5, true),"
         " pg_catalog.set_config('transaction_read_only', $6, true)");
const struct view backend_prelude_name = VIEW("prelude");

static void add_utility(struct buf *out, struct view sql)
{
    pg_add_parse(out, VIEW(""), sql, NULL, 0);
    pg_add_bind(out, VIEW(""), VIEW(""), NULL, 0);
    pg_add_execute(out, VIEW(""), 0);
}

static void add_prelude(struct backend *b, const struct db_call *call)
{
    static const uint32_t types[] = {TEXT_OID, TEXT_OID, TEXT_OID, TEXT_OID, TEXT_OID, TEXT_OID};
    const struct db_identity *who = &call->identity;
    const struct view values[] = {who->role,        who->claims,
                                  who->application_name, who->search_path,
                                  who->statement_timeout,
                                  call->statement->read_only ? VIEW("on") : VIEW("off")};
    struct buf *out = &b->stream.out;

    if (!b->prelude_known) {
        pg_add_parse(out, backend_prelude_name, prelude_sql, types, COUNT_OF(types));
        b->prelude_known = true;
    }
    pg_add_bind(out, VIEW(""), backend_prelude_name, values, COUNT_OF(values));
    pg_add_execute(out, VIEW(""), 0);
}

/* Closes what the cache has no room for.  Stands before everything else of the call, where no
 * failure of the call can make the server skip it. */
static void make_room(struct backend *b)
{
    struct prepared *old = statement_cache_evict(&b->statements);

    if (old == NULL)
        return;
    pg_add_close(&b->stream.out, PG_STATEMENT, view_str(old->name));
    prepared_free(old);
}

static void add_statement(struct backend *b, struct db_call *call, struct prepared *p, bool parse)
{
    const struct db_statement *s = call->statement;
    struct buf *out = &b->stream.out;
    struct view name = view_str(p->name);

    if (parse)
        pg_add_parse(out, name, s->sql, s->types, s->parameter_count);
    pg_add_bind(out, VIEW(""), name, call->values, s->parameter_count);
    if (!p->described)
        pg_add_describe(out, PG_PORTAL, VIEW(""));
    /* One row more than allowed, to see that there were more. */
    pg_add_execute(out, VIEW(""), call->max_rows == 0 ? 0 : call->max_rows + 1);
}

void backend_send(struct backend *b, struct db_call *call)
{
    const struct db_statement *s = call->statement;
    struct buf *out = &b->stream.out;
    struct prepared *p = NULL;
    bool parse = false;

    if (!call->prepare_only) {
        p = statement_cache_get(&b->statements, call->identity.prepared_key);
        if (p == NULL) {
            make_room(b);
            p = statement_cache_add(&b->statements, call->identity.prepared_key);
            parse = true;
        }
        if (p == NULL) {
            buf_reserve(out, SIZE_MAX); /* out of memory: marks the output failed */
            return;
        }
        p->uses++;
    }
    call->prepared = p;
    if (call_in_transaction(call))
        add_utility(out, VIEW("begin"));
    add_prelude(b, call);
    if (p == NULL) {
        pg_add_parse(out, VIEW(""), s->sql, s->types, s->parameter_count);
        pg_add_describe(out, PG_STATEMENT, VIEW(""));
    } else {
        add_statement(b, call, p, parse);
    }
    if (call_in_transaction(call))
        add_utility(out, VIEW("commit"));
    pg_add_sync(out);
    stream_queue(&b->stream);
}
