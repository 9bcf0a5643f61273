#!/usr/bin/python3
"""A private PostgreSQL that lets `rds_iam` members in as Amazon RDS does.

As a library: `with PostgresBed() as bed:`.  As a program: runs it until interrupted.

Over TCP a member of rds_iam logs in over TLS with an IAM token, which the PAM module in
pam_rds_iam/ checks; everything else is refused.  The superuser comes in by the unix socket alone.
What it makes: one folder under the temporary directory and one file in /etc/pam.d, both removed
at stop; what a killed run left behind is removed at the next start.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import os
import pathlib
import pwd
import random
import re
import secrets
import select
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bed.ca import Authority  # noqa: E402

PAM_FOLDER = pathlib.Path("/etc/pam.d")
PAM_PREFIX = "sallyport-bed-"
START_SECONDS = 60
PR_SET_PDEATHSIG = 1


class BedError(Exception):
    """Said to a person: what is missing, and what to do."""


@dataclasses.dataclass
class AccessKey:
    """AWS credentials that the PAM module knows."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    @classmethod
    def fresh(cls, temporary=False):
        """Random credentials; temporary ones have a session token, as from an assumed role."""
        letters = string.ascii_uppercase + string.digits
        tail = "".join(secrets.choice(letters) for _ in range(16))
        token = secrets.token_urlsafe(700) if temporary else ""
        return cls(("ASIA" if temporary else "AKIA") + tail, secrets.token_urlsafe(30), token)

    def environment(self):
        """For the process that shall sign with these credentials."""
        names = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }
        if self.session_token:
            names["AWS_SESSION_TOKEN"] = self.session_token
        return names


def _port_candidates():
    """Ports below those that the kernel gives to outgoing connections, each once a round: what is
    found free stays free until a server is started on it."""
    ports = list(range(10000, 32000))
    random.shuffle(ports)
    while True:
        yield from ports


_PORTS = _port_candidates()


def free_port():
    """A TCP port on loopback that is free now, and that nobody here was told before."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def require_free_port(port, option):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BedError(
                f"port {port} on 127.0.0.1 is taken ({error.strerror}); "
                f"choose another with {option}"
            ) from None


def wait_until(condition, seconds, what):
    """Polls until the condition holds and returns its value; for what gives no event."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BedError(f"{what} did not happen within {seconds} seconds")
        select.select([], [], [], 0.01)


def _binaries():
    found = sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]),
    )
    if not found:
        raise BedError("PostgreSQL's server is not installed: apt-get install postgresql-15")
    return found[-1].parent


def process_start_time(pid):
    """The kernel's start time of a process, which tells it from a later one of the same id."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _as_root(command, text=None):
    """Runs one command as root; through sudo when we are not."""
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise BedError(
                f"root is needed to write to {PAM_FOLDER} (PostgreSQL's PAM service): "
                "run this as root, or install sudo"
            )
        command = ["sudo", *command]
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode != 0:
        raise BedError(f"{' '.join(command)}: {done.stderr.strip()}")


def _stop_stray_server(folder):
    """Ends the server of a killed run, known by its own data folder on its command line."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return
    if str(folder / "data").encode() in command:
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 20, "the old server's end")


def remove_stale():
    """Removes PAM files and folders of runs whose process is gone."""
    for file in PAM_FOLDER.glob(PAM_PREFIX + "*"):
        owner = re.search(r"^# owner (\d+) (\d+) (\S+)$", file.read_text(), re.M)
        if not owner or process_start_time(int(owner[1])) == owner[2]:
            continue
        folder = pathlib.Path(owner[3])
        if folder.name.startswith(PAM_PREFIX):
            _stop_stray_server(folder)
            shutil.rmtree(folder, ignore_errors=True)
        _as_root(["rm", "-f", "--", str(file)])


