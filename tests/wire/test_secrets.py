"""Logins with secrets of AWS Secrets Manager: rotation under load, outages, reloads, and that no
secret is ever written down."""

import concurrent.futures
import json
import re
import signal
import threading
import time

import pytest

import served
from bed.postgres import AccessKey, wait_until
from doubles import secrets_manager
from doubles.aws import Sts
from doubles.secrets_manager import CURRENT, PENDING, SecretsManager

USERS = ("app_secret", "app_secret_clone")
WHO = "select session_user::text as login, pg_backend_pid() as pid"


@pytest.fixture(scope="module")
def users(bed):
    """Logins by password, and a way to change it."""
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    line = f"hostssl all {','.join(USERS)} 127.0.0.1/32 scram-sha-256\n"
    hba.write_text(line + before)
    for user in USERS:
        bed.superuser_sql(f"create role {user} login noinherit")
        bed.superuser_sql(f"grant orders_reader, orders_writer to {user}")
    bed.superuser_sql("select pg_reload_conf()")
    yield USERS
    end_backends(bed)
    for user in USERS:
        bed.superuser_sql(f"drop role {user}")
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")


def set_password(bed, password, user=USERS[0]):
    bed.superuser_sql(f"alter role {user} password '{password}'")


def end_backends(bed):
    """Has PostgreSQL end the gateway's connections, so that the next call needs a login."""
    gone = pool_of(bed)
    bed.superuser_sql(
        f"select pg_terminate_backend(pid) from unnest('{{{','.join(map(str, gone))}}}'::int[]) pid"
    )
    wait_until(lambda: not gone & pool_of(bed), 20, "the end of the backends")


@pytest.fixture
def aws():
    """The double, which knows one key."""
    double = SecretsManager()
    double.key = AccessKey.fresh(temporary=True)
    double.know(
        double.key.access_key_id, double.key.secret_access_key, double.key.session_token
    )
    yield double
    double.close()


def environment(aws, **more):
    return {**aws.key.environment(), **aws.environment(), **more}


def document(password, user=USERS[0]):
    return {"username": user, "password": password, "engine": "postgres"}


ONE = {"max_connections": 1}  # no other login is under way while a test counts them


def configuration(bed, issuer, vault=None, **login):
    """A service whose login is a secret; the vault `sm` has short times unless told."""
    if not {"secret", "password"} & set(login):
        login["secret"] = "{vault://sm/prod%2Fshop}"
    made = served.service(bed, [served.route("who", WHO, result="one")], password=None)
    del made["password"]
    made["url"] = f"postgres://127.0.0.1:{bed.port}/{bed.database}"
    made.update(login)
    text = json.loads(served.config(bed, issuer, [made]))
    times = {"ttl": 300, "neg_ttl": 1, "resurrect_ttl": 3600}
    text["vaults"] = [{"name": "aws", "prefix": "sm", "config": {**times, **(vault or {})}}]
    return json.dumps(text)


@pytest.fixture
def served_by_secret(gateway, aws, bed, issuer, users):
    """Starts a gateway whose service logs in with the secret prod/shop."""

    def start(now="first-Passw0rd", vault=None, node=None, run=True, env=None, **login):
        set_password(bed, now)
        if "prod/shop" not in [s.name for s in aws.secrets.values()]:
            aws.put("prod/shop", document(now))
        return gateway(
            start=run,
            config=configuration(bed, issuer, {"endpoint_url": aws.url, **(vault or {})}, **login),
            node=node,
            environment=environment(aws, **(env or {})),
        )

    yield start
    end_backends(bed)


def who(gateway, expect=200):
    answer = gateway.get("/who", gateway.mint("alice"))
    assert answer.status == expect, answer.body
    return answer.json


def pool_of(bed):
    return {b["pid"] for user in USERS for b in served.backends(bed, user)}


def logins(gateway):
    return [r for r in gateway.audit() if r["kind"].startswith("login")]


def refusals(gateway):
    return [r["kind"] for r in logins(gateway)].count("login_failure")


