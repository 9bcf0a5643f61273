"""`sallyport check`: every mistake at once, and what a token would be allowed."""
import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tools")]

from bed.ca import Authority  # noqa: E402
from dev_issuer import DevIssuer, Keys, Minter  # noqa: E402

ISSUER = "https://issuer.example.com"
CLIENTS = {
    "alice": {"scope": "orders.read",
              "claims": {"groups": ["orders-readers"], "tenant_id": "north"}},
    "bob": {"scope": "orders.read orders.write",
            "claims": {"groups": ["orders-readers", "orders-writers"]}},
}
# What is served; @keys@ is where the issuer's keys come from.
SERVED = """
_format_version: "3.0"
issuers:
- {name: dev, issuer: "@issuer@", audience: ["api://orders"], @keys@}
- {name: other, issuer: "https://other.example.com", audience: [a], jwks_file: jwks.json}
services:
- name: shop
  url: postgres://app@127.0.0.1:5432/shop
  sslmode: disable
  routes:
  - name: order
    methods: [GET]
    paths: ["/orders/{id}", "/bestellungen/{id}"]
    statement:
      sql: select id from sales.orders where id = :id
      parameters: {id: {type: bigint, from: path}}
      read_only: true
  - name: orders
    methods: [POST, DELETE]
    paths: ["/orders"]
    statement:
      sql: insert into sales.orders (tenant) values (:tenant)
      parameters: {tenant: {type: text, from: claim.tenant_id}}
roles:
- name: writer
  priority: 20
  when: {issuer: dev, groups: [orders-writers], scopes: [orders.write]}
  services: [shop]
  database_role: orders_writer
  allow: [{routes: [orders], methods: [POST]}]
- name: reader
  priority: 10
  when: {issuer: dev, groups: [orders-readers], scopes: [orders.read]}
  services: [shop]
  database_role: orders_reader
  allow: [{routes: [order]}]
- name: foreign
  priority: 5
  when: {issuer: other}
  services: [shop]
  database_role: orders_reader
  allow: [{routes: [order]}]
"""
BROKEN = """
_format_version: "3.0"
issuers:
- {name: dev, issuer: "https://issuer.example.com", audience: [a], @ISSUER@}
services:
- name: shop
  url: postgres://app@127.0.0.1:5432/shop
  sslmode: disable
  routes:
  - name: syntax
    methods: [GET]
    paths: ["/syntax/{id}"]
    statement:
      sql: select id from sales.orders whre id = :id
      parameters: {id: {type: bigint, from: path}}
      read_only: true
  - name: undeclared
    methods: [GET]
    paths: ["/undeclared"]
    statement:
      sql: select 1 where :missing = 'x'
      read_only: true
  - name: writes
    methods: [POST]
    paths: ["/writes"]
    statement: {sql: insert into t values (1), read_only: true}
  - name: several
    methods: [POST]
    paths: ["/several"]
    statement: {sql: select 1; select 2}
  - name: transaction
    methods: [POST]
    paths: ["/transaction"]
    statement: {sql: commit}
  - name: unused
    methods: [GET]
    paths: ["/unused"]
    statement:
      sql: select 1
      parameters:
        extra: {type: text, from: query}
  - name: odd-type
    methods: [GET]
    paths: ["/odd"]
    statement:
      sql: select :n
      parameters:
        n: {type: bigintt, from: query}
roles:
- name: all
  priority: 1
  when: {issuer: dev}
  services: [shop]
  database_role: reader
  allow: [{routes: ["*"]}]
"""
SQL_MISTAKES = [
    '14:45: error: route syntax: sql: the statement is not PostgreSQL\'s: '
    'syntax error at or near "id"',
    "21:28: error: route undeclared: sql: this parameter is not declared: missing",
    "26: error: route writes: read_only is true, but the statement writes (INSERT)",
    "30:32: error: route several: sql: more than one statement",
    "34:22: error: route transaction: sql: a transaction statement: a route's transaction is the "
    "gateway's",
    "41: error: route unused: parameter extra does not occur in the sql",
    "48: error: parameter n: unknown type (for a type of your own, take text and cast it): "
    "bigintt",
]


def run(*arguments, stdin="", **environment):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    return subprocess.run([PROGRAM, "check", *map(str, arguments)], env={**env, **environment},
                          input=stdin, capture_output=True, text=True, check=False)


# -- mistakes -----------------------------------------------------------------------------------


