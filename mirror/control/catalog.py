"""What there is to see, as JSON: repositories, tags, images, history. Parse, call a use case, reply.

Every list comes in pages, and names the next one in `next`, as a path that can be asked for.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web

from mirror.control import parse, views
from mirror.routing import Place
from ocispec.errors import PageInvalid, RequestInvalid
from ocispec.names import RepositoryName, Tag, parse_reference
from ocispec.pagination import Page, whole_number
from storage.views import Order

_PAGE, _MAX_PAGE = 50, 500


async def repositories(request: web.Request) -> web.StreamResponse:
    """Those that fit `q`, from the upstream `from` (or `hosted`), in an `order`; by name, after `last`."""
    query, source = request.query.get("q", ""), request.query.get("from")
    limit, offset = _limit(request), _number(request, "offset", 0)
    order, last = _order(request), request.query.get("last", "")
    by_name = order is Order.NAME or (order is Order.FITTING and not query.strip())
    if last and not by_name:
        raise RequestInvalid("last: only a list by name goes on after a name")
    order = Order.NAME if by_name else order
    found = await parse.commands(request).browse.search(query, limit + 1, offset, source, order, last)
    hits, following = found.hits[:limit], None
    if len(found.hits) > limit:
        following = {"last": hits[-1].repository.path, "offset": 0} if by_name else {"offset": offset + limit}
    return _list(request, {"total": found.total, "repositories": [views.hit(one) for one in hits]}, following)


async def search(request: web.Request) -> web.StreamResponse:
    """What is here, what the upstreams' own search finds, and which of those could not say."""
    limit, offset = _limit(request), _number(request, "offset", 0)
    found = await parse.commands(request).search.find(request.query.get("q", ""), limit, offset)
    following = {"offset": offset + limit} if offset + len(found.results) < found.total else None
    return _list(request, views.found(found), following)


async def repository(request: web.Request) -> web.StreamResponse:
    return web.json_response(views.repository(await parse.commands(request).browse.repository(_place(request))))


async def tags(request: web.Request) -> web.StreamResponse:
    """In lexical order, after `last`."""
    page = Page(_limit(request), request.query.get("last", ""))
    browse, place = parse.commands(request).browse, _place(request)
    found, more = await browse.tags(place, page)
    repository = browse.owner(place)
    shown = [views.tag(one, browse.state(repository, one)) for one in found]
    return _list(request, {"tags": shown}, {"last": found[-1].name} if more else None)


async def history(request: web.Request) -> web.StreamResponse:
    """How the tags moved, or one `tag`; the last move first."""
    name, limit = request.query.get("tag"), _limit(request)
    before = _number(request, "before", 0) or None
    tag = None if name is None else Tag.parse(name)
    moves = await parse.commands(request).browse.history(_place(request), tag, limit + 1, before)
    following = {"before": moves[limit - 1].id} if len(moves) > limit else None
    return _list(request, {"moves": [views.move(one) for one in moves[:limit]]}, following)


async def image(request: web.Request) -> web.StreamResponse:
    """An index or an image, by tag or digest."""
    reference = parse_reference(request.match_info["reference"])
    return web.json_response(views.image(await parse.commands(request).browse.image(_place(request), reference)))


async def document(request: web.Request) -> web.StreamResponse:
    """What all of this is, for programs."""
    return web.Response(body=parse.commands(request).document, content_type="application/json")


def _place(request: web.Request) -> Place:
    name = RepositoryName.parse(request.match_info["name"])
    return parse.commands(request).names.resolve(name, request.query.get("ns"))


def _order(request: web.Request) -> Order:
    text = request.query.get("order", Order.FITTING)
    try:
        return Order(text)
    except ValueError:
        raise RequestInvalid(f"order: {text[:50]!r} is none of {', '.join(Order)}") from None


def _limit(request: web.Request) -> int:
    limit = min(_number(request, "n", _PAGE), _MAX_PAGE)
    if limit == 0:
        raise PageInvalid(detail={"n": "0"})
    return limit


def _number(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name)
    if text is None:
        return otherwise
    number = whole_number(text)
    if number is None:
        raise PageInvalid(detail={name: text[:20]})
    return number


def _list(request: web.Request, value: dict[str, object], following: Mapping[str, object] | None) -> web.Response:
    """A page, and where the next one is: the same query, going on after this one."""
    query = None if following is None else {**request.query, **following}
    value["next"] = None if query is None else f"{request.path}?{urlencode(query)}"
    return web.json_response(value)
