"""Doubles of AWS's credential endpoints: the instance's metadata, a container's, STS.

Each is a real HTTP server on loopback.  What they hand out they also tell `on_mint`, so that a
test's database can know it.  tests/cli/test_aws_doubles.py drives every one with botocore as well,
and the STS double checks signatures with botocore's own signer.
"""

import collections
import contextlib
import dataclasses
import datetime
import http.server
import json
import re
import secrets
import string
import threading
import time
import urllib.parse
import xml.sax.saxutils

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.serialize
import botocore.session
import botocore.validate

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclasses.dataclass(frozen=True)
class Session:
    """Temporary credentials; the token is as long as those of a busy account."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: datetime.datetime
    arn: str = ""

    @classmethod
    def fresh(cls, seconds, arn=""):
        letters = string.ascii_uppercase + string.digits
        now = datetime.datetime.now(datetime.timezone.utc)
        return cls(
            "ASIA" + "".join(secrets.choice(letters) for _ in range(16)),
            secrets.token_urlsafe(30),
            "IQoJb3JpZ2luX2Vj" + secrets.token_urlsafe(1200) + "+/==",
            (now + datetime.timedelta(seconds=seconds)).replace(microsecond=0),
            arn,
        )

    @property
    def expires(self):
        return self.expiration.strftime("%Y-%m-%dT%H:%M:%SZ")

    def as_json(self):
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
            "Expiration": self.expires,
        }


Request = collections.namedtuple("Request", "method path query headers body")
Reply = collections.namedtuple("Reply", "status content_type body")


def reply_json(document, status=200):
    return Reply(status, "application/json", json.dumps(document).encode())


def reply_text(text, status=200):
    return Reply(status, "text/plain", text.encode())


class Double:
    """The server, its recorded requests, and the replies that a test puts before the real ones."""

    lifetime_s = 3600
    tls = None  # an ssl.SSLContext of a server

    def __init__(self, on_mint=None):
        self.requests = []
        self.minted = []
        self.instead = collections.deque()  # Reply, or "hang up"
        self.on_mint = on_mint
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length", 0))
                url = urllib.parse.urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length)
                request = Request(self.command, url.path, url.query, headers, body)
                with double.lock:
                    double.requests.append(request)
                    planned = double.instead.popleft() if double.instead else None
                if planned == "hang up":
                    self.close_connection = True
                    return
                reply = planned or double.answer(request)
                if reply is None:  # the answer is lost
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # whoever asked may be gone
                    self.wfile.write(reply.body)

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, *_):
                pass

        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def mint(self, arn="", seconds=None):
        session = Session.fresh(self.lifetime_s if seconds is None else seconds, arn)
        with self.lock:
            self.minted.append(session)
        if self.on_mint:
            self.on_mint(session)
        return session

    def answer(self, request):
        raise NotImplementedError


class InstanceMetadata(Double):
    """EC2's instance metadata service, version 2 only ("Use the Instance Metadata Service")."""

    role = "shop-instance"
    region = "eu-south-2"  # as placement/region says it; "": it says none

    def __init__(self, on_mint=None):
        super().__init__(on_mint)
        self.sessions = set()

    def environment(self):
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url, "AWS_EC2_METADATA_DISABLED": "false"}

    def answer(self, request):
        if request.path == "/latest/api/token":
            lifetime = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT" or "x-forwarded-for" in request.headers:
                return reply_text("", 403)
            if not lifetime.isdigit() or not 1 <= int(lifetime) <= 21600:
                return reply_text("", 400)
            token = secrets.token_urlsafe(40) + "=="
            self.sessions.add(token)
            return reply_text(token)
        if request.headers.get("x-aws-ec2-metadata-token") not in self.sessions:
            return reply_text("", 401)
        if (request.method, request.path) == ("GET", "/latest/meta-data/placement/region"):
            return reply_text(self.region, 200 if self.region else 404)
        folder = "/latest/meta-data/iam/security-credentials/"
        if request.method != "GET" or not request.path.startswith(folder):
            return reply_text("", 404)
        if request.path == folder:
            return reply_text(self.role)
        if request.path != folder + self.role:
            return reply_text("", 404)
        session = self.mint()
        return reply_json({"Code": "Success", "Type": "AWS-HMAC", **session.as_json()})


