"""A node that serves the configuration of a database."""

import datetime
import json
import os
import signal
from pathlib import Path

import harness
import pytest
from bed.postgres import AccessKey, wait_until
from doubles.aws import Sts, running
from stored import assert_done, logins, store  # noqa: F401 (fixtures)

KEEPER_READS = ("grant usage on schema public to keeper;"
                " grant select on all tables in schema public to keeper")
BY_PASSWORD = {"pg_iam_auth": "off", "pg_iam_auth_hostname": "", "pg_user": "keeper",
               "pg_password": "hunter2", "pg_ssl": "on", "pg_host": "localhost"}


@pytest.fixture
def fed(store, bed, issuer):  # noqa: F811
    """The tables hold the shop."""
    assert_done(store.migrations("bootstrap"))
    feed(store, harness.config_for(bed, issuer))
    return store


def feed(store, text):  # noqa: F811
    path = store.folder / "shop.yaml"
    path.write_text(text)
    got = store.run("config", "db_import", path)
    assert got.returncode == 0, got.stderr


def node(store, **more):  # noqa: F811
    return {
        "database": "postgres",
        "declarative_config": "",
        "pg_host": "127.0.0.1",
        "pg_port": store.bed.port,
        "pg_database": store.name,
        "pg_iam_auth": "on",
        "pg_iam_auth_hostname": store.bed.hostname,
        "lua_ssl_trusted_certificate": store.bed.ca.file,
        **more,
    }


def renamed(bed, issuer, path):
    """The shop with /orders/{id} at another place."""
    return harness.config_for(bed, issuer).replace("/orders/{id}", f"/{path}/{{id}}")


def store_status(served):
    return served.status("/status").json["store"]


def events(served, name):
    return [record for record in served.log() if record["event"] == name]


def wait_for_state(served, state):
    wait_until(lambda: store_status(served)["state"] == state, 30, f"a store that is {state}")


def wait_for_path(served, path, status=200, seconds=30):
    token = served.mint("alice")
    wait_until(lambda: served.get(path, token).status == status, seconds, f"{status} of {path}")


def metric(served, name):
    text = served.status("/metrics").body.decode()
    [line] = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.split()[1])


@pytest.mark.threads
def test_an_import_is_served_by_every_node_within_a_second(fed, gateway, bed, issuer):
    nodes = [gateway(node=node(fed)) for _ in range(2)]
    for served in nodes:
        assert served.get("/orders/2", served.mint("alice")).status == 200
        assert (served.prefix / "store.yaml").stat().st_mode & 0o777 == 0o600
        assert [r["revision"] for r in events(served, "store_read")] == [1]
        wait_for_state(served, "listening")
    for n in range(2, 5):
        feed(fed, renamed(bed, issuer, f"order{n}"))
        committed = float(fed.sql("select extract(epoch from max(made_at))"
                                  " from sallyport_revisions"))
        for served in nodes:
            wait_for_path(served, f"/order{n}/2")
            # The workers serve it a moment before the line is written.
            wait_until(lambda: len(events(served, "configuration_loaded")) == n - 1,
                       10, "the line of the load")
            [loaded] = events(served, "configuration_loaded")[n - 2 :]
            assert loaded["cause"] == "database"
            took = datetime.datetime.fromisoformat(loaded["time"].replace("Z", "+00:00"))
            assert took.timestamp() - committed < 1, loaded
            assert store_status(served) == {
                "state": "listening", "revision": n, "last_error": None,
                "writer": "127.0.0.1", "reader": "127.0.0.1"}
            assert metric(served, "sallyport_store_revision") == n
            assert served.get("/orders/2", served.mint("alice")).status == 404
    one, two = (served.status("/status").json["configuration_id"] for served in nodes)
    assert one == two


