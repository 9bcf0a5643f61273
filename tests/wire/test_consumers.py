"""Consumers: found by a claim of the token, told in the audit, asked for by roles."""

import json

import pytest
import served
from bed.postgres import wait_until

READ = "select id from sales.orders where id = 2"


def config(bed, issuer, consumers, roles, **of_issuer):
    routes = [served.route("order", READ, result="one"),
              served.route("gold", "select 'gold' as tier", result="one")]
    document = json.loads(served.config(bed, issuer, [served.service(bed, routes)],
                                        [*roles, WRITER]))
    document["issuers"][0].update(of_issuer)
    document["consumers"] = consumers
    return json.dumps(document)


def only_for(*consumers, name="gold", priority=30):
    return {"name": name, "priority": priority, "services": ["shop"],
            "when": {"issuer": "dev", "consumers": list(consumers)},
            "database_role": "orders_reader", "allow": [{"routes": ["gold"]}]}


READER = dict(served.READER, allow=[{"routes": ["order"]}])
# The login is a member of its role, too, which would be refused were there none.
WRITER = dict(served.WRITER, allow=[{"routes": ["order"]}])
ANN = {"username": "ann", "custom_id": "alice"}
BY_ID = {"custom_id": "17", "id": "5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10"}


def record(gateway, answer, kind="denial"):
    count = 2 if kind == "intent" else 1
    found = gateway.wait_for_audit(answer.request_id, count)
    return next(r for r in found if r["kind"] == kind)


@pytest.fixture
def optional(bed, issuer, gateway):
    return gateway(config=config(
        bed, issuer, [ANN, BY_ID], [READER, only_for("ann", BY_ID["id"])],
        consumer_claim="client_id", consumer_by=["custom_id"], consumer_optional=True))


def test_the_claim_finds_the_consumer_and_the_audit_names_it(optional):
    for client, claims, consumer in (
        ("alice", {}, "ann"),
        ("alice", {"client_id": "17"}, "17"),
        ("alice", {"client_id": 17}, None),
        ("alice", {"client_id": "ann"}, None),  # a username, which is not asked for
        ("alice", {"client_id": BY_ID["id"]}, None),
        ("alice", {"client_id": "bob"}, None),
    ):
        answer = optional.get("/order", optional.mint(client, **claims))
        if claims.get("client_id") == 17:  # not a text: that is no client
            assert answer.status == 401
            continue
        assert answer.status == 200, (client, claims, answer.body)
        intent = record(optional, answer, "intent")
        assert intent.get("consumer") == consumer, claims


def test_a_role_may_ask_for_consumers(optional):
    for client, status in (("alice", 200), ("17", 200), ("bob", 404), ("ann", 404)):
        answer = optional.get("/gold", optional.mint("bob", client_id=client))
        assert answer.status == status, client
    denial = record(optional, answer)
    assert denial["reason"] == "no_route" and "consumer" not in denial
    assert {"role": "gold", "verdict": "wrong_consumer"} in denial["roles"]


def test_a_token_without_a_consumer_is_refused_where_one_is_wanted(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [ANN], [READER], consumer_claim="org.name"))
    known = {"org": {"name": "ann"}}
    assert made.get("/order", made.mint("alice", **known)).status == 200
    for claims in ({}, {"org": {"name": "bea"}}, {"org": {}}, {"org": {"name": None}}):
        for path in ("/order", "/nowhere"):
            answer = made.get(path, made.mint("alice", **claims))
            assert answer.status == 403
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json == {
                "type": "urn:sallyport:problem:no_consumer", "title": "Forbidden", "status": 403,
                "detail": "your token names no known client", "request_id": answer.request_id}
            assert "www-authenticate" not in answer.headers
    denial = record(made, answer)
    assert (denial["reason"], denial["subject"], denial["status"]) == ("no_consumer", "alice", 403)
    assert "consumer" not in denial and "route" not in denial
    malformed = made.get("/order", made.mint("alice", org={"name": ["ann"]}))
    assert malformed.status == 401
    # A repeated token is refused as the first time, and no other is disturbed.
    token = made.mint("alice")
    assert [made.get("/order", t).status for t in (token, token, made.mint("alice", **known))] == [
        403, 403, 200]


def test_an_issuer_that_does_not_ask_names_no_consumer(bed, issuer, gateway):
    made = gateway(config=config(bed, issuer, [ANN, {"username": "alice"}],
                                 [READER, only_for("alice")]))
    token = made.mint("alice")
    answer = made.get("/order", token)
    assert answer.status == 200 and "consumer" not in record(made, answer, "intent")
    assert made.get("/gold", token).status == 404


def test_a_reload_takes_effect_for_tokens_that_are_known(bed, issuer, gateway):
    def text(consumers, roles):
        return config(bed, issuer, consumers, roles, consumer_claim="sub", consumer_optional=True)

    made = gateway(config=text([{"username": "alice"}], [READER, only_for("alice")]))
    token = made.mint("alice")
    assert made.get("/gold", token).status == 200
    for consumers, roles, status in (
        ([{"username": "bea"}], [READER, only_for("bea")], 404),
        ([{"username": "alice"}, {"username": "bea"}], [READER, only_for("bea", "alice")], 200),
        ([{"username": "bea", "custom_id": "alice"}], [READER, only_for("bea")], 200),
        ([], [READER], 404),
    ):
        made.write_config(text(consumers, roles))
        told = made.run("reload", "-c", made.node_file)
        assert told.returncode == 0, told.stderr
        wait_until(lambda: made.get("/gold", token).status == status, 20, f"a {status}")


def test_a_token_is_explained_with_its_consumer(optional, tmp_path):
    path = tmp_path / "token"
    for client, consumer, gold in (("alice", "ann", True), ("bob", None, False)):
        path.write_text(optional.mint("bob", client_id=client))
        got = optional.run("check", "--token", path, "--json", optional.config_file)
        assert got.returncode == 0, got.stderr
        told = json.loads(got.stdout)
        assert told["caller"]["consumer"] == consumer
        assert [c["allowed"] for c in told["calls"] if c["route"] == "gold"] == [gold]
        assert [s["found"] for s in told["steps"] if s["name"] == "consumer"] == [client]
        words = optional.run("check", "--token", path, optional.config_file).stdout
        assert ("\n  consumer  ann\n" in words) == (consumer is not None)
        assert ("not gold: the role is for other consumers" in words) == (not gold)
    answer = optional.get("/order", optional.mint("alice"))
    record(optional, answer, "intent")
    explained = optional.run("audit", "explain", answer.request_id, "-c", optional.node_file)
    assert ", consumer ann" in explained.stdout, explained


def test_ten_thousand_consumers_are_ready_at_once(bed, issuer, gateway):
    many = [{"username": f"u{i}", "custom_id": f"c{i}"} for i in range(10000)]
    made = gateway(config=config(bed, issuer, many, [READER, only_for(*(f"u{i}" for i in range(
        5000, 10000)))], consumer_claim="sub"))
    for subject, status in (("u9999", 200), ("c5000", 200), ("u4999", 404), ("u10000", 403)):
        assert made.get("/gold", made.mint("bob", sub=subject)).status == status, subject
