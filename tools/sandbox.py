#!/usr/bin/python3
"""A sandbox to try Sallyport in: PostgreSQL that wants IAM tokens, an issuer, the gateway.

    sandbox.py start [--proxy-port N] [--status-port N] [--issuer-port N] [--postgres-port N]
    sandbox.py stop

`start` leaves it running and prints commands to try; `stop` ends it and removes everything it
made: one folder under the temporary directory and one file in /etc/pam.d.
"""

import argparse
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from bed import shop  # noqa: E402
from bed.postgres import (  # noqa: E402
    PR_SET_PDEATHSIG,
    AccessKey,
    BedError,
    PostgresBed,
    process_start_time,
    remove_stale,
    require_free_port,
    wait_until,
)
from dev_issuer import DevIssuer  # noqa: E402

PROGRAM = ROOT / "build/sallyport"
STATE = ROOT / "build/sandbox.json"
PORTS = {"proxy": 18443, "status": 18007, "issuer": 18444, "postgres": 15432}


class Sandbox:
    """The running parts.  Use as a context manager; files stand in `folder`."""

    def __init__(self, ports):
        self.ports = ports
        self.key = AccessKey.fresh(temporary=True)
        self.bed = PostgresBed(port=ports["postgres"], keys=[self.key])
        self.issuer = None
        self.process = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        if not PROGRAM.exists():
            raise BedError("build/sallyport is not there: run make build")
        for name, port in self.ports.items():
            require_free_port(port, f"ARGS='--{name}-port N' after make")
        self.bed.start()
        self.folder = self.bed.folder / "sandbox"
        self.folder.mkdir()
        names = ["localhost", "127.0.0.1"]
        certificate, key = self.bed.ca.issue("issuer", names)
        self.issuer = DevIssuer(
            self.folder / "issuer", shop.CLIENTS, certificate, key, self.ports["issuer"]
        ).start()
        self._write_configuration(*self.bed.ca.issue("proxy", names))
        self.setup_sql = shop.set_up(self.bed, PROGRAM)
        self._launch()

    def _write_configuration(self, certificate, key):
        self.ca = self.folder / "ca.crt"
        self.ca.write_bytes(self.bed.ca.file.read_bytes())
        prefix = self.folder / "prefix"
        prefix.mkdir()
        served = self.folder / "sallyport.yaml"
        served.write_text(shop.fill(shop.CONFIG, self.bed, self.issuer.issuer, self.ca))
        self.conf = self.folder / "sallyport.conf"
        self.conf.write_text(
            f"prefix = {prefix}\n"
            "database = off\n"
            f"declarative_config = {served}\n"
            f"proxy_listen = 127.0.0.1:{self.ports['proxy']} ssl\n"
            f"status_listen = 127.0.0.1:{self.ports['status']}\n"
            f"ssl_cert = {certificate}\n"
            f"ssl_cert_key = {key}\n"
        )

    def environment(self):
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "SALLYPORT_", "KONG_"))
        }
        return {**clean, "AWS_EC2_METADATA_DISABLED": "true", **self.key.environment()}

    def run(self, *arguments):
        """One command of the program, to its end."""
        return subprocess.run(
            [str(PROGRAM), *map(str, arguments)],
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=60,
        )

    def _launch(self):
        libc = ctypes.CDLL(None)
        self.log_file = self.folder / "sallyport.log"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "start", "-c", str(self.conf)],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
            )
        wait_until(self._is_ready, 30, "sallyport's start")

    def _is_ready(self):
        if self.process.poll() is not None:
            raise BedError("sallyport did not start:\n" + self.log_file.read_text())
        try:
            url = f"http://127.0.0.1:{self.ports['status']}/status/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop_gateway(self):
        """Ends the gateway; returns its exit code."""
        if not self.process:
            return None
        self.process.terminate()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def stop(self):
        self.stop_gateway()
        if self.issuer:
            self.issuer.stop()
            self.issuer = None
        self.bed.stop()

    def summary(self):
        """What a person may want to know, as commands to paste."""
        url = f"https://localhost:{self.ports['proxy']}"
        token = (
            f"curl -s --cacert {self.ca} -u NAME:NAME-secret -d grant_type=client_credentials "
            f"{self.issuer.issuer}/token"
        )
        pick = "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"access_token\"])'"
        call = f'curl -si --cacert {self.ca} -H "Authorization: Bearer $NAME"'
        post = "-H 'Content-Type: application/json' -d '{\"customer\":\"Ada\",\"total\":\"12.50\"}'"
        return f"""\
The sandbox runs.
  sallyport    {url}      status http://127.0.0.1:{self.ports['status']}
  issuer       {self.issuer.issuer}
  PostgreSQL   127.0.0.1:{self.bed.port}, as {self.bed.hostname}
  files        {self.folder}

Try, from the top of the repository:
  ALICE=$({token.replace('NAME', 'alice')} | {pick})
  BOB=$({token.replace('NAME', 'bob')} | {pick})
  {call.replace('NAME', 'ALICE')} {url}/orders/2
  {call.replace('NAME', 'BOB')} '{url}/orders?limit=2'
  {call.replace('NAME', 'BOB')} {post} {url}/orders
  {call.replace('NAME', 'ALICE')} {post} {url}/orders
  curl -si --cacert {self.ca} {url}/orders/2
  build/sallyport audit show -c {self.conf}
  build/sallyport audit verify -c {self.conf}
  tail {self.bed.log_file}
  psql '{self.bed.superuser_dsn()}'
  make sandbox-stop
"""


