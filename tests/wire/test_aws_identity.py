"""Credentials from the doubles of EC2, ECS, EKS and STS become logins that PostgreSQL accepts."""

import hashlib
import json
import re
import signal
import threading
import time
import urllib.parse

import harness
import pytest
import served

from bed import shop
from bed.postgres import AccessKey, PostgresBed, wait_until
from doubles.aws import Container, InstanceMetadata, Reply, Sts
from doubles.sso import Oidc, Portal

ROLE = "arn:aws:iam::123456789012:role/"
BUSY = Reply(503, "application/json", b"{}")


@pytest.fixture
def aws(bed):
    """Makes doubles whose credentials PostgreSQL knows from the moment they are handed out."""
    before = list(bed.keys)
    made = []

    def tell(session):
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token)
        bed.set_keys([*bed.keys, key])

    def make(kind, **options):
        made.append(kind(on_mint=tell, **options))
        return made[-1]

    yield make
    for double in made:
        for one in [double, *getattr(double, "beside", [])]:
            one.close()
    bed.set_keys(before)


def instance(aws, tmp_path):
    double = aws(InstanceMetadata)
    return double, double.environment(), "instance_metadata"


def container(aws, tmp_path):
    double = aws(Container)
    double.authorization = "pod-identity-token"
    token = tmp_path / "container-token"
    token.write_text(double.authorization)
    more = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
    return double, {**double.environment(), **more}, "container"


def web_identity(aws, tmp_path):
    double = aws(Sts)
    double.web_tokens.add("service.account.token")
    token = tmp_path / "web-token"
    token.write_text("service.account.token")
    more = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE + "pod"}
    return double, {**double.environment(), **more}, "web_identity"


def three_roles(aws, tmp_path):
    double = aws(Sts)
    key = AccessKey.fresh()
    double.know(key.access_key_id, key.secret_access_key)
    (tmp_path / "credentials").write_text(
        f"[keys]\naws_access_key_id = {key.access_key_id}\n"
        f"aws_secret_access_key = {key.secret_access_key}\n"
    )
    (tmp_path / "config").write_text(
        f"[default]\nrole_arn = {ROLE}c\nsource_profile = b\n"
        f"[profile b]\nrole_arn = {ROLE}b\nsource_profile = a\n"
        f"[profile a]\nrole_arn = {ROLE}a\nsource_profile = keys\n"
    )
    more = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    return double, {**double.environment(), **more}, "profile+assume_role"


def process(aws, tmp_path):
    """A program that gives what the container's double minted."""
    double = aws(Container)
    answer = tmp_path / "answer"
    more = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat '{answer}'\n")
    write_answer(double, answer)
    return double, more, "profile+credential_process"


def write_answer(double, path):
    document = double.mint().as_json()
    document["SessionToken"] = document.pop("Token")
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps({"Version": 1, **document}))
    fresh.rename(path)


def identity_center(aws, tmp_path):
    """The cached token has ended: it is refreshed, and buys the role's credentials."""
    portal = aws(Portal)
    oidc = Oidc(portal)
    portal.beside = [oidc]
    oidc.refresh_tokens.add("the-refresh-token")
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nsso_session = shop\nsso_account_id = 123456789012\n"
        "sso_role_name = shop reader\n[sso-session shop]\nsso_region = eu-west-1\n"
        "sso_start_url = https://example.awsapps.com/start\n"
    )
    token = {
        "accessToken": "an-access-token-that-has-ended",
        "expiresAt": "2020-01-01T00:00:00Z",
        "clientId": oidc.client[0],
        "clientSecret": oidc.client[1],
        "registrationExpiresAt": "2099-01-01T00:00:00Z",
        "refreshToken": "the-refresh-token",
    }
    name = hashlib.sha1(b"shop").hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))
    more = {
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL_SSO": portal.url,
        "AWS_ENDPOINT_URL_SSO_OIDC": oidc.url,
    }
    return portal, more, "profile+sso"


def logins(gateway):
    return [r for r in gateway.audit() if r["kind"].startswith("login")]


def identity(gateway):
    return gateway.status("/status").json["aws_credentials"]


def end_backends(bed):
    """Has PostgreSQL end the gateway's connections, so that the next call needs a login."""
    bed.superuser_sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
    )
    wait_until(
        lambda: bed.superuser_sql("select count(*) from pg_stat_activity where usename = 'app'")
        == "0\n",
        20,
        "the end of the backends",
    )


def read(gateway):
    return gateway.get("/orders/2", gateway.mint("alice"))


def read_until(gateway, status):
    wait_until(lambda: read(gateway).status == status, 30, f"an answer of {status}")


