"""Logins to the database: which are refused and what the audit says of it, and what callers meet
while the database is away or goes away."""

import concurrent.futures
import re
import signal
import socket
import threading
import time

import psycopg2
import pytest

import harness
import served
from bed import shop
from bed.ca import Authority
from bed.postgres import AccessKey, PostgresBed, free_port, wait_until

WHO = """
select current_user::text as who, session_user::text as login, pg_backend_pid() as pid
"""
SECONDS_AT_MOST = 15  # no call takes longer, whatever happens to the database

# What makes each login unfit: SQL, and what the audit must say.
UNFIT = {
    "inherit": ("alter role {login} inherit", "it is INHERIT: alter role … noinherit"),
    "superuser": ("alter role {login} superuser", "it is a superuser"),
    "bypassrls": ("alter role {login} bypassrls", "it has BYPASSRLS"),
    "createrole": ("alter role {login} createrole", "it has CREATEROLE"),
    "createdb": ("alter role {login} createdb", "it has CREATEDB"),
    "replication": ("alter role {login} replication", "it has REPLICATION"),
    "owner": (
        "create table lg.owned (id int); alter table lg.owned owner to {login}",
        "it owns objects",
    ),
    "granted": ("grant select on lg.t to {login}", "it was granted privileges of its own"),
    "granted-column": (
        "grant update (id) on lg.t to {login}",
        "it was granted privileges of its own",
    ),
    "usage": ("grant usage on schema lg to {login}", "it was granted privileges of its own"),
    "by-default": (
        "alter default privileges in schema lg grant select on tables to {login}",
        "it was granted privileges of its own",
    ),
    "creates": ("grant create on schema lg to {login}", "it may create objects in schema lg"),
    "creates-schemas": (
        "grant create on database shop to {login}",
        "it may create schemas in the database",
    ),
    "member": (
        "grant lg_other to {login}",
        "no role that this login serves names: revoke lg_other from lg_member",
    ),
    "admin": (
        "grant orders_reader to {login} with admin option",
        "it is a member of orders_reader with ADMIN OPTION",
    ),
    "super-role": ("grant lg_super to {login}", "the role lg_super is a superuser"),
    "bypass-role": ("grant lg_bypass to {login}", "the role lg_bypass has BYPASSRLS"),
}
LOGINS = ["fit", *UNFIT]


def login_name(case):
    return "lg_" + case.replace("-", "_")


def who_route(name):
    """A route that would write where everybody may, were it reached."""
    return served.route(
        name,
        f"with w as (insert into lg.seen values (:note) returning 1) {WHO} from w",
        method="POST",
        parameters={"note": {"type": "text", "from": "query", "default": name}},
        result="one",
    )


def service(bed, name, user, path=None, **more):
    return served.service(bed, [who_route(path or name)], name=name, user=user, **more)


def roles_for(services):
    names = [s["name"] for s in services]
    roles = [served.role("reader", "orders-readers", "orders_reader", services=names)]
    for case in ("super", "bypass"):
        if f"{case}-role" in names:
            name = f"lg_{case}"
            roles.append(served.role(name, "nobody", name, services=[f"{case}-role"]))
    return roles


def config(bed, issuer, services, ca=None):
    return served.config(bed, issuer, services, roles_for(services), ca)


def post(gateway, path):
    start = time.monotonic()
    answer = gateway.post(path, gateway.mint("alice"))
    assert time.monotonic() - start < SECONDS_AT_MOST
    return answer


def logins(gateway, service, kind="login_failure"):
    return [r for r in gateway.audit() if r["kind"] == kind and r["service"] == service]


