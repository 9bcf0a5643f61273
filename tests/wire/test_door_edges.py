"""The HTTP door's edges: answers without a body, callers who leave, what is prepared at start."""

import os
import pathlib
import resource
import select
import signal
import socket

import pytest

from bed.postgres import wait_until
from harness import config_for
from raw_http import HEAD_END, parse_head, request

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"

# Behind the sandbox's own routes.
ROUTES = """
  - name: touch
    methods: [POST]
    paths: ["/touch"]
    statement:
      sql: call sales.touch(:note)
      parameters:
        note: {type: text, from: body}
      result: none
  - name: slow
    methods: [GET]
    paths: ["/slow"]
    statement:
      sql: select pg_catalog.pg_sleep(:seconds), 1 as one
      parameters:
        seconds: {type: numeric, from: query}
      read_only: true

"""


def with_more(bed, issuer):
    text = config_for(bed, issuer)
    text = text.replace("\nroles:\n", ROUTES + "roles:\n")
    text = text.replace("[order, orders, place-order]", "[order, orders, place-order, touch, slow]")
    return text.replace(
        "allow: [{routes: [order, orders]}]",
        "allow: [{routes: [order], methods: [HEAD]}, {routes: [orders]}]",
    )


@pytest.fixture(scope="module")
def procedure(bed):
    bed.superuser_sql("create table if not exists sales.touched (note text, by text)")
    bed.superuser_sql(
        "create or replace procedure sales.touch(note text) language sql as"
        " $$ insert into sales.touched values (note, current_user) $$"
    )
    bed.superuser_sql("grant insert, select on sales.touched to orders_writer")
    yield
    bed.superuser_sql("drop procedure sales.touch(text)")
    bed.superuser_sql("drop table sales.touched")


def receive_until(sock, done):
    data = b""
    while not done(data):
        part = sock.recv(65536)
        assert part, data
        data += part
    return data


@pytest.mark.parametrize(
    "path,authorised,status", [("/orders/2", False, 401), ("/no/such/path", True, 404)]
)
def test_a_refused_head_has_no_body_that_the_next_answer_could_be_taken_for(
    sallyport, path, authorised, status
):
    token = sallyport.mint("alice")
    with sallyport.raw() as sock:
        sock.sendall(request("HEAD", path, token if authorised else None))
        sock.sendall(request("GET", "/orders/2", token))
        data = receive_until(sock, lambda data: data.count(HEAD_END) == 2 and data.endswith(b"}"))
    first, second = data.split(HEAD_END)[:2]
    assert parse_head(first)[0] == status
    assert second.startswith(b"HTTP/1.1 200 ")


def test_a_decision_for_head_is_not_one_for_get(gateway, bed, issuer, procedure):
    served = gateway(config=with_more(bed, issuer))
    token = served.mint("alice")
    own = served.connect()
    for _ in range(4):  # on both workers, in both orders
        assert served.call("HEAD", "/orders/2", token, connection=own).status == 200
        assert served.call("GET", "/orders/2", token, connection=own).status == 403


def test_a_call_statement_is_prepared_at_start_and_runs_as_the_role(
    gateway, bed, issuer, procedure
):
    served = gateway(config=with_more(bed, issuer))

    def summary():
        return [line for line in served.log() if line.get("event") == "statements_prepared"]

    told = wait_until(summary, 20, "the summary of the prepared statements")
    assert told[0]["refused"] == 0, served.log_text()
    assert not [line for line in served.log() if line.get("event") == "database_protocol"]
    answer = served.post("/touch", served.mint("bob"), {"note": "explicit"})
    assert answer.status == 204, answer
    assert bed.superuser_sql("select * from sales.touched") == "explicit|orders_writer\n"


