"""IAM Identity Center: `sallyport whoami` and botocore against the doubles of portal and OIDC."""

import datetime
import json
import os
import pathlib
import stat
import sys

import botocore.config
import botocore.exceptions
import botocore.session
import botocore.utils
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from aws_command import Whoami  # noqa: E402
from doubles.aws import Reply, Sts  # noqa: E402
from doubles.sso import Oidc, Portal  # noqa: E402

START = "https://example.awsapps.com/start"
ROLE = "arn:aws:iam::123456789012:role/"


def stamp(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def center(tmp_path):
    made = Center(tmp_path)
    yield made
    made.portal.close()
    made.oidc.close()


class Center:
    """The doubles, a home directory, and the token that `aws sso login` would have left there."""

    def __init__(self, home):
        self.home = home
        self.portal = Portal()
        self.oidc = Oidc(self.portal)
        self.config = home / ".aws" / "config"
        self.cache = home / ".aws" / "sso" / "cache"
        self.cache.mkdir(parents=True)
        self.write_config(
            "[default]\nsso_session = my session\nsso_account_id = 123456789012\n"
            f"sso_role_name = shop reader\n[sso-session my session]\nsso_region = eu-west-1\n"
            f"sso_start_url = {START}\nsso_registration_scopes = sso:account:access\n"
        )

    def write_config(self, text):
        self.config.write_text(text)

    def environment(self):
        return {
            "HOME": str(self.home),
            "AWS_ENDPOINT_URL_SSO": self.portal.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": self.oidc.url,
        }

    def file(self, name=None):
        """The path as botocore's own loader would have it."""
        key = botocore.utils.SSOTokenLoader()._generate_cache_key(START, name)
        return self.cache / f"{key}.json"

    def log_in(self, seconds, name="my session", **more):
        token = {
            "startUrl": START,
            "region": "eu-west-1",
            "accessToken": "access-" + os.urandom(8).hex(),
            "expiresAt": stamp(seconds),
            "clientId": self.oidc.client[0],
            "clientSecret": self.oidc.client[1],
            "registrationExpiresAt": stamp(86400),
            "refreshToken": "refresh-" + os.urandom(8).hex(),
            **more,
        }
        token = {key: value for key, value in token.items() if value is not None}
        self.portal.tokens.add(token["accessToken"])
        self.oidc.refresh_tokens.add(token.get("refreshToken"))
        self.file(name).write_text(json.dumps(token))
        self.file(name).chmod(0o600)
        return token


def client(service, double):
    return botocore.session.Session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=double.url,
        config=botocore.config.Config(
            signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1}
        ),
    )


def test_botocore_and_the_doubles_understand_each_other(center):
    token = center.log_in(3600)
    portal, oidc = client("sso", center.portal), client("sso-oidc", center.oidc)
    asked = {"roleName": "shop reader", "accountId": "123456789012"}
    got = portal.get_role_credentials(accessToken=token["accessToken"], **asked)
    assert got["roleCredentials"]["accessKeyId"] == center.portal.minted[-1].access_key_id
    with pytest.raises(botocore.exceptions.ClientError, match="token not found"):
        portal.get_role_credentials(accessToken="wrong", **asked)
    names = ("clientId", "clientSecret", "refreshToken")
    fresh = oidc.create_token(grantType="refresh_token", **{n: token[n] for n in names})
    portal.get_role_credentials(accessToken=fresh["accessToken"], **asked)
    with pytest.raises(botocore.exceptions.ClientError):
        oidc.create_token(grantType="refresh_token", **{n: token[n] for n in names})


def test_the_cached_token_of_a_session_buys_credentials(center):
    center.log_in(3600)
    got = Whoami(center.environment(), "--offline")
    assert got.good, got.error
    assert got["Source"] == "profile+sso"
    assert got["Key"] == center.portal.minted[-1].access_key_id
    assert got["Expires"].startswith(center.portal.minted[-1].expires)
    assert center.portal.requests[-1].query == "role_name=shop%20reader&account_id=123456789012"
    assert center.oidc.requests == []
    assert "Warning" not in got.fields


def test_the_legacy_form_names_its_cache_by_the_start_url(center):
    center.write_config(
        f"[profile old]\nsso_start_url = {START}\nsso_region = eu-west-1\n"
        "sso_account_id = 123456789012\nsso_role_name = shop reader\n"
    )
    center.log_in(3600, None, expiresAt=stamp(3600).replace("Z", "UTC"))
    got = Whoami(center.environment(), "--offline", "--profile", "old")
    assert got.good, got.error
    assert got["Source"] == "profile+sso"
    assert got["Profile"] == "old"


