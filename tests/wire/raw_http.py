"""HTTP/1.1 by hand: for bytes that no client library sends, and answers read exactly."""

import asyncio
import json
import re

from harness import Answer

HEAD_END = b"\r\n\r\n"


def request(method, path, token=None, body=b"", **headers):
    """One request as bytes; a header's underscores are hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + HEAD_END + body


def json_request(method, path, token, value):
    return request(method, path, token, json.dumps(value).encode(), Content_Type="application/json")


def parse_head(head):
    """The status and the headers of an answer's head, names in lower case."""
    first, *rest = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", first)
    assert match, first
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        assert colon and name.lower() not in headers, line
        headers[name.lower()] = value.strip()
    return int(match[1]), headers


def split_answers(data):
    """All whole answers in the bytes, and what is left over."""
    answers = []
    while HEAD_END in data:
        head, _, rest = data.partition(HEAD_END)
        status, headers = parse_head(head)
        length = 0 if status in (100, 204) else int(headers["content-length"])
        if len(rest) < length:
            break
        answers.append(Answer(status, headers, rest[:length]))
        data = rest[length:]
    return answers, data


def read_to_end(sock):
    """Everything until the peer closes; a reset counts as the end."""
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except (ConnectionResetError, OSError):
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def read_answers(sock, count):
    """`count` answers of a connection that stays open, or as many as come before its end."""
    data = b""
    answers = []
    while len(answers) < count:
        part = sock.recv(65536)
        if not part:
            break
        found, data = split_answers(data + part)
        answers += found
    return answers, data


class AsyncConnection:
    """A client's TLS connection under asyncio."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, gateway):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            gateway.proxy_port,
            ssl=gateway.tls,
            server_hostname="localhost",
            limit=1 << 24,
        )
        return cls(reader, writer)

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        """The next answer; None when the connection ended before it was whole."""
        try:
            head = await self.reader.readuntil(HEAD_END)
            status, headers = parse_head(head[: -len(HEAD_END)])
            body = b""
            if status != 204:
                body = await self.reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return Answer(status, headers, body)

    def vanish(self):
        """Goes without a goodbye."""
        self.writer.transport.abort()
