"""An upstream's list of the tags of a repository: all pages of it, from one endpoint, or none.

How long the list may be is bounded in every way that it can be long: it is kept in memory, and many wait for it.
"""

import json
from functools import partial

from aiohttp.hdrs import LINK
from yarl import URL

from mirror.reading import read
from mirror.upstream.answer import Answer, check_plain
from mirror.upstream.errors import UpstreamBroken
from mirror.upstream.limits import Kind
from mirror.upstream.retry import repeated
from mirror.upstream.transport import Transport
from ocispec import endpoints
from ocispec.documents import count_parts
from ocispec.names import RepositoryName, is_tag
from ocispec.pagination import parse_next
from ocispec.token import pull_scope

# What is asked for, as crane does: some registries give a hundred otherwise, and ECR takes no more than this.
_PAGE = 1000
_MAX_PAGE_BYTES = 4 * 2**20
_MAX_PAGES = 1000
_MAX_TAGS = 200_000
# Of all pages: so many of the longest tags that there may be.
_MAX_BYTES = 32 * 2**20


async def all_tags(endpoint: Transport, repository: RepositoryName) -> list[str] | None:
    """None where there is no such list. Raises UpstreamError, UpstreamBroken rather than leave some out."""
    path = endpoints.tags(repository)
    place = f"{path}?n={_PAGE}"
    found: list[str] = []
    asked: set[str] = set()
    received = 0
    while place not in asked and len(asked) < _MAX_PAGES:
        asked.add(place)
        page = await repeated(partial(_page, endpoint, repository, place))
        if page is None:
            return None
        body, following = page
        received += len(body)
        if received > _MAX_BYTES:
            raise UpstreamBroken(f"the upstream's list of tags is longer than {_MAX_BYTES} bytes")
        found += await read(_tags_of, body)
        if len(found) > _MAX_TAGS:
            raise UpstreamBroken(f"the upstream lists more than {_MAX_TAGS} tags")
        if following is None:
            return found
        if following.partition("?")[0] != path:
            raise UpstreamBroken("the upstream's list of tags goes on as the list of something else")
        place = following
    raise UpstreamBroken("the upstream's list of tags has no end")


async def _page(endpoint: Transport, repository: RepositoryName, place: str) -> tuple[bytes, str | None] | None:
    """Its body, and where the next page is. None where there is no such list."""
    async with endpoint.request(Kind.LIST, "GET", place, pull_scope(repository)) as response:
        if response.status == 404:
            return None
        check_plain(response)
        body = await response.whole(_MAX_PAGE_BYTES)
        return body, _next_place(response, str(endpoint.url(place)))


def _next_place(response: Answer, here: str) -> str | None:
    try:
        following = parse_next(response.headers.get(LINK), here)
        place = URL(following, encoded=True).raw_path_qs if following else None
    except ValueError:
        raise UpstreamBroken("the upstream's list of tags goes on where nothing can be found") from None
    if place is None and response.has_next:
        raise UpstreamBroken("the upstream's list of tags goes on where it must not be followed")
    return place


def _tags_of(body: bytes) -> list[str]:
    """What can be a tag of what a page lists; it may have others, which nobody could ask for."""
    if count_parts(body) > _MAX_TAGS:
        raise UpstreamBroken("the upstream's list of tags has too many parts")
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        raise UpstreamBroken("the upstream's list of tags cannot be read") from None
    # `null` is how some registries write that there are none; without the member it is another document altogether.
    names = listed.get("tags", "missing") if isinstance(listed, dict) else "missing"
    names = [] if names is None else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UpstreamBroken("the upstream's list of tags cannot be read")
    return [name for name in names if is_tag(name)]
