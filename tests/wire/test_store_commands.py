"""Commands that read what a node serves, with database = postgres and no node running: from the
database, else from the node's own copy, and never from one that is damaged."""

import json
import os
import subprocess

import harness
import pytest
from bed.postgres import AccessKey, wait_until
from doubles.secrets_manager import CURRENT, SecretsManager
from stored import CLEAN, assert_done, logins, store  # noqa: F401 (fixtures)
from test_store_served import BY_PASSWORD, KEEPER_READS, node

ROTATED = {"username": "app_kept", "password": "first-password", "engine": "postgres"}


@pytest.fixture
def aws():
    double = SecretsManager()
    double.key = AccessKey.fresh(temporary=True)
    double.know(double.key.access_key_id, double.key.secret_access_key, double.key.session_token)
    yield double
    double.close()


@pytest.fixture
def fed(store, bed, issuer):  # noqa: F811
    """The tables hold the shop, and a vault of the shop's own."""
    assert_done(store.migrations("bootstrap"))
    vault = "\nvaults:\n- {name: env, prefix: own, config: {prefix: SHOP_}}\n"
    feed(store, harness.config_for(bed, issuer) + vault)
    return store


def feed(store, text):  # noqa: F811
    path = store.folder / "shop.yaml"
    path.write_text(text)
    got = store.run("config", "db_import", path)
    assert got.returncode == 0, got.stderr


