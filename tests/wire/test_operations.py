"""What an operator does to a running gateway, and what must not happen while they do."""

import asyncio
import re
import signal
import socket
import ssl
import threading
import time

import pytest

import harness
import served
from bed.postgres import AccessKey, wait_until
from dev_issuer import DevIssuer
from raw_http import AsyncConnection, request

CALLERS = 12
STANDARD = harness.shop.CONFIG

SLOW_ROUTE = """  - name: slow
    methods: [GET]
    paths: ["/slow"]
    statement:
      sql: select pg_catalog.pg_sleep(:seconds)::text as slept
      parameters: {seconds: {type: double precision, from: query}}
      read_only: true
      result: one
  - name: limited
    methods: [GET]
    paths: ["/limited"]
    rate_limit: 2
    rate_burst: 3
    statement:
      sql: select 1 as one
      read_only: true
      result: one

roles:
"""


RUNNING = (
    "select count(*) from pg_stat_activity where query like '%pg_sleep%'"
    " and usename = 'app' and state = 'active'"
)


def with_slow(text, pool=""):
    text = text.replace("\nroles:\n", "\n" + SLOW_ROUTE, 1)
    text = text.replace("{routes: [order, orders", "{routes: [slow, limited, order, orders")
    return text.replace("  search_path:", f"  {pool}\n  search_path:", 1) if pool else text


def wait_until_prepared(gateway):
    """What is prepared at start shall not stand in a small pool's queue."""
    wait_until(
        lambda: any(r["event"] == "statements_prepared" for r in gateway.log()), 20, "preparing"
    )


class Load:
    """Callers that call without a pause, on connections kept and on new ones."""

    def __init__(self, gateway, path="/orders/2", callers=CALLERS):
        self.gateway = gateway
        self.path = path
        self.statuses = {}
        self.broken = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run(callers)), daemon=True)

    async def _caller(self, number):
        token = self.gateway.mint("alice", sub=f"load-{number}")
        calls = 0
        connection = None
        while not self.ended.is_set():
            if connection is None:
                connection = await AsyncConnection.open(self.gateway)
            connection.send(request("GET", self.path, token))
            answer = await asyncio.wait_for(connection.answer(), 30)
            status = answer.status if answer else "broken"
            self.statuses[status] = self.statuses.get(status, 0) + 1
            calls += 1
            if answer is None or calls % 40 == 0:
                connection.vanish()
                connection = None
        if connection:
            connection.vanish()

    async def _run(self, callers):
        await asyncio.gather(*(self._caller(number) for number in range(callers)))

    def total(self):
        return sum(self.statuses.values())

    def wait_for(self, more):
        target = self.total() + more
        wait_until(lambda: self.total() >= target, 60, f"{more} more answers")

    def __enter__(self):
        self.thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def configuration_changes(gateway):
    return [record for record in gateway.audit() if record["kind"] == "config_change"]


def wait_for_changes(gateway, count):
    return wait_until(
        lambda: (found := configuration_changes(gateway))[count - 1 :] and found,
        30,
        f"{count} changes of the configuration in the audit",
    )


def served_certificate(gateway):
    context = ssl.create_default_context(cafile=str(gateway.bed.ca.file))
    with socket.create_connection(("127.0.0.1", gateway.proxy_port), 20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)


def replace_certificate(gateway, name):
    """As a renewal does: other files under the old names."""
    certificate, key = gateway.bed.ca.issue(name, ["localhost", "127.0.0.1"])
    conf = gateway.node_file.read_text()
    for prop, new in (("ssl_cert", certificate), ("ssl_cert_key", key)):
        path = re.search(rf"^{prop} = (.*)$", conf, re.M)[1]
        new.replace(path)


# -- reload --------------------------------------------------------------------------------------


