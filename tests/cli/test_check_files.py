"""`sallyport check` opens the files that a configuration names: keys, certificate, key."""
import datetime
import json
import os
import pathlib
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SALLYPORT", str(ROOT / "build/src/cli/sallyport"))
sys.path.insert(0, str(ROOT / "tools"))

from dev_issuer import Keys  # noqa: E402

TWO_ISSUERS = """
_format_version: "3.0"
issuers:
- name: dev
  issuer: https://one.example.com
  audience: [a]
  jwks_file: jwks.json
- name: other
  issuer: https://{other}.example.com
  audience: [b]
"""


def check(*arguments):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    return subprocess.run([PROGRAM, "check", *map(str, arguments)], env=clean, text=True,
                          capture_output=True, check=False)


@pytest.fixture(name="served")
def written_yaml(tmp_path):
    path = tmp_path / "sallyport.yaml"
    path.write_text(TWO_ISSUERS.format(other="two"))
    return path


# -- keys of issuers ----------------------------------------------------------------------------


@pytest.mark.parametrize("text,said", [
    ('{"keys": [\n{"kty": "RSA",}]}', "line 2 is not JSON"),
    ("", "line 1 is not JSON"),
    ('{"kids": []}', "the key set is not a JWK Set"),
    ('{"keys": []}', "no key of the set can verify a signature"),
    ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
     "no key of the set can verify a signature"),
    (" " * 256 * 1024 + "{}", "the key set is too large"),
    (" " * 1024 * 1024 + "{}", "the key set is too large"),
], ids=range(7))
def test_a_jwks_file_must_hold_a_key_that_verifies(served, text, said):
    (served.parent / "jwks.json").write_text(text)
    got = check(served)
    assert got.returncode == 1
    assert got.stderr.splitlines() == [
        f"{served}:4: error: issuer dev: jwks_file {served.parent}/jwks.json: {said}",
        "Error: 1 mistake in the configuration"]


def test_a_good_jwks_file_is_no_mistake(served, tmp_path):
    (tmp_path / "jwks.json").write_text(json.dumps(Keys(tmp_path / "keys").jwks()))
    got = check(served)
    assert (got.returncode, got.stderr) == (0, "")


def test_asked_about_a_token_a_bad_jwks_file_is_a_warning(served, tmp_path):
    """What the token's check says of the keys is the answer."""
    (tmp_path / "jwks.json").write_text("{}")
    (tmp_path / "token").write_text("a.b.c")
    got = check("--token", tmp_path / "token", served)
    assert f"{served}:4: warning: issuer dev: jwks_file" in got.stderr
    assert "mistake in the configuration" not in got.stderr


def test_two_issuers_of_one_iss_are_told_with_both_lines(served):
    (served.parent / "jwks.json").write_text(json.dumps(Keys(served.parent / "keys").jwks()))
    served.write_text(TWO_ISSUERS.format(other="one"))
    got = check(served)
    assert got.returncode == 1
    assert got.stderr.splitlines()[0] == (
        f"{served}:9:11: error: the issuer 'https://one.example.com' stands here a second time; "
        "the first is on line 5")


# -- the door's certificate ---------------------------------------------------------------------


def node_with(tmp_path, begin_days, end_days, mode=0o600):
    """sallyport.conf with a certificate that is valid between these days from now."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    begin, end = (now + datetime.timedelta(days=days) for days in (begin_days, end_days))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                   .public_key(key.public_key()).serial_number(7)
                   .not_valid_before(begin).not_valid_after(end).sign(key, hashes.SHA256()))
    (tmp_path / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "tls.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    (tmp_path / "tls.key").chmod(mode)
    (tmp_path / "sallyport.yaml").write_text('_format_version: "3.0"\n')
    conf = tmp_path / "sallyport.conf"
    conf.write_text("declarative_config = sallyport.yaml\n"
                    "proxy_listen = 127.0.0.1:8443 ssl\nssl_cert = tls.crt\n"
                    "ssl_cert_key = tls.key\n")
    return conf, begin.date().isoformat(), end.date().isoformat()


@pytest.mark.parametrize("begin,end,said", [
    (-30, -1, "expired on {end}: clients will refuse it"),
    (1, 30, "is valid from {begin} only: clients will refuse it"),
    (-80, 10, "expires on {end}: renew it, then 'sallyport reload'"),
    (-80, 15, None),
    (-3, 2, None),  # of a short life a third is left
    (-5, 1, "expires on {end}: renew it, then 'sallyport reload'"),
])
def test_a_certificate_that_ends_is_a_warning(tmp_path, begin, end, said):
    conf, from_day, to_day = node_with(tmp_path, begin, end)
    got = check("-c", conf)
    assert got.returncode == 0
    assert got.stderr == ("" if said is None else (
        f"{conf}: warning: ssl_cert {tmp_path}/tls.crt "
        f"{said.format(begin=from_day, end=to_day)}\n"))


@pytest.mark.parametrize("mode,warned", [(0o600, False), (0o640, False), (0o644, True)])
def test_a_key_that_everybody_can_read_is_a_warning(tmp_path, mode, warned):
    conf, _, _ = node_with(tmp_path, -1, 300, mode)
    got = check("-c", conf)
    assert got.returncode == 0
    assert got.stderr == ("" if not warned else (
        f"{conf}: warning: ssl_cert_key {tmp_path}/tls.key can be read by everybody (mode 0644): "
        "chmod o= it\n"))


def test_a_mistake_of_the_node_s_is_none_of_what_it_serves(tmp_path):
    conf, _, _ = node_with(tmp_path, -1, 300)
    (tmp_path / "tls.crt").write_text("not a certificate\n")
    (tmp_path / "other.yaml").write_text('_format_version: "3.0"\nnonsense: 1\n')
    bad = (f"{conf}: error: ssl_cert {tmp_path}/tls.crt, ssl_cert_key {tmp_path}/tls.key: "
           "the certificate file is not a PEM certificate chain")
    got = check("-c", conf)
    assert (got.returncode, got.stderr.splitlines()) == (
        1, [bad, "Error: 1 mistake in the configuration"])
    # Nor are those of one file another's.
    got = check("-c", conf, tmp_path / "other.yaml", tmp_path / "sallyport.yaml")
    lines = got.stderr.splitlines()
    assert lines[0] == bad and lines[1].startswith(f"{tmp_path}/other.yaml:2:1: error: ")
    assert (got.returncode, lines[2:]) == (1, ["Error: 2 mistakes in the configuration"])
