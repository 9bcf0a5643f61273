"""Roles that a service assumes, its own and its callers': PostgreSQL takes what they sign."""

import re

import pytest
import served

from bed.postgres import AccessKey, wait_until
from doubles.aws import Sts

ROLE = "arn:aws:iam::123456789012:role/"
SQL = "select id from sales.orders where id = :id"
ARN = "arn:aws:sts::123456789012:assumed-role/"


@pytest.fixture
def sts(bed):
    """STS, whose sessions PostgreSQL knows from the moment they are made."""
    before = list(bed.keys)

    def tell(session):
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token)
        bed.set_keys([*bed.keys, key])

    double = Sts(on_mint=tell)
    base = AccessKey.fresh()  # PostgreSQL does not know it: only sessions can log in
    double.know(base.access_key_id, base.secret_access_key)
    double.base = base
    yield double
    double.gate.set()
    double.close()
    bed.set_keys(before)


def environment(sts):
    return {**sts.base.environment(), **sts.environment()}


def config(bed, issuer, roles, user="app", **more):
    iam = {"region": bed.region, "hostname": bed.hostname, "assume_role_arn": roles, **more}
    parameters = {"id": {"type": "bigint", "from": "path"}}
    orders = served.route("order", SQL, path="/orders/{id}", parameters=parameters)
    return served.config(
        bed, issuer, [served.service(bed, [orders], user=user, iam_auth=iam)]
    )


def read(gateway, who="alice", token=None):
    return gateway.get("/orders/2", token or gateway.mint(who))


def logins(gateway):
    return [r for r in gateway.audit() if r["kind"] == "login"]


def sessions(gateway):
    return gateway.status("/status").json["aws_sessions"]


def metric(gateway, line):
    text = gateway.status("/metrics").body.decode()
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.M)
    assert found, text
    return float(found[1])


def test_the_services_own_role(gateway, bed, issuer, sts):
    tags = {"team": {"value": "shop", "transitive": True}, "stage": "x"}
    policy = '{"Version": "2012-10-17", "Statement": []}'
    text = config(
        bed,
        issuer,
        ROLE + "shop",
        role_session_name="gateway-1",
        source_identity="gateway",
        external_id="ext:1",
        session_duration=7200,
        tags=tags,
        policy=policy,
        policy_arns=["arn:aws:iam::aws:policy/A"],
    )
    sts.external_ids[ROLE + "shop"] = "ext:1"
    one = gateway(config=text, environment=environment(sts))
    assert read(one).status == 200
    assert len(sts.minted[-1].session_token) > 1500
    assert len(sts.assumed) == 1
    assert sts.assumed[0].parameters == {
        "RoleArn": ROLE + "shop",
        "RoleSessionName": "gateway-1",
        "SourceIdentity": "gateway",
        "ExternalId": "ext:1",
        "DurationSeconds": 7200,
        "Tags": [{"Key": "team", "Value": "shop"}, {"Key": "stage", "Value": "x"}],
        "TransitiveTagKeys": ["team"],
        "Policy": policy,
        "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/A"}],
    }
    event = logins(one)[-1]
    assert event["iam_arn"] == ARN + "shop/gateway-1"
    assert event["access_key_id"] == sts.minted[-1].access_key_id
    assert event["credential_source"] == "environment+assume_role"
    assert event["database_user"] == "app"
    assert event["backend_pid"] > 0
    # Obtained before anybody called, and one for all who do.
    assert read(one).status == 200
    assert len(sts.assumed) == 1
    assert sessions(one) == {
        "cached": 1,
        "per_caller": 0,
        "max": 0,
        "waiting": 0,
        "in_flight": 0,
        "assumed": 1,
        "evictions": 0,
        "failing": [],
    }
    assert metric(one, 'sallyport_sts_sessions{state="cached"}') == 1
    assert metric(one, 'sallyport_sts_requests_total{result="ok"}') == 1