@pytest.mark.threads
def test_reloads_under_load_drop_nothing(bed, issuer, gateway):
    """Routes, roles, pools and the door's certificate change, and nobody notices."""
    base = harness.config_for(bed, issuer)
    pools = ["pool: {max_connections: %d}" % n for n in (3, 5, 2, 4)]
    configs = [with_slow(base, pool) for pool in pools]
    configs.append(with_slow(base, pools[0]).replace("priority: 10", "priority: 30"))
    configs.append(base.replace("[order, orders, place-order]", "[order, orders]"))
    served = gateway(config=with_slow(base, "pool: {max_connections: 4}"))
    before = served_certificate(served)
    with Load(served) as load:
        for number, config in enumerate(configs):
            served.write_config(config)
            if number == 2:
                replace_certificate(served, f"renewed-{served.folder.name}")
            if number % 2:
                done = served.run("reload", "-c", served.node_file)
                assert done.returncode == 0, done.stderr
            else:
                served.process.send_signal(signal.SIGHUP)
            changes = wait_for_changes(served, number + 2)
            assert changes[-1]["applied"] is True
            load.wait_for(60)
    assert set(load.statuses) == {200}, load.statuses
    assert served_certificate(served) != before
    # The last one is what is served: the slow route is gone, the connections of the old pools too.
    assert served.get("/slow?seconds=0", served.mint("alice")).status == 404
    wait_until(
        lambda: int(
            bed.superuser_sql("select count(*) from pg_stat_activity where usename = 'app'")
        )
        <= 20,
        20,
        "the end of the old pools' connections",
    )


def test_a_slow_call_and_a_waiting_one_survive_a_change_of_the_pool(bed, issuer, gateway):
    base = harness.config_for(bed, issuer)
    served = gateway(config=with_slow(base, "pool: {max_connections: 1}"))
    wait_until_prepared(served)
    token = served.mint("alice")
    answers = []

    def call(path):
        answers.append(served.get(path, token))

    slow = threading.Thread(target=call, args=["/slow?seconds=4"])
    slow.start()
    wait_until(lambda: bed.superuser_sql(RUNNING) == "1\n", 20, "the slow call in the database")
    waiting = [threading.Thread(target=call, args=["/slow?seconds=0.01"]) for _ in range(4)]
    for one in waiting:
        one.start()

    def all_wait():
        return 'sallyport_pool_waiting{service="shop"} 4' in served.status("/metrics").body.decode()

    wait_until(all_wait, 10, "four waiting calls")
    served.write_config(with_slow(base, "pool: {max_connections: 2}"))
    served.process.send_signal(signal.SIGHUP)
    wait_for_changes(served, 2)
    for one in [slow, *waiting]:
        one.join(30)
    assert [answer.status for answer in answers] == [200] * 5, answers


def test_a_bad_file_is_refused_and_the_old_one_serves(bed, issuer, gateway):
    served = gateway()
    good = served.config_file.read_text()
    token = served.mint("alice")
    for bad in (
        good.replace("sslmode:", "sslmod:"),
        good.replace("from sales.orders where", "frm sales.orders where"),
        good + "\n\tbroken: [",
        "",
    ):
        changes = len(configuration_changes(served))
        served.write_config(bad)
        told = served.run("reload", "-c", served.node_file)
        assert told.returncode == 1 and "stays" in told.stderr, told
        assert len(configuration_changes(served)) == changes
        served.process.send_signal(signal.SIGHUP)
        change = wait_for_changes(served, changes + 1)[-1]
        assert change["applied"] is False and change["errors"] >= 1, change
        assert change["cause"] == "SIGHUP" and len(change["sha256"]) == 64
        assert served.get("/orders/2", token).status == 200
        ready = served.status("/status/ready")
        assert (ready.status, ready.json["degraded"]) == (200, True)
        [warning] = [w for w in ready.json["warnings"] if w["reason"] == "configuration"]
        assert re.fullmatch(r"line \d+: (.+)", warning["detail"])[1] == change["detail"]
    refused = [r for r in served.log() if r["event"] == "configuration_refused"]
    assert len(refused) == 4
    assert any("sslmod" in r.get("text", "") and r["line"] > 0 for r in served.log()), refused
    served.write_config(good)
    done = served.run("reload", "-c", served.node_file)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: configuration_changes(served)[-1]["applied"], 20, "the good one")
    wait_until(lambda: served.status("/status").json["warnings"] == [], 20, "no warning")


def test_a_certificate_that_cannot_be_loaded_changes_nothing(gateway):
    served = gateway()
    before = served_certificate(served)
    conf = served.node_file.read_text()
    key = harness.pathlib.Path(re.search(r"^ssl_cert_key = (.*)$", conf, re.M)[1])
    whole = key.read_text()
    key.write_text("no key")
    served.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: any(r["event"] == "certificate_refused" for r in served.log()), 20, "the refusal"
    )
    assert served_certificate(served) == before
    key.write_text(whole)