def secrets_of(gateway):
    return gateway.status("/status").json["secrets"]


def test_a_login_takes_user_and_password_from_the_secret(served_by_secret, aws):
    one = served_by_secret()
    assert who(one)["login"] == USERS[0]
    event = logins(one)[-1]
    version = aws.secret("prod/shop").at(CURRENT).id
    assert event["kind"] == "login"
    assert event["database_user"] == USERS[0]
    assert event["auth_method"] == "scram-sha-256-plus"
    assert event["credential_source"] == f"sm/prod/shop#{version}"
    assert aws.count("GetSecretValue") == 1
    assert [a[1] for a in aws.actions] == [
        {"SecretId": "prod/shop", "VersionStage": "AWSCURRENT"}
    ]


def test_members_may_be_named_one_by_one(served_by_secret, aws):
    one = served_by_secret(
        user="{vault://sm/prod%2Fshop/username}", password="{vault://sm/prod%2Fshop/password}"
    )
    assert who(one)["login"] == USERS[0]
    assert aws.count("GetSecretValue") == 1


def read_versions(aws, stage="AWSCURRENT"):
    return sum(1 for a in aws.actions if a[0] == "GetSecretValue" and a[1]["VersionStage"] == stage)


def rotate(aws, bed, password, user=USERS[0], steps=("create", "set", "finish"), meanwhile=None):
    """The steps of a rotation as Secrets Manager's own functions do them."""
    if "create" in steps:
        aws.put("prod/shop", document(password, user), stages=(PENDING,))
    if "set" in steps:
        set_password(bed, password, user)
    if meanwhile:
        meanwhile()
    if "finish" in steps:
        secret = aws.secret("prod/shop")
        with aws.lock:
            secret.attach(CURRENT, secret.at(PENDING))


class Load:
    """Callers who ask without end, and somebody who ends the backends under them."""

    def __init__(self, gateway, bed, callers=6):
        self.gateway, self.bed, self.callers = gateway, bed, callers
        self.over = threading.Event()
        self.statuses = []

    def _call(self):
        token = self.gateway.mint("alice")
        connection = self.gateway.connect()
        while not self.over.is_set():
            answer = self.gateway.get("/who", token, connection=connection)
            self.statuses.append(answer.status)
        connection.close()

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(self.callers)
        self.calls = [self.pool.submit(self._call) for _ in range(self.callers)]
        self.wait_for(20)
        return self

    def wait_for(self, more):
        """So many answers later."""
        end = len(self.statuses) + more
        wait_until(lambda: len(self.statuses) >= end or self._broken(), 30, "answers")

    def _broken(self):
        return [c for c in self.calls if c.done()]

    def __exit__(self, *_):
        self.over.set()
        for call in self.calls:
            call.result(60)
        self.pool.shutdown()


def new_login(one, bed):
    """Closes what is idle in the pool by its lifetime, so that calls need new logins."""
    before = len(logins(one))
    wait_until(lambda: len(logins(one)) > before, 30, "a new login")


@pytest.mark.threads
@pytest.mark.parametrize("order", ["aws first", "database first"])
def test_a_rotation_under_load_fails_no_request(served_by_secret, aws, bed, order):
    """The pool renews its connections all the time, so logins happen at every moment."""
    one = served_by_secret(pool={"max_lifetime_ms": 200, "max_connections": 4})
    with Load(one, bed) as load:
        new_login(one, bed)
        if order == "aws first":
            aws.put("prod/shop", document("second-Passw0rd"))
            set_password(bed, "second-Passw0rd")
        else:
            rotate(aws, bed, "second-Passw0rd", meanwhile=lambda: new_login(one, bed))
        source = f"sm/prod/shop#{aws.secret('prod/shop').at(CURRENT).id}"
        wait_until(
            lambda: [
                r for r in logins(one) if (r["kind"], r["credential_source"]) == ("login", source)
            ],
            30,
            "a login with the new password",
        )
        load.wait_for(50)
    assert set(load.statuses) == {200}
    events = logins(one)
    refused = [r for r in events if r["kind"] != "login"]
    assert {r["sqlstate"] for r in refused} <= {"28P01"}
    assert refused
    # One read at the start, one for all the refused logins, and no more than one a second after.
    assert 2 <= read_versions(aws) <= 5
    assert read_versions(aws, "AWSPENDING") <= 3