@pytest.fixture
def offline(fed):
    """Runs a command by a sallyport.conf of this database; pg_… may say otherwise."""
    prefix = fed.folder / "prefix"
    prefix.mkdir()

    def run(*arguments, environment=None, **more):
        conf = fed.folder / "sallyport.conf"
        properties = {"prefix": prefix, "proxy_listen": "127.0.0.1:8000", "allow_plaintext": "on",
                      **node(fed, **more)}
        conf.write_text("".join(f"{k} = {v}\n" for k, v in properties.items() if v != ""))
        clean = {n: v for n, v in os.environ.items() if not n.startswith(CLEAN)}
        clean |= fed.bed.keys[0].environment() | {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
        got = subprocess.run(
            [str(harness.binary()), *map(str, arguments), "-c", str(conf)],
            env=clean | (environment or {}), capture_output=True, text=True, timeout=60)
        assert not harness.SANITIZER.search(got.stderr), got.stderr
        return got

    run.prefix = prefix
    return run


AWAY = {"pg_port": 1}


@pytest.fixture
def kept(fed, gateway, offline):
    """What a node of the same prefix kept before it was stopped."""
    one = gateway(node={**node(fed), "prefix": offline.prefix})
    one.stop()
    assert (offline.prefix / "store.yaml").exists()
    return offline.prefix / "store.yaml"


def files_of(offline):
    return sorted(path.name for path in offline.prefix.iterdir())


def test_check_reads_the_database(fed, offline):
    got = offline("check")
    assert (got.returncode, got.stderr) == (0, "")
    fed.sql("update sallyport_routes set definition = '{\"paths\": [\"/x\"], \"nonsense\": 1}'"
            " where name = 'order'")
    got = offline("check")
    assert got.returncode == 1 and got.stdout == ""
    lines = got.stderr.splitlines()
    assert any(line.startswith("the database:") and line.endswith(
        "error: unknown field 'nonsense' in route") for line in lines), got.stderr
    assert lines[-1].endswith("in the configuration")
    assert files_of(offline) == []


def test_check_logs_in_by_the_read_only_connection(fed, offline, bed):
    fed.sql(KEEPER_READS)
    before = len(bed.log_lines("connection authorized: user=keeper"))
    got = offline("check", pg_ro_host="localhost", pg_ro_user="keeper", pg_ro_password="hunter2",
                  pg_ro_iam_auth="off", pg_ro_ssl="on", pg_user="nobody")
    assert (got.returncode, got.stderr) == (0, "")
    bed.wait_for_log("connection authorized: user=keeper", count=before + 1)


def test_a_password_of_aws_is_read_for_the_login(fed, offline, aws):
    """Though secrets of AWS stay unread without --secrets."""
    fed.sql(KEEPER_READS)
    aws.put("kong/pg", "hunter2")
    more = {**BY_PASSWORD, "pg_password": "{vault://aws/kong%2Fpg}"}
    environment = {**aws.key.environment(), **aws.environment(), "AWS_REGION": "eu-west-1"}
    got = offline("check", environment=environment, **more)
    assert got.returncode == 0, got.stderr
    aws.put("kong/pg", "not-the-one")
    got = offline("check", environment=environment, **more)
    assert got.returncode == 1 and "password authentication failed" in got.stderr
    assert "not-the-one" not in got.stderr


def test_while_the_database_is_away_the_copy_serves_commands(offline, kept):
    for arguments in (("check",), ("setup", "shop", "--sql"), ("vault", "get", "own/colour")):
        got = offline(*arguments, environment={"SHOP_COLOUR": "red"}, **AWAY)
        assert got.returncode == 0, got.stderr
        assert f"what the node read last is taken: {kept}\n" in got.stderr
        assert "Connection refused" in got.stderr


@pytest.mark.parametrize("arguments", [
    ("check",), ("setup", "shop", "--sql"), ("rotate", "prod/shop", "--dry-run")])
def test_a_copy_that_fails_its_seal_is_refused(offline, kept, arguments):
    kept.write_text(kept.read_text().replace("/orders/{id}", "/others/{id}"))
    got = offline(*arguments, **AWAY)
    assert got.returncode == 1 and got.stdout == ""
    assert "the kept copy of the configuration is damaged" in got.stderr
    got = offline("check")  # The database is there: the copy counts for nothing.
    assert (got.returncode, got.stderr) == (0, "")


def test_without_a_copy_a_database_that_is_away_is_an_error(offline):
    for arguments in (("check",), ("setup", "shop", "--sql"), ("rotate", "prod/shop")):
        got = offline(*arguments, **AWAY)
        assert got.returncode == 1 and got.stdout == ""
        assert got.stderr.startswith("Error: the database of the configuration cannot be reached")
        assert len(got.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [
    ("check",), ("setup", "shop", "--sql"), ("rotate", "prod/shop"),
    ("vault", "get", "own/colour")])
def test_a_login_that_is_refused_is_no_reason_to_take_the_copy(offline, kept, arguments):
    wrong = {**BY_PASSWORD, "pg_password": "not-it"}
    got = offline(*arguments, environment={"SHOP_COLOUR": "red"}, **wrong)
    assert got.returncode == 1 and got.stdout == ""
    assert "refuses the login (the read-write connection): " in got.stderr
    assert 'password authentication failed for user "keeper"' in got.stderr
    assert "read last" not in got.stderr and "not-it" not in got.stderr


def test_the_refused_login_is_named_with_its_hint(fed, offline, kept):
    got = offline("check", environment={"AWS_SECRET_ACCESS_KEY": "wrong"}, pg_ro_host="127.0.0.1",
                  pg_ro_user="kong", pg_ro_iam_auth="on",
                  pg_ro_iam_auth_hostname=fed.bed.hostname)
    assert got.returncode == 1 and got.stdout == ""
    assert "refuses the login (the read-only connection): " in got.stderr
    assert "must be granted rds_iam, and the IAM identity rds-db:connect" in got.stderr
    assert "read last" not in got.stderr


def test_a_read_that_lacks_a_grant_prints_it(fed, offline, kept):
    reader = {"pg_ro_host": "localhost", "pg_ro_user": "keeper", "pg_ro_password": "hunter2",
              "pg_ro_iam_auth": "off", "pg_ro_ssl": "on"}
    got = offline("check", **reader)
    assert (got.returncode, got.stdout) == (1, "")
    assert got.stderr == (
        "Error: the database refused a statement: permission denied for table sallyport_migrations"
        "; have the tables' owner, kong, run: grant usage on schema public to keeper; grant select"
        " on all tables in schema public to keeper\n")
    fed.sql(got.stderr.rpartition("run: ")[2])
    got = offline("check", **reader)
    assert (got.returncode, got.stderr) == (0, "")
    fed.sql('create schema "Own One"')
    got = offline("check", pg_ro_schema="Own One", pg_schema="Own One", **reader)
    assert got.returncode == 1
    assert got.stderr == (
        'Error: the database refused a statement: permission denied for schema "Own One"; have '
        'its owner run: grant usage on schema "Own One" to keeper\n')


def test_an_import_that_lacks_a_grant_says_who_owns_the_tables(fed):
    fed.write_conf("pg_user = keeper", "pg_password = hunter2", "pg_ssl = on",
                   pg_host="localhost", pg_iam_auth_hostname=None)
    path = fed.folder / "shop.yaml"
    path.write_text(path.read_text().replace("/orders/{id}", "/others/{id}"))
    grants = ("grant usage on schema public to keeper; grant select, insert, update, delete on all"
              " tables in schema public to keeper")
    for table in ("migrations", "vaults"):
        got = fed.run("config", "db_import", path, iam=False)
        assert got.returncode == 1
        assert got.stderr == (
            "Error: the database refused a statement: permission denied for table "
            f"sallyport_{table}; the tables belong to kong: the "
            "login of pg_user has to own them, or be granted their owner: grant kong to keeper; "
            f"for imports alone: {grants}\n")
        fed.sql(KEEPER_READS)
    fed.sql(grants)
    got = fed.run("config", "db_import", path, iam=False)
    assert got.returncode == 0, got.stderr


def test_tables_that_are_missing_are_no_reason_to_take_the_copy(fed, offline, kept):
    assert_done(fed.migrations("reset", "-y"))
    got = offline("check")
    assert got.returncode == 1 and "needs bootstrapping" in got.stderr
    assert "read last" not in got.stderr


def test_setup_prints_what_a_service_of_the_database_needs(offline):
    got = offline("setup", "shop", "--sql")
    assert (got.returncode, got.stderr) == (0, "")
    assert 'GRANT rds_iam TO "app"' in got.stdout
    assert '"orders_reader"' in got.stdout
    got = offline("setup", "nothing", "--sql")
    assert got.returncode == 1
    assert got.stderr == "Error: the configuration has no service 'nothing'\n"


def test_vault_get_knows_the_vaults_of_the_database(offline):
    got = offline("vault", "get", "own/colour", environment={"SHOP_COLOUR": "red"})
    assert (got.returncode, got.stdout, got.stderr) == (0, "red\n", "")
    # Those that are always there need no database.
    got = offline("vault", "get", "env/SHOP_COLOUR", environment={"SHOP_COLOUR": "red"}, **AWAY)
    assert (got.returncode, got.stdout) == (0, "red\n")
    assert got.stderr.splitlines()[-1] == (
        "Warning: the vaults of the configuration are not known")


def test_check_tells_of_a_token_by_what_stands_in_the_database(offline, issuer, tmp_path):
    file = tmp_path / "token"
    file.write_text(issuer.mint("alice"))
    got = offline("check", "--token", file, "--json")
    assert got.returncode == 0, got.stderr
    assert "orders-reader" in json.dumps(json.loads(got.stdout))


# -- rotation ------------------------------------------------------------------------------------


@pytest.fixture
def rotated(fed, bed, issuer, aws):
    """The service of the database logs in by a secret that is due; the double's key is good for
    the database, too."""
    keys = bed.keys
    bed.set_keys([*keys, aws.key])
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    user = ROTATED["username"]
    hba.write_text(f"hostssl all {user} 127.0.0.1/32 scram-sha-256\n" + before)
    bed.superuser_script(
        f"create role {user} login noinherit password '{ROTATED['password']}';"
        f"grant orders_reader, orders_writer to {user}; select pg_reload_conf()")
    aws.put("prod/shop", {**ROTATED, "host": "127.0.0.1", "port": bed.port,
                          "dbname": bed.database})
    aws.secret("prod/shop").at(CURRENT).created -= 5 * 3600
    text = harness.config_for(bed, issuer)
    text = text.replace(f"postgres://app@127.0.0.1:{bed.port}",
                        f"postgres://127.0.0.1:{bed.port}")
    iam = f"  iam_auth: {{region: {bed.region}, hostname: {bed.hostname}}}\n"
    assert iam in text
    feed(fed, text.replace(iam, '  secret: "{vault://aws/prod%2Fshop}"\n'
                                "  rotation: {every: 14400}\n"))
    yield fed
    bed.superuser_script(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename ="
        f" '{user}'; drop role {user}")
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")
    bed.set_keys(keys)


def environment_of(aws, bed):
    return {**aws.key.environment(), **aws.environment(), "AWS_REGION": bed.region}


def test_a_service_of_the_database_has_its_secret_rotated(rotated, gateway, bed, aws):
    """The child process sees the service where the node does."""
    one = gateway(node=node(rotated, log_level="debug"), environment=environment_of(aws, bed))
    assert one.get("/orders/2", one.mint("alice")).status == 200

    def state():
        [shown] = one.status("/status").json["rotations"]
        assert shown["state"] in ("waiting", "good"), shown
        return shown if shown["state"] == "good" else None

    shown = wait_until(state, 60, "the rotation")
    assert (shown["service"], shown["detail"]) == ("shop", "done: the secret is rotated")
    assert aws.secret("prod/shop").document(CURRENT)["password"] != ROTATED["password"]
    assert one.get("/orders/2", one.mint("alice")).status == 200


def test_rotate_finds_its_service_in_the_database(rotated, offline, bed, aws):
    environment = environment_of(aws, bed)
    got = offline("rotate", "prod/shop", "--dry-run", "--service", "shop", environment=environment)
    assert got.returncode == 0, got.stderr
    got = offline("rotate", "prod/other", "--dry-run", "--service", "shop",
                  environment=environment)
    assert (got.returncode, got.stderr) == (
        1, "Error: the configuration has no service shop that logs in with prod/other\n")
    # sslrootcert is the service's, so the database's certificate is trusted.
    got = offline("rotate", "prod/shop", environment=environment)
    assert got.returncode == 0, got.stderr
    assert got.stdout.splitlines()[-1] == "done: the secret is rotated"
