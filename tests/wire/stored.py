"""What tests of the configuration in PostgreSQL share."""

import os
import subprocess

import harness
import pytest

CLEAN = ("SALLYPORT_", "KONG_", "AWS_", "PG")
MIGRATIONS = ["000_base", "001_revisions", "002_nodes", "003_consumers", "005_plugins"]
# What those after the first version made.
LATER_TABLES = ["sallyport_nodes", "sallyport_plugins", "sallyport_role_consumers",
                "sallyport_consumers"]
TABLES = (
    "sallyport_consumers sallyport_issuers sallyport_migrations sallyport_migrations_pending "
    "sallyport_nodes sallyport_plugins sallyport_revisions "
    "sallyport_role_consumers sallyport_role_issuers "
    "sallyport_role_routes sallyport_role_services sallyport_roles sallyport_routes "
    "sallyport_services sallyport_vaults"
).split()


class Store:
    """A database of its own, whose owner kong logs in by IAM, and files that name it."""

    def __init__(self, bed, folder, name):
        self.bed, self.folder, self.name = bed, folder, name
        self.conf = folder / "kong.conf"
        self.write_conf()

    def write_conf(self, *lines, **more):
        properties = {
            "pg_host": "127.0.0.1",
            "pg_port": self.bed.port,
            "pg_database": self.name,
            "pg_iam_auth_hostname": self.bed.hostname,
            "lua_ssl_trusted_certificate": self.bed.ca.file,
            **more,
        }
        text = [f"{name} = {value}" for name, value in properties.items() if value is not None]
        self.conf.write_text("\n".join([*text, *lines, ""]))

    def command(self, *arguments, iam=True, environment=None, program=None):
        clean = {n: v for n, v in os.environ.items() if not n.startswith(CLEAN)}
        if iam:
            clean |= {"KONG_PG_IAM_AUTH": "on"} | self.bed.keys[0].environment()
        clean |= environment or {}
        return [str(program or harness.binary()), *map(str, arguments), "-c", str(self.conf)], clean

    def run(self, *arguments, stdin=subprocess.DEVNULL, **options):
        command, environment = self.command(*arguments, **options)
        got = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=stdin, timeout=120
        )
        assert not harness.SANITIZER.search(got.stderr), got.stderr
        return got

    def migrations(self, *arguments, **options):
        return self.run("migrations", *arguments, **options)

    def sql(self, text):
        return self.bed.superuser_sql(text, database=self.name).strip()

    def tables(self):
        return self.sql(
            "select tablename from pg_tables where schemaname not in"
            " ('pg_catalog', 'information_schema') order by 1"
        ).split()


@pytest.fixture(scope="module")
def logins(bed):
    """kong by IAM, keeper by password."""
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    bed.superuser_sql(
        "set password_encryption = 'scram-sha-256'; create role kong login;"
        " grant rds_iam to kong; create role keeper login password 'hunter2'"
    )
    hba.write_text("hostssl all keeper 127.0.0.1/32 scram-sha-256\n" + before)
    bed.superuser_sql("select pg_reload_conf()")
    yield
    hba.write_text(before)
    bed.superuser_sql("drop role kong; drop role keeper")
    bed.superuser_sql("select pg_reload_conf()")


@pytest.fixture
def store(bed, logins, tmp_path, request):
    name = "store_" + str(abs(hash(request.node.name)) % 10**9)
    bed.superuser_sql(f"create database {name} owner kong")
    yield Store(bed, tmp_path, name)
    bed.superuser_sql(f"drop database {name} with (force)")


def assert_done(got, *said):
    assert (got.returncode, got.stderr) == (0, ""), got.stderr + got.stdout
    for text in said:
        assert text in got.stdout