class PostgresBed:
    """One server with an empty database.  `hostname` is the RDS name that tokens are signed for
    and TLS verifies."""

    def __init__(
        self,
        port=None,
        hostname="shop.cluster-abc.eu-west-1.rds.amazonaws.com",
        region="eu-west-1",
        keys=(),
        signed_port=5432,
        database="shop",
        log_statement="all",
        settings=None,
    ):
        self.port = port
        self.hostname = hostname
        self.region = region
        self.keys = list(keys) or [AccessKey.fresh()]
        self.signed_port = signed_port
        self.database = database
        self.log_statement = log_statement
        self.settings = settings or {}
        self.process = None
        self.folder = None
        self.pam_file = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # -- start and stop ------------------------------------------------------------------------

    def start(self):
        self.binaries = _binaries()
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
        else:
            account = pwd.getpwuid(os.geteuid())
        self.account = account
        if self.port is None:
            self.port = free_port()
        else:
            require_free_port(self.port, "--postgres-port")
        remove_stale()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=PAM_PREFIX))
        self.folder.chmod(0o711)
        self.data = self.folder / "data"
        self.socket_folder = self.folder / "run"
        self.log_file = self.folder / "postgres.log"
        self.keys_file = self.folder / "keys"
        self._make_files()
        self._initdb()
        self._write_pam_service()
        self._launch()
        self.superuser_sql("create role rds_iam nologin", database="postgres")
        self.superuser_sql(f'create database "{self.database}"', database="postgres")

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)  # fast: disconnects, then a checkpoint
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
            self.process = None
        if self.pam_file:
            _as_root(["rm", "-f", "--", str(self.pam_file)])
            self.pam_file = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def halt(self):
        """Ends the server; `resume` starts it again, with what it held."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def resume(self):
        self._launch()

    def kill(self):
        """Ends the server as a crash of its host would, without a checkpoint or a good-bye."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    @contextlib.contextmanager
    def frozen(self):
        """The host hangs: connections stay open and are taken, and nobody answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def demote(self):
        """Starts it again as a standby, which only reads until `promote`."""
        self.halt()
        (self.data / "standby.signal").touch()
        self._give(self.data / "standby.signal")
        self.resume()

    def promote(self):
        """A standby becomes a writer; returns the Unix time at which its log says so, that it is
        ready to accept connections once more."""
        ready = "database system is ready to accept connections"
        before = len(self.log_lines(ready))
        self.superuser_sql("select pg_promote()", database="postgres")
        return self.log_time(self.wait_for_log(ready, count=before + 1)[-1])

    def _give(self, *paths):
        for path in paths:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _run_as_server(self, *command):
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            user=self.account.pw_uid,
            group=self.account.pw_gid,
            extra_groups=[self.account.pw_gid] if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise BedError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _make_files(self):
        self.ca = Authority(self.folder)
        names = [self.hostname, "localhost", "127.0.0.1"]
        self._give(*self.ca.issue("server", names))
        self.socket_folder.mkdir(mode=0o755)
        self.data.mkdir(mode=0o700)
        self._give(self.socket_folder, self.data)
        self.log_file.touch(0o644)
        self.set_keys(self.keys)
        self.module = self.folder / "pam_rds_iam.so"
        source = HERE / "pam_rds_iam" / "pam_rds_iam.c"
        build = subprocess.run(
            ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
            + ["-fPIC", "-shared", "-fvisibility=hidden", "-o", str(self.module), str(source)]
            + ["-lpam", "-lcrypto"],
            capture_output=True,
            text=True,
        )
        if build.returncode != 0:
            raise BedError(f"the PAM module does not build:\n{build.stderr}")

    def set_keys(self, keys):
        """Makes these the only keys that the PAM module knows, from the next login on."""
        self.keys = list(keys)
        new = self.keys_file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            for key in self.keys:
                token = key.session_token or "-"
                file.write(f"{key.access_key_id} {key.secret_access_key} {token}\n")
        self._give(new)
        new.rename(self.keys_file)

    def _initdb(self):
        self._run_as_server(
            self.binaries / "initdb",
            *("-D", self.data, "-U", "postgres", "-A", "reject", "--no-sync"),
            *("-E", "UTF8", "--locale=C.UTF-8"),
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.socket_folder,
            "unix_socket_permissions": "0700",
            "ssl": "on",
            "ssl_cert_file": self.folder / "server.crt",
            "ssl_key_file": self.folder / "server.key",
            "ssl_min_protocol_version": "TLSv1.2",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": 100,
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] user=%u db=%d app=%a ",
            "log_statement": self.log_statement,
            "log_connections": "on",
            "log_disconnections": "on",
            "log_hostname": "off",
            "log_parameter_max_length": 0,
            "log_parameter_max_length_on_error": 0,
        }
        settings.update(self.settings)
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            for name, value in settings.items():
                file.write(f"{name} = '{value}'\n")
        self.pam_service = f"{PAM_PREFIX}{os.getpid()}-{self.port}"
        (self.data / "pg_hba.conf").write_text(
            "local   all,replication postgres trust\n"
            f"hostssl all +rds_iam 127.0.0.0/8 pam pamservice={self.pam_service}\n"
            "host    all all      all      reject\n"
        )

    def _write_pam_service(self):
        hosts = " ".join(
            f"host={self.hostname}:{port}" for port in sorted({self.signed_port, self.port})
        )
        service = PAM_FOLDER / self.pam_service
        self.pam_file = service
        _as_root(
            ["tee", str(service)],
            f"# sallyport test bed; removed when it stops\n"
            f"# owner {os.getpid()} {process_start_time(os.getpid())} {self.folder}\n"
            f"auth required {self.module} keys={self.keys_file} region={self.region} {hosts}\n"
            f"account required {self.module}\n",
        )

    def _launch(self):
        libc = ctypes.CDLL(None)
        root = os.geteuid() == 0

        def die_with_parent():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)

        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.account.pw_uid if root else None,
                group=self.account.pw_gid if root else None,
                extra_groups=[self.account.pw_gid] if root else None,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

        def is_ready():
            if self.process.poll() is not None:
                raise BedError("PostgreSQL did not start:\n" + self.log_file.read_text())
            return (self.data / "postmaster.pid").exists() and "ready" in (
                self.data / "postmaster.pid"
            ).read_text().split()

        wait_until(is_ready, START_SECONDS, "PostgreSQL's start")

    # -- use -----------------------------------------------------------------------------------

    def superuser_dsn(self, database=None):
        """For libpq: the superuser, by the unix socket."""
        return (
            f"host={self.socket_folder} port={self.port} user=postgres "
            f"dbname={database or self.database}"
        )

    def _psql(self, *arguments, database=None, text=None):
        done = subprocess.run(
            [str(self.binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *arguments]
            + [self.superuser_dsn(database)],
            input=text,
            text=True,
            capture_output=True,
        )
        if done.returncode != 0:
            raise BedError(f"psql: {done.stderr.strip()}")
        return done.stdout

    def superuser_sql(self, text, database=None):
        """Runs SQL as the superuser; returns psql's unaligned output."""
        return self._psql("-c", text, database=database)

    def superuser_file(self, path, database=None):
        return self._psql("-f", str(path), database=database)

    def superuser_script(self, text, database=None):
        return self._psql("-f", "-", database=database, text=text)

    def log_lines(self, containing=""):
        """Lines of the server's own log that hold the text."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if containing in line]

    def wait_for_log(self, containing, seconds=20, count=1):
        """At least `count` lines of the server's log with the text; it is written by other
        processes, so an answer may come before its line."""

        def enough():
            lines = self.log_lines(containing)
            return lines if len(lines) >= count else None

        return wait_until(enough, seconds, f"{containing!r} in PostgreSQL's log")


    @staticmethod
    def log_time(line):
        """The Unix time of a line of the server's log."""
        said = datetime.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f")
        return said.replace(tzinfo=datetime.timezone.utc).timestamp()


