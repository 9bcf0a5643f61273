#!/usr/bin/python3
"""Writes sigv4.txt and rds_tokens.txt beside this file, with botocore as the oracle.

Blocks of `name: value` lines, one blank line after each block; a line end in a value is \\n.
Every intermediate value of the signature is botocore's own, taken from its SigV4Auth.
"""
import datetime
import os
import unittest.mock

import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

FOLDER = os.path.dirname(os.path.abspath(__file__))
KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEHMaCWV1LXdlc3QtMSJIMEYCIQD+/==" + "aB3+/c" * 200
HOST = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"


class Frozen(datetime.datetime):
    at = None

    @classmethod
    def utcnow(cls):
        return cls.at


def at(epoch):
    Frozen.at = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).replace(tzinfo=None)
    return unittest.mock.patch("botocore.auth.datetime.datetime", Frozen)


def write(name, blocks):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as f:
        for block in blocks:
            for key, value in block.items():
                f.write(f"{key}: {str(value)}".replace("\n", "\\n").rstrip(" ") + "\n")
            f.write("\n")


class Recorder:
    """Keeps what a signer computes on its way."""

    def __init__(self):
        self.seen = {}

    def wrap(self, cls):
        seen = self.seen
        canonical, to_sign = cls.canonical_request, cls.string_to_sign

        class Recording(cls):
            def canonical_request(self, request):
                seen["canonical_request"] = canonical(self, request)
                return seen["canonical_request"]

            def string_to_sign(self, request, canonical_request):
                seen["string_to_sign"] = to_sign(self, request, canonical_request)
                return seen["string_to_sign"]

            def _sign(self, key, msg, hex=False):
                if msg == "aws4_request":
                    seen["signing_key"] = cls._sign(self, key, msg).hex()
                return cls._sign(self, key, msg, hex)

        return Recording


def presigned(name, service, host, query, region, key, secret, token, epoch, expires):
    recorder = Recorder()
    signer = recorder.wrap(botocore.auth.SigV4QueryAuth)(
        Credentials(key, secret, token), service, region, expires)
    request = AWSRequest("GET", f"https://{host}/", data=query)
    prepared = {"url_path": "/", "query_string": "", "headers": {}, "body": query, "method": "GET"}
    from botocore.awsrequest import create_request_object, prepare_request_dict
    prepare_request_dict(prepared, f"https://{host}")
    request = create_request_object(prepared)
    with at(epoch):
        signer.add_auth(request)
    return request.prepare().url[len("https://"):], recorder.seen


def token(name, host=HOST, port=5432, user="app", region="eu-west-1", key=KEY, secret=SECRET,
          session="", epoch=1790000000, expires=900, kind="db"):
    block = {"name": name, "kind": kind, "host": host, "port": port, "user": user,
             "region": region, "access_key_id": key, "secret_access_key": secret,
             "session_token": session, "time": epoch, "expires": expires}
    query = {"Action": {"db": "connect", "dsql": "DbConnect", "dsql-admin": "DbConnectAdmin"}[kind]}
    if kind == "db":
        query["DBUser"] = user
    text, seen = presigned(name, "rds-db" if kind == "db" else "dsql",
                           f"{host}:{port}" if kind == "db" else host, query, region, key, secret,
                           session or None, epoch, expires)
    if kind == "db":
        session_ = botocore.session.Session()
        session_.set_credentials(key, secret, session or None)
        client = session_.create_client("rds", region_name=region)
        with at(epoch):
            assert client.generate_db_auth_token(host, port, user) == text
    return {**block, **seen, "token": text}