class Container(Double):
    """The endpoint of ECS tasks and of EKS Pod Identity; authorization is what it wants to see."""

    path = "/v1/credentials"
    query = "id=task-1&part=a%2Fb"
    authorization = None

    def environment(self):
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}{self.path}?{self.query}"}

    def answer(self, request):
        if request.method != "GET" or (request.path, request.query) != (self.path, self.query):
            return reply_json({"code": "NotFound", "message": "no such credentials"}, 404)
        if self.authorization and request.headers.get("authorization") != self.authorization:
            return reply_json({"code": "AccessDenied", "message": "wrong token"}, 401)
        role = "arn:aws:iam::123456789012:role/task"
        return reply_json({"RoleArn": role, **self.mint().as_json()})


class QueryParser:
    """A Query protocol form as the API's model has it: botocore's, read backwards.

    What botocore would not write for the same parameters is no form of that operation.
    """

    def __init__(self, service):
        self.model = botocore.session.Session().get_service_model(service)
        self.serializer = botocore.serialize.create_serializer("query")

    def parse(self, form):
        """The parameters; ValueError says what is wrong with the form."""
        if form.get("Action") not in self.model.operation_names:
            raise ValueError(f"no operation {form.get('Action')}")
        operation = self.model.operation_model(form["Action"])
        shape = operation.input_shape
        found = self._structure(shape, "", form) if shape else {}
        if shape:
            report = botocore.validate.ParamValidator().validate(found, shape)
            if report.has_errors():
                raise ValueError(report.generate_report())
        again = self.serializer.serialize_to_request(found, operation)["body"]
        if {name: str(value) for name, value in again.items()} != form:
            odd = sorted(set(form.items()) ^ {(n, str(v)) for n, v in again.items()})
            raise ValueError(f"fields that the operation has not: {odd}")
        return found

    def _structure(self, shape, prefix, form):
        return {
            name: self._value(member, prefix + name, form)
            for name, member in shape.members.items()
            if any(key == prefix + name or key.startswith(prefix + name + ".") for key in form)
        }

    def _value(self, shape, name, form):
        if shape.type_name == "structure":
            return self._structure(shape, name + ".", form)
        if shape.type_name == "list":
            items = []
            while any(
                key == (item := f"{name}.member.{len(items) + 1}") or key.startswith(item + ".")
                for key in form
            ):
                items.append(self._value(shape.member, item, form))
            return items
        return int(form[name]) if shape.type_name == "integer" else form[name]


@dataclasses.dataclass(frozen=True)
class Assumed:
    """One session that the double of STS made, and what it was asked with."""

    access_key_id: str
    role: str
    name: str
    signer: str  # access key id; "" for a web identity token
    parameters: dict
    tags: dict  # with those that were transitive in the session that signed
    transitive: frozenset
    source_identity: str


