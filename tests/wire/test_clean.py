"""A read goes without a reset of its session only when the catalog has shown that nothing it
reaches, behind views and policies too, leaves a trace.

The pool has one connection, so each caller meets what the one before left.
"""

import psycopg2
import pytest

import harness
import served
from bed.postgres import wait_until

RESET = "statement: reset role; reset all;"
UNCLEAN = [
    "by_function",
    "nested",
    "twice_nested",
    "by_built_in",
    "by_operator",
    "by_cast",
    "by_domain",
    "by_aggregate",
    "by_sql_function",
    "by_built_in_in_function",
    "by_default",
    "by_text",
    "by_block",
    "by_same_name",
    "by_policy",
    "over_policy",
    "by_policy_over_view",
    "by_built_in_policy",
]
CLEAN = ["plain", "over_plain", "helped", "stored"]
PROBE = """select current_setting('work_mem') as work_mem, pg_backend_pid() as pid,
    nullif(current_setting('clean.mark', true), '') as mark,
    (select count(*) from pg_locks where locktype = 'advisory') as locks"""
# More columns than the parser's limits allow to be judged.
WIDE = "create view clean.wide as select 1 as n, " + ", ".join(
    f"{n} as column_{n}" for n in range(1400)
)


def routes():
    named = [*UNCLEAN, *CLEAN, "wide", "parted", "worse", "better"]
    return [
        *[served.route(name, f"select n from {name}", result="one") for name in named],
        served.route("probe", PROBE, result="one"),
        served.route("none", "select pg_backend_pid() as pid", result="one"),
        served.route("quoted", 'select t.n from "clean"."Odd "" \\ name" t', result="one"),
    ]


def config(bed, issuer, its_routes, connections=1):
    pool = {"max_connections": connections, "shared_depth": 16}
    shop = served.service(bed, its_routes, search_path=["clean"], pool=pool)
    writer = served.role("orders-writer", "orders-writers", "orders_writer", routes=["none"])
    return served.config(bed, issuer, [shop], [writer, served.READER])


@pytest.fixture(scope="module")
def one(bed, issuer, needs_gateway):
    bed.superuser_file(harness.ROOT / "tests/wire/clean.sql")
    bed.superuser_script(
        f"{WIDE}; grant select on clean.wide to orders_reader;\n"
        'create view clean."Odd "" \\ name" as select 1 as n;\n'
        'grant select on clean."Odd "" \\ name" to orders_reader;\n'
    )
    gateway = harness.Sallyport(bed, issuer, config=config(bed, issuer, routes()))
    try:
        gateway.start()
        wait_until(lambda: events(gateway, "statements_prepared"), 20, "the proofs")
        yield gateway
    finally:
        gateway.close()
        bed.superuser_script(
            "drop schema clean cascade; drop foreign data wrapper clean_nothing cascade;"
        )


def events(gateway, name):
    return [event for event in gateway.log() if event["event"] == name]


def read(gateway, name):
    answer = gateway.get(f"/{name}", gateway.mint("alice"))
    assert answer.status == 200, answer
    return answer


def assert_no_trace(gateway):
    seen = read(gateway, "probe").json
    assert (seen["mark"], seen["locks"]) == (None, 0)
    assert seen["work_mem"] == "4MB"
    return seen["pid"]


@pytest.mark.parametrize("name", UNCLEAN)
def test_what_a_view_or_a_policy_does_is_gone_before_the_next_caller(one, name):
    pid = assert_no_trace(one)
    assert read(one, name).json == {"n": 1}
    assert assert_no_trace(one) == pid


