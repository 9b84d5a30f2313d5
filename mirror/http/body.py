"""Read a request's body: piece by piece, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from mirror import buffers
from mirror.http.keys import DRAIN
from ocispec.errors import RequestInvalid

# A client that sends nothing for this long has gone, or might as well have.
_IDLE_SECONDS = 60.0
_MOST_BUFFERED = 2**18


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives; raises RequestInvalid where it stops coming."""
    request.content.set_read_chunk_size(buffers.share(request.app[DRAIN].under_way, _MOST_BUFFERED))
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                data = await request.content.readany()
        except TimeoutError:
            raise RequestInvalid("the body stopped coming") from None
        if not data:
            return
        yield data
