"""Statements from the caller's side: the values that come and go, and what each mistake answers;
and what reached the database, its log and the audit."""

import base64
import http.client
import json
from urllib.parse import quote, urlencode

import pytest

import harness
import served

# SQL of one value, and exactly what the answer holds for it.
TYPES = {
    "bigint": ("9223372036854775807::bigint", "9223372036854775807"),
    "bigint-least": ("(-9223372036854775808)::bigint", "-9223372036854775808"),
    "beyond-2-53": ("9007199254740993::bigint", "9007199254740993"),
    "smallint": ("(-32768)::smallint", "-32768"),
    "numeric": ("12345678901234567890.123456789012345678900::numeric",
                "12345678901234567890.123456789012345678900"),
    "numeric-scale": ("1.50::numeric(10, 2)", "1.50"),
    "numeric-nan": ("'NaN'::numeric", '"NaN"'),
    "float8": ("0.1::float8", "0.1"),
    "float8-large": ("1e300::float8", "1e+300"),
    "float8-nan": ("'NaN'::float8", '"NaN"'),
    "float8-infinity": ("'-Infinity'::float8", '"-Infinity"'),
    "real": ("1.5::real", "1.5"),
    "bool": ("true", "true"),
    "bool-false": ("false", "false"),
    "null": ("null::int", "null"),
    "empty": ("''::text", '""'),
    "text": ("'plain'::text", '"plain"'),
    "text-quoted": (r"""E'a"b\\c/d\n\t\x01'""", r'"a\"b\\c/d\n\t\u0001"'),
    "text-unicode": (r"E'größe 😀 \u2028 漢'", '"größe 😀 \u2028 漢"'),
    "text-null-word": ("'NULL'::text", '"NULL"'),
    "char": ("'ab'::char(4)", '"ab  "'),
    "name": ("'a'::name", '"a"'),
    "timestamptz": ("'2026-01-02 03:04:05.678901+02'::timestamptz",
                    '"2026-01-02T01:04:05.678901+00:00"'),
    "timestamptz-infinity": ("'infinity'::timestamptz", '"infinity"'),
    "timestamp": ("'2026-01-02 03:04:05'::timestamp", '"2026-01-02T03:04:05"'),
    "date": ("'2026-01-02'::date", '"2026-01-02"'),
    "time": ("'03:04:05.5'::time", '"03:04:05.5"'),
    "interval": ("'1 year 2 days 03:04:05'::interval", '"1 year 2 days 03:04:05"'),
    "bytea": (r"'\x00ff10'::bytea", '"AP8Q"'),
    "bytea-empty": ("''::bytea", '""'),
    "uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid",
             '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    "inet": ("'192.0.2.1/24'::inet", '"192.0.2.1/24"'),
    "cidr": ("'2001:db8::/32'::cidr", '"2001:db8::/32"'),
    "json": ("""'{"b": 1.10, "a": [ 1,null]}'::json""", '{"b": 1.10, "a": [ 1,null]}'),
    "jsonb": ("""'{"b": 1.10, "a": 12345678901234567890123}'::jsonb""",
              '{"a": 12345678901234567890123, "b": 1.10}'),
    "json-null": ("'null'::json", "null"),
    "enum": ("'deep \"blue\"'::st.colour", r'"deep \"blue\""'),
    "domain": ("50::st.percent", "50"),
    "record": ("row(1, 'a b')", r'"(1,\"a b\")"'),
    "ints": ("'{1,NULL,3}'::int[]", "[1,null,3]"),
    "ints-nested": ("'{{1,NULL},{3,4}}'::int[]", "[[1,null],[3,4]]"),
    "ints-bounds": ("'[0:1]={1,2}'::int[]", "[1,2]"),
    "ints-empty": ("'{}'::int[]", "[]"),
    "texts": (r"""array['a,b', 'NULL', '"', '', 'x{y}', E'\\']""",
              r'["a,b","NULL","\"","","x{y}","\\"]'),
    "bools": ("array[true, null, false]", "[true,null,false]"),
    "numerics": ("array[1.10, 'NaN'::numeric]", '[1.10,"NaN"]'),
    "timestamps": ("array['2026-01-02 03:04:05+00'::timestamptz]", '["2026-01-02T03:04:05+00:00"]'),
    "jsons": ("""array['{"a": "b,c"}'::jsonb, null]""", '[{"a": "b,c"},null]'),
    "byteas": (r"array['\x00ff'::bytea]", '["AP8="]'),
    "uuids": ("array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]",
              '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'),
}  # fmt: skip