def written(tmp_path, text, name="sallyport.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def mistakes(got, path):
    """The lines about the file, without its name."""
    prefix = f"{path}:"
    lines = got.stderr.splitlines()
    assert lines[-1].startswith("Error: "), got.stderr
    assert all(line.startswith(prefix) for line in lines[:-1]), got.stderr
    return [line[len(prefix):] for line in lines[:-1]]


def test_mistakes_of_the_sql_are_told_with_their_places(tmp_path):
    path = written(tmp_path, BROKEN.replace("@ISSUER@", "jwks_uri: https://issuer.example.com/k"))
    got = run(path)
    assert got.returncode == 1 and got.stdout == ""
    assert mistakes(got, path) == SQL_MISTAKES
    assert got.stderr.splitlines()[-1] == "Error: 7 mistakes in the configuration"


def test_they_are_told_together_with_those_of_the_file_in_its_order_and_once(tmp_path):
    path = written(tmp_path, BROKEN.replace("@ISSUER@", "algoritms: [RS256]").replace(
        'paths: ["/several"]', 'paths: ["/several"]\n    mehtods: [GET]'))
    got = run(path)
    later = [f"{int(number) + 1}{rest}" for number, rest in
             ((m[:2], m[2:]) for m in SQL_MISTAKES[3:])]
    assert mistakes(got, path) == [
        "4:68: error: unknown field 'algoritms' in issuer; did you mean 'algorithms'?",
        *SQL_MISTAKES[:3],
        "30:5: error: unknown field 'mehtods' in route; did you mean 'methods'?",
        *later]
    assert got.stderr.splitlines()[-1] == "Error: 9 mistakes in the configuration"


def test_mistakes_of_the_node_and_of_what_it_serves_come_together(tmp_path):
    served = written(tmp_path, BROKEN.replace("@ISSUER@", "algoritms: [RS256]"))
    conf = written(tmp_path, "proxy_lisen = 127.0.0.1:1\n", "sallyport.conf")
    got = run("-c", conf, served)
    assert f"{conf}:1: error: 'proxy_lisen': there is no such property; did you mean " \
           "'proxy_listen'?" in got.stderr
    assert f"{served}:{SQL_MISTAKES[0]}" in got.stderr
    assert got.stderr.splitlines()[-1] == "Error: 9 mistakes in the configuration"


def test_a_bundle_that_is_not_there_is_told_before_the_start_fails_for_it(tmp_path):
    text = SERVED.replace("@issuer@", ISSUER).replace("@keys@", "jwks_file: jwks.json").replace(
        "sslmode: disable", "sslmode: verify-full\n  sslrootcert: rds")
    written(tmp_path, json.dumps(Keys(tmp_path / "keys").jwks()), "jwks.json")
    served = written(tmp_path, text)
    conf = written(tmp_path, "declarative_config = sallyport.yaml\nrds_ca_bundle = rds.pem\n",
                   "sallyport.conf")
    said = f"{served}:7: error: service shop: sslrootcert rds: the rds_ca_bundle " \
           f"{tmp_path}/rds.pem cannot be read"
    got = run("-c", conf)
    assert got.returncode == 1 and said in got.stderr.splitlines()
    alone = run("-c", conf, served)
    assert alone.returncode == 0 and said.replace("error", "warning") in alone.stderr.splitlines()
    written(tmp_path, "", "rds.pem")
    assert (run("-c", conf).returncode, run("-c", conf).stderr) == (0, "")


def test_config_parse_knows_the_sql_too(tmp_path):
    path = written(tmp_path, BROKEN.replace("@ISSUER@", "jwks_uri: https://issuer.example.com/k"))
    got = subprocess.run([PROGRAM, "config", "parse", path], capture_output=True, text=True,
                         check=False)
    assert got.returncode == 1
    assert f"{path}:{SQL_MISTAKES[0]}" in got.stderr


# -- a token ------------------------------------------------------------------------------------


@pytest.fixture(name="offline")
def make_offline(tmp_path):
    """A configuration whose keys stand in a file, and who mints for it."""
    keys = Keys(tmp_path / "keys")
    written(tmp_path, json.dumps(keys.jwks()), "jwks.json")
    path = written(tmp_path, SERVED.replace("@issuer@", ISSUER).replace(
        "@keys@", "jwks_file: jwks.json"))
    return path, Minter(ISSUER, keys, CLIENTS)


def ask(path, token):
    got = run("--token", "-", "--json", path, stdin=token + "\n")
    return got, json.loads(got.stdout)


def verdicts(call):
    return [(role["role"], role["verdict"]) for role in call["roles"]]


def test_a_tokens_calls_are_decided_with_every_reason(offline):
    path, minter = offline
    got, said = ask(path, minter.mint("alice"))
    assert got.returncode == 0 and got.stderr == ""
    assert said["verifies"] is True and said["reason"] is None
    assert {step["result"] for step in said["steps"]} <= {"ok", "skipped"}
    assert said["caller"]["subject"] == "alice" and said["caller"]["issuer"] == "dev"
    assert said["caller"]["groups"] == ["orders-readers"]
    order, post, delete = said["calls"]
    assert (order["route"], order["method"], order["allowed"], order["status"]) == \
        ("order", "GET", True, None)
    assert order["paths"] == ["/orders/{id}", "/bestellungen/{id}"]
    assert (order["role"], order["database_role"]) == ("reader", "orders_reader")
    assert verdicts(order) == [("writer", "missing_group"), ("reader", "chosen"),
                               ("foreign", "wrong_issuer")]
    # No role of hers covers the route by any method: the door answers as if it did not exist.
    for call in (post, delete):
        assert (call["route"], call["allowed"], call["status"], call["role"]) == \
            ("orders", False, 404, None)
        assert verdicts(call) == [("writer", "missing_group"), ("reader", "not_allowed"),
                                  ("foreign", "wrong_issuer")]


def test_a_method_that_no_role_allows_is_403_where_another_is_allowed(offline):
    path, minter = offline
    _, said = ask(path, minter.mint("bob", tenant_id="south"))
    assert [(c["method"], c["allowed"], c["status"]) for c in said["calls"]] == \
        [("GET", True, None), ("POST", True, None), ("DELETE", False, 403)]


def test_a_claim_that_a_parameter_needs_and_the_token_lacks_is_told(offline):
    path, minter = offline
    _, said = ask(path, minter.mint("bob"))
    post = said["calls"][1]
    assert (post["allowed"], post["status"], post["missing_claim"]) == (False, 403, "tenant_id")
    assert verdicts(post)[0] == ("writer", "chosen")


@pytest.mark.parametrize("options,reason,step", [
    ({"expires_in": -120}, "identity_expired", "exp"),
    ({"foreign_key": True}, "identity_signature_wrong", "signature"),
    ({"aud": "api://elsewhere"}, "identity_audience_wrong", "audience"),
    ({"iss": "https://unknown.example.com"}, "identity_issuer_unknown", "issuer"),
])
def test_a_token_that_does_not_verify_exits_1_and_names_the_step(offline, options, reason, step):
    path, minter = offline
    got, said = ask(path, minter.mint("alice", **options))
    assert got.returncode == 1
    assert said["verifies"] is False and said["reason"] == reason
    assert "calls" not in said and "caller" not in said
    failed = [s["name"] for s in said["steps"] if s["result"] == "failed"]
    assert failed == [step]


def test_the_report_for_people_tells_the_same_and_never_the_token(offline, tmp_path):
    path, minter = offline
    token = minter.mint("alice", groups=["orders-readers", "\x1b[2J\u009bx"])
    got = run("--token", written(tmp_path, f"Bearer {token}\n", "token"), path)
    assert got.returncode == 0, got.stderr
    lines = got.stdout.splitlines()
    assert lines[0] == "the token verifies"
    assert "  GET /orders/{id}, /bestellungen/{id} (order of shop): allowed as reader " \
           "(database role orders_reader)" in lines
    assert "      not writer: the caller is in none of the role's groups" in lines
    assert "  POST /orders (orders of shop): refused with 404" in lines
    assert "  form      ok" in lines and not any(line.endswith(" ") for line in lines)
    assert "  groups    orders-readers, ?[2J?x\n" in got.stdout
    assert "\x1b" not in got.stdout and "\u009b" not in got.stdout
    assert token.split(".")[2] not in got.stdout


def test_keys_are_fetched_by_discovery_over_tls(tmp_path):
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("issuer", ["localhost"])
    issuer = DevIssuer(tmp_path / "keys", CLIENTS, str(certificate), str(key)).start()
    try:
        written(tmp_path, json.dumps(issuer.keys.jwks()), "jwks.json")
        path = written(tmp_path, SERVED.replace("@issuer@", issuer.issuer).replace(
            "@keys@", f"ca_file: {authority.file}"))
        got, said = ask(path, issuer.mint("alice"))
    finally:
        issuer.stop()
    assert got.returncode == 0 and said["verifies"] is True
    assert issuer.requests == {"/.well-known/openid-configuration": 1, "/jwks": 1}


def test_an_issuer_that_cannot_be_reached_is_named(tmp_path):
    keys = Keys(tmp_path / "keys")
    written(tmp_path, json.dumps(keys.jwks()), "jwks.json")
    path = written(tmp_path, SERVED.replace("@issuer@", "https://localhost:1").replace(
        "@keys@", "algorithms: [RS256]"))
    got, said = ask(path, Minter("https://localhost:1", keys, CLIENTS).mint("alice"))
    assert got.returncode == 1 and said["reason"] == "identity_keys_unavailable"
    assert "warning: no keys of the issuer 'dev'" in got.stderr


def test_no_token_is_asked_about_while_the_file_has_mistakes(tmp_path):
    path = written(tmp_path, BROKEN.replace("@ISSUER@", "algoritms: [RS256]"))
    got = run("--token", "-", path, stdin="x.y.z")
    assert got.returncode == 1 and got.stdout == ""
    assert got.stderr.splitlines()[-1] == "Error: 8 mistakes in the configuration"


@pytest.mark.parametrize("arguments,message", [
    (("--json", "{}"), "usage: sallyport check"),
    (("--token", "-", "{}", "{}"), "usage: sallyport check"),
    (("--token", "/no/such/token", "{}"), "the token file /no/such/token: No such file"),
    (("--token",), "usage: sallyport check"),
    (("--nothing", "{}"), "usage: sallyport check"),
])
def test_misuse_is_told(offline, arguments, message):
    got = run(*[a.format(offline[0]) for a in arguments])
    assert got.returncode == 1 and message in got.stderr and got.stdout == ""


def test_a_key_that_is_not_the_certificates_is_told(tmp_path):
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
             "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.crt"],
            check=True, capture_output=True)
    conf = tmp_path / "sallyport.conf"

    def check(key):
        conf.write_text("proxy_listen = 127.0.0.1:8443 ssl\n"
                        f"ssl_cert = {tmp_path}/one.crt\nssl_cert_key = {tmp_path}/{key}.key\n")
        return run("-c", conf)

    wrong = check("two")
    assert wrong.returncode == 1
    assert "the private key does not belong to the certificate" in wrong.stderr
    assert "private key" not in check("one").stderr


