"""end-2, end-10: blobs."""

from io import FileIO

from aiohttp import HttpVersion11, web

from mirror.http import parse, reply
from mirror.http.keys import NOTES
from mirror.http.parts import Parts
from mirror.http.stream import send, send_ahead
from mirror.pull.pulled import Origin, PulledBlob
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
    if pulled.is_here and reply.matches(request, digest):
        (await pulled.open()).close()
        return web.Response(status=304, headers=_headers(digest, pulled.origin))
    # Without HTTP/1.1 a body of unknown length would end with the connection, and a cut looks like the end.
    size = await pulled.size(certain=request.version < HttpVersion11)
    with await pulled.open() as file:
        return await _send(request, digest, pulled, file, size)


async def delete(request: web.Request) -> web.StreamResponse:
    await parse.services(request).deletions.blob(parse.place(request), parse.digest(request))
    return web.Response(status=202)


async def _send(
    request: web.Request, digest: Digest, pulled: PulledBlob, file: FileIO, size: int | None
) -> web.StreamResponse:
    headers = _headers(digest, pulled.origin)
    match _asked_parts(request, digest, size):
        case ():
            response = _begin(200, headers, size)
            return await send(request, response, file, 0, size, pulled.readable)
        case (part,):
            response = _begin(206, headers | {"Content-Range": str(part)}, part.length)
            if (ahead := pulled.ahead(part)) is not None:
                return await send_ahead(request, response, file, part, pulled.readable, ahead)
            return await send(request, response, file, part.first, part.last + 1, pulled.readable)
        case several:
            parts = Parts(several)
            response = _begin(206, headers | {"Content-Type": parts.content_type}, parts.length)
            return await parts.send(request, response, file, pulled.readable)


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
