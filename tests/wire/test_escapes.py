"""The escapes of the identity prelude: a caller's role, claims and settings hold during the
statement and are gone after it, whatever the statement does.

Most tests look from a second call on the same backend, known by its pid: the pool has one
connection.
"""

import concurrent.futures
import re
import threading

import psycopg2
import pytest

import harness
import served
from bed.postgres import wait_until
from escaping import ROUTES, assert_intact, make, outcome, seen, who


@pytest.fixture(scope="module")
def objects(bed):
    bed.superuser_file(harness.ROOT / "tests/wire/escapes.sql")
    yield
    bed.superuser_sql("drop schema esc cascade; drop role esc_stranger")


@pytest.fixture(scope="module")
def one(bed, issuer, needs_gateway, objects):
    """A gateway with one connection, one call at a time."""
    gateway = make(bed, issuer, depth=1)
    try:
        yield gateway.start()
    finally:
        gateway.close()


@pytest.fixture(scope="module")
def shared(bed, issuer, needs_gateway, objects):
    """A gateway with one connection that reads are pipelined on."""
    gateway = make(bed, issuer, depth=16, workers=1)
    try:
        yield gateway.start()
    finally:
        gateway.close()


@pytest.fixture
def superuser(bed):
    """The superuser's own connection, for locks that hold a statement still."""
    connection = psycopg2.connect(bed.superuser_dsn())
    yield connection
    connection.close()


# -- what holds during the statement, and what is back after it ---


def test_everything_of_the_prelude_holds_during_the_statement(one):
    answer = one.get("/who", one.mint("alice"))
    assert answer.json == {
        "who": "orders_reader",
        "login": "app",
        "role": "orders_reader",
        "claims": {"sub": "alice", "role": "orders_reader", "tenant_id": "north"},
        "application_name": f"{answer.request_id} alice",
        "search_path": '"sales", pg_temp',
        "statement_timeout": "4321ms",
        "read_only": "on",
        "pid": answer.json["pid"],
    }
    written = one.post("/who-write", one.mint("bob"))
    assert written.json == {
        "who": "orders_writer",
        "login": "app",
        "role": "orders_writer",
        "claims": {"sub": "bob", "role": "orders_writer", "tenant_id": "south"},
        "application_name": f"{written.request_id} bob",
        "search_path": '"sales", pg_temp',
        "statement_timeout": "8765ms",
        "read_only": "off",
        "pid": answer.json["pid"],
    }
    assert outcome(one, answer)["backend_pid"] == answer.json["pid"]


def test_only_the_listed_claims_reach_the_database(one):
    claims = who(one, "alice", email="alice@example.org", tenant_id="north")["claims"]
    assert sorted(claims) == ["role", "sub", "tenant_id"]


def test_the_backend_names_the_caller_during_the_statement_and_not_after(one, superuser):
    pid = who(one)["pid"]
    with superuser.cursor() as cursor:
        cursor.execute("begin; lock table esc.gate")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(one.get, "/gate", one.mint("alice", sub="alice in the gate"))
        held = wait_until(
            lambda: [b for b in served.backends(one.bed) if "esc.gate" in b["query"]
                     and b["state"] == "active"],
            20, "the statement at the gate",
        )  # fmt: skip
        superuser.rollback()
        answer = pending.result()
    assert answer.status == 200
    assert [(b["pid"], b["application_name"]) for b in held] == [
        (pid, f"{answer.request_id} alice in the gate")
    ]
    after = served.backends(one.bed)
    assert [(b["pid"], b["application_name"], b["state"]) for b in after] == [
        (pid, "sallyport", "idle")
    ]


def test_a_long_subject_is_cut_and_the_request_id_is_not(one):
    answer = one.get("/who", one.mint("alice", sub="s" * 200))
    name = answer.json["application_name"]
    assert len(name) == 63
    assert name == (answer.request_id + " " + "s" * 200)[:63]
    odd = one.get("/who", one.mint("alice", sub="é'\"\\ ;--"))
    assert odd.json["application_name"] == f"{odd.request_id} ??'\"\\ ;--"


