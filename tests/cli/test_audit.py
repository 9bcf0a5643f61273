"""`sallyport audit` over a log made here from its description alone: an independent writer."""
import base64
import hashlib
import json
import os
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
BOOT = "20260102t030405-0123abcd"
INTENT = {"request_id": "r1", "trace_id": "t1", "method": "GET", "issuer": "https://idp",
          "subject": "alice", "client": "web", "auth_method": "jwt", "key_id": "k1",
          "token_expires": "2026-01-02T04:00:00.000000Z", "source": "192.0.2.1:5",
          "tls_version": "TLSv1.3", "decision": "allow", "decision_reason": "allowed",
          "role": "reader", "roles": [{"role": "admin", "verdict": "missing_group"},
                                      {"role": "reader", "verdict": "chosen"}],
          "service": "shop", "route": "order", "path_template": "/orders/{id}",
          "statement_sha256": "ab", "read_only": True, "database_role": "reader_role",
          "database_user": "app", "endpoint": "db:5432", "access_key_id": "AKIA"}
OUTCOME = {"request_id": "r1", "status": 200, "rows": 1, "sqlstate": "00000", "backend_pid": 77,
           "endpoint": "db:5432", "queue_us": 11, "database_us": 22, "total_us": 44}
LOGIN = {"endpoint": "db:5432", "database_user": "app", "auth_method": "iam",
         "access_key_id": "AKIA", "credential_source": "environment", "backend_pid": 77,
         "token_expires": "2026-01-02T03:19:00.000000Z", "duration_us": 5000}
DENIAL = {"request_id": "r2", "subject": "bob\x1b[2J\u009b", "method": "GET", "path": "/x",
          "status": 404, "reason": "no_role"}


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


def write(folder, worker, events):
    chain = "0" * 64
    records = [("03:04:05", "file", {"file": 1, "previous_chain": chain})] + events
    with open(folder / f"{BOOT}-w{worker}-1.jsonl", "w", encoding="utf-8") as f:
        for seq, (clock, kind, members) in enumerate(records, 1):
            body = dumps({"time": f"2026-01-02T{clock}.000000Z", "boot": BOOT, "worker": worker,
                          "seq": seq, "kind": kind, "node": "n", **members})[:-1]
            chain = hashlib.sha256((chain + body).encode()).hexdigest()
            f.write(f'{body},"chain":"{chain}"}}\n')
    return {"worker": worker, "file": 1, "seq": len(records), "chain": chain}


@pytest.fixture(name="folder")
def make_folder(tmp_path):
    heads = [write(tmp_path, 0, [("03:04:06", "login", LOGIN)]),
             write(tmp_path, 1, [("03:04:07", "intent", INTENT), ("03:04:08", "outcome", OUTCOME),
                                 ("03:04:09", "denial", DENIAL)])]
    key = Ed25519PrivateKey.generate()
    body = dumps({"time": "2026-01-02T03:04:10.000000Z", "boot": BOOT, "anchor": 1,
                  "previous": "0" * 64, "heads": heads})[:-1]
    signature = base64.urlsafe_b64encode(key.sign(body.encode())).rstrip(b"=").decode()
    (tmp_path / f"{BOOT}-anchors.jsonl").write_text(f'{body},"signature":"{signature}"}}\n')
    (tmp_path / "anchor.pub").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return tmp_path


def run(*arguments):
    return subprocess.run([PROGRAM, "audit", *map(str, arguments)], capture_output=True, text=True,
                          check=False)


def test_verify_takes_an_independent_writers_log(folder):
    got = run("verify", "--dir", folder)
    assert got.returncode == 0, got.stdout
    assert got.stdout == "6 records in 2 files of 1 runs, 1 anchors, 0 problems\n"