@pytest.mark.parametrize(
    "source", [instance, container, web_identity, three_roles, process, identity_center]
)
def test_a_login_is_signed_with_the_sources_credentials(gateway, aws, tmp_path, source):
    double, environment, name = source(aws, tmp_path)
    one = gateway(environment=environment)
    assert read(one).status == 200
    session = double.minted[-1]
    assert len(session.session_token) > 1500
    event = logins(one)[-1]
    assert event["access_key_id"] == session.access_key_id
    assert event["credential_source"] == name
    shown = identity(one)
    assert shown == {
        "state": "ready",
        "source": name,
        "expires": session.expires,
        "last_error": None,
    }
    metrics = one.status("/metrics").body.decode()
    line = 'sallyport_credential_expiry_seconds{service="shop",access="primary"} '
    seconds = float(metrics.split(line, 1)[1].split("\n", 1)[0])
    assert 3500 < seconds <= 3600


@pytest.mark.parametrize("source", [instance, container])
def test_a_login_names_the_arn_that_sts_says(gateway, aws, bed, tmp_path, source):
    sts = aws(Sts)
    double, environment, _ = source(aws, tmp_path)
    arn = "arn:aws:sts::123456789012:assumed-role/task/4f2e"
    tell = double.on_mint

    def on_mint(session):
        secret, token = session.secret_access_key, session.session_token
        sts.know(session.access_key_id, secret, token, arn)
        tell(session)

    double.on_mint = on_mint
    one = gateway(environment={**sts.environment(), **environment})
    assert read(one).status == 200

    def named():
        bed.superuser_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
        )
        read(one)
        return logins(one)[-1].get("iam_arn")

    assert wait_until(named, 30, "the ARN") == arn
    asked = [r for r in sts.requests if b"GetCallerIdentity" in r.body]
    assert len(asked) == len(double.minted) == 1


def test_a_refresh_in_the_background_changes_the_next_login(gateway, aws, bed, tmp_path):
    double, environment, _ = container(aws, tmp_path)
    double.lifetime_s = 12
    one = gateway(environment=environment)
    assert read(one).status == 200
    double.lifetime_s = 3600
    wait_until(lambda: len(double.minted) == 2, 30, "the refresh")
    wait_until(lambda: identity(one)["expires"] == double.minted[1].expires, 10, "its arrival")
    first = AccessKey(double.minted[0].access_key_id, "", "")
    bed.set_keys([key for key in bed.keys if key.access_key_id != first.access_key_id])
    end_backends(bed)
    read_until(one, 200)
    assert logins(one)[-1]["access_key_id"] == double.minted[1].access_key_id
    assert len(double.minted) == 2


def test_while_a_refresh_fails_valid_credentials_go_on(gateway, aws, bed, tmp_path):
    double, environment, _ = container(aws, tmp_path)
    double.lifetime_s = 12
    one = gateway(environment=environment)
    assert read(one).status == 200
    double.instead.extend([BUSY] * 1000)
    wait_until(lambda: identity(one)["state"] == "stale", 30, "the failure of a refresh")
    warnings = one.status("/status/ready").json["warnings"]
    assert [w["reason"] for w in warnings] == ["aws_credentials"]
    assert "status 503" in warnings[0]["detail"]
    assert read(one).status == 200
    wait_until(lambda: identity(one)["state"] == "failed", 40, "the end of the credentials")
    assert read(one).status == 200  # a connection that is there needs no login
    end_backends(bed)
    read_until(one, 503)
    assert logins(one)[-1]["kind"] == "login_failure"
    assert logins(one)[-1]["reason"] == "aws_answer_status"
    double.lifetime_s = 3600
    double.instead.clear()
    wait_until(lambda: identity(one)["state"] == "ready", 90, "the next attempt")
    read_until(one, 200)


def test_a_first_call_waits_for_the_first_credentials(gateway, aws, tmp_path):
    double, environment, _ = web_identity(aws, tmp_path)
    asked, go_on, real = threading.Event(), threading.Event(), double.answer

    def answer(request):
        asked.set()
        assert go_on.wait(30)
        return real(request)

    double.answer = answer
    one = gateway(environment=environment)
    assert asked.wait(30)
    assert identity(one)["state"] == "waiting"
    answers = []
    caller = threading.Thread(target=lambda: answers.append(read(one)))
    caller.start()
    held = r'access="primary",state="login"} [1-9].*\nsallyport_client_connections 1\n'
    wait_until(
        lambda: re.search(held, one.status("/metrics").body.decode(), re.S),
        8,  # STS has ten seconds to answer
        "the caller, and a login that waits",
    )
    assert logins(one) == [] and answers == []
    go_on.set()
    caller.join(30)
    assert answers[0].status == 200
    assert {event["kind"] for event in logins(one)} == {"login"}