def test_a_chain_of_three_roles(gateway, bed, issuer, sts):
    roles = [ROLE + "a", ROLE + "b", ROLE + "c"]
    sts.trust = {ROLE + "b": [ARN + "a/"], ROLE + "c": [ARN + "b/"]}
    sts.external_ids[ROLE + "c"] = "ext"
    one = gateway(
        config=config(bed, issuer, roles, external_id="ext"), environment=environment(sts)
    )
    assert read(one).status == 200
    assert [a.role for a in sts.assumed] == roles
    keys = [sts.base.access_key_id, *(a.access_key_id for a in sts.assumed)]
    assert [a.signer for a in sts.assumed] == keys[:3]
    assert logins(one)[-1]["iam_arn"] == ARN + "c/sallyport"
    assert logins(one)[-1]["access_key_id"] == keys[3]


def test_each_caller_has_a_session(gateway, bed, issuer, sts):
    text = config(
        bed,
        issuer,
        [ROLE + "hop", ROLE + "shop"],
        role_session_name="{subject}",
        tags={"client": "{client}"},
        max_sessions=50,
    )
    one = gateway(config=text, environment=environment(sts))
    for _ in range(3):
        for who in ("alice", "bob"):
            assert read(one, who).status == 200
    hop, *callers = sts.assumed
    assert (hop.role, hop.name) == (ROLE + "hop", "sallyport")
    assert {a.signer for a in callers} == {hop.access_key_id}
    assert len(callers) == 2 and len({a.name for a in callers}) == 2
    assert {e["iam_arn"] for e in logins(one)} == {ARN + "shop/" + a.name for a in callers}
    assert {e["access_key_id"] for e in logins(one)} == {a.access_key_id for a in callers}
    shown = sessions(one)
    assert (shown["cached"], shown["per_caller"], shown["max"]) == (3, 2, 50)


def test_sessions_beyond_max_leave_and_come_again(gateway, bed, issuer, sts):
    text = config(bed, issuer, ROLE + "shop", role_session_name="{subject}", max_sessions=1)
    one = gateway(config=text, environment=environment(sts))
    for who in ("alice", "bob"):
        assert read(one, who).status == 200
    shown = sessions(one)
    assert (shown["per_caller"], shown["max"], shown["evictions"]) == (1, 1, 1)
    assert metric(one, "sallyport_sts_evictions_total") == 1


def test_the_callers_own_token(gateway, bed, issuer, sts):
    text = config(bed, issuer, ROLE + "shop", web_identity="caller", max_sessions=50)
    one = gateway(config=text, environment=environment(sts))
    token = one.mint("alice")
    answer = read(one, token=token)  # its audience is not registered
    assert answer.status == 403
    found = [r for r in one.log() if r["event"] == "aws_session_failed"]
    assert "IAM must have an OIDC provider of that issuer" in found[-1]["detail"]
    assert "(aud) api://orders" in found[-1]["detail"]
    assert issuer.issuer in found[-1]["detail"]
    assert token not in one.log_text()
    assert sessions(one)["failing"][0]["role"] == ROLE + "shop"
    sts.web_tokens.add(token)
    wait_until(lambda: read(one, token=token).status == 200, 30, "the token's acceptance")
    assert sts.assumed[-1].signer == ""
    assert logins(one)[-1]["credential_source"] == "caller_token"
    assert logins(one)[-1]["iam_arn"].startswith(ARN + "shop/")


def test_valid_sessions_serve_while_sts_is_down(gateway, bed, issuer, sts):
    one = gateway(config=config(bed, issuer, ROLE + "shop"), environment=environment(sts))
    sts.lifetime_s = 3600
    assert read(one).status == 200
    sts.refused_roles.add(ROLE + "shop")
    sts.close()
    bed.superuser_sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
    )
    wait_until(lambda: read(one).status == 200, 30, "a login without STS")
    wait_until(lambda: len(logins(one)) > 1, 10, "its event")
    assert {e["access_key_id"] for e in logins(one)} == {sts.minted[-1].access_key_id}
    sts.close = lambda: None  # it is


