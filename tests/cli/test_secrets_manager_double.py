"""botocore against the double of AWS Secrets Manager: so it is held to the real API."""

import base64
import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

import botocore.config
import botocore.exceptions
import botocore.session
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from doubles.secrets_manager import (  # noqa: E402
    BROKEN,
    CURRENT,
    HANG_UP,
    PENDING,
    PREVIOUS,
    THROTTLED,
    SecretsManager,
)

KEY, SECRET = "AKIAEXAMPLE123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKENS = [f"{i:08d}-0000-4000-8000-000000000000" for i in range(8)]


@pytest.fixture(autouse=True)
def no_aws(monkeypatch):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def double():
    made = SecretsManager()
    made.know(KEY, SECRET)
    yield made
    made.close()


def client_of(double, key=KEY, secret=SECRET, token=None, region="eu-west-1"):
    return botocore.session.Session().create_client(
        "secretsmanager",
        region_name=region,
        endpoint_url=double.url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def client(double):
    return client_of(double)


def refused(code, call, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def stages(client, name="shop"):
    return client.describe_secret(SecretId=name)["VersionIdsToStages"]


# -- who asks ------------------------------------------------------------------------------------


def test_only_a_good_signature_of_a_known_caller_is_heard(double):
    double.put("shop", "x")
    double.know("ASIAEXAMPLE", "s", "the-token")
    get = {"SecretId": "shop"}
    assert client_of(double, "ASIAEXAMPLE", "s", "the-token").get_secret_value(**get)
    for code, wrong in (
        ("UnrecognizedClientException", client_of(double, "AKIAOTHER")),
        ("UnrecognizedClientException", client_of(double, "ASIAEXAMPLE", "s", "other")),
        ("UnrecognizedClientException", client_of(double, token="not-mine")),
        ("InvalidSignatureException", client_of(double, secret="other")),
        ("InvalidSignatureException", client_of(double, region="us-east-1")),
    ):
        refused(code, wrong.get_secret_value, **get)
    assert double.count("GetSecretValue") == 1


def test_what_is_not_in_the_model_is_refused(double):
    """What botocore would not even send: an unknown operation, an unsigned request."""
    for target in ("secretsmanager.GetSecretValue", "secretsmanager.No", "other.GetSecretValue"):
        request = urllib.request.Request(
            double.url + "/",
            json.dumps({"SecretId": "x"}).encode(),
            {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        kind = json.loads(caught.value.read())["__type"]
        assert kind == (
            "MissingAuthenticationTokenException"
            if target == "secretsmanager.GetSecretValue"
            else "UnknownOperationException"
        )


def test_a_denied_action_says_who_and_what(double, client):
    double.put("shop", "x")
    double.denied.add("GetSecretValue")
    message = refused("AccessDeniedException", client.get_secret_value, SecretId="shop")
    assert "arn:aws:iam::123456789012:user/bed is not authorized to perform: secretsm" in message


# -- reading -------------------------------------------------------------------------------------


def test_a_secret_is_found_by_name_arn_and_partial_arn(client):
    made = client.create_secret(Name="prod/shop", SecretString="x", ClientRequestToken=TOKENS[0])
    assert made["VersionId"] == TOKENS[0]
    for name in ("prod/shop", made["ARN"], made["ARN"][:-7]):
        got = client.get_secret_value(SecretId=name)
        assert (got["SecretString"], got["VersionId"]) == ("x", TOKENS[0])
        assert got["VersionStages"] == [CURRENT]
        assert "SecretBinary" not in got
    assert "specified secret." in refused(
        "ResourceNotFoundException", client.get_secret_value, SecretId="prod"
    )


def test_a_binary_secret_is_bytes(client):
    client.create_secret(Name="b", SecretBinary=b"\x00\xff")
    got = client.get_secret_value(SecretId="b")
    assert got["SecretBinary"] == b"\x00\xff"
    assert "SecretString" not in got
    assert base64.b64encode(b"\x00\xff") == b"AP8="


def test_versions_are_found_by_stage_and_id(double, client):
    client.create_secret(Name="shop", SecretString="1", ClientRequestToken=TOKENS[1])
    client.put_secret_value(SecretId="shop", SecretString="2", ClientRequestToken=TOKENS[2])

    def text(**which):
        return client.get_secret_value(SecretId="shop", **which)["SecretString"]

    assert text() == text(VersionStage=CURRENT) == text(VersionId=TOKENS[2]) == "2"
    assert text(VersionStage=PREVIOUS) == text(VersionId=TOKENS[1], VersionStage=PREVIOUS) == "1"
    message = refused(
        "ResourceNotFoundException", client.get_secret_value, SecretId="shop", VersionStage=PENDING
    )
    assert message.endswith("secret value for staging label: AWSPENDING")
    message = refused(
        "ResourceNotFoundException", client.get_secret_value, SecretId="shop", VersionId=TOKENS[5]
    )
    assert message.endswith(f"secret value for VersionId: {TOKENS[5]}")
    refused(
        "InvalidRequestException",
        client.get_secret_value,
        SecretId="shop",
        VersionId=TOKENS[1],
        VersionStage=CURRENT,
    )
    double.secret("shop").deleted = 1.0
    refused("InvalidRequestException", client.get_secret_value, SecretId="shop")
    assert client.describe_secret(SecretId="shop")["DeletedDate"].timestamp() == 1


def test_a_description_says_who_rotates(double, client):
    double.put("shop", "x", owning_service="rds", rotation_enabled=True, last_rotated=1.5e9)
    got = client.describe_secret(SecretId="shop")
    assert got["OwningService"] == "rds"
    assert got["RotationEnabled"] is True
    assert got["LastRotatedDate"].timestamp() == 1.5e9
    refused("InvalidRequestException", client.put_secret_value, SecretId="shop", SecretString="y")
    double.put("plain", "x")
    assert not {"OwningService", "RotationEnabled", "LastRotatedDate"} & set(
        client.describe_secret(SecretId="plain")
    )


# -- writing -------------------------------------------------------------------------------------


def test_a_secret_is_made_once(client):
    client.create_secret(Name="shop", SecretString="1", ClientRequestToken=TOKENS[1])
    client.create_secret(Name="shop", SecretString="1", ClientRequestToken=TOKENS[1])
    for token, text in ((TOKENS[1], "2"), (TOKENS[2], "1")):
        refused(
            "ResourceExistsException",
            client.create_secret,
            Name="shop",
            SecretString=text,
            ClientRequestToken=token,
        )
    two = {"SecretString": "", "SecretBinary": b""}
    refused("InvalidParameterException", client.create_secret, Name="t", **two)


def test_a_put_with_a_token_of_before_is_the_same_put(client):
    client.create_secret(Name="shop", SecretString="1", ClientRequestToken=TOKENS[1])
    put = {"SecretId": "shop", "ClientRequestToken": TOKENS[2], "VersionStages": [PENDING]}
    for _ in range(2):
        assert client.put_secret_value(**put, SecretString="2")["VersionStages"] == [PENDING]
    refused("ResourceExistsException", client.put_secret_value, **put, SecretString="3")
    refused("InvalidRequestException", client.put_secret_value, **put)
    assert stages(client) == {TOKENS[1]: [CURRENT], TOKENS[2]: [PENDING]}


def test_a_put_moves_its_labels(client):
    client.create_secret(Name="shop")
    assert "VersionIdsToStages" not in client.describe_secret(SecretId="shop")
    refused("ResourceNotFoundException", client.get_secret_value, SecretId="shop")
    for i in range(1, 4):
        client.put_secret_value(SecretId="shop", SecretString=str(i), ClientRequestToken=TOKENS[i])
    assert stages(client) == {TOKENS[2]: [PREVIOUS], TOKENS[3]: [CURRENT]}
    for i in range(4, 6):
        client.put_secret_value(
            SecretId="shop",
            SecretString=str(i),
            ClientRequestToken=TOKENS[i],
            VersionStages=[PENDING],
        )
    assert stages(client) == {TOKENS[2]: [PREVIOUS], TOKENS[3]: [CURRENT], TOKENS[5]: [PENDING]}
    listed = client.list_secret_version_ids(SecretId="shop", IncludeDeprecated=True)["Versions"]
    assert {v["VersionId"] for v in listed} == set(TOKENS[1:6])


def test_labels_are_moved_by_the_rules(client):
    client.create_secret(Name="shop", SecretString="1", ClientRequestToken=TOKENS[1])
    client.put_secret_value(
        SecretId="shop", SecretString="2", ClientRequestToken=TOKENS[2], VersionStages=[PENDING]
    )
    move = {"SecretId": "shop", "VersionStage": CURRENT, "MoveToVersionId": TOKENS[2]}
    message = refused("InvalidParameterException", client.update_secret_version_stage, **move)
    assert "RemoveFromVersionId can't be empty. Staging label AWSCURRENT is" in message
    assert f"attached to version {TOKENS[1]}" in message
    refused(
        "InvalidParameterException",
        client.update_secret_version_stage,
        **move,
        RemoveFromVersionId=TOKENS[2],
    )
    refused(
        "ResourceNotFoundException",
        client.update_secret_version_stage,
        **{**move, "MoveToVersionId": TOKENS[7]},
        RemoveFromVersionId=TOKENS[1],
    )
    refused(
        "InvalidParameterException",
        client.update_secret_version_stage,
        SecretId="shop",
        VersionStage=CURRENT,
        RemoveFromVersionId=TOKENS[1],
    )
    assert stages(client) == {TOKENS[1]: [CURRENT], TOKENS[2]: [PENDING]}
    client.update_secret_version_stage(**move, RemoveFromVersionId=TOKENS[1])
    assert stages(client) == {TOKENS[1]: [PREVIOUS], TOKENS[2]: [CURRENT, PENDING]}
    client.update_secret_version_stage(
        SecretId="shop", VersionStage=PENDING, RemoveFromVersionId=TOKENS[2]
    )
    client.update_secret_version_stage(
        SecretId="shop",
        VersionStage=CURRENT,
        RemoveFromVersionId=TOKENS[2],
        MoveToVersionId=TOKENS[1],
    )
    assert stages(client) == {TOKENS[1]: [CURRENT], TOKENS[2]: [PREVIOUS]}


def test_a_random_password_has_what_was_asked_for(client):
    def password(**options):
        return client.get_random_password(**options)["RandomPassword"]

    assert len(password()) == 32
    made = password(PasswordLength=200, ExcludeCharacters="/@\"'\\ abc", ExcludeNumbers=True)
    assert len(made) == 200
    assert not set(made) & set("/@\"'\\ abc0123456789")
    assert any(c.isupper() for c in made) and any(c.islower() for c in made)
    only = {"ExcludeLowercase": True, "ExcludeUppercase": True, "ExcludePunctuation": True}
    assert password(**only).isdigit()
    refused("InvalidParameterException", client.get_random_password, **only, ExcludeNumbers=True)
    refused("InvalidParameterException", client.get_random_password, PasswordLength=2)


# -- the switches --------------------------------------------------------------------------------


def test_outages_look_like_the_real_ones(double, client):
    double.put("shop", "x")
    ask = {"SecretId": "shop"}
    double.outage = THROTTLED
    assert refused("ThrottlingException", client.get_secret_value, **ask) == "Rate exceeded"
    double.outage = BROKEN
    refused("InternalServiceError", client.get_secret_value, **ask)
    double.outage = HANG_UP
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.get_secret_value(**ask)
    double.outage = None
    double.failures["GetSecretValue"].append(THROTTLED)
    refused("ThrottlingException", client.get_secret_value, **ask)
    assert client.get_secret_value(**ask)["SecretString"] == "x"


def test_a_lost_answer_was_done_all_the_same(double, client):
    double.put("shop", "1")
    double.lost["PutSecretValue"] = 1
    put = {"SecretId": "shop", "SecretString": "2", "ClientRequestToken": TOKENS[2]}
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.put_secret_value(**put)
    assert client.get_secret_value(SecretId="shop")["SecretString"] == "2"
    assert client.put_secret_value(**put)["VersionId"] == TOKENS[2]
    assert len(double.secret("shop").versions) == 2
