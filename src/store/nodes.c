#include "store/nodes.h"

#include <stdio.h>

enum { NUMBER_BYTES = 32 };

#define COLUMNS                                                                                    \
    "id, share, (extract(epoch from share_since) * 1000000)::bigint,"                              \
    " (extract(epoch from seen_at) * 1000000)::bigint,"                                            \
    " coalesce(leaves_at <= clock_timestamp(), false)"

static int64_t number(struct view v)
{
    uint64_t n = 0;

    return view_to_u64(v, INT64_MAX, &n) ? (int64_t)n : 0;
}

err nodes_join(struct store *s, const struct node_self *self, int64_t *share,
               struct store_why *why)
{
    struct store_rows rows;
    const struct view parameters[] = {view_str(self->id), view_str(self->boot), self->name,
                                      self->version};

    TRY(store_run(s,
                  "insert into sallyport_nodes (id, boot, name, version)"
                  " values ($1::uuid, $2::uuid, $3, $4)"
                  " on conflict (id) do update set boot = excluded.boot, name = excluded.name,"
                  " version = excluded.version, started_at = clock_timestamp(),"
                  " seen_at = clock_timestamp(), leaves_at = null returning share",
                  parameters, 4, &rows, why));
    *share = rows.count > 0 ? number(store_cell(&rows, 0, 0)) : 0;
    store_rows_clear(&rows);
    return OK;
}

static void take_row(const struct store_rows *rows, size_t i, struct login_row *out)
{
    snprintf(out->id, sizeof out->id, "%.*s", VIEW_ARG(store_cell(rows, i, 0)));
    out->share = number(store_cell(rows, i, 1));
    out->since = number(store_cell(rows, i, 2));
    out->seen = number(store_cell(rows, i, 3));
    out->left = view_is(store_cell(rows, i, 4), "t");
}

static err read_rows(struct store *s, const char *sql, struct login_row *out, size_t *count,
                     struct store_why *why)
{
    struct store_rows rows;

    TRY(store_run(s, sql, NULL, 0, &rows, why));
    *count = rows.count <= LOGIN_NODES_MAX ? rows.count : LOGIN_NODES_MAX + 1;
    for (size_t i = 0; i < *count; i++)
        take_row(&rows, i, &out[i]);
    store_rows_clear(&rows);
    return OK;
}

err nodes_read(struct store *s, struct login_row *rows, size_t *count, struct store_why *why)
{
    return read_rows(s, "select " COLUMNS " from sallyport_nodes limit 1001", rows, count, why);
}

err nodes_read_locked(struct store *s, struct login_row *rows, size_t *count,
                      struct store_why *why)
{
    /* Whose renewal waits here finds its row gone when it is deleted, and comes anew. */
    return read_rows(s, "select " COLUMNS " from sallyport_nodes limit 1001 for update", rows,
                     count, why);
}

err nodes_renew(struct store *s, const struct node_self *self, int64_t share,
                double logins_per_second, bool *found, struct store_why *why)
{
    char share_text[NUMBER_BYTES], rate_text[NUMBER_BYTES];
    struct store_rows rows;

    snprintf(share_text, sizeof share_text, "%lld", (long long)share);
    snprintf(rate_text, sizeof rate_text, "%.1f", logins_per_second);
    const struct view parameters[] = {view_str(self->id), view_str(self->boot),
                                      view_str(share_text), view_str(rate_text)};
    TRY(store_run(s,
                  "update sallyport_nodes set seen_at = clock_timestamp(),"
                  " share_since = case when share = $3::integer then share_since"
                  " else clock_timestamp() end,"
                  " share = $3::integer, logins_per_second = $4::real"
                  " where id = $1::uuid and boot = $2::uuid returning 1",
                  parameters, 4, &rows, why));
    *found = rows.count > 0;
    store_rows_clear(&rows);
    return OK;
}

err nodes_delete(struct store *s, const struct login_row *row, struct store_why *why)
{
    char seen[NUMBER_BYTES];

    snprintf(seen, sizeof seen, "%lld", (long long)row->seen);
    const struct view parameters[] = {view_str(row->id), view_str(seen)};
    return store_run(s,
                     "delete from sallyport_nodes where id = $1::uuid"
                     " and (extract(epoch from seen_at) * 1000000)::bigint = $2::bigint",
                     parameters, 2, NULL, why);
}

/*
 * "SALQ", and the schema.  Not the lock of imports: those may take long.  A node that dies within
 * is soon not waited for.  Whatever the login's default is: a snapshot of before the lock would
 * hide rows that whoever held it has raised.
 */
static const char lock_sql[] =
    "begin isolation level read committed; set local lock_timeout = 500;"
    " set local idle_in_transaction_session_timeout = 1500;"
    " select pg_advisory_xact_lock(1396788305, hashtext(current_schema()))";

err nodes_lock(struct store *s, struct store_why *why)
{
    err e = store_script(s, lock_sql, why);

    /* The connection goes on: a transaction left open on it would hear of nothing any more. */
    if (failed(e) && !is_fault(e, &store_lost))
        store_rollback(s);
    bool locked = strcmp(why->sqlstate, "55P03") == 0; /* lock_not_available */
    return locked ? fail(&store_locked) : e;
}

err nodes_leave(struct store *s, const struct node_self *self, int64_t after_ms,
                struct store_why *why)
{
    char after[NUMBER_BYTES];

    snprintf(after, sizeof after, "%lld", (long long)after_ms);
    const struct view parameters[] = {view_str(self->id), view_str(self->boot), view_str(after)};
    if (after_ms <= 0)
        return store_run(s, "delete from sallyport_nodes where id = $1::uuid and boot = $2::uuid",
                         parameters, 2, NULL, why);
    return store_run(s,
                     "update sallyport_nodes set leaves_at = clock_timestamp()"
                     " + $3::integer * interval '1 millisecond'"
                     " where id = $1::uuid and boot = $2::uuid",
                     parameters, 3, NULL, why);
}
