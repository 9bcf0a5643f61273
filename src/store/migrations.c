#include "store/migrations.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/log.h"

const struct fault store_may_not_create = {
    "store_may_not_create", "the login may not make tables in the schema", NULL, 0};
const struct fault store_not_bootstrapped = {
    "store_not_bootstrapped",
    "the database needs bootstrapping: run 'sallyport migrations bootstrap'", NULL, 0};
const struct fault store_pending = {
    "store_pending", "migrations are pending: run 'sallyport migrations finish'", NULL, 0};
const struct fault store_behind = {
    "store_behind", "new migrations are available: run 'sallyport migrations up'", NULL, 0};
const struct fault store_newer = {
    "store_newer", "the tables were made by a newer version of sallyport", NULL, 0};

static size_t index_of(struct view name)
{
    size_t i = 0;
    while (i < store_migration_count && !view_is(name, store_migrations[i].name))
        i++;
    return i;
}

static void take_row(const struct store_rows *rows, size_t row, struct migrations_status *out)
{
    struct view name = store_cell(rows, row, 0);
    size_t at = index_of(name);

    if (at == store_migration_count) {
        snprintf(out->unknown, sizeof out->unknown, "%.*s", VIEW_ARG(name));
        return;
    }
    bool finished = store_cell(rows, row, 1).data != NULL;
    out->states[at] = (struct migration_state){true, !finished};
    out->pending += !finished;
}

err migrations_read(struct store *s, struct migrations_status *out, struct store_why *why)
{
    struct store_rows rows;

    ENSURE(store_migration_count <= MIGRATIONS_MAX);
    *out = (struct migrations_status){.missing = store_migration_count};
    /* Not to_regclass of the bare name: that would find the table of another schema, too. */
    TRY(store_run(s,
                  "select 1 from pg_tables where schemaname = current_schema()"
                  " and tablename = 'sallyport_migrations'",
                  NULL, 0, &rows, why));
    out->bootstrapped = rows.count > 0;
    store_rows_clear(&rows);
    if (!out->bootstrapped)
        return OK;
    TRY(store_run(s, "select name, finished_at from sallyport_migrations order by name", NULL, 0,
                  &rows, why));
    for (size_t i = 0; i < rows.count; i++)
        take_row(&rows, i, out);
    store_rows_clear(&rows);
    for (size_t i = 0; i < store_migration_count; i++)
        out->missing -= out->states[i].executed;
    return OK;
}

err migrations_usable(const struct migrations_status *status, struct store_why *why)
{
    *why = (struct store_why){""};
    if (!status->bootstrapped)
        return fail(&store_not_bootstrapped);
    if (status->unknown[0] != '\0') {
        snprintf(why->text, sizeof why->text, "this version does not know the migration %s",
                 status->unknown);
        return fail(&store_newer);
    }
    return status->missing > 0 ? fail(&store_behind) : OK;
}

/* ---- What changes tables ---- */

/* PostgreSQL 15 lets only the owner create in public: the first thing that a new login meets. */
static err check_create(struct store *s, struct store_why *why)
{
    struct store_rows rows;

    TRY(store_run(s,
                  "select current_schema(), quote_ident(current_schema()),"
                  " quote_ident(session_user),"
                  " has_schema_privilege(current_schema(), 'CREATE'),"
                  " current_setting('search_path')",
                  NULL, 0, &rows, why));
    struct view schema = store_cell(&rows, 0, 0);
    bool may = view_is(store_cell(&rows, 0, 3), "t");
    if (schema.data == NULL)
        snprintf(why->text, sizeof why->text,
                 "the search_path is %.*s, and no schema of it exists; have one made: "
                 "create schema %.*s authorization %.*s",
                 VIEW_ARG(store_cell(&rows, 0, 4)), VIEW_ARG(store_cell(&rows, 0, 4)),
                 VIEW_ARG(store_cell(&rows, 0, 2)));
    else if (!may)
        snprintf(why->text, sizeof why->text,
                 "have the schema's owner run: grant create, usage on schema %.*s to %.*s",
                 VIEW_ARG(store_cell(&rows, 0, 1)), VIEW_ARG(store_cell(&rows, 0, 2)));
    store_rows_clear(&rows);
    if (schema.data == NULL)
        return fail(&store_no_schema);
    return may ? OK : fail(&store_may_not_create);
}

static err set_finished(struct store *s, struct view name, struct store_why *why)
{
    return store_run(s, "update sallyport_migrations set finished_at = now() where name = $1",
                     &name, 1, NULL, why);
}

static err run_missing(struct store *s, const struct migrations_status *status, size_t *done,
                       struct store_why *why)
{
    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration *m = &store_migrations[i];
        struct view name = view_str(m->name);
        if (status->states[i].executed)
            continue;
        TRY(store_script(s, m->up, why));
        TRY(store_run(s, "insert into sallyport_migrations (name) values ($1)", &name, 1, NULL,
                      why));
        if (m->finish == NULL)
            TRY(set_finished(s, name, why));
        (*done)++;
    }
    return OK;
}

static err finish_pending(struct store *s, const struct migrations_status *status, size_t *done,
                          struct store_why *why)
{
    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration *m = &store_migrations[i];
        struct view name = view_str(m->name);
        if (!status->states[i].pending)
            continue;
        if (m->finish != NULL)
            TRY(store_script(s, m->finish, why));
        TRY(set_finished(s, name, why));
        (*done)++;
    }
    return OK;
}

/* Under the lock: what another process did meanwhile is seen. */
static err begin_and_read(struct store *s, int64_t lock_wait_ms, struct migrations_status *status,
                          struct store_why *why)
{
    TRY(store_begin(s, lock_wait_ms, why));
    TRY(migrations_read(s, status, why));
    return status->unknown[0] == '\0' ? OK : migrations_usable(status, why);
}

static err end(struct store *s, err e, struct store_why *why)
{
    if (!failed(e))
        return store_commit(s, why);
    if (!is_fault(e, &store_locked) && !is_fault(e, &store_lost))
        store_rollback(s);
    return e;
}

static err bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    if (status.bootstrapped)
        return OK;
    TRY(check_create(s, why));
    return run_missing(s, &status, done, why);
}

err migrations_bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    *done = 0;
    return end(s, bootstrap(s, lock_wait_ms, done, why), why);
}

static err up(struct store *s, int64_t lock_wait_ms, bool force, size_t *done,
              struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    if (status.pending > 0 && !force)
        return fail(&store_pending);
    if (status.missing > 0)
        TRY(check_create(s, why));
    return run_missing(s, &status, done, why);
}

err migrations_up(struct store *s, int64_t lock_wait_ms, bool force, size_t *done,
                  struct store_why *why)
{
    *done = 0;
    return end(s, up(s, lock_wait_ms, force, done, why), why);
}

static err finish(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    return finish_pending(s, &status, done, why);
}

err migrations_finish(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    *done = 0;
    return end(s, finish(s, lock_wait_ms, done, why), why);
}

static const char drop_all[] =
    "drop table if exists sallyport_revisions, sallyport_role_issuers, sallyport_role_routes,\n"
    "    sallyport_role_services, sallyport_roles, sallyport_routes, sallyport_services,\n"
    "    sallyport_issuers, sallyport_vaults, sallyport_migrations;\n"
    "drop function if exists sallyport_tell_nodes();\n";

static err reset(struct store *s, int64_t lock_wait_ms, struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    return store_script(s, drop_all, why);
}

err migrations_reset(struct store *s, int64_t lock_wait_ms, struct store_why *why)
{
    return end(s, reset(s, lock_wait_ms, why), why);
}
