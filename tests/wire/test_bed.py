"""The bed itself: PostgreSQL here accepts what Amazon RDS accepts, and nothing else."""

import datetime
import json
import pathlib
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import jwt
import psycopg2
import pytest

from bed.postgres import AccessKey, BedError, PostgresBed, require_free_port

USER = "app"


def rds_token(bed, key=None, user=USER, hostname=None, port=None, region=None):
    """What botocore's generate_db_auth_token gives."""
    key = key or bed.keys[0]
    session = botocore.session.Session()
    session.set_credentials(
        key.access_key_id, key.secret_access_key, key.session_token or None
    )
    region = region or bed.region
    client = session.create_client("rds", region_name=region)
    return client.generate_db_auth_token(
        hostname or bed.hostname, port or bed.port, user, Region=region
    )


def rds_token_at(bed, moment, monkeypatch, expires=900):
    """The same, signed at another moment or with another lifetime."""

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return moment

    key = bed.keys[0]
    request = botocore.awsrequest.AWSRequest(
        method="GET",
        url=f"https://{bed.hostname}:{bed.port}/?Action=connect&DBUser={USER}",
    )
    request.params = {"Action": "connect", "DBUser": USER}
    request.url = f"https://{bed.hostname}:{bed.port}/"
    with monkeypatch.context() as patch:
        patch.setattr(botocore.auth.datetime, "datetime", Clock)
        botocore.auth.SigV4QueryAuth(
            botocore.credentials.Credentials(key.access_key_id, key.secret_access_key),
            "rds-db",
            bed.region,
            expires=expires,
        ).add_auth(request)
    return request.prepare().url.removeprefix("https://")


