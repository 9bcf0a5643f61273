"""AWS as moto (PyPI) plays it: STS and Secrets Manager of somebody else's making."""

import contextlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request

import botocore.session
import psycopg2

import harness
from bed.postgres import AccessKey, PostgresBed, free_port, wait_until

REGION = "eu-west-1"
FIRST = "first-password"


@contextlib.contextmanager
def server(program):
    """moto's server as a process of its own; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers():
        assert process.poll() is None, "moto's server ended"
        try:
            return urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_until(answers, 60, "moto's first answer")
        yield url
    finally:
        process.terminate()
        process.wait()


def run(url, *arguments, key, **more):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        **key.environment(),
        **more,
    }
    done = subprocess.run(
        [str(harness.binary()), *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sts(program):
    """Whose keys they are, and a chain of two roles, by moto's STS."""
    key = AccessKey.fresh()
    with server(program) as url:
        said = run(url, "whoami", key=key)
        assert re.search(r"^Account: +123456789012$", said, re.M), said
        config = harness.ROOT / "build-peers/moto-config"
        role = "arn:aws:iam::123456789012:role/"
        config.write_text(
            f"[default]\nrole_arn = {role}second\nsource_profile = a\n"
            f"[profile a]\nrole_arn = {role}first\nsource_profile = keys\n"
            f"[profile keys]\naws_access_key_id = {key.access_key_id}\n"
            f"aws_secret_access_key = {key.secret_access_key}\n"
        )
        none = AccessKey("", "")
        said = run(url, "whoami", key=none, AWS_CONFIG_FILE=str(config))
        assert "assumed-role/second/sallyport" in said, said


def secrets_manager(program):
    """`sallyport rotate`, three times, on a secret that moto's Secrets Manager holds."""
    key = AccessKey.fresh(temporary=True)
    with server(program) as url, PostgresBed() as bed:
        hba = bed.data / "pg_hba.conf"
        text = hba.read_text().replace("host    all all      all      reject\n", "")
        hba.write_text(text + "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        bed.superuser_script(
            "select pg_reload_conf(); create role r nologin;"
            f"create role app login noinherit password '{FIRST}'; grant r to app;"
            f"create role master login createrole password '{FIRST}'"
        )
        client = botocore.session.Session().create_client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )

        def put(name, user):
            document = {"engine": "postgres", "host": "localhost", "port": bed.port}
            document |= {"dbname": "shop", "username": user, "password": FIRST}
            client.create_secret(Name=name, SecretString=json.dumps(document))

        put("prod/app", "app")
        put("prod/master", "master")
        for options, user in (
            ((), "app"),
            (("--strategy", "alternating-users"), "app_clone"),
            (("--strategy", "alternating-users"), "app"),
        ):
            before = value(client, "AWSCURRENT")
            said = run(
                url, "rotate", "prod/app", "--sslrootcert", str(bed.ca.file),
                "--master-secret", "prod/master", *options, key=key,
            )
            assert "done: the secret is rotated" in said, said
            now = value(client, "AWSCURRENT")
            assert now["username"] == user and now["password"] != before["password"]
            assert value(client, "AWSPREVIOUS") == before
            psycopg2.connect(
                host="localhost", port=bed.port, dbname="shop", sslmode="require",
                user=user, password=now["password"],
            ).close()


def value(client, stage):
    return json.loads(
        client.get_secret_value(SecretId="prod/app", VersionStage=stage)["SecretString"]
    )
