"""Secrets that the database holds sealed: who can read them, and the rotation of their key."""

import base64
import json
import re
import signal
import subprocess
import threading

import harness
import psycopg2
import psycopg2.extensions
import pytest
import served
import yaml
from bed.postgres import wait_until
from doubles.secrets_manager import SecretsManager
from stored import assert_done, logins, store  # noqa: F401 (fixtures)
from test_store_served import events, node, store_status, wait_for_path

USER = "app_sealed"
PASSWORD = "correct-horse-battery-staple"
WHO = "select session_user::text as login"
READER = served.role("who", "orders-readers", "orders_reader")


@pytest.fixture(scope="module")
def login(bed):
    """A login by password, whose text the server never sees either."""
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"hostssl all {USER} 127.0.0.1/32 scram-sha-256\n" + before)
    with psycopg2.connect(bed.superuser_dsn()) as connection:
        verifier = psycopg2.extensions.encrypt_password(
            PASSWORD, USER, connection, "scram-sha-256")
        connection.cursor().execute(
            f"create role {USER} login noinherit password '{verifier}';"
            f" grant orders_reader to {USER}")
    bed.superuser_sql("select pg_reload_conf()")
    yield USER
    end_logins(bed)
    bed.superuser_sql(f"drop role {USER}")
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")


def end_logins(bed):
    """The next call needs a login."""
    pids = {b["pid"] for b in served.backends(bed, USER)}
    bed.superuser_sql(f"select pg_terminate_backend(pid) from pg_stat_activity"
                      f" where usename = '{USER}'")
    wait_until(lambda: not pids & {b["pid"] for b in served.backends(bed, USER)}, 20, "their end")


def shop(bed, issuer, password=PASSWORD, path="/who", **more):
    route = served.route("who", WHO, path=path, result="one")
    service = served.service(bed, [route], user=USER, password=password, **more)
    return served.config(bed, issuer, [service], roles=[READER])


def keyring(key, *previous):
    lines = {"keyring_enabled": "on", "keyring_key": key}
    if previous:
        lines["keyring_previous_keys"] = ", ".join(map(str, previous))
    return lines


def with_keys(store, key, *previous):  # noqa: F811
    store.write_conf(**keyring(key, *previous))


