"""`sallyport rotate` between a real PostgreSQL over TLS and the double of AWS Secrets Manager."""

import json
import os
import re
import signal
import subprocess

import psycopg2
import pytest

import harness
from bed.postgres import AccessKey, PostgresBed, wait_until
from doubles.aws import Sts
from doubles.secrets_manager import (
    CURRENT,
    HANG_UP,
    PENDING,
    PREVIOUS,
    THROTTLED,
    ApiError,
    SecretsManager,
)

FIRST = "first-password"
MASTER = "master-password"


@pytest.fixture(scope="module")
def bed():
    """A PostgreSQL of its own, where passwords are taken over TLS; log_statement is all."""
    with PostgresBed() as running:
        hba = running.data / "pg_hba.conf"
        text = hba.read_text().replace("host    all all      all      reject\n", "")
        hba.write_text(text + "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        running.superuser_script(
            "select pg_reload_conf();"
            "create role reader nologin; create role writer nologin;"
            f"create role master login createrole password '{MASTER}';"
        )
        yield running


@pytest.fixture
def world(bed, tmp_path):
    """A user with a password, its secret, and the command."""
    made = World(bed, tmp_path)
    yield made
    made.close()


class World:
    serial = 0

    def __init__(self, bed, folder):
        World.serial += 1
        self.bed = bed
        self.user = f"app{World.serial}"
        self.key = AccessKey.fresh(temporary=True)
        self.double = SecretsManager()
        self.double.know(
            self.key.access_key_id, self.key.secret_access_key, self.key.session_token
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(bed.ca.file.read_bytes())
        self.log_at = bed.log_file.stat().st_size
        bed.superuser_script(
            f"create role {self.user} login noinherit password '{FIRST}' connection limit 40;"
            f"grant reader, writer to {self.user};"
            f"alter role {self.user} set search_path = 'sales', \"Odd \"\"Name\";"
            f"alter role {self.user} in database shop set work_mem = '5MB';"
        )
        self.double.put("db/master", self.secret("master", MASTER))
        self.master = self.double.secret("db/master").arn
        self.double.put("db/app", {**self.secret(self.user, FIRST), "masterarn": self.master})
        self.said = ""
        self.endpoint = None  # of the environment: the double's

    def secret(self, user, password, **more):
        return {
            "engine": "postgres",
            "host": "localhost",
            "username": user,
            "password": password,
            "dbname": "shop",
            "port": self.bed.port,
            "note": "kept \u00e9 \"as it is\"",
            **more,
        }

    def close(self):
        self.double.close()
        names = f"('{self.user}', '{self.user}_clone')"
        self.bed.superuser_script(
            f"select pg_terminate_backend(pid) from pg_stat_activity where usename in {names};"
            "do $$ declare u text; begin"
            f" for u in select rolname from pg_roles where rolname in {names} loop"
            " execute format('drop owned by %I', u); execute format('drop role %I', u);"
            " end loop; end $$"
        )

    @property
    def app(self):
        return self.double.secret("db/app")

    def environment(self):
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
            "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99",
            # What libpq would read, and must not.
            "PGHOST": "203.0.113.1",
            "PGSSLMODE": "disable",
            "PGOPTIONS": "-c nonsense=1",
            **(self.double.environment() if self.endpoint is None else self.endpoint),
            **self.key.environment(),
        }

    def start(self, *arguments, secret="db/app"):
        return subprocess.Popen(
            [str(harness.binary()), "rotate", secret, "--sslrootcert", str(self.ca), *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process):
        out, errors = process.communicate(timeout=90)
        self.said += out + errors
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    def rotate(self, *arguments, secret="db/app", code=0):
        done = self.end(self.start(*arguments, secret=secret))
        assert done.returncode == code, (done.stdout + done.stderr)[:3000]
        return done

    def logs_in(self, user, password):
        try:
            psycopg2.connect(
                host="localhost",
                port=self.bed.port,
                user=user,
                password=password,
                dbname="shop",
                sslmode="require",
            ).close()
            return True
        except psycopg2.OperationalError as error:
            assert "password authentication failed" in str(error)
            return False

    def pair(self, stage):
        document = self.app.document(stage)
        return document["username"], document["password"]

    def verifiers(self):
        return self.bed.superuser_sql(
            "select rolname, rolpassword from pg_authid where rolname like 'app%' order by 1"
        )

    def assert_rotated(self, before=FIRST):
        """One version is current, its password serves, everything else of the secret is kept."""
        user, password = self.pair(CURRENT)
        assert password != before
        assert re.fullmatch(r"[A-Za-z0-9._~-]{40}", password)
        assert self.logs_in(user, password)
        assert self.app.at(PREVIOUS) is not self.app.at(CURRENT)
        assert self.app.at(PENDING) in (None, self.app.at(CURRENT))
        expected = {**self.secret(user, password), "masterarn": self.master}
        assert self.app.document(CURRENT) == expected

    def assert_secret_kept(self):
        """No password that any version ever held stands in what was printed or logged."""
        with open(self.bed.log_file, errors="replace") as file:
            file.seek(self.log_at)
            log = file.read()
        assert "ALTER ROLE" in log.upper() or "CREATE ROLE" in log.upper()
        for version in self.app.versions.values():
            password = json.loads(version.text)["password"]
            if password != FIRST:  # this one the test itself has logged
                assert password not in log
            assert password not in self.said
        for secret in (MASTER, self.key.secret_access_key, self.key.session_token):
            assert secret not in self.said


# -- the two strategies --------------------------------------------------------------------------


def test_a_single_user_changes_its_own_password(world):
    done = world.rotate()
    steps = re.findall(r"^(\w+): ", done.stdout, re.M)
    assert steps == ["look", "login", "create", "set", "test", "finish", "done"]
    world.assert_rotated()
    assert world.pair(CURRENT)[0] == world.user
    assert world.pair(PREVIOUS) == (world.user, FIRST)
    assert not world.logs_in(world.user, FIRST)
    assert "SCRAM-SHA-256$" in world.verifiers()
    second = world.pair(CURRENT)[1]
    world.rotate()
    world.assert_rotated(second)
    assert world.pair(PREVIOUS) == (world.user, second)
    world.assert_secret_kept()
    assert len(world.app.versions) == 3


def describe(world, user):
    """All that a clone shall have from its original."""
    return world.bed.superuser_sql(
        "select rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolsuper, rolconnlimit,"
        " rolvaliduntil, (select array_agg((roleid::regrole, admin_option) order by roleid)"
        "  from pg_auth_members where member = r.oid),"
        " (select array_agg((setdatabase, setconfig) order by setdatabase)"
        "  from pg_db_role_setting where setrole = r.oid)"
        f" from pg_roles r where rolname = '{user}'"
    )


def test_two_users_take_turns_and_are_alike(world):
    clone = world.user + "_clone"
    bed = world.bed
    bed.superuser_sql(f"grant connect on database shop to {world.user}")
    bed.superuser_sql("grant all on database shop to master with grant option")
    bed.superuser_sql(f"grant reader, writer, {world.user} to master with admin option")
    options = ("--strategy", "alternating-users")
    done = world.rotate(*options)
    assert f"set: {clone} has the new password, and is like {world.user}" in done.stdout
    world.assert_rotated()
    assert world.pair(CURRENT)[0] == clone
    assert world.logs_in(world.user, FIRST), "the present user's password is left alone"
    assert describe(world, clone).split("|")[5] == "40"
    second = world.pair(CURRENT)[1]
    # What changes between two rotations is taken over by the next, both ways.
    bed.superuser_script(
        f"revoke writer from {clone}; grant reader to {clone} with admin option;"
        f"alter role {clone} createdb; alter role {clone} set statement_timeout = '7s'"
    )
    bed.superuser_sql("alter role master superuser")  # CREATEDB is for who has it
    world.rotate(*options)
    bed.superuser_sql("alter role master nosuperuser")
    world.assert_rotated(second)
    assert world.pair(CURRENT)[0] == world.user
    assert world.logs_in(clone, second)
    assert not world.logs_in(world.user, FIRST)
    assert describe(world, world.user) == describe(world, clone)
    created = f"select rolcreatedb from pg_roles where rolname = '{world.user}'"
    assert bed.superuser_sql(created) == "t\n"
    assert f"{clone}=c/master" in bed.superuser_sql("select datacl from pg_database")
    bed.superuser_sql("revoke all on database shop from master cascade")
    world.assert_secret_kept()


def test_a_clone_has_all_that_the_original_has(world):
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    world.rotate("--strategy", "alternating-users", "--master-secret", "db/master")
    assert describe(world, world.user) == describe(world, world.user + "_clone")
    assert "search_path=sales" in describe(world, world.user + "_clone")
    assert "work_mem=5MB" in describe(world, world.user + "_clone")


@pytest.mark.parametrize(
    "sql, reason",
    [
        ("create table owned (); alter table owned owner to {}", "it owns objects"),
        ("create table if not exists g (); grant select on g to {}", "rights of its own"),
        (
            "create table if not exists p (); drop policy if exists q on p;"
            "create policy q on p as restrictive to {}",
            "policies of row security name it",
        ),
        ("alter role {} bypassrls", "bypass row security"),
        ("alter role {} createrole", "may make users"),
    ],
)
def test_a_user_that_cannot_be_copied_is_refused(world, sql, reason):
    world.bed.superuser_sql(sql.format(world.user))
    before = world.verifiers()
    done = world.rotate("--strategy", "alternating-users", code=1)
    assert reason in done.stderr
    assert world.verifiers() == before
    assert world.pair(CURRENT) == (world.user, FIRST)


@pytest.mark.parametrize(
    "sql, reason",
    [
        ("create table more (); alter table more owner to {}", "the other user owns objects"),
        ("create table if not exists g (); grant select on g to {}", "has rights of its own"),
        (
            "create table if not exists p (); drop policy if exists q on p;"
            "create policy q on p to {}",
            "name the other user",
        ),
        ("alter role {} replication", "the other user is a superuser"),
        ("alter role {} createrole", "the other user is a superuser"),
    ],
)
def test_somebody_elses_user_of_the_clones_name_is_left_alone(world, sql, reason):
    clone = world.user + "_clone"
    world.bed.superuser_sql(f"create role {clone} login password 'theirs'")
    world.bed.superuser_script(sql.format(clone))
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    for arguments in (["--dry-run"], []):
        done = world.rotate("--strategy", "alternating-users", *arguments, code=1)
        assert reason in done.stderr
    assert world.logs_in(clone, "theirs")
    assert world.pair(CURRENT) == (world.user, FIRST)


def test_a_right_on_a_database_that_the_original_lacks_goes(world):
    clone = world.user + "_clone"
    bed = world.bed
    bed.superuser_script(
        f"create role {clone} login; grant reader, writer to master with admin option;"
        "grant all on database shop to master with grant option; set role master;"
        f"grant create on database shop to {clone};"
        f"grant connect on database shop to {clone} with grant option; reset role;"
        f"grant connect on database shop to {world.user}"
    )
    world.rotate("--strategy", "alternating-users")
    assert f"{clone}=c/master" in bed.superuser_sql("select datacl from pg_database")
    world.assert_rotated()
    # One that the master did not give it cannot take: then nothing is changed.
    bed.superuser_sql(f"grant create on database shop to {world.user}")
    before = world.verifiers()
    bed.superuser_sql("revoke create on database shop from master")
    done = world.rotate("--strategy", "alternating-users", code=1)
    assert "the right CREATE on the database shop could not be made the same" in done.stderr
    assert world.verifiers() == before
    bed.superuser_sql("revoke all on database shop from master cascade")


# -- --dry-run, and what is not ours -------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["single-user", "alternating-users"])
def test_a_dry_run_changes_nothing(world, strategy):
    before = world.verifiers()
    done = world.rotate("--dry-run", "--strategy", strategy)
    assert "would put a new version AWSPENDING" in done.stdout
    assert "(dry run) done: nothing was changed" in done.stdout
    if strategy == "single-user":
        assert f"would change the password of {world.user}" in done.stdout
    else:
        assert f"would create {world.user}_clone like {world.user}" in done.stdout
    assert {action for action, _ in world.double.actions} == {"DescribeSecret", "GetSecretValue"}
    assert world.verifiers() == before
    assert len(world.app.versions) == 1


@pytest.mark.parametrize(
    "fields", [{"owning_service": "rds", "rotation_enabled": True}, {"rotation_enabled": True}]
)
def test_a_secret_that_aws_rotates_is_only_followed(world, fields):
    for name, value in fields.items():
        setattr(world.app, name, value)
    done = world.rotate(code=3)
    assert "it is only followed" in done.stderr
    assert world.double.actions == [("DescribeSecret", {"SecretId": "db/app"})]


def test_an_age_not_reached_is_no_rotation(world):
    done = world.rotate("--if-older-than", "30d")
    assert "nothing to do: the next rotation is due at" in done.stdout
    assert world.pair(CURRENT) == (world.user, FIRST)
    world.app.at(CURRENT).created -= 31 * 86400
    world.app.last_rotated = world.app.created - 86400 * 2
    world.rotate("--if-older-than", "30d")
    assert world.pair(CURRENT) == (world.user, FIRST), "LastRotatedDate counts too"
    world.app.last_rotated -= 31 * 86400
    world.rotate("--if-older-than", "30d")
    world.assert_rotated()


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"engine": "mysql"}, "engine is not postgres"),
        ({"host": "localhost,203.0.113.9"}, "cannot be used"),
        ({"host": "/run/postgresql"}, "cannot be used"),
        ({"username": "x" * 64}, "cannot be used"),
        ({"port": "70000"}, "cannot be used"),
        ({"password": ""}, "cannot be used"),
    ],
)
def test_a_secret_in_another_form_is_refused(world, change, reason):
    world.double.put("db/app", {**world.secret(world.user, FIRST), **change})
    assert reason in world.rotate(code=1).stderr
    assert world.double.count("PutSecretValue") == 0


