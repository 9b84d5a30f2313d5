"""Send a blob: from the kernel's page cache to the socket, whole or while it is still arriving.

The bytes never pass through Python: `loop.sendfile` on the plain-TCP transport is most of this server's speed. An
answer that cannot be finished is cut, so that no client takes a part for the whole.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from io import FileIO
from typing import Any, TypeVar

from aiohttp import web

from mirror.http.keys import NOTES
from mirror.upstream.errors import UpstreamError
from ocispec.errors import RegistryError
from ocispec.ranges import ContentRange
from storage.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)

# What may go wrong on the way without being a bug; anything else is logged with its traceback.
_EXPECTED = (ConnectionError, EOFError, UpstreamError, StorageError, RegistryError)

# Where sendfile cannot be used (an answer of unknown length, TLS), blocks of this size are read instead.
_BLOCK = 256 * 1024

# What a cut is noted as that was the client's doing.
CLIENT_LEFT = "client left"
# How often it is looked whether a client that gets nothing at the moment is still there.
_LOOK_SECONDS = 1.0

# How far a file may be read, from an offset on: waits for more, and returns the offset itself at the end.
Readable = Callable[[int], Awaitable[int]]

# Bytes that come sooner than by the file, from the first one asked for on; as many as do.
Ahead = AsyncGenerator[bytes, None]


async def send(
    request: web.Request, response: web.StreamResponse, file: FileIO, start: int, end: int | None, readable: Readable
) -> web.StreamResponse:
    """Send bytes `start` to `end` (None: all there will be) of `file` as the body of `response`.

    Raises what `readable` raises as long as nothing is sent; after that the connection is cut.
    """
    await readable(start)
    async with begun(request, response):
        await send_range(request, response, file, start, end, readable)
    return response


async def send_ahead(
    request: web.Request,
    response: web.StreamResponse,
    file: FileIO,
    part: ContentRange,
    readable: Readable,
    ahead: Ahead,
) -> web.StreamResponse:
    """`send` a part whose first bytes, as far as they come so, come from `ahead`, and the rest from `file`."""
    async with aclosing(ahead):
        chunk = await anext(ahead, b"")
        if not chunk:
            return await send(request, response, file, part.first, part.last + 1, readable)
        async with begun(request, response):
            start = part.first
            while chunk:
                await send_bytes(request, response, chunk)
                start += len(chunk)
                chunk = await anext(ahead, b"")
            await send_range(request, response, file, start, part.last + 1, readable)
    return response


async def while_here(request: web.Request, wait: Callable[[], Awaitable[T]]) -> T:
    """What comes of waiting, unless the client leaves first: ConnectionResetError. Nobody tells those who only wait."""
    while not _has_left(request):
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                return await wait()
    raise ConnectionResetError(CLIENT_LEFT)


async def unless_left(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The same for work that must not begin anew each time it is looked: it is cancelled when the client has left."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_SECONDS))[0]:
            if _has_left(request):
                request[NOTES].cut = CLIENT_LEFT
                raise ConnectionResetError(CLIENT_LEFT)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def begun(request: web.Request, response: web.StreamResponse) -> AsyncIterator[None]:
    """Send the head; what goes wrong with the body after that, within this context, cuts the connection."""
    request[NOTES].count(0)
    await response.prepare(request)
    try:
        yield
        await response.write_eof()
    except Exception as error:
        cut(request, error)


async def send_range(
    request: web.Request, response: web.StreamResponse, file: FileIO, start: int, end: int | None, readable: Readable
) -> None:
    """Bytes `start` to `end` of `file`, as they come, into a body that has begun."""
    while (end is None or start < end) and (limit := await readable(start)) > start:
        stop = limit if end is None else min(limit, end)
        await _send_part(request, response, file, start, stop)
        request[NOTES].count(stop - start)
        start = stop
    if end is not None and start < end:
        raise EOFError("the file is shorter than announced")


async def send_bytes(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """What is not in the file, into a body that has begun."""
    await response.write(data)
    request[NOTES].count(len(data))


def cut(request: web.Request, error: Exception) -> None:
    """End the connection at once: the only honest way to say that an answer begun cannot be finished."""
    if not isinstance(error, _EXPECTED):
        log.error("unexpected error in the middle of an answer", exc_info=error, extra={"path": request.path})
    request[NOTES].cut = CLIENT_LEFT if isinstance(error, ConnectionError) else str(error) or type(error).__name__
    if request.transport is not None:
        request.transport.abort()


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _send_part(request: web.Request, response: web.StreamResponse, file: FileIO, start: int, stop: int) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError(CLIENT_LEFT)
    # Without a length aiohttp frames the body by itself, and does not say so in `response.chunked`.
    if response.content_length is None or transport.get_extra_info("sslcontext") is not None:
        await _send_blocks(response, file, start, stop)
        return
    try:
        sent = await asyncio.get_running_loop().sendfile(transport, file, start, stop - start, fallback=True)
    except Exception:
        request[NOTES].count(max(0, file.tell() - start))  # sendfile leaves the file where it came to
        raise
    if sent != stop - start:
        raise EOFError("the file is shorter than announced")


async def _send_blocks(response: web.StreamResponse, file: FileIO, start: int, stop: int) -> None:
    loop = asyncio.get_running_loop()
    while start < stop:
        block = await loop.run_in_executor(None, _read, file, start, min(_BLOCK, stop - start))
        if not block:
            raise EOFError("the file is shorter than announced")
        await response.write(block)
        start += len(block)


def _read(file: FileIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