def generate(store, name):  # noqa: F811
    """A key's file, and its id."""
    path = store.folder / name
    got = subprocess.run([harness.binary(), "keyring", "generate", path], capture_output=True,
                         text=True, check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    return path, re.fullmatch(r"the key's id is ([0-9a-f]{16})\n", got.stdout)[1]


def feed(store, text, **options):  # noqa: F811
    path = store.folder / "shop.yaml"
    path.write_text(text)
    got = store.run("config", "db_import", path, **options)
    assert got.returncode == 0, got.stderr
    return got.stdout


def definition(store):  # noqa: F811
    return store.sql("select definition from sallyport_services")


@pytest.fixture
def keyed(store, login):  # noqa: F811
    """Tables, and a keyring with one key in a file."""
    assert_done(store.migrations("bootstrap"))
    store.key, store.key_id = generate(store, "one.key")
    with_keys(store, store.key)
    return store


def assert_served(gateway_, bed):
    end_logins(bed)
    answer = gateway_.get("/who", gateway_.mint("alice"))
    assert (answer.status, answer.json) == (200, {"login": USER})


# -- who can read it ---------------------------------------------------------------------------


def everything(folder):
    return b"\n".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("place", ["file", "environment", "aws"])
def test_a_sealed_password_logs_in_and_nobody_else_reads_it(
        keyed, gateway, bed, issuer, place):
    key = keyed.key.read_text().strip()
    environment, double = dict(bed.keys[0].environment()), None
    if place == "environment":
        environment["GATEWAY_KEY"] = key
    elif place == "aws":
        double = SecretsManager()
        double.know(bed.keys[0].access_key_id, bed.keys[0].secret_access_key)
        double.put("gateway/key", key)
        environment |= double.environment()
    where = {"file": keyed.key, "environment": "{vault://env/GATEWAY_KEY}",
             "aws": "{vault://aws/gateway%2Fkey}"}[place]
    with_keys(keyed, where)
    for name, value in {"log_statement": "all", "log_parameter_max_length": -1}.items():
        bed.superuser_sql(f"alter database {keyed.name} set {name} = '{value}'")
    said = [feed(keyed, shop(bed, issuer), environment=environment)]
    assert said[0].splitlines()[:2] == ["+ issuer dev", "+ service shop"]
    export = keyed.run("config", "db_export", "-", environment=environment).stdout
    [service] = yaml.safe_load(export)["services"]
    assert re.fullmatch(r"\{keyring://v1/" + keyed.key_id + r"/[\w-]+\}", service["password"])
    assert service["password"] in definition(keyed)
    # What does not change is no difference; what does is named, and never shown.
    file = keyed.folder / "shop.yaml"
    got = keyed.run("config", "diff", file, environment=environment)
    assert (got.returncode, got.stdout) == (0, "")
    file.write_text(shop(bed, issuer, "another"))
    got = keyed.run("config", "diff", file, environment=environment)
    assert (got.returncode, got.stdout) == (2, "~ service shop: password\n")
    status = keyed.run("keyring", "status", environment=environment)
    assert_done(status)
    assert status.stdout == f"key {keyed.key_id}  current   1 secret\nreferences  0\n"
    said += [export, got.stdout, got.stderr, status.stdout]

    running = gateway(node=node(keyed, **keyring(where)), environment=environment)
    assert_served(running, bed)
    said += [running.status(p).body.decode() for p in ("/status", "/metrics")]
    for command in (("config", "show"), ("check",), ("check", "--secrets"), ("reload",)):
        got = running.run(*command, "-c", running.node_file)
        assert got.returncode == 0, got.stderr
        assert f"= {where}" in got.stdout or command != ("config", "show")
        said += [got.stdout, got.stderr]
    wait_until(lambda: events(running, "configuration_loaded"), 30, "a load")
    assert_served(running, bed)
    running.stop()
    bed.superuser_sql("checkpoint")
    places = {"the server": everything(bed.data), "its log": "\n".join(bed.log_lines()).encode(),
              "the node": everything(running.prefix), "the log": running.log_text().encode(),
              "what was said": "\n".join(said).encode()}
    assert len(running.audit()) >= 2
    sealed = service["password"].encode()
    for name in ("the server", "its log", "the node", "what was said"):
        assert sealed in places[name], name
    raw = base64.b64decode(key)
    for name, text in places.items():
        for secret in (PASSWORD.encode(), key.encode(), raw.hex().encode(), raw):
            assert secret not in text, name
    if double is not None:
        double.close()


def test_an_export_comes_back_the_same(keyed, bed, issuer):
    feed(keyed, shop(bed, issuer))
    before = keyed.run("config", "db_export", "-").stdout
    file = keyed.folder / "export.yaml"
    file.write_text(before)
    assert feed(keyed, before).splitlines()[0] == "nothing to change"
    assert_done(keyed.migrations("reset", "--yes"))
    assert_done(keyed.migrations("bootstrap"))
    feed(keyed, before)
    assert keyed.run("config", "db_export", "-").stdout == before


def test_without_the_keyring_a_secret_is_refused_and_a_sealed_one_too(keyed, bed, issuer):
    feed(keyed, shop(bed, issuer))
    export = keyed.run("config", "db_export", "-").stdout
    line = 1 + export.splitlines().index(next(
        line for line in export.splitlines() if "password:" in line))
    revisions = "select count(*) from sallyport_revisions"
    before = keyed.sql(revisions)
    keyed.write_conf()
    file = keyed.folder / "plain.yaml"
    for text, said in ((shop(bed, issuer), "1:"), (export, f"{line}:")):
        file.write_text(text)
        for action in ("db_import", "diff"):
            got = keyed.run("config", action, file)
            assert got.returncode == 1 and got.stdout == "" and f"{file}:{said}" in got.stderr
            assert PASSWORD not in got.stderr
            if said == "1:":
                assert ("'password' must be a reference like \"{vault://env/NAME}\": no secret "
                        "stands in this file; with keyring_enabled = on in sallyport.conf an "
                        "import seals one\n") in got.stderr
    assert "'password' of service 'shop': it is sealed by the key " + keyed.key_id in got.stderr
    assert keyed.sql(revisions) == before


def test_a_sealed_secret_that_was_moved_or_changed_is_refused(keyed, gateway, bed, issuer):
    text = json.loads(shop(bed, issuer))
    text["services"].append({**text["services"][0], "name": "other", "routes": [],
                             "password": "other's"})
    feed(keyed, json.dumps(text))
    running = gateway(node=node(keyed, **keyring(keyed.key)))
    assert_served(running, bed)
    tell = "insert into sallyport_revisions default values"
    # Who may write the tables has the gateway show shop's password to the server of other.
    keyed.sql("update sallyport_services t set definition = jsonb_set(t.definition::jsonb,"
              " '{password}', s.definition::jsonb -> 'password')::json from sallyport_services s"
              f" where t.name = 'other' and s.name = 'shop'; {tell}")
    wait_until(lambda: "refused" in store_status(running), 30, "a refusal")
    mistake = store_status(running)["mistake"]
    assert mistake.endswith(f"'password' of service 'other': sealed by the key {keyed.key_id}: it "
                            "was changed, or sealed for another entity or field")
    assert_served(running, bed)
    got = keyed.run("keyring", "status")
    assert got.returncode == 0 and "2 secrets" in got.stdout
    _, new = generate(keyed, "new.key")
    with_keys(keyed, keyed.folder / "new.key", keyed.key)
    got = keyed.run("keyring", "rotate")
    assert got.returncode == 1 and "'password' of service 'other'" in got.stderr
    assert new not in definition(keyed)


# -- rotation ----------------------------------------------------------------------------------


def set_keys(running, key, *previous):
    lines = [line for line in running.node_file.read_text().splitlines()
             if not line.startswith("keyring_")]
    lines += [f"{name} = {value}" for name, value in keyring(key, *previous).items()]
    running.node_file.write_text("\n".join([*lines, ""]))
    loaded = len(events(running, "configuration_loaded"))
    got = running.run("reload", "-c", running.node_file)
    assert got.returncode == 0 and "after a restart:" not in got.stdout, got.stderr + got.stdout
    wait_until(lambda: len(events(running, "configuration_loaded")) > loaded, 30, "a load")


class Load:
    """Calls without an end, on a connection each; what was not 200."""

    def __init__(self, nodes):
        self.over, self.calls, self.bad = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in nodes]
        for thread in self.threads:
            thread.start()

    def run(self, running):
        token, connection = running.mint("alice"), running.connect()
        while not self.over.is_set():
            answer = running.get("/who", token, connection=connection)
            self.calls += 1
            if answer.status != 200:
                self.bad.append(answer)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def revision(store):  # noqa: F811
    return int(store.sql("select max(revision) from sallyport_revisions"))


