"""Plugins at the real door: who is refused, in which words, what the answer and the audit tell."""

import concurrent.futures
import json
import time

import pytest
import served
from bed.postgres import wait_until
from raw_http import json_request, read_answers, request
from test_consumers import READER, WRITER

READ = "select 1 as one"


def config(bed, issuer, plugins=(), consumers=(), of_service=(), of_route=(), roles=(), **more):
    """Routes order and other for readers, put for writers; alice and bob are consumers."""
    routes = [
        dict(served.route("order", READ, result="one"), plugins=list(of_route)),
        served.route("other", READ, result="one"),
        served.route("put", "select :name as name", method="POST", result="one",
                     parameters={"name": {"type": "text", "from": "body"}}),
    ]
    service = dict(served.service(bed, routes), plugins=list(of_service))
    readers = [dict(READER, allow=[{"routes": ["order", "other", "put"]}]), WRITER, *roles]
    document = json.loads(served.config(bed, issuer, [service], readers))
    document["issuers"][0].update(consumer_claim="sub", consumer_optional=True)
    document["consumers"] = list(consumers) or [{"username": "alice"}, {"username": "bob"}]
    document["plugins"] = list(plugins)
    document.update(more)
    return json.dumps(document)


def plugin(name, **more):
    fields = {n: more.pop(n) for n in ("service", "route", "consumer", "enabled", "instance_name")
              if n in more}
    return {"name": name, **fields, "config": more}


def denial(gateway, answer):
    return next(r for r in gateway.wait_for_audit(answer.request_id, 1) if r["kind"] == "denial")


def assert_refused(gateway, answer, status, kind, detail, name):
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json
    assert told["type"] == f"urn:sallyport:problem:{kind}" and told["status"] == status
    assert told["detail"] == detail and told["request_id"] == answer.request_id
    record = denial(gateway, answer)
    assert record["reason"] == kind and record["plugin"] == name and record["status"] == status
    assert record["detail"] == detail
    assert record["decision"] == "allow" and record["role"] and record["route"]
    # Nothing of it reached the database.
    assert [r["kind"] for r in gateway.audit(answer.request_id)] == ["denial"]


# -- ip-restriction ------------------------------------------------------------------------------


def test_an_address_is_let_in_or_not(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("ip-restriction", deny=["10.0.0.0/8", "127.0.0.1"], route="order"),
        plugin("ip-restriction", allow=["127.0.0.0/8"], service="shop"),
        plugin("ip-restriction", allow=["192.0.2.1", "2001:db8::/32"], consumer="bob",
               status=404, message="go away", instance_name="bobs"),
    ]))
    alice, bob = made.mint("alice"), made.mint("bob")
    assert_refused(made, made.get("/order", alice), 403, "ip_restriction",
                   "Your IP address is not allowed", "ip-restriction")
    assert made.get("/other", alice).status == 200
    # The consumer's own goes before the route's and the service's.
    for path in ("/order", "/other"):
        assert_refused(made, made.get(path, bob), 404, "ip_restriction", "go away",
                       "ip-restriction bobs")
    # Who has no right, or no token, learns nothing of it.
    mallory = made.get("/order", made.mint("mallory"))
    assert mallory.status == 404 and mallory.json["detail"] == "no such resource"
    assert "plugin" not in denial(made, mallory)
    assert made.get("/order").status == 401
    metrics = made.status("/metrics").body.decode()
    assert 'reason="ip_restriction"' in metrics


# -- request-size-limiting -----------------------------------------------------------------------


def test_a_body_is_bounded_however_it_comes(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("request-size-limiting", allowed_payload_size=1, size_unit="kilobytes"),
        plugin("request-size-limiting", allowed_payload_size=30, size_unit="bytes",
               require_content_length=True, consumer="bob"),
    ]), node={"client_max_body_size": 2048})
    alice, bob = made.mint("alice"), made.mint("bob")

    def body(size):
        return json.dumps({"name": "x" * (size - 12)}).encode()

    def post(token, size, **headers):
        return made.call("POST", "/put", token, body(size),
                         {"Content-Type": "application/json", **headers})

    assert len(body(1024)) == 1024
    assert post(alice, 1024).status == 200 and post(bob, 30).status == 200
    for token, size in ((alice, 1025), (alice, 5000), (bob, 31)):
        assert_refused(made, post(token, size), 413, "request_size_limiting",
                       "Request size limit exceeded", "request-size-limiting")
    assert_refused(made, post(bob, 31, Expect="100-continue"), 417, "request_size_limiting",
                   "Request size limit exceeded", "request-size-limiting")
    # In chunks it is known when it has come; Kong reads it whole, too.
    for size, status in ((1024, 200), (1025, 413)):
        sock = made.raw(20)
        chunk = body(size)
        sock.sendall(request("POST", "/put", alice, **{
            "Content-Type": "application/json", "Transfer-Encoding": "chunked"}) +
            b"%x\r\n%s\r\n0\r\n\r\n" % (size, chunk))
        [answer], _ = read_answers(sock, 1)
        sock.close()
        assert answer.status == status
        if status == 413:
            assert answer.json["detail"] == "Request size limit exceeded"
    sock = made.raw(20)
    sock.sendall(request("POST", "/put", bob, **{
        "Content-Type": "application/json", "Transfer-Encoding": "chunked"}) + b"0\r\n\r\n")
    [answer], _ = read_answers(sock, 1)
    sock.close()
    assert answer.status == 411
    assert answer.json["detail"] == "A valid Content-Length header is required"
    assert made.get("/order", bob).status == 200  # a GET has no body whose length to tell
    # Neither waits for the rest, nor takes a POST that says nothing of its body.
    for token, sent, status in (
            (alice, {"Transfer-Encoding": "chunked"}, 413), (bob, {}, 411)):
        sock = made.raw(20)
        sock.sendall(request("POST", "/put", token, **{"Content-Type": "application/json", **sent})
                     + (b"401\r\n" + b"x" * 0x401 if sent else b""))
        [answer], _ = read_answers(sock, 1)
        sock.close()
        assert answer.status == status


