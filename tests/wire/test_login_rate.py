"""Logins by IAM, of all nodes together, under pg_iam_auth_max_rate."""

import datetime
import json
import re
import threading
import time

import harness
import psycopg2
import pytest
from bed.postgres import wait_until
from stored import assert_done, logins, store  # noqa: F401 (fixtures)
from test_store_served import (
    KEEPER_READS, BY_PASSWORD, events, feed, metric, node, renamed, wait_for_path)

GONE_SECONDS = 15


@pytest.fixture
def fed(store, bed, issuer):  # noqa: F811
    """The tables hold the shop, with a pool of six that may log in as fast as it likes."""
    assert_done(store.migrations("bootstrap"))
    text = harness.config_for(bed, issuer)
    assert "\n  pool:" not in text
    pool = ("  pool: {max_connections: 6, shared_depth: 1, login_rate: 100,"
            " wait_timeout_ms: 20000}\n")
    feed(store, text.replace("  routes:\n", pool + "  routes:\n", 1))
    return store


def iam_logins(served):
    return served.status("/status").json["iam_logins"]


def wait_for_share(served, nodes, share, seconds=20):
    def is_so():
        at = iam_logins(served)
        return at["state"] == "shared" and (at.get("nodes"), at["share"]) == (nodes, share)

    wait_until(is_so, seconds, f"a share of {share} among {nodes} nodes")


def authorized(bed, since):
    """When the server got each connection that logged in by IAM, by its own log, in seconds."""
    received, times = {}, []
    for line in bed.log_lines(" connection "):
        pid = line.split("[", 1)[1].split("]", 1)[0]
        if "connection received" in line:
            at = datetime.datetime.fromisoformat(line[:23]).replace(tzinfo=datetime.timezone.utc)
            received[pid] = at.timestamp()
        elif re.search("connection authorized: user=(kong|app) ", line):
            times.append(received[pid])
    return sorted(at for at in times if at >= since)


def most_in_a_second(times):
    return max(sum(1 for at in times if first <= at < first + 1) for first in times)


class Storm:
    """Callers of every node, all at once, and what they were answered."""

    def __init__(self, nodes, callers=8):
        self.answers, self.ended = [], threading.Event()
        self.threads = [
            threading.Thread(target=self._call, args=(served, served.mint("alice")))
            for served in nodes for _ in range(callers)
        ]

    def _call(self, served, token):
        connection = served.connect()
        while not self.ended.is_set():
            answer = served.get("/orders/2", token, connection=connection)
            self.answers.append((answer.status, answer.body))
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)


def kill_backends(bed):
    bed.superuser_sql("select pg_terminate_backend(pid) from pg_stat_activity"
                      " where usename in ('app', 'kong')")


def storm(bed, nodes, seconds, kills):
    """The server's times of logins while all connections are cut again and again."""
    since = time.time()
    with Storm(nodes) as callers:
        for _ in range(kills):
            kill_backends(bed)
            callers.ended.wait(seconds / kills)
    refused = [body for status, body in callers.answers if status != 200]
    # What ran on a connection that was cut, or waited for a login that was: nobody waited in vain.
    cut = ("urn:sallyport:problem:connection_lost", "urn:sallyport:problem:database_unreachable")
    assert {json.loads(body)["type"] for body in refused} <= set(cut)
    assert len(callers.answers) > 50 and len(refused) < len(callers.answers) / 2
    return authorized(bed, since)


def test_no_second_sees_more_logins_than_all_nodes_may_make(fed, gateway, bed):
    nodes = [gateway(node=node(fed, pg_iam_auth_max_rate=10), start=False) for _ in range(3)]
    for served in nodes:
        served.launch()
    for served in nodes:
        wait_until(served.is_ready, 60, "/status/ready of sallyport")
        wait_for_share(served, 3, 3)
    shares = "select sum(share) from sallyport_nodes"
    wait_until(lambda: fed.sql(shares) == "9", 20, "rows that say what is kept to")
    first, second, third = nodes

    third.kill()
    killed = time.monotonic()
    times = storm(bed, [first, second], 6, 3)
    assert most_in_a_second(times) <= 10, "\n".join(map(str, times))
    assert len(times) > 15, times
    for served in (first, second):
        at = iam_logins(served)
        assert at["per_second"] > 0.5 and at["store_per_second"] > 0, at
        assert metric(served, "sallyport_iam_login_max_rate") == 10
        assert metric(served, "sallyport_nodes") == at["nodes"]
        shown = served.status("/status").json["services"]
        assert any(service["logins_per_second"] > 0 for service in shown)
        assert 'sallyport_logins_per_second{service="shop",access="primary"}' in (
            served.status("/metrics").body.decode())

    # Who vanished is counted for a time, and then no more.
    wait_for_share(first, 2, 4, GONE_SECONDS + 10)
    assert time.monotonic() - killed > GONE_SECONDS - 3
    wait_for_share(second, 2, 4)
    second.stop()
    ended = time.monotonic()
    wait_for_share(first, 1, 9)
    assert time.monotonic() - ended < 6
    assert metric(first, "sallyport_iam_login_share") == 9
    first.stop()
    assert fed.sql("select count(*) from sallyport_nodes where leaves_at is null") == "0"
    assert "configuration_loaded" not in [r["event"] for served in nodes for r in served.log()]


