"""The pages: parse, call a use case, render. All of them can be read without a script, and change nothing."""

import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web

from mirror.absent import absence
from mirror.errors import ConfigError
from mirror.pages import chart, shown, words
from mirror.pages.few import few
from mirror.pages.keys import VIEWS, Views
from mirror.pages.render import HEADERS
from mirror.pages.words import repository_url
from mirror.wiring.clients import CLIENTS, files_for
from mirror.wiring.server import Server
from ocispec.digest import Digest
from ocispec.errors import RegistryError
from ocispec.names import RepositoryName, parse_reference
from ocispec.pagination import Page, whole_number
from storage.errors import TooSlow
from storage.views import Order

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DAY, _BUSIEST, _PAGE, _MOVES = 86400.0, 8, 50, 30
_HOST = re.compile(r"[a-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](:[0-9]{1,5})?", re.ASCII)


def page(handler: Handler) -> Handler:
    """A handler whose errors are pages, too."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RegistryError as error:
            title = "Not here" if error.status == 404 else "That cannot be shown"
            return _views(request).pages.render("error.html", error.status, title=title, text=_said(request, error))
        except TooSlow:
            text = "The server has much to do, or too much was asked for. Try it again in a while, or with other words."
            return _views(request).pages.render("error.html", 503, title="That takes too long", text=text)

    return answer


async def overview(request: web.Request) -> web.StreamResponse:
    views, now = _views(request), _views(request).clock()
    busiest = await views.browse.search("", _BUSIEST, 0, None, Order.PULLS)
    hours = await views.finding.traffic(chart.HOURS * 3600)
    today = {hour: amounts for hour, amounts in hours.items() if hour > (now - _DAY) // 3600}
    return views.pages.render(
        "overview.html",
        current="/",
        day=shown.day(today),
        stored=await views.browse.stored(),
        chart=chart.traffic(hours, now),
        downloads=views.downloads.under_way(),
        busiest=[hit for hit in busiest.hits if hit.pulls],
        upstreams=[shown.upstream(state, now) for state in views.upstreams.states()],
    )


async def live_downloads(request: web.Request) -> web.StreamResponse:
    """The part of the overview that changes by itself."""
    views = _views(request)
    return views.pages.render("downloads.html", downloads=views.downloads.under_way())


async def repositories(request: web.Request) -> web.StreamResponse:
    views, query = _views(request), request.query.get("q", "")[:200]
    chosen, order = request.query.get("from", ""), _order(request.query.get("order", ""))
    number = whole_number(request.query.get("page", "")) or 1
    found = await views.browse.search(query, _PAGE, (number - 1) * _PAGE, chosen, order)

    def at(other: int) -> str:
        return f"/repositories?{urlencode({'q': query, 'from': chosen, 'order': order, 'page': other})}"

    return views.pages.render(
        "repositories.html",
        current="/repositories",
        query=query,
        chosen=chosen,
        order=order,
        hosts=views.hosts,
        hits=found.hits,
        total=found.total,
        previous=at(number - 1) if number > 1 else None,
        next=at(number + 1) if number * _PAGE < found.total else None,
    )


async def repository(request: web.Request) -> web.StreamResponse:
    views = _views(request)
    place = views.names.resolve(RepositoryName.parse(request.match_info["name"]))
    facts = await views.browse.repository(place)
    tags, more = await views.browse.tags(place, Page(_PAGE, request.query.get("last", "")))
    moves = await views.browse.history(place, None, _MOVES)
    last = f"{repository_url(facts.repository)}?last={quote(tags[-1].name, safe='')}" if more else None
    latest = next((tag.name for tag in tags if tag.name == "latest"), tags[0].name if tags else "latest")
    return views.pages.render(
        "repository.html",
        current="/repositories",
        facts=facts,
        tags=[(tag, shown.tag_state(views.browse.state(facts.repository, tag))) for tag in tags],
        moves=moves,
        next=last,
        plain_http=_server(request).plain_http,
        commands=shown.commands(_server(request), facts.repository.path, f":{latest}"),
    )


async def image(request: web.Request) -> web.StreamResponse:
    views = _views(request)
    place = views.names.resolve(RepositoryName.parse(request.match_info["name"]))
    reference = parse_reference(request.match_info["reference"])
    found = await views.browse.image(place, reference)
    separator = "@" if isinstance(reference, Digest) else ":"
    return views.pages.render(
        "image.html",
        current="/repositories",
        image=found,
        title=words.short(reference) if isinstance(reference, Digest) else reference,
        kind=shown.kind_of(found),
        entries=few(found.entries),
        layers=few(found.layers),
        referrers=few(found.referrers),
        labels=few(shown.labels_of(found)),
        config_facts=shown.config_facts(found.config) if found.config else [],
        drawing=shown.drawing([layer.descriptor for layer in found.layers]),
        plain_http=_server(request).plain_http,
        commands=shown.commands(_server(request), found.repository.path, f"{separator}{reference}"),
    )


async def upstreams(request: web.Request) -> web.StreamResponse:
    views = _views(request)
    states = [shown.upstream(state, views.clock()) for state in views.upstreams.states()]
    return views.pages.render("upstreams.html", current="/upstreams", upstreams=states)


async def setup(request: web.Request) -> web.StreamResponse:
    """The same files that `mirror wire` prints."""
    views, server = _views(request), _server(request)
    clients = []
    for name in CLIENTS:
        try:
            clients.append({"name": name, "files": files_for(name, server, views.hosts), "problem": None})
        except ConfigError as error:
            clients.append({"name": name, "files": [], "problem": str(error)})
    return views.pages.render("setup.html", current="/setup", address=server.address, clients=clients)


async def static(request: web.Request) -> web.StreamResponse:
    """What the pages are made to look like; a name that is not one of these is nothing."""
    found = _views(request).pages.static.get(request.match_info["file"])
    if found is None:
        raise web.HTTPNotFound
    kept = {**HEADERS, hdrs.CACHE_CONTROL: "public, max-age=300"}
    return web.Response(body=found[1], content_type=found[0], headers=kept)


def _said(request: web.Request, error: RegistryError) -> str:
    """What went wrong, and of what as the address names it."""
    name, reference = request.match_info.get("name"), request.match_info.get("reference")
    if name is None:
        return str(error)
    separator = "@" if reference and ":" in reference else ":"
    return absence(f"{name}{separator}{reference}" if reference else name, str(error))


def _views(request: web.Request) -> Views:
    return request.app[VIEWS]


def _server(request: web.Request) -> Server:
    """This server as clients reach it: as is configured, or as the browser does."""
    url = _views(request).external_url
    if url:
        scheme, _, address = url.partition("://")
        return Server(scheme, address.rstrip("/"))
    host = request.headers.get(hdrs.HOST, "").lower()
    return Server("http", host if _HOST.fullmatch(host) else "localhost:5000")


def _order(text: str) -> Order:
    return Order(text) if text in set(Order) else Order.FITTING


def routes() -> list[web.RouteDef]:
    return [
        web.get("/", page(overview)),
        web.get("/live/downloads", page(live_downloads)),
        web.get("/repositories", page(repositories)),
        web.get("/r/{name:.+}/-/{reference}", page(image)),
        web.get("/r/{name:.+}", page(repository)),
        web.get("/upstreams", page(upstreams)),
        web.get("/setup", page(setup)),
        web.get("/static/{file}", static),
    ]