def test_a_failing_statement_leaves_no_identity_behind(one):
    pid = who(one)["pid"]
    answer = one.get("/divide?by=0", one.mint("bob"))
    assert (answer.status, answer.json["sqlstate"]) == (400, "22012")
    assert [b["application_name"] for b in served.backends(one.bed)] == ["sallyport"]
    assert_intact(one, pid)
    assert outcome(one, answer)["sqlstate"] == "22012"


def test_statement_timeout_bites_and_is_gone_after(bed, issuer, gateway, objects, superuser):
    route = served.route("gate", "select id from esc.gate", result="one", timeout_ms=50)
    pool = {"max_connections": 1, "shared_depth": 1}
    shop = served.service(bed, [route, ROUTES[0]], pool=pool)
    running = gateway(config=served.config(bed, issuer, [shop]))
    pid = who(running)["pid"]
    with superuser.cursor() as cursor:
        cursor.execute("begin; lock table esc.gate")
        answer = running.get("/gate", running.mint("alice"))
        superuser.rollback()
    assert (answer.status, answer.json["sqlstate"]) == (504, "57014")
    assert who(running)["statement_timeout"] == "4321ms"
    assert who(running)["pid"] == pid


# -- a prelude that fails ---


@pytest.mark.parametrize(
    "group, sqlstate", [("lost", "22023"), ("strangers", "42501")], ids=["no role", "not granted"]
)
@pytest.mark.parametrize("path", ["/note", "/behaves", "/commits"])
def test_nothing_runs_when_the_role_cannot_be_taken_on(one, group, sqlstate, path):
    pid = who(one)["pid"]
    token = one.mint("alice", groups=[group])
    answer = one.post(f"{path}?note=lost", token)
    assert answer.status == 500
    assert "sqlstate" not in answer.json and "role" not in answer.body.decode()
    assert seen(one.bed, "lost") == ""
    record = outcome(one, answer)
    assert (record["reason"], record["sqlstate"]) == ("identity_refused", sqlstate)
    assert_intact(one, pid)


# -- COMMIT inside ---


def test_a_procedure_runs_as_the_caller(one):
    pid = who(one)["pid"]
    assert one.post("/behaves?note=good", one.mint("bob")).status == 204
    assert seen(one.bed, "good") == (
        'orders_writer|app|{"sub":"bob","role":"orders_writer","tenant_id":"south"}\n'
    )
    assert one.post("/do", one.mint("bob")).status == 204
    assert seen(one.bed, "by do").startswith("orders_writer|app|")
    assert_intact(one, pid)


@pytest.mark.parametrize("path, note", [("/commits?note=call", "call"), ("/do-commits", "do ")])
def test_a_commit_inside_fails_and_undoes_what_came_before(one, path, note):
    pid = who(one)["pid"]
    answer = one.post(path, one.mint("bob"))
    assert (answer.status, answer.json["sqlstate"]) == (500, "2D000")
    assert seen(one.bed, note) == ""
    assert_intact(one, pid)
    assert outcome(one, answer)["sqlstate"] == "2D000"


REFUSED = {
    "select 1; commit; select current_user": "more than one statement",
    "commit": "a transaction statement",
    "begin": "a transaction statement",
    "rollback": "a transaction statement",
    "savepoint a": "a transaction statement",
    "commit and chain": "a transaction statement",
    "prepare transaction 'x'": "a transaction statement",
    "set role none": "SET or RESET",
    "set local role orders_writer": "SET or RESET",
    "reset role": "SET or RESET",
    "set session authorization default": "SET or RESET",
    "set search_path to evil": "SET or RESET",
    "set transaction read write": "SET or RESET",
    "discard all": "DISCARD",
    "listen esc": "LISTEN",
    "prepare p as select 1": "PREPARE",
    "execute prelude": "EXECUTE",
    "deallocate all": "DEALLOCATE",
    "declare c cursor with hold for select 1": "DECLARE",
    "create temporary table orders (id int)": "temporary",
    "select 1 as id into temporary orders": "temporary",
    "copy sales.orders to stdout": "COPY",
    "vacuum": "transaction",
    "create index concurrently on sales.orders (tenant)": "transaction",
    "alter system set work_mem = '1MB'": "transaction",
    "explain analyze execute prelude": "EXPLAIN",
}


