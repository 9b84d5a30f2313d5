"""end-8, end-12 and the catalog: lists."""

import json
from urllib.parse import quote

from aiohttp import web

from mirror.discovery.lists import Listed
from mirror.http import parse, reply
from mirror.http.keys import NOTES
from mirror.pull.outcome import Outcome
from ocispec import endpoints
from ocispec.digest import Digest
from ocispec.media_types import OCI_INDEX
from ocispec.pagination import Page, next_link


async def tags(request: web.Request) -> web.StreamResponse:
    place, page = parse.place(request), parse.page(request)
    found = await parse.services(request).lists.tags(place, page)
    return _page(request, {"name": place.name, "tags": found.names}, endpoints.tags(place.name), page, found)


async def catalog(request: web.Request) -> web.StreamResponse:
    page = parse.page(request)
    found = await parse.services(request).lists.repositories(page)
    return _page(request, {"repositories": found.names}, endpoints.catalog(), page, found)


async def referrers(request: web.Request) -> web.StreamResponse:
    place, subject = parse.place(request), parse.digest(request)
    artifact_type, last = request.query.get("artifactType"), request.query.get("last")
    after = None if last is None else Digest.parse(last)
    found = await parse.services(request).lists.referrers(place, subject, artifact_type, after)
    headers = _headers(request, is_stale=found.is_stale)
    if found.filtered:
        headers["OCI-Filters-Applied"] = "artifactType"
    if found.last is not None:
        following = endpoints.referrers(place.name, subject, artifact_type, found.last)
        headers["Link"] = _within(request, f'<{following}>; rel="next"')
    return reply.json(found.body, content_type=OCI_INDEX, headers=headers)


def _page(request: web.Request, value: object, path: str, page: Page, found: Listed) -> web.Response:
    headers = _headers(request, is_stale=found.is_stale)
    if link := next_link(path, page, found.names, more=found.more):
        headers["Link"] = _within(request, link)
    return reply.json(json.dumps(value).encode(), headers=headers)


def _headers(request: web.Request, *, is_stale: bool) -> dict[str, str]:
    """A list that is not the upstream's word of now says so; other lists say nothing of it."""
    if not is_stale:
        return {}
    request[NOTES].cache = Outcome.STALE
    return {reply.CACHE: Outcome.STALE.value}


def _within(request: web.Request, link: str) -> str:
    """The next page is the same registry's: a client follows the link as it stands."""
    ns = request.query.get("ns")
    return link if ns is None else link.replace(">", f"&ns={quote(ns, safe='')}>", 1)