def test_a_server_that_tls_does_not_verify_is_not_talked_to(world):
    world.ca.write_bytes(harness_other_ca(world))
    done = world.rotate(code=1)
    assert "certificate verify failed" in done.stderr
    assert world.double.count("PutSecretValue") == 0
    world.ca.write_bytes(world.bed.ca.file.read_bytes())
    world.double.put("db/app", {**world.secret(world.user, FIRST), "host": "127.0.0.2"})
    done = world.rotate(code=1)
    assert "127.0.0.2" in done.stderr


def harness_other_ca(world):
    from bed.ca import Authority

    folder = world.ca.parent / "other"
    folder.mkdir()
    return Authority(folder).file.read_bytes()


def test_a_master_of_another_password_or_place_is_refused(world):
    options = ("--strategy", "alternating-users")
    world.double.put("db/master", world.secret("master", "wrong"))
    assert "does not let the master secret's user in" in world.rotate(*options, code=1).stderr
    world.double.put("db/master", world.secret("master", MASTER, host="127.0.0.1"))
    assert "another host or port" in world.rotate(*options, code=1).stderr
    world.double.put("db/app", world.secret(world.user, FIRST))
    assert "needs a master" in world.rotate(*options, code=1).stderr
    assert world.double.count("PutSecretValue") == 0
    assert world.pair(CURRENT) == (world.user, FIRST)


