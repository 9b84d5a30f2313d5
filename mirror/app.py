"""The composition root: everything is built here, handed what it needs, and closed in the reverse order."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from typing import Protocol, TypeVar

from aiohttp import web

from mirror.checks import check
from mirror.config import Config
from mirror.control.guard import is_local
from mirror.control.keys import COMMANDS, LOCAL, Commands
from mirror.control.orders import Orders
from mirror.control.routes import of_port
from mirror.discovery.browse import Browse
from mirror.discovery.lists import Lists
from mirror.discovery.search import Search
from mirror.discovery.totals import Totals
from mirror.flights import Flights
from mirror.http.browsers import keeping_pages_out
from mirror.http.drain import Drain
from mirror.http.keys import DRAIN, METRICS, SERVICES, Services
from mirror.http.metrics import UpstreamCollector, registry_of
from mirror.http.middleware import answering, signing
from mirror.http.routes import routes
from mirror.management.delete import Deletions
from mirror.management.sweep import Sweeper
from mirror.management.upstreams import Upstreams
from mirror.pages.handlers import routes as page_routes
from mirror.pages.keys import VIEWS, Views
from mirror.pages.lost import lost
from mirror.pages.render import Pages
from mirror.pull.blob import BlobPulls
from mirror.pull.download import Downloads
from mirror.pull.manifest import ManifestPulls
from mirror.pull.prefetch import Prefetch
from mirror.pull.refresh import Refreshes
from mirror.pull.schedule import Schedules
from mirror.pull.status import Statuses
from mirror.pull.warm import Warming
from mirror.push.manifest import ManifestPushes
from mirror.push.upload import Uploads
from mirror.routing import Names, names_of
from mirror.upstream.client import UpstreamClient
from mirror.upstream.search import UpstreamSearch
from mirror.usage import Usage
from storage.store import Store, open_store

log = logging.getLogger(__name__)


class Closing(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=Closing)


@asynccontextmanager
async def build(config: Config, clock: Callable[[], float] = time.time) -> AsyncIterator[web.Application]:
    """The application, ready to serve. Raises StoreInUse, StoreUnusable, ConfigError."""
    names = names_of(config)
    check(config, names)
    async with AsyncExitStack() as stack:

        def owned(part: T) -> T:
            stack.push_async_callback(part.close)
            return part

        store = await stack.enter_async_context(open_store(config.storage.root, clock))
        _warn_of_unreachable(names, store)
        upstreams = {one.host: owned(UpstreamClient(one, clock)) for one in config.upstreams.values()}
        searches = {
            one.host: owned(UpstreamSearch(one, clock))
            for one in config.upstreams.values()
            if one.search_url and not one.offline
        }
        downloads = owned(Downloads(store, upstreams))
        manifest_pulls = owned(ManifestPulls(store, upstreams, clock))
        blob_pulls = owned(BlobPulls(store, downloads, upstreams, clock))
        prefetch = owned(Prefetch(downloads, upstreams))
        lists = owned(Lists(store, upstreams, names.scope, clock))
        sweeper = asyncio.create_task(Sweeper(store, config.registry.upload_ttl).run())
        stack.push_async_callback(_cancel, sweeper)
        search, totals = Search(store, names, searches), owned(Totals(store.finding, names.scope, clock))
        browse = Browse(store, names, totals, manifest_pulls.fresh_for)
        usage = owned(Usage(store.finding, lambda: sum(one.received for one in upstreams.values()), clock))
        usage.start()

        drain = Drain()
        pages = keeping_pages_out(on_loopback=config.server.listen.is_loopback, external_url=config.server.external_url)
        app = web.Application(middlewares=[answering(drain), pages, lost])
        app[SERVICES] = Services(
            external_url=config.server.external_url,
            names=names,
            store=store,
            manifest_pulls=manifest_pulls,
            blob_pulls=blob_pulls,
            prefetch=prefetch,
            manifest_pushes=ManifestPushes(store, config.registry.sparse_manifests),
            uploads=Uploads(store),
            lists=lists,
            search=search,
            usage=usage,
            deletions=Deletions(store),
        )
        states = Upstreams(upstreams)
        app[METRICS] = registry_of(UpstreamCollector(states))
        pulls = (names, store, manifest_pulls, blob_pulls, downloads)
        commands = Commands(
            names=names,
            refreshes=Refreshes(store, manifest_pulls),
            statuses=Statuses(store, manifest_pulls),
            warming=Warming.by_command(*pulls),
            schedules=Schedules(config.warm, Warming.behind(*pulls), clock),
            orders=Orders(),
            upstreams=states,
            browse=browse,
            search=search,
            document=(resources.files("mirror.control") / "openapi.json").read_bytes(),
            answers=owned(Flights()),
        )
        app[COMMANDS] = owned(commands)
        app[LOCAL] = is_local(config.server.listen.host, config.server.external_url)
        app.add_routes([*routes(), *of_port()])
        app[VIEWS] = Views(
            pages=Pages("registry mirror", clock),
            browse=browse,
            upstreams=states,
            downloads=downloads,
            finding=store.finding,
            names=names,
            hosts={upstream.host: upstream.default for upstream in config.upstreams.values()},
            external_url=config.server.external_url,
            clock=clock,
        )
        app.add_routes(page_routes())
        app[DRAIN] = drain
        app.on_response_prepare.append(signing(drain))
        yield app


def _warn_of_unreachable(names: Names, store: Store) -> None:
    stranded, hidden = names.unreachable(store.repositories)
    for host, count in stranded.items():
        log.warning("cached repositories have no upstream any more", extra={"host": host, "repositories": count})
    for host, count in hidden.items():
        log.warning("pushed repositories are hidden by an upstream", extra={"host": host, "repositories": count})


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
