#include "database/login_check.h"

#include "pg/pg.h"
#include "pg/value.h"

enum { TEXT_ARRAY_OID = 1009, ROLES_MAX_BYTES = 1024 * 1024 };

/*
 * pg_shdepend knows what a role owns ('o') and is granted ('a') in every database of the cluster.
 * CONNECT and TEMPORARY on a database are no way to anybody's rows and may be granted.  PostgreSQL
 * 16 keeps INHERIT per membership; to_jsonb reads the column where it exists.
 */
static const struct view check_sql = VIEW(
    "with me as (select * from pg_catalog.pg_roles where rolname = session_user),"
    " mine as (select m.*, r.rolname, r.rolsuper, r.rolbypassrls from me"
    "  join pg_catalog.pg_auth_members m on m.member = me.oid"
    "  join pg_catalog.pg_roles r on r.oid = m.roleid)"
    " select 'it is a superuser' from me where rolsuper"
    " union all select 'it has BYPASSRLS' from me where rolbypassrls"
    " union all select 'it has CREATEROLE' from me where rolcreaterole"
    " union all select 'it has CREATEDB' from me where rolcreatedb"
    " union all select 'it has REPLICATION' from me where rolreplication"
    " union all select 'it is INHERIT: alter role … noinherit' from me where rolinherit"
    " union all select 'it owns objects' from me where exists (select from pg_catalog.pg_shdepend d"
    "  where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.refobjid = me.oid"
    "  and d.deptype = 'o')"
    " union all select 'it was granted privileges of its own' from me where exists ("
    "  select from pg_catalog.pg_shdepend d"
    "  where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.refobjid = me.oid"
    "  and d.deptype = 'a' and d.classid <> 'pg_catalog.pg_database'::pg_catalog.regclass)"
    " union all select 'it may create objects in schema ' || n.nspname"
    "  || ': revoke create on schema … from public'"
    "  from pg_catalog.pg_namespace n where n.nspname !~ '^pg_'"
    "  and pg_catalog.has_schema_privilege(session_user, n.oid, 'CREATE')"
    " union all select 'it may create schemas in the database' from me"
    "  where pg_catalog.has_database_privilege(session_user, pg_catalog.current_database(),"
    "  'CREATE')"
    " union all select 'it is a member of ' || rolname"
    "  || ', which no role that this login serves names:'"
    "  || ' revoke ' || pg_catalog.quote_ident(rolname) || ' from '"
    "  || pg_catalog.quote_ident(session_user)"
    "  from mine where rolname <> all ($1) and rolname <> 'rds_iam'"
    " union all select 'it is a member of ' || rolname || ' with ADMIN OPTION' from mine"
    "  where admin_option"
    " union all select 'it inherits from ' || mine.rolname || ': grant … with inherit false'"
    "  from mine where pg_catalog.to_jsonb(mine) ->> 'inherit_option' = 'true'"
    "  and mine.rolname <> 'rds_iam'"
    " union all select 'the role ' || rolname || ' is a superuser' from mine where rolsuper"
    " union all select 'the role ' || rolname || ' has BYPASSRLS' from mine where rolbypassrls");

void login_check_add(struct buf *out, struct strings roles)
{
    static const uint32_t types[] = {TEXT_ARRAY_OID};
    struct pg_array_writer writer;
    struct buf array;

    buf_init(&array, ROLES_MAX_BYTES);
    pg_array_init(&writer, &array);
    pg_add_array_open(&writer);
    for (size_t i = 0; i < roles.count; i++)
        pg_add_array_element(&writer, roles.items[i]);
    pg_add_array_close(&writer);
    struct view parameter = buf_view(&array);
    if (buf_failed(&array))
        out->failed = true;
    pg_add_parse(out, VIEW(""), check_sql, types, 1);
    pg_add_bind(out, VIEW(""), VIEW(""), &parameter, 1);
    pg_add_execute(out, VIEW(""), 0);
    pg_add_sync(out);
    buf_clear(&array);
}