# -- references ----------------------------------------------------------------------------------

REFERENCES = """
_format_version: "3.0"
vaults:
- {prefix: mounted, name: file, config: {prefix: secrets}}
- {prefix: shop, name: aws, config: {region: "{vault://env/REGION}"}}
services:
- {name: a, url: "postgres://u:{vault://env/PW}@127.0.0.1/d", sslmode: disable}
- {name: b, url: "postgres://u@127.0.0.1/d", sslmode: disable, password: "{vault://mounted/db/pw}"}
- {name: c, url: "postgres://127.0.0.1/d", sslmode: disable, secret: "{vault://shop/prod%2Fdb}"}
- name: d
  url: postgres://127.0.0.1/d
  sslmode: disable
  user: "{vault://env/JSON/user}"
  password: "{vault://aws/db/password}"
"""


def test_references_are_looked_up_but_for_aws(tmp_path):
    path = written(tmp_path, REFERENCES)
    secret = tmp_path / "secrets" / "db" / "pw"
    secret.parent.mkdir(parents=True)
    secret.write_text("s3cret-of-file\n")
    secret.chmod(0o600)
    environment = {"PW": "s3cret-of-env", "REGION": "eu-west-1", "JSON": '{"user": "me"}'}

    got = run(path, **environment)
    assert got.returncode == 0, got.stderr
    assert got.stdout == f"configuration at {path} is valid\n"
    assert got.stderr == (
        f"{path}:9:70: warning: 'secret': the secret of AWS was not read; "
        "check --secrets reads it\n"
        f"{path}:14:13: warning: the secret of AWS was not read; check --secrets reads it\n")

    secret.chmod(0o644)
    open_to_all = run(path, **environment)
    assert open_to_all.returncode == 0
    assert (f"{path}:8:74: warning: every user of this machine may read the secret's file: "
            "chmod o= it\n"
            in open_to_all.stderr)

    secret.unlink()
    gone = run(path, **{**environment, "JSON": "{}", "PW": ""})
    assert gone.returncode == 1
    assert (f"{path}:8:74: error: the file '{secret}' cannot be read: No such file or directory\n"
            in gone.stderr)
    assert f"{path}:7:18: error: 'url': its password is empty\n" in gone.stderr
    assert (f"{path}:13:9: error: the environment variable 'JSON' is no JSON object with the "
            "member 'user'\n" in gone.stderr)
    for said in (got, open_to_all, gone):
        assert "s3cret" not in said.stdout + said.stderr


def test_a_session_policy_must_be_json(tmp_path):
    path = written(tmp_path, """
_format_version: "3.0"
services:
- name: a
  url: postgres://u@db.example.com/d
  iam_auth:
    region: eu-west-1
    assume_role_arn: arn:aws:iam::123456789012:role/a
    policy: '{"Version": "2012-10-17", }'
""")
    got = run(path)
    assert got.returncode == 1
    assert f"{path}:9:13: error: 'policy': is not well-formed JSON\n" in got.stderr
