"""An upstream's answer: its head, and its body as it is read, at the pace that is set for this upstream."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientResponse
from aiohttp.hdrs import CONTENT_ENCODING

from mirror.pieces import Pieces
from mirror.upstream.errors import UpstreamBroken, UpstreamTimedOut
from mirror.upstream.line import Want
from mirror.upstream.pace import Pace
from mirror.upstream.translation import mapped

# A manifest, a list or a token that is not here after this time comes too slowly to wait for.
_BODY_SECONDS = 60.0
# An upstream that sends less than this over a whole period is as good as gone; sock_read alone would never notice.
_PERIOD_SECONDS = 30.0
_MIN_BYTES_PER_PERIOD = 32 * 1024
# What the first batch of a body is taken to be.
_FIRST = 2**16


class Answer:
    """Good as long as the request lasts that gave it. `elsewhere` is the host that it comes from, where that is not the
    upstream's own."""

    def __init__(self, response: ClientResponse, want: Want, pace: Pace, elsewhere: str = "") -> None:
        self._response, self._want, self._pace, self._elsewhere = response, want, pace, elsewhere
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def has_next(self) -> bool:
        """Whether it says that it has another page."""
        with mapped():
            return "next" in self._response.links

    async def whole(self, limit: int) -> bytes:
        """The body, if it is no longer than `limit` bytes and comes in time. Raises UpstreamError.

        It waits for no bandwidth, but what it takes is missing from what is left for blobs.
        """
        body = bytearray()
        with mapped():
            async with asyncio.timeout(_BODY_SECONDS):
                while chunk := await self._response.content.readany():
                    self._pace.after_reading(len(chunk))
                    body += chunk
                    if len(body) > limit:
                        raise UpstreamBroken(f"the upstream's answer is longer than {limit} bytes")
        return bytes(body)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The body of a blob in batches of pieces, as long as it comes at a rate that gets anywhere. Raises
        UpstreamError."""
        pieces, rate, size = Pieces(self._response.content), _Rate(), _FIRST
        while batch := await self._next(pieces, rate, size):
            size = sum(map(len, batch))
            yield batch

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same, each batch as one."""
        async for batch in self.batches():
            yield b"".join(batch)

    async def _next(self, pieces: Pieces, rate: "_Rate", expected: int) -> list[bytes]:
        await self._pace.before_reading(self._want, expected)
        size, began = 0, time.monotonic()
        try:
            with mapped(self._elsewhere):
                batch = await pieces.next()
            size = sum(map(len, batch))
        finally:
            self._pace.after_reading(size, expected if self._pace.bytes_per_second else 0)
        if batch:
            rate.note(size, time.monotonic() - began)
        return batch


class _Rate:
    """Whether a body gets anywhere. Only the time in which it was waited for counts."""

    def __init__(self) -> None:
        self._seconds, self._received = 0.0, 0

    def note(self, size: int, seconds: float) -> None:
        """Raises UpstreamTimedOut."""
        self._seconds += seconds
        self._received += size
        if self._seconds >= _PERIOD_SECONDS:
            if self._received < _MIN_BYTES_PER_PERIOD:
                raise UpstreamTimedOut("the upstream sends too slowly to ever finish")
            self._seconds, self._received = 0.0, 0


def check_plain(answer: Answer) -> None:
    """Raises UpstreamBroken for what is not the thing itself. Digests are over the bytes as they are; an encoded body
    is not what was asked for."""
    if answer.headers.get(CONTENT_ENCODING, "identity").lower() != "identity":
        raise UpstreamBroken("the upstream encoded the answer although it was asked not to")
    if answer.status not in (200, 206):
        raise UpstreamBroken(f"the upstream gave an answer that makes no sense here ({answer.status})")