def test_a_pending_version_for_somebody_else_is_not_set(world):
    world.double.put("db/app", world.secret("postgres", "x" * 20), stages=(PENDING,))
    assert "a user that this rotation is not about" in world.rotate(code=1).stderr
    world.double.put("db/app", world.secret(world.user, "x" * 20, host="h"), stages=(PENDING,))
    assert "another host, port or database" in world.rotate(code=1).stderr


def test_no_password_of_the_secret_serves(world):
    world.bed.superuser_sql(f"alter role {world.user} password 'changed by hand'")
    done = world.rotate(code=1)
    assert "takes none of the secret's passwords" in done.stderr
    assert world.double.count("PutSecretValue") == 0


# -- crashes -------------------------------------------------------------------------------------


class Killer:
    """Kills the process when the double gets a request, before or after it is done."""

    def __init__(self, world, when, action):
        self.process = None
        self.when = when
        getattr(world.double, when)[action] = self

    def __call__(self, _):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.when == "before":
            raise ApiError(HANG_UP, "")


@pytest.mark.parametrize("strategy", ["single-user", "alternating-users"])
@pytest.mark.parametrize(
    "when, action",
    [
        ("before", "PutSecretValue"),
        ("after", "PutSecretValue"),
        ("before", "UpdateSecretVersionStage"),
        ("after", "UpdateSecretVersionStage"),
    ],
)
def test_a_killed_rotation_is_ended_by_the_next(world, strategy, when, action):
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    options = ("--strategy", strategy)
    killer = Killer(world, when, action)
    killer.process = world.start(*options)
    assert world.end(killer.process).returncode == -signal.SIGKILL
    getattr(world.double, when).clear()
    versions = len(world.app.versions)
    done = world.rotate(*options)
    world.assert_rotated()
    world.assert_secret_kept()
    if (when, action) in (("after", "PutSecretValue"), ("before", "UpdateSecretVersionStage")):
        assert "goes on with version" in done.stdout
        assert len(world.app.versions) == versions == 2
        # The database had the password already: it was not set a second time.
        assert ("set: " in done.stdout) == (action == "PutSecretValue")


