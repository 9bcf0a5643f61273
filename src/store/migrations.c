#include "store/migrations.h"

#include <stdio.h>
#include <string.h>

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

/* Those that do not fit are left out: one is enough to know. */
static void add_name(char names[static MIGRATIONS_NAMES_BYTES], struct view name)
{
    size_t used = strlen(names);

    if (used + name.len + 3 <= MIGRATIONS_NAMES_BYTES)
        snprintf(names + used, MIGRATIONS_NAMES_BYTES - used, "%s%.*s", used > 0 ? ", " : "",
                 VIEW_ARG(name));
}

static void take_row(const struct store_rows *rows, size_t row, struct migrations_status *out)
{
    struct view name = store_cell(rows, row, 0);
    bool finished = view_is(store_cell(rows, row, 1), "t");
    bool moved = view_is(store_cell(rows, row, 2), "t");
    size_t at = index_of(name);

    if (at == store_migration_count) {
        add_name(moved ? out->unknown : out->ahead, name);
        return;
    }
    out->states[at] = (struct migration_state){true, !finished};
    out->pending += !finished;
}

/*
 * A table of that name may be a stranger's who may create in the schema, too: it would say what is
 * pending, and its triggers would run as us.  Whoever migrates owns the first table, or is a
 * member of the role that does.
 */
#define OWN_LEDGER                                                                                 \
    "p.tablename = 'sallyport_migrations_pending' and pg_has_role(p.tableowner,"                   \
    " (select m.tableowner from pg_tables m where m.schemaname = p.schemaname"                     \
    " and m.tablename = 'sallyport_migrations'), 'member')"

/* Not to_regclass of the bare names: that would find the tables of another schema, too. */
static const char find_tables[] =
    "select count(*) filter (where p.tablename = 'sallyport_migrations'),"
    " count(*) filter (where " OWN_LEDGER ")"
    " from pg_tables p where p.schemaname = current_schema()";

static const char read_finished[] =
    "select name, finished_at is not null, true from sallyport_migrations order by 1";

static const char read_both[] =
    "select name, finished_at is not null, true from sallyport_migrations"
    " union all select name, false, false from sallyport_migrations_pending order by 1";