def test_logins_refused_together_share_one_read(served_by_secret, aws, bed):
    one = served_by_secret(pool={"max_connections": 8})
    who(one)
    rotate(aws, bed, "second-Passw0rd")
    end_backends(bed)
    token = one.mint("alice")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: one.get("/who", token).status, range(32)))
    assert set(answers) == {200}
    assert aws.count("GetSecretValue") == 2


def test_a_password_that_nobody_has_right_is_not_tried_without_end(served_by_secret, aws, bed):
    """What locks accounts: callers without a pause must not become logins without a pause."""
    one = served_by_secret(pool={"max_connections": 8})
    who(one)
    set_password(bed, "changed-by-hand-Passw0rd")
    end_backends(bed)
    before, token, stop = refusals(one), one.mint("alice"), threading.Event()

    statuses = []

    def call(_):
        while not stop.is_set():
            statuses.append(one.get("/who", token).status)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(call, n) for n in range(16)]
        try:
            wait_until(lambda: len(statuses) > 1000, 60, "a thousand answers")
        finally:
            stop.set()
        assert [c.result() for c in calls]
    assert set(statuses) == {503}
    assert 2 <= refusals(one) - before <= 30
    assert aws.count("GetSecretValue") <= 15


def test_in_the_middle_of_a_rotation_the_pending_password_serves(served_by_secret, aws, bed):
    one = served_by_secret(pool=ONE)
    who(one)
    rotate(aws, bed, "second-Passw0rd", steps=("create", "set"))
    end_backends(bed)
    assert who(one)["login"] == USERS[0]
    pending = aws.secret("prod/shop").at(PENDING).id
    assert logins(one)[-1]["credential_source"] == f"sm/prod/shop#{pending}"
    assert [a[1]["VersionStage"] for a in aws.actions] == [
        "AWSCURRENT",
        "AWSCURRENT",
        "AWSPENDING",
    ]
    refused = refusals(one)
    end_backends(bed)
    who(one)  # and the next login begins with what served
    assert aws.count("GetSecretValue") == 3
    assert refusals(one) == refused


def test_users_may_alternate(served_by_secret, aws, bed):
    one = served_by_secret(pool=ONE)
    assert who(one)["login"] == USERS[0]
    rotate(aws, bed, "second-Passw0rd", user=USERS[1])
    set_password(bed, "nobody-knows-1")  # the first user's password is gone at once
    end_backends(bed)
    answer = who(one)
    assert answer["login"] == USERS[1]
    (event,) = [r for r in logins(one) if r.get("backend_pid") == answer["pid"]]
    assert (event["kind"], event["database_user"]) == ("login", USERS[1])


def test_the_secret_is_read_again_on_its_ttl(served_by_secret, aws, bed):
    one = served_by_secret(vault={"ttl": 1}, pool=ONE)
    who(one)
    set_password(bed, "second-Passw0rd")
    version = aws.put("prod/shop", document("second-Passw0rd")).at(CURRENT).id
    wait_until(lambda: secrets_of(one)[0]["version"] == version, 20, "the new version")
    refused = refusals(one)
    end_backends(bed)
    who(one)
    assert refusals(one) == refused
    read = aws.count("GetSecretValue")
    wait_until(lambda: aws.count("GetSecretValue") > read + 2, 20, "the next reads")


def test_a_version_that_cannot_be_used_takes_no_login_away(served_by_secret, aws, bed):
    """Written by hand, without a password: the version before serves, and AWS is asked anew."""
    one = served_by_secret(vault={"ttl": 1})
    who(one)
    good = aws.secret("prod/shop").at(CURRENT).id
    aws.put("prod/shop", document(""))
    bad = aws.secret("prod/shop").at(CURRENT).id
    wait_until(lambda: secrets_of(one)[0]["version"] == bad, 20, "the new version")
    end_backends(bed)
    assert who(one)["login"] == USERS[0]
    assert logins(one)[-1]["credential_source"].endswith("#" + good)


