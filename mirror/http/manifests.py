"""end-3, end-7, end-9: manifests."""

from aiohttp import hdrs, web

from mirror.http import parse, reply
from mirror.http.body import batches
from mirror.http.keys import NOTES
from mirror.http.stream import unless_left
from ocispec import endpoints
from ocispec.errors import ManifestTooLarge, RequestInvalid
from ocispec.manifest import MAX_BYTES
from ocispec.names import Tag

# All of them move in one transaction, which others wait for; and each comes back as a header.
_MAX_TAGS = 32


async def get(request: web.Request) -> web.StreamResponse:
    """GET and HEAD. The stored bytes as they are, whatever Accept says: another form would have another digest."""
    services = parse.services(request)
    pulled = await unless_left(request, services.manifest_pulls.get(parse.place(request), parse.reference(request)))
    if request.method == hdrs.METH_GET:
        services.prefetch.after(pulled.repository, pulled.manifest)
        services.usage.pulled(pulled.repository, pulled.manifest.digest)
    request[NOTES].cache = pulled.outcome
    manifest = pulled.manifest
    upstream = pulled.repository.upstream
    headers = reply.manifest_headers(manifest.digest, manifest.media_type, pulled.outcome, upstream)
    if pulled.age is not None:
        headers["Age"] = f"{pulled.age:.0f}"
    if reply.matches(request, manifest.digest):
        return web.Response(status=304, headers=headers)
    return web.Response(body=manifest.body, headers=headers)


async def put(request: web.Request) -> web.StreamResponse:
    place, reference = parse.place(request), parse.reference(request)
    tags = [Tag.parse(text) for text in request.query.getall("tag", [])]
    if len(tags) > _MAX_TAGS:
        raise RequestInvalid(f"no more than {_MAX_TAGS} tags can be pushed at once")
    parse.refuse_encoding(request)
    body = await _read(request)
    content_type = request.headers.get("Content-Type", "")
    pushes = parse.services(request).manifest_pushes
    digest, manifest = await pushes.push(place, reference, body, content_type, tags)
    headers = {reply.DIGEST: str(digest)}
    if manifest.subject is not None:
        headers["OCI-Subject"] = str(manifest.subject.digest)
    response = reply.located(request, 201, endpoints.manifest(place.name, digest), headers)
    for tag in tags:
        response.headers.add("OCI-Tag", tag)
    return response


async def delete(request: web.Request) -> web.StreamResponse:
    await parse.services(request).deletions.manifest(parse.place(request), parse.reference(request))
    return web.Response(status=202)


async def _read(request: web.Request) -> bytes:
    """The body, no longer than a manifest may be; raises ManifestTooLarge."""
    body = bytearray()
    async for batch in batches(request):
        body += b"".join(batch)
        if len(body) > MAX_BYTES:
            raise ManifestTooLarge()
    return bytes(body)
