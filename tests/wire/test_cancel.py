"""A caller who leaves takes the statement along: it is cancelled at the server, and the connection
serves the next caller, who never feels the cancel that was meant for another."""

import random
import socket

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


def sleeping(bed):
    """Whether the statement runs now."""
    count = bed.superuser_sql(
        "select count(*) from pg_stat_activity where state = 'active' and usename = 'app'"
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