def test_without_a_ttl_it_is_read_once(served_by_secret, aws, bed):
    one = served_by_secret(vault={"ttl": 0, "neg_ttl": 0})
    who(one)
    assert secrets_of(one)[0]["next_read"] is None
    assert aws.count("GetSecretValue") == 1


@pytest.mark.parametrize(
    "outage", [secrets_manager.THROTTLED, secrets_manager.BROKEN, secrets_manager.HANG_UP]
)
def test_an_outage_takes_no_login_away(served_by_secret, aws, bed, outage):
    one = served_by_secret(vault={"ttl": 1})
    who(one)
    aws.outage = outage
    wait_until(lambda: secrets_of(one)[0]["last_error"], 20, "the failure in the status")
    end_backends(bed)
    assert who(one)["login"] == USERS[0]
    shown = secrets_of(one)[0]
    assert shown["serves"] and shown["name"] == "prod/shop" and shown["vault"] == "sm"
    ready = one.status("/status/ready")
    assert ready.status == 200
    assert ready.json["degraded"] and ready.json["warnings"][0]["reason"] == "secret"
    aws.outage = None
    wait_until(lambda: secrets_of(one)[0]["last_error"] is None, 60, "the end of the outage")
    metrics = one.status("/metrics").body.decode()
    assert 'sallyport_secret_reads_total{result="ok"} ' in metrics
    age = 'sallyport_secret_age_seconds{vault="sm",secret="prod/shop",stage="AWSCURRENT"} '
    assert age in metrics


def test_after_resurrect_ttl_the_value_is_gone(served_by_secret, aws, bed):
    one = served_by_secret(vault={"ttl": 1, "resurrect_ttl": 1})
    who(one)
    aws.denied.add("GetSecretValue")
    wait_until(lambda: not secrets_of(one)[0]["serves"], 20, "the end of the value")
    end_backends(bed)
    who(one, expect=503)
    assert logins(one)[-1]["reason"] == "login_secret_unavailable"
    aws.denied.clear()
    wait_until(lambda: one.get("/who", one.mint("alice")).status == 200, 30, "logins again")


def reload(gateway, event):
    """Loads anew and waits for the outcome."""
    before = sum(1 for line in gateway.log() if line["event"] == event)
    gateway.process.send_signal(1)
    wait_until(
        lambda: sum(1 for line in gateway.log() if line["event"] == event) > before,
        40,
        event,
    )


@pytest.mark.parametrize(
    "fault, reason",
    [
        (None, "ResourceNotFoundException: Secrets Manager can't find the specified secret."),
        ("denied", "AccessDeniedException: User: "),
        ("member", "has no member 'username'"),
        ("text", "no JSON object"),
        ("throttled", "ThrottlingException: Rate exceeded"),
    ],
)
def test_a_wrong_reference_is_refused_and_the_old_one_serves(
    served_by_secret, aws, bed, issuer, fault, reason
):
    one = served_by_secret()
    who(one)
    pids = pool_of(bed)
    if fault == "denied":
        aws.denied.add("GetSecretValue")
    elif fault == "member":
        aws.put("prod/other", {"user": "x"})
    elif fault == "text":
        aws.put("prod/other", "hunter2-in-plain")
    elif fault == "throttled":
        aws.outage = secrets_manager.THROTTLED
    one.write_config(
        configuration(
            bed, issuer, {"endpoint_url": aws.url}, secret="{vault://sm/prod%2Fother}"
        )
    )
    reload(one, "configuration_refused")
    mistakes = [r for r in one.log() if r["event"] == "configuration" and r["level"] == "error"]
    assert len(mistakes) == 1, mistakes
    assert reason in mistakes[0]["text"] and "prod/other" in mistakes[0]["text"]
    assert mistakes[0]["file"] == str(one.config_file) and mistakes[0]["line"] == 1
    assert "hunter2" not in one.log_text()
    who(one)
    assert pids <= pool_of(bed)
    change = [r for r in one.audit() if r["kind"] == "config_change"][-1]
    assert change["applied"] is False and reason in change["detail"]
    aws.denied.clear()
    aws.outage = None
    aws.put("prod/other", document("first-Passw0rd"))
    reload(one, "configuration_loaded")  # what failed is asked anew at once
    assert who(one)["login"] == USERS[0]
    assert [s["name"] for s in secrets_of(one)] == ["prod/other"]


