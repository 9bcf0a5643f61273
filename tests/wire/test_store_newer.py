"""Tables of a newer version: what it may do to them while this one serves.

`sallyport-newer` is this program with two migrations more (tests/wire/newer): it makes the newer
tables, the program under test is the older version.
"""

import json
import subprocess

import harness
import pytest
from stored import LATER_TABLES, MIGRATIONS, TABLES, assert_done
from stored import logins, store  # noqa: F401 (fixtures)
from test_store_served import events, feed, node, renamed, store_status, wait_for_path

NEW = {"998_things", "999_more"}
REFUSED = ("Error: the tables were made by a newer version of sallyport: this version does not know"
           " the migration 998_things, 999_more")


def newer():
    return harness.binary().parents[2] / "tests/wire/newer/sallyport-newer"


@pytest.fixture
def old(store, bed, issuer):  # noqa: F811
    """The tables of this version, with the shop in them."""
    assert_done(store.migrations("bootstrap"))
    feed(store, harness.config_for(bed, issuer))
    return store


def by_newer(store, *arguments):  # noqa: F811
    return store.migrations(*arguments, program=newer())


def pending(store):  # noqa: F811
    return store.sql("select name from sallyport_migrations_pending order by 1").split()


@pytest.mark.threads
def test_an_older_node_follows_until_the_newer_version_finishes(old, gateway, bed, issuer):
    served = gateway(node=node(old))
    assert served.get("/orders/2", served.mint("alice")).status == 200

    assert_done(by_newer(old, "up"), "2 migrations executed")
    assert set(pending(old)) == NEW
    # The newer version imports, too; the older one serves it.
    path = old.folder / "by-newer.yaml"
    path.write_text(renamed(bed, issuer, "after-up"))
    got = old.run("config", "db_import", path, program=newer())
    assert got.returncode == 0, got.stderr
    wait_for_path(served, "/after-up/2")
    assert events(served, "store_ahead")[-1]["migrations"] == "998_things, 999_more"
    assert store_status(served)["revision"] == 2
    # One that starts now reads as well; so does the newer one.
    second = gateway(node=node(old))
    assert second.get("/after-up/2", second.mint("alice")).status == 200
    third = gateway(node=node(old), program=newer())
    assert third.get("/after-up/2", third.mint("alice")).status == 200
    third.stop()

    assert_done(by_newer(old, "finish"), "2 migrations finished")
    assert pending(old) == []
    old.sql("insert into sallyport_revisions default values")
    harness.wait_until(lambda: events(served, "store_unusable"), 30, "the refusal")
    [said] = events(served, "store_unusable")[:1]
    assert said["detail"] == "this version does not know the migration 998_things, 999_more"
    assert served.get("/after-up/2", served.mint("alice")).status == 200
    late = gateway(node=node(old), start=False)
    got = late.run("start", "-c", late.node_file)
    assert got.returncode == 1 and REFUSED in got.stderr


def test_an_older_program_reads_what_is_pending_and_changes_nothing(old, bed, issuer):
    before = old.run("config", "db_export", "-").stdout
    assert_done(by_newer(old, "up"))
    path = old.folder / "other.yaml"
    path.write_text(renamed(bed, issuer, "other"))

    got = old.migrations("list")
    assert (got.returncode, got.stderr) == (0, "")
    assert got.stdout.endswith("of a newer version: 998_things, 999_more\n")
    status = json.loads(old.migrations("status").stdout)
    assert (status["newer"], status["ahead"], status["pending"]) == (False, True, [])
    got = old.run("config", "db_export", "-")
    assert (got.returncode, got.stdout) == (0, before)
    assert got.stderr == ("warning: a newer version began to change the tables (998_things,"
                          " 999_more): what only that one knows is left out\n")
    assert old.run("config", "diff", path).returncode == 2
    assert_done(old.migrations("bootstrap"), "already bootstrapped")

    for arguments in (("migrations", "up"), ("migrations", "finish"),
                      ("migrations", "reset", "--yes"), ("migrations", "bootstrap", "-f"),
                      ("config", "db_import", path)):
        got = old.run(*arguments)
        assert (got.returncode, got.stdout) == (1, "")
        assert got.stderr == REFUSED + ", which is pending: it reads, and changes nothing\n"
    assert old.run("config", "db_export", "-").stdout == before
    assert set(pending(old)) == NEW

    assert_done(by_newer(old, "finish"))
    for arguments in (("config", "db_export", "-"), ("config", "diff", path),
                      ("config", "db_import", path), ("migrations", "bootstrap"),
                      ("migrations", "up"), ("migrations", "reset", "-y")):
        got = old.run(*arguments)
        assert (got.returncode, got.stdout, got.stderr) == (1, "", REFUSED + "\n")


def test_the_database_itself_refuses_the_import_of_one_that_does_not_look(old):
    """As the first version, which knows of no pending migrations; a hand is not held up."""
    assert_done(by_newer(old, "up"))
    older = "set application_name = 'sallyport'; set sallyport.knows = '000_base,001_revisions'; "
    write = "insert into sallyport_revisions default values"
    with pytest.raises(Exception, match="this version does not know the migration 998_things"):
        old.sql(older + write)
    with pytest.raises(Exception, match="this version does not know the migration 998_things"):
        old.sql("set application_name = 'sallyport'; " + write)
    with pytest.raises(Exception, match="depends on table sallyport_migrations"):
        old.sql("drop table sallyport_migrations")
    old.sql(write)
    assert_done(by_newer(old, "finish"))
    old.sql(older + write)