def wait_for_revision(running, store):  # noqa: F811
    wanted = revision(store)
    wait_until(lambda: store_status(running)["revision"] == wanted, 30, f"revision {wanted}")


@pytest.mark.threads
def test_a_key_is_rotated_while_two_nodes_serve(keyed, gateway, bed, issuer):
    feed(keyed, shop(bed, issuer))
    before = keyed.run("config", "db_export", "-").stdout
    nodes = [gateway(node=node(keyed, **keyring(keyed.key))) for _ in range(2)]
    new, new_id = generate(keyed, "two.key")
    load = Load(nodes)
    try:
        for running in nodes:
            set_keys(running, new, keyed.key)
        with_keys(keyed, new, keyed.key)
        got = keyed.run("keyring", "status")
        assert got.returncode == 2
        assert got.stdout.splitlines()[:2] == [f"key {new_id}  current   0 secrets",
                                               f"key {keyed.key_id}  previous  1 secret"]
        got = keyed.run("keyring", "rotate")
        assert_done(got)
        assert got.stdout == "1 secret sealed anew\n"
        for running in nodes:
            wait_for_revision(running, keyed)
        assert new_id in definition(keyed) and keyed.key_id not in definition(keyed)
        assert_done(keyed.run("keyring", "status"))
        for running in nodes:
            set_keys(running, new)
    finally:
        load.stop()
    assert load.bad == [] and load.calls > 20
    after = keyed.run("config", "db_export", "-").stdout
    assert re.sub(r"keyring://\S+", "", after) == re.sub(r"keyring://\S+", "", before)
    number = revision(keyed)
    assert keyed.run("keyring", "rotate").stdout == "nothing to rotate\n"
    assert revision(keyed) == number
    keyed.key.unlink()
    with_keys(keyed, new)
    for running in nodes:
        assert_served(running, bed)
        assert "refused" not in store_status(running)
    feed(keyed, shop(bed, issuer, path="/later"))
    wait_for_path(nodes[0], "/later")