def test_the_identity_of_the_node_never_takes_the_place_of_the_pods(gateway, aws, tmp_path):
    sts, environment, _ = web_identity(aws, tmp_path)
    node = aws(InstanceMetadata)
    sts.refused_roles.add(ROLE + "pod")
    one = gateway(environment={**environment, **node.environment()})
    assert read(one).status == 503
    assert node.requests == []
    assert "AccessDenied" in identity(one)["last_error"]
    sts.refused_roles.clear()
    wait_until(lambda: identity(one)["state"] == "ready", 60, "the next attempt")
    read_until(one, 200)


def test_nothing_is_asked_where_no_service_logs_in_by_iam(gateway, aws, bed, issuer, tmp_path):
    double, environment, _ = instance(aws, tmp_path)
    lines = harness.config_for(bed, issuer).split("\n")
    text = "\n".join(line for line in lines if "iam_auth" not in line)
    assert "iam_auth" not in text
    one = gateway(config=text.replace("//app@", "//nobody@"), environment=environment)
    assert "aws_credentials" not in one.status("/status").json
    assert double.requests == []


def test_no_secret_stands_in_log_or_audit(gateway, aws, bed, tmp_path):
    sts, environment, _ = three_roles(aws, tmp_path)
    sts.lifetime_s = 9
    sts.instead.append(Reply(500, "text/xml", b"a secret in an error page"))
    one = gateway(environment=environment, node={"log_level": "debug"})
    read_until(one, 200)
    first = sts.minted[-1]
    wait_until(lambda: len(sts.minted) >= 6, 40, "a refresh")
    one.stop()
    texts = [one.log_text()]
    texts += [path.read_text(errors="replace") for path in one.audit_folder.rglob("*")]
    secrets = [s for _, *pair in [(k, *v[:2]) for k, v in sts.known.items()] for s in pair if s]
    assert len(secrets) >= 13
    for secret in [*secrets, "a secret in an error page"]:
        for form in (secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]):
            assert not any(form in text for text in texts)
    assert any(first.access_key_id in text for text in texts)


def test_a_program_is_run_again_and_its_failure_named(gateway, aws, tmp_path):
    double, environment, _ = process(aws, tmp_path)
    double.lifetime_s = 9
    write_answer(double, tmp_path / "answer")
    one = gateway(environment=environment)
    assert read(one).status == 200
    (tmp_path / "answer").unlink()
    wait_until(lambda: identity(one)["state"] == "stale", 30, "the failure of a refresh")
    last = identity(one)["last_error"]
    assert "credential_process ended with an error" in last
    assert "exit status 1: cat: " in last and "No such file" in last
    double.lifetime_s = 3600
    write_answer(double, tmp_path / "answer")
    wait_until(lambda: identity(one)["state"] == "ready", 60, "the next run")
    assert identity(one)["expires"] == double.minted[-1].expires
    text = one.log_text()
    for session in double.minted:
        assert session.secret_access_key not in text and session.session_token not in text


def environment_of(session):
    return {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
        "AWS_CREDENTIAL_EXPIRATION": session.expires,
    }


def test_kong_never_notices_an_ended_session_of_the_environment(gateway, aws):
    session = aws(Container).mint(seconds=8)
    one = gateway(environment=environment_of(session))
    assert read(one).status == 200
    assert identity(one)["source"] == "environment"
    wait_until(lambda: identity(one)["state"] == "failed", 30, "the session's end")
    assert "start again with fresh ones" in identity(one)["last_error"]
    warnings = one.status("/status/ready").json["warnings"]
    assert "aws_credentials" in [w["reason"] for w in warnings]


def test_a_reload_says_that_the_environment_stays(gateway, aws):
    session = aws(Container).mint()
    one = gateway(environment=environment_of(session))
    assert read(one).status == 200
    assert "aws_environment_kept" not in one.log_text()
    one.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "aws_environment_kept" in one.log_text(), 20, "the reload's word")
    assert read(one).status == 200


