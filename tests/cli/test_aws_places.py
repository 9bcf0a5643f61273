"""Where AWS is: regions that are discovered, endpoints of a profile, roots, proxies; and tokens
signed with every source."""

import datetime
import json
import pathlib
import ssl
import sys
import unittest.mock

import botocore.session
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from aws_command import Whoami, run  # noqa: E402
from bed.ca import Authority  # noqa: E402
from doubles.aws import (  # noqa: E402
    Container,
    Double,
    InstanceMetadata,
    Sts,
    reply_json,
    reply_text,
)
from doubles.proxy import ConnectProxy  # noqa: E402
from doubles.sso import Portal  # noqa: E402

KEY, SECRET = "AKIAEXAMPLE123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
ROLE = "arn:aws:iam::123456789012:role/"
HOST = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"


class TaskMetadata(Double):
    """The task metadata endpoint of ECS, version 4, as far as it concerns the region."""

    zone = "ap-southeast-2b"

    def environment(self):
        return {"ECS_CONTAINER_METADATA_URI_V4": f"{self.url}/v4/abc"}

    def answer(self, request):
        if (request.method, request.path) != ("GET", "/v4/abc/task"):
            return reply_text("", 404)
        return reply_json({"Cluster": "shop", "AvailabilityZone": self.zone, "Containers": []})


@pytest.fixture
def make():
    made = []

    def one(kind, *arguments, **options):
        made.append(kind(*arguments, **options))
        return made[-1]

    yield one
    for double in made:
        double.close()


# -- the region ----------------------------------------------------------------------------------


def test_the_region_is_discovered_in_its_order(make, tmp_path):
    task, instance = make(TaskMetadata), make(InstanceMetadata)
    values = {**KEYS, **instance.environment(), **task.environment()}
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-north-1\n")
    steps = [
        ({"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-west-1"}, "us-east-2"),
        ({"AWS_DEFAULT_REGION": "us-west-1"}, "us-west-1"),
        ({}, "eu-north-1"),
    ]
    for more, region in steps:
        more = {**more, "AWS_CONFIG_FILE": str(config)}
        assert Whoami({**values, **more}, "--offline")["Region"] == region
    assert task.requests == [] and instance.requests == []
    assert Whoami(values, "--offline")["Region"] == "ap-southeast-2"
    assert instance.requests == []
    task.zone = "us-west-2-lax-1a"
    got = Whoami(values, "--offline")
    assert got["Region"] == "us-west-2"
    assert got["STS"] == "https://sts.us-west-2.amazonaws.com/, signed for us-west-2"
    task.zone = ""
    assert Whoami(values, "--offline")["Region"] == "eu-south-2"
    del values["ECS_CONTAINER_METADATA_URI_V4"]
    assert Whoami(values, "--offline")["Region"] == "eu-south-2"
    assert [(r.method, r.path) for r in instance.requests[-2:]] == [
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/placement/region"),
    ]


def test_version_one_is_not_asked_for_the_region_either(make):
    instance = make(InstanceMetadata)
    instance.instead.append(reply_text("", 403))
    got = Whoami({**KEYS, **instance.environment()}, "--offline")
    assert got.good
    assert "Region" not in got.fields
    assert len(instance.requests) == 1


def test_a_role_is_assumed_where_the_discovered_region_says(make, tmp_path):
    task, sts = make(TaskMetadata), make(Sts, region="ap-southeast-2")
    sts.web_tokens.add("a.b.c")
    (tmp_path / "token").write_text("a.b.c")
    values = {
        **task.environment(),
        "AWS_ENDPOINT_URL_STS": sts.url,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_ARN": ROLE + "pod",
    }
    got = Whoami(values)
    assert got.good, got.error
    assert got["STS"] == f"{sts.url}/, signed for ap-southeast-2"
    assert got["ARN"] == "arn:aws:sts::123456789012:assumed-role/pod/sallyport"


# -- endpoints of the profile --------------------------------------------------------------------


