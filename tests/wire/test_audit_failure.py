"""No audit, no call: a log that cannot be written stops the gateway before the database hears of
anything, and an answer whose outcome cannot be written is not sent."""

import os
import resource
import signal
import socket
import threading

import pytest

import harness
from bed.postgres import wait_until
from raw_http import json_request, read_answers, request

ONE_WORKER = {"workers": 1}

SLOW_ROUTE = """  - name: slow
    methods: [POST]
    paths: ["/slow"]
    statement:
      sql: >-
        with waited as materialized (select pg_catalog.pg_sleep(:seconds))
        insert into sales.orders (tenant, customer, total)
        select :tenant, 'slow', 1 from waited returning id
      parameters:
        tenant: {type: text, from: claim.tenant_id}
        seconds: {type: double precision, from: body}
      result: one

roles:
"""


def slow_config(bed, issuer):
    template = harness.shop.CONFIG.replace("roles:\n", SLOW_ROUTE, 1)
    return harness.config_for(bed, issuer, template.replace("place-order]", "place-order, slow]"))


def worker_file(gateway):
    return sorted(gateway.audit_folder.glob("*-w1-*.jsonl"))[-1]


def fill_up(gateway):
    """As a full disk would: the worker's audit file takes not one byte more.  The other files
    are shorter than it, which the calls before see to."""
    full = worker_file(gateway).stat().st_size
    assert full > gateway.stderr_file.stat().st_size
    pid = gateway.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))


def make_room(gateway):
    pid = gateway.process.pid
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


def warm_up(gateway, calls=20):
    token = gateway.mint("alice")
    connection = gateway.connect()
    for _ in range(calls):
        assert gateway.get("/orders", token, connection=connection).status == 200
    connection.close()


def ready_status(gateway):
    return gateway.status("/status/ready").status


def database_lines(bed):
    return [line for line in bed.log_lines() if "user=app" in line and "sales.orders" in line]


@pytest.mark.threads
def test_with_a_full_disk_calls_are_refused_before_they_run(bed, gateway):
    served = gateway(node=ONE_WORKER)
    warm_up(served)
    alice, bob = served.mint("alice"), served.mint("bob")
    fill_up(served)
    before = database_lines(bed)
    orders = bed.superuser_sql("select count(*), max(id) from sales.orders")
    ids = []
    for number in range(10):
        if number % 2:
            answer = served.get("/orders/2", alice)
        else:
            answer = served.post("/orders", bob, {"customer": "Nobody", "total": "1"})
        assert answer.status == 503, answer
        assert answer.json["status"] == 503
        assert answer.headers["retry-after"] == "1"
        ids.append(answer.request_id)
    # Not even who fails to identify is answered as if nothing were wrong.
    assert served.get("/orders/2").status == 503
    wait_until(lambda: ready_status(served) == 503, 10, "/status/ready saying no")
    assert served.status("/status/live").status == 200
    missing = served.status("/status/ready").json["missing"]
    assert [finding["reason"] for finding in missing] == ["audit"], missing
    assert database_lines(bed) == before
    assert bed.superuser_sql("select count(*), max(id) from sales.orders") == orders
    make_room(served)
    wait_until(lambda: ready_status(served) == 200, 10, "/status/ready saying yes again")
    answer = served.get("/orders/2", alice)
    assert answer.status == 200, answer
    assert len(served.wait_for_audit(answer.request_id)) == 2
    # What was refused without a record never ran, and the chain goes on whole.
    assert not set(ids) & {line.split("app=")[1][:24] for line in database_lines(bed)}
    served.stop()
    verified = served.run("audit", "verify", "--dir", served.audit_folder)
    assert verified.returncode == 0, verified.stdout


def test_calls_of_one_turn_are_refused_together_when_their_intents_cannot_be_written(bed, gateway):
    """The first calls after the disk is full: admitted, intents appended, and then not run."""
    served = gateway(node=ONE_WORKER)
    warm_up(served)
    bob = served.mint("bob")
    fill_up(served)
    orders = bed.superuser_sql("select count(*), max(id) from sales.orders")
    socks = [served.raw() for _ in range(4)]
    data = json_request("POST", "/orders", bob, {"customer": "Nobody", "total": "1"})
    for sock in socks:
        sock.sendall(data * 2)
    make_room_later = threading.Timer(1, make_room, [served])
    make_room_later.start()
    for sock in socks:
        answers, _ = read_answers(sock, 2)
        # An answer held back until its record was written may come after the recovery; a call
        # refused before it ran says so either way.
        assert {answer.status for answer in answers} <= {200, 502, 503}, answers
        assert answers[0].status in (502, 503), answers
        sock.close()
    make_room_later.join()
    wait_until(lambda: ready_status(served) == 200, 10, "/status/ready saying yes again")
    added = bed.superuser_sql("select count(*) from sales.orders where customer = 'Nobody'")
    records = served.audit()
    outcomes = {r["request_id"]: r for r in records if r["kind"] == "outcome"}
    intents = [r["request_id"] for r in records if r["kind"] == "intent"]
    assert set(intents) == set(outcomes)
    confirmed = [
        r for id, r in outcomes.items() if r["status"] == 200 and served.bed.log_lines(id)
    ]
    assert int(added) <= len(confirmed)
    assert orders != ""