def login(bed, password, user=USER, sslmode="verify-full", host=None):
    connection = psycopg2.connect(
        host=host or bed.hostname,
        hostaddr="127.0.0.1",
        port=bed.port,
        user=user,
        password=password,
        dbname=bed.database,
        sslmode=sslmode,
        sslrootcert=str(bed.ca.file),
        connect_timeout=20,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("select session_user, ssl from pg_stat_ssl where pid = pg_backend_pid()")
            return cursor.fetchone()
    finally:
        connection.close()


def assert_refused(bed, password, reason, **options):
    line = f"refused user={options.get('user', USER)}: {reason}"
    before = len(bed.log_lines(line))
    with pytest.raises(psycopg2.OperationalError, match="PAM authentication failed"):
        login(bed, password, **options)
    bed.wait_for_log(line, count=before + 1)


def test_a_good_token_logs_in_and_its_key_is_named_in_the_log(bed):
    assert login(bed, rds_token(bed)) == (USER, True)
    bed.wait_for_log(f"accepted user={USER} access_key_id={bed.keys[0].access_key_id} ")


def test_a_token_of_temporary_credentials_logs_in(bed):
    token = rds_token(bed, bed.keys[1])
    assert len(token) > 1000
    assert login(bed, token) == (USER, True)
    bed.wait_for_log(f"accepted user={USER} access_key_id={bed.keys[1].access_key_id} ")


def test_the_port_of_rds_is_accepted_as_well_as_the_real_one(bed):
    assert login(bed, rds_token(bed, port=5432)) == (USER, True)


@pytest.mark.parametrize("user", ["a+b", "a&b=c", "50%", "x/y@z", "with blank", "größe"])
def test_users_with_odd_characters_log_in(bed, user):
    quoted = '"' + user + '"'
    bed.superuser_sql(f"create role {quoted} login noinherit; grant rds_iam to {quoted}")
    try:
        assert login(bed, rds_token(bed, user=user), user=user) == (user, True)
    finally:
        bed.superuser_sql(f"drop role {quoted}")


def test_a_tampered_signature_is_refused(bed):
    token = rds_token(bed)
    last = "0" if token[-1] != "0" else "1"
    assert_refused(bed, token[:-1] + last, "wrong signature")
    assert_refused(bed, token[:-1], "wrong signature")


def test_a_token_for_another_user_is_refused(bed):
    assert_refused(bed, rds_token(bed, user="somebody"), "made for another user")


def test_a_swapped_user_breaks_the_signature(bed):
    token = rds_token(bed, user="somebody").replace("DBUser=somebody", f"DBUser={USER}")
    assert_refused(bed, token, "wrong signature")


def test_a_token_for_another_host_or_port_is_refused(bed):
    assert_refused(bed, rds_token(bed, hostname="other.example"), "made for another host")
    assert_refused(bed, rds_token(bed, hostname="127.0.0.1"), "made for another host")
    assert_refused(bed, rds_token(bed, port=6543), "made for another host")


def test_a_token_for_another_region_is_refused(bed):
    assert_refused(bed, rds_token(bed, region="us-east-1"), "made for another region")


def test_the_signed_clock_is_checked(bed, monkeypatch):
    now = datetime.datetime.utcnow()
    good = rds_token_at(bed, now, monkeypatch)
    assert login(bed, good) == (USER, True)
    old = rds_token_at(bed, now - datetime.timedelta(minutes=20), monkeypatch)
    assert_refused(bed, old, "expired")
    early = rds_token_at(bed, now + datetime.timedelta(minutes=10), monkeypatch)
    assert_refused(bed, early, "signed in the future")
    long = rds_token_at(bed, now, monkeypatch, expires=901)
    assert_refused(bed, long, "X-Amz-Expires is over 900 seconds")
    short = rds_token_at(bed, now - datetime.timedelta(seconds=90), monkeypatch, expires=60)
    assert_refused(bed, short, "expired")


def test_an_unknown_access_key_is_refused(bed):
    assert_refused(bed, rds_token(bed, AccessKey.fresh()), "unknown access key id")


def test_a_wrong_secret_is_refused(bed):
    key = AccessKey(bed.keys[0].access_key_id, "not-the-secret")
    assert_refused(bed, rds_token(bed, key), "wrong signature")


def test_the_session_token_is_checked(bed):
    temporary = bed.keys[1]
    without = AccessKey(temporary.access_key_id, temporary.secret_access_key)
    assert_refused(bed, rds_token(bed, without), "missing or wrong session token")
    wrong = AccessKey(temporary.access_key_id, temporary.secret_access_key, "wrong")
    assert_refused(bed, rds_token(bed, wrong), "missing or wrong session token")
    stray = AccessKey(bed.keys[0].access_key_id, bed.keys[0].secret_access_key, "stray")
    assert_refused(bed, rds_token(bed, stray), "a session token with a long-lived key")


def test_what_is_no_token_is_refused(bed):
    token = rds_token(bed)
    assert_refused(bed, "secret", "malformed: no HOST:PORT/?QUERY")
    assert_refused(bed, token + "&Action=connect", "malformed: a query part given twice")
    assert_refused(bed, token + "&More=1", "malformed: an unknown query part")
    assert_refused(bed, token + "%", "malformed: a broken percent escape")
    assert_refused(bed, token.partition("&X-Amz-Signature")[0], "malformed: a query part is")
    assert_refused(bed, token + "0" * 20000, "malformed: too long")
    forged = token.replace("Action=connect", "Action=delete")
    assert_refused(bed, forged, "wrong action")


def test_a_removed_key_is_refused_from_the_next_login_on(bed):
    token = rds_token(bed)
    keys = bed.keys
    bed.set_keys(keys[1:])
    try:
        assert_refused(bed, token, "unknown access key id")
    finally:
        bed.set_keys(keys)
    assert login(bed, token) == (USER, True)


def test_without_tls_nobody_logs_in(bed):
    for user in (USER, "postgres"):
        with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects connection"):
            login(bed, rds_token(bed, user=user), user=user, sslmode="disable")


def test_the_superuser_does_not_log_in_over_tcp(bed):
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects connection"):
        login(bed, "postgres", user="postgres")


def test_the_certificate_names_the_rds_host(bed):
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        login(bed, rds_token(bed), host="other.example")


def test_rows_are_the_tenants_own(bed):
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=bed.port,
        user=USER,
        password=rds_token(bed),
        dbname=bed.database,
        sslmode="verify-full",
        sslrootcert=str(bed.ca.file),
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select set_config('role', 'orders_reader', true),"
            " set_config('request.jwt.claims', '{\"tenant_id\": \"north\"}', true)"
        )
        cursor.execute("select distinct tenant from sales.orders")
        assert cursor.fetchall() == [("north",)]
    with connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("select * from sales.orders")
    connection.close()