def test_the_outcome_of_a_caller_who_left_keeps_the_trace(gateway, bed, issuer, procedure):
    served = gateway(config=with_more(bed, issuer))
    with served.raw() as sock:
        sock.sendall(
            request("GET", "/slow?seconds=1", served.mint("bob"), traceparent=TRACEPARENT)
        )

        def runs():
            return bed.superuser_sql(
                "select count(*) from pg_stat_activity where state = 'active'"
                " and usename = 'app' and query like '%pg_sleep%'"
            ) == "1\n"

        wait_until(runs, 20, "the statement at the database")
        sock.shutdown(socket.SHUT_RDWR)
    intents = [r for r in served.audit() if r["kind"] == "intent"]
    records = served.wait_for_audit(intents[0]["request_id"])
    assert [r["kind"] for r in records] == ["intent", "outcome"]
    assert [r["trace_id"] for r in records] == [TRACE, TRACE]
    assert records[1]["status"] == 499


def test_only_a_well_formed_traceparent_is_given_back(sallyport):
    token = sallyport.mint("alice")
    good = sallyport.get("/orders/2", token, headers={"traceparent": TRACEPARENT})
    assert good.headers["traceparent"] == TRACEPARENT
    amazon = "Root=1-58406520-a006649127e371903a2de979"
    bad = sallyport.get(
        "/orders/2", token, headers={"traceparent": "caf\xe9", "X-Amzn-Trace-Id": amazon}
    )
    assert "traceparent" not in bad.headers
    assert {r["trace_id"] for r in sallyport.wait_for_audit(bad.request_id)} == {amazon[5:]}


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_it_waits_quietly_and_serves_when_there_are_some(gateway):
    served = gateway()
    token = served.mint("alice")
    assert served.get("/orders/2", token).status == 200
    pid = served.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 2, limits[1]))
    plain = [socket.create_connection(("127.0.0.1", served.proxy_port), 60) for _ in range(12)]
    try:
        before = cpu_seconds(pid)
        # Nobody speaks first: what comes within this second could only be an end.
        readable, _, _ = select.select(plain, [], [], 1)
        assert not readable
        assert cpu_seconds(pid) - before < 0.5
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for sock in plain:
            with served.tls.wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(request("GET", "/orders/2", token, Connection="close"))
                assert receive_until(secure, lambda data: data.endswith(b"}"))[:12] == (
                    b"HTTP/1.1 200"
                )
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for sock in plain:
            sock.close()


def sessions(bed):
    text = bed.superuser_sql("select pid from pg_stat_activity where usename = 'app'")
    return set(text.split())


def test_reloads_that_change_the_service_leave_its_old_connections_and_ends_cleanly(
    gateway, bed, issuer
):
    """Under the sanitizers: what a retired service held is freed while others are served."""
    others = sessions(bed)
    served = gateway()
    token = served.mint("alice")
    base = config_for(bed, issuer)
    assert served.get("/orders/2", token).status == 200
    old = sessions(bed) - others
    assert old

    def loaded(count):
        return lambda: sum(
            line.get("event") == "configuration_loaded" for line in served.log()
        ) >= count

    for turn in range(1, 4):
        assert served.get("/orders/2", token).status == 200
        served.write_config(
            base.replace("  claims:", f"  pool: {{max_connections: {4 + turn}}}\n  claims:")
        )
        served.process.send_signal(signal.SIGHUP)
        wait_until(loaded(turn), 20, f"reload {turn}")
        assert served.get("/orders/2", token).status == 200

    wait_until(lambda: not old & sessions(bed), 20, "the end of the first service's connections")


def test_the_answer_to_a_large_body_that_nobody_wants_arrives(sallyport):
    """Closing with bytes unread would reset the connection under the client."""
    body = b"x" * 2_000_000
    for token, status in (
        (None, 401),
        (sallyport.mint("bob"), 413),
    ):
        with sallyport.raw() as sock:
            lines = [b"POST /orders HTTP/1.1", b"Host: localhost"]
            if token:
                lines.append(b"Authorization: Bearer " + token.encode())
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
            sock.sendall(b"\r\n".join(lines) + HEAD_END)
            sock.sendall(body)
            data = receive_until(sock, lambda data: data.endswith(b"}"))
        assert parse_head(data.split(HEAD_END)[0])[0] == status
