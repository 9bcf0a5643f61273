"""HTTP/1.1 through the real door: what it takes, what it refuses, and that it never says more than
one thing to one request."""

import json
import pathlib
import re
import socket
import ssl
import struct

import pytest

import harness
from bed.postgres import free_port, wait_until
from raw_http import HEAD_END, json_request, read_answers, read_to_end, request
from raw_http import split_answers

VECTORS = harness.ROOT / "tests/vectors/http/connections.txt"
TIMEOUT_MS = 700

SLOW_ROUTE = """  - name: slow
    methods: [GET]
    paths: ["/slow"]
    statement:
      sql: select pg_catalog.pg_sleep(:seconds)::text as slept
      parameters: {seconds: {type: double precision, from: query}}
      result: one

roles:
"""


@pytest.fixture(scope="module")
def door(bed, issuer, needs_gateway):
    """Short timeouts, small limits, one connection to the database, and a plain door beside."""
    text = harness.config_for(bed, issuer).replace("\nroles:\n", "\n" + SLOW_ROUTE, 1)
    text = text.replace("allow: [{routes: [order, orders", "allow: [{routes: [slow, order, orders")
    text = text.replace("  search_path:", "  pool: {max_connections: 1}\n  search_path:")
    plain = free_port()
    served = harness.Sallyport(
        bed,
        issuer,
        config=text,
        node={
            "client_header_timeout_ms": TIMEOUT_MS,
            "client_body_timeout_ms": TIMEOUT_MS,
            "keepalive_timeout_ms": TIMEOUT_MS,
            "client_max_body_size": 2000,
            "max_connections": 40,
        },
    )
    conf = served.node_file.read_text()
    served.node_file.write_text(
        re.sub(r"^(proxy_listen = .*)$", rf"\1, 127.0.0.1:{plain}", conf, flags=re.M)
    )
    served.plain_port = plain
    try:
        yield served.start()
    finally:
        served.close()


def answers_of(door, data):
    """Everything that the door says until it closes the connection."""
    sock = door.raw(20)
    sock.sendall(data)
    answers, rest = split_answers(read_to_end(sock))
    sock.close()
    assert rest == b"", rest
    return answers


# -- what it takes -------------------------------------------------------------------------------


def test_a_connection_is_kept_alive_and_says_when_not(door):
    token = door.mint("alice")
    connection = door.connect()
    ids = set()
    for number in range(1, 6):
        answer = door.get(f"/orders/{number * 2}", token, connection=connection)
        assert answer.status == 200 and "connection" not in answer.headers
        assert answer.json["id"] == number * 2
        ids.add(answer.request_id)
    assert len(ids) == 5
    connection.close()
    closing = answers_of(door, request("GET", "/orders/2", token, Connection="close"))
    assert [a.status for a in closing] == [200]
    assert closing[0].headers["connection"] == "close"


def test_pipelined_requests_are_answered_in_order(door):
    """Reads, a write, a refusal and a 404 in one write: each in its place."""
    token = door.mint("bob")
    data = b"".join(
        [
            request("GET", "/orders/1", token),
            json_request("POST", "/orders", token, {"customer": "Pip", "total": "5"}),
            request("GET", "/nowhere", token),
            request("GET", "/orders/3", token),
            request("GET", "/orders/5"),
            request("GET", "/orders/7", token),
        ]
    )
    sock = door.raw(20)
    sock.sendall(data)
    answers, rest = read_answers(sock, 6)
    assert rest == b""
    assert [a.status for a in answers] == [200, 200, 404, 200, 401, 200]
    assert [answers[place].json["id"] for place in (0, 3)] == [1, 3]
    assert answers[1].json["customer"] == "Pip" and answers[5].json["id"] == 7
    # The same, a byte at a time at the borders.
    for piece in re.findall(rb".{1,7}", data, re.S):
        sock.sendall(piece)
    answers, _ = read_answers(sock, 6)
    assert [a.status for a in answers] == [200, 200, 404, 200, 401, 200]
    sock.close()


def test_a_chunked_body_is_the_body(door):
    body = json.dumps({"customer": "Chunk", "total": "7.50"}).encode()
    head = request(
        "POST", "/orders", door.mint("bob"), Transfer_Encoding="chunked",
        Content_Type="application/json",
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:1], body[1:9], body[9:]))
    sock = door.raw(20)
    sock.sendall(head + chunks + b"0\r\n\r\n" + request("GET", "/orders/1", door.mint("bob")))
    answers, _ = read_answers(sock, 2)
    assert [a.status for a in answers] == [200, 200]
    assert answers[0].json["customer"] == "Chunk" and answers[0].json["total"] == 7.50
    sock.close()