class Standby(PostgresBed):
    """A streaming replica of a running bed on another address of this host, with the same port,
    login and certificate, as the members of a cluster have.  It stops with its primary at the
    latest: its folder stands in the primary's."""

    def __init__(self, primary, address="127.0.0.2"):
        super().__init__(primary.port, primary.hostname, primary.region, primary.keys)
        self.primary, self.database = primary, primary.database
        self.address = address

    def start(self):
        self.binaries, self.account = self.primary.binaries, self.primary.account
        self.ca = self.primary.ca
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="standby-", dir=self.primary.folder))
        self.folder.chmod(0o711)
        self._give(self.folder)
        self.data = self.folder / "data"
        self.socket_folder = self.folder / "run"
        self.socket_folder.mkdir(mode=0o755)
        self._give(self.socket_folder)
        self.log_file = self.folder / "postgres.log"
        self.log_file.touch(0o644)
        self._run_as_server(
            self.binaries / "pg_basebackup",
            *("-D", self.data, "-d", self.primary.superuser_dsn("postgres")),
            *("-X", "stream", "-c", "fast", "-R", "--no-sync"),
        )
        self.data.chmod(0o700)
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"listen_addresses = '{self.address}'\n")
            file.write(f"unix_socket_directories = '{self.socket_folder}'\n")
        self._launch()

    def wait_until_it_has_all(self):
        """What the primary wrote so far is replayed."""
        self.primary.superuser_sql("checkpoint", "postgres")  # Flushes, and ends with a record.
        place = self.primary.superuser_sql("select pg_current_wal_flush_lsn()", "postgres").strip()
        caught_up = f"select pg_last_wal_replay_lsn() >= '{place}'"
        wait_until(
            lambda: self.superuser_sql(caught_up, "postgres").strip() == "t", 20, "the replay"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--postgres-port", type=int, help="default: a free one")
    parser.add_argument("--hostname", default="shop.cluster-abc.eu-west-1.rds.amazonaws.com")
    parser.add_argument("--region", default="eu-west-1")
    options = parser.parse_args()
    bed = PostgresBed(options.postgres_port, options.hostname, options.region)
    try:
        with bed:
            bed.superuser_sql("create role app login noinherit; grant rds_iam to app")
            key = bed.keys[0]
            print(f"PostgreSQL listens on 127.0.0.1:{bed.port} as {bed.hostname}")
            print("IAM login:   app")
            print(f"superuser:   psql '{bed.superuser_dsn()}'")
            print(f"CA:          {bed.ca.file}")
            for name, value in key.environment().items():
                print(f"export {name}={value}")
            print("Ctrl-C stops it.", flush=True)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            signal.signal(signal.SIGCHLD, lambda *_: None)
            while bed.process.poll() is None:
                signal.pause()
    except KeyboardInterrupt:
        pass
    except BedError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
