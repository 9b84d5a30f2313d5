"""An upstream's answer: its head, and its body as it is read, at the pace that is set for this upstream."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientResponse
from aiohttp.hdrs import CONTENT_ENCODING

from mirror.upstream.errors import UpstreamBroken, UpstreamTimedOut
from mirror.upstream.line import Want
from mirror.upstream.pace import Pace
from mirror.upstream.translation import mapped

# A manifest, a list or a token that is not here after this time comes too slowly to wait for.
_BODY_SECONDS = 60.0
# An upstream that sends less than this over a whole period is as good as gone; sock_read alone would never notice.
_PERIOD_SECONDS = 30.0
_MIN_BYTES_PER_PERIOD = 32 * 1024
# What the first chunk of a body is taken to be.
_CHUNK = 2**16


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

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of a blob, as long as it comes at a rate that gets anywhere. Raises UpstreamError."""
        rate, size = _Rate(), _CHUNK
        while chunk := await self._next(rate, size):
            size = len(chunk)
            yield chunk

    async def _next(self, rate: "_Rate", expected: int) -> bytes:
        await self._pace.before_reading(self._want, expected)
        chunk, began = b"", time.monotonic()
        try:
            with mapped(self._elsewhere):
                chunk = await self._response.content.readany()
        finally:
            self._pace.after_reading(len(chunk), expected if self._pace.bytes_per_second else 0)
        if chunk:
            rate.note(len(chunk), time.monotonic() - began)
        return chunk


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
