"""`rotation: {every: …}` of a service: the gateway rotates the secret that it logs in with, while
it serves."""

import json
import threading

import pytest

import served
from bed.postgres import AccessKey, wait_until
from doubles.secrets_manager import CURRENT, PENDING, PREVIOUS, SecretsManager

USER, MASTER = "app_rotated", "app_master"
FIRST = "first-password"
WHO = "select session_user::text as login, pg_backend_pid() as pid"
OLD_S = 5 * 3600  # older than `every`


@pytest.fixture
def users(bed):
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    names = f"{USER},{USER}_clone,{MASTER}"
    hba.write_text(f"hostssl all {names} 127.0.0.1/32 scram-sha-256\n" + before)
    bed.superuser_script(
        f"create role {USER} login noinherit password '{FIRST}';"
        f"create role {MASTER} login createrole password '{FIRST}';"
        f"grant orders_reader, orders_writer to {USER};"
        f"grant orders_reader, orders_writer to {MASTER} with admin option;"
        "select pg_reload_conf()"
    )
    yield
    bed.superuser_script(
        f"select pg_terminate_backend(pid) from pg_stat_activity where usename like '{USER}%';"
        f"drop role {USER}; drop role if exists {USER}_clone; drop owned by {MASTER};"
        f"drop role {MASTER};"
    )
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")


@pytest.fixture
def aws(bed, users):
    double = SecretsManager()
    double.key = AccessKey.fresh(temporary=True)
    double.know(
        double.key.access_key_id, double.key.secret_access_key, double.key.session_token
    )
    common = {"engine": "postgres", "host": "127.0.0.1", "port": bed.port, "dbname": bed.database}
    double.put("prod/shop", {**common, "username": USER, "password": FIRST})
    double.put("prod/master", {**common, "username": MASTER, "password": FIRST})
    double.secret("prod/shop").at(CURRENT).created -= OLD_S
    yield double
    double.close()


@pytest.fixture
def start(gateway, bed, issuer, aws):
    def one(**rotation):
        made = served.service(bed, [served.route("who", WHO, result="one")], password=None)
        del made["password"]
        made["url"] = f"postgres://127.0.0.1:{bed.port}/{bed.database}"
        made["secret"] = "{vault://aws/prod%2Fshop}"
        # Logins all the time, also in the middle of a rotation.
        made["pool"] = {"max_lifetime_ms": 100}
        made["rotation"] = {"every": 4 * 3600, **rotation}
        text = json.loads(served.config(bed, issuer, [made]))
        return gateway(
            config=json.dumps(text),
            node={"log_level": "debug"},
            environment={**aws.key.environment(), **aws.environment()},
        )

    return one


def events(gateway, name):
    return [line for line in gateway.log() if line.get("event") == name]


def rotation_of(gateway):
    return gateway.status("/status").json["rotations"][0]


def logins(gateway):
    return [r for r in gateway.audit() if r["kind"] == "login"]


class Load:
    """Calls without a pause; every answer must be 200."""

    def __init__(self, gateway):
        self.gateway, self.stop = gateway, threading.Event()
        self.token = gateway.mint("alice")
        self.statuses, self.logins = [], set()
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]

    def run(self):
        connection = self.gateway.connect()
        while not self.stop.is_set():
            answer = self.gateway.get("/who", self.token, connection=connection)
            self.statuses.append(answer.status)
            if answer.status == 200:
                self.logins.add(answer.json["login"])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_a_due_secret_is_rotated_under_load_and_no_call_fails(bed, aws, start):
    one = start()
    with Load(one) as load:
        wait_until(lambda: events(one, "secret_rotated"), 60, "the rotation")
        seen = len(load.statuses)
        wait_until(lambda: len(load.statuses) > seen + 50, 30, "calls after the rotation")
        at = len(logins(one))
        wait_until(lambda: len(logins(one)) > at + 3, 30, "logins after the rotation")
    assert set(load.statuses) == {200}
    assert load.logins == {USER}
    secret = aws.secret("prod/shop")
    assert secret.document(PREVIOUS)["password"] == FIRST
    new = secret.document(CURRENT)["password"]
    assert new != FIRST
    assert aws.count("PutSecretValue") == 1
    shown = rotation_of(one)
    assert (shown["service"], shown["secret"]) == ("shop", "prod/shop")
    assert shown["state"] == "good"
    assert shown["detail"] == "done: the secret is rotated"
    metrics = one.status("/metrics").body.decode()
    assert 'sallyport_rotations_total{service="shop",result="rotated"} 1' in metrics
    for text in (one.log_text(), json.dumps(one.audit())):
        assert new not in text and FIRST not in text


def test_two_nodes_and_two_users_rotate_once(bed, aws, start):
    both = [start(strategy="alternating-users", master="{vault://aws/prod%2Fmaster}")]
    both.append(start(strategy="alternating-users", master="{vault://aws/prod%2Fmaster}"))

    def looked(gateway):
        return rotation_of(gateway)["state"] == "good"

    wait_until(lambda: all(looked(one) for one in both), 60, "a look of both nodes")
    assert sum(len(events(one, "secret_rotated")) for one in both) == 1
    assert aws.count("PutSecretValue") == 1
    assert aws.secret("prod/shop").document(CURRENT)["username"] == USER + "_clone"


def test_a_secret_that_rds_manages_is_only_followed(bed, aws, start):
    aws.secret("prod/shop").owning_service = "rds"
    one = start()
    wait_until(lambda: events(one, "rotation_followed"), 60, "the log's line")
    assert rotation_of(one)["state"] == "followed"
    assert aws.count("PutSecretValue") == 0
    assert one.status("/status/ready").json["degraded"] is False


def test_a_rotation_that_fails_is_told_and_tried_again(bed, aws, start):
    aws.denied.add("UpdateSecretVersionStage")
    one = start()
    wait_until(lambda: events(one, "rotation_failed"), 60, "the failure")
    shown = rotation_of(one)
    assert shown["state"] == "failed" and shown["failures"] == 1
    assert "UpdateSecretVersionStage" in shown["detail"]
    ready = one.status("/status/ready").json
    assert [w["reason"] for w in ready["warnings"]] == ["rotation"]
    # AWSCURRENT does not serve now, AWSPENDING does: by hand, or later by itself, it is ended.
    aws.denied.clear()
    wait_until(lambda: aws.secret("prod/shop").at(PENDING), 5, "AWSPENDING")
    done = one.run("rotate", "prod/shop", "-c", one.node_file)
    assert done.returncode == 0, done.stderr
    assert "goes on with version" in done.stdout
    assert one.get("/who", one.mint("alice")).json["login"] == USER


def test_another_host_than_the_services_is_refused(bed, aws, start):
    document = aws.secret("prod/shop").document()
    aws.put("prod/shop", {**document, "host": "localhost"})
    aws.secret("prod/shop").at(CURRENT).created -= OLD_S
    one = start()
    wait_until(lambda: events(one, "rotation_failed"), 60, "the refusal")
    assert "another host or port" in rotation_of(one)["detail"]
    assert aws.count("PutSecretValue") == 0
