"""An upstream's client that follows a script: for answers that no server can be made to give at just the moment."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mirror.config import Upstream
from mirror.upstream.client import RemoteBlob, UpstreamClient
from ocispec.ranges import ContentRange


@dataclass
class Says:
    """An answer about a blob: `body` from `start` on, and then `then` is raised. `end` and `total` as in RemoteBlob."""

    body: bytes = b""
    start: int = 0
    end: int | None = None
    total: int | None = None
    etag: str | None = None
    endpoint: int = 0
    then: Exception | None = None


@dataclass(frozen=True)
class Request:
    """`last`, `etag` and `endpoint` are as in `UpstreamClient.open_blob`, or `open_part` (`is_part`)."""

    start: int
    last: int | None
    etag: str | None
    endpoint: int
    is_part: bool = False


@dataclass
class Script(UpstreamClient):
    """`blobs` are said one after the other, `parts` by where they begin."""

    blobs: Sequence[Says] = ()
    parts: dict[int, Says] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = Upstream.model_validate({"host": "docker.io", **self.settings})
        self.requests: list[Request] = []
        self._left = iter(self.blobs)
        self._one_until = 0.0

    @asynccontextmanager
    async def open_blob(
        self, name: Any, digest: Any, start: int = 0, last: Any = None, *rest: Any
    ) -> AsyncIterator[Any]:
        etag, endpoint, _ = rest
        self.requests.append(Request(start, last, etag, endpoint))
        says = next(self._left)
        yield RemoteBlob(says.start, says.end, says.total, says.etag, _batches(says), says.endpoint)

    @asynccontextmanager
    async def open_part(self, name: Any, digest: Any, part: ContentRange, *rest: Any) -> AsyncIterator[Any]:
        etag, endpoint, _ = rest
        self.requests.append(Request(part.first, part.last, etag, endpoint, is_part=True))
        yield _chunks(self.parts[part.first])


async def _chunks(says: Says) -> AsyncIterator[bytes]:
    if says.body:
        yield says.body
    if says.then is not None:
        raise says.then


async def _batches(says: Says) -> AsyncIterator[list[bytes]]:
    async for chunk in _chunks(says):
        yield [chunk]
