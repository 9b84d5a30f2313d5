"""Answers that more than one handler gives."""

from collections.abc import Mapping

from aiohttp import web

from mirror.http.parse import services
from mirror.pull.outcome import Outcome
from ocispec.digest import Digest

DIGEST = "Docker-Content-Digest"
CACHE = "X-Cache"
UPSTREAM = "X-Upstream"


def json(
    body: bytes, *, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": content_type, **(headers or {})})


def located(request: web.Request, status: int, path: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An empty answer that says where the thing is: absolute only where the operator said from which address."""
    return web.Response(status=status, headers={"Location": services(request).external_url + path, **(headers or {})})


def content_headers(digest: Digest, outcome: Outcome, upstream: str) -> dict[str, str]:
    """What it is, and why it was answered so. `upstream` is whose it is; '' for what was pushed, which has no why."""
    headers = {DIGEST: str(digest), "ETag": digest.etag}
    return {**headers, CACHE: outcome.value, UPSTREAM: upstream} if upstream else headers


def manifest_headers(digest: Digest, media_type: str, outcome: Outcome, upstream: str) -> dict[str, str]:
    return {
        **content_headers(digest, outcome, upstream),
        "Content-Type": media_type,
        "X-Content-Type-Options": "nosniff",
    }


def matches(request: web.Request, digest: Digest) -> bool:
    """Whether the client has this content already (If-None-Match, RFC 9110, 13.1.2)."""
    asked = request.headers.get("If-None-Match")
    if asked is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
    return "*" in tags or digest.etag in tags
