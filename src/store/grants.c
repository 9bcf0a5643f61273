/* What a login that may not read or write the tables has to be granted. */
#include <stdio.h>
#include <string.h>

#include "store/store_internal.h"

/* insufficient_privilege ("PostgreSQL Error Codes"). */
static bool is_denied(err e, const struct store_why *why)
{
    return is_fault(e, &store_failed) && strcmp(why->sqlstate, "42501") == 0;
}

static const char find_owner[] =
    "select quote_ident(current_schema()), quote_ident(session_user),"
    " coalesce(string_agg(distinct quote_ident(tableowner), ', '), '')"
    " from pg_tables where schemaname = current_schema() and tablename like 'sallyport\\_%'";

static void add_reading(struct store_why *why, struct view schema, struct view user,
                        struct view owner)
{
    size_t used = strlen(why->text);

    snprintf(why->text + used, sizeof why->text - used,
             "; have the tables' owner, %.*s, run: grant usage on schema %.*s to %.*s; grant "
             "select on all tables in schema %.*s to %.*s",
             VIEW_ARG(owner), VIEW_ARG(schema), VIEW_ARG(user), VIEW_ARG(schema), VIEW_ARG(user));
}

static void add_writing(struct store_why *why, struct view schema, struct view user,
                        struct view owner)
{
    size_t used = strlen(why->text);

    snprintf(why->text + used, sizeof why->text - used,
             "; the tables belong to %.*s: the login of pg_user has to own them, or be granted "
             "their owner: grant %.*s to %.*s; for imports alone: grant usage on schema %.*s to "
             "%.*s; grant select, insert, update, delete on all tables in schema %.*s to %.*s",
             VIEW_ARG(owner), VIEW_ARG(owner), VIEW_ARG(user), VIEW_ARG(schema), VIEW_ARG(user),
             VIEW_ARG(schema), VIEW_ARG(user));
}

err store_explain_denied(struct store *s, bool writes, err e, struct store_why *why)
{
    struct store_why unheard;
    struct store_rows rows;

    if (!is_denied(e, why) || failed(store_run(s, find_owner, NULL, 0, &rows, &unheard)))
        return e;
    struct view schema = store_cell(&rows, 0, 0), user = store_cell(&rows, 0, 1);
    struct view owner = store_cell(&rows, 0, 2);
    if (schema.len > 0 && owner.len > 0)
        (writes ? add_writing : add_reading)(why, schema, user, owner);
    store_rows_clear(&rows);
    return e;
}

/* A schema of the search_path that may not be used is none to current_schema(). */
static const char find_barred[] =
    "select quote_ident(n.nspname), quote_ident(session_user) from pg_namespace n"
    " where current_schema() is null and not has_schema_privilege(n.oid, 'USAGE')"
    " and replace(quote_ident(n.nspname), ' ', '') ="
    " any (string_to_array(replace(current_setting('search_path'), ' ', ''), ',')) limit 1";

err store_check_usage(struct store *s, struct store_why *why)
{
    struct store_rows rows;

    TRY(store_run(s, find_barred, NULL, 0, &rows, why));
    bool barred = rows.count > 0;
    if (barred)
        snprintf(why->text, sizeof why->text,
                 "permission denied for schema %.*s; have its owner run: grant usage on schema "
                 "%.*s to %.*s",
                 VIEW_ARG(store_cell(&rows, 0, 0)), VIEW_ARG(store_cell(&rows, 0, 0)),
                 VIEW_ARG(store_cell(&rows, 0, 1)));
    store_rows_clear(&rows);
    return barred ? fail(&store_failed) : OK;
}
