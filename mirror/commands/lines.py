"""The two ways to a running server: the socket in its store, or its URL. NoServer: it leads nowhere."""

import socket
import ssl
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from mirror.errors import ConfigError, NoServer
from mirror.values import BaseUrl
from storage.layout import Layout

_CONNECT_SECONDS = 10.0
# An order that is followed may say nothing for hours: whether its server is still there is for the kernel to find out.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class Line(Protocol):
    """`name` is the server as messages have it; `is_known` whether it can only be one of ours."""

    name: str
    is_known: bool

    def connect(self) -> HTTPConnection: ...


class SocketLine:
    """By the socket in a store."""

    is_known = True

    def __init__(self, root: Path, how_to_start: str = "mirror serve") -> None:
        self.name = f"the server on {root.absolute()}"
        self._root, self._how_to_start = root, how_to_start

    def connect(self) -> HTTPConnection:
        path, root = Layout(self._root).control, self._root.absolute()
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_CONNECT_SECONDS)
        try:
            connection.sock.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            connection.close()
            raise NoServer(f"no server is running on {root}; start one with: {self._how_to_start}") from None
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
            owner = f"; it belongs to user {path.stat().st_uid}" if isinstance(error, PermissionError) else ""
            raise NoServer(f"cannot give commands to the server on {root}: {path}: {reason}{owner}") from None
        return connection


class UrlLine:
    """By a URL. Certificates are checked, redirects are not followed."""

    is_known = False

    def __init__(self, url: str) -> None:
        """Raises ConfigError."""
        try:
            self.name = TypeAdapter(BaseUrl).validate_python(url)
        except ValidationError:
            raise ConfigError("--server: not the URL of a server; write it like http://127.0.0.1:5000") from None
        self._parts = urlsplit(self.name)

    def connect(self) -> HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
        except TimeoutError:
            raise NoServer(f"{self.name} does not answer within {_CONNECT_SECONDS:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NoServer(f"{self.name}: its certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise NoServer(f"{self.name}: no TLS connection: {error.reason or error}") from None
        except OSError as error:
            raise NoServer(f"{self.name} cannot be reached: {error.strerror or error}") from None
        with suppress(OSError):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        return connection

    def _connection(self) -> HTTPConnection:
        host = self._parts.hostname or ""
        if self._parts.scheme == "http":
            return HTTPConnection(host, self._parts.port or 80, timeout=_CONNECT_SECONDS)
        trusted = ssl.create_default_context()
        return HTTPSConnection(host, self._parts.port or 443, timeout=_CONNECT_SECONDS, context=trusted)
