"""The smallest HTTP client that can pull and push: one blocking socket, bodies discarded as fast as they come.

The client shares the machine with the server it measures, so it does next to nothing: no chunked coding, no redirects,
no retries. What it does not understand is an error, never a wrong figure.
"""

import hashlib
import json
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.content import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE

ACCEPT = f"{MANIFEST_TYPE}, {INDEX_TYPE}, {CONFIG_TYPE}, */*"

_PATIENCE_SECONDS = 120
_HEAD_LIMIT = 65536

# All connections of a process throw their bytes into one buffer: nobody reads it, and it stays in the CPU's cache.
_DISCARD = memoryview(bytearray(256 * 1024))


class Refused(Exception):
    """The server answered something else than the load asked for."""


@dataclass(frozen=True)
class Head:
    status: int
    fields: Mapping[str, str]

    @property
    def length(self) -> int:
        if "content-length" not in self.fields:
            raise Refused(f"an answer {self.status} without Content-Length")
        return int(self.fields["content-length"])


@dataclass(frozen=True)
class Download:
    first_byte: float
    end: float


class Connection:
    """One keep-alive connection; times are `time.monotonic` of this process."""

    def __init__(self, host: str, port: int) -> None:
        self._host = f"{host}:{port}"
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patience = struct.pack("ll", _PATIENCE_SECONDS, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._ahead = b""

    def close(self) -> None:
        self._socket.close()

    def get(self, target: str) -> bytes:
        """A small body, kept."""
        head = self._ask("GET", target, 200)
        body = bytearray(self._ahead)
        while len(body) < head.length:
            body += self._some(head.length - len(body))
        self._ahead = b""
        return bytes(body)

    def download(self, target: str, size: int) -> Download:
        """A body of exactly this size, thrown away."""
        self.begin(target, size)
        first_byte = time.monotonic()
        self.discard(size - 1)
        return Download(first_byte, time.monotonic())

    def begin(self, target: str, size: int) -> None:
        """The first byte of a body of exactly this size; the others are there to be discarded."""
        self._expect_size(self._ask("GET", target, 200), size)
        self.discard(1)

    def discard(self, count: int) -> None:
        """The next bytes of a body."""
        known = min(count, len(self._ahead))
        self._ahead = self._ahead[known:]
        missing = count - known
        while missing:
            missing -= self._into_the_bin(missing)

    def digest(self, target: str, size: int) -> str:
        """A body of exactly this size, hashed."""
        self._expect_size(self._ask("GET", target, 200), size)
        sha256 = hashlib.sha256(self._ahead)
        missing = size - len(self._ahead)
        self._ahead = b""
        while missing:
            count = self._into_the_bin(missing)
            sha256.update(_DISCARD[:count])
            missing -= count
        return f"sha256:{sha256.hexdigest()}"

    def send(self, method: str, target: str, expected: int, body: bytes = b"", media_type: str = "") -> Head:
        self._send_head(method, target, len(body), media_type)
        self._socket.sendall(body)
        return self._empty_answer(expected)

    def send_file(self, method: str, target: str, expected: int, path: Path) -> Head:
        self._send_head(method, target, path.stat().st_size, "application/octet-stream")
        with path.open("rb") as file:
            self._socket.sendfile(file)
        return self._empty_answer(expected)

    def send_parts(self, method: str, target: str, expected: int, parts: Iterable[bytes], length: int) -> Head:
        """A body as its parts come."""
        self._send_head(method, target, length, "application/octet-stream")
        for part in parts:
            self._socket.sendall(part)
        return self._empty_answer(expected)

    def _ask(self, method: str, target: str, expected: int) -> Head:
        self._send_head(method, target)
        return self._head(expected)

    def _send_head(self, method: str, target: str, length: int | None = None, media_type: str = "") -> None:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", "User-Agent: bench", f"Accept: {ACCEPT}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if media_type:
            lines.append(f"Content-Type: {media_type}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def _head(self, expected: int) -> Head:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._some(_HEAD_LIMIT)
        raw, _, self._ahead = received.partition(b"\r\n\r\n")
        first, *rest = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in rest)
        head = Head(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs})
        if head.status != expected:
            raise Refused(f"{first} (expected {expected}): {self._ahead[:300].decode('utf-8', 'replace')}")
        return head

    def _empty_answer(self, expected: int) -> Head:
        head = self._head(expected)
        missing = int(head.fields.get("content-length", 0)) - len(self._ahead)
        while missing > 0:
            missing -= self._into_the_bin(missing)
        self._ahead = b""
        return head

    def _some(self, limit: int) -> bytes:
        data = self._socket.recv(min(limit, _HEAD_LIMIT))
        if not data:
            raise Refused("the server closed the connection")
        return data

    def _into_the_bin(self, limit: int) -> int:
        count = self._socket.recv_into(_DISCARD, min(limit, len(_DISCARD)))
        if not count:
            raise Refused(f"the server closed the connection with {limit} bytes missing")
        return count

    @staticmethod
    def _expect_size(head: Head, size: int) -> None:
        if head.length != size:
            raise Refused(f"a body of {head.length} bytes instead of {size}")


@contextmanager
def connect(host: str, port: int) -> Iterator[Connection]:
    connection = Connection(host, port)
    try:
        yield connection
    finally:
        connection.close()


@dataclass(frozen=True)
class Repository:
    """The addresses of one repository, and the two ways into it."""

    name: str

    def blob(self, digest: str) -> str:
        return f"/v2/{self.name}/blobs/{digest}"

    def manifest(self, reference: str) -> str:
        return f"/v2/{self.name}/manifests/{reference}"

    def push_file(self, connection: Connection, path: Path, digest: str) -> None:
        """As docker pushes: POST, one PATCH with everything, an empty PUT to close."""
        session = self._open_upload(connection)
        session = _target(connection.send_file("PATCH", session, 202, path))
        connection.send("PUT", _with_digest(session, digest), 201)

    def push_parts(self, connection: Connection, parts: Iterable[bytes], length: int, digest: str) -> None:
        """The same, with a body that comes in parts."""
        session = self._open_upload(connection)
        session = _target(connection.send_parts("PATCH", session, 202, parts, length))
        connection.send("PUT", _with_digest(session, digest), 201)

    def push_bytes(self, connection: Connection, data: bytes, digest: str) -> None:
        """POST, then everything in the PUT."""
        session = self._open_upload(connection)
        connection.send("PUT", _with_digest(session, digest), 201, data, "application/octet-stream")

    def push_manifest(self, connection: Connection, tag: str, data: bytes) -> None:
        connection.send("PUT", self.manifest(tag), 201, data, MANIFEST_TYPE)

    def _open_upload(self, connection: Connection) -> str:
        return _target(connection.send("POST", f"/v2/{self.name}/blobs/uploads/", 202))


def objects(manifest: bytes) -> list[dict[str, Any]]:
    """The descriptors a client fetches: the config, then the layers."""
    document = json.loads(manifest)
    return [document["config"], *document["layers"]]


def _target(head: Head) -> str:
    location = urlsplit(head.fields["location"])
    return f"{location.path}?{location.query}" if location.query else location.path


def _with_digest(session: str, digest: str) -> str:
    return f"{session}{'&' if '?' in session else '?'}digest={digest}"