def test_a_reload_names_the_properties_that_need_a_restart(gateway):
    served = gateway()
    token = served.mint("alice")
    plain = served.run("reload", "-c", served.node_file)
    assert plain.returncode == 0 and "restart" not in plain.stdout
    assert "AWS" in plain.stdout and "at the start" in plain.stdout
    wait_until(lambda: len(configuration_changes(served)) >= 2, 20, "the reload")
    assert not [r for r in served.log() if r["event"] == "restart_needed"]
    text = served.node_file.read_text()
    text = re.sub(r"(?m)^workers = .*$", "workers = 3", text)
    served.node_file.write_text(text + "keepalive_timeout_ms = 12345\n")
    told = served.run("reload", "-c", served.node_file)
    said = "changed, and in force only after a restart: workers, keepalive_timeout_ms"
    assert told.returncode == 0 and said in told.stdout.splitlines(), told
    found = wait_until(
        lambda: [r for r in served.log() if r["event"] == "restart_needed"], 20, "the log's line"
    )
    assert found[0]["properties"] == "workers, keepalive_timeout_ms"
    assert found[0]["file"] == str(served.node_file)
    served.node_file.write_text(text + "keepalive_timeout = 1\n")
    served.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: any("keepalive_timeout" in r.get("text", "") for r in served.log()),
        20,
        "the mistake in the log",
    )
    assert served.get("/orders/2", token).status == 200


# -- start and end -------------------------------------------------------------------------------


def test_quit_lets_a_slow_call_finish_and_stop_does_not_wait(bed, issuer, gateway):
    config = with_slow(harness.config_for(bed, issuer))
    for command, expected in (("quit", [200]), ("stop", [])):
        served = gateway(config=config)
        answers = []

        def call():
            try:
                answers.append(served.get("/slow?seconds=2", served.mint("alice")).status)
            except OSError:
                pass

        slow = threading.Thread(target=call)
        slow.start()
        wait_until(lambda: bed.superuser_sql(RUNNING) == "1\n", 20, "the slow call")
        began = time.monotonic()
        process = served.process
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        done = served.run(command, "-c", served.node_file)
        took = time.monotonic() - began
        assert done.returncode == 0, done
        reaper.join(20)
        slow.join(20)
        assert answers == expected
        if command == "stop":
            assert took < 2, took
        assert process.returncode == 0
        # Nobody is there any more, and the next command says so.
        for again in ("reload", "stop", "quit", "health"):
            said = served.run(again, "-c", served.node_file)
            assert said.returncode == 1 and "not running" in said.stderr, said
        verified = served.run("audit", "verify", "--dir", served.audit_folder)
        assert verified.returncode == 0, verified.stdout
        kinds = [record["kind"] for record in served.audit()]
        assert kinds[0] in ("file", "start") and kinds[-1] in ("stop", "outcome")


def test_a_second_start_in_the_same_prefix_is_refused(gateway):
    served = gateway()
    second = served.run("start", "-c", served.node_file)
    assert second.returncode == 1
    assert "already" in second.stderr or "running" in second.stderr, second.stderr
    assert served.run("health", "-c", served.node_file).returncode == 0
    assert served.get("/orders/2", served.mint("alice")).status == 200


def test_a_port_already_taken_is_said(gateway):
    served = gateway()
    for taken in ("proxy_listen", "status_listen"):
        other = gateway(start=False)
        port = served.proxy_port if taken == "proxy_listen" else served.status_port
        text = other.node_file.read_text()
        tls = " ssl" if taken == "proxy_listen" else ""
        text = re.sub(rf"^{taken} = .*$", f"{taken} = 127.0.0.1:{port}{tls}", text, flags=re.M)
        other.node_file.write_text(text)
        said = other.run("start", "-c", other.node_file)
        assert said.returncode == 1, said
        assert taken in said.stderr and str(port) in said.stderr, said.stderr


# -- limits --------------------------------------------------------------------------------------