def test_a_refresh_that_fails_is_shown_and_the_session_serves(gateway, bed, issuer, sts):
    sts.lifetime_s = 12
    one = gateway(config=config(bed, issuer, ROLE + "shop"), environment=environment(sts))
    assert read(one).status == 200
    sts.untaggable_roles.add(ROLE + "shop")
    sts.refused_roles.add(ROLE + "shop")
    wait_until(lambda: sessions(one)["failing"], 30, "a refresh that fails")
    failing = sessions(one)["failing"][0]
    assert failing["role"] == ROLE + "shop"
    assert "AccessDenied" in failing["detail"]
    assert failing["serves"] is True
    warnings = one.status("/status/ready").json["warnings"]
    assert [w["reason"] for w in warnings] == ["aws_session"]
    assert read(one).status == 200
    sts.refused_roles.clear()
    sts.lifetime_s = 3600
    wait_until(lambda: not sessions(one)["failing"], 60, "the next attempt")
    assert len(sts.assumed) == 2


def test_throttling_is_waited_out(gateway, bed, issuer, sts):
    text = config(bed, issuer, ROLE + "shop", role_session_name="{subject}", max_sessions=50)
    one = gateway(config=text, environment=environment(sts))
    sts.per_second = 0
    answers = []

    def ask():
        answers.append(read(one).status)
        return answers[-1] == 200

    wait_until(lambda: metric(one, 'sallyport_sts_requests_total{result="throttled"}') > 0
               or ask(), 30, "throttling")
    slow = metric(one, "sallyport_sts_pace_per_second")
    assert slow < 50
    sts.per_second = None
    wait_until(ask, 60, "an answer")
    assert sessions(one)["assumed"] >= 1


def test_a_services_endpoint_goes_before_the_environments(gateway, bed, issuer, sts):
    text = config(bed, issuer, ROLE + "shop", sts_endpoint_url=sts.url)
    env = {**environment(sts), "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    one = gateway(config=text, environment=env)
    wait_until(lambda: read(one).status == 200, 30, "an answer")
    assert sts.assumed[0].role == ROLE + "shop"


def test_a_refused_role_is_told_to_the_operator_alone(gateway, bed, issuer, sts):
    text = config(
        bed,
        issuer,
        ROLE + "shop",
        role_session_name="{subject}",
        source_identity="{subject}",
        max_sessions=50,
    )
    sts.anonymous_roles.add(ROLE + "shop")
    one = gateway(config=text, environment=environment(sts))
    answer = read(one)
    assert answer.status == 403
    assert b"arn:aws" not in answer.body and b"sts" not in answer.body.lower()
    said = [r for r in one.log() if r["event"] == "aws_session_failed"][0]["detail"]
    assert "not authorized to perform: sts:SetSourceIdentity" in said
    assert "must allow sts:SetSourceIdentity too" in said
    shown = sessions(one)
    assert shown["failing"] == [
        {
            "role": ROLE + "shop",
            "per_caller": True,
            "serves": False,
            "sessions": 1,
            "failures": shown["failing"][0]["failures"],
            "detail": shown["failing"][0]["detail"],
        }
    ]
    assert "alice" not in str(shown)


def test_no_secret_of_a_session_stands_in_log_or_audit(gateway, bed, issuer, sts):
    text = config(
        bed, issuer, [ROLE + "hop", ROLE + "shop"], role_session_name="{subject}", max_sessions=50
    )
    sts.lifetime_s = 10
    one = gateway(config=text, environment=environment(sts), node={"log_level": "debug"})
    for who in ("alice", "bob"):
        assert read(one, who).status == 200
    wait_until(lambda: len(sts.minted) >= 5, 40, "refreshes")
    one.stop()
    texts = [one.log_text()]
    texts += [path.read_text(errors="replace") for path in one.audit_folder.rglob("*.jsonl")]
    secrets = [s for known in sts.known.values() for s in known[:2] if s]
    assert len(secrets) >= 11
    assert not [s for s in secrets for text in texts if s in text]
