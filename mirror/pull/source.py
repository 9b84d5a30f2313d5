"""One blob of one upstream, read into its file: by one connection, or by several where it is long."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager

from mirror.pull.part import Part
from mirror.pull.window import PART_BYTES, Room, Window
from mirror.upstream.client import RemoteBlob, UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamRateLimited, UpstreamUnavailable
from mirror.upstream.line import Want
from ocispec.errors import BlobUnknown
from ocispec.ranges import ContentRange
from storage.ingest import Ingest
from storage.partial import Partial
from storage.repository import Repository

log = logging.getLogger(__name__)

# With no more than this to come, one connection is as good.
_LONG_BYTES = 2 * PART_BYTES
# Of a blob whose length neither its upstream nor a manifest says: as long as a layer may be at GHCR.
_MAX_UNKNOWN = 10 * 10**9


class Source:
    """Remembers between attempts which entity it began with, where that broke off, and what was fetched ahead.

    `want` says who waits for it. `close` it in the end.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        repository: Repository,
        partial: Partial,
        ingest: Ingest,
        expected: int | None,
        room: Room,
        want: Want,
    ) -> None:
        self._upstream, self._repository, self._want = upstream, repository, want
        self._partial, self._ingest, self._expected = partial, ingest, expected
        self._etag: str | None = None
        self._endpoint = 0  # which one answered last; the next one, if that broke off
        self._room, self._taken = room, 0
        self._window = self._open_window()

    async def close(self) -> None:
        """Fetch nothing ahead any more."""
        if self._window is not None:
            window, self._window = self._window, None
            await window.close()
            self._room.give_back(self._taken)

    async def read(self) -> None:
        """Append what is missing. Raises UpstreamError with the file as far as it came, BlobUnknown for a 404."""
        whole = False
        while not whole:
            try:
                whole = await self._read_on()
            except UpstreamBroken as error:
                if self._window is None:
                    raise
                await self._go_on_with_one(error)

    async def _read_on(self) -> bool:
        """Append the next part, or what one request brings. Whether that was the end."""
        if self._window is not None and self._window.refusal is not None:
            await self._go_on_with_one(self._window.refusal)
        if self._window is not None and (part := self._window.take(self._ingest.size)) is not None:
            return await self._take(self._window, part)
        return await self._ask()

    def _open_window(self) -> Window | None:
        """Several connections, where they are worth it and there is room for what they bring."""
        if self._expected is None or self._expected - self._ingest.size <= _LONG_BYTES:
            return None
        self._taken = self._room.take(self._upstream.connections_per_blob)
        if self._taken > 1:
            return Window(self._taken, self._expected, self._fetch, self._want)
        self._room.give_back(self._taken)
        return None

    def _fetch(self, part: ContentRange, want: Want) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        name, digest = self._repository.name, self._partial.digest
        return self._upstream.open_part(name, digest, part, self._etag, self._endpoint, want)

    async def _ask(self) -> bool:
        name, digest, start = self._repository.name, self._partial.digest, self._ingest.size
        last = None if self._window is None else self._window.end_of_part(start) - 1
        asked = self._upstream.open_blob(name, digest, start, last, self._etag, self._endpoint, self._want)
        async with asked as remote:
            if remote is None:
                raise BlobUnknown(detail={"digest": str(digest)})
            total = await self._announce(remote)
            end = total if remote.end is None else remote.end
            is_same = self._etag in (None, remote.etag)
            self._etag, self._endpoint = remote.etag, remote.endpoint
            if self._window is not None and end is not None and end != total and is_same:
                self._window.fill(end)
            else:
                await self.close()  # nothing is left for others to bring, or not of this entity
            with self._moving_on():
                await self._receive(remote, end)
        return end == total

    async def _take(self, window: Window, part: Part) -> bool:
        window.fill(window.end_of_part(self._ingest.size))
        try:
            with self._moving_on():
                async with aclosing(part.read()) as chunks:
                    async for chunk in chunks:
                        await self._append(chunk)
        except UpstreamRateLimited as error:
            await self._go_on_with_one(error)
        finally:
            await part.close()
        return self._ingest.size == self._expected

    @contextmanager
    def _moving_on(self) -> Iterator[None]:
        """Where an endpoint breaks off, the next one is asked first."""
        try:
            yield
        except UpstreamError:
            self._endpoint += 1
            raise

    async def _go_on_with_one(self, error: UpstreamError) -> None:
        facts = {"repository": str(self._repository), "digest": str(self._partial.digest), "reason": str(error)}
        log.info("going on with one connection", extra=facts)
        if isinstance(error, UpstreamRateLimited):
            self._upstream.keep_to_one_connection()
        await self.close()

    async def _announce(self, remote: RemoteBlob) -> int | None:
        """The whole length, which its followers may know now. Raises UpstreamBroken where it cannot be right, StoreFull
        where there is no room for it."""
        total = remote.total if remote.total is not None else self._expected
        if self._expected is not None and total != self._expected:
            raise UpstreamBroken(f"the upstream has a blob of {total} bytes where its manifest says {self._expected}")
        if total is not None and self._ingest.size > total:
            # Clients may have read those bytes already: they cannot be taken back, only given up.
            raise UpstreamBroken(f"the upstream now says {total} bytes, and has sent {self._ingest.size}")
        if self._partial.is_announced and total != self._partial.total:
            # Clients were told the first length; with another one they would end in the wrong place.
            raise UpstreamBroken(f"the upstream now says {total} bytes, and said {self._partial.total} before")
        if total is not None and self._expected is None:  # else it has been looked
            await self._ingest.expect(total)
        self._partial.announce(total)
        return total

    async def _receive(self, remote: RemoteBlob, end: int | None) -> None:
        surplus = self._ingest.size - remote.start  # sent again by an upstream that cannot go on in the middle
        async for batch in remote.batches:
            fresh, surplus = _beyond(batch, surplus) if surplus else (batch, 0)
            size = self._ingest.size + sum(map(len, fresh))
            if end is not None and size > end:
                raise UpstreamBroken("the upstream sends more than it announced")
            if end is None and size > _MAX_UNKNOWN:
                raise UpstreamBroken(f"the upstream sends more than {_MAX_UNKNOWN} bytes, and does not say how many")
            await self._append(*fresh)
        if end is not None and self._ingest.size != end:
            raise UpstreamUnavailable("the upstream sent less than it announced")

    async def _append(self, *pieces: bytes) -> None:
        await self._ingest.append(*pieces)
        self._partial.advance()


def _beyond(batch: Sequence[bytes], surplus: int) -> tuple[Sequence[bytes], int]:
    """The batch without its first `surplus` bytes, and how many of those it does not have."""
    fresh = []
    for piece in batch:
        fresh.append(piece[surplus:])
        surplus = max(0, surplus - len(piece))
    return fresh, surplus
