-- What the tests of cleanness read: views and policies of which some leave a trace.
create schema clean;

create function clean.leave(n int) returns int language plpgsql as
$$
begin
    perform set_config('work_mem', '77MB', false), set_config('clean.mark', 'left', false),
        pg_advisory_lock(99);
    return n;
end $$;

create view clean.by_function as select clean.leave(1) as n;
create view clean.nested as select b.n from clean.by_function b;
create view clean.twice_nested as select n from (select n from clean.nested) s;
create view clean.by_built_in as
    select 1 as n, set_config('work_mem', '77MB', false) as a,
        set_config('clean.mark', 'left', false) as b, (select 1 from pg_advisory_lock(99)) as c;

create operator clean.### (rightarg = int, function = clean.leave);
create view clean.by_operator as select operator(clean.###) 1 as n;

create type clean.thing as (n int);
create function clean.to_thing(n int) returns clean.thing language plpgsql as
$$ begin return row(clean.leave(n)); end $$;
create cast (int as clean.thing) with function clean.to_thing(int);
create view clean.by_cast as select (1::clean.thing).n as n;

create domain clean.checked as int check (clean.leave(value) > 0);
create view clean.by_domain as select '1'::clean.checked::int as n;

create aggregate clean.left_by (int) (sfunc = int4pl, stype = int, finalfunc = clean.leave,
    initcond = '0');
create view clean.by_aggregate as select clean.left_by(1) as n;

create function clean.pass(n int) returns int language sql return clean.leave(n);
create view clean.by_sql_function as select clean.pass(1) as n;
create function clean.pass_built_in(n int) returns int language sql
return case when set_config('work_mem', '77MB', false) = '77MB'
    and set_config('clean.mark', 'left', false) = 'left' and pg_try_advisory_lock(99) then n end;
create view clean.by_built_in_in_function as select clean.pass_built_in(1) as n;
create function clean.pass_default(a text default set_config('work_mem', '77MB', false),
    b text default set_config('clean.mark', 'left', false), c bool default pg_try_advisory_lock(99))
returns int language sql return case when a = '77MB' and b = 'left' and c then 1 end;
create view clean.by_default as select clean.pass_default() as n;
create function clean.pass_text(n int) returns int language sql as 'select clean.leave(n)';
create view clean.by_text as select clean.pass_text(1) as n;
create function clean.pass_block(n int) returns int language sql
begin atomic
    select set_config('work_mem', '77MB', false), set_config('clean.mark', 'left', false),
        pg_try_advisory_lock(99);
    select n;
end;
create view clean.by_block as select clean.pass_block(1) as n;

create function clean.set_config(n int) returns int language sql return n;
create view clean.by_same_name as
    select clean.set_config(1) as n, pg_catalog.set_config('work_mem', '77MB', false) as a,
        pg_catalog.set_config('clean.mark', 'left', false) as b;

create foreign data wrapper clean_nothing;
create server clean_nowhere foreign data wrapper clean_nothing;
create table clean.parted (n int) partition by list (n);
create foreign table clean.remote partition of clean.parted for values in (1)
    server clean_nowhere;

create table clean.by_policy (n int);
insert into clean.by_policy values (1);
alter table clean.by_policy enable row level security;
create policy hidden on clean.by_policy using (clean.leave(n) = 1);
create view clean.over_policy with (security_invoker) as select n from clean.by_policy;

create table clean.by_policy_over_view (n int);
insert into clean.by_policy_over_view values (1);
alter table clean.by_policy_over_view enable row level security;
create policy hidden on clean.by_policy_over_view for select
    using (exists (select from clean.by_function v where v.n = 1));

create table clean.by_built_in_policy (n int);
insert into clean.by_built_in_policy values (1);
alter table clean.by_built_in_policy enable row level security;
create policy hidden on clean.by_built_in_policy
    using (set_config('work_mem', '77MB', false) = '77MB'
           and set_config('clean.mark', 'left', false) = 'left'
           and pg_try_advisory_lock(99));

create type clean.mood as enum ('glad');
create table clean.plain (n int, tenant text, mood clean.mood);
insert into clean.plain values (1, 'north', 'glad'), (2, 'south', 'glad');
alter table clean.plain enable row level security;
create policy own on clean.plain for select
    using (tenant = nullif(current_setting('request.jwt.claims', true), '')::json->>'tenant_id');
create policy write on clean.plain for update using (clean.leave(n) = n);
create view clean.over_plain with (security_invoker) as
    select p.n, upper(p.tenant) as tenant from clean.plain p
    where p.mood = 'glad'::clean.mood;
create function clean.tenant() returns text language sql stable
return nullif(current_setting('request.jwt.claims', true), '')::json->>'tenant_id';
create function clean.is_own(tenant text) returns bool language sql stable security definer
set search_path = pg_catalog
return tenant = clean.tenant();
create table clean.helped (n int, tenant text);
insert into clean.helped values (1, 'north'), (2, 'south');
alter table clean.helped enable row level security;
create policy own on clean.helped using (clean.is_own(tenant));
create materialized view clean.stored as select n from clean.by_function;

create view clean.worse as select 1 as n;
create view clean.better as select clean.leave(1) as n;

grant usage on schema clean to orders_reader;
grant select on all tables in schema clean to orders_reader;
