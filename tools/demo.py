#!/usr/bin/python3
"""Shows the main job once: an API call becomes a query under the caller's own identity.

Starts the sandbox, calls it with curl as two callers, is refused three times, and shows what the
database's own log and the audit say of it.  Stops what it started and checks that nothing stays.
Exits with 0 only when every answer was the expected one.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import sandbox as box  # noqa: E402
from bed.postgres import BedError, require_free_port  # noqa: E402

SHOWN_HEADERS = ("content-type", "www-authenticate", "x-request-id")


class Demo:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.url = f"https://localhost:{sandbox.ports['proxy']}"
        self.tokens = {}
        self.wrong = []

    def expect(self, condition, what):
        if not condition:
            self.wrong.append(what)
            print(f"   !! not as expected: {what}")

    # -- callers -------------------------------------------------------------------------------

    def fetch_token(self, name):
        """As a service would: the client credentials grant, over TLS."""
        said = subprocess.check_output(
            ["curl", "-s", "--cacert", str(self.sandbox.ca), "-u", f"{name}:{name}-secret"]
            + ["-d", "grant_type=client_credentials", f"{self.sandbox.issuer.issuer}/token"],
            text=True,
        )
        self.tokens[name.upper()] = json.loads(said)["access_token"]

    def curl(self, status, path, token=None, body=None):
        """One call, shown as typed, with its answer; the request id is returned."""
        shown = ["curl"]
        command = ["curl", "-s", "-D", "-", "--cacert", str(self.sandbox.ca)]
        if token:
            shown += ["-H", f'"Authorization: Bearer ${token}"']
            command += ["-H", f"Authorization: Bearer {self.tokens[token]}"]
        if body:
            text = json.dumps(body)
            shown += ["--json", f"'{text}'"]
            command += ["--json", text]
        print(f"\n   $ {' '.join(shown)} {self.url}{path}")
        done = subprocess.run(command + [self.url + path], capture_output=True)
        if done.returncode != 0:
            log = self.sandbox.log_file.read_text()[-4000:]
            raise BedError(f"curl ended with {done.returncode}; sallyport's log:\n{log}")
        said = done.stdout.decode()
        head, _, answer = said.partition("\r\n\r\n")
        lines = head.split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        print(f"   {lines[0]}")
        for line in lines[1:]:
            if line.lower().startswith(SHOWN_HEADERS):
                print(f"   {line}")
        print(f"   {answer}")
        self.expect(f" {status} " in lines[0] + " ", f"{path} should answer {status}")
        return fields.get("x-request-id", ""), answer

    # -- the acts ------------------------------------------------------------------------------

    def introduce(self):
        where = self.sandbox
        print(
            f"""
== What runs now
   PostgreSQL   127.0.0.1:{where.bed.port}, as {where.bed.hostname};
                its rds_iam members get in by an IAM token over TLS, nobody else over TCP
   issuer       {where.issuer.issuer}, OpenID Connect
   sallyport    {self.url}
   The database's login and roles were made by what `sallyport setup shop --sql` printed,
   {len(where.setup_sql.splitlines())} lines, of them:
"""
        )
        for line in where.setup_sql.splitlines():
            if line.lstrip().startswith(("CREATE", "ALTER", "GRANT")):
                print(f"   {line.strip()}")

    def answered_calls(self):
        print("\n== Alice may read, and belongs to tenant north")
        self.fetch_token("alice")
        first, answer = self.curl(200, "/orders/2", "ALICE")
        self.expect('"north"' in answer, "Alice sees an order of north")
        print("\n== Bob may write too, and belongs to tenant south")
        self.fetch_token("bob")
        _, answer = self.curl(200, "/orders?limit=2", "BOB")
        body = {"customer": "Zoe", "total": "99.90"}
        second, answer = self.curl(200, "/orders", "BOB", body)
        self.expect('"south"' in answer, "Bob's order belongs to south")
        print("\n== The same path for Bob: the row is another tenant's, so for him there is none")
        self.curl(404, "/orders/2", "BOB")
        return [first, second]

    def refused_calls(self):
        print("\n== Refused: no token")
        self.curl(401, "/orders/2")
        print("\n== Refused: a token that expired a minute ago")
        self.tokens["EXPIRED"] = self.sandbox.issuer.mint("alice", expires_in=-60)
        self.curl(401, "/orders/2", "EXPIRED")
        print("\n== Refused: a role too small (Alice may not write)")
        body = {"customer": "Alice", "total": "1.00"}
        return self.curl(404, "/orders", "ALICE", body)[0]

    def show_database_log(self, request_ids):
        print("\n== The database's own log names the callers (user, then application_name)\n")
        for request_id in request_ids:
            lines = self.sandbox.bed.wait_for_log(request_id)
            for line in lines[-2:]:
                print(f"   {line}")
            self.expect("user=app" in lines[-1], "the database logs the login")
        accepted = self.sandbox.bed.wait_for_log("accepted user=app")
        print(f"   {accepted[-1]}")

    def command(self, *arguments):
        """One of the program's own commands, shown with what it says."""
        print(f"\n   $ build/sallyport {' '.join(arguments)}")
        done = self.sandbox.run(*arguments, "-c", self.sandbox.conf)
        for line in (done.stdout + done.stderr).splitlines():
            print(f"   {line}")
        self.expect(done.returncode == 0, f"{' '.join(arguments)} should succeed")

    def show_audit(self, answered, refused):
        print("\n== The audit")
        self.command("audit", "show")
        print("\n== Why Bob's call was let in, and Alice's last one was not")
        self.command("audit", "explain", answered[-1])
        self.command("audit", "explain", refused)
        print("\n== The audit is whole: every record is chained and the anchors are signed")
        self.expect(self.sandbox.stop_gateway() == 0, "sallyport should end with 0")
        self.command("audit", "verify")


def leftovers(paths, ports):
    """What is still there of these files and listening ports."""
    found = [str(path) for path in paths if path.exists()]
    for port in ports:
        try:
            require_free_port(port, "")
        except BedError:
            found.append(f"port {port}")
    return found


def play(options):
    """Returns what was not as expected."""
    box.ask_for_sudo()
    with box.Sandbox(box.ports_of(options)) as sandbox:
        demo = Demo(sandbox)
        made = [sandbox.bed.folder, sandbox.bed.pam_file]
        demo.introduce()
        answered = demo.answered_calls()
        refused = demo.refused_calls()
        demo.show_database_log(answered)
        demo.show_audit(answered, refused)
    left = leftovers(made, sandbox.ports.values())
    if left:
        demo.wrong.append(f"left behind: {', '.join(left)}")
    else:
        print("\n== Stopped.  Nothing of it is left: no port, no folder, no file in /etc/pam.d.")
    return demo.wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    box.add_port_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        wrong = play(options)
    except KeyboardInterrupt:
        sys.exit("stopped")
    except BedError as error:
        sys.exit(f"Error: {error}")
    if wrong:
        sys.exit("Error: not as expected: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