# A parameter's type, what the caller gives, and what comes back.
ECHOES = {
    "bigint": ("9007199254740993", 9007199254740993),
    "integer": ("-7", -7),
    "text": ("größe & co + 'quoted'; drop table x --", None),
    "numeric": ("12345678901234567890.10", None),
    "boolean": ("true", True),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None),
    "date": ("2026-01-02", None),
    "timestamptz": ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
    "jsonb": ('{"a": [1, 2.50]}', {"a": [1, 2.50]}),
    "int[]": ("{1,NULL,3}", [1, None, 3]),
    "text[]": ('{"a,b",c}', ["a,b", "c"]),
    "bytea": (r"\x00ff", base64.b64encode(b"\0\xff").decode()),
}


def p(type_, from_, **more):
    return {"type": type_, "from": from_, **more}


CODES = {
    "23505": 409, "23503": 409, "23514": 400, "23502": 400, "23P01": 409, "22003": 400,
    "40001": 503, "40P01": 503, "42P01": 500, "42501": 403, "44000": 400, "53200": 503,
    "55P03": 503, "57014": 504, "25006": 405, "0L000": 500, "28000": 502, "08006": 502,
    "P0001": 400, "P0002": 500, "XX000": 500, "ZZ123": 500, "58000": 500,
}  # fmt: skip

REAL = {
    "23505": ("insert into st.kept values (1, 1, 'x', 1)", 409),
    "23503": ("insert into st.kept values (2, 77, 'x', 1)", 409),
    "23514": ("insert into st.kept values (3, 1, 'x', -1)", 400),
    "23502": ("insert into st.kept values (4, 1, null, 1)", 400),
    "22P02": ("select :v::text::int", 400),
    "22012": ("select 1 / length(:v) - 1 / (length(:v) - length(:v))", 400),
    "42501": ("select * from st.hidden", 403),
    "57014": ("select pg_sleep(20)", 504),
}

ROUTES = [
    *[
        served.route(f"type-{name}", f"select {sql} as v", result="one")
        for name, (sql, _) in TYPES.items()
    ],
    *[
        served.route(
            f"echo-{n}-{source}",
            "select :v as v",
            f"/echo/{n}/{source}" + ("/{v}" if source == "path" else ""),
            "POST" if source == "body" else "GET",
            {"v": p(type_, source)},
            result="one",
        )
        for n, type_ in enumerate(ECHOES)
        for source in ("path", "query", "body")
    ],
    served.route("megabyte", "select repeat('é0', 500000) as v", result="one"),
    served.route(
        "rows",
        "select n, pg_backend_pid() as pid from generate_series(1, :n) as n",
        parameters={"n": p("integer", "query")},
        max_rows=5,
    ),
    served.route(
        "ticks", "select nextval('st.ticks') as n from generate_series(1, 1000)", method="POST",
        max_rows=5,
    ),
    served.route(
        "row",
        "select n, pg_backend_pid() as pid from generate_series(1, :n) as n",
        parameters={"n": p("integer", "query")},
        result="one",
    ),
    served.route(
        "wide",
        "select repeat('x', :bytes) as v from generate_series(1, :n)",
        parameters={"n": p("integer", "query"), "bytes": p("integer", "query")},
    ),
    served.route(
        "affected",
        "insert into st.written select 'affected' from generate_series(1, :n)",
        method="POST",
        parameters={"n": p("integer", "query")},
        result="affected",
    ),
    served.route("nothing", "insert into st.written values ('nothing')", method="POST",
                 result="none"),
    served.route(
        "sources",
        "select :path as path, :query as query, :tenant as claim, :header as header,"
        " :optional::text is null as missing, :fallback as fallback",
        "/sources/{path}",
        parameters={
            "path": p("text", "path"),
            "query": p("text", "query"),
            "tenant": p("text", "claim.tenant_id"),
            "header": p("text", "header.X-Colour"),
            "optional": p("text", "query", required=False),
            "fallback": p("integer", "query", default="42"),
        },
        result="one",
    ),
    served.route(
        "strict",
        "insert into st.written select :note from generate_series(1, :n)"
        " where :id::uuid is not null",
        method="POST",
        parameters={
            "n": p("integer", "body"),
            "note": p("text", "body"),
            "id": p("uuid", "query"),
        },
        result="affected",
    ),
    served.route("needs-claim", "select :c as c", parameters={"c": p("text", "claim.nowhere")}),
    served.route(
        "fail", "select st.fail(:code) as v", parameters={"code": p("text", "query")}, result="one"
    ),
    served.route(
        "fail-openly",
        "select st.fail(:code) as v",
        parameters={"code": p("text", "query")},
        result="one",
        expose_errors=True,
    ),
    *[
        served.route(
            f"real-{code}",
            sql,
            method="POST",
            parameters={"v": p("text", "query", default="secret words")} if ":v" in sql else None,
            timeout_ms=200 if code == "57014" else 5000,
        )
        for code, (sql, _) in REAL.items()
    ],
    served.route("who", "select current_user::text as who", result="one"),
    served.route("two", "select 1 as n", "/two", ["GET", "POST"], read_only=True, result="one"),
    served.route("writers", "select 2 as n", "/writers", result="one"),
    served.route("put", "select 3 as n", "/two", "PUT", result="one"),
    served.route("audited", "select :v as v", parameters={"v": p("text", "query")},
                 audit_values=True),
]  # fmt: skip