def test_without_the_limit_the_same_storm_is_a_storm(fed, gateway, bed):
    """The storm above can see more."""
    served = gateway(node=node(fed))
    wait_for_share(served, 1, 190)
    assert most_in_a_second(storm(bed, [served], 2, 6)) > 10


def test_a_share_outlasts_the_database_and_a_crash(fed, gateway, bed):
    served = gateway(node=node(fed, pg_iam_auth_max_rate=40))
    wait_for_share(served, 1, 38)
    kept = (served.prefix / "store.node").read_text()
    assert re.fullmatch(r"[0-9a-f-]{36} 38\n", kept)
    assert (served.prefix / "store.node").stat().st_mode & 0o777 == 0o600
    bed.halt()
    try:
        wait_until(lambda: iam_logins(served)["state"] == "kept", 20, "a share that is kept")
        assert iam_logins(served)["share"] == 38
        served.kill()
        served.start()
        wait_until(lambda: iam_logins(served)["state"] == "kept", 20, "a share that is kept")
        assert iam_logins(served)["share"] == 38
    finally:
        bed.resume()
    wait_for_share(served, 1, 38)
    assert fed.sql("select id from sallyport_nodes") == kept.split()[0]
    assert served.get("/orders/2", served.mint("alice")).status == 200
    served.stop()
    assert (served.prefix / "store.node").read_text() == kept.replace(" 38", " -")


def test_a_node_that_may_not_write_its_row_says_so_and_keeps_to_a_small_share(fed, gateway):
    fed.sql(KEEPER_READS)
    served = gateway(node=node(fed, **BY_PASSWORD))
    wait_until(lambda: iam_logins(served)["state"] == "assumed", 20, "a share that is assumed")
    at = iam_logins(served)
    assert at.pop("per_second") <= 0.2
    assert at == {"state": "assumed", "max_rate": 200, "share": 19, "store_per_second": 0.0}
    assert served.get("/orders/2", served.mint("alice")).status == 200
    [said] = events(served, "node_not_counted")
    assert "permission denied for table sallyport_nodes" in said["detail"]
    assert said["remedy"] == (
        "grant select, insert, update, delete on sallyport_nodes to the login of pg_user")
    fed.sql("grant insert, update, delete on sallyport_nodes to keeper")
    assert served.run("reload", "-c", served.node_file).returncode == 0
    wait_for_share(served, 1, 190)
    assert len(events(served, "node_counted")) == len(events(served, "node_not_counted")) == 1


def test_a_copy_of_a_prefix_is_another_node(fed, gateway):
    one = gateway(node=node(fed))
    wait_for_share(one, 1, 190)
    two = gateway(node=node(fed), start=False)
    (two.prefix / "store.node").write_text((one.prefix / "store.node").read_text())
    two.start()
    for served in (one, two):
        wait_for_share(served, 2, 95)


@pytest.fixture
def held(fed):
    """The lock under which shares are raised is somebody else's, until the transaction ends."""
    other = psycopg2.connect(fed.bed.superuser_dsn(fed.name))
    other.cursor().execute("select pg_advisory_xact_lock(1396788305, hashtext('public'))")
    yield other
    other.close()


def wait_for_the_wait(cursor):
    """The backend of a node that waits for the lock."""
    def pid():
        cursor.execute("select pid from pg_stat_activity where usename = 'kong'"
                       " and datname = current_database() and wait_event = 'advisory'")
        return cursor.fetchone()

    return wait_until(pid, 60, "the node's wait for the lock")[0]


def test_what_was_raised_while_a_node_waited_for_the_lock_is_seen(fed, gateway, held):
    """Though the login's transactions are, by default, of a level that keeps their first view."""
    fed.sql("alter role kong set default_transaction_isolation = 'repeatable read'")
    try:
        served = gateway(node=node(fed))
        cursor = held.cursor()
        cursor.execute("insert into sallyport_nodes (id, boot, name, version, share)"
                       " values (gen_random_uuid(), gen_random_uuid(), 'other', '1', 190)")
        wait_for_the_wait(cursor)
        held.commit()
        own = "select share from sallyport_nodes where name <> 'other' and share > 0"
        assert wait_until(lambda: fed.sql(own), 20, "a share") == "10"
        wait_for_share(served, 2, 10)
    finally:
        fed.sql("alter role kong reset default_transaction_isolation")


def test_a_wait_for_the_lock_that_is_cancelled_leaves_no_transaction_open(
    fed, gateway, held, bed, issuer
):
    served = gateway(node=node(fed))
    cursor = held.cursor()
    cursor.execute("select pg_cancel_backend(%s)", [wait_for_the_wait(cursor)])
    wait_until(lambda: events(served, "node_not_counted"), 20, "the refusal")
    held.rollback()
    feed(fed, renamed(bed, issuer, "later"))
    wait_for_path(served, "/later/2", seconds=10)


def test_without_a_store_the_node_is_alone(gateway):
    served = gateway(node={"pg_iam_auth_max_rate": 7})
    at = iam_logins(served)
    assert at.pop("per_second") <= 0.2
    assert at == {"state": "alone", "max_rate": 7, "share": 7, "nodes": 1,
                  "store_per_second": 0.0}
    for _ in range(3):
        assert served.get("/orders/2", served.mint("alice")).status == 200
    assert metric(served, "sallyport_iam_login_share") == 7
    assert json.loads(served.status("/status").body)["iam_logins"]["per_second"] > 0
