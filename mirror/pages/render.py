"""Templates to answers. Everything that comes from a registry is hostile: it is escaped, and never run."""

from collections.abc import Callable

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from mirror import __version__
from mirror.pages import words

# Nothing from elsewhere, no script but ours, in nobody's frame. What is in a page cannot send anything anywhere.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """Renders the templates; `server` is what the server is called in them."""

    def __init__(self, server: str, clock: Callable[[], float]) -> None:
        self._templates = Environment(
            loader=PackageLoader("mirror.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            {
                name: getattr(words, name)
                for name in (
                    "size",
                    "count",
                    "percent",
                    "iso",
                    "day",
                    "short",
                    "repository_url",
                    "entry_name",
                    "instruction",
                )
            }
        )
        self._templates.filters["ago"] = lambda moment: words.ago(moment, clock())
        self._templates.globals.update(server=server, version=__version__)

    def render(self, name: str, status: int = 200, current: str = "", **values: object) -> web.Response:
        """`current` is the page of the navigation that it belongs to."""
        text = self._templates.get_template(name).render(current=current, **values)
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)