def test_a_token_near_its_end_is_refreshed_and_written_back(center):
    before = center.log_in(600, unknown={"kept": [1, 2.50, "x"]})
    got = Whoami(center.environment(), "--offline")
    assert got.good, got.error
    created = center.oidc.created[-1]
    assert center.portal.requests[-1].headers["x-amz-sso_bearer_token"] == created["accessToken"]
    path = center.file("my session")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in center.cache.iterdir()] == [path.name]
    after = json.loads(path.read_text())
    changed = {"accessToken", "expiresAt", "refreshToken"}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    assert after["accessToken"] == created["accessToken"]
    assert after["refreshToken"] == created["refreshToken"]
    assert stamp(28700) < after["expiresAt"] <= stamp(28800)
    loader = botocore.utils.SSOTokenLoader(botocore.utils.JSONFileCache(str(center.cache)))
    assert loader(START, session_name="my session")["accessToken"] == created["accessToken"]
    # The next run needs no refresh.
    assert Whoami(center.environment(), "--offline").good
    assert len(center.oidc.requests) == 1


def test_an_ended_token_that_can_be_refreshed_is(center):
    center.log_in(-10)
    assert Whoami(center.environment(), "--offline").good
    assert len(center.oidc.created) == 1


def test_while_its_refresh_fails_a_valid_token_serves(center):
    token = center.log_in(600)
    center.oidc.refresh_tokens.clear()
    assert Whoami(center.environment(), "--offline").good
    assert json.loads(center.file("my session").read_text()) == token


@pytest.mark.parametrize(
    "more, reason",
    [
        ({}, "the refresh failed: status 400 invalid_grant: the refresh token is not known"),
        ({"clientSecret": "x"}, "status 401 invalid_client"),
        ({"refreshToken": None}, "aws sso login"),
        ({"registrationExpiresAt": "2020-01-01T00:00:00Z"}, "aws sso login"),
        ({"accessToken": "a b"}, "no accessToken"),
        ({"expiresAt": "soon"}, "no expiresAt"),
        ({"expiresAt": None}, "no expiresAt"),
    ],
)
def test_a_token_that_cannot_serve_is_named(center, more, reason):
    token = center.log_in(-10, **more)
    center.oidc.refresh_tokens.clear()
    got = Whoami(center.environment(), "--offline")
    assert not got.good
    assert reason in got.error
    for secret in ("clientSecret", "refreshToken", "accessToken"):
        assert len(token.get(secret) or "") < 5 or token[secret] not in got.text + got.error


def test_a_missing_token_asks_for_a_login(center):
    got = Whoami(center.environment(), "--offline")
    assert not got.good
    assert "aws sso login" in got.error and "No such file" in got.error


def test_what_the_portal_refuses_is_told(center):
    center.log_in(3600)
    center.portal.tokens.clear()
    got = Whoami(center.environment(), "--offline")
    assert "status 401 UnauthorizedException: Session token not found or invalid" in got.error
    assert "aws sso login" in got.error
    for reply, reason in [
        (Reply(429, "application/json", b'{"__type":"TooManyRequestsException"}'), "TooMany"),
        (Reply(500, "text/html", b"<html>"), "status 500"),
        (Reply(200, "application/json", b'{"roleCredentials":{}}'), "does not hold"),
        (Reply(200, "application/json", b'{"roleCred'), "does not hold"),
    ]:
        center.portal.instead.append(reply)
        got = Whoami(center.environment(), "--offline")
        assert not got.good and reason in got.error


def test_it_is_the_base_of_a_chain_of_roles(center):
    sts = Sts()
    try:
        center.portal.on_mint = lambda s: sts.know(
            s.access_key_id, s.secret_access_key, s.session_token
        )
        center.log_in(3600)
        text = center.config.read_text().replace("[default]", "[profile base]")
        center.write_config(
            text + f"[default]\nrole_arn = {ROLE}shop\nsource_profile = base\nregion = eu-west-1\n"
        )
        got = Whoami({**center.environment(), **sts.environment()})
        assert got.good, got.error
        assert got["Source"] == "profile+sso+assume_role"
        assert got["ARN"] == "arn:aws:sts::123456789012:assumed-role/shop/sallyport"
    finally:
        sts.close()


def test_a_cache_that_others_can_read_is_warned_of(center):
    center.log_in(3600)
    center.file("my session").chmod(0o644)
    got = Whoami(center.environment(), "--offline")
    assert got.good
    assert got["Warning"] == (
        f"{center.file('my session')} can be read by other users of this host (mode 0644): "
        "chmod o= it."
    )
