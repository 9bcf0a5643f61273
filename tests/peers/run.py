#!/usr/bin/python3
"""Sallyport beside programs of other people, from other package registries.

    run.py [PEER...]

Each peer is installed by its own registry's client into build-peers/; one that cannot be fetched
here is skipped and named.  Ends with: N passed, N failed, N skipped.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests/wire"), str(ROOT / "tests"), str(HERE)]

import framing  # noqa: E402
import harness  # noqa: E402
import moto_peer  # noqa: E402
from bed import shop  # noqa: E402
from bed.postgres import AccessKey, PostgresBed  # noqa: E402

WORK = ROOT / "build-peers"
INSTALL_SECONDS = 300
AWSCLI = "awscli==1.38.0"
MOTO = "moto[server]==5.2.5"
NPM_PACKAGES = ("oauth2-mock-server@8.2.3", "oidc-provider@9.13.3")


class Skipped(Exception):
    """The peer cannot be had here, and why."""


def install(*command):
    if not shutil.which(command[0]):
        raise Skipped(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=WORK, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"{' '.join(command)} took over {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise Skipped((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])


def node_modules():
    """The JavaScript peers, all in one folder."""
    if not (WORK / "node_modules/oidc-provider").exists():
        (WORK / "package.json").write_text('{"private": true}')
        install("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES)


# -- aws: the token -----------------------------------------------------------------------------

USERS = ("app", "a+b", "a&b=c", "50%", "x/y@z", "with blank", "größe")


def aws_cli_token():
    """`sallyport token` prints what `aws rds generate-db-auth-token` prints in the same second."""
    python = WORK / "venv/bin/python"
    if not (WORK / "venv/bin/aws").exists():
        install("/usr/bin/python3", "-m", "venv", "venv")
        install(str(python), "-m", "pip", "install", "--quiet", AWSCLI)
    for key in (AccessKey.fresh(), AccessKey.fresh(temporary=True)):
        for user in USERS:
            assert_same_token(key, user)


def assert_same_token(key, user):
    options = ("--hostname", "db.abc.eu-west-1.rds.amazonaws.com", "--port", "5432")
    options += ("--username", user, "--region", "eu-west-1")
    environment = {"PATH": os.environ["PATH"], "HOME": str(WORK), **key.environment()}

    def said_by(*command):
        said = subprocess.check_output([*command, *options], env=environment, text=True)
        return said.strip()

    def second_of(token):
        return token.partition("X-Amz-Date=")[2][:16]

    for _ in range(20):  # until both fell into one second
        theirs = said_by(str(WORK / "venv/bin/aws"), "rds", "generate-db-auth-token")
        ours = said_by(str(harness.binary()), "token")
        if second_of(ours) == second_of(theirs):
            assert ours == theirs, f"{user}:\n{ours}\n{theirs}"
            return
    raise AssertionError("the two never ran within one second")


# -- moto: STS, Secrets Manager ------------------------------------------------------------------


def with_moto(check):
    def run():
        program = WORK / "venv-moto/bin/moto_server"
        if not program.exists():
            install("/usr/bin/python3", "-m", "venv", "venv-moto")
            python = str(WORK / "venv-moto/bin/python")
            install(python, "-m", "pip", "install", "--quiet", MOTO)
        check(program)

    run.__doc__ = check.__doc__
    return run


# -- OpenID Connect issuers ---------------------------------------------------------------------


class ForeignIssuer:
    """A JavaScript issuer in its own process; it prints one JSON line when it listens."""

    def __init__(self, script, bed):
        node_modules()
        certificate, key = bed.ca.issue(f"peer-{script}", ["localhost", "127.0.0.1"])
        self.process = subprocess.Popen(
            ["node", str(HERE / script), str(certificate), str(key)],
            env={**os.environ, "NODE_PATH": str(WORK / "node_modules")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{script} did not start")
        said = json.loads(line)
        self.issuer, self.token_endpoint = said["issuer"], said["token_endpoint"]

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def token(self, bed):
        said = subprocess.check_output(
            ["curl", "-sS", "--cacert", str(bed.ca.file), "-u", "alice:alice-secret"]
            + ["-d", "grant_type=client_credentials", "-d", "scope=orders.read"]
            + ["-d", "resource=api://orders", self.token_endpoint],
            text=True,
        )
        return json.loads(said)["access_token"]


def call_with_token_of(script):
    """A token of the foreign issuer reaches the database as Alice of tenant north."""
    with PostgresBed() as bed:
        shop.set_up(bed, harness.binary())
        issuer = ForeignIssuer(script, bed)
        try:
            gateway = harness.Sallyport(bed, issuer)
            try:
                gateway.start()
                answer = gateway.get("/orders/2", issuer.token(bed))
                assert answer.status == 200, answer
                assert answer.json["tenant"] == "north", answer
                assert gateway.get("/orders/2", "x" + issuer.token(bed)).status == 401
                assert gateway.wait_for_audit(answer.request_id)[0]["subject"] == "alice"
            finally:
                gateway.close()
        finally:
            issuer.stop()


def oauth2_mock_server():
    """oauth2-mock-server (npm) as the issuer."""
    call_with_token_of("oauth2_mock_server.js")


def oidc_provider():
    """oidc-provider (npm), a certified OpenID Connect server, as the issuer."""
    call_with_token_of("oidc_provider.mjs")


# -- HTTP servers -------------------------------------------------------------------------------


def same_requests(server):
    def check():
        if not shutil.which(server):
            raise Skipped(f"{server} is not installed")
        compared, stricter = framing.compare(server)
        assert compared > 150 and stricter > 20, (compared, stricter)

    check.__doc__ = f"{server} sees the requests that we see, in the corpus of connections."
    return check


PEERS = {
    "nginx": same_requests("nginx"),
    "node": same_requests("node"),
    "aws-cli": aws_cli_token,
    "moto-sts": with_moto(moto_peer.sts),
    "moto-secrets-manager": with_moto(moto_peer.secrets_manager),
    "oauth2-mock-server": oauth2_mock_server,
    "oidc-provider": oidc_provider,
}


def main():
    chosen = sys.argv[1:] or list(PEERS)
    WORK.mkdir(exist_ok=True)
    passed = failed = skipped = 0
    for name in chosen:
        try:
            PEERS[name]()
        except Skipped as why:
            skipped += 1
            print(f"{name}: skipped: {why}")
        except Exception:
            failed += 1
            print(f"{name}: FAILED\n{traceback.format_exc()}")
        else:
            passed += 1
            print(f"{name}: passed: {PEERS[name].__doc__}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
