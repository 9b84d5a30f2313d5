"""What the pages are made from."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from mirror.discovery.browse import Browse
from mirror.management.upstreams import Upstreams
from mirror.pages.render import Pages
from mirror.pull.download import Downloads
from mirror.routing import Names
from storage.finding import Finding


@dataclass(frozen=True, slots=True)
class Views:
    """The use cases that pages show. `hosts` are the upstreams, and whether each is the default; `external_url` is what
    clients know this server by, '' where that is whatever the browser says."""

    pages: Pages
    browse: Browse
    upstreams: Upstreams
    downloads: Downloads
    finding: Finding
    names: Names
    hosts: dict[str, bool]
    external_url: str
    clock: Callable[[], float]


VIEWS = web.AppKey("views", Views)