def test_what_ends_or_outlives_the_transaction_is_refused_at_load(gateway, bed, issuer):
    routes = [
        served.route(f"evil-{n}", sql, method="POST") for n, sql in enumerate(REFUSED)
    ]
    text = served.config(bed, issuer, [served.service(bed, routes)])
    refusing = gateway(start=False, config=text)
    done = refusing.run("start", "-c", refusing.node_file)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    for n, sql in enumerate(REFUSED):
        line = [line for line in said.splitlines() if f"route evil-{n}:" in line]
        assert len(line) == 1 and REFUSED[sql] in line[0], (sql, line)


# -- what SQL behind a function can do ---


def test_a_function_that_climbs_reaches_a_login_that_may_nothing(one):
    pid = who(one)["pid"]
    answer = one.post("/climb", one.mint("bob"))
    assert answer.json == {"result": {"who": "app", "refused": "42501"}}
    assert_intact(one, pid)


@pytest.mark.parametrize(
    "name, value",
    [
        ("work_mem", "77MB"),
        ("TimeZone", "Asia/Tokyo"),
        ("DateStyle", "German"),
        ("bytea_output", "escape"),
        ("default_transaction_read_only", "on"),
        ("row_security", "off"),
        ("esc.mark", "left by bob"),
    ],
)
def test_a_setting_of_the_session_does_not_survive(one, name, value):
    before = one.get(f"/get-setting?name={name}", one.mint("alice")).json
    left = one.post("/set", one.mint("bob"), {"name": name, "value": value})
    assert left.status == 200, left
    after = one.get(f"/get-setting?name={name}", one.mint("alice")).json
    assert after["pid"] == left.json["pid"] == before["pid"]
    assert after["value"] in (before["value"], "" if name == "esc.mark" else before["value"])
    assert after["value"] != value


@pytest.mark.parametrize(
    "name, value",
    [
        ("role", "none"),
        ("role", "orders_writer"),
        ("search_path", "esc"),
        ("request.jwt.claims", '{"tenant_id": "north"}'),
        ("application_name", "somebody else"),
        ("statement_timeout", "1"),
    ],
)
def test_an_identity_set_on_the_session_does_not_survive(one, name, value):
    left = one.post("/set", one.mint("bob"), {"name": name, "value": value})
    assert left.status == 200, left
    assert_intact(one, left.json["pid"])
    assert [b["application_name"] for b in served.backends(one.bed)] == ["sallyport"]


def test_a_temporary_table_shadows_nothing_and_is_gone(one):
    real = one.bed.superuser_sql("select count(*) from sales.orders where tenant = 'north'")
    left = one.post(
        "/run",
        one.mint("bob"),
        {
            "sql": "create temporary table orders (tenant text);"
            " grant select on pg_temp.orders to public;"
            " insert into pg_temp.orders values ('evil'), ('evil')"
        },
    )
    assert left.status == 200, left
    assert one.get("/orders", one.mint("alice")).json == {"n": int(real)}
    behind = one.get("/left-behind", one.mint("alice")).json
    assert (behind["temporary"], behind["pid"]) == (0, left.json["pid"])


def test_a_temporary_table_shadows_nothing_within_its_own_statement(bed, issuer, gateway, objects):
    """pg_temp stands last in search_path, so even the statement that made it sees the real one."""
    route = served.route(
        "shadow",
        "select esc.run('create temporary table orders (n int)') as done,"
        " to_regclass('orders')::oid = 'sales.orders'::regclass::oid as real",
        method="POST",
        result="one",
    )
    shop = served.service(bed, [route], search_path=["sales"])
    running = gateway(config=served.config(bed, issuer, [shop]))
    answer = running.post("/shadow", running.mint("bob"))
    assert answer.json == {"done": "done", "real": True}


@pytest.mark.parametrize(
    "sql, what",
    [
        ("select pg_advisory_lock(42)", "locks"),
        ("listen esc", "channels"),
        ("declare c cursor with hold for select * from sales.orders", "cursors"),
        ("prepare mine as select 1", "prepared"),
    ],
)
def test_what_a_session_keeps_does_not_survive(one, sql, what):
    left = one.post("/run", one.mint("bob"), {"sql": sql})
    assert left.status == 200, left
    behind = one.get("/left-behind", one.mint("alice")).json
    assert behind[what] == 0
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert one.bed.superuser_sql(locks) == "0\n"
    assert_intact(one)


