"""The examples of Kong's page on IAM authentication to Amazon RDS, letter for letter, in the
environment and in the file, with and without --kong-compat."""
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import kong_conf  # noqa: E402

STS = "https://your.endpoint.to.aws.sts.service.amazonaws.com"
ARN = "arn:aws:iam::123456789012:role/gateway"  # where the page has <role_arn>
SESSION = "node-1"  # and <role_session_name>
READ_WRITE = ["KONG_PG_IAM_AUTH=on"]
READ_ONLY = ["KONG_PG_IAM_AUTH=off", "KONG_PG_RO_IAM_AUTH=on"]
ROLES = [
    f"KONG_PG_IAM_AUTH_ASSUME_ROLE_ARN={ARN}",
    f"KONG_PG_IAM_AUTH_ROLE_SESSION_NAME={SESSION}",
    f"KONG_PG_IAM_AUTH_STS_ENDPOINT_URL={STS}",
    f"KONG_PG_RO_IAM_AUTH_ASSUME_ROLE_ARN={ARN}",
    f"KONG_PG_RO_IAM_AUTH_ROLE_SESSION_NAME={SESSION}",
    f"KONG_PG_RO_IAM_AUTH_STS_ENDPOINT_URL={STS}",
]


def show(conf, lines, where, compat):
    """name -> (value, origin), with the lines in the environment or at the file's end."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    text = kong_conf.whole(proxy_listen="off", pg_ssl="", pg_ssl_verify="", pg_ssl_required="",
                           pg_host="rw.abc.eu-west-1.rds.amazonaws.com",
                           pg_ro_host="ro.abc.eu-west-1.rds.amazonaws.com",
                           pg_password="", allow_plaintext="on") if compat else (
        "pg_host = rw.abc.eu-west-1.rds.amazonaws.com\nallow_plaintext = on\n"
        "pg_ro_host = ro.abc.eu-west-1.rds.amazonaws.com\n")
    if where == "environment":
        environment |= dict(line.split("=", 1) for line in lines)
    else:
        named = [line.removeprefix("KONG_").split("=", 1) for line in lines]
        for name, value in named:
            text = re.sub(rf"^{name.lower()} = .*\n", "", text, flags=re.M)
            text += f"{name.lower()}={value}\n"
    conf.write_text(text)
    got = subprocess.run([PROGRAM, "config", "show", "-c", str(conf)]
                         + ["--kong-compat"] * compat, env=environment, capture_output=True,
                         text=True, check=False)
    assert got.returncode == 0, got.stderr
    assert " error: " not in got.stderr and "pg_iam" not in got.stderr, got.stderr
    return {line[1]: (line[2], line[3]) for line in
            re.finditer(r"^(\w+) = (.*?) +# (.*)$", got.stdout, re.M)}


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_page_s_lines_mean_what_they_mean_there(tmp_path, where, compat):
    conf = tmp_path / "kong.conf"

    def given(name):
        value, origin = said[name]
        here = f"KONG_{name.upper()} in the environment" if where == "environment" else str(conf)
        assert origin.startswith(here), (name, origin)
        return value

    said = show(conf, READ_WRITE, where, compat)
    assert given("pg_iam_auth") == "on"
    assert said["pg_ro_iam_auth"] == ("on", "from pg_iam_auth")
    assert said["pg_ssl"] == ("on", "from pg_iam_auth")
    assert said["pg_ssl_verify"][0] == "on"
    assert said["pg_ro_ssl"][0] == "on"

    said = show(conf, READ_ONLY, where, compat)
    assert (given("pg_iam_auth"), given("pg_ro_iam_auth")) == ("off", "on")
    assert said["pg_ssl"][0] == "off" and said["pg_ro_ssl"] == ("on", "from pg_ro_iam_auth")

    said = show(conf, READ_WRITE + ROLES, where, compat)
    for line in ROLES:
        name, value = line.removeprefix("KONG_").lower().split("=", 1)[0], line.split("=", 1)[1]
        assert given(name) == value
