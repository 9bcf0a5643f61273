"""What the escape tests call, and how they see a caller's identity; escapes.sql has the rest."""

import harness
import served

IDENTITY = """
select current_user::text as who, session_user::text as login, current_setting('role') as role,
    current_setting('request.jwt.claims')::json as claims,
    current_setting('application_name') as application_name,
    current_setting('search_path') as search_path,
    current_setting('statement_timeout') as statement_timeout,
    current_setting('transaction_read_only') as read_only, pg_backend_pid() as pid
"""

NOTE = {"note": {"type": "text", "from": "query"}}

ROUTES = [
    served.route("who", IDENTITY, result="one", timeout_ms=4321),
    served.route("who-write", IDENTITY, method="POST", result="one", timeout_ms=8765),
    served.route(
        "divide",
        "select 1 / :by as result",
        parameters={"by": {"type": "integer", "from": "query"}},
        result="one",
    ),
    served.route(
        "gate",
        "select id, pg_backend_pid() as pid, current_user::text as who from esc.gate",
        result="one",
    ),
    served.route("marks", "select id, mark, pg_backend_pid() as pid from esc.marks order by id"),
    served.route("shape", "select * from esc.shape order by id"),
    served.route("orders", "select count(*) as n from orders", result="one"),
    served.route("climb", "select esc.climb() as result", method="POST", result="one"),
    served.route(
        "note", "insert into esc.seen (note) values (:note)", "/note", "POST", NOTE, result="none"
    ),
    served.route("sneak", "select esc.write(:note) as id", "/sneak", "GET", NOTE, result="one"),
    served.route("triggered", "insert into esc.triggered values (1)", method="POST", result="none"),
    served.route("commits", "call esc.commits(:note)", "/commits", "POST", NOTE, result="none"),
    served.route("behaves", "call esc.behaves(:note)", "/behaves", "POST", NOTE, result="none"),
    served.route(
        "do",
        "do $$ begin insert into esc.seen (note) values ('by do'); end $$",
        method="POST",
        result="none",
    ),
    served.route(
        "do-commits",
        "do $$ begin insert into esc.seen (note) values ('do before'); commit;"
        " insert into esc.seen (note) values ('do after'); end $$",
        method="POST",
        result="none",
    ),
    served.route(
        "set",
        "select esc.setting(:name, :value) as value, pg_backend_pid() as pid",
        method="POST",
        parameters={
            "name": {"type": "text", "from": "body"},
            "value": {"type": "text", "from": "body"},
        },
        result="one",
    ),
    served.route(
        "run",
        "select esc.run(:sql) as result, pg_backend_pid() as pid",
        method="POST",
        parameters={"sql": {"type": "text", "from": "body"}},
        result="one",
    ),
    served.route(
        "get-setting",
        "select current_setting(:name, true) as value, pg_backend_pid() as pid",
        parameters={"name": {"type": "text", "from": "query"}},
        result="one",
    ),
    served.route(
        "left-behind",
        """select pg_backend_pid() as pid,
           (select count(*) from pg_cursors where is_holdable) as cursors,
           (select count(*) from pg_listening_channels()) as channels,
           (select count(*) from pg_class where relpersistence = 't') as temporary,
           (select count(*) from pg_prepared_statements where from_sql) as prepared,
           (select count(*) from pg_locks
            where locktype = 'advisory' and pid = pg_backend_pid()) as locks""",
        result="one",
    ),
    served.route(
        "count-and-fail",
        "select esc.count_and_fail(:code) as n",
        method="POST",
        parameters={"code": {"type": "text", "from": "query"}},
        result="one",
    ),
    served.route("lastval", "select lastval() as value", result="one"),
]

NO_ROLE = served.role("no-such-role", "lost", "esc_no_such_role", priority=1)
STRANGER = served.role("stranger", "strangers", "esc_stranger", priority=1)


def make(bed, issuer, depth, workers=2, cache=256):
    pool = {"max_connections": 1, "shared_depth": depth, "statement_cache": cache}
    shop = served.service(bed, ROUTES, search_path=["sales"], pool=pool)
    roles = (served.WRITER, served.READER, NO_ROLE, STRANGER)
    text = served.config(bed, issuer, [shop], roles)
    return harness.Sallyport(bed, issuer, config=text, node={"workers": workers})


def who(gateway, client="alice", **claims):
    answer = gateway.get("/who", gateway.mint(client, **claims))
    assert answer.status == 200, answer
    return answer.json


def assert_intact(gateway, pid=None):
    """The next two callers are themselves, on the backend with that pid."""
    alice, bob = who(gateway), who(gateway, "bob")
    assert (alice["who"], alice["login"]) == ("orders_reader", "app")
    assert alice["claims"] == {"sub": "alice", "role": "orders_reader", "tenant_id": "north"}
    assert (bob["who"], bob["login"]) == ("orders_writer", "app")
    assert bob["claims"] == {"sub": "bob", "role": "orders_writer", "tenant_id": "south"}
    assert alice["search_path"] == bob["search_path"] == '"sales", pg_temp'
    assert alice["read_only"] == bob["read_only"] == "on"
    if pid:
        assert alice["pid"] == bob["pid"] == pid
    return alice


def seen(bed, note):
    return bed.superuser_sql(
        f"select who, login, claims from esc.seen where note like '{note}%' order by id"
    )


def outcome(gateway, answer):
    records = {r["kind"]: r for r in gateway.wait_for_audit(answer.request_id)}
    return records["outcome"]
