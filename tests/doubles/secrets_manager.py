"""A double of AWS Secrets Manager: the JSON protocol, on loopback, over plain HTTP.

Requests are validated against botocore's own model of the API and signatures with botocore's own
signer; tests/cli/test_secrets_manager_double.py drives it with botocore, so that it is held to the
real API from both sides.  Rules: "AWS Secrets Manager API Reference", each operation's page.
"""

import base64
import collections
import dataclasses
import json
import re
import secrets
import string
import time
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import botocore.validate

from doubles.aws import Double, Reply

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
CONTENT_TYPE = "application/x-amz-json-1.1"
MODEL = botocore.session.Session().get_service_model("secretsmanager")

THROTTLED = "throttled"
BROKEN = "broken"
HANG_UP = "hang up"


class ApiError(Exception):
    """An error as the API answers it."""

    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclasses.dataclass
class Version:
    id: str
    text: str | None = None  # SecretString
    binary: bytes | None = None  # SecretBinary
    stages: set = dataclasses.field(default_factory=set)
    created: float = dataclasses.field(default_factory=time.time)

    @property
    def has_value(self):
        return self.text is not None or self.binary is not None


@dataclasses.dataclass
class Secret:
    arn: str
    name: str
    description: str = ""
    versions: dict = dataclasses.field(default_factory=dict)
    created: float = dataclasses.field(default_factory=time.time)
    changed: float = dataclasses.field(default_factory=time.time)
    deleted: float | None = None
    owning_service: str | None = None  # "rds": its rotation is managed
    rotation_enabled: bool | None = None
    rotation_lambda: str | None = None
    last_rotated: float | None = None

    def at(self, stage):
        return next((v for v in self.versions.values() if stage in v.stages), None)

    def document(self, stage=CURRENT):
        """The value as a dictionary: for a test's assertions."""
        return json.loads(self.at(stage).text)

    def attach(self, stage, version):
        """Moves a label; AWSPREVIOUS goes to the version that AWSCURRENT left."""
        before = self.at(stage)
        if before is version:
            return
        if before:
            before.stages.discard(stage)
        version.stages.add(stage)
        if stage == CURRENT and before:
            self.attach(PREVIOUS, before)
        self.changed = time.time()