def test_the_nodes_own_bound_holds_below_the_plugins(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [plugin("request-size-limiting")]),
                   node={"client_max_body_size": 100})
    answer = made.post("/put", made.mint("alice"), {"name": "x" * 200})
    assert answer.status == 413 and answer.json["type"].endswith(":http_body_too_large")
    assert "plugin" not in denial(made, answer)


# -- rate-limiting -------------------------------------------------------------------------------


def at_the_start_of_a_minute():
    """Away from a minute's end, so that a test's calls are all of one."""
    if time.time() % 60 > 40:
        wait_until(lambda: time.time() % 60 < 20, 30, "the next minute")


def test_calls_beyond_the_limit_are_refused_and_told_when_to_come_back(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("rate-limiting", minute=3, hour=100),
        plugin("rate-limiting", minute=2, limit_by="ip", route="other", error_code=503,
               error_message="slow down", hide_client_headers=True, instance_name="quiet"),
    ]))
    at_the_start_of_a_minute()
    token = made.mint("alice")
    for left in (2, 1, 0):
        answer = made.get("/order", token)
        assert answer.status == 200
        told = {n: v for n, v in answer.headers.items() if "ratelimit" in n}
        reset = int(told.pop("ratelimit-reset"))
        assert 1 <= reset <= 60
        assert told == {
            "ratelimit-limit": "3", "ratelimit-remaining": str(left),
            "x-ratelimit-limit-minute": "3", "x-ratelimit-remaining-minute": str(left),
            "x-ratelimit-limit-hour": "100", "x-ratelimit-remaining-hour": str(97 + left)}
        assert "retry-after" not in answer.headers
    answer = made.get("/order", made.mint("alice"))  # another token, the same consumer
    assert_refused(made, answer, 429, "rate_limiting", "API rate limit exceeded", "rate-limiting")
    assert answer.headers["ratelimit-remaining"] == "0"
    assert answer.headers["retry-after"] == answer.headers["ratelimit-reset"]
    assert answer.json["retry_after_s"] == int(answer.headers["retry-after"])
    assert answer.headers["x-ratelimit-remaining-hour"] == "97"  # what is refused does not count
    bob = made.get("/order", made.mint("bob"))
    assert bob.status == 200 and bob.headers["ratelimit-remaining"] == "2"
    # By address, alice and bob are one.
    assert made.get("/other", token).status == made.get("/other", made.mint("bob")).status == 200
    answer = made.get("/other", token)
    assert_refused(made, answer, 503, "rate_limiting", "slow down", "rate-limiting quiet")
    assert not [n for n in answer.headers if "ratelimit" in n or n == "retry-after"]


def test_what_is_not_there_does_not_count_and_what_runs_ahead_does(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("rate-limiting", hour=4), plugin("request-termination", consumer="bob",
                                                body="<p>", content_type="text/html")]))
    if time.time() % 3600 > 3580:
        wait_until(lambda: time.time() % 3600 < 100, 30, "the next hour")
    token = made.mint("alice")
    for method, path, status in (("GET", "/nowhere", 404), ("OPTIONS", "/order", 405),
                                 ("DELETE", "/order", 405), ("POST", "/put", 415)):
        answer = made.call(method, path, token, b"x" if method == "POST" else None)
        assert answer.status == status
        assert ("ratelimit-limit" in answer.headers) == (method == "POST")  # which has a route
    assert made.call("HEAD", "/order", token).headers["ratelimit-remaining"] == "2"
    sock = made.raw(20)
    sock.sendall(request("GET", "/order", token) * 3)
    answers, _ = read_answers(sock, 3)
    sock.close()
    assert [a.status for a in answers] == [200, 200, 429]
    assert [a.headers["ratelimit-remaining"] for a in answers] == ["1", "0", "0"]
    head = made.call("HEAD", "/order", made.mint("bob"))
    assert (head.status, head.body, head.headers["content-length"]) == (503, b"", "3")
    assert head.headers["content-type"] == "text/html"


