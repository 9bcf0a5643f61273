"""The node's configuration in PostgreSQL: how a node logs in to it, and its migrations."""

import json
import subprocess

import kong_conf
import psycopg2
import pytest
from bed.postgres import AccessKey, wait_until
from doubles.aws import Sts
from stored import MIGRATIONS, TABLES, assert_done, logins, store  # noqa: F401 (fixtures)


# -- logging in --------------------------------------------------------------------------------


def test_kongs_own_example_bootstraps_by_iam(store):
    assert_done(store.migrations("bootstrap"), f"{len(MIGRATIONS)} migrations executed",
                "up-to-date")
    assert store.tables() == TABLES
    assert store.sql("select tableowner from pg_tables where tablename like 'sally%' limit 1") == (
        "kong"
    )
    [line] = [x for x in store.bed.wait_for_log("connection authorized") if store.name in x][:1]
    assert "user=kong" in line and "SSL enabled" in line


def test_a_wrong_key_is_refused_and_the_message_says_what_to_look_at(store):
    got = store.migrations("list", environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert got.returncode == 1 and got.stdout == ""
    assert got.stderr.startswith("Error: the database of the configuration refuses the login: ")
    assert 'PAM authentication failed for user "kong"' in got.stderr
    assert "must be granted rds_iam, and the IAM identity rds-db:connect for dbuser:…/kong" in (
        got.stderr
    )


def test_without_credentials_nothing_is_asked_of_the_database(store):
    before = len(store.bed.log_lines("connection received"))
    got = store.migrations(
        "list", iam=False,
        environment={"KONG_PG_IAM_AUTH": "on", "AWS_EC2_METADATA_DISABLED": "true",
                     "HOME": str(store.folder)})
    assert got.returncode == 1 and "Error: " in got.stderr
    assert len(store.bed.log_lines("connection received")) == before


def test_a_password_logs_in_and_libpqs_own_sources_do_not_count(store):
    store.sql("grant all on schema public to keeper")
    store.write_conf("pg_user = keeper", "pg_password = hunter2", "pg_ssl = on",
                     pg_host="localhost", pg_iam_auth_hostname=None)
    environment = {"PGUSER": "postgres", "PGPASSWORD": "other", "PGSSLMODE": "disable",
                   "PGOPTIONS": "-c search_path=nowhere", "PGSERVICE": "none"}
    assert_done(store.migrations("bootstrap", iam=False, environment=environment))
    assert store.tables() == TABLES

    store.write_conf("pg_user = keeper", "pg_password = wrong", "pg_ssl = on",
                     pg_host="localhost", pg_iam_auth_hostname=None)
    got = store.migrations("list", iam=False, environment={"PGPASSWORD": "hunter2"})
    assert got.returncode == 1 and "password authentication failed" in got.stderr
    assert "hunter2" not in got.stderr + got.stdout and "wrong" not in got.stderr


def test_kongs_own_words_bootstrap_by_what_the_file_says(store):
    """kong migrations bootstrap -c /path/to/kong.conf"""
    keys = store.bed.keys[0].environment()
    store.write_conf("pg_iam_auth=on")
    assert_done(store.migrations("bootstrap", iam=False, environment=keys))
    assert store.tables() == TABLES
    assert_done(store.migrations("reset", "--yes", iam=False, environment=keys))

    lines = store.conf.read_text().splitlines()
    said = dict(line.split(" = ", 1) for line in lines if " = " in line)
    store.conf.write_text(kong_conf.whole(**said | {
        "pg_iam_auth": "on", "pg_ssl": "", "pg_ssl_verify": "", "proxy_listen": "off"}))
    got = store.migrations("bootstrap", "--kong-compat", iam=False, environment=keys)
    assert got.returncode == 0 and "migrations executed" in got.stdout
    assert got.stderr.count("\n") == 1 and "of Kong's settings have no effect here" in got.stderr
    assert store.tables() == TABLES
    # Without it the file is one mistake after the other, and nothing is asked of the database.
    assert store.migrations("list", iam=False, environment=keys).returncode == 1
    # What of Kong's defaults contradicts IAM is an error that names it.
    store.conf.write_text(kong_conf.whole(**said | {"pg_iam_auth": "on", "proxy_listen": "off"}))
    got = store.migrations("list", "--kong-compat", iam=False, environment=keys)
    assert got.returncode == 1
    assert "'pg_ssl': must not be off with pg_iam_auth = on" in got.stderr


def test_iam_ignores_the_password_and_says_so(store):
    store.write_conf("pg_password = hunter2")
    got = store.migrations("bootstrap")
    assert got.returncode == 0
    assert got.stderr == (
        f"{store.conf}:6: warning: 'pg_password': is ignored with pg_iam_auth = on: a token takes "
        "its place; remove it\n"
    )


def test_an_assumed_role_signs_with_its_session(store):
    known = list(store.bed.keys)

    def tell(session):
        store.bed.set_keys([*store.bed.keys, AccessKey(
            session.access_key_id, session.secret_access_key, session.session_token)])

    sts = Sts(region=store.bed.region, on_mint=tell)
    sts.know(known[0].access_key_id, known[0].secret_access_key)
    try:
        environment = {
            "KONG_PG_IAM_AUTH": "on",
            "KONG_PG_IAM_AUTH_ASSUME_ROLE_ARN": "arn:aws:iam::123456789012:role/gateway",
            "KONG_PG_IAM_AUTH_ROLE_SESSION_NAME": "node-1",
            "KONG_PG_IAM_AUTH_STS_ENDPOINT_URL": sts.url,
        }
        assert_done(store.migrations("bootstrap", environment=environment))
        [call] = [r for r in sts.requests if b"AssumeRole" in r.body]
        assert b"RoleSessionName=node-1" in call.body
        assert len(store.bed.keys) == len(known) + 1

        sts.refused_roles.add("arn:aws:iam::123456789012:role/gateway")
        got = store.migrations("list", environment=environment)
        assert got.returncode == 1 and "AccessDenied" in got.stderr
    finally:
        store.bed.set_keys(known)
        sts.close()


def test_a_server_that_is_not_verified_gets_no_token(store, tmp_path):
    store.write_conf(pg_iam_auth_hostname=None, pg_host="localhost",
                     lua_ssl_trusted_certificate="system")
    got = store.migrations("list", environment={"AWS_REGION": store.bed.region})
    assert got.returncode == 1 and "certificate verify failed" in got.stderr

    store.write_conf(pg_iam_auth_hostname="other.cluster-abc.eu-west-1.rds.amazonaws.com")
    got = store.migrations("list")
    assert got.returncode == 1
    assert "does not match host name" in got.stderr

    store.write_conf(lua_ssl_trusted_certificate=tmp_path / "empty.pem")
    (tmp_path / "empty.pem").write_text("")
    got = store.migrations("list")
    assert got.returncode == 1 and "Error: " in got.stderr


def test_nobody_who_listens_is_a_clear_message(store):
    store.write_conf(pg_port=1)
    got = store.migrations("list")
    assert got.returncode == 1 and "Connection refused" in got.stderr


def test_database_off_has_no_migrations(store):
    store.write_conf("database = off")
    got = store.migrations("bootstrap")
    assert (got.returncode, got.stderr) == (
        1, "Error: database = off: there is no database to work on\n")


# -- migrations --------------------------------------------------------------------------------


def test_the_exit_codes_are_kongs(store):
    got = store.migrations("list")
    assert got.returncode == 3 and "needs bootstrapping" in got.stdout
    for action in ("up", "finish", "reset --yes"):
        got = store.migrations(*action.split())
        assert got.returncode == 1 and "needs bootstrapping" in got.stderr
    assert json.loads(store.migrations("status").stdout) == {
        "needs_bootstrap": True, "newer": False, "executed": [], "pending": [],
        "new": MIGRATIONS, "ahead": False}

    assert_done(store.migrations("bootstrap"))
    assert_done(store.migrations("bootstrap"), "already bootstrapped")
    assert_done(store.migrations("list"), "executed: " + ", ".join(MIGRATIONS))
    assert_done(store.migrations("up"), "up-to-date")
    assert_done(store.migrations("finish"), "no pending migrations to finish")

    store.sql("update sallyport_migrations set finished_at = null where name = '001_revisions'")
    got = store.migrations("list")
    assert got.returncode == 4 and "pending: 001_revisions" in got.stdout
    got = store.migrations("up")
    assert got.returncode == 1 and "migrations are pending" in got.stderr
    assert store.migrations("up", "-f").returncode == 0
    assert_done(store.migrations("finish"), "1 migrations finished")
    assert_done(store.migrations("list"))

    store.sql("delete from sallyport_migrations where name = '001_revisions';"
              " drop table sallyport_revisions; drop function sallyport_tell_nodes")
    got = store.migrations("list")
    assert got.returncode == 5 and "new: 001_revisions" in got.stdout
    assert_done(store.migrations("up"), "1 migrations executed")
    got = store.migrations("list")
    assert got.returncode == 4 and "pending: 001_revisions" in got.stdout
    assert_done(store.migrations("finish"), "1 migrations finished")
    assert store.tables() == TABLES and store.migrations("list").returncode == 0


def test_reset_asks_or_is_told(store):
    assert_done(store.migrations("bootstrap"))
    store.sql("create table others (x int)")
    got = store.migrations("reset")
    assert got.returncode == 1 and "give --yes" in got.stderr
    assert store.tables() == ["others", *TABLES]
    assert_done(store.migrations("reset", "--yes"), "dropped")
    assert store.tables() == ["others"]
    assert_done(store.migrations("bootstrap", "-f"), f"{len(MIGRATIONS)} migrations executed")
    store.sql("insert into sallyport_revisions default values")
    assert_done(store.migrations("bootstrap", "-f"), f"{len(MIGRATIONS)} migrations executed")
    assert store.sql("select count(*) from sallyport_revisions") == "0"


def test_tables_of_a_newer_version_are_left_alone(store):
    assert_done(store.migrations("bootstrap"))
    store.sql("insert into sallyport_migrations (name) values ('999_later')")
    for action in ("bootstrap", "up", "finish", "list", "reset --yes"):
        got = store.migrations(*action.split())
        assert got.returncode == 1
        assert got.stderr == ("Error: the tables were made by a newer version of sallyport: this "
                              "version does not know the migration 999_later\n")
    assert json.loads(store.migrations("status").stdout)["newer"] is True
    assert store.tables() == TABLES


def test_bootstrap_prints_the_grant_that_it_lacks(store):
    store.sql("alter schema public owner to postgres; revoke create on schema public from public;"
              " create schema \"My Gateway\"")
    got = store.migrations("bootstrap")
    assert (got.returncode, got.stderr) == (
        1, "Error: the login may not make tables in the schema: have the schema's owner run: "
           "grant create, usage on schema public to kong\n")
    assert store.tables() == []

    store.write_conf("pg_schema = My Gateway")
    got = store.migrations("bootstrap")
    assert got.returncode == 1
    # Without usage PostgreSQL does not count it as the current schema at all.
    assert 'create schema "My Gateway" authorization kong' in got.stderr
    store.sql('grant usage on schema "My Gateway" to kong')
    got = store.migrations("bootstrap")
    asked = got.stderr.rpartition("run: ")[2]
    assert asked == 'grant create, usage on schema "My Gateway" to kong\n'
    store.sql(asked)
    assert_done(store.migrations("bootstrap"))
    assert set(store.sql(
        "select schemaname from pg_tables where tablename like 'sallyport%'").split("\n")) == {
            "My Gateway"}


def test_two_that_bootstrap_at_once_do_not_collide(store):
    started = []
    for _ in range(4):
        command, environment = store.command("migrations", "bootstrap")
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True))
    said = [one.communicate(timeout=120) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0, 0], said
    assert sorted("executed" in out for out, _ in said) == [False, False, False, True]
    assert store.tables() == TABLES


