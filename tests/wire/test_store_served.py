"""A node that serves the configuration of a database."""

import json

import harness
import pytest
from bed.postgres import wait_until
from stored import assert_done, logins, store  # noqa: F401 (fixtures)


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


def test_what_stands_in_the_database_is_served_and_read_anew_at_a_reload(fed, gateway, bed, issuer):
    served = gateway(node=node(fed))
    token = served.mint("alice")
    assert served.get("/orders/2", token).status == 200
    assert (served.prefix / "store.yaml").stat().st_mode & 0o777 == 0o600
    [record] = [r for r in served.log() if r["event"] == "store_read"]
    assert record["revision"] == 1

    feed(fed, harness.config_for(bed, issuer).replace("/orders/{id}", "/order/{id}"))
    assert served.get("/orders/2", token).status == 200
    got = served.run("reload", "-c", served.node_file)
    assert got.returncode == 0, got.stderr
    wait_until(lambda: served.get("/order/2", token).status == 200, 20, "the new route")
    assert served.get("/orders/2", token).status == 404


def test_reading_goes_by_the_read_only_connection_with_its_own_login(fed, gateway, bed):
    """Kong's example: KONG_PG_IAM_AUTH=off, KONG_PG_RO_IAM_AUTH=on."""
    before = len(bed.log_lines("connection authorized: user=keeper"))
    served = gateway(node=node(
        fed, pg_iam_auth="off", pg_iam_auth_hostname="", pg_user="keeper", pg_password="wrong",
        pg_ssl="on", pg_ro_host="127.0.0.1", pg_ro_iam_auth="on", pg_ro_user="kong",
        pg_ro_iam_auth_hostname=bed.hostname))
    assert served.get("/orders/2", served.mint("alice")).status == 200
    bed.wait_for_log(f"connection authorized: user=kong database={fed.name}")
    assert len(bed.log_lines("connection authorized: user=keeper")) == before


def test_while_the_database_is_away_the_last_configuration_is_served(fed, gateway):
    served = gateway(node=node(fed))
    assert served.get("/orders/2", served.mint("alice")).status == 200
    served.stop()
    text = served.node_file.read_text()
    away = text.replace(f"pg_port = {fed.bed.port}\n", "pg_port = 1\n")
    served.node_file.write_text(away)
    served.start()
    assert served.get("/orders/2", served.mint("alice")).status == 200
    [record] = [r for r in served.log() if r["event"] == "store_unreachable"]
    assert "Connection refused" in record["detail"]


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
    [record] = [r for r in served.log() if r["event"] == "store_unreachable"]
    assert "http://127.0.0.1:1" in record["detail"]
    served.stop()

    served.environment = {"AWS_ACCESS_KEY_ID": "AKIA"}  # a mistake, and no outage
    served.launch()
    assert served.process.wait(30) == 1
    served.process = None
    events = [r["event"] for r in served.log()]
    assert events.count("started") == 2 and events.count("store_unreachable") == 1


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
    fed.sql("grant usage on schema public to keeper;"
            " grant select on all tables in schema public to keeper")
    by_password = {"pg_iam_auth": "off", "pg_iam_auth_hostname": "", "pg_user": "keeper",
                   "pg_password": "hunter2", "pg_ssl": "on", "pg_host": "localhost"}
    served = gateway(node=node(fed, **by_password))
    token = served.mint("alice")
    with_password = served.node_file.read_text()
    with_iam = with_password
    for name, value in {"pg_iam_auth": "on", "pg_iam_auth_hostname": bed.hostname,
                        "pg_user": "kong", "pg_password": ""}.items():
        with_iam = with_iam.replace(f"{name} = {by_password[name]}\n", f"{name} = {value}\n")
    for text, user in ((with_iam, "kong"), (with_password, "keeper")):
        line = f"connection authorized: user={user} database={fed.name}"
        before = len(bed.log_lines(line))
        served.node_file.write_text(text)
        got = served.run("reload", "-c", served.node_file)
        assert got.returncode == 0 and "restart:" not in got.stdout, got.stderr + got.stdout
        bed.wait_for_log(line, count=before + 1)
        assert served.get("/orders/2", token).status == 200
