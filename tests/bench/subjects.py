"""The systems that are measured, each running for the whole of a measurement."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "tests/wire")]

import botocore.session  # noqa: E402
import harness  # noqa: E402
import measure  # noqa: E402
from bed.postgres import PR_SET_PDEATHSIG, PostgresBed, free_port, wait_until  # noqa: E402
from dev_issuer import DevIssuer  # noqa: E402

SCRIPT = HERE / "account.lua"
SCALE = 10  # a million accounts, as account.lua asks for
CLIENTS = {
    "caller": {
        "secret": "caller-secret",
        "scope": "accounts.read",
        "audience": "api://bench",
        "claims": {"groups": ["readers"]},
    }
}


class Skipped(Exception):
    """Why a subject is not measured here."""


class Bed:
    """PostgreSQL filled by pgbench, and the issuer; with what everybody needs of them."""

    def __init__(self, pool):
        self.pool = pool
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-bench-"))
        self.postgres = PostgresBed(
            database="bench",
            log_statement="none",
            settings={"shared_buffers": "256MB", "log_connections": "off"},
        )

    def __enter__(self):
        self.postgres.__enter__()
        try:
            self._fill()
            names = ["localhost", "127.0.0.1"]
            self.cert, self.key = map(str, self.postgres.ca.issue("bench", names))
            self.issuer = DevIssuer(
                self.folder / "issuer", CLIENTS, self.cert, self.key
            ).start()
        except BaseException:
            self.postgres.stop()
            raise
        return self

    def __exit__(self, *_):
        self.issuer.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pgbench(self):
        return self.postgres.binaries / "pgbench"

    def _fill(self):
        subprocess.run(
            [str(self.pgbench), "-i", "-q", "-s", str(SCALE), self.postgres.superuser_dsn()],
            check=True,
            capture_output=True,
        )
        self.postgres.superuser_file(HERE / "bench.sql")
        self.postgres.superuser_sql("vacuum analyze")

    def direct_password(self):
        """An IAM token for the login `direct`, by botocore."""
        key = self.postgres.keys[0]
        session = botocore.session.get_session()
        session.set_credentials(key.access_key_id, key.secret_access_key)
        client = session.create_client("rds", region_name=self.postgres.region)
        return client.generate_db_auth_token(
            self.postgres.hostname, self.postgres.signed_port, "direct"
        )

    def direct_dsn(self):
        return (
            f"host=localhost port={self.postgres.port} user=direct dbname=bench "
            f"sslmode=verify-full sslrootcert={self.postgres.ca.file}"
        )

    def backend_cpu(self):
        return measure.cpu_seconds(self.postgres.process.pid)


LIBC = ctypes.CDLL(None)


def end_with_us():
    """In a child before its program starts: it does not outlive a measurement that was killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Pgbench:
    """pgbench itself, straight to PostgreSQL: the ceiling."""

    name = "pgbench -S -M prepared, TLS"
    pid = None

    def __init__(self, bed):
        self.bed = bed
        self.password = bed.direct_password()

    def load(self, clients, seconds):
        return measure.pgbench(
            self.bed.pgbench,
            self.bed.direct_dsn(),
            clients,
            seconds,
            {"PGPASSWORD": self.password},
        )

    def stop(self):
        pass


class _HttpSubject:
    token = None

    def load(self, clients, seconds):
        url = f"https://localhost:{self.port}"
        return measure.wrk(url, clients, seconds, SCRIPT, self.token)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _wait(self):
        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
            return answers(self.port)

        wait_until(ready, 30, f"{self.name} on port {self.port}")

    @property
    def pid(self):
        return self.process.pid


class Sallyport(_HttpSubject):
    name = "sallyport, HTTP door"

    def __init__(self, bed, workers=0, program=None):
        self.bed = bed
        template = (HERE / "sallyport.yaml.in").read_text().replace("@pool@", str(bed.pool))
        if not harness.has_command("start"):
            raise Skipped("this sallyport has no start command")
        self.gateway = harness.Sallyport(
            bed.postgres,
            bed.issuer,
            config=harness.config_for(bed.postgres, bed.issuer, template),
            node={"workers": workers, "log_level": "warn", "keepalive_timeout_ms": 600000},
            program=program,
        )
        self.gateway.start()
        self.port = self.gateway.proxy_port
        self.token = bed.issuer.mint("caller", expires_in=3600)
        answer = self.gateway.get("/accounts/1", self.token)
        if answer.status != 200 or answer.json != {"abalance": 0}:
            raise RuntimeError(f"sallyport answers {answer.status}: {answer.body!r}")

    @property
    def process(self):
        return self.gateway.process

    def stop(self):
        """A measurement is not lost when the end was not clean, but it is said."""
        try:
            self.gateway.close()
        except AssertionError as error:
            print(f"sallyport did not end cleanly: {error}", flush=True)


class Nginx(_HttpSubject):
    name = "nginx return 200, TLS"

    def __init__(self, bed):
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not program:
            raise Skipped("nginx is not installed")
        self.port = free_port()
        folder = bed.folder / "nginx"
        folder.mkdir()
        self.log = folder / "error.log"
        conf = folder / "nginx.conf"
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf.write_text(
            f"worker_processes 1; daemon off; pid {folder}/pid; error_log {self.log};\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n"
            f"server {{ listen 127.0.0.1:{self.port} ssl; ssl_protocols TLSv1.2 TLSv1.3;\n"
            f"ssl_certificate {bed.cert}; ssl_certificate_key {bed.key};\n"
            "default_type application/json;\n"
            "location / { return 200 '{\"abalance\":0}'; } } }\n"
        )
        self.process = subprocess.Popen(
            [program, "-c", str(conf), "-e", str(self.log)],
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_us,
        )
        self._wait()


class Fastify(_HttpSubject):
    name = "fastify + pg, TLS both ways"

    def __init__(self, bed):
        self.port = free_port()
        self.log = bed.folder / "fastify.log"
        folder = self._install()
        environment = {
            **os.environ,
            "NODE_ENV": "production",
            "BENCH_CERT": bed.cert,
            "BENCH_KEY": bed.key,
            "BENCH_CA": str(bed.postgres.ca.file),
            "BENCH_PORT": str(self.port),
            "BENCH_PG_PORT": str(bed.postgres.port),
            "BENCH_PG_PASSWORD": bed.direct_password(),
            "BENCH_POOL": str(bed.pool),
        }
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["node", "server.js"],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_us,
            )
        self._wait()

    @staticmethod
    def _install():
        """The packages, once; they stay in the build folder."""
        if not shutil.which("npm") or not shutil.which("node"):
            raise Skipped("node and npm are not installed")
        folder = ROOT / "build/bench-fastify"
        folder.mkdir(parents=True, exist_ok=True)
        wanted = (HERE / "fastify/package.json").read_text()
        done = folder / "installed.json"
        shutil.copy(HERE / "fastify/server.js", folder)
        if done.exists() and done.read_text() == wanted:
            return folder
        (folder / "package.json").write_text(wanted)
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        npm = subprocess.run(
            ["npm", "install", *options, "--fetch-retries=1", "--fetch-timeout=30000"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if npm.returncode != 0:
            said = [line for line in npm.stderr.splitlines() if "error" in line]
            raise Skipped(f"npm could not install it: {said[0] if said else 'no reason given'}")
        done.write_text(wanted)
        return folder
