"""Parts of a blob that a client asks for long before its download gets there: by a request of their own.

Lazy-pulling clients begin with the end of a layer, where its table of contents is, and need a part of the rest. They
must not wait for all that lies before. Such a part is handed on as it comes and stored nowhere: it cannot be verified,
for a digest is over the whole. (Who asks for parts has to verify them in any case: those of the growing file are not
verified either.) The download goes on as if nothing had been asked.

Those who pull the same image at the same time ask for the same parts. What is short is asked for once for all of them,
and is in memory for as long as one of them reads it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from mirror.pull.download import Download
from mirror.pull.part import Part
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError
from ocispec.ranges import ContentRange
from storage.repository import Repository

log = logging.getLogger(__name__)

# What is no further away than this is waited for. A request of its own takes two or three round trips, a redirect among
# them, some 0.2 s; in that time a download of 40 MB/s has come as far, and it costs the upstream nothing more.
_FAR_BYTES = 8 * 2**20
# Such requests at a time, all together. They share the line with the downloads, and a client needs only a line of text
# to cause one. What comes on top waits for the file.
_AT_A_TIME = 64
# A table of contents, or the span of a file in a layer, is no longer than this.
_SHORT_BYTES = 4 * 2**20
# What all short parts may take up in memory. What comes on top is asked for by each client as a long one is.
_MEMORY_BYTES = 32 * 2**20


# What is asked for; the upstream is asked in the name of the repository.
_Key = tuple[Repository, Download, ContentRange]


class _Flight:
    """A short part, for all who ask for it while one of them reads it."""

    def __init__(self, part: Part) -> None:
        self.part, self.readers = part, 0


class Ahead:
    """Asks upstreams for parts. A request lasts no longer than somebody reads what it brings."""

    def __init__(self, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._upstreams = upstreams
        self._under_way, self._kept = 0, 0
        self._flights: dict[_Key, _Flight] = {}

    async def chunks(
        self, repository: Repository, download: Download, part: ContentRange
    ) -> AsyncGenerator[bytes, None]:
        """The first bytes of `part`, as many as do not come sooner from the file: none, some, or all.

        Never an error of the upstream's: what it does not give, the file has later, or has its own error for.
        """
        key = (repository, download, part)
        if part.first - download.partial.arrived <= _FAR_BYTES or not download.has_parts:
            return
        if self._flight(key) is None and self._under_way >= _AT_A_TIME:
            return
        try:
            async with self._coming(key) as coming:
                position = part.first
                while position <= part.last and (chunk := await _sooner(coming, download, position)):
                    chunk = chunk[: part.last + 1 - position]
                    position += len(chunk)
                    yield chunk
        except UpstreamError as error:
            facts = {"repository": str(repository), "digest": str(download.digest), "reason": str(error)}
            log.info("a part is not to be had by itself: it is waited for", extra=facts)

    def _coming(self, key: _Key) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The part as it comes. Raises UpstreamError, also while it is read."""
        flight, length = self._flight(key), key[2].length
        if flight is not None:
            return self._shared(key, flight)
        if length > _SHORT_BYTES or self._kept + length > _MEMORY_BYTES:
            return self._own(key)
        return self._shared(key, _Flight(Part(length, self._ask(key))))

    def _flight(self, key: _Key) -> _Flight | None:
        flight = self._flights.get(key)
        return None if flight is None or flight.part.has_failed else flight

    @asynccontextmanager
    async def _own(self, key: _Key) -> AsyncIterator[AsyncIterator[bytes]]:
        self._under_way += 1
        try:
            async with self._ask(key) as remote:
                yield remote
        finally:
            self._under_way -= 1

    @asynccontextmanager
    async def _shared(self, key: _Key, flight: _Flight) -> AsyncIterator[AsyncIterator[bytes]]:
        if not flight.readers:
            self._flights[key] = flight
            self._under_way, self._kept = self._under_way + 1, self._kept + key[2].length
        flight.readers += 1
        try:
            async with aclosing(flight.part.read()) as chunks:
                yield chunks
        finally:
            flight.readers -= 1
            if not flight.readers:
                await self._forget(key, flight)

    async def _forget(self, key: _Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:  # and not one that was begun after it had failed
            del self._flights[key]
        try:
            await flight.part.close()
        finally:
            self._under_way, self._kept = self._under_way - 1, self._kept - key[2].length

    @asynccontextmanager
    async def _ask(self, key: _Key) -> AsyncIterator[AsyncIterator[bytes]]:
        """The part from the upstream of this repository."""
        repository, download, part = key
        try:
            async with self._upstreams[repository.upstream].open_part(repository.name, download.digest, part) as remote:
                yield remote
        except UpstreamBroken:
            # It does not know parts, or not these. It would send the whole each time: not once more for this blob.
            download.has_parts = False
            raise


async def _sooner(coming: AsyncIterator[bytes], download: Download, position: int) -> bytes:
    """The next chunk; nothing where there is none, or where the file reaches `position` before it is here."""
    chunk = asyncio.ensure_future(_next(coming))
    reached = asyncio.ensure_future(download.partial.readable(position))
    try:
        await asyncio.wait((chunk, reached), return_when=asyncio.FIRST_COMPLETED)
        if reached.done() and reached.exception() is None:
            return b""
        return await chunk  # also where the download has failed: all the more
    finally:
        chunk.cancel()
        reached.cancel()
        await asyncio.gather(chunk, reached, return_exceptions=True)


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks, b"")