class Sts(Double):
    """AWS Security Token Service: roles that anybody known may assume, in any chain.

    `known` maps access key ids to (secret, session token or "", ARN); what it mints is added.
    `web_tokens` are the web identity tokens that it takes.  `trust` maps a role to the ARNs that
    may assume it (a role's is that of its role, without the session's name); who stands not there
    may be assumed by all.  `per_second` throttles; `gate` holds answers back while it is clear.
    """

    account = "123456789012"
    query = QueryParser("sts")

    def __init__(self, region="eu-west-1", on_mint=None):
        super().__init__(on_mint)
        self.region = region
        self.known = {}
        self.web_tokens = set()
        self.refused_roles = set()
        self.external_ids = {}
        self.trust = {}
        self.untaggable_roles = set()  # whose trust policy lacks sts:TagSession
        self.anonymous_roles = set()  # whose trust policy lacks sts:SetSourceIdentity
        self.assumed = []
        self.per_second = None
        self.gate = threading.Event()
        self.gate.set()
        self.recent = collections.deque()

    def environment(self):
        return {"AWS_ENDPOINT_URL_STS": self.url, "AWS_REGION": self.region}

    def know(self, access_key_id, secret, token="", arn=None):
        self.known[access_key_id] = (secret, token, arn or f"arn:aws:iam::{self.account}:user/bed")

    def answer(self, request):
        assert self.gate.wait(60)
        if self._throttled():
            return self._error(400, "Throttling", "Rate exceeded")
        form = dict(urllib.parse.parse_qsl(request.body.decode(), keep_blank_values=True))
        if request.method != "POST" or form.get("Version") != "2011-06-15":
            return self._error(400, "InvalidAction", "no such version")
        action = form.get("Action")
        try:
            parameters = self.query.parse(form)
        except ValueError as wrong:
            return self._error(400, "ValidationError", str(wrong))
        if action == "AssumeRoleWithWebIdentity":
            if parameters["WebIdentityToken"] not in self.web_tokens:
                return self._error(400, "InvalidIdentityToken", "Incorrect token audience")
            return self._assume(action, parameters, "", "")
        key, caller, wrong = self._caller(request)
        if wrong:
            return wrong
        if action == "GetCallerIdentity":
            return self._reply(
                action,
                {"Arn": caller, "UserId": "AIDAEXAMPLE:bed", "Account": self.account},
            )
        if action == "AssumeRole":
            return self._assume(action, parameters, key, caller)
        return self._error(400, "InvalidAction", "Could not find operation")

    def _throttled(self):
        if self.per_second is None:
            return False
        now = time.monotonic()
        with self.lock:
            while self.recent and self.recent[0] <= now - 1:
                self.recent.popleft()
            if len(self.recent) >= self.per_second:
                return True
            self.recent.append(now)
            return False

    def _refusal(self, action, parameters, before, caller):
        """What a real STS would refuse the assumption for: an error, or None."""
        role = parameters["RoleArn"]
        seconds = parameters.get("DurationSeconds", 3600)
        denied = f"User: {caller or 'web identity'} is not authorized to perform: sts:%s on {role}"
        if not re.fullmatch(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+", role):
            return self._error(400, "ValidationError", f"{role} is invalid")
        for name in ("RoleSessionName", "SourceIdentity"):
            if not re.fullmatch(r"[\w+=,.@-]{2,64}", parameters.get(name, "ok"), re.A):
                return self._error(400, "ValidationError", f"{name} is invalid")
        if not 900 <= seconds <= 43200:
            return self._error(400, "ValidationError", "durationSeconds is out of range")
        if seconds > 3600 and ":assumed-role/" in caller:
            return self._error(
                400,
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles "
                "assumed by role chaining.",
            )
        if role in self.refused_roles or parameters.get("ExternalId") != self.external_ids.get(
            role
        ):
            return self._error(403, "AccessDenied", denied % action)
        if role in self.trust and not caller.startswith(tuple(self.trust[role])):
            return self._error(403, "AccessDenied", denied % action)
        if parameters.get("Tags") and role in self.untaggable_roles:
            return self._error(403, "AccessDenied", denied % "TagSession")
        source = parameters.get("SourceIdentity", "")
        if source and role in self.anonymous_roles:
            return self._error(403, "AccessDenied", denied % "SetSourceIdentity")
        if source and before and before.source_identity not in ("", source):
            return self._error(403, "AccessDenied", "the source identity cannot be changed")
        if "Policy" in parameters and not self._is_policy(parameters["Policy"]):
            return self._error(400, "MalformedPolicyDocument", "The policy is not valid JSON")
        set_before = before.transitive if before else frozenset()
        if set_before & {tag["Key"] for tag in parameters.get("Tags", [])}:
            return self._error(
                400, "InvalidParameterValue", "a tag was set by the calling session as transitive"
            )
        return None

    @staticmethod
    def _is_policy(text):
        try:
            return isinstance(json.loads(text), dict) and len(text) <= 2048
        except ValueError:
            return False

    def _assume(self, action, parameters, key, caller):
        before = next((a for a in self.assumed if a.access_key_id == key), None)
        wrong = self._refusal(action, parameters, before, caller)
        if wrong:
            return wrong
        role, name = parameters["RoleArn"], parameters["RoleSessionName"]
        arn = f"arn:aws:sts::{self.account}:assumed-role/{role.rsplit('/', 1)[1]}/{name}"
        session = self.mint(arn, parameters.get("DurationSeconds", self.lifetime_s))
        self.know(session.access_key_id, session.secret_access_key, session.session_token, arn)
        inherited = before.transitive if before else frozenset()
        with self.lock:
            self.assumed.append(
                Assumed(
                    session.access_key_id,
                    role,
                    name,
                    key,
                    parameters,
                    {
                        **({k: before.tags[k] for k in inherited} if before else {}),
                        **{tag["Key"]: tag["Value"] for tag in parameters.get("Tags", [])},
                    },
                    inherited | frozenset(parameters.get("TransitiveTagKeys", [])),
                    parameters.get("SourceIdentity") or (before.source_identity if before else ""),
                )
            )
        return self._reply(
            action,
            {
                "AssumedRoleUser": {"AssumedRoleId": f"AROAEXAMPLE:{name}", "Arn": arn},
                "Credentials": {
                    "AccessKeyId": session.access_key_id,
                    "SecretAccessKey": session.secret_access_key,
                    "SessionToken": session.session_token,
                    "Expiration": session.expires,
                },
            },
        )

    # -- the signature, by botocore's own signer -------------------------------------------------

    def _caller(self, request):
        """(access key id, ARN, None), or (None, None, the refusal)."""

        def wrong(code, message):
            return self._error(403, code, message)

        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/sts/aws4_request, ?"
            r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if not found:
            return None, None, wrong("MissingAuthenticationToken", "no signature")
        key, _, region, names, signature = found.groups()
        secret, token, arn = self.known.get(key, (None, None, None))
        if secret is None or request.headers.get("x-amz-security-token", "") != token:
            return None, None, wrong("InvalidClientTokenId", "The security token is invalid")
        if not {"host", "x-amz-date"} <= set(names.split(";")) or region != self.region:
            return None, None, wrong("SignatureDoesNotMatch", "scope or headers are wrong")
        if self._signature(request, key, secret, names.split(";"), region) != signature:
            return None, None, wrong("SignatureDoesNotMatch", "the signature does not match")
        return key, arn, None

    @staticmethod
    def _signature(request, key, secret, names, region):
        auth = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "sts", region)
        signed = botocore.awsrequest.AWSRequest(
            request.method,
            f"http://{request.headers['host']}{request.path}",
            {name: request.headers[name] for name in names},
            request.body,
        )
        signed.context["timestamp"] = request.headers["x-amz-date"]
        text = auth.string_to_sign(signed, auth.canonical_request(signed))
        return auth.signature(text, signed)

    # -- XML -------------------------------------------------------------------------------------

    @classmethod
    def _xml(cls, document):
        return "".join(
            f"<{name}>"
            f"{cls._xml(value) if isinstance(value, dict) else xml.sax.saxutils.escape(value)}"
            f"</{name}>"
            for name, value in document.items()
        )

    def _reply(self, action, result):
        text = (
            f'<{action}Response xmlns="{STS_NAMESPACE}">\n  <{action}Result>{self._xml(result)}'
            f"</{action}Result>\n  <ResponseMetadata><RequestId>{secrets.token_hex(8)}</RequestId>"
            f"</ResponseMetadata>\n</{action}Response>\n"
        )
        return Reply(200, "text/xml", text.encode())

    def _error(self, status, code, message):
        error = {"Type": "Sender", "Code": code, "Message": message}
        text = (
            f'<ErrorResponse xmlns="{STS_NAMESPACE}"><Error>{self._xml(error)}</Error>'
            f"<RequestId>{secrets.token_hex(8)}</RequestId></ErrorResponse>\n"
        )
        return Reply(status, "text/xml", text.encode())


@contextlib.contextmanager
def running(*doubles):
    """The doubles, closed at the end."""
    try:
        yield doubles
    finally:
        for double in doubles:
            double.close()
