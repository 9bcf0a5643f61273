"""The corpus of tests/vectors/http/connections.txt, sent to HTTP servers of other people.

Two servers in a row that see different requests in the same bytes are how requests are smuggled.
So: whatever our codec takes as requests, a peer must see as the very same requests.  Where our
codec refuses, the peer may go on as it likes or have given up before, but as far as both went they
saw the same.  Where a peer reads a whole connection differently, that stands in DIFFERENCES with
its reason, and is checked to be still there.
"""

import contextlib
import json
import pathlib
import re
import socket
import subprocess
import tempfile

from bed.postgres import free_port, wait_until

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "tests/vectors/http/connections.txt"
ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def bytes_of(text):
    def one(found):
        code = found.group(1)
        return ESCAPES.get(code) or chr(int(code[1:], 16))

    return re.sub(r"\\(x[0-9a-f]{2}|.)", one, text).encode("latin-1")


def corpus():
    """(name, what we see, whether we took everything, the bytes) of each connection."""
    for line in VECTORS.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, outcome, data = line.split("\t")
        outcome = bytes_of(outcome).decode("latin-1")
        seen = re.findall(r"[A-Z!#$%&'*+.^_`|~0-9a-z-]+ \S+ \[[^\]]*\]", outcome)
        rest = outcome
        for request in seen:
            rest = rest.replace(request, "", 1)
        yield name, seen, rest.strip() == "", bytes_of(data)


def answers(port, data):
    """What the server says to these bytes, when nothing more comes: bodies of its 200 answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        said = b""
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                said += chunk
    bodies = []
    while said:
        head, found, said = said.partition(b"\r\n\r\n")
        if not found:
            break
        if re.match(rb"HTTP/1\.1 1\d\d ", head):
            continue
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        size = int(length.group(1)) if length else len(said)
        if b"chunked" in head.lower():
            size, _, said = said.partition(b"\r\n")
            body, said = said[: int(size, 16)], said[int(size, 16) + 7 :]
        else:
            body, said = said[:size], said[size:]
        if re.match(rb"HTTP/1\.[01] 200", head):
            bodies.append(body.decode("latin-1"))
    return bodies


@contextlib.contextmanager
def nginx():
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        conf = pathlib.Path(folder, "nginx.conf")
        conf.write_text(
            f"""daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
            events {{ worker_connections 64; }}
            http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
              fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
              server {{ listen 127.0.0.1:{port}; merge_slashes off; keepalive_requests 1000;
                location / {{ return 200 "$request_method $request_uri"; }} }} }}"""
        )
        process = subprocess.Popen(
            ["nginx", "-c", str(conf), "-p", folder, "-e", f"{folder}/error.log"]
        )
        try:
            wait_until(lambda: listens(port), 10, "nginx to listen")
            yield port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def node():
    process = subprocess.Popen(
        ["node", str(HERE / "framing_server.mjs")], stdout=subprocess.PIPE, text=True
    )
    try:
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.terminate()
        process.wait()


def listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


SERVERS = {"nginx": nginx, "node": node}
# (server, connection): what the server sees, and why that is not two readings of one request
DIFFERENCES = {
    ("nginx", "absolute form"): ["GET /x?y"],  # $request_uri leaves the authority out
    ("nginx", "absolute form, https, other case"): ["GET /"],
}


def compare(server):
    """How many connections were compared, and how many of them only we refused."""
    compared = stricter = 0
    with SERVERS[server]() as port:
        for name, ours, whole, data in corpus():
            theirs = answers(port, data)
            if server == "nginx":  # its answer has no body to tell
                ours = [request.rsplit(" [", 1)[0] for request in ours]
            if whole:
                expected = DIFFERENCES.get((server, name), ours)
                assert theirs == expected, f"{server}: {name}: {theirs}, not {expected}"
            common = 0 if whole else min(len(ours), len(theirs))
            assert theirs[:common] == ours[:common], f"{server}: {name}: {theirs}, not {ours}"
            compared += 1
            stricter += not whole and len(theirs) > len(ours)
    return compared, stricter