def test_an_answer_whose_outcome_cannot_be_written_is_not_sent(bed, issuer, gateway):
    served = gateway(node=ONE_WORKER, config=slow_config(bed, issuer))
    warm_up(served)
    slow = served.raw()
    slow.sendall(json_request("POST", "/slow", served.mint("bob"), {"seconds": 1}))
    running = "select count(*) from pg_stat_activity where usename = 'app' and state = 'active'"
    wait_until(lambda: bed.superuser_sql(running) == "1\n", 10, "the slow call in the database")
    fill_up(served)
    wait_until(lambda: bed.superuser_sql(running) == "0\n", 10, "the slow call's end")
    wait_until(lambda: ready_status(served) == 503, 10, "the failing of the audit")
    # The row is there, and still nobody is told.
    assert bed.superuser_sql("select count(*) from sales.orders where customer = 'slow'") != "0\n"
    slow.settimeout(0.5)
    with pytest.raises(socket.timeout):
        slow.recv(1)
    make_room(served)
    slow.settimeout(20)
    answers, _ = read_answers(slow, 1)
    assert answers[0].status == 200
    kinds = [record["kind"] for record in served.wait_for_audit(answers[0].request_id)]
    assert kinds == ["intent", "outcome"]


def test_pipelined_refusals_wait_for_the_audit_too(gateway):
    """The second answer of one write is no freer than the first."""
    served = gateway(node=ONE_WORKER)
    warm_up(served)
    sock = served.raw()
    token = served.mint("alice")
    sock.sendall(request("GET", "/orders/2", token))
    assert read_answers(sock, 1)[0][0].status == 200
    fill_up(served)
    # The first meets the full disk; the others of the same write meet a log that is known broken.
    sock.sendall(request("GET", "/nowhere", token) * 3)
    sock.settimeout(0.5)
    try:
        early = read_answers(sock, 3)[0]
    except socket.timeout:
        early = []
    assert all(answer.status == 503 for answer in early), early
    make_room(served)
    sock.settimeout(20)
    late = read_answers(sock, 3 - len(early))[0] if len(early) < 3 else []
    assert late or early
    wait_until(lambda: ready_status(served) == 200, 10, "/status/ready saying yes again")
    denied = [answer.request_id for answer in early + late if answer.status == 404]
    recorded = {r["request_id"] for r in served.audit() if r["kind"] == "denial"}
    assert set(denied) <= recorded


def test_a_folder_that_cannot_take_the_next_file_is_no_reason_to_refuse(gateway):
    """At rotation the old file goes on, so nothing is lost, and it is said in the log."""
    served = gateway(node={**ONE_WORKER, "audit_rotate_bytes": 65536})
    token = served.mint("alice")
    connection = served.connect()
    assert served.get("/orders", token, connection=connection).status == 200
    # No file can be opened any more; what is open goes on.
    soft, hard = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    first = worker_file(served)
    while first.stat().st_size < 100_000:
        assert served.get("/orders", token, connection=connection).status == 200
    assert worker_file(served) == first
    assert any(r["event"] == "audit_rotation_failed" for r in served.log())
    resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert served.get("/orders", token, connection=connection).status == 200
    assert served.get("/orders", token, connection=connection).status == 200
    assert worker_file(served) != first
    served.stop()
    verified = served.run("audit", "verify", "--dir", served.audit_folder)
    assert verified.returncode == 0, verified.stdout


def test_audit_fsync_works(gateway):
    """Each record is on the disk before its answer leaves: as many syncs as turns."""
    served = gateway(node={**ONE_WORKER, "audit_fsync": "on"})
    warm_up(served, 10)
    answer = served.get("/orders/2", served.mint("alice"))
    assert answer.status == 200
    assert len(served.audit(answer.request_id)) == 2
    served.process.send_signal(signal.SIGKILL)
    served.process.wait()
    served.process = None
    verified = served.run("audit", "verify", "--dir", served.audit_folder)
    assert verified.returncode == 0, verified.stdout
    assert os.path.getsize(worker_file(served)) > 0
