"""`sallyport setup`: its SQL on a real server, twice, with odd names; its policies."""
import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
sys.path.insert(0, os.path.join(ROOT, "tests"))

CONFIG = """
_format_version: "3.0"
issuers:
- {name: okta, issuer: "https://example.okta.com/oauth2/default", audience: [a]}
services:
- name: shop
  url: postgres://app%22%27$sallyport$@shop.cluster-abc.eu-west-1.rds.amazonaws.com:5432/shop
  sslmode: verify-full
  sslrootcert: rds
  iam_auth: {region: eu-west-1}
  read:
    url: postgres://app_ro@shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com:5432/shop
  routes:
  - name: order
    methods: [GET]
    paths: ["/orders"]
    statement: {sql: select 1 as one, result: one, read_only: true}
roles:
- {name: a, priority: 2, when: {issuer: okta}, services: [shop], database_role: "ro\\"le '\\\\",
   allow: [{routes: [order]}]}
- {name: b, priority: 1, when: {issuer: okta}, services: [shop], database_role: plain,
   allow: [{routes: [order]}]}
"""
LOGIN, READER, ROLE = "app\"'$sallyport$", "app_ro", "ro\"le '\\"


@pytest.fixture(name="config")
def make_config(tmp_path):
    path = tmp_path / "sallyport.yaml"
    path.write_text(CONFIG)
    return path


def run(*arguments):
    return subprocess.run([PROGRAM, "setup", *map(str, arguments)], capture_output=True, text=True,
                          check=False)


def test_the_policies_name_exactly_the_logins(config):
    got = run("shop", "--iam", "--config", config, "--account", "123456789012", "--resource-id",
              "cluster-ABC", "--principal", "arn:aws:iam::123456789012:role/node")
    assert got.returncode == 0, got.stderr
    decoder = json.JSONDecoder()
    connect, end = decoder.raw_decode(got.stdout)
    trust = json.loads(got.stdout[end:])
    arn = "arn:aws:rds-db:eu-west-1:123456789012:dbuser:cluster-ABC/"
    assert connect["Statement"] == [{
        "Effect": "Allow", "Action": "rds-db:connect",
        "Resource": [arn + "app\"'${$}sallyport${$}", arn + "app_ro"]}]
    assert trust["Statement"] == [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/node"}}]


SECRETS = """
_format_version: "3.0"
vaults:
- {name: aws, prefix: sm, config: {region: eu-west-1}}
services:
- name: shop
  url: postgres://shop.cluster-abc.eu-west-1.rds.amazonaws.com:5432/shop
  secret: "{vault://sm/prod%2Fshop}"
  rotation: {every: 30d, strategy: alternating-users, master: "{vault://sm/prod%2Fmaster}"}
  read:
    url: postgres://shop.cluster-ro-abc.eu-west-1.rds.amazonaws.com:5432/shop
    secret: "{vault://sm/arn:aws:secretsmanager:eu-west-1:123456789012:secret:ro-AbCdEf}"
"""


def test_a_service_by_secret_may_read_and_rotate_it(tmp_path):
    """And nobody has to be allowed to read it to be told so."""
    path = tmp_path / "sallyport.yaml"
    path.write_text(SECRETS)
    got = run("shop", "--iam", "--config", path, "--account", "123456789012")
    assert got.returncode == 0, got.stderr
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    assert json.loads(got.stdout)["Statement"] == [
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
         "Resource": [arn + "prod/shop-??????", arn + "prod/master-??????", arn + "ro-AbCdEf"]},
        {"Effect": "Allow",
         "Action": ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage"],
         "Resource": [arn + "prod/shop-??????", arn + "ro-AbCdEf"]}]
    assert "kms:Decrypt" in got.stderr
    path.write_text(SECRETS.replace("  rotation:", "  # rotation:").replace(
        "region: eu-west-1", "assume_role_arn: arn:aws:iam::123456789012:role/secrets"))
    got = run("shop", "--iam", "--config", path)
    assert got.returncode == 0, got.stderr
    [read] = json.loads(got.stdout)["Statement"]
    assert read["Resource"][0] == "arn:aws:secretsmanager:REGION:ACCOUNT-ID:secret:prod/shop-??????"
    assert "is for the role arn:aws:iam::123456789012:role/secrets." in got.stderr


def test_a_service_by_password_alone_needs_no_policy(tmp_path):
    path = tmp_path / "sallyport.yaml"
    path.write_text(SECRETS.replace("vault://sm/prod%2Fshop}", "vault://env/HOME}").replace(
        "  secret:", "  password:").replace("  rotation:", "  # rotation:").replace(
        "    password: \"{vault://sm/arn", "    # \"{").replace("postgres://", "postgres://app@"))
    got = run("shop", "--iam", "--config", path)
    assert got.returncode == 1 and got.stdout == ""
    assert "Error: the service has neither iam_auth nor a secret of AWS\n" in got.stderr


def test_what_is_not_given_stands_in_capitals(config):
    got = run("shop", "--iam", "--config", config)
    assert ":eu-west-1:ACCOUNT-ID:dbuser:DB-RESOURCE-ID/" in got.stdout
    assert "--account" in got.stderr


SESSIONS = [
    ("", ["sts:AssumeRole"]),
    ("role_session_name: fixed, tags: {team: orders}", ["sts:AssumeRole", "sts:TagSession"]),
    ('role_session_name: "{subject}"', ["sts:AssumeRole", "sts:SetSourceIdentity"]),
    ('role_session_name: "{subject}", source_identity: ""', ["sts:AssumeRole"]),
    ('source_identity: shop, tags: {team: orders}',
     ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]),
]