def test_a_reload_waits_for_a_slow_secret_while_the_old_configuration_serves(
    served_by_secret, aws, bed, issuer
):
    one = served_by_secret()
    who(one)
    aws.put("prod/slow", document("first-Passw0rd"))
    go = threading.Event()
    aws.before["GetSecretValue"] = lambda values: go.wait(30)
    one.write_config(
        configuration(bed, issuer, {"endpoint_url": aws.url}, secret="{vault://sm/prod%2Fslow}")
    )
    one.process.send_signal(1)
    wait_until(lambda: aws.count("GetSecretValue") == 2, 20, "the question")
    who(one)
    assert [r["event"] for r in one.log()].count("configuration_loaded") == 0
    go.set()
    wait_until(
        lambda: "configuration_loaded" in [r["event"] for r in one.log()], 20, "the load"
    )
    who(one)


def test_a_quit_does_not_wait_for_a_secret(served_by_secret, aws, bed):
    """A login that was refused waits for the secret: nobody starts it again any more."""
    one = served_by_secret(node={"shutdown_timeout_ms": 60000})
    who(one)
    set_password(bed, "changed-by-hand-Passw0rd")
    go, token, read = threading.Event(), one.mint("alice"), aws.count("GetSecretValue")
    aws.before["GetSecretValue"] = lambda values: go.wait(60)
    end_backends(bed)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(one.get, "/who", token)
        try:
            wait_until(lambda: aws.count("GetSecretValue") > read, 20, "the question")
            waiting = re.compile(r"^sallyport_pool_waiting\{[^}]*\} 1$", re.M)
            wait_until(
                lambda: waiting.search(one.status("/metrics").body.decode()), 20, "the call"
            )
            begun = time.monotonic()
            one.process.send_signal(signal.SIGQUIT)
            assert call.result(60).status == 503
            assert one.process.wait(60) == 0
        finally:
            go.set()
    assert time.monotonic() - begun < 4  # less than the pool's wait_timeout_ms
    one.process = None


def test_a_rotated_value_at_a_reload_keeps_the_pool(served_by_secret, aws, bed):
    one = served_by_secret(vault={"ttl": 0}, pool=ONE)
    who(one)
    pids = pool_of(bed)
    rotate(aws, bed, "second-Passw0rd")
    reload(one, "configuration_loaded")
    who(one)
    assert pids <= pool_of(bed)
    current = aws.secret("prod/shop").at(CURRENT).id
    assert secrets_of(one)[0]["version"] == current
    refused, read = refusals(one), aws.count("GetSecretValue")
    end_backends(bed)
    who(one)
    assert (refusals(one), aws.count("GetSecretValue")) == (refused, read)


def test_a_start_without_the_secret_says_why(served_by_secret, aws):
    aws.put("prod/shop", document("x"))
    aws.denied.add("GetSecretValue")
    one = served_by_secret(run=False)
    one.launch()
    assert one.process.wait(60) == 1
    one.process = None
    said = one.log_text()
    assert f"{one.config_file}:1:" in said
    assert "'secret': the secret 'prod/shop' of AWS: " in said
    assert "AccessDeniedException: User: " in said