def test_the_last_value_of_a_sequence_does_not_survive(one):
    left = one.post("/run", one.mint("bob"), {"sql": "select nextval('esc.numbers')"})
    assert left.status == 200, left
    answer = one.get("/lastval", one.mint("alice"))
    assert answer.json["sqlstate"] == "55000"
    assert_intact(one, left.json["pid"])


def test_what_a_trigger_leaves_does_not_survive(one):
    pid = who(one)["pid"]
    assert one.post("/triggered", one.mint("bob")).status == 204
    after = one.get("/get-setting?name=work_mem", one.mint("alice")).json
    assert (after["value"], after["pid"]) == ("4MB", pid)
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert one.bed.superuser_sql(locks) == "0\n"


def test_a_function_that_fails_leaves_nothing_either(one):
    """A session lock outlives the failure of its transaction."""
    pid = who(one)["pid"]
    sql = "do $x$ begin perform pg_advisory_lock(43); raise exception 'no'; end $x$"
    assert one.post("/run", one.mint("bob"), {"sql": sql}).status == 400
    assert_intact(one, pid)
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert one.bed.superuser_sql(locks) == "0\n"


def test_a_read_only_statement_cannot_write_through_a_function(one):
    pid = who(one)["pid"]
    answer = one.get("/sneak?note=sneaked", one.mint("bob"))
    assert (answer.status, answer.json["sqlstate"]) == (405, "25006")
    assert seen(one.bed, "sneaked") == ""
    assert outcome(one, answer)["sqlstate"] == "25006"
    assert_intact(one, pid)


# -- prepared statements ---


def test_a_new_column_is_healed_by_one_parse(one):
    assert one.get("/shape", one.mint("alice")).json == [{"id": 1, "a": "one"}]
    one.bed.superuser_sql("alter table esc.shape add column b int default 7")
    healed = one.get("/shape", one.mint("alice"))
    assert healed.json == [{"id": 1, "a": "one", "b": 7}]
    lines = one.pg_log(healed.request_id)
    errors = [line for line in lines if "cached plan must not change result type" in line]
    ran = [line for line in lines if "execute s" in line and "esc.shape" in line]
    assert (len(errors), len(ran)) == (1, 1)
    again = one.get("/shape", one.mint("alice"))
    assert again.json == healed.json
    assert not [line for line in one.pg_log(again.request_id) if "ERROR" in line]
    one.bed.superuser_sql("alter table esc.shape drop column b")
    assert one.get("/shape", one.mint("alice")).json == [{"id": 1, "a": "one"}]


def test_deallocate_all_inside_a_function_is_healed(one):
    pid = who(one)["pid"]
    assert who(one, "bob")["pid"] == pid
    left = one.post("/run", one.mint("bob"), {"sql": "deallocate all"})
    assert left.status == 200, left
    assert_intact(one)
    assert one.post("/behaves?note=healed", one.mint("bob")).status == 204
    assert seen(one.bed, "healed").startswith("orders_writer|app|")


@pytest.mark.parametrize("code", ["0A000", "26000"])
def test_a_statement_that_raises_such_a_code_itself_runs_once(one, code):
    last = "select case when is_called then last_value else 0 end from esc.numbers"
    before = int(one.bed.superuser_sql(last))
    answer = one.post(f"/count-and-fail?code={code}", one.mint("bob"))
    assert answer.json["sqlstate"] == code
    assert int(one.bed.superuser_sql(last)) == before + 1


def test_a_planted_prelude_serves_nobody(one):
    """A function could put a statement of its own in the place of the gateway's."""
    who(one)
    plant = (
        "do $x$ begin deallocate prelude; execute $y$ prepare prelude (text, text, text, text,"
        " text, text) as select set_config('role', 'orders_writer', false) $y$; end $x$"
    )
    left = one.post("/run", one.mint("alice", groups=["orders-writers"]), {"sql": plant})
    assert left.status in (200, 500), left
    assert_intact(one)
    assert one.get("/left-behind", one.mint("alice")).json["prepared"] == 0


