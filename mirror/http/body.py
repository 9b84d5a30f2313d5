"""Read a request's body: bit by bit, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from mirror import buffers
from mirror.http.keys import DRAIN
from mirror.pieces import Pieces
from ocispec.errors import RequestInvalid

# A client that sends nothing for this long has gone, or might as well have.
_IDLE_SECONDS = 60.0
_MOST_BUFFERED = 2**18


async def batches(request: web.Request) -> AsyncIterator[list[bytes]]:
    """The body as it arrives, in batches of pieces; raises RequestInvalid where it stops coming."""
    pieces = Pieces(request.content)
    request.content.set_read_chunk_size(buffers.share(request.app[DRAIN].under_way, _MOST_BUFFERED))
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                batch = await pieces.next()
        except TimeoutError:
            raise RequestInvalid("the body stopped coming") from None
        if not batch:
            return
        yield batch
