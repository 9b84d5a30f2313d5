"""end-8, end-12 and the catalog: lists."""

import json
from collections.abc import Sequence

from aiohttp import web

from mirror.http import parse, reply
from ocispec import endpoints
from ocispec.digest import Digest
from ocispec.media_types import OCI_INDEX
from ocispec.pagination import Page, next_link


async def tags(request: web.Request) -> web.StreamResponse:
    place, page = parse.place(request), parse.page(request)
    names, more = await parse.services(request).lists.tags(place, page)
    return _page({"name": place.name, "tags": names}, endpoints.tags(place.name), page, names, more=more)


async def catalog(request: web.Request) -> web.StreamResponse:
    page = parse.page(request)
    names, more = await parse.services(request).lists.repositories(page)
    return _page({"repositories": names}, endpoints.catalog(), page, names, more=more)


async def referrers(request: web.Request) -> web.StreamResponse:
    place, subject = parse.place(request), parse.digest(request)
    artifact_type, last = request.query.get("artifactType"), request.query.get("last")
    after = None if last is None else Digest.parse(last)
    found = await parse.services(request).lists.referrers(place, subject, artifact_type, after)
    headers = {"OCI-Filters-Applied": "artifactType"} if found.filtered else {}
    if found.last is not None:
        headers["Link"] = f'<{endpoints.referrers(place.name, subject, artifact_type, found.last)}>; rel="next"'
    return reply.json(found.body, content_type=OCI_INDEX, headers=headers)


def _page(value: object, path: str, page: Page, entries: Sequence[str], *, more: bool) -> web.Response:
    link = next_link(path, page, entries, more=more)
    return reply.json(json.dumps(value).encode(), headers={"Link": link} if link else {})
