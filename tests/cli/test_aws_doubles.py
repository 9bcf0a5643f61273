"""`sallyport whoami` against the doubles of AWS's endpoints, and botocore against the same ones,
so that the doubles are held to the real API."""

import os
import pathlib
import sys

import botocore.config
import botocore.exceptions
import botocore.session
import botocore.utils
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from aws_command import Whoami  # noqa: E402
from doubles.aws import Container, InstanceMetadata, Reply, Sts, reply_text  # noqa: E402

KEY, SECRET = "AKIAEXAMPLE123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
ROLE = "arn:aws:iam::123456789012:role/"


@pytest.fixture
def environment(monkeypatch):
    """Sets this process's environment for botocore, with nothing of AWS in it before."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def set_all(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture
def make():
    made = []

    def one(kind, **options):
        made.append(kind(**options))
        return made[-1]

    yield one
    for double in made:
        double.close()


@pytest.fixture
def sts(make):
    double = make(Sts)
    double.know(KEY, SECRET)
    return double


def botocores_key():
    credentials = botocore.session.Session().get_credentials()
    return credentials and credentials.get_frozen_credentials()


def sts_client(double):
    return botocore.session.Session().create_client(
        "sts", region_name=double.region, endpoint_url=double.url
    )


# -- instance metadata ---------------------------------------------------------------------------


def test_botocore_takes_credentials_of_the_instance_double(make, environment):
    double = make(InstanceMetadata)
    environment(double.environment())
    found = botocores_key()
    assert found.access_key == double.minted[-1].access_key_id
    assert found.token == double.minted[-1].session_token


def test_whoami_takes_credentials_of_the_instance(make):
    double = make(InstanceMetadata)
    got = Whoami({**double.environment(), "AWS_REGION": "eu-west-1"}, "--offline")
    assert got.good, got.error
    assert got["Source"] == "instance_metadata"
    assert got["Key"] == double.minted[-1].access_key_id
    assert got["Expires"].startswith(double.minted[-1].expires)
    assert [(r.method, r.path.rsplit("/", 1)[1]) for r in double.requests] == [
        ("PUT", "token"),
        ("GET", ""),
        ("GET", double.role),
    ]


def test_version_one_is_not_asked_when_version_two_is_refused(make):
    double = make(InstanceMetadata)
    double.instead.append(reply_text("", 403))
    got = Whoami({**double.environment(), "AWS_REGION": "eu-west-1"})
    assert not got.good
    assert "version 1 is not allowed" in got.error
    assert len(double.requests) == 1


# -- container -----------------------------------------------------------------------------------


@pytest.mark.parametrize("taker", ["botocore", "whoami"])
def test_a_containers_endpoint_gets_its_query_and_token(make, environment, taker):
    double = make(Container)
    double.authorization = "Basic abc=="
    values = {**double.environment(), "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Basic abc=="}
    if taker == "botocore":
        environment(values)
        assert botocores_key().access_key == double.minted[-1].access_key_id
    else:
        got = Whoami(values, "--offline")
        assert got["Source"] == "container"
        assert got["Key"] == double.minted[-1].access_key_id


def test_a_token_file_goes_before_the_variable(make, tmp_path):
    double = make(Container)
    double.authorization = "of-the-file"
    file = tmp_path / "token"
    file.write_text("of-the-file")
    values = {
        **double.environment(),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of-the-variable",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
    }
    assert Whoami(values, "--offline").good
    file.write_text("of-yesterday")
    got = Whoami(values, "--offline")
    assert not got.good
    assert "status 401 AccessDenied: wrong token" in got.error


# -- STS -----------------------------------------------------------------------------------------


def test_botocore_and_the_sts_double_understand_each_other(sts, environment):
    environment(KEYS)
    client = sts_client(sts)
    assert client.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/bed"
    sts.external_ids[ROLE + "shop"] = "x y"
    answer = client.assume_role(
        RoleArn=ROLE + "shop", RoleSessionName="me", ExternalId="x y", DurationSeconds=900
    )
    assert answer["Credentials"]["SessionToken"] == sts.minted[-1].session_token
    assert answer["Credentials"]["Expiration"] == sts.minted[-1].expiration
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.assume_role(RoleArn=ROLE + "shop", RoleSessionName="me")
    environment({**KEYS, "AWS_SECRET_ACCESS_KEY": "another"})
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        sts_client(sts).get_caller_identity()
    environment({**KEYS, "AWS_SESSION_TOKEN": "another"})
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidClientTokenId"):
        sts_client(sts).get_caller_identity()


def test_botocore_trades_a_web_identity_token(sts, environment):
    sts.web_tokens.add("a.b.c")
    answer = sts_client(sts).assume_role_with_web_identity(
        RoleArn=ROLE + "pod", RoleSessionName="me", WebIdentityToken="a.b.c"
    )
    assert answer["Credentials"]["AccessKeyId"] == sts.minted[-1].access_key_id
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidIdentityToken"):
        sts_client(sts).assume_role_with_web_identity(
            RoleArn=ROLE + "pod", RoleSessionName="me", WebIdentityToken="wrong"
        )


def signed_by(double, credentials):
    """A client of botocore with the credentials that an assumption answered."""
    return botocore.session.Session().create_client(
        "sts",
        region_name=double.region,
        endpoint_url=double.url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def refusal(call, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]


def test_botocore_assumes_with_everything_in_a_chain(sts, environment):
    environment(KEYS)
    tags = [{"Key": "team", "Value": "a b"}, {"Key": "empty", "Value": ""}]
    asked = {
        "RoleArn": ROLE + "first",
        "RoleSessionName": "alice@example.com",
        "SourceIdentity": "alice",
        "Tags": tags,
        "TransitiveTagKeys": ["team"],
        "Policy": '{"Version": "2012-10-17"}',
        "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/A"}, {"arn": "arn:aws:iam::aws:policy/B"}],
        "DurationSeconds": 43200,
    }
    first = sts_client(sts).assume_role(**asked)
    made = sts.assumed[-1]
    assert made.parameters == asked
    assert made.signer == KEY
    assert first["AssumedRoleUser"]["Arn"].endswith(":assumed-role/first/alice@example.com")
    assert sts.minted[-1].expiration == first["Credentials"]["Expiration"]
    sts.trust[ROLE + "second"] = ["arn:aws:sts::123456789012:assumed-role/first/"]
    second = signed_by(sts, first["Credentials"]).assume_role
    assert refusal(second, RoleArn=ROLE + "second", RoleSessionName="xy", DurationSeconds=3601)[
        "Message"
    ].endswith("by role chaining.")
    second(RoleArn=ROLE + "second", RoleSessionName="next")
    after = sts.assumed[-1]
    assert (after.signer, after.source_identity) == (made.access_key_id, "alice")
    assert (after.tags, after.transitive) == ({"team": "a b"}, {"team"})


def test_the_sts_double_refuses_what_sts_refuses(sts, environment):
    environment(KEYS)
    assume = sts_client(sts).assume_role
    role = {"RoleArn": ROLE + "first", "RoleSessionName": "alice"}
    tags = [{"Key": "team", "Value": "a"}]
    first = assume(**role, SourceIdentity="alice", Tags=tags, TransitiveTagKeys=["team"])
    chained = signed_by(sts, first["Credentials"]).assume_role
    assert refusal(chained, **role, SourceIdentity="bob")["Code"] == "AccessDenied"
    assert refusal(chained, **role, Tags=tags)["Code"] == "InvalidParameterValue"
    sts.untaggable_roles.add(ROLE + "first")
    sts.anonymous_roles.add(ROLE + "first")
    assert "sts:TagSession" in refusal(assume, **role, Tags=tags)["Message"]
    assert "sts:SetSourceIdentity" in refusal(assume, **role, SourceIdentity="x1")["Message"]
    sts.trust[ROLE + "first"] = ["arn:aws:iam::123456789012:user/other"]
    assert refusal(assume, **role)["Code"] == "AccessDenied"
    sts.trust.clear()
    assert refusal(assume, **role, Policy="no")["Code"] == "MalformedPolicyDocument"
    role["RoleSessionName"] = "no blanks"
    assert refusal(assume, **role)["Code"] == "ValidationError"
    count = len(sts.assumed)
    role["RoleSessionName"] = "alice"
    stranger = {"AccessKeyId": "ASIASTRANGER", "SecretAccessKey": "x", "SessionToken": "y"}
    answer = refusal(signed_by(sts, stranger).assume_role, **role)
    assert answer["Code"] == "InvalidClientTokenId"
    assert len(sts.assumed) == count


def test_the_sts_double_throttles(sts, environment):
    environment(KEYS)
    once = botocore.config.Config(retries={"max_attempts": 0})
    client = botocore.session.Session().create_client(
        "sts", region_name=sts.region, endpoint_url=sts.url, config=once
    )
    sts.per_second = 2
    answers = []
    for _ in range(3):
        try:
            client.get_caller_identity()
            answers.append("good")
        except botocore.exceptions.ClientError as error:
            answers.append(error.response["Error"]["Code"])
    assert answers == ["good", "good", "Throttling"]


def test_a_form_that_is_none_of_the_operations_is_refused(sts):
    parse = sts.query.parse
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": ROLE + "first"}
    form["RoleSessionName"] = "alice"
    assert parse(form) == {"RoleArn": ROLE + "first", "RoleSessionName": "alice"}
    for odd in (
        {"Tags.member.1.Key": "a"},
        {"Tags.member.2.Key": "a", "Tags.member.2.Value": "b"},
        {"PolicyArns.member.1.Arn": "x"},
        {"WebIdentityToken": "x"},
        {"TransitiveTagKeys.1": "x"},
    ):
        with pytest.raises(ValueError):
            parse({**form, **odd})


def test_whoami_says_whose_the_keys_are(sts):
    got = Whoami({**KEYS, **sts.environment()})
    assert got.good, got.error
    assert got["Account"] == "123456789012"
    assert got["ARN"] == "arn:aws:iam::123456789012:user/bed"
    assert got["Region"] == "eu-west-1"
    assert got["STS"] == f"{sts.url}/, signed for eu-west-1"


def test_keys_that_sts_refuses_are_no_success(sts):
    got = Whoami({**KEYS, "AWS_SECRET_ACCESS_KEY": "another", **sts.environment()})
    assert not got.good
    assert got["Source"] == "environment"
    assert "Error: STS refuses these credentials: status 403 SignatureDoesNotMatch" in got.error
    # Where STS cannot be reached the keys may be good: nobody said otherwise.
    assert Whoami({**KEYS, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}).good


def test_a_pods_token_becomes_a_session(sts, tmp_path):
    file = tmp_path / "token"
    file.write_text("a.b.c\n")
    sts.web_tokens.add("a.b.c")
    values = {
        **sts.environment(),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": ROLE + "pod",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/never-asked",
    }
    got = Whoami(values)
    assert got.good, got.error
    assert got["Source"] == "web_identity"
    assert got["ARN"] == "arn:aws:sts::123456789012:assumed-role/pod/sallyport"
    assert "Kong Gateway would have taken the container's endpoint" in got["Note"]


def test_three_roles_in_a_chain_are_assumed_in_their_order(sts, make, tmp_path):
    container = make(Container)
    container.on_mint = lambda s: sts.know(
        s.access_key_id, s.secret_access_key, s.session_token, "arn:aws:sts::1:assumed-role/task/x"
    )
    config = tmp_path / "config"
    config.write_text(
        f"[profile app]\nrole_arn = {ROLE}third\nsource_profile = b\nexternal_id = xy\n"
        f"[profile b]\nrole_arn = {ROLE}second\nsource_profile = a\nduration_seconds = 900\n"
        f"[profile a]\nrole_arn = {ROLE}first\ncredential_source = EcsContainer\n"
    )
    sts.external_ids[ROLE + "third"] = "xy"
    values = {
        **sts.environment(),
        **container.environment(),
        "AWS_CONFIG_FILE": str(config),
        "AWS_PROFILE": "app",
    }
    got = Whoami(values)
    assert got.good, got.error
    assert got["Source"] == "profile+assume_role"
    assert got["ARN"] == "arn:aws:sts::123456789012:assumed-role/third/sallyport"
    ours = [s.arn.split("/")[1] for s in sts.minted]
    assert ours == ["first", "second", "third"]
    sts.refused_roles.add(ROLE + "second")
    got = Whoami(values)
    assert not got.good
    assert f"role {ROLE}second: status 403 AccessDenied" in got.error


@pytest.mark.parametrize(
    "reply, reason",
    [
        (Reply(503, "text/xml", b""), "status 503"),
        (Reply(200, "text/xml", b"<AssumeRoleResponse><AssumeRoleRe"), "not the XML"),
        (Reply(200, "text/xml", b"<AssumeRoleResponse/>"), "does not hold"),
        (Reply(200, "text/html", b"<html><body>portal</body></html>"), "does not hold"),
        (Reply(302, "text/xml", b""), "redirect"),
        ("hang up", "no connection could be made, or it broke"),
    ],
)
def test_a_bad_answer_of_sts_is_told(sts, tmp_path, reply, reason):
    config = tmp_path / "config"
    sts.instead.extend([reply, reply])  # curl asks once more on a connection that was closed
    # The keys stand in the profile: in the environment they would go before it.
    config.write_text(
        f"[default]\nrole_arn = {ROLE}a\nsource_profile = default\n"
        f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    got = Whoami({**sts.environment(), "AWS_CONFIG_FILE": str(config)})
    assert not got.good
    assert reason in got.error
    assert SECRET not in got.text + got.error


def test_no_secret_is_printed(sts, make):
    double = make(InstanceMetadata)
    double.on_mint = lambda s: sts.know(s.access_key_id, s.secret_access_key, s.session_token)
    got = Whoami({**double.environment(), **sts.environment()})
    assert got.good, got.error
    session = double.minted[-1]
    for secret in (session.secret_access_key, session.session_token, *double.sessions):
        assert secret not in got.text + got.error
