"""Nobody ever gets what is another's: callers with a mark each, in the middle of every accident.

Each caller's mark is its token's subject.  Statements give it back by three ways (a bound claim,
the claims setting, application_name); whoever reads a mark anywhere in an answer that is not their
own has been given another caller's row.
"""

import asyncio
import json
import random
import re
import threading
import time

import pytest

from raw_http import AsyncConnection, json_request, request

CALLERS = 64
SECONDS = 12
ANSWER_SECONDS = 30  # longer is a request that hangs
MARK = re.compile(rb"mark-\d\d-[0-9a-f]{8}")
# A result of a statement, a row that is not there, and what an accident may answer.
ACCIDENTS = {502, 503, 504}

CONFIG = """
_format_version: "3.0"
issuers:
- name: dev
  issuer: @issuer@
  ca_file: @ca@
  audience: ["api://orders"]
services:
- name: marks
  url: postgres://app@127.0.0.1:@port@/shop
  sslmode: verify-full
  sslrootcert: @ca@
  iam_auth: {region: @region@, hostname: @hostname@}
  claims: [sub]
  pool: {max_connections: 4, shared_depth: 8, login_rate: 100, max_waiting: 200}
  max_rows: 100000
  routes:
  - name: read
    methods: [GET]
    paths: ["/read/{nonce}"]
    statement:
      sql: >-
        select :mark as mark, :nonce as nonce, claims.sub, claims.sub = :mark as same,
               current_user as role, pg_catalog.current_setting('application_name') as application
        from (select pg_catalog.current_setting('request.jwt.claims')::json ->> 'sub' as sub) claims
      parameters: {mark: {type: text, from: claim.sub}, nonce: {type: text, from: path}}
      result: one
      read_only: true
  - name: large
    methods: [GET]
    paths: ["/large/{nonce}"]
    statement:
      sql: >-
        select :mark as mark, :nonce as nonce, claims.sub, claims.sub = :mark as same,
               current_user as role, pg_catalog.current_setting('application_name') as application,
               pg_catalog.repeat(:mark || ' ', 20) as padding
        from (select pg_catalog.current_setting('request.jwt.claims')::json ->> 'sub' as sub)
             claims, pg_catalog.generate_series(1, 1500)
      parameters: {mark: {type: text, from: claim.sub}, nonce: {type: text, from: path}}
      read_only: true
  - name: heavy
    methods: [GET]
    paths: ["/heavy/{nonce}"]
    statement:
      sql: >-
        select :mark as mark, :nonce as nonce, claims.sub, claims.sub = :mark as same,
               current_user as role, pg_catalog.current_setting('application_name') as application
        from (select pg_catalog.current_setting('request.jwt.claims')::json ->> 'sub' as sub) claims
        where (select pg_catalog.count(*) from pg_catalog.generate_series(1, :size)) > 0
      parameters:
        mark: {type: text, from: claim.sub}
        nonce: {type: text, from: path}
        size: {type: bigint, from: query}
      result: one
      read_only: true
      timeout_ms: 60
  - name: slow
    methods: [GET]
    paths: ["/slow/{nonce}"]
    statement:
      sql: >-
        select :mark as mark, :nonce as nonce, claims.sub, claims.sub = :mark as same,
               current_user as role, pg_catalog.current_setting('application_name') as application
        from (select pg_catalog.current_setting('request.jwt.claims')::json ->> 'sub' as sub)
             claims, pg_catalog.pg_sleep(:seconds)
      parameters:
        mark: {type: text, from: claim.sub}
        nonce: {type: text, from: path}
        seconds: {type: double precision, from: query}
      result: one
      timeout_ms: 100
  - name: write
    methods: [POST]
    paths: ["/write/{nonce}"]
    statement:
      sql: >-
        insert into marks.marks (mark, nonce, padding) values (:mark, :nonce, :padding)
        returning mark, nonce, sub, sub = mark as same, role, application
      parameters:
        mark: {type: text, from: claim.sub}
        nonce: {type: text, from: path}
        padding: {type: text, from: body}
      result: one
roles:
- name: writer
  priority: 2
  when: {issuer: dev, groups: [orders-writers]}
  services: [marks]
  database_role: orders_writer
  allow: [{routes: [read, large, heavy, slow, write]}]
- name: reader
  priority: 1
  when: {issuer: dev, groups: [orders-readers]}
  services: [marks]
  database_role: orders_reader
  allow: [{routes: [read, large, heavy, slow]}]
"""

