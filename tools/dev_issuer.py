#!/usr/bin/python3
"""An OpenID Connect issuer for development and tests: discovery, JWKS and a token endpoint.

    dev_issuer.py serve --port 8444 --state DIR --clients FILE --cert FILE --key FILE
    dev_issuer.py mint --state DIR --client NAME [--expires-in -60] [--claim tenant_id=north] …

`serve` hands tokens to configured clients (grant client_credentials), each with the claims that
the clients file gives it.  `mint` signs offline with the same keys, and can make what no issuer
should: expired tokens, foreign audiences, unknown keys.  The keys in DIR are made when absent.

The clients file: {"NAME": {"secret": "…", "scope": "a b", "audience": "…", "claims": {…}}}
"""

import argparse
import base64
import binascii
import hmac
import http.server
import json
import os
import pathlib
import ssl
import sys
import threading
import time
import urllib.parse
import uuid

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS = ("RS256", "ES256", "EdDSA")
TOKEN_SECONDS = 300
REQUEST_MAX_BYTES = 65536


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(number, size=None):
    return _b64(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _generate(algorithm):
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def _public_jwk(algorithm, key):
    """RFC 7518 section 6; RFC 8037 section 2 for Ed25519."""
    public = key.public_key()
    if algorithm == "RS256":
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    if algorithm == "ES256":
        numbers = public.public_numbers()
        point = {"x": _integer(numbers.x, 32), "y": _integer(numbers.y, 32)}
        return {"kty": "EC", "crv": "P-256", **point}
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": _b64(raw)}


class Keys:
    """One signing key an algorithm, in `directory`; an older one stays published after rotation."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.current = {}  # algorithm -> (kid, key)
        self.published = []  # (algorithm, kid, key)
        for file in sorted(self.directory.glob("*.pem")):
            algorithm, kid = file.stem.split("_", 2)[1:]
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
            self._add(algorithm, kid, key)
        for algorithm in ALGORITHMS:
            if algorithm not in self.current:
                self._make(algorithm)

    def _add(self, algorithm, kid, key):
        self.current[algorithm] = (kid, key)
        self.published.append((algorithm, kid, key))

    def _make(self, algorithm):
        kid = f"{algorithm.lower()}-{uuid.uuid4().hex[:8]}"
        key = _generate(algorithm)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self.directory / f"{time.time_ns()}_{algorithm}_{kid}.pem"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        self._add(algorithm, kid, key)

    def rotate(self, drop_old=False):
        """New keys for every algorithm; the old ones stay published unless dropped."""
        with self.lock:
            if drop_old:
                self.published = []
                for file in self.directory.glob("*.pem"):
                    file.unlink()
            for algorithm in ALGORITHMS:
                self._make(algorithm)

    def signing(self, algorithm):
        with self.lock:
            return self.current[algorithm]

    def jwks(self):
        with self.lock:
            published = list(self.published)
        return {
            "keys": [
                {**_public_jwk(algorithm, key), "kid": kid, "alg": algorithm, "use": "sig"}
                for algorithm, kid, key in published
            ]
        }


class Minter:
    """Makes tokens.  `issuer` is the exact `iss`."""

    def __init__(self, issuer, keys, clients):
        self.issuer = issuer
        self.keys = keys
        self.clients = clients

    def mint(
        self,
        client,
        algorithm="RS256",
        expires_in=TOKEN_SECONDS,
        headers=None,
        without=(),
        foreign_key=False,
        scope=None,
        **claims,
    ):
        """A signed token of the configured client.  Keyword claims add to or replace its own;
        `without` takes claims out; `foreign_key` signs with a key that is in no JWKS."""
        settings = self.clients.get(client, {})
        now = int(time.time())
        payload = {
            "iss": self.issuer,
            "sub": client,
            "client_id": client,
            "aud": settings.get("audience", "api://orders"),
            "iat": now,
            "nbf": now,
            "exp": now + expires_in,
            "jti": str(uuid.uuid4()),
        }
        if expires_in <= 0:
            payload["iat"] = payload["nbf"] = now + expires_in - TOKEN_SECONDS
        granted = settings.get("scope") if scope is None else scope
        if granted:
            payload["scope"] = granted
        payload.update(settings.get("claims", {}))
        payload.update(claims)
        for name in without:
            payload.pop(name, None)
        kid, key = self.keys.signing(algorithm)
        if foreign_key:
            key = _generate(algorithm)
        all_headers = {"kid": kid, "typ": "at+jwt", **(headers or {})}
        return jwt.encode(payload, key, algorithm=algorithm, headers=all_headers)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "dev-issuer"
    sys_version = ""
    timeout = 30

    def log_message(self, *_):
        pass

    def _answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        owner = self.server.owner
        owner.count(self.path)
        if self.path == "/.well-known/openid-configuration":
            self._answer(200, owner.discovery(), [("Cache-Control", "max-age=60")])
        elif self.path == "/jwks":
            self._answer(200, owner.keys.jwks(), [("Cache-Control", "max-age=60")])
        else:
            self._answer(404, {"error": "not_found"})

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > REQUEST_MAX_BYTES:
            self.close_connection = True
            return self._answer(400, {"error": "invalid_request"})
        form = urllib.parse.parse_qs(self.rfile.read(int(length)).decode("latin-1"))
        self.server.owner.count(self.path)
        if self.path == "/token":
            return self._token({name: values[0] for name, values in form.items()})
        if self.path == "/dev/rotate" and self.server.owner.allow_rotation:
            self.server.owner.keys.rotate(drop_old="drop_old" in form)
            return self._answer(200, self.server.owner.keys.jwks())
        return self._answer(404, {"error": "not_found"})

    def _credentials(self, form):
        """RFC 6749 section 2.3.1: HTTP Basic, or in the body."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                text = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return "", ""
            name, _, secret = text.partition(":")
            return urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)
        return form.get("client_id", ""), form.get("client_secret", "")

    def _token(self, form):
        owner = self.server.owner
        if form.get("grant_type") != "client_credentials":
            return self._answer(400, {"error": "unsupported_grant_type"})
        name, secret = self._credentials(form)
        settings = owner.clients.get(name, {})
        expected = settings.get("secret", "")
        if not expected or not hmac.compare_digest(secret.encode(), expected.encode()):
            return self._answer(
                401, {"error": "invalid_client"}, [("WWW-Authenticate", "Basic")]
            )
        allowed = settings.get("scope", "").split()
        asked = form.get("scope", " ".join(allowed)).split()
        if not set(asked) <= set(allowed):
            return self._answer(400, {"error": "invalid_scope"})
        algorithm = settings.get("algorithm", "RS256")
        return self._answer(
            200,
            {
                "access_token": owner.minter.mint(name, algorithm, scope=" ".join(asked)),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "scope": " ".join(asked),
            },
            [("Cache-Control", "no-store")],
        )


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        """The TLS handshake happens here, in the connection's own thread."""
        request.settimeout(30)
        try:
            tls = self.owner.tls.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return
        try:
            super().finish_request(tls, client_address)
        except (OSError, ssl.SSLError):
            pass
        finally:
            tls.close()


