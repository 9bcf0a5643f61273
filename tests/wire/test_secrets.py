"""Logins with secrets of AWS Secrets Manager: rotation under load, outages, reloads, and that no
secret is ever written down."""

import concurrent.futures
import json
import threading
import time

import psycopg2
import pytest

import harness
import served
from bed.postgres import AccessKey, wait_until
from doubles import secrets_manager
from doubles.aws import Sts
from doubles.secrets_manager import CURRENT, PENDING, ApiError, SecretsManager

USERS = ("app_secret", "app_secret_clone")
WHO = "select session_user::text as login, pg_backend_pid() as pid"
ROLE = "arn:aws:iam::123456789012:role/vault"


@pytest.fixture(scope="module")
def users(bed):
    """Logins by password, and a way to change it."""
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    line = f"hostssl all {','.join(USERS)} 127.0.0.1/32 scram-sha-256\n"
    hba.write_text(line + before)
    for user in USERS:
        bed.superuser_sql(f"create role {user} login noinherit")
        bed.superuser_sql(f"grant orders_reader, orders_writer to {user}")
    bed.superuser_sql("select pg_reload_conf()")
    yield USERS
    end_backends(bed)
    for user in USERS:
        bed.superuser_sql(f"drop role {user}")
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")


def set_password(bed, password, user=USERS[0]):
    bed.superuser_sql(f"alter role {user} password '{password}'")


def end_backends(bed):
    """Has PostgreSQL end the gateway's connections, so that the next call needs a login."""
    names = "', '".join(USERS)
    bed.superuser_sql(
        f"select pg_terminate_backend(pid) from pg_stat_activity where usename in ('{names}')"
    )


@pytest.fixture
def aws():
    """The double, which knows one key."""
    double = SecretsManager()
    double.key = AccessKey.fresh(temporary=True)
    double.know(
        double.key.access_key_id, double.key.secret_access_key, double.key.session_token
    )
    yield double
    double.close()


def environment(aws, **more):
    return {**aws.key.environment(), **aws.environment(), **more}


def document(password, user=USERS[0]):
    return {"username": user, "password": password, "engine": "postgres"}


def configuration(bed, issuer, vault=None, **login):
    """A service whose login is a secret; the vault `sm` has short times unless told."""
    if not login:
        login = {"secret": "{vault://sm/prod%2Fshop}"}
    made = served.service(bed, [served.route("who", WHO, result="one")], password=None)
    del made["password"]
    made["url"] = f"postgres://127.0.0.1:{bed.port}/{bed.database}"
    made.update(login)
    text = json.loads(served.config(bed, issuer, [made]))
    times = {"ttl": 300, "neg_ttl": 1, "resurrect_ttl": 3600}
    text["vaults"] = [{"name": "aws", "prefix": "sm", "config": {**times, **(vault or {})}}]
    return json.dumps(text)


@pytest.fixture
def served_by_secret(gateway, aws, bed, issuer, users):
    """Starts a gateway whose service logs in with the secret prod/shop."""

    def start(now="first-Passw0rd", vault=None, node=None, run=True, env=None, **login):
        set_password(bed, now)
        if "prod/shop" not in [s.name for s in aws.secrets.values()]:
            aws.put("prod/shop", document(now))
        return gateway(
            start=run,
            config=configuration(bed, issuer, {"endpoint_url": aws.url, **(vault or {})}, **login),
            node=node,
            environment=environment(aws, **(env or {})),
        )

    yield start
    end_backends(bed)


def who(gateway, expect=200):
    answer = gateway.get("/who", gateway.mint("alice"))
    assert answer.status == expect, answer.body
    return answer.json


def logins(gateway):
    return [r for r in gateway.audit() if r["kind"].startswith("login")]


def secrets_of(gateway):
    return gateway.status("/status").json["secrets"]


def test_a_login_takes_user_and_password_from_the_secret(served_by_secret, aws):
    one = served_by_secret()
    assert who(one)["login"] == USERS[0]
    event = logins(one)[-1]
    version = aws.secret("prod/shop").at(CURRENT).id
    assert event["kind"] == "login"
    assert event["database_user"] == USERS[0]
    assert event["auth_method"] == "secret"
    assert event["credential_source"] == f"sm/prod/shop#{version}"
    assert aws.count("GetSecretValue") == 1
    assert [a[1] for a in aws.actions] == [
        {"SecretId": "prod/shop", "VersionStage": "AWSCURRENT"}
    ]


def test_members_may_be_named_one_by_one(served_by_secret, aws):
    one = served_by_secret(
        user="{vault://sm/prod%2Fshop/username}", password="{vault://sm/prod%2Fshop/password}"
    )
    assert who(one)["login"] == USERS[0]
    assert aws.count("GetSecretValue") == 1