TABLES = """
create schema marks;
create table marks.marks (
    mark text not null,
    nonce text not null,
    padding text not null,
    sub text not null default current_setting('request.jwt.claims')::json ->> 'sub',
    application text not null default current_setting('application_name'),
    role text not null default current_user
);
grant usage on schema marks to orders_writer;
grant select, insert on marks.marks to orders_writer;
"""


@pytest.fixture
def marks(bed, issuer, gateway):
    from harness import config_for

    bed.superuser_script("drop schema if exists marks cascade;" + TABLES)
    yield gateway(config=config_for(bed, issuer, CONFIG))
    bed.superuser_script("drop schema marks cascade")


class Killer(threading.Thread):
    """Ends one of the gateway's backends after the other, whatever it does at that moment."""

    def __init__(self, bed):
        super().__init__(daemon=True)
        self.bed = bed
        self.ended = threading.Event()
        self.killed = 0

    def run(self):
        while not self.ended.wait(0.15):
            self.killed += int(
                self.bed.superuser_sql(
                    "select count(pg_terminate_backend(pid)) from (select pid from"
                    " pg_stat_activity where usename = 'app' order by state = 'active' desc,"
                    " random() limit 1) one"
                )
            )

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


class Caller:
    """One caller with its token: sends, checks each answer, vanishes now and then."""

    def __init__(self, number, gateway, tally):
        self.random = random.Random(number)
        self.mark = f"mark-{number:02d}-{self.random.getrandbits(32):08x}"
        self.writes = number % 2 == 0
        self.role = "orders_writer" if self.writes else "orders_reader"
        self.token = gateway.mint("bob" if self.writes else "alice", sub=self.mark)
        self.gateway = gateway
        self.tally = tally
        self.connection = None
        self.answered = []  # (request id, status, nonce)

    def make_request(self):
        nonce = f"{self.random.getrandbits(64):016x}"
        kind = self.random.choices(
            ["read", "write", "large", "slow", "heavy", "none"], [60, 15, 10, 3, 6, 5]
        )[0]
        if kind == "write" and not self.writes:
            kind = "read"
        if kind == "write":
            value = {"padding": self.mark * self.random.randrange(50)}
            return kind, nonce, json_request("POST", f"/write/{nonce}", self.token, value)
        path = f"/{kind}/{nonce}"
        if kind == "slow":
            path += f"?seconds={self.random.choice(['0.01', '0.05', '5'])}"
        if kind == "heavy":
            path += f"?size={self.random.choice([10, 1000, 100_000_000])}"
        return kind, nonce, request("GET", path, self.token)

    def check(self, kind, nonce, answer):
        found = set(MARK.findall(answer.body)) | set(
            MARK.findall(json.dumps(answer.headers).encode())
        )
        assert found <= {self.mark.encode()}, f"{self.mark} was given {found}"
        self.answered.append((answer.request_id, answer.status, kind))
        self.tally[kind, answer.status] = self.tally.get((kind, answer.status), 0) + 1
        if kind == "none":
            assert answer.status == 404
            return
        if answer.status in ACCIDENTS:
            return
        assert answer.status == 200, answer
        rows = answer.json if kind == "large" else [answer.json]
        assert len(rows) == (1500 if kind == "large" else 1)
        for row in rows:
            assert (row["mark"], row["sub"], row["same"]) == (self.mark, self.mark, True)
            assert (row["role"], row["nonce"]) == (self.role, nonce)
            assert row["application"] == f"{answer.request_id} {self.mark}"

    async def turn(self):
        if self.connection is None:
            self.connection = await AsyncConnection.open(self.gateway)
        batch = [self.make_request() for _ in range(self.random.choice([1, 1, 1, 2, 4]))]
        self.connection.send(b"".join(data for _, _, data in batch))
        accident = self.random.random()
        if accident < 0.05:  # mid-request, or before any byte of an answer
            await asyncio.sleep(self.random.choice([0, 0, 0.005, 0.03]))
            return self.leave()
        if accident < 0.10:  # mid-result
            await self.connection.reader.read(self.random.randrange(1, 20000))
            return self.leave()
        for kind, nonce, _ in batch:
            answer = await asyncio.wait_for(self.connection.answer(), ANSWER_SECONDS)
            assert answer is not None, "a connection ended without its answer"
            self.check(kind, nonce, answer)
        if accident > 0.95:
            self.leave()

    def leave(self):
        self.connection.vanish()
        self.connection = None
        self.tally["left"] = self.tally.get("left", 0) + 1

    async def read_calmly(self, count):
        """Nothing but reads, so that they share connections."""
        self.connection = await AsyncConnection.open(self.gateway)
        for _ in range(count):
            nonce = f"{self.random.getrandbits(64):016x}"
            self.connection.send(request("GET", f"/heavy/{nonce}?size=2000", self.token))
            answer = await asyncio.wait_for(self.connection.answer(), ANSWER_SECONDS)
            self.check("heavy", nonce, answer)

    async def run(self, until):
        while time.monotonic() < until:
            await self.turn()
        if self.connection:
            self.connection.vanish()


