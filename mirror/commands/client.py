"""Talk to a running server: through the control socket of its store, or at its URL."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from mirror.commands import answers
from mirror.commands.lines import Line, SocketLine, UrlLine
from mirror.config import load_config
from mirror.errors import NoServer
from mirror.printable import printable
from mirror.values import Listen, parse_listen
from storage.errors import StoreInUse

# What the server says may take it as long as its upstreams; what a command can do without may not.
_PATIENCE_SECONDS, _SHORT_PATIENCE_SECONDS = 300.0, 5.0
# Which version of what servers say is understood here.
_API = 1
_MAX_ERROR_BYTES = 64 * 1024
# A piece of an image takes two hundred bytes, and there are as many as a manifest of 4 MiB can name.
_MAX_BYTES, _MAX_LINE_BYTES = 8 * 1024**2, 1024**2

_SHAPES: Mapping[tuple[str, str], type[answers.Answer]] = {
    ("GET", "server"): answers.Server,
    ("GET", "warm"): answers.Schedules,
    ("GET", "status"): answers.Status,
    ("GET", "upstreams"): answers.Upstreams,
    ("POST", "refresh"): answers.Refreshed,
}


class Refused(Exception):
    """The server's answer is an error; the text is its message. `is_final`: the fault is in what was asked for, and not
    in what befell the server."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


class Server:
    """A running server. Whatever is asked of it raises NoServer where it does not answer, or takes no such command."""

    def __init__(self, line: Line, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._line, self._patience = line, patience_seconds

    def get(self, path: str, **query: str | list[str]) -> dict[str, Any]:
        """The whole answer; raises Refused."""
        return self._whole("GET", path, urlencode(query, doseq=True), None)

    def look(self, shape: type[answers.Answer], path: str, **query: str) -> dict[str, Any]:
        """The whole answer, of this shape, where the path alone does not tell which it has; raises Refused."""
        with self._answer("GET", f"{path}?{urlencode(query)}", None, self._patience) as answer:
            return self._read(shape, answer.read(_MAX_BYTES))

    def tell(self, path: str) -> dict[str, Any]:
        """The same of what no server of ours refuses."""
        try:
            return self.get(path)
        except Refused as refusal:
            raise NoServer(f"{self._line.name}: {refusal}") from None

    def post(self, path: str, order: Mapping[str, object]) -> dict[str, Any]:
        """The whole answer; raises Refused."""
        return self._whole("POST", path, "", order)

    def follow(self, path: str, order: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """The lines of an answer, as they come, but for the one that says that it is done; raises Refused."""
        with self._answer("POST", path, order, patience=None) as answer:
            while line := answer.readline(_MAX_LINE_BYTES):
                if self._read(answers.Event, line)["event"] == "done":
                    return
                yield self._read(answers.Step, line)
            raise ConnectionError  # what breaks off looks like the end

    def _whole(self, method: str, path: str, query: str, order: Mapping[str, object] | None) -> dict[str, Any]:
        with self._answer(method, f"{path}?{query}", order, self._patience) as answer:
            return self._read(_SHAPES[method, path], answer.read(_MAX_BYTES))

    def _read(self, shape: type[answers.Answer], body: bytes) -> dict[str, Any]:
        """What is too long has been cut, and is no JSON any more."""
        try:
            return shape.read(body)
        except ValueError:
            raise NoServer(f"{self._line.name} answers something else than it was asked") from None

    @contextmanager
    def _answer(
        self, method: str, path: str, order: Mapping[str, object] | None, patience: float | None
    ) -> Iterator[HTTPResponse]:
        connection = self._line.connect()
        try:
            if not self._line.is_known:
                self._check_kind(connection)
            answer = _ask(connection, method, path, order, self._patience, patience)
            if answer.status != 200:
                raise self._refusal(answer)
            yield answer
        except TimeoutError:
            raise NoServer(f"{self._line.name} does not answer within {self._patience:g} s") from None
        except (HTTPException, OSError):
            raise NoServer(f"{self._line.name} ended before it had answered") from None
        finally:
            connection.close()

    def _check_kind(self, connection: HTTPConnection) -> None:
        """Whether what answers at a URL is a server of ours, and one that is not too old. Raises NoServer."""
        answer = _ask(connection, "GET", "server", None, self._patience, self._patience)
        said = _object(answer)
        if answer.status == 200 and isinstance(said.get("api"), int):
            if said["api"] != _API:
                raise NoServer(f"{self._line.name} is of another version, which takes other commands")
            return
        if answer.status == 404 and _first_error(said).get("code") == "NOT_FOUND":
            raise NoServer(f"{self._line.name} is too old to take commands by its port")
        raise NoServer(f"{self._line.name} is not a server of this kind (it answers {answer.status})")

    def _refusal(self, answer: HTTPResponse) -> Exception:
        """What it means for the command that the server did not do it."""
        error = _first_error(_object(answer))
        said = error.get("message")
        message = printable(said) if said and isinstance(said, str) else f"it answers {answer.status}"
        if error.get("code") == "DENIED":
            return NoServer(f"{self._line.name}: {message}")
        if error.get("code") == "NOT_FOUND":
            return NoServer(f"{self._line.name} is too old for this command")
        return Refused(message, is_final=answer.status < 500)


def _ask(
    connection: HTTPConnection,
    method: str,
    path: str,
    order: Mapping[str, object] | None,
    patience: float,
    afterwards: float | None,
) -> HTTPResponse:
    """The head of an answer that may take `patience` seconds; between the pieces of its body `afterwards` may pass."""
    if connection.sock is None:  # the other end has closed it after the last answer
        connection.connect()
    line = connection.sock
    line.settimeout(patience)
    body = None if order is None else json.dumps(order)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, f"/api/v1/{path}", body, headers)
    answer = connection.getresponse()
    line.settimeout(afterwards)
    return answer


def _object(answer: HTTPResponse) -> dict[str, Any]:
    """The JSON object that an answer is; an empty one for any other body."""
    try:
        found = json.loads(answer.read(_MAX_ERROR_BYTES))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_error(said: Mapping[str, Any]) -> Mapping[str, Any]:
    errors = said.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def server_of(config: Path | None, url: str | None = None) -> Server:
    """The server at a URL, or else the one that a configuration means. Raises ConfigError."""
    if url:
        return Server(UrlLine(url))
    root = load_config(config, os.environ).storage.root
    return Server(SocketLine(root, f"mirror serve --config {config}" if config else "mirror serve"))


@contextmanager
def naming_the_holder(root: Path) -> Iterator[None]:
    """Where the store is in use, say also under which address its server can be reached, if it tells."""
    try:
        yield
    except StoreInUse as error:
        url = _url_of(root)
        raise (StoreInUse(f"{error}, which serves {url}") if url else error) from None


def running_at(root: Path) -> Listen | None:
    """Where the server listens that runs on this store; None where there is none, or it does not tell."""
    url = _url_of(root)
    return parse_listen(urlsplit(url).netloc) if url else None


def _url_of(root: Path) -> str | None:
    try:
        url: str = Server(SocketLine(root), _SHORT_PATIENCE_SECONDS).get("server")["url"]
        return url
    except (NoServer, Refused):
        return None