def add_port_options(parser):
    for name, port in PORTS.items():
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="N")


def ports_of(options):
    return {name: getattr(options, f"{name}_port") for name in PORTS}


def ask_for_sudo():
    """Asks for the password once, at the start, where a person is looking."""
    if os.geteuid() != 0:
        try:
            subprocess.run(["sudo", "-v"], check=True)
        except (OSError, subprocess.CalledProcessError):
            raise BedError(
                "root is needed to put PostgreSQL's PAM service into /etc/pam.d: "
                "run this as root, or with sudo set up"
            ) from None


def _running():
    """The state of a detached sandbox, when it still runs."""
    try:
        state = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return None
    return state if process_start_time(state["pid"]) == state["start_time"] else None


def _supervise(ports, tell):
    """In the detached process: runs until SIGTERM.  Says through `tell` how the start went."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Sandbox(ports) as sandbox:
            state = {
                "pid": os.getpid(),
                "start_time": process_start_time(os.getpid()),
                "summary": sandbox.summary(),
            }
            STATE.write_text(json.dumps(state))
            tell.sendall(b"ok")
            tell.close()
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            while True:
                signal.pause()
    except BedError as error:
        tell.sendall(f"Error: {error}".encode())
    except Exception:
        tell.sendall(traceback.format_exc().encode())
    finally:
        STATE.unlink(missing_ok=True)


def start(options):
    state = _running()
    if state:
        print(state["summary"])
        return
    ask_for_sudo()
    mine, theirs = socket.socketpair()
    sys.stdout.flush()
    if os.fork() == 0:
        mine.close()
        try:
            _supervise(ports_of(options), theirs)
        finally:
            os._exit(0)
    theirs.close()
    said = b"".join(iter(lambda: mine.recv(65536), b""))
    if said != b"ok":
        sys.exit(said.decode() or "Error: the sandbox ended before it was ready")
    print(json.loads(STATE.read_text())["summary"])


def stop(_):
    state = _running()
    if state:
        os.kill(state["pid"], signal.SIGTERM)
        wait_until(
            lambda: process_start_time(state["pid"]) != state["start_time"], 60, "the sandbox's end"
        )
        print("The sandbox is stopped; its folder and its PAM service are removed.")
    else:
        print("No sandbox runs.")
    remove_stale()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    starter = commands.add_parser("start")
    add_port_options(starter)
    commands.add_parser("stop")
    options = parser.parse_args()
    try:
        start(options) if options.command == "start" else stop(options)
    except BedError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