def test_a_hangup_asks_the_database_and_so_does_a_reload(fed, gateway):
    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(events(served, "configuration_loaded")) == 1, 30, "a load")
    assert events(served, "configuration_loaded")[0]["cause"] == "SIGHUP"
    assert len(events(served, "store_read")) == 2
    got = served.run("reload", "-c", served.node_file)
    assert got.returncode == 0, got.stderr
    wait_until(lambda: len(events(served, "configuration_loaded")) == 2, 30, "a load")
    wait_until(lambda: sorted(p.name for p in served.prefix.glob("store.yaml*")) == [
        "store.yaml", "store.yaml.key", "store.yaml.seals"], 10, "what is served to be kept")
    for path in served.prefix.glob("store.yaml*"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_database_that_restarts_is_missed_and_caught_up_with(fed, gateway, bed, issuer):
    """By IAM, and by password."""
    fed.sql(KEEPER_READS)
    nodes = [gateway(node=node(fed)), gateway(node=node(fed, **BY_PASSWORD))]
    for served in nodes:
        wait_for_state(served, "listening")
    bed.halt()
    try:
        for served in nodes:
            wait_for_state(served, "away")
            assert metric(served, "sallyport_store_reachable") == 0
            assert "store" in [w["reason"] for w in served.status("/status").json["warnings"]]
            assert served.status("/status/ready").status == 200
        nodes[0].process.send_signal(signal.SIGHUP)  # What is kept is loaded, for its secrets.
        wait_until(lambda: events(nodes[0], "configuration_loaded"), 30, "a load of what is kept")
    finally:
        bed.resume()
    feed(fed, renamed(bed, issuer, "later"))
    for served in nodes:
        wait_for_path(served, "/later/2")
        wait_for_state(served, "listening")
        assert store_status(served)["last_error"] is None
        assert len(events(served, "store_unreachable")) == 1
        assert len(events(served, "store_reachable")) == 1
        assert metric(served, "sallyport_store_reachable") == 1


def test_a_connection_that_is_cut_is_made_anew_with_a_token_of_its_own(fed, gateway, bed, issuer):
    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    line = f"connection authorized: user=kong database={fed.name}"
    before = len(bed.log_lines(line))
    fed.sql(f"select pg_terminate_backend(pid) from pg_stat_activity"
            f" where usename = 'kong' and datname = '{fed.name}'")
    bed.wait_for_log(line, count=before + 1)
    wait_for_state(served, "listening")
    feed(fed, renamed(bed, issuer, "later"))
    wait_for_path(served, "/later/2")


def test_a_node_that_only_listens_is_idle(fed, gateway, bed):
    def cpu_seconds():
        fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    asked = f"db={fed.name} app=sallyport LOG:  statement: select pg_is_in_recovery()"
    before = len(bed.wait_for_log(asked))
    began = cpu_seconds()
    bed.wait_for_log(asked, count=before + 4)  # every half second
    assert cpu_seconds() - began < 0.5


def test_sts_is_asked_once_however_often_a_connection_is_made_anew(fed, gateway, bed):
    def tell(session):
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token)
        bed.set_keys([*bed.keys, key])

    before = list(bed.keys)
    with running(Sts(on_mint=tell)) as (sts,):
        base = AccessKey.fresh()  # PostgreSQL does not know it: only sessions can log in
        sts.know(base.access_key_id, base.secret_access_key)
        try:
            served = gateway(
                environment={**base.environment(), **sts.environment()},
                node=node(fed, pg_iam_auth_assume_role_arn="arn:aws:iam::123456789012:role/store"))
            wait_for_state(served, "listening")
            asked = len(sts.requests)
            line = f"connection authorized: user=kong database={fed.name}"
            for _ in range(3):
                logins = len(bed.log_lines(line))
                fed.sql(f"select pg_terminate_backend(pid) from pg_stat_activity"
                        f" where usename = 'kong' and datname = '{fed.name}'")
                bed.wait_for_log(line, count=logins + 1)
                wait_for_state(served, "listening")
            assert asked > 0 and len(sts.requests) == asked
            served.stop()
        finally:
            bed.set_keys(before)