def test_who_calls_too_often_gets_429_and_nobody_else_does(bed, issuer, gateway):
    served = gateway(config=with_slow(harness.config_for(bed, issuer)))
    greedy, modest = served.mint("alice", sub="greedy"), served.mint("alice", sub="modest")
    answers = [served.get("/limited", greedy) for _ in range(12)]
    refused = [answer for answer in answers if answer.status == 429]
    assert [answer.status for answer in answers[:3]] == [200] * 3
    assert len(refused) >= 5 and {answer.status for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert served.get("/limited", modest).status == 200
    assert served.get("/orders/2", greedy).status == 200, "a limit of one route is of that route"
    record = served.wait_for_audit(refused[0].request_id, 1)[0]
    assert (record["kind"], record["reason"]) == ("denial", "rate_limited")

    def allowed_again():
        return served.get("/limited", greedy).status == 200

    wait_until(allowed_again, 10, "the bucket filling again")


def test_a_full_queue_answers_503_and_numbers_agree(bed, issuer, gateway):
    pool = "pool: {max_connections: 1, max_waiting: 2, wait_timeout_ms: 20000}"
    served = gateway(config=with_slow(harness.config_for(bed, issuer), pool))
    wait_until_prepared(served)
    token = served.mint("alice")
    answers = []

    def call(path):
        answers.append(served.get(path, token))

    callers = [threading.Thread(target=call, args=["/slow?seconds=1"]) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, 200, 200, 503, 503, 503]
    busy = [answer for answer in answers if answer.status == 503]
    assert all(answer.headers["retry-after"] == "1" for answer in busy)
    assert all(answer.json["type"].endswith(":pool_full") for answer in busy)
    for answer in busy:
        outcome = served.wait_for_audit(answer.request_id)[-1]
        assert (outcome["kind"], outcome["reason"]) == ("outcome", "pool_full")
    assert served.get("/orders/2", token).status == 200
    assert served.get("/orders/2").status == 401
    metrics = served.status("/metrics").body.decode()

    def value(name, *labels):
        found = 0.0
        for line in metrics.splitlines():
            if line.startswith(name + "{") and all(label in line for label in labels):
                found += float(line.rsplit(" ", 1)[1])
        return found

    assert value("sallyport_requests_total", 'route="slow"', "200") == 3
    assert value("sallyport_requests_total", 'route="slow"', "503") == 3
    assert value("sallyport_requests_total", 'route="order"', "200") == 1
    assert value("sallyport_decisions_total", 'decision="allow"') == 7
    assert value("sallyport_decisions_total", 'decision="deny"') == 1


# -- keys ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def rotating(bed, tmp_path_factory, needs_gateway):
    """A gateway with an issuer of its own, which may be rotated and stopped.  It starts with the
    module's first test: an unknown key makes it ask the issuer, but not within 30 s of the last
    time, and those pass while the others run."""
    folder = tmp_path_factory.mktemp("rotating")
    certificate, key = bed.ca.issue(folder.name, ["localhost", "127.0.0.1"])
    issuer = DevIssuer(folder, harness.shop.CLIENTS, str(certificate), str(key)).start()
    served = harness.Sallyport(bed, issuer)
    try:
        yield served.start()
    finally:
        served.close()
        if issuer.thread.is_alive():
            issuer.stop()


def test_a_token_kept_in_the_cache_still_expires(sallyport):
    leeway = 30  # leeway_s of the issuer
    token = sallyport.mint("alice", expires_in=2 - leeway, iat=int(time.time()) - 60,
                           nbf=int(time.time()) - 60)
    assert sallyport.get("/orders/2", token).status == 200
    wait_until(lambda: sallyport.get("/orders/2", token).status == 401, 10, "the expiry")


# -- secrets -------------------------------------------------------------------------------------


def test_no_secret_stands_in_anything_that_is_written(bed, issuer, gateway):
    """Every token, key and password that occurred, looked for in everything the gateway wrote."""
    temporary = bed.keys[1]
    served = gateway(
        environment={**temporary.environment(), "SHOP_PASSWORD": "hunter2-never-shown"},
        node={"log_level": "debug"},
    )
    tokens = [served.mint("alice"), served.mint("bob"), served.mint("mallory")]
    tokens += [served.mint("alice", expires_in=-120), served.mint("alice", foreign_key=True)]
    for token in tokens:
        served.get("/orders/2", token)
        served.get("/nowhere", token)
        served.post("/orders", token, {"customer": "x", "total": "no number"})
        served.get(f"/orders/2?access_token={token}", None)
    basic = "YWxpY2U6YWxpY2Utc2VjcmV0"
    served.get("/orders/2", headers={"Authorization": f"Basic {basic}"})
    served.get("/orders/2", headers={"Authorization": f"Bearer {tokens[0]}, {tokens[1]}"})
    pages = [served.status(path).body for path in ("/metrics", "/status", "/status/ready")]
    served.stop()
    written = {"log": served.log_text().encode(), "pages": b"".join(pages)}
    for file in served.folder.rglob("*"):
        if file.is_file() and file not in (served.config_file, served.node_file):
            written[str(file)] = file.read_bytes()
    assert len(written["log"]) > 500 and any("w1" in name for name in written)
    secrets = [temporary.secret_access_key, temporary.session_token, "hunter2-never-shown", basic]
    secrets += [AccessKey(**vars(temporary)).secret_access_key]
    for token in tokens:
        # The signature is what makes it a token, and no other part may stand there either.
        secrets += [token, *token.split(".")[1:]]
    secrets += ["X-Amz-Signature"]
    for name, data in written.items():
        for secret in secrets:
            assert secret.encode() not in data, (name, secret[:12])


# -- memory --------------------------------------------------------------------------------------


def resident_kib(process):
    text = harness.pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M)[1])