def assert_refused(gateway, name, reason, detail, sqlstate=None):
    """Callers get 503, the audit says why, and nothing ran."""
    written = f"select count(*) from lg.seen where note = '{name}'"
    before = gateway.bed.superuser_sql(written)
    answer = post(gateway, "/" + name)
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) >= 1
    assert not detail or detail not in answer.body.decode()
    records = logins(gateway, name)
    assert records, "no login_failure in the audit"
    for record in records:
        assert record["reason"] == reason
        assert detail in record.get("detail", "")
        assert record.get("sqlstate") == sqlstate
    assert logins(gateway, name, "login") == []
    assert gateway.bed.superuser_sql(written) == before
    return records[-1]


def make_schema(bed):
    bed.superuser_script(
        """
        create schema lg;
        create table lg.t (id int);
        create table lg.seen (note text);
        grant usage on schema lg to public;
        grant insert, select on lg.seen to public;
        create role lg_other nologin;
        create role lg_super superuser nologin;
        create role lg_bypass bypassrls nologin;
        """
    )


@pytest.fixture(scope="module")
def objects(bed):
    make_schema(bed)
    for case in LOGINS:
        login = login_name(case)
        bed.superuser_sql(f"create role {login} login noinherit in role orders_reader, rds_iam")
        if case in UNFIT:
            bed.superuser_sql(UNFIT[case][0].format(login=login))
    yield
    names = [login_name(case) for case in LOGINS]
    bed.superuser_sql("drop schema lg cascade")
    for name in [*names, "lg_other", "lg_super", "lg_bypass"]:
        bed.superuser_sql(f"drop owned by {name}; drop role {name}")


@pytest.fixture(scope="module")
def many(bed, issuer, needs_gateway, objects):
    """One gateway with a service for each login."""
    services = [service(bed, case, login_name(case)) for case in LOGINS]
    gateway = harness.Sallyport(bed, issuer, config=config(bed, issuer, services))
    try:
        yield gateway.start()
    finally:
        gateway.close()


# -- the check of the login ---


def test_a_fit_login_serves_and_the_audit_names_its_session(many):
    answer = post(many, "/fit")
    assert answer.status == 200, answer
    assert (answer.json["who"], answer.json["login"]) == ("orders_reader", "lg_fit")

    def every_session_is_named():  # one may be on its way: first the session, then its record
        sessions = {b["pid"] for b in served.backends(many.bed, "lg_fit")}
        return {r["backend_pid"] for r in logins(many, "fit", "login")} == sessions

    wait_until(every_session_is_named, 20, "a login in the audit for each session")
    record = logins(many, "fit", "login")[-1]
    assert record["access_key_id"] == many.bed.keys[0].access_key_id
    assert record["database_user"] == "lg_fit"
    assert record["auth_method"] == "iam"
    assert record["credential_source"] == "environment"
    assert record["signed_host"] == many.bed.hostname
    assert record["tls_version"] == "TLSv1.3"
    assert logins(many, "fit") == []
    outcome = many.wait_for_audit(answer.request_id)[-1]
    assert outcome["backend_pid"] == answer.json["pid"]
    assert outcome["access_key_id"] == many.bed.keys[0].access_key_id


@pytest.mark.parametrize("case", UNFIT)
def test_an_unfit_login_is_refused(many, case):
    detail = UNFIT[case][1]
    record = assert_refused(many, case, "login_unfit", detail)
    assert record["database_user"] == login_name(case)
    assert record["access_key_id"] == many.bed.keys[0].access_key_id
    ran = [
        line
        for line in many.bed.log_lines(f"user={login_name(case)} ")
        if " execute " in line or " statement: " in line
    ]
    assert ran and all("pg_auth_members" in line for line in ran)


def test_create_for_everybody_makes_a_login_unfit(bed, issuer, gateway, objects):
    bed.superuser_sql("grant create on schema lg to public")
    try:
        services = [service(bed, "public", "lg_fit")]
        running = gateway(config=config(bed, issuer, services))
        detail = "it may create objects in schema lg: revoke create on schema … from public"
        assert_refused(running, "public", "login_unfit", detail)
    finally:
        bed.superuser_sql("revoke create on schema lg from public")


