"""`sallyport token` beside botocore, in the second that the token itself says."""
import datetime
import os
import re
import subprocess
import unittest.mock

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.credentials import Credentials

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
HOST = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"
KEY, SECRET = "AKIAEXAMPLE123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEHMaCWV1LXdlc3QtMSJIMEYCIQD+/==" * 30


def run(*arguments, token=None, **environment):
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "HOME": "/nonexistent",
           "AWS_EC2_METADATA_DISABLED": "true", **environment}
    if token:
        env["AWS_SESSION_TOKEN"] = token
    env = {k: v for k, v in env.items() if v is not None}
    return subprocess.run([PROGRAM, "token", *arguments], env=env, capture_output=True, text=True,
                          check=False)


def frozen_at(text):
    """botocore's clock, stopped at the X-Amz-Date of the token."""
    at = datetime.datetime.strptime(re.search(r"X-Amz-Date=(\w+)", text)[1], "%Y%m%dT%H%M%SZ")

    class Frozen(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return at
    age = datetime.datetime.utcnow() - at
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    return unittest.mock.patch("botocore.auth.datetime.datetime", Frozen)


def expected(text, host, port, user, region, token):
    session = botocore.session.Session()
    session.set_credentials(KEY, SECRET, token)
    with frozen_at(text):
        return session.create_client("rds", region_name=region).generate_db_auth_token(
            host, port, user)


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("user", ["app", "a+b", "a&b", "a=b", "100%", "a%2Fb", "team/app",
                                  "me@example.com", "two words", " ", "Zoë-日本", "a;b?c#d"])
def test_token_equals_botocores(user, token):
    got = run("--hostname", HOST, "--port", "5432", "--username", user, token=token)
    assert got.returncode == 0, got.stderr
    text = got.stdout[:-1]
    assert got.stdout == text + "\n"
    assert text == expected(text, HOST, 5432, user, "eu-west-1", token)


@pytest.mark.parametrize("port", [1, 443, 65535])
def test_ports(port):
    text = run("--hostname", HOST, "--port", str(port), "--username", "app").stdout[:-1]
    assert text == expected(text, HOST, port, "app", "eu-west-1", None)


@pytest.mark.parametrize("option,action", [("--dsql", "DbConnect"),
                                           ("--dsql-admin", "DbConnectAdmin")])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_dsql(option, action, token):
    host = "abcdefghij.dsql.us-east-1.on.aws"
    text = run("--hostname", host, option, "--expires-in", "1200", token=token).stdout[:-1]
    request = {"url_path": "/", "query_string": "", "headers": {}, "body": {"Action": action},
               "method": "GET"}
    prepare_request_dict(request, "https://" + host)
    request = create_request_object(request)
    with frozen_at(text):
        botocore.auth.SigV4QueryAuth(Credentials(KEY, SECRET, token), "dsql", "us-east-1",
                                     1200).add_auth(request)
    assert "https://" + text == request.prepare().url


def test_region_is_the_option_then_the_hosts_then_the_environments():
    def region(host, *arguments, **environment):
        text = run("--hostname", host, "--port", "1", "--username", "u", *arguments,
                   **environment).stdout
        return text.split("%2F")[2]
    assert region(HOST, AWS_REGION="us-east-1") == "eu-west-1"
    assert region(HOST, "--region", "ap-south-1", AWS_REGION="us-east-1") == "ap-south-1"
    assert region("db.example.com", AWS_REGION="us-east-1",
                  AWS_DEFAULT_REGION="us-east-2") == "us-east-1"
    assert region("db.example.com", AWS_DEFAULT_REGION="us-east-2") == "us-east-2"


GOOD = ("--hostname", HOST, "--port", "5432", "--username", "app")


@pytest.mark.parametrize("arguments,environment,message", [
    (GOOD[2:], {}, "--hostname is missing"),
    (GOOD[:2] + GOOD[4:], {}, "--port is missing"),
    (GOOD[:4], {}, "--username is missing"),
    (GOOD + ("--port", "65536"), {}, "--port wants"),
    (GOOD + ("--port", "5432x"), {}, "--port wants"),
    (GOOD + ("--profile", "x"), {}, "there is no profile x"),
    (GOOD + ("--profile", ""), {}, "--profile wants a name"),
    (GOOD + ("--dsql",), {}, "no port and no user"),
    (GOOD + ("--expires-in", "60"), {}, "--expires-in is for Aurora DSQL"),
    (GOOD + ("more",), {}, "no argument without an option"),
    (("--hostname", "localhost") + GOOD[2:], {}, "give --region"),
    (("--hostname", "a/b") + GOOD[2:] + ("--region", "eu-west-1"), {}, "needs a host name"),
    (GOOD, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
     "no source of AWS credentials"),
    (GOOD, {"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY is not"),
    (GOOD, {"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID is not"),
    (GOOD, {"AWS_SECRET_ACCESS_KEY": "x\n"}, "a line end"),
])
def test_mistakes_are_named(arguments, environment, message):
    got = run(*arguments, **environment)
    assert got.returncode == 1
    assert got.stdout == ""
    assert message in got.stderr
    assert SECRET not in got.stderr


def test_help():
    got = run("--help")
    assert got.returncode == 0 and got.stdout.startswith("usage: sallyport token")