def test_a_path_is_one_however_it_is_written(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("rate-limiting", hour=2, limit_by="path", path="/order")]))
    if time.time() % 3600 > 3580:
        wait_until(lambda: time.time() % 3600 < 100, 30, "the next hour")
    alice, bob = made.mint("alice"), made.mint("bob")
    assert made.get("/order", alice).headers["ratelimit-remaining"] == "1"
    assert made.get("/%6frder", bob).headers["ratelimit-remaining"] == "0"
    assert made.get("/%6Frder", alice).status == made.get("/order", bob).status == 429
    # Another path counts by address, for both.
    assert [made.get("/other", t).status for t in (alice, bob, alice)] == [200, 200, 429]


@pytest.mark.threads
def test_the_limit_is_exact_however_many_call_at_once(bed, issuer, gateway):
    """Over all workers; Kong's lets more through, for it counts after it looked."""
    made = gateway(config=config(bed, issuer, [plugin("rate-limiting", hour=60)]),
                   node={"workers": 4})
    token = made.mint("alice")

    def call_ten(_):
        connection = made.connect()
        answers = [made.get("/order", token, connection=connection) for _ in range(10)]
        connection.close()
        return answers

    if time.time() % 3600 > 3580:
        wait_until(lambda: time.time() % 3600 < 100, 30, "the next hour")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = [a for ten in pool.map(call_ten, range(12)) for a in ten]
    assert [a.status for a in answers].count(200) == 60
    assert [a.status for a in answers].count(429) == 60
    left = [int(a.headers["ratelimit-remaining"]) for a in answers if a.status == 200]
    assert sorted(left) == list(range(60))  # no two were told the same


def test_a_reload_keeps_the_counts_and_drops_nothing(bed, issuer, gateway):
    def text(minute, **more):
        return config(bed, issuer, [
            plugin("rate-limiting", minute=minute, limit_by="credential"),
            plugin("request-termination", enabled=False, **more)])

    made = gateway(config=text(100))
    at_the_start_of_a_minute()
    token = made.mint("alice")
    assert made.get("/order", token).headers["ratelimit-remaining"] == "99"
    statuses = []

    def call_often():
        connection = made.connect()
        for _ in range(40):
            statuses.append(made.get("/order", made.mint("bob"), connection=connection).status)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(call_often)
        for minute in (200, 300, 400):
            made.write_config(text(minute))
            told = made.run("reload", "-c", made.node_file)
            assert told.returncode == 0, told.stderr
        running.result()
    assert statuses == [200] * 40
    wait_until(lambda: made.get("/order", made.mint("bob")).headers["ratelimit-limit"] == "400", 20,
               "the last reload")
    assert made.get("/order", token).headers["ratelimit-remaining"] == "398"


# -- request-termination, and who goes before whom -----------------------------------------------


def test_a_termination_answers_for_the_statement(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [
        plugin("request-termination", enabled=False),
        plugin("request-termination", route="order", trigger="X-Down"),
        plugin("request-termination", consumer="bob", status_code=410, message="moved"),
        plugin("request-termination", consumer="bob", route="put", status_code=200,
               body='{"name": "nobody"}'),
    ]))
    alice, bob = made.mint("alice"), made.mint("bob")
    assert made.get("/order", alice).status == 200
    for answer in (made.get("/order", alice, headers={"x-down": "1"}),
                   made.get("/order?X-Down", alice), made.get("/order?a=1&%58-Down=", alice)):
        assert_refused(made, answer, 503, "request_termination", "Service unavailable",
                       "request-termination")
    assert_refused(made, made.get("/order", bob), 410, "request_termination", "moved",
                   "request-termination")
    answer = made.post("/put", bob, {"name": "bob"})
    assert (answer.status, answer.body) == (200, b'{"name": "nobody"}')
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert denial(made, answer)["plugin"] == "request-termination"
    answer = made.get("/other", bob)
    explained = made.run("audit", "explain", answer.request_id, "-c", made.node_file)
    assert "by the plugin request-termination" in explained.stdout, explained


def test_they_run_in_kongs_order_wherever_they_stand(bed, issuer, gateway):
    made = gateway(config=config(
        bed, issuer, [plugin("request-termination"), plugin("rate-limiting", hour=1000)],
        consumers=[{"username": "bob", "plugins": [plugin("ip-restriction", deny="127.0.0.1")]}],
        of_service=[plugin("request-size-limiting", allowed_payload_size=0)],
        of_route=[plugin("request-termination", status_code=404, message="order is gone")]))
    answer = made.get("/order", made.mint("alice"))
    assert answer.status == 404 and answer.json["detail"] == "order is gone"
    assert answer.headers["ratelimit-remaining"] == "999"  # 910 comes before 2
    answer = made.post("/put", made.mint("alice"), {"name": "x"})
    assert answer.status == 413 and "ratelimit-limit" not in answer.headers  # 951 before 910
    answer = made.post("/put", made.mint("bob"), {"name": "x"})
    assert answer.status == 403 and answer.json["type"].endswith(":ip_restriction")  # 990 first
    assert made.get("/other", made.mint("alice")).status == 503
    assert made.get("/other", made.mint("mallory")).status == 404
