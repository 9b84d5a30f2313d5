"""The protocol as clients speak it, with everything that is asked and answered written down in the history."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from multidict import CIMultiDictProxy

from tests.crash.content import Blob
from tests.crash.history import History, Key, Operation, Session
from tests.crash.report import Report
from tests.crash.server import Server
from tests.fakes.images import OCI_MANIFEST

_DRIP = 16 * 1024


class ServerGone(Exception):
    """The connection broke: the server was killed."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Client:
    """All clients of one life of the server."""

    def __init__(self, server: Server, history: History, report: Report) -> None:
        self.history, self.report = history, report
        self._server = server
        self._session = ClientSession(
            connector=TCPConnector(limit=0),
            timeout=ClientTimeout(total=30),
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """One request and its whole answer. Raises ServerGone."""
        if isinstance(body := options.get("data"), bytes):
            options["data"] = BytesIO(body)  # aiohttp wants long ones as a file
        try:
            async with self._session.request(method, self._server.url + path, **options) as response:
                return Answer(response.status, response.headers, await response.read())
        except (ClientError, ConnectionError, TimeoutError) as error:
            if not self._server.killed:
                self.report.violate(f"{method} {path}: {error!r} from a server that nobody killed")
            raise ServerGone from error

    # Blobs

    async def push_whole(self, repository: str, blob: Blob) -> None:
        """In a single POST."""
        operation = self._begin_blob(repository, blob)
        path = f"{_uploads(repository)}?digest={blob.digest}"
        self._finished(operation, await self.request("POST", path, data=blob.data), 201, path)

    async def begin(self, repository: str, blob: Blob) -> Session | None:
        """A new session for a blob."""
        answer = await self.request("POST", _uploads(repository))
        return self._begun(answer, repository, blob)

    async def append(self, session: Session, size: int, *, slowly: bool) -> bool:
        """Send the next bytes; whether they are in."""
        chunk = session.blob.data[session.acknowledged : session.acknowledged + size]
        session.sent = session.acknowledged + len(chunk)
        headers = {"Content-Range": f"{session.acknowledged}-{session.sent - 1}"}
        data = _drip(chunk) if slowly else chunk
        answer = await self.request("PATCH", session.path, data=data, headers=headers)
        if not self._is(answer, 202, f"PATCH {session.path}"):
            return False
        session.acknowledged = session.sent
        return True

    async def finish(self, session: Session) -> bool:
        """Send the rest, and end the session."""
        rest = session.blob.data[session.acknowledged :]
        session.sent = len(session.blob.data)
        session.ending = operation = self._begin_blob(session.repository, session.blob)
        path = f"{session.path}?digest={session.blob.digest}"
        done = self._finished(operation, await self.request("PUT", path, data=rest), 201, path)
        self.history.sessions.remove(session)
        self.report.resumed += done and session.survived
        return done

    async def cancel(self, session: Session) -> None:
        session.cancelled, session.ending = True, self.history.begin({})
        self._finished(session.ending, await self.request("DELETE", session.path), 204, session.path)
        self.history.sessions.remove(session)

    async def reported(self, session: Session) -> int | None:
        """How many bytes the server says it has; None where it does not know the session.

        0 may mean 1: the protocol has the same words for both ("0-0").
        """
        answer = await self.request("GET", session.path)
        if answer.status == 404 or not self._is(answer, 204, f"GET {session.path}"):
            return None
        last = int(answer.headers["Range"].removeprefix("0-"))
        return last + 1 if last else 0

    async def go_on(self, session: Session) -> bool:
        """Begin where the server says that an upload ends; False where it says that there is none."""
        reported = await self.reported(session)
        if reported is None:
            self.report.violate(f"{session.path} cannot be gone on with: it is not there")
            return False
        session.acknowledged = reported
        if reported == 0 and session.sent > 0:
            # Nothing, or one byte? The first byte is taken only where nothing is; after that there is one.
            first = session.blob.data[:1]
            answer = await self.request("PATCH", session.path, data=first, headers={"Content-Range": "0-0"})
            self._is(answer, 202 if answer.status == 202 else 416, f"PATCH {session.path}")
            session.acknowledged = 1
        return True

    async def mount(self, repository: str, blob: Blob, source: str | None) -> Session | None:
        """None where it is mounted; else the session that the server gave instead."""
        operation = self._begin_blob(repository, blob)
        origin = f"&from={source}" if source else ""
        answer = await self.request("POST", f"{_uploads(repository)}?mount={blob.digest}{origin}")
        if answer.status == 202:
            self.history.refuse(operation)
            return self._begun(answer, repository, blob)
        self._finished(operation, answer, 201, f"mount of {blob.digest}")
        return None

    async def delete_blob(self, repository: str, blob: Blob) -> None:
        key = Key("blob", repository, blob.digest)
        await self._delete(self.history.begin({key: None}), key)

    # Manifests

    async def push_manifest(self, repository: str, manifest: Blob, tags: Iterable[str]) -> None:
        """By digest, or by its first tag; with the others beside it."""
        first, *others = [*tags] or [manifest.digest]
        self.history.contents[manifest.digest] = manifest.data
        keys = [Key("manifest", repository, manifest.digest)]
        keys += [Key("tag", repository, tag) for tag in (first, *others) if tag != manifest.digest]
        operation = self.history.begin(dict.fromkeys(keys, manifest.digest))
        path = f"/v2/{repository}/manifests/{first}"
        if others:
            path += "?" + "&".join(f"tag={tag}" for tag in others)
        headers = {"Content-Type": OCI_MANIFEST}
        self._finished(operation, await self.request("PUT", path, data=manifest.data, headers=headers), 201, path)

    async def delete_tag(self, repository: str, tag: str) -> None:
        key = Key("tag", repository, tag)
        await self._delete(self.history.begin({key: None}), key)

    async def delete_manifest(self, repository: str, manifest: Blob) -> None:
        key = Key("manifest", repository, manifest.digest)
        await self._delete(self.history.begin_removal(key), key)

    # Pulls

    async def look(self, key: Key, *, whole: bool) -> str | None:
        """The digest of what is there, its bytes (or only their number) checked."""
        answer = await self.request("GET" if whole else "HEAD", key.path)
        self.report.pulls += 1
        if answer.status == 404 or not self._is(answer, 200, f"pull of {key}"):
            return None
        found = answer.headers["Docker-Content-Digest"]
        expected = self.history.contents.get(found)
        if expected is None:
            self.report.violate(f"{key} is {found}, which nobody ever pushed")
        elif whole and answer.body != expected:
            self.report.violate(f"{key}: wrong bytes, {len(answer.body)} instead of {len(expected)}")
        elif int(answer.headers["Content-Length"]) != len(expected):
            self.report.violate(f"{key}: wrong length {answer.headers['Content-Length']}")
        return found

    async def _delete(self, operation: Operation, key: Key) -> None:
        answer = await self.request("DELETE", key.path)
        # Not there is as good as removed, and says as much about what is there now.
        self._finished(operation, answer, 404 if answer.status == 404 else 202, f"DELETE {key.path}")

    def _begin_blob(self, repository: str, blob: Blob) -> Operation:
        self.history.contents[blob.digest] = blob.data
        return self.history.begin({Key("blob", repository, blob.digest): blob.digest})

    def _begun(self, answer: Answer, repository: str, blob: Blob) -> Session | None:
        if not self._is(answer, 202, "begin of an upload"):
            return None
        session = Session(answer.headers["Location"], repository, blob)
        self.history.sessions.append(session)
        return session

    def _finished(self, operation: Operation, answer: Answer, status: int, what: str) -> bool:
        if self._is(answer, status, what):
            self.history.acknowledge(operation)
            return True
        return False

    def _is(self, answer: Answer, status: int, what: str) -> bool:
        if answer.status != status:
            self.report.violate(f"{what}: {answer.status} instead of {status}: {answer.body[:300]!r}")
        return answer.status == status


def _uploads(repository: str) -> str:
    return f"/v2/{repository}/blobs/uploads/"


async def _drip(data: bytes) -> AsyncIterator[bytes]:
    """A client on a slow line."""
    for start in range(0, len(data), _DRIP):
        yield data[start : start + _DRIP]
        await asyncio.sleep(0.002)