def test_tables_of_the_first_version_are_taken_further(store):  # noqa: F811
    """Made by hand as that version left them: no table of pending migrations, no trigger."""
    assert_done(store.migrations("bootstrap"))
    store.sql("drop table sallyport_migrations_pending; delete from sallyport_migrations"
              " where name > '001_revisions';"
              " drop function sallyport_refuse_older cascade;"
              f" drop table {', '.join(LATER_TABLES)}")
    later = [*MIGRATIONS[2:], "998_things", "999_more"]
    got = by_newer(store, "list")
    assert got.returncode == 5 and "new: " + ", ".join(later) in got.stdout
    got = by_newer(store, "finish")
    assert_done(got, "no pending migrations to finish")
    assert_done(by_newer(store, "up"), f"{len(later)} migrations executed")
    got = by_newer(store, "list")
    assert got.returncode == 4 and "pending: " + ", ".join(later) in got.stdout
    got = by_newer(store, "up")
    assert got.returncode == 1 and "migrations are pending" in got.stderr
    assert_done(by_newer(store, "up", "-f"), "up-to-date")
    assert store.tables() == sorted([*TABLES, "sallyport_things", "sallyport_more"])
    assert store.sql("select tgname from pg_trigger where tgname like 'sally%' order by 1") == (
        "sallyport_refuse_older\nsallyport_tell_nodes")
    assert_done(by_newer(store, "finish"), f"{len(later)} migrations finished")
    assert_done(by_newer(store, "list"), "executed: " + ", ".join(MIGRATIONS))
    assert_done(by_newer(store, "reset", "-y"))
    assert store.tables() == []
    assert store.sql("select proname from pg_proc where proname like 'sally%'") == ""


def test_several_that_go_up_at_once_do_not_collide(old):
    started = []
    for _ in range(4):
        command, environment = old.command("migrations", "up", program=newer())
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True))
    said = [one.communicate(timeout=120) for one in started]
    executed = ["2 migrations executed" in out for out, _ in said]
    assert sorted(executed) == [False, False, False, True], said
    # One that came when it was done is told that it is pending, as Kong's would be.
    for one, (_, words), did in zip(started, said, executed):
        assert one.returncode == 0 or (not did and "migrations are pending" in words), said
    assert set(pending(old)) == NEW


READABLE = ("select relname from pg_class where relkind = 'r' and relname like 'sally%'"
            " and has_table_privilege('keeper', oid, 'SELECT') order by 1")


def test_who_may_read_the_tables_may_read_new_ones(old):
    old.sql("grant select on all tables in schema public to keeper")
    old.sql("drop table sallyport_migrations_pending")  # as the first version left it
    assert_done(by_newer(old, "up"))
    assert old.sql(READABLE).split() == sorted([*TABLES, "sallyport_things", "sallyport_more"])


@pytest.mark.parametrize("withheld", ["sallyport_services", "sallyport_migrations"])
def test_who_may_not_read_all_of_them_gains_nothing(old, withheld):
    """As somebody who watches the versions alone, or from whom a table is kept."""
    old.sql("grant select on all tables in schema public to keeper;"
            f" revoke select on {withheld} from keeper")
    before = old.sql(READABLE)
    assert withheld not in before.split() and len(before.split()) == len(TABLES) - 1
    assert_done(by_newer(old, "up"))
    assert old.sql(READABLE) == before


STRANGE = ("create table sallyport_migrations_pending (name text, executed_at timestamptz default"
           " now(), after text);"
           " insert into sallyport_migrations_pending values ('666_ahead', now(), '000_base');"
           " create function be_kong() returns trigger language plpgsql as"
           " $$begin grant all on all tables in schema public to keeper; return new; end$$;"
           " create trigger be_kong before insert on sallyport_migrations_pending for each row"
           " execute function be_kong();"
           " grant all on sallyport_migrations_pending to public; reset role;")


def test_a_strangers_table_of_pending_migrations_is_none(old, bed, issuer):
    """Who may create in the schema neither says what is pending nor has a trigger run by others."""
    old.sql("drop table sallyport_migrations_pending; grant create, usage on schema public to"
            " keeper; set role keeper; " + STRANGE)
    path = old.folder / "other.yaml"
    path.write_text(renamed(bed, issuer, "other"))
    # Older programs read on, and this one may still write.
    got = old.run("config", "db_export", "-")
    assert (got.returncode, got.stderr) == (0, "")
    got = by_newer(old, "up")
    assert got.returncode == 1
    assert 'relation "sallyport_migrations_pending" already exists' in got.stderr
    assert "sallyport_services" not in old.sql(READABLE).split()
    assert_done(old.migrations("list"))


def test_a_strangers_table_before_the_first_one_is_none(store):  # noqa: F811
    store.sql("grant create, usage on schema public to keeper; set role keeper; " + STRANGE)
    got = store.migrations("bootstrap")
    assert got.returncode == 1
    assert 'relation "sallyport_migrations_pending" already exists' in got.stderr
    assert store.tables() == ["sallyport_migrations_pending"]