def test_a_stored_configuration_with_a_mistake_is_refused_and_the_one_before_goes_on(
        fed, gateway, bed, issuer):
    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    kept = (served.prefix / "store.yaml").read_bytes()
    fed.sql("update sallyport_routes set definition = '{\"paths\": [\"/x\"], \"nonsense\": 1}';"
            " insert into sallyport_revisions default values")
    wait_until(lambda: "refused" in store_status(served), 30, "a refusal")
    status = store_status(served)
    assert (status["revision"], status["refused"]) == (1, 2)
    assert status["mistake"].endswith(": route has no 'methods'")
    assert served.status("/status").json["degraded"]
    [refused] = events(served, "configuration_refused")
    assert refused["mistake"] == status["mistake"] and refused["cause"] == "database"
    assert served.get("/orders/2", served.mint("alice")).status == 200
    assert (served.prefix / "store.yaml").read_bytes() == kept
    feed(fed, renamed(bed, issuer, "good"))
    wait_for_path(served, "/good/2")
    assert "refused" not in store_status(served)
    assert store_status(served)["revision"] == 3


def test_a_read_that_fails_half_way_is_made_again(fed, gateway, bed, issuer):
    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    in_the_way = served.prefix / "store.yaml.next.new"
    in_the_way.mkdir()
    feed(fed, renamed(bed, issuer, "later"))
    wait_until(lambda: events(served, "store_unusable"), 30, "a read that fails")
    assert store_status(served)["revision"] == 1
    in_the_way.rmdir()
    wait_for_path(served, "/later/2")
    assert store_status(served)["revision"] == 2


def test_a_read_that_ends_the_connection_every_time_costs_few_logins(fed, gateway, bed):
    served = gateway(node=node(fed))
    wait_for_state(served, "listening")
    fed.sql("alter table sallyport_vaults rename to kept;"
            " create view sallyport_vaults as select kept.* from (select"
            " pg_terminate_backend(pg_backend_pid()) as ended offset 0) e left join kept on ended;"
            " grant select on sallyport_vaults to kong;"
            " insert into sallyport_revisions default values")
    made = f"connection authorized: user=kong database={fed.name}"
    bed.wait_for_log(made, count=len(bed.log_lines(made)) + 2)
    lost = len(events(served, "store_unusable"))
    wait_until(lambda: len(events(served, "store_unusable")) >= lost + 3, 40, "further attempts")
    said = [datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))
            for record in events(served, "store_unusable")]
    assert (said[-1] - said[0]).total_seconds() > 4, said
    assert served.get("/orders/2", served.mint("alice")).status == 200
    fed.sql("drop view sallyport_vaults; alter table kept rename to sallyport_vaults")
    wait_until(lambda: store_status(served)["revision"] == 2, 30, "the read")


@pytest.mark.parametrize("change", ["changed", "cut", "no key", "another key", "no seals"])
def test_a_damaged_copy_is_not_served(fed, gateway, change):
    served = gateway(node=node(fed))
    served.stop()
    copy = served.prefix / "store.yaml"
    if change == "changed":
        copy.write_text(copy.read_text().replace("/orders/{id}", "/others/{id}"))
    elif change == "cut":
        copy.write_bytes(copy.read_bytes()[:-1])
    elif change == "no key":
        (served.prefix / "store.yaml.key").unlink()
    elif change == "another key":
        (served.prefix / "store.yaml.key").write_bytes(bytes(32))
    else:
        (served.prefix / "store.yaml.seals").unlink()
    text = served.node_file.read_text()
    served.node_file.write_text(text.replace(f"pg_port = {fed.bed.port}\n", "pg_port = 1\n"))
    served.launch()
    served.process.wait(60)
    assert served.process.returncode == 1
    assert "the kept copy of the configuration is damaged" in served.log_text()
    served.process = None
    served.node_file.write_text(text)  # The database is there: the copy counts for nothing.
    served.start()
    assert served.get("/orders/2", served.mint("alice")).status == 200


