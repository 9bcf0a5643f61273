"""`credential_process`: what the program is given, and what of it is shown; beside botocore."""

import json
import os
import pathlib
import stat
import sys

import botocore.session
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from aws_command import Whoami  # noqa: E402
from doubles.aws import Sts  # noqa: E402

KEY, SECRET = "AKIAEXAMPLE123456789", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
GOOD = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET}
ROLE = "arn:aws:iam::123456789012:role/"


class Helper:
    """A program that notes its arguments and gives `answer`; and the files that name it."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "my helper"
        self.path.write_text(
            "#!/usr/bin/python3\nimport json, pathlib, sys\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            "(folder / 'arguments').write_text(json.dumps(sys.argv[1:]))\n"
            "plan = json.loads((folder / 'plan').read_text())\n"
            "sys.stderr.write(plan['message'])\nsys.stdout.write(plan['output'])\n"
            "sys.exit(plan['status'])\n"
        )
        self.path.chmod(0o755)
        self.config = folder / "config"
        self.name("")
        self.plan(GOOD)

    def name(self, arguments, more=""):
        self.config.write_text(
            f'[default]\nregion = eu-west-1\ncredential_process = "{self.path}" {arguments}\n{more}'
        )

    def plan(self, output, status=0, message=""):
        text = output if isinstance(output, str) else json.dumps(output)
        (self.folder / "plan").write_text(
            json.dumps({"output": text, "status": status, "message": message})
        )

    @property
    def arguments(self):
        return json.loads((self.folder / "arguments").read_text())

    @property
    def environment(self):
        return {"AWS_CONFIG_FILE": str(self.config)}


@pytest.fixture
def helper(tmp_path):
    return Helper(tmp_path)


@pytest.fixture
def botocore_sees(monkeypatch, helper):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(helper.config))
    return lambda: botocore.session.Session().get_credentials().get_frozen_credentials()


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "one two",
        '"two words" \'single "quoted"\'',
        r"a\ b \"c \\ d\e",
        r'"a\"b" "c\\d" "e\f" "$HOME" "`id`"',
        r"'a\b' ''",
        '""',
        "~ * $HOME ${HOME} $(id) `id` | cat && false > /dev/null",
        "a'b'\"c\"d\\'",
        "  many   blanks\tand tabs  ",
        "--flag=\"x y\" -v",
    ],
)
def test_the_words_are_those_that_botocore_gives(helper, botocore_sees, arguments):
    helper.name(arguments)
    assert botocore_sees().access_key == KEY
    expected = helper.arguments
    (helper.folder / "arguments").unlink()
    got = Whoami(helper.environment, "--offline")
    assert got.good, got.error
    assert got["Source"] == "profile+credential_process"
    assert got["Key"] == KEY
    assert helper.arguments == expected


def test_its_expiry_and_token_are_taken(helper):
    helper.plan({**GOOD, "SessionToken": "t" * 2000, "Expiration": "2099-01-02T03:04:05+00:00"})
    got = Whoami(helper.environment, "--offline")
    assert got["Expires"].startswith("2099-01-02T03:04:05Z")
    helper.plan({**GOOD, "SessionToken": None, "Expiration": None, "AccountId": "1"})
    assert Whoami(helper.environment, "--offline")["Expires"].startswith("never")


@pytest.mark.parametrize(
    "plan, reason",
    [
        ((GOOD, 3, "  no ticket\n\tlog in first \n"), "exit status 3: no ticket  log in first"),
        ((GOOD, 1, ""), "exit status 1"),
        (({**GOOD, "Version": 2},), "another Version"),
        (({**GOOD, "Version": "1"},), "another Version"),
        (({"AccessKeyId": KEY, "SecretAccessKey": SECRET},), "no JSON object with Version"),
        (({"Version": 1, "AccessKeyId": KEY},), "no JSON object with"),
        (("",), "no JSON object with"),
        ((json.dumps(GOOD) + "x",), "no JSON object with"),
        (({**GOOD, "Expiration": "tomorrow"},), "no JSON object with"),
        (({**GOOD, "Expiration": "2020-01-01T00:00:00Z"},), "have ended already"),
        (({**GOOD, "Expiration": "1970-01-01T00:00:00Z"},), "have ended already"),
        ((json.dumps(GOOD) + " " * 65536,), "larger than allowed|wrote more than"),
    ],
)
def test_what_goes_wrong_is_told_and_its_output_never(helper, plan, reason):
    helper.plan(*plan)
    got = Whoami(helper.environment, "--offline")
    assert not got.good
    assert any(part in got.error for part in reason.split("|")), got.error
    assert SECRET not in got.text + got.error


def test_a_program_that_is_not_there_is_named(helper):
    helper.path.unlink()
    got = Whoami(helper.environment, "--offline")
    assert not got.good
    assert f"{helper.path}: no such file or directory" in got.error
    helper.name('"open')
    assert "open quote" in Whoami(helper.environment, "--offline").error


def test_keys_in_the_profile_go_before_it(helper):
    helper.name("", "aws_access_key_id = AKIAOWN\naws_secret_access_key = own\n")
    got = Whoami(helper.environment, "--offline")
    assert (got["Source"], got["Key"]) == ("profile", "AKIAOWN")
    assert not (helper.folder / "arguments").exists()


def test_it_is_the_base_of_a_chain_of_roles(helper):
    double = Sts()
    try:
        double.know(KEY, SECRET)
        helper.name("", f"[profile app]\nrole_arn = {ROLE}app\nsource_profile = default\n")
        got = Whoami({**helper.environment, **double.environment()}, "--profile", "app")
        assert got.good, got.error
        assert got["Source"] == "profile+credential_process+assume_role"
        assert got["ARN"] == "arn:aws:sts::123456789012:assumed-role/app/sallyport"
    finally:
        double.close()


# -- the files' permissions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, warned",
    [
        (0o600, None),
        (0o640, None),
        (0o644, "read"),
        (0o620, "written"),
        (0o666, "read and written"),
    ],
)
def test_a_credentials_file_that_others_can_use_is_warned_of(tmp_path, mode, warned):
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    file.chmod(mode)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    got = Whoami(
        {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_REGION": "eu-west-1"}, "--offline"
    )
    assert got.good
    close = "g-w,o=" if mode & 0o020 else "o="
    expected = (
        f"{file} can be {warned} by other users of this host (mode {mode:04o}): chmod {close} it."
    )
    assert got.fields.get("Warning") == (expected if warned else None)
    elsewhere = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    values = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_REGION": "eu-west-1", **elsewhere}
    assert "Warning" not in Whoami(values, "--offline").fields
