"""Parts of a blob that a client asks for long before its download gets there: by a request of their own.

Lazy-pulling clients begin with the end of a layer, where its table of contents is, and need a part of the rest. They
must not wait for all that lies before. Such a part goes from the upstream to this one client and is stored nowhere: it
cannot be verified, for a digest is over the whole. (Who asks for parts has to verify them in any case: those of the
growing file are not verified either.) The download goes on as if nothing had been asked.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from mirror.pull.download import Download
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError
from ocispec.ranges import ContentRange
from storage.repository import Repository

log = logging.getLogger(__name__)

# What is no further away than this is waited for. A request of its own takes two or three round trips, a redirect among
# them, some 0.2 s; in that time a download of 40 MB/s has come as far, and it costs the upstream nothing more.
_FAR_BYTES = 8 * 2**20
# Such requests at a time, all together. They share the line with the downloads, each has an upstream connection for
# one client, and a client needs only a line of text to cause one. What comes on top waits for the file.
_AT_A_TIME = 64


class Ahead:
    """Asks upstreams for parts. It has no tasks of its own: a request lasts as long as its client reads."""

    def __init__(self, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._upstreams = upstreams
        self._under_way = 0

    async def chunks(
        self, repository: Repository, download: Download, part: ContentRange
    ) -> AsyncGenerator[bytes, None]:
        """The first bytes of `part`, as many as do not come sooner from the file: none, some, or all.

        Never an error of the upstream's: what it does not give, the file has later, or has its own error for.
        """
        if part.first - download.partial.arrived <= _FAR_BYTES or not download.has_parts:
            return
        if self._under_way >= _AT_A_TIME:
            return
        self._under_way += 1
        try:
            async with aclosing(self._ask(repository, download, part)) as coming:
                position = part.first
                while position <= part.last and (chunk := await _sooner(coming, download, position)):
                    chunk = chunk[: part.last + 1 - position]
                    position += len(chunk)
                    yield chunk
        except UpstreamError as error:
            facts = {"repository": str(repository), "digest": str(download.digest), "reason": str(error)}
            log.info("a part is not to be had by itself: it is waited for", extra=facts)
        finally:
            self._under_way -= 1

    async def _ask(self, repository: Repository, download: Download, part: ContentRange) -> AsyncGenerator[bytes, None]:
        """The part as the upstream of this repository sends it. Raises UpstreamError."""
        upstream = self._upstreams[repository.upstream]
        try:
            async with upstream.open_part(repository.name, download.digest, part) as remote:
                async for chunk in remote:
                    yield chunk
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