def tokens():
    yield token("plain")
    for name, user in [("plus", "a+b"), ("ampersand", "a&b"), ("equals", "a=b"),
                       ("percent", "100%25"), ("slash", "team/app"), ("at", "me@example.com"),
                       ("blank", "two words"), ("non-ascii", "Zoë-日本"), ("tilde", "a~b-c_d.e"),
                       ("quotes", "a\"b'c"), ("colon and question", "a:b?c#d"), ("stars", "*(!)*")]:
        yield token("user with " + name, user=user)
    yield token("session token", session=TOKEN)
    yield token("session token and user with plus", session=TOKEN, user="a+b c")
    yield token("port 443 is left out of the host header", port=443)
    yield token("port 6432", port=6432)
    yield token("capitals in the host", host="Shop.ABC.us-east-1.RDS.amazonaws.com",
                region="us-east-1")
    yield token("China", host="db.abc.rds.cn-north-1.amazonaws.com.cn", region="cn-north-1")
    yield token("last second of a day", epoch=1790035199)
    yield token("first second of a day", epoch=1790035200)
    dsql = "abcdefghij.dsql.us-east-1.on.aws"
    yield token("DSQL", host=dsql, region="us-east-1", kind="dsql", user="", port=0)
    yield token("DSQL admin", host=dsql, region="us-east-1", kind="dsql-admin", user="", port=0)
    yield token("DSQL, a week", host=dsql, region="us-east-1", kind="dsql", user="", port=0,
                session=TOKEN, expires=604800)


def signed(name, method="GET", path="/", query=(), headers=(), payload="", region="us-east-1",
           service="service", epoch=1440938160, session=""):
    recorder = Recorder()
    text = "&".join(f"{botocore.auth.quote(k, safe='-_.~')}={botocore.auth.quote(v, safe='-_.~')}"
                    for k, v in query)
    request = AWSRequest(method, "https://example.amazonaws.com" + path + ("?" + text if text else ""),
                         data=payload.encode())
    for key, value in headers:
        request.headers[key] = value
    with at(epoch):
        recorder.wrap(botocore.auth.SigV4Auth)(Credentials(KEY, SECRET, session or None), service,
                                               region).add_auth(request.prepare() and request)
    all_headers = [("host", "example.amazonaws.com"), *headers,
                   ("x-amz-date", request.context["timestamp"])]
    if session:
        all_headers.append(("x-amz-security-token", session))
    block = {"name": name, "method": method, "path": path, "payload": payload, "region": region,
             "service": service, "time": epoch, "session_token": session}
    for i, (k, v) in enumerate(query):
        block[f"query{i}"] = f"{k}={v}"
    for i, (k, v) in enumerate(all_headers):
        block[f"header{i}"] = f"{k}={v}"
    return {**block, **recorder.seen, "authorization": request.headers["Authorization"]}


def requests():
    form = "application/x-www-form-urlencoded; charset=utf-8"
    yield signed("get-vanilla")
    yield signed("get-vanilla-query-order-key-case", query=[("Param2", "value2"), ("Param1", "value1")])
    yield signed("query order by value", query=[("a", "z"), ("a", "b"), ("B", "1"), ("a", "")])
    yield signed("order is that of the encoded names", query=[("a~", "1"), ("a b", "2"), ("é", "3")])
    yield signed("query of reserved characters", query=[("k", "@#$%^&+=/,?><`\";:\\|][{ }")])
    yield signed("get-header-value-trim", headers=[("my-header1", "  value1  "), ("my-header2", "\"a   b   c\"")])
    yield signed("path that was encoded once", path="/a%20b/%3Ac/d~e")
    yield signed("post with a body", method="POST", payload="Action=GetCallerIdentity&Version=2011-06-15",
                 headers=[("content-type", form)], service="sts")
    yield signed("post with a session token", method="POST", payload="Param1=value1",
                 headers=[("content-type", form)], session=TOKEN, service="sts")
    yield signed("Secrets Manager", method="POST", payload="{\"SecretId\":\"x\"}",
                 headers=[("content-type", "application/x-amz-json-1.1"),
                          ("x-amz-target", "secretsmanager.GetSecretValue")],
                 service="secretsmanager", region="eu-central-1", epoch=1790000000)


if __name__ == "__main__":
    write("rds_tokens.txt", tokens())
    write("sigv4.txt", requests())