def test_a_node_that_lacks_the_key_says_so_and_goes_on(keyed, gateway, bed, issuer):
    feed(keyed, shop(bed, issuer))
    running = gateway(node=node(keyed, **keyring(keyed.key)))
    kept = (running.prefix / "store.yaml").read_bytes()
    new, new_id = generate(keyed, "two.key")
    with_keys(keyed, new, keyed.key)
    assert_done(keyed.run("keyring", "rotate"))
    wait_until(lambda: "refused" in store_status(running), 30, "a refusal")
    assert store_status(running)["mistake"].endswith(
        f"'password' of service 'shop': the key {new_id} that sealed it is not in the keyring, "
        "neither keyring_key nor among keyring_previous_keys")
    assert_served(running, bed)
    assert (running.prefix / "store.yaml").read_bytes() == kept
    keyed.write_conf(**keyring(keyed.key))
    got = keyed.run("keyring", "status")
    assert got.returncode == 3
    assert f"key {new_id}  missing   1 secret: service shop/password\n" in got.stdout
    set_keys(running, new)
    wait_for_revision(running, keyed)
    assert "refused" not in store_status(running)
    assert_served(running, bed)


def test_a_start_needs_the_key_and_with_it_serves_the_kept_copy(keyed, gateway, bed, issuer):
    feed(keyed, shop(bed, issuer))
    running = gateway(node=node(keyed, **keyring(keyed.key)))
    assert_served(running, bed)
    running.stop()
    text = running.node_file.read_text()
    other, _ = generate(keyed, "two.key")
    running.node_file.write_text(text.replace(str(keyed.key), str(other)))
    running.launch()
    assert running.process.wait(60) == 1
    running.process = None
    assert f"'password' of service 'shop': the key {keyed.key_id} that sealed it is not in" in (
        running.log_text())
    away = text.replace(f"pg_port = {bed.port}\n", "pg_port = 1\n")
    running.node_file.write_text(away)
    running.start()
    assert store_status(running)["state"] == "away"
    assert_served(running, bed)


def test_a_killed_rotation_leaves_the_store_whole(keyed, bed, issuer):
    text = json.loads(shop(bed, issuer))
    # Who rotates need not have what other secrets refer to.
    text["services"].append({**text["services"][0], "name": "other", "routes": [],
                             "password": "{vault://env/OTHERS}"})
    feed(keyed, json.dumps(text), environment={"OTHERS": "x"})
    before = definition(keyed)
    new, new_id = generate(keyed, "two.key")
    with_keys(keyed, new, keyed.key)
    with psycopg2.connect(bed.superuser_dsn(keyed.name)) as other:
        # The row is written, the revision waits.
        other.cursor().execute("lock table sallyport_revisions in access exclusive mode")
        other.cursor().execute("select 1")
        command, environment = keyed.command("keyring", "rotate")
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        waiting = ("select pid from pg_stat_activity where usename = 'kong'"
                   f" and datname = '{keyed.name}'")
        wait_until(lambda: keyed.sql(waiting + " and wait_event_type = 'Lock'"), 60, "the wait")
        running.send_signal(signal.SIGKILL)
        running.wait()
        other.rollback()
    wait_until(lambda: not keyed.sql(waiting), 60, "its backend's end")
    assert definition(keyed) == before and revision(keyed) == 1
    assert_done(keyed.run("keyring", "rotate"))
    assert new_id in definition(keyed) and revision(keyed) == 2


# -- the command -------------------------------------------------------------------------------


def test_keys_are_made_and_no_file_is_overwritten(tmp_path):
    def run(*arguments):
        return subprocess.run([harness.binary(), "keyring", *map(str, arguments)],
                              capture_output=True, text=True)

    path = tmp_path / "key"
    got = run("generate", path)
    assert got.returncode == 0 and path.stat().st_mode & 0o777 == 0o600
    key = path.read_text()
    assert re.fullmatch(r"[\w+/]{43}=\n", key) and key.strip() not in got.stdout + got.stderr
    got = run("generate", path)
    assert (got.returncode, got.stdout, got.stderr) == (1, "", f"Error: {path}: File exists\n")
    assert path.read_text() == key
    got = run("generate")
    assert got.returncode == 0 and re.fullmatch(r"[\w+/]{43}=\n", got.stdout)
    assert got.stdout != key and re.fullmatch(r"the key's id is [0-9a-f]{16}\n", got.stderr)
    assert run("rotated").returncode == 1 and run().returncode == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(keyed, mode):
    keyed.key.chmod(mode)
    got = keyed.run("keyring", "status")
    assert got.returncode == 1
    assert f"the file '{keyed.key}' cannot be read: others than its owner may use it" in got.stderr
