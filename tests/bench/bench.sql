-- Run after pgbench -i.  One login for the direct measurements, with the right itself; one for the
-- gateway, which only may become the role.
create role direct login;
grant rds_iam to direct;
grant select on pgbench_accounts, pgbench_branches to direct;

create role app login noinherit;
grant rds_iam to app;
create role accounts_reader nologin;
grant accounts_reader to app;
grant usage on schema public to accounts_reader;
grant select on pgbench_accounts to accounts_reader;