async def call_all(bed, gateway):
    tally = {}
    callers = [Caller(number, gateway, tally) for number in range(CALLERS)]
    await asyncio.gather(*(caller.read_calmly(20) for caller in callers[:20]))
    with Killer(bed) as killer:
        until = time.monotonic() + SECONDS
        await asyncio.gather(*(caller.run(until) for caller in callers))
    return callers, tally, killer.killed


def when(record):
    """Microseconds of the day, and how long the database had the call."""
    clock = record["time"][11:26]
    hours, minutes, seconds = clock.split(":")
    at = (int(hours) * 60 + int(minutes)) * 60_000_000 + round(float(seconds) * 1_000_000)
    return at - record["database_us"], at


def check_sharing(by_request):
    """Reads did run behind each other on one connection, and nothing ever beside a write."""
    on_backend = {}
    for records in by_request.values():
        if records[0]["kind"] == "intent" and records[-1].get("backend_pid"):
            calls = on_backend.setdefault(records[-1]["backend_pid"], [])
            calls.append((*when(records[-1]), records[0]["route"]))
    together = 0
    for calls in on_backend.values():
        calls.sort()
        ended, last = 0, None
        for start, end, route in calls:
            if start < ended - 100:
                together += 1
                assert not {route, last} & {"write", "slow"}, (route, last)
            if end > ended:
                ended, last = end, route
    assert together > 100, together


def check_audit(gateway, callers):
    """Every answered call has its one intent or denial and one outcome, with the right subject."""
    by_request = {}
    for record in gateway.audit():
        if "request_id" in record:
            by_request.setdefault(record["request_id"], []).append(record)
    for caller in callers:
        for request_id, status, kind in caller.answered:
            records = by_request[request_id]
            kinds = [record["kind"] for record in records]
            expected = ["denial"] if kind == "none" else ["intent", "outcome"]
            assert kinds == expected, records
            assert records[0]["subject"] == caller.mark, records
            assert records[-1]["status"] == status, records
    intents = {id for id, found in by_request.items() if found[0]["kind"] == "intent"}
    lone = [id for id in intents if by_request[id][-1]["kind"] != "outcome"]
    assert not lone, f"intents without an outcome: {lone[:5]}"
    check_sharing(by_request)


@pytest.mark.threads
def test_no_caller_ever_gets_anothers_mark(bed, marks):
    callers, tally, killed = asyncio.run(call_all(bed, marks))
    print(tally, "killed", killed)
    # Every kind was really answered, and every accident really happened.
    for kind in ("read", "write", "large", "heavy", "slow"):
        assert tally.get((kind, 200), 0) > 0, tally
    for kind in ("heavy", "slow"):
        assert tally.get((kind, 504), 0) > 0, tally
    assert killed > 10 and tally["left"] > 50, tally
    # What reached the table was written under the right name.
    wrong = bed.superuser_sql(
        "select count(*) from marks.marks where sub <> mark or role <> 'orders_writer'"
        " or substr(application, 26) <> mark or padding <> repeat(mark, length(padding) / 16)"
    )
    assert wrong == "0\n"
    confirmed = tally["write", 200]
    assert int(bed.superuser_sql("select count(*) from marks.marks")) >= confirmed
    # Still whole: a call of each kind, without accidents.
    for number in range(8):
        mark = f"mark-{number:02d}-00000000"
        answer = marks.get("/read/after", marks.mint("bob", sub=mark))
        assert answer.status == 200 and answer.json["sub"] == mark, answer
    marks.stop()
    check_audit(marks, callers)
    verified = marks.run("audit", "verify", "--dir", marks.audit_folder)
    assert verified.returncode == 0, verified.stdout
