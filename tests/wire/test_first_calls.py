"""The main job, once through: a token becomes a query under the caller's own identity."""

import pytest

pytestmark = pytest.mark.threads


def test_a_callers_row_comes_back_as_json(sallyport):
    answer = sallyport.get("/orders/2", sallyport.mint("alice"))
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {
        "id": 2,
        "tenant": "north",
        "customer": "Chen",
        "total": 25.00,
        "placed_at": "2026-01-01T10:00:00+00:00",
    }


def test_a_row_of_another_tenant_is_not_there(sallyport):
    assert sallyport.get("/orders/1", sallyport.mint("alice")).status == 404
    assert sallyport.get("/orders/1", sallyport.mint("bob")).status == 200


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_each_algorithm_of_the_issuer_is_accepted(sallyport, algorithm):
    token = sallyport.mint("alice", algorithm=algorithm)
    assert sallyport.get("/orders?limit=1", token).status == 200


def test_a_writer_writes_as_her_own_role_and_tenant(sallyport):
    body = {"customer": "Zoe", "total": "99.90"}
    answer = sallyport.post("/orders", sallyport.mint("bob"), body)
    assert answer.status == 200, answer
    assert answer.json["tenant"] == "south"
    stored = sallyport.bed.superuser_sql(
        f"select tenant, customer, total from sales.orders where id = {answer.json['id']}"
    )
    assert stored == "south|Zoe|99.90\n"
    records = {r["kind"]: r for r in sallyport.wait_for_audit(answer.request_id)}
    assert records["intent"]["role"] == "orders-writer"
    assert records["intent"]["database_role"] == "orders_writer"
    assert records["outcome"]["rows"] == 1


def test_without_a_token_every_path_answers_401(sallyport):
    for path in ("/orders/2", "/no/such/path"):
        answer = sallyport.get(path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_bad_token_answers_401(sallyport):
    for token in (
        sallyport.mint("alice", expires_in=-120),
        sallyport.mint("alice", foreign_key=True),
        sallyport.mint("alice", aud="api://other"),
        sallyport.mint("alice", iss="https://localhost:1"),
        sallyport.mint("alice")[:-4] + "AAAA",
    ):
        answer = sallyport.get("/orders/2", token)
        assert answer.status == 401, answer
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_route_that_no_role_covers_is_not_there(sallyport):
    body = {"customer": "Alice", "total": "1.00"}
    count = sallyport.bed.superuser_sql("select count(*) from sales.orders")
    assert sallyport.post("/orders", sallyport.mint("alice"), body).status == 404
    assert sallyport.get("/orders/2", sallyport.mint("mallory")).status == 404
    assert sallyport.bed.superuser_sql("select count(*) from sales.orders") == count


def test_the_database_and_the_audit_name_the_caller(sallyport):
    answer = sallyport.get("/orders/4", sallyport.mint("alice", sub="alice-in-the-log"))
    assert answer.status == 200, answer
    lines = sallyport.pg_log(answer.request_id)
    assert any("alice-in-the-log" in line and "user=app" in line for line in lines)
    kinds = [(r["kind"], r.get("subject")) for r in sallyport.wait_for_audit(answer.request_id)]
    assert kinds[0] == ("intent", "alice-in-the-log")
    assert [kind for kind, _ in kinds] == ["intent", "outcome"]


def test_the_statement_runs_in_one_round_trip_as_the_role(sallyport):
    """The database's own log: the prelude and the statement, nothing around them."""
    answer = sallyport.get("/orders/6", sallyport.mint("alice"))
    lines = [line for line in sallyport.pg_log(answer.request_id) if "execute" in line]
    assert any("sales.orders" in line for line in lines)
    assert not any("BEGIN" in line.upper() for line in lines)