def test_who_waits_too_long_for_the_lock_is_told(store):
    assert_done(store.migrations("bootstrap"))
    with psycopg2.connect(store.bed.superuser_dsn(store.name)) as other:
        other.cursor().execute("select pg_advisory_xact_lock(1396788304, hashtext('public'))")
        got = store.migrations("up", "--lock-timeout", "1")
    assert (got.returncode, got.stderr) == (
        1, "Error: another process is changing the tables of the configuration: it has not ended "
           "within 1000 ms\n")


def test_a_killed_bootstrap_leaves_nothing_half_done(store):
    with psycopg2.connect(store.bed.superuser_dsn(store.name)) as other:
        # Stops it in the middle: its first table has the lock that the second migration needs.
        other.cursor().execute("create table sallyport_revisions (x int)")
        command, environment = store.command("migrations", "bootstrap")
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        waiting = ("select pid from pg_stat_activity where usename = 'kong'"
                   " and wait_event_type = 'Lock'")
        wait_until(lambda: store.sql(waiting), 60, "the bootstrap's wait")
        running.kill()
        running.wait()
        other.rollback()
    wait_until(lambda: not store.sql("select pid from pg_stat_activity where usename = 'kong'"
                                     f" and datname = '{store.name}'"), 60, "its backend's end")
    assert store.tables() == []
    assert_done(store.migrations("bootstrap"), f"{len(MIGRATIONS)} migrations executed")


