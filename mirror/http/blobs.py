"""end-2, end-10: blobs."""

import os

from aiohttp import HttpVersion11, web

from mirror.http import parse, reply
from mirror.http.keys import NOTES
from mirror.http.stream import Readable, send
from mirror.pull.blob import PulledBlob
from mirror.pull.outcome import Outcome
from ocispec.digest import Digest
from ocispec.media_types import OCTET_STREAM
from ocispec.ranges import ContentRange, parse_range


async def head(request: web.Request) -> web.StreamResponse:
    place, digest = parse.place(request), parse.digest(request)
    size, outcome = await parse.services(request).blob_pulls.size(place, digest)
    request[NOTES].cache = outcome
    return web.Response(headers=_headers(digest, outcome) | {"Content-Length": str(size)})


async def get(request: web.Request) -> web.StreamResponse:
    place, digest = parse.place(request), parse.digest(request)
    pulled = await parse.services(request).blob_pulls.open(place, digest)
    request[NOTES].cache = pulled.outcome
    if pulled.file is not None and reply.matches(request, digest):
        pulled.file.close()
        return web.Response(status=304, headers=_headers(digest, pulled.outcome))
    return await _send(request, digest, pulled)


async def delete(request: web.Request) -> web.StreamResponse:
    await parse.services(request).deletions.blob(parse.place(request), parse.digest(request))
    return web.Response(status=202)


async def _send(request: web.Request, digest: Digest, pulled: PulledBlob) -> web.StreamResponse:
    size: int | None
    if pulled.file is not None:
        file, size = pulled.file, os.fstat(pulled.file.fileno()).st_size
        readable = _whole(size)
    else:
        assert pulled.partial is not None
        size, readable = await pulled.partial.known(), pulled.partial.readable
        if size is None and request.version < HttpVersion11:
            # Its body would end with the connection, and a cut looks like the end: wait for the length.
            size = await pulled.partial.completed()
        file = await parse.services(request).store.content.open_download(pulled.partial)
    with file:
        part = _asked_part(request, digest, size)
        response = _begin(digest, pulled.outcome, size, part)
        start, end = (part.first, part.last + 1) if part else (0, size)
        return await send(request, response, file, start, end, readable)


def _asked_part(request: web.Request, digest: Digest, size: int | None) -> ContentRange | None:
    """The part that a Range asks for, if it asks for one that can be understood, of just this content."""
    asked = parse_range(request.headers.get("Range"))
    if asked is None or size is None or request.headers.get("If-Range", digest.etag) != digest.etag:
        return None
    return asked.resolve(size)


def _begin(digest: Digest, outcome: Outcome, size: int | None, part: ContentRange | None) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if part else 200, headers=_headers(digest, outcome))
    if part is not None:
        response.headers["Content-Range"] = str(part)
        response.content_length = part.length
    else:
        response.content_length = size
    return response


def _headers(digest: Digest, outcome: Outcome) -> dict[str, str]:
    # Never rendered by a browser, whatever is in it.
    inert = {"Content-Type": OCTET_STREAM, "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}
    return inert | reply.content_headers(digest, outcome)


def _whole(size: int) -> Readable:
    async def readable(_offset: int) -> int:
        return size

    return readable