def test_verify_names_a_change(folder):
    file = folder / f"{BOOT}-w1-1.jsonl"
    file.write_text(file.read_text().replace('"rows":1', '"rows":2'))
    got = run("verify", "--dir", folder)
    assert got.returncode == 1
    assert f"BAD  {BOOT}-w1-1.jsonl:3 (seq 3)" in got.stdout and "[bad_record]" in got.stdout


def test_show_in_the_order_of_time_and_by_filters(folder):
    def kinds(*filters):
        lines = run("show", "--dir", folder, *filters).stdout.splitlines()
        return [line.split()[1] for line in lines]
    assert kinds() == ["login", "intent", "outcome", "denial"]
    assert kinds("--kind", "denial") == ["denial"]
    assert kinds("--subject", "alice") == ["intent", "outcome"]
    assert kinds("--since", "2026-01-02T03:04:08") == ["outcome", "denial"]
    assert kinds("--since", "1m") == []
    lines = run("show", "--dir", folder, "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["file", "file", "login", "intent",
                                                            "outcome", "denial"]
    shown = run("show", "--dir", folder).stdout
    assert "subject=bob?[2J? " in shown and "\x1b" not in shown and "\u009b" not in shown


def test_explain_tells_the_call(folder):
    got = run("explain", "--dir", folder, "r1")
    assert got.returncode == 0, got.stderr
    for words in ["alice", "https://idp", "key k1", "missing_group", "chosen", "reader_role",
                  "HTTP 200", "SQLSTATE 00000", "waiting 11 us, database 22 us, in all 44 us",
                  "environment", "TLSv1.3", "/orders/{id}", "backend 77"]:
        assert words in got.stdout
    denied = run("explain", "--dir", folder, "r2")
    assert denied.returncode == 0 and "no_role" in denied.stdout and "\x1b" not in denied.stdout


@pytest.mark.parametrize("arguments,message", [
    (("explain", "--dir", "{}", "nobody"), "no event of this request"),
    (("explain", "--dir", "{}"), "one REQUEST-ID"),
    (("show", "--dir", "{}", "--kind", "x"), "none of the events"),
    (("show", "--dir", "{}", "--since", "yesterday"), "--since wants"),
    (("verify", "--dir", "{}/none"), "cannot be read"),
    (("frobnicate",), "one of verify, show, explain, fields"),
])
def test_mistakes_are_named(folder, arguments, message):
    got = run(*[a.format(folder) for a in arguments])
    assert got.returncode == 1 and message in got.stderr


def test_fields_are_the_schemas_table():
    got = run("fields")
    assert got.returncode == 0
    assert "| `request_id` | text | intent, outcome, auth_failure, denial |" in got.stdout


def test_the_page_about_the_log_has_the_schemas_table():
    with open(os.path.join(ROOT, "docs/AUDIT.md"), encoding="utf-8") as page:
        assert page.read().endswith("\n\n" + run("fields").stdout)


def test_shipped_anchors_show_a_run_that_is_gone(folder, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("elsewhere") / "anchors.jsonl"
    anchors = folder / f"{BOOT}-anchors.jsonl"
    shipped.write_bytes(anchors.read_bytes())
    done = run("verify", "--dir", folder, "--anchors", shipped)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0, "1 shipped anchors, 0 of them missing")
    for file in folder.glob(f"{BOOT}-*"):
        file.unlink()
    assert run("verify", "--dir", folder).returncode == 0
    done = run("verify", "--dir", folder, "--anchors", shipped)
    assert done.returncode == 1
    assert f"BAD  {shipped}:1: this anchor was shipped and is not in the folder" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 shipped anchors, 1 of them missing"


def test_a_shipped_copy_that_is_cut_off_is_refused(folder, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("elsewhere") / "anchors.jsonl"
    shipped.write_bytes((folder / f"{BOOT}-anchors.jsonl").read_bytes()[:-5])
    done = run("verify", "--dir", folder, "--anchors", shipped)
    assert done.returncode == 1
    assert "end in half a line" in done.stderr