def test_endpoints_go_from_special_to_general(make, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"[default]\nregion = eu-west-1\nservices = local\nendpoint_url = https://profile.test/p\n"
        f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        "[services other]\nsts =\n  endpoint_url = https://other.test\n"
        "[services local]\nsso =\n  endpoint_url = https://sso.test\n"
        "sts =\n  endpoint_url = https://services.test/s\n"
    )
    environment = {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL": "https://all.test/a",
        "AWS_ENDPOINT_URL_STS": "https://sts.test/x",
    }

    def sts():
        return Whoami(environment, "--offline")["STS"].split(",")[0]

    assert sts() == "https://sts.test/x"
    del environment["AWS_ENDPOINT_URL_STS"]
    assert sts() == "https://all.test/a"
    del environment["AWS_ENDPOINT_URL"]
    assert sts() == "https://services.test/s"
    config.write_text(config.read_text().replace("services = local\n", ""))
    assert sts() == "https://profile.test/p"
    environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    assert sts() == "https://sts.eu-west-1.amazonaws.com/"


# -- roots and proxies ---------------------------------------------------------------------------


@pytest.fixture
def tls_sts(make, tmp_path, monkeypatch):
    """STS over TLS by a private authority, also under a name that leads nowhere by itself."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("sts", ["localhost", "sts.proxied.invalid"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setattr(Double, "tls", context)
    double = make(Sts)
    monkeypatch.undo()
    double.know(KEY, SECRET)
    double.roots = str(authority.file)
    return double


def test_sts_is_trusted_by_the_bundle_that_is_named(tls_sts, tmp_path):
    values = {**KEYS, **tls_sts.environment()}
    got = Whoami({**values, "AWS_CA_BUNDLE": tls_sts.roots})
    assert got["Account"] == "123456789012"
    assert got["STS"].startswith("https://localhost:")
    got = Whoami(values)
    assert got["Account"].startswith("not known: the TLS handshake or the check")
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {tls_sts.roots}\n")
    assert Whoami({**values, "AWS_CONFIG_FILE": str(config)})["Account"] == "123456789012"
    assert len(tls_sts.requests) == 2


def test_sts_is_reached_through_the_proxy_and_loopback_never(tls_sts, make):
    proxy = make(ConnectProxy, ("127.0.0.1", tls_sts.port))
    values = {
        **KEYS,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_STS": "https://sts.proxied.invalid/",
        "AWS_CA_BUNDLE": tls_sts.roots,
        "HTTPS_PROXY": proxy.url,
    }
    got = Whoami(values)
    assert got["Account"] == "123456789012", got.text
    assert proxy.asked == ["CONNECT sts.proxied.invalid:443 HTTP/1.1"]
    assert len(tls_sts.requests) == 1
    got = Whoami({**values, "NO_PROXY": "169.254.169.254,.invalid"})
    assert got["Account"].startswith("not known")
    assert len(proxy.asked) == 1
    # Local endpoints are asked directly, whatever the proxy's settings.
    container = make(Container)
    del values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"]
    values.update(container.environment(), **tls_sts.environment(), ALL_PROXY=proxy.url)
    container.on_mint = lambda s: tls_sts.know(
        s.access_key_id, s.secret_access_key, s.session_token
    )
    got = Whoami({**values, "http_proxy": proxy.url})
    assert got["Account"] == "123456789012", got.text
    assert len(proxy.asked) == 1


# -- tokens --------------------------------------------------------------------------------------


def check_token(text, session):
    """The token equals botocore's in the second that it says itself."""
    at = datetime.datetime.strptime(text.split("X-Amz-Date=")[1][:16], "%Y%m%dT%H%M%SZ")

    class Frozen(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return at

    one = botocore.session.Session()
    one.set_credentials(*session)
    with unittest.mock.patch("botocore.auth.datetime.datetime", Frozen):
        client = one.create_client("rds", region_name="eu-west-1")
        assert text == client.generate_db_auth_token(HOST, 5432, "app")


def environment_source(make, folder):
    return {**KEYS, "AWS_SESSION_TOKEN": "t+/" * 700}, lambda: (KEY, SECRET, "t+/" * 700)


def profile_source(make, folder):
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    values = {"AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")}
    return values, lambda: (KEY, SECRET, None)