err migrations_read(struct store *s, struct migrations_status *out, struct store_why *why)
{
    struct store_rows rows;

    ENSURE(store_migration_count <= MIGRATIONS_MAX);
    *out = (struct migrations_status){.missing = store_migration_count};
    TRY(store_run(s, find_tables, NULL, 0, &rows, why));
    out->bootstrapped = view_is(store_cell(&rows, 0, 0), "1");
    bool both = view_is(store_cell(&rows, 0, 1), "1");
    store_rows_clear(&rows);
    if (!out->bootstrapped)
        return OK;
    TRY(store_run(s, both ? read_both : read_finished, NULL, 0, &rows, why));
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

bool migrations_finished(const struct migrations_status *status, const char *name)
{
    size_t at = index_of(view_str(name));

    ENSURE(at < store_migration_count);
    return status->states[at].executed && !status->states[at].pending;
}

/* Nothing is unknown, finished or pending. */
static err check_known(const struct migrations_status *status, struct store_why *why)
{
    const char *names = status->unknown[0] != '\0' ? status->unknown : status->ahead;

    if (names[0] == '\0')
        return OK;
    snprintf(why->text, sizeof why->text, "this version does not know the migration %s%s", names,
             names == status->ahead ? ", which is pending: it reads, and changes nothing" : "");
    return fail(&store_newer);
}

err migrations_may_write(struct store *s, struct migrations_status *out, struct store_why *why)
{
    char names[MIGRATIONS_MAX * 64] = "";
    size_t used = 0;

    TRY(migrations_read(s, out, why));
    if (!out->bootstrapped)
        TRY(store_check_usage(s, why));
    TRY(migrations_usable(out, why));
    TRY(check_known(out, why));
    for (size_t i = 0; i < store_migration_count; i++) {
        ENSURE(strlen(store_migrations[i].name) < 63);
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? "," : "",
                                 store_migrations[i].name);
    }
    struct view known = view_of(names, used);
    return store_run(s, "select set_config('sallyport.knows', $1, true)", &known, 1, NULL, why);
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

/*
 * The reference keeps a program that does not know this table from dropping the ones that it knows.
 * The trigger is for programs that do not look at pending migrations before they import: a hand
 * that writes rows has another application_name.
 */
static const char ledger[] =
    "do $$ begin\n"
    "    if not exists (select from pg_tables p where p.schemaname = current_schema()\n"
    "                   and " OWN_LEDGER ") then\n"
    "        create table sallyport_migrations_pending (\n"
    "            name text primary key,\n"
    "            executed_at timestamptz not null default now(),\n"
    "            after text not null references sallyport_migrations (name)\n"
    "        );\n"
    "    end if;\n"
    "end $$;\n"
    "create or replace function sallyport_refuse_older() returns trigger language plpgsql as $$\n"
    "declare\n"
    "    unknown text;\n"
    "begin\n"
    "    if current_setting('application_name') = 'sallyport' then\n"
    "        execute format('select name from %I.sallyport_migrations_pending'\n"
    "            ' where name <> all ($1) order by name', tg_table_schema) into unknown\n"
    "            using string_to_array(coalesce(current_setting('sallyport.knows', true), ''),\n"
    "                                  ',');\n"
    "        if unknown is not null then\n"
    "            raise exception 'this version does not know the migration %', unknown;\n"
    "        end if;\n"
    "    end if;\n"
    "    return new;\n"
    "end $$;\n"
    "do $$ begin\n"
    "    if not exists (select from pg_trigger where tgname = 'sallyport_refuse_older'\n"
    "                   and tgrelid = 'sallyport_revisions'::regclass) then\n"
    "        create trigger sallyport_refuse_older before insert on sallyport_revisions\n"
    "            for each row execute function sallyport_refuse_older();\n"
    "    end if;\n"
    "end $$;\n";

static const char drop_ledger[] =
    "drop table if exists sallyport_migrations_pending;\n";

/* Our tables, before new ones are made. */
static const char note_tables[] =
    "select set_config('sallyport.tables', coalesce(string_agg(t.oid::text, ','), ''), true)"
    " from pg_class m join pg_class t on t.relnamespace = m.relnamespace and t.relkind = 'r'"
    " and t.relname like 'sallyport\\_%' and pg_has_role(t.relowner, 'usage')"
    " where m.oid = 'sallyport_migrations'::regclass";

/* The read-only login reads new tables, too: whoever may select from every older one.  Nobody gains
 * anything on those. */
static const char copy_grants[] =
    "do $$ declare\n"
    "    g record;\n"
    "    older oid[] := string_to_array(current_setting('sallyport.tables'), ',')::oid[];\n"
    "begin\n"
    "    for g in select t.relname, a.grantee::regrole as who from pg_class m\n"
    "        cross join aclexplode(m.relacl) a\n"
    "        join pg_class t on t.relnamespace = m.relnamespace and t.relkind = 'r'\n"
    "            and t.relname like 'sallyport\\_%'\n"
    "        where m.oid = 'sallyport_migrations'::regclass and a.privilege_type = 'SELECT'\n"
    "            and a.grantee <> 0 and pg_has_role(t.relowner, 'usage')\n"
    "            and t.oid <> all (older)\n"
    "            and not exists (select from unnest(older) o\n"
    "                            where not has_table_privilege(a.grantee, o, 'SELECT'))\n"
    "    loop\n"
    "        execute format('grant select on %I to %s', g.relname, g.who);\n"
    "    end loop;\n"
    "end $$;\n";

static err note_pending(struct store *s, struct view name, struct store_why *why)
{
    return store_run(s,
                     "insert into sallyport_migrations_pending (name, after)"
                     " select $1, max(name) from sallyport_migrations",
                     &name, 1, NULL, why);
}

static err note_finished(struct store *s, struct view name, struct store_why *why)
{
    TRY(store_run(s,
                  "insert into sallyport_migrations (name, executed_at)"
                  " select name, executed_at from sallyport_migrations_pending where name = $1",
                  &name, 1, NULL, why));
    TRY(store_run(s, "delete from sallyport_migrations_pending where name = $1", &name, 1, NULL,
                  why));
    return store_run(s, "update sallyport_migrations set finished_at = now() where name = $1",
                     &name, 1, NULL, why);
}

static err run_ups(struct store *s, const struct migrations_status *status, size_t *done,
                   struct store_why *why)
{
    TRY(store_script(s, note_tables, why));
    for (size_t i = 0; i < store_migration_count; i++) {
        if (!status->states[i].executed)
            TRY(store_script(s, store_migrations[i].up, why));
    }
    TRY(store_script(s, ledger, why));
    for (size_t i = 0; i < store_migration_count; i++) {
        if (status->states[i].executed)
            continue;
        TRY(note_pending(s, view_str(store_migrations[i].name), why));
        (*done)++;
    }
    return store_script(s, copy_grants, why);
}

/* No node can be of an older version: nothing is left pending. */
static err run_all(struct store *s, size_t *done, struct store_why *why)
{
    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration *m = &store_migrations[i];
        struct view name = view_str(m->name);
        TRY(store_script(s, m->up, why));
        if (m->finish != NULL)
            TRY(store_script(s, m->finish, why));
        TRY(store_run(s, "insert into sallyport_migrations (name, finished_at) values ($1, now())",
                      &name, 1, NULL, why));
        (*done)++;
    }
    return store_script(s, ledger, why);
}

