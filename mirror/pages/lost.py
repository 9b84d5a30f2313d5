"""Addresses that nothing is at: people get a page, and programs the error in the protocol's own format."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from mirror.pages.keys import VIEWS

# Below these, programs ask, whatever they say that they take.
_OF_PROGRAMS = ("v1", "v2", "api")
_JSON, _HTML = "application/json", "text/html"


@web.middleware
async def lost(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        top = request.path.split("/", 2)[1]
        if top in _OF_PROGRAMS or not prefers_a_page(request.headers.get(hdrs.ACCEPT, "")):
            raise
        text = f"There is no page at {request.path[:200]}"
        return request.app[VIEWS].pages.render("error.html", 404, title="Not here", text=text)


def prefers_a_page(accept: str) -> bool:
    """Whether a page is named, and JSON not named with more weight (RFC 9110, 12.5.1). Only browsers name pages."""
    weights = dict(map(_weighed, accept.lower().split(",")))
    return weights.get(_HTML, 0.0) > 0 and weights[_HTML] >= weights.get(_JSON, 0.0)


def _weighed(part: str) -> tuple[str, float]:
    """A media range and its weight; none for what is no number."""
    kind, *parameters = (text.strip() for text in part.split(";"))
    weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return kind, float(weight)
    except ValueError:
        return kind, 0.0