def test_an_old_statement_is_closed_when_the_cache_is_full(bed, issuer, objects, needs_gateway):
    small = make(bed, issuer, depth=1, cache=2)
    try:
        small.start()
        pid = who(small)["pid"]
        for _ in range(3):
            assert_intact(small, pid)
            assert small.get("/shape", small.mint("alice")).status == 200
            assert small.get("/divide?by=1", small.mint("alice")).json == {"result": 1}
            assert small.get("/divide?by=0", small.mint("alice")).status == 400
    finally:
        small.close()


# -- row level security ---


def test_callers_alternating_on_one_backend_see_their_own_rows(one):
    pids = set()
    for round_ in range(12):
        tenant = round_ % 3
        token = one.mint("alice" if tenant else "bob", tenant_id=f"tenant-{tenant}")
        rows = one.get("/marks", token).json
        pids.update(row.pop("pid") for row in rows)
        assert rows == [{"id": tenant, "mark": f"mark of {tenant}"}]
    assert len(pids) == 1


def test_a_caller_without_the_claim_sees_no_row(one):
    who(one, "bob")
    answer = one.get("/marks", one.mint("alice", without=["tenant_id"]))
    assert (answer.status, answer.json) == (200, [])


def test_after_first_use_the_claims_read_as_empty_text(one):
    """The reset value of a custom setting is '', so a policy needs nullif; it then sees no row."""
    pid = who(one)["pid"]
    probe = (
        "do $x$ begin perform set_config('request.jwt.claims', '', true);"
        " if exists (select from esc.marks) then raise exception 'rows'; end if; end $x$"
    )
    answer = one.post("/run", one.mint("bob", tenant_id="tenant-1"), {"sql": probe})
    assert (answer.status, answer.json["pid"]) == (200, pid)


# -- shared connections ---


def waiting(gateway):
    """How many calls wait for a connection, as /metrics says."""
    text = gateway.status("/metrics").body.decode()
    values = re.findall(r"^sallyport_pool_waiting\{[^}]*\} (\d+)", text, re.M)
    return sum(int(value) for value in values)


def pipeline_behind_the_gate(gateway, superuser, requests):
    """Sends all requests, (path, token) or (path, token, method), at once, the first into a table
    lock.  Their answers, and how many of them waited for a connection meanwhile."""
    connections = [gateway.connect() for _ in requests]
    for connection in connections:
        connection.connect()
    intents = sum(r["kind"] == "intent" for r in gateway.audit())
    with superuser.cursor() as cursor:
        cursor.execute("begin; lock table esc.gate")
    for connection, (path, token, *method) in zip(connections, requests):
        headers = {"Authorization": f"Bearer {token}"}
        connection.request(method[0] if method else "GET", path, headers=headers)
    wait_until(
        lambda: sum(r["kind"] == "intent" for r in gateway.audit()) == intents + len(requests),
        20,
        "every call's intent",
    )
    wait_until(
        lambda: [b for b in served.backends(gateway.bed) if b["state"] == "active"],
        20,
        "the statement at the gate",
    )  # the connection may still have been on its way back from the call before
    waited = waiting(gateway)
    superuser.rollback()
    answers = []
    for connection in connections:
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        answers.append(harness.Answer(response.status, fields, response.read()))
        connection.close()
    return answers, waited


def until_shared(gateway, superuser, requests, before=lambda: None):
    """The answers to requests that shared one connection: it is joined only within milliseconds
    of its first call, so this may take more than one try."""
    for _ in range(20):
        before()
        answers, waited = pipeline_behind_the_gate(gateway, superuser, requests)
        if waited == 0:
            return answers
    raise AssertionError("no connection was ever shared")


