"""A caller who leaves takes the statement along: it is cancelled at the server, and the connection
serves the next caller, who never feels the cancel that was meant for another."""

import random
import signal
import socket
import threading

import pytest

import harness
import served
from bed.postgres import wait_until
from raw_http import request

SLEEP = "select pg_catalog.pg_sleep(:seconds)::text as done"
WHO = "select pg_catalog.pg_backend_pid() as pid, current_user::text as who"
SECONDS = {"seconds": {"type": "double precision", "from": "query"}}


@pytest.fixture
def one_connection(gateway, bed, issuer):
    routes = [
        served.route("sleep", SLEEP, parameters=SECONDS),
        served.route("who", WHO),
    ]
    service = served.service(bed, routes, pool={"max_connections": 1})
    return gateway(config=served.config(bed, issuer, [service]), node={"workers": 2})


def sleeping(bed, login="app"):
    """Whether the statement runs now."""
    count = bed.superuser_sql(
        f"select count(*) from pg_stat_activity where state = 'active' and usename = '{login}'"
        " and query like '%pg_sleep($1)%'"
    )
    return int(count) > 0


def leave_while(gateway, seconds, token, wait):
    """Sends the call, waits as told, and is gone."""
    sock = gateway.raw()
    sock.sendall(request("GET", f"/sleep?seconds={seconds}", token))
    wait()
    sock.close()


def test_the_statement_of_a_caller_who_left_is_cancelled(one_connection, bed):
    token = one_connection.mint("alice")
    first = one_connection.get("/who", token).json[0]["pid"]
    leave_while(
        one_connection, 60, token, lambda: wait_until(lambda: sleeping(bed), 20, "the statement")
    )
    wait_until(lambda: not sleeping(bed), 20, "the cancel")
    answer = one_connection.get("/who", token)
    assert answer.status == 200
    # The same connection, which had to be settled before it was used again.
    assert answer.json == [{"pid": first, "who": "orders_reader"}]
    outcome = [
        r for r in one_connection.audit() if r["kind"] == "outcome" and r.get("sqlstate") == "57014"
    ]
    assert [(r["status"], r["backend_pid"]) for r in outcome] == [(499, first)]
    assert bed.wait_for_log("canceling statement due to user request")


def test_no_cancel_reaches_the_next_caller(one_connection, bed):
    token = one_connection.mint("alice")
    chance = random.Random(20261122)
    for _ in range(60):
        pause = chance.random() * 0.03
        # The socket's own timeout is the wait: the statement may be running, or just over.
        def wait():
            probe = socket.socketpair()
            probe[0].settimeout(pause + 0.001)
            with pytest.raises(TimeoutError):
                probe[0].recv(1)
            for end in probe:
                end.close()

        leave_while(one_connection, 0.015, token, wait)
        answer = one_connection.get("/who", token)
        assert answer.status == 200, answer.body
    refused = [
        r
        for r in one_connection.audit()
        if r["kind"] == "outcome" and r.get("sqlstate") and r["status"] != 499
    ]
    assert refused == []


class Passage:
    """Carries connections to the database; while `losing`, a new one is closed at its first
    bytes."""

    def __init__(self, port):
        self.port_there = port
        self.losing = False
        self.lost = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here = self.listener.accept()[0]
            except OSError:
                return
            if self.losing:
                here.recv(4096)
                here.close()
                self.lost += 1
                continue
            there = socket.create_connection(("127.0.0.1", self.port_there))
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def passage(bed):
    made = Passage(bed.port)
    yield made
    made.listener.close()


@pytest.fixture
def roundabout(bed):
    """A login by password, since a token is signed for the database's own port."""
    hba = bed.data / "pg_hba.conf"
    text = hba.read_text()
    bed.superuser_sql(
        "create role roundabout login noinherit password 'ring road' in role orders_reader"
    )
    hba.write_text("hostssl all roundabout 127.0.0.1/32 scram-sha-256\n" + text)
    bed.superuser_sql("select pg_reload_conf()")
    yield "roundabout"
    hba.write_text(text)
    bed.superuser_sql("select pg_reload_conf()")


def test_a_connection_whose_cancel_went_astray_serves_nobody_else(
    gateway, bed, issuer, passage, roundabout
):
    failing = "select 1 / pg_catalog.length(pg_catalog.pg_sleep($1)::text) as done"
    routes = [
        served.route("sleep", failing.replace("$1", ":seconds"), parameters=SECONDS),
        served.route("who", WHO),
    ]
    service = served.service(
        bed,
        routes,
        url=f"postgres://{roundabout}@127.0.0.1:{passage.port}/{bed.database}",
        password="{vault://env/RING_PASSWORD}",
        pool={"max_connections": 1},
    )
    running = gateway(
        config=served.config(bed, issuer, [service]),
        node={"workers": 1},
        environment={"RING_PASSWORD": "ring road"},
    )
    token = running.mint("alice")
    first = running.get("/who", token).json[0]["pid"]

    def cancel_will_be_lost():
        wait_until(lambda: sleeping(bed, roundabout), 20, "the statement")
        passage.losing = True

    leave_while(running, 2, token, cancel_will_be_lost)
    wait_until(lambda: passage.lost, 20, "the cancel's connection")
    assert sleeping(bed, roundabout)
    passage.losing = False
    # The statement ends with an ordinary error; for all that is known the cancel still arrives.
    wait_until(lambda: not sleeping(bed, roundabout), 20, "the end of the statement")
    answer = running.get("/who", token)
    assert answer.status == 200, answer.body
    assert answer.json[0]["pid"] != first


def test_what_outlasts_a_graceful_end_is_cancelled_at_the_server(bed, issuer, gateway):
    """Not left to run on, with its locks, for a connection that has gone."""
    sleep = served.route("sleep", SLEEP, method="POST", parameters=SECONDS)
    config = served.config(bed, issuer, [served.service(bed, [sleep])])
    ending = gateway(config=config, node={"workers": 2, "shutdown_timeout_ms": 500})
    token = ending.mint("bob")
    sockets = [ending.raw() for _ in range(3)]
    for sock in sockets:
        sock.sendall(request("POST", "/sleep?seconds=60", token))
    running = (
        "select count(*) from pg_stat_activity where state = 'active' and usename = 'app'"
        " and query like '%pg_sleep($1)%'"
    )
    wait_until(lambda: bed.superuser_sql(running).strip() == "3", 20, "the statements")
    ending.process.send_signal(signal.SIGQUIT)
    assert ending.process.wait(20) == 0
    wait_until(lambda: not sleeping(bed), 5, "the cancels")
    for sock in sockets:
        sock.close()
    outcomes = [r for r in ending.audit() if r["kind"] == "outcome"]
    assert [(r["status"], r["sqlstate"], r["reason"]) for r in outcomes] == [
        (499, "57014", "shutdown")
    ] * 3
    assert [r for r in ending.log() if r["event"] == "shutdown_timeout"]