def test_a_file_is_read_at_each_login(served_by_secret, bed, tmp_path):
    file = tmp_path / "password"
    file.write_text("first-Passw0rd\n")
    reference = f"{{vault://file/%2F{str(file)[1:]}}}"
    one = served_by_secret(user=USERS[0], password=reference, pool=ONE)
    who(one)
    assert logins(one)[-1]["credential_source"] == f"file/{file}"
    set_password(bed, "second-Passw0rd")
    file.write_text("second-Passw0rd\n")
    refused = refusals(one)
    end_backends(bed)
    who(one)
    assert refusals(one) == refused
    set_password(bed, "third-Passw0rd")
    end_backends(bed)
    late = threading.Timer(0.4, file.write_text, ["third-Passw0rd\n"])
    late.start()  # a moment after the login was refused
    who(one)
    late.join()
    assert refusals(one) > refused


ROLE = "arn:aws:iam::123456789012:role/vault"


@pytest.fixture
def sts(aws):
    """A double of STS that knows the key, and whose sessions Secrets Manager knows."""

    def tell(session):
        aws.know(session.access_key_id, session.secret_access_key, session.session_token)

    double = Sts(on_mint=tell)
    double.know(aws.key.access_key_id, aws.key.secret_access_key, aws.key.session_token)
    yield double
    double.close()


NOWHERE = "http://127.0.0.1:9"  # nobody answers there


PLACES = ["entity", "property", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]


@pytest.mark.parametrize("place", PLACES)
def test_a_vaults_role_is_assumed_where_the_nearest_setting_says(
    served_by_secret, aws, sts, place
):
    """Each place goes before those after it, which point nowhere."""
    urls = {p: sts.url if p == place else NOWHERE for p in PLACES[PLACES.index(place) :]}
    vault = {"assume_role_arn": ROLE}
    if "entity" in urls:
        vault["sts_endpoint_url"] = urls["entity"]
    node = {"vault_aws_sts_endpoint_url": urls["property"]} if "property" in urls else {}
    env = {name: url for name, url in urls.items() if name.startswith("AWS_")}
    one = served_by_secret(vault=vault, node=node, env=env)
    assert who(one)["login"] == USERS[0]
    assert len(sts.minted) == 1
    (request,) = [r for r in sts.requests if b"Action=AssumeRole" in r.body]
    form = dict(p.split("=", 1) for p in request.body.decode().split("&"))
    assert form["RoleSessionName"] == "KongVault"
    assert "role%2Fvault" in form["RoleArn"]
    key = aws.requests[-1].headers["authorization"]
    assert f"Credential={sts.minted[0].access_key_id}/" in key


def test_vault_get_prints_what_a_reference_stands_for(served_by_secret, aws, tmp_path):
    one = served_by_secret(run=False, env={"A_NAME": "from the environment"})
    (tmp_path / "f").write_text("from a file\n")
    aws.put("plain", "text")
    aws.put("bits", "first")
    aws.put("bits", "second")
    conf = ("-c", one.node_file)
    rows = [
        ("{vault://sm/prod%2Fshop/password}", "first-Passw0rd"),
        ("sm/prod%2Fshop/username", USERS[0]),
        ("sm/plain", "text"),
        ("sm/bits#2", "first"),
        ("{vault://env/A_NAME}", "from the environment"),
        (f"file/%2F{str(tmp_path)[1:]}/f", "from a file"),
    ]
    for reference, value in rows:
        done = one.run("vault", "get", *conf, reference)
        assert (done.returncode, done.stdout, done.stderr) == (0, value + "\n", ""), reference
    for reference, reason in [
        ("sm/none", "ResourceNotFoundException"),
        ("sm/plain/x", "no JSON object"),
        ("sm/prod%2Fshop/x", "has no member 'x'"),
        ("other/x", "there is no vault 'other'"),
        ("env/NOT_THERE", "is not set"),
    ]:
        done = one.run("vault", "get", *conf, reference)
        assert (done.returncode, done.stdout) == (1, ""), reference
        assert done.stderr.startswith("Error: ") and reason in done.stderr
    assert one.run("vault", "get").returncode == 1
    assert "usage: sallyport vault get" in one.run("vault", "--help").stdout