def test_expect_100_continue_is_answered_before_the_body_and_refusals_instead_of_it(door):
    body = json.dumps({"customer": "Wait", "total": "1"}).encode()
    fields = {
        "Content_Length": len(body), "Content_Type": "application/json", "Expect": "100-continue",
    }
    sock = door.raw(20)
    sock.sendall(request("POST", "/orders", door.mint("bob"), **fields))
    assert read_answers(sock, 1)[0][0].status == 100
    sock.sendall(body)
    assert read_answers(sock, 1)[0][0].status == 200
    sock.close()
    refused = answers_of(door, request("POST", "/orders", None, **fields))
    assert [a.status for a in refused] == [401]


def test_http_1_0_is_answered_and_closed_or_kept_as_asked(door):
    line = request("GET", "/orders/2", door.mint("alice")).replace(b"HTTP/1.1", b"HTTP/1.0")
    once = answers_of(door, line)
    assert [a.status for a in once] == [200]
    sock = door.raw(20)
    kept = line.replace(HEAD_END, b"\r\nConnection: keep-alive" + HEAD_END)
    for _ in range(2):
        sock.sendall(kept)
        answer = read_answers(sock, 1)[0][0]
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
    sock.close()


def test_a_plain_listen_on_loopback_serves(door):
    with socket.create_connection(("127.0.0.1", door.plain_port), 20) as sock:
        sock.sendall(request("GET", "/orders/2", door.mint("alice")))
        assert read_answers(sock, 1)[0][0].json["id"] == 2


# -- limits of time and size ---------------------------------------------------------------------


def test_a_slow_head_is_answered_408_and_closed(door):
    for part in (b"GET /orders/2 HT", b"GET /orders/2 HTTP/1.1\r\nHost: localhost\r\nX: "):
        answers = answers_of(door, part)
        assert [a.status for a in answers] == [408], answers
        assert answers[0].headers["connection"] == "close"
    # Without a byte there is nothing to answer.
    assert answers_of(door, b"") == []


def test_a_slow_handshake_is_closed(door):
    with socket.create_connection(("127.0.0.1", door.proxy_port), 20) as sock:
        assert sock.recv(100) == b""


def test_a_slow_body_is_answered_408_and_closed(door):
    before = door.bed.superuser_sql("select count(*) from sales.orders")
    head = request(
        "POST", "/orders", door.mint("bob"), Content_Length=50, Content_Type="application/json"
    )
    answers = answers_of(door, head + b'{"customer": ')
    assert [a.status for a in answers] == [408]
    assert door.bed.superuser_sql("select count(*) from sales.orders") == before


def test_a_client_that_drips_bytes_does_not_get_more_time(door):
    sock = door.raw(20)
    sock.settimeout(0.05)
    said = b""
    for byte in request("GET", "/orders/2", "x" * 400):
        try:
            sock.sendall(bytes([byte]))
            said = sock.recv(4096)
            break
        except socket.timeout:
            continue
        except OSError:
            break
    assert said.startswith(b"HTTP/1.1 408 ")
    sock.close()


def test_what_is_too_large_is_refused_by_its_own_status(door):
    bob = door.mint("bob")
    for large in (
        json_request("POST", "/orders", bob, {"customer": "x" * 3000, "total": "1"}),
        request("POST", "/orders", bob, Content_Length=2001, Content_Type="application/json"),
        request("POST", "/orders", bob, Transfer_Encoding="chunked") + b"7d1\r\n" + b" " * 2001,
    ):
        answers = answers_of(door, large)
        assert [a.status for a in answers] == [413], answers
    assert [a.status for a in answers_of(door, request("GET", "/", X=("y" * 70000)))] == [431]
    many = request("GET", "/").replace(HEAD_END, b"\r\nX: y" * 120 + HEAD_END)
    assert [a.status for a in answers_of(door, many)] == [431]
    assert [a.status for a in answers_of(door, request("GET", "/" + "p" * 20000))] == [414]


def test_more_connections_than_allowed_are_closed_and_others_go_on(door):
    def clients():
        text = door.status("/metrics").body.decode()
        return float(re.search(r"^sallyport_client_connections(?:{.*?})? (\S+)$", text, re.M)[1])

    wait_until(lambda: clients() == 0, 10, "no client")
    kept = [door.raw(20) for _ in range(40)]
    token = door.mint("alice")
    with pytest.raises(OSError):
        door.raw(20).sendall(request("GET", "/orders/2", token))
        raise OSError
    for sock in kept[::8]:
        sock.sendall(request("GET", "/orders/2", token))
        assert read_answers(sock, 1)[0][0].status == 200
    for sock in kept:
        sock.close()
    wait_until(lambda: clients() == 0, 10, "the end of all clients")
    assert door.get("/orders/2", token).status == 200


# -- smuggling -----------------------------------------------------------------------------------