READER_ROUTES = [r["name"] for r in ROUTES if r["name"] not in ("writers", "put", "two")]
READER = {
    **served.READER,
    "allow": [{"routes": READER_ROUTES}, {"routes": ["two"], "methods": ["GET"]}],
}
MAX_RESPONSE_BYTES = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def gate(bed, issuer, needs_gateway):
    """A gateway with one connection."""
    bed.superuser_file(harness.ROOT / "tests/wire/statements.sql")
    pool = {"max_connections": 1, "statement_cache": 1000}
    shop = served.service(bed, ROUTES, pool=pool, max_response_bytes=MAX_RESPONSE_BYTES)
    text = served.config(bed, issuer, [shop], [served.WRITER, READER])
    gateway = harness.Sallyport(bed, issuer, config=text)
    try:
        yield gateway.start()
    finally:
        gateway.close()
        bed.superuser_sql("drop schema st cascade")


@pytest.fixture(scope="module")
def alice(gate):
    return gate.mint("alice")


def records(gate, answer, count=2):
    return gate.wait_for_audit(answer.request_id, count)


def written(gate):
    return int(gate.bed.superuser_sql("select count(*) from st.written"))


def assert_refused(gate, answer, status, kind, parameter=None):
    """A caller's mistake: named in the answer and in the audit; nothing reached the database."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == f"urn:sallyport:problem:{kind}"
    assert answer.json.get("parameter") == parameter
    assert answer.json["request_id"] == answer.request_id
    found = records(gate, answer, 1)
    assert [(r["kind"], r["reason"]) for r in found] == [("denial", kind)]
    assert gate.bed.log_lines(answer.request_id) == []


# -- values ---


@pytest.mark.parametrize("name", TYPES)
def test_a_value_becomes_exactly_this_json(gate, alice, name):
    answer = gate.get(f"/type-{name}", alice)
    assert (answer.status, answer.body.decode()) == (200, '{"v":' + TYPES[name][1] + "}")
    assert answer.headers["content-length"] == str(len(answer.body))


def test_a_megabyte_of_text_comes_whole(gate, alice):
    answer = gate.get("/megabyte", alice)
    assert answer.json == {"v": "é0" * 500000}
    assert records(gate, answer)[1]["bytes"] == len(answer.body)


@pytest.mark.parametrize("source", ["path", "query", "body", "form"])
@pytest.mark.parametrize("type_", ECHOES)
def test_a_value_is_bound_from_each_source(gate, alice, type_, source):
    given, expected = ECHOES[type_]
    path = f"/echo/{list(ECHOES).index(type_)}/{'body' if source == 'form' else source}"
    if source == "path":
        answer = gate.get(f"{path}/{quote(given, safe='')}", alice)
        if "\\" in given:  # the router takes no encoded slash or backslash
            assert_refused(gate, answer, 404, "no_route")
            return
    elif source == "query":
        answer = gate.get(f"{path}?{urlencode({'v': given})}", alice)
    elif source == "form":
        form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = gate.post(path, alice, urlencode({"v": given}), headers=form)
    else:
        native = type_ in ("bigint", "integer", "boolean", "jsonb", "int[]", "text[]", "numeric")
        value = json.dumps(expected) if native and expected is not None else json.dumps(given)
        if type_ == "numeric":
            value = given  # as a JSON number, whose digits stay
        headers = {"Content-Type": "application/json"}
        answer = gate.post(path, alice, '{"v":' + value + "}", headers=headers)
    assert answer.status == 200, answer
    if type_ == "numeric":
        assert answer.body.decode() == '{"v":' + given + "}"
    else:
        assert answer.json == {"v": given if expected is None else expected}


def test_each_parameter_has_its_own_source(gate):
    token = gate.mint("alice", tenant_id="north")
    answer = gate.get("/sources/a%20b+?query=c%20d+e", token, headers={"x-colour": "deep blue"})
    assert answer.json == {
        "path": "a b+",
        "query": "c d e",
        "claim": "north",
        "header": "deep blue",
        "missing": True,
        "fallback": 42,
    }


def test_null_in_a_body_is_null(gate, alice):
    path = f"/echo/{list(ECHOES).index('text')}/body"
    assert gate.post(path, alice, {"v": None}).json == {"v": None}


# -- results ---


def test_many_rows_are_an_array(gate, alice):
    assert gate.get("/rows?n=0", alice).body == b"[]"
    assert [row["n"] for row in gate.get("/rows?n=5", alice).json] == [1, 2, 3, 4, 5]


def test_one_row_is_an_object_and_none_is_404(gate, alice):
    assert gate.get("/row?n=1", alice).json["n"] == 1
    answer = gate.get("/row?n=0", alice)
    assert (answer.status, answer.json["type"]) == (404, "urn:sallyport:problem:not_found")
    outcome = records(gate, answer)[1]
    assert (outcome["status"], outcome["rows"]) == (404, 0)


def test_affected_counts_and_none_says_nothing(gate, alice):
    before = written(gate)
    answer = gate.post("/affected?n=3", alice)
    assert (answer.status, answer.body) == (200, b'{"affected":3}')
    assert records(gate, answer)[1]["rows"] == 3
    assert gate.post("/affected?n=0", alice).body == b'{"affected":0}'
    answer = gate.post("/nothing", alice)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    assert written(gate) == before + 4


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/rows?n=6", "too_many_rows"),
        ("/rows?n=100000", "too_many_rows"),
        ("/row?n=2", "too_many_rows"),
        ("/wide?n=400&bytes=10000", "result_too_large"),
    ],
)
def test_a_result_beyond_a_limit_is_refused_and_the_connection_stays(gate, alice, path, kind):
    pid = gate.get("/row?n=1", alice).json["pid"]
    answer = gate.get(path, alice)
    assert (answer.status, answer.json["type"]) == (422, f"urn:sallyport:problem:{kind}")
    assert records(gate, answer)[1]["reason"] == kind
    assert gate.get("/row?n=1", alice).json["pid"] == pid


def test_the_server_makes_one_row_more_than_allowed_and_no_more(gate, alice):
    answer = gate.post("/ticks", alice)
    # It may write, and what it wrote stands: that comes before the limit.
    assert (answer.status, answer.json["type"]) == (500, "urn:sallyport:problem:result_withheld")
    assert records(gate, answer)[1]["reason"] == "result_withheld"
    assert gate.bed.superuser_sql("select last_value from st.ticks") == "6\n"


def test_a_row_beyond_the_limit_is_refused_once(gate, alice):
    """One value larger than any answer may be: refused, not asked for again."""
    answer = gate.get("/wide?n=1&bytes=8000000", alice)
    assert (answer.status, answer.json["type"]) == (422, "urn:sallyport:problem:result_too_large")
    ran = [line for line in gate.pg_log(answer.request_id) if "execute" in line]
    assert len([line for line in ran if "repeat" in line]) == 1
    assert gate.get("/row?n=1", alice).status == 200


# -- mistakes of callers ---

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
GOOD = {"n": 1, "note": "x"}


@pytest.mark.parametrize(
    "query, body, kind, parameter",
    [
        (f"id={UUID}&x=1", GOOD, "parameter_unknown", "x"),
        (f"id={UUID}&id={UUID}", GOOD, "parameter_twice", "id"),
        ("", GOOD, "parameter_missing", "id"),
        ("id=7", GOOD, "parameter_bad_value", "id"),
        ("id=%ff", GOOD, "parameter_not_text", "id"),
        ("id=%00", GOOD, "parameter_not_text", "id"),
        ("id=%zz", GOOD, "parameter_not_text", "id"),
        (f"id={UUID}", {"n": 1}, "parameter_missing", "note"),
        (f"id={UUID}", {"n": "x", "note": ""}, "parameter_bad_value", "n"),
        (f"id={UUID}", {"n": 2147483648, "note": ""}, "parameter_bad_value", "n"),
        (f"id={UUID}", {"n": 1.5, "note": ""}, "parameter_bad_value", "n"),
        (f"id={UUID}", {"n": [1], "note": ""}, "parameter_bad_value", "n"),
        (f"id={UUID}", {"n": 1, "note": "a\0b"}, "parameter_not_text", "note"),
        (f"id={UUID}", {**GOOD, "more": 1}, "parameter_unknown", "more"),
        (f"id={UUID}", '{"n":1,"note":"a","note":"b"}', "parameter_twice", None),
        (f"id={UUID}", "[1]", "parameter_body_syntax", None),
        (f"id={UUID}", '{"n":1,', "parameter_body_syntax", None),
        (f"id={UUID}", '{"n":1,"note":"\\ud800"}', "parameter_body_syntax", None),
    ],
)
def test_a_mistake_is_refused_and_named(gate, alice, query, body, kind, parameter):
    before = written(gate)
    headers = {"Content-Type": "application/json"}
    answer = gate.post(f"/strict?{query}", alice, body, headers=headers)
    assert_refused(gate, answer, 400, kind, parameter)
    assert written(gate) == before


def test_a_body_of_another_type_or_where_none_belongs_is_refused(gate, alice):
    headers = {"Content-Type": "text/plain"}
    answer = gate.post(f"/strict?id={UUID}", alice, "n=1", headers=headers)
    assert_refused(gate, answer, 415, "parameter_body_type")
    answer = gate.post("/nothing", alice, {"n": 1})
    assert_refused(gate, answer, 400, "parameter_body_unwanted")


def test_a_form_given_twice_is_refused(gate, alice):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = gate.post(f"/strict?id={UUID}", alice, "n=1&note=a&n=2", headers=headers)
    assert_refused(gate, answer, 400, "parameter_twice", "n")


def test_a_header_given_twice_is_refused(gate, alice):
    with gate.raw() as raw:
        raw.sendall(
            b"GET /sources/a?query=b HTTP/1.1\r\nHost: localhost\r\nX-Colour: a\r\nX-Colour: b\r\n"
            b"Connection: close\r\nAuthorization: Bearer " + alice.encode() + b"\r\n\r\n"
        )
        response = http.client.HTTPResponse(raw)
        response.begin()
        body = json.loads(response.read())
    assert (response.status, body["parameter"]) == (400, "X-Colour")


def test_a_claim_that_is_not_there_is_refused_without_its_name(gate, alice):
    answer = gate.get("/needs-claim", alice)
    assert_refused(gate, answer, 403, "parameter_claim_missing")
    assert b"nowhere" not in answer.body


# -- errors of the database ---


def assert_discreet(answer):
    for word in (b"secret", b"st.", b"kept", b"hidden", b"constraint", b"relation"):
        assert word not in answer.body, answer


@pytest.mark.parametrize("code", REAL)
def test_a_real_error_has_its_status_and_keeps_its_words(gate, alice, code):
    answer = gate.post(f"/real-{code}", alice)
    assert (answer.status, answer.json["sqlstate"]) == (REAL[code][1], code)
    assert_discreet(answer)
    assert "message" not in answer.json and "hint" not in answer.json
    outcome = records(gate, answer)[1]
    assert (outcome["sqlstate"], outcome["reason"]) == (code, "database_error")
    assert outcome["status"] == answer.status
    assert any("ERROR" in line for line in gate.pg_log(answer.request_id))


@pytest.mark.parametrize("code", CODES)
def test_a_raised_sqlstate_has_its_status(gate, alice, code):
    answer = gate.get(f"/fail?code={code}", alice)
    assert (answer.status, answer.json["sqlstate"]) == (CODES[code], code)
    assert ("retry-after" in answer.headers) == (answer.status == 503)
    assert_discreet(answer)


def test_the_words_of_an_error_reach_the_caller_only_where_the_route_says_so(gate, alice):
    answer = gate.get("/fail-openly?code=P0001", alice)
    assert (answer.status, answer.json["sqlstate"]) == (400, "P0001")
    assert (answer.json["message"], answer.json["hint"]) == ("secret words", "secret hint")
    assert b"secret detail" not in answer.body and b"secret_table" not in answer.body


# -- methods, roles, ids ---


def test_head_is_get_without_the_body(gate, alice):
    get, head = (gate.call(method, "/two", alice) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (get.status, b"") == (200, b"")
    for name in ("content-length", "content-type"):
        assert head.headers[name] == get.headers[name]
    assert records(gate, head)[0]["method"] == "HEAD"
    missing = gate.call("HEAD", "/row?n=0", alice)
    assert (missing.status, missing.body) == (404, b"")


def test_what_no_role_covers_is_404_and_what_one_covers_otherwise_403(gate, alice):
    assert_refused(gate, gate.get("/no/such/path", alice), 404, "no_route")
    assert_refused(gate, gate.get("/writers", alice), 404, "no_route")
    assert gate.get("/writers", gate.mint("bob")).status == 200
    assert_refused(gate, gate.post("/two", alice), 403, "denied")
    assert gate.post("/two", gate.mint("bob")).status == 200
    unknown, hidden = (gate.get(path, alice).json for path in ("/no/such/path", "/writers"))
    unknown.pop("request_id"), hidden.pop("request_id")
    assert unknown == hidden


def test_a_method_without_a_route_is_405_and_names_what_the_caller_may_see(gate, alice):
    answer = gate.call("DELETE", "/two", gate.mint("bob"))
    assert_refused(gate, answer, 405, "method_not_allowed")
    assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD", "POST", "PUT"]
    answer = gate.call("DELETE", "/two", alice)
    assert answer.status == 405
    assert "PUT" not in answer.headers["allow"]
    assert gate.call("DELETE", "/writers", alice).status == 404


def test_a_role_may_be_named(gate, alice):
    bob = gate.mint("bob")
    assert gate.get("/who", bob).json == {"who": "orders_writer"}
    answer = gate.get("/who", bob, headers={"Sallyport-Role": "orders-reader"})
    assert answer.json == {"who": "orders_reader"}
    assert records(gate, answer)[0]["role"] == "orders-reader"
    for name in ("orders-writer", "no-such-role", ""):
        answer = gate.get("/who", alice, headers={"Sallyport-Role": name})
        assert answer.status == 403, (name, answer)


def test_a_role_named_twice_is_refused(gate):
    bob = gate.mint("bob").encode()
    with gate.raw() as raw:
        raw.sendall(
            b"GET /who HTTP/1.1\r\nHost: localhost\r\nSallyport-Role: orders-reader\r\n"
            b"Sallyport-Role: orders-writer\r\nConnection: close\r\nAuthorization: Bearer "
            + bob + b"\r\n\r\n"
        )  # fmt: skip
        response = http.client.HTTPResponse(raw)
        response.begin()
        body = json.loads(response.read())
    assert response.status == 400
    assert body["type"] == "urn:sallyport:problem:role_twice"


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_trace_is_taken_over(gate, alice):
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = gate.get("/who", alice, headers={"traceparent": parent})
    assert answer.headers["traceparent"] == parent
    assert [r["trace_id"] for r in records(gate, answer)] == [TRACE, TRACE]
    root = "1-58406520-a006649127e371903a2de979"
    answer = gate.get("/who", alice, headers={"X-Amzn-Trace-Id": f"Self=1;Root={root};Sampled=1"})
    assert [r["trace_id"] for r in records(gate, answer)] == [root, root]
    answer = gate.get("/who", alice, headers={"traceparent": parent.upper()})
    assert "traceparent" not in answer.headers
    assert all("trace_id" not in r for r in records(gate, answer))


def test_the_request_id_is_the_same_everywhere(gate):
    answer = gate.get("/who", gate.mint("alice", sub="alice-17"))
    intent, outcome = records(gate, answer)
    assert (intent["kind"], outcome["kind"]) == ("intent", "outcome")
    assert intent["request_id"] == outcome["request_id"] == answer.request_id
    lines = gate.pg_log(f"app={answer.request_id} alice-17 ")
    assert any("execute" in line and "current_user" in line for line in lines)
    assert all(f"[{outcome['backend_pid']}] user=app db=shop" in line for line in lines)
    again = gate.get("/who", gate.mint("alice"))
    assert again.request_id != answer.request_id
    problem = gate.get("/no/such/path", gate.mint("alice"))
    assert problem.json["request_id"] == problem.request_id


def test_bound_values_are_audited_only_where_the_route_asks(gate, alice):
    answer = gate.get("/audited?v=seen%20by%20the%20audit", alice)
    assert records(gate, answer)[0]["values"] == {"v": "seen by the audit"}
    answer = gate.get("/rows?n=1", alice)
    assert "values" not in records(gate, answer)[0]