def test_calls_in_one_pipeline_do_not_share_a_fate(shared, superuser):
    """Behind one slow read on the same connection: a failing call, a role that is not there, and
    others between them, each with its own identity and its own end."""
    pid = who(shared)["pid"]
    requests = [
        ("/gate", shared.mint("alice")),
        ("/divide?by=0", shared.mint("bob")),
        ("/who", shared.mint("bob")),
        ("/who", shared.mint("alice", groups=["lost"])),
        ("/marks", shared.mint("alice", tenant_id="tenant-5")),
        ("/marks", shared.mint("bob", tenant_id="tenant-6")),
        ("/who", shared.mint("alice")),
    ]
    answers = until_shared(shared, superuser, requests)
    assert [answer.status for answer in answers] == [200, 400, 200, 500, 200, 200, 200]
    assert answers[0].json == {"id": 1, "pid": pid, "who": "orders_reader"}
    assert answers[1].json["sqlstate"] == "22012"
    assert (answers[2].json["who"], answers[2].json["claims"]["sub"]) == ("orders_writer", "bob")
    assert outcome(shared, answers[3])["reason"] == "identity_refused"
    assert answers[4].json == [{"id": 5, "mark": "mark of 5", "pid": pid}]
    assert answers[5].json == [{"id": 6, "mark": "mark of 6", "pid": pid}]
    assert (answers[6].json["who"], answers[6].json["claims"]["sub"]) == ("orders_reader", "alice")
    for answer in answers:
        assert outcome(shared, answer)["backend_pid"] == pid


def test_a_shared_statement_is_healed_for_every_call_in_flight(shared, superuser):
    token = shared.mint("alice")

    def grow():
        shared.bed.superuser_sql("alter table esc.shape drop column if exists c")
        assert shared.get("/shape", token).json == [{"id": 1, "a": "one"}]
        shared.bed.superuser_sql("alter table esc.shape add column c int default 3")

    requests = [("/gate", token)] + [("/shape", token)] * 4
    answers = until_shared(shared, superuser, requests, grow)
    shared.bed.superuser_sql("alter table esc.shape drop column c")
    assert [answer.json for answer in answers[1:]] == [[{"id": 1, "a": "one", "c": 3}]] * 4


@pytest.mark.parametrize(
    "path, method, status",
    [
        ("/note?note=alone", "POST", 204),  # a write
        ("/behaves?note=alone", "POST", 204),  # a procedure
        ("/sneak?note=alone", "GET", 405),  # a read that runs an unknown function
    ],
)
def test_what_is_no_plain_read_never_joins_a_pipeline(shared, superuser, path, method, status):
    """It waits until the connection is its own."""
    for _ in range(5):
        requests = [("/gate", shared.mint("alice")), (path, shared.mint("bob"), method)]
        answers, waited = pipeline_behind_the_gate(shared, superuser, requests)
        assert waited == 1
        assert [answer.status for answer in answers] == [200, status]


def test_pipelined_callers_never_see_each_other(shared):
    """32 callers at once on one connection: each its own identity, rows and request id."""
    rounds, callers = 12, 32
    barrier = threading.Barrier(callers)
    failures = []

    def caller(n):
        client = "bob" if n % 2 else "alice"
        role = "orders_writer" if n % 2 else "orders_reader"
        token = shared.mint(client, sub=f"caller-{n}", tenant_id=f"tenant-{n}")
        connection = shared.connect()
        barrier.wait()
        for round_ in range(rounds):
            if (n + round_) % 5 == 0:
                answer = shared.get("/divide?by=0", token, connection=connection)
                good = (answer.status, answer.json["sqlstate"]) == (400, "22012")
            elif (n + round_) % 2:
                answer = shared.get("/marks", token, connection=connection)
                rows = answer.json
                good = [(row["id"], row["mark"]) for row in rows] == [(n, f"mark of {n}")]
            else:
                answer = shared.get("/who", token, connection=connection)
                got = answer.json
                good = (got["who"], got["claims"], got["application_name"]) == (
                    role,
                    {"sub": f"caller-{n}", "role": role, "tenant_id": f"tenant-{n}"},
                    f"{answer.request_id} caller-{n}",
                )
            if not good:
                failures.append((n, round_, answer.status, answer.body))
        connection.close()
        return True

    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        assert all(pool.map(caller, range(callers)))
    assert failures == []
    pids = {
        r["backend_pid"] for r in shared.audit() if r["kind"] == "outcome" and r.get("backend_pid")
    }
    assert len(pids) == 1