def test_a_login_is_used_as_soon_as_it_is_fit(bed, issuer, gateway, objects):
    bed.superuser_sql("grant select on lg.t to lg_fit")
    services = [service(bed, "later", "lg_fit")]
    running = gateway(config=config(bed, issuer, services))
    detail = "it was granted privileges of its own"
    assert_refused(running, "later", "login_unfit", detail)
    bed.superuser_sql("revoke select on lg.t from lg_fit")
    wait_until(lambda: post(running, "/later").status == 200, 20, "an answer by the fit login")


# -- credentials and certificates ---


def one_service(bed, issuer, gateway, environment=None, **more):
    return gateway(
        config=config(bed, issuer, [service(bed, "one", "lg_fit", **more)]),
        environment=environment,
    )


def test_a_foreign_key_is_refused(bed, issuer, gateway, objects):
    stranger = AccessKey.fresh()
    running = one_service(bed, issuer, gateway, stranger.environment())
    record = assert_refused(running, "one", "pg_login_refused", "PAM authentication", "28000")
    assert record["access_key_id"] == stranger.access_key_id
    assert stranger.secret_access_key not in running.log_text()


def test_a_wrong_secret_is_refused(bed, issuer, gateway, objects):
    environment = bed.keys[0].environment() | {"AWS_SECRET_ACCESS_KEY": "x" * 40}
    running = one_service(bed, issuer, gateway, environment)
    assert_refused(running, "one", "pg_login_refused", "PAM authentication", "28000")


def test_a_session_token_that_is_no_more_is_refused(bed, issuer, gateway, objects):
    old = AccessKey.fresh(temporary=True).session_token
    environment = bed.keys[1].environment() | {"AWS_SESSION_TOKEN": old}
    running = one_service(bed, issuer, gateway, environment)
    record = assert_refused(running, "one", "pg_login_refused", "PAM authentication", "28000")
    assert record["access_key_id"] == bed.keys[1].access_key_id
    assert old not in running.log_text()
    assert old not in "".join(map(str, running.audit()))


@pytest.mark.parametrize("case", ["no such host", "refused", "silent", "untrusted by rds"])
def test_a_failure_before_the_login_names_the_place_and_the_cause(
    bed, issuer, gateway, objects, tmp_path, case
):
    """In the audit, the log and /status; the caller learns nothing of it."""
    port, node, more = free_port(), None, {"connect_timeout_ms": 1000}
    with socket.create_server(("127.0.0.1", 0)) as mute:
        if case == "no such host":
            url = f"postgres://lg_fit@no-such-host.invalid:{bed.port}/shop"
            reason, detail = "resolve_failed", f"no-such-host.invalid:{bed.port}: "
        elif case == "refused":
            url = f"postgres://lg_fit@localhost:{port}/shop"
            reason, detail = "connect_failed", f"localhost:{port} (127.0.0.1): Connection refused"
        elif case == "silent":
            port = mute.getsockname()[1]
            url = f"postgres://lg_fit@127.0.0.1:{port}/shop"
            reason, detail = "timeout", f"127.0.0.1:{port}: no answer within connect_timeout_ms"
        else:
            url = f"postgres://lg_fit@127.0.0.1:{bed.port}/{bed.database}"
            node = {"rds_ca_bundle": Authority(tmp_path, "another authority").file}
            more["sslrootcert"] = "rds"
            reason = "tls_failed"
            detail = "sslrootcert rds does not vouch for the server's certificate; " \
                     "is rds_ca_bundle Amazon's current global-bundle.pem?"
        running = gateway(
            config=config(bed, issuer, [service(bed, "one", "lg_fit", url=url, **more)]),
            node=node,
        )
        answer = post(running, "/one")
        assert answer.status in (503, 504)
        body = answer.body.decode()
        assert "localhost" not in body and "127.0.0.1" not in body and "invalid" not in body
        records = logins(running, "one")
        assert records[-1]["reason"] == reason
        assert detail in records[-1]["detail"]
        assert detail in running.status("/status").json["services"][0]["last_error"]
        logged = [r for r in running.log() if r["event"] == "login_failed"]
        assert detail in logged[-1]["detail"]