def test_reading_goes_by_the_read_only_connection_with_its_own_login(fed, gateway, bed, issuer):
    """Kong's example: KONG_PG_IAM_AUTH=off, KONG_PG_RO_IAM_AUTH=on."""
    before = len(bed.log_lines("connection authorized: user=keeper"))
    served = gateway(node=node(
        fed, pg_iam_auth="off", pg_iam_auth_hostname="", pg_user="keeper", pg_password="wrong",
        pg_ssl="on", pg_ro_host="127.0.0.1", pg_ro_iam_auth="on", pg_ro_user="kong",
        pg_ro_iam_auth_hostname=bed.hostname))
    assert served.get("/orders/2", served.mint("alice")).status == 200
    bed.wait_for_log(f"connection authorized: user=kong database={fed.name}")
    assert len(bed.log_lines("connection authorized: user=keeper")) == before
    # Nothing can be heard of by that login, so the database is asked.
    wait_for_state(served, "polling")
    assert "password authentication failed" in store_status(served)["last_error"]
    feed(fed, renamed(bed, issuer, "later"))
    wait_for_path(served, "/later/2")


def test_while_the_database_is_away_the_last_configuration_is_served(fed, gateway):
    served = gateway(node=node(fed))
    assert served.get("/orders/2", served.mint("alice")).status == 200
    served.stop()
    text = served.node_file.read_text()
    away = text.replace(f"pg_port = {fed.bed.port}\n", "pg_port = 1\n")
    served.node_file.write_text(away)
    served.start()
    assert served.get("/orders/2", served.mint("alice")).status == 200
    record = events(served, "store_unreachable")[0]
    assert "Connection refused" in record["detail"]
    assert store_status(served)["state"] == "away"
    assert "revision" not in store_status(served)


def test_an_import_that_lacks_the_bundle_warns_and_the_node_names_what_it_refused(
        fed, gateway, bed, issuer):
    """Where rds_ca_bundle is missing: another node may have the file."""
    missing = fed.folder / "no-such-bundle.pem"
    served = gateway(node={**node(fed), "rds_ca_bundle": missing})
    wait_for_state(served, "listening")
    text = harness.config_for(bed, issuer).replace(
        f"  sslrootcert: {bed.ca.file}\n", "  sslrootcert: rds\n")
    path = fed.folder / "shop.yaml"
    path.write_text(text)
    line = text[: text.index("name: shop")].count("\n") + 1
    fed.write_conf(f"rds_ca_bundle = {missing}")
    got = fed.run("config", "db_import", path)
    assert got.returncode == 0 and got.stdout.endswith("import successful\n")
    assert got.stderr == (
        f"{path}:{line}: warning: service shop: sslrootcert rds: the rds_ca_bundle {missing} "
        "cannot be read\n")
    wait_until(lambda: events(served, "configuration_refused"), 20, "the refusal")
    [mistake] = [r for r in events(served, "configuration") if r["level"] == "error"]
    assert mistake["file"] == str(served.prefix / "store.yaml.next")
    assert mistake["text"] == (
        "service shop: sslrootcert rds: the file of trusted certificates cannot be read: "
        f"rds_ca_bundle = {missing}")
    assert served.get("/orders/2", served.mint("alice")).status == 200