def process_source(make, folder):
    answer = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": "t=" * 9}
    (folder / "answer").write_text(json.dumps(answer))
    (folder / "config").write_text(f"[default]\ncredential_process = cat '{folder / 'answer'}'\n")
    return {"AWS_CONFIG_FILE": str(folder / "config")}, lambda: (KEY, SECRET, "t=" * 9)


def minted(double):
    session = double.minted[-1]
    return session.access_key_id, session.secret_access_key, session.session_token


def web_identity_source(make, folder):
    sts = make(Sts)
    sts.web_tokens.add("a.b.c")
    (folder / "token").write_text("a.b.c")
    values = {
        **sts.environment(),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ROLE_ARN": ROLE + "pod",
    }
    return values, lambda: minted(sts)


def roles_source(make, folder):
    sts = make(Sts)
    sts.know(KEY, SECRET)
    (folder / "config").write_text(
        f"[default]\nrole_arn = {ROLE}b\nsource_profile = a\n"
        f"[profile a]\nrole_arn = {ROLE}a\nsource_profile = keys\n"
        f"[profile keys]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    values = {**sts.environment(), "AWS_CONFIG_FILE": str(folder / "config")}
    return values, lambda: minted(sts)


def sso_source(make, folder):
    portal = make(Portal)
    portal.tokens.add("the-token")
    (folder / ".aws" / "sso" / "cache").mkdir(parents=True)
    name = botocore.utils.SSOTokenLoader()._generate_cache_key("https://start", None)
    (folder / ".aws" / "sso" / "cache" / f"{name}.json").write_text(
        json.dumps({"accessToken": "the-token", "expiresAt": "2099-01-01T00:00:00Z"})
    )
    (folder / ".aws" / "config").write_text(
        "[default]\nsso_start_url = https://start\nsso_region = eu-west-1\n"
        "sso_account_id = 123456789012\nsso_role_name = shop reader\n"
    )
    return {"HOME": str(folder), "AWS_ENDPOINT_URL_SSO": portal.url}, lambda: minted(portal)


def container_source(make, folder):
    double = make(Container)
    return double.environment(), lambda: minted(double)


def instance_source(make, folder):
    double = make(InstanceMetadata)
    return double.environment(), lambda: minted(double)


@pytest.mark.parametrize(
    "source",
    [
        environment_source,
        profile_source,
        process_source,
        web_identity_source,
        roles_source,
        sso_source,
        container_source,
        instance_source,
    ],
)
def test_a_token_is_signed_with_every_source(make, tmp_path, source):
    values, session = source(make, tmp_path)
    done = run("token", values, "--hostname", HOST, "--port", "5432", "--username", "app")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    check_token(done.stdout[:-1], session())


def test_a_token_of_a_named_profile_looks_nowhere_else(make, tmp_path):
    config = tmp_path / "config"
    config.write_text("[profile p]\naws_access_key_id = AKIAP\naws_secret_access_key = of-p\n")
    values = {**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_CONFIG_FILE": str(config)}
    order = ("--hostname", HOST, "--port", "5432", "--username", "app")
    done = run("token", values, *order, "--profile", "p")
    assert done.returncode == 0, done.stderr
    check_token(done.stdout[:-1], ("AKIAP", "of-p", None))
    done = run("token", values, *order, "--profile", "q")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no profile q" in done.stderr
    got = Whoami(values, "--offline", "--profile", "p")
    assert (got["Profile"], got["Key"]) == ("p", "AKIAP")
    for command in ("token", "whoami"):  # an empty variable of a script must not mean another
        done = run(command, values, *(order if command == "token" else ()), "--profile", "")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "Error: --profile wants a name\n"


def test_the_region_of_a_token_may_be_discovered(make):
    task = make(TaskMetadata)
    order = ("--hostname", "db.example.com", "--port", "5432", "--username", "app")
    done = run("token", {**KEYS, **task.environment()}, *order)
    assert "%2Fap-southeast-2%2Frds-db%2F" in done.stdout
    done = run("token", KEYS, *order)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no region is known: give --region" in done.stderr