def test_each_objection_is_told_with_its_reason(one):
    told = {e["route"]: e["reason"] for e in events(one, "statement_not_clean")}
    unknown = ": is run by a view or a policy"
    function = "function leave(integer)" + unknown
    assert told == {
        **{name: function for name in UNCLEAN},
        "by_built_in": "view by_built_in: calls set_config",
        "by_built_in_policy": "policy hidden on table by_built_in_policy: calls set_config",
        "by_operator": "operator ###(NONE,integer)" + unknown,
        "by_cast": "function to_thing(integer)" + unknown,
        "by_domain": "type checked" + unknown,
        "by_built_in_in_function": "function pass_built_in(integer): calls set_config",
        "by_default": "function pass_default(text,text,boolean)" + unknown,
        "by_text": "function pass_text(integer)" + unknown,
        "by_block": "function pass_block(integer)" + unknown,
        "by_same_name": "view by_same_name: calls set_config",
        "parted": "foreign table remote: its rows come from elsewhere",
        "better": function,
        "wide": "view wide: the statement is too long or too deeply nested to be judged",
        "probe": "view pg_locks: calls pg_lock_status",
    }
    (summary,) = events(one, "statements_prepared")
    assert (summary["refused"], summary["not_clean"]) == (0, len(told))
    assert summary["clean"] == summary["prepared"] - len(told)


@pytest.mark.parametrize("name", [*CLEAN, "none", "quoted"])
def test_a_read_that_was_proved_is_not_followed_by_a_reset(one, name):
    pid = assert_no_trace(one)
    calls = [read(one, name), read(one, name), read(one, "probe")]
    lines = wait_until(lambda: between(one.bed, pid, calls), 20, "the reset after the last call")
    assert not [line for line in lines if RESET in line]


def between(bed, pid, calls):
    """The backend's lines from the first call to the last, once the reset after that is there."""
    lines = bed.log_lines(f"[{pid}]")
    first = [n for n, line in enumerate(lines) if calls[0].request_id in line]
    last = [n for n, line in enumerate(lines) if calls[-1].request_id in line]
    if not first or not last or not any(RESET in line for line in lines[last[-1] :]):
        return None
    return lines[first[0] : last[-1]]


def test_until_it_is_proved_a_read_is_followed_by_a_reset(one, bed, issuer, gateway):
    few = [route for route in routes() if route["name"] in ("plain", "none")]
    superuser = psycopg2.connect(bed.superuser_dsn())
    try:
        with superuser.cursor() as cursor:
            cursor.execute("lock table pg_catalog.pg_inherits")  # the proof waits for it
        running = gateway(config=config(bed, issuer, few, connections=2))
        called = read(running, "plain").request_id

        def reset_after():
            (pid,) = {line.split("[")[1].split("]")[0] for line in bed.log_lines(called)}
            lines = bed.log_lines(f"[{pid}]")
            last = [n for n, line in enumerate(lines) if called in line][-1]
            return any(RESET in line for line in lines[last:])

        wait_until(reset_after, 20, "the reset")
        assert not events(running, "statements_prepared")
    finally:
        superuser.close()
    wait_until(lambda: events(running, "statements_prepared"), 20, "the proof")


def test_the_policy_of_the_shop_is_proved(sallyport):
    wait_until(lambda: events(sallyport, "statements_prepared"), 20, "the proofs")
    assert events(sallyport, "statement_not_clean") == []


@pytest.mark.parametrize("name", ["plain", "helped"])
def test_the_policy_holds_on_the_fast_path(one, name):
    assert read(one, name).json == {"n": 1}
    south = one.get(f"/{name}", one.mint("alice", tenant_id="south"))
    assert south.json == {"n": 2}


def test_a_view_that_is_changed_is_judged_anew(one):
    read(one, "worse")
    one.bed.superuser_sql("create or replace view clean.worse as select clean.leave(1) as n")
    one.bed.superuser_sql("create or replace view clean.better as select 1 as n")

    def judged():
        found = events(one, "statement_not_clean"), events(one, "statement_clean")
        worse, better = ([e["route"] for e in found[0]], [e["route"] for e in found[1]])
        return "worse" in worse and "better" in better

    wait_until(judged, 60, "the proofs made anew")
    assert read(one, "worse").json == {"n": 1}
    pid = assert_no_trace(one)
    calls = [read(one, "better"), read(one, "probe")]
    lines = wait_until(lambda: between(one.bed, pid, calls), 20, "the reset after the last call")
    assert not [line for line in lines if RESET in line]