@pytest.mark.parametrize("iam, actions", SESSIONS)
def test_a_role_is_trusted_with_what_its_sessions_ask_for(tmp_path, iam, actions):
    role = "arn:aws:iam::123456789012:role/shop"
    path = tmp_path / "sallyport.yaml"
    path.write_text(CONFIG.replace(
        "iam_auth: {", f"iam_auth: {{assume_role_arn: {role}, {iam + ', ' if iam else ''}"))
    got = run("shop", "--iam", "--config", path)
    assert got.returncode == 0, got.stderr
    decoder, at, documents = json.JSONDecoder(), 0, []
    while got.stdout[at:].strip():
        document, end = decoder.raw_decode(got.stdout[at:].lstrip())
        at += len(got.stdout[at:]) - len(got.stdout[at:].lstrip()) + end
        documents.append(document["Statement"][0])
    _, trust, assume = documents
    assert assume["Resource"] == role
    for statement in (trust, assume):
        action = statement["Action"]
        assert ([action] if isinstance(action, str) else action) == actions
    assert "The third is for who assumes it" in got.stderr


def test_a_role_of_the_callers_own_tokens_trusts_the_issuer(tmp_path):
    role = "arn:aws:iam::123456789012:role/shop"
    path = tmp_path / "sallyport.yaml"
    path.write_text(CONFIG.replace(
        "iam_auth: {", f"iam_auth: {{assume_role_arn: {role}, web_identity: caller, "))
    got = run("shop", "--iam", "--config", path, "--account", "123456789012")
    decoder = json.JSONDecoder()
    _, end = decoder.raw_decode(got.stdout)
    trust = json.loads(got.stdout[end:])["Statement"][0]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Principal"]["Federated"].startswith("arn:aws:iam::123456789012:oidc-provider/")


def test_the_sql_runs_twice_and_makes_logins_that_are_nothing_but_members(config):
    from bed import postgres
    if os.geteuid() != 0:
        pytest.skip("the server of the test bed wants root")
    got = run("shop", "--sql", "--config", config)
    assert got.returncode == 0, got.stderr
    with postgres.PostgresBed() as bed:
        bed.superuser_script(got.stdout)
        bed.superuser_script(got.stdout)
        rows = json.loads(bed.superuser_sql(
            "select json_object_agg(rolname, json_build_array(rolcanlogin, rolinherit, "
            "rolsuper, "
            "(select json_agg(g.rolname order by g.rolname) from pg_auth_members m "
            "join pg_roles g on g.oid = m.roleid where m.member = r.oid))) "
            "from pg_roles r where oid >= 16384 and rolname <> 'rds_iam'"))
    members = sorted([ROLE, "plain", "rds_iam"])
    assert rows[LOGIN][:3] == [True, False, False] and sorted(rows[LOGIN][3]) == members
    assert rows[READER][:3] == [True, False, False] and sorted(rows[READER][3]) == members
    assert rows[ROLE][0] is False and rows[ROLE][3] is None
    assert rows["plain"][0] is False and rows["plain"][3] is None


def test_memberships_that_are_no_longer_named_are_printed_and_stay(config):
    from bed import postgres
    if os.geteuid() != 0:
        pytest.skip("the server of the test bed wants root")
    more = CONFIG + """
- {name: c, priority: 3, when: {issuer: okta}, services: [other], database_role: elsewhere,
   allow: [{routes: [order2]}]}
"""
    other = """- name: other
  url: postgres://app_ro@shop.cluster-abc.eu-west-1.rds.amazonaws.com:5432/shop
  sslmode: verify-full
  sslrootcert: rds
  iam_auth: {region: eu-west-1}
  routes:
  - name: order2
    methods: [GET]
    paths: ["/orders2"]
    statement: {sql: select 1 as one, result: one, read_only: true}
roles:
"""
    config.write_text(more.replace("roles:\n", other, 1))
    got = run("shop", "--sql", "--config", config)
    assert got.returncode == 0, got.stderr
    with postgres.PostgresBed() as bed:
        assert "REVOKE" not in bed.superuser_script(got.stdout)
        bed.superuser_sql("""create role "o'ld" nologin; create role elsewhere nologin;
            grant "o'ld" to app_ro; grant elsewhere to app_ro""")
        printed = bed.superuser_script(got.stdout)
        assert [line for line in printed.splitlines() if "REVOKE" in line] == [
            'REVOKE "o\'ld" FROM app_ro;']
        # Nothing was revoked; what was printed does it.
        assert bed.superuser_script(got.stdout) == printed
        bed.superuser_script("\n".join(l for l in printed.splitlines() if "REVOKE" in l))
        assert "REVOKE" not in bed.superuser_script(got.stdout)


@pytest.mark.parametrize("arguments,message", [
    (("nothing", "--sql", "--config", "{}"), "no service 'nothing'"),
    (("shop", "--config", "{}"), "either --sql or --iam"),
    (("shop", "--sql", "--iam", "--config", "{}"), "either --sql or --iam"),
    (("--sql", "--config", "{}"), "one SERVICE"),
    (("shop", "--iam", "--config", "{}", "--account", "12"), "12 digits"),
    (("shop", "--iam", "--config", "{}", "--region", "EU"), "--region wants"),
])
def test_mistakes_are_named(config, arguments, message):
    got = run(*[a.format(config) for a in arguments])
    assert got.returncode == 1 and message in got.stderr and got.stdout == ""
