"""The status server of a running gateway: probes, and metrics that count what happened."""

import http.client
import socket
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """One scrape, by Prometheus's own parser."""

    def __init__(self, gateway):
        answer = gateway.status("/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.samples = {}
        for family in text_string_to_metric_families(answer.body.decode()):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.samples, f"{key} comes twice"
                self.samples[key] = sample.value

    def __call__(self, name, **labels):
        return self.samples.get((f"sallyport_{name}", tuple(sorted(labels.items()))), 0)

    def process(self, name):
        return self.samples[(f"process_{name}", ())]


def calls(gateway):
    """Three answers of 200, one 404 of a row that is not there, one denial, one without token."""
    token = gateway.mint("alice")
    for _ in range(3):
        assert gateway.get("/orders/2", token).status == 200
    assert gateway.get("/orders/1", token).status == 404
    assert gateway.post("/orders", token, {"customer": "x", "total": "1"}).status == 404
    assert gateway.get("/orders/2").status == 401


def test_each_answer_is_counted_by_route_and_status(sallyport):
    before = Metrics(sallyport)
    calls(sallyport)
    after = Metrics(sallyport)

    def grown(name, **labels):
        return after(name, **labels) - before(name, **labels)

    order = {"service": "shop", "route": "order"}
    assert grown("requests_total", **order, status="200") == 3
    assert grown("requests_total", **order, status="404") == 1
    assert grown("request_seconds_count", **order) == 4
    assert grown("request_seconds_bucket", **order, le="+Inf") == 4
    assert 0 < grown("request_seconds_sum", **order) < 60
    assert grown("database_seconds_count", service="shop") == 4
    assert grown("decisions_total", decision="allow", reason="allowed") == 4
    assert grown("decisions_total", decision="deny", reason="no_route") == 1
    assert grown("requests_total", service="shop", route="place-order", status="404") == 1
    assert grown("requests_total", service="", route="", status="401") == 1


def raw(gateway, data):
    """The status line's number of the answer to bytes that need not be HTTP."""
    with gateway.raw() as one:
        one.sendall(data)
        answer = http.client.HTTPResponse(one)
        answer.begin()
        return answer.status


def test_answers_without_a_route_are_counted_without_one(sallyport):
    """Whatever callers make up, all of it makes one series a status."""
    token = sallyport.mint("alice")
    before = Metrics(sallyport)
    for number in range(3):
        assert sallyport.get(f"/nowhere/{number}", token).status == 404
    assert sallyport.get("/orders/2", "no-token").status == 401
    assert sallyport.get("/orders/2").status == 401
    assert raw(sallyport, b"GET /x\r\nHost\r\n\r\n") == 400
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: %s\r\n" % (b"a" * 7000) * 10
    assert raw(sallyport, head + b"\r\n") == 431
    after = Metrics(sallyport)

    def unrouted(metrics):
        return {
            dict(labels)["status"]: value
            for (name, labels), value in metrics.samples.items()
            if name == "sallyport_requests_total" and dict(labels)["route"] == ""
        }

    old, new = unrouted(before), unrouted(after)
    grown = {status: new[status] - old.get(status, 0) for status in new}
    assert {s: n for s, n in grown.items() if n} == {"404": 3, "401": 2, "400": 1, "431": 1}
    assert after("request_seconds_count", service="", route="") == 0


def test_logins_and_token_mints_are_counted(sallyport):
    assert sallyport.get("/orders/2", sallyport.mint("alice")).status == 200
    metrics = Metrics(sallyport)
    logins = metrics("logins_total", service="shop", result="ok")
    assert logins >= 1
    assert metrics("login_seconds_count", service="shop") >= logins
    assert metrics("token_mints_total") >= logins
    pool = [
        metrics("pool_connections", service="shop", access="primary", state=state)
        for state in ("idle", "busy", "login")
    ]
    assert sum(pool) >= 1


def test_open_clients_are_a_gauge(sallyport):
    token = sallyport.mint("alice")
    held = [sallyport.connect() for _ in range(5)]
    try:
        for connection in held:
            assert sallyport.get("/orders/2", token, connection=connection).status == 200
        assert Metrics(sallyport)("client_connections") >= 5
    finally:
        for connection in held:
            connection.close()


def test_the_process_tells_of_itself(sallyport):
    metrics = Metrics(sallyport)
    started = metrics.process("start_time_seconds")
    assert time.time() - 3600 < started <= time.time()
    assert metrics.process("resident_memory_bytes") > 1 << 20
    assert metrics.process("open_fds") >= 3


def test_the_keys_of_every_issuer_have_an_age(sallyport):
    name = ("sallyport_issuer_keys_age_seconds", (("issuer", "dev"),))
    assert Metrics(sallyport).samples[name] >= 0


def test_ready_says_that_nothing_is_missing(sallyport):
    answer = sallyport.status("/status/ready")
    assert answer.status == 200
    assert answer.json["ready"] is True
    assert answer.json["missing"] == []


def test_status_names_issuers_and_services(sallyport):
    assert sallyport.get("/orders/2", sallyport.mint("alice")).status == 200
    report = sallyport.status("/status").json
    assert report["configured"] is True
    assert report["audit_working"] is True
    assert report["node"] == socket.gethostname()
    assert [issuer["name"] for issuer in report["issuers"]] == ["dev"]
    assert report["issuers"][0]["keys_loaded"] is True
    assert report["services"][0]["name"] == "shop"
    assert report["services"][0]["reachable"] is True
    assert report["services"][0]["connections"] >= 1


def test_the_status_server_serves_no_routes_and_the_door_no_status(sallyport):
    assert sallyport.status("/orders/2").status == 404
    token = sallyport.mint("alice")
    for path in ("/status", "/metrics", "/status/ready"):
        assert sallyport.get(path).status == 401
        assert sallyport.get(path, token).status == 404


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01", b"GET /status\n\n", b"\0" * 9000])
def test_garbage_ends_its_own_connection_only(sallyport, garbage):
    with socket.create_connection(("127.0.0.1", sallyport.status_port), 30) as one:
        one.sendall(garbage + b"\r\n\r\n")
        answer = http.client.HTTPResponse(one)
        answer.begin()
        assert 400 <= answer.status < 500
    assert sallyport.status("/status/live").status == 200