class DevIssuer:
    """The running issuer; `start` returns when it listens, `stop` when it does no more."""

    def __init__(self, state, clients, cert, key, port=0, host="127.0.0.1", allow_rotation=True):
        self.keys = Keys(state)
        self.clients = clients
        self.allow_rotation = allow_rotation
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.tls.load_cert_chain(cert, key)
        self.server = _Server((host, port), _Handler)
        self.server.owner = self
        self.port = self.server.server_address[1]
        self.issuer = f"https://localhost:{self.port}"
        self.minter = Minter(self.issuer, self.keys, clients)
        self.mint = self.minter.mint
        self.requests = {}
        self.lock = threading.Lock()
        (pathlib.Path(state) / "issuer").write_text(self.issuer)
        (pathlib.Path(state) / "clients.json").write_text(json.dumps(clients))

    def count(self, path):
        with self.lock:
            self.requests[path] = self.requests.get(path, 0) + 1

    def discovery(self):
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint": f"{self.issuer}/token",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic",
                "client_secret_post",
            ],
            "id_token_signing_alg_values_supported": list(ALGORITHMS),
        }

    def start(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _serve(options):
    clients = json.loads(pathlib.Path(options.clients).read_text())
    try:
        issuer = DevIssuer(options.state, clients, options.cert, options.key, options.port)
    except OSError as error:
        sys.exit(f"Error: port {options.port} on 127.0.0.1: {error.strerror}")
    print(f"issuer {issuer.issuer}", flush=True)
    try:
        issuer.server.serve_forever()
    except KeyboardInterrupt:
        pass


def _claim(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("NAME=VALUE is wanted")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _mint(options):
    state = pathlib.Path(options.state)
    minter = Minter(
        options.issuer or (state / "issuer").read_text(),
        Keys(state),
        json.loads((state / "clients.json").read_text()),
    )
    print(
        minter.mint(
            options.client,
            options.algorithm,
            options.expires_in,
            without=options.without,
            foreign_key=options.foreign_key,
            scope=options.scope,
            **dict(options.claim),
        )
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="runs the issuer until interrupted")
    serve.add_argument("--port", type=int, default=8444)
    serve.add_argument("--state", required=True, help="folder of the keys")
    serve.add_argument("--clients", required=True)
    serve.add_argument("--cert", required=True)
    serve.add_argument("--key", required=True)
    mint = commands.add_parser("mint", help="signs one token offline and prints it")
    mint.add_argument("--state", required=True)
    mint.add_argument("--client", required=True)
    mint.add_argument("--issuer")
    mint.add_argument("--algorithm", choices=ALGORITHMS, default="RS256")
    mint.add_argument("--expires-in", type=int, default=TOKEN_SECONDS)
    mint.add_argument("--scope")
    mint.add_argument("--claim", type=_claim, action="append", default=[])
    mint.add_argument("--without", action="append", default=[])
    mint.add_argument("--foreign-key", action="store_true")
    options = parser.parse_args()
    if options.command == "serve":
        _serve(options)
    else:
        _mint(options)


if __name__ == "__main__":
    main()
