"""end-4, end-5, end-6, end-11, end-13, end-14: upload sessions."""

from aiohttp import web

from mirror.http import parse, reply
from mirror.http.body import batches
from mirror.push.upload import Chunk
from mirror.routing import Place
from ocispec import endpoints
from ocispec.digest import Digest
from ocispec.errors import BlobUploadUnknown, ChunkOutOfOrder, DigestInvalid, SizeInvalid
from ocispec.ranges import parse_chunk_range
from storage.errors import OffsetMismatch
from storage.uploads import UploadSession


async def start(request: web.Request) -> web.StreamResponse:
    """A new session; or the whole blob at once (`digest`); or a mount (`mount`), which may end as a new session."""
    place, uploads = parse.place(request), parse.services(request).uploads
    parse.refuse_encoding(request)
    if (mount := request.query.get("mount")) is not None:
        digest, source = Digest.parse(mount), parse.source_place(request)
        if (source is not None or "from" not in request.query) and await uploads.mount(place, digest, source):
            return _created(request, place, digest)
    elif (whole := request.query.get("digest")) is not None:
        digest = Digest.parse(whole)
        await uploads.push_whole(place, digest, _chunk(request))
        return _created(request, place, digest)
    return _progress(request, place, await uploads.start(place), 202)


async def status(request: web.Request) -> web.StreamResponse:
    place, session = await _find(request)
    return _progress(request, place, session, 204)


async def append(request: web.Request) -> web.StreamResponse:
    place, session = await _find(request)
    parse.refuse_encoding(request)
    try:
        await parse.services(request).uploads.append(session, _chunk(request))
    except OffsetMismatch as error:
        raise _out_of_order(request, place, session) from error
    return _progress(request, place, session, 202)


async def finish(request: web.Request) -> web.StreamResponse:
    place, digest = parse.place(request), _digest(request)
    parse.refuse_encoding(request)
    uploads = parse.services(request).uploads
    try:
        session = await uploads.find(place, request.match_info["session"])
    except BlobUploadUnknown:
        # The answer to an earlier try may have been lost on its way; asked again, it is the same.
        if not await uploads.has(place, digest):
            raise
        return _created(request, place, digest)
    try:
        await uploads.finish(session, place, digest, _chunk(request))
    except OffsetMismatch as error:
        raise _out_of_order(request, place, session) from error
    return _created(request, place, digest)


async def cancel(request: web.Request) -> web.StreamResponse:
    _, session = await _find(request)
    await parse.services(request).uploads.cancel(session)
    return web.Response(status=204)


async def _find(request: web.Request) -> tuple[Place, UploadSession]:
    place = parse.place(request)
    return place, await parse.services(request).uploads.find(place, request.match_info["session"])


def _digest(request: web.Request) -> Digest:
    text = request.query.get("digest")
    if text is None:
        raise DigestInvalid("the digest of the blob is missing: ?digest=<digest>")
    return Digest.parse(text)


def _chunk(request: web.Request) -> Chunk:
    """The body with what its headers claim; raises RequestInvalid, SizeInvalid where they contradict each other."""
    header = request.headers.get("Content-Range")
    if header is None:
        return Chunk(batches(request), None, request.content_length)
    first, last = parse_chunk_range(header)
    length = last - first + 1
    if request.content_length not in (None, length):
        raise SizeInvalid("Content-Range and Content-Length differ")
    return Chunk(batches(request), first, length)


def _progress(request: web.Request, place: Place, session: UploadSession, status: int) -> web.Response:
    headers = {"Range": _range(session), "Docker-Upload-UUID": session.id}
    return reply.located(request, status, endpoints.upload(place.name, session.id), headers)


def _out_of_order(request: web.Request, place: Place, session: UploadSession) -> ChunkOutOfOrder:
    location = parse.services(request).external_url + endpoints.upload(place.name, session.id)
    return ChunkOutOfOrder(headers={"Location": location, "Range": _range(session)})


def _range(session: UploadSession) -> str:
    # The form has no way to say "nothing"; every registry says 0-0 then.
    return f"0-{max(0, session.offset - 1)}"


def _created(request: web.Request, place: Place, digest: Digest) -> web.Response:
    return reply.located(request, 201, endpoints.blob(place.name, digest), {reply.DIGEST: str(digest)})
