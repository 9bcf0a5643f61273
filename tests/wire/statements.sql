-- What the statement tests call: types of our own, a table with every kind of constraint, and
-- functions that fail on purpose.
create schema st;
grant usage on schema st to public;
create type st.colour as enum ('red', 'deep "blue"');
create domain st.percent as int check (value between 0 and 100);
create table st.parent (id int primary key);
insert into st.parent values (1);
create table st.kept (
    id int primary key,
    parent int references st.parent,
    name text not null,
    size int check (size > 0)
);
insert into st.kept values (1, 1, 'secret row', 1);
create table st.hidden (id int);
grant select, insert on st.kept to orders_reader, orders_writer;
create table st.written (note text);
grant insert, select on st.written to orders_reader, orders_writer;
create function st.fail(code text) returns int language plpgsql as
$$ begin
    raise exception 'secret words' using errcode = code, hint = 'secret hint',
        detail = 'secret detail', table = 'secret_table';
end $$;
create sequence st.ticks;
grant usage on sequence st.ticks to public;
