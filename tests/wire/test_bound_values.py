"""A caller's values are values, whatever they look like."""

import pytest

HOSTILE = [
    "x'); drop table sales.orders; --",
    "'; select pg_sleep(60); --",
    "$1 :tenant {id} %s \\' \\\\",
    "\"quoted\" and 'quoted', Zoë 日本",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_looks_like_sql_is_stored_as_it_came(sallyport, text):
    before = sallyport.bed.superuser_sql("select count(*) from sales.orders")
    answer = sallyport.post("/orders", sallyport.mint("bob"), {"customer": text, "total": "1.00"})
    assert answer.status == 200, answer
    assert answer.json["customer"] == text
    after = sallyport.bed.superuser_sql("select count(*) from sales.orders")
    assert int(after) == int(before) + 1


@pytest.mark.parametrize("value", ["2%20or%20true", "2;select%201", "2'--", "(select%201)"])
def test_a_path_that_is_not_of_its_type_never_reaches_the_database(sallyport, value):
    answer = sallyport.get(f"/orders/{value}", sallyport.mint("alice"))
    assert answer.status == 400, answer
    assert answer.json["parameter"] == "id"
    assert [r["kind"] for r in sallyport.wait_for_audit(answer.request_id, 1)] == ["denial"]
