"""Docker's search: `docker search` and `podman search` with this server's address in front of the term."""

from aiohttp import web

from mirror.discovery.search import Result
from mirror.http import parse, reply
from ocispec.search import MAX_PAGE, USUAL_PAGE, answer, parse_number

_MAX_PAGES = 10**5


async def ping(_request: web.Request) -> web.StreamResponse:
    """What docker asks before it searches."""
    return reply.json(b"true")


async def search(request: web.Request) -> web.StreamResponse:
    query = request.query.get("q", "")
    size = parse_number(request.query.get("n"), "n", USUAL_PAGE, 1, MAX_PAGE)
    page = parse_number(request.query.get("page"), "page", 1, 1, _MAX_PAGES)
    found = await parse.services(request).search.find(query, size, (page - 1) * size)
    return reply.json(answer(query, page, size, found.total, [_result(one) for one in found.results]))


def _result(found: Result) -> dict[str, object]:
    here = "(here) " if found.is_here else ""
    return {
        "name": found.name,
        "description": f"{here}{found.description}".strip(),
        "star_count": found.stars,
        "is_official": found.is_official,
        "is_automated": False,
        "is_trusted": False,
        "is_here": found.is_here,
    }