def test_temporary_credentials_log_in(bed, issuer, gateway, objects):
    running = one_service(bed, issuer, gateway, bed.keys[1].environment())
    assert post(running, "/one").status == 200
    assert logins(running, "one", "login")[-1]["access_key_id"] == bed.keys[1].access_key_id


@pytest.mark.parametrize("case", ["region", "host", "name", "authority", "not rds_iam"])
def test_a_wrong_endpoint_is_refused(bed, issuer, gateway, objects, tmp_path, case):
    iam = {"region": bed.region, "hostname": bed.hostname}
    more = {"iam_auth": iam}
    reason, detail, sqlstate = "pg_login_refused", "PAM authentication", "28000"
    if case == "region":
        iam["region"] = "us-east-1"
    elif case == "host":  # the certificate names localhost; the token must be for the RDS name
        iam["hostname"] = "localhost"
    elif case == "name":
        iam["hostname"] = "other.cluster-abc.eu-west-1.rds.amazonaws.com"
        reason, sqlstate = "tls_failed", None
        detail = f"127.0.0.1:{bed.port}: hostname mismatch: the server's certificate is not for " \
                 "other.cluster-abc.eu-west-1.rds.amazonaws.com"
    elif case == "authority":
        more["sslrootcert"] = str(Authority(tmp_path, "another authority").file)
        reason, sqlstate = "tls_failed", None
        detail = f"sslrootcert {more['sslrootcert']} does not vouch for the server's " \
                 "certificate; for Amazon RDS use sslrootcert: rds, with its global-bundle.pem " \
                 "as rds_ca_bundle"
    user = "lg_fit"
    if case == "not rds_iam":
        user = "lg_nobody"
        detail = "pg_hba.conf rejects connection"
        bed.superuser_sql("create role lg_nobody login noinherit in role orders_reader")
    try:
        services = [service(bed, "one", user, **more)]
        running = gateway(config=config(bed, issuer, services))
        record = assert_refused(running, "one", reason, detail, sqlstate)
        if reason == "tls_failed":  # no token went to whom we do not know
            assert "token_expiry" not in record and "backend_pid" not in record
    finally:
        if user == "lg_nobody":
            bed.superuser_sql("drop role lg_nobody")


# -- a server of its own, which may be stopped ---