static err finish_pending(struct store *s, const struct migrations_status *status, size_t *done,
                          struct store_why *why)
{
    if (status->pending > 0)
        TRY(store_script(s, ledger, why));
    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration *m = &store_migrations[i];
        if (!status->states[i].pending)
            continue;
        if (m->finish != NULL)
            TRY(store_script(s, m->finish, why));
        TRY(note_finished(s, view_str(m->name), why));
        (*done)++;
    }
    return OK;
}

/* Under the lock: what another process did meanwhile is seen. */
static err begin_and_read(struct store *s, int64_t lock_wait_ms, struct migrations_status *status,
                          struct store_why *why)
{
    TRY(store_begin(s, lock_wait_ms, why));
    return migrations_read(s, status, why);
}

static err end(struct store *s, err e, struct store_why *why)
{
    if (!failed(e))
        return store_commit(s, why);
    if (!is_fault(e, &store_locked) && !is_fault(e, &store_lost))
        store_rollback(s);
    return store_explain_denied(s, true, e, why);
}

static err bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    if (status.bootstrapped)
        return status.unknown[0] == '\0' ? OK : check_known(&status, why);
    TRY(check_create(s, why));
    return run_all(s, done, why);
}

err migrations_bootstrap(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    *done = 0;
    return end(s, bootstrap(s, lock_wait_ms, done, why), why);
}

static err up(struct store *s, int64_t lock_wait_ms, bool force, size_t *done,
              struct store_why *why)
{
    struct migrations_status before, status;

    TRY(migrations_read(s, &before, why));
    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    TRY(check_known(&status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    bool by_another = status.missing == 0 && before.missing > 0;
    if (status.pending > 0 && !force && !by_another)
        return fail(&store_pending);
    if (status.missing == 0)
        return OK;
    TRY(check_create(s, why));
    return run_ups(s, &status, done, why);
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
    TRY(check_known(&status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    return finish_pending(s, &status, done, why);
}

err migrations_finish(struct store *s, int64_t lock_wait_ms, size_t *done, struct store_why *why)
{
    *done = 0;
    return end(s, finish(s, lock_wait_ms, done, why), why);
}

static err reset(struct store *s, int64_t lock_wait_ms, struct store_why *why)
{
    struct migrations_status status;

    TRY(begin_and_read(s, lock_wait_ms, &status, why));
    TRY(check_known(&status, why));
    if (!status.bootstrapped)
        return fail(&store_not_bootstrapped);
    TRY(store_script(s, drop_ledger, why));
    for (size_t i = store_migration_count; i-- > 0;)
        TRY(store_script(s, store_migrations[i].drop, why));
    return store_script(s, "drop function if exists sallyport_refuse_older()", why);
}

err migrations_reset(struct store *s, int64_t lock_wait_ms, struct store_why *why)
{
    return end(s, reset(s, lock_wait_ms, why), why);
}