# -- the chain of certificates -------------------------------------------------------------------


def openssl(folder, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def long_chain(bed, tmp_path):
    """The server shows two intermediates below a root of this test's own."""
    extensions = tmp_path / "extensions"
    extensions.write_text(f"[ca]\nbasicConstraints = critical, CA:true\n"
                          f"[leaf]\nsubjectAltName = DNS:{bed.hostname}\n")
    openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root",
            "-keyout", "0.key", "-out", "0.crt", "-days", "2")
    links = [("one", "ca"), ("two", "ca"), ("server", "leaf")]
    for i, (name, section) in enumerate(links):
        openssl(tmp_path, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{i + 1}.key", "-out", f"{i + 1}.csr")
        openssl(tmp_path, "x509", "-req", "-in", f"{i + 1}.csr", "-CA", f"{i}.crt", "-CAkey",
                f"{i}.key", "-CAcreateserial", "-out", f"{i + 1}.crt", "-days", "2", "-extfile",
                extensions, "-extensions", section)
    files = [bed.folder / "server.crt", bed.folder / "server.key"]
    before = [file.read_bytes() for file in files]
    chain = "".join((tmp_path / f"{i}.crt").read_text() for i in (3, 2, 1))

    def put(contents):
        for file, content in zip(files, contents):
            file.write_bytes(content)
        bed.superuser_sql("select pg_reload_conf()")

    put([chain.encode(), (tmp_path / "3.key").read_bytes()])
    yield tmp_path / "0.crt"
    put(before)


def test_a_chain_deeper_than_lua_ssl_verify_depth_gets_no_user_name(store, long_chain):
    store.write_conf("lua_ssl_verify_depth = 2", lua_ssl_trusted_certificate=long_chain)
    # The reload is another process's; at its end the server shows the new chain.
    wait_until(lambda: store.migrations("list").returncode == 3, 60, "the server's new chain")
    store.write_conf(lua_ssl_trusted_certificate=long_chain)
    received = len(store.bed.log_lines("connection received"))
    authorized = len(store.bed.log_lines("connection authorized"))
    got = store.migrations("list")
    assert (got.returncode, got.stderr) == (
        1, "Error: the server's certificate chain is longer than lua_ssl_verify_depth lets it be\n")
    store.bed.wait_for_log("connection received", count=received + 1)
    store.write_conf("lua_ssl_verify_depth = 2", lua_ssl_trusted_certificate=long_chain)
    assert store.migrations("list").returncode == 3
    # Nothing of the one refused stands there, not even a user name: only the one after it does.
    assert len(store.bed.log_lines("connection authorized")) == authorized + 1