class LoneBed(PostgresBed):
    """A server that can be taken down and brought back with its data."""

    def down(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait(30)

    def up(self):
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._launch()


@pytest.fixture(scope="module")
def lone(bed):
    with LoneBed(keys=bed.keys) as running:
        shop.set_up(running, harness.binary())
        make_schema(running)
        running.superuser_sql("create role lg_fit login noinherit in role orders_reader, rds_iam")
        running.superuser_sql("create table lg.gate (id int); insert into lg.gate values (1)")
        running.superuser_sql("grant select on lg.gate to orders_reader")
        running.superuser_sql("create table lg.once (note text primary key)")
        running.superuser_sql("grant insert on lg.once to orders_reader")
        yield running


@pytest.fixture
def at(lone, bed, issuer, needs_gateway):
    """Makes a gateway in front of the lone server."""
    made = []

    def make(services, environment=None, start=True):
        text = config(lone, issuer, services, bed.ca)
        gateway = harness.Sallyport(lone, issuer, config=text, environment=environment)
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in made:
        gateway.close()


def set_server(lone, name, value):
    lone.superuser_sql(f"alter system set {name} = {value}")
    lone.superuser_sql("select pg_reload_conf()")
    wait_until(
        lambda: lone.superuser_sql(f"show {name}").strip() == value, 10, f"{name} = {value}"
    )


def test_a_server_without_tls_is_refused(lone, at):
    set_server(lone, "ssl", "off")
    try:
        running = at([service(lone, "one", "lg_fit")])
        record = assert_refused(running, "one", "pg_tls_refused", "")
        assert "tls_version" not in record
    finally:
        set_server(lone, "ssl", "on")
    wait_until(lambda: post(running, "/one").status == 200, 20, "an answer over TLS")


def test_a_password_from_a_vault_logs_in_by_scram(lone, at):
    hba = lone.data / "pg_hba.conf"
    text = hba.read_text()
    lone.superuser_sql(
        "create role lg_scram login noinherit password 'p4ss wörd' in role orders_reader"
    )
    hba.write_text("hostssl all lg_scram 127.0.0.1/32 scram-sha-256\n" + text)
    lone.superuser_sql("select pg_reload_conf()")
    more = {"password": "{vault://env/LG_PASSWORD}", "sslmode": "verify-ca"}
    services = [service(lone, "one", "lg_scram", **more)]
    environment = {"LG_PASSWORD": "p4ss wörd"}
    running = at(services, environment)
    answer = post(running, "/one")
    assert (answer.status, answer.json["login"]) == (200, "lg_scram")
    record = logins(running, "one", "login")[-1]
    assert record["auth_method"].startswith("scram-sha-256")
    assert "access_key_id" not in record
    wrong = at(services, {"LG_PASSWORD": "p4ss word"})
    record = assert_refused(
        wrong, "one", "pg_login_refused", "password authentication failed", "28P01"
    )
    assert record["database_user"] == "lg_scram"
    for gateway in (running, wrong):
        assert "p4ss" not in gateway.log_text()
        assert "p4ss" not in "".join(map(str, gateway.audit()))
    hba.write_text(text)


# -- a database that is away ---


def warnings(gateway):
    return [w["reason"] for w in gateway.status("/status/ready").json["warnings"]]


def test_a_database_that_is_down_at_the_start_is_met_when_it_comes(lone, at):
    lone.down()
    try:
        running = at([service(lone, "one", "lg_fit")])
        start = time.monotonic()
        answer = post(running, "/one")
        assert time.monotonic() - start < 3
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["type"] == "urn:sallyport:problem:database_unreachable"
        assert "database" in warnings(running)
        assert running.status("/status/ready").status == 200
    finally:
        lone.up()
    wait_until(lambda: post(running, "/one").status == 200, 20, "the recovery")
    assert "database" not in warnings(running)
    refused = logins(running, "one")[-1]
    assert refused["reason"] == "connect_failed"
    assert refused["detail"] == f"127.0.0.1:{lone.port}: Connection refused"


READ = served.route("read", f"{WHO} from lg.gate", result="one")
WRITE = served.route(
    "write",
    "insert into lg.once values (:note)",
    method="POST",
    parameters={"note": {"type": "text", "from": "query"}},
    result="affected",
)


@pytest.fixture
def gated(lone, at):
    """A gateway whose statements wait while `hold` holds the gate."""
    return at([served.service(lone, [READ, WRITE], user="lg_fit")])


def at_gate(lone, but=()):
    found = [
        b["pid"]
        for b in served.backends(lone, "lg_fit")
        if b["state"] == "active" and b["application_name"].endswith(" alice")
        and b["pid"] not in but
    ]
    return found[0] if found else None


@pytest.fixture
def hold(lone):
    connection = psycopg2.connect(lone.superuser_dsn())
    with connection.cursor() as cursor:
        cursor.execute("begin; lock table lg.gate")
    yield connection
    connection.close()


def test_a_read_whose_connection_breaks_is_tried_once_more(lone, gated, hold):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(gated.get, "/read", gated.mint("alice"))
        first = wait_until(lambda: at_gate(lone), 20, "the read at the gate")
        lone.superuser_sql(f"select pg_terminate_backend({first})")
        second = wait_until(lambda: at_gate(lone, [first]), 20, "the second try")
        hold.rollback()
        answer = pending.result()
    assert (answer.status, answer.json["pid"]) == (200, second)
    records = gated.wait_for_audit(answer.request_id)
    assert [r["kind"] for r in records] == ["intent", "outcome"]
    assert records[1]["backend_pid"] == second


def test_a_read_that_breaks_twice_is_given_up(lone, gated, hold):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(gated.get, "/read", gated.mint("alice"))
        first = wait_until(lambda: at_gate(lone), 20, "the read at the gate")
        lone.superuser_sql(f"select pg_terminate_backend({first})")
        second = wait_until(lambda: at_gate(lone, [first]), 20, "the second try")
        lone.superuser_sql(f"select pg_terminate_backend({second})")
        answer = pending.result()
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert gated.wait_for_audit(answer.request_id)[-1]["reason"] == "connection_lost"


def test_a_write_whose_connection_breaks_has_an_unknown_outcome(lone, gated, hold):
    with hold.cursor() as cursor:  # the call's own insert waits for the end of this one
        cursor.execute("insert into lg.once values ('broken')")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(gated.post, "/write?note=broken", gated.mint("alice"))
        first = wait_until(lambda: at_gate(lone), 20, "the write at the gate")
        lone.superuser_sql(f"select pg_terminate_backend({first})")
        answer = pending.result()
    hold.rollback()
    assert answer.status == 502
    assert answer.json["type"] == "urn:sallyport:problem:outcome_unknown"
    assert "retry-after" not in answer.headers
    record = gated.wait_for_audit(answer.request_id)[-1]
    assert (record["reason"], record["backend_pid"]) == ("outcome_unknown", first)
    ran = [line for line in lone.log_lines(answer.request_id) if "execute" in line]
    assert len([line for line in ran if "lg.once" in line]) == 1  # it was not sent again
    assert lone.superuser_sql("select count(*) from lg.once where note = 'broken'") == "0\n"
    assert gated.get("/read", gated.mint("alice")).status == 200


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "crash"])
def test_a_restart_under_load_loses_and_doubles_no_write(lone, gated, how):
    """Each write that was answered well is there once; each that was refused is not there."""
    stop = threading.Event()
    results = []
    if how == signal.SIGQUIT:  # what a crash forgets by synchronous_commit=off is not our matter
        lone.superuser_sql("alter system set synchronous_commit = on")
        lone.superuser_sql("select pg_reload_conf()")

    def caller(n):
        connection = gated.connect(timeout=SECONDS_AT_MOST)
        count = 0
        while not stop.is_set():
            count += 1
            note = f"{how.name} {n} {count}"
            token = tokens[n % 2]
            if n % 2:
                path = "/write?note=" + note.replace(" ", "%20")
                answer = gated.post(path, token, connection=connection)
            else:
                answer = gated.get("/read", token, connection=connection)
            results.append((n % 2, note, answer.status))
        connection.close()
        return True

    def good():
        return sum(status == 200 for _, _, status in results)

    tokens = [gated.mint("alice"), gated.mint("alice")]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(caller, n) for n in range(8)]
        try:
            wait_until(lambda: good() > 100, 30, "calls before")
            lone.down(how)
            refused = len([r for r in results if r[2] == 503])
            wait_until(
                lambda: len([r for r in results if r[2] == 503]) > refused, 30, "calls meanwhile"
            )
            lone.up()
            before = good()
            wait_until(lambda: good() > before + 100, 30, "calls after")
        finally:
            stop.set()
        assert all(one.result() for one in pending)
    assert {status for write, _, status in results if not write} <= {200, 503}
    assert {status for write, _, status in results if write} <= {200, 502, 503}
    stored = lone.superuser_sql(f"select note from lg.once where note like '{how.name} %'")
    stored = stored.splitlines()
    assert len(stored) == len(set(stored))
    stored = set(stored)
    for write, note, status in results:
        if write and status == 200:
            assert note in stored
        elif write and status == 503:
            assert note not in stored
    assert re.search("database_unreachable|connection_lost|outcome_unknown", str(gated.audit()))