def vectors():
    for line in VECTORS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, outcome, data = line.split("\t")
            raw = data.encode("latin-1").decode("unicode_escape").encode("latin-1")
            yield name, outcome, raw


MALFORMED = (400, 408, 411, 413, 414, 417, 431, 501, 505)


def check_vector(outcome, answers, rest):
    """Each accepted request is one 401 (nobody has a token here), a malformed one is one refusal
    and the end: whatever stood behind it is never taken for a request."""
    requests = re.findall(r"(?:^| )([A-Z]+) \S+", re.sub(r"\[.*?\]", "[]", outcome))
    assert rest == b""
    statuses = [answer.status for answer in answers if answer.status != 100]
    identified = [status for status in statuses if status == 401]
    refused = [status for status in statuses if status != 401]
    assert all(status in MALFORMED for status in refused)
    assert refused == statuses[len(identified) :], "something was answered after a refusal"
    assert len(refused) <= 1
    # A body that nobody wants ends the connection, so what follows it is not answered at all.
    assert len(identified) <= max(len(requests), 1)
    assert statuses or outcome == "incomplete"
    if requests and outcome.endswith("]") and set(requests) == {"GET"}:
        assert statuses == [401] * len(requests)


def test_a_vector_gets_its_answers_and_not_one_more(door):
    """All cases of the codec's corpus through TLS, some at a time: timeouts are waited for."""
    todo = list(vectors())
    assert len(todo) > 150
    wrong = []
    for start in range(0, len(todo), 32):
        batch = [(vector, door.raw(20)) for vector in todo[start : start + 32]]
        for (_, _, data), sock in batch:
            sock.sendall(data)
        for (name, outcome, _), sock in batch:
            with sock:
                answers, rest = split_answers(read_to_end(sock))
            try:
                check_vector(outcome, answers, rest)
            except AssertionError as error:
                wrong.append((name, outcome, [a.status for a in answers], str(error)[:100]))
    assert not wrong, wrong


def test_a_smuggled_request_never_reaches_the_database(door):
    """Both ways to lie about a body's length, with a real token on the hidden request."""
    token = door.mint("bob")
    hidden = json_request("POST", "/orders", token, {"customer": "Smuggled", "total": "1"})
    cases = [
        request("POST", "/orders", token, Content_Length=4, Transfer_Encoding="chunked")
        + b"0\r\n\r\n" + hidden,
        request("POST", "/orders", token, Transfer_Encoding="xchunked") + b"0\r\n\r\n" + hidden,
        request("POST", "/orders", token).replace(
            HEAD_END, b"\r\nContent-Length: 0\r\nContent-Length: %d" % len(hidden) + HEAD_END
        )
        + hidden,
        request("GET", "/orders/1", token).replace(HEAD_END, b"\r\nX: y\rHost: z" + HEAD_END)
        + hidden,
        request("GET", "/orders/1", token).replace(b"\r\nHost", b"\nHost") + hidden,
        request("POST", "/orders", token, Transfer_Encoding="chunked") + b"-1\r\n\r\n" + hidden,
    ]
    for data in cases:
        answers = answers_of(door, data)
        assert len(answers) == 1 and answers[0].status in (400, 501), answers
        assert answers[0].headers["connection"] == "close"
    count = "select count(*) from sales.orders where customer = 'Smuggled'"
    assert door.bed.superuser_sql(count) == "0\n"


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_tls_1_1_is_refused_and_1_2_and_1_3_are_not(door):
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = ssl.create_default_context(cafile=str(door.bed.ca.file))
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", door.proxy_port), 20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                assert tls.version() == name
                tls.sendall(request("GET", "/orders/2", door.mint("alice")))
                answer = read_answers(tls, 1)[0][0]
        intent = door.wait_for_audit(answer.request_id)[0]
        assert intent["tls_version"] == name
    old = ssl.create_default_context(cafile=str(door.bed.ca.file))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", door.proxy_port), 20) as plain:
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version|alert|unsupported"):
            old.wrap_socket(plain, server_hostname="localhost")


def test_plain_http_on_the_tls_port_gets_nothing_of_http(door):
    with socket.create_connection(("127.0.0.1", door.proxy_port), 20) as sock:
        sock.sendall(request("GET", "/orders/2", door.mint("alice")))
        assert b"HTTP/1.1" not in read_to_end(sock)


# -- who leaves ----------------------------------------------------------------------------------


def busy(door):
    return door.bed.superuser_sql(
        "select count(*) from pg_stat_activity where usename = 'app' and state = 'active'"
    )


def waiting(door):
    text = door.status("/metrics").body.decode()
    return float(re.search(r"^sallyport_pool_waiting{.*?} (\S+)$", text, re.M)[1])


