"""What is refused after the caller was let in is still told to the caller and to the audit."""

import pytest

import served

TWO_ROWS = (
    "insert into sales.orders (tenant, customer, total)"
    " select :tenant, 'twice', 1 from pg_catalog.generate_series(1, 2) returning id"
)
TENANT = {"tenant": {"type": "text", "from": "claim.tenant_id"}}
NOTE = {"note": {"type": "text", "from": "body"}}


@pytest.fixture
def late(gateway, bed, issuer):
    routes = [
        served.route("twice", TWO_ROWS, method="POST", parameters=TENANT, result="one"),
        served.route("note", "select :note::text as note", method="POST", parameters=NOTE),
    ]
    config = served.config(bed, issuer, [served.service(bed, routes)])
    return gateway(config=config, node={"client_max_body_size": 1000})


def test_a_write_whose_result_is_cut_says_that_it_was_carried_out(late, bed):
    count = "select count(*) from sales.orders where customer = 'twice'"
    assert int(bed.superuser_sql(count)) == 0
    answer = late.post("/twice", late.mint("bob"))
    assert answer.status == 500
    assert answer.json["type"] == "urn:sallyport:problem:result_withheld"
    assert "do not repeat it" in answer.json["detail"]
    assert int(bed.superuser_sql(count)) == 2
    records = late.wait_for_audit(answer.request_id)
    outcome = [r for r in records if r["kind"] == "outcome"]
    assert [(r["status"], r["reason"]) for r in outcome] == [(500, "result_withheld")]
    bed.superuser_sql("delete from sales.orders where customer = 'twice'")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_denial_that_names_the_caller(late, chunked):
    body = b'{"note": "' + b"x" * 5000 + b'"}'
    headers = {"Content-Type": "application/json"}
    token = late.mint("bob")
    answer = late.post("/note", token, body=iter([body]) if chunked else body, headers=headers)
    assert answer.status == 413
    (record,) = late.wait_for_audit(answer.request_id, count=1)
    assert (record["kind"], record["subject"], record["status"]) == ("denial", "bob", 413)
    assert record["route"] == "note"