def test_check_reads_secrets_when_asked(served_by_secret, aws):
    one = served_by_secret(run=False)
    done = one.run("check", "-c", one.node_file)
    assert done.returncode == 0 and aws.requests == []
    assert "the secret of AWS was not read" in done.stderr
    done = one.run("check", "--secrets", "-c", one.node_file)
    assert (done.returncode, done.stderr) == (0, "") and aws.count("GetSecretValue") == 1
    aws.put("prod/shop", {"username": "x"})
    done = one.run("check", "--secrets", "-c", one.node_file)
    assert done.returncode == 1 and "has no member 'password'" in done.stderr


def test_check_looks_at_what_a_rotation_needs(served_by_secret, aws, bed):
    rotation = {"every": 30 * 86400, "strategy": "alternating-users",
                "master": "{vault://sm/prod%2Fmaster}"}
    whole = {**document("first-Passw0rd"), "host": "127.0.0.1", "port": bed.port}
    one = served_by_secret(run=False, rotation=rotation)
    rows = [
        (whole, {**whole, "username": "master"}, []),
        (whole, None, ["master {vault://sm/prod%2Fmaster} cannot be rotated with:"]),
        ({**whole, "engine": "mysql"}, whole, [
            "secret {vault://sm/prod%2Fshop} cannot be rotated with: the secret's engine is not"
            " postgres, or is missing"]),
        (document("first-Passw0rd"), whole, ["the secret's host, port, username"]),
        ({**whole, "host": "db.example.com"}, whole, [
            "secret {vault://sm/prod%2Fshop} cannot be rotated with: it is for another host or"
            " port than the service"]),
        (whole, {**whole, "port": 1}, ["master {vault://sm/prod%2Fmaster} cannot be rotated"]),
    ]
    for secret, master, said in rows:
        aws.put("prod/shop", secret)
        if master:
            aws.put("prod/master", master)
        else:
            aws.secrets = {k: s for k, s in aws.secrets.items() if s.name != "prod/master"}
        done = one.run("check", "--secrets", "-c", one.node_file)
        assert done.returncode == (1 if said else 0), done.stderr
        for text in said:
            assert text in done.stderr
        assert "first-Passw0rd" not in done.stderr + done.stdout
        assert one.run("check", "-c", one.node_file).returncode == 0


def test_no_secret_is_ever_written_down(served_by_secret, aws, sts, bed):
    """Everything that occurred: passwords old and new, keys, session tokens, bearer tokens."""
    passwords = [f"Passw0rd-number-{n}-of-the-test" for n in range(4)]
    one = served_by_secret(
        now=passwords[0],
        vault={"ttl": 1, "assume_role_arn": ROLE, "sts_endpoint_url": sts.url},
        node={"log_level": "debug", "log_format": "text"},
    )
    tokens = [one.mint("alice"), one.mint("mallory")]
    assert one.get("/who", tokens[0]).status == 200
    one.get("/who", tokens[1])
    rotate(aws, bed, passwords[1])
    end_backends(bed)
    assert one.get("/who", tokens[0]).status == 200
    aws.put("prod/shop", f"{passwords[2]} is no JSON")
    wait_until(lambda: "is no JSON" in aws.secret("prod/shop").at(CURRENT).text, 5, "it")
    set_password(bed, passwords[3])
    aws.outage = secrets_manager.THROTTLED
    wait_until(lambda: secrets_of(one)[0]["last_error"], 20, "the failure")
    end_backends(bed)
    one.get("/who", tokens[0])
    reached = (one.status("/status"), one.status("/metrics"), one.status("/status/ready"))
    written = one.log_text() + "".join(a.body.decode() for a in reached)
    for file in one.audit_folder.iterdir():
        if file.suffix == ".jsonl":
            written += file.read_text()
    hidden = [*passwords, *tokens, aws.key.secret_access_key, aws.key.session_token]
    for session in sts.minted:
        hidden += [session.secret_access_key, session.session_token]
    for token in tokens:
        hidden.append(token.split(".")[2])
    assert "secret_failed" in written and "prod/shop" in written
    for secret in hidden:
        assert len(secret) > 16 and secret not in written