def test_a_start_whose_login_is_refused_serves_the_copy_and_says_so(fed, gateway):
    fed.sql(KEEPER_READS)
    served = gateway(node=node(fed, **BY_PASSWORD))
    served.stop()
    text = served.node_file.read_text()
    served.node_file.write_text(text.replace("hunter2", "hunter3"))
    served.start()
    assert served.get("/orders/2", served.mint("alice")).status == 200
    wait_until(lambda: len(events(served, "store_refused")) == 2, 20, "the thread that looks on")
    started, tried = events(served, "store_refused")
    assert started["message"] == (
        "the configuration read last is served: the database refuses the login")
    assert started["file"] == str(served.prefix / "store.yaml")
    for record in (started, tried):
        assert record["level"] == "error" and record["connection"] == "read-write"
        assert "password authentication failed" in record["detail"]
    assert not events(served, "store_unreachable")
    # The process that runs is left alone by a reload that cannot log in.
    got = served.run("reload", "-c", served.node_file)
    assert got.returncode == 1 and "refuses the login" in got.stderr, got.stdout
    served.node_file.write_text(text)
    got = served.run("reload", "-c", served.node_file)
    assert got.returncode == 0, got.stderr
    wait_for_state(served, "listening")
    assert len(events(served, "store_reachable")) == 1


def test_while_aws_is_away_the_last_configuration_is_served(fed, gateway):
    """A restart while STS fails must not be the end of everything that needs no STS."""
    served = gateway(node=node(fed))
    assert served.get("/orders/2", served.mint("alice")).status == 200
    served.stop()
    token = fed.folder / "token"
    token.write_text("a.b.c")
    served.environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pod",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "",
    }
    served.launch()
    wait_until(lambda: any(r["event"] == "store_unreachable" for r in served.log()), 20, "the log")
    wait_until(lambda: sum(r["event"] == "started" for r in served.log()) == 2, 20, "the start")
    # The start says it; the thread that looks for changes may have said it again.
    record = next(r for r in served.log() if r["event"] == "store_unreachable")
    assert "http://127.0.0.1:1" in record["detail"]
    served.stop()
    before = sum(r["event"] == "store_unreachable" for r in served.log())

    served.environment = {"AWS_ACCESS_KEY_ID": "AKIA"}  # a mistake, and no outage
    served.launch()
    assert served.process.wait(30) == 1
    served.process = None
    events = [r["event"] for r in served.log()]
    assert events.count("started") == 2 and events.count("store_unreachable") == before


@pytest.mark.parametrize("name,said", [
    ("away", "cannot be reached"),
    ("bare", "needs bootstrapping"),
    ("newer", "made by a newer version"),
])
def test_without_a_configuration_there_is_no_start(store, gateway, name, said):  # noqa: F811
    if name == "newer":
        assert_done(store.migrations("bootstrap"))
        store.sql("insert into sallyport_migrations (name) values ('999_later')")
    more = {"pg_port": 1} if name == "away" else {}
    made = gateway(start=False, node=node(store, **more))
    if name == "newer":  # What was read last is no excuse for this.
        (made.prefix / "store.yaml").write_text(json.dumps({"_format_version": "3.0"}))
    made.launch()
    made.process.wait(60)
    assert made.process.returncode == 1 and said in made.log_text()
    made.process = None


def test_a_node_changes_from_password_to_iam_and_back_by_a_reload(fed, gateway, bed):
    fed.sql(KEEPER_READS)
    served = gateway(node=node(fed, **BY_PASSWORD))
    token = served.mint("alice")
    with_password = served.node_file.read_text()
    with_iam = with_password
    for name, value in {"pg_iam_auth": "on", "pg_iam_auth_hostname": bed.hostname,
                        "pg_user": "kong", "pg_password": ""}.items():
        with_iam = with_iam.replace(f"{name} = {BY_PASSWORD[name]}\n", f"{name} = {value}\n")
    for text, user in ((with_iam, "kong"), (with_password, "keeper")):
        line = f"connection authorized: user={user} database={fed.name}"
        before = len(bed.log_lines(line))
        served.node_file.write_text(text)
        got = served.run("reload", "-c", served.node_file)
        assert got.returncode == 0 and "restart:" not in got.stdout, got.stderr + got.stdout
        bed.wait_for_log(line, count=before + 2)  # the command's, and the node's
        wait_for_state(served, "listening")
        assert served.get("/orders/2", token).status == 200