def test_a_client_that_leaves_while_waiting_leaves_the_queue(door):
    """The one connection is taken; who goes meanwhile is recorded as gone and never runs."""
    token = door.mint("bob", sub="impatient")
    slow = door.raw(20)
    slow.sendall(request("GET", "/slow?seconds=2", token))
    wait_until(lambda: busy(door) == "1\n", 10, "the slow call")
    gone = door.raw(20)
    gone.sendall(json_request("POST", "/orders", token, {"customer": "Gone", "total": "1"}))
    wait_until(lambda: waiting(door) == 1, 10, "the waiting call")
    reset = struct.pack("ii", 1, 0)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    gone.close()
    wait_until(lambda: waiting(door) == 0, 10, "the call leaving the queue")
    assert busy(door) == "1\n"
    # Another one says goodbye in order.
    polite = door.raw(20)
    polite.sendall(json_request("POST", "/orders", token, {"customer": "Gone", "total": "1"}))
    wait_until(lambda: waiting(door) == 1, 10, "the waiting call")
    polite.close()
    wait_until(lambda: waiting(door) == 0, 10, "the call leaving the queue")
    assert read_answers(slow, 1)[0][0].status == 200
    slow.close()

    def outcomes():
        found = [record for record in door.audit() if record.get("reason") == "abandoned"]
        return found if len(found) >= 2 else None

    for outcome in wait_until(outcomes, 10, "both outcomes"):
        assert outcome["status"] == 499 and outcome["rows"] == 0
        intent = door.audit(outcome["request_id"])[0]
        assert (intent["kind"], intent["subject"]) == ("intent", "impatient")
        assert not door.bed.log_lines(outcome["request_id"])
    count = "select count(*) from sales.orders where customer = 'Gone'"
    assert door.bed.superuser_sql(count) == "0\n"


def test_a_client_that_closes_half_of_a_plain_connection_has_left(door):
    """A FIN while a call runs is taken as leaving: its outcome stands in the audit all the same."""
    with socket.create_connection(("127.0.0.1", door.plain_port), 20) as sock:
        sock.sendall(request("GET", "/slow?seconds=0.3", door.mint("bob", sub="half")))
        wait_until(lambda: busy(door) == "1\n", 10, "the call")
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b""

    def gone():
        intents = [r for r in door.audit() if r.get("subject") == "half"]
        return intents and len(door.audit(intents[0]["request_id"])) == 2

    wait_until(gone, 10, "the outcome")


def test_the_door_serves_on_after_clients_of_every_kind(door):
    assert door.get("/orders/2", door.mint("alice")).status == 200
    assert door.status("/status/ready").status == 200


# -- every socket --------------------------------------------------------------------------------


def sockets_of(pid):
    """(local, remote, listening) of every TCP socket, and the count of all others, of a process."""
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        target = re.match(r"socket:\[(\d+)\]", str(fd.readlink()))
        if target:
            inodes.add(target[1])
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[9] in inodes:
                inodes.discard(parts[9])
                found.append((table, parts[1], parts[2], parts[3] == "0A"))
    for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        inodes.discard(line.split()[6])
    return found, inodes


def port_of(address):
    return int(address.rpartition(":")[2], 16)


def test_every_open_socket_is_tls_or_loopback(door):
    """With a call in the database, one at the door, one at the plain door, one at status."""
    token = door.mint("bob")
    slow = door.raw(20)
    slow.sendall(request("GET", "/slow?seconds=1", token))
    wait_until(lambda: busy(door) == "1\n", 10, "the slow call")
    plain = socket.create_connection(("127.0.0.1", door.plain_port), 20)
    found, unknown = sockets_of(door.process.pid)
    assert not unknown, "sockets of another kind"
    listening = {port_of(local) for _, local, _, is_listening in found if is_listening}
    assert listening == {door.proxy_port, door.plain_port, door.status_port}
    assert {table for table, *_ in found} == {"tcp"}
    remotes = {
        port_of(remote)
        for _, local, remote, is_listening in found
        if not is_listening and port_of(local) not in listening
    }
    assert remotes <= {door.bed.port, door.issuer.port}, remotes
    assert door.bed.port in remotes
    # Each is proved: the database's own word for its side, handshakes for the door's, and the
    # plain ones are bound to loopback.
    tls = door.bed.superuser_sql(
        "select distinct s.ssl, s.version from pg_stat_ssl s join pg_stat_activity a using (pid)"
        " where a.usename = 'app'"
    )
    assert tls == "t|TLSv1.3\n"
    for _, local, _, is_listening in found:
        if not is_listening:
            continue
        port = port_of(local)
        assert local.startswith("0100007F:"), local
        if port == door.proxy_port:
            with socket.create_connection(("127.0.0.1", port), 20) as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert not read_to_end(sock).startswith(b"HTTP")
    assert read_answers(slow, 1)[0][0].status == 200
    slow.close()
    plain.close()
