"""Templates to answers. Everything that comes from a registry is hostile: it is escaped, and never run."""

from collections.abc import Callable
from importlib import resources

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


_FILTERS = (
    words.size,
    words.count,
    words.percent,
    words.iso,
    words.day,
    words.short,
    words.breakable,
    words.repository_url,
    words.entry_name,
    words.instruction,
)
_STATIC = {"style.css": "text/css", "live.js": "text/javascript", "mark.svg": "image/svg+xml"}


class Pages:
    """Renders the templates; `server` is what the server is called in them. `static` is what they are made to look like
    with: a type and bytes by name. Making it reads files."""

    def __init__(self, server: str, clock: Callable[[], float]) -> None:
        self._templates = Environment(
            loader=PackageLoader("mirror.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update({filter.__name__: filter for filter in _FILTERS})
        self._templates.filters["ago"] = lambda moment: words.ago(moment, clock())
        self._templates.globals.update(server=server, version=__version__)
        for name in self._templates.list_templates():
            self._templates.get_template(name)  # from the disk once, and now: afterwards there is no time for it
        folder = resources.files("mirror.pages") / "static"
        self.static = {name: (kind, (folder / name).read_bytes()) for name, kind in _STATIC.items()}

    def render(self, name: str, status: int = 200, current: str = "", **values: object) -> web.Response:
        """`current` is the page of the navigation that it belongs to."""
        text = self._templates.get_template(name).render(current=current, **values)
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)
