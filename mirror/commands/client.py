"""Talk to the running server through the control socket of its store."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mirror.config import load_config
from mirror.errors import NoServer
from storage.errors import StoreInUse
from storage.layout import Layout

# For what a command can do without.
_PATIENCE_SECONDS = 5.0


class Refused(Exception):
    """The server's answer is an error; the text is its message."""


class Server:
    """The server that runs on a store. Raises NoServer where none does."""

    def __init__(self, root: Path, how_to_start: str = "mirror serve", timeout: float | None = None) -> None:
        self._root, self._how_to_start, self._timeout = root, how_to_start, timeout

    def get(self, path: str, **query: str | list[str]) -> dict[str, Any]:
        """The whole answer; raises Refused."""
        return self._whole("GET", f"{path}?{urlencode(query, doseq=True)}", None)

    def post(self, path: str, order: Mapping[str, object]) -> dict[str, Any]:
        """The whole answer; raises Refused."""
        return self._whole("POST", path, order)

    def follow(self, path: str, order: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """The lines of an answer, as they come, but for the one that says that it is done; raises Refused."""
        with self._answer("POST", path, order) as answer:
            while line := answer.readline():
                found = json.loads(line)
                if found["event"] == "done":
                    return
                yield found
            raise ConnectionError  # what breaks off looks like the end

    def _whole(self, method: str, path: str, order: Mapping[str, object] | None) -> dict[str, Any]:
        with self._answer(method, path, order) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    @contextmanager
    def _answer(self, method: str, path: str, order: Mapping[str, object] | None) -> Iterator[HTTPResponse]:
        connection = _Connection(self._connect())
        try:
            connection.request(method, f"/api/v1/{path}", None if order is None else json.dumps(order))
            answer = connection.getresponse()
            if answer.status != 200:
                raise Refused(json.loads(answer.read())["errors"][0]["message"])
            yield answer
        except (HTTPException, ConnectionError):
            raise NoServer(f"the server on {self._root.absolute()} ended before it had answered") from None
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        path, root = Layout(self._root).control, self._root.absolute()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            connection.close()
            raise NoServer(f"no server is running on {root}; start one with: {self._how_to_start}") from None
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
            owner = f"; it belongs to user {path.stat().st_uid}" if isinstance(error, PermissionError) else ""
            raise NoServer(f"cannot give commands to the server on {root}: {path}: {reason}{owner}") from None
        return connection


class _Connection(HTTPConnection):
    """HTTP over a socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected


def server_of(config: Path | None) -> Server:
    """The server that a configuration means. Raises ConfigError."""
    root = load_config(config, os.environ).storage.root
    return Server(root, f"mirror serve --config {config}" if config else "mirror serve")


@contextmanager
def naming_the_holder(root: Path) -> Iterator[None]:
    """Where the store is in use, say also under which address its server can be reached, if it tells."""
    try:
        yield
    except StoreInUse as error:
        try:
            url = Server(root, timeout=_PATIENCE_SECONDS).get("server")["url"]
        except (NoServer, Refused, TimeoutError):
            raise error from None
        raise StoreInUse(f"{error}, which serves {url}") from None