def test_memory_does_not_grow_over_20000_requests(bed, issuer, gateway, monkeypatch):
    """Other callers, other rows, refusals and new connections all the time."""
    # ASan keeps what is freed for a while, to catch who still uses it: here that would be growth.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:quarantine_size_mb=1")
    served = gateway(node={"log_level": "warn"})
    total = 20_000
    third = total // 3
    resident = []

    async def caller(number, calls):
        connection = None
        token = None
        for call in range(calls):
            if call % 50 == 0:
                if connection:
                    connection.vanish()
                connection = await AsyncConnection.open(served)
                token = served.mint("alice", algorithm="EdDSA", sub=f"grows-{number}-{call}")
            batch = [
                request("GET", f"/orders/{(call + n) % 100 + 1}", token if n else None)
                for n in range(4)
            ]
            connection.send(b"".join(batch))
            for _ in batch:
                assert (await connection.answer()).status in (200, 401, 404)
        connection.vanish()

    async def run(calls):
        await asyncio.gather(*(caller(number, calls // 16 // 4) for number in range(16)))

    for _ in range(3):
        asyncio.run(run(third))
        resident.append(resident_kib(served.process))
    print(resident)
    assert resident[2] < resident[1] * 1.03 + 2048, resident


# Last, for the 30 s.
def test_a_new_key_is_picked_up_and_old_keys_serve_without_the_issuer(rotating):
    served, issuer = rotating, rotating.issuer
    old = served.mint("alice")
    assert served.get("/orders/2", old).status == 200
    issuer.keys.rotate()
    new = served.mint("alice")
    # The unknown kid makes it ask; the caller until then is refused, never let in.
    wait_until(lambda: served.get("/orders/2", new).status == 200, 40, "the new key")
    assert served.get("/orders/2", old).status == 200
    issuer.stop()
    for token in (old, new, served.mint("alice"), served.mint("alice", sub="late")):
        assert served.get("/orders/2", token).status == 200
    assert served.get("/orders/2", served.mint("alice", expires_in=-60)).status == 401
    issuer.keys.rotate()
    assert served.get("/orders/2", served.mint("alice")).status == 401
    assert served.get("/orders/2", old).status == 200
    served.process.send_signal(signal.SIGHUP)
    wait_for_changes(served, 2)
    assert served.get("/orders/2", old).status == 200, "a reload does not forget the keys"


def test_a_mistake_in_the_node_file_keeps_nobody_from_stopping(gateway):
    running = gateway()
    text = running.node_file.read_text()
    running.node_file.write_text(text + "bogus = 1\n")
    healthy = running.run("health", "-c", running.node_file)
    assert (healthy.returncode, "'bogus'" in healthy.stderr) == (0, True)
    assert running.run("reload", "-c", running.node_file).returncode == 1
    # Without the file's own prefix nothing is stopped: the default one may be another node's.
    running.node_file.write_text(text.replace("prefix = ", "prefx = ", 1))
    assert running.run("stop", "-c", running.node_file).returncode == 1
    assert running.is_ready()
    running.node_file.write_text(text + "bogus = 1\n")
    assert running.run("stop", "-c", running.node_file).returncode == 0
    assert running.process.wait(20) == 0


def test_services_that_share_a_login_share_its_roles(bed, issuer, gateway):
    """The login is a member of both roles; each service names one."""
    who = [served.route("who", "select current_user::text as who")]
    other = [served.route("other", "select current_user::text as who")]
    config = served.config(
        bed,
        issuer,
        [served.service(bed, who), served.service(bed, other, name="other")],
        roles=[
            served.role("reader", "orders-readers", "orders_reader"),
            served.role("writer", "orders-writers", "orders_writer", services=["other"]),
        ],
    )
    both = gateway(config=config)
    assert both.get("/who", both.mint("alice")).json == [{"who": "orders_reader"}]
    assert both.get("/other", both.mint("bob")).json == [{"who": "orders_writer"}]
