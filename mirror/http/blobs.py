"""end-2, end-10: blobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from aiohttp import HttpVersion11, web

from mirror.http import parse, reply
from mirror.http.keys import NOTES
from mirror.http.parts import Parts
from mirror.http.stream import CLIENT_LEFT, Readable, cut, send, send_ahead, while_here
from mirror.pull.pulled import ArrivingBlob, Origin, PulledBlob, StoredBlob
from ocispec.digest import Digest
from ocispec.media_types import OCTET_STREAM
from ocispec.ranges import ContentRange, parse_ranges, resolve_ranges


async def head(request: web.Request) -> web.StreamResponse:
    place, digest = parse.place(request), parse.digest(request)
    size, origin = await parse.services(request).blob_pulls.size(place, digest)
    request[NOTES].cache = origin.outcome
    return web.Response(headers=_headers(digest, origin) | {"Content-Length": str(size)})


async def get(request: web.Request) -> web.StreamResponse:
    place, digest = parse.place(request), parse.digest(request)
    pulled = await parse.services(request).blob_pulls.open(place, digest)
    request[NOTES].cache = pulled.origin.outcome
    if isinstance(pulled, StoredBlob):
        return await _get_stored(request, digest, pulled)
    with _following(request, pulled):
        return await _get_arriving(request, digest, pulled)


async def _get_stored(request: web.Request, digest: Digest, pulled: StoredBlob) -> web.StreamResponse:
    with pulled.file as file:
        if reply.matches(request, digest):
            return web.Response(status=304, headers=_headers(digest, pulled.origin))
        return await _send(request, digest, pulled, file, pulled.size, pulled.readable)


async def _get_arriving(request: web.Request, digest: Digest, pulled: ArrivingBlob) -> web.StreamResponse:
    # Without HTTP/1.1 a body of unknown length would end with the connection, and a cut looks like the end.
    certain = request.version < HttpVersion11
    size = await while_here(request, lambda: pulled.size(certain=certain))

    async def readable(start: int) -> int:
        return await while_here(request, lambda: pulled.readable(start))

    with await pulled.open() as file:
        return await _send(request, digest, pulled, file, size, readable)


async def delete(request: web.Request) -> web.StreamResponse:
    await parse.services(request).deletions.blob(parse.place(request), parse.digest(request))
    return web.Response(status=202)


async def _send(
    request: web.Request, digest: Digest, pulled: PulledBlob, file: FileIO, size: int | None, readable: Readable
) -> web.StreamResponse:
    headers = _headers(digest, pulled.origin)
    match _asked_parts(request, digest, size):
        case ():
            response = _begin(200, headers, size)
            return await send(request, response, file, 0, size, readable)
        case (part,):
            response = _begin(206, headers | {"Content-Range": str(part)}, part.length)
            if (ahead := pulled.ahead(part)) is not None:
                return await send_ahead(request, response, file, part, readable, ahead)
            return await send(request, response, file, part.first, part.last + 1, readable)
        case several:
            parts = Parts(several)
            response = _begin(206, headers | {"Content-Type": parts.content_type}, parts.length)
            return await parts.send(request, response, file, readable)


@contextmanager
def _following(request: web.Request, pulled: ArrivingBlob) -> Iterator[None]:
    """As long as this client waits for the blob; a download cares whether it has left before it had its answer."""
    pulled.follow()
    try:
        yield
    except ConnectionError as error:
        cut(request, error)
        raise
    finally:
        pulled.leave(gone=request[NOTES].cut == CLIENT_LEFT)


def _asked_parts(request: web.Request, digest: Digest, size: int | None) -> tuple[ContentRange, ...]:
    """The parts that a Range asks for, if it asks for some that can be understood, of just this content."""
    asked = parse_ranges(request.headers.get("Range"))
    if not asked or size is None or request.headers.get("If-Range", digest.etag) != digest.etag:
        return ()
    return resolve_ranges(asked, size)


def _begin(status: int, headers: dict[str, str], length: int | None) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    return response


def _headers(digest: Digest, origin: Origin) -> dict[str, str]:
    # Never rendered by a browser, whatever is in it.
    inert = {"Content-Type": OCTET_STREAM, "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}
    age = {} if origin.age is None else {"Age": f"{origin.age:.0f}"}
    return inert | reply.content_headers(digest, origin.outcome, origin.upstream) | age
