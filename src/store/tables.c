/*
 * The migrations.  Never change one that was released: add another, by the rules of migrations.h.
 *
 * An entity is a row: what other rows refer to, and what tells entities apart, in columns of its
 * own; all else in `definition`, as in sallyport.yaml.  The schema table of the file
 * (config/schema.h) checks a definition whole, when it is imported and whenever it is loaded, so a
 * field that is new needs no new column.  `ordinal` keeps the file's order, by which roles of one
 * priority are tried.
 *
 * The names begin with sallyport_: Kong's own tables may stand in the same schema.  Constraints are
 * deferred, so that an import may swap two names.
 */
#include "base/attr.h"
#include "store/migrations.h"

#define ENTITY_COLUMNS                                                                             \
    "    id uuid primary key,\n"                                                                   \
    "    tags text[] not null default '{}',\n"                                                     \
    "    created_at bigint not null,\n"                                                            \
    "    updated_at bigint not null,\n"                                                            \
    "    ordinal integer not null,\n"                                                              \
    "    definition json not null\n"

#define NAMED(column) "    " column " text not null unique deferrable initially deferred,\n"

#define REFERENCE(column, table, more)                                                             \
    "    " column " uuid not null references " table " (id)" more                                  \
    " deferrable initially deferred,\n"

static const char base[] =
    "create table sallyport_migrations (\n"
    "    name text primary key,\n"
    "    executed_at timestamptz not null default now(),\n"
    "    finished_at timestamptz\n"
    ");\n"
    "create table sallyport_vaults (\n" NAMED("prefix") ENTITY_COLUMNS ");\n"
    "create table sallyport_issuers (\n" NAMED("name") ENTITY_COLUMNS ");\n"
    "create table sallyport_services (\n" NAMED("name") ENTITY_COLUMNS ");\n"
    "create table sallyport_routes (\n" NAMED("name")
    REFERENCE("service_id", "sallyport_services", "") ENTITY_COLUMNS ");\n"
    "create index on sallyport_routes (service_id);\n"
    "create table sallyport_roles (\n" NAMED("name") ENTITY_COLUMNS ");\n"
    "create table sallyport_role_services (\n"
    REFERENCE("role_id", "sallyport_roles", " on delete cascade")
    REFERENCE("service_id", "sallyport_services", "")
    "    primary key (role_id, service_id)\n"
    ");\n"
    "create table sallyport_role_routes (\n"
    REFERENCE("role_id", "sallyport_roles", " on delete cascade")
    REFERENCE("route_id", "sallyport_routes", "")
    "    primary key (role_id, route_id)\n"
    ");\n"
    "create table sallyport_role_issuers (\n"
    REFERENCE("role_id", "sallyport_roles", " on delete cascade")
    REFERENCE("issuer_id", "sallyport_issuers", "")
    "    primary key (role_id, issuer_id)\n"
    ");\n";

/* Every import makes one row here in its own transaction, and so a number that grows; nodes are
 * told at its commit and look at the number when they were not. */
static const char revisions[] =
    "create table sallyport_revisions (\n"
    "    revision bigint generated always as identity primary key,\n"
    "    made_at timestamptz not null default now(),\n"
    "    made_by text not null default session_user\n"
    ");\n"
    "create function sallyport_tell_nodes() returns trigger language plpgsql as $$\n"
    "begin\n"
    "    perform pg_notify('sallyport', new.revision::text);\n"
    "    return null;\n"
    "end $$;\n"
    "create trigger sallyport_tell_nodes after insert on sallyport_revisions\n"
    "    for each row execute function sallyport_tell_nodes();\n";

/* Who serves this configuration now, and how many logins by IAM each may make (store/nodes.h).
 * Nodes of an older version have no row and mind nobody's. */
static const char nodes[] =
    "create table sallyport_nodes (\n"
    "    id uuid primary key,\n"
    "    boot uuid not null,\n"
    "    name text not null,\n"
    "    version text not null,\n"
    "    started_at timestamptz not null default clock_timestamp(),\n"
    "    seen_at timestamptz not null default clock_timestamp(),\n"
    "    leaves_at timestamptz,\n"
    "    share integer not null default 0 check (share >= 0),\n"
    "    share_since timestamptz not null default clock_timestamp(),\n"
    "    logins_per_second real not null default 0\n"
    ");\n";

static const char consumers[] =
    "create table sallyport_consumers (\n"
    "    username text unique deferrable initially deferred,\n"
    "    custom_id text generated always as (definition ->> 'custom_id') stored\n"
    "        unique deferrable initially deferred,\n" ENTITY_COLUMNS
    "    , check (username is not null or custom_id is not null)\n"
    ");\n"
    "create table sallyport_role_consumers (\n"
    REFERENCE("role_id", "sallyport_roles", " on delete cascade")
    REFERENCE("consumer_id", "sallyport_consumers", "")
    "    primary key (role_id, consumer_id)\n"
    ");\n";

/* As in Kong one of a name for one scope, and gone with whom it is for. */
static const char plugins[] =
    "create table sallyport_plugins (\n"
    "    name text not null,\n"
    "    instance_name text generated always as (definition ->> 'instance_name') stored\n"
    "        unique deferrable initially deferred,\n"
    "    service_id uuid references sallyport_services (id) on delete cascade"
    " deferrable initially deferred,\n"
    "    route_id uuid references sallyport_routes (id) on delete cascade"
    " deferrable initially deferred,\n"
    "    consumer_id uuid references sallyport_consumers (id) on delete cascade"
    " deferrable initially deferred,\n"
    "    scope text generated always as (name || ' ' || coalesce(service_id::text, '-') || ' ' ||\n"
    "        coalesce(route_id::text, '-') || ' ' || coalesce(consumer_id::text, '-')) stored\n"
    "        unique deferrable initially deferred,\n" ENTITY_COLUMNS ");\n"
    "create index on sallyport_plugins (service_id);\n"
    "create index on sallyport_plugins (route_id);\n"
    "create index on sallyport_plugins (consumer_id);\n";

static const char drop_base[] =
    "drop table if exists sallyport_role_issuers, sallyport_role_routes, sallyport_role_services,\n"
    "    sallyport_roles, sallyport_routes, sallyport_services, sallyport_issuers,\n"
    "    sallyport_vaults, sallyport_migrations;\n";

static const char drop_revisions[] =
    "drop table if exists sallyport_revisions;\n"
    "drop function if exists sallyport_tell_nodes();\n";

static const char drop_nodes[] = "drop table if exists sallyport_nodes;\n";

static const char drop_consumers[] =
    "drop table if exists sallyport_role_consumers, sallyport_consumers;\n";

static const char drop_plugins[] = "drop table if exists sallyport_plugins;\n";

/* The tests' program of a newer version has one more (tests/wire/newer). */
#ifndef NEWER_MIGRATIONS
#define NEWER_MIGRATIONS
#endif

const struct migration store_migrations[] = {
    {"000_base", base, NULL, drop_base},
    {"001_revisions", revisions, NULL, drop_revisions},
    {"002_nodes", nodes, NULL, drop_nodes},
    {"003_consumers", consumers, NULL, drop_consumers},
    {"005_plugins", plugins, NULL, drop_plugins},
    NEWER_MIGRATIONS
};
const size_t store_migration_count = COUNT_OF(store_migrations);