@pytest.mark.parametrize("strategy", ["single-user", "alternating-users"])
def test_a_set_whose_answer_never_came_is_found_done(world, strategy):
    """The database ends the session as it commits the new password."""
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    world.double.after["PutSecretValue"] = lambda _: terminate(world)
    done = world.rotate("--strategy", strategy, code=1)
    assert "set: " in done.stderr
    world.double.after.clear()
    world.rotate("--strategy", strategy)
    world.assert_rotated()
    assert len(world.app.versions) == 2


def terminate(world):
    world.bed.superuser_sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'sallyport rotate'"
    )


@pytest.mark.parametrize("action", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_lost_answers_and_throttling_are_asked_again(world, action):
    world.double.lost[action] = 1
    world.double.failures["DescribeSecret"].extend([THROTTLED, THROTTLED])
    world.double.failures[action].append(THROTTLED)
    world.rotate()
    world.assert_rotated()
    assert len(world.app.versions) == 2


def test_a_permission_that_is_missing_is_named_and_then_granted(world):
    world.double.denied.add("UpdateSecretVersionStage")
    done = world.rotate(code=1)
    assert "finish: " in done.stderr and "UpdateSecretVersionStage" in done.stderr
    # The database has the new password, AWSCURRENT has not: now is when AWSPENDING serves.
    assert not world.logs_in(*world.pair(CURRENT))
    assert world.logs_in(*world.pair(PENDING))
    world.double.denied.clear()
    assert "let in" in world.rotate().stdout
    world.assert_rotated()


def test_a_password_that_was_rolled_back_is_found_in_awsprevious(world):
    world.rotate()
    second = world.pair(CURRENT)[1]
    world.bed.superuser_sql(f"alter role {world.user} password '{FIRST}'")
    previous = world.app.at(PREVIOUS)  # of a database that is gone: the lock is in the present one
    previous.text = json.dumps({**json.loads(previous.text), "dbname": "gone"})
    assert "AWSPREVIOUS: let in" in world.rotate().stdout
    world.assert_rotated(second)


# -- two at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["single-user", "alternating-users"])
def test_of_two_at_once_one_rotates(world, strategy):
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    world.app.at(CURRENT).created -= 3600
    options = ("--strategy", strategy, "--if-older-than", "30m")
    both = []

    def second(_):
        """The first holds the lock now; the second waits for it before the first goes on."""
        world.double.before.clear()
        both.append(world.start(*options))
        wait_until(
            lambda: world.bed.superuser_sql("select 1 from pg_locks where not granted"),
            30,
            "the second's wait",
        )

    world.double.before["PutSecretValue"] = second
    both.insert(0, world.start(*options))
    ends = [world.end(both[0]), world.end(both[1])]
    assert [e.returncode for e in ends] == [0, 0], ends
    assert "the secret is rotated" in ends[0].stdout
    assert "another process has rotated the secret meanwhile" in ends[1].stdout
    assert world.double.count("PutSecretValue") == 1
    world.assert_rotated()


# -- the configuration ---------------------------------------------------------------------------


def test_the_vaults_role_region_and_endpoint_are_taken(world, tmp_path):
    """vault_aws_…: the keys of the environment assume the role, whose session alone is known."""
    sts = Sts()
    sts.know(world.key.access_key_id, world.key.secret_access_key, world.key.session_token)
    sts.on_mint = lambda s: world.double.know(
        s.access_key_id, s.secret_access_key, s.session_token
    )
    world.double.known.clear()
    conf = tmp_path / "sallyport.conf"
    conf.write_text(
        "vault_aws_region = eu-west-1\n"
        f"vault_aws_endpoint_url = {world.double.url}\n"
        "vault_aws_assume_role_arn = arn:aws:iam::123456789012:role/rotate\n"
        f"vault_aws_sts_endpoint_url = {sts.url}\n"
    )
    try:
        world.endpoint = {}
        world.rotate("-c", str(conf))
    finally:
        sts.close()
    assert [s.arn for s in sts.minted] == [
        "arn:aws:sts::123456789012:assumed-role/rotate/KongVault"
    ]
    world.assert_rotated()


def test_of_two_vaults_secrets_of_one_name_the_services_is_meant(world, tmp_path):
    """Its vault, strategy, master and host, although another service stands before it."""

    def service(name, vault, **more):
        return {
            "name": name,
            "url": f"postgres://localhost:{world.bed.port}/shop",
            "secret": f"{{vault://{vault}/db%2Fapp}}",
            "sslrootcert": str(world.ca),
            **more,
        }

    rotation = {
        "every": 30 * 86400,
        "strategy": "alternating-users",
        "master": "{vault://aws/db%2Fmaster}",
    }
    served = {
        "_format_version": "3.0",
        "vaults": [
            {
                "prefix": "elsewhere",
                "name": "aws",
                "config": {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:1"},
            }
        ],
        "services": [service("first", "elsewhere"), service("shop", "aws", rotation=rotation)],
    }
    yaml = tmp_path / "sallyport.yaml"
    yaml.write_text(json.dumps(served))
    conf = tmp_path / "sallyport.conf"
    conf.write_text(
        "vault_aws_region = eu-west-1\n"
        f"vault_aws_endpoint_url = {world.double.url}\n"
        f"declarative_config = {yaml}\n"
    )
    world.bed.superuser_sql("grant reader, writer to master with admin option")
    done = world.rotate("-c", str(conf), "--service", "nobody", code=1)
    assert "no service nobody that logs in with db/app" in done.stderr
    assert not world.double.actions
    world.rotate("-c", str(conf), "--service", "shop")
    world.assert_rotated()
    assert world.pair(CURRENT)[0] == world.user + "_clone"


def test_sanitizers_are_silent(world):
    world.rotate()
    world.rotate("--dry-run")
    assert not harness.SANITIZER.search(world.said)