class SecretsManager(Double):
    """`known` maps access key ids to (secret, session token or "", ARN).

    Switches: `outage` (None, THROTTLED, BROKEN or HANG_UP) holds for every request;
    `failures[ACTION]` is a deque of the same, or of ApiError, used up one a request;
    `lost[ACTION]` counts requests that are done and whose answers are then lost;
    `denied` holds actions that the caller's policy does not allow;
    `before[ACTION]` and `after[ACTION]` are called with the parameters of each good request.
    """

    account = "123456789012"

    def __init__(self, region="eu-west-1", on_mint=None):
        self.region = region
        self.known = {}
        self.secrets = {}
        self.outage = None
        self.failures = collections.defaultdict(collections.deque)
        self.lost = collections.Counter()
        self.denied = set()
        self.before = {}
        self.after = {}
        self.actions = []  # (action, parameters) of requests whose signature was good
        super().__init__(on_mint)

    def environment(self):
        return {"AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url, "AWS_REGION": self.region}

    def know(self, access_key_id, secret, token="", arn=None):
        self.known[access_key_id] = (secret, token, arn or f"arn:aws:iam::{self.account}:user/bed")

    # -- what a test does without a request ------------------------------------------------------

    def put(self, name, value, stages=(CURRENT,), **fields):
        """Makes the secret if need be, and a version of it; value: text, bytes or a dictionary."""
        with self.lock:
            secret = self._lookup(name) or self._new(name)
            for field, content in fields.items():
                setattr(secret, field, content)
            version = Version(str(uuid.uuid4()))
            if isinstance(value, bytes):
                version.binary = value
            elif value is not None:
                version.text = value if isinstance(value, str) else json.dumps(value)
            secret.versions[version.id] = version
            for stage in stages:
                secret.attach(stage, version)
            return secret

    def secret(self, name):
        found = self._lookup(name)
        assert found, f"no secret {name}"
        return found

    def count(self, action):
        return sum(1 for name, _ in self.actions if name == action)

    # -- the protocol ----------------------------------------------------------------------------

    def answer(self, request):
        try:
            return self._answer(request)
        except ApiError as error:
            if error.code == HANG_UP:
                return None
            member = "message" if error.code in ("ThrottlingException",) else "Message"
            return self._json({"__type": error.code, member: error.message}, error.status)

    @staticmethod
    def _json(document, status=200):
        return Reply(status, CONTENT_TYPE, json.dumps(document).encode())

    @staticmethod
    def _fail_as(kind):
        if kind == THROTTLED:
            raise ApiError("ThrottlingException", "Rate exceeded")
        if kind == BROKEN:
            raise ApiError("InternalServiceError", "An error occurred on the server side.", 500)
        if kind == HANG_UP:
            raise ApiError(HANG_UP, "")
        if isinstance(kind, ApiError):
            raise kind

    def _answer(self, request):
        self._fail_as(self.outage)
        prefix, _, action = request.headers.get("x-amz-target", "").partition(".")
        if request.method != "POST" or request.path != "/" or prefix != "secretsmanager":
            raise ApiError("UnknownOperationException", "", 404)
        if request.headers.get("content-type") != CONTENT_TYPE:
            raise ApiError("SerializationException", "content type", 400)
        handler = getattr(self, "do_" + action, None)
        if handler is None or action not in MODEL.operation_names:
            raise ApiError("UnknownOperationException", "", 400)
        caller = self._caller(request)
        values = self._parameters(action, request.body)
        with self.lock:
            self.actions.append((action, values))
            planned = self.failures[action].popleft() if self.failures[action] else None
        self._fail_as(planned)
        if action in self.denied:
            raise ApiError(
                "AccessDeniedException",
                f"User: {caller} is not authorized to perform: secretsmanager:{action} on "
                f"resource: {values.get('SecretId', '*')} because no identity-based policy "
                f"allows the secretsmanager:{action} action",
            )
        if action in self.before:
            self.before[action](values)
        with self.lock:
            document = handler(values)
        if action in self.after:
            self.after[action](values)
        with self.lock:
            lose = self.lost[action] > 0
            self.lost[action] -= lose
        if lose:
            raise ApiError(HANG_UP, "")
        return self._json(document)

    @staticmethod
    def _parameters(action, body):
        try:
            values = json.loads(body)
        except ValueError:
            raise ApiError("SerializationException", "not JSON") from None
        shape = MODEL.operation_model(action).input_shape
        if not isinstance(values, dict):
            raise ApiError("SerializationException", "not an object")
        unknown = set(values) - set(shape.members)
        if unknown:
            raise ApiError("InvalidParameterException", f"not in the model: {sorted(unknown)}")
        if "SecretBinary" in values:
            values["SecretBinary"] = base64.b64decode(values["SecretBinary"], validate=True)
        report = botocore.validate.ParamValidator().validate(values, shape)
        if report.has_errors():
            raise ApiError("InvalidParameterException", report.generate_report())
        return values

    # -- the signature, by botocore's own signer -------------------------------------------------

    def _caller(self, request):
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/secretsmanager/aws4_request, ?"
            r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if not found:
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
        key, _, region, names, signature = found.groups()
        secret, token, arn = self.known.get(key, (None, None, None))
        if secret is None or request.headers.get("x-amz-security-token", "") != token:
            raise ApiError(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        names = names.split(";")
        if region != self.region:
            raise ApiError(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region, not '{region}'.",
            )
        wanted = {"host", "x-amz-date", "x-amz-target"}
        wanted |= {"x-amz-security-token"} if token else set()
        if wanted <= set(names) and self._signature(request, key, secret, names) == signature:
            return arn
        raise ApiError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        )

    def _signature(self, request, key, secret, names):
        auth = botocore.auth.SigV4Auth(
            botocore.credentials.Credentials(key, secret), "secretsmanager", self.region
        )
        signed = botocore.awsrequest.AWSRequest(
            request.method,
            f"http://{request.headers['host']}{request.path}",
            {name: request.headers[name] for name in names},
            request.body,
        )
        signed.context["timestamp"] = request.headers["x-amz-date"]
        text = auth.string_to_sign(signed, auth.canonical_request(signed))
        return auth.signature(text, signed)

    # -- the operations --------------------------------------------------------------------------

    def _lookup(self, secret_id):
        for secret in self.secrets.values():
            # "you can also specify a partial ARN", without its six random characters
            if secret_id in (secret.name, secret.arn, secret.arn[:-7]):
                return secret
        return None

    def _new(self, name):
        letters = string.ascii_letters + string.digits
        suffix = "".join(secrets.choice(letters) for _ in range(6))
        arn = f"arn:aws:secretsmanager:{self.region}:{self.account}:secret:{name}-{suffix}"
        self.secrets[arn] = Secret(arn, name)
        return self.secrets[arn]

    def _find(self, values, even_deleted=False):
        secret = self._lookup(values["SecretId"])
        if secret is None:
            raise ApiError(
                "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
            )
        if secret.deleted and not even_deleted:
            raise ApiError(
                "InvalidRequestException",
                "You can't perform this operation on the secret because it was marked for "
                "deletion.",
            )
        return secret

    @staticmethod
    def _owned(secret):
        if secret.owning_service:
            raise ApiError(
                "InvalidRequestException",
                f"You can't modify a secret that is managed by {secret.owning_service}.",
            )

    @staticmethod
    def _value(values):
        if "SecretString" in values and "SecretBinary" in values:
            raise ApiError(
                "InvalidParameterException",
                "You can't specify both a binary secret value and a string secret value in the "
                "same secret.",
            )
        return values.get("SecretString"), values.get("SecretBinary")

    @staticmethod
    def _token(values):
        token = values.get("ClientRequestToken")
        if token is None:
            raise ApiError(
                "InvalidRequestException",
                "You must provide a ClientRequestToken value. We recommend a UUID-type value.",
            )
        return token

    def do_CreateSecret(self, values):
        text, binary = self._value(values)
        token = self._token(values)
        if not re.fullmatch(r"[\w/+=.@-]{1,512}", values["Name"]):
            raise ApiError("ValidationException", "Invalid name.")
        secret = self._lookup(values["Name"])
        if secret:
            version = secret.versions.get(token)
            if not version or (version.text, version.binary) != (text, binary):
                raise ApiError(
                    "ResourceExistsException",
                    f"The operation failed because the secret {values['Name']} already exists.",
                )
        else:
            secret = self._new(values["Name"])
            secret.description = values.get("Description", "")
            if text is not None or binary is not None:
                secret.versions[token] = Version(token, text, binary, {CURRENT})
        answer = {"ARN": secret.arn, "Name": secret.name}
        return {**answer, "VersionId": token} if token in secret.versions else answer

    def do_DescribeSecret(self, values):
        s = self._find(values, even_deleted=True)
        stages = {v.id: sorted(v.stages) for v in s.versions.values() if v.stages}
        answer = {
            "ARN": s.arn,
            "Name": s.name,
            "Description": s.description or None,
            "RotationEnabled": s.rotation_enabled,
            "RotationLambdaARN": s.rotation_lambda,
            "RotationRules": {"AutomaticallyAfterDays": 7} if s.rotation_enabled else None,
            "LastRotatedDate": s.last_rotated,
            "LastChangedDate": s.changed,
            "DeletedDate": s.deleted,
            "Tags": [],
            "VersionIdsToStages": stages or None,
            "OwningService": s.owning_service,
            "CreatedDate": s.created,
        }
        return {name: value for name, value in answer.items() if value is not None}

    def do_GetSecretValue(self, values):
        secret = self._find(values)
        wanted_id, stage = values.get("VersionId"), values.get("VersionStage")
        if wanted_id:
            version, what = secret.versions.get(wanted_id), f"VersionId: {wanted_id}"
        else:
            version = secret.at(stage or CURRENT)
            what = f"staging label: {stage or CURRENT}"
        if version is None or not version.has_value:
            raise ApiError(
                "ResourceNotFoundException",
                f"Secrets Manager can't find the specified secret value for {what}",
            )
        if stage and stage not in version.stages:
            raise ApiError(
                "InvalidRequestException",
                "You provided a VersionStage that is not associated to the provided VersionId.",
            )
        answer = {
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": version.id,
            "VersionStages": sorted(version.stages),
            "CreatedDate": version.created,
        }
        if version.text is not None:
            answer["SecretString"] = version.text
        else:
            answer["SecretBinary"] = base64.b64encode(version.binary).decode()
        return answer

    def do_PutSecretValue(self, values):
        secret = self._find(values)
        self._owned(secret)
        text, binary = self._value(values)
        if text is None and binary is None:
            raise ApiError(
                "InvalidRequestException", "You must provide either SecretString or SecretBinary."
            )
        token, stages = self._token(values), values.get("VersionStages", [CURRENT])
        version = secret.versions.get(token)
        if version and version.has_value and (version.text, version.binary) != (text, binary):
            raise ApiError(
                "ResourceExistsException",
                "You can't modify an existing version, you can only create a new version.",
            )
        if version is None or not version.has_value:
            if version is None:
                version = secret.versions[token] = Version(token)
            version.text, version.binary = text, binary
            for stage in stages:
                secret.attach(stage, version)
            if secret.at(CURRENT) is None:  # the first value of a secret is its current one
                secret.attach(CURRENT, version)
        return {
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": token,
            "VersionStages": sorted(version.stages),
        }

    def do_UpdateSecretVersionStage(self, values):
        secret = self._find(values)
        self._owned(secret)
        stage, holder = values["VersionStage"], secret.at(values["VersionStage"])
        gone, to = values.get("RemoveFromVersionId"), values.get("MoveToVersionId")
        for wanted in filter(None, (gone, to)):
            if wanted not in secret.versions:
                raise ApiError(
                    "ResourceNotFoundException",
                    f"Secrets Manager can't find the specified secret version: {wanted}.",
                )
        if gone and (holder is None or holder.id != gone):
            raise ApiError(
                "InvalidParameterException",
                f"When you move staging label {stage}, if you specify RemoveFromVersionId, it must "
                f"be set to the version that currently has the staging label {stage}.",
            )
        if to and holder and holder.id != to and not gone:
            raise ApiError(
                "InvalidParameterException",
                f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is "
                f"currently attached to version {holder.id}, so you must explicitly reference that "
                "version in RemoveFromVersionId.",
            )
        if not to and stage == CURRENT:
            raise ApiError(
                "InvalidParameterException",
                "You can only move staging label AWSCURRENT to a different secret version. It "
                "can't be completely removed.",
            )
        if to:
            secret.attach(stage, secret.versions[to])
        elif gone:
            holder.stages.discard(stage)
        return {"ARN": secret.arn, "Name": secret.name}

    def do_ListSecretVersionIds(self, values):
        secret = self._find(values, even_deleted=True)
        return {
            "ARN": secret.arn,
            "Name": secret.name,
            "Versions": [
                {"VersionId": v.id, "VersionStages": sorted(v.stages), "CreatedDate": v.created}
                for v in secret.versions.values()
                if v.stages or values.get("IncludeDeprecated")
            ],
        }

    def do_GetRandomPassword(self, values):
        kinds = [
            (string.ascii_lowercase, "ExcludeLowercase"),
            (string.ascii_uppercase, "ExcludeUppercase"),
            (string.digits, "ExcludeNumbers"),
            (string.punctuation, "ExcludePunctuation"),
        ]
        kept = [letters for letters, without in kinds if not values.get(without)]
        kept += [" "] if values.get("IncludeSpace") else []
        excluded = set(values.get("ExcludeCharacters", ""))
        kept = [left for kind in kept if (left := [c for c in kind if c not in excluded])]
        length = values.get("PasswordLength", 32)
        each = values.get("RequireEachIncludedType", True)
        if not kept or (each and length < len(kept)):
            raise ApiError("InvalidParameterException", "The password cannot be made so.")
        letters = [secrets.choice(kind) for kind in kept] if each else []
        everything = [c for kind in kept for c in kind]
        letters += [secrets.choice(everything) for _ in range(length - len(letters))]
        secrets.SystemRandom().shuffle(letters)
        return {"RandomPassword": "".join(letters)}
