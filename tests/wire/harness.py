"""What the wire tests share: the parts of a running gateway and the ways to look at it."""

import dataclasses
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tools"))

from bed import shop  # noqa: E402
from bed.postgres import free_port, wait_until  # noqa: E402

START_SECONDS = 60
STOP_SECONDS = 60
TSAN_OPTIONS = f"exitcode=99:suppressions={ROOT / 'tests/wire/tsan.supp'}"
# What a sanitizer says when it found something; its process may still end with 0.
SANITIZER = re.compile(
    r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer).*"
)


def binary():
    """The program under test: SALLYPORT_BINARY, else the newest build."""
    named = os.environ.get("SALLYPORT_BINARY")
    if named:
        return pathlib.Path(named).resolve()
    built = [ROOT / build / "src/cli/sallyport" for build in ("build-asan", "build")]
    built = [path for path in built if path.exists()]
    if not built:
        raise FileNotFoundError("no sallyport is built: run make build")
    return max(built, key=lambda path: path.stat().st_mtime)


def has_command(name):
    """Whether the program under test has the command."""
    text = subprocess.run([str(binary()), "--help"], capture_output=True, text=True).stdout
    return re.search(rf"^  {name}\s", text, re.M) is not None


def config_for(bed, issuer, template=shop.CONFIG):
    """The template with its @names@ filled in for this PostgreSQL and issuer."""
    return shop.fill(template, bed, issuer.issuer)


@dataclasses.dataclass
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def request_id(self):
        return self.headers.get("x-request-id")


class Sallyport:
    """One gateway process with a prefix of its own.

    `environment` holds the AWS credentials; `node` adds or replaces lines of sallyport.conf.
    stop() asserts a clean end and silent sanitizers; kill() ends it as a crash would.
    """

    def __init__(self, bed, issuer, config=None, node=None, environment=None, program=None):
        self.bed = bed
        self.issuer = issuer
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-wire-"))
        self.config_file = self.folder / "sallyport.yaml"
        self.node_file = self.folder / "sallyport.conf"
        self.prefix = self.folder / "prefix"
        self.prefix.mkdir()
        self.stderr_file = self.folder / "stderr"
        self.proxy_port = free_port()
        self.status_port = free_port()
        self.program = program or binary()
        self.environment = environment
        self.process = None
        certificate, key = bed.ca.issue(
            f"proxy-{self.folder.name}", ["localhost", "127.0.0.1"]
        )
        properties = {
            "prefix": self.prefix,
            "database": "off",
            "declarative_config": self.config_file,
            "proxy_listen": f"127.0.0.1:{self.proxy_port} ssl",
            "status_listen": f"127.0.0.1:{self.status_port}",
            "ssl_cert": certificate,
            "ssl_cert_key": key,
            "log_level": "info",
            "log_format": "json",
            "workers": 2,
        }
        properties.update(node or {})
        self.audit_folder = pathlib.Path(
            properties.get("audit_directory", self.prefix / "audit")
        )
        self.node_file.write_text(
            "".join(f"{name} = {value}\n" for name, value in properties.items())
        )
        self.write_config(config if config is not None else config_for(bed, issuer))
        self.tls = ssl.create_default_context(cafile=str(bed.ca.file))

    def write_config(self, text):
        """Replaces sallyport.yaml; takes effect at start or reload."""
        new = self.config_file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config_file)

    # -- the process ---------------------------------------------------------------------------

    def _environment(self):
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "SALLYPORT_", "KONG_"))
        }
        clean["AWS_EC2_METADATA_DISABLED"] = "true"
        clean.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        clean.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
        clean.setdefault("TSAN_OPTIONS", TSAN_OPTIONS)
        clean.update(
            self.environment if self.environment is not None else self.bed.keys[0].environment()
        )
        if "AWS_ENDPOINT_URL" not in clean:
            clean.setdefault("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")  # never the real one
        return clean

    def run(self, *arguments, **options):
        """Runs another command of the program to its end."""
        return subprocess.run(
            [str(self.program), *map(str, arguments)],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    def launch(self):
        """Starts the process without waiting until it serves."""
        with open(self.stderr_file, "ab") as stderr:
            self.process = subprocess.Popen(
                [str(self.program), "start", "-c", str(self.node_file)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        return self

    def start(self):
        """Starts it and waits for /status/ready."""
        self.launch()
        wait_until(self.is_ready, START_SECONDS, "/status/ready of sallyport")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"sallyport ended with {self.process.returncode}:\n{self.log_text()}"
            )
        try:
            return self.status("/status/ready").status == 200
        except OSError:
            return False

    def stop(self):
        """Ends it with SIGTERM; it must exit with 0 and no sanitizer may have spoken."""
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self.process = None
        assert code == 0, f"sallyport ended with {code}:\n{self.log_text()[-8000:]}"
        self.assert_sanitizers_silent()

    def kill(self):
        """Ends it with SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        """Stops it and removes its folder."""
        try:
            self.stop()
        finally:
            if self.process:
                self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def assert_sanitizers_silent(self):
        found = SANITIZER.search(self.log_text())
        assert not found, self.log_text()[max(0, found.start() - 200) : found.start() + 8000]

    def log_text(self):
        return self.stderr_file.read_text(errors="replace") if self.stderr_file.exists() else ""

    def log(self):
        """The program's own log, as dicts."""
        lines = [line for line in self.log_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    # -- calls ---------------------------------------------------------------------------------

    def connect(self, timeout=60):
        """An http.client connection over TLS, for keep-alive and odd requests."""
        return http.client.HTTPSConnection(
            "localhost", self.proxy_port, timeout=timeout, context=self.tls
        )

    def raw(self, timeout=60):
        """A TLS socket, for bytes that no client library would send."""
        plain = socket.create_connection(("127.0.0.1", self.proxy_port), timeout)
        return self.tls.wrap_socket(plain, server_hostname="localhost")

    def call(self, method, path, token=None, body=None, headers=None, connection=None):
        """One request.  A dict or list as body is sent as JSON."""
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own = connection or self.connect()
        try:
            own.request(method, path, body=body, headers=headers)
            response = own.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        finally:
            if connection is None:
                own.close()

    def get(self, path, token=None, **more):
        return self.call("GET", path, token, **more)

    def post(self, path, token=None, body=None, **more):
        return self.call("POST", path, token, body, **more)

    def status(self, path):
        """A request to status_listen, plain on loopback."""
        own = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=30)
        try:
            own.request("GET", path)
            response = own.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        finally:
            own.close()

    def mint(self, client, **options):
        """A token of the client, as the issuer would give it; see Minter.mint."""
        return self.issuer.mint(client, **options)

    # -- what was left behind ------------------------------------------------------------------

    def audit(self, request_id=None):
        """All records of all writers, in order of time; without the anchors."""
        records = []
        for file in sorted(self.audit_folder.glob("*-w*-*.jsonl")):
            for line in file.read_bytes().split(b"\n")[:-1]:  # the last may be half written
                records.append(json.loads(line))
        records.sort(key=lambda record: record["time"])
        if request_id:
            records = [r for r in records if r.get("request_id") == request_id]
        return records

    def wait_for_audit(self, request_id, count=2):
        """At least `count` records of the request."""

        def enough():
            found = self.audit(request_id)
            return found if len(found) >= count else None

        return wait_until(enough, 20, f"{count} audit records of {request_id}")

    def pg_log(self, containing, count=1):
        """Lines of PostgreSQL's own log that hold the text, such as a request id."""
        return self.bed.wait_for_log(containing, count=count)