def test_kong_reads_a_rewritten_credentials_file_never(gateway, aws, bed, tmp_path):
    double = aws(Container)
    file = tmp_path / "credentials"

    def write(session):
        fresh = tmp_path / "fresh"
        fresh.write_text(
            f"[default]\naws_access_key_id = {session.access_key_id}\n"
            f"aws_secret_access_key = {session.secret_access_key}\n"
            f"aws_session_token = {session.session_token}\n"
        )
        fresh.chmod(0o644)
        fresh.rename(file)

    write(double.mint())
    one = gateway(environment={"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    assert read(one).status == 200
    assert f"{file} can be read by other users of this host" in one.log_text()
    write(double.mint())

    def fresh_login():
        bed.superuser_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
        )
        read(one)
        return logins(one)[-1]["access_key_id"] == double.minted[1].access_key_id

    wait_until(fresh_login, 30, "a login with the rewritten file's key")
    read_until(one, 200)
    assert one.log_text().count("aws_file_exposed") == 1


@pytest.mark.parametrize("source", [container, instance, identity_center, process])
def test_kong_logs_tokens_at_debug(gateway, aws, tmp_path, source):
    double, environment, _ = source(aws, tmp_path)
    one = gateway(environment=environment, node={"log_level": "debug"})
    read_until(one, 200)
    one.stop()
    secrets = [s for m in double.minted for s in (m.secret_access_key, m.session_token)]
    secrets += getattr(double, "sessions", [])  # of the instance's metadata
    secrets += getattr(double, "tokens", [])  # of IAM Identity Center
    secrets += [double.authorization] if getattr(double, "authorization", None) else []
    for oidc in getattr(double, "beside", []):
        assert len(oidc.created) == 1
        secrets += [oidc.client[1], "the-refresh-token", oidc.created[0]["refreshToken"]]
    assert len(secrets) >= 2
    texts = [one.log_text()]
    texts += [path.read_text(errors="replace") for path in one.audit_folder.rglob("*")]
    assert any(double.minted[-1].access_key_id in text for text in texts)
    for secret in secrets:
        for form in (secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]):
            assert not any(form in text for text in texts)


def test_a_region_that_nothing_says_is_asked_of_the_instance_again_and_again(bed, issuer, aws):
    double = aws(InstanceMetadata)
    double.region = ""
    with PostgresBed(hostname="db.internal.example") as own:
        shop.set_up(own, harness.binary())
        service = served.service(own, [served.route("one", "select 1 as one")])
        service["iam_auth"] = {"hostname": own.hostname}
        text = served.config(own, issuer, [service], ca=bed.ca)
        one = harness.Sallyport(own, issuer, config=text, environment=double.environment())
        try:
            one.start()
            token = one.mint("alice")
            assert one.get("/one", token).status == 503
            shown = one.status("/status").json["services"][0]["last_error"]
            assert "the AWS region is not known" in shown
            double.region = own.region

            def served_now():
                session = double.minted[-1]
                own.set_keys(
                    [AccessKey(session.access_key_id, session.secret_access_key,
                               session.session_token)]
                )
                return one.get("/one", token).status == 200

            wait_until(served_now, 60, "the region")
            assert logins(one)[-1]["credential_source"] == "instance_metadata"
        finally:
            one.close()


def test_a_reload_may_bring_the_first_service_whose_region_has_to_be_found(bed, issuer, aws):
    """Until then another service's region was the process's: it is no reason not to ask."""
    double = aws(InstanceMetadata)
    with PostgresBed(hostname="db.internal.example") as own:
        double.region = own.region
        shop.set_up(own, harness.binary())

        def config(region):
            service = served.service(own, [served.route("one", "select 1 as one")])
            service["iam_auth"] = {"hostname": own.hostname, **region}
            return served.config(own, issuer, [service], ca=bed.ca)

        one = harness.Sallyport(own, issuer, config=config({"region": "ap-south-2"}),
                                environment=double.environment())
        try:
            one.start()
            wait_until(lambda: identity(one)["state"] == "ready", 30, "the credentials")
            session = double.minted[-1]
            own.set_keys([AccessKey(session.access_key_id, session.secret_access_key,
                                    session.session_token)])
            assert one.get("/one", one.mint("alice")).status == 503  # signed for elsewhere
            one.write_config(config({}))
            one.process.send_signal(signal.SIGHUP)
            wait_until(lambda: one.get("/one", one.mint("alice")).status == 200, 30, "a login")
        finally:
            one.close()


def test_a_stop_while_a_token_is_refreshed_asks_for_nothing_more(gateway, aws, tmp_path):
    portal, environment, _ = identity_center(aws, tmp_path)
    oidc, asked, go_on = portal.beside[0], threading.Event(), threading.Event()
    real = oidc.answer

    def answer(request):
        asked.set()
        assert go_on.wait(30)
        return real(request)

    oidc.answer = answer
    (cache,) = (tmp_path / ".aws" / "sso" / "cache").glob("*.json")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300))
    cache.write_text(cache.read_text().replace("2020-01-01T00:00:00Z", soon))  # still good
    one = gateway(start=False, environment=environment).launch()
    try:
        assert asked.wait(30)
        one.stop()
    finally:
        go_on.set()
    assert portal.requests == []