def test_the_login_owns_nothing_and_inherits_nothing(bed):
    assert bed.superuser_sql("select rolinherit from pg_roles where rolname = 'app'") == "f\n"
    owned = bed.superuser_sql("select count(*) from pg_shdepend where refobjid = 'app'::regrole")
    assert owned == "0\n"


def test_stop_leaves_nothing_behind():
    with PostgresBed() as other:
        folder, service = other.folder, other.pam_file
        assert service.exists()
    assert not folder.exists()
    assert not service.exists()


def test_the_next_start_removes_what_a_killed_run_left(tmp_path):
    """A run that died by SIGKILL leaves its PAM file; its server dies with it."""
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from bed.postgres import PostgresBed\n"
        "bed = PostgresBed(); bed.start()\n"
        "print(bed.folder, bed.pam_file, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    tests = pathlib.Path(__file__).resolve().parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tests)], capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    folder, service = map(pathlib.Path, killed.stdout.split())
    assert service.exists()
    with PostgresBed() as other:
        assert not service.exists()
        assert not folder.exists()
        assert other.pam_file.exists()


def test_a_taken_port_is_said(bed):
    with pytest.raises(BedError, match=f"port {bed.port} on 127.0.0.1 is taken"):
        require_free_port(bed.port, "--postgres-port")


def test_a_missing_root_is_said(tmp_path):
    """As nobody, without sudo on the path."""
    tests = pathlib.Path(__file__).resolve().parents[1]
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from bed.postgres import _as_root, BedError\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try:\n    _as_root(['true'])\nexcept BedError as e:\n    print(e)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tests)],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "root is needed to write to /etc/pam.d" in said.stdout, said.stderr


# -- the issuer ------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_issuers_tokens_verify_with_its_published_keys(bed, issuer, algorithm):
    token = issuer.mint("alice", algorithm=algorithm)
    kid = jwt.get_unverified_header(token)["kid"]
    keys = {key["kid"]: key for key in issuer.keys.jwks()["keys"]}
    claims = jwt.decode(
        token, jwt.PyJWK(keys[kid]).key, algorithms=[algorithm], audience="api://orders"
    )
    assert claims["iss"] == issuer.issuer
    assert claims["sub"] == "alice"
    assert claims["tenant_id"] == "north"
    assert claims["groups"] == ["orders-readers"]


def fetch(bed, url, data=None):
    context = ssl.create_default_context(cafile=str(bed.ca.file))
    with urllib.request.urlopen(url, data, context=context, timeout=20) as answer:
        return json.load(answer)


def test_discovery_leads_to_keys_and_a_token(bed, issuer):
    found = fetch(bed, issuer.issuer + "/.well-known/openid-configuration")
    assert found["issuer"] == issuer.issuer
    assert fetch(bed, found["jwks_uri"]) == issuer.keys.jwks()
    form = {"grant_type": "client_credentials", "client_id": "bob", "client_secret": "bob-secret"}
    answer = fetch(bed, found["token_endpoint"], urllib.parse.urlencode(form).encode())
    assert answer["token_type"] == "Bearer"
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["client_id"] == "bob"
    assert claims["scope"] == "orders.read orders.write"


def test_a_wrong_client_secret_gets_no_token(bed, issuer):
    form = {"grant_type": "client_credentials", "client_id": "bob", "client_secret": "wrong"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(bed, issuer.issuer + "/token", urllib.parse.urlencode(form).encode())
    assert refused.value.code == 401


def test_rotation_adds_keys_and_can_drop_the_old(bed, issuer):
    before = {key["kid"] for key in issuer.keys.jwks()["keys"]}
    after = {k["kid"] for k in fetch(bed, issuer.issuer + "/dev/rotate", b"")["keys"]}
    assert before < after
    dropped = fetch(bed, issuer.issuer + "/dev/rotate", b"drop_old=1")
    assert not after & {key["kid"] for key in dropped["keys"]}
    assert len(dropped["keys"]) == 3
